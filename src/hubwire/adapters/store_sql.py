"""
The store in an SQL database: one table of documents. At present in SQLite, one file.

Statements are plain SQL by way of SQLAlchemy Core; what only SQLite has is a pragma, set when a connection opens. So a
database server can take its place without a change of what is stored.
"""

import asyncio
import os
import sqlite3
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Text,
    and_,
    delete,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from hubwire.model.errors import NotStored, PreconditionFailed, StartFailed
from hubwire.model.ports import Change, Document

__all__ = ["SqlStore", "open_store"]

_T = TypeVar("_T")

# Keys sort by code point. That is SQLite's own order; a database server's depends on its language.
_KEY: Final = Text().with_variant(Text(collation="C"), "postgresql")
_METADATA: Final = MetaData()
_DOCUMENTS: Final = Table(
    "documents",
    _METADATA,
    Column("kind", _KEY, primary_key=True),
    Column("key", _KEY, primary_key=True),
    Column("body", Text, nullable=False),
    Column("etag", String(32), nullable=False),
)
_URL_PREFIXES: Final = ("sqlite:///", "sqlite+aiosqlite:///")
_APPLICATION_ID: Final = 0x48425752
"""In the head of the file, so that nobody's other database is taken for ours."""
_FORMAT: Final = 1
"""Raised when an older version could not read what this one writes."""
_BUSY_S: Final = 5.0
"""To wait for another process, such as a command line that has the same file open."""
_LAST_CODE_POINT: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)


async def open_store(url: str) -> "SqlStore":
    """
    Open the store, and create it if it is not there.

    Args:
        url: "sqlite:///" and the path of a file as it is, nothing encoded. The folder is there; a new file is for its
            owner alone (mode 0600).

    Raises:
        StartFailed: no such folder, no permission, a damaged file, or one that is not ours.
    """
    path = _path(url)
    try:
        _prepare(path)
        return SqlStore(await _ready_engine(path))
    except (OSError, SQLAlchemyError, sqlite3.Error, StartFailed) as error:
        raise StartFailed(f"cannot open the store {path}: {_reason(error)}") from error


