"""A server that is killed, at any moment and again and again: what it answered is kept, and its clients come back."""

import gc
import http.client
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from acceptance.sdk import SdkClient, sdk_client
from acceptance.servers import DEADLINE_S, PROGRAM, Server, StartServer, free_port, wait_until
from acceptance.wire import JOIN, JSON, SEND, Answer, RawClient, client_target, client_token, rest
from faults.control import ControlConnection, control
from faults.load import Load

TIMES: Final = 10
BACK_S: Final = 120.0
"""The Python library waits for 30 s whenever it has missed the notice that it was waiting for, and then tries again."""

SCRIPT: Final = Path(__file__).parent.parent / "acceptance" / "js" / "member.mjs"

pytestmark = [
    # See tests/acceptance/test_python_client.py: what the synchronous library leaves behind when connections are lost.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings(
        r"ignore:Exception in thread .*\(sequence_id_ack_periodically\):pytest.PytestUnhandledThreadExceptionWarning"
    ),
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What the library leaves to the collector is collected while its warnings are still ignored."""
    yield
    gc.collect()


def assert_sound(data: Path, copy: Path) -> None:
    """
    Nothing in the database of a server that was killed is damaged.

    Looked at in a copy: opening the original would mend it, which is what the next server has to do.
    """
    copy.mkdir()
    for file in data.glob("hubwire.db*"):
        shutil.copy(file, copy)
    with closing(sqlite3.connect(copy / "hubwire.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def hubs_of(server: Server) -> dict[str, Any]:
    """What is noted in the hubs that somebody configured, by their names."""
    return {hub["name"]: hub["properties"].get("note") for hub in control(server, "GET", "hubs").json()["value"]}


def keys_of(server: Server) -> tuple[str, str]:
    keys = control(server, "GET", "keys").json()
    return keys["primaryKey"], keys["secondaryKey"]


class JavaScriptClient:
    """
    The official JavaScript client, in a process of its own.

    Attributes:
        connected: ids of its connections, in order.
        messages: data of the messages that it has had.
    """

    def __init__(self, url: str, kind: str, group: str) -> None:
        node = shutil.which("node")
        assert node is not None, "Node.js is needed for the fault tests"
        assert (SCRIPT.parent / "node_modules").is_dir(), "make setup installs the JavaScript libraries"
        self.connected: list[str] = []
        self.messages: list[Any] = []
        self._joined = False
        self._process = subprocess.Popen(
            [node, str(SCRIPT), url, kind, group], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, name="reads what a JavaScript client says")
        self._reader.start()
        wait_until(lambda: self._joined or not self._reader.is_alive(), "a JavaScript client")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            match json.loads(line):
                case {"connected": connection_id}:
                    self.connected.append(connection_id)
                case {"message": data}:
                    self.messages.append(data)
                case {"joined": _}:
                    self._joined = True
                case other:
                    raise AssertionError(other)

    def end(self) -> None:
        self._process.kill()
        self._process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()


def heard(client: SdkClient | JavaScriptClient) -> list[Any]:
    """Data of all messages so far, each as often as it came."""
    if isinstance(client, JavaScriptClient):
        return list(client.messages)
    return [message.data for message in client.group_messages]


def tell(server: Server, hub: str, text: str) -> None:
    answer = rest(server, "POST", f"{hub}/groups/g/:send", body=text.encode(), headers={"Content-Type": "text/plain"})
    assert answer.status == 202


def assert_all_hear(server: Server, hub: str, clients: dict[str, SdkClient | JavaScriptClient], text: str) -> None:
    """Once they are back and in their group again, which each of them is in its own time."""
    deadline = time.monotonic() + BACK_S
    missing = set(clients)
    while missing:
        assert time.monotonic() < deadline, f"{sorted(missing)} did not come back"
        tell(server, hub, text)
        time.sleep(0.1)
        missing = {name for name in missing if text not in heard(clients[name])}


def status_with(server: Server, hub: str, key: str) -> int:
    with RawClient(server, client_target(hub, client_token(server, hub, key=key)), protocols=[JSON]) as client:
        return client.status


@pytest.mark.timeout(900)
def test_killed_under_load_ten_times_in_a_row(start_server: StartServer, tmp_path: Path, hub: str) -> None:
    """Settings and keys are there, and the official clients come back by themselves and go on."""
    port, data = str(free_port()), tmp_path / "data"
    server = start_server("--port", port, data=data)
    url = f"ws://{server.host}:{server.port}" + client_target(
        hub, client_token(server, hub, roles=[JOIN, SEND], user="u")
    )
    with ExitStack() as stack:
        clients: dict[str, SdkClient | JavaScriptClient] = {}
        for reliable in (True, False):
            word = "reliable" if reliable else "plain"
            for kind in ("sync", "aio"):
                options = {"reconnect_retry_total": 1000, "reconnect_retry_backoff_max": 1}
                member = stack.enter_context(sdk_client(kind, url, reliable=reliable, **options))
                member.calls.join_group("g")
                clients[f"{kind} {word}"] = member
            script = JavaScriptClient(url, word, "g")
            stack.callback(script.end)
            clients[f"javascript {word}"] = script
        assert_all_hear(server, hub, clients, "0")

        for number in range(1, TIMES + 1):
            before = keys_of(server)
            with Load(server, hub) as load:
                wait_until(lambda load=load: load.received_bytes > 1 << 20, "some load")  # type: ignore[misc]
                assert control(server, "PUT", f"hubs/{hub}", {"properties": {"note": number}}).status == 200
                assert control(server, "PUT", f"hubs/h{number}", {"properties": {"note": number}}).status == 200
                assert control(server, "POST", "keys/:rotate", {"keyType": "secondary"}).status == 200
                keys = keys_of(server)
                server.signal(signal.SIGKILL)
                assert server.wait() == -signal.SIGKILL
            server.assert_log_is_clean()
            assert_sound(data, tmp_path / f"copy{number}")

            server = start_server("--port", port, data=data)
            assert keys_of(server) == keys
            assert keys[0] == before[0] == server.access_key
            assert keys[1] != before[1]
            assert hubs_of(server) == {hub: number, **{f"h{earlier}": earlier for earlier in range(1, number + 1)}}
            assert [status_with(server, hub, key) for key in (*keys, before[1])] == [101, 101, 401]
            assert_all_hear(server, hub, clients, str(number))
        for name, client in clients.items():
            # More often, if the library lost patience with a busy machine and began anew.
            assert len(client.connected) == len(set(client.connected)) > TIMES, name
        shown = server.cli("hub", "show", hub, "--json")
        assert (shown.returncode, shown.stderr) == (0, "")
    server.signal(signal.SIGKILL)
    server.wait()
    shown = server.cli("keys", "show", "--json")
    assert (shown.returncode, json.loads(shown.stdout)["primaryKey"]) == (0, server.access_key)


class Writer(threading.Thread):
    """
    Changes settings one after the other until the server has gone.

    Attributes:
        hubs, keys: as they are by all that was answered.
        open_change: what was asked for last; it was not answered, and so may be done or not.
        answered: how many changes were.
    """

    def __init__(self, server: Server, hubs: dict[str, Any], keys: dict[str, str], seed: int) -> None:
        super().__init__(name="changes settings")
        self._connection = ControlConnection(server)
        self._random = random.Random(seed)
        self.hubs = dict(hubs)
        self.keys = dict(keys)
        self.open_change: tuple[str, Any] = ("", None)
        self.answered = 0

    def run(self) -> None:
        with suppress(OSError, http.client.HTTPException):
            while True:
                self._change()
                self.answered += 1
        self._connection.close()

    def _change(self) -> None:
        kind = self._random.choice(("primaryKey", "secondaryKey", "", "", "", "", ""))
        if kind:
            self.open_change = (kind, None)
            answer = self._ask("POST", "keys/:rotate", {"keyType": kind.removesuffix("Key")})
            self.keys = {name: answer.json()[name] for name in self.keys}
            return
        name, note = f"h{self._random.randrange(5)}", self._random.randrange(1 << 30)
        if name in self.hubs and note % 4 == 0:
            self.open_change = (name, None)
            self._ask("DELETE", f"hubs/{name}", None)
            del self.hubs[name]
        else:
            method = "PATCH" if note % 2 else "PUT"
            self.open_change = (name, note)
            self._ask(method, f"hubs/{name}", {"properties": {"note": note, "padding": "x" * (note % 5000)}})
            self.hubs[name] = note

    def _ask(self, method: str, path: str, document: dict[str, Any] | None) -> Answer:
        answer = self._connection.ask(method, path, document)
        assert answer.status in (200, 204), answer
        return answer


def test_killed_while_settings_are_written_keeps_what_was_answered(start_server: StartServer, tmp_path: Path) -> None:
    """The one change that was not is there as a whole, or not at all."""
    data, moments = tmp_path / "data", random.Random(7)
    hubs: dict[str, Any] = {}
    server = start_server(data=data)
    keys = dict(zip(("primaryKey", "secondaryKey"), keys_of(server), strict=True))
    for number in range(TIMES):
        writer = Writer(server, hubs, keys, seed=number)
        writer.start()
        wait_until(lambda writer=writer: writer.answered > 20, "some changes")  # type: ignore[misc]
        time.sleep(moments.random() * 0.02)  # no matter when: at another moment each time
        server.signal(signal.SIGKILL)
        writer.join(DEADLINE_S)
        server.wait()
        assert_sound(data, tmp_path / f"copy{number}")

        server = start_server(data=data)
        name, note = writer.open_change
        found = hubs_of(server)
        done = {**writer.hubs, name: note} if note is not None else {k: v for k, v in writer.hubs.items() if k != name}
        assert found in (writer.hubs, done)
        hubs = found
        keys = dict(zip(keys, keys_of(server), strict=True))
        assert {kind for kind in keys if keys[kind] != writer.keys[kind]} <= {name}


MOMENTS: Final[dict[str, Callable[[Path], bool]]] = {
    "the lock": lambda data: (data / "lock").exists(),
    "the database": lambda data: (data / "hubwire.db").exists(),
    "something in the database": lambda data: size_of(data / "hubwire.db") > 0,
    "the journal": lambda data: (data / "hubwire.db-wal").exists(),
    "something in the journal": lambda data: size_of(data / "hubwire.db-wal") > 0,
    "the control socket": lambda data: (data / "control.sock").exists(),
}


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_killed_in_its_first_start_it_starts_the_next_time(
    start_server: StartServer, tmp_path: Path, moment: Callable[[Path], bool]
) -> None:
    """As soon as there is the one thing or the other."""
    data = tmp_path / "data"
    first = subprocess.Popen(
        [sys.executable, *PROGRAM, "serve", "--port", "0", "--data", str(data)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: moment(data), "the moment")
    finally:
        first.kill()
        first.wait(DEADLINE_S)

    server = start_server(data=data)
    assert len(set(keys_of(server))) == 2
    assert control(server, "PUT", "hubs/h", {"properties": {"note": "x"}}).status == 200
