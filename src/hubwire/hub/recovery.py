"""Connections that lost their socket and may come back, each until its deadline."""

import math
from collections import OrderedDict

from hubwire.hub.connection import Connection

__all__ = ["Waiting"]


class Waiting:
    """
    Dropped connections that may come back.

    Args:
        period_s: how long each may wait whose session does not say. The client spec demands at least 30 s; clients try
            for 30 s.
    """

    __slots__ = ("_by_period", "_periods", "period_s")

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        # There are few periods, and among those who wait equally long the order of insertion is that of time. Not plain
        # dicts, which are slow to find their first entry once many were taken from their front.
        self._by_period: dict[float, OrderedDict[Connection, float]] = {}
        self._periods: dict[Connection, float] = {}

    def __len__(self) -> int:
        return len(self._periods)

    def hold(self, connection: Connection, now: float) -> None:
        """
        Begin to wait, at monotonic second `now`. That of those whose sessions wait for ever has no deadline. Of those
        who wait equally long, who began earlier is told of earlier.
        """
        self.release(connection)
        period_s = connection.session.retention_s
        if period_s is None:
            period_s = self.period_s
        self._periods[connection] = period_s
        deadlines = self._by_period.get(period_s)
        if deadlines is None:
            deadlines = self._by_period[period_s] = OrderedDict()
        deadlines[connection] = now + period_s

    def release(self, connection: Connection) -> bool:
        """It came back or was ended. False if it was not waiting."""
        period_s = self._periods.pop(connection, None)
        if period_s is None:
            return False
        deadlines = self._by_period[period_s]
        del deadlines[connection]
        if not deadlines:
            del self._by_period[period_s]
        return True

    def is_over(self, connection: Connection, now: float) -> bool:
        """Has it waited for as long as it may."""
        period_s = self._periods.get(connection)
        return period_s is not None and self._by_period[period_s][connection] <= now

    def extend(self, seconds: float) -> None:
        """Let all wait longer: nobody could come back for so long."""
        for deadlines in self._by_period.values():
            for connection in deadlines:
                deadlines[connection] += seconds

    def next_deadline(self) -> float | None:
        """When the first wait is over; None if nobody waits, or for ever only."""
        first = min([next(iter(deadlines.values())) for deadlines in self._by_period.values()], default=math.inf)
        return None if first == math.inf else first

    def expired(self, now: float, limit: int) -> list[Connection]:
        """Take out those whose time is over, `limit` at most."""
        over: list[Connection] = []
        for deadlines in self._by_period.values():
            for connection, deadline in deadlines.items():
                if deadline > now or len(over) == limit:
                    break
                over.append(connection)
        for connection in over:
            self.release(connection)
        return over
