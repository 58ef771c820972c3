"""The data folder: one server at a time, for its owner alone."""

import asyncio
import stat
from pathlib import Path

import pytest

from hubwire.adapters.data_folder import DataFolder
from hubwire.adapters.journal_sql import open_journal
from hubwire.adapters.store_sql import open_store
from hubwire.model.errors import StartFailed


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = DataFolder(str(tmp_path / "deep" / "data"))
    try:
        assert mode(folder.path) == 0o700
        assert mode(folder.path / "lock") == 0o600
    finally:
        folder.close()


def test_second_server_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first = DataFolder(str(tmp_path))
    with pytest.raises(StartFailed, match="in use by another server; stop it or name another with --data"):
        DataFolder(str(tmp_path))
    first.close()

    DataFolder(str(tmp_path)).close()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_folder_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartFailed, match=r"cannot write to data folder .*file"):
        DataFolder(str(tmp_path / name))


def test_relative_path_keeps_its_meaning_when_the_process_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = DataFolder("data")
    monkeypatch.chdir("/")

    assert folder.path == tmp_path / "data"
    assert folder.control_socket.parent == tmp_path / "data"
    folder.close()


@pytest.mark.parametrize("levels", [0, 10])
async def test_control_socket_can_be_bound_however_deep_the_folder_is(tmp_path: Path, levels: int) -> None:
    """A socket's path may have about a hundred bytes only."""
    folder = DataFolder(str(tmp_path.joinpath(*["a-rather-long-name"] * levels)))
    server = await asyncio.start_unix_server(lambda _, writer: writer.close(), folder.bindable_control_socket())
    try:
        assert folder.control_socket.is_socket()
    finally:
        server.close()
        folder.close()

    assert not folder.control_socket.exists()


async def test_store_and_journal_are_files_beside_one_another(tmp_path: Path) -> None:
    folder = DataFolder(str(tmp_path / "data"))
    await (await open_store(folder.database_url)).close()
    await (await open_journal(folder.journal_url)).close()
    folder.close()

    assert {file.name for file in folder.path.iterdir()} == {"lock", "hubwire.db", "journal.db"}
