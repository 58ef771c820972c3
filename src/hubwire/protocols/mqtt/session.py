"""
One MQTT client, from its CONNECT on: packets to requests, and what comes of these to packets. What it is sent with
QoS 1 and 2 is kept in `outbound`, the open flows of what it sends in `inbound`.

Nothing is raised for what a client does wrong: `fault` says it, after the requests that came before.

Numbers in brackets are sections of OASIS MQTT 5.0.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from hubwire.model.errors import ProtocolViolation, QueueOverflow
from hubwire.model.messages import Ack, ClientRequest, DirectMessage, Disconnected, EventAnswer, Goodbye, Returned
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.endings import Ending, WillMessage
from hubwire.protocols.frames import BINARY, build_frame
from hubwire.protocols.mqtt.agreement import Agreement, Arrived, wire_text
from hubwire.protocols.mqtt.codec import CODECS
from hubwire.protocols.mqtt.contents import answer_message, remaining_s, topic_of, will_of, with_expiry
from hubwire.protocols.mqtt.exchange import FAILED, Exchange
from hubwire.protocols.mqtt.inbound import Inbound, Publishing
from hubwire.protocols.mqtt.keeping import Keeper, Kept, KeptTerms
from hubwire.protocols.mqtt.outbound import Outbound, Outgoing, Shared
from hubwire.protocols.mqtt.packets import (
    CODES,
    DISCONNECT_FROM_CLIENT,
    FROM_CLIENT,
    NO_PROPERTIES,
    Connect,
    Disconnect,
    Pingreq,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
    decode,
)
from hubwire.protocols.mqtt.reader import PacketReader
from hubwire.protocols.mqtt.reasons import MqttViolation, Reason
from hubwire.protocols.mqtt.subscriptions import ANSWERS, DEFAULT, Options, Subscriptions, Wish
from hubwire.protocols.mqtt.terms import Policy, Refusal
from hubwire.protocols.mqtt.topics import is_group_topic
from hubwire.protocols.mqtt.values import CONNECT, DISCONNECT
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Batch, Breach, Codec

__all__ = ["NAME", "MqttSession"]

NAME: Final = "mqtt"

_NORMAL: Final = 1000
_PROTOCOL_ERROR: Final = 1002
_UNSUPPORTED_DATA: Final = 1003
_POLICY: Final = 1008
_TOO_BIG: Final = 1009
_FOREVER_S: Final = 0xFFFFFFFF  # [3.1.2.11.2]
_PINGRESP: Final = build_frame(BINARY, b"\xd0\0")

_CODES: Final = {
    CloseCategory.CLOSED_BY_APP_SERVER: Reason.ADMINISTRATIVE_ACTION,
    CloseCategory.SERVICE_RELOAD: Reason.SERVER_SHUTTING_DOWN,
    CloseCategory.SLOW_CLIENT: Reason.QUOTA_EXCEEDED,
    CloseCategory.PING_TIMEOUT: Reason.KEEP_ALIVE_TIMEOUT,
    CloseCategory.SERVICE_TRANSIENT_ERROR: Reason.IMPLEMENTATION_ERROR,
    CloseCategory.UNAUTHORIZED: Reason.NOT_AUTHORIZED,
    CloseCategory.THROTTLED: Reason.MESSAGE_RATE_TOO_HIGH,
}
"""What a DISCONNECT says of why a connection ends; what is not here is unspecified."""


class MqttSession:
    """
    Attributes:
        will: what is to be published if the client goes without a goodbye, or has said that it should be.
        ending: the DISCONNECT packet of either side that has ended the latest socket; None for none.

    Args:
        arrival: with a CONNECT that is taken.
        limits: of what is left unacknowledged.
        note: told of each refusal that goes out, once for each code, topic and packet, and only of the first few.
        client_id: connection id of the client.
    """

    __slots__ = (
        "_agreement",
        "_away",
        "_exchange",
        "_inbound",
        "_limits",
        "_now",
        "_outbound",
        "_reader",
        "_rest",
        "_subscriptions",
        "ending",
        "will",
    )

    def __init__(
        self,
        arrival: Arrived,
        limits: QueueLimits,
        note: Callable[[Refusal], None],
        client_id: str,
    ) -> None:
        agreement = _agreement(arrival)
        self.will: WillMessage | None = None
        self.ending: Ending | None = None
        self._exchange = Exchange(client_id, agreement, note)
        self._limits = limits
        self._now = 0.0
        self._away = False
        # Made when they are needed: most clients do one thing.
        self._subscriptions: Subscriptions | None = None
        self._inbound: Inbound | None = None
        self._outbound: Outbound | None = None
        self._begin(arrival, agreement)

    def _begin(self, arrival: Arrived, agreement: Agreement) -> None:
        connect = arrival.connect
        assert connect is not None, "the client has come"
        self._agreement = self._exchange.agreement = agreement
        self._reader = arrival.reader
        self._rest: list[tuple[int, bytes]] | None = arrival.rest or None
        client_id, policy = self._exchange.client_id, agreement.policy
        keeps = policy.retain == "keep"
        self.will = will_of(connect, client_id, agreement.session_expiry_s, policy.v4_text, keeps)

    # What of it outlives the process.

    @classmethod
    def restored(
        cls,
        policy: Policy,
        terms: KeptTerms,
        limits: QueueLimits,
        note: Callable[[Refusal], None],
        client_id: str,
    ) -> "MqttSession":
        """
        A session that waits for another socket since an earlier process. `restore` is to follow.

        Args:
            terms: of its latest socket.
            limits, note, client_id: as for a new one.
        """
        session = cls(_Gone(policy, terms, client_id), limits, note, client_id)
        session.will = terms.will
        session.ending = terms.ending
        session._away = True
        return session

    def restore(self, kept: Kept, now: float) -> None:
        """All the rest of it. Nothing of this is told to a keeper."""
        if kept.options:
            self._subscribing().restore(kept.options)
        if kept.received:
            self._incoming().restore(kept.received)
        if kept.queue:
            self._sending().restore(kept.queue, self._agreement.version, now)

    def keep(self, keeper: Keeper | None) -> None:
        """From now on tell this one what is to outlive the process; nobody, if None."""
        self._exchange.keeper = keeper
        if self._outbound is not None:
            self._outbound.keeper = keeper

    @property
    def durable(self) -> bool:
        return self._exchange.keeper is not None

    def terms(self) -> KeptTerms:
        """What it still knows of the latest socket."""
        agreement = self._agreement
        return KeptTerms(
            agreement.version,
            agreement.asked_expiry_s,
            agreement.session_expiry_s,
            agreement.max_packet_bytes,
            self.will,
            self.ending,
        )

    # What it is.

    @property
    def client_id(self) -> str:
        """Its connection id."""
        return self._exchange.client_id

    @property
    def fault(self) -> MqttViolation | None:
        """How the client has broken MQTT, and all else that it says is ignored; None while it has not."""
        return self._exchange.fault

    @property
    def codec(self) -> Codec:
        return CODECS[self._agreement.version]

    @property
    def subprotocol(self) -> str | None:
        return NAME

    @property
    def version(self) -> int:
        """4 for MQTT 3.1.1, 5 for 5.0. Who comes back may speak another one."""
        return self._agreement.version

    @property
    def says_goodbye(self) -> bool:
        return True

    @property
    def silence_s(self) -> float | None:
        return self._agreement.keep_alive_s * 1.5  # [3.1.2.10]

    @property
    def recoverable(self) -> bool:
        return self._agreement.session_expiry_s > 0

    @property
    def retention_s(self) -> float | None:
        expiry_s = self._agreement.session_expiry_s
        return math.inf if expiry_s == _FOREVER_S else float(expiry_s)

    def takes(self, group: str) -> bool:
        return is_group_topic(group)

    def held(self) -> tuple[int, int]:
        return (0, 0) if self._outbound is None else self._outbound.held()

    # Its sockets.

    def connack(
        self, session_present: bool, assigned: str | None = None, user_properties: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        """
        The frame that lets the client in.

        Args:
            assigned: the identifier of a client that has sent an empty one.
        """
        return build_frame(BINARY, self._agreement.connack(session_present, assigned, user_properties))

    def takes_over(self, arrival: Arrived) -> None:
        """The client has another socket. `resume` is to follow; what is delivered until then waits."""
        self.lost()
        self.ending = None
        self._exchange.fault = None
        self._begin(arrival, _agreement(arrival))

    def lost(self) -> None:
        self._away = True
        self._exchange.said()
        if self._subscriptions is not None:
            self._subscriptions.lost()
        if self._inbound is not None:
            self._inbound.carry_over()

    def resume(self, now: float) -> Sequence[tuple[bytes, int, float | None]]:
        self._away = False
        self._now = now
        outbound, agreement = self._outbound, self._agreement
        if outbound is None:
            return ()
        frames = outbound.resume(agreement.version, agreement.window, agreement.max_packet_bytes, now)
        return [(frame, 1, None) for frame in frames]

    # What it is sent.

    def deliver(self, batch: Batch, now: float) -> bytes:
        shared: Shared | None = batch.cache
        if shared is None:
            shared = batch.cache = Shared(batch, self._agreement.version, now)
        subscriptions = self._subscriptions
        matched = batch.matched
        if subscriptions is None:
            options = DEFAULT
        elif matched is None:
            options = subscriptions.options.get(shared.topic, DEFAULT)
        else:
            options = subscriptions.together(matched)
        agreement = self._agreement
        most = agreement.max_packet_bytes
        batch.awaited = bool(options.qos and shared.qos)
        if options.plain and not batch.awaited and (not most or shared.largest_bytes <= most):
            return b"" if self._away else shared.plain
        self._now = now
        messages = shared.outgoing(options.qos, options.identifiers, options.as_published, options.share)
        own = options.own
        if own is not None:
            client_id = self._exchange.client_id
            mine = shared.outgoing(own.qos, own.identifiers, own.as_published)
            pairs = zip(messages, mine, strict=True)
            messages = [its if theirs.publisher == client_id else theirs for theirs, its in pairs]
        return self._deliver(messages, options)

    def _deliver(self, messages: list[Outgoing], options: Options) -> bytes:
        outbound = self._sending()
        agreement = self._agreement
        left_out = self._exchange.client_id if options.no_local else None
        return outbound.deliver(messages, self._away, agreement.window, agreement.max_packet_bytes, left_out, self._now)

    def left(self, group: str) -> None:
        if self._subscriptions is not None:
            self._subscriptions.left(group)

    def returned(self, share: str | None, now: float) -> Sequence[Returned]:
        if self._outbound is None:
            return ()
        found: list[Returned] = []
        for item in self._outbound.returned(share, now):
            message, expires_at = item.message, item.expires_at
            if expires_at is not None:
                message = with_expiry(message, remaining_s(expires_at, now))
            assert item.share is not None, "others may be sent it"
            found.append(Returned(item.share, message, expires_at))
        return found

    def outgoing(self, now: float) -> Sequence[bytes]:
        self._now = now
        return self._exchange.said() or ()

    @property
    def has_late(self) -> bool:
        return self._outbound is not None and self._outbound.has_late(self._agreement.window)

    def released(self, now: float) -> Sequence[bytes]:
        outbound, agreement, ending = self._outbound, self._agreement, self.ending
        if outbound is None or self._away or ending is not None:
            return ()
        return outbound.released(agreement.version, agreement.window, agreement.max_packet_bytes, now)

    def direct(self, message: DirectMessage) -> bytes:
        ending = self.ending
        # After the server's DISCONNECT nothing is said. An outcome that comes only then still matters to the session.
        is_silent = ending is not None and not ending.initiated_by_client
        match message:
            case Ack():
                frames = self._acknowledged(message)
                return b"" if is_silent else frames
            case EventAnswer():
                frames = self._answered(message)
                return b"" if is_silent else frames
            case Disconnected(text, category, reason):
                return self._disconnected(text, category, reason)
        return b""

    def _acknowledged(self, ack: Ack) -> bytes:
        asked = self._exchange.asked
        about = None if asked is None else asked.pop(ack.ack_id, None)
        if isinstance(about, Publishing):
            assert self._inbound is not None, "it has asked"
            return self._inbound.published(about, ack.error, ack.changed)
        if isinstance(about, Wish):
            assert self._subscriptions is not None, "they have asked"
            return self._subscriptions.learn(about, ack.error, ack.changed)
        return b""

    def _answered(self, answer: EventAnswer) -> bytes:
        message = answer_message(answer)
        subscriptions = self._subscriptions
        options = ANSWERS if subscriptions is None else subscriptions.options.get(topic_of(message), ANSWERS)
        try:
            return self._deliver([Outgoing(message, self.version, options.qos, options.identifiers)], options)
        except QueueOverflow:
            self._exchange.fault = MqttViolation(Reason.QUOTA_EXCEEDED, "too many unacknowledged messages")
            return b""

    # What it says.

    def receive(self, payload: str | bytes) -> Sequence[ClientRequest]:
        requests: list[ClientRequest] = []
        if self._is_deaf():
            return requests
        try:
            self._read(payload, requests)
            fault = self._reader.fault
        except MqttViolation as violation:
            # Without its traceback, which would hold the whole message.
            fault = violation.with_traceback(None)
        if fault is not None and not self._is_deaf():
            self._exchange.notice(fault.code, "")
            self._exchange.fault = fault
        return requests

    def _is_deaf(self) -> bool:
        """Is nothing to be heard any more of this socket."""
        return self.fault is not None or self.ending is not None

    def _read(self, payload: str | bytes, requests: list[ClientRequest]) -> None:
        if isinstance(payload, str):
            raise MqttViolation(Reason.PROTOCOL_ERROR, "text where only binary messages are", _UNSUPPORTED_DATA)
        packets = self._reader.feed(payload)
        if self._rest is not None:
            packets = self._rest + packets
            self._rest = None
        for first, body in packets:
            self._take(first, body, requests)
            if self._is_deaf():
                return

    def _take(self, first: int, body: bytes, requests: list[ClientRequest]) -> None:
        version = self._agreement.version
        kind = first >> 4
        if kind == CONNECT or (kind and kind not in FROM_CLIENT[version]):
            raise MqttViolation(Reason.PROTOCOL_ERROR, "packet that has no place here")
        packet = decode(first, body, version)
        match packet:
            case Publish():
                self._incoming().publish(packet, self._is_asked(packet.packet_id), requests)
            case Puback(packet_id):
                if self._outbound is not None:
                    self._outbound.received(packet_id)
            case Pubrec(packet_id, code):
                self._pubrec(packet_id, code)
            case Pubrel(packet_id):
                self._incoming().release(packet_id)
            case Pubcomp(packet_id):
                if self._outbound is not None:
                    self._outbound.completed(packet_id)
            case Pingreq():
                self._exchange.say(_PINGRESP)
            case Subscribe(packet_id):
                self._subscribing().subscribe(packet, self._is_published(packet_id), requests)
            case Unsubscribe(packet_id):
                self._subscribing().unsubscribe(packet, self._is_published(packet_id), requests)
            case Disconnect():
                self._goodbye(packet, requests)
            case _:
                raise MqttViolation(Reason.PROTOCOL_ERROR, "no enhanced authentication here")

    def _incoming(self) -> Inbound:
        if self._inbound is None:
            self._inbound = Inbound(self._exchange)
        return self._inbound

    def _subscribing(self) -> Subscriptions:
        if self._subscriptions is None:
            self._subscriptions = Subscriptions(self._exchange)
        return self._subscriptions

    def _sending(self) -> Outbound:
        if self._outbound is None:
            self._outbound = Outbound(self._limits, self._exchange.keeper)
        return self._outbound

    def _is_published(self, packet_id: int) -> bool:
        return self._inbound is not None and self._inbound.knows(packet_id)

    def _is_asked(self, packet_id: int | None) -> bool:
        return packet_id is not None and self._subscriptions is not None and self._subscriptions.knows(packet_id)

    def _pubrec(self, packet_id: int, code: int) -> None:
        failed = code >= FAILED
        known = self._outbound is not None and self._outbound.taken(packet_id, failed)
        # Who refuses a message has forgotten it, and would not know what a PUBREL is about [4.3.3].
        if not failed:
            packet = Pubrel(packet_id, Reason.SUCCESS if known else Reason.PACKET_ID_NOT_FOUND)
            self._exchange.say(self._exchange.frame(packet))

    # Its end.

    def _goodbye(self, packet: Disconnect, requests: list[ClientRequest]) -> None:
        agreement = self._agreement
        code, properties = packet.code, packet.properties
        if code not in DISCONNECT_FROM_CLIENT:
            raise MqttViolation(Reason.PROTOCOL_ERROR, "code that a client may not say")
        expiry_s = properties.session_expiry_s
        if expiry_s is not None:
            if expiry_s and not agreement.asked_expiry_s:
                # [3.14.2.2.2]
                raise MqttViolation(Reason.PROTOCOL_ERROR, "session that was to end with its connection")
            agreement.session_expiry_s = min(expiry_s, agreement.policy.session_expiry_s)
        if code == Reason.SUCCESS:
            self.will = None
        elif self.will is not None:
            self.will = replace(self.will, delay_s=min(agreement.will_delay_s, agreement.session_expiry_s))
        self.ending = Ending(True, code, properties.reason_string, properties.user_properties)
        requests.append(Goodbye())

    def forget_will(self) -> None:
        self.will = None

    def breached(self, violation: ProtocolViolation) -> Breach:
        code = violation.close_code
        if not isinstance(violation, MqttViolation):
            self._unreadable(violation)
            told = code == _TOO_BIG
        elif violation.code == Reason.QUOTA_EXCEEDED:
            # It does not acknowledge what it is answered: nothing of such a session is worth keeping.
            return Breach(_POLICY, CloseCategory.SLOW_CLIENT, True)
        else:
            told = code in (_PROTOCOL_ERROR, _TOO_BIG)
        # Where a DISCONNECT says what was wrong the close frame need not, but for a fault of the WebSocket itself.
        return Breach(_NORMAL if told and self.version >= 5 else code, CloseCategory.BAD_REQUEST, False)

    def _unreadable(self, violation: ProtocolViolation) -> None:
        """Nothing more can be read of this socket, since its frames are broken: the last packet calls it a fault."""
        if not self._is_deaf():
            code = Reason.PACKET_TOO_LARGE if violation.close_code == _TOO_BIG else Reason.PROTOCOL_ERROR
            self._exchange.notice(code, "")
            self._exchange.fault = MqttViolation(code, violation.reason, violation.close_code)

    def not_allowed(self, group: str, text: str) -> None:
        self._exchange.notice(Reason.NOT_AUTHORIZED, group, "PUBLISH")
        self._exchange.fault = MqttViolation(Reason.NOT_AUTHORIZED, text)

    def _disconnected(self, text: str, category: CloseCategory, reason: str | None) -> bytes:
        code = _CODES.get(category, Reason.UNSPECIFIED_ERROR)
        fault = self._exchange.fault
        if category == CloseCategory.BAD_REQUEST and fault is not None:
            code = fault.code if fault.code in CODES[5][DISCONNECT] else Reason.PROTOCOL_ERROR
        elif category == CloseCategory.CLOSED_BY_APP_SERVER:
            text = reason or ""
        return self.farewell(code, text)

    def farewell(self, reason: Reason, text: str | None = None) -> bytes:
        """
        The last packet to this socket. Empty in 3.1.1, which has none, and if one side has said its last already.

        Args:
            reason: a code of DISCONNECT.
            text: reason string; None or empty for none.
        """
        if self.ending is not None:
            return b""
        exchange = self._exchange
        if exchange.fault is None:
            exchange.notice(reason, "")  # a fault was noticed together with what it is about
        if self._agreement.version < 5:
            return b""
        text = wire_text(text) if text else None
        self.ending = Ending(False, reason, text)
        return exchange.frame(Disconnect(reason, NO_PROPERTIES if text is None else Properties(reason_string=text)))


class _Gone:
    """The socket of an earlier process, as far as its session knows of it."""

    def __init__(self, policy: Policy, terms: KeptTerms, client_id: str) -> None:
        properties = Properties(maximum_packet_size=terms.max_packet_bytes or None)
        self.connect: Connect | None = Connect(terms.version, client_id, False, 0, properties=properties)
        agreement = Agreement(policy, self.connect)
        agreement.asked_expiry_s = terms.asked_expiry_s
        agreement.session_expiry_s = min(terms.expiry_s, policy.session_expiry_s)
        self.agreement: Agreement | None = agreement
        self.reader = PacketReader(policy.max_packet_bytes)
        self.rest: list[tuple[int, bytes]] = []


def _agreement(arrival: Arrived) -> Agreement:
    agreement = arrival.agreement
    assert agreement is not None, "the client was taken"
    return agreement
