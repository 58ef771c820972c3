"""
Requests about states in groups.

Nothing public names the roles for them. Who is in a group, or may join it, may have a state in it; who may join it may
be told of all. To take one's own state away and to be told no more is always allowed.
"""

from collections.abc import Awaitable, Callable, Mapping

from hubwire.cluster.node import Node
from hubwire.hub.connection import Connection
from hubwire.model.errors import Forbidden
from hubwire.model.messages import SetGroupState, SubscribeGroupState, UnsubscribeGroupState

__all__ = ["carry_out", "resumed"]


def carry_out(
    node: Node,
    connection: Connection,
    request: SetGroupState | SubscribeGroupState | UnsubscribeGroupState,
    accepted: Callable[[], None],
) -> Awaitable[None] | None:
    """
    Carry out one request.

    Args:
        accepted: called when it is carried out, before the client is told any states for it.

    Returns:
        None when that is done; else to be awaited.

    Raises:
        Forbidden: the client may not.
        Conflict: it is more than a client may have.
    """
    group = request.group
    match request:
        case SetGroupState():
            waiting = _set(node, connection, group, request.state)
            if waiting is not None:
                return _accepted_after(waiting, connection, accepted)
        case SubscribeGroupState():
            if not connection.permissions.allows("joinLeaveGroup", group):
                raise Forbidden(f"The client does not have permission to subscribe to the states of group '{group}'.")
            return node.states.subscribe(connection, group, accepted)
        case UnsubscribeGroupState():
            node.states.unsubscribe(connection, group)
    if connection.alive:
        accepted()
    return None


def _set(node: Node, connection: Connection, group: str, state: Mapping[str, str] | None) -> Awaitable[None] | None:
    if state is None:
        node.states.clear(connection, group)
        return None
    may_join = connection.permissions.allows("joinLeaveGroup", group)
    if not may_join and group not in connection.groups:
        raise Forbidden(f"The client does not have permission to set a state in group '{group}'.")
    return node.states.set(connection, group, state, members_only=not may_join)


async def _accepted_after(waiting: Awaitable[None], connection: Connection, accepted: Callable[[], None]) -> None:
    await waiting
    if connection.alive:
        accepted()


def resumed(node: Node, connection: Connection) -> Awaitable[None] | None:
    """
    Tell a client that has come back all that it has subscribed to, unless what it has missed was kept for it.

    Returns:
        None if there is nothing to tell; else to be awaited.
    """
    states = connection.states
    if states is None or not states.subscribed or connection.codec.numbers_states:
        return None
    return _tell_again(node, connection, list(states.subscribed))


async def _tell_again(node: Node, connection: Connection, groups: list[str]) -> None:
    for group in groups:
        states = connection.states
        if connection.alive and states is not None and group in states.subscribed:
            await node.states.subscribe(connection, group)
