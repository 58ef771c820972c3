"""
The store in an SQL database: one table of documents, in a file of SQLite or a database of PostgreSQL.

Statements are plain SQL by way of SQLAlchemy Core; what only one of the two has stands in `store_sqlite` and
`store_postgresql`. What is stored is the same in both.
"""

import asyncio
import logging
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    MetaData,
    Select,
    String,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hubwire.adapters.store_postgresql import is_postgresql, open_postgresql
from hubwire.adapters.store_sqlite import open_sqlite
from hubwire.model.errors import BadRequest, NotStored, PreconditionFailed, StartFailed, Unavailable
from hubwire.model.names import shown_end
from hubwire.model.ports import Change, Document

__all__ = ["SqlStore", "open_store"]

_log: Final = logging.getLogger("hubwire.store")

_T = TypeVar("_T")
_Id: TypeAlias = tuple[str, str]
"""Kind and key."""

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
_HERE: Final = and_(_DOCUMENTS.c.kind == bindparam("of_kind"), _DOCUMENTS.c.key == bindparam("of_key"))
_ETAG: Final = select(_DOCUMENTS.c.etag).where(_HERE)
_INSERT: Final = insert(_DOCUMENTS)
_UPDATE: Final = update(_DOCUMENTS).where(_HERE).values(body=bindparam("to_body"), etag=bindparam("to_etag"))
_DELETE: Final = delete(_DOCUMENTS).where(_HERE)

_ATTEMPTS: Final = (False, False, True)
"""Is it the last one. The first may meet a connection that breaks, the second an old one that has broken long since."""
_KEYS_AT_ONCE: Final = 500
_LONGEST_KEY: Final = 2000
"""In bytes, together with its kind: PostgreSQL has no room in its index for more than 2,704, lengths included."""
_SHOWN_WHOLE: Final = 24
"""So long a key may be that stands in a message as it is: a word such as `default`, and no id of a person."""
_LAST_CODE_POINT: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)


class Database(Protocol):
    """
    What a kind of database adds to its engine.

    Attributes:
        engine: for transactions.
        reads: the same for single statements that read.
        address: for the operator, without a password.
    """

    @property
    def engine(self) -> AsyncEngine: ...

    @property
    def reads(self) -> AsyncEngine: ...

    @property
    def address(self) -> str: ...

    def row_at_once(self, kind: str, key: str, /) -> tuple[str, str] | None:
        """Body and etag of a document; None if there is none. Raises LookupError: that takes waiting, by `row`."""

    async def row(self, connection: AsyncConnection, kind: str, key: str, /) -> tuple[str, str] | None:
        """Body and etag of a document, the cheapest way. May fail by whatever the driver raises."""

    async def ready(self) -> None:
        """Called before a change; it is refused (NotStored) where the store is ours no more."""

    async def hold(self, connection: AsyncConnection, ids: Sequence[_Id], /) -> str:
        """Keep others from changing these until the transaction ends. Returns a mark of it."""

    async def put(self, connection: AsyncConnection, rows: Sequence[tuple[str, str, str, str]], /) -> None:
        """Store documents (kind, key, body and etag, each id once), whatever is there."""

    async def was_committed(self, mark: str, /) -> bool:
        """What became of a transaction that nobody told us the end of."""

    def is_lost(self, error: Exception, /) -> bool:
        """Was it the connection that broke."""

    async def confirm(self) -> None:
        """Called after a connection broke; refuses (NotStored) as `ready` does."""

    def reason(self, error: Exception, /) -> str:
        """Why something failed: one line, and nothing that is stored."""

    async def close(self) -> None:
        """Release everything."""


async def open_store(url: str, *, alone: bool = False) -> "SqlStore":
    """
    Open the store, and create it if it is not there.

    Args:
        url: "sqlite:///" and the path of a file as it is, nothing encoded, whose folder is there; a new file is for its
            owner alone (mode 0600). Or that of a database of PostgreSQL, as libpq has them.
        alone: be the only one that opens it in this way until it is closed, or the process ends.

    Raises:
        StartFailed: it cannot be opened, is damaged, is not ours, or another one has it.
    """
    opened = open_postgresql if is_postgresql(url) else open_sqlite
    return SqlStore(await opened(url, _METADATA, alone=alone))


