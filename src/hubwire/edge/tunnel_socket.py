"""
The sockets of tunnels: asyncio protocols with no task of their own, as those of clients are. Messages in go to the
tunnel, its messages go out in one frame each; in between are back pressure, the closing handshake and the signs of
life.

Source: RFC 6455 (sections 5.5 and 7); the open tool of the service (awps-tunnel), which speaks binary messages and no
subprotocol.
"""

import asyncio
import logging
from typing import Final, cast

from websockets.speedups import apply_mask

from hubwire.edge.answers import refusal, switching
from hubwire.edge.context import Undecided
from hubwire.edge.liveness import Liveness
from hubwire.edge.outbox import Outbox
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.gateway.tunnel_handshake import TunnelEntrance, TunnelOpening
from hubwire.model.errors import ProtocolViolation
from hubwire.model.http import RequestHead
from hubwire.model.names import HubKey
from hubwire.protocols.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    CloseStatus,
    FrameReader,
    build_frame,
    close_payload,
)
from hubwire.upstream.tunnel import Tunnel

__all__ = ["TunnelSocket", "TunnelSockets", "upgrade"]

_log = logging.getLogger("hubwire.edge")

_PING_FRAME: Final = build_frame(PING, b"")
_HIGH_WATER: Final = 256 * 1024
_LOW_WATER: Final = 64 * 1024
_FULL_BYTES: Final = 8 << 20
"""Waiting for one tool that reads too slowly; then events go to another one."""
_MOST_BYTES: Final = 2 * _FULL_BYTES
"""The same with what it asks for itself and does not read; then it is cut off."""
_WEBSOCKET_BYTES: Final = 1 << 20
"""Room for the heads of several messages in one WebSocket message."""
_CLOSE_TIMEOUT_S: Final = 2.0


class TunnelSockets:
    """
    What all tunnels' sockets of a server share.

    Args:
        response_bytes: that the body of a response may have.

    Attributes:
        sockets: the open ones.
    """

    def __init__(
        self, entrance: TunnelEntrance, loop: asyncio.AbstractEventLoop, response_bytes: int = 16 << 20
    ) -> None:
        self.entrance = entrance
        self.loop = loop
        self.message_bytes = response_bytes + 2 * _WEBSOCKET_BYTES
        self.liveness = Liveness(loop)
        self.sockets: set[TunnelSocket] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._emptied: asyncio.Event | None = None

    def closed(self, socket: "TunnelSocket") -> None:
        """A socket is no more."""
        self.sockets.discard(socket)
        if self._emptied is not None and not self.sockets:
            self._emptied.set()

    async def end(self, until: float) -> int:
        """
        Say goodbye to all tools, wait for them to leave, then cut off who did not.

        Args:
            until: seconds on the loop's clock.

        Returns:
            how many were cut off.
        """
        self._emptied = asyncio.Event()
        self.entrance.stop()
        for task in self.tasks:
            task.cancel()
        self.entrance.end()
        if self.sockets:
            try:
                await asyncio.wait_for(self._emptied.wait(), max(0.0, until - self.loop.time()))
            except TimeoutError:
                pass
        late = list(self.sockets)
        for socket in late:
            socket.abort()
        return len(late)


def upgrade(sockets: TunnelSockets, head: RequestHead, transport: asyncio.Transport, _rest: bytes) -> Undecided:
    """Answer an upgrade request on a socket that the front hands over, once its token is proved."""
    return _Asked(sockets, head, transport)


class _Asked(Undecided):
    """A tool whose token is looked at."""

    def __init__(self, sockets: TunnelSockets, head: RequestHead, transport: asyncio.Transport) -> None:
        super().__init__()
        self._sockets = sockets
        self._transport = transport
        self._outcome: TunnelOpening | HandshakeRefused | None = None
        self._task = sockets.loop.create_task(self._wait(head))
        sockets.tasks.add(self._task)
        self._task.add_done_callback(sockets.tasks.discard)

    async def _wait(self, head: RequestHead) -> None:
        try:
            self._outcome = await self._sockets.entrance.decide(head)
        except HandshakeRefused as refused:
            self._outcome = refused
        except Exception:
            _log.exception("the upgrade of a tunnel could not be decided")
            self._outcome = HandshakeRefused(500, "The server failed.")
        self.on_decided()

    def finish(self, rest: bytes) -> "TunnelSocket | None":
        match self._outcome:
            case TunnelOpening() as opening if not self._transport.is_closing():
                socket = TunnelSocket(self._sockets, self._transport, opening.hub)
                self._transport.set_protocol(cast("asyncio.Protocol", socket))
                socket.open(opening, rest)
                return socket
            case HandshakeRefused() as refused:
                self._transport.write(refusal(refused))
        return None

    def leave(self) -> None:
        self._task.cancel()


