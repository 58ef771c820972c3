"""Tokens of the local issuer, and what is said where there is none."""

import pytest

from auth.entra import BASE_URL, NOW, Clock, ForeignKeys, InMemory, decoded
from hubwire.auth.built_in_tokens import BuiltInTokens
from hubwire.auth.issuer import Issuer
from hubwire.model.errors import Unavailable
from hubwire.model.identities import ManagedIdentity

IDENTITY = ManagedIdentity("SystemAssigned", "/wps", "/wps", "principal", "client")


async def test_token_is_the_issuers_and_says_when_it_ends() -> None:
    issuer = Issuer(InMemory(), BASE_URL, (), ForeignKeys(), user_tokens=False, clock=Clock())

    token = await BuiltInTokens(issuer).token("api://orders", IDENTITY)

    claims = decoded(token.token)
    assert (claims["aud"], claims["oid"], claims["exp"]) == ("api://orders", "principal", token.expires_at)
    assert token.expires_at == NOW + 24 * 3600 - 1


async def test_issuer_that_is_switched_off_gives_none_and_says_what_to_mend() -> None:
    with pytest.raises(Unavailable, match="identity_source"):
        await BuiltInTokens(None).token("api://orders", IDENTITY)
