"""The fan-out: who gets what, in which order, in how many writes, and what is made only once."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles import HUB, RecordingSink, connection, frames
from hubwire.hub.connection import Connection
from hubwire.hub.delivery import Delivery
from hubwire.hub.hub import Hub
from hubwire.model.messages import Ack, Data, DataMessage, DirectMessage, FromServer, GroupStateMessage
from hubwire.model.names import HubKey
from hubwire.model.ports import Sink
from hubwire.model.targets import Target, to_connection, to_group, to_hub, to_user
from hubwire.model.telemetry import Telemetry
from hubwire.protocols.json_v1 import JsonCodec, JsonSession
from hubwire.protocols.reliable import QueueLimits

NOW = 1000.0
GROUP = to_group(HUB, "g")
OTHER = to_group(HUB, "other")


def message(text: str) -> DataMessage:
    return FromServer(Data("text", text.encode()))


class House:
    """A hub, its delivery, and clients that write down what they get."""

    def __init__(self, key: HubKey = HUB) -> None:
        self.telemetry = Telemetry(10_000)
        self.delivery = Delivery(self.telemetry)
        self.hub = Hub(key)
        self.sinks: dict[Connection, RecordingSink] = {}

    def client(self, *groups: str, kind: Any = "json", user_id: str | None = None, **more: Any) -> Connection:
        one = connection(kind, user_id, hub=self.hub.key, **more)
        one.sink = self.sinks[one] = RecordingSink()
        self.hub.add(one)
        for group in groups:
            self.hub.join(one, group)
        return one

    def send(self, *texts: str, to: Target = GROUP, excluded: tuple[str, ...] = (), until: float | None = None) -> None:
        for text in texts:
            self.delivery.send(self.hub, to, message(text), excluded, until)

    def ack(self, one: Connection, number: int) -> None:
        self.delivery.reply(one, one.session.direct(Ack(number)))

    def join(self, one: Connection, target: Target = GROUP) -> None:
        """What a node does when a connection joins."""
        if self.hub.join(one, target.name):
            self.delivery.joined(one, target)

    def leave(self, one: Connection, target: Target = GROUP) -> None:
        """What a node does when a connection leaves."""
        if self.delivery.concerns(target):
            self.flush()
        self.hub.leave(one, target.name)

    def flush(self) -> list[Connection]:
        return self.delivery.flush(NOW)

    def pending(self) -> bool:
        return self.delivery.pending

    def got(self, one: Connection) -> list[Any]:
        """Payloads of messages and numbers of acks, in the order of the wire."""
        return [row["data"] if row["type"] == "message" else row["ackId"] for row in self.sinks[one].received]

    def writes(self, one: Connection) -> int:
        return len(self.sinks[one].writes)

    def written(self, one: Connection) -> bytes:
        """The one object that was written."""
        (write,) = self.sinks[one].writes
        return write.data


class CountingCodec:
    """The plain JSON codec, with a memory of what was prepared. It asks each session."""

    numbers = True
    keeps = False
    numbers_states = True

    def __init__(self) -> None:
        self.prepared: list[DataMessage] = []
        self._codec = JsonCodec()

    def prepare(self, message: DataMessage) -> bytes:
        self.prepared.append(message)
        return self._codec.prepare(message)

    def prepare_state(self, message: GroupStateMessage) -> bytes:
        return self._codec.prepare_state(message)

    def fill(self, parts: Sequence[bytes]) -> Callable[[int], bytes] | None:
        return None


class CountingSession:
    """A plain session of that codec, with a memory of how many batches it was given."""

    def __init__(self, codec: CountingCodec) -> None:
        self.codec = codec
        self.batches = 0
        self._plain = JsonSession()

    def direct(self, message: DirectMessage) -> bytes:
        return JsonSession().direct(message)

    def deliver(self, batch: Any, now: float) -> bytes:
        self.batches += 1
        return self._plain.deliver(batch, now)


# What is made only once


def test_message_is_encoded_once_for_a_codec_and_segment() -> None:
    house, codec = House(), CountingCodec()
    for _ in range(10):
        house.client("g", "other", kind=CountingSession(codec))
    house.send("a", "b")
    house.send("c", to=OTHER)
    house.send("d")

    house.flush()

    assert [part.data.body for part in codec.prepared] == [b"a", b"b", b"c", b"d"]


def test_message_for_nobody_is_not_encoded() -> None:
    house, codec = House(), CountingCodec()
    house.client("other", kind=CountingSession(codec))
    house.send("a")

    assert house.flush() == []
    assert codec.prepared == []


def test_all_plain_receivers_are_given_the_same_object() -> None:
    house = House()
    members = [house.client("g") for _ in range(5)]
    house.send("a", "b", "c")

    house.flush()

    assert len({id(house.written(one)) for one in members}) == 1


def test_each_codec_has_its_own_object_however_its_clients_are_mixed() -> None:
    house = House()
    members = [house.client("g", kind=kind) for kind in ["json", "simple", "reliable"] * 3]
    house.send("a", "b")

    house.flush()

    plain, simple = members[0::3], members[1::3]
    assert len({id(house.written(one)) for one in plain}) == 1
    assert len({id(house.written(one)) for one in simple}) == 1
    assert [frame.payload for frame in frames(house.written(simple[0]))] == [b"a", b"b"]
    for one in members[2::3]:
        assert [row["sequenceId"] for row in house.sinks[one].received] == [1, 2]


def test_receiver_of_many_messages_is_written_to_once_and_told_how_many() -> None:
    house = House()
    member = house.client("g")
    house.send(*"abcdef")

    house.flush()

    (write,) = house.sinks[member].writes
    assert (write.frames, write.expires_at) == (6, None)
    assert house.telemetry.outbound_messages == 6


def test_several_segments_for_one_receiver_become_one_write() -> None:
    house = House()
    member = house.client("g", "other", user_id="u")
    house.send("a", "b")
    house.send("c", to=OTHER)
    house.send("d", to=to_user(HUB, "u"))
    house.ack(member, 1)

    house.flush()

    (write,) = house.sinks[member].writes
    assert write.frames == 5
    assert house.got(member) == ["a", "b", "c", "d", 1]


def test_fifty_publishers_without_echo_make_one_segment() -> None:
    """Each is given everything but its own message, by one call of its session and one write."""
    house, codec = House(), CountingCodec()
    publishers = [house.client("g", kind=CountingSession(codec)) for _ in range(50)]
    listener = house.client("g", kind=CountingSession(codec))
    for number, one in enumerate(publishers):
        house.send(str(number), excluded=(one.id,))

    house.flush()

    assert len(codec.prepared) == 50
    everything = [str(number) for number in range(50)]
    assert house.got(listener) == everything
    for number, one in enumerate(publishers):
        assert house.got(one) == [text for text in everything if text != str(number)]
    for one in (*publishers, listener):
        assert isinstance(one.session, CountingSession)
        assert (one.session.batches, house.writes(one)) == (1, 1)


# Written to many at once


class Spreading(House):
    """A house whose fan-outs go past the sinks' own writes, to those that take the short way."""

    def __init__(self) -> None:
        super().__init__()
        self.spreads: list[list[bytes]] = []
        self.delivery = Delivery(self.telemetry, self._spread)

    def _spread(self, sinks: list[Sink], frames: list[bytes]) -> None:
        assert len({id(sink) for sink in sinks}) == len(sinks)
        self.spreads.append(frames)
        for sink, data in zip(sinks, frames, strict=True):
            assert sink.direct is not None
            sink.direct(data)

    def clients(self, count: int, kind: str = "json") -> list[Connection]:
        """Members of the group that take the short way."""
        made = [self.client("g", kind=kind) for _ in range(count)]
        for one in made:
            sink = self.sinks[one]
            sink.direct = lambda data, sink=sink: sink.write(data, 1, None)
        return made


