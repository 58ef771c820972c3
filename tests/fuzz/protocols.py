"""What reads WebSocket: frames, messages of clients, and their acknowledgements."""

import base64
import json
from typing import Any, Final

from hypothesis import strategies as st

from fuzz.inputs import cut, cuts, damaged, json_texts, numbers
from fuzz.target import Target, size_of
from fuzz.wires import frames, requests
from hubwire.model.errors import ProtocolViolation, QueueOverflow
from hubwire.model.messages import Data, GroupMessage, SendToGroup
from hubwire.model.names import is_group_name
from hubwire.protocols import json_reliable, json_v1
from hubwire.protocols.frames import CLOSE, TEXT, FrameReader
from hubwire.protocols.json_reliable import ReliableJsonSession
from hubwire.protocols.json_v1 import JsonSession, decode, message_body
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Batch

__all__ = ["TARGETS", "check_receivable"]

_LIMIT: Final = 1000
"""Bytes of a message here: low, so that limits are met."""


def _check_frames(data: bytes, sizes: list[int]) -> None:
    whole = FrameReader(_LIMIT)
    events = whole.feed(data)
    reader = FrameReader(_LIMIT)
    pieces: list[Any] = []
    for piece in cut(data, sizes):
        pieces += reader.feed(piece)
        # One message that is not whole, one frame of it that is not whole, and what came behind in the same piece.
        if len(pieces) % 8 == 0:
            assert size_of(reader) <= 2 * _LIMIT + 2 * len(piece) + 2000
    assert pieces == events
    assert (reader.fault is None) == (whole.fault is None)
    if whole.fault is not None and reader.fault is not None:
        assert reader.fault.close_code == whole.fault.close_code
        assert whole.fault.close_code in (1002, 1007, 1009)
        assert whole.feed(b"\x81\x80abcd") == []
    for number, (opcode, payload) in enumerate(events):
        assert opcode in (1, 2, 8, 9, 10)
        assert opcode == CLOSE or len(payload) <= _LIMIT
        assert opcode != CLOSE or number == len(events) - 1
        if opcode == TEXT:
            assert isinstance(payload, str)
            payload.encode()


def _check_message(payload: bytes, as_text: bool) -> None:
    try:
        text: str | bytes = payload.decode() if as_text else payload
    except UnicodeDecodeError:
        return  # the frames do not let it pass
    try:
        request = decode(text)
    except ProtocolViolation as violation:
        assert violation.close_code == 1007
        return
    if isinstance(request, SendToGroup):
        assert 0 <= request.ttl_s <= 300
        assert is_group_name(request.group)
        check_receivable(GroupMessage(request.group, request.data, "user", request.metadata))
    for session in (JsonSession(), ReliableJsonSession(QueueLimits())):
        session.receive(text)
        session.outgoing(0.0)


def check_receivable(message: GroupMessage) -> None:
    """Receivers are given one JSON object in UTF-8, however the sender spelt it: nothing leaks out of `data`."""
    body = b"{" + message_body(message)
    try:
        frame = json.loads(body.decode(), parse_constant=_no_json, parse_int=str, parse_float=str)
    except RecursionError:
        return  # of this reader, which is written in Python: it can say nothing
    # A property that is there twice would let a sender speak for the server.
    assert set(frame) - {"metadata"} == {"type", "from", "group", "fromUserId", "dataType", "data"}
    assert (frame["type"], frame["from"], frame["fromUserId"]) == ("message", "group", "user")
    assert frame["group"] == message.group
    assert frame["dataType"] == message.data.kind
    if message.data.kind == "text":
        assert frame["data"] == message.data.body.decode()
    elif message.data.kind != "json":
        assert base64.b64decode(frame["data"], validate=True) == message.data.body
    codec = json_reliable.CODEC
    assert codec.fill([codec.prepare(message)]) is not None
    assert json_v1.CODEC.prepare(message).endswith(body)


def _no_json(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def _check_acks(payloads: list[bytes]) -> None:
    """A reliable client that acknowledges anything at any time."""
    session = ReliableJsonSession(QueueLimits(messages=20, size_bytes=10_000))
    message = GroupMessage("room", Data("json", b"1"))
    part = session.codec.prepare(message)
    for number, payload in enumerate(payloads):
        try:
            session.deliver(Batch(session.codec, [part] * (1 + number % 3), None), 0.0)
        except QueueOverflow:
            return
        try:
            session.receive(payload)
        except ProtocolViolation:
            continue
        messages, size = session.held()
        assert 0 <= messages <= 20
        assert (size == 0) == (messages == 0)
        assert sum(count for _, count, _ in session.resume(0.0)) == messages


TARGETS: Final = {
    "frames": Target((damaged(st.lists(frames(st.just(b"hello")), max_size=6).map(b"".join)), cuts), _check_frames),
    "messages": Target((requests() | damaged(requests()) | json_texts.map(str.encode), st.booleans()), _check_message),
    "acks": Target(
        (
            st.lists(
                st.builds(
                    b'{"type":"sequenceAck","sequenceId":%b}'.__mod__,
                    st.one_of(st.integers(-2, 40).map(lambda number: b"%d" % number), numbers.map(str.encode)),
                ),
                max_size=20,
            ),
        ),
        _check_acks,
    ),
}
