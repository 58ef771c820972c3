"""
`az` from PyPI, unmodified, against a server: from the registration of the cloud to the logout, once through it all.

It lives in an environment of its own, which `make tests` makes; where that is missing the tests are left out, and in
continuous integration they fail.
"""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from acceptance.servers import Server, running
from acceptance.wire import JSON, RawClient, http_request

ROOT: Final = Path(__file__).parents[2]
AZ: Final = ROOT / ".build" / "az" / "bin" / "python"
_TIMEOUT_S: Final = 120.0
_BICEP_PROGRAM: Final = "from hubwire.cli.bicep import main; main()"
"""As the package installs it."""
_TYPE: Final = ("--resource-type", "Microsoft.SignalRService/webPubSub")

TEMPLATE: Final = """\
{
    // Comments are allowed in templates.
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "contentVersion": "1.0.0.0",
    "parameters": {
        "resourceName": {"type": "String", "defaultValue": "wps-json"},
        "location": {"type": "string", "defaultValue": "[resourceGroup().location]"}
    },
    "resources": [
        {
            "type": "Microsoft.SignalRService/WebPubSub",
            "apiVersion": "2023-03-01-preview",
            "name": "[parameters('resourceName')]",
            "location": "[parameters('location')]",
            "sku": {"name": "Standard_S1", "tier": "Standard", "size": "S1", "capacity": 1},
            "identity": {"type": "None"},
            "properties": {"tls": {"clientCertEnabled": true}}
        },
        {
            "type": "Microsoft.SignalRService/WebPubSub/hubs",
            "apiVersion": "2023-03-01-preview",
            "name": "[concat(parameters('resourceName'), '/echo')]",
            "dependsOn": ["[resourceId('Microsoft.SignalRService/WebPubSub', parameters('resourceName'))]"],
            "properties": {
                "eventHandlers": [{"urlTemplate": "http://handler.invalid/api/{event}", "systemEvents": ["connected"]}],
                "anonymousConnectPolicy": "allow"
            }
        }
    ]
}
"""

BICEP: Final = """\
param resourceName string = 'wps-bicep'
param location string = resourceGroup().location

resource wps 'Microsoft.SignalRService/WebPubSub@2023-03-01-preview' = {
  name: resourceName
  location: location
  sku: {
    name: 'Standard_S1'
    tier: 'Standard'
    size: 'S1'
    capacity: 1
  }
  identity: {
    type: 'None'
  }
  properties: {
    tls: {
      clientCertEnabled: true
    }
  }
}

resource echo 'Microsoft.SignalRService/WebPubSub/hubs@2023-03-01-preview' = {
  parent: wps
  name: 'echo'
  properties: {
    eventHandlers: [
      {
        urlTemplate: 'http://handler.invalid/api/{event}'
        systemEvents: [
          'connected'
        ]
      }
    ]
    anonymousConnectPolicy: 'allow'
  }
}

output port int = wps.properties.publicPort
"""


class Az:
    """The command, with a configuration of its own."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir(parents=True)
        bicep = programs / "bicep"
        bicep.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{_BICEP_PROGRAM}" "$@"\n', encoding="utf-8")
        bicep.chmod(bicep.stat().st_mode | stat.S_IXUSR)
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self._environment = {
            **kept,
            "AZURE_CONFIG_DIR": str(folder / "azure"),
            "AZURE_CORE_COLLECT_TELEMETRY": "false",
            "AZURE_CORE_NO_COLOR": "true",
            "AZURE_CORE_ONLY_SHOW_ERRORS": "true",
            "REQUESTS_CA_BUNDLE": str(server.ca),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        }

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """What it prints, to its end."""
        return subprocess.run(
            [str(AZ), "-m", "azure.cli", *arguments],
            env=self._environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )

    def __call__(self, *arguments: str) -> Any:
        """What it answers, as a value; it must succeed."""
        done = self.run(*arguments, "--output", "json")
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def file(self, name: str, text: str) -> str:
        """The path of a file with this content."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)


@pytest.fixture(scope="module")
def az(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Az]:
    if not AZ.exists():
        assert not os.environ.get("CI"), "`make tests` installs az; without it nothing here is tested"
        pytest.skip("az is not installed: `make .build/az/.hubwire-az`")
    with running(tmp_path_factory.mktemp("server")) as server:
        yield from _signed_in(server, tmp_path_factory)


