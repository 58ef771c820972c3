"""
JSON Web Tokens signed with RSA: what the token issuer and applications sign, and what is verified of theirs. Pure: the
time comes in as an argument.

A token is read in two steps, because its header says which key to look for: `unverified` takes it apart and `verified`
proves it with a key that the caller chose. Nothing else in a header is followed: neither `jku` nor `x5u` nor `jwk`,
and a key for one algorithm is never tried with another. What has padding in its segments is read as well: one of the
official clients sends it.

Sources: RFC 7515, 7518 and 7519; assertions that the official identity libraries send.
"""

import binascii
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, RSAPublicNumbers
from jwt.algorithms import RSAAlgorithm, RSAPSSAlgorithm

from hubwire.auth.jwt import MAX_TOKEN_BYTES, check_times, decoded
from hubwire.model.errors import Unauthorized

__all__ = [
    "LEAST_KEY_BITS",
    "RsaPublicKey",
    "Unverified",
    "algorithm_of",
    "base64url",
    "read_keys",
    "sign_rs256",
    "unverified",
    "verified",
]

RsaPublicKey: TypeAlias = RSAPublicKey

_RSA: Final[dict[str, RSAAlgorithm]] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "PS256": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256),
}
_PKCS1: Final = padding.PKCS1v15()
_SHA256: Final = hashes.SHA256()
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
LEAST_KEY_BITS: Final = 2048
_MOST_KEYS: Final = 100


class Unverified(NamedTuple):
    """
    A token taken apart. Nothing of it is proved.

    Attributes:
        signed: what the signature is over, without padding.
        raw_signed: the same as it came.
    """

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    raw_signed: bytes
    signature: bytes

    def text(self, name: str) -> str:
        """A claim that is a string; empty if it is none."""
        value = self.claims.get(name)
        return value if isinstance(value, str) else ""


def sign_rs256(claims: Mapping[str, object] | bytes, key: RSAPrivateKey, headers: Mapping[str, str]) -> str:
    """
    A token that carries `claims`.

    Args:
        claims: as JSON already, where it counts how that is written.
    """
    payload = claims if isinstance(claims, bytes) else msgspec.json.encode(claims)
    # Put together here: the library reads the header that it has written once more, and takes half as long again.
    signed = f"{_head(tuple(headers.items()))}.{base64url(payload)}"
    return f"{signed}.{base64url(key.sign(signed.encode(), _PKCS1, _SHA256))}"


# A key signs many tokens with the same header.
@lru_cache(maxsize=64)
def _head(headers: tuple[tuple[str, str], ...]) -> str:
    return base64url(msgspec.json.encode({"alg": "RS256", "typ": "JWT", **dict(headers)}))


def algorithm_of(token: str) -> str:
    """
    What the header of a token says that it is signed with; empty if it cannot be read. Decides which keys are tried,
    never which algorithm a key is good for.
    """
    if len(token) > MAX_TOKEN_BYTES:
        return ""
    try:
        algorithm = _OBJECT.decode(_bytes(token.partition(".")[0])).get("alg")
    except (msgspec.MsgspecError, ValueError, RecursionError, Unauthorized):
        return ""
    return algorithm if isinstance(algorithm, str) else ""


def unverified(token: str) -> Unverified:
    """
    Raises:
        Unauthorized: too long, or not the three parts of a signed token with two JSON objects.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthorized("token is too long")
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise Unauthorized("token is malformed")
    header, claims = _object(parts[0]), _object(parts[1])
    if "crit" in header or header.get("b64", True) is not True:
        raise Unauthorized("token demands an extension")
    raw = f"{parts[0]}.{parts[1]}".encode()
    return Unverified(header, claims, raw.replace(b"=", b""), raw, _bytes(parts[2]))


def verified(
    token: Unverified, key: RSAPublicKey, algorithms: Collection[str], now: float, leeway_s: float
) -> Mapping[str, Any]:
    """
    The claims of a token that the holder of `key` signed, and whose time has come and is not over.

    Args:
        algorithms: of "RS256" and "PS256" those that this kind of token may have.
        now: seconds since 1970.

    Raises:
        Unauthorized: it proves nothing. The message names the rule, never a part of the token.
    """
    algorithm = token.header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise Unauthorized(f"token is not signed with {' or '.join(sorted(algorithms))}")
    if key.key_size < LEAST_KEY_BITS:
        raise Unauthorized("the key is too short")
    # Who pads the segments signs them with or without the padding.
    if not any(_RSA[algorithm].verify(signed, key, token.signature) for signed in {token.signed, token.raw_signed}):
        raise Unauthorized("token is signed with another key")
    check_times(token.claims, now, leeway_s)
    return token.claims


def read_keys(document: Mapping[str, Any]) -> dict[str, RSAPublicKey]:
    """The RSA keys for signatures of a JSON Web Key set, by their `kid`; others are left out."""
    found = document.get("keys")
    keys: dict[str, RSAPublicKey] = {}
    for key in found[:_MOST_KEYS] if isinstance(found, list) else ():
        if isinstance(key, dict) and key.get("kty") == "RSA" and key.get("use", "sig") == "sig":
            try:
                keys[str(key["kid"])] = RSAPublicNumbers(_integer(key["e"]), _integer(key["n"])).public_key()
            except (KeyError, TypeError, ValueError, Unauthorized):
                continue
    return keys


def _integer(segment: object) -> int:
    if not isinstance(segment, str):
        raise TypeError
    return int.from_bytes(_bytes(segment), "big")


def _object(segment: str) -> dict[str, Any]:
    try:
        return _OBJECT.decode(_bytes(segment))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unauthorized("token is malformed") from error


def base64url(data: bytes) -> str:
    """Without padding, as tokens and keys have it."""
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=").decode("ascii")


def _bytes(segment: str) -> bytes:
    return decoded(segment.rstrip("="))
