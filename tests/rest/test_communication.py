"""Users of communication services and their tokens, as their callers ask for them over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from auth.entra import NOW, decoded
from communication.world import SERVICE
from hubwire.rest.communication import instant
from rest.communicating import Serving, V, serving_users

ABSENT = f"8:acs:{SERVICE.immutable_id}_00000000-0000-0000-0000-000000000000"


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving_users(tmp_path) as serving:
        yield serving


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.0000000+00:00"),
        (1_739_309_979.324458, "2025-02-11T21:39:39.3244580+00:00"),
        (1_739_309_979.99999999, "2025-02-11T21:39:40.0000000+00:00"),
        (1_739_309_979.5, "2025-02-11T21:39:39.5000000+00:00"),
    ],
)
def test_moment_has_seven_digits_of_a_second(seconds: float, text: str) -> None:
    assert instant(seconds) == text


@pytest.mark.parametrize("body", [b"", b" \r\n", b"{}", b"null", b'{"createTokenWithScopes":[]}', b'{"x":[{"y":1}]}'])
async def test_user_is_created_without_a_token(serving: Serving, body: bytes) -> None:
    reply = await serving.call("POST", "/identities" + V, body=body)

    assert reply.status == 201
    assert reply.json == {"identity": {"id": reply.json["identity"]["id"]}}
    assert reply.headers["content-type"] == "application/json; charset=utf-8"


async def test_user_is_created_with_a_token_that_nobody_keeps(serving: Serving) -> None:
    reply = await serving.call("POST", "/identities" + V, {"createTokenWithScopes": ["chat"], "expiresInMinutes": 90})

    assert reply.json["accessToken"]["expiresOn"] == instant(NOW + 90 * 60)
    assert reply.json["identity"]["lastTokenIssuedAt"] == instant(NOW)
    assert reply.headers["cache-control"] == "no-store"
    assert await serving.world.is_good(reply.json["accessToken"]["token"])


async def test_custom_id_is_answered_with_the_user_that_has_it(serving: Serving) -> None:
    first = await serving.user(customId="a@b")
    serving.world.clock.now += 5
    second = await serving.user(customId="a@b", createTokenWithScopes=["chat"])
    found = await serving.call("GET", f"/identities/{first['identity']['id']}{V}")

    assert first["identity"]["customId"] == "a@b"
    assert second["identity"]["id"] == first["identity"]["id"]
    assert found.json == {
        "id": first["identity"]["id"],
        "customId": "a@b",
        "lastTokenIssuedAt": instant(NOW + 5),
    }


async def test_token_is_of_the_key_that_its_caller_has(serving: Serving) -> None:
    user = (await serving.user())["identity"]["id"]

    issued = [
        await serving.call("POST", f"/identities/{user}/:issueAccessToken{V}", {"scopes": ["voip"]}, who=who)
        for who in ("primary", "secondary")
    ]

    assert [decoded(reply.json["token"])["kix"] for reply in issued] == ["primary.1", "secondary.1"]
    assert all(reply.headers["cache-control"] == "no-store" for reply in issued)


async def test_revocation_and_deletion_answer_nothing(serving: Serving) -> None:
    made = await serving.user(createTokenWithScopes=["chat"])
    one, token = f"/identities/{made['identity']['id']}", made["accessToken"]["token"]

    revoked = await serving.call("POST", f"{one}/:revokeAccessTokens{V}")
    assert (revoked.status, revoked.body) == (204, b"")
    assert not await serving.world.is_good(token)
    for _ in range(2):
        deleted = await serving.call("DELETE", one + V)
        assert (deleted.status, deleted.body) == (204, b"")
    gone = await serving.call("GET", one + V)
    assert (gone.status, gone.json["error"]["code"]) == (401, "IdentityNotOwned")


async def test_user_of_another_service_is_nobody_here(serving: Serving) -> None:
    user = (await serving.user())["identity"]["id"]

    reply = await serving.call("GET", f"/identities/{user}{V}", resource="communication/other")

    assert reply.status == 401


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({"createTokenWithScopes": "chat"}, "Scopes"),
        ({"createTokenWithScopes": [None]}, "Scopes"),
        ({"createTokenWithScopes": ["Chat"]}, "Scopes"),
        ({"createTokenWithScopes": ["chat"], "expiresInMinutes": 59}, "ExpiresInMinutes"),
        ({"expiresInMinutes": "60"}, "ExpiresInMinutes"),
        ({"expiresInMinutes": 60.0}, "ExpiresInMinutes"),
        ({"expiresInMinutes": False}, "ExpiresInMinutes"),
        ({"expiresInMinutes": 2**70}, "ExpiresInMinutes"),
        ({"customId": ["a"]}, "CustomId"),
        ({"customId": ""}, "CustomId"),
        ({"customId": "x" * 257}, "CustomId"),
        ([], "Body"),
    ],
)
async def test_field_that_cannot_be_taken_is_named(serving: Serving, fields: Any, target: str) -> None:
    reply = await serving.call("POST", "/identities" + V, fields)

    error = reply.json["error"]
    assert (reply.status, error["code"], error["target"]) == (400, "ValidationError", target)


@pytest.mark.parametrize("fields", [{}, {"scopes": None}, {"scopes": []}])
async def test_token_without_scopes_is_refused(serving: Serving, fields: Any) -> None:
    user = (await serving.user())["identity"]["id"]

    reply = await serving.call("POST", f"/identities/{user}/:issueAccessToken{V}", fields)

    assert (reply.status, reply.json["error"]["target"]) == (400, "Scopes")


async def test_body_is_bounded_and_never_quoted(serving: Serving) -> None:
    long = await serving.call("POST", "/identities" + V, body=b" " * (64 * 1024 + 1))
    bad = await serving.call("POST", "/identities" + V, body=b'{"customId":secret}')

    assert long.status == 413
    assert bad.status == 400
    assert b"secret" not in bad.body
    assert ABSENT.encode() not in bad.body
