"""
The resources of a template, one by one: loops unrolled, children out of their parents, names and ids known.

What it takes to know them must not depend on any resource that is still to come.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET, Struct
from msgspec.structs import replace

from hubwire.resources.expressions import Scope, find
from hubwire.resources.template_context import Target
from hubwire.resources.template_faults import At, TemplateFault
from hubwire.resources.template_resource_functions import joined
from hubwire.resources.template_trees import evaluated, members, repetitions, string_at
from hubwire.resources.template_values import Unfit

__all__ = ["DEPLOYMENTS", "MAX_RESOURCES", "Index", "Laid", "lay_out"]

DEPLOYMENTS: Final = "microsoft.resources/deployments"
_NOT_IN_BODY: Final = frozenset(
    {
        "asserts",
        "comments",
        "condition",
        "copy",
        "dependson",
        "existing",
        "metadata",
        "resourcegroup",
        "resources",
        "scope",
        "subscriptionid",
        "type",
        "apiversion",
        "id",
        "name",
    }
)
"""Properties of a resource that say how to deploy it, or that the body gets from the plan."""
MAX_RESOURCES: Final = 800
"""Of one template, as in Azure Resource Manager. Instances count, and resources whose condition is false."""


class Laid(Struct, frozen=True):
    """
    One instance of a resource.

    Attributes:
        document: as it is written in the template.
        copies: where it is in its loops.
        symbol: its own, such as `hubs[0]` in a loop; None in a template without symbols.
        loops: names that mean it together with its siblings, in lower case.
        is_active: whether its condition holds.
        parent: id of the resource in which it stands in the template; None without one.
    """

    document: Mapping[str, Any]
    at: At
    copies: Mapping[str, int]
    symbol: str | None
    loops: tuple[str, ...]
    type: str
    name: str
    api_version: str
    id: str
    existing: bool
    is_active: bool
    parent: str | None
    subscription_id: str
    resource_group: str

    def parts(self) -> Iterator[tuple[str, Any]]:
        """The properties of its document that are evaluated as they stand, besides those that the plan knows."""
        for name, value in self.document.items():
            if name.lower() not in _NOT_IN_BODY and (self.type.lower() != DEPLOYMENTS or name.lower() != "properties"):
                yield name, value

    @property
    def target(self) -> Target:
        return Target(self.id, self.type, self.name, self.api_version)


class Index:
    """
    Resources by everything that they may be called: symbol, loop, id, `type/name`, name. Cases do not count.

    Empty until it is filled, because names are made before there is anything to speak of.
    """

    def __init__(self) -> None:
        self.resources: Sequence[Laid] = ()
        self._words: dict[str, list[int]] = {}
        self._loops: dict[str, list[int]] = {}

    def fill(self, resources: Sequence[Laid], loops: Iterable[str]) -> None:
        """`loops` are the names of all, those that make nothing included."""
        self.resources = resources
        self._loops = {loop: [] for loop in loops}
        for position, resource in enumerate(resources):
            for word in _words_of(resource):
                self._words.setdefault(word, []).append(position)
            for loop in resource.loops:
                self._loops[loop].append(position)

    def loop(self, name: str) -> list[int] | None:
        """Positions of all instances of a loop; None if there is no such loop."""
        return self._loops.get(name.lower())

    def find(self, word: str) -> int | None:
        """
        Position of the resource that is called so. One that is deployed goes before one that only has to exist.

        Raises:
            TemplateFault: several are.
        """
        found = self._words.get(word.lower().rstrip("/"), [])
        found = [at for at in found if not self.resources[at].existing] or found
        if len({self.resources[at].id.lower() for at in found}) > 1:
            active = [at for at in found if self.resources[at].is_active]
            if len(active) != 1:
                raise TemplateFault(f"The resource name '{word[:200]}' is ambiguous: use its id.")
            found = active
        # Of several with one id, at most one is deployed.
        return next((at for at in found if self.resources[at].is_active), found[0] if found else None)

    def target(self, word: str) -> Target:
        """
        What an expression means by a word.

        Raises:
            TemplateFault: it is no id, and nothing in the template is called so.
        """
        position = self.find(word)
        if position is not None:
            return self.resources[position].target
        if word.startswith("/"):
            return Target(word)
        raise TemplateFault(
            f"The template reference '{word[:200]}' is not valid: "
            "could not find a template resource or resource copy with this name."
        )

    def targets(self, loop: str) -> list[Target]:
        """The resources of a loop."""
        positions = self.loop(loop)
        if positions is None:
            raise TemplateFault(f"The template reference '{loop[:200]}' is not valid: there is no such copy loop.")
        return [self.resources[at].target for at in positions if self.resources[at].is_active]


def _words_of(resource: Laid) -> set[str]:
    words = {resource.id, resource.name, _partial_id(resource)}
    if resource.symbol is not None:
        words.add(resource.symbol)
    return {word.lower() for word in words}


def _partial_id(resource: Laid) -> str:
    return resource.id.rpartition("/providers/")[2]


def lay_out(resources: Any, scope: Scope) -> tuple[list[Laid], set[str]]:
    """
    All instances of all resources, in the order of the template, and the names of all loops in lower case.

    Raises:
        TemplateFault: a resource is not what one must be, or there are too many.
    """
    result: list[Laid] = []
    loops: set[str] = set()
    for resource in _laid(resources, scope, ("resources",), None, loops):
        result.append(resource)
        if len(result) > MAX_RESOURCES:
            raise TemplateFault(f"The template has more than {MAX_RESOURCES} resources.", ("resources",))
    return result, loops


def _laid(resources: Any, scope: Scope, at: At, parent: Laid | None, loops: set[str]) -> Iterator[Laid]:
    if resources is UNSET or resources is None:
        return
    if not isinstance(resources, dict | list):
        raise TemplateFault("The resources must be an array, or an object of symbols.", at)
    entries = resources.items() if isinstance(resources, dict) else enumerate(resources)
    for step, document in entries:
        here = (*at, step)
        if not isinstance(document, dict):
            raise TemplateFault("A resource must be an object.", here)
        symbol = step if isinstance(step, str) else None
        for instance in _instances(document, symbol, scope, here, parent, loops):
            yield instance
            inner = find(document, "resources")
            if inner is not UNSET and instance.type.lower() != DEPLOYMENTS:
                key = next(name for name in document if name.lower() == "resources")
                yield from _laid(inner, replace(scope, copies=instance.copies), (*here, key), instance, loops)


def _instances(
    document: Mapping[str, Any], symbol: str | None, scope: Scope, at: At, parent: Laid | None, all_loops: set[str]
) -> Iterator[Laid]:
    loop = find(document, "copy")
    if loop is UNSET or loop is None:
        yield _instance(document, symbol, (), scope, at, parent)
        return
    where = (*at, "copy")
    loop = members(loop, "The copy of a resource", where)
    name = string_at(loop, "name", scope, where)
    _check_mode(loop, scope, where)
    # The compiler of Bicep gives a loop the name of its symbol.
    loops = tuple({name.lower(), (name if symbol is None else symbol).lower()})
    all_loops.update(loops)
    for index in range(repetitions(loop, scope, where)):
        inner = replace(scope, copies={**scope.copies, name.lower(): index, "": index})
        yield _instance(document, None if symbol is None else f"{symbol}[{index}]", loops, inner, at, parent)


def _check_mode(loop: Mapping[str, Any], scope: Scope, at: At) -> None:
    """The order of instances is that of the template anyway, so a mode only has to be a good one."""
    mode, size = find(loop, "mode"), find(loop, "batchSize")
    if mode is not UNSET and (not isinstance(mode, str) or mode.lower() not in ("serial", "parallel")):
        raise TemplateFault("The mode of a copy loop must be serial or parallel.", at)
    size = 1 if size is UNSET else evaluated(size, scope, (*at, "batchSize"))
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise TemplateFault("The batchSize of a copy loop must be a positive integer.", at)


def _instance(
    document: Mapping[str, Any],
    symbol: str | None,
    loops: tuple[str, ...],
    scope: Scope,
    at: At,
    parent: Laid | None,
) -> Laid:
    type_name, name = string_at(document, "type", scope, at), string_at(document, "name", scope, at)
    existing = find(document, "existing") is True
    subscription, group, base = _place(document, type_name, existing, scope, at)
    above = _scope_of(document, base, scope, at)
    if parent is not None:
        type_name, name, within = _below(parent, type_name, name)
        above = within if above is None else above
    try:
        type_name, name, container = _plain(type_name, name)
        tail = joined(type_name, name.split("/"))
        if not all(name.split("/")) or "." not in type_name.split("/")[0]:
            raise Unfit("a part of the name, or the namespace of the type, is empty.")
    except Unfit:
        raise TemplateFault(
            f"The template resource '{name[:200]}' for type '{type_name[:200]}' has incorrect segment lengths. "
            "A root resource type must have a segment length one greater than its resource name, "
            "a nested one the same number.",
            (*at, "name"),
        ) from None
    return Laid(
        document=document,
        at=at,
        copies=scope.copies,
        symbol=symbol,
        loops=loops,
        type=type_name,
        name=name,
        api_version=string_at(document, "apiVersion", scope, at),
        id=f"{base if above is None else above}/providers/{container}{tail}",
        existing=existing,
        is_active=_condition(document, scope, at),
        parent=None if parent is None else parent.id,
        subscription_id=subscription,
        resource_group=group,
    )


def _place(document: Mapping[str, Any], type_name: str, existing: bool, scope: Scope, at: At) -> tuple[str, str, str]:
    """
    Subscription, resource group, and the id of what a resource is deployed to.

    Raises:
        TemplateFault: it is another one than that of the deployment, and it is not only said to exist.
    """
    environment = scope.environment
    subscription, group, base = environment.subscription_id, environment.resource_group, environment.group_id
    has_subscription = find(document, "subscriptionId") is not UNSET
    has_group = find(document, "resourceGroup") is not UNSET
    if not has_subscription and not has_group:
        return subscription, group, base
    if not existing and type_name.lower() != DEPLOYMENTS:
        raise TemplateFault(
            "A resource is deployed to the resource group of its deployment: "
            "'resourceGroup' and 'subscriptionId' are only for nested deployments.",
            at,
        )
    if has_subscription:
        subscription = string_at(document, "subscriptionId", scope, at)
        base = f"/subscriptions/{subscription}"
    if has_group:
        group = string_at(document, "resourceGroup", scope, at)
        base = f"/subscriptions/{subscription}/resourceGroups/{group}"
    return subscription, group, base


def _scope_of(document: Mapping[str, Any], base: str, scope: Scope, at: At) -> str | None:
    """Id of the resource that this one extends, without a slash at the end; None if it extends none."""
    if find(document, "scope") in (UNSET, None):
        return None
    written = string_at(document, "scope", scope, at).rstrip("/")
    if not written or written.startswith("/"):
        return written
    return f"{base}/providers/{written}"


def _below(parent: Laid, type_name: str, name: str) -> tuple[str, str, str | None]:
    """
    Full type and name of a resource that stands in another, and what it extends.

    A child gives what its parent does not: the rest of the type and of the name. Some give all of it.
    """
    if type_name.lower().startswith(f"{parent.type.lower()}/"):
        whole = name if name.count("/") == type_name.count("/") - 1 else f"{parent.name}/{name}"
        return type_name, whole, None if _is_plain(parent) else _above(parent)
    if "." in type_name.split("/")[0] and "/" in type_name:
        return type_name, name, parent.id
    return f"{parent.type}/{type_name}", f"{parent.name}/{name}", None if _is_plain(parent) else _above(parent)


def _is_plain(resource: Laid) -> bool:
    return resource.id.lower().count("/providers/") == 1


def _above(resource: Laid) -> str:
    """What a resource, and so its children, extend."""
    return resource.id[: resource.id.rindex("/providers/")]


def _plain(type_name: str, name: str) -> tuple[str, str, str]:
    """
    Type and name of a resource, and what stands before them in its id.

    The old way to write an extension is `A/b/providers/c` with the name `n/Namespace/m`. What it means is a resource
    `Namespace/c` called `m` that extends `A/b` called `n`.

    Raises:
        Unfit: there is not one name for each type.
    """
    types, names = type_name.split("/"), name.split("/")
    lower = [part.lower() for part in types]
    if "providers" not in lower[1:]:
        return type_name, name, ""
    at = lower.index("providers", 1)
    if at < 2 or len(names) != len(types) - 1:
        raise Unfit("the type and the name do not belong together.")
    container = joined("/".join(types[:at]), names[: at - 1])
    return "/".join([names[at - 1], *types[at + 1 :]]), "/".join(names[at:]), f"{container}/providers/"


def _condition(document: Mapping[str, Any], scope: Scope, at: At) -> bool:
    written = find(document, "condition")
    if written is UNSET:
        return True
    value = evaluated(written, scope, (*at, "condition"))
    if not isinstance(value, bool):
        raise TemplateFault("The condition of a resource must be a boolean.", (*at, "condition"))
    return value
