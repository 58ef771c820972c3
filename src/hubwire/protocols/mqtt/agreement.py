"""
What a client has asked for with its CONNECT and what it was given: the terms of one socket.

Numbers in brackets are sections of OASIS MQTT 5.0.
"""

from typing import Final, Protocol, TypeAlias

from msgspec.structs import replace

from hubwire.protocols.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Properties,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Suback,
    Unsuback,
    encode,
)
from hubwire.protocols.mqtt.reader import PacketReader
from hubwire.protocols.mqtt.terms import Policy

__all__ = ["Agreement", "Arrived", "fitting", "wire_text"]

_Answer: TypeAlias = Connack | Puback | Pubrec | Pubrel | Pubcomp | Suback | Unsuback | Disconnect

_MAX_KEEP_ALIVE_S: Final = 180
_MAX_TEXT_BYTES: Final = 65535
_NO_LIMIT: Final = 65535
_ASSIGNED: Final = "0" * 32
"""As long as an identifier that is made up for a client."""


class Arrived(Protocol):
    """
    A socket whose client has said who it is.

    Attributes:
        connect: its first packet; None before that.
        agreement: what was granted of that; None before.
        reader: of what follows.
        rest: packets that came right behind it.
    """

    connect: Connect | None
    agreement: "Agreement | None"
    reader: PacketReader
    rest: list[tuple[int, bytes]]


class Agreement:
    """
    Attributes:
        policy: of the server, when the client came.
        version: 4 or 5.
        keep_alive_s: the effective one; 0 for none.
        asked_expiry_s: how long the session is to wait for another socket, as the client wants it.
        session_expiry_s: and how long it does.
        window: publications with QoS 1 and 2 that may be on their way to the client [3.1.2.11.3].
        max_packet_bytes: of one packet to the client; 0 for no limit [3.1.2.11.4].
        topic_aliases: how many the client may give. None if its packets are too small for a CONNACK that tells it.
        wants_problems: reason strings and user properties may be in every packet [3.1.2.11.7].
        will_delay_s: as the client wants it.
    """

    __slots__ = (
        "_keep_alive_told",
        "asked_expiry_s",
        "keep_alive_s",
        "max_packet_bytes",
        "policy",
        "session_expiry_s",
        "topic_aliases",
        "version",
        "wants_problems",
        "will_delay_s",
        "window",
    )

    def __init__(self, policy: Policy, connect: Connect) -> None:
        properties = connect.properties
        asked_s = connect.keep_alive_s
        self.policy = policy
        self.version = connect.version
        self._keep_alive_told = connect.version >= 5 and not 1 <= asked_s <= _MAX_KEEP_ALIVE_S
        self.keep_alive_s = _MAX_KEEP_ALIVE_S if self._keep_alive_told else asked_s
        if connect.version >= 5:
            self.asked_expiry_s = properties.session_expiry_s or 0
        else:
            self.asked_expiry_s = 0 if connect.clean_start else policy.session_expiry_s
        self.session_expiry_s = min(self.asked_expiry_s, policy.session_expiry_s)
        self.window = properties.receive_maximum or _NO_LIMIT
        self.max_packet_bytes = properties.maximum_packet_size or 0
        self.wants_problems = properties.request_problem_information != 0
        will = connect.will
        self.will_delay_s = 0 if will is None else will.properties.will_delay_s or 0
        self.topic_aliases = policy.topic_alias_maximum
        if not self.lets_in(not connect.client_id):
            self.topic_aliases = 0

    def connack(
        self, session_present: bool, assigned: str | None, user_properties: tuple[tuple[str, str], ...]
    ) -> bytes:
        """
        The packet that lets the client in. It says only what differs from what the client takes for granted [3.2.2.3].

        Args:
            assigned: identifier of a client that has sent an empty one.
        """
        if self.version < 5:
            return encode(Connack(session_present), 4)
        policy = self.policy
        properties = Properties(
            session_expiry_s=None if self.session_expiry_s == self.asked_expiry_s else self.session_expiry_s,
            assigned_client_id=assigned,
            server_keep_alive_s=self.keep_alive_s if self._keep_alive_told else None,
            receive_maximum=None if policy.receive_maximum >= _NO_LIMIT else policy.receive_maximum,
            topic_alias_maximum=self.topic_aliases or None,
            retain_available=None if policy.retain == "keep" else 0,
            user_properties=user_properties,
            maximum_packet_size=policy.max_packet_bytes,
            wildcard_available=None if policy.wildcards else 0,
            shared_available=None if policy.shared_subscriptions else 0,
        )
        return fitting(Connack(session_present, 0, properties), self.version, self.max_packet_bytes)

    def lets_in(self, assigned: bool) -> bool:
        """
        Does the client take packets as large as the CONNACK that says no more than it must [3.1.2-24]?

        Args:
            assigned: with an identifier for a client that has sent none.
        """
        most = self.max_packet_bytes
        return not most or len(self.connack(True, _ASSIGNED if assigned else None, ())) <= most


def fitting(packet: _Answer, version: int, most_bytes: int) -> bytes:
    """
    A packet without what would make it larger than its receiver takes: first its user properties, then its reason
    string [3.2.2.3.9, 3.2.2.3.10]. Nothing else may be left out, so it may be too large even so.

    Args:
        most_bytes: 0 for no limit.
    """
    written = encode(packet, version)
    if not most_bytes or len(written) <= most_bytes:
        return written
    properties = replace(packet.properties, user_properties=())
    written = encode(replace(packet, properties=properties), version)
    if len(written) <= most_bytes:
        return written
    return encode(replace(packet, properties=replace(properties, reason_string=None)), version)


def wire_text(text: str) -> str:
    """As much of a text as a packet can carry [1.5.4]."""
    data = text.replace("\0", "").encode("utf-8", "replace")
    return data[:_MAX_TEXT_BYTES].decode("utf-8", "ignore")
