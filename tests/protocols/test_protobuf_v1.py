"""The plain protobuf subprotocol, both ways."""

import base64
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from hypothesis import given
from hypothesis import strategies as st

from doubles import Frame, frames
from hubwire.model.errors import ProtocolViolation
from hubwire.model.messages import Data, FromServer, GroupMessage, JoinGroup, SendToGroup
from hubwire.model.names import is_group_name
from hubwire.model.payloads import is_any
from hubwire.protocols.protobuf_v1 import NAME, ProtobufCodec, ProtobufSession, varint
from hubwire.protocols.protobuf_wire import decode
from hubwire.protocols.session import Batch
from hubwire.protocols.webpubsub_pb2 import DownstreamMessage, MessageData, UpstreamMessage
from protobuf_messages import message_of, request_of
from vectors.protobuf_frames import (
    ANY,
    DIRECT,
    MESSAGES,
    PONG,
    REFUSED,
    REQUESTS,
    STATES,
    Direct,
    Message,
    Request,
    State,
    part,
)

CODEC = ProtobufCodec()
SEVERAL = ("last of several requests", "one request in two pieces", "unknown fields of every type")
"""Requests of more than one field at their outermost."""
LIMIT = 1 << 20
"""Of a message; more does not reach the protocol."""

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(is_group_name)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
ANYS = st.builds(AnyMessage, type_url=TEXTS, value=st.binary(max_size=300)).map(AnyMessage.SerializeToString)
PAYLOADS = st.one_of(
    TEXTS.map(lambda text: Data("text", text.encode())),
    TEXTS.map(lambda text: Data("json", b'{"a": "%b"}' % text.encode("unicode_escape").hex().encode())),
    st.binary(max_size=300).map(lambda body: Data("binary", body)),
    ANYS.map(lambda body: Data("protobuf", body)),
)
METADATA = st.dictionaries(st.text("abc-%", min_size=1, max_size=9), st.text("xyz %", max_size=20), max_size=4)


def code_of(payload: str | bytes) -> int | None:
    """The close code with which a message ends its connection; None if it does not."""
    try:
        ProtobufSession().receive(payload)
    except ProtocolViolation as violation:
        return violation.close_code
    return None


# Requests


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_request_means_what_the_table_says(request_: Request) -> None:
    assert decode(request_.wire) == request_.value


