"""Communication services on a store in memory, for the tests of whatever reads or changes them."""

import itertools

from hubwire.model.communication import CommunicationService
from hubwire.resources.catalog import Catalog
from hubwire.resources.communication_documents import StoredService
from hubwire.resources.communication_services import CommunicationServices
from hubwire.resources.documents import StoredGroup
from resources.vaulting import NOW, SUBSCRIPTION, TENANT
from rest.issuing import MemoryStore

__all__ = ["BODY", "IDENTITY", "OWNED", "Communicating", "PortsAsked"]

OWNED = ("communicationUser", "communicationCustomId")
BODY = {"location": "Global", "tags": {"a": "b"}, "properties": {"dataLocation": "europe"}}
IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"
)


class PortsAsked:
    """
    Listeners that nobody listens with.

    Attributes:
        heard: what was asked of them, in order.
        failure: raised instead of an answer.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.failure: Exception | None = None

    async def open(self, name: str, ports: tuple[int, int], /) -> tuple[int, int]:
        self.heard.append(("open", name, ports))
        if self.failure is not None:
            raise self.failure
        return (9080, 9443)

    async def close(self, name: str, /) -> None:
        self.heard.append(("close", name))


class Communicating:
    """
    A server's communication services, which may be started again.

    Attributes:
        now: seconds since 1970.
        told: each change, by what a service was and is.
    """

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.now = NOW
        self.told: list[tuple[CommunicationService | None, CommunicationService | None]] = []
        self._numbers = itertools.count(1)
        self.catalog: Catalog
        self.services: CommunicationServices

    async def start(self) -> "Communicating":
        """Read what is stored."""
        clock = lambda: self.now  # noqa: E731
        self.catalog = await Catalog.load(self.store, subscription_id=SUBSCRIPTION, clock=clock)
        self.services = await CommunicationServices.load(
            self.store, self.catalog, TENANT, OWNED, random_bytes=self._random, clock=clock
        )
        self.services.on_change.append(lambda old, new: self.told.append((old, new)))
        self.catalog.identities = lambda one: ("object-id", "client-id") if one.lower() == IDENTITY.lower() else None
        if self.catalog.group(SUBSCRIPTION, "g") is None:
            await self.catalog.put_group(StoredGroup("g", SUBSCRIPTION))
        return self

    async def put(self, name: str = "Acs-One", group: str = "g", **body: object) -> tuple[StoredService, bool]:
        return await self.services.put(SUBSCRIPTION, group, name, {**BODY, **body})

    def _random(self, count: int) -> bytes:
        return next(self._numbers).to_bytes(count)
