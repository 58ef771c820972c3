"""A server as its operator meets it: start, settings that change while it runs, overload, and the end."""

import json
import os
import signal
import socket
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from acceptance.servers import Server, StartServer, run_command, wait_until
from acceptance.wire import (
    JOIN,
    JSON,
    RELIABLE,
    SEND,
    Closed,
    JsonClient,
    RawClient,
    client_target,
    client_token,
    http_request,
    metric,
    rest,
    signed,
)


def closed_as(server: Server, category: str) -> float:
    """How many connections the server has closed under a category, by its own count."""
    return metric(server, f'webpubsub_connection_close_total{{category="{category}"}}')


def upgrade_status(server: Server, hub: str, token: str | None) -> int:
    with RawClient(server, client_target(hub, token), protocols=[JSON]) as client:
        return client.status


def test_ready_file_tells_where_the_server_is_and_is_removed_at_the_end(start_server: StartServer) -> None:
    server = start_server()
    ready = json.loads(server.ready_file.read_text(encoding="utf-8"))

    assert ready["pid"] == server.process.pid
    assert ready["connectionString"].startswith(f"Endpoint={ready['endpoint']};AccessKey=")
    assert ready["connectionString"].endswith(";Version=1.0;")
    assert stat.S_IMODE(server.ready_file.stat().st_mode) & 0o077 == 0, "it holds a key"
    assert http_request(server, "HEAD", "/api/health").status == 200
    server.stop()
    assert not server.ready_file.exists()


def test_banner_shows_the_connection_string_and_can_be_left_out(start_server: StartServer) -> None:
    shown, silent = start_server(), start_server("--no-banner")

    wait_until(lambda: shown.connection_string in shown.output(), "the banner")
    silent.stop()
    assert silent.output() == ""


def test_warnings_of_the_start_are_in_the_banner_and_in_the_log(start_server: StartServer) -> None:
    """An address that this machine does not have is one; the server listens on the others."""
    absent = "this machine has no address 192.0.2.1; not listening there"
    shown = start_server("--host", "127.0.0.1", "--host", "192.0.2.1")
    silent = start_server("--host", "127.0.0.1", "--host", "192.0.2.1", "--no-banner")

    wait_until(lambda: shown.connection_string in shown.output(), "the banner")
    for server in (shown, silent):
        assert http_request(server, "HEAD", "/api/health").status == 200
        server.stop()
        (line,) = [line for line in server.log().splitlines() if absent in line]
        assert " warning " in line
    assert absent in shown.output()
    assert silent.output() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_server_in_order_and_tells_every_client(
    start_server: StartServer, hub: str, number: signal.Signals
) -> None:
    """A farewell and 1001 for clients of a subprotocol, 1001 for simple ones, exit code 0."""
    server = start_server()
    with (
        JsonClient(server, hub) as plain,
        JsonClient(server, hub, protocol=RELIABLE) as reliable,
        RawClient(server, client_target(hub, client_token(server, hub))) as simple,
    ):
        server.signal(number)

        for client in (plain, reliable):
            assert client.closed().code == 1001
            farewell = client.receive()
            assert (farewell["type"], farewell["event"]) == ("system", "disconnected")
        assert simple.closed().code == 1001
    assert server.wait() == 0
    assert not server.ready_file.exists()
    assert not (server.data / "control.sock").exists()


def test_second_signal_ends_the_server_at_once(start_server: StartServer, hub: str) -> None:
    """Although a client has not answered its close frame yet, and ten minutes of grace are left."""
    server = start_server("--grace", "600")
    with RawClient(server, client_target(hub, client_token(server, hub))) as silent:
        server.signal(signal.SIGTERM)
        assert silent.receive_frame()[0] == 8
        server.signal(signal.SIGTERM)

        assert server.wait() == 1
    assert server.log().endswith("stopped at once by a second signal\n")
    assert not server.ready_file.exists()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_server_serves_with_either_event_loop(start_server: StartServer, hub: str, loop: str) -> None:
    """Clients, REST, the control socket, and an end in order."""
    server = start_server("--set", f"loop={loop}")
    with (
        JsonClient(server, hub) as receiver,
        JsonClient(server, hub, protocol=RELIABLE) as sender,
        RawClient(server, client_target(hub, client_token(server, hub))) as simple,
    ):
        receiver.join("g")
        assert sender.publish("g", "from a client", "text")["success"]
        assert receiver.receive()["data"] == "from a client"
        answer = rest(server, "POST", f"{hub}/:send", body=b"from REST", headers={"Content-Type": "text/plain"})
        assert answer.status == 202
        assert [client.receive()["data"] for client in (receiver, sender)] == ["from REST", "from REST"]
        assert simple.receive_frame() == (1, b"from REST")
        assert json.loads(server.cli("status", "--json").stdout)["connections"] == 3

        server.signal(signal.SIGTERM)

        assert [client.closed().code for client in (receiver, sender, simple)] == [1001, 1001, 1001]
    assert server.wait() == 0


