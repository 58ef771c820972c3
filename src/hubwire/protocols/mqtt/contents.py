"""
What is in a message, for both sides of the house: a PUBLISH to the payload that other clients see, and any message to
the PUBLISH that subscribers of MQTT get.

No source says how content types map to the types of data of the other protocols; this is what the service does for
the same types in HTTP.

Source: the service's MQTT pages; its page on event handlers over HTTP.
"""

import math
import re
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from hubwire.model.messages import NO_METADATA, Data, DataKind, DataMessage, EventAnswer, GroupMessage, Publication
from hubwire.model.names import metadata_fault
from hubwire.model.payloads import is_any, is_json, is_text
from hubwire.protocols.endings import WillMessage
from hubwire.protocols.mqtt.packets import NO_PROPERTIES, Connect, Properties
from hubwire.protocols.mqtt.topics import SERVER_MESSAGES, answer_topic

__all__ = [
    "answer_message",
    "data_of",
    "is_media_type",
    "metadata_of",
    "properties_of",
    "publication_of",
    "qos_of",
    "remaining_s",
    "topic_of",
    "ttl_s_of",
    "will_of",
    "with_expiry",
]

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105  of RFC 9110, proving nobody
# It goes to event handlers as a header, so it holds nothing but ASCII without control characters: less than RFC 9110
# lets strings have.
_QUOTED: Final = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'
# Each space has one place where it can be: else a long row of `; ` would be tried in all ways before it is refused.
_MEDIA_TYPE: Final = re.compile(rf"[ \t]*{_TOKEN}/{_TOKEN}[ \t]*(?:;[ \t]*(?:{_TOKEN}=(?:{_TOKEN}|{_QUOTED})[ \t]*)?)*")

_TYPES: Final[dict[DataKind, str]] = {
    "text": "text/plain",
    "json": "application/json",
    "binary": "application/octet-stream",
    "protobuf": "application/x-protobuf",
}
_KINDS: Final[dict[str, DataKind]] = {media: kind for kind, media in _TYPES.items()}
_METADATA_BYTES: Final = 8192
_STATUS: Final = "azure-status-code"
_QUARTER_S: Final = 0.25


# What clients publish.


def is_media_type(content_type: str) -> bool:
    """Source: RFC 9110, 8.3.1."""
    return _MEDIA_TYPE.fullmatch(content_type) is not None


def data_of(payload: bytes, properties: Properties, version: int, v4_text: bool) -> Data:
    """
    A payload as clients of other protocols see it. What is not what it is said to be is text if it can be, else
    binary.

    Args:
        version: 4 or 5.
        v4_text: of 3.1.1, whose packets say nothing of their payload, what can be text is text.
    """
    if version < 5:
        return Data("text" if v4_text and is_text(payload) else "binary", payload)
    content_type = properties.content_type
    if content_type is not None:
        match _KINDS.get(content_type.partition(";")[0].strip().lower()):
            case "json" if is_json(payload):
                return Data("json", payload)
            case "text" | "json":
                return Data("text" if is_text(payload) else "binary", payload)
            case "protobuf" if is_any(payload):
                return Data("protobuf", payload)
            case "protobuf" | "binary":
                return Data("binary", payload)
    return Data("text" if properties.payload_format == 1 and is_text(payload) else "binary", payload)


