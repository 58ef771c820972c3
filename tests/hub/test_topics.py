"""Filters beside the groups: whose match the name of a group, held against looking at each of them."""

import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from doubles import connection
from hubwire.hub.connection import Connection
from hubwire.hub.topics import Filters
from hubwire.model.topic_filters import has_wildcards, matches

LEVELS = st.sampled_from(["", "a", "b", "aa"])
NAMES = st.lists(LEVELS, min_size=1, max_size=5).map("/".join).filter(bool)
FILTERS = st.builds(  # without wildcards it would be a group
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(st.one_of(LEVELS, st.just("+")), min_size=1, max_size=5),
    st.sampled_from([[], [], ["#"]]),
).filter(has_wildcards)


def matched(filters: Filters, name: str, members: Iterable[Connection] = ()) -> dict[Connection, set[str]] | None:
    """Who hears of a message to a group, and by which filters and memberships."""
    audience = filters.audience(name, list(members))
    if audience is None:
        return None
    assert len(set(audience.receivers)) == len(audience.receivers), "each of them once"
    for one in audience.receivers:
        names = audience.matched.get(one, ())
        assert len(set(names)) == len(names), "each filter once"
    return {one: set(audience.matched.get(one, ())) for one in audience.receivers}


@pytest.mark.parametrize("name", ["$", "$SYS/a", "a+", "a/#", "+", "a\0", "a/b+c"])
def test_what_is_no_topic_matches_nothing(name: str) -> None:
    filters = Filters()
    for text in ("#", "+", "+/a", "+/#", "a/#"):
        filters.add(text, connection())

    assert filters.audience(name, ()) is None


def test_members_of_the_group_are_told_apart_from_those_who_hear_by_filters() -> None:
    filters = Filters()
    member, both, other = (connection(id=name) for name in ("member", "both", "other"))
    for one in (member, both):
        one.groups["a/b"] = None
    for one in (both, other):
        filters.add("a/+", one)
    filters.add("#", other)

    assert matched(filters, "a/b", [member, both]) == {
        member: set(),
        both: {"a/b", "a/+"},
        other: {"a/+", "#"},
    }
    audience = filters.audience("a/b", [member, both])
    assert audience is not None
    assert audience.matched[both] == ("a/b", "a/+"), "the group is in front"
    assert matched(filters, "a") == {other: {"#"}}
    assert matched(filters, "b", [member]) == {member: set(), other: {"#"}}


def test_group_that_no_filter_matches_has_its_members() -> None:
    filters = Filters()
    filters.add("a/+", connection())

    assert filters.audience("b", [connection()]) is None


def test_one_of_two_filters_that_match_may_end() -> None:
    filters = Filters()
    one = connection()
    filters.add("a/+", one)
    filters.add("a/#", one)
    filters.remove("a/+", one)

    assert matched(filters, "a/b") == {one: {"a/#"}}

    filters.remove("a/#", one)
    assert not filters
    assert filters.audience("a/b", ()) is None


def test_filter_stays_as_long_as_anybody_has_it() -> None:
    filters = Filters()
    first, second = connection(id="1"), connection(id="2")
    filters.add("a/+", first)
    filters.add("a/+", second)
    filters.remove("a/+", first)

    assert matched(filters, "a/b") == {second: {"a/+"}}
    assert len(filters) == 1


@pytest.mark.parametrize("text", ["/" * 1023, "+/" * 511 + "#", "#", "/", "+", "a" * 1024])
def test_filter_may_have_as_many_levels_as_its_text_has_room_for(text: str) -> None:
    filters = Filters()
    one = connection()
    filters.add(text, one)
    filters.add("x/" + text[2:], one)

    name = text.replace("+", "a").replace("#", "b")
    assert matches(text, name)
    assert matched(filters, name) == {one: {text}}
    filters.remove(text, one)
    assert filters.audience(name, ()) is None
    filters.remove("x/" + text[2:], one)
    assert not filters


def test_filter_of_many_levels_takes_little_more_than_its_text() -> None:
    """A client may have thousands of them."""
    filters, one = Filters(), connection()
    texts = [f"{number:04}/" + "+/bc/" * 200 + "#" for number in range(200)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for text in texts:
            filters.add(text, one)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (after - before) / len(texts) < len(texts[0]) + 2000


@given(st.lists(FILTERS, max_size=12), NAMES)
def test_whatever_matches_is_found_and_nothing_else(texts: list[str], name: str) -> None:
    filters = Filters()
    one = connection()
    for text in dict.fromkeys(texts):
        filters.add(text, one)
    expected = {text for text in texts if matches(text, name)}

    assert matched(filters, name) == ({one: expected} if expected else None)


class FiltersMachine(RuleBasedStateMachine):
    """Subscriptions that come and go; after each step every name is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = Filters()
        self.clients = [connection(id=str(number)) for number in range(3)]
        self.there: dict[tuple[str, int], None] = {}

    @rule(text=FILTERS, client=st.integers(0, 2))
    def subscribe(self, text: str, client: int) -> None:
        if (text, client) not in self.there:
            self.there[text, client] = None
            self.filters.add(text, self.clients[client])

    @rule(position=st.integers(0, 100))
    def unsubscribe(self, position: int) -> None:
        if self.there:
            text, client = list(self.there)[position % len(self.there)]
            del self.there[text, client]
            self.filters.remove(text, self.clients[client])

    @rule(name=NAMES, members=st.sets(st.integers(0, 2)))
    def look(self, name: str, members: set[int]) -> None:
        expected: dict[Connection, set[str]] = {}
        for number, one in enumerate(self.clients):
            one.groups = {name: None} if number in members else {}
            heard = {text for text, client in self.there if client == number and matches(text, name)}
            if heard and number in members:
                heard.add(name)
            if heard or number in members:
                expected[one] = heard
        anybody = any(matches(text, name) for text, _ in self.there)
        found = matched(self.filters, name, [self.clients[number] for number in members])

        assert found == (expected if anybody else None)

    @invariant()
    def counts(self) -> None:
        assert len(self.filters) == len({text for text, _ in self.there})


TestFilters = FiltersMachine.TestCase
TestFilters.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
