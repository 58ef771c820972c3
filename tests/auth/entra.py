"""
What stands around the token issuer in its tests: keys that are made once, a directory in memory, keys of other issuers,
tokens and assertions that are signed without the code under test.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from hubwire.auth.key_ring import new_token_key
from hubwire.auth.signatures import RsaPublicKey
from hubwire.model.directory import (
    Application,
    Assignment,
    ClientCertificate,
    ClientSecret,
    Tenant,
    TokenKey,
    User,
    secret_digest,
)
from hubwire.model.errors import Unavailable

__all__ = [
    "APP_ID",
    "BASE_URL",
    "ISSUER_URL",
    "NOW",
    "OBJECT_ID",
    "SECRET",
    "TENANT",
    "TOKEN_URL",
    "VARIANTS",
    "Clock",
    "ForeignKeys",
    "InMemory",
    "Variant",
    "application",
    "assertion",
    "certificate",
    "client_certificate",
    "decoded",
    "header_of",
    "pem_of",
    "resource_id",
    "rsa_key",
    "segment",
    "signed",
    "token_key",
]

NOW = 1_800_000_000.0
TENANT = Tenant(
    "11111111-aaaa-4000-8000-000000000001",
    "hubwire.localhost",
    "22222222-aaaa-4000-8000-000000000002",
    "identity-header",
    "33333333-aaaa-4000-8000-000000000003",
    "development-secret",
)
BASE_URL = "https://localhost:8443"
ISSUER_URL = f"{BASE_URL}/{TENANT.tenant_id}/v2.0"
TOKEN_URL = f"{BASE_URL}/{TENANT.tenant_id}/oauth2/v2.0/token"
APP_ID = "44444444-aaaa-4000-8000-00000000000a"
OBJECT_ID = "55555555-aaaa-4000-8000-00000000000b"
SECRET = "hws~a-secret-that-nobody-else-has"

Variant = Literal["python", "python-async", "javascript"]
VARIANTS: tuple[Variant, ...] = ("python", "python-async", "javascript")


def resource_id(subscription: str, name: str) -> str:
    """Where a resource stands in the tree of scopes."""
    return f"/subscriptions/{subscription}/resourceGroups/hubwire/providers/Microsoft.SignalRService/webPubSub/{name}"


class Clock:
    """Stands still unless it is told to go."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


# Keys, each made once


