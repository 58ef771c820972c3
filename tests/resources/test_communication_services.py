"""Communication services of the tree: made, replaced, patched, deleted, and the same after each new start."""

import asyncio
import base64
from typing import Any

import pytest

from hubwire.model.communication import CommunicationKeys
from hubwire.model.errors import BadRequest, Conflict, NotFound, NotStored, StartFailed, Unavailable
from hubwire.model.ports import Change, Document
from hubwire.resources.communication_documents import service_id
from hubwire.resources.documents import StoredGroup
from resources.communicating import IDENTITY, OWNED, Communicating, PortsAsked
from resources.vaulting import GROUP, NOW, SUBSCRIPTION, TENANT


@pytest.fixture
async def world() -> Communicating:
    return await Communicating().start()


async def own(world: Communicating, immutable_id: str, *names: str) -> None:
    """Let a service have some documents of each kind."""
    await world.store.commit([Change(kind, f"{immutable_id}/{name}", {}) for kind in OWNED for name in names])


def owned(world: Communicating, immutable_id: str) -> list[tuple[str, str]]:
    return sorted((kind, key) for kind, key in world.store.documents if key.startswith(f"{immutable_id}/"))


async def test_service_is_there_from_when_it_is_made(world: Communicating) -> None:
    made, is_new = await world.put()

    assert is_new
    assert world.services.document(made) == {
        "id": f"{GROUP}/providers/Microsoft.Communication/communicationServices/Acs-One",
        "name": "Acs-One",
        "type": "Microsoft.Communication/communicationServices",
        "location": "global",
        "tags": {"a": "b"},
        "systemData": {"createdAt": "2027-01-15T08:00:00.0000000Z", "lastModifiedAt": "2027-01-15T08:00:00.0000000Z"},
        "properties": {
            "version": "1.0",
            "provisioningState": "Succeeded",
            "hostName": "acs-one.communication.localhost",
            "immutableResourceId": made.immutable_id,
            "publicNetworkAccess": "Enabled",
            "disableLocalAuth": False,
            "dataLocation": "Europe",
        },
    }
    service = world.services.service_at("communication/acs-one")
    assert service == world.services.service("ACS-ONE")
    assert (service.name, service.immutable_id, service.location) == ("Acs-One", made.immutable_id, "global")
    assert (service.data_location, service.local_auth, service.is_reachable) == ("Europe", True, True)
    assert world.services.endpoint(service) == "https://acs-one.communication.localhost"
    assert world.told == [(None, service)]


async def test_keys_are_64_bytes_of_their_own_and_so_are_ids(world: Communicating) -> None:
    one, _ = await world.put("one")
    two, _ = await world.put("two")
    first = world.services.service("default")

    keys = [key for keys in (one.keys, two.keys, first.keys) for key in (keys.primary, keys.secondary)]
    assert [len(base64.b64decode(key, validate=True)) for key in keys] == [64] * 6
    assert len(set(keys)) == 6
    assert len({one.immutable_id, two.immutable_id, first.immutable_id}) == 3
    assert world.services.keys_document(one) == {
        "primaryKey": one.keys.primary,
        "secondaryKey": one.keys.secondary,
        "primaryConnectionString": f"endpoint=https://one.communication.localhost/;accesskey={one.keys.primary}",
        "secondaryConnectionString": f"endpoint=https://one.communication.localhost/;accesskey={one.keys.secondary}",
    }


async def test_first_service_is_there_from_the_first_start_and_stays_what_it_is(world: Communicating) -> None:
    first = world.services.service_at("default")
    assert (first.name, first.location, first.data_location) == ("default", "global", "United States")
    assert world.services.service_at("communication/default") == first
    found = world.services.find(SUBSCRIPTION, "hubwire", "DEFAULT")

    await world.start()

    assert world.services.service_at("default") == first
    assert world.services.all() == [found]
    with pytest.raises(Conflict):
        await world.services.delete(SUBSCRIPTION, "hubwire", "default")
    with pytest.raises(Conflict):
        await world.catalog.delete_group(SUBSCRIPTION, "hubwire")
    assert world.services.service_at("default") == first