def test_server_that_is_told_to_end_before_anybody_came_ends(start_server: StartServer) -> None:
    server = start_server()
    server.signal(signal.SIGTERM)

    assert server.wait() == 0


def test_two_servers_on_one_data_folder_are_one_too_many(start_server: StartServer, hub: str) -> None:
    """The second one says so in a line, and the first one serves on."""
    server = start_server()

    second = run_command("serve", "--port", "0", "--data", str(server.data))

    assert second.returncode not in (0, None)
    assert str(server.data) in second.stderr
    assert "Traceback" not in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
    with JsonClient(server, hub) as client:
        client.join("g")
    assert server.cli("status").returncode == 0


def test_server_that_lost_its_control_socket_is_known_to_run(start_server: StartServer) -> None:
    """Somebody cleaned up too much."""
    server = start_server()
    (server.data / "control.sock").unlink()

    for command in (["status"], ["keys", "show"], ["hub", "list"]):
        result = server.cli(*command)
        assert (result.returncode, result.stdout) == (1, "")
        assert "its control socket is missing; restart it" in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = run_command("serve", "--port", str(port), "--data", str(tmp_path / "data"))

    assert result.returncode not in (0, None)
    assert str(port) in result.stderr
    assert "Traceback" not in result.stderr


def test_folder_in_the_place_of_the_control_socket_is_named(tmp_path: Path) -> None:
    (tmp_path / "data" / "control.sock").mkdir(parents=True)

    result = run_command("serve", "--port", "0", "--data", str(tmp_path / "data"))

    assert result.returncode == 1
    assert result.stderr.startswith("hubwire: cannot open the control socket ")
    assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "data" / "control.sock").is_dir()


def test_document_that_is_damaged_is_named(start_server: StartServer) -> None:
    server = start_server()
    server.stop()
    with closing(sqlite3.connect(server.data / "hubwire.db")) as database:
        database.execute("UPDATE documents SET body = '{nope' WHERE kind = 'resource'")
        database.commit()

    result = run_command("serve", "--port", "0", "--data", str(server.data))

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "hubwire: the stored resource default is damaged: its body is not JSON\n"


@pytest.mark.parametrize(
    "options",
    [
        ["--set", "no_such=1"],
        ["--set", "recovery_s=soon"],
        ["--port", "70000"],
        ["--config", "/nowhere"],
        ["--trusted-proxy", "10.0.0.1/8"],
        ["--trusted-proxy", "proxy.example.org"],
        ["--public-endpoint", "example.org"],
        ["--public-endpoint", "https://chat.example.org", "--public-endpoint", "ftp://chat.example.org"],
    ],
)
def test_setting_that_cannot_be_used_is_named_and_nothing_starts(tmp_path: Path, options: list[str]) -> None:
    result = run_command("serve", "--data", str(tmp_path / "data"), *options)

    assert result.returncode == 2
    assert result.stderr.startswith("hubwire: ")
    assert options[-1].partition("=")[0] in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_keys_and_hubs_survive_a_restart(start_server: StartServer, hub: str) -> None:
    first = start_server()
    assert first.cli("hub", "set", hub, "--anonymous", "allow").returncode == 0
    first.stop()

    second = start_server(data=first.data)

    assert second.access_key == first.access_key
    assert upgrade_status(second, hub, None) == 101


def test_server_that_was_killed_starts_again_on_its_folder(start_server: StartServer, tmp_path: Path, hub: str) -> None:
    """Lock, control socket and ready file of the dead do not stand in the way; its connections are gone for good."""
    data = tmp_path / "data"
    first = start_server(data=data)
    with JsonClient(first, hub, protocol=RELIABLE) as client:
        recovery = client.recovery()
        first.signal(signal.SIGKILL)
        assert client.closed() == Closed(1006, "")
    assert first.wait() == -signal.SIGKILL

    second = start_server(data=data)

    assert second.access_key == first.access_key
    assert second.cli("status").returncode == 0
    with RawClient(second, client_target(hub, None, recovery), protocols=[RELIABLE]) as client:
        assert client.closed().code == 1008


def test_data_folder_is_for_its_owner_only(start_server: StartServer) -> None:
    server = start_server()

    readable = [path for path in (server.data, *server.data.rglob("*")) if stat.S_IMODE(path.stat().st_mode) & 0o077]

    assert readable == []


