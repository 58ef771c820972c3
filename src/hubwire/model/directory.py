"""
What the directory of the token issuer holds: one tenant, its applications and managed identities with their
credentials, its users, the roles that are assigned, and the keys that sign tokens. Values only.

Times are whole seconds since 1970. Ids are GUIDs in lower case.
"""

import hashlib
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Struct

__all__ = [
    "MICROSOFT_HOSTS",
    "AppKind",
    "Application",
    "Assignment",
    "ClientCertificate",
    "ClientSecret",
    "FederatedCredential",
    "Tenant",
    "TokenKey",
    "User",
    "is_issuer_url",
    "secret_digest",
]

AppKind: TypeAlias = Literal["application", "userAssigned", "systemAssigned"]
"""An application has credentials of its own; a managed identity gets its tokens from this machine's endpoints."""

MICROSOFT_HOSTS: Final = frozenset({"login.microsoftonline.com", "login.windows.net", "sts.windows.net"})
"""Authorities that a program may believe it speaks to, where its requests are led here by a proxy or by name."""


_LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")


class Tenant(Struct, frozen=True):
    """
    Attributes:
        domain: a name that is as good as the id.
        subscription_id: below which all resources of this server lie.
        identity_header: secret that proves a process of this machine to the managed-identity endpoint.
        development_app: client id of the principal that is there from the first start.
        development_secret: of that principal. In the clear, because the server tells it at each start.
    """

    tenant_id: str
    domain: str
    subscription_id: str
    identity_header: str
    development_app: str
    development_secret: str

    def __repr__(self) -> str:
        return f"Tenant({self.tenant_id!r}, …)"


class ClientSecret(Struct, frozen=True):
    """
    Attributes:
        digest: SHA-256 of the secret, which is random and long; in hexadecimal.
        hint: its first three characters.
    """

    id: str
    digest: str
    hint: str
    created_at: int
    expires_at: int

    def __repr__(self) -> str:
        return f"ClientSecret({self.id!r}, …)"


class ClientCertificate(Struct, frozen=True):
    """
    Attributes:
        thumbprint: SHA-1 over the DER, hexadecimal, upper case.
        der: the certificate, base64.
    """

    thumbprint: str
    der: str
    created_at: int
    expires_at: int


class FederatedCredential(Struct, frozen=True):
    """A token of `issuer` for `audience` whose `sub` is `subject` is as good as a secret."""

    issuer: str
    subject: str
    audience: str


class Application(Struct, frozen=True):
    """
    Attributes:
        app_id: the client id.
        object_id: of its service principal.
        id_uris: App ID URIs, as resources for which tokens can be had.
        token_version: of tokens for it; None is 2 where it is asked for by its id, and 1 by an App ID URI.
        resource_id: of a managed identity; empty for an application.
        location, tags: of a user-assigned identity, as a resource.
    """

    app_id: str
    object_id: str
    name: str
    created_at: int
    kind: AppKind = "application"
    id_uris: tuple[str, ...] = ()
    token_version: Literal[1, 2] | None = None
    resource_id: str = ""
    secrets: tuple[ClientSecret, ...] = ()
    certificates: tuple[ClientCertificate, ...] = ()
    federated: tuple[FederatedCredential, ...] = ()
    location: str = "local"
    tags: dict[str, str] = {}


class Assignment(Struct, frozen=True):
    """
    A role of a principal at a scope.

    Attributes:
        tenant: whose principal it is: the tenant's id, or the issuer's URL where that has no tenants.
        principal_id: object id.
        role_id: GUID of the role definition.
        scope: such as "/subscriptions/…"; holds for all that lies below.
    """

    id: str
    tenant: str
    principal_id: str
    role_id: str
    scope: str


class User(Struct, frozen=True):
    """
    Attributes:
        name: with which they sign in (user principal name).
        password: salted scrypt hash; empty if they have none.
    """

    object_id: str
    name: str
    display_name: str
    created_at: int
    password: str = ""

    def __repr__(self) -> str:
        return f"User({self.object_id!r}, {self.name!r}, …)"


class TokenKey(Struct, frozen=True):
    """
    A key that signs tokens, or will, or did.

    Attributes:
        certificate, private_key: PEM.
        active_from: from when it signs, until the next key does. It is published long before and after.
    """

    certificate: str
    private_key: str
    created_at: int
    active_from: int

    def __repr__(self) -> str:
        return f"TokenKey(…, {self.active_from})"


def is_issuer_url(text: str) -> bool:
    """May the keys of tokens be fetched from there: over https, or from this machine."""
    try:
        url = urlsplit(text)
        host = url.hostname
    except ValueError:
        return False
    return bool(host) and (url.scheme == "https" or (url.scheme == "http" and host in _LOCAL_HOSTS))


def secret_digest(text: str) -> str:
    """What is stored of a client secret. It is random and long, so nothing slower is needed."""
    return hashlib.sha256(text.encode()).hexdigest()
