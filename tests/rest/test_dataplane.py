"""The 25 operations: what each makes of a request, and which answer means what."""

import asyncio
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from doubles import settle
from hubwire.auth.principals import Principals
from hubwire.model.commands import (
    AddToGroups,
    Answer,
    Close,
    Command,
    Exists,
    ListMembers,
    Member,
    PermissionRule,
    Query,
    RemoveFromGroups,
    Send,
)
from hubwire.model.errors import Unauthorized
from hubwire.model.hubs import AccessKeys
from hubwire.model.messages import Data, FromServer, GroupMessage
from hubwire.model.names import HubKey
from hubwire.model.resources import ResourcePolicy
from hubwire.model.targets import Target, to_connection, to_group, to_hub, to_user
from hubwire.rest.call import API_VERSIONS
from rest.asgi import World

CHAT = HubKey("default", "chat")
C = to_connection(CHAT, "c")
G = to_group(CHAT, "g")
U = to_user(CHAT, "u")
X = Data("binary", b"x")
HUB = "/api/hubs/Chat"
GROUP = HUB + "/groups/g"
PERMISSION = HUB + "/permissions/sendToGroup/connections/c"
BULK = b'{"groups":["a","b","a"],"filter":"userId eq \'u\'"}'
NOBODY = Answer()


class Keys:
    """One resource whose tokens are sealed."""

    def access_keys(self, resource: str) -> AccessKeys:
        return AccessKeys("p" * 32, "s" * 32, "salt")

    def policy(self, resource: str) -> ResourcePolicy:
        return ResourcePolicy()

    def recovery_key(self) -> bytes:
        return b"r" * 32


class Row(NamedTuple):
    """
    One operation done right.

    Attributes:
        heard: what the node is told.
        nobody: the status when the node answers that nothing is there.
    """

    name: str
    method: str
    target: str
    status: int
    heard: Command | Query | None
    nobody: int
    body: bytes = b""
    content_type: str | None = None


TABLE = [
    Row("GetServiceStatus", "HEAD", "/api/health", 200, None, 200),
    Row(
        "AddConnectionsToGroups",
        "POST",
        HUB + "/:addToGroups",
        200,
        AddToGroups(to_hub(CHAT), ("a", "b"), "userId eq 'u'"),
        200,
        BULK,
        "application/json",
    ),
    Row(
        "RemoveConnectionsFromGroups",
        "POST",
        HUB + "/:removeFromGroups",
        200,
        RemoveFromGroups(to_hub(CHAT), ("a", "b"), "userId eq 'u'"),
        200,
        BULK,
        "application/json; charset=utf-8",
    ),
    Row(
        "CloseAllConnections",
        "POST",
        HUB + "/:closeConnections?excluded=a&excluded=b,c&reason=bye",
        204,
        Close(to_hub(CHAT), ("a", "b,c"), "bye"),
        204,
    ),
    Row("GenerateClientToken", "POST", HUB + "/:generateToken", 200, None, 200),
    Row(
        "SendToAll",
        "POST",
        HUB + "/:send?excluded=a&excluded=b&filter=userId%20eq%20null&messageTtlSeconds=300",
        202,
        Send(to_hub(CHAT), FromServer(X), ("a", "b"), "userId eq null", 300),
        202,
        b"x",
    ),
    Row("CloseConnection", "DELETE", HUB + "/connections/c?reason=bye", 204, Close(C, (), "bye"), 204),
    Row("ConnectionExists", "HEAD", HUB + "/connections/c", 200, Exists(C), 404),
    Row(
        "SendToConnection",
        "POST",
        HUB + "/connections/c/:send?messageTtlSeconds=0&excluded=c&filter=nonsense",
        202,
        Send(C, FromServer(X)),
        202,
        b"x",
    ),
    Row("RemoveConnectionFromAllGroups", "DELETE", HUB + "/connections/c/groups", 204, RemoveFromGroups(C, None), 204),
    Row("GroupExists", "HEAD", GROUP, 200, Exists(G), 404),
    Row("CloseGroupConnections", "POST", GROUP + "/:closeConnections?excluded=a", 204, Close(G, ("a",), ""), 204),
    Row(
        "SendToGroup",
        "POST",
        GROUP + "/:send?excluded=a&filter='x'%20in%20groups&messageTtlSeconds=1",
        202,
        Send(G, GroupMessage("g", X), ("a",), "'x' in groups", 1),
        202,
        b"x",
    ),
    Row("ListConnectionsInGroup", "GET", GROUP + "/connections", 200, ListMembers(G, "", 201), 200),
    Row("AddConnectionToGroup", "PUT", GROUP + "/connections/c", 200, AddToGroups(C, ("g",)), 404),
    Row("RemoveConnectionFromGroup", "DELETE", GROUP + "/connections/c", 204, RemoveFromGroups(C, ("g",)), 204),
    Row(
        "CheckPermission",
        "HEAD",
        PERMISSION + "?targetName=g",
        200,
        PermissionRule("check", C, "sendToGroup", "g"),
        404,
    ),
    Row(
        "GrantPermission",
        "PUT",
        PERMISSION + "?targetName=g",
        200,
        PermissionRule("grant", C, "sendToGroup", "g"),
        404,
    ),
    Row(
        "RevokePermission",
        "DELETE",
        PERMISSION + "?targetName=g",
        204,
        PermissionRule("revoke", C, "sendToGroup", "g"),
        204,
    ),
    Row("UserExists", "HEAD", HUB + "/users/u", 200, Exists(U), 404),
    Row("CloseUserConnections", "POST", HUB + "/users/u/:closeConnections?excluded=a", 204, Close(U, ("a",), ""), 204),
    Row(
        "SendToUser",
        "POST",
        HUB + "/users/u/:send?filter=userId%20ne%20null&messageTtlSeconds=9&excluded=a",
        202,
        Send(U, FromServer(X), (), "userId ne null", 9),
        202,
        b"x",
    ),
    Row("RemoveUserFromAllGroups", "DELETE", HUB + "/users/u/groups", 204, RemoveFromGroups(U, None), 204),
    Row("AddUserToGroup", "PUT", HUB + "/users/u/groups/g", 200, AddToGroups(U, ("g",)), 404),
    Row("RemoveUserFromGroup", "DELETE", HUB + "/users/u/groups/g", 204, RemoveFromGroups(U, ("g",)), 204),
]
IN_HUBS = [row for row in TABLE if "/hubs/" in row.target]
NAMES = [row.name for row in TABLE]
NAMES_IN_HUBS = [row.name for row in IN_HUBS]


