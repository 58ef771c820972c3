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
from hubwire.resources.identities import UserIdentities, join
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


class World:
    """A server's resource tree, and what deploys to it."""

    def __init__(self, store: MemoryStore, catalog: Catalog, directory: Directory) -> None:
        join(catalog, directory)
        self.catalog = catalog
        self.identities = UserIdentities(catalog, directory, lambda: NOW)
        deployables = Deployables(catalog, directory, place, TENANT)
        self.deployments = Deployments(store, catalog, deployables, TENANT, lambda: NOW)

    async def put(self, name: str = "wps-one", **body: Any) -> None:
        await self.catalog.put_resource(SUBSCRIPTION, "g", name, {"location": "eastus", **body})

    async def documents(self) -> list[Any]:
        """Resources of the group with their hubs, without their keys; and its identities, without their ids."""
        found: list[Any] = []
        for resource in self.catalog.resources(SUBSCRIPTION, "g"):
            shown = resource_document(resource, place(resource), TENANT)
            for assigned in shown.get("identity", {}).get("userAssignedIdentities", {}).values():
                assigned.clear()
            found.append(shown)
            found += await self.catalog.list_hubs(resource.name)
        return found + [{**document, "properties": {}} for document in self.identities.documents(SUBSCRIPTION, "g")]

    async def exported(self, group: str = "g") -> dict[str, Any]:
        return await export(self.catalog, SUBSCRIPTION, group, self.deployments.documents(SUBSCRIPTION, group))


async def opened() -> World:
    store, numbers = MemoryStore(), itertools.count()
    catalog = await Catalog.load(store, subscription_id=SUBSCRIPTION, clock=lambda: NOW)
    directory = await Directory.load(
        store, lambda begin: TokenKey(f"certificate {next(numbers)}", "key", int(NOW), begin), NOW
    )
    return World(store, catalog, directory)


def place(resource: StoredResource) -> Place:
    return Place(f"http://{resource.name}.example:8081", f"{resource.name}.example", 8444, 8444)


async def deployed(template: dict[str, Any]) -> World:
    """Another server, to which a template was deployed."""
    other = await opened()
    done = await other.deployments.deploy(Order(SUBSCRIPTION, "g", "d", template), lambda _action, _scope: None)
    assert (done.state, done.error) == ("Succeeded", None)
    changes = await other.deployments.what_if(Order(SUBSCRIPTION, "g", "d", template), lambda _action, _scope: None)
    assert {change["changeType"] for change in changes} == {"NoChange"}
    return other


async def test_group_deploys_to_the_same_state_elsewhere() -> None:
    one = await opened()
    await one.identities.put(SUBSCRIPTION, "g", "one", {"location": "eastus", "tags": {"a": "[b]"}})
    await one.identities.put(SUBSCRIPTION, "g", "two", {"location": "local"})
    await one.put(
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
    await one.put("wps-two", sku={"name": "Free_F1"})
    handlers = [{"urlTemplate": "https://example.org/{hub}", "userEventPattern": "*", "systemEvents": ["connect"]}]
    await one.catalog.put_hub("chat", {"eventHandlers": handlers, "anonymousConnectPolicy": "allow"}, "wps-one")
    await one.catalog.put_hub("Rooms.[x]`", {}, "wps-one")
    await one.catalog.put_hub("users", {"communicationIdentity": {"scopes": ["voip"], "roles": ["r"]}}, "wps-one")
    await one.catalog.put_hub("chat", {"reliableRetentionInSeconds": 60}, "wps-two")

    template = await one.exported()
    other = await deployed(template)

    assert await other.documents() == await one.documents()
    assert await other.exported() == template


async def test_what_is_in_other_groups_and_secrets_stay_where_they_are() -> None:
    one = await opened()
    await one.put()

    template = await one.exported()

    assert [resource["name"] for resource in template["resources"]] == ["wps-one"]
    assert (await one.exported("nowhere"))["resources"] == []
    keys = one.catalog.access_keys("wps-one")
    assert not any(secret in str(template) for secret in (keys.primary, keys.secondary, keys.salt))


@pytest.mark.parametrize("text", TEXTS)
async def test_text_that_looks_like_an_expression_stays_a_text(text: str) -> None:
    one = await opened()
    inner = {"x": text, "deep": [{"x": [text]}], "tls": {"clientCertEnabled": False}}
    await one.put(tags={"a": text}, properties=inner)
    await one.catalog.put_hub("chat", {"x": text, "deep": {"x": [text]}}, "wps-one")

    template = await one.exported()
    plan = prepare(template, {}, Environment(TENANT, SUBSCRIPTION, "Hubwire", "g", "eastus", {}, "d", "", str, ""))
    other = await deployed(template)

    assert len(plan.resources) == 2
    assert await other.documents() == await one.documents()


@pytest.mark.parametrize("name", ["[concat('a', 'b')]", "[nothing(]", "[[a]"])
async def test_name_of_a_property_that_looks_like_an_expression_stays_a_name(name: str) -> None:
    one = await opened()
    await one.put(properties={"x": {name: 1}})

    assert await (await deployed(await one.exported())).documents() == await one.documents()


async def test_property_of_the_name_copy_stays_one() -> None:
    one = await opened()
    await one.put(properties={"x": {"copy": [{"name": "y", "count": 2, "input": 1}]}})

    assert await (await deployed(await one.exported())).documents() == await one.documents()
