"""
The tunnels of `hubwire proxy`: to the server, with TLS of its own on either side, or to any other target as it is.

Source: RFC 9110, section 9.3.6 (CONNECT).
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from yarl import URL

from hubwire.cli.sides import LONGEST_HEAD_BYTES, SecureSide, Side, join, reach, why
from hubwire.cli.target import VAULTS, NotServed, Target, leads, parse_head

__all__ = ["BOUNDS", "SPARE", "Bounds", "Proxy", "Upstream"]

SPARE: Final = 50
"""Clients beyond the bound that are still told so; the next are cut off."""

_PROTOCOLS: Final = ("http/1.1",)
_MOST_NAMES: Final = 256
"""For which a certificate is kept."""
_RENEWED_S: Final = 30 * 24 * 3600
"""A third of a certificate's life: so long one is shown at most."""
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection Established\r\n\r\n"


class Bounds(NamedTuple):
    """
    Attributes:
        clients: connected at once; the next are refused.
        head_s: within which a client must have said what it wants.
    """

    clients: int = 1000
    head_s: float = 10.0


BOUNDS: Final = Bounds()


class Upstream:
    """
    The server that names lead to.

    Args:
        url: its HTTPS endpoint.
        authority: PEM file of whoever issued its certificate; nobody else is trusted.

    Attributes:
        target: where it listens.

    Raises:
        OSError: the file cannot be read, or used.
    """

    def __init__(self, url: URL, authority: Path) -> None:
        assert url.host is not None, "an endpoint has a host"
        assert url.port is not None, "and a port"
        self._url = url
        self.target = Target(url.host, url.port)
        self._trust = ssl.create_default_context(cafile=authority)
        self._trust.set_alpn_protocols(_PROTOCOLS)

    async def reach(self) -> SecureSide:
        """
        A new connection.

        Raises:
            NotServed: 502, there is none.
        """
        secure = plain = None
        try:
            plain = await reach(self.target)
            secure = await plain.secured(self._trust, self.target.host)
            return secure
        except OSError as error:
            raise NotServed(502, f"cannot reach the server at {self._url}: {why(error)}") from error
        finally:
            if plain is not None and secure is None:
                plain.abort()


class Proxy:
    """
    Takes requests, and makes tunnels of them.

    Args:
        names: that lead to the server; see `leads`.
        only: refuse all other targets but the server's own.
        upstream: the server.
        issue: certificate and private key for a name, PEM.
        complain: is told in a line of a handshake that failed.
        has_vault: is a name of the cloud's Key Vaults one of the server's. It raises NotServed if that cannot be told.
        bounds: of what clients may take.
    """

    def __init__(
        self,
        names: Sequence[str],
        only: bool,
        upstream: Upstream,
        issue: Callable[[str], tuple[bytes, bytes]],
        complain: Callable[[str], None],
        has_vault: Callable[[str], Awaitable[bool]],
        bounds: Bounds = BOUNDS,
    ) -> None:
        self._names = names
        self._only = only
        self._upstream = upstream
        self._shown = lru_cache(_MOST_NAMES)(lambda name, _period: _showing(*issue(name)))
        self._complain = complain
        self._has_vault = has_vault
        self._bounds = bounds
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
        """
        Serve until the context is left; then every tunnel is cut off.

        Returns:
            address and port.

        Raises:
            OSError: it cannot listen there.
        """
        listener = await asyncio.start_server(self._accept, host, port, limit=LONGEST_HEAD_BYTES)
        try:
            address, port = listener.sockets[0].getsockname()[:2]
            yield address, port
        finally:
            listener.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= self._bounds.clients + SPARE:
            writer.transport.abort()
            return
        client = Side(reader, writer)
        task = asyncio.ensure_future(self._serve(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: client.abort())  # even if it never began

    async def _serve(self, client: Side) -> None:
        async with client:
            try:
                await self._tunnel(client)
            except NotServed as fault:
                with suppress(OSError):
                    await client.write(fault.answer())
            except OSError:
                return  # the client is gone

    async def _tunnel(self, client: Side) -> None:
        if len(self._tasks) > self._bounds.clients:
            raise NotServed(503, f"this proxy serves {self._bounds.clients} connections at once")
        try:
            async with asyncio.timeout(self._bounds.head_s):
                target = parse_head(await client.head())
        except TimeoutError as error:
            raise NotServed(408, f"the request did not come within {self._bounds.head_s:g} seconds") from error
        if leads(target, self._names) or (leads(target, (VAULTS,)) and await self._has_vault(target.host)):
            await self._to_server(client, target.host)
        elif self._only and target != self._upstream.target:
            raise NotServed(403, f"{target} does not lead to the server, and nothing else is served (--only)")
        else:
            await _to_other(client, target)

    async def _to_server(self, client: Side, name: str) -> None:
        # First of all, because who has its tunnel can no longer be told what is wrong.
        async with await self._upstream.reach() as server:
            try:
                context = self._shown(name, int(time.time() // _RENEWED_S))
            except OSError as error:
                raise NotServed(500, f"cannot make a certificate for {name}: {why(error)}") from error
            await client.write(_ESTABLISHED)
            try:
                inside = await client.secured(context)
            except OSError as error:
                self._complain(f"TLS with a client for {name} failed: {why(error)}")
                return
            # After a goodbye within TLS a server such as ours says nothing more, so one end is the end of both ways.
            await join(inside, server, asyncio.FIRST_COMPLETED)


async def _to_other(client: Side, target: Target) -> None:
    try:
        side = await reach(target)
    except OSError as error:
        raise NotServed(502, f"cannot reach {target}: {why(error)}") from error
    async with side as other:
        if other.is_near and not client.is_near:
            # What listens on the loopback address counts on nobody else reaching it.
            raise NotServed(403, f"{target} is on this machine, and only its own programs may be led there")
        await client.write(_ESTABLISHED)
        await join(client, other, asyncio.FIRST_EXCEPTION)


def _showing(certificate: bytes, key: bytes) -> ssl.SSLContext:
    """For handshakes that show these. The TLS library reads them from a file, which is there for that moment only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_PROTOCOLS)
    with TemporaryDirectory(prefix="hubwire-") as folder:  # that nobody else may enter
        file = Path(folder) / "shown.pem"
        file.write_bytes(key + certificate)
        context.load_cert_chain(file)
    return context
