"""What may be written to a terminal: nothing that others sent may move its cursor or change its colours. Pure."""

import unicodedata

__all__ = ["cells", "one_line", "printable"]


def printable(text: str) -> str:
    """`text` with everything that a terminal would obey instead of show (line ends too) as a Python escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def one_line(text: str) -> str:
    """`text` on one line: white space of any kind becomes single spaces, and the rest is printable."""
    return printable(" ".join(text.split()))


def cells(char: str) -> int:
    """How many columns of a terminal a printable character takes: 0, 1 or 2."""
    if unicodedata.combining(char) or unicodedata.category(char) == "Mn":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
