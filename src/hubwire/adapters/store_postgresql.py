"""
The store in a database of PostgreSQL: how it is reached, whose it is, and how commits keep out of one another's way.

Everything is in a schema of its own, so that the database may hold other things as well. Nothing that is said here, in
an error or a record, has the password in it: the address that it names is put together anew.
"""

import asyncio
import logging
import re
import uuid
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import ARRAY, BigInteger, MetaData, bindparam, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from hubwire.model.errors import NotStored, StartFailed

__all__ = ["PostgresqlDatabase", "is_postgresql", "open_postgresql"]

_log: Final = logging.getLogger("hubwire.store")
# It writes a stack trace where a connection that broke cannot be closed. That it broke is said by us, in a line.
logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)

_SCHEMES: Final = ("postgresql", "postgres")
_EXAMPLE: Final = "the store is not a URL such as postgresql://USER:PASSWORD@HOST:5432/DATABASE"
_SCHEMA: Final = "hubwire"
_FORMAT: Final = 1
"""Raised when an older version could not read what this one writes."""

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(:\d+)?")
_CONNECT_S: Final = 10.0
_STATEMENT_S: Final = 30.0
"""An answer that takes longer will not come: the network swallows what we send."""
_POOL: Final = 8
"""Connections besides the one that holds the lock. A server allows 100 by default, for all of its users."""
_CONFIRM_S: Final = 10.0
"""Between two looks whether the lock is still ours. It also keeps firewalls from forgetting an idle connection."""
_LOOKS: Final = 100
_LOOK_S: Final = 0.1
"""Looks at a transaction that ends as soon as the server notices that nobody is there, and the time between them."""
_TAKEN_S: Final = 3.0
"""For the server of a process that was killed just now to notice that it is gone."""

# Advisory locks are numbers that all programs of a database share. These begin with "HBWR", and go on with what only
# one store has, the number of its table, or with one of a few numbers for what a commit touches.
_LOCKS: Final = 0x48425752 << 32
_SET_UP: Final = 0x48425753 << 32
_TOUCHED: Final = 0x48425754 << 32
_TOUCHED_LOCKS: Final = 256
"""A server has room for some thousand locks. Documents that have one in common wait for one another, no more."""

_GET: Final = f"SELECT body, etag FROM {_SCHEMA}.documents WHERE kind = $1 AND key = $2"  # noqa: S608  nothing from outside
_PUT: Final = (
    f"INSERT INTO {_SCHEMA}.documents (kind, key, body, etag) "  # noqa: S608
    "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) "
    "ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body, etag = excluded.etag"
)
_TRY_LOCK: Final = text(f"SELECT pg_try_advisory_lock({_LOCKS} + '{_SCHEMA}.documents'::regclass::oid::bigint)")
# In the order of their numbers, so that no two commits wait for each other. The number of the transaction tells
# afterwards what became of it. Who owns the store is not changed before the transaction ends.
_HOLD: Final = text(
    f"WITH format AS (SELECT owner FROM {_SCHEMA}.format FOR SHARE) "  # noqa: S608
    "SELECT pg_current_xact_id()::text AS mark, (SELECT owner FROM format) AS owner, pg_advisory_xact_lock(number) "
    "FROM unnest(:numbers) AS number"
).bindparams(bindparam("numbers", type_=ARRAY(BigInteger)))
_KEEP_ALIVE: Final = text(
    "SELECT set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false), "
    "set_config('tcp_keepalives_count', '3', false)"
)
_OWN: Final = text(f"UPDATE {_SCHEMA}.format SET owner = :owner")  # noqa: S608
_OWNER: Final = text(f"SELECT owner FROM {_SCHEMA}.format")  # noqa: S608
_OUTCOME: Final = text("SELECT pg_xact_status(CAST(CAST(:mark AS text) AS xid8))")
_UNANSWERED: Final = "the database does not answer"
_TAKEN: Final = "another server has it; stop that one, or name another database with --store"
_LATE: Final = "another server has had the store meanwhile; this one has to be started again"


