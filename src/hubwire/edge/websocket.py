"""
One client's socket: an asyncio protocol with no task of its own. Frames in go to the gateway, whole frames out come
from the fan-out; in between are back pressure both ways, the closing handshake and the signs of life.

Source: RFC 6455 (sections 4.2.2, 5.5, 7); close codes as in the service's documentation.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from websockets.speedups import apply_mask

from hubwire.edge.answers import switching
from hubwire.edge.clients import Clients
from hubwire.edge.outbox import Outbox
from hubwire.gateway.opening import Opening
from hubwire.hub.connection import Connection
from hubwire.model.errors import ProtocolViolation
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.frames import BINARY, CLOSE, PING, PONG, TEXT, FrameReader, build_frame, close_payload

__all__ = ["ClientProtocol"]

_log = logging.getLogger("hubwire.edge")

_PING_FRAME: Final = build_frame(PING, b"")
_HIGH_WATER: Final = 256 * 1024
_LOW_WATER: Final = 64 * 1024
_EARLY_LIMIT: Final = 64 * 1024
_READ_SLICE: Final = 64 * 1024
"""
Bytes of one client that are handled in one turn: some 10,000 of the smallest frames. A loop may bring 256 KiB in one
read, and 32 such reads in one turn, while everybody else waits.
"""
_PONGS: Final = 64
"""Pings of one slice that are answered each; of more, RFC 6455 5.5.3 lets us answer the newest."""
_CLOSE_TIMEOUT_S: Final = 2.0
_CLOSE_PATIENCE_S: Final = 1.0
"""A client's goodbye is answered by then, although an event of before is with its handler still."""
_MESSAGES: Final = (TEXT, BINARY)
_NOT_ASKED: Final = -2
_FAULT: Final = -2
"""In the inbox, in place of an opcode: the client broke the framing, after everything that came before."""
_LOST: Final = -1
"""In the inbox, in place of an opcode: the socket is gone, after everything that came before."""


def _descriptor(transport: asyncio.Transport) -> int:
    """Of the socket behind a transport that sends what it is given as it is; negative for TLS."""
    socket = None if transport.get_extra_info("sslcontext") else transport.get_extra_info("socket")
    return -1 if socket is None else int(socket.fileno())


class _Threshold:
    """
    What waits while a client is let in.

    Attributes:
        heard: of the client; it is read once the client is in.
        answer: the 101, written along with the first that the client is told: one system call instead of two.
    """

    __slots__ = ("answer", "heard")

    def __init__(self, answer: bytes) -> None:
        self.heard: list[bytes] = []
        self.answer = answer


