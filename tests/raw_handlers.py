"""
Event handlers that answer with any bytes: what a client of HTTP is to take, and what it is to survive.
"""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

__all__ = ["Answer", "Heard", "RawHandler", "closes", "quiet", "reset", "response", "says", "until"]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens in its own time; a test that waits in vain fails."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  what is waited for sets no event
            await asyncio.sleep(0.001)


class Heard(NamedTuple):
    """
    One request as it came over the wire.

    Attributes:
        head: up to and without the empty line.
        connection: number of the connection, from 1.
    """

    head: bytes
    body: bytes
    connection: int

    @property
    def lines(self) -> list[bytes]:
        return self.head.split(b"\r\n")


Answer = Callable[[Heard, asyncio.StreamWriter], Awaitable[None]]


class RawHandler:
    """
    Reads requests, one after another on each connection, and lets the test answer.

    Attributes:
        answer: to each request; it may close the connection.
        heard: in order.
        connections: how many were accepted.
        ended: how many of them are over.
    """

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.heard: list[Heard] = []
        self.connections = 0
        self.ended = 0
        self.port = 0
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> "RawHandler":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """End all connections, and listen no more."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self._server = None

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        number = self.connections
        try:
            with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError):
                while not writer.is_closing():
                    heard = await _request(reader, number)
                    self.heard.append(heard)
                    await self.answer(heard, writer)
        finally:
            self.ended += 1
            self._serving.discard(task)
            writer.transport.abort()


async def _request(reader: asyncio.StreamReader, number: int) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
    length = re.search(rb"(?im)^content-length: ([0-9]+)\r?$", head)
    return Heard(head, await reader.readexactly(int(length[1])) if length else b"", number)


def response(status: int = 200, *headers: str, body: bytes = b"") -> bytes:
    """A whole response with its length."""
    lines = [f"HTTP/1.1 {status} X", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def says(data: bytes) -> Answer:
    """Answers so, and keeps the connection open."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


def closes(data: bytes = b"") -> Answer:
    """Answers so, and ends the connection."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()
        await writer.wait_closed()

    return answer


def reset(data: bytes = b"") -> Answer:
    """Answers so, and breaks the connection."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return answer


async def quiet(heard: Heard, writer: asyncio.StreamWriter) -> None:
    """Never answers."""