def with_version(target: str, version: str) -> str:
    return f"{target}{'&' if '?' in target else '?'}api-version={version}"


# Every operation.


def test_table_of_this_test_is_the_table_of_the_data_plane(world: World) -> None:
    rows = {row.name: row for row in world.app.operations if row.surface == "data"}

    assert sorted(rows) == sorted(NAMES)
    assert len(rows) == 25
    for row in TABLE:
        assert rows[row.name].method == row.method
        assert rows[row.name].statuses[0] == row.status


@pytest.mark.parametrize("version", ["", *API_VERSIONS])
@pytest.mark.parametrize("row", TABLE, ids=NAMES)
async def test_operation_succeeds_in_every_version(world: World, row: Row, version: str) -> None:
    target = with_version(row.target, version) if version else row.target
    reply = await world.call(row.method, target, body=row.body, content_type=row.content_type)

    assert reply.status == row.status
    assert world.node.heard == ([] if row.heard is None else [row.heard])
    assert world.telemetry.requests == {(row.name, row.status): 1}


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
async def test_operation_on_nothing_has_its_own_answer(world: World, row: Row) -> None:
    world.node.answer = NOBODY
    reply = await world.call(row.method, row.target, body=row.body, content_type=row.content_type)

    assert reply.status == row.nobody


@pytest.mark.parametrize("row", IN_HUBS, ids=NAMES_IN_HUBS)
async def test_operation_wants_a_token(world: World, row: Row) -> None:
    reply = await world.call(row.method, row.target, token=None, body=row.body, content_type=row.content_type)

    assert (reply.status, reply.body) == (401, b"")
    assert world.node.heard == []


ACTIONS = {
    "AddConnectionsToGroups": "group/write",
    "RemoveConnectionsFromGroups": "group/write",
    "CloseAllConnections": "clientConnection/write",
    "GenerateClientToken": "clientConnection/generateToken/action",
    "SendToAll": "hub/send/action",
    "CloseConnection": "clientConnection/write",
    "ConnectionExists": "clientConnection/read",
    "SendToConnection": "clientConnection/send/action",
    "RemoveConnectionFromAllGroups": "group/write",
    "GroupExists": "group/read",
    "CloseGroupConnections": "clientConnection/write",
    "SendToGroup": "group/send/action",
    "ListConnectionsInGroup": "group/read",
    "AddConnectionToGroup": "group/write",
    "RemoveConnectionFromGroup": "group/write",
    "CheckPermission": "clientConnection/read",
    "GrantPermission": "clientConnection/write",
    "RevokePermission": "clientConnection/write",
    "UserExists": "user/read",
    "CloseUserConnections": "clientConnection/write",
    "SendToUser": "user/send/action",
    "RemoveUserFromAllGroups": "group/write",
    "AddUserToGroup": "group/write",
    "RemoveUserFromGroup": "group/write",
}


@pytest.mark.parametrize("row", IN_HUBS, ids=NAMES_IN_HUBS)
async def test_operation_asks_for_its_data_action(world: World, row: Row) -> None:
    """Whoever may only read, may look at everything and change nothing."""
    await world.call(row.method, row.target, body=row.body, content_type=row.content_type)

    assert world.principals.actions == [ACTIONS[row.name]]
    reads = row.method == "GET" or (row.method == "HEAD" and row.heard is not None)
    assert ACTIONS[row.name].endswith("/read") == reads