@pytest.mark.parametrize("payload", REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_in_the_language_is_close_code_1007(payload: bytes) -> None:
    assert code_of(payload) == 1007


@pytest.mark.parametrize("text", ["", '{"type":"ping"}', PONG.decode()])
def test_text_frame_is_close_code_1003_whatever_it_holds(text: str) -> None:
    assert code_of(text) == 1003


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_request_that_is_cut_off_is_close_code_1007(request_: Request) -> None:
    """But where another one ends in front of the cut."""
    codes = [code_of(request_.wire[:end]) for end in range(len(request_.wire))]

    assert codes[0] == codes[-1] == 1007
    assert codes.count(None) <= (1 if request_.name in SEVERAL else 0)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_a_request_or_a_violation(payload: bytes) -> None:
    assert code_of(payload) in (None, 1007)


@given(NAMES, PAYLOADS, st.none() | st.integers(0, 2**64 - 1), st.booleans(), st.integers(0, 300), METADATA)
def test_request_arrives_as_the_client_meant_it(
    group: str, data: Data, ack_id: int | None, no_echo: bool, ttl_s: int, metadata: dict[str, str]
) -> None:
    said: dict[str, Any] = {"type": "sendToGroup", "group": group, "ackId": ack_id, "metadata": metadata}
    message = UpstreamMessage.FromString(request_of({**said, "noEcho": no_echo, "ttlSeconds": ttl_s}))
    message.send_to_group_message.data.CopyFrom(_data(data))

    assert decode(message.SerializeToString()) == SendToGroup(group, data, ack_id, no_echo, ttl_s, metadata)


def _data(data: Data) -> MessageData:
    match data.kind:
        case "text":
            return MessageData(text_data=data.body.decode())
        case "json":
            return MessageData(json_data=data.body.decode())
        case "binary":
            return MessageData(binary_data=data.body)
        case "protobuf":
            return MessageData(protobuf_data=AnyMessage.FromString(data.body))


def test_payload_as_large_as_a_message_may_be_arrives() -> None:
    body = b"\xff" * (LIMIT - 20)
    wire = part(1, part(1, "g"), part(3, part(2, body)))
    assert len(wire) <= LIMIT

    assert decode(wire) == SendToGroup("g", Data("binary", body))


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"\x32" * LIMIT, id="lengths"),
        pytest.param(b"\x0b" * LIMIT, id="groups of fields without an end"),
        pytest.param(b"\x0b" * (LIMIT // 2) + b"\x0c" * (LIMIT // 2), id="groups of fields within one another"),
        pytest.param(b"\xff" * LIMIT, id="numbers without an end"),
        pytest.param(part(6, b"\x10\x01" * (LIMIT // 2 - 8)), id="the same field over and over"),
        pytest.param(part(99, b"\xff" * (LIMIT - 8)), id="an unknown field"),
        pytest.param(b"\x9a\x06\x00" * (LIMIT // 3), id="unknown fields without end"),
        pytest.param(part(1, part(1, "g"), part(6) * (LIMIT // 2 - 8)), id="the same metadata over and over"),
        pytest.param(
            part(1, part(1, "g"), b"".join(part(6, part(1, b"%x" % number)) for number in range(LIMIT // 10))),
            id="metadata without end",
        ),
        pytest.param(part(1, part(1, "g"), part(3, part(4, "[" * (LIMIT - 20)))), id="json within json"),
        pytest.param(b"\x32\xff\xff\xff\xff\x07" + b"\0" * 100, id="a length beyond all that is there"),
    ],
)
def test_hostile_message_of_the_largest_size_is_refused(wire: bytes) -> None:
    """With what is there of a fault of it, which must not hold on to what it was about."""
    assert len(wire) <= LIMIT
    with pytest.raises(ProtocolViolation) as violation:
        decode(wire)

    assert violation.value.close_code == 1007
    assert len(str(violation.value)) < 200


# Messages


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_message_is_written_as_the_table_says(message: Message) -> None:
    assert frames(CODEC.prepare(message.value)) == [Frame(2, part(2, message.body))]


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_message_is_one_of_the_schema_in_its_own_order(message: Message) -> None:
    """The runtime itself would write the very same, as long as the number of a field says where it stands."""
    (frame,) = frames(CODEC.prepare(message.value))

    parsed = DownstreamMessage.FromString(frame.payload)
    assert parsed.SerializeToString(deterministic=True) == frame.payload


@pytest.mark.parametrize("state", STATES, ids=str)
def test_state_is_written_as_the_table_says(state: State) -> None:
    assert frames(CODEC.prepare_state(state.value)) == [Frame(2, part(state.field, state.body))]


@pytest.mark.parametrize("direct", DIRECT, ids=str)
def test_direct_message_is_written_as_the_table_says(direct: Direct) -> None:
    expected = [Frame(2, direct.wire)] if direct.wire else []
    assert frames(ProtobufSession().direct(direct.value)) == expected


@given(NAMES, PAYLOADS, METADATA)
def test_message_reaches_a_client_as_it_was_sent(group: str, data: Data, metadata: dict[str, str]) -> None:
    (frame,) = frames(CODEC.prepare(GroupMessage(group, data, "user", metadata)))

    message = DownstreamMessage.FromString(frame.payload).data_message
    assert (getattr(message, "from"), message.group, dict(message.metadata)) == ("group", group, metadata)
    assert message.data == _data(data)
    assert not message.HasField("sequence_id")
    assert not message.HasField("stream")


@given(ANYS | st.binary(max_size=40) | st.builds(bytes.__add__, ANYS, st.binary(max_size=8)))
def test_client_can_read_what_is_called_protobuf_whatever_it_is(body: bytes) -> None:
    (frame,) = frames(CODEC.prepare(FromServer(Data("protobuf", body))))

    message = message_of(frame.payload)
    if message["dataType"] == "binary":
        assert base64.b64decode(message["data"]) == body
    else:
        assert is_any(body)
        assert AnyMessage.FromString(base64.b64decode(message["data"])) == AnyMessage.FromString(body)


@given(ANYS | st.binary(max_size=40) | st.builds(bytes.__add__, ANYS, st.binary(max_size=8)))
def test_payload_is_an_any_only_if_the_runtime_can_read_it_as_one(body: bytes) -> None:
    if is_any(body):
        AnyMessage.FromString(body)


@pytest.mark.parametrize("body", [b"", ANY, ANY + part(7, "x"), part(2, b"\xff"), b"\x18\x01", part(1, "x") * 2])
def test_any_is_one(body: bytes) -> None:
    assert is_any(body)


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"\x08\x01",
        part(1, b"\xff"),
        ANY[:-1],
        b"\x8a\x80\x80\x80\x80\x00\x00",
        b"\x18" + b"\xff" * 9 + b"\x02",
        b"\x00\x00",
        b"\x0f",
    ],
)
def test_what_is_no_any_is_none(body: bytes) -> None:
    assert not is_any(body)


@given(st.integers(0, 2**64 - 1))
def test_number_takes_as_few_bytes_as_it_can(number: int) -> None:
    ack = DownstreamMessage(ack_message=DownstreamMessage.AckMessage(ack_id=number, success=True))

    assert b"\x08" + varint(number or 1) in ack.SerializeToString() or number == 0
    assert len(varint(number)) == max(1, -(-number.bit_length() // 7))


# Sessions


def test_session_knows_its_name_and_keeps_nothing() -> None:
    session = ProtobufSession()

    assert (session.subprotocol, session.recoverable, session.held()) == (NAME, False, (0, 0))
    assert session.codec is ProtobufSession().codec, "one object for all clients, or nothing is encoded once"
    batch = Batch(session.codec, [CODEC.prepare(FromServer(Data("text", b"a")))], None)
    assert session.deliver(batch, 0.0) is batch.joined
    assert session.resume(0.0) == ()


def test_requests_are_handed_on_and_the_protocols_own_are_not() -> None:
    session = ProtobufSession()

    assert session.receive(part(6, part(1, "g"))) == (JoinGroup("g"),)
    assert session.receive(part(8, b"\x08\x05")) == ()
    assert session.outgoing(0.0) == ()


def test_each_ping_is_answered_once() -> None:
    session = ProtobufSession()
    session.receive(part(9))
    session.receive(part(9))

    assert frames(b"".join(session.outgoing(0.0))) == [Frame(2, PONG)] * 2
    assert session.outgoing(0.0) == ()


def test_any_of_a_client_is_passed_on_byte_for_byte() -> None:
    """Its unknown fields as well, in the order of their numbers."""
    body = ANY + part(7, "x")

    assert decode(part(1, part(1, "g"), part(3, part(3, body)))) == SendToGroup("g", Data("protobuf", body))
