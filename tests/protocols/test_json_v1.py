"""The plain JSON subprotocol, both ways."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles import Frame, frames
from hubwire.model.errors import ProtocolViolation
from hubwire.model.messages import Data, FromServer, GroupMessage, Invoke, InvokeResponse, JoinGroup, SendToGroup
from hubwire.model.names import is_group_name
from hubwire.protocols.json_reliable import ReliableJsonCodec
from hubwire.protocols.json_v1 import NAME, JsonCodec, JsonSession, decode
from hubwire.protocols.session import Batch
from vectors.json_frames import DIRECT, MESSAGES, REFUSED, REQUESTS, STATES, Direct, Message, Request, State

CODEC = JsonCodec()
PONG = Frame(1, b'{"type":"pong"}')

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SPELLINGS = st.sampled_from([(",", ":"), (" , ", " : "), (",\n", ":\t")])


def code_of(payload: str) -> int | None:
    """The close code with which a payload is refused, None if it is understood."""
    try:
        decode(payload)
    except ProtocolViolation as violation:
        return violation.close_code
    return None


# The tables


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_request_means_what_the_reference_says(request_: Request) -> None:
    assert decode(request_.text) == request_.value


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_request_in_a_binary_frame_means_the_same(request_: Request) -> None:
    assert decode(request_.text.encode()) == request_.value


@pytest.mark.parametrize("payload", REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_in_the_language_is_refused_1007(payload: str) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        decode(payload)

    assert refused.value.close_code == 1007


@pytest.mark.parametrize("secret", ["s3cr3t", "S3CR3T x"])
@pytest.mark.parametrize(
    "payload",
    [
        '{"type":"%s"}',
        '{"type":"event","event":"%s ","data":1}',
        '{"type":"sendToGroup","group":"g","dataType":"%s","data":1}',
        '{"type":"sendToGroup","group":"g","dataType":"binary","data":"%s"}',
        '{"type":"sendToGroup","group":"g","data":1,"metadata":{"k":"%sü"}}',
        '{"type":"joinGroup","group":"g","ackId":"%s"}',
    ],
)
def test_refusal_repeats_nothing_of_what_was_sent(payload: str, secret: str) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        decode(payload % secret)

    assert secret.casefold() not in refused.value.reason.casefold()


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_data_message_is_written_exactly_so(message: Message) -> None:
    assert frames(CODEC.prepare(message.value)) == [Frame(1, message.text.encode())]


@pytest.mark.parametrize("state", STATES, ids=str)
def test_state_is_written_exactly_so_and_alike_for_reliable_clients(state: State) -> None:
    for codec in (CODEC, ReliableJsonCodec()):
        assert frames(codec.prepare_state(state.value)) == [Frame(1, state.text.encode())]
        assert not codec.numbers_states


@pytest.mark.parametrize("direct", DIRECT, ids=str)
def test_direct_message_is_written_exactly_so(direct: Direct) -> None:
    expected = [Frame(1, direct.text.encode())] if direct.text else []

    assert frames(JsonSession().direct(direct.value)) == expected


@pytest.mark.parametrize("text", [row.text for row in (*MESSAGES, *STATES, *DIRECT) if row.text])
def test_every_frame_of_the_tables_is_json(text: str) -> None:
    """So that a slip in a table is not taken for the truth."""
    assert isinstance(json.loads(text), dict)


# Whatever comes


@given(st.text(st.characters()) | st.binary())
def test_nonsense_is_refused_and_nothing_worse(payload: str | bytes) -> None:
    with pytest.raises(ProtocolViolation):
        decode(payload)


@given(
    st.sampled_from([row.text for row in REQUESTS] + [row for row in REFUSED if len(row) < 3000]),
    st.integers(0, 300),
    st.integers(0, 8),
    st.text(st.characters(), max_size=8),
)
def test_damaged_request_is_understood_or_refused_and_nothing_worse(text: str, at: int, cut: int, put: str) -> None:
    damaged = text[:at] + put + text[at + cut :]
    assert code_of(damaged) in (None, 1007)


@given(
    st.sampled_from(
        ["group", "event", "ackId", "data", "dataType", "metadata", "sequenceId", "stream", "invocationId", "target"]
    ),
    JSON_VALUES,
)
def test_property_of_any_type_is_understood_or_refused_and_nothing_worse(name: str, value: Any) -> None:
    for kind in ("joinGroup", "sendToGroup", "event", "sequenceAck", "streamData", "setGroupState", "invoke"):
        body = {"type": kind, "group": "g", "event": "e", "data": 1, "invocationId": "i", name: value}
        assert code_of(json.dumps(body)) in (None, 1007)


@given(JSON_VALUES, SPELLINGS, st.booleans())
def test_json_payload_reaches_the_receiver_in_the_senders_spelling(
    value: Any, separators: tuple[str, str], escape: bool
) -> None:
    spelled = json.dumps(value, separators=separators, ensure_ascii=escape)
    request = decode(f'{{"type":"sendToGroup","group":"g","data":{spelled}}}')
    assert isinstance(request, SendToGroup)

    (frame,) = frames(CODEC.prepare(GroupMessage("g", request.data)))

    assert frame.payload.decode().endswith(f',"data":{spelled}}}')
    assert json.loads(frame.payload)["data"] == value


@given(st.text(), st.text().filter(is_group_name), st.none() | st.text())
def test_text_and_names_of_any_script_survive(payload: str, group: str, user_id: str | None) -> None:
    (frame,) = frames(CODEC.prepare(GroupMessage(group, Data("text", payload.encode()), user_id)))

    heard = json.loads(frame.payload)
    assert (heard["data"], heard["group"], heard.get("fromUserId")) == (payload, group, user_id)


@given(st.binary())
def test_bytes_go_there_and_back(payload: bytes) -> None:
    (frame,) = frames(CODEC.prepare(FromServer(Data("binary", payload))))
    data = json.loads(frame.payload)["data"]

    request = decode(json.dumps({"type": "sendToGroup", "group": "g", "dataType": "binary", "data": data}))

    assert request == SendToGroup("g", Data("binary", payload))


@given(st.text(min_size=1, max_size=1024), JSON_VALUES, SPELLINGS)
def test_what_is_answered_to_an_invocation_has_its_id_and_the_spelling_of_the_handler(
    invocation_id: str, value: Any, separators: tuple[str, str]
) -> None:
    asked = decode(json.dumps({"type": "invoke", "invocationId": invocation_id, "event": "e"}))
    assert isinstance(asked, Invoke)
    spelled = json.dumps(value, separators=separators)

    (frame,) = frames(JsonSession().direct(InvokeResponse(asked.invocation_id, Data("json", spelled.encode()))))

    heard = json.loads(frame.payload)
    assert (heard["invocationId"], heard["success"], heard.get("data")) == (invocation_id, True, value)
    assert value is None or frame.payload.decode().endswith(f',"dataType":"json","data":{spelled}}}')


# The session


def test_session_is_plain() -> None:
    session = JsonSession()

    assert (session.subprotocol, session.recoverable) == (NAME, False)
    assert isinstance(session.codec, JsonCodec)
    assert session.codec is JsonSession().codec, "one object for all clients, or nothing is encoded once"
    assert session.held() == (0, 0)
    assert session.resume(0.0) == ()


def test_each_ping_is_answered_once() -> None:
    session = JsonSession()
    assert session.receive('{"type":"ping"}') == ()
    assert session.receive('{"type":"ping"}') == ()

    assert frames(b"".join(session.outgoing(0.0))) == [PONG, PONG]
    assert session.outgoing(0.0) == ()


def test_nobody_is_sent_a_pong_that_it_did_not_ask_for() -> None:
    session = JsonSession()
    session.receive('{"type":"joinGroup","group":"g"}')

    assert session.outgoing(0.0) == ()


def test_ack_of_a_sequence_is_ignored_where_nothing_is_numbered() -> None:
    session = JsonSession()

    assert session.receive('{"type":"sequenceAck","sequenceId":1}') == ()
    assert session.receive('{"type":"joinGroup","group":"g"}') == (JoinGroup("g"),)


def test_all_plain_clients_are_given_the_same_object() -> None:
    batch = Batch(CODEC, [CODEC.prepare(message.value) for message in MESSAGES], None)

    first = JsonSession().deliver(batch, 0.0)

    assert JsonSession().deliver(batch, 1.0) is first
    assert [frame.payload.decode() for frame in frames(first)] == [message.text for message in MESSAGES]


def test_single_message_is_not_copied() -> None:
    part = CODEC.prepare(MESSAGES[0].value)

    assert JsonSession().deliver(Batch(CODEC, [part], None), 0.0) is part
