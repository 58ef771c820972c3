"""
What a resource type of a template can do, and ids of resources in their parts.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, Protocol

from msgspec import Struct

from hubwire.model.errors import BadRequest
from hubwire.resources.templates import Planned

__all__ = ["Deployable", "PlainType", "ResourceTypes", "SplitId", "properties_of", "split_id"]

_EXTENSIONS: Final = frozenset({"microsoft.authorization/roleassignments"})


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

    keys_action: str | None
    """That asking for its keys takes; None where it has none."""

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

    def stays(self, found: SplitId) -> bool:
        """Is it left alone where everything else of a resource group is to be deleted."""

    def shown(self, found: SplitId) -> dict[str, Any] | None:
        """Its document, or None if it is not there."""

    def keys(self, found: SplitId) -> dict[str, str] | None:
        """What `listKeys` answers for it; None if it is not there, or has no keys. A secret."""

    def expected(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> dict[str, Any]:
        """Its document after it is deployed, without what only the service says."""

    def rights(self, planned: Planned, body: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Actions that deploying it takes, with their scopes. Raises as `check`."""

    def warnings(self, planned: Planned, body: Mapping[str, Any]) -> list[str]:
        """What of it will not act."""

    async def delete(self, found: SplitId) -> None:
        """Raises Conflict: it must stay."""


class ResourceTypes(Protocol):
    """Resource types that belong together."""

    @property
    def types(self) -> Mapping[str, Deployable]:
        """By name, in lower case."""

    def documents(self, subscription: str, group: str | None = None, /) -> list[dict[str, Any]]:
        """Their resources in a subscription or in one of its groups, as the resource manager shows them."""


class PlainType:
    """What most types have in common."""

    action: str
    keys_action: str | None = None

    def rights(self, planned: Planned, body: Mapping[str, Any]) -> list[tuple[str, str]]:  # noqa: ARG002  a port
        return [(self.action, planned.id)]

    def keeps(self, found: SplitId) -> str | None:  # noqa: ARG002  a port
        return None

    def stays(self, found: SplitId) -> bool:  # noqa: ARG002  a port
        return False

    def keys(self, found: SplitId) -> dict[str, str] | None:  # noqa: ARG002  a port
        return None

    def warnings(self, planned: Planned, body: Mapping[str, Any]) -> list[str]:  # noqa: ARG002  a port
        return []


def properties_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """
    Raises:
        BadRequest: there are none.
    """
    properties = body.get("properties")
    if not isinstance(properties, dict):
        raise BadRequest("The properties are required.", "properties")
    return properties
