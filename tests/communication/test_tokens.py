"""Tokens of users: what stands in them, who can verify them, and when they are no longer good."""

import base64
import itertools
import json
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from auth.entra import BASE_URL, NOW, Clock, InMemory, decoded, header_of, rsa_key, signed, token_key
from communication.world import ENTRA, OTHER, PRIMARY, SECONDARY, SERVICE, World, opened, with_keys
from hubwire.auth.key_ring import KeyRing
from hubwire.communication.tokens import IssuedToken, Tokens, introspection
from hubwire.communication.users import Users
from hubwire.model.communication import SCOPES, CommunicationCaller

USER_ID = f"8:acs:{SERVICE.immutable_id}_01a3185c-5001-7c6a-8cdd-6a84f1af1842"
ISSUER = f"{BASE_URL}/communication/{SERVICE.immutable_id}"
OPERATOR = CommunicationCaller("operator", "operator")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


async def token_of(world: World, caller: CommunicationCaller = PRIMARY) -> str:
    """Of a new user."""
    created = await world.users.create(SERVICE, caller, None, ["chat", "voip.join"])
    assert created.token is not None
    return created.token.token


def plain(base_url: str = BASE_URL) -> Tokens:
    """Without any users."""
    return Tokens(KeyRing(InMemory()), base_url, Clock(), secrets.token_bytes)


# What stands in them


async def test_token_says_what_those_of_the_service_say(world: World) -> None:
    created = await world.users.create(SERVICE, PRIMARY, None, ["chat", "voip"], 60)
    assert created.token is not None
    claims = decoded(created.token.token)

    assert len(claims.pop("jti")) == 36
    assert claims == {
        "skypeid": created.user.id.removeprefix("8:"),
        "scp": 1792,
        "csi": str(int(NOW)),
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
        "rgn": "amer",
        "acsScope": "chat,voip",
        "resourceId": SERVICE.immutable_id,
        "resourceLocation": "unitedstates",
        "iss": ISSUER,
        "aud": SERVICE.immutable_id,
        "gen": 1,
        "kix": "primary.1",
    }
    header = header_of(created.token.token)
    assert (header["alg"], header["typ"]) == ("RS256", "JWT")
    assert header["kid"] == header["x5t"]


async def test_token_lasts_as_long_as_was_asked_for_however_slow_the_store_is(world: World) -> None:
    ticking = map(float, itertools.count(int(NOW)))
    users = Users(world.store, world.tokens, lambda: next(ticking), secrets.token_bytes, world.times)
    created = await users.create(SERVICE, PRIMARY, "one", ["chat"], 60)
    again = await users.create(SERVICE, PRIMARY, "one", ["chat"], 60)
    issued = await users.issue(SERVICE, PRIMARY, created.user.id, ["chat"], 60)

    for token in (created.token, again.token, issued):
        assert token is not None
        claims = decoded(token.token)
        assert claims["exp"] - claims["iat"] == 3600
    assert next(ticking) > NOW + 2, "so the clock was not read once for all"


@pytest.mark.parametrize(
    ("caller", "said"),
    [
        (PRIMARY, "primary.1"),
        (replace(SECONDARY, key_generation=7), "secondary.7"),
        (ENTRA, "entra"),
        (OPERATOR, "operator"),
    ],
)
def test_token_says_on_whose_word_it_was_issued(caller: CommunicationCaller, said: str) -> None:
    issued = plain().sign(SERVICE, caller, USER_ID, ["chat"], 4, NOW, NOW + 60)

    assert decoded(issued.token)["kix"] == said
    assert decoded(issued.token)["gen"] == 4


@pytest.mark.parametrize(
    ("place", "region", "location"),
    [
        ("United States", "amer", "unitedstates"),
        ("UK", "emea", "uk"),
        ("Asia Pacific", "apac", "asiapacific"),
        ("Japan", "apac", "japan"),
        ("", "apac", ""),
    ],
)
def test_token_says_where_the_data_is(place: str, region: str, location: str) -> None:
    claims = decoded(plain().sign(replace(SERVICE, data_location=place), ENTRA, USER_ID, ["chat"], 1, NOW, NOW).token)

    assert (claims["rgn"], claims["resourceLocation"]) == (region, location)


def test_token_is_not_shown_by_accident() -> None:
    issued = plain().sign(SERVICE, PRIMARY, USER_ID, ["chat"], 1, NOW, NOW + 60)

    assert issued.token not in repr(issued)
    assert repr(IssuedToken("secret", 1.5)) == "IssuedToken(…, 1.5)"


# Who can read them


def as_python_reads(token: str) -> Any:
    """
    What `CommunicationTokenCredential` of the official Python client does: the other alphabet of base64, of which what
    it does not know is dropped, and ASCII.
    """
    segment = token.split(".")[1]
    return json.loads(base64.b64decode(segment + "=" * (-len(segment) % 4)).decode("ascii"))


