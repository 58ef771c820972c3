"""
What all clients' sockets of a server share: limits, the clock of their signs of life, and their common end.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from hubwire.edge.liveness import Liveness
from hubwire.edge.turnstile import Turnstile
from hubwire.gateway.gateway import Gateway
from hubwire.model.telemetry import Telemetry

__all__ = ["Clients", "Socket"]

_SLICE: Final = 200


class Socket(Protocol):
    """One client's socket, as seen by those who end them all."""

    def say_goodbye(self) -> None:
        """The server goes away: tell the client, and begin to close."""

    def abort(self) -> None:
        """End at once and silently."""


class Clients:
    """
    What all clients' sockets of a server share.

    Args:
        buffer_bytes: waiting for one client that reads too slowly.
        reliable_buffer_bytes: the same for a reliable client and an MQTT client, whose own queue limit is to decide
            first.
        inbox_requests: waiting requests of one client before reading from it pauses.
        connect_timeout_s: from the 101 to the whole CONNECT packet of an MQTT client.
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
        connect_timeout_s: float = 10.0,
    ) -> None:
        self.gateway = gateway
        self.telemetry = telemetry
        self.loop = loop
        self.max_message_bytes = max_message_bytes
        self.buffer_bytes = buffer_bytes
        self.reliable_buffer_bytes = max(buffer_bytes, reliable_buffer_bytes)
        self.inbox_requests = inbox_requests
        self.connect_timeout_s = connect_timeout_s
        self.liveness = Liveness(loop)
        self.sockets: set[Socket] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._leaving = Turnstile(_SLICE)
        self._emptied: asyncio.Event | None = None

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def gone(self, finish: Callable[[], None]) -> None:
        """
        A socket is gone; take it out of the registries, now or soon: thousands may go at once, at some 20 µs each.
        """
        if self._leaving.enter(finish):
            finish()

    def closed(self, client: Socket) -> None:
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
