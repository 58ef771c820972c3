"""Deployments of templates with the official library, and with requests as `az` sends them."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.resource.deployments import DeploymentsMgmtClient
from azure.mgmt.resource.deployments import models as d
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.webpubsub import WebPubSubManagementClient
from azure.mgmt.webpubsub import models as m

from acceptance.directory import SCOPE, App, assign, create_app, token_of
from acceptance.sdk import MANAGEMENT, Manager, Requests, manager, resource_at
from acceptance.servers import DEADLINE_S, Server, StartServer, running, wait_until
from acceptance.upstreams import Upstream
from acceptance.wire import Answer, connect_status, http_request, trusting

SCHEMA: Final = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
TYPE: Final = "Microsoft.SignalRService/webPubSub"
VERSION: Final = "2024-03-01"
SERVICE_OWNER: Final = "12cf5a90-567b-43ae-8102-96cf46c7d9b4"
HANDLER: Final = "https://handler.invalid:8443/events/{hub}/{event}"

Template = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Each test has a resource group of its own."""
    with running(tmp_path_factory.mktemp("deployments")) as server:
        yield server


@pytest.fixture(scope="module")
def requests() -> Requests:
    return Requests()


@pytest.fixture(scope="module")
def client(server: Server, requests: Requests) -> Iterator[Manager]:
    with manager(DeploymentsMgmtClient, server, requests=requests) as client:
        yield client


@pytest.fixture(scope="module")
def resources(server: Server) -> Iterator[Manager]:
    with manager(WebPubSubManagementClient, server) as client:
        yield client


@pytest.fixture(scope="module")
def groups(server: Server) -> Iterator[Manager]:
    with manager(ResourceManagementClient, server) as client:
        yield client


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    """For requests without a library."""
    return token_of(server, None, MANAGEMENT)


@pytest.fixture
def group(groups: Manager) -> str:
    """A resource group that no other test uses; it is in a region."""
    name = f"g{uuid4().hex}"
    groups.resource_groups.create_or_update(name, {"location": "northeurope"})
    return name


