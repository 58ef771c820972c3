from typing import Any

import pytest

from hubwire.model.errors import BadRequest
from hubwire.model.hubs import HubSettings
from hubwire.resources.hub_properties import completed, merged, settings_of

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


@pytest.mark.parametrize("name", ["eventHandlers", "eventListeners"])
def test_event_handlers_are_refused_and_never_kept_without_effect(name: str) -> None:
    assert completed({name: []}) == DEFAULTS
    error = refused({name: [{"urlTemplate": "https://example.com"}]})
    assert error.target == name
    assert "event handlers are not available in this version" in error.message
    others: tuple[object, ...] = ({}, "", "x", 0, False)
    assert all(f"{name} must be an array" in refused({name: value}).message for value in others)


def test_names_of_properties_have_any_letter_case() -> None:
    """Else `AnonymousConnectPolicy` would be stored, shown, and mean nothing."""
    assert completed({"ANONYMOUSCONNECTPOLICY": "allow"}) == {**DEFAULTS, "anonymousConnectPolicy": "allow"}
    assert refused({"EventHandlers": [{}]}).target == "eventHandlers"


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
