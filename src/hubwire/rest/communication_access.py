"""
How users who have an identity elsewhere come to tokens of a communication service: those of Teams by an application,
those of Entra and of a Teams extension by their own tokens, if they are assigned to the service.

Sources: the service's REST definition, api-versions 2022-06-01, 2025-03-02-preview and 2025-06-30; what the official
clients send.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from hubwire.communication.assignments import PATCH_BYTES, Assignments, EntraAssignment, TeamsAssignment
from hubwire.communication.exchanges import Exchanges
from hubwire.communication.quotas import Quotas
from hubwire.communication.teams import TeamsUsers
from hubwire.communication.users import Created
from hubwire.model.communication import CommunicationService
from hubwire.model.errors import BadRequest, Unauthorized
from hubwire.rest.bodies import json_reply
from hubwire.rest.call import Call
from hubwire.rest.communication import counted, read_fields, row_of, service_of, shown_created, shown_token, who
from hubwire.rest.operation import Operation, Reply
from hubwire.rest.ports import CommunicationDoor

__all__ = ["AccessTable"]

_TEAMS: Final = "/access/teamsExtension"
_TEAMS_ONE: Final = _TEAMS + "/tenants/{tenantId}/assignments/{objectId}"
_ENTRA: Final = "/access/entra"
_ENTRA_ALL: Final = _ENTRA + "/assignments"
_ENTRA_ONE: Final = _ENTRA_ALL + "/{objectId}"
_EXCHANGE: Final = "/:exchangeAccessToken"
_PAGE: Final = 100
_NOT_KEPT: Final = (("cache-control", "no-store"),)


class AccessTable:
    """
    The handlers.

    Args:
        door: under which address a service is reached.
        quotas: what they count is what all tables count.
    """

    def __init__(
        self,
        teams: TeamsUsers,
        exchanges: Exchanges,
        assignments: Assignments,
        door: CommunicationDoor,
        quotas: Quotas,
    ) -> None:
        self._teams = teams
        self._exchanges = exchanges
        self._assignments = assignments
        self._door = door
        self._quotas = quotas

    def operations(self) -> tuple[Operation, ...]:
        """The table."""

        async def of_teams(call: Call) -> Reply:
            return await self._exchange(call, self._exchanges.teams_extension)

        async def of_entra(call: Call) -> Reply:
            return await self._exchange(call, self._exchanges.entra)

        one, every = "TeamsExtensionAssignments", "EntraAssignments"
        return (
            row_of(
                "POST",
                "/teamsUser" + _EXCHANGE,
                "CommunicationIdentity_ExchangeTeamsUserAccessToken",
                self._exchange_teams_user,
                *(200, 400),
            ),
            row_of(
                "POST", _TEAMS + _EXCHANGE, "TeamsExtension_ExchangeAccessToken", of_teams, 200, 400, anonymous=True
            ),
            row_of("GET", _TEAMS_ONE, f"{one}_Get", self._get_teams, 200, 400, 404),
            row_of("PUT", _TEAMS_ONE, f"{one}_CreateOrReplace", self._put_teams, 201, 200, 400),
            row_of("DELETE", _TEAMS_ONE, f"{one}_Delete", self._delete_teams, 204, 400),
            row_of("POST", _ENTRA + _EXCHANGE, "Entra_ExchangeAccessToken", of_entra, 200, 400, anonymous=True),
            row_of("GET", _ENTRA_ALL, f"{every}_List", self._list_entra, 200, 400),
            row_of(
                "PATCH",
                _ENTRA_ALL,
                f"{every}_Patch",
                self._patch_entra,
                *(204, 400),
                body_bytes=PATCH_BYTES,
            ),
            row_of("GET", _ENTRA_ONE, f"{every}_Get", self._get_entra, 200, 400, 404),
            row_of("PUT", _ENTRA_ONE, f"{every}_CreateOrReplace", self._put_entra, 201, 200, 400),
            row_of("DELETE", _ENTRA_ONE, f"{every}_Delete", self._delete_entra, 204, 400),
        )

    # Tokens for tokens.

    async def _exchange_teams_user(self, call: Call) -> Reply:
        fields = await read_fields(call)
        given = [value if isinstance(value := fields.get(name), str) else "" for name in ("token", "appId", "userId")]
        counted(self._quotas, call, "exchange")
        token, app_id, user_id = given
        return json_reply(
            shown_token(await self._teams.exchange(service_of(call), who(call), token, app_id, user_id)), _NOT_KEPT
        )

    async def _exchange(
        self, call: Call, exchange: Callable[[CommunicationService, str, Callable[[], None]], Awaitable[Created]]
    ) -> Reply:
        scheme, _, token = (call.header("authorization") or "").strip().partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("no bearer token of a user")
        await read_fields(call)  # There are none, but the definition demands an object.
        # Strangers must not use up what the service's own users may ask.
        count = partial(counted, self._quotas, call, "exchange")
        return json_reply(shown_created(await exchange(service_of(call), token.strip(), count)), _NOT_KEPT)

    # Assignments of users of a Teams extension.

    async def _get_teams(self, call: Call) -> Reply:
        names = call.names["tenantId"], call.names["objectId"]
        return _assigned(await self._assignments.teams(service_of(call), *names))

    async def _put_teams(self, call: Call) -> Reply:
        body = await read_fields(call)
        names = call.names["tenantId"], call.names["objectId"]
        return _assigned(*await self._assignments.put_teams(service_of(call), *names, body))

    async def _delete_teams(self, call: Call) -> Reply:
        await self._assignments.delete_teams(service_of(call), call.names["tenantId"], call.names["objectId"])
        return Reply()

    # Assignments of users, groups and tenants of Entra.

    async def _list_entra(self, call: Call) -> Reply:
        service = service_of(call)
        limit = call.query.number("maxpagesize", 1, _PAGE) or _PAGE
        # One more tells whether there is another page.
        found = await self._assignments.list_entra(service, call.query.one("after"), limit + 1)
        document: dict[str, Any] = {"value": [msgspec.to_builtins(one) for one in found[:limit]]}
        if len(found) > limit:
            query = {"api-version": call.api_version, "maxpagesize": limit, "after": found[limit - 1].object_id}
            document["nextLink"] = f"{self._door.endpoint(service)}{_ENTRA_ALL}?{urlencode(query)}"
        return json_reply(document)

    async def _patch_entra(self, call: Call) -> Reply:
        changes = await read_fields(call)
        if not changes:
            raise BadRequest("The body names no assignment.", "Body")
        await self._assignments.patch_entra(service_of(call), changes)
        return Reply()

    async def _get_entra(self, call: Call) -> Reply:
        return _assigned(await self._assignments.entra(service_of(call), call.names["objectId"]))

    async def _put_entra(self, call: Call) -> Reply:
        body = await read_fields(call)
        return _assigned(*await self._assignments.put_entra(service_of(call), call.names["objectId"], body))

    async def _delete_entra(self, call: Call) -> Reply:
        await self._assignments.delete_entra(service_of(call), call.names["objectId"])
        return Reply()


def _assigned(assignment: EntraAssignment | TeamsAssignment, is_new: bool = False) -> Reply:
    """As it is now; whoever has made it is told so."""
    document = json_reply(msgspec.to_builtins(assignment))
    return Reply(document.body, document.content_type, status=201 if is_new else 200)
