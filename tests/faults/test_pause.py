"""A server that stands still for a while, as in a machine that is suspended or has no time for it."""

import signal
import socket
import time
from typing import Final

import pytest

from acceptance.servers import DEADLINE_S, Server, StartServer
from acceptance.wire import (
    JSON,
    RELIABLE,
    JsonClient,
    RawClient,
    client_target,
    client_token,
    http_request,
    metric,
    rest,
    signed,
)
from faults.answering import Answering

PAUSE_S: Final = 10.0
"""
Longer than three keep-alive intervals, and by more than two seconds, which a timer may be late without anything to be
seen in it, than a request's time and a recovery's, as they are set here.
"""
SHORT: Final = ("head_timeout_s=7", "idle_timeout_s=7", "recovery_s=7")
MESSAGES: Final = 200


def half_sent(server: Server, request: bytes) -> socket.socket:
    """A request of which the first half is on its way."""
    caller = socket.create_connection((server.host, server.port), DEADLINE_S)
    caller.sendall(request[: len(request) // 2])
    return caller


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_nobody_pays_for_the_absence_of_the_server(start_server: StartServer, hub: str, loop: str) -> None:
    """What came meanwhile is heard before anybody is called silent, late or gone."""
    server = start_server("--set", f"loop={loop}", *(word for text in SHORT for word in ("--set", text)))
    assert server.cli("hub", "set", hub, "--keep-alive", "1").returncode == 0
    head = f"GET /healthz HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n".encode()
    target = f"/api/hubs/{hub}/groups/g/:send?api-version=2024-12-01"
    post = (
        f"POST {target} HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\nContent-Type: text/plain\r\n"
        f"Authorization: Bearer {signed(server, server.endpoint + target)}\r\nContent-Length: 1000\r\n\r\n"
    ).encode() + b"x" * 1000
    with (
        JsonClient(server, hub, groups=["g"]) as plain,
        JsonClient(server, hub, protocol=RELIABLE, groups=["g"]) as reliable,
        JsonClient(server, hub, protocol=RELIABLE, groups=["g"]) as dropped,
        JsonClient(server, hub) as publisher,
        RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as silent,
        half_sent(server, head) as asking,
        half_sent(server, post) as sending,
    ):
        answering = Answering(silent)
        answering.await_pings(1)
        # It was asked for a sign of life a moment ago, as the others were or are at the next.
        server.signal(signal.SIGSTOP)
        began = time.monotonic()
        asking.sendall(head[len(head) // 2 :])
        sending.sendall(post[len(post) // 2 :])
        for number in range(MESSAGES):
            publisher.send({"type": "sendToGroup", "group": "g", "dataType": "json", "data": number})
        for client in (plain, reliable):
            client.send({"type": "ping"})
        pong = plain.socket.ping()
        dropped.socket.socket.shutdown(socket.SHUT_RDWR)
        time.sleep(max(0.0, began + PAUSE_S - time.monotonic()))
        server.signal(signal.SIGCONT)

        assert asking.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert sending.recv(1000).startswith(b"HTTP/1.1 202 ")
        texts = {"x" * 1000}
        for client in (plain, reliable):
            client.await_frame("pong")
            received = [frame["data"] for frame in (client.receive() for _ in range(MESSAGES + 1))]
            assert [data for data in received if data not in texts] == list(range(MESSAGES))
        assert pong.wait(DEADLINE_S)
        with RawClient(server, client_target(hub, None, dropped.recovery()), protocols=[RELIABLE]) as recovered:
            assert recovered.receive_json()["connectionId"] == dropped.connection_id
            missed = [recovered.receive_json()["data"] for _ in range(MESSAGES + 1)]
            assert [data for data in missed if data not in texts] == list(range(MESSAGES))

        answering.await_pings(3)
        assert publisher.publish("g", "after")["success"]
        for client in (plain, reliable):
            assert client.receive()["data"] == "after"
        for connection_id in (plain.connection_id, reliable.connection_id, publisher.connection_id):
            assert rest(server, "HEAD", f"{hub}/connections/{connection_id}").status == 200
        for category in ("PingTimeout", "Normal"):
            assert metric(server, f'webpubsub_connection_close_total{{category="{category}"}}') == 0
        answering.end()
    assert http_request(server, "GET", "/healthz").status == 200