class SqlStore:
    """
    A `Store` in a database that is ready. Made by `open_store`.

    Attributes:
        address: where it is, for the operator; without a password.
    """

    def __init__(self, database: Database) -> None:
        self.address = database.address
        self._database = database
        self._running: set[asyncio.Task[Any]] = set()
        self._unread = ""

    async def get(self, kind: str, key: str) -> Document | None:
        if not (_is_storable(kind) and _is_storable(key)):
            return None
        try:
            found = self._database.row_at_once(kind, key)
        except LookupError:
            found = await self._finish(self._row(kind, key))
        return None if found is None else _document(kind, key, *found)

    async def list(self, kind: str, prefix: str, after: str | None, limit: int) -> list[Document]:
        if not (_is_storable(kind) and _is_storable(prefix)):
            return []
        # A range rather than LIKE: nothing in a prefix has a meaning, letter case counts, and the index serves it.
        query = select(_DOCUMENTS).where(_DOCUMENTS.c.kind == kind, _DOCUMENTS.c.key >= prefix)
        end = _end_of(prefix)
        if end is not None:
            query = query.where(_DOCUMENTS.c.key < end)
        if after is not None:
            query = query.where(_follows(after))
        rows = await self._finish(self._read(query.order_by(_DOCUMENTS.c.key).limit(limit)))
        return [_document(*row) for row in rows]

    async def commit(self, changes: Sequence[Change]) -> None:
        for change in changes:
            _check(change)
        if changes:
            await self._finish(self._write(changes))

    async def close(self) -> None:
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._database.close()

    async def _finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        # Cancelled in the middle, the driver leaves a connection behind that keeps the database locked. So only the
        # caller is cancelled, and the work is done to its end.
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _row(self, kind: str, key: str) -> tuple[str, str] | None:
        try:
            async with self._database.reads.connect() as connection:
                return await self._database.row(connection, kind, key)
        except Exception:  # whatever the driver raises: what follows tries once more, and knows what to say of it
            rows = await self._read(select(_DOCUMENTS.c.body, _DOCUMENTS.c.etag).where(_is(kind, key)))
            return next(iter(rows), None)

    async def _read(self, query: Select[Any]) -> Sequence[Any]:
        """
        Raises:
            Unavailable: the database does not answer.
            StartFailed: it is damaged, or we may not read it.
        """
        for is_last in _ATTEMPTS:
            try:
                async with self._database.reads.connect() as connection:
                    rows: Sequence[Any] = (await connection.execute(query)).all()
            except (SQLAlchemyError, OSError) as error:
                # Every connection of the pool breaks when a server is restarted; the next one is a new one.
                if not self._database.is_lost(error):
                    raise StartFailed(f"cannot read the store: {self._database.reason(error)}") from error
                if is_last:
                    self._report(self._database.reason(error))
                    raise Unavailable("the store cannot be read") from error
                continue
            self._report("")
            return rows
        raise AssertionError("the last attempt returns or raises")

    def _report(self, why: str) -> None:
        """Say that reading fails, and why, once."""
        if why and why != self._unread:
            _log.warning("the store cannot be read: %s", why)
        self._unread = why

    async def _write(self, changes: Sequence[Change]) -> None:
        """
        Raises:
            PreconditionFailed: nothing was changed.
            NotStored: the disk is full or fails, somebody else keeps the database locked, or it does not answer.
        """
        await self._database.ready()
        for is_last in _ATTEMPTS:
            mark = ""
            try:
                async with self._database.engine.begin() as connection:
                    held = await self._database.hold(connection, [(change.kind, change.key) for change in changes])
                    if rows := _unconditional(changes):
                        await self._database.put(connection, rows)
                    else:
                        await _carry_out(connection, changes)
                    mark = held
                return
            except (SQLAlchemyError, OSError) as error:
                if not self._database.is_lost(error):
                    raise NotStored(self._database.reason(error)) from error
                _log.warning("the store does not answer a change: %s", self._database.reason(error))
                if mark and await self._was_committed(mark):
                    return
                if is_last:
                    raise NotStored("the database does not answer") from error
            # Whoever breaks connections may have let another server in.
            await self._database.confirm()

    async def _was_committed(self, mark: str) -> bool:
        """
        Raises:
            NotStored: nobody knows.
        """
        try:
            return await self._database.was_committed(mark)
        except (SQLAlchemyError, OSError) as error:
            raise NotStored(
                "the database went away in the middle, and nobody knows whether it has the change"
            ) from error


class _State(NamedTuple):
    """Of a document, or of none: then the etag is None. The body is None where it is not changed."""

    etag: str | None
    body: str | None = None


