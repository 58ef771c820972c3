"""Event handlers and connections: who may connect and as whom, and what is told of those that are in."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import pytest

from acceptance.servers import DEADLINE_S, Server, StartServer, running, wait_until
from acceptance.upstreams import Heard, Reply, Upstream, await_line, configure, says
from acceptance.wire import (
    JOIN,
    JSON,
    RELIABLE,
    SEND,
    Frame,
    JsonClient,
    RawClient,
    client_target,
    client_token,
    rest,
)
from faults.control import control

RETRIES: Final = ("--set", "handler_retries_s=0.05,0.05,0.05")
JSON_BODY: Final = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Each test has a hub and a handler of its own."""
    with running(tmp_path_factory.mktemp("handlers"), *RETRIES) as server:
        yield server


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def told(server: Server, hub: str, upstream: Upstream) -> Upstream:
    """It is told everything of the hub but memberships."""
    configure(server, hub, upstream.handler())
    return upstream


def status(server: Server, hub: str, **claims: Any) -> int:
    """What a client with a good token is answered."""
    with RawClient(server, client_target(hub, client_token(server, hub, **claims)), protocols=[JSON]) as client:
        return client.status


def close(server: Server, hub: str, connection_id: str, *reason: str) -> None:
    """End a connection by REST."""
    query = [("reason", text) for text in reason]
    assert rest(server, "DELETE", f"{hub}/connections/{connection_id}", query=query).status == 204


# Who may connect


def test_handler_is_told_everything_of_who_wants_to_connect(server: Server, hub: str, told: Upstream) -> None:
    more: dict[str, Any] = {
        "custom": ["a", "b"],
        "number": 7,
        "nested": {"x": [1, None]},
        "webpubsub.group": ["g1", "g2"],
    }
    token = client_token(server, hub, user="u", roles=[JOIN, SEND], **more)
    query = [("id", "7"), ("id", "8"), ("empty", ""), ("ü", "a b&c")]
    headers = {"X-Some-Header": "one", "x-LOWER": "two", "Cookie": "c=d", "Authorization": "Basic nobodys"}
    target = client_target(hub.upper(), token, query)
    with RawClient(server, target, protocols=["unknown", JSON], headers=headers) as client:
        assert client.status == 101
        assert client.headers["sec-websocket-protocol"] == JSON
    (event,) = told.await_events(1, "connect")

    body = event.json()
    claims = body["claims"]
    assert {name: claims[name] for name in ("sub", "role", "custom", "number", "webpubsub.group")} == {
        "sub": ["u"],
        "role": [JOIN, SEND],
        "custom": ["a", "b"],
        "number": ["7"],
        "webpubsub.group": ["g1", "g2"],
    }
    assert json.loads(claims["nested"][0]) == {"x": [1, None]}
    assert claims["aud"] == [f"http://{server.host}:{server.port}/client/hubs/{hub}"]
    assert claims["exp"][0].isdigit()
    assert body["query"] == {"id": ["7", "8"], "empty": [""], "ü": ["a b&c"]}
    assert body["subprotocols"] == ["unknown", JSON]
    assert body["clientCertificates"] == []
    told_headers = body["headers"]
    assert told_headers["X-Some-Header"] == ["one"]
    assert told_headers["x-LOWER"] == ["two"]
    assert told_headers["Cookie"] == ["c=d"]
    assert told_headers["Host"] == [f"{server.host}:{server.port}"]
    assert not {name.lower() for name in told_headers} & {"authorization"}
    assert token not in event.body.decode()


