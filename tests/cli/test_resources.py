"""`hubwire resource`, and `--resource` of other commands, against a stand-in on a control socket."""

import json
import time
from typing import Any

import jwt
import pytest

from cli.conftest import Run
from cli.standin import StandIn

SUBSCRIPTION = "/subscriptions/9a3d108d-153b-486b-ac7c-16d420807f2e"
LIST = f"{SUBSCRIPTION}/providers/Microsoft.SignalRService/webPubSub"
WPS = f"{SUBSCRIPTION}/resourceGroups/my(group)/providers/Microsoft.SignalRService/WebPubSub/wps"
PATH = WPS.replace("(", "%28").replace(")", "%29")
KEYS = {
    "primaryKey": "p" * 32,
    "secondaryKey": "s" * 32,
    "primaryConnectionString": f"Endpoint=http://localhost:8081;AccessKey={'p' * 32};Version=1.0;",
    "secondaryConnectionString": "Endpoint=http://localhost:8081;AccessKey=ss;Version=1.0;",
}
CHAT = {
    "id": f"{WPS}/hubs/chat",
    "name": "chat",
    "properties": {
        "anonymousConnectPolicy": "allow",
        "webSocketKeepAliveIntervalInSeconds": 30,
        "eventHandlers": [{"urlTemplate": "http://localhost/{event}", "systemEvents": ["connect"]}],
    },
}


def resource(name: str = "wps", **properties: Any) -> dict[str, Any]:
    """As the resource manager shows one."""
    return {
        "id": WPS,
        "name": name,
        "location": "local",
        "tags": {"team": "a"},
        "sku": {"name": "Standard_S1", "capacity": 2},
        "properties": {"hostName": "localhost", "publicPort": 8081, "provisioningState": "Succeeded", **properties},
    }


@pytest.fixture
def manager(server: StandIn) -> StandIn:
    """A server with one resource."""
    server.on("GET", "/control/status", 200, {"subscriptionId": SUBSCRIPTION.rpartition("/")[2]})
    server.on("GET", LIST, 200, {"value": [resource()]})
    return server


def sent(server: StandIn, method: str) -> list[tuple[str, object]]:
    """Paths and bodies of the requests of a method."""
    return [
        (asked.path.partition("?")[0], asked.document() if asked.body else None)
        for asked in server.asked
        if asked.method == method
    ]


def test_list_shows_a_line_for_each_resource(run: Run, manager: StandIn) -> None:
    """As text, and the bare list as JSON."""
    stopped = resource("other", resourceStopped="true")
    manager.on("GET", LIST, 200, {"value": [resource(), stopped]})

    assert run("resource", "list").stdout.splitlines() == [
        "wps    Standard_S1 x 2  localhost:8081  my(group)",
        "other  Standard_S1 x 2  localhost:8081  my(group)  stopped",
    ]
    assert json.loads(run("resource", "list", "--json").stdout) == [resource(), stopped]


def test_list_of_a_group_asks_for_that(run: Run, manager: StandIn) -> None:
    path = f"{SUBSCRIPTION}/resourceGroups/a%20b/providers/Microsoft.SignalRService/webPubSub"
    manager.on("GET", path, 200, {"value": []})

    assert run("resource", "list", "--group", "a b").output == ""


def test_show_finds_a_resource_in_any_letter_case(run: Run, manager: StandIn) -> None:
    """And leaves out what says nothing here."""
    lines = run("resource", "show", "WPS").stdout.splitlines()

    assert "properties.publicPort  8081" in lines
    assert not any("provisioningState" in line for line in lines)
    assert json.loads(run("resource", "show", "wps", "--json").stdout) == resource()


@pytest.mark.parametrize(
    "arguments",
    [
        ["resource", "show", "nobody"],
        ["resource", "set", "nobody", "--stopped"],
        ["resource", "delete", "nobody"],
        ["resource", "keys", "nobody"],
        ["resource", "rotate", "nobody", "salt"],
        ["resource", "restart", "nobody"],
        ["keys", "show", "--resource", "nobody"],
        ["hub", "list", "--resource", "nobody"],
    ],
)
def test_resource_that_is_not_there_is_told_with_those_that_are(
    run: Run, manager: StandIn, arguments: list[str]
) -> None:
    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "hubwire: there is no resource nobody; there are: wps\n"


def test_create_makes_one_and_says_how_to_get_its_keys(run: Run, manager: StandIn) -> None:
    """With a region, which the service demands; what does not act is told."""
    path = f"{SUBSCRIPTION}/resourceGroups/hubwire/providers/Microsoft.SignalRService/webPubSub/new"
    manager.on("PUT", path, 201, resource("new"), warnings=["it is kept"])

    result = run("resource", "create", "new", "--sku", "premium_p1", "--stopped")

    assert result.exit_code == 0
    assert sent(manager, "PUT") == [
        (path, {"location": "local", "sku": {"name": "Premium_P1"}, "properties": {"resourceStopped": "true"}})
    ]
    assert result.stderr == ("hubwire: it is kept\nhubwire: its connection string: hubwire resource keys new\n")


