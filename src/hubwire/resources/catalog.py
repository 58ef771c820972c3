"""
The resources that are there, with their keys and their hubs: read once, kept in memory, written through to the store.

At first there is one resource, made at the first start. A hub has a document only if somebody configured it; any other
hub has the defaults. One process at a time owns a store, so what is in memory is what is stored.
"""

import base64
import copy
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from hubwire.model.errors import BadRequest, NotFound, NotStored, PreconditionFailed, StartFailed
from hubwire.model.hubs import DEFAULT_RESOURCE, AccessKeys, HubSettings, KeyKind, default_settings
from hubwire.model.names import HubKey, is_hub_name
from hubwire.model.ports import Store
from hubwire.resources.documents import (
    HUB,
    MIN_KEY_BYTES,
    RECOVERY,
    RESOURCE,
    SIGNING_KEY,
    StoredHub,
    StoredResource,
    hub_change,
    hub_deletion,
    read_hub,
    read_resource,
    read_signing_key,
    resource_change,
    signing_key_change,
    stored,
)
from hubwire.resources.hub_properties import completed, merged, settings_of
from hubwire.resources.serial import Serial

__all__ = ["Catalog"]


class Catalog:
    """
    Answers from memory at once; a change returns when it is stored, and holds from then on. Made by `load`.

    A hub is given out as `{"name", "properties"}`, the properties complete. Names of hubs and resources compare
    without case; a hub keeps the spelling in which it was first given.
    """

    def __init__(self, store: Store, random_bytes: Callable[[int], bytes]) -> None:
        self._store = store
        self._random_bytes = random_bytes
        self._resources: dict[str, StoredResource] = {}
        self._hubs: dict[HubKey, StoredHub] = {}
        self._settings: dict[HubKey, HubSettings] = {}
        self._recovery_key = b""
        self._serial = Serial()

    @classmethod
    async def load(cls, store: Store, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> "Catalog":
        """
        Read what is stored. At the first start make the default resource and all keys, and store them first.

        Args:
            random_bytes: as many as asked for, unpredictable.

        Raises:
            StartFailed: what is stored is damaged, or the first start cannot store anything.
        """
        catalog = cls(store, random_bytes)
        await catalog._make_first()
        await catalog._read()
        return catalog

    def settings(self, hub: HubKey) -> HubSettings:
        return self._settings.get(hub) or default_settings()

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
        return await self._serial.run(self._patch_hub(name, properties, resource))

    async def delete_hub(self, name: str, resource: str = DEFAULT_RESOURCE) -> bool:
        """Take a hub back to the defaults. False if nobody had configured it."""
        return await self._serial.run(self._delete_hub(name, resource))

    async def get_hub(self, name: str, resource: str = DEFAULT_RESOURCE) -> dict[str, Any] | None:
        """One hub; None if nobody configured it."""
        hub = self._hubs.get(_key(resource, name))
        return None if hub is None else _shown(hub)

    async def list_hubs(self, resource: str = DEFAULT_RESOURCE) -> list[dict[str, Any]]:
        """The hubs that somebody configured, in the order of their lower-case names."""
        return [_shown(self._hubs[key]) for key in sorted(self._hubs) if key.resource == resource.lower()]

    async def _rotate_key(self, resource: str, kind: KeyKind) -> AccessKeys:
        old = self._resource(resource)
        key = _new_key(self._random_bytes)
        keys = AccessKeys(key, old.keys.secondary) if kind == "primary" else AccessKeys(old.keys.primary, key)
        new = StoredResource(old.name, keys)
        await self._store.commit([resource_change(new)])
        self._resources[resource.lower()] = new
        return keys

    async def _put_hub(self, name: str, properties: Mapping[str, Any], resource: str) -> dict[str, Any]:
        if not is_hub_name(name):
            rule = "a letter, then up to 127 letters, digits and characters of _`,.[]"
            raise BadRequest(f"The name of a hub is {rule}.", target="hub")
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
        return True

    async def _keep(self, key: HubKey, hub: StoredHub) -> dict[str, Any]:
        await self._store.commit([hub_change(key, hub)])
        self._remember(key, hub)
        return _shown(hub)

    def _remember(self, key: HubKey, hub: StoredHub) -> None:
        self._hubs[key] = hub
        self._settings[key] = settings_of(hub.properties)

    def _resource(self, name: str) -> StoredResource:
        found = self._resources.get(name.lower())
        if found is None:
            raise NotFound("There is no such resource.", target="resource")
        return found

    async def _make_first(self) -> None:
        if await self._store.get(RESOURCE, DEFAULT_RESOURCE) is not None:
            return
        keys = AccessKeys(_new_key(self._random_bytes), _new_key(self._random_bytes))
        resource = resource_change(StoredResource(DEFAULT_RESOURCE, keys), "absent")
        recovery = signing_key_change(RECOVERY, self._random_bytes(MIN_KEY_BYTES), "absent")
        try:
            await self._store.commit([resource, recovery])
        except PreconditionFailed:
            # Another process was faster. What it made is as good, and is read next.
            return
        except NotStored as error:
            raise StartFailed(f"cannot store the first keys: {error.reason}") from error

    async def _read(self) -> None:
        self._resources = {document.key: read_resource(document) for document in await stored(self._store, RESOURCE)}
        for document in await stored(self._store, HUB):
            self._remember(*read_hub(document))
        recovery = await self._store.get(SIGNING_KEY, RECOVERY)
        if recovery is None or DEFAULT_RESOURCE not in self._resources:
            raise StartFailed(f"the store has no {SIGNING_KEY} {RECOVERY} or no {RESOURCE} {DEFAULT_RESOURCE}")
        self._recovery_key = read_signing_key(recovery)


def _key(resource: str, hub: str) -> HubKey:
    # Some letters outside of ASCII have a lower case inside of it; with one of these, a name is nobody's.
    return HubKey(resource.lower(), hub.lower() if hub.isascii() else hub)


def _shown(hub: StoredHub) -> dict[str, Any]:
    """A copy, so that nobody changes what we keep."""
    return {"name": hub.name, "properties": copy.deepcopy(hub.properties)}


def _new_key(random_bytes: Callable[[int], bytes]) -> str:
    return base64.b64encode(random_bytes(MIN_KEY_BYTES)).decode()