def test_headers_of_an_event_are_the_services(server: Server, hub: str, told: Upstream) -> None:
    with JsonClient(server, hub, user="é ü%") as client:
        told.await_events(2)
        client.request({"type": "event", "event": "Some.Event-1", "dataType": "text", "data": "x"})
    connect, _, event, disconnected = told.await_events(4)

    assert event.headers[0] == ("Host", f"127.0.0.1:{told.port}")
    assert event.get("WebHook-Request-Origin") == server.host
    assert (event.specversion, event.awpsversion) == ("1.0", "1.0")
    assert event.type == "azure.webpubsub.user.Some.Event-1"
    assert event.source == f"/hubs/{hub}/client/{client.connection_id}"
    assert (event.hub, event.eventName, event.connectionId) == (hub, "Some.Event-1", client.connection_id)
    assert (event.userId, event.subprotocol) == ("é ü%", JSON)
    assert event.target == f"/{hub}/Some.Event-1"
    assert {"ce-connectionState", "Cookie", "Authorization"}.isdisjoint(name for name, _ in event.headers)
    assert [one.id for one in (connect, event, disconnected)] == ["0", "2", "3"]
    assert connect.get("ce-subprotocol") is None
    assert len({one.get("x-ms-client-request-id") for one in told.events()}) == 4
    message = client.connection_id.encode()
    keys = control(server, "GET", "keys").json()
    digests = [
        hmac.new(keys[name].encode(), message, hashlib.sha256).hexdigest() for name in ("primaryKey", "secondaryKey")
    ]
    assert {one.signature for one in told.events()} == {",".join(f"sha256={digest}" for digest in digests)}


def test_anonymous_client_is_told_of_without_a_user(server: Server, hub: str, upstream: Upstream) -> None:
    configure(server, hub, upstream.handler(), anonymousConnectPolicy="allow")
    with RawClient(server, client_target(hub, None), protocols=[JSON]) as client:
        assert client.status == 101
    (event,) = upstream.await_events(1, "connect")

    assert event.json()["claims"] == {}
    assert event.get("ce-userId") is None


def test_client_whom_the_token_refuses_is_no_matter_of_handlers(server: Server, hub: str, told: Upstream) -> None:
    assert status(server, hub, key="A" * 44) == 401
    with RawClient(server, client_target(hub, None), protocols=[JSON]) as client:
        assert client.status == 401

    assert told.events() == []


@pytest.mark.parametrize("reply", [says(200), says(204), says(202, {}), says(200, b"null"), says(299, b" \r\n")])
def test_any_success_accepts_a_client_as_its_token_says(server: Server, hub: str, told: Upstream, reply: Reply) -> None:
    told.answer = lambda _: reply
    with JsonClient(server, hub, user="u", groups=["g"]) as client:
        assert client.connected["userId"] == "u"
        client.join("other")
        assert rest(server, "POST", f"{hub}/groups/g/:send", body=b'"x"', headers=JSON_BODY).status == 202
        assert [frame["data"] for frame in client.heard()] == ["x"]


def test_handler_says_who_a_client_is_and_what_it_may(server: Server, hub: str, told: Upstream) -> None:
    verdict = {
        "userId": "bob",
        "roles": ["webpubsub.sendToGroup.g", "unknown.role"],
        "groups": ["g", "h"],
        "subprotocol": RELIABLE,
        "later": {"more": 1},
    }
    told.answer = lambda _: says(200, verdict)
    token = client_token(server, hub, user="alice", roles=[JOIN, SEND], groups=["old"])
    with RawClient(server, client_target(hub, token), protocols=[JSON, RELIABLE]) as client:
        assert client.headers["sec-websocket-protocol"] == RELIABLE
        assert client.receive_json()["userId"] == "bob"
        for name, wanted in (("g", 200), ("h", 200), ("old", 404)):
            assert rest(server, "HEAD", f"{hub}/groups/{name}").status == wanted, name
        assert rest(server, "HEAD", f"{hub}/users/bob").status == 200
        assert rest(server, "HEAD", f"{hub}/users/alice").status == 404
        message = {"type": "sendToGroup", "dataType": "text", "data": "x", "noEcho": True}
        requests: list[Frame] = [
            {**message, "group": "g"},
            {**message, "group": "h"},
            {"type": "joinGroup", "group": "g"},
        ]
        for number, request in enumerate(requests):
            client.send_json({**request, "ackId": number})
        acks = [client.receive_json() for _ in range(3)]
        assert [ack["success"] for ack in acks] == [True, False, False]
        assert {ack["error"]["name"] for ack in acks[1:]} == {"Forbidden"}
    connect, connected = told.await_events(2, "connect", "connected")
    assert (connect.userId, connected.userId) == ("alice", "bob")
    assert connected.subprotocol == RELIABLE


