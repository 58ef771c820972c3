"""What a journal in a database does beyond the contract: groups, outages, and files that it does not take."""

import asyncio
import gc
import logging
import os
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from hubwire.adapters.journal_sql import SqlJournal, open_journal
from hubwire.adapters.store_sql import open_store
from hubwire.model.errors import NotStored, StartFailed

DEADLINE_S: Final = 20.0


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/journal.db"


@pytest.fixture
async def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqlJournal]:
    """One that does not wait long for anything."""
    monkeypatch.setattr("hubwire.adapters.sqlite_files._BUSY_S", 0.01)
    monkeypatch.setattr("hubwire.adapters.journal_sql._AGAIN_S", 0.01)
    opened = await open_journal(url(tmp_path))
    yield opened
    await opened.close()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another process writes, and does not come to an end."""
    with closing(sqlite3.connect(folder / "journal.db")) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def stored(folder: Path) -> dict[str, bytes]:
    """What another process sees."""
    with closing(sqlite3.connect(folder / "journal.db")) as connection:
        return dict(connection.execute("SELECT key, body FROM entries"))


def transactions(journal: SqlJournal) -> list[None]:
    """Grows by one with each that is committed."""
    seen: list[None] = []
    journal._file.connection.set_trace_callback(lambda text: seen.append(None) if text == "COMMIT" else None)
    return seen


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.message) for record in caplog.records if record.name == "hubwire.journal"]


@pytest.fixture
def surprises() -> Iterator[list[object]]:
    """What the event loop would complain of."""
    loop = asyncio.get_event_loop()
    found: list[object] = []
    loop.set_exception_handler(lambda _, context: found.append(context))
    yield found
    loop.set_exception_handler(None)


# Groups


async def test_many_entries_cost_few_transactions(journal: SqlJournal, tmp_path: Path) -> None:
    committed = transactions(journal)

    for number in range(5000):
        written = journal.put("k", f"{number}", b"x" * 300)
    await written

    assert len(committed) == 1
    assert len(stored(tmp_path)) == 5000


async def test_many_who_wait_share_a_transaction(journal: SqlJournal) -> None:
    committed = transactions(journal)

    async def put(key: str) -> None:
        await journal.put("k", key, b"")

    await asyncio.gather(*(put(f"{number}") for number in range(500)))

    assert len(committed) == 1


async def test_whatever_is_asked_for_during_a_write_goes_into_the_next_one(tmp_path: Path) -> None:
    journal = await open_journal(url(tmp_path))
    committed = transactions(journal)
    with locked(tmp_path):
        first = journal.put("k", "first", b"1")
        await until(lambda: journal._writing, "the first is being written")
        for number in range(700):
            journal.put("k", f"{number}", b"1")
        await asyncio.sleep(0)
        later = journal.put("k", "first", b"2")
        assert not committed
    await first
    assert len(committed) == 1
    await later

    assert len(committed) == 2
    assert stored(tmp_path)["first"] == b"2"
    assert len(stored(tmp_path)) == 701
    await journal.close()


async def test_whoever_waits_waits_for_no_rest(journal: SqlJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody did when the rest began."""
    monkeypatch.setattr("hubwire.adapters.journal_sql._REST_S", 3600)
    await journal.put("k", "first", b"")
    await until(lambda: journal._rest, "it rests")
    for number in range(5):
        journal.put("k", f"{number}", b"")

        await asyncio.wait_for(journal.written(), DEADLINE_S)

    await asyncio.wait_for(journal.close(), DEADLINE_S)


