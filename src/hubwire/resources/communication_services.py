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
from hubwire.model.listeners import kind_of, listener_name, owner_of
from hubwire.model.ports import Change, Store
from hubwire.resources.catalog import Catalog, NoPorts, Ports
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
from hubwire.resources.documents import HOME_GROUP, StoredGroup, stored, value_of
from hubwire.resources.resource_properties import is_location, region, tags_of

__all__ = ["CommunicationServices", "ServiceChanged"]

_MOST_SERVICES: Final = 100
_MOST_BYTES: Final = 256 * 1024
_KEY_BYTES: Final = 64
_PAGE: Final = 200
_NEW: Final = CommunicationKeys("", "")

ServiceChanged = Callable[[CommunicationService | None, CommunicationService | None], None]
"""Told of a service before and after a change; None where it is not there."""


class CommunicationServices:
    """
    Answers from memory at once; a change returns when it is stored, and holds from then on. Made by `load`. Names of
    services compare without case.

    Attributes:
        ports: of services but the first one; none, while no server runs.
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
        self._store = store
        self._catalog = catalog
        self._tenant_id = tenant_id
        self._owned = owned
        self._random_bytes = random_bytes
        self._clock = clock
        self.ports: Ports = NoPorts()
        self.place: Callable[[StoredService], str] = _by_name
        self.on_change: list[ServiceChanged] = []
        self._stored: dict[str, StoredService] = {}
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
        for document in await stored(store, SERVICE):
            service = value_of(StoredService, document)
            try:
                services._remember(replace(service, properties=completed(service.properties)))
            except BadRequest as error:
                message = f"the stored {document.kind} {document.key} cannot be used: {error.message}"
                raise StartFailed(message) from error
        await services._sweep()
        catalog.on_end.append(services._delete_below)
        return services

    # What is there.

    def all(self, subscription: str | None = None, group: str | None = None) -> list[StoredService]:
        """Those of a subscription or of one of its groups, by name."""
        return [
            service
            for _, service in sorted(self._stored.items())
            if (subscription is None or service.subscription.lower() == subscription.lower())
            and (group is None or service.group.lower() == group.lower())
        ]

    def named(self, name: str) -> StoredService | None:
        """The service of a name, which is unique in this server; None if there is none."""
        return self._stored.get(name.lower())

    def find(self, subscription: str, group: str, name: str) -> StoredService:
        """
        Raises:
            NotFound: there is none of this name in this group.
        """
        if self._catalog.group(subscription, group) is None:
            raise NotFound(f"Resource group '{group}' could not be found.", "group")
        found = self.named(name)
        if found is None or (found.subscription.lower(), found.group.lower()) != (subscription.lower(), group.lower()):
            raise _no_service(name)
        return found

    def service(self, name: str) -> CommunicationService:
        """
        The service of a name, for those who manage its users.

        Raises:
            NotFound: there is none.
        """
        found = self._services.get(name) or self._services.get(name.lower())
        if found is None:
            raise _no_service(name)
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
            raise _no_service(listener)
        return self.service(owner_of(listener))

    def endpoint(self, service: CommunicationService | StoredService) -> str:
        """Base URL under which a service is reached, without a slash at its end. Raises NotFound."""
        found = self.named(service.name)
        if found is None:
            raise _no_service(service.name)
        return self.place(found)

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

    async def put(
        self, subscription: str, group: str, name: str, body: Mapping[str, Any]
    ) -> tuple[StoredService, bool]:
        """
        Create a service or replace what it says; what is not given takes its default. Keys and users stay. Its resource
        group is made, too, if it is not there.

        Args:
            body: `location`, `tags`, `identity` and `properties`.

        Returns:
            the service, and whether it is new.

        Raises:
            BadRequest: an illegal name or property; `target` says which.
            Conflict: a service in another group has this name, or it or its data are to move to another place.
            Unavailable: there is no port for it.
        """

        async def make(found: StoredGroup) -> tuple[StoredService, bool]:
            return await self._put(found, name, body)

        self.check(subscription, group, name, body)
        return await self._catalog.make_in(subscription, group, body.get("location"), make)

    async def patch(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> StoredService:
        """
        Change what is given and leave the rest. A property that is given is replaced as a whole.

        Raises:
            BadRequest, Conflict: as for `put`.
            NotFound: there is no such service.
        """
        return await self._catalog.run(self._patch(subscription, group, name, body))

    async def regenerate(self, name: str, kind: CommunicationKeyKind) -> StoredService:
        """
        Make one key anew. What the old one signed is refused from now on, and its generation is over.

        Raises:
            NotFound: there is no such service.
        """
        return await self._catalog.run(self._regenerate(name, kind))

    async def delete(self, subscription: str, group: str, name: str) -> bool:
        """
        Delete a service with its users, for good. False if there is none.

        Raises:
            Conflict: it is the one that answers for every host.
        """
        return await self._catalog.run(self._delete(subscription, group, name))

    def check(
        self, subscription: str, group: str, name: str, body: Mapping[str, Any], coming: Collection[str] = ()
    ) -> StoredService:
        """
        What `put` would make, without making it. Its resource group may be still to come.

        Args:
            coming: resource ids of identities that will be there by then, in lower case.

        Raises:
            BadRequest, Conflict: as there.
        """
        return self._made(subscription, group, name, body, coming)

    async def open_ports(self) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
        """
        Listen for each service that has ports of its own, at the start of a server.

        Returns:
            name, old and new ports of those whose old ones could not be had.
        """
        return await self._catalog.run(self._open_ports())

    # Changes, each when it is its turn.

    def _made(
        self, subscription: str, group: str, name: str, body: Mapping[str, Any], coming: Collection[str] = ()
    ) -> StoredService:
        """A service as a PUT wants it, without keys, id and ports if it is new."""
        if not is_communication_name(name):
            rule = "1 to 63 letters, digits and hyphens, and neither begins nor ends with a hyphen"
            raise BadRequest(f"The name of a communication service has {rule}.", "name")
        old = self.named(name)
        if old is not None and (old.subscription.lower(), old.group.lower()) != (subscription.lower(), group.lower()):
            raise Conflict(f"The name {name} is taken by a communication service in another resource group.", "name")
        if old is None and len(self._stored) >= _MOST_SERVICES:
            raise Conflict(f"A server has {_MOST_SERVICES} communication services at most.", "quota")
        location = body.get("location")
        if not is_location(location):
            message = "The location of the communication service is required, and must be the name of a region."
            raise BadRequest(message, "location")
        properties = completed(body.get("properties"))
        if old is not None:
            _check_stays(old, location, properties)
        now = int(self._clock())
        known = self._catalog.group(subscription, group)
        return StoredService(
            name=old.name if old else name,
            immutable_id=old.immutable_id if old else "",
            keys=old.keys if old else _NEW,
            subscription=old.subscription if old else subscription,
            group=old.group if old else known.name if known else group,
            location=region(location),
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

    async def _put(self, group: StoredGroup, name: str, body: Mapping[str, Any]) -> tuple[StoredService, bool]:
        old = self.named(name)
        made = self._made(group.subscription, group.name, name, body)
        if old is not None:
            await self._keep(old, made)
            return made, False
        listener = listener_name("communication", name)
        made = replace(made, immutable_id=self._guid(), keys=self._new_keys())
        made = replace(made, ports=await self.ports.open(listener, (0, 0)))
        try:
            await self._keep(None, made)
        except BaseException:
            await self.ports.close(listener)
            raise
        return made, True

    async def _patch(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> StoredService:
        old = self.find(subscription, group, name)
        new = replace(old, changed_at=int(self._clock()))
        if "tags" in body:
            new = replace(new, tags=tags_of(body["tags"]))
        if "identity" in body:
            new = replace(new, identity=self._identity(body["identity"], old.identity))
        if body.get("properties") is not None:
            new = replace(new, properties=merged(old.properties, body["properties"]))
            _check_stays(old, old.location, new.properties)
        await self._keep(old, new)
        return new

    async def _regenerate(self, name: str, kind: CommunicationKeyKind) -> StoredService:
        old = self.named(name)
        if old is None:
            raise _no_service(name)
        keys = replace(old.keys, **{kind: self._new_key(), f"{kind}_generation": old.keys.generation(kind) + 1})
        new = replace(old, keys=keys)
        await self._keep(old, new)
        return new

    async def _keep(self, old: StoredService | None, new: StoredService) -> None:
        if len(msgspec.json.encode([new.properties, new.identity])) > _MOST_BYTES:
            raise BadRequest(f"The properties have more than {_MOST_BYTES} bytes.", "properties")
        await self._store.commit([service_change(new)])
        before = None if old is None else self._services[old.name.lower()]
        self._remember(new)
        self._tell(before, self._services[new.name.lower()])

    async def _delete(self, subscription: str, group: str, name: str) -> bool:
        try:
            service = self.find(subscription, group, name)
        except NotFound:
            return False
        if service.name == DEFAULT_SERVICE:
            message = "The communication service that answers for every host cannot be deleted."
            raise Conflict(message, target="resource")
        for forget in self._catalog.on_end:
            await forget(service_id(service))
        await self._drop(service)
        return True

    async def _delete_below(self, scope: str) -> None:
        """The resource group of some services is going to be deleted; its roles are forgotten by others."""
        for service in self.all():
            if service_id(service).lower().startswith(f"{scope.lower()}/"):
                await self._drop(service)

    async def _drop(self, stored: StoredService) -> None:
        key = stored.name.lower()
        await self._store.commit([Change(SERVICE, key, None)])
        del self._stored[key]
        service = self._services.pop(key)
        await self.ports.close(listener_name("communication", key))
        self._tell(service, None)
        # Nobody finds its users any more, however long this takes.
        for kind in self._owned:
            await self._clear(kind, stored.immutable_id)

    async def _clear(self, kind: str, immutable_id: str) -> None:
        while page := await self._store.list(kind, f"{immutable_id}/", None, _PAGE):
            await self._store.commit([Change(kind, document.key, None) for document in page])

    async def _sweep(self) -> None:
        known = {service.immutable_id for service in self._stored.values()}
        for kind in self._owned:
            after = None
            while page := await self._store.list(kind, "", after, 1):
                owner = page[0].key.partition("/")[0]
                if owner not in known:
                    await self._clear(kind, owner)
                # What follows the slash in the order of code points: one look at each service, whatever it has.
                after = f"{owner}0"

    async def _open_ports(self) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
        moved = []
        for service in self.all():
            if service.name == DEFAULT_SERVICE:
                continue
            ports = await self.ports.open(listener_name("communication", service.name), service.ports)
            if ports != service.ports:
                if any(service.ports):
                    moved.append((service.name, service.ports, ports))
                await self._keep(service, replace(service, ports=ports))
        return moved

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

    def _remember(self, service: StoredService) -> None:
        key = service.name.lower()
        self._stored[key] = service
        self._services[key] = service_of(service)

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


def _no_service(name: str) -> NotFound:
    return NotFound(f"There is no resource of type {SERVICE_TYPE} with the name {name}.", "resource")
