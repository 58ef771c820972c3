"""Resources and their groups in the catalog: made, replaced, patched, deleted, and the same after each new start."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from hubwire.model.errors import BadRequest, Conflict, NotFound, NotStored, Unavailable
from hubwire.model.names import HubKey
from hubwire.model.network import OPEN
from hubwire.model.resources import ResourcePolicy
from hubwire.resources.catalog import Catalog
from hubwire.resources.documents import Identity, StoredGroup, StoredResource
from hubwire.resources.resource_properties import completed, sku_of
from rest.issuing import MemoryStore

SUBSCRIPTION = "22222222-aaaa-4000-8000-000000000002"
OTHER = "33333333-aaaa-4000-8000-000000000003"
BODY: dict[str, Any] = {"location": "eastus"}
IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"
)


class Ports:
    """
    Listeners that nobody listens with.

    Attributes:
        heard: what was asked of them, in order.
        failing: no port can be had.
        documents: what was stored at the time when they were opened or closed.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.failing = False
        self.next = itertools.count(8081)
        self.documents: list[set[str]] = []
        self._store = store

    async def open(self, name: str, ports: tuple[int, int], /) -> tuple[int, int]:
        self._note("open", name, ports)
        if self.failing:
            raise Unavailable("No port can be had.")
        return ports if any(ports) else (next(self.next), 0)

    async def close(self, name: str, /) -> None:
        self._note("close", name)

    def _note(self, *what: object) -> None:
        self.heard.append(what)
        self.documents.append({key for kind, key in self._store.documents if kind == "resource"})


class World:
    """A catalog with a clock that obeys, and what it told of its changes."""

    def __init__(self, store: MemoryStore, catalog: Catalog) -> None:
        self.store = store
        self.catalog = catalog
        self.ports = Ports(store)
        self.told: list[tuple[StoredResource | None, StoredResource | None]] = []
        catalog.ports = self.ports
        catalog.on_change.append(self._hear)

    async def _hear(self, old: StoredResource | None, new: StoredResource | None) -> None:
        self.told.append((old, new))

    async def put(self, name: str = "wps-one", group: str = "g", **body: Any) -> StoredResource:
        found, _ = await self.catalog.put_resource(SUBSCRIPTION, group, name, {**BODY, **body})
        return found

    async def patch(self, name: str = "wps-one", group: str = "g", **body: Any) -> StoredResource:
        return await self.catalog.patch_resource(SUBSCRIPTION, group, name, body)

    async def delete(self, name: str = "wps-one", group: str = "g") -> bool:
        return await self.catalog.delete_resource(SUBSCRIPTION, group, name)

    async def check_reload(self) -> None:
        """Whoever starts now finds what holds now."""
        again = await load(self.store)
        assert await held(again) == await held(self.catalog)


CLOCK = [1000.0]


async def load(store: MemoryStore) -> Catalog:
    return await Catalog.load(store, subscription_id=SUBSCRIPTION, clock=lambda: CLOCK[0])


async def held(catalog: Catalog) -> tuple[object, ...]:
    """Whatever is in memory and can be seen."""
    resources = catalog.resources()
    groups = [group for subscription in catalog.subscriptions() for group in catalog.groups(subscription)]
    return (
        resources,
        groups,
        [catalog.policy(one.name) for one in resources],
        [await catalog.list_hubs(one.name) for one in resources],
    )


@pytest.fixture
async def world() -> World:
    CLOCK[0] = 1000.0
    store = MemoryStore()
    return World(store, await load(store))


async def refusal(waiting: Awaitable[object]) -> tuple[type[Exception], str | None]:
    """Kind and target of a refusal."""
    with pytest.raises((BadRequest, Conflict, NotFound)) as failed:
        await waiting
    return type(failed.value), failed.value.target


# Created


