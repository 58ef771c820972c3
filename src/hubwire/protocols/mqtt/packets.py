"""
Packets of MQTT 3.1.1 (version 4) and 5.0: bytes to values and back, both ways between a client and a server.

    decode(first, body, version)        what a `PacketReader` cut out, to a packet
    encode(packet, version)             a packet to all its bytes

What one packet tells by itself is looked at here; what it may say at its time, and what a topic, a filter or a client
identifier may be, is not.

Numbers in brackets are sections of OASIS MQTT 5.0, and with "3.1.1" before them of that version.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from hubwire.protocols.mqtt.encoding import encode
from hubwire.protocols.mqtt.fields import FieldReader, malformed
from hubwire.protocols.mqtt.properties import read_properties
from hubwire.protocols.mqtt.reasons import MqttViolation, Reason
from hubwire.protocols.mqtt.values import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    NO_PROPERTIES,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    WILL,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Filter,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)

__all__ = [
    "CODES",
    "DISCONNECT_FROM_CLIENT",
    "FROM_CLIENT",
    "NO_PROPERTIES",
    "Auth",
    "Connack",
    "Connect",
    "Disconnect",
    "Filter",
    "Packet",
    "Pingreq",
    "Pingresp",
    "Properties",
    "Puback",
    "Pubcomp",
    "Publish",
    "Pubrec",
    "Pubrel",
    "Suback",
    "Subscribe",
    "Unsuback",
    "Unsubscribe",
    "Will",
    "decode",
    "encode",
]

_FROM_CLIENT_4: Final = frozenset(
    {CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT}
)

FROM_CLIENT: Final[Mapping[int, frozenset[int]]] = {4: _FROM_CLIENT_4, 5: _FROM_CLIENT_4 | {AUTH}}
"""The types (`first >> 4`) that a client may send in each version [2.1.2]."""

_PUBLISHED: Final = frozenset({0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99})
_RELEASED: Final = frozenset({0x00, 0x92})

DISCONNECT_FROM_CLIENT: Final = frozenset(
    {0x00, 0x04, *range(0x80, 0x84), 0x90, *range(0x93, 0x9A)},
)
"""The codes of a DISCONNECT that a client may send [3.14.2.1]. All of them but 0x04 a server may send too."""

_CODES_4: Final[Mapping[int, frozenset[int]]] = {
    CONNACK: frozenset(range(6)),
    SUBACK: frozenset({0, 1, 2, 0x80}),
}

_CODES_5: Final[Mapping[int, frozenset[int]]] = {
    CONNACK: frozenset(
        {0x00, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F},
    ),
    PUBACK: _PUBLISHED,
    PUBREC: _PUBLISHED,
    PUBREL: _RELEASED,
    PUBCOMP: _RELEASED,
    SUBACK: frozenset({0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2}),
    UNSUBACK: frozenset({0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91}),
    DISCONNECT: DISCONNECT_FROM_CLIENT | {0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, *range(0x9A, 0xA3)},
    AUTH: frozenset({0x00, 0x18, 0x19}),
}

CODES: Final[Mapping[int, Mapping[int, frozenset[int]]]] = {4: _CODES_4, 5: _CODES_5}
"""By version and type: the codes that a packet may have, of either side."""

_CLEAN_START: Final = 0x02
_HAS_WILL: Final = 0x04
_WILL_RETAIN: Final = 0x20
_WILL_BITS: Final = 0x38
_HAS_PASSWORD: Final = 0x40
_HAS_USERNAME: Final = 0x80

_MOST_FILTERS: Final = 10_000

_PINGREQ: Final = Pingreq()
_PINGRESP: Final = Pingresp()


def decode(first: int, body: bytes, version: int) -> Packet:
    """
    Args:
        first: the first byte of the packet, its type and flags.
        body: what follows the remaining length.
        version: 4 or 5; of no account for a CONNECT, which says it itself.

    Raises:
        MqttViolation: with the code that a CONNACK or DISCONNECT of 5.0 gives for it. Nothing else, whatever the
            bytes are.
    """
    packet_type = first >> 4
    if packet_type == PUBLISH:
        return _publish(first, body, version)
    kind = _KINDS.get(packet_type)
    if kind is None:
        raise malformed("no such type of packet")
    if first & 0x0F != kind.flags:
        raise malformed("reserved bits of the first byte are not as they must be")
    return kind.decode(packet_type, body, version)


def _publish(first: int, body: bytes, version: int) -> Publish:
    """Written out, without a reader of fields: nearly all that clients send is this."""
    size = len(body)
    position = 2
    if size >= 2:
        position += body[0] << 8 | body[1]
    if position > size:
        raise malformed("packet ends too early")
    topic = _topic(body[2:position])
    qos = first >> 1 & 0x03
    dup = first & 0x08 != 0
    packet_id: int | None = None
    if qos:
        if qos == 3:
            raise malformed("QoS 3")
        position += 2
        if position > size:
            raise malformed("packet ends too early")
        packet_id = body[position - 2] << 8 | body[position - 1]
        if packet_id == 0:
            raise MqttViolation(Reason.PROTOCOL_ERROR, "packet identifier 0")
    elif dup:
        raise malformed("duplicate with QoS 0")
    properties = NO_PROPERTIES
    if version >= 5:
        # No properties at all is one byte, and what most packets have.
        if position < size and body[position] == 0:
            position += 1
        else:
            reader = FieldReader(body)
            reader.position = position
            properties = read_properties(reader, PUBLISH)
            position = reader.position
    if not topic and properties.topic_alias is None:
        if version >= 5:
            raise MqttViolation(Reason.PROTOCOL_ERROR, "neither a topic nor a topic alias")
        raise MqttViolation(Reason.TOPIC_NAME_INVALID, "empty topic")
    return Publish(topic, body[position:], qos, first & 0x01 != 0, dup, packet_id, properties)


def _topic(data: bytes) -> str:
    topic: str | None = None
    try:
        topic = data.decode()
    except UnicodeDecodeError:
        pass
    # Raised out here: the other error, with what the peer sent in it, is not to live on in this one.
    if topic is None:
        raise malformed("text is not valid UTF-8")
    if "\0" in topic:
        raise malformed("text with a null character")
    if "+" in topic or "#" in topic:
        raise MqttViolation(Reason.TOPIC_NAME_INVALID, "wildcards in the topic of a message")
    return topic


def _acknowledgement(packet_type: int, body: bytes, version: int) -> Packet:
    """PUBACK, PUBREC, PUBREL, PUBCOMP."""
    make = _ACKNOWLEDGEMENTS[packet_type]
    size = len(body)
    if size == 2:
        packet_id = body[0] << 8 | body[1]
        if packet_id == 0:
            raise MqttViolation(Reason.PROTOCOL_ERROR, "packet identifier 0")
        return make(packet_id)
    reader = FieldReader(body)
    packet_id = _packet_id(reader)
    if version < 5:
        reader.finish()
    code = _code(reader.byte(), packet_type, version)
    # The length of the properties may be missing where it would be the only byte left [3.4.2.2.1].
    properties = NO_PROPERTIES if size == 3 else read_properties(reader, packet_type)
    reader.finish()
    return make(packet_id, code, properties)


def _connect(_packet_type: int, body: bytes, _version: int) -> Connect:
    reader = FieldReader(body)
    name = reader.text()
    level = reader.byte()
    if name == "MQIsdp" or (name == "MQTT" and level not in (4, 5)):
        raise MqttViolation(Reason.UNSUPPORTED_PROTOCOL_VERSION, "neither MQTT 3.1.1 nor 5.0")
    if name != "MQTT":
        raise MqttViolation(Reason.PROTOCOL_ERROR, "another protocol than MQTT")
    flags = reader.byte()
    _check_connect_flags(flags, level)
    keep_alive_s = reader.two_bytes()
    properties = read_properties(reader, CONNECT) if level == 5 else NO_PROPERTIES
    client_id = reader.text()
    will: Will | None = None
    if flags & _HAS_WILL:
        will_properties = read_properties(reader, WILL) if level == 5 else NO_PROPERTIES
        topic = reader.text()
        payload = reader.binary()
        will = Will(topic, payload, flags >> 3 & 0x03, flags & _WILL_RETAIN != 0, will_properties)
    username = reader.text() if flags & _HAS_USERNAME else None
    password = reader.binary() if flags & _HAS_PASSWORD else None
    reader.finish()
    return Connect(level, client_id, flags & _CLEAN_START != 0, keep_alive_s, will, username, password, properties)


def _check_connect_flags(flags: int, level: int) -> None:
    if flags & 0x01:
        raise malformed("reserved flag of a CONNECT")
    if flags & _HAS_WILL:
        if flags >> 3 & 0x03 == 3:
            raise malformed("QoS 3 of a will")
    elif flags & _WILL_BITS:
        raise malformed("QoS or retain flag of a will that is not there")
    if level == 4 and flags & _HAS_PASSWORD and not flags & _HAS_USERNAME:
        raise malformed("password without a user name")  # [3.1.1, 3.1.2.9]


def _connack(packet_type: int, body: bytes, version: int) -> Connack:
    reader = FieldReader(body)
    flags = reader.byte()
    if flags > 1:
        raise malformed("reserved flags of a CONNACK")
    code = _code(reader.byte(), packet_type, version)
    if flags and code:
        raise MqttViolation(Reason.PROTOCOL_ERROR, "session present in a refusal")
    properties = read_properties(reader, packet_type) if version >= 5 else NO_PROPERTIES
    reader.finish()
    return Connack(flags == 1, code, properties)


def _subscribe(packet_type: int, body: bytes, version: int) -> Subscribe:
    reader = FieldReader(body)
    packet_id = _packet_id(reader)
    properties = read_properties(reader, packet_type) if version >= 5 else NO_PROPERTIES
    filters: list[Filter] = []
    while reader.position < reader.end:
        topic_filter = reader.text()
        options = reader.byte()
        filters.append(_filter(topic_filter, options, version))
        _check_count(filters)
    if not filters:
        raise MqttViolation(Reason.PROTOCOL_ERROR, "SUBSCRIBE without a topic filter")
    return Subscribe(packet_id, tuple(filters), properties)


def _check_count(filters: Sequence[object]) -> None:
    """A megabyte holds 300,000 filters, and each of them costs us more than it costs its sender."""
    if len(filters) > _MOST_FILTERS:
        raise MqttViolation(Reason.PACKET_TOO_LARGE, "too many topic filters in one packet")


def _filter(topic_filter: str, options: int, version: int) -> Filter:
    """Source: OASIS MQTT 5.0, 3.8.3.1; OASIS MQTT 3.1.1, 3.8.3."""
    if version < 5:
        if options > 2:
            raise malformed("options of a subscription that are no QoS")
        return Filter(topic_filter, options)
    if options & 0xC0:
        raise malformed("reserved options of a subscription")
    qos = options & 0x03
    retain_handling = options >> 4
    if qos == 3:
        raise MqttViolation(Reason.PROTOCOL_ERROR, "QoS 3 of a subscription")
    if retain_handling == 3:
        raise MqttViolation(Reason.PROTOCOL_ERROR, "retain handling 3 of a subscription")
    return Filter(topic_filter, qos, options & 0x04 != 0, options & 0x08 != 0, retain_handling)


def _suback(packet_type: int, body: bytes, version: int) -> Suback:
    reader = FieldReader(body)
    packet_id = _packet_id(reader)
    properties = read_properties(reader, packet_type) if version >= 5 else NO_PROPERTIES
    return Suback(packet_id, _codes(reader, packet_type, version), properties)


def _unsubscribe(packet_type: int, body: bytes, version: int) -> Unsubscribe:
    reader = FieldReader(body)
    packet_id = _packet_id(reader)
    properties = read_properties(reader, packet_type) if version >= 5 else NO_PROPERTIES
    filters: list[str] = []
    while reader.position < reader.end:
        filters.append(reader.text())
        _check_count(filters)
    if not filters:
        raise MqttViolation(Reason.PROTOCOL_ERROR, "UNSUBSCRIBE without a topic filter")
    return Unsubscribe(packet_id, tuple(filters), properties)


def _unsuback(packet_type: int, body: bytes, version: int) -> Unsuback:
    reader = FieldReader(body)
    packet_id = _packet_id(reader)
    if version < 5:
        reader.finish()
        return Unsuback(packet_id)
    properties = read_properties(reader, packet_type)
    return Unsuback(packet_id, _codes(reader, packet_type, version), properties)


def _ping(packet_type: int, body: bytes, _version: int) -> Packet:
    if body:
        raise malformed("packet goes on after its last field")
    return _PINGREQ if packet_type == PINGREQ else _PINGRESP


def _disconnect(packet_type: int, body: bytes, version: int) -> Disconnect:
    reader = FieldReader(body)
    if version < 5:
        reader.finish()
    size = len(body)
    code = _code(reader.byte(), packet_type, version) if size else 0
    # The length of the properties may be missing where it would be the only byte left [3.14.2.2.1].
    properties = read_properties(reader, packet_type) if size > 1 else NO_PROPERTIES
    reader.finish()
    return Disconnect(code, properties)


def _auth(packet_type: int, body: bytes, version: int) -> Auth:
    if version < 5:
        raise MqttViolation(Reason.PROTOCOL_ERROR, "AUTH is not in MQTT 3.1.1")
    if not body:
        return Auth()
    reader = FieldReader(body)
    code = _code(reader.byte(), packet_type, version)
    properties = read_properties(reader, packet_type)
    reader.finish()
    if properties.authentication_method is None:
        raise MqttViolation(Reason.PROTOCOL_ERROR, "AUTH without an authentication method")
    return Auth(code, properties)


def _packet_id(reader: FieldReader) -> int:
    packet_id = reader.two_bytes()
    if packet_id == 0:
        raise MqttViolation(Reason.PROTOCOL_ERROR, "packet identifier 0")
    return packet_id


def _code(code: int, packet_type: int, version: int) -> int:
    if code not in CODES[version][packet_type]:
        raise MqttViolation(Reason.PROTOCOL_ERROR, "code that this packet may not have")
    return code


def _codes(reader: FieldReader, packet_type: int, version: int) -> tuple[int, ...]:
    codes = tuple(reader.rest())
    if not codes:
        raise MqttViolation(Reason.PROTOCOL_ERROR, "acknowledgement without a code")
    for code in codes:
        _code(code, packet_type, version)
    return codes


class _Kind:
    """
    Attributes:
        flags: the lower four bits of the first byte, which are always the same.
        decode: type, body and version to a packet.
    """

    __slots__ = ("decode", "flags")

    def __init__(self, flags: int, decode: Callable[[int, bytes, int], Packet]) -> None:
        self.flags = flags
        self.decode = decode


_KINDS: Final[dict[int, _Kind]] = {
    CONNECT: _Kind(0, _connect),
    CONNACK: _Kind(0, _connack),
    PUBACK: _Kind(0, _acknowledgement),
    PUBREC: _Kind(0, _acknowledgement),
    PUBREL: _Kind(2, _acknowledgement),
    PUBCOMP: _Kind(0, _acknowledgement),
    SUBSCRIBE: _Kind(2, _subscribe),
    SUBACK: _Kind(0, _suback),
    UNSUBSCRIBE: _Kind(2, _unsubscribe),
    UNSUBACK: _Kind(0, _unsuback),
    PINGREQ: _Kind(0, _ping),
    PINGRESP: _Kind(0, _ping),
    DISCONNECT: _Kind(0, _disconnect),
    AUTH: _Kind(0, _auth),
}
"""All but PUBLISH, whose flags differ."""

_ACKNOWLEDGEMENTS: Final[dict[int, type[Puback] | type[Pubrec] | type[Pubrel] | type[Pubcomp]]] = {
    PUBACK: Puback,
    PUBREC: Pubrec,
    PUBREL: Pubrel,
    PUBCOMP: Pubcomp,
}
