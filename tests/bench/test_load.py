"""
The load generator counts rightly: what was sent, what arrived, what is missing, and it says so when it cannot.

No test looks at a time or a speed.
"""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from acceptance.conftest import hub, server, start_server
from acceptance.servers import PROGRAM, Server, StartServer, free_port
from acceptance.wire import client_target, client_token, signed
from bench.installation import Available, speaks_tls
from bench.servers import start
from bench.workloads import HUBWIRE_EVENTS
from hubwire.auth.certificates import new_authority
from loading import LONGER, SHORT, assert_complete, load, refusal, run
from rooms import CALL, DIALECTS, EACH, CentrifugoProxy, Fault, Room, room

__all__ = ["hub", "load", "server", "start_server"]

MODES: Final = ("fanout", "echo", "idle", "churn", "connect", "disconnect", "calls", "publish")
"""Those that need a server."""

ROLES: Final = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")


@dataclass(frozen=True)
class Target:
    """A hub of a server of ours, for the command line."""

    server: Server
    hub: str
    paths: Path

    def options(self, protocol: str = "azure") -> list[str]:
        address = f"{self.server.host}:{self.server.port}"
        where = ["--address", address, "--protocol", protocol, "--paths", str(self.paths)]
        return [*where, "--pid", str(self.server.pid), *SHORT]


def target_of(server: Server, hub: str, folder: Path) -> Target:
    """With tokens of three users."""
    paths = folder / "paths"
    tokens = [client_token(server, hub, user=user, roles=ROLES) for user in ("ann", "bob", "cid")]
    paths.write_text("".join(f"{client_target(hub, token)}\n" for token in tokens), encoding="utf-8")
    return Target(server, hub, paths)


@pytest.fixture
def target(server: Server, hub: str, tmp_path: Path) -> Target:
    return target_of(server, hub, tmp_path)


def test_each_member_of_each_group_receives_each_message(load: Path, target: Target) -> None:
    """Five members in two of three groups each, two publishers that take turns and go through the groups."""
    shape = ["--members", "5", "--groups", "3", "--memberships", "2", "--publishers", "2", "--window", "8"]
    result = run(load, "fanout", *target.options(), *shape)

    sizes = [3, 4, 3]
    assert_complete(result, sum(sizes[n % 3] for n in range(result["sent"])))
    assert (result["connections"], result["publishers"]) == (5, 2)
    assert result["latency_us"]["count"] == result["expected"]
    assert result["server_cpu_us"] > 0
    assert result["rss_peak_kib"] >= result["rss_after_kib"] > 0


def test_bursts_are_sent_whatever_the_server_does(load: Path, target: Target) -> None:
    result = run(load, "fanout", *target.options(), "--members", "4", "--rate", "160", "--burst", "8")

    assert result["sent"] % 8 == 0
    assert_complete(result, 4 * result["sent"])


def test_messages_of_the_warm_up_are_accounted_for(load: Path, target: Target) -> None:
    """What was in flight when the measured time began is neither lost nor part of what is expected of it."""
    result = run(load, "fanout", *target.options(), "--members", "3", "--warmup-s", "0.1")

    assert result["expected"] == 3 * result["sent"]
    assert result["carried"] + result["expected"] == result["deliveries"] + result["late"]
    assert result["lost"] == result["gaps"] == result["duplicates"] == 0


def test_large_messages_are_put_together(load: Path, target: Target) -> None:
    """Of more than a read brings."""
    result = run(load, "fanout", *target.options(), "--members", "2", "--size", "300000", "--window", "2")

    assert_complete(result, 2 * result["sent"])


@pytest.mark.parametrize("size", ["64", "300", "20000"])
def test_members_of_the_protobuf_subprotocol_receive_each_message(load: Path, target: Target, size: str) -> None:
    shape = [
        "--members",
        "3",
        "--groups",
        "2",
        "--memberships",
        "2",
        "--publishers",
        "2",
        "--window",
        "8",
        "--size",
        size,
    ]
    result = run(load, "fanout", *target.options("azure-protobuf"), *shape)

    assert_complete(result, 3 * result["sent"])


