"""Something that is done again and again."""

import asyncio
from collections.abc import Callable

__all__ = ["Every"]


class Every:
    """Calls something again and again, first when the time is over once."""

    def __init__(self, seconds: float, action: Callable[[], object]) -> None:
        self._seconds = seconds
        self._action = action
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self.now)

    def now(self) -> None:
        """Call it now, and wait from here on for the next time."""
        self._timer.cancel()
        self._timer = self._loop.call_later(self._seconds, self.now)
        self._action()

    def cancel(self) -> None:
        self._timer.cancel()
