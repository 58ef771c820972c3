"""
The properties of MQTT 5.0: which there are, which packets may have them, and what their values may be.

Numbers in brackets are sections of OASIS MQTT 5.0.
"""

from typing import Any, Final

from hubwire.protocols.mqtt.fields import (
    BINARY,
    BYTE,
    FOUR_BYTES,
    PAIR,
    TEXT,
    TWO_BYTES,
    VARIABLE_INTEGER,
    FieldReader,
    WireType,
    malformed,
    variable_integer_bytes,
)
from hubwire.protocols.mqtt.reasons import MqttViolation, Reason
from hubwire.protocols.mqtt.values import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    NO_PROPERTIES,
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
    Properties,
)

__all__ = ["NO_PROPERTIES", "TABLE", "Properties", "Property", "properties_bytes", "read_properties"]

_MESSAGES: Final = (PUBLISH, WILL)
_OPENING: Final = (CONNECT, CONNACK)
_ANSWERS: Final = (
    CONNACK,
    PUBACK,
    PUBREC,
    PUBREL,
    PUBCOMP,
    SUBACK,
    UNSUBACK,
    DISCONNECT,
    AUTH,
)
_ALL: Final = (*_ANSWERS, *_MESSAGES, CONNECT, SUBSCRIBE, UNSUBSCRIBE)

_ANY: Final = (0, 0xFFFF_FFFF)
_FLAG: Final = (0, 1)
_NOT_ZERO: Final = (1, 0xFFFF_FFFF)


class Property:
    """
    One property.

    Attributes:
        identifier: its first byte; all that there are are below 0x80.
        field: its name in `Properties`.
        wire: of its value.
        packets: types that may have it; 0 for a will.
        repeats: types that may have it several times.
        least, most: of a number.
        code: for a number outside of these.
        head: the identifier as it is written.
    """

    __slots__ = ("code", "field", "head", "identifier", "least", "most", "packets", "read", "repeats", "wire", "write")

    def __init__(
        self,
        identifier: int,
        field: str,
        wire: WireType,
        packets: tuple[int, ...],
        values: tuple[int, int] = _ANY,
        repeats: tuple[int, ...] = (),
        code: Reason = Reason.PROTOCOL_ERROR,
    ) -> None:
        self.identifier = identifier
        self.field = field
        self.wire = wire
        self.read = wire.read
        self.write = wire.write
        self.packets = frozenset(packets)
        self.repeats = frozenset(repeats)
        self.least, self.most = values
        self.code = code
        self.head = bytes((identifier,))


TABLE: Final[tuple[Property, ...]] = (
    Property(0x01, "payload_format", BYTE, _MESSAGES, _FLAG),
    Property(0x02, "message_expiry_s", FOUR_BYTES, _MESSAGES),
    Property(0x03, "content_type", TEXT, _MESSAGES),
    Property(0x08, "response_topic", TEXT, _MESSAGES),
    Property(0x09, "correlation_data", BINARY, _MESSAGES),
    Property(0x0B, "subscription_ids", VARIABLE_INTEGER, (PUBLISH, SUBSCRIBE), _NOT_ZERO, repeats=(PUBLISH,)),
    Property(0x11, "session_expiry_s", FOUR_BYTES, (*_OPENING, DISCONNECT)),
    Property(0x12, "assigned_client_id", TEXT, (CONNACK,)),
    Property(0x13, "server_keep_alive_s", TWO_BYTES, (CONNACK,)),
    Property(0x15, "authentication_method", TEXT, (*_OPENING, AUTH)),
    Property(0x16, "authentication_data", BINARY, (*_OPENING, AUTH)),
    Property(0x17, "request_problem_information", BYTE, (CONNECT,), _FLAG),
    Property(0x18, "will_delay_s", FOUR_BYTES, (WILL,)),
    Property(0x19, "request_response_information", BYTE, (CONNECT,), _FLAG),
    Property(0x1A, "response_information", TEXT, (CONNACK,)),
    Property(0x1C, "server_reference", TEXT, (CONNACK, DISCONNECT)),
    Property(0x1F, "reason_string", TEXT, _ANSWERS),
    Property(0x21, "receive_maximum", TWO_BYTES, _OPENING, _NOT_ZERO),
    Property(0x22, "topic_alias_maximum", TWO_BYTES, _OPENING),
    Property(0x23, "topic_alias", TWO_BYTES, (PUBLISH,), _NOT_ZERO, code=Reason.TOPIC_ALIAS_INVALID),
    Property(0x24, "maximum_qos", BYTE, (CONNACK,), _FLAG),
    Property(0x25, "retain_available", BYTE, (CONNACK,), _FLAG),
    Property(0x26, "user_properties", PAIR, _ALL, repeats=_ALL),
    Property(0x27, "maximum_packet_size", FOUR_BYTES, _OPENING, _NOT_ZERO),
    Property(0x28, "wildcard_available", BYTE, (CONNACK,), _FLAG),
    Property(0x29, "subscription_ids_available", BYTE, (CONNACK,), _FLAG),
    Property(0x2A, "shared_available", BYTE, (CONNACK,), _FLAG),
)
"""All there are [2.2.2.2], by identifier."""

