"""
One client's socket: an asyncio protocol with no task of its own. Frames in go to the gateway, whole frames out come
from the fan-out; in between are back pressure both ways, the closing handshake and the signs of life.

Source: RFC 6455 (sections 4.2.2, 5.5, 7); close codes as in the service's documentation.
"""

import asyncio
import base64
import hashlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final

from websockets.speedups import apply_mask

from hubwire.edge.liveness import Liveness
from hubwire.gateway.gateway import Gateway, Opening
from hubwire.gateway.handshake import HandshakeRefused
from hubwire.hub.connection import Connection
from hubwire.model.http import RequestHead
from hubwire.model.telemetry import CloseCategory, Telemetry
from hubwire.protocols.frames import CLOSE, PING, PONG, FrameReader, build_frame, close_payload

__all__ = ["ClientProtocol", "Clients"]

_log = logging.getLogger("hubwire.edge")

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PING_FRAME: Final = build_frame(PING, b"")
_HIGH_WATER: Final = 256 * 1024
_LOW_WATER: Final = 64 * 1024
_EARLY_LIMIT: Final = 64 * 1024
_CLOSE_TIMEOUT_S: Final = 2.0
_SLICE: Final = 200
_FAULT: Final = -2
"""In the inbox, in place of an opcode: the client broke the framing, after everything that came before."""
_LOST: Final = -1
"""In the inbox, in place of an opcode: the socket is gone, after everything that came before."""


class Clients:
    """
    What all clients' sockets of a server share.

    Args:
        buffer_bytes: waiting for one client that reads too slowly.
        reliable_buffer_bytes: the same for a reliable client, whose own queue limit is to decide first.
        inbox_requests: waiting requests of one client before reading from it pauses.
    """

    def __init__(
        self,
        gateway: Gateway,
        telemetry: Telemetry,
        loop: asyncio.AbstractEventLoop,
        *,
        max_message_bytes: int,
        buffer_bytes: int,
        reliable_buffer_bytes: int,
        inbox_requests: int,
    ) -> None:
        self.gateway = gateway
        self.telemetry = telemetry
        self.loop = loop
        self.max_message_bytes = max_message_bytes
        self.buffer_bytes = buffer_bytes
        self.reliable_buffer_bytes = max(buffer_bytes, reliable_buffer_bytes)
        self.inbox_requests = inbox_requests
        self.liveness = Liveness(loop)
        self.sockets: set[ClientProtocol] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._gone: deque[Callable[[], None]] = deque()
        self._emptied: asyncio.Event | None = None

    def upgrade(self, head: RequestHead, transport: asyncio.Transport, rest: bytes) -> asyncio.BaseProtocol | None:
        """
        Answer an upgrade request on a socket that the front hands over.

        Args:
            rest: what was read behind the head already.

        Returns:
            the protocol that has the socket from now on; None if the request was refused and the front is to end it.
        """
        try:
            opening = self.gateway.decide(head)
        except HandshakeRefused as refusal:
            transport.write(_refusal(refusal, with_body=head.method != "HEAD"))
            return None
        client = ClientProtocol(self, transport, opening)
        transport.set_protocol(client)
        client.open(opening, rest)
        return client

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def gone(self, finish: Callable[[], None]) -> None:
        """
        A socket is gone; take it out of the registries soon. Thousands may go at once, at some 20 µs each: they are
        taken out some at a time, so that others have their turn.
        """
        self._gone.append(finish)
        if len(self._gone) == 1:
            self.loop.call_soon(self._finish_some)

    def closed(self, client: "ClientProtocol") -> None:
        """A client's socket is no more."""
        self.sockets.discard(client)
        if self._emptied is not None and not self.sockets:
            self._emptied.set()

    async def end(self, until: float) -> int:
        """
        Say goodbye to everybody, wait for them to leave, then cut off who did not.

        Args:
            until: seconds on the loop's clock.

        Returns:
            how many were cut off.
        """
        self._emptied = asyncio.Event()
        for position, client in enumerate(list(self.sockets), start=1):
            client.say_goodbye()
            if position % _SLICE == 0:
                await asyncio.sleep(0)
        if self.sockets:
            try:
                await asyncio.wait_for(self._emptied.wait(), max(0.0, until - self.loop.time()))
            except TimeoutError:
                pass
        late = list(self.sockets)
        for client in late:
            client.abort()
        for task in self.tasks:
            task.cancel()
        return len(late)

    def _finish_some(self) -> None:
        try:
            for _ in range(min(_SLICE, len(self._gone))):
                self._gone.popleft()()
        finally:
            # Behind a fault too: one client must not keep all the others here.
            if self._gone:
                self.loop.call_soon(self._finish_some)