async def test_official_client_of_python_reads_whatever_token(world: World) -> None:
    """Ids and times are different in each, so that what is third of three is now this and now that."""
    for number in range(400):
        world.clock.now += number
        created = await world.users.create(SERVICE, PRIMARY, None, SCOPES[: number % len(SCOPES) + 1])
        assert created.token is not None
        payload = created.token.token.split(".")[1]
        assert not set("-_") & set(payload)
        assert as_python_reads(created.token.token) == decoded(created.token.token)


@settings(max_examples=200, deadline=None)
@given(host=st.text(max_size=40), place=st.text(max_size=40), scopes=st.sets(st.sampled_from(SCOPES), min_size=1))
def test_official_client_of_python_reads_tokens_of_whatever_server(host: str, place: str, scopes: set[str]) -> None:
    base_url = f"https://{host}.example/~>?\x7f"
    service = replace(SERVICE, data_location=place)
    token = plain(base_url).sign(service, PRIMARY, USER_ID, sorted(scopes), 1, NOW, NOW + 60).token

    assert not set("-_") & set(token.split(".")[1])
    assert as_python_reads(token)["iss"] == f"{base_url}/communication/{SERVICE.immutable_id}"


async def test_anybody_verifies_a_token_by_the_published_keys(world: World) -> None:
    """As a consumer does it, with PyJWT alone, whichever of the keys has signed."""
    world.clock.now = time.time()
    world.directory.keys = (token_key(0, world.clock.now - 100), token_key(1, world.clock.now + 100))
    first = await token_of(world)
    world.clock.now += 200
    second = await token_of(world)
    document = world.tokens.discovery(SERVICE)
    keys = jwt.PyJWKSet.from_dict({"keys": world.tokens.keys(SERVICE)})

    for token in (first, second):
        key = keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(
            token,
            key,
            algorithms=document["id_token_signing_alg_values_supported"],
            audience=SERVICE.immutable_id,
            issuer=document["issuer"],
            leeway=300,
        )
        assert claims["acsScope"] == "chat,voip.join"
    assert header_of(first)["kid"] != header_of(second)["kid"]
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(f"{first[:-8]}{'A' * 8}", keys[header_of(first)["kid"]], ["RS256"], audience=SERVICE.immutable_id)


def test_discovery_document_says_where_everything_is() -> None:
    document = plain().discovery(SERVICE)

    assert document["issuer"] == ISSUER
    assert document["jwks_uri"] == f"{ISSUER}/keys"
    assert document["introspection_endpoint"] == f"{ISSUER}/introspect"
    assert {key["issuer"] for key in plain().keys(SERVICE)} == {ISSUER}


# Until when they are good


async def test_good_token_is_told_of(world: World) -> None:
    token = await token_of(world)
    claims = decoded(token)

    facts = await world.verifier.facts(SERVICE, token)

    assert introspection(facts) == {
        "active": True,
        "scope": "chat voip.join",
        "sub": f"8:{claims['skypeid']}",
        "username": f"8:{claims['skypeid']}",
        "token_type": "Bearer",
        "iat": int(NOW),
        "exp": int(NOW) + 24 * 3600,
        "iss": ISSUER,
        "aud": SERVICE.immutable_id,
        "jti": claims["jti"],
    }


def test_of_any_other_token_nothing_is_told() -> None:
    assert introspection(None) == {"active": False}


async def test_token_is_good_to_its_last_second(world: World) -> None:
    created = await world.users.create(SERVICE, PRIMARY, None, ["chat"], 60)
    assert created.token is not None

    world.clock.now = NOW + 3599
    assert await world.is_good(created.token.token)
    world.clock.now = NOW + 3600
    assert not await world.is_good(created.token.token)


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "x" * 20_000, "\x00", "é.é.é", "e30.e30.e30"])
async def test_text_that_is_no_token_is_not_good(world: World, text: str) -> None:
    assert not await world.is_good(text)


async def test_token_with_a_changed_part_is_not_good(world: World) -> None:
    head, payload, signature = (await token_of(world)).split(".")
    other = {**decoded(f"{head}.{payload}."), "acsScope": "chat,voip"}
    forged = base64.urlsafe_b64encode(json.dumps(other).encode()).rstrip(b"=").decode()

    assert await world.is_good(f"{head}.{payload}.{signature}")
    assert not await world.is_good(f"{head}.{forged}.{signature}")
    assert not await world.is_good(f"{head}.{payload}.{signature[:-4]}AAAA")
    assert not await world.is_good(f"{head}.{payload}.")