def template(*resources: Any, **more: Any) -> Template:
    return {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": list(resources), **more}


def web_pubsub(name: str, **more: Any) -> Template:
    return {
        "type": TYPE,
        "apiVersion": VERSION,
        "name": name,
        "location": "northeurope",
        "sku": {"name": "Standard_S1", "capacity": 1},
        "properties": {},
        **more,
    }


def hub(name: str, *depends_on: str, **properties: Any) -> Template:
    return {
        "type": f"{TYPE}/hubs",
        "apiVersion": VERSION,
        "name": name,
        "dependsOn": list(depends_on),
        "properties": properties,
    }


def certificates_template(name: str, handler: str = HANDLER) -> Template:
    """As the service's documentation has one for client certificates, in words of our own."""
    resource = {
        "type": "Microsoft.SignalRService/WebPubSub",
        "apiVersion": "2023-03-01-preview",
        "name": "[parameters('webPubSubName')]",
        "location": "[parameters('region')]",
        "sku": {"name": "Standard_S1", "tier": "Standard", "size": "S1", "capacity": 1},
        "properties": {"tls": {"clientCertEnabled": True}},
    }
    echo = {
        "type": "Microsoft.SignalRService/WebPubSub/hubs",
        "apiVersion": "2023-03-01-preview",
        "name": "[concat(parameters('webPubSubName'), '/', parameters('hub'))]",
        "dependsOn": ["[resourceId('Microsoft.SignalRService/WebPubSub', parameters('webPubSubName'))]"],
        "properties": {
            "eventHandlers": [{"urlTemplate": "[parameters('handler')]", "systemEvents": ["connect"]}],
            "anonymousConnectPolicy": "allow",
        },
    }
    parameters = {
        "webPubSubName": {"defaultValue": name, "type": "String"},
        "hub": {"defaultValue": "echo", "type": "String"},
        "handler": {"defaultValue": handler, "type": "String"},
        "region": {"defaultValue": "[resourceGroup().location]", "type": "String"},
    }
    # The hub comes first, so that the order is that of its dependency.
    return template(echo, resource, parameters=parameters, variables={})


def deployment(
    content: Template, parameters: Mapping[str, Any] | None = None, mode: str = "Incremental"
) -> d.Deployment:
    given = None if parameters is None else {name: {"value": value} for name, value in parameters.items()}
    properties: Any = {"mode": mode, "template": content}
    if given is not None:
        properties["parameters"] = given
    return d.Deployment({"properties": properties})


def deploy(
    client: Manager,
    group: str,
    content: Template,
    parameters: Mapping[str, Any] | None = None,
    *,
    name: str = "d",
    mode: str = "Incremental",
) -> dict[str, Any]:
    """Deploy, and its properties as they were answered."""
    done = client.deployments.begin_create_or_update(group, name, deployment(content, parameters, mode)).result()
    properties: dict[str, Any] = done.as_dict()["properties"]
    return properties


def what_if(
    client: Manager, group: str, content: Template, mode: str = "Incremental", parameters: Any = None
) -> list[dict[str, Any]]:
    properties: Any = {"mode": mode, "template": content, "parameters": parameters}
    found = client.deployments.begin_what_if(group, "d", d.DeploymentWhatIf({"properties": properties})).result()
    assert found.status == "Succeeded"
    changes: list[dict[str, Any]] = found.as_dict()["properties"]["changes"]
    return changes


def kinds(changes: list[dict[str, Any]]) -> dict[str, str]:
    """Kind of change by the last part of the resource's id."""
    return {change["resourceId"].rpartition("/")[2]: change["changeType"] for change in changes}


def ask(
    server: Server, token: str, method: str, group: str, body: bytes | Any = None, *, path: str = "", name: str = "d"
) -> Answer:
    """
    A request about a deployment.

    Args:
        body: a document, or bytes as they are.
        path: below the deployment.
    """
    target = (
        f"/subscriptions/{server.subscription_id}/resourcegroups/{group}"
        f"/providers/Microsoft.Resources/deployments/{name}{path}?api-version=2025-04-01"
    )
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    return http_request(server, method, target, body=raw, headers=headers, secure=trusting(server.ca))


def refused(call: Callable[[], object]) -> tuple[int | None, str]:
    """Status and code of what a call is refused with."""
    with pytest.raises(HttpResponseError) as caught:
        call()
    assert caught.value.error is not None
    return caught.value.status_code, str(caught.value.error.code)


# What is deployed


def test_template_for_client_certificates_lets_anonymous_clients_in(
    client: Manager, resources: Manager, requests: Requests, group: str
) -> None:
    """Its default parameters are enough, and it takes one request. Whether they come in is up to its handler."""
    name = f"r{uuid4().hex}"
    before = len(requests.sent)
    done = deploy(client, group, certificates_template(name))

    assert len(requests.sent) == before + 1
    assert (done["provisioningState"], done["mode"]) == ("Succeeded", "Incremental")
    assert done["parameters"]["region"] == {"type": "String", "value": "northeurope"}
    document = resources.web_pub_sub.get(group, name)
    assert (document.location, document.sku.name) == ("northeurope", "Standard_S1")
    assert document.tls.client_cert_enabled is True
    echo = resources.web_pub_sub_hubs.get("echo", group, name)
    assert echo.properties.anonymous_connect_policy == "allow"
    assert [handler.url_template for handler in echo.properties.event_handlers] == [HANDLER]

    resource = resource_at(resources, group, name)
    assert connect_status(resource, "echo", None) == 500
    with Upstream() as upstream:
        deploy(client, group, certificates_template(name, upstream.url()))
        assert connect_status(resource, "echo", None) == 101
        assert [event.get("ce-hub") for event in upstream.events("connect")] == ["echo"]
    assert connect_status(resource, "other", None) == 401


def test_deployment_tells_what_it_did(server: Server, client: Manager, group: str) -> None:
    name = f"r{uuid4().hex}"
    done = deploy(client, group, certificates_template(name))

    scope = f"/subscriptions/{server.subscription_id}/resourceGroups/{group}"
    one = f"{scope}/providers/Microsoft.SignalRService/WebPubSub/{name}"
    assert [found["id"] for found in done["outputResources"]] == [one, f"{one}/hubs/echo"]
    (dependency,) = done["dependencies"]
    assert dependency["id"] == f"{one}/hubs/echo"
    assert [above["id"] for above in dependency["dependsOn"]] == [one]
    (provider,) = done["providers"]
    assert provider["namespace"] == "Microsoft.SignalRService"
    assert {kind["resourceType"] for kind in provider["resourceTypes"]} == {"WebPubSub", "WebPubSub/hubs"}
    assert done["templateHash"] == client.deployments.calculate_template_hash(certificates_template(name)).template_hash


def test_parameters_are_given_and_deployed_again_with_others(client: Manager, resources: Manager, group: str) -> None:
    name = f"r{uuid4().hex}"
    content = certificates_template("notused")
    deploy(client, group, content, {"webPubSubName": name, "hub": "chat", "handler": "http://localhost:1/x"})
    before = resource_at(resources, group, name)
    deploy(client, group, content, {"webPubSubName": name, "handler": "https://example.org/"})

    assert resource_at(resources, group, name) == before
    hubs = {found.name: found.properties for found in resources.web_pub_sub_hubs.list(group, name)}
    assert {key: found.event_handlers[0].url_template for key, found in hubs.items()} == {
        "chat": "http://localhost:1/x",
        "echo": "https://example.org/",
    }


def test_names_of_parameters_compare_without_case_and_files_of_them_are_taken(
    server: Server, token: str, group: str
) -> None:
    name = f"r{uuid4().hex}"
    file = {"$schema": "x", "contentVersion": "1.0.0.0", "parameters": {"WEBPUBSUBNAME": {"value": name}}}
    properties = {"mode": "incremental", "template": certificates_template("unused"), "parameters": file}
    answer = ask(server, token, "PUT", group, {"properties": properties})

    assert answer.status == 201, answer.body
    assert answer.json()["properties"]["outputResources"][0]["id"].endswith(f"/{name}")


def test_functions_loops_conditions_and_outputs(client: Manager, resources: Manager, group: str) -> None:
    """As compiled Bicep has them."""
    content = {
        "$schema": SCHEMA,
        "languageVersion": "2.0",
        "contentVersion": "1.0.0.0",
        "parameters": {"hubs": {"type": "array", "defaultValue": ["one", "two"]}, "more": {"type": "bool"}},
        "variables": {"name": "[toLower(take(format('x{0}', uniqueString(resourceGroup().id)), 24))]"},
        "resources": {
            "pubsub": web_pubsub("[variables('name')]", location="[resourceGroup().location]"),
            "hubs": {
                "copy": {"name": "hubs", "count": "[length(parameters('hubs'))]"},
                "type": f"{TYPE}/hubs",
                "apiVersion": VERSION,
                "name": "[format('{0}/{1}', variables('name'), parameters('hubs')[copyIndex()])]",
                "properties": {"anonymousConnectPolicy": "[if(equals(copyIndex(), 0), 'allow', 'deny')]"},
                "dependsOn": ["pubsub"],
            },
            "extra": {
                "condition": "[parameters('more')]",
                "type": f"{TYPE}/hubs",
                "apiVersion": VERSION,
                "name": "[format('{0}/{1}', variables('name'), 'extra')]",
                "properties": {},
                "dependsOn": ["pubsub"],
            },
        },
        "outputs": {
            "endpoint": {"type": "string", "value": "[format('https://{0}', reference('pubsub').hostName)]"},
            "key": {"type": "string", "value": f"[listKeys('pubsub', '{VERSION}').primaryKey]"},
            "hidden": {"type": "securestring", "value": f"[listKeys('pubsub', '{VERSION}').secondaryKey]"},
            "number": {"type": "int", "value": "[add(1, 2)]"},
            "id": {"type": "string", "value": f"[resourceId('{TYPE}', variables('name'))]"},
        },
    }
    done = deploy(client, group, content, {"more": False})

    outputs = done["outputs"]
    name = outputs["id"]["value"].rpartition("/")[2]
    resource = resource_at(resources, group, name)
    assert name.startswith("x")
    assert outputs["endpoint"] == {"type": "String", "value": f"https://{resource.host}"}
    assert outputs["key"]["value"] == resource.access_key
    assert outputs["number"] == {"type": "Int", "value": 3}
    assert "value" not in outputs["hidden"]
    assert [found.name for found in resources.web_pub_sub_hubs.list(group, name)] == ["one", "two"]
    assert (connect_status(resource, "one", None), connect_status(resource, "two", None)) == (101, 401)
    deploy(client, group, content, {"more": True, "hubs": []})
    assert [found.name for found in resources.web_pub_sub_hubs.list(group, name)] == ["extra", "one", "two"]


def test_nested_children_and_escaped_brackets(client: Manager, resources: Manager, group: str) -> None:
    name = f"r{uuid4().hex}"
    child = {
        "type": "hubs",
        "apiVersion": VERSION,
        "name": "inner",
        "dependsOn": [f"[resourceId('{TYPE}', '{name}')]"],
        "properties": {"note": "[[not an expression]", "anonymousConnectPolicy": "allow"},
    }
    deploy(client, group, template(web_pubsub(name, resources=[child], tags={"a": "it's"})))

    assert connect_status(resource_at(resources, group, name), "inner", None) == 101
    assert resources.web_pub_sub.get(group, name).tags == {"a": "it's"}
    hub = resources.web_pub_sub_hubs.get("inner", group, name)
    assert hub.serialize(keep_readonly=True)["properties"]["anonymousConnectPolicy"] == "allow"


def test_secure_parameters_are_told_by_nobody(
    start_server: StartServer, group: str, token: str, server: Server, client: Manager
) -> None:
    secret = f"hidden{uuid4().hex}"
    parameters = {
        "secret": {"type": "secureString"},
        "whole": {"type": "secureObject", "defaultValue": {}},
        "open": {"type": "string"},
    }
    content = template(web_pubsub(f"r{uuid4().hex}"), parameters=parameters)
    given = {"secret": secret, "whole": {"a": secret}, "open": "told"}
    done = deploy(client, group, content, given)

    assert done["parameters"]["open"] == {"type": "String", "value": "told"}
    assert {key: sorted(done["parameters"][key]) for key in ("secret", "whole")} == {
        "secret": ["type"],
        "whole": ["type"],
    }
    for answer in (
        ask(server, token, "GET", group),
        ask(server, token, "POST", group, path="/exportTemplate"),
        ask(
            server,
            token,
            "POST",
            group,
            {"properties": deployment(content, given).as_dict()["properties"]},
            path="/validate",
        ),
        ask(server, token, "GET", group, path="/operations"),
    ):
        assert answer.status == 200, answer.body
        assert secret.encode() not in answer.body
    stored = b"".join(file.read_bytes() for file in server.data.glob("hubwire.db*"))
    assert secret.encode() not in stored
    assert secret not in server.log()


# Before a deployment


def test_validation_changes_nothing(client: Manager, resources: Manager, group: str) -> None:
    name = f"r{uuid4().hex}"
    found = client.deployments.begin_validate(group, "d", deployment(certificates_template(name))).result()

    assert found.as_dict()["properties"]["provisioningState"] == "Succeeded"
    ids = [one["id"] for one in found.as_dict()["properties"]["validatedResources"]]
    assert [one.rpartition("/")[2] for one in ids] == [name, "echo"]
    with pytest.raises(ResourceNotFoundError):
        resources.web_pub_sub.get(group, name)
    with pytest.raises(ResourceNotFoundError):
        client.deployments.get(group, "d")


def test_what_if_tells_create_no_change_and_modify(client: Manager, resources: Manager, group: str) -> None:
    name = f"r{uuid4().hex}"
    content = certificates_template(name)
    assert kinds(what_if(client, group, content)) == {name: "Create", "echo": "Create"}
    with pytest.raises(ResourceNotFoundError):
        resources.web_pub_sub.get(group, name)

    deploy(client, group, content)
    assert kinds(what_if(client, group, content)) == {name: "NoChange", "echo": "NoChange"}

    changed = json.loads(json.dumps(content))
    changed["resources"][0]["properties"]["anonymousConnectPolicy"] = "deny"
    changed["resources"][1]["sku"]["capacity"] = 2
    changes = what_if(client, group, changed)
    assert kinds(changes) == {name: "Modify", "echo": "Modify"}
    deltas = {change["resourceId"].rpartition("/")[2]: change["delta"] for change in changes}
    assert [(one["path"], one["before"], one["after"]) for one in deltas[name]] == [("sku.capacity", 1, 2)]
    assert [(one["path"], one["before"], one["after"]) for one in deltas["echo"]] == [
        ("properties.anonymousConnectPolicy", "allow", "deny")
    ]
    assert kinds(what_if(client, group, content)) == {name: "NoChange", "echo": "NoChange"}


def test_what_if_tells_what_stays_and_what_complete_mode_deletes(
    client: Manager, resources: Manager, group: str
) -> None:
    kept, other = f"r{uuid4().hex}", f"r{uuid4().hex}"
    deploy(client, group, template(web_pubsub(kept), web_pubsub(other)))

    assert kinds(what_if(client, group, template(web_pubsub(kept)))) == {kept: "NoChange", other: "Ignore"}
    assert kinds(what_if(client, group, template(web_pubsub(kept)), "Complete")) == {kept: "NoChange", other: "Delete"}
    assert resources.web_pub_sub.get(group, other).name == other


def test_what_if_tells_ids_alone_where_that_is_wanted(client: Manager, group: str) -> None:
    properties = {
        "mode": "Incremental",
        "template": template(web_pubsub(f"r{uuid4().hex}")),
        "whatIfSettings": {"resultFormat": "ResourceIdOnly"},
    }
    found = client.deployments.begin_what_if(group, "d", d.DeploymentWhatIf({"properties": properties})).result()

    (change,) = found.as_dict()["properties"]["changes"]
    assert set(change) == {"resourceId", "changeType"}


def test_what_if_after_what_a_client_changed_by_hand_shows_it(client: Manager, resources: Manager, group: str) -> None:
    name = f"r{uuid4().hex}"
    content = template(web_pubsub(name))
    deploy(client, group, content)
    body = m.WebPubSubResource(location="northeurope", disable_aad_auth=True)
    resources.web_pub_sub.begin_update(group, name, body).result()

    (change,) = what_if(client, group, content)
    assert change["changeType"] == "Modify"
    assert [one["path"] for one in change["delta"]] == ["properties.disableAadAuth"]


# What is known of one


def test_deployment_is_got_listed_and_deleted_while_its_resources_stay(
    client: Manager, resources: Manager, group: str
) -> None:
    name = f"r{uuid4().hex}"
    assert client.deployments.check_existence(group, "first") is False
    done = deploy(client, group, template(web_pubsub(name)), name="first")
    deploy(client, group, template(), name="second")

    assert client.deployments.check_existence(group, "FIRST") is True
    assert client.deployments.get(group, "first").as_dict()["properties"] == done
    listed = {found.name for found in client.deployments.list_by_resource_group(group)}
    assert listed == {"first", "second"}
    client.deployments.begin_delete(group, "first").result()
    client.deployments.begin_delete(group, "first").result()
    assert client.deployments.check_existence(group, "first") is False
    assert refused(lambda: client.deployments.get(group, "first")) == (404, "DeploymentNotFound")
    assert resources.web_pub_sub.get(group, name).name == name


def test_list_of_deployments_of_one_group_has_no_others(client: Manager, group: str, groups: Manager) -> None:
    longer = f"{group}2"
    groups.resource_groups.create_or_update(longer, {"location": "northeurope"})
    deploy(client, group, template(), name="here")
    deploy(client, longer, template(), name="there")

    assert [found.name for found in client.deployments.list_by_resource_group(group)] == ["here"]
    assert [found.name for found in client.deployments.list_by_resource_group(longer)] == ["there"]


def test_operations_are_listed_and_got(client: Manager, group: str) -> None:
    name = f"r{uuid4().hex}"
    deploy(client, group, certificates_template(name))
    operations = list(client.deployment_operations.list(group, "d"))

    seen = [
        (
            found.properties.target_resource.resource_name,
            found.properties.target_resource.resource_type,
            found.properties.provisioning_operation,
            found.properties.provisioning_state,
            found.properties.status_code,
        )
        for found in operations
    ]
    base = "Microsoft.SignalRService/WebPubSub"
    assert seen == [
        (name, base, "Create", "Succeeded", "Created"),
        ("echo", f"{base}/hubs", "Create", "Succeeded", "Created"),
    ]
    first = operations[0]
    assert client.deployment_operations.get(group, "d", first.operation_id).as_dict() == first.as_dict()
    deploy(client, group, certificates_template(name))
    assert [found.properties.status_code for found in client.deployment_operations.list(group, "d")] == ["OK", "OK"]


def test_template_is_exported_as_it_was(client: Manager, group: str) -> None:
    content = certificates_template(f"r{uuid4().hex}")
    deploy(client, group, content)

    assert client.deployments.export_template(group, "d").template == content


def test_group_is_exported_as_a_template_that_changes_nothing(
    client: Manager, groups: Manager, resources: Manager, group: str
) -> None:
    name = f"r{uuid4().hex}"
    content = certificates_template(name)
    content["resources"][1]["tags"] = {"odd": "[[text]"}
    deploy(client, group, content)
    exported = groups.resource_groups.begin_export_template(group, {"resources": ["*"]}).result()
    text = json.dumps(exported.template)

    for secret in (resource_at(resources, group, name).access_key, resource_at(resources, group, name).secondary_key):
        assert secret not in text
    assert kinds(what_if(client, group, exported.template)) == {name: "NoChange", "echo": "NoChange"}
    before = resource_at(resources, group, name)
    resources.web_pub_sub.begin_delete(group, name).result()
    deploy(client, group, exported.template)
    after = resource_at(resources, group, name)
    assert resources.web_pub_sub.get(group, name).tags == {"odd": "[text]"}
    assert connect_status(after, "echo", None) == 500  # of its handler, which is nowhere
    assert connect_status(after, "other", None) == 401
    assert after.access_key != before.access_key


def test_deployment_outlives_a_kill(start_server: StartServer) -> None:
    first = start_server()
    with manager(DeploymentsMgmtClient, first) as client:
        done = deploy(client, "g", certificates_template("mine"))
        operations = [found.as_dict() for found in client.deployment_operations.list("g", "d")]
    first.process.kill()
    first.wait()

    second = start_server(data=first.data)
    with manager(DeploymentsMgmtClient, second) as client, manager(WebPubSubManagementClient, second) as resources:
        assert client.deployments.get("g", "d").as_dict()["properties"] == done
        assert [found.as_dict() for found in client.deployment_operations.list("g", "d")] == operations
        mine = resource_at(resources, "g", "mine")
        # Anonymous clients come as far as the handler, which is nowhere.
        assert [connect_status(mine, hub, None) for hub in ("echo", "other")] == [500, 401]


# Complete mode


def test_complete_mode_deletes_what_the_template_does_not_have(
    client: Manager, resources: Manager, groups: Manager, group: str
) -> None:
    kept, gone, elsewhere = f"r{uuid4().hex}", f"r{uuid4().hex}", f"r{uuid4().hex}"
    deploy(client, group, template(web_pubsub(kept), web_pubsub(gone)))
    groups.resource_groups.create_or_update(f"{group}2", {"location": "northeurope"})
    deploy(client, f"{group}2", template(web_pubsub(elsewhere)))

    deploy(client, group, template(web_pubsub(kept)), name="whole", mode="Complete")
    assert [found.name for found in resources.web_pub_sub.list_by_resource_group(group)] == [kept]
    assert [found.name for found in resources.web_pub_sub.list_by_resource_group(f"{group}2")] == [elsewhere]
    done = [
        (found.properties.provisioning_operation, found.properties.target_resource.resource_name)
        for found in client.deployment_operations.list(group, "whole")
    ]
    assert done == [("Create", kept), ("Delete", gone)]


def test_complete_mode_cannot_delete_the_default_resource(client: Manager, resources: Manager) -> None:
    code = refused(lambda: deploy(client, "hubwire", template(), mode="Complete", name="empty"))[1]

    assert code in ("DeploymentFailed", "InvalidTemplateDeployment")
    assert resources.web_pub_sub.get("hubwire", "default").name == "default"


def test_incremental_deployment_of_a_resource_leaves_its_other_hubs(
    client: Manager, resources: Manager, group: str
) -> None:
    name = f"r{uuid4().hex}"
    deploy(client, group, certificates_template(name))
    resources.web_pub_sub_hubs.begin_create_or_update(
        "other", group, name, m.WebPubSubHub(properties=m.WebPubSubHubProperties())
    ).result()
    deploy(client, group, certificates_template(name))

    assert [found.name for found in resources.web_pub_sub_hubs.list(group, name)] == ["echo", "other"]


# Failures


def failing(good: str, later: str) -> Template:
    """The second resource cannot be had, since what it belongs to is nowhere; the third one waits for it."""
    return template(
        web_pubsub(later, dependsOn=[f"[resourceId('{TYPE}/hubs', 'nowhere', 'h')]"]),
        hub("nowhere/h", good),
        web_pubsub(good),
    )


def test_failed_deployment_says_which_resource_and_why_and_earlier_ones_stay(
    client: Manager, resources: Manager, group: str
) -> None:
    good, later = f"r{uuid4().hex}", f"r{uuid4().hex}"
    with pytest.raises(HttpResponseError) as caught:
        deploy(client, group, failing(good, later))

    assert caught.value.error is not None
    assert caught.value.error.code == "DeploymentFailed"
    error: Any = caught.value.error
    (detail,) = error.details
    assert detail.code == "ResourceNotFound"
    assert detail.target.endswith("/nowhere/hubs/h")
    assert "nowhere" in detail.message
    assert [found.name for found in resources.web_pub_sub.list_by_resource_group(group)] == [good]
    properties = client.deployments.get(group, "d").as_dict()["properties"]
    assert properties["provisioningState"] == "Failed"
    assert properties["error"]["details"][0]["target"].endswith("/nowhere/hubs/h")
    assert [one["id"].rpartition("/")[2] for one in properties["outputResources"]] == [good]
    states = [
        (found.properties.target_resource.resource_name, found.properties.provisioning_state)
        for found in client.deployment_operations.list(group, "d")
    ]
    assert states == [(good, "Succeeded"), ("h", "Failed")]

    deploy(client, group, template(web_pubsub(good)))
    assert client.deployments.get(group, "d").properties.provisioning_state == "Succeeded"


def test_failure_is_polled_at_the_address_that_is_told(server: Server, token: str, group: str) -> None:
    body = {"properties": {"mode": "Incremental", "template": failing(f"r{uuid4().hex}", f"r{uuid4().hex}")}}
    answer = ask(server, token, "PUT", group, body)
    assert answer.status == 201
    assert answer.json()["properties"]["provisioningState"] == "Accepted"
    where = answer.headers["azure-asyncoperation"]
    assert where.startswith(server.https_endpoint)

    target = where.removeprefix(server.https_endpoint)
    status = http_request(
        server, "GET", target, headers={"Authorization": f"Bearer {token}"}, secure=trusting(server.ca)
    ).json()
    assert (status["status"], status["error"]["code"]) == ("Failed", "DeploymentFailed")
    assert http_request(server, "GET", target, secure=trusting(server.ca)).status == 401


def test_name_that_is_taken_elsewhere_fails_before_anything_is_done(
    client: Manager, resources: Manager, groups: Manager, group: str
) -> None:
    name, other = f"r{uuid4().hex}", f"r{uuid4().hex}"
    groups.resource_groups.create_or_update(f"{group}2", {"location": "northeurope"})
    deploy(client, f"{group}2", template(web_pubsub(name)))

    status, code = refused(lambda: deploy(client, group, template(web_pubsub(other), web_pubsub(name))))
    assert (status, code) == (400, "InvalidTemplateDeployment")
    assert list(resources.web_pub_sub.list_by_resource_group(group)) == []


FAULTS: Final[dict[str, tuple[Template, Any, str]]] = {
    "missing parameter": (template(parameters={"a": {"type": "string"}}), None, "InvalidTemplate"),
    "unknown parameter": (template(), {"a": {"value": 1}}, "InvalidTemplate"),
    "wrong type of a parameter": (
        template(parameters={"a": {"type": "int"}}),
        {"a": {"value": "x"}},
        "InvalidTemplate",
    ),
    "value that is not allowed": (
        template(parameters={"a": {"type": "string", "allowedValues": ["x"]}}),
        {"a": {"value": "y"}},
        "InvalidTemplate",
    ),
    "value that is too long": (
        template(parameters={"a": {"type": "string", "maxLength": 2}}),
        {"a": {"value": "abc"}},
        "InvalidTemplate",
    ),
    "unknown function": (template(web_pubsub("[nothing('a')]")), None, "InvalidTemplate"),
    "broken expression": (template(web_pubsub("[concat('a']")), None, "InvalidTemplate"),
    "unknown variable": (template(web_pubsub("[variables('a')]")), None, "InvalidTemplate"),
    "circle": (
        template(web_pubsub("aaa", dependsOn=["bbb"]), web_pubsub("bbb", dependsOn=["aaa"])),
        None,
        "InvalidTemplate",
    ),
    "dependency that is not there": (template(web_pubsub("aaa", dependsOn=["bbb"])), None, "InvalidTemplate"),
    "resource twice": (template(web_pubsub("aaa"), web_pubsub("aaa")), None, "InvalidTemplate"),
    "name with too few parts": (template(hub("aaa")), None, "InvalidTemplate"),
    "no resources": ({"$schema": SCHEMA, "contentVersion": "1.0.0.0"}, None, "InvalidTemplate"),
    "no schema": ({"contentVersion": "1.0.0.0", "resources": []}, None, "InvalidTemplate"),
    "resource without a type": (template({"name": "aaa", "apiVersion": VERSION}), None, "InvalidTemplate"),
    "unknown type": (
        template({"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2023-01-01", "name": "aaa"}),
        None,
        "InvalidTemplateDeployment",
    ),
    "wrong sku": (template(web_pubsub("aaa", sku={"name": "Standard_S9"})), None, "InvalidTemplateDeployment"),
    "wrong name": (template(web_pubsub("a")), None, "InvalidTemplateDeployment"),
    "wrong property of a hub": (
        template(web_pubsub("aaa"), hub("aaa/h", "aaa", anonymousConnectPolicy="maybe")),
        None,
        "InvalidTemplateDeployment",
    ),
}


@pytest.mark.parametrize("which", FAULTS)
def test_fault_of_a_template_is_told_at_once_by_all_three(
    server: Server, token: str, resources: Manager, group: str, which: str
) -> None:
    """Validation, what-if and deployment; nothing is done, and no deployment is kept."""
    content, parameters, code = FAULTS[which]
    body = {"properties": {"mode": "Incremental", "template": content, "parameters": parameters}}
    for method, path in (("POST", "/validate"), ("POST", "/whatIf"), ("PUT", "")):
        answer = ask(server, token, method, group, body, path=path)
        assert answer.status == 400, answer.body
        error = answer.json()["error"]
        assert error["code"] == code, error
        if code == "InvalidTemplate":
            (information,) = error["additionalInfo"]
            assert information["type"] == "TemplateViolation"
            assert set(information["info"]) == {"lineNumber", "linePosition", "path"}
        else:
            assert all(detail["target"] for detail in error["details"])
    assert list(resources.web_pub_sub.list_by_resource_group(group)) == []
    assert ask(server, token, "GET", group).status == 404


def test_fault_is_told_by_line_and_column_of_the_text(server: Server, token: str, group: str) -> None:
    body = "\n".join(
        [
            '{"properties": {"parameters": {}, "mode": "Incremental", template:{',
            f'  "$schema": "{SCHEMA}",',
            '  "contentVersion": "1.0.0.0",',
            '  "resources": [',
            "    {",
            f'      "type": "{TYPE}",',
            f'      "apiVersion": "{VERSION}",',
            '      "name": "[concat(\'a\', nothing(1))]",',
            '      "location": "eastus"',
            "    }",
            "  ]",
            "}}}",
        ]
    )
    answer = ask(server, token, "PUT", group, body.encode())

    assert answer.status == 400
    error = answer.json()["error"]
    (information,) = error["additionalInfo"]
    assert information["info"]["lineNumber"] == 8
    line = body.splitlines()[7]
    assert line[information["info"]["linePosition"] - 1 :].lstrip('"').startswith(("name", "[concat", "nothing"))
    assert "nothing" in error["message"]
    assert "line 8" in error["message"]


@pytest.mark.parametrize("version", ["1999-01-01", "latest", ""])
def test_api_version_of_a_resource_is_checked(client: Manager, resources: Manager, group: str, version: str) -> None:
    """As that of a request is."""
    content = template(web_pubsub(f"r{uuid4().hex}", apiVersion=version))

    assert refused(lambda: deploy(client, group, content))[0] == 400
    assert list(resources.web_pub_sub.list_by_resource_group(group)) == []


def test_several_resources_at_fault_are_told_together(client: Manager, server: Server, token: str, group: str) -> None:
    content = template(web_pubsub("aaa", sku={"name": "x"}), web_pubsub("bbb", kind="y"), web_pubsub("fine"))
    answer = ask(server, token, "PUT", group, {"properties": {"mode": "Incremental", "template": content}})

    details = answer.json()["error"]["details"]
    assert [detail["target"].rpartition("/")[2] for detail in details] == ["aaa", "bbb"]


def test_foreign_types_are_left_out_where_the_operator_wants_that(start_server: StartServer) -> None:
    server = start_server("--set", "foreign_resources=ignore")
    foreign = {"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2023-01-01", "name": "store"}
    with manager(DeploymentsMgmtClient, server) as client, manager(WebPubSubManagementClient, server) as resources:
        content = template(foreign, web_pubsub("mine", dependsOn=["store"]))
        assert deploy(client, "g", content)["provisioningState"] == "Succeeded"
        assert resources.web_pub_sub.get("g", "mine").name == "mine"
        assert kinds(what_if(client, "g", content)) == {"store": "Unsupported", "mine": "NoChange"}


@pytest.mark.parametrize(
    "properties",
    [
        {"templateLink": {"uri": "https://example.org/t.json"}},
        {"template": template(), "parametersLink": {"uri": "https://example.org/p.json"}},
        {"template": template(), "onErrorDeployment": {"type": "LastSuccessful"}},
    ],
)
def test_what_is_to_be_fetched_is_refused(server: Server, token: str, group: str, properties: dict[str, Any]) -> None:
    """It is said what is not available, and nothing is fetched."""
    for method, path in (("POST", "/validate"), ("PUT", "")):
        answer = ask(server, token, method, group, {"properties": {"mode": "Incremental", **properties}}, path=path)
        assert answer.status == 501
        error = answer.json()["error"]
        assert error["code"] == "FeatureNotAvailable"
        assert any(name in error["message"] for name in properties)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"properties": []}',
        b'{"properties": {}}',
        b'{"properties": {"mode": "Incremental"}}',
        b'{"properties": {"mode": "Sometimes", "template": {}}}',
        b'{"properties": {"mode": "Incremental", "template": "x"}}',
        b'{"properties": {"mode": "Incremental", "template": {"resources": []}, "parameters": []}}',
        b'{"properties": {"mode": "Incremental", "template": {"resources": [1]}}}',
        b'{"properties": {"mode": "Incremental", "template": {"resources": [null]}}}',
        b"\xff\xfe",
        b'{"properties": ' * 20000,
        b"[" * 100000,
        b'{"properties": {"mode": "Incremental", template: /* never ends',
    ],
    ids=range(16),
)
def test_body_that_is_no_deployment_is_refused(server: Server, token: str, group: str, body: bytes) -> None:
    for method, path in (("POST", "/validate"), ("POST", "/whatIf"), ("PUT", "")):
        answer = ask(server, token, method, group, body, path=path)
        assert answer.status == 400, answer.body
        assert answer.json()["error"]["code"]