class ClientProtocol(asyncio.Protocol):
    """
    One client's socket, and the `Sink` of its connection.

    Attributes:
        last_seen: on the clock of `Liveness`, when the client was last heard.
    """

    __slots__ = (
        "_abort_timer",
        "_busy",
        "_clients",
        "_closing",
        "_connection",
        "_early",
        "_gone",
        "_inbox",
        "_limit_bytes",
        "_overflown",
        "_paused",
        "_queue",
        "_queued_bytes",
        "_reader",
        "_transport",
        "_why",
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
        self._early: list[bytes] | None = []
        self._inbox: deque[tuple[int, Any]] | None = None
        self._queue: deque[tuple[bytes, float | None]] | None = None
        self._queued_bytes = 0
        self._busy = False
        self._paused = False
        self._overflown = False
        self._closing = False
        self._gone = False
        self._abort_timer: asyncio.TimerHandle | None = None
        self._why = CloseCategory.NORMAL
        self.last_seen = clients.liveness.now

    # The opening.

    def open(self, opening: Opening, rest: bytes) -> None:
        """Answer 101, then let the client in. What it says in between waits."""
        self._transport.set_write_buffer_limits(_HIGH_WATER, _LOW_WATER)
        self._transport.write(_switching(opening))
        self._clients.sockets.add(self)
        if rest:
            self.data_received(rest)
        self._clients.spawn(self._begin(opening))

    async def _begin(self, opening: Opening) -> None:
        try:
            connection = await self._clients.gateway.begin(opening, self)
        except Exception:
            # 1008 lets the official clients begin anew instead of asking for what never was.
            _log.exception("a client could not be let in")
            self.close(1008, "The connection cannot be activated.")
            return
        early, self._early = self._early or (), None
        if connection is None:
            return
        self._connection = connection
        self._clients.liveness.watch(self)
        if self._gone:
            # The socket went away while the client was let in.
            self._clients.liveness.forget(self)
            self._clients.gateway.lost(connection, self, 1006, self._why)
            return
        for data in early:
            self._read(data)
        if not self._busy:
            self._transport.resume_reading()

    # In.

    def data_received(self, data: bytes) -> None:
        self.last_seen = self._clients.liveness.now
        self._clients.telemetry.inbound_bytes += len(data)
        if self._early is not None:
            self._early.append(data)
            if sum(map(len, self._early)) > _EARLY_LIMIT:
                self._transport.pause_reading()
            return
        self._read(data)

    def _read(self, data: bytes) -> None:
        reader = self._reader
        for opcode, payload in reader.feed(data):
            if opcode == PING:
                assert isinstance(payload, bytes)
                self.write(build_frame(PONG, payload), 0, None)
            elif opcode != PONG:
                self._take(opcode, payload)
        if reader.fault is not None and not self._closing:
            self._take(_FAULT, reader.fault)

    def _take(self, opcode: int, payload: Any) -> None:
        """Handle one thing that came from the socket, now or after what came before it."""
        if self._busy:
            if self._inbox is None:
                self._inbox = deque()
            self._inbox.append((opcode, payload))
            if len(self._inbox) >= self._clients.inbox_requests and not self._gone:
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
            if self._connection is not None:
                self._clients.gateway.failed(self._connection)
        finally:
            self._busy = False
            self._inbox = None
            if not self._gone and not self._transport.is_closing():
                self._transport.resume_reading()

    def _handle(self, opcode: int, payload: Any) -> Awaitable[None] | None:
        connection = self._connection
        if opcode == CLOSE:
            self._client_closed(payload)
        elif opcode == _LOST:
            self._finish(payload)
        elif connection is not None and connection.sink is self:
            # What came before the socket was lost still counts; not so what came before it was closed or replaced.
            if opcode == _FAULT:
                self._clients.gateway.violated(connection, payload)
                self._end_writing()
            else:
                return self._clients.gateway.receive(connection, payload)
        return None

    def _end_writing(self) -> None:
        """
        RFC 6455 7.1.7: fail the connection. What follows a broken frame cannot be read, an answer to our close frame
        included, so nobody waits for one. Closing only our direction lets the close frame arrive at a peer that is
        busy sending, which a reset would overtake.
        """
        if self._gone:
            return
        if self._queue is not None:
            return  # the close frame waits behind what the client does not take; the timer ends that
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
        if not self._closing:
            self._closing = True
            self._drop_queue()
            self._transport.write(build_frame(CLOSE, b"" if code is None else close_payload(code, "")))
            self._abort_later()
        # Even if the socket was lost before it could be answered: what the client said decides whether it comes back.
        self._finish(1005 if code is None else code)
        self._transport.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  a reset says no more than its absence
        self._gone = True
        self._closing = True
        self._drop_queue()
        self._clients.closed(self)
        self._clients.liveness.forget(self)
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None
        if self._connection is not None:
            self._clients.gone(lambda: self._take(_LOST, 1006))

    def _finish(self, code: int) -> None:
        """Tell the gateway, once, that this socket will bring nothing more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._clients.liveness.forget(self)
            self._clients.gateway.lost(connection, self, code, self._why)

    # Out: the sink.

    def write(self, data: bytes, frames: int, expires_at: float | None) -> None:  # noqa: ARG002  counted by the hub
        if self._closing:
            return
        if self._paused:
            self._wait(data, expires_at)
            return
        self._clients.telemetry.outbound_bytes += len(data)
        self._transport.write(data)

    def _wait(self, data: bytes, expires_at: float | None) -> None:
        if self._overflown:
            return
        if self._queue is None:
            self._queue = deque()
        if self._queued_bytes + len(data) > self._limit_bytes:
            self._drop_expired()
            if self._queued_bytes + len(data) > self._limit_bytes:
                # Called from within the fan-out, which must not see its registries change: the close comes a moment
                # later. What waits is dropped at once, since the client will not get it.
                self._overflown = True
                self._drop_queue()
                self._clients.loop.call_soon(self._too_slow)
                return
        self._queue.append((data, expires_at))
        self._queued_bytes += len(data)
        self._clients.telemetry.queued_bytes += len(data)

    def _too_slow(self) -> None:
        if self._connection is not None:
            self._clients.gateway.slow(self._connection, self)

    def _drop_expired(self) -> None:
        now = self._clients.loop.time()
        kept = [entry for entry in self._queue or () if entry[1] is None or entry[1] > now]
        self._drop_queue()
        self._queue = deque(kept)
        self._queued_bytes = sum(len(data) for data, _ in kept)
        self._clients.telemetry.queued_bytes += self._queued_bytes

    def _drop_queue(self) -> None:
        self._clients.telemetry.queued_bytes -= self._queued_bytes
        self._queued_bytes = 0
        self._queue = None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        queue = self._queue
        now = self._clients.loop.time()
        telemetry = self._clients.telemetry
        # Writing may pause the transport again at any time.
        while queue and not self._paused:
            data, expires_at = queue.popleft()
            self._queued_bytes -= len(data)
            telemetry.queued_bytes -= len(data)
            if expires_at is None or expires_at > now:
                telemetry.outbound_bytes += len(data)
                self._transport.write(data)
        if not queue:
            self._queue = None

    def close(self, code: int, reason: str) -> None:
        if self._closing:
            return
        self._closing = True
        frame = build_frame(CLOSE, close_payload(code, reason))
        if self._queue:
            self._queue.append((frame, None))
            self._queued_bytes += len(frame)
            self._clients.telemetry.queued_bytes += len(frame)
        else:
            self._transport.write(frame)
        # The client now answers; a full socket cannot even carry the question.
        self._abort_later()

    def _abort_later(self) -> None:
        if self._abort_timer is None and not self._gone:
            self._abort_timer = self._clients.loop.call_later(_CLOSE_TIMEOUT_S, self.abort)

    def abort(self) -> None:
        self._closing = True
        self._drop_queue()
        self._transport.abort()

    def say_goodbye(self) -> None:
        """The server goes away."""
        if self._connection is not None:
            self._clients.gateway.farewell(self._connection)
        self.close(1001, "")

    # Signs of life.

    def keep_alive_s(self) -> int:
        """Whole seconds of silence after which this client is pinged."""
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


def _switching(opening: Opening) -> bytes:
    accept = base64.b64encode(hashlib.sha1(opening.websocket_key.encode() + _GUID, usedforsecurity=False).digest())
    chosen = f"Sec-WebSocket-Protocol: {opening.subprotocol}\r\n" if opening.subprotocol is not None else ""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept, chosen.encode())
    )


def _refusal(refusal: HandshakeRefused, *, with_body: bool) -> bytes:
    body = refusal.text.encode()
    phrase = HTTPStatus(refusal.status).phrase
    more = "".join(f"{name}: {value}\r\n" for name, value in refusal.headers.items())
    challenge = "WWW-Authenticate: Bearer\r\n" if refusal.status == HTTPStatus.UNAUTHORIZED else ""
    head = (
        f"HTTP/1.1 {refusal.status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n{challenge}{more}\r\n"
    )
    return head.encode() + body if with_body else head.encode()