def test_many_receivers_are_written_to_at_once() -> None:
    """Whatever they speak."""
    house = Spreading()
    members = [one for _ in range(5) for kind in ("json", "simple") for one in house.clients(1, kind)]
    house.send("a")
    house.flush()

    assert house.spreads == [[house.written(one) for one in members]]
    assert [house.writes(one) for one in members] == [1] * 10
    assert house.telemetry.outbound_bytes == sum(len(house.written(one)) for one in members)
    assert house.telemetry.outbound_messages == 10


def test_few_receivers_are_written_to_one_by_one() -> None:
    house = Spreading()
    members = house.clients(7)
    house.send("a")
    house.flush()

    assert house.spreads == []
    assert [house.got(one) for one in members] == [["a"]] * 7


def test_who_has_frames_of_its_own_is_written_to_with_the_others_and_who_is_paused_by_itself() -> None:
    house = Spreading()
    members, paused, numbered = house.clients(9), house.client("g"), house.clients(1, "reliable")[0]
    house.send("a")
    house.flush()

    assert [len(frames) for frames in house.spreads] == [10]
    assert [house.got(one) for one in (*members, paused, numbered)] == [["a"]] * 11

    house.send("b", excluded=(members[0].id,))
    house.flush()

    assert [len(frames) for frames in house.spreads] == [10, 9]
    assert [house.got(one) for one in (*members, paused, numbered)] == [["a"], *[["a", "b"]] * 10]


