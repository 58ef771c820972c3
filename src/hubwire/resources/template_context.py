"""What a template is told about the world around it: where it is deployed, and what is there."""

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

__all__ = ["Environment", "Runtime", "Target"]


class Environment(Struct, frozen=True):
    """
    What functions may know of the place and time of a deployment.

    Attributes:
        location, group_tags: of the resource group.
        now: ISO 8601, in UTC, for `utcNow`.
        new_guid: makes the values of `newGuid`.
        endpoint: base URL of the resource manager.
    """

    tenant_id: str
    subscription_id: str
    subscription_name: str
    resource_group: str
    location: str
    group_tags: dict[str, str]
    deployment_name: str
    now: str
    new_guid: Callable[[], str]
    endpoint: str

    @property
    def group_id(self) -> str:
        return f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"


class Runtime(Protocol):
    """What is known of resources that are there."""

    def reference(self, resource_id: str, api_version: str | None, full: bool) -> dict[str, Any]:
        """
        The properties of a resource, or the whole of it if `full`.

        Raises:
            Unresolved: it is not there yet.
        """
        ...

    def list_secrets(self, function: str, resource_id: str, api_version: str) -> dict[str, Any]:
        """
        What a function such as `listKeys` answers.

        Raises:
            Unresolved: the resource is not there yet.
        """
        ...


class Target(Struct, frozen=True):
    """A resource that an expression names: its id, and what else is known if it is one of the template."""

    id: str
    type: str | None = None
    name: str | None = None
    api_version: str | None = None