@cache
def _rsa_key(name: str, bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def rsa_key(name: str = "application", bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same one for the same name."""
    return _rsa_key(name, bits)


def certificate(name: str = "application", bits: int = 2048) -> x509.Certificate:
    """Of the key of this name, and the same one; good from before `NOW` to long after."""
    return _certificate(name, bits)


@cache
def _certificate(name: str, bits: int) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    key = rsa_key(name, bits)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )


def pem_of(one: x509.Certificate) -> str:
    return one.public_bytes(serialization.Encoding.PEM).decode()


def _der(one: x509.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.DER)


def client_certificate(name: str = "application", expires_at: float = NOW + 1000 * 24 * 3600) -> ClientCertificate:
    """As the directory keeps it."""
    der = _der(certificate(name))
    thumbprint = hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
    return ClientCertificate(thumbprint, base64.b64encode(der).decode(), int(NOW), int(expires_at))


@cache
def _token_key(number: int) -> TokenKey:
    return new_token_key(int(NOW), int(NOW))


def token_key(number: int, active_from: float = NOW) -> TokenKey:
    """The issuer's key of this number, to sign from a time on."""
    return replace(_token_key(number), active_from=int(active_from))


# Tokens


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(
    claims: Mapping[str, object] | bytes,
    key: rsa.RSAPrivateKey | None = None,
    header: object = None,
    *,
    pss: bool = False,
    padded: bool = False,
) -> str:
    """
    A token made without the code under test, so that anything can be in it.

    Args:
        header: RS256 or PS256 without more, unless something else is given.
        padded: its segments keep their padding, and are signed with it.
    """

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode() if padded else segment(data)

    head = {"alg": "PS256" if pss else "RS256"} if header is None else header
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    to_sign = f"{text(json.dumps(head).encode())}.{text(body)}"
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if pss else padding.PKCS1v15()
    signature = (key or rsa_key()).sign(to_sign.encode(), scheme, hashes.SHA256())
    return f"{to_sign}.{text(signature)}"


def _part(token: str, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[number] + "=="))
    return found


def decoded(token: str) -> dict[str, Any]:
    """The claims, unproved."""
    return _part(token, 1)


def header_of(token: str) -> dict[str, Any]:
    return _part(token, 0)


def assertion(
    variant: Variant = "python",
    *,
    audience: object = TOKEN_URL,
    name: str = "application",
    key: rsa.RSAPrivateKey | None = None,
    header: Mapping[str, object] | None = None,
    now: float = NOW,
    lifetime_s: float = 600,
    without: str = "",
    **claims: object,
) -> str:
    """
    What an application sends to prove itself, as an official library makes it.

    Args:
        name: whose certificate the header names, and whose key signs unless there is another `key`.
        header: more of it, or other values.
        without: a claim that is left out.
        claims: more of them, or other values.
    """
    der = _der(certificate(name))
    sha1, sha256 = hashlib.sha1(der, usedforsecurity=False).digest(), hashlib.sha256(der).digest()
    body: dict[str, object] = {"aud": audience, "iss": APP_ID, "sub": APP_ID, "jti": "once", "exp": now + lifetime_s}
    match variant:
        case "python":
            head = {"typ": "JWT", "alg": "RS256", "x5t": base64.urlsafe_b64encode(sha1).decode()}
            body |= {"exp": now + lifetime_s + 0.25, "iat": now + 0.25}
        case "python-async":
            head = {"alg": "PS256", "typ": "JWT", "x5t#S256": segment(sha256)}
            body |= {"exp": int(now + lifetime_s), "nbf": int(now)}
        case "javascript":
            head = {"alg": "PS256", "typ": "JWT", "x5t#S256": segment(sha256)}
            body |= {"exp": int(now + lifetime_s), "nbf": int(now), "iat": int(now)}
    body |= claims
    body.pop(without, None)
    return signed(
        body,
        key or rsa_key(name),
        {**head, **(header or {})},
        pss=variant != "python",
        padded=variant == "python-async",
    )


# Rooms around the issuer


def application(**more: Any) -> Application:
    """One with a secret and a certificate."""
    secret = ClientSecret("secret-id", secret_digest(SECRET), SECRET[:7], int(NOW), int(NOW) + 24 * 3600)
    known: dict[str, Any] = {"secrets": (secret,), "certificates": (client_certificate(),)}
    return Application(APP_ID, OBJECT_ID, "app", int(NOW), **{**known, **more})


class InMemory:
    """A directory that is what it was made with, and whatever a test does to it."""

    def __init__(self, *apps: Application) -> None:
        self.tenant = TENANT
        self.apps = list(apps) or [application()]
        self.users: list[User] = []
        self.passwords: dict[str, str] = {}
        self.asked_for_passwords: list[str] = []
        self.keys: tuple[TokenKey, ...] = (token_key(0), token_key(1, NOW + 1000))
        self.assignments: list[Assignment] = []

    def token_keys(self) -> tuple[TokenKey, ...]:
        return self.keys

    def application(self, app_id: str, /) -> Application | None:
        return next((app for app in self.apps if app.app_id == app_id.lower()), None)

    def resource(self, uri: str, /) -> Application | None:
        bare = uri.rstrip("/")
        return self.application(bare.removeprefix("api://")) or next(
            (app for app in self.apps if bare in app.id_uris), None
        )

    def identity(self, selector: str | None, /) -> Application | None:
        for app in self.apps:
            named = app.kind == "systemAssigned" if selector is None else selector in (app.app_id, app.resource_id)
            if app.kind != "application" and named:
                return app
        return None

    def user(self, text: str, /) -> User | None:
        return next((user for user in self.users if text in (user.name, user.object_id)), None)

    async def has_password(self, user: User, password: str, /) -> bool:
        self.asked_for_passwords.append(user.name)
        return self.passwords.get(user.name) == password

    def roles_of(self, tenant: str, principal_id: str, /) -> tuple[Assignment, ...]:
        return tuple(item for item in self.assignments if (item.tenant, item.principal_id) == (tenant, principal_id))


class ForeignKeys:
    """
    Keys of other issuers, none of which is asked over a network.

    Attributes:
        asked: every issuer and key that somebody wanted to know of.
    """

    def __init__(self, keys: Mapping[tuple[str, str], RsaPublicKey] | None = None, *, down: bool = False) -> None:
        self._keys = keys or {}
        self._down = down
        self.asked: list[tuple[str, str]] = []

    async def key(self, issuer: str, kid: str, /) -> RsaPublicKey | None:
        self.asked.append((issuer, kid))
        if self._down:
            raise Unavailable(f"The keys of the issuer {issuer} cannot be fetched.")
        return self._keys.get((issuer, kid))