async def test_start_fails_where_the_first_service_cannot_be_stored() -> None:
    world = await Communicating().start()
    del world.store.documents["communicationService", "default"]
    world.store.full = True

    with pytest.raises(StartFailed, match="communication service"):
        await world.start()


@pytest.mark.parametrize("listener", ["communication/other", "vault/default", "wps-one", "communication/", ""])
async def test_nobody_is_found_where_no_service_is(world: Communicating, listener: str) -> None:
    with pytest.raises(NotFound):
        world.services.service_at(listener)


async def test_service_is_the_same_after_a_new_start(world: Communicating) -> None:
    await world.put(identity={"type": "SystemAssigned"})
    before = world.services.all()

    await world.start()

    assert world.services.all() == before


async def test_damaged_service_is_told_at_the_start(world: Communicating) -> None:
    await world.put()
    key = ("communicationService", "acs-one")
    body: dict[str, Any] = {**world.store.documents[key].body, "properties": {"dataLocation": 1}}
    world.store.documents[key] = Document(*key, body, "1")

    with pytest.raises(StartFailed, match="acs-one"):
        await world.start()


async def test_second_put_replaces_what_it_says_and_keeps_name_id_and_keys(world: Communicating) -> None:
    made, _ = await world.put(properties={"dataLocation": "Europe", "disableLocalAuth": True})
    world.now += 60

    again, is_new = await world.put("ACS-one", location="global", tags={}, properties={"dataLocation": "EUROPE"})

    assert not is_new
    assert (again.name, again.immutable_id, again.keys) == ("Acs-One", made.immutable_id, made.keys)
    assert (again.tags, again.properties["disableLocalAuth"]) == ({}, False)
    assert (again.created_at, again.changed_at) == (NOW, NOW + 60)
    old, new = world.told[-1]
    assert old is not None
    assert new is not None
    assert (old.local_auth, new.local_auth) == (False, True)


async def test_patch_changes_what_is_given(world: Communicating) -> None:
    await world.put()

    await world.services.patch(
        SUBSCRIPTION, "g", "acs-one", {"tags": {"c": "d"}, "properties": {"PublicNetworkAccess": "disabled"}}
    )

    found = world.services.find(SUBSCRIPTION, "g", "acs-one")
    assert (found.tags, found.properties["dataLocation"]) == ({"c": "d"}, "Europe")
    assert world.services.service("acs-one").is_reachable is False
    await world.services.patch(SUBSCRIPTION, "g", "acs-one", {"properties": {"publicNetworkAccess": None}})
    assert world.services.service("acs-one").is_reachable is True
    with pytest.raises(NotFound):
        await world.services.patch(SUBSCRIPTION, "g", "other", {})


async def test_service_and_its_data_stay_where_they_are(world: Communicating) -> None:
    await world.put()

    with pytest.raises(Conflict) as moved:
        await world.put(location="eastus")
    assert moved.value.target == "location"
    with pytest.raises(Conflict):
        await world.put(properties={"dataLocation": "Africa"})
    with pytest.raises(Conflict):
        await world.services.patch(SUBSCRIPTION, "g", "acs-one", {"properties": {"dataLocation": "Africa"}})
    assert world.services.service("acs-one").data_location == "Europe"
    # Nobody has chosen these for the first one.
    await world.put("default", "hubwire", location="eastus", properties={"dataLocation": "Africa"})
    assert world.services.service("default").data_location == "Africa"


