"""
Sessions that outlive the process: each change of them goes to the journal, and a new process finds them there.
"""

from collections.abc import Callable, Sequence

from hubwire.cluster import durable_entries as entries
from hubwire.cluster.durable_entries import (
    MESSAGE,
    QUEUED,
    MessageEntry,
    QueuedEntry,
    SessionEntry,
    Stored,
)
from hubwire.cluster.durable_keepers import Changes, Message, Messages, MqttKeeper, ReliableKeeper
from hubwire.hub.connection import Connection
from hubwire.protocols.mqtt.keeping import Kept, KeptTerms, Remembered
from hubwire.protocols.mqtt.session import MqttSession
from hubwire.protocols.reliable import ReliableSession
from hubwire.protocols.session import Session

__all__ = ["DurableSessions", "Found", "Stored"]


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
        self, changes: Changes, monotonic: Callable[[], float], unix: Callable[[], float], most: int = 1_000_000
    ) -> None:
        self._changes = changes
        self._monotonic = monotonic
        self.unix = unix
        self._messages = Messages(changes, self._elapsed)
        self._keepers: dict[Connection, MqttKeeper | ReliableKeeper] = {}
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
        self._last += 1
        keeper = self._keep(connection, self._last)
        keeper.write(self._entry(connection, tuple(roles), self.unix(), None))
        for group in groups:
            keeper.member(group, True)

    def begin_reliable(
        self, connection: Connection, retention_s: float, roles: Sequence[str], groups: Sequence[str]
    ) -> None:
        """The same for a reliable client, which may be away for so long from now on."""
        session = connection.session
        assert isinstance(session, ReliableSession)
        session.lasts_s = retention_s
        self.begin(connection, roles, groups)

    def _keep(self, connection: Connection, number: int) -> MqttKeeper | ReliableKeeper:
        session = connection.session
        keeper: MqttKeeper | ReliableKeeper
        if isinstance(session, MqttSession):
            keeper = mqtt = MqttKeeper(self._changes, self._messages, number)
            session.keep(mqtt)
        else:
            assert isinstance(session, ReliableSession), "nobody else comes back"
            keeper = reliable = ReliableKeeper(self._changes, number, self._elapsed)
            session.keep(reliable)
        self._keepers[connection] = keeper
        return keeper

    def changed(self, connection: Connection, *, is_back: bool = False) -> None:
        """
        Something of a session is another than it was, but for messages and subscriptions. Harmless if it is not kept.

        Args:
            is_back: its client is about to get another socket.
        """
        keeper = self._keepers.get(connection)
        if keeper is not None:
            before = keeper.entry
            assert before is not None
            lost_at = None
            if connection.sink is None and not is_back:
                lost_at = self.unix() if before.lost_at is None else before.lost_at
            keeper.write(self._entry(connection, before.roles, before.opened_at, lost_at))

    def _entry(
        self,
        connection: Connection,
        roles: tuple[str, ...],
        opened_at: float,
        lost_at: float | None,
    ) -> SessionEntry:
        hub, source, session = connection.hub, connection.source, connection.session
        return SessionEntry(
            hub.resource,
            hub.hub,
            connection.id,
            _terms(session),
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
            None if isinstance(session, MqttSession) else session.subprotocol,
        )

    def member(self, connection: Connection, group: str, is_member: bool) -> None:
        """A session has become a member of a group, or is one no more."""
        keeper = self._keepers.get(connection)
        if keeper is not None:
            keeper.member(group, is_member)

    def done(self, connection: Connection) -> None:
        """A request of a reliable client was carried out, which may repeat it."""
        keeper = self._keepers.get(connection)
        if isinstance(keeper, ReliableKeeper):
            keeper.done(connection.done_runs())

    def end(self, connection: Connection, groups: Sequence[str] = ()) -> None:
        """
        Keep a session no more.

        Args:
            groups: that it is a member of still.
        """
        keeper = self._keepers.pop(connection, None)
        if keeper is not None:
            session = connection.session
            assert isinstance(session, MqttSession | ReliableSession)
            session.keep(None)
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
        if isinstance(session, ReliableSession):
            held = [(first, parts, found.monotonic(until)) for first, (parts, until) in sorted(stored.held.items())]
            session.restore(held, stored.next)
            connection.restore_done(stored.acks)
            reliable = self._keep(connection, stored.number)
            assert isinstance(reliable, ReliableKeeper)
            reliable.restore(stored)
            return
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
        keeper = self._keep(connection, stored.number)
        assert isinstance(keeper, MqttKeeper)
        keeper.restore(stored, messages)

    def forget(self, stored: Stored) -> None:
        """Nobody goes on with a session."""
        groups = [one.topic for one in stored.subscriptions if one.member]
        if stored.entry.subprotocol is not None:
            reliable = ReliableKeeper(self._changes, stored.number, self._elapsed)
            reliable.restore(stored)
            reliable.end(groups)
            return
        keeper = MqttKeeper(self._changes, self._messages, stored.number)
        keeper.restore(stored._replace(queue=[]), {})
        keeper.end(groups)
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
        self.messages: dict[int, Message] = {}
        self._elapsed = elapsed

    def take(self, number: int, messages: Messages) -> Message:
        held = self.messages[number] = messages.restore(number, entries.message_of(self.entries[number]))
        return held

    def expires_at(self, number: int) -> float | None:
        """Monotonic seconds."""
        return self.monotonic(self.entries[number].expires_at)

    def monotonic(self, until: float | None) -> float | None:
        """A moment in seconds since 1970, in monotonic ones."""
        return None if until is None else until - self._elapsed


def _terms(session: Session) -> KeptTerms | None:
    return session.terms() if isinstance(session, MqttSession) else None


def _remembered(entry: QueuedEntry, messages: dict[int, Message], found: Found) -> Remembered:
    packet_id = entry.packet_id or None
    if not entry.message:
        return Remembered(None, entry.qos, packet_id=packet_id)
    message = messages[entry.message].message
    expires_at = found.expires_at(entry.message)
    return Remembered(message, entry.qos, entry.identifiers, expires_at, packet_id, entry.retain, entry.share)
