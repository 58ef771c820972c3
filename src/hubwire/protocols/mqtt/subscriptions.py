"""
What a client wants of its subscriptions, and the answers to a SUBSCRIBE or UNSUBSCRIBE until they are all there.

Whether the client is a member of a group, the hub knows. Here is only how it wants to hear of it; nothing where that is
the default, as for groups that others have put it into.

Source: OASIS MQTT 5.0, 3.8 to 3.11.
"""

from typing import Final

from hubwire.model.messages import AckError
from hubwire.protocols.mqtt.packets import Filter
from hubwire.protocols.mqtt.reasons import Reason

__all__ = ["DEFAULT", "Gathering", "Options", "Subscriptions", "options_of", "refusal_of"]

_MAX_SERVED: Final = 1000
"""Topics below `$webpubsub/` that one client may want something special of; no limit on groups counts these."""


class Options:
    """
    How a client hears of one topic.

    Attributes:
        qos: the highest.
        no_local: not what it has published itself.
        identifier: of the subscription, told with each message; None for none.
        plain: it neither leaves anything out nor adds anything.
    """

    __slots__ = ("identifier", "no_local", "plain", "qos")

    def __init__(self, qos: int, no_local: bool = False, identifier: int | None = None) -> None:
        self.qos = qos
        self.no_local = no_local
        self.identifier = identifier
        self.plain = not no_local and identifier is None


_PLAIN: Final = (Options(0), Options(1), Options(2))

DEFAULT: Final = _PLAIN[1]
"""For groups that it was put into, and for topics that it hears of without a subscription."""


class Gathering:
    """
    A SUBSCRIBE or UNSUBSCRIBE, and what is known of its answer.

    Attributes:
        ends: it is an UNSUBSCRIBE.
        codes: one for each filter; None where the answer is not there yet.
        left: how many of these there are.
        text: what went wrong, in words; None if nothing did.
        stale: the socket that it came by is gone, and nobody waits for the answer.
    """

    __slots__ = ("codes", "ends", "left", "packet_id", "stale", "text")

    def __init__(self, packet_id: int, ends: bool) -> None:
        self.packet_id = packet_id
        self.ends = ends
        self.codes: list[int | None] = []
        self.left = 0
        self.text: str | None = None
        self.stale = False

    def wait(self) -> int:
        """The next filter is being asked for. Returns its position."""
        self.codes.append(None)
        self.left += 1
        return len(self.codes) - 1

    def know(self, code: int) -> None:
        """The next filter needs no asking."""
        self.codes.append(code)

    def learn(self, position: int, code: int) -> None:
        """The answer for a filter that was asked for is there."""
        self.codes[position] = code
        self.left -= 1


class Subscriptions:
    """The options of one client's subscriptions, by topic. Those that are not here are default ones."""

    __slots__ = ("_served", "options")

    def __init__(self) -> None:
        self.options: dict[str, Options] = {}
        self._served = 0

    def set_served(self, topic: str, options: Options) -> bool:
        """Of a topic that the client hears of in any case. False if these are too many."""
        known = topic in self.options
        if options is DEFAULT:
            self.reset_served(topic)
        elif known or self._served < _MAX_SERVED:
            self.options[topic] = options
            self._served += not known
        else:
            return False
        return True

    def reset_served(self, topic: str) -> None:
        """As if there had been no subscription."""
        if self.options.pop(topic, None) is not None:
            self._served -= 1


def options_of(wanted: Filter, identifier: int | None) -> Options:
    """What a client has asked for; the usual ones are shared."""
    if wanted.no_local or identifier is not None:
        return Options(wanted.qos, wanted.no_local, identifier)
    return _PLAIN[wanted.qos]


def refusal_of(error: AckError) -> Reason:
    """What a request that was refused is called in MQTT."""
    if error.limit:
        return Reason.QUOTA_EXCEEDED
    return Reason.NOT_AUTHORIZED if error.name == "Forbidden" else Reason.UNSPECIFIED_ERROR
