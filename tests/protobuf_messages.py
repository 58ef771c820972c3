"""
A client of the protobuf subprotocols, as far as it reads and writes: from and to the shapes of the JSON subprotocols,
so that the same test can speak either.

It knows the schema and nothing else of ours.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

from hubwire.protocols.webpubsub_pb2 import DownstreamMessage, GroupStateItem, MessageData, UpstreamMessage

__all__ = ["data_of", "message_of", "request_of"]

_FIELDS = {
    "joinGroup": "join_group_message",
    "leaveGroup": "leave_group_message",
    "sendToGroup": "send_to_group_message",
    "event": "event_message",
    "ping": "ping_message",
    "sequenceAck": "sequence_ack_message",
    "invoke": "invoke_event_message",
    "cancelInvocation": "cancel_invocation_message",
    "streamData": "stream_data_message",
    "streamEnd": "stream_end_message",
    "setGroupState": "set_group_state_message",
    "subscribeGroupState": "subscribe_group_state_message",
    "unsubscribeGroupState": "unsubscribe_group_state_message",
}
_NAMES = {
    "ackId": "ack_id",
    "noEcho": "no_echo",
    "ttlSeconds": "ttl_seconds",
    "sequenceId": "sequence_id",
    "invocationId": "invocation_id",
    "streamId": "stream_id",
    "streamSequenceId": "stream_sequence_id",
    "idleTimeoutMs": "idle_timeout_ms",
    "userErrorCode": "user_error_code",
}


def request_of(request: Mapping[str, Any]) -> bytes:
    """What a client sends, of a request in the shape of JSON."""
    message = UpstreamMessage()
    part = getattr(message, _FIELDS[request["type"]])
    part.SetInParent()
    for name, value in request.items():
        match name:
            case "type" | "target" | "dataType":
                pass
            case "data":
                part.data.CopyFrom(data_of(request.get("dataType") or "json", value))
            case "metadata":
                part.metadata.update(value)
            case "state":
                part.state.SetInParent()
                part.state.entries.update(value)
            case "stream" | "error":
                inner = getattr(part, name)
                inner.SetInParent()
                for key, said in value.items():
                    setattr(inner, _NAMES.get(key, key), said)
            case _ if value is not None:
                setattr(part, _NAMES.get(name, name), value)
    return message.SerializeToString()


def data_of(kind: str, value: Any) -> MessageData:
    """A payload, of one in the shape of JSON."""
    match kind:
        case "text":
            return MessageData(text_data=value)
        case "json":
            return MessageData(json_data=json.dumps(value))
        case "binary":
            return MessageData(binary_data=base64.b64decode(value, validate=True))
        case _:
            return MessageData(protobuf_data=AnyMessage.FromString(base64.b64decode(value, validate=True)))


def message_of(payload: bytes) -> dict[str, Any]:
    """What a client is told, in the shape of JSON."""
    message = DownstreamMessage.FromString(payload)
    _check_known(message)
    kind = message.WhichOneof("message")
    match kind:
        case "ack_message":
            ack = message.ack_message
            return {"type": "ack", "ackId": ack.ack_id, "success": ack.success, **_error(ack)}
        case "data_message":
            return _data_message(message.data_message)
        case "system_message":
            return _system(message.system_message)
        case "pong_message":
            return {"type": "pong"}
        case "invoke_response_message":
            response = message.invoke_response_message
            said = {"type": "invokeResponse", "invocationId": response.invocation_id, "success": response.success}
            if response.HasField("data"):
                said |= _data(response.data)
            return said | _error(response) | _metadata(response)
        case "stream_ack_message":
            stream_ack = message.stream_ack_message
            expected = stream_ack.expected_sequence_id
            return {"type": "streamAck", "streamId": stream_ack.stream_id, "expectedSequenceId": expected}
        case "stream_nack_message":
            nack = message.stream_nack_message
            return {
                "type": "streamNack",
                "streamId": nack.stream_id,
                "name": nack.name,
                "message": nack.message,
                "expectedSequenceId": nack.expected_sequence_id,
            }
        case "stream_closed_message":
            closed = message.stream_closed_message
            return {"type": "streamClosed", "streamId": closed.stream_id, **_error(closed)}
        case "group_state_update_message":
            return _states("groupStateUpdate", message.group_state_update_message)
        case "group_state_snapshot_message":
            return _states("groupStateSnapshot", message.group_state_snapshot_message)
    raise AssertionError("an empty message")


def _check_known(message: DownstreamMessage) -> None:
    """A client that looks for no more than the schema has must find all of it; an `Any` is the sender's own."""
    given, stripped = DownstreamMessage(), DownstreamMessage()
    for copy in (given, stripped):
        copy.CopyFrom(message)
        for holder in (copy.data_message, copy.invoke_response_message):
            if holder.data.WhichOneof("data") == "protobuf_data":
                holder.data.protobuf_data.Clear()
    stripped.DiscardUnknownFields()
    assert stripped == given


