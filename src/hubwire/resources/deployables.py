"""
The resource types that a template may have, and how each is checked, carried out and shown.

A type that is not here is refused by name, or left out where the operator wants that.
"""

import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol

from msgspec import Struct

from hubwire.model.errors import BadRequest, Conflict, NotFound
from hubwire.model.hubs import DEFAULT_RESOURCE, AccessKeys
from hubwire.model.roles import role_with_id
from hubwire.resources.catalog import Catalog
from hubwire.resources.directory import Directory
from hubwire.resources.documents import StoredHub, StoredResource
from hubwire.resources.effects import ignored, ignored_of_hub
from hubwire.resources.hub_properties import completed as completed_hub
from hubwire.resources.resource_documents import (
    Place,
    group_document,
    hub_document,
    keys_document,
    resource_document,
)
from hubwire.resources.resource_properties import ASSIGN_IDENTITY, identity_of
from hubwire.resources.templates import Planned

__all__ = ["Deployable", "Deployables", "SplitId", "split_id"]

_EXTENSIONS: Final = frozenset({"microsoft.authorization/roleassignments"})
_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class SplitId(Struct, frozen=True):
    """
    A resource id in its parts.

    Attributes:
        scope: what stands before the last `/providers/`.
        type: with its namespace, in lower case.
        names: of the resource and of those above it, the outermost first.
    """

    scope: str
    subscription: str
    group: str
    type: str
    names: tuple[str, ...]


def split_id(resource_id: str) -> SplitId | None:
    """
    The parts of a resource id, or None. Only what extends another resource, as role assignments do, stands below one:
    an id of anything else with two types in a row names nothing, since rights are looked up by its beginning.
    """
    scope, separator, last = _last_provider(resource_id)
    parts = last.split("/")
    if not separator or len(parts) < 3 or len(parts) % 2 == 0 or not all(parts):
        return None
    kind = "/".join([parts[0], *parts[1::2]]).lower()
    above = re.match(r"/subscriptions/([^/]+)(?:/resourceGroups/([^/]+))?", scope, re.IGNORECASE)
    if kind not in _EXTENSIONS and (above is None or above.end() != len(scope) or not above[2]):
        return None
    subscription, group = (above[1], above[2] or "") if above else ("", "")
    return SplitId(scope, subscription, group, kind, tuple(parts[2::2]))


def _last_provider(resource_id: str) -> tuple[str, str, str]:
    at = resource_id.lower().rfind("/providers/")
    return (resource_id, "", "") if at < 0 else (resource_id[:at], "/providers/", resource_id[at + 11 :])


