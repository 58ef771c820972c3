"""
Event handlers over HTTP/1.1, on kept-alive connections of one pool.

What goes out is what was asked for and no more: no redirect is followed, no cookie kept, no compression offered, and no
proxy of the environment used, since it would look up the handler's name itself and so get around `TargetGuard`.

Sources: RFC 9112, sections 6.2 (Content-Length also of an empty body) and 9.3.1 (connections that close while they are
used again); CloudEvents HTTP webhooks (a redirect is a failure).
"""

import asyncio
import io
import re
import ssl
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Final

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs
from aiohttp.connector import Connection
from yarl import URL

from hubwire.adapters.targets import GuardedResolver, TargetGuard
from hubwire.adapters.webhook_failures import failure
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed

__all__ = ["HttpWebhook"]

_IDLE_S: Final = 15.0
"""Shorter than what networks keep in mind of a connection that nobody uses."""
_STALE_TRIES: Final = 3
"""After a handler's restart the pool may hold several connections that are none any more."""
_IN_ONE_PIECE: Final = 1 << 20
"""Larger bodies are written piece by piece."""
_MOST_HEADERS: Final = 128
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NO_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_URL: Final = re.compile(r"https?://[!-~]+", re.IGNORECASE)


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
        self._agent = f"Hubwire/{version}"
        self._max_response_bytes = max_response_bytes
        self._max_header_bytes = max_header_bytes
        self._authorities = authorities
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, request: OutgoingRequest, timeout_s: float) -> IncomingResponse:
        url = _url(request.url)
        place = f"{url.host_subcomponent}:{url.port}"
        attempt = _Attempt(_headers(request.headers, self._agent, place), place)
        if self._closed:
            raise WebhookFailed(f"{place} is not called any more: this server is shutting down", "unreachable")
        # The causes are left out: their texts hold the URL.
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._open().request(
                    request.method,
                    url,
                    data=_body(request.body),
                    allow_redirects=False,
                    trace_request_ctx=attempt,
                    middlewares=(attempt,),
                ) as response,
            ):
                return await self._read(response, place)
        except TimeoutError:
            raise WebhookFailed(f"{place} did not answer within {timeout_s:g} s", "timeout") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise failure(error, place) from None

    async def close(self) -> None:
        """End what is under way and close all connections."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _read(self, response: ClientResponse, place: str) -> IncomingResponse:
        body = bytearray()
        if (response.content_length or 0) <= self._max_response_bytes:
            async for part in response.content.iter_any():
                body += part
                if len(body) > self._max_response_bytes:
                    break
            else:
                headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
                return IncomingResponse(response.status, tuple(headers), bytes(body))
        limit = f"{self._max_response_bytes} bytes (handler_response_bytes)"
        raise WebhookFailed(f"{place} answered with more than {limit}", "too large")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            reuse = aiohttp.TraceConfig()
            reuse.on_connection_reuseconn.append(_note_reuse)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=GuardedResolver(self._guard),
                    socket_factory=self._guard.open_socket,
                    ssl=self._authorities or True,
                    limit=0,
                    keepalive_timeout=_IDLE_S,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                response_class=_Response,
                # All time is counted in `send`, a second connection included.
                timeout=aiohttp.ClientTimeout(),
                skip_auto_headers=[hdrs.CONTENT_TYPE],
                trust_env=False,
                trace_configs=[reuse],
                max_line_size=self._max_header_bytes,
                max_field_size=self._max_header_bytes,
                max_headers=_MOST_HEADERS,
            )
        return self._session


class _Attempt:
    """
    One exchange, as a middleware of aiohttp: writes the head, and repeats what went to a connection that the handler
    was just closing: one that had been used before, and on which nothing came back. A handler might see such a request
    twice, as it might by the retries of who calls us; it is told to expect that.

    Attributes:
        reused: had the connection been used before.
    """

    __slots__ = ("_headers", "_place", "reused")

    def __init__(self, headers: list[tuple[str, str]], place: str) -> None:
        self._headers = headers
        self._place = place
        self.reused = False

    async def __call__(self, request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
        # Given in the usual way, names that differ in letter case only would replace one another.
        made = request.headers
        kept = [(name, made[name]) for name in (hdrs.HOST, hdrs.CONTENT_LENGTH) if name in made]
        made.clear()
        made.extend([*kept[:1], *self._headers, *kept[1:]])
        for left in reversed(range(_STALE_TRIES + 1)):
            self.reused = False
            try:
                return await send(request)
            except aiohttp.ClientConnectorError:
                raise
            except aiohttp.ClientConnectionError as error:
                # An error of its own kind also where it is given up, since aiohttp would repeat some methods.
                if not self.reused or not left or _has_begun(error):
                    raise failure(error, self._place) from None
            await request.close()
        raise AssertionError("the last try returns or raises")


class _Response(ClientResponse):
    """A response that came after its request."""

    async def start(self, connection: Connection) -> ClientResponse:
        """
        Raises:
            ServerDisconnectedError: something was there already, such as a second answer to the request before. Taken
                for the answer to this one it would reach somebody else's client.
        """
        protocol = connection.protocol
        if protocol is not None and protocol.exception() is None and protocol.should_close:
            raise aiohttp.ServerDisconnectedError
        return await super().start(connection)


async def _note_reuse(_: object, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.reused = True


def _has_begun(error: aiohttp.ClientConnectionError) -> bool:
    """Did some of the response arrive; a reset in the middle of its head cannot be told from one before it."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _url(text: str) -> URL:
    """
    Raises:
        WebhookFailed: it cannot be sent as it is.
    """
    try:
        # Of others aiohttp would leave out the fragment, and yarl line ends. (A question mark at the very end goes.)
        if _URL.fullmatch(text) is not None and "#" not in text:
            url = URL(text, encoded=True)
            if url.raw_host and url.port:
                return url
    except ValueError:
        pass
    raise WebhookFailed("the URL is none of http or https, or has a character that must be percent-encoded", "invalid")


def _headers(given: Iterable[tuple[str, str]], agent: str, place: str) -> list[tuple[str, str]]:
    """
    Raises:
        WebhookFailed: one of them would be another header or none.
    """
    headers = [*given, (hdrs.USER_AGENT, agent)]
    for name, value in headers:
        if _NAME.fullmatch(name) is None or _NO_VALUE.search(value) is not None:
            raise WebhookFailed(f"{place} is not called: the header {name!a} cannot be sent", "invalid")
    return headers


def _body(body: bytes) -> bytes | io.BytesIO | None:
    return io.BytesIO(body) if len(body) > _IN_ONE_PIECE else body or None
