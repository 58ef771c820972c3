"""
The text of a Bicep program, made ready for the grammar: positions, faults, and what the grammar must not see. Pure.

The grammar at hand is one for editors. It takes `//` in a string for a comment, lets a comment that ends in a backslash
run on into the next line, and knows neither every `!` behind an expression nor the spread operator. A program would be
misread without a word. So strings and comments are blanked before parsing, byte for byte, and read from the original.

Source: the Bicep language, lexical structure as in its documentation of data types (strings) and of operators.
"""

import re
from typing import Final

import msgspec

from hubwire.model.errors import BadRequest

__all__ = ["BicepFault", "Source", "line_break_between"]

_MAX_BYTES: Final = 1 << 18
"""Of UTF-8. A template of Azure Resource Manager may have 4 MiB, but nobody writes such a one by hand."""

_CODE: Final = re.compile(rb"[A-Za-z0-9_@(){}\[\],.:?!+\-*/%&|=~<>\s]")
_OPERAND_END: Final = re.compile(rb"[A-Za-z0-9_)\]}']")
_CLOSING: Final = {"(": ")", "[": "]", "{": "}", "${": "}"}
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", "$": "$"}
_LAST_CODE_POINT: Final = 0x10FFFF


class BicepFault(BadRequest):
    """
    A program that is not Bicep, or that uses what is not supported here.

    Args:
        line: from 1.
        column: from 1, in characters.
    """

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class Source(msgspec.Struct, frozen=True):
    """
    A program and what the grammar is shown of it.

    Attributes:
        original: UTF-8.
        masked: as long as `original`; strings are underscores, comments are blanks.
        assertions: where a `!` stood behind an operand; it is a blank now.
        spreads: where a `...` stood. It is `__:` in an object and `  !` elsewhere, which the grammar knows.
    """

    original: bytes
    masked: bytes
    assertions: frozenset[int]
    spreads: frozenset[int]

    @classmethod
    def of(cls, text: str) -> "Source":
        """
        Raises:
            BicepFault: a string or comment without end, or a character that no program has outside of them.
        """
        # A half of a surrogate pair is no character; it takes the place of one, so that columns stay true.
        original = text.encode("utf-8", "replace")
        if len(original) > _MAX_BYTES:
            raise BicepFault(f"The program is larger than {_MAX_BYTES} bytes.", 1, 1)
        return _Masking(original).source()

    def fault(self, at: int, message: str) -> BicepFault:
        """The fault at a byte."""
        return _fault(self.original, at, message)


def line_break_between(source: Source, start: int, end: int) -> bool:
    """Whether a line ends between two bytes outside of strings."""
    return b"\n" in source.masked[start:end]


def _fault(original: bytes, at: int, message: str) -> BicepFault:
    before = original[:at].decode("utf-8", "replace")
    return BicepFault(message, before.count("\n") + 1, len(before) - before.rfind("\n"))


