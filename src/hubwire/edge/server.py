"""
Listeners, and the end of them: one port for clients and REST, and the control socket for the command line.
"""

import asyncio
import errno
import ipaddress
import logging
import math
import os
import resource
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, cast

from hubwire.edge.clients import Clients
from hubwire.edge.context import FrontContext
from hubwire.edge.front import Front
from hubwire.model.errors import StartFailed

__all__ = ["Listeners", "address_of", "authorities", "bind", "connectable"]

_log = logging.getLogger("hubwire.edge")

_BACKLOG: Final = 4096
_ACCEPTED_PER_TURN: Final = 4
"""
By asyncio, on each address; uvloop accepts one. It tells us of one two turns later, so that three times as many may
come before a pause takes hold.
"""
_RESERVED_DESCRIPTORS: Final = 64
"""For what is no client's: the database, the control socket, and who was accepted before a pause took hold."""
_PER_RESOURCE: Final = 16
"""Two sockets for each address and kind of listener, and some for its first clients."""
_LOOK_AGAIN_S: Final = 0.1
_TELL_AGAIN_S: Final = 60.0
_TRIES: Final = 20
_LOCALHOST: Final = frozenset({"127.0.0.1", "::1"})


def bind(hosts: Sequence[str], port: int, option: str = "--port") -> tuple[list[socket.socket], list[str]]:
    """
    Bind the same port on all addresses.

    Args:
        hosts: IP addresses or names.
        port: 0 takes one that is free on all of them.
        option: that says which port, for the one who has to choose another.

    Returns:
        the sockets, not listening yet, and warnings about addresses that this machine does not have.

    Raises:
        StartFailed: with the address and the reason.
    """
    for attempt in range(_TRIES):
        try:
            return _bind_all(hosts, port)
        except _PortTaken as taken:
            # The port was free on the first address and is not on another one: try the next one.
            if port or attempt == _TRIES - 1:
                raise StartFailed(f"{taken}; choose another with {option}") from taken
    raise AssertionError("unreachable")


class _PortTaken(Exception):  # noqa: N818
    pass


def _bind_all(hosts: Sequence[str], port: int) -> tuple[list[socket.socket], list[str]]:
    sockets: list[socket.socket] = []
    warnings: list[str] = []
    try:
        for host in hosts:
            for family, address in _resolve(host):
                try:
                    bound = _bind(family, address, port)
                except OSError as error:
                    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and len(hosts) > 1:
                        warnings.append(f"this machine has no address {address}; not listening there")
                        continue
                    raise _fault(error, address, port) from error
                sockets.append(bound)
                port = bound.getsockname()[1]
        if not sockets:
            raise StartFailed(f"this machine has none of the addresses {', '.join(hosts)}")
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return sockets, warnings


def _resolve(host: str) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise StartFailed(f"cannot listen on {host}: no such address") from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
    except BaseException:
        bound.close()
        raise
    return bound


def _fault(error: OSError, address: str, port: int) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return _PortTaken(f"port {port} is already in use on {address}")
    return StartFailed(f"cannot listen on {address} port {port}: {error.strerror or error}")


def address_of(bound: socket.socket) -> str:
    """Address and port of a bound socket."""
    host, port = bound.getsockname()[:2]
    return _authority(host, port)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reached_by(bound: socket.socket) -> str:
    """An address to connect to; of one that only listens the loopback address of its kind."""
    address = ipaddress.ip_address(bound.getsockname()[0].partition("%")[0])
    return ("::1" if address.version == 6 else "127.0.0.1") if address.is_unspecified else str(address)


def connectable(sockets: Sequence[socket.socket]) -> str:
    """
    An authority under which a client on this machine reaches these sockets: never an address that only listens.

    `localhost` only where both of its addresses are listened on, since clients differ in which one they try.
    """
    addresses = [_reached_by(bound) for bound in sockets]
    host = "localhost" if _LOCALHOST.issubset(addresses) else addresses[0]
    return _authority(host, sockets[0].getsockname()[1])


