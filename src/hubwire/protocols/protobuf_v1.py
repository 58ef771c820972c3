"""
`protobuf.webpubsub.azure.v1`: one message of `webpubsub.proto` in each binary frame, both ways.

What goes to many clients is written here, by hand: a frame is a few lengths around what there is already. The rest is
in `protobuf_wire`. Both are shared with the reliable form in `protobuf_reliable.py`.

Source: the service's reference of its protobuf subprotocols; the numbers of fields stand in the schema.
"""

from collections.abc import Callable, Sequence
from typing import Final

from hubwire.model.errors import ProtocolViolation
from hubwire.model.messages import (
    Ack,
    ClientRequest,
    Data,
    DataMessage,
    DirectMessage,
    GroupMessage,
    GroupStateMessage,
    StreamError,
    StreamInfo,
)
from hubwire.model.payloads import is_any
from hubwire.protocols import protobuf_wire
from hubwire.protocols.dialogue import Dialogue, Language
from hubwire.protocols.frames import BINARY, build_frame
from hubwire.protocols.housekeeping import Ping, SequenceAck
from hubwire.protocols.session import Codec

__all__ = ["DATA_MESSAGE", "NAME", "ProtobufCodec", "ProtobufLanguage", "ProtobufSession", "message_body", "varint"]

NAME: Final = "protobuf.webpubsub.azure.v1"

_UNSUPPORTED: Final = 1003

# A field is its tag (its number times eight, plus 2 for what has a length), a length, and so many bytes.
DATA_MESSAGE: Final = b"\x12"
"""Field 2 of `DownstreamMessage`."""

STATE_UPDATE: Final = b"\x4a"
"""Field 9."""

STATE_SNAPSHOT: Final = b"\x52"
"""Field 10."""

_FROM_GROUP: Final = b"\x0a\x05group\x12"  # "from" is field 1, "group" field 2
_FROM_SERVER: Final = b"\x0a\x06server"
_DATA: Final = b"\x1a"
_METADATA: Final = b"\x2a"
_KEY: Final = b"\x0a"
_VALUE: Final = b"\x12"
_TEXT: Final = b"\x0a"
_BINARY: Final = b"\x12"
_PROTOBUF: Final = b"\x1a"
_JSON: Final = b"\x22"

_STREAM: Final = b"\x32"
_STREAM_ID: Final = b"\x0a"
_STREAM_NUMBER: Final = b"\x10"
_STREAM_END: Final = b"\x18\x01"
_STREAM_ERROR: Final = b"\x22"
_ERROR_NAME: Final = b"\x0a"
_ERROR_TEXT: Final = b"\x12"
_ERROR_CODE: Final = b"\x1a"

_ACK: Final = b"\x0a"
_ACK_ID: Final = b"\x08"
_SUCCESS: Final = b"\x10\x01"


def varint(number: int) -> bytes:
    """A whole number, 0 to 2^64-1, in as few bytes as it takes: seven bits in each, the lowest first."""
    if number < 0x80:
        return _SHORT[number]
    out = bytearray()
    while number >= 0x80:
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SHORT: Final = [bytes((number,)) for number in range(0x80)]


def _field(tag: bytes, value: bytes) -> bytes:
    return b"".join((tag, varint(len(value)), value))


def message_body(message: DataMessage) -> bytes:
    """
    A `DataMessage` without its number: the part that all receivers share.

    Nothing is said of the user who sent it: the schema has no place for that.
    """
    if isinstance(message, GroupMessage):
        group = message.group.encode()
        head = b"".join((_FROM_GROUP, varint(len(group)), group))
    else:
        head = _FROM_SERVER
    body = head + _field(_DATA, _data(message.data))
    if message.metadata:
        body += b"".join(
            [
                _field(_METADATA, _field(_KEY, key.encode()) + _field(_VALUE, value.encode()))
                for key, value in message.metadata.items()
            ]
        )
    if isinstance(message, GroupMessage) and message.stream is not None:
        body += _field(_STREAM, _place(message.stream))
    return body


def state_tag(message: GroupStateMessage) -> bytes:
    """Of the field that the message is in."""
    return STATE_SNAPSHOT if message.snapshot else STATE_UPDATE


def _place(info: StreamInfo) -> bytes:
    """The place of a message in a stream."""
    body = _field(_STREAM_ID, info.stream_id.encode()) + _STREAM_NUMBER + varint(info.sequence_id)
    if info.end:
        body += _STREAM_END
    if info.error is not None:
        body += _field(_STREAM_ERROR, _error(info.error))
    return body


def _error(error: StreamError) -> bytes:
    body = _field(_ERROR_NAME, error.name.encode())
    if error.message:
        body += _field(_ERROR_TEXT, error.message.encode())
    if error.user_error_code:
        body += _field(_ERROR_CODE, error.user_error_code.encode())
    return body


def _data(data: Data) -> bytes:
    body = data.body
    if data.kind == "text":
        return _field(_TEXT, body)
    if data.kind == "json":
        return _field(_JSON, body)
    # What a client of another protocol calls protobuf may be anything, and a client that is given something else
    # than an `Any` in its place cannot read the message at all.
    return _field(_PROTOBUF if data.kind == "protobuf" and is_any(body) else _BINARY, body)


class ProtobufCodec:
    """The plain form: a frame is the same for all its receivers."""

    __slots__ = ()

    numbers: Final = False
    keeps: Final = False
    numbers_states: Final = False

    def prepare(self, message: DataMessage) -> bytes:
        return build_frame(BINARY, _field(DATA_MESSAGE, message_body(message)))

    def prepare_state(self, message: GroupStateMessage) -> bytes:
        return build_frame(BINARY, _field(state_tag(message), protobuf_wire.state_body(message)))

    def fill(self, parts: Sequence[bytes]) -> Callable[[int], bytes] | None:  # noqa: ARG002  nothing is numbered
        return None


CODEC: Final = ProtobufCodec()


class ProtobufLanguage(Language):
    """Both forms: they differ in nothing but the numbers of messages."""

    __slots__ = ()

    def __init__(self, name: str, codec: Codec) -> None:
        # An empty message, in field 4.
        super().__init__(name, codec, build_frame(BINARY, b"\x22\x00"))

    def decode(self, payload: str | bytes) -> ClientRequest | Ping | SequenceAck:
        if isinstance(payload, str):
            raise ProtocolViolation("This subprotocol takes binary frames only.", _UNSUPPORTED)
        return protobuf_wire.decode(payload)

    def direct(self, message: DirectMessage) -> bytes:
        if isinstance(message, Ack) and message.error is None:
            # By far the most of what is told to one client.
            number = _ACK_ID + varint(message.ack_id) if message.ack_id else b""
            return build_frame(BINARY, _field(_ACK, number + _SUCCESS))
        body = protobuf_wire.direct_body(message)
        return build_frame(BINARY, body) if body else b""


_LANGUAGE: Final = ProtobufLanguage(NAME, CODEC)


class ProtobufSession(Dialogue):
    """One client of the plain form."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_LANGUAGE)