_BY_IDENTIFIER: Final[dict[int, Property]] = {row.identifier: row for row in TABLE}
_BY_PACKET: Final[tuple[tuple[Property, ...], ...]] = tuple(
    [tuple([row for row in TABLE if packet in row.packets]) for packet in range(16)]
)

# Of `Properties`, tuples; a SUBSCRIBE has one subscription identifier and no more, but in the same field.
_SEVERAL: Final = frozenset({"subscription_ids", "user_properties"})


def read_properties(reader: FieldReader, packet: int) -> Properties:
    """
    A length and the properties behind it.

    Args:
        packet: type of the packet; 0 for a will.

    Raises:
        MqttViolation: 0x81 what is no property; 0x82 none for this packet, one too many or a value that is not allowed,
            such as a response topic that is no topic; 0x94 for the topic alias 0.
    """
    length = reader.variable_integer()
    if not length:
        return NO_PROPERTIES
    after = reader.end
    end = reader.position + length
    if end > after:
        raise malformed("properties longer than their packet")
    reader.end = end
    found: dict[str, Any] = {}
    while reader.position < end:
        row = _BY_IDENTIFIER.get(reader.byte())
        if row is None:
            raise malformed("no such property")
        value = row.read(reader)
        if packet not in row.packets:
            raise MqttViolation(Reason.PROTOCOL_ERROR, "property that this packet may not have")
        if type(value) is int and not row.least <= value <= row.most:
            raise MqttViolation(row.code, "property with a value that is not allowed")
        field = row.field
        if field not in found:
            found[field] = [value] if field in _SEVERAL else value
        elif packet in row.repeats:
            found[field].append(value)
        else:
            raise MqttViolation(Reason.PROTOCOL_ERROR, "property that is there twice")
    reader.end = after
    for field in _SEVERAL:
        if field in found:
            found[field] = tuple(found[field])
    _check_together(found)
    return Properties(**found)


def _check_together(found: dict[str, Any]) -> None:
    """What a single property does not tell."""
    if "authentication_data" in found and "authentication_method" not in found:
        raise MqttViolation(Reason.PROTOCOL_ERROR, "authentication data without a method")
    topic = found.get("response_topic")
    if topic is not None and (not topic or "+" in topic or "#" in topic):
        # 0x90 is said of well-formed topics, and this one nobody may have [2.4, 3.3.2.3.5].
        raise MqttViolation(Reason.PROTOCOL_ERROR, "response topic that is empty or has wildcards")


def properties_bytes(properties: Properties, packet: int) -> bytes:
    """
    A length and the properties behind it, by identifier. Those that this packet may not have are left out.

    Args:
        packet: type of the packet; 0 for a will.
    """
    if properties is NO_PROPERTIES:
        return b"\0"
    written = b""
    for row in _BY_PACKET[packet]:
        value = getattr(properties, row.field)
        if value is None:
            continue
        if type(value) is tuple:
            for item in value:
                written += row.head + row.write(item)
        else:
            written += row.head + row.write(value)
    return variable_integer_bytes(len(written)) + written
