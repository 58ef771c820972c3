"""
A row of a table (method, path, handler, statuses) becomes something that can be called.

There is one way for every request: the path is matched raw, the caller proves who it is, the query is read, the handler
runs, an error becomes its answer, and one record is logged. Handlers see a `Call` and return a `Reply`; only this file
knows the HTTP framework.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import unquote_to_bytes
from uuid import uuid4

from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from hubwire.model.communication import CommunicationCaller
from hubwire.model.errors import BadRequest, NotFound, Refused, Unavailable
from hubwire.model.http import WholeAnswer, WholeRequest, by_name
from hubwire.model.hubs import DEFAULT_RESOURCE
from hubwire.model.listeners import kind_of
from hubwire.model.logged_paths import logged_path, logged_root
from hubwire.model.telemetry import Telemetry
from hubwire.rest.call import API_VERSIONS, Call, caller_in, caller_of
from hubwire.rest.checks import check_reachable
from hubwire.rest.communication_faults import communication_fault, verification_fault
from hubwire.rest.communication_versions import COMMUNICATION_VERSIONS, communication_version
from hubwire.rest.cors import Cors
from hubwire.rest.faults import Fault, MethodNotAllowed, fault_of
from hubwire.rest.issuer_faults import identity_fault, issuer_fault
from hubwire.rest.management_faults import management_fault
from hubwire.rest.ports import Callers, CommunicationDoor, Managers, VaultDoor
from hubwire.rest.query import QueryString
from hubwire.rest.routing import Match, Routes, segments
from hubwire.rest.vault_faults import vault_fault

__all__ = ["Handler", "Operation", "Reply", "RestApp", "Surface"]

Surface: TypeAlias = Literal[
    "data", "operator", "probe", "issuer", "identity", "management", "vault", "communication", "verification"
]
"""
Who may call, and by which rules.

    data      whoever holds a token, or the local operator; has api-versions and CORS, and its bodies are traffic
    operator  the local operator, over the control socket; for everybody else the path does not exist
    probe     anybody, all the time: its records are for debugging
    issuer    anybody may ask, and its handlers see to who gets a token; errors have Entra's form
    identity  processes of this machine, which its handlers see to; errors have the form of Azure's machines
    management  whoever holds a token for the resource manager and has a role there, or the local operator; paths
              compare without letter case, and errors have the form of Azure Resource Manager
    vault     whoever holds a token for a Key Vault, which alone is served at its address; errors have the form of Key
              Vault, and the first one tells how to sign in
    communication  whoever holds a key of a communication service or a token for it, or the local operator; its
              api-versions are its own, errors have the form of Communication Services, and paths name users
    verification  anybody may ask, and its handlers see to who is told what; errors have OAuth's form
