"""
What a client wants of its subscriptions, and the answers to a SUBSCRIBE or UNSUBSCRIBE until they are all there.

Whether the client is a member of a group, and which filters it has, the hub knows. Here is only how it wants to hear of
what these bring; nothing where that is the default, as for groups that others have put it into.

Source: OASIS MQTT 5.0, 3.8 to 3.11. Numbers in brackets are its sections.
"""

from collections.abc import Mapping
from typing import Final

from hubwire.model.messages import (
    AckError,
    ClientRequest,
    JoinGroup,
    LeaveGroup,
    SubscribeFilter,
    UnsubscribeFilter,
)
from hubwire.model.topic_filters import has_wildcards, share_of
from hubwire.protocols.mqtt.exchange import Asked, Exchange
from hubwire.protocols.mqtt.packets import (
    CODES,
    NO_PROPERTIES,
    Filter,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    encode,
)
from hubwire.protocols.mqtt.reasons import ADVICE, Reason
from hubwire.protocols.mqtt.terms import PacketName
from hubwire.protocols.mqtt.topics import SERVER_MESSAGES, filter_fault, is_served
from hubwire.protocols.mqtt.values import UNSUBACK

__all__ = ["ANSWERS", "DEFAULT", "Options", "Subscriptions", "Wish", "refusal_of"]

_ALWAYS: Final = 0
_IF_NEW: Final = 1
"""Retain handling: at each SUBSCRIBE, or at one that is no repetition. 2 is never [3.8.3.1]."""

_MAX_SERVED: Final = 1000
"""Topics below `$webpubsub/` that one client may want something special of; no limit on groups counts these."""


class Options:
    """
    How a client hears of a topic, by one subscription or by several.

    Attributes:
        qos: the highest.
        no_local: not what it has published itself.
        identifiers: of the subscriptions, told with each message; one may be there twice [3.3.4].
        as_published: with the retain flag that a message was published with, instead of none [3.8.3.1].
        own: how it hears of what it has published itself, where that is by fewer of them; None for no other way.
        share: the shared subscription that this is, by which it is sent what others could be; None for its own.
        plain: it neither leaves anything out nor adds anything.
    """

    __slots__ = ("as_published", "identifiers", "no_local", "own", "plain", "qos", "share")

    def __init__(
        self,
        qos: int,
        no_local: bool = False,
        identifiers: tuple[int, ...] = (),
        as_published: bool = False,
        own: "Options | None" = None,
        share: str | None = None,
    ) -> None:
        self.qos = qos
        self.no_local = no_local
        self.identifiers = identifiers
        self.as_published = as_published
        self.own = own
        self.share = share
        self.plain = not no_local and not identifiers and not as_published and own is None


_PLAIN: Final = (Options(0), Options(1), Options(2))

DEFAULT: Final = _PLAIN[1]
"""For groups that it was put into, and for messages of the server, which it hears of without a subscription."""
ANSWERS: Final = _PLAIN[2]
"""For answers to its events, likewise: they have the QoS of the event, whatever that was."""


class _Gathering:
    """
    A SUBSCRIBE or UNSUBSCRIBE, and what is known of its answer.

    Attributes:
        ends: it is an UNSUBSCRIBE.
        codes: one for each filter; not yet the right ones of those that were asked for.
        left: how many of these there are.
        text: what went wrong, in words; None if nothing did.
        stale: the socket that it came by is gone, and nobody waits for the answer.
    """

    __slots__ = ("codes", "ends", "left", "packet_id", "stale", "text")

    def __init__(self, packet_id: int, ends: bool) -> None:
        self.packet_id = packet_id
        self.ends = ends
        self.codes: list[int] = []
        self.left = 0
        self.text: str | None = None
        self.stale = False

    @property
    def packet(self) -> PacketName:
        """What it is called."""
        return "UNSUBSCRIBE" if self.ends else "SUBSCRIBE"