def _error(message: Any) -> dict[str, Any]:
    if not message.HasField("error"):
        return {}
    return {"error": {"name": message.error.name, "message": message.error.message}}


def _metadata(message: Any) -> dict[str, Any]:
    return {"metadata": dict(message.metadata)} if message.metadata else {}


def _data(data: MessageData) -> dict[str, Any]:
    match data.WhichOneof("data"):
        case "text_data":
            return {"dataType": "text", "data": data.text_data}
        case "json_data":
            return {"dataType": "json", "data": json.loads(data.json_data)}
        case "binary_data":
            return {"dataType": "binary", "data": base64.b64encode(data.binary_data).decode()}
        case "protobuf_data":
            packed = data.protobuf_data.SerializeToString()
            return {"dataType": "protobuf", "data": base64.b64encode(packed).decode()}
    raise AssertionError("no data")


def _data_message(message: DownstreamMessage.DataMessage) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "message", "from": getattr(message, "from"), **_data(message.data)}
    if message.HasField("group"):
        said["group"] = message.group
    if message.HasField("sequence_id"):
        said["sequenceId"] = message.sequence_id
    said |= _metadata(message)
    if message.HasField("stream"):
        stream = message.stream
        info: dict[str, Any] = {"streamId": stream.stream_id, "streamSequenceId": stream.stream_sequence_id}
        if stream.HasField("end_of_stream"):
            info["endOfStream"] = stream.end_of_stream
        if stream.HasField("error"):
            error = stream.error
            info["error"] = {"name": error.name, "message": error.message}
            if error.user_error_code:  # else it may be there or not
                info["error"]["userErrorCode"] = error.user_error_code
        said["stream"] = info
    return said


def _system(message: DownstreamMessage.SystemMessage) -> dict[str, Any]:
    if message.WhichOneof("message") == "connected_message":
        connected = message.connected_message
        said = {
            "type": "system",
            "event": "connected",
            "userId": connected.user_id,
            "connectionId": connected.connection_id,
        }
        if connected.HasField("reconnection_token"):
            said["reconnectionToken"] = connected.reconnection_token
        return said
    assert message.WhichOneof("message") == "disconnected_message"
    return {"type": "system", "event": "disconnected", "message": message.disconnected_message.reason}


def _states(
    kind: str, message: DownstreamMessage.GroupStateUpdateMessage | DownstreamMessage.GroupStateSnapshotMessage
) -> dict[str, Any]:
    said: dict[str, Any] = {"type": kind, "group": message.group, "items": [_state(item) for item in message.items]}
    if message.HasField("sequence_id"):
        said["sequenceId"] = message.sequence_id
    return said


def _state(item: GroupStateItem) -> dict[str, Any]:
    said: dict[str, Any] = {"connectionId": item.connection_id, "updatedAt": item.updated_at}
    if item.HasField("user_id"):
        said["userId"] = item.user_id
    if item.HasField("state"):
        said["state"] = dict(item.state.entries)
    return said