async def test_health_asks_for_nothing_and_nobody(world: World) -> None:
    assert (await world.call("HEAD", "/api/health", token=None)).status == 200

    assert world.principals.actions == []
    assert [row.name for row in world.app.operations if row.surface == "data" and row.action is None] == [
        "GetServiceStatus"
    ]


@pytest.mark.parametrize("row", IN_HUBS, ids=NAMES_IN_HUBS)
@pytest.mark.parametrize("hub", ["1chat", "a-b", "a" * 129, "%C3%A4", "a%2Fb", "%20"])
async def test_operation_refuses_an_illegal_hub(world: World, row: Row, hub: str) -> None:
    target = row.target.replace("/Chat", f"/{hub}", 1)
    reply = await world.call(row.method, target, body=row.body, content_type=row.content_type)

    assert reply.status == 400
    if row.method != "HEAD":
        assert reply.json["target"] == "hub"
    assert world.node.heard == []


@pytest.mark.parametrize("row", [row for row in TABLE if "/groups/g" in row.target], ids=lambda row: row.name)
@pytest.mark.parametrize("group", ["%20", "%09%0A", "g" * 1025])
async def test_operation_refuses_an_illegal_group(world: World, row: Row, group: str) -> None:
    target = row.target.replace("/groups/g", f"/groups/{group}", 1)
    reply = await world.call(row.method, target, body=row.body)

    assert reply.status == 400
    assert world.node.heard == []


@pytest.mark.parametrize("row", [row for row in TABLE if "/users/u" in row.target], ids=lambda row: row.name)
async def test_operation_refuses_a_blank_user(world: World, row: Row) -> None:
    reply = await world.call(row.method, row.target.replace("/users/u", "/users/%20"), body=row.body)

    assert reply.status == 400
    assert world.node.heard == []


# Names.


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("plain", "plain"),
        ("tenant%2Falice", "tenant/alice"),
        ("tenant%252Falice", "tenant%2Falice"),
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("%20a%20", " a "),
        (":send", ":send"),
        ("%3Asend", ":send"),
        ("groups", "groups"),
        ("connections", "connections"),
        ("..", ".."),
        ("%F0%9F%90%99%C3%A4", "🐙ä"),
        ("a%3Fb%23c", "a?b#c"),
        ("a;b=c,d", "a;b=c,d"),
        ("CaSe", "CaSe"),
        ("g" * 1024, "g" * 1024),
    ],
)
async def test_names_are_decoded_once_and_keep_their_case(world: World, raw: str, name: str) -> None:
    for method, target in (
        ("HEAD", f"{HUB}/groups/{raw}"),
        ("HEAD", f"{HUB}/users/{raw}"),
        ("HEAD", f"{HUB}/connections/{raw}"),
        ("DELETE", f"{HUB}/users/{raw}/groups/{raw}"),
        ("DELETE", f"{HUB}/groups/{raw}/connections/{raw}"),
    ):
        assert (await world.call(method, target)).status in (200, 204)

    assert world.node.asked == [
        Exists(to_group(CHAT, name)),
        Exists(to_user(CHAT, name)),
        Exists(to_connection(CHAT, name)),
        RemoveFromGroups(to_user(CHAT, name), (name,)),
        RemoveFromGroups(to_connection(CHAT, name), (name,)),
    ]


async def test_message_is_accepted_when_it_is_as_safe_as_it_is_going_to_be(world: World) -> None:
    unwritten: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    world.node.unwritten = unwritten
    sending = asyncio.ensure_future(world.call("POST", f"{HUB}/:send", body=b"x"))
    await settle()
    assert (len(world.node.executed), sending.done()) == (1, False)

    unwritten.set_result(None)
    assert (await sending).status == 202


@pytest.mark.parametrize("verb", [":send", "%3Asend", "%3asend"])
async def test_verb_may_be_encoded(world: World, verb: str) -> None:
    assert (await world.call("POST", f"{HUB}/{verb}", body=b"x")).status == 202
    assert (await world.call("POST", f"{HUB}/groups/{verb}/{verb}", body=b"x")).status == 202

    assert [command.target for command in world.node.executed] == [to_hub(CHAT), to_group(CHAT, ":send")]


async def test_doubled_and_final_slashes_mean_nothing(world: World) -> None:
    assert (await world.call("HEAD", "//api//hubs/chat///groups/g/")).status == 200

    assert world.node.asked == [Exists(G)]


# Sending.


