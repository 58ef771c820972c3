"""Tokens for tokens of other identities, and who is assigned to a communication service, over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from auth.entra import NOW
from communication.entra_users import APP, OBJECT_ID, TENANT_ID
from communication.world import SERVICE
from hubwire.auth.bearers import Bearer, Proved
from rest.communicating import Serving, V, serving_users

TEAMS_ONE = f"/access/teamsExtension/tenants/{TENANT_ID}/assignments/{OBJECT_ID}{V}"
ENTRA_ALL = f"/access/entra/assignments{V}"
ENTRA_ONE = f"/access/entra/assignments/{OBJECT_ID}{V}"
ENTRA = {"tenantId": TENANT_ID, "principalType": "user", "clientIds": [APP]}
EXCHANGES = ("/access/entra/:exchangeAccessToken", "//access/teamsExtension/:exchangeAccessToken")


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving_users(tmp_path) as serving:
        claims = {
            "exp": int(NOW) + 3000,
            "appid": APP,
            "scp": "Chat Teams.ManageCalls Teams.ManageChats TeamsExtension.ManageCalls",
        }
        serving.tokens.known["good"] = Proved(Bearer(TENANT_ID, OBJECT_ID), claims)
        yield serving


# Users of Teams


async def test_token_of_a_teams_user_is_exchanged(serving: Serving) -> None:
    reply = await serving.call(
        "POST", f"/teamsUser/:exchangeAccessToken{V}", {"token": "good", "appId": APP, "userId": OBJECT_ID}
    )

    assert reply.status == 200
    assert set(reply.json) == {"token", "expiresOn"}
    assert reply.headers["cache-control"] == "no-store"
    assert await serving.world.is_good(reply.json["token"])


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({}, (401, "InvalidAccessToken", None)),
        ({"token": "bad", "appId": APP, "userId": ""}, (401, "InvalidAccessToken", None)),
        *(
            ({"token": token, "appId": APP, "userId": OBJECT_ID}, (401, "InvalidAccessToken", None))
            for token in ("", None, 7, True, ["good"], {"good": 1}, "good ", "x" * 60_000)
        ),
        ({"appId": APP, "userId": OBJECT_ID}, (401, "InvalidAccessToken", None)),
        *(
            ({"token": "good", "appId": app, "userId": OBJECT_ID}, (400, "ValidationError", "appId"))
            for app in ("", None, 7, True, [APP], {APP: 1}, APP + " ", "x" * 60_000)
        ),
        *(
            ({"token": "good", "appId": APP, "userId": user}, (400, "ValidationError", "userId"))
            for user in ("", None, 7, True, [OBJECT_ID], {OBJECT_ID: 1}, OBJECT_ID + " ", "x" * 60_000)
        ),
        ({"token": "good", "userId": OBJECT_ID}, (400, "ValidationError", "appId")),
        ({"token": "good", "appId": "x", "userId": "x"}, (400, "ValidationError", "appId")),
        ({"token": "good", "appId": OBJECT_ID, "userId": "x"}, (400, "ValidationError", "appId")),
        ({"token": "good", "appId": APP}, (400, "ValidationError", "userId")),
        ({"token": "good", "appId": APP, "userId": APP}, (400, "ValidationError", "userId")),
    ],
)
async def test_what_is_wrong_with_a_teams_user_is_said_in_order(
    serving: Serving, fields: dict[str, Any], refusal: tuple[int, str, str | None]
) -> None:
    reply = await serving.call("POST", f"/teamsUser/:exchangeAccessToken{V}", fields)

    error = reply.json["error"]
    assert (reply.status, error["code"], error.get("target")) == refusal


NO_TYPE: tuple[object, ...] = ("", "User", "users", "x" * 60_000, 7, 1.5, True, None, [], ["user"], {}, {"user": 1})
NO_GUID: tuple[object, ...] = (
    "",
    "x",
    "x" * 60_000,
    APP + " ",
    f"{{{APP}}}",
    APP.replace("-", ""),
    7,
    1.5,
    True,
    None,
    [],
    [APP],
    {},
    {APP: 1},
)
NO_CLIENTS: tuple[object, ...] = (
    "",
    APP,
    7,
    1.5,
    True,
    {},
    {APP: 1},
    *([wrong] for wrong in NO_GUID),
    [APP] * 101,
    [APP, None],
)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("principalType", wrong) for wrong in (*NO_TYPE, "group", "tenant")),
        *(("clientIds", wrong) for wrong in NO_CLIENTS),
    ],
)
async def test_field_of_an_assignment_of_a_teams_user_that_is_none_is_named(
    serving: Serving, field: str, wrong: object
) -> None:
    reply = await serving.call("PUT", TEAMS_ONE, {"principalType": "user", "clientIds": [APP], field: wrong})

    error = reply.json["error"]
    assert (reply.status, error["code"], error["target"]) == (400, "ValidationError", field)
    assert (await serving.call("GET", TEAMS_ONE)).status == 404


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("tenantId", wrong) for wrong in NO_GUID),
        *(("principalType", wrong) for wrong in (*NO_TYPE, "resourceAccount")),
        *(("clientIds", wrong) for wrong in (*NO_CLIENTS, None)),
    ],
)
async def test_field_of_an_assignment_of_an_entra_user_that_is_none_is_named(
    serving: Serving, field: str, wrong: object
) -> None:
    replies = [
        await serving.call("PUT", ENTRA_ONE, {**ENTRA, field: wrong}),
        await serving.call("PATCH", ENTRA_ALL, {APP: ENTRA, OBJECT_ID: {**ENTRA, field: wrong}}),
    ]

    for reply in replies:
        error = reply.json["error"]
        assert (reply.status, error["code"], error["target"]) == (400, "ValidationError", field)
    assert (await serving.call("GET", ENTRA_ALL)).json == {"value": []}, "all or none"


@pytest.mark.parametrize("field", list(ENTRA))
async def test_field_of_an_assignment_that_is_missing_is_named(serving: Serving, field: str) -> None:
    """A patch of one that is there may leave it out."""
    document = {name: value for name, value in ENTRA.items() if name != field}

    for reply in (
        await serving.call("PUT", ENTRA_ONE, document),
        await serving.call("PATCH", ENTRA_ALL, {OBJECT_ID: document}),
    ):
        error = reply.json["error"]
        assert (reply.status, error["code"], error["target"]) == (400, "ValidationError", field)
    await serving.call("PUT", ENTRA_ONE, ENTRA)
    assert (await serving.call("PATCH", ENTRA_ALL, {OBJECT_ID: document})).status == 204
    assert (await serving.call("GET", ENTRA_ONE)).json == {"objectId": OBJECT_ID, **ENTRA}


@pytest.mark.parametrize("name", ["x", "%20", "x" * 5000, OBJECT_ID + "%0A", OBJECT_ID + "x", "%00"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_id_in_a_path_that_is_none_is_named(serving: Serving, method: str, name: str) -> None:
    document = ENTRA if method == "PUT" else None

    for path, named in (
        (TEAMS_ONE.replace(TENANT_ID, name), "tenantId"),
        (TEAMS_ONE.replace(OBJECT_ID, name), "objectId"),
        (ENTRA_ONE.replace(OBJECT_ID, name), "objectId"),
    ):
        reply = await serving.call(method, path, document)
        error = reply.json["error"]
        assert (reply.status, error["code"], error["target"]) == (400, "ValidationError", named)


@pytest.mark.parametrize("change", ["", "x", 7, True, [], [ENTRA]])
async def test_change_that_is_no_assignment_is_named(serving: Serving, change: object) -> None:
    reply = await serving.call("PATCH", ENTRA_ALL, {APP: ENTRA, OBJECT_ID: change})

    error = reply.json["error"]
    assert (reply.status, error["code"], error["target"]) == (400, "ValidationError", OBJECT_ID)
    assert (await serving.call("GET", ENTRA_ALL)).json == {"value": []}


async def test_teams_user_needs_a_caller(serving: Serving) -> None:
    reply = await serving.call("POST", f"/teamsUser/:exchangeAccessToken{V}", {"token": "good"}, who="Bearer good")

    assert (reply.status, reply.json["error"]["code"]) == (401, "Denied")


# Users who are assigned


async def test_user_of_entra_exchanges_a_token_of_their_own(serving: Serving) -> None:
    await serving.call("PUT", ENTRA_ONE, ENTRA)

    reply = await serving.call("POST", EXCHANGES[0] + V, {}, who="Bearer good")

    assert reply.status == 200
    assert reply.json["identity"]["id"] == f"8:acs:{SERVICE.immutable_id}_wf_{TENANT_ID}_{OBJECT_ID}"
    assert await serving.world.is_good(reply.json["accessToken"]["token"])


async def test_user_of_a_teams_extension_exchanges_a_token_of_their_own(serving: Serving) -> None:
    await serving.call("PUT", TEAMS_ONE, {"principalType": "user"})

    reply = await serving.call("POST", EXCHANGES[1] + V, {}, who="bearer  good")

    assert reply.status == 200
    assert await serving.world.is_good(reply.json["accessToken"]["token"])


@pytest.mark.parametrize("path", EXCHANGES)
@pytest.mark.parametrize(
    ("who", "status", "code"),
    [
        (None, 401, "Denied"),
        ("primary", 401, "Denied"),
        ("Bearer bad", 401, "Denied"),
        ("Bearer good", 403, "Forbidden"),
    ],
)
async def test_whoever_is_not_assigned_gets_no_token(
    serving: Serving, path: str, who: str | None, status: int, code: str
) -> None:
    reply = await serving.call("POST", path + V, {}, who=who)

    assert (reply.status, reply.json["error"]["code"]) == (status, code)


async def test_exchanges_are_counted(serving: Serving) -> None:
    for _ in range(20):
        await serving.call("POST", EXCHANGES[0] + V, {}, who="Bearer good")
    reply = await serving.call("POST", EXCHANGES[1] + V, {}, who="Bearer good")

    assert (reply.status, reply.json["error"]["code"]) == (429, "TooManyRequests")
    assert 1 <= int(reply.headers["retry-after"]) <= 30


@pytest.mark.parametrize("path", EXCHANGES)
async def test_strangers_use_up_nothing_of_what_users_may_ask(serving: Serving, path: str) -> None:
    for _ in range(20):
        await serving.call("POST", path + V, {}, who="Bearer bad")
    reply = await serving.call("POST", path + V, {}, who="Bearer good")

    assert reply.status == 403


# Assignments


async def test_assignment_of_a_teams_user_is_made_replaced_read_and_deleted(serving: Serving) -> None:
    missing = await serving.call("GET", TEAMS_ONE)
    made = await serving.call("PUT", TEAMS_ONE, {"principalType": "user"})
    replaced = await serving.call("PUT", TEAMS_ONE, {"principalType": "resourceAccount", "clientIds": [APP]})
    found = await serving.call("GET", TEAMS_ONE)
    deleted = await serving.call("DELETE", TEAMS_ONE)

    assert (missing.status, missing.json["error"]["code"]) == (404, "NotFound")
    assert (made.status, made.json) == (
        201,
        {"objectId": OBJECT_ID, "tenantId": TENANT_ID, "principalType": "user"},
    )
    assert (replaced.status, found.status) == (200, 200)
    assert found.json == replaced.json == {**made.json, "principalType": "resourceAccount", "clientIds": [APP]}
    assert (deleted.status, deleted.body) == (204, b"")
    assert (await serving.call("GET", TEAMS_ONE)).status == 404


async def test_assignment_of_an_entra_user_is_made_replaced_read_and_deleted(serving: Serving) -> None:
    assert (await serving.call("GET", ENTRA_ONE)).status == 404
    made = await serving.call("PUT", ENTRA_ONE, ENTRA)
    replaced = await serving.call("PUT", ENTRA_ONE, ENTRA | {"clientIds": []})
    found = await serving.call("GET", ENTRA_ONE)

    assert (made.status, made.json) == (201, {"objectId": OBJECT_ID, **ENTRA})
    assert (replaced.status, found.json) == (200, {**made.json, "clientIds": []})
    assert (await serving.call("DELETE", ENTRA_ONE)).status == 204
    assert (await serving.call("GET", ENTRA_ONE)).status == 404


async def test_assignments_are_changed_together_and_listed_in_pages(serving: Serving) -> None:
    ids = [f"{number:08}-0000-4000-8000-000000000000" for number in range(5)]
    patched = await serving.call("PATCH", ENTRA_ALL, dict.fromkeys(ids, ENTRA))
    gone = await serving.call("PATCH", ENTRA_ALL, {ids[1]: None})

    assert (patched.status, gone.status) == (204, 204)
    pages, target = [], f"{ENTRA_ALL}&maxpagesize=2"
    while target:
        page = (await serving.call("GET", target)).json
        pages.append([one["objectId"] for one in page["value"]])
        link = urlsplit(page.get("nextLink", ""))
        assert link.netloc in ("", "default.example:9443")
        target = f"{link.path}?{link.query}" if link.path else ""
    assert pages == [[ids[0], ids[2]], [ids[3], ids[4]]]
    assert len((await serving.call("GET", ENTRA_ALL)).json["value"]) == 4


async def test_patch_has_room_for_as_many_assignments_as_it_may_have(serving: Serving) -> None:
    """Each as long as it may be, written with spaces; one more byte than there is room for is too much."""
    clients = [f"{number:08}-0000-4000-8000-000000000000" for number in range(100)]
    most = ENTRA | {"principalType": "group", "clientIds": clients}
    document = {f"{number:08}-0000-4000-8000-000000000000": most for number in range(1000)}

    patched = await serving.call("PATCH", ENTRA_ALL, document)
    longer = await serving.call("PATCH", ENTRA_ALL, body=b"{}".ljust(1000 * 5 * 1024 + 1))
    other = await serving.call("PUT", ENTRA_ONE, body=b"{}".ljust(64 * 1024 + 1))

    assert patched.status == 204
    last = await serving.call("GET", f"/access/entra/assignments/{list(document)[-1]}{V}")
    assert last.json["clientIds"] == clients
    assert (longer.status, other.status) == (413, 413)


@pytest.mark.parametrize(
    ("method", "target", "document", "named"),
    [
        ("PUT", TEAMS_ONE, {}, "principalType"),
        ("PUT", TEAMS_ONE.replace(TENANT_ID, "x"), {"principalType": "user"}, "tenantId"),
        ("PUT", ENTRA_ONE, ENTRA | {"clientIds": "x"}, "clientIds"),
        ("PUT", ENTRA_ONE, [], "Body"),
        ("GET", ENTRA_ONE.replace(OBJECT_ID, "x"), None, "objectId"),
        ("GET", f"{ENTRA_ALL}&after=x", None, "after"),
        ("GET", f"{ENTRA_ALL}&maxpagesize=0", None, "maxpagesize"),
        ("PATCH", ENTRA_ALL, {}, "Body"),
        ("PATCH", ENTRA_ALL, {"x": None}, "objectId"),
    ],
)
async def test_assignment_that_is_none_is_refused_by_name(
    serving: Serving, method: str, target: str, document: object, named: str
) -> None:
    reply = await serving.call(method, target, document)

    error = reply.json["error"]
    assert (reply.status, error["code"], error["target"]) == (400, "ValidationError", named)


async def test_operator_assigns_users_too(serving: Serving) -> None:
    below = f"/default/access/entra/assignments/{OBJECT_ID}"

    assert (await serving.operate("PUT", below, ENTRA)).status == 201
    assert (await serving.operate("GET", "/default/access/entra/assignments")).json["value"][0]["objectId"] == OBJECT_ID
    assert (await serving.operate("DELETE", below)).status == 204
    assert (await serving.operate("GET", below)).json["target"] == "objectId"
