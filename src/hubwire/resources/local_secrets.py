"""Secrets of the Key Vaults here, for calls that this server makes itself: by the same rules as for everybody else."""

from collections.abc import Callable

from hubwire.model.identities import ManagedIdentity
from hubwire.model.secret_references import parse_secret_uri
from hubwire.model.vaults import VaultCaller
from hubwire.resources.vault_access import SecretAccess

__all__ = ["LocalSecrets"]


class LocalSecrets:
    """
    A `SecretSource`.

    Args:
        vault_at: the vault here that a URL leads to; None if it leads elsewhere.
        tenant_id: the local tenant, whose principals the identities of resources are.
    """

    def __init__(self, access: SecretAccess, vault_at: Callable[[str], str | None], tenant_id: str) -> None:
        self._access = access
        self._vault_at = vault_at
        self._tenant_id = tenant_id

    def has(self, uri: str) -> bool:
        """Is it a vault here that a secret is in, be there such a secret or not."""
        return self._vault_at(parse_secret_uri(uri).vault_url) is not None

    async def secret(self, uri: str, identity: ManagedIdentity) -> str:
        """
        The value of a secret in a vault here.

        Raises:
            Forbidden, NotFound, Unavailable: see `SecretSource`.
        """
        found = parse_secret_uri(uri)
        vault = self._vault_at(found.vault_url) or ""
        who = VaultCaller(self._tenant_id, identity.principal_id)
        return (await self._access.get(vault, found.name, found.version, who)).value
