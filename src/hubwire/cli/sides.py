"""
The two connections of a tunnel: bytes in, bytes out and an end, with or without TLS; and how they are joined.

Source: RFC 8446, section 6.1, for the end of TLS.
"""

import asyncio
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from types import TracebackType
from typing import Final, Self, TypeVar

from hubwire.cli.target import NotServed, Target

__all__ = ["LONGEST_HEAD_BYTES", "SecureSide", "Side", "join", "reach", "why"]

_T = TypeVar("_T")

LONGEST_HEAD_BYTES: Final = 16 * 1024
"""Of a request; what `Side.head` finds too long depends on the limit of its reader."""

_PIECE_BYTES: Final = 64 * 1024
_WAIT_S: Final = 10.0
"""For a connection, for a handshake, and for the other side to read the last of it."""


class Side:
    """One of the two connections of a tunnel. Left in order, the other side gets to read all that it was sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not asyncio.CancelledError:
                await self._say_goodbye()
        finally:
            self.abort()

    @property
    def is_near(self) -> bool:
        """Is the other end on this machine, by its loopback address."""
        peer = self._writer.get_extra_info("peername")
        address = ip_address(peer[0].partition("%")[0]) if peer else None
        return address is not None and (getattr(address, "ipv4_mapped", None) or address).is_loopback

    async def head(self) -> bytes:
        """
        The head of a request.

        Raises:
            NotServed: 400 it is cut short; 431 it is too long.
        """
        try:
            return await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise NotServed(400, "the request is cut short") from error
        except asyncio.LimitOverrunError as error:
            raise NotServed(431, f"a request's head may have {LONGEST_HEAD_BYTES} bytes") from error

    async def secured(self, context: ssl.SSLContext, server_hostname: str | None = None) -> "SecureSide":
        """
        The same connection within TLS.

        Args:
            server_hostname: name of the other side; None if we are the server.

        Raises:
            OSError: the handshake failed; `ssl.SSLError` is one, too.
        """
        secure = SecureSide(self._reader, self._writer, context, server_hostname)
        async with asyncio.timeout(_WAIT_S):
            await secure.shake_hands()
        return secure

    async def read(self) -> bytes:
        """What comes next; empty at the end."""
        return await self._reader.read(_PIECE_BYTES)

    async def write(self, data: bytes) -> None:
        """Returns when there is room for more."""
        self._writer.write(data)
        await self._writer.drain()

    async def finish(self) -> None:
        """Nothing more is written."""
        self._writer.write_eof()

    def abort(self) -> None:
        """Forget it; a second time changes nothing."""
        self._writer.transport.abort()

    async def _say_goodbye(self) -> None:
        """What is closed while it has something unread takes from the other side what that has not read yet."""
        with suppress(OSError):  # gone, or still silent when the time is over
            async with asyncio.timeout(_WAIT_S):
                self._writer.write_eof()
                while await self._reader.read(_PIECE_BYTES):
                    pass
                self._writer.transport.set_write_buffer_limits(0)
                await self._writer.drain()


class SecureSide(Side):
    """
    A connection within TLS.

    Not by `StreamWriter.start_tls`, which loses what a client sends before it has read our answer.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
        server_hostname: str | None,
    ) -> None:
        super().__init__(reader, writer)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_hostname is None, server_hostname=server_hostname
        )

    async def shake_hands(self) -> None:
        """Before anything else."""
        await self._do(self._tls.do_handshake)

    async def read(self) -> bytes:
        try:
            return await self._do(lambda: self._tls.read(_PIECE_BYTES))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        await self._hand_on()

    async def finish(self) -> None:
        with suppress(ssl.SSLError):  # our goodbye is said; theirs may not have come
            self._tls.unwrap()
        await self._hand_on()

    async def _do(self, step: Callable[[], _T]) -> _T:
        """What may have to hear from the other side first."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                pass
            finally:
                await self._hand_on()
            if came := await super().read():
                self._incoming.write(came)
            else:
                self._incoming.write_eof()

    async def _hand_on(self) -> None:
        if self._outgoing.pending:
            await super().write(self._outgoing.read())


async def reach(target: Target) -> Side:
    async with asyncio.timeout(_WAIT_S):
        return Side(*await asyncio.open_connection(target.host, target.port))


async def join(one: Side, other: Side, until: str) -> None:
    """
    Carry bytes both ways, no faster than they are taken.

    Args:
        until: as of `asyncio.wait`: the end of one way, or of both unless a connection breaks.
    """
    ways = [asyncio.ensure_future(_carry(one, other)), asyncio.ensure_future(_carry(other, one))]
    try:
        await asyncio.wait(ways, return_when=until)
    finally:
        for way in ways:
            way.cancel()
        ends = await asyncio.gather(*ways, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception) and not isinstance(end, OSError):
            raise end


async def _carry(source: Side, sink: Side) -> None:
    while data := await source.read():
        await sink.write(data)
    await sink.finish()


def why(error: OSError) -> str:
    """What went wrong, in words of the system, without the addresses that were tried."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not good ({error.verify_message})"
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionError(errno=None):
            return "the connection ended"
        case ssl.SSLError():
            return (error.reason or "TLS failed").lower().replace("_", " ")
        case TimeoutError():
            return f"no answer within {_WAIT_S:g} seconds"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number)
        case _:
            return error.strerror or "none of its addresses answers"
