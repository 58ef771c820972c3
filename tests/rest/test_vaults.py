"""Vaults, their access policies and their secrets at the resource manager."""

import json
from typing import Any

import pytest

from auth.entra import ISSUER_URL, NOW, OBJECT_ID, TENANT, Clock, ForeignKeys, InMemory, rsa_key
from hubwire.auth.bearers import MANAGEMENT, Bearers
from hubwire.auth.failures import Failures
from hubwire.auth.managers import Managers
from hubwire.auth.vault_cipher import VaultCipher
from hubwire.model.directory import Assignment
from hubwire.model.roles import READER, RESOURCE_OWNER, RESOURCE_READER
from hubwire.model.telemetry import Telemetry
from hubwire.resources.catalog import Catalog
from hubwire.resources.documents import StoredGroup
from hubwire.resources.vault_access import SecretAccess
from hubwire.resources.vault_documents import StoredVault
from hubwire.resources.vaults import Vaults
from hubwire.rest.operation import RestApp
from hubwire.rest.vaults import VaultTable
from resources.vaulting import KeyFile
from rest.asgi import FakePrincipals, Reply, request
from rest.issuing import MemoryStore
from rest.managing import GROUP, GROUPS, ISSUER, SUBSCRIPTION, bearer

VAULTS = f"{GROUP}/providers/Microsoft.KeyVault/vaults"
ONE = f"{VAULTS}/vault-one"
EVERYWHERE = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault"
SOMEBODY = "66666666-aaaa-4000-8000-000000000006"
POLICY: dict[str, Any] = {
    "tenantId": TENANT.tenant_id,
    "objectId": SOMEBODY,
    "permissions": {"secrets": ["get"]},
}
BODY: dict[str, Any] = {"location": "eastus", "properties": {"accessPolicies": [POLICY]}}


def uri(vault: StoredVault) -> str:
    return f"https://{vault.name.lower()}.example:9443/"


class World:
    """The table on vaults in memory, and a caller who has a role."""

    def __init__(self, catalog: Catalog, vaults: Vaults, access: SecretAccess) -> None:
        self.catalog = catalog
        self.vaults = vaults
        self.access = access
        self.directory = InMemory()
        clock = Clock()
        foreign = ForeignKeys({(ISSUER_URL, "foreign-key"): rsa_key("foreign").public_key()})
        bearers = Bearers(self.directory, None, (ISSUER_URL,), foreign, (), 0, clock, MANAGEMENT)
        managers = Managers(bearers, Failures(0), clock)
        self.app = RestApp(
            VaultTable(vaults, access, uri, {TENANT.tenant_id}, managers).operations(),
            callers=FakePrincipals(),
            telemetry=Telemetry(connection_quota=1),
            cors_origins=(),
            max_message_bytes=1 << 20,
            idle_timeout_s=30.0,
            issuer_url=ISSUER,
            managers=managers,
        )

    def assign(self, role_id: str, scope: str = "/") -> None:
        self.directory.assignments.append(Assignment("id", TENANT.tenant_id, OBJECT_ID, role_id, scope))

    async def call(
        self, method: str, path: str, document: object = None, version: str | None = "2023-07-01", **more: Any
    ) -> Reply:
        query = "" if version is None else f"?api-version={version}"
        body = b"" if document is None else json.dumps(document).encode()
        headers = [("Authorization", bearer()), ("Content-Length", str(len(body)))]
        reply = await request(self.app, method, path + query, headers, (body,), **more)
        assert reply is not None
        return reply

    async def fault(self, method: str, path: str, document: object = None, **more: Any) -> tuple[int, str]:
        reply = await self.call(method, path, document, **more)
        return reply.status, reply.json["error"]["code"]


@pytest.fixture
async def world() -> World:
    store = MemoryStore()
    catalog = await Catalog.load(store, subscription_id=SUBSCRIPTION, clock=lambda: NOW)
    await catalog.put_group(StoredGroup("g", SUBSCRIPTION))
    vaults = await Vaults.load(store, VaultCipher(KeyFile()), catalog, TENANT.tenant_id, clock=lambda: NOW)
    made = World(catalog, vaults, SecretAccess(vaults, lambda _tenant, _principal: [], lambda: NOW))
    made.assign(RESOURCE_OWNER.id)
    return made


# Vaults


