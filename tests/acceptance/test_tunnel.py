"""Event handlers that nobody can reach, and that dial in: with the tool of the service, as it were, and with ours."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

from acceptance.directory import assign, create_app, token_of
from acceptance.examples import JS, Program
from acceptance.servers import DEADLINE_S, Server, StartServer, running, wait_until
from acceptance.tunnels import Asked, Said, Tool, TunnelCommand, tunnel_target, tunnel_token
from acceptance.upstreams import EVERYTHING, Upstream, await_line, configure, says
from acceptance.wire import JSON, JsonClient, RawClient, client_target, client_token, http_request

TUNNEL: Final = {
    "urlTemplate": "tunnel:///events/{hub}/{event}?code=k",
    "userEventPattern": "*",
    "systemEvents": EVERYTHING,
}
RETRIES: Final = ("--set", "handler_retries_s=0.05,0.05,0.05")


class StartCommand(Protocol):
    """Starts a tunnel to an application; it is ended, and judged, when the test is over."""

    def __call__(self, upstream: str, hub: str, *options: str, **environment: str) -> TunnelCommand: ...


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Each test has a hub of its own."""
    with running(tmp_path_factory.mktemp("tunnels"), *RETRIES) as server:
        yield server


@pytest.fixture
def tunnelled(server: Server, hub: str) -> str:
    """A hub whose events go through a tunnel."""
    configure(server, hub, TUNNEL)
    return hub


@pytest.fixture
def start_tunnel(tmp_path: Path) -> Iterator[StartCommand]:
    commands: list[TunnelCommand] = []

    def start(upstream: str, hub: str, *options: str, **environment: str) -> TunnelCommand:
        commands.append(TunnelCommand(tmp_path / f"tunnel{len(commands)}", upstream, hub, *options, **environment))
        return commands[-1]

    try:
        yield start
        for command in commands:
            command.stop()
            assert "Traceback" not in command.log()
    finally:
        for command in commands:
            command.end()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def status(server: Server, hub: str) -> int:
    """What a client with a good token is answered."""
    with RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as client:
        return client.status


def say(client: JsonClient, name: str, data: str) -> dict[str, Any]:
    """Send an event; returns the ack."""
    return client.request({"type": "event", "event": name, "dataType": "text", "data": data})


# With a tool that knows nothing of us


def test_events_of_a_client_from_beginning_to_end_go_through_a_tunnel(server: Server, tunnelled: str) -> None:
    def answer(asked: Asked) -> Said:
        match asked.get("ce-eventName"):
            case "connect":
                return Said(200, b'{"userId":"\xc3\x9cn\xc3\xaf"}', {"ce-connectionState": ["s1"]})
            case "say":
                return Said(200, asked.body.upper(), {"Content-Type": ["text/plain"]})
            case _:
                return Said()

    with Tool(server, tunnelled) as tool:
        assert set(tool.welcome) == {"Type", "ConnectionId", "UserId", "ReconnectionToken"}
        tool.answer = answer
        with JsonClient(server, tunnelled, user="u") as client:
            assert client.connected["userId"] == "Ünï"
            assert say(client, "say", "hello")["success"]
            assert client.receive()["data"] == "HELLO"
        asked = tool.await_asked(4)

    names = ["connect", "connected", "say", "disconnected"]
    assert [one.get("ce-eventName") for one in asked] == names
    assert [one.path for one in asked] == [f"/events/{tunnelled}/{name}" for name in names]
    assert {one.method for one in asked} == {"POST"}
    assert [json.loads(asked[0].body)["claims"]["sub"], asked[1].body, asked[2].body] == [["u"], b"{}", b"hello"]
    assert [one.get("ce-userId") for one in asked] == ["u", "Ünï", "Ünï", "Ünï"]
    assert [one.get("ce-connectionState") for one in asked[1:]] == ["s1"] * 3
    assert not any(name.lower() in ("content-length", "host") for one in asked for name in one.headers)


def test_handler_behind_a_tunnel_may_refuse(server: Server, tunnelled: str) -> None:
    with Tool(server, tunnelled) as tool:
        tool.answer = lambda _: Said(403, b"hidden")

        assert status(server, tunnelled) == 403
        assert len(tool.asked) == 1


def test_hub_without_a_tunnel_refuses_and_the_log_says_what_to_type(server: Server, tunnelled: str) -> None:
    with Tool(server, "other"):
        assert status(server, tunnelled) == 500

    await_line(server, f"no tunnel of hub {tunnelled} is connected; connect one: hubwire tunnel --hub {tunnelled}")


