"""What becomes of something that several have asked for together."""

import asyncio
from collections.abc import Generator
from typing import Any

from hubwire.model.errors import NotStored

__all__ = ["Outcome"]


class Outcome:
    """
    Whether changes that are written together are stored. To be awaited by all who asked for one, or by nobody.

    Attributes:
        why: they are not; None if they are, or nothing is known yet.
    """

    __slots__ = ("_is_over", "_waiters", "why")

    def __init__(self, why: str | None = None, *, is_over: bool = False) -> None:
        self.why = why
        self._is_over = is_over
        self._waiters: list[asyncio.Future[None]] = []

    def __await__(self) -> Generator[Any, None, None]:
        if not self._is_over:
            # A future for each who waits: one for all of them would be cancelled together with any of them.
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            yield from waiter
        if self.why is not None:
            raise NotStored(self.why)

    def settle(self, why: str | None) -> None:
        """Tell those who wait: None if all of it is stored."""
        self._is_over = True
        self.why = why or self.why
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