def is_postgresql(url: str) -> bool:
    """Does a URL name such a database."""
    return url.partition(":")[0].lower() in _SCHEMES


def _address(url: str) -> str:
    """
    What may be shown of a URL: neither the password nor its options, which may hold one.

    Raises:
        StartFailed: it is none; without a word of it, since a password that is not encoded may stand anywhere.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise StartFailed(f"{_EXAMPLE}: {_encoding()}") from error
    credentials, at, hosts = parts.netloc.rpartition("@")
    rest = parts.path + parts.query + parts.fragment
    # The password ends at the first of `/?#`, and then what follows has the `@` that was to end it.
    if "@" in rest or parts.fragment or not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        raise StartFailed(f"{_EXAMPLE}: {_encoding()}")
    return f"postgresql://{credentials.partition(':')[0]}{at}{hosts}{parts.path}"


def _encoding() -> str:
    return "what is not a letter or a digit in its password is percent-encoded"


async def open_postgresql(url: str, tables: MetaData, *, alone: bool) -> "PostgresqlDatabase":
    """
    Connect, and make the schema and the tables that are not there.

    Args:
        url: as libpq has them, "sslmode" and the like included; the variables of libpq such as PGPASSWORD or PGPASSFILE
            count for what it leaves out.
        alone: demand that nobody else has it open in this way.

    Raises:
        StartFailed: it cannot be reached, is not for us, is not ours, or is taken.
    """
    address = _address(url)
    engine = _new_engine(url, pool_size=_POOL, max_overflow=0, pool_timeout=_CONNECT_S, pool_use_lifo=True)
    # A new connection each time: the old ones break together with that of the lock.
    keepers = _new_engine(url, poolclass=NullPool).execution_options(isolation_level="AUTOCOMMIT")
    database = PostgresqlDatabase(engine, keepers, address, alone=alone)
    try:
        async with engine.begin() as connection:
            await _set_up(connection, tables)
        await database.take()
    except BaseException as error:
        await database.close()
        # Anything may be wrong with an address, and each library behind it says so by errors of its own.
        if isinstance(error, Exception):
            raise StartFailed(f"cannot open the store {address}: {database.reason(error)}") from error
        raise
    return database


class _Taken(StartFailed):
    """Another server has the lock of the store."""


class PostgresqlDatabase:
    """
    A `Database` of the store. Made by `open_postgresql`.

    One server at a time has the store: it holds a lock that lives as long as one of its connections. If that breaks, no
    change is made before the lock is ours again. That alone could be noticed too late, so each server also leaves a
    name of its own in the store, and every change finds it there or is not made.
    """

    def __init__(self, engine: AsyncEngine, keepers: AsyncEngine, address: str, *, alone: bool) -> None:
        self.engine = engine
        self._keepers = keepers
        self.reads = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.address = address
        self._alone = alone
        self._name = uuid.uuid4().hex
        self._keeper: AsyncConnection | None = None
        self._held = False
        self._confirmation: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._broken = asyncio.Event()

    def row_at_once(self, kind: str, key: str) -> tuple[str, str] | None:  # noqa: ARG002  databases look alike
        """Never: it takes a network."""
        raise LookupError

    async def row(self, connection: AsyncConnection, kind: str, key: str) -> tuple[str, str] | None:
        """By the driver itself, which prepares it once: half of the time that the statement of an engine takes."""
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        try:
            found = await driver.fetchrow(_GET, kind, key)
        except BaseException:
            if driver.is_closed():
                await connection.invalidate()
            raise
        return None if found is None else (found["body"], found["etag"])

    async def put(self, connection: AsyncConnection, rows: Sequence[tuple[str, str, str, str]]) -> None:
        """In one statement."""
        await connection.exec_driver_sql(_PUT, tuple(map(list, zip(*rows, strict=True))))

    async def hold(self, connection: AsyncConnection, ids: Sequence[tuple[str, str]]) -> str:
        """
        Let nobody else commit to these documents before this transaction has ended, whether they are there or not.

        Transactions that are merely serializable would fail instead, and have to be done again, as soon as two of them
        come near the same page of the index.

        Returns:
            a mark to ask for the outcome with.

        Raises:
            NotStored: the store is not ours any more.
        """
        numbers = {_TOUCHED + zlib.crc32(f"{kind}\0{key}".encode()) % _TOUCHED_LOCKS for kind, key in ids}
        held = (await connection.execute(_HOLD, {"numbers": sorted(numbers)})).all()[0]
        if self._alone and held.owner != self._name:
            raise NotStored(_LATE)
        return str(held.mark)

    async def was_committed(self, mark: str) -> bool:
        """
        What became of a transaction whose connection broke before it was told.

        Raises:
            TimeoutError: it is still under way.
        """
        async with self.reads.connect() as connection:
            for _ in range(_LOOKS):
                status: str | None = await connection.scalar(_OUTCOME, {"mark": mark})
                if status != "in progress":
                    return status == "committed"
                await asyncio.sleep(_LOOK_S)
        raise TimeoutError

    def is_lost(self, error: Exception) -> bool:
        """Broke the connection, so that another may do better."""
        if isinstance(error, DBAPIError):
            # 57P01 to 57P03: it stops, has crashed, or starts. 53300: it has too many connections. None: the driver
            # says so itself, which got something else than it expected.
            state: str | None = getattr(error.driver_exception, "sqlstate", None)
            return error.connection_invalidated or state is None or state.startswith(("08", "57P", "53300"))
        return isinstance(error, (OSError, PoolTimeout))

    def reason(self, error: Exception) -> str:
        """In words of the database or the driver: their first line. What is stored may stand in further ones."""
        cause = error.driver_exception if isinstance(error, DBAPIError) else error
        if isinstance(cause, TimeoutError):
            return "it does not answer"
        return str(cause).partition("\n")[0].partition(" [SQL:")[0] or type(cause).__name__

    async def take(self) -> None:
        """
        Take the lock of the store, if it is to be ours alone.

        Raises:
            StartFailed: another server has it.
        """
        if not self._alone:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + _TAKEN_S
        while True:
            try:
                keeper = await self._acquire()
                break
            except _Taken as error:
                if loop.time() > end:
                    raise StartFailed(_TAKEN) from error
            await asyncio.sleep(0.1)
        # Waits for the changes of whoever had it before, and ends them.
        await keeper.execute(_OWN, {"owner": self._name})
        self._watch = asyncio.create_task(self._watch_lock())

    async def ready(self) -> None:
        """
        Raises:
            NotStored: the store is not ours at the moment.
        """
        if self._alone and not self._held:
            await self.confirm()

    async def confirm(self) -> None:
        """
        See to it that the store is still ours; called when a connection broke.

        Raises:
            NotStored: it is not, or nobody knows.
        """
        if not self._alone:
            return None
        # One at a time, for all who want to know. One that began earlier may have failed by what was earlier.
        if self._confirmation is not None and not self._confirmation.done():
            with suppress(NotStored):
                return await asyncio.shield(self._confirmation)
        if self._confirmation is None or self._confirmation.done():
            self._confirmation = asyncio.create_task(self._confirm())
        return await asyncio.shield(self._confirmation)

    async def _confirm(self) -> None:
        if self._keeper is not None:
            try:
                await self._keeper.execute(text("SELECT 1"))
                return
            except (SQLAlchemyError, OSError):
                await self._let_go()
        for is_last in (False, True):
            try:
                keeper = await self._acquire()
                is_late = await keeper.scalar(_OWNER) != self._name
                break
            except _Taken as error:
                raise NotStored("another server has taken the store") from error
            except Exception as error:  # whatever the driver says
                await self._let_go()
                if is_last or not self.is_lost(error):
                    raise NotStored(_UNANSWERED) from error
        if is_late:
            await self._let_go()
            raise NotStored(_LATE)

    async def _acquire(self) -> AsyncConnection:
        """
        Raises:
            _Taken: another server has it.
        """
        connection = await self._keepers.connect()
        try:
            # A machine that went away with the lock is given up after a minute.
            await connection.execute(_KEEP_ALIVE)
            if not await connection.scalar(_TRY_LOCK):
                raise _Taken("another server has it")
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            driver.add_termination_listener(self._note_end)
        except BaseException:
            with suppress(Exception):
                await connection.close()
            raise
        self._keeper, self._held = connection, True
        return connection

    def _note_end(self, _driver: object) -> None:
        self._held = False
        self._broken.set()

    async def _let_go(self) -> None:
        keeper, self._keeper, self._held = self._keeper, None, False
        if keeper is not None:
            with suppress(Exception):
                await keeper.invalidate()
                await keeper.close()

    async def _watch_lock(self) -> None:
        """Look whether the lock is ours now and then, and at once when its connection broke; say what changes."""
        told = ""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CONFIRM_S if not told else 1.0):
                    await self._broken.wait()
            self._broken.clear()
            try:
                await self.confirm()
            except NotStored as error:
                if error.reason != told:
                    _log.warning("%s: %s; no change is stored meanwhile", self.address, error.reason)
                told = error.reason
            else:
                if told:
                    _log.info("%s: the store is ours again", self.address)
                told = ""

    async def close(self) -> None:
        """Release the lock and all connections."""
        for task in (self._watch, self._confirmation):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._keeper is not None:
            with suppress(SQLAlchemyError, OSError):
                await self._keeper.execute(text("SELECT pg_advisory_unlock_all()"))
        await self._let_go()
        await self._keepers.dispose()
        await self.engine.dispose()


def _new_engine(url: str, **options: Any) -> AsyncEngine:
    settings = {} if "application_name=" in unquote(url) else {"application_name": "hubwire"}
    # The driver reads the URL itself: SQLAlchemy's own form of it knows no options of libpq.
    arguments = {"dsn": url, "timeout": _CONNECT_S, "command_timeout": _STATEMENT_S, "server_settings": settings}
    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args=arguments,
        # Every transaction is ended by who began it.
        pool_reset_on_return=None,
        # Set here, since a database may have another default: after `hold`, each statement sees what is committed.
        isolation_level="READ COMMITTED",
        # What is stored may hold keys; it never gets into a log or the text of an error.
        hide_parameters=True,
        **options,
    ).execution_options(schema_translate_map={None: _SCHEMA})


async def _set_up(connection: AsyncConnection, tables: MetaData) -> None:
    """
    Make what is not there. Two that start at once do so one after the other.

    Raises:
        StartFailed: the database is not for us, or not ours.
    """
    if await connection.scalar(text("SELECT pg_is_in_recovery()")):
        raise StartFailed("it is a copy that can only be read")
    encoding = await connection.scalar(text("SELECT current_setting('server_encoding')"))
    if encoding != "UTF8":
        raise StartFailed(f"its encoding is {encoding}, and has to be UTF8")
    await connection.execute(text(f"SELECT pg_advisory_xact_lock({_SET_UP})"))
    if not await connection.scalar(text(f"SELECT to_regnamespace('{_SCHEMA}')::text")):
        await connection.execute(text(f"CREATE SCHEMA {_SCHEMA}"))
    if not await connection.scalar(text(f"SELECT to_regclass('{_SCHEMA}.format')::text")):
        others = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace(:schema)"
        if await connection.scalar(text(others), {"schema": _SCHEMA}):
            raise StartFailed(f"its schema {_SCHEMA} belongs to another program")
        await connection.execute(text(f"CREATE TABLE {_SCHEMA}.format (version integer NOT NULL, owner text NOT NULL)"))
        await connection.execute(text(f"INSERT INTO {_SCHEMA}.format VALUES ({_FORMAT}, '')"))  # noqa: S608
        await connection.run_sync(tables.create_all)
    version = await connection.scalar(text(f"SELECT version FROM {_SCHEMA}.format"))  # noqa: S608
    if version is None or version > _FORMAT:
        raise StartFailed("it was written by a newer version of this server")
