"""
This node among nodes. Everything that is sent enters here, passes the bus, and comes down again through `receive`: what
a local client sent and what another node sent take the same way, so one sender is heard in the same order everywhere.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from itertools import product
from typing import Final, Literal, TypeVar

from hubwire.cluster.commits import Commits
from hubwire.cluster.group_state import StatesOfGroups
from hubwire.cluster.interest import Interest
from hubwire.cluster.pace import Pace
from hubwire.cluster.retained import Retained
from hubwire.cluster.retained_portions import PortionLimits, RetainedPortions
from hubwire.hub.connection import Connection
from hubwire.hub.delivery import Delivery, Late
from hubwire.hub.gate import Gate
from hubwire.hub.group_state import StateLimits
from hubwire.hub.hub import Hub
from hubwire.hub.recovery import Waiting
from hubwire.hub.retained import Kept
from hubwire.model.commands import (
    AddToGroups,
    Answer,
    Close,
    Command,
    Exists,
    ListMembers,
    ListStates,
    Member,
    PermissionRule,
    Query,
    RemoveFromGroups,
    Send,
)
from hubwire.model.errors import Conflict
from hubwire.model.filters import compile_filter
from hubwire.model.messages import DataMessage, Disconnected, GroupMessage, GroupStateMessage, Returned
from hubwire.model.names import HubKey
from hubwire.model.ports import Bus, Sink, Spread
from hubwire.model.standstill import STOOD_STILL_S
from hubwire.model.targets import Target, to_connection, to_group, to_groups, to_hub, to_user
from hubwire.model.telemetry import CloseCategory, Telemetry

__all__ = ["Ending", "LeftOut", "Membership", "Node"]

_T = TypeVar("_T")

_SLICE: Final = 200
"""Connections or memberships that change in one go; ending one costs some 20 µs, and others want their turn."""

_ASK_TIMEOUT_S: Final = 5.0

Ending = Callable[[Connection, CloseCategory, int, str, str | None], None]
"""
Told of every connection that ended for good: category, close code, the text the client was told, and the reason for its
event handlers.
"""

Membership = Callable[[Connection, str, bool], None]
"""Told who has become a member of a group, or is one no more; not of groups that a connection begins in."""

LeftOut = Callable[[Sequence[Connection], Sequence[str]], None]
"""Told which connections among many were not added to which groups, since their protocols have no such names."""

_NORMAL: Final = 1000
_CLOSED_BY_SERVER: Final = "Application server closed the connection."


class Node:
    """
    The connections of this process, and its place on the bus.

    Args:
        bus: how nodes hear one another.
        telemetry: counters of this node.
        loop: its clock is the one that all deadlines are on.
        recovery_s: how long a dropped reliable connection may come back.
        max_groups: that one connection may be in; its end undoes them all in one go.
        clock: monotonic seconds that pass during a turn of the event loop, too; the loop's own may stand still in it.
        spread: see `Delivery`.
        state_limits: of states that connections have in groups.
        now_ms: Unix milliseconds.
        commits: what must be on the disk before anybody is told of it; None where nothing is kept there.
        retained: messages for who subscribes later; without it they are kept in memory.
        portions: of these, in which a client gets them.

    Attributes:
        states: of connections in groups.
        retained: see there.
    """

    def __init__(
        self,
        bus: Bus,
        telemetry: Telemetry,
        loop: asyncio.AbstractEventLoop,
        recovery_s: float = 32.0,
        max_groups: int = 10_000,
        clock: Callable[[], float] | None = None,
        spread: Spread | None = None,
        state_limits: StateLimits | None = None,
        now_ms: Callable[[], int] | None = None,
        commits: Commits | None = None,
        retained: Retained | None = None,
        portions: PortionLimits | None = None,
    ) -> None:
        self._bus = bus
        self._telemetry = telemetry
        self._loop = loop
        self.max_groups = max_groups
        self._hubs: dict[HubKey, Hub] = {}
        self._commits = commits
        self._delivery = Delivery(telemetry, spread, None if commits is None else Gate(commits))
        if commits is not None:
            # A message is carried out when it comes, and its receivers wait for it when it is handed over.
            commits.held = self._has_pending
        self._interest = Interest(bus, self._wanted)
        self.state_limits = state_limits or StateLimits()
        self.states = StatesOfGroups(
            bus, self._interest, self._hubs, self.ask, self._settle, self.tell, now_ms or _unix_ms
        )
        self.retained = retained or Retained()
        self._portions = RetainedPortions(self.retained, loop, self._send_retained, portions or PortionLimits())
        self._waiting = Waiting(recovery_s)
        self._sweep: asyncio.Handle | None = None
        self._sweep_due = 0.0
        self._flush_scheduled = False
        self._after_flush: asyncio.Future[None] | None = None
        self._pace = Pace()
        self._clock = clock or loop.time
        self.on_end: list[Ending] = []
        self.on_lost: Callable[[Connection], None] = lambda _connection: None
        self.on_membership: Membership = lambda _connection, _group, _is_member: None
        self.on_permission: Callable[[Connection], None] = lambda _connection: None
        self.on_left_out: LeftOut = lambda _connections, _groups: None
        bus.attach(self)

    # The clock.

    def time(self) -> float:
        """Monotonic seconds, on the clock that all deadlines are on."""
        return self._loop.time()

    def later(self, seconds: float, act: Callable[[Connection], None], connection: Connection) -> asyncio.Handle:
        """Do something with a connection once time has passed on that clock. Not every loop can tell when that is."""
        return self._loop.call_later(seconds, act, connection)

    # What is sent.

    def execute(self, command: Command) -> None:
        """Carry a command to everybody whom it concerns. Never waits; unknown targets are nobody."""
        self._bus.publish(command.target, command)

    def accepted(self) -> Awaitable[None] | None:
        """
        Is everything that was accepted so far as safe as it is going to be.

        Returns:
            None if so; else to be awaited before anybody is told that it is accepted.
        """
        commits = self._commits
        return None if commits is None or not commits.in_use else self._written(commits)

    async def _written(self, commits: Commits) -> None:
        if self._delivery.pending:
            if self._after_flush is None:
                self._after_flush = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._after_flush)
        await commits.written()

    def receive(self, topic: Target, command: Command) -> None:
        """The bus brings a command, from this node or another."""
        hub = self._hubs.get(topic.hub)
        if hub is None:
            return
        if not isinstance(command, Send):
            hub.states.heard(command.message)
            self._delivery.send(hub, topic, command.message)
            self._schedule_flush()
            return
        # To the quarter of a second, so that messages of one turn and lifetime can be one segment on any loop.
        expires_at = math.ceil(self._loop.time() * 4) / 4 + command.ttl_s if command.ttl_s else None
        if command.filter is None:
            self._delivery.send(hub, topic, command.message, command.excluded, expires_at)
        else:
            # Who is meant is decided now, not when the turn ends: groups may change in between.
            audience = hub.audience(topic)
            receivers = hub.members(topic) if audience is None else audience.receivers
            picked = _select(receivers, command.filter, command.excluded)
            if picked:
                matched = None if audience is None else dict(audience.matched)
                self._delivery.send_to(picked, command.message, expires_at, matched)
            for share in () if audience is None else audience.shares:
                these = {one.id for one in _select(share.members, command.filter, command.excluded)}
                left_out = [one.id for one in share.members if one.id not in these]
                self._delivery.send_to_one(share, command.message, expires_at, left_out)
        self._schedule_flush()

    def guard(self, sink: Sink) -> None:
        """Let nothing more leave by a sink before all is on the disk that was asked for so far."""
        self._delivery.guard(sink)

    def reply(self, connection: Connection, frame: bytes, is_message: bool = False, acknowledges: bool = False) -> None:
        """
        Answer one client, behind everything that was accepted before; with a message, in front of all later ones.

        Args:
            acknowledges: that messages of the client are accepted; it leaves when what has to be is on the disk.
        """
        if frame:
            self._delivery.reply(connection, frame, is_message, acknowledges)
            self._schedule_flush()

    def reply_late(self, connection: Connection, frames_of: Late, acknowledges: bool = False) -> None:
        """The same with frames that depend on what was accepted before."""
        self._delivery.reply_late(connection, frames_of, acknowledges)
        self._schedule_flush()

    def tell(self, connection: Connection, message: DataMessage | GroupStateMessage) -> None:
        """Send one client a message of its own, behind everything that was accepted before."""
        if connection.alive:
            self._delivery.send_to((connection,), message)
            self._schedule_flush()

    def keep(self, hub: HubKey, message: GroupMessage) -> None:
        """
        Keep a publication for who subscribes later, before it is sent. Its publisher is told behind its entry.

        Raises:
            Conflict: there is no room.
        """
        self.retained.keep(hub, message)
        self._delivery.made_entries()

    def tell_retained(self, connection: Connection, name: str) -> None:
        """
        Send one client what is kept for a group or filter, to which it has just subscribed: it gets what is published
        from now on, and this stands for what was published before.
        """
        self._portions.tell(connection, name)

    def _send_retained(self, connection: Connection, name: str, found: Sequence[Kept]) -> None:
        delivery, target = self._delivery, to_group(connection.hub, name)
        lasting: list[GroupMessage] = []
        for kept in found:
            message, left_s = self.retained.told(kept)
            if left_s is None:
                lasting.append(message)
            else:
                delivery.send_retained(connection, target, name, (message,), self._loop.time() + left_s)
        if lasting:
            delivery.send_retained(connection, target, name, lasting, None)
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            wait_s = self._pace.wait_s(self._clock())
            if wait_s:
                self._loop.call_later(wait_s, self._end_of_turn)
            else:
                self._loop.call_soon(self._end_of_turn)

    def _end_of_turn(self) -> None:
        self._flush_scheduled = False
        messages = self._delivery.messages
        began = self._clock()
        self.flush()
        self._pace.fanned_out(messages, began, self._clock())

    def flush(self) -> None:
        """Write out what was accepted so far. Done at the end of a turn, and before a member leaves."""
        if not self._delivery.pending:
            return
        overflown = self._delivery.flush(self._loop.time())
        after, self._after_flush = self._after_flush, None
        if after is not None:
            after.set_result(None)
        for connection in overflown:
            # 1008 tells the official clients not to try a recovery: there is nothing left to recover.
            self.close(connection, 1008, "Too many unacknowledged messages.", CloseCategory.SLOW_CLIENT)
        if self._commits is not None:
            self._commits.pass_on()

    def _has_pending(self) -> bool:
        return self._delivery.pending

    def _settle(self, topic: Target) -> None:
        """Write out what was accepted for a topic, before somebody comes to it or leaves it."""
        if self._delivery.concerns(topic):
            self.flush()

    # Who is here.

    def connection(self, hub: HubKey, connection_id: str) -> Connection | None:
        """A live connection of this node, or None."""
        known = self._hubs.get(hub)
        return None if known is None else known.connections.get(connection_id)

    def connections(self) -> list[Connection]:
        """All live connections of this node, those waiting for their recovery included."""
        return [connection for hub in self._hubs.values() for connection in hub.connections.values()]

    def attach(self, connection: Connection, groups: Sequence[str], sink: Sink, first: bytes) -> Awaitable[None] | None:
        """
        Let a new connection in: then it is found by id, user and group, and hears what is sent from now on.

        Args:
            groups: that it is in from the beginning.
            first: frame that it gets before anything else.

        Returns:
            None when that is done; else to be awaited.
        """
        topics = _topics(connection, groups)

        def let_in() -> bool:
            connection.sink = sink
            connection.opened_at = self._loop.time()
            self._add(connection, groups)
            if self._delivery.pending:
                for topic in topics:
                    self._delivery.joined(connection, topic)
            self._telemetry.opened += 1
            if connection.session.durable:
                self._delivery.guard(sink)
            if first:
                sink.write(first, 1, None)
            return True

        return self._interest.during(topics, let_in)

    def restore(self, connection: Connection, groups: Sequence[str], filters: Sequence[str]) -> Awaitable[None] | None:
        """
        Let in a connection that an earlier process had, whose client is not there. `await_client` is to follow once all
        of them are in.

        Args:
            groups: that it is in.
            filters: that it hears of groups by.

        Returns:
            None when that is done; else to be awaited.
        """
        key = connection.hub

        def let_in() -> bool:
            self._add(connection, groups)
            for name in filters:
                self._hubs[key].subscribe(connection, name)
            self._telemetry.retained += 1
            return True

        topics = _topics(connection, groups)
        return self._interest.during([*topics, to_groups(key)] if filters else topics, let_in)

    def await_client(self, connection: Connection, since: float) -> None:
        """
        Let a connection that was restored wait for its client.

        Args:
            since: monotonic seconds. Who has waited for too long ends soon.
        """
        retention_s = connection.session.retention_s
        if retention_s is not None and retention_s < math.inf:
            # Else it would look as if this process had stood still, see `_end_waiting`.
            since = max(since, self._loop.time() - retention_s)
        self._waiting.hold(connection, since)
        self._schedule_sweep()

    def _add(self, connection: Connection, groups: Sequence[str]) -> None:
        hub = self._hubs.get(connection.hub)
        if hub is None:
            hub = self._hubs[connection.hub] = Hub(connection.hub, self.state_limits)
        hub.add(connection)
        for group in groups:
            hub.join(connection, group)
        self._telemetry.connections += 1

    def resume(self, connection: Connection, sink: Sink, first: bytes) -> bool:
        """
        Give a reliable connection a new socket: `first`, then everything unacknowledged, then what comes.

        A socket that it still has is a half-open one; it ends silently. False if the connection has ended meanwhile.
        """
        self.flush()
        if not connection.alive:
            return False
        old, connection.sink = connection.sink, sink
        if old is not None:
            old.abort()
        if self._waiting.release(connection):
            self._telemetry.retained -= 1
        connection.why = CloseCategory.NORMAL
        # What the client has repeated is answered by the session at once, although it may not be on the disk yet.
        self._delivery.guard(sink)
        sink.write(first, 1, None)
        for data, frames, expires_at in connection.session.resume(self._loop.time()):
            sink.write(data, frames, expires_at)
        return True

    def join(self, connection: Connection, group: str) -> Awaitable[None] | None:
        """
        Make a connection a member of a group. None when that is done; else to be awaited before it is acknowledged:
        who holds an acknowledgement misses nothing that is sent later.

        Raises:
            Conflict: the connection is in as many groups as it may be, its filters counted.
        """
        if self._full(connection, group):
            raise self._too_many()
        hub = self._hubs[connection.hub]
        topic = to_group(connection.hub, group)
        if hub.members(topic):
            self._joined(hub, connection, topic)
            return None

        def join() -> bool:
            if connection.alive:
                self._joined(hub, connection, topic)
            return connection.alive

        return self._interest.during((topic,), join)

    def _full(self, connection: Connection, group: str) -> bool:
        return group not in connection.groups and self._has_all(connection)

    def _has_all(self, connection: Connection) -> bool:
        filters = connection.filters
        return len(connection.groups) + (0 if filters is None else len(filters)) >= self.max_groups

    def _too_many(self) -> Conflict:
        return Conflict(f"A connection may be in {self.max_groups} groups.")

    def _joined(self, hub: Hub, connection: Connection, topic: Target) -> None:
        if connection.filters is not None:
            # It may hear of what is pending by one of these, and must not be left out for being new in the group.
            self._settle(topic)
            if not connection.alive:
                return
        if hub.join(connection, topic.name):
            self._delivery.joined(connection, topic)
            self.on_membership(connection, topic.name, True)

    def leave(self, connection: Connection, group: str) -> bool:
        """
        End a membership; false if there is none. What was sent to the group before still reaches the connection.
        """
        topic = to_group(connection.hub, group)
        self._settle(topic)
        self._portions.left(connection, group)
        if connection.states is not None:
            self.states.clear(connection, group)
        if not connection.alive or group not in connection.groups:
            return False
        if self._hubs[connection.hub].leave(connection, group):
            self._interest.left((topic,))
        connection.session.left(group)
        self.on_membership(connection, group, False)
        return True

    def subscribe(self, connection: Connection, name: str) -> Awaitable[None] | None:
        """
        Let a connection hear of groups by a filter. What it returns is as of `join`, and so is what is raised.

        Args:
            name: of the filter.
        """
        if connection.filters is not None and name in connection.filters:
            return None
        if self._has_all(connection):
            raise self._too_many()
        hub = self._hubs[connection.hub]

        def subscribe() -> bool:
            self.flush()  # what is pending was sent before
            if connection.alive:
                hub.subscribe(connection, name)
            return connection.alive

        return self._interest.during((to_groups(connection.hub),), subscribe)

    def unsubscribe(self, connection: Connection, name: str) -> bool:
        """
        The end of that; false if there is none. What was sent before still reaches the connection.
        """
        self.flush()
        self._portions.left(connection, name)
        if not connection.alive or connection.filters is None or name not in connection.filters:
            return False
        hub = self._hubs[connection.hub]
        if hub.unsubscribe(connection, name):
            self._interest.left((to_groups(connection.hub),))
        connection.session.left(name)
        if hub.share(name) is not None:
            self._pass_on(hub, connection.session.returned(name, self._loop.time()))
        return True

    def _pass_on(self, hub: Hub, messages: Sequence[Returned]) -> None:
        """Send what somebody was to get by shared subscriptions to others who have these."""
        for one in messages:
            share = hub.share(one.share)
            if share is not None:
                self._delivery.send_to_one(share, one.message, one.expires_at)
        if messages:
            self.flush()

    def goodbye(self, connection: Connection) -> None:
        """A client ends its socket, in the words of its own protocol: after what it was told, a close frame."""
        self.flush()
        sink = connection.sink
        if sink is not None and connection.alive:
            durable = connection.session.durable
            self.lost(connection, sink, False, CloseCategory.NORMAL, _NORMAL)
            if durable:
                self.guard(sink)  # the close frame says that nothing is left of a will, nor of a session that has ended
            sink.close(_NORMAL, "")

    def lost(self, connection: Connection, sink: Sink, final: bool, category: CloseCategory, code: int) -> None:
        """
        A socket is gone.

        Args:
            sink: the one that is gone; if the connection has another one by now, nothing happens.
            final: the client said goodbye for good.
            code: what the client said; 1006 if it said nothing.
        """
        if connection.sink is not sink:
            return
        connection.sink = None
        if final or not connection.session.recoverable:
            self._end(connection, category, code, "")
            return
        connection.session.lost()
        connection.why = category
        self._waiting.hold(connection, self._loop.time())
        self._telemetry.retained += 1
        self._schedule_sweep()
        self.on_lost(connection)

    def drop(self, connection: Connection, code: int, text: str, category: CloseCategory) -> None:
        """
        End a client's socket from our side. What may wait for another socket waits; else this is the same as `close`.

        Args:
            text: for the client, and for the records where the connection ends.
        """
        if not connection.session.recoverable:
            self.close(connection, code, text, category)
            return
        self.flush()
        sink = connection.sink
        if sink is None or not connection.alive:
            return
        farewell = connection.session.direct(Disconnected(text, category))
        if farewell:
            sink.write(farewell, 1, None)
        self.lost(connection, sink, False, category, code)
        sink.close(code, "")

    def close(
        self, connection: Connection, code: int, text: str, category: CloseCategory, reason: str | None = None
    ) -> None:
        """
        End a connection from our side: what was accepted before, the reason as a message, a close frame.

        Args:
            code: of the close frame. With 1000 its own reason stays empty: what the application has to say may be
                longer than a reason can be. Otherwise it is what simple clients, who get no messages, learn.
            text: for the client and the records.
            reason: for event handlers; the text, if None.
        """
        if self._delivery.pending and connection.alive:
            self.flush()
        if not connection.alive:
            return
        sink, connection.sink = connection.sink, None
        if sink is not None:
            farewell = connection.session.direct(Disconnected(text, category, reason))
            if farewell:
                sink.write(farewell, 1, None)
            sink.close(code, "" if code == _NORMAL else text)
        elif self._waiting.release(connection):
            self._telemetry.retained -= 1
        self._end(connection, category, code, text, text if reason is None else reason)

    def _end(
        self, connection: Connection, category: CloseCategory, code: int, text: str, reason: str | None = None
    ) -> None:
        connection.alive = False
        connection.ended_at = self._loop.time()
        self._portions.ended(connection)
        groups = connection.groups
        hub = self._hubs[connection.hub]
        if connection.states is not None:
            self.states.ended(connection, hub)
        returned = connection.session.returned(None, connection.ended_at) if hub.filters is not None else ()
        self._interest.left(hub.remove(connection))
        if not hub.connections:
            del self._hubs[connection.hub]
        elif category != CloseCategory.SERVICE_RELOAD:  # then all others go as well
            # Before anybody forgets what there was: so it is on the disk for one or the other.
            self._pass_on(hub, returned)
        self._telemetry.connections -= 1
        self._telemetry.closed[category] += 1
        for group in groups:
            self.on_membership(connection, group, False)
        for told in self.on_end:
            told(connection, category, code, text, reason)

    def _schedule_sweep(self) -> None:
        deadline = self._waiting.next_deadline()
        if deadline is None:
            return
        # A little late is right: all that dropped within this second are then ended in one go.
        due = deadline + 1.0
        if self._sweep is not None:
            if self._sweep_due <= due:
                return
            self._sweep.cancel()  # some may wait longer than others
        self._sweep = self._loop.call_at(due, self._end_waiting, due)
        self._sweep_due = due

    def end_overdue(self, connection: Connection) -> None:
        """End a connection now if it waits for longer than it may, and was not ended for that yet."""
        now = self._loop.time()
        if self._sweep is not None and now - self._sweep_due > STOOD_STILL_S:
            return  # this process stood still, and that time counts against nobody
        if self._waiting.is_over(connection, now):
            self._waiting.release(connection)
            self._telemetry.retained -= 1
            self._end(connection, connection.why, 1006, "")

    def _end_waiting(self, due: float) -> None:
        self._sweep = None
        late = self._loop.time() - due
        if late > STOOD_STILL_S:
            # This process stood still. Who came back meanwhile was not let in yet, and gets a moment more for that.
            self._waiting.extend(late + STOOD_STILL_S)
        for connection in self._waiting.expired(self._loop.time(), _SLICE):
            self._telemetry.retained -= 1
            self._end(connection, connection.why, 1006, "")
        self._schedule_sweep()

    # What is asked.

    async def ask(self, query: Query) -> Answer:
        """Ask all nodes that the query concerns, this one included, and put their answers together."""
        want: Literal["first", "all"] = "first" if isinstance(query, Exists) else "all"
        answers = await self._bus.ask(query.target, query, want, _ASK_TIMEOUT_S)
        if not isinstance(query, Exists | ListMembers | ListStates):
            # Not a part of the answer, which would be none where the disk takes its time.
            waiting = self.accepted()
            if waiting is not None:
                await waiting
        if len(answers) == 1:
            return answers[0]
        members = sorted((member for answer in answers for member in answer.members), key=lambda m: m.connection_id)
        if isinstance(query, ListMembers):
            members = members[: query.limit]
        return Answer(
            count=len(members) if members else sum(answer.count for answer in answers),
            members=tuple(members),
            states=tuple(state for answer in answers for state in answer.states),
            allowed=any(answer.allowed for answer in answers),
            limit_reached=any(answer.limit_reached for answer in answers),
            untakable=any(answer.untakable for answer in answers),
        )

    async def answer(self, topic: Target, query: Query) -> Answer:
        """This node's part of an answer."""
        hub = self._hubs.get(topic.hub)
        if hub is None:
            return Answer()
        match query:
            case Exists():
                return Answer(count=len(hub.members(topic)))
            case ListMembers(_, after, limit):
                return _list(hub.members(topic), after, limit)
            case ListStates():
                return Answer(states=hub.states.items(topic.name))
            case AddToGroups(target, groups, filter):
                picked = _select(hub.members(topic), filter)
                return await self._add_to_groups(hub, picked, groups, target.kind != "connection")
            case RemoveFromGroups(_, groups, filter):
                return await self._remove_from_groups(_select(hub.members(topic), filter), groups)
            case Close(_, excluded, reason):
                return await self._close_all(_select(hub.members(topic), None, excluded), reason)
            case PermissionRule():
                return self._permission(hub, query)

    async def _add_to_groups(
        self, hub: Hub, picked: Sequence[Connection], groups: Sequence[str], among_many: bool
    ) -> Answer:
        """
        Args:
            among_many: nobody is answered who was left out, so it has to be told here. Else the asker is.
        """
        if not picked:
            return Answer()
        topics = [to_group(hub.key, group) for group in groups]
        refused: list[Connection] = []
        untakable: dict[Connection, None] = {}
        no_names: dict[str, None] = {}

        def join(pair: tuple[Connection, Target]) -> None:
            connection, topic = pair
            if not connection.session.takes(topic.name):
                untakable[connection] = None
                no_names[topic.name] = None
            elif self._full(connection, topic.name):
                refused.append(connection)
            elif connection.alive:
                self._joined(hub, connection, topic)

        async with self._interest.hold(topics):
            await _in_turns(product(picked, topics), join)
        if untakable and among_many:
            self.on_left_out(list(untakable), list(no_names))
        return Answer(count=len(picked), limit_reached=bool(refused), untakable=bool(untakable))

    async def _remove_from_groups(self, picked: Sequence[Connection], groups: Sequence[str] | None) -> Answer:
        def leaving() -> Iterator[tuple[Connection, str]]:
            for connection in picked:
                for group in _all_of(connection) if groups is None else groups:
                    yield connection, group

        def leave(pair: tuple[Connection, str]) -> None:
            self.leave(*pair)

        await _in_turns(leaving(), leave)
        return Answer(count=len(picked))

    async def _close_all(self, picked: Sequence[Connection], reason: str) -> Answer:
        text = f"{_CLOSED_BY_SERVER} Reason: {reason}" if reason else _CLOSED_BY_SERVER
        await self._end_all(picked, _NORMAL, text, CloseCategory.CLOSED_BY_APP_SERVER, reason)
        return Answer(count=len(picked))

    async def end(
        self, code: int, text: str, category: CloseCategory, resource: str | None = None, *, for_good: bool = True
    ) -> None:
        """
        End every connection of this node, those that wait for their recovery included.

        Args:
            resource: only those of this one.
            for_good: else of sessions that outlive the process only the sockets end.
        """
        picked = [c for c in self.connections() if resource is None or c.hub.resource == resource]
        if not for_good:
            lasting = [c for c in picked if c.session.durable]
            picked = [c for c in picked if not c.session.durable]
            await _in_turns(lasting, lambda connection: self.drop(connection, code, text, category))
        await self._end_all(picked, code, text, category)

    async def _end_all(
        self,
        picked: Sequence[Connection],
        code: int,
        text: str,
        category: CloseCategory,
        reason: str | None = None,
    ) -> None:
        def close(connection: Connection) -> None:
            self.close(connection, code, text, category, reason)

        await _in_turns(picked, close)

    def _permission(self, hub: Hub, query: PermissionRule) -> Answer:
        connection = hub.connections.get(query.target.name)
        if connection is None:
            return Answer()
        try:
            if query.action == "grant":
                connection.permissions.grant(query.permission, query.group)
            elif query.action == "revoke":
                connection.permissions.revoke(query.permission, query.group)
        except Conflict:
            return Answer(count=1, limit_reached=True)
        if query.action != "check":
            self.on_permission(connection)
        return Answer(count=1, allowed=connection.permissions.allows(query.permission, query.group))

    def _wanted(self, topic: Target) -> bool:
        hub = self._hubs.get(topic.hub)
        return hub is not None and hub.concerns(topic)


