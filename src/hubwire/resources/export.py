"""The resource tree as a template that deploys to the same state."""

import copy
import json
from collections.abc import Mapping
from typing import Any, Final

from hubwire.resources.catalog import Catalog
from hubwire.resources.documents import Identity, StoredResource
from hubwire.resources.resource_documents import group_id

__all__ = ["export"]

_SCHEMA: Final = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
_VERSION: Final = "2025-01-01-preview"
_IDENTITY_TYPE: Final = "Microsoft.ManagedIdentity/userAssignedIdentities"
_IDENTITY_VERSION: Final = "2023-01-31"
_WHERE: Final = "[resourceGroup().location]"


async def export(catalog: Catalog, subscription: str, group: str) -> dict[str, Any]:
    """
    The resources of a group with their hubs, and the identities of the same group that they have. Not keys: those are
    made anew wherever it is deployed. Nor roles, which are those of principals that may not be there.
    """
    resources: list[dict[str, Any]] = []
    beside = group_id(subscription, group)
    for resource in catalog.resources(subscription, group):
        identity = _identity_in(beside, resource.identity)
        if identity is not None and identity not in resources:
            resources.append(identity)
        resources.append(_resource(resource, identity))
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


def _identity_in(group: str, identity: Identity) -> dict[str, Any] | None:
    """A user-assigned identity as a resource, if it is one of the group."""
    above, _, name = (identity.assigned or "").rpartition("/")
    if above.lower() != f"{group}/providers/{_IDENTITY_TYPE}".lower():
        return None
    return {"type": _IDENTITY_TYPE, "apiVersion": _IDENTITY_VERSION, "name": name, "location": _WHERE}


def _resource(resource: StoredResource, beside: Mapping[str, Any] | None) -> dict[str, Any]:
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
    if beside is not None:
        there = f"resourceId('{_IDENTITY_TYPE}', '{beside['name']}')"
        document["identity"] = {"type": resource.identity.kind, "userAssignedIdentities": {f"[{there}]": {}}}
        document["dependsOn"] = [f"[{there}]"]
    elif resource.identity != Identity():
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
        if any(name.startswith("[") or name.lower() == "copy" for name in value):
            # As names these would be expressions, or a loop.
            text = json.dumps(value, ensure_ascii=False).replace("'", "''")
            return f"[json('{text}')]"
        return {name: _literal(item) for name, item in value.items()}
    return copy.copy(value)
