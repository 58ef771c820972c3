"""
The contract of `model.ports.Bus`. A new adapter joins by an entry in `NETWORKS`.

A remote bus delivers later, so these tests wait for what must be heard, and tell "not heard" by something that was
published afterwards and was.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

import pytest

from doubles import done
from hubwire.adapters.bus_memory import MemoryExchange
from hubwire.model.commands import Answer, Command, Exists, Query, Send
from hubwire.model.messages import Data, GroupMessage
from hubwire.model.names import HubKey
from hubwire.model.ports import Bus
from hubwire.model.targets import Target, to_connection, to_group, to_groups, to_hub, to_user

HUB = HubKey("default", "chat")
GROUP = to_group(HUB, "g")
FENCE = to_group(HUB, "everybody listens here")
LONG_S = 60.0

Connect = Callable[[], Bus]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a bus does in its own time; a test that waits in vain fails."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  what is waited for sets no event
            await asyncio.sleep(0.001)


class Node:
    """
    A node that writes down what it hears.

    Attributes:
        heard: texts of the messages, in order.
        reply: this node's answer to anything; replace it to change the answer.
    """

    def __init__(self, bus: Bus, count: int = 0) -> None:
        self.bus = bus
        self.heard: list[str] = []
        self.topics: list[Target] = []
        self.asked: list[tuple[Target, Query]] = []
        self.count = count
        self.on_receive: Callable[[str], None] = lambda text: None
        self.reply: Callable[[], Awaitable[Answer]] = self._count
        bus.attach(self)

    async def _count(self) -> Answer:
        return Answer(count=self.count)

    def receive(self, topic: Target, command: Command) -> None:
        assert isinstance(command.message, GroupMessage)
        text = command.message.data.body.decode()
        self.heard.append(text)
        self.topics.append(topic)
        self.on_receive(text)

    async def answer(self, topic: Target, query: Query) -> Answer:
        self.asked.append((topic, query))
        return await self.reply()

    def say(self, text: str, topic: Target = GROUP) -> None:
        self.bus.publish(topic, Send(topic, GroupMessage("g", Data("text", text.encode()))))

    async def ask(self, want: Literal["first", "all"], timeout_s: float = LONG_S, topic: Target = GROUP) -> list[int]:
        answers = await self.bus.ask(topic, Exists(topic), want, timeout_s)
        return sorted(answer.count for answer in answers)

    async def hears(self, *texts: str) -> None:
        await until(lambda: len(self.heard) >= len(texts))
        assert self.heard == list(texts)


def memory() -> Connect:
    return MemoryExchange().bus


NETWORKS: dict[str, Callable[[], Connect]] = {"memory": memory}


@pytest.fixture(params=NETWORKS)
def connect(request: pytest.FixtureRequest) -> Connect:
    return NETWORKS[request.param]()


async def listeners(connect: Connect, count: int, topic: Target = GROUP) -> list[Node]:
    nodes = [Node(connect()) for _ in range(count)]
    for node in nodes:
        await done(node.bus.subscribe(topic))
        await done(node.bus.subscribe(FENCE))
    return nodes


# Publish


async def test_subscribed_nodes_hear_what_is_published_and_so_does_the_publisher(connect: Connect) -> None:
    a, b = await listeners(connect, 2)

    a.say("1")

    await a.hears("1")
    await b.hears("1")
    assert b.topics == [GROUP]


async def test_publisher_that_did_not_subscribe_hears_nothing(connect: Connect) -> None:
    (a,) = await listeners(connect, 1)
    b = Node(connect())
    await done(b.bus.subscribe(FENCE))

    b.say("1")
    b.say("fence", FENCE)

    await a.hears("1", "fence")
    await b.hears("fence")


async def test_message_to_a_topic_without_listeners_goes_nowhere(connect: Connect) -> None:
    (a,) = await listeners(connect, 1)

    a.say("1", to_group(HUB, "h"))
    a.say("fence", FENCE)

    await a.hears("fence")


@pytest.mark.parametrize(
    "other",
    [
        to_group(HUB, "G"),
        to_group(HubKey("default", "other"), "g"),
        to_group(HubKey("other", "chat"), "g"),
        to_user(HUB, "g"),
        to_connection(HUB, "g"),
        to_hub(HUB),
        to_groups(HUB),
        to_group(HUB, "g.x"),
        to_group(HUB, "*"),
        to_group(HUB, ">"),
    ],
)
async def test_topics_are_told_apart_by_every_part(connect: Connect, other: Target) -> None:
    (a,) = await listeners(connect, 1)

    a.say("1", other)
    a.say("fence", FENCE)

    await a.hears("fence")


@pytest.mark.parametrize("name", ["*", ">", "a.b", " ", "ü 漢字 😀", "x" * 1024, "\x00\n", '"/\\%'])
async def test_topic_may_have_any_name(connect: Connect, name: str) -> None:
    a, b = await listeners(connect, 2, to_group(HUB, name))

    a.say("1", to_group(HUB, name))

    await b.hears("1")
    assert b.topics == [to_group(HUB, name)]


async def test_one_senders_messages_keep_their_order(connect: Connect) -> None:
    a, b = await listeners(connect, 2)
    texts = [str(number) for number in range(500)]

    for text in texts:
        a.say(text)

    await a.hears(*texts)
    await b.hears(*texts)


async def test_command_arrives_whole(connect: Connect) -> None:
    class Keeper(Node):
        def receive(self, topic: Target, command: Command) -> None:
            commands.append(command)

    commands: list[Command] = []
    sent = Send(
        GROUP,
        GroupMessage("g", Data("binary", b"\x00\xff"), "alice", {"k": "v"}),
        excluded=("c1", "c2"),
        filter="userId eq 'a'",
        ttl_s=7,
    )
    keeper = Keeper(connect())
    await done(keeper.bus.subscribe(GROUP))

    keeper.bus.publish(GROUP, sent)

    await until(lambda: bool(commands))
    assert commands == [sent]


# Subscribe and unsubscribe


async def test_node_that_unsubscribed_hears_nothing_more(connect: Connect) -> None:
    a, b = await listeners(connect, 2)
    a.say("1")
    await b.hears("1")

    await done(b.bus.unsubscribe(GROUP))
    a.say("2")
    a.say("fence", FENCE)

    await a.hears("1", "2", "fence")
    await b.hears("1", "fence")


async def test_node_that_subscribed_again_hears_again(connect: Connect) -> None:
    a, b = await listeners(connect, 2)

    await done(b.bus.unsubscribe(GROUP))
    await done(b.bus.subscribe(GROUP))
    a.say("1")

    await b.hears("1")


async def test_subscribing_twice_is_hearing_once(connect: Connect) -> None:
    """And one unsubscribe ends it."""
    (a,) = await listeners(connect, 1)
    await done(a.bus.subscribe(GROUP))
    a.say("1")
    a.say("fence", FENCE)
    await a.hears("1", "fence")

    await done(a.bus.unsubscribe(GROUP))
    a.say("2")
    a.say("fence", FENCE)

    await a.hears("1", "fence", "fence")


async def test_unsubscribing_from_an_unknown_topic_is_harmless(connect: Connect) -> None:
    a, b = await listeners(connect, 2)

    await done(a.bus.unsubscribe(to_group(HUB, "h")))
    await done(Node(connect()).bus.unsubscribe(GROUP))
    a.say("1")

    await a.hears("1")
    await b.hears("1")


async def test_leaving_one_by_one_leaves_the_others_listening(connect: Connect) -> None:
    nodes = await listeners(connect, 4)
    outsider = Node(connect())
    left: list[Node] = []

    for node in nodes:
        outsider.say(str(len(left)))
        outsider.say("fence", FENCE)
        await until(lambda: all(other.heard.count("fence") == len(left) + 1 for other in nodes))
        await done(node.bus.unsubscribe(GROUP))
        left.append(node)

    heard = [[text for text in node.heard if text != "fence"] for node in nodes]
    assert heard == [["0"], ["0", "1"], ["0", "1", "2"], ["0", "1", "2", "3"]]


# All groups of a hub

ALL = to_groups(HUB)


async def test_who_subscribed_to_all_groups_hears_each_under_its_own_topic(connect: Connect) -> None:
    """Also of groups that nobody is in; not of other topics of the hub, nor of another hub's groups."""
    (a,) = await listeners(connect, 1)
    b = Node(connect())
    await done(b.bus.subscribe(ALL))
    elsewhere = to_group(HubKey("default", "other"), "g")
    for topic in (to_hub(HUB), to_user(HUB, "g"), to_connection(HUB, "g"), elsewhere):
        a.say("not for b", topic)

    a.say("1")
    a.say("2", to_group(HUB, "nobody's"))

    await b.hears("1", "2")
    assert b.topics == [GROUP, to_group(HUB, "nobody's")]
    await a.hears("1")