def test_no_more_than_256_are_held_until_they_are_written() -> None:
    house = Spreading()
    members = house.clients(600, "reliable")
    house.send("a")
    house.flush()

    assert [len(frames) for frames in house.spreads] == [256, 256, 88]
    assert [house.got(one) for one in members] == [["a"]] * 600


# Who gets it


@pytest.mark.parametrize(
    ("target", "receivers"),
    [
        (to_hub(HUB), "abc"),
        (to_group(HUB, "g"), "ab"),
        (to_user(HUB, "u"), "ac"),
        (to_connection(HUB, "b"), "b"),
        (to_group(HUB, "G"), ""),
        (to_user(HUB, "nobody"), ""),
        (to_connection(HUB, "d"), ""),
    ],
)
def test_message_reaches_those_whom_its_target_means_and_nobody_else(target: Target, receivers: str) -> None:
    house = House()
    a = house.client("g", user_id="u", id="a")
    b = house.client("g", id="b")
    c = house.client(user_id="u", id="c")
    house.send("x", to=target)

    house.flush()

    assert [one.id for one in (a, b, c) if house.got(one) == ["x"]] == list(receivers)
    assert house.telemetry.outbound_messages == len(receivers)


def test_excluded_receiver_is_left_out_of_that_message_only() -> None:
    house = House()
    a, b = house.client("g"), house.client("g")
    house.send("1")
    house.send("2", excluded=(a.id,))
    house.send("3", excluded=(b.id, "unknown", b.id))
    house.send("4", excluded=(a.id, b.id))

    house.flush()

    assert (house.got(a), house.got(b)) == (["1", "3"], ["1", "2"])
    assert house.telemetry.outbound_messages == 4


def test_receiver_that_is_left_out_of_everything_is_not_written_to() -> None:
    house = House()
    a, b = house.client("g"), house.client("g")
    house.send("1", "2", excluded=(a.id,))

    house.flush()

    assert (house.writes(a), house.got(b)) == (0, ["1", "2"])


def test_message_left_out_for_a_reliable_receiver_takes_no_number() -> None:
    house = House()
    a, b = house.client("g", kind="reliable"), house.client("g", kind="reliable")
    house.send("1", excluded=(a.id,))
    house.send("2")

    house.flush()

    assert [(row["sequenceId"], row["data"]) for row in house.sinks[a].received] == [(1, "2")]
    assert [(row["sequenceId"], row["data"]) for row in house.sinks[b].received] == [(1, "1"), (2, "2")]


def test_late_joiner_gets_nothing_that_was_sent_before() -> None:
    house = House()
    member, joiner = house.client("g"), house.client()
    house.send("1", "2")

    house.join(joiner)
    house.flush()

    assert (house.got(member), house.got(joiner)) == (["1", "2"], [])


