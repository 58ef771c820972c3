"""
What must be on the disk before anybody is told of it: entries of the journal, and who waits until they are written.

The journal writes in groups, so waiting is by groups too: everything that was asked for has a number, and what is on
the disk is everything up to one of them.

What one turn asks for is written as one. A message makes entries for those who wait for it, and one for its sender that
it was taken: one without the other would lose it or double it.
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
        held: says that more is to come that belongs to what was asked for. Who says so calls `pass_on` then.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._watching: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        # What the journal does not know of yet, None for what is to be removed; and how many changes it does know of.
        self._staged: dict[tuple[str, str], bytes | None] = {}
        self._passed = 0
        self._is_due = False
        self.held: Callable[[], bool] = lambda: False
        self.asked = 0
        self.safe = 0
        self.in_use = False

    def put(self, kind: str, key: str, body: bytes) -> None:
        """Keep an entry, in place of one of the same kind and key."""
        key.encode()  # what is no UTF-8 is refused to who asks
        self._ask(kind, key, body)

    def remove(self, kind: str, key: str) -> None:
        """Forget an entry; harmless if there is none. One that was never written costs nothing."""
        self._ask(kind, key, None)

    async def entries(self, kind: str) -> list[tuple[str, bytes]]:
        """All entries of a kind with their keys, by ascending key, with what was asked for before."""
        self.pass_on()
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

    def pass_on(self) -> None:
        """Let everything that was asked for so far be written, all of it or nothing."""
        if not self._staged:
            return
        staged, self._staged = self._staged, {}
        for (kind, key), body in staged.items():
            if body is None:
                self._journal.remove(kind, key)
            else:
                self._journal.put(kind, key, body)
        self._passed = self.asked
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    def _ask(self, kind: str, key: str, body: bytes | None) -> None:
        self._staged[kind, key] = body
        self.asked += 1
        self.in_use = True
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._end_of_turn)

    def _end_of_turn(self) -> None:
        self._is_due = False
        if not self.held():
            self.pass_on()

    async def _watch(self) -> None:
        """Follow the journal until it has written everything that it knows of."""
        try:
            while self.safe < self._passed:
                upto = self._passed
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
