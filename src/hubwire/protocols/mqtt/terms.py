"""
What is agreed with MQTT clients, and what they are refused, as values. Not compiled, since structs may not be;
everybody else takes these names from `arrival`.
"""

from typing import Literal, TypeAlias

from msgspec import Struct

from hubwire.protocols.mqtt.reasons import Reason

__all__ = ["PacketName", "Policy", "Refusal"]

PacketName: TypeAlias = Literal["", "PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE"]


class Policy(Struct, frozen=True):
    """
    What is taken from clients and what they are offered, where it can be chosen.

    Attributes:
        client_ids: which are taken. Lenient: 1 to 128 characters but control characters, `/`, `?`, `#` and `%`; azure:
            1 to 128 of A-Z, a-z, 0-9 and `_`.
        keep_alive: of 3.1.1; limited is 1 to 180 s, and everything else is refused. In 5.0 a client is told another one
            instead.
        retain: of messages and wills with the retain flag: kept for subscribers to come; taken without it; or, in 5.0,
            refused, while 3.1.1 has them taken without it.
        session_expiry_s: how long a session may wait for a new socket at most; 0 for not at all.
        receive_maximum: publications with QoS 1 and 2 that a session may leave open, 1 to 65535; told in 5.0.
        max_packet_bytes: of one packet from a client, its first bytes included.
        topic_alias_maximum: numbers that a client of 5.0 may give to topics on one socket, 0 to 255; told if not 0.
        wildcards: clients may subscribe with them; told in 5.0 if not.
        shared_subscriptions: and share them with others; told in 5.0 if not.
        reserved_topics: what becomes of a message with QoS 0 for a topic that begins with `$` and means nothing here:
            dropped, or the end of the connection. With QoS 1 and 2 it is refused either way.
        v4_text: payloads of 3.1.1 are text for other clients where they are UTF-8; else always binary.
    """

    client_ids: Literal["lenient", "azure"] = "lenient"
    keep_alive: Literal["any", "limited"] = "any"
    retain: Literal["keep", "ignore", "refuse"] = "ignore"
    session_expiry_s: int = 30
    receive_maximum: int = 1024
    max_packet_bytes: int = 1 << 20
    topic_alias_maximum: int = 0
    wildcards: bool = False
    shared_subscriptions: bool = False
    reserved_topics: Literal["drop", "refuse"] = "refuse"
    v4_text: bool = False


class Refusal(Struct, frozen=True):
    """
    A no, for whoever looks after devices.

    Attributes:
        code: a `ReturnCode` for the CONNACK of a client of 3.1.1. Else a `Reason`, also where 3.1.1 cannot say it.
        version: of the client, 4 or 5; 5 also where it is not known. Of a CONNECT in a version that is not spoken, the
            number in it.
        about: a topic, filter or name of a field; it may be a stranger's text.
        reason: what is meant by a `ReturnCode` that stands for several things; None: what the code says.
        packet: that is refused, where that is not its connection: a device may subscribe to what it may not publish to.
        is_last: whatever else is refused in this session is not told.
    """

    code: int
    version: int
    about: str = ""
    reason: Reason | None = None
    packet: PacketName = ""
    is_last: bool = False
