"""What is still to be told: notifications, those of one connection in their order, and what the end must wait for."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from hubwire.upstream.sources import EventSource

__all__ = ["Backlog"]

_log: Final = logging.getLogger("hubwire.upstream")

_T = TypeVar("_T")

_MOST: Final = 100_000
"""Notifications that wait for all handlers together."""


class Backlog:
    """That of one node."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._notifications = 0
        self._working: dict[asyncio.Task[None], str] = {}

    def add(self, source: EventSource, tell: Callable[[], Awaitable[None]]) -> None:
        """One notification, to be told once those of its connection before it are."""
        if self._notifications >= _MOST:
            _log.error("a notification of connection %s is dropped: too many wait", source.connection_id)
            return
        self._notifications += 1
        source.waiting.append(tell)
        if len(source.waiting) == 1:
            task = self.start(self._work(source))
            self._working[task] = source.hub.resource
            task.add_done_callback(self._working.pop)

    async def _work(self, source: EventSource) -> None:
        """All notifications of one connection, in order."""
        waiting = source.waiting
        while waiting:
            try:
                await waiting[0]()
            finally:
                del waiting[0]
                self._notifications -= 1

    def start(self, work: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
        """Something that is to come to its end, whoever waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self.watch(task)
        return task

    def watch(self, task: "asyncio.Task[Any]") -> None:
        """Wait for this, too, before all is told."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self, resource: str, seconds: float) -> None:
        """Wait for what is still to be told of connections of a resource."""
        working = [task for task, whose in self._working.items() if whose == resource]
        if working:
            await asyncio.wait(working, timeout=seconds)

    async def drain(self, seconds: float) -> int:
        """
        Wait for all.

        Returns:
            how much was given up.
        """
        end = asyncio.get_running_loop().time() + seconds
        while self._tasks:
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await asyncio.wait(set(self._tasks), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        late = set(self._tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)