def test_names_in_a_verdict_compare_without_case_and_null_leaves_what_is(
    server: Server, hub: str, told: Upstream
) -> None:
    told.answer = lambda _: says(200, {"UserID": "bob", "Roles": None, "groups": [], "subProtocol": ""})
    with JsonClient(server, hub, user="alice", groups=["g"]) as client:
        assert client.connected["userId"] == "bob"
        client.join("other")
        assert rest(server, "HEAD", f"{hub}/groups/g").status == 200


def test_empty_roles_take_all_away(server: Server, hub: str, told: Upstream) -> None:
    told.answer = lambda _: says(200, {"roles": []})
    with JsonClient(server, hub) as client:
        assert client.request({"type": "joinGroup", "group": "g"})["error"]["name"] == "Forbidden"


@pytest.mark.parametrize("refusal", [400, 401, 403, 404, 409, 429, 499])
def test_refused_client_gets_the_status_and_nothing_else(
    server: Server, hub: str, told: Upstream, refusal: int
) -> None:
    told.answer = lambda _: says(refusal, b"internal of the handler", X_Internal="yes")
    with RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as client:
        assert client.status == refusal
        assert b"internal" not in client.body
        assert "x-internal" not in client.headers

    assert [event.eventName for event in told.events()] == ["connect"]
    await_line(server, f"the handler answered {refusal}  operationName=ConnectRefused hub={hub}")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (says(200, b"{broken"), "the answer to connect is not JSON"),
        (says(200, b"[]"), "the answer to connect is not a JSON object"),
        (says(200, {"userId": 7}), "userId in the answer to connect is not a string"),
        (says(200, {"groups": "g"}), "groups in the answer to connect is not an array of strings"),
        (says(200, {"groups": [1]}), "groups in the answer to connect is not an array of strings"),
        (says(200, {"groups": [""]}), "groups in the answer to connect has an invalid name"),
        (says(200, {"roles": {}}), "roles in the answer to connect is not an array of strings"),
        (says(200, {"subprotocol": "mqtt"}), "subprotocol in the answer to connect is none that the client offered"),
        (says(200, {"userId": "a\r\nX-Evil: 1"}), "userId in the answer to connect has a control character"),
        (says(200, ce_connectionState="x" * 8193), "ce-connectionState has more than 8192 bytes"),
    ],
)
def test_verdict_that_means_nothing_refuses_the_client_and_says_why(
    server: Server, hub: str, told: Upstream, reply: Reply, said: str
) -> None:
    """The handler takes it for connected, so it is told of its end."""
    told.answer = lambda event: reply if event.eventName == "connect" else Reply()
    assert status(server, hub) == 500

    (connect,) = told.events("connect")
    (end,) = told.await_events(1, "disconnected")
    assert end.connectionId == connect.connectionId
    await_line(server, hub, said, "operationName=EventFailed")


def test_nobody_is_asked_where_no_handler_wants_to_be(server: Server, hub: str, upstream: Upstream) -> None:
    configure(server, hub, upstream.handler(systemEvents=["connected"]))
    with JsonClient(server, hub, user="u") as client:
        upstream.await_events(1, "connected")

    assert [(event.eventName, event.id) for event in upstream.events()] == [("connected", "1")]
    assert client.connected["userId"] == "u"


# What is told of who is in