@pytest.mark.parametrize("wrong", ["a%20b", "a" * 65, "a:b", "%C3%9F%E2%82%AC"])
def test_name_of_a_deployment_has_rules(server: Server, token: str, group: str, wrong: str) -> None:
    body = {"properties": {"mode": "Incremental", "template": template()}}

    assert ask(server, token, "PUT", group, body, name=wrong).status == 400


def test_cancel_of_what_has_ended_is_a_conflict(server: Server, client: Manager, token: str, group: str) -> None:
    deploy(client, group, template())

    assert ask(server, token, "POST", group, path="/cancel").status == 409
    assert ask(server, token, "POST", group, path="/cancel", name="nothing").status == 404


# As `az` sends it


def test_text_of_a_template_file_is_read_as_it_is(server: Server, token: str, resources: Manager, group: str) -> None:
    """With comments, commas too many, text over several lines, and a key without quotation marks."""
    name = f"r{uuid4().hex}"
    text = f"""{{"properties": {{"parameters": {{"hub": {{"value": "quoted"}}}}, "mode": "Incremental", template:{{
  // a comment: "not": 'text'
  "$schema": "{SCHEMA}",
  "contentVersion": '1.0.0.0', /* another
     one */
  "parameters": {{
    "hub": {{ "type": "string", "metadata": {{ "description": "two
lines" }} }},
    "url": {{ "type": "string", "defaultValue": "https://example.org/a//b/*c*/" }},
  }},
  "resources": [
    {{
      "type": "{TYPE}", "apiVersion": "{VERSION}", "name": "{name}", "location": "[resourceGroup().location]",
    }},
    {{
      "type": "{TYPE}/hubs",
      "apiVersion": "{VERSION}",
      "name": "[concat('{name}/',
                 parameters('hub'))]",
      "dependsOn": [ "{name}", ],
      "properties": {{ "eventHandlers": [ {{ "urlTemplate": "[parameters('url')]" }}, ], }},
    }},
  ],
}}}}}}"""
    assert ask(server, token, "POST", group, text.encode(), path="/validate").status == 200
    answer = ask(server, token, "PUT", group, text.replace("\n", "\r\n").encode())

    assert answer.status == 201, answer.body
    (handler,) = resources.web_pub_sub_hubs.get("quoted", group, name).properties.event_handlers
    assert handler.url_template == "https://example.org/a//b/*c*/"


