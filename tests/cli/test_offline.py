"""Commands that read a data folder on which no server runs. The folder and its store are real here."""

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Run
from hubwire.app import offline
from hubwire.model.hubs import AccessKeys
from hubwire.resources.catalog import Catalog
from hubwire.settings import Settings


@pytest.fixture
def keys() -> AccessKeys:
    """Those of the folder `data`, in which a server has been before and configured a hub."""

    async def configure(catalog: Catalog) -> AccessKeys:
        await catalog.put_hub("Chat", {"anonymousConnectPolicy": "allow"})
        return catalog.access_keys("default")

    return offline(Settings(), configure)


def test_keys_are_shown_without_connection_strings(run: Run, keys: AccessKeys) -> None:
    """Nobody knows where a server would listen; stderr says so, and stdout stays what was asked for."""
    result = run("keys", "show", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"primaryKey": keys.primary, "secondaryKey": keys.secondary}
    assert "no server is running" in result.stderr


@pytest.mark.parametrize("arguments", [["keys", "show"], ["hub", "list"], ["hub", "show", "chat"]])
def test_restored_backup_is_read_before_a_server_ran_on_it(run: Run, keys: AccessKeys, arguments: list[str]) -> None:
    """It is the database alone: nobody has made a lock yet."""
    expected = run(*arguments).stdout
    Path("restored").mkdir()
    Path("data/hubwire.db").rename("restored/hubwire.db")

    result = run(*arguments, "--data", "restored")

    assert result.exit_code == 0
    assert result.stdout == expected != ""


@pytest.mark.parametrize("arguments", [["keys", "show"], ["hub", "list"], ["hub", "show", "chat"]])
def test_folder_without_a_database_has_nothing_to_read(run: Run, arguments: list[str]) -> None:
    """Not even with a lock in it, such as a start that failed leaves; nothing is added."""
    Path("data").mkdir()
    Path("data/lock").touch()

    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "no server runs on the data folder data" in result.stderr
    assert [path.name for path in Path("data").iterdir()] == ["lock"]


def test_hubs_are_shown(run: Run, keys: AccessKeys) -> None:
    """As a running server would show them, in any letter case."""
    listed: list[Mapping[str, Any]] = json.loads(run("hub", "list", "--json").stdout)

    assert [hub["name"] for hub in listed] == ["Chat"]
    assert json.loads(run("hub", "show", "chat", "--json").stdout) == listed[0]


def test_hub_that_nobody_configured_is_told(run: Run, keys: AccessKeys) -> None:
    """With the same exit code as from a server."""
    result = run("hub", "show", "other")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "hubwire: nobody configured a hub other; it has the defaults\n"


@pytest.mark.parametrize(
    "arguments", [["hub", "set", "chat"], ["hub", "delete", "chat"], ["keys", "rotate", "primary"]]
)
def test_nothing_is_changed_without_a_server(run: Run, keys: AccessKeys, arguments: list[str]) -> None:
    """These say how to start one."""
    result = run(*arguments)

    assert result.exit_code == 1
    assert "hubwire serve" in result.stderr
    assert json.loads(run("keys", "show", "--json").stdout)["primaryKey"] == keys.primary


@pytest.mark.parametrize(
    "arguments", [["keys", "show"], ["hub", "list"], ["hub", "show", "chat"], ["status"], ["url", "--hub", "chat"]]
)
def test_server_whose_control_socket_is_missing_is_not_taken_for_none(
    run: Run, keys: AccessKeys, arguments: list[str]
) -> None:
    """Its lock says that it runs: nothing is read behind its back, and nobody is told to start a second one."""
    with Path("data/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        result = run(*arguments)

    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "",
        "hubwire: a server runs on the data folder data but its control socket is missing; restart it\n",
    )


def test_looking_whether_a_server_runs_leaves_the_folder_free(run: Run, keys: AccessKeys) -> None:
    """Nobody holds its lock afterwards."""
    assert "no server runs" in run("status").stderr
    with Path("data/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_folder_that_somebody_takes_meanwhile_is_left_alone(
    run: Run, keys: AccessKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a server that starts after the command has looked for one."""
    monkeypatch.setattr("hubwire.cli.control._is_locked", lambda _folder: False)
    with Path("data/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        result = run("keys", "show")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "is in use by another server" in result.stderr
    assert result.stderr.count("\n") == 1


def test_store_that_the_environment_names_is_read_instead_of_the_folder(run: Run, keys: AccessKeys) -> None:
    """As a server does that is started there."""
    Path("elsewhere").mkdir()
    Path("data/hubwire.db").rename("elsewhere/store.db")

    result = run("keys", "show", "--json", env={"HUBWIRE_STORE": "sqlite:///elsewhere/store.db"})

    assert result.exit_code == 0
    assert json.loads(result.stdout)["primaryKey"] == keys.primary
    assert run("keys", "show").exit_code == 1


def test_store_that_cannot_be_opened_is_named_without_its_password(run: Run) -> None:
    result = run("keys", "show", env={"HUBWIRE_STORE": "postgresql://owner:hunter2@127.0.0.1:1/db"})

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("hubwire: cannot open the store postgresql://owner@127.0.0.1:1/db: ")
    assert "hunter2" not in result.stderr
