"""
Callers who bring a token of an issuer: the local one, or those of a real tenant that the operator trusts. Who they are
is in the token; what they may do is what is assigned to them here.

Sources: Web PubSub's page on authorization with Entra; Entra's reference of access-token claims; the audiences that the
clients of the resource manager ask for.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from hubwire.auth.callers import Principal
from hubwire.auth.issuer import ForeignKeys
from hubwire.auth.key_ring import KeyRing
from hubwire.auth.signatures import Unverified, unverified, verified
from hubwire.model.directory import Assignment
from hubwire.model.errors import Forbidden, Unauthorized
from hubwire.model.roles import BUILT_IN, Role, allows, covers, full_name, manages, role_with_id

__all__ = [
    "DATA_PLANE",
    "MANAGEMENT",
    "VAULTS",
    "Bearer",
    "Bearers",
    "LocalIssuer",
    "Proved",
    "RoleDirectory",
    "Service",
]


class Service(NamedTuple):
    """
    What a token is for, and how its roles are read.

    Attributes:
        audiences: of tokens for it, without a slash at the end, which they may have.
        allows: does a role allow an action.
        named: an action as the definitions of roles spell it.
        what: it is called so in errors.
    """

    audiences: tuple[str, ...]
    allows: Callable[[Role, str], bool]
    named: Callable[[str], str]
    what: str


DATA_PLANE: Final = Service(("https://webpubsub.azure.com",), allows, full_name, "data action")
MANAGEMENT: Final = Service(
    ("https://management.azure.com", "https://management.core.windows.net"), manages, str, "permission to perform"
)

VAULTS: Final = Service(("https://vault.azure.net",), lambda _role, _action: False, str, "permission")
"""What their callers may do is told by each vault itself."""


class Bearer(NamedTuple):
    """
    Whoever brought a token, proved.

    Attributes:
        tenant: whose principal it is.
        principal_id: object id.
    """

    tenant: str
    principal_id: str


class Proved(NamedTuple):
    """
    What a token proves.

    Attributes:
        claims: all that it says.
    """

    bearer: Bearer
    claims: Mapping[str, Any]


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
        service: that is called.
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
        service: Service = DATA_PLANE,
    ) -> None:
        self._service = service
        self._roles = roles
        self._local = local
        self._trusted = frozenset(trusted)
        self._foreign = foreign
        self._audiences = frozenset(audience.rstrip("/") for audience in (*service.audiences, *audiences))
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
        bearer = await self.bearer(token)
        if action is not None:
            self.check(bearer, action, scope)
        return Principal("entra", bearer.principal_id)

    async def bearer(self, token: str, also: Collection[str] = ()) -> Bearer:
        """
        Who sends a token.

        Args:
            also: further audiences that it may be for.

        Raises:
            Unauthorized, Unavailable: as for `caller`.
        """
        return (await self.proved(token, also)).bearer

    async def proved(self, token: str, also: Collection[str] = ()) -> Proved:
        """The same, with what else the token says."""
        return await self._proved(unverified(token), also)

    def check(self, bearer: Bearer, action: str, scope: str) -> None:
        """
        May somebody do something.

        Raises:
            Forbidden: as for `caller`.
        """
        if not self.may(bearer, action, scope):
            service = self._service
            roles = " or ".join(f"'{role.name}'" for role in BUILT_IN if service.allows(role, action))
            raise Forbidden(
                f"The principal {bearer.principal_id} does not have the {service.what} {service.named(action)} at "
                f"{scope}. It takes the role {roles}.",
                "Authorization",
            )

    def may(self, bearer: Bearer, action: str, scope: str) -> bool:
        """The same, as an answer."""
        for item in self._roles.roles_of(bearer.tenant, bearer.principal_id):
            role = role_with_id(item.role_id)
            if role is not None and self._service.allows(role, action) and covers(item.scope, scope):
                return True
        return False

    def sees(self, bearer: Bearer, scope: str) -> bool:
        """Has somebody a role of the resource manager at a scope, above or below it."""
        return any(
            (role := role_with_id(item.role_id)) is not None
            and bool(role.management)
            and (covers(item.scope, scope) or covers(scope, item.scope))
            for item in self._roles.roles_of(bearer.tenant, bearer.principal_id)
        )

    async def _proved(self, token: Unverified, also: Collection[str]) -> Proved:
        issuer, kid = token.text("iss"), token.header.get("kid")
        local = self._local if self._local is not None and issuer == self._local.url else None
        if not isinstance(kid, str) or (local is None and issuer not in self._trusted):
            raise Unauthorized("token is of an issuer that is not trusted")
        key = local.ring.public(kid) if local is not None else await self._foreign.key(issuer, kid)
        if key is None:
            raise Unauthorized("token is signed with an unknown key")
        claims = verified(token, key, ("RS256",), self._clock(), self._leeway_s)
        audience = claims.get("aud")
        if not isinstance(audience, str) or audience.rstrip("/") not in (*self._audiences, *also):
            raise Unauthorized("token is for another audience")
        # An issuer signs ID tokens for an application with its id as the audience, too: those are for its sign-in.
        if audience.rstrip("/") not in self._service.audiences and not (token.text("appid") or token.text("azp")):
            raise Unauthorized("token is no access token")
        principal_id = token.text("oid").lower() or token.text("sub")
        if not principal_id:
            raise Unauthorized("token names no principal")
        return Proved(Bearer(self._tenant(token, local), principal_id), claims)

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
