"""
How many calls of one event handler there may be at once, and how many events may wait for that. A handler that is slow
or dead holds up its own clients only. Pure but for the waiting.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from hubwire.model.errors import EventUndelivered
from hubwire.model.telemetry import HandlerCounters

__all__ = ["Lane", "LaneFull"]


class LaneFull(EventUndelivered):
    """As many events wait for a handler as may."""


class Lane:
    """
    The calls of one handler.

    Args:
        in_flight: calls at once.
        waiting: events that may be under way besides these.
        counters: for the metrics.
    """

    def __init__(self, in_flight: int, waiting: int, counters: HandlerCounters) -> None:
        self._free = in_flight
        self._most = in_flight + waiting
        self._admitted = 0
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._patient: deque[asyncio.Future[None]] = deque()
        self.counters = counters

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """
        One event that somebody waits for, or could do without, from its beginning to its end.

        Raises:
            LaneFull: too many are under way.
        """
        if self._admitted >= self._most:
            raise LaneFull("Too many events wait for this handler; it is too slow, or handler_waiting too low.")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    @asynccontextmanager
    async def call(self, urgent: bool) -> AsyncIterator[None]:
        """
        One call, when it is its turn.

        Args:
            urgent: a client waits for it; it goes before those for which nobody does.
        """
        await self._enter(self._urgent if urgent else self._patient)
        self.counters.in_flight += 1
        try:
            yield
        finally:
            self.counters.in_flight -= 1
            self._leave()

    async def _enter(self, queue: deque["asyncio.Future[None]"]) -> None:
        if self._free > 0:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self.counters.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # it was given its turn in the moment in which it gave up
            elif turn in queue:  # else it was passed over, since whoever left before it knew already
                queue.remove(turn)
            raise
        finally:
            self.counters.waiting -= 1

    def _leave(self) -> None:
        for queue in (self._urgent, self._patient):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1
