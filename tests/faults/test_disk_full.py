"""
A disk that is full: no change is half made, whoever asks for one is told, and messages go on.

The disk is full in one of two ways. A limit on the size of files makes every write that would go beyond it fail
(EFBIG), for whoever runs the tests. A file system in memory that has no room left is the real thing (ENOSPC), and needs
the right to mount one.
"""

import os
import resource
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from acceptance.mqtt import MqttClient
from acceptance.servers import PROGRAM, Server, StartServer, wait_until
from acceptance.wire import Answer, JsonClient, metric, rest
from faults.control import control
from hubwire.protocols.mqtt.packets import Puback, Publish

REFUSED = "Error.ServiceUnavailable"
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
from hubwire.cli.main import main
main()
"""


class LimitedFiles:
    """Whatever disk there is; it is full for one process, which may write no more to any file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, server: Server) -> None:
        self.limit(server, 0)

    def free(self, server: Server) -> None:
        self.limit(server, resource.RLIM_INFINITY)

    @staticmethod
    def limit(server: Server, size_bytes: int) -> None:
        """How large a file may become by what `server` writes."""
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


class SmallDisk:
    """A disk of its own, mounted on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, server: Server) -> None:
        """To its last page; what a file has of a page is its own, and may still be written to."""
        with self._filler.open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(1024))

    def free(self, server: Server) -> None:
        self._filler.unlink()


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A file system in memory on `folder`."""
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(options, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(params=["limit", "mount"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LimitedFiles | SmallDisk]:
    """The disk of the first server that a test starts, with its data and its log. Ask for it before the server."""
    folder = tmp_path / "s0"
    if request.param == "limit":
        yield LimitedFiles(folder)
        return
    with mounted(folder, "1m"):
        yield SmallDisk(folder)


def hubs_of(server: Server) -> dict[str, dict[str, object]]:
    """The properties of the hubs that somebody configured, by their names."""
    return {hub["name"]: hub["properties"] for hub in control(server, "GET", "hubs").json()["value"]}


def keys_of(server: Server) -> tuple[str, str]:
    keys = control(server, "GET", "keys").json()
    return keys["primaryKey"], keys["secondaryKey"]


def stored(server: Server) -> tuple[dict[str, dict[str, object]], tuple[str, str]]:
    """All that the running server has stored."""
    return hubs_of(server), keys_of(server)


def assert_sound(data: Path) -> None:
    """Nothing in the database of a server that ended is damaged."""
    with closing(sqlite3.connect(data / "hubwire.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def assert_refused(answer: Answer) -> None:
    assert (answer.status, answer.headers["x-ms-error-code"]) == (503, REFUSED)
    assert answer.json().keys() == {"code", "message", "target", "details"}
    assert answer.json()["code"] == REFUSED
    assert answer.json()["message"].startswith("The change could not be stored: ")


def until_refused(change: Callable[[int], Answer]) -> int:
    """Change on until there is no room left; returns how many changes were made. A few may still find some."""
    for number in range(100):
        answer = change(number)
        if answer.status != 200:
            assert_refused(answer)
            return number
    raise AssertionError("the disk is not full")


def test_full_disk_refuses_changes_and_stops_no_message(
    disk: LimitedFiles | SmallDisk, start_server: StartServer, hub: str
) -> None:
    """Whatever is asked for is carried out or refused as a whole; and with room again, all is as it was."""
    server = start_server("--log-level", "debug")
    server.provoked = (" 503 ",)
    assert control(server, "PUT", f"hubs/{hub}", {"properties": {"note": "kept"}}).status == 200
    with JsonClient(server, hub, groups=["g"]) as member, JsonClient(server, hub) as publisher:
        disk.fill(server)
        until_refused(lambda number: control(server, "PUT", f"hubs/{hub}x{number}", {"properties": {"n": number}}))
        before = stored(server)

        assert_refused(control(server, "PUT", f"hubs/{hub}", {"properties": {"note": "lost"}}))
        assert_refused(
            control(server, "PATCH", f"hubs/{hub}", {"properties": {"webSocketKeepAliveIntervalInSeconds": 1}})
        )
        assert_refused(control(server, "DELETE", f"hubs/{hub}"))
        assert_refused(control(server, "POST", "keys/:rotate", {"keyType": "primary"}))
        told = server.cli("keys", "rotate", "secondary")
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr.startswith("hubwire: The change could not be stored: ")
        assert len(told.stderr.splitlines()) == 1
        assert stored(server) == before

        # All that is logged has nowhere to go: the connections, the requests, and at this level each message.
        for number in range(200):
            assert publisher.publish("g", number)["success"]
            assert member.receive()["data"] == number
        with JsonClient(server, hub, groups=["g"]) as late:
            assert rest(
                server, "POST", f"{hub}/groups/g/:send", body=b"1", headers={"Content-Type": "application/json"}
            )
            assert late.receive()["data"] == member.receive()["data"] == 1
        disk.free(server)
        assert control(server, "PUT", f"hubs/{hub}", {"properties": {"note": "new"}}).status == 200
        assert control(server, "POST", "keys/:rotate", {"keyType": "primary"}).status == 200
        publisher.publish("g", "after")
        assert member.receive()["data"] == "after"
    after = stored(server)
    assert after[0] == {**before[0], hub: {**before[0][hub], "note": "new"}}
    wait_until(lambda: "log records were dropped" in server.log(), "the log goes on")

    server.stop()
    assert_sound(server.data)
    again = start_server(data=server.data)
    assert stored(again) == after


def is_silent(client: MqttClient) -> bool:
    """Nothing has come for it."""
    return not select.select([client.raw.socket], [], [], 0)[0]


def test_full_disk_lets_acknowledgements_wait_and_loses_no_message(
    disk: LimitedFiles | SmallDisk, start_server: StartServer, hub: str
) -> None:
    """Of messages that have to be on it. All others go on, and so do clients that have nothing to do with them."""
    server = start_server()
    server.provoked = ("cannot write to the journal",)
    with MqttClient(server, hub, client_id="away", expiry_s=600) as away:
        assert away.subscribe("t", qos=1) == (1,)
    with MqttClient(server, hub) as publisher, JsonClient(server, hub, groups=["g"]) as other:
        assert publisher.publish("t", b"before") == 0
        disk.fill(server)
        publisher.send(Publish("t", b"waits", 1, packet_id=100))
        wait_until(lambda: metric(server, "hubwire_journal_unwritten") > 0, "the first that waits")
        other.send({"type": "sendToGroup", "group": "t", "dataType": "text", "data": "too", "ackId": 7})
        with JsonClient(server, hub) as third:
            for number in range(200):
                assert third.publish("g", number)["success"]
        assert is_silent(publisher)
        assert metric(server, "hubwire_journal_unwritten") > 0

        disk.free(server)
        assert publisher.expect(Puback).packet_id == 100
        answers = [other.receive() for _ in range(201)]
        assert [answer["data"] for answer in answers if answer["type"] == "message"] == list(range(200))
        assert [answer["ackId"] for answer in answers if answer["type"] == "ack"] == [7]
    wait_until(lambda: metric(server, "hubwire_journal_unwritten") == 0, "everything is written")
    server.signal(signal.SIGKILL)
    server.wait()

    again = start_server(data=server.data)
    with MqttClient(again, hub, client_id="away", clean=False, expiry_s=600) as back:
        assert back.resumed
        assert [message.payload for message in back.messages(3)] == [b"before", b"waits", b"too"]


def test_server_that_ends_with_a_full_disk_ends_in_order(
    disk: LimitedFiles | SmallDisk, start_server: StartServer, hub: str
) -> None:
    """What was changed before is there at the next start."""
    server = start_server()
    assert control(server, "PUT", f"hubs/{hub}", {"properties": {"note": "kept"}}).status == 200
    disk.fill(server)
    server.stop()
    if isinstance(disk, SmallDisk):
        disk.free(server)

    again = start_server(data=server.data)
    assert control(again, "GET", f"hubs/{hub}").json()["properties"]["note"] == "kept"


def test_write_that_fails_in_its_middle_leaves_nothing_behind(start_server: StartServer, tmp_path: Path) -> None:
    """There is a little more room each time, so that a change fails after any part of it."""
    server = start_server()
    server.provoked = (" 503 ",)
    disk = LimitedFiles(tmp_path)
    journal = server.data / "hubwire.db-wal"
    made: dict[str, int] = {}
    refused = 0
    for number in range(4):
        size = journal.stat().st_size
        for room in range(0, 1 << 16, 1500):
            disk.limit(server, size + room)
            answer = control(server, "PUT", f"hubs/h{number}", {"properties": {"n": number, "long": "x" * 9000}})
            if answer.status == 200:
                made[f"h{number}"] = number
                break
            assert_refused(answer)
            refused += 1
        disk.free(server)
        assert {name: hub["n"] for name, hub in hubs_of(server).items()} == made
    assert refused > 8

    server.signal(signal.SIGKILL)
    server.wait()
    again = start_server(data=server.data)
    assert {name: hub["n"] for name, hub in hubs_of(again).items()} == made == {f"h{n}": n for n in range(4)}
    again.stop()
    assert_sound(server.data)


def first_start(data: Path, *program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *program, "serve", "--port", "0", "--data", str(data)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def assert_start_failed(result: subprocess.CompletedProcess[str]) -> None:
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("hubwire: cannot ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("size_bytes", [0, 4096, 20_000])
def test_first_start_without_room_says_so_in_a_line_and_the_next_one_succeeds(
    start_server: StartServer, tmp_path: Path, size_bytes: int
) -> None:
    assert_start_failed(first_start(tmp_path / "data", "-c", LIMITED, str(size_bytes)))

    start_server(data=tmp_path / "data")


@pytest.mark.parametrize("size", ["8k", "28k", "44k", "52k"])
def test_first_start_on_a_full_disk_says_so_in_a_line_and_the_next_one_succeeds(
    start_server: StartServer, tmp_path: Path, size: str
) -> None:
    """There is room for some of the files, up to all but the keys."""
    disk = tmp_path / "disk"
    with mounted(disk, size):
        assert_start_failed(first_start(disk / "data", *PROGRAM))
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)

        start_server(data=disk / "data").stop()
