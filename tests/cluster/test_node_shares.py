"""Members of a shared subscription that come and go, read and read not: nothing is lost, nothing comes twice."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.test_node import House
from cluster.test_node_filters import SHARED, Device, say
from doubles import RecordingSink, settle
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.mqtt.packets import Puback

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 4)),
        st.tuples(st.sampled_from(["share", "leave", "drop", "back", "end"]), st.integers(0, 3)),
        st.tuples(st.sampled_from(["ack one", "ack one", "ack all"]), st.integers(0, 3)),
    ),
    min_size=20,
    max_size=60,
)


class Worker:
    """
    One client, in one session after the other.

    Attributes:
        open: payloads that it has not acknowledged, by packet identifier.
    """

    def __init__(self, office: "Office", name: str) -> None:
        self.office = office
        self.name = name
        self.open: dict[int, str] = {}
        self.sessions = 0
        self.read = 0

    async def begin(self) -> None:
        self.sessions += 1
        self.device = await Device(self.office.house, f"{self.name}{self.sessions}", 3600, window=3).come()
        self.open, self.read = {}, 0

    @property
    def is_there(self) -> bool:
        return self.device.one.sink is not None

    def take(self) -> None:
        """What has come since the last time."""
        packets = self.device.packets
        for packet in packets[self.read :]:
            assert packet.packet_id is not None
            text = packet.payload.decode()
            if packet.dup:
                assert self.open[packet.packet_id] == text
            else:
                assert packet.packet_id not in self.open
                self.open[packet.packet_id] = text
                self.office.sent[text] += 1
        self.read = len(packets)

    async def acknowledge(self, count: int) -> None:
        for packet_id in list(self.open)[:count]:
            self.office.done[self.open.pop(packet_id)] += 1
            self.device.client.say(Puback(packet_id), release=False)
        node, session = self.office.house.node, self.device.client.session
        if session.has_late:
            node.reply_late(self.device.one, session.released)
        await settle()

    def drop(self) -> None:
        self.office.house.drop(self.device.one)

    async def back(self) -> None:
        self.read = 0
        self.device.client.take_over()
        house, one = self.office.house, self.device.one
        house.sinks[one] = RecordingSink()
        assert house.node.resume(one, house.sinks[one], b"")
        await settle()

    async def end(self) -> None:
        """Its session does; what it has not acknowledged may come to somebody else once more."""
        self.office.open_at_an_end.update(self.open.values())
        self.office.house.node.close(self.device.one, 1000, "", CloseCategory.NORMAL)
        await settle()
        await self.begin()


class Office:
    """
    Four workers, of whom the first one never leaves and never ends.

    Attributes:
        sent: how often each message was sent for the first time to somebody.
        done: how often each was acknowledged.
        open_at_an_end: those that were sent, and not acknowledged, in a session that has ended.
    """

    def __init__(self) -> None:
        self.house = House()
        self.workers = [Worker(self, name) for name in "abcd"]
        self.sent: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.open_at_an_end: Counter[str] = Counter()
        self.said = 0

    async def step(self, what: str, number: int) -> None:
        if what == "say":
            texts = [str(self.said + one) for one in range(number)]
            self.said += number
            await say(self.house, "a/b", *texts)
            return
        worker = self.workers[number]
        match what:
            case "share":
                await worker.device.subscribe(SHARED) if worker.is_there else None
            case "leave" if number:
                worker.device.unsubscribe(SHARED)
            case "drop" if worker.is_there:
                worker.drop()
            case "back" if not worker.is_there:
                await worker.back()
            case "end" if number:
                await worker.end()
            case "ack one" | "ack all" if worker.is_there:
                await worker.acknowledge(1 if what == "ack one" else 100)
        await settle()

    def take(self) -> None:
        for worker in self.workers:
            worker.take()


async def work(steps: list[tuple[str, int]]) -> Office:
    office = Office()
    for worker in office.workers:
        await worker.begin()
        await worker.device.subscribe(SHARED)
    for what, number in steps:
        await office.step(what, number)
        office.take()
    for worker in office.workers:
        if not worker.is_there:
            await worker.back()
    office.take()
    while any(worker.open for worker in office.workers):
        for worker in office.workers:
            await worker.acknowledge(100)
        office.take()
    return office


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_each_message_is_done_by_one_unless_a_session_ended_with_it(steps: list[tuple[str, int]]) -> None:
    office = asyncio.run(work(steps))

    texts = [str(number) for number in range(office.said)]
    assert [text for text in texts if not office.done[text]] == [], "lost"
    again = office.open_at_an_end
    assert {text: office.sent[text] for text in texts} == {text: 1 + again[text] for text in texts}
    assert {text: office.done[text] for text in texts} == dict.fromkeys(texts, 1)
    assert all(worker.device.client.session.held() == (0, 0) for worker in office.workers)
