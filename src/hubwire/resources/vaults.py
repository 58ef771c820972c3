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

from hubwire.model.errors import BadRequest, NotFound
from hubwire.model.ports import Change, Store
from hubwire.model.vaults import is_vault_name
from hubwire.resources.catalog import Catalog
from hubwire.resources.placed import PlacedResources
from hubwire.resources.resource_properties import tags_of
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

_MOST_BYTES: Final = 256 * 1024

_T = TypeVar("_T")


class Vaults(PlacedResources[StoredVault]):
    """
    The vaults. Made by `load`.

    Attributes:
        kept: their secrets.
        tenant_id: the local tenant.
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
        super().__init__(store, catalog, "vault", "vault", clock)
        self.kept = kept
        self.tenant_id = tenant_id
        self.on_change: list[Callable[[], None]] = []

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
        await vaults._read(VAULT, StoredVault, lambda properties: completed(properties, tenant_id))
        await kept.read()
        catalog.on_end.append(vaults._delete_below)
        return vaults

    def check(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> StoredVault:
        """
        What `put` would make, without making it; without ports if it is new. Its resource group may be still to come.

        Raises:
            BadRequest, Conflict: as there.
        """
        if not is_vault_name(name):
            rule = "3 to 24 letters, digits and single hyphens, begins with a letter and does not end with a hyphen"
            raise BadRequest(f"The name of a vault has {rule}.", "name")
        old = self._claimed(subscription, group, name)
        location = self._region(body.get("location"))
        now = int(self._clock())
        return StoredVault(
            name=old.name if old else name,
            subscription=old.subscription if old else subscription,
            group=old.group if old else self._group_name(subscription, group),
            location=location,
            properties=completed(body.get("properties"), self.tenant_id),
            tags=tags_of(body.get("tags")),
            ports=old.ports if old else (0, 0),
            created_at=old.created_at if old else now,
            changed_at=now,
        )

    async def change_policies(
        self, name: str, kind: PolicyChange, policies: Sequence[Mapping[str, Any]]
    ) -> StoredVault:
        """
        Add, replace or remove access policies, which `policies_of` has checked.

        Raises:
            NotFound: there is no such vault.
        """
        return await self.run(self._change_policies(name, kind, policies))

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

    def refusal(self, name: str, client_ip: str | None) -> str | None:
        """Why the network rules of a vault keep an address out; None if they do not. Raises NotFound."""
        return None if client_ip is None else network_of(self.found(name).properties).refusal("RESTAPI", client_ip)

    def tell(self) -> None:
        """A vault, or a secret, is another one now."""
        for told in self.on_change:
            told()

    # What of them is a vault's own way.

    def _missing(self, name: str) -> NotFound:
        return NotFound(f"There is no vault with the name {name} in this server.", "vault")

    def _id(self, one: StoredVault) -> str:
        return vault_id(one)

    def _patched(self, old: StoredVault, body: Mapping[str, Any]) -> StoredVault:
        if body.get("properties") is None:
            return old
        return replace(old, properties=merged(old.properties, body["properties"]))

    async def _change_policies(
        self, name: str, kind: PolicyChange, policies: Sequence[Mapping[str, Any]]
    ) -> StoredVault:
        old = self.found(name)
        changed = changed_policies(old.properties["accessPolicies"], kind, policies)
        properties = {**old.properties, "accessPolicies": changed}
        new = replace(old, properties=properties, changed_at=int(self._clock()))
        await self._keep(new)
        return new

    async def _keep(self, new: StoredVault) -> None:
        if len(msgspec.json.encode(new)) > _MOST_BYTES:
            raise BadRequest(f"The properties have more than {_MOST_BYTES} bytes.", "properties")
        await self._store.commit([vault_change(new)])
        self._remember(new)
        self.tell()

    async def _drop(self, one: StoredVault) -> None:
        key = one.name.lower()
        await self._store.commit([Change(VAULT, key, None), *self.kept.deletions(key)])
        del self._placed[key]
        self.kept.forget(key)
        await self.ports.close(self._listener(key))
        self.tell()
