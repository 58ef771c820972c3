"""User-assigned identities in the resource tree: what stays of them, who has them, and what goes with them."""

import asyncio
import itertools
from collections.abc import Awaitable
from typing import Any

import pytest

from hubwire.model.directory import Application, TokenKey
from hubwire.model.errors import BadRequest, Conflict, NotFound, Refused
from hubwire.model.ports import Change
from hubwire.model.roles import OWNER
from hubwire.resources.catalog import Catalog
from hubwire.resources.directory import Directory
from hubwire.resources.documents import HOME_GROUP, StoredGroup
from hubwire.resources.identities import IDENTITY_TYPE, UserIdentities, join
from rest.issuing import MemoryStore

SUBSCRIPTION = "22222222-aaaa-4000-8000-000000000002"
OTHER = "33333333-aaaa-4000-8000-000000000003"
NOW = 1_800_000_000.0
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g"
ONE = f"{GROUP}/providers/{IDENTITY_TYPE}/one"
BODY: dict[str, Any] = {"location": "East US", "tags": {"a": "b"}}


class SlowStore(MemoryStore):
    """Others have their turn before anything is stored."""

    async def commit(self, changes: Any) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await super().commit(changes)


class World:
    def __init__(self, store: MemoryStore, catalog: Catalog, directory: Directory) -> None:
        join(catalog, directory)
        self.store = store
        self.catalog = catalog
        self.directory = directory
        self.identities = UserIdentities(catalog, directory, lambda: NOW)

    async def put(self, name: str = "one", group: str = "g", **body: Any) -> tuple[Application, bool]:
        return await self.identities.put(SUBSCRIPTION, group, name, {**BODY, **body})

    async def patch(self, **body: Any) -> Application:
        return await self.identities.patch(SUBSCRIPTION, "g", "one", body)

    async def delete(self, name: str = "one", group: str = "g") -> bool:
        return await self.identities.delete(SUBSCRIPTION, group, name)

    async def give(self, identity: str = ONE, name: str = "wps-one", group: str = "g") -> None:
        assigned = {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}
        await self.catalog.put_resource(SUBSCRIPTION, group, name, {"location": "eastus", "identity": assigned})

    async def take(self, name: str = "wps-one", group: str = "g") -> None:
        await self.catalog.patch_resource(SUBSCRIPTION, group, name, {"identity": {"type": "None"}})

    async def assign(self, principal: str, scope: str = "/subscriptions/s") -> None:
        await self.directory.assign(self.directory.tenant.tenant_id, principal, OWNER.id, scope)

    def roles(self, principal: str) -> int:
        return len(self.directory.roles_of(self.directory.tenant.tenant_id, principal))

    def names(self, subscription: str = SUBSCRIPTION, group: str | None = None) -> list[str]:
        return [app.name for app in self.identities.all_in(subscription, group)]

    async def reloaded(self) -> "World":
        """Whoever starts now."""
        return await opened(self.store)


async def opened(store: MemoryStore | None = None) -> World:
    store, numbers = store or SlowStore(), itertools.count()
    directory = await Directory.load(
        store, lambda begin: TokenKey(f"certificate {next(numbers)}", "key", int(NOW), begin), NOW
    )
    return World(store, await Catalog.load(store, subscription_id=SUBSCRIPTION, clock=lambda: NOW), directory)


@pytest.fixture
async def world() -> World:
    return await opened()


async def refusal(change: Awaitable[object]) -> tuple[type[Refused], str | None]:
    with pytest.raises(Refused) as refused:
        await change
    assert refused.value.message
    return type(refused.value), refused.value.target


# Made and changed


async def test_identity_is_made_in_a_group_that_is_there_then(world: World) -> None:
    app, is_new = await world.put()

    assert is_new
    assert (app.kind, app.name, app.resource_id, app.location, app.tags) == (
        "userAssigned",
        "one",
        ONE,
        "eastus",
        {"a": "b"},
    )
    assert world.catalog.group(SUBSCRIPTION, "g") == StoredGroup("g", SUBSCRIPTION, "eastus")
    assert world.identities.document(app) == {
        "id": ONE,
        "name": "one",
        "type": IDENTITY_TYPE,
        "location": "eastus",
        "tags": {"a": "b"},
        "properties": {
            "tenantId": world.directory.tenant.tenant_id,
            "principalId": app.object_id,
            "clientId": app.app_id,
        },
    }


