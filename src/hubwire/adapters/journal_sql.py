"""
The journal in an SQL database: one table of entries. At present in SQLite, one file.

Statements are plain SQL by way of SQLAlchemy Core, as those of the store. A thread of its own carries them out, so that
a slow disk holds up neither the event loop nor whoever asks; the asynchronous driver would pass every single statement
of a small group to its thread and back.

What was written survives the end of the process, however it ends. After a loss of power the latest may be missing.
"""

import asyncio
import logging
import sqlite3
from collections import OrderedDict, defaultdict, deque
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy import (
    URL,
    Column,
    Engine,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    create_engine,
    delete,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from hubwire.adapters.outcome import Outcome
from hubwire.adapters.sqlite_files import FileKind, engine_options, path_of, prepare, reason, set_up
from hubwire.model.errors import StartFailed

__all__ = ["SqlJournal", "open_journal"]

_log: Final = logging.getLogger("hubwire.journal")

_Id: TypeAlias = tuple[str, str]
"""Kind and key."""
_Change: TypeAlias = tuple[_Id, bytes | None]
"""None removes."""
_Keys: TypeAlias = defaultdict[str, set[str]]
"""By kind."""

_METADATA: Final = MetaData()
_ENTRIES: Final = Table(
    "entries",
    _METADATA,
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)
_INSERT: Final = insert(_ENTRIES)
_DELETE: Final = delete(_ENTRIES).where(
    _ENTRIES.c.kind == bindparam("of_kind"), _ENTRIES.c.key.in_(bindparam("keys", expanding=True))
)
_DONE: Final = Outcome(is_over=True)
_CLOSED: Final = Outcome("the journal is closed", is_over=True)
_FILE: Final = FileKind("journal", "journal.db", 0x4842574A, 1, "NORMAL")

_REST_S: Final = 0.01
"""
Between two rounds. A transaction costs 0.3 to 1 ms however little is in it, so what comes one by one is gathered: else
a thousand entries a second would take most of a core. What comes after a longer silence is written at once.
"""
_AGAIN_S: Final = 0.25
"""The same after a round that failed."""
_GROUP_LIMIT: Final = 1000
"""Entries in one transaction, so that one that fails has not cost much."""
_WAITING_LIMIT: Final = 100_000
"""Entries, besides those that are being written."""


async def open_journal(url: str) -> "SqlJournal":
    """
    Open the journal, and create it if it is not there.

    Args:
        url: "sqlite:///" and the path of a file as it is, nothing encoded. The folder is there; a new file is for its
            owner alone (mode 0600).

    Raises:
        StartFailed: no such folder, no permission, a damaged file, or one that is not ours.
    """
    path = path_of(url, _FILE)
    try:
        prepare(path, _FILE)
        engine = _new_engine(path)
        try:
            return SqlJournal(engine, _stored_keys(engine))
        except SQLAlchemyError:
            engine.dispose()
            raise
    except (OSError, SQLAlchemyError, sqlite3.Error, StartFailed) as error:
        raise StartFailed(f"cannot open the journal {path}: {reason(error)}") from error


class SqlJournal:
    """
    A `Journal` on an engine whose database is ready. Made by `open_journal`.

    What cannot be written is kept and tried again; whoever awaits it is told of the first failure. Where too much
    waits, the oldest is lost.

    Args:
        stored: keys of all entries that are there.
    """

    def __init__(self, engine: Engine, stored: _Keys) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, "journal")
        # Of all entries that may be there; after a failed write nobody knows. The thread reads it while it writes, and
        # nothing changes it meanwhile.
        self._stored = stored
        self._writing: Mapping[_Id, bytes | None] = {}
        self._waiting: OrderedDict[_Id, bytes | None] = OrderedDict()
        self._asked: Outcome | None = None
        # Of the round that is under way, and how many of the oldest that wait are part of it.
        self._settling: Outcome | None = None
        self._left = 0
        self._writer: asyncio.Task[None] | None = None
        # How many changes were asked for, and who waits until that many are written.
        self._changes = 0
        self._until: deque[tuple[int, Outcome]] = deque()
        self._end: asyncio.Task[None] | None = None
        # Something that was asked for will never be written.
        self._missed = False
        self._failing = False
        self._lost = 0

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
        return self._until[-1][1]

    async def entries(self, kind: str) -> list[tuple[str, bytes]]:
        """
        Raises:
            StartFailed: damaged.
        """
        asked = [(key, body) for (of, key), body in (*self._writing.items(), *self._waiting.items()) if of == kind]
        # The thread ends what it is writing first, and nothing that is asked for later comes before this.
        found = await asyncio.get_running_loop().run_in_executor(self._thread, _read, self._engine, kind)
        for key, body in asked:
            if body is None:
                found.pop(key, None)
            else:
                found[key] = body
        return sorted(found.items())

    async def close(self) -> None:
        if self._end is None:
            self._end = asyncio.create_task(self._close(self._writer))
        await asyncio.shield(self._end)

    async def _close(self, writer: "asyncio.Task[None] | None") -> None:
        if writer is not None:
            await writer
        # The last connection moves everything from the write-ahead log to its place, which takes time.
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown()

    def _ask(self, id: _Id, body: bytes | None) -> Outcome:
        if self._end is not None:
            self._missed = True
            return _CLOSED
        if self._asked is None:
            self._asked = Outcome()
        self._changes += 1
        self._waiting[id] = body
        while len(self._waiting) > _WAITING_LIMIT:
            self._lose_oldest()
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_on())
        return self._asked

    def _lose_oldest(self) -> None:
        self._waiting.popitem(last=False)
        # Somebody of these asked for it, and nobody knows who.
        for asked in (self._settling if self._left > 0 else None, self._asked):
            if asked is not None:
                asked.why = "too much waits to be written"
        self._left -= 1
        if not self._lost:
            _log.error("more than %d entries wait to be written to the journal: the oldest are lost", _WAITING_LIMIT)
        self._lost += 1

    async def _write_on(self) -> None:
        """Write in rounds until nothing waits. Whatever is asked for during one of them is part of the next."""
        while self._asked is not None or self._waiting:
            is_last = self._end is not None
            asked = self._settling = self._asked
            self._asked = None
            upto = self._changes
            why = await self._write_waiting()
            if asked is not None:
                asked.settle(why)
            if why is None:
                self._tell(upto)
            if why is not None and is_last:
                _log.error("%d entries of the journal are lost: %s", len(self._waiting) + self._lost, why)
                self._missed = True
                self._tell(self._changes, why)
                break
            await asyncio.sleep(_REST_S if why is None else _AGAIN_S)
        self._writer = None

    def _tell(self, upto: int, why: str | None = None) -> None:
        """Tell those who wait until that many changes are written: they are, or will never be."""
        while self._until and self._until[0][0] <= upto:
            self._until.popleft()[1].settle(why)

    async def _write_waiting(self) -> str | None:
        """Write what waits now, in groups. Returns why there is something left, or None."""
        self._left = len(self._waiting)
        while self._left > 0 and self._waiting:
            why = await self._write_group()
            self._report(why)
            if why is not None:
                return why
        return None

    async def _write_group(self) -> str | None:
        """Write the oldest that wait. Returns why they wait again, or None."""
        group = [self._waiting.popitem(last=False) for _ in range(min(len(self._waiting), _GROUP_LIMIT))]
        self._left -= len(group)
        self._writing = dict(group)
        why = await asyncio.get_running_loop().run_in_executor(self._thread, _write, self._engine, group, self._stored)
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
        return why

    def _report(self, why: str | None) -> None:
        """Say that writing fails, or does so no more: once."""
        if why is not None and not self._failing:
            _log.error("cannot write to the journal: %s; it is kept in memory, and tried again", why)
        elif why is None and self._failing:
            _log.info("the journal is written again")
        if why is None and self._lost:
            _log.error("%d entries of the journal were lost", self._lost)
            self._lost = 0
        self._failing = why is not None


