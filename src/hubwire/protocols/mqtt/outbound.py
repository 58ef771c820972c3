"""
What one client is sent with QoS 1 and 2: its packet identifiers, what it has not acknowledged, what waits for that.

Messages are shared by all who receive them: remembering one is a reference, and sending it two bytes between two
shared pieces. Whoever has a subscription identifier shares at least the payload, which is most of a large message.

Numbers in brackets are sections of OASIS MQTT 5.0.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from hubwire.model.errors import QueueOverflow
from hubwire.model.messages import DataMessage, GroupMessage
from hubwire.protocols.frames import BINARY, build_frame
from hubwire.protocols.mqtt.codec import pieces, publish
from hubwire.protocols.mqtt.contents import qos_of, remaining_s, topic_of
from hubwire.protocols.mqtt.keeping import Keeper, Remembered
from hubwire.protocols.mqtt.packets import Pubrel, encode
from hubwire.protocols.mqtt.reasons import MqttViolation, Reason
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Batch

__all__ = ["Outbound", "Outgoing", "Shared"]

_LAST_ID: Final = 65535


class Outgoing:
    """
    A message for all receivers with the same QoS and subscription identifiers, and RETAIN or not.

    Attributes:
        head, tail: of its frame, with the packet identifier in between, if it has one.
        body: what follows behind the tail: the payload of the message itself, unless the tail ends with it.
        size_bytes: of the packet.
        publisher: id of the client of MQTT that published it; None if it was none.
        identifiers: of the subscriptions by which it is sent.
        retain: its packet has RETAIN.
        share: name of the shared subscription by which it is; None for none.
        instant: it is not to wait at all.

    Args:
        frame: with QoS 0, where that is there already.
        expiry_s: what is left of its time; None for as much as the message says.
        retain: that it has RETAIN though it is a new message; what was kept has it in any case.
    """

    __slots__ = (
        "_version",
        "body",
        "expires_at",
        "head",
        "identifiers",
        "instant",
        "message",
        "publisher",
        "qos",
        "retain",
        "share",
        "size_bytes",
        "tail",
    )

    def __init__(
        self,
        message: DataMessage,
        version: int,
        qos: int,
        identifiers: tuple[int, ...],
        frame: bytes | None = None,
        expires_at: float | None = None,
        expiry_s: int | None = None,
        retain: bool = False,
        share: str | None = None,
    ) -> None:
        publication = message.publication if isinstance(message, GroupMessage) else None
        self.message = message
        self.qos = min(qos, qos_of(message))
        self.publisher = None if publication is None else publication.publisher
        self.instant = publication is not None and publication.expiry_s == 0
        self.expires_at = expires_at
        self._version = version
        self.identifiers = identifiers
        self.retain = retain or (isinstance(message, GroupMessage) and message.retained)
        self.share = share
        self.body = b""
        if frame is None:
            packet = encode(publish(message, version, 0, identifiers, expiry_s, empty=True, retain=retain), version)
            self.body = message.data.body
            self.head, self.tail = pieces(build_frame(BINARY, packet), self.qos, len(self.body))
        elif self.qos:
            self.head, self.tail = pieces(frame, self.qos)
        else:
            self.head, self.tail = frame, b""
        self.size_bytes = _payload_bytes(self.head, (2 if self.qos else 0) + len(self.tail) + len(self.body))

    def whole(self) -> bytes:
        """The frame with QoS 0, one object for all who ask."""
        if self.tail or self.body:
            # It does not wait, so the copy of the payload does not last.
            self.head = b"".join((self.head, self.tail, self.body))
            self.tail = self.body = b""
        return self.head

    def frame(self, packet_id: int) -> bytes:
        """With QoS 1 or 2."""
        if self.body:
            return b"".join((self.head, packet_id.to_bytes(2, "big"), self.tail, self.body))
        return self.head + packet_id.to_bytes(2, "big") + self.tail

    def late_frame(self, packet_id: int, version: int, now: float, dup: bool) -> bytes:
        """After it has waited, for a client that may speak another version by now."""
        if not dup and self._version == version and (version < 5 or self.expires_at is None):
            return self.frame(packet_id)
        expiry_s = None if self.expires_at is None else remaining_s(self.expires_at, now)
        message = publish(
            self.message, version, self.qos, self.identifiers, expiry_s, packet_id, dup, retain=self.retain
        )
        return build_frame(BINARY, encode(message, version))

    def fits(self, version: int, most_bytes: int) -> bool:
        """
        Is its packet no larger than a client takes that may speak another version by now, with properties or without.

        Args:
            most_bytes: 0 for no limit.
        """
        if not most_bytes or version == self._version:
            return not most_bytes or self.size_bytes <= most_bytes
        expiry_s = None if self.expires_at is None else 0
        message = publish(self.message, version, self.qos, self.identifiers, expiry_s, 1 if self.qos else None)
        return len(encode(message, version)) <= most_bytes

    def is_over(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class Shared:
    """
    What a batch is for all clients of one version.

    Attributes:
        topic: of all its messages.
        plain: the frames for everybody who wants QoS 0 and nothing else.
        qos: the highest of its messages.
        largest_bytes: no packet in it is larger, with QoS 0 and without an identifier.
    """

    # Not the batch, which holds this: of each message a circle would be left for the collector of garbage.
    __slots__ = (
        "_expires_at",
        "_kinds",
        "_messages",
        "_parts",
        "_told",
        "_version",
        "largest_bytes",
        "plain",
        "qos",
        "topic",
    )

    def __init__(self, batch: Batch, version: int, now: float) -> None:
        messages = batch.messages
        assert messages is not None, "the codec keeps them"
        self._messages = messages
        self._parts = batch.parts
        self._version = version
        self._kinds: dict[tuple[int, tuple[int, ...], bool, str | None], list[Outgoing]] = {}
        self.topic = topic_of(messages[0])
        self.qos = max([qos_of(message) for message in messages])
        expires_at = self._expires_at = batch.expires_at
        # What has a deadline but did not come by MQTT says so in no part of the batch.
        self._told = None if expires_at is None or version < 5 else remaining_s(expires_at, now)
        self.plain = batch.joined
        self.largest_bytes = max(map(len, batch.parts))
        if self._told is not None and not all(map(_says_expiry, messages)):
            self.plain = b"".join([item.whole() for item in self.outgoing(0, ())])

    def outgoing(
        self, qos: int, identifiers: tuple[int, ...], as_published: bool = False, share: str | None = None
    ) -> list[Outgoing]:
        """The messages as who has subscribed with these gets them."""
        key = (qos, identifiers, as_published, share)
        made = self._kinds.get(key)
        if made is None:
            made = []
            for message, part in zip(self._messages, self._parts, strict=True):
                if not part:
                    continue  # not for clients of MQTT
                told = None if _says_expiry(message) else self._told
                retain = as_published and _says_retain(message)
                frame = part if not identifiers and told is None and not retain else None
                until = self._expires_at
                made.append(Outgoing(message, self._version, qos, identifiers, frame, until, told, retain, share))
            self._kinds[key] = made
        return made


def _payload_bytes(frame: bytes, more: int) -> int:
    """Of a frame of which `more` bytes are not there."""
    length = frame[1]
    return len(frame) + more - (2 if length < 126 else 4 if length == 126 else 10)


def _says_retain(message: DataMessage) -> bool:
    publication = message.publication if isinstance(message, GroupMessage) else None
    return publication is not None and publication.retain


def _says_expiry(message: DataMessage) -> bool:
    publication = message.publication if isinstance(message, GroupMessage) else None
    return publication is not None and publication.expiry_s is not None


class Outbound:
    """
    The way out of one client.

    What an acknowledgement makes room for is not sent at once, but when its turn comes: the hub may have accepted
    messages before that it has not handed over yet. They queue up behind what waits, and are sent along with it.

    Attributes:
        keeper: is told what is to outlive the process; None if nothing is.
    """

    __slots__ = ("_again", "_flying", "_limits", "_next", "_overflown", "_size_bytes", "_waiting", "keeper")

    def __init__(self, limits: QueueLimits, keeper: Keeper | None) -> None:
        self._limits = limits
        self.keeper = keeper
        # By packet identifier, in the order in which they are to be sent again. None: the client has it, and only the
        # end of the flow of QoS 2 is open.
        self._flying: dict[int, Outgoing | None] = {}
        self._waiting: deque[Outgoing] | None = None
        self._again: deque[int] | None = None  # of those flying, what this socket has no room for yet
        self._next = 1
        self._size_bytes = 0
        self._overflown = False

    def held(self) -> tuple[int, int]:
        """Messages and bytes that are on their way or wait."""
        waiting = self._waiting
        return len(self._flying) + (0 if waiting is None else len(waiting)), self._size_bytes

    def restore(self, queue: Sequence[Remembered], version: int, now: float) -> None:
        """
        Go on with what was on its way or waited in an earlier process, and is with the keeper already.

        Args:
            version: of the client, 4 or 5.
        """
        for one in queue:
            packet_id = one.packet_id
            item = None
            if one.message is not None:
                item = _restored(one.message, one, version, now)
                self._size_bytes += item.size_bytes
            if packet_id is not None:
                self._flying[packet_id] = item
                self._next = packet_id % _LAST_ID + 1
            elif item is not None:
                if self._waiting is None:
                    self._waiting = deque()
                self._waiting.append(item)

    def deliver(
        self, messages: list[Outgoing], away: bool, window: int, most_bytes: int, left_out: str | None, now: float
    ) -> bytes:
        """
        Send messages, or keep them for later.

        Args:
            away: there is no socket. What has QoS 0 is dropped then.
            window: how many may be on their way.
            most_bytes: of one packet; 0 for no limit. What is larger is dropped.
            left_out: whose own messages are left out.

        Raises:
            QueueOverflow: more waits than may, or more bytes are kept than may be.
        """
        flying, keeper = self._flying, self.keeper
        must_wait = away or bool(self._waiting) or bool(self._again)
        frames: list[bytes] = []
        for item in messages:
            if most_bytes and item.size_bytes > most_bytes:
                continue
            if left_out is not None and item.publisher == left_out:
                continue
            if not item.qos:
                if not away:
                    frames.append(item.whole())
            elif not must_wait and len(flying) < window:
                packet_id = self._send(item)
                frames.append(item.frame(packet_id))
                self._size_bytes += item.size_bytes
                if keeper is not None:
                    keeper.sent(item, packet_id)
            elif not item.instant:
                must_wait = True
                if self._waiting is None:
                    self._waiting = deque()
                self._waiting.append(item)
                self._size_bytes += item.size_bytes
                if keeper is not None:
                    keeper.waits(item)
        if self._over_limit(away, window):
            self._expire(now)
            if self._over_limit(away, window):
                self._overflown = True
                raise QueueOverflow(*self.held())
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _send(self, item: Outgoing) -> int:
        flying = self._flying
        packet_id = self._next
        while packet_id in flying:
            packet_id = packet_id % _LAST_ID + 1
        self._next = packet_id % _LAST_ID + 1
        flying[packet_id] = item
        return packet_id

    def _over_limit(self, away: bool, window: int) -> bool:
        """
        What is on its way is as many messages as the client has said that it takes, so only their bytes are limited;
        and so with what there is room for by now. Without a socket nothing is on its way.
        """
        limits = self._limits
        if self._size_bytes > limits.size_bytes:
            return True
        waiting = len(self._waiting) if self._waiting else 0
        if away:
            return len(self._flying) + waiting > limits.messages
        again = len(self._again) if self._again else 0
        return again + waiting > limits.messages + max(self._room(window), 0)

    def _room(self, window: int) -> int:
        """For how many more than are on their way to this socket; negative if it takes less than are."""
        return window - len(self._flying) + (len(self._again) if self._again else 0)

    def _expire(self, now: float) -> None:
        """Drop what waits for longer than it may."""
        kept: deque[Outgoing] = deque()
        for item in self._waiting or ():
            if item.is_over(now):
                self._size_bytes -= item.size_bytes
                if self.keeper is not None:
                    self.keeper.dropped(len(kept))
            else:
                kept.append(item)
        self._waiting = kept

    def returned(self, share: str | None, now: float) -> list[Outgoing]:
        """
        What others may be sent instead, of the shared subscriptions by which it came [4.8.2].

        Args:
            share: take what waits for this one, which the client has left. None: the session has ended, so that all
                counts that it was not sent, and what may come twice: it was not acknowledged.
        """
        found: list[Outgoing] = []
        if share is None:
            if self._overflown:
                return found  # others are no faster: they would end as well
            flying = [item for item in self._flying.values() if item is not None and item.qos == 1]
            open_items = [*flying, *(self._waiting or ())]
            return [item for item in open_items if item.share is not None and not item.is_over(now)]
        kept: deque[Outgoing] = deque()
        for item in self._waiting or ():
            if item.share != share:
                kept.append(item)
                continue
            self._size_bytes -= item.size_bytes
            if self.keeper is not None:
                self.keeper.dropped(len(kept))
            if not item.is_over(now):
                found.append(item)
        self._waiting = kept
        return found

    # Acknowledgements. Those for what is not on its way are late ones, and are ignored. One that is not due to what is
    # on its way cannot be told from a client that has lost count, so nothing behind it would be sure [1.2, 4.13].

    def received(self, packet_id: int) -> None:
        """
        PUBACK: whatever its code, the client has taken a message of QoS 1.

        Raises:
            MqttViolation: 0x82, it is one of QoS 2.
        """
        flying = self._flying
        if packet_id not in flying:
            return
        item = flying[packet_id]
        if item is None or item.qos != 1:
            raise _not_due("PUBACK")
        self._landed(packet_id, item)

    def taken(self, packet_id: int, failed: bool) -> bool:
        """
        PUBREC: the client has taken a message of QoS 2, or will never, which ends its flow.

        Returns:
            whether the identifier is known.

        Raises:
            MqttViolation: 0x82, it is one of QoS 1.
        """
        flying = self._flying
        if packet_id not in flying:
            return False
        item = flying[packet_id]
        if item is not None:
            if item.qos != 2:
                raise _not_due("PUBREC")
            self._landed(packet_id, item, failed)
            if not failed:
                # At the end: PUBRELs are repeated in the order of the PUBRECs [4.6.0-4].
                flying[packet_id] = None
        elif failed:
            self._over(packet_id)
        return True

    def completed(self, packet_id: int) -> None:
        """
        PUBCOMP.

        Raises:
            MqttViolation: 0x82, there was no PUBREL.
        """
        flying = self._flying
        if packet_id not in flying:
            return
        if flying[packet_id] is not None:
            raise _not_due("PUBCOMP")
        self._over(packet_id)

    def _over(self, packet_id: int) -> None:
        """The end of a flow whose message the client has."""
        del self._flying[packet_id]
        if self.keeper is not None:
            self.keeper.landed(packet_id)

    def _landed(self, packet_id: int, item: Outgoing, ends: bool = True) -> None:
        """A message need not be sent again; mostly that ends its flow."""
        keeper = self.keeper
        if keeper is not None:
            if ends:
                keeper.landed(packet_id)
            else:
                keeper.taken(packet_id)
        del self._flying[packet_id]
        self._size_bytes -= item.size_bytes
        if self._again and packet_id in self._again:
            self._again.remove(packet_id)

    # What goes out late.

    def resume(self, version: int, window: int, most_bytes: int, now: float) -> list[bytes]:
        """
        What a new socket begins with: everything that is not acknowledged, then what waits, as far as there is room
        [4.4.0-1, 4.9].
        """
        frames: list[bytes] = []
        again: deque[int] = deque()
        sent = 0
        for packet_id, item in list(self._flying.items()):
            if item is None:
                frames.append(_frame_of_release(packet_id, version))
            elif not item.fits(version, most_bytes) or (item.qos == 1 and item.is_over(now)):
                # A flow of QoS 2 goes on even so: the client may have the first half of it.
                self._landed(packet_id, item)
            elif sent < window:
                sent += 1
                frames.append(item.late_frame(packet_id, version, now, True))
            else:
                again.append(packet_id)
        self._again = again or None
        frames += self.released(version, window, most_bytes, now)
        return frames

    def has_late(self, window: int) -> bool:
        """Is there room by now for something that waits."""
        return (bool(self._again) or bool(self._waiting)) and self._room(window) > 0

    def released(self, version: int, window: int, most_bytes: int, now: float) -> list[bytes]:
        """What there is room for by now."""
        frames: list[bytes] = []
        flying = self._flying
        again = self._again
        while again and len(flying) - len(again) < window:
            packet_id = again.popleft()
            item = flying[packet_id]
            assert item is not None, "the client cannot have it"
            frames.append(item.late_frame(packet_id, version, now, True))
        waiting, keeper = self._waiting, self.keeper
        while waiting and not again and len(flying) < window:
            item = waiting.popleft()
            if item.is_over(now) or not item.fits(version, most_bytes):
                self._size_bytes -= item.size_bytes
                if keeper is not None:
                    keeper.dropped(0)
                continue
            packet_id = self._send(item)
            if keeper is not None:
                keeper.sent_first(packet_id)
            frames.append(item.late_frame(packet_id, version, now, False))
        return frames


def _restored(message: DataMessage, one: Remembered, version: int, now: float) -> Outgoing:
    """As it was made when it came."""
    expires_at = one.expires_at
    told = None
    if expires_at is not None and version >= 5 and not _says_expiry(message):
        told = remaining_s(expires_at, now)
    return Outgoing(message, version, one.qos, one.identifiers, None, expires_at, told, one.retain, one.share)


def _not_due(name: str) -> MqttViolation:
    return MqttViolation(Reason.PROTOCOL_ERROR, f"{name} where another acknowledgement is due")


def _frame_of_release(packet_id: int, version: int) -> bytes:
    return build_frame(BINARY, encode(Pubrel(packet_id), version))
