"""
States that connections have in groups, and who is told of them, for one hub on this node.

A state belongs to the node of its connection, which alone changes it; nobody keeps a copy of another node's. Who
subscribes is told what all nodes have, asked for once, together with what was heard while they were asked: of two
states of one connection the later one counts.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from hubwire.hub.connection import Connection, ConnectionStates
from hubwire.model.errors import Conflict
from hubwire.model.messages import GroupStateMessage, MemberState

__all__ = ["GroupStates", "StateLimits", "Subscribing"]

_NOBODY: Final[Mapping[str, Connection]] = MappingProxyType({})
_ROW_BYTES: Final = 64
"""Of a state in a snapshot, besides ids, names and values."""


class StateLimits(NamedTuple):
    """
    How much is kept of states.

    Attributes:
        entries: of one state.
        size_bytes: of one state: of all its names and values, as UTF-8.
        groups: in which one connection may have a state, and as many whose states it may be told.
        group_bytes: of the states of all connections of this node in one group, about as a snapshot has them.
    """

    entries: int = 100
    size_bytes: int = 8192
    groups: int = 100
    group_bytes: int = 1 << 20


class Subscribing:
    """
    A connection is to be told all states of a group, as soon as they are known.

    Attributes:
        states: by connection id, the latest that is known of each; cleared ones too, so that no earlier one counts.
        given_up: it does not want to be told any more.
    """

    __slots__ = ("connection", "given_up", "group", "states")

    def __init__(self, connection: Connection, group: str) -> None:
        self.connection = connection
        self.group = group
        self.states: dict[str, MemberState] = {}
        self.given_up = False

    def learn(self, items: Iterable[MemberState]) -> None:
        """In any order, and more than once."""
        states = self.states
        for item in items:
            known = states.get(item.connection_id)
            if known is None or known.updated_at <= item.updated_at:
                states[item.connection_id] = item


class _Group:
    __slots__ = ("items", "opening", "size_bytes", "subscribers")

    def __init__(self) -> None:
        self.items: dict[str, MemberState] = {}
        self.size_bytes = 0
        self.subscribers: dict[str, Connection] = {}
        self.opening: list[Subscribing] = []


class GroupStates:
    """The states of one hub, as far as its connections are on this node."""

    __slots__ = ("_groups", "_limits")

    def __init__(self, limits: StateLimits) -> None:
        self._limits = limits
        self._groups: dict[str, _Group] = {}

    # What there is.

    def concerns(self, group: str) -> bool:
        """Has a connection a state in the group, or is one told of them, or to be told."""
        return group in self._groups

    def subscribers(self, group: str) -> Collection[Connection]:
        """Who is told of each change. A live view."""
        there = self._groups.get(group)
        return _NOBODY.values() if there is None else there.subscribers.values()

    def items(self, group: str) -> tuple[MemberState, ...]:
        """The states that connections of this node have."""
        there = self._groups.get(group)
        return () if there is None else tuple(there.items.values())

    # What connections set.

    def set(self, connection: Connection, group: str, state: Mapping[str, str], now_ms: int) -> MemberState:
        """
        Args:
            now_ms: Unix milliseconds.

        Returns:
            what subscribers are to be told.

        Raises:
            Conflict: it is more than may be kept.
        """
        limits = self._limits
        if len(state) > limits.entries:
            raise Conflict(f"A group state may have {limits.entries} entries.")
        size_bytes = _state_bytes(state)
        if size_bytes > limits.size_bytes:
            raise Conflict(f"A group state may have {limits.size_bytes} bytes.")
        states = _of(connection)
        before = states.own.get(group)
        if before is None and len(states.own) >= limits.groups:
            raise Conflict(f"A connection may have a state in {limits.groups} groups.")
        there = self._groups.get(group)
        kept_bytes = 0 if there is None else there.size_bytes
        if before is not None:
            kept_bytes -= _item_bytes(before)
        item = MemberState(connection.id, connection.user_id, state, _stamp(states, now_ms))
        kept_bytes += _item_bytes(item)
        if kept_bytes > limits.group_bytes:
            raise Conflict(f"The states of a group may have {limits.group_bytes} bytes.")
        if there is None:
            there = self._groups[group] = _Group()
        there.size_bytes = kept_bytes
        there.items[connection.id] = states.own[group] = item
        return item

    def clear(self, connection: Connection, group: str, now_ms: int) -> MemberState | None:
        """What subscribers are to be told; None if there was no state."""
        states = connection.states
        if states is None or group not in states.own:
            return None
        there = self._groups[group]
        before = states.own.pop(group)
        del there.items[connection.id]
        there.size_bytes -= _item_bytes(before)
        self._tidy(group, there)
        return MemberState(connection.id, connection.user_id, None, _stamp(states, now_ms))

    # Who is told.

    def subscribe(self, connection: Connection, group: str) -> Subscribing:
        """
        Begin to gather what a connection is to be told first. To be ended by `settle`, whatever comes of it.

        Raises:
            Conflict: it is told of as many groups as it may be.
        """
        states = _of(connection)
        if group not in states.subscribed and len(states.subscribed) >= self._limits.groups:
            raise Conflict(f"A connection may subscribe to the states of {self._limits.groups} groups.")
        there = self._groups.get(group)
        if there is None:
            there = self._groups[group] = _Group()
        subscribing = Subscribing(connection, group)
        there.opening.append(subscribing)
        return subscribing

    def began(self, subscribing: Subscribing) -> GroupStateMessage:
        """The states that a connection is told, and from now on each change."""
        connection, group = subscribing.connection, subscribing.group
        self._groups[group].subscribers[connection.id] = connection
        _of(connection).subscribed[group] = None
        states = tuple([item for item in subscribing.states.values() if item.state is not None])
        return GroupStateMessage(group, states, True)

    def settle(self, subscribing: Subscribing) -> None:
        """Nothing more is gathered."""
        there = self._groups[subscribing.group]
        there.opening.remove(subscribing)
        self._tidy(subscribing.group, there)

    def unsubscribe(self, connection: Connection, group: str) -> None:
        """Harmless if it is not told."""
        there = self._groups.get(group)
        if there is None:
            return
        for subscribing in there.opening:
            if subscribing.connection is connection:
                subscribing.given_up = True
        if there.subscribers.pop(connection.id, None) is not None:
            del _of(connection).subscribed[group]
            self._tidy(group, there)

    def heard(self, message: GroupStateMessage) -> None:
        """A node says what has changed."""
        there = self._groups.get(message.group)
        if there is not None:
            for subscribing in there.opening:
                subscribing.learn(message.items)

    # The end.

    def remove(self, connection: Connection, now_ms: int) -> list[tuple[str, MemberState]]:
        """
        Take a connection out of everything.

        Returns:
            by group, what subscribers are to be told.
        """
        states = connection.states
        if states is None:
            return []
        for group in list(states.subscribed):
            self.unsubscribe(connection, group)
        gone: list[tuple[str, MemberState]] = []
        for group in list(states.own):
            item = self.clear(connection, group, now_ms)
            assert item is not None, "it has a state there"
            gone.append((group, item))
        return gone

    def _tidy(self, group: str, there: _Group) -> None:
        if not (there.items or there.subscribers or there.opening):
            del self._groups[group]


def _of(connection: Connection) -> ConnectionStates:
    states = connection.states
    if states is None:
        states = connection.states = ConnectionStates()
    return states


def _stamp(states: ConnectionStates, now_ms: int) -> int:
    """Later than all before, also where the clock was set back or two changes come in one millisecond."""
    states.updated_at = max(now_ms, states.updated_at + 1)
    return states.updated_at


def _state_bytes(state: Mapping[str, str]) -> int:
    return sum([len(name.encode()) + len(value.encode()) for name, value in state.items()])


def _item_bytes(item: MemberState) -> int:
    assert item.state is not None, "it is kept"
    return _ROW_BYTES + len(item.connection_id) + len(item.user_id or "") + _state_bytes(item.state)
