"""The reliable JSON subprotocol: numbers, acknowledgements, limits, replay."""

import json
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles import Frame, frames, json_of
from hubwire.model.errors import ProtocolViolation, QueueOverflow
from hubwire.model.messages import CancelInvocation, Data, FromServer, GroupMessage, JoinGroup
from hubwire.protocols.json_reliable import NAME, ReliableJsonCodec, ReliableJsonSession
from hubwire.protocols.json_v1 import JsonSession
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Batch
from vectors.json_frames import DIRECT, MESSAGES, Direct, Message

CODEC = ReliableJsonCodec()
NOW = 1000.0


def batch(*texts: str, expires_at: float | None = None) -> Batch:
    """Messages with these payloads as one batch."""
    return Batch(CODEC, [CODEC.prepare(FromServer(Data("text", text.encode()))) for text in texts], expires_at)


def session(messages: int = 1000, size_bytes: int = 1 << 24) -> ReliableJsonSession:
    return ReliableJsonSession(QueueLimits(messages, size_bytes))


def numbered(count: int) -> ReliableJsonSession:
    """A session that has sent and been acknowledged so many messages."""
    one = session(messages=100_000)
    if count:
        one.deliver(batch(*["x"] * count), NOW)
        one.acknowledge(count)
    return one


def heard(data: bytes) -> list[tuple[int, str]]:
    """Number and payload of each message in `data`."""
    return [(message["sequenceId"], message["data"]) for message in json_of(data)]


def replayed(one: ReliableJsonSession, now: float = NOW) -> list[tuple[int, str]]:
    """Number and payload of what a recovery brings."""
    return [message for data, _, _ in one.resume(now) for message in heard(data)]


# Numbers


@pytest.mark.parametrize("message", MESSAGES, ids=str)
@pytest.mark.parametrize("number", [1, 9, 10, 99, 100, 12345])
def test_number_is_written_in_front_of_the_plain_form(message: Message, number: int) -> None:
    one = numbered(number - 1)

    data = one.deliver(Batch(CODEC, [CODEC.prepare(message.value)], None), NOW)

    assert frames(data) == [Frame(1, f'{{"sequenceId":{number},{message.text[1:]}'.encode())]


@pytest.mark.parametrize("direct", DIRECT, ids=str)
def test_direct_message_is_written_as_in_the_plain_form(direct: Direct) -> None:
    assert ReliableJsonSession(QueueLimits()).direct(direct.value) == JsonSession().direct(direct.value)


@pytest.mark.parametrize("first", [1, 8, 9, 10, 90, 98, 99, 100, 101, 995, 9995])
@pytest.mark.parametrize("count", [1, 2, 3, 15, 120])
def test_numbers_of_a_batch_run_on_over_every_count_of_digits(first: int, count: int) -> None:
    """1 to 2 digits, 9 to 10, 99 to 100, and all three in one batch."""
    one = numbered(first - 1)
    texts = [f"message {position}" for position in range(count)]

    assert heard(one.deliver(batch(*texts), NOW)) == list(enumerate(texts, first))


def test_receivers_at_different_numbers_share_a_batch() -> None:
    shared = batch("a", "b", "c")

    for start in (0, 7, 8, 98, 7, 0):
        expected = [(start + 1, "a"), (start + 2, "b"), (start + 3, "c")]
        assert heard(numbered(start).deliver(shared, NOW)) == expected


def test_receivers_at_the_same_count_of_digits_share_a_template() -> None:
    """Its making is what costs; filling it is one step."""
    made: list[int] = []

    class Counting:
        numbers = True
        keeps = False
        numbers_states = False
        prepare = ReliableJsonCodec().prepare
        prepare_state = ReliableJsonCodec().prepare_state

        def fill(self, parts: Sequence[bytes]) -> Callable[[int], bytes] | None:
            made.append(len(parts))
            return ReliableJsonCodec().fill(parts)

    shared = Batch(Counting(), batch("a", "b").parts, None)
    for start in (0, 3, 20, 30):
        numbered(start).deliver(shared, NOW)

    assert made == [2]


def part_of_frame_length(length: int, digits: int) -> str:
    """A payload with which the frame's own length is `length`."""
    empty = len('{"sequenceId":,"type":"message","from":"server","dataType":"text","data":""}') + digits
    return "x" * (length - empty)