@pytest.mark.parametrize("version", ["2015-06-01", "2022-07-01", "2023-07-01", "2024-11-01", "2024-04-01-preview"])
async def test_vault_is_made_shown_listed_and_deleted(world: World, version: str) -> None:
    made = await world.call("PUT", ONE, BODY, version)
    assert made.status == 201
    assert made.json["id"] == ONE
    assert made.json["properties"]["vaultUri"] == "https://vault-one.example:9443/"
    assert (await world.call("PUT", ONE, BODY, version)).status == 200

    assert (await world.call("GET", ONE.upper().replace("SUBSCRIPTIONS", "subscriptions"), None, version)).status == 200
    shown = (await world.call("GET", ONE, None, version)).json
    assert shown == made.json
    for path in (VAULTS, f"{EVERYWHERE}/vaults"):
        assert (await world.call("GET", path, None, version)).json == {"value": [shown]}

    assert (await world.call("DELETE", ONE, None, version)).status == 200
    assert (await world.call("DELETE", ONE, None, version)).status == 204
    assert await world.fault("GET", ONE, version=version) == (404, "ResourceNotFound")


async def test_patch_changes_what_is_given(world: World) -> None:
    await world.call("PUT", ONE, BODY)

    reply = await world.call("PATCH", ONE, {"tags": {"a": "b"}, "properties": {"sku": {"name": "premium"}}})

    assert (reply.status, reply.json["tags"]) == (200, {"a": "b"})
    assert reply.json["properties"]["sku"] == {"family": "A", "name": "premium"}
    assert reply.json["properties"]["accessPolicies"] == [POLICY]
    assert (await world.fault("PATCH", f"{VAULTS}/other", {}))[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"{VAULTS}/x", BODY, 400),
        (ONE, {}, 400),
        (ONE, {**BODY, "properties": {"sku": {"name": "free"}}}, 400),
        (ONE, [], 400),
        (ONE.replace(SUBSCRIPTION, "x"), BODY, 400),
    ],
)
async def test_vault_that_cannot_be_is_refused(world: World, path: str, body: object, status: int) -> None:
    assert (await world.fault("PUT", path, body))[0] == status
    assert world.vaults.all() == []


async def test_name_that_another_group_has_is_refused(world: World) -> None:
    await world.call("PUT", ONE, BODY)

    assert (await world.fault("PUT", f"{GROUPS}/h/providers/Microsoft.KeyVault/vaults/vault-one", BODY))[0] == 409


async def test_api_version_is_required(world: World) -> None:
    for method, path in (("GET", ONE), ("PUT", ONE), ("GET", VAULTS), ("GET", f"{EVERYWHERE}/vaults")):
        assert await world.fault(method, path, BODY, version=None) == (400, "MissingApiVersionParameter")


async def test_what_does_not_act_is_in_a_header(world: World) -> None:
    strange = {**POLICY, "tenantId": SOMEBODY}
    body = {**BODY, "properties": {"enableSoftDelete": True, "accessPolicies": [strange]}}

    reply = await world.call("PUT", ONE, body)

    assert "enableSoftDelete is kept and does nothing here" in reply.headers["warning"]
    assert f"no token of the tenant {SOMEBODY} is taken here" in reply.headers["warning"]
    assert "warning" not in (await world.call("PUT", ONE, BODY)).headers


async def test_roles_of_the_resource_manager_count(world: World) -> None:
    """At the vault, and by no role of the data plane."""
    await world.call("PUT", ONE, BODY)
    await world.call("PUT", f"{VAULTS}/vault-two", BODY)
    world.directory.assignments.clear()
    world.assign(RESOURCE_READER.id, ONE)
    world.assign(READER.id)

    assert (await world.call("GET", ONE)).status == 200
    listed = (await world.call("GET", f"{EVERYWHERE}/vaults")).json["value"]
    assert [vault["name"] for vault in listed] == ["vault-one"]
    for method, path in (
        ("PUT", ONE),
        ("PATCH", ONE),
        ("DELETE", ONE),
        ("GET", f"{VAULTS}/vault-two"),
        ("GET", VAULTS),
        ("PUT", f"{ONE}/accessPolicies/add"),
        ("PUT", f"{ONE}/secrets/code"),
    ):
        assert await world.fault(method, path, BODY) == (403, "AuthorizationFailed")


# Access policies


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("add", ["get", "list"]), ("replace", ["list"]), ("REMOVE", ["get"])],
)
async def test_access_policies_change_by_what_the_path_says(world: World, kind: str, expected: list[str]) -> None:
    await world.call("PUT", ONE, BODY)
    change = {"properties": {"accessPolicies": [{**POLICY, "permissions": {"secrets": ["list"]}}]}}

    reply = await world.call("PUT", f"{ONE}/accessPolicies/{kind}", change)

    assert reply.status == 200
    assert reply.json["id"] == f"{ONE}/accessPolicies/{kind.lower()}"
    (policy,) = (await world.call("GET", ONE)).json["properties"]["accessPolicies"]
    assert policy["permissions"]["secrets"] == expected
    assert reply.json["properties"]["accessPolicies"] == [policy]


