"""
JSON Web Tokens, signed with HMAC-SHA256: sign claims, and verify a token to the claims it carries. Pure: the time comes
in as an argument.

Header and signature are PyJWT's business. What the claims must be is decided here, since the service's rules are not
the library's: `exp` is required, `iat` is not looked at, `aud` is judged by the caller. Taking a token apart is done
here as well, because every client that connects waits for it: the library looks at each character by itself, which is
a third of what letting a client in costs (decision 7).

Sources: RFC 7519; Web PubSub's client specification, 2.1; behaviour of the service's SDKs.
"""

import binascii
import hmac
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import jwt
import msgspec
from jwt.algorithms import HMACAlgorithm
from jwt.utils import base64url_encode

from hubwire.model.errors import Unauthorized, Untimely

__all__ = ["MAX_TOKEN_BYTES", "MIN_KEY_BYTES", "Verified", "check_times", "decoded", "sign", "verify"]

MAX_TOKEN_BYTES: Final = 16 * 1024
"""A longer token is refused unread."""

MIN_KEY_BYTES: Final = 32
"""RFC 7518, 3.2: an HMAC key is at least as long as its hash."""

_ALGORITHM: Final = "HS256"
# PyJWT warns about short keys unless it is told to refuse them. We never get that far: see `_check`.
_JWS: Final = jwt.PyJWS(options={"enforce_minimum_key_length": True})
_HMAC: Final = HMACAlgorithm(HMACAlgorithm.SHA256)
_CLAIMS: Final = msgspec.json.Decoder(dict[str, Any])

_KNOWN_HEADERS: Final = 64
_BASE64URL: Final = bytes.maketrans(b"-_+/", b"+/\0\0")
"""To the alphabet that `binascii` reads; what only that one has becomes something that it refuses."""


class Verified(NamedTuple):
    """
    Attributes:
        claims: all of the token's claims, as they came.
        key: position of the candidate key that signed it.
    """

    claims: dict[str, Any]
    key: int


def sign(claims: Mapping[str, object], key: bytes) -> str:
    """
    A token that carries `claims`.

    Args:
        claims: whatever JSON can hold.
        key: at least `MIN_KEY_BYTES`.
    """
    _check(key)
    return _JWS.encode(msgspec.json.encode(claims), key, algorithm=_ALGORITHM)


def verify(token: str, keys: Sequence[bytes], now: float, leeway_s: float) -> Verified:
    """
    Accept a token that one of `keys` signed and whose time has come and is not over.

    Args:
        keys: candidates, each at least `MIN_KEY_BYTES`; tried in order.
        now: seconds since 1970.
        leeway_s: how far the signer's clock may be off, in either direction.

    Raises:
        Unauthorized: it proves nothing. The message names the rule, never a part of the token.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthorized("token is too long")
    if not token.isascii():
        raise Unauthorized("token is malformed")
    payload, key = _payload(token, keys)
    claims = _claims(payload)
    check_times(claims, now, leeway_s)
    if not isinstance(claims.get("sub", ""), str):
        raise Unauthorized("claim sub is not a string")
    return Verified(claims, key)


def _check(key: bytes) -> None:
    # The keys are the service's own, so a short one is our mistake and not the caller's.
    assert len(key) >= MIN_KEY_BYTES, "an HMAC key is too short"


def _payload(token: str, keys: Sequence[bytes]) -> tuple[bytes, int]:
    signed, _, signature = token.rpartition(".")
    header, dot, payload = signed.partition(".")
    if not dot or "." in payload:
        raise Unauthorized("token is malformed")
    _check_header(header)
    return decoded(payload), _signer(signed.encode(), signature.rstrip("=").encode(), keys)


@lru_cache(_KNOWN_HEADERS)
def _check_header(header: str) -> None:
    """
    Is the token one of ours to judge. Nearly all tokens have one of very few headers; a refused one is not remembered.
    """
    try:
        parsed = _JWS.get_unverified_header(f"{header}..")
    except (jwt.PyJWTError, RecursionError) as error:
        raise Unauthorized("token is malformed") from error
    if parsed.get("alg") != _ALGORITHM:
        raise Unauthorized("token is not signed with HS256")
    if parsed.get("b64", True) is not True:
        raise Unauthorized("token is malformed")  # RFC 7797: a payload that is not encoded, which no JWT has


def _signer(signed: bytes, signature: bytes, keys: Sequence[bytes]) -> int:
    """Whose signature it is: the position of the key."""
    for position, key in enumerate(keys):
        _check(key)
        if hmac.compare_digest(base64url_encode(_HMAC.sign(signed, key)), signature):
            return position
    raise Unauthorized("token is signed with another key")


def decoded(segment: str) -> bytes:
    """
    What a segment of a token stands for; it has no padding.

    Raises:
        Unauthorized: it is not base64url.
    """
    try:
        return binascii.a2b_base64(
            segment.encode().translate(_BASE64URL) + b"=" * (-len(segment) % 4), strict_mode=True
        )
    except binascii.Error as error:
        raise Unauthorized("token is malformed") from error


def _claims(payload: bytes) -> dict[str, Any]:
    # Stricter than the library's JSON on purpose: NaN, Infinity and half a surrogate pair would pass it, only to fail
    # far from here, when the claim is compared or sent on.
    try:
        return _CLAIMS.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unauthorized("token's claims are not a JSON object") from error


def check_times(claims: Mapping[str, object], now: float, leeway_s: float) -> None:
    """
    Raises:
        Unauthorized: `exp` is missing, or one of the two is no number.
        Untimely: `exp` is over, or `nbf` still to come.
    """
    if "exp" not in claims:
        raise Unauthorized("token has no claim exp")
    if _seconds(claims, "exp") <= now - leeway_s:
        raise Untimely("token has expired")
    if "nbf" in claims and _seconds(claims, "nbf") > now + leeway_s:
        raise Untimely("token is not valid yet")


def _seconds(claims: Mapping[str, object], name: str) -> int | float:
    # An integer may be larger than any float, so nothing is converted; what `_claims` let through is finite.
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unauthorized(f"claim {name} is not a number")
    return value
