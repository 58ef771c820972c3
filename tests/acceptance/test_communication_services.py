"""
Communication services as resources: made by the official management library, by templates and by commands, each with
keys and addresses of its own, and the same after each new start.
"""

import base64
import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.communication import CommunicationServiceManagementClient
from azure.mgmt.communication import models as m
from azure.mgmt.resource.resources import ResourceManagementClient

from acceptance.directory import assign, create_app
from acceptance.sdk import Manager, Requests, Resource, manager
from acceptance.servers import DEADLINE_S, Server, StartServer, fixed_ports, running
from acceptance.upstreams import await_line
from acceptance.wire import Answer, connect_status, http_request, trusting

GROUP: Final = "managed"
SERVICE: Final = "Microsoft.Communication/communicationServices"
SCHEMA: Final = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
BICEP: Final = """
param name string

resource acs 'Microsoft.Communication/CommunicationServices@2023-04-01' = {
  name: name
  location: 'global'
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    dataLocation: 'germany'
  }
}

output endpoint string = 'https://${acs.properties.hostName}'
output connectionString string = acs.listKeys().primaryConnectionString
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Tests keep apart by names of services."""
    with running(tmp_path_factory.mktemp("services")) as server:
        yield server


@pytest.fixture(scope="module")
def requests() -> Requests:
    return Requests()


@pytest.fixture(scope="module")
def client(server: Server, requests: Requests) -> Iterator[Manager]:
    with manager(CommunicationServiceManagementClient, server, requests=requests) as client:
        yield client


@pytest.fixture
def name() -> str:
    """Of a service or resource group that no other test uses."""
    return f"a{uuid4().hex[:20]}"


def wanted(place: str = "Europe", **more: Any) -> m.CommunicationServiceResource:
    properties = m.CommunicationServiceProperties(data_location=place, **more)
    return m.CommunicationServiceResource(location="Global", properties=properties)


def made(client: Manager, name: str, group: str = GROUP) -> Any:
    return client.communication_services.begin_create_or_update(group, name, wanted()).result()


def at(endpoint: str) -> Resource:
    """Where a service is, for requests without a library."""
    found = urlsplit(endpoint)
    host, port = found.hostname or "", found.port or 0
    return Resource("", "", host, port, port, endpoint, endpoint, "", "", "")


def ask(server: Server, endpoint: str, target: str, host: str = "") -> Answer:
    headers = {"Host": host} if host else {}
    return http_request(at(endpoint), "GET", target, headers=headers, secure=trusting(server.ca))


def code_of(error: HttpResponseError) -> tuple[int | None, str | None]:
    assert error.error is not None
    return error.status_code, error.error.code


