"""User-assigned identities in templates."""

from collections.abc import Collection, Mapping
from typing import Any

from hubwire.model.errors import NotFound
from hubwire.resources.deployable import PlainType, SplitId
from hubwire.resources.identities import IDENTITY_TYPE, UserIdentities
from hubwire.resources.templates import Planned

__all__ = ["DeployableIdentity"]


class DeployableIdentity(PlainType):
    """A managed identity, which is a principal of the token issuer."""

    action = f"{IDENTITY_TYPE}/write"

    def __init__(self, identities: UserIdentities) -> None:
        self._identities = identities

    def check(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> None:  # noqa: ARG002  a port
        self._identities.check(planned.subscription_id, planned.resource_group, planned.name, body)

    async def apply(self, planned: Planned, body: Mapping[str, Any]) -> bool:
        _, is_new = await self._identities.put(planned.subscription_id, planned.resource_group, planned.name, body)
        return is_new

    def shown(self, found: SplitId) -> dict[str, Any] | None:
        try:
            app = self._identities.find(found.subscription, found.group, found.names[0])
        except NotFound:
            return None
        return self._identities.document(app)

    def expected(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> dict[str, Any]:  # noqa: ARG002  a port
        where = (planned.subscription_id, planned.resource_group, planned.name)
        location, tags = self._identities.check(*where, body)
        try:
            known = self._identities.document(self._identities.find(*where))
        except NotFound:
            known = {"id": planned.id, "name": planned.name, "type": planned.type, "properties": {}}
        return {**known, "location": location, "tags": tags}

    def keeps(self, found: SplitId) -> str | None:
        """
        One that a resource of another group has. Those of its own group are in the template, and may have another
        identity by then, or are deleted before it.
        """
        try:
            app = self._identities.find(found.subscription, found.group, found.names[0])
        except NotFound:
            return None
        elsewhere = [
            user.name
            for user in self._identities.users_of(app)
            if (user.subscription.lower(), user.group.lower()) != (found.subscription.lower(), found.group.lower())
        ]
        return f"The identity {app.name} is used by {', '.join(elsewhere)}." if elsewhere else None

    async def delete(self, found: SplitId) -> None:
        await self._identities.delete(found.subscription, found.group, found.names[0])
