"""Which handler of a hub is told of what."""

from typing import Any

import pytest

from doubles import HUB, Directory
from handlers import handler, handling
from hubwire.model.names import HubKey
from hubwire.upstream.handlers import NO_HANDLERS, Handler, Handlers, HandlersOf, read_handlers


def handlers(*each: dict[str, Any]) -> Handlers:
    return read_handlers(handling(*each))


def bare(**settings: Any) -> Handler:
    """One that is told nothing but what the settings say."""
    return Handler({"urlTemplate": "http://h/", **settings})


def url(found: Handler | None) -> str | None:
    return None if found is None else found.template.shown


# User events


@pytest.mark.parametrize(
    ("pattern", "events", "others"),
    [
        (None, [], ["message", "e", "*"]),
        ("", [], ["message", "e"]),
        ("*", ["message", "e", "a.b.c", "connected"], []),
        ("message", ["message", "MESSAGE", "Message"], ["messages", "messag", "a.message"]),
        ("Chat , ping,", ["chat", "CHAT", "ping"], ["chat ", "pong", ""]),
        ("a,*,b", ["a", "b", "c", "c.d"], []),
        ("room.*", ["room.a", "ROOM.B", "room."], ["room", "room.a.b", "xroom.a"]),
        ("room.**", ["room.a", "room.a.b"], ["room", "hall.a"]),
        ("r?om", ["room", "rXom"], ["rm", "r.om"]),
        ("x-*,y", ["x-", "x-1", "y"], ["x", "x-1.2"]),
    ],
)
def test_pattern_of_user_events(pattern: str | None, events: list[str], others: list[str]) -> None:
    """Elements of a list, blanks around them and letter case aside; wildcards are those of roles."""
    one = bare(userEventPattern=pattern)

    assert [event for event in [*events, *others] if one.takes_user_event(event)] == events


def test_handler_without_a_pattern_is_told_of_no_user_event() -> None:
    assert not bare().takes_user_event("message")


def test_element_that_is_no_pattern_matches_nothing_and_spoils_no_other() -> None:
    one = bare(userEventPattern="a?b*c*d*e*f*g*,ok")

    assert one.takes_user_event("ok")
    assert not one.takes_user_event("axbcdefg")


# Memberships


@pytest.mark.parametrize(
    ("presence", "told"),
    [
        (None, []),
        ({}, []),
        ({"eventNames": []}, []),
        ({"eventNames": None}, []),
        ({"eventNames": ["joined"]}, ["joined"]),
        ({"eventNames": ["Joined", "LEFT"]}, ["joined", "left"]),
        ({"eventNames": ["left"], "groupFilters": None}, ["left"]),
        ({"eventNames": ["left"], "groupFilters": []}, []),
    ],
)
def test_memberships_that_a_handler_is_told_of(presence: Any, told: list[str]) -> None:
    """Of all groups, unless some are named."""
    one = bare(groupPresenceEvents=presence)

    assert [event for event in ("joined", "left") if one.takes_presence(event, "g")] == told


@pytest.mark.parametrize(
    ("filters", "groups", "others"),
    [
        (["group1", "group2*"], ["group1", "group2", "group2x"], ["Group1", "group12", "group2.x", "x"]),
        (["a.**"], ["a.", "a.b.c"], ["a", "b.a.c"]),
        ([r"a\*"], ["a*"], ["ab", "a"]),
    ],
)
def test_filters_of_groups_are_names_or_patterns(filters: list[str], groups: list[str], others: list[str]) -> None:
    """Their letter case counts, as that of groups does."""
    one = bare(groupPresenceEvents={"eventNames": ["joined"], "groupFilters": filters})

    assert [group for group in [*groups, *others] if one.takes_presence("joined", group)] == groups


# The first one


