"""
Packets of MQTT 3.1.1 and 5.0 to bytes. Everybody takes `encode` from `packets`, where its other half is.

Numbers in brackets are sections of OASIS MQTT 5.0.
"""

from collections.abc import Callable
from typing import Any, Final

from hubwire.protocols.mqtt.fields import binary_bytes, text_bytes, variable_integer_bytes
from hubwire.protocols.mqtt.properties import properties_bytes
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
    Auth,
    Connack,
    Connect,
    Disconnect,
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
)

__all__ = ["encode"]

_CLEAN_START: Final = 0x02
_HAS_WILL: Final = 0x04
_WILL_RETAIN: Final = 0x20
_HAS_PASSWORD: Final = 0x40
_HAS_USERNAME: Final = 0x80


def encode(packet: Packet, version: int) -> bytes:
    """
    All bytes of a packet, its fixed header included, in their shortest form.

    Properties that a packet may not have are left out, and in 3.1.1 so is all else that it does not know: codes but
    those of CONNACK and SUBACK, and the options of a subscription. The caller answers for what is in the packet: no
    more than 65535 bytes for one text, numbers in their range, and no lone surrogate.

    Args:
        version: 4 or 5. A Connect is written for its own version.
    """
    if isinstance(packet, Publish):  # as nearly all are
        return _publish_bytes(packet, version)
    return _ENCODERS[type(packet)](packet, version)


def _whole(first: int, body: bytes) -> bytes:
    size = len(body)
    if size < 0x80:
        return bytes((first, size)) + body
    return bytes((first,)) + variable_integer_bytes(size) + body


def _publish_bytes(packet: Publish, version: int) -> bytes:
    topic = packet.topic.encode()
    payload = packet.payload
    qos = packet.qos
    first = PUBLISH << 4 | qos << 1
    if packet.dup:
        first |= 0x08
    if packet.retain:
        first |= 0x01
    written = b""
    if version >= 5:
        properties = packet.properties
        written = b"\0" if properties is NO_PROPERTIES else properties_bytes(properties, PUBLISH)
    behind = written  # the topic, and in front of the payload
    if qos:
        packet_id = packet.packet_id
        assert packet_id, "with QoS 1 and 2 a packet has an identifier"
        behind = packet_id.to_bytes(2, "big") + written
    size = 2 + len(topic) + len(behind) + len(payload)
    # Each call costs as much as all of the arithmetic; so the first bytes of a short packet are one number.
    if size < 0x80:
        return (first << 24 | size << 16 | len(topic)).to_bytes(4, "big") + topic + behind + payload
    return bytes((first,)) + variable_integer_bytes(size) + binary_bytes(topic) + behind + payload


def _acknowledgement_bytes(packet: Puback | Pubrec | Pubrel | Pubcomp, version: int) -> bytes:
    first = _ACKNOWLEDGEMENT_BYTES[type(packet)]
    packet_id = packet.packet_id
    if version >= 5:
        code = packet.code
        properties = packet.properties
        written = b"\0" if properties is NO_PROPERTIES else properties_bytes(properties, first >> 4)
        if len(written) > 1:
            return _whole(first, bytes((packet_id >> 8, packet_id & 0xFF, code)) + written)
        if code:
            return (first << 32 | 3 << 24 | packet_id << 8 | code).to_bytes(5, "big")
    return (first << 24 | 2 << 16 | packet_id).to_bytes(4, "big")


def _connect_bytes(packet: Connect, _version: int) -> bytes:
    version = packet.version
    will = packet.will
    username = packet.username
    password = packet.password
    assert version == 5 or username is not None or password is None, "3.1.1 has no password without a user name"
    flags = _CLEAN_START if packet.clean_start else 0
    after = text_bytes(packet.client_id)
    if will is not None:
        flags |= _HAS_WILL | will.qos << 3 | (_WILL_RETAIN if will.retain else 0)
        if version == 5:
            after += properties_bytes(will.properties, WILL)
        after += text_bytes(will.topic) + binary_bytes(will.payload)
    if username is not None:
        flags |= _HAS_USERNAME
        after += text_bytes(username)
    if password is not None:
        flags |= _HAS_PASSWORD
        after += binary_bytes(password)
    before = b"\0\4MQTT" + bytes((version, flags)) + packet.keep_alive_s.to_bytes(2, "big")
    if version == 5:
        before += properties_bytes(packet.properties, CONNECT)
    return _whole(CONNECT << 4, before + after)