async def test_who_subscribed_to_all_groups_and_to_one_hears_that_once(connect: Connect) -> None:
    a, b = await listeners(connect, 2)
    await done(b.bus.subscribe(ALL))

    a.say("1")
    b.say("2")
    a.say("fence", FENCE)

    await a.hears("1", "2", "fence")
    await b.hears("1", "2", "fence")


async def test_who_left_all_groups_hears_those_that_it_subscribed_to(connect: Connect) -> None:
    a, b = await listeners(connect, 2)
    other = to_group(HUB, "other")
    await done(b.bus.subscribe(ALL))
    await done(b.bus.subscribe(ALL))
    a.say("1", other)
    await b.hears("1")

    await done(b.bus.unsubscribe(ALL))
    a.say("2", other)
    a.say("3")
    a.say("fence", FENCE)

    await b.hears("1", "3", "fence")


async def test_who_left_a_group_hears_it_among_all_groups(connect: Connect) -> None:
    a, b = await listeners(connect, 2)
    await done(b.bus.subscribe(ALL))
    await done(b.bus.unsubscribe(GROUP))

    a.say("1")

    await b.hears("1")


async def test_all_who_subscribed_to_all_groups_hear_each(connect: Connect) -> None:
    nodes = await listeners(connect, 3, ALL)
    await done(nodes[0].bus.unsubscribe(ALL))
    texts = [str(number) for number in range(100)]

    for text in texts:
        nodes[0].say(text, to_group(HUB, text))

    await nodes[1].hears(*texts)
    await nodes[2].hears(*texts)
    assert nodes[0].heard == []


