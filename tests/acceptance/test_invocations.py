"""Invocations on the wire: one response or none, however they end; what handlers of every kind are told of them."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from acceptance.examples import JS, Program
from acceptance.servers import DEADLINE_S, Server, StartServer, running, wait_until
from acceptance.tunnels import Asked, Said, Tool
from acceptance.upstreams import Heard, Reply, Upstream, await_line, configure, says
from acceptance.wire import (
    JSON,
    RELIABLE,
    Frame,
    JsonClient,
    RawClient,
    client_target,
    client_token,
    metric,
    rest,
)
from protobuf_messages import message_of, request_of

PROTOBUF: Final = "protobuf.webpubsub.azure.v1"
PROTOBUF_RELIABLE: Final = "protobuf.reliable.webpubsub.azure.v1"
LIMIT: Final = 3
FAILED: Final = {"name": "InternalServerError", "message": "The event handler failed."}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Each test has a hub and a handler of its own."""
    options = ("--set", "handler_retries_s=0.05,0.05,0.05", "--set", f"invocations_per_connection={LIMIT}")
    with running(tmp_path_factory.mktemp("invoke"), *options) as server:
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


@pytest.fixture
def program(server: Server, hub: str, tmp_path: Path) -> Iterator[Program]:
    """A handler of the official package, which knows who does not wait for it any more."""
    with Program(tmp_path / "handler.txt", ["node", "invoked.mjs", hub], JS, {}) as program:
        configure(server, hub, {"urlTemplate": program.url, "userEventPattern": "*"})
        yield program


def invocation(id: str, event: str = "say", **more: Any) -> Frame:
    return {"type": "invoke", "invocationId": id, "target": "event", "event": event, **more}


def invoke(client: JsonClient, id: str, event: str = "say", **more: Any) -> Frame:
    """The response to an invocation."""
    client.send(invocation(id, event, **more))
    response = client.await_frame("invokeResponse")
    assert response["invocationId"] == id
    return response


def listed(client: JsonClient, event: str) -> Sequence[str]:
    """Names that the handler of the official package keeps, asked for by another client than those it is about."""
    names: list[str] = invoke(client, "list", event)["data"]
    return names


@pytest.mark.parametrize("protocol", [JSON, RELIABLE])
def test_handler_is_told_a_user_event_and_its_answer_is_the_response(
    server: Server, hub: str, told: Upstream, protocol: str
) -> None:
    told.answer = lambda _: says(200, b'{ "b" : 1.0 }', Content_Type="application/json", X_WebPubSub_Metadata_k="v")
    with JsonClient(server, hub, protocol=protocol, user="u", roles=()) as client:
        response = invoke(client, "a b", "some.name", dataType="json", data={"a": [1.50]}, metadata={"Trace": "1"})
        assert client.heard() == []
    (event,) = told.await_events(1)

    assert response == {
        "type": "invokeResponse",
        "invocationId": "a b",
        "success": True,
        "dataType": "json",
        "data": {"b": 1.0},
        "metadata": {"k": "v"},
    }
    assert (event.type, event.subprotocol, event.userId) == ("azure.webpubsub.user.some.name", protocol, "u")
    assert (event.get("Content-Type"), event.body) == ("application/json", b'{"a": [1.5]}')
    assert event.get("X-WebPubSub-Metadata-trace") == "1"


@pytest.mark.parametrize("reply", [says(400, b"internal"), says(500, b"internal"), says(200, b"x", Content_Type="a/b")])
def test_failure_is_one_response_without_what_the_handler_said(
    server: Server, hub: str, told: Upstream, reply: Reply
) -> None:
    told.answer = lambda _: reply
    with JsonClient(server, hub) as client:
        response = invoke(client, "1")
        assert response == {"type": "invokeResponse", "invocationId": "1", "success": False, "error": FAILED}
        assert client.heard() == []
    await_line(server, hub, "event=say")


def test_handler_that_fails_for_a_moment_is_asked_again(server: Server, hub: str, told: Upstream) -> None:
    replies = [says(503), says(200, b"x", Content_Type="text/plain")]
    told.answer = lambda _: replies.pop(0)
    with JsonClient(server, hub) as client:
        assert invoke(client, "1")["data"] == "x"
    first, second = told.await_events(2)

    assert (first.id, first.get("x-ms-client-request-id")) == (second.id, second.get("x-ms-client-request-id"))


