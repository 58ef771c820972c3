"""
The data plane of Communication Services Identity: users of a service and their tokens.

Every change is carried out before it is answered.

Sources: the service's REST definition, api-versions 2021-03-07 to 2025-06-30; answers that the tests of its official
clients have recorded; what those clients send.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from hubwire.communication.quotas import Quotas, Quoted
from hubwire.communication.tokens import IssuedToken
from hubwire.communication.users import Created, User, Users
from hubwire.model.communication import CommunicationCaller, CommunicationService
from hubwire.model.errors import BadRequest
from hubwire.rest.bodies import json_reply
from hubwire.rest.call import FORM_BYTES, Call
from hubwire.rest.operation import Handler, Operation, Reply

__all__ = [
    "CommunicationTable",
    "counted",
    "instant",
    "read_fields",
    "row_of",
    "service_of",
    "shown_created",
    "shown_token",
    "shown_user",
    "who",
]

_IDENTITIES: Final = "/identities"
_ONE: Final = _IDENTITIES + "/{id}"
_NOT_KEPT: Final = (("cache-control", "no-store"),)
_FIELDS: Final = msgspec.json.Decoder(dict[str, Any] | None)


class CommunicationTable:
    """
    The handlers.

    Args:
        quotas: what they count is what all tables count.
    """

    def __init__(self, users: Users, quotas: Quotas) -> None:
        self._users = users
        self._quotas = quotas

    def operations(self) -> tuple[Operation, ...]:
        """The table."""
        return (
            row_of("POST", _IDENTITIES, "CommunicationIdentity_Create", self._create, 201, 400),
            row_of("GET", _ONE, "CommunicationIdentity_Get", self._get, 200),
            row_of("DELETE", _ONE, "CommunicationIdentity_Delete", self._delete, 204),
            row_of(
                "POST",
                _ONE + "/:issueAccessToken",
                "CommunicationIdentity_IssueAccessToken",
                self._issue,
                *(200, 400),
            ),
            row_of(
                "POST",
                _ONE + "/:revokeAccessTokens",
                "CommunicationIdentity_RevokeAccessTokens",
                self._revoke,
                204,
            ),
        )

    async def _create(self, call: Call) -> Reply:
        fields = await read_fields(call)
        custom_id = _text(fields, "customId", "CustomId")
        scopes = _scopes(fields, "createTokenWithScopes")
        minutes = _minutes(fields)
        counted(self._quotas, call, "createWithToken" if scopes else "create")
        created = await self._users.create(service_of(call), who(call), custom_id, scopes, minutes)
        return json_reply(shown_created(created), _NOT_KEPT)

    async def _get(self, call: Call) -> Reply:
        return json_reply(shown_user(await self._users.get(service_of(call), call.names["id"])))

    async def _delete(self, call: Call) -> Reply:
        counted(self._quotas, call, "delete")
        await self._users.delete(service_of(call), call.names["id"])
        return Reply()

    async def _issue(self, call: Call) -> Reply:
        fields = await read_fields(call)
        scopes, minutes = _scopes(fields, "scopes"), _minutes(fields)
        counted(self._quotas, call, "issue")
        issued = await self._users.issue(service_of(call), who(call), call.names["id"], scopes, minutes)
        return json_reply(shown_token(issued), _NOT_KEPT)

    async def _revoke(self, call: Call) -> Reply:
        counted(self._quotas, call, "revoke")
        await self._users.revoke(service_of(call), call.names["id"])
        return Reply()


def service_of(call: Call) -> CommunicationService:
    """The service that is called."""
    assert call.service is not None, "who is admitted is admitted to a service"
    return call.service


async def read_fields(call: Call, limit_bytes: int | None = FORM_BYTES) -> Mapping[str, Any]:
    """
    The fields of a body, which may be empty.

    Raises:
        BadRequest: it is no JSON object.
    """
    body = await call.body(limit_bytes)
    if not body.strip():
        return {}
    try:
        return _FIELDS.decode(body) or {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # Not even the decoder's words: they might quote a part of a token.
        raise BadRequest("The body must be a JSON object.", "Body") from None


def counted(quotas: Quotas, call: Call, asked: Quoted) -> None:
    """
    One more of what a service may be asked so often. The operator may ask as often as they like.

    Raises:
        Throttled: there were too many.
    """
    if not call.caller.control:
        quotas.count(service_of(call).immutable_id, asked, time.monotonic())


def shown_created(created: Created) -> dict[str, Any]:
    """A user with the token that it was given."""
    document: dict[str, Any] = {"identity": shown_user(created.user)}
    if created.token is not None:
        document["accessToken"] = shown_token(created.token)
    return document


def shown_token(token: IssuedToken) -> dict[str, Any]:
    """A token as answers have it."""
    return {"token": token.token, "expiresOn": instant(token.expires_on)}


def shown_user(user: User) -> dict[str, Any]:
    """A user as answers have it."""
    shown: dict[str, Any] = {"id": user.id}
    if user.custom_id is not None:
        shown["customId"] = user.custom_id
    if user.last_token_issued_at is not None:
        shown["lastTokenIssuedAt"] = instant(user.last_token_issued_at)
    return shown


def instant(seconds: float) -> str:
    """
    A moment in the service's own form, with seven digits of a second, of which our clock has six.

    Args:
        seconds: since 1970.
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+", "0+")


def row_of(
    method: str,
    path: str,
    name: str,
    handler: Handler,
    *statuses: int,
    anonymous: bool = False,
    body_bytes: int | None = None,
) -> Operation:
    """A row of the data plane. Callers of one that is anonymous bring a user's token."""
    return Operation(
        method,
        path,
        name,
        handler,
        statuses,
        surface="communication",
        anonymous=anonymous,
        body_bytes=body_bytes,
    )


def who(call: Call) -> CommunicationCaller:
    """Who calls."""
    known: CommunicationCaller = call.bearer
    return known


def _text(fields: Mapping[str, Any], name: str, target: str) -> str | None:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise BadRequest(f"{name} must be text.", target)


def _scopes(fields: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(scope, str) for scope in value):
        raise BadRequest(f"{name} must be a list of scopes.", "Scopes")
    return tuple(value)


def _minutes(fields: Mapping[str, Any]) -> int | None:
    value = fields.get("expiresInMinutes")
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise BadRequest("expiresInMinutes must be a whole number.", "ExpiresInMinutes")
