"""
Resources, hubs and resource groups as the resource manager shows them. Pure.

Source: Microsoft.SignalRService/webPubSub and its examples, api-version 2024-03-01; the resource groups of
Microsoft.Resources.
"""

import copy
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from hubwire.model.hubs import AccessKeys, connection_string
from hubwire.resources.documents import StoredGroup, StoredHub, StoredResource

__all__ = [
    "HUB_TYPE",
    "TYPE",
    "Place",
    "group_document",
    "group_id",
    "hub_document",
    "keys_document",
    "replica_document",
    "resource_document",
    "resource_id",
    "system_data",
]

TYPE: Final = "Microsoft.SignalRService/WebPubSub"
HUB_TYPE: Final = "Microsoft.SignalRService/WebPubSub/hubs"
_PROVIDER: Final = "providers/Microsoft.SignalRService/WebPubSub"


class Place(Struct, frozen=True):
    """
    Where a resource is reached.

    Attributes:
        endpoint: base URL that its connection strings name.
        host: name or address in it.
        public_port, server_port: of its HTTPS listener, or of the plain one where there is none.
        address: that it listens on.
    """

    endpoint: str
    host: str
    public_port: int
    server_port: int
    address: str = "127.0.0.1"


def group_id(subscription: str, group: str) -> str:
    """Id of a resource group."""
    return f"/subscriptions/{subscription}/resourceGroups/{group}"


def resource_id(subscription: str, group: str, name: str) -> str:
    """Id of a webPubSub resource."""
    return f"{group_id(subscription, group)}/{_PROVIDER}/{name}"


def group_document(group: StoredGroup) -> dict[str, Any]:
    """A resource group."""
    document = {
        "id": group_id(group.subscription, group.name),
        "name": group.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "tags": dict(group.tags),
        "properties": {"provisioningState": "Succeeded"},
    }
    return document if group.managed_by is None else {**document, "managedBy": group.managed_by}


def resource_document(resource: StoredResource, place: Place, tenant_id: str) -> dict[str, Any]:
    """
    A resource, all of its properties told.

    Args:
        resource: with its subscription.
    """
    document: dict[str, Any] = {
        "id": resource_id(resource.subscription, resource.group, resource.name),
        "name": resource.name,
        "type": TYPE,
        "location": resource.location,
        "tags": dict(resource.tags),
        "sku": dict(resource.sku),
        "kind": resource.kind,
        "properties": {
            "provisioningState": "Succeeded",
            "externalIP": place.address,
            "hostName": place.host,
            "publicPort": place.public_port,
            "serverPort": place.server_port,
            "version": "1.0",
            "hostNamePrefix": resource.name.lower(),
            "privateEndpointConnections": [],
            "sharedPrivateLinkResources": [],
            **copy.deepcopy(resource.properties),
        },
        "systemData": system_data(resource.created_at, resource.changed_at),
    }
    identity = resource.identity
    if identity.kind == "SystemAssigned":
        document["identity"] = {
            "type": identity.kind,
            "principalId": identity.principal_id,
            "tenantId": tenant_id,
        }
    elif identity.assigned is not None:
        known = {"principalId": identity.principal_id, "clientId": identity.client_id}
        document["identity"] = {"type": identity.kind, "userAssignedIdentities": {identity.assigned: known}}
    return document


def hub_document(resource: StoredResource, hub: StoredHub) -> dict[str, Any]:
    """A hub of a resource."""
    return {
        "id": f"{resource_id(resource.subscription, resource.group, resource.name)}/hubs/{hub.name}",
        "name": hub.name,
        "type": HUB_TYPE,
        "properties": copy.deepcopy(hub.properties),
    }


def replica_document(resource: StoredResource, name: str) -> dict[str, Any]:
    """A replica, which is kept and does nothing."""
    return {
        "id": f"{resource_id(resource.subscription, resource.group, resource.name)}/replicas/{name}",
        "name": name,
        "type": f"{TYPE}/replicas",
        **copy.deepcopy(resource.replicas[name]),
    }


def keys_document(keys: AccessKeys, endpoint: str) -> dict[str, str]:
    """What `listKeys` answers. A secret."""
    return {
        "primaryKey": keys.primary,
        "secondaryKey": keys.secondary,
        "primaryConnectionString": connection_string(endpoint, keys.primary),
        "secondaryConnectionString": connection_string(endpoint, keys.secondary),
    }


def system_data(created_at: int, changed_at: int) -> dict[str, str]:
    """When a resource was made and changed. Times are seconds since 1970."""
    return {"createdAt": _time(created_at), "lastModifiedAt": _time(changed_at)}


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
