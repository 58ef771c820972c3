"""Listening to a topic exactly while somebody here belongs to it."""

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import pytest

from doubles import HUB, done, settle
from hubwire.cluster.interest import Interest
from hubwire.model.commands import Answer, Command, Query
from hubwire.model.ports import BusReceiver
from hubwire.model.targets import Target, to_group

G, H, K = (to_group(HUB, name) for name in "ghk")


class GatedBus:
    """
    A bus whose answers come when the test says so.

    Attributes:
        calls: what was begun, in order: "+g" subscribes to group g, "-g" unsubscribes.
        there: topics for which a publish would be heard for certain.
        gate: awaited in the middle of a call; None does it at once.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.there: set[Target] = set()
        self.gate: Callable[[str], asyncio.Future[None] | None] = lambda call: None

    def attach(self, receiver: BusReceiver) -> None:
        raise NotImplementedError

    def subscribe(self, topic: Target) -> Awaitable[None] | None:
        return self._call(f"+{topic.name}", lambda: self.there.add(topic))

    def unsubscribe(self, topic: Target) -> Awaitable[None] | None:
        self.there.discard(topic)
        # A subscription that this one overtakes is lost.
        return self._call(f"-{topic.name}", lambda: self.there.discard(topic))

    def _call(self, name: str, act: Callable[[], None]) -> Awaitable[None] | None:
        self.calls.append(name)
        waiting = self.gate(name)
        if waiting is not None:
            return self._after(waiting, act)
        act()
        return None

    @staticmethod
    async def _after(waiting: asyncio.Future[None], act: Callable[[], None]) -> None:
        await waiting
        act()

    def publish(self, topic: Target, command: Command) -> None:
        raise NotImplementedError

    async def ask(self, topic: Target, query: Query, want: Literal["first", "all"], timeout_s: float) -> list[Answer]:
        raise NotImplementedError


class House:
    """An interest, and how many here belong to each topic."""

    def __init__(self) -> None:
        self.bus = GatedBus()
        self.members: Counter[Target] = Counter()
        self.interest = Interest(self.bus, lambda topic: self.members[topic] > 0)

    def begin_to_join(self, *topics: Target) -> Awaitable[None] | None:
        """In one turn, if the bus lets it."""

        def act() -> bool:
            self._add(topics)
            return True

        return self.interest.during(topics, act)

    async def join(self, *topics: Target) -> None:
        await done(self.begin_to_join(*topics))

    async def join_slowly(self, *topics: Target) -> None:
        """In several turns, whether or not the bus demands it."""
        async with self.interest.hold(topics):
            await asyncio.sleep(0)
            self._add(topics)

    def _add(self, topics: Sequence[Target]) -> None:
        for topic in topics:
            assert topic in self.bus.there, "nobody may belong to what is not heard"
            self.members[topic] += 1

    def leave(self, *topics: Target) -> None:
        self.members.subtract(topics)
        self.interest.left([topic for topic in topics if not self.members[topic]])

    def hold_up(self, call: str) -> asyncio.Future[None]:
        """Make the bus wait in this call until the future is done."""
        until: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.bus.gate = lambda began: until if began == call else None
        return until


async def test_topic_is_subscribed_before_anybody_belongs_to_it() -> None:
    house = House()
    until = house.hold_up("+g")
    joining = asyncio.create_task(house.join(G))
    await settle()
    assert house.members[G] == 0

    until.set_result(None)
    await joining

    assert house.members[G] == 1
    assert house.bus.calls == ["+g"]


async def test_nothing_waits_where_the_bus_does_not() -> None:
    house = House()

    assert house.begin_to_join(G, H) is None

    assert house.members == {G: 1, H: 1}


async def test_joins_of_thousands_of_topics_leave_turns_to_others() -> None:
    house = House()
    topics = [to_group(HUB, str(number)) for number in range(1000)]
    joining = asyncio.create_task(house.join(*topics))

    turns = 0
    while not joining.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns > 3
    assert house.bus.there == set(topics)


async def test_topic_is_given_up_when_there_is_no_reason_to_join_any_more() -> None:
    house = House()

    assert house.interest.during([G, H], lambda: False) is None
    await settle()

    assert house.bus.calls[:2] == ["+g", "+h"]
    assert house.bus.there == set()


async def test_topic_that_somebody_belongs_to_is_not_subscribed_again() -> None:
    house = House()
    await house.join(G)

    await house.join(G, H)

    assert house.bus.calls == ["+g", "+h"]


async def test_topic_is_given_up_when_the_last_one_left_and_not_before() -> None:
    house = House()
    await house.join(G)
    await house.join(G)

    house.leave(G)
    await settle()
    assert house.bus.calls == ["+g"]

    house.leave(G)
    await settle()
    assert house.bus.calls == ["+g", "-g"]
    assert house.bus.there == set()


async def test_topic_that_nobody_came_to_belong_to_is_given_up() -> None:
    house = House()

    async with house.interest.hold([G, H]):
        house.members[H] += 1
    await settle()

    assert house.bus.there == {H}


async def test_leaving_and_joining_at_once_keeps_the_subscription() -> None:
    house = House()
    await house.join(G)

    house.leave(G)
    await house.join(G)
    await settle()

    assert house.bus.there == {G}
    assert "-g" not in house.bus.calls


async def test_join_waits_for_an_unsubscription_that_is_under_way() -> None:
    """A subscription that it overtook would be lost, and the member would hear nothing."""
    house = House()
    await house.join(G)
    until = house.hold_up("-g")
    house.leave(G)
    await settle()

    joining = asyncio.create_task(house.join(G))
    await settle()
    assert house.bus.calls == ["+g", "-g"]

    until.set_result(None)
    await joining
    await settle()
    assert house.bus.calls == ["+g", "-g", "+g"]
    assert house.bus.there == {G}


async def test_join_of_another_topic_does_not_wait_for_an_unsubscription() -> None:
    house = House()
    await house.join(G)
    until = house.hold_up("-g")
    house.leave(G)
    await settle()

    await house.join(H)

    assert house.bus.there == {H}
    until.set_result(None)
    await settle()


async def test_last_member_leaving_while_another_is_on_its_way_in_gives_nothing_up() -> None:
    """The newcomer found the topic subscribed, and waits for another one."""
    house = House()
    await house.join(G)
    until = house.hold_up("+h")
    joining = asyncio.create_task(house.join(G, H))
    await settle()

    house.leave(G)
    await settle()
    until.set_result(None)
    await joining
    await settle()

    assert house.bus.there == {G, H}
    assert "-g" not in house.bus.calls


async def test_newcomer_that_fails_while_another_is_on_its_way_in_gives_nothing_up() -> None:
    house = House()
    until = house.hold_up("+h")
    joining = asyncio.create_task(house.join(G, H))
    await settle()

    with pytest.raises(ZeroDivisionError):
        async with house.interest.hold([G]):
            raise ZeroDivisionError
    await settle()
    until.set_result(None)
    await joining

    assert house.bus.there == {G, H}


async def test_failed_subscription_is_told_and_leaves_nothing_behind() -> None:
    house = House()
    house.hold_up("+h").set_exception(ConnectionError())

    with pytest.raises(ConnectionError):
        await house.join(G, H, K)
    await settle()

    assert house.bus.there == set()
    assert house.members.total() == 0
    house.bus.gate = lambda call: None
    await house.join(G, H, K)
    assert house.bus.there == {G, H, K}


async def test_newcomer_that_gives_up_waiting_leaves_nothing_behind() -> None:
    house = House()
    house.hold_up("+h")
    joining = asyncio.create_task(house.join(G, H))
    await settle()

    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    await settle()

    assert house.bus.there == set()


async def test_failed_unsubscription_keeps_nobody_from_coming_back() -> None:
    house = House()
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    await house.join(G)
    fault = ConnectionError()
    house.hold_up("-g").set_exception(fault)
    house.leave(G)
    await settle()
    gc.collect()
    assert told == [fault]

    house.bus.gate = lambda call: None
    await house.join(G)
    house.leave(G)
    await settle()

    assert house.bus.there == set()
    assert house.bus.calls[-1] == "-g"


async def test_others_have_their_turn_while_thousands_of_topics_are_given_up() -> None:
    house = House()
    topics = [to_group(HUB, str(number)) for number in range(1000)]
    await house.join(*topics)
    house.leave(*topics)

    turns = 0
    while house.bus.there:
        turns += 1
        await asyncio.sleep(0)

    assert turns > 3


class Worker:
    """Joins and leaves at random moments, and looks after each step whether it is heard."""

    def __init__(self, house: House, dice: random.Random) -> None:
        self.house = house
        self.dice = dice
        self.mine: set[Target] = set()

    async def run(self) -> None:
        for _ in range(40):
            topics = self.dice.sample([G, H, K], self.dice.randint(1, 3))
            new = [topic for topic in topics if topic not in self.mine]
            if new and self.dice.random() < 0.6:
                self.mine.update(new)
                await (self.house.join if self.dice.random() < 0.5 else self.house.join_slowly)(*new)
            elif self.mine:
                topic = self.dice.choice(sorted(self.mine))
                self.mine.remove(topic)
                self.house.leave(topic)
            self.check()
            await pause(self.dice.randint(0, 3))
            self.check()
        for topic in sorted(self.mine):
            self.house.leave(topic)
        self.mine.clear()

    def check(self) -> None:
        assert self.mine <= self.house.bus.there


async def pause(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(30))
async def test_members_are_heard_for_and_nobody_else_whatever_overlaps(seed: int) -> None:
    dice = random.Random(seed)
    house = House()

    def gate(call: str) -> asyncio.Future[None] | None:
        return asyncio.ensure_future(pause(dice.randint(0, 4))) if dice.random() < 0.7 else None

    house.bus.gate = gate
    workers: Sequence[Worker] = [Worker(house, dice) for _ in range(6)]

    await asyncio.gather(*(worker.run() for worker in workers))
    await settle()

    assert house.bus.there == set()
    assert house.members.total() == 0


async def test_one_of_several_who_wait_may_give_up_without_harm_to_the_others() -> None:
    wanted: set[Target] = set()
    bus = GatedBus()
    interest = Interest(bus, wanted.__contains__)
    async with interest.hold((G,)):
        pass
    gate = asyncio.get_running_loop().create_future()
    bus.gate = lambda call: gate if call == "-g" else None
    await settle()

    async def hold() -> None:
        async with interest.hold((G,)):
            wanted.add(G)

    impatient, patient = asyncio.ensure_future(hold()), asyncio.ensure_future(hold())
    await settle()
    impatient.cancel()
    await settle()
    gate.set_result(None)
    await patient
    await settle()

    assert impatient.cancelled()
    assert G in bus.there
