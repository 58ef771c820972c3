"""
So many a turn: work that comes in crowds is done some at a time, so that nobody else waits for all of it.

Ten thousand clients that knock at once, or are gone at once, arrive in a handful of turns of the event loop. Done as
they come, that is a second of work in which no message moves.
"""

import asyncio
from collections import deque
from collections.abc import Callable

__all__ = ["Turnstile"]


class Turnstile:
    """
    Lets a number of pieces of work pass in each turn of the event loop; the others wait for later turns, in order.

    Args:
        per_turn: how many, at least 1. What others wait at most is this times the cost of one.
    """

    __slots__ = ("_left", "_open", "_per_turn", "_queue")

    def __init__(self, per_turn: int) -> None:
        self._per_turn = per_turn
        self._left = per_turn
        self._queue: deque[Callable[[], None]] = deque()
        self._open = False  # does the next turn know of us

    def enter(self, later: Callable[[], None]) -> bool:
        """
        May one more piece of work be done in this turn?

        Args:
            later: called in a later turn if not.
        """
        if not self._open:
            self._open = True
            asyncio.get_running_loop().call_soon(self._turn)
        if self._left and not self._queue:
            self._left -= 1
            return True
        self._queue.append(later)
        return False

    def _turn(self) -> None:
        queue = self._queue
        passing = min(self._per_turn, len(queue))
        self._left = self._per_turn - passing
        try:
            while passing:
                passing -= 1
                queue.popleft()()
        finally:
            # Behind a fault too: one piece of work must not keep all the others here.
            self._open = bool(queue) or self._left < self._per_turn
            if self._open:
                asyncio.get_running_loop().call_soon(self._turn)
