"""
Databases of ours in files of SQLite, whatever they hold: for whom they are, whose they are, and how they are opened.

What only SQLite has stands here, as pragmas. What is stored in them knows nothing of it.
"""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from hubwire.model.errors import StartFailed

__all__ = ["FileKind", "engine_options", "path_of", "prepare", "reader", "reading", "reason", "set_up", "writer"]

_URL_PREFIXES: Final = ("sqlite:///", "sqlite+aiosqlite:///")
_BUSY_S: Final = 5.0
"""To wait for another process, such as a command line that has the same file open."""
_READ_CACHE_KIB: Final = 16 * 1024
_STATEMENTS: Final = 64
"""That the driver keeps ready."""


class FileKind(NamedTuple):
    """
    What a file is for.

    Attributes:
        name: for the operator.
        file_name: of such a file, as an example.
        application_id: in the head of the file, so that nobody's other database is taken for ours.
        format: raised when an older version could not read what this one writes.
        synchronous: "FULL" if what was committed shall be on the disk; "NORMAL" if it need only survive the end of the
            process, and nothing may be torn by the end of the system.
    """

    name: str
    file_name: str
    application_id: int
    format: int
    synchronous: Literal["FULL", "NORMAL"]


def path_of(url: str, kind: FileKind) -> Path:
    """
    The file that a URL names, absolute.

    Args:
        url: "sqlite:///" and the path as it is, nothing encoded.

    Raises:
        StartFailed: it names none.
    """
    for prefix in _URL_PREFIXES:
        name = url.removeprefix(prefix)
        if name not in (url, "", ":memory:"):
            return Path(name).absolute()
    raise StartFailed(f"the {kind.name} is not a URL such as sqlite:////var/lib/hubwire/{kind.file_name}")


def prepare(path: Path, kind: FileKind) -> None:
    """
    Make the file if it is not there, for its owner alone. Nothing changes in one that is not ours.

    Without the asynchronous driver, whose threads outlive a connection that cannot be opened.

    Raises:
        StartFailed: damaged, or not ours.
        OSError, sqlite3.Error: it cannot be opened or written.
    """
    # Only a file that is not there is opened by us: closing one would end the locks that this process holds on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as connection:

        def pragma(text: str) -> Any:
            row = connection.execute(f"PRAGMA {text}").fetchone()
            return row[0] if row else None

        application, pages = pragma("application_id"), pragma("page_count")
        if pages and application != kind.application_id:
            raise StartFailed("it is the database of another program")
        if pragma("user_version") > kind.format:
            raise StartFailed("it was written by a newer version of this server")
        if pragma("quick_check(1)") != "ok":
            raise StartFailed("it is damaged")
        if not pages:
            pragma(f"application_id = {kind.application_id}")
            pragma(f"user_version = {kind.format}")
        # Reading goes on while another process writes. This one is kept in the file.
        pragma("journal_mode = WAL")


def engine_options() -> dict[str, Any]:
    """Arguments of an engine, whatever its driver."""
    return {
        # One connection: SQLite writes one transaction at a time anyway, and here the next one waits without a lock.
        "pool_size": 1,
        "max_overflow": 0,
        "connect_args": {"timeout": _BUSY_S},
        # What is stored may hold keys; it never gets into a log or the text of an error.
        "hide_parameters": True,
    }


def set_up(engine: Engine, kind: FileKind) -> None:
    """Let the engine's connections commit as this kind of file wants it, and its transactions be alone."""

    def connected(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA synchronous = {kind.synchronous}")
        cursor.close()
        # Transactions begin when `_begin` says so, not when the driver meets its first change.
        connection.isolation_level = None

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", _begin)


def reading(engine: AsyncEngine) -> AsyncEngine:
    """
    The same engine for single statements that read. Each sees one state, as it does without a transaction; the lock of
    a transaction would cost three times what such a statement does, and have it wait for other processes that write.
    """
    return engine.execution_options(hubwire_reads=True)


def reader(path: Path) -> sqlite3.Connection:
    """
    A further connection, which only reads, at once: where another process keeps the file locked, it fails. Whoever
    writes locks nobody out who reads, so that hardly ever happens. It sees what was committed before.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only = ON")
        # The way to a document leads over the same few thousand pages again and again, however many there are.
        connection.execute(f"PRAGMA cache_size = -{_READ_CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def writer(path: Path, kind: FileKind) -> sqlite3.Connection:
    """
    The only connection of a process to a file that is prepared, for one thread at a time, whichever that is. It begins
    and ends its transactions itself.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    connection = sqlite3.connect(
        path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
    )
    try:
        connection.execute(f"PRAGMA synchronous = {kind.synchronous}")
    except BaseException:
        connection.close()
        raise
    return connection


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("hubwire_reads"):
        return
    # Not the default, which takes the lock at the first change and may find that what it has read is out of date.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def reason(error: Exception) -> str:
    """Why something failed, in the words of the system or the database: one line, and nothing that is stored."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    cause = error.orig if isinstance(error, DBAPIError) else error
    # The driver quotes text that is not UTF-8.
    return str(cause).partition("\n")[0].partition(" with text ")[0]
