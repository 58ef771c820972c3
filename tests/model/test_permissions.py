"""Roles, patterns and runtime rules to yes or no."""

import sys
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubwire.model.commands import Permission
from hubwire.model.errors import Conflict
from hubwire.model.permissions import Permissions, RoleSet, parse_roles

JOIN: Permission = "joinLeaveGroup"
SEND: Permission = "sendToGroup"
EVERYWHERE = ["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"]


def permissions(*roles: str) -> Permissions:
    return Permissions(parse_roles(roles))


def allowed(roles: RoleSet | Permissions, *groups: str) -> list[tuple[Permission, str]]:
    """What is allowed, of both permissions and these groups."""
    return [
        (permission, group)
        for permission in get_args(Permission)
        for group in groups
        if roles.allows(permission, group)
    ]


@pytest.mark.parametrize(
    ("roles", "group", "join", "send"),
    [
        ([], "room", False, False),
        (["webpubsub.joinLeaveGroup"], "room", True, False),
        (["webpubsub.sendToGroup"], "room", False, True),
        (EVERYWHERE, "any group.of * all", True, True),
        (["webpubsub.joinLeaveGroup.room"], "room", True, False),
        (["webpubsub.sendToGroup.room"], "room", False, True),
        (["webpubsub.sendToGroup.room"], "room1", False, False),
        (["webpubsub.sendToGroup.room"], "Room", False, False),
        (["webpubsub.sendToGroup.a.b"], "a.b", False, True),
        (["webpubsub.sendToGroup.a.b"], "a", False, False),
        (["webpubsub.sendToGroup.a", "webpubsub.sendToGroup.b"], "b", False, True),
        # A literal is one, whatever stands in it.
        (["webpubsub.sendToGroup.room*"], "room*", False, True),
        (["webpubsub.sendToGroup.room*"], "room1", False, False),
        (["webpubsub.sendToGroup.**"], "room", False, False),
        ([r"webpubsub.sendToGroup.a\*"], "a*", False, False),
        ([r"webpubsub.sendToGroup.a\*"], r"a\*", False, True),
        # Patterns have the plural.
        (["webpubsub.sendToGroups.room*"], "room1", False, True),
        (["webpubsub.joinLeaveGroups.room*"], "room1", True, False),
        (["webpubsub.sendToGroups.room*"], "room*", False, True),
        (["webpubsub.sendToGroups.room*"], "room.1", False, False),
        (["webpubsub.sendToGroups.room.**"], "room.1.2", False, True),
        (["webpubsub.sendToGroups.**"], "a.b", False, True),
        (["webpubsub.sendToGroups.room"], "room", False, True),
        ([r"webpubsub.sendToGroups.room\*"], "room*", False, True),
        ([r"webpubsub.sendToGroups.room\*"], "rooms", False, False),
        (["webpubsub.sendToGroups.a*", "webpubsub.sendToGroups.b?"], "b1", False, True),
        (["webpubsub.sendToGroups.a*", "webpubsub.sendToGroup.x"], "x", False, True),
        # Bad patterns give nothing, and take nothing from the others.
        (["webpubsub.sendToGroups.room\\"], "room\\", False, False),
        (["webpubsub.sendToGroups.*\\x"], "ax", False, False),
        (["webpubsub.sendToGroups.*1*2*3*4*5*"], "12345", False, False),
        (["webpubsub.sendToGroups.\\", "webpubsub.sendToGroups.r*"], "room", False, True),
        # Unknown roles give nothing.
        (["webpubsub.sendToGroups"], "room", False, False),
        (["webpubsub.sendtogroup"], "room", False, False),
        (["WebPubSub.sendToGroup"], "room", False, False),
        ([" webpubsub.sendToGroup"], "room", False, False),
        (["webpubsub.sendToGroup "], "room", False, False),
        (["webpubsub.sendToGroupX.room", "webpubsub.sendToGroup/room"], "room", False, False),
        (["sendToGroup", "webpubsub", "webpubsub.", ""], "room", False, False),
        (["webpubsub.sendToGroup.", "webpubsub.sendToGroups."], "", False, False),
        (["webpubsub.unknown", "webpubsub.sendToGroup"], "room", False, True),
    ],
)
def test_roles_allow(roles: list[str], group: str, join: bool, send: bool) -> None:
    """Literal roles, patterns, and strings that are neither."""
    role_set = parse_roles(roles)

    assert (role_set.allows(JOIN, group), role_set.allows(SEND, group)) == (join, send)
    assert (Permissions(role_set).allows(JOIN, group), Permissions(role_set).allows(SEND, group)) == (join, send)


def test_order_and_repetition_of_roles_do_not_matter() -> None:
    """A union is a union."""
    roles = ["webpubsub.sendToGroups.a*", "webpubsub.joinLeaveGroup.b", "webpubsub.sendToGroup.c"]
    groups = ("a", "a1", "b", "c")
    expected = [(JOIN, "b"), (SEND, "a"), (SEND, "a1"), (SEND, "c")]

    assert allowed(parse_roles(roles), *groups) == expected
    assert allowed(parse_roles([*reversed(roles), *roles]), *groups) == expected


