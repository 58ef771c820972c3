"""Event handlers and listeners as they are saved: syntax is checked, reachability is not."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.model.errors import BadRequest
from hubwire.resources.handler_properties import event_handlers, event_listeners, unknown_names

SECRET = "{@Microsoft.KeyVault(SecretUri=https://vault.localhost:8443/secrets/code/1)}"
LISTENER: dict[str, Any] = {
    "filter": {"type": "EventName", "systemEvents": ["connected", "disconnected"], "userEventPattern": "*"},
    "endpoint": {"type": "EventHub", "fullyQualifiedNamespace": "a.servicebus.windows.net", "eventHubName": "b"},
}


def kept(**handler: Any) -> dict[str, Any]:
    (found,) = event_handlers("eventHandlers", [{"urlTemplate": "http://h", **handler}])
    assert isinstance(found, dict)
    return found


def refused(handler: object) -> BadRequest:
    with pytest.raises(BadRequest) as failed:
        event_handlers("eventHandlers", [handler])
    assert (failed.value.target or "").startswith("eventHandlers[0]")
    return failed.value


@pytest.mark.parametrize(
    "template",
    [
        "http://localhost:7071/runtime/webhooks/webpubsub",
        "HTTPS://Example.com",
        "https://example.com/{hub}/{event}",
        "https://example.com/{HUB}/{Event}?x={hub}",
        "https://example.com/a%7Bb%7D",
        "https://example.com?code=" + SECRET,
        "https://example.com/" + SECRET + "/" + SECRET.upper() + "/{event}",
        "http://[::1]:8080/x",
        "http://127.0.0.1:8080",
        "http://under_score.local/",
        "tunnel:///eventhandler",
        "tunnel:///{hub}/{event}?x=1",
        "https://example.com?code={ @microsoft.keyvault( SecretUri = https://v.vault.azure.net/secrets/code/ ) }",
        SECRET,
    ],
)
def test_url_template_is_kept_as_it_is(template: str) -> None:
    assert kept(urlTemplate=template)["urlTemplate"] == template


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("", "must be a string that is not empty"),
        (" ", "must be a string that is not empty"),
        (7, "must be a string that is not empty"),
        ("https://example.com/{hub", "brace that belongs to no placeholder"),
        ("https://example.com/hub}", "brace that belongs to no placeholder"),
        ("https://example.com/{{hub}}", "brace that belongs to no placeholder"),
        ("https://example.com/{}", "placeholders {hub}, {event} and Key Vault references"),
        ("https://example.com/{user}", "placeholders {hub}, {event} and Key Vault references"),
        ("https://example.com/{ hub }", "placeholders {hub}, {event} and Key Vault references"),
        ("{hub}", "must be a URL"),
        ("example.com/x", "must be a URL"),
        ("/x", "must be a URL"),
        ("ftp://example.com", "must be a URL"),
        ("ws://example.com", "must be a URL"),
        ("https://example.com/#there", "must be a URL"),
        (" https://example.com", "must be a URL"),
        (SECRET + "/x", "must be a URL"),
        ("https://{hub}.example.com/", "no placeholder in its host"),
        ("https://{hub}", "no placeholder in its host"),
        ("https://example.com:{event}/", "no placeholder in its host"),
        (f"https://{SECRET}/x", "in its host"),
        ("https:///x", "must name a host"),
        ("https://", "must name a host"),
        ("https://user:password@example.com/", "must name a host"),
        ("https://exa mple.com/", "must name a host"),
        ("https://example.com:port/", "must name a host"),
        ("https://example.com:65536/", "must have a port of 1 to 65535"),
        ("https://example.com:0/", "must have a port of 1 to 65535"),
        ("tunnel://host/x", "tunnel:///path"),
        ("tunnel://{hub}/x", "no placeholder in its host"),
        ("https://h/{@Microsoft.KeyVault(VaultName=v;SecretName=s)}", "not of the form {@Microsoft.KeyVault("),
        ("https://h/{@Microsoft.KeyVault(SecretUri=https://v/keys/k)}", "not of the form https://VAULT/secrets/NAME"),
        ("https://h/?code=@Microsoft.KeyVault(SecretUri=https://v/secrets/n)", "has a reference outside of braces"),
        ("https://h/%7B@microsoft.keyvault(SecretUri=https://v/secrets/n)%7D", "has a reference outside of braces"),
        ("https://h/{@}", "not of the form {@Microsoft.KeyVault("),
        (f"https://h/{{{SECRET}}}", "brace that belongs to no placeholder"),
    ],
)
def test_url_template_that_leads_nowhere_is_refused(template: object, why: str) -> None:
    error = refused({"urlTemplate": template})

    assert error.target == "eventHandlers[0].urlTemplate"
    assert why in error.message


@pytest.mark.parametrize("handler", [{}, {"urlTemplate": None}, {"systemEvents": ["connect"]}])
def test_url_template_is_required(handler: dict[str, Any]) -> None:
    assert refused(handler).message == "eventHandlers[0].urlTemplate is required."


@pytest.mark.parametrize(
    "pattern", ["*", "", " ", "chat", "a,b", "a, b ,c", "*,x", "a.b-c_d", "connect", "room.*", "**", "a?c,*.x"]
)
def test_pattern_of_user_events_is_a_star_or_names(pattern: str) -> None:
    assert kept(userEventPattern=pattern)["userEventPattern"] == pattern


@pytest.mark.parametrize("pattern", ["a b", "a,,b", "a,", ",", "1*", "a\\b", "a*b*c*d*e*f*", 1, ["a"], True, "a\nb"])
def test_other_patterns_are_refused(pattern: object) -> None:
    assert refused({"urlTemplate": "http://h", "userEventPattern": pattern}).target == (
        "eventHandlers[0].userEventPattern"
    )


def test_system_events_are_known_ones_in_any_letter_case() -> None:
    found = kept(SYSTEMEVENTS=["Connect", "connected", "DISCONNECTED", "connect"])

    assert found["systemEvents"] == ["connect", "connected", "disconnected"]
    assert (
        refused({"urlTemplate": "http://h", "systemEvents": ["message"]}).target == "eventHandlers[0].systemEvents[0]"
    )


@pytest.mark.parametrize(
    "auth", [{"type": "none"}, {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://x"}}]
)
def test_auth_is_none_or_a_managed_identity(auth: dict[str, Any]) -> None:
    found = kept(auth=auth)["auth"]

    assert found["type"] in ("None", "ManagedIdentity")
    assert found.get("managedIdentity") == auth.get("managedIdentity")


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "ManagedIdentity"},
        {"type": "managedidentity", "managedIdentity": None},
        {"type": "ManagedIdentity", "managedIdentity": {}},
        {"type": "ManagedIdentity", "managedIdentity": {"resource": None}},
        {"type": "ManagedIdentity", "managedIdentity": {"resource": ""}},
        {"type": "ManagedIdentity", "managedIdentity": {"resource": " "}},
        {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://a b"}},
        {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://a\n"}},
        {"type": "ManagedIdentity", "managedIdentity": {"resource": 7}},
    ],
)
def test_token_for_nobody_is_refused(auth: object) -> None:
    """The service would send one for Microsoft Graph, which no handler can prove."""
    with pytest.raises(BadRequest) as failed:
        event_handlers("eventHandlers", [{"urlTemplate": "https://example.org", "auth": auth}])

    assert failed.value.target == "eventHandlers[0].auth.managedIdentity.resource"


@pytest.mark.parametrize("auth", ["None", [], {"type": "Basic"}, {"managedIdentity": {"resource": ""}}])
def test_other_auth_is_refused(auth: object) -> None:
    assert (refused({"urlTemplate": "http://h", "auth": auth}).target or "").startswith("eventHandlers[0].auth")


def test_presence_events_of_groups_are_kept() -> None:
    presence = {"eventNames": ["Joined", "left"], "groupFilters": ["a*"]}

    assert kept(groupPresenceEvents=presence)["groupPresenceEvents"] == {**presence, "eventNames": ["joined", "left"]}
    error = refused({"urlTemplate": "http://h", "groupPresenceEvents": {"eventNames": ["x"]}})
    assert error.target == "eventHandlers[0].groupPresenceEvents.eventNames[0]"


def test_what_is_not_known_of_a_handler_is_kept() -> None:
    assert kept(x={"y": None})["x"] == {"y": None}


def test_what_is_not_known_of_handlers_and_listeners_is_named_where_it_stands() -> None:
    """A misspelled `systemEvents` lets clients in unasked: whoever wrote it has to hear of it."""
    auth = {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://x", "tenant": "t"}, "scheme": "x"}
    presence = {"eventNames": ["joined"], "groupFilter": ["a"]}
    handlers: list[dict[str, Any]] = [
        {"urlTemplate": "http://h", "systemEvnts": ["connect"], "userEventPatern": None},
        {"URLTEMPLATE": "http://h", "Auth": auth, "groupPresenceEvents": presence, "more": {"auth": {"x": 1}}},
    ]
    listener = {
        "name": {"any": "thing"},
        "filter": {**LISTENER["filter"], "x": 1},
        "endpoint": {**LISTENER["endpoint"], "y": 1},
        "z": 1,
    }

    found = unknown_names(
        {
            "eventHandlers": event_handlers("eventHandlers", handlers),
            "eventListeners": event_listeners("eventListeners", [listener]),
        }
    )

    assert found == [
        "eventHandlers[0].systemEvnts",
        "eventHandlers[0].userEventPatern",
        "eventHandlers[1].auth.managedIdentity.tenant",
        "eventHandlers[1].auth.scheme",
        "eventHandlers[1].groupPresenceEvents.groupFilter",
        "eventHandlers[1].more",
        "eventListeners[0].filter.x",
        "eventListeners[0].endpoint.y",
        "eventListeners[0].z",
    ]


def test_what_is_known_of_handlers_and_listeners_is_not_named() -> None:
    handler = {
        "urlTemplate": "http://h",
        "SYSTEMEVENTS": ["connect"],
        "userEventPattern": "*",
        "auth": {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://x"}},
        "groupPresenceEvents": {"eventNames": ["joined"], "groupFilters": ["a"]},
    }
    handlers = event_handlers("eventHandlers", [handler])

    assert unknown_names({"eventHandlers": handlers, "eventListeners": [{"name": "n", **LISTENER}]}) == []


def test_handlers_stay_in_their_order_and_are_a_hundred_at_most() -> None:
    handlers = [{"urlTemplate": f"http://h{number}"} for number in range(100)]

    assert event_handlers("eventHandlers", handlers) == handlers
    with pytest.raises(BadRequest, match="eventHandlers may have 100 items"):
        event_handlers("eventHandlers", [*handlers, handlers[0]])


def test_listener_is_kept() -> None:
    assert event_listeners("eventListeners", [{"name": "one", **LISTENER}]) == [{"name": "one", **LISTENER}]


@pytest.mark.parametrize(
    ("part", "value", "target"),
    [
        ("filter", None, "filter"),
        ("endpoint", None, "endpoint"),
        ("filter", {}, "filter.type"),
        ("filter", {"type": "Other"}, "filter.type"),
        ("filter", {"type": "EventName", "systemEvents": ["connect"]}, "filter.systemEvents[0]"),
        ("filter", {"type": "EventName", "userEventPattern": "a*"}, "filter.userEventPattern"),
        ("endpoint", {}, "endpoint.type"),
        ("endpoint", {"type": "EventHub", "eventHubName": "b"}, "endpoint.fullyQualifiedNamespace"),
        ("endpoint", {"type": "EventHub", "fullyQualifiedNamespace": "a"}, "endpoint.eventHubName"),
    ],
)
def test_listener_that_cannot_be_is_named(part: str, value: object, target: str) -> None:
    with pytest.raises(BadRequest) as failed:
        event_listeners("eventListeners", [{**LISTENER, part: value}])

    assert failed.value.target == f"eventListeners[0].{target}"


def test_listeners_are_ten_at_most() -> None:
    assert len(event_listeners("eventListeners", [LISTENER] * 10)) == 10
    with pytest.raises(BadRequest, match="eventListeners may have 10 items"):
        event_listeners("eventListeners", [LISTENER] * 11)


@given(template=st.text(st.sampled_from("{}@:/?#hub[]x. ,*\n"), max_size=12) | st.text(max_size=12))
def test_any_text_is_taken_or_refused(template: str) -> None:
    for check in (event_handlers, event_listeners):
        for value in (template, [template], [{"urlTemplate": f"http://h/{template}", "userEventPattern": template}]):
            with suppress(BadRequest):
                check("x", value)
