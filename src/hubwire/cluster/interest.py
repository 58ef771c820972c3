"""Which topics this node listens to: those that some connection here belongs to, and no others."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from hubwire.model.commands import Target
from hubwire.model.ports import Bus

__all__ = ["Interest"]

_SLICE = 200


class Interest:
    """
    Subscribes before somebody belongs to a topic, and unsubscribes some time after the last one left.

    Args:
        bus: where the topics are.
        wanted: does a connection of this node belong to the topic now.
    """

    def __init__(self, bus: Bus, wanted: Callable[[Target], bool]) -> None:
        self._bus = bus
        self._wanted = wanted
        self._opening: dict[Target, int] = {}
        self._idle: dict[Target, None] = {}
        self._leaving: tuple[Target, asyncio.Future[None]] | None = None
        self._janitor: asyncio.Task[None] | None = None

    def hold(self, topics: Sequence[Target]) -> "_Hold":
        """
        A context in which all `topics` are subscribed to. Whoever holds them adds its connection to them inside.
        """
        return _Hold(self, topics)

    def left(self, topics: Iterable[Target]) -> None:
        """Nobody here belongs to these any more. They are given up in the background."""
        self._idle.update(dict.fromkeys(topics))
        if self._idle and self._janitor is None:
            self._janitor = asyncio.get_running_loop().create_task(self._give_up())

    async def acquire(self, topics: Sequence[Target]) -> None:
        for topic in topics:
            self._opening[topic] = self._opening.get(topic, 0) + 1
        for position, topic in enumerate(topics, start=1):
            if position % _SLICE == 0:
                await asyncio.sleep(0)
            # Only while its unsubscription is under way: a subscription that it overtakes would be lost.
            while self._leaving is not None and self._leaving[0] == topic:
                # Shielded: one of several who wait may be cancelled, which is not the others' affair.
                await asyncio.shield(self._leaving[1])
            if not self._wanted(topic):
                await self._bus.subscribe(topic)

    def release(self, topics: Sequence[Target]) -> None:
        for topic in topics:
            left = self._opening[topic] - 1
            if left:
                self._opening[topic] = left
            else:
                del self._opening[topic]
        self.left([topic for topic in topics if topic not in self._opening and not self._wanted(topic)])

    async def _give_up(self) -> None:
        try:
            done = 0
            while self._idle:
                # The newest: a dict that is emptied from its front looks at all its old places again each time.
                topic, _ = self._idle.popitem()
                if topic not in self._opening and not self._wanted(topic):
                    await self._unsubscribe(topic)
                done += 1
                if done % _SLICE == 0:
                    # Thousands may leave at once, and others want their turn.
                    await asyncio.sleep(0)
        finally:
            self._janitor = None

    async def _unsubscribe(self, topic: Target) -> None:
        gone = asyncio.get_running_loop().create_future()
        self._leaving = (topic, gone)
        try:
            await self._bus.unsubscribe(topic)
        finally:
            self._leaving = None
            gone.set_result(None)


class _Hold:
    __slots__ = ("_interest", "_topics")

    def __init__(self, interest: Interest, topics: Sequence[Target]) -> None:
        self._interest = interest
        self._topics = topics

    async def __aenter__(self) -> None:
        try:
            await self._interest.acquire(self._topics)
        except BaseException:
            self._interest.release(self._topics)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interest.release(self._topics)
