"""`hubwire managed-identity`, and `--identity` of resources, against a stand-in on a control socket."""

import json
from typing import Any

import pytest

from cli.conftest import Run
from cli.standin import StandIn

SUBSCRIPTION = "/subscriptions/9a3d108d-153b-486b-ac7c-16d420807f2e"
IDENTITIES = "/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
HOME = f"{SUBSCRIPTION}/resourceGroups/hubwire{IDENTITIES}"
ROBOT = f"{HOME}/robot"


def identity(name: str = "robot", group: str = "hubwire") -> dict[str, Any]:
    """As the resource manager shows one."""
    return {
        "id": f"{SUBSCRIPTION}/resourcegroups/{group}{IDENTITIES}/{name}",
        "name": name,
        "location": "local",
        "tags": {"team": "a"},
        "properties": {"clientId": f"{name}-client", "principalId": f"{name}-principal", "tenantId": "tenant"},
    }


@pytest.fixture
def manager(server: StandIn) -> StandIn:
    """A server with two identities."""
    server.on("GET", "/control/status", 200, {"subscriptionId": SUBSCRIPTION.rpartition("/")[2]})
    server.on("GET", SUBSCRIPTION + IDENTITIES, 200, {"value": [identity(), identity("other-one", "g")]})
    server.on("GET", HOME, 200, {"value": [identity()]})
    return server


def sent(server: StandIn, method: str) -> list[tuple[str, object]]:
    """Paths and bodies of the requests of a method."""
    return [
        (asked.path.partition("?")[0], asked.document() if asked.body else None)
        for asked in server.asked
        if asked.method == method
    ]


def test_identity_is_made_with_what_it_was_given(run: Run, manager: StandIn) -> None:
    manager.on("PUT", f"{SUBSCRIPTION}/resourceGroups/g%20h{IDENTITIES}/new", 201, identity("new"))
    manager.on("GET", f"{SUBSCRIPTION}/resourceGroups/g%20h{IDENTITIES}", 200, {"value": []})

    done = run("managed-identity", "create", "new", "--group", "g h", "--location", "eastus", "--tag", "a=b")

    assert sent(manager, "PUT") == [
        (f"{SUBSCRIPTION}/resourceGroups/g%20h{IDENTITIES}/new", {"location": "eastus", "tags": {"a": "b"}})
    ]
    assert "client id     new-client" in done.stdout.splitlines()
    assert "principal id  new-principal" in done.stdout.splitlines()
    assert "resource set default --identity new" in done.stderr


def test_identity_is_made_in_the_first_group_and_shown_as_json(run: Run, manager: StandIn) -> None:
    manager.on("PUT", f"{HOME}/new", 201, identity("new"))

    done = run("managed-identity", "create", "new", "--json")

    assert sent(manager, "PUT") == [(f"{HOME}/new", {"location": "local", "tags": {}})]
    assert json.loads(done.stdout) == identity("new")
    assert done.stderr == ""


def test_identity_that_is_there_is_not_made_again(run: Run, manager: StandIn) -> None:
    done = run("managed-identity", "create", "ROBOT")

    assert (done.exit_code, sent(manager, "PUT")) == (1, [])
    assert "there is an identity ROBOT already in the resource group hubwire" in done.stderr


def test_identities_are_listed_a_line_each(run: Run, manager: StandIn) -> None:
    assert run("managed-identity", "list").stdout.splitlines() == [
        "robot      robot-client  robot-principal  hubwire",
        "other-one  other-one-client  other-one-principal  g",
    ]
    assert json.loads(run("managed-identity", "list", "--group", "hubwire", "--json").stdout) == [identity()]


def test_no_identities_are_no_lines(run: Run, manager: StandIn) -> None:
    manager.on("GET", SUBSCRIPTION + IDENTITIES, 200, {"value": []})

    assert run("managed-identity", "list").output == ""


@pytest.mark.parametrize("name", ["robot", "ROBOT", identity()["id"], identity()["id"].upper()])
def test_identity_is_shown_with_those_who_have_it(run: Run, manager: StandIn, name: str) -> None:
    path = f"{identity()['id']}/listAssociatedResources"
    manager.on("POST", path, 200, {"totalCount": 2, "value": [{"name": "wps-one"}, {"name": "wps-two"}]})

    assert run("managed-identity", "show", name).stdout.splitlines() == [
        "name          robot",
        "client id     robot-client",
        "principal id  robot-principal",
        "tenant id     tenant",
        "location      local",
        "tags.team     a",
        "used by       wps-one, wps-two",
        f"resource id   {identity()['id']}",
    ]
    assert json.loads(run("managed-identity", "show", name, "--json").stdout) == {
        **identity(),
        "usedBy": ["wps-one", "wps-two"],
    }


