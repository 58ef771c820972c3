"""Streams in the JSON subprotocols, both ways, and what those get who have no word for them."""

import json

import pytest

from doubles import Frame, frames
from hubwire.model.errors import ProtocolViolation
from hubwire.protocols.json_reliable import ReliableJsonCodec, ReliableJsonSession
from hubwire.protocols.json_v1 import JsonCodec, JsonSession, decode
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Batch
from hubwire.protocols.simple import SimpleCodec, SimpleSession
from vectors.json_frames import Direct, Message, Request
from vectors.json_streams import DIRECT, MESSAGES, REFUSED, REQUESTS


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_request_means_what_the_reference_says(request_: Request) -> None:
    assert decode(request_.text) == request_.value
    assert decode(request_.text.encode()) == request_.value


@pytest.mark.parametrize("payload", REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_in_the_language_is_refused_1007(payload: str) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        decode(payload)

    assert refused.value.close_code == 1007


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_subscriber_sees_the_place_in_the_stream(message: Message) -> None:
    assert frames(JsonCodec().prepare(message.value)) == [Frame(1, message.text.encode())]


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_reliable_subscriber_sees_its_own_number_besides(message: Message) -> None:
    codec, session = ReliableJsonCodec(), ReliableJsonSession(QueueLimits())
    data = session.deliver(Batch(codec, [codec.prepare(message.value)], None), 0.0)

    assert frames(data) == [Frame(1, b'{"sequenceId":1,' + message.text.encode()[1:])]


@pytest.mark.parametrize("direct", DIRECT, ids=str)
def test_publisher_is_answered_exactly_so(direct: Direct) -> None:
    assert frames(JsonSession().direct(direct.value)) == [Frame(1, direct.text.encode())]
    assert SimpleSession().direct(direct.value) == b""


@pytest.mark.parametrize("text", [row.text for row in (*MESSAGES, *DIRECT)])
def test_every_frame_of_the_tables_is_json(text: str) -> None:
    """So that a slip in a table is not taken for the truth."""
    assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_simple_client_gets_the_payload_and_nothing_of_the_end(message: Message) -> None:
    is_end = "endOfStream" in message.text
    expected = [] if is_end else [Frame(1, message.value.data.body)]

    assert frames(SimpleCodec().prepare(message.value)) == expected
