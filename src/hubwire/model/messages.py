"""
What clients ask for, and what they are told: the few values into which every client protocol is translated.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = [
    "NO_METADATA",
    "Ack",
    "AckError",
    "ClientRequest",
    "Connected",
    "Data",
    "DataKind",
    "DataMessage",
    "DirectMessage",
    "Disconnected",
    "Feature",
    "FromServer",
    "GroupMessage",
    "JoinGroup",
    "LeaveGroup",
    "NotOffered",
    "NotOfferedAnswer",
    "SendEvent",
    "SendToGroup",
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


# Requests of clients. `ack_id` is None for fire and forget: then neither success nor failure is answered.


class JoinGroup(Struct, frozen=True, gc=False):
    """Become a member of `group`. Repeating it is a success."""

    group: str
    ack_id: int | None = None


class LeaveGroup(Struct, frozen=True, gc=False):
    """Stop being a member of `group`. Leaving a group one is not in is a success."""

    group: str
    ack_id: int | None = None


class SendToGroup(Struct, frozen=True):
    """
    Publish to the members of `group`; the sender need not be one.

    Attributes:
        no_echo: true leaves out the sending connection (not other connections of its user).
        ttl_s: 0 to 300 whole seconds that the message may wait for a receiver; 0 is for ever.
        must_succeed: a refusal ends the connection instead of being answered (simple clients have no acks).
    """

    group: str
    data: Data
    ack_id: int | None = None
    no_echo: bool = False
    ttl_s: int = 0
    metadata: Mapping[str, str] = NO_METADATA
    must_succeed: bool = False


class SendEvent(Struct, frozen=True):
    """A user event for the application's event handlers. `must_succeed` as in `SendToGroup`."""

    event: str
    data: Data
    ack_id: int | None = None
    metadata: Mapping[str, str] = NO_METADATA
    must_succeed: bool = False


Feature: TypeAlias = Literal["invoke", "stream", "group state"]


class NotOffered(Struct, frozen=True, gc=False):
    """
    A well-formed request for a feature that this server does not have yet. It is answered, never ignored.

    Attributes:
        key: what the answer must name so that the client finds its request: invocation or stream id, or group.
    """

    feature: Feature
    key: str
    ack_id: int | None = None


ClientRequest: TypeAlias = JoinGroup | LeaveGroup | SendToGroup | SendEvent | NotOffered


# Messages to clients. A data message is numbered for reliable clients, and may go to many at once; a direct message
# belongs to one connection and has no number.


class GroupMessage(Struct, frozen=True):
    """A message published to a group. `from_user_id` is None when REST or an anonymous client sent it."""

    group: str
    data: Data
    from_user_id: str | None = None
    metadata: Mapping[str, str] = NO_METADATA


class FromServer(Struct, frozen=True):
    """A message from the application's server: by REST to a hub, user or connection, or an event handler's answer."""

    data: Data
    metadata: Mapping[str, str] = NO_METADATA


DataMessage: TypeAlias = GroupMessage | FromServer


class Connected(Struct, frozen=True, gc=False):
    """First message of every successful opening, recovery included. The token is for reliable clients only."""

    connection_id: str
    user_id: str | None = None
    reconnection_token: str | None = None


class Disconnected(Struct, frozen=True, gc=False):
    """Sent right before the service closes a connection."""

    message: str


class AckError(Struct, frozen=True, gc=False):
    """Why a request failed. `name` is one of Forbidden, InternalServerError, Duplicate; both are always sent."""

    name: Literal["Forbidden", "InternalServerError", "Duplicate"]
    message: str


class Ack(Struct, frozen=True, gc=False):
    """The one answer to a request with an ack id. `error` is None on success."""

    ack_id: int
    error: AckError | None = None


class NotOfferedAnswer(Struct, frozen=True, gc=False):
    """Tells the client that asked for `request` that the feature is not there."""

    request: NotOffered


DirectMessage: TypeAlias = Connected | Disconnected | Ack | NotOfferedAnswer