@pytest.mark.parametrize("target", [HUB, HUB + "/groups/g", HUB + "/users/u", HUB + "/connections/c"])
@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        (None, b"\x00\xff", Data("binary", b"\x00\xff")),
        (None, b"", Data("binary", b"")),
        ("text/plain", "hä".encode(), Data("text", "hä".encode())),
        ("text/plain; charset=ISO-8859-1", b"h\xe4", Data("text", "hä".encode())),
        ("application/json", b'{"a": 1,\r\n  "a" : 1.0}', Data("json", b'{"a": 1,\r\n  "a" : 1.0}')),
        ("application/octet-stream", b"x", Data("binary", b"x")),
        ("application/x-protobuf", b"\n\x03a/b\x12\x01x", Data("protobuf", b"\n\x03a/b\x12\x01x")),
    ],
)
async def test_payload_reaches_the_node_as_it_was_sent(
    world: World, target: str, content_type: str | None, body: bytes, data: Data
) -> None:
    reply = await world.call("POST", target + "/:send", body=body, content_type=content_type)

    assert reply.status == 202
    assert [command.message.data for command in world.node.executed] == [data]
    assert world.telemetry.inbound_messages == 1


@pytest.mark.parametrize("target", [HUB, HUB + "/groups/g", HUB + "/users/u", HUB + "/connections/c"])
@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/x-protobuf", b"x", 400),
        ("application/protobuf", b"x", 415),
        ("text/html", b"x", 415),
        ("nonsense", b"x", 415),
        ("text/plain; charset=unknown", b"x", 415),
        ("application/json", b"{", 400),
        ("application/json", b"", 400),
        ("text/plain", b"\xff", 400),
    ],
)
async def test_payload_that_cannot_be_taken_is_refused(
    world: World, target: str, content_type: str, body: bytes, status: int
) -> None:
    reply = await world.call("POST", target + "/:send", body=body, content_type=content_type)

    assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json; charset=utf-8")
    assert world.node.heard == []
    assert world.telemetry.inbound_messages == 0


async def test_unsupported_type_is_told_before_the_body_is_read(world: World) -> None:
    reply = await world.call("POST", HUB + "/:send", body=b"x" * 2000, content_type="text/html")

    assert reply.status == 415
    assert world.telemetry.inbound_bytes == 0


async def test_metadata_headers_travel_with_the_message(world: World) -> None:
    headers = [("X-WebPubSub-Metadata-Trace", "a, b"), ("x-webpubsub-metadata-b", "1"), ("X-WEBPUBSUB-METADATA-B", "2")]
    for target in (HUB, GROUP):
        await world.call("POST", target + "/:send", body=b"x", headers=headers)

    for command in world.node.executed:
        assert command.message.metadata == {"trace": "b", "b": "2"}


async def test_illegal_metadata_is_a_400(world: World) -> None:
    reply = await world.call("POST", HUB + "/:send", body=b"x", headers=[("X-WebPubSub-Metadata-a", "ä")])

    assert (reply.status, reply.json["target"]) == (400, "X-WebPubSub-Metadata")
    assert world.node.heard == []


@pytest.mark.parametrize("text", ["-1", "301", "", "1.5", "x", "1&messageTtlSeconds=1", "99999999999999999999"])
@pytest.mark.parametrize("target", [HUB, HUB + "/groups/g", HUB + "/users/u", HUB + "/connections/c"])
async def test_time_to_live_is_0_to_300_seconds(world: World, target: str, text: str) -> None:
    reply = await world.call("POST", f"{target}/:send?messageTtlSeconds={text}", body=b"x")

    assert (reply.status, reply.json["target"]) == (400, "messageTtlSeconds")
    assert world.node.heard == []


@pytest.mark.parametrize("target", [HUB, HUB + "/groups/g", HUB + "/users/u"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "invalid filter",
            "Invalid syntax for 'invalid filter': Syntax error at position 14 in 'invalid filter'. "
            "(Parameter 'filter')",
        ),
        (
            "not length(userId)",
            "Invalid syntax for 'not length(userId)': Type 'null', expect 'bool'. (Parameter 'filter')",
        ),
    ],
)
async def test_bad_filter_is_told_in_the_services_own_words(world: World, target: str, text: str, message: str) -> None:
    reply = await world.call("POST", f"{target}/:send?filter={quote(text)}", body=b"x")

    assert reply.status == 400
    assert reply.json == {"code": "Error.BadRequest", "message": message, "target": "filter", "details": []}
    assert world.node.heard == []


async def test_two_filters_are_refused_rather_than_one_of_them_ignored(world: World) -> None:
    reply = await world.call("POST", HUB + "/:send?filter=true&filter=false", body=b"x")

    assert (reply.status, reply.json["target"]) == (400, "filter")


async def test_empty_filter_is_none(world: World) -> None:
    await world.call("POST", HUB + "/:send?filter=", body=b"x")

    assert world.node.executed == [Send(to_hub(CHAT), FromServer(X))]


async def test_excluded_ids_are_taken_exactly(world: World) -> None:
    await world.call("POST", HUB + "/:send?excluded=a,b&excluded=%20c%20&excluded=&excluded=a,b", body=b"x")

    assert world.node.executed[0].excluded == ("a,b", " c ", "", "a,b")


# Closing.