# Who may


def caller(server: Server, role: str, group: str, *more: str) -> App:
    app = create_app(server)
    scope = f"/subscriptions/{server.subscription_id}/resourceGroups/{group}"
    assign(server, app, role, "--scope", scope, *more)
    return app


def test_contributor_at_the_group_may_deploy_there_and_nowhere_else(
    server: Server, resources: Manager, groups: Manager, group: str
) -> None:
    other, name = f"{group}2", f"r{uuid4().hex}"
    groups.resource_groups.create_or_update(other, {"location": "northeurope"})
    with manager(DeploymentsMgmtClient, server, caller(server, "contributor", group)) as contributor:
        assert deploy(contributor, group, certificates_template(name))["provisioningState"] == "Succeeded"
        content = certificates_template(f"r{uuid4().hex}")
        assert refused(lambda: deploy(contributor, other, content)) == (403, "AuthorizationFailed")
        assert refused(lambda: what_if(contributor, other, content)) == (403, "AuthorizationFailed")
        with pytest.raises(HttpResponseError):
            list(contributor.deployments.list_by_resource_group(other))
    assert list(resources.web_pub_sub.list_by_resource_group(other)) == []


def test_reader_may_look_at_deployments_and_not_deploy(server: Server, client: Manager, group: str) -> None:
    content = certificates_template(f"r{uuid4().hex}")
    deploy(client, group, content)
    with manager(DeploymentsMgmtClient, server, caller(server, "resource-reader", group)) as reader:
        assert reader.deployments.get(group, "d").name == "d"
        assert len(list(reader.deployment_operations.list(group, "d"))) == 2
        calls: list[Callable[[], object]] = [
            lambda: deploy(reader, group, content),
            lambda: what_if(reader, group, content),
            lambda: reader.deployments.begin_validate(group, "d", deployment(content)),
            lambda: reader.deployments.begin_delete(group, "d"),
            lambda: reader.deployments.export_template(group, "d"),
        ]
        for call in calls:
            assert refused(call) == (403, "AuthorizationFailed")


