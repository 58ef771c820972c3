"""A small real server that stands in for Hubwire's: it answers as it is told, and remembers what was asked."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

__all__ = ["DEADLINE_S", "Asked", "SocketHandler", "StandIn", "serving", "socket_server"]

DEADLINE_S: Final = 20.0

SocketHandler = Callable[[web.WebSocketResponse], Awaitable[None]]


class Asked(msgspec.Struct, frozen=True):
    """One request as it arrived; `path` is raw, with its query."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def document(self) -> object:
        """The body as JSON."""
        return msgspec.json.decode(self.body)


class StandIn:
    """
    Attributes:
        asked: every request, in order.
        port: where it listens, unless on a Unix socket.
        protocols: subprotocols that upgrades may choose.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.port = 0
        self.protocols: tuple[str, ...] = ("json.webpubsub.azure.v1", "json.reliable.webpubsub.azure.v1")
        self._answers: dict[tuple[str, str], tuple[int, bytes, str]] = {}
        self._functions: dict[tuple[str, str], Callable[[Asked], Awaitable[object]]] = {}
        self._warnings: dict[tuple[str, str], list[str]] = {}
        self._sockets: dict[str, SocketHandler] = {}

    def on(self, method: str, path: str, status: int, document: object = None, warnings: Sequence[str] = ()) -> None:
        """Answer requests of this method and raw path (without query) so; all others get a 404 that names itself."""
        body = b"" if document is None else msgspec.json.encode(document)
        self._answers[method, path] = (status, body, "application/json")
        self._warnings[method, path] = list(warnings)

    def on_call(self, method: str, path: str, function: Callable[[Asked], Awaitable[object]]) -> None:
        """Answer with 200 and what a coroutine gives, or with 404 if it gives None."""
        self._functions[method, path] = function

    def on_raw(self, method: str, path: str, status: int, body: bytes, content_type: str = "text/plain") -> None:
        """The same with any body; in place of a function, if there is one."""
        self._functions.pop((method, path), None)
        self._answers[method, path] = (status, body, content_type)

    def on_socket(self, path: str, handler: SocketHandler) -> None:
        """Upgrade requests for this path; the JSON subprotocols are accepted."""
        self._sockets[path] = handler

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Whatever comes."""
        raw = request.raw_path
        path = raw.split("?")[0]
        self.asked.append(Asked(request.method, raw, dict(request.headers), await request.read()))
        if path in self._sockets:
            socket = web.WebSocketResponse(protocols=self.protocols, timeout=1.0)
            await socket.prepare(request)
            await self._sockets[path](socket)
            return socket
        if (request.method, path) in self._functions:
            document = await self._functions[request.method, path](self.asked[-1])
            return web.json_response(document, status=404 if document is None else 200)
        problem = msgspec.json.encode({"code": "Error.NotFound", "message": f"the stand-in has no {path}"})
        status, body, content_type = self._answers.get(
            (request.method, path), (404, problem, "application/problem+json")
        )
        response = web.Response(status=status, body=body, content_type=content_type)
        for warning in self._warnings.get((request.method, path), ()):
            response.headers.add("warning", f'199 - "{warning}"')
        return response


@contextmanager
def serving(socket_path: Path | str | None = None) -> Iterator[StandIn]:
    """A stand-in that listens in a thread of its own: on a Unix socket, or on a free port of this machine."""
    standin = StandIn()
    begun = threading.Event()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def run() -> None:
        application = web.Application()
        application.router.add_route("*", "/{anything:.*}", standin.answer)
        runner = web.AppRunner(application, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0) if socket_path is None else web.UnixSite(runner, socket_path)
        await site.start()
        if socket_path is None:
            standin.port = runner.addresses[0][1]
        begun.set()
        try:
            await ended.wait()
        finally:
            await runner.cleanup()

    def work() -> None:
        try:
            loop.run_until_complete(run())
        finally:
            loop.close()

    thread = threading.Thread(target=work, name="stand-in")
    thread.start()
    try:
        assert begun.wait(DEADLINE_S), "the stand-in did not start"
        yield standin
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the stand-in did not end"


@contextmanager
def socket_server(path: str, handler: SocketHandler) -> Iterator[StandIn]:
    """A stand-in on a free port that upgrades requests for `path`."""
    with serving() as standin:
        standin.on_socket(path, handler)
        yield standin
