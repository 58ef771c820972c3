"""
The Key Vaults that are here: read once, kept in memory, written through to the store. Changes take turns with those of
the resource tree, which they are part of.
"""

import secrets
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from hubwire.model.errors import BadRequest, Conflict, NotFound, StartFailed
from hubwire.model.listeners import listener_name
from hubwire.model.ports import Change, Store
from hubwire.model.vaults import is_vault_name
from hubwire.resources.catalog import Catalog, NoPorts, Ports
from hubwire.resources.documents import StoredGroup, stored, value_of
from hubwire.resources.resource_properties import is_location, region, tags_of
from hubwire.resources.vault_documents import VAULT, StoredVault, vault_change, vault_id
from hubwire.resources.vault_properties import (
    PolicyChange,
    changed_policies,
    completed,
    merged,
    network_of,
)
from hubwire.resources.vault_secrets import Cipher, VaultSecrets

__all__ = ["Vaults"]

_MOST_VAULTS: Final = 100
_MOST_BYTES: Final = 256 * 1024

_T = TypeVar("_T")


class Vaults:
    """
    Answers from memory at once; a change returns when it is stored, and holds from then on. Made by `load`. Names of
    vaults compare without case.

    Attributes:
        kept: their secrets.
        tenant_id: the local tenant.
        ports: of vaults; none, while no server runs.
        on_change: called after each change of a vault or of its secrets.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        kept: VaultSecrets,
        tenant_id: str,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._catalog = catalog
        self.kept = kept
        self._clock = clock
        self.tenant_id = tenant_id
        self.ports: Ports = NoPorts()
        self.on_change: list[Callable[[], None]] = []
        self._vaults: dict[str, StoredVault] = {}

    @classmethod
    async def load(
        cls,
        store: Store,
        cipher: Cipher,
        catalog: Catalog,
        tenant_id: str,
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        clock: Callable[[], float] = time.time,
    ) -> "Vaults":
        """
        Read what is stored.

        Args:
            cipher: seals values of secrets.
            tenant_id: the local tenant.

        Raises:
            StartFailed: it is damaged.
        """
        kept = VaultSecrets(store, cipher, random_bytes, clock)
        vaults = cls(store, catalog, kept, tenant_id, clock)
        for document in await stored(store, VAULT):
            vault = value_of(StoredVault, document)
            try:
                vault = replace(vault, properties=completed(vault.properties, tenant_id))
            except BadRequest as error:
                message = f"the stored {document.kind} {document.key} cannot be used: {error.message}"
                raise StartFailed(message) from error
            vaults._vaults[document.key] = vault
        await kept.read()
        catalog.on_end.append(vaults._delete_below)
        return vaults

    # What is there.

    def all(self, subscription: str | None = None, group: str | None = None) -> list[StoredVault]:
        """Those of a subscription or of one of its groups, by name."""
        return [
            vault
            for _, vault in sorted(self._vaults.items())
            if (subscription is None or vault.subscription.lower() == subscription.lower())
            and (group is None or vault.group.lower() == group.lower())
        ]

    def named(self, name: str) -> StoredVault | None:
        """The vault of a name, which is unique in this server; None if there is none."""
        return self._vaults.get(name.lower())

    def vault(self, subscription: str, group: str, name: str) -> StoredVault:
        """
        Raises:
            NotFound: there is none of this name in this group.
        """
        if self._catalog.group(subscription, group) is None:
            raise NotFound(f"Resource group '{group}' could not be found.", "group")
        found = self.named(name)
        if found is None or (found.subscription.lower(), found.group.lower()) != (subscription.lower(), group.lower()):
            raise _no_vault(name)
        return found

    # Vaults.

    async def put(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> tuple[StoredVault, bool]:
        """
        Create a vault or replace what it says; what is not given takes its default. Its resource group is made, too, if
        it is not there.

        Args:
            body: `location`, `tags` and `properties`.

        Returns:
            the vault, and whether it is new.

        Raises:
            BadRequest: an illegal name or property; `target` says which.
            Conflict: a vault in another group has this name.
            Unavailable: there is no port for it.
        """

        async def make(found: StoredGroup) -> tuple[StoredVault, bool]:
            return await self._put(found, name, body)

        self.check(subscription, group, name, body)
        return await self._catalog.make_in(subscription, group, body.get("location"), make)

    async def patch(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> StoredVault:
        """
        Change what is given and leave the rest. A property that is given is replaced as a whole.

        Raises:
            BadRequest: as for `put`.
            NotFound: there is no such vault.
        """
        return await self.run(self._patch(subscription, group, name, body))

    async def change_policies(
        self, name: str, kind: PolicyChange, policies: Sequence[Mapping[str, Any]]
    ) -> StoredVault:
        """
        Add, replace or remove access policies, which `policies_of` has checked.

        Raises:
            NotFound: there is no such vault.
        """
        return await self.run(self._change_policies(name, kind, policies))

    async def delete(self, subscription: str, group: str, name: str) -> bool:
        """Delete a vault with its secrets, for good. False if there is none."""
        return await self.run(self._delete(subscription, group, name))

    def check(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> StoredVault:
        """
        What `put` would make, without making it. Its resource group may be still to come.

        Raises:
            BadRequest, Conflict: as there.
        """
        return self._made(subscription, group, name, body)

    async def open_ports(self) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
        """
        Listen for each vault, at the start of a server.

        Returns:
            name, old and new ports of those whose old ones could not be had.
        """
        return await self.run(self._open_ports())

    def warnings(self, vault: StoredVault, tenants: Collection[str]) -> list[str]:
        """
        Which access policies let nobody in.

        Args:
            tenants: whose tokens are taken, in lower case.
        """
        named = {vault.properties["tenantId"], *(policy["tenantId"] for policy in vault.properties["accessPolicies"])}
        strange = sorted(tenant for tenant in named if tenant.lower() not in tenants)
        return [
            f"no token of the tenant {tenant} is taken here; the local one is {self.tenant_id}" for tenant in strange
        ]

    async def run(self, change: Coroutine[Any, Any, _T]) -> _T:
        """The result of a change, when it is its turn."""
        return await self._catalog.run(change)

    def found(self, name: str) -> StoredVault:
        """
        Raises:
            NotFound: there is no vault of this name.
        """
        found = self.named(name)
        if found is None:
            raise _no_vault(name)
        return found

    def refusal(self, name: str, client_ip: str | None) -> str | None:
        """Why the network rules of a vault keep an address out; None if they do not. Raises NotFound."""
        return None if client_ip is None else network_of(self.found(name).properties).refusal("RESTAPI", client_ip)

    def tell(self) -> None:
        """A vault, or a secret, is another one now."""
        for told in self.on_change:
            told()

    # Changes, each when it is its turn.

    def _made(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> StoredVault:
        """A vault as a PUT wants it, without ports if it is new."""
        if not is_vault_name(name):
            rule = "3 to 24 letters, digits and single hyphens, begins with a letter and does not end with a hyphen"
            raise BadRequest(f"The name of a vault has {rule}.", "name")
        old = self.named(name)
        if old is not None and (old.subscription.lower(), old.group.lower()) != (subscription.lower(), group.lower()):
            raise Conflict(f"The name {name} is taken by a vault in another resource group.", "name")
        if old is None and len(self._vaults) >= _MOST_VAULTS:
            raise Conflict(f"A server has {_MOST_VAULTS} vaults at most.", "quota")
        location = body.get("location")
        if not is_location(location):
            raise BadRequest("The location of the vault is required, and must be the name of a region.", "location")
        now = int(self._clock())
        known = self._catalog.group(subscription, group)
        return StoredVault(
            name=old.name if old else name,
            subscription=old.subscription if old else subscription,
            group=old.group if old else known.name if known else group,
            location=region(location),
            properties=completed(body.get("properties"), self.tenant_id),
            tags=tags_of(body.get("tags")),
            ports=old.ports if old else (0, 0),
            created_at=old.created_at if old else now,
            changed_at=now,
        )

    async def _put(self, group: StoredGroup, name: str, body: Mapping[str, Any]) -> tuple[StoredVault, bool]:
        old = self.named(name)
        made = self._made(group.subscription, group.name, name, body)
        if old is None:
            made = replace(made, ports=await self.ports.open(listener_name("vault", name), (0, 0)))
        try:
            await self._keep(made)
        except BaseException:
            if old is None:
                await self.ports.close(listener_name("vault", name))
            raise
        return made, old is None

    async def _patch(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> StoredVault:
        new = replace(self.vault(subscription, group, name), changed_at=int(self._clock()))
        if "tags" in body:
            new = replace(new, tags=tags_of(body["tags"]))
        if body.get("properties") is not None:
            new = replace(new, properties=merged(new.properties, body["properties"]))
        await self._keep(new)
        return new

    async def _change_policies(
        self, name: str, kind: PolicyChange, policies: Sequence[Mapping[str, Any]]
    ) -> StoredVault:
        old = self.found(name)
        changed = changed_policies(old.properties["accessPolicies"], kind, policies)
        properties = {**old.properties, "accessPolicies": changed}
        new = replace(old, properties=properties, changed_at=int(self._clock()))
        await self._keep(new)
        return new

    async def _keep(self, vault: StoredVault) -> None:
        if len(msgspec.json.encode(vault)) > _MOST_BYTES:
            raise BadRequest(f"The properties have more than {_MOST_BYTES} bytes.", "properties")
        await self._store.commit([vault_change(vault)])
        self._vaults[vault.name.lower()] = vault
        self.tell()

    async def _delete(self, subscription: str, group: str, name: str) -> bool:
        try:
            vault = self.vault(subscription, group, name)
        except NotFound:
            return False
        for forget in self._catalog.on_end:
            await forget(vault_id(vault))
        await self._drop(vault)
        return True

    async def _delete_below(self, scope: str) -> None:
        """The resource group of some vaults is going to be deleted; its roles are forgotten by others."""
        for vault in self.all():
            if vault_id(vault).lower().startswith(f"{scope.lower()}/"):
                await self._drop(vault)

    async def _drop(self, vault: StoredVault) -> None:
        key = vault.name.lower()
        await self._store.commit([Change(VAULT, key, None), *self.kept.deletions(key)])
        del self._vaults[key]
        self.kept.forget(key)
        await self.ports.close(listener_name("vault", key))
        self.tell()

    async def _open_ports(self) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
        moved = []
        for vault in self.all():
            ports = await self.ports.open(listener_name("vault", vault.name), vault.ports)
            if ports != vault.ports:
                if any(vault.ports):
                    moved.append((vault.name, vault.ports, ports))
                await self._keep(replace(vault, ports=ports))
        return moved


def _no_vault(name: str) -> NotFound:
    return NotFound(f"There is no vault with the name {name} in this server.", "vault")
