"""
Shared subscriptions: of each message one member, and which.

Source: OASIS MQTT 5.0, 4.8.2.
"""

from collections.abc import Collection
from heapq import heappop, heappush
from typing import Final

from hubwire.hub.connection import Connection

__all__ = ["Share"]

_AWAY: Final = 1 << 40
"""More than anybody may hold: who is there comes first."""


class Share:
    """
    Who shares a filter under one name.

    Those who are there go before those who are away, and of these who has least on its way: what it has not
    acknowledged, and what it was given in this turn. Between equals it goes round. Each member is looked at once in a
    turn, and none behind one who has nothing on its way: so not each message costs a look at all members.

    Attributes:
        names: what members call it, as `Audience` has it.
    """

    __slots__ = ("_first", "_looked", "_members", "_next", "_order", "_queue", "_steps", "_turn", "names")

    def __init__(self, name: str) -> None:
        self.names: tuple[str, ...] = (name,)
        self._members: dict[Connection, None] = {}
        self._order: list[Connection] = []
        self._turn = -1
        # Where this turn begins in the order, how many were looked at, and where the next one begins.
        self._first = self._looked = self._next = 0
        # Who was looked at: how much it has; when it was given something last, 0 for not in this turn; its distance
        # from where the turn began.
        self._queue: list[tuple[int, int, int]] = []
        self._steps = 0

    def __len__(self) -> int:
        return len(self._members)

    @property
    def members(self) -> Collection[Connection]:
        """A live view."""
        return self._members.keys()

    def add(self, connection: Connection) -> None:
        self._members[connection] = None
        self._turn = -1

    def remove(self, connection: Connection) -> None:
        del self._members[connection]
        self._turn = -1

    def choose(self, turn: int, left_out: Collection[str]) -> Connection | None:
        """
        Whom the next message is for; it counts as given to it.

        Args:
            turn: its number; in another one, all is looked at anew.
            left_out: ids of members whom it is not for.

        Returns:
            None if it is for nobody.
        """
        if turn != self._turn:
            self._begin(turn)
        passed: list[tuple[int, int, int]] = []
        chosen: tuple[int, int, int] | None = None
        while chosen is None and self._looked < len(self._order):
            seen = self._look()
            if left_out and self._at(seen[2]).id in left_out:
                passed.append(seen)
            elif seen[0]:
                heappush(self._queue, seen)
            else:
                chosen = seen
        while chosen is None and self._queue:
            seen = heappop(self._queue)
            if left_out and self._at(seen[2]).id in left_out:
                passed.append(seen)
            else:
                chosen = seen
        for seen in passed:
            heappush(self._queue, seen)
        if chosen is None:
            return None
        load, _, distance = chosen
        self._steps += 1
        heappush(self._queue, (load + 1, self._steps, distance))
        self._next = self._first + distance + 1
        return self._at(distance)

    def _at(self, distance: int) -> Connection:
        return self._order[(self._first + distance) % len(self._order)]

    def _begin(self, turn: int) -> None:
        if self._turn < 0:
            self._order = list(self._members)
        self._turn = turn
        self._first = self._next % len(self._order) if self._order else 0
        self._looked = 0
        self._queue = []
        self._steps = 0

    def _look(self) -> tuple[int, int, int]:
        distance = self._looked
        self._looked += 1
        one = self._at(distance)
        load = one.session.held()[0]
        return (load if one.sink is not None else load + _AWAY, 0, distance)