async def test_ids_stay_when_it_is_put_again_and_over_a_restart(world: World) -> None:
    first, _ = await world.put()

    again, is_new = await world.put("ONE", "G", location="eastus", tags={"c": "d"})

    assert not is_new
    assert (again.app_id, again.object_id, again.resource_id, again.name) == (
        *(first.app_id, first.object_id),
        *(ONE, "one"),
    )
    assert again.tags == {"c": "d"}
    later = await world.reloaded()
    assert later.identities.find(SUBSCRIPTION, "g", "one") == again


async def test_tags_are_changed_and_nothing_else(world: World) -> None:
    first, _ = await world.put()

    assert (await world.patch(tags={"c": "d"})).tags == {"c": "d"}
    assert (await world.patch(location="EastUS")).tags == {"c": "d"}
    assert (await world.patch(tags=None)).tags == {}
    assert (await world.patch()).app_id == first.app_id


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("on", {}, (BadRequest, "name")),
        ("a b", {}, (BadRequest, "name")),
        ("one", {"location": None}, (BadRequest, "location")),
        ("one", {"location": 7}, (BadRequest, "location")),
        ("one", {"tags": ["a"]}, (BadRequest, "tags")),
    ],
)
async def test_what_can_be_no_identity_is_refused_and_leaves_nothing(
    world: World, name: str, body: dict[str, Any], expected: tuple[type[Refused], str]
) -> None:
    before = dict(world.store.documents)

    assert await refusal(world.put(name, **body)) == expected

    assert world.store.documents == before


async def test_group_of_no_name_is_refused(world: World) -> None:
    assert await refusal(world.put(group="g.")) == (BadRequest, "resourceGroup")


async def test_identity_stays_in_its_region(world: World) -> None:
    await world.put()

    assert await refusal(world.put(location="westus")) == (Conflict, "location")
    assert await refusal(world.patch(location="westus")) == (Conflict, "location")
    assert await refusal(world.patch(location=" ")) == (BadRequest, "location")


async def test_identity_that_is_not_there_is_not_changed(world: World) -> None:
    assert await refusal(world.patch(tags={})) == (NotFound, "group")
    await world.put("two")
    assert await refusal(world.patch(tags={})) == (NotFound, "resource")


async def test_identity_of_the_command_line_is_one_of_the_first_group(world: World) -> None:
    """And has the region that somebody gives it later."""
    made = await world.directory.create("robot", NOW, managed=True)

    assert world.names(group=HOME_GROUP) == []
    subscription = world.directory.tenant.subscription_id
    assert world.identities.all_in(subscription, HOME_GROUP) == [made]
    assert world.identities.document(made)["location"] == "local"
    await world.catalog.put_group(StoredGroup(HOME_GROUP, subscription))
    put, is_new = await world.identities.put(subscription, HOME_GROUP, "robot", {"location": "westus"})
    assert (put.app_id, put.location, is_new) == (made.app_id, "westus", False)


@pytest.mark.parametrize("name", ["a/b", "a b", "ab", "-one"])
async def test_name_from_the_command_line_can_stand_in_an_id(world: World, name: str) -> None:
    assert await refusal(world.directory.create(name, NOW, managed=True)) == (BadRequest, "name")


async def test_identities_are_listed_by_subscription_and_group(world: World) -> None:
    for name, group in (("two", "g"), ("one", "g"), ("three", "h")):
        await world.put(name, group)
    await world.identities.put(OTHER, "g", "four", BODY)

    assert world.names() == ["one", "three", "two"]
    assert world.names(SUBSCRIPTION.upper(), "G") == ["one", "two"]
    assert world.names(OTHER) == ["four"]
    assert [document["id"] for document in world.identities.documents(SUBSCRIPTION, "h")] == [
        f"{GROUP[:-1]}h/providers/{IDENTITY_TYPE}/three"
    ]


async def test_there_are_no_more_than_so_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubwire.resources.directory._MOST_IDENTITIES", 1)
    await world.put()

    assert await refusal(world.put("two")) == (Conflict, "quota")
    assert await refusal(world.directory.create("two", NOW, managed=True)) == (Conflict, "quota")
    assert (await world.put())[1] is False


async def test_two_who_make_the_same_one_at_once_get_the_same(world: World) -> None:
    made = await asyncio.gather(*(world.put() for _ in range(5)))

    assert len({app.app_id for app, _ in made}) == 1
    assert [is_new for _, is_new in made].count(True) == 1


# In use


