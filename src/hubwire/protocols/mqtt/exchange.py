"""
What all parts of one client's session share: the terms it came under, what was asked for it, what is to be said to it
and what was refused.

Numbers in brackets are sections of OASIS MQTT 5.0.
"""

from collections.abc import Callable
from typing import Final, NoReturn, TypeAlias

from hubwire.protocols.frames import BINARY, build_frame
from hubwire.protocols.mqtt.agreement import Agreement, fitting, wire_text
from hubwire.protocols.mqtt.keeping import Keeper
from hubwire.protocols.mqtt.packets import (
    NO_PROPERTIES,
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
from hubwire.protocols.mqtt.reasons import ADVICE, MqttViolation, Reason
from hubwire.protocols.mqtt.terms import PacketName, Refusal

__all__ = ["FAILED", "Asked", "Exchange"]

FAILED: Final = 0x80
"""From here on codes say that something went wrong [2.4]."""

_Answer: TypeAlias = Puback | Pubrec | Pubrel | Pubcomp | Suback | Unsuback | Disconnect

_MOST_NOTED: Final = 16


class Asked:
    """What the outcome of a request is waited for. Whoever asks derives from it."""

    __slots__ = ()


class Exchange:
    """
    Attributes:
        client_id: of the client.
        agreement: terms of the latest socket.
        fault: how the client has broken MQTT; None while it has not.
        asked: by ack id; None for nothing.
        keeper: is told what is to outlive the process; None if nothing is.

    Args:
        note: see `MqttSession`.
    """

    __slots__ = ("_last_ack", "_note", "_noted", "_out", "agreement", "asked", "client_id", "fault", "keeper")

    def __init__(self, client_id: str, agreement: Agreement, note: Callable[[Refusal], None]) -> None:
        self.client_id = client_id
        self.agreement = agreement
        self.fault: MqttViolation | None = None
        self.asked: dict[int, Asked] | None = None
        self.keeper: Keeper | None = None
        self._last_ack = 0
        self._note = note
        self._noted: set[tuple[int, str, str]] | None = None
        self._out: list[bytes] | None = None

    def ask(self, about: Asked) -> int:
        """The ack id of a request, which no other one of this session has."""
        ack_id = self._last_ack = self._last_ack + 1
        if self.asked is None:
            self.asked = {}
        self.asked[ack_id] = about
        return ack_id

    def say(self, frame: bytes) -> None:
        """Tell the client something, as soon as it has said what it is saying."""
        if self._out is None:
            self._out = []
        self._out.append(frame)

    def said(self) -> list[bytes] | None:
        """What is to be told now."""
        out, self._out = self._out, None
        return out

    def notice(self, code: int, about: str, packet: PacketName = "") -> None:
        """A packet with this code goes out, or would in 5.0. Not everything that a client repeats is news."""
        if code < FAILED:
            return
        noted = self._noted
        if noted is None:
            noted = self._noted = set()
        if len(noted) < _MOST_NOTED and (code, about, packet) not in noted:
            noted.add((code, about, packet))
            self._note(Refusal(code, self.agreement.version, about, None, packet, len(noted) == _MOST_NOTED))

    def violate(self, code: Reason, about: str, reason: str, packet: PacketName = "") -> NoReturn:
        """
        The client has broken MQTT.

        Args:
            about: a topic, or the name of a field; for whoever looks after devices.
            reason: for the client.
            packet: that does it.
        """
        self.notice(code, about, packet)
        self.fault = MqttViolation(code, reason)
        raise self.fault

    def problem(self, code: int, text: str | None) -> Properties:
        """
        What a packet says of a failure beyond its code, to those who want to know [3.1.2.11.7].

        Args:
            text: None for the usual words.
        """
        agreement = self.agreement
        if code < FAILED or agreement.version < 5 or not agreement.wants_problems:
            return NO_PROPERTIES
        return Properties(reason_string=ADVICE[Reason(code)] if text is None else wire_text(text))

    def frame(self, packet: _Answer) -> bytes:
        """A packet to this client."""
        agreement = self.agreement
        if packet.properties is NO_PROPERTIES:
            return build_frame(BINARY, encode(packet, agreement.version))
        return build_frame(BINARY, fitting(packet, agreement.version, agreement.max_packet_bytes))
