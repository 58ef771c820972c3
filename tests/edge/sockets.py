"""Clients' sockets without a network: transports that tests fill, empty and break."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import msgspec

from doubles import ALL_ROLES, Frame, frames, head, settle
from gateway.house import URL, House
from hubwire.edge.clients import Clients
from hubwire.edge.upgrades import upgrade_client
from hubwire.edge.websocket import ClientProtocol
from hubwire.gateway.events import Shown
from hubwire.hub.connection import Connection
from vectors.websocket_frames import TEXT, client_frame

__all__ = ["ACCEPTED", "FakeTransport", "Server", "Socket", "complaints"]

ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\n"


class FakeTransport(asyncio.Transport):
    """
    Keeps the promises of asyncio's transports, and is as strict as the strictest of them.

    Attributes:
        sent: what arrived at the client.
        stuck: the client takes nothing; what is written waits here.
        waiting: what waits.
        tls: one direction cannot be closed alone.
        reading: does the loop read from the socket.
        ended: "", "closing", "eof" (our direction only), "aborted", or "lost" in the end.
        limits: high and low water.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.stuck = False
        self.tls = False
        self.waiting = b""
        self.reading = True
        self.ended = ""
        self.writes: list[bytes] = []
        self.limits = (64 * 1024, 16 * 1024)
        self.protocol: asyncio.BaseProtocol | None = None
        self._eof = False
        self._paused = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        assert low is not None
        self.limits = (high, low)

    def write(self, data: object) -> None:
        assert isinstance(data, bytes)
        assert not self._eof, "asyncio raises for this"
        assert self.ended != "lost", "uvloop raises for this"
        self.writes.append(data)
        if self.ended == "aborted":
            return
        if not self.stuck:
            self.sent += data
            return
        self.waiting += data
        if len(self.waiting) > self.limits[0] and not self._paused:
            self._paused = True
            self._peer.pause_writing()

    def take(self, size: int = 1 << 40) -> None:
        """The client takes so many bytes, and is stuck again unless that was all."""
        self.sent += self.waiting[:size]
        self.waiting = self.waiting[size:]
        self.stuck = bool(self.waiting)
        if self._paused and len(self.waiting) <= self.limits[1]:
            self._paused = False
            self._peer.resume_writing()
        if not self.waiting and self.ended == "closing":
            self._lose()

    @property
    def _peer(self) -> asyncio.BaseProtocol:
        assert self.protocol is not None
        return self.protocol

    def can_write_eof(self) -> bool:
        return not self.tls

    def write_eof(self) -> None:
        assert self.ended != "lost", "uvloop raises for this"
        self._eof = True
        self.ended = self.ended or "eof"

    def is_closing(self) -> bool:
        return self.ended in ("closing", "aborted", "lost")

    def close(self) -> None:
        if not self.is_closing():
            self.ended = "closing"
            self.reading = False
            if not self.waiting:
                self._lose()

    def abort(self) -> None:
        if self.ended not in ("aborted", "lost"):
            self.ended = "aborted"
            self.reading = False
            self._lose()

    def _lose(self) -> None:
        asyncio.get_running_loop().call_soon(self.lose)

    def lose(self) -> None:
        """The socket is gone, as loops tell it."""
        if self.ended != "lost":
            self.ended = "lost"
            self._peer.connection_lost(None)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        if not self.is_closing():
            self.reading = True