@pytest.mark.parametrize("length", [125, 126, 127, 0x25 << 8, 0x2525, 0xFF25, 65535, 65536, 0x252525])
@pytest.mark.parametrize("first", [1, 9, 99])
def test_percent_signs_in_a_frames_length_stay_what_they_are(length: int, first: int) -> None:
    """A length byte of 0x25 is a percent sign, and would be a place for a number in a template."""
    one = numbered(first - 1)
    texts = [part_of_frame_length(length, len(str(number))) for number in (first, first + 1, first + 2)]

    data = one.deliver(batch(*texts), NOW)

    assert [len(frame.payload) for frame in frames(data)] == [length] * 3
    assert heard(data) == list(enumerate(texts, first))


def test_frame_of_37_bytes_is_no_place_for_a_number() -> None:
    """The one length below 126 that is a percent sign. No data message is that short, so it is made up here."""
    part = b'"x":"%%d%%%%"'
    part += b" " * (37 - len(b'{"sequenceId":1,') - len(part) + part.count(b"%%"))
    fill = CODEC.fill([part, part])
    assert fill is not None

    first, second = frames(fill(1))

    assert (len(first.payload), len(second.payload)) == (37, 37)
    assert first.payload.startswith(b'{"sequenceId":1,"x":"%d%%"')
    assert second.payload.startswith(b'{"sequenceId":2,"x":"%d%%"')


@given(
    st.lists(
        st.text(st.sampled_from('%ds(x)0 \\"ü☃') | st.characters(exclude_categories=["Cs"])), min_size=1, max_size=30
    ),
    st.integers(0, 120),
    st.text(st.sampled_from("%dux"), max_size=4),
)
def test_payloads_and_names_with_percent_signs_arrive_as_they_are(texts: list[str], before: int, name: str) -> None:
    one = numbered(before)
    messages = [GroupMessage(f"g{name}", Data("text", text.encode()), name, {f"k{name}": name}) for text in texts]

    data = one.deliver(Batch(CODEC, [CODEC.prepare(message) for message in messages], None), NOW)

    assert heard(data) == list(enumerate(texts, before + 1))
    for message in json_of(data):
        assert (message["group"], message["fromUserId"], message["metadata"]) == (f"g{name}", name, {f"k{name}": name})


def test_messages_left_out_for_one_receiver_leave_no_gap_in_its_numbers() -> None:
    one = session()
    rest = batch("a", "b", "c", "d").without([0, 2])
    assert rest is not None

    assert heard(one.deliver(rest, NOW)) == [(1, "b"), (2, "d")]
    assert heard(one.deliver(batch("e"), NOW)) == [(3, "e")]


# Requests


def test_session_is_recoverable() -> None:
    one = session()

    assert (one.subprotocol, one.recoverable) == (NAME, True)
    assert isinstance(one.codec, ReliableJsonCodec)
    assert one.codec is session().codec, "one object for all clients, or nothing is encoded once"
    assert one.held() == (0, 0)


def test_requests_are_those_of_the_plain_form() -> None:
    one = session()

    assert one.receive('{"type":"joinGroup","group":"g","ackId":1}') == (JoinGroup("g", 1),)
    assert one.receive(b'{"type":"cancelInvocation","invocationId":"1"}') == (CancelInvocation("1"),)
    with pytest.raises(ProtocolViolation):
        one.receive("{}")


def test_each_ping_is_answered_once_and_an_ack_never() -> None:
    one = session()
    one.receive('{"type":"ping"}')
    one.receive('{"type":"sequenceAck","sequenceId":1}')

    assert json_of(b"".join(one.outgoing(NOW))) == [{"type": "pong"}]
    assert one.outgoing(NOW) == ()


# Acknowledgements


def test_ack_counts_for_everything_before_it() -> None:
    one = session()
    one.deliver(batch("a"), NOW)
    one.deliver(batch("b"), NOW)
    one.deliver(batch("c"), NOW)

    one.receive('{"type":"sequenceAck","sequenceId":2}')

    assert replayed(one) == [(3, "c")]


@pytest.mark.parametrize("spelled", ["2", '"2"', '"02"', '"00000000000000000002"'])
def test_ack_is_a_number_or_the_text_of_one(spelled: str) -> None:
    one = session()
    one.deliver(batch("a", "b", "c"), NOW)

    assert one.receive(f'{{"type":"sequenceAck","sequenceId":{spelled}}}') == ()

    assert replayed(one) == [(3, "c")]


@pytest.mark.parametrize(
    "spelled",
    ["0", "-1", "-99999999999999999999", '""', '"x"', '"-1"', '"1.0"', '" 2"', '"²"', '"٢"', f'"{"0" * 20}2"'],
)
def test_ack_of_nothing_changes_nothing(spelled: str) -> None:
    one = session()
    one.deliver(batch("a", "b"), NOW)
    before = one.held()

    assert one.receive(f'{{"type":"sequenceAck","sequenceId":{spelled}}}') == ()

    assert one.held() == before


