"""
Clients that cost little: a socket, a reader of frames that looks at no more than it must, and REST calls on connections
that are kept alive. One process of them keeps a server busy, which no library's clients would.
"""

import asyncio
import base64
import json
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlencode

import jwt

from acceptance.wire import Closed

__all__ = ["Address", "Answer", "Caller", "Client", "Refused", "exchange", "rest_token"]

_ACK_EVERY: Final = 20
_TOKEN_S: Final = 24 * 3600
_SEQUENCE: Final = b'{"sequenceId":'
_KEY: Final = base64.b64encode(bytes(16)).decode()


class Address(NamedTuple):
    """Where the server is, and the key that proves us."""

    host: str
    port: int
    access_key: str

    def client_token(self, hub: str, **claims: Any) -> str:
        audience = f"http://{self.host}:{self.port}/client/hubs/{hub}"
        return jwt.encode({"aud": audience, "exp": int(time.time()) + _TOKEN_S, **claims}, self.access_key, "HS256")


class Refused(Exception):  # noqa: N818
    """An upgrade was answered `status` instead of 101; 0 if the connection ended before any answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"answered {status} instead of 101")
        self.status = status


class Client(asyncio.Protocol):
    """
    One WebSocket client.

    Args:
        fault: hears of what must not happen, as a line.

    Attributes:
        connection_id, reconnection_token: from the server's first message; empty for simple clients.
        connected: set by that message, or by the end.
        last: highest sequence id that came.
        opened: done when the upgrade is answered.
        joined: names of the groups that it asked to join.
        leaving: somebody has decided that it goes.
        received: messages.
        acks, refusals: answers to requests that had an ack id, and those of them that said no.
        ended: done when the socket is gone; how the server ended it, 1006 if it did not say.
    """

    def __init__(self, fault: Callable[[str], None], protocol: str | None) -> None:
        self._fault = fault
        self.protocol = protocol
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # until connection_made
        self._buffer = bytearray()
        self._head = True
        self._recovered = False
        self._acknowledged = 0
        self._ack_id = 0
        self._close = Closed(1006, "")
        self.connection_id = ""
        self.reconnection_token = ""
        self.last = 0
        self.joined: list[str] = []
        self.leaving = False
        self.received = 0
        self.acks = 0
        self.refusals = 0
        loop = asyncio.get_running_loop()
        self.connected = asyncio.Event()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[Closed] = loop.create_future()

    @classmethod
    async def connect(
        cls,
        address: Address,
        hub: str,
        fault: Callable[[str], None],
        *,
        protocol: str | None,
        token: str = "",
        lost: "Client | None" = None,
        receive_buffer_bytes: int | None = None,
    ) -> "Client":
        """
        Connect, and wait for the answer.

        Args:
            lost: a reliable client whose connection is to be taken over.

        Raises:
            Refused: the answer was another than 101.
            OSError: there was none.
        """
        client = cls(fault, protocol)
        if lost is not None:
            client.last, client.joined, client._recovered = lost.last, lost.joined, True
            client._acknowledged, client._ack_id = lost._acknowledged, lost._ack_id
            query = {"awps_connection_id": lost.connection_id, "awps_reconnection_token": lost.reconnection_token}
        else:
            query = {"access_token": token}
        loop = asyncio.get_running_loop()
        raw = socket.socket()
        raw.setblocking(False)
        try:
            if receive_buffer_bytes is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            await loop.sock_connect(raw, (address.host, address.port))
            await loop.create_connection(lambda: client, sock=raw)
        except BaseException:
            raw.close()
            raise
        offer = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
        client._transport.write(
            f"GET /client/hubs/{hub}?{urlencode(query)} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {_KEY}\r\n{offer}\r\n".encode()
        )
        await client.opened
        return client

    # In.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(Refused(0))
        self.connected.set()
        self.ended.set_result(self._close)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        position = 0
        if self._head:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = False
            status = int(buffer[9:12])
            if status != 101:
                self.opened.set_exception(Refused(status))
                self._transport.abort()
                return
            self.opened.set_result(None)
            position = end + 4
        size = len(buffer)
        while position + 2 <= size:
            first, length = buffer[position], buffer[position + 1]
            start = position + 2
            if length == 126:
                start = position + 4
                if start > size:
                    break
                length = buffer[position + 2] << 8 | buffer[position + 3]
            elif length == 127:
                start = position + 10
                if start > size:
                    break
                length = int.from_bytes(buffer[position + 2 : start], "big")
            if start + length > size:
                break
            self._take(first, bytes(buffer[start : min(start + length, start + 512)]), length)
            position = start + length
        del buffer[:position]

    def _take(self, first: int, begin: bytes, length: int) -> None:
        """One frame, of which the first 512 bytes are looked at."""
        if first == 0x81 and self.protocol is not None:
            self._take_json(begin, length)
        elif first in (0x81, 0x82):
            self.received += 1
        elif first == 0x89:
            self.send_frame(10, begin)
        elif first == 0x88:
            self._close = Closed(struct.unpack("!H", begin[:2])[0], begin[2:].decode()) if begin else Closed(1005, "")
            self.send_frame(8, begin[:2])
        elif first != 0x8A:
            self._fault(f"a frame begins with the byte {first:#04x}")

    def _take_json(self, begin: bytes, length: int) -> None:
        if begin.startswith(_SEQUENCE):
            self.received += 1
            self._number(int(begin[len(_SEQUENCE) : begin.index(b",")]))
        elif begin.startswith(b'{"type":"message"'):
            self.received += 1
        elif begin.startswith(b'{"type":"ack"'):
            self.acks += 1
            self.refusals += b'"success":false' in begin
        elif begin.startswith(b'{"type":"system"') and length <= len(begin):
            message = json.loads(begin)
            self.connection_id = message.get("connectionId", self.connection_id)
            self.reconnection_token = message.get("reconnectionToken", self.reconnection_token)
            self.connected.set()
        elif not begin.startswith((b'{"type":"pong"', b'{"type":"invokeResponse"')):
            self._fault(f"a message begins with {begin[:40]!r}")

    def _number(self, number: int) -> None:
        if number == self.last + 1:
            self.last = number
        elif number > self.last or not self._recovered:
            self._fault(f"sequence id {number} came after {self.last}")
        if self.last >= self._acknowledged + _ACK_EVERY:
            self._acknowledged = self.last
            self.send({"type": "sequenceAck", "sequenceId": self.last})

    # Out.

    @property
    def open(self) -> bool:
        return not self._transport.is_closing()

    def send_frame(self, opcode: int, payload: bytes) -> None:
        """A masked frame; the mask is zero, which is as legal as any."""
        size = len(payload)
        if size < 126:
            head = bytes((0x80 | opcode, 0x80 | size))
        elif size < 1 << 16:
            head = bytes((0x80 | opcode, 0xFE)) + struct.pack("!H", size)
        else:
            head = bytes((0x80 | opcode, 0xFF)) + struct.pack("!Q", size)
        if self.open:
            self._transport.write(head + bytes(4) + payload)

    def send(self, message: Mapping[str, Any]) -> None:
        self.send_frame(1, json.dumps(message).encode())

    def request(self, message: Mapping[str, Any]) -> None:
        """Send with the next ack id."""
        self._ack_id += 1
        self.send({**message, "ackId": self._ack_id})

    def stop_reading(self) -> None:
        self._transport.pause_reading()

    def read_on(self) -> None:
        if self.open:
            self._transport.resume_reading()

    def leave(self, code: int | None) -> None:
        """Say goodbye with a close frame; the server answers it and ends the connection."""
        self.send_frame(8, b"" if code is None else struct.pack("!H", code))

    def drop(self) -> None:
        """Be gone without a word."""
        self._transport.abort()


class Answer(NamedTuple):
    """What a REST call was answered."""

    status: int
    body: bytes


class Caller:
    """One connection for REST calls, one after the other; made anew when the server has closed it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def call(self, method: str, target: str, headers: Sequence[str] = (), body: bytes = b"") -> Answer:
        """
        One call.

        Raises:
            OSError, EOFError: no answer.
        """
        address = self._address
        lines = [f"{method} {target} HTTP/1.1", f"Host: {address.host}:{address.port}", *headers]
        if body or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")
        wire = "\r\n".join([*lines, "", ""]).encode() + body
        async with self._turn:
            if self._streams is None:
                self._streams = await asyncio.open_connection(address.host, address.port)
            reader, writer = self._streams
            try:
                writer.write(wire)
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = 0 if method == "HEAD" else _header(head, "content-length")
                answer = Answer(int(head[9:12]), await reader.readexactly(length))
            except (OSError, EOFError):
                self.close()
                raise
            if "\r\nconnection: close\r\n" in head:
                self.close()
            return answer

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _header(head: str, name: str) -> int:
    _, found, rest = head.partition(f"\r\n{name}: ")
    return int(rest.partition("\r\n")[0]) if found else 0


async def exchange(address: Address, wire: bytes, *, cut: bool = False) -> bytes:
    """
    What the server says to bytes on a connection of their own, until it ends the connection or we do.

    Args:
        cut: reset the connection instead of waiting for an answer.
    """
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(wire)
        if cut:
            await asyncio.sleep(0)
            writer.transport.abort()
            return b""
        return await reader.read()
    finally:
        writer.close()


def rest_token(address: Address, target: str, *, key: str | None = None) -> str:
    """The header that proves a call; `key` in place of the server's own proves nothing."""
    claims = {"aud": f"http://{address.host}:{address.port}{target}", "exp": int(time.time()) + 60}
    return f"Authorization: Bearer {jwt.encode(claims, key or address.access_key, 'HS256')}"
