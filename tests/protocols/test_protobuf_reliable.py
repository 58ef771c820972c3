"""
The reliable protobuf subprotocol: its numbers, and that the reliable half is the same as that of JSON, which is tested
in `test_reliable.py`.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles import Frame, frames
from hubwire.model.errors import ProtocolViolation, QueueOverflow
from hubwire.model.messages import Data, FromServer, GroupMessage, GroupStateMessage, JoinGroup, MemberState
from hubwire.protocols.protobuf_reliable import NAME, ReliableProtobufCodec, ReliableProtobufSession
from hubwire.protocols.protobuf_v1 import ProtobufSession
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Batch
from hubwire.protocols.webpubsub_pb2 import DownstreamMessage
from protobuf_messages import message_of, request_of
from vectors.protobuf_frames import DIRECT, MESSAGES, PONG, REFUSED, STATES, Direct, Message, State, part, value

CODEC = ReliableProtobufCodec()
NOW = 1000.0


def batch(*texts: str, expires_at: float | None = None) -> Batch:
    """Messages with these payloads as one batch."""
    return Batch(CODEC, [CODEC.prepare(FromServer(Data("text", text.encode()))) for text in texts], expires_at)


def session(messages: int = 1000, size_bytes: int = 1 << 24) -> ReliableProtobufSession:
    return ReliableProtobufSession(QueueLimits(messages, size_bytes))


def numbered(count: int) -> ReliableProtobufSession:
    """A session that has sent and been acknowledged so many messages."""
    one = session(messages=100_000)
    if count:
        one.deliver(batch(*["x"] * count), NOW)
        one.acknowledge(count)
    return one


def messages_of(data: bytes) -> list[dict[str, Any]]:
    """What stands in each of the binary frames of `data`."""
    found = frames(data)
    assert all(frame.opcode == 2 for frame in found)
    return [message_of(frame.payload) for frame in found]


def heard(data: bytes) -> list[tuple[int, str]]:
    """Number and payload of each message in `data`."""
    return [(message["sequenceId"], message["data"]) for message in messages_of(data)]


def replayed(one: ReliableProtobufSession, now: float = NOW) -> list[tuple[int, str]]:
    """Number and payload of what a recovery brings."""
    return [message for data, _, _ in one.resume(now) for message in heard(data)]


# Numbers


@pytest.mark.parametrize("message", MESSAGES, ids=str)
@pytest.mark.parametrize("number", [1, 37, 127, 128, 4736, 16383, 16384])
def test_number_is_written_behind_the_plain_form(message: Message, number: int) -> None:
    """37 is a percent sign, and 4736 another one in front of a zero byte."""
    one = numbered(number - 1)

    data = one.deliver(Batch(CODEC, [CODEC.prepare(message.value)], None), NOW)

    assert frames(data) == [Frame(2, part(2, message.body, value(4, number)))]


@pytest.mark.parametrize("state", STATES, ids=str)
@pytest.mark.parametrize("number", [1, 37, 127, 128, 4736, 16384])
def test_state_is_numbered_in_its_own_field(state: State, number: int) -> None:
    one = numbered(number - 1)

    data = one.deliver(Batch(CODEC, [CODEC.prepare_state(state.value)], None), NOW)

    assert frames(data) == [Frame(2, part(state.field, state.body, value(3, number)))]


def test_states_share_numbers_with_messages_and_are_kept_like_them() -> None:
    one = session()
    one.deliver(batch("a"), NOW)
    one.deliver(Batch(CODEC, [CODEC.prepare_state(state.value) for state in STATES], None), NOW)
    one.deliver(batch("b"), NOW)
    assert one.held()[0] == 6
    one.acknowledge(3)

    replay = [message for data, _, _ in one.resume(NOW) for message in messages_of(data)]

    assert [(message["type"], message["sequenceId"]) for message in replay] == [
        ("groupStateUpdate", 4),
        ("groupStateUpdate", 5),
        ("message", 6),
    ]


@pytest.mark.parametrize("size", [*range(0, 280), *range(4600, 4720)])
def test_state_of_every_size_is_whole(size: int) -> None:
    one = numbered(126)
    state = {"%": "%" * (size % 3) + "x" * (size - size % 3)}
    update = GroupStateMessage("g", (MemberState("c", None, state, 37),))

    told = messages_of(one.deliver(Batch(CODEC, [CODEC.prepare_state(update)] * 3, None), NOW))

    assert [message["sequenceId"] for message in told] == [127, 128, 129]
    assert all(message["items"] == [{"connectionId": "c", "state": state, "updatedAt": 37}] for message in told)


@pytest.mark.parametrize("direct", DIRECT, ids=str)
def test_direct_message_is_written_as_in_the_plain_form(direct: Direct) -> None:
    assert session().direct(direct.value) == ProtobufSession().direct(direct.value)


@pytest.mark.parametrize("first", [1, 36, 120, 126, 127, 128, 129, 16_300, 16_383, 16_384])
@pytest.mark.parametrize("count", [1, 2, 3, 15, 120])
def test_numbers_of_a_batch_run_on_over_every_width(first: int, count: int) -> None:
    """1 to 2 bytes, and 2 to 3."""
    one = numbered(first - 1)
    texts = [f"message {position}" for position in range(count)]

    assert heard(one.deliver(batch(*texts), NOW)) == list(enumerate(texts, first))


@pytest.mark.parametrize("first", [1, 127, 128, 2**32 - 1, 2**32, 2**63, 2**64 - 3])
def test_number_of_any_size_is_written(first: int) -> None:
    fill = CODEC.fill(batch("a", "b", "c").parts)
    assert fill is not None

    assert heard(fill(first)) == [(first, "a"), (first + 1, "b"), (first + 2, "c")]


def test_receivers_at_different_numbers_share_a_batch() -> None:
    shared = batch("a", "b", "c")

    for start in (0, 7, 125, 126, 127, 7, 0):
        expected = [(start + 1, "a"), (start + 2, "b"), (start + 3, "c")]
        assert heard(numbered(start).deliver(shared, NOW)) == expected


def text_of_frame_length(length: int, number: int) -> str:
    """A payload with which the frame's own length is `length`."""
    text = "x" * length
    while len(part(2, part(1, "server"), part(3, part(1, text)), value(4, number))) > length:
        text = text[1:]
    return text