@pytest.mark.parametrize(
    "reason",
    ["", "bye", "a+b & c/d?e#f=g%", "grüße 🐙", "line\r\nbreak", "\0", "x" * 5000, "'\"<>"],
)
@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("POST", HUB + "/:closeConnections", to_hub(CHAT)),
        ("POST", HUB + "/groups/g/:closeConnections", G),
        ("POST", HUB + "/users/u/:closeConnections", U),
        ("DELETE", HUB + "/connections/c", C),
    ],
)
async def test_reason_of_a_close_is_free_text(
    world: World, method: str, path: str, target: Target, reason: str
) -> None:
    reply = await world.call(method, f"{path}?reason={quote(reason, safe='')}")

    assert reply.status == 204
    assert world.node.asked == [Close(target, (), reason)]


# Lists.


def members(*ids: str) -> Answer:
    found = tuple(Member(name, None if name.startswith("anonymous") else f"user-{name}") for name in ids)
    return Answer(count=len(found), members=found)


async def test_list_names_connections_and_users(world: World) -> None:
    world.node.answer = members("anonymous", "c1")
    reply = await world.call("GET", GROUP + "/connections")

    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json == {
        "value": [
            {"connectionId": "anonymous", "userId": None},
            {"connectionId": "c1", "userId": "user-c1"},
        ],
        "nextLink": None,
    }


async def test_list_of_an_empty_or_unknown_group_is_empty(world: World) -> None:
    world.node.answer = NOBODY
    reply = await world.call("GET", GROUP + "/connections")

    assert (reply.status, reply.json) == (200, {"value": [], "nextLink": None})


async def test_next_link_leads_through_the_list(world: World) -> None:
    world.node.answer = members("c1", "c2", "c3")
    first = await world.call("GET", GROUP + "/connections?maxpagesize=2&top=5&api-version=2024-12-01")

    assert [item["connectionId"] for item in first.json["value"]] == ["c1", "c2"]
    link = urlsplit(first.json["nextLink"])
    query = parse_qs(link.query)
    assert (link.scheme, link.netloc, link.path) == ("http", "hub.example:8080", GROUP + "/connections")
    assert query["api-version"] == ["2024-12-01"]
    assert query["maxpagesize"] == ["2"]
    assert query["top"] == ["3"], "clients do not subtract"

    world.node.answer = members("c3")
    second = await world.call("GET", f"{link.path}?{link.query}")

    assert second.json["nextLink"] is None
    assert world.node.asked == [ListMembers(G, "", 3), ListMembers(G, "c2", 3)]


@pytest.mark.parametrize(
    ("query", "limit", "found", "shown", "top_left"),
    [
        ("", 201, 200, 200, None),
        ("top=3", 4, 4, 3, None),
        ("top=3", 4, 3, 3, None),
        ("top=200", 201, 201, 200, None),
        ("top=201", 201, 201, 200, "1"),
        ("maxpagesize=1&top=1", 2, 2, 1, None),
        ("maxpagesize=1&top=2147483647", 2, 2, 1, "2147483646"),
        ("maxpagesize=200&top=2", 3, 3, 2, None),
    ],
)
async def test_top_ends_the_list(
    world: World, query: str, limit: int, found: int, shown: int, top_left: str | None
) -> None:
    world.node.answer = members(*(f"c{number:03}" for number in range(found)))
    reply = await world.call("GET", f"{GROUP}/connections?{query}")

    assert len(reply.json["value"]) == shown
    assert world.node.asked == [ListMembers(G, "", limit)]
    link = reply.json["nextLink"]
    assert (parse_qs(urlsplit(link).query)["top"] if link else None) == ([top_left] if top_left else None)


async def test_list_without_top_goes_on_for_ever(world: World) -> None:
    world.node.answer = members("c1", "c2")
    reply = await world.call("GET", GROUP + "/connections?maxpagesize=1")

    query = parse_qs(urlsplit(reply.json["nextLink"]).query)
    assert sorted(query) == ["api-version", "continuationToken", "maxpagesize"]
    assert query["api-version"] == [API_VERSIONS[-1]]


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("maxpagesize=0", "maxpagesize"),
        ("maxpagesize=201", "maxpagesize"),
        ("maxpagesize=", "maxpagesize"),
        ("maxpagesize=x", "maxpagesize"),
        ("maxpagesize=1&maxpagesize=1", "maxpagesize"),
        ("top=0", "top"),
        ("top=-1", "top"),
        ("top=2147483648", "top"),
        ("top=", "top"),
        ("top=1&top=2", "top"),
        ("continuationToken=", "continuationToken"),
        ("continuationToken=nonsense", "continuationToken"),
        ("continuationToken=a&continuationToken=a", "continuationToken"),
    ],
)
async def test_bad_paging_is_a_400(world: World, query: str, target: str) -> None:
    reply = await world.call("GET", f"{GROUP}/connections?{query}")

    assert (reply.status, reply.json["target"]) == (400, target)
    assert world.node.heard == []


