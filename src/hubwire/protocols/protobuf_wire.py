"""
The messages of the protobuf subprotocols by Google's runtime, from the schema in `webpubsub.proto`: what clients send,
and what few of them are told. What goes to many is written by `protobuf_v1`, which is held against the schema by tests.

The runtime does what keeps a parser safe: no more than a hundred messages within one another, no length beyond what is
there, no text that is not UTF-8. Fields that the schema does not know are passed over.
"""

from collections.abc import Callable, Mapping
from typing import Final

from google.protobuf.message import DecodeError

from hubwire.model.errors import ProtocolViolation
from hubwire.model.messages import (
    NO_METADATA,
    Ack,
    CancelInvocation,
    ClientRequest,
    Connected,
    Data,
    DirectMessage,
    Disconnected,
    EndStream,
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
from hubwire.model.payloads import is_any
from hubwire.protocols.checks import (
    event_name,
    group_name,
    identifier,
    invocation_id_of,
    json_value,
    metadata_of,
    ttl_s_of,
)
from hubwire.protocols.housekeeping import PING, Ping, SequenceAck
from hubwire.protocols.openings import TO_GROUPS_ONLY, opening_fault
from hubwire.protocols.webpubsub_pb2 import DownstreamMessage, MessageData, UpstreamMessage

__all__ = ["decode", "direct_body", "state_body"]

_METADATA_LIMIT: Final = 8192
"""No metadata that is legal has more entries: each has a byte at least."""


def decode(payload: bytes) -> ClientRequest | Ping | SequenceAck:
    """
    One client message to one request.

    Raises:
        ProtocolViolation: not a message of the schema, an empty one, or a field that is not what it must be.
    """
    try:
        message = UpstreamMessage.FromString(payload)
    except DecodeError as error:
        raise ProtocolViolation("The message is not a valid request of this subprotocol.") from error
    kind = message.WhichOneof("message")
    if kind is None:
        raise ProtocolViolation("The message holds no request that this subprotocol knows.")
    return _READERS[kind](message)


def _send_to_group(message: UpstreamMessage) -> ClientRequest:
    said = message.send_to_group_message
    group = group_name(said.group)
    ack_id = said.ack_id if said.HasField("ack_id") else None
    ttl_s = ttl_s_of(said.ttl_seconds)
    metadata = _metadata(said.metadata)
    if said.HasField("stream"):
        stream_id = identifier(said.stream.stream_id)
        idle_timeout_ms = said.stream.idle_timeout_ms if said.stream.HasField("idle_timeout_ms") else None
        fault = opening_fault(idle_timeout_ms, said.HasField("data"))
        return OpenStream(group, stream_id, idle_timeout_ms, said.no_echo, ttl_s, metadata, fault)
    data = _data(said.data if said.HasField("data") else None, metadata)
    return SendToGroup(group, data, ack_id, said.no_echo, ttl_s, metadata)


def _event(message: UpstreamMessage) -> ClientRequest:
    said = message.event_message
    name = event_name(said.event)
    ack_id = said.ack_id if said.HasField("ack_id") else None
    if said.HasField("stream"):
        return OpenStream("", identifier(said.stream.stream_id), fault=TO_GROUPS_ONLY, ack_id=ack_id)
    metadata = _metadata(said.metadata)
    data = _data(said.data if said.HasField("data") else None, metadata)
    return SendEvent(name, data, ack_id, metadata)


def _join_group(message: UpstreamMessage) -> ClientRequest:
    said = message.join_group_message
    return JoinGroup(group_name(said.group), said.ack_id if said.HasField("ack_id") else None)


def _leave_group(message: UpstreamMessage) -> ClientRequest:
    said = message.leave_group_message
    return LeaveGroup(group_name(said.group), said.ack_id if said.HasField("ack_id") else None)


def _sequence_ack(message: UpstreamMessage) -> SequenceAck:
    return SequenceAck(message.sequence_ack_message.sequence_id)


def _ping(_message: UpstreamMessage) -> Ping:
    return PING


def _invoke_event(message: UpstreamMessage) -> ClientRequest:
    said = message.invoke_event_message
    invocation_id = invocation_id_of(said.invocation_id)
    event = event_name(said.event)
    metadata = _metadata(said.metadata)
    # As in JSON, there need not be any.
    data = _data(said.data, metadata) if said.HasField("data") else Data("text", b"")
    return Invoke(invocation_id, event, data, metadata, said.HasField("stream"))


def _cancel_invocation(message: UpstreamMessage) -> ClientRequest:
    return CancelInvocation(invocation_id_of(message.cancel_invocation_message.invocation_id))


def _stream_data(message: UpstreamMessage) -> ClientRequest:
    said = message.stream_data_message
    stream_id = identifier(said.stream_id)
    numbered, filled = said.HasField("stream_sequence_id"), said.HasField("data")
    if numbered != filled:
        raise ProtocolViolation("stream_sequence_id and data must be there together, or none of them.")
    if not filled:
        return KeepStream(stream_id)
    return StreamFragment(stream_id, said.stream_sequence_id, _data(said.data, NO_METADATA))


def _stream_end(message: UpstreamMessage) -> ClientRequest:
    said = message.stream_end_message
    stream_id = identifier(said.stream_id)
    if not said.HasField("error"):
        return EndStream(stream_id)
    text = said.error.message if said.error.HasField("message") else None
    code = said.error.user_error_code if said.error.HasField("user_error_code") else None
    return EndStream(stream_id, StreamError("UserError", text, code))


def _set_group_state(message: UpstreamMessage) -> ClientRequest:
    said = message.set_group_state_message
    ack_id = said.ack_id if said.HasField("ack_id") else None
    state = dict(said.state.entries) if said.HasField("state") else None
    return SetGroupState(group_name(said.group), state, ack_id)


def _subscribe_group_state(message: UpstreamMessage) -> ClientRequest:
    said = message.subscribe_group_state_message
    return SubscribeGroupState(group_name(said.group), said.ack_id if said.HasField("ack_id") else None)


def _unsubscribe_group_state(message: UpstreamMessage) -> ClientRequest:
    said = message.unsubscribe_group_state_message
    return UnsubscribeGroupState(group_name(said.group), said.ack_id if said.HasField("ack_id") else None)


_READERS: Final[Mapping[str, Callable[[UpstreamMessage], ClientRequest | Ping | SequenceAck]]] = {
    "send_to_group_message": _send_to_group,
    "event_message": _event,
    "join_group_message": _join_group,
    "leave_group_message": _leave_group,
    "sequence_ack_message": _sequence_ack,
    "ping_message": _ping,
    "invoke_event_message": _invoke_event,
    "cancel_invocation_message": _cancel_invocation,
    "stream_data_message": _stream_data,
    "stream_end_message": _stream_end,
    "set_group_state_message": _set_group_state,
    "subscribe_group_state_message": _subscribe_group_state,
    "unsubscribe_group_state_message": _unsubscribe_group_state,
}


def _metadata(entries: Mapping[str, str]) -> Mapping[str, str]:
    if not entries:
        return NO_METADATA
    if len(entries) > _METADATA_LIMIT:
        raise ProtocolViolation(f"The metadata is larger than {_METADATA_LIMIT} bytes.")
    return metadata_of(dict(entries))


def _data(data: MessageData | None, metadata: Mapping[str, str]) -> Data:
    if data is None:
        if metadata:
            return Data("text", b"")
        raise ProtocolViolation("data is missing.")
    match data.WhichOneof("data"):
        case "text_data":
            return Data("text", data.text_data.encode())
        case "binary_data":
            return Data("binary", data.binary_data)
        case "json_data":
            return Data("json", json_value(data.json_data))
        case "protobuf_data":
            return Data("protobuf", data.protobuf_data.SerializeToString())
        case _:
            raise ProtocolViolation("data holds none of the types of data.")


def state_body(message: GroupStateMessage) -> bytes:
    """A `GroupStateUpdateMessage` or `GroupStateSnapshotMessage`, which have the same fields, without its number."""
    body = DownstreamMessage.GroupStateUpdateMessage(group=message.group)
    for item in message.items:
        row = body.items.add(connection_id=item.connection_id, updated_at=item.updated_at)
        if item.user_id is not None:
            row.user_id = item.user_id
        if item.state is not None:
            row.state.entries.update(item.state)
            row.state.SetInParent()  # without entries it is one, too
    return body.SerializeToString()


def direct_body(message: DirectMessage) -> bytes:
    """A message for one connection; empty where nothing is said."""
    body = DownstreamMessage()
    match message:
        case Ack(ack_id, error, _):
            ack = body.ack_message
            ack.ack_id = ack_id
            ack.success = error is None
            if error is not None:
                ack.error.name = error.name
                ack.error.message = error.message
        case Connected(connection_id, user_id, token):
            connected = body.system_message.connected_message
            connected.connection_id = connection_id
            connected.user_id = user_id or ""
            if token is not None:
                connected.reconnection_token = token
        case Disconnected(text, _, _):
            body.system_message.disconnected_message.reason = text
        case InvokeResponse():
            _answer(body.invoke_response_message, message)
        case StreamAck(stream_id, expected):
            body.stream_ack_message.stream_id = stream_id
            body.stream_ack_message.expected_sequence_id = expected
        case StreamNack(stream_id, text, expected, name):
            nack = body.stream_nack_message
            nack.stream_id, nack.name, nack.message, nack.expected_sequence_id = stream_id, name, text, expected
        case StreamClosed(stream_id, stream_error):
            closed = body.stream_closed_message
            closed.stream_id = stream_id
            if stream_error is not None:
                closed.error.name = stream_error.name
                closed.error.message = stream_error.message or ""
        case _:  # pragma: no cover
            raise AssertionError(message)
    return body.SerializeToString()


def _answer(response: DownstreamMessage.InvokeResponseMessage, answer: InvokeResponse) -> None:
    response.invocation_id = answer.invocation_id
    response.success = answer.error is None
    if answer.error is not None:
        response.error.name = answer.error.name
        response.error.message = answer.error.message
    if answer.data is not None:
        _fill(response.data, answer.data)
    response.metadata.update(answer.metadata)


def _fill(into: MessageData, data: Data) -> None:
    """What is called protobuf and is no `Any` goes as binary: see `protobuf_v1`."""
    if data.kind == "text":
        into.text_data = data.body.decode()
    elif data.kind == "json":
        into.json_data = data.body.decode()
    elif data.kind == "protobuf" and is_any(data.body):
        into.protobuf_data.MergeFromString(data.body)
        into.protobuf_data.SetInParent()
    else:
        into.binary_data = data.body