def _signed_in(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Az]:
    signed_in = Az(server, tmp_path_factory.mktemp("az"))
    signed_in("cloud", "register", "-n", "hubwire", "--endpoint-resource-manager", server.https_endpoint)
    signed_in("cloud", "set", "-n", "hubwire")
    signed_in("config", "set", "core.instance_discovery=false", "bicep.use_binary_from_path=true")
    secret = ("-u", server.client_id, f"-p={server.client_secret}", "--tenant", server.tenant_id)
    (account,) = signed_in("login", "--service-principal", *secret)
    assert (account["id"], account["tenantId"]) == (server.subscription_id, server.tenant_id)
    signed_in("group", "create", "-n", "rg", "-l", "eastus")
    yield signed_in
    signed_in("logout")
    assert signed_in.run("group", "list").returncode != 0, "who has logged out is nobody"


def keys(az: Az, name: str) -> Any:
    path = f"/subscriptions/{az.server.subscription_id}/resourceGroups/rg/providers/Microsoft.SignalRService/webPubSub"
    return az("rest", "--method", "post", "--url", f"{path}/{name}/listKeys?api-version=2024-03-01")


def connects_anonymously(az: Az, name: str) -> bool:
    """To the hub of the templates, at the port that the connection string names."""
    found = re.search(r"Endpoint=http://[^:;]+:([0-9]+);", keys(az, name)["primaryConnectionString"])
    assert found is not None
    with RawClient(az.server, "/client/hubs/echo", protocols=[JSON], port=int(found[1])) as client:
        return bool(client.receive_json()["event"] == "connected")


@pytest.mark.parametrize(
    ("file", "text", "name"), [("main.json", TEMPLATE, "wps-json"), ("main.bicep", BICEP, "wps-bicep")]
)
def test_template_is_deployed_in_both_forms(az: Az, file: str, text: str, name: str) -> None:
    path = az.file(file, text)
    changes = az("deployment", "group", "what-if", "-g", "rg", "--template-file", path, "--no-pretty-print")["changes"]
    assert {change["changeType"] for change in changes if name in change["resourceId"]} == {"Create"}

    done = az("deployment", "group", "create", "-g", "rg", "--template-file", path, "-n", name)

    assert done["properties"]["provisioningState"] == "Succeeded"
    assert done["properties"]["parameters"]["location"]["value"] == "eastus"
    assert connects_anonymously(az, name)
    shown = az("resource", "show", "-g", "rg", "-n", name, *_TYPE)
    assert shown["properties"]["tls"] == {"clientCertEnabled": True}
    assert name in [resource["name"] for resource in az("resource", "list", "-g", "rg")]
    hub = az("resource", "show", "--id", f"{shown['id']}/hubs/echo", "--api-version", "2024-03-01")
    assert hub["properties"]["eventHandlers"][0]["urlTemplate"] == "http://handler.invalid/api/{event}"
    again = az("deployment", "group", "what-if", "-g", "rg", "--template-file", path, "--no-pretty-print")["changes"]
    assert {change["changeType"] for change in again if name in change["resourceId"]} == {"NoChange"}
    operations = az("deployment", "operation", "group", "list", "-g", "rg", "-n", name)
    assert [operation["properties"]["targetResource"]["resourceName"] for operation in operations] == [name, "echo"]


def test_mistake_in_a_template_is_told_with_its_place(az: Az) -> None:
    bad = az.file("bad.json", TEMPLATE.replace("parameters('location')", "parameters('place')"))

    done = az.run("deployment", "group", "create", "-g", "rg", "--template-file", bad)

    assert done.returncode != 0
    assert "InvalidTemplate" in done.stderr
    assert "'place'" in done.stderr
    assert '"lineNumber": 14' in done.stderr


def test_mistake_in_bicep_is_told_with_its_place(az: Az) -> None:
    bad = az.file("bad.bicep", BICEP.replace("name: resourceName", "name: resourceNam"))

    done = az.run("deployment", "group", "create", "-g", "rg", "--template-file", bad)

    assert done.returncode != 0
    assert "bad.bicep(5,9)" in done.stderr
    assert "resourceNam" in done.stderr