def test_event_of_a_tunnel_that_vanishes_goes_to_another_one(server: Server, tunnelled: str) -> None:
    """Each goes to one of them only."""
    begun = threading.Event()

    def never(_: Asked) -> None:
        begun.set()

    with Tool(server, tunnelled) as silent:
        silent.answer = never
        answered: list[int] = []
        client = threading.Thread(target=lambda: answered.append(status(server, tunnelled)))
        client.start()
        assert begun.wait(DEADLINE_S)
        with Tool(server, tunnelled) as other:
            silent.vanish()
            client.join(DEADLINE_S)

            assert answered == [101]
            assert (len(silent.asked), other.asked[0].get("ce-id")) == (1, "0")
            assert other.asked[0].get("x-ms-client-request-id") == silent.asked[0].get("x-ms-client-request-id")


def test_tool_comes_by_a_role_as_well(server: Server, tunnelled: str) -> None:
    """The events of a hub hold what clients say, so it takes the owner of the service."""
    app = create_app(server)
    with RawClient(server, tunnel_target(tunnelled, token_of(server, app))) as refused:
        assert refused.status == 403
        assert b"'Web PubSub Service Owner'" in refused.body

    assign(server, app, "owner")
    with Tool(server, tunnelled, token=token_of(server, app)) as tool:
        assert tool.welcome["UserId"] == app.object_id
        assert status(server, tunnelled) == 101


def test_whoever_may_not_come_is_answered_a_status(server: Server, hub: str) -> None:
    def answered(target: str, **headers: str) -> int:
        with RawClient(server, target, headers=headers) as client:
            return client.status

    good = tunnel_token(server, hub)
    assert answered(tunnel_target(hub, good)) == 101
    assert answered(tunnel_target(hub, None), Authorization=f"Bearer {good}") == 101
    assert answered(tunnel_target(hub, None)) == 401
    assert answered(tunnel_target("another", good)) == 401
    assert answered(tunnel_target(hub, tunnel_token(server, hub, key="z" * 32))) == 401
    assert answered(tunnel_target(hub, client_token(server, hub))) == 401
    assert answered(tunnel_target("a b", good)) == 400
    assert answered("/server/tunnel") == 400
    assert answered("/server/other") == 404
    assert http_request(server, "GET", tunnel_target(hub, good)).status == 400


def test_tool_that_breaks_the_protocol_is_closed(server: Server, hub: str) -> None:
    with RawClient(server, tunnel_target(hub, tunnel_token(server, hub))) as client:
        client.send_frame(1, b"{}")
        assert client.closed().code == 1003
    with RawClient(server, tunnel_target(hub, tunnel_token(server, hub))) as client:
        client.send_frame(2, b"\x00\x00\x00\x00")
        assert client.closed().code == 1007


def test_silent_tool_is_pinged_and_a_dead_one_dropped(server: Server, hub: str) -> None:
    configure(server, hub, TUNNEL, webSocketKeepAliveIntervalInSeconds=1)
    with Tool(server, hub), RawClient(server, tunnel_target(hub, tunnel_token(server, hub))) as dead:
        assert dead.closed().code == 1006
        # Whoever answers pings is still there.
        assert status(server, hub) == 101


def test_tool_is_asked_to_come_back_when_the_server_goes_after_the_last_events(
    start_server: StartServer, hub: str
) -> None:
    server = start_server(*RETRIES)
    configure(server, hub, TUNNEL)
    with Tool(server, hub) as tool, JsonClient(server, hub) as client:
        tool.await_asked(2)
        server.stop()

        assert tool.await_end() == 1001
        assert [one.get("ce-eventName") for one in tool.asked] == ["connect", "connected", "disconnected"]
        assert tool.heard == [
            (6, {"Type": 6, "TargetId": "", "Endpoint": "", "Message": "The server is shutting down."})
        ]
        assert client.closed().code == 1001


def test_official_client_library_carries_a_tunnel_as_the_tool_of_the_service_uses_it(
    server: Server, tunnelled: str, tmp_path: Path
) -> None:
    command = ["node", "tunnel.mjs", server.endpoint, tunnelled, server.access_key]
    with Program(tmp_path / "node.txt", command, JS, {}) as tool:
        with JsonClient(server, tunnelled) as client:
            assert client.connected["userId"] == "node"
            tool.await_output('"event":"connected"')
        tool.await_output('"event":"disconnected"')
        told = [json.loads(line) for line in tool.output().splitlines() if line.startswith("{")]

    names = ["connect", "connected", "disconnected"]
    assert [(one["method"], one["event"]) for one in told] == [("POST", name) for name in names]
    assert [one["path"] for one in told] == [f"/events/{tunnelled}/{name}" for name in names]
    assert [json.loads(one["body"]) for one in told[1:]] == [{}, {"reason": None}]


