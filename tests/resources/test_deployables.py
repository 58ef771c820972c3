"""Ids in their parts, and what each resource type of a template shows and takes."""

import itertools
from typing import Any

import pytest

from hubwire.model.directory import TokenKey
from hubwire.model.errors import BadRequest
from hubwire.model.roles import OWNER, READER
from hubwire.resources.catalog import Catalog
from hubwire.resources.deployables import Deployable, Deployables, SplitId, split_id
from hubwire.resources.directory import Directory
from hubwire.resources.documents import HOME_GROUP, StoredResource
from hubwire.resources.resource_documents import Place
from hubwire.resources.templates import Planned
from rest.issuing import MemoryStore

SUBSCRIPTION = "22222222-aaaa-4000-8000-000000000002"
NOW = 1_800_000_000.0
ROOT = f"/subscriptions/{SUBSCRIPTION}"
GROUP = f"{ROOT}/resourceGroups/g"
WPS = "Microsoft.SignalRService/webPubSub"
ROLES = "Microsoft.Authorization/roleAssignments"
IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
ONE = f"{GROUP}/providers/{WPS}/wps-one"
NAME = "77777777-aaaa-4000-8000-000000000007"


class World:
    """Two resources in two groups, and somebody."""

    def __init__(self, catalog: Catalog, directory: Directory, somebody: str) -> None:
        self.catalog = catalog
        self.directory = directory
        self.somebody = somebody
        tenant = directory.tenant.tenant_id
        self.deployables = Deployables(catalog, directory, self.place, tenant)

    @staticmethod
    def place(resource: StoredResource) -> Place:
        return Place(f"http://{resource.name}.example:8081", f"{resource.name}.example", 8444, 8444)

    def of(self, kind: str) -> Deployable:
        found = self.deployables.of(kind)
        assert found is not None
        return found

    async def assign(self, scope: str, role: str = OWNER.id, name: str = NAME) -> None:
        await self.directory.assign(self.directory.tenant.tenant_id, self.somebody, role, scope, name)


@pytest.fixture
async def world() -> World:
    store, numbers = MemoryStore(), itertools.count()
    catalog = await Catalog.load(store, subscription_id=SUBSCRIPTION, clock=lambda: NOW)
    directory = await Directory.load(
        store, lambda begin: TokenKey(f"certificate {next(numbers)}", "key", int(NOW), begin), NOW
    )
    for name, group in (("wps-one", "g"), ("wps-two", "h")):
        await catalog.put_resource(SUBSCRIPTION, group, name, {"location": "eastus"})
    return World(catalog, directory, (await directory.create("somebody", NOW)).object_id)


def planned(kind: str, name: str, at: str = "") -> Planned:
    where = at or f"{GROUP}/providers/{kind}/{name}"
    return Planned(None, kind, "2024-03-01", name, where, False, (), "resources[0]", SUBSCRIPTION, "g")


# Ids


@pytest.mark.parametrize(
    ("resource_id", "expected"),
    [
        (ONE, SplitId(GROUP, SUBSCRIPTION, "g", WPS.lower(), ("wps-one",))),
        (f"{ONE}/hubs/chat", SplitId(GROUP, SUBSCRIPTION, "g", f"{WPS.lower()}/hubs", ("wps-one", "chat"))),
        (
            ONE.upper().replace(SUBSCRIPTION.upper(), SUBSCRIPTION),
            SplitId(
                GROUP.upper().replace(SUBSCRIPTION.upper(), SUBSCRIPTION), SUBSCRIPTION, "G", WPS.lower(), ("WPS-ONE",)
            ),
        ),
        (f"{ONE}/providers/{ROLES}/x", SplitId(ONE, SUBSCRIPTION, "g", ROLES.lower(), ("x",))),
        (f"{GROUP}/providers/{ROLES}/x", SplitId(GROUP, SUBSCRIPTION, "g", ROLES.lower(), ("x",))),
        (f"{ROOT}/providers/{ROLES}/x", SplitId(ROOT, SUBSCRIPTION, "", ROLES.lower(), ("x",))),
        (f"/providers/{ROLES}/x", SplitId("", "", "", ROLES.lower(), ("x",))),
    ],
)
def test_id_has_its_parts(resource_id: str, expected: SplitId) -> None:
    assert split_id(resource_id) == expected


