"""
Streams that one connection publishes: which are open, what comes next in each, and when the publisher has been silent
for too long.

Nothing of a fragment is kept: what is next in order is published, what came before is acknowledged again, and what
comes too early is refused, since the publisher has it still. The state outlives a socket together with its connection.

Source: the client spec, 3.6, and the service's reference of its reliable JSON subprotocol (streaming). What the
official JavaScript client makes of the answers: an acknowledgement must never go backwards, nor in front of what it has
sent; and it waits for a first one without a time-out.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from hubwire.model.messages import (
    Data,
    EndStream,
    OpenStream,
    StreamAck,
    StreamAnswer,
    StreamClosed,
    StreamError,
    StreamFragment,
    StreamInfo,
    StreamNack,
    StreamRequest,
)

__all__ = ["Outcome", "Stream", "StreamLimits", "Streams"]

_IDLE_TIMEOUT_MS: Final = 300_000
_LONGEST_ID: Final = 1024
"""Characters, as many as the name of a group may have: it is kept while the stream is open."""

_FIRST: Final = 1
_END: Final = Data("text", b"")


class StreamLimits(NamedTuple):
    """
    Attributes:
        streams: that one connection may have open at once.
        in_flight_bytes: of fragments of one connection, accepted and not yet handed to subscribers. Beyond that the
            next request of the connection waits until they are.
    """

    streams: int = 100
    in_flight_bytes: int = 1 << 20


class Stream:
    """
    One that is open.

    Attributes:
        expected: number of the fragment that comes next; 1 or more.
        heard_at: when its publisher last showed that it is there; monotonic seconds.
        idle_s: for how long it may be silent.
        no_echo, ttl_s, metadata: of each fragment.
    """

    __slots__ = ("expected", "group", "heard_at", "id", "idle_s", "metadata", "no_echo", "ttl_s")

    def __init__(self, start: OpenStream, now: float) -> None:
        self.id = start.stream_id
        self.group = start.group
        self.no_echo = start.no_echo
        self.ttl_s = start.ttl_s
        self.metadata: Mapping[str, str] = start.metadata
        self.idle_s = (start.idle_timeout_ms or _IDLE_TIMEOUT_MS) / 1000
        self.heard_at = now
        self.expected = _FIRST


class Outcome(NamedTuple):
    """
    What follows from a request.

    Attributes:
        stream: to whose group something is to be published; None if nothing is.
        data, info: of that message.
        answer: for the publisher, behind the message.
        closed: name under which the stream has ended; "" for an end without an error, None while it has not.
    """

    stream: Stream | None = None
    data: Data = _END
    info: StreamInfo | None = None
    answer: StreamAnswer | None = None
    closed: str | None = None


_NOTHING: Final = Outcome()


class Streams:
    """
    The streams of one connection. Knows no clock: the time comes as an argument, in monotonic seconds.

    Args:
        limit: that may be open at once.
        survives: the connection may get another socket. What was said of streams that have ended is repeated then,
            since it may have been lost with the last one.
    """

    __slots__ = ("_before", "_limit", "_open", "_owed", "_since", "_survives", "in_flight_bytes")

    def __init__(self, limit: int, survives: bool) -> None:
        self._limit = limit
        self._survives = survives
        self._open: dict[str, Stream] = {}
        self._owed: dict[str, Stream] = {}
        # Endings that were told by this socket, and those told by earlier ones.
        self._since: OrderedDict[str, StreamClosed] = OrderedDict()
        self._before: OrderedDict[str, StreamClosed] = OrderedDict()
        self.in_flight_bytes = 0

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def is_void(self) -> bool:
        """Is there nothing in here that anything depends on."""
        return not self._open and not self._since and not self._before

    # What the publisher says.

    def heard(self, request: StreamRequest, allows: Callable[[str], bool], now: float) -> Outcome:
        """
        A request of the publisher.

        Args:
            allows: may the connection send to a group now.
        """
        if isinstance(request, OpenStream):
            return self._opening(request, allows, now)
        stream = self._open.get(request.stream_id)
        if stream is None:
            return Outcome(answer=self._closed_before(request.stream_id))
        if not allows(stream.group):
            return self._close(stream, StreamError("Forbidden", _forbidden(stream.group)))
        stream.heard_at = now
        if isinstance(request, StreamFragment):
            return self._fragment(stream, request)
        if isinstance(request, EndStream):
            return self._close(stream, request.error)
        return _NOTHING

    def _opening(self, start: OpenStream, allows: Callable[[str], bool], now: float) -> Outcome:
        stream_id = start.stream_id
        fault = start.fault
        if fault is None and len(stream_id) > _LONGEST_ID:
            fault = f"The id of a stream has at most {_LONGEST_ID} characters."
        if fault is None and stream_id in self._open:
            fault = "A stream with this id is open."
        if fault is None and not allows(start.group):
            return Outcome(answer=StreamClosed(stream_id, StreamError("Forbidden", _forbidden(start.group))))
        if fault is None and len(self._open) >= self._limit:
            fault = f"A connection may have {self._limit} streams open."
        if fault is not None:
            return Outcome(answer=StreamClosed(stream_id, StreamError("BadRequest", fault)))
        self._open[stream_id] = Stream(start, now)
        self._since.pop(stream_id, None)
        self._before.pop(stream_id, None)
        # At once and by itself: who waits for it looks for this very number.
        return Outcome(answer=StreamAck(stream_id, _FIRST))

    def _fragment(self, stream: Stream, fragment: StreamFragment) -> Outcome:
        expected = stream.expected
        number = fragment.sequence_id
        if number > expected:
            text = f"The fragment with number {expected} has not come."
            return Outcome(answer=StreamNack(stream.id, text, expected))
        self._owed[stream.id] = stream
        if number < expected:
            return _NOTHING
        stream.expected = expected + 1
        self.in_flight_bytes += len(fragment.data.body)
        return Outcome(stream, fragment.data, StreamInfo(stream.id, number))

    def _closed_before(self, stream_id: str) -> StreamClosed:
        known = self._before.get(stream_id)
        if known is not None:
            return known
        return StreamClosed(stream_id, StreamError("StreamNotFound", "There is no such stream."))

    # What comes of itself.

    def acks(self) -> list[StreamAck]:
        """
        What is to be acknowledged of all that was heard, once for each stream, once all of it was handed to
        subscribers. After an end nothing is acknowledged: it says more.
        """
        owed, self._owed = self._owed, {}
        self.in_flight_bytes = 0
        return [StreamAck(stream.id, stream.expected) for stream in owed.values()]

    @property
    def owes(self) -> bool:
        """Is there anything to acknowledge."""
        return bool(self._owed)

    def deadline(self) -> float | None:
        """When the first stream will have been silent for too long; None if none is open."""
        return min([stream.heard_at + stream.idle_s for stream in self._open.values()], default=None)

    def overdue(self, now: float) -> list[Outcome]:
        """End the streams whose publisher has been silent for too long."""
        silent = [stream for stream in self._open.values() if stream.heard_at + stream.idle_s <= now]
        text = "Nothing has come for longer than the idle time-out."
        return [self._close(stream, StreamError("IdleTimeout", text)) for stream in silent]

    def cancel(self) -> list[Outcome]:
        """The connection has ended, and with it all its streams."""
        error = StreamError("Cancelled", "The publisher is gone.")
        return [self._close(stream, error) for stream in list(self._open.values())]

    def wait(self, seconds: float) -> None:
        """Let all publishers be silent for longer: nothing could be heard for so long."""
        for stream in self._open.values():
            stream.heard_at += seconds

    def resumed(self, now: float) -> None:
        """The connection has another socket. While it had none, nothing could be heard."""
        for stream in self._open.values():
            stream.heard_at = now
        self._before.update(self._since)
        self._since.clear()

    def _close(self, stream: Stream, error: StreamError | None) -> Outcome:
        del self._open[stream.id]
        self._owed.pop(stream.id, None)
        told = StreamClosed(stream.id, None if error is None or error.name == "UserError" else error)
        if self._survives:
            self._since[stream.id] = told
            if len(self._since) + len(self._before) > self._limit:
                (self._before or self._since).popitem(last=False)
        info = StreamInfo(stream.id, stream.expected, True, error)
        return Outcome(stream, _END, info, told, "" if error is None else error.name)


def _forbidden(group: str) -> str:
    return f"The client does not have permission to send to group '{group}'."
