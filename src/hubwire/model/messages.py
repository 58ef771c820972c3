"""
What clients ask for, and what they are told: the few values into which every client protocol is translated.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from msgspec import Struct

from hubwire.model.telemetry import CloseCategory

__all__ = [
    "NO_METADATA",
    "Ack",
    "AckError",
    "CancelInvocation",
    "ClientRequest",
    "Connected",
    "Data",
    "DataKind",
    "DataMessage",
    "DirectMessage",
    "Disconnected",
    "EndStream",
    "EventAnswer",
    "FromServer",
    "Goodbye",
    "GroupMessage",
    "GroupStateMessage",
    "Invoke",
    "InvokeResponse",
    "JoinGroup",
    "KeepStream",
    "LeaveGroup",
    "MemberState",
    "OpenStream",
    "Publication",
    "Returned",
    "SendEvent",
    "SendToGroup",
    "SetGroupState",
    "StreamAck",
    "StreamAnswer",
    "StreamClosed",
    "StreamError",
    "StreamErrorName",
    "StreamFragment",
    "StreamInfo",
    "StreamNack",
    "StreamRequest",
    "SubscribeFilter",
    "SubscribeGroupState",
    "UnsubscribeFilter",
    "UnsubscribeGroupState",
    "ends_stream",
]

DataKind: TypeAlias = Literal["text", "json", "binary", "protobuf"]

NO_METADATA: Mapping[str, str] = MappingProxyType({})


class Data(Struct, frozen=True, gc=False):
    """
    One payload.

    Attributes:
        kind: how receivers are to read it.
        body: text as UTF-8; json as the sender's own UTF-8 text, never re-serialised, so that odd spacing
            survives; binary as it is; protobuf as a serialised `google.protobuf.Any`.
    """

    kind: DataKind
    body: bytes


class Publication(Struct, frozen=True):
    """
    What a publication of MQTT has beyond its payload; subscribers of MQTT get it as it came.

    Attributes:
        qos: 0 to 2, with which it was published.
        publisher: id of the connection that published it, which may not want to hear itself.
        is_text: payload format indicator: true for 1, false for 0, None for none.
        user_properties: names and values in their order; names may be repeated.
        expiry_s: message expiry interval, for subscribers; how long it waits here is said by who sends it.
        retain: it is to be kept for who subscribes later, in place of what is kept for its group; empty, in place of
            nothing.

    Source: OASIS MQTT 5.0, 3.3.2.3.
    """

    qos: int = 1
    publisher: str | None = None
    content_type: str | None = None
    is_text: bool | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    expiry_s: int | None = None
    retain: bool = False


# Requests of clients. `ack_id` is None for fire and forget: then neither success nor failure is answered.


class JoinGroup(Struct, frozen=True, gc=False):
    """
    Become a member of `group`. Repeating it is a success.

    Attributes:
        retained: be sent the message that is kept for the group, too.
    """

    group: str
    ack_id: int | None = None
    retained: bool = False


class LeaveGroup(Struct, frozen=True, gc=False):
    """Stop being a member of `group`. Leaving a group one is not in is a success."""

    group: str
    ack_id: int | None = None


class SubscribeFilter(Struct, frozen=True, gc=False):
    """
    Hear of every message to a group whose name matches a filter, whatever groups there are. It makes nobody a member of
    any. Repeating it is a success.

    Attributes:
        filter: of MQTT, well-formed; `+` stands for one level of a name and `#` for all that follow. Without them only
            where it is shared.
        share: name of a shared subscription: one of all who have this filter and this name gets each message. None
            for a subscription of its own.
        retained: be sent the messages that are kept for what it stands for, too. Not with a share.

    Source: OASIS MQTT 5.0, 4.7 and 4.8.
    """

    filter: str
    share: str | None = None
    ack_id: int | None = None
    retained: bool = False


class UnsubscribeFilter(Struct, frozen=True, gc=False):
    """The end of such a subscription. A success also where there is none."""

    filter: str
    share: str | None = None
    ack_id: int | None = None


class SendToGroup(Struct, frozen=True):
    """
    Publish to the members of `group`; the sender need not be one.

    Attributes:
        no_echo: true leaves out the sending connection (not other connections of its user).
        ttl_s: whole seconds that the message may wait for a receiver; 0 is for ever. At most 300 but for MQTT.
        must_succeed: a refusal ends the connection instead of being answered (there are no acks for it).
        publication: None unless it came by MQTT.
    """

    group: str
    data: Data
    ack_id: int | None = None
    no_echo: bool = False
    ttl_s: int = 0
    metadata: Mapping[str, str] = NO_METADATA
    must_succeed: bool = False
    publication: Publication | None = None


class SendEvent(Struct, frozen=True):
    """A user event for the application's event handlers. `must_succeed` and `publication` as in `SendToGroup`."""

    event: str
    data: Data
    ack_id: int | None = None
    metadata: Mapping[str, str] = NO_METADATA
    must_succeed: bool = False
    publication: Publication | None = None