def test_ack_below_the_last_one_changes_nothing() -> None:
    one = session()
    one.deliver(batch("a", "b", "c"), NOW)
    one.acknowledge(2)
    before = one.held()

    one.acknowledge(1)
    one.acknowledge(2)

    assert one.held() == before
    assert replayed(one) == [(3, "c")]


@pytest.mark.parametrize("number", [4, 5, 2**64 - 1, 2**64, 10**30])
def test_ack_of_what_was_never_sent_counts_for_what_was(number: int) -> None:
    """It does not count in advance for what is sent later."""
    one = session()
    one.deliver(batch("a", "b", "c"), NOW)

    one.receive(f'{{"type":"sequenceAck","sequenceId":{number}}}')
    assert one.held() == (0, 0)

    one.deliver(batch("d"), NOW)
    assert replayed(one) == [(4, "d")]
    one.acknowledge(4)
    assert one.held() == (0, 0)


def test_ack_before_anything_was_sent_is_harmless() -> None:
    one = session()

    one.acknowledge(1)

    one.deliver(batch("a"), NOW)
    assert replayed(one) == [(1, "a")]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.lists(st.integers(0, 60), max_size=12))
def test_held_counts_exactly_what_no_ack_has_covered(sizes: list[int], acks: list[int]) -> None:
    """In messages and in bytes, however the acks cut the batches."""
    one = session()
    parts: list[bytes] = []
    for size in sizes:
        added = batch(*[f"{'%' * number} {len(parts) + number}" for number in range(size)])
        parts += added.parts
        one.deliver(added, NOW)

    done = 0
    for ack in acks:
        one.acknowledge(ack)
        done = max(done, min(ack, len(parts)))
        assert one.held() == (len(parts) - done, sum(map(len, parts[done:])))


# Limits


def test_the_message_over_the_limit_overflows_and_not_the_one_that_reaches_it() -> None:
    one = session(messages=3)
    one.deliver(batch("a", "b"), NOW)
    one.deliver(batch("c"), NOW)

    with pytest.raises(QueueOverflow) as overflow:
        one.deliver(batch("d"), NOW)

    assert overflow.value.messages == 4


def test_the_default_is_a_thousand_messages_and_16_mebibytes() -> None:
    assert QueueLimits() == QueueLimits(1000, 16 * 1024 * 1024)


def test_partial_ack_makes_room_for_as_many_messages() -> None:
    one = session(messages=5)
    one.deliver(batch(*"abcde"), NOW)
    one.acknowledge(2)
    one.deliver(batch("f", "g"), NOW)
    assert one.held()[0] == 5

    with pytest.raises(QueueOverflow):
        one.deliver(batch("h"), NOW)


def test_bytes_overflow_as_messages_do() -> None:
    size = batch("aaaa").size_bytes
    one = session(size_bytes=3 * size)
    one.deliver(batch("aaaa", "bbbb"), NOW)
    one.deliver(batch("cccc"), NOW)
    one.acknowledge(1)
    one.deliver(batch("dddd"), NOW)
    assert one.held() == (3, 3 * size)

    with pytest.raises(QueueOverflow) as overflow:
        one.deliver(batch("e"), NOW)

    assert overflow.value.size_bytes == 3 * size + batch("e").size_bytes


def test_single_message_over_the_limit_of_bytes_overflows() -> None:
    with pytest.raises(QueueOverflow):
        session(size_bytes=100).deliver(batch("x" * 100), NOW)


def test_what_has_expired_gives_way_before_anything_overflows() -> None:
    one = session(messages=3)
    one.deliver(batch("a", "b", expires_at=NOW + 5), NOW)
    one.deliver(batch("c"), NOW)

    assert heard(one.deliver(batch("d", "e"), NOW + 5)) == [(4, "d"), (5, "e")]

    assert one.held()[0] == 3
    assert replayed(one, NOW + 5) == [(3, "c"), (4, "d"), (5, "e")]


def test_ack_covers_what_stood_behind_what_has_expired() -> None:
    one = session(messages=3)
    one.deliver(batch("a"), NOW)
    one.deliver(batch("b", expires_at=NOW + 5), NOW)
    one.deliver(batch("c", "d"), NOW + 5)

    one.acknowledge(3)

    assert replayed(one, NOW + 5) == [(4, "d")]


