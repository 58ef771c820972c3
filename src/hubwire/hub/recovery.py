"""Connections that lost their socket and may come back, each until its deadline."""

import math
from heapq import heapify, heappop, heappush
from typing import Final

from hubwire.hub.connection import Connection

__all__ = ["Waiting"]

_FEW: Final = 64


class Waiting:
    """
    Dropped connections that may come back.

    Args:
        period_s: how long each may wait whose session does not say. The client spec demands at least 30 s; clients try
            for 30 s.
    """

    __slots__ = ("_begun", "_deadlines", "_first", "_waits", "period_s")

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        # Each wait has a number. The heap holds those that have ended too, until they come up or are too many; of these
        # nothing else is kept.
        self._deadlines: dict[Connection, tuple[float, int]] = {}
        self._waits: dict[int, Connection] = {}
        self._first: list[tuple[float, int]] = []
        self._begun = 0

    def __len__(self) -> int:
        return len(self._deadlines)

    def hold(self, connection: Connection, now: float) -> None:
        """Begin to wait, at monotonic second `now`. Whose session waits for ever has no deadline."""
        self.release(connection)
        period_s = connection.session.retention_s
        if period_s is None:
            period_s = self.period_s
        self._begun += 1
        deadline = now + period_s
        self._deadlines[connection] = deadline, self._begun
        self._waits[self._begun] = connection
        if deadline < math.inf:
            heappush(self._first, (deadline, self._begun))
            if len(self._first) > 2 * len(self._deadlines) + _FEW:
                self._sort()

    def _sort(self) -> None:
        """Make the heap anew, of those who wait."""
        self._first = [wait for wait in self._deadlines.values() if wait[0] < math.inf]
        heapify(self._first)

    def release(self, connection: Connection) -> bool:
        """It came back or was ended. False if it was not waiting."""
        wait = self._deadlines.pop(connection, None)
        if wait is None:
            return False
        del self._waits[wait[1]]
        return True

    def is_over(self, connection: Connection, now: float) -> bool:
        """Has it waited for as long as it may."""
        wait = self._deadlines.get(connection)
        return wait is not None and wait[0] <= now

    def extend(self, seconds: float) -> None:
        """Let all wait longer: nobody could come back for so long."""
        for connection, (deadline, begun) in self._deadlines.items():
            self._deadlines[connection] = deadline + seconds, begun
        self._sort()

    def next_deadline(self) -> float | None:
        """When the first wait is over; None if nobody waits, or for ever only."""
        first = self._first
        while first:
            deadline, begun = first[0]
            if begun in self._waits:
                return deadline
            heappop(first)
        return None

    def expired(self, now: float, limit: int) -> list[Connection]:
        """Take out those whose time is over, the first ones first, `limit` at most."""
        over: list[Connection] = []
        while len(over) < limit:
            deadline = self.next_deadline()
            if deadline is None or deadline > now:
                break
            connection = self._waits[heappop(self._first)[1]]
            self.release(connection)
            over.append(connection)
        return over
