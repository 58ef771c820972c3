"""The registry of one hub on this node: its connections by id, user and group."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from hubwire.hub.connection import Connection
from hubwire.hub.group_state import GroupStates, StateLimits
from hubwire.hub.shares import Share
from hubwire.hub.topics import Audience, Filters
from hubwire.model.names import HubKey
from hubwire.model.targets import Target, to_connection, to_group, to_groups, to_hub, to_user

__all__ = ["Hub"]

_NOBODY: Final[Mapping[str, Connection]] = MappingProxyType({})
_LIMITS: Final = StateLimits()


class Hub:
    """
    Membership, and nothing else: who is here, who is whose, who is in which group.

    Every index maps a name to the connections behind it by their id, in the order in which they came.

    Attributes:
        states: of connections in groups, and who is told of them.
        filters: that connections hear of groups by; None while there is none.
    """

    __slots__ = ("_groups", "_users", "connections", "filters", "key", "states")

    def __init__(self, key: HubKey, limits: StateLimits = _LIMITS) -> None:
        self.key = key
        self.states = GroupStates(limits)
        self.filters: Filters | None = None
        self.connections: dict[str, Connection] = {}
        self._users: dict[str, dict[str, Connection]] = {}
        self._groups: dict[str, dict[str, Connection]] = {}

    def add(self, connection: Connection) -> None:
        """Let a connection in. Its id must be new here."""
        self.connections[connection.id] = connection
        if connection.user_id is not None:
            self._users.setdefault(connection.user_id, {})[connection.id] = connection

    def remove(self, connection: Connection) -> list[Target]:
        """Take a connection out of everything. Returns the topics that nobody here belongs to any more."""
        if self.connections.pop(connection.id, None) is None:
            return []
        empty = [to_connection(self.key, connection.id)]
        empty += [
            to_group(self.key, group) for group in connection.groups if self._out(self._groups, group, connection)
        ]
        connection.groups = {}
        if connection.filters is not None:
            for name in list(connection.filters):
                if self.unsubscribe(connection, name):
                    empty.append(to_groups(self.key))
        if connection.user_id is not None and self._out(self._users, connection.user_id, connection):
            empty.append(to_user(self.key, connection.user_id))
        if not self.connections:
            empty.append(to_hub(self.key))
        return empty

    def join(self, connection: Connection, group: str) -> bool:
        """Make a connection a member. False if it was one."""
        if group in connection.groups:
            return False
        members = self._groups.setdefault(group, {})
        members[connection.id] = connection
        connection.groups[group] = None
        return True

    def leave(self, connection: Connection, group: str) -> bool:
        """End a membership; harmless if there is none. True if the group has no member here any more."""
        if group not in connection.groups:
            return False
        del connection.groups[group]
        return self._out(self._groups, group, connection)

    def subscribe(self, connection: Connection, name: str) -> None:
        """Let a connection hear of groups by a filter. Harmless if it does."""
        if connection.filters is None:
            connection.filters = {}
        elif name in connection.filters:
            return
        if self.filters is None:
            self.filters = Filters()
        self.filters.add(name, connection)
        connection.filters[name] = None

    def unsubscribe(self, connection: Connection, name: str) -> bool:
        """The end of that; it must do so. True if nobody here hears by filters any more."""
        assert self.filters is not None and connection.filters is not None, "it has subscribed"  # noqa: PT018  both do
        self.filters.remove(name, connection)
        del connection.filters[name]
        if not connection.filters:
            connection.filters = None
        if self.filters:
            return False
        self.filters = None
        return True

    def share(self, name: str) -> Share | None:
        """A shared subscription that somebody here has."""
        return None if self.filters is None else self.filters.share(name)

    def audience(self, target: Target) -> Audience | None:
        """Who hears of a message to `target`; None if that is its members, as they are."""
        if self.filters is None or target.kind != "group":
            return None
        return self.filters.audience(target.name, self.members(target))

    def members(self, target: Target) -> Collection[Connection]:
        """The connections that a target means, those that wait for their recovery included. A live view."""
        match target.kind:
            case "group":
                return self._groups.get(target.name, _NOBODY).values()
            case "groups":
                return ()  # who hears of all groups by filters is no member of any
            case "group state":
                return self.states.subscribers(target.name)
            case "user":
                return self._users.get(target.name, _NOBODY).values()
            case "connection":
                connection = self.connections.get(target.name)
                return () if connection is None else (connection,)
            case "hub":
                return self.connections.values()

    def concerns(self, topic: Target) -> bool:
        """Is anything of a topic here: a member, of all groups a filter, or of the states of a group a state."""
        if topic.kind == "groups":
            return self.filters is not None
        return self.states.concerns(topic.name) if topic.kind == "group state" else bool(self.members(topic))

    @staticmethod
    def _out(index: dict[str, dict[str, Connection]], name: str, connection: Connection) -> bool:
        members = index[name]
        del members[connection.id]
        if members:
            return False
        del index[name]
        return True
