"""
The communication services that are here: read once, kept in memory, written through to the store. Changes take turns
with those of the resource tree, which they are part of.

One service is there from the first start. Whoever comes to the main ports and names no service means that one.
"""

import base64
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec.structs import replace

from hubwire.model.communication import (
    CommunicationKeyKind,
    CommunicationKeys,
    CommunicationService,
    is_communication_name,
)
from hubwire.model.errors import BadRequest, Conflict, NotFound, NotStored, PreconditionFailed, StartFailed
from hubwire.model.listeners import kind_of, owner_of
from hubwire.model.ports import Change, Store
from hubwire.resources.catalog import Catalog
from hubwire.resources.communication_documents import (
    DEFAULT_SERVICE,
    FIRST_PROPERTIES,
    SERVICE,
    SERVICE_TYPE,
    ServiceIdentity,
    StoredService,
    service_change,
    service_document,
    service_id,
    service_keys,
    service_of,
)
from hubwire.resources.communication_properties import GLOBAL, completed, ignored, kind_and_identities, merged
from hubwire.resources.documents import HOME_GROUP
from hubwire.resources.placed import PlacedResources
from hubwire.resources.resource_properties import region, tags_of

__all__ = ["CommunicationServices", "ServiceChanged"]

_MOST_BYTES: Final = 256 * 1024
_KEY_BYTES: Final = 64
_PAGE: Final = 200
_NEW: Final = CommunicationKeys("", "")

ServiceChanged = Callable[[CommunicationService | None, CommunicationService | None], None]
"""Told of a service before and after a change; None where it is not there."""