"""

_log: Final = logging.getLogger("hubwire.http")
_SUPPORTED: Final = ", ".join(API_VERSIONS)
_SUPPORTED_OF_COMMUNICATION: Final = ", ".join(COMMUNICATION_VERSIONS)
_OPEN_TO_PAGES: Final = ("data", "communication")
"""Surfaces that web pages of the allowed origins may call."""

_OPERATOR: Final = CommunicationCaller("operator", "operator")
_APART: Final = ("management", "vault", "communication")
"""Surfaces whose paths are looked up by themselves."""

_STRANGERS_QUERY_BYTES: Final = 8192
_TOLD: Final = (401, 403, 429, 503)
"""Statuses whose reason is in the record."""


class Reply(Struct, frozen=True):
    """
    What a handler answers.

    Attributes:
        status: None for the success that the operation's row promises.
    """

    body: bytes = b""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    status: int | None = None


Handler: TypeAlias = Callable[[Call], Awaitable[Reply]]


class Operation(Struct, frozen=True):
    """
    A row of a table.

    Attributes:
        path: template; a segment in braces is a name.
        name: as in the service's own definition without its prefix; stable, for logs and counters.
        statuses: the first is success, the others are the failures that belong to this operation. Those of its surface
            (401, 404 for a path, 405, 500 and so on) go without saying.
        anonymous: needs no token although its surface does.
        action: data action that it takes, or action of the resource manager; a caller with a token of an issuer needs a
            role that allows it.
        personal: its path names a person, and so stays out of the log. That of communication services always does.
        body_bytes: that its body may have; None for what the surface allows.
    """

    method: str
    path: str
    name: str
    handler: Handler
    statuses: tuple[int, ...]
    surface: Surface = "data"
    anonymous: bool = False
    action: str | None = None
    personal: bool = False
    body_bytes: int | None = None


# What is logged and counted for a request that reached no row.
_NO_OPERATION: Final = "Unknown"


class _Exchange:
    """What is known about one request so far, for its answer and its record."""

    __slots__ = ("call", "operation", "started", "surface")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.operation: Operation | None = None
        self.surface: Surface | None = None
        self.started = time.perf_counter()


class RestApp:
    """
    An ASGI application that serves tables of operations. It speaks HTTP only: no WebSocket, no lifespan.

    Args:
        cors_origins, max_message_bytes, idle_timeout_s: the settings of the same name.
        issuer_url: base URL of the token issuer.
        managers: who may call the resource manager; None where it is not served.
        vaults: who may call Key Vaults; None where there are none.
        communication: who may call communication services; None where there are none.
    """

    def __init__(
        self,
        operations: Iterable[Operation],
        *,
        callers: Callers,
        telemetry: Telemetry,
        cors_origins: Iterable[str],
        max_message_bytes: int,
        idle_timeout_s: float,
        issuer_url: str,
        managers: Managers | None = None,
        vaults: VaultDoor | None = None,
        communication: CommunicationDoor | None = None,
    ) -> None:
        self.operations = tuple(operations)
        rows = [row for row in self.operations if row.surface not in _APART]
        self._every = Routes((row.method, row.path, row) for row in rows)
        self._public = Routes((row.method, row.path, row) for row in rows if row.surface != "operator")
        managed = [row for row in self.operations if row.surface == "management"]
        self._managed = Routes(((row.method, row.path, row) for row in managed), fold=True)
        of_vaults = [row for row in self.operations if row.surface == "vault"]
        self._of_vaults = Routes(((row.method, row.path, row) for row in of_vaults), fold=True)
        self._vaults = vaults
        self._managed_roots = frozenset(row.path.split("/")[1].lower() for row in managed)
        of_communication = [row for row in self.operations if row.surface == "communication"]
        self._of_communication = Routes(((row.method, row.path, row) for row in of_communication), fold=True)
        self._communication_roots = frozenset(row.path.split("/")[1].lower() for row in of_communication)
        self._communication = communication
        self._managers = managers
        self._callers = callers
        self._issuer_url = issuer_url
        self._telemetry = telemetry
        self._cors = Cors(cors_origins)
        self._limit_bytes = max_message_bytes
        self._idle_s = idle_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "upgrades and lifespan are not for this application"
        request = Request(scope, receive)
        call = Call(
            request.method,
            scope["raw_path"],
            scope["query_string"],
            by_name(request.headers.items()),
            caller_of(scope),
            request.stream,
            self._limit_bytes,
            self._idle_s,
            _target(scope),
        )
        try:
            answer = await self._carried_out(call)
        except ClientDisconnect:
            return
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def answer(self, request: WholeRequest) -> WholeAnswer:
        """The same without ASGI, for a request that has come to its end."""
        target = request.target.encode("latin-1")
        path, _, query = target.partition(b"?")
        caller = caller_in(request)
        call = Call(
            request.method, path, query, request.fields, caller, request.body, self._limit_bytes, self._idle_s, target
        )
        return await self._carried_out(call)

    async def _carried_out(self, call: Call) -> WholeAnswer:
        """
        Raises:
            ClientDisconnect: the client went before its body was there.
        """
        exchange = _Exchange(call)
        failure: Exception | None = None
        try:
            reply = await self._answer(exchange)
        except ClientDisconnect:
            raise
        except Exception as error:
            failure = error
            reply = _refusal(self._fault(error, exchange), with_body=call.method != "HEAD")
        status = reply.status or _success(exchange)
        if exchange.surface == "data":
            self._telemetry.inbound_bytes += call.read_bytes
            self._telemetry.outbound_bytes += len(reply.body)
        self._report(exchange, status, failure)
        # What is said twice holds as it was said last.
        headers = dict(self._headers(exchange, reply))
        if status not in (204, 304):
            headers["content-length"] = str(len(reply.body))
        # The length of what GET would send stays.
        return WholeAnswer(status, tuple(headers.items()), b"" if call.method == "HEAD" else reply.body)

    async def _answer(self, exchange: _Exchange) -> Reply:
        """Find the row, know the caller, read the query, run the handler."""
        call = exchange.call
        match = self._match(exchange)
        exchange.surface = next(iter(match.rows.values())).surface
        operation = match.rows.get(call.method)
        if operation is None:
            return self._preflight(call, match)
        exchange.operation = operation
        call.names = match.names
        call.own_limit_bytes = operation.body_bytes
        if operation.surface == "data" and not operation.anonymous and not call.caller.control:
            path, caller = call.raw_path.decode("latin-1"), call.caller
            await self._callers.caller(
                call.header("authorization"), caller.resource, caller.host, path, operation.action, caller.client_ip
            )
        if operation.surface == "management":
            await self._admit_manager(call, operation)
        if operation.surface == "vault":
            assert self._vaults is not None, "who has such rows knows who may call them"
            call.bearer = await self._vaults.caller(call.caller, call.header("authorization"))
        if operation.surface == "communication":
            await self._admit_to_communication(call, operation)
        if operation.surface in ("issuer", "identity", "verification") and len(call.raw_query) > _STRANGERS_QUERY_BYTES:
            raise BadRequest("The query is too long.", "query")
        call.query = QueryString(call.raw_query)
        if operation.surface == "data":
            call.api_version = _api_version(call.query)
        if operation.surface == "communication":
            call.api_version = communication_version(call.query)
        return await operation.handler(call)

    async def _admit_to_communication(self, call: Call, operation: Operation) -> None:
        """Find the service, and who calls it; whoever only brings a user's token is the handler's matter."""
        assert self._communication is not None, "who has such rows knows who may call them"
        call.service = self._communication.service(call.caller.resource)
        if call.caller.control:
            call.bearer = _OPERATOR
            return
        check_reachable(call.service)
        if not operation.anonymous:
            call.bearer = await self._communication.caller(call.service, call)

    async def _admit_manager(self, call: Call, operation: Operation) -> None:
        """Whoever calls the resource manager has a role at what the path names, and the operator all of them."""
        parts = segments(call.raw_path)
        if any("/" in part for part in parts):
            raise BadRequest("A name in the path has a slash.", "Path")
        call.scope = "/" + "/".join(parts)
        if operation.anonymous or call.caller.control:
            return
        assert self._managers is not None, "who has such rows knows who may call them"
        bearer = await self._managers.caller(call.header("authorization"), call.caller.client_ip)
        if operation.action is not None:
            self._managers.check(bearer, operation.action, call.scope)
        call.bearer = bearer

    def _fault(self, error: Exception, exchange: _Exchange) -> Fault:
        """What the error is for this caller, in the form of the surface that it met."""
        match exchange.surface:
            case "management":
                return management_fault(error, self._issuer_url)
            case "issuer":
                return issuer_fault(error, exchange.call.correlation, self._issuer_url)
            case "identity":
                return identity_fault(error)
            case "vault" if self._vaults is not None:
                return vault_fault(error, self._vaults.challenge(exchange.call.caller))
            case "communication":
                return communication_fault(error)
            case "verification":
                return verification_fault(error)
            case _:
                return fault_of(error)

    def _match(self, exchange: _Exchange) -> Match[Operation]:
        call = exchange.call
        if kind_of(call.caller.resource) == "vault":
            exchange.surface = "vault"
            match = self._of_vaults.match(call.raw_path)
            if match is None:
                raise NotFound("There is no operation at this path of a vault.", "Path")
            return match
        if self._leads_to_communication(call):
            exchange.surface = "communication"
            match = self._of_communication.match(call.raw_path)
            if match is None:
                raise NotFound("There is no operation at this path of a communication service.", "Path")
            return match
        routes = self._every if call.caller.control else self._public
        match = routes.match(call.raw_path)
        if match is None and (parts := segments(call.raw_path)) and parts[0].lower() in self._managed_roots:
            exchange.surface = "management"
            match = self._managed.match(call.raw_path)
        if match is None:
            raise NotFound("There is no operation at this path.", "Path")
        return match

    def _leads_to_communication(self, call: Call) -> bool:
        """The main ports have paths of the first service beside all others, and those are enough to tell."""
        if call.caller.resource != DEFAULT_RESOURCE:
            return kind_of(call.caller.resource) == "communication"
        return _root(call.raw_path) in self._communication_roots

    def _preflight(self, call: Call, match: Match[Operation]) -> Reply:
        """The answer to a method that the path does not take: only a browser's question gets a better one than 405."""
        methods = tuple(sorted(match.rows))
        asked = call.method == "OPTIONS" and call.header("access-control-request-method") is not None
        shared = all(row.surface in _OPEN_TO_PAGES for row in match.rows.values())
        if not (asked and shared and self._cors.allows(call.header("origin"))):
            raise MethodNotAllowed(methods)
        headers = self._cors.preflight(methods, call.header("access-control-request-headers") or "")
        return Reply(headers=headers, status=204)

    def _headers(self, exchange: _Exchange, reply: Reply) -> Iterable[tuple[str, str]]:
        call = exchange.call
        yield from reply.headers
        if reply.content_type is not None:
            yield "content-type", reply.content_type
        if exchange.surface == "data":
            yield "api-supported-versions", _SUPPORTED
        if exchange.surface == "communication":
            yield "api-supported-versions", _SUPPORTED_OF_COMMUNICATION
        if exchange.surface in _OPEN_TO_PAGES:
            yield from self._cors.answer(call.header("origin"))
        if exchange.surface == "vault":
            yield "x-ms-request-id", str(uuid4())
        if exchange.surface == "management":
            own = str(uuid4())
            yield "x-ms-request-id", own
            yield "x-ms-correlation-request-id", own
            yield "cache-control", "no-cache"
        if (request_id := call.request_id) is not None:
            yield "x-ms-client-request-id", request_id
        if call.leaves_much_unread:
            yield "connection", "close"

    def _report(self, exchange: _Exchange, status: int, failure: Exception | None) -> None:
        """Count the request, and log its one record: what was asked and how it ended, no query, no header, no body."""
        operation = exchange.operation
        name = operation.name if operation is not None else _NO_OPERATION
        self._telemetry.count_request(name, status)
        level = logging.INFO if status < 400 else logging.WARNING if status < 500 else logging.ERROR
        if status == 501 or (isinstance(failure, Unavailable) and exchange.surface == "data"):
            level = logging.WARNING  # what is not there, or is stopped, is no failure of ours
        if status == 404 and operation is not None and exchange.call.method == "HEAD":
            level = logging.INFO  # "no" is one of the two answers to a question
        if status == 401 and exchange.surface == "vault" and exchange.call.header("authorization") is None:
            level = logging.INFO  # so clients ask how to sign in
        if exchange.surface == "probe":
            level = logging.DEBUG
        if not _log.isEnabledFor(level):
            return
        call = exchange.call
        record: dict[str, Any] = {
            "operationName": name,
            "routeTemplate": operation.path if operation is not None else None,
            "httpMethod": call.method,
            "url": _shown_path(exchange),
            "statusCode": status,
            "duration": round((time.perf_counter() - exchange.started) * 1000, 3),
            "callerIpAddress": call.caller.client_ip,
            "traceId": call.request_id,
        }
        told = status in _TOLD or exchange.surface in ("issuer", "identity", "verification")
        if told and isinstance(failure, Refused) and failure.message:
            # The caller is told nothing more, or cannot mend it: the operator has to know.
            record["reason"] = failure.message
        unexpected = failure if status == 500 else None
        _log.log(level, "%s %s %d", call.method, record["url"], status, extra={"record": record}, exc_info=unexpected)