def test_late_joiner_gets_what_is_sent_after_in_the_same_segment() -> None:
    house, codec = House(), CountingCodec()
    member, joiner = (house.client(kind=CountingSession(codec)) for _ in range(2))
    house.join(member)
    house.send("1", "2")
    house.send("x", to=OTHER)
    house.send("3")
    house.join(joiner)

    house.send("4")
    house.send("5", excluded=(member.id,))
    house.flush()

    assert (house.got(member), house.got(joiner)) == (["1", "2", "3", "4"], ["4", "5"])
    assert isinstance(joiner.session, CountingSession)
    assert joiner.session.batches == 1


def test_joiner_of_a_group_without_members_gets_nothing_earlier_either() -> None:
    house = House()
    joiner = house.client()
    house.send("1")
    house.join(joiner)
    house.send("2")

    house.flush()

    assert house.got(joiner) == ["2"]


def test_member_that_joins_again_keeps_what_is_pending() -> None:
    house = House()
    member = house.client("g")
    house.send("1")
    house.join(member)

    house.flush()

    assert house.got(member) == ["1"]


def test_leaver_gets_everything_before_its_leave_and_nothing_after() -> None:
    house = House()
    leaver, member = house.client("g"), house.client("g")
    house.send("1")
    house.send("x", to=OTHER)
    house.leave(leaver)
    house.send("2")

    house.flush()

    assert (house.got(leaver), house.got(member)) == (["1"], ["1", "2"])


def test_member_that_leaves_and_joins_again_misses_only_what_came_between() -> None:
    house = House()
    member = house.client("g")
    house.send("1")
    house.leave(member)
    house.send("2")
    house.join(member)
    house.send("3")

    house.flush()

    assert house.got(member) == ["1", "3"]


def test_leaving_one_group_does_not_write_out_what_waits_for_others() -> None:
    house = House()
    member = house.client("g", "other")
    house.send("1")

    assert house.delivery.concerns(GROUP)
    assert not house.delivery.concerns(OTHER)
    house.leave(member, OTHER)

    assert house.writes(member) == 0


def test_those_who_are_picked_get_it_even_if_they_leave_or_others_join() -> None:
    """A filter picks its receivers when the message is accepted."""
    house = House()
    picked, joiner = house.client("g"), house.client()
    house.delivery.send_to([picked], message("1"))
    house.join(joiner)
    house.leave(picked)

    house.flush()

    assert (house.got(picked), house.got(joiner)) == (["1"], [])
    assert house.telemetry.outbound_messages == 1


def test_same_group_name_of_another_hub_is_another_group() -> None:
    house, neighbour = House(), House(HubKey("default", "other"))
    neighbour.delivery = house.delivery
    here, there = house.client("g"), neighbour.client("g")
    house.send("1")
    neighbour.send("2", to=to_group(neighbour.hub.key, "g"))

    house.flush()

    assert (house.got(here), neighbour.got(there)) == (["1"], ["2"])


# Order


def test_messages_to_different_targets_keep_their_order() -> None:
    house = House()
    member = house.client("g", "other", user_id="u")
    targets = [GROUP, OTHER, GROUP, to_user(HUB, "u"), GROUP, to_hub(HUB), to_connection(HUB, member.id), OTHER]
    for number, target in enumerate(targets):
        house.send(str(number), to=target)

    house.flush()

    assert house.got(member) == [str(number) for number in range(len(targets))]


def test_reply_waits_behind_what_was_accepted_before_it() -> None:
    house = House()
    member = house.client("g", "other")
    house.send("1")
    house.ack(member, 10)
    house.send("2", to=OTHER)
    house.ack(member, 11)
    house.ack(member, 12)

    house.flush()

    assert house.got(member) == ["1", 10, "2", 11, 12]