@pytest.mark.parametrize(
    ("path", "document", "status"),
    [
        (f"{ONE}/accessPolicies/set", {"properties": {"accessPolicies": []}}, 400),
        (f"{ONE}/accessPolicies/add", {}, 400),
        (f"{ONE}/accessPolicies/add", {"properties": {"accessPolicies": [1]}}, 400),
        (f"{VAULTS}/other/accessPolicies/add", {"properties": {"accessPolicies": []}}, 404),
    ],
)
async def test_change_of_policies_that_cannot_be_is_refused(
    world: World, path: str, document: object, status: int
) -> None:
    await world.call("PUT", ONE, BODY)

    assert (await world.fault("PUT", path, document))[0] == status


# Secrets


async def test_secret_is_set_and_its_value_is_never_given_back(world: World) -> None:
    await world.call("PUT", ONE, BODY)
    secret = f"{ONE}/secrets/code"

    made = await world.call("PUT", secret, {"properties": {"value": "s3cret"}, "tags": {"a": "b"}})
    again = await world.call("PUT", secret.upper(), {"properties": {"value": "s3cret", "contentType": "x"}})
    shown = await world.call("GET", secret)
    listed = await world.call("GET", f"{ONE}/secrets")

    assert (made.status, again.status) == (201, 200)
    assert not any(b"s3cret" in reply.body for reply in (made, again, shown, listed))
    assert listed.json == {"value": [shown.json]}
    version = world.access.versions("vault-one", "code", None)[0].version
    assert shown.json == {
        "id": secret,
        "name": "code",
        "type": "Microsoft.KeyVault/vaults/secrets",
        "location": "eastus",
        "tags": {},
        "properties": {
            "attributes": {"enabled": True, "created": NOW, "updated": NOW},
            "contentType": "x",
            "secretUri": "https://vault-one.example:9443/secrets/code",
            "secretUriWithVersion": f"https://vault-one.example:9443/secrets/code/{version}",
        },
    }
    assert made.json["tags"] == {"a": "b"}


async def test_patch_of_a_secret_changes_its_properties_or_its_value(world: World) -> None:
    await world.call("PUT", ONE, BODY)
    secret = f"{ONE}/secrets/code"
    await world.call("PUT", secret, {"properties": {"value": "s3cret"}})

    disabled = await world.call("PATCH", secret, {"properties": {"attributes": {"enabled": False}}})
    assert disabled.json["properties"]["attributes"]["enabled"] is False
    assert len(world.access.versions("vault-one", "code", None)) == 1
    await world.call("PATCH", secret, {"properties": {"value": "n3w"}})
    assert (await world.access.get("vault-one", "code", None, None)).value == "n3w"


@pytest.mark.parametrize(
    ("method", "path", "document", "status"),
    [
        ("PUT", f"{ONE}/secrets/code", {}, 400),
        ("PUT", f"{ONE}/secrets/code", {"properties": {}}, 400),
        ("PUT", f"{ONE}/secrets/code", {"properties": {"value": 1}}, 400),
        ("PUT", f"{ONE}/secrets/a_b", {"properties": {"value": "x"}}, 400),
        ("PUT", f"{VAULTS}/other/secrets/code", {"properties": {"value": "x"}}, 404),
        ("PATCH", f"{ONE}/secrets/code", {}, 404),
        ("GET", f"{ONE}/secrets/code", None, 404),
        ("GET", f"{VAULTS}/other/secrets", None, 404),
        ("GET", f"{ONE}/keys", None, 501),
        ("PUT", f"{ONE}/keys/code", {}, 501),
    ],
)
async def test_secret_that_cannot_be_is_refused(
    world: World, method: str, path: str, document: object, status: int
) -> None:
    await world.call("PUT", ONE, BODY)

    assert (await world.fault(method, path, document))[0] == status


# Names


@pytest.mark.parametrize(
    ("name", "reason"), [("vault-two", None), ("VAULT-one", "AlreadyExists"), ("a_b", "AccountNameInvalid")]
)
async def test_name_can_be_asked_for(world: World, name: str, reason: str | None) -> None:
    await world.call("PUT", ONE, BODY)
    path = f"{EVERYWHERE}/checkNameAvailability"

    found = (await world.call("POST", path, {"name": name, "type": "Microsoft.KeyVault/vaults"})).json

    assert (found["nameAvailable"], found.get("reason")) == (reason is None, reason)
    for wrong in ({}, {"name": "x"}, {"name": 1, "type": "Microsoft.KeyVault/vaults"}, {"name": "x", "type": "y"}):
        assert (await world.fault("POST", path, wrong))[0] == 400


async def test_no_deleted_vault_is_kept(world: World) -> None:
    await world.call("PUT", ONE, BODY)
    await world.call("DELETE", ONE)

    assert (await world.call("GET", f"{EVERYWHERE}/deletedVaults")).json == {"value": []}
