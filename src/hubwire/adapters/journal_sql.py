"""
The journal in an SQL database: one table of entries, in SQLite, one file.

A thread of its own writes, so that a slow disk holds up neither the event loop nor whoever asks. It speaks to the
driver itself: at 20,000 changes a second, what an engine adds to each would be most of what they cost.

What was written survives the end of the process, however it ends. For the end of the machine there are two ways: each
group is on the disk before anybody is told that it is written, or what was written since the last sync may be missing.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from hubwire.adapters.outcome import Outcome
from hubwire.adapters.sqlite_files import FileKind, path_of, prepare, reason, writer
from hubwire.model.errors import StartFailed

__all__ = ["SqlJournal", "open_journal"]

_log: Final = logging.getLogger("hubwire.journal")

_Id: TypeAlias = tuple[str, str]
"""Kind and key."""
_Change: TypeAlias = tuple[_Id, bytes | None]
"""None removes."""
_Keys: TypeAlias = defaultdict[str, set[str]]
"""By kind."""

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS entries"
    " (kind TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, key))"
)
_DONE: Final = Outcome(is_over=True)
_CLOSED: Final = Outcome("the journal is closed", is_over=True)
_SYNCED: Final = FileKind("journal", "journal.db", 0x4842574A, 1, "FULL")
_WRITTEN: Final = _SYNCED._replace(synchronous="NORMAL")

_ROUND_S: Final = 0.001
"""
From the beginning of one round to that of the next, at least. A round costs some 0.3 ms of processor time however
little is in it, a third of that for the sync: on a disk that is faster than this, a thousand of them a second are
enough.
"""
_REST_S: Final = 0.01
"""Between two rounds while nobody waits: what comes one by one is gathered."""
_AGAIN_S: Final = 0.25
"""The same after a round that failed."""
_ROWS: Final = 256
"""In one statement, at most: a bound of older versions of SQLite is 999 values."""
_CHECKPOINT_PAGES: Final = 4096
"""
Of the write-ahead log, 16 MiB. Most entries are short-lived and on the same few pages, which are moved to their place
once for all that happened to them meanwhile.
"""


async def open_journal(url: str, fsync_interval_s: float | None = None) -> "SqlJournal":
    """
    Open the journal, and create it if it is not there.

    Args:
        url: "sqlite:///" and the path of a file as it is, nothing encoded. The folder is there; a new file is for its
            owner alone (mode 0600).
        fsync_interval_s: between two syncs of what was written meanwhile; None to sync each group before anybody is
            told that it is written.

    Raises:
        StartFailed: no such folder, no permission, a damaged file, or one that is not ours.
    """
    kind = _SYNCED if fsync_interval_s is None else _WRITTEN
    path = path_of(url, kind)
    try:
        prepare(path, kind)
        file = _File(path, kind)
        try:
            return SqlJournal(file, file.keys(), fsync_interval_s)
        except sqlite3.Error:
            file.close()
            raise
    except (OSError, sqlite3.Error, StartFailed) as error:
        raise StartFailed(f"cannot open the journal {path}: {reason(error)}") from error


class SqlJournal:
    """
    A `Journal` on a file that is ready. Made by `open_journal`.

    What cannot be written is kept and tried again, however much it is; whoever awaits it is told of the first failure.

    Args:
        stored: keys of all entries that are there.
        fsync_interval_s: see `open_journal`.
    """

    def __init__(self, file: "_File", stored: _Keys, fsync_interval_s: float | None) -> None:
        self._file = file
        self._thread = ThreadPoolExecutor(1, "journal")
        self._fsync_interval_s = fsync_interval_s
        # Of all entries that may be there; after a failed write nobody knows. The thread reads it while it writes, and
        # nothing changes it meanwhile.
        self._stored = stored
        self._writing: Mapping[_Id, bytes | None] = {}
        self._waiting: OrderedDict[_Id, bytes | None] = OrderedDict()
        self._asked: Outcome | None = None
        self._writer: asyncio.Task[None] | None = None
        # The pause between rounds while nobody waits.
        self._rest: asyncio.Future[None] | None = None
        self._syncer: asyncio.Task[None] | None = None
        # How many changes were asked for, and who waits until that many are written.
        self._changes = 0
        self._until: deque[tuple[int, Outcome]] = deque()
        self._end: asyncio.Task[None] | None = None
        # Something that was asked for will never be written.
        self._missed = False
        self._failing = False

    def put(self, kind: str, key: str, body: bytes) -> Awaitable[None]:
        # What is no UTF-8 is refused to who asks; in a group it would be refused with the group, again and again.
        key.encode()
        return self._ask((kind, key), body)

    def remove(self, kind: str, key: str) -> Awaitable[None]:
        id = (kind, key)
        if self._end is None and id not in self._writing and key not in self._stored.get(kind, ()):
            self._waiting.pop(id, None)
            return _DONE
        return self._ask(id, None)

    def written(self) -> Awaitable[None]:
        if self._missed:
            return _CLOSED
        if not (self._waiting or self._writing):
            return _DONE
        if not self._until or self._until[-1][0] != self._changes:
            self._until.append((self._changes, Outcome()))
        _wake(self._rest)
        return self._until[-1][1]

    async def entries(self, kind: str) -> list[tuple[str, bytes]]:
        """
        Raises:
            StartFailed: damaged.
        """
        asked = [(key, body) for (of, key), body in (*self._writing.items(), *self._waiting.items()) if of == kind]
        # The thread ends what it is writing first, and nothing that is asked for later comes before this.
        found = await asyncio.get_running_loop().run_in_executor(self._thread, self._file.read, kind)
        for key, body in asked:
            if body is None:
                found.pop(key, None)
            else:
                found[key] = body
        return sorted(found.items())

    async def close(self) -> None:
        if self._end is None:
            self._end = asyncio.create_task(self._close(self._writer))
            _wake(self._rest)
        await asyncio.shield(self._end)

    async def _close(self, writer: "asyncio.Task[None] | None") -> None:
        if writer is not None:
            await writer
        if self._syncer is not None:
            self._syncer.cancel()
        # The last connection moves everything from the write-ahead log to its place, and syncs it, which takes time.
        await asyncio.get_running_loop().run_in_executor(self._thread, self._file.close)
        self._thread.shutdown()

    def _ask(self, id: _Id, body: bytes | None) -> Outcome:
        if self._end is not None:
            self._missed = True
            return _CLOSED
        if self._asked is None:
            self._asked = Outcome()
        self._changes += 1
        self._waiting[id] = body
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_on())
        return self._asked

    async def _write_on(self) -> None:
        """Write in rounds until nothing waits. Whatever is asked for during one of them is part of the next."""
        while self._asked is not None or self._waiting:
            began = time.monotonic()
            is_last = self._end is not None
            asked, self._asked = self._asked, None
            upto = self._changes
            why = await self._write_waiting()
            if asked is not None:
                asked.settle(why)
            if why is None:
                self._tell(upto)
            elif is_last:
                _log.error("%d entries of the journal are lost: %s", len(self._waiting), why)
                self._missed = True
                self._tell(self._changes, why)
                break
            await self._pause(began, why)
        self._writer = None

    def _tell(self, upto: int, why: str | None = None) -> None:
        """Tell those who wait until that many changes are written: they are, or will never be."""
        while self._until and self._until[0][0] <= upto:
            self._until.popleft()[1].settle(why)

    async def _pause(self, began: float, why: str | None) -> None:
        """Between two rounds, as short as it may be. Without one that `began` on a monotonic clock too near."""
        if why is not None:
            await asyncio.sleep(_AGAIN_S)
            return
        await asyncio.sleep(max(0.0, _ROUND_S - (time.monotonic() - began)))
        if self._until or self._end is not None:
            return
        loop = asyncio.get_running_loop()
        self._rest = loop.create_future()
        timer = loop.call_later(_REST_S, _wake, self._rest)
        await self._rest
        timer.cancel()
        self._rest = None

    async def _write_waiting(self) -> str | None:
        """
        Write what waits now, all of it or nothing, however much it is: who asks for several things relies on that.
        Returns why it waits again, or None.
        """
        if not self._waiting:
            return None  # it was removed before it was written
        group = list(self._waiting.items())
        self._waiting.clear()
        self._writing = dict(group)
        loop = asyncio.get_running_loop()
        why = await loop.run_in_executor(self._thread, self._file.write, group, self._stored)
        self._writing = {}
        for (kind, key), body in group:
            if body is None and why is None:
                self._stored[kind].discard(key)
            else:
                self._stored[kind].add(key)
        if why is not None:
            for id, body in reversed(group):
                self._waiting.setdefault(id, body)  # unless somebody has asked for something else meanwhile
                self._waiting.move_to_end(id, last=False)
        elif self._fsync_interval_s is not None and self._syncer is None:
            self._syncer = loop.create_task(self._sync_later(self._fsync_interval_s))
        self._report(why)
        return why

    async def _sync_later(self, seconds: float) -> None:
        """Sync what was written until then, and again while that fails."""
        loop = asyncio.get_running_loop()
        failing = False
        while True:
            await asyncio.sleep(seconds)
            why = await loop.run_in_executor(self._thread, self._file.sync)
            if why is None:
                break
            if not failing:
                _log.error("cannot sync the journal: %s; what is written since may be lost with the power", why)
            failing = True
        if failing:
            _log.info("the journal is synced again")
        self._syncer = None

    def _report(self, why: str | None) -> None:
        """Say that writing fails, or does so no more: once."""
        if why is not None and not self._failing:
            _log.error("cannot write to the journal: %s; it is kept in memory, and tried again", why)
        elif why is None and self._failing:
            _log.info("the journal is written again")
        self._failing = why is not None


def _wake(rest: "asyncio.Future[None] | None") -> None:
    if rest is not None and not rest.done():
        rest.set_result(None)


class _File:
    """
    The database, for one thread at a time.

    Raises:
        sqlite3.Error: it cannot be opened.
    """

    def __init__(self, path: Path, kind: FileKind) -> None:
        self._log_path = f"{path}-wal"
        self._log_file = -1
        self.connection = writer(path, kind)
        self.connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")

    def keys(self) -> _Keys:
        """Of all entries; makes the table if it is not there."""
        self.connection.execute("BEGIN IMMEDIATE")  # which also shows that it can be written
        self.connection.execute(_TABLE)
        found: _Keys = defaultdict(set)
        for kind, key in self.connection.execute("SELECT kind, key FROM entries"):
            found[kind].add(key)
        self.connection.execute("COMMIT")
        return found

    def read(self, kind: str) -> dict[str, bytes]:
        """
        All entries of a kind.

        Raises:
            StartFailed: damaged.
        """
        try:
            return dict(self.connection.execute("SELECT key, body FROM entries WHERE kind = ?", (kind,)))
        except sqlite3.Error as error:
            raise StartFailed(f"cannot read the journal: {reason(error)}") from error

    def write(self, group: Sequence[_Change], stored: Mapping[str, set[str]]) -> str | None:
        """Write all or nothing. Returns why it is nothing, or None."""
        old: defaultdict[str, list[str]] = defaultdict(list)
        new: list[str | bytes] = []
        for (kind, key), body in group:
            if body is not None:
                new += (kind, key, body)
            elif key in stored.get(kind, ()):
                old[kind].append(key)
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            # Many rows in one statement: at each the thread lets the interpreter go, and has to come by it again beside
            # the event loop. While that was busy, 1,000 rows one by one took up to 0.9 s.
            for kind, keys in old.items():
                for start in range(0, len(keys), _ROWS):
                    some = _padded(keys[start : start + _ROWS], 1)
                    self.connection.execute(_delete(len(some)), (kind, *some))
            for start in range(0, len(new), 3 * _ROWS):
                values = _padded(new[start : start + 3 * _ROWS], 3)
                self.connection.execute(_put(len(values) // 3), values)
            self.connection.execute("COMMIT")
        except Exception as error:  # whatever it is, those who wait are told
            if self.connection.in_transaction:
                with suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
            return reason(error)
        return None

    def sync(self) -> str | None:
        """Bring the write-ahead log to the disk. Returns why that failed, or None."""
        try:
            if self._log_file < 0:
                # It is the same file until the last connection is closed. SQLite locks another one.
                self._log_file = os.open(self._log_path, os.O_RDWR)
            os.fdatasync(self._log_file)
        except OSError as error:
            return reason(error)
        return None

    def close(self) -> None:
        self.connection.close()
        if self._log_file >= 0:
            os.close(self._log_file)
            self._log_file = -1


def _padded(values: list[str] | list[str | bytes], width: int) -> "list[str] | list[str | bytes]":
    """
    The last row once more until their number is a power of two, which changes nothing. Then there are few statements,
    and the driver keeps them.
    """
    count = len(values) // width
    missing = (1 << (count - 1).bit_length()) - count
    return values + values[-width:] * missing


def _delete(rows: int) -> str:
    return f"DELETE FROM entries WHERE kind = ? AND key IN ({', '.join(['?'] * rows)})"  # noqa: S608  only places


def _put(rows: int) -> str:
    places = ", ".join(["(?, ?, ?)"] * rows)
    return (
        f"INSERT INTO entries (kind, key, body) VALUES {places}"  # noqa: S608  only places
        " ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body"
    )