async def test_resource_that_is_not_there_is_made_complete(world: World) -> None:
    found, is_new = await world.catalog.put_resource(SUBSCRIPTION, "Group", "Wps-One", BODY)

    assert is_new
    assert found == StoredResource(
        name="Wps-One",
        keys=found.keys,
        subscription=SUBSCRIPTION,
        group="Group",
        location="eastus",
        sku=sku_of(None),
        properties=completed({}),
        ports=(8081, 0),
        created_at=1000,
        changed_at=1000,
    )
    assert len({found.keys.primary, found.keys.secondary, found.keys.salt}) == 3
    assert found.keys != world.catalog.access_keys("default")
    assert world.catalog.access_keys("WPS-ONE") == found.keys
    assert world.catalog.named("WPS-ONE") == world.catalog.resource(SUBSCRIPTION.upper(), "GROUP", "wps-one") == found
    await world.check_reload()


async def test_everything_that_is_given_is_kept(world: World) -> None:
    found = await world.put(
        tags={"a": "b"}, sku={"name": "Premium_P1", "capacity": 2}, kind="socketio", properties={"x": 1}
    )

    assert (found.tags, found.sku["capacity"], found.kind) == ({"a": "b"}, 2, "SocketIO")
    assert found.properties == completed({"x": 1})
    await world.check_reload()


async def test_group_is_made_on_first_use_where_its_first_resource_is(world: World) -> None:
    await world.put(group="Group")
    await world.put("wps-two", "GROUP")

    assert world.catalog.group(SUBSCRIPTION, "group") == StoredGroup("Group", SUBSCRIPTION, "eastus")
    assert [one.group for one in world.catalog.resources(SUBSCRIPTION, "gROUP")] == ["Group", "Group"]
    assert [group.name for group in world.catalog.groups(SUBSCRIPTION.upper())] == ["Group", "hubwire"]
    await world.check_reload()


async def test_subscription_is_any_and_listed_behind_the_own_one(world: World) -> None:
    await world.catalog.put_resource(OTHER.upper(), "g", "wps-one", BODY)

    assert world.catalog.subscriptions() == [SUBSCRIPTION, OTHER]
    assert [one.name for one in world.catalog.resources(OTHER)] == ["wps-one"]
    assert [one.name for one in world.catalog.resources(SUBSCRIPTION)] == ["default"]
    assert [one.name for one in world.catalog.resources()] == ["default", "wps-one"]
    await world.check_reload()


async def test_name_is_taken_by_a_resource_in_another_group(world: World) -> None:
    await world.put("Wps-One", "g")
    before = await held(world.catalog)

    for subscription, group in ((SUBSCRIPTION, "h"), (OTHER, "g")):
        put = world.catalog.put_resource(subscription, group, "wps-one", BODY)
        assert await refusal(put) == (Conflict, "name")

    assert await held(world.catalog) == before
    assert len(world.ports.heard) == 1


@pytest.mark.parametrize("name", ["ab", "a" * 64, "1ab", "ab-", "a_b", "a/b", "ä-b-c"])
async def test_illegal_name_is_refused(world: World, name: str) -> None:
    assert await refusal(world.put(name)) == (BadRequest, "name")


@pytest.mark.parametrize("group", ["g.", "a b", "a" * 91, ""])
async def test_illegal_name_of_a_group_is_refused(world: World, group: str) -> None:
    assert await refusal(world.put(group=group)) == (BadRequest, "resourceGroup")


@pytest.mark.parametrize(
    ("part", "value", "target"),
    [
        ("location", None, "location"),
        ("location", "", "location"),
        ("location", 5, "location"),
        ("tags", {"a": 1}, "tags"),
        ("sku", {"name": "Huge"}, "sku.name"),
        ("kind", "SignalR", "kind"),
        ("identity", {"type": "Both"}, "identity.type"),
        ("properties", {"tls": 1}, "properties.tls"),
    ],
)
async def test_resource_that_cannot_be_changes_nothing(world: World, part: str, value: Any, target: str) -> None:
    before = await held(world.catalog)

    assert await refusal(world.put(**{part: value})) == (BadRequest, target)
    body = {**BODY, part: value}
    with pytest.raises(BadRequest):
        world.catalog.check_resource(SUBSCRIPTION, "g", "wps-one", body)

    assert (await held(world.catalog), world.ports.heard, world.told) == (before, [], [])
    await world.check_reload()


