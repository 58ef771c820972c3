"""
Events of MQTT clients: what they say besides, and what answers to them mean. Pure.

Whoever accepts an MQTT client may give it user properties, and whoever refuses it says why in codes of MQTT. User
properties of a publication are headers of its event, and back.

Sources: the service's CloudEvents reference for MQTT; OASIS MQTT 3.1.1, 3.2.2.3; OASIS MQTT 5.0, 1.5.4 (strings) and
3.2.2.2 (codes); the official handlers for Express and ASP.NET, for the codes that an application may use.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from hubwire.model.webhooks import IncomingResponse
from hubwire.upstream.cloudevents import (
    BadResponse,
    ClientCertificate,
    ConnectVerdict,
    attribute,
    connect_body,
    json_object,
    verdict_of,
)
from hubwire.upstream.sources import MqttEnding

__all__ = [
    "MqttConnect",
    "MqttRefusal",
    "answer_properties",
    "disconnected_body",
    "is_refusal",
    "is_sendable_type",
    "mqtt_connect_body",
    "property_headers",
    "read_mqtt_verdict",
    "read_refusal",
]

UserProperties = tuple[tuple[str, str], ...]
"""Names and values in their order; names may be repeated."""

_V5: Final = 5
_LONGEST: Final = 65_535
"""Bytes of a string of MQTT."""
_MOST_BYTES: Final = 262_144
"""Of all user properties of one answer together: a quarter of the largest packet that most will take."""
_SUBPROTOCOLS: Final = ("mqtt",)
_PREFIX: Final = "mqtt-"
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TYPE: Final = re.compile(r"[\t\x20-\x7e]+")

_CODES: Final[Mapping[int, frozenset[int]]] = {
    4: frozenset(range(1, 6)),
    _V5: frozenset((*range(128, 139), 140, 144, 149, 151, *range(153, 158), 159)),
}
"""With which an application may refuse a client, by the version that this speaks."""

# Of CONNACK packets, for 5.0 and for 3.1.1.
_UNSPECIFIED: Final = 0x80
_NOT_AUTHORIZED: Final = (0x87, 5)
_UNAVAILABLE: Final = (0x88, 3)
_OF_STATUS: Final[Mapping[int, tuple[int, int]]] = {
    400: (0x86, 4),  # bad user name or password
    401: _NOT_AUTHORIZED,
    403: _NOT_AUTHORIZED,
    429: (0x97, 3),  # quota exceeded
}


class MqttConnect(Struct, frozen=True):
    """
    What a `connect` event says of an MQTT client; all of it is the client's word.

    Attributes:
        protocol_version: 4 for 3.1.1, or 5.
        user_properties: of 5.0.
    """

    protocol_version: int
    clean_start: bool
    username: str | None = None
    password: bytes | None = None
    user_properties: UserProperties = ()


class MqttRefusal(Struct, frozen=True):
    """
    With what a client is refused.

    Attributes:
        code: of its version: 1 to 5 for 3.1.1; 128 or more for 5.0.
        reason, user_properties: for 5.0 only; they fit into a packet.
    """

    code: int
    reason: str | None = None
    user_properties: UserProperties = ()


# Bodies of events.


def mqtt_connect_body(
    claims: Mapping[str, Any],
    query: Sequence[tuple[str, str]],
    headers: Sequence[tuple[str, str]],
    certificates: Sequence[ClientCertificate] | None,
    mqtt: MqttConnect,
) -> bytes:
    """
    Body of a `connect` event; see `cloudevents.connect_body`. Certificates are an array in any case, which some
    handlers rely on.
    """
    said = {
        "protocolVersion": mqtt.protocol_version,
        "cleanStart": mqtt.clean_start,
        "username": mqtt.username,
        "password": None if mqtt.password is None else base64.b64encode(mqtt.password).decode(),
        "userProperties": _written(mqtt.user_properties),
    }
    return connect_body(claims, query, headers, _SUBPROTOCOLS, certificates or (), {"mqtt": said})


def disconnected_body(reason: str | None, ending: MqttEnding | None) -> bytes:
    """
    Body of a `disconnected` event.

    Args:
        ending: None where nothing is known of it; what handlers rely on is said all the same.
    """
    ending = ending or MqttEnding()
    packet = (
        None if ending.code is None else {"code": ending.code, "userProperties": _written(ending.user_properties or ())}
    )
    mqtt = {"initiatedByClient": ending.initiated_by_client, "disconnectPacket": packet}
    return msgspec.json.encode({"reason": reason, "mqtt": mqtt})


def _written(properties: UserProperties) -> list[dict[str, str]] | None:
    return [{"name": name, "value": value} for name, value in properties] or None


# Answers to `connect`.


def read_mqtt_verdict(body: bytes, version: int) -> ConnectVerdict:
    """
    What a successful answer means.

    Raises:
        BadResponse: it cannot mean anything.
    """
    fields = json_object(body)
    verdict = verdict_of(fields, _SUBPROTOCOLS)
    mqtt = fields.get("mqtt")
    if mqtt is None or version != _V5:
        return verdict
    if not isinstance(mqtt, dict):
        raise BadResponse("mqtt in the answer to connect is not an object")
    said = _lower(mqtt).get("userproperties")
    if said is None:
        return verdict
    pairs = _pairs(said)
    if not isinstance(said, list) or len(pairs) != len(said):
        raise BadResponse("mqtt.userProperties in the answer to connect is not an array of names and values")
    return replace(verdict, user_properties=_fitting(pairs))


def is_refusal(response: IncomingResponse, version: int) -> bool:
    """Does an answer say with a code of MQTT that a client is not wanted. It would say so again if it were asked."""
    return not response.succeeded and _code(_said(response.body)) in _CODES[version]


def read_refusal(response: IncomingResponse, version: int) -> MqttRefusal:
    """What an answer that is no success means, whatever it is: what cannot be understood is left out."""
    said = _said(response.body)
    code = _code(said)
    if code is None:
        for_v5, for_v4 = _OF_STATUS.get(response.status, _UNAVAILABLE)
    elif code in _CODES[version]:
        for_v5 = for_v4 = code
    else:
        # 3.1.1 has no code for "unspecified".
        for_v5, for_v4 = _UNSPECIFIED, 5 if 400 <= response.status <= 499 else 3
    if version != _V5:
        return MqttRefusal(for_v4)
    reason = said.get("reason")
    text = _cut(reason) if isinstance(reason, str) else ""
    return MqttRefusal(for_v5, text or None, _fitting(_pairs(said.get("userproperties"))))


def _said(body: bytes) -> Mapping[str, Any]:
    """The part of an answer that is about MQTT, by names in lower case; empty where there is none."""
    try:
        mqtt = json_object(body).get("mqtt")
    except BadResponse:
        return {}
    return _lower(mqtt) if isinstance(mqtt, dict) else {}


def _code(said: Mapping[str, Any]) -> int | None:
    code = said.get("code")
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _pairs(value: object) -> list[tuple[str, str]]:
    """Of what should be an array of user properties, those that are some."""
    return [pair for item in value if (pair := _pair(item)) is not None] if isinstance(value, list) else []


def _pair(item: object) -> tuple[str, str] | None:
    """A user property; None if it is none."""
    fields = _lower(item) if isinstance(item, dict) else {}
    name, value = fields.get("name"), fields.get("value")
    return (name, value) if isinstance(name, str) and isinstance(value, str) else None


def _lower(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): item for name, item in value.items()}


# User events.


def is_sendable_type(content_type: str) -> bool:
    """Can this be sent as a `Content-Type`, whether or not it is a media type."""
    return _TYPE.fullmatch(content_type) is not None


def property_headers(properties: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers of user properties. What cannot be the name of a header is left out; values are encoded."""
    return [(_PREFIX + name, attribute(value)) for name, value in properties if _TOKEN.fullmatch(name)]


def answer_properties(response: IncomingResponse) -> UserProperties:
    """
    The user properties that an answer gives to a client's event, in the letter case in which they came.

    Those that no packet can hold are left out. Bytes that are no UTF-8 become U+FFFD.
    """
    return _fitting(
        (name[len(_PREFIX) :], unquote_to_bytes(value.encode("latin-1", "replace")).decode("utf-8", "replace"))
        for name, value in response.headers
        if name[: len(_PREFIX)].lower() == _PREFIX and len(name) > len(_PREFIX)
    )


# What fits into packets.


def _fitting(pairs: Iterable[tuple[str, str]]) -> UserProperties:
    """Those of user properties that a packet can hold, from the first one on, as long as they are not too many."""
    kept: list[tuple[str, str]] = []
    total = 0
    for pair in pairs:
        sizes = [len(text.encode()) for text in pair]
        if max(sizes) > _LONGEST or "\0" in pair[0] or "\0" in pair[1]:
            continue
        total += sum(sizes)
        if total > _MOST_BYTES:
            break
        kept.append(pair)
    return tuple(kept)


def _cut(text: str) -> str:
    """As much of a text as a string of MQTT can hold."""
    return text.replace("\0", "").encode()[:_LONGEST].decode("utf-8", "ignore")
