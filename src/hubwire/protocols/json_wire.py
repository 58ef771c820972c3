"""
The shapes of what clients send in the JSON subprotocols, as the decoder fills them.

Source: as `json_v1`.
"""

from typing import TypeAlias

from msgspec import Raw, Struct

__all__ = [
    "CancelInvocation",
    "Event",
    "Invoke",
    "JoinGroup",
    "LeaveGroup",
    "Ping",
    "SendToGroup",
    "SequenceAck",
    "SetGroupState",
    "StreamData",
    "StreamEnd",
    "StreamError",
    "StreamStart",
    "SubscribeGroupState",
    "UnsubscribeGroupState",
    "Wire",
]


class Request(Struct, tag_field="type", rename="camel", gc=False):
    """Base of the shapes on the wire. Unknown properties are ignored; null is as good as absent."""


class JoinGroup(Request, tag="joinGroup", gc=False):
    group: str
    ack_id: int | None = None


class LeaveGroup(Request, tag="leaveGroup", gc=False):
    group: str
    ack_id: int | None = None


class StreamStart(Struct, rename="camel", gc=False):
    stream_id: str
    idle_timeout_ms: int | None = None


class SendToGroup(Request, tag="sendToGroup"):
    group: str
    data: Raw = Raw()
    data_type: str | None = None
    ack_id: int | None = None
    no_echo: bool | None = None
    ttl_seconds: int | None = None
    metadata: dict[str, str] | None = None
    stream: StreamStart | None = None


class Event(Request, tag="event"):
    event: str
    data: Raw = Raw()
    data_type: str | None = None
    ack_id: int | None = None
    metadata: dict[str, str] | None = None
    stream: StreamStart | None = None


class Ping(Request, tag="ping", gc=False):
    """Asks for a pong."""


class SequenceAck(Request, tag="sequenceAck", gc=False):
    """Everything up to and including this number has arrived. Documented as a number, tolerated as text."""

    sequence_id: int | str


class Invoke(Request, tag="invoke"):
    invocation_id: str
    event: str
    target: str | None = None
    data: Raw = Raw()
    data_type: str | None = None
    metadata: dict[str, str] | None = None
    stream: StreamStart | None = None


class CancelInvocation(Request, tag="cancelInvocation", gc=False):
    invocation_id: str


class StreamData(Request, tag="streamData"):
    stream_id: str
    stream_sequence_id: int | None = None
    data: Raw = Raw()
    data_type: str | None = None


class StreamError(Struct, rename="camel", gc=False):
    message: str | None = None
    user_error_code: str | None = None


class StreamEnd(Request, tag="streamEnd"):
    stream_id: str
    error: StreamError | None = None


class SetGroupState(Request, tag="setGroupState"):
    group: str
    state: dict[str, str] | None = None
    ack_id: int | None = None


class SubscribeGroupState(Request, tag="subscribeGroupState", gc=False):
    group: str
    ack_id: int | None = None


class UnsubscribeGroupState(Request, tag="unsubscribeGroupState", gc=False):
    group: str
    ack_id: int | None = None


Wire: TypeAlias = (
    SendToGroup
    | JoinGroup
    | LeaveGroup
    | Event
    | Ping
    | SequenceAck
    | Invoke
    | CancelInvocation
    | StreamData
    | StreamEnd
    | SetGroupState
    | SubscribeGroupState
    | UnsubscribeGroupState
)