def role_assignment(principal: str, role: str = SERVICE_OWNER, **more: Any) -> Template:
    """At the resource group."""
    definition = f"[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{role}')]"
    return {
        "type": "Microsoft.Authorization/roleAssignments",
        "apiVersion": "2022-04-01",
        "name": f"[guid(resourceGroup().id, '{principal}', '{role}')]",
        "properties": {"roleDefinitionId": definition, "principalId": principal, "principalType": "ServicePrincipal"},
        **more,
    }


def told(server: Server, target: Any, app: App) -> int:
    headers = {"Authorization": f"Bearer {token_of(server, app, SCOPE)}", "Content-Type": "text/plain"}
    return http_request(target, "POST", "/api/hubs/h/:send?api-version=2024-12-01", body=b"x", headers=headers).status


def test_role_assignment_in_a_template_takes_an_owner(
    server: Server, client: Manager, resources: Manager, group: str
) -> None:
    name, app = f"r{uuid4().hex}", create_app(server)
    content = template(web_pubsub(name), role_assignment(app.object_id))
    with manager(DeploymentsMgmtClient, server, caller(server, "contributor", group)) as contributor:
        assert refused(lambda: deploy(contributor, group, content)) == (403, "AuthorizationFailed")
        assert list(resources.web_pub_sub.list_by_resource_group(group)) == []
    with manager(DeploymentsMgmtClient, server, caller(server, "resource-owner", group)) as owner:
        deploy(owner, group, content)
    assert told(server, resource_at(resources, group, name), app) == 202
    assert told(server, server, app) == 403


