"""
Requests that come through a tunnel, made to the application, and its answers as messages for the way back.

Source: the tunnel protocol as the service's open tool (awps-tunnel) speaks it; RFC 9110, section 7.6.1 (what belongs
to a connection and is not forwarded).
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from hubwire.cli.control import why_unreachable
from hubwire.upstream.tunnel_frames import MAX_MESSAGE_BYTES, HeaderLines, HttpRequest, HttpResponse, encode_message

__all__ = ["Forwarded", "Forwarder", "answer_parts"]

_TIMEOUT_S: Final = 60.0
"""The server waits no longer for what a client waits for."""
_LARGEST_ANSWER_BYTES: Final = 16 << 20
_PACKED_BYTES: Final = 32
"""More than the heads of MessagePack take, whatever the body's length."""

_NOT_FORWARDED: Final = frozenset(
    {
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect", "content-length"),
        *("host", "proxy-connection", "proxy-authenticate", "proxy-authorization"),
    }
)
_SET_BY_THE_LIBRARY: Final = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


class Forwarded(NamedTuple):
    """
    What came of a request.

    Attributes:
        fault: why the application did not answer; then the rest is an answer of our own. None if it did.
    """

    status: int
    headers: HeaderLines
    body: bytes
    fault: str | None = None


class Forwarder:
    """
    Args:
        session: one that does not decompress, and keeps no cookies.
        upstream: stands before the path and query of every request; http or https.
    """

    def __init__(self, session: aiohttp.ClientSession, upstream: URL) -> None:
        self._session = session
        self._upstream = str(upstream).rstrip("/")
        self._place = f"{upstream.scheme}://{upstream.authority}"

    async def forward(self, request: HttpRequest, body: bytes) -> Forwarded:
        """Make a request to the application. Redirects are answers, too."""
        try:
            return await self._forward(request, body)
        except TimeoutError:
            return _failed(f"{self._place} did not answer within {_TIMEOUT_S:g} seconds")
        except aiohttp.ClientConnectorError as error:
            return _failed(f"cannot reach {self._place}: {why_unreachable(error, 'http')}")
        except aiohttp.ServerDisconnectedError:
            return _failed(f"{self._place} closed the connection without an answer")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Not its own text, which may quote the URL.
            return _failed(f"the request to {self._place} failed ({type(error).__name__})")

    async def _forward(self, request: HttpRequest, body: bytes) -> Forwarded:
        asked = urlsplit(request.url)
        path = asked.path if asked.path.startswith("/") else f"/{asked.path}"
        url = f"{self._upstream}{path}" + (f"?{asked.query}" if asked.query else "")
        async with self._session.request(
            request.http_method,
            URL(url, encoded=True),
            headers=_headers(request.headers or {}),
            data=body or (b"" if request.http_method in ("POST", "PUT", "PATCH") else None),
            allow_redirects=False,
            skip_auto_headers=_SET_BY_THE_LIBRARY,
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        ) as response:
            answer = bytearray()
            async for piece in response.content.iter_any():
                answer += piece
                if len(answer) > _LARGEST_ANSWER_BYTES:
                    return _failed(f"the answer of {self._place} is larger than {_LARGEST_ANSWER_BYTES >> 20} MiB")
            return Forwarded(response.status, _lines(response.raw_headers), bytes(answer))


def answer_parts(request: HttpRequest, answer: Forwarded) -> Iterator[bytes]:
    """The messages that take an answer back, each of a size that may be sent."""

    def message(headers: HeaderLines, content: bytes, *, more: bool) -> bytes:
        return encode_message(
            HttpResponse(
                request.ack_id,
                answer.status,
                headers,
                not_completed=more,
                local_routing=request.local_routing,
                channel_name=request.channel_name,
                tracing_id=request.tracing_id,
            ),
            content,
        )

    room = MAX_MESSAGE_BYTES - len(message(answer.headers, b"", more=False)) - _PACKED_BYTES
    if room <= 0:
        yield from answer_parts(request, _failed("the headers of the answer are larger than a message may be"))
        return
    yield message(answer.headers, answer.body[:room], more=len(answer.body) > room)
    sent = room
    room = MAX_MESSAGE_BYTES - len(message({}, b"", more=False)) - _PACKED_BYTES
    while sent < len(answer.body):
        yield message({}, answer.body[sent : sent + room], more=len(answer.body) > sent + room)
        sent += room


def _failed(fault: str) -> Forwarded:
    return Forwarded(500, {"Content-Type": ["text/plain; charset=utf-8"]}, fault.encode(), fault)


def _headers(lines: HeaderLines) -> list[tuple[str, str]]:
    return [
        (name, _text(value))
        for name, values in lines.items()
        if name.lower() not in _NOT_FORWARDED
        for value in ([values] if isinstance(values, str) else values or ())
    ]


def _text(value: str) -> str:
    """A value in which each character stands for a byte, for a library that encodes it as UTF-8."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _lines(raw: Iterable[tuple[bytes, bytes]]) -> HeaderLines:
    """Headers by name, in the spelling of the first; bytes beyond ASCII stand for themselves."""
    lines: HeaderLines = {}
    known: dict[str, list[str]] = {}
    for name, value in raw:
        spelled = name.decode("latin-1")
        lower = spelled.lower()
        if lower in _NOT_FORWARDED:
            continue
        if lower not in known:
            lines[spelled] = known[lower] = []
        known[lower].append(value.decode("latin-1"))
    return lines