def test_deployment_that_fails_says_which_resource_and_why(az: Az) -> None:
    name = "wps-fails"
    template = json.loads(re.sub(r"^ *//.*$", "", TEMPLATE, flags=re.MULTILINE))
    hub = template["resources"][1]
    hub["dependsOn"] = []
    hub["name"] = "wps-nowhere/echo"

    done = az.run(
        "deployment",
        "group",
        "create",
        "-g",
        "rg",
        "--template-file",
        az.file("f.json", json.dumps(template)),
        "-n",
        name,
    )

    assert done.returncode != 0
    assert "DeploymentFailed" in done.stderr
    assert "wps-nowhere/hubs/echo" in done.stderr
    assert "There is no resource" in done.stderr
    assert az("deployment", "group", "show", "-g", "rg", "-n", name)["properties"]["provisioningState"] == "Failed"


def test_resource_is_created_changed_and_deleted(az: Az) -> None:
    body = json.dumps({"location": "eastus", "sku": {"name": "Standard_S1"}, "properties": {}})
    az("resource", "create", "-g", "rg", "-n", "wps-res", *_TYPE, "--is-full-object", "--properties", body)
    old = keys(az, "wps-res")

    az("resource", "update", "-g", "rg", "-n", "wps-res", *_TYPE, "--set", "properties.disableLocalAuth=true")
    az("resource", "tag", "-g", "rg", "-n", "wps-res", *_TYPE, "--tags", "team=chat")
    rotate = ("--action", "regenerateKey", "--request-body", '{"keyType": "Primary"}')
    az("resource", "invoke-action", "-g", "rg", "-n", "wps-res", *_TYPE, *rotate)

    shown = az("resource", "show", "-g", "rg", "-n", "wps-res", *_TYPE)
    assert shown["properties"]["disableLocalAuth"] is True
    assert shown["tags"] == {"team": "chat"}
    new = keys(az, "wps-res")
    assert new["primaryKey"] != old["primaryKey"]
    assert new["secondaryKey"] == old["secondaryKey"]
    az("resource", "delete", "-g", "rg", "-n", "wps-res", *_TYPE)
    assert az.run("resource", "show", "-g", "rg", "-n", "wps-res", *_TYPE).returncode == 3


def test_identity_is_made_given_to_a_resource_and_deleted(az: Az) -> None:
    made = az("identity", "create", "-g", "rg", "-n", "robot", "--tags", "team=chat")
    assert (made["name"], made["location"], made["tags"]) == ("robot", "eastus", {"team": "chat"})
    assert az("identity", "show", "-g", "rg", "-n", "robot") == made
    assert [one["name"] for one in az("identity", "list", "-g", "rg")] == ["robot"]
    identity = {"type": "UserAssigned", "userAssignedIdentities": {made["id"]: {}}}
    body = json.dumps({"location": "eastus", "sku": {"name": "Standard_S1"}, "identity": identity})
    az("resource", "create", "-g", "rg", "-n", "wps-id", *_TYPE, "--is-full-object", "--properties", body)

    shown = az("resource", "show", "-g", "rg", "-n", "wps-id", *_TYPE)["identity"]
    refused = az.run("identity", "delete", "-g", "rg", "-n", "robot")
    az("resource", "delete", "-g", "rg", "-n", "wps-id", *_TYPE)
    az("identity", "delete", "-g", "rg", "-n", "robot")

    assert [one["clientId"] for one in shown["userAssignedIdentities"].values()] == [made["clientId"]]
    assert refused.returncode != 0
    assert "used by wps-id" in refused.stderr
    assert az("identity", "list", "-g", "rg") == []


def test_group_with_all_that_is_in_it_is_exported_and_deleted(az: Az) -> None:
    az("group", "create", "-n", "rg-two", "-l", "eastus")
    path = az.file("two.json", TEMPLATE)
    az("deployment", "group", "create", "-g", "rg-two", "--template-file", path, "-p", "resourceName=wps-two")
    template = az("group", "export", "-n", "rg-two")

    az("group", "delete", "-n", "rg-two", "--yes")

    assert az("group", "exists", "-n", "rg-two") is False
    exported = az.file("exported.json", json.dumps(template))
    az("deployment", "group", "create", "-g", "rg", "--template-file", exported)
    assert connects_anonymously(az, "wps-two")


def test_registration_asks_for_no_token(az: Az) -> None:
    """`az cloud register` has none."""
    reply = http_request(az.server, "GET", "//metadata/endpoints?api-version=2022-09-01")

    assert reply.status == 200
    assert json.loads(reply.body)["resourceManager"] == f"{az.server.https_endpoint}/"
