"""
`json.webpubsub.azure.v1`: one JSON object in each message, both ways.

Payloads are spliced, never parsed again: what a client puts under `data` with `dataType` json reaches every receiver in
the sender's own spelling. `decode` and the two halves of encoding are shared with the reliable form in
`json_reliable.py`.

Source: the service's reference of its JSON subprotocols, the client spec, and the official clients' behaviour.
"""

import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Final, get_args

import msgspec
from msgspec import Raw

from hubwire.model.errors import ProtocolViolation
from hubwire.model.messages import (
    NO_METADATA,
    Ack,
    AckError,
    CancelInvocation,
    ClientRequest,
    Connected,
    Data,
    DataKind,
    DataMessage,
    DirectMessage,
    Disconnected,
    EndStream,
    GroupMessage,
    GroupStateMessage,
    Invoke,
    InvokeResponse,
    JoinGroup,
    KeepStream,
    LeaveGroup,
    OpenStream,
    SendEvent,
    SendToGroup,
    SetGroupState,
    StreamAck,
    StreamClosed,
    StreamError,
    StreamFragment,
    StreamNack,
    SubscribeGroupState,
    UnsubscribeGroupState,
)
from hubwire.protocols import json_streams, json_wire
from hubwire.protocols.checks import (
    event_name,
    group_name,
    identifier,
    invocation_id_of,
    metadata_of,
    ttl_s_of,
    without_half_characters,
)
from hubwire.protocols.dialogue import Dialogue, Language
from hubwire.protocols.frames import TEXT, build_frame
from hubwire.protocols.housekeeping import PING, Ping, SequenceAck
from hubwire.protocols.openings import TO_GROUPS_ONLY, opening_fault
from hubwire.protocols.session import Codec

__all__ = [
    "NAME",
    "JsonCodec",
    "JsonLanguage",
    "JsonSession",
    "decode",
    "direct_body",
    "message_body",
    "state_body",
]

NAME: Final = "json.webpubsub.azure.v1"

_UINT64_MAX: Final = (1 << 64) - 1
_DATA_TYPES: Final = frozenset(get_args(DataKind))
_ABSENT: Final = frozenset({b"", b"null"})

_decoder: Final = msgspec.json.Decoder(json_wire.Wire)
_text_decoder: Final = msgspec.json.Decoder(str)
_encode: Final = msgspec.json.Encoder().encode


def decode(payload: str | bytes) -> ClientRequest | Ping | SequenceAck:
    """
    One client message to one request.

    Args:
        payload: `str` from a text frame; `bytes` from a binary one, which the reference allows to hold the same JSON.

    Raises:
        ProtocolViolation: not JSON, not an object, unknown type, or a property that is missing or not what it must be.
    """
    try:
        text = payload if isinstance(payload, str) else payload.decode()
        try:
            wire = _decoder.decode(text)
        except msgspec.DecodeError:
            whole = without_half_characters(text)
            if whole is None:
                raise
            wire = _decoder.decode(whole)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        # msgspec names the place and the expected type, never the value. RecursionError is its answer to deep nesting.
        raise ProtocolViolation("The message is not a valid request of this subprotocol.") from error
    if type(wire) is json_wire.SendToGroup:
        return _send_to_group(wire)
    match wire:
        case json_wire.JoinGroup(group, ack_id):
            return JoinGroup(group_name(group), _ack_id(ack_id))
        case json_wire.LeaveGroup(group, ack_id):
            return LeaveGroup(group_name(group), _ack_id(ack_id))
        case json_wire.Event():
            event = event_name(wire.event)
            if wire.stream is not None:
                stream_id = identifier(wire.stream.stream_id)
                return OpenStream("", stream_id, fault=TO_GROUPS_ONLY, ack_id=_ack_id(wire.ack_id))
            metadata = metadata_of(wire.metadata)
            data = _data(wire.data_type, wire.data, metadata)
            return SendEvent(event, data, _ack_id(wire.ack_id), metadata)
        case json_wire.Ping():
            return PING
        case json_wire.SequenceAck(sequence_id):
            return SequenceAck(_sequence_id(sequence_id))
        case json_wire.Invoke():
            return _invoke(wire)
        case json_wire.CancelInvocation(invocation_id):
            return CancelInvocation(invocation_id_of(invocation_id))
        case json_wire.StreamData():
            return _stream_data(wire)
        case json_wire.StreamEnd():
            return _stream_end(wire)
        case json_wire.SetGroupState(group, state, ack_id):
            return SetGroupState(group_name(group), state, _ack_id(ack_id))
        case json_wire.SubscribeGroupState(group, ack_id):
            return SubscribeGroupState(group_name(group), _ack_id(ack_id))
        case json_wire.UnsubscribeGroupState(group, ack_id):
            return UnsubscribeGroupState(group_name(group), _ack_id(ack_id))
        case _:  # pragma: no cover
            raise AssertionError(wire)