class Invoke(Struct, frozen=True):
    """
    A user event whose handler's answer is the answer to the request. There may be several at once.

    Attributes:
        invocation_id: the client's own; no other of its pending invocations has the same.
        is_streamed: it announces a stream of data, of which the schema of the service knows and nothing else; refused.
    """

    invocation_id: str
    event: str
    data: Data
    metadata: Mapping[str, str] = NO_METADATA
    is_streamed: bool = False


class CancelInvocation(Struct, frozen=True, gc=False):
    """The client waits for an invocation no more. One that is not pending was answered already, or never begun."""

    invocation_id: str


# A stream is one logical message to a group in several frames. Its id is the client's own, unique among those that its
# connection has open. Nothing of it has an ack id.


StreamErrorName: TypeAlias = Literal[
    "StreamNotFound", "Forbidden", "BadRequest", "InternalServerError", "IdleTimeout", "UserError", "Cancelled"
]


class StreamError(Struct, frozen=True, gc=False):
    """
    Why a stream was closed, or not opened.

    Attributes:
        name: `UserError` and `Cancelled` are for subscribers only; `StreamNotFound` and `BadRequest` for publishers.
        message: always there for publishers.
        user_error_code: the publisher's own, of a `UserError`.
    """

    name: StreamErrorName
    message: str | None = None
    user_error_code: str | None = None


class OpenStream(Struct, frozen=True):
    """
    Begin a stream to `group`. It is answered `StreamAck` with 1, or `StreamClosed`.

    Attributes:
        idle_timeout_ms: 1 to 2^32-1; so long the publisher may be silent. None for the service's default.
        no_echo, ttl_s, metadata: as in `SendToGroup`, of every fragment.
        fault: for the client, if this is nothing that can be opened; then nothing before it means anything.
        ack_id: of the event that the stream was to go with, which fails with it. A stream to a group has none.
    """

    group: str
    stream_id: str
    idle_timeout_ms: int | None = None
    no_echo: bool = False
    ttl_s: int = 0
    metadata: Mapping[str, str] = NO_METADATA
    fault: str | None = None
    ack_id: int | None = None


class StreamFragment(Struct, frozen=True):
    """
    The next piece of a stream, or one that was sent before.

    Attributes:
        sequence_id: 0 to 2^64-1; the first of a stream is 1, each next one more.
    """

    stream_id: str
    sequence_id: int
    data: Data


class KeepStream(Struct, frozen=True, gc=False):
    """The publisher of a stream is still there. Not answered unless there is no such stream."""

    stream_id: str


class EndStream(Struct, frozen=True):
    """There is no more of a stream; with an error of the publisher's own (`UserError`) or without."""

    stream_id: str
    error: StreamError | None = None


StreamRequest: TypeAlias = OpenStream | StreamFragment | KeepStream | EndStream


class SetGroupState(Struct, frozen=True):
    """
    Let subscribers of `group` know the state of this connection in it.

    Attributes:
        state: names and values; None takes away the one there is.
    """

    group: str
    state: Mapping[str, str] | None = None
    ack_id: int | None = None


class SubscribeGroupState(Struct, frozen=True, gc=False):
    """Be told the states of `group`: all there are, then each change. Who repeats it is told all again."""

    group: str
    ack_id: int | None = None


class UnsubscribeGroupState(Struct, frozen=True, gc=False):
    """Be told no more of them. A success also where one was told nothing."""

    group: str
    ack_id: int | None = None


class Goodbye(Struct, frozen=True, gc=False):
    """The client ends its socket in an orderly way. Whether its session lives on for a while, that says itself."""


ClientRequest: TypeAlias = (
    JoinGroup
    | LeaveGroup
    | SubscribeFilter
    | UnsubscribeFilter
    | SendToGroup
    | SendEvent
    | Invoke
    | CancelInvocation
    | StreamRequest
    | SetGroupState
    | SubscribeGroupState
    | UnsubscribeGroupState
    | Goodbye
)


# Messages to clients. A data message is numbered for reliable clients, and may go to many at once; a direct message
# belongs to one connection and has no number.


class StreamInfo(Struct, frozen=True):
    """
    The place of a message in a stream.

    Attributes:
        sequence_id: the first fragment is 1. That of the end is the number after the last fragment.
        end: this is the end, whose payload is empty text.
        error: only of an end that is none of the publisher's, or one for a reason.
    """

    stream_id: str
    sequence_id: int
    end: bool = False
    error: StreamError | None = None


