"""
Event handlers over HTTP/1.1, on kept-alive connections of one pool.

What goes out is what was asked for and no more: no redirect is followed, no cookie kept, no compression offered, and no
proxy of the environment used, since it would look up the handler's name itself and so get around `TargetGuard`.

Names, connections, TLS, the pool and the parser of responses are aiohttp's. Its session is left out: with what that
does for each request, and what of it is to be undone, a call cost 250 µs of the processor instead of 95.

Sources: RFC 9112, sections 6.2 (Content-Length also of an empty body) and 9.3.1 (connections that close while they are
used again); CloudEvents HTTP webhooks (a redirect is a failure).
"""

import asyncio
import re
import ssl
from functools import lru_cache
from typing import Final
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from msgspec import Struct
from yarl import URL

from hubwire.adapters.targets import GuardedResolver, TargetGuard
from hubwire.adapters.webhook_failures import failure
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.time_limit import TimeLimit

__all__ = ["HttpWebhook"]

_IDLE_S: Final = 15.0
"""Shorter than what networks keep in mind of a connection that nobody uses."""
_STALE_TRIES: Final = 3
"""After a handler's restart the pool may hold several connections that are none any more."""
_MOST_HEADERS: Final = 128
_KNOWN_URLS: Final = 1024
_NAMES: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]*")
_NO_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_URL: Final = re.compile(r"https?://[!-~]+", re.IGNORECASE)
_NO_LIMIT: Final = aiohttp.ClientTimeout()
"""All time is counted in `send`, a second connection included."""


class _Target(Struct, frozen=True):
    """
    A URL, taken apart.

    Attributes:
        place: host and port, for the operator.
        host: as it stands in `Host`.
        path: with its query, as it is sent.
    """

    url: URL
    place: str
    host: str
    path: str


class HttpWebhook:
    """
    A `Webhook`. There is no limit to the number of connections: whoever calls keeps one for calls, and one that all
    handlers shared would let a dead one hold up the others.

    Args:
        guard: says which addresses may be called.
        version: of this server, for `User-Agent`.
        max_response_bytes: of a response's body, after decoding.
        max_header_bytes: of one line in the head of a response.
        authorities: verifies handlers over TLS; None is what this machine trusts.
    """

    def __init__(
        self,
        guard: TargetGuard,
        *,
        version: str,
        max_response_bytes: int,
        max_header_bytes: int = 64 * 1024,
        authorities: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = guard
        self._agent = f"User-Agent: Hubwire/{version}\r\n"
        self._max_response_bytes = max_response_bytes
        self._max_header_bytes = max_header_bytes
        self._authorities = authorities
        self._connector: aiohttp.TCPConnector | None = None
        self._peer = lru_cache(_KNOWN_URLS)(self._new_peer)
        self._used: WeakSet[ResponseHandler] = WeakSet()
        self._closed = False

    async def send(self, request: OutgoingRequest, timeout_s: float) -> IncomingResponse:
        target = _target(request.url)
        place = target.place
        data = _written(request, target, self._agent)
        if self._closed:
            raise WebhookFailed(f"{place} is not called any more: this server is shutting down", "unreachable")
        # The causes are left out: their texts hold the URL.
        try:
            with TimeLimit(timeout_s):
                return await self._exchange(target, data)
        except TimeoutError:
            raise WebhookFailed(f"{place} did not answer within {timeout_s:g} s", "timeout") from None
        except (aiohttp.ClientError, HttpProcessingError, ValueError) as error:
            raise failure(error, place) from None

    async def close(self) -> None:
        """End what is under way and close all connections."""
        self._closed = True
        if self._connector is not None:
            await self._connector.close()

    async def _exchange(self, target: _Target, data: bytes) -> IncomingResponse:
        """
        One request and its response; again with what went to a connection that the handler was just closing. That is
        not a retry in the sense of the port: the handler has seen nothing, or, since nobody can know, could not have
        answered any more.
        """
        for left in reversed(range(_STALE_TRIES + 1)):
            connection = await self._open().connect(self._peer(target.url.origin()), [], _NO_LIMIT)
            protocol = connection.protocol
            assert protocol is not None, "it has just been given to us"
            try:
                reused = protocol in self._used
                try:
                    message, content = await self._ask(connection, protocol, data)
                except aiohttp.ClientConnectionError as error:
                    if not reused or not left or _has_begun(error):
                        raise
                    continue
                response = await self._read(message, content, target.place)
                if not reused:
                    self._used.add(protocol)
                if not _is_sending(connection):  # a handler may answer before it has read all
                    connection.release()
                return response
            finally:
                if _is_sending(connection):
                    protocol.abort()  # it would send on for as long as the handler does not read
                connection.close()  # unless it was released
        raise AssertionError("the last try returns or raises")

    async def _ask(
        self, connection: Connection, protocol: ResponseHandler, data: bytes
    ) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
        """
        The head of a response, and its body, which need not be there yet.

        Raises:
            ServerDisconnectedError: something was there already, such as a second answer to the request before. Taken
                for the answer to this one it would reach somebody else's client.
        """
        transport = connection.transport
        if transport is None or (protocol.exception() is None and protocol.should_close):
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(
            read_until_eof=True,
            max_line_size=self._max_header_bytes,
            max_field_size=self._max_header_bytes,
            max_headers=_MOST_HEADERS,
        )
        transport.write(data)
        while True:
            message, content = await protocol.read()
            if not 100 <= message.code <= 199 or message.code == 101:
                return message, content

    async def _read(self, message: RawResponseMessage, content: aiohttp.StreamReader, place: str) -> IncomingResponse:
        body = bytearray()
        if int(message.headers.get("Content-Length", 0)) <= self._max_response_bytes:
            while not content.at_eof():
                body += await content.readany()
                if len(body) > self._max_response_bytes:
                    break
            else:
                headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.raw_headers]
                return IncomingResponse(message.code, tuple(headers), bytes(body))
        limit = f"{self._max_response_bytes} bytes (handler_response_bytes)"
        raise WebhookFailed(f"{place} answered with more than {limit}", "too large")

    def _open(self) -> aiohttp.TCPConnector:
        if self._connector is None:
            self._connector = aiohttp.TCPConnector(
                resolver=GuardedResolver(self._guard),
                socket_factory=self._guard.open_socket,
                limit=0,
                keepalive_timeout=_IDLE_S,
            )
        return self._connector

    def _new_peer(self, origin: URL) -> aiohttp.ClientRequest:
        """A request that is never sent: it says where connections of others lead."""
        loop = asyncio.get_running_loop()
        return aiohttp.ClientRequest("GET", origin, loop=loop, ssl=self._authorities or True)