async def test_rounds_are_not_more_than_they_need_to_be(journal: SqlJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast the disk is."""
    monkeypatch.setattr("hubwire.adapters.journal_sql._ROUND_S", 0.2)
    committed = transactions(journal)

    for number in range(50):
        journal.put("k", f"{number}", b"")
        written = journal.written()
        await asyncio.sleep(0)
    await written

    assert len(committed) < 10


async def test_entries_that_come_one_by_one_are_gathered(journal: SqlJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubwire.adapters.journal_sql._REST_S", 0.3)
    committed = transactions(journal)
    await journal.put("k", "first", b"")

    for number in range(50):
        written = journal.put("k", f"{number}", b"")
        await asyncio.sleep(0)
    await written

    assert len(committed) < 10


async def test_put_and_remove_before_the_write_cost_nothing(journal: SqlJournal, tmp_path: Path) -> None:
    committed = transactions(journal)

    for number in range(5000):
        put = journal.put("k", f"{number}", b"")
        await journal.remove("k", f"{number}")
    await put

    assert committed == []
    assert stored(tmp_path) == {}


async def test_entries_of_an_older_process_are_known_from_the_start(journal: SqlJournal, tmp_path: Path) -> None:
    """So that what is put and removed at once takes them away."""
    await journal.put("k", "a", b"1")
    other = await open_journal(url(tmp_path))

    other.put("k", "a", b"2")
    await other.remove("k", "a")

    assert stored(tmp_path) == {}
    await other.close()


async def test_slow_disk_holds_up_nobody(tmp_path: Path) -> None:
    """Whoever keeps the disk busy here needs the event loop to let it go."""
    journal = await open_journal(url(tmp_path))
    with locked(tmp_path):
        waiting = asyncio.ensure_future(journal.put("k", "a", b""))
        reading = asyncio.ensure_future(journal.entries("k"))
        await until(lambda: journal._writing, "it is being written")
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not waiting.done()
        closing_ = asyncio.ensure_future(journal.close())
        await asyncio.sleep(0.001)

    await waiting
    assert await reading == [("a", b"")]
    await closing_
    assert stored(tmp_path) == {"a": b""}


# Outages


async def test_what_cannot_be_written_is_told_and_kept_and_written_later(
    journal: SqlJournal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By itself. The log has a line for the beginning and one for the end."""
    caplog.set_level(logging.INFO, "hubwire.journal")
    await journal.put("k", "gone", b"1")
    await journal.put("k", "old", b"1")
    with locked(tmp_path):
        for key in "abc":
            with pytest.raises(NotStored) as refused:
                await journal.put("k", key, b"2")
            assert refused.value.reason == "database is locked"
        journal.put("k", "old", b"2")
        with pytest.raises(NotStored):
            await journal.remove("k", "gone")
        await journal.remove("k", "nothing")
        assert said(caplog) == [
            ("ERROR", "cannot write to the journal: database is locked; it is kept in memory, and tried again")
        ]

    expected = {"a": b"2", "b": b"2", "c": b"2", "old": b"2"}
    await until(lambda: stored(tmp_path) == expected, "what waited is stored")
    assert await journal.entries("k") == sorted(expected.items())
    await until(lambda: not journal._failing, "it is known")
    assert said(caplog)[1:] == [("INFO", "the journal is written again")]


async def test_who_awaits_all_is_not_told_of_failures(journal: SqlJournal, tmp_path: Path) -> None:
    with locked(tmp_path):
        failed = journal.put("k", "a", b"")
        waiting = asyncio.ensure_future(journal.written())
        for _ in range(2):
            with pytest.raises(NotStored):
                await failed
            failed = journal.put("k", "b", b"")
        assert not waiting.done()

    await waiting
    assert stored(tmp_path) == {"a": b"", "b": b""}


async def test_what_is_asked_for_in_one_go_is_written_all_or_nothing(journal: SqlJournal, tmp_path: Path) -> None:
    """However much it is."""
    written = journal.put("k", "first", b"")
    seen = {0}
    for number in range(5000):
        written = journal.put("k", f"{number}", b"")
    waiting = asyncio.ensure_future(journal.written())
    while not waiting.done():
        seen.add(len(stored(tmp_path)))
        await asyncio.sleep(0)

    await written
    assert seen <= {0, 5001}
    for number in range(5000):
        journal.remove("k", f"{number}")
    journal.put("k", "last", b"")
    await journal.written()
    assert set(stored(tmp_path)) == {"first", "last"}


async def test_every_outage_is_reported(journal: SqlJournal, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hubwire.journal")
    for number in range(2):
        with locked(tmp_path), pytest.raises(NotStored):
            await journal.put("k", f"{number}", b"")
        await until(lambda: not journal._failing, "it is over")

    assert [level for level, _ in said(caplog)] == ["ERROR", "INFO", "ERROR", "INFO"]


async def test_the_latest_call_wins_over_what_could_not_be_written(journal: SqlJournal, tmp_path: Path) -> None:
    await journal.put("k", "there", b"0")
    with locked(tmp_path):
        for key in ("put", "removed", "there"):
            journal.put("k", key, b"1")
        with pytest.raises(NotStored):
            await journal.put("k", "last", b"1")
        journal.put("k", "put", b"2")
        journal.remove("k", "removed")
        journal.put("k", "there", b"2")
        with pytest.raises(NotStored):
            await journal.remove("k", "there")

    await until(lambda: stored(tmp_path) == {"last": b"1", "put": b"2"}, "what was asked for last is stored")


async def test_full_disk_is_an_outage_that_ends_when_there_is_room(journal: SqlJournal, tmp_path: Path) -> None:
    """What has room is written meanwhile, and nothing is half written."""

    def allow(pages: int) -> None:
        journal._file.connection.execute(f"PRAGMA max_page_count = {pages}")

    await journal.put("k", "before", b"")
    allow(50)
    for number in range(5000):
        journal.put("k", f"{number}", b"x" * 300)
    with pytest.raises(NotStored, match="full"):
        await journal.put("k", "after", b"")
    assert stored(tmp_path) == {"before": b""}
    assert len(await journal.entries("k")) == 5002
    await until(lambda: not journal._writing, "it waits")

    allow(1 << 30)
    await until(lambda: len(stored(tmp_path)) == 5002, "all is written")


@pytest.mark.usefixtures("collected")
async def test_failure_that_nobody_awaited_is_no_surprise(
    journal: SqlJournal, tmp_path: Path, surprises: list[object]
) -> None:
    with locked(tmp_path):
        journal.put("k", "a", b"")
        await until(lambda: journal._failing, "it has failed")
        written = journal.put("k", "b", b"")
        giving_up = asyncio.ensure_future(written)
        await asyncio.sleep(0)
        giving_up.cancel()
        await asyncio.wait((giving_up,))
        del written, giving_up
        gc.collect()

    await until(lambda: stored(tmp_path) == {"a": b"", "b": b""}, "both are stored")
    assert surprises == []


@pytest.fixture
def collected() -> Iterator[None]:
    yield
    gc.collect()


async def test_nothing_is_lost_however_much_waits(journal: SqlJournal, tmp_path: Path) -> None:
    with locked(tmp_path):
        for number in range(150_000):
            journal.put("k", f"{number}", b"")
        await until(lambda: journal._failing, "it has failed")
    await journal.written()

    assert len(stored(tmp_path)) == 150_000


async def test_journal_that_cannot_be_written_to_its_end_says_what_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hubwire.adapters.sqlite_files._BUSY_S", 0.01)
    journal = await open_journal(url(tmp_path))
    with locked(tmp_path):
        for key in "abc":
            written = journal.put("k", key, b"")
        all_of_it = asyncio.ensure_future(journal.written())
        await asyncio.sleep(0)
        await journal.close()
        with pytest.raises(NotStored):
            await written
        with pytest.raises(NotStored):
            await all_of_it
        with pytest.raises(NotStored):
            await journal.written()

    assert said(caplog)[-1] == ("ERROR", "3 entries of the journal are lost: database is locked")
    assert stored(tmp_path) == {}


# Files


async def refusal(path: Path) -> str:
    with pytest.raises(StartFailed) as failed:
        await open_journal(f"sqlite:///{path}")
    text = str(failed.value)
    assert text.startswith(f"cannot open the journal {path}: ")
    assert "\n" not in text
    return text


async def test_new_files_are_for_their_owner_alone(journal: SqlJournal, tmp_path: Path) -> None:
    await journal.put("k", "a", b"")

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}

    assert modes == {"journal.db": 0o600, "journal.db-wal": 0o600, "journal.db-shm": 0o600}


def synchronous(journal: SqlJournal) -> list[object]:
    """What SQLite was told of syncs: 2 at each commit, 1 where its own files would be torn else."""
    pragmas = ("journal_mode", "synchronous")
    return [journal._file.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]


async def test_each_group_is_synced_before_anybody_is_told(journal: SqlJournal) -> None:
    assert synchronous(journal) == ["wal", 2]


class Syncs:
    """
    What is synced by us, not by SQLite.

    Attributes:
        files: names, one for each sync.
        fault: with which syncs fail; empty while they do not.
        failed: how many have.
    """

    def __init__(self) -> None:
        self.files: list[str] = []
        self.fault = ""
        self.failed = 0
        self._real = os.fdatasync

    def __call__(self, descriptor: int) -> None:
        if self.fault:
            self.failed += 1
            raise OSError(5, self.fault)
        self.files.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        self._real(descriptor)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    syncs = Syncs()
    monkeypatch.setattr(os, "fdatasync", syncs)
    return syncs


INTERVAL_S: Final = 3600.0


@pytest.fixture
def intervals(monkeypatch: pytest.MonkeyPatch) -> asyncio.Semaphore:
    """Intervals between two syncs: each passes when it is released."""
    passed, sleep = asyncio.Semaphore(0), asyncio.sleep

    async def wait(seconds: float) -> None:
        await (passed.acquire() if seconds == INTERVAL_S else sleep(seconds))

    monkeypatch.setattr(asyncio, "sleep", wait)
    return passed


async def test_with_an_interval_what_was_written_is_synced_once_in_each(
    tmp_path: Path, syncs: Syncs, intervals: asyncio.Semaphore
) -> None:
    journal = await open_journal(url(tmp_path), INTERVAL_S)
    assert synchronous(journal) == ["wal", 1]
    for number in range(5):
        await journal.put("k", f"{number}", b"")
    assert syncs.files == []
    intervals.release()
    await until(lambda: journal._syncer is None, "that is all")
    assert syncs.files == ["journal.db-wal"]

    await journal.put("k", "later", b"")
    assert len(syncs.files) == 1
    intervals.release()
    await until(lambda: len(syncs.files) == 2, "and what is written later, too")
    await journal.put("k", "last", b"")
    await journal.close()

    assert len(stored(tmp_path)) == 7


async def test_sync_that_fails_is_told_and_tried_again(
    tmp_path: Path, syncs: Syncs, intervals: asyncio.Semaphore, caplog: pytest.LogCaptureFixture
) -> None:
    """In each interval, and once it is told."""
    caplog.set_level(logging.INFO, "hubwire.journal")
    journal = await open_journal(url(tmp_path), INTERVAL_S)
    syncs.fault = "Input/output error"
    await journal.put("k", "a", b"")
    for count in range(1, 4):
        intervals.release()
        await until(lambda count=count: syncs.failed == count, "it is tried")  # type: ignore[misc]
    assert journal._syncer is not None
    syncs.fault = ""
    intervals.release()
    await until(lambda: journal._syncer is None, "it is synced")
    assert syncs.files == ["journal.db-wal"]
    await journal.close()

    assert said(caplog) == [
        (
            "ERROR",
            "cannot sync the journal: Input/output error; what is written since may be lost with the power",
        ),
        ("INFO", "the journal is synced again"),
    ]


async def test_closed_journal_is_a_single_file(tmp_path: Path) -> None:
    journal = await open_journal(url(tmp_path))
    journal.put("k", "a", b"")
    await journal.close()

    assert [file.name for file in tmp_path.iterdir()] == ["journal.db"]


@pytest.mark.parametrize("text", ["", "journal.db", "sqlite:///:memory:", "postgresql://user:secret@host/db"])
async def test_url_that_is_no_file_of_sqlite_is_refused(text: str) -> None:
    with pytest.raises(StartFailed, match=r"the journal is not a URL such as sqlite:////.*/journal\.db") as failed:
        await open_journal(text)

    assert "secret" not in str(failed.value)


async def test_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file or directory" in await refusal(tmp_path / "no" / "journal.db")


async def test_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"no database at all " * 100)

    assert "not a database" in await refusal(path)
    assert path.read_bytes() == b"no database at all " * 100


