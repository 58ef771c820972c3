"""Functions of the template language that make or look at arrays and objects, and those that are given a lambda."""

from collections.abc import Iterable, Mapping
from functools import cmp_to_key
from typing import Any, Final

from msgspec import UNSET

from hubwire.resources.expressions import Function, Lambda, Literal, Node, Scope, apply, evaluate, find, plain
from hubwire.resources.template_values import Unfit, array, boolean, integer, key_of, kind_of, object_, shown, text

__all__ = ["COLLECTIONS"]

_MAX_RANGE: Final = 10_000
"""Elements that `range` may make, as in Azure Resource Manager."""


def _concat(scope: Scope, *parts: Any) -> Any:
    if isinstance(parts[0], list):
        return [item for part in parts for item in array(part)]
    texts = [_scalar(part) for part in parts]
    scope.budget.spend(sum(map(len, texts)))
    return "".join(texts)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, list | dict):
        raise Unfit(f"a string is expected, but a value of type '{kind_of(value)}' was given.")
    return shown(value)


def _contains(container: Any, wanted: Any) -> bool:
    if isinstance(container, str):
        return _scalar(wanted) in container
    if isinstance(container, dict):
        return find(container, text(wanted)) is not UNSET
    key = key_of(wanted)
    return any(key_of(item) == key for item in array(container))


def _length(value: Any) -> int:
    if isinstance(value, str | list | dict):
        return len(value)
    raise Unfit(f"a value of type '{kind_of(value)}' has no length.")


def _empty(value: Any) -> bool:
    return value is None or _length(value) == 0


def _first(value: Any) -> Any:
    if isinstance(value, str):
        return value[:1]
    return array(value)[0] if array(value) else None


def _last(value: Any) -> Any:
    if isinstance(value, str):
        return value[-1:]
    return array(value)[-1] if array(value) else None


def _take(value: Any, count: Any) -> Any:
    return (value if isinstance(value, str) else array(value))[: max(integer(count), 0)]


def _skip(value: Any, count: Any) -> Any:
    return (value if isinstance(value, str) else array(value))[max(integer(count), 0) :]


def _index_of(container: Any, wanted: Any) -> int:
    if isinstance(container, str):
        return container.lower().find(text(wanted).lower())
    key = key_of(wanted)
    return next((at for at, item in enumerate(array(container)) if key_of(item) == key), -1)


def _last_index_of(container: Any, wanted: Any) -> int:
    if isinstance(container, str):
        return container.lower().rfind(text(wanted).lower())
    key = key_of(wanted)
    return max((at for at, item in enumerate(array(container)) if key_of(item) == key), default=-1)


def _from_end(items: Any, back: Any) -> Any:
    if not 1 <= integer(back) <= len(array(items)):
        raise Unfit(f"the array has {len(items)} elements.")
    return items[-back]


def _try_from_end(items: Any, back: Any) -> Any:
    return items[-back] if 1 <= integer(back) <= len(array(items)) else None


def _range(scope: Scope, start: Any, count: Any) -> list[int]:
    if not 0 <= integer(count) <= _MAX_RANGE:
        raise Unfit(f"the count must be from 0 to {_MAX_RANGE}.")
    if integer(start) + count > 2**31 - 1:
        raise Unfit("the range ends beyond of what 32 bits hold.")
    scope.budget.spend(16 * count)
    return list(range(start, start + count))