async def test_token_of_one_group_is_none_in_another(world: World) -> None:
    world.node.answer = members("c1", "c2")
    reply = await world.call("GET", GROUP + "/connections?maxpagesize=1")
    token = parse_qs(urlsplit(reply.json["nextLink"]).query)["continuationToken"][0]

    for target in (HUB + "/groups/G", HUB + "/groups/h", "/api/hubs/other/groups/g"):
        refused = await world.call("GET", f"{target}/connections?continuationToken={token}")
        assert (refused.status, refused.json["target"]) == (400, "continuationToken")
    taken = await world.call("GET", f"/api/hubs/CHAT/groups/g/connections?continuationToken={token}")
    assert taken.status == 200


async def test_links_and_audiences_stand_on_the_public_endpoint_if_there_is_one() -> None:
    world = World(public_endpoints=["https://push.example/", "https://second.example"])
    world.node.answer = members("c1", "c2")
    reply = await world.call("GET", GROUP + "/connections?maxpagesize=1")
    await world.call("POST", HUB + "/:generateToken")

    assert reply.json["nextLink"].startswith(f"https://push.example{GROUP}/connections?")
    assert world.principals.issued[0][1] == "https://push.example/client/hubs/Chat"


async def test_link_spells_the_group_so_that_it_can_be_followed(world: World) -> None:
    world.node.answer = members("c1", "c2")
    reply = await world.call("GET", HUB + "/groups/a%2Fb+c%20d/connections?maxpagesize=1")
    link = urlsplit(reply.json["nextLink"])
    await world.call("GET", f"{link.path}?{link.query}")

    group = to_group(CHAT, "a/b+c d")
    assert world.node.asked == [ListMembers(group, "", 2), ListMembers(group, "c1", 2)]


async def test_host_that_is_none_is_not_put_into_a_link(world: World) -> None:
    world.node.answer = members("c1", "c2")
    reply = await world.call("GET", GROUP + "/connections?maxpagesize=1", headers=[("Host", "evil/path")])

    assert (reply.status, reply.json["target"]) == (400, "Host")


# Groups that not every connection can be in.


@pytest.mark.parametrize(
    ("method", "path", "answer", "status"),
    [
        ("PUT", "/groups/%2B/connections/c", Answer(count=1, untakable=True), 400),
        ("PUT", "/groups/%2B/connections/c", Answer(untakable=True), 404),
        ("PUT", "/groups/%2B/connections/c", Answer(count=1, untakable=True, limit_reached=True), 400),
        ("PUT", "/users/u/groups/%2B", Answer(count=2, untakable=True), 200),
        ("PUT", "/users/u/groups/%2B", Answer(count=2, untakable=True, limit_reached=True), 409),
        ("POST", "/:addToGroups", Answer(count=2, untakable=True), 200),
        ("POST", "/:addToGroups", Answer(count=2, untakable=True, limit_reached=True), 409),
    ],
)
async def test_connection_whose_protocol_has_no_such_group_is_refused_alone_and_left_out_among_others(
    world: World, method: str, path: str, answer: Answer, status: int
) -> None:
    world.node.answer = answer
    body = b'{"groups":["+"]}' if method == "POST" else b""
    reply = await world.call(method, HUB + path, body=body, content_type="application/json" if body else None)

    assert reply.status == status
    if status == 400:
        assert reply.json["code"] == "Error.BadRequest"
        assert reply.json["target"] == "group"
        assert "MQTT" in reply.json["message"]


# Bulk changes of groups.


@pytest.mark.parametrize("verb", [":addToGroups", ":removeFromGroups"])
@pytest.mark.parametrize(
    "body",
    [b'{"groups":["a"]}', b'{"groups":["a"],"filter":null}', b'{"filter":"","groups":["a"],"later":[1,{"x":2}]}'],
)
async def test_bulk_change_without_a_filter_is_for_the_whole_hub(world: World, verb: str, body: bytes) -> None:
    reply = await world.call("POST", f"{HUB}/{verb}", body=body, content_type="application/json")

    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "0")
    kind = AddToGroups if verb == ":addToGroups" else RemoveFromGroups
    assert world.node.asked == [kind(to_hub(CHAT), ("a",), None)]


@pytest.mark.parametrize("verb", [":addToGroups", ":removeFromGroups"])
@pytest.mark.parametrize(
    ("content_type", "body", "status", "target"),
    [
        (None, BULK, 415, "Content-Type"),
        (None, b"", 415, "Content-Type"),
        ("text/plain", BULK, 415, "Content-Type"),
        ("application/octet-stream", BULK, 415, "Content-Type"),
        ("application/json; charset=martian", BULK, 415, "Content-Type"),
        ("application/json", b"", 400, "Body"),
        ("application/json", b"{", 400, "Body"),
        ("application/json", b"null", 400, "Body"),
        ("application/json", b'["a"]', 400, "Body"),
        ("application/json", b"{}", 400, "Body"),
        ("application/json", b'{"groups":null}', 400, "Body"),
        ("application/json", b'{"groups":"a"}', 400, "Body"),
        ("application/json", b'{"groups":[1]}', 400, "Body"),
        ("application/json", b'{"groups":["\\ud800 half a character"]}', 400, "Body"),
        ("application/json", b'{"groups":["a"],"filter":1}', 400, "Body"),
        ("application/json", b'{"groups":[]}', 400, "groups"),
        ("application/json", b'{"groups":["a",""]}', 400, "groups"),
        ("application/json", b'{"groups":["a"," "]}', 400, "groups"),
        ("application/json", b'{"groups":["a"],"filter":"invalid filter"}', 400, "filter"),
        ("application/json", b'{"groups":["a"],"filter":" "}', 400, "filter"),
        ("application/json", b'{"groups":["' + b"g" * 1025 + b'"]}', 400, "Content-Length"),
    ],
)
async def test_bulk_change_is_checked_as_a_whole_before_anything_changes(
    world: World, verb: str, content_type: str | None, body: bytes, status: int, target: str
) -> None:
    reply = await world.call("POST", f"{HUB}/{verb}", body=body, content_type=content_type)

    assert (reply.status, reply.json["target"]) == (status, target)
    assert world.node.heard == []


