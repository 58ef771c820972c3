"""A server whose store is in PostgreSQL, as its operator meets it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.servers import PROCESS_S, PROGRAM, Server, StartServer, run_command, wait_until
from acceptance.wire import JsonClient, rest
from postgresql import PostgresqlServer, running_postgresql


@pytest.fixture
def url(postgresql: PostgresqlServer) -> str:
    """An empty database."""
    return postgresql.new_database()


def shown(url: str) -> str:
    """What may be shown of it."""
    return f"postgresql://owner@{url.rpartition('@')[2]}"


def anonymous_policy(server: Server, hub: str) -> str:
    found = server.cli("hub", "show", hub, "--json")
    assert found.returncode == 0, found.stderr
    return str(json.loads(found.stdout)["properties"]["anonymousConnectPolicy"])


def test_killed_server_is_there_again_with_another_data_folder(
    start_server: StartServer, url: str, hub: str, postgresql: PostgresqlServer
) -> None:
    """Keys, hubs and the token issuer with its applications; nothing but the store is common to the two."""
    first = start_server("--store", url)
    assert first.cli("hub", "set", hub, "--anonymous", "allow").returncode == 0
    first.signal(signal.SIGKILL)
    first.wait()

    second = start_server(environment={"HUBWIRE_STORE": url})

    assert second.data != first.data
    assert anonymous_policy(second, hub) == "allow"
    assert second.access_key == first.access_key
    assert (second.tenant_id, second.client_id) == (first.tenant_id, first.client_id)
    assert not (second.data / "hubwire.db").exists()
    wait_until(lambda: shown(url) in second.output(), "the banner")
    said = first.log() + first.output() + second.log() + second.output()
    assert postgresql.password not in said
    assert url not in said


def test_second_server_on_the_same_database_is_refused(start_server: StartServer, url: str, tmp_path: Path) -> None:
    server = start_server("--store", url)

    second = run_command("serve", "--port", "0", "--data", str(tmp_path / "second"), "--store", url)
    offline = offline_keys(url, tmp_path / "third")

    assert (second.returncode, second.stdout) == (1, "")
    refusal = "another server has it; stop that one, or name another database with --store"
    assert second.stderr == f"hubwire: cannot open the store {shown(url)}: {refusal}\n"
    assert offline.returncode == 1
    assert "another server has it" in offline.stderr
    server.stop()
    assert server.access_key in offline_keys(url, tmp_path / "third").stdout


def offline_keys(url: str, data: Path) -> subprocess.CompletedProcess[str]:
    """`hubwire keys show` where no server answers."""
    return subprocess.run(
        [sys.executable, *PROGRAM, "keys", "show", "--data", str(data)],
        env={**os.environ, "HUBWIRE_STORE": url},
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )


@pytest.fixture
def own_postgresql() -> Iterator[PostgresqlServer]:
    """One to be stopped."""
    with running_postgresql() as server:
        yield server


def test_clients_go_on_while_the_database_is_away_and_changes_are_refused(
    start_server: StartServer, own_postgresql: PostgresqlServer, hub: str
) -> None:
    server = start_server("--store", own_postgresql.new_database())
    server.provoked = ("503  operationName=PatchHub",)
    with JsonClient(server, hub) as client:
        own_postgresql.stop()

        refused = server.cli("hub", "set", hub, "--anonymous", "allow")
        sent = rest(server, "POST", f"{hub}/:send", body=b"here", headers={"Content-Type": "text/plain"})

        assert sent.status == 202
        assert client.receive()["data"] == "here"
        own_postgresql.start()
        wait_until(lambda: server.cli("hub", "set", hub, "--anonymous", "allow").returncode == 0, "the database")
    assert refused.returncode == 1
    assert refused.stderr == "hubwire: The change could not be stored: the database does not answer.\n"
    assert anonymous_policy(server, hub) == "allow"