def _array(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _create_object(*members: Any) -> dict[str, Any]:
    if len(members) % 2:
        raise Unfit("names and values must come in pairs.")
    result: dict[str, Any] = {}
    for name, value in zip(members[::2], members[1::2], strict=True):
        if text(name) in result:
            raise Unfit(f"the name '{name[:100]}' is given twice.")
        result[name] = value
    return result


def _union(*values: Any) -> Any:
    if isinstance(values[0], dict):
        result: dict[str, Any] = {}
        for value in values:
            _merge(result, object_(value))
        return result
    return list({key_of(item): item for value in reversed(values) for item in reversed(array(value))}.values())[::-1]


def _merge(into: dict[str, Any], right: Mapping[str, Any]) -> None:
    """Put an object over another. Objects on both sides are merged in turn; all that stand in `into` are its own."""
    for name, value in right.items():
        old = into.get(name)
        if not isinstance(value, dict):
            into[name] = value
        else:
            if not isinstance(old, dict):
                old = into[name] = {}
            _merge(old, value)


def _intersection(first: Any, *others: Any) -> Any:
    if isinstance(first, dict):
        return {
            name: value
            for name, value in first.items()
            if all(name in object_(other) and key_of(other[name]) == key_of(value) for other in others)
        }
    common = {key_of(item): item for item in array(first)}
    for other in others:
        there = {key_of(item) for item in array(other)}
        common = {key: item for key, item in common.items() if key in there}
    return list(common.values())


def _flatten(items: Any) -> list[Any]:
    return [inner for item in array(items) for inner in array(item)]


def _items(value: Any) -> list[Any]:
    return [{"key": name, "value": inner} for name, inner in sorted(object_(value).items())]


def _shallow_merge(objects: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for value in array(objects):
        result.update(object_(value))
    return result


def _try_get(value: Any, *keys: Any) -> Any:
    for key in keys:
        inner = find(value, key)
        if inner is UNSET:
            return None
        value = inner
    return value


def _lambda(scope: Scope, *nodes: Node) -> Lambda:
    *names, body = nodes
    written = [name.value for name in names if isinstance(name, Literal)]
    if len(written) < len(names):
        raise Unfit("the names of its arguments must be strings that stand in the expression.")
    return Lambda(tuple(text(name).lower() for name in written), body, scope)


def _lambda_variable(scope: Scope, name: Any) -> Any:
    key = text(name).lower()
    if key not in scope.lambdas:
        raise Unfit(f"'{name[:100]}' is no argument of a lambda around it.")
    return scope.lambdas[key]


def _lambda_of(value: Any, least: int, most: int) -> Lambda:
    """A lambda with a number of arguments."""
    if not isinstance(value, Lambda):
        raise Unfit(f"a lambda is expected, but a value of type '{kind_of(value)}' was given.")
    if not least <= len(value.names) <= most:
        raise Unfit(f"the lambda has {len(value.names)} arguments, which is not what it is called with.")
    return value


def _filter(items: Any, predicate: Any) -> list[Any]:
    test = _lambda_of(predicate, 1, 2)
    return [item for at, item in enumerate(array(items)) if boolean(apply(test, item, at))]


def _map(items: Any, mapping: Any) -> list[Any]:
    each = _lambda_of(mapping, 1, 2)
    return [apply(each, item, at) for at, item in enumerate(array(items))]


def _reduce(items: Any, initial: Any, combine: Any) -> Any:
    step = _lambda_of(combine, 2, 3)
    for at, item in enumerate(array(items)):
        initial = apply(step, initial, item, at)
    return initial


def _sort(items: Any, before: Any) -> list[Any]:
    less = _lambda_of(before, 2, 2)

    def compare(left: Any, right: Any) -> int:
        if boolean(apply(less, left, right)):
            return -1
        return 1 if boolean(apply(less, right, left)) else 0

    return sorted(array(items), key=cmp_to_key(compare))


def _to_object(items: Any, key: Any, value: Any = None) -> dict[str, Any]:
    name_of = _lambda_of(key, 1, 1)
    value_of = None if value is None else _lambda_of(value, 1, 1)
    return {text(apply(name_of, item)): item if value_of is None else apply(value_of, item) for item in array(items)}


def _group_by(items: Any, key: Any) -> dict[str, Any]:
    name_of = _lambda_of(key, 1, 1)
    groups: dict[str, Any] = {}
    for item in array(items):
        groups.setdefault(text(apply(name_of, item)), []).append(item)
    return groups


def _map_values(value: Any, mapping: Any) -> dict[str, Any]:
    each = _lambda_of(mapping, 1, 1)
    return {name: apply(each, inner) for name, inner in object_(value).items()}


def _coalesce(scope: Scope, *nodes: Node) -> Any:
    return next((value for value in _lazily(scope, nodes) if value is not None), None)


def _lazily(scope: Scope, nodes: Iterable[Node]) -> Iterable[Any]:
    return (evaluate(node, scope) for node in nodes)


COLLECTIONS: Final[Mapping[str, Function]] = {
    "array": plain(_array, 1, 1),
    "coalesce": Function(_coalesce, 1, None, lazy=True, passes=True),
    "concat": Function(_concat, 1, None),
    "contains": plain(_contains, 2, 2),
    "createarray": plain(lambda *items: list(items), 0, None),
    "createobject": plain(_create_object, 0, None),
    "empty": plain(_empty, 1, 1),
    "filter": plain(_filter, 2, 2),
    "first": plain(_first, 1, 1, passes=True),
    "flatten": plain(_flatten, 1, 1),
    "groupby": plain(_group_by, 2, 2),
    "indexfromend": plain(_from_end, 2, 2, passes=True),
    "indexof": plain(_index_of, 2, 2),
    "intersection": plain(_intersection, 2, None),
    "items": plain(_items, 1, 1),
    "lambda": Function(_lambda, 1, None, lazy=True, passes=True),
    "lambdavariables": Function(_lambda_variable, 1, 1, passes=True),
    "last": plain(_last, 1, 1, passes=True),
    "lastindexof": plain(_last_index_of, 2, 2),
    "length": plain(_length, 1, 1),
    "map": plain(_map, 2, 2),
    "mapvalues": plain(_map_values, 2, 2),
    "objectkeys": plain(lambda value: sorted(object_(value)), 1, 1),
    "range": Function(_range, 2, 2),
    "reduce": plain(_reduce, 3, 3),
    "shallowmerge": plain(_shallow_merge, 1, 1),
    "skip": plain(_skip, 2, 2),
    "sort": plain(_sort, 2, 2),
    "take": plain(_take, 2, 2),
    "toobject": plain(_to_object, 2, 3),
    "tryget": plain(_try_get, 2, None),
    "tryindexfromend": plain(_try_from_end, 2, 2, passes=True),
    "union": plain(_union, 1, None),
}
