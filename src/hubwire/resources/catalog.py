"""
The resources that are there, with their groups, keys and hubs: read once, kept in memory, written through to the store.

At first there is one resource, made at the first start. A hub has a document only if somebody configured it; any other
hub has the defaults. One process at a time owns a store, so what is in memory is what is stored. Each change is one
commit, so that whatever ends the process leaves each resource as it was or as it was to be.
"""

import base64
import copy
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeVar
from uuid import UUID

import msgspec
from msgspec.structs import replace

from hubwire.model.errors import BadRequest, Conflict, NotFound, NotStored, PreconditionFailed, StartFailed
from hubwire.model.hubs import DEFAULT_RESOURCE, AccessKeys, HubSettings, KeyKind, default_settings
from hubwire.model.identities import ManagedIdentity
from hubwire.model.names import HubKey, is_hub_name
from hubwire.model.network import network_rules
from hubwire.model.ports import Change, Store
from hubwire.model.resources import ResourcePolicy
from hubwire.model.roles import covers
from hubwire.resources import resource_properties
from hubwire.resources.documents import (
    GROUP,
    HOME_GROUP,
    HUB,
    MIN_KEY_BYTES,
    RECOVERY,
    RESOURCE,
    SIGNING_KEY,
    Identity,
    StoredGroup,
    StoredHub,
    StoredResource,
    group_change,
    group_deletion,
    hub_change,
    hub_deletion,
    read_group,
    read_hub,
    read_resource,
    read_signing_key,
    resource_change,
    resource_deletion,
    signing_key_change,
    stored,
)
from hubwire.resources.effects import ignored, ignored_of_hub
from hubwire.resources.hub_properties import completed, merged, settings_of
from hubwire.resources.resource_documents import group_id, resource_id
from hubwire.resources.serial import Serial

__all__ = ["Catalog", "NoPorts", "Ports"]

_MOST_RESOURCES: Final = 100
_MOST_GROUPS: Final = 1000
_MOST_HUBS: Final = 1000
_MOST_BYTES: Final = 256 * 1024
"""Of a resource or a hub, as JSON."""
_ANYWHERE: Final = "local"
"""Location of what nobody gave one."""
_MOST_REPLICAS: Final = 10

_T = TypeVar("_T")

Changed = Callable[[StoredResource | None, StoredResource | None], Awaitable[None]]
"""Told of a resource before and after a change; None where it is not there."""

Identities = Callable[[str], tuple[str, str] | None]
"""Object id and client id of a user-assigned identity by its resource id; None if there is none."""


Review = Callable[[HubKey, HubSettings], Awaitable[list[str]]]
"""See `Catalog.review`."""


class Ports(Protocol):
    """Listeners of resources that have ports of their own."""

    async def open(self, name: str, ports: tuple[int, int], /) -> tuple[int, int]:
        """
        Listen for a resource.

        Args:
            ports: those that it had, for HTTP and HTTPS; 0 where it has none yet.

        Returns:
            those that it has from now on; 0 for HTTPS where that is not served.

        Raises:
            Unavailable: no port can be had.
        """

    async def close(self, name: str, /) -> None:
        """Listen for it no more."""


class NoPorts:
    """Those of resources while no server runs."""

    async def open(self, _name: str, ports: tuple[int, int], /) -> tuple[int, int]:
        return ports

    async def close(self, _name: str, /) -> None:
        pass


async def _nothing_to_say(_hub: HubKey, _settings: HubSettings) -> list[str]:
    return []