@pytest.mark.parametrize(
    "resource_id",
    [
        "",
        "/",
        GROUP,
        f"{GROUP}/providers",
        f"{GROUP}/providers/{WPS}",
        f"{ONE}/",
        f"{ONE}/hubs",
        f"{ONE}/hubs/",
        f"{GROUP}/providers/{WPS}//hubs/chat",
        f"{ONE}/providers/{WPS}/wps-two",
        f"{ONE}/providers/{WPS}/wps-two/hubs/chat",
        f"{ONE}/hubs/chat/PROVIDERS/{WPS}/wps-two",
        f"{ONE}/providers/{IDENTITIES}/one",
        f"{GROUP}/providers/{ROLES}/x/providers/{WPS}/wps-two",
        f"{ROOT}/providers/{WPS}/wps-one",
        f"/providers/{WPS}/wps-one",
        f"{GROUP}//providers/{WPS}/wps-one",
        f"{GROUP}/h/providers/{WPS}/wps-one",
        f"/x{GROUP}/providers/{WPS}/wps-one",
    ],
)
def test_what_names_no_resource_has_no_parts(resource_id: str) -> None:
    """Above all not an id of two types in a row, whose beginning is the id of another resource."""
    assert split_id(resource_id) is None


def keys(world: World, resource_id: str) -> dict[str, str] | None:
    found = split_id(resource_id)
    known = None if found is None else world.deployables.of(found.type)
    return None if found is None or known is None else known.keys(found)


@pytest.mark.parametrize("more", ["", "/hubs/chat"])
async def test_resource_below_another_one_is_not_shown_and_has_no_keys(world: World, more: str) -> None:
    await world.catalog.put_hub("chat", {}, "wps-two")
    two = ONE.replace("/g/", "/h/").replace("-one", "-two")
    below = f"{two}/providers/{WPS}/wps-two{more}"
    for at in (below, below.replace("/h/", "/g/", 1), f"{ONE}/providers/{WPS}/wps-two{more}"):
        assert world.deployables.shown(at) is None
        assert keys(world, at) is None

    shown = world.deployables.shown(two + more)
    assert shown is not None
    assert (keys(world, two + more) is None) == bool(more)


async def test_group_is_shown_by_its_id(world: World) -> None:
    shown = world.deployables.shown(GROUP.upper().replace(SUBSCRIPTION.upper(), SUBSCRIPTION))

    assert shown is not None
    assert (shown["id"], shown["location"]) == (GROUP, "eastus")
    assert world.deployables.shown(f"{GROUP}x") is None


# Role assignments


async def test_role_assignment_is_shown_by_its_id_until_it_is_taken_away(world: World) -> None:
    at = f"{ONE}/providers/{ROLES}/{NAME}"
    assert world.deployables.shown(at) is None
    await world.assign(ONE)

    assert world.deployables.shown(at.replace(NAME, NAME.upper())) == {
        "id": at,
        "name": NAME,
        "type": ROLES,
        "properties": {
            "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{OWNER.id}",
            "principalId": world.somebody,
            "scope": ONE,
        },
    }
    await world.directory.delete_below(ONE)
    assert world.deployables.shown(at) is None


async def test_role_assignment_is_not_shown_by_an_id_below_another_scope(world: World) -> None:
    """Whoever may read here would read one of anywhere else."""
    await world.assign(f"{ROOT}/resourceGroups/h")

    assert world.deployables.shown(f"{GROUP}/providers/{ROLES}/{NAME}") is None


