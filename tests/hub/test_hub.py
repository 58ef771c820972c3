"""Who is here, whose, and in which group: each beginning with its end."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles import HUB, connection
from hubwire.hub.connection import Connection
from hubwire.hub.hub import Hub
from hubwire.model.targets import Target, to_connection, to_group, to_groups, to_hub, to_user


def members(hub: Hub, target: Target) -> list[Connection]:
    return list(hub.members(target))


def hub_with(*connections: Connection) -> Hub:
    hub = Hub(HUB)
    for one in connections:
        hub.add(one)
    return hub


def same(found: Iterable[Target], *expected: Target) -> bool:
    """The same topics in any order, each once."""
    return sorted(found) == sorted(expected)


def test_connection_is_found_by_hub_id_and_user_until_it_is_removed() -> None:
    one = connection(user_id="u")
    hub = hub_with(one)
    targets = (to_hub(HUB), to_connection(HUB, one.id), to_user(HUB, "u"))
    for target in targets:
        assert members(hub, target) == [one]

    assert same(hub.remove(one), *targets)

    for target in targets:
        assert members(hub, target) == []


def test_nobody_is_where_nobody_came() -> None:
    hub = Hub(HUB)

    for target in (to_hub(HUB), to_connection(HUB, "c"), to_user(HUB, "u"), to_group(HUB, "g")):
        assert not hub.members(target)


def test_anonymous_connections_are_no_user() -> None:
    one = connection()
    hub = hub_with(one)

    assert not hub.members(to_user(HUB, ""))
    assert not hub.members(to_user(HUB, "None"))
    assert same(hub.remove(one), to_hub(HUB), to_connection(HUB, one.id))


def test_user_is_gone_with_its_last_connection() -> None:
    first, second = connection(user_id="u"), connection(user_id="u")
    hub = hub_with(first, second)

    assert same(hub.remove(first), to_connection(HUB, first.id))
    assert members(hub, to_user(HUB, "u")) == [second]
    assert same(hub.remove(second), to_connection(HUB, second.id), to_user(HUB, "u"), to_hub(HUB))


def test_member_is_in_its_group_until_it_leaves() -> None:
    one = connection()
    hub = hub_with(one)

    assert hub.join(one, "g")
    assert members(hub, to_group(HUB, "g")) == [one]
    assert list(one.groups) == ["g"]

    assert hub.leave(one, "g")
    assert members(hub, to_group(HUB, "g")) == []
    assert list(one.groups) == []


def test_joining_twice_is_one_membership() -> None:
    one = connection()
    hub = hub_with(one)
    hub.join(one, "g")

    assert not hub.join(one, "g")
    assert members(hub, to_group(HUB, "g")) == [one]

    assert hub.leave(one, "g")
    assert members(hub, to_group(HUB, "g")) == []


def test_leaving_a_group_one_is_not_in_changes_nothing() -> None:
    one, other = connection(), connection()
    hub = hub_with(one, other)
    hub.join(other, "g")

    assert not hub.leave(one, "g")
    assert not hub.leave(one, "nobody's")

    assert members(hub, to_group(HUB, "g")) == [other]


def test_only_the_last_member_empties_a_group() -> None:
    one, other = connection(), connection()
    hub = hub_with(one, other)
    hub.join(one, "g")
    hub.join(other, "g")

    assert not hub.leave(one, "g")
    assert hub.leave(other, "g")


def test_removed_connection_is_in_no_group_any_more() -> None:
    """And only the groups that it leaves empty are told."""
    one, other = connection(user_id="u"), connection(user_id="u")
    hub = hub_with(one, other)
    for group in ("shared", "own"):
        hub.join(one, group)
    hub.join(other, "shared")

    assert same(hub.remove(one), to_connection(HUB, one.id), to_group(HUB, "own"))

    assert members(hub, to_group(HUB, "own")) == []
    assert members(hub, to_group(HUB, "shared")) == [other]
    assert list(one.groups) == []


def test_nothing_is_kept_of_those_who_are_gone() -> None:
    """Names of users and groups come and go by the million."""
    hub = Hub(HUB)
    for number in range(10):
        one = connection(user_id=f"u{number}" if number % 2 else None)
        hub.add(one)
        hub.join(one, f"left {number}")
        hub.leave(one, f"left {number}")
        hub.join(one, f"kept {number}")
        hub.remove(one)

    assert (hub.connections, hub._users, hub._groups) == ({}, {}, {})


def test_removing_twice_tells_nothing() -> None:
    one, other = connection(), connection()
    hub = hub_with(one, other)
    hub.remove(one)

    assert hub.remove(one) == []


@pytest.mark.parametrize("name", ["g", "G", "a/b", "*", "ü"])
def test_names_are_case_sensitive_and_kinds_are_apart(name: str) -> None:
    """A user, a group and a connection of one name have nothing to do with one another."""
    user, member, named = connection(user_id=name), connection(), connection(id=name)
    hub = hub_with(user, member, named)
    hub.join(member, name)

    assert members(hub, to_user(HUB, name)) == [user]
    assert members(hub, to_group(HUB, name)) == [member]
    assert members(hub, to_connection(HUB, name)) == [named]


def test_members_come_in_the_order_in_which_they_came() -> None:
    connections = [connection(user_id="u") for _ in range(5)]
    hub = hub_with(*connections)
    for one in reversed(connections):
        hub.join(one, "g")

    assert members(hub, to_hub(HUB)) == members(hub, to_user(HUB, "u")) == connections
    assert members(hub, to_group(HUB, "g")) == connections[::-1]


@given(st.lists(st.tuples(st.sampled_from(["add", "remove", "join", "leave"]), st.integers(0, 3), st.integers(0, 2))))
def test_indexes_agree_whatever_happens(steps: list[tuple[str, int, int]]) -> None:
    """And a topic is told to be empty exactly when its last member goes."""
    hub = Hub(HUB)
    all_connections = [connection(user_id=f"u{number % 2}", id=str(number)) for number in range(4)]
    here: dict[Connection, set[str]] = {}
    for step, number, group_number in steps:
        one, group = all_connections[number], f"g{group_number}"
        topics = [to_hub(HUB), to_group(HUB, group)]
        before = {target for target in topics if hub.members(target)}
        match step:
            case "add" if one not in here:
                hub.add(one)
                here[one] = set()
            case "remove":
                told = hub.remove(one)
                assert len(told) == len(set(told))
                assert not any(hub.members(target) for target in told)
                assert before - set(told) == {target for target in topics if hub.members(target)}
                here.pop(one, None)
            case "join" if one in here:
                assert hub.join(one, group) == (group not in here[one])
                here[one].add(group)
            case "leave" if one in here:
                last = [other for other, groups in here.items() if group in groups] == [one]
                assert hub.leave(one, group) == last
                here[one].discard(group)
        assert set(hub.members(to_hub(HUB))) == set(here)
        for name in ("g0", "g1", "g2"):
            assert set(hub.members(to_group(HUB, name))) == {other for other, groups in here.items() if name in groups}
        for user in ("u0", "u1"):
            assert set(hub.members(to_user(HUB, user))) == {other for other in here if other.user_id == user}


# Filters


def hears(hub: Hub, group: str) -> list[Connection]:
    audience = hub.audience(to_group(HUB, group))
    return [] if audience is None else list(audience.receivers)


def test_filters_are_there_from_the_first_to_the_last() -> None:
    one, other = connection(id="1"), connection(id="2")
    hub = hub_with(one, other)
    assert not hub.concerns(to_groups(HUB))

    hub.subscribe(one, "a/+")
    hub.subscribe(one, "a/+")
    hub.subscribe(other, "#")
    assert hub.concerns(to_groups(HUB))
    assert set(hears(hub, "a/b")) == {one, other}

    assert not hub.unsubscribe(one, "a/+")
    assert hears(hub, "a/b") == [other]
    assert hub.unsubscribe(other, "#")
    assert not hub.concerns(to_groups(HUB))
    assert hears(hub, "a/b") == []
    assert (one.filters, other.filters, hub.filters) == (None, None, None)


def test_connection_takes_its_filters_with_it() -> None:
    one, other = connection(id="1"), connection(id="2")
    hub = hub_with(one, other)
    for text in ("a/+", "#"):
        hub.subscribe(one, text)
    hub.subscribe(other, "a/+")

    assert same(hub.remove(one), to_connection(HUB, "1"))
    assert hears(hub, "a/b") == [other]
    assert same(hub.remove(other), to_connection(HUB, "2"), to_hub(HUB), to_groups(HUB))


def test_filter_makes_nobody_a_member() -> None:
    one = connection()
    hub = hub_with(one)
    hub.subscribe(one, "#")

    assert not hub.members(to_group(HUB, "g"))
    assert not hub.members(to_groups(HUB))
    assert hub.audience(to_hub(HUB)) is None
    assert not hub.concerns(to_group(HUB, "g"))