# Permissions.


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("permission", ["joinLeaveGroup", "sendToGroup"])
async def test_both_permissions_are_known(world: World, method: str, permission: str) -> None:
    target = f"{HUB}/permissions/{permission}/connections/c?targetName=G%2F%2A"
    assert (await world.call(method, target)).status in (200, 204)

    rule = world.node.asked[0]
    assert isinstance(rule, PermissionRule)
    assert (rule.permission, rule.group) == (permission, "G/*")


@pytest.mark.parametrize(
    ("method", "path", "query", "target"),
    [
        ("PUT", "sendToGroups", "?targetName=g", "permission"),
        ("PUT", "SendToGroup", "?targetName=g", "permission"),
        ("PUT", "%20", "?targetName=g", "permission"),
        ("PUT", "sendToGroup", "", "targetName"),
        ("PUT", "sendToGroup", "?targetName=", "targetName"),
        ("PUT", "sendToGroup", "?targetName=%20", "targetName"),
        ("DELETE", "sendToGroup", "?targetName=" + "g" * 1025, "targetName"),
        ("DELETE", "joinLeaveGroup", "?targetName=a&targetName=b", "targetName"),
    ],
)
async def test_bad_permission_or_group_is_a_400(world: World, method: str, path: str, query: str, target: str) -> None:
    reply = await world.call(method, f"{HUB}/permissions/{path}/connections/c{query}")
    checked = await world.call("HEAD", f"{HUB}/permissions/{path}/connections/c{query}")

    assert (reply.status, reply.json["target"]) == (400, target)
    assert (checked.status, checked.body) == (400, b"")
    assert world.node.heard == []


@pytest.mark.parametrize(
    ("method", "answer", "status"),
    [
        ("HEAD", Answer(count=1, allowed=False), 404),
        ("HEAD", Answer(count=1, allowed=True), 200),
        ("PUT", Answer(count=1, allowed=True), 200),
        ("PUT", Answer(count=1, limit_reached=True), 409),
        ("PUT", NOBODY, 404),
        ("DELETE", Answer(count=1), 204),
        ("DELETE", Answer(count=1, limit_reached=True), 409),
        ("DELETE", NOBODY, 204),
    ],
)
async def test_answer_to_a_rule_becomes_its_status(world: World, method: str, answer: Answer, status: int) -> None:
    world.node.answer = answer
    reply = await world.call(method, PERMISSION + "?targetName=g")

    assert reply.status == status


# Client tokens.


@pytest.mark.parametrize(
    ("query", "path", "expected"),
    [
        ("", "/client/hubs/Chat", (None, (), (), 60)),
        ("?minutesToExpire=0", "/client/hubs/Chat", (None, (), (), 60)),
        ("?minutesToExpire=1&userId=u%2F1", "/client/hubs/Chat", ("u/1", (), (), 1)),
        ("?minutesToExpire=2147483647", "/client/hubs/Chat", (None, (), (), 2147483647)),
        ("?userId=", "/client/hubs/Chat", (None, (), (), 60)),
        ("?role=a&role=b&group=g&group=h&group=g", "/client/hubs/Chat", (None, ("a", "b"), ("g", "h"), 60)),
        ("?roles=a&groups=g", "/client/hubs/Chat", (None, ("a",), ("g",), 60)),
        ("?role=a&roles=b&group=g&groups=h", "/client/hubs/Chat", (None, ("a", "b"), ("g", "h"), 60)),
        ("?clientType=Default", "/client/hubs/Chat", (None, (), (), 60)),
        ("?clientType=default", "/client/hubs/Chat", (None, (), (), 60)),
        ("?clientType=MQTT", "/clients/mqtt/hubs/Chat", (None, (), (), 60)),
        ("?clientType=mqtt", "/clients/mqtt/hubs/Chat", (None, (), (), 60)),
        ("?clientProtocol=Mqtt", "/clients/mqtt/hubs/Chat", (None, (), (), 60)),
        ("?clientType=SocketIO", "/clients/socketio/hubs/Chat", (None, (), (), 60)),
        ("?clientType=socketio", "/clients/socketio/hubs/Chat", (None, (), (), 60)),
    ],
)
async def test_token_says_what_was_asked_for(world: World, query: str, path: str, expected: tuple[Any, ...]) -> None:
    reply = await world.call("POST", f"{HUB}/:generateToken{query}")

    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json == {"token": "issued-token-1"}
    assert world.principals.issued == [("default", f"http://hub.example:8080{path}", *expected)]


