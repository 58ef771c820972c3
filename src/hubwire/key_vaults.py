"""
Wiring of Key Vaults: those of this server, with their tables and their doors, and those elsewhere.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hubwire.adapters.vault_key import VaultKeyFile
from hubwire.auth.issuer import Issuer
from hubwire.auth.vault_callers import VaultCallers
from hubwire.auth.vault_cipher import VaultCipher
from hubwire.model.errors import Forbidden
from hubwire.model.listeners import owner_of
from hubwire.model.ports import SecretSource, Store
from hubwire.model.vaults import VaultCaller
from hubwire.resources.catalog import Catalog
from hubwire.resources.directory import Directory
from hubwire.resources.local_secrets import LocalSecrets
from hubwire.resources.vault_access import SecretAccess
from hubwire.resources.vault_deployables import VaultTypes
from hubwire.resources.vaults import Vaults
from hubwire.rest.call import Caller
from hubwire.rest.operation import Operation
from hubwire.rest.ports import Managers
from hubwire.rest.secrets import SecretTable
from hubwire.rest.vault_control import VaultControl
from hubwire.rest.vaults import VaultTable
from hubwire.settings import Settings
from hubwire.upstream.secret_router import SecretRouter
from hubwire.vault_hosts import VaultHosts

__all__ = ["KeyVaults", "VaultEntrance", "load_vaults"]

_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENTRA: Final = "https://login.microsoftonline.com"
_OLD_ISSUER: Final = "sts.windows.net"


async def load_vaults(folder: Path, store: Store, catalog: Catalog, directory: Directory) -> Vaults:
    """
    The stored vaults.

    Args:
        folder: where the key of their secrets is.

    Raises:
        StartFailed: what is stored is damaged.
    """
    return await Vaults.load(store, VaultCipher(VaultKeyFile(folder)), catalog, directory.tenant.tenant_id)


class KeyVaults:
    """
    The vaults of a server.

    Args:
        main: URLs under which the main ports are reached; none while no server runs.

    Attributes:
        hosts: under which they are reached.
        types: their resource types in templates.
        local: their secrets, for calls that this server makes itself.
    """

    def __init__(self, settings: Settings, vaults: Vaults, directory: Directory, main: Sequence[str] = ()) -> None:
        self.vaults = vaults
        self.hosts = VaultHosts(vaults, main)
        self._access = SecretAccess(vaults, directory.roles_of)
        trusted = {tenant: issuer for issuer in settings.trusted_issuers for tenant in _tenants(issuer)}
        own = {vaults.tenant_id} if settings.local_issuer else set()
        self._tenants = frozenset(own | trusted.keys())
        self.types = VaultTypes(vaults, self._access, self.hosts.uri, self._tenants)
        self.local = LocalSecrets(self._access, self.hosts.vault_at, vaults.tenant_id)

    def operations(self, managers: Managers, entrance: "VaultEntrance") -> tuple[Operation, ...]:
        """All rows that have to do with vaults."""
        managing = VaultTable(self.vaults, self._access, self.hosts.uri, self._tenants, managers)
        return (
            *managing.operations(),
            *SecretTable(self._access, entrance).operations(),
            *VaultControl(self.vaults, self._access, self.hosts.uri).operations(),
        )

    def secrets(self, elsewhere: SecretSource) -> SecretRouter:
        """
        Secrets of these vaults, by the rules that hold for everybody, and of others.

        Args:
            elsewhere: asked for what is in no vault here.
        """
        return SecretRouter(self.local, elsewhere)


class VaultEntrance:
    """
    Who calls a vault, and what it says to whoever has no token; a `VaultDoor`.

    Args:
        issuer: the local one.
    """

    def __init__(
        self, settings: Settings, vaults: Vaults, hosts: VaultHosts, issuer: Issuer, callers: VaultCallers
    ) -> None:
        self._vaults = vaults
        self._hosts = hosts
        self._callers = callers
        self._authorities: dict[str, str] = {}
        for trusted in settings.trusted_issuers:
            for tenant in _tenants(trusted):
                self._authorities.setdefault(tenant, _authority(trusted, tenant))
        if settings.local_issuer:
            self._authorities[issuer.tenant_id] = f"{issuer.base_url}/{issuer.tenant_id}"
        self._usual = self._authorities.get(issuer.tenant_id) or next(
            iter(self._authorities.values()), f"{issuer.base_url}/{issuer.tenant_id}"
        )

    async def caller(self, asked: Caller, authorization: str | None) -> VaultCaller:
        """Raises: see `VaultDoor`."""
        refusal = self._vaults.refusal(owner_of(asked.resource), asked.client_ip)
        if refusal is not None:
            raise Forbidden(refusal, "ForbiddenByFirewall")
        return await self._callers.caller(authorization, (self._hosts.resource(asked),), asked.client_ip)

    def challenge(self, asked: Caller) -> str:
        """Names the tenant of the vault, where its tokens are taken: clients that know another one refuse."""
        vault = self._vaults.named(owner_of(asked.resource))
        tenant = "" if vault is None else vault.properties["tenantId"].lower()
        authority = self._authorities.get(tenant, self._usual)
        return f'Bearer authorization="{authority}", resource="{self._hosts.resource(asked)}"'

    def base(self, asked: Caller) -> str:
        """See `VaultDoor`."""
        return self._hosts.base(asked)


def _tenants(issuer: str) -> list[str]:
    """The tenant that an issuer's URL names, if it names one."""
    return [part for part in urlsplit(issuer.lower()).path.split("/") if _GUID.fullmatch(part)][:1]


def _authority(issuer: str, tenant: str) -> str:
    """Where tokens of a trusted issuer are to be had, as a challenge says it."""
    url = urlsplit(issuer)
    return f"{_ENTRA}/{tenant}" if url.netloc == _OLD_ISSUER else f"{url.scheme}://{url.netloc}/{tenant}"