@pytest.mark.parametrize("length", [37, 125, 126, 127, 0x25 << 8, 0x2525, 0xFF25, 65535, 65536])
@pytest.mark.parametrize("first", [1, 126, 16_383])
def test_percent_signs_in_lengths_stay_what_they_are(length: int, first: int) -> None:
    """A byte of 0x25 is a percent sign, and would be a place for a number in a template."""
    one = numbered(first - 1)
    texts = [text_of_frame_length(length, number) for number in (first, first + 1, first + 2)]

    data = one.deliver(batch(*texts), NOW)

    # One byte more of text may be two more of a message, where its length gains one.
    assert all(length - 2 <= len(frame.payload) <= length for frame in frames(data))
    assert heard(data) == list(enumerate(texts, first))


@pytest.mark.parametrize("size", [*range(0, 300), *range(4600, 4800)])
def test_frame_of_every_size_is_whole(size: int) -> None:
    """The length of a message, and of what it is in, pass through all bytes there are."""
    one = numbered(126)
    texts = ["%" * (size % 3) + "x" * (size - size % 3)] * 3

    assert heard(one.deliver(batch(*texts), NOW)) == list(enumerate(texts, 127))


@given(
    st.lists(st.text(st.sampled_from("%bdsx0ü☃") | st.characters(exclude_categories=["Cs"])), min_size=1, max_size=30),
    st.integers(0, 150),
    st.text(st.sampled_from("%bux"), min_size=1, max_size=4),
)
def test_payloads_and_names_with_percent_signs_arrive_as_they_are(texts: list[str], before: int, name: str) -> None:
    one = numbered(before)
    messages = [GroupMessage(f"g{name}", Data("text", text.encode()), name, {f"k{name}": name}) for text in texts]

    data = one.deliver(Batch(CODEC, [CODEC.prepare(message) for message in messages], None), NOW)

    assert heard(data) == list(enumerate(texts, before + 1))
    for message in messages_of(data):
        assert (message["group"], message["metadata"]) == (f"g{name}", {f"k{name}": name})


@given(st.binary(max_size=600), st.integers(1, 2**64 - 1))
def test_frame_is_one_of_the_schema_whatever_the_payload_and_the_number(body: bytes, number: int) -> None:
    fill = CODEC.fill([CODEC.prepare(GroupMessage("g", Data("binary", body)))])
    assert fill is not None

    (frame,) = frames(fill(number))
    message = DownstreamMessage.FromString(frame.payload).data_message
    assert (message.data.binary_data, message.sequence_id, message.group) == (body, number, "g")


# Sessions


def test_session_is_recoverable() -> None:
    one = session()

    assert (one.subprotocol, one.recoverable) == (NAME, True)
    assert one.codec is session().codec, "one object for all clients, or nothing is encoded once"
    assert one.held() == (0, 0)


def test_requests_are_those_of_the_plain_form() -> None:
    one = session()

    assert one.receive(request_of({"type": "joinGroup", "group": "g", "ackId": 1})) == (JoinGroup("g", 1),)
    one.receive(request_of({"type": "ping"}))
    assert frames(b"".join(one.outgoing(NOW))) == [Frame(2, PONG)]
    for payload in REFUSED:
        with pytest.raises(ProtocolViolation):
            one.receive(payload)


def test_ack_counts_for_everything_before_it_and_is_not_answered() -> None:
    one = session()
    one.deliver(batch("a", "b", "c"), NOW)

    assert one.receive(request_of({"type": "sequenceAck", "sequenceId": 2})) == ()

    assert one.outgoing(NOW) == ()
    assert replayed(one) == [(3, "c")]


@pytest.mark.parametrize("number", [4, 2**64 - 1])
def test_ack_of_what_was_never_sent_counts_for_what_was(number: int) -> None:
    one = session()
    one.deliver(batch("a", "b", "c"), NOW)

    one.receive(request_of({"type": "sequenceAck", "sequenceId": number}))
    one.deliver(batch("d"), NOW)

    assert replayed(one) == [(4, "d")]


def test_message_over_the_limit_overflows() -> None:
    one = session(messages=3)
    one.deliver(batch("a", "b", "c"), NOW)

    with pytest.raises(QueueOverflow):
        one.deliver(batch("d"), NOW)


def test_recovery_leaves_out_what_has_expired_and_keeps_the_numbers_of_the_rest() -> None:
    one = session()
    one.deliver(batch("a"), NOW)
    one.deliver(batch("b", expires_at=NOW + 5), NOW)
    one.deliver(batch("c"), NOW)

    assert replayed(one, NOW + 4) == [(1, "a"), (2, "b"), (3, "c")]
    assert replayed(one, NOW + 5) == [(1, "a"), (3, "c")]


@pytest.mark.parametrize("acknowledged", range(120, 133))
def test_rest_of_a_partly_acknowledged_batch_keeps_its_numbers(acknowledged: int) -> None:
    """Over the boundary of 127 to 128 as well."""
    one = session()
    texts = [f"m{number}" for number in range(1, 133)]
    one.deliver(batch(*texts), NOW)

    one.acknowledge(acknowledged)

    assert replayed(one) == list(enumerate(texts, 1))[acknowledged:]