# With the command


def test_command_leads_events_to_an_application_beside_it(
    server: Server, tunnelled: str, upstream: Upstream, start_tunnel: StartCommand
) -> None:
    upstream.answer = lambda event: says(200, {"userId": "Ünï"}) if event.eventName == "connect" else says(204)
    command = start_tunnel(upstream.url("base"), tunnelled, "--data", str(server.data))
    with JsonClient(server, tunnelled, user="u") as client:
        upstream.await_events(2)  # nobody waits for the second, so another event could be faster
        assert say(client, "say", "hello")["success"]
    events = upstream.await_events(4)

    names = ["connect", "connected", "say", "disconnected"]
    assert [event.target for event in events] == [f"/base/events/{tunnelled}/{name}?code=k" for name in names]
    assert [event.get("Content-Type") for event in events[:3]] == ["application/json; charset=utf-8"] * 2 + [
        "text/plain; charset=utf-8"
    ]
    assert upstream.validations() == []
    lines = sorted(["connect 200", *[f"{name} 204" for name in names[1:]]])
    wait_until(lambda: sorted(command.requests()) == lines, "four lines")
    assert (command.stop(), command.log()) == (0, "")


def test_answer_of_several_messages_arrives_whole(
    server: Server, tunnelled: str, upstream: Upstream, start_tunnel: StartCommand
) -> None:
    text = "x" * (3 << 20)
    upstream.answer = lambda event: (
        says(200, text.encode(), Content_Type="text/plain") if event.eventName == "say" else says(204)
    )
    start_tunnel(upstream.url(""), tunnelled, "--data", str(server.data))
    with JsonClient(server, tunnelled) as client:
        assert say(client, "say", "y" * 700_000)["success"]
        assert client.receive()["data"] == text
        assert upstream.await_events(1, "say")[0].body == b"y" * 700_000


def test_application_that_is_not_there_fails_the_event_and_both_sides_say_so(
    server: Server, tunnelled: str, start_tunnel: StartCommand
) -> None:
    command = start_tunnel("http://127.0.0.1:1", tunnelled, "--data", str(server.data))

    assert status(server, tunnelled) == 500
    await_line(server, tunnelled, "the handler answered 500", "event=connect")
    wait_until(lambda: command.requests() == ["connect 500"] * 4, "one line for each attempt")
    assert "(cannot reach http://127.0.0.1:1: Connection refused)" in command.output()


def test_command_finds_the_server_again_wherever_it_is_then(
    start_server: StartServer, hub: str, upstream: Upstream, start_tunnel: StartCommand, tmp_path: Path
) -> None:
    first = start_server(*RETRIES, data=tmp_path / "data")
    configure(first, hub, TUNNEL)
    command = start_tunnel(upstream.url(""), hub, "--data", str(first.data))
    first.stop()
    wait_until(lambda: "The server is shutting down; connecting again" in command.log(), "that it has lost the server")

    second = start_server(*RETRIES, data=first.data)
    wait_until(lambda: "connected again" in command.log(), "that it is back")

    assert status(second, hub) == 101
    upstream.await_events(1, "connect")
    assert command.log().count("connecting again") == 1


def test_command_reaches_a_resource_and_ends_with_it(
    server: Server, hub: str, upstream: Upstream, start_tunnel: StartCommand
) -> None:
    assert server.cli("resource", "create", "tunnelled").returncode == 0
    command = start_tunnel(upstream.url(""), hub, "--resource", "tunnelled", "--data", str(server.data))

    assert server.cli("resource", "delete", "tunnelled").returncode == 0

    wait_until(lambda: command.process.poll() is not None, "the end of the command")
    assert command.stop() == 1
    assert command.log() == "hubwire: the server ended the tunnel: The resource is deleted.\n"


def test_command_dials_over_https_with_a_connection_string(
    server: Server, tunnelled: str, upstream: Upstream, start_tunnel: StartCommand
) -> None:
    string = server.https_connection_string
    command = start_tunnel(upstream.url(""), tunnelled, "--connection-string", string, SSL_CERT_FILE=str(server.ca))

    assert server.https_endpoint in command.output()
    assert status(server, tunnelled) == 101
    upstream.await_events(1, "connect")