def test_handler_hears_of_the_beginning_and_the_end_in_order(server: Server, hub: str, told: Upstream) -> None:
    with JsonClient(server, hub, user="u") as client:
        told.await_events(2)
        close(server, hub, client.connection_id, "you must go")
        client.closed()
    events = told.await_events(3)

    assert [(event.eventName, event.id) for event in events] == [
        ("connect", "0"),
        ("connected", "1"),
        ("disconnected", "2"),
    ]
    assert [event.body for event in events[1:]] == [b"{}", b'{"reason":"you must go"}']
    assert {(event.connectionId, event.userId) for event in events} == {(client.connection_id, "u")}


@pytest.mark.parametrize("end", ["close", "abort", "rest"])
def test_every_end_of_a_connection_is_told_once(server: Server, hub: str, told: Upstream, end: str) -> None:
    with RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as client:
        connection_id = client.receive_json()["connectionId"]
        match end:
            case "close":
                client.close_frame(1000)
                client.closed()
            case "abort":
                client.abort()
            case "rest":
                close(server, hub, connection_id)
                client.closed()
    told.await_events(1, "disconnected", of=connection_id)
    close_of_another(server, hub)

    assert len(told.await_events(2, "disconnected")) == 2, "of this client one, and one of the next"


def close_of_another(server: Server, hub: str) -> None:
    """A whole life of another connection."""
    with JsonClient(server, hub):
        pass


def test_client_need_not_wait_until_its_beginning_was_told(server: Server, hub: str, told: Upstream) -> None:
    """Notifications hold up nobody; among themselves they keep their order."""
    spoken = threading.Event()
    answered: list[str] = []

    def answer(event: Heard) -> Reply:
        if event.eventName == "connected":
            assert spoken.wait(DEADLINE_S)
        answered.append(event.eventName)
        return Reply()

    told.answer = answer
    with JsonClient(server, hub) as client:
        assert client.request({"type": "event", "event": "say", "dataType": "text", "data": "x"})["success"]
        client.socket.close()
        wait_until(lambda: rest(server, "HEAD", f"{hub}/connections/{client.connection_id}").status == 404, "its end")
        assert told.events("disconnected") == []
        spoken.set()
    told.await_events(1, "disconnected")

    assert answered[:3] == ["connect", "say", "connected"]


def test_client_that_comes_back_is_the_same_to_its_handler(server: Server, hub: str, told: Upstream) -> None:
    """Neither its drop nor its return is told, and its state is kept."""
    told.answer = lambda event: says(200, ce_connectionState="kept") if event.eventName == "connect" else Reply()
    with JsonClient(server, hub, protocol=RELIABLE) as first:
        told.await_events(2)
        with suppress(OSError):
            first.socket.socket.shutdown(2)
        with JsonClient(server, hub, protocol=RELIABLE, query=first.recovery(), token="") as second:
            assert second.connection_id == first.connection_id
            second.request({"type": "event", "event": "back", "dataType": "text", "data": "x"})
            close(server, hub, second.connection_id)
            second.closed()
    told.await_events(1, "disconnected")

    assert [event.eventName for event in told.events()] == ["connect", "connected", "back", "disconnected"]
    assert {event.connectionState for event in told.events()[1:]} == {"kept"}


# What a connection carries with it


def test_state_is_kept_as_the_last_successful_answer_has_it(server: Server, hub: str, told: Upstream) -> None:
    states = {
        "connect": says(200, ce_connectionState="first"),
        "connected": says(200, ce_connectionState="ignored of a notification"),
        "leave": says(200),
        "fails": says(400, ce_connectionState="ignored of a failure"),
        "changes": says(204, ce_connectionState="ünd more=="),
        "twice": Reply(204, headers=[("ce-connectionState", "one"), ("CE-ConnectionState", "two")]),
        "empty": says(204, ce_connectionState=""),
    }
    told.answer = lambda event: states.get(event.eventName, Reply())
    with JsonClient(server, hub) as client:
        told.await_events(1, "connected")
        for name in ("leave", "fails", "changes", "twice", "empty", "last"):
            client.request({"type": "event", "event": name, "dataType": "text", "data": "x"})
    told.await_events(1, "disconnected")

    assert {event.eventName: event.get("ce-connectionState") for event in told.events()} == {
        "connect": None,
        "connected": "first",
        "leave": "first",
        "fails": "first",
        "changes": "first",
        "twice": "ünd more==",
        "empty": "two",
        "last": "",
        "disconnected": "",
    }