@pytest.mark.parametrize("protocol", ["azure-reliable", "azure-protobuf-reliable"])
def test_reliable_members_acknowledge(load: Path, start_server: StartServer, tmp_path: Path, protocol: str) -> None:
    """The server would close them once twenty messages wait for it."""
    target = target_of(start_server("--set", "reliable_queue_messages=20"), "hub", tmp_path)
    shape = ["--members", "3", "--window", "4", "--ack-every", "5"]

    result = run(load, "fanout", *target.options(protocol), *shape)

    assert_complete(result, 3 * result["sent"])


def test_members_that_never_read_do_not_count(load: Path, target: Target) -> None:
    result = run(load, "fanout", *target.options(), "--members", "2", "--idle-readers", "3")

    assert_complete(result, 2 * result["sent"])


def test_echo_sends_again_what_has_come_back(load: Path, target: Target) -> None:
    result = run(load, "echo", *target.options(), *LONGER, "--connections", "5")

    # Those that were in flight at the beginning, one of each connection, stand for those of the end.
    assert result["carried"] == result["late"] == 5
    assert result["deliveries"] == result["sent"] > 0
    assert [result[name] for name in ("lost", "gaps", "duplicates", "reordered", "errors", "closed")] == [0] * 6


def test_idle_connections_stay(load: Path, target: Target) -> None:
    result = run(load, "idle", *target.options(), "--connections", "20", "--settle-s", "0.1")

    assert (result["connections"], result["closed"]) == (20, 0)
    assert result["rss_before_kib"] > 0


def test_churn_counts_handshakes(load: Path, target: Target) -> None:
    result = run(load, "churn", *target.options(), *LONGER, "--concurrency", "3")

    assert result["handshakes"] > 0
    assert result["cpu_us_per_operation"] > 0


def test_all_that_connect_at_once_are_let_in(load: Path, target: Target) -> None:
    """While somebody else still gets each of his messages."""
    result = run(load, "connect", *target.options(), "--connections", "50")

    assert (result["handshakes"], result["closed"], result["lost"]) == (50, 0, 0)


def test_nobody_else_loses_a_message_when_many_go_at_once(load: Path, target: Target) -> None:
    result = run(load, "disconnect", *target.options(), "--connections", "50", "--settle-s", "0.1")

    assert (result["connections"], result["lost"]) == (50, 0)
    assert result["latency_us"]["count"] > 0


def call_options(target: Target) -> list[str]:
    path = f"/api/hubs/{target.hub}/groups/g0/:send"
    token = signed(target.server, target.server.endpoint + path)
    return ["--path", f"{path}?api-version=2024-01-01", "--header", f"Authorization: Bearer {token}"]


@pytest.mark.parametrize("pace", [(), ("--rate", "100")], ids=["closed loop", "open loop"])
def test_each_call_reaches_each_member(load: Path, target: Target, pace: tuple[str, ...]) -> None:
    shape = ["--members", "4", "--callers", "3", *pace]
    result = run(load, "calls", *target.options(), *LONGER, *call_options(target), *shape)

    assert result["calls"] > 0
    assert result["expected"] % 4 == 0
    assert result["carried"] + result["expected"] == result["deliveries"] + result["late"]
    assert [result[name] for name in ("lost", "gaps", "duplicates", "reordered", "errors", "closed")] == [0] * 6
    assert result["delivery_latency_us"]["count"] == 4 * result["latency_us"]["count"] > 0


def test_calls_that_are_refused_show_the_answer(load: Path, target: Target) -> None:
    arguments = ["--path", f"/api/hubs/{target.hub}/groups/g0/:send?api-version=2024-01-01"]

    line = refusal(load, "calls", *target.options(), *arguments, "--members", "1")
    assert line == "load: no call succeeded, the first with: HTTP/1.1 401 Unauthorized"