class _Masking:
    """One walk over a program. `_open` holds the brackets that are open; `${` continues a string when it closes."""

    def __init__(self, original: bytes) -> None:
        self._text = original
        self._masked = bytearray(original)
        self._open: list[tuple[str, int]] = []
        self._assertions: set[int] = set()
        self._spreads: set[int] = set()

    def source(self) -> Source:
        at = 3 if self._text.startswith(b"\xef\xbb\xbf") else 0
        self._blank(0, at)
        while at < len(self._text):
            at = self._step(at)
        if self._open:
            bracket, start = self._open[-1]
            raise _fault(self._text, start, f'Expected the "{_CLOSING[bracket]}" character that closes this one.')
        return Source(self._text, bytes(self._masked), frozenset(self._assertions), frozenset(self._spreads))

    def _step(self, at: int) -> int:
        """Masks what begins at a byte of code; the byte after it."""
        text = self._text
        if text.startswith(b"//", at):
            return self._blank(at, self._line_end(at))
        if text.startswith(b"/*", at):
            end = text.find(b"*/", at + 2)
            if end < 0:
                raise _fault(text, at, "The multi-line comment at this location is not terminated.")
            return self._blank(at, end + 2)
        if text.startswith(b"'''", at):
            return self._multi_line(at)
        if text.startswith(b"'", at):
            return self._string(at + 1, at)
        if text.startswith(b"...", at):
            return self._spread(at)
        character = chr(text[at])
        if character in "([{":
            self._open.append((character, at))
        elif character in ")]}":
            return self._close(character, at)
        elif character == "!":
            self._exclamation(at)
        elif character == "#" and not text[text.rfind(b"\n", 0, at) + 1 : at].strip():
            return self._blank(at, self._line_end(at))
        elif not _CODE.match(text, at):
            hint = " Strings stand in single quotes." if character == '"' else ""
            shown = text[at : at + 4].decode("utf-8", "ignore")[:1]
            raise _fault(text, at, f"The following token is not recognized: {shown!r}.{hint}")
        return at + 1

    def _close(self, character: str, at: int) -> int:
        bracket, start = self._open.pop() if self._open else ("", at)
        if _CLOSING.get(bracket) != character:
            raise _fault(self._text, at, f'The "{character}" character closes nothing that is open here.')
        return self._string(at + 1, start) if bracket == "${" else at + 1

    def _exclamation(self, at: int) -> None:
        following = self._text[at + 1 : at + 2]
        if at and following not in (b"=", b"~") and _OPERAND_END.match(self._text, at - 1):
            self._assertions.add(at)
            self._blank(at, at + 1)

    def _spread(self, at: int) -> int:
        self._spreads.add(at)
        in_object = bool(self._open) and self._open[-1][0] == "{"
        self._masked[at : at + 3] = b"__:" if in_object else b"  !"
        return at + 3

    def _string(self, at: int, start: int) -> int:
        """Masks a string from `at`, which is inside of it, up to its end or its next interpolation."""
        text = self._text
        first = at
        while at < len(text) and text[at] not in b"\r\n":
            if text.startswith(b"'", at):
                self._cover(first, at)
                return at + 1
            if text.startswith(b"${", at):
                self._cover(first, at)
                self._open.append(("${", start))
                return at + 2
            at += 2 if text.startswith(b"\\", at) else 1
        raise _fault(text, start, "The string at this location is not terminated.")

    def _multi_line(self, at: int) -> int:
        end = self._text.find(b"'''", at + 3)
        if end < 0:
            raise _fault(self._text, at, "The multi-line string at this location is not terminated.")
        while self._text.startswith(b"'", end + 3):
            end += 1
        # The grammar would look for quotes inside, and for line breaks behind: to it this is a string of one line.
        self._masked[at : end + 3] = b"'" + b"_" * (end + 1 - at) + b"'"
        return end + 3

    def _line_end(self, at: int) -> int:
        end = self._text.find(b"\n", at)
        return len(self._text) if end < 0 else end

    def _cover(self, start: int, end: int) -> None:
        self._masked[start:end] = b"_" * (end - start)

    def _blank(self, start: int, end: int) -> int:
        self._masked[start:end] = re.sub(rb"[^\r\n]", b" ", self._text[start:end])
        return end


def unescaped(source: Source, start: int, end: int) -> str:
    """
    A stretch of a string of one line, as it is meant.

    Raises:
        BicepFault: an escape that does not exist.
    """
    text = source.original[start:end].decode("utf-8")

    def meant(found: re.Match[str]) -> str:
        code, character = found.group(1), found.group(2)
        if code is None and character in _ESCAPES:
            return _ESCAPES[character]
        if code is not None and len(code) <= 8 and int(code, 16) <= _LAST_CODE_POINT and not _is_surrogate(code):
            return chr(int(code, 16))
        at = start + len(text[: found.start()].encode())
        raise source.fault(at, f'The specified escape sequence "{found.group()}" is not recognized.')

    return re.sub(r"\\(?:u\{([0-9A-Fa-f]+)\}|(.))", meant, text)


def multi_line(source: Source, start: int, end: int) -> str:
    """A string in triple quotes, quotes included, as it is meant: a line break right after the quotes is not of it."""
    return re.sub(r"\A\r?\n", "", source.original[start + 3 : end - 3].decode("utf-8"))


def _is_surrogate(code: str) -> bool:
    return 0xD800 <= int(code, 16) <= 0xDFFF
