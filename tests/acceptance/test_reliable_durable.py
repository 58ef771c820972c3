"""Reliable clients of a hub that lets them outlive the server, which is killed, or stopped, and started again."""

import signal
from pathlib import Path
from typing import Any

import pytest

from acceptance.servers import Server, StartServer
from acceptance.wire import JOIN, RELIABLE, SEND, RawClient, client_target, client_token, metric, rest

HUB = "hub"
TEXT = {"Content-Type": "text/plain"}


class Reliable(RawClient):
    """A reliable client on a bare socket, opened anew or recovered. `connected` is its first frame."""

    def __init__(self, server: Server, *, recover: "Reliable | None" = None, **claims: Any) -> None:
        query: list[tuple[str, str]] = []
        token = None
        if recover is None:
            token = client_token(server, HUB, **{"roles": [JOIN, SEND], **claims})
        else:
            connected = recover.connected
            query = [
                ("awps_connection_id", connected["connectionId"]),
                ("awps_reconnection_token", connected["reconnectionToken"]),
            ]
        super().__init__(server, client_target(HUB, token, query), protocols=[RELIABLE])
        assert self.status == 101
        self.connected: dict[str, Any] = self.receive_json()
        assert self.connected["event"] == "connected"

    def messages(self, count: int) -> list[tuple[int, str]]:
        found = [self.receive_json() for _ in range(count)]
        return [(message["sequenceId"], message["data"]) for message in found]


def send(server: Server, text: str) -> None:
    assert rest(server, "POST", f"{HUB}/groups/g/:send", body=text.encode(), headers=TEXT).status == 202


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> Server:
    server = start_server(data=tmp_path / "data")
    assert server.cli("hub", "set", HUB, "--reliable-retention", "600").returncode == 0
    return server


def killed(server: Server, start: StartServer) -> Server:
    server.signal(signal.SIGKILL)
    server.wait()
    return start(data=server.data)


def test_nothing_is_missed_over_a_kill(server: Server, start_server: StartServer) -> None:
    """With the numbers that go on, and requests that are not done twice."""
    with Reliable(server, user="u", groups=["g"]) as client:
        send(server, "1")
        send(server, "2")
        assert client.messages(2) == [(1, "1"), (2, "2")]
        client.send_json({"type": "sequenceAck", "sequenceId": 1})
        said = {"type": "sendToGroup", "group": "g", "ackId": 7, "dataType": "text", "data": "mine"}
        client.send_json(said)
        assert sorted(frame["type"] for frame in (client.receive_json(), client.receive_json())) == ["ack", "message"]
        client.abort()
        send(server, "4")

        after = killed(server, start_server)
        assert metric(after, "hubwire_connections_retained") == 1
        send(after, "5")
        with Reliable(after, recover=client) as back:
            assert back.connected["connectionId"] == client.connected["connectionId"]
            assert back.connected["userId"] == "u"
            replayed = back.messages(4)
            assert replayed == [(2, "2"), (3, "mine"), (4, "4"), (5, "5")]
            back.send_json(said)
            ack = back.receive_json()
            assert (ack["ackId"], ack["error"]["name"]) == (7, "Duplicate")
            back.send_json({"type": "sequenceAck", "sequenceId": 5})
            back.send_json({"type": "ping"})
            assert back.receive_json()["type"] == "pong"

            last = killed(after, start_server)
            with Reliable(last, recover=back) as again:
                send(last, "6")
                assert again.messages(1) == [(6, "6")]


def test_graceful_restart_keeps_reliable_clients(server: Server, start_server: StartServer) -> None:
    with Reliable(server, groups=["g"]) as client:
        server.signal(signal.SIGTERM)
        assert client.receive_json()["event"] == "disconnected"
        assert client.closed().code == 1001
        assert server.wait() == 0
        after = start_server(data=server.data)
        send(after, "x")
        with Reliable(after, recover=client) as back:
            assert back.messages(1) == [(1, "x")]


def test_without_the_property_they_end_with_the_server(server: Server, start_server: StartServer) -> None:
    assert server.cli("hub", "set", HUB, "--reliable-retention", "0").returncode == 0
    with Reliable(server, groups=["g"]) as client:
        after = killed(server, start_server)
        assert metric(after, "hubwire_connections_retained") == 0
        query = [
            ("awps_connection_id", client.connected["connectionId"]),
            ("awps_reconnection_token", client.connected["reconnectionToken"]),
        ]
        with RawClient(after, client_target(HUB, None, query), protocols=[RELIABLE]) as refused:
            assert refused.closed().code == 1008
