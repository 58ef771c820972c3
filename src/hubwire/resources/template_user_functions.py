"""Functions that a template declares itself, each under a namespace."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from hubwire.resources.expressions import Budget, Function, Scope, find
from hubwire.resources.template_faults import At, TemplateFault
from hubwire.resources.template_parameters import Declaration, declaration
from hubwire.resources.template_trees import check, evaluated, members

__all__ = ["user_functions"]


def user_functions(
    declared: Any, known: Mapping[str, Function], definitions: Mapping[str, Any], budget: Budget
) -> dict[str, Function]:
    """
    The functions of a template by `namespace.name` in lower case.

    Args:
        declared: the `functions` of the template.
        known: the functions of the language, which they may call; they may call one another as well.

    Raises:
        TemplateFault: they are not what they must be.
    """
    if declared is UNSET or declared is None:
        return {}
    if not isinstance(declared, list):
        raise TemplateFault("The functions of the template must be an array.", ("functions",))
    functions: dict[str, Function] = {}
    outputs: list[tuple[Any, At]] = []
    for step, space in enumerate(declared):
        at: At = ("functions", step)
        space = members(space, "A namespace of functions", at)
        namespace = find(space, "namespace")
        if not isinstance(namespace, str) or not namespace:
            raise TemplateFault("A group of functions needs a namespace.", at)
        at = (*at, "members")
        for name, document in members(find(space, "members"), "The members of a namespace", at).items():
            key = f"{namespace}.{name}".lower()
            if key in functions:
                raise TemplateFault(f"The function '{namespace}.{name}' is declared twice.", (*at, name))
            functions[key], output = _function(members(document, "A function", (*at, name)), definitions, (*at, name))
            outputs.append(output)
    for value, at in outputs:
        check(value, budget, {**known, **functions}, at)
    return functions


def _function(document: Mapping[str, Any], definitions: Mapping[str, Any], at: At) -> tuple[Function, tuple[Any, At]]:
    """A function, and its expression with the place."""
    written = find(document, "parameters")
    if written is UNSET:
        written = []
    if not isinstance(written, list):
        raise TemplateFault("The parameters of a function must be an array.", (*at, "parameters"))
    parameters: dict[str, Declaration] = {}
    for step, parameter in enumerate(written):
        where = (*at, "parameters", step)
        name = find(parameter, "name")
        if not isinstance(name, str):
            raise TemplateFault("A parameter of a function needs a name.", where)
        parameters[name.lower()] = declaration(parameter, definitions, where)
    output = members(find(document, "output"), "The output of a function", (*at, "output"))
    value = find(output, "value")
    if value is UNSET:
        raise TemplateFault("A function needs an output with a value.", at)
    made = declaration(output, definitions, (*at, "output"))
    where = (*at, "output", "value")

    def call(scope: Scope, *given: Any) -> Any:
        values: dict[str, Any] = {}
        for (name, declared), argument in zip(parameters.items(), given, strict=True):
            declared.check(argument, f"parameter '{name}' of a function")
            values[name] = argument

        def parameter(name: str) -> Any:
            if name.lower() not in values:
                raise TemplateFault(f"The function parameter '{name[:100]}' is not found.")
            return values[name.lower()]

        def variable(_: str) -> Any:
            raise TemplateFault("A function of a template cannot see its variables.")

        inner = replace(
            scope, parameter=parameter, variable=variable, runtime=None, copies={}, lambdas={}, is_default=False
        )
        result = evaluated(value, inner, where)
        made.check(result, "output of a function")
        return result

    return Function(call, len(parameters), len(parameters)), (value, where)
