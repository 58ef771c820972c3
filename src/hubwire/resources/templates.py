"""
A template and its parameters, made into a plan: which resources, in which order, with which documents.

All that can be known to be wrong is found while the plan is made, before anything is done. What is left open are the
values that only resources know once they are there, asked for by `reference` and `list*`.

No input or output, no clock: a runtime that the caller brings knows the resources, an environment knows the rest.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from msgspec import UNSET, Struct
from msgspec.structs import replace

from hubwire.resources.expressions import Budget, Call, Function, Literal, Node, Scope, find
from hubwire.resources.template_context import Environment, Runtime
from hubwire.resources.template_faults import At, TemplateFault, Unresolved, path_text
from hubwire.resources.template_functions import FUNCTIONS
from hubwire.resources.template_layout import DEPLOYMENTS, Index, Laid, lay_out
from hubwire.resources.template_order import explicit, implicit, in_order
from hubwire.resources.template_parameters import Declaration, Parameters, declaration
from hubwire.resources.template_trees import check, evaluated, looped, members
from hubwire.resources.template_user_functions import user_functions
from hubwire.resources.template_variables import Variables

__all__ = ["Environment", "Plan", "Planned", "Runtime", "TemplateFault", "Unresolved", "prepare"]

Locate = Callable[[At], tuple[int, int] | None]

_SCHEMA: Final = re.compile(
    r"https?://schema\.management\.azure\.com/schemas/[^/]*+/([a-z]{0,20})deploymenttemplate\.json#?"
)
_KNOWN: Final = frozenset(
    {
        "$schema",
        "apiprofile",
        "contentversion",
        "definitions",
        "functions",
        "languageversion",
        "metadata",
        "outputs",
        "parameters",
        "resources",
        "variables",
        "comments",
    }
)
_UNAVAILABLE: Final = frozenset({"asserts", "extensions", "imports", "rules"})
_MAX_OUTPUTS: Final = 800


class Planned(Struct, frozen=True):
    """
    One resource of a plan.

    Attributes:
        symbol: in a template that has them; of an instance of a loop with its index.
        name: of the whole way, such as `parent/child`.
        existing: whether it is only said to be there already.
        depends_on: ids of resources of this plan, all of which come before this one.
        path: where it stands in the template.
        subscription_id, resource_group: where it is deployed to.
    """

    symbol: str | None
    type: str
    api_version: str
    name: str
    id: str
    existing: bool
    depends_on: tuple[str, ...]
    path: str
    subscription_id: str
    resource_group: str


class Plan:
    """
    What a deployment is going to do. Made by `prepare`.

    Attributes:
        parameters: with type and value as the answer to a deployment shows them; secure ones without value.
        resources: in the order in which to deploy them.
    """

    def __init__(
        self,
        parameters: dict[str, dict[str, Any]],
        resources: tuple[Planned, ...],
        sources: Mapping[Planned, Laid],
        outputs: Mapping[str, tuple[Mapping[str, Any], Declaration]],
        scope: Scope,
        locate: Locate,
    ) -> None:
        self.parameters = parameters
        self.resources = resources
        self._sources = sources
        self._outputs = outputs
        self._scope = scope
        self._budget = scope.budget.renewed()
        self._locate = locate

    def body(self, resource: Planned, runtime: Runtime, *, keep_unresolved: bool = False) -> dict[str, Any]:
        """
        The document of a resource, with all that the template says about it besides how to deploy it.

        Args:
            resource: one of `resources`.
            keep_unresolved: whether an expression whose value is not known yet stays as its text.

        Raises:
            Unresolved: such a value, if they are not kept.
            TemplateFault: an expression has no value, now that the runtime knows more.
        """
        with _located(self._locate):
            return _body(self._sources[resource], self._fresh(runtime, keep_unresolved))

    def outputs(self, runtime: Runtime) -> dict[str, dict[str, Any]]:
        """
        What the template gives back, with type and value; secure ones without value.

        Raises:
            Unresolved: a value that is not known yet.
            TemplateFault: an expression has no value, or one of another type than declared.
        """
        with _located(self._locate):
            return _outputs(self._outputs, self._fresh(runtime, False))

    def _fresh(self, runtime: Runtime, keeps_unresolved: bool) -> Scope:
        # One budget for all that is still to come, or many resources could each take as long as a whole template.
        return replace(self._scope, budget=self._budget, runtime=runtime, keeps_unresolved=keeps_unresolved)


def prepare(
    template: Any, parameters: Mapping[str, Any], environment: Environment, locate: Locate = lambda _: None
) -> Plan:
    """
    Make a plan of a template.

    Args:
        template: as it was read.
        parameters: what is given for them, each as `{"value": …}`.
        locate: line and column, from 1, of a place in the template.

    Raises:
        TemplateFault: something is wrong with the template or with what is given. It carries the place.
    """
    with _located(locate):
        return _prepared(template, parameters, environment, locate)


@contextmanager
def _located(locate: Locate) -> Iterator[None]:
    """Give a fault that leaves its line and column."""
    try:
        yield
    except TemplateFault as fault:
        place = locate(fault.at or ())
        if place is not None:
            fault.line, fault.column = place
        raise


def _prepared(template: Any, given: Mapping[str, Any], environment: Environment, locate: Locate) -> Plan:
    budget = Budget({})
    for document in (template, *given.values()):
        budget.charge(document)
    template = _checked_frame(template)
    definitions = members(find(template, "definitions"), "The definitions", ("definitions",))
    declared = Parameters(find(template, "parameters"), given, definitions)
    variables = Variables(find(template, "variables"))
    index = Index()
    functions = {**FUNCTIONS, **user_functions(find(template, "functions"), FUNCTIONS, definitions, budget)}

    def parameter(name: str) -> Any:
        return declared.value(name, replace(scope, is_default=True))

    def variable(name: str) -> Any:
        return variables.value(name, scope)

    scope = Scope(budget, functions, environment, parameter, variable, index.target, index.targets, template)
    outputs = _declared_outputs(find(template, "outputs"), definitions)
    _check_calls(template, budget, functions, declared, variables)
    declared.settle(replace(scope, is_default=True))
    echo = declared.echo(scope)
    variables.settle(scope)
    index.fill(*lay_out(find(template, "resources"), scope))
    _refuse_duplicates(index.resources)
    waits = _waits(index, scope)
    planned = _planned(index.resources, waits, in_order(index.resources, waits))
    _outputs(outputs, replace(scope, runtime=_Nothing()), skips_unresolved=True)
    return Plan(echo, tuple(planned), planned, outputs, scope, locate)


def _checked_frame(template: Any) -> Mapping[str, Any]:
    """The template, if it is one for a resource group and has nothing in it that would be passed over."""
    if not isinstance(template, dict):
        raise TemplateFault("The template must be an object.", ())
    for name in template:
        if name.lower() in _UNAVAILABLE and template[name]:
            raise TemplateFault(f"'{name}' of a template is not available.", (name,))
        if name.lower() not in _KNOWN | _UNAVAILABLE:
            raise TemplateFault(f"Could not find member '{name[:100]}' on object of type 'Template'.", (name,))
    if find(template, "resources") is UNSET:
        raise TemplateFault("The required property 'resources' is missing.", ())
    schema = find(template, "$schema")
    if schema is UNSET:
        raise TemplateFault("The required property '$schema' is missing.", ())
    found = _SCHEMA.fullmatch(schema.lower()) if isinstance(schema, str) else None
    if found is None:
        raise TemplateFault("The $schema is not one of a deployment template.", ("$schema",))
    if found.group(1):
        raise TemplateFault(
            "Only templates for resource groups can be deployed: the $schema must be one of deploymentTemplate.json.",
            ("$schema",),
        )
    version = find(template, "contentVersion")
    if not isinstance(version, str) or not version:
        raise TemplateFault("The required property 'contentVersion' is missing, or is no string.", ())
    return template


def _check_calls(
    template: Mapping[str, Any],
    budget: Budget,
    functions: Mapping[str, Function],
    declared: Parameters,
    variables: Variables,
) -> None:
    """Look at every expression before the first one is evaluated."""

    def see(call: Call) -> None:
        name = call.name.lower()
        first: Node | None = call.arguments[0] if call.arguments else None
        if not isinstance(first, Literal) or not isinstance(first.value, str):
            return
        if name == "parameters" and not declared.knows(first.value):
            raise TemplateFault(f"The template parameter '{first.value[:100]}' is not found.")
        if name == "variables" and not variables.knows(first.value):
            raise TemplateFault(f"The template variable '{first.value[:100]}' is not found.")

    for part in _PARTS:
        key = next((name for name in template if name.lower() == part), part)
        check(_PARTS[part](template.get(key)), budget, functions, (key,), see)


def _defaults(declared: Any) -> Any:
    """Of parameters, all that is evaluated: the rest are constraints and words for people."""
    return {name: {key: what[key] for key in what if key.lower() == "defaultvalue"} for name, what in declared.items()}


def _spoken(value: Any) -> Any:
    """
    Resources or outputs, without what is only said to people, and without the templates in them: the expressions of
    those speak of their own parameters.
    """
    if isinstance(value, list):
        return [_spoken(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = find(value, "type")
    left_out = {"metadata", "comments"}
    if isinstance(kind, str) and kind.lower() == DEPLOYMENTS:
        left_out.add("properties")
    if kind is UNSET:
        left_out = set()
    return {
        name: _spoken(inner) if name.lower() != "properties" else inner
        for name, inner in value.items()
        if name.lower() not in left_out
    }


_PARTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "parameters": lambda declared: _defaults(declared or {}),
    "variables": lambda declared: declared,
    "resources": _spoken,
    "outputs": _spoken,
}


def _refuse_duplicates(resources: Sequence[Laid]) -> None:
    seen: set[str] = set()
    for resource in resources:
        if resource.is_active and not resource.existing:
            if resource.id.lower() in seen:
                raise TemplateFault(
                    f"The resource '{resource.id}' is defined multiple times in the template.", (*resource.at, "name")
                )
            seen.add(resource.id.lower())


def _waits(index: Index, scope: Scope) -> dict[int, set[int]]:
    """What each resource that is deployed waits for. Each document is made once for that, which finds its faults."""
    waits: dict[int, set[int]] = {}
    for position, resource in enumerate(index.resources):
        if not resource.is_active:
            continue
        asked = _Nothing()
        _body(resource, replace(scope, runtime=asked, keeps_unresolved=True))
        met = {at for at in map(index.find, asked.ids) if at is not None and index.resources[at].is_active}
        waits[position] = explicit(resource, index, scope) | implicit(resource, index, scope) | met
    return waits


class _Nothing:
    """A runtime before anything is there. It remembers what it was asked for."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def reference(self, resource_id: str, api_version: str | None, full: bool) -> NoReturn:  # noqa: ARG002  a port
        self.ids.append(resource_id)
        raise Unresolved(resource_id)

    def list_secrets(self, function: str, resource_id: str, api_version: str) -> NoReturn:  # noqa: ARG002  a port
        self.ids.append(resource_id)
        raise Unresolved(resource_id)


