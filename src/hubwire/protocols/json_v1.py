"""
`json.webpubsub.azure.v1`: one JSON object in each message, both ways.

Payloads are spliced, never parsed again: what a client puts under `data` with `dataType` json reaches every receiver in
the sender's own spelling. `decode` and the two halves of encoding are shared with the reliable form in `reliable.py`.

Source: the service's reference of its JSON subprotocols, the client spec, and the official clients' behaviour.
"""

import binascii
import re
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
    GroupMessage,
    Invoke,
    InvokeResponse,
    JoinGroup,
    LeaveGroup,
    NotOffered,
    NotOfferedAnswer,
    SendEvent,
    SendToGroup,
)
from hubwire.model.names import is_event_name, is_group_name, is_invocation_id, metadata_fault
from hubwire.protocols import json_wire
from hubwire.protocols.frames import TEXT, build_frame
from hubwire.protocols.json_wire import Ping, SequenceAck
from hubwire.protocols.session import Codec, Unnumbered

__all__ = [
    "NAME",
    "Dialogue",
    "JsonCodec",
    "JsonSession",
    "decode",
    "direct_body",
    "message_body",
]

NAME: Final = "json.webpubsub.azure.v1"

_UINT64_MAX: Final = (1 << 64) - 1
_TTL_MAX_S: Final = 300
_DATA_TYPES: Final = frozenset(get_args(DataKind))


# Whole pairs and other escapes are taken as they are, so that the second half of neither is seen alone.
_ESCAPES: Final = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.")

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
            whole = _without_half_characters(text)
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
            return JoinGroup(_group(group), _ack_id(ack_id))
        case json_wire.LeaveGroup(group, ack_id):
            return LeaveGroup(_group(group), _ack_id(ack_id))
        case json_wire.Event():
            event = _event(wire.event)
            metadata = _metadata(wire.metadata)
            data = _data(wire.data_type, wire.data, metadata)
            return SendEvent(event, data, _ack_id(wire.ack_id), metadata)
        case Ping() | SequenceAck():
            return wire
        case json_wire.Invoke():
            return _invoke(wire)
        case json_wire.CancelInvocation(invocation_id):
            return CancelInvocation(_invocation_id(invocation_id))
        case json_wire.StreamData(stream_id) | json_wire.StreamEnd(stream_id):
            return NotOffered("stream", _key(stream_id))
        case (
            json_wire.SetGroupState(group, ack_id)
            | json_wire.SubscribeGroupState(group, ack_id)
            | json_wire.UnsubscribeGroupState(group, ack_id)
        ):
            return NotOffered("group state", _group(group), _ack_id(ack_id))
        case _:  # pragma: no cover
            raise AssertionError(wire)


def _without_half_characters(text: str) -> str | None:
    """
    The message with U+FFFD in place of escapes of half a surrogate pair; None if it has none.

    JSON's grammar allows them (RFC 8259, 8.2) and browsers write them for half an emoji, but they are no characters,
    and the decoder refuses them. What a browser sends as plain text has the same replacement in their place.
    """
    whole = _ESCAPES.sub(lambda found: "\\ufffd" if found[1] else found[0], text)
    return None if whole == text else whole


def _send_to_group(wire: json_wire.SendToGroup) -> SendToGroup | NotOffered:
    group = _group(wire.group)
    ack_id = _ack_id(wire.ack_id)
    if wire.stream is not None:
        return NotOffered("stream", _key(wire.stream.stream_id), ack_id)
    ttl_s = wire.ttl_seconds or 0
    if not 0 <= ttl_s <= _TTL_MAX_S:
        raise ProtocolViolation("ttlSeconds must be a whole number from 0 to 300.")
    metadata = _metadata(wire.metadata)
    data = _data(wire.data_type, wire.data, metadata)
    return SendToGroup(group, data, ack_id, bool(wire.no_echo), ttl_s, metadata)


