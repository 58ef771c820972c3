"""Retained messages of one hub: what is kept, found, taken away, and what there is no room for."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.hub.retained import Kept, RetainedLimits, RetainedMessages, size_of
from hubwire.model.errors import Conflict
from hubwire.model.messages import Data, GroupMessage, Publication

LIMITS = RetainedLimits(100, 1 << 20)


def message(topic: str, text: str = "x") -> GroupMessage:
    return GroupMessage(topic, Data("text", text.encode()), publication=Publication(1, "me", retain=True))


def kept(topic: str, text: str = "x", expires_at: float | None = None) -> Kept:
    made = message(topic, text)
    return Kept(made, 1.0, expires_at, size_of(made))


def found(messages: RetainedMessages, topic_filter: str) -> list[tuple[str, str]]:
    return [(one.message.group, one.message.data.body.decode()) for one in messages.matching(topic_filter)]


def hub_with(*topics: str, limits: RetainedLimits = LIMITS) -> RetainedMessages:
    messages = RetainedMessages(limits)
    for topic in topics:
        messages.keep(kept(topic))
    return messages


def test_last_message_of_a_topic_is_kept() -> None:
    messages = hub_with("a/b")

    messages.keep(kept("a/b", "later"))

    assert found(messages, "a/b") == found(messages, "a/+") == [("a/b", "later")]
    assert (len(messages), messages.size_bytes) == (1, size_of(message("a/b", "later")))


def test_forgotten_message_is_gone_and_its_neighbours_are_not() -> None:
    messages = hub_with("a", "a/b", "a/b/c", "a/d")

    assert messages.forget("a/b")
    assert not messages.forget("a/b")
    assert not messages.forget("a/x")

    assert [topic for topic, _ in found(messages, "#")] == ["a", "a/b/c", "a/d"]
    assert messages.get("a/b") is None
    for topic in ("a", "a/b/c", "a/d"):
        assert messages.forget(topic)
    assert (len(messages), messages.size_bytes, found(messages, "#")) == (0, 0, [])


def test_branch_without_messages_is_not_kept() -> None:
    """Else topics that come and go would fill the memory that nothing counts."""
    messages = hub_with("a")
    for number in range(50):
        messages.keep(kept(f"a/{number}/x"))
        messages.forget(f"a/{number}/x")

    assert not messages._root.below["a"].below


@pytest.mark.parametrize(
    ("topic_filter", "topics"),
    [
        ("a", ["a"]),
        ("a/", ["a/"]),
        ("+", ["a", "b"]),
        ("a/#", ["a", "a/", "a/b", "a/b/c"]),
        ("a/+", ["a/", "a/b"]),
        ("+/+", ["a/", "a/b", "/a"]),
        ("+/b/#", ["a/b", "a/b/c"]),
        ("/+", ["/a"]),
        ("#", ["a", "a/", "a/b", "a/b/c", "b", "/a"]),
        ("+/+/+/#", ["a/b/c"]),
        ("c", []),
        ("c/#", []),
        ("a/b/c/d", []),
    ],
)
def test_filter_finds_the_topics_that_it_means(topic_filter: str, topics: list[str]) -> None:
    messages = hub_with("a", "a/", "a/b", "a/b/c", "b", "/a")

    assert [topic for topic, _ in found(messages, topic_filter)] == topics


def naively(topic: str, topic_filter: str) -> bool:
    """Whether a filter means a topic, word by word from the standard."""
    names, wanted = topic.split("/"), topic_filter.split("/")
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        names = names[: len(wanted)]
    return len(names) == len(wanted) and all(want in ("+", name) for name, want in zip(names, wanted, strict=True))


LEVELS = st.sampled_from(["", "a", "b"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = st.builds(
    lambda names, end: "/".join(names + end),
    st.lists(st.sampled_from(["", "a", "b", "+"]), min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
)


@given(st.lists(st.tuples(TOPICS, st.booleans())), FILTERS)
def test_tree_finds_what_a_look_at_each_topic_finds(steps: list[tuple[str, bool]], topic_filter: str) -> None:
    """Whatever was kept and forgotten before, and in whatever order."""
    messages = RetainedMessages(LIMITS)
    there: dict[str, str] = {}
    for number, (topic, is_kept) in enumerate(steps):
        if is_kept:
            messages.keep(kept(topic, str(number)))
            there[topic] = str(number)
        else:
            assert messages.forget(topic) == (there.pop(topic, None) is not None)

    assert sorted(found(messages, topic_filter)) == sorted(
        (topic, text) for topic, text in there.items() if naively(topic, topic_filter)
    )
    assert messages.size_bytes == sum(size_of(message(topic, text)) for topic, text in there.items())


def test_topic_of_many_levels_is_found() -> None:
    """More than there are calls in a stack."""
    deep = "/" * 1023
    messages = hub_with(deep)

    assert found(messages, "#") == found(messages, "/" * 1020 + "+/#") == [(deep, "x")]
    assert messages.forget(deep)


# Limits


def test_message_too_many_is_refused_until_one_is_gone() -> None:
    messages = hub_with("a", "b", limits=RetainedLimits(2, 1 << 20))

    with pytest.raises(Conflict):
        messages.keep(kept("c"))
    messages.keep(kept("a", "in place of another"))
    messages.forget("b")
    messages.keep(kept("c"))

    assert [topic for topic, _ in found(messages, "#")] == ["a", "c"]


def test_bytes_too_many_are_refused_also_in_place_of_others() -> None:
    most = 2 * size_of(message("a"))
    messages = hub_with("a", "b", limits=RetainedLimits(10, most))

    with pytest.raises(Conflict):
        messages.keep(kept("a", "xx"))
    assert found(messages, "a") == [("a", "x")], "what is there stays"

    messages.keep(kept("a", ""))
    messages.keep(kept("b", "xx"))
    assert messages.size_bytes == most


def test_what_was_kept_under_other_limits_is_taken() -> None:
    messages = hub_with("a", limits=RetainedLimits(1, 1 << 20))

    messages.restore(kept("b"))

    assert len(messages) == 2
    with pytest.raises(Conflict):
        messages.keep(kept("c"))


@pytest.mark.parametrize(
    "more",
    [
        {"content_type": "x" * 100},
        {"response_topic": "x" * 100},
        {"correlation_data": b"x" * 100},
        {"user_properties": (("x" * 50, "x" * 50),)},
    ],
)
def test_properties_count(more: Mapping[str, object]) -> None:
    plain = GroupMessage("a", Data("text", b""), publication=Publication())
    larger = GroupMessage("a", Data("text", b""), publication=Publication(**more))  # type: ignore[arg-type]

    assert size_of(larger) == size_of(plain) + 100


def test_levels_payload_and_metadata_count() -> None:
    assert size_of(GroupMessage("a", Data("text", b"12345"))) == 1 + 5 + 256
    assert size_of(GroupMessage("a/b", Data("text", b""), metadata={"ab": "c"})) == 3 + 3 + 2 * 256


# Their time


def test_messages_whose_time_is_over_are_named_once() -> None:
    messages = hub_with("for ever")
    for topic, expires_at in (("late", 30.0), ("soon", 10.0), ("at once", 5.0)):
        messages.keep(kept(topic, expires_at=expires_at))

    assert messages.expired(4.9, 10) == []
    assert messages.expired(10.0, 10) == ["at once", "soon"]
    assert messages.expired(10.0, 10) == []
    assert messages.expired(99.0, 10) == ["late"]


def test_no_more_are_named_than_were_asked_for() -> None:
    messages = RetainedMessages(LIMITS)
    for number in range(5):
        messages.keep(kept(str(number), expires_at=float(number)))

    assert messages.expired(9.0, 3) == ["0", "1", "2"]
    assert messages.expired(9.0, 3) == ["3", "4"]


def test_time_of_a_message_that_was_replaced_means_nothing() -> None:
    messages = RetainedMessages(LIMITS)
    messages.keep(kept("longer", expires_at=5.0))
    messages.keep(kept("longer", expires_at=50.0))
    messages.keep(kept("longer", expires_at=50.0))
    messages.keep(kept("for ever", expires_at=5.0))
    messages.keep(kept("for ever"))
    messages.keep(kept("forgotten", expires_at=5.0))
    messages.forget("forgotten")

    assert messages.expired(10.0, 10) == []
    assert messages.expired(50.0, 10) == ["longer"]


def test_times_of_what_was_replaced_do_not_pile_up() -> None:
    messages = RetainedMessages(LIMITS)
    for number in range(1000):
        messages.keep(kept("a", expires_at=1000.0 + number))

    assert len(messages._ends) <= 66
    assert messages.expired(1998.0, 10) == []
    assert messages.expired(1999.0, 10) == ["a"]
