"""Users of communication services in the hands of the local operator."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from communication.world import SERVICE
from rest.communicating import Serving, serving_users

USERS = "/default/identities"
ABSENT = f"8:acs:{SERVICE.immutable_id}_00000000-0000-0000-0000-000000000000"


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving_users(tmp_path) as serving:
        yield serving


async def test_operator_may_do_all_that_a_caller_may(serving: Serving) -> None:
    made = await serving.operate("POST", USERS, {"customId": "a", "createTokenWithScopes": ["chat"]})
    one = f"{USERS}/{made.json['identity']['id']}"
    issued = await serving.operate("POST", one + "/:issueAccessToken", {"scopes": ["voip"]})

    assert (made.status, issued.status) == (201, 200)
    assert (await serving.operate("GET", one)).json["customId"] == "a"
    assert await serving.world.is_good(issued.json["token"])
    assert (await serving.operate("POST", one + "/:revokeAccessTokens")).status == 204
    assert not await serving.world.is_good(issued.json["token"])
    assert (await serving.operate("DELETE", one)).status == 204


@pytest.mark.parametrize(
    ("method", "path", "status", "target"),
    [
        ("GET", "/none/identities", 404, "resource"),
        ("POST", "/none/identities", 404, "resource"),
        ("GET", f"{USERS}/{ABSENT}", 404, "id"),
        ("DELETE", f"{USERS}/x", 404, "id"),
        ("POST", f"{USERS}/{ABSENT}/:revokeAccessTokens", 404, "id"),
        ("GET", f"{USERS}?after=x", 404, "id"),
        ("GET", f"{USERS}?limit=0", 400, "limit"),
        ("GET", f"{USERS}/:export?limit=1001", 400, "limit"),
        ("POST", f"{USERS}/{ABSENT}/:issueAccessToken", 400, "Scopes"),
    ],
)
async def test_operator_is_told_what_is_wrong(
    serving: Serving, method: str, path: str, status: int, target: str
) -> None:
    reply = await serving.operate(method, path)

    assert (reply.status, reply.json["target"]) == (status, target)


async def test_nobody_else_sees_these_paths(serving: Serving) -> None:
    assert (await serving.call("GET", "/control/communication" + USERS)).status == 404


async def test_users_are_listed_page_by_page(serving: Serving) -> None:
    made = []
    for number in range(5):
        serving.world.clock.now += 1
        made.append((await serving.user(customId=f"c{number}"))["identity"]["id"])
    await serving.operate("POST", "/other/identities")
    await serving.operate("DELETE", f"{USERS}/{made[1]}")

    first = (await serving.operate("GET", f"{USERS}?limit=2")).json
    second = (await serving.operate("GET", f"{USERS}?limit=2&after={first['after']}")).json
    third = (await serving.operate("GET", f"{USERS}?limit=2&after={second['after']}")).json

    assert first["value"] == [{"id": made[0], "customId": "c0"}, {"id": made[2], "customId": "c2"}]
    assert [user["id"] for user in second["value"]] == made[3:]
    assert third == {"value": []}
    assert len((await serving.operate("GET", USERS)).json["value"]) == 4


async def test_exported_users_are_brought_back_with_their_revocations(serving: Serving) -> None:
    made = await serving.user(customId="a", createTokenWithScopes=["chat"])
    plain = await serving.user()
    one = f"{USERS}/{made['identity']['id']}"
    await serving.operate("POST", one + "/:revokeAccessTokens")
    exported = (await serving.operate("GET", f"{USERS}/:export")).json

    known = await serving.operate("POST", f"{USERS}/:import", exported)
    elsewhere = await serving.operate("POST", "/other/identities/:import", exported)
    again = await serving.operate("POST", "/other/identities/:import", exported)
    there = (await serving.operate("GET", "/other/identities/:export")).json

    assert {user["id"] for user in exported["value"]} == {made["identity"]["id"], plain["identity"]["id"]}
    assert [user["result"] for user in known.json["value"]] == ["known", "known"]
    assert [user["result"] for user in elsewhere.json["value"]] == ["made", "made"]
    assert [user["result"] for user in again.json["value"]] == ["known", "known"]
    assert sorted(user["generation"] for user in there["value"]) == [1, 2]
    assert {user.get("customId") for user in there["value"]} == {"a", None}


@pytest.mark.parametrize(
    "user",
    [
        {},
        7,
        None,
        {"id": "x", "generation": 1, "createdAt": 1},
        {"id": ABSENT, "generation": 0, "createdAt": 1},
        {"id": ABSENT, "generation": 1 << 60, "createdAt": 1},
        {"id": ABSENT, "generation": 1, "createdAt": 1e20},
        {"id": ABSENT, "generation": 1, "createdAt": 1, "lastTokenIssuedAt": -1},
        {"id": ABSENT, "generation": 1, "createdAt": 1, "customId": ""},
        {"id": ABSENT, "generation": "1", "createdAt": 1},
    ],
)
async def test_what_is_no_user_is_left_out_of_an_import(serving: Serving, user: object) -> None:
    good = {"id": ABSENT[:-1] + "1", "generation": 1, "createdAt": 1}

    reply = await serving.operate("POST", f"{USERS}/:import", {"value": [user, good]})

    assert (reply.status, reply.json) == (200, {"value": [{"result": "invalid"}, {"result": "made"}]})
    assert (await serving.operate("GET", USERS)).json == {"value": [{"id": good["id"]}]}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"value": {}},
        {"value": [{"id": ABSENT, "generation": 1, "createdAt": 1}] * 1001},
        {"value": [], "more": 1},
    ],
)
async def test_import_of_what_is_no_list_of_users_is_refused(serving: Serving, document: object) -> None:
    assert (await serving.operate("POST", f"{USERS}/:import", document)).status == 400
    assert (await serving.operate("GET", USERS)).json == {"value": []}
