"""
Communication services as they are stored, as the resource manager shows them, and as those see them who manage their
users. Pure.

Source: Microsoft.Communication/communicationServices, api-versions 2020-08-20 to 2025-09-01.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from hubwire.model.communication import CommunicationKeys, CommunicationService, communication_connection_string
from hubwire.model.ports import Change
from hubwire.resources.communication_properties import GLOBAL, completed
from hubwire.resources.documents import PlacedResource
from hubwire.resources.resource_documents import group_id, system_data

__all__ = [
    "DEFAULT_SERVICE",
    "FIRST_PROPERTIES",
    "SAID",
    "SERVICE",
    "SERVICE_TYPE",
    "ServiceIdentity",
    "StoredService",
    "is_untouched",
    "service_change",
    "service_document",
    "service_id",
    "service_keys",
    "service_of",
]

SERVICE: Final = "communicationService"
"""Kind of document, its key is the service's name in lower case."""

SERVICE_TYPE: Final = "Microsoft.Communication/communicationServices"
DEFAULT_SERVICE: Final = "default"
"""Name of the service that is there from the first start and answers for every host."""

FIRST_PROPERTIES: Final[Mapping[str, Any]] = {"dataLocation": "United States"}
"""Of that one, as long as nobody says anything else."""

SAID: Final = ("version", "provisioningState", "hostName", "immutableResourceId")
"""Properties that nobody sets."""


class ServiceIdentity(Struct, frozen=True):
    """
    A service's managed identities, which do nothing here.

    Attributes:
        kind: None, SystemAssigned, UserAssigned, or the last two with a comma between them.
        principal_id: of the system's; empty without one.
        assigned: resource ids of the user-assigned ones.
    """

    kind: str = "None"
    principal_id: str = ""
    assigned: tuple[str, ...] = ()


class StoredService(PlacedResource, frozen=True, kw_only=True):
    """
    Attributes:
        immutable_id: GUID, in lower case.
    """

    immutable_id: str
    keys: CommunicationKeys
    identity: ServiceIdentity = ServiceIdentity()


def service_id(service: StoredService) -> str:
    """Its resource id."""
    return f"{group_id(service.subscription, service.group)}/providers/{SERVICE_TYPE}/{service.name}"


def service_change(service: StoredService, expect: str = "any") -> Change:
    """Store a service."""
    return Change(SERVICE, service.name.lower(), msgspec.to_builtins(service), expect)


def service_of(stored: StoredService) -> CommunicationService:
    """As those see it who manage its users."""
    return CommunicationService(
        name=stored.name,
        immutable_id=stored.immutable_id,
        location=stored.location,
        data_location=stored.properties["dataLocation"],
        keys=stored.keys,
        local_auth=not stored.properties["disableLocalAuth"],
        is_reachable=stored.properties["publicNetworkAccess"] != "Disabled",
    )


def service_document(
    service: StoredService, host: str, tenant_id: str, assigned: Mapping[str, tuple[str, str] | None]
) -> dict[str, Any]:
    """
    A service, all of its properties told.

    Args:
        host: authority under which it is reached. With a port, unlike elsewhere: templates and programs make its URL
            of nothing else.
        assigned: object id and client id of its user-assigned identities, by resource id; None for one that is gone.
    """
    document: dict[str, Any] = {
        "id": service_id(service),
        "name": service.name,
        "type": SERVICE_TYPE,
        "location": service.location,
        "tags": dict(service.tags),
        "systemData": system_data(service.created_at, service.changed_at),
        "properties": {
            "version": "1.0",
            "provisioningState": "Succeeded",
            "hostName": host,
            "immutableResourceId": service.immutable_id,
            **copy.deepcopy(service.properties),
        },
    }
    identity = service.identity
    if identity.kind != "None":
        document["identity"] = {"type": identity.kind}
        if identity.principal_id:
            document["identity"] |= {"principalId": identity.principal_id, "tenantId": tenant_id}
        if identity.assigned:
            document["identity"]["userAssignedIdentities"] = {
                one: {} if known is None else {"principalId": known[0], "clientId": known[1]}
                for one, known in assigned.items()
            }
    return document


def service_keys(keys: CommunicationKeys, endpoint: str) -> dict[str, str]:
    """What `listKeys` answers. A secret."""
    return {
        "primaryKey": keys.primary,
        "secondaryKey": keys.secondary,
        "primaryConnectionString": communication_connection_string(endpoint, keys.primary),
        "secondaryConnectionString": communication_connection_string(endpoint, keys.secondary),
    }


def is_untouched(document: Mapping[str, Any]) -> bool:
    """Is this the service of the first start, with nothing of it changed: there is one like it in each server."""
    properties = {name: value for name, value in document["properties"].items() if name not in SAID}
    return (
        document["name"] == DEFAULT_SERVICE
        and document["location"] == GLOBAL
        and not document["tags"]
        and "identity" not in document
        and properties == completed(FIRST_PROPERTIES)
    )