@pytest.mark.parametrize(
    ("mode", "shape"),
    [
        ("fanout", ("--members", "5", "--window", "8")),
        ("fanout", ("--members", "2", "--size", "300000", "--window", "2")),
        ("echo", ("--connections", "3")),
    ],
)
def test_messages_go_over_tls(load: Path, target: Target, mode: str, shape: tuple[str, ...]) -> None:
    """Small ones, and such as are many records; to a server whose authority is trusted."""
    if not speaks_tls(load):
        pytest.skip("OpenSSL's headers are not here")
    result = run(load, mode, *target.options(), *over_tls(target), *shape)

    assert result["deliveries"] > 0
    assert [result[name] for name in ("lost", "gaps", "duplicates", "reordered", "errors", "closed")] == [0] * 6


def test_tls_handshakes_are_counted_and_strangers_not_trusted(load: Path, target: Target, tmp_path: Path) -> None:
    if not speaks_tls(load):
        pytest.skip("OpenSSL's headers are not here")
    assert run(load, "churn", *target.options(), *over_tls(target))["handshakes"] > 0

    other = tmp_path / "other.pem"
    other.write_bytes(new_authority(time.time()).certificate)
    assert "before the end of the handshake" in refusal(load, "churn", *target.options(), *over_tls(target, other))
    assert "is no PEM file of certificates" in refusal(load, "churn", *target.options(), "--tls", str(target.paths))


def over_tls(target: Target, trusted: Path | None = None) -> tuple[str, ...]:
    return "--address", f"{target.server.host}:{target.server.https_port}", "--tls", str(trusted or target.server.ca)


def test_floor_needs_no_server(load: Path) -> None:
    result = run(load, "floor", "--connections", "5", "--sender-cpu", "0", "--reader-cpu", "0", *SHORT)

    assert result["sent"] > 0
    assert result["sent"] % 5 == 0
    assert result["cpu_us_per_operation"] > 0


def test_floor_of_answers_reads_them(load: Path) -> None:
    """Each reader answers each send; what is answered last is perhaps not read any more."""
    shape = ["--connections", "5", "--answer", "10", "--rate", "100"]
    result = run(load, "floor", *shape, "--sender-cpu", "0", "--reader-cpu", "0", *SHORT, *LONGER)

    assert 0 < result["answered"] <= result["sent"]


@pytest.mark.parametrize("protocol", DIALECTS)
def test_protocol_of_each_peer_is_spoken(load: Path, protocol: str) -> None:
    """Joins, publications, messages, and the pings between them."""
    with room(protocol) as there:
        where = ["--address", there.address, "--protocol", protocol, *SHORT]
        result = run(load, "fanout", *where, "--members", "3", "--groups", "2", "--memberships", "2", "--size", "200")
        echo = run(load, "echo", *where, *LONGER, "--connections", "2")

    assert_complete(result, 3 * result["sent"])
    assert result["protocol"] == protocol
    assert echo["deliveries"] == echo["sent"] > 0


def assert_answered(result: Any) -> None:
    """Each event and its answer, once and in order."""
    assert result["deliveries"] == result["sent"] > 0
    assert [result[name] for name in ("lost", "gaps", "duplicates", "reordered", "errors", "closed")] == [0] * 6


def test_events_are_answered_by_the_handler_beside_the_generator(load: Path, tmp_path: Path) -> None:
    """In two runs, each of which has a handler of its own, of one server that is started as for the benchmark."""
    available = Available((sys.executable, *PROGRAM), "")
    server = start(HUBWIRE_EVENTS, available, tmp_path / "server", min(os.sched_getaffinity(0)))
    try:
        where = ["--address", server.address, "--protocol", "azure-events", *server.clients(9, 0, "azure-events")]
        handler = ["--handler", str(server.handler_port), "--pid", str(server.process.pid)]
        for size in ("64", "200000"):
            result = run(load, "echo", *where, *handler, *SHORT, *LONGER, "--connections", "3", "--size", size)
            assert_answered(result)
            assert result["protocol"] == "azure-events"
    finally:
        server.stop()