def test_role_assignment_stands_at_one_resource(
    server: Server, client: Manager, resources: Manager, group: str
) -> None:
    one, two, app = f"r{uuid4().hex}", f"r{uuid4().hex}", create_app(server)
    scope = f"[resourceId('{TYPE}', '{one}')]"
    assignment = role_assignment(app.object_id, scope=scope, dependsOn=[one])
    deploy(client, group, template(web_pubsub(one), web_pubsub(two), assignment))
    deploy(client, group, template(web_pubsub(one), web_pubsub(two), assignment))

    found = [told(server, resource_at(resources, group, name), app) for name in (one, two)]
    assert found == [202, 403]


def test_owner_of_one_group_assigns_no_role_elsewhere(
    server: Server, resources: Manager, groups: Manager, group: str
) -> None:
    """By the scope of the assignment."""
    app = create_app(server)
    elsewhere = [
        f"/subscriptions/{server.subscription_id}",
        f"/subscriptions/{server.subscription_id}/resourceGroups/hubwire",
        f"/subscriptions/{server.subscription_id}/resourceGroups/hubwire/providers/{TYPE}/default",
        f"/subscriptions/{server.subscription_id}/resourceGroups/{group}2",
        "/",
    ]
    with manager(DeploymentsMgmtClient, server, caller(server, "resource-owner", group)) as owner:
        for scope in elsewhere:
            content = template(role_assignment(app.object_id, scope=scope))
            assert refused(lambda content=content: deploy(owner, group, content)) == (403, "AuthorizationFailed")  # type: ignore[misc]
        # Nobody resolves dots in a scope: it names nothing.
        dotted = f"/subscriptions/{server.subscription_id}/resourceGroups/{group}/../hubwire"
        with suppress(HttpResponseError):
            deploy(owner, group, template(role_assignment(app.object_id, scope=dotted)))
    assert told(server, server, app) == 403


