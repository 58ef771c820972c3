"""A TCP proxy between a client and the server that can break connections in the ways in which networks break them."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from acceptance.servers import DEADLINE_S

__all__ = ["Proxy"]

_Result = TypeVar("_Result")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CHUNK_BYTES = 1 << 16


class _Pair:
    """One client connection and the connection to the server that serves it."""

    def __init__(self, client: socket.socket, upstream: socket.socket) -> None:
        self.client = client
        self.upstream = upstream
        self.broken = False
        self.flows: list[asyncio.Task[None]] = []


class Proxy:
    """
    Runs in a thread of its own, so that synchronous and asynchronous tests can use it alike.

        with Proxy(server.host, server.port) as proxy:
            connect(proxy.port)
            proxy.cut()
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._pairs: list[_Pair] = []
        self._accepting: asyncio.Task[None] | None = None
        self._refusing = False
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def cut(self) -> int:
        """Reset every connection, both ways, as when a host restarts. Returns how many there were."""
        return self._do(self._break(reset=True, keep_upstream=False))

    def end(self) -> int:
        """End every connection in order (FIN) without a close frame. Returns how many there were."""
        return self._do(self._break(reset=False, keep_upstream=False))

    def lose_client(self) -> int:
        """The client sees its connection end; the server keeps a half-open one and hears nothing more of it."""
        return self._do(self._break(reset=False, keep_upstream=True))

    def freeze(self) -> int:
        """Nothing passes any more on the connections there are; nobody is told. New ones work."""
        return self._do(self._freeze())

    def refuse(self, refusing: bool) -> None:
        """Reset new connections at once, or stop doing so."""
        self._do(self._set_refusing(refusing))

    def connections(self) -> int:
        """How many connections pass data now."""
        return self._do(self._count())

    def _do(self, step: Coroutine[None, None, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(DEADLINE_S)

    async def _begin(self) -> None:
        self._accepting = self._loop.create_task(self._accept())

    async def _count(self) -> int:
        return sum(bool(pair.flows) for pair in self._pairs)

    async def _set_refusing(self, refusing: bool) -> None:
        self._refusing = refusing

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            if self._refusing:
                _reset(client)
                continue
            client.setblocking(False)
            upstream = socket.socket()
            upstream.setblocking(False)
            try:
                await self._loop.sock_connect(upstream, self._upstream)
            except OSError:
                _reset(upstream)
                _reset(client)
                continue
            pair = _Pair(client, upstream)
            pair.flows = [
                self._loop.create_task(self._forward(pair, client, upstream)),
                self._loop.create_task(self._forward(pair, upstream, client)),
            ]
            self._pairs.append(pair)

    async def _forward(self, pair: _Pair, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := await self._loop.sock_recv(source, _CHUNK_BYTES):
                await self._loop.sock_sendall(sink, data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One side was reset: so is the other.
            await self._stop(pair)
            _reset(pair.client)
            _reset(pair.upstream)

    async def _stop(self, pair: _Pair) -> None:
        """Pass nothing more. Afterwards no task of ours waits for the two sockets, so they may be closed."""
        flows = [flow for flow in pair.flows if flow is not asyncio.current_task()]
        pair.flows = []
        for flow in flows:
            flow.cancel()
        await asyncio.gather(*flows, return_exceptions=True)

    async def _freeze(self) -> int:
        flowing = [pair for pair in self._pairs if pair.flows]
        for pair in flowing:
            await self._stop(pair)
        return len(flowing)

    async def _break(self, *, reset: bool, keep_upstream: bool) -> int:
        broken = [pair for pair in self._pairs if pair.client.fileno() >= 0 and not pair.broken]
        for pair in broken:
            pair.broken = True
            await self._stop(pair)
            for end in (pair.client,) if keep_upstream else (pair.client, pair.upstream):
                if reset:
                    _reset(end)
                else:
                    # Not closed: what somebody has sent and we have not read would make a reset of that.
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_WR)
        return len(broken)

    async def _end(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        for pair in self._pairs:
            await self._stop(pair)
            _reset(pair.client)
            _reset(pair.upstream)
        self._listener.close()


def _reset(end: socket.socket) -> None:
    if end.fileno() >= 0:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        end.close()
