"""
What must be on the disk before anybody is told of it: entries of the journal, and who waits until they are written.

The journal writes in groups, so waiting is by groups too: everything that was asked for has a number, and what is on
the disk is everything up to one of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from hubwire.model.errors import NotStored
from hubwire.model.ports import Journal

__all__ = ["Commits"]


class Commits:
    """
    Changes of a journal, and how far they are written. Its own count: what others ask of the same journal is not in it.

    Attributes:
        asked: how many changes were asked for.
        safe: how many of them, from the first on, survive the end of this process; as far as the settings of the
            journal go, that of the machine, too. It grows only, and catches up with `asked` however often writing fails
            meanwhile. Nothing is given up; it stands still when the journal is closed.
        in_use: something was asked for, or was there before.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._watching: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self.asked = 0
        self.safe = 0
        self.in_use = False

    def put(self, kind: str, key: str, body: bytes) -> None:
        """Keep an entry, in place of one of the same kind and key."""
        self._journal.put(kind, key, body)
        self._ask()

    def remove(self, kind: str, key: str) -> None:
        """Forget an entry; harmless if there is none. One that was never written costs nothing."""
        self._journal.remove(kind, key)
        self._ask()

    async def entries(self, kind: str) -> list[tuple[str, bytes]]:
        """All entries of a kind with their keys, by ascending key, with what was asked for before."""
        found = await self._journal.entries(kind)
        self.in_use = self.in_use or bool(found)
        return found

    def when_safe(self, act: Callable[[], None]) -> bool:
        """See `model.ports.Commits`."""
        if self.safe == self.asked:
            return False
        self._waiting.append((self.asked, act))
        return True

    async def written(self) -> None:
        """Wait until everything that was asked for so far is written."""
        waiter = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not waiter.done():
                waiter.set_result(None)

        if self.when_safe(done):
            await waiter

    def _ask(self) -> None:
        self.asked += 1
        self.in_use = True
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        """Follow the journal until it has written everything."""
        try:
            while self.safe < self.asked:
                upto = self.asked
                await self._journal.written()
                self.safe = upto
                self._tell()
        except NotStored:
            pass  # the journal is closed, and has said what is lost; nobody is told of it any more
        finally:
            self._watching = None

    def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0][0] <= self.safe:
            # By the loop: what one of them gets wrong must not keep the others waiting.
            loop.call_soon(self._waiting.popleft()[1])
