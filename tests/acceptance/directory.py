"""
What a server's token issuer knows and is asked, without an official library: applications made by the command line,
certificates of clients, token requests, REST calls with the tokens, and tokens that it never issued.
"""

import base64
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from acceptance.servers import Server
from acceptance.wire import Answer, http_request, trusting

__all__ = [
    "ASSERTION",
    "SCOPE",
    "TEAMS_SCOPES",
    "WEB_PUBSUB",
    "App",
    "Key",
    "ask_token",
    "assign",
    "bearer",
    "by_hand",
    "claims_of",
    "client_pem",
    "create_app",
    "create_user",
    "minted",
    "secret_of",
    "stored_keys",
    "token_of",
    "token_of_user",
]

WEB_PUBSUB: Final = "https://webpubsub.azure.com"
SCOPE: Final = f"{WEB_PUBSUB}/.default"
TEAMS_SCOPES: Final = tuple(
    f"https://auth.msft.communication.azure.com/Teams.{what}" for what in ("ManageCalls", "ManageChats")
)
"""What a Teams user must have allowed an application that exchanges a token of theirs."""

ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_HOUR: Final = timedelta(hours=1)


class App(NamedTuple):
    """
    An application or a managed identity.

    Attributes:
        secret: empty if it has none.
        resource_id: of a managed identity.
    """

    client_id: str
    object_id: str
    secret: str
    resource_id: str


def create_app(server: Server, *options: str) -> App:
    """As the operator makes one."""
    done = server.cli("app", "create", "--json", *options)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    return App(made["clientId"], made["objectId"], made.get("clientSecret", ""), made.get("resourceId", ""))


def assign(server: Server, app: App, role: str, *options: str) -> None:
    """Give a role to an application, or with `--remove` take it away."""
    done = server.cli("app", "assign", app.client_id, "--role", role, *options)
    assert done.returncode == 0, done.stderr


def create_user(server: Server, name: str = "alice@example.com") -> str:
    """A user of the directory, as the operator makes one; its object id."""
    done = server.cli("user", "create", name, "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["objectId"])


def token_of_user(server: Server, app: App, *scopes: str, name: str = "alice@example.com") -> str:
    """A token of a user, as an application gets it by their sign-in. Only a server with `--user-tokens` has some."""
    options = [word for scope in scopes for word in ("--scope", scope)]
    done = server.cli("user", "token", name, "--app", app.client_id, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def client_pem(folder: Path) -> Path:
    """A new client's certificate in a PEM file: its private key, itself, and the one of its authority."""
    authority_key, key = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    authority = _certificate("authority", authority_key, "authority", authority_key)
    certificate = _certificate("client", key, "authority", authority_key)
    private = key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    parts = [private, *(one.public_bytes(Encoding.PEM) for one in (certificate, authority))]
    path = folder / "client.pem"
    path.write_bytes(b"".join(parts))
    return path


def _certificate(name: str, key: rsa.RSAPrivateKey, issuer: str, issuer_key: rsa.RSAPrivateKey) -> x509.Certificate:
    now = datetime.fromtimestamp(time.time(), UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _HOUR)
        .not_valid_after(now + _HOUR)
        .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def ask_token(
    server: Server, fields: Mapping[str, str], *, version: str = "/v2.0", tenant: str | None = None, source: str = ""
) -> Answer:
    """
    What the token endpoint answers to this form.

    Args:
        version: "" is the endpoint for tokens of version 1.
        source: see `http_request`.
    """
    return http_request(
        server,
        "POST",
        f"/{tenant or server.tenant_id}/oauth2{version}/token",
        body=urlencode(fields).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        secure=trusting(server.ca),
        source=source,
    )


def secret_of(server: Server, app: App | None = None, scope: str = SCOPE) -> dict[str, str]:
    """The form with which an application proves itself by its secret, the development principal unless another one."""
    return {
        "grant_type": "client_credentials",
        "client_id": server.client_id if app is None else app.client_id,
        "client_secret": server.client_secret if app is None else app.secret,
        "scope": scope,
    }


def token_of(server: Server, app: App | None = None, scope: str = SCOPE) -> str:
    """A token of an application."""
    answer = ask_token(server, secret_of(server, app, scope))
    assert answer.status == 200, answer.body
    return str(answer.json()["access_token"])


def bearer(server: Server, token: str, method: str = "POST", path: str = "chat/:send", source: str = "") -> Answer:
    """An operation of the data plane, `path` below `/api/hubs/`; the default sends a text to everybody."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
    target = f"/api/hubs/{path}?api-version=2024-12-01"
    body = b"x" if method == "POST" else None
    return http_request(server, method, target, body=body, headers=headers, source=source)


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, whoever signed it."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def by_hand(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token that no library would make."""
    parts = [json.dumps(one).encode() for one in (header, claims)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return (text + b"." + base64.urlsafe_b64encode(sign(text)).rstrip(b"=")).decode()


class Key(NamedTuple):
    """A key that signs tokens of a server, as its database has it."""

    private: rsa.RSAPrivateKey
    certificate: x509.Certificate
    stored: str

    @property
    def kid(self) -> str:
        digest = hashlib.sha1(self.certificate.public_bytes(Encoding.DER), usedforsecurity=False).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def stored_keys(server: Server) -> list[Key]:
    """By the time from which they sign."""
    with closing(sqlite3.connect(f"file:{server.data / 'hubwire.db'}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT body FROM documents WHERE kind = 'tokenKey'").fetchall()
    keys: list[Key] = []
    for document in sorted((json.loads(body) for (body,) in rows), key=lambda one: one["active_from"]):
        private = load_pem_private_key(document["private_key"].encode(), None)
        assert isinstance(private, rsa.RSAPrivateKey)
        certificate = x509.load_pem_x509_certificate(document["certificate"].encode())
        keys.append(Key(private, certificate, document["private_key"]))
    return keys


def minted(
    good: str,
    key: rsa.RSAPrivateKey,
    claims: Mapping[str, Any] | None = None,
    header: Mapping[str, Any] | None = None,
    algorithm: str = "RS256",
) -> str:
    """
    The good token, made anew.

    Args:
        claims, header: changes; what is None is left out.
    """
    changed = {**claims_of(good), **(claims or {})}
    head = {**jwt.get_unverified_header(good), "alg": algorithm, **(header or {})}
    content = {name: value for name, value in changed.items() if value is not None}
    return jwt.encode(
        content, key, algorithm, headers={name: value for name, value in head.items() if value is not None}
    )