def _invoke(wire: json_wire.Invoke) -> Invoke:
    invocation_id = _invocation_id(wire.invocation_id)
    if wire.target not in (None, "event"):
        raise ProtocolViolation("The target of an invocation must be event.")
    event = _event(wire.event)
    metadata = _metadata(wire.metadata)
    # The official client leaves both out where there is nothing to send.
    is_empty = wire.data_type is None and not bytes(wire.data)
    data = Data("text", b"") if is_empty else _data(wire.data_type, wire.data, metadata)
    return Invoke(invocation_id, event, data, metadata)


def _event(name: str) -> str:
    if not is_event_name(name):
        raise ProtocolViolation("The event name is not valid.")
    return name


def _invocation_id(text: str) -> str:
    if not is_invocation_id(text):
        raise ProtocolViolation("The invocation id is not valid.")
    return text


def _group(name: str) -> str:
    if not is_group_name(name):
        raise ProtocolViolation("The group name is not valid.")
    return name


def _key(name: str) -> str:
    if not name:
        raise ProtocolViolation("An identifier must not be empty.")
    return name


def _ack_id(ack_id: int | None) -> int | None:
    if ack_id is not None and not 0 <= ack_id <= _UINT64_MAX:
        raise ProtocolViolation("ackId must be an unsigned 64-bit integer.")
    return ack_id


def _metadata(metadata: dict[str, str] | None) -> Mapping[str, str]:
    if not metadata:
        return NO_METADATA
    fault = metadata_fault(metadata)
    if fault is not None:
        raise ProtocolViolation(f"The {fault}.")
    return metadata


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
    return _with_payload(head, message.data, message.metadata)


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
        case NotOfferedAnswer(request):
            return _not_offered_body(request)
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


def _not_offered_body(request: NotOffered) -> bytes:
    """Each feature has its own way to say no; an `ack` to a stream would let the official client wait for ever."""
    text = f"This server does not offer {request.feature} yet."
    error = {"name": "InternalServerError", "message": text}
    match request.feature:
        case "stream":
            return _encode({"type": "streamClosed", "streamId": request.key, "error": error})
        case "group state":
            if request.ack_id is None:
                return b""
            return _encode({"type": "ack", "ackId": request.ack_id, "success": False, "error": error})


class JsonCodec:
    """The plain form: a frame is the same for all its receivers."""

    __slots__ = ()

    numbers: Final = False
    keeps: Final = False

    def prepare(self, message: DataMessage) -> bytes:
        return build_frame(TEXT, b"{" + message_body(message))

    def fill(self, parts: Sequence[bytes]) -> Callable[[int], bytes] | None:  # noqa: ARG002  nothing is numbered
        return None


PONG: Final = build_frame(TEXT, b'{"type":"pong"}')
CODEC: Final = JsonCodec()


class Dialogue(Unnumbered):
    """What all JSON sessions understand: requests are handed on, pings and sequence acks are the protocol's own."""

    __slots__ = ("_pongs",)

    def __init__(self) -> None:
        self._pongs = 0

    def direct(self, message: DirectMessage) -> bytes:
        body = direct_body(message)
        return build_frame(TEXT, body) if body else b""

    def receive(self, payload: str | bytes) -> Sequence[ClientRequest]:
        request = decode(payload)
        if isinstance(request, Ping):
            self._pongs += 1
            return ()
        if isinstance(request, SequenceAck):
            self.acknowledge(_sequence_id(request.sequence_id))
            return ()
        return (request,)

    def acknowledge(self, sequence_id: int) -> None:
        """The client has everything up to this number. Where nothing is numbered, that means nothing."""

    def outgoing(self, now: float) -> Sequence[bytes]:  # noqa: ARG002  what is owed is owed now
        if not self._pongs:
            return ()
        owed, self._pongs = self._pongs, 0
        return (PONG,) * owed


class JsonSession(Dialogue):
    """One client of the plain form. All it remembers is a pong that it owes."""

    __slots__ = ()

    @property
    def codec(self) -> Codec:
        return CODEC

    @property
    def subprotocol(self) -> str | None:
        return NAME


def _sequence_id(value: int | str) -> int:
    """The documentation shows text, every client sends a number. Anything else acknowledges nothing."""
    if isinstance(value, int):
        return value
    # 20 digits hold every unsigned 64-bit number; longer text is not one, and int() of it would be slow.
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 20 else 0
