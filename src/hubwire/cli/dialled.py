"""
One connection of `hubwire tunnel`, from the welcome to the goodbye.

Source: the tunnel protocol as the service's open tool (awps-tunnel) speaks it.
"""

import asyncio
import contextlib
from typing import Final

import aiohttp

from hubwire.cli.faults import CommandFailed
from hubwire.upstream.tunnel_frames import ConnectionConnected, TunnelFrame, TunnelReader

__all__ = ["Dialled"]

_WELCOME_S: Final = 15.0
_GOODBYE_S: Final = 2.0
_LARGEST_MESSAGE_BYTES: Final = 64 << 20
"""A server of other bounds than ours may send more than 1 MiB."""
_NO_TUNNEL: Final = "the server does not speak the protocol of tunnels"


class Dialled:
    """
    Args:
        endpoint: of the service at the other end.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, endpoint: str) -> None:
        self.endpoint = endpoint
        self._socket = socket
        self._reader = TunnelReader(_LARGEST_MESSAGE_BYTES)
        self._early: list[TunnelFrame] | None = None

    async def welcomed(self) -> None:
        """
        Wait until the service says that we are connected.

        Raises:
            CommandFailed: it does not.
        """
        try:
            async with asyncio.timeout(_WELCOME_S):
                while (heard := await self.hear()) is not None:
                    if heard:
                        break
        except TimeoutError as error:
            raise CommandFailed(f"the server did not welcome us within {_WELCOME_S:g} seconds") from error
        if heard is None:
            raise CommandFailed(f"{self.why_closed} before it welcomed us")
        if not isinstance(heard[0].message, ConnectionConnected):
            raise CommandFailed(_NO_TUNNEL)
        self._early = heard[1:]

    async def hear(self) -> list[TunnelFrame] | None:
        """
        What the service says next; None when the connection has ended.

        Raises:
            CommandFailed: it is nothing of the tunnel's protocol.
        """
        early, self._early = self._early, None
        if early:
            return early
        message = await self._socket.receive()
        if message.type == aiohttp.WSMsgType.BINARY:
            frames = self._reader.feed(message.data)
            if self._reader.fault is not None:
                raise CommandFailed(_NO_TUNNEL)
            return frames
        if message.type == aiohttp.WSMsgType.TEXT:
            raise CommandFailed(_NO_TUNNEL)
        return None

    async def send(self, message: bytes) -> None:
        """Send a whole message. Does nothing once the connection is gone."""
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await self._socket.send_bytes(message)

    @property
    def why_closed(self) -> str:
        """Why there is nothing more to be heard."""
        code = self._socket.close_code
        if code is None or code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
            return "the connection was lost"
        return f"the server closed the connection (code {code})"

    async def close(self) -> None:
        """Say goodbye, for a little while. Repeating it does nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await self._socket.close(code=aiohttp.WSCloseCode.OK)
