"""
Pieces of ARM documents as they arrive: names without case, values checked, each fault with the name that it is about.
Pure.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from hubwire.model.errors import BadRequest

__all__ = [
    "Check",
    "as_list",
    "as_object",
    "boolean",
    "choice",
    "choices",
    "free",
    "is_shallow",
    "number",
    "patched",
    "spelled",
    "text",
]

Check: TypeAlias = Callable[[str, object], Any]
"""Takes a property's name and its value, and returns the value as it is kept; raises BadRequest."""

_MAX_DEPTH: Final = 32
"""Of arrays and objects in one another. What we do not know is kept, but not at any price."""


def spelled(properties: Mapping[str, Any], known: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """
    The same properties, those that are known in the spelling of the definition: names compare without case, as in all
    of Azure Resource Manager, and one in another case would otherwise be kept like an unknown one and do nothing.

    Args:
        known: by the spelling of the definition.
        within: what the properties are part of, for errors.

    Raises:
        BadRequest: one is given twice.
    """
    spelling = {name.lower(): name for name in known}
    result: dict[str, Any] = {}
    for typed, value in properties.items():
        name = spelling.get(typed.lower(), typed)
        if name in result:
            raise BadRequest(f"{within}{name} is given twice.", target=f"{within}{name}")
        result[name] = value
    return result


def patched(old: Mapping[str, Any], patch: object, known: Mapping[str, Any]) -> dict[str, Any]:
    """
    Properties `old` with those of `patch` in place of their own, and without those that are null in it.

    Args:
        known: see `spelled`.

    Raises:
        BadRequest: no object, or a property is given twice.
    """
    if not isinstance(patch, dict):
        raise BadRequest("properties must be an object.", target="properties")
    both = {**old, **spelled(patch, known, "properties.")}
    return {name: value for name, value in both.items() if value is not None}


def as_object(name: str, value: object, checks: Mapping[str, Check]) -> dict[str, Any]:
    """An object whose known properties are checked, and whose unknown ones are kept."""
    if not isinstance(value, dict):
        raise BadRequest(f"{name} must be an object.", target=name)
    result: dict[str, Any] = {}
    for key, item in spelled(value, checks, f"{name}.").items():
        check = checks.get(key, free)
        if item is not None or check is free:
            result[key] = check(f"{name}.{key}", item)
    return result


def as_list(name: str, value: object, check: Check, most: int | None = None) -> list[Any]:
    """An array, each of its items checked."""
    if not isinstance(value, list):
        raise BadRequest(f"{name} must be an array.", target=name)
    if most is not None and len(value) > most:
        raise BadRequest(f"{name} may have {most} items.", target=name)
    return [check(f"{name}[{position}]", item) for position, item in enumerate(value)]


def text(name: str, value: object) -> str:
    """Text that says something."""
    if not isinstance(value, str) or not value.strip():
        raise BadRequest(f"{name} must be a string that is not empty.", target=name)
    return value


def boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false.", target=name)
    return value


def number(least: int, most: int) -> Check:
    """A whole number within bounds."""

    def check(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise BadRequest(f"{name} must be an integer from {least} to {most}.", target=name)
        return value

    return check


def choice(*values: str) -> Check:
    """One of some words, in any case; it is kept as it is spelled here."""
    spelling = {value.lower(): value for value in values}

    def check(name: str, value: object) -> str:
        # Some clients send the word of a switch as what it stands for.
        word = str(value).lower() if isinstance(value, bool) else value
        if not isinstance(word, str) or word.lower() not in spelling:
            raise BadRequest(f"{name} must be {_either(values)}.", target=name)
        return spelling[word.lower()]

    return check


def choices(*values: str) -> Check:
    """An array of such words."""
    one = choice(*values)
    return lambda name, value: list(dict.fromkeys(as_list(name, value, one)))


def free(name: str, value: object) -> Any:
    """Anything; a copy of it, so that nobody changes what we keep."""
    if not is_shallow(value, _MAX_DEPTH):
        raise BadRequest(f"{name} is nested more than {_MAX_DEPTH} levels deep.", target=name)
    return copy.deepcopy(value)


def is_shallow(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(is_shallow(item, levels - 1) for item in inner)


def _either(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"
