"""
What an application signs to prove that it holds the key of one of its certificates, instead of sending a secret.

An assertion is good once for a request. The official libraries keep one for ten minutes and send it with each request,
several at once if several callers wait for tokens; so a second time is another request if it is for another resource,
or has another `client-request-id`. From another address it is never good again.

Sources: RFC 7523; Entra's page on certificate credentials; assertions that the official identity libraries send.
"""

import base64
import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from hubwire.auth.refusals import TokenRefused
from hubwire.auth.signatures import LEAST_KEY_BITS, Unverified, base64url, unverified, verified
from hubwire.model.directory import Application, ClientCertificate
from hubwire.model.errors import Throttled, Unauthorized, Untimely

__all__ = ["ASSERTION_TYPE", "Assertions", "Proof", "read_certificate"]

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_ALGORITHMS: Final = frozenset({"RS256", "PS256"})
_LEEWAY_S: Final = 300
_LONGEST_S: Final = 24 * 3600
_REMEMBERED: Final = 100_000
_MOST_REQUESTS: Final = 1000
"""Of one assertion."""
_MOST_OF_ONE: Final = 10_000
"""Assertions of one application."""


class Proof(NamedTuple):
    """
    Where and for what an assertion is used.

    Attributes:
        request: what is asked for, in any form that differs between requests.
    """

    address: str
    request: str


class _Use(NamedTuple):
    address: str
    requests: set[bytes]
    until: float


class Assertions:
    """
    Args:
        is_audience: is this URL one of our token endpoints.
    """

    def __init__(self, is_audience: Callable[[str], bool]) -> None:
        self._is_audience = is_audience
        self._used: dict[tuple[str, str], _Use] = {}
        self._ends: list[tuple[float, tuple[str, str]]] = []
        self._counts: Counter[str] = Counter()

    def verify(self, app: Application, assertion: str, proof: Proof, now: float) -> None:
        """
        Does this prove `app`, here and now.

        Args:
            now: seconds since 1970.

        Raises:
            TokenRefused: it does not.
        """
        try:
            token = unverified(assertion)
            found = _certificate_for(app.certificates, token)
        except Unauthorized as error:
            raise TokenRefused(700027, f"Client assertion failed signature validation: {error.message}.") from error
        if found is None:
            raise TokenRefused(700027, "The certificate used to sign the client assertion is not registered.")
        certificate, key = found
        if certificate.expires_at <= now:
            raise TokenRefused(700027, "The certificate used to sign the client assertion has expired.")
        self._check(app, token, key, proof, now)

    def _check(self, app: Application, token: Unverified, key: RSAPublicKey, proof: Proof, now: float) -> None:
        """
        The same, once it is known whose key must have signed it.

        Raises:
            TokenRefused: it does not prove `app`.
        """
        try:
            claims = verified(token, key, _ALGORITHMS, now, _LEEWAY_S)
        except Unauthorized as error:
            code = 700024 if isinstance(error, Untimely) else 700027
            raise TokenRefused(code, f"Client assertion failed validation: {error.message}.") from error
        if token.text("iss").lower() != app.app_id or token.text("sub").lower() != app.app_id:
            raise TokenRefused(700027, "Issuer and subject of the client assertion must be the client id.")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if not any(isinstance(one, str) and self._is_audience(one) for one in audiences):
            raise TokenRefused(700023, "The audience of the client assertion is not this token endpoint.")
        if claims["exp"] > now + _LONGEST_S:
            raise TokenRefused(700024, "The client assertion is good for more than a day.")
        self._use(app, token, proof, float(claims["exp"]) + _LEEWAY_S, now)

    def _use(self, app: Application, token: Unverified, proof: Proof, until: float, now: float) -> None:
        while self._ends and self._ends[0][0] < now:
            _, over = heapq.heappop(self._ends)
            del self._used[over]
            self._counts[over[0]] -= 1
        identity = token.claims.get("jti")
        if not isinstance(identity, str) or not identity:
            identity = hashlib.sha256(token.signed).hexdigest()
        name = (app.app_id, hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest())
        # Its digest, since it may be long.
        request = hashlib.sha256(proof.request.encode("utf-8", "surrogatepass")).digest()
        used = self._used.get(name)
        if used is None:
            if len(self._used) >= _REMEMBERED or self._counts[app.app_id] >= _MOST_OF_ONE:
                raise Throttled("Too many client assertions are in use.", 60)
            self._used[name] = _Use(proof.address, {request}, until)
            heapq.heappush(self._ends, (until, name))
            self._counts[app.app_id] += 1
            return
        if used.address != proof.address or request in used.requests or len(used.requests) >= _MOST_REQUESTS:
            raise TokenRefused(700027, "The client assertion was used before (jti).")
        used.requests.add(request)


def read_certificate(text: str, now: float) -> ClientCertificate:
    """
    What is kept of a certificate.

    Args:
        text: PEM; what else it holds, such as a private key, is not looked at.
        now: seconds since 1970.

    Raises:
        ValueError: none that can be used; the text says why.
    """
    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
        key = certificate.public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise ValueError("it is not a PEM certificate") from error
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_KEY_BITS:
        raise ValueError(f"its key must be RSA with {LEAST_KEY_BITS} bits or more")
    der = certificate.public_bytes(Encoding.DER)
    thumbprint = hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
    return ClientCertificate(
        thumbprint, base64.b64encode(der).decode(), int(now), int(certificate.not_valid_after_utc.timestamp())
    )


def _certificate_for(
    certificates: Sequence[ClientCertificate], token: Unverified
) -> tuple[ClientCertificate, RSAPublicKey] | None:
    """The registered certificate that the header names by a thumbprint, `kid` included, and its key."""
    for stored in certificates:
        der = base64.b64decode(stored.der)
        sha1 = hashlib.sha1(der, usedforsecurity=False)
        names = {
            "x5t": {base64url(sha1.digest())},
            "x5t#S256": {base64url(hashlib.sha256(der).digest())},
            "kid": {sha1.hexdigest().upper(), base64url(sha1.digest())},
        }
        for name, known in names.items():
            value = token.header.get(name)
            if not isinstance(value, str):
                continue
            bare = value.rstrip("=").replace("+", "-").replace("/", "_")
            if bare in known or (name == "kid" and bare.upper() in known):
                key = x509.load_der_x509_certificate(der).public_key()
                return (stored, key) if isinstance(key, RSAPublicKey) else None
    return None
