"""
Users of Teams, whose tokens an application exchanges for tokens of a communication service.

Sources: Communication Services' pages on Teams identities; answers that the tests of its official clients have
recorded, for the order of the checks.
"""

import time
from collections.abc import Callable
from typing import Final

from hubwire.auth.bearers import Proved
from hubwire.communication.exchanges import UserTokens, client_of, expiry_of, permissions_of
from hubwire.communication.tokens import TEAMS_PREFIX, IssuedToken, Tokens
from hubwire.communication.user_documents import is_guid
from hubwire.model.communication import CommunicationCaller, CommunicationService
from hubwire.model.errors import BadRequest, InvalidAccessToken, Unauthorized

__all__ = ["TeamsUsers"]

_PERMISSIONS: Final = {"Teams.ManageChats": "chat", "Teams.ManageCalls": "voip"}


class TeamsUsers:
    """
    Args:
        proofs: proves tokens for Teams.
        clock: seconds since 1970.
    """

    def __init__(self, tokens: Tokens, proofs: UserTokens, clock: Callable[[], float] = time.time) -> None:
        self._tokens = tokens
        self._proofs = proofs
        self._clock = clock

    async def exchange(
        self, service: CommunicationService, caller: CommunicationCaller, token: str, app_id: str, user_id: str
    ) -> IssuedToken:
        """
        A token for a user of Teams. It ends with the one that it was exchanged for.

        Args:
            token: of Entra, for this user.
            app_id: client id of the application that `token` is for.
            user_id: object id of the user.

        Raises:
            InvalidAccessToken: the token proves nothing, or has not all of the permissions.
            BadRequest: it is another application's or user's.
            Unavailable: the keys of its issuer cannot be had now.
        """
        # In the service's order: whoever has no good token learns nothing of the rest.
        bearer, claims = await self._proved(token)
        for value, known, target in (
            (app_id, client_of(claims), "appId"),
            (user_id, bearer.principal_id, "userId"),
        ):
            if not is_guid(value.lower()):
                raise BadRequest(f"{target} must be a GUID.", target)
            if value.lower() != known:
                raise BadRequest(f"{target} is not the one of the token.", target)
        identity = f"{TEAMS_PREFIX}{bearer.principal_id}"
        scopes = tuple(_PERMISSIONS.values())
        return self._tokens.sign(service, caller, identity, scopes, 0, self._clock(), expiry_of(claims))

    async def _proved(self, token: str) -> Proved:
        try:
            proved = await self._proofs.proved(token)
        except Unauthorized as error:
            raise InvalidAccessToken(error.message) from error
        if len(permissions_of(proved.claims, _PERMISSIONS)) < len(_PERMISSIONS):
            raise InvalidAccessToken("token has not all of the permissions")
        if expiry_of(proved.claims) <= self._clock():
            raise InvalidAccessToken("token has expired")
        return proved