def test_reply_does_not_split_a_run_of_messages() -> None:
    """A publisher with acks makes one segment, and its own acks come behind it."""
    house, codec = House(), CountingCodec()
    member = house.client("g", kind=CountingSession(codec))
    for number in range(5):
        house.send(str(number))
        house.ack(member, number)

    house.flush()

    assert house.got(member) == ["0", "1", "2", "3", "4", 0, 1, 2, 3, 4]
    assert isinstance(member.session, CountingSession)
    assert member.session.batches == 1


def test_reply_that_is_a_message_stays_in_front_of_later_ones() -> None:
    """Such as the answer of an event handler, which is heard before what its client has said next."""
    house = House()
    member = house.client("g")
    house.send("1")
    house.delivery.reply(member, member.session.direct(Ack(10)), is_message=True)
    house.ack(member, 11)
    house.send("2", "3")

    house.flush()

    assert house.got(member) == ["1", 10, 11, "2", "3"]


def test_reply_alone_is_one_write() -> None:
    house = House()
    member = house.client()
    house.ack(member, 1)
    house.ack(member, 2)

    house.flush()

    (write,) = house.sinks[member].writes
    assert (write.frames, house.got(member)) == (2, [1, 2])
    assert house.telemetry.outbound_messages == 0, "acks are no messages"


@pytest.mark.parametrize("others", [False, True])
def test_late_frames_are_asked_for_when_all_before_them_is_delivered(others: bool) -> None:
    """In front of what is accepted later, and with the time at which they are written."""
    house, codec = House(), CountingCodec()
    member = house.client("g", "other", kind=CountingSession(codec))
    assert isinstance(member.session, CountingSession)
    session = member.session
    asked: list[tuple[float, int]] = []

    def frames_of(now: float) -> Sequence[bytes]:
        asked.append((now, session.batches))
        return [session.direct(Ack(number)) for number in (20, 21)]

    house.send("1")
    house.delivery.reply_late(member, frames_of)
    house.ack(member, 10)
    if others:
        house.send("2", to=OTHER)
    house.flush()

    assert asked == [(NOW, 1)]
    assert house.got(member) == ["1", 20, 21, 10, *(["2"] * others)]


def test_late_frames_alone_are_one_write_and_none_are_no_write() -> None:
    house = House()
    member, silent = house.client(), house.client()
    house.delivery.reply_late(member, lambda _: [member.session.direct(Ack(number)) for number in (1, 2)])
    house.delivery.reply_late(silent, lambda _: ())
    assert house.delivery.pending

    house.flush()

    (write,) = house.sinks[member].writes
    assert (write.frames, house.got(member)) == (2, [1, 2])
    assert house.sinks[silent].writes == []


def test_message_behind_a_lone_reply_comes_after_it() -> None:
    house = House()
    member = house.client("g")
    house.ack(member, 1)
    house.send("a")

    house.flush()

    assert house.got(member) == [1, "a"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["g", "other", "hub", "u"]), st.sampled_from([None, 0, 1]), st.sampled_from([None, 9.0])
        ),
        max_size=30,
    )
)
def test_every_receiver_gets_its_messages_in_the_order_of_acceptance(
    sent: list[tuple[str, int | None, float | None]],
) -> None:
    """Whatever the targets, holes, lifetimes and replies in between."""
    house = House()
    members = [house.client("g", "other", user_id="u"), house.client("g", kind="reliable")]
    targets = {"g": GROUP, "other": OTHER, "hub": to_hub(HUB), "u": to_user(HUB, "u")}
    expected: list[list[str]] = [[], []]
    for number, (name, left_out, until) in enumerate(sent):
        text = str(number)
        excluded = () if left_out is None else (members[left_out].id,)
        house.send(text, to=targets[name], excluded=excluded, until=until)
        house.ack(members[0], number)
        for index in range(2):
            if index != left_out and (index == 0 or name in ("g", "hub")):
                expected[index].append(text)

    house.flush()

    for one, texts in zip(members, expected, strict=True):
        assert house.sinks[one].data == texts
    assert [row for row in house.got(members[0]) if isinstance(row, int)] == list(range(len(sent)))
    for one in members:
        (numbers,) = [[row["sequenceId"] for row in house.sinks[one].received if "sequenceId" in row]]
        assert numbers == list(range(1, len(numbers) + 1))


