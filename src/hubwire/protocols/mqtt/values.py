"""
MQTT packets and their properties as values. Not compiled, since structs may not be; everybody else takes these names
from `packets` and `properties`.

Numbers in brackets are sections of OASIS MQTT 5.0.
"""

from typing import Final, TypeAlias

from msgspec import Struct

__all__ = [
    "AUTH",
    "CONNACK",
    "CONNECT",
    "DISCONNECT",
    "NO_PROPERTIES",
    "PINGREQ",
    "PINGRESP",
    "PUBACK",
    "PUBCOMP",
    "PUBLISH",
    "PUBREC",
    "PUBREL",
    "SUBACK",
    "SUBSCRIBE",
    "UNSUBACK",
    "UNSUBSCRIBE",
    "WILL",
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
]


# Types of packets [2.1.2], and 0, which is none, for a will: it has properties of its own.
WILL: Final = 0
CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREC: Final = 5
PUBREL: Final = 6
PUBCOMP: Final = 7
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14
AUTH: Final = 15


class Properties(Struct, frozen=True, kw_only=True):
    """
    The properties of a packet or a will; each packet may have some of them only [2.2.2.2]. None, and (): not sent.

    Attributes:
        payload_format: 0 unspecified bytes, 1 UTF-8 text.
        message_expiry_s, session_expiry_s, will_delay_s: uint32; a session expiry of 0xFFFFFFFF is forever.
        subscription_ids: each 1 to 268435455; one at most in SUBSCRIBE.
        server_keep_alive_s, topic_alias_maximum: uint16.
        receive_maximum, topic_alias: uint16, not 0.
        maximum_packet_size: bytes, uint32, not 0.
        request_problem_information, request_response_information, maximum_qos, retain_available, wildcard_available,
            subscription_ids_available, shared_available: 0 or 1.
        user_properties: names and values, in order; a name may come several times.
    """

    payload_format: int | None = None
    message_expiry_s: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_ids: tuple[int, ...] = ()
    session_expiry_s: int | None = None
    assigned_client_id: str | None = None
    server_keep_alive_s: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_s: int | None = None
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    maximum_packet_size: int | None = None
    wildcard_available: int | None = None
    subscription_ids_available: int | None = None
    shared_available: int | None = None


NO_PROPERTIES: Final = Properties()
"""What a packet of 3.1.1 has, and most of 5.0: one object, so that `is` tells it from any other."""


class Will(Struct, frozen=True):
    """What is to be published if the client's connection ends without a DISCONNECT [3.1.2.5]."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES


class Connect(Struct, frozen=True):
    """
    Attributes:
        version: 4 for MQTT 3.1.1, 5 for 5.0.
        client_id: may be empty; which ones a server takes is not looked at here.
        clean_start: "clean session" in 3.1.1.
        keep_alive_s: uint16; 0 for none.
    """

    version: int
    client_id: str
    clean_start: bool
    keep_alive_s: int
    will: Will | None = None
    username: str | None = None
    password: bytes | None = None
    properties: Properties = NO_PROPERTIES

    def __repr__(self) -> str:
        return f"Connect({self.version}, {self.client_id!r}, …)"  # a password has no place in a log


class Connack(Struct, frozen=True):
    """`code` is a reason code in 5.0 and a return code in 3.1.1."""

    session_present: bool
    code: int = 0
    properties: Properties = NO_PROPERTIES


class Publish(Struct, frozen=True):
    """
    Attributes:
        topic: empty only if the properties have a topic alias.
        packet_id: 1 to 65535 with QoS 1 and 2, None with QoS 0.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int | None = None
    properties: Properties = NO_PROPERTIES


class Puback(Struct, frozen=True):
    """A PUBLISH of QoS 1 has come."""

    packet_id: int
    code: int = 0
    properties: Properties = NO_PROPERTIES


class Pubrec(Struct, frozen=True):
    """A PUBLISH of QoS 2 has come: the first of three answers."""

    packet_id: int
    code: int = 0
    properties: Properties = NO_PROPERTIES


class Pubrel(Struct, frozen=True):
    """The sender of a PUBLISH of QoS 2 will not send it again: the second answer."""

    packet_id: int
    code: int = 0
    properties: Properties = NO_PROPERTIES


class Pubcomp(Struct, frozen=True):
    """The packet id is free again: the last answer."""

    packet_id: int
    code: int = 0
    properties: Properties = NO_PROPERTIES


class Filter(Struct, frozen=True):
    """
    What one subscription is to be.

    Attributes:
        topic_filter: any text; what a filter may be is not looked at here.
        qos: the highest that the client wants, 0 to 2.
        no_local, retain_as_published, retain_handling: 5.0 only; the last is 0 to 2.
    """

    topic_filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


class Subscribe(Struct, frozen=True):
    """At least one filter."""

    packet_id: int
    filters: tuple[Filter, ...]
    properties: Properties = NO_PROPERTIES


class Suback(Struct, frozen=True):
    """One code for each filter, in order. 3.1.1 knows 0 to 2, and 0x80 for all failures."""

    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = NO_PROPERTIES


class Unsubscribe(Struct, frozen=True):
    """At least one filter."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = NO_PROPERTIES


class Unsuback(Struct, frozen=True):
    """One code for each filter, in order; none in 3.1.1."""

    packet_id: int
    codes: tuple[int, ...] = ()
    properties: Properties = NO_PROPERTIES


class Pingreq(Struct, frozen=True):
    """A client is still there."""


class Pingresp(Struct, frozen=True):
    """So is the server."""


class Disconnect(Struct, frozen=True):
    """The last packet of a connection. In 3.1.1 only clients send it, and it has no code."""

    code: int = 0
    properties: Properties = NO_PROPERTIES


class Auth(Struct, frozen=True):
    """A step of an authentication that takes several; 5.0 only."""

    code: int = 0
    properties: Properties = NO_PROPERTIES


Packet: TypeAlias = (
    Connect
    | Connack
    | Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)