@pytest.mark.parametrize("version", API_VERSIONS)
@pytest.mark.parametrize("client_type", ["MQTT", "mqtt", "Mqtt"])
async def test_client_type_is_taken_in_every_version(world: World, version: str, client_type: str) -> None:
    """Those before 2024-01-01 did not have it, and no client of theirs sends it."""
    reply = await world.call("POST", f"{HUB}/:generateToken?api-version={version}&clientType={client_type}")

    assert reply.status == 200
    assert world.principals.issued[0][1] == "http://hub.example:8080/clients/mqtt/hubs/Chat"


@pytest.mark.parametrize(
    ("client_type", "path", "other"),
    [
        ("Default", "/client/hubs/Chat", "/clients/mqtt/hubs/Chat"),
        ("MQTT", "/clients/mqtt/hubs/Chat", "/client/hubs/Chat"),
    ],
)
async def test_token_is_good_at_the_endpoint_of_its_client_type_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, client_type: str, path: str, other: str
) -> None:
    """As whoever lets clients in sees it."""
    real = Principals(Keys(), (), 60)
    monkeypatch.setattr(world.principals, "issue_client_token", real.issue_client_token)
    reply = await world.call("POST", f"{HUB}/:generateToken?clientType={client_type}&userId=u&role=r&group=g")
    token = reply.json["token"]

    claims = real.client(token, CHAT, path, "hub.example:8080")
    assert (claims.user_id, claims.roles, claims.groups) == ("u", ("r",), ("g",))
    with pytest.raises(Unauthorized, match="another audience"):
        real.client(token, CHAT, other, "hub.example:8080")


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("minutesToExpire=-1", "minutesToExpire"),
        ("minutesToExpire=", "minutesToExpire"),
        ("minutesToExpire=2147483648", "minutesToExpire"),
        ("minutesToExpire=1.5", "minutesToExpire"),
        ("minutesToExpire=1&minutesToExpire=2", "minutesToExpire"),
        ("userId=%20", "userId"),
        ("userId=a%0D%0AX:b", "userId"),
        ("userId=a%00", "userId"),
        ("userId=a&userId=b", "userId"),
        ("group=", "group"),
        ("group=a&groups=%20", "group"),
        ("clientType=tcp", "clientType"),
        ("clientType=", "clientType"),
        ("clientType=MQTT&clientProtocol=MQTT", "clientType"),
    ],
)
async def test_token_that_cannot_be_issued_is_a_400(world: World, query: str, target: str) -> None:
    reply = await world.call("POST", f"{HUB}/:generateToken?{query}")

    assert (reply.status, reply.json["target"]) == (400, target)
    assert world.principals.issued == []


@pytest.mark.parametrize(
    ("state", "audience"),
    [
        ({"host": "push.example", "scheme": "https"}, "https://push.example/client/hubs/Chat"),
        ({"scheme": "https"}, "https://hub.example:8080/client/hubs/Chat"),
        ({"control": True, "host": "localhost"}, "http://localhost:8080/client/hubs/Chat"),
    ],
)
async def test_audience_is_where_the_caller_found_the_server(
    world: World, state: dict[str, Any], audience: str
) -> None:
    await world.call("POST", HUB + "/:generateToken", state=state)

    assert world.principals.issued[0][1] == audience


# Several resources


@pytest.mark.parametrize("row", IN_HUBS, ids=NAMES_IN_HUBS)
async def test_operation_is_done_at_the_resource_that_the_request_is_for(world: World, row: Row) -> None:
    await world.call(
        row.method, row.target, body=row.body, content_type=row.content_type, state={"resource": "wps-one"}
    )

    assert [resource for _, resource, _, _ in world.principals.seen] == ["wps-one"]
    assert {heard.target.hub for heard in world.node.heard} <= {HubKey("wps-one", "chat")}
    assert bool(world.node.heard) is (row.heard is not None)
    assert {issued[0] for issued in world.principals.issued} <= {"wps-one"}


@pytest.mark.parametrize(
    ("resource", "base"), [("default", "https://hub.example.com"), ("wps-one", "http://localhost:8081")]
)
async def test_public_endpoint_leads_to_the_first_resource_alone(resource: str, base: str) -> None:
    world = World(public_endpoints=["https://hub.example.com"])

    reply = await world.call(
        "POST", f"{HUB}/:generateToken", state={"resource": resource, "host": "localhost:8081", "scheme": "http"}
    )

    assert reply.status == 200
    assert world.principals.issued[0][1] == f"{base}/client/hubs/Chat"