async def test_token_of_another_key_or_algorithm_is_not_good(world: World) -> None:
    """Whatever it says."""
    good = await token_of(world)
    claims, header = decoded(good), header_of(good)
    published = world.directory.keys[0].certificate

    assert not await world.is_good(signed(claims, rsa_key("somebody"), header))
    assert not await world.is_good(signed(claims, rsa_key("somebody"), {**header, "kid": "unknown"}))
    assert not await world.is_good(signed(claims, rsa_key("somebody"), {"alg": "RS256"}))
    none = jwt.encode(claims, "", algorithm="none", headers={"kid": header["kid"]})
    assert not await world.is_good(none)
    by_certificate = jwt.api_jws.encode(
        json.dumps(claims).encode(), published[:200].encode(), algorithm="HS256", headers={"kid": header["kid"]}
    )
    assert not await world.is_good(by_certificate)


async def test_other_tokens_of_the_same_keys_are_not_good(world: World) -> None:
    """Such as those of the token issuer, which has the same ones."""
    good = decoded(await token_of(world))
    ring = KeyRing(world.directory)

    assert await world.is_good(ring.sign(good, NOW, thumbprint=True)), "so it is not for another reason that they fail"
    for changes in (
        {"iss": f"{BASE_URL}/tenant/v2.0"},
        {"aud": "https://communication.azure.com"},
        {"aud": [SERVICE.immutable_id]},
        {"gen": "1"},
        {"gen": 2},
        {"gen": 0},
        {"kix": "tertiary"},
        {"kix": "primary"},
        {"kix": "primary.2"},
        {"skypeid": ""},
        {"skypeid": f"acs:{OTHER.immutable_id}_{good['skypeid'].rpartition('_')[2]}"},
        {"skypeid": "acs:*"},
        {"exp": None},
    ):
        assert not await world.is_good(ring.sign({**good, **changes}, NOW, thumbprint=True)), changes
    for name in ("iss", "aud", "gen", "kix", "exp", "skypeid", "acsScope", "jti", "iat"):
        without = {key: value for key, value in good.items() if key != name}
        assert not await world.is_good(ring.sign(without, NOW, thumbprint=True)), name


async def test_token_is_good_at_its_own_service_alone(world: World) -> None:
    token = await token_of(world)

    assert await world.is_good(token)
    assert not await world.is_good(token, OTHER)


async def test_token_of_a_revoked_or_deleted_user_is_not_good(world: World) -> None:
    first, second = await token_of(world), await token_of(world)

    await world.users.revoke(SERVICE, f"8:{decoded(first)['skypeid']}")
    await world.users.delete(SERVICE, f"8:{decoded(second)['skypeid']}")

    assert not await world.is_good(first)
    assert not await world.is_good(second)


async def test_key_that_is_made_anew_ends_the_tokens_that_it_let_somebody_have(world: World) -> None:
    """And those alone: of the other key, of tokens of an issuer, and of the operator they go on being good."""
    tokens = {caller.kind: await token_of(world, caller) for caller in (PRIMARY, SECONDARY, ENTRA, OPERATOR)}

    async def good(primary: int, secondary: int) -> set[str]:
        service = with_keys(primary, secondary)
        return {kind for kind, token in tokens.items() if await world.is_good(token, service)}

    assert await good(1, 1) == {"primary", "secondary", "entra", "operator"}
    assert await good(2, 1) == {"secondary", "entra", "operator"}
    assert await good(1, 2) == {"primary", "entra", "operator"}
    assert await good(2, 2) == {"entra", "operator"}


async def test_token_that_is_issued_while_its_key_is_made_anew_is_not_good(world: World) -> None:
    """Its caller was let in with the old one."""
    created = await world.users.create(with_keys(2, 1), PRIMARY, None, ["chat"])

    assert created.token is not None
    assert not await world.is_good(created.token.token, with_keys(2, 1))


def test_token_of_this_server_says_so_and_no_other_does() -> None:
    """It is not proved, so that a forged one does, too."""
    issued = plain().sign(SERVICE, PRIMARY, USER_ID, ["chat"], 1, NOW, NOW + 60).token
    other = plain(f"{BASE_URL}.example").sign(SERVICE, PRIMARY, USER_ID, ["chat"], 1, NOW, NOW + 60).token

    assert plain().names_us(issued)
    assert plain().names_us(issued[:-4] + "AAAA")
    for token in (other, "", "a.b.c", issued[:40]):
        assert not plain().names_us(token)


async def test_token_outlives_the_key_that_signed_it_as_long_as_that_is_published(world: World) -> None:
    token = await token_of(world)

    world.directory.keys = (token_key(0), token_key(1, NOW - 1))
    assert await world.is_good(token)
    world.directory.keys = (token_key(1),)
    assert not await world.is_good(token)


def test_token_of_a_teams_user_says_so() -> None:
    token = (
        plain().sign(SERVICE, PRIMARY, "8:orgid:55555555-aaaa-4000-8000-00000000000b", ["chat"], 0, NOW, NOW + 60).token
    )

    assert decoded(token)["skypeid"] == "orgid:55555555-aaaa-4000-8000-00000000000b"
