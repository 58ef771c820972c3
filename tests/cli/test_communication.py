"""`hubwire communication`, against a stand-in on a control socket."""

from typing import Any

import pytest

from cli.conftest import Run
from cli.standin import StandIn

SUBSCRIPTION = "/subscriptions/9a3d108d-153b-486b-ac7c-16d420807f2e"
SERVICES = "/providers/Microsoft.Communication/communicationServices"
HOME = f"{SUBSCRIPTION}/resourceGroups/hubwire{SERVICES}"
KEYS = {"primaryKey": "p", "secondaryKey": "s", "primaryConnectionString": "endpoint=https://x/;accesskey=p"}


def service(name: str = "default", group: str = "hubwire", **properties: Any) -> dict[str, Any]:
    """As the resource manager shows one."""
    given = {
        "hostName": "localhost:8443",
        "immutableResourceId": "an-id",
        "dataLocation": "United States",
        "publicNetworkAccess": "Enabled",
        "disableLocalAuth": False,
        **properties,
    }
    where = f"{SUBSCRIPTION}/resourceGroups/{group}{SERVICES}/{name}"
    return {"id": where, "name": name, "location": "global", "tags": {}, "properties": given}


@pytest.fixture
def manager(server: StandIn) -> StandIn:
    """A server with two services."""
    server.on("GET", "/control/status", 200, {"subscriptionId": SUBSCRIPTION.rpartition("/")[2]})
    server.on("GET", SUBSCRIPTION + SERVICES, 200, {"value": [service(), service("Acs-One", "g h", hostName="h:1")]})
    server.on("GET", HOME, 200, {"value": [service()]})
    return server


def sent(server: StandIn, method: str) -> list[tuple[str, Any]]:
    """Paths and bodies of the requests of a method."""
    return [
        (asked.path.partition("?")[0], asked.document() if asked.body else None)
        for asked in server.asked
        if asked.method == method
    ]


def test_services_are_listed_with_their_hosts(run: Run, manager: StandIn) -> None:
    assert run("communication", "list").stdout.splitlines() == [
        "default  localhost:8443  hubwire",
        "Acs-One  h:1             g h",
    ]
    assert run("communication", "list", "--group", "hubwire").stdout == "default  localhost:8443  hubwire\n"
    manager.on("GET", HOME, 200, {"value": []})
    nothing = run("communication", "list", "--group", "hubwire")
    assert (nothing.exit_code, nothing.stdout) == (0, "")


def test_service_is_shown_the_first_one_if_none_is_named(run: Run, manager: StandIn) -> None:
    assert "localhost:8443" in run("communication", "show").stdout
    shown = run("communication", "show", "ACS-one").stdout

    assert "h:1" in shown
    assert "taken" in shown
    manager.on("GET", SUBSCRIPTION + SERVICES, 200, {"value": [service(disableLocalAuth=True)]})
    assert "refused" in run("communication", "show").stdout


def test_service_is_made_with_what_it_was_given(run: Run, manager: StandIn) -> None:
    manager.on("PUT", f"{SUBSCRIPTION}/resourceGroups/g%20h{SERVICES}/new", 201, service("new"), ["it does little"])

    done = run("communication", "create", "new", "--group", "g h", "--data-location", "UK", "--tag", "a=b")

    ((_, body),) = sent(manager, "PUT")
    assert body == {"location": "global", "tags": {"a": "b"}, "properties": {"dataLocation": "UK"}}
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "hubwire: it does little",
        "hubwire: its connection string: hubwire communication keys new",
    ]


def test_service_that_is_there_is_not_made_again(run: Run, manager: StandIn) -> None:
    done = run("communication", "create", "acs-ONE")

    assert (done.exit_code, sent(manager, "PUT")) == (1, [])
    assert "already" in done.stderr


def test_keys_are_shown_and_replaced(run: Run, manager: StandIn) -> None:
    manager.on("POST", f"{HOME}/default/listKeys", 200, KEYS)
    manager.on("POST", f"{SUBSCRIPTION}/resourceGroups/g%20h{SERVICES}/Acs-One/regenerateKey", 200, KEYS)

    assert "endpoint=https://x/;accesskey=p" in run("communication", "keys").stdout
    assert "endpoint=https://x/;accesskey=p" in run("communication", "rotate", "acs-one", "secondary").stdout

    assert sent(manager, "POST")[-1][1] == {"keyType": "secondary"}
    assert run("communication", "rotate", "acs-one", "salt").exit_code == 2


def test_service_is_deleted_by_any_spelling_of_its_name(run: Run, manager: StandIn) -> None:
    manager.on("DELETE", f"{SUBSCRIPTION}/resourceGroups/g%20h{SERVICES}/Acs-One", 200, None)

    assert run("communication", "delete", "acs-one").exit_code == 0
    assert len(sent(manager, "DELETE")) == 1


@pytest.mark.parametrize("words", [("show",), ("delete",), ("keys",), ("rotate",)])
def test_service_that_is_not_there_is_told_with_those_that_are(
    run: Run, manager: StandIn, words: tuple[str, ...]
) -> None:
    done = run("communication", *words, "nobodys", *(("primary",) if words == ("rotate",) else ()))

    assert done.exit_code == 1
    assert done.stderr == "hubwire: there is no communication service nobodys; there are: default, Acs-One\n"


def test_name_is_needed(run: Run, manager: StandIn) -> None:
    assert run("communication", "keys", " ").exit_code == 2
    assert run("communication", "create", " ").exit_code == 2
