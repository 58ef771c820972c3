"""
A socket before its client is known: the bytes up to a CONNECT, and whether that can be taken.

    arrival = Arrival(policy)
    connect = arrival.feed(payload)             None until there is one; ArrivalRefused if there never will be
    session = arrival.session(...)              a new session, or
    session.takes_over(arrival)                 the one that has waited for this client

What depends on others (who else has this identifier, how many may be here, what an event handler says) is not looked
at here, but `refuse` says it.

Numbers in brackets are sections of OASIS MQTT 5.0.
"""

import re
from collections.abc import Callable
from typing import Final

from hubwire.model.errors import HubwireError
from hubwire.protocols.frames import BINARY, build_frame
from hubwire.protocols.mqtt.agreement import Agreement, fitting
from hubwire.protocols.mqtt.fields import malformed
from hubwire.protocols.mqtt.packets import CODES, Connack, Connect, Properties, decode
from hubwire.protocols.mqtt.reader import PacketReader
from hubwire.protocols.mqtt.reasons import ADVICE, MqttViolation, Reason, ReturnCode, return_code
from hubwire.protocols.mqtt.session import MqttSession
from hubwire.protocols.mqtt.terms import Policy, Refusal
from hubwire.protocols.mqtt.topics import is_group_topic
from hubwire.protocols.mqtt.values import CONNACK, CONNECT
from hubwire.protocols.reliable import QueueLimits

__all__ = ["Arrival", "ArrivalRefused", "Policy", "Refusal"]

_CLIENT_IDS: Final = {
    # No control characters, and nothing that would end a path's segment or begin an escape in one. As a whole segment
    # `.` and `..` would lead elsewhere, and nobody could name such a client in REST.
    "lenient": re.compile(r"(?!\.{1,2}\Z)[^\x00-\x1f\x7f-\x9f/?#%]{1,128}"),
    "azure": re.compile(r"[0-9A-Za-z_]{1,128}"),
}
_MAX_WILL_BYTES: Final = 2000
_NAMED: Final = b"\0\4MQTT"
_NAMES: Final = (_NAMED, b"\0\6MQIsdp")
"""What stands in front of a version; the longer one in front of that of 3.1."""
_BRIDGE: Final = 0x80
"""What Mosquitto adds to the version where a broker of its own connects to another one, outside of any standard."""


class ArrivalRefused(HubwireError):  # noqa: N818
    """
    Nobody can come in by this socket.

    Args:
        answer: frames to write before it is closed; may be none.
    """

    def __init__(self, answer: bytes, refusal: Refusal) -> None:
        super().__init__(f"0x{refusal.code:02x}")
        self.answer = answer
        self.refusal = refusal


class Arrival:
    """
    One socket up to its CONNECT.

    Attributes:
        connect: as it came; None before that.
        agreement: what is granted of it.
        reader: in the state in which the CONNECT has left it.
        rest: packets that came right behind it.
    """

    __slots__ = ("_policy", "agreement", "connect", "reader", "rest")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.connect: Connect | None = None
        self.agreement: Agreement | None = None
        self.reader = PacketReader(policy.max_packet_bytes)
        self.rest: list[tuple[int, bytes]] = []

    def feed(self, data: bytes) -> Connect | None:
        """
        The next bytes of the stream. Not to be called again once there is a CONNECT.

        Returns:
            None if there is none yet.

        Raises:
            ArrivalRefused: by the standard, or by what this server takes.
        """
        assert self.connect is None, "there is one CONNECT"
        reader = self.reader
        packet = reader.feed_first(data)
        if packet is None:
            fault = reader.fault
            if fault is not None:
                raise ArrivalRefused(b"", Refusal(fault.code, 5))
            return None
        first, body = packet
        if first >> 4 != CONNECT:
            raise ArrivalRefused(b"", Refusal(Reason.PROTOCOL_ERROR, 5, "first packet"))
        fault = None
        try:
            connect = decode(first, body, 0)
        except MqttViolation as violation:
            fault = violation.with_traceback(None)
        if fault is not None:
            raise _malformed(body, fault)
        assert isinstance(connect, Connect)
        reader.strict = connect.version >= 5
        if reader.strict and reader.padded:
            raise _malformed(body, malformed("remaining length not in its shortest form"))
        self.rest = reader.feed(b"")
        self.connect = connect
        refused = _refused(connect, self._policy)
        if refused is not None:
            raise self._refusal(*refused)
        agreement = Agreement(self._policy, connect)
        if not agreement.lets_in(not connect.client_id):
            raise ArrivalRefused(b"", Refusal(Reason.PROTOCOL_ERROR, connect.version, "maximum packet size"))
        self.agreement = agreement
        return connect

    def _refusal(self, reason: Reason, about: str) -> ArrivalRefused:
        connect = self.connect
        assert connect is not None
        if connect.version >= 5:
            return ArrivalRefused(self.refuse(reason, ADVICE[reason]), Refusal(reason, 5, about))
        code = return_code(reason)
        return ArrivalRefused(self.refuse(code), Refusal(code, 4, about, reason))

    def refuse(self, code: int, reason: str | None = None, user_properties: tuple[tuple[str, str], ...] = ()) -> bytes:
        """
        The CONNACK that keeps a client out whose CONNECT is there. Empty if it takes no packet as large as that.

        Args:
            code: in the numbers of the client's version.
            reason, user_properties: told to clients of 5.0, as far as they take packets of that size.
        """
        connect = self.connect
        assert connect is not None, "who has not come cannot be sent away"
        properties = Properties(reason_string=reason, user_properties=user_properties)
        most = connect.properties.maximum_packet_size or 0
        packet = fitting(Connack(False, code, properties), connect.version, most)
        return b"" if most and len(packet) > most else build_frame(BINARY, packet)

    def session(self, limits: QueueLimits, note: Callable[[Refusal], None], client_id: str) -> MqttSession:
        """
        A session that begins with this socket.

        Args:
            limits: of what it may leave unacknowledged.
            note: told of each kind of refusal once.
            client_id: that it gets if it has sent none.
        """
        return MqttSession(self, limits, note, client_id)


