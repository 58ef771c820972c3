"""
Values of an Azure Resource Manager template, and how they are written: as JSON, or within an expression. Pure.

Source: the documentation of ARM template syntax, of its expressions, and of iteration by copy.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

__all__ = [
    "Access",
    "ArrayOf",
    "Copy",
    "FunctionCall",
    "ObjectOf",
    "Scalar",
    "Unwritable",
    "Value",
    "Writer",
    "escaped",
]

_MAX_VALUES: Final = 100_000
"""In one template. A value that is used in several places is written as often, and counts as often."""
_MAX_DEPTH: Final = 150
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Unwritable(Exception):  # noqa: N818  whoever writes turns it into a fault with a place
    """A template cannot have this value. The text says why."""


class Scalar(msgspec.Struct, frozen=True):
    """A string, number, truth value or null."""

    value: str | int | bool | None


class FunctionCall(msgspec.Struct, frozen=True):
    name: str
    arguments: tuple["Value", ...]


class Access(msgspec.Struct, frozen=True):
    """`of.key` or `of[key]`."""

    of: "Value"
    key: "Value"


class ArrayOf(msgspec.Struct, frozen=True):
    items: tuple["Value", ...]


class Copy(msgspec.Struct, frozen=True):
    """A property whose value is an array with one item for each turn; `count` says how many."""

    name: str
    count: "Value"
    input: "Value"


class ObjectOf(msgspec.Struct, frozen=True):
    """An object. One with `copies` can only be written as JSON."""

    entries: tuple[tuple["Value", "Value"], ...]
    copies: tuple[Copy, ...] = ()


Value = Scalar | FunctionCall | Access | ArrayOf | ObjectOf


def escaped(text: str) -> str:
    """A string of a template that means `text` and is not taken for an expression."""
    return f"[{text}" if text.startswith("[") and text.endswith("]") else text


class Writer:
    """Writes the values of one template, and counts them."""

    def __init__(self) -> None:
        self._left = _MAX_VALUES
        self._depth = 0

    def json(self, value: Value) -> Any:
        """
        A value where a template has JSON; what has to be computed becomes a string in square brackets.

        Raises:
            Unwritable: it, or all of the template, is too large or too deep; or a name stands twice in an object.
        """
        match value:
            case Scalar(value=str() as text):
                return escaped(text)
            case Scalar(value=plain):
                return plain
            case ArrayOf(items=items):
                self._enter()
                array = [self.json(item) for item in items]
                self._depth -= 1
                return array
            case ObjectOf():
                return self._object(value)
            case _:
                return f"[{self.expression(value)}]"

    def copy(self, copy: Copy) -> dict[str, Any]:
        """
        A loop as a template has it.

        Raises:
            Unwritable: as for `json`.
        """
        return {"name": copy.name, "count": self.json(copy.count), "input": self.json(copy.input)}

    def expression(self, value: Value) -> str:
        """
        A value within an expression.

        Raises:
            Unwritable: as for `json`.
        """
        self._enter()
        match value:
            case Scalar(value=plain):
                text = _literal(plain)
            case FunctionCall(name=name, arguments=arguments):
                text = self._call(name, arguments)
            case Access(of=of, key=Scalar(value=str() as key)) if _IDENTIFIER.fullmatch(key):
                text = f"{self.expression(of)}.{key}"
            case Access(of=of, key=key):
                text = f"{self.expression(of)}[{self.expression(key)}]"
            case ArrayOf(items=items):
                text = self._call("createArray", items)
            case ObjectOf(entries=entries):
                text = self._call("createObject", [part for entry in entries for part in entry])
        self._depth -= 1
        return text

    def _call(self, name: str, arguments: Iterable[Value]) -> str:
        written = [self.expression(argument) for argument in arguments]
        return f"{name}({', '.join(written)})"

    def _object(self, value: ObjectOf) -> dict[str, Any]:
        self._enter()
        found: dict[str, Any] = {}
        if value.copies:
            found["copy"] = [self.copy(copy) for copy in value.copies]
        for key, item in value.entries:
            name = self.json(key)
            if name in found:
                raise Unwritable("The property is declared multiple times in an object at this location.")
            found[name] = self.json(item)
        self._depth -= 1
        return found

    def _enter(self) -> None:
        self._left -= 1
        self._depth += 1
        if self._left < 0 or self._depth > _MAX_DEPTH:
            raise Unwritable("The template is too large, or too deep, from this location on.")


def _literal(value: str | int | bool | None) -> str:
    match value:
        case None:
            return "null()"
        case bool():
            return "true()" if value else "false()"
        case int():
            return str(value)
        case str():
            return "'" + value.replace("'", "''") + "'"