class SqlStore:
    """A `Store` on an engine whose database is ready. Made by `open_store`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._running: set[asyncio.Task[Any]] = set()

    async def get(self, kind: str, key: str) -> Document | None:
        found = await self._finish(_read(self._engine, select(_DOCUMENTS).where(_is(kind, key))))
        return found[0] if found else None

    async def list(self, kind: str, prefix: str, after: str | None, limit: int) -> list[Document]:
        # A range rather than LIKE: nothing in a prefix has a meaning, letter case counts, and the index serves it.
        query = select(_DOCUMENTS).where(_DOCUMENTS.c.kind == kind, _DOCUMENTS.c.key >= prefix)
        end = _end_of(prefix)
        if end is not None:
            query = query.where(_DOCUMENTS.c.key < end)
        if after is not None:
            query = query.where(_DOCUMENTS.c.key > after)
        return await self._finish(_read(self._engine, query.order_by(_DOCUMENTS.c.key).limit(limit)))

    async def commit(self, changes: Sequence[Change]) -> None:
        await self._finish(_write(self._engine, changes))

    async def close(self) -> None:
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._engine.dispose()

    async def _finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        # Cancelled in the middle, the driver leaves a connection behind that keeps the database locked. So only the
        # caller is cancelled, and the work is done to its end.
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)


async def _write(engine: AsyncEngine, changes: Sequence[Change]) -> None:
    """
    Raises:
        NotStored: the disk is full or fails, or somebody else keeps the database locked.
    """
    try:
        async with engine.begin() as connection:
            for change in changes:
                await _apply(connection, change)
    except SQLAlchemyError as error:
        raise NotStored(_reason(error)) from error


async def _read(engine: AsyncEngine, query: Select[Any]) -> list[Document]:
    """
    Raises:
        StartFailed: damaged. Everything is read at the start, so that is when it is noticed.
    """
    try:
        async with engine.connect() as connection:
            return [_document(row) for row in await connection.execute(query)]
    except SQLAlchemyError as error:
        # The driver quotes text that is not UTF-8, and bodies hold keys.
        reason = _reason(error).partition(" with text ")[0]
        raise StartFailed(f"cannot read the store: {reason}") from error


def _document(row: Row[Any]) -> Document:
    try:
        return Document(row.kind, row.key, msgspec.json.decode(row.body), row.etag)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Never with its content, which may be secret.
        raise StartFailed(f"the stored {row.kind} {row.key} is damaged: its body is not JSON") from error


async def _apply(connection: AsyncConnection, change: Change) -> None:
    here = _is(change.kind, change.key)
    # The lock means nothing to SQLite, where the whole transaction is alone; elsewhere it keeps what was seen true.
    etag = await connection.scalar(select(_DOCUMENTS.c.etag).where(here).with_for_update())
    if not _is_met(change.expect, etag):
        raise PreconditionFailed(f"{change.kind} {change.key} is not in the expected state", target=change.key)
    if change.body is None:
        await connection.execute(delete(_DOCUMENTS).where(here))
        return
    # Random and not counted: a document that was deleted and made anew must not get an old tag again.
    content = {"body": msgspec.json.encode(change.body).decode(), "etag": uuid.uuid4().hex}
    if etag is None:
        await connection.execute(insert(_DOCUMENTS).values(kind=change.kind, key=change.key, **content))
    else:
        await connection.execute(update(_DOCUMENTS).where(here).values(**content))


def _is_met(expect: str, etag: str | None) -> bool:
    match expect:
        case "any":
            return True
        case "absent":
            return etag is None
        case _:
            return etag == expect


def _is(kind: str, key: str) -> ColumnElement[bool]:
    return and_(_DOCUMENTS.c.kind == kind, _DOCUMENTS.c.key == key)


def _end_of(prefix: str) -> str | None:
    """The least text that is greater than every text with this prefix; None if there is none."""
    while prefix:
        last = ord(prefix[-1]) + 1
        prefix = prefix[:-1]
        if last <= _LAST_CODE_POINT:
            # Surrogates are code points that no stored text has, and that cannot be sent to a database.
            return prefix + chr(_SURROGATES.stop if last in _SURROGATES else last)
    return None


def _path(url: str) -> Path:
    for prefix in _URL_PREFIXES:
        name = url.removeprefix(prefix)
        if name not in (url, "", ":memory:"):
            return Path(name).absolute()
    raise StartFailed("the store is not a URL such as sqlite:////var/lib/hubwire/hubwire.db")


def _prepare(path: Path) -> None:
    """
    Make the file if it is not there, and look at it first: nothing changes in one that is not ours.

    Without the asynchronous driver, whose threads outlive a connection that cannot be opened.
    """
    # Only a file that is not there is opened by us: closing one would end the locks that this process holds on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as connection:

        def pragma(text: str) -> Any:
            row = connection.execute(f"PRAGMA {text}").fetchone()
            return row[0] if row else None

        application, pages = pragma("application_id"), pragma("page_count")
        if pages and application != _APPLICATION_ID:
            raise StartFailed("it is the database of another program")
        if pragma("user_version") > _FORMAT:
            raise StartFailed("it was written by a newer version of this server")
        if pragma("quick_check(1)") != "ok":
            raise StartFailed("it is damaged")
        if not pages:
            pragma(f"application_id = {_APPLICATION_ID}")
            pragma(f"user_version = {_FORMAT}")
        # Reading goes on while another process writes. This one is kept in the file.
        pragma("journal_mode = WAL")


async def _ready_engine(path: Path) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        # One connection: SQLite writes one transaction at a time anyway, and here the next one waits without a lock.
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1,
        max_overflow=0,
        connect_args={"timeout": _BUSY_S},
        # Bodies may hold keys; they never get into a log or the text of an error.
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _set_up)
    event.listen(engine.sync_engine, "begin", _begin)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_METADATA.create_all)
    except SQLAlchemyError:
        await engine.dispose()
        raise
    return engine


def _set_up(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # What was committed is on the disk. The write-ahead log would otherwise only promise that nothing is torn.
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()
    # Transactions begin when `_begin` says so, not when the driver meets its first change.
    connection.isolation_level = None


def _begin(connection: Connection) -> None:
    # Not the default, which takes the lock at the first change and may find that what it has read is out of date.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause).partition("\n")[0]
