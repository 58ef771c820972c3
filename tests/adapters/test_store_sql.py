import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from hubwire.adapters.store_sql import open_store
from hubwire.model.errors import NotStored, StartFailed
from hubwire.model.ports import Change


async def refusal(path: Path) -> str:
    with pytest.raises(StartFailed) as failed:
        await open_store(f"sqlite:///{path}")
    text = str(failed.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def pragma(path: Path, text: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {text}").fetchone()[0]


@contextmanager
def without_privileges() -> Iterator[None]:
    """The superuser may write everywhere, so the permissions of files are tested as somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def readable_folder() -> Iterator[Path]:
    """A folder that everybody can reach and, once a test has filled it, nobody can write to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


async def test_new_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """The write-ahead files as well: all of them hold keys."""
    store = await open_store(f"sqlite:///{tmp_path}/store.db")
    await store.commit([Change("k", "a", {})])

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    await store.close()

    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


async def test_commits_go_to_a_write_ahead_log_and_to_the_disk(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/store.db")
    async with store._database.engine.connect() as connection:
        synchronous = (await connection.exec_driver_sql("PRAGMA synchronous")).scalar()
    await store.close()

    assert synchronous == 2
    assert pragma(tmp_path / "store.db", "journal_mode") == "wal"


@pytest.mark.parametrize("name", ["a b", "100%41", "why?", "#1", "ü", "file:x", "a&b=c"])
async def test_path_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/{name}")
    await store.close()

    assert [file.name for file in tmp_path.iterdir()] == [name]


async def test_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    store = await open_store("sqlite:///store.db")
    await store.close()

    assert (tmp_path / "store.db").exists()


@pytest.mark.parametrize(
    "url",
    ["", "store.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://user:secret@host/db", "mysql:"],
)
async def test_url_that_is_no_file_of_sqlite_is_refused(url: str) -> None:
    with pytest.raises(StartFailed, match="sqlite:///") as failed:
        await open_store(url)

    assert "secret" not in str(failed.value)


async def test_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file or directory" in await refusal(tmp_path / "no" / "store.db")


async def test_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()

    assert "unable to open database file" in await refusal(tmp_path / "store.db")


async def test_folder_without_write_permission_is_refused(readable_folder: Path) -> None:
    readable_folder.chmod(0o555)

    with without_privileges():
        assert "Permission denied" in await refusal(readable_folder / "store.db")


async def test_file_without_write_permission_is_refused(readable_folder: Path) -> None:
    path = readable_folder / "store.db"
    await (await open_store(f"sqlite:///{path}")).close()
    path.chmod(0o444)
    readable_folder.chmod(0o555)

    with without_privileges():
        assert await refusal(path)


async def test_file_that_cannot_be_opened_never_meets_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread of the driver would be left, end after the event loop, and say so below our one line."""
    threads: list[object] = []
    monkeypatch.setattr("aiosqlite.connect", lambda *args, **options: threads.append(args))
    (tmp_path / "junk.db").write_bytes(b"no database at all " * 100)

    await refusal(tmp_path)
    await refusal(tmp_path / "no" / "store.db")
    await refusal(tmp_path / "junk.db")

    assert threads == []


async def test_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"no database at all " * 100)

    assert "not a database" in await refusal(path)
    assert path.read_bytes() == b"no database at all " * 100


async def test_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE documents (kind, key, body, etag)")
        connection.commit()
    before = path.read_bytes()

    assert "another program" in await refusal(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["store.db"]


async def test_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await (await open_store(f"sqlite:///{path}")).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")

    assert "newer version" in await refusal(path)


async def test_damaged_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await open_store(f"sqlite:///{path}")
    await store.commit([Change("k", str(number), {"x": "y" * 1000}) for number in range(100)])
    await store.close()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 16384)

    text = await refusal(path)

    assert "damaged" in text or "malformed" in text


async def test_damaged_document_is_told_by_its_end_and_without_its_content(tmp_path: Path) -> None:
    """The message gets into the log, where no user is named."""
    path, key = tmp_path / "store.db", f"{uuid4()}/{uuid4()}"
    store = await open_store(f"sqlite:///{path}")
    await store.commit([Change("user", key, {}), Change("word", "default", {})])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE documents SET body = '{secret'")

    texts = []
    for kind, name in (("user", key), ("word", "default")):
        for reading in (store.get(kind, name), store.list(kind, "", None, 1)):
            with pytest.raises(StartFailed) as damaged:
                await reading
            texts.append(str(damaged.value))
    await store.close()

    long, short = (
        f"the stored {name} is damaged: its body is not JSON" for name in (f"user …{key[-12:]}", "word default")
    )
    assert texts == [long, long, short, short]


async def test_truncated_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await open_store(f"sqlite:///{path}")
    await store.commit([Change("k", str(number), {"x": "y" * 1000}) for number in range(100)])
    await store.close()
    os.truncate(path, 5000)

    text = await refusal(path)

    assert "damaged" in text or "malformed" in text


async def test_database_that_another_process_keeps_locked_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    await (await open_store(f"sqlite:///{path}")).close()
    monkeypatch.setattr("hubwire.adapters.sqlite_files._BUSY_S", 0.01)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN EXCLUSIVE")

        assert "database is locked" in await refusal(path)


async def test_change_that_cannot_be_written_is_refused_and_a_later_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    monkeypatch.setattr("hubwire.adapters.sqlite_files._BUSY_S", 0.01)
    store = await open_store(f"sqlite:///{path}")
    await store.commit([Change("k", "a", {"n": 1})])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NotStored) as refused:
            await store.commit([Change("k", "a", {"n": 2})])

    assert refused.value.message == "The change could not be stored: database is locked."
    kept = await store.get("k", "a")
    assert kept is not None
    assert kept.body == {"n": 1}
    await store.commit([Change("k", "a", {"n": 3})])
    await store.close()


async def test_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """What a crash between making the file and filling it leaves behind."""
    (tmp_path / "store.db").touch()

    store = await open_store(f"sqlite:///{tmp_path}/store.db")
    await store.commit([Change("k", "a", {})])
    assert await store.get("k", "a") is not None
    await store.close()


@pytest.mark.parametrize("body", ["'{nope'", "''", "x'22ff22'", "CAST(x'6e6f7065ff' AS TEXT)"])
async def test_body_that_is_not_json_is_damage_and_named_without_its_content(tmp_path: Path, body: str) -> None:
    """Not that of the other document, which is whole."""
    path = tmp_path / "store.db"
    store = await open_store(f"sqlite:///{path}")
    await store.commit([Change("hub", "a", {"a": 1}), Change("hub", "b", {})])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE documents SET body = {body} WHERE key = 'b'")
        connection.commit()

    with pytest.raises(StartFailed) as got:
        await store.get("hub", "b")
    with pytest.raises(StartFailed):
        await store.list("hub", "", None, 10)
    whole = await store.get("hub", "a")
    await store.close()

    assert "\n" not in str(got.value)
    assert "nope" not in str(got.value)
    assert whole is not None
    assert whole.body == {"a": 1}


async def test_reading_waits_for_nobody_who_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no lock, so another process may keep that for as long as it likes."""
    monkeypatch.setattr("hubwire.adapters.sqlite_files._BUSY_S", 0.01)
    store = await open_store(f"sqlite:///{tmp_path}/store.db")
    await store.commit([Change("k", "a", {"n": 1})])
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        found = await store.get("k", "a")
        listed = await store.list("k", "", None, 10)
    await store.close()

    assert found is not None
    assert [found] == listed


async def test_store_that_is_to_be_alone_is_refused_a_second_time(tmp_path: Path) -> None:
    """Nor is anything changed by whoever is refused."""
    url = f"sqlite:///{tmp_path}/store.db"
    first = await open_store(url, alone=True)

    with pytest.raises(StartFailed, match=r"store\.db: another server has it$"):
        await open_store(url, alone=True)
    await first.commit([Change("k", "a", {})])
    await first.close()

    second = await open_store(url, alone=True)
    assert await second.get("k", "a") is not None
    await second.close()


async def test_start_that_fails_leaves_no_lock(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database at all " * 100)
    for _ in range(2):
        with pytest.raises(StartFailed, match="not a database"):
            await open_store(f"sqlite:///{tmp_path}/store.db", alone=True)