def test_what_has_not_expired_yet_counts() -> None:
    one = session(messages=3)
    one.deliver(batch("a", "b", expires_at=NOW + 5), NOW)
    one.deliver(batch("c"), NOW)

    with pytest.raises(QueueOverflow):
        one.deliver(batch("d"), NOW + 4.9)


def test_expired_rest_of_a_partly_acknowledged_batch_is_counted_once() -> None:
    one = session(messages=3)
    one.deliver(batch("a", "b", "c", expires_at=NOW + 5), NOW)
    one.acknowledge(1)
    one.resume(NOW + 5)
    assert one.held() == (0, 0)

    one.acknowledge(3)
    assert one.held() == (0, 0)
    one.deliver(batch("d", "e", "f"), NOW + 6)
    assert replayed(one, NOW + 6) == [(4, "d"), (5, "e"), (6, "f")]


# Recovery


def test_recovery_replays_what_was_not_acknowledged_with_its_first_numbers() -> None:
    one = session()
    one.deliver(batch("a", "b"), NOW)
    one.deliver(batch("c", expires_at=NOW + 9), NOW)

    replay = one.resume(NOW)

    assert [heard(data) for data, _, _ in replay] == [[(1, "a"), (2, "b")], [(3, "c")]]
    assert [(count, expires_at) for _, count, expires_at in replay] == [(2, None), (1, NOW + 9)]


def test_recovery_may_be_repeated() -> None:
    one = session()
    one.deliver(batch("a"), NOW)

    assert replayed(one) == replayed(one) == [(1, "a")]


def test_recovery_of_a_client_that_has_everything_replays_nothing() -> None:
    one = session()
    assert one.resume(NOW) == []
    one.deliver(batch("a"), NOW)
    one.acknowledge(1)

    assert one.resume(NOW) == []


@pytest.mark.parametrize("acknowledged", range(1, 13))
def test_rest_of_a_partly_acknowledged_batch_keeps_its_numbers(acknowledged: int) -> None:
    """Over the boundary of 9 to 10 as well."""
    one = session()
    texts = [f"m{number}" for number in range(1, 14)]
    one.deliver(batch(*texts[:12]), NOW)
    one.deliver(batch(texts[12]), NOW)

    one.acknowledge(acknowledged)

    assert replayed(one) == list(enumerate(texts, 1))[acknowledged:]


def test_recovery_leaves_out_what_has_expired_and_its_number_is_not_used_again() -> None:
    one = session()
    one.deliver(batch("a"), NOW)
    one.deliver(batch("b", expires_at=NOW + 5), NOW)
    one.deliver(batch("c"), NOW)

    assert replayed(one, NOW + 5) == [(1, "a"), (3, "c")]
    assert heard(one.deliver(batch("d"), NOW + 5)) == [(4, "d")]


class Step(NamedTuple):
    """
    Attributes:
        number: messages to deliver; or what to acknowledge, counted from the newest number that the client saw.
    """

    kind: Literal["deliver", "ack", "drop", "resume"]
    number: int = 0


STEPS = st.lists(
    st.builds(Step, st.just("deliver"), st.integers(1, 13))
    | st.builds(Step, st.just("ack"), st.integers(-15, 3))
    | st.sampled_from([Step("drop"), Step("resume")]),
    max_size=40,
)


@given(STEPS, st.integers(0, 105))
def test_client_sees_each_number_once_and_in_order_whatever_happens(steps: list[Step], before: int) -> None:
    """A client that, like the official ones, skips numbers it has seen. What it has not acknowledged is replayed."""
    one = numbered(before)
    sent = [f"m{number}" for number in range(1, before + 1)]
    seen, acknowledged, connected = before, before, True

    def take(data: bytes) -> None:
        nonlocal seen
        for number, payload in heard(data):
            assert payload == sent[number - 1]
            if number > seen:
                assert number == seen + 1
                seen = number

    for kind, count in steps:
        match kind:
            case "deliver":
                added = [f"m{number}" for number in range(len(sent) + 1, len(sent) + count + 1)]
                sent += added
                data = one.deliver(batch(*added), NOW)
                if connected:
                    take(data)
            case "ack" if connected:
                one.receive(json.dumps({"type": "sequenceAck", "sequenceId": seen + count}))
                acknowledged = max(acknowledged, min(seen + count, len(sent)))
            case "drop":
                connected = False
            case "resume":
                replay = b"".join(data for data, _, _ in one.resume(NOW))
                assert heard(replay) == list(enumerate(sent, 1))[acknowledged:]
                take(replay)
                connected = True
        assert not connected or seen == len(sent)
    assert one.held()[0] == len(sent) - acknowledged
