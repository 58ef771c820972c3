"""Key Vaults on a store in memory, for the tests of whatever reads or changes them."""

import itertools
from typing import Any

from hubwire.auth.vault_cipher import VaultCipher
from hubwire.model.directory import Assignment
from hubwire.model.errors import Unavailable
from hubwire.model.vaults import VaultCaller
from hubwire.resources.catalog import Catalog
from hubwire.resources.documents import StoredGroup
from hubwire.resources.vault_access import SecretAccess
from hubwire.resources.vault_documents import StoredVault
from hubwire.resources.vaults import Vaults
from rest.issuing import MemoryStore

__all__ = ["GROUP", "NOBODY", "NOW", "READER", "SUBSCRIPTION", "TENANT", "KeyFile", "Vaulting", "policy"]

SUBSCRIPTION = "22222222-aaaa-4000-8000-000000000002"
TENANT = "11111111-aaaa-4000-8000-000000000001"
NOW = 1_800_000_000.0
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g"
READER = VaultCaller(TENANT, "44444444-aaaa-4000-8000-000000000004")
NOBODY = VaultCaller(TENANT, "55555555-aaaa-4000-8000-000000000005")


def policy(*words: str, who: VaultCaller = READER) -> dict[str, Any]:
    """An access policy."""
    return {"tenantId": who.tenant, "objectId": who.principal_id, "permissions": {"secrets": list(words)}}


class KeyFile:
    """
    Attributes:
        lost: nobody can read it.
    """

    def __init__(self) -> None:
        self.lost = False
        self.made = False

    def read(self) -> bytes:
        if self.lost or not self.made:
            raise Unavailable("The file vault.key is missing.")
        return b"k" * 32

    def make(self) -> bytes:
        self.made = True
        return self.read()


class Vaulting:
    """
    A server's vaults, which may be started again.

    Attributes:
        now: seconds since 1970.
        told: how often a change was told.
    """

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.key_file = KeyFile()
        self.now = NOW
        self.told = 0
        self.assigned: list[Assignment] = []
        self._numbers = itertools.count(1)
        self.catalog: Catalog
        self.vaults: Vaults
        self.access: SecretAccess

    async def start(self) -> "Vaulting":
        """Read what is stored."""
        clock = lambda: self.now  # noqa: E731
        self.catalog = await Catalog.load(self.store, subscription_id=SUBSCRIPTION, clock=clock)
        cipher = VaultCipher(self.key_file)
        self.vaults = await Vaults.load(
            self.store, cipher, self.catalog, TENANT, random_bytes=self._random, clock=clock
        )
        self.vaults.on_change.append(self._count)
        self.access = SecretAccess(self.vaults, self._roles, clock)
        if self.catalog.group(SUBSCRIPTION, "g") is None:
            await self.catalog.put_group(StoredGroup("g", SUBSCRIPTION))
        return self

    async def made(self, name: str = "vault-one", *policies: dict[str, Any], **properties: Any) -> StoredVault:
        """A vault."""
        body = {"location": "eastus", "properties": {"accessPolicies": list(policies), **properties}}
        vault, _ = await self.vaults.put(SUBSCRIPTION, "g", name, body)
        return vault

    def _random(self, count: int) -> bytes:
        return next(self._numbers).to_bytes(count)

    def _roles(self, tenant: str, principal_id: str) -> list[Assignment]:
        return [item for item in self.assigned if (item.tenant, item.principal_id) == (tenant, principal_id)]

    def _count(self) -> None:
        self.told += 1
