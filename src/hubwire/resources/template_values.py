"""
Values of the template language: JSON, and what a function demands of it.

An integer has 64 bits. True is no 1, and 1.0 is no 1 either.
"""

import json
from collections.abc import Hashable
from typing import Any, Final

__all__ = [
    "INT64",
    "Unfit",
    "array",
    "boolean",
    "dump",
    "integer",
    "key_of",
    "kind_of",
    "number",
    "object_",
    "shown",
    "text",
    "utf8",
    "whole",
]

_PLAIN: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_SORTED: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)
INT64: Final = range(-(2**63), 2**63)


class Unfit(Exception):  # noqa: N818  it is the value that does not fit, not the program
    """A value that a function cannot take, or cannot make. The text is a sentence for the author of the template."""


def kind_of(value: Any) -> str:
    """The type of a value in words of the language; `Lambda` for what is no value."""
    if value is None:
        return "Null"
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return "Lambda"


_KINDS: Final = (
    (bool, "Boolean"),
    (int, "Integer"),
    (float, "Float"),
    (str, "String"),
    (list, "Array"),
    (dict, "Object"),
)


def text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _expected("a string", value)


def integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return whole(value)
    raise _expected("an integer", value)


def number(value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise _expected("a number", value)


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _expected("a boolean", value)


def array(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise _expected("an array", value)


def object_(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise _expected("an object", value)


def whole(value: int) -> int:
    """An integer that was computed, if 64 bits hold it."""
    if value not in INT64:
        raise Unfit("the integer does not fit into 64 bits.")
    return value


def shown(value: Any) -> str:
    """A value as text, as `string`, `concat` and `format` show it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    return dump(value)


def dump(value: Any) -> str:
    """A value as JSON, in one line without blanks."""
    return _encoded(_PLAIN, value)


def key_of(value: Any) -> Hashable:
    """One key for all values that are equal: the order of names does not count."""
    return type(value), _encoded(_SORTED, value) if isinstance(value, list | dict) else value


def utf8(value: str) -> bytes:
    """Bytes of a text. Half of a surrogate pair, which no text from outside can hold, becomes a question mark."""
    return value.encode("utf-8", "replace")


def _encoded(encoder: json.JSONEncoder, value: Any) -> str:
    try:
        return encoder.encode(value)
    except TypeError:
        raise Unfit("a lambda is not expected here.") from None


def _expected(wanted: str, value: Any) -> Unfit:
    return Unfit(f"{wanted} is expected, but a value of type '{kind_of(value)}' was given.")