@pytest.mark.parametrize("directive", ["resourceGroup", "scope"])
def test_template_changes_nothing_in_another_group(
    server: Server, resources: Manager, group: str, directive: str
) -> None:
    """By what a resource says of where it is to be."""
    place = {
        "resourceGroup": "hubwire",
        "scope": f"/subscriptions/{server.subscription_id}/resourceGroups/hubwire",
    }[directive]
    name = f"r{uuid4().hex}"
    contents = [
        template(web_pubsub(name, **{directive: place})),
        template(hub("default/stolen", anonymousConnectPolicy="allow") | {directive: place}),
        template(hub("default/stolen", anonymousConnectPolicy="allow")),
    ]
    with manager(DeploymentsMgmtClient, server, caller(server, "contributor", group)) as contributor:
        for content in contents:
            with pytest.raises(HttpResponseError):
                deploy(contributor, group, content)
    assert name not in [found.name for found in resources.web_pub_sub.list_by_subscription()]
    assert list(resources.web_pub_sub_hubs.list("hubwire", "default")) == []


def test_existing_resource_of_another_group_tells_no_secrets(server: Server, resources: Manager, group: str) -> None:
    existing = {"existing": True, "type": TYPE, "apiVersion": VERSION, "name": "default", "resourceGroup": "hubwire"}
    secret = resources.web_pub_sub.list_keys("hubwire", "default").primary_key
    with manager(DeploymentsMgmtClient, server, caller(server, "contributor", group)) as contributor:
        for value in ("listKeys('there', '2024-03-01').primaryKey", "reference('there').hostName"):
            content = template(outputs={"stolen": {"type": "string", "value": f"[{value}]"}})
            content |= {"languageVersion": "2.0", "resources": {"there": existing}}
            with pytest.raises(HttpResponseError) as caught:
                deploy(contributor, group, content)
            assert secret not in str(caught.value)


