"""
MQTT packets as bytes and as values, and bytes that are none, each with the code of MQTT 5.0 for what is wrong.

The bytes are put together here, by the pages of the standards and not with our own code. The examples of the standards
are among them (3.1.2.12, 3.3.2.3.9, 3.8.3 and 3.10.3 of OASIS MQTT 5.0; the same chapters of 3.1.1).
"""

from typing import Final, NamedTuple

from hubwire.protocols.mqtt.packets import (
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

__all__ = ["FAULTS", "ONLY_READ", "VECTORS", "Fault", "Vector", "binary", "length", "properties", "text", "whole"]


def length(number: int) -> bytes:
    """A variable byte integer, by the algorithm of 1.5.5."""
    encoded = b""
    while True:
        number, digit = divmod(number, 128)
        encoded += bytes([digit + 128 if number else digit])
        if not number:
            return encoded


def binary(data: bytes) -> bytes:
    """Binary data of 1.5.6."""
    return bytes(divmod(len(data), 256)) + data


def text(value: str) -> bytes:
    """A string of 1.5.4."""
    return binary(value.encode("utf-8", "surrogatepass"))


def properties(*parts: bytes) -> bytes:
    """The length and what it is of."""
    joined = b"".join(parts)
    return length(len(joined)) + joined


def whole(first: int, *parts: bytes) -> bytes:
    """A packet with its fixed header."""
    return bytes([first]) + properties(*parts)


class Vector(NamedTuple):
    """
    Attributes:
        wire: all bytes of the packet.
        version: 4 or 5.
    """

    name: str
    version: int
    wire: bytes
    packet: Packet

    def __str__(self) -> str:
        return f"v{self.version}-{self.name.replace(' ', '-')}"


class Fault(NamedTuple):
    """
    Attributes:
        wire: all bytes of what a reader takes for a packet.
        code: what a CONNACK or DISCONNECT says about it.
    """

    name: str
    version: int
    wire: bytes
    code: int

    def __str__(self) -> str:
        return f"v{self.version}-{self.name.replace(' ', '-')}"


MALFORMED: Final = 0x81
PROTOCOL_ERROR: Final = 0x82
UNSUPPORTED_VERSION: Final = 0x84
TOPIC_NAME_INVALID: Final = 0x90
TOPIC_ALIAS_INVALID: Final = 0x94
PACKET_TOO_LARGE: Final = 0x95

_MQTT: Final = b"\x00\x04MQTT"
_ID: Final = b"\x00\x0a"
_NONE: Final = b"\x00"
_USER: Final = b"\x26" + text("name") + text("value")
_REASON: Final = b"\x1f" + text("why")
_ALL_OF_A_MESSAGE: Final = (
    b"\x01\x01",
    b"\x02\x00\x00\x0e\x10",
    b"\x03" + text("application/json"),
    b"\x08" + text("answers/7"),
    b"\x09" + binary(b"\x00\xff"),
)
_SAID_OF_A_MESSAGE: Final = {
    "payload_format": 1,
    "message_expiry_s": 3600,
    "content_type": "application/json",
    "response_topic": "answers/7",
    "correlation_data": b"\x00\xff",
}


def _message(**others: object) -> Properties:
    return Properties(**{**_SAID_OF_A_MESSAGE, **others})  # type: ignore[arg-type]


VECTORS: Final = (
    # CONNECT
    Vector(
        "connect of the least",
        4,
        b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00",
        Connect(4, "", False, 0),
    ),
    Vector(
        "connect of the standard",
        4,
        whole(
            0x10,
            bytes.fromhex("00044d51545404ce000a"),
            text("c"),
            text("t"),
            binary(b"gone"),
            text("u"),
            binary(b"\x00p"),
        ),
        Connect(4, "c", True, 10, Will("t", b"gone", 1), "u", b"\x00p"),
    ),
    Vector(
        "connect with a retained will of qos 2",
        4,
        whole(0x10, _MQTT, b"\x04\x34\xff\xff", text("c"), text("t"), binary(b"")),
        Connect(4, "c", False, 65535, Will("t", b"", 2, True)),
    ),
    Vector(
        "connect with a user name alone",
        4,
        whole(0x10, _MQTT, b"\x04\x82\x00\x3c", text("c"), text("")),
        Connect(4, "c", True, 60, None, ""),
    ),
    Vector(
        "connect of the least",
        5,
        b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00",
        Connect(5, "", True, 0),
    ),
    Vector(
        "connect of the standard",
        5,
        whole(
            0x10,
            bytes.fromhex("00044d51545405ce000a05110000000a"),
            text("c"),
            _NONE,
            text("t"),
            binary(b"gone"),
            text("u"),
            binary(b"p"),
        ),
        Connect(5, "c", True, 10, Will("t", b"gone", 1), "u", b"p", Properties(session_expiry_s=10)),
    ),
    Vector(
        "connect with a password alone",
        5,
        whole(0x10, _MQTT, b"\x05\x42\x00\x00", _NONE, text("c"), binary(b"token")),
        Connect(5, "c", True, 0, None, None, b"token"),
    ),
    Vector(
        "connect with all properties",
        5,
        whole(
            0x10,
            _MQTT,
            b"\x05\x04\x00\x3c",
            properties(
                b"\x11\xff\xff\xff\xff",
                b"\x15" + text("SCRAM-SHA-1"),
                b"\x16" + binary(b"first"),
                b"\x17\x00",
                b"\x19\x01",
                b"\x21\x00\x14",
                b"\x22\x00\x0a",
                _USER,
                _USER,
                b"\x27\x00\x10\x00\x00",
            ),
            text("c"),
            properties(*_ALL_OF_A_MESSAGE, b"\x18\x00\x00\x00\x05", _USER),
            text("t"),
            binary(b"gone"),
        ),
        Connect(
            5,
            "c",
            False,
            60,
            Will("t", b"gone", 0, False, _message(will_delay_s=5, user_properties=(("name", "value"),))),
            None,
            None,
            Properties(
                session_expiry_s=0xFFFFFFFF,
                authentication_method="SCRAM-SHA-1",
                authentication_data=b"first",
                request_problem_information=0,
                request_response_information=1,
                receive_maximum=20,
                topic_alias_maximum=10,
                user_properties=(("name", "value"), ("name", "value")),
                maximum_packet_size=1 << 20,
            ),
        ),
    ),
    # CONNACK
    Vector("connack", 4, b"\x20\x02\x00\x00", Connack(False)),
    Vector("connack of a session", 4, b"\x20\x02\x01\x00", Connack(True)),
    Vector("connack that refuses", 4, b"\x20\x02\x00\x05", Connack(False, 5)),
    Vector("connack", 5, b"\x20\x03\x00\x00\x00", Connack(False)),
    Vector("connack that refuses", 5, b"\x20\x03\x00\x87\x00", Connack(False, 0x87)),
    Vector(
        "connack with all properties",
        5,
        whole(
            0x20,
            b"\x01\x00",
            properties(
                b"\x11\x00\x00\x00\x1e",
                b"\x12" + text("abc"),
                b"\x13\x00\xb4",
                b"\x15" + text("m"),
                b"\x16" + binary(b"d"),
                b"\x1a" + text("answers/"),
                b"\x1c" + text("other:1883"),
                _REASON,
                b"\x21\x04\x00",
                b"\x22\x00\x00",
                b"\x24\x01",
                b"\x25\x00",
                _USER,
                b"\x27\x00\x10\x00\x00",
                b"\x28\x00",
                b"\x29\x01",
                b"\x2a\x00",
            ),
        ),
        Connack(
            True,
            0,
            Properties(
                session_expiry_s=30,
                assigned_client_id="abc",
                server_keep_alive_s=180,
                authentication_method="m",
                authentication_data=b"d",
                response_information="answers/",
                server_reference="other:1883",
                reason_string="why",
                receive_maximum=1024,
                topic_alias_maximum=0,
                maximum_qos=1,
                retain_available=0,
                user_properties=(("name", "value"),),
                maximum_packet_size=1 << 20,
                wildcard_available=0,
                subscription_ids_available=1,
                shared_available=0,
            ),
        ),
    ),
    # PUBLISH
    Vector("publish of qos 0", 4, b"\x30\x07\x00\x03a/bhi", Publish("a/b", b"hi")),
    Vector("publish of the standard", 4, b"\x32\x07\x00\x03a/b\x00\x0a", Publish("a/b", b"", 1, packet_id=10)),
    Vector(
        "publish again of qos 2, retained",
        4,
        b"\x3d\x09\x00\x03a/b\xff\xffhi",
        Publish("a/b", b"hi", 2, True, True, 65535),
    ),
    Vector("publish of qos 0", 5, b"\x30\x08\x00\x03a/b\x00hi", Publish("a/b", b"hi")),
    Vector("publish of the standard", 5, b"\x32\x08\x00\x03a/b\x00\x0a\x00", Publish("a/b", b"", 1, packet_id=10)),
    Vector(
        "publish of an alias",
        5,
        b"\x30\x06\x00\x00\x03\x23\x00\x01",
        Publish("", b"", properties=Properties(topic_alias=1)),
    ),
    Vector("publish of many bytes", 4, whole(0x30, text("t"), bytes(20_000)), Publish("t", bytes(20_000))),
    Vector(
        "publish with text of several planes",
        4,
        b"\x30\x09\x00\x05\x41\xf0\xaa\x9b\x94\xff\xfe",
        Publish("A\U0002a6d4", b"\xff\xfe"),
    ),
    Vector("publish with a byte order mark", 4, b"\x30\x05\x00\x03\xef\xbb\xbf", Publish("\ufeff", b"")),
    Vector(
        "publish with all properties",
        5,
        whole(
            0x34,
            text("a/b"),
            _ID,
            properties(
                *_ALL_OF_A_MESSAGE,
                b"\x0b\x01",
                b"\x0b\xff\xff\xff\x7f",
                b"\x23\x00\x02",
                _USER,
                b"\x26" + text("") + text(""),
                _USER,
            ),
            b"{}",
        ),
        Publish(
            "a/b",
            b"{}",
            2,
            packet_id=10,
            properties=_message(
                subscription_ids=(1, 268_435_455),
                topic_alias=2,
                user_properties=(("name", "value"), ("", ""), ("name", "value")),
            ),
        ),
    ),
    # PUBACK, PUBREC, PUBREL, PUBCOMP
    Vector("puback", 4, b"\x40\x02\x00\x0a", Puback(10)),
    Vector("pubrec", 4, b"\x50\x02\x00\x0a", Pubrec(10)),
    Vector("pubrel", 4, b"\x62\x02\x00\x0a", Pubrel(10)),
    Vector("pubcomp", 4, b"\x70\x02\x00\x0a", Pubcomp(10)),
    Vector("puback", 5, b"\x40\x02\xff\xff", Puback(65535)),
    Vector("pubrec", 5, b"\x50\x02\x01\x00", Pubrec(256)),
    Vector("pubrel", 5, b"\x62\x02\x00\x0a", Pubrel(10)),
    Vector("pubcomp", 5, b"\x70\x02\x00\x0a", Pubcomp(10)),
    Vector("puback for nobody", 5, b"\x40\x03\x00\x0a\x10", Puback(10, 0x10)),
    Vector("pubrec that refuses", 5, b"\x50\x03\x00\x0a\x87", Pubrec(10, 0x87)),
    Vector("pubrel of a strange id", 5, b"\x62\x03\x00\x0a\x92", Pubrel(10, 0x92)),
    Vector("pubcomp of a strange id", 5, b"\x70\x03\x00\x0a\x92", Pubcomp(10, 0x92)),
    Vector(
        "puback with properties",
        5,
        whole(0x40, _ID, b"\x00", properties(_REASON, _USER)),
        Puback(10, 0, Properties(reason_string="why", user_properties=(("name", "value"),))),
    ),
    Vector(
        "pubrec with properties",
        5,
        whole(0x50, _ID, b"\x97", properties(_REASON)),
        Pubrec(10, 0x97, Properties(reason_string="why")),
    ),
    Vector(
        "pubrel with properties",
        5,
        whole(0x62, _ID, b"\x00", properties(_USER)),
        Pubrel(10, 0, Properties(user_properties=(("name", "value"),))),
    ),
    Vector(
        "pubcomp with properties",
        5,
        whole(0x70, _ID, b"\x92", properties(_REASON)),
        Pubcomp(10, 0x92, Properties(reason_string="why")),
    ),
    # SUBSCRIBE, SUBACK
    Vector(
        "subscribe of the standard",
        4,
        bytes.fromhex("820e000a0003612f62010003632f6402"),
        Subscribe(10, (Filter("a/b", 1), Filter("c/d", 2))),
    ),
    Vector("subscribe to an empty filter", 4, b"\x82\x05\x00\x0a\x00\x00\x00", Subscribe(10, (Filter("", 0),))),
    Vector(
        "subscribe of the standard",
        5,
        bytes.fromhex("820f000a000003612f62010003632f6402"),
        Subscribe(10, (Filter("a/b", 1), Filter("c/d", 2))),
    ),
    Vector(
        "subscribe with all options",
        5,
        whole(0x82, _ID, properties(b"\x0b\x80\x01", _USER), text("a/+/#"), b"\x2e", text("b"), b"\x10"),
        Subscribe(
            10,
            (Filter("a/+/#", 2, True, True, 2), Filter("b", 0, False, False, 1)),
            Properties(subscription_ids=(128,), user_properties=(("name", "value"),)),
        ),
    ),
    Vector("suback", 4, b"\x90\x06\x00\x0a\x00\x01\x02\x80", Suback(10, (0, 1, 2, 0x80))),
    Vector("suback", 5, b"\x90\x06\x00\x0a\x00\x01\x02\xa2", Suback(10, (1, 2, 0xA2))),
    Vector(
        "suback with properties",
        5,
        whole(0x90, _ID, properties(_REASON, _USER), b"\x87"),
        Suback(10, (0x87,), Properties(reason_string="why", user_properties=(("name", "value"),))),
    ),
    # UNSUBSCRIBE, UNSUBACK
    Vector(
        "unsubscribe of the standard",
        4,
        bytes.fromhex("a20c000a0003612f620003632f64"),
        Unsubscribe(10, ("a/b", "c/d")),
    ),
    Vector(
        "unsubscribe of the standard",
        5,
        bytes.fromhex("a20d000a000003612f620003632f64"),
        Unsubscribe(10, ("a/b", "c/d")),
    ),
    Vector(
        "unsubscribe with properties",
        5,
        whole(0xA2, _ID, properties(_USER), text("a")),
        Unsubscribe(10, ("a",), Properties(user_properties=(("name", "value"),))),
    ),
    Vector("unsuback", 4, b"\xb0\x02\x00\x0a", Unsuback(10)),
    Vector("unsuback", 5, b"\xb0\x05\x00\x0a\x00\x00\x11", Unsuback(10, (0x00, 0x11))),
    Vector(
        "unsuback with properties",
        5,
        whole(0xB0, _ID, properties(_REASON), b"\x87"),
        Unsuback(10, (0x87,), Properties(reason_string="why")),
    ),
    # PINGREQ, PINGRESP
    Vector("pingreq", 4, b"\xc0\x00", Pingreq()),
    Vector("pingresp", 4, b"\xd0\x00", Pingresp()),
    Vector("pingreq", 5, b"\xc0\x00", Pingreq()),
    Vector("pingresp", 5, b"\xd0\x00", Pingresp()),
    # DISCONNECT, AUTH
    Vector("disconnect", 4, b"\xe0\x00", Disconnect()),
    Vector("disconnect", 5, b"\xe0\x00", Disconnect()),
    Vector("disconnect with will", 5, b"\xe0\x01\x04", Disconnect(4)),
    Vector("disconnect of a server", 5, b"\xe0\x01\xa0", Disconnect(0xA0)),
    Vector(
        "disconnect with all properties",
        5,
        whole(0xE0, b"\x00", properties(b"\x11\x00\x00\x00\x00", b"\x1c" + text("other"), _REASON, _USER)),
        Disconnect(
            0,
            Properties(
                session_expiry_s=0,
                server_reference="other",
                reason_string="why",
                user_properties=(("name", "value"),),
            ),
        ),
    ),
    Vector("auth of success", 5, b"\xf0\x00", Auth()),
    Vector(
        "auth with all properties",
        5,
        whole(0xF0, b"\x18", properties(b"\x15" + text("m"), b"\x16" + binary(b"d"), _REASON, _USER)),
        Auth(
            0x18,
            Properties(
                authentication_method="m",
                authentication_data=b"d",
                reason_string="why",
                user_properties=(("name", "value"),),
            ),
        ),
    ),
)
"""Read and written alike."""

ONLY_READ: Final = (
    Vector("puback with a code that says nothing", 5, b"\x40\x03\x00\x0a\x00", Puback(10)),
    Vector("puback with no properties spelt out", 5, b"\x40\x04\x00\x0a\x00\x00", Puback(10)),
    Vector("pubcomp with no properties spelt out", 5, b"\x70\x04\x00\x0a\x92\x00", Pubcomp(10, 0x92)),
    Vector("disconnect with a code that says nothing", 5, b"\xe0\x01\x00", Disconnect()),
    Vector("disconnect with no properties spelt out", 5, b"\xe0\x02\x04\x00", Disconnect(4)),
    Vector(
        "properties in another order",
        5,
        whole(0x30, text("t"), properties(_USER, b"\x03" + text("x"), _USER, b"\x01\x00")),
        Publish(
            "t",
            b"",
            properties=Properties(
                payload_format=0, content_type="x", user_properties=(("name", "value"), ("name", "value"))
            ),
        ),
    ),
)
"""Legal, but not in the shortest form, which is the one that is written."""


def _publish(*parts: bytes, payload: bytes = b"") -> bytes:
    return whole(0x30, text("t"), properties(*parts), payload)


def _connect(*parts: bytes, flags: int = 2, after: bytes = b"") -> bytes:
    return whole(0x10, _MQTT, bytes([5, flags]), b"\x00\x00", properties(*parts), text("c"), after)


def _connect_4(flags: int, after: bytes = b"") -> bytes:
    return whole(0x10, _MQTT, bytes([4, flags]), b"\x00\x00", text("c"), after)


def _connack(*parts: bytes) -> bytes:
    return whole(0x20, b"\x00\x00", properties(*parts))


def _subscribe(*parts: bytes) -> bytes:
    return whole(0x82, _ID, properties(*parts), text("t"), b"\x00")


_FIRST_BYTES: Final = tuple(
    Fault(f"first byte {first:#04x}", version, bytes([first]) + wire[1:], MALFORMED)
    for version, wire in [
        *((4, vector.wire) for vector in VECTORS if vector.version == 4 and vector.name.count(" ") == 0),
        *((5, vector.wire) for vector in VECTORS if vector.version == 5 and vector.name.count(" ") == 0),
        (4, b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00"),
        (5, bytes.fromhex("820f000a000003612f62010003632f6402")),
        (5, b"\xf0\x00"),
    ]
    for first in [wire[0] ^ bit for bit in (1, 2, 4, 8)]
)
"""Each flag of each type that has none to spare, turned over."""

FAULTS: Final = (
    *_FIRST_BYTES,
    Fault("type 0", 4, b"\x00\x00", MALFORMED),
    Fault("type 0", 5, b"\x00\x00", MALFORMED),
    # CONNECT
    Fault("connect of version 3", 4, whole(0x10, text("MQIsdp"), b"\x03\x02\x00\x3c", text("c")), UNSUPPORTED_VERSION),
    Fault("connect of level 3", 4, whole(0x10, _MQTT, b"\x03\x02\x00\x3c", text("c")), UNSUPPORTED_VERSION),
    Fault("connect of level 6", 4, whole(0x10, _MQTT, b"\x06\x02\x00\x3c", text("c")), UNSUPPORTED_VERSION),
    Fault("connect of a bridge", 4, whole(0x10, _MQTT, b"\x84\x02\x00\x3c", text("c")), UNSUPPORTED_VERSION),
    Fault("connect of a version to come", 5, whole(0x10, _MQTT, b"\x09"), UNSUPPORTED_VERSION),
    Fault("connect of another protocol", 4, whole(0x10, text("AMQP"), b"\x04\x02\x00\x3c", text("c")), PROTOCOL_ERROR),
    Fault("connect in small letters", 5, whole(0x10, text("mqtt"), b"\x05\x02\x00\x3c\x00", text("c")), PROTOCOL_ERROR),
    Fault("connect of nothing", 4, b"\x10\x00", MALFORMED),
    Fault("connect without a level", 4, whole(0x10, _MQTT), MALFORMED),
    Fault("connect without flags", 4, whole(0x10, _MQTT, b"\x04"), MALFORMED),
    Fault("connect without a client id", 4, whole(0x10, _MQTT, b"\x04\x02\x00\x3c"), MALFORMED),
    Fault("connect without properties", 5, whole(0x10, _MQTT, b"\x05\x02\x00\x3c"), MALFORMED),
    Fault("connect with the reserved flag", 4, _connect_4(0x03), MALFORMED),
    Fault("connect with the reserved flag", 5, _connect(flags=0x03), MALFORMED),
    Fault("connect with the qos of no will", 4, _connect_4(0x0A), MALFORMED),
    Fault("connect with the qos of no will", 5, _connect(flags=0x12), MALFORMED),
    Fault("connect with the retain flag of no will", 4, _connect_4(0x22), MALFORMED),
    Fault("connect with the retain flag of no will", 5, _connect(flags=0x22), MALFORMED),
    Fault("connect with a will of qos 3", 4, _connect_4(0x1E, text("t") + text("")), MALFORMED),
    Fault("connect with a will of qos 3", 5, _connect(flags=0x1E, after=_NONE + text("t") + text("")), MALFORMED),
    Fault("connect with a password alone", 4, _connect_4(0x42, binary(b"p")), MALFORMED),
    Fault("connect without the will it has", 4, _connect_4(0x06), MALFORMED),
    Fault("connect without the payload of its will", 5, _connect(flags=0x06, after=_NONE + text("t")), MALFORMED),
    Fault("connect without the properties of its will", 5, _connect(flags=0x06), MALFORMED),
    Fault("connect without the user name it has", 4, _connect_4(0x82), MALFORMED),
    Fault("connect without the password it has", 4, _connect_4(0xC2, text("u")), MALFORMED),
    Fault("connect with a field too many", 4, _connect_4(0x02, text("u")), MALFORMED),
    Fault("connect with a field too many", 5, _connect(after=text("u")), MALFORMED),
    Fault(
        "connect with a client id that is no text",
        4,
        whole(0x10, _MQTT, b"\x04\x02\x00\x3c", binary(b"\xff")),
        MALFORMED,
    ),
    Fault("connect with a null character", 5, _connect(flags=0x82, after=text("a\0b")), MALFORMED),
    Fault("connect that receives nothing", 5, _connect(b"\x21\x00\x00"), PROTOCOL_ERROR),
    Fault("connect that takes no packet", 5, _connect(b"\x27\x00\x00\x00\x00"), PROTOCOL_ERROR),
    Fault("connect with a half request for problems", 5, _connect(b"\x17\x02"), PROTOCOL_ERROR),
    Fault("connect with a half request for responses", 5, _connect(b"\x19\xff"), PROTOCOL_ERROR),
    Fault("connect with data and no method", 5, _connect(b"\x16" + binary(b"d")), PROTOCOL_ERROR),
    Fault("connect with two expiries", 5, _connect(b"\x11\x00\x00\x00\x01" * 2), PROTOCOL_ERROR),
    Fault("connect with a property of its will", 5, _connect(b"\x18\x00\x00\x00\x01"), PROTOCOL_ERROR),
    Fault(
        "connect with a property in its will",
        5,
        _connect(flags=6, after=b"\x05\x11\0\0\0\1" + text("t") * 2),
        PROTOCOL_ERROR,
    ),
    # CONNACK
    Fault("connack of reserved flags", 4, b"\x20\x02\x02\x00", MALFORMED),
    Fault("connack of a code to come", 4, b"\x20\x02\x00\x06", PROTOCOL_ERROR),
    Fault("connack with properties", 4, b"\x20\x03\x00\x00\x00", MALFORMED),
    Fault("connack without a code", 4, b"\x20\x01\x00", MALFORMED),
    Fault("connack that refuses a session", 4, b"\x20\x02\x01\x05", PROTOCOL_ERROR),
    Fault("connack that refuses a session", 5, b"\x20\x03\x01\x87\x00", PROTOCOL_ERROR),
    Fault("connack of a strange code", 5, b"\x20\x03\x00\x8e\x00", PROTOCOL_ERROR),
    Fault("connack without properties", 5, b"\x20\x02\x00\x00", MALFORMED),
    Fault("connack of qos 2 at most", 5, _connack(b"\x24\x02"), PROTOCOL_ERROR),
    Fault("connack with half a flag", 5, _connack(b"\x25\x02"), PROTOCOL_ERROR),
    Fault("connack with a property of a connect", 5, _connack(b"\x17\x01"), PROTOCOL_ERROR),
    # PUBLISH
    Fault("publish of qos 3", 4, b"\x36\x07\x00\x03a/b\x00\x0a", MALFORMED),
    Fault("publish of qos 3", 5, b"\x36\x08\x00\x03a/b\x00\x0a\x00", MALFORMED),
    Fault("publish again of qos 0", 4, b"\x38\x05\x00\x03a/b", MALFORMED),
    Fault("publish again of qos 0", 5, b"\x38\x06\x00\x03a/b\x00", MALFORMED),
    Fault("publish of packet id 0", 4, b"\x32\x07\x00\x03a/b\x00\x00", PROTOCOL_ERROR),
    Fault("publish of packet id 0", 5, b"\x34\x08\x00\x03a/b\x00\x00\x00", PROTOCOL_ERROR),
    Fault("publish without a packet id", 4, b"\x32\x06\x00\x03a/b\x00", MALFORMED),
    Fault("publish without a topic", 4, b"\x30\x01\x00", MALFORMED),
    Fault("publish with a topic longer than itself", 4, b"\x30\x04\x00\x03a/", MALFORMED),
    Fault("publish of nothing", 4, b"\x30\x00", MALFORMED),
    Fault("publish to an empty topic", 4, b"\x30\x03\x00\x00x", TOPIC_NAME_INVALID),
    Fault("publish to neither topic nor alias", 5, b"\x30\x04\x00\x00\x00x", PROTOCOL_ERROR),
    Fault("publish to a plus", 4, whole(0x30, text("a/+")), TOPIC_NAME_INVALID),
    Fault("publish to a hash", 4, whole(0x30, text("#")), TOPIC_NAME_INVALID),
    Fault("publish to a plus", 5, whole(0x30, text("+"), _NONE), TOPIC_NAME_INVALID),
    Fault("publish to a hash", 5, whole(0x30, text("a/#"), _NONE), TOPIC_NAME_INVALID),
    Fault("publish with a null character", 4, whole(0x30, text("a\0")), MALFORMED),
    Fault("publish with a surrogate", 4, whole(0x30, text("a\ud800")), MALFORMED),
    Fault("publish with a pair of surrogates", 5, whole(0x30, text("\ud83d\ude00"), _NONE), MALFORMED),
    Fault("publish with an overlong character", 4, whole(0x30, binary(b"\xc1\xa1")), MALFORMED),
    Fault("publish with an overlong null", 5, whole(0x30, binary(b"\xc0\x80"), _NONE), MALFORMED),
    Fault("publish with a character beyond the last", 4, whole(0x30, binary(b"\xf4\x90\x80\x80")), MALFORMED),
    Fault("publish with half a character", 4, whole(0x30, binary(b"a\xe2\x82")), MALFORMED),
    Fault("publish without properties", 5, b"\x30\x03\x00\x01t", MALFORMED),
    Fault("publish with longer properties than itself", 5, b"\x30\x05\x00\x01t\x02\x01", MALFORMED),
    Fault("publish with a length of five bytes", 5, whole(0x30, text("t"), b"\x80\x80\x80\x80\x01"), MALFORMED),
    Fault("publish with a length too long by a byte", 5, whole(0x30, text("t"), b"\x80\x00"), MALFORMED),
    Fault(
        "publish with a property cut by their length", 5, whole(0x30, text("t"), b"\x03\x02\x00\x00\x00\x01"), MALFORMED
    ),
    Fault("publish with property 0", 5, _publish(b"\x00\x00"), MALFORMED),
    Fault("publish with property 4", 5, _publish(b"\x04\x00"), MALFORMED),
    Fault("publish with property 127", 5, _publish(b"\x7f"), MALFORMED),
    Fault("publish with a property id of two bytes", 5, _publish(b"\x81\x00\x01"), MALFORMED),
    Fault("publish with a property of another", 5, _publish(b"\x11\x00\x00\x00\x01"), PROTOCOL_ERROR),
    Fault("publish with two formats", 5, _publish(b"\x01\x01\x01\x01"), PROTOCOL_ERROR),
    Fault("publish with two content types", 5, _publish((b"\x03" + text("a")) * 2), PROTOCOL_ERROR),
    Fault("publish with two aliases", 5, _publish(b"\x23\x00\x01" * 2), PROTOCOL_ERROR),
    Fault("publish with a strange format", 5, _publish(b"\x01\x02"), PROTOCOL_ERROR),
    Fault("publish with topic alias 0", 5, _publish(b"\x23\x00\x00"), TOPIC_ALIAS_INVALID),
    Fault("publish with subscription id 0", 5, _publish(b"\x0b\x00"), PROTOCOL_ERROR),
    Fault("publish with a subscription id too long", 5, _publish(b"\x0b\x80\x80\x80\x80\x01"), MALFORMED),
    Fault("publish with a subscription id in a long form", 5, _publish(b"\x0b\x81\x00"), MALFORMED),
    Fault("publish with a response topic of wildcards", 5, _publish(b"\x08" + text("a/+")), PROTOCOL_ERROR),
    Fault("publish with a content type that is no text", 5, _publish(b"\x03" + binary(b"\xff")), MALFORMED),
    Fault("publish with a user property of one string", 5, _publish(b"\x26" + text("name")), MALFORMED),
    Fault("publish with a null in a user property", 5, _publish(b"\x26" + text("a") + text("\0")), MALFORMED),
    # PUBACK, PUBREC, PUBREL, PUBCOMP
    *(
        fault
        for first, name in ((0x40, "puback"), (0x50, "pubrec"), (0x62, "pubrel"), (0x70, "pubcomp"))
        for fault in (
            Fault(f"{name} of nothing", 4, whole(first), MALFORMED),
            Fault(f"{name} of half an id", 5, whole(first, b"\x00"), MALFORMED),
            Fault(f"{name} of packet id 0", 4, whole(first, b"\x00\x00"), PROTOCOL_ERROR),
            Fault(f"{name} of packet id 0", 5, whole(first, b"\x00\x00"), PROTOCOL_ERROR),
            Fault(f"{name} of packet id 0 with a code", 5, whole(first, b"\x00\x00\x92"), PROTOCOL_ERROR),
            Fault(f"{name} with a code", 4, whole(first, _ID, b"\x00"), MALFORMED),
            Fault(f"{name} with properties", 4, whole(first, _ID, b"\x00\x00"), MALFORMED),
            Fault(f"{name} of a strange code", 5, whole(first, _ID, b"\x01"), PROTOCOL_ERROR),
            Fault(f"{name} with half its properties", 5, whole(first, _ID, b"\x00\x05\x1f"), MALFORMED),
            Fault(f"{name} with too much", 5, whole(first, _ID, b"\x00\x00\x00"), MALFORMED),
            Fault(
                f"{name} with two reasons", 5, whole(first, _ID, b"\x00", properties(_REASON, _REASON)), PROTOCOL_ERROR
            ),
            Fault(
                f"{name} with a property of another",
                5,
                whole(first, _ID, b"\x00", properties(b"\x01\x01")),
                PROTOCOL_ERROR,
            ),
        )
    ),
    Fault("puback of an id that was not found", 5, whole(0x40, _ID, b"\x92"), PROTOCOL_ERROR),
    Fault("pubrel that refuses", 5, whole(0x62, _ID, b"\x87"), PROTOCOL_ERROR),
    # SUBSCRIBE, SUBACK
    Fault("subscribe to nothing", 4, b"\x82\x02\x00\x0a", PROTOCOL_ERROR),
    Fault("subscribe to nothing", 5, b"\x82\x03\x00\x0a\x00", PROTOCOL_ERROR),
    Fault("subscribe to too many topics", 4, whole(0x82, _ID, (text("t") + b"\x00") * 10_001), PACKET_TOO_LARGE),
    Fault("unsubscribe of too many topics", 5, whole(0xA2, _ID, b"\x00", text("t") * 10_001), PACKET_TOO_LARGE),
    Fault("subscribe of packet id 0", 4, b"\x82\x06\x00\x00\x00\x01t\x00", PROTOCOL_ERROR),
    Fault("subscribe of packet id 0", 5, b"\x82\x07\x00\x00\x00\x00\x01t\x00", PROTOCOL_ERROR),
    Fault("subscribe of qos 3", 4, b"\x82\x06\x00\x0a\x00\x01t\x03", MALFORMED),
    Fault("subscribe of qos 3", 5, b"\x82\x07\x00\x0a\x00\x00\x01t\x03", PROTOCOL_ERROR),
    Fault("subscribe with options", 4, b"\x82\x06\x00\x0a\x00\x01t\x04", MALFORMED),
    Fault("subscribe with retain handling 3", 5, b"\x82\x07\x00\x0a\x00\x00\x01t\x30", PROTOCOL_ERROR),
    Fault("subscribe with the first reserved option", 5, b"\x82\x07\x00\x0a\x00\x00\x01t\x40", MALFORMED),
    Fault("subscribe with the last reserved option", 5, b"\x82\x07\x00\x0a\x00\x00\x01t\x80", MALFORMED),
    Fault("subscribe without options", 4, b"\x82\x05\x00\x0a\x00\x01t", MALFORMED),
    Fault("subscribe with half a filter", 5, b"\x82\x05\x00\x0a\x00\x00\x01", MALFORMED),
    Fault("subscribe with a null character", 4, b"\x82\x06\x00\x0a\x00\x01\x00\x00", MALFORMED),
    Fault("subscribe of subscription id 0", 5, _subscribe(b"\x0b\x00"), PROTOCOL_ERROR),
    Fault("subscribe of two subscription ids", 5, _subscribe(b"\x0b\x01\x0b\x02"), PROTOCOL_ERROR),
    Fault("subscribe with a reason", 5, _subscribe(_REASON), PROTOCOL_ERROR),
    Fault("suback of nothing", 4, b"\x90\x02\x00\x0a", PROTOCOL_ERROR),
    Fault("suback of nothing", 5, b"\x90\x03\x00\x0a\x00", PROTOCOL_ERROR),
    Fault("suback of a strange code", 4, b"\x90\x03\x00\x0a\x87", PROTOCOL_ERROR),
    Fault("suback of a strange code", 5, b"\x90\x04\x00\x0a\x00\x11", PROTOCOL_ERROR),
    # UNSUBSCRIBE, UNSUBACK
    Fault("unsubscribe from nothing", 4, b"\xa2\x02\x00\x0a", PROTOCOL_ERROR),
    Fault("unsubscribe from nothing", 5, b"\xa2\x03\x00\x0a\x00", PROTOCOL_ERROR),
    Fault("unsubscribe of packet id 0", 4, b"\xa2\x05\x00\x00\x00\x01t", PROTOCOL_ERROR),
    Fault("unsubscribe with half a filter", 4, b"\xa2\x05\x00\x0a\x00\x02t", MALFORMED),
    Fault("unsuback with codes", 4, b"\xb0\x03\x00\x0a\x00", MALFORMED),
    Fault("unsuback without codes", 5, b"\xb0\x03\x00\x0a\x00", PROTOCOL_ERROR),
    Fault("unsuback of a strange code", 5, b"\xb0\x04\x00\x0a\x00\x01", PROTOCOL_ERROR),
    # PINGREQ, PINGRESP, DISCONNECT, AUTH
    Fault("pingreq with something", 4, b"\xc0\x01\x00", MALFORMED),
    Fault("pingresp with something", 5, b"\xd0\x01\x00", MALFORMED),
    Fault("disconnect with a code", 4, b"\xe0\x01\x00", MALFORMED),
    Fault("disconnect of a strange code", 5, b"\xe0\x01\x01", PROTOCOL_ERROR),
    Fault("disconnect with half its properties", 5, b"\xe0\x02\x00\x05", MALFORMED),
    Fault("disconnect with too much", 5, b"\xe0\x03\x00\x00\x00", MALFORMED),
    Fault("disconnect with a property of another", 5, b"\xe0\x04\x00\x02\x01\x01", PROTOCOL_ERROR),
    Fault("auth", 4, b"\xf0\x00", PROTOCOL_ERROR),
    Fault("auth of a strange code", 5, b"\xf0\x02\x01\x00", PROTOCOL_ERROR),
    Fault("auth without a method", 5, b"\xf0\x02\x18\x00", PROTOCOL_ERROR),
    Fault("auth without properties", 5, b"\xf0\x01\x18", MALFORMED),
    Fault("auth with data and no method", 5, whole(0xF0, b"\x18", properties(b"\x16" + binary(b"d"))), PROTOCOL_ERROR),
)
"""Refused."""
