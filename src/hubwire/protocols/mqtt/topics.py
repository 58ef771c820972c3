"""
Names of topics and filters: which of them are groups, and the few below `$webpubsub/` that mean something else.

A topic is a group of the same name. Topics that begin with `$` are not offered but for these few; wildcards and shared
subscriptions are where that is set.

Source: the service's MQTT pages; OASIS MQTT 5.0, 4.7.
"""

from typing import Final

from hubwire.model.names import is_event_name, is_group_name, is_topic_name
from hubwire.model.topic_filters import has_wildcards, is_topic_filter, share_of
from hubwire.protocols.mqtt.reasons import Reason

__all__ = [
    "SERVER_MESSAGES",
    "answer_topic",
    "event_name",
    "filter_fault",
    "is_event_topic",
    "is_group_topic",
    "is_reserved_topic",
    "is_served",
]

SERVER_MESSAGES: Final = "$webpubsub/server/messages"
"""Where clients hear what the application's server sends to them, their user or everybody."""

_OURS: Final = "$webpubsub/"
_EVENTS: Final = f"{_OURS}server/events/"
_OUTCOMES: Final = ("succeeded", "failed")


def is_group_topic(topic: str) -> bool:
    """Is this the name of a group that a packet can carry and that is not kept for other uses."""
    return is_group_name(topic) and is_topic_name(topic)


def is_reserved_topic(topic: str) -> bool:
    """Is this one of those that are a server's own to all brokers, and that mean nothing here."""
    return topic[:1] == "$" and not topic.startswith(_OURS)


def is_event_topic(topic: str) -> bool:
    """Is what is published here meant for event handlers, whether or not it names an event."""
    return topic.startswith(_EVENTS)


def event_name(topic: str) -> str | None:
    """The event that a topic of this kind names; None if that is no name of an event."""
    name = topic[len(_EVENTS) :]
    return name if is_event_name(name) else None


def answer_topic(event: str, succeeded: bool) -> str:
    """Where a client hears what came of its event."""
    return f"{_EVENTS}{event}/{_OUTCOMES[0] if succeeded else _OUTCOMES[1]}"


def is_served(topic: str) -> bool:
    """Is this one of the topics that every client hears of without a subscription."""
    if topic == SERVER_MESSAGES:
        return True
    name, _, outcome = topic[len(_EVENTS) :].partition("/")
    return topic.startswith(_EVENTS) and outcome in _OUTCOMES and is_event_name(name)


def filter_fault(name: str, wildcards: bool, shared: bool) -> Reason | None:
    """
    Why nobody can subscribe to this; None for names of groups, filters, and topics that are served to everybody.

    Args:
        wildcards, shared: they are offered.
    """
    share, topic_filter = share_of(name)
    if share is not None:
        if not shared:
            return Reason.SHARED_SUBSCRIPTIONS_UNSUPPORTED
        if not is_group_name(share) or not is_topic_name(f"/{share}") or topic_filter[:1] == "$":
            return Reason.TOPIC_FILTER_INVALID
    if not is_topic_filter(topic_filter):
        return Reason.TOPIC_FILTER_INVALID
    if not wildcards and has_wildcards(topic_filter):
        return Reason.WILDCARDS_UNSUPPORTED
    if topic_filter[0] == "$" and not is_served(topic_filter):
        return Reason.TOPIC_FILTER_INVALID
    return None