class CommunicationServices(PlacedResources[StoredService]):
    """
    The services. Made by `load`.

    Attributes:
        place: base URL under which a service is reached, without a slash at its end.
        on_change: told of each change of a service, after it is stored.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        tenant_id: str,
        owned: Sequence[str],
        random_bytes: Callable[[int], bytes],
        clock: Callable[[], float],
    ) -> None:
        super().__init__(store, catalog, "communication", "communication service", clock, first=DEFAULT_SERVICE)
        self._tenant_id = tenant_id
        self._owned = owned
        self._random_bytes = random_bytes
        self.place: Callable[[StoredService], str] = _by_name
        self.on_change: list[ServiceChanged] = []
        self._services: dict[str, CommunicationService] = {}

    @classmethod
    async def load(
        cls,
        store: Store,
        catalog: Catalog,
        tenant_id: str,
        owned: Sequence[str] = (),
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        clock: Callable[[], float] = time.time,
    ) -> "CommunicationServices":
        """
        Read what is stored; make the first service if it is not there. What a deleted service has left, since the
        server ended in the middle of it, is deleted.

        Args:
            tenant_id: of the managed identities.
            owned: kinds of documents that belong to a service: their keys begin with its immutable id and a slash.
            random_bytes: as many as asked for, unpredictable.
            clock: seconds since 1970.

        Raises:
            StartFailed: what is stored is damaged, or the first service cannot be stored.
        """
        services = cls(store, catalog, tenant_id, owned, random_bytes, clock)
        await services._make_first()
        await services._read(SERVICE, StoredService, completed)
        await services._sweep()
        catalog.on_end.append(services._delete_below)
        return services

    # What is there.

    def service(self, name: str) -> CommunicationService:
        """
        The service of a name, for those who manage its users.

        Raises:
            NotFound: there is none.
        """
        found = self._services.get(name) or self._services.get(name.lower())
        if found is None:
            raise self._missing(name)
        return found

    def service_at(self, listener: str) -> CommunicationService:
        """
        The service that a request is for.

        Args:
            listener: what the listeners are called that it came to, or that its host names; `default` for the main
                ones.

        Raises:
            NotFound: there is no such service.
        """
        if listener != DEFAULT_SERVICE and kind_of(listener) != "communication":
            raise self._missing(listener)
        return self.service(owner_of(listener))

    def endpoint(self, service: CommunicationService | StoredService) -> str:
        """Base URL under which a service is reached, without a slash at its end. Raises NotFound."""
        return self.place(self.found(service.name))

    def document(self, service: StoredService) -> dict[str, Any]:
        """A service as the resource manager shows it; it may still have to be made."""
        host = self.place(service).partition("://")[2]
        assigned = {one: self._catalog.identities(one) for one in service.identity.assigned}
        return service_document(service, host, self._tenant_id, assigned)

    def documents(self, subscription: str, group: str | None = None) -> list[dict[str, Any]]:
        """The services of a subscription or of one of its groups, as the resource manager shows them."""
        return [self.document(service) for service in self.all(subscription, group)]

    def keys_document(self, service: StoredService) -> dict[str, str]:
        """What `listKeys` answers. A secret."""
        return service_keys(service.keys, self.place(service))

    @staticmethod
    def warnings(service: StoredService) -> list[str]:
        """What of a service does not act here, or would be refused elsewhere."""
        return ignored(service.location, service.identity.kind, service.properties)

    # Changes.

    async def regenerate(self, name: str, kind: CommunicationKeyKind) -> StoredService:
        """
        Make one key anew. What the old one signed is refused from now on, and its generation is over.

        Raises:
            NotFound: there is no such service.
        """
        return await self._catalog.run(self._regenerate(name, kind))

    def check(
        self, subscription: str, group: str, name: str, body: Mapping[str, Any], coming: Collection[str] = ()
    ) -> StoredService:
        """
        What `put` would make, without making it; without keys, id and ports if it is new. Its resource group may be
        still to come.

        Args:
            coming: resource ids of identities that will be there by then, in lower case.

        Raises:
            BadRequest, Conflict: as there.
        """
        if not is_communication_name(name):
            rule = "1 to 63 letters, digits and hyphens, and neither begins nor ends with a hyphen"
            raise BadRequest(f"The name of a communication service has {rule}.", "name")
        old = self._claimed(subscription, group, name)
        location = self._region(body.get("location"))
        properties = completed(body.get("properties"))
        if old is not None:
            _check_stays(old, location, properties)
        now = int(self._clock())
        return StoredService(
            name=old.name if old else name,
            immutable_id=old.immutable_id if old else "",
            keys=old.keys if old else _NEW,
            subscription=old.subscription if old else subscription,
            group=old.group if old else self._group_name(subscription, group),
            location=location,
            properties=properties,
            tags=tags_of(body.get("tags")),
            identity=self._identity(body.get("identity"), old.identity if old else ServiceIdentity(), coming),
            ports=old.ports if old else (0, 0),
            created_at=old.created_at if old else now,
            changed_at=now,
        )

    def _identity(self, body: object, old: ServiceIdentity, coming: Collection[str] = ()) -> ServiceIdentity:
        kind, assigned = kind_and_identities(body)
        for one in assigned:
            if self._catalog.identities(one) is None and one.lower() not in coming:
                message = f"There is no user-assigned identity {one}; `hubwire managed-identity create` makes one."
                raise BadRequest(message, target="identity.userAssignedIdentities")
        principal_id = (old.principal_id or self._guid()) if kind.startswith("SystemAssigned") else ""
        return ServiceIdentity(kind, principal_id, assigned)

    def _missing(self, name: str) -> NotFound:
        return NotFound(f"There is no resource of type {SERVICE_TYPE} with the name {name}.", "resource")

    def _id(self, one: StoredService) -> str:
        return service_id(one)

    def _begun(self, made: StoredService) -> StoredService:
        return replace(made, immutable_id=self._guid(), keys=self._new_keys())

    def _patched(self, old: StoredService, body: Mapping[str, Any]) -> StoredService:
        new = old
        if "identity" in body:
            new = replace(new, identity=self._identity(body["identity"], old.identity))
        if body.get("properties") is not None:
            new = replace(new, properties=merged(old.properties, body["properties"]))
            _check_stays(old, old.location, new.properties)
        return new

    async def _regenerate(self, name: str, kind: CommunicationKeyKind) -> StoredService:
        old = self.found(name)
        keys = replace(old.keys, **{kind: self._new_key(), f"{kind}_generation": old.keys.generation(kind) + 1})
        new = replace(old, keys=keys)
        await self._keep(new)
        return new

    async def _keep(self, new: StoredService) -> None:
        if len(msgspec.json.encode([new.properties, new.identity])) > _MOST_BYTES:
            raise BadRequest(f"The properties have more than {_MOST_BYTES} bytes.", "properties")
        await self._store.commit([service_change(new)])
        before = self._services.get(new.name.lower())
        self._remember(new)
        self._tell(before, self._services[new.name.lower()])

    async def _drop(self, one: StoredService) -> None:
        key = one.name.lower()
        await self._store.commit([Change(SERVICE, key, None)])
        del self._placed[key]
        service = self._services.pop(key)
        await self.ports.close(self._listener(key))
        self._tell(service, None)
        # Nobody finds its users any more, however long this takes.
        for kind in self._owned:
            await self._clear(kind, one.immutable_id)

    async def _clear(self, kind: str, immutable_id: str) -> None:
        while page := await self._store.list(kind, f"{immutable_id}/", None, _PAGE):
            await self._store.commit([Change(kind, document.key, None) for document in page])

    async def _sweep(self) -> None:
        known = {service.immutable_id for service in self._placed.values()}
        for kind in self._owned:
            after = None
            while page := await self._store.list(kind, "", after, 1):
                owner = page[0].key.partition("/")[0]
                if owner not in known:
                    await self._clear(kind, owner)
                # What follows the slash in the order of code points: one look at each service, whatever it has.
                after = f"{owner}0"

    async def _make_first(self) -> None:
        if await self._store.get(SERVICE, DEFAULT_SERVICE) is not None:
            return
        now = int(self._clock())
        first = StoredService(
            name=DEFAULT_SERVICE,
            immutable_id=self._guid(),
            keys=self._new_keys(),
            subscription=self._catalog.subscription_id,
            group=HOME_GROUP,
            location=GLOBAL,
            properties=completed(FIRST_PROPERTIES),
            created_at=now,
            changed_at=now,
        )
        try:
            await self._store.commit([service_change(first, "absent")])
        except PreconditionFailed:
            # Another process was faster. What it made is as good, and is read next.
            return
        except NotStored as error:
            raise StartFailed(f"cannot store the first communication service: {error.reason}") from error

    def _remember(self, one: StoredService) -> None:
        super()._remember(one)
        self._services[one.name.lower()] = service_of(one)

    def _tell(self, old: CommunicationService | None, new: CommunicationService | None) -> None:
        for told in self.on_change:
            told(old, new)

    def _new_keys(self) -> CommunicationKeys:
        return CommunicationKeys(self._new_key(), self._new_key())

    def _new_key(self) -> str:
        return base64.b64encode(self._random_bytes(_KEY_BYTES)).decode()

    def _guid(self) -> str:
        return str(UUID(bytes=self._random_bytes(16), version=4))


def _by_name(service: StoredService) -> str:
    return f"https://{service.name.lower()}.communication.localhost"


def _check_stays(old: StoredService, location: object, properties: Mapping[str, Any]) -> None:
    """What was chosen once cannot be chosen again; for the first service nobody has chosen anything."""
    if old.name == DEFAULT_SERVICE:
        return
    if old.location != region(location):
        raise Conflict(f"The resource is in {old.location} and cannot be moved to {location}.", target="location")
    there, wanted = old.properties["dataLocation"], properties["dataLocation"]
    if there != wanted:
        message = f"The data of the communication service is in {there} and cannot be moved to {wanted}."
        raise Conflict(message, target="properties.dataLocation")
