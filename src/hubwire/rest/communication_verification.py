"""
How those who are shown tokens of communication users find out what they are worth: the keys that prove them, and an
answer for each token.

The keys tell who made a token and when it ends. That it was revoked, or that its user was deleted, only the answer
tells.

Sources: OpenID Connect Discovery 1.0; RFC 7662.
"""

from typing import Final

from hubwire.communication.tokens import Tokens, Verifier, introspection
from hubwire.model.communication import CommunicationService
from hubwire.model.errors import BadRequest
from hubwire.rest.bodies import json_reply
from hubwire.rest.call import FORM_BYTES, Call
from hubwire.rest.checks import check_reachable
from hubwire.rest.operation import Handler, Operation, Reply
from hubwire.rest.ports import CommunicationDoor
from hubwire.rest.query import QueryString

__all__ = ["VerificationTable"]

_ISSUER: Final = "/communication/{service}"
_FORM: Final = "application/x-www-form-urlencoded"
_NOT_KEPT: Final = (("cache-control", "no-store"), ("pragma", "no-cache"))
_KEPT: Final = (("cache-control", "public, max-age=3600"),)


class VerificationTable:
    """
    The handlers.

    Args:
        door: who may ask what a token is worth.
    """

    def __init__(self, tokens: Tokens, verifier: Verifier, door: CommunicationDoor) -> None:
        self._tokens = tokens
        self._verifier = verifier
        self._door = door

    def operations(self) -> tuple[Operation, ...]:
        """The table."""

        def row(method: str, path: str, name: str, handler: Handler, *statuses: int) -> Operation:
            return Operation(method, _ISSUER + path, name, handler, statuses, surface="verification")

        document = "/.well-known/openid-configuration"
        return (
            row("GET", document, "GetCommunicationDiscovery", self._discovery, 200, 404),
            row("GET", "/keys", "GetCommunicationKeys", self._keys, 200, 404),
            row("POST", "/introspect", "IntrospectToken", self._introspect, 200, 400, 401, 403, 404, 429),
        )

    async def _discovery(self, call: Call) -> Reply:
        return json_reply(self._tokens.discovery(self._service(call)), _KEPT)

    async def _keys(self, call: Call) -> Reply:
        return json_reply({"keys": self._tokens.keys(self._service(call))}, _KEPT)

    async def _introspect(self, call: Call) -> Reply:
        service = self._service(call)
        check_reachable(service)
        await self._door.verifier(service, call)
        body = await call.body(FORM_BYTES)
        if (call.header("content-type") or "").partition(";")[0].strip().lower() != _FORM:
            raise BadRequest(f"The content type must be {_FORM}.", "Content-Type")
        token = QueryString(body, "form").one("token")
        if not token:
            raise BadRequest("The form has no token.", "token")
        return json_reply(introspection(await self._verifier.facts(service, token)), _NOT_KEPT)

    def _service(self, call: Call) -> CommunicationService:
        return self._door.known_as(call.names["service"])
