"""Filters of MQTT topics: the names that they stand for, and the patterns of roles that allow all of these."""

from collections.abc import Iterator, Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubwire.model.patterns import PatternSet, parse_pattern
from hubwire.model.topic_filters import covers, has_wildcards, is_topic_filter, matches

LETTERS = "ab./$"


def patterns(*texts: str) -> PatternSet:
    parsed = [parse_pattern(text) for text in texts]
    return PatternSet([pattern for pattern in parsed if pattern is not None])


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("a", True),
        ("/", True),
        ("+", True),
        ("#", True),
        ("a/+/b/#", True),
        ("+/+", True),
        ("$x/#", True),
        ("x" * 1024, True),
        ("", False),
        (" ", False),
        ("a+", False),
        ("+a/b", False),
        ("a#", False),
        ("#/a", False),
        ("a/#/", False),
        ("a\0", False),
        ("x" * 1025, False),
    ],
)
def test_wildcards_are_whole_levels_and_the_rest_is_last(text: str, is_one: bool) -> None:
    assert is_topic_filter(text) == is_one


def stands_for(topic_filter: Sequence[str], levels: Sequence[str]) -> bool:
    """Level by level, as the standard has it."""
    if not topic_filter:
        return not levels
    if topic_filter[0] == "#":
        return True
    return (
        bool(levels)
        and (topic_filter[0] == "+" or topic_filter[0] == levels[0])
        and stands_for(topic_filter[1:], levels[1:])
    )


def filters(letters: str = "ab.$", most: int = 3) -> st.SearchStrategy[str]:
    """Well-formed, of few short levels."""
    level = st.one_of(st.just("+"), st.text(letters, max_size=1))
    levels = st.lists(level, min_size=1, max_size=most)
    return st.builds(lambda levels, rest: "/".join([*levels, *rest]), levels, st.sampled_from([[], ["#"]])).filter(bool)


@pytest.mark.parametrize(
    ("topic_filter", "names", "others"),
    [
        ("#", ["a", "/", "a/b", "a/$b", "/a"], ["$a", "$SYS/a", "a+", "a#/b", "a\0"]),
        ("+", ["a", "ab", "a.b"], ["/", "a/b", "/a", "$a", "+"]),
        ("+/+", ["/", "a/", "/a", "a/b"], ["a", "a/b/c", "$a/b"]),
        ("/+", ["/", "/a", "/$a"], ["a", "/a/b"]),
        ("a/+", ["a/", "a/b", "a/$b"], ["a", "a/b/c", "b/b", "A/b"]),
        ("a/#", ["a", "a/", "a/b", "a/b/c"], ["ab", "b", "/a"]),
        ("a/+/#", ["a/", "a/b", "a/b/c"], ["a", "b/b"]),
        ("+/a/#", ["x/a", "/a", "x/a/b"], ["x", "a", "x/b", "$x/a"]),
        ("a/+/b", ["a//b", "a/x/b"], ["a/b", "a/x/y/b", "a/x/b/"]),
        ("a/b", ["a/b"], ["a", "a/b/", "a/c"]),
    ],
)
def test_filter_stands_for_names(topic_filter: str, names: list[str], others: list[str]) -> None:
    """A leading wildcard for none that begins with a dollar sign; and none for what is no topic."""
    assert [name for name in names if not matches(topic_filter, name)] == []
    assert [name for name in others if matches(topic_filter, name)] == []
    assert has_wildcards(topic_filter) == (len(names) > 1)


@given(filters(), st.text(LETTERS, min_size=1, max_size=6))
def test_filter_stands_for_what_a_naive_reader_says(topic_filter: str, name: str) -> None:
    expected = name[0] != "$" and stands_for(topic_filter.split("/"), name.split("/"))

    assert matches(topic_filter, name) == expected


@pytest.mark.parametrize(
    ("roles", "covered", "others"),
    [
        (["**"], ["#", "+", "a/#", "/+"], []),
        (["*"], [], ["#", "+", "a/#", "/+"]),  # `+` stands for `a.b`
        (["site/**"], ["site/+", "site/+/x", "site/a/#", "site//#"], ["site/#", "#", "+", "+/a"]),
        (["site/**", "site"], ["site/#", "site/+"], ["sit/#", "+"]),
        (["site**"], ["site/#", "site/+"], ["sit/+", "#"]),
        (["site/*"], [], ["site/+", "site/#"]),
        (["site/*", "site/*.**"], ["site/+", "site/a/#"], ["site/#"]),
        (["*/a", "*.**/a"], ["+/a"], ["+/b", "+/+"]),
        (["?**", ".**"], ["#", "+", "+/#"], []),  # a topic has a character
        (["?**"], [], ["#", "+", "+/#"]),  # which may be a dot
        (["a/?", "a/", "a/??**"], ["a/bb/#"], ["a/+"]),  # but not `a/.`
        ([], [], ["#", "+", "a/#"]),
    ],
)
def test_patterns_cover_a_filter_or_not(roles: list[str], covered: list[str], others: list[str]) -> None:
    known = patterns(*roles)

    assert [topic_filter for topic_filter in covered if not covers(known, topic_filter)] == []
    assert [topic_filter for topic_filter in others if covers(known, topic_filter)] == []


def topics(longest: int) -> Iterator[str]:
    for length in range(1, longest + 1):
        for characters in product(LETTERS + "z", repeat=length):
            if characters[0] != "$":
                yield "".join(characters)


TOPICS = list(topics(6))


@settings(max_examples=150, deadline=None)
@given(
    filters("ab.", 2),
    st.lists(
        st.lists(st.sampled_from(["a", "b", ".", "/", "?", "*", "**"]), min_size=1, max_size=4).map("".join),
        min_size=1,
        max_size=3,
    ),
)
def test_patterns_cover_exactly_the_filters_all_of_whose_topics_they_stand_for(
    topic_filter: str, roles: list[str]
) -> None:
    """Of automata so small, what differs in any topic differs in a short one."""
    known = patterns(*roles)

    expected = all(known.matches(name) for name in TOPICS if matches(topic_filter, name))

    assert covers(known, topic_filter) == expected


def test_patterns_that_take_too_long_cover_nothing() -> None:
    """Nobody can be kept busy with a filter: ever more states of the patterns at once are given up."""
    texts = [f"**{letter}{'?' * number}" for number in range(1, 60) for letter in "ab"]

    assert not covers(patterns(*texts, "a**", "??????????????????????????????**"), "a/+/b/#")