async def test_resources_are_a_hundred_at_most(world: World) -> None:
    for number in range(99):
        await world.put(f"wps-{number}")

    assert await refusal(world.put("wps-more")) == (Conflict, "quota")
    await world.put("wps-0", tags={"a": "b"})
    assert await world.delete("wps-0")
    await world.put("wps-more")


async def test_check_says_what_would_be_and_makes_nothing(world: World) -> None:
    checked = world.catalog.check_resource(SUBSCRIPTION, "g", "wps-one", BODY)

    assert (checked.name, checked.location, checked.sku) == ("wps-one", "eastus", sku_of(None))
    assert world.catalog.named("wps-one") is None
    assert world.catalog.group(SUBSCRIPTION, "g") is None
    assert world.ports.heard == []


# Replaced


async def test_put_replaces_what_was_said_and_keeps_what_the_server_made(world: World) -> None:
    first = await world.put(tags={"a": "b"}, properties={"x": 1}, sku={"name": "Premium_P1"})
    await world.catalog.put_hub("chat", {}, "wps-one")
    CLOCK[0] += 60

    second, is_new = await world.catalog.put_resource(SUBSCRIPTION, "G", "WPS-ONE", BODY)

    assert not is_new
    assert second == replace(first, tags={}, sku=sku_of(None), properties=completed({}), changed_at=1060)
    assert len(await world.catalog.list_hubs("wps-one")) == 1
    assert world.ports.heard == [("open", "wps-one", (0, 0))]
    await world.check_reload()


async def test_resource_stays_where_it_is(world: World) -> None:
    assert (await world.put(location="East US")).location == "eastus"
    assert (await world.put(location="eastUS")).location == "eastus"
    assert await refusal(world.put(location="westus")) == (Conflict, "location")
    assert await refusal(world.patch(location="westus")) == (Conflict, "location")
    assert (await world.patch(location="East US", tags={})).location == "eastus"


async def test_first_resource_takes_the_location_that_it_is_first_given(world: World) -> None:
    found = await world.put("default", "hubwire", location="westus")

    assert found.location == "westus"
    assert await refusal(world.put("default", "hubwire", location="eastus")) == (Conflict, "location")
    await world.check_reload()


# Patched


async def test_patch_changes_what_it_names_and_leaves_the_rest(world: World) -> None:
    first = await world.put(tags={"a": "b"}, properties={"x": 1}, sku={"name": "Premium_P1"})
    CLOCK[0] += 60

    assert await world.patch() == replace(first, changed_at=1060)
    assert await world.patch(tags={"c": "d"}) == replace(first, tags={"c": "d"}, changed_at=1060)
    found = await world.patch(properties={"DisableLocalAuth": True})
    assert found.properties == completed({"x": 1, "disableLocalAuth": True})
    found = await world.patch(sku={"name": "Standard_S1", "capacity": 3}, kind="SocketIO", tags=None)
    assert (found.sku["capacity"], found.kind, found.tags) == (3, "SocketIO", {})
    assert found.properties == completed({"x": 1, "disableLocalAuth": True})
    await world.check_reload()


async def test_patch_takes_a_property_back_by_null(world: World) -> None:
    await world.put(properties={"x": 1, "disableLocalAuth": True})

    assert (await world.patch(properties={"x": None, "disableLocalAuth": None})).properties == completed({})


async def test_what_is_not_there_cannot_be_patched(world: World) -> None:
    await world.put()

    assert await refusal(world.patch("wps-two")) == (NotFound, "resource")
    assert await refusal(world.patch(group="h")) == (NotFound, "group")
    assert await refusal(world.catalog.patch_resource(OTHER, "g", "wps-one", {})) == (NotFound, "group")
    await world.put("wps-three", "h")
    assert await refusal(world.patch(group="h")) == (NotFound, "resource")