def _new_engine(path: Path) -> Engine:
    engine = create_engine(URL.create("sqlite+pysqlite", database=str(path)), **engine_options())
    set_up(engine, _FILE)
    # Many rows in one statement: at each statement the thread lets the interpreter go, and has to come by it again
    # beside the event loop. While that was busy, 1,000 rows one by one took up to 0.9 s.
    engine.dialect.use_insertmanyvalues_wo_returning = True
    return engine


def _stored_keys(engine: Engine) -> _Keys:
    """Keys of all entries; makes the table if it is not there."""
    _METADATA.create_all(engine)
    found: _Keys = defaultdict(set)
    with engine.connect() as connection:
        for row in connection.execute(select(_ENTRIES.c.kind, _ENTRIES.c.key)):
            found[row.kind].add(row.key)
    return found


def _read(engine: Engine, kind: str) -> dict[str, bytes]:
    query = select(_ENTRIES.c.key, _ENTRIES.c.body).where(_ENTRIES.c.kind == kind)
    try:
        with engine.connect() as connection:
            return {row.key: row.body for row in connection.execute(query)}
    except SQLAlchemyError as error:
        raise StartFailed(f"cannot read the journal: {reason(error)}") from error


def _write(engine: Engine, group: Sequence[_Change], stored: Mapping[str, set[str]]) -> str | None:
    """Write all or nothing. Returns why it is nothing, or None."""
    old: defaultdict[str, list[str]] = defaultdict(list)
    for (kind, key), _ in group:
        if key in stored.get(kind, ()):
            old[kind].append(key)
    new = [{"kind": kind, "key": key, "body": body} for (kind, key), body in group if body is not None]
    try:
        with engine.begin() as connection:
            # Removed and made anew, since no statement that does both is the same for all databases.
            for kind, keys in old.items():
                connection.execute(_DELETE, {"of_kind": kind, "keys": keys})
            if new:
                connection.execute(_INSERT, new)
    except Exception as error:  # whatever it is, those who wait are told
        return reason(error)
    return None