def _unconditional(changes: Sequence[Change]) -> Sequence[tuple[str, str, str, str]]:
    """What is there afterwards, if that does not depend on what was there before; else nothing."""
    rows: dict[_Id, tuple[str, str, str, str]] = {}
    for change in changes:
        if change.expect != "any" or change.body is None:
            return ()
        rows[(change.kind, change.key)] = (change.kind, change.key, _body(change.body), _new_etag())
    return tuple(rows.values())


async def _carry_out(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    """
    Look, decide, and then write what is left of it: three statements for any number of changes.

    Raises:
        PreconditionFailed
    """
    before = await _etags(connection, changes)
    after: dict[_Id, _State] = {}
    for change in changes:
        id = (change.kind, change.key)
        etag = after[id].etag if id in after else before.get(id)
        if not _is_met(change.expect, etag):
            raise PreconditionFailed(f"{change.kind} {change.key} is not in the expected state", target=change.key)
        if change.body is None:
            after[id] = _State(None)
        else:
            after[id] = _State(_new_etag(), _body(change.body))
    if gone := [_where(id) for id, state in after.items() if state.etag is None and id in before]:
        await connection.execute(_DELETE, gone)
    if changed := [
        {**_where(id), "to_body": state.body, "to_etag": state.etag}
        for id, state in after.items()
        if state.etag is not None and id in before
    ]:
        await connection.execute(_UPDATE, changed)
    if new := [
        {"kind": id[0], "key": id[1], "body": state.body, "etag": state.etag}
        for id, state in after.items()
        if state.etag is not None and id not in before
    ]:
        await connection.execute(_INSERT, new)


def _body(document: Mapping[str, Any]) -> str:
    return msgspec.json.encode(document).decode()


def _new_etag() -> str:
    """Random and not counted: a document that was deleted and made anew must not get an old tag again."""
    return secrets.token_hex(16)


async def _etags(connection: AsyncConnection, changes: Sequence[Change]) -> Mapping[_Id, str]:
    """Of those documents that are there."""
    if len(changes) == 1:
        id = (changes[0].kind, changes[0].key)
        etag = await connection.scalar(_ETAG, _where(id))
        return {} if etag is None else {id: etag}
    found: dict[_Id, str] = {}
    for kind in sorted({change.kind for change in changes}):
        keys = sorted({change.key for change in changes if change.kind == kind})
        for some in (keys[start : start + _KEYS_AT_ONCE] for start in range(0, len(keys), _KEYS_AT_ONCE)):
            query = select(_DOCUMENTS.c.key, _DOCUMENTS.c.etag).where(
                _DOCUMENTS.c.kind == kind, _DOCUMENTS.c.key.in_(some)
            )
            found.update({(kind, row.key): row.etag for row in await connection.execute(query)})
    return found


def _where(id: _Id) -> dict[str, str]:
    return {"of_kind": id[0], "of_key": id[1]}


def _document(kind: str, key: str, body: str, etag: str) -> Document:
    try:
        return Document(kind, key, msgspec.json.decode(body), etag)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Never with its content, which may be secret; and keys, too, may name persons.
        shown = shown_end(key) if len(key) > _SHOWN_WHOLE else key
        raise StartFailed(f"the stored {kind} {shown} is damaged: its body is not JSON") from error


def _is_storable(text: str) -> bool:
    """Half characters are in no text that is sent to a database, and U+0000 is in none that PostgreSQL has."""
    return "\0" not in text and not _has_surrogates(text)


def _has_surrogates(text: str) -> bool:
    return not text.isascii() and any(ord(letter) in _SURROGATES for letter in text)


def _check(change: Change) -> None:
    """
    Raises:
        BadRequest: no store could keep it.
    """
    if not (_is_storable(change.kind) and _is_storable(change.key)):
        raise BadRequest("A name cannot have U+0000 or half characters in it.", target="name")
    if len(change.kind.encode()) + len(change.key.encode()) > _LONGEST_KEY:
        raise BadRequest(f"A name is too long: more than {_LONGEST_KEY} bytes as UTF-8.", target="name")


def _follows(after: str) -> ColumnElement[bool]:
    """Is a key greater than a text, which need not be one that can be stored itself."""
    for place, letter in enumerate(after):
        if letter == "\0":
            return _DOCUMENTS.c.key > after[:place]
        if ord(letter) in _SURROGATES:
            return _DOCUMENTS.c.key >= after[:place] + chr(_SURROGATES.stop)
    return _DOCUMENTS.c.key > after


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
