"""
One MQTT client, from its CONNECT on: packets to requests, and what comes of these to packets. What it is sent with
QoS 1 and 2 is kept in `outbound`, the open flows of what it sends in `inbound`.

Nothing is raised for what a client does wrong: `fault` says it, after the requests that came before.

Numbers in brackets are sections of OASIS MQTT 5.0.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from msgspec.structs import replace

from hubwire.model.errors import QueueOverflow
from hubwire.model.messages import (
    Ack,
    AckError,
    ClientRequest,
    DirectMessage,
    Disconnected,
    EventAnswer,
    Goodbye,
    JoinGroup,
    LeaveGroup,
    SendEvent,
    SendToGroup,
)
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.frames import BINARY, build_frame
from hubwire.protocols.mqtt.agreement import fitting, wire_text
from hubwire.protocols.mqtt.codec import CODECS
from hubwire.protocols.mqtt.contents import (
    answer_message,
    data_of,
    is_media_type,
    metadata_of,
    publication_of,
    topic_of,
    ttl_s_of,
    will_of,
)
from hubwire.protocols.mqtt.inbound import Inbound, Publishing
from hubwire.protocols.mqtt.outbound import Outbound, Outgoing, Shared
from hubwire.protocols.mqtt.packets import (
    CODES,
    DISCONNECT_FROM_CLIENT,
    FROM_CLIENT,
    NO_PROPERTIES,
    Disconnect,
    Filter,
    Pingreq,
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
    decode,
    encode,
)
from hubwire.protocols.mqtt.reasons import ADVICE, MqttViolation, Reason
from hubwire.protocols.mqtt.subscriptions import DEFAULT, Gathering, Options, Subscriptions, options_of, refusal_of
from hubwire.protocols.mqtt.terms import Ending, Refusal, WillMessage
from hubwire.protocols.mqtt.topics import event_name, filter_fault, is_event_topic, is_group_topic, is_served
from hubwire.protocols.mqtt.values import CONNECT, DISCONNECT, UNSUBACK
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Batch, Codec

if TYPE_CHECKING:
    from hubwire.protocols.mqtt.arrival import Arrival

__all__ = ["NAME", "Ending", "MqttSession", "WillMessage"]

NAME: Final = "mqtt"

_FAILED: Final = 0x80
_UNSUPPORTED_DATA: Final = 1003
_MOST_NOTED: Final = 16
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


class _Wish:
    """
    A filter that was asked for.

    Attributes:
        gathering, position: where its code belongs.
        options: of a subscription; None for the end of one.
        at_once: they hold since the client asked, as there were none before.
    """

    __slots__ = ("at_once", "gathering", "options", "position", "topic")

    def __init__(self, gathering: Gathering, topic: str, options: Options | None, at_once: bool) -> None:
        self.gathering = gathering
        self.position = gathering.wait()
        self.topic = topic
        self.options = options
        self.at_once = at_once


class MqttSession:
    """
    Attributes:
        client_id: its connection id too.
        user_id: whose it is; None for an anonymous client.
        fault: how the client has broken MQTT; None while it has not. Everything else that it sends is ignored.
        will: what is to be published if the client goes without a goodbye, or said that it should be.
        ending: the DISCONNECT packet of either side that has ended the latest socket; None for none.

    Args:
        arrival: with a CONNECT that is taken.
        note: told of each refusal that goes out, once for each code and topic and only of the first few.
    """

    __slots__ = (
        "_agreement",
        "_asked",
        "_away",
        "_gathering",
        "_inbound",
        "_last_ack",
        "_limits",
        "_note",
        "_noted",
        "_now",
        "_out",
        "_outbound",
        "_reader",
        "_rest",
        "_subscriptions",
        "client_id",
        "ending",
        "fault",
        "user_id",
        "will",
    )

    def __init__(
        self,
        arrival: "Arrival",
        limits: QueueLimits,
        note: Callable[[Refusal], None],
        client_id: str,
        user_id: str | None,
    ) -> None:
        self.client_id = client_id
        self.user_id = user_id
        self.fault: MqttViolation | None = None
        self.will: WillMessage | None = None
        self.ending: Ending | None = None
        self._limits = limits
        self._note = note
        # Made when they are needed: most clients do one thing.
        self._noted: set[tuple[int, str]] | None = None
        self._asked: dict[int, Publishing | _Wish] | None = None
        self._gathering: dict[int, Gathering] | None = None
        self._subscriptions: Subscriptions | None = None
        self._inbound: Inbound | None = None
        self._outbound: Outbound | None = None
        self._out: list[bytes] | None = None
        self._last_ack = 0
        self._now = 0.0
        self._away = False
        self._begin(arrival)

    def _begin(self, arrival: "Arrival") -> None:
        connect, agreement = arrival.connect, arrival.agreement
        assert connect is not None, "the client has come"
        assert agreement is not None, "and was taken"
        self._agreement = agreement
        self._reader = arrival.reader
        self._rest: list[tuple[int, bytes]] | None = arrival.rest or None
        self.will = will_of(connect, self.client_id, agreement.session_expiry_s, agreement.policy.v4_text)

    # What it is.

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
    def keep_alive_s(self) -> int:
        """Within one and a half times as long the client says something; 0 for whenever it wants."""
        return self._agreement.keep_alive_s

    @property
    def recoverable(self) -> bool:
        return self._agreement.session_expiry_s > 0

    @property
    def retention_s(self) -> float | None:
        return float(self._agreement.session_expiry_s)

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

    def takes_over(self, arrival: "Arrival") -> None:
        """The client has another socket. `resume` is to follow; what is delivered until then waits."""
        self.lost()
        self.fault = None
        self.ending = None
        self._begin(arrival)

    def lost(self) -> None:
        self._away = True
        self._out = None
        # SUBSCRIBE and UNSUBSCRIBE are no part of a session's state: nobody waits for these answers any more.
        for gathering in (self._gathering or {}).values():
            gathering.stale = True
        self._gathering = None
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
        options = DEFAULT if subscriptions is None else subscriptions.options.get(shared.topic, DEFAULT)
        agreement = self._agreement
        most = agreement.max_packet_bytes
        if options.plain and not (options.qos and shared.qos) and (not most or shared.largest_bytes <= most):
            return b"" if self._away else shared.plain
        self._now = now
        return self._deliver(shared.outgoing(options.qos, options.identifier), options)

    def _deliver(self, messages: list[Outgoing], options: Options) -> bytes:
        outbound = self._outbound
        if outbound is None:
            outbound = self._outbound = Outbound(self._limits)
        agreement = self._agreement
        left_out = self.client_id if options.no_local else None
        return outbound.deliver(messages, self._away, agreement.window, agreement.max_packet_bytes, left_out, self._now)

    def left(self, group: str) -> None:
        if self._subscriptions is not None:
            self._subscriptions.options.pop(group, None)

    def outgoing(self, now: float | None = None) -> Sequence[bytes]:
        """
        Args:
            now: monotonic seconds; None for when something was last delivered.
        """
        if now is not None:
            self._now = now
        frames, self._out = self._out, None
        outbound, agreement = self._outbound, self._agreement
        if outbound is None or self._away:
            return frames or ()
        late = outbound.released(agreement.version, agreement.window, agreement.max_packet_bytes, self._now)
        return frames + late if frames else late

    def direct(self, message: DirectMessage) -> bytes:
        if self.ending is not None and not self.ending.initiated_by_client:
            return b""
        match message:
            case Ack(ack_id, error, changed):
                return self._acknowledged(ack_id, error, changed)
            case EventAnswer():
                return self._answered(message)
            case Disconnected(text, category, reason):
                return self._disconnected(text, category, reason)
        return b""

    def _answered(self, answer: EventAnswer) -> bytes:
        message = answer_message(answer)
        options = self._options(topic_of(message))
        try:
            return self._deliver([Outgoing(message, self.version, options.qos, options.identifier)], options)
        except QueueOverflow:
            self.fault = MqttViolation(Reason.QUOTA_EXCEEDED, "too many unacknowledged messages")
            return b""

    def _options(self, topic: str) -> Options:
        return DEFAULT if self._subscriptions is None else self._subscriptions.options.get(topic, DEFAULT)

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
            self._noticed(fault.code, "")
            self.fault = fault
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
                self._publish(packet, requests)
            case Puback(packet_id):
                if self._outbound is not None:
                    self._outbound.received(packet_id)
            case Pubrec(packet_id, code):
                self._pubrec(packet_id, code)
            case Pubrel(packet_id):
                self._pubrel(packet_id)
            case Pubcomp(packet_id):
                if self._outbound is not None:
                    self._outbound.completed(packet_id)
            case Pingreq():
                self._say(_PINGRESP)
            case Subscribe():
                self._subscribe(packet, requests)
            case Unsubscribe():
                self._unsubscribe(packet, requests)
            case Disconnect():
                self._goodbye(packet, requests)
            case _:
                raise MqttViolation(Reason.PROTOCOL_ERROR, "no enhanced authentication here")

    def _violate(self, code: Reason, about: str, reason: str) -> NoReturn:
        self._noticed(code, about)
        self.fault = MqttViolation(code, reason)
        raise self.fault

    def _say(self, frame: bytes) -> None:
        if self._out is None:
            self._out = []
        self._out.append(frame)

    def _noticed(self, code: int, about: str) -> None:
        if code < _FAILED:
            return
        noted = self._noted
        if noted is None:
            noted = self._noted = set()
        if len(noted) < _MOST_NOTED and (code, about) not in noted:
            noted.add((code, about))
            self._note(Refusal(code, self._agreement.version, about))

    # PUBLISH and what follows.

    def _publish(self, packet: Publish, requests: list[ClientRequest]) -> None:
        topic, qos, properties = packet.topic, packet.qos, packet.properties
        agreement = self._agreement
        if properties is not NO_PROPERTIES:
            if properties.topic_alias is not None:
                self._violate(Reason.TOPIC_ALIAS_INVALID, topic, "topic alias")
            if properties.subscription_ids:
                self._violate(Reason.PROTOCOL_ERROR, topic, "subscription identifier from a client")
        if packet.retain and agreement.version >= 5 and agreement.policy.retain == "refuse":
            self._violate(Reason.RETAIN_UNSUPPORTED, topic, "retained message")
        if qos and not self._is_new(packet):
            return
        event: str | None = None
        refused: Reason | None = None
        if is_event_topic(topic):
            event = event_name(topic)
            if event is None:
                refused = Reason.TOPIC_NAME_INVALID
            elif properties.content_type is not None and not is_media_type(properties.content_type):
                refused = Reason.PAYLOAD_FORMAT_INVALID
        elif not is_group_topic(topic):
            refused = Reason.TOPIC_NAME_INVALID
        if refused is not None:
            self._refuse(packet, refused)
            return
        ack_id = self._begin_flow(packet) if qos else None
        data = data_of(packet.payload, properties, agreement.version, agreement.policy.v4_text)
        metadata = metadata_of(properties.user_properties)
        publication = publication_of(properties, qos, self.client_id)
        if event is not None:
            requests.append(SendEvent(event, data, ack_id, metadata, False, publication))
        else:
            ttl_s = ttl_s_of(properties)
            requests.append(SendToGroup(topic, data, ack_id, False, ttl_s, metadata, not qos, publication))

    def _is_new(self, packet: Publish) -> bool:
        """Is a PUBLISH with QoS 1 or 2 to be carried out? Else it is answered, or its answer is on its way."""
        packet_id = packet.packet_id
        assert packet_id is not None
        inbound, agreement = self._inbound, self._agreement
        if inbound is None:
            inbound = self._inbound = Inbound()
        standing = inbound.standing(packet_id, packet.qos, packet.dup)
        if standing == "new" and self._gathering is not None and packet_id in self._gathering:
            standing = "in use"
        if standing == "in use":
            if agreement.version < 5:
                # There is no way to say it, and a message that is not carried out must not look as if it were.
                self._violate(Reason.PACKET_ID_IN_USE, packet.topic, "packet identifier that is in use")
            self._in_turn(self._answer(packet_id, packet.qos, Reason.PACKET_ID_IN_USE, packet.topic))
            return False
        if standing == "answered":
            self._in_turn(self._answer(packet_id, 2, inbound.code_of(packet_id), packet.topic))
        if agreement.version >= 5 and inbound.open + (standing == "new") > agreement.policy.receive_maximum:
            self._violate(Reason.RECEIVE_MAXIMUM_EXCEEDED, "", "more open messages than the receive maximum")
        return standing == "new"

    def _begin_flow(self, packet: Publish) -> int:
        assert self._inbound is not None, "it was asked whether this is new"
        assert packet.packet_id is not None, "it has QoS 1 or 2"
        return self._ask(self._inbound.begin(packet.packet_id, packet.qos, packet.topic))

    def _ask(self, about: "Publishing | _Wish") -> int:
        ack_id = self._last_ack = self._last_ack + 1
        if self._asked is None:
            self._asked = {}
        self._asked[ack_id] = about
        return ack_id

    def _refuse(self, packet: Publish, reason: Reason) -> None:
        """Without asking anybody. With QoS 0 only a topic that is none is worth an end."""
        if not packet.qos:
            if reason == Reason.TOPIC_NAME_INVALID:
                self._violate(reason, packet.topic, "topic that nobody can publish to")
            self._noticed(reason, packet.topic)
            return
        assert self._inbound is not None, "it was asked whether this is new"
        assert packet.packet_id is not None, "it has QoS 1 or 2"
        self._in_turn(self._settle(packet.packet_id, packet.qos, reason, packet.topic))

    def _settle(self, packet_id: int, qos: int, code: int, topic: str, text: str | None = None) -> bytes:
        """The first answer to a PUBLISH. 3.1.1 has only one that says yes, also to what is dropped."""
        assert self._inbound is not None
        self._inbound.answer(packet_id, qos, code if self._agreement.version >= 5 else 0)
        return self._answer(packet_id, qos, code, topic, text)

    def _answer(self, packet_id: int, qos: int, code: int, topic: str, text: str | None = None) -> bytes:
        self._noticed(code, topic)
        properties = self._problem(code, text)
        if qos == 1:
            return self._frame(Puback(packet_id, code, properties))
        return self._frame(Pubrec(packet_id, code, properties))

    def _in_turn(self, frame: bytes) -> None:
        """Say something behind the answers to all messages before."""
        last = None if self._inbound is None else self._inbound.last()
        if last is None:
            self._say(frame)
        else:
            if last.after is None:
                last.after = []
            last.after.append(frame)

    def _published(self, publishing: Publishing, error: AckError | None, changed: bool) -> bytes:
        """What came of a PUBLISH with QoS 1 or 2."""
        assert self._inbound is not None
        self._inbound.finish(publishing)
        if publishing.forgotten:
            return b""
        text: str | None = None
        code = Reason.SUCCESS if changed else Reason.NO_MATCHING_SUBSCRIBERS
        if error is not None:
            code, text = refusal_of(error), error.message
        frame = self._settle(publishing.packet_id, publishing.qos, code, publishing.topic, text)
        return frame if publishing.after is None else b"".join([frame, *publishing.after])

    def _pubrel(self, packet_id: int) -> None:
        known = self._inbound is not None and self._inbound.release(packet_id)
        self._say(self._frame(Pubcomp(packet_id, Reason.SUCCESS if known else Reason.PACKET_ID_NOT_FOUND)))

    def _pubrec(self, packet_id: int, code: int) -> None:
        known = False if self._outbound is None else self._outbound.taken(packet_id, code >= _FAILED)
        if known is not None:
            self._say(self._frame(Pubrel(packet_id, Reason.SUCCESS if known else Reason.PACKET_ID_NOT_FOUND)))

    # SUBSCRIBE and UNSUBSCRIBE.

    def _subscribe(self, packet: Subscribe, requests: list[ClientRequest]) -> None:
        gathering = Gathering(packet.packet_id, ends=False)
        identifiers = packet.properties.subscription_ids
        identifier = identifiers[0] if identifiers else None
        if self._is_taken(packet.packet_id):
            for wanted in packet.filters:
                self._fail(gathering, Reason.PACKET_ID_IN_USE, wanted.topic_filter)
        else:
            for wanted in packet.filters:
                self._want(gathering, wanted, options_of(wanted, identifier), requests)
        self._gathered(gathering)

    def _want(self, gathering: Gathering, wanted: Filter, options: Options, requests: list[ClientRequest]) -> None:
        topic = wanted.topic_filter
        fault = filter_fault(topic)
        if fault is not None:
            self._fail(gathering, fault, topic)
            return
        subscriptions = self._subscriptions
        if subscriptions is None:
            subscriptions = self._subscriptions = Subscriptions()
        if is_served(topic):
            if subscriptions.set_served(topic, options):
                gathering.know(options.qos)
            else:
                self._fail(gathering, Reason.QUOTA_EXCEEDED, topic)
            return
        # From now on, since a message may come before the answer; but not in place of what holds already.
        at_once = topic not in subscriptions.options
        if at_once:
            subscriptions.options[topic] = options
        requests.append(JoinGroup(topic, self._ask(_Wish(gathering, topic, options, at_once))))

    def _unsubscribe(self, packet: Unsubscribe, requests: list[ClientRequest]) -> None:
        gathering = Gathering(packet.packet_id, ends=True)
        if not self._is_taken(packet.packet_id):
            for topic in packet.filters:
                fault = filter_fault(topic)
                if fault is None and is_served(topic):
                    if self._subscriptions is not None:
                        self._subscriptions.reset_served(topic)
                    gathering.know(Reason.SUCCESS)
                elif fault is None:
                    requests.append(LeaveGroup(topic, self._ask(_Wish(gathering, topic, None, False))))
                elif fault == Reason.TOPIC_FILTER_INVALID:
                    self._fail(gathering, fault, topic)
                else:
                    gathering.know(Reason.NO_SUBSCRIPTION_EXISTED)
        elif self._agreement.version >= 5:
            for topic in packet.filters:
                self._fail(gathering, Reason.PACKET_ID_IN_USE, topic)
        else:
            self._violate(Reason.PACKET_ID_IN_USE, "", "packet identifier that is in use")
        self._gathered(gathering)

    def _is_taken(self, packet_id: int) -> bool:
        """Does another packet of the client have this identifier."""
        if self._gathering is not None and packet_id in self._gathering:
            return True
        return self._inbound is not None and self._inbound.knows(packet_id)

    def _fail(self, gathering: Gathering, code: Reason, topic: str) -> None:
        """The next filter is refused without asking anybody."""
        self._noticed(code, topic)
        gathering.know(self._said(gathering, code))
        gathering.text = gathering.text or ADVICE[code]

    def _said(self, gathering: Gathering, code: Reason) -> int:
        """A failure, as the answer can say it."""
        if self._agreement.version < 5:
            return Reason.UNSPECIFIED_ERROR
        return code if not gathering.ends or code in CODES[5][UNSUBACK] else Reason.UNSPECIFIED_ERROR

    def _gathered(self, gathering: Gathering) -> None:
        """A packet was looked at; if nobody has to be asked, it is answered."""
        if gathering.left:
            if self._gathering is None:
                self._gathering = {}
            self._gathering[gathering.packet_id] = gathering
        else:
            self._say(self._gathering_frame(gathering))

    def _gathering_frame(self, gathering: Gathering) -> bytes:
        text = gathering.text
        properties = NO_PROPERTIES if text is None else self._problem(Reason.UNSPECIFIED_ERROR, text)
        codes = tuple([code for code in gathering.codes if code is not None])
        if gathering.ends:
            return self._frame(Unsuback(gathering.packet_id, codes, properties))
        return self._frame(Suback(gathering.packet_id, codes, properties))

    def _fulfilled(self, wish: _Wish, error: AckError | None, changed: bool) -> bytes:
        """What came of one filter. Empty as long as there are others."""
        gathering, options = wish.gathering, wish.options
        if error is not None:
            code = refusal_of(error)
            self._noticed(code, wish.topic)
            gathering.learn(wish.position, self._said(gathering, code))
            gathering.text = gathering.text or error.message
        elif options is None:
            gathering.learn(wish.position, Reason.SUCCESS if changed else Reason.NO_SUBSCRIPTION_EXISTED)
        else:
            gathering.learn(wish.position, options.qos)
        if options is not None:
            assert self._subscriptions is not None
            known = self._subscriptions.options
            if error is None:
                known[wish.topic] = options
            elif wish.at_once and known.get(wish.topic) is options:
                del known[wish.topic]
        if gathering.left or gathering.stale:
            return b""
        if self._gathering is not None:
            self._gathering.pop(gathering.packet_id, None)
        return self._gathering_frame(gathering)

    # Answers.

    def _acknowledged(self, ack_id: int, error: AckError | None, changed: bool) -> bytes:
        asked = None if self._asked is None else self._asked.pop(ack_id, None)
        if isinstance(asked, Publishing):
            return self._published(asked, error, changed)
        return b"" if asked is None else self._fulfilled(asked, error, changed)

    def _problem(self, code: int, text: str | None) -> Properties:
        """What a packet says of a failure beyond its code, to those who want to know."""
        if code < _FAILED or self._agreement.version < 5 or not self._agreement.wants_problems:
            return NO_PROPERTIES
        return Properties(reason_string=ADVICE[Reason(code)] if text is None else wire_text(text))

    def _frame(self, packet: Puback | Pubrec | Pubrel | Pubcomp | Suback | Unsuback | Disconnect) -> bytes:
        agreement = self._agreement
        if packet.properties is NO_PROPERTIES:
            return build_frame(BINARY, encode(packet, agreement.version))
        return build_frame(BINARY, fitting(packet, agreement.version, agreement.max_packet_bytes))

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

    def _disconnected(self, text: str, category: CloseCategory, reason: str | None) -> bytes:
        code = _CODES.get(category, Reason.UNSPECIFIED_ERROR)
        if category == CloseCategory.BAD_REQUEST and self.fault is not None:
            code = self.fault.code
            if code not in CODES[5][DISCONNECT]:
                code = Reason.PROTOCOL_ERROR
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
        if self.ending is not None or self._agreement.version < 5:
            return b""
        if self.fault is None or self.fault.code != reason:
            self._noticed(reason, "")  # else it was noticed with what it is about
        text = wire_text(text) if text else None
        self.ending = Ending(False, reason, text)
        properties = NO_PROPERTIES if text is None else Properties(reason_string=text)
        return self._frame(Disconnect(reason, properties))