def test_cookies_lead_a_connection_back_to_the_same_instance(server: Server, hub: str, told: Upstream) -> None:
    def answer(event: Heard) -> Reply:
        match event.eventName:
            case "connect":
                kept = ("Set-Cookie", f"instance={event.userId}; Path=/; HttpOnly")
                return Reply(
                    200, headers=[kept, ("Set-Cookie", "elsewhere=1; Path=/other"), ("Set-Cookie", "=;;broken")]
                )
            case "over":
                return Reply(200, headers=[("Set-Cookie", "instance=x; Max-Age=0; Path=/")])
        return Reply()

    told.answer = answer
    with JsonClient(server, hub, user="u1") as one, JsonClient(server, hub, user="u2") as two:
        for client in (one, two):
            for name in ("say", "over", "say"):
                assert client.request({"type": "event", "event": name, "dataType": "text", "data": "x"})["success"]
    for client, user in ((one, "u1"), (two, "u2")):
        told.await_events(1, "disconnected", of=client.connection_id)
        events = told.events("connect", "say", "over", "disconnected", of=client.connection_id)
        kept = f"instance={user}"
        assert [event.get("Cookie") for event in events] == [None, kept, kept, None, None]
    assert all(asked.get("Cookie") is None for asked in told.validations())


def test_signatures_are_of_both_keys_and_follow_their_rotation(
    start_server: StartServer, hub: str, upstream: Upstream
) -> None:
    """Also for connections that were there before."""
    server = start_server(*RETRIES)
    configure(server, hub, upstream.handler())

    def signatures(key: str) -> list[str]:
        return [
            f"sha256={hmac.new(keys[name].encode(), key.encode(), hashlib.sha256).hexdigest()}"
            for name in ("primaryKey", "secondaryKey")
        ]

    with JsonClient(server, hub) as client:
        told: list[list[str]] = []
        for number, rotated in enumerate(("", "secondary", "primary")):
            if rotated:
                assert control(server, "POST", "keys/:rotate", {"keyType": rotated}).status == 200
            keys = control(server, "GET", "keys").json()
            client.request({"type": "event", "event": "say", "dataType": "text", "data": "x"})
            told.append(upstream.await_events(number + 1, "say")[-1].signature.split(","))
            assert told[-1] == signatures(client.connection_id)
    first, second, third = told
    assert (first[0] == second[0], first[1] == second[1]) == (True, False)
    assert (second[0] == third[0], second[1] == third[1]) == (False, True)


# Groups


def test_who_enters_and_leaves_groups_is_told_where_it_is_wanted(server: Server, hub: str, upstream: Upstream) -> None:
    """Whatever the cause: token, client, REST, or the end of the connection."""
    events = {"eventNames": ["joined", "left"], "groupFilters": ["g1", "team.*"]}
    configure(server, hub, upstream.handler(systemEvents=[], groupPresenceEvents=events))
    with JsonClient(server, hub, user="u", groups=["g1", "other"]) as client:
        client.join("team.a")
        client.join("team.a.b")
        client.request({"type": "leaveGroup", "group": "g1"})
        there = f"{hub}/groups/g1/connections/{client.connection_id}"
        assert rest(server, "PUT", there).status == 200
        assert rest(server, "DELETE", there).status == 204
        upstream.await_events(5)
    heard = [
        (event.type.removeprefix("azure.webpubsub.gp."), event.json()["group"]) for event in upstream.await_events(6)
    ]

    assert heard == [
        ("joined", "g1"),
        ("joined", "team.a"),
        ("left", "g1"),
        ("joined", "g1"),
        ("left", "g1"),
        ("left", "team.a"),
    ]
    assert {event.target for event in upstream.events()} == {f"/{hub}/joined", f"/{hub}/left"}