def test_identity_is_deleted(run: Run, manager: StandIn) -> None:
    manager.on("DELETE", identity()["id"], 200)

    assert run("managed-identity", "delete", "robot").exit_code == 0

    assert sent(manager, "DELETE") == [(identity()["id"], None)]


def test_identity_in_use_is_said_by_the_server(run: Run, manager: StandIn) -> None:
    error = {"code": "IdentityInUse", "message": "The identity robot is used by wps."}
    manager.on("DELETE", identity()["id"], 409, {"error": error})

    done = run("managed-identity", "delete", "robot")

    assert done.exit_code == 1
    assert "The identity robot is used by wps." in done.stderr


@pytest.mark.parametrize("command", ["show", "delete"])
def test_identity_that_is_not_there_is_told_with_those_that_are(run: Run, manager: StandIn, command: str) -> None:
    done = run("managed-identity", command, "nobody")

    assert done.exit_code == 1
    assert "there is no identity nobody; there are: robot, other-one" in done.stderr


def test_identity_of_a_name_in_two_groups_is_named_by_its_group(run: Run, manager: StandIn) -> None:
    both = [identity(), identity("robot", "g")]
    manager.on("GET", SUBSCRIPTION + IDENTITIES, 200, {"value": both})
    manager.on("DELETE", identity()["id"], 200)

    assert "in several resource groups: hubwire, g" in run("managed-identity", "delete", "robot").stderr
    assert sent(manager, "DELETE") == []
    assert run("managed-identity", "delete", "robot", "--group", "hubwire").exit_code == 0


# Of resources


WPS = f"{SUBSCRIPTION}/resourceGroups/hubwire/providers/Microsoft.SignalRService/webPubSub"
RESOURCE: dict[str, Any] = {
    "id": f"{WPS}/wps",
    "name": "wps",
    "sku": {"name": "Standard_S1", "capacity": 1},
    "properties": {},
}


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("none", {"type": "None"}),
        ("SYSTEM", {"type": "SystemAssigned"}),
        ("robot", {"type": "UserAssigned", "userAssignedIdentities": {identity()["id"]: {}}}),
        ("/some/id", {"type": "UserAssigned", "userAssignedIdentities": {"/some/id": {}}}),
    ],
)
def test_resource_is_given_an_identity_by_its_name(run: Run, manager: StandIn, which: str, expected: object) -> None:
    manager.on("GET", f"{SUBSCRIPTION}/providers/Microsoft.SignalRService/webPubSub", 200, {"value": [RESOURCE]})
    manager.on("PATCH", f"{WPS}/wps", 200, RESOURCE)
    manager.on("PUT", f"{WPS}/new", 201, RESOURCE)

    assert run("resource", "set", "wps", "--identity", which).exit_code == 0
    assert run("resource", "create", "new", "--identity", which).exit_code == 0

    assert sent(manager, "PATCH") == [(f"{WPS}/wps", {"identity": expected})]
    assert sent(manager, "PUT") == [(f"{WPS}/new", {"location": "local", "identity": expected})]


@pytest.mark.parametrize("arguments", [["set", "wps"], ["create", "new"]])
def test_empty_identity_is_told_what_it_may_be(run: Run, manager: StandIn, arguments: list[str]) -> None:
    """A variable of a shell may be empty."""
    manager.on("GET", f"{SUBSCRIPTION}/providers/Microsoft.SignalRService/webPubSub", 200, {"value": [RESOURCE]})

    done = run("resource", *arguments, "--identity", " ")

    assert done.exit_code == 2
    assert "--identity wants none, system, or the name or resource id of a user-assigned identity" in done.stderr
    assert sent(manager, "PATCH") == sent(manager, "PUT") == []


def test_resource_is_given_no_identity_that_is_not_there(run: Run, manager: StandIn) -> None:
    manager.on("GET", f"{SUBSCRIPTION}/providers/Microsoft.SignalRService/webPubSub", 200, {"value": [RESOURCE]})

    done = run("resource", "set", "wps", "--identity", "nobody")

    assert (done.exit_code, sent(manager, "PATCH")) == (1, [])
    assert "there is no identity nobody" in done.stderr
