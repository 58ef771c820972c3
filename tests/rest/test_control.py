"""The local operator's table: over the control socket, and for nobody else."""

from typing import Any

import pytest

from rest.asgi import ENDPOINT, World

CONTROL = [
    ("GET", "/control/status"),
    ("POST", "/control/url"),
    ("GET", "/control/keys"),
    ("POST", "/control/keys/:rotate"),
    ("GET", "/control/hubs"),
    ("GET", "/control/hubs/chat"),
    ("PUT", "/control/hubs/chat"),
    ("PATCH", "/control/hubs/chat"),
    ("DELETE", "/control/hubs/chat"),
]


def test_these_are_all_operations_of_the_operator(world: World) -> None:
    rows = {
        (row.method, row.path.replace("{hub}", "chat")) for row in world.app.operations if row.surface == "operator"
    }

    assert rows == set(CONTROL)


@pytest.mark.parametrize(("method", "path"), [*CONTROL, ("POST", "/control/status"), ("OPTIONS", "/control/keys")])
@pytest.mark.parametrize("state", [{}, {"control": False}, {"control": "true"}])
async def test_for_everybody_else_the_paths_do_not_exist(
    world: World, method: str, path: str, state: dict[str, Any]
) -> None:
    refused = await world.call(method, path, state=state)
    nothing = await world.call(method, "/no/such/path", state=state)

    assert refused.status == 404
    assert refused.body == nothing.body
    assert world.catalog.keys.primary == "primary-secret-0"


async def test_status_tells_where_the_server_is(world: World) -> None:
    world.telemetry.connections = 7
    reply = await world.operate("GET", "/control/status")

    document = reply.json
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert document.pop("uptimeSeconds") >= 0
    assert document == {
        "endpoint": ENDPOINT,
        "connectionString": f"Endpoint={ENDPOINT};AccessKey=primary-secret-0;Version=1.0;",
        "pid": 4711,
        "version": "1.2.3",
        "dataFolder": "/srv/hubwire",
        "connections": 7,
    }


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ({"hub": "Chat"}, "/client/hubs/Chat", (None, (), (), 60)),
        (
            {"hub": "chat", "userId": "u", "roles": ["r"], "groups": ["g", "g"], "minutes": 5, "clientType": "Default"},
            "/client/hubs/chat",
            ("u", ("r",), ("g",), 5),
        ),
        (
            {"hub": "chat", "userId": None, "minutes": 0, "clientType": "MQTT"},
            "/clients/mqtt/hubs/chat",
            (None, (), (), 60),
        ),
    ],
)
async def test_client_url_holds_a_token_for_itself(
    world: World, document: dict[str, Any], path: str, expected: tuple[Any, ...]
) -> None:
    reply = await world.operate("POST", "/control/url", document)

    assert reply.json == {
        "url": f"ws://localhost:8080{path}?access_token=issued-token-1",
        "baseUrl": f"ws://localhost:8080{path}",
        "token": "issued-token-1",
    }
    assert world.principals.issued == [("default", f"{ENDPOINT}{path}", *expected)]


@pytest.mark.parametrize(
    ("document", "target"),
    [
        ({}, "Body"),
        ([], "Body"),
        (None, "Body"),
        ({"hub": 1}, "Body"),
        ({"hub": "chat", "minutes": -1}, "Body"),
        ({"hub": "chat", "minutes": 2**31}, "Body"),
        ({"hub": "chat", "group": ["a"]}, "Body"),
        ({"hub": "1"}, "hub"),
        ({"hub": "chat", "userId": ""}, "userId"),
        ({"hub": "chat", "userId": "a\n"}, "userId"),
        ({"hub": "chat", "groups": [" "]}, "groups"),
        ({"hub": "chat", "clientType": "tcp"}, "clientType"),
    ],
)
async def test_bad_request_for_a_url_is_a_400(world: World, document: object, target: str) -> None:
    reply = await world.operate("POST", "/control/url", document)

    assert (reply.status, reply.json["target"]) == (400, target)
    assert world.principals.issued == []


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"hub":"\xff"}', b"[" * 1000, b'{"a":' * 150])
async def test_body_that_is_no_json_is_a_400(world: World, body: bytes) -> None:
    reply = await world.call("POST", "/control/url", body=body, state={"control": True})

    assert (reply.status, reply.json["target"]) == (400, "Body")


async def test_keys_come_with_their_connection_strings(world: World) -> None:
    reply = await world.operate("GET", "/control/keys")

    assert reply.json == {
        "primaryKey": "primary-secret-0",
        "secondaryKey": "secondary-secret-0",
        "primaryConnectionString": f"Endpoint={ENDPOINT};AccessKey=primary-secret-0;Version=1.0;",
        "secondaryConnectionString": f"Endpoint={ENDPOINT};AccessKey=secondary-secret-0;Version=1.0;",
    }


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("primary", ("primary-secret-1", "secondary-secret-0")),
        ("secondary", ("primary-secret-0", "secondary-secret-1")),
        ("Secondary", ("primary-secret-0", "secondary-secret-1")),
    ],
)
async def test_one_key_is_replaced_and_the_other_stays(world: World, kind: str, expected: tuple[str, str]) -> None:
    reply = await world.operate("POST", "/control/keys/:rotate", {"keyType": kind})

    assert (reply.json["primaryKey"], reply.json["secondaryKey"]) == expected
    assert (await world.operate("GET", "/control/keys")).json == reply.json


