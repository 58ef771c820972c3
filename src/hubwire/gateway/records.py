"""
Records of what happens to clients, in two categories: connectivity, and messaging (at level debug).

The fields are those of the service's resource logs. Never a query string, which holds tokens, and never a payload.

Source: the service's monitoring data reference (categories, record fields).
"""

import logging
from collections.abc import Sequence
from typing import Final

from hubwire.gateway.attempt import Attempt
from hubwire.hub.connection import Connection
from hubwire.model.http import RequestHead
from hubwire.model.logged_paths import logged_path
from hubwire.model.messages import (
    CancelInvocation,
    ClientRequest,
    EndStream,
    Invoke,
    JoinGroup,
    KeepStream,
    LeaveGroup,
    OpenStream,
    SendEvent,
    SendToGroup,
    SetGroupState,
    StreamFragment,
    SubscribeFilter,
    SubscribeGroupState,
    UnsubscribeFilter,
    UnsubscribeGroupState,
)
from hubwire.model.names import HubKey, shown_user_id
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.mqtt.arrival import Refusal
from hubwire.protocols.mqtt.reasons import ADVICE, Reason, ReturnCode

__all__ = [
    "bulk_left_out",
    "ended",
    "groups_left_out",
    "message",
    "mqtt_never_arrived",
    "mqtt_refusal",
    "mqtt_refused",
    "not_retained",
    "recovered",
    "recovery_refused",
    "refused",
    "started",
    "stream_closed",
    "will_dropped",
    "will_published",
]

_connectivity: Final = logging.getLogger("hubwire.connectivity")
_messaging: Final = logging.getLogger("hubwire.messaging")

_EXPECTED: Final = frozenset({CloseCategory.NORMAL, CloseCategory.CLOSED_BY_APP_SERVER, CloseCategory.SERVICE_RELOAD})
_COLLECTIONS: Final = {401: "Authorization", 429: "Throttling"}
_RETURNED: Final[dict[int, Reason]] = {
    ReturnCode.UNACCEPTABLE_PROTOCOL_VERSION: Reason.UNSUPPORTED_PROTOCOL_VERSION,
    ReturnCode.IDENTIFIER_REJECTED: Reason.CLIENT_ID_NOT_VALID,
    ReturnCode.SERVER_UNAVAILABLE: Reason.SERVER_UNAVAILABLE,
    ReturnCode.BAD_USER_NAME_OR_PASSWORD: Reason.BAD_USER_NAME_OR_PASSWORD,
    ReturnCode.NOT_AUTHORIZED: Reason.NOT_AUTHORIZED,
}
"""What the return codes of MQTT 3.1.1 mean in words of 5.0."""
_WILL_TOPIC: Final = "will topic"
_ADVICE: Final = {
    (Reason.UNSPECIFIED_ERROR, "keep alive"): (
        "Set the device's keep alive interval to 1 to 180 seconds, or mqtt_keep_alive to any."
    ),
    (Reason.TOPIC_NAME_INVALID, _WILL_TOPIC): (
        "Give the device a will with a topic of 1 to 1024 characters, without `+`, `#` and a leading `$`."
    ),
    (Reason.PACKET_TOO_LARGE, "will payload"): "Give the device a will with a smaller payload, 2,000 bytes at most.",
    (Reason.RETAIN_UNSUPPORTED, "will retain"): "Give the device a will without the retain flag.",
    (Reason.PACKET_TOO_LARGE, "maximum packet size"): (
        "Let the device accept larger packets, or name fewer topics in one SUBSCRIBE or UNSUBSCRIBE."
    ),
}
"""What to mend where the reason alone does not tell, by what the refusal is about."""
_GOODBYE: Final = 1000
_NO_CLOSE_FRAME: Final = 1006
_SAID_BY_PACKETS: Final = frozenset({1001, 1008})
"""Close codes that MQTT clients do not get, but 1000 in place of them."""
_GONE: Final = "The client is gone without a goodbye"
_GONE_DEVICE: Final = "The client is gone without a DISCONNECT packet"
_NO_MORE: Final = " (what else is refused in this session is not logged)"
_TOLD_BY_THE_END: Final = frozenset({Reason.ADMINISTRATIVE_ACTION, Reason.SERVER_SHUTTING_DOWN})
_SHOWN: Final = 256
"""Characters of a name that a stranger chose."""
_LISTED: Final = 5
_LISTED_CHARACTERS: Final = 64


def started(connection: Connection) -> None:
    """A new connection is in."""
    _connection(logging.INFO, "ConnectionStarted", connection, "Connection started")


def recovered(connection: Connection) -> None:
    """A reliable connection came back on a new socket."""
    _connection(logging.INFO, "ConnectionRecovered", connection, "Connection recovered")


