"""
The keys of the token issuer: made, published, and chosen to sign.

A key is published as a self-signed certificate of it, and called by the certificate's thumbprint, as Entra does. The
private part leaves this module only to be stored.

Sources: RFC 7517; Entra's reference of access-token claims.
"""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from hubwire.auth.signatures import RsaPublicKey, base64url, sign_rs256
from hubwire.model.directory import TokenKey
from hubwire.model.errors import StartFailed

__all__ = ["KeyRing", "KeySource", "new_token_key"]

_BITS: Final = 2048
_LIFETIME: Final = timedelta(days=5 * 365)
_BACKDATED: Final = timedelta(hours=1)


class KeySource(Protocol):
    """Where the keys are kept."""

    def token_keys(self) -> tuple[TokenKey, ...]:
        """All that are published, by the time from which they sign."""


class _Key(NamedTuple):
    kid: str
    private: rsa.RSAPrivateKey
    public: RsaPublicKey
    certificate: str


def new_token_key(created_at: int, active_from: int) -> TokenKey:
    """A new key with its certificate. Takes a tenth of a second."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Hubwire token signing")])
    begin = datetime.fromtimestamp(min(created_at, active_from), UTC) - _BACKDATED
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(datetime.fromtimestamp(max(created_at, active_from), UTC) + _LIFETIME)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return TokenKey(
        certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode(), created_at, active_from
    )


class KeyRing:
    """The keys of a source, read once each."""

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._read: dict[TokenKey, _Key] = {}

    def sign(self, claims: Mapping[str, object] | bytes, now: float, *, thumbprint: bool) -> str:
        """
        A token of the key whose time it is.

        Args:
            claims: see `sign_rs256`.
            thumbprint: with `x5t` in its header, as tokens of version 1 have it.
        """
        chosen = self._key(self._signing(now))
        headers = {"kid": chosen.kid, **({"x5t": chosen.kid} if thumbprint else {})}
        return sign_rs256(claims, chosen.private, headers)

    def states(self, now: float) -> list[tuple[str, Literal["signed", "signs", "next"]]]:
        """The names of all that are published, and what each did, does or will do."""
        signing = self._signing(now)
        return [
            (self._key(key).kid, "signs" if key == signing else "signed" if key.active_from <= now else "next")
            for key in self._source.token_keys()
        ]

    def _signing(self, now: float) -> TokenKey:
        keys = self._source.token_keys()
        # With a clock that was set back none may be active yet; the first one is as good then.
        return max((key for key in keys if key.active_from <= now), key=_since, default=keys[0])

    def public(self, kid: str) -> RsaPublicKey | None:
        """The key that is called so, if it is one of ours."""
        return next((key.public for key in map(self._key, self._source.token_keys()) if key.kid == kid), None)

    def published(self, issuer: str) -> list[dict[str, Any]]:
        """All keys as JSON Web Keys, those that will sign included."""
        return [_published(key, issuer) for key in map(self._key, self._source.token_keys())]

    def _key(self, stored: TokenKey) -> _Key:
        found = self._read.get(stored)
        if found is None:
            current = set(self._source.token_keys())
            self._read = {key: value for key, value in self._read.items() if key in current}
            found = self._read[stored] = _loaded(stored)
        return found


def _since(key: TokenKey) -> int:
    return key.active_from


def _loaded(stored: TokenKey) -> _Key:
    try:
        # Made by ourselves: to prove its primes again would take a tenth of a second at the first token.
        private = serialization.load_pem_private_key(
            stored.private_key.encode(), password=None, unsafe_skip_rsa_key_validation=True
        )
        certificate = x509.load_pem_x509_certificate(stored.certificate.encode())
    except ValueError as error:
        raise StartFailed("a stored tokenKey is damaged") from error
    if not isinstance(private, rsa.RSAPrivateKey):
        raise StartFailed("a stored tokenKey is damaged")
    der = certificate.public_bytes(serialization.Encoding.DER)
    kid = base64url(hashlib.sha1(der, usedforsecurity=False).digest())
    return _Key(kid, private, private.public_key(), base64.b64encode(der).decode())


def _published(key: _Key, issuer: str) -> dict[str, Any]:
    numbers = key.public.public_numbers()
    return {
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "kid": key.kid,
        "x5t": key.kid,
        "n": _integer(numbers.n),
        "e": _integer(numbers.e),
        "x5c": [key.certificate],
        "issuer": issuer,
    }


def _integer(value: int) -> str:
    return base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