def test_nobody_who_takes_it_is_a_response(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        response = invoke(client, "1")

        assert (response["success"], response["error"]["name"]) == (False, "InternalServerError")
        client.join("g")


def test_time_of_an_invocation_is_not_that_of_an_event(start_server: StartServer, upstream: Upstream) -> None:
    server = start_server("--set", "invocation_timeout_s=0.2")
    configure(server, "chat", upstream.handler(systemEvents=[]))
    upstream.answer = upstream.never
    with JsonClient(server, "chat") as client:
        assert invoke(client, "1")["error"] == FAILED
    await_line(server, "no answer within 0.2 s", "invocation_timeout_s")


def test_more_than_may_be_pending_are_refused(server: Server, hub: str, told: Upstream) -> None:
    gate = threading.Event()

    def answer(_: Heard) -> Reply:
        assert gate.wait(DEADLINE_S)
        return Reply()

    told.answer = answer
    with JsonClient(server, hub) as client:
        for number in range(LIMIT):
            client.send(invocation(str(number)))
        told.await_events(LIMIT)
        refused = invoke(client, "too many")
        assert refused["error"]["message"] == f"A connection may have {LIMIT} invocations pending."
        assert invoke(client, "0")["error"]["name"] == "Duplicate"
        assert metric(server, "hubwire_invocations") == LIMIT
        gate.set()
        answered = [client.await_frame("invokeResponse") for _ in range(LIMIT)]
        assert {frame["invocationId"]: frame["success"] for frame in answered} == {"0": True, "1": True, "2": True}
        assert client.heard() == []
        assert metric(server, "hubwire_invocations") == 0


# Nobody waits any more


@pytest.mark.parametrize("protocol", [JSON, RELIABLE])
def test_cancelled_one_is_answered_by_nothing(server: Server, hub: str, program: Program, protocol: str) -> None:
    with JsonClient(server, hub, protocol=protocol) as client, JsonClient(server, hub) as other:
        client.send(invocation("1", "wait.a"))
        client.send(invocation("2", "wait.b"))
        wait_until(lambda: set(listed(other, "waiting")) == {"a", "b"}, "both wait")
        client.send({"type": "cancelInvocation", "invocationId": "1"})
        wait_until(lambda: list(listed(other, "abandoned")) == ["a"], "the first one is abandoned")
        assert list(listed(other, "waiting")) == ["b"]
        assert client.heard() == []
        invoke(other, "release", "release", dataType="text", data="b")
        assert client.await_frame("invokeResponse")["data"] == "of b"
        assert client.heard() == []


@pytest.mark.parametrize("protocol", [PROTOBUF, PROTOBUF_RELIABLE])
def test_protobuf_client_invokes_and_cancels_as_others_do(
    server: Server, hub: str, program: Program, protocol: str
) -> None:
    target = client_target(hub, client_token(server, hub))
    with RawClient(server, target, protocols=[protocol]) as client, JsonClient(server, hub) as other:

        def receive() -> Frame:
            opcode, payload = client.receive_frame()
            assert opcode == 2
            return message_of(payload)

        assert receive()["event"] == "connected"
        payloads = (("text", "grüße"), ("json", {"a": [1, None]}), ("binary", "AP8="))
        for kind, data in payloads:
            client.send_frame(2, request_of(invocation("1", "echo", dataType=kind, data=data)))
            wanted = {"type": "invokeResponse", "invocationId": "1", "success": True, "dataType": kind, "data": data}
            assert receive() == wanted
        client.send_frame(2, request_of(invocation("2", "fail")))
        assert receive() == {"type": "invokeResponse", "invocationId": "2", "success": False, "error": FAILED}
        client.send_frame(2, request_of(invocation("3", "wait.a")))
        wait_until(lambda: list(listed(other, "waiting")) == ["a"], "it waits")
        client.send_frame(2, request_of({"type": "cancelInvocation", "invocationId": "3"}))
        wait_until(lambda: list(listed(other, "abandoned")) == ["a"], "it is abandoned")
        client.send_frame(2, request_of({"type": "ping"}))
        assert receive() == {"type": "pong"}


def test_recovered_client_hears_nothing_of_what_was_pending(server: Server, hub: str, program: Program) -> None:
    with JsonClient(server, hub, protocol=RELIABLE) as client, JsonClient(server, hub) as other:
        client.send(invocation("1", "wait.a"))
        wait_until(lambda: list(listed(other, "waiting")) == ["a"], "it waits")
        client.socket.socket.shutdown(2)
        wait_until(lambda: list(listed(other, "abandoned")) == ["a"], "it is abandoned")
        with JsonClient(server, hub, protocol=RELIABLE, query=client.recovery()) as again:
            assert again.connection_id == client.connection_id
            assert again.heard() == []
            assert invoke(again, "1", "echo", dataType="text", data="x")["data"] == "x"
            assert again.heard() == []


@pytest.mark.parametrize("protocol", [JSON, RELIABLE])
def test_client_that_rest_closes_leaves_nothing_behind(
    server: Server, hub: str, program: Program, protocol: str
) -> None:
    with JsonClient(server, hub, protocol=protocol) as client, JsonClient(server, hub) as other:
        client.send(invocation("1", "wait.a"))
        wait_until(lambda: list(listed(other, "waiting")) == ["a"], "it waits")
        assert rest(server, "DELETE", f"{hub}/connections/{client.connection_id}").status == 204
        client.closed()
        wait_until(lambda: list(listed(other, "abandoned")) == ["a"], "it is abandoned")

        assert client.receive()["event"] == "disconnected"


def test_server_that_stops_ends_what_is_pending(start_server: StartServer, upstream: Upstream) -> None:
    server = start_server("--set", "shutdown_events_s=60")
    configure(server, "chat", upstream.handler(systemEvents=[]))
    upstream.answer = upstream.never
    with JsonClient(server, "chat") as client:
        client.send(invocation("1"))
        upstream.await_events(1)
        server.stop()

        assert client.closed().code == 1001


# Through a tunnel


def test_handler_behind_a_tunnel_answers_and_is_left(server: Server, hub: str) -> None:
    def answer(asked: Asked) -> Said | None:
        if asked.get("ce-eventName") == "never":
            return None
        return Said(200, asked.body.upper(), {"Content-Type": ["text/plain"]})

    configure(server, hub, {"urlTemplate": "tunnel:///{event}", "userEventPattern": "*"})
    with Tool(server, hub) as tool, JsonClient(server, hub) as client:
        tool.answer = answer
        client.send(invocation("1", "never"))
        tool.await_asked(1)
        client.send({"type": "cancelInvocation", "invocationId": "1"})
        assert invoke(client, "1", dataType="text", data="hello")["data"] == "HELLO"
        # What comes all the same is nobody's.
        tool.send(
            2, b"late", AckId=tool.asked[0].ack_id, StatusCode=200, Headers={}, LocalRouting=False, ChannelName=""
        )
        assert invoke(client, "2", dataType="text", data="x")["data"] == "X"
        assert client.heard() == []