async def test_illegal_patch_changes_nothing(world: World) -> None:
    await world.put()
    before = await held(world.catalog)

    bodies: list[dict[str, Any]] = [
        {"tags": 1},
        {"sku": {"name": "x"}},
        {"properties": []},
        {"properties": {"tls": 1}},
        {"kind": "x"},
    ]
    for body in bodies:
        assert (await refusal(world.patch(**body)))[0] is BadRequest

    assert await held(world.catalog) == before


# Identities


async def test_system_assigned_identity_is_made_once_and_stays(world: World) -> None:
    system = {"type": "SystemAssigned"}
    first = (await world.put(identity=system)).identity

    assert first.kind == "SystemAssigned"
    assert len({first.principal_id, first.client_id, ""}) == 3
    assert (await world.put(identity=system)).identity == first
    assert (await world.patch(tags={})).identity == first
    assert (await world.patch(identity={"type": "None"})).identity == Identity()
    assert (await world.patch(identity=system)).identity.principal_id != first.principal_id
    assert (await world.put()).identity == Identity()
    await world.check_reload()


async def test_user_assigned_identity_is_one_that_is_there(world: World) -> None:
    assigned = {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}
    assert await refusal(world.put(identity=assigned)) == (BadRequest, "identity.userAssignedIdentities")
    coming = world.catalog.check_resource(
        SUBSCRIPTION, "g", "wps-one", {**BODY, "identity": assigned}, [IDENTITY.lower()]
    )
    assert coming.identity == Identity("UserAssigned", IDENTITY)
    known = {IDENTITY: ("object", "client")}
    world.catalog.identities = known.get

    found = await world.put(identity=assigned)

    assert found.identity == Identity("UserAssigned", IDENTITY, "object", "client")
    await world.check_reload()


# Deleted


async def test_deleted_resource_is_gone_with_its_hubs(world: World) -> None:
    await world.put()
    for resource in ("wps-one", "default"):
        await world.catalog.put_hub("Chat", {"anonymousConnectPolicy": "allow"}, resource)

    assert await world.delete("WPS-ONE")

    assert not await world.delete()
    assert world.catalog.named("wps-one") is None
    with pytest.raises(NotFound):
        world.catalog.policy("wps-one")
    with pytest.raises(NotFound):
        world.catalog.access_keys("wps-one")
    assert world.catalog.settings(HubKey("wps-one", "chat")).anonymous_connect_policy == "deny"
    assert [key for kind, key in world.store.documents if kind == "hub"] == ["default/chat"]
    assert world.catalog.group(SUBSCRIPTION, "g") is not None
    await world.check_reload()


async def test_name_of_a_deleted_resource_is_free_and_its_keys_are_others(world: World) -> None:
    first = await world.put()
    await world.catalog.put_hub("chat", {}, "wps-one")
    await world.delete()

    second = await world.put(group="h", location="westus")

    assert second.keys != first.keys
    assert await world.catalog.list_hubs("wps-one") == []


async def test_resource_in_another_group_is_not_deleted(world: World) -> None:
    await world.put()

    assert not await world.delete(group="h")
    assert not await world.catalog.delete_resource(OTHER, "g", "wps-one")
    assert world.catalog.named("wps-one") is not None


async def test_resource_that_answers_for_every_host_is_never_deleted(world: World) -> None:
    await world.put("wps-one", "hubwire")

    assert await refusal(world.delete("default", "hubwire")) == (Conflict, "resource")
    assert await refusal(world.catalog.delete_group(SUBSCRIPTION, "hubwire")) == (Conflict, "resource")

    assert [one.name for one in world.catalog.resources()] == ["default", "wps-one"]
    await world.check_reload()


# Groups


