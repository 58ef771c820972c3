import asyncio
import gc
import tracemalloc

import pytest

from hubwire.adapters.bus_memory import MemoryBus, MemoryExchange
from hubwire.model.commands import Answer, Command, Exists, Query, Send
from hubwire.model.messages import Data, FromServer
from hubwire.model.names import HubKey
from hubwire.model.targets import Target, to_group, to_user

HUB = HubKey("default", "chat")
GROUP = to_group(HUB, "g")


class Node:
    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.heard: list[Command] = []
        bus.attach(self)

    def receive(self, topic: Target, command: Command) -> None:
        self.heard.append(command)

    async def answer(self, topic: Target, query: Query) -> Answer:
        return Answer(count=1)


def send(text: str) -> Send:
    return Send(GROUP, FromServer(Data("text", text.encode())))


async def test_value_is_passed_on_at_once_and_as_it_is() -> None:
    exchange = MemoryExchange()
    a, b = Node(exchange.bus()), Node(exchange.bus())
    a.bus.subscribe(GROUP)
    b.bus.subscribe(GROUP)
    command = send("1")

    a.bus.publish(GROUP, command)

    assert a.heard[0] is command
    assert b.heard[0] is command


async def test_exchanges_do_not_hear_one_another() -> None:
    a, b = Node(MemoryExchange().bus()), Node(MemoryExchange().bus())
    a.bus.subscribe(GROUP)
    b.bus.subscribe(GROUP)

    a.bus.publish(GROUP, send("1"))

    assert (len(a.heard), len(b.heard)) == (1, 0)


async def test_node_that_another_takes_off_during_a_delivery_hears_nothing_more() -> None:
    class Remover(Node):
        def receive(self, topic: Target, command: Command) -> None:
            super().receive(topic, command)
            b.bus.unsubscribe(topic)

    exchange = MemoryExchange()
    a, b, c = Remover(exchange.bus()), Node(exchange.bus()), Node(exchange.bus())
    for node in (a, b, c):
        node.bus.subscribe(GROUP)

    c.bus.publish(GROUP, send("1"))

    assert (len(a.heard), len(b.heard), len(c.heard)) == (1, 0, 1)


async def test_fault_of_a_receiver_reaches_the_publisher_and_the_bus_goes_on() -> None:
    class Faulty(Node):
        def receive(self, topic: Target, command: Command) -> None:
            super().receive(topic, command)
            if len(self.heard) == 1:
                self.bus.publish(topic, send("left behind"))
                raise ZeroDivisionError

    a = Faulty(MemoryExchange().bus())
    a.bus.subscribe(GROUP)

    with pytest.raises(ZeroDivisionError):
        a.bus.publish(GROUP, send("1"))
    a.bus.publish(GROUP, send("2"))

    assert a.heard == [send("1"), send("2")]


@pytest.mark.parametrize("want", ["first", "all"])
async def test_fault_of_an_answer_reaches_the_asker(want: str) -> None:
    class Faulty(Node):
        async def answer(self, topic: Target, query: Query) -> Answer:
            raise ZeroDivisionError

    a = Faulty(MemoryExchange().bus())
    a.bus.subscribe(GROUP)

    with pytest.raises(ZeroDivisionError):
        await a.bus.ask(GROUP, Exists(GROUP), "first" if want == "first" else "all", 60)


async def test_bus_serves_one_node() -> None:
    bus = MemoryExchange().bus()
    Node(bus)

    with pytest.raises(AssertionError):
        Node(bus)


async def test_bus_without_a_node_is_not_used() -> None:
    bus = MemoryExchange().bus()
    bus.subscribe(GROUP)

    with pytest.raises(AssertionError):
        bus.publish(GROUP, send("1"))


async def test_ten_thousand_topics_of_a_lone_node_cost_their_dictionary_entries_only() -> None:
    """Three topics for each client are nothing to worry about. A set or a tuple for each would be seen here."""
    bus = MemoryExchange().bus()
    Node(bus)
    topics = [to_user(HUB, f"user{number}") for number in range(10_000)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for topic in topics:
            bus.subscribe(topic)
        after, _ = tracemalloc.get_traced_memory()
        for topic in topics:
            bus.unsubscribe(topic)
    finally:
        tracemalloc.stop()

    assert (after - before) / len(topics) < 45


async def test_topics_that_went_back_to_one_node_are_as_small_again() -> None:
    exchange = MemoryExchange()
    a, b = Node(exchange.bus()), Node(exchange.bus())
    topics = [to_user(HUB, f"user{number}") for number in range(1000)]
    for topic in topics:
        a.bus.subscribe(topic)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for topic in topics:
            b.bus.subscribe(topic)
        for topic in topics:
            b.bus.unsubscribe(topic)
        gc.collect()  # the interpreter keeps freed tuples for later use
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (after - before) / len(topics) < 10


async def test_nothing_is_left_of_questions_that_were_answered() -> None:
    exchange = MemoryExchange()
    a = Node(exchange.bus())
    a.bus.subscribe(GROUP)

    assert await a.bus.ask(GROUP, Exists(GROUP), "first", 60) == [Answer(count=1)]
    await asyncio.sleep(0)

    assert not exchange._answering
