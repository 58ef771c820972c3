"""Key Vaults in templates: deployed as a whole, once more without effect, exported, and taken away."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest

from hubwire.auth.vault_cipher import VaultCipher
from hubwire.model.directory import TokenKey
from hubwire.model.errors import Forbidden
from hubwire.resources.catalog import Catalog
from hubwire.resources.deployables import Deployables
from hubwire.resources.deployments import Deployments, Invalid, Order, StoredDeployment
from hubwire.resources.directory import Directory
from hubwire.resources.documents import StoredGroup, StoredResource
from hubwire.resources.export import export
from hubwire.resources.identities import join
from hubwire.resources.resource_documents import Place
from hubwire.resources.vault_access import SecretAccess
from hubwire.resources.vault_deployables import VaultTypes
from hubwire.resources.vault_documents import StoredVault
from hubwire.resources.vaults import Vaults
from resources.vaulting import GROUP, NOW, SUBSCRIPTION, KeyFile
from rest.issuing import MemoryStore

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
VAULT = "Microsoft.KeyVault/vaults"
VERSION = "2023-07-01"
SOMEBODY = "66666666-aaaa-4000-8000-000000000006"


class World:
    """Deployments with the vaults that they deploy to."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.asked: list[tuple[str, str]] = []
        self.refused = ""

    async def start(self) -> "World":
        numbers = itertools.count()
        self.directory = await Directory.load(
            self.store, lambda begin: TokenKey(f"certificate {next(numbers)}", "key", int(NOW), begin), NOW
        )
        self.tenant = self.directory.tenant.tenant_id
        self.catalog = await Catalog.load(self.store, subscription_id=SUBSCRIPTION, clock=lambda: NOW)
        join(self.catalog, self.directory)
        cipher = VaultCipher(KeyFile())
        self.vaults = await Vaults.load(self.store, cipher, self.catalog, self.tenant, clock=lambda: NOW)
        self.access = SecretAccess(self.vaults, self.directory.roles_of, lambda: NOW)
        types = VaultTypes(self.vaults, self.access, uri, {self.tenant})
        deployables = Deployables(self.catalog, self.directory, place, self.tenant, (types,))
        self.deployments = Deployments(self.store, self.catalog, deployables, self.tenant, lambda: NOW)
        await self.deployments.load()
        self.catalog.on_end.append(self.deployments.forget)
        return self

    def policy(self, *words: str) -> dict[str, Any]:
        return {"tenantId": self.tenant, "objectId": SOMEBODY, "permissions": {"secrets": list(words)}}

    def may(self, action: str, scope: str) -> None:
        self.asked.append((action, scope))
        if action == self.refused:
            raise Forbidden("You may not.")

    def order(self, *resources: Any, complete: bool = False, outputs: Any = None, **parameters: Any) -> Order:
        template: dict[str, Any] = {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": list(resources)}
        if outputs is not None:
            template["outputs"] = outputs
        template["parameters"] = {name: {"type": "securestring"} for name in parameters}
        given = {name: {"value": value} for name, value in parameters.items()}
        return Order(SUBSCRIPTION, "g", "d", template, given, complete)

    async def deploy(self, *resources: Any, **more: Any) -> StoredDeployment:
        return await self.deployments.deploy(self.order(*resources, **more), self.may)

    async def deployed(self, *resources: Any, **more: Any) -> StoredDeployment:
        done = await self.deploy(*resources, **more)
        assert (done.state, done.error) == ("Succeeded", None)
        return done

    async def kinds(self, *resources: Any, **more: Any) -> list[str]:
        changes = await self.deployments.what_if(self.order(*resources, **more), self.may)
        return [change["changeType"] for change in changes]


def uri(vault: StoredVault) -> str:
    return f"https://{vault.name.lower()}.example:9443/"


def place(resource: StoredResource) -> Place:
    return Place(f"http://{resource.name}.example:8081", f"{resource.name}.example", 8444, 8444)


def vault(name: str = "vault-one", policies: Sequence[Any] = (), **properties: Any) -> dict[str, Any]:
    given = {"tenantId": "[subscription().tenantId]", "sku": {"family": "A", "name": "standard"}, **properties}
    body = {"type": VAULT, "apiVersion": VERSION, "name": name, "location": "eastus"}
    return {**body, "properties": {**given, "accessPolicies": list(policies)}}


def below(kind: str, name: str, properties: Any, **more: Any) -> dict[str, Any]:
    above = f"[resourceId('{VAULT}', 'vault-one')]"
    body = {"type": f"{VAULT}/{kind}", "apiVersion": VERSION, "name": f"vault-one/{name}", "dependsOn": [above]}
    return {**body, "properties": properties, **more}


@pytest.fixture
async def world() -> World:
    return await World().start()


async def test_vault_with_policies_and_secrets_is_deployed_as_a_whole(world: World) -> None:
    change = {"accessPolicies": [world.policy("list")]}
    secret = below("secrets", "code", {"value": "[parameters('code')]"}, tags={"a": "b"})
    outputs = {
        "uri": {"type": "string", "value": f"[reference(resourceId('{VAULT}', 'vault-one')).vaultUri]"},
        "secret": {
            "type": "string",
            "value": f"[reference(resourceId('{VAULT}/secrets', 'vault-one', 'code')).secretUri]",
        },
    }

    done = await world.deployed(
        vault(policies=[world.policy("get")]),
        below("accessPolicies", "add", change),
        secret,
        code="s3cret",
        outputs=outputs,
    )

    assert [step.is_new for step in done.operations] == [True, False, True]
    assert {name: output["value"] for name, output in done.outputs.items()} == {
        "uri": "https://vault-one.example:9443/",
        "secret": "https://vault-one.example:9443/secrets/code",
    }
    (found,) = world.vaults.all()
    assert found.properties["accessPolicies"] == [world.policy("get", "list")]
    assert (await world.access.get("vault-one", "code", None, None)).value == "s3cret"
    assert (
        "Microsoft.KeyVault/vaults/secrets/write",
        f"{GROUP}/providers/{VAULT}/vault-one/secrets/code",
    ) in world.asked


async def test_children_stand_inside_of_their_vault_too(world: World) -> None:
    inner = {"type": "secrets", "apiVersion": VERSION, "name": "code", "properties": {"value": "s3cret"}}
    above = [f"[resourceId('{VAULT}', 'vault-one')]"]

    await world.deployed({**vault(), "resources": [{**inner, "dependsOn": above}]})

    assert (await world.access.get("vault-one", "code", None, None)).value == "s3cret"


async def test_same_template_again_changes_nothing(world: World) -> None:
    """Above all it makes no new version of a secret."""
    resources = (
        vault(policies=[world.policy("get")]),
        below("accessPolicies", "add", {"accessPolicies": [world.policy("get")]}),
        below("secrets", "code", {"value": "s3cret", "contentType": "text/plain"}),
    )
    assert await world.kinds(*resources) == ["Create", "Create", "Create"]
    await world.deployed(*resources)
    first = world.access.versions("vault-one", "code", None)

    assert await world.kinds(*resources) == ["NoChange", "NoChange", "NoChange"]
    await world.deployed(*resources)

    assert world.access.versions("vault-one", "code", None) == first
    await world.deployed(resources[0], below("secrets", "code", {"value": "n3w"}))
    assert len(world.access.versions("vault-one", "code", None)) == 2


async def test_secret_without_a_value_keeps_it(world: World) -> None:
    await world.deployed(vault(), below("secrets", "code", {"value": "s3cret"}))

    await world.deployed(vault(), below("secrets", "code", {"attributes": {"enabled": True}, "contentType": "x"}))

    found = await world.access.get("vault-one", "code", None, None)
    assert (found.value, found.properties.content_type) == ("s3cret", "x")
    with pytest.raises(Invalid, match=r"properties\.value is required"):
        await world.deploy(vault(), below("secrets", "new", {"contentType": "x"}))


async def test_value_of_a_secret_is_kept_nowhere_but_sealed(world: World) -> None:
    """Neither with the deployment nor in what it would change."""
    resources = (
        vault(),
        below("secrets", "code", {"value": "s3cret-inline"}),
        below("secrets", "other", {"value": "[parameters('p')]"}),
    )
    changes = await world.deployments.what_if(world.order(*resources, p="s3cret-given"), world.may)
    done = await world.deployed(*resources, p="s3cret-given")

    stored = json.dumps([document.body for document in world.store.documents.values()])
    assert "s3cret-" not in stored + json.dumps(changes) + repr(done)
    assert (await world.access.get("vault-one", "code", None, None)).value == "s3cret-inline"


@pytest.mark.parametrize("properties", [{"value": 1, "contentType": "s3cret"}, {"value": "s3cret", "attributes": 1}])
async def test_secret_that_cannot_be_is_shown_without_its_value(world: World, properties: Any) -> None:
    with pytest.raises(Invalid) as refused:
        await world.deploy(vault(), below("secrets", "code", properties))
    assert "s3cret" not in refused.value.message


@pytest.mark.parametrize(
    ("resource", "why"),
    [
        (vault("a"), "name of a vault"),
        (vault(sku={"name": "free"}), r"sku\.name"),
        (below("secrets", "a_b", {"value": "x"}), "name of a secret"),
        (below("accessPolicies", "set", {"accessPolicies": []}), "add, replace or remove"),
        (below("accessPolicies", "add", {}), r"accessPolicies is required"),
    ],
)
async def test_what_cannot_be_is_found_before_anything_is_done(
    world: World, resource: dict[str, Any], why: str
) -> None:
    others = [] if resource["type"] == VAULT else [vault()]
    with pytest.raises(Invalid, match=why):
        await world.deploy(*others, resource)
    assert world.vaults.all() == []


@pytest.mark.parametrize("child", ["secrets/code", "accessPolicies/add"])
async def test_child_of_a_vault_that_is_not_there_is_refused(world: World, child: str) -> None:
    kind, _, name = child.partition("/")
    properties: dict[str, Any] = {"value": "x"} if kind == "secrets" else {"accessPolicies": []}
    resource = {**below(kind, name, properties), "dependsOn": []}
    await world.catalog.put_group(StoredGroup("g", SUBSCRIPTION))

    with pytest.raises(Invalid, match="no vault with the name vault-one"):
        await world.deploy(resource)
    await world.deployed(vault())
    await world.deployed(resource)


async def test_rights_are_needed_for_each_part(world: World) -> None:
    for refused in ("vaults/write", "vaults/secrets/write", "vaults/accessPolicies/write"):
        world.refused = f"Microsoft.KeyVault/{refused}"
        with pytest.raises(Forbidden):
            await world.deploy(
                vault(),
                below("secrets", "code", {"value": "x"}),
                below("accessPolicies", "add", {"accessPolicies": []}),
            )
    assert world.vaults.all() == []


async def test_what_does_not_act_is_told(world: World) -> None:
    done = await world.deployed(vault(enableSoftDelete=True, tenantId=SOMEBODY))

    (step,) = done.operations
    assert step.warnings == [
        "enableSoftDelete is kept and does nothing here",
        "what is deleted in the vault is gone at once",
        f"no token of the tenant {SOMEBODY} is taken here; the local one is {world.tenant}",
    ]


async def test_complete_mode_takes_away_vaults_that_the_template_has_not(world: World) -> None:
    """And leaves the secrets of those that it has."""
    await world.deployed(vault("vault-one"), vault("vault-two"), below("secrets", "code", {"value": "x"}))
    assert sorted(await world.kinds(vault("vault-one"), complete=True)) == ["Delete", "NoChange"]

    await world.deployed(vault("vault-one"), complete=True)

    assert [found.name for found in world.vaults.all()] == ["vault-one"]
    assert len(world.access.all("vault-one", None)) == 1
    world.refused = "Microsoft.KeyVault/vaults/delete"
    with pytest.raises(Forbidden):
        await world.deploy(complete=True)


async def test_vaults_are_exported_without_their_secrets(world: World) -> None:
    await world.deployed(
        vault("vault-one", [world.policy("get")], enableSoftDelete=True, x="[[a]"),
        below("secrets", "code", {"value": "s3cret"}),
    )
    await world.catalog.put_resource(SUBSCRIPTION, "h", "wps-one", {"location": "eastus"})

    template = await export(world.catalog, SUBSCRIPTION, "g", world.deployments.documents(SUBSCRIPTION, "g"))

    assert [resource["type"] for resource in template["resources"]] == [VAULT]
    assert "s3cret" not in json.dumps(template)
    order = Order(SUBSCRIPTION, "g", "d", template)
    changes = await world.deployments.what_if(order, world.may)
    assert [change["changeType"] for change in changes] == ["NoChange"]


async def test_deleted_group_takes_vaults_and_their_roles_with_it(world: World) -> None:
    await world.deployed(vault(enableRbacAuthorization=True))
    app = await world.directory.create("somebody", NOW)
    scope = f"{GROUP}/providers/{VAULT}/vault-one"
    await world.directory.assign(world.tenant, app.object_id, "4633458b-17de-408a-b874-0445c86b69e6", scope)

    await world.catalog.delete_group(SUBSCRIPTION, "g")

    assert world.vaults.all() == []
    assert world.directory.roles_of(world.tenant, app.object_id) == ()
