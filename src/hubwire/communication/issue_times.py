"""
When each user had a token last, written behind: nobody waits for it, and what is asked for while a write is under way
goes with the next one. What a crash takes with it is what was issued in the last second.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from hubwire.communication.user_documents import ISSUE, USER, is_gone
from hubwire.model.errors import NotStored, PreconditionFailed, StartFailed, Unavailable
from hubwire.model.ports import Change, Store

__all__ = ["IssueTimes", "issue_change"]

_DELAY_S: Final = 1.0
"""So that one who has many tokens at once is written once."""
_RETRY_S: Final = 10.0
_AT_ONCE: Final = 500
_MOST_PENDING: Final = 100_000
"""While nothing can be written; then those that wait longest are forgotten."""

_log: Final = logging.getLogger("hubwire.server")


def issue_change(key: str, at: float) -> Change:
    """Store it."""
    return Change(ISSUE, key, {"at": at})


class IssueTimes:
    """By the keys of the users' documents. Times are seconds since 1970."""

    def __init__(self, store: Store, delay_s: float = _DELAY_S) -> None:
        self._store = store
        self._delay_s = delay_s
        self._pending: dict[str, float] = {}
        self._writing: Mapping[str, float] = {}
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def note(self, key: str, at: float) -> None:
        """Never waits."""
        self._pending.pop(key, None)
        self._pending[key] = at
        if len(self._pending) > _MOST_PENDING:
            del self._pending[next(iter(self._pending))]
        if self._task is None:
            self._task = asyncio.create_task(self._write())

    async def last(self, key: str) -> float | None:
        """None if the user never had a token."""
        waiting = self.unwritten(key)
        if waiting is not None:
            return waiting
        document = await self._store.get(ISSUE, key)
        return None if document is None else float(document.body["at"])

    def unwritten(self, key: str) -> float | None:
        """The same, of what is not stored yet."""
        return self._pending.get(key, self._writing.get(key))

    async def page(self, prefix: str, after: str | None, last: str, limit: int) -> Mapping[str, float]:
        """Of all users whose keys start with `prefix`, from behind `after` to `last`."""
        found: dict[str, float] = {}
        while documents := await self._store.list(ISSUE, prefix, after, limit):
            found |= {document.key: float(document.body["at"]) for document in documents if document.key <= last}
            after = documents[-1].key
            if after >= last or len(documents) < limit:
                break
        waiting = {**self._writing, **self._pending}
        return found | {key: at for key, at in waiting.items() if key.startswith(prefix) and key <= last}

    def forget(self, key: str) -> None:
        """A user is gone. What is being written just now is removed again."""
        self._pending.pop(key, None)

    async def close(self) -> None:
        """Write what waits. If that cannot be done it is lost."""
        self._closing.set()
        if self._task is not None:
            await self._task
        try:
            await self._flush()
        except (NotStored, Unavailable) as error:
            reason = error.reason if isinstance(error, NotStored) else error.message
            _log.warning("when %d users had their last tokens is not stored: %s", len(self._pending), reason)

    async def _write(self) -> None:
        wait_s = self._delay_s
        while self._pending and not self._closing.is_set():
            try:
                async with asyncio.timeout(wait_s):
                    await self._closing.wait()
                break
            except TimeoutError:
                pass
            try:
                await self._flush()
                wait_s = self._delay_s
            except (NotStored, Unavailable):
                wait_s = _RETRY_S
        self._task = None

    async def _flush(self) -> None:
        """
        Raises:
            NotStored, Unavailable: what is not stored waits again.
        """
        while self._pending:
            self._writing = {key: self._pending.pop(key) for key in list(self._pending)[:_AT_ONCE]}
            try:
                await self._store.commit([issue_change(key, at) for key, at in self._writing.items()])
                await self._clear(self._writing)
            except (NotStored, Unavailable):
                self._pending = {**self._writing, **self._pending}
                raise
            finally:
                self._writing = {}

    async def _clear(self, keys: Iterable[str]) -> None:
        """
        Remove again what was written for users who are gone: deleted meanwhile, here or by another node. Whoever is
        deleted after this look is deleted with what was written.

        Raises:
            NotStored, Unavailable: something may be left.
        """
        for key in keys:
            await asyncio.sleep(0)  # A store in a file answers without waiting, and others must get a turn.
            if not await self._is_gone(key):
                continue
            written = await self._store.get(ISSUE, key)
            # Looked at once more behind it: a user of Entra may have come back and had a token.
            if written is not None and await self._is_gone(key):
                with suppress(PreconditionFailed):
                    await self._store.commit([Change(ISSUE, key, None, written.etag)])

    async def _is_gone(self, key: str) -> bool:
        try:
            return is_gone(await self._store.get(USER, key))
        except StartFailed:
            return False  # Damaged, which whoever asks for the user is told.