def _connack_bytes(packet: Connack, version: int) -> bytes:
    body = bytes((1 if packet.session_present else 0, packet.code))
    if version >= 5:
        body += properties_bytes(packet.properties, CONNACK)
    return _whole(CONNACK << 4, body)


def _subscribe_bytes(packet: Subscribe, version: int) -> bytes:
    body = packet.packet_id.to_bytes(2, "big")
    if version >= 5:
        body += properties_bytes(packet.properties, SUBSCRIBE)
    for wanted in packet.filters:
        options = wanted.qos
        if version >= 5:
            options |= wanted.retain_handling << 4
            options |= (0x04 if wanted.no_local else 0) | (0x08 if wanted.retain_as_published else 0)
        body += text_bytes(wanted.topic_filter) + bytes((options,))
    return _whole(SUBSCRIBE << 4 | 2, body)


def _suback_bytes(packet: Suback, version: int) -> bytes:
    body = packet.packet_id.to_bytes(2, "big")
    if version >= 5:
        body += properties_bytes(packet.properties, SUBACK)
    return _whole(SUBACK << 4, body + bytes(packet.codes))


def _unsubscribe_bytes(packet: Unsubscribe, version: int) -> bytes:
    body = packet.packet_id.to_bytes(2, "big")
    if version >= 5:
        body += properties_bytes(packet.properties, UNSUBSCRIBE)
    for topic_filter in packet.filters:
        body += text_bytes(topic_filter)
    return _whole(UNSUBSCRIBE << 4 | 2, body)


def _unsuback_bytes(packet: Unsuback, version: int) -> bytes:
    body = packet.packet_id.to_bytes(2, "big")
    if version >= 5:
        body += properties_bytes(packet.properties, UNSUBACK) + bytes(packet.codes)
    return _whole(UNSUBACK << 4, body)


def _pingreq_bytes(_packet: Pingreq, _version: int) -> bytes:
    return b"\xc0\0"


def _pingresp_bytes(_packet: Pingresp, _version: int) -> bytes:
    return b"\xd0\0"


def _disconnect_bytes(packet: Disconnect, version: int) -> bytes:
    if version < 5:
        return b"\xe0\0"
    return _code_bytes(DISCONNECT, packet.code, packet.properties)


def _auth_bytes(packet: Auth, version: int) -> bytes:
    assert version == 5, "AUTH is not in 3.1.1"
    return _code_bytes(AUTH, packet.code, packet.properties)


def _code_bytes(packet_type: int, code: int, properties: Properties) -> bytes:
    """DISCONNECT and AUTH."""
    written = properties_bytes(properties, packet_type)
    if len(written) > 1:
        return _whole(packet_type << 4, bytes((code,)) + written)
    if not code:
        return bytes((packet_type << 4, 0))
    # A DISCONNECT may do without the length of no properties [3.14.2.2.1], an AUTH may not [3.15.2.1].
    return bytes((packet_type << 4, 1, code)) if packet_type == DISCONNECT else bytes((packet_type << 4, 2, code, 0))


_ACKNOWLEDGEMENT_BYTES: Final[dict[type, int]] = {
    Puback: PUBACK << 4,
    Pubrec: PUBREC << 4,
    Pubrel: PUBREL << 4 | 2,
    Pubcomp: PUBCOMP << 4,
}
"""First bytes."""

_ENCODERS: Final[dict[type, Callable[[Any, int], bytes]]] = {
    Connect: _connect_bytes,
    Connack: _connack_bytes,
    Puback: _acknowledgement_bytes,
    Pubrec: _acknowledgement_bytes,
    Pubrel: _acknowledgement_bytes,
    Pubcomp: _acknowledgement_bytes,
    Subscribe: _subscribe_bytes,
    Suback: _suback_bytes,
    Unsubscribe: _unsubscribe_bytes,
    Unsuback: _unsuback_bytes,
    Pingreq: _pingreq_bytes,
    Pingresp: _pingresp_bytes,
    Disconnect: _disconnect_bytes,
    Auth: _auth_bytes,
}
"""All but PUBLISH."""
