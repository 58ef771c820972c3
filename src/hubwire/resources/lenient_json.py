"""
Reader of JSON as people write templates: with comments, without quotes.

`az deployment` does not send JSON. It puts the text of a template file, as it is, behind an unquoted key of an
otherwise strict document. So more is read here than RFC 8259 allows: keys without quotes, `//` and `/* */` comments,
one trailing comma, strings in single quotes or over several lines, a byte order mark. What RFC 8259 allows is read as
it says, but for three things that no template means: a name given twice, half of a surrogate pair, and a number that
no 64 bits hold.

The text is passed over once, each character a fixed number of times.
"""

import re
from typing import Any, Final

from msgspec import Struct

from hubwire.model.errors import BadRequest
from hubwire.resources.template_faults import At

__all__ = ["MAX_DEPTH", "Parsed", "Unreadable", "parse"]

MAX_DEPTH: Final = 64
"""Of arrays and objects in one another. The reader calls itself once for each, so this also bounds the stack."""

_INTEGERS: Final = range(-(2**63), 2**64)
_BLANK: Final = re.compile(r"[ \t\r\n]*+")
_COMMENT: Final = re.compile(r"//[^\r\n]*+")
_BARE_KEY: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*+")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?+([eE][+-]?[0-9]++)?+")
_AFTER_SCALAR: Final = re.compile(r"[A-Za-z0-9_$.+-]")
_PLAIN: Final = {
    '"': re.compile(r'[^"\\\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]*+'),
    "'": re.compile(r"[^'\\\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]*+"),
}
"""What a string may hold as it stands: all but its quote, control characters other than tab and line break, and
surrogates, which are no characters."""
_HEX: Final = re.compile(r"[0-9A-Fa-f]{4}")
_ESCAPES: Final = {
    '"': '"',
    "'": "'",
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
_MAX_DIGITS: Final = 400
"""Of a number. Longer ones say nothing more, and take longer than their length to read."""


class Unreadable(BadRequest):
    """The text is not JSON, not even in the wide sense. `line` and `column` count characters from 1."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(f"{reason} Line {line}, column {column}.")
        self.reason = reason
        self.line = line
        self.column = column


class Parsed(Struct, frozen=True):
    """
    A document that was read.

    Attributes:
        value: of None, bool, int, float, str, list and dict.
        text: where it stood.
    """

    value: Any
    text: str

    def locate(self, path: At) -> tuple[int, int]:
        """
        Line and column, from 1, where the value at `path` begins; that of the last value on the way, if it ends early.

        The text is read once more for that. It is asked for at most once in a document, that is for its one fault.
        """
        reader = _Reader(self.text)
        found = reader.begin()
        reader.watch(path)
        reader.document()
        return reader.position(found if reader.found is None else reader.found)


def parse(text: str) -> Parsed:
    """
    Read a document.

    Raises:
        Unreadable: it cannot be read, a name is given twice in one object, or it is nested too deep.
    """
    return Parsed(_Reader(text).document(), text)


class _Reader:
    """
    A text and the place up to which it was read.

    Attributes:
        found: where the deepest value on the watched path begins.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._watched: At = ()
        self._matched = 0
        self.found: int | None = None

    def watch(self, path: At) -> None:
        self._watched = path

    def begin(self) -> int:
        """Where the root stands."""
        self._at = 1 if self._text.startswith("\ufeff") else 0
        self._skip()
        return self._at

    def document(self) -> Any:
        self.begin()
        value = self._value()
        self._skip()
        if self._at < len(self._text):
            raise self._fault("Nothing is expected after the end of the document.")
        return value

    def position(self, offset: int) -> tuple[int, int]:
        return self._text.count("\n", 0, offset) + 1, offset - self._text.rfind("\n", 0, offset)

    def _fault(self, reason: str, at: int | None = None) -> Unreadable:
        return Unreadable(reason, *self.position(self._at if at is None else at))

    def _skip(self) -> None:
        """Pass blanks and comments."""
        text = self._text
        while True:
            self._at = _end(_BLANK.match(text, self._at))
            if text.startswith("//", self._at):
                self._at = _end(_COMMENT.match(text, self._at))
            elif text.startswith("/*", self._at):
                end = text.find("*/", self._at + 2)
                if end < 0:
                    raise self._fault("A comment is not closed.")
                self._at = end + 2
            else:
                return

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _value(self) -> Any:
        first = self._peek()
        if first == "{":
            return self._nested(self._object)
        if first == "[":
            return self._nested(self._array)
        if first in _PLAIN:
            return self._string(first)
        return self._scalar()

    def _nested(self, read: Any) -> Any:
        if self._depth == MAX_DEPTH:
            raise self._fault(f"Arrays and objects are nested more than {MAX_DEPTH} levels deep.")
        self._depth += 1
        self._at += 1
        value = read()
        self._depth -= 1
        return value

    def _object(self) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while not self._closed("}"):
            begin = self._at
            name = self._name()
            if name in result:
                raise self._fault(f"The name '{name[:100]}' is given twice.", begin)
            self._skip()
            if self._peek() != ":":
                raise self._fault("A colon is expected after a name.")
            self._at += 1
            self._skip()
            result[name] = self._member(name)
            self._comma("}")
        return result

    def _array(self) -> list[Any]:
        result: list[Any] = []
        while not self._closed("]"):
            result.append(self._member(len(result)))
            self._comma("]")
        return result

    def _member(self, step: str | int) -> Any:
        """Read the value at `step` of what is being read, and remember where it begins if it is on the watched path."""
        on_path = self._matched == self._depth - 1 < len(self._watched) and self._watched[self._depth - 1] == step
        if not on_path:
            return self._value()
        self._matched += 1
        self.found = self._at
        value = self._value()
        # All that could match lies behind: a name stands only once in its object.
        self._watched = ()
        return value

    def _closed(self, bracket: str) -> bool:
        self._skip()
        if self._peek() != bracket:
            return False
        self._at += 1
        return True

    def _comma(self, bracket: str) -> None:
        """Pass what stands behind a member: a comma, or nothing when the bracket follows."""
        self._skip()
        following = self._peek()
        if following == ",":
            self._at += 1
        elif following != bracket:
            raise self._fault(f"A comma or {bracket} is expected." if following else "The document ends too early.")

    def _name(self) -> str:
        first = self._peek()
        if first in _PLAIN:
            return self._string(first)
        bare = _BARE_KEY.match(self._text, self._at)
        if bare is None:
            raise self._fault("A name is expected." if first else "The document ends too early.")
        self._at = bare.end()
        return bare.group()

    def _string(self, quote: str) -> str:
        begin = self._at
        self._at += 1
        parts: list[str] = []
        while True:
            run = _PLAIN[quote].match(self._text, self._at)
            self._at = _end(run)
            parts.append(run.group() if run else "")
            following = self._peek()
            if following == quote:
                self._at += 1
                return "".join(parts)
            if not following:
                raise self._fault("A string is not closed.", begin)
            if following != "\\":
                raise self._fault("A string holds a character that must be escaped.")
            parts.append(self._escape())

    def _escape(self) -> str:
        letter = self._text[self._at + 1 : self._at + 2]
        if letter == "u":
            return self._unicode()
        if letter not in _ESCAPES:
            raise self._fault("A string holds an unknown escape.")
        self._at += 2
        return _ESCAPES[letter]

    def _unicode(self) -> str:
        begin = self._at
        first = self._code_unit()
        if not 0xD800 <= first < 0xE000:
            return chr(first)
        # Two escapes that stand for one character beyond the first plane.
        if first < 0xDC00 and self._text.startswith("\\u", self._at):
            second = self._code_unit()
            if 0xDC00 <= second < 0xE000:
                return chr(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
        raise self._fault("A string holds half of a surrogate pair.", begin)

    def _code_unit(self) -> int:
        digits = _HEX.match(self._text, self._at + 2)
        if digits is None:
            raise self._fault("Four hexadecimal digits are expected.")
        self._at = digits.end()
        return int(digits.group(), 16)

    def _scalar(self) -> Any:
        number = _NUMBER.match(self._text, self._at)
        if number is not None:
            value: Any = self._number(number)
            end = number.end()
        else:
            word = _BARE_KEY.match(self._text, self._at)
            if word is None or word.group() not in _WORDS:
                raise self._fault("A value is expected." if self._peek() else "The document ends too early.")
            value = _WORDS[word.group()]
            end = word.end()
        if _AFTER_SCALAR.match(self._text, end):
            raise self._fault("A value is expected.")
        self._at = end
        return value

    def _number(self, found: re.Match[str]) -> int | float:
        text = found.group()
        if len(text) > _MAX_DIGITS:
            raise self._fault("A number is too long.")
        if found.group(1) is None and found.group(2) is None:
            integer = int(text)
            if integer not in _INTEGERS:
                raise self._fault("An integer does not fit into 64 bits.")
            return integer
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise self._fault("A number is too large.")
        return number


def _end(found: re.Match[str] | None) -> int:
    """Where a match ended, of an expression that always matches."""
    assert found is not None
    return found.end()
