"""
Streams of clients: what they publish reaches their groups in order, what comes of it is told them, and whoever is
silent for too long or gone for good has its streams ended.

A fragment travels as any message to a group does, and is forgotten. All that a turn of the event loop brings is
acknowledged once for each stream, behind the fan-out of what it brought; and a publisher that brings more than may be
in flight waits for that. None is dropped instead: the official client sends none again before its connection breaks.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Container
from functools import partial
from typing import Final

from hubwire.cluster.node import Node
from hubwire.gateway import records
from hubwire.hub.connection import Connection
from hubwire.hub.streams import Outcome, StreamLimits, Streams
from hubwire.model.commands import Send
from hubwire.model.messages import (
    Ack,
    AckError,
    EndStream,
    GroupMessage,
    OpenStream,
    StreamAck,
    StreamAnswer,
    StreamClosed,
    StreamNack,
    StreamRequest,
)
from hubwire.model.standstill import STOOD_STILL_S
from hubwire.model.targets import to_group
from hubwire.model.telemetry import Telemetry

__all__ = ["GroupStreams"]

_LATER_S: Final = 1.0

_END_TOLD_AFTER_S: Final = 0.05
"""
So much later than its subscribers a publisher learns that its stream has ended. The official JavaScript client takes
the answer for a failure if it comes before Node has reported the request as written, which over TLS it does one turn of
its loop later: on one machine, a third of all ends failed.
"""


class _Publisher:
    """
    A connection that has streams.

    Attributes:
        endings: that are still to be told, with the monotonic second of each, the oldest first.
        telling: goes off at the first of them.
        timer: goes off when the first of them may have been idle for too long.
        due: when it does. The handle of a time that is now cannot always be asked.
        written: done when what is in flight has been handed to subscribers; None if nobody waits for that.
        is_behind: what it is owed is asked for with the next fan-out.
    """

    __slots__ = ("connection", "due", "endings", "is_behind", "streams", "telling", "timer", "written")

    def __init__(self, connection: Connection, streams: Streams) -> None:
        self.connection = connection
        self.streams = streams
        self.endings: deque[tuple[float, StreamClosed]] = deque()
        self.telling: asyncio.Handle | None = None
        self.timer: asyncio.Handle | None = None
        self.due = 0.0
        self.written: asyncio.Event | None = None
        self.is_behind = False

    @property
    def is_void(self) -> bool:
        """Is there nothing that anything depends on."""
        return self.streams.is_void and not self.endings

    def is_ending(self, stream_id: str) -> bool:
        """Is the end of a stream with this id still to be told."""
        return any(ending.stream_id == stream_id for _, ending in self.endings)

    def caught_up(self, _now: float) -> list[bytes]:
        """All that was accepted so far is on its way."""
        self.is_behind = False
        if self.written is not None:
            self.written.set()
            self.written = None
        session = self.connection.session
        return [session.direct(ack) for ack in self.streams.acks()]


class GroupStreams:
    """
    Streams of all clients of a node.

    Attributes:
        busy: connections whose requests wait for something else, so that they may seem silent.
    """

    def __init__(self, node: Node, telemetry: Telemetry, limits: StreamLimits) -> None:
        self._node = node
        self._telemetry = telemetry
        self._limits = limits
        self.busy: Container[Connection] = ()
        self._publishers: dict[Connection, _Publisher] = {}

    def handle(self, connection: Connection, request: StreamRequest) -> Awaitable[None] | None:
        """
        Carry out one request.

        Returns:
            None when it is done and answered, or will be with the next fan-out; else to be awaited before this
            client's next request is handled.
        """
        publisher = self._publishers.get(connection)
        if publisher is None:
            streams = Streams(self._limits.streams, connection.session.recoverable)
            publisher = _Publisher(connection, streams)
            self._publishers[connection] = publisher
        streams = publisher.streams
        outcome = streams.heard(request, partial(connection.permissions.allows, "sendToGroup"), self._node.time())
        if publisher.endings and isinstance(request, OpenStream) and publisher.is_ending(request.stream_id):
            self._tell_ends(publisher, math.inf)  # first the end of the former stream with this id
        answer = outcome.answer
        if isinstance(request, EndStream) and isinstance(answer, StreamClosed) and answer.error is None:
            self._publish(connection, outcome)
            self._tell_later(publisher, answer)
        else:
            self._follow(connection, outcome)
        if isinstance(request, OpenStream) and request.ack_id is not None:
            # What a stream cannot go with fails with it.
            error = AckError("InternalServerError", request.fault or "")
            self._node.reply(connection, connection.session.direct(Ack(request.ack_id, error)))
        refusal = _refusal(answer)
        if refusal is not None and outcome.closed is None:
            self._telemetry.count_stream_refused(refusal)
        records.message(connection, type(request).__name__ if refusal is None else f"Refused{refusal}", request)
        opened = isinstance(answer, StreamAck)
        if opened:
            self._telemetry.streams += 1
        if opened or outcome.closed is not None:
            self._watch(publisher)
        if publisher.is_void:
            del self._publishers[connection]
        return self._catch_up(publisher)

    def _follow(self, connection: Connection, outcome: Outcome) -> None:
        """Publish what is to be published, and answer behind it."""
        self._publish(connection, outcome)
        if outcome.answer is not None:
            self._tell(connection, outcome.answer)

    def _tell(self, connection: Connection, answer: StreamAnswer) -> None:
        self._node.reply(connection, connection.session.direct(answer))

    def _publish(self, connection: Connection, outcome: Outcome) -> None:
        stream, info = outcome.stream, outcome.info
        if stream is not None and info is not None:
            message = GroupMessage(stream.group, outcome.data, connection.user_id, stream.metadata, None, info)
            excluded = (connection.id,) if stream.no_echo else ()
            # An end waits for its receivers for ever: whoever has the beginning is to learn of it.
            ttl_s = 0 if info.end else stream.ttl_s
            self._telemetry.inbound_messages += 0 if info.end else 1
            self._node.execute(Send(to_group(connection.hub, stream.group), message, excluded, None, ttl_s))
        if outcome.closed is not None:
            self._telemetry.streams -= 1
            self._telemetry.count_stream_closed(outcome.closed)

    def _tell_later(self, publisher: _Publisher, ending: StreamClosed) -> None:
        if len(publisher.endings) >= self._limits.streams:
            self._tell_ends(publisher, publisher.endings[0][0])
        publisher.endings.append((self._node.time() + _END_TOLD_AFTER_S, ending))
        self._await_telling(publisher)

    def _await_telling(self, publisher: _Publisher) -> None:
        if publisher.endings and publisher.telling is None:
            wait_s = max(publisher.endings[0][0] - self._node.time(), 0.0)
            publisher.telling = self._node.later(wait_s, self._tell_due, publisher.connection)

    def _tell_due(self, connection: Connection) -> None:
        """The time of an ending has come."""
        publisher = self._publishers.get(connection)
        if publisher is None:
            return
        publisher.telling = None
        self._tell_ends(publisher, self._node.time())
        self._await_telling(publisher)
        if publisher.is_void:
            del self._publishers[connection]

    def _tell_ends(self, publisher: _Publisher, now: float) -> None:
        endings = publisher.endings
        while endings and endings[0][0] <= now:
            _, ending = endings.popleft()
            self._tell(publisher.connection, ending)

    def _catch_up(self, publisher: _Publisher) -> Awaitable[None] | None:
        streams = publisher.streams
        if streams.owes and not publisher.is_behind:
            publisher.is_behind = True
            self._node.reply_late(publisher.connection, publisher.caught_up, acknowledges=True)
        if streams.in_flight_bytes <= self._limits.in_flight_bytes:
            return None
        written = publisher.written
        if written is None:
            written = publisher.written = asyncio.Event()
        return _wait(written)

    # Silence, and the end.

    def _watch(self, publisher: _Publisher) -> None:
        """Let the timer go off when the first stream may be overdue. It may be early: who is heard meanwhile is not."""
        deadline = publisher.streams.deadline()
        timer = publisher.timer
        if deadline is None:
            if timer is not None:
                timer.cancel()
                publisher.timer = None
            return
        if timer is not None:
            if publisher.due <= deadline:
                return
            timer.cancel()
        now = self._node.time()
        wait_s = max(deadline - now, 0.0)
        publisher.due = now + wait_s
        publisher.timer = self._node.later(wait_s, self._look, publisher.connection)

    def _look(self, connection: Connection) -> None:
        """A stream may be overdue."""
        publisher = self._publishers.get(connection)
        if publisher is None or publisher.timer is None:
            return
        now = self._node.time()
        late_s = now - publisher.due
        publisher.timer = None
        if connection.sink is None:
            return  # it cannot be heard; see `resumed`
        streams = publisher.streams
        if late_s > STOOD_STILL_S:
            streams.wait(late_s + STOOD_STILL_S)
        elif connection in self.busy:
            streams.wait(_LATER_S)
        for closing in streams.overdue(now):
            self._closed(connection, closing)
        if publisher.is_void:
            del self._publishers[connection]
        self._watch(publisher)

    def resumed(self, connection: Connection) -> None:
        """A client has come back to its connection by another socket."""
        publisher = self._publishers.get(connection)
        if publisher is not None:
            publisher.streams.resumed(self._node.time())
            self._watch(publisher)

    def ended(self, connection: Connection) -> None:
        """A connection has ended for good."""
        publisher = self._publishers.pop(connection, None)
        if publisher is None:
            return
        for closing in publisher.streams.cancel():
            self._closed(connection, closing)
        self._watch(publisher)

    def _closed(self, connection: Connection, closing: Outcome) -> None:
        self._follow(connection, closing)
        if closing.stream is not None:
            records.stream_closed(connection, closing.stream.group, closing.stream.id, closing.closed or "")


def _refusal(answer: StreamAnswer | None) -> str | None:
    """The name in an answer that says no; None if it does not."""
    if isinstance(answer, StreamNack):
        return answer.name
    if isinstance(answer, StreamClosed) and answer.error is not None:
        return answer.error.name
    return None


async def _wait(written: asyncio.Event) -> None:
    await written.wait()