def test_template_reads_no_secrets_that_who_deploys_may_not(
    server: Server, client: Manager, resources: Manager, groups: Manager, group: str
) -> None:
    """By a reference to a resource of another group."""
    secret = resources.web_pub_sub.list_keys("hubwire", "default").primary_key
    at = f"resourceId('hubwire', '{TYPE}', 'default')"
    with manager(DeploymentsMgmtClient, server, caller(server, "contributor", group)) as contributor:
        for value in (f"listKeys({at}, '{VERSION}').primaryKey", f"string(reference({at}, '{VERSION}', 'Full'))"):
            content = template(outputs={"stolen": {"type": "string", "value": f"[{value}]"}})
            with pytest.raises(HttpResponseError) as caught:
                deploy(contributor, group, content)
            assert secret not in str(caught.value)
            with pytest.raises((HttpResponseError, ResourceNotFoundError, AssertionError)):
                assert "stolen" in contributor.deployments.get(group, "d").as_dict()["properties"]["outputs"]


def test_user_assigned_identity_is_made_and_used_by_a_resource(
    server: Server, client: Manager, resources: Manager, group: str
) -> None:
    name = f"r{uuid4().hex}"
    kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
    content = template(
        {"type": kind, "apiVersion": "2023-01-31", "name": f"id-{name}", "location": "northeurope"},
        web_pubsub(
            name,
            dependsOn=[f"[resourceId('{kind}', 'id-{name}')]"],
            identity={"type": "UserAssigned", "userAssignedIdentities": {f"[resourceId('{kind}', 'id-{name}')]": {}}},
        ),
        outputs={
            "principal": {
                "type": "string",
                "value": f"[reference(resourceId('{kind}', 'id-{name}'), '2023-01-31').principalId]",
            }
        },
    )
    done = deploy(client, group, content)

    document = resources.web_pub_sub.get(group, name)
    (identity,) = document.identity.user_assigned_identities.values()
    assert document.identity.type == "UserAssigned"
    assert identity.principal_id == done["outputs"]["principal"]["value"]
    assert identity.client_id
    before = identity.as_dict()
    deploy(client, group, content)
    (identity,) = resources.web_pub_sub.get(group, name).identity.user_assigned_identities.values()
    assert identity.as_dict() == before
    assert [change for change in what_if(client, group, content) if change["changeType"] != "NoChange"] == []


def test_identity_that_is_nowhere_is_a_fault_before_anything_is_done(client: Manager, group: str) -> None:
    kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
    identity = {"type": "UserAssigned", "userAssignedIdentities": {f"[resourceId('{kind}', 'nowhere')]": {}}}

    code = refused(lambda: deploy(client, group, template(web_pubsub(f"r{uuid4().hex}", identity=identity))))
    assert code == (400, "InvalidTemplateDeployment")


def test_system_assigned_identity_is_told_to_a_role_assignment(
    server: Server, client: Manager, resources: Manager, group: str
) -> None:
    """By a reference to the whole resource, as compiled Bicep has it."""
    name = f"r{uuid4().hex}"
    reference = f"reference(resourceId('{TYPE}', '{name}'), '{VERSION}', 'full').identity.principalId"
    assignment = role_assignment("x", dependsOn=[name])
    assignment["name"] = f"[guid('{name}')]"
    assignment["properties"]["principalId"] = f"[{reference}]"
    content = template(
        web_pubsub(name, identity={"type": "SystemAssigned"}),
        assignment,
        outputs={"principal": {"type": "string", "value": f"[{reference}]"}},
    )
    done = deploy(client, group, content)

    assert done["outputs"]["principal"]["value"] == resources.web_pub_sub.get(group, name).identity.principal_id


# Several at once


def test_deployments_at_once_all_succeed(server: Server, client: Manager, resources: Manager, group: str) -> None:
    names = [f"r{uuid4().hex}" for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(lambda name: deploy(client, group, certificates_template(name), name=name), names))

    assert {one["provisioningState"] for one in done} == {"Succeeded"}
    found = [resource_at(resources, group, name) for name in names]
    assert len({port for one in found for port in (one.port, one.https_port)}) == 16
    assert {found.name for found in client.deployments.list_by_resource_group(group)} == set(names)


def test_deployments_of_one_name_at_once_are_one_after_the_other_or_a_conflict(
    server: Server, token: str, client: Manager, group: str
) -> None:
    name = f"r{uuid4().hex}"
    hubs = [hub(f"{name}/h{at}", name) for at in range(10)]
    body = {"properties": {"mode": "Incremental", "template": template(web_pubsub(name), *hubs)}}
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: ask(server, token, "PUT", group, body), range(6)))

    statuses = [answer.status for answer in answers]
    assert set(statuses) <= {200, 201, 409}
    assert statuses.count(201) == 1
    assert client.deployments.get(group, "d").properties.provisioning_state == "Succeeded"
    assert len(list(client.deployment_operations.list(group, "d"))) == 11


def test_deployment_goes_on_when_who_asked_is_gone(server: Server, token: str, resources: Manager, group: str) -> None:
    """What it was told to do is done, and is found under its name."""
    name = f"r{uuid4().hex}"
    content = template(web_pubsub(name), *(hub(f"{name}/h{at}", name) for at in range(30)))
    body = json.dumps({"properties": {"mode": "Incremental", "template": content}}).encode()
    target = (
        f"/subscriptions/{server.subscription_id}/resourcegroups/{group}/providers/Microsoft.Resources/deployments/d"
    )
    head = (
        f"PUT {target}?api-version=2025-04-01 HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((server.host, server.port), DEADLINE_S) as raw:
        raw.sendall(head.encode() + body)
        wait_until(lambda: ask(server, token, "GET", group).status == 200, "the deployment")

    def state() -> str:
        return str(ask(server, token, "GET", group).json()["properties"]["provisioningState"])

    wait_until(lambda: state() == "Succeeded", "its end")
    assert len(list(resources.web_pub_sub_hubs.list(group, name))) == 30