async def test_question_to_a_group_is_not_for_who_subscribed_to_all(connect: Connect) -> None:
    a, b = await listeners(connect, 2)
    await done(b.bus.unsubscribe(GROUP))
    await done(b.bus.subscribe(ALL))
    a.count, b.count = 1, 2

    assert await b.ask("all") == [1]


# Receivers that act while they receive


async def test_receiver_may_publish_and_order_holds_everywhere(connect: Connect) -> None:
    """Its answer comes after the question, on every node, although it is published in the middle of the delivery."""
    a, b = await listeners(connect, 2)
    a.on_receive = lambda text: a.say("answer") if text == "question" else None

    a.say("question")

    await a.hears("question", "answer")
    await b.hears("question", "answer")


async def test_receiver_may_unsubscribe_itself(connect: Connect) -> None:
    a, b, c = await listeners(connect, 3)
    leaving: list[asyncio.Task[None]] = []

    async def leave() -> None:
        await done(b.bus.unsubscribe(GROUP))

    b.on_receive = lambda text: leaving.append(asyncio.create_task(leave())) if text == "1" else None
    a.say("1")
    await b.hears("1")
    await asyncio.gather(*leaving)
    b.on_receive = lambda text: None
    a.say("2")
    a.say("fence", FENCE)

    await a.hears("1", "2", "fence")
    await b.hears("1", "fence")
    await c.hears("1", "2", "fence")


# Ask


@pytest.mark.parametrize("want", ["first", "all"])
async def test_nobody_listens_is_known_at_once(connect: Connect, want: Literal["first", "all"]) -> None:
    """The time-out is longer than a test may run."""
    (a,) = await listeners(connect, 1)

    assert await a.ask(want, 3600, to_group(HUB, "h")) == []


async def test_all_who_listen_answer(connect: Connect) -> None:
    nodes = await listeners(connect, 3)
    for count, node in enumerate(nodes):
        node.count = count

    assert await nodes[0].ask("all") == [0, 1, 2]
    assert [node.asked for node in nodes] == [[(GROUP, Exists(GROUP))]] * 3


async def test_those_who_do_not_listen_are_not_asked(connect: Connect) -> None:
    a, b = await listeners(connect, 2)
    await done(b.bus.unsubscribe(GROUP))

    assert await b.ask("all") == [0]
    assert (len(a.asked), len(b.asked)) == (1, 0)


async def test_first_yes_is_enough(connect: Connect) -> None:
    """The others need not have answered."""
    a, b, c = await listeners(connect, 3)
    released = asyncio.Event()

    async def late() -> Answer:
        await released.wait()
        return Answer(count=7)

    a.reply = c.reply = late
    b.count = 1

    assert 1 in await a.ask("first", 3600)
    released.set()


async def test_a_no_is_not_enough_while_others_have_not_answered(connect: Connect) -> None:
    a, b = await listeners(connect, 2)
    released = asyncio.Event()

    async def late() -> Answer:
        await released.wait()
        return Answer(count=7)

    b.reply = late
    asking = asyncio.create_task(a.ask("first"))
    await until(lambda: bool(a.asked and b.asked))
    assert not asking.done()

    released.set()

    assert 7 in await asking


async def test_first_ends_when_all_said_no(connect: Connect) -> None:
    a, _ = await listeners(connect, 2)

    assert await a.ask("first", 3600) == [0, 0]


@pytest.mark.parametrize("want", ["first", "all"])
async def test_time_out_ends_the_wait_with_what_there_is(connect: Connect, want: Literal["first", "all"]) -> None:
    a, b = await listeners(connect, 2)
    released = asyncio.Event()

    async def late() -> Answer:
        await released.wait()
        return Answer(count=7)

    b.reply = late

    assert await a.ask(want, 0.05) == [0]
    released.set()


async def test_command_with_an_answer_is_finished_even_if_the_asker_has_gone(connect: Connect) -> None:
    a, b = await listeners(connect, 2)
    begun, released, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow() -> Answer:
        begun.set()
        await released.wait()
        finished.set()
        return Answer(count=1)

    b.reply = slow
    asking = asyncio.create_task(a.ask("all"))
    async with asyncio.timeout(10):
        await begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert asking.cancelled()

    released.set()

    async with asyncio.timeout(10):
        await finished.wait()


async def test_receiver_may_ask_and_subscribe_while_it_answers(connect: Connect) -> None:
    a, b = await listeners(connect, 2)
    topic = to_group(HUB, "h")
    await done(a.bus.subscribe(topic))
    a.count = 3

    async def curious() -> Answer:
        await done(b.bus.subscribe(to_group(HUB, "i")))
        (answer,) = await b.bus.ask(topic, Exists(topic), "all", LONG_S)
        return Answer(count=answer.count + 1)

    b.reply = curious

    assert await a.ask("all") == [3, 4]
    a.say("1", to_group(HUB, "i"))
    await b.hears("1")
