"""
Who calls a communication service: whoever signs with one of its access keys, or brings a token of an issuer for it.

Sources: the service's pages on authentication; tokens that the official clients ask for; its pages on Teams users and
on Entra users, for what their tokens are for.
"""

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Collection
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from hubwire.auth.bearers import Bearers, Service
from hubwire.auth.failures import Failures
from hubwire.auth.request_signatures import SCHEME, SignedRequest, matching_key
from hubwire.model.communication import CommunicationCaller, CommunicationKeyKind, CommunicationService
from hubwire.model.errors import Forbidden, Unauthorized

__all__ = [
    "CLIENTS",
    "COMMUNICATION",
    "TEAMS",
    "CommunicationCallers",
    "CommunicationDirectory",
]

_APP_ID: Final = "1fd5118e-2576-4263-8130-9503064c837a"
_CLIENTS_ID: Final = "2a04943b-b6a7-4f65-8786-2bb6131b59f6"


def _service(*audiences: str) -> Service:
    """One whose callers may do all that it does, or nothing."""
    return Service(audiences, lambda _role, _action: False, str, "permission")


COMMUNICATION: Final = _service("https://communication.azure.com", _APP_ID)
"""Tokens of those who manage users."""

TEAMS: Final = _service("https://auth.msft.communication.azure.com", _APP_ID)
"""Tokens of Teams users, which are exchanged."""

CLIENTS: Final = _service("https://communication.azure.com/clients", _CLIENTS_ID)
"""Tokens of users of Entra, which are exchanged."""


class CommunicationDirectory(Protocol):
    """Communication services as the hot path reads them: from memory, without waiting."""

    def service(self, name: str, /) -> CommunicationService:
        """
        What holds for a service now.

        Raises:
            NotFound: no such service.
        """


class CommunicationCallers:
    """
    Args:
        bearers: of `COMMUNICATION`.
        skew_s: how far the date of a signed request may be off; 0 is any date.
        tenant: of the local issuer, all of whose principals may call while there are no `principals`; None if its
            tokens are not taken.
        principals: object ids and client ids of those who may call, in lower case.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        bearers: Bearers,
        failures: Failures,
        services: CommunicationDirectory,
        skew_s: float,
        tenant: str | None = None,
        principals: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bearers = bearers
        self._failures = failures
        self._services = services
        self._skew_s = skew_s
        self._tenant = tenant
        self._principals = frozenset(principals)
        self._clock = clock

    async def caller(self, request: SignedRequest, service: str, client_ip: str | None) -> CommunicationCaller:
        """
        Args:
            service: name of the one that the request is for.
            client_ip: None if nobody knows it.

        Raises:
            Unauthorized: nobody whom we know.
            Throttled: the same, from an address that failed too often. Whoever proves themselves is never slowed down.
            Forbidden: the principal of a token who may not call this service.
            NotFound: there is no such service any more.
            Unavailable: the keys of the token's issuer cannot be had now.
        """
        return await self._proved(request, service, client_ip, passwords=False)

    async def verifier(self, request: SignedRequest, service: str, client_ip: str | None) -> CommunicationCaller:
        """
        The same for whoever asks what a token is worth. They may show an access key as the password of HTTP Basic, too,
        with the name or the id of the service for a user name: libraries for such questions sign no requests.
        """
        return await self._proved(request, service, client_ip, passwords=True)

    async def _proved(
        self, request: SignedRequest, service: str, client_ip: str | None, *, passwords: bool
    ) -> CommunicationCaller:
        found = self._services.service(service)
        values = request.headers.get("authorization", ())
        try:
            if len(values) != 1:
                raise Unauthorized("there is not one Authorization header")
            scheme, _, rest = values[0].strip().partition(" ")
            if scheme.lower() == "bearer":
                return await self._with_token(rest.strip())
            if not found.local_auth:
                raise Unauthorized("access keys of this service are switched off")
            if scheme.lower() == SCHEME:
                kind = matching_key(request, found.keys, self._clock(), self._skew_s)
            elif passwords and scheme.lower() == "basic":
                kind = _key_shown(found, rest.strip())
            else:
                raise Unauthorized("neither a signature nor a bearer token")
            return CommunicationCaller(kind, kind, found.keys.generation(kind))
        except Unauthorized:
            if values and client_ip is not None:
                now = self._clock()
                self._failures.check(client_ip, now)
                self._failures.add(client_ip, now)
            raise

    async def _with_token(self, token: str) -> CommunicationCaller:
        bearer, claims = await self._bearers.proved(token)
        names = {bearer.principal_id, *(str(claims.get(name, "")).lower() for name in ("appid", "azp"))}
        allowed = bool(names & self._principals) if self._principals else bearer.tenant == self._tenant
        if not allowed:
            raise Forbidden(
                f"The principal {bearer.principal_id} may not call communication services here. Name it, or the client "
                "id of its application, among those who may.",
                "Authorization",
            )
        return CommunicationCaller("entra", bearer.principal_id)


def _key_shown(service: CommunicationService, credentials: str) -> CommunicationKeyKind:
    """
    Which key stands in the credentials of HTTP Basic. Source: RFC 7617.

    Raises:
        Unauthorized: none does.
    """
    try:
        user, _, password = base64.b64decode(credentials, validate=True).partition(b":")
        # Names and keys are ASCII as they are; some clients percent-encode both (RFC 6749, 2.3.1).
        name = unquote_to_bytes(user).lower()
    except (binascii.Error, ValueError) as error:
        raise Unauthorized("the credentials are no base64") from error
    shown = unquote_to_bytes(password)
    kinds: tuple[CommunicationKeyKind, ...] = ("primary", "secondary")
    for kind, key in zip(kinds, (service.keys.primary, service.keys.secondary), strict=True):
        if name in (service.name.lower().encode(), service.immutable_id.encode()) and hmac.compare_digest(
            shown, key.encode()
        ):
            return kind
    raise Unauthorized("the password is no access key of this service")