def authorities(sockets: Sequence[socket.socket]) -> list[str]:
    """All under which a client on this machine reaches these sockets, the one of `connectable` first."""
    found = [connectable(sockets)]
    for bound in sockets:
        host, port = _reached_by(bound), bound.getsockname()[1]
        found.append(_authority(host, port))
        if ipaddress.ip_address(host).is_loopback:
            found.append(_authority("localhost", port))
    return list(dict.fromkeys(found))


class _Bound(NamedTuple):
    """
    Attributes:
        socket: bound, and open as long as we listen there at all.
        tls: None where connections begin without a handshake.
        resource: that it belongs to; None where the host says it.
    """

    socket: socket.socket
    tls: ssl.SSLContext | None
    resource: str | None


class Listeners:
    """
    All sockets of a server, and its graceful end.

    Args:
        front: what the connections of REST callers and new clients share.
        clients: what the sockets of clients share.
    """

    def __init__(self, front: FrontContext, clients: Clients) -> None:
        self._front = front
        self._clients = clients
        self._servers: list[asyncio.Server] = []
        self._bound: list[_Bound] = []
        self._accepting: list[tuple[asyncio.Server, socket.socket, _Bound]] = []
        self._paused: list[asyncio.Server] = []
        self._pause: asyncio.Task[None] | None = None
        self._told_at = -math.inf

    async def listen(
        self, sockets: Sequence[socket.socket], secure: Sequence[socket.socket] = (), tls: ssl.SSLContext | None = None
    ) -> None:
        """
        Accept connections on bound sockets, while there are descriptors for them.

        Args:
            secure: those whose connections begin with a handshake of `tls`.
        """
        self._bound += self._all(sockets, secure, tls, None)
        await self._accept(self._bound)
        self._front.crowded_at = self._room()
        self._front.on_crowded = self._crowded

    async def add(
        self,
        resource: str,
        sockets: Sequence[socket.socket],
        secure: Sequence[socket.socket],
        tls: ssl.SSLContext | None,
    ) -> None:
        """The same on more sockets, which belong to one resource."""
        more = self._all(sockets, secure, tls, resource)
        self._bound += more
        if self._pause is None:  # else it begins with the others, when there is room again
            await self._accept(more)
        self._front.crowded_at = self._room()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Addresses and ports on which we listen."""
        return [bound.socket.getsockname()[:2] for bound in self._bound if bound.socket.fileno() >= 0]

    @property
    def is_short(self) -> bool:
        """Are there no descriptors for more listeners besides those that are kept free."""
        return self._room() - self._front.sockets < _PER_RESOURCE

    def _room(self) -> float:
        """How many sockets of clients there may be, by the descriptors that are not used for anything else."""
        return _room(self._front.sockets)

    def remove(self, resource: str) -> None:
        """Accept nobody any more on the sockets of a resource, close these, and let their connections end."""
        kept = []
        for entry in self._accepting:
            server, _, bound = entry
            if bound.resource == resource:
                server.close()
            else:
                kept.append(entry)
        self._accepting = kept
        for bound in self._bound:
            if bound.resource == resource:
                bound.socket.close()
        self._bound = [bound for bound in self._bound if bound.resource != resource]
        for front in [front for front in self._front.fronts if front.resource == resource]:
            front.retire()
        self._front.crowded_at = self._room()

    @staticmethod
    def _all(
        sockets: Sequence[socket.socket],
        secure: Sequence[socket.socket],
        tls: ssl.SSLContext | None,
        resource: str | None,
    ) -> list[_Bound]:
        plain = [_Bound(bound, None, resource) for bound in sockets]
        return plain + [_Bound(bound, tls, resource) for bound in secure]

    def _protocol(
        self, *, control: bool = False, secure: bool = False, resource: str | None = None
    ) -> asyncio.Protocol:
        front = Front(self._front, control, resource)
        if secure:
            self._front.expect(front, self._front.head_timeout_s)
        # A front has the methods of asyncio's protocols without their class, so that it can be a compiled one.
        return cast("asyncio.Protocol", front)

    async def _accept(self, entries: Sequence[_Bound]) -> None:
        loop = asyncio.get_running_loop()
        for entry in entries:
            bound, tls, resource = entry
            # A copy: closed, it accepts nobody any more, and who comes waits in the queue of the socket.
            copy = bound.dup()
            server = await loop.create_server(
                partial(self._protocol, secure=tls is not None, resource=resource),
                sock=copy,
                backlog=_ACCEPTED_PER_TURN,
                ssl=tls,
                # Who does not even shake hands has as long as for a head. The time of the goodbye begins when we close,
                # and in it what is written still goes out.
                ssl_handshake_timeout=None if tls is None else self._front.head_timeout_s,
                ssl_shutdown_timeout=None if tls is None else self._front.idle_timeout_s,
            )
            # asyncio's own loop accepts in one turn as many as the backlog holds. The system's may be longer than that.
            bound.listen(_BACKLOG)
            self._accepting.append((server, copy, entry))

    def _crowded(self) -> None:
        """
        Accept nobody until somebody leaves.

        With no descriptor left, asyncio tries again and again and logs each time, and uvloop turns clients away; the
        control socket and the database would be out of order with them.
        """
        if self._pause is None:
            loop = asyncio.get_running_loop()
            for server, copy, _ in self._accepting:
                # asyncio loses whom it has accepted and not told of yet if the server is closed now; not so uvloop,
                # which lets nobody take its readers away.
                if loop.remove_reader(copy):
                    self._paused.append(server)
                else:
                    server.close()
            self._accepting.clear()
            self._pause = asyncio.ensure_future(self._wait_for_room())

    def _close_paused(self) -> None:
        for server in self._paused:
            server.close()
        self._paused.clear()

    async def _wait_for_room(self) -> None:
        now = asyncio.get_running_loop().time()
        tell = now - self._told_at >= _TELL_AGAIN_S  # once for a while in which one leaves and one comes
        if tell:
            self._told_at = now
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            _log.warning("file descriptors are used up (ulimit -n is %d): accepting pauses until clients leave", limit)
        while self._front.crowded or not await self._accepts():  # noqa: ASYNC110  an event would cost every socket
            await asyncio.sleep(_LOOK_AGAIN_S)
        self._close_paused()
        if tell:
            _log.info("file descriptors are free: accepting again")
        self._pause = None

    async def _accepts(self) -> bool:
        try:
            await self._accept(self._bound)
        except OSError:  # whoever took the descriptors, they were not clients
            for server, _, _ in self._accepting:
                server.close()
            self._accepting.clear()
            return False
        return True

    async def listen_control(self, bindable: str) -> None:
        """
        Accept the command line's connections.

        Args:
            bindable: path of the Unix socket, short enough to be bound.

        Raises:
            StartFailed: the path cannot be bound.
        """
        loop = asyncio.get_running_loop()
        before = os.umask(0o177)
        try:
            Path(bindable).unlink(missing_ok=True)  # left by a process that was killed; the lock says that it is gone
            server = await loop.create_unix_server(lambda: self._protocol(control=True), bindable)
        except OSError as error:
            raise StartFailed(f"cannot open the control socket {bindable}: {error.strerror or error}") from error
        finally:
            os.umask(before)
        self._servers.append(server)

    async def stop(self, grace_s: float) -> int:
        """
        Accept nobody any more, let REST calls finish, say goodbye to clients, and cut off who stays.

        Args:
            grace_s: for all of it together.

        Returns:
            how many connections were cut off.
        """
        until = asyncio.get_running_loop().time() + grace_s
        if self._pause is not None:
            self._pause.cancel()
        self._front.on_crowded = lambda: None
        self._close_paused()
        for server, _, _ in self._accepting:
            server.close()
        for bound in self._bound:
            bound.socket.close()
        for server in self._servers:
            server.close()
        clients = asyncio.ensure_future(self._clients.end(until))
        cut = await self._front.drain(grace_s)
        return cut + await clients


def _room(sockets: int) -> float:
    """
    How many sockets of clients there may be, by the descriptors that this process may have and has not.

    Args:
        sockets: that there are.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return math.inf
    try:
        used = len(os.listdir("/dev/fd"))
    except OSError:
        used = _RESERVED_DESCRIPTORS
    return max(1, limit - (used - sockets) - min(_RESERVED_DESCRIPTORS, limit // 4))