def test_connections_with_the_same_roles_share_one_object() -> None:
    """Ten thousand of them cost one."""
    first = parse_roles(["webpubsub.sendToGroup.a", "webpubsub.sendToGroups.b*"])

    assert parse_roles(("webpubsub.sendToGroup.a", "webpubsub.sendToGroups.b*")) is first
    assert parse_roles([]) is not first


def test_answers_for_one_set_of_patterns_are_not_those_of_another() -> None:
    """What is remembered of a group belongs to the patterns that were asked."""
    a, b = parse_roles(["webpubsub.sendToGroups.a*"]), parse_roles(["webpubsub.sendToGroups.b*"])

    assert [a.allows(SEND, "a1"), b.allows(SEND, "a1"), a.allows(SEND, "a1")] == [True, False, True]
    assert [a.allows(SEND, "b1"), b.allows(SEND, "b1"), a.allows(SEND, "b1")] == [False, True, False]


def test_role_set_cannot_be_changed() -> None:
    """It belongs to many connections."""
    with pytest.raises(AttributeError):
        parse_roles([]).everywhere = frozenset({SEND})  # type: ignore[misc]


def test_permissions_are_small() -> None:
    """Two places for each connection, and no dictionary."""
    assert not hasattr(permissions(), "__dict__")
    assert sys.getsizeof(permissions()) <= 56


def test_grant_adds_a_group_to_the_roles() -> None:
    """For one permission, one group and one connection, until it is revoked."""
    own, other = permissions("webpubsub.sendToGroup.a"), permissions("webpubsub.sendToGroup.a")

    own.grant(SEND, "b")

    assert allowed(own, "a", "b", "c") == [(SEND, "a"), (SEND, "b")]
    assert allowed(other, "a", "b", "c") == [(SEND, "a")]

    own.revoke(SEND, "b")

    assert allowed(own, "a", "b", "c") == [(SEND, "a")]


@pytest.mark.parametrize(
    "roles",
    [
        ["webpubsub.sendToGroup"],
        ["webpubsub.sendToGroup.a"],
        ["webpubsub.sendToGroups.?"],
        ["webpubsub.sendToGroup", "webpubsub.sendToGroup.a", "webpubsub.sendToGroups.**"],
    ],
)
def test_revoke_wins_over_every_role_until_granted_again(roles: list[str]) -> None:
    """Whatever allowed it, and however often it is repeated."""
    own = permissions(*roles)
    assert own.allows(SEND, "a")

    own.revoke(SEND, "a")
    own.revoke(SEND, "a")

    assert not own.allows(SEND, "a")
    assert own.roles.allows(SEND, "a")

    own.grant(SEND, "a")

    assert own.allows(SEND, "a")


def test_revoke_of_one_group_leaves_the_others() -> None:
    """Also the other permission for the same group."""
    own = permissions(*EVERYWHERE)

    own.revoke(JOIN, "a")

    assert allowed(own, "a", "b") == [(JOIN, "b"), (SEND, "a"), (SEND, "b")]


def test_rules_are_for_literal_names() -> None:
    """An asterisk in the name of a rule is an asterisk."""
    own = permissions("webpubsub.sendToGroup")

    own.grant(JOIN, "**")
    own.grant(JOIN, "r*")
    own.revoke(SEND, "*")

    assert allowed(own, "**", "*", "room") == [(JOIN, "**"), (SEND, "**"), (SEND, "room")]


@pytest.mark.parametrize("roles", [[], EVERYWHERE])
def test_thousand_rules_for_one_permission_are_the_limit(roles: list[str]) -> None:
    """One more changes nothing; repeating or taking back a rule always goes; the other permission has its own."""
    own = permissions(*roles)
    before = own.allows(SEND, "new")

    def change(permission: Permission, group: str, to: bool) -> None:
        (own.grant if to else own.revoke)(permission, group)

    for number in range(1000):
        change(SEND, f"room{number}", not before)
    with pytest.raises(Conflict, match="1000"):
        change(SEND, "new", not before)

    assert own.allows(SEND, "new") == before
    assert all(own.allows(SEND, f"room{number}") != before for number in range(1000))

    change(SEND, "new", before)
    change(SEND, "room7", not before)
    change(JOIN, "new", not before)

    assert own.allows(JOIN, "new") != before

    change(SEND, "room7", before)
    change(SEND, "new", not before)

    assert own.allows(SEND, "room7") == before
    assert own.allows(SEND, "new") != before
    with pytest.raises(Conflict):
        change(SEND, "room7", not before)


def test_granting_and_revoking_for_ever_uses_nothing_up() -> None:
    """A connection may pass through any number of groups in its life."""
    own = permissions("webpubsub.joinLeaveGroup")

    for number in range(3000):
        own.grant(SEND, f"room{number}")
        own.revoke(SEND, f"room{number}")
        own.revoke(JOIN, f"room{number}")
        own.grant(JOIN, f"room{number}")

    assert allowed(own, "room1", "room2999") == [(JOIN, "room1"), (JOIN, "room2999")]
    assert own._exceptions is None


