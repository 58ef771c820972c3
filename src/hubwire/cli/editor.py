"""
A line that is being typed: bytes of a terminal in, finished lines out, and how to draw what is typed so far. Pure.

Drawn anew after each message that arrives, the line survives what appears above it. The terminal must not echo and
must hand over each key at once (cbreak mode).
"""

import codecs
import re
from typing import Final, Protocol

from hubwire.cli.text import cells

__all__ = ["CLEAR", "PROMPT", "LineEditor", "LineSplitter", "Lines"]

PROMPT: Final = "> "
CLEAR: Final = "\r\x1b[K"

_HISTORY: Final = 100
_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[@-~]|[^\[O])")
_ESCAPE_BEGUN: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*|O)?")
_KEYS: Final = {
    "\x1b[D": "left",
    "\x1bOD": "left",
    "\x02": "left",
    "\x1b[C": "right",
    "\x1bOC": "right",
    "\x06": "right",
    "\x1b[A": "older",
    "\x1bOA": "older",
    "\x10": "older",
    "\x1b[B": "newer",
    "\x1bOB": "newer",
    "\x0e": "newer",
    "\x1b[H": "home",
    "\x1bOH": "home",
    "\x1b[1~": "home",
    "\x01": "home",
    "\x1b[F": "end",
    "\x1bOF": "end",
    "\x1b[4~": "end",
    "\x05": "end",
    "\x1b[3~": "delete",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x17": "word",
    "\x15": "before",
    "\x0b": "after",
}


class Lines(Protocol):
    """Bytes to lines."""

    @property
    def ended(self) -> bool:
        """The person wants no more."""

    def feed(self, data: bytes) -> list[str]:
        """Lines that these bytes complete, without their ends."""

    def finish(self) -> list[str]:
        """What remains when no more bytes will come."""


class LineSplitter:
    """
    Lines of a pipe or a file: UTF-8, each ending in LF or CR LF, the last one perhaps without.

    `feed` and `finish` raise UnicodeDecodeError for other bytes: what is published must be what was given.
    """

    ended = False

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        return [line.removesuffix("\r") for line in lines]

    def finish(self) -> list[str]:
        rest = (self._rest + self._decoder.decode(b"", final=True)).removesuffix("\r")
        self._rest = ""
        return [rest] if rest else []


class LineEditor:
    """
    Keys of a terminal.

    Arrows, Home, End, Delete, Backspace and their control keys move and change, Up and Down repeat earlier lines,
    Ctrl-W and Ctrl-U delete backwards, Ctrl-D on an empty line ends.
    """

    def __init__(self) -> None:
        self.ended = False
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._pending = ""
        self._text = ""
        self._cursor = 0
        self._history: list[str] = []
        self._recalled = 0

    def feed(self, data: bytes) -> list[str]:
        self._pending += self._decoder.decode(data)
        lines: list[str] = []
        while not self.ended and (key := self._key()):
            if key in "\r\n":
                lines.append(self._submit())
            elif key == "\x04":
                self._end_or_delete()
            elif key in _KEYS:
                self._change(_KEYS[key])
            elif key.isprintable():
                self._insert(key)
            elif key == "\t":
                self._insert(" ")
        return lines

    def finish(self) -> list[str]:
        """Nothing: a line that was not finished was not meant."""
        return []

    def drawn(self, columns: int) -> str:
        """
        The control sequences that draw the line over whatever stands in the last row of the terminal.

        Args:
            columns: width of the terminal; a longer line shows the part around its cursor.
        """
        room = max(columns - len(PROMPT) - 1, 1)
        start = self._cursor
        width = 0
        while start > 0 and width + cells(self._text[start - 1]) <= room:
            start -= 1
            width += cells(self._text[start])
        while start < self._cursor and not cells(self._text[start]):
            # An accent whose letter did not fit.
            start += 1
        end = self._cursor
        behind = 0
        while end < len(self._text) and width + behind + cells(self._text[end]) <= room:
            behind += cells(self._text[end])
            end += 1
        back = f"\x1b[{behind}D" if behind else ""
        return f"{CLEAR}{PROMPT}{self._text[start:end]}{back}"

    def _key(self) -> str:
        """Take one key from what is pending; empty when it is not there yet as a whole."""
        if not self._pending.startswith("\x1b"):
            key, self._pending = self._pending[:1], self._pending[1:]
            return key
        if (found := _ESCAPE.match(self._pending)) is not None:
            self._pending = self._pending[found.end() :]
            return found[0]
        if _ESCAPE_BEGUN.fullmatch(self._pending):
            return ""
        self._pending = self._pending[1:]
        return "\x1b"

    def _insert(self, text: str) -> None:
        self._text = self._text[: self._cursor] + text + self._text[self._cursor :]
        self._cursor += len(text)

    def _submit(self) -> str:
        line = self._text
        if line.strip() and self._history[-1:] != [line]:
            self._history = [*self._history, line][-_HISTORY:]
        self._recalled = len(self._history)
        self._show("")
        return line

    def _end_or_delete(self) -> None:
        if self._text:
            self._change("delete")
        else:
            self.ended = True

    def _change(self, name: str) -> None:
        text, cursor = self._text, self._cursor
        match name:
            case "left":
                self._cursor = max(cursor - 1, 0)
            case "right":
                self._cursor = min(cursor + 1, len(text))
            case "home":
                self._cursor = 0
            case "end":
                self._cursor = len(text)
            case "backspace" if cursor:
                self._show(text[: cursor - 1] + text[cursor:], cursor - 1)
            case "delete":
                self._show(text[:cursor] + text[cursor + 1 :], cursor)
            case "word":
                start = len(text[:cursor].rstrip().rpartition(" ")[0])
                start += start > 0
                self._show(text[:start] + text[cursor:], start)
            case "before":
                self._show(text[cursor:], 0)
            case "after":
                self._show(text[:cursor], cursor)
            case "older" | "newer":
                self._recall(self._recalled + (1 if name == "newer" else -1))

    def _recall(self, position: int) -> None:
        if 0 <= position <= len(self._history):
            self._recalled = position
            self._show(self._history[position] if position < len(self._history) else "")

    def _show(self, text: str, cursor: int | None = None) -> None:
        self._text = text
        self._cursor = len(text) if cursor is None else cursor
