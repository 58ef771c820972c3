"""The resource tree as a template that deploys to the same state."""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hubwire.resources.catalog import Catalog
from hubwire.resources.communication_documents import SAID, SERVICE_TYPE, is_untouched
from hubwire.resources.documents import Identity, StoredResource

__all__ = ["export"]

_SCHEMA: Final = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
_VERSION: Final = "2025-01-01-preview"
_IDENTITY_TYPE: Final = "Microsoft.ManagedIdentity/userAssignedIdentities"
_IDENTITY_VERSION: Final = "2023-01-31"
_VAULT_TYPE: Final = "Microsoft.KeyVault/vaults"
_VAULT_VERSION: Final = "2023-07-01"
_VAULT_SAYS: Final = ("vaultUri", "provisioningState")
_SERVICE_VERSION: Final = "2023-04-01"
_ANYWHERE: Final = "local"
_WHERE: Final = "[resourceGroup().location]"


async def export(
    catalog: Catalog, subscription: str, group: str, others: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """
    The resources of a group with their hubs, its identities, its vaults and its communication services. Not keys: those
    are made anew wherever it is deployed. Nor secrets, nor users, nor roles, which are those of principals that may not
    be there.

    Args:
        others: documents of the group's resources that are no webPubSub resources.
    """
    identities = [document for document in others if document["type"] == _IDENTITY_TYPE]
    resources: list[dict[str, Any]] = [_user_assigned(document) for document in identities]
    known = {document["id"].lower(): document["name"] for document in identities}
    resources += [_vault(document) for document in others if document["type"] == _VAULT_TYPE]
    services = [document for document in others if document["type"] == SERVICE_TYPE and not is_untouched(document)]
    resources += [_service(document, known) for document in services]
    for resource in catalog.resources(subscription, group):
        resources.append(_resource(resource, known.get((resource.identity.assigned or "").lower())))
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


def _user_assigned(document: Mapping[str, Any]) -> dict[str, Any]:
    location = _WHERE if document["location"] == _ANYWHERE else _literal(document["location"])
    identity = {"type": _IDENTITY_TYPE, "apiVersion": _IDENTITY_VERSION, "name": document["name"], "location": location}
    return {**identity, "tags": _literal(document["tags"])} if document["tags"] else identity


def _vault(document: Mapping[str, Any]) -> dict[str, Any]:
    """Its access policies with it, without which the same vault would let nobody in any more."""
    properties = {name: value for name, value in document["properties"].items() if name not in _VAULT_SAYS}
    vault = {
        "type": _VAULT_TYPE,
        "apiVersion": _VAULT_VERSION,
        "name": document["name"],
        "location": _literal(document["location"]),
        "properties": _literal(properties),
    }
    return {**vault, "tags": _literal(document["tags"])} if document["tags"] else vault


def _service(document: Mapping[str, Any], beside: Mapping[str, str]) -> dict[str, Any]:
    """
    Args:
        beside: names of the identities of the same group, by resource id in lower case.
    """
    properties = {name: value for name, value in document["properties"].items() if name not in SAID}
    service: dict[str, Any] = {
        "type": SERVICE_TYPE,
        "apiVersion": _SERVICE_VERSION,
        "name": document["name"],
        "location": _literal(document["location"]),
        "properties": _literal(properties),
    }
    if document["tags"]:
        service["tags"] = _literal(document["tags"])
    if "identity" in document:
        service["identity"] = {"type": document["identity"]["type"]}
        assigned = list(document["identity"].get("userAssignedIdentities") or ())
        names = {one: beside.get(one.lower()) for one in assigned}
        places = {one: one if name is None else f"[{_place_of(name)}]" for one, name in names.items()}
        if assigned:
            service["identity"]["userAssignedIdentities"] = {place: {} for place in places.values()}
        needed = [f"[{_place_of(name)}]" for name in names.values() if name is not None]
        if needed:
            service["dependsOn"] = needed
    return service


def _place_of(identity: str) -> str:
    """An expression for the id of an identity of the same group."""
    return f"resourceId('{_IDENTITY_TYPE}', '{identity}')"


def _resource(resource: StoredResource, beside: str | None) -> dict[str, Any]:
    """
    Args:
        beside: name of its user-assigned identity, if that is one of the same group.
    """
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
        there = _place_of(beside)
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