def said(server: Server, *arguments: str) -> Any:
    """What a command prints as JSON that has worked."""
    done = server.cli(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# The official management library


def test_management_library_does_with_services_what_it_does_elsewhere(
    server: Server, client: Manager, requests: Requests, name: str
) -> None:
    services = client.communication_services
    before = len(requests.sent)
    created = services.begin_create_or_update(GROUP, name, wanted("united states")).result()
    assert len(requests.sent) == before + 1, "there is nothing to poll"

    above = f"/subscriptions/{server.subscription_id}/resourceGroups/{GROUP}/providers/"
    assert (created.id, created.name, created.type) == (f"{above}{SERVICE}/{name}", name, SERVICE)
    assert (created.location, created.properties.data_location) == ("global", "United States")
    assert created.properties.provisioning_state == "Succeeded"
    assert created.properties.version
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", created.properties.immutable_resource_id)
    assert services.get(GROUP, name).as_dict() == created.as_dict()
    assert name in {one.name for one in services.list_by_resource_group(GROUP)}
    assert {name, "default"} <= {one.name for one in services.list_by_subscription()}

    changes = m.CommunicationServiceResourceUpdate(tags={"a": "b"})
    assert services.update(GROUP, name, changes).tags == {"a": "b"}
    keys = services.list_keys(GROUP, name)
    host = created.properties.host_name
    assert keys.primary_connection_string == f"endpoint=https://{host}/;accesskey={keys.primary_key}"
    assert keys.secondary_connection_string == f"endpoint=https://{host}/;accesskey={keys.secondary_key}"
    assert [len(base64.b64decode(key, validate=True)) for key in (keys.primary_key, keys.secondary_key)] == [64, 64]

    fresh = services.regenerate_key(GROUP, name, m.RegenerateKeyParameters(key_type="Secondary"))
    assert fresh.primary_key == keys.primary_key
    assert fresh.secondary_key != keys.secondary_key
    assert services.list_keys(GROUP, name).as_dict() == fresh.as_dict()

    services.begin_delete(GROUP, name).result()
    with pytest.raises(ResourceNotFoundError):
        services.get(GROUP, name)
    services.begin_delete(GROUP, name).result()


def test_name_is_free_until_somebody_has_it(client: Manager, name: str) -> None:
    def asked(name: str) -> tuple[bool, str | None]:
        found = client.communication_services.check_name_availability(
            m.NameAvailabilityParameters(name=name, type=SERVICE)
        )
        return found.name_available, found.reason

    assert asked(name) == (True, None)
    made(client, name)
    assert asked(name.upper()) == (False, "AlreadyExists")
    assert asked("-") == (False, "Invalid")


def test_features_that_are_not_there_are_refused_by_name(client: Manager, name: str) -> None:
    made(client, name)
    services = client.communication_services
    hub = m.LinkNotificationHubParameters(resource_id="/x", connection_string="y")
    domains = m.CommunicationServiceUpdateProperties(linked_domains=["/subscriptions/s/domains/d"])
    calls: list[Callable[[], Any]] = [
        lambda: services.link_notification_hub(GROUP, name, hub),
        lambda: services.update(GROUP, name, m.CommunicationServiceResourceUpdate(properties=domains)),
        lambda: client.email_services.get(GROUP, "mail"),
    ]
    for call in calls:
        with pytest.raises(HttpResponseError) as refused:
            call()
        assert code_of(refused.value) == (501, "FeatureNotAvailable")
    assert services.get(GROUP, name).properties.linked_domains is None


def test_first_service_is_there_and_stays(server: Server, client: Manager) -> None:
    ready = json.loads(server.ready_file.read_text(encoding="utf-8"))
    keys = client.communication_services.list_keys("hubwire", "default")

    assert ready["communicationEndpoint"] == server.https_endpoint
    assert ready["communicationConnectionString"] == keys.primary_connection_string
    assert keys.primary_connection_string.startswith(f"endpoint={server.https_endpoint}/;accesskey=")
    with pytest.raises(ResourceExistsError):
        client.communication_services.begin_delete("hubwire", "default").result()


def test_operations_and_provider_are_listed(server: Server, client: Manager) -> None:
    actions = {one.name for one in client.operations.list()}
    assert f"{SERVICE}/regenerateKey/action" in actions
    with manager(ResourceManagementClient, server) as groups:
        provider = groups.providers.get("Microsoft.Communication")
    (kind,) = [one for one in provider.resource_types if one.resource_type == "communicationServices"]
    assert {"2020-08-20", "2023-04-01"} <= set(kind.api_versions)


def test_role_at_a_service_lets_one_read_it_and_no_key(server: Server, client: Manager, name: str) -> None:
    scope = made(client, name).id
    app = create_app(server)
    assign(server, app, "resource-reader", "--scope", scope)
    with manager(CommunicationServiceManagementClient, server, app) as reader:
        services = reader.communication_services
        assert services.get(GROUP, name).name == name
        assert [one.name for one in services.list_by_subscription()] == [name]
        calls: list[Callable[[], Any]] = [
            lambda: services.list_keys(GROUP, name),
            lambda: services.regenerate_key(GROUP, name, m.RegenerateKeyParameters(key_type="Primary")),
            lambda: services.begin_delete(GROUP, name),
            lambda: services.get("hubwire", "default"),
        ]
        for call in calls:
            with pytest.raises(HttpResponseError) as refused:
                call()
            assert refused.value.status_code == 403


def test_resource_group_is_deleted_with_its_services(server: Server, client: Manager, name: str) -> None:
    gone = made(client, name, name).properties.host_name
    with manager(ResourceManagementClient, server) as groups:
        groups.resource_groups.begin_delete(name).result()

    with pytest.raises(ResourceNotFoundError):
        client.communication_services.get(name, name)
    with pytest.raises(ConnectionError):
        ask(server, f"https://{gone}", "/identities")


# Templates


def test_bicep_deploys_a_service_and_tells_its_connection_string(server: Server, name: str, tmp_path: Path) -> None:
    file = tmp_path / "main.bicep"
    file.write_text(BICEP, encoding="utf-8")
    deploy = ("deploy", str(file), "-p", f"name={name}", "--group", name)

    (change,) = said(server, *deploy, "--what-if")["properties"]["changes"]
    assert change["changeType"] == "Create"
    assert change["after"]["properties"]["dataLocation"] == "Germany"
    outputs = said(server, *deploy)["properties"]["outputs"]
    keys = said(server, "communication", "keys", name)
    assert outputs["connectionString"]["value"] == keys["primaryConnectionString"]
    assert keys["primaryConnectionString"].startswith(f"endpoint={outputs['endpoint']['value']}/;accesskey=")
    (change,) = said(server, *deploy, "--what-if")["properties"]["changes"]
    assert change["changeType"] == "NoChange"
    assert said(server, *deploy)["properties"]["outputs"] == outputs


def test_exported_group_deploys_its_services_again(server: Server, client: Manager, name: str, tmp_path: Path) -> None:
    made(client, name, name)
    changes = m.CommunicationServiceUpdateProperties(disable_local_auth=True)
    client.communication_services.update(
        name, name, m.CommunicationServiceResourceUpdate(tags={"a": "[b]"}, properties=changes)
    )
    before = client.communication_services.get(name, name)
    done = server.cli("export", "--group", name)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "group.json"
    file.write_text(done.stdout, encoding="utf-8")
    assert "accesskey" not in done.stdout
    client.communication_services.begin_delete(name, name).result()

    said(server, "deploy", str(file), "--group", name)

    after = client.communication_services.get(name, name)
    assert (after.tags, after.properties.data_location) == (before.tags, before.properties.data_location)
    assert after.properties.disable_local_auth is True
    assert after.properties.immutable_resource_id != before.properties.immutable_resource_id


def test_complete_deployment_deletes_services_but_the_first(server: Server, name: str, tmp_path: Path) -> None:
    file = tmp_path / "default.json"
    said(server, "communication", "create", name)
    resource = {
        "type": "Microsoft.SignalRService/webPubSub",
        "apiVersion": "2024-03-01",
        "name": "default",
        "location": "eastus",
    }
    file.write_text(
        json.dumps({"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": [resource]}), encoding="utf-8"
    )

    said(server, "deploy", str(file), "--complete", "--group", "hubwire")

    names = [one["name"] for one in said(server, "communication", "list", "--group", "hubwire")]
    assert names == ["default"]


# Addresses


def test_address_of_a_service_serves_nothing_else(server: Server, client: Manager, name: str) -> None:
    endpoint = f"https://{made(client, name).properties.host_name}"

    for target in ("/api/health", "/metrics", "/api/hubs/chat/users/x?api-version=2024-12-01", "/subscriptions"):
        answer = ask(server, endpoint, target)
        assert (answer.status, answer.json()["error"]["code"]) == (404, "NotFound")
    line = await_line(server, f"communication service {name} listens on")
    plain = next(part for part in line.split() if part.startswith("http:"))
    assert connect_status(at(plain), "chat", None) == 404


@pytest.mark.parametrize("suffix", ["communication.azure.com", "unitedstates.communication.azure.com"])
def test_name_of_a_service_leads_to_it_on_the_main_port(
    server: Server, client: Manager, name: str, suffix: str
) -> None:
    """What the resource manager answers everywhere else is not answered there."""
    made(client, name)

    for host in (f"{name}.{suffix}", f"nobodys.{suffix}"):
        assert ask(server, server.https_endpoint, "/metadata/endpoints", host).status == 404
    assert ask(server, server.https_endpoint, "/metadata/endpoints", f"{name}.example.com").status == 200


def test_certificate_is_good_for_the_name_of_a_service(server: Server, client: Manager, name: str) -> None:
    made(client, name)
    with (
        socket.create_connection((server.host, server.https_port), timeout=DEADLINE_S) as plain,
        trusting(server.ca).wrap_socket(plain, server_hostname=f"{name}.communication.localhost") as secure,
    ):
        assert isinstance(secure, ssl.SSLSocket)
        assert secure.version() is not None


# Starts


def test_services_keep_keys_ids_and_ports_over_a_new_start(start_server: StartServer) -> None:
    ports = fixed_ports()
    server = start_server(*ports)
    said(server, "communication", "create", "acs-one")
    names = ("default", "acs-one")
    before = {
        name: (said(server, "communication", "show", name), said(server, "communication", "keys", name))
        for name in names
    }
    server.stop()

    again = start_server(*ports, data=server.data)

    after = {
        name: (said(again, "communication", "show", name), said(again, "communication", "keys", name)) for name in names
    }
    assert after["acs-one"] == before["acs-one"]
    assert after["default"][1]["primaryKey"] == before["default"][1]["primaryKey"]
    ids = [found["default"][0]["properties"]["immutableResourceId"] for found in (before, after)]
    assert ids[0] == ids[1]


def test_service_is_reached_over_plain_http_where_there_is_nothing_else(start_server: StartServer) -> None:
    server = start_server("--no-https")
    said(server, "communication", "create", "acs-one")
    ready = json.loads(server.ready_file.read_text(encoding="utf-8"))

    assert ready["communicationEndpoint"] == server.endpoint
    keys = said(server, "communication", "keys", "acs-one")
    assert re.match(r"endpoint=http://127\.0\.0\.1:[0-9]+/;accesskey=", keys["primaryConnectionString"])


def test_command_line_makes_changes_and_deletes_services(server: Server, name: str) -> None:
    created = server.cli("communication", "create", name, "--data-location", "UK", "--tag", "a=b", "--group", name)
    assert created.returncode == 0, created.stderr
    assert f"hubwire communication keys {name}" in created.stderr
    again = server.cli("communication", "create", name.upper())
    assert (again.returncode, "already" in again.stderr) == (1, True)
    shown = said(server, "communication", "show", name)
    assert (shown["tags"], shown["properties"]["dataLocation"]) == ({"a": "b"}, "UK")

    keys = said(server, "communication", "keys", name)
    rotated = said(server, "communication", "rotate", name, "primary")
    assert rotated["primaryKey"] != keys["primaryKey"]
    assert rotated["secondaryKey"] == keys["secondaryKey"]
    assert server.cli("communication", "delete", name).returncode == 0
    gone = server.cli("communication", "show", name)
    assert (gone.returncode, f"there is no communication service {name}" in gone.stderr) == (1, True)
    assert server.cli("communication", "delete", "default").returncode == 1
    status = server.cli("status")
    assert "accesskey" not in status.stdout