def _malformed(body: bytes, fault: MqttViolation) -> ArrivalRefused:
    """
    A packet that says to be a CONNECT and is none.

    3.1.1 has an answer only to versions that are not spoken. 5.0 has one to everything, if one knows that it is 5.0:
    what announces itself as something newer is told in its words too. A bridge of 3.1.1 is none of that: it comes back
    without its bit once it is refused as 3.1.1 refuses.
    """
    code = fault.code
    name = next((name for name in _NAMES if len(body) > len(name) and body.startswith(name)), b"")
    said = body[len(name)] if name else 5
    if name == _NAMED and said & ~_BRIDGE >= 5:
        if code not in CODES[5][CONNACK]:
            code = Reason.PROTOCOL_ERROR
        answer = fitting(Connack(False, code, Properties(reason_string=ADVICE[code])), 5, 0)
        return ArrivalRefused(build_frame(BINARY, answer), Refusal(code, said))
    if code == Reason.UNSUPPORTED_PROTOCOL_VERSION:
        refused = ReturnCode.UNACCEPTABLE_PROTOCOL_VERSION
        return ArrivalRefused(build_frame(BINARY, fitting(Connack(False, refused), 4, 0)), Refusal(refused, said))
    return ArrivalRefused(b"", Refusal(code, said))


def _refused(connect: Connect, policy: Policy) -> tuple[Reason, str] | None:
    """Why this client is not taken, and what about it."""
    if connect.properties.authentication_method is not None:
        return Reason.BAD_AUTHENTICATION_METHOD, "authentication method"
    client_id = connect.client_id
    if client_id:
        if _CLIENT_IDS[policy.client_ids].fullmatch(client_id) is None:
            return Reason.CLIENT_ID_NOT_VALID, client_id
    elif connect.version < 5 and not connect.clean_start:
        # [3.1.1, 3.1.3.1]: there would be no way to come back to the session.
        return Reason.CLIENT_ID_NOT_VALID, "client identifier"
    if connect.version < 5 and policy.keep_alive == "limited" and not 1 <= connect.keep_alive_s <= 180:
        # No code of 3.1.1 is about that. "Server unavailable" at least does not send anybody to look for a password.
        return Reason.UNSPECIFIED_ERROR, "keep alive"
    return _refused_will(connect, policy)


def _refused_will(connect: Connect, policy: Policy) -> tuple[Reason, str] | None:
    will = connect.will
    if will is None:
        return None
    if not is_group_topic(will.topic):
        return Reason.TOPIC_NAME_INVALID, will.topic
    if len(will.payload) > _MAX_WILL_BYTES:
        return Reason.PACKET_TOO_LARGE, "will payload"
    if will.retain and connect.version >= 5 and policy.retain == "refuse":
        return Reason.RETAIN_UNSUPPORTED, "will retain"
    return None
