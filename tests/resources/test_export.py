"""A group as a template, which deploys to the same state in another server."""

import itertools
from typing import Any

import pytest

from hubwire.model.directory import TokenKey
from hubwire.resources.catalog import Catalog
from hubwire.resources.deployables import Deployables
from hubwire.resources.deployments import Deployments, Order
from hubwire.resources.directory import Directory
from hubwire.resources.documents import StoredResource
from hubwire.resources.export import export
from hubwire.resources.resource_documents import Place, resource_document
from hubwire.resources.template_context import Environment
from hubwire.resources.templates import prepare
from rest.issuing import MemoryStore

SUBSCRIPTION = "22222222-aaaa-4000-8000-000000000002"
TENANT = "11111111-aaaa-4000-8000-000000000001"
NOW = 1_800_000_000.0
IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"
)
TEXTS = [
    "[concat('a', 'b')]",
    "[nothing(]",
    "[[parameters('x')]",
    "[[[",
    "[]",
    "[",
    "]",
    "[a] b",
    " [a]",
    "a[b]",
    "{hub}/[x]",
    "[null()]",
    "",
]


async def catalog() -> Catalog:
    made = await Catalog.load(MemoryStore(), subscription_id=SUBSCRIPTION, clock=lambda: NOW)
    made.identities = {IDENTITY: ("object", "client")}.get
    return made


def place(resource: StoredResource) -> Place:
    return Place(f"http://{resource.name}.example:8081", f"{resource.name}.example", 8444, 8444)


async def put(catalog: Catalog, name: str = "wps-one", **body: Any) -> None:
    await catalog.put_resource(SUBSCRIPTION, "g", name, {"location": "eastus", **body})


async def deployed(template: dict[str, Any]) -> Catalog:
    """Another server, to which a template was deployed."""
    other, numbers = await catalog(), itertools.count()
    directory = await Directory.load(
        MemoryStore(), lambda begin: TokenKey(f"certificate {next(numbers)}", "key", int(NOW), begin), NOW
    )
    deployables = Deployables(other, directory, place, TENANT)
    deployments = Deployments(MemoryStore(), other, deployables, TENANT, lambda: NOW)
    done = await deployments.deploy(Order(SUBSCRIPTION, "g", "d", template), lambda _action, _scope: None)
    assert (done.state, done.error) == ("Succeeded", None)
    assert await deployments.what_if(Order(SUBSCRIPTION, "g", "d", template), lambda _action, _scope: None)
    return other


async def documents(catalog: Catalog) -> list[Any]:
    """Resources of the group with their hubs, without their keys."""
    found: list[Any] = []
    for resource in catalog.resources(SUBSCRIPTION, "g"):
        found.append(resource_document(resource, place(resource), TENANT))
        found += await catalog.list_hubs(resource.name)
    return found


async def exported(catalog: Catalog, group: str = "g") -> dict[str, Any]:
    return await export(catalog, SUBSCRIPTION, group)


async def test_group_deploys_to_the_same_state_elsewhere() -> None:
    one = await catalog()
    await put(
        one,
        tags={"a": "b"},
        sku={"name": "Premium_P1", "capacity": 2},
        kind="SocketIO",
        identity={"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}},
        properties={
            "tls": {"clientCertEnabled": True},
            "disableLocalAuth": True,
            "publicNetworkAccess": "Disabled",
            "networkACLs": {
                "defaultAction": "Deny",
                "publicNetwork": {"allow": ["ClientConnection"]},
                "ipRules": [{"value": "::ffff:10.0.0.0/104", "action": "Allow"}],
            },
            "liveTraceConfiguration": {
                "enabled": "true",
                "categories": [{"name": "ConnectivityLogs", "enabled": "true"}],
            },
            "resourceStopped": "true",
        },
    )
    await put(one, "wps-two", sku={"name": "Free_F1"})
    handlers = [{"urlTemplate": "https://example.org/{hub}", "userEventPattern": "*", "systemEvents": ["connect"]}]
    await one.put_hub("chat", {"eventHandlers": handlers, "anonymousConnectPolicy": "allow"}, "wps-one")
    await one.put_hub("Rooms.[x]`", {}, "wps-one")
    await one.put_hub("chat", {}, "wps-two")

    template = await exported(one)
    other = await deployed(template)

    assert await documents(other) == await documents(one)
    assert await exported(other) == template


async def test_what_is_in_other_groups_and_secrets_stay_where_they_are() -> None:
    one = await catalog()
    await put(one)

    template = await exported(one)

    assert [resource["name"] for resource in template["resources"]] == ["wps-one"]
    assert (await exported(one, "nowhere"))["resources"] == []
    keys = one.access_keys("wps-one")
    assert not any(secret in str(template) for secret in (keys.primary, keys.secondary, keys.salt))


@pytest.mark.parametrize("text", TEXTS)
async def test_text_that_looks_like_an_expression_stays_a_text(text: str) -> None:
    one = await catalog()
    inner = {"x": text, "deep": [{"x": [text]}], "tls": {"clientCertEnabled": False}}
    await put(one, tags={"a": text}, properties=inner)
    await one.put_hub("chat", {"x": text, "deep": {"x": [text]}}, "wps-one")

    template = await exported(one)
    plan = prepare(template, {}, Environment(TENANT, SUBSCRIPTION, "Hubwire", "g", "eastus", {}, "d", "", str, ""))
    other = await deployed(template)

    assert len(plan.resources) == 2
    assert await documents(other) == await documents(one)


@pytest.mark.parametrize("name", ["[concat('a', 'b')]", "[nothing(]", "[[a]"])
async def test_name_of_a_property_that_looks_like_an_expression_stays_a_name(name: str) -> None:
    one = await catalog()
    await put(one, properties={"x": {name: 1}})

    assert await documents(await deployed(await exported(one))) == await documents(one)


async def test_property_of_the_name_copy_stays_one() -> None:
    one = await catalog()
    await put(one, properties={"x": {"copy": [{"name": "y", "count": 2, "input": 1}]}})

    assert await documents(await deployed(await exported(one))) == await documents(one)
