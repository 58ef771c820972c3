"""Changes of stored state, one after another."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["Serial"]

_T = TypeVar("_T")


class Serial:
    """Each change begins from what the one before it left, and is carried to its end whoever gives up waiting."""

    def __init__(self) -> None:
        self._changing = asyncio.Lock()

    async def run(self, change: Coroutine[Any, Any, _T]) -> _T:
        """The result of `change`, once it is its turn and it is done."""

        async def alone() -> _T:
            async with self._changing:
                return await change

        # A caller that gives up between the commit and the line after it would leave memory behind the store: a key
        # that was replaced would go on being good.
        return await asyncio.shield(alone())
