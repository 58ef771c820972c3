"""Event handlers and clients of the protobuf subprotocols: what they say to each other, of every type of data."""

import base64
from collections.abc import Iterator
from typing import Any, Final

import pytest

from acceptance.protobuf import ANY, PROTOBUF, PROTOBUF_RELIABLE, ProtobufClient
from acceptance.servers import Server, running
from acceptance.upstreams import Reply, Upstream, configure, says

BOTH: Final = pytest.mark.parametrize("protocol", [PROTOBUF, PROTOBUF_RELIABLE])

DATA: Final = [
    ("text", "grüße", "text/plain; charset=utf-8", "grüße".encode()),
    ("text", "", "text/plain; charset=utf-8", b""),
    ("json", {"a": [1.5, None]}, "application/json", b'{"a": [1.5, null]}'),
    ("json", None, "application/json", b"null"),
    ("binary", base64.b64encode(b"\x00\xff").decode(), "application/octet-stream", b"\x00\xff"),
    ("protobuf", base64.b64encode(ANY).decode(), "application/x-protobuf", ANY),
]
REPLIES: Final = [
    (says(200, "täxt".encode(), Content_Type="text/plain; charset=utf-8"), "text", "täxt"),
    (says(200, b"\xef\xbb\xbf[1]", Content_Type="application/json"), "json", [1]),
    (says(200, b"null", Content_Type="application/json"), "json", None),
    (says(200, b"\x00\xff", Content_Type="application/octet-stream"), "binary", "AP8="),
    (says(200, b"\x00\xff"), "binary", "AP8="),
    (says(200, ANY, Content_Type="application/x-protobuf"), "protobuf", base64.b64encode(ANY).decode()),
    (says(200, b"\x08\x01", Content_Type="application/x-protobuf"), "binary", "CAE="),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Each test has a hub and a handler of its own."""
    with running(tmp_path_factory.mktemp("protobuf"), "--set", "handler_retries_s=0.05,0.05,0.05") as server:
        yield server


@pytest.fixture
def told(server: Server, hub: str) -> Iterator[Upstream]:
    """It is told of user events of the hub."""
    with Upstream() as upstream:
        configure(server, hub, upstream.handler(systemEvents=[]))
        yield upstream


@BOTH
@pytest.mark.parametrize(("kind", "data", "content_type", "body"), DATA)
def test_event_goes_out_with_the_content_type_of_its_data(
    server: Server, hub: str, told: Upstream, protocol: str, kind: str, data: Any, content_type: str, body: bytes
) -> None:
    with ProtobufClient(server, hub, protocol=protocol) as client:
        event = {"type": "event", "event": "some.name", "dataType": kind, "data": data, "metadata": {"k": "v"}}
        assert client.request(event)["success"]
    (heard,) = told.await_events(1)

    assert (heard.type, heard.subprotocol) == ("azure.webpubsub.user.some.name", protocol)
    assert (heard.get("Content-Type"), heard.body) == (content_type, body)
    assert heard.get("X-WebPubSub-Metadata-k") == "v"


@BOTH
@pytest.mark.parametrize(("reply", "kind", "data"), REPLIES)
def test_answer_is_a_message_from_the_server_and_comes_before_the_ack(
    server: Server, hub: str, told: Upstream, protocol: str, reply: Reply, kind: str, data: Any
) -> None:
    told.answer = lambda _: reply
    with ProtobufClient(server, hub, protocol=protocol) as client:
        client.send({"type": "event", "event": "say", "dataType": "text", "data": "x", "ackId": 7})
        message, ack = client.receive(), client.receive()

    assert message.pop("sequenceId", None) == (1 if protocol == PROTOBUF_RELIABLE else None)
    assert message == {"type": "message", "from": "server", "dataType": kind, "data": data}
    assert ack == {"type": "ack", "ackId": 7, "success": True}


@BOTH
def test_event_that_fails_is_told_by_its_ack_and_the_connection_stays(
    server: Server, hub: str, told: Upstream, protocol: str
) -> None:
    told.answer = lambda _: says(400)
    with ProtobufClient(server, hub, protocol=protocol) as client:
        ack = client.request({"type": "event", "event": "say", "dataType": "text", "data": "x"})
        assert (ack["success"], ack["error"]["name"]) == (False, "InternalServerError")
        assert client.heard() == []


@BOTH
@pytest.mark.parametrize(("kind", "data", "content_type", "body"), DATA)
def test_invocation_goes_out_as_an_event_does(
    server: Server, hub: str, told: Upstream, protocol: str, kind: str, data: Any, content_type: str, body: bytes
) -> None:
    with ProtobufClient(server, hub, protocol=protocol) as client:
        invoke = {"type": "invoke", "invocationId": "1", "event": "ask", "dataType": kind, "data": data}
        client.send({**invoke, "metadata": {"k": "v"}})
        assert client.receive() == {"type": "invokeResponse", "invocationId": "1", "success": True}
    (heard,) = told.await_events(1)

    assert (heard.type, heard.get("Content-Type"), heard.body) == ("azure.webpubsub.user.ask", content_type, body)
    assert heard.get("X-WebPubSub-Metadata-k") == "v"


@BOTH
@pytest.mark.parametrize(("reply", "kind", "data"), REPLIES)
def test_answer_to_an_invocation_is_its_response(
    server: Server, hub: str, told: Upstream, protocol: str, reply: Reply, kind: str, data: Any
) -> None:
    told.answer = lambda _: reply
    with ProtobufClient(server, hub, protocol=protocol) as client:
        client.send({"type": "invoke", "invocationId": "ü", "event": "ask"})

        response = {"type": "invokeResponse", "invocationId": "ü", "success": True, "dataType": kind, "data": data}
        assert client.receive() == response


def test_invocation_that_fails_is_told_by_its_response(server: Server, hub: str, told: Upstream) -> None:
    told.answer = lambda _: says(400)
    with ProtobufClient(server, hub) as client:
        client.send({"type": "invoke", "invocationId": "1", "event": "ask"})

        response = client.receive()
        assert (response["invocationId"], response["success"]) == ("1", False)
        assert response["error"]["name"] == "InternalServerError"


@BOTH
def test_handler_of_connect_may_choose_the_subprotocol(server: Server, hub: str, protocol: str) -> None:
    with Upstream() as upstream:
        upstream.answer = lambda _: says(200, {"subprotocol": protocol, "userId": "v"})
        configure(server, hub, upstream.handler(systemEvents=["connect"]))
        with ProtobufClient(server, hub, protocol=protocol) as client:
            assert client.connected["userId"] == "v"
        (heard,) = upstream.await_events(1, "connect")

    assert heard.json()["subprotocols"] == [protocol]
