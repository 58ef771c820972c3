"""
The store in an SQL database: one table of documents. At present in SQLite, one file.

Statements are plain SQL by way of SQLAlchemy Core; what only SQLite has stands in `sqlite_files`. So a database server
can take its place without a change of what is stored.
"""

import asyncio
import sqlite3
import uuid
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Text,
    and_,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from hubwire.adapters.sqlite_files import FileKind, engine_options, path_of, prepare, reason, set_up
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
_FILE: Final = FileKind("store", "hubwire.db", 0x48425752, 1, "FULL")
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
    path = path_of(url, _FILE)
    try:
        prepare(path, _FILE)
        return SqlStore(await _ready_engine(path))
    except (OSError, SQLAlchemyError, sqlite3.Error, StartFailed) as error:
        raise StartFailed(f"cannot open the store {path}: {reason(error)}") from error


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
        raise NotStored(reason(error)) from error


async def _read(engine: AsyncEngine, query: Select[Any]) -> list[Document]:
    """
    Raises:
        StartFailed: damaged. Everything is read at the start, so that is when it is noticed.
    """
    try:
        async with engine.connect() as connection:
            return [_document(row) for row in await connection.execute(query)]
    except SQLAlchemyError as error:
        raise StartFailed(f"cannot read the store: {reason(error)}") from error


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


async def _ready_engine(path: Path) -> AsyncEngine:
    url = URL.create("sqlite+aiosqlite", database=str(path))
    engine = create_async_engine(url, poolclass=AsyncAdaptedQueuePool, **engine_options())
    set_up(engine.sync_engine, _FILE)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_METADATA.create_all)
    except SQLAlchemyError:
        await engine.dispose()
        raise
    return engine
