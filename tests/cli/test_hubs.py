"""Event handlers by `hubwire hub set`, against a stand-in on a control socket. The rest is in `test_operator`."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Run
from cli.standin import StandIn

URL = "http://localhost:7071/api/{event}"


@pytest.fixture
def hub(server: StandIn) -> StandIn:
    """A server with a hub."""
    properties = {"anonymousConnectPolicy": "deny", "webSocketKeepAliveIntervalInSeconds": 20}
    handlers = [
        {"urlTemplate": URL, "systemEvents": ["connect"], "userEventPattern": "a,b"},
        {"urlTemplate": "x", "auth": {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://x"}}},
        {"urlTemplate": "y", "groupPresenceEvents": {"eventNames": ["joined", "left"]}},
        {"urlTemplate": "z", "groupPresenceEvents": {"eventNames": ["left"], "groupFilters": ["a*", "b"]}},
    ]
    server.on("PATCH", "/control/hubs/chat", 200, {"name": "chat", "properties": properties})
    server.on(
        "GET", "/control/hubs/chat", 200, {"name": "chat", "properties": {**properties, "eventHandlers": handlers}}
    )
    return server


@pytest.mark.parametrize(
    ("options", "handlers"),
    [
        (["--handler", URL], [{"urlTemplate": URL}]),
        (
            ["--handler", URL, "--events", "connect, connected", "--user-events", "*", "--handler-auth", "api://x"],
            [
                {
                    "urlTemplate": URL,
                    "systemEvents": ["connect", "connected"],
                    "userEventPattern": "*",
                    "auth": {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://x"}},
                }
            ],
        ),
        (
            ["--handler", URL, "--presence", "joined,left"],
            [{"urlTemplate": URL, "groupPresenceEvents": {"eventNames": ["joined", "left"]}}],
        ),
        (
            ["--handler", URL, "--presence", "left", "--presence-groups", "a*, b"],
            [{"urlTemplate": URL, "groupPresenceEvents": {"eventNames": ["left"], "groupFilters": ["a*", "b"]}}],
        ),
        (["--no-handlers"], []),
        (["--handlers", "list.json"], [{"urlTemplate": "http://a"}]),
        (["--handlers", "hub.json"], [{"urlTemplate": "http://b"}]),
    ],
)
def test_handlers_take_the_place_of_all_others(run: Run, hub: StandIn, options: list[str], handlers: list[Any]) -> None:
    """One in a few options, or all in a file."""
    Path("list.json").write_text('[{urlTemplate: "http://a"}] // all')
    Path("hub.json").write_text('{"eventHandlers": [{"urlTemplate": "http://b"}]}')

    assert run("hub", "set", "chat", *options).exit_code == 0
    assert hub.asked[-1].document() == {"properties": {"eventHandlers": handlers}}


def test_what_the_server_warns_of_is_told(run: Run, hub: StandIn) -> None:
    """Such as of what does not act."""
    document = {
        "name": "chat",
        "properties": {"anonymousConnectPolicy": "deny", "webSocketKeepAliveIntervalInSeconds": 20},
    }
    hub.on("PATCH", "/control/hubs/chat", 200, document, warnings=["it is kept"])

    assert run("hub", "set", "chat", "--no-handlers").stderr == "hubwire: it is kept\n"


def test_hub_without_a_name_is_a_mistake(run: Run, hub: StandIn) -> None:
    assert run("hub", "show", "").exit_code == 2


@pytest.mark.parametrize(
    ("options", "exit_code", "words"),
    [
        (["--handler", URL, "--no-handlers"], 2, "only one of"),
        (["--handlers", "a.json", "--handler", URL], 2, "only one of"),
        (["--events", "connect"], 2, "go with --handler"),
        (["--no-handlers", "--user-events", "*"], 2, "go with --handler"),
        (["--handler", URL, "--events", "connect,left"], 2, "'left' is none of connect, connected, disconnected"),
        (["--handler", URL, "--events", "left"], 2, "joined and left are for --presence"),
        (["--handler", URL, "--presence", "connect"], 2, "'connect' is none of joined, left"),
        (["--presence", "left"], 2, "go with --handler"),
        (["--handler", URL, "--presence-groups", "a"], 2, "--presence-groups goes with --presence"),
        (["--identities", "default", "--no-identities"], 2, "only one of --identities and --no-identities"),
        (["--identity-scopes", "chat"], 2, "go with --identities"),
        (["--no-identities", "--identity-roles", "webpubsub.sendToGroup"], 2, "go with --identities"),
        (["--handlers", "missing.json"], 1, "missing.json: No such file"),
        (["--handlers", "bad.json"], 1, "bad.json(1,2): "),
        (["--handlers", "none.json"], 1, "none.json: event handlers are a list"),
    ],
)
def test_mistake_is_told_and_nothing_is_changed(
    run: Run, hub: StandIn, options: list[str], exit_code: int, words: str
) -> None:
    Path("bad.json").write_text("[,]")
    Path("none.json").write_text('{"eventHandlers": {}}')

    result = run("hub", "set", "chat", *options)

    assert result.exit_code == exit_code
    assert words in result.stderr
    assert hub.asked == []


def test_handlers_are_shown_with_their_events_and_how_they_are(run: Run, hub: StandIn) -> None:
    states = [{"state": "it takes events"}, {"state": "not asked yet"}]
    hub.on("GET", "/control/handlers/default/chat", 200, {"value": states})

    assert run("hub", "show", "chat").stdout.splitlines()[-6:] == [
        f"handler     {URL} (connect, user events a,b)",
        "            it takes events",
        "handler     x (no events, with a token for api://x)",
        "            not asked yet",
        "handler     y (joined, left)",
        "handler     z (left of groups a*,b)",
    ]


def test_states_of_handlers_are_in_the_json_too(run: Run, hub: StandIn) -> None:
    """Beside what is configured; of a hub without handlers there are none."""
    states = [{"state": "it takes events"}, {"state": "not asked yet"}]
    hub.on("GET", "/control/handlers/default/chat", 200, {"value": states})
    bare = {"name": "bare", "properties": {"anonymousConnectPolicy": "deny"}}
    hub.on("GET", "/control/hubs/bare", 200, bare)

    assert json.loads(run("hub", "show", "chat", "--json").stdout)["handlerStates"] == [
        "it takes events",
        "not asked yet",
    ]
    assert json.loads(run("hub", "show", "bare", "--json").stdout) == {**bare, "handlerStates": []}


@pytest.mark.parametrize(
    ("options", "login"),
    [
        (["--identities", "default"], {"service": "default"}),
        (
            ["--identities", "acs", "--identity-scopes", "chat, voip", "--identity-roles", "webpubsub.sendToGroup"],
            {"service": "acs", "scopes": ["chat", "voip"], "roles": ["webpubsub.sendToGroup"]},
        ),
        (["--no-identities"], None),
    ],
)
def test_login_of_communication_users_is_set_and_taken_away(
    run: Run, hub: StandIn, options: list[str], login: dict[str, Any] | None
) -> None:
    assert run("hub", "set", "chat", *options).exit_code == 0
    assert hub.asked[-1].document() == {"properties": {"communicationIdentity": login}}


def test_login_of_communication_users_is_shown(run: Run, hub: StandIn) -> None:
    login = {"service": "acs", "scopes": ["chat", "voip"], "roles": ["webpubsub.sendToGroup"]}
    properties = {"anonymousConnectPolicy": "deny", "webSocketKeepAliveIntervalInSeconds": 20}
    for name, wanted in (("some", login), ("plain", {**login, "roles": []})):
        document = {"name": name, "properties": {**properties, "communicationIdentity": wanted}}
        hub.on("GET", f"/control/hubs/{name}", 200, document)

    shown = "identities  acs (scopes chat, voip"
    assert f"{shown}, with the roles webpubsub.sendToGroup)" in run("hub", "show", "some").stdout.splitlines()
    assert f"{shown})" in run("hub", "show", "plain").stdout.splitlines()


@pytest.mark.parametrize(("option", "seconds"), [("3600", 3600), ("0", None)])
def test_time_of_reliable_clients_is_set_and_taken_away(
    run: Run, hub: StandIn, option: str, seconds: int | None
) -> None:
    assert run("hub", "set", "chat", "--reliable-retention", option).exit_code == 0
    assert hub.asked[-1].document() == {"properties": {"reliableRetentionInSeconds": seconds}}


def test_time_of_reliable_clients_is_shown(run: Run, hub: StandIn) -> None:
    properties = {"anonymousConnectPolicy": "deny", "webSocketKeepAliveIntervalInSeconds": 20}
    document = {"name": "some", "properties": {**properties, "reliableRetentionInSeconds": 60}}
    hub.on("GET", "/control/hubs/some", 200, document)

    assert (
        "reliable    clients may be away for 60 s, restarts included" in run("hub", "show", "some").stdout.splitlines()
    )