class Wish(Asked):
    """
    A filter that was asked for.

    Attributes:
        gathering, position: where its code belongs.
        options: of a subscription; None for the end of one.
        at_once: they hold since the client asked, as there were none before.
    """

    __slots__ = ("at_once", "gathering", "options", "position", "topic")

    def __init__(
        self, gathering: _Gathering, topic: str, options: Options | None = None, at_once: bool = False
    ) -> None:
        self.gathering = gathering
        self.position = len(gathering.codes)
        self.topic = topic
        self.options = options
        self.at_once = at_once
        gathering.codes.append(Reason.UNSPECIFIED_ERROR)
        gathering.left += 1


class Subscriptions:
    """
    Attributes:
        options: by topic and filter; default ones are not here, unless the client has asked for them.
    """

    __slots__ = ("_exchange", "_gatherings", "_leaving", "_served", "options")

    def __init__(self, exchange: Exchange) -> None:
        self.options: dict[str, Options] = {}
        self._exchange = exchange
        self._gatherings: dict[int, _Gathering] = {}
        self._leaving: dict[str, None] = {}  # topics whose end is asked for, and not known
        self._served = 0

    def together(self, names: tuple[str, ...]) -> Options:
        """
        How the client hears of what several of its subscriptions bring it: once [3.3.4].

        Args:
            names: filters, and the name of a group that it may have been put into; one or more.
        """
        ways = [self.options.get(name, DEFAULT) for name in names]
        return ways[0] if len(ways) == 1 else _together(ways)

    def knows(self, packet_id: int) -> bool:
        """Has a packet this identifier that is not answered yet."""
        return packet_id in self._gatherings

    def subscribe(self, packet: Subscribe, taken: bool, requests: list[ClientRequest]) -> None:
        """
        A SUBSCRIBE: to requests, and to an answer at once if there are none.

        Args:
            taken: a PUBLISH has its identifier.

        Raises:
            MqttViolation: the client does not take a packet as large as the answer.
        """
        gathering = _Gathering(packet.packet_id, False)
        self._look_at_room(gathering, len(packet.filters))
        identifiers = packet.properties.subscription_ids
        taken = taken or packet.packet_id in self._gatherings
        for wanted in packet.filters:
            name = wanted.topic_filter
            fault = Reason.PACKET_ID_IN_USE if taken else self._fault(name)
            if fault is None:
                options = _options(wanted, identifiers)
                if wanted.no_local and options.share is not None:
                    # What is sent to one of many cannot be left out for being its own [3.8.3-4].
                    self._exchange.violate(Reason.PROTOCOL_ERROR, name, "No Local where others share", "SUBSCRIBE")
                self._want(gathering, wanted, options, requests)
            else:
                self._refuse(gathering, fault, wanted.topic_filter)
        self._answer_or_wait(gathering)

    def _fault(self, name: str) -> Reason | None:
        policy = self._exchange.agreement.policy
        return filter_fault(name, policy.wildcards, policy.shared_subscriptions)

    def _look_at_room(self, gathering: _Gathering, filters: int) -> None:
        """
        A SUBACK or UNSUBACK has a code for each filter, and it may neither be sent if it is too large [3.1.2.11.4] nor
        be missing [3.8.4, 3.10.4]. So nothing is done of what could not be answered.
        """
        exchange = self._exchange
        most = exchange.agreement.max_packet_bytes
        if most and len(encode(Suback(1, (0,) * filters), 5)) > most:
            reason = "answer larger than the client takes"
            exchange.violate(Reason.PACKET_TOO_LARGE, "maximum packet size", reason, gathering.packet)

    def restore(self, options: Mapping[str, tuple[int, bool, tuple[int, ...], bool]]) -> None:
        """Go on with what the client wanted before: QoS, No Local, identifiers and Retain As Published, by topic."""
        for topic, (qos, no_local, identifiers, as_published) in options.items():
            self.options[topic] = options_of(qos, no_local, identifiers, as_published, _shared(topic))
            self._served += is_served(topic)

    def left(self, topic: str) -> None:
        """The client is no member of a group any more."""
        if self.options.pop(topic, None) is not None:
            self._keep(topic, None)

    def _keep(self, topic: str, options: Options | None) -> None:
        keeper = self._exchange.keeper
        if keeper is not None:
            keeper.wanted(topic, options)

    def _want(self, gathering: _Gathering, wanted: Filter, options: Options, requests: list[ClientRequest]) -> None:
        known, topic = self.options, wanted.topic_filter
        if not is_served(topic):
            # From now on, since a message may come before the answer; but not in place of what holds already.
            at_once = topic not in known
            if at_once:
                known[topic] = options
            ack_id = self._exchange.ask(Wish(gathering, topic, options, at_once))
            # New is what the client asks for anew: who was put into the group by others has not heard what is kept.
            is_new = at_once or topic in self._leaving
            self._leaving.pop(topic, None)
            share, topic_filter = share_of(topic)
            retained = share is None and self._keeps() and wanted.retain_handling <= (_IF_NEW if is_new else _ALWAYS)
            if share is not None or has_wildcards(topic_filter):
                requests.append(SubscribeFilter(topic_filter, share, ack_id, retained))
            else:
                requests.append(JoinGroup(topic, ack_id, retained))
        elif options is (DEFAULT if topic == SERVER_MESSAGES else ANSWERS):
            self._forget_served(topic)
            gathering.codes.append(options.qos)
        elif topic in known or self._served < _MAX_SERVED:
            self._served += topic not in known
            known[topic] = options
            self._keep(topic, options)
            gathering.codes.append(options.qos)
        else:
            self._refuse(gathering, Reason.QUOTA_EXCEEDED, topic)

    def _keeps(self) -> bool:
        return self._exchange.agreement.policy.retain == "keep"

    def unsubscribe(self, packet: Unsubscribe, taken: bool, requests: list[ClientRequest]) -> None:
        """
        An UNSUBSCRIBE, as `subscribe`.

        Raises:
            MqttViolation: another packet has its identifier, and 3.1.1 has no way to say so; or as in `subscribe`.
        """
        gathering = _Gathering(packet.packet_id, True)
        self._look_at_room(gathering, len(packet.filters))
        exchange = self._exchange
        taken = taken or packet.packet_id in self._gatherings
        if taken and exchange.agreement.version < 5:
            exchange.violate(Reason.PACKET_ID_IN_USE, "", "packet identifier that is in use", "UNSUBSCRIBE")
        for topic in packet.filters:
            fault = Reason.PACKET_ID_IN_USE if taken else self._fault(topic)
            if fault is None and is_served(topic):
                self._forget_served(topic)
                gathering.codes.append(Reason.SUCCESS)
            elif fault is None:
                self._leaving[topic] = None
                ack_id = exchange.ask(Wish(gathering, topic))
                share, topic_filter = share_of(topic)
                if share is not None or has_wildcards(topic_filter):
                    requests.append(UnsubscribeFilter(topic_filter, share, ack_id))
                else:
                    requests.append(LeaveGroup(topic, ack_id))
            elif taken or fault == Reason.TOPIC_FILTER_INVALID:
                self._refuse(gathering, fault, topic)
            else:
                gathering.codes.append(Reason.NO_SUBSCRIPTION_EXISTED)
        self._answer_or_wait(gathering)

    def _forget_served(self, topic: str) -> None:
        if self.options.pop(topic, None) is not None:
            self._served -= 1
            self._keep(topic, None)

    def _refuse(self, gathering: _Gathering, code: Reason, topic: str) -> None:
        """Without asking anybody."""
        self._exchange.notice(code, topic, gathering.packet)
        gathering.codes.append(self._failure(gathering, code))
        gathering.text = gathering.text or ADVICE[code]

    def _failure(self, gathering: _Gathering, code: Reason) -> int:
        """A failure, as the packet can say it."""
        if self._exchange.agreement.version < 5 or (gathering.ends and code not in CODES[5][UNSUBACK]):
            return Reason.UNSPECIFIED_ERROR
        return code

    def _answer_or_wait(self, gathering: _Gathering) -> None:
        if gathering.left:
            self._gatherings[gathering.packet_id] = gathering
        else:
            self._exchange.say(self._answer(gathering))

    def _answer(self, gathering: _Gathering) -> bytes:
        exchange = self._exchange
        text = gathering.text
        properties = NO_PROPERTIES if text is None else exchange.problem(Reason.UNSPECIFIED_ERROR, text)
        codes = tuple(gathering.codes)
        if gathering.ends:
            return exchange.frame(Unsuback(gathering.packet_id, codes, properties))
        return exchange.frame(Suback(gathering.packet_id, codes, properties))

    def learn(self, wish: Wish, error: AckError | None, changed: bool) -> bytes:
        """
        The outcome of one filter is there.

        Args:
            error, changed: as in `Ack`.

        Returns:
            frames for the client; empty as long as the outcome of other filters is not there.
        """
        gathering, topic, options = wish.gathering, wish.topic, wish.options
        if options is None:
            self._leaving.pop(topic, None)
        if error is not None:
            fault = refusal_of(error)
            self._exchange.notice(fault, topic, gathering.packet)
            code = self._failure(gathering, fault)
            gathering.text = gathering.text or error.message
            if wish.at_once and self.options.get(topic) is options:
                del self.options[topic]
        elif options is not None:
            code = options.qos
            self.options[topic] = options
            self._keep(topic, options)
        else:
            code = Reason.SUCCESS if changed else Reason.NO_SUBSCRIPTION_EXISTED
        gathering.codes[wish.position] = code
        gathering.left -= 1
        if gathering.left or gathering.stale:
            return b""
        del self._gatherings[gathering.packet_id]
        return self._answer(gathering)

    def lost(self) -> None:
        """These packets are no part of a session's state [4.1]: nobody waits for their answers any more."""
        for gathering in self._gatherings.values():
            gathering.stale = True
        self._gatherings.clear()


