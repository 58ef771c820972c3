from typing import Any

import pytest

from hubwire.model.errors import BadRequest
from hubwire.model.hubs import CommunicationLogin, HubSettings
from hubwire.resources.hub_properties import completed, merged, settings_of, unknown_names

DEFAULTS = {
    "eventHandlers": [],
    "eventListeners": [],
    "anonymousConnectPolicy": "deny",
    "webSocketKeepAliveIntervalInSeconds": 20,
}


def refused(properties: dict[str, Any]) -> BadRequest:
    with pytest.raises(BadRequest) as failed:
        completed(properties)
    return failed.value


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [{"x": value}]
    return value


def test_nothing_given_is_all_defaults() -> None:
    assert completed({}) == DEFAULTS
    assert settings_of(completed({})) == HubSettings()


def test_nulls_are_not_given() -> None:
    assert completed(dict.fromkeys(DEFAULTS)) == DEFAULTS


@pytest.mark.parametrize(("typed", "policy"), [("allow", "allow"), ("Allow", "allow"), ("DENY", "deny")])
def test_policy_has_any_letter_case(typed: str, policy: str) -> None:
    properties = completed({"anonymousConnectPolicy": typed})

    assert properties == {**DEFAULTS, "anonymousConnectPolicy": policy}
    assert settings_of(properties).anonymous_connect_policy == policy


@pytest.mark.parametrize("value", ["", "allowed", " allow", 1, True, [], ["allow"], {}])
def test_other_policies_are_refused(value: object) -> None:
    error = refused({"anonymousConnectPolicy": value})

    assert error.target == "anonymousConnectPolicy"
    assert "anonymousConnectPolicy must be allow or deny" in error.message


@pytest.mark.parametrize("value", [1, 20, 120])
def test_keep_alive_is_whole_seconds_up_to_two_minutes(value: int) -> None:
    properties = completed({"webSocketKeepAliveIntervalInSeconds": value})

    assert properties == {**DEFAULTS, "webSocketKeepAliveIntervalInSeconds": value}
    assert settings_of(properties).web_socket_keep_alive_interval_in_seconds == value


@pytest.mark.parametrize("value", [0, 121, -1, 2**70, 20.0, 20.5, "20", True, [], {}])
def test_other_keep_alives_are_refused(value: object) -> None:
    error = refused({"webSocketKeepAliveIntervalInSeconds": value})

    assert error.target == "webSocketKeepAliveIntervalInSeconds"
    assert "webSocketKeepAliveIntervalInSeconds must be an integer from 1 to 120" in error.message


HANDLER = {"urlTemplate": "https://example.com/{event}", "userEventPattern": "*", "systemEvents": ["connect"]}
LISTENER = {
    "filter": {"type": "EventName", "systemEvents": ["connected"], "userEventPattern": "*"},
    "endpoint": {"type": "EventHub", "fullyQualifiedNamespace": "a.servicebus.windows.net", "eventHubName": "b"},
}


@pytest.mark.parametrize(("name", "one"), [("eventHandlers", HANDLER), ("eventListeners", LISTENER)])
def test_event_handlers_and_listeners_are_kept_in_their_order(name: str, one: dict[str, Any]) -> None:
    several = [{**one, "x": number} for number in range(3)]
    properties = completed({name: several})

    assert properties == {**DEFAULTS, name: several}
    settings = settings_of(properties)
    assert [*settings.event_handlers, *settings.event_listeners] == several


@pytest.mark.parametrize("name", ["eventHandlers", "eventListeners"])
@pytest.mark.parametrize("value", [{}, "", "x", 0, False])
def test_event_handlers_that_are_no_array_are_refused(name: str, value: object) -> None:
    assert refused({name: value}).message == f"{name} must be an array."


@pytest.mark.parametrize(("name", "needed"), [("eventHandlers", "urlTemplate"), ("eventListeners", "filter")])
def test_fault_of_a_handler_says_which_one_it_is(name: str, needed: str) -> None:
    good = {"eventHandlers": HANDLER, "eventListeners": LISTENER}[name]

    assert refused({name: [good, {}]}).target == f"{name}[1].{needed}"


def test_names_of_properties_have_any_letter_case() -> None:
    """Else `AnonymousConnectPolicy` would be stored, shown, and mean nothing."""
    assert completed({"ANONYMOUSCONNECTPOLICY": "allow"}) == {**DEFAULTS, "anonymousConnectPolicy": "allow"}
    assert refused({"EventHandlers": [{}]}).target == "eventHandlers[0].urlTemplate"


def test_property_that_is_given_twice_is_refused() -> None:
    error = refused({"anonymousConnectPolicy": "allow", "anonymousconnectpolicy": "deny"})

    assert error.target == "anonymousConnectPolicy"


