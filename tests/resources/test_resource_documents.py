"""What the resource manager shows of resources, hubs, groups and keys."""

from typing import Any

import pytest

from hubwire.model.hubs import AccessKeys
from hubwire.resources.documents import Identity, StoredGroup, StoredHub, StoredResource
from hubwire.resources.hub_properties import completed as completed_hub
from hubwire.resources.resource_documents import (
    Place,
    group_document,
    hub_document,
    keys_document,
    replica_document,
    resource_document,
)
from hubwire.resources.resource_properties import completed, sku_of

KEYS = AccessKeys("p" * 32, "s" * 32, "t" * 32)
PLACE = Place("http://localhost:8081", "localhost", 8444, 8444, "127.0.0.1")
ID = "/subscriptions/sub/resourceGroups/Group/providers/Microsoft.SignalRService/WebPubSub/Wps-One"
USER_ASSIGNED = "/subscriptions/sub/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"


def resource(**more: Any) -> StoredResource:
    known: dict[str, Any] = {
        "name": "Wps-One",
        "keys": KEYS,
        "subscription": "sub",
        "group": "Group",
        "location": "eastus",
        "sku": sku_of(None),
        "properties": completed({"x": [1]}),
        "created_at": 0,
        "changed_at": 1_800_000_000,
    }
    return StoredResource(**{**known, **more})


def test_resource_is_shown_with_all_of_its_properties() -> None:
    shown = resource_document(resource(tags={"a": "b"}), PLACE, "tenant")

    assert shown == {
        "id": ID,
        "name": "Wps-One",
        "type": "Microsoft.SignalRService/WebPubSub",
        "location": "eastus",
        "tags": {"a": "b"},
        "sku": {"name": "Standard_S1", "tier": "Standard", "size": "S1", "capacity": 1},
        "kind": "WebPubSub",
        "properties": {
            "provisioningState": "Succeeded",
            "externalIP": "127.0.0.1",
            "hostName": "localhost",
            "publicPort": 8444,
            "serverPort": 8444,
            "version": "1.0",
            "hostNamePrefix": "wps-one",
            "privateEndpointConnections": [],
            "sharedPrivateLinkResources": [],
            **completed({"x": [1]}),
        },
        "systemData": {
            "createdAt": "1970-01-01T00:00:00.0000000Z",
            "lastModifiedAt": "2027-01-15T08:00:00.0000000Z",
        },
    }


def test_keys_are_never_part_of_a_resource() -> None:
    shown = repr(resource_document(resource(), PLACE, "tenant"))

    assert not any(key in shown for key in (KEYS.primary, KEYS.secondary, KEYS.salt))


@pytest.mark.parametrize(
    ("identity", "shown"),
    [
        (Identity(), None),
        (
            Identity("SystemAssigned", None, "principal", "client"),
            {"type": "SystemAssigned", "principalId": "principal", "tenantId": "tenant"},
        ),
        (
            Identity("UserAssigned", USER_ASSIGNED, "principal", "client"),
            {
                "type": "UserAssigned",
                "userAssignedIdentities": {USER_ASSIGNED: {"principalId": "principal", "clientId": "client"}},
            },
        ),
    ],
)
def test_identity_is_shown_by_its_kind(identity: Identity, shown: object) -> None:
    assert resource_document(resource(identity=identity), PLACE, "tenant").get("identity") == shown


def test_what_is_shown_is_a_copy() -> None:
    kept = resource(tags={"a": "b"})
    shown = resource_document(kept, PLACE, "tenant")

    shown["tags"].clear()
    shown["properties"]["x"].append(2)
    shown["properties"]["networkACLs"]["publicNetwork"]["allow"].clear()
    shown["sku"].clear()

    assert kept == resource(tags={"a": "b"})


def test_shown_resource_can_be_put_back_as_it_is() -> None:
    """As clients do that read, change a part and write."""
    shown = resource_document(resource(), PLACE, "tenant")

    assert completed(shown["properties"]) == resource().properties
    assert sku_of(shown["sku"]) == resource().sku


def test_hub_is_shown_below_its_resource() -> None:
    hub = StoredHub("Chat", completed_hub({"x": [1]}))
    shown = hub_document(resource(), hub)

    assert shown == {
        "id": f"{ID}/hubs/Chat",
        "name": "Chat",
        "type": "Microsoft.SignalRService/WebPubSub/hubs",
        "properties": hub.properties,
    }
    shown["properties"]["x"].append(2)
    assert hub.properties["x"] == [1]


def test_replica_is_shown_below_its_resource() -> None:
    kept = resource(replicas={"east": {"location": "eastus", "properties": {"x": [1]}}})
    shown = replica_document(kept, "east")

    assert shown == {
        "id": f"{ID}/replicas/east",
        "name": "east",
        "type": "Microsoft.SignalRService/WebPubSub/replicas",
        "location": "eastus",
        "properties": {"x": [1]},
    }
    shown["properties"]["x"].append(2)
    assert kept.replicas["east"]["properties"] == {"x": [1]}


@pytest.mark.parametrize(("managed_by", "more"), [(None, {}), ("somebody", {"managedBy": "somebody"})])
def test_group_is_shown(managed_by: str | None, more: dict[str, str]) -> None:
    assert group_document(StoredGroup("Group", "sub", "eastus", {"a": "b"}, managed_by)) == {
        "id": "/subscriptions/sub/resourceGroups/Group",
        "name": "Group",
        "type": "Microsoft.Resources/resourceGroups",
        "location": "eastus",
        "tags": {"a": "b"},
        "properties": {"provisioningState": "Succeeded"},
        **more,
    }


def test_keys_are_told_with_their_connection_strings_and_without_the_salt() -> None:
    assert keys_document(KEYS, "http://localhost:8081") == {
        "primaryKey": "p" * 32,
        "secondaryKey": "s" * 32,
        "primaryConnectionString": f"Endpoint=http://localhost:8081;AccessKey={'p' * 32};Version=1.0;",
        "secondaryConnectionString": f"Endpoint=http://localhost:8081;AccessKey={'s' * 32};Version=1.0;",
    }
