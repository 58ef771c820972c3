"""
The clock on the wall, set back and forth while the server runs: tokens are judged by it, and nothing else is.

The machine's own clock stays as it is. The server is started with a clock of its own, which reads from a file how far
it is off.
"""

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

import hubwire
from acceptance.servers import DEADLINE_S, Server, StartServer, wait_until
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
from faults.control import control

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S
SHIFTED: Final = """
import sys, time
from pathlib import Path
file, clock, clock_ns = Path(sys.argv.pop(1)), time.time, time.time_ns
time.time = lambda: clock() + int(file.read_text())
time.time_ns = lambda: clock_ns() + int(file.read_text()) * 10**9
from hubwire.cli.main import main
main()
"""
OTHER_WALL_CLOCKS: Final = re.compile(
    r"\.(utcnow|now|today|localtime|gmtime|ctime|clock_gettime|time_ns)\(|import time as|from time import"
)

SetClock = Callable[[int], None]
"""Sets the server's clock to so many seconds before or after the right time."""


@pytest.fixture
def set_clock(tmp_path: Path) -> SetClock:
    file = tmp_path / "clock"

    def set_it(seconds: int) -> None:
        # Replaced as a whole: the server may read it at any moment.
        new = tmp_path / "clock.new"
        new.write_text(str(seconds), encoding="ascii")
        new.replace(file)

    set_it(0)
    return set_it


@pytest.fixture
def shifted(tmp_path: Path, set_clock: SetClock) -> tuple[str, ...]:
    """The program of a server whose clock is ours to set."""
    return ("-c", SHIFTED, str(tmp_path / "clock"))


def upgrade_status(server: Server, hub: str, token: str) -> int:
    with RawClient(server, client_target(hub, token), protocols=[JSON]) as client:
        return client.status


def closed_as(server: Server, category: str) -> float:
    return metric(server, f'webpubsub_connection_close_total{{category="{category}"}}')


def recoverable(server: Server, hub: str) -> list[tuple[str, str]]:
    """A reliable connection that has lost its socket; what asks for it back."""
    with RawClient(server, client_target(hub, client_token(server, hub)), protocols=[RELIABLE]) as client:
        connected = client.receive_json()
        client.abort()
    return [
        ("awps_connection_id", connected["connectionId"]),
        ("awps_reconnection_token", connected["reconnectionToken"]),
    ]


def half_sent(server: Server) -> socket.socket:
    """The first half of a request for nothing much; `\\r\\n\\r\\n` is the rest."""
    caller = socket.create_connection((server.host, server.port), DEADLINE_S)
    caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: h")
    return caller


def test_wall_clock_of_the_server_is_the_one_that_is_set_here() -> None:
    """Nothing in the sources reads it in another way than `time.time`, or keeps that from being replaced."""
    sources = Path(hubwire.__file__).parent.rglob("*.py")

    found = [
        f"{source.name}: {line.strip()}"
        for source in sources
        for line in source.read_text(encoding="utf-8").splitlines()
        if OTHER_WALL_CLOCKS.search(line)
    ]

    assert found == []


def test_tokens_are_judged_by_the_wall_clock(
    start_server: StartServer, hub: str, set_clock: SetClock, shifted: tuple[str, ...]
) -> None:
    server = start_server(program=shifted)
    good, expired = client_token(server, hub), client_token(server, hub, ttl_s=-600)
    path = f"/api/hubs/{hub}/groups/g?api-version=2024-12-01"
    call = {"Authorization": f"Bearer {signed(server, server.endpoint + path)}"}
    assert (upgrade_status(server, hub, good), upgrade_status(server, hub, expired)) == (101, 401)
    assert http_request(server, "HEAD", path, headers=call).status == 404

    set_clock(DAY_S)
    assert upgrade_status(server, hub, good) == 401
    assert http_request(server, "HEAD", path, headers=call).status == 401

    set_clock(-HOUR_S)
    assert (upgrade_status(server, hub, good), upgrade_status(server, hub, expired)) == (101, 101)
    assert http_request(server, "HEAD", path, headers=call).status == 404
    made = control(server, "POST", "url", {"hub": hub, "minutes": 10}).json()["url"].partition("access_token=")[2]
    assert upgrade_status(server, hub, made) == 101

    set_clock(0)
    assert upgrade_status(server, hub, made) == 401, "it was made for ten minutes of an hour ago"
    assert (upgrade_status(server, hub, good), upgrade_status(server, hub, expired)) == (101, 401)


