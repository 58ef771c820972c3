"""A client about whom an event handler is asked: between its upgrade request and the answer to that."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from hubwire.edge.answers import refusal
from hubwire.edge.clients import Clients
from hubwire.edge.context import Undecided
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.gateway.opening import Deciding, Opening

__all__ = ["Asked"]

_log: Final = logging.getLogger("hubwire.edge")


class Asked(Undecided):
    """
    Args:
        let_in: takes over the transport for a client that may come in; is given what it has sent so far.
    """

    def __init__(
        self,
        clients: Clients,
        transport: asyncio.Transport,
        deciding: Deciding,
        let_in: Callable[[Opening, bytes], object],
    ) -> None:
        super().__init__()
        self._gateway = clients.gateway
        self._transport = transport
        self._deciding = deciding
        self._let_in = let_in
        self._opening: Opening | None = None
        self._refused: HandshakeRefused | None = None
        # Not among the tasks that end with the clients: whom a handler has accepted, it is told the end of.
        self._task = clients.loop.create_task(self._wait())
        self._gateway.watch(self._task)

    async def _wait(self) -> None:
        try:
            self._opening = await self._deciding.outcome()
        except HandshakeRefused as refused:
            self._refused = refused
        except Exception:
            _log.exception("an upgrade could not be decided")
            self._refused = HandshakeRefused(500, "The server failed.")
        if not self._deciding.client_gone:
            self.on_decided()
        elif self._opening is not None:
            self._gateway.abandon(self._opening)

    def finish(self, rest: bytes) -> object | None:
        opening, self._opening = self._opening, None
        if opening is not None and not self._transport.is_closing():
            return self._let_in(opening, rest)
        if opening is not None:
            self._gateway.abandon(opening)
        elif self._refused is not None:
            self._transport.write(refusal(self._refused))
        return None

    def leave(self) -> None:
        self._deciding.client_gone = True