async def test_identity_that_a_resource_has_is_not_deleted(world: World) -> None:
    app, _ = await world.put()
    await world.give(ONE.upper().replace(SUBSCRIPTION.upper(), SUBSCRIPTION), group="h")

    for deletion in (world.delete(), world.directory.delete(app.app_id)):
        with pytest.raises(Conflict, match="wps-one") as refused:
            await deletion
        assert refused.value.target == "identity"
    assert [user.name for user in world.identities.users_of(app)] == ["wps-one"]

    await world.take(group="h")
    assert await world.delete()
    assert not await world.delete()
    assert world.names() == []
    assert (await world.reloaded()).names() == []


async def test_resource_has_the_ids_of_the_identity_that_it_is_given(world: World) -> None:
    app, _ = await world.put()
    await world.give()

    identity = world.catalog.policy("wps-one").identity
    assert identity is not None
    assert (identity.kind, identity.identity_id) == ("UserAssigned", ONE)
    assert (identity.principal_id, identity.client_id) == (app.object_id, app.app_id)


async def test_machines_own_identity_and_applications_are_given_to_no_resource(world: World) -> None:
    machine = world.directory.identity(None)
    assert machine is not None

    assert world.catalog.identities(machine.resource_id) is None
    assert world.catalog.identities(ONE) is None


@pytest.mark.parametrize("first", ["give", "delete"])
async def test_identity_is_not_given_while_it_is_deleted(world: World, first: str) -> None:
    """Whichever comes first, no resource is left with an identity that is gone."""
    await world.put()
    changes = [world.give(), world.delete()]

    outcomes = await asyncio.gather(*(changes if first == "give" else reversed(changes)), return_exceptions=True)

    failed = [type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)]
    if first == "give":
        assert failed == [Conflict]
        assert world.names() == ["one"]
    else:
        assert failed == [BadRequest]
        assert world.catalog.named("wps-one") is None


async def test_identity_in_a_group_goes_with_it(world: World) -> None:
    app, _ = await world.put()
    await world.put("two", "h")
    await world.give()
    await world.assign(app.object_id)

    assert await world.catalog.delete_group(SUBSCRIPTION, "g")

    for after in (world, await world.reloaded()):
        assert after.names() == ["two"]
        assert after.roles(app.object_id) == 0
        assert after.catalog.named("wps-one") is None


async def test_group_with_an_identity_that_a_resource_elsewhere_has_is_not_deleted(world: World) -> None:
    await world.put()
    await world.give(group="h")
    await world.catalog.put_resource(SUBSCRIPTION, "g", "wps-two", {"location": "eastus"})

    with pytest.raises(Conflict, match="wps-one"):
        await world.catalog.delete_group(SUBSCRIPTION, "g")

    assert world.names() == ["one"]
    assert world.catalog.named("wps-two") is not None
    await world.take(group="h")
    assert await world.catalog.delete_group(SUBSCRIPTION, "g")


# Roles


async def test_roles_go_with_the_identity_that_had_them(world: World) -> None:
    app, _ = await world.put()
    await world.assign(app.object_id)

    await world.delete()

    assert world.roles(app.object_id) == 0
    assert (await world.reloaded()).roles(app.object_id) == 0


@pytest.mark.parametrize("end", ["none", "user", "deleted", "group"])
async def test_roles_go_with_the_systems_identity_of_a_resource(world: World, end: str) -> None:
    await world.put(group="h")
    system = {"location": "eastus", "identity": {"type": "SystemAssigned"}}
    made, _ = await world.catalog.put_resource(SUBSCRIPTION, "g", "wps-one", system)
    principal = made.identity.principal_id
    await world.assign(principal)
    await world.catalog.put_resource(SUBSCRIPTION, "g", "wps-one", {**system, "tags": {"a": "b"}})
    assert world.roles(principal) == 1

    match end:
        case "none":
            await world.take()
        case "user":
            await world.give(ONE.replace("/g/", "/h/"))
        case "deleted":
            await world.catalog.delete_resource(SUBSCRIPTION, "g", "wps-one")
        case "group":
            await world.catalog.delete_group(SUBSCRIPTION, "g")

    assert world.roles(principal) == 0
    assert await refusal(world.assign(principal)) == (NotFound, "principalId")


async def test_identity_that_was_stored_before_it_had_a_region_is_read(world: World) -> None:
    made, _ = await world.put()
    document = world.store.documents["application", made.app_id]
    body = {name: value for name, value in document.body.items() if name not in ("location", "tags")}
    await world.store.commit([Change("application", made.app_id, body)])

    found = (await world.reloaded()).identities.find(SUBSCRIPTION, "g", "one")

    assert (found.location, found.tags) == ("local", {})