def _is_sending(connection: Connection) -> bool:
    transport = connection.transport
    return transport is not None and transport.get_write_buffer_size() > 0


def _has_begun(error: aiohttp.ClientConnectionError) -> bool:
    """Did some of the response arrive; a reset in the middle of its head cannot be told from one before it."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


@lru_cache(_KNOWN_URLS)
def _target(text: str) -> _Target:
    """
    Raises:
        WebhookFailed: it cannot be sent as it is.
    """
    try:
        # Of others the fragment would be left out, and line ends. (A question mark at the very end goes.)
        if _URL.fullmatch(text) is not None and "#" not in text:
            url = URL(text, encoded=True)
            if url.raw_host and url.port:
                host = url.host_port_subcomponent
                assert host is not None, "there is one"
                return _Target(url, f"{url.host_subcomponent}:{url.port}", host, url.raw_path_qs)
    except ValueError:
        pass
    raise WebhookFailed("the URL is none of http or https, or has a character that must be percent-encoded", "invalid")


def _written(request: OutgoingRequest, target: _Target, agent: str) -> bytes:
    """
    As it goes over the wire.

    Args:
        agent: line of a header.

    Raises:
        WebhookFailed: a header would be another one or none.
    """
    headers = request.headers
    names = [name for name, _ in headers]
    # Together, since one search costs less than one for each.
    values = "".join([value for _, value in headers])
    if (
        "" in names
        or _NAMES.fullmatch("".join(names)) is None
        or (not values.isprintable() and _NO_VALUE.search(values) is not None)
    ):
        name = next(name for name, value in headers if not name or not _is_header(name, value))
        raise WebhookFailed(f"{target.place} is not called: the header {name!a} cannot be sent", "invalid")
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    body = request.body
    length = f"Content-Length: {len(body)}\r\n" if body or request.method == "POST" else ""
    return (
        f"{request.method} {target.path} HTTP/1.1\r\nHost: {target.host}\r\n{lines}{agent}{length}\r\n".encode() + body
    )


def _is_header(name: str, value: str) -> bool:
    return _NAMES.fullmatch(name) is not None and _NO_VALUE.search(value) is None
