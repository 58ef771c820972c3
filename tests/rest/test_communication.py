"""Users of communication services and their tokens, as their callers ask for them over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

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


@pytest.mark.parametrize("custom_id", ["", "x" * 257, "x" * 60_000, 7, 1.5, True, [], ["a"], {}, {"a": "b"}])
async def test_custom_id_that_is_none_is_named(serving: Serving, custom_id: object) -> None:
    reply = await serving.call("POST", "/identities" + V, {"customId": custom_id})

    error = reply.json["error"]
    assert (reply.status, error["code"], error["target"]) == (400, "ValidationError", "CustomId")


@pytest.mark.parametrize(
    "scopes",
    [
        *("", "chat", 7, 1.5, True, {}, {"chat": 1}),
        *([None], [7], [["chat"]], [{}], [""], ["Chat"], ["chat "], ["chat,voip"], ["chat", "fly"], ["x" * 60_000]),
    ],
)
async def test_scopes_that_are_none_are_named(serving: Serving, scopes: object) -> None:
    user = (await serving.user())["identity"]["id"]

    created = await serving.call("POST", "/identities" + V, {"createTokenWithScopes": scopes})
    issued = await serving.call("POST", f"/identities/{user}/:issueAccessToken{V}", {"scopes": scopes})

    for reply in (created, issued):
        error = reply.json["error"]
        assert (reply.status, error["code"], error["target"]) == (400, "ValidationError", "Scopes")


@pytest.mark.parametrize("fields", [{}, {"scopes": None}, {"scopes": []}, {"createTokenWithScopes": ["chat"]}, None])
async def test_token_without_scopes_is_refused(serving: Serving, fields: object) -> None:
    user = (await serving.user())["identity"]["id"]

    reply = await serving.call("POST", f"/identities/{user}/:issueAccessToken{V}", fields)

    error = reply.json["error"]
    assert (reply.status, error["code"], error["target"]) == (400, "ValidationError", "Scopes")


@pytest.mark.parametrize(
    "minutes", [59, 1441, 0, -60, 2**31, 2**70, -(2**70), 60.0, 60.5, "60", "", True, False, [], [60], {}, {"a": 60}]
)
async def test_lifetime_that_is_none_is_named(serving: Serving, minutes: object) -> None:
    """Of a user who gets no token, too."""
    user = (await serving.user())["identity"]["id"]
    lifetime = {"expiresInMinutes": minutes}

    replies = [
        await serving.call("POST", "/identities" + V, {"createTokenWithScopes": ["chat"], **lifetime}),
        await serving.call("POST", "/identities" + V, lifetime),
        await serving.call("POST", f"/identities/{user}/:issueAccessToken{V}", {"scopes": ["chat"], **lifetime}),
    ]

    for reply in replies:
        error = reply.json["error"]
        assert (reply.status, error["code"], error["target"]) == (400, "ValidationError", "ExpiresInMinutes")


async def test_field_that_is_null_is_one_that_is_missing(serving: Serving) -> None:
    nothing = {"customId": None, "createTokenWithScopes": None, "expiresInMinutes": None}

    made = await serving.user(**nothing)
    other = await serving.user(**nothing)
    path = f"/identities/{made['identity']['id']}/:issueAccessToken{V}"
    issued = await serving.call("POST", path, {"scopes": ["chat"], "expiresInMinutes": None})

    assert set(made) == {"identity"}
    assert set(made["identity"]) == {"id"}
    assert other["identity"]["id"] != made["identity"]["id"]
    assert issued.json["expiresOn"] == instant(NOW + 1440 * 60)


BODIES = [b"{", b"[]", b"7", b"true", b'"x"', b"{}{}", b"\xef\xbb\xbf{}", b'{"a":\xff}', b'{"a":NaN}', b"[" * 60_000]
"""None of them a JSON object."""


@pytest.mark.parametrize("body", BODIES, ids=[repr(body[:8]) for body in BODIES])
async def test_body_that_is_no_object_is_refused_by_every_operation_that_takes_one(
    serving: Serving, body: bytes
) -> None:
    user = (await serving.user())["identity"]["id"]
    one = "11111111-1111-4111-8111-111111111111"
    targets = [
        ("POST", "/identities"),
        ("POST", f"/identities/{user}/:issueAccessToken"),
        ("POST", "/teamsUser/:exchangeAccessToken"),
        ("PUT", f"/access/teamsExtension/tenants/{one}/assignments/{one}"),
        ("PUT", f"/access/entra/assignments/{one}"),
        ("PATCH", "/access/entra/assignments"),
    ]
    callers = [
        *((*target, "primary") for target in targets),
        ("POST", "/access/entra/:exchangeAccessToken", "Bearer x"),
        ("POST", "/access/teamsExtension/:exchangeAccessToken", "Bearer x"),
    ]

    for method, path, who in callers:
        reply = await serving.call(method, path + V, body=body, who=who)
        error = reply.json["error"]
        assert (path, reply.status, error["code"], error["target"]) == (path, 400, "ValidationError", "Body")


@pytest.mark.parametrize(
    "user",
    ["x", "8:acs:", "%00", "%20", "x" * 5000, "8:orgid:x", ABSENT, ABSENT.upper(), ABSENT + "%0A", "8%253Aacs%253A"],
)
async def test_id_that_nobody_has_is_answered_alike_by_every_operation(serving: Serving, user: str) -> None:
    one = f"/identities/{user}"

    for method, path, document in (
        ("GET", one, None),
        ("DELETE", one, None),
        ("POST", one + "/:revokeAccessTokens", None),
        ("POST", one + "/:issueAccessToken", {"scopes": ["chat"]}),
    ):
        reply = await serving.call(method, path + V, document)
        assert (reply.status, reply.json["error"]["code"]) == (401, "IdentityNotOwned")
        assert "target" not in reply.json["error"]


async def test_body_is_bounded_and_never_quoted(serving: Serving) -> None:
    long = await serving.call("POST", "/identities" + V, body=b" " * (64 * 1024 + 1))
    bad = await serving.call("POST", "/identities" + V, body=b'{"customId":secret}')

    assert long.status == 413
    assert bad.status == 400
    assert b"secret" not in bad.body
    assert ABSENT.encode() not in bad.body