ROLES = st.lists(
    st.sampled_from(
        [
            "webpubsub.sendToGroup",
            "webpubsub.joinLeaveGroup.a",
            "webpubsub.sendToGroup.b",
            "webpubsub.sendToGroups.a*",
            "webpubsub.joinLeaveGroups.**",
            "webpubsub.joinLeaveGroups.?",
        ]
    ),
    max_size=3,
)
STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from([JOIN, SEND]), st.sampled_from("abc")), max_size=20)


@given(ROLES, STEPS)
@settings(max_examples=200)
def test_last_rule_counts_and_else_the_roles(roles: list[str], steps: list[tuple[bool, Permission, str]]) -> None:
    """Any sequence of grants and revokes, against a plain record of the last one for each group."""
    own = permissions(*roles)
    last: dict[tuple[Permission, str], bool] = {}

    for grant, permission, group in steps:
        (own.grant if grant else own.revoke)(permission, group)
        last[permission, group] = grant

        assert own.allows(permission, group) is grant

    for permission in (JOIN, SEND):
        for group in "abcd":
            expected = last.get((permission, group), own.roles.allows(permission, group))
            assert own.allows(permission, group) is expected


@given(st.lists(st.text() | st.text("*?\\.a").map("webpubsub.sendToGroups.".__add__), max_size=4), st.text(max_size=8))
def test_any_roles_can_be_read(roles: list[str], group: str) -> None:
    """Nothing in a token is an error."""
    assert parse_roles(roles).allows(SEND, group) in (True, False)


@pytest.mark.parametrize(
    ("roles", "wanted", "expected"),
    [
        ([], [], True),
        (EVERYWHERE, [], True),
        ([], ["webpubsub.sendToGroup"], False),
        ([], ["webpubsub.sendToGroup.g"], False),
        ([], ["webpubsub.sendToGroups.g*"], False),
        ([], ["webpubsub.unheardOf", "other"], True),
        (EVERYWHERE, EVERYWHERE, True),
        (EVERYWHERE, ["webpubsub.sendToGroup.g", "webpubsub.joinLeaveGroups.a*"], True),
        (["webpubsub.sendToGroups.**"], ["webpubsub.sendToGroup"], True),
        (["webpubsub.sendToGroup"], ["webpubsub.joinLeaveGroup.g"], False),
        (["webpubsub.sendToGroup"], EVERYWHERE, False),
        (["webpubsub.sendToGroup.g"], ["webpubsub.sendToGroup"], False),
        (["webpubsub.sendToGroup.g"], ["webpubsub.joinLeaveGroup.g"], False),
        (["webpubsub.sendToGroup.g", "webpubsub.sendToGroup.h"], ["webpubsub.sendToGroup.h"], True),
        (["webpubsub.sendToGroup.h"], ["webpubsub.sendToGroup.g", "webpubsub.sendToGroup.h"], False),
        (["webpubsub.sendToGroups.g*"], ["webpubsub.sendToGroup.g1"], True),
        (["webpubsub.sendToGroups.g*"], ["webpubsub.sendToGroup.h1"], False),
        (["webpubsub.sendToGroups.g*", "webpubsub.sendToGroup.x"], ["webpubsub.sendToGroups.g*"], True),
        (["webpubsub.sendToGroups.g*", "webpubsub.sendToGroups.h*"], ["webpubsub.sendToGroups.h*"], True),
        (["webpubsub.sendToGroups.g*"], ["webpubsub.sendToGroups.g*", "webpubsub.sendToGroups.h*"], False),
        (["webpubsub.sendToGroups.g*"], ["webpubsub.sendToGroups.ga*"], False),
        (["webpubsub.sendToGroup.g"], ["webpubsub.sendToGroups.g?"], False),
        (["webpubsub.joinLeaveGroups.g*"], ["webpubsub.sendToGroups.g*"], False),
    ],
)
def test_roles_cover_others_that_allow_no_more(roles: list[str], wanted: list[str], expected: bool) -> None:
    assert parse_roles(roles).covers(parse_roles(wanted)) == expected


@given(ROLES, ROLES)
def test_covered_roles_allow_nothing_else(roles: list[str], wanted: list[str]) -> None:
    own, others = parse_roles(roles), parse_roles(wanted)
    assert own.covers(own)
    assert parse_roles([*roles, *wanted]).covers(others)
    if own.covers(others):
        assert set(allowed(others, *"abc")) <= set(allowed(own, *"abc"))


def test_rules_can_be_written_down_and_set_again() -> None:
    one = permissions("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup.a")
    assert one.rules() == ()
    one.grant(SEND, "b")
    one.revoke(SEND, "a")
    one.revoke(JOIN, "c")

    other = permissions("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup.a")
    other.restore(one.rules())

    assert other.rules() == one.rules() == ((SEND, "a", False), (SEND, "b", True), (JOIN, "c", False))
    assert allowed(other, "a", "b", "c") == allowed(one, "a", "b", "c")
    other.restore([(JOIN, "c", True), (SEND, "a", True), (SEND, "b", False)])
    assert other.rules() == ()
