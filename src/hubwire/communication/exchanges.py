"""
Users of Entra and of a Teams extension, who exchange their own tokens for tokens of a communication service. They end
with the tokens that they were exchanged for.

Sources: Communication Services' pages on Entra users, and on Teams Phone extensibility; ids as the identifiers of its
official clients have them.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from hubwire.auth.bearers import Bearer, Proved
from hubwire.communication.assignments import Assignments
from hubwire.communication.user_documents import is_guid
from hubwire.communication.users import Created, Users
from hubwire.model.communication import CommunicationCaller, CommunicationService
from hubwire.model.errors import Forbidden, Unauthorized

__all__ = ["Exchanges", "UserTokens", "client_of", "expiry_of", "permissions_of"]

_ENTRA_PERMISSIONS: Final = {
    "Chat": "chat",
    "VoIP": "voip",
    "Chat.Join": "chat.join",
    "Chat.Join.Limited": "chat.join.limited",
    "VoIP.Join": "voip.join",
}
_TEAMS_PERMISSIONS: Final = {"TeamsExtension.ManageCalls": "voip"}


class UserTokens(Protocol):
    """Proves tokens of users."""

    async def proved(self, token: str, /) -> Proved:
        """
        Raises:
            Unauthorized: the token proves nothing here.
            Unavailable: the keys of its issuer cannot be had now.
        """


class Exchanges:
    """
    Args:
        entra, teams: what proves tokens of the two kinds; each is for an audience of its own.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        users: Users,
        assignments: Assignments,
        entra: UserTokens,
        teams: UserTokens,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._users = users
        self._assignments = assignments
        self._entra = entra
        self._teams = teams
        self._clock = clock

    async def entra(
        self, service: CommunicationService, token: str, on_proved: Callable[[], None] = lambda: None
    ) -> Created:
        """
        A token for a user of Entra, with the scopes that the permissions in theirs stand for.

        Args:
            on_proved: called once it is known that `token` is good, for what only such a request is to cost.

        Raises:
            Unauthorized: the token proves nothing here.
            Forbidden: the user is not assigned to the service, or the token has none of the permissions.
            Unavailable: the keys of its issuer cannot be had now.
        """
        bearer, claims = await self._user(self._entra, token)
        on_proved()
        scopes = permissions_of(claims, _ENTRA_PERMISSIONS)
        groups = claims.get("groups")
        known = [str(group).lower() for group in groups] if isinstance(groups, list) else []
        client = client_of(claims)
        may = await self._assignments.entra_of(service, bearer.tenant, bearer.principal_id, known, client)
        part = f"wf_{bearer.tenant}_{bearer.principal_id}"
        return await self._exchanged(service, bearer, claims, scopes, part, may=may)

    async def teams_extension(
        self, service: CommunicationService, token: str, on_proved: Callable[[], None] = lambda: None
    ) -> Created:
        """As `entra`, for users of Teams who answer calls of the service."""
        bearer, claims = await self._user(self._teams, token)
        on_proved()
        scopes = permissions_of(claims, _TEAMS_PERMISSIONS)
        may = await self._assignments.teams_of(service, bearer.tenant, bearer.principal_id, client_of(claims))
        part = f"{bearer.tenant}_{bearer.principal_id}"
        return await self._exchanged(service, bearer, claims, scopes, part, may=may)

    async def _user(self, tokens: UserTokens, token: str) -> Proved:
        proved = await tokens.proved(token)
        if not (is_guid(proved.bearer.tenant) and is_guid(proved.bearer.principal_id)):
            raise Unauthorized("token does not name a user and its tenant")
        if expiry_of(proved.claims) <= self._clock():
            raise Unauthorized("token has expired")
        return proved

    async def _exchanged(
        self,
        service: CommunicationService,
        bearer: Bearer,
        claims: Mapping[str, Any],
        scopes: tuple[str, ...],
        part: str,
        *,
        may: bool,
    ) -> Created:
        if not scopes:
            raise Forbidden("The token has none of the permissions that stand for scopes.", "Authorization")
        if not may:
            # It gets into the log, where nobody is named.
            raise Forbidden(
                "The user of the token is not assigned to this service for the application of the token.",
                "Authorization",
            )
        caller = CommunicationCaller("entra", bearer.principal_id)
        return await self._users.exchange(service, caller, part, scopes, expiry_of(claims))


def permissions_of(claims: Mapping[str, Any], known: Mapping[str, str]) -> tuple[str, ...]:
    """What the permissions of a user's token stand for, in the order of `known`. Tokens of applications have none."""
    said = claims.get("scp")
    permissions = said.split() if isinstance(said, str) else []
    return tuple(scope for permission, scope in known.items() if permission in permissions)


def client_of(claims: Mapping[str, Any]) -> str:
    """Client id of the application that a token is for, in lower case; empty if it names none."""
    value = claims.get("appid") or claims.get("azp")
    return value.lower() if isinstance(value, str) else ""


def expiry_of(claims: Mapping[str, Any]) -> int:
    """In whole seconds since 1970."""
    return int(claims["exp"])