def ended(connection: Connection, category: CloseCategory, code: int, text: str, _reason: str | None) -> None:
    """
    A connection ended for good: expectedly, or at level warning for a reason that somebody may want to mend. In between
    are clients that are gone without a word, which is what a network does, and what a device does that is broken.
    """
    session = connection.session
    gone: str | None = None
    if category == CloseCategory.NORMAL and not text:
        if not session.says_goodbye:
            gone = _GONE if code == _NO_CLOSE_FRAME else None
        elif session.ending is None:
            gone = _GONE_DEVICE
        else:
            code = _GOODBYE  # its session has waited for another socket since, and that is no loss
    elif session.says_goodbye and code in _SAID_BY_PACKETS:
        code = _GOODBYE
    level, operation = (
        (logging.INFO, "ConnectionEnded") if category in _EXPECTED else (logging.WARNING, "ConnectionAborted")
    )
    if gone is not None:
        operation, text = "ConnectionAborted", gone
    duration = round((connection.ended_at - connection.opened_at) * 1000)
    # The service has no category for what is gone, and counts it as normal; in a record that would be misleading.
    named = category.value if gone is None else None
    text = text or "Connection ended"
    _connection(level, operation, connection, text, category=named, code=code, duration=duration)


def refused(head: RequestHead, status: int, cause: str) -> None:
    """An upgrade request was answered with a status instead of 101."""
    properties: dict[str, object] = {
        "collection": _COLLECTIONS.get(status, "Connection"),
        "url": logged_path(head.target.partition("?")[0].encode("latin-1", "replace"))[:_SHOWN],
        "statusCode": status,
    }
    _emit(_connectivity, logging.WARNING, "ConnectionRefused", cause, head.client_ip, properties)


def recovery_refused(head: RequestHead, hub: HubKey, connection_id: str) -> None:
    """Somebody asked for a connection that is not there, or could not prove to be its client."""
    properties: dict[str, object] = {
        "collection": "Connection",
        "hub": hub.hub,
        "connectionId": connection_id[:_SHOWN],
    }
    text = "The connection cannot be recovered"
    _emit(_connectivity, logging.INFO, "ConnectionRecoveryRefused", text, head.client_ip, properties)


def mqtt_refused(
    attempt: Attempt, client_id: str, refusal: Refusal, cause: str | None = None, *, advise: bool = True
) -> None:
    """
    An MQTT client is not let in: its CONNECT was answered with a code, or not at all.

    Args:
        advise: say what is to be mended after such a refusal in general; else the cause tells.
    """
    properties: dict[str, object] = {
        "collection": "Connection",
        "hub": attempt.hub.hub,
        "connectionId": client_id[:_SHOWN],
        **_code(refusal),
    }
    reason = _reason(refusal)
    # The only topic in a CONNECT packet; what the record is about is its name.
    about = _WILL_TOPIC if reason == Reason.TOPIC_NAME_INVALID and cause is None else refusal.about
    if cause is None:
        text = _said(reason, about)
    else:
        text = f"{_said(reason, about)} ({cause})" if advise else f"{_named(reason)}: {cause}"
    _emit(_connectivity, logging.WARNING, "ConnectionRefused", text, attempt.head.client_ip, properties)


def mqtt_never_arrived(attempt: Attempt) -> None:
    """A socket for an MQTT client brought no CONNECT packet in time."""
    properties: dict[str, object] = {"collection": "Connection", "hub": attempt.hub.hub}
    text = "No CONNECT packet came in time; an MQTT client sends it right after the upgrade"
    _emit(_connectivity, logging.WARNING, "ConnectionRefused", text, attempt.head.client_ip, properties)


def mqtt_refusal(connection: Connection, refusal: Refusal) -> None:
    """
    Something that an MQTT client wanted is refused, or its socket closed for it. Not where somebody here wanted that:
    what its end says is enough then.
    """
    reason = _reason(refusal)
    if reason not in _TOLD_BY_THE_END:
        text = _said(reason, refusal.about) + (_NO_MORE if refusal.is_last else "")
        _connection(logging.WARNING, "RequestRefused", connection, text, **_code(refusal))


def groups_left_out(connection: Connection, groups: Sequence[str]) -> None:
    """A client is not in groups that it was given, since its protocol has no such names."""
    text = f"{len(groups)} of the groups that this client was given have names that are no topics, and are left out"
    _connection(logging.WARNING, "GroupsLeftOut", connection, f"{text}: {_listed(groups)}")


