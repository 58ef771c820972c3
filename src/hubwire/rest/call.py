"""One request as handlers see it: who calls, what for, and its body, read once and within bounds."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from hubwire.model.communication import CommunicationService
from hubwire.model.http import Fields, WholeRequest
from hubwire.model.hubs import DEFAULT_RESOURCE
from hubwire.model.standstill import STOOD_STILL_S
from hubwire.rest.faults import BodyLate, BodyTooLarge
from hubwire.rest.query import QueryString

__all__ = ["API_VERSIONS", "FORM_BYTES", "Call", "Caller", "Headers", "caller_in", "caller_of"]

API_VERSIONS: Final = ("2021-10-01", "2022-11-01", "2023-07-01", "2024-01-01", "2024-12-01")
"""Stable versions of the data plane, the latest last. Nothing behaves differently between them."""

FORM_BYTES: Final = 64 * 1024
"""Of what strangers may send before they prove who they are: assertions have a few kilobytes."""

Headers = Sequence[tuple[str, str]]

_NO_QUERY: Final = QueryString(b"")
_REQUEST_ID: Final = "x-ms-client-request-id"
_PRINTABLE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?")

# So many times the allowed size is read and thrown away before an over-long body is answered. Many clients read nothing
# before they have sent everything, and would see a reset instead of the reason.
_DRAINED_LIMITS: Final = 8


class _Patience:
    """
    Raises TimeoutError inside of its context when it was not renewed for `idle_s`.

    Time in which the process stood still does not count: what came meanwhile is to be read first.
    """

    __slots__ = ("_due", "_idle_s", "_limit", "_loop", "_timer")

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def renew(self) -> None:
        self._timer.cancel()
        self._begin()

    def _begin(self) -> None:
        self._due = self._loop.time() + self._idle_s
        self._timer = self._loop.call_at(self._due, self._end)

    def _end(self) -> None:
        now = self._loop.time()
        if now - self._due > STOOD_STILL_S:
            self._begin()
        else:
            self._limit.reschedule(now)


class Caller(NamedTuple):
    """
    Attributes:
        host: authority that the caller used; with a port if it gave one; empty if it named none.
        scheme: "http" or "https", as the caller sees it.
        client_ip: None if nobody knows it, as on the control socket.
        control: came over the control socket, so it is the local operator.
        own_ip: address of ours that the connection came to; None if nobody knows it.
        resource: name of the resource that the listener, or the host, belongs to.
        sent_host: the `Host` header as it came, whatever a proxy or the target of the request says; empty without one.
    """

    host: str
    scheme: str
    client_ip: str | None
    control: bool
    own_ip: str | None = None
    resource: str = DEFAULT_RESOURCE
    sent_host: str = ""


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """
    Who sent a request, and to whom.

    Args:
        scope: of ASGI. What the edge found out (a trusted proxy's word counts there) stands in its `state` as `host`,
            `scheme`, `client_ip`, `control`, `resource` and `sent_host`; where one is missing, the request's own word
            holds.
    """
    state: Mapping[str, Any] = scope.get("state") or {}
    own_host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), None)
    host = state.get("host")
    if host is None:
        host = own_host
    if host is None and scope.get("server"):
        name, port = scope["server"]
        host = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    client = scope.get("client")
    client_ip = state.get("client_ip") or (client[0] if client else None)
    scheme = state.get("scheme") or scope.get("scheme", "http")
    own_ip = scope["server"][0] if scope.get("server") else None
    resource = state.get("resource") or DEFAULT_RESOURCE
    sent_host = state.get("sent_host") or own_host or ""
    return Caller(host or "", scheme, client_ip, state.get("control") is True, own_ip, resource, sent_host)


def caller_in(request: WholeRequest) -> Caller:
    """The same of a request that the edge has read to its end."""
    return Caller(
        request.host,
        request.scheme,
        request.client_ip or None,
        request.control,
        request.own_ip,
        request.resource,
        request.sent_host,
    )


class Call:
    """
    Args:
        raw_path, raw_query: still percent-encoded.
        raw_target: the same as one, as it came; only there an empty query is seen.
        fields: the headers.
        body: all of it, or what begins to read it.
        limit_bytes: of the body.
        idle_s: how long the next part of the body may take.

    Attributes:
        names: the named places of the path, decoded; empty until the path is found.
        query: empty until the caller is known.
        api_version: the one asked for, or the latest.
        scope: path of a request to the resource manager, decoded: at which a role has to hold.
        bearer: who sends it, for handlers that have to look at further rights; None for the operator.
        service: communication service that it is for, where it is for one.
        own_limit_bytes: of the body, where the operation has one of its own, which then counts instead of all others.
        read_bytes: of the body, so far.
    """

    __slots__ = (
        "_body",
        "_content",
        "_idle_s",
        "_limit_bytes",
        "_unread",
        "api_version",
        "bearer",
        "caller",
        "fields",
        "method",
        "names",
        "own_limit_bytes",
        "query",
        "raw_path",
        "raw_query",
        "raw_target",
        "read_bytes",
        "scope",
        "service",
    )

    def __init__(
        self,
        method: str,
        raw_path: bytes,
        raw_query: bytes,
        fields: Fields,
        caller: Caller,
        body: bytes | Callable[[], AsyncGenerator[bytes, None]],
        limit_bytes: int,
        idle_s: float,
        raw_target: bytes | None = None,
    ) -> None:
        self.method = method
        self.raw_path = raw_path
        self.raw_query = raw_query
        self.raw_target = raw_target or (raw_path + b"?" + raw_query if raw_query else raw_path)
        self.fields = fields
        self.caller = caller
        self.names: Mapping[str, str] = {}
        self.query = _NO_QUERY
        self.api_version = API_VERSIONS[-1]
        self.read_bytes = 0
        self.scope = ""
        self.bearer: Any = None
        self.service: CommunicationService | None = None
        self.own_limit_bytes: int | None = None
        self._content: bytes | None = None
        self._body = body
        self._limit_bytes = limit_bytes
        self._idle_s = idle_s
        self._unread = True

    def header(self, name: str) -> str | None:
        """The first value of a header, `name` in lower case; None when it is absent."""
        values = self.fields.get(name)
        return values[0] if values else None

    @property
    def headers(self) -> Headers:
        """All headers, names in lower case; those of one name together, in the order in which they came."""
        return [(name, value) for name, values in self.fields.items() for value in values]

    @property
    def request_id(self) -> str | None:
        """What the client calls this request; None if it is over 256 characters or not printable ASCII."""
        text = self.header(_REQUEST_ID)
        return text if text is not None and _PRINTABLE.fullmatch(text) is not None else None

    @property
    def correlation(self) -> str:
        """What an identity library calls this request, in a header or in the query; empty if it has no name for it."""
        return (self.header("client-request-id") or self.query.first("client-request-id"))[:64]

    async def body(self, limit_bytes: int | None = None) -> bytes:
        """
        The body, read at the first call. None was sent: empty.

        Args:
            limit_bytes: of this body; never more than of any. Counts at the first call, unless the operation has a
                limit of its own.

        Raises:
            BodyTooLarge: over the limit, whether a length was declared or not.
            BodyLate: the next part did not come in time.
        """
        if self._content is not None:
            return self._content
        if self.own_limit_bytes is not None:
            self._limit_bytes = self.own_limit_bytes
        elif limit_bytes is not None:
            self._limit_bytes = min(self._limit_bytes, limit_bytes)
        asks_first = (self.header("expect") or "").lower() == "100-continue"
        most = self._limit_bytes if asks_first else self._limit_bytes * _DRAINED_LIMITS
        source = self._body
        declared = len(source) if isinstance(source, bytes) else self._declared_bytes()
        if (declared or 0) > most:
            raise BodyTooLarge(self._limit_bytes, drained=False)
        if isinstance(source, bytes):
            body, self.read_bytes = source, len(source)
        else:
            try:
                body = await self._gather(source(), declared)
            except TimeoutError:
                raise BodyLate from None
        self._unread = False
        if self.read_bytes > self._limit_bytes:
            raise BodyTooLarge(self._limit_bytes, drained=True)
        self._content = body
        return body

    async def _gather(self, coming: AsyncGenerator[bytes, None], declared: int | None) -> bytes:
        """All of the body as far as it is within the limit. Raises TimeoutError when the next part is late."""
        parts: list[bytes] = []
        async with _Patience(self._idle_s) as patience, aclosing(coming) as stream:
            async for part in stream:
                self.read_bytes += len(part)
                if self.read_bytes > self._limit_bytes * _DRAINED_LIMITS:
                    raise BodyTooLarge(self._limit_bytes, drained=False)
                if self.read_bytes > self._limit_bytes:
                    parts.clear()
                else:
                    parts.append(part)
                # Most bodies come in one part of the announced length; they need no second timer.
                if self.read_bytes != declared:
                    patience.renew()
        return b"".join(parts)

    @property
    def leaves_much_unread(self) -> bool:
        """Nobody wanted the body, and the rest of it may be long. (The HTTP server throws away a short one.)"""
        if not self._unread:
            return False
        chunked = "chunked" in (self.header("transfer-encoding") or "").lower()
        return chunked or (self._declared_bytes() or 0) > self._limit_bytes

    @property
    def has_body(self) -> bool:
        """Was one announced, be it empty."""
        return bool(self._declared_bytes()) or self.header("transfer-encoding") is not None

    def _declared_bytes(self) -> int | None:
        text = self.header("content-length")
        return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else None