def test_create_does_not_replace_one(run: Run, manager: StandIn) -> None:
    """A PUT would."""
    result = run("resource", "create", "Wps")

    assert result.exit_code == 1
    assert result.stderr == "hubwire: there is a resource Wps already; to change it: hubwire resource set Wps\n"
    assert sent(manager, "PUT") == []


def test_set_changes_only_what_is_named(run: Run, manager: StandIn) -> None:
    """Parts that the service replaces as a whole are sent as a whole."""
    manager.on("PATCH", PATH, 200, resource())

    assert run("resource", "set", "wps", "--tag", "stage=test", "--capacity", "3", "--no-local-auth").exit_code == 0
    assert sent(manager, "PATCH") == [
        (
            PATH,
            {
                "sku": {"name": "Standard_S1", "capacity": 3},
                "tags": {"team": "a", "stage": "test"},
                "properties": {"disableLocalAuth": True},
            },
        )
    ]


def test_set_without_anything_to_set_is_a_mistake(run: Run, manager: StandIn) -> None:
    assert run("resource", "set", "wps").exit_code == 2


def test_refusal_is_passed_on(run: Run, manager: StandIn) -> None:
    error = {"code": "InvalidParameter", "message": "sku.capacity must be 1", "target": "sku.capacity"}
    manager.on("PATCH", PATH, 400, {"error": error})

    assert run("resource", "set", "wps", "--sku", "Free_F1").stderr == "hubwire: sku.capacity must be 1\n"


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body"),
    [
        (["delete", "wps"], "DELETE", PATH, None),
        (["restart", "wps"], "POST", f"{PATH}/restart", None),
        (["restart", "wps", "--group", "my(group)"], "POST", f"{PATH}/restart", None),
    ],
)
def test_what_has_no_answer_says_nothing(
    run: Run, manager: StandIn, arguments: list[str], method: str, path: str, body: object
) -> None:
    group = f"{SUBSCRIPTION}/resourceGroups/my%28group%29/providers/Microsoft.SignalRService/webPubSub"
    manager.on("GET", group, 200, {"value": [resource()]})
    manager.on(method, path, 200)

    result = run("resource", *arguments)

    assert (result.exit_code, result.output) == (0, "")
    assert sent(manager, method) == [(path, body)]


@pytest.mark.parametrize("command", [["resource", "keys", "wps"], ["keys", "show", "--resource", "wps"]])
def test_keys_are_shown_with_connection_strings(run: Run, manager: StandIn, command: list[str]) -> None:
    manager.on("POST", f"{PATH}/listKeys", 200, KEYS)

    assert all(value in run(*command).stdout for value in KEYS.values())
    assert json.loads(run(*command, "--json").stdout) == KEYS


@pytest.mark.parametrize("kind", ["primary", "secondary", "salt"])
@pytest.mark.parametrize("resource_first", [True, False])
def test_each_key_can_be_replaced(run: Run, manager: StandIn, kind: str, resource_first: bool) -> None:
    """The salt too, although nobody sees it."""
    manager.on("POST", f"{PATH}/regenerateKey", 200, KEYS)
    command = ["resource", "rotate", "wps", kind] if resource_first else ["keys", "rotate", kind, "--resource", "wps"]

    assert json.loads(run(*command, "--json").stdout) == KEYS
    assert sent(manager, "POST") == [(f"{PATH}/regenerateKey", {"keyType": kind})]


def test_salt_of_the_first_resource_can_be_replaced(run: Run, server: StandIn) -> None:
    server.on("POST", "/control/keys/:rotate", 200, KEYS)

    assert run("keys", "rotate", "salt").exit_code == 0
    assert sent(server, "POST") == [("/control/keys/:rotate", {"keyType": "salt"})]


@pytest.mark.parametrize(
    ("options", "url", "claims"),
    [
        ([], "ws://localhost:8081/client/hubs/chat", {}),
        (["--mqtt"], "ws://localhost:8081/clients/mqtt/hubs/chat", {}),
        (
            ["--mqtt", "--user", "u", "--group", "a/b"],
            "ws://localhost:8081/clients/mqtt/hubs/chat",
            {"sub": "u", "webpubsub.group": ["a/b"]},
        ),
        (
            ["--user", "u", "--role", "webpubsub.sendToGroup", "--group", "a", "--group", "b"],
            "ws://localhost:8081/client/hubs/chat",
            {"sub": "u", "role": ["webpubsub.sendToGroup"], "webpubsub.group": ["a", "b"]},
        ),
    ],
)
def test_url_of_a_resource_is_signed_with_its_key(
    run: Run, manager: StandIn, options: list[str], url: str, claims: dict[str, Any]
) -> None:
    """For where that resource listens."""
    manager.on("POST", f"{PATH}/listKeys", 200, KEYS)

    result = run("url", "--hub", "chat", "--resource", "wps", *options)
    base, _, token = result.stdout.strip().partition("?access_token=")

    assert (base, result.stderr) == (url, "")
    audience = f"http{url.removeprefix('ws')}"
    found = jwt.decode(token, "p" * 32, algorithms=["HS256"], audience=audience)
    assert 3500 < found.pop("exp") - time.time() < 3700
    assert found == {"aud": audience, **claims}