def _send_to_group(wire: json_wire.SendToGroup) -> SendToGroup | OpenStream:
    group = group_name(wire.group)
    ack_id = _ack_id(wire.ack_id)
    ttl_s = ttl_s_of(wire.ttl_seconds)
    metadata = metadata_of(wire.metadata)
    if wire.stream is not None:
        return _open_stream(wire, wire.stream, group, ttl_s, metadata)
    data = _data(wire.data_type, wire.data, metadata)
    return SendToGroup(group, data, ack_id, bool(wire.no_echo), ttl_s, metadata)


def _invoke(wire: json_wire.Invoke) -> Invoke:
    invocation_id = invocation_id_of(wire.invocation_id)
    if wire.target not in (None, "event"):
        raise ProtocolViolation("The target of an invocation must be event.")
    event = event_name(wire.event)
    metadata = metadata_of(wire.metadata)
    # The official client leaves both out where there is nothing to send.
    is_empty = wire.data_type is None and not bytes(wire.data)
    data = Data("text", b"") if is_empty else _data(wire.data_type, wire.data, metadata)
    return Invoke(invocation_id, event, data, metadata, wire.stream is not None)


def _open_stream(
    wire: json_wire.SendToGroup,
    start: json_wire.StreamStart,
    group: str,
    ttl_s: int,
    metadata: Mapping[str, str],
) -> OpenStream:
    stream_id = identifier(start.stream_id)
    has_data = wire.data_type is not None or bytes(wire.data) not in _ABSENT
    fault = opening_fault(start.idle_timeout_ms, has_data)
    return OpenStream(group, stream_id, start.idle_timeout_ms, bool(wire.no_echo), ttl_s, metadata, fault)


def _stream_data(wire: json_wire.StreamData) -> StreamFragment | KeepStream:
    stream_id = identifier(wire.stream_id)
    sequence_id = wire.stream_sequence_id
    if sequence_id is None and wire.data_type is None and bytes(wire.data) in _ABSENT:
        return KeepStream(stream_id)
    if sequence_id is None or wire.data_type is None:
        raise ProtocolViolation("streamSequenceId, dataType and data must be there together, or none of them.")
    if not 0 <= sequence_id <= _UINT64_MAX:
        raise ProtocolViolation("streamSequenceId must be an unsigned 64-bit integer.")
    return StreamFragment(stream_id, sequence_id, _data(wire.data_type, wire.data, NO_METADATA))


def _stream_end(wire: json_wire.StreamEnd) -> EndStream:
    stream_id = identifier(wire.stream_id)
    error = wire.error
    if error is None:
        return EndStream(stream_id)
    return EndStream(stream_id, StreamError("UserError", error.message, error.user_error_code))


def _ack_id(ack_id: int | None) -> int | None:
    if ack_id is not None and not 0 <= ack_id <= _UINT64_MAX:
        raise ProtocolViolation("ackId must be an unsigned 64-bit integer.")
    return ack_id


def _data(data_type: str | None, raw: Raw, metadata: Mapping[str, str]) -> Data:
    # The service compares these words without case.
    kind = "json" if data_type is None else data_type.lower()
    if kind not in _DATA_TYPES:
        raise ProtocolViolation("dataType must be one of text, json, binary and protobuf.")
    # Raw pins the whole message that it was cut from; bytes() copies the payload out of it.
    value = bytes(raw)
    if not value:
        if metadata:
            return Data("text", b"")
        raise ProtocolViolation("data is missing.")
    match kind:
        case "json":
            return Data("json", value)
        case "text":
            return Data("text", _string(value).encode())
        case "binary":
            return Data("binary", _base64(value))
        case _:
            return Data("protobuf", _base64(value))


def _string(value: bytes) -> str:
    try:
        return _text_decoder.decode(value)
    except msgspec.DecodeError as error:
        raise ProtocolViolation("data must be a string for this dataType.") from error


def _base64(value: bytes) -> bytes:
    try:
        return binascii.a2b_base64(_string(value), strict_mode=True)
    except ValueError as error:
        raise ProtocolViolation("data must be base64 for this dataType.") from error


def message_body(message: DataMessage) -> bytes:
    """
    A data message as JSON without its opening brace and without a number: the part that all receivers share.

    `dataType` and `data` are always there: the official clients index both.
    """
    if isinstance(message, GroupMessage):
        head = b'"type":"message","from":"group","group":' + _encode(message.group)
        if message.from_user_id is not None:
            head += b',"fromUserId":' + _encode(message.from_user_id)
    else:
        head = b'"type":"message","from":"server"'
    body = _with_payload(head, message.data, message.metadata)
    if isinstance(message, GroupMessage) and message.stream is not None:
        return b"".join((body[:-1], b',"stream":', json_streams.place(message.stream), b"}"))
    return body


