"""
Callers of the data plane who bring a token of an issuer: the local one, or those of a real tenant that the operator
trusts. Who they are is in the token; what they may do is what is assigned to them here.

Sources: Web PubSub's page on authorization with Entra; Entra's reference of access-token claims.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

from hubwire.auth.callers import Principal
from hubwire.auth.issuer import ForeignKeys
from hubwire.auth.key_ring import KeyRing
from hubwire.auth.signatures import Unverified, unverified, verified
from hubwire.model.directory import Assignment
from hubwire.model.errors import Forbidden, Unauthorized
from hubwire.model.roles import BUILT_IN, allows, covers, full_name, role_with_id

__all__ = ["AUDIENCE", "Bearers", "LocalIssuer", "RoleDirectory"]

AUDIENCE: Final = "https://webpubsub.azure.com"
"""Of tokens for the data plane, with or without a slash at its end."""


class RoleDirectory(Protocol):
    """Who may do what."""

    def roles_of(self, tenant: str, principal_id: str, /) -> tuple[Assignment, ...]:
        """What is assigned to a principal."""


class LocalIssuer(Protocol):
    """The issuer of this server."""

    @property
    def url(self) -> str:
        """The `iss` of its tokens."""

    @property
    def tenant_id(self) -> str:
        """The `tid` of its tokens."""

    @property
    def ring(self) -> KeyRing:
        """Its keys."""


class Bearers:
    """
    Args:
        local: None if its tokens are not taken.
        trusted: issuers whose tokens are taken as well, exactly as `iss` has them.
        audiences: that tokens may be for, besides the service's own.
        leeway_s: how far an issuer's clock may be off.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        roles: RoleDirectory,
        local: LocalIssuer | None,
        trusted: Sequence[str],
        foreign: ForeignKeys,
        audiences: Sequence[str],
        leeway_s: int,
        clock: Callable[[], float],
    ) -> None:
        self._roles = roles
        self._local = local
        self._trusted = frozenset(trusted)
        self._foreign = foreign
        self._audiences = frozenset(audience.rstrip("/") for audience in (AUDIENCE, *audiences))
        self._leeway_s = leeway_s
        self._clock = clock

    async def caller(self, token: str, action: str | None, scope: str) -> Principal:
        """
        Who sends a token, if they may do what they ask for.

        Args:
            action: data action, without the prefix that all have; None if whoever is known may do it.
            scope: resource that it is done to.

        Raises:
            Unauthorized: the token proves nothing here.
            Forbidden: none of the caller's roles allows it; the text names one that does.
            Unavailable: the keys of its issuer cannot be had now.
        """
        tenant, principal_id = await self._proved(unverified(token))
        if action is not None and not self._may(tenant, principal_id, action, scope):
            roles = " or ".join(f"'{role.name}'" for role in BUILT_IN if allows(role, action))
            raise Forbidden(
                f"The principal {principal_id} does not have the data action {full_name(action)} at {scope}. "
                f"It takes the role {roles}.",
                "Authorization",
            )
        return Principal("entra", principal_id)

    async def _proved(self, token: Unverified) -> tuple[str, str]:
        """Tenant and object id of a token, once it is proved."""
        issuer, kid = token.text("iss"), token.header.get("kid")
        local = self._local if self._local is not None and issuer == self._local.url else None
        if not isinstance(kid, str) or (local is None and issuer not in self._trusted):
            raise Unauthorized("token is of an issuer that is not trusted")
        key = local.ring.public(kid) if local is not None else await self._foreign.key(issuer, kid)
        if key is None:
            raise Unauthorized("token is signed with an unknown key")
        claims = verified(token, key, ("RS256",), self._clock(), self._leeway_s)
        audience = claims.get("aud")
        if not isinstance(audience, str) or audience.rstrip("/") not in self._audiences:
            raise Unauthorized("token is for another audience")
        # An issuer signs ID tokens for an application with its id as the audience, too: those are for its sign-in.
        if audience.rstrip("/") != AUDIENCE and not (token.text("appid") or token.text("azp")):
            raise Unauthorized("token is no access token")
        principal_id = token.text("oid").lower() or token.text("sub")
        if not principal_id:
            raise Unauthorized("token names no principal")
        return self._tenant(token, local), principal_id

    def _tenant(self, token: Unverified, local: LocalIssuer | None) -> str:
        """
        Whose principal it is. An issuer speaks for a tenant only if its own URL names that: no other one can pretend
        to be it.
        """
        tenant = token.text("tid").lower()
        if local is not None:
            if tenant != local.tenant_id:
                raise Unauthorized("token is of another tenant")
            return tenant
        issuer = token.text("iss")
        return tenant if tenant and tenant in urlsplit(issuer).path.lower().split("/") else issuer

    def _may(self, tenant: str, principal_id: str, action: str, scope: str) -> bool:
        for item in self._roles.roles_of(tenant, principal_id):
            role = role_with_id(item.role_id)
            if role is not None and allows(role, action) and covers(item.scope, scope):
                return True
        return False
