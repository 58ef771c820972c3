"""
The store in a file of SQLite: what it has there that no database server has.

One connection carries everything out, one after the other, so a transaction is alone by itself.
"""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import URL, MetaData
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from hubwire.adapters.data_folder import locked
from hubwire.adapters.sqlite_files import FileKind, engine_options, path_of, prepare, reader, reading, reason, set_up
from hubwire.model.errors import StartFailed

__all__ = ["SqliteDatabase", "open_sqlite"]

_FILE: Final = FileKind("store", "hubwire.db", 0x48425752, 1, "FULL")
_GET: Final = "SELECT body, etag FROM documents WHERE kind = ? AND key = ?"
# Behind a SELECT an upsert needs its WHERE, or ON would belong to a join.
_PUT: Final = (
    "INSERT INTO documents (kind, key, body, etag) SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), "
    "json_extract(value, '$[2]'), json_extract(value, '$[3]') FROM json_each(?) WHERE true "
    "ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body, etag = excluded.etag"
)


async def open_sqlite(url: str, tables: MetaData, *, alone: bool) -> "SqliteDatabase":
    """
    Open a file, and make it and what is in it if that is not there.

    Args:
        alone: demand that nobody else has it open in this way.

    Raises:
        StartFailed: no such folder, no permission, a damaged file, one that is not ours, or one that is taken.
    """
    path = path_of(url, _FILE)
    lock = None
    try:
        if alone:
            # Beside it: whoever closes a file ends the locks of SQLite that this process holds on it.
            lock = locked(path.with_name(f"{path.name}-lock"))
            if lock is None:
                raise StartFailed("another server has it")
        prepare(path, _FILE)
        engine = await _ready_engine(path, tables)
        try:
            return SqliteDatabase(engine, reader(path), str(path), lock)
        except BaseException:
            await engine.dispose()
            raise
    except BaseException as error:
        if lock is not None:
            os.close(lock)
        if isinstance(error, (OSError, SQLAlchemyError, sqlite3.Error, StartFailed)):
            raise StartFailed(f"cannot open the store {path}: {reason(error)}") from error
        raise


class SqliteDatabase:
    """A `Database` of the store. Made by `open_sqlite`."""

    def __init__(self, engine: AsyncEngine, look: sqlite3.Connection, address: str, lock: int | None) -> None:
        self.address = address
        self.engine = engine
        self.reads = reading(engine)
        self._look = look
        self._lock = lock

    def row_at_once(self, kind: str, key: str) -> tuple[str, str] | None:
        """
        Where it stands in the system's cache that takes 15 µs, of which a step to another thread and back takes ten
        times as many. A read of the disk is short enough to wait for.
        """
        try:
            # All rows, although there is only one: at their end the statement is, too, and sees what is new next time.
            return next(iter(self._look.execute(_GET, (kind, key)).fetchall()), None)
        except sqlite3.Error as error:
            raise LookupError from error  # the other way knows what to do, and to say

    async def row(self, connection: AsyncConnection, kind: str, key: str) -> tuple[str, str] | None:
        """By the driver itself, in one step of its thread where the statement of an engine takes four."""
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        return next(iter(await driver.execute_fetchall(_GET, (kind, key))), None)

    async def put(self, connection: AsyncConnection, rows: Sequence[tuple[str, str, str, str]]) -> None:
        """
        In one statement. The driver takes the lock of Python again after each, and waits for its turn with whoever is
        busy: with a statement for each row that would cost more than all else about them.
        """
        await connection.exec_driver_sql(_PUT, (msgspec.json.encode(rows).decode(),))

    async def hold(self, _connection: AsyncConnection, _ids: Sequence[tuple[str, str]]) -> str:
        """Nothing is to be done."""
        return ""

    async def was_committed(self, _mark: str) -> bool:
        """Never asked: there is no connection that could be lost."""
        return False

    def is_lost(self, _error: Exception) -> bool:
        """No connection can be."""
        return False

    def reason(self, error: Exception) -> str:
        """In words of the system or the database."""
        return reason(error)

    async def ready(self) -> None:
        """The lock goes with the process."""

    async def confirm(self) -> None:
        """The lock goes with the process."""

    async def close(self) -> None:
        """Let somebody else have the file."""
        self._look.close()
        await self.engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


async def _ready_engine(path: Path, tables: MetaData) -> AsyncEngine:
    url = URL.create("sqlite+aiosqlite", database=str(path))
    # Every transaction is ended by who began it, and what reads needs none: there is nothing to undo afterwards, which
    # would be a step of the thread each time.
    engine = create_async_engine(url, poolclass=AsyncAdaptedQueuePool, pool_reset_on_return=None, **engine_options())
    set_up(engine.sync_engine, _FILE)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(tables.create_all)
    except SQLAlchemyError:
        await engine.dispose()
        raise
    return engine