def test_url_of_a_resource_without_access_keys_cannot_be_made(run: Run, manager: StandIn) -> None:
    manager.on("GET", LIST, 200, {"value": [resource(disableLocalAuth=True)]})

    result = run("url", "--hub", "chat", "--resource", "wps")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "wps takes no tokens of access keys" in result.stderr
    assert run("url", "--hub", "-", "--resource", "wps").exit_code == 2


# Hubs of a resource.


def test_hubs_of_a_resource_are_shown(run: Run, manager: StandIn) -> None:
    manager.on("GET", f"{PATH}/hubs", 200, {"value": [CHAT]})
    manager.on("GET", f"{PATH}/hubs/chat", 200, CHAT)
    manager.on("GET", "/control/handlers/wps/chat", 200, {"value": [{"state": "it takes events"}]})

    listed = run("hub", "list", "--resource", "wps").stdout
    shown = run("hub", "show", "chat", "--resource", "wps").stdout

    assert listed == "chat  anonymous allow  keep alive 30 s  handler http://localhost/{event} (connect)\n"
    assert shown.splitlines()[-2:] == ["handler     http://localhost/{event} (connect)", "            it takes events"]


def test_hub_of_a_resource_keeps_what_is_not_named(run: Run, manager: StandIn) -> None:
    """Although the resource manager replaces it as a whole."""
    manager.on("GET", f"{PATH}/hubs/chat", 200, CHAT)
    manager.on("PUT", f"{PATH}/hubs/chat", 200, CHAT)
    manager.on("GET", f"{PATH}/hubs/new", 404, {"error": {"code": "ResourceNotFound", "message": "no"}})
    manager.on("PUT", f"{PATH}/hubs/new", 201, CHAT)

    run("hub", "set", "chat", "--keep-alive", "5", "--resource", "wps")
    run("hub", "set", "new", "--keep-alive", "5", "--resource", "wps")

    old = CHAT["properties"]
    assert isinstance(old, dict)
    assert sent(manager, "PUT") == [
        (f"{PATH}/hubs/chat", {"properties": {**old, "webSocketKeepAliveIntervalInSeconds": 5}}),
        (f"{PATH}/hubs/new", {"properties": {"webSocketKeepAliveIntervalInSeconds": 5}}),
    ]


def test_hub_that_cannot_be_read_is_not_replaced(run: Run, manager: StandIn) -> None:
    manager.on("GET", f"{PATH}/hubs/chat", 503, {"error": {"code": "ServiceUnavailable", "message": "busy"}})

    assert run("hub", "set", "chat", "--keep-alive", "5", "--resource", "wps").stderr == "hubwire: busy\n"
    assert sent(manager, "PUT") == []


def test_hub_of_a_resource_is_deleted_once(run: Run, manager: StandIn) -> None:
    """The resource manager answers 204 when there is nothing to delete."""
    manager.on("DELETE", f"{PATH}/hubs/chat", 200)
    manager.on("DELETE", f"{PATH}/hubs/other", 204)

    assert run("hub", "delete", "chat", "--resource", "wps").output == ""
    result = run("hub", "delete", "other", "--resource", "wps")
    assert (result.exit_code, result.stderr) == (1, "hubwire: nobody configured a hub other; it has the defaults\n")


def test_server_that_tells_no_subscription_is_of_another_version(run: Run, server: StandIn) -> None:
    server.on("GET", "/control/status", 200, {})

    assert "holds no subscription" in run("resource", "list").stderr


@pytest.mark.parametrize("arguments", [["show", " "], ["create", ""], ["list", "--group", ""]])
def test_name_of_nothing_is_a_mistake(run: Run, manager: StandIn, arguments: list[str]) -> None:
    """It would be another path."""
    assert run("resource", *arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["show", "a"], ["create", "a"], ["set", "a", "--stopped"], ["delete", "a"], ["keys", "a"]],
)
def test_without_a_server_each_command_says_how_to_start_one(run: Run, arguments: list[str]) -> None:
    result = run("resource", *arguments, "--data", "other")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "hubwire serve --data other" in result.stderr