@pytest.mark.parametrize("kind", ["salt", "Salt"])
async def test_salt_is_replaced_and_never_told(world: World, kind: str) -> None:
    reply = await world.operate("POST", "/control/keys/:rotate", {"keyType": kind})

    assert (reply.json["primaryKey"], reply.json["secondaryKey"]) == ("primary-secret-0", "secondary-secret-0")
    assert world.catalog.keys.salt == "salt-secret-1"
    assert b"salt-secret" not in reply.body


@pytest.mark.parametrize("document", [None, {}, {"keyType": "both"}, {"keyType": 1}, {"keyType": "primary", "x": 1}])
async def test_other_keys_are_a_400_and_nothing_is_replaced(world: World, document: object) -> None:
    reply = await world.operate("POST", "/control/keys/:rotate", document)

    assert reply.status == 400
    assert world.catalog.keys.primary == "primary-secret-0"
    assert world.catalog.keys.secondary == "secondary-secret-0"


async def test_hub_is_configured_changed_shown_and_forgotten(world: World) -> None:
    allow = {"properties": {"anonymousConnectPolicy": "allow"}}
    assert (await world.operate("GET", "/control/hubs")).json == {"value": []}
    assert (await world.operate("GET", "/control/hubs/chat")).status == 404

    put = await world.operate("PUT", "/control/hubs/chat", allow)
    assert (put.status, put.json) == (200, {"name": "chat", **allow})
    patched = await world.operate("PATCH", "/control/hubs/chat", {"properties": {"other": 1}})
    expected = {"name": "chat", "properties": {"anonymousConnectPolicy": "allow", "other": 1}}
    assert (patched.status, patched.json) == (200, expected)
    assert (await world.operate("GET", "/control/hubs/chat")).json == expected
    assert (await world.operate("GET", "/control/hubs")).json == {"value": [expected]}

    deleted = await world.operate("DELETE", "/control/hubs/chat")
    assert (deleted.status, deleted.body) == (204, b"")
    assert (await world.operate("GET", "/control/hubs")).json == {"value": []}
    assert (await world.operate("DELETE", "/control/hubs/chat")).status == 404


async def test_changing_a_hub_that_nobody_configured_configures_it(world: World) -> None:
    document = {"properties": {"anonymousConnectPolicy": "allow", "other": None}}

    reply = await world.operate("PATCH", "/control/hubs/chat", document)

    expected = {"name": "chat", "properties": {"anonymousConnectPolicy": "allow"}}
    assert (reply.status, reply.json) == (200, expected)
    assert (await world.operate("GET", "/control/hubs/chat")).json == expected


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_what_of_a_changed_hub_does_not_act_is_said_in_a_header(world: World, method: str) -> None:
    world.catalog.warnings = ["this does not act", "nor does that"]

    reply = await world.operate(method, "/control/hubs/chat", {"properties": {}})

    assert reply.headers["warning"] == '199 - "this does not act", 199 - "nor does that"'


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_hub_with_an_illegal_name_is_a_400(world: World, method: str) -> None:
    reply = await world.operate(method, "/control/hubs/1%2Fx", {"properties": {}})

    assert (reply.status, reply.json["target"]) == (400, "hub")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("document", [None, [], {"properties": None}, {"properties": []}, {"anonymous": "allow"}])
async def test_hub_with_bad_properties_is_a_400(world: World, method: str, document: object) -> None:
    reply = await world.operate(method, "/control/hubs/chat", document)

    assert (reply.status, reply.json["target"]) == (400, "Body")
    assert world.catalog.hubs == {}


async def test_wrong_method_is_told_to_the_operator(world: World) -> None:
    reply = await world.operate("POST", "/control/hubs/chat")

    assert (reply.status, reply.headers["allow"]) == (405, "DELETE, GET, PATCH, PUT")