async def test_store_is_no_journal_and_the_other_way_round(tmp_path: Path) -> None:
    await (await open_store(f"sqlite:///{tmp_path}/store.db")).close()
    await (await open_journal(url(tmp_path))).close()

    assert "another program" in await refusal(tmp_path / "store.db")
    with pytest.raises(StartFailed, match="another program"):
        await open_store(url(tmp_path))


async def test_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    await (await open_journal(url(tmp_path))).close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("PRAGMA user_version = 2")

    assert "newer version" in await refusal(tmp_path / "journal.db")


async def test_damaged_journal_is_refused(tmp_path: Path) -> None:
    journal = await open_journal(url(tmp_path))
    for number in range(100):
        journal.put("k", f"{number}", b"y" * 1000)
    await journal.close()
    path = tmp_path / "journal.db"
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 16384)

    text = await refusal(path)

    assert "damaged" in text or "malformed" in text


async def test_key_that_is_no_text_is_damage(tmp_path: Path) -> None:
    await (await open_journal(url(tmp_path))).close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("INSERT INTO entries VALUES ('k', CAST(x'6e6f7065ff' AS TEXT), x'00')")
        connection.commit()

    assert "nope" not in await refusal(tmp_path / "journal.db")


async def test_journal_that_was_damaged_meanwhile_cannot_be_read(tmp_path: Path) -> None:
    journal = await open_journal(url(tmp_path))
    await journal.put("k", "a", b"1")
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("DROP TABLE entries")

    with pytest.raises(StartFailed, match="cannot read the journal: no such table: entries"):
        await journal.entries("k")
    await journal.close()


async def test_journal_that_another_process_keeps_locked_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await open_journal(url(tmp_path))).close()
    monkeypatch.setattr("hubwire.adapters.sqlite_files._BUSY_S", 0.01)

    with locked(tmp_path):
        assert "database is locked" in await refusal(tmp_path / "journal.db")


async def test_refused_journal_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await (await open_journal(url(tmp_path))).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE entries")
        connection.execute("CREATE VIEW entries AS SELECT 1 AS kind")

    await refusal(path)

    gc.collect()
    links = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if _is_link(number)]
    assert str(path) not in links


def _is_link(number: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{number}")
