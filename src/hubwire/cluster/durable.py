"""
Sessions that outlive the process: each change of them goes to the journal, and a new process finds them there.

What is over before it reached the disk costs nothing there. A message that waits for many sessions is written once, and
goes when the last of them has it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec.structs import replace

from hubwire.cluster import durable_entries as entries
from hubwire.cluster.durable_entries import (
    MESSAGE,
    QUEUED,
    RECEIVED,
    SESSION,
    SUBSCRIPTION,
    MessageEntry,
    QueuedEntry,
    SessionEntry,
    Stored,
    SubscriptionEntry,
)
from hubwire.hub.connection import Connection
from hubwire.model.messages import DataMessage
from hubwire.protocols.mqtt.keeping import Kept, KeptItem, KeptOptions, Remembered
from hubwire.protocols.mqtt.session import MqttSession

__all__ = ["DurableSessions", "Found", "Stored"]


class _Changes(Protocol):
    """See `Commits`."""

    def put(self, kind: str, key: str, body: bytes) -> object: ...

    def remove(self, kind: str, key: str) -> object: ...

    async def entries(self, kind: str) -> list[tuple[str, bytes]]: ...


class _Message:
    """
    A message that waits for somebody.

    Attributes:
        number: of its entry.
        message: kept, so that nobody else is taken for it.
        waiting: for how many.
    """

    __slots__ = ("message", "number", "waiting")

    def __init__(self, number: int, message: DataMessage) -> None:
        self.number = number
        self.message = message
        self.waiting = 0


class _Messages:
    """All messages that wait for a session. Those that came as one are one."""

    def __init__(self, changes: _Changes, elapsed: Callable[[], float]) -> None:
        self._changes = changes
        self._elapsed = elapsed
        self._known: dict[int, _Message] = {}
        self.last = 0

    def hold(self, message: DataMessage, expires_at: float | None) -> _Message:
        known = self._known.get(id(message))
        if known is None:
            self.last += 1
            known = self._known[id(message)] = _Message(self.last, message)
            until = None if expires_at is None else expires_at + self._elapsed()
            self._changes.put(MESSAGE, f"{known.number:x}", entries.encode(entries.entry_of(message, until)))
        known.waiting += 1
        return known

    def release(self, held: _Message) -> None:
        held.waiting -= 1
        if not held.waiting:
            del self._known[id(held.message)]
            self._changes.remove(MESSAGE, f"{held.number:x}")

    def restore(self, number: int, message: DataMessage) -> _Message:
        """One that has an entry already."""
        held = self._known[id(message)] = _Message(number, message)
        return held


class _Keeper:
    """
    One session.

    Args:
        number: of its entries.
        roles: that it was given.
    """

    __slots__ = (
        "_changes",
        "_flying",
        "_last",
        "_messages",
        "_queued",
        "_received",
        "_topics",
        "_waiting",
        "entry",
        "prefix",
    )

    def __init__(self, changes: _Changes, messages: _Messages, number: int) -> None:
        self._changes = changes
        self._messages = messages
        self.prefix = f"{number:x}"
        self.entry: SessionEntry | None = None
        self._last = 0
        self._queued: dict[int, tuple[QueuedEntry, _Message | None]] = {}
        self._flying: dict[int, int] = {}
        self._waiting: deque[int] = deque()
        self._received: set[int] = set()
        self._topics: set[str] = set()

    # What it is sent.

    def sent(self, item: KeptItem, packet_id: int) -> None:
        self._flying[packet_id] = self._add(item, packet_id)

    def waits(self, item: KeptItem) -> None:
        self._waiting.append(self._add(item, 0))

    def sent_first(self, packet_id: int) -> None:
        number = self._waiting.popleft()
        self._flying[packet_id] = number
        entry, held = self._queued[number]
        self._put(number, replace(entry, packet_id=packet_id), held)

    def dropped(self, position: int) -> None:
        number = self._waiting[position]
        del self._waiting[position]
        self._remove(number)

    def taken(self, packet_id: int) -> None:
        number = self._flying[packet_id]
        entry, held = self._queued[number]
        self._last += 1
        self._put(number, replace(entry, message=0, place=self._last), None)
        if held is not None:
            self._messages.release(held)

    def landed(self, packet_id: int) -> None:
        self._remove(self._flying.pop(packet_id))

    def _add(self, item: KeptItem, packet_id: int) -> int:
        held = self._messages.hold(item.message, item.expires_at)
        number = self._last = self._last + 1
        entry = QueuedEntry(held.number, number, item.qos, packet_id, item.identifiers, item.retain, item.share)
        self._put(number, entry, held)
        return number

    def _put(self, number: int, entry: QueuedEntry, held: _Message | None) -> None:
        self._queued[number] = entry, held
        self._changes.put(QUEUED, f"{self.prefix}/{number:x}", entries.encode(entry))

    def _remove(self, number: int) -> None:
        _, held = self._queued.pop(number)
        self._changes.remove(QUEUED, f"{self.prefix}/{number:x}")
        if held is not None:
            self._messages.release(held)

    # What it sends.

    def answered(self, packet_id: int, code: int) -> None:
        self._received.add(packet_id)
        self._changes.put(RECEIVED, f"{self.prefix}/{packet_id:x}", entries.encode(code))

    def released(self, packet_id: int) -> None:
        self._received.discard(packet_id)
        self._changes.remove(RECEIVED, f"{self.prefix}/{packet_id:x}")

    # What it hears of.

    def wanted(self, topic: str, options: KeptOptions | None) -> None:
        if options is None:
            self._topics.discard(topic)
            self._changes.remove(SUBSCRIPTION, f"{self.prefix}/o/{topic}")
        else:
            self._topics.add(topic)
            entry = SubscriptionEntry(
                topic, False, options.qos, options.no_local, options.identifiers, options.as_published
            )
            self._changes.put(SUBSCRIPTION, f"{self.prefix}/o/{topic}", entries.encode(entry))

    def member(self, group: str, is_member: bool) -> None:
        key = f"{self.prefix}/g/{group}"
        if is_member:
            self._changes.put(SUBSCRIPTION, key, entries.encode(SubscriptionEntry(group, True)))
        else:
            self._changes.remove(SUBSCRIPTION, key)

    # All of it.

    def write(self, entry: SessionEntry) -> None:
        """What is neither a message nor a subscription."""
        if entry != self.entry:
            self.entry = entry
            self._changes.put(SESSION, self.prefix, entries.encode(entry))

    def end(self, groups: Sequence[str]) -> None:
        """Forget everything."""
        self._changes.remove(SESSION, self.prefix)
        for number in list(self._queued):
            self._remove(number)
        for packet_id in self._received:
            self._changes.remove(RECEIVED, f"{self.prefix}/{packet_id:x}")
        for topic in self._topics:
            self._changes.remove(SUBSCRIPTION, f"{self.prefix}/o/{topic}")
        for group in groups:
            self.member(group, False)

    def restore(self, stored: Stored, messages: dict[int, _Message]) -> None:
        """Go on with what is in the journal already."""
        self.entry = stored.entry
        for number, entry in stored.queue:
            held = messages[entry.message] if entry.message else None
            if held is not None:
                held.waiting += 1
            self._queued[number] = entry, held
            self._last = max(self._last, number, entry.place)
            if entry.packet_id:
                self._flying[entry.packet_id] = number
            else:
                self._waiting.append(number)
        self._received.update(stored.received)
        self._topics.update(one.topic for one in stored.subscriptions if not one.member)


class DurableSessions:
    """
    Those of one node.

    Args:
        changes: where they are written.
        monotonic: seconds on the clock that deadlines are on.
        unix: seconds since 1970, which mean the same to the next process.
        most: sessions that there may be.

    Attributes:
        unix: the same.
    """

    def __init__(
        self, changes: _Changes, monotonic: Callable[[], float], unix: Callable[[], float], most: int = 1_000_000
    ) -> None:
        self._changes = changes
        self._monotonic = monotonic
        self.unix = unix
        self._messages = _Messages(changes, self._elapsed)
        self._keepers: dict[Connection, _Keeper] = {}
        self._last = 0
        self.most = most

    def _elapsed(self) -> float:
        """From the beginning of 1970 to that of the monotonic clock."""
        return self.unix() - self._monotonic()

    def __len__(self) -> int:
        return len(self._keepers)

    @property
    def is_full(self) -> bool:
        """Are there as many as there may be."""
        return len(self._keepers) >= self.most

    def keeps(self, connection: Connection) -> bool:
        return connection in self._keepers

    def begin(self, connection: Connection, roles: Sequence[str], groups: Sequence[str]) -> None:
        """
        Keep a session from now on.

        Args:
            groups: that it is in from the beginning.
        """
        session = connection.session
        assert isinstance(session, MqttSession)
        self._last += 1
        keeper = self._keepers[connection] = _Keeper(self._changes, self._messages, self._last)
        keeper.write(self._entry(connection, session, tuple(roles), self.unix(), None))
        for group in groups:
            keeper.member(group, True)
        session.keep(keeper)

    def changed(self, connection: Connection, *, is_back: bool = False) -> None:
        """
        Something of a session is another than it was, but for messages and subscriptions. Harmless if it is not kept.

        Args:
            is_back: its client is about to get another socket.
        """
        keeper = self._keepers.get(connection)
        if keeper is not None:
            before = keeper.entry
            session = connection.session
            assert before is not None
            assert isinstance(session, MqttSession)
            lost_at = None
            if connection.sink is None and not is_back:
                lost_at = self.unix() if before.lost_at is None else before.lost_at
            keeper.write(self._entry(connection, session, before.roles, before.opened_at, lost_at))

    def _entry(
        self,
        connection: Connection,
        session: MqttSession,
        roles: tuple[str, ...],
        opened_at: float,
        lost_at: float | None,
    ) -> SessionEntry:
        hub, source = connection.hub, connection.source
        return SessionEntry(
            hub.resource,
            hub.hub,
            connection.id,
            session.terms(),
            opened_at,
            lost_at,
            connection.user_id,
            roles,
            connection.permissions.rules(),
            tuple(connection.given_groups),
            connection.client_ip,
            connection.origin,
            connection.why.value,
            None if source is None else source.session_id,
            None if source is None else source.physical_id,
            None if source is None else source.state,
        )

    def member(self, connection: Connection, group: str, is_member: bool) -> None:
        """A session has become a member of a group, or is one no more."""
        keeper = self._keepers.get(connection)
        if keeper is not None:
            keeper.member(group, is_member)

    def end(self, connection: Connection, groups: Sequence[str] = ()) -> None:
        """
        Keep a session no more.

        Args:
            groups: that it is a member of still.
        """
        keeper = self._keepers.pop(connection, None)
        if keeper is not None:
            assert isinstance(connection.session, MqttSession)
            connection.session.keep(None)
            keeper.end(groups)

    # What an earlier process has left.

    async def read(self) -> "Found":
        """What is there. Damage is logged and left out; what belongs to nothing is removed."""
        stored, messages, lost = await entries.read(self._changes.entries)
        for kind, key in lost:
            self._changes.remove(kind, key)
        self._last = max((one.number for one in stored), default=0)
        self._messages.last = max(messages, default=0)
        return Found(stored, messages, self._elapsed())

    def adopt(self, connection: Connection, stored: Stored, found: "Found") -> None:
        """Go on with a session: restore what it is to be sent, and keep it from now on."""
        session = connection.session
        assert isinstance(session, MqttSession)
        messages = {
            entry.message: found.messages.get(entry.message) or found.take(entry.message, self._messages)
            for _, entry in stored.queue
            if entry.message
        }
        queue = [_remembered(entry, messages, found) for _, entry in stored.queue]
        options = {
            one.topic: (one.qos, one.no_local, one.identifiers, one.as_published)
            for one in stored.subscriptions
            if not one.member
        }
        session.restore(Kept(options, queue, stored.received), self._monotonic())
        keeper = self._keepers[connection] = _Keeper(self._changes, self._messages, stored.number)
        keeper.restore(stored, messages)
        session.keep(keeper)

    def forget(self, stored: Stored) -> None:
        """Nobody goes on with a session."""
        keeper = _Keeper(self._changes, self._messages, stored.number)
        keeper.restore(stored._replace(queue=[]), {})
        keeper.end([one.topic for one in stored.subscriptions if one.member])
        for number, _ in stored.queue:
            self._changes.remove(QUEUED, f"{stored.number:x}/{number:x}")

    async def forget_all(self) -> None:
        """No session goes on."""
        found = await self.read()
        for stored in found.sessions:
            self.forget(stored)
        self.adopted(found)

    def adopted(self, found: "Found") -> None:
        """All sessions that are to go on do: messages of no other are removed."""
        for number in found.entries:
            if number not in found.messages:
                self._changes.remove(MESSAGE, f"{number:x}")


class Found:
    """
    What an earlier process has left.

    Attributes:
        sessions: in the order in which they began.
        entries: of messages, by their numbers.
        messages: those of them that sessions wait for which go on.
    """

    def __init__(self, sessions: Sequence[Stored], messages: dict[int, MessageEntry], elapsed: float) -> None:
        self.sessions = sorted(sessions, key=lambda one: one.number)
        self.entries = messages
        self.messages: dict[int, _Message] = {}
        self._elapsed = elapsed

    def take(self, number: int, messages: _Messages) -> _Message:
        held = self.messages[number] = messages.restore(number, entries.message_of(self.entries[number]))
        return held

    def expires_at(self, number: int) -> float | None:
        """Monotonic seconds."""
        until = self.entries[number].expires_at
        return None if until is None else until - self._elapsed


def _remembered(entry: QueuedEntry, messages: dict[int, _Message], found: Found) -> Remembered:
    packet_id = entry.packet_id or None
    if not entry.message:
        return Remembered(None, entry.qos, packet_id=packet_id)
    message = messages[entry.message].message
    expires_at = found.expires_at(entry.message)
    return Remembered(message, entry.qos, entry.identifiers, expires_at, packet_id, entry.retain, entry.share)