def metadata_of(user_properties: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """
    User properties as clients of other protocols see them: those that can be metadata, from the first one on, and the
    first of those with the same name.
    """
    if not user_properties:
        return NO_METADATA
    kept: dict[str, str] = {}
    total = 0
    for name, value in user_properties:
        if name not in kept and metadata_fault({name: value}) is None:
            total += len(name) + len(value)
            if total > _METADATA_BYTES:
                break
            kept[name] = value
    return kept or NO_METADATA


def publication_of(properties: Properties, qos: int, publisher: str, retain: bool) -> Publication:
    """
    What MQTT says beyond the payload.

    Args:
        publisher: id of the client.
        retain: see `Publication`.
    """
    if properties is NO_PROPERTIES:
        return Publication(qos, publisher, retain=retain)
    payload_format = properties.payload_format
    return Publication(
        qos,
        publisher,
        properties.content_type,
        None if payload_format is None else payload_format == 1,
        properties.response_topic,
        properties.correlation_data,
        properties.user_properties,
        properties.message_expiry_s,
        retain,
    )


def ttl_s_of(properties: Properties) -> int:
    """
    How long a message may wait for its receivers, as in `SendToGroup`.

    One whose time is over as soon as it comes is for those who are there now: the shortest time there is, since 0 is
    for ever, and sessions of MQTT let it not wait at all.
    """
    expiry_s = properties.message_expiry_s
    return 0 if expiry_s is None else max(expiry_s, 1)


def will_of(connect: Connect, publisher: str, session_expiry_s: int, v4_text: bool, keeps: bool) -> WillMessage | None:
    """
    The will of a CONNECT; None if it has none.

    Args:
        publisher: id of the client.
        session_expiry_s: the effective one; a will does not wait for longer [3.1.3.2.2].
        keeps: what is to be retained is kept.
    """
    will = connect.will
    if will is None:
        return None
    properties = will.properties
    return WillMessage(
        will.topic,
        data_of(will.payload, properties, connect.version, v4_text),
        metadata_of(properties.user_properties),
        publication_of(properties, will.qos, publisher, keeps and will.retain),
        min(properties.will_delay_s or 0, session_expiry_s),
        ttl_s_of(properties),
    )


# What subscribers get.


def topic_of(message: DataMessage) -> str:
    return message.group if isinstance(message, GroupMessage) else SERVER_MESSAGES


def qos_of(message: DataMessage) -> int:
    """With which it was published; 1 for what did not come by MQTT."""
    publication = message.publication if isinstance(message, GroupMessage) else None
    return 1 if publication is None else publication.qos


def properties_of(message: DataMessage, identifiers: tuple[int, ...], expiry_s: int | None) -> Properties:
    """
    What a PUBLISH of 5.0 says beyond the payload.

    Args:
        identifiers: of the subscriptions by which it is sent.
        expiry_s: what is left of the time that the message has; None for as much as it came with.
    """
    publication = message.publication if isinstance(message, GroupMessage) else None
    if publication is None:
        kind = message.data.kind
        metadata = message.metadata
        return Properties(
            payload_format=1 if kind in ("text", "json") else None,
            message_expiry_s=expiry_s,
            content_type=_TYPES[kind],
            subscription_ids=identifiers,
            # A packet has no room for the null character, which metadata may hold.
            user_properties=tuple([pair for pair in metadata.items() if "\0" not in pair[1]]) if metadata else (),
        )
    is_text = publication.is_text
    return Properties(
        payload_format=None if is_text is None else int(is_text),
        message_expiry_s=publication.expiry_s if expiry_s is None else expiry_s,
        content_type=publication.content_type,
        response_topic=publication.response_topic,
        correlation_data=publication.correlation_data,
        subscription_ids=identifiers,
        user_properties=publication.user_properties,
    )


def remaining_s(expires_at: float, now: float) -> int:
    """
    Whole seconds that a message has left: those it came with less those it has waited.

    Deadlines are set to the next quarter of a second.
    """
    return max(math.ceil(expires_at - now - _QUARTER_S), 1 if expires_at > now else 0)


def with_expiry(message: DataMessage, expiry_s: int) -> DataMessage:
    """A message that has waited, and says what is left of its time if it said how much that was."""
    publication = message.publication if isinstance(message, GroupMessage) else None
    if publication is None or publication.expiry_s is None:
        return message
    return replace(message, publication=replace(publication, expiry_s=expiry_s))


def answer_message(answer: EventAnswer) -> GroupMessage:
    """
    What a client hears of its event, on the topic of its outcome.

    Correlation data and QoS are those of the event; the status is the first of the user properties.
    """
    request = answer.request
    asked = request.publication or Publication()
    status = answer.status
    publication = Publication(
        asked.qos,
        content_type=answer.content_type,
        correlation_data=asked.correlation_data,
        user_properties=((_STATUS, str(status)), *answer.user_properties),
    )
    topic = answer_topic(request.event, 200 <= status < 300)
    return GroupMessage(topic, Data("binary", answer.body), publication=publication)
