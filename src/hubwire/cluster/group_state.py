"""
States of connections in groups, over all nodes: a change is published on a topic of its own, to which every node
listens that has a state of the group or somebody who is told of them. So each of these can be asked for what it has.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from hubwire.cluster.interest import Interest
from hubwire.hub.connection import Connection
from hubwire.hub.group_state import Subscribing
from hubwire.hub.hub import Hub
from hubwire.model.commands import Answer, ListStates, Query, StatesChanged
from hubwire.model.messages import GroupStateMessage, MemberState
from hubwire.model.names import HubKey
from hubwire.model.ports import Bus
from hubwire.model.targets import Target, to_group_state

__all__ = ["StatesOfGroups"]


class StatesOfGroups:
    """
    Args:
        hubs: of this node, a live view.
        ask: puts the answers of all nodes together.
        settle: writes out what was accepted for a topic, which may end connections.
        tell: sends one client a message of its own, behind everything that was accepted before.
        now_ms: Unix milliseconds.
    """

    def __init__(
        self,
        bus: Bus,
        interest: Interest,
        hubs: Mapping[HubKey, Hub],
        ask: Callable[[Query], Awaitable[Answer]],
        settle: Callable[[Target], None],
        tell: Callable[[Connection, GroupStateMessage], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._bus = bus
        self._interest = interest
        self._hubs = hubs
        self._ask = ask
        self._settle = settle
        self._tell = tell
        self._now_ms = now_ms

    # What connections set.

    def set(
        self, connection: Connection, group: str, state: Mapping[str, str], *, members_only: bool
    ) -> Awaitable[None] | None:
        """
        Give a connection a state in a group, in place of the one there is.

        Args:
            members_only: only while it is a member.

        Returns:
            None when that is done; else to be awaited.

        Raises:
            Conflict: it is more than may be kept.
        """
        topic = to_group_state(connection.hub, group)

        def act() -> bool:
            if connection.alive:
                if members_only and group not in connection.groups:
                    return False  # its membership has ended meanwhile, and its state with that
                states = self._hubs[connection.hub].states
                self._publish(topic, states.set(connection, group, state, self._now_ms()))
            return connection.alive

        return self._interest.during((topic,), act)

    def clear(self, connection: Connection, group: str) -> None:
        """Take its state away, such as when it leaves the group; harmless if there is none."""
        if not connection.alive or connection.states is None:
            return
        hub = self._hubs[connection.hub]
        item = hub.states.clear(connection, group, self._now_ms())
        if item is not None:
            topic = to_group_state(connection.hub, group)
            self._publish(topic, item)
            self._left(hub, (topic,))

    # Who is told.

    async def subscribe(self, connection: Connection, group: str, accepted: Callable[[], None] = lambda: None) -> None:
        """
        Tell a client all states of a group, and from then on each change; again if it is told already.

        Args:
            accepted: called right before it is told, if it is still there.

        Raises:
            Conflict: it is told of as many groups as it may be.
        """
        hub = self._hubs[connection.hub]
        topic = to_group_state(connection.hub, group)
        opened: list[Subscribing] = []

        def act() -> bool:
            if connection.alive:
                opened.append(hub.states.subscribe(connection, group))
            return connection.alive

        waiting = self._interest.during((topic,), act)
        if waiting is not None:
            await waiting
        for subscribing in opened:
            try:
                subscribing.learn((await self._ask(ListStates(topic))).states)
                # What was heard meanwhile is among what it is told now, so it must not come behind that.
                self._settle(topic)
                if connection.alive:
                    accepted()
                    if not subscribing.given_up:
                        self._tell(connection, hub.states.began(subscribing))
            finally:
                hub.states.settle(subscribing)
                self._left(hub, (topic,))

    def unsubscribe(self, connection: Connection, group: str) -> None:
        """Tell a client no more of the states of a group; harmless if it is not told."""
        topic = to_group_state(connection.hub, group)
        self._settle(topic)
        if connection.alive:
            hub = self._hubs[connection.hub]
            hub.states.unsubscribe(connection, group)
            self._left(hub, (topic,))

    # The end.

    def ended(self, connection: Connection, hub: Hub) -> None:
        """A connection is out of its hub for good."""
        states = connection.states
        if states is None:
            return
        topics = [to_group_state(hub.key, group) for group in {**states.own, **states.subscribed}]
        for group, item in hub.states.remove(connection, self._now_ms()):
            self._publish(to_group_state(hub.key, group), item)
        self._left(hub, topics)

    def _publish(self, topic: Target, item: MemberState) -> None:
        self._bus.publish(topic, StatesChanged(topic, GroupStateMessage(topic.name, (item,))))

    def _left(self, hub: Hub, topics: Iterable[Target]) -> None:
        self._interest.left([topic for topic in topics if not hub.concerns(topic)])
