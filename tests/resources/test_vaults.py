"""Key Vaults of the tree: made, replaced, patched, deleted, and the same after each new start."""

import asyncio
from typing import Any

import pytest

from hubwire.model.errors import BadRequest, Conflict, NotFound, NotStored, StartFailed, Unavailable
from hubwire.model.listeners import listener_name
from hubwire.model.ports import Document
from hubwire.model.vaults import NewSecret
from hubwire.resources.documents import StoredGroup
from hubwire.resources.vault_documents import vault_document, vault_id
from resources.vaulting import GROUP, NOW, SUBSCRIPTION, TENANT, Vaulting, policy

BODY: dict[str, Any] = {"location": "East US", "tags": {"a": "b"}, "properties": {"accessPolicies": [policy("get")]}}


class Ports:
    """
    Listeners that nobody listens with.

    Attributes:
        heard: what was asked of them, in order.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.failing = False
        self.given = (9080, 9443)

    async def open(self, name: str, ports: tuple[int, int], /) -> tuple[int, int]:
        self.heard.append(("open", name, ports))
        if self.failing:
            raise Unavailable("No port can be had.")
        return self.given

    async def close(self, name: str, /) -> None:
        self.heard.append(("close", name))


@pytest.fixture
async def world() -> Vaulting:
    return await Vaulting().start()


async def put(world: Vaulting, name: str = "Vault-One", group: str = "g", **body: Any) -> bool:
    _, is_new = await world.vaults.put(SUBSCRIPTION, group, name, {**BODY, **body})
    return is_new


async def test_vault_is_there_from_when_it_is_made(world: Vaulting) -> None:
    assert await put(world) is True

    vault = world.vaults.find(SUBSCRIPTION.upper(), "G", "vAULT-oNE")
    assert vault_document(vault, "https://127.0.0.1:9443/") == {
        "id": f"{GROUP}/providers/Microsoft.KeyVault/vaults/Vault-One",
        "name": "Vault-One",
        "type": "Microsoft.KeyVault/vaults",
        "location": "eastus",
        "tags": {"a": "b"},
        "systemData": {"createdAt": "2027-01-15T08:00:00.0000000Z", "lastModifiedAt": "2027-01-15T08:00:00.0000000Z"},
        "properties": {
            "tenantId": TENANT,
            "sku": {"family": "A", "name": "standard"},
            "accessPolicies": [policy("get")],
            "enableRbacAuthorization": False,
            "publicNetworkAccess": "Enabled",
            "vaultUri": "https://127.0.0.1:9443/",
            "provisioningState": "Succeeded",
        },
    }
    assert world.told == 1


async def test_vault_is_the_same_after_a_new_start(world: Vaulting) -> None:
    await put(world)
    before = world.vaults.all()

    await world.start()

    assert world.vaults.all() == before
    assert world.vaults.named("vault-one") == before[0]


async def test_second_put_replaces_what_it_says_and_keeps_name_and_secrets(world: Vaulting) -> None:
    await put(world)
    await world.access.set("vault-one", "code", NewSecret("1"), None)
    world.now += 60

    assert await put(world, "VAULT-one", properties={}, tags={}) is False

    (vault,) = world.vaults.all()
    assert (vault.name, vault.tags, vault.properties["accessPolicies"]) == ("Vault-One", {}, [])
    assert (vault.created_at, vault.changed_at) == (NOW, NOW + 60)
    assert len(world.access.all("vault-one", None)) == 1


@pytest.mark.parametrize("name", ["", "ab", "1ab", "a--b", "a_b", "ab-", "a" * 25])
async def test_illegal_name_is_refused(world: Vaulting, name: str) -> None:
    with pytest.raises(BadRequest):
        await put(world, name)


@pytest.mark.parametrize("location", [None, 1, "", "a/b"])
async def test_location_is_required(world: Vaulting, location: object) -> None:
    with pytest.raises(BadRequest) as refused:
        await put(world, location=location)
    assert refused.value.target == "location"


async def test_name_is_unique_in_the_server(world: Vaulting) -> None:
    await put(world)
    await world.catalog.put_group(StoredGroup("h", SUBSCRIPTION))

    with pytest.raises(Conflict):
        await put(world, "vault-one", "h")
    with pytest.raises(NotFound):
        world.vaults.find(SUBSCRIPTION, "h", "vault-one")


async def test_resource_group_is_made_with_its_first_vault(world: Vaulting) -> None:
    """But for none that cannot be."""
    with pytest.raises(BadRequest):
        await put(world, "x", group="New-Group")
    assert world.catalog.group(SUBSCRIPTION, "new-group") is None

    await put(world, group="New-Group")
    await put(world, "vault-two", group="new-group")
    assert [vault.group for vault in world.vaults.all()] == ["New-Group", "New-Group"]
    group = world.catalog.group(SUBSCRIPTION, "new-group")
    assert group is not None
    assert group.location == "eastus"


async def test_check_makes_nothing(world: Vaulting) -> None:
    assert world.vaults.check(SUBSCRIPTION, "g", "vault-one", BODY).properties["accessPolicies"] == [policy("get")]
    with pytest.raises(BadRequest):
        world.vaults.check(SUBSCRIPTION, "g", "vault-one", {**BODY, "properties": 1})

    assert world.vaults.all() == []


async def test_patch_changes_what_is_given(world: Vaulting) -> None:
    await put(world)

    await world.vaults.patch(SUBSCRIPTION, "g", "vault-one", {"tags": {}, "properties": {"enableSoftDelete": True}})

    (vault,) = world.vaults.all()
    assert (vault.tags, vault.properties["enableSoftDelete"]) == ({}, True)
    assert vault.properties["accessPolicies"] == [policy("get")]
    with pytest.raises(NotFound):
        await world.vaults.patch(SUBSCRIPTION, "g", "other", {})


async def test_access_policies_change_alone(world: Vaulting) -> None:
    await put(world)

    await world.vaults.change_policies("VAULT-ONE", "add", [policy("list")])

    assert world.vaults.all()[0].properties["accessPolicies"] == [policy("get", "list")]
    await world.start()
    assert world.vaults.all()[0].properties["accessPolicies"] == [policy("get", "list")]
    with pytest.raises(NotFound):
        await world.vaults.change_policies("other", "add", [])


async def test_deleted_vault_is_gone_with_its_secrets_for_good(world: Vaulting) -> None:
    """A vault that is made in its place has none of them."""
    for name in ("vault-one", "vault-two"):
        await put(world, name)
        await world.access.set(name, "code", NewSecret("1"), None)
    ended: list[str] = []

    async def end(scope: str) -> None:
        ended.append(scope)

    world.catalog.on_end.append(end)

    assert await world.vaults.delete(SUBSCRIPTION, "g", "VAULT-ONE") is True
    assert await world.vaults.delete(SUBSCRIPTION, "g", "vault-one") is False

    assert [vault.name for vault in world.vaults.all()] == ["vault-two"]
    assert ended == [f"{GROUP}/providers/Microsoft.KeyVault/vaults/vault-one"]
    assert [key for kind, key in world.store.documents if kind == "vault"] == ["vault-two"]
    assert [key for kind, key in world.store.documents if kind == "vaultSecret" and "one" in key] == []
    await put(world)
    assert world.access.all("vault-one", None) == []


async def test_vaults_go_with_their_resource_group(world: Vaulting) -> None:
    await put(world)
    await world.catalog.put_group(StoredGroup("g2", SUBSCRIPTION))
    await put(world, "vault-two", "g2")

    await world.catalog.delete_group(SUBSCRIPTION, "G")

    assert [vault.name for vault in world.vaults.all()] == ["vault-two"]
    assert [key for kind, key in world.store.documents if kind == "vault"] == ["vault-two"]


async def test_lists_are_of_a_subscription_or_a_group(world: Vaulting) -> None:
    other = "33333333-aaaa-4000-8000-000000000003"
    await world.catalog.put_group(StoredGroup("g", other))
    await put(world, "b-vault")
    await world.vaults.put(other, "g", "a-vault", BODY)

    assert [vault.name for vault in world.vaults.all()] == ["a-vault", "b-vault"]
    assert [vault.name for vault in world.vaults.all(SUBSCRIPTION)] == ["b-vault"]
    assert [vault.name for vault in world.vaults.all(other, "G")] == ["a-vault"]
    assert world.vaults.all(other, "h") == []


async def test_changes_take_turns(world: Vaulting) -> None:
    await asyncio.gather(*(put(world, f"vault-{number}") for number in range(5)), put(world, "vault-1", properties={}))

    assert len(world.vaults.all()) == 5


# Ports


async def test_vault_has_ports_from_when_it_is_made_until_it_is_deleted(world: Vaulting) -> None:
    world.vaults.ports = ports = Ports()
    await put(world)
    await put(world)

    assert world.vaults.all()[0].ports == (9080, 9443)
    await world.vaults.delete(SUBSCRIPTION, "g", "vault-one")
    assert ports.heard == [("open", "vault/vault-one", (0, 0)), ("close", listener_name("vault", "Vault-One"))]


async def test_vault_that_cannot_be_stored_or_reached_is_not_made(world: Vaulting) -> None:
    world.vaults.ports = ports = Ports()
    world.store.full = True
    with pytest.raises(NotStored):
        await put(world)
    assert ports.heard == [("open", "vault/vault-one", (0, 0)), ("close", "vault/vault-one")]

    world.store.full, ports.failing = False, True
    with pytest.raises(Unavailable):
        await put(world)
    assert world.vaults.all() == []


async def test_ports_are_opened_at_the_start_and_told_when_they_moved(world: Vaulting) -> None:
    await put(world)
    world.vaults.ports = ports = Ports()
    assert await world.vaults.open_ports() == []

    ports.given = (9081, 0)
    assert await world.vaults.open_ports() == [("Vault-One", (9080, 9443), (9081, 0))]
    assert await world.vaults.open_ports() == []
    await world.start()
    assert world.vaults.all()[0].ports == (9081, 0)


# What is said


async def test_tenants_whose_tokens_are_not_taken_are_told(world: Vaulting) -> None:
    strange = "66666666-aaaa-4000-8000-000000000006"
    vault = await world.made("vault-one", policy("get"), {**policy("get"), "tenantId": strange})

    assert world.vaults.warnings(vault, [TENANT]) == [
        f"no token of the tenant {strange} is taken here; the local one is {TENANT}"
    ]
    assert world.vaults.warnings(vault, [TENANT, strange]) == []


async def test_network_rules_keep_addresses_out(world: Vaulting) -> None:
    await world.made("vault-one", networkAcls={"defaultAction": "Deny", "ipRules": [{"value": "127.0.0.1"}]})

    assert world.vaults.refusal("vault-one", "127.0.0.1") is None
    assert world.vaults.refusal("vault-one", None) is None
    assert world.vaults.refusal("vault-one", "192.0.2.1") is not None
    with pytest.raises(NotFound):
        world.vaults.refusal("other", "127.0.0.1")


@pytest.mark.parametrize("change", [{"properties": {"sku": 1}}, {"name": 1}])
async def test_damaged_document_is_named_at_the_start(world: Vaulting, change: dict[str, Any]) -> None:
    vault = await world.made()
    document = world.store.documents["vault", "vault-one"]
    world.store.documents["vault", "vault-one"] = Document("vault", "vault-one", {**document.body, **change}, "1")

    with pytest.raises(StartFailed, match=r"^the stored vault vault-one "):
        await world.start()
    assert vault_id(vault).endswith("/vault-one")