def _topics(connection: Connection, groups: Sequence[str]) -> list[Target]:
    """What a connection belongs to that is in some groups."""
    key = connection.hub
    topics = [to_hub(key), to_connection(key, connection.id), *(to_group(key, group) for group in groups)]
    if connection.user_id is not None:
        topics.append(to_user(key, connection.user_id))
    return topics


def _unix_ms() -> int:
    return int(time.time() * 1000)


def _all_of(connection: Connection) -> list[str]:
    """The groups of a connection, and those in which it has a state without being a member."""
    states = connection.states
    return list(connection.groups if states is None else {**connection.groups, **states.own})


def _select(members: Collection[Connection], filter: str | None, excluded: Sequence[str] = ()) -> Sequence[Connection]:
    """A list of its own: what is done with its connections may change the registry."""
    if filter is None:
        picked: Iterable[Connection] = members
    else:
        compiled = compile_filter(filter)
        picked = (connection for connection in members if compiled.matches(connection))
    if excluded:
        out = frozenset(excluded)
        picked = (connection for connection in picked if connection.id not in out)
    return list(picked)


async def _in_turns(work: Iterable[_T], act: Callable[[_T], None]) -> None:
    """Do something with each item; after every slice of them, others have their turn."""
    for position, item in enumerate(work, start=1):
        act(item)
        if position % _SLICE == 0:
            await asyncio.sleep(0)


def _list(members: Collection[Connection], after: str, limit: int) -> Answer:
    chosen = sorted((c for c in members if c.id > after), key=lambda c: c.id)[:limit]
    rows = tuple(Member(connection.id, connection.user_id) for connection in chosen)
    return Answer(count=len(rows), members=rows)