def test_first_match_is_told_and_no_other() -> None:
    found = handlers(
        handler("http://one/", userEventPattern="a", systemEvents=["connected"]),
        handler("http://two/", userEventPattern="a,b", systemEvents=["connect", "connected"]),
        handler(
            "http://three/", systemEvents=["connected", "disconnected"], groupPresenceEvents={"eventNames": ["left"]}
        ),
        handler("http://four/", groupPresenceEvents={"eventNames": ["joined", "left"]}),
    )

    assert [url(found.user(event)) for event in ("a", "b", "c")] == ["http://one/", "http://two/", "http://three/"]
    assert url(found.system("connect")) == "http://two/"
    assert url(found.system("connected")) == "http://one/"
    assert url(found.system("disconnected")) == "http://three/"
    assert url(found.presence("joined", "g")) == "http://four/"
    assert url(found.presence("left", "g")) == "http://three/"


def test_one_handler_may_be_asked_for_connect_and_another_one_be_told_the_rest() -> None:
    found = handlers(
        {"urlTemplate": "http://door/", "systemEvents": ["connect"]},
        {"urlTemplate": "http://rest/", "userEventPattern": "*"},
    )

    assert url(found.system("connect")) == "http://door/"
    assert url(found.user("connect")) == "http://rest/"
    assert found.system("connected") is None


def test_user_event_with_the_name_of_a_system_event_is_a_user_event() -> None:
    found = handlers(
        {"urlTemplate": "http://system/", "systemEvents": ["connected"]},
        {"urlTemplate": "http://user/", "userEventPattern": "connected"},
    )

    assert url(found.user("connected")) == "http://user/"
    assert url(found.system("connected")) == "http://system/"


def test_names_of_system_events_have_no_letter_case() -> None:
    found = handlers({"urlTemplate": "http://h/", "systemEvents": ["Connect", "DISCONNECTED"]})

    assert [found.system(event) is not None for event in ("connect", "connected", "disconnected")] == [
        True,
        False,
        True,
    ]


def test_hub_without_handlers_tells_nobody() -> None:
    assert NO_HANDLERS.system("connect") is None
    assert NO_HANDLERS.user("message") is None
    assert NO_HANDLERS.presence("joined", "g") is None
    assert not NO_HANDLERS.has_presence


def test_presence_is_not_looked_for_where_nobody_is_told_of_it() -> None:
    assert not handlers(handler(), handler()).has_presence
    assert handlers(handler(), handler(groupPresenceEvents={"eventNames": ["left"]})).has_presence


# Tokens


@pytest.mark.parametrize(
    ("auth", "audience"),
    [
        (None, None),
        ({}, None),
        ({"type": "None"}, None),
        ({"type": "None", "managedIdentity": {"resource": "api://x"}}, None),
        ({"type": "ManagedIdentity", "managedIdentity": {"resource": "api://x"}}, "api://x"),
        ({"type": "managedidentity", "managedIdentity": {"resource": "api://x"}}, "api://x"),
        ({"type": "ManagedIdentity", "managedIdentity": {}}, ""),
        ({"type": "ManagedIdentity", "managedIdentity": None}, ""),
        ({"type": "ManagedIdentity"}, ""),
    ],
)
def test_audience_of_tokens_is_that_of_the_managed_identity(auth: Any, audience: str | None) -> None:
    """None is no token; an empty one is a token that cannot be had, and so no call without one."""
    assert bare(auth=auth).audience == audience


# As they are now


def test_change_of_settings_holds_at_once_and_what_did_not_change_is_read_once() -> None:
    directory = Directory()
    handlers_of = HandlersOf(directory)
    assert handlers_of(HUB) is NO_HANDLERS

    directory.hubs[HUB] = handling(handler("http://one/"))
    first = handlers_of(HUB)
    assert url(first.system("connect")) == "http://one/"
    assert handlers_of(HUB) is first

    directory.hubs[HUB] = handling(handler("http://two/"))
    assert url(handlers_of(HUB).system("connect")) == "http://two/"

    directory.hubs[HUB] = handling()
    assert handlers_of(HUB) is NO_HANDLERS


def test_each_hub_of_each_resource_has_its_own() -> None:
    directory = Directory()
    directory.hubs[HUB] = handling(handler())
    handlers_of = HandlersOf(directory)

    assert handlers_of(HUB).all
    assert handlers_of(HubKey("other", HUB.hub)) is NO_HANDLERS
    assert handlers_of(HubKey(HUB.resource, "other")) is NO_HANDLERS