async def test_group_is_put_and_keeps_its_first_spelling(world: World) -> None:
    put = world.catalog.put_group

    assert await put(StoredGroup("Group", SUBSCRIPTION, "eastus", {"a": "b"}, "somebody"))
    assert not await put(StoredGroup("GROUP", SUBSCRIPTION, "westus"))

    assert world.catalog.group(SUBSCRIPTION, "gRoUp") == StoredGroup("Group", SUBSCRIPTION, "westus")
    await world.check_reload()


async def test_illegal_group_is_refused(world: World) -> None:
    assert await refusal(world.catalog.put_group(StoredGroup("a b", SUBSCRIPTION))) == (BadRequest, "resourceGroup")


async def test_deleted_group_is_gone_with_its_resources(world: World) -> None:
    await world.put("wps-one")
    await world.put("wps-two")
    await world.put("wps-three", "h")
    await world.catalog.put_hub("chat", {}, "wps-one")

    assert await world.catalog.delete_group(SUBSCRIPTION, "G")

    assert not await world.catalog.delete_group(SUBSCRIPTION, "g")
    assert [one.name for one in world.catalog.resources()] == ["default", "wps-three"]
    assert world.catalog.group(SUBSCRIPTION, "g") is None
    assert {("close", "wps-one"), ("close", "wps-two")} < set(world.ports.heard)
    await world.check_reload()


async def test_home_group_is_there_from_the_first_start(world: World) -> None:
    assert world.catalog.groups(SUBSCRIPTION) == [StoredGroup("hubwire", SUBSCRIPTION)]
    assert world.catalog.resource(SUBSCRIPTION, "hubwire", "default").location == "local"


# Policies


@pytest.mark.parametrize(
    ("body", "attribute", "value"),
    [
        ({"properties": {"disableLocalAuth": True}}, "local_auth", False),
        ({"properties": {"disableAadAuth": True}}, "entra_auth", False),
        ({"properties": {"resourceStopped": "True"}}, "stopped", True),
        ({"properties": {"tls": {"clientCertEnabled": True}}}, "client_certificates", True),
        ({"sku": {"name": "Standard_S1", "capacity": 7}}, "quota", 7000),
        ({"sku": {"name": "Free_F1"}}, "quota", 20),
    ],
)
async def test_what_is_put_or_patched_holds_at_once(
    world: World, body: dict[str, Any], attribute: str, value: object
) -> None:
    await world.put()
    before = world.catalog.policy("wps-one")
    assert replace(before, network=OPEN) == ResourcePolicy(scope=before.scope, quota=1000)
    assert before.scope.endswith("/resourceGroups/g/providers/Microsoft.SignalRService/WebPubSub/wps-one")

    await world.patch(**body)
    assert getattr(world.catalog.policy("WPS-One"), attribute) == value
    assert getattr(world.catalog.policy("default"), attribute) != value
    await world.check_reload()

    await world.put()
    assert world.catalog.policy("wps-one") == before


async def test_network_rules_hold_at_once(world: World) -> None:
    await world.patch("default", "hubwire", properties={"publicNetworkAccess": "Disabled"})

    assert world.catalog.policy("default").network.refusal("RESTAPI", "10.0.0.1") is not None
    await world.patch("default", "hubwire", properties={"publicNetworkAccess": None})
    assert world.catalog.policy("default").network.refusal("RESTAPI", "10.0.0.1") is None


async def test_first_resource_has_as_many_connections_as_there_can_be(world: World) -> None:
    assert world.catalog.policy("default").quota == 1_000_000


async def test_free_tier_asks_nobody_for_a_certificate(world: World) -> None:
    """The wish is not kept either, so that nobody is surprised when the tier changes."""
    wish = {"tls": {"clientCertEnabled": True, "x": 1}}

    put = await world.put(sku={"name": "Free_F1"}, properties=wish)
    patched = await world.patch(properties=wish)
    bought = await world.patch(sku={"name": "Standard_S1"})

    for found in (put, patched, bought):
        assert found.properties["tls"] == {"clientCertEnabled": False, "x": 1}
    await world.patch(properties=wish)
    assert world.catalog.policy("wps-one").client_certificates
    await world.patch(sku={"name": "Free_F1"})
    assert not world.catalog.policy("wps-one").client_certificates


