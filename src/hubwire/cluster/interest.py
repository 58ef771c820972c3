"""Which topics this node listens to: those that some connection here belongs to, and no others."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType

from hubwire.model.ports import Bus
from hubwire.model.targets import Target

__all__ = ["Interest"]

_SLICE = 200


class Interest:
    """
    Subscribes before somebody belongs to a topic, and unsubscribes some time after the last one left.

    A bus inside this process never waits, and then nothing here does: no task is made for a client that comes or goes.

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
        self._tidying = False
        self._janitor: asyncio.Task[None] | None = None

    def during(self, topics: Sequence[Target], act: Callable[[], bool]) -> Awaitable[None] | None:
        """
        Do `act` while all `topics` are subscribed to.

        Args:
            act: adds a connection to all of them; false if there was no reason to any more.

        Returns:
            None when that is done; else to be awaited.
        """
        done = 0
        waiting = None
        try:
            # Of more than a few the rest comes in later turns.
            for topic in topics[:_SLICE]:
                done += 1
                waiting = self._subscribe(topic)
                if waiting is not None:
                    break
            if waiting is None and done == len(topics):
                # Nobody had a turn since the first of them, so none had to be marked as opening.
                if not act():
                    self._left_by_nobody(topics)
                return None
        except BaseException:
            self._left_by_nobody(topics[:done])
            raise
        self._open(topics)
        return self._during(topics, act, waiting, topics[done:])

    def hold(self, topics: Sequence[Target]) -> "_Hold":
        """A context in which all `topics` are subscribed to, for what takes more than one turn."""
        return _Hold(self, topics)

    def left(self, topics: Iterable[Target]) -> None:
        """Nobody here belongs to these any more. They are given up in the background."""
        self._idle.update(dict.fromkeys(topics))
        if self._idle and not self._tidying:
            self._tidying = True
            asyncio.get_running_loop().call_soon(self._give_up)

    async def acquire(self, topics: Sequence[Target]) -> None:
        self._open(topics)
        await self._subscribe_all(topics)

    def release(self, topics: Sequence[Target]) -> None:
        for topic in topics:
            left = self._opening[topic] - 1
            if left:
                self._opening[topic] = left
            else:
                del self._opening[topic]
        self._left_by_nobody([topic for topic in topics if topic not in self._opening])

    def _left_by_nobody(self, topics: Iterable[Target]) -> None:
        """These were subscribed to, and perhaps nobody came to belong to them."""
        self.left([topic for topic in topics if not self._wanted(topic)])

    def _open(self, topics: Sequence[Target]) -> None:
        for topic in topics:
            self._opening[topic] = self._opening.get(topic, 0) + 1

    async def _during(
        self,
        topics: Sequence[Target],
        act: Callable[[], bool],
        begun: Awaitable[None] | None,
        rest: Sequence[Target],
    ) -> None:
        """
        Args:
            topics: all of them, marked as opening already.
            begun: a subscription that is under way.
            rest: those that are not begun.
        """
        try:
            if begun is not None:
                await begun
            await self._subscribe_all(rest)
            act()
        finally:
            self.release(topics)

    async def _subscribe_all(self, topics: Sequence[Target]) -> None:
        for position, topic in enumerate(topics, start=1):
            if position % _SLICE == 0:
                await asyncio.sleep(0)
            waiting = self._subscribe(topic)
            if waiting is not None:
                await waiting

    def _subscribe(self, topic: Target) -> Awaitable[None] | None:
        if self._leaving is not None and self._leaving[0] == topic:
            return self._subscribe_again(topic)
        return None if self._wanted(topic) else self._bus.subscribe(topic)

    async def _subscribe_again(self, topic: Target) -> None:
        # Only while its unsubscription is under way: a subscription that it overtakes would be lost.
        while self._leaving is not None and self._leaving[0] == topic:
            # Shielded: one of several who wait may be cancelled, which is not the others' affair.
            await asyncio.shield(self._leaving[1])
        waiting = None if self._wanted(topic) else self._bus.subscribe(topic)
        if waiting is not None:
            await waiting

    def _give_up(self) -> None:
        """Some at a time: thousands may leave at once, and others want their turn."""
        loop = asyncio.get_running_loop()
        waiting = None
        try:
            for _ in range(min(_SLICE, len(self._idle))):
                # The newest: a dict that is emptied from its front looks at all its old places again each time.
                topic, _nothing = self._idle.popitem()
                if topic not in self._opening and not self._wanted(topic):
                    waiting = self._bus.unsubscribe(topic)
                    if waiting is not None:
                        self._leaving = (topic, loop.create_future())
                        break
        finally:
            # Behind a fault too: one topic must not keep all the others.
            if waiting is not None:
                self._janitor = loop.create_task(self._leave(waiting))
            elif self._idle:
                loop.call_soon(self._give_up)
            else:
                self._tidying = False

    async def _leave(self, waiting: Awaitable[None]) -> None:
        assert self._leaving is not None
        try:
            await waiting
        finally:
            _, gone = self._leaving
            self._leaving = None
            self._janitor = None
            gone.set_result(None)
            self._give_up()


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
