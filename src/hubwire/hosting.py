"""
Which resource a request is for, and the listeners of those that have ports of their own.

The first resource answers for every host on the main ports. Each further one has a pair of ports, stored with it, and
answers on the main ports, too, to hosts that begin with its name. So do Key Vaults and communication services.
"""

import logging
import re
import socket
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from hubwire.auth.principals import Principals
from hubwire.edge.server import Listeners, authorities, bind, connectable
from hubwire.model.errors import NotFound, StartFailed, Unavailable
from hubwire.model.hubs import DEFAULT_RESOURCE
from hubwire.model.listeners import kind_of, listener_of_host, title_of
from hubwire.resources.catalog import Catalog
from hubwire.resources.documents import StoredResource
from hubwire.resources.resource_documents import Place
from hubwire.rest.ports import Server
from hubwire.shown_certificates import ShownCertificates

__all__ = ["Hosts", "OwnPorts", "Places"]

_log = logging.getLogger("hubwire.server")

_IPV4: Final = re.compile(r"https?://[0-9.]+:")
_TRIES: Final = 1000
_SERVICE_LABEL: Final = "webpubsub"


class Hosts:
    """
    Args:
        public_endpoints: URLs under which the main ports are reached.
    """

    def __init__(self, catalog: Catalog, public_endpoints: Sequence[str]) -> None:
        self._catalog = catalog
        self._public = frozenset(urlsplit(url).hostname or "" for url in public_endpoints)

    def resource_of(self, host: str) -> str:
        """
        Name of the resource that a request to the main ports is for, in lower case; of a Key Vault or a communication
        service what its listeners are called.

        Args:
            host: authority, in lower case.
        """
        # What the operator has published is the first resource's, whatever others are called.
        if _name(host) in self._public:
            return DEFAULT_RESOURCE
        listener = listener_of_host(host)
        if listener is not None:
            return listener
        name, dot, rest = host.partition(".")
        if not dot or name == DEFAULT_RESOURCE:
            return DEFAULT_RESOURCE
        above = _name(rest)
        if above.partition(".")[0] != _SERVICE_LABEL and above not in self._public:
            return DEFAULT_RESOURCE
        return DEFAULT_RESOURCE if self._catalog.named(name) is None else name

    def asks(self, host: str) -> bool:
        """Are clients of the main HTTPS port asked for a certificate, by the host that they want."""
        return self.asks_at(self.resource_of(host.lower()))()

    def asks_some(self) -> bool:
        """Is there a resource that does."""
        return any(self._catalog.policy(resource.name).client_certificates for resource in self._catalog.resources())

    def asks_at(self, resource: str) -> Callable[[], bool]:
        """The same for the port of one resource."""

        def asks() -> bool:
            try:
                return self._catalog.policy(resource).client_certificates
            except NotFound:
                return False

        return asks


def _name(host: str) -> str:
    """Of an authority, without its port and the full stop that may end a name."""
    return host.partition(":")[0].rstrip(".")


