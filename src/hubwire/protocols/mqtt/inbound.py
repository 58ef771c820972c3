"""
What one client publishes: whether a topic can be published to, which packet identifiers are open, and the order of the
answers.

Numbers in brackets are sections of OASIS MQTT 5.0.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec.structs import replace

from hubwire.model.messages import AckError, ClientRequest, SendEvent, SendToGroup
from hubwire.protocols.mqtt.contents import data_of, is_media_type, metadata_of, publication_of, ttl_s_of
from hubwire.protocols.mqtt.exchange import FAILED, Asked, Exchange
from hubwire.protocols.mqtt.packets import NO_PROPERTIES, Puback, Pubcomp, Publish, Pubrec
from hubwire.protocols.mqtt.reasons import Reason
from hubwire.protocols.mqtt.subscriptions import refusal_of
from hubwire.protocols.mqtt.topics import event_name, is_event_topic, is_group_topic, is_reserved_topic

__all__ = ["Inbound", "Publishing"]

_Standing: TypeAlias = Literal["new", "repeated", "answered", "in use"]
"""
What a PUBLISH is: a message; one whose answer is on its way; one that was answered, and whose PUBREL is not there yet;
or a message with the identifier of another packet.
"""

_EXACTLY_ONCE: Final = 2


class Publishing(Asked):
    """
    A message whose outcome is not known.

    Attributes:
        after: frames of answers to later messages: PUBACKs are in the order of the messages, and so are PUBRECs
            [4.6.0-2, 4.6.0-3].
        carried: it came by an earlier socket, and was not repeated by this one.
        forgotten: the client does not know of it any more.
    """

    __slots__ = ("after", "carried", "forgotten", "packet_id", "qos", "topic")

    def __init__(self, packet_id: int, qos: int, topic: str) -> None:
        self.packet_id = packet_id
        self.qos = qos
        self.topic = topic
        self.after: list[bytes] | None = None
        self.carried = False
        self.forgotten = False


class Inbound:
    """The messages of one client, and the flows of those with QoS 1 and 2."""

    __slots__ = ("_aliases", "_answered", "_exchange", "_forgotten", "_pending")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._aliases: dict[int, str] | None = None  # topics by the numbers that the client gave them on this socket
        self._pending: dict[int, Publishing] = {}
        self._answered: dict[int, int] = {}  # with QoS 2: the code of the PUBREC, until the PUBREL comes
        self._forgotten = 0  # messages whose outcome is not known, and that the client does not know of any more

    def knows(self, packet_id: int) -> bool:
        """Has an open message this identifier."""
        return packet_id in self._pending or packet_id in self._answered

    def publish(self, packet: Publish, taken: bool, requests: list[ClientRequest]) -> None:
        """
        A PUBLISH: to a request, or to an answer at once.

        Args:
            taken: another packet than a PUBLISH has its identifier.

        Raises:
            MqttViolation: what ends the connection.
        """
        exchange = self._exchange
        agreement = exchange.agreement
        properties = packet.properties
        if properties is not NO_PROPERTIES:
            if properties.topic_alias is not None:
                packet = self._in_full(packet, properties.topic_alias)
            if properties.subscription_ids:
                exchange.violate(
                    Reason.PROTOCOL_ERROR, packet.topic, "subscription identifier from a client", "PUBLISH"
                )
        topic, qos = packet.topic, packet.qos
        if packet.retain and agreement.version >= 5 and agreement.policy.retain == "refuse":
            exchange.violate(Reason.RETAIN_UNSUPPORTED, topic, "retained message, though none is taken", "PUBLISH")
        if qos and not self._is_new(packet, taken):
            return
        event = event_name(topic) if is_event_topic(topic) else None
        fault = _fault(packet, event)
        if fault is not None:
            self._refuse(packet, fault)
            return
        ack_id = self._begin(packet) if qos else None
        data = data_of(packet.payload, properties, agreement.version, agreement.policy.v4_text)
        metadata = metadata_of(properties.user_properties)
        retain = packet.retain and agreement.policy.retain == "keep"
        publication = publication_of(properties, qos, exchange.client_id, retain)
        if event is None:
            ttl_s = ttl_s_of(properties)
            requests.append(SendToGroup(topic, data, ack_id, False, ttl_s, metadata, not qos, publication))
        else:
            requests.append(SendEvent(event, data, ack_id, metadata, False, publication))

    def _in_full(self, packet: Publish, alias: int) -> Publish:
        """
        With the topic that its alias stands for, or stands for from now on [3.3.2.3.4].

        Raises:
            MqttViolation: it is higher than what was offered, or stands for nothing yet.
        """
        exchange, topic = self._exchange, packet.topic
        if alias > exchange.agreement.topic_aliases:
            exchange.violate(Reason.TOPIC_ALIAS_INVALID, topic, "topic alias above what was offered", "PUBLISH")
        if self._aliases is None:
            self._aliases = {}
        if topic:
            self._aliases[alias] = topic
            return packet
        known = self._aliases.get(alias)
        if known is None:
            exchange.violate(Reason.PROTOCOL_ERROR, "", "topic alias that stands for no topic", "PUBLISH")
        return replace(packet, topic=known)

    def _is_new(self, packet: Publish, taken: bool) -> bool:
        """Is a PUBLISH with QoS 1 or 2 to be carried out? Else it is answered, or its answer is on its way."""
        packet_id, topic = packet.packet_id, packet.topic
        assert packet_id is not None, "with QoS 1 and 2 there is an identifier"
        exchange = self._exchange
        agreement = exchange.agreement
        standing = self._standing(packet_id, packet.qos, packet.dup)
        if standing == "new" and taken:
            standing = "in use"
        if standing == "in use":
            if agreement.version < 5:
                # There is no way to say it, and what is not carried out must not look as if it were.
                exchange.violate(Reason.PACKET_ID_IN_USE, topic, "packet identifier that is in use", "PUBLISH")
            self._say_in_turn(self._answer(packet_id, packet.qos, Reason.PACKET_ID_IN_USE, topic, None))
        elif standing == "answered":
            self._say_in_turn(self._answer(packet_id, packet.qos, self._answered[packet_id], topic, None))
        elif standing == "new" and self._open() >= agreement.policy.receive_maximum:
            # 3.1.1 has no word for it, but what is kept for a client has to have an end there too.
            exchange.violate(
                Reason.RECEIVE_MAXIMUM_EXCEEDED, "", "more open messages than the receive maximum", "PUBLISH"
            )
        return standing == "new"

    def _open(self) -> int:
        """
        What is kept for this client, whichever sockets it came by: another socket does not make room for more than
        Receive Maximum [4.9], since the client has to go on with what it has left open before [4.4.0-1].
        """
        return len(self._pending) + len(self._answered) + self._forgotten

    def _standing(self, packet_id: int, qos: int, dup: bool) -> _Standing:
        """
        What is repeated is from now on known to this socket.

        With QoS 2 the identifier decides [4.3.3]. With QoS 1 the client says it with DUP; where it does not, and the
        other message came by an earlier socket, the client has forgotten that one and means another.
        """
        pending = self._pending.get(packet_id)
        if pending is not None:
            if pending.qos == qos and (dup or qos == _EXACTLY_ONCE):
                pending.carried = False
                return "repeated"
            if not pending.carried:
                return "in use"
            pending.forgotten = True
            self._forgotten += 1
            del self._pending[packet_id]
        if packet_id not in self._answered:
            return "new"
        return "answered" if qos == _EXACTLY_ONCE else "in use"

    def _begin(self, packet: Publish) -> int:
        packet_id = packet.packet_id
        assert packet_id is not None, "with QoS 1 and 2 there is an identifier"
        publishing = self._pending[packet_id] = Publishing(packet_id, packet.qos, packet.topic)
        return self._exchange.ask(publishing)

    def _refuse(self, packet: Publish, fault: Reason) -> None:
        """
        Without asking anybody. With QoS 0 a topic that is none is the end, but for those of other servers where they
        are passed over; what else is wrong is dropped.
        """
        packet_id, topic = packet.packet_id, packet.topic
        passes_over = self._exchange.agreement.policy.reserved_topics == "drop" and is_reserved_topic(topic)
        if packet_id is not None:
            self._say_in_turn(self._settle(packet_id, packet.qos, fault, topic, None))
        elif fault == Reason.TOPIC_NAME_INVALID and not passes_over:
            self._exchange.violate(fault, topic, "topic that nobody can publish to", "PUBLISH")
        else:
            self._exchange.notice(fault, topic, "PUBLISH")

    def published(self, publishing: Publishing, error: AckError | None, changed: bool) -> bytes:
        """
        The outcome of a message is there.

        Args:
            error, changed: as in `Ack`.

        Returns:
            frames for the client.
        """
        if publishing.forgotten:
            self._forgotten -= 1
            return b""
        del self._pending[publishing.packet_id]
        text: str | None = None
        code = Reason.SUCCESS if changed else Reason.NO_MATCHING_SUBSCRIBERS
        if error is not None:
            code, text = refusal_of(error), error.message
        frame = self._settle(publishing.packet_id, publishing.qos, code, publishing.topic, text)
        return frame if publishing.after is None else b"".join([frame, *publishing.after])

    def _settle(self, packet_id: int, qos: int, code: Reason, topic: str, text: str | None) -> bytes:
        """
        The first answer to a PUBLISH. In 3.1.1 it says yes always, also to what is dropped. After a PUBREC that says
        yes, a PUBREL is to come.
        """
        if qos == _EXACTLY_ONCE:
            said = code if self._exchange.agreement.version >= 5 else Reason.SUCCESS
            if said < FAILED:
                self._answered[packet_id] = said
                keeper = self._exchange.keeper
                if keeper is not None:
                    keeper.answered(packet_id, said)
        return self._answer(packet_id, qos, code, topic, text)

    def _answer(self, packet_id: int, qos: int, code: int, topic: str, text: str | None) -> bytes:
        exchange = self._exchange
        exchange.notice(code, topic, "PUBLISH")
        properties = exchange.problem(code, text)
        if qos == _EXACTLY_ONCE:
            return exchange.frame(Pubrec(packet_id, code, properties))
        return exchange.frame(Puback(packet_id, code, properties))

    def _say_in_turn(self, frame: bytes) -> None:
        """Behind the answers to all messages before."""
        if not self._pending:
            self._exchange.say(frame)
            return
        last = next(reversed(self._pending.values()))
        if last.after is None:
            last.after = []
        last.after.append(frame)

    def release(self, packet_id: int) -> None:
        """PUBREL."""
        known = self._answered.pop(packet_id, None) is not None
        keeper = self._exchange.keeper
        if known and keeper is not None:
            keeper.released(packet_id)
        code = Reason.SUCCESS if known else Reason.PACKET_ID_NOT_FOUND
        self._exchange.say(self._exchange.frame(Pubcomp(packet_id, code)))

    def restore(self, answered: Mapping[int, int]) -> None:
        """Go on with messages whose PUBREC was sent before, and whose PUBREL has not come."""
        self._answered.update(answered)

    def carry_over(self) -> None:
        """The client comes by another socket."""
        self._aliases = None
        for publishing in self._pending.values():
            publishing.carried = True
            publishing.after = None


def _fault(packet: Publish, event: str | None) -> Reason | None:
    """Why nobody can be asked about a message. `event` is what its topic names."""
    if event is None:
        # That of an event that has no name is none of a group either.
        return None if is_group_topic(packet.topic) else Reason.TOPIC_NAME_INVALID
    content_type = packet.properties.content_type
    if content_type is None or is_media_type(content_type):
        return None
    return Reason.PAYLOAD_FORMAT_INVALID
