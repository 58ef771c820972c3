"""Streams in the protobuf subprotocols, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles import Frame, frames
from hubwire.model.errors import ProtocolViolation
from hubwire.model.messages import Data, GroupMessage, StreamError, StreamInfo
from hubwire.protocols.protobuf_reliable import ReliableProtobufCodec, ReliableProtobufSession
from hubwire.protocols.protobuf_v1 import ProtobufCodec, ProtobufSession
from hubwire.protocols.protobuf_wire import decode
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Batch
from hubwire.protocols.webpubsub_pb2 import DownstreamMessage
from vectors.protobuf_frames import Direct, Message, Request, part, value
from vectors.protobuf_streams import DIRECT, MESSAGES, REFUSED, REQUESTS

BINARY = 2


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_request_means_what_the_schema_says(request_: Request) -> None:
    assert decode(request_.wire) == request_.value


@pytest.mark.parametrize("payload", REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_in_the_language_is_refused_1007(payload: bytes) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        decode(payload)

    assert refused.value.close_code == 1007


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_subscriber_sees_the_place_in_the_stream(message: Message) -> None:
    assert frames(ProtobufCodec().prepare(message.value)) == [Frame(BINARY, part(2, message.body))]


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_reliable_subscriber_sees_its_own_number_besides(message: Message) -> None:
    codec, session = ReliableProtobufCodec(), ReliableProtobufSession(QueueLimits())
    data = session.deliver(Batch(codec, [codec.prepare(message.value)], None), 0.0)

    assert frames(data) == [Frame(BINARY, part(2, message.body + value(4, 1)))]


@pytest.mark.parametrize("direct", DIRECT, ids=str)
def test_publisher_is_answered_exactly_so(direct: Direct) -> None:
    assert frames(ProtobufSession().direct(direct.value)) == [Frame(BINARY, direct.wire)]


@given(
    st.text(min_size=1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.none() | st.builds(StreamError, st.just("UserError"), st.none() | st.text(), st.none() | st.text()),
)
def test_place_in_a_stream_is_read_by_the_runtime_as_it_was_meant(
    stream_id: str, number: int, end: bool, error: StreamError | None
) -> None:
    info = StreamInfo(stream_id, number, end, error)
    (frame,) = frames(ProtobufCodec().prepare(GroupMessage("g", Data("text", b"x"), stream=info)))
    stream = DownstreamMessage.FromString(frame.payload).data_message.stream

    assert (stream.stream_id, stream.stream_sequence_id, stream.end_of_stream) == (stream_id, number, end)
    assert stream.HasField("error") == (error is not None)
    if error is not None:
        assert stream.error.name == "UserError"
        assert (stream.error.message, stream.error.user_error_code) == (
            error.message or "",
            error.user_error_code or "",
        )