# Ports


async def test_ports_are_open_before_the_resource_is_stored_and_closed_after_it_is_gone(world: World) -> None:
    """So that what is stored can be reached, and nobody reaches what is not."""
    await world.put("Wps-One")
    await world.delete()

    assert world.ports.heard == [("open", "wps-one", (0, 0)), ("close", "wps-one")]
    assert world.ports.documents == [{"default"}, {"default"}]


async def test_resource_that_gets_no_port_is_not_made(world: World) -> None:
    world.ports.failing = True

    with pytest.raises(Unavailable):
        await world.put()

    assert (world.catalog.named("wps-one"), world.told) == (None, [])
    await world.check_reload()


async def test_ports_of_a_resource_that_could_not_be_stored_are_closed_again(world: World) -> None:
    before = await held(world.catalog)
    world.store.full = True

    with pytest.raises(NotStored):
        await world.put()

    assert world.ports.heard == [("open", "wps-one", (0, 0)), ("close", "wps-one")]
    assert (await held(world.catalog), world.told) == (before, [])
    world.store.full = False
    await world.check_reload()
    await world.put()


async def test_ports_of_a_resource_that_could_not_be_replaced_stay_open(world: World) -> None:
    await world.put()
    before = await held(world.catalog)
    world.store.full = True

    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: world.put(tags={"a": "b"}),
        lambda: world.patch(properties={"resourceStopped": "true"}),
        lambda: world.delete(),
        lambda: world.catalog.delete_group(SUBSCRIPTION, "g"),
        lambda: world.catalog.put_group(StoredGroup("h", SUBSCRIPTION)),
        lambda: world.catalog.rotate_key("wps-one", "primary"),
        lambda: world.catalog.put_replica(SUBSCRIPTION, "g", "wps-one", "one", {}),
    ]
    for change in changes:
        with pytest.raises(NotStored):
            await change()

    assert world.ports.heard == [("open", "wps-one", (0, 0))]
    assert await held(world.catalog) == before
    assert len(world.told) == 1


async def test_start_opens_the_ports_of_all_but_the_first_resource(world: World) -> None:
    await world.put("wps-one")
    await world.put("wps-two")
    again = World(world.store, await load(world.store))

    assert await again.catalog.open_ports() == []

    assert again.ports.heard == [("open", "wps-one", (8081, 0)), ("open", "wps-two", (8082, 0))]
    assert again.told == []


async def test_ports_that_cannot_be_had_again_are_replaced_and_told(world: World) -> None:
    await world.put("Wps-One")
    again = World(world.store, await load(world.store))

    async def another(name: str, ports: tuple[int, int], /) -> tuple[int, int]:
        return ports[0] + 1000, 0

    again.ports.open = another  # type: ignore[method-assign]

    assert await again.catalog.open_ports() == [("Wps-One", (8081, 0), (9081, 0))]

    found = again.catalog.named("wps-one")
    assert found is not None
    assert found.ports == (9081, 0)
    await again.check_reload()


async def test_resource_that_was_made_without_a_server_gets_ports_at_the_next_start(world: World) -> None:
    offline = await load(world.store)
    made, _ = await offline.put_resource(SUBSCRIPTION, "g", "wps-one", BODY)
    assert made.ports == (0, 0)
    again = World(world.store, await load(world.store))

    assert await again.catalog.open_ports() == [], "it had none, so nobody has to hear of other ones"

    found = again.catalog.named("wps-one")
    assert found is not None
    assert found.ports == (8081, 0)


# Who is told


async def test_each_change_is_told_with_what_was_before(world: World) -> None:
    made = await world.put()
    patched = await world.patch(tags={"a": "b"})
    await world.catalog.rotate_key("wps-one", "salt")
    rotated = world.catalog.named("wps-one")
    await world.delete()

    assert world.told == [(None, made), (made, patched), (patched, rotated), (rotated, None)]