class ClientProtocol:
    """
    One client's socket, and the `Sink` of its connection.

    Attributes:
        direct: see `Sink`.
        last_seen: on the clock of `Liveness`, when the client was last heard.
    """

    __slots__ = (
        "_abort_timer",
        "_busy",
        "_clients",
        "_closing",
        "_connection",
        "_descriptor",
        "_gone",
        "_inbox",
        "_leaving",
        "_limit_bytes",
        "_outbox",
        "_overflown",
        "_paused",
        "_pong",
        "_reader",
        "_threshold",
        "_transport",
        "_unread",
        "_why",
        "direct",
        "last_seen",
    )

    def __init__(self, clients: Clients, transport: asyncio.Transport, opening: Opening) -> None:
        self._clients = clients
        self._transport = transport
        self._reader = FrameReader(clients.max_message_bytes, apply_mask)
        reliable = opening.connection is not None and opening.connection.session.recoverable
        self._limit_bytes = clients.reliable_buffer_bytes if reliable else clients.buffer_bytes
        self._connection: Connection | None = None
        # Queues are made when something has to wait, which for most clients is never.
        self._threshold: _Threshold | None = _Threshold(switching(opening.websocket_key, opening.subprotocol))
        self._inbox: deque[tuple[int, Any]] | None = None
        self._outbox: Outbox | None = None
        self._unread: bytes | None = None
        self._pong: bytes | None = None
        self._busy = False
        self._paused = True  # until the 101 is written
        self._overflown = False
        self._closing = False
        self._leaving = False
        self.direct: Callable[[bytes], object] | None = None
        self._gone = False
        self._descriptor = _NOT_ASKED
        self._abort_timer: asyncio.TimerHandle | None = None
        self._why = CloseCategory.NORMAL
        self.last_seen = clients.liveness.now

    # The opening.

    def open(self, opening: Opening, rest: bytes) -> None:
        """Answer 101 and let the client in. What it says in between waits."""
        self._transport.set_write_buffer_limits(_HIGH_WATER, _LOW_WATER)
        self._clients.sockets.add(self)
        if rest:
            self.data_received(rest)
        try:
            waiting = self._clients.gateway.begin(opening, self)
        except Exception:
            self._not_begun()
            waiting = None
        self._answer_with(b"")
        self._go_on_writing()  # it may have been held
        if waiting is None:
            self._begun(opening)
        else:
            self._clients.spawn(self._begin(opening, waiting))

    def _answer_with(self, data: bytes) -> bool:
        """Write the 101 with `data` behind it, if that is still to be done."""
        threshold = self._threshold
        if threshold is None or not threshold.answer:
            return False
        answer, threshold.answer = threshold.answer, b""
        self._paused = False
        if not self._closing and self._outbox is None:
            self.direct = self._transport.write
        self._clients.telemetry.outbound_bytes += len(data)
        self._transport.write(answer + data)  # which may pause the transport at once
        return True

    async def _begin(self, opening: Opening, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except Exception:
            self._not_begun()
        self._begun(opening)

    def _not_begun(self) -> None:
        # 1008 lets the official clients begin anew instead of asking for what never was.
        _log.exception("a client could not be let in")
        self.close(1008, "The connection cannot be activated.")

    def _begun(self, opening: Opening) -> None:
        self._serve(opening.connection)
        # Who is not let in is read too: the answer to our close frame may be in there.
        assert self._threshold is not None
        self._unread, self._threshold = b"".join(self._threshold.heard), None
        self._go_on()

    def _serve(self, connection: Connection | None) -> None:
        """Be the socket of a connection from now on, if that has not ended or got another one meanwhile."""
        if connection is not None and connection.sink is self:
            self._connection = connection
            if not self._gone:
                self._watch()

    # In.

    def data_received(self, data: bytes) -> None:
        size_bytes = len(data)
        self._came(size_bytes)
        self._clients.telemetry.inbound_bytes += size_bytes
        if self._threshold is not None:
            self._threshold.heard.append(data)
            if sum(map(len, self._threshold.heard)) > _EARLY_LIMIT:
                self._transport.pause_reading()
        elif self._unread is not None:
            self._unread += data
        elif len(data) > _READ_SLICE:
            self._read_some(data)
        else:
            self._read(data)

    def _read_some(self, data: bytes) -> None:
        """Read one slice now and the rest in later turns; until that is done, nothing more comes from the socket."""
        if len(data) > _READ_SLICE:
            self._unread = data[_READ_SLICE:]
            self._transport.pause_reading()
            self._clients.loop.call_soon(self._go_on)
        self._read(data[:_READ_SLICE])

    def _go_on(self) -> None:
        """Read on where reading stopped, unless too much waits already; whoever takes that away comes here again."""
        if self._crowded:
            return
        unread, self._unread = self._unread, None
        if not self._gone and not self._transport.is_closing():
            self._transport.resume_reading()
        if unread is not None:
            self._read_some(unread)
        self._end_if_lost()

    def _end_if_lost(self) -> None:
        """What came before the socket was lost still counts, so this comes behind the last slice of it."""
        if self._gone and self._unread is None and self._connection is not None:
            self._take(_LOST, 1006)

    @property
    def _crowded(self) -> bool:
        return self._inbox is not None and len(self._inbox) >= self._clients.inbox_requests

    def _read(self, data: bytes) -> None:
        reader = self._reader
        pongs: list[bytes] = []
        for opcode, payload in reader.feed(data):
            if opcode in _MESSAGES:
                self._take(opcode, payload)
            elif opcode == PING:
                assert isinstance(payload, bytes)
                pongs.append(payload)
            elif opcode != PONG:
                if opcode == CLOSE:
                    self._answer_pings(pongs)
                    pongs = []
                self._take(opcode, payload)
        self._answer_pings(pongs)
        if reader.fault is not None and (not self._closing or self._gone):
            self._take(_FAULT, reader.fault)

    def _answer_pings(self, payloads: list[bytes]) -> None:
        if payloads:
            frames = [build_frame(PONG, payload) for payload in payloads[-_PONGS:]]
            if self._paused:
                # The client takes nothing now. It is owed one answer, however often it asks.
                self._pong = frames[-1]
            else:
                self._write_pong(b"".join(frames))

    def _write_pong(self, data: bytes) -> None:
        """Past what is held: it rests on nothing."""
        if not (self._closing or self._overflown):
            self._clients.telemetry.outbound_bytes += len(data)
            self._transport.write(data)

    def _take(self, opcode: int, payload: Any) -> None:
        """Handle one thing that came from the socket, now or after what came before it."""
        if self._busy:
            if self._inbox is None:
                self._inbox = deque()
            self._inbox.append((opcode, payload))
            if opcode == CLOSE:
                self._clients.loop.call_later(_CLOSE_PATIENCE_S, self._answer_close, payload[0])
            if self._crowded and not self._gone:
                self._transport.pause_reading()
            return
        waiting = self._handle(opcode, payload)
        if waiting is not None:
            self._busy = True
            self._clients.spawn(self._work(waiting))

    async def _work(self, waiting: Awaitable[None]) -> None:
        """Wait for one request, then handle what came meanwhile, in order."""
        try:
            await waiting
            while self._inbox:
                opcode, payload = self._inbox.popleft()
                more = self._handle(opcode, payload)
                if more is not None:
                    await more
        except Exception:
            _log.exception("a client's request failed")
            self._failed()
        finally:
            self._busy = False
            self._inbox = None
            self._go_on()

    def _handle(self, opcode: int, payload: Any) -> Awaitable[None] | None:
        if opcode == CLOSE:
            self._client_closed(payload)
        elif opcode == _LOST:
            self._finish(payload)
        elif opcode == _FAULT:
            self._broken(payload)
        else:
            return self._receive(opcode, payload)
        return None

    def _receive(self, opcode: int, payload: Any) -> Awaitable[None] | None:  # noqa: ARG002  only some mind the opcode
        """Handle a message."""
        connection = self._connection
        # What came before the socket was lost still counts; not so what came before it was closed or replaced.
        if connection is None or connection.sink is not self:
            return None
        return self._clients.gateway.receive(connection, payload)

    def _broken(self, fault: ProtocolViolation) -> None:
        """The client broke the framing."""
        connection = self._connection
        if connection is not None and connection.sink is self:
            self._clients.gateway.violated(connection, fault)
            self._end_writing()

    def _failed(self) -> None:
        """We could not do what the client asked for, by our own fault."""
        if self._connection is not None:
            self._clients.gateway.failed(self._connection)

    def _end_writing(self) -> None:
        """
        RFC 6455 7.1.7: fail the connection. What follows a broken frame cannot be read, an answer to our close frame
        included, so nobody waits for one. Closing only our direction lets the close frame arrive at a peer that is
        busy sending, which a reset would overtake.
        """
        if self._gone:
            return
        if self._outbox is not None:
            return  # the close frame waits behind what the client does not take or hear yet; the timer ends that
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _client_closed(self, close: tuple[int | None, str]) -> None:
        """RFC 6455 5.5.1: answer a close frame with its own code, unless it is itself the answer to ours."""
        code = close[0]
        if not self._closing:
            # What it asked for before it said goodbye is still answered: the turn may not be over yet. Which may show
            # that the client is too slow, and so close it ourselves.
            self._clients.gateway.settle()
        self._answer_close(code)
        # Even if the socket was lost before it could be answered: what the client said decides whether it comes back.
        self._finish(1005 if code is None else code)
        if self._held:
            self._leaving = True
        else:
            self._transport.close()

    def _answer_close(self, code: int | None) -> None:
        if not self._closing:
            self._begin_to_close()
            frame = build_frame(CLOSE, b"" if code is None else close_payload(code, ""))
            if self._held:
                self._put(frame, None)
            else:
                self._drop_outbox()
                self._transport.write(frame)
            self._abort_later()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  a reset says no more than its absence
        self._gone = True
        self._begin_to_close()
        self._drop_outbox()
        self._clients.closed(self)
        self._clients.liveness.forget(self)
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None
        if self._connection is not None:
            if self._busy:
                self._clients.gateway.hung_up(self._connection, self)
            self._clients.gone(self._end_if_lost)

    def _finish(self, code: int) -> None:
        """Tell the gateway, once, that this socket will bring nothing more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._clients.liveness.forget(self)
            self._clients.gateway.lost(connection, self, code, self._why)

    # Out: the sink.

    def write(self, data: bytes, frames: int, expires_at: float | None) -> None:  # noqa: ARG002  counted by the hub
        if self._closing or self._overflown:
            return
        if self._paused or self._outbox is not None:
            self._wait(data, expires_at)
            return
        self._clients.telemetry.outbound_bytes += len(data)
        self._transport.write(data)

    def hold(self) -> None:
        if self._closing or self._overflown:
            return
        if self._outbox is None:
            self._outbox = Outbox()
        self._outbox.bar()
        self.direct = None

    def release(self, holds: int) -> None:
        if self._outbox is not None:
            self._outbox.lift(holds)
            self._go_on_writing()

    @property
    def _held(self) -> bool:
        """Is there something that the client would take, and is not to be told yet."""
        return self._outbox is not None and self._outbox.barriers > 0 and not self._paused

    def descriptor(self) -> int:
        """Of the socket, where it may be written to past the transport: nothing waits in that. Else negative."""
        transport = self._transport
        if self._descriptor == _NOT_ASKED:
            self._descriptor = _descriptor(transport)
        if transport.get_write_buffer_size() or transport.is_closing():
            return -1
        return self._descriptor

    def write_rest(self, data: bytes, taken: int) -> None:
        """The same as `direct`, for what the socket has not taken of `data` yet."""
        self._transport.write(memoryview(data)[taken:] if taken else data)

    def _wait(self, data: bytes, expires_at: float | None) -> None:
        if self._outbox is None and self._answer_with(data):
            return
        outbox = self._outbox
        if outbox is None:
            outbox = self._outbox = Outbox()
        if outbox.size_bytes + len(data) > self._limit_bytes:
            before = outbox.size_bytes
            outbox.drop_expired(self._clients.loop.time())
            self._clients.telemetry.queued_bytes -= before - outbox.size_bytes
            if outbox.size_bytes + len(data) > self._limit_bytes:
                # Called from within the fan-out, which must not see its registries change: the close comes a moment
                # later. What waits is dropped at once, since the client will not get it.
                self._overflown = True
                self._drop_outbox()
                self._clients.loop.call_soon(self._too_slow)
                return
        self._put(data, expires_at)

    def _put(self, data: bytes, expires_at: float | None) -> None:
        outbox = self._outbox
        assert outbox is not None, "there is something to wait behind"
        outbox.put(data, expires_at)
        self._clients.telemetry.queued_bytes += len(data)

    def _too_slow(self) -> None:
        if self._connection is not None:
            self._clients.gateway.slow(self._connection, self)

    def _drop_outbox(self) -> None:
        if self._outbox is not None:
            self._clients.telemetry.queued_bytes -= self._outbox.size_bytes
            self._outbox = None

    def pause_writing(self) -> None:
        self._paused = True
        self.direct = None

    def resume_writing(self) -> None:
        self._paused = False
        pong, self._pong = self._pong, None
        if pong is not None:
            self._write_pong(pong)
        self._go_on_writing()

    def _go_on_writing(self) -> None:
        """Write what waits, as far as the client takes it and may be told it."""
        self._write_waiting()
        if self._outbox is not None or self._paused:
            return
        if self._leaving:
            self._transport.close()
        elif not (self._closing or self._overflown):
            self.direct = self._transport.write

    def _write_waiting(self) -> None:
        outbox = self._outbox
        if outbox is None:
            return
        now = self._clients.loop.time()
        telemetry = self._clients.telemetry
        # Writing may pause the transport again at any time.
        while not self._paused:
            before = outbox.size_bytes
            data = outbox.take(now)
            telemetry.queued_bytes -= before - outbox.size_bytes
            if data is None:
                if not outbox.barriers:
                    self._outbox = None
                return
            telemetry.outbound_bytes += len(data)
            self._transport.write(data)

    def close(self, code: int, reason: str) -> None:
        if self._closing:
            return
        self._begin_to_close()
        frame = build_frame(CLOSE, close_payload(code, reason))
        if self._outbox is not None:
            self._put(frame, None)
        elif not self._answer_with(frame):
            self._transport.write(frame)
        # The client now answers; a full socket cannot even carry the question.
        self._abort_later()

    def _abort_later(self) -> None:
        if self._abort_timer is None and not self._gone:
            self._abort_timer = self._clients.loop.call_later(_CLOSE_TIMEOUT_S, self.abort)

    def _begin_to_close(self) -> None:
        self._closing = True
        self.direct = None

    def abort(self) -> None:
        self._begin_to_close()
        self._drop_outbox()
        self._transport.abort()

    def say_goodbye(self) -> None:
        """The server goes away."""
        if self._connection is not None:
            self._clients.gateway.farewell(self._connection)
        self.close(1001, "")

    # Signs of life.

    def _watch(self) -> None:
        self._clients.liveness.watch(self)

    def _came(self, size_bytes: int) -> None:  # noqa: ARG002  one is enough
        """Bytes came. All are a sign of life, so a busy client is never pinged."""
        self.last_seen = self._clients.liveness.now

    def keep_alive_s(self) -> float:
        """Seconds of silence after which this client is pinged."""
        assert self._connection is not None
        return self._clients.gateway.keep_alive_s(self._connection)

    def ping(self) -> None:
        """Ask for a sign of life. A client that does not even read is not asked again."""
        if not self._paused and not self._closing:
            self._transport.write(_PING_FRAME)

    def give_up(self) -> None:
        """Nothing was heard for too long."""
        self._why = CloseCategory.PING_TIMEOUT
        self.abort()