class Places:
    """
    Where each resource is reached.

    Attributes:
        own: ports of resources that have some; None until they are opened.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.own: OwnPorts | None = None

    def __call__(self, resource: StoredResource) -> Place:
        found = None if self.own is None else self.own.place(resource)
        if found is not None:
            return found
        server = self._server
        url = urlsplit(server.https_endpoint or server.endpoint)
        port = url.port or (443 if url.scheme == "https" else 80)
        return Place(server.endpoint, url.hostname or "", port, port)


class _Own(NamedTuple):
    """
    What one resource listens on.

    Attributes:
        urls: all under which it is reached on this machine.
    """

    plain: str
    secure: str | None
    ports: tuple[int, int]
    urls: tuple[str, ...]


class OwnPorts:
    """
    Opens and closes the ports of resources.

    Args:
        hosts: addresses to listen on.
        main: the main ports, for HTTP and HTTPS; the search for free ones begins behind them. None lets the system
            choose.
        public: canonical URL of the server, if one is configured: its scheme and host are those of all resources.
        certificates: None where HTTPS is not served.
        reserved: ports that resources have, whether or not they are open.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        main: tuple[int, int] | None,
        public: str | None,
        listeners: Listeners,
        certificates: ShownCertificates | None,
        principals: Principals,
        routing: Hosts,
        reserved: Callable[[], Collection[int]],
    ) -> None:
        self._reserved = reserved
        self._hosts = hosts
        self._main = main
        self._public = None if public is None else urlsplit(public)
        self._listeners = listeners
        self._certificates = certificates
        self._principals = principals
        self._routing = routing
        self._own: dict[str, _Own] = {}

    async def open(self, name: str, ports: tuple[int, int], /) -> tuple[int, int]:
        """
        Listen for a resource; see `Ports`.

        Raises:
            Unavailable: no port can be had.
        """
        if self._listeners.is_short:
            raise Unavailable("There are no file descriptors left for the ports of another resource (ulimit -n).")
        try:
            sockets = self._bind(0, ports[0])
            try:
                secure = self._bind(1, ports[1], _port(sockets)) if self._certificates is not None else []
            except BaseException:
                _close(sockets)
                raise
        except StartFailed as error:
            raise Unavailable(f"No port can be had for the resource: {error}.") from error
        tls = None
        if self._certificates is not None:
            asks = self._routing.asks_at(name)
            tls = self._certificates.add(name, lambda _: asks(), asks)
        try:
            await self._listeners.add(name, sockets, secure, tls)
        except OSError as error:
            self._listeners.remove(name)
            if self._certificates is not None:
                self._certificates.remove(name)
            raise Unavailable(f"Nothing more can be listened on: {error.strerror or error}.") from error
        urls = [f"http://{authority}" for authority in authorities(sockets)]
        urls += [f"https://{authority}" for authority in (authorities(secure) if secure else ())]
        if kind_of(name) is None:
            self._principals.publish(name, urls)
        found = (_port(sockets), _port(secure) if secure else 0)
        self._own[name] = _Own(connectable(sockets), connectable(secure) if secure else None, found, tuple(urls))
        shown = title_of(name)
        _log.info("%s listens on %s", shown, " and ".join(_best(urls)))
        _log.debug("%s is reached by %s", shown, ", ".join(urls))
        return found

    async def close(self, name: str, /) -> None:
        """Listen for it no more."""
        if self._own.pop(name, None) is not None:
            self._listeners.remove(name)
            self._principals.publish(name, ())
            if self._certificates is not None:
                self._certificates.remove(name)

    def place(self, resource: StoredResource) -> Place | None:
        """Where a resource is reached; None for one that has no ports of its own."""
        own = self._own.get(resource.name.lower())
        if own is None:
            return None
        port = own.ports[1] or own.ports[0]
        if self._public is None:
            endpoint = f"http://{own.plain}"
        elif self._public.scheme == "https" and own.secure is not None:
            endpoint = f"https://{_bracketed(self._public.hostname or '')}:{own.ports[1]}"
        else:
            endpoint = f"http://{_bracketed(self._public.hostname or '')}:{own.ports[0]}"
        return Place(endpoint, urlsplit(endpoint).hostname or "", port, port)

    def urls(self, name: str) -> tuple[str, ...]:
        """
        All URLs under which listeners are reached; none if there are no such listeners. The best one is first: over
        HTTPS if that is served, for other machines if there is a public name, else by an address of IPv4.
        """
        own = self._own.get(name)
        if own is None:
            return ()
        public = []
        if self._public is not None:
            host = _bracketed(self._public.hostname or "")
            public = [f"http://{host}:{own.ports[0]}"] + [f"https://{host}:{port}" for port in own.ports[1:] if port]

        def place(url: str) -> tuple[bool, bool, bool]:
            return url.startswith("http:"), url not in public, _IPV4.match(url) is None

        return tuple(sorted((*public, *own.urls), key=place))

    def _bind(self, which: int, wanted: int, other: int = 0) -> list[socket.socket]:
        """The port that is wanted, or another one that is free. `other` is bound already, and listens to nobody yet."""
        if wanted:
            try:
                return bind(self._hosts, wanted)[0]
            except StartFailed as error:
                _log.warning("a resource gets another port: %s", error)
        if self._main is None:
            return bind(self._hosts, 0)[0]
        taken = {*self._reserved(), other}
        first = self._main[which] + 1
        for port in range(first, min(first + _TRIES, 65536)):
            if port not in taken:
                try:
                    return bind(self._hosts, port)[0]
                except StartFailed:
                    continue
        raise StartFailed(f"none of {_TRIES} ports from {first} on is free")


def _port(sockets: Sequence[socket.socket]) -> int:
    return int(sockets[0].getsockname()[1])


def _best(urls: Sequence[str]) -> list[str]:
    """The first URL of each scheme."""
    return list({url.partition(":")[0]: url for url in reversed(urls)}.values())[::-1]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _close(sockets: Sequence[socket.socket]) -> None:
    for bound in sockets:
        bound.close()
