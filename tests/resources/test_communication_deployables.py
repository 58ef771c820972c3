"""Communication services in templates and in exports."""

import itertools
from typing import Any

import pytest

from hubwire.model.directory import TokenKey
from hubwire.model.errors import Forbidden
from hubwire.resources.communication_deployables import CommunicationTypes
from hubwire.resources.deployables import Deployables
from hubwire.resources.deployments import Deployments, Invalid, Order, StoredDeployment
from hubwire.resources.directory import Directory
from hubwire.resources.documents import StoredResource
from hubwire.resources.export import export
from hubwire.resources.identities import UserIdentities, join
from hubwire.resources.resource_documents import Place
from resources.communicating import IDENTITY, Communicating
from resources.vaulting import GROUP, NOW, SUBSCRIPTION, TENANT

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
SERVICE = "Microsoft.Communication/communicationServices"
LIST_KEYS = f"{SERVICE}/listKeys/action"
WHERE = "resourceId('Microsoft.Communication/communicationServices', 'acs-one')"


class World(Communicating):
    """
    Deployments with the services that they deploy to.

    Attributes:
        asked: what whoever deploys had to be allowed, and where.
        refused: an action that they are not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []
        self.refused = ""

    async def start(self) -> "World":
        await super().start()
        numbers = itertools.count()
        directory = await Directory.load(
            self.store, lambda begin: TokenKey(f"certificate {next(numbers)}", "key", int(NOW), begin), NOW
        )
        join(self.catalog, directory)
        self.identities = UserIdentities(self.catalog, directory, lambda: NOW)
        types = CommunicationTypes(self.services)
        deployables = Deployables(self.catalog, directory, place, TENANT, (types,))
        self.deployments = Deployments(self.store, self.catalog, deployables, TENANT, lambda: NOW)
        await self.deployments.load()
        return self

    def may(self, action: str, scope: str) -> None:
        self.asked.append((action, scope))
        if action == self.refused:
            raise Forbidden("You may not.")

    def order(self, *resources: Any, group: str = "g", outputs: Any = None, complete: bool = False) -> Order:
        template: dict[str, Any] = {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": list(resources)}
        if outputs is not None:
            template["outputs"] = outputs
        return Order(SUBSCRIPTION, group, "d", template, complete=complete)

    async def deployed(self, *resources: Any, **more: Any) -> StoredDeployment:
        done = await self.deployments.deploy(self.order(*resources, **more), self.may)
        assert (done.state, done.error) == ("Succeeded", None)
        return done

    async def changes(self, *resources: Any, **more: Any) -> list[dict[str, Any]]:
        return await self.deployments.what_if(self.order(*resources, **more), self.may)

    async def exported(self, group: str = "g") -> dict[str, Any]:
        return await export(self.catalog, SUBSCRIPTION, group, self.deployments.documents(SUBSCRIPTION, group))


def place(resource: StoredResource) -> Place:
    return Place(f"http://{resource.name}.example:8081", f"{resource.name}.example", 8444, 8444)


def service(name: str = "acs-one", data: str = "europe", **more: Any) -> dict[str, Any]:
    body = {"type": SERVICE, "apiVersion": "2023-04-01", "name": name, "location": "global", **more}
    return {**body, "properties": {"dataLocation": data, **more.get("properties", {})}}


def value(expression: str) -> dict[str, Any]:
    return {"type": "string", "value": f"[{expression}]"}


@pytest.fixture
async def world() -> World:
    return await World().start()


async def test_service_is_deployed_and_tells_where_it_is_and_its_keys(world: World) -> None:
    outputs = {
        "host": value(f"reference({WHERE}).hostName"),
        "connectionString": value(f"listKeys({WHERE}, '2023-04-01').primaryConnectionString"),
    }

    done = await world.deployed(service(), outputs=outputs)

    found = world.services.find(SUBSCRIPTION, "g", "acs-one")
    host = "acs-one.communication.localhost"
    assert {name: output["value"] for name, output in done.outputs.items()} == {
        "host": host,
        "connectionString": f"endpoint=https://{host}/;accesskey={found.keys.primary}",
    }
    assert (LIST_KEYS, f"{GROUP}/providers/{SERVICE}/acs-one") in world.asked
    assert [step.is_new for step in done.operations] == [True]
    again = await world.deployed(service(), outputs=outputs)
    assert [step.is_new for step in again.operations] == [False]
    assert again.outputs == done.outputs


async def test_whoever_may_not_list_keys_gets_none_of_a_template(world: World) -> None:
    await world.deployed(service())
    world.refused = LIST_KEYS

    done = await world.deployments.deploy(
        world.order(outputs={"key": value(f"listKeys({WHERE}, '2023-04-01').primaryKey")}), world.may
    )

    assert done.state == "Failed"
    assert done.outputs == {}


async def test_what_if_tells_what_would_change(world: World) -> None:
    (change,) = await world.changes(service())
    assert (change["changeType"], change["after"]["properties"]["dataLocation"]) == ("Create", "Europe")
    assert "immutableResourceId" not in change["after"]["properties"]
    await world.deployed(service(identity={"type": "SystemAssigned"}))

    (same,) = await world.changes(service(identity={"type": "SystemAssigned"}))
    (other,) = await world.changes(service(tags={"a": "b"}, properties={"disableLocalAuth": True}))

    assert same["changeType"] == "NoChange"
    assert other["changeType"] == "Modify"
    assert {one["path"] for one in other["delta"]} == {"tags.a", "properties.disableLocalAuth", "identity"}


async def test_feature_that_is_not_there_is_told_before_anything_is_done(world: World) -> None:
    with pytest.raises(Invalid) as refused:
        await world.deployed(service("acs-two"), service(properties={"linkedDomains": ["x"]}))

    assert [detail["code"] for detail in refused.value.details] == ["FeatureNotAvailable"]
    assert [found.name for found in world.services.all()] == ["default"]


async def test_what_does_not_act_is_among_the_warnings(world: World) -> None:
    done = await world.deployed(service(identity={"type": "SystemAssigned"}, properties={"more": 1}))

    (step,) = done.operations
    assert [text.split()[0] for text in step.warnings] == ["identity", "properties.more"]


async def test_complete_deployment_deletes_all_services_but_the_first(world: World) -> None:
    """Which is there whatever a template says."""
    default = {"type": "Microsoft.SignalRService/webPubSub", "apiVersion": "2024-03-01", "location": "eastus"}
    kept = {**default, "name": "default"}
    await world.put("one", "hubwire")

    changes = await world.changes(kept, group="hubwire", complete=True)
    done = await world.deployed(kept, group="hubwire", complete=True)

    assert [change["resourceId"].rpartition("/")[2] for change in changes] == ["default", "one"]
    assert [(step.type.rpartition("/")[2], step.kind) for step in done.operations][1:] == [
        ("communicationservices", "Delete")
    ]
    assert [found.name for found in world.services.all()] == ["default"]


async def test_giving_a_service_an_identity_takes_a_right_at_that_identity(world: World) -> None:
    await world.identities.put(SUBSCRIPTION, "g", "one", {"location": "eastus"})

    await world.deployed(service(identity={"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}))

    assert ("Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", IDENTITY) in world.asked


async def test_group_is_exported_with_its_services_and_deploys_to_the_same_state_elsewhere(world: World) -> None:
    await world.identities.put(SUBSCRIPTION, "g", "one", {"location": "eastus"})
    identity = {"type": "SystemAssigned,UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}
    await world.put("one", tags={"a": "[b]"}, identity=identity)
    await world.put("two", properties={"dataLocation": "UK", "disableLocalAuth": True, "more": "[x]"})

    template = await world.exported()

    assert "accesskey" not in str(template)
    other = await World().start()
    await other.deployed(*template["resources"])
    assert {change["changeType"] for change in await other.changes(*template["resources"])} == {"NoChange"}
    for name in ("one", "two"):
        before, after = (one.services.find(SUBSCRIPTION, "g", name) for one in (world, other))
        assert (after.tags, after.properties) == (before.tags, before.properties)
        assert (after.identity.kind, after.identity.assigned) == (before.identity.kind, before.identity.assigned)


async def test_first_service_is_exported_once_somebody_has_changed_it(world: World) -> None:
    async def names() -> list[str]:
        return [one["name"] for one in (await world.exported("hubwire"))["resources"] if one["type"] == SERVICE]

    assert await names() == []
    await world.services.regenerate("default", "primary")
    assert await names() == []
    await world.services.patch(SUBSCRIPTION, "hubwire", "default", {"properties": {"disableLocalAuth": True}})
    assert await names() == ["default"]