def called(request_head: bytes, port: int) -> AbstractContextManager[Room]:
    """A server like Centrifugo, which asks at this port."""
    return room("centrifugo-rpc", dialect=partial(CentrifugoProxy, request_head, port))


def test_calls_are_answered_by_the_handler_in_whatever_pieces_they_come(load: Path) -> None:
    port = free_port()
    with called(CALL, port) as there:
        where = ["--address", there.address, "--protocol", "centrifugo-rpc", "--handler", str(port)]
        assert_answered(run(load, "echo", *where, *SHORT, *LONGER, "--connections", "3"))


@pytest.mark.parametrize("line", ["GET /rpc HTTP/1.1", "POST /rpc HTTP/1.1"])
def test_request_that_the_handler_does_not_take_ends_the_run(load: Path, line: str) -> None:
    """Another one than we know of, or one that does not tell its length."""
    port = free_port()
    with called(line.encode() + b"\r\nX: %d\r\n\r\n", port) as there:
        where = ["--address", there.address, "--protocol", "centrifugo-rpc", "--handler", str(port)]
        complaint = f"load: the handler takes OPTIONS, and POST with a length, not {line}"
        assert refusal(load, "echo", *where, *SHORT, "--connections", "1") == complaint


def test_port_of_the_handler_must_be_free(load: Path, mute: str) -> None:
    port = mute.partition(":")[2]
    where = ["--address", mute, "--protocol", "azure-events", "--handler", port, *SHORT]

    assert refusal(load, "echo", *where) == f"load: listen at port {port} for the handler: Address already in use"


def disturbed(load: Path, fault: Fault) -> Any:
    """A run of two members against a server that does wrong."""
    with room("plain", fault) as there:
        where = ["--address", there.address, "--protocol", "plain"]
        return run(load, "fanout", *where, "--members", "2", *SHORT, *LONGER)


def test_messages_that_never_come_are_lost(load: Path) -> None:
    result = disturbed(load, Fault.LOSE)

    struck = result["sent"] // EACH
    unnoticed = 1 if result["sent"] % EACH == 0 else 0  # Nothing came behind the last one.
    assert result["lost"] == 2 * struck > 0
    assert result["gaps"] == 2 * (struck - unnoticed)
    assert result["deliveries"] + result["late"] == result["expected"] - result["lost"]
    assert (result["duplicates"], result["reordered"]) == (0, 0)


