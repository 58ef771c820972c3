"""
The bus between nodes of one process: values are passed on as they are, at once and in order.

A single server has one node on it; tests join several. It keeps to what a bus between machines can promise, so that
nothing comes to depend on more: a question that was asked is carried out even if the asker has gone.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Literal

from hubwire.model.commands import Answer, Command, Query
from hubwire.model.names import HubKey
from hubwire.model.ports import BusReceiver
from hubwire.model.targets import Target

__all__ = ["MemoryBus", "MemoryExchange"]


class MemoryExchange:
    """What the nodes of one process share: who listens to which topic."""

    __slots__ = ("_answering", "_delivering", "_of_groups", "_topics", "_waiting")

    def __init__(self) -> None:
        # Tuples, so that a delivery goes over what was there when it began. There are several topics for each client
        # and nearly always one node to listen, so that all topics of a lone node hold the same tuple.
        self._topics: dict[Target, tuple[MemoryBus, ...]] = {}
        # Of all groups of a hub: looked at for each command to a group, so it is empty while nobody listens so.
        self._of_groups: dict[HubKey, tuple[MemoryBus, ...]] = {}
        self._waiting: deque[tuple[Target, Command]] = deque()
        self._delivering = False
        self._answering: set[asyncio.Task[Answer]] = set()

    def bus(self) -> "MemoryBus":
        """One node's end."""
        return MemoryBus(self)

    def _subscribe(self, topic: Target, bus: "MemoryBus") -> None:
        there = self._topics.get(topic)
        if there is None:
            there = bus.alone
        elif bus not in there:
            there = (*there, bus)
        self._topics[topic] = there
        if topic.kind == "groups":
            self._of_groups[topic.hub] = there

    def _unsubscribe(self, topic: Target, bus: "MemoryBus") -> None:
        there = self._topics.get(topic, ())
        if bus not in there:
            return
        left = tuple(other for other in there if other is not bus)
        if left:
            self._topics[topic] = left if len(left) > 1 else left[0].alone
        else:
            del self._topics[topic]
        if topic.kind == "groups":
            if left:
                self._of_groups[topic.hub] = self._topics[topic]
            else:
                del self._of_groups[topic.hub]

    def _publish(self, topic: Target, command: Command) -> None:
        # A receiver may publish while it receives. Delivered on the spot, that would overtake the first command on
        # its way to the other nodes, so it waits for its turn.
        if self._delivering:
            self._waiting.append((topic, command))
            return
        self._delivering = True
        try:
            self._deliver(topic, command)
            while self._waiting:
                self._deliver(*self._waiting.popleft())
        finally:
            self._delivering = False
            self._waiting.clear()

    def _deliver(self, topic: Target, command: Command) -> None:
        listening = self._listening(topic)
        if len(listening) == 1:
            listening[0].receiver.receive(topic, command)
            return
        for bus in listening:
            now = self._listening(topic)
            if now is listening or bus in now:
                bus.receiver.receive(topic, command)

    def _listening(self, topic: Target) -> "tuple[MemoryBus, ...]":
        listening = self._topics.get(topic, ())
        if not self._of_groups or topic.kind != "group":
            return listening
        more = self._of_groups.get(topic.hub, ())
        if more is listening or not more:
            return listening
        return (*listening, *[bus for bus in more if bus not in listening]) if listening else more

    async def _ask(self, topic: Target, query: Query, want: Literal["first", "all"], timeout_s: float) -> list[Answer]:
        # Not cancelled when the asker leaves or time is up: half of a command with an answer is worse than all of it.
        asked = [asyncio.create_task(bus.receiver.answer(topic, query)) for bus in self._topics.get(topic, ())]
        self._answering.update(asked)
        for task in asked:
            task.add_done_callback(self._answering.discard)
        if want == "all":
            await _wait(asked, timeout_s)
        else:
            await _wait_for_yes(asked, timeout_s)
        return [task.result() for task in asked if task.done()]


async def _wait(asked: Sequence[asyncio.Task[Answer]], timeout_s: float) -> None:
    if asked:
        await asyncio.wait(asked, timeout=timeout_s)


async def _wait_for_yes(asked: Sequence[asyncio.Task[Answer]], timeout_s: float) -> None:
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    left = set(asked)
    while left:
        done, left = await asyncio.wait(left, timeout=deadline - clock(), return_when=asyncio.FIRST_COMPLETED)
        if not done or any(task.result().count > 0 for task in done):
            return


class MemoryBus:
    """One node's end of a `MemoryExchange`."""

    __slots__ = ("_exchange", "_receiver", "alone")

    def __init__(self, exchange: MemoryExchange) -> None:
        self._exchange = exchange
        self._receiver: BusReceiver | None = None
        # Of any length for the type checker: a compiled pair would be made anew for each topic.
        self.alone: tuple[MemoryBus, ...] = (self,)

    @property
    def receiver(self) -> BusReceiver:
        """The node that this bus serves."""
        assert self._receiver is not None, "a bus is attached before it is used"
        return self._receiver

    def attach(self, receiver: BusReceiver) -> None:
        assert self._receiver is None, "a bus serves one node"
        self._receiver = receiver

    def subscribe(self, topic: Target) -> None:
        self._exchange._subscribe(topic, self)

    def unsubscribe(self, topic: Target) -> None:
        self._exchange._unsubscribe(topic, self)

    def publish(self, topic: Target, command: Command) -> None:
        self._exchange._publish(topic, command)

    async def ask(self, topic: Target, query: Query, want: Literal["first", "all"], timeout_s: float) -> list[Answer]:
        return await self._exchange._ask(topic, query, want, timeout_s)