def bulk_left_out(connections: Sequence[Connection], groups: Sequence[str]) -> None:
    """REST has added many connections to groups, and these not, since their protocols have no such names."""
    many = "1 MQTT client was" if len(connections) == 1 else f"{len(connections)} MQTT clients were"
    text = f"{many} not added by REST to groups whose names are no topics: {_listed(groups)}"
    first = connections[0]
    if len(connections) == 1:
        _connection(logging.WARNING, "GroupsLeftOut", first, text)
    else:
        properties: dict[str, object] = {"collection": "Connection", "hub": first.hub.hub}
        _emit(_connectivity, logging.WARNING, "GroupsLeftOut", text, None, properties)


def will_dropped(connection: Connection, topic: str) -> None:
    """The will of a client that may not publish to its topic."""
    text = "The will is dropped: the client has no role to send to its topic (webpubsub.sendToGroup)"
    _connection(logging.WARNING, "WillDropped", connection, text, topic=topic[:_SHOWN])


def not_retained(connection: Connection, topic: str) -> None:
    """The first message that is not kept since its hub has as many as it may have."""
    text = (
        "The hub is full of retained messages (mqtt_retained_messages, mqtt_retained_bytes): more are refused, or, "
        "with QoS 0 and as wills, delivered and not kept"
    )
    _connection(logging.WARNING, "NotRetained", connection, text, topic=topic[:_SHOWN])


def _listed(names: Sequence[str]) -> str:
    """As many of them as fit into a sentence."""
    listed = ", ".join(f"'{name[:_LISTED_CHARACTERS]}'" for name in names[:_LISTED])
    return listed if len(names) <= _LISTED else f"{listed} and {len(names) - _LISTED} more"


def will_published(connection: Connection, topic: str) -> None:
    """The will of a client that is gone, or that has left and asked for it, is on its way."""
    _connection(logging.INFO, "WillPublished", connection, "The will is published", topic=topic[:_SHOWN])


def _reason(refusal: Refusal) -> Reason:
    return refusal.reason or _RETURNED.get(refusal.code) or Reason(refusal.code)


def _said(reason: Reason, about: str) -> str:
    """What is refused and why, and what the owner of the device can do about it."""
    return f"{_named(reason)}: {_ADVICE.get((reason, about)) or ADVICE[reason]}"


def _named(reason: Reason) -> str:
    return reason.name.replace("_", " ").capitalize()


def _code(refusal: Refusal) -> dict[str, object]:
    packet = {"packet": refusal.packet} if refusal.packet else {}
    about = {"about": refusal.about[:_SHOWN]} if refusal.about else {}
    return {"code": refusal.code, "mqttVersion": refusal.version, **packet, **about}


def message(connection: Connection, operation: str, request: ClientRequest) -> None:
    """What became of a client's request; costs one test unless messages are traced."""
    if not _messaging.isEnabledFor(logging.DEBUG):
        return
    match request:
        case SendToGroup() | JoinGroup() | LeaveGroup():
            about: dict[str, object] = {"group": request.group}
        case SetGroupState() | SubscribeGroupState() | UnsubscribeGroupState():
            about = {"group": request.group}
        case SubscribeFilter() | UnsubscribeFilter():
            about = {"filter": request.filter}
        case SendEvent() | Invoke():
            about = {"event": request.event}
        case CancelInvocation():
            about = {"invocationId": request.invocation_id[:_SHOWN]}
        case OpenStream():
            about = {"group": request.group, "streamId": request.stream_id[:_SHOWN]}
        case StreamFragment() | KeepStream() | EndStream():
            about = {"streamId": request.stream_id[:_SHOWN]}
    properties = {"collection": "Message", **_who(connection), **about}
    _emit(_messaging, logging.DEBUG, operation, operation, connection.client_ip, properties)


def stream_closed(connection: Connection, group: str, stream_id: str, name: str) -> None:
    """A stream has ended without its publisher's doing, under this name."""
    if _messaging.isEnabledFor(logging.DEBUG):
        about = {"group": group, "streamId": stream_id[:_SHOWN], "reason": name}
        properties = {"collection": "Message", **_who(connection), **about}
        text = f"A stream has ended: {name}"
        _emit(_messaging, logging.DEBUG, "StreamClosed", text, connection.client_ip, properties)


def _connection(level: int, operation: str, connection: Connection, text: str, **more: object) -> None:
    if _connectivity.isEnabledFor(level):
        properties = {"collection": "Connection", **_who(connection), "subprotocol": connection.subprotocol, **more}
        _emit(_connectivity, level, operation, text, connection.client_ip, properties)


def _who(connection: Connection) -> dict[str, object]:
    return {"hub": connection.hub.hub, "connectionId": connection.id, "userId": shown_user_id(connection.user_id)}


def _emit(
    logger: logging.Logger, level: int, operation: str, text: str, client_ip: str | None, properties: dict[str, object]
) -> None:
    record = {"operationName": operation, "callerIpAddress": client_ip, **properties}
    logger.log(level, "%s", text, extra={"record": record})