@pytest.mark.parametrize("name", ["one", "7" * 32, f"{NAME}0", f"{{{NAME}}}", "", NAME.replace("7", "g", 1)])
async def test_role_assignment_has_a_guid_for_its_name(world: World, name: str) -> None:
    body = {"properties": {"roleDefinitionId": READER.id, "principalId": world.somebody}}
    with pytest.raises(BadRequest) as failed:
        world.of(ROLES).check(planned(ROLES, name), body, ())
    assert failed.value.target == "name"

    world.of(ROLES).check(planned(ROLES, NAME.upper()), body, ())


@pytest.mark.parametrize(
    ("properties", "target"),
    [
        (None, "properties"),
        ({}, "properties.roleDefinitionId"),
        ({"roleDefinitionId": READER.id}, "properties.principalId"),
        ({"roleDefinitionId": READER.id, "principalId": None}, "properties.principalId"),
        ({"roleDefinitionId": NAME, "principalId": NAME}, "properties.roleDefinitionId"),
    ],
)
async def test_role_assignment_names_a_role_and_a_principal(world: World, properties: Any, target: str) -> None:
    with pytest.raises(BadRequest) as failed:
        world.of(ROLES).check(planned(ROLES, NAME), {"properties": properties}, ())

    assert failed.value.target == target


# What deploying takes


async def test_resource_with_a_user_assigned_identity_takes_the_right_to_use_it(world: World) -> None:
    which = f"{GROUP}/providers/{IDENTITIES}/one"
    resource, known = planned(WPS, "wps-one"), world.of(WPS.upper())
    write = ("Microsoft.SignalRService/webPubSub/write", ONE)
    bodies: list[tuple[Any, list[tuple[str, str]]]] = [
        (None, [write]),
        ({"type": "SystemAssigned"}, [write]),
        (
            {"Type": "userassigned", "userAssignedIdentities": {which: {}}},
            [write, (f"{IDENTITIES}/assign/action", which)],
        ),
    ]
    for identity, expected in bodies:
        assert known.rights(resource, {"identity": identity}) == expected


async def test_first_resource_is_kept_and_no_other_one(world: World) -> None:
    kept = f"{ROOT}/resourceGroups/{HOME_GROUP}/providers/{WPS}/DEFAULT"
    for at, stays in ((kept, True), (ONE, False)):
        found = split_id(at)
        assert found is not None
        assert (world.of(WPS).keeps(found) is not None) == stays


async def test_type_that_is_not_known_is_none(world: World) -> None:
    assert world.deployables.of("Microsoft.Storage/storageAccounts") is None
    assert world.deployables.shown(f"{GROUP}/providers/Microsoft.Storage/storageAccounts/x") is None


async def test_deployed_hub_is_said_to_have_what_nobody_knows(world: World) -> None:
    hub = planned(f"{WPS}/hubs", "wps-one/chat", f"{ONE}/hubs/chat")
    body = {"properties": {"eventHandlers": [{"urlTemplate": "http://h", "systemEvnts": ["connect"]}]}}
    known = world.of(hub.type)

    await known.apply(hub, body)

    assert known.warnings(hub, body) == [
        "properties.eventHandlers[0].systemEvnts is not known here: it is kept and does nothing"
    ]


async def test_deployed_resource_is_said_to_lack_the_identity_that_its_handlers_need(world: World) -> None:
    auth = {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://x"}}
    await world.catalog.put_hub("chat", {"eventHandlers": [{"urlTemplate": "http://h", "auth": auth}]}, "wps-one")
    resource = planned(WPS, "wps-one")
    body: dict[str, Any] = {"location": "eastus"}
    known = world.of(WPS)

    await known.apply(resource, body)
    (warning,) = known.warnings(resource, body)
    assert "in chat: the resource wps-one has no identity" in warning
    body["identity"] = {"type": "SystemAssigned"}
    await known.apply(resource, body)
    assert known.warnings(resource, body) == []