class TunnelSocket:
    """
    One tool's socket, and the `TunnelWire` of its tunnel.

    Attributes:
        last_seen: on the clock of `Liveness`, when the tool was last heard.
    """

    def __init__(self, sockets: TunnelSockets, transport: asyncio.Transport, hub: HubKey) -> None:
        self._sockets = sockets
        self._transport = transport
        self._hub = hub
        self._reader = FrameReader(sockets.message_bytes, apply_mask)
        self._tunnel: Tunnel | None = None
        self._outbox: Outbox | None = None
        self._pong: bytes | None = None
        self._paused = False
        self._closing = False
        self._gone = False
        self._abort_timer: asyncio.TimerHandle | None = None
        self.last_seen = sockets.liveness.now

    def open(self, opening: TunnelOpening, rest: bytes) -> None:
        """Answer 101 and let the tool in."""
        self._transport.set_write_buffer_limits(_HIGH_WATER, _LOW_WATER)
        self._sockets.sockets.add(self)
        self._transport.write(switching(opening.websocket_key, None))
        self._tunnel = self._sockets.entrance.begin(opening, self)
        self._sockets.liveness.watch(self)
        if rest:
            self.data_received(rest)

    # In.

    def data_received(self, data: bytes) -> None:
        self.last_seen = self._sockets.liveness.now
        for opcode, payload in self._reader.feed(data):
            if opcode == CLOSE:
                self._tool_closed(cast("CloseStatus", payload))
            elif opcode == PING:
                self._answer_ping(cast("bytes", payload))
            elif self._tunnel is None or self._closing:
                continue
            elif opcode == BINARY:
                self._tunnel.receive(cast("bytes", payload))
            elif opcode == TEXT:
                self._violated(ProtocolViolation("a tunnel takes binary messages only", 1003))
        if self._reader.fault is not None and not self._closing:
            self._violated(self._reader.fault)
            self._end_writing()

    def _answer_ping(self, payload: bytes) -> None:
        if self._paused:
            # The tool takes nothing now. It is owed one answer, however often it asks (RFC 6455, 5.5.3).
            self._pong = payload
        else:
            self._write(build_frame(PONG, payload))

    def _violated(self, violation: ProtocolViolation) -> None:
        self.close(violation.close_code, violation.reason)
        self._lose()

    def _end_writing(self) -> None:
        """RFC 6455 7.1.7: what follows a broken frame cannot be read, an answer to our close frame included."""
        if self._outbox is None and not self._gone:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()

    def _tool_closed(self, close: CloseStatus) -> None:
        """RFC 6455 5.5.1: answer a close frame with its own code, unless it is itself the answer to ours."""
        if not self._closing:
            self._closing = True
            self._outbox = None
            self._transport.write(build_frame(CLOSE, close_payload(close[0], "")))
            self._abort_later()
        self._lose()
        self._transport.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  a reset says no more than its absence
        self._gone = self._closing = True
        self._outbox = None
        self._sockets.closed(self)
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self._lose()

    def _lose(self) -> None:
        """This socket will bring no answer any more."""
        self._sockets.liveness.forget(self)
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.lost()

    # Out: the wire.

    @property
    def full(self) -> bool:
        """See `TunnelWire`."""
        return self._outbox is not None and self._outbox.size_bytes >= _FULL_BYTES

    def send(self, message: bytes) -> None:
        """See `TunnelWire`."""
        if not self._closing:
            self._write(build_frame(BINARY, message))

    def _write(self, data: bytes) -> None:
        if self._gone:
            return
        if not self._paused:
            self._transport.write(data)
            return
        if self._outbox is None:
            self._outbox = Outbox()
        self._outbox.put(data, None)
        if self._outbox.size_bytes > _MOST_BYTES:
            self.abort()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        pong, self._pong = self._pong, None
        if pong is not None and not self._closing:
            self._transport.write(build_frame(PONG, pong))
        # Writing may pause the transport again at any time.
        while self._outbox is not None and not self._paused:
            data = self._outbox.take(0.0)
            if data is None:
                self._outbox = None
            else:
                self._transport.write(data)

    def close(self, code: int, reason: str) -> None:
        """See `TunnelWire`."""
        if self._closing:
            return
        self._closing = True
        self._write(build_frame(CLOSE, close_payload(code, reason)))
        # The tool now answers; a full socket cannot even carry the question.
        self._abort_later()

    def _abort_later(self) -> None:
        if self._abort_timer is None and not self._gone:
            self._abort_timer = self._sockets.loop.call_later(_CLOSE_TIMEOUT_S, self.abort)

    def abort(self) -> None:
        """End at once and silently."""
        self._closing = True
        self._outbox = None
        self._transport.abort()

    # Signs of life.

    def keep_alive_s(self) -> int:
        """Whole seconds of silence after which this tool is pinged."""
        return self._sockets.entrance.keep_alive_s(self._hub)

    def ping(self) -> None:
        """Ask for a sign of life. A tool that does not even read is not asked again."""
        if not self._paused and not self._closing:
            self._transport.write(_PING_FRAME)

    def give_up(self) -> None:
        """Nothing was heard for too long."""
        self.abort()