class GroupMessage(Struct, frozen=True):
    """
    A message published to a group.

    Attributes:
        from_user_id: None when REST or an anonymous client sent it.
        publication: None unless it came by MQTT.
        stream: None unless it is a part of one.
        retained: it was kept, and is for a client that has subscribed since.
    """

    group: str
    data: Data
    from_user_id: str | None = None
    metadata: Mapping[str, str] = NO_METADATA
    publication: Publication | None = None
    stream: StreamInfo | None = None
    retained: bool = False


class FromServer(Struct, frozen=True):
    """A message from the application's server: by REST to a hub, user or connection, or an event handler's answer."""

    data: Data
    metadata: Mapping[str, str] = NO_METADATA


DataMessage: TypeAlias = GroupMessage | FromServer


def ends_stream(message: DataMessage) -> bool:
    """Is a message the end of a stream and nothing else. Protocols without a word for that leave it out."""
    if not isinstance(message, GroupMessage):
        return False
    stream = message.stream
    return stream is not None and stream.end


class Returned(Struct, frozen=True):
    """
    A message that came to somebody by a shared subscription, and was not delivered.

    Attributes:
        share: what its client called the subscription.
        expires_at: monotonic seconds; None for never.
    """

    share: str
    message: DataMessage
    expires_at: float | None = None


class MemberState(Struct, frozen=True):
    """
    The state of one connection in a group.

    Attributes:
        state: None where there is none any more.
        updated_at: Unix milliseconds; of two states of a connection the later one counts. Each change of a connection's
            states has a later one than those before.
    """

    connection_id: str
    user_id: str | None
    state: Mapping[str, str] | None
    updated_at: int


class GroupStateMessage(Struct, frozen=True):
    """
    States of connections in a group, for who has subscribed to them. May go to many at once.

    Attributes:
        snapshot: these are all there are; else they are what has changed.
    """

    group: str
    items: tuple[MemberState, ...]
    snapshot: bool = False


class Connected(Struct, frozen=True, gc=False):
    """First message of every successful opening, recovery included. The token is for reliable clients only."""

    connection_id: str
    user_id: str | None = None
    reconnection_token: str | None = None


class Disconnected(Struct, frozen=True, gc=False):
    """
    Sent right before the service closes a connection.

    Attributes:
        reason: in the words of the application that asked for it; None where that is not why.
    """

    message: str
    category: CloseCategory = CloseCategory.NORMAL
    reason: str | None = None


class AckError(Struct, frozen=True, gc=False):
    """
    Why a request failed.

    Attributes:
        name: always sent, as is the message.
        limit: a limit stands in the way.
    """

    name: Literal["Forbidden", "InternalServerError", "Duplicate"]
    message: str
    limit: bool = False


class Ack(Struct, frozen=True, gc=False):
    """
    The one answer to a request with an ack id.

    Attributes:
        error: None on success.
        changed: false for the end of a membership that was none, and for an event that nobody is told of.
    """

    ack_id: int
    error: AckError | None = None
    changed: bool = True


class EventAnswer(Struct, frozen=True):
    """
    What came of a client's event, where the client is told whatever it was.

    Attributes:
        status: HTTP status of the handler's answer; 404 where there is no handler, 500 where none has answered.
        content_type, body: of that answer.
    """

    request: SendEvent
    status: int
    content_type: str | None = None
    body: bytes = b""
    user_properties: tuple[tuple[str, str], ...] = ()


class InvokeResponse(Struct, frozen=True):
    """
    The one answer to an invocation.

    Attributes:
        data: of the handler's answer; None if that was empty, and on failure.
        error: None on success.
    """

    invocation_id: str
    data: Data | None = None
    metadata: Mapping[str, str] = NO_METADATA
    error: AckError | None = None


class StreamAck(Struct, frozen=True, gc=False):
    """All fragments of a stream before `expected` (1 or more) have been published. May come once for several."""

    stream_id: str
    expected: int


class StreamNack(Struct, frozen=True, gc=False):
    """A fragment was not published, since the one with number `expected` has not come."""

    stream_id: str
    message: str
    expected: int
    name: Literal["InvalidSequenceId"] = "InvalidSequenceId"


class StreamClosed(Struct, frozen=True):
    """A stream is no more, or never was; without an error where its publisher has ended it."""

    stream_id: str
    error: StreamError | None = None


StreamAnswer: TypeAlias = StreamAck | StreamNack | StreamClosed


DirectMessage: TypeAlias = Connected | Disconnected | Ack | InvokeResponse | StreamAnswer | EventAnswer
