"""
User-assigned identities as resources. The directory of the token issuer has them as principals; here they have a place
in the resource tree, and resources use them.

Source: Microsoft.ManagedIdentity/userAssignedIdentities, api-versions 2018-11-30 to 2024-11-30.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from hubwire.model.directory import Application
from hubwire.model.errors import BadRequest, Conflict, NotFound
from hubwire.resources.catalog import Catalog
from hubwire.resources.directory import Directory
from hubwire.resources.documents import StoredGroup, StoredResource
from hubwire.resources.resource_documents import group_id
from hubwire.resources.resource_properties import is_identity_name, is_location, region, tags_of

__all__ = ["IDENTITY_TYPE", "UserIdentities", "join"]

IDENTITY_TYPE: Final = "Microsoft.ManagedIdentity/userAssignedIdentities"

_ANYWHERE: Final = "local"
"""Region of what nobody gave one."""
_ID: Final = re.compile(
    rf"/subscriptions/([^/]+)/resourcegroups/([^/]+)/providers/{re.escape(IDENTITY_TYPE)}/([^/]+)", re.IGNORECASE
)


class UserIdentities:
    """
    Args:
        clock: seconds since 1970.
    """

    def __init__(self, catalog: Catalog, directory: Directory, clock: Callable[[], float] = time.time) -> None:
        self._catalog = catalog
        self._directory = directory
        self._clock = clock

    def all_in(self, subscription: str, group: str | None = None) -> list[Application]:
        """Those of a subscription or of one of its groups, by name."""
        found = []
        for app in self._directory.identities():
            place = _ID.fullmatch(app.resource_id)
            if place is None or place[1].lower() != subscription.lower():
                continue
            if group is None or place[2].lower() == group.lower():
                found.append(app)
        return found

    def documents(self, subscription: str, group: str | None = None) -> list[dict[str, Any]]:
        """The same as the resource manager shows them."""
        return [self.document(app) for app in self.all_in(subscription, group)]

    def find(self, subscription: str, group: str, name: str) -> Application:
        """
        Raises:
            NotFound: there is none of this name in this group.
        """
        if self._catalog.group(subscription, group) is None:
            raise NotFound(f"Resource group '{group}' could not be found.", "group")
        found = self._named(subscription, group, name)
        if found is None:
            raise NotFound(f"There is no resource of type {IDENTITY_TYPE} with the name {name}.", "resource")
        return found

    def users_of(self, app: Application) -> list[StoredResource]:
        """The resources that have it."""
        return self._catalog.users_of(app.resource_id)

    def document(self, app: Application) -> dict[str, Any]:
        """An identity as the resource manager shows it."""
        return {
            "id": app.resource_id,
            "name": app.name,
            "type": IDENTITY_TYPE,
            "location": app.location,
            "tags": dict(app.tags),
            "properties": {
                "tenantId": self._directory.tenant.tenant_id,
                "principalId": app.object_id,
                "clientId": app.app_id,
            },
        }

    def check(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        """
        Whether `put` could make or change it.

        Returns:
            region and tags that it would have.

        Raises:
            BadRequest, Conflict: as there.
        """
        old = self._named(subscription, group, name)
        if old is None and not is_identity_name(name):
            rule = "3 to 128 letters, digits, hyphens and underscores, and begins with a letter or a digit"
            raise BadRequest(f"The name of an identity has {rule}.", "name")
        location = body.get("location")
        if location is None:
            raise BadRequest("The location of the identity is required.", "location")
        return self._place(old, location), tags_of(body.get("tags"))

    async def put(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> tuple[Application, bool]:
        """
        Create an identity or replace its region and tags. Its ids stay.

        Args:
            body: `location` and `tags`.

        Returns:
            the identity, and whether it is new.

        Raises:
            BadRequest: an illegal name, region or tag.
            Conflict: it is to move to another region, or there are as many as there may be.
        """

        async def make(found: StoredGroup) -> tuple[Application, bool]:
            location, tags = self.check(subscription, group, name, body)
            old = self._named(subscription, group, name)
            if old is not None:
                return await self._directory.describe_identity(old.app_id, location, tags), False
            new_id = f"{group_id(found.subscription, found.name)}/providers/{IDENTITY_TYPE}/{name}"
            return await self._directory.create_identity(new_id, self._clock(), location, tags), True

        self.check(subscription, group, name, body)
        return await self._catalog.make_in(subscription, group, body.get("location"), make)

    async def patch(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> Application:
        """
        Change the tags, if there are any in `body`, which replace the old ones.

        Raises:
            BadRequest, Conflict: as `put`.
            NotFound: there is no such identity.
        """

        async def change() -> Application:
            old = self.find(subscription, group, name)
            location = old.location if body.get("location") is None else self._place(old, body["location"])
            tags = tags_of(body["tags"]) if "tags" in body else old.tags
            return await self._directory.describe_identity(old.app_id, location, tags)

        return await self._catalog.run(change())

    async def delete(self, subscription: str, group: str, name: str) -> bool:
        """
        Delete an identity with its roles. False if there is none.

        Raises:
            Conflict: a resource has it.
        """
        found = self._named(subscription, group, name)
        if found is None:
            return False
        try:
            await self._directory.delete(found.app_id)
        except NotFound:
            return False  # somebody else was faster
        return True

    def _named(self, subscription: str, group: str, name: str) -> Application | None:
        """By its place, whose names compare without case."""
        found = self._directory.identity(f"{group_id(subscription, group)}/providers/{IDENTITY_TYPE}/{name}")
        return found if found is not None and found.kind == "userAssigned" else None

    def _place(self, old: Application | None, location: object) -> str:
        if not is_location(location):
            raise BadRequest("The location must be the name of a region.", "location")
        if old is not None and old.location != _ANYWHERE and region(old.location) != region(location):
            raise Conflict(f"The identity is in {old.location} and cannot be moved to {location}.", "location")
        return region(location)


def join(catalog: Catalog, directory: Directory) -> None:
    """
    Let resources use identities of the directory, and let the directory know the identities that resources have. What
    is deleted takes its roles with it.
    """

    def identity(resource_id: str) -> tuple[str, str] | None:
        found = directory.identity(resource_id)
        return None if found is None or found.kind != "userAssigned" else (found.object_id, found.app_id)

    async def changed(old: StoredResource | None, new: StoredResource | None) -> None:
        if old is None or old.identity.kind != "SystemAssigned":
            return
        if new is None or new.identity.principal_id != old.identity.principal_id:
            await directory.unassign_all(old.identity.principal_id)

    catalog.identities = identity
    catalog.on_end.append(directory.delete_below)
    catalog.on_change.append(changed)
    directory.release = catalog.release
    directory.is_identity = lambda object_id: any(
        resource.identity.principal_id == object_id for resource in catalog.resources()
    )