class Deployable(Protocol):
    """One resource type."""

    action: str
    """That deploying it takes."""

    def check(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> None:
        """
        Args:
            coming: ids of resources that will be there by then, in lower case.

        Raises:
            BadRequest, Conflict: it cannot be deployed so.
        """

    async def apply(self, planned: Planned, body: Mapping[str, Any]) -> bool:
        """Deploy it. Returns whether it is new. Raises as `check`, and NotFound, Unavailable, NotStored."""

    def keeps(self, found: SplitId) -> str | None:
        """Why it cannot be deleted; None if it can."""

    def shown(self, found: SplitId) -> dict[str, Any] | None:
        """Its document, or None if it is not there."""

    def expected(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> dict[str, Any]:
        """Its document after it is deployed, without what only the service says."""

    def rights(self, planned: Planned, body: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Actions that deploying it takes, with their scopes. Raises as `check`."""

    def warnings(self, planned: Planned, body: Mapping[str, Any]) -> list[str]:
        """What of it will not act."""

    async def delete(self, found: SplitId) -> None:
        """Raises Conflict: it must stay."""


class Deployables:
    """
    Args:
        place: where a resource is reached.
    """

    def __init__(
        self, catalog: Catalog, directory: Directory, place: Callable[[StoredResource], Place], tenant_id: str
    ) -> None:
        self._catalog = catalog
        self._types: Final[Mapping[str, Deployable]] = {
            "microsoft.signalrservice/webpubsub": _WebPubSub(catalog, directory, place, tenant_id),
            "microsoft.signalrservice/webpubsub/hubs": _Hub(catalog),
            "microsoft.authorization/roleassignments": _RoleAssignment(directory),
            "microsoft.managedidentity/userassignedidentities": _UserAssignedIdentity(directory),
        }
        self._place = place

    def of(self, kind: str) -> Deployable | None:
        """By type, in any case."""
        return self._types.get(kind.lower())

    def shown(self, resource_id: str) -> dict[str, Any] | None:
        """The document of any resource or resource group, or None."""
        found = split_id(resource_id)
        if found is not None:
            known = self.of(found.type)
            return None if known is None else known.shown(found)
        group = re.fullmatch(r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/?", resource_id, re.IGNORECASE)
        stored = None if group is None else self._catalog.group(group[1], group[2])
        return None if stored is None else group_document(stored)

    def keys(self, resource_id: str) -> dict[str, str] | None:
        """What `listKeys` answers for a webPubSub resource; None if it is none, or not there."""
        found = split_id(resource_id)
        if found is None or found.type != "microsoft.signalrservice/webpubsub":
            return None
        try:
            resource = self._catalog.resource(found.subscription, found.group, found.names[0])
        except NotFound:
            return None
        return keys_document(resource.keys, self._place(resource).endpoint)


class _Plain:
    """What most types have in common."""

    action: str

    def rights(self, planned: Planned, body: Mapping[str, Any]) -> list[tuple[str, str]]:  # noqa: ARG002  a port
        return [(self.action, planned.id)]

    def keeps(self, found: SplitId) -> str | None:  # noqa: ARG002  a port
        return None

    def warnings(self, planned: Planned, body: Mapping[str, Any]) -> list[str]:  # noqa: ARG002  a port
        return []


class _WebPubSub(_Plain):
    action = "Microsoft.SignalRService/webPubSub/write"

    def __init__(
        self, catalog: Catalog, directory: Directory, place: Callable[[StoredResource], Place], tenant_id: str
    ) -> None:
        self._catalog = catalog
        self._directory = directory
        self._place = place
        self._tenant_id = tenant_id

    def check(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> None:
        self._made(planned, body, coming)

    def _made(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str] = ()) -> StoredResource:
        return self._catalog.check_resource(planned.subscription_id, planned.resource_group, planned.name, body, coming)

    async def apply(self, planned: Planned, body: Mapping[str, Any]) -> bool:
        _, is_new = await self._catalog.put_resource(
            planned.subscription_id, planned.resource_group, planned.name, body
        )
        return is_new

    def shown(self, found: SplitId) -> dict[str, Any] | None:
        try:
            resource = self._catalog.resource(found.subscription, found.group, found.names[0])
        except NotFound:
            return None
        return resource_document(resource, self._place(resource), self._tenant_id)

    def expected(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> dict[str, Any]:
        made = self._made(planned, body, coming)
        return resource_document(made, self._place(made), self._tenant_id)

    def rights(self, planned: Planned, body: Mapping[str, Any]) -> list[tuple[str, str]]:
        _, assigned = identity_of(body.get("identity"))
        taken = super().rights(planned, body)
        return taken if assigned is None else [*taken, (ASSIGN_IDENTITY, assigned)]

    def keeps(self, found: SplitId) -> str | None:
        if found.names[0].lower() == DEFAULT_RESOURCE:
            return "The resource that answers for every host cannot be deleted; stop it by resourceStopped."
        return None

    def warnings(self, planned: Planned, body: Mapping[str, Any]) -> list[str]:
        return ignored(self._made(planned, body), body)

    async def delete(self, found: SplitId) -> None:
        await self._catalog.delete_resource(found.subscription, found.group, found.names[0])


class _Hub(_Plain):
    action = "Microsoft.SignalRService/webPubSub/hubs/write"

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def check(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> None:  # noqa: ARG002  a port
        self._catalog.check_hub(planned.name.rpartition("/")[2], _properties(body))

    async def apply(self, planned: Planned, body: Mapping[str, Any]) -> bool:
        resource, _, hub = planned.name.partition("/")
        found = self._catalog.resource(planned.subscription_id, planned.resource_group, resource)
        is_new = await self._catalog.get_hub(hub, found.name) is None
        await self._catalog.put_hub(hub, _properties(body), found.name)
        return is_new

    def shown(self, found: SplitId) -> dict[str, Any] | None:
        try:
            resource = self._catalog.resource(found.subscription, found.group, found.names[0])
        except NotFound:
            return None
        hub = self._catalog.hub(found.names[1], resource.name)
        return None if hub is None else hub_document(resource, hub)

    def expected(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> dict[str, Any]:  # noqa: ARG002  a port
        resource, _, hub = planned.name.partition("/")
        above = StoredResource(resource, AccessKeys("", ""), planned.subscription_id, planned.resource_group)
        return hub_document(above, StoredHub(hub, completed_hub(_properties(body))))

    def warnings(self, planned: Planned, body: Mapping[str, Any]) -> list[str]:
        return ignored_of_hub(StoredHub(planned.name.rpartition("/")[2], completed_hub(_properties(body))))

    async def delete(self, found: SplitId) -> None:
        try:
            resource = self._catalog.resource(found.subscription, found.group, found.names[0])
        except NotFound:
            return
        await self._catalog.delete_hub(found.names[1], resource.name)


class _RoleAssignment(_Plain):
    """A role at the scope that the assignment stands below."""

    action = "Microsoft.Authorization/roleAssignments/write"

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def check(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> None:  # noqa: ARG002  a port
        _role_of(body)
        if _GUID.fullmatch(planned.name) is None:
            raise BadRequest("The name of a role assignment is a GUID, such as guid() makes.", "name")

    async def apply(self, planned: Planned, body: Mapping[str, Any]) -> bool:
        self.check(planned, body, ())
        found = split_id(planned.id)
        assert found is not None, "the plan has made it"
        tenant, principal_id = self._directory.tenant.tenant_id, _properties(body)["principalId"]
        before = self._directory.roles_of(tenant, principal_id)
        made = await self._directory.assign(tenant, principal_id, _role_of(body), found.scope, planned.name)
        return made not in before

    def shown(self, found: SplitId) -> dict[str, Any] | None:
        item = self._directory.assignment(found.names[0])
        if item is None or item.scope.strip("/").lower() != found.scope.strip("/").lower():
            return None
        return _assignment(item.id, item.scope, item.principal_id, item.role_id)

    def expected(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> dict[str, Any]:  # noqa: ARG002  a port
        found = split_id(planned.id)
        assert found is not None, "the plan has made it"
        role_id = _role_of(body)
        return _assignment(planned.name, found.scope, _properties(body)["principalId"], role_id)

    async def delete(self, found: SplitId) -> None:
        """They are not part of a resource group."""


def _role_of(body: Mapping[str, Any]) -> str:
    """GUID of the role definition that an assignment names."""
    properties = _properties(body)
    for needed in ("roleDefinitionId", "principalId"):
        if not isinstance(properties.get(needed), str):
            raise BadRequest(f"properties.{needed} is required.", f"properties.{needed}")
    role = role_with_id(properties["roleDefinitionId"].rpartition("/")[2])
    if role is None:
        message = f"There is no role definition {properties['roleDefinitionId']} in this server."
        raise BadRequest(message, "properties.roleDefinitionId")
    return role.id


def _assignment(name: str, scope: str, principal_id: str, role_id: str) -> dict[str, Any]:
    kind = "Microsoft.Authorization/roleAssignments"
    definition = f"/providers/Microsoft.Authorization/roleDefinitions/{role_id}"
    properties = {"roleDefinitionId": definition, "principalId": principal_id.lower(), "scope": scope}
    return {"id": f"{scope}/providers/{kind}/{name}", "name": name, "type": kind, "properties": properties}


class _UserAssignedIdentity(_Plain):
    """A managed identity, which is a principal of the token issuer."""

    action = "Microsoft.ManagedIdentity/userAssignedIdentities/write"

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def check(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> None:
        """Any body will do."""

    async def apply(self, planned: Planned, body: Mapping[str, Any]) -> bool:  # noqa: ARG002  a port
        if self._directory.identity(planned.id) is not None:
            return False
        try:
            await self._directory.create(planned.name, time.time(), managed=True, resource_id=planned.id)
        except Conflict:
            return False  # somebody else was faster
        return True

    def shown(self, found: SplitId) -> dict[str, Any] | None:
        resource_id = f"{found.scope}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{found.names[0]}"
        app = self._directory.identity(resource_id)
        if app is None:
            return None
        return {
            "id": app.resource_id,
            "name": app.name,
            "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
            "location": "local",
            "properties": {
                "tenantId": self._directory.tenant.tenant_id,
                "principalId": app.object_id,
                "clientId": app.app_id,
            },
        }

    def expected(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> dict[str, Any]:  # noqa: ARG002  a port
        found = split_id(planned.id)
        known = None if found is None else self.shown(found)
        made = {"id": planned.id, "name": planned.name, "type": planned.type, "location": "local", "properties": {}}
        return known or made

    async def delete(self, found: SplitId) -> None:
        """Whoever uses it may be somewhere else."""


def _properties(body: Mapping[str, Any]) -> dict[str, Any]:
    properties = body.get("properties")
    if not isinstance(properties, dict):
        raise BadRequest("The properties are required.", "properties")
    return properties