def test_messages_that_come_twice_are_duplicates(load: Path) -> None:
    result = disturbed(load, Fault.REPEAT)

    # Of the last one the second may come when nobody looks any more.
    assert 2 * (result["sent"] // EACH - 1) <= result["duplicates"] <= 2 * (result["sent"] // EACH)
    assert result["duplicates"] > 0
    assert result["deliveries"] + result["late"] == result["expected"]
    assert (result["lost"], result["gaps"], result["reordered"]) == (0, 0, 0)


def test_messages_that_come_behind_a_later_one_are_reordered(load: Path) -> None:
    result = disturbed(load, Fault.SWAP)

    held = 1 if result["sent"] % EACH == 0 else 0
    assert result["reordered"] == result["gaps"] == 2 * (result["sent"] // EACH - held) > 0
    assert result["lost"] == 2 * held
    assert result["duplicates"] == 0


def test_server_that_delivers_nothing_is_no_result(load: Path) -> None:
    with room("plain", Fault.KEEP_ALL) as there:
        line = refusal(load, "fanout", "--address", there.address, "--protocol", "plain", "--members", "2", *SHORT)

    assert line.endswith(" messages none was delivered")


def test_member_that_is_lost_before_the_run_began_is_named(load: Path) -> None:
    """Not taken for one that waits for its group."""
    with room("plain", Fault.TURN_OUT) as there:
        line = refusal(load, "fanout", "--address", there.address, "--protocol", "plain", "--members", "2", *SHORT)

    assert "a member was lost before it heard all of its groups: number" in line
    assert "closed by the server with code 1000" in line


def test_server_that_dies_ends_the_run(load: Path) -> None:
    with room("plain", Fault.DIE) as there:
        line = refusal(load, "fanout", "--address", there.address, "--protocol", "plain", "--members", "2", *SHORT)

    assert "the server closed the connection" in line or "reset by peer" in line


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of someone who lets in and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield "{}:{}".format(*listener.getsockname())


def spoken(mode: str) -> str:
    """A protocol for a mode: publishers want to be answered."""
    return "mqtt-qos1" if mode == "publish" else "azure"


@pytest.mark.parametrize("mode", MODES)
def test_time_limit_ends_each_mode(load: Path, server: Server, mute: str, mode: str) -> None:
    where = ["--address", mute, "--protocol", spoken(mode), "--pid", str(server.pid)]

    assert "the time limit of 0.3 s was reached while" in refusal(load, mode, *where, "--limit-s", "0.3")


@pytest.mark.parametrize("mode", MODES)
def test_server_that_is_not_there_ends_each_mode(load: Path, server: Server, mode: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    where = ["--address", address, "--protocol", spoken(mode), "--pid", str(server.pid), *SHORT]

    assert refusal(load, mode, *where).endswith("Connection refused")


@pytest.mark.parametrize("mode", MODES)
def test_refused_upgrade_is_shown(load: Path, target: Target, mode: str) -> None:
    """Its status line, and nothing of the token."""
    protocol = spoken(mode)
    path = client_target(target.hub, "x.y.z")
    if protocol.startswith("mqtt"):
        path = path.replace("/client/", "/clients/mqtt/", 1)
    target.paths.write_text(path, encoding="utf-8")

    line = refusal(load, mode, *target.options(protocol))
    assert line.endswith("upgrade refused: HTTP/1.1 401 Unauthorized")


def test_subprotocol_that_was_not_accepted_ends_the_run(load: Path) -> None:
    with room("plain") as there:
        line = refusal(load, "fanout", "--address", there.address, "--protocol", "mqtt", "--members", "1", *SHORT)

    assert line.endswith("the server did not accept the subprotocol mqtt")


def test_refused_join_is_shown(load: Path, server: Server, hub: str, tmp_path: Path) -> None:
    """The words of the server, on our one line."""
    target = target_of(server, hub, tmp_path)
    target.paths.write_text(client_target(hub, client_token(server, hub)), encoding="utf-8")

    line = refusal(load, "fanout", *target.options())
    assert "while joining: refused by the server: " in line
    assert "Forbidden" in line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--members", "x"], "--members: 'x' is not a whole number from 0 to 1000000"),
        (["--size", "47"], "--size: '47' is not a whole number from 48 to 16777216"),
        (["--rate", "nan"], "--rate: 'nan' is not a number from 0 to 1000000000"),
        (["--size"], "--size needs a value"),
        (["--no", "1"], "there is no option '--no'; --help shows what there is"),
        (["--protocol", "wamp"], "there is no protocol 'wamp', but azure"),
        (["--memberships", "2"], "--memberships: a member cannot be in 2 of 1 groups"),
        (["--groups", "9", "--members", "3"], "--groups: 3 members in 1 groups each cannot fill 9 groups"),
        (["--address", "nowhere"], "'nowhere' is not HOST:PORT"),
        (["--paths", "/nowhere"], "/nowhere: No such file or directory"),
        (["--header", "x"], "--header: not a line 'K: V'"),
        (["--pid", "0"], "--pid: '0' is not a process"),
    ],
)
def test_wrong_options_are_named(load: Path, arguments: list[str], complaint: str) -> None:
    where = ["--address", "127.0.0.1:1", "--protocol", "azure"]

    assert refusal(load, "fanout", *where, *arguments).startswith(f"load: {complaint}")


def test_unknown_mode_is_named(load: Path) -> None:
    assert refusal(load, "fan") == "load: there is no mode 'fan'; --help shows what there is"
