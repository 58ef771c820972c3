"""
Who keeps one session that outlives the process: each step of it to entries of the journal.

What is over before it reached the disk costs nothing there. A message of MQTT that waits for many sessions is written
once, and goes when the last of them has it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec.structs import replace

from hubwire.cluster import durable_entries as entries
from hubwire.cluster.durable_entries import (
    ACKS,
    HELD,
    MESSAGE,
    QUEUED,
    RECEIVED,
    SEQUENCE,
    SESSION,
    SUBSCRIPTION,
    HeldEntry,
    QueuedEntry,
    SessionEntry,
    Stored,
    SubscriptionEntry,
)
from hubwire.model.messages import DataMessage
from hubwire.protocols.mqtt.keeping import KeptItem, KeptOptions

__all__ = ["Changes", "Message", "Messages", "MqttKeeper", "ReliableKeeper"]


class Changes(Protocol):
    """See `Commits`."""

    def put(self, kind: str, key: str, body: bytes) -> object: ...

    def remove(self, kind: str, key: str) -> object: ...

    async def entries(self, kind: str) -> list[tuple[str, bytes]]: ...


class Message:
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


class Messages:
    """All messages that wait for a session. Those that came as one are one."""

    def __init__(self, changes: Changes, elapsed: Callable[[], float]) -> None:
        self._changes = changes
        self._elapsed = elapsed
        self._known: dict[int, Message] = {}
        self.last = 0

    def hold(self, message: DataMessage, expires_at: float | None) -> Message:
        known = self._known.get(id(message))
        if known is None:
            self.last += 1
            known = self._known[id(message)] = Message(self.last, message)
            until = None if expires_at is None else expires_at + self._elapsed()
            self._changes.put(MESSAGE, f"{known.number:x}", entries.encode(entries.entry_of(message, until)))
        known.waiting += 1
        return known

    def release(self, held: Message) -> None:
        held.waiting -= 1
        if not held.waiting:
            del self._known[id(held.message)]
            self._changes.remove(MESSAGE, f"{held.number:x}")

    def restore(self, number: int, message: DataMessage) -> Message:
        """One that has an entry already."""
        held = self._known[id(message)] = Message(number, message)
        return held


class _Keeper:
    """
    One session, as far as all are alike.

    Args:
        number: of its entries.
    """

    __slots__ = ("_changes", "entry", "prefix")

    def __init__(self, changes: Changes, number: int) -> None:
        self._changes = changes
        self.prefix = f"{number:x}"
        self.entry: SessionEntry | None = None

    def member(self, group: str, is_member: bool) -> None:
        key = f"{self.prefix}/g/{group}"
        if is_member:
            self._changes.put(SUBSCRIPTION, key, entries.encode(SubscriptionEntry(group, True)))
        else:
            self._changes.remove(SUBSCRIPTION, key)

    def write(self, entry: SessionEntry) -> None:
        """What is neither a message nor a subscription."""
        if entry != self.entry:
            self.entry = entry
            self._changes.put(SESSION, self.prefix, entries.encode(entry))

    def end(self, groups: Sequence[str]) -> None:
        """Forget everything."""
        self._changes.remove(SESSION, self.prefix)
        for group in groups:
            self.member(group, False)


class MqttKeeper(_Keeper):
    """A session of MQTT; see `Keeper`."""

    __slots__ = (
        "_flying",
        "_last",
        "_messages",
        "_queued",
        "_received",
        "_topics",
        "_waiting",
    )

    def __init__(self, changes: Changes, messages: Messages, number: int) -> None:
        super().__init__(changes, number)
        self._messages = messages
        self._last = 0
        self._queued: dict[int, tuple[QueuedEntry, Message | None]] = {}
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

    def _put(self, number: int, entry: QueuedEntry, held: Message | None) -> None:
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

    # All of it.

    def end(self, groups: Sequence[str]) -> None:
        super().end(groups)
        for number in list(self._queued):
            self._remove(number)
        for packet_id in self._received:
            self._changes.remove(RECEIVED, f"{self.prefix}/{packet_id:x}")
        for topic in self._topics:
            self._changes.remove(SUBSCRIPTION, f"{self.prefix}/o/{topic}")

    def restore(self, stored: Stored, messages: dict[int, Message]) -> None:
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


class ReliableKeeper(_Keeper):
    """
    A session of a reliable subprotocol; see `protocols.reliable`.

    Args:
        elapsed: from the beginning of 1970 to that of the monotonic clock.
    """

    __slots__ = ("_elapsed", "_held")

    def __init__(self, changes: Changes, number: int, elapsed: Callable[[], float]) -> None:
        super().__init__(changes, number)
        self._elapsed = elapsed
        self._held: set[int] = set()

    def holds(self, first: int, parts: Sequence[bytes], expires_at: float | None) -> None:
        until = None if expires_at is None else expires_at + self._elapsed()
        self._held.add(first)
        self._changes.put(HELD, f"{self.prefix}/{first:x}", entries.encode(HeldEntry(tuple(parts), until)))
        # Also when all is acknowledged: numbers that the client has seen mean nothing new to it.
        self._changes.put(SEQUENCE, self.prefix, entries.encode(first + len(parts)))

    def lets_go(self, first: int) -> None:
        self._held.discard(first)
        self._changes.remove(HELD, f"{self.prefix}/{first:x}")

    def done(self, runs: Sequence[tuple[int, int]]) -> None:
        """Which of its requests were carried out, as runs of ack ids."""
        self._changes.put(ACKS, self.prefix, entries.encode(tuple(runs)))

    def end(self, groups: Sequence[str]) -> None:
        super().end(groups)
        for first in self._held:
            self._changes.remove(HELD, f"{self.prefix}/{first:x}")
        self._changes.remove(SEQUENCE, self.prefix)
        self._changes.remove(ACKS, self.prefix)

    def restore(self, stored: Stored) -> None:
        """Go on with what is in the journal already."""
        self.entry = stored.entry
        self._held.update(stored.held)