def _planned(resources: Sequence[Laid], waits: Mapping[int, set[int]], order: Sequence[int]) -> dict[Planned, Laid]:
    rank = {position: at for at, position in enumerate(order)}
    planned: dict[Planned, Laid] = {}
    for position in order:
        source = resources[position]
        # Two that only exist may be one: what depends on them depends on it once.
        depends_on = tuple(dict.fromkeys(resources[at].id for at in sorted(waits[position], key=rank.__getitem__)))
        resource = Planned(
            symbol=source.symbol,
            type=source.type,
            api_version=source.api_version,
            name=source.name,
            id=source.id,
            existing=source.existing,
            depends_on=depends_on,
            path=path_text(source.at),
            subscription_id=source.subscription_id,
            resource_group=source.resource_group,
        )
        planned[resource] = source
    return planned


def _body(source: Laid, scope: Scope) -> dict[str, Any]:
    scope = replace(scope, copies=source.copies)
    body: dict[str, Any] = {"type": source.type, "apiVersion": source.api_version, "name": source.name, "id": source.id}
    for name, value in source.parts():
        body[name] = evaluated(value, scope, (*source.at, name))
    return body


def _declared_outputs(outputs: Any, definitions: Mapping[str, Any]) -> dict[str, tuple[Mapping[str, Any], Declaration]]:
    at: At = ("outputs",)
    result = {
        name: (members(document, "An output", (*at, name)), declaration(document, definitions, (*at, name)))
        for name, document in members(outputs, "The outputs of the template", at).items()
    }
    if len(result) > _MAX_OUTPUTS:
        raise TemplateFault(f"The template has more than {_MAX_OUTPUTS} outputs.", at)
    return result


def _outputs(
    outputs: Mapping[str, tuple[Mapping[str, Any], Declaration]], scope: Scope, skips_unresolved: bool = False
) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    for name, (document, declared) in outputs.items():
        try:
            if not _is_wanted(document, scope, declared.at):
                continue
            value = _output(document, scope, declared.at)
        except Unresolved:
            if skips_unresolved:
                continue
            raise
        declared.check(value, f"template output '{name}'")
        result[name] = {"type": declared.type} | ({} if declared.is_secure else {"value": value})
    return result


def _is_wanted(document: Mapping[str, Any], scope: Scope, at: At) -> bool:
    condition = find(document, "condition")
    holds = True if condition is UNSET else evaluated(condition, scope, (*at, "condition"))
    if not isinstance(holds, bool):
        raise TemplateFault("The condition of an output must be a boolean.", (*at, "condition"))
    return holds


def _output(document: Mapping[str, Any], scope: Scope, at: At) -> Any:
    loop = find(document, "copy")
    if loop is not UNSET:
        return looped(members(loop, "The copy of an output", (*at, "copy")), scope, (*at, "copy"))
    value = find(document, "value")
    if value is UNSET:
        raise TemplateFault("An output needs a value.", at)
    return evaluated(value, scope, (*at, "value"))