def _with_payload(head: bytes, data: Data, metadata: Mapping[str, str]) -> bytes:
    if data.kind == "json":
        value = data.body
    elif data.kind == "text":
        value = _encode(data.body.decode())
    else:
        value = b'"' + binascii.b2a_base64(data.body, newline=False) + b'"'
    return b"".join((head, b',"dataType":"', data.kind.encode(), b'","data":', value, _end(metadata)))


def _end(metadata: Mapping[str, str]) -> bytes:
    return b',"metadata":' + _encode(dict(metadata)) + b"}" if metadata else b"}"


def state_body(message: GroupStateMessage) -> bytes:
    """
    States in a group as JSON, which has no number in either form: no source says that it had one, and the official
    client acknowledges none of it, so that it would be held for ever.
    """
    items: list[dict[str, object]] = []
    for item in message.items:
        row: dict[str, object] = {"connectionId": item.connection_id}
        if item.user_id is not None:
            row["userId"] = item.user_id
        if item.state is not None:
            row["state"] = item.state
        row["updatedAt"] = item.updated_at
        items.append(row)
    kind = "groupStateSnapshot" if message.snapshot else "groupStateUpdate"
    return _encode({"type": kind, "group": message.group, "items": items})


def direct_body(message: DirectMessage) -> bytes:
    """A message for one connection as JSON."""
    match message:
        case Ack(ack_id, None, _):
            return b'{"type":"ack","ackId":%d,"success":true}' % ack_id
        case Ack(ack_id, AckError(name, text), _):
            error = {"name": name, "message": text}
            return _encode({"type": "ack", "ackId": ack_id, "success": False, "error": error})
        case Connected(connection_id, user_id, token):
            # The service's own emulator sends an empty userId to an anonymous client; every official client takes it.
            body = {
                "type": "system",
                "event": "connected",
                "userId": user_id or "",
                "connectionId": connection_id,
            }
            return _encode(body if token is None else {**body, "reconnectionToken": token})
        case Disconnected(text, _, _):
            return _encode({"type": "system", "event": "disconnected", "message": text})
        case InvokeResponse():
            return _invoke_response_body(message)
        case StreamAck() | StreamNack() | StreamClosed():
            return json_streams.answer(message)
        case _:  # pragma: no cover
            raise AssertionError(message)


def _invoke_response_body(response: InvokeResponse) -> bytes:
    head = b'{"type":"invokeResponse","invocationId":' + _encode(response.invocation_id)
    error = response.error
    if error is not None:
        return head + b',"success":false,"error":' + _encode({"name": error.name, "message": error.message}) + b"}"
    head += b',"success":true'
    data = response.data
    # The official client throws away a response whose data is null, and goes on waiting; without data it is content.
    if data is None or (data.kind == "json" and data.body.strip() == b"null"):
        return head + _end(response.metadata)
    return _with_payload(head, data, response.metadata)


class JsonCodec:
    """The plain form: a frame is the same for all its receivers."""

    __slots__ = ()

    numbers: Final = False
    keeps: Final = False
    numbers_states: Final = False

    def prepare(self, message: DataMessage) -> bytes:
        return build_frame(TEXT, b"{" + message_body(message))

    def prepare_state(self, message: GroupStateMessage) -> bytes:
        return build_frame(TEXT, state_body(message))

    def fill(self, parts: Sequence[bytes]) -> Callable[[int], bytes] | None:  # noqa: ARG002  nothing is numbered
        return None


CODEC: Final = JsonCodec()


class JsonLanguage(Language):
    """Both forms: they differ in nothing but the numbers of messages."""

    __slots__ = ()

    def __init__(self, name: str, codec: Codec) -> None:
        super().__init__(name, codec, build_frame(TEXT, b'{"type":"pong"}'))

    def decode(self, payload: str | bytes) -> ClientRequest | Ping | SequenceAck:
        return decode(payload)

    def direct(self, message: DirectMessage) -> bytes:
        body = direct_body(message)
        return build_frame(TEXT, body) if body else b""


_LANGUAGE: Final = JsonLanguage(NAME, CODEC)


class JsonSession(Dialogue):
    """One client of the plain form."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_LANGUAGE)


def _sequence_id(value: int | str) -> int:
    """The documentation shows text, every client sends a number. Anything else acknowledges nothing."""
    if isinstance(value, int):
        return value
    # 20 digits hold every unsigned 64-bit number; longer text is not one, and int() of it would be slow.
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 20 else 0