@pytest.mark.parametrize("name", ["", "-a", "a-", "a_b", "a.b", "a" * 64, "a b", "ä"])
async def test_illegal_name_is_refused(world: Communicating, name: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await world.put(name)
    assert refused.value.target == "name"


@pytest.mark.parametrize("location", [None, 1, "", "a/b"])
async def test_location_is_required(world: Communicating, location: object) -> None:
    with pytest.raises(BadRequest) as refused:
        await world.put(location=location)
    assert refused.value.target == "location"


async def test_name_is_unique_in_the_server(world: Communicating) -> None:
    await world.put()
    await world.catalog.put_group(StoredGroup("h", SUBSCRIPTION))

    with pytest.raises(Conflict):
        await world.put("acs-one", "h")
    with pytest.raises(Conflict):
        await world.put("Default", "h")
    with pytest.raises(NotFound):
        world.services.find(SUBSCRIPTION, "h", "acs-one")


async def test_resource_group_is_made_with_its_first_service(world: Communicating) -> None:
    """But for none that cannot be."""
    with pytest.raises(BadRequest):
        await world.put("-", group="New-Group")
    assert world.catalog.group(SUBSCRIPTION, "new-group") is None

    await world.put(group="New-Group")
    assert world.catalog.group(SUBSCRIPTION, "new-group") is not None


async def test_check_makes_nothing(world: Communicating) -> None:
    body = {"location": "global", "properties": {"dataLocation": "Europe"}}

    assert world.services.check(SUBSCRIPTION, "g", "acs-one", body).properties["dataLocation"] == "Europe"
    assert world.services.named("acs-one") is None


async def test_regenerated_key_is_another_one_of_the_next_generation(world: Communicating) -> None:
    before, _ = await world.put()

    await world.services.regenerate("acs-one", "secondary")
    await world.services.regenerate("acs-one", "secondary")
    await world.services.regenerate("ACS-ONE", "primary")

    keys = world.services.service("acs-one").keys
    assert (keys.primary_generation, keys.secondary_generation) == (2, 3)
    assert len({keys.primary, keys.secondary, before.keys.primary, before.keys.secondary}) == 4
    await world.start()
    assert world.services.service("acs-one").keys == keys
    with pytest.raises(NotFound):
        await world.services.regenerate("other", "primary")


async def test_key_stays_where_the_new_one_cannot_be_stored(world: Communicating) -> None:
    await world.put()
    keys = world.services.service("acs-one").keys
    world.store.full = True

    with pytest.raises(NotStored):
        await world.services.regenerate("acs-one", "primary")

    assert world.services.service("acs-one").keys == keys
    assert len(world.told) == 1


async def test_deleted_service_takes_along_what_belongs_to_it(world: Communicating) -> None:
    """However much that is, and nothing of others. Whoever makes one of its name gets another id."""
    one, _ = await world.put("one")
    two, _ = await world.put("two")
    await own(world, one.immutable_id, *map(str, range(450)))
    await own(world, two.immutable_id, "a")
    ended: list[str] = []

    async def end(scope: str) -> None:
        ended.append(scope)

    world.catalog.on_end.append(end)
    assert await world.services.delete(SUBSCRIPTION, "G", "ONE")

    assert ended == [service_id(one)]
    assert owned(world, one.immutable_id) == []
    assert len(owned(world, two.immutable_id)) == len(OWNED)
    assert world.told[-1][1] is None
    with pytest.raises(NotFound):
        world.services.service_at("communication/one")
    assert await world.services.delete(SUBSCRIPTION, "g", "one") is False
    again, is_new = await world.put("one")
    assert is_new
    assert again.immutable_id != one.immutable_id
    assert again.keys != one.keys


async def test_deleted_group_takes_its_services_along(world: Communicating) -> None:
    one, _ = await world.put("one", "gone")
    await world.put("two", "gone-not")
    await own(world, one.immutable_id, "a")

    assert await world.catalog.delete_group(SUBSCRIPTION, "GONE")

    assert [service.name for service in world.services.all()] == ["default", "two"]
    assert owned(world, one.immutable_id) == []
    await world.start()
    assert [service.name for service in world.services.all()] == ["default", "two"]


async def test_start_deletes_what_a_deleted_service_has_left(world: Communicating) -> None:
    """The server may have ended in the middle of it."""
    one, _ = await world.put("one")
    two, _ = await world.put("two")
    for service in (one, two):
        await own(world, service.immutable_id, *map(str, range(250)))
    await world.store.commit([Change("communicationService", "one", None)])

    await world.start()

    assert owned(world, one.immutable_id) == []
    assert len(owned(world, two.immutable_id)) == 250 * len(OWNED)


async def test_ports_come_and_go_with_a_service(world: Communicating) -> None:
    ports = world.services.ports = PortsAsked()

    made, _ = await world.put()
    await world.put()
    await world.services.delete(SUBSCRIPTION, "g", "acs-one")

    assert made.ports == (9080, 9443)
    assert ports.heard == [("open", "communication/acs-one", (0, 0)), ("close", "communication/acs-one")]


async def test_nothing_is_left_of_a_service_that_has_no_port_or_is_not_stored(world: Communicating) -> None:
    ports = world.services.ports = PortsAsked()
    ports.failure = Unavailable("No port can be had.")
    with pytest.raises(Unavailable):
        await world.put()
    ports.failure, world.store.full = None, True
    with pytest.raises(NotStored):
        await world.put()

    assert ports.heard[-1] == ("close", "communication/acs-one")
    assert world.services.named("acs-one") is None
    assert world.told == []


async def test_start_opens_the_ports_that_each_had(world: Communicating) -> None:
    """But for the first one, which is at the main ports."""
    await world.put("one")
    world.services.ports = PortsAsked()
    await world.put("two")
    await world.start()
    ports = world.services.ports = PortsAsked()

    moved = await world.services.open_ports()

    assert ports.heard == [("open", "communication/one", (0, 0)), ("open", "communication/two", (9080, 9443))]
    assert moved == []
    await world.start()
    assert [service.ports for service in world.services.all()] == [(0, 0), (9080, 9443), (9080, 9443)]


async def test_moved_ports_are_told(world: Communicating) -> None:
    ports = world.services.ports = PortsAsked()
    await world.put()
    found = world.services.all()[0]
    assert found.name == "Acs-One"
    world.store.documents["communicationService", "acs-one"].body["ports"] = [1, 2]
    await world.start()
    world.services.ports = ports

    assert await world.services.open_ports() == [("Acs-One", (1, 2), (9080, 9443))]


async def test_identities_are_kept_and_shown_with_their_ids(world: Communicating) -> None:
    made, _ = await world.put(
        identity={"type": "systemAssigned, userAssigned", "userAssignedIdentities": {IDENTITY.upper(): {}}}
    )
    shown = world.services.document(made)["identity"]
    principal = shown["principalId"]

    assert shown == {
        "type": "SystemAssigned,UserAssigned",
        "principalId": principal,
        "tenantId": TENANT,
        "userAssignedIdentities": {IDENTITY.upper(): {"principalId": "object-id", "clientId": "client-id"}},
    }
    patched = await world.services.patch(SUBSCRIPTION, "g", "acs-one", {"identity": {"type": "SystemAssigned"}})
    assert world.services.document(patched)["identity"] == {
        "type": "SystemAssigned",
        "principalId": principal,
        "tenantId": TENANT,
    }
    none = await world.services.patch(SUBSCRIPTION, "g", "acs-one", {"identity": {"type": "None"}})
    assert "identity" not in world.services.document(none)


async def test_identity_has_to_be_there_or_to_come(world: Communicating) -> None:
    other = IDENTITY.replace("one", "two")
    body: dict[str, Any] = {
        "location": "global",
        "properties": {"dataLocation": "Europe"},
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {other: {}}},
    }

    with pytest.raises(BadRequest):
        await world.services.put(SUBSCRIPTION, "g", "one", body)
    assert world.services.check(SUBSCRIPTION, "g", "one", body, {other.lower()}).identity.assigned == (other,)


async def test_large_properties_are_refused(world: Communicating) -> None:
    with pytest.raises(BadRequest):
        await world.put(properties={"dataLocation": "Europe", "more": "x" * 300_000})
    assert world.services.named("acs-one") is None


async def test_there_is_an_end_to_services(world: Communicating) -> None:
    for number in range(99):
        await world.put(f"acs-{number}")

    with pytest.raises(Conflict) as refused:
        await world.put("one-more")
    assert refused.value.target == "quota"
    await world.put("acs-5")


async def test_change_goes_on_whoever_gives_up_waiting(world: Communicating) -> None:
    asked = asyncio.ensure_future(world.put())
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await world.put("two")

    assert [service.name for service in world.services.all()] == ["Acs-One", "default", "two"]


def test_generations_begin_with_one() -> None:
    keys = CommunicationKeys("p", "s")

    assert (keys.primary_generation, keys.secondary_generation) == (1, 1)
