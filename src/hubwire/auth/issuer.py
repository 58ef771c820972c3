"""
The local token issuer: who may have a token, for what, and what stands in it.

It speaks for one tenant. Every document that it publishes and every token that it signs names the same issuer,
whichever host or form of endpoint it was asked by: validators compare the two as texts.

Sources: Entra's pages on client credentials, certificate credentials and access-token claims; requests that the
official identity libraries send.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

from hubwire.auth.assertions import ASSERTION_TYPE, Assertions, Proof
from hubwire.auth.key_ring import KeyRing, KeySource
from hubwire.auth.refusals import TokenRefused
from hubwire.auth.signatures import RsaPublicKey, base64url, unverified, verified
from hubwire.model.directory import MICROSOFT_HOSTS, Application, Tenant, User, secret_digest
from hubwire.model.errors import NotFound, Unauthorized
from hubwire.model.identities import ManagedIdentity

__all__ = ["Granted", "Issuer", "Principals", "TokenRequest"]

APP_TOKEN_S: Final = 3599
IDENTITY_TOKEN_S: Final = 24 * 3600 - 1
"""Tokens of managed identities live as long as Azure's."""

_DEFAULT: Final = "/.default"
_GRAPH: Final = "https://graph.microsoft.com"
_SHARED_TENANTS: Final = frozenset({"common", "organizations", "consumers"})
_TENANT: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_GUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_NAMED: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[\x21\x23-\x5b\x5d-\x7e]{1,256}|[0-9A-Fa-f-]{36}")
_OPENID: Final = frozenset({"openid", "profile", "email", "offline_access"})
_FIRST_PARTY: Final = frozenset(
    {
        "https://webpubsub.azure.com",
        "https://communication.azure.com",
        "https://communication.azure.com/clients",
        "https://auth.msft.communication.azure.com",
        "https://management.azure.com",
        "https://management.core.windows.net",
        "https://vault.azure.net",
        "api://azureadtokenexchange",
        _GRAPH,
    }
)
"""Resources that every tenant knows; tokens for them are of version 1."""
_FIRST_PARTY_IDS: Final = frozenset({"1fd5118e-2576-4263-8130-9503064c837a", "2a04943b-b6a7-4f65-8786-2bb6131b59f6"})
"""Client ids of Communication Services and of its clients, which are asked for by these as well."""

Version = Literal[1, 2]


class Principals(KeySource, Protocol):
    """The directory, as far as tokens need it."""

    @property
    def tenant(self) -> Tenant:
        """The local one."""

    def application(self, app_id: str, /) -> Application | None:
        """By client id, in any case."""

    def resource(self, uri: str, /) -> Application | None:
        """The application that is asked for as a resource."""

    def identity(self, selector: str | None, /) -> Application | None:
        """A managed identity; None is the one of this machine."""

    def user(self, text: str, /) -> User | None:
        """By object id or sign-in name."""

    async def has_password(self, user: User, password: str, /) -> bool:
        """Is this the user's password."""


class ForeignKeys(Protocol):
    """Keys of other issuers."""

    async def key(self, issuer: str, kid: str, /) -> RsaPublicKey | None:
        """
        Raises:
            Unavailable: they cannot be had now.
        """


class TokenRequest(NamedTuple):
    """
    Attributes:
        tenant: as it stands in the path.
        version: of the endpoint.
        fields: of the form, each once.
        basic: client id and secret of the Authorization header.
        address: of the client.
        correlation: what the client calls this request; empty if it has no name for it.
    """

    tenant: str
    version: Version
    fields: Mapping[str, str]
    basic: tuple[str, str] | None
    address: str
    correlation: str = ""


class Granted(NamedTuple):
    """
    Attributes:
        resource: as it was asked for.
        scopes: of a user's token.
        id_token: None unless it was asked for.
        client_info: of a user, for libraries that keep accounts.
    """

    token: str
    lifetime_s: int
    issued_at: int
    resource: str
    client_id: str
    scopes: tuple[str, ...] = ()
    id_token: str | None = None
    client_info: str | None = None


class _Resource(NamedTuple):
    requested: str
    audience: str
    version: Version


