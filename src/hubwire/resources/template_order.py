"""In which order resources are deployed: what each one waits for, and what follows from that."""

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from hubwire.resources.expressions import Call, Node, Scope, called, evaluate
from hubwire.resources.template_faults import At, TemplateFault, Unresolved
from hubwire.resources.template_layout import Index, Laid
from hubwire.resources.template_trees import evaluated, nodes

__all__ = ["explicit", "implicit", "in_order"]


def explicit(resource: Laid, index: Index, scope: Scope) -> set[int]:
    """
    Positions of what `dependsOn` names, and of the parent. What is not deployed because of its condition is left out.

    Raises:
        TemplateFault: something that is not in the template.
    """
    found: set[int] = set()
    for word, at in _words(resource, replace(scope, copies=resource.copies)):
        try:
            found.update(_positions(word, index))
        except TemplateFault as fault:
            fault.place(at)
            raise
    for above in (resource.parent, *_above(resource)):
        position = None if above is None else index.find(above)
        if position is not None:
            found.add(position)
    return {at for at in found if index.resources[at].is_active}


def _words(resource: Laid, scope: Scope) -> list[tuple[str, At]]:
    key = next((name for name in resource.document if name.lower() == "dependson"), None)
    if key is None or resource.document[key] is None:
        return []
    at: At = (*resource.at, key)
    words = evaluated(resource.document[key], scope, at)
    if not isinstance(words, list):
        raise TemplateFault("dependsOn must be an array.", at)
    for step, word in enumerate(words):
        if not isinstance(word, str):
            raise TemplateFault("What dependsOn names must be a string.", (*at, step))
    return [(word, (*at, step)) for step, word in enumerate(words)]


def _positions(word: str, index: Index) -> Sequence[int]:
    """
    A resource, or all of a loop.

    Raises:
        TemplateFault: nothing is called so.
    """
    loop = index.loop(word)
    if loop is not None:
        return loop
    position = index.find(word)
    if position is None:
        raise TemplateFault(f"The resource '{word[:500]}' is not defined in the template.")
    return [position]


def _above(resource: Laid) -> tuple[str, str]:
    """Ids of what a child is a part of, and of what an extension extends, whether or not they are in the template."""
    return resource.id.rsplit("/", 2)[0], resource.id.rpartition("/providers/")[0]


def implicit(resource: Laid, index: Index, scope: Scope) -> set[int]:
    """
    Positions of what a resource asks for by `reference` or `list*`, as far as that can be told beforehand.

    Of an `if` whose condition is known, only the branch that is taken counts.
    """
    found: set[int] = set()
    scope = replace(scope, copies=resource.copies)
    for root, _ in nodes(dict(resource.parts()), scope.budget):
        pending: list[Node] = [root]
        while pending:
            node = pending.pop()
            if isinstance(node, Call) and node.arguments:
                found.update(_asked(node, index, scope))
            pending.extend(_taken(node, scope))
    return {at for at in found if index.resources[at].is_active}


def _taken(node: Node, scope: Scope) -> Sequence[Node]:
    if isinstance(node, Call) and node.name.lower() == "if" and len(node.arguments) == 3:
        condition = _known(node.arguments[0], scope)
        if isinstance(condition, bool):
            return node.arguments[1:2] if condition else node.arguments[2:]
    return called(node)


def _asked(call: Call, index: Index, scope: Scope) -> Sequence[int]:
    name = call.name.lower()
    if name not in ("reference", "references") and not name.startswith("list"):
        return ()
    word = _known(call.arguments[0], scope)
    if not isinstance(word, str):
        return ()
    try:
        return _positions(word, index)
    except TemplateFault:
        # Not in the template, which is allowed: it may be there already.
        return ()


def _known(node: Node, scope: Scope) -> Any:
    """The value of a tree if it can be told beforehand, and UNSET otherwise: who evaluates it later reports why."""
    try:
        return evaluate(node, scope)
    except (TemplateFault, Unresolved):
        return UNSET


def in_order(resources: Sequence[Laid], waits: Mapping[int, set[int]]) -> list[int]:
    """
    Positions so that each comes after what it waits for; where that leaves a choice, in the order of the template.

    Args:
        waits: position to the positions that it waits for, for all that are to be ordered.

    Raises:
        TemplateFault: some wait for one another. The message names them.
    """
    left = {position: len(others) for position, others in waits.items()}
    followers: dict[int, list[int]] = {position: [] for position in waits}
    for position, others in waits.items():
        for other in others:
            followers[other].append(position)
    ready = [position for position, count in left.items() if count == 0]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        position = heapq.heappop(ready)
        order.append(position)
        for follower in followers[position]:
            left[follower] -= 1
            if left[follower] == 0:
                heapq.heappush(ready, follower)
    if len(order) < len(waits):
        _refuse_circle(resources, {at: waits[at] - set(order) for at in waits if left[at] > 0})
    return order


def _refuse_circle(resources: Sequence[Laid], waits: Mapping[int, set[int]]) -> None:
    """Walk from any of those that wait, always to one that waits as well: that leads into a circle."""
    way = [min(waits)]
    while True:
        following = min(waits[way[-1]])
        if following in way:
            circle = way[way.index(following) :]
            break
        way.append(following)
    shown = " -> ".join(resources[at].id for at in [*circle, circle[0]][:20])
    raise TemplateFault(f"Circular dependency detected on resource: {shown}.", resources[circle[0]].at)
