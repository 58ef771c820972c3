"""Nothing that a client is told leaves before what it rests on is on the disk."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles import HUB, CountedCommits, DurableSession, RecordingSink
from hub.test_delivery import GROUP, NOW, OTHER, House, message
from hubwire.hub.connection import Connection
from hubwire.hub.delivery import Delivery
from hubwire.hub.gate import Gate
from hubwire.model.messages import Ack
from hubwire.protocols.json_reliable import ReliableJsonSession
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Session


class Disk(House):
    """A house whose entries are written when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = CountedCommits()
        self.gate = Gate(self.commits)
        self.delivery = Delivery(self.telemetry, None, self.gate)

    def durable(self, *groups: str) -> Connection:
        session = DurableSession(ReliableJsonSession(QueueLimits()), self.commits)
        return self.client(*groups, kind=cast("Session", session))

    def acknowledge(self, one: Connection, number: int) -> None:
        """Tell a publisher that its message is taken."""
        self.delivery.reply(one, one.session.direct(Ack(number)), acknowledges=True)


@pytest.fixture
def house() -> Disk:
    return Disk()


# What acknowledges


def test_publisher_is_told_when_what_its_message_made_is_written(house: Disk) -> None:
    publisher = house.client()
    house.durable("g")
    house.send("a")
    house.acknowledge(publisher, 1)
    house.flush()
    assert house.got(publisher) == []

    house.commits.write()
    assert house.got(publisher) == [1]


def test_publisher_whose_message_made_nothing_is_told_at_once(house: Disk) -> None:
    """Although something else is not written yet."""
    publisher, member = house.client(), house.client("g")
    house.commits.put("k", "", b"")
    house.send("a")
    house.acknowledge(publisher, 1)
    house.flush()

    assert (house.got(publisher), house.got(member)) == ([1], ["a"])


def test_answer_that_acknowledges_no_message_is_given_at_once(house: Disk) -> None:
    other = house.client()
    house.durable("g")
    house.send("a")
    house.ack(other, 1)
    house.flush()

    assert house.got(other) == [1]


def test_receivers_that_are_not_durable_wait_for_nothing(house: Disk) -> None:
    members = [house.client("g", kind=kind) for kind in ("json", "reliable")]
    house.durable("g")
    house.send("a")
    house.flush()

    assert [house.got(member) for member in members] == [["a"]] * 2


def test_what_follows_an_acknowledgement_that_waits_stays_behind_it(house: Disk) -> None:
    publisher = house.client("other")
    house.durable("g")
    house.send("a")
    house.acknowledge(publisher, 1)
    house.send("b", to=OTHER)
    house.flush()
    house.send("c", to=OTHER)
    house.flush()
    assert house.got(publisher) == []

    house.commits.write()
    assert house.got(publisher) == [1, "b", "c"]


def test_acknowledgement_in_front_of_what_makes_entries_does_not_wait_for_them(house: Disk) -> None:
    publisher = house.client()
    house.durable("g")
    house.client("other")
    house.send("a", to=OTHER)
    house.acknowledge(publisher, 1)
    house.send("b")
    house.flush()

    assert house.got(publisher) == [1]


def test_entries_that_were_made_before_the_turn_ends_count_too(house: Disk) -> None:
    publisher = house.client()
    house.send("a")
    house.commits.put("retained", "", b"")
    house.delivery.made_entries()
    house.acknowledge(publisher, 1)
    house.flush()
    assert house.got(publisher) == []
    house.commits.write()
    assert house.got(publisher) == [1]

    house.commits.put("k", "", b"")
    house.send("b")
    house.acknowledge(publisher, 2)
    house.flush()
    assert house.got(publisher) == [1, 2], "that was of one turn"


def test_late_answer_can_acknowledge(house: Disk) -> None:
    publisher = house.client()
    house.durable("g")
    house.send("a")
    house.delivery.reply_late(publisher, lambda _: [publisher.session.direct(Ack(1))], acknowledges=True)
    house.flush()
    assert house.got(publisher) == []

    house.commits.write()
    assert house.got(publisher) == [1]


# Durable sessions


def test_durable_session_is_told_when_everything_so_far_is_written(house: Disk) -> None:
    """In one turn with one target, and in one with several."""
    member = house.durable("g", "other")
    for texts in ("a", "b"), ("c",):
        house.sinks[member].forget()
        house.send(texts[0])
        for text in texts[1:]:
            house.send(text, to=OTHER)
        house.flush()
        assert house.got(member) == []

        house.commits.write()
        assert house.got(member) == list(texts)


