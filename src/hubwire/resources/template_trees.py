"""Parts of a template: documents with expressions anywhere in them, and loops that stand in for arrays."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import replace

from hubwire.resources.expressions import (
    Budget,
    Call,
    Function,
    Node,
    Scope,
    called,
    evaluate,
    find,
    function_of,
    is_expression,
)
from hubwire.resources.template_faults import At, TemplateFault, Unresolved
from hubwire.resources.template_values import kind_of

__all__ = ["MAX_COPIES", "check", "evaluated", "looped", "members", "nodes", "repetitions", "string_at"]

MAX_COPIES: Final = 800
"""Iterations of one loop, as in Azure Resource Manager."""


def evaluated(value: Any, scope: Scope, at: At) -> Any:
    """
    A part of a template with its expressions replaced by their values, and its loops by what they make.

    Raises:
        TemplateFault: with its place.
        Unresolved: a value is not known yet, unless the scope keeps those.
    """
    budget = scope.budget
    budget.descend()
    try:
        budget.spend(16)
        if isinstance(value, str):
            return _text(value, scope, at)
        if isinstance(value, list):
            return [evaluated(item, scope, (*at, index)) for index, item in enumerate(value)]
        if isinstance(value, dict):
            return _object(value, scope, at)
        return value
    except TemplateFault as fault:
        fault.place(at)
        raise
    finally:
        budget.ascend()


def _text(text: str, scope: Scope, at: At) -> Any:
    if not is_expression(text):
        scope.budget.spend(len(text))
        return text[1:] if text.startswith("[[") and text.endswith("]") else text
    try:
        value = evaluate(scope.budget.tree(text), scope)
        scope.budget.charge(value)
    except Unresolved:
        if scope.keeps_unresolved:
            return text
        raise
    except TemplateFault as fault:
        fault.place(at)
        raise
    return value


def _object(value: Mapping[str, Any], scope: Scope, at: At) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, inner in value.items():
        if name.lower() == "copy" and _are_loops(inner):
            for index, loop in enumerate(inner):
                made = looped(loop, scope, (*at, name, index))
                result[string_at(loop, "name", scope, (*at, name, index))] = made
            continue
        key = _text(name, scope, (*at, name))
        if not isinstance(key, str) or key in result:
            raise TemplateFault(f"The property name '{name[:100]}' is not a string, or is given twice.", (*at, name))
        result[key] = evaluated(inner, scope, (*at, name))
    return result


def _are_loops(value: Any) -> bool:
    """Whether the value of a property `copy` means loops, and is not a property of that name by chance."""
    return isinstance(value, list) and all(
        isinstance(loop, dict) and find(loop, "name") is not UNSET and find(loop, "input") is not UNSET
        for loop in value
    )


def looped(loop: Mapping[str, Any], scope: Scope, at: At) -> list[Any]:
    """The array that a loop over `input` makes."""
    name = string_at(loop, "name", scope, at) if find(loop, "name") is not UNSET else ""
    written = next((key for key in loop if key.lower() == "input"), None)
    if written is None:
        raise TemplateFault("A copy loop needs an input.", at)
    result: list[Any] = []
    for index in range(repetitions(loop, scope, at)):
        copies = {**scope.copies, name.lower(): index}
        # A loop around it, that of the resource, keeps the name that may be left out.
        copies.setdefault("", index)
        result.append(evaluated(loop[written], replace(scope, copies=copies), (*at, written)))
    return result


def repetitions(loop: Mapping[str, Any], scope: Scope, at: At) -> int:
    """
    The `count` of a loop.

    Raises:
        TemplateFault: it is missing, no integer or out of range.
    """
    count = evaluated(find(loop, "count"), scope, (*at, "count")) if find(loop, "count") is not UNSET else None
    if isinstance(count, bool) or not isinstance(count, int):
        raise TemplateFault("A copy loop needs a count, which must be an integer.", at)
    if not 0 <= count <= MAX_COPIES:
        raise TemplateFault(f"The count of a copy loop must be from 0 to {MAX_COPIES}, but it is {count}.", at)
    return count


def string_at(document: Mapping[str, Any], name: str, scope: Scope, at: At) -> str:
    """
    A property that must be there and be a string.

    Raises:
        TemplateFault: it is not.
    """
    value = find(document, name)
    if value is UNSET:
        raise TemplateFault(f"The required property '{name}' is missing.", at)
    value = evaluated(value, scope, (*at, name))
    if not isinstance(value, str) or not value:
        raise TemplateFault(f"The property '{name}' must be a string, but is of type '{kind_of(value)}'.", (*at, name))
    return value


def members(document: Any, what: str, at: At) -> Mapping[str, Any]:
    """
    An object, or an empty one for what is not there.

    Raises:
        TemplateFault: something else is there.
    """
    if document is UNSET or document is None:
        return {}
    if isinstance(document, dict):
        return document
    raise TemplateFault(f"{what} must be an object, but is of type '{kind_of(document)}'.", at)


def nodes(value: Any, budget: Budget, at: At = ()) -> Iterator[tuple[Node, At]]:
    """
    The tree of every expression in a part of a template, with its place. Names of properties may be expressions too.

    Raises:
        TemplateFault: one cannot be read.
    """
    pending: list[tuple[Any, At]] = [(value, at)]
    while pending:
        item, place = pending.pop()
        if isinstance(item, dict):
            pending.extend((name, (*place, name)) for name in reversed(item))
            pending.extend((item[name], (*place, name)) for name in reversed(item))
        elif isinstance(item, list):
            pending.extend((item[index], (*place, index)) for index in reversed(range(len(item))))
        elif isinstance(item, str) and is_expression(item):
            try:
                yield budget.tree(item), place
            except TemplateFault as fault:
                fault.place(place)
                raise


def check(
    value: Any, budget: Budget, functions: Mapping[str, Function], at: At, see: Callable[[Call], None] = lambda _: None
) -> None:
    """
    Look at every call in a part of a template, without carrying out any.

    Args:
        see: may refuse a call as well.

    Raises:
        TemplateFault: an expression cannot be read, a function is unknown or has a wrong number of arguments.
    """
    for root, place in nodes(value, budget, at):
        pending = [root]
        try:
            while pending:
                node = pending.pop()
                if isinstance(node, Call):
                    function_of(node, functions)
                    see(node)
                pending.extend(reversed(called(node)))
        except TemplateFault as fault:
            fault.place(place)
            raise