def test_unknown_properties_are_kept_as_they_are() -> None:
    unknown = {"chat": {"mode": "x", "n": [1, None, 2**70]}, "Chat": None, "": 0, "name": "y"}

    assert completed(unknown) == {**DEFAULTS, **unknown}


def test_unknown_properties_are_copied() -> None:
    inner = [1]
    properties = completed({"x": inner})

    inner.append(2)

    assert properties["x"] == [1]


def test_unknown_properties_may_be_nested_but_not_without_end() -> None:
    assert completed({"x": nested(16)})["x"] == nested(16)
    assert refused({"x": nested(17)}).target == "x"
    assert refused({"x": nested(5000)}).target == "x"


def test_patch_changes_what_it_names_and_nothing_else() -> None:
    old = completed({"anonymousConnectPolicy": "allow", "webSocketKeepAliveIntervalInSeconds": 60, "x": 1})

    assert merged(old, {}) == old
    assert merged(old, {"WebSocketKeepAliveIntervalInSeconds": 30, "y": 2}) == {
        **old,
        "webSocketKeepAliveIntervalInSeconds": 30,
        "y": 2,
    }


def test_null_in_a_patch_takes_back() -> None:
    old = completed({"anonymousConnectPolicy": "allow", "webSocketKeepAliveIntervalInSeconds": 60, "x": 1})

    assert merged(old, {"anonymousConnectPolicy": None, "x": None}) == {
        **DEFAULTS,
        "webSocketKeepAliveIntervalInSeconds": 60,
    }


def test_patch_is_checked_like_a_whole() -> None:
    with pytest.raises(BadRequest):
        merged(completed({}), {"webSocketKeepAliveIntervalInSeconds": 0})
    with pytest.raises(BadRequest):
        merged(completed({}), {"eventHandlers": [{}]})


LOGIN = {"service": "default", "scopes": ["chat"], "roles": []}


@pytest.mark.parametrize(
    ("given", "login"),
    [
        ({}, LOGIN),
        ({"service": None, "scopes": None}, LOGIN),
        ({"Service": "acs-Demo", "SCOPES": ["VoIP", "chat", "voip"]}, {**LOGIN, "service": "acs-Demo"}),
        ({"roles": ["webpubsub.sendToGroup.room"], "x": 1}, {**LOGIN, "roles": ["webpubsub.sendToGroup.room"], "x": 1}),
    ],
)
def test_login_of_communication_users_is_completed(given: dict[str, Any], login: dict[str, Any]) -> None:
    if "SCOPES" in given:
        login = {**login, "scopes": ["voip", "chat"]}

    properties = completed({"communicationidentity": given})

    assert properties == {**DEFAULTS, "communicationIdentity": login}
    assert settings_of(properties).communication_identity == CommunicationLogin(
        login["service"], tuple(login["scopes"]), tuple(login["roles"])
    )


def test_nobody_logs_in_as_a_communication_user_unless_that_is_set() -> None:
    assert settings_of(completed({})).communication_identity is None
    assert settings_of(completed({"communicationIdentity": None})).communication_identity is None
    assert merged(completed({"communicationIdentity": {}}), {"communicationIdentity": None}) == DEFAULTS


@pytest.mark.parametrize(
    ("value", "target"),
    [
        (True, ""),
        ("default", ""),
        ([LOGIN], ""),
        ({"service": ""}, ".service"),
        ({"service": "a b"}, ".service"),
        ({"service": 1}, ".service"),
        ({"scopes": []}, ".scopes"),
        ({"scopes": "chat"}, ".scopes"),
        ({"scopes": ["chat", "all"]}, ".scopes[1]"),
        ({"roles": "webpubsub.sendToGroup"}, ".roles"),
        ({"roles": [1]}, ".roles[0]"),
        ({"roles": [], "Roles": []}, ".roles"),
    ],
)
def test_login_of_communication_users_that_cannot_be_is_refused(value: object, target: str) -> None:
    assert refused({"communicationIdentity": value}).target == f"communicationIdentity{target}"


def test_misspelled_part_of_the_login_is_told() -> None:
    properties = completed({"communicationIdentity": {"scope": ["voip"]}})

    assert unknown_names(properties) == ["properties.communicationIdentity.scope"]
    assert unknown_names(completed({"communicationIdentity": {}})) == []


def test_time_of_reliable_clients_is_checked_and_taken_away() -> None:
    properties = completed({"reliableretentioninseconds": 60})

    assert properties == {**DEFAULTS, "reliableRetentionInSeconds": 60}
    assert settings_of(properties).reliable_retention_in_seconds == 60
    assert settings_of(completed({})).reliable_retention_in_seconds is None
    assert merged(properties, {"reliableRetentionInSeconds": None}) == DEFAULTS
    for value in (0, 604_801, "60", True):
        assert refused({"reliableRetentionInSeconds": value}).target == "reliableRetentionInSeconds"
