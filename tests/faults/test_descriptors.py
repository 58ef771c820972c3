"""File descriptors that are used up: clients wait instead of being turned away, and everything else goes on."""

import http.client
import os
import resource
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from acceptance.servers import DEADLINE_S, Server, StartServer, wait_until
from acceptance.wire import JSON, JsonClient, client_target, client_token, http_request
from faults.control import control

LIMIT: Final = 96
COMERS: Final = 120
PAUSE: Final = "accepting pauses until clients leave"
AGAIN: Final = "accepting again"
LIMITED: Final = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({LIMIT}, {LIMIT}))
from hubwire.cli.main import main
main()
"""


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Comers:
    """
    Clients that all come at once and ask to be let in.

    Attributes:
        let_in: sockets of those that were answered 101.
        waiting: sockets of those that were not answered yet.
    """

    def __init__(self, server: Server, hub: str, count: int) -> None:
        target = client_target(hub, client_token(server, hub))
        request = (
            f"GET {target} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Protocol: {JSON}\r\n\r\n"
        ).encode()
        self.let_in: set[socket.socket] = set()
        self.waiting: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        for _ in range(count):
            comer = socket.create_connection((server.host, server.port), DEADLINE_S)
            self.waiting.add(comer)
            comer.sendall(request)
            self._selector.register(comer, selectors.EVENT_READ)

    def look(self, timeout_s: float) -> int:
        """Read what was answered; the number of those who were let in since the last look."""
        new = 0
        for key, _ in self._selector.select(timeout_s):
            comer = key.fileobj
            assert isinstance(comer, socket.socket)
            self._selector.unregister(comer)
            assert comer.recv(4096).startswith(b"HTTP/1.1 101 "), "nobody is turned away"
            self.waiting.remove(comer)
            self.let_in.add(comer)
            new += 1
        return new

    def leave(self) -> None:
        """Those who were let in close their sockets."""
        while self.let_in:
            self.let_in.pop().close()

    def end(self) -> None:
        self.leave()
        for comer in self.waiting:
            comer.close()
        self._selector.close()


@contextmanager
def comers(server: Server, hub: str, count: int) -> Iterator[Comers]:
    crowd = Comers(server, hub, count)
    try:
        yield crowd
    finally:
        crowd.end()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_clients_without_a_descriptor_wait_and_disturb_nobody(start_server: StartServer, hub: str, loop: str) -> None:
    """Until somebody leaves; one line says that they do."""
    server = start_server("--set", f"loop={loop}", program=("-c", LIMITED))
    assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE) == (LIMIT, LIMIT)
    caller = http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE_S)
    with JsonClient(server, hub, groups=["g"]) as member, JsonClient(server, hub) as publisher:
        caller.request("GET", "/healthz")
        caller.getresponse().read()
        with comers(server, hub, COMERS) as crowd:
            wait_until(lambda: PAUSE in server.log(), "the pause")
            while crowd.look(0.5):
                pass
            assert crowd.let_in, "some found room"
            assert len(crowd.waiting) > COMERS - LIMIT, "and some did not"

            # A loop that tries to accept again and again takes all of a core.
            began, used_s = time.monotonic(), cpu_s(server.pid)
            crowd.look(2)
            share = (cpu_s(server.pid) - used_s) / (time.monotonic() - began)
            assert share < 0.5, f"{share:.0%} of a core while nothing happens"

            for number in range(50):
                assert publisher.publish("g", number)["success"]
                assert member.receive()["data"] == number
            caller.request("GET", "/healthz")
            assert caller.getresponse().read() == b"ok\n"
            assert control(server, "PUT", f"hubs/{hub}", {"properties": {"note": "x"}}).status == 200
            assert server.cli("status").returncode == 0
            assert server.log().count(PAUSE) == 1

            deadline = time.monotonic() + DEADLINE_S
            while crowd.waiting:
                assert time.monotonic() < deadline, f"{len(crowd.waiting)} wait in vain"
                crowd.leave()
                crowd.look(0.5)
        wait_until(lambda: server.log().count(AGAIN) == 1, "the line that tells of the end")
        assert http_request(server, "GET", "/healthz").status == 200
        assert publisher.publish("g", "after")["success"]
        assert member.receive()["data"] == "after"
    caller.close()
    assert server.log().count(PAUSE) == 1


def test_server_whose_descriptors_are_used_up_ends_in_order(start_server: StartServer, hub: str) -> None:
    """Those who wait are not let in any more, and keep it from nothing."""
    server = start_server(program=("-c", LIMITED))
    with comers(server, hub, COMERS) as crowd:
        wait_until(lambda: PAUSE in server.log(), "the pause")
        server.stop()
        assert crowd.waiting


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_strangers_who_never_shake_hands_wait_like_everybody_else(start_server: StartServer, loop: str) -> None:
    """They say nothing on the HTTPS port. The operator is served all the same, and everybody when they are gone."""
    server = start_server("--set", f"loop={loop}", "--set", "head_timeout_s=3", program=("-c", LIMITED))
    silent = [socket.socket() for _ in range(COMERS)]
    for stranger in silent:
        stranger.setblocking(False)
        stranger.connect_ex((server.host, server.https_port))
    try:
        wait_until(lambda: PAUSE in server.log(), "the pause")
        assert server.cli("status").returncode == 0
    finally:
        for stranger in silent:
            stranger.close()
    wait_until(lambda: AGAIN in server.log(), "the line that tells of the end")
    assert http_request(server, "GET", "/healthz").status == 200
    assert server.log().count(PAUSE) == 1
