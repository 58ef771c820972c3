"""The query of a request to values: names compare without case, every value is decoded once and strictly."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from hubwire.model.errors import BadRequest

__all__ = ["QueryString", "decoded"]

_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_DIGITS: Final = re.compile(r"[0-9]{1,19}")


def decoded(part: bytes, target: str) -> str:
    """
    Percent-decode once; what the escapes stand for is UTF-8.

    Args:
        target: named in the error.

    Raises:
        BadRequest: `%` without two hexadecimal digits, or bytes that are not UTF-8.
    """
    if b"%" in part:
        if _BAD_ESCAPE.search(part) is not None:
            raise BadRequest(f"The {target} contains a malformed percent escape.", target)
        part = unquote_to_bytes(part)
    try:
        return part.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest(f"The {target} is not percent-encoded UTF-8.", target) from None


class QueryString:
    """
    What stood after the `?`. `+` is a space there, as forms write it; empty items are skipped.

    Args:
        raw: still percent-encoded, without the `?`.
        what: it is called so in errors; a form is read like a query.

    Raises:
        BadRequest: a name or value does not decode.
    """

    __slots__ = ("_values",)

    def __init__(self, raw: bytes, what: str = "query") -> None:
        self._values: dict[str, list[str]] = {}
        for item in raw.replace(b"+", b" ").split(b"&"):
            if item:
                name, _, value = item.partition(b"=")
                self._values.setdefault(decoded(name, what).lower(), []).append(decoded(value, what))

    def all(self, *names: str) -> tuple[str, ...]:
        """The values of a repeatable parameter, exactly as sent: neither trimmed nor split at commas."""
        return tuple(value for name in names for value in self._values.get(name.lower(), ()))

    def names(self) -> tuple[str, ...]:
        """Of all parameters, in lower case."""
        return tuple(self._values)

    def first(self, name: str) -> str:
        """The first value of a parameter that decides nothing; empty when it is absent."""
        return next(iter(self.all(name)), "")

    def one(self, *names: str) -> str | None:
        """
        The value of a parameter that may come once, under any of its names; None when it is absent.

        Raises:
            BadRequest: it came twice. Which one was meant cannot be known, and with a filter that matters.
        """
        values = self.all(*names)
        if len(values) > 1:
            raise BadRequest(f"The parameter '{names[0]}' may be given only once.", names[0])
        return values[0] if values else None

    def number(self, name: str, least: int, most: int) -> int | None:
        """
        A whole number in decimal digits; None when it is absent.

        Raises:
            BadRequest: blank, signed, not a number, or outside `least` to `most`.
        """
        text = self.one(name)
        if text is None:
            return None
        if _DIGITS.fullmatch(text) is None or not least <= int(text) <= most:
            raise BadRequest(f"The parameter '{name}' must be a whole number from {least} to {most}.", name)
        return int(text)