async def test_change_is_over_when_all_were_told_and_holds_by_then(world: World) -> None:
    seen: list[StoredResource | None] = []

    async def look(_: StoredResource | None, new: StoredResource | None) -> None:
        await asyncio.sleep(0)
        seen.append(world.catalog.named("wps-one"))
        assert seen[-1] == new

    world.catalog.on_change.insert(0, look)

    made = await world.put()
    await world.delete()

    assert seen == [made, None]


async def test_resource_that_is_stored_keeps_its_ports_though_somebody_told_of_it_fails(world: World) -> None:
    async def fail(_: StoredResource | None, new: StoredResource | None) -> None:
        raise RuntimeError("of no use")

    world.catalog.on_change.append(fail)
    with pytest.raises(RuntimeError):
        await world.put()

    assert (world.catalog.named("wps-one") is None) is (("close", "wps-one") in world.ports.heard)


async def test_changes_at_once_lose_nothing(world: World) -> None:
    await world.put()

    await asyncio.gather(*(world.patch(properties={f"x{number}": number}) for number in range(10)))

    assert world.catalog.resources(SUBSCRIPTION, "g")[0].properties == completed({f"x{n}": n for n in range(10)})


async def test_two_who_make_the_same_resource_at_once_make_it_once(world: World) -> None:
    made = await asyncio.gather(*(world.catalog.put_resource(SUBSCRIPTION, "g", "wps-one", BODY) for _ in range(5)))

    assert [is_new for _, is_new in made] == [True, False, False, False, False]
    assert len({found.keys.primary for found, _ in made}) == 1
    assert len(world.ports.heard) == 1


# Replicas and hubs


async def test_replica_is_kept_and_forgotten(world: World) -> None:
    await world.put()
    put = world.catalog.put_replica

    assert await put(SUBSCRIPTION, "g", "wps-one", "east", {"location": "eastus"})
    assert not await put(SUBSCRIPTION, "g", "wps-one", "east", {"location": "eastus", "tags": {}})

    found = world.catalog.named("wps-one")
    assert found is not None
    assert found.replicas == {"east": {"location": "eastus", "tags": {}}}
    await world.check_reload()
    assert await world.catalog.delete_replica(SUBSCRIPTION, "g", "wps-one", "east")
    assert not await world.catalog.delete_replica(SUBSCRIPTION, "g", "wps-one", "east")
    await world.check_reload()


async def test_replicas_are_ten_at_most_and_have_legal_names(world: World) -> None:
    await world.put()
    put = world.catalog.put_replica
    for number in range(10):
        await put(SUBSCRIPTION, "g", "wps-one", f"replica-{number}", {})

    assert await refusal(put(SUBSCRIPTION, "g", "wps-one", "replica-more", {})) == (Conflict, "quota")
    assert not await put(SUBSCRIPTION, "g", "wps-one", "REPLICA-0", {})
    assert await refusal(put(SUBSCRIPTION, "g", "wps-one", "x", {})) == (BadRequest, "name")
    assert await refusal(put(SUBSCRIPTION, "g", "wps-two", "replica", {})) == (NotFound, "resource")


async def test_hubs_of_the_same_name_in_two_resources_are_two(world: World) -> None:
    await world.put()
    await world.catalog.put_hub("Chat", {"anonymousConnectPolicy": "allow"}, "Wps-One")

    assert world.catalog.settings(HubKey("wps-one", "chat")).anonymous_connect_policy == "allow"
    assert world.catalog.settings(HubKey("default", "chat")).anonymous_connect_policy == "deny"
    assert await world.catalog.get_hub("chat") is None
    found = world.catalog.hub("CHAT", "WPS-ONE")
    assert found is not None
    assert found.name == "Chat"
    await world.check_reload()