def test_rotated_key_is_worthless_at_once_and_open_connections_stay(start_server: StartServer, hub: str) -> None:
    server = start_server()
    old_token = client_token(server, hub, roles=[JOIN])
    path = f"/api/hubs/{hub}/groups/g?api-version=2024-12-01"

    def status_with(key: str) -> int:
        headers = {"Authorization": f"Bearer {signed(server, server.endpoint + path, key=key)}"}
        return http_request(server, "HEAD", path, headers=headers).status

    keys = json.loads(server.cli("keys", "show", "--json").stdout)
    assert (status_with(keys["primaryKey"]), status_with(keys["secondaryKey"])) == (404, 404)
    with JsonClient(server, hub, token=old_token) as client:
        assert server.cli("keys", "rotate", "primary").returncode == 0

        rotated = json.loads(server.cli("keys", "show", "--json").stdout)
        assert rotated["primaryKey"] != keys["primaryKey"]
        assert rotated["secondaryKey"] == keys["secondaryKey"]
        assert status_with(keys["primaryKey"]) == 401
        assert status_with(rotated["primaryKey"]) == 404
        assert status_with(keys["secondaryKey"]) == 404
        assert upgrade_status(server, hub, old_token) == 401
        assert upgrade_status(server, hub, client_token(server, hub, key=rotated["primaryKey"])) == 101
        client.join("g")
    assert rotated["primaryKey"] not in server.log()


def test_hub_may_be_opened_to_anonymous_clients_and_shut_again(start_server: StartServer, hub: str) -> None:
    """They get in without a user and without rights; a token that proves nothing is refused as before."""
    server = start_server()
    assert upgrade_status(server, hub, None) == 401
    assert server.cli("hub", "set", hub, "--anonymous", "allow").returncode == 0

    with RawClient(server, client_target(hub, None), protocols=[JSON]) as client:
        assert not client.receive_json().get("userId")
        client.send_json({"type": "joinGroup", "group": "g", "ackId": 1})
        assert client.receive_json()["error"]["name"] == "Forbidden"
    assert upgrade_status(server, hub, "nonsense") == 401
    assert upgrade_status(server, hub + "other", None) == 401

    assert server.cli("hub", "set", hub, "--anonymous", "deny").returncode == 0
    assert upgrade_status(server, hub, None) == 401


def test_client_that_never_reads_is_closed_and_delays_nobody(start_server: StartServer, hub: str) -> None:
    """What waits for it is bounded; everybody else gets everything, in order."""
    server = start_server("--set", "client_buffer_bytes=65536")
    target = client_target(hub, client_token(server, hub, groups=["g"]))
    payload = "x" * 65536
    count = 400
    with (
        RawClient(server, target, protocols=[JSON], receive_buffer_bytes=4096) as slow,
        JsonClient(server, hub, groups=["g"]) as reader,
        JsonClient(server, hub) as sender,
    ):
        for number in range(count):
            sender.publish("g", f"{number} {payload}", "text")
            assert reader.receive()["data"].startswith(f"{number} ")

        wait_until(lambda: closed_as(server, "SlowClient") == 1, "the slow client is closed")
        assert slow.closed().code in (1008, 1006), "a full socket may have no room for a close frame"
        assert rest(server, "HEAD", f"{hub}/connections/{reader.connection_id}").status == 200


def test_client_that_answers_no_pings_is_given_up(start_server: StartServer, hub: str) -> None:
    """One that answers stays, though it says nothing else."""
    server = start_server()
    assert server.cli("hub", "set", hub, "--keep-alive", "1").returncode == 0
    with (
        JsonClient(server, hub) as alive,
        RawClient(server, client_target(hub, client_token(server, hub)), protocols=[JSON]) as dead,
    ):
        dead.closed()

        wait_until(lambda: closed_as(server, "PingTimeout") == 1, "the silent client is closed")
        alive.join("g")
        assert closed_as(server, "PingTimeout") == 1


def test_reliable_client_that_was_given_up_may_come_back(start_server: StartServer, hub: str) -> None:
    server = start_server()
    assert server.cli("hub", "set", hub, "--keep-alive", "1").returncode == 0
    token = client_token(server, hub, roles=[SEND], groups=["g"])
    with RawClient(server, client_target(hub, token), protocols=[RELIABLE]) as dead:
        connected = dead.receive_json()
        dead.closed()
    recovery = [
        ("awps_connection_id", connected["connectionId"]),
        ("awps_reconnection_token", connected["reconnectionToken"]),
    ]

    with RawClient(server, client_target(hub, None, recovery), protocols=[RELIABLE]) as again:
        assert again.receive_json()["connectionId"] == connected["connectionId"]


def test_metrics_count_connections_and_their_ends(start_server: StartServer, hub: str) -> None:
    server = start_server()
    with JsonClient(server, hub) as client:
        assert metric(server, "webpubsub_connection_count") == 1
        assert rest(server, "DELETE", f"{hub}/connections/{client.connection_id}").status == 204
        client.closed()
    with JsonClient(server, hub):
        pass

    wait_until(lambda: closed_as(server, "Normal") == 1, "the client that left is counted")
    assert closed_as(server, "ClosedByAppServer") == 1


def test_server_answers_on_every_address_that_it_names(server: Server) -> None:
    """`localhost` leads to either family, and clients try the one or the other first."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        if family == socket.AF_INET6 and not os.path.exists("/proc/net/if_inet6"):
            continue
        with socket.socket(family) as client:
            client.connect((address, server.port))
            client.sendall(b"HEAD /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