class Catalog:
    """
    Answers from memory at once; a change returns when it is stored, and holds from then on. Made by `load`.

    A hub is given out as `{"name", "properties"}`, the properties complete. Names of hubs, resources and groups compare
    without case; each keeps the spelling in which it was first given.

    Attributes:
        subscription_id: that all belongs to that is there from the first start.
        ports: of resources that are made from now on; none, while no server runs.
        identities: see there.
        review: looks at the event handlers of a hub before it is saved, and tells what will not work, a line each.
            Raises BadRequest: it may not be saved so.
        on_change: told of each change of a resource, after it is stored; a change is over when all were told.
        on_end: told the id of a resource or a group before it is deleted, to delete what belongs to it.
    """

    def __init__(
        self, store: Store, random_bytes: Callable[[int], bytes], subscription_id: str, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._random_bytes = random_bytes
        self._clock = clock
        self.subscription_id = subscription_id
        self.ports: Ports = NoPorts()
        self.identities: Identities = lambda _: None
        self.review: Review = _nothing_to_say
        self.on_change: list[Changed] = []
        self.on_end: list[Callable[[str], Awaitable[None]]] = []
        self._groups: dict[tuple[str, str], StoredGroup] = {}
        self._resources: dict[str, StoredResource] = {}
        self._policies: dict[str, ResourcePolicy] = {}
        self._hubs: dict[HubKey, StoredHub] = {}
        self._settings: dict[HubKey, HubSettings] = {}
        self._findings: dict[HubKey, list[str]] = {}
        self._recovery_key = b""
        self._serial = Serial()

    @classmethod
    async def load(
        cls,
        store: Store,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        *,
        subscription_id: str = "00000000-0000-0000-0000-000000000000",
        clock: Callable[[], float] = time.time,
    ) -> "Catalog":
        """
        Read what is stored. At the first start make the default resource and all keys, and store them first.

        Args:
            random_bytes: as many as asked for, unpredictable.
            clock: seconds since 1970.

        Raises:
            StartFailed: what is stored is damaged, or the first start cannot store anything.
        """
        catalog = cls(store, random_bytes, subscription_id, clock)
        await catalog._make_first()
        await catalog._read()
        return catalog

    def settings(self, hub: HubKey) -> HubSettings:
        return self._settings.get(hub) or default_settings()

    def policy(self, resource: str) -> ResourcePolicy:
        """
        Raises:
            NotFound: no such resource.
        """
        found = self._policies.get(resource) or self._policies.get(resource.lower())
        if found is None:
            raise _no_resource(resource)
        return found

    def access_keys(self, resource: str) -> AccessKeys:
        """
        Raises:
            NotFound: no such resource.
        """
        return self._resource(resource).keys

    def recovery_key(self) -> bytes:
        return self._recovery_key

    async def rotate_key(self, resource: str, kind: KeyKind) -> AccessKeys:
        """
        Replace one key. What the old one signed is refused from now on.

        Raises:
            NotFound: no such resource.
        """
        return await self._serial.run(self._rotate_key(resource, kind))

    async def put_hub(
        self, name: str, properties: Mapping[str, Any], resource: str = DEFAULT_RESOURCE
    ) -> dict[str, Any]:
        """
        Create a hub or replace its settings; what is not given takes its default.

        Raises:
            BadRequest: an illegal name or property; `target` says which.
            NotFound: no such resource.
        """
        self._resource(resource)
        await self._review(_key(resource, name), completed(properties))
        return await self._serial.run(self._put_hub(name, properties, resource))

    async def patch_hub(
        self, name: str, properties: Mapping[str, Any], resource: str = DEFAULT_RESOURCE
    ) -> dict[str, Any]:
        """
        Change the given settings of a hub and leave the others; a null takes one back to its default.

        Raises:
            BadRequest: as for `put_hub`.
            NotFound: nobody configured such a hub.
        """
        old = self._hubs.get(_key(resource, name))
        if old is not None and any(given.lower() == "eventhandlers" for given in properties):
            await self._review(_key(resource, name), merged(old.properties, properties))
        else:
            self._findings.pop(_key(resource, name), None)
        return await self._serial.run(self._patch_hub(name, properties, resource))

    def hub_warnings(self, name: str, resource: str = DEFAULT_RESOURCE) -> list[str]:
        """What of a hub's settings does not act, and what was found if its event handlers were the last change."""
        key = _key(resource, name)
        hub = self._hubs.get(key)
        if hub is None:
            return []
        return [*ignored_of_hub(hub, self._resources.get(key.resource)), *self._findings.get(key, ())]

    async def _review(self, key: HubKey, properties: dict[str, Any]) -> None:
        """Before it is this change's turn: others need not wait until a handler has answered."""
        findings = await self.review(key, settings_of(properties)) if properties["eventHandlers"] else []
        self._findings.pop(key, None)
        if findings:
            self._findings[key] = findings

    async def delete_hub(self, name: str, resource: str = DEFAULT_RESOURCE) -> bool:
        """Take a hub back to the defaults. False if nobody had configured it."""
        return await self._serial.run(self._delete_hub(name, resource))

    async def get_hub(self, name: str, resource: str = DEFAULT_RESOURCE) -> dict[str, Any] | None:
        """One hub; None if nobody configured it."""
        hub = self._hubs.get(_key(resource, name))
        return None if hub is None else _shown(hub)

    def hub(self, name: str, resource: str) -> StoredHub | None:
        """The same at once."""
        return self._hubs.get(_key(resource, name))

    def check_hub(self, name: str, properties: Mapping[str, Any]) -> None:
        """Raises BadRequest: no hub can be so."""
        _checked_hub_name(name)
        completed(properties)

    async def list_hubs(self, resource: str = DEFAULT_RESOURCE) -> list[dict[str, Any]]:
        """The hubs that somebody configured, in the order of their lower-case names."""
        return [_shown(hub) for _, hub in self._hubs_of(resource)]

    def resource_warnings(
        self, resource: StoredResource, body: Mapping[str, Any], before: StoredResource | None = None
    ) -> list[str]:
        """What of a resource that was put, and of its hubs because of it, does not act; see `ignored`."""
        return ignored(resource, body, before, [hub for _, hub in self._hubs_of(resource.name)])

    def _hubs_of(self, resource: str) -> list[tuple[HubKey, StoredHub]]:
        return [(key, hub) for key, hub in sorted(self._hubs.items()) if key.resource == resource.lower()]

    # Resource groups.

    def groups(self, subscription: str) -> list[StoredGroup]:
        """Those of a subscription, by name."""
        return [group for key, group in sorted(self._groups.items()) if key[0] == subscription.lower()]

    def subscriptions(self) -> list[str]:
        """All that have a resource group, the server's own one first."""
        return list(dict.fromkeys((self.subscription_id.lower(), *(key[0] for key in sorted(self._groups)))))

    def group(self, subscription: str, name: str) -> StoredGroup | None:
        """One group, or None."""
        return self._groups.get((subscription.lower(), name.lower()))

    async def put_group(self, group: StoredGroup) -> bool:
        """Create or replace a resource group. Returns whether it is new."""
        return await self._serial.run(self._put_group(group))

    async def delete_group(self, subscription: str, name: str) -> bool:
        """
        Delete a resource group with all that is in it. False if there is none.

        Raises:
            Conflict: the resource that answers for every host is in it, or an identity that a resource elsewhere has.
        """
        return await self._serial.run(self._delete_group(subscription, name))

    async def make_in(
        self, subscription: str, group: str, location: object, make: Callable[[StoredGroup], Awaitable[_T]]
    ) -> _T:
        """
        Make something in a resource group, which is there then, among the changes of the resources.

        Args:
            location: of what is made, and of the group if that is new.

        Raises:
            BadRequest: no group can have this name.
        """
        return await self._serial.run(self._make_in(subscription, group, location, make))

    # Identities.

    def users_of(self, identity: str) -> list[StoredResource]:
        """The resources that have a user-assigned identity, by its resource id."""
        return [one for one in self.resources() if (one.identity.assigned or "").lower() == identity.lower()]

    async def release(self, identity: str, delete: Callable[[], Awaitable[None]]) -> None:
        """
        Delete a user-assigned identity by `delete`, when no resource has it, and none can get it meanwhile.

        Raises:
            Conflict: one has it.
        """
        await self._serial.run(self._release(identity, delete))

    async def run(self, change: Coroutine[Any, Any, _T]) -> _T:
        """The result of a change of what is kept beside the resources, when it is its turn among theirs."""
        return await self._serial.run(change)

    # Resources.

    def resources(self, subscription: str | None = None, group: str | None = None) -> list[StoredResource]:
        """Those of a subscription or of one of its groups, by name."""
        return [
            resource
            for _, resource in sorted(self._resources.items())
            if (subscription is None or resource.subscription.lower() == subscription.lower())
            and (group is None or resource.group.lower() == group.lower())
        ]

    def named(self, name: str) -> StoredResource | None:
        """The resource of a name, which is unique in this server; None if there is none."""
        return self._resources.get(name.lower())

    def resource(self, subscription: str, group: str, name: str) -> StoredResource:
        """
        Raises:
            NotFound: there is none of this name in this group.
        """
        if self.group(subscription, group) is None:
            raise NotFound(f"Resource group '{group}' could not be found.", "group")
        found = self.named(name)
        if found is None or (found.subscription.lower(), found.group.lower()) != (subscription.lower(), group.lower()):
            raise _no_resource(name)
        return found

    async def put_resource(
        self, subscription: str, group: str, name: str, body: Mapping[str, Any]
    ) -> tuple[StoredResource, bool]:
        """
        Create a resource or replace what it says; what is not given takes its default.

        Args:
            body: `location`, `tags`, `sku`, `kind`, `identity` and `properties`.

        Returns:
            the resource, and whether it is new.

        Raises:
            BadRequest: an illegal name or property; `target` says which.
            Conflict: a resource in another group has this name, or it is to move to another location.
            Unavailable: there is no port for it.
        """
        return await self._serial.run(self._put_resource(subscription, group, name, body))

    async def patch_resource(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> StoredResource:
        """
        Change what is given and leave the rest. A property that is given is replaced as a whole.

        Raises:
            BadRequest: as for `put_resource`.
            NotFound: there is no such resource.
        """
        return await self._serial.run(self._patch_resource(subscription, group, name, body))

    async def delete_resource(self, subscription: str, group: str, name: str) -> bool:
        """
        Delete a resource with its hubs. False if there is none.

        Raises:
            Conflict: it is the one that answers for every host.
        """
        return await self._serial.run(self._delete_resource(subscription, group, name))

    async def put_replica(
        self, subscription: str, group: str, name: str, replica: str, body: Mapping[str, Any]
    ) -> bool:
        """Keep the body of a replica. Returns whether it is new. Raises NotFound, BadRequest."""
        return await self._serial.run(self._put_replica(subscription, group, name, replica, body))

    async def delete_replica(self, subscription: str, group: str, name: str, replica: str) -> bool:
        """Forget a replica. False if there is none. Raises NotFound."""
        return await self._serial.run(self._delete_replica(subscription, group, name, replica))

    async def open_ports(self) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
        """
        Listen for each resource that has ports of its own, at the start of a server.

        Returns:
            name, old and new ports of those whose old ones could not be had.
        """
        return await self._serial.run(self._open_ports())

    def check_resource(
        self,
        subscription: str,
        group: str,
        name: str,
        body: Mapping[str, Any],
        coming: Collection[str] = (),
    ) -> StoredResource:
        """
        What `put_resource` would make, without making it.

        Args:
            coming: resource ids of identities that will be there by then, in lower case.

        Raises:
            BadRequest, Conflict: as there.
        """
        old = self.named(name)
        made, _ = self._made(subscription, group, name, body, old, coming)
        return made

    # Changes, each when it is its turn.

    async def _put_group(self, group: StoredGroup) -> bool:
        if not resource_properties.is_group_name(group.name):
            rule = "1 to 90 letters, digits and characters of _-.(), and does not end with a full stop"
            raise BadRequest(f"The name of a resource group has {rule}.", target="resourceGroup")
        old = self.group(group.subscription, group.name)
        if old is None:
            self._check_groups()
        new = replace(group, name=old.name if old else group.name)
        await self._store.commit([group_change(new)])
        self._remember_group(new)
        return old is None

    def _check_groups(self) -> None:
        if len(self._groups) >= _MOST_GROUPS:
            raise Conflict(f"A server has {_MOST_GROUPS} resource groups at most.", target="quota")

    async def _delete_group(self, subscription: str, name: str) -> bool:
        group = self.group(subscription, name)
        if group is None:
            return False
        inside = self.resources(subscription, name)
        for resource in inside:
            _check_deletable(resource)
        scope = group_id(group.subscription, group.name)
        for other in self._resources.values():
            if other not in inside and other.identity.assigned and covers(scope, other.identity.assigned):
                raise _in_use(other.identity.assigned, [other])
        for resource in inside:
            await self._drop(resource)
        await self._forget(scope)
        await self._store.commit([group_deletion(group)])
        del self._groups[group.subscription.lower(), group.name.lower()]
        return True

    def _group_for(self, subscription: str, group: str, location: object) -> tuple[StoredGroup, list[Change]]:
        """A group for something that is made in it, and what has to be stored if that is new."""
        known = self.group(subscription, group)
        if known is not None:
            return known, []
        if not resource_properties.is_group_name(group):
            raise BadRequest("This is no name of a resource group.", target="resourceGroup")
        self._check_groups()
        new = StoredGroup(group, subscription, resource_properties.region(location))
        return new, [group_change(new)]

    async def _make_in(
        self, subscription: str, group: str, location: object, make: Callable[[StoredGroup], Awaitable[_T]]
    ) -> _T:
        found, changes = self._group_for(subscription, group, location)
        if changes:
            await self._store.commit(changes)
            self._remember_group(found)
        return await make(found)

    async def _release(self, identity: str, delete: Callable[[], Awaitable[None]]) -> None:
        users = self.users_of(identity)
        if users:
            raise _in_use(identity, users)
        await delete()

    def _made(
        self,
        subscription: str,
        group: str,
        name: str,
        body: Mapping[str, Any],
        old: StoredResource | None,
        coming: Collection[str] = (),
    ) -> tuple[StoredResource, list[Change]]:
        """A resource as a PUT wants it, without keys and ports if it is new; and what else has to be stored."""
        if not resource_properties.is_resource_name(name):
            rule = "3 to 63 letters, digits and hyphens, begins with a letter and does not end with a hyphen"
            raise BadRequest(f"The name of a resource has {rule}.", target="name")
        if old is not None and (old.subscription.lower(), old.group.lower()) != (subscription.lower(), group.lower()):
            raise Conflict(f"The name {name} is taken by a resource in another resource group.", target="name")
        if old is None and len(self._resources) >= _MOST_RESOURCES:
            raise Conflict(f"A server has {_MOST_RESOURCES} resources at most.", target="quota")
        location = body.get("location")
        if location is None:
            raise BadRequest("The location of the resource is required.", target="location")
        if not resource_properties.is_location(location):
            raise BadRequest("The location must be the name of a region.", target="location")
        if old is not None and not _same_place(old.location, location):
            raise Conflict(f"The resource is in {old.location} and cannot be moved to {location}.", target="location")
        known, changes = self._group_for(subscription, group, location)
        now = int(self._clock())
        made = StoredResource(
            name=old.name if old else name,
            keys=old.keys if old else AccessKeys("", ""),
            subscription=old.subscription if old else subscription,
            group=old.group if old else known.name,
            location=old.location
            if old is not None and old.location != _ANYWHERE
            else resource_properties.region(location),
            kind=resource_properties.kind_of(body.get("kind")),
            tags=resource_properties.tags_of(body.get("tags")),
            sku=resource_properties.sku_of(body.get("sku")),
            identity=self._identity(body.get("identity"), old.identity if old else Identity(), coming),
            properties=resource_properties.completed(body.get("properties")),
            ports=old.ports if old else (0, 0),
            replicas=old.replicas if old else {},
            created_at=old.created_at if old else now,
            changed_at=now,
        )
        return _without_ignored(made), changes

    async def _put_resource(
        self, subscription: str, group: str, name: str, body: Mapping[str, Any]
    ) -> tuple[StoredResource, bool]:
        old = self.named(name)
        made, changes = self._made(subscription, group, name, body, old)
        if old is None:
            made = replace(made, keys=AccessKeys(*(_new_key(self._random_bytes) for _ in range(3))))
            made = replace(made, ports=await self.ports.open(made.name.lower(), (0, 0)))
        try:
            await self._store_resource(made, changes)
        except BaseException:
            if old is None:
                await self.ports.close(made.name.lower())
            raise
        await self._tell(old, made)
        return made, old is None

    async def _patch_resource(
        self, subscription: str, group: str, name: str, body: Mapping[str, Any]
    ) -> StoredResource:
        old = self.resource(subscription, group, name)
        new = replace(old, changed_at=int(self._clock()))
        if body.get("location") is not None and not resource_properties.is_location(body["location"]):
            raise BadRequest("The location must be the name of a region.", target="location")
        if body.get("location") is not None and not _same_place(old.location, body["location"]):
            raise Conflict(f"The resource is in {old.location} and cannot be moved.", target="location")
        if "tags" in body:
            new = replace(new, tags=resource_properties.tags_of(body["tags"]))
        if body.get("sku") is not None:
            new = replace(new, sku=resource_properties.sku_of(body["sku"]))
        if body.get("kind") is not None:
            new = replace(new, kind=resource_properties.kind_of(body["kind"]))
        if "identity" in body:
            new = replace(new, identity=self._identity(body["identity"], old.identity))
        if body.get("properties") is not None:
            new = replace(new, properties=resource_properties.merged(old.properties, body["properties"]))
        new = _without_ignored(new)
        await self._keep_resource(old, new)
        return new

    async def _delete_resource(self, subscription: str, group: str, name: str) -> bool:
        try:
            resource = self.resource(subscription, group, name)
        except NotFound:
            return False
        _check_deletable(resource)
        await self._drop(resource)
        return True

    async def _drop(self, resource: StoredResource) -> None:
        key = resource.name.lower()
        await self._forget(self._policies[key].scope)
        hubs = [hub for hub in self._hubs if hub.resource == key]
        await self._store.commit([resource_deletion(key), *map(hub_deletion, hubs)])
        for hub in hubs:
            del self._hubs[hub], self._settings[hub]
            self._findings.pop(hub, None)
        del self._resources[key], self._policies[key]
        await self.ports.close(key)
        await self._tell(resource, None)

    async def _put_replica(
        self, subscription: str, group: str, name: str, replica: str, body: Mapping[str, Any]
    ) -> bool:
        old = self.resource(subscription, group, name)
        if not resource_properties.is_resource_name(replica):
            raise BadRequest("This is no name of a replica.", target="name")
        replica = next((known for known in old.replicas if known.lower() == replica.lower()), replica)
        is_new = replica not in old.replicas
        if is_new and len(old.replicas) >= _MOST_REPLICAS:
            raise Conflict(f"A resource has {_MOST_REPLICAS} replicas at most.", target="quota")
        await self._keep_resource(old, replace(old, replicas={**old.replicas, replica: dict(body)}))
        return is_new

    async def _delete_replica(self, subscription: str, group: str, name: str, replica: str) -> bool:
        old = self.resource(subscription, group, name)
        left = {key: body for key, body in old.replicas.items() if key != replica}
        if len(left) == len(old.replicas):
            return False
        await self._keep_resource(old, replace(old, replicas=left))
        return True

    async def _open_ports(self) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
        moved = []
        for key, resource in list(self._resources.items()):
            if key == DEFAULT_RESOURCE:
                continue
            ports = await self.ports.open(key, resource.ports)
            if ports != resource.ports:
                if any(resource.ports):
                    moved.append((resource.name, resource.ports, ports))
                await self._keep_resource(resource, replace(resource, ports=ports))
        return moved

    async def _rotate_key(self, resource: str, kind: KeyKind) -> AccessKeys:
        old = self._resource(resource)
        keys = replace(old.keys, **{kind: _new_key(self._random_bytes)})
        await self._keep_resource(old, replace(old, keys=keys))
        return keys

    def _identity(self, body: object, old: Identity, coming: Collection[str] = ()) -> Identity:
        kind, assigned = resource_properties.identity_of(body)
        if (kind, assigned) == (old.kind, old.assigned):
            return old
        if kind == "None":
            return Identity()
        if assigned is None:
            return Identity(kind, None, self._guid(), self._guid())
        known = self.identities(assigned)
        if known is None and assigned.lower() in coming:
            return Identity(kind, assigned)
        if known is None:
            message = f"There is no user-assigned identity {assigned}; `hubwire managed-identity create` makes one."
            raise BadRequest(message, target="identity.userAssignedIdentities")
        return Identity(kind, assigned, *known)

    async def _put_hub(self, name: str, properties: Mapping[str, Any], resource: str) -> dict[str, Any]:
        _checked_hub_name(name)
        self._resource(resource)
        key = _key(resource, name)
        old = self._hubs.get(key)
        return await self._keep(key, StoredHub(old.name if old else name, completed(properties)))

    async def _patch_hub(self, name: str, properties: Mapping[str, Any], resource: str) -> dict[str, Any]:
        key = _key(resource, name)
        old = self._hubs.get(key)
        if old is None:
            raise NotFound("Nobody configured this hub.", target="hub")
        return await self._keep(key, StoredHub(old.name, merged(old.properties, properties)))

    async def _delete_hub(self, name: str, resource: str) -> bool:
        key = _key(resource, name)
        if key not in self._hubs:
            return False
        await self._store.commit([hub_deletion(key)])
        del self._hubs[key], self._settings[key]
        self._findings.pop(key, None)
        return True

    async def _keep(self, key: HubKey, hub: StoredHub) -> dict[str, Any]:
        _check_size(hub.properties)
        if key not in self._hubs and sum(other.resource == key.resource for other in self._hubs) >= _MOST_HUBS:
            raise Conflict(f"A resource has {_MOST_HUBS} configured hubs at most.", target="quota")
        await self._store.commit([hub_change(key, hub)])
        self._remember(key, hub)
        return _shown(hub)

    def _remember(self, key: HubKey, hub: StoredHub) -> None:
        self._hubs[key] = hub
        self._settings[key] = settings_of(hub.properties)

    def _resource(self, name: str) -> StoredResource:
        found = self._resources.get(name.lower())
        if found is None:
            raise _no_resource(name)
        return found

    async def _keep_resource(
        self, old: StoredResource | None, new: StoredResource, changes: list[Change] | None = None
    ) -> None:
        await self._store_resource(new, changes or [])
        await self._tell(old, new)

    async def _store_resource(self, new: StoredResource, changes: list[Change]) -> None:
        _check_size([new.properties, new.replicas])
        await self._store.commit([*changes, resource_change(new)])
        for change in changes:
            self._remember_group(msgspec.convert(change.body, StoredGroup))
        self._remember_resource(new)

    async def _forget(self, scope: str) -> None:
        # Before the scope is gone: whoever makes another one of this name gets nothing of it, whatever happens.
        for forget in self.on_end:
            await forget(scope)

    async def _tell(self, old: StoredResource | None, new: StoredResource | None) -> None:
        for told in self.on_change:
            await told(old, new)

    def _remember_group(self, group: StoredGroup) -> None:
        self._groups[group.subscription.lower(), group.name.lower()] = group

    def _remember_resource(self, resource: StoredResource) -> None:
        key, properties = resource.name.lower(), resource.properties
        self._resources[key] = resource
        self._policies[key] = ResourcePolicy(
            scope=resource_id(resource.subscription, resource.group, resource.name),
            local_auth=not properties["disableLocalAuth"],
            entra_auth=not properties["disableAadAuth"],
            network=network_rules(properties["networkACLs"], properties["publicNetworkAccess"]),
            stopped=properties["resourceStopped"] == "true",
            quota=resource_properties.quota_of(resource.sku),
            client_certificates=properties["tls"]["clientCertEnabled"],
            identity=_managed_identity(resource),
        )

    def _guid(self) -> str:
        return str(UUID(bytes=self._random_bytes(16), version=4))

    async def _make_first(self) -> None:
        if await self._store.get(RESOURCE, DEFAULT_RESOURCE) is not None:
            return
        keys = AccessKeys(*(_new_key(self._random_bytes) for _ in range(3)))
        now = int(self._clock())
        first = StoredResource(DEFAULT_RESOURCE, keys, created_at=now, changed_at=now)
        resource = resource_change(first, "absent")
        recovery = signing_key_change(RECOVERY, self._random_bytes(MIN_KEY_BYTES), "absent")
        try:
            await self._store.commit([resource, recovery])
        except PreconditionFailed:
            # Another process was faster. What it made is as good, and is read next.
            return
        except NotStored as error:
            raise StartFailed(f"cannot store the first keys: {error.reason}") from error

    async def _read(self) -> None:
        for document in await stored(self._store, GROUP):
            self._remember_group(read_group(document))
        for document in await stored(self._store, RESOURCE):
            resource = read_resource(document)
            self._remember_resource(replace(resource, subscription=resource.subscription or self.subscription_id))
        home = (self.subscription_id.lower(), HOME_GROUP)
        self._groups.setdefault(home, StoredGroup(HOME_GROUP, self.subscription_id))
        for document in await stored(self._store, HUB):
            self._remember(*read_hub(document))
        recovery = await self._store.get(SIGNING_KEY, RECOVERY)
        if recovery is None or DEFAULT_RESOURCE not in self._resources:
            raise StartFailed(f"the store has no {SIGNING_KEY} {RECOVERY} or no {RESOURCE} {DEFAULT_RESOURCE}")
        self._recovery_key = read_signing_key(recovery)


def _key(resource: str, hub: str) -> HubKey:
    # Some letters outside of ASCII have a lower case inside of it; with one of these, a name is nobody's.
    return HubKey(resource.lower(), hub.lower() if hub.isascii() else hub)


def _check_size(value: object) -> None:
    if len(msgspec.json.encode(value)) > _MOST_BYTES:
        raise BadRequest(f"The properties have more than {_MOST_BYTES} bytes.", target="properties")


def _checked_hub_name(name: str) -> None:
    if not is_hub_name(name):
        rule = "a letter, then up to 127 letters, digits and characters of _`,.[]"
        raise BadRequest(f"The name of a hub is {rule}.", target="hub")


def _no_resource(name: str) -> NotFound:
    return NotFound(
        f"There is no resource of type Microsoft.SignalRService/webPubSub with the name {name}.", "resource"
    )


def _in_use(identity: str, users: Sequence[StoredResource]) -> Conflict:
    names = ", ".join(user.name for user in users)
    name = identity.rpartition("/")[2]
    message = f"The identity {name} is used by {names}; give these resources another one, or none, first."
    return Conflict(message, target="identity")


def _managed_identity(resource: StoredResource) -> ManagedIdentity | None:
    identity = resource.identity
    if identity.kind == "None":
        return None
    own = resource_id(resource.subscription, resource.group, resource.name)
    kind: Literal["SystemAssigned", "UserAssigned"] = "UserAssigned" if identity.assigned else "SystemAssigned"
    return ManagedIdentity(kind, own, identity.assigned or own, identity.principal_id, identity.client_id)


def _without_ignored(resource: StoredResource) -> StoredResource:
    """The free tier asks no client for a certificate, whatever is wished."""
    if resource.sku["name"] != "Free_F1" or not resource.properties["tls"]["clientCertEnabled"]:
        return resource
    tls = {**resource.properties["tls"], "clientCertEnabled": False}
    return replace(resource, properties={**resource.properties, "tls": tls})


def _same_place(one: str, other: object) -> bool:
    """Names of regions compare without case and spaces; where no region was given, every one is right."""
    return one == _ANYWHERE or resource_properties.region(one) == resource_properties.region(other)


def _check_deletable(resource: StoredResource) -> None:
    if resource.name.lower() == DEFAULT_RESOURCE:
        message = "The resource that answers for every host cannot be deleted; stop it by resourceStopped."
        raise Conflict(message, target="resource")


def _shown(hub: StoredHub) -> dict[str, Any]:
    """A copy, so that nobody changes what we keep."""
    return {"name": hub.name, "properties": copy.deepcopy(hub.properties)}


def _new_key(random_bytes: Callable[[int], bytes]) -> str:
    return base64.b64encode(random_bytes(MIN_KEY_BYTES)).decode()
