"""What clients of the protobuf subprotocols send, most of it good, and what must hold of whatever it is."""

from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage
from hypothesis import strategies as st

from doubles import frames as read_frames
from fuzz.inputs import damaged, json_texts
from fuzz.protocols import check_receivable
from fuzz.target import Target
from hubwire.model.errors import ProtocolViolation
from hubwire.model.messages import Data, FromServer, GroupMessage, SendToGroup
from hubwire.model.names import is_group_name
from hubwire.model.payloads import is_any
from hubwire.protocols import protobuf_reliable, protobuf_v1
from hubwire.protocols.protobuf_reliable import ReliableProtobufSession
from hubwire.protocols.protobuf_v1 import ProtobufSession
from hubwire.protocols.protobuf_wire import decode
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.webpubsub_pb2 import DownstreamMessage
from protobuf_messages import message_of
from vectors.protobuf_frames import ANY, REFUSED, REQUESTS, entry, part, value

__all__ = ["TARGETS", "protobuf_requests"]

_NUMBERS: Final = st.sampled_from([0, 1, 127, 128, 300, 301, (1 << 32) - 1, 1 << 32, (1 << 64) - 1])
_TEXTS: Final = st.sampled_from([b"", b"g", b"room", b" ", "é☃".encode(), b"\xff", b"\xed\xa0\x80", b"a" * 1025])
_ANYS: Final = st.sampled_from([b"", ANY, ANY + part(9, "x"), ANY[:-1], b"\x08\x01"])
_PAYLOADS: Final = st.one_of(
    _TEXTS.map(lambda text: part(1, text)),
    st.binary(max_size=20).map(lambda body: part(2, body)),
    _ANYS.map(lambda body: part(3, body)),
    json_texts.map(lambda text: part(4, text.encode("utf-8", "surrogatepass"))),
    st.just(b""),
)
_FIELDS: Final = st.recursive(
    st.one_of(
        st.builds(value, st.integers(1, 18), _NUMBERS),
        st.builds(part, st.integers(1, 18), _TEXTS),
        st.builds(part, st.just(3), _PAYLOADS),
        st.builds(part, st.just(2), _PAYLOADS),
        st.builds(entry, st.sampled_from([4, 6]), st.sampled_from(["k", "", "no key"]), st.sampled_from(["v", "é"])),
    ),
    lambda inner: st.builds(
        lambda field, fields: part(field, *fields), st.integers(1, 18), st.lists(inner, max_size=4)
    ),
    max_leaves=12,
)


def protobuf_requests() -> st.SearchStrategy[bytes]:
    """Messages of a client, most of which are good, and others that are fields of all kinds in one another."""
    good = st.sampled_from([request.wire for request in REQUESTS])
    return st.one_of(good, good, good, st.sampled_from([wire for wire in REFUSED if len(wire) < 3000]), _FIELDS)


def _check_message(payload: bytes) -> None:
    try:
        request = decode(payload)
    except ProtocolViolation as violation:
        assert violation.close_code == 1007
        assert len(str(violation)) < 200
        return
    if isinstance(request, SendToGroup):
        assert 0 <= request.ttl_s <= 300
        assert is_group_name(request.group)
        message = GroupMessage(request.group, request.data, "user", request.metadata)
        check_receivable(message)
        _check_readable(message)
    for session in (ProtobufSession(), ReliableProtobufSession(QueueLimits())):
        session.receive(payload)
        session.outgoing(0.0)


def _check_readable(message: GroupMessage | FromServer) -> None:
    """Receivers are given one message of the schema, with a number or without."""
    plain = protobuf_v1.CODEC.prepare(message)
    numbered = protobuf_reliable.CODEC.fill([protobuf_reliable.CODEC.prepare(message)] * 2)
    assert numbered is not None
    for data, first in ((plain, None), (numbered(127), 127)):
        for at, (opcode, payload) in enumerate(read_frames(data)):
            assert opcode == 2
            parsed = DownstreamMessage.FromString(payload).data_message
            assert parsed.HasField("sequence_id") == (first is not None)
            assert first is None or parsed.sequence_id == first + at
            assert dict(parsed.metadata) == dict(message.metadata)
            if message.data.kind in ("text", "json"):
                assert getattr(parsed.data, f"{message.data.kind}_data").encode() == message.data.body


def _check_any(body: bytes) -> None:
    """What is called protobuf can be read by who gets it, whatever it is."""
    if is_any(body):
        AnyMessage.FromString(body)
    (frame,) = read_frames(protobuf_v1.CODEC.prepare(FromServer(Data("protobuf", body))))
    assert message_of(frame.payload)["dataType"] == ("protobuf" if is_any(body) else "binary")


TARGETS: Final = {
    "protobuf messages": Target((protobuf_requests() | damaged(protobuf_requests()),), _check_message),
    "protobuf payloads": Target((damaged(_ANYS) | _FIELDS | st.binary(max_size=60),), _check_any),
}