class Server:
    """A house with clients' sockets."""

    def __init__(
        self,
        *,
        buffer_bytes: int = 1000,
        reliable_buffer_bytes: int = 2000,
        inbox_requests: int = 4,
        quota: int = 5000,
        shown: Shown | None = None,
    ) -> None:
        self.house = House(quota, shown=shown)
        self.clients = Clients(
            self.house.gateway,
            self.house.telemetry,
            self.house.loop,
            max_message_bytes=1 << 20,
            buffer_bytes=buffer_bytes,
            reliable_buffer_bytes=reliable_buffer_bytes,
            inbox_requests=inbox_requests,
        )

    def upgrade(
        self,
        *offers: str,
        rest: bytes = b"",
        user_id: str | None = None,
        roles: Sequence[str] = ALL_ROLES,
        groups: Sequence[str] = (),
        **query: str,
    ) -> "Socket":
        """Answer an upgrade request; nothing has had its turn yet."""
        query.setdefault("access_token", self.house.token(user_id, roles, groups))
        transport = FakeTransport()
        protocol = upgrade_client(self.clients, head(f"{URL}?{urlencode(query)}", offers=offers), transport, rest)
        assert isinstance(protocol, ClientProtocol)
        return Socket(self, transport, protocol)

    async def connect(self, *offers: str, **more: Any) -> "Socket":
        """A client that is in; what it was told so far is taken."""
        socket = self.upgrade(*offers, **more)
        await settle()
        socket.forget()
        return socket

    async def send(self, *texts: str, group: str = "g", ttl_s: int = 0) -> None:
        """To a group, each in a turn of its own."""
        for text in texts:
            self.house.send(group, text, ttl_s)
            await settle()

    async def advance(self, seconds: float) -> None:
        await self.house.loop.advance(seconds)


class Socket:
    """One client's end."""

    def __init__(self, server: Server, transport: FakeTransport, protocol: ClientProtocol) -> None:
        self.server = server
        self.transport = transport
        self.protocol = protocol
        self._taken = 0

    @property
    def connection(self) -> Connection:
        """Whose socket it is."""
        connection = self.protocol._connection
        assert connection is not None
        return connection

    def feed(self, *pieces: bytes) -> None:
        """Bytes come from the client, if anybody reads them."""
        for piece in pieces:
            assert self.transport.ended not in ("closing", "aborted", "lost"), "nobody reads any more"
            self.protocol.data_received(piece)

    def say(self, *messages: dict[str, Any] | str) -> None:
        """Text messages come, each in one frame and all in one piece."""
        texts = (message if isinstance(message, str) else msgspec.json.encode(message).decode() for message in messages)
        self.feed(b"".join(client_frame(TEXT, text.encode()) for text in texts))

    def is_read(self) -> bool:
        """Is anybody interested in what the client says."""
        return self.transport.reading

    def forget(self) -> None:
        """Begin again with nothing received."""
        self._taken = len(self.transport.sent)
        self.transport.writes.clear()

    @property
    def raw(self) -> bytes:
        return self.transport.sent[self._taken :]

    @property
    def frames(self) -> list[Frame]:
        """What arrived, behind the 101 if that is part of it."""
        raw = self.raw
        if raw.startswith(b"HTTP/1.1"):
            raw = raw.partition(b"\r\n\r\n")[2]
        return frames(raw)

    @property
    def messages(self) -> list[Any]:
        """The JSON of all text frames that arrived."""
        return [msgspec.json.decode(frame.payload) for frame in self.frames if frame.opcode == TEXT]

    @property
    def data(self) -> list[Any]:
        return [message["data"] for message in self.messages if message["type"] == "message"]

    @property
    def closed(self) -> tuple[int | None, str] | None:
        """Code and reason of the only close frame, which must be the last one; None without any."""
        closes = [frame for frame in self.frames if frame.opcode == 8]
        if not closes:
            return None
        (close,) = closes
        assert self.frames[-1] is not None
        assert self.frames[-1] == close, "nothing follows a close frame"
        return (int.from_bytes(close.payload[:2], "big") if close.payload else None, close.payload[2:].decode())


@contextmanager
def complaints() -> Iterator[list[str]]:
    """What the edge has to complain about in the log."""
    texts: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    listener, logger = Listener(logging.WARNING), logging.getLogger("hubwire.edge")
    logger.addHandler(listener)
    try:
        yield texts
    finally:
        logger.removeHandler(listener)
