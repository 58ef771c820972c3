"""Which topics are groups, which mean something else, and which filters are refused with what."""

import pytest

from hubwire.protocols.mqtt.reasons import Reason
from hubwire.protocols.mqtt.topics import (
    SERVER_MESSAGES,
    answer_topic,
    event_name,
    filter_fault,
    is_event_topic,
    is_group_topic,
    is_reserved_topic,
    is_served,
)

EVENTS = "$webpubsub/server/events/"

GROUPS = ["a", "a/b", "/", "//", " a ", "temperature/дом", "a$b", "/$share/x", "x" * 1024]


@pytest.mark.parametrize("topic", GROUPS)
def test_ordinary_topics_are_groups(topic: str) -> None:
    assert is_group_topic(topic)
    assert filter_fault(topic, False, False) is None
    assert filter_fault(topic, True, True) is None
    assert not is_event_topic(topic)


@pytest.mark.parametrize(
    ("topic", "is_reserved"),
    [
        ("$", True),
        ("$SYS/x", True),
        ("$share/a/b", True),
        ("$webpubsub", True),
        ("$webpubsubs/x", True),
        ("$webpubsub/x", False),
        (SERVER_MESSAGES, False),
        ("a/$SYS", False),
        ("", False),
    ],
)
def test_topics_of_other_servers_begin_with_a_dollar_sign(topic: str, is_reserved: bool) -> None:
    assert is_reserved_topic(topic) == is_reserved


@pytest.mark.parametrize(
    "topic",
    ["", " ", "\t\n", "x" * 1025, "a+", "a/+/b", "#", "a#b", "a\0b", "$", "$SYS/x", "$webpubsub/x", SERVER_MESSAGES],
)
def test_what_no_packet_can_carry_or_is_kept_for_other_uses_is_no_group(topic: str) -> None:
    assert not is_group_topic(topic)


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("hello", "hello"),
        ("a.b_c-D9", "a.b_c-D9"),
        ("x" * 128, "x" * 128),
        ("x" * 129, None),
        ("", None),
        ("a/b", None),
        ("a/succeeded", None),
        ("9", None),
        ("a b", None),
    ],
)
def test_events_have_names_of_one_level(topic: str, name: str | None) -> None:
    assert is_event_topic(EVENTS + topic)
    assert event_name(EVENTS + topic) == name


def test_answers_have_topics_below_their_event() -> None:
    assert answer_topic("hello", True) == f"{EVENTS}hello/succeeded"
    assert answer_topic("hello", False) == f"{EVENTS}hello/failed"
    assert is_served(answer_topic("hello", True))
    assert is_served(answer_topic("hello", False))


@pytest.mark.parametrize(
    "topic", ["", "a", f"{EVENTS}a", f"{EVENTS}a/other", f"{EVENTS}/failed", f"{EVENTS}a/failed/x", "x/y/z/a/failed"]
)
def test_other_topics_are_not_heard_of_without_a_subscription(topic: str) -> None:
    assert not is_served(topic)


@pytest.mark.parametrize(
    ("topic_filter", "fault"),
    [
        (SERVER_MESSAGES, None),
        (f"{EVENTS}a/failed", None),
        ("", Reason.TOPIC_FILTER_INVALID),
        ("  ", Reason.TOPIC_FILTER_INVALID),
        ("x" * 1025, Reason.TOPIC_FILTER_INVALID),
        ("+", Reason.WILDCARDS_UNSUPPORTED),
        ("#", Reason.WILDCARDS_UNSUPPORTED),
        ("a/+/b", Reason.WILDCARDS_UNSUPPORTED),
        ("a/#", Reason.WILDCARDS_UNSUPPORTED),
        ("+/+/#", Reason.WILDCARDS_UNSUPPORTED),
        ("$webpubsub/#", Reason.WILDCARDS_UNSUPPORTED),
        ("/+", Reason.WILDCARDS_UNSUPPORTED),
        ("+//+/", Reason.WILDCARDS_UNSUPPORTED),
        ("a+", Reason.TOPIC_FILTER_INVALID),
        ("a/b#", Reason.TOPIC_FILTER_INVALID),
        ("#/a", Reason.TOPIC_FILTER_INVALID),
        ("a/#/b", Reason.TOPIC_FILTER_INVALID),
        ("$share/g/a", Reason.SHARED_SUBSCRIPTIONS_UNSUPPORTED),
        ("$share/g/#", Reason.SHARED_SUBSCRIPTIONS_UNSUPPORTED),
        ("$SYS/broker", Reason.TOPIC_FILTER_INVALID),
        ("$webpubsub/server", Reason.TOPIC_FILTER_INVALID),
        (f"{EVENTS}a", Reason.TOPIC_FILTER_INVALID),
    ],
)
def test_each_filter_that_cannot_be_subscribed_to_has_its_code(topic_filter: str, fault: Reason | None) -> None:
    assert filter_fault(topic_filter, False, False) == fault
    offered = None if fault == Reason.WILDCARDS_UNSUPPORTED else fault
    if topic_filter[:1] == "$" and topic_filter[-1] == "#" and offered is None:
        offered = Reason.TOPIC_FILTER_INVALID  # nothing below is for subscribers but what is served to all
    assert filter_fault(topic_filter, True, False) == offered


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("$share/g/a", None),
        ("$share/g/a/b", None),
        ("$share/g//", None),
        ("$share/ü 1/a", None),
        ("$share/$g/a", None),
        ("$share/g/+/b/#", None),
        (f"$share/{'g' * 1024}/{'x' * 1024}", None),
        ("$share", Reason.TOPIC_FILTER_INVALID),
        ("$share/", Reason.TOPIC_FILTER_INVALID),
        ("$share/g", Reason.TOPIC_FILTER_INVALID),
        ("$share/g/", Reason.TOPIC_FILTER_INVALID),
        ("$share//a", Reason.TOPIC_FILTER_INVALID),
        ("$share/ /a", Reason.TOPIC_FILTER_INVALID),
        ("$share/g+/a", Reason.TOPIC_FILTER_INVALID),
        ("$share/#/a", Reason.TOPIC_FILTER_INVALID),
        ("$share/g/a+", Reason.TOPIC_FILTER_INVALID),
        (f"$share/{'g' * 1025}/a", Reason.TOPIC_FILTER_INVALID),
        (f"$share/g/{'x' * 1025}", Reason.TOPIC_FILTER_INVALID),
        ("$share/g/$SYS/x", Reason.TOPIC_FILTER_INVALID),
        (f"$share/g/{SERVER_MESSAGES}", Reason.TOPIC_FILTER_INVALID),
        ("$share/g/$share/g/a", Reason.TOPIC_FILTER_INVALID),
    ],
)
def test_shared_subscription_has_a_name_and_a_filter(name: str, fault: Reason | None) -> None:
    assert filter_fault(name, True, True) == fault
    if fault is None:
        wild = "+" in name or "#" in name
        assert filter_fault(name, False, True) == (Reason.WILDCARDS_UNSUPPORTED if wild else None)
        assert filter_fault(name, True, False) == Reason.SHARED_SUBSCRIPTIONS_UNSUPPORTED
