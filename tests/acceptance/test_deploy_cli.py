"""Templates by our own command line, with real servers: deployed, looked at, refused, exported, and at the start."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acceptance.servers import PROCESS_S, Server, StartServer, run_command
from acceptance.wire import http_request

JSON = """{
  // Comments are of no matter.
  "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
  "contentVersion": "1.0.0.0",
  "parameters": {
    "name": {"type": "String", "defaultValue": "wps-json"},
    "units": {"type": "int", "defaultValue": 1}
  },
  "resources": [
    {
      "type": "Microsoft.SignalRService/webPubSub",
      "apiVersion": "2023-03-01-preview",
      "name": "[parameters('name')]",
      "location": "[resourceGroup().location]",
      "sku": {"name": "Standard_S1", "capacity": "[parameters('units')]"},
      "properties": {"tls": {"clientCertEnabled": true}}
    },
    {
      "type": "Microsoft.SignalRService/webPubSub/hubs",
      "apiVersion": "2023-03-01-preview",
      "name": "[concat(parameters('name'), '/echo')]",
      "dependsOn": ["[resourceId('Microsoft.SignalRService/webPubSub', parameters('name'))]"],
      "properties": {"anonymousConnectPolicy": "allow"}
    }
  ],
  "outputs": {"name": {"type": "string", "value": "[parameters('name')]"}}
}
"""
BICEP = """param name string = 'wps-bicep'
@minValue(1)
param units int = 1
param hubs array = [ 'echo' ]

resource wps 'Microsoft.SignalRService/webPubSub@2024-03-01' = {
  name: name
  location: resourceGroup().location
  sku: { name: 'Standard_S1', capacity: units }
  properties: {}
}

resource all 'Microsoft.SignalRService/webPubSub/hubs@2024-03-01' = [for hub in hubs: {
  parent: wps
  name: hub
  properties: { anonymousConnectPolicy: 'allow' }
}]