def test_answer_to_a_durable_session_waits_for_what_it_has_changed(house: Disk) -> None:
    member, other = house.durable(), house.client()
    house.commits.put("received", "7", b"")
    house.ack(member, 1)
    house.ack(other, 1)
    house.flush()
    assert (house.got(member), house.got(other)) == ([], [1])

    house.commits.write()
    assert house.got(member) == [1]


def test_durable_session_is_told_at_once_when_nothing_waits(house: Disk) -> None:
    member = house.durable()
    house.ack(member, 1)
    house.flush()

    assert house.got(member) == [1]
    assert house.sinks[member].held == []


def test_what_was_held_earlier_leaves_earlier(house: Disk) -> None:
    """However much more is asked for meanwhile: else it would wait for ever under load."""
    member = house.durable("g")
    for text in "abc":
        house.send(text)
        house.flush()

    house.commits.write(1)
    assert house.got(member) == ["a"]
    house.send("d")
    house.flush()
    house.commits.write(3)
    assert house.got(member) == ["a", "b", "c"]
    house.commits.write()
    assert house.got(member) == ["a", "b", "c", "d"]


def test_all_whose_time_has_come_is_released_at_once(house: Disk) -> None:
    member = house.durable("g")
    released: list[int] = []
    sink = house.sinks[member]
    release = sink.release

    def counted(holds: int) -> None:
        released.append(holds)
        release(holds)

    cast("Any", sink).release = counted
    for text in "abc":
        house.send(text)
        house.flush()
    house.commits.write()

    assert released == [3]
    assert house.got(member) == ["a", "b", "c"]


def test_durable_session_without_a_socket_makes_its_publisher_wait(house: Disk) -> None:
    publisher, member = house.client(), house.durable("g")
    member.sink = None
    house.send("a")
    house.acknowledge(publisher, 1)
    house.flush()
    assert house.got(publisher) == []

    house.commits.write()
    assert house.got(publisher) == [1]


def test_publisher_that_has_gone_is_nobody(house: Disk) -> None:
    publisher = house.client()
    house.durable("g")
    house.send("a")
    house.acknowledge(publisher, 1)
    publisher.sink = None
    house.flush()
    house.commits.write()


def test_sink_that_was_replaced_while_it_was_held_is_left_alone(house: Disk) -> None:
    member = house.durable("g")
    old = house.sinks[member]
    house.send("a")
    house.flush()
    old.abort()
    member.sink = house.sinks[member] = RecordingSink()
    house.delivery.guard(member.sink)
    member.sink.write(b"first", 1, None)
    assert house.sinks[member].writes == []

    house.commits.write()
    assert [write.data for write in house.sinks[member].writes] == [b"first"]
    assert old.writes == []


def test_guarding_costs_nothing_when_nothing_waits(house: Disk) -> None:
    member = house.durable()
    house.delivery.guard(house.sinks[member])

    assert house.sinks[member].held == []


_STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "other", "ack", "acknowledge", "flush", "write", "put"]), st.integers(0, 2))
)


@given(_STEPS)
def test_nothing_leaves_too_early_and_everything_in_its_order(steps: list[tuple[str, int]]) -> None:
    """Against a house without a disk, which tells everybody at once."""
    house, plain = Disk(), House()
    groups = (("g", "other"), ("g",), ())
    durable = [house.durable(*of) for of in groups]
    others = [house.client(*of, kind="reliable") for of in groups]
    same = [plain.client(*of, kind="reliable") for of in (*groups, *groups)]
    known: dict[int, int] = {}

    def check() -> None:
        for one in (*durable, *others):
            for write in house.sinks[one].writes:
                assert known.setdefault(id(write), house.commits.safe) <= house.commits.safe

    for number, (step, which) in enumerate(steps):
        match step:
            case "send" | "other":
                for where in (house, plain):
                    where.delivery.send(where.hub, GROUP if step == "send" else OTHER, message(f"{number}"))
            case "ack" | "acknowledge":
                for where, one in ((house, durable[which]), (plain, same[which])):
                    where.delivery.reply(one, one.session.direct(Ack(number)), acknowledges=step == "acknowledge")
                for where, one in ((house, others[which]), (plain, same[3 + which])):
                    where.delivery.reply(one, one.session.direct(Ack(number)), acknowledges=step == "acknowledge")
            case "flush":
                before = [len(house.sinks[one].writes) for one in durable]
                house.flush()
                plain.flush()
                if house.commits.asked != house.commits.safe:
                    assert [len(house.sinks[one].writes) for one in durable] == before
            case "write":
                house.commits.write()
            case "put":
                house.commits.put("k", "", b"")
        check()
    house.flush()
    plain.flush()
    house.commits.write()

    assert [house.got(one) for one in (*durable, *others)] == [plain.got(one) for one in same]
    assert all(not house.sinks[one].held for one in (*durable, *others))
    assert house.hub.key == HUB
    assert NOW
