"""Communication services in templates."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from hubwire.model.errors import NotFound
from hubwire.resources.communication_documents import DEFAULT_SERVICE, SERVICE_TYPE, StoredService
from hubwire.resources.communication_properties import kind_and_identities
from hubwire.resources.communication_services import CommunicationServices
from hubwire.resources.deployable import Deployable, PlainType, SplitId
from hubwire.resources.resource_properties import ASSIGN_IDENTITY
from hubwire.resources.templates import Planned

__all__ = ["CommunicationTypes"]


class CommunicationTypes:
    """
    The resource type of communication services.

    Attributes:
        types: by name, in lower case.
    """

    def __init__(self, services: CommunicationServices) -> None:
        self._services = services
        self.types: Final[Mapping[str, Deployable]] = {SERVICE_TYPE.lower(): _Service(services)}

    def documents(self, subscription: str, group: str | None = None) -> list[dict[str, Any]]:
        """The services of a subscription or of one of its groups, as the resource manager shows them."""
        return self._services.documents(subscription, group)


class _Service(PlainType):
    action = f"{SERVICE_TYPE}/write"
    keys_action: str | None = f"{SERVICE_TYPE}/listKeys/action"

    def __init__(self, services: CommunicationServices) -> None:
        self._services = services

    def check(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> None:
        self._made(planned, body, coming)

    def _made(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str] = ()) -> StoredService:
        return self._services.check(planned.subscription_id, planned.resource_group, planned.name, body, coming)

    async def apply(self, planned: Planned, body: Mapping[str, Any]) -> bool:
        _, is_new = await self._services.put(planned.subscription_id, planned.resource_group, planned.name, body)
        return is_new

    def shown(self, found: SplitId) -> dict[str, Any] | None:
        service = self._found(found)
        return None if service is None else self._services.document(service)

    def keys(self, found: SplitId) -> dict[str, str] | None:
        service = self._found(found)
        return None if service is None else self._services.keys_document(service)

    def expected(self, planned: Planned, body: Mapping[str, Any], coming: Collection[str]) -> dict[str, Any]:
        return self._services.document(self._made(planned, body, coming))

    def rights(self, planned: Planned, body: Mapping[str, Any]) -> list[tuple[str, str]]:
        _, assigned = kind_and_identities(body.get("identity"))
        return [*super().rights(planned, body), *((ASSIGN_IDENTITY, one) for one in assigned)]

    def stays(self, found: SplitId) -> bool:
        """The service of the first start does: no template needs to name what is there in any case."""
        return found.names[0].lower() == DEFAULT_SERVICE

    def warnings(self, planned: Planned, body: Mapping[str, Any]) -> list[str]:
        return self._services.warnings(self._made(planned, body))

    async def delete(self, found: SplitId) -> None:
        await self._services.delete(found.subscription, found.group, found.names[0])

    def _found(self, found: SplitId) -> StoredService | None:
        try:
            return self._services.find(found.subscription, found.group, found.names[0])
        except NotFound:
            return None
