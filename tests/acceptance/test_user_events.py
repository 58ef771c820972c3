"""What clients say to the application's server, and what it says to them: content types both ways, order, routing."""

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest

from acceptance.servers import DEADLINE_S, Server, running
from acceptance.upstreams import Heard, Reply, Upstream, await_line, configure, says
from acceptance.wire import JSON, RELIABLE, Frame, JsonClient, RawClient, client_target, client_token

INTERNAL: Final = {"name": "InternalServerError", "message": "Internal server error"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Each test has a hub and a handler of its own."""
    with running(tmp_path_factory.mktemp("user"), "--set", "handler_retries_s=0.05,0.05,0.05") as server:
        yield server


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def told(server: Server, hub: str, upstream: Upstream) -> Upstream:
    """It is told of user events of the hub."""
    configure(server, hub, upstream.handler(systemEvents=[]))
    return upstream


def simple(server: Server, hub: str) -> RawClient:
    """A client without a subprotocol."""
    client = RawClient(server, client_target(hub, client_token(server, hub)))
    assert client.status == 101
    return client


def say(client: JsonClient, name: str = "say", data: Any = "x", kind: str = "text", **more: Any) -> Frame:
    """Send an event with an ack id; returns the ack."""
    return client.request({"type": "event", "event": name, "dataType": kind, "data": data, **more})


# Simple clients


@pytest.mark.parametrize(
    ("opcode", "body", "content_type"),
    [
        (1, "grüße".encode(), "text/plain; charset=utf-8"),
        (1, b'{"json": "or not"}', "text/plain; charset=utf-8"),
        (1, b"", "text/plain; charset=utf-8"),
        (2, b"\x00\xff\x80", "application/octet-stream"),
        (2, b"", "application/octet-stream"),
    ],
)
def test_each_frame_of_a_simple_client_is_a_message(
    server: Server, hub: str, told: Upstream, opcode: int, body: bytes, content_type: str
) -> None:
    with simple(server, hub) as client:
        client.send_frame(opcode, body)
        (event,) = told.await_events(1)

    assert (event.type, event.eventName) == ("azure.webpubsub.user.message", "message")
    assert (event.get("Content-Type"), event.body) == (content_type, body)
    assert event.get("ce-subprotocol") is None


@pytest.mark.parametrize(
    ("reply", "frame"),
    [
        (says(200, b"t\xc3\xa4xt", Content_Type="text/plain"), (1, "täxt".encode())),
        (says(200, b"x", Content_Type="TEXT/PLAIN ; charset=utf-8"), (1, b"x")),
        (says(200, b'{"a": 1}', Content_Type="application/json"), (1, b'{"a": 1}')),
        (says(201, b"\x00\xff", Content_Type="application/octet-stream"), (2, b"\x00\xff")),
        (says(200, b"bare"), (2, b"bare")),
    ],
)
def test_answer_reaches_a_simple_client_as_its_content_type_says(
    server: Server, hub: str, told: Upstream, reply: Reply, frame: tuple[int, bytes]
) -> None:
    told.answer = lambda _: reply
    with simple(server, hub) as client:
        client.send_frame(1, b"x")
        assert client.receive_frame() == frame


@pytest.mark.parametrize("reply", [says(204), says(200), says(202, Content_Type="text/plain")])
def test_empty_answer_sends_a_simple_client_nothing(server: Server, hub: str, told: Upstream, reply: Reply) -> None:
    replies = {b"quiet": reply, b"loud": says(200, b"heard", Content_Type="text/plain")}
    told.answer = lambda event: replies[event.body]
    with simple(server, hub) as client:
        client.send_frame(1, b"quiet")
        client.send_frame(1, b"loud")
        assert client.receive_frame() == (1, b"heard")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (says(400, b"internal"), "the handler answered 400"),
        (says(500, b"internal"), "the handler answered 500"),
        (says(302, Location="/"), "the handler answered 302; redirects are not followed"),
        (says(200, b"x", Content_Type="text/html"), "the answer's Content-Type is none of"),
        (says(200, b"\xff", Content_Type="text/plain"), "the answer's text is not UTF-8"),
        (says(200, b"{", Content_Type="application/json"), "the answer's body is not JSON"),
    ],
)
def test_simple_client_whose_message_fails_is_closed(
    server: Server, hub: str, told: Upstream, reply: Reply, said: str
) -> None:
    told.answer = lambda _: reply
    with simple(server, hub) as client:
        client.send_frame(1, b"x")
        closed = client.closed()

    assert (closed.code, closed.reason) == (1011, "The event handler failed.")
    await_line(server, hub, said, "event=message")


def test_simple_client_is_closed_where_nobody_takes_messages(server: Server, hub: str, upstream: Upstream) -> None:
    configure(server, hub, upstream.handler(userEventPattern="other"))
    with simple(server, hub) as client:
        client.send_frame(1, b"x")

        assert client.closed().code == 1011
    assert upstream.events("message") == []


# Clients of the JSON subprotocols


@pytest.mark.parametrize("protocol", [JSON, RELIABLE])
@pytest.mark.parametrize(
    ("kind", "data", "content_type", "body"),
    [
        ("text", "grüße", "text/plain; charset=utf-8", "grüße".encode()),
        ("text", "", "text/plain; charset=utf-8", b""),
        ("json", {"a": [1.50, None]}, "application/json", b'{"a": [1.5, null]}'),
        ("json", None, "application/json", b"null"),
        ("binary", base64.b64encode(b"\x00\xff").decode(), "application/octet-stream", b"\x00\xff"),
        ("protobuf", base64.b64encode(b"\x08\x01").decode(), "application/x-protobuf", b"\x08\x01"),
    ],
)
def test_event_goes_out_with_the_content_type_of_its_data(
    server: Server, hub: str, told: Upstream, protocol: str, kind: str, data: Any, content_type: str, body: bytes
) -> None:
    with JsonClient(server, hub, protocol=protocol) as client:
        assert say(client, "some.name", data, kind)["success"]
    (event,) = told.await_events(1)

    assert (event.type, event.subprotocol) == ("azure.webpubsub.user.some.name", protocol)
    assert (event.get("Content-Type"), event.body) == (content_type, body)


@pytest.mark.parametrize("protocol", [JSON, RELIABLE])
@pytest.mark.parametrize(
    ("reply", "kind", "data"),
    [
        (says(200, "täxt".encode(), Content_Type="text/plain; charset=utf-8"), "text", "täxt"),
        (says(200, b'{"a": 10000000000000000000001}', Content_Type="application/json"), "json", {"a": 10**22 + 1}),
        (says(200, b"\xef\xbb\xbf[1]", Content_Type="application/json"), "json", [1]),
        (says(200, b"\x00\xff", Content_Type="application/octet-stream"), "binary", "AP8="),
        (says(200, b"\x00\xff"), "binary", "AP8="),
        (says(200, b"\x08\x01", Content_Type="application/x-protobuf"), "protobuf", "CAE="),
    ],
)
def test_answer_is_a_message_from_the_server_and_comes_before_the_ack(
    server: Server, hub: str, told: Upstream, protocol: str, reply: Reply, kind: str, data: Any
) -> None:
    told.answer = lambda _: reply
    with JsonClient(server, hub, protocol=protocol) as client:
        client.send({"type": "event", "event": "say", "dataType": "text", "data": "x", "ackId": 7})
        message, ack = client.receive(), client.receive()

    assert (message["type"], message["from"]) == ("message", "server")
    assert (message["dataType"], message["data"]) == (kind, data)
    assert (ack["type"], ack["ackId"], ack["success"]) == ("ack", 7, True)


def test_empty_answer_is_the_ack_alone(server: Server, hub: str, told: Upstream) -> None:
    with JsonClient(server, hub) as client:
        assert say(client)["success"]
        assert client.heard() == []


@pytest.mark.parametrize("reply", [says(400), says(500), says(302), says(200, b"x", Content_Type="image/png")])
def test_event_that_fails_is_told_by_its_ack_and_may_be_sent_again(
    server: Server, hub: str, told: Upstream, reply: Reply
) -> None:
    """What the handler said of it stays between it and us, and the connection stays open."""
    failure = Reply(reply.status, b"internal", reply.headers)
    told.answer = lambda _: failure
    with JsonClient(server, hub) as client:
        ack = say(client, ackId=5)
        assert ack == {"type": "ack", "ackId": 5, "success": False, "error": INTERNAL}
        told.answer = lambda _: Reply()
        assert say(client, ackId=5)["success"]
        assert say(client, ackId=5)["error"]["name"] == "Duplicate"
        assert client.heard() == []


def test_event_that_fails_without_an_ack_is_silent(server: Server, hub: str, told: Upstream) -> None:
    told.answer = lambda _: says(400)
    with JsonClient(server, hub) as client:
        client.send({"type": "event", "event": "say", "dataType": "text", "data": "x"})
        assert client.heard() == []
    assert len(told.await_events(1)) == 1


def test_events_of_a_connection_are_told_one_after_the_other(server: Server, hub: str, told: Upstream) -> None:
    """The next one waits for the answer to the one before; those of others do not."""
    gate = threading.Event()

    def answer(event: Heard) -> Reply:
        if event.eventName == "slow":
            assert gate.wait(DEADLINE_S)
        return says(200, event.eventName.encode(), Content_Type="text/plain")

    told.answer = answer
    with JsonClient(server, hub) as one, JsonClient(server, hub) as other:
        for name in ("slow", "next", "last"):
            one.send({"type": "event", "event": name, "dataType": "text", "data": "x"})
        told.await_events(1, "slow")
        assert say(other, "meanwhile")["success"]
        assert [event.eventName for event in told.events(of=one.connection_id)] == ["slow"]
        gate.set()
        assert [one.receive()["data"] for _ in range(3)] == ["slow", "next", "last"]
    assert [event.id for event in told.events(of=one.connection_id)] == ["1", "2", "3"]


# Metadata


def test_metadata_goes_both_ways_in_headers(server: Server, hub: str, told: Upstream) -> None:
    told.answer = lambda _: Reply(
        200,
        b"x",
        [
            ("Content-Type", "text/plain"),
            ("X-WebPubSub-Metadata-Trace", "first"),
            ("x-webpubsub-metadata-trace", "a, b"),
            ("X-WebPubSub-Metadata-", "no key"),
        ],
    )
    with JsonClient(server, hub) as client:
        say(client, metadata={"Trace-Id": "abc, d", "other": "1"})
        message = client.receive()
    (event,) = told.await_events(1)

    assert event.get("X-WebPubSub-Metadata-trace-id") == "abc, d"
    assert event.get("X-WebPubSub-Metadata-other") == "1"
    assert {"X-WebPubSub-Metadata-trace-id", "X-WebPubSub-Metadata-other"} <= {name for name, _ in event.headers}
    assert message["metadata"] == {"trace": "b"}


def test_answer_of_metadata_alone_is_an_empty_text(server: Server, hub: str, told: Upstream) -> None:
    told.answer = lambda _: says(204, X_WebPubSub_Metadata_a="1")
    with JsonClient(server, hub) as client:
        assert say(client)["success"]
        message = client.receive()

    assert (message["dataType"], message["data"], message["metadata"]) == ("text", "", {"a": "1"})


def test_metadata_cannot_add_a_header(server: Server, hub: str, told: Upstream) -> None:
    with JsonClient(server, hub) as client:
        refused = say(client, metadata={"a": "x\r\nX-Evil: 1"})
        assert not refused["success"]
        assert say(client)["success"]

    assert all("x-evil" not in name.lower() for event in told.events() for name, _ in event.headers)
    assert len(told.events()) == 1


# Where events go


def test_first_handler_that_takes_an_event_gets_it_alone(server: Server, hub: str, upstream: Upstream) -> None:
    with Upstream() as second, Upstream() as third:
        configure(
            server,
            hub,
            upstream.handler(systemEvents=["connect"], userEventPattern="one, Room.*"),
            second.handler(systemEvents=["connect", "connected"], userEventPattern="two,connected"),
            third.handler(),
        )
        with JsonClient(server, hub) as client:
            for name in ("ONE", "room.a", "room.a.b", "Two", "connected", "three"):
                assert say(client, name)["success"]
        third.await_events(1, "disconnected")
        second.await_events(3)

        assert [event.eventName for event in upstream.events()] == ["connect", "ONE", "room.a"]
        assert sorted(event.type for event in second.events()) == [
            "azure.webpubsub.sys.connected",
            "azure.webpubsub.user.Two",
            "azure.webpubsub.user.connected",
        ]
        assert [event.eventName for event in third.events()] == ["room.a.b", "three", "disconnected"]


def test_event_that_no_handler_takes_fails(server: Server, hub: str, upstream: Upstream) -> None:
    configure(server, hub, upstream.handler(userEventPattern="one"))
    with JsonClient(server, hub) as client:
        assert say(client, "two")["error"]["name"] == "InternalServerError"
        assert say(client, "one")["success"]


def test_names_are_encoded_wherever_they_stand_in_a_url(server: Server, upstream: Upstream) -> None:
    """Whatever a client calls things, the request stays where the template sends it."""
    hub = "a[b]`c,d"
    template = upstream.handler("at/{HUB}/{event}/{hub}?hub={hub}&e={Event}&code=k%20y", systemEvents=["connect"])
    configure(server, "a%5Bb%5D%60c,d", template)
    with RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as client:
        assert client.status == 101
        client.receive_json()
        client.send_json({"type": "event", "event": "x.Y-z_0", "dataType": "text", "data": "x", "ackId": 1})
        assert client.receive_json()["success"]
    connect, event = upstream.events()

    encoded = "a%5Bb%5D%60c%2Cd"
    assert connect.target == f"/at/{encoded}/connect/{encoded}?hub={encoded}&e=connect&code=k%20y"
    assert event.target == f"/at/{encoded}/x.Y-z_0/{encoded}?hub={encoded}&e=x.Y-z_0&code=k%20y"
    assert {asked.target for asked in upstream.validations()} == {
        f"/at/{encoded}/validate/{encoded}?hub={encoded}&e=validate&code=k%20y"
    }
    assert json.loads(connect.body)["query"] == {}
    assert event.hub == hub


@pytest.mark.parametrize("name", ["../../etc", "a/b", "a?b", "a\r\nX-Evil: 1", "a b", "@evil", "", "x" * 129, "ü"])
def test_name_that_could_lead_elsewhere_is_no_event(server: Server, hub: str, told: Upstream, name: str) -> None:
    with JsonClient(server, hub) as client:
        client.send({"type": "event", "event": name, "dataType": "text", "data": "x", "ackId": 1})
        client.closed()

    assert told.events() == []
