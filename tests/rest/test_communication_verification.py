"""What those who are shown a token are told: where its keys are, and whether it is good."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from auth.entra import BASE_URL
from communication.world import OTHER, SERVICE, with_keys
from rest.asgi import Reply
from rest.communicating import Serving, serving_users

ISSUER = f"/communication/{SERVICE.immutable_id}"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving_users(tmp_path) as serving:
        yield serving


async def asked(serving: Serving, body: str, *, who: str | None = "primary", path: str = ISSUER) -> Reply:
    return await serving.call("POST", f"{path}/introspect", body=body.encode(), who=who, content_type=FORM)


async def test_issuer_tells_anybody_where_its_keys_are(serving: Serving) -> None:
    reply = await serving.call("GET", f"{ISSUER.upper().replace('COMMUNICATION', 'communication')}/keys", who=None)
    found = await serving.call("GET", f"{ISSUER}/.well-known/openid-configuration", who=None)

    assert (found.status, found.json["issuer"]) == (200, BASE_URL + ISSUER)
    assert found.json["jwks_uri"] == f"{BASE_URL}{ISSUER}/keys"
    assert found.headers["cache-control"] == "public, max-age=3600"
    assert {(key["kty"], key["issuer"]) for key in reply.json["keys"]} == {("RSA", BASE_URL + ISSUER)}


async def test_good_token_is_described(serving: Serving) -> None:
    made = await serving.user(createTokenWithScopes=["chat", "voip"])

    reply = await asked(serving, f"token={made['accessToken']['token']}&token_type_hint=access_token")

    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    assert reply.json["active"] is True
    assert reply.json["scope"] == "chat voip"
    assert reply.json["sub"] == made["identity"]["id"]


async def test_of_a_token_that_is_not_good_nothing_is_said(serving: Serving) -> None:
    token = (await serving.user(createTokenWithScopes=["chat"]))["accessToken"]["token"]
    elsewhere = await asked(serving, f"token={token}", path=f"/communication/{OTHER.immutable_id}")
    serving.door.services["default"] = with_keys(2, 1)
    rotated = await asked(serving, f"token={token}")
    nonsense = await asked(serving, "token=x.y.z")

    assert [reply.json for reply in (elsewhere, rotated, nonsense)] == [{"active": False}] * 3
    assert [reply.status for reply in (elsewhere, rotated, nonsense)] == [200] * 3


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("", FORM),
        ("token=", FORM),
        ("token=a&token=b", FORM),
        ("token=%f", FORM),
        ("token=a", "application/json"),
        ("token=a", ""),
    ],
)
async def test_question_that_is_none_is_refused(serving: Serving, body: str, content_type: str) -> None:
    reply = await serving.call("POST", f"{ISSUER}/introspect", body=body.encode(), content_type=content_type)

    assert (reply.status, reply.json["error"]) == (400, "invalid_request")


async def test_service_that_is_closed_to_the_network_tells_nobody(serving: Serving) -> None:
    serving.door.services["default"] = replace(SERVICE, is_reachable=False)

    assert (await asked(serving, "token=x")).status == 403


async def test_stranger_is_told_nothing(serving: Serving) -> None:
    reply = await asked(serving, "token=x", who=None)

    assert (reply.status, reply.json["error"]) == (401, "invalid_client")
    assert (await asked(serving, "token=x", path="/communication/none")).status == 404
    assert (await serving.call("GET", f"{ISSUER}/introspect")).json["error"] == "invalid_request"