async def test_check_of_a_hub_makes_none(world: World) -> None:
    world.catalog.check_hub("chat", {"anonymousConnectPolicy": "allow"})
    for name, properties in (("1chat", {}), ("chat", {"anonymousConnectPolicy": "maybe"})):
        with pytest.raises(BadRequest):
            world.catalog.check_hub(name, properties)

    assert await world.catalog.list_hubs() == []


# Killed


async def test_whatever_commit_is_the_last_one_all_is_as_before_or_as_after(world: World) -> None:
    """A run of changes, ended at each of its commits: who starts then finds what held before or after the change."""
    steps: list[Callable[[World], Awaitable[object]]] = [
        lambda at: at.put("wps-one"),
        lambda at: at.catalog.put_hub("chat", {}, "wps-one"),
        lambda at: at.catalog.put_hub("news", {}, "wps-one"),
        lambda at: at.put("wps-two", "h", identity={"type": "SystemAssigned"}),
        lambda at: at.patch("wps-two", "h", properties={"x": 1}),
        lambda at: at.catalog.rotate_key("wps-two", "salt"),
        lambda at: at.delete("wps-one"),
        lambda at: at.catalog.delete_group(SUBSCRIPTION, "h"),
    ]
    for step in steps:
        kept = dict(world.store.documents)
        world.store.full = True
        with pytest.raises(NotStored):
            await step(world)
        assert world.store.documents == kept
        await world.check_reload()
        world.store.full = False
        await step(world)
        await world.check_reload()


# Limits


BIG = "x" * (256 * 1024)


async def test_resource_or_hub_that_is_too_big_is_refused_and_not_kept(world: World) -> None:
    await world.put()
    before = await held(world.catalog)
    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: world.put("wps-two", properties={"x": BIG}),
        lambda: world.patch(properties={"x": BIG}),
        lambda: world.catalog.put_replica(SUBSCRIPTION, "g", "wps-one", "east", {"x": BIG}),
        lambda: world.catalog.put_hub("chat", {"x": BIG}, "wps-one"),
    ]
    for change in changes:
        assert await refusal(change()) == (BadRequest, "properties")

    assert await held(world.catalog) == before
    assert world.ports.heard[1:] == [("open", "wps-two", (0, 0)), ("close", "wps-two")]
    await world.check_reload()


async def test_configured_hubs_are_a_thousand_at_most(world: World) -> None:
    for number in range(1000):
        await world.catalog.put_hub(f"h{number}", {})

    assert await refusal(world.catalog.put_hub("more", {})) == (Conflict, "quota")
    await world.catalog.put_hub("H0", {"x": 1})
    await world.put()
    await world.catalog.put_hub("more", {}, "wps-one")
    assert await world.catalog.delete_hub("h0")
    await world.catalog.put_hub("more", {})


async def test_groups_are_a_thousand_at_most(world: World) -> None:
    for number in range(999):
        await world.catalog.put_group(StoredGroup(f"g{number}", SUBSCRIPTION))

    assert await refusal(world.catalog.put_group(StoredGroup("more", SUBSCRIPTION))) == (Conflict, "quota")
    assert await refusal(world.put(group="more")) == (Conflict, "quota")
    assert not await world.catalog.put_group(StoredGroup("g0", SUBSCRIPTION, tags={"a": "b"}))
    await world.put(group="G1")


# What belongs to a scope


async def test_what_belongs_to_a_resource_or_a_group_is_deleted_before_it(world: World) -> None:
    """Whoever makes another one of this name gets nothing of it."""
    seen: list[tuple[str, bool]] = []

    async def forget(scope: str) -> None:
        seen.append((scope, world.catalog.named("wps-one") is not None))

    await world.put()
    scope = world.catalog.policy("wps-one").scope
    world.catalog.on_end.append(forget)
    await world.delete()
    await world.put()
    await world.catalog.delete_group(SUBSCRIPTION, "g")

    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g"
    assert seen[0] == (scope, True)
    assert {found for found, _ in seen[1:]} == {scope, group}
    assert not await world.delete()
    assert len(seen) == 3