def _success(exchange: _Exchange) -> int:
    assert exchange.operation is not None, "without a row an answer names its own status"
    return exchange.operation.statuses[0]


def _refusal(fault: Fault, *, with_body: bool) -> Reply:
    body = fault.body() if with_body else b""
    headers = (*fault.headers, ("x-ms-error-code", fault.code))
    return Reply(body, fault.content_type if body else None, headers, fault.status)


def _api_version(query: QueryString) -> str:
    """
    Raises:
        BadRequest: unknown, or given more than once.
    """
    version = query.one("api-version")
    if version is None:
        return API_VERSIONS[-1]
    if version not in API_VERSIONS:
        raise BadRequest(f"The api-version is not supported; the supported ones are {_SUPPORTED}.", "api-version")
    return version


def _shown_path(exchange: _Exchange) -> str:
    """The path for the log, without the persons that it names."""
    operation, raw_path = exchange.operation, exchange.call.raw_path
    if operation is None:
        # Over the network nobody has the operator's paths; whoever tries names the same persons.
        is_personal = exchange.surface == "communication" or _root(raw_path) == "control"
        return logged_root(raw_path) if is_personal else logged_path(raw_path)
    return operation.path if exchange.surface == "communication" or operation.personal else logged_path(raw_path)


def _root(raw_path: bytes) -> str:
    """The first segment, decoded, in lower case."""
    first = raw_path.lstrip(b"/").partition(b"/")[0]
    return (unquote_to_bytes(first) if b"%" in first else first).decode("latin-1").lower()


def _target(scope: Scope) -> bytes | None:
    """The request target as the edge has read it; None where nobody has."""
    target = (scope.get("state") or {}).get("target")
    return None if target is None else str(target).encode("latin-1")
