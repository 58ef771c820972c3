"""
How many calls of one event handler there may be at once, and how many events may wait for that. A handler that is slow
or dead holds up its own clients only. Pure but for the waiting.
"""

import asyncio
from collections import deque

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
        self._admission = _Admission(in_flight + waiting)
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._patient: deque[asyncio.Future[None]] = deque()
        self.counters = counters

    def admitted(self) -> "_Admission":
        """
        One event that somebody waits for, or could do without, from its beginning to its end; for `with`.

        Raises:
            LaneFull: too many are under way.
        """
        return self._admission

    def call(self, urgent: bool) -> "_Call":
        """
        One call, when it is its turn; for `async with`.

        Args:
            urgent: a client waits for it; it goes before those for which nobody does.
        """
        return _Call(self, self._urgent if urgent else self._patient)

    async def _enter(self, queue: deque["asyncio.Future[None]"]) -> None:
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(queue)
        self.counters.in_flight += 1

    def _exit(self) -> None:
        self.counters.in_flight -= 1
        self._leave()

    async def _wait(self, queue: deque["asyncio.Future[None]"]) -> None:
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


class _Admission:
    """See `Lane.admitted`. One for all events, and no generator for each."""

    __slots__ = ("_count", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0

    def __enter__(self) -> None:
        if self._count >= self._most:
            raise LaneFull("Too many events wait for this handler; it is too slow, or handler_waiting too low.")
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1


class _Call:
    """See `Lane.call`."""

    __slots__ = ("_lane", "_queue")

    def __init__(self, lane: Lane, queue: deque["asyncio.Future[None]"]) -> None:
        self._lane = lane
        self._queue = queue

    async def __aenter__(self) -> None:
        await self._lane._enter(self._queue)

    async def __aexit__(self, *_: object) -> None:
        self._lane._exit()
