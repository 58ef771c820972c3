"""
What was asked for, what was promised, and what came of it: the checker of the crash test. It knows nothing of sockets.

Moments are counted, not timed: whatever happens later has a higher number. A publication is promised from the moment in
which its publisher was told that it is accepted; a subscription, from that of its SUBACK.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

__all__ = ["Book"]

_FOR_EVER: Final = 1 << 62
_EXACTLY_ONCE: Final = 2


class _Publication:
    """
    Attributes:
        publisher, number: who sent it, and in which order.
        accepted_at: the moment of its acknowledgement.
    """

    def __init__(self, publisher: str, number: int, topic: str, qos: int, begun_at: int) -> None:
        self.publisher = publisher
        self.number = number
        self.topic = topic
        self.qos = qos
        self.begun_at = begun_at
        self.accepted_at = _FOR_EVER


class _Subscription:
    """
    Attributes:
        topics: that it hears of.
        promised_at: the moment of its acknowledgement.
        ending_at: when it was asked to end.
        ended_at: when it was told so.
        shared: several clients have it, of which each message goes to one.
    """

    def __init__(self, topics: frozenset[str], qos: int, shared: bool) -> None:
        self.topics = topics
        self.qos = qos
        self.shared = shared
        self.promised_at = _FOR_EVER
        self.ending_at = _FOR_EVER
        self.ended_at = _FOR_EVER


class Book:
    """
    Attributes:
        broken: what was seen to be wrong at once, a line each.
    """

    def __init__(self) -> None:
        self._now = 0
        self._publications: dict[str, _Publication] = {}
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._subscriptions: dict[str, list[_Subscription]] = {}
        self._heard: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        self.broken: list[str] = []

    def _moment(self) -> int:
        self._now += 1
        return self._now

    @property
    def begun(self) -> int:
        """Publications so far."""
        return len(self._publications)

    @property
    def accepted(self) -> int:
        """Of these, those that are promised."""
        return sum(one.accepted_at != _FOR_EVER for one in self._publications.values())

    @property
    def heard(self) -> int:
        """Messages that subscribers have had."""
        return sum(map(len, self._heard.values()))

    # Publishing.

    def publish(self, publisher: str, topic: str, qos: int) -> str:
        """A text that nobody else publishes, which is to be sent now for the first time."""
        number = self._numbers[publisher] = self._numbers[publisher] + 1
        text = f"{publisher} {number}"
        self._publications[text] = _Publication(publisher, number, topic, qos, self._moment())
        return text

    def accepted_now(self, text: str) -> None:
        """Its publisher was told so."""
        self._publications[text].accepted_at = self._moment()

    def latest(self, publisher: str) -> tuple[int, int]:
        """Numbers of its last publication that is promised, and of its last one; 0 for none."""
        promised = [
            one.number
            for one in self._publications.values()
            if one.publisher == publisher and one.accepted_at != _FOR_EVER
        ]
        return max(promised, default=0), self._numbers[publisher]

    # Subscribing.

    def subscribe(self, subscriber: str, topics: frozenset[str], qos: int, shared: bool = False) -> None:
        """
        It is asked for; what is heard from now on may be for it.

        Args:
            shared: the subscriber is several clients, who share it. Who of them hears what first is anybody's guess.
        """
        self._subscriptions.setdefault(subscriber, []).append(_Subscription(topics, qos, shared))

    def subscribed(self, subscriber: str) -> None:
        """The latest is acknowledged."""
        self._subscriptions[subscriber][-1].promised_at = self._moment()

    def unsubscribe(self, subscriber: str) -> None:
        self._subscriptions[subscriber][-1].ending_at = self._moment()

    def unsubscribed(self, subscriber: str) -> None:
        self._subscriptions[subscriber][-1].ended_at = self._moment()

    def deliver(self, subscriber: str, text: str) -> None:
        """A subscriber's application is given a message."""
        self._heard[subscriber].append((text, self._moment()))

    def missing(self, subscriber: str) -> list[str]:
        """Promised, and not heard yet."""
        heard = {text for text, _ in self._heard[subscriber]}
        return [
            text for text, one in self._publications.items() if text not in heard and self._is_promised(subscriber, one)
        ]

    def _is_promised(self, subscriber: str, one: _Publication) -> bool:
        return one.accepted_at != _FOR_EVER and any(
            one.topic in wanted.topics and wanted.promised_at < one.begun_at and one.accepted_at < wanted.ending_at
            for wanted in self._subscriptions.get(subscriber, ())
        )

    # The verdict.

    def faults(self) -> Iterator[str]:
        """What was promised and not kept, a line each. To be asked for when nothing more will come."""
        yield from self.broken
        for subscriber in self._subscriptions:
            for text in self.missing(subscriber):
                yield f"{subscriber} never heard {text!r}, which was accepted"
            yield from self._wrongly_heard(subscriber)
            if not any(each.shared for each in self._subscriptions[subscriber]):
                yield from self._out_of_order(subscriber)

    def _wrongly_heard(self, subscriber: str) -> Iterator[str]:
        times: defaultdict[str, int] = defaultdict(int)
        for text, _ in self._heard[subscriber]:
            times[text] += 1
        for text, count in times.items():
            one = self._publications.get(text)
            if one is None:
                yield f"{subscriber} heard {text!r}, which nobody sent"
                continue
            wanted = [
                each
                for each in self._subscriptions[subscriber]
                if one.topic in each.topics and one.begun_at < each.ended_at
            ]
            if not wanted:
                yield f"{subscriber} heard {text!r}, which it had no subscription for any more"
            elif count > 1 and one.qos == _EXACTLY_ONCE and all(each.qos == _EXACTLY_ONCE for each in wanted):
                yield f"{subscriber} heard {text!r} {count} times"

    def _out_of_order(self, subscriber: str) -> Iterator[str]:
        """Of one publisher with one QoS, counted when they are heard first [4.6]."""
        last: dict[tuple[str, int], int] = {}
        known: set[str] = set()
        for text, _ in self._heard[subscriber]:
            one = self._publications.get(text)
            if one is None or text in known:
                continue
            known.add(text)
            key = (one.publisher, one.qos)
            if one.number < last.get(key, 0):
                yield f"{subscriber} heard {text!r} behind number {last[key]} of the same publisher"
            last[key] = one.number
