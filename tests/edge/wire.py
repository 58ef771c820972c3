"""Real sockets for tests of the front: a server with a front, a client that speaks bytes, both loops, deadlines."""

import asyncio
import inspect
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import uvloop

from hubwire.edge.context import Application, FrontContext, Upgrade
from hubwire.edge.front import Front
from hubwire.model.http import RequestHead, WholeAnswer, WholeRequest

__all__ = [
    "Client",
    "Response",
    "Served",
    "Watched",
    "both_loops",
    "echo",
    "echo_whole",
    "eventually",
    "refuse_upgrade",
    "serve",
]

_DEADLINE_S = 10.0


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """
    Run a test on asyncio's loop and on uvloop. It fails as well when the loop, the HTTP server or anybody else has
    something to complain about in the log.
    """

    @pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        complaints = _Complaints()
        logging.getLogger().addHandler(complaints)
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(_within_deadline(test(**arguments)))
        finally:
            logging.getLogger().removeHandler(complaints)
        assert complaints.texts == []

    # What pytest reads of it: the name, and the fixtures and parameters it asks for besides the loop.
    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    loop = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)
    signature = inspect.Signature([*inspect.signature(test).parameters.values(), loop])
    setattr(run, "__signature__", signature)  # noqa: B010  the type of a function has no such attribute
    marked: Callable[..., None] = run
    return marked


async def _within_deadline(test: Awaitable[None]) -> None:
    async with asyncio.timeout(3 * _DEADLINE_S):
        await test


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(_DEADLINE_S):
        while not condition():  # noqa: ASYNC110  what is waited for happens elsewhere and tells nobody
            await asyncio.sleep(0.005)


class Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """One connection that says exactly what the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Write the pieces one after the other, in a turn of the loop each."""
        async with asyncio.timeout(_DEADLINE_S):
            for piece in pieces:
                self.writer.write(piece)
                await self.writer.drain()
                await asyncio.sleep(0)

    async def response(self, method: str = "GET") -> Response:
        """The next response; `method` of its request says whether it has a body."""
        async with asyncio.timeout(_DEADLINE_S):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
            if method == "HEAD" or status < 200:
                return Response(status, headers, b"")
            if headers.get("transfer-encoding") == "chunked":
                return Response(status, headers, await self._chunks())
            return Response(status, headers, await self.reader.readexactly(int(headers["content-length"])))

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readline() == b"\r\n"
        return body

    async def rest(self) -> bytes:
        """Everything until the server closes its side; a reset counts as that, a server that stays does not."""
        received = b""
        async with asyncio.timeout(_DEADLINE_S):
            try:
                while data := await self.reader.read(1 << 16):
                    received += data
            except ConnectionError:
                pass
        return received

    def end(self) -> None:
        """Say that nothing more will be sent, and go on listening."""
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Vanish: the server hears a reset, not an end."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def send_until_cut_off(self, piece: bytes, times: int) -> bool:
        """Send the same again and again; did the server end that."""
        try:
            await self.send(*[piece] * times)
        except ConnectionError:
            return True
        return False


class Watched(asyncio.Protocol):
    """A front, and its transport for the test to look at."""

    transport: asyncio.Transport

    def __init__(self, context: FrontContext, *, control: bool) -> None:
        self.front = Front(context, control)

    @property
    def deadline(self) -> float:
        return self.front.deadline

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's are asyncio.Transport in all but name
        self.front.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.front.data_received(data)

    def eof_received(self) -> bool:
        return self.front.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.front.connection_lost(exc)

    def pause_writing(self) -> None:
        self.front.pause_writing()

    def resume_writing(self) -> None:
        self.front.resume_writing()


class Served(NamedTuple):
    """
    A listening server.

    Attributes:
        fronts: one for each connection so far.
        refused: status, reason and client's address of each answer that a front gave itself.
    """

    context: FrontContext
    address: Any
    fronts: list[Watched]
    refused: list[tuple[int, str, str]]

    @property
    def answered(self) -> int:
        """How many requests the application has answered."""
        return self.context.server_state.total_requests

    async def connect(self) -> Client:
        async with asyncio.timeout(_DEADLINE_S):
            if isinstance(self.address, str):
                return Client(*await asyncio.open_unix_connection(self.address))
            return Client(*await asyncio.open_connection(*self.address[:2], limit=4096))


def refuse_upgrade(_head: RequestHead, transport: asyncio.Transport, _rest: bytes) -> None:
    transport.write(b"HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")


@asynccontextmanager
async def serve(
    app: Application,
    upgrade: Upgrade = refuse_upgrade,
    *,
    host: str = "127.0.0.1",
    path: str | None = None,
    control: bool = False,
    tls: ssl.SSLContext | None = None,
    **bounds: Any,
) -> AsyncIterator[Served]:
    """
    A server with a front on a free port (or on a Unix socket at `path`), and `bounds` for its context.

    `echo` answers whole requests without the HTTP server behind, as our own application does.

    At the end nothing may be left of it: no front, no connection and no request of the HTTP server.
    """
    if app is echo:
        bounds.setdefault("answering", echo_whole)
    refused: list[tuple[int, str, str]] = []

    def on_refused(status: int, reason: str, client_ip: str) -> None:
        refused.append((status, reason, client_ip))

    context = FrontContext(app, upgrade, on_refused=on_refused, **bounds)
    fronts: list[Watched] = []

    def accept() -> asyncio.Protocol:
        fronts.append(Watched(context, control=control))
        return fronts[-1]

    loop = asyncio.get_running_loop()
    if path is None:
        server = await loop.create_server(accept, host, 0, ssl=tls)
    else:
        server = await loop.create_unix_server(accept, path)
    yield Served(context, path or server.sockets[0].getsockname(), fronts, refused)
    server.close()
    await context.drain(_DEADLINE_S)
    left = (context.fronts, context.server_state.connections, context.server_state.tasks)
    await eventually(lambda: not any(left))  # transports are told of their end in a later turn


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what was asked, a line each, then the body."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    state = scope["state"]
    asked = [scope["method"], scope["raw_path"].decode(), state["target"], state["host"], state["scheme"]]
    content = _echoed([*asked, state["client_ip"], str(state["control"])], body)
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(content)).encode())]}
    )
    await send({"type": "http.response.body", "body": content})


async def echo_whole(request: WholeRequest) -> WholeAnswer:
    """The same for whole requests."""
    path = request.target.partition("?")[0]
    asked = [request.method, path, request.target, request.host, request.scheme, request.client_ip]
    content = _echoed([*asked, str(request.control)], request.body)
    return WholeAnswer(200, [("content-length", str(len(content)))], content)


def _echoed(asked: Sequence[str], body: bytes) -> bytes:
    return "\n".join(asked).encode() + b"\n" + body