def _options(wanted: Filter, identifiers: tuple[int, ...]) -> Options:
    """What a client has asked for."""
    share = _shared(wanted.topic_filter)
    return options_of(wanted.qos, wanted.no_local, identifiers, wanted.retain_as_published, share)


def _shared(name: str) -> str | None:
    """The subscription of this name, if it is shared."""
    return None if share_of(name)[0] is None else name


def options_of(
    qos: int, no_local: bool, identifiers: tuple[int, ...], as_published: bool, share: str | None = None
) -> Options:
    """One object for all who want nothing special."""
    if no_local or as_published or identifiers or share is not None:
        return Options(qos, no_local, identifiers, as_published, share=share)
    return _PLAIN[qos]


def _together(ways: list[Options]) -> Options:
    hearing = [way for way in ways if not way.no_local]
    if len(hearing) == len(ways):
        return _of_all(ways, False)
    if not hearing:
        return _of_all(ways, True)
    whole = _of_all(ways, False)
    return Options(whole.qos, False, whole.identifiers, whole.as_published, _of_all(hearing, False))


def _of_all(ways: list[Options], no_local: bool) -> Options:
    """The highest QoS, all identifiers, and the flag if one of them has it."""
    identifiers = tuple([identifier for way in ways for identifier in way.identifiers])
    as_published = any(way.as_published for way in ways)
    return options_of(max([way.qos for way in ways]), no_local, identifiers, as_published)


def refusal_of(error: AckError) -> Reason:
    """What a request that was refused is called in MQTT."""
    if error.limit:
        return Reason.QUOTA_EXCEEDED
    return Reason.NOT_AUTHORIZED if error.name == "Forbidden" else Reason.UNSPECIFIED_ERROR
