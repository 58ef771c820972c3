"""
The resource types that a template may have, and how each is checked, carried out and shown.

A type that is not here is refused by name, or left out where the operator wants that.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from hubwire.model.errors import BadRequest, NotFound
from hubwire.model.hubs import DEFAULT_RESOURCE, AccessKeys
from hubwire.model.roles import role_with_id
from hubwire.resources.catalog import Catalog
from hubwire.resources.deployable import Deployable, PlainType, ResourceTypes, SplitId, properties_of, split_id
from hubwire.resources.deployable_identities import DeployableIdentity
from hubwire.resources.directory import Directory
from hubwire.resources.documents import StoredHub, StoredResource
from hubwire.resources.hub_properties import completed as completed_hub
from hubwire.resources.identities import UserIdentities
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

_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Deployables:
    """
    Args:
        place: where a resource is reached.
        more: resource types beside those of this file, such as those of Key Vault.
    """

    def __init__(
        self,
        catalog: Catalog,
        directory: Directory,
        place: Callable[[StoredResource], Place],
        tenant_id: str,
        more: Sequence[ResourceTypes] = (),
    ) -> None:
        self._catalog = catalog
        self._more = more
        self._identities = UserIdentities(catalog, directory)
        self._types: Final[Mapping[str, Deployable]] = {
            "microsoft.signalrservice/webpubsub": _WebPubSub(catalog, directory, place, tenant_id),
            "microsoft.signalrservice/webpubsub/hubs": _Hub(catalog),
            "microsoft.authorization/roleassignments": _RoleAssignment(directory),
            "microsoft.managedidentity/userassignedidentities": DeployableIdentity(self._identities),
            **{name: known for types in more for name, known in types.types.items()},
        }

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

    def documents(self, subscription: str, group: str) -> list[dict[str, Any]]:
        """The resources of a group but those that serve clients."""
        found = [document for types in self._more for document in types.documents(subscription, group)]
        return [*found, *self._identities.documents(subscription, group)]

    def inside(self, subscription: str, group: str) -> list[str]:
        """Ids of all resources of a group that can be deleted, those first that use others."""
        first = [self._catalog.policy(one.name).scope for one in self._catalog.resources(subscription, group)]
        others = [document["id"] for document in self.documents(subscription, group)]
        return first + [resource_id for resource_id in others if not self._stays(resource_id)]

    def _stays(self, resource_id: str) -> bool:
        found = split_id(resource_id)
        known = None if found is None else self.of(found.type)
        return found is not None and known is not None and known.stays(found)


class _WebPubSub(PlainType):
    action = "Microsoft.SignalRService/webPubSub/write"
    keys_action: str | None = "Microsoft.SignalRService/webPubSub/listKeys/action"

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

    def keys(self, found: SplitId) -> dict[str, str] | None:
        try:
            resource = self._catalog.resource(found.subscription, found.group, found.names[0])
        except NotFound:
            return None
        return keys_document(resource.keys, self._place(resource).endpoint)

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
        return self._catalog.resource_warnings(self._made(planned, body), body)

    async def delete(self, found: SplitId) -> None:
        await self._catalog.delete_resource(found.subscription, found.group, found.names[0])


class _Hub(PlainType):
    action = "Microsoft.SignalRService/webPubSub/hubs/write"

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def check(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> None:  # noqa: ARG002  a port
        self._catalog.check_hub(planned.name.rpartition("/")[2], properties_of(body))

    async def apply(self, planned: Planned, body: Mapping[str, Any]) -> bool:
        resource, _, hub = planned.name.partition("/")
        found = self._catalog.resource(planned.subscription_id, planned.resource_group, resource)
        is_new = await self._catalog.get_hub(hub, found.name) is None
        await self._catalog.put_hub(hub, properties_of(body), found.name)
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
        return hub_document(above, StoredHub(hub, completed_hub(properties_of(body))))

    def warnings(self, planned: Planned, body: Mapping[str, Any]) -> list[str]:  # noqa: ARG002  a port
        resource, _, hub = planned.name.partition("/")
        return self._catalog.hub_warnings(hub, resource)

    async def delete(self, found: SplitId) -> None:
        try:
            resource = self._catalog.resource(found.subscription, found.group, found.names[0])
        except NotFound:
            return
        await self._catalog.delete_hub(found.names[1], resource.name)


class _RoleAssignment(PlainType):
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
        tenant, principal_id = self._directory.tenant.tenant_id, properties_of(body)["principalId"]
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
        return _assignment(planned.name, found.scope, properties_of(body)["principalId"], role_id)

    async def delete(self, found: SplitId) -> None:
        """They are not part of a resource group."""


def _role_of(body: Mapping[str, Any]) -> str:
    """GUID of the role definition that an assignment names."""
    properties = properties_of(body)
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
