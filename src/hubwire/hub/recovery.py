"""Connections that lost their socket and may come back, each until its deadline."""

from collections import OrderedDict

from hubwire.hub.connection import Connection

__all__ = ["Waiting"]


class Waiting:
    """
    Dropped reliable connections in the order of their deadlines.

    Args:
        period_s: how long each may wait. The client spec demands at least 30 s; clients try for 30 s.
    """

    __slots__ = ("_deadlines", "period_s")

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        # The period is the same for all, so the order of insertion is that of time. Not a plain dict, which is slow to
        # find its first entry once many were taken from its front.
        self._deadlines: OrderedDict[Connection, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._deadlines)

    def hold(self, connection: Connection, now: float) -> None:
        """Begin to wait, at monotonic second `now`."""
        self._deadlines.pop(connection, None)
        self._deadlines[connection] = now + self.period_s

    def release(self, connection: Connection) -> bool:
        """It came back or was ended. False if it was not waiting."""
        return self._deadlines.pop(connection, None) is not None

    def extend(self, seconds: float) -> None:
        """Let all wait longer: nobody could come back for so long."""
        for connection in self._deadlines:
            self._deadlines[connection] += seconds

    def next_deadline(self) -> float | None:
        """When the first wait is over; None if nobody waits."""
        return next(iter(self._deadlines.values()), None)

    def expired(self, now: float, limit: int) -> list[Connection]:
        """Take out those whose time is over, `limit` at most."""
        over: list[Connection] = []
        for connection, deadline in self._deadlines.items():
            if deadline > now or len(over) == limit:
                break
            over.append(connection)
        for connection in over:
            del self._deadlines[connection]
        return over