class Issuer:
    """
    Args:
        base_url: under which everybody reaches the issuer, without a slash at the end.
        own_urls: further base URLs of this server; each is a resource, too.
        user_tokens: may users get tokens.
        clock: seconds since 1970.

    Attributes:
        is_vault: is something, in lower case and without a slash at its end, what tokens for a Key Vault here are for.
    """

    def __init__(
        self,
        directory: Principals,
        base_url: str,
        own_urls: Sequence[str],
        foreign: ForeignKeys,
        *,
        user_tokens: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.base_url = base_url
        self.user_tokens = user_tokens
        self.ring = KeyRing(directory)
        self._directory = directory
        self._foreign = foreign
        self._own = frozenset(url.rstrip("/").lower() for url in (base_url, *own_urls))
        self._authorities = frozenset(urlsplit(url).netloc for url in self._own if not urlsplit(url).path)
        self._authorities |= MICROSOFT_HOSTS
        self._assertions = Assertions(self._is_token_endpoint)
        self._clock = clock
        self.is_vault: Callable[[str], bool] = lambda _resource: False

    @property
    def tenant_id(self) -> str:
        """Of the local tenant."""
        return self._directory.tenant.tenant_id

    @property
    def url(self) -> str:
        """The `iss` of every token."""
        return f"{self.base_url}/{self.tenant_id}/v2.0"

    def is_tenant(self, text: str, *, shared: bool = True) -> bool:
        """
        Does this name the local tenant.

        Args:
            shared: the names that stand for any tenant count as well.
        """
        name = text.lower()
        tenant = self._directory.tenant
        return name in (tenant.tenant_id, tenant.domain) or (shared and name in _SHARED_TENANTS)

    def check_tenant(self, text: str, error: str | None = None) -> None:
        """
        Raises:
            TokenRefused: there is no such tenant.
        """
        if not self.is_tenant(text):
            named = text if _TENANT.fullmatch(text) else "in the path"
            raise TokenRefused(
                90002,
                f"Tenant '{named}' not found. Check that you have the correct tenant id and that you ask the right "
                f"authority; the tenant of this one is '{self.tenant_id}'.",
                error=error,
            )

    async def grant(self, request: TokenRequest) -> Granted:
        """
        A token, for whoever proves that it is theirs to have.

        Raises:
            TokenRefused: saying why not.
        """
        self.check_tenant(request.tenant)
        grants: dict[str, Callable[[TokenRequest], Awaitable[Granted]]] = {"client_credentials": self._to_application}
        if self.user_tokens:
            grants["password"] = self._to_user
        name = _field(request, "grant_type")
        grant = grants.get(name)
        if grant is None:
            hint = "; the server's setting user_tokens turns it on" if name == "password" else ""
            raise TokenRefused(70003, f"The app requested an unsupported grant type{hint}.")
        return await grant(request)

    def to_identity(self, resource: str, selector: str | None) -> Granted:
        """
        A token for a managed identity. That this machine asks is for the caller to see to.

        Args:
            resource: App ID URI or client id.
            selector: client id, object id or resource id; None is the machine's own identity.

        Raises:
            NotFound: no such identity.
            TokenRefused: no such resource.
        """
        app = self._directory.identity(selector)
        if app is None:
            raise NotFound("Identity not found")
        found = self._resource(resource)
        more = {"xms_mirid": app.resource_id}
        return self._application_token(app.app_id, app.object_id, found, "2", IDENTITY_TOKEN_S, more)

    def to_resource(self, identity: ManagedIdentity, audience: str) -> Granted:
        """
        A token for the managed identity of a resource of ours, which calls somebody with it.

        Args:
            audience: as it was configured. Where it is no application of the directory, the token is for exactly this:
                of version 2 for a GUID, else of version 1.
        """
        more = {"xms_mirid": identity.identity_id}
        if identity.kind == "UserAssigned":
            more["xms_az_rid"] = identity.resource_id
        found = self._known_resource(audience)
        if found is None:
            found = _Resource(audience, audience, 2 if _GUID.fullmatch(audience) else 1)
        return self._application_token(identity.client_id, identity.principal_id, found, "2", IDENTITY_TOKEN_S, more)

    def user_token(self, user: User, app: Application, scope: str) -> Granted:
        """
        A user's token, for the operator, who may mint what they like.

        Args:
            scope: as a program would ask for it.

        Raises:
            TokenRefused: a scope that cannot be.
        """
        resource, scopes = self._delegated(scope)
        return self._user_token(user, app, resource, scopes, "0")

    # Grants.

    async def _to_application(self, request: TokenRequest) -> Granted:
        app, strength = await self._authenticated(request)
        # Proving takes time, in which somebody may have deleted it.
        app = self._application(app.app_id)
        more = _capabilities(request.fields.get("claims", ""))
        asked = self._asked_for(request)
        return self._application_token(app.app_id, app.object_id, asked, strength, APP_TOKEN_S, more)

    async def _to_user(self, request: TokenRequest) -> Granted:
        if any(name in request.fields for name in ("client_secret", "client_assertion")) or request.basic:
            app, strength = await self._authenticated(request)
        else:
            app, strength = self._application(_field(request, "client_id")), "0"
        name, password = _field(request, "username"), _field(request, "password")
        if request.version == 2:
            scope = _field(request, "scope")
        else:
            scope = f"{_field(request, 'resource').rstrip('/')}{_DEFAULT}"
        resource, scopes = self._delegated(scope)
        user = self._directory.user(name)
        # Without the user there is the same work to do, so that the time tells nothing.
        known = user or User("", "", "", 0, f"{'0' * 32}:")
        if not await self._directory.has_password(known, password) or user is None:
            raise TokenRefused(50126, "Error validating credentials due to invalid username or password.")
        if self._directory.user(user.object_id) is None:
            raise TokenRefused(50126, "Error validating credentials due to invalid username or password.")
        granted = self._user_token(user, self._application(app.app_id), resource, scopes, strength)
        if "openid" in scope.split():
            granted = granted._replace(id_token=self._id_token(user, app, granted.issued_at))
        if request.fields.get("client_info") == "1":
            info = f'{{"uid":"{user.object_id}","utid":"{self.tenant_id}"}}'
            granted = granted._replace(client_info=base64url(info.encode()))
        return granted

    # Who asks.

    async def _authenticated(self, request: TokenRequest) -> tuple[Application, str]:
        """The application that proved itself, and how strongly: "1" by a secret, "2" by a key."""
        fields = request.fields
        if request.basic is not None:
            client_id, secret = request.basic
            if "client_secret" in fields or "client_assertion" in fields:
                raise TokenRefused(90013, "The client proves itself in two ways at once.")
            if fields.get("client_id", client_id).lower() != client_id.lower():
                raise TokenRefused(90013, "The Authorization header names another client id.")
            return self._with_secret(self._application(client_id), secret), "1"
        app = self._application(_field(request, "client_id"))
        if "client_secret" in fields and "client_assertion" in fields:
            raise TokenRefused(90013, "The client proves itself in two ways at once.")
        if "client_secret" in fields:
            return self._with_secret(app, fields["client_secret"]), "1"
        if not fields.get("client_assertion"):
            raise TokenRefused(
                7000218,
                "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
            )
        if _field(request, "client_assertion_type") != ASSERTION_TYPE:
            raise TokenRefused(90013, f"The parameter 'client_assertion_type' must be '{ASSERTION_TYPE}'.")
        await self._check_assertion(app, fields["client_assertion"], request)
        return app, "2"

    def _application(self, client_id: str) -> Application:
        app = self._directory.application(client_id)
        if app is None or app.kind != "application":
            shown = client_id if re.fullmatch(r"[A-Za-z0-9-]{1,64}", client_id) else "given"
            raise TokenRefused(
                700016,
                f"Application with identifier '{shown}' was not found in the directory '{self.tenant_id}'.",
            )
        return app

    def _with_secret(self, app: Application, secret: str) -> Application:
        digest = secret_digest(secret)
        # Each is compared, so that the time tells nothing of which it was.
        found = [known for known in app.secrets if hmac.compare_digest(known.digest, digest)]
        if not found:
            raise TokenRefused(
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{app.app_id}'.",
            )
        if found[0].expires_at <= self._clock():
            raise TokenRefused(7000222, f"The provided client secret keys for app '{app.app_id}' are expired.")
        return app

    async def _check_assertion(self, app: Application, assertion: str, request: TokenRequest) -> None:
        proof = Proof(request.address, f"{self._wanted(request)}\n{request.correlation}")
        try:
            token = unverified(assertion)
        except Unauthorized as error:
            raise TokenRefused(700027, f"Client assertion failed signature validation: {error.message}.") from error
        federated = [known for known in app.federated if known.issuer == token.text("iss")]
        if not federated:
            self._assertions.verify(app, assertion, proof, self._clock())
            return
        audience = token.claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if not any(known.subject == token.text("sub") and known.audience in audiences for known in federated):
            raise TokenRefused(700213, "No matching federated identity record found for presented assertion subject.")
        kid = token.header.get("kid")
        key = await self._key(token.text("iss"), kid) if isinstance(kid, str) else None
        try:
            if key is None:
                raise Unauthorized("token is signed with an unknown key")
            verified(token, key, ("RS256",), self._clock(), 300)
        except Unauthorized as error:
            raise TokenRefused(700027, f"Client assertion failed signature validation: {error.message}.") from error

    def _wanted(self, request: TokenRequest) -> str:
        """What a request is for, however it is spelled."""
        try:
            return self._asked_for(request).audience.rstrip("/")
        except TokenRefused:
            return f"{request.fields.get('scope', '')}\n{request.fields.get('resource', '')}"

    async def _key(self, issuer: str, kid: str) -> RsaPublicKey | None:
        """Of an issuer whose tokens stand for an application; it may be this one, for a managed identity's."""
        return self.ring.public(kid) if issuer == self.url else await self._foreign.key(issuer, kid)

    def _is_token_endpoint(self, audience: str) -> bool:
        """
        Where an assertion may be for: a token endpoint of the tenant, under a name of ours or of Entra itself; or the
        issuer, as RFC 7523 has it.
        """
        try:
            url = urlsplit(audience)
        except ValueError:
            return False
        base = next((base for base in self._own if audience.lower().startswith(f"{base}/")), None)
        if base is None and (url.scheme != "https" or url.netloc.lower() not in self._authorities):
            return False
        path = url.path if base is None else audience[len(base) :]
        parts = [part for part in path.split("/") if part]
        endpoints: Collection[list[str]] = (["oauth2", "v2.0", "token"], ["oauth2", "token"], ["v2.0"], [])
        return bool(parts) and self.is_tenant(parts[0]) and parts[1:] in endpoints

    # What for.

    def _asked_for(self, request: TokenRequest) -> _Resource:
        """The one resource of an application's request."""
        if request.version == 1:
            return self._resource(_field(request, "resource"))
        scope = _field(request, "scope")
        scopes = scope.split(" ")
        wanted = [part for part in scopes if part and part.lower() not in _OPENID]
        if not wanted or not all(map(_SCOPE.fullmatch, wanted)):
            raise TokenRefused(70011, "The provided value for the input parameter 'scope' is not valid.")
        if not all(part == ".default" or part.endswith(_DEFAULT) for part in wanted):
            raise TokenRefused(
                1002012,
                "The provided value for scope is not valid. Client credential flows must have a scope value with "
                "/.default suffixed to the resource identifier (application ID URI).",
            )
        if len(wanted) > 1:
            raise TokenRefused(
                28000,
                "Provided value for the input parameter scope is not valid because it contains more than one resource.",
            )
        return self._resource(wanted[0].removesuffix(".default").removesuffix("/"))

    def _delegated(self, scope: str) -> tuple[_Resource, tuple[str, ...]]:
        """The one resource of a user's request, and the scopes at it."""
        wanted = [part for part in scope.split(" ") if part and part not in _OPENID]
        if not all(map(_SCOPE.fullmatch, wanted)):
            raise TokenRefused(70011, "The provided value for the input parameter 'scope' is not valid.")
        pairs = [part.rpartition("/")[::2] if "/" in part else (_GRAPH, part) for part in wanted]
        resources = {resource.rstrip("/") for resource, _ in pairs}
        if len(resources) > 1:
            raise TokenRefused(
                28000,
                "Provided value for the input parameter scope is not valid because it contains more than one resource.",
            )
        names = tuple("user_impersonation" if name == ".default" else name for _, name in pairs)
        if not all(names):
            raise TokenRefused(70011, "The provided value for the input parameter 'scope' is not valid.")
        return self._resource(pairs[0][0] if pairs else _GRAPH), names or ("User.Read",)

    def _resource(self, requested: str) -> _Resource:
        """
        Raises:
            TokenRefused: nobody knows it.
        """
        requested = requested or _GRAPH
        found = self._known_resource(requested)
        if found is None:
            # Whatever is no name of a resource may be a secret in the wrong place, and answers are logged.
            shown = requested if _NAMED.fullmatch(requested) else "asked for"
            raise TokenRefused(
                500011,
                f"The resource principal named {shown} was not found in the tenant named {self.tenant_id}. "
                "Create an application with this App ID URI.",
            )
        return found

    def _known_resource(self, requested: str) -> _Resource | None:
        bare = requested.rstrip("/")
        if bare.lower() in _FIRST_PARTY or bare.lower() in self._own or bare.lower() in _FIRST_PARTY_IDS:
            return _Resource(requested, requested, 1)
        if self.is_vault(bare.lower()):
            return _Resource(requested, requested, 1)
        app = self._directory.resource(requested)
        if app is None:
            return None
        by_id = bare.lower() == app.app_id
        version: Version = app.token_version or (2 if by_id else 1)
        return _Resource(requested, app.app_id if version == 2 or by_id else requested, version)

    # What stands in it.

    def _application_token(
        self,
        client_id: str,
        object_id: str,
        resource: _Resource,
        strength: str,
        lifetime_s: int,
        more: Mapping[str, object],
    ) -> Granted:
        now = int(self._clock())
        claims = self._common(client_id, resource, strength, now, lifetime_s)
        claims |= {"oid": object_id, "sub": object_id, "idtyp": "app"}
        return self._signed({**claims, **more}, resource, client_id, now, lifetime_s)

    def _user_token(
        self, user: User, app: Application, resource: _Resource, scopes: tuple[str, ...], strength: str
    ) -> Granted:
        now = int(self._clock())
        claims = self._common(app.app_id, resource, strength, now, APP_TOKEN_S)
        named = {"upn": user.name, "unique_name": user.name, "amr": ["pwd"], "acr": "1"}
        if resource.version == 2:
            named = {"preferred_username": user.name}
        subject = f"{user.object_id} {resource.audience}".encode()
        claims |= {"oid": user.object_id, "sub": _opaque(subject), "name": user.display_name, "scp": " ".join(scopes)}
        granted = self._signed(claims | named, resource, app.app_id, now, APP_TOKEN_S)
        return granted._replace(scopes=tuple(f"{resource.requested.rstrip('/')}/{name}" for name in scopes))

    def _common(self, client_id: str, resource: _Resource, strength: str, now: int, lifetime_s: int) -> dict[str, Any]:
        claims: dict[str, Any] = {
            "aud": resource.audience,
            "iss": self.url,
            "iat": now,
            "nbf": now,
            "exp": now + lifetime_s,
            "aio": _opaque(secrets.token_bytes(24)),
            "rh": f"0.{_opaque(client_id.encode())}.",
            "tid": self.tenant_id,
            "uti": _opaque(secrets.token_bytes(16)),
            "ver": f"{resource.version}.0",
        }
        if resource.version == 1:
            return claims | {"appid": client_id, "appidacr": strength, "idp": self.url}
        return claims | {"azp": client_id, "azpacr": strength}

    def _id_token(self, user: User, app: Application, now: int) -> str:
        claims = {
            "aud": app.app_id,
            "iss": self.url,
            "iat": now,
            "nbf": now,
            "exp": now + APP_TOKEN_S,
            "name": user.display_name,
            "oid": user.object_id,
            "preferred_username": user.name,
            "sub": _opaque(f"{user.object_id} {app.app_id}".encode()),
            "tid": self.tenant_id,
            "uti": str(uuid4()),
            "ver": "2.0",
        }
        return self.ring.sign(claims, now, thumbprint=False)

    def _signed(
        self, claims: Mapping[str, Any], resource: _Resource, client_id: str, now: int, lifetime_s: int
    ) -> Granted:
        token = self.ring.sign(claims, now, thumbprint=resource.version == 1)
        return Granted(token, lifetime_s, now, resource.requested, client_id)


def _field(request: TokenRequest, name: str) -> str:
    value = request.fields.get(name)
    if not value:
        raise TokenRefused(900144, f"The request body must contain the following parameter: '{name}'.")
    return value


def _capabilities(claims: str) -> Mapping[str, object]:
    """
    What the client says that it can do: that it understands a challenge for other claims. Resources are told so;
    anything else of the request for claims is for the interactive grants.
    """
    return {"xms_cc": ["CP1"]} if re.search(r'"xms_cc"\s*:\s*\{[^{}]*"cp1"', claims, re.IGNORECASE) else {}


def _opaque(data: bytes) -> str:
    """Text that means nothing to others."""
    return base64url(hashlib.sha256(data).digest()[:22])