def test_no_jump_of_the_clock_ends_anything_early(
    start_server: StartServer, hub: str, set_clock: SetClock, shifted: tuple[str, ...]
) -> None:
    """Not connections whose token is over by it, nor their recovery, nor a request that is on its way."""
    server = start_server("--set", "head_timeout_s=120", program=shifted)
    assert server.cli("hub", "set", hub, "--keep-alive", "1").returncode == 0
    with (
        JsonClient(server, hub, groups=["g"]) as member,
        JsonClient(server, hub) as publisher,
        RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as silent,
        half_sent(server) as asking,
    ):
        answering = Answering(silent)
        answering.await_pings(1)
        for number, seconds in enumerate((DAY_S, -DAY_S, HOUR_S, -HOUR_S, 0)):
            dropped = recoverable(server, hub)
            set_clock(seconds)
            assert publisher.publish("g", number)["success"]
            assert member.receive()["data"] == number
            answering.await_pings(1)
            with RawClient(server, client_target(hub, None, dropped), protocols=[RELIABLE]) as recovered:
                assert ("awps_connection_id", recovered.receive_json()["connectionId"]) in dropped
                recovered.close_frame(1000)
            set_clock(0)  # so that the next one is let in
        asking.sendall(b"\r\n\r\n")
        assert asking.recv(1000).startswith(b"HTTP/1.1 200 ")
        answering.end()
    for category in ("PingTimeout", "SlowClient", "Unauthorized"):
        assert closed_as(server, category) == 0


@pytest.mark.parametrize("seconds", [DAY_S, -DAY_S])
def test_no_jump_of_the_clock_delays_anything(
    start_server: StartServer, hub: str, set_clock: SetClock, shifted: tuple[str, ...], seconds: int
) -> None:
    """Neither the end of who is silent, dropped or late, nor that of a message."""
    options = ("head_timeout_s=1", "idle_timeout_s=1", "recovery_s=1")
    server = start_server(*(word for option in options for word in ("--set", option)), program=shifted)
    assert server.cli("hub", "set", hub, "--keep-alive", "1").returncode == 0
    with (
        RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as dead,
        socket.create_connection((server.host, server.port), DEADLINE_S) as idle,
        half_sent(server) as asking,
    ):
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\nok\n"):
            answer += idle.recv(1000)
        recoverable(server, hub)
        set_clock(seconds)

        assert asking.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert idle.recv(1000) == b""
        assert dead.closed().code == 1006
        wait_until(lambda: closed_as(server, "PingTimeout") == 1, "the end of the silent client")
        wait_until(lambda: metric(server, "webpubsub_connection_count") == 0, "the end of the dropped connection")


@pytest.mark.parametrize("seconds", [DAY_S, -DAY_S])
def test_messages_live_as_long_as_they_are_meant_to(
    start_server: StartServer, hub: str, set_clock: SetClock, shifted: tuple[str, ...], seconds: int
) -> None:
    """One second is over after some pings, and five minutes are not."""
    server = start_server(program=shifted)
    assert server.cli("hub", "set", hub, "--keep-alive", "1").returncode == 0
    with RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as silent:
        answering = Answering(silent)
        dropped = recoverable(server, hub)
        for text, ttl_s in (("short", 1), ("long", 300)):
            headers = {"Content-Type": "text/plain"}
            query = [("messageTtlSeconds", str(ttl_s))]
            sent = rest(server, "POST", f"{hub}/:send", query=query, body=text.encode(), headers=headers)
            assert sent.status == 202
        set_clock(seconds)
        answering.await_pings(3)

        with RawClient(server, client_target(hub, None, dropped), protocols=[RELIABLE]) as recovered:
            recovered.receive_json()
            assert recovered.receive_json()["data"] == "long"
            recovered.close_frame(1000)
        answering.end()
