"""All functions of the template language, by name. The ones of logic and of numbers are here."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from hubwire.resources.expressions import Function, Node, Scope, evaluate, plain
from hubwire.resources.template_collection_functions import COLLECTIONS
from hubwire.resources.template_faults import TemplateFault
from hubwire.resources.template_resource_functions import RESOURCES
from hubwire.resources.template_text_functions import TEXT
from hubwire.resources.template_values import Unfit, array, boolean, integer, key_of, number, text, whole

__all__ = ["FUNCTIONS"]

_DECIMAL: Final = re.compile(r"\s*+[+-]?[0-9]{1,20}\s*+")
_FLOAT: Final = re.compile(r"\s*+[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?\s*+")


def _if(scope: Scope, condition: Node, then: Node, otherwise: Node) -> Any:
    return evaluate(then if boolean(evaluate(condition, scope)) else otherwise, scope)


def _and(scope: Scope, *nodes: Node) -> bool:
    return all(boolean(evaluate(node, scope)) for node in nodes)


def _or(scope: Scope, *nodes: Node) -> bool:
    return any(boolean(evaluate(node, scope)) for node in nodes)


def _xor(left: Any, right: Any) -> bool:
    return boolean(left) != boolean(right)


def _equals(left: Any, right: Any) -> bool:
    return key_of(left) == key_of(right)


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value != 0
    word = text(value).strip().lower()
    if word in ("true", "1"):
        return True
    if word in ("false", "0"):
        return False
    raise Unfit("the text is not a boolean.")


def _int(value: Any) -> int:
    if isinstance(value, str):
        if _DECIMAL.fullmatch(value) is None:
            raise Unfit("the text is not an integer.")
        return whole(int(value))
    if isinstance(value, float) and value.is_integer():
        return whole(int(value))
    return integer(value)


def _float(value: Any) -> float:
    if isinstance(value, str):
        if _FLOAT.fullmatch(value) is None:
            raise Unfit("the text is not a number.")
        value = float(value)
    result = float(number(value))
    if result in (float("inf"), float("-inf")):
        raise Unfit("the number is too large.")
    return result


def _compared(compare: Callable[[Any, Any], bool]) -> Function:
    def call(left: Any, right: Any) -> bool:
        # Strings compare by their code points; a string and a number do not compare.
        return compare(left, text(right)) if isinstance(left, str) else compare(number(left), number(right))

    return plain(call, 2, 2)


def _computed(compute: Callable[[int, int], int]) -> Function:
    return plain(lambda left, right: whole(compute(integer(left), integer(right))), 2, 2)


def _divided(left: int, right: int) -> int:
    """Towards zero, as .NET does it."""
    if right == 0:
        raise Unfit("the divisor is zero.")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _extreme(choose: Callable[[list[int]], int]) -> Function:
    def call(*given: Any) -> int:
        values = [
            integer(value) for value in (array(given[0]) if len(given) == 1 and isinstance(given[0], list) else given)
        ]
        if not values:
            raise Unfit("the array is empty.")
        return choose(values)

    return plain(call, 1, None)


def _fail(message: Any) -> Any:
    raise TemplateFault(text(message)[:1000])


_LOGIC: Final[Mapping[str, Function]] = {
    "add": _computed(lambda left, right: left + right),
    "and": Function(_and, 1, None, lazy=True),
    "bool": plain(_bool, 1, 1),
    "div": _computed(_divided),
    "equals": plain(_equals, 2, 2),
    "fail": plain(_fail, 1, 1),
    "false": plain(lambda: False, 0, 0),
    "float": plain(_float, 1, 1),
    "greater": _compared(lambda left, right: left > right),
    "greaterorequals": _compared(lambda left, right: left >= right),
    "if": Function(_if, 3, 3, lazy=True, passes=True),
    "int": plain(_int, 1, 1),
    "less": _compared(lambda left, right: left < right),
    "lessorequals": _compared(lambda left, right: left <= right),
    "max": _extreme(max),
    "min": _extreme(min),
    "mod": _computed(lambda left, right: left - right * _divided(left, right)),
    "mul": _computed(lambda left, right: left * right),
    "not": plain(lambda value: not boolean(value), 1, 1),
    "null": plain(lambda: None, 0, 0),
    "or": Function(_or, 1, None, lazy=True),
    "sub": _computed(lambda left, right: left - right),
    "true": plain(lambda: True, 0, 0),
    "xor": plain(_xor, 2, 2),
}

FUNCTIONS: Final[Mapping[str, Function]] = {**_LOGIC, **TEXT, **COLLECTIONS, **RESOURCES}
"""
By name in lower case. `list*` stands for every other name that begins with "list".

Functions that Azure has and we do not: those of CIDR ranges, zones, providers, deployers, and of other clouds.
"""
