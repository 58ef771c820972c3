"""Templates on a data folder on which no server runs. The folder and its store are real here."""

import fcntl
import json
from pathlib import Path

import pytest

from cli.conftest import Run
from hubwire.app import offline
from hubwire.resources.catalog import Catalog
from hubwire.settings import Settings

BICEP = """param units int
param policy string = 'allow'

resource wps 'Microsoft.SignalRService/webPubSub@2024-03-01' = {
  name: 'wps'
  location: 'local'
  sku: { name: 'Standard_S1', capacity: units }
  properties: {}
}

resource chat 'Microsoft.SignalRService/webPubSub/hubs@2024-03-01' = {
  parent: wps
  name: 'chat'
  properties: { anonymousConnectPolicy: policy, misspelled: true }
}

output name string = wps.name
"""
STORED = "hubwire: no server is running; what was deployed is stored, and holds from the next start\n"


@pytest.fixture(autouse=True)
def _stored() -> None:
    """A folder in which a server has been before, and a program beside it."""

    async def nothing(_: Catalog) -> None:
        return None

    offline(Settings(), nothing)
    Path("main.bicep").write_text(BICEP)


def test_template_is_deployed_to_the_store(run: Run) -> None:
    """With the same lines as by a server, and a word about its absence."""
    result = run("deploy", "main.bicep", "-p", "units=2")

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("created  Microsoft.SignalRService/webPubSub       wps  ")
    assert lines[1].startswith("created  Microsoft.SignalRService/webPubSub/hubs  wps/chat  ")
    assert lines[2].startswith("  warning  ")
    assert lines[3:] == ["outputs:", "  name  wps"]
    assert result.stderr == f"{STORED}hubwire: connection string of wps: hubwire resource keys wps\n"
    assert run("hub", "list", "--resource", "wps").stdout.startswith("chat  anonymous allow  ")
    assert len(json.loads(run("keys", "show", "--resource", "wps", "--json").stdout)) == 2


def test_ports_that_nobody_opened_yet_are_said_to_be_none(run: Run) -> None:
    """An output has 0 in their place."""
    Path("main.bicep").write_text(f"{BICEP}output url string = 'https://x:${{wps.properties.publicPort}}/y'\n")

    result = run("deploy", "main.bicep", "-p", "units=2")

    assert "  url   https://x:0/y" in result.stdout.splitlines()
    assert "hubwire: ports are opened by a running server; 0 stands for one in the outputs" in result.stderr


def test_each_resource_is_told_once_while_the_deployment_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often one looks."""
    monkeypatch.setattr("hubwire.cli.offline_deployments._POLL_S", 0)

    for word in ("created", "updated"):
        lines = run("deploy", "main.bicep", "-p", "units=2").stdout.splitlines()
        assert [line.split()[0] for line in lines] == [word, word, "warning", "outputs:", "name"]


def test_second_deployment_of_a_name_tells_only_what_it_does_itself(run: Run) -> None:
    run("deploy", "main.bicep", "-p", "units=2")

    result = run("deploy", "main.bicep", "-p", "units=3")

    assert [line.split()[0] for line in result.stdout.splitlines()[:2]] == ["updated", "updated"]


def test_what_if_shows_what_would_change(run: Run) -> None:
    """And the store stays as it is."""
    run("deploy", "main.bicep", "-p", "units=2")

    changed = run("deploy", "main.bicep", "-p", "units=3", "-p", "policy=deny", "--what-if").stdout
    same = json.loads(run("deploy", "main.bicep", "-p", "units=2", "--what-if", "--json").stdout)

    assert "    ~ sku.capacity  2 -> 3\n" in changed
    assert '    ~ properties.anonymousConnectPolicy  "allow" -> "deny"\n' in changed
    assert {change["changeType"] for change in same["properties"]["changes"]} == {"NoChange", "Ignore"}


def test_exported_template_deploys_to_the_same_state(run: Run) -> None:
    run("deploy", "main.bicep", "-p", "units=2")
    assert run("export", "--output", "all.json").exit_code == 0

    document = json.loads(run("deploy", "all.json", "--what-if", "--json").stdout)

    assert [change["changeType"] for change in document["properties"]["changes"]] == ["NoChange"] * 3


def test_export_of_a_group_that_is_not_there_is_told(run: Run) -> None:
    assert run("export", "--group", "other").stderr == "hubwire: there is no resource group other\n"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "main.bicep(1,1): The value for the template parameter 'units' is not provided."),
        (["-p", "units=2", "-p", "policy=x"], "main.bicep cannot be deployed: "),
        (["-p", "units=2", "--name", "a/b"], "A deployment has a name"),
    ],
)
def test_fault_is_told_as_by_a_server(run: Run, arguments: list[str], fault: str) -> None:
    """And nothing is stored."""
    for options in ([], ["--what-if"]):
        result = run("deploy", "main.bicep", *arguments, *options)

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"hubwire: {fault}")
    assert "no resource" in run("hub", "list", "--resource", "wps").stderr


def test_fault_of_json_is_at_its_line(run: Run) -> None:
    Path("main.json").write_text('{\n  "$schema": "s", "contentVersion": "1.0.0.0", "resources": []\n}')

    result = run("deploy", "main.json")

    assert result.stderr.startswith("hubwire: main.json(2,14): ")


def test_failed_deployment_says_which_resource_and_why(run: Run) -> None:
    """One that cannot be known before: what the host is called is no policy."""
    Path("main.bicep").write_text(BICEP.replace("Policy: policy", "Policy: wps.properties.hostName"))

    result = run("deploy", "main.bicep", "-p", "units=2")

    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()[:2]] == ["created", "failed"]
    said = "the deployment main has failed: Microsoft.SignalRService/webPubSub/hubs wps/chat: anonymousConnectPolicy"
    assert f"hubwire: {said}" in result.stderr


def test_deployment_as_json_is_the_document(run: Run) -> None:
    document = json.loads(run("deploy", "main.bicep", "-p", "units=2", "--json").stdout)

    assert document["properties"]["provisioningState"] == "Succeeded"
    assert document["properties"]["outputs"] == {"name": {"type": "String", "value": "wps"}}
    assert len(document["properties"]["outputResources"]) == 2


def test_settings_of_the_environment_count_as_for_a_server(run: Run) -> None:
    """What of a template is left out is one of them."""
    foreign = BICEP + (
        "\nresource other 'Microsoft.Storage/storageAccounts@2023-01-01' = {\n  name: 'x'\n  location: 'y'\n}\n"
    )
    Path("main.bicep").write_text(foreign)

    assert "Microsoft.Storage" in run("deploy", "main.bicep", "-p", "units=2").stderr
    ignoring = run("deploy", "main.bicep", "-p", "units=2", env={"HUBWIRE_FOREIGN_RESOURCES": "ignore"})
    assert ignoring.exit_code == 0
    assert run("deploy", "main.bicep", "-p", "units=2", env={"HUBWIRE_PORT": "x"}).exit_code == 2


@pytest.mark.parametrize("command", [["deploy", "main.bicep", "-p", "units=2"], ["export"]])
def test_folder_that_somebody_takes_meanwhile_is_left_alone(
    run: Run, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a server that starts after the command has looked for one."""
    monkeypatch.setattr("hubwire.cli.control._is_locked", lambda _folder: False)
    with Path("data/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        result = run(*command)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "is in use by another server" in result.stderr
