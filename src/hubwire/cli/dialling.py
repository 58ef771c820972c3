"""
The connections of `hubwire tunnel`: dialled, kept, and dialled again; what comes through them is forwarded.

Source: the tunnel protocol as the service's open tool (awps-tunnel) speaks it.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final, NamedTuple, Protocol
from uuid import uuid4

import aiohttp
from msgspec.structs import replace
from yarl import URL

from hubwire.cli.access import ConnectionString, tunnel_url
from hubwire.cli.connect import open_socket
from hubwire.cli.dialled import Dialled
from hubwire.cli.faults import CommandFailed, Refusal
from hubwire.cli.forwarding import Forwarded, answer_parts
from hubwire.upstream.tunnel_frames import (
    ConnectionClose,
    ConnectionRebalance,
    ConnectionReconnect,
    HttpRequest,
    ServiceStatus,
    TunnelFrame,
)

__all__ = ["Dialler", "Forwarding", "TunnelScreen"]

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
_MOST_CONNECTIONS: Final = 8
_MOST_REQUESTS: Final = 256
"""At once, on all connections; the next are not forwarded."""
_FINAL: Final = frozenset({400, 401, 403, 404, 426})
"""Refusals that trying again does not mend."""
_BUSY: Final = f"more than {_MOST_REQUESTS} requests at once"


class Forwarding(Protocol):
    """The way to the application."""

    async def forward(self, request: HttpRequest, body: bytes) -> Forwarded:
        """Make a request to it."""


class TunnelScreen(Protocol):
    """Whoever is told what happens."""

    def connected(self, endpoint: str) -> None:
        """The first connection is there, to this service."""

    def lost(self, reason: str) -> None:
        """A connection is gone, and is being dialled again."""

    def back(self) -> None:
        """It is there again."""

    def say(self, text: str) -> None:
        """The service has something to say."""

    def forwarded(self, request: HttpRequest, answer: Forwarded, spent_ms: float) -> None:
        """A request, and what became of it."""


class _Place(NamedTuple):
    """
    Where to dial.

    Attributes:
        endpoint: of the service; empty for the one that we know.
        target: that the service has named; may be empty.
    """

    endpoint: str = ""
    target: str = ""


class _Ended(CommandFailed):
    """The service wants this connection to end for good."""


class Dialler:
    """
    Args:
        session: whose middlewares raise `Refusal` for a refused upgrade.
        service: where the service is now, and the key that proves us. It may block.
        first_pause_s: before a lost connection is dialled again; each time twice as long, up to 10 seconds.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        hub: str,
        service: Callable[[], ConnectionString],
        application: Forwarding,
        screen: TunnelScreen,
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._session = session
        self._hub = hub
        self._service = service
        self._application = application
        self._screen = screen
        self._first_pause_s = first_pause_s
        self._id = str(uuid4())
        self._connections: set[asyncio.Task[None]] = set()
        self._requests: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """
        Dial, and forward what comes, until cancelled.

        Raises:
            CommandFailed: the first connection cannot be opened, or the last one is refused for a reason that stays, or
                has been ended by the service for good.
        """
        try:
            connection = await self._dial(_Place())
            self._screen.connected(connection.endpoint)
            self._begin(self._keep(connection))
            while self._connections:
                done, _ = await asyncio.wait(self._connections, return_when=asyncio.FIRST_COMPLETED)
                for ended in done:
                    self._settle(ended)
        finally:
            await _cancel(self._connections)
            await _cancel(self._requests)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._connections.add(asyncio.ensure_future(work))

    def _settle(self, ended: "asyncio.Task[None]") -> None:
        """A connection has ended for good. Others go on."""
        self._connections.discard(ended)
        try:
            ended.result()
        except CommandFailed as error:
            if not self._connections:
                raise
            self._screen.say(error.message)

    async def _keep(self, connection: Dialled) -> None:
        """Have a connection there from now on."""
        while True:
            place, reason = await self._talk(connection)
            self._screen.lost(reason)
            connection = await self._dial_again(place)
            self._screen.back()

    async def _keep_one_more(self, place: _Place) -> None:
        await self._keep(await self._dial_again(place))

    # Dialling.

    async def _dial_again(self, place: _Place) -> Dialled:
        """
        Raises:
            Refusal: for a reason that stays.
        """
        pause_s = self._first_pause_s
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            try:
                return await self._dial(place)
            except CommandFailed as error:
                if isinstance(error, Refusal) and error.status in _FINAL:
                    raise
                # Who was to be found at that place may be elsewhere by now.
                place = _Place()

    async def _dial(self, place: _Place) -> Dialled:
        """
        Raises:
            CommandFailed: there is no service, it refuses, or it does not welcome us.
        """
        # Each time: a server that was started again has another port perhaps, or another key.
        service = await asyncio.to_thread(self._service)
        if place.endpoint:
            service = replace(service, endpoint=place.endpoint)
        url = tunnel_url(service, self._hub, self._id, place.target)
        connection = Dialled(await open_socket(self._session, url, None), service.endpoint)
        try:
            await connection.welcomed()
        except BaseException:
            await connection.close()
            raise
        return connection

    # Talking.

    async def _talk(self, connection: Dialled) -> tuple[_Place, str]:
        """
        Forward what comes.

        Returns:
            where to dial next, and why this connection is over.

        Raises:
            CommandFailed: the service does not want us any more.
        """
        try:
            while (heard := await connection.hear()) is not None:
                for frame in heard:
                    if (next_one := self._take(connection, frame)) is not None:
                        return next_one
            return _Place(), connection.why_closed
        finally:
            await connection.close()

    def _take(self, connection: Dialled, frame: TunnelFrame) -> tuple[_Place, str] | None:
        match frame.message:
            case HttpRequest() as request:
                busy = len(self._requests) >= _MOST_REQUESTS
                task = asyncio.ensure_future(self._answer(connection, request, frame.content, busy=busy))
                self._requests.add(task)
                task.add_done_callback(self._requests.discard)
            case ConnectionReconnect(target_id=target, endpoint=endpoint, message=text):
                return _place(endpoint, target), text or "the server wants us to connect again"
            case ConnectionClose(message=text):
                raise _Ended(f"the server ended the tunnel: {text}" if text else "the server ended the tunnel")
            case ConnectionRebalance(target_id=target, endpoint=endpoint):
                if len(self._connections) < _MOST_CONNECTIONS:
                    self._begin(self._keep_one_more(_place(endpoint, target)))
            case ServiceStatus(message=text) if text:
                self._screen.say(text)
        return None

    async def _answer(self, connection: Dialled, request: HttpRequest, body: bytes, *, busy: bool) -> None:
        begun = time.perf_counter()
        if busy:
            answer = Forwarded(503, {"Content-Type": ["text/plain"]}, _BUSY.encode(), _BUSY)
        else:
            answer = await self._application.forward(request, body)
        # If the connection is gone meanwhile, the server has given this request up.
        for part in answer_parts(request, answer):
            await connection.send(part)
        self._screen.forwarded(request, answer, (time.perf_counter() - begun) * 1000)


def _place(endpoint: str | None, target: str | None) -> _Place:
    """What the service has named, as far as it can be dialled."""
    try:
        url = URL(endpoint or "")
        usable = url.scheme in ("http", "https") and bool(url.host)
    except ValueError:
        usable = False
    return _Place(str(url).rstrip("/") if usable else "", target or "")


async def _cancel(tasks: Collection["asyncio.Task[None]"]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
