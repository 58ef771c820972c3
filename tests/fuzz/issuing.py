"""What asks the token issuer for something: forms, assertions, and tokens whose signature is good over anything."""

import asyncio
from functools import cache
from typing import Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import strategies as st

from auth.entra import (
    APP_ID,
    ISSUER_URL,
    NOW,
    SECRET,
    TENANT,
    TOKEN_URL,
    VARIANTS,
    ForeignKeys,
    InMemory,
    assertion,
    signed,
    token_key,
)
from fuzz.inputs import TEXTS, damaged, json_objects, strings
from fuzz.target import Target
from hubwire.auth.bearers import Bearers
from hubwire.auth.issuer import Issuer, TokenRequest
from hubwire.auth.refusals import TokenRefused
from hubwire.auth.signatures import algorithm_of, unverified
from hubwire.model.errors import BadRequest, Forbidden, Unauthorized
from hubwire.rest.query import QueryString

__all__ = ["TARGETS"]


def _issuer() -> Issuer:
    return Issuer(InMemory(), "https://localhost:8443", (), ForeignKeys(), user_tokens=True, clock=lambda: NOW)


_ISSUER: Final = _issuer()
_BEARERS: Final = Bearers(InMemory(), _ISSUER, (), ForeignKeys(), (), 60, lambda: NOW)


@cache
def _private_key() -> RSAPrivateKey:
    key = load_pem_private_key(token_key(0).private_key.encode(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def _check_form(body: bytes) -> None:
    """Whatever a form says, there is a token, or an answer that says why not and repeats no secret."""
    try:
        form = QueryString(body)
    except BadRequest:
        return
    fields = {name: form.all(name)[0] for name in form.names()}
    try:
        granted = asyncio.run(_issuer().grant(TokenRequest("common", 2, fields, None, "192.0.2.1")))
    except TokenRefused as refusal:
        assert refusal.message.startswith(f"AADSTS{refusal.code}: ")
        assert refusal.status in (400, 401)
        assert SECRET not in refusal.message
        refusal.message.encode()
        return
    assert granted.token.count(".") == 2
    assert fields["client_id"].lower() == APP_ID


def _check_token(token: str) -> None:
    algorithm_of(token)
    try:
        parts = unverified(token)
    except Unauthorized:
        return
    assert isinstance(parts.header, dict)
    assert isinstance(parts.claims, dict)


def _check_bearer(claims: bytes, kid: str) -> None:
    """A token with a good signature of ours over anything."""
    name = _ISSUER.ring.published("")[0]["kid"] if kid == "ours" else kid
    token = signed(claims, _private_key(), {"alg": "RS256", "kid": name})
    _check_token(token)
    try:
        asyncio.run(_BEARERS.caller(token, "group/read", "/subscriptions/x"))
    except (Unauthorized, Forbidden):
        return
    raise AssertionError("nobody has a role")


_values = st.sampled_from(
    [
        "client_credentials",
        "password",
        "refresh_token",
        APP_ID,
        APP_ID.upper(),
        SECRET,
        "https://webpubsub.azure.com/.default",
        "https://communication.azure.com//.default",
        ".default",
        "/.default",
        "openid  profile",
        "a/.default b/.default",
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        TOKEN_URL,
    ]
)
_assertions = st.sampled_from([assertion(variant) for variant in VARIANTS])
_fields = st.fixed_dictionaries(
    {
        "grant_type": st.just("client_credentials") | _values,
        "client_id": st.just(APP_ID) | TEXTS,
        "scope": _values | TEXTS,
    },
    optional={
        "client_secret": st.just(SECRET) | TEXTS,
        "client_assertion": _assertions | TEXTS,
        "client_assertion_type": _values,
        "claims": TEXTS,
        "username": TEXTS,
        "password": TEXTS,
        "client_info": st.just("1"),
    },
)
_forms = _fields.map(lambda fields: urlencode(fields, errors="surrogatepass").encode())
_claims = json_objects(
    {
        "aud": st.sampled_from(['"https://webpubsub.azure.com"', '["https://webpubsub.azure.com"]', "1"]),
        "iss": st.sampled_from([f'"{ISSUER_URL}"', '"https://elsewhere"', "[]"]),
        "tid": st.sampled_from([f'"{TENANT.tenant_id}"', '"x"', "null"]),
        "exp": st.sampled_from(["2000000000", "1e300", "1", '"1"', "9" * 400]),
        "nbf": st.sampled_from(["1", "3000000000"]),
        "oid": strings,
        "sub": strings,
    }
)

TARGETS: Final = {
    "token requests": Target((_forms | damaged(_forms),), _check_form),
    "assertions": Target((damaged(_assertions.map(str.encode)).map(lambda raw: raw.decode("latin-1")),), _check_token),
    "bearers": Target((_claims | damaged(_claims), st.just("ours") | TEXTS), _check_bearer),
}