output name string = wps.name
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with both templates."""
    (tmp_path / "main.json").write_text(JSON)
    (tmp_path / "main.bicep").write_text(BICEP)
    return tmp_path


def changes(server: Server, *arguments: str) -> dict[str, str]:
    """What a deployment would change: the last part of an id to the kind of change."""
    done = server.cli("deploy", *arguments, "--what-if", "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return {
        change["resourceId"].rpartition("/")[2]: change["changeType"] for change in document["properties"]["changes"]
    }


@pytest.mark.parametrize(("file", "name"), [("main.json", "wps-json"), ("main.bicep", "wps-bicep")])
def test_template_is_deployed_and_its_resource_serves_at_once(
    start_server: StartServer, files: Path, file: str, name: str
) -> None:
    """A line for each resource, then the outputs; its connection string by the command that is told."""
    server = start_server()
    template = str(files / file)

    first = server.cli("deploy", template)
    again = server.cli("deploy", template)

    assert first.returncode == 0, first.stderr
    assert [line.split()[:3:2] for line in first.stdout.splitlines()[:2]] == [
        ["created", name],
        ["created", f"{name}/echo"],
    ]
    assert first.stdout.splitlines()[-2:] == ["outputs:", f"  name  {name}"]
    assert f"resource keys {name}" in first.stderr
    assert [line.split()[0] for line in again.stdout.splitlines()[:2]] == ["updated", "updated"]
    keys = json.loads(server.cli("resource", "keys", name, "--json").stdout)
    assert server.endpoint not in keys["primaryConnectionString"], "it has a port of its own"
    sent = server.cli(
        "send", "--hub", "echo", "--all", "--text", "x", "--connection-string", keys["primaryConnectionString"]
    )
    assert (sent.returncode, sent.stderr) == (0, "")
    url = server.cli("url", "--hub", "echo", "--resource", name).stdout.strip()
    connected = server.cli("connect", url)
    assert connected.returncode == 0, connected.stderr


def test_what_if_shows_the_difference_and_changes_nothing(start_server: StartServer, files: Path) -> None:
    server = start_server()
    template = str(files / "main.bicep")
    server.cli("deploy", template)

    done = server.cli("deploy", template, "--what-if", "-p", "units=2", "-p", 'HUBS=["echo", "chat"]')

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "~ modify     Microsoft.SignalRService/webPubSub       wps-bicep",
        "    ~ sku.capacity  1 -> 2",
        "= no change  Microsoft.SignalRService/webPubSub/hubs  wps-bicep/echo",
        "+ create     Microsoft.SignalRService/webPubSub/hubs  wps-bicep/chat",
        "* stays      Microsoft.SignalRService/WebPubSub       default",
        "1 modify, 1 no change, 1 create, 1 stays",
    ]
    assert changes(server, template) == {"wps-bicep": "NoChange", "echo": "NoChange", "default": "Ignore"}


def test_complete_deployment_deletes_what_else_is_in_the_group(start_server: StartServer, files: Path) -> None:
    server = start_server()
    server.cli("deploy", str(files / "main.json"), "--group", "g")

    done = server.cli("deploy", str(files / "main.bicep"), "--group", "g", "--complete")

    assert done.returncode == 0, done.stderr
    assert [line.split()[:3:2] for line in done.stdout.splitlines()[:3]] == [
        ["created", "wps-bicep"],
        ["created", "wps-bicep/echo"],
        ["deleted", "wps-json"],
    ]


def test_parameters_come_from_files_too(server: Server, files: Path) -> None:
    """In the form of Azure; the command line wins."""
    (files / "values.json").write_text(
        '{"$schema": "s", "contentVersion": "1.0.0.0",'
        ' "parameters": {"name": {"value": "wps-x"}, "units": {"value": 3}}}'
    )
    values = ("--parameters", str(files / "values.json"))

    found = changes(server, str(files / "main.json"), *values, "-p", "name=wps-y", "--group", "values")

    assert found == {"wps-y": "Create", "echo": "Create"}


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("main.json", "[concat(", "[konkat(", "main.json(21,15): The template function 'konkat' is not valid."),
        ("main.json", '"resources": [', '"resources" [', "main.json(9,15): "),
        ("main.json", '"defaultValue": 1', '"defaultValue": "1"', "main.json(7,14): "),
        ("main.bicep", "name: name", "name: nam", "main.bicep(7,9): "),
        ("main.bicep", "units int = 1", "units int = 0", "main.bicep(3,1): "),
    ],
)
def test_fault_of_a_template_is_told_at_its_line(
    server: Server, files: Path, file: str, old: str, new: str, fault: str
) -> None:
    """Before anything is done, and by what-if as well."""
    path = files / file
    path.write_text(path.read_text().replace(old, new))

    for options in ([], ["--what-if"]):
        done = server.cli("deploy", str(path), "--group", "faults", *options)

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"hubwire: {files}/{fault}")
    assert server.cli("resource", "list", "--group", "faults").returncode == 1, "the group was not made"


def test_resource_that_fails_is_told_with_the_reason(start_server: StartServer, files: Path) -> None:
    """What can be known beforehand, before anything is done; what cannot, where the deployment stops."""
    server = start_server()
    path = files / "main.bicep"
    # What the host will be called is known only once the resource is there.
    late = files / "late.bicep"
    late.write_text(BICEP.replace("anonymousConnectPolicy: 'allow'", "anonymousConnectPolicy: wps.properties.hostName"))

    known = server.cli("deploy", str(path), "-p", "units=11")
    main = server.cli("deploy", str(path), "--complete")
    unknown = server.cli("deploy", str(late), "-p", "name=wps-late")

    assert (known.returncode, known.stdout) == (1, "")
    assert "main.bicep cannot be deployed: Microsoft.SignalRService/webPubSub wps-bicep: sku.capacity" in known.stderr
    assert main.returncode == 1
    assert "Microsoft.SignalRService/WebPubSub default: " in main.stderr
    assert unknown.returncode == 1
    assert [line.split()[:3:2] for line in unknown.stdout.splitlines()[:2]] == [
        ["created", "wps-late"],
        ["failed", "wps-late/echo"],
    ]
    said = (
        "the deployment late has failed: Microsoft.SignalRService/webPubSub/hubs wps-late/echo: anonymousConnectPolicy"
    )
    assert unknown.stderr.startswith(f"hubwire: {said}")


def test_exported_template_deploys_to_the_same_state(start_server: StartServer, files: Path) -> None:
    """Here, where it changes nothing, and on another server."""
    server, other = start_server(), start_server()
    server.cli("deploy", str(files / "main.json"), "-p", "units=2")
    server.cli("resource", "set", "wps-json", "--tag", "a=[b]", "--ip-rule", "deny:192.0.2.7", "--identity", "system")
    server.cli("hub", "set", "chat", "--handler", "http://localhost:1/{event}", "--user-events", "*")
    exported = files / "exported.json"

    assert server.cli("export", "--output", str(exported)).returncode == 0
    found = changes(server, str(exported))

    assert found == dict.fromkeys(("default", "chat", "wps-json", "echo"), "NoChange")
    assert other.cli("deploy", str(exported)).returncode == 0
    assert other.cli("export").stdout == exported.read_text()


def test_without_a_server_the_store_is_changed(start_server: StartServer, files: Path) -> None:
    """And a server that starts then has it."""
    server = start_server()
    server.stop()

    done = server.cli("deploy", str(files / "main.bicep"))
    exported = server.cli("export").stdout
    again = start_server(data=server.data)

    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("hubwire: no server is running; what was deployed is stored")
    assert again.cli("export").stdout == exported
    assert changes(again, str(files / "main.bicep"))["wps-bicep"] == "NoChange"
    assert again.cli("resource", "keys", "wps-bicep").returncode == 0


def test_server_that_starts_with_a_template_has_it_from_the_first_request_on(
    start_server: StartServer, files: Path
) -> None:
    template = ("--template", str(files / "main.bicep"), "-p", "name=wps-start", "--group", "mine")
    server = start_server(*template)

    assert http_request(server, "HEAD", "/api/health").status == 200
    assert json.loads(server.cli("hub", "list", "--resource", "wps-start", "--json").stdout)[0]["name"] == "echo"
    server.stop()
    again = start_server(*template, data=server.data)
    assert changes(again, *template[1:]) == {"wps-start": "NoChange", "echo": "NoChange"}


@pytest.mark.parametrize(
    ("arguments", "exit_code", "fault"),
    [
        (["--template", "bad.bicep"], 1, "bad.bicep(2,1): "),
        (["--template", "main.bicep", "-p", "units=0"], 1, "main.bicep(3,1): "),
        (["--template", "main.bicep", "-p", "units=11"], 1, "sku.capacity"),
        (["--template", "main.bicep", "-p", "units"], 2, "-p wants NAME=VALUE"),
        (["--template", "missing.json"], 1, "missing.json: No such file or directory"),
    ],
)
def test_template_that_cannot_be_deployed_ends_the_start(
    files: Path, arguments: list[str], exit_code: int, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server, one line that says why."""
    monkeypatch.chdir(files)
    (files / "bad.bicep").write_text("param x int\nparm y int\n")

    done = run_command("serve", "--port", "0", "--data", "data", *arguments)

    assert (done.returncode, done.stdout) == (exit_code, "")
    assert fault in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_program_for_az_compiles_to_what_is_deployed(start_server: StartServer, files: Path) -> None:
    """As `az` calls it, by its whole path."""
    server = start_server()
    program = "from hubwire.cli.bicep import main; main()"
    command = [sys.executable, "-c", program, "build", "--stdout", str(files / "main.bicep")]
    done = subprocess.run(
        command, cwd=files, env=dict(os.environ), capture_output=True, text=True, timeout=PROCESS_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    (files / "compiled.json").write_text(done.stdout)

    values = ("-p", "name=wps-az", "--group", "az")
    assert server.cli("deploy", str(files / "main.bicep"), *values).returncode == 0
    assert set(changes(server, str(files / "compiled.json"), *values).values()) == {"NoChange"}
