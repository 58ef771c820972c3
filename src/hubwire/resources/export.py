"""The resource tree as a template that deploys to the same state."""

import copy
from collections.abc import Mapping
from typing import Any, Final

from hubwire.resources.catalog import Catalog
from hubwire.resources.documents import Identity, StoredResource

__all__ = ["export"]

_SCHEMA: Final = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
_VERSION: Final = "2025-01-01-preview"


async def export(catalog: Catalog, subscription: str, group: str) -> dict[str, Any]:
    """
    The resources of a group with their hubs, without keys: those are made anew wherever it is deployed.
    """
    resources: list[dict[str, Any]] = []
    for resource in catalog.resources(subscription, group):
        resources.append(_resource(resource))
        resources += [_hub(resource, hub) for hub in await catalog.list_hubs(resource.name)]
    return {"$schema": _SCHEMA, "contentVersion": "1.0.0.0", "parameters": {}, "resources": resources}


def _hub(resource: StoredResource, hub: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "Microsoft.SignalRService/webPubSub/hubs",
        "apiVersion": _VERSION,
        "name": f"{resource.name}/{hub['name']}",
        "dependsOn": [f"[resourceId('Microsoft.SignalRService/webPubSub', '{resource.name}')]"],
        "properties": _literal(hub["properties"]),
    }


def _resource(resource: StoredResource) -> dict[str, Any]:
    document: dict[str, Any] = {
        "type": "Microsoft.SignalRService/webPubSub",
        "apiVersion": _VERSION,
        "name": resource.name,
        "location": _literal(resource.location),
        "sku": {"name": resource.sku["name"], "capacity": resource.sku["capacity"]},
        "kind": resource.kind,
        "properties": _literal(resource.properties),
    }
    if resource.tags:
        document["tags"] = _literal(resource.tags)
    if resource.identity != Identity():
        document["identity"] = _identity(resource.identity)
    return document


def _identity(identity: Identity) -> dict[str, Any]:
    if identity.assigned is None:
        return {"type": identity.kind}
    return {"type": identity.kind, "userAssignedIdentities": {identity.assigned: {}}}


def _literal(value: Any) -> Any:
    """A value of which no string is taken for an expression."""
    if isinstance(value, str):
        return f"[{value}" if value.startswith("[") and value.endswith("]") else value
    if isinstance(value, list):
        return [_literal(item) for item in value]
    if isinstance(value, dict):
        return {name: _literal(item) for name, item in value.items()}
    return copy.copy(value)