# Time to live


def test_lifetime_makes_a_segment_of_its_own() -> None:
    house = House()
    member = house.client("g")
    house.send("1")
    house.send("2", until=NOW + 5)
    house.send("3", until=NOW + 6)
    house.send("4", until=NOW + 6)
    house.send("5")

    house.flush()

    writes = house.sinks[member].writes
    assert [(write.frames, write.expires_at) for write in writes] == [
        (1, None),
        (1, NOW + 5),
        (2, NOW + 6),
        (1, None),
    ]
    assert house.got(member) == ["1", "2", "3", "4", "5"]


def test_reply_behind_a_message_with_a_lifetime_has_none() -> None:
    house = House()
    member = house.client("g")
    house.send("1", until=NOW + 5)
    house.ack(member, 1)

    house.flush()

    assert [write.expires_at for write in house.sinks[member].writes] == [NOW + 5, None]


# Clients that are away, or too slow


@pytest.mark.parametrize("targets", [(GROUP,), (GROUP, OTHER)])
def test_reliable_client_that_is_away_finds_its_messages_when_it_comes_back(targets: tuple[Target, ...]) -> None:
    """Those of a turn with one segment and of one with several."""
    house = House()
    away = house.client("g", "other", kind="reliable")
    away.sink = None
    for target in targets:
        house.send("x", "y", to=target)

    house.flush()

    assert house.writes(away) == 0
    replay = away.session.resume(NOW)
    assert [frame.payload[:16] for data, _, _ in replay for frame in frames(data)] == [
        b'{"sequenceId":%d,' % number for number in range(1, 2 * len(targets) + 1)
    ]


@pytest.mark.parametrize("kind", ["json", "reliable"])
def test_reply_to_a_client_that_is_away_is_dropped(kind: str) -> None:
    """Official clients repeat a request without an answer, with the same ack id."""
    house = House()
    away = house.client(kind=kind)
    away.sink = None
    house.ack(away, 1)

    house.flush()

    assert house.writes(away) == 0
    assert away.session.held() == (0, 0)


@pytest.mark.parametrize("targets", [(GROUP,), (GROUP, OTHER)])
def test_overflow_is_reported_and_others_are_not_affected(targets: tuple[Target, ...]) -> None:
    house = House()
    before = house.client("g", kind="reliable")
    slow = house.client("g", kind="reliable", limits=QueueLimits(messages=2))
    after, plain = house.client("g", kind="reliable"), house.client("g")
    for target in targets:
        house.send("1", "2", "3", to=target)

    assert house.flush() == [slow]

    assert house.writes(slow) == 0
    for one in (before, after, plain):
        assert house.got(one) == ["1", "2", "3"]
    assert house.telemetry.outbound_messages == 9


def test_client_that_overflows_later_keeps_what_it_was_given() -> None:
    house = House()
    slow = house.client("g", kind="reliable", limits=QueueLimits(messages=2))
    house.send("1", "2")
    assert house.flush() == []

    house.send("3")

    assert house.flush() == [slow]
    assert house.got(slow) == ["1", "2"]


# The turn


def test_nothing_is_written_before_the_flush_and_nothing_is_left_after_it() -> None:
    house = House()
    member = house.client("g")
    assert not house.pending()

    house.send("1")
    assert house.pending()
    assert house.writes(member) == 0

    house.flush()
    assert not house.pending()
    assert not house.delivery.concerns(GROUP)

    house.sinks[member].forget()
    assert house.flush() == []
    assert house.writes(member) == 0


def test_what_is_accepted_while_a_turn_is_written_belongs_to_the_next() -> None:
    house = House()
    member = house.client("g")
    house.send("1")
    house.sinks[member].told = lambda: house.send("2") if house.got(member) == [] else None

    house.flush()
    assert (house.got(member), house.delivery.pending) == (["1"], True)

    house.flush()
    assert house.got(member) == ["1", "2"]
