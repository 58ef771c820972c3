"""
The fan-out of one node: what a turn of the event loop brings is kept as segments, and each is encoded once for every
codec, joined once, and written once to each receiver.

One `send()` on a socket costs 4 to 6 µs whatever its size up to 4 KiB, and our part of a shared frame 0.04 µs: fewer
and larger writes are the only lever. An idle server still sends at once; under load the batch grows with the backlog.

Order within a connection is the order of the segments. An answer to a client waits behind the segment that was open
when it was given: it never overtakes a message that was accepted before it, and never splits a run of messages in two,
unless it is a message itself.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias, cast

from hubwire.hub.connection import Connection
from hubwire.hub.gate import Gate
from hubwire.hub.hub import Hub
from hubwire.hub.shares import Share
from hubwire.model.errors import QueueOverflow
from hubwire.model.messages import DataMessage, GroupStateMessage, ends_stream
from hubwire.model.ports import Sink, Spread
from hubwire.model.targets import Target
from hubwire.model.telemetry import Telemetry
from hubwire.protocols.session import Batch, Codec

__all__ = ["Delivery", "Late"]

_MANY: Final = 8
"""Receivers from which on it pays to gather them."""

_AT_ONCE: Final = 256
"""Receivers that are gathered before they are written to. Each may have frames of its own, held until then."""

Late: TypeAlias = Callable[[float], Sequence[bytes]]
"""Frames for one connection, as of a monotonic second."""

_Sent: TypeAlias = DataMessage | GroupStateMessage

_Write: TypeAlias = tuple[bytes, int, float | None]
_Outbox: TypeAlias = dict[Connection, _Write | list[_Write]]
"""What each connection is given in a turn of several segments: one write, as nearly all, or a list of them."""


class _Segment:
    """
    A run of messages for one target, and the answers that wait behind them.

    Attributes:
        hub, target: whose members the messages are for, as they are when the segment is written: who leaves first lets
            it be written, and who joins gets holes. None where the receivers were picked one by one.
            Whose filters match hears of them too.
        picked: receivers where there is no target.
        matched: of these, those that hear of it by filters, and by which.
        replies: frames by connection, or where they are to be had.
        acknowledged: connections that are told by `replies` that their messages are taken.
        holes: by connection id, the positions of messages that this connection must not get.
    """

    __slots__ = (
        "acknowledged",
        "expires_at",
        "holes",
        "hub",
        "matched",
        "messages",
        "picked",
        "replies",
        "target",
    )

    def __init__(
        self,
        hub: Hub | None = None,
        target: Target | None = None,
        picked: Collection[Connection] = (),
        expires_at: float | None = None,
        matched: Mapping[Connection, tuple[str, ...]] | None = None,
    ) -> None:
        self.hub = hub
        self.target = target
        self.picked = picked
        self.matched = matched
        self.expires_at = expires_at
        self.messages: list[_Sent] = []
        self.holes: dict[str, list[int]] | None = None
        self.replies: dict[Connection, list[bytes | Late]] | None = None
        self.acknowledged: dict[Connection, None] | None = None

    def leave_out(self, connection_id: str, positions: Iterable[int]) -> None:
        if self.holes is None:
            self.holes = {}
        self.holes.setdefault(connection_id, []).extend(positions)


class Delivery:
    """
    Segments of the current turn for all hubs of a node.

    Whoever appends makes sure that `flush` is called before the loop waits again.

    Args:
        spread: writes to many sinks at once; without it each is written to by itself.
        gate: what is told waits for the disk there; without it nothing is ever on a disk.
    """

    __slots__ = ("_gate", "_made", "_segments", "_spread", "_targets", "_telemetry", "_turn")

    def __init__(self, telemetry: Telemetry, spread: Spread | None = None, gate: Gate | None = None) -> None:
        self._telemetry = telemetry
        self._spread = spread
        self._gate = gate
        self._segments: list[_Segment] = []
        self._made = False
        self._targets: set[Target] = set()
        self._turn = 0

    @property
    def pending(self) -> bool:
        """Is there anything to flush."""
        return bool(self._segments)

    @property
    def messages(self) -> int:
        """How many messages are to be flushed."""
        return sum([len(segment.messages) for segment in self._segments])

    def send(
        self,
        hub: Hub,
        target: Target,
        message: _Sent,
        excluded: tuple[str, ...] = (),
        expires_at: float | None = None,
    ) -> None:
        """Append a message for the members of `target`, except connections whose id is in `excluded`."""
        segments = self._segments
        last = segments[-1] if segments else None
        # A hub that lost its last connection is another one when somebody comes: the members are in that.
        if last is None or last.hub is not hub or last.target != target or last.expires_at != expires_at:
            last = _Segment(hub, target, expires_at=expires_at)
            segments.append(last)
            self._targets.add(target)
        if excluded:
            position = len(last.messages)
            for connection_id in excluded:
                last.leave_out(connection_id, (position,))
        last.messages.append(message)

    def send_to(
        self,
        receivers: Collection[Connection],
        message: _Sent,
        expires_at: float | None = None,
        matched: Mapping[Connection, tuple[str, ...]] | None = None,
    ) -> None:
        """
        Append a message for connections that are already picked.

        Args:
            matched: by which filters some of them hear of it, as `Audience` has it.
        """
        segment = _Segment(picked=receivers, expires_at=expires_at, matched=matched)
        segment.messages.append(message)
        self._segments.append(segment)

    def send_retained(
        self, connection: Connection, target: Target, name: str, messages: Sequence[_Sent], expires_at: float | None
    ) -> None:
        """
        Append messages for a connection that has subscribed to what they were kept for.

        Args:
            target: what has to be written out before the connection leaves it.
            name: of the subscription: a filter, or the name of the group.
        """
        segment = _Segment(picked=(connection,), expires_at=expires_at, matched={connection: (name,)})
        segment.messages.extend(messages)
        self._segments.append(segment)
        self._targets.add(target)

    def made_entries(self) -> None:
        """For a message of this turn, entries of the journal were made already: who sent it is told behind them."""
        self._made = True

    def send_to_one(
        self, share: Share, message: DataMessage, expires_at: float | None = None, left_out: Collection[str] = ()
    ) -> None:
        """
        Append a message for one member of a shared subscription, who is chosen now.

        Args:
            left_out: ids of members whom it is not for.
        """
        chosen = share.choose(self._turn, left_out)
        if chosen is not None:
            self.send_to((chosen,), message, expires_at, {chosen: share.names})

    def reply(self, connection: Connection, frame: bytes, is_message: bool = False, acknowledges: bool = False) -> None:
        """
        Append a frame for one connection, behind everything appended so far.

        Args:
            is_message: it is no mere answer, and stays in front of the messages that are appended later.
            acknowledges: it says that messages are taken that were appended before. It leaves when all entries are
                written that were made for messages up to here.
        """
        self._replies(connection).append(frame)
        if acknowledges:
            self._acknowledges(connection)
        if is_message:
            # Nothing more gets into the run of messages that it waits behind.
            self._segments.append(_Segment())

    def reply_late(self, connection: Connection, frames_of: Late, acknowledges: bool = False) -> None:
        """
        As `reply`, with frames that are asked for only once everything appended so far is delivered: what a session
        then holds back may have to go out in front of them.
        """
        self._replies(connection).append(frames_of)
        if acknowledges:
            self._acknowledges(connection)

    def _acknowledges(self, connection: Connection) -> None:
        if self._gate is not None:
            last = self._segments[-1]
            if last.acknowledged is None:
                last.acknowledged = {}
            last.acknowledged[connection] = None

    def _replies(self, connection: Connection) -> list[bytes | Late]:
        if not self._segments:
            self._segments.append(_Segment())
        last = self._segments[-1]
        if last.replies is None:
            last.replies = {}
        return last.replies.setdefault(connection, [])

    def concerns(self, target: Target) -> bool:
        """Is a message pending for the members of `target`? Then flush before one of them leaves."""
        return target in self._targets

    def joined(self, connection: Connection, target: Target) -> None:
        """A connection became a member of `target`: what is pending was sent before and is not for it."""
        if target in self._targets:
            for segment in self._segments:
                if segment.target == target:
                    segment.leave_out(connection.id, range(len(segment.messages)))

    def flush(self, now: float) -> list[Connection]:
        """
        Write everything out.

        Args:
            now: monotonic seconds.

        Returns:
            reliable connections that hold more unacknowledged messages than they may; the caller ends them.
        """
        segments, self._segments = self._segments, []
        self._targets.clear()
        overflown: list[Connection] = []
        # With one segment each receiver has one write, so nothing needs to be gathered.
        outbox: _Outbox | None = {} if len(segments) > 1 else None
        gate = self._gate
        made, self._made = self._made, False
        asked = 0 if gate is None else gate.asked
        for segment in segments:
            if segment.messages:
                self._deliver(segment, now, outbox, overflown)
            if segment.acknowledged is not None and gate is not None and (made or gate.asked != asked):
                for connection in segment.acknowledged:
                    if connection.sink is not None:
                        gate.hold(connection.sink)
            if segment.replies is not None:
                for connection, replies in segment.replies.items():
                    self._write(connection, _made(replies, now), outbox)
        if outbox is not None:
            for connection, given in outbox.items():
                sink = connection.sink
                if sink is not None:
                    if gate is not None:
                        self._hold_durable(gate, connection)
                    for data, count, expires_at in _joined(given) if isinstance(given, list) else (given,):
                        self._hand_over(sink, data, count, expires_at)
        if gate is not None:
            gate.settle()
        self._turn += 1
        return overflown

    def guard(self, sink: Sink) -> None:
        """What is written to a sink from now on waits until everything that was asked for so far is on the disk."""
        gate = self._gate
        if gate is not None and gate.shut:
            gate.hold(sink)
            gate.settle()

    def _deliver(self, segment: _Segment, now: float, outbox: _Outbox | None, overflown: list[Connection]) -> None:
        messages = segment.messages
        expires_at = segment.expires_at
        holes = segment.holes
        delivered = 0
        sent_bytes = 0
        # What the messages became for each codec: one object for all receivers, or what each has a part in. One slot in
        # front of the table: nearly always all receivers speak the same subprotocol.
        made: dict[Codec, bytes | Batch] = {}
        codec: Codec | None = None
        mine: bytes | Batch | None = None
        until = expires_at
        gate = self._gate
        receivers, matched = segment.picked, segment.matched
        shares: Sequence[Share] = ()
        hub, target = segment.hub, segment.target
        if hub is not None and target is not None:
            audience = hub.audience(target)
            if audience is None:
                receivers = hub.members(target)
            else:
                receivers, matched, shares = audience.receivers, audience.matched, audience.shares
        spread = self._spread if len(receivers) >= _MANY else None
        sinks: list[Sink] = []
        theirs: list[bytes] = []
        for connection in receivers:
            if connection.codec is not codec:
                codec = connection.codec
                mine = made.get(codec)
                if mine is None:
                    mine = made[codec] = _prepare(codec, messages, expires_at, alike=holes is None)
            if type(mine) is bytes:
                data, count, until = mine, len(messages), expires_at
            else:
                assert isinstance(mine, Batch)
                batch = mine if holes is None else _without(mine, holes.get(connection.id))
                if batch is None:
                    continue
                if matched is not None:
                    batch.matched = matched.get(connection)
                try:
                    data = connection.session.deliver(batch, now)
                except QueueOverflow:
                    overflown.append(connection)
                    continue
                count = len(batch.parts)
                until = None if batch.awaited else expires_at
                if gate is not None and outbox is None and data:
                    self._hold_durable(gate, connection)
            delivered += count
            sink = connection.sink
            if sink is None or not data:
                continue  # it waits in the session, or is not for this client
            if outbox is not None:
                _put(outbox, connection, (data, count, until))
            elif sink.direct is None:
                sink.write(data, count, until)
            else:
                sent_bytes += len(data)
                if spread is None:
                    sink.direct(data)
                    continue
                sinks.append(sink)
                theirs.append(data)
                if len(sinks) == _AT_ONCE:
                    spread(sinks, theirs)
                    sinks, theirs = [], []
        if spread is not None and sinks:
            spread(sinks, theirs)
        self._telemetry.outbound_messages += delivered
        self._telemetry.outbound_bytes += sent_bytes
        for share in shares:
            self._deliver_shared(share, segment, made, now, outbox, overflown)

    def _deliver_shared(
        self,
        share: Share,
        segment: _Segment,
        made: dict[Codec, bytes | Batch],
        now: float,
        outbox: _Outbox | None,
        overflown: list[Connection],
    ) -> None:
        """Each message to one member. Each member is given what is for it at once."""
        messages = segment.messages
        places: dict[Connection, list[int]] = {}
        for place, message in enumerate(messages):
            left_out = () if segment.holes is None else [one for one, gaps in segment.holes.items() if place in gaps]
            if not isinstance(message, GroupStateMessage) and ends_stream(message):
                continue  # nothing that these clients are told of
            chosen = share.choose(self._turn, left_out)
            if chosen is not None:
                places.setdefault(chosen, []).append(place)
        for connection, its in places.items():
            whole = made.get(connection.codec)
            if not isinstance(whole, Batch):
                whole = _prepare(connection.codec, messages, segment.expires_at, alike=False)
                assert isinstance(whole, Batch)
                made[connection.codec] = whole
            batch = whole if len(its) == len(messages) else whole.only(its)
            batch.matched = share.names
            try:
                data = connection.session.deliver(batch, now)
            except QueueOverflow:
                overflown.append(connection)
                continue
            self._telemetry.outbound_messages += len(its)
            sink = connection.sink
            if sink is None or not data:
                continue
            until = None if batch.awaited else segment.expires_at
            if outbox is not None:
                _put(outbox, connection, (data, len(its), until))
                continue
            if self._gate is not None:
                self._hold_durable(self._gate, connection)
            self._hand_over(sink, data, len(its), until)

    def _write(self, connection: Connection, frames: Sequence[bytes], outbox: _Outbox | None) -> None:
        if not frames:
            return
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        if outbox is not None:
            _put(outbox, connection, (data, len(frames), None))
        elif connection.sink is not None:
            if self._gate is not None:
                self._hold_durable(self._gate, connection)
            self._hand_over(connection.sink, data, len(frames), None)

    @staticmethod
    def _hold_durable(gate: Gate, connection: Connection) -> None:
        """A packet that left must be known after a restart, by its number and state."""
        if gate.shut and connection.session.durable and connection.sink is not None:
            gate.hold(connection.sink)

    def _hand_over(self, sink: Sink, data: bytes, frames: int, expires_at: float | None) -> None:
        if sink.direct is not None:
            sink.direct(data)
            self._telemetry.outbound_bytes += len(data)
        else:
            sink.write(data, frames, expires_at)


def _made(replies: list[bytes | Late], now: float) -> list[bytes]:
    """The frames, in order."""
    frames: list[bytes] = []
    for reply in replies:
        if isinstance(reply, bytes):
            frames.append(reply)
        else:
            frames += reply(now)
    return frames


def _prepare(codec: Codec, messages: Sequence[_Sent], expires_at: float | None, *, alike: bool) -> bytes | Batch:
    """
    Encode messages once for all receivers of one codec.

    Args:
        messages: of states of groups all of them, or none.
        alike: no receiver is to be left out of any of them.
    """
    if isinstance(messages[0], GroupStateMessage):
        # They have targets of their own, so no other message is among them.
        parts = [codec.prepare_state(message) for message in cast("Sequence[GroupStateMessage]", messages)]
        numbers, kept = codec.numbers_states, None
    else:
        data_messages = cast("Sequence[DataMessage]", messages)
        parts = [codec.prepare(message) for message in data_messages]
        numbers, kept = codec.numbers, data_messages if codec.keeps else None
    if numbers or not alike:
        return Batch(codec, parts, expires_at, kept)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _put(outbox: _Outbox, connection: Connection, write: _Write) -> None:
    given = outbox.get(connection)
    if given is None:
        outbox[connection] = write
    elif isinstance(given, list):
        given.append(write)
    else:
        outbox[connection] = [given, write]


def _without(batch: Batch, gaps: Sequence[int] | None) -> Batch | None:
    return batch if gaps is None else batch.without(gaps)


def _joined(writes: list[_Write]) -> Iterator[_Write]:
    """What one connection was given in several segments, joined as far as it expires together."""
    start = 0
    for end in range(1, len(writes) + 1):
        if end < len(writes) and writes[end][2] == writes[start][2]:
            continue
        run = writes[start:end]
        data = run[0][0] if len(run) == 1 else b"".join([piece for piece, _, _ in run])
        yield data, sum(frames for _, frames, _ in run), run[0][2]
        start = end
