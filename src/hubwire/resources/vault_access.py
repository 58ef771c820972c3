"""
Secrets of the Key Vaults here, for whoever may: by access policies, or by roles where the vault has chosen these.

Source: Key Vault's pages on access policies, on its roles and on authentication, requests and responses.
"""

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from hubwire.model.directory import Assignment
from hubwire.model.errors import Forbidden, NotFound
from hubwire.model.roles import BUILT_IN, covers, may_with_secrets, role_with_id
from hubwire.model.vaults import NewSecret, Secret, SecretPermission, SecretVersion, VaultCaller
from hubwire.resources.vault_documents import StoredVault, vault_id
from hubwire.resources.vault_properties import permissions_of
from hubwire.resources.vaults import Vaults

__all__ = ["Roles", "SecretAccess"]

_VERBS: Final[Mapping[SecretPermission, str]] = {
    "get": "read",
    "list": "list",
    "set": "set",
    "delete": "delete",
}

Roles = Callable[[str, str], Sequence[Assignment]]
"""What is assigned to a principal of a tenant."""


class SecretAccess:
    """
    Who asks is a `VaultCaller`; None is the local operator or who manages the vault, whom nobody has to let in.

    Args:
        roles: what is assigned to principals.
        clock: seconds since 1970.
    """

    def __init__(self, vaults: Vaults, roles: Roles, clock: Callable[[], float] = time.time) -> None:
        self._vaults = vaults
        self._kept = vaults.kept
        self._roles = roles
        self._clock = clock

    async def get(self, vault: str, name: str, version: str | None, who: VaultCaller | None) -> Secret:
        """
        A secret, its newest version if none is named.

        Raises:
            Forbidden: the caller may not read secrets of this vault, or this version is not given out now; `target`
                says which.
            NotFound: there is no such vault, secret or version.
            Unavailable: the value cannot be opened.
        """
        found = self._allowed(vault, "get", who, name)
        properties = self._kept.find(found.name, name, version)
        self._check_given_out(properties)
        return await self._kept.value(found.name, properties)

    def all(self, vault: str, who: VaultCaller | None) -> list[SecretVersion]:
        """The newest version of each secret, by name. Raises Forbidden, NotFound."""
        return self._kept.current(self._allowed(vault, "list", who).name)

    def versions(self, vault: str, name: str, who: VaultCaller | None) -> list[SecretVersion]:
        """All versions of a secret, the newest first. Raises Forbidden, NotFound."""
        return self._kept.versions(self._allowed(vault, "list", who, name).name, name)

    async def set(self, vault: str, name: str, given: NewSecret, who: VaultCaller | None) -> SecretVersion:
        """
        A new version of a secret, of which the last 25 are kept.

        Raises:
            BadRequest: an illegal name.
            Forbidden, NotFound: as for `get`.
            Conflict: the vault is full.
            Unavailable: the value cannot be sealed.
        """

        async def change() -> SecretVersion:
            return await self._kept.set(self._allowed(vault, "set", who, name).name, name, given)

        return await self._changed(change())

    async def update(
        self, vault: str, name: str, version: str | None, changes: Mapping[str, Any], who: VaultCaller | None
    ) -> SecretVersion:
        """
        Change what is said of a version; its value stays.

        Args:
            changes: by names of `SecretVersion`.

        Raises: as `set`.
        """

        async def change() -> SecretVersion:
            found = self._allowed(vault, "set", who, name).name
            return await self._kept.update(found, replace(self._kept.find(found, name, version), **changes))

        return await self._changed(change())

    async def delete(self, vault: str, name: str, who: VaultCaller | None) -> SecretVersion:
        """Delete a secret with all its versions, for good. Raises Forbidden, NotFound."""

        async def change() -> SecretVersion:
            return await self._kept.delete(self._allowed(vault, "delete", who, name).name, name)

        return await self._changed(change())

    async def holds(self, vault: str, name: str, given: NewSecret) -> bool:
        """Is this what the newest version of a secret is already."""
        try:
            found = self._kept.find(vault, name)
        except NotFound:
            return False
        known = await self._kept.value(vault, found)
        fields = ("content_type", "enabled", "not_before", "expires")
        return (
            known.value == given.value
            and dict(found.tags) == dict(given.tags)
            and all(getattr(found, field) == getattr(given, field) for field in fields)
        )

    def permits(self, vault: StoredVault, permission: SecretPermission, who: VaultCaller, name: str = "") -> bool:
        """
        May somebody do something with the secrets of a vault.

        Args:
            name: of the secret; empty for all of them.
        """
        if vault.properties["enableRbacAuthorization"]:
            scope = f"{vault_id(vault)}/secrets/{name}" if name else vault_id(vault)
            return any(
                (role := role_with_id(item.role_id)) is not None
                and may_with_secrets(role, permission)
                and covers(item.scope, scope)
                for item in self._roles(*who)
            )
        found = permissions_of(vault.properties["accessPolicies"], *who)
        return permission in found or "all" in found

    def _allowed(
        self, vault: str, permission: SecretPermission, who: VaultCaller | None, name: str = ""
    ) -> StoredVault:
        found = self._vaults.found(vault)
        if who is not None and not self.permits(found, permission, who, name):
            raise Forbidden(self._grant(found, permission, who), "AccessDenied")
        return found

    def _grant(self, vault: StoredVault, permission: SecretPermission, who: VaultCaller) -> str:
        """Why somebody is refused, and how to let them."""
        text = f"The principal {who.principal_id} may not {_VERBS[permission]} secrets of the vault {vault.name}."
        tenant = "" if who.tenant == self._vaults.tenant_id else f" --tenant {who.tenant}"
        if vault.properties["enableRbacAuthorization"]:
            role = next(role for role in BUILT_IN if may_with_secrets(role, permission))
            assign = f"hubwire app assign --principal {who.principal_id}{tenant} --role {role.short}"
            return f"{text} It takes the role '{role.name}': {assign} --scope {vault_id(vault)}"
        command = f"hubwire vault grant {vault.name} {who.principal_id} --permission {permission}{tenant}"
        return f"{text} To let it: {command} (or an access policy with permissions.secrets: ['{permission}'])."

    async def _changed(self, change: Coroutine[Any, Any, SecretVersion]) -> SecretVersion:
        changed = await self._vaults.run(change)
        self._vaults.tell()
        return changed

    def _check_given_out(self, secret: SecretVersion) -> None:
        now = self._clock()
        if not secret.enabled:
            raise Forbidden(f"The secret {secret.name} is disabled.", "SecretDisabled")
        if secret.not_before is not None and now < secret.not_before:
            raise Forbidden(f"The secret {secret.name} is not valid yet.", "SecretNotYetValid")
        if secret.expires is not None and now >= secret.expires:
            raise Forbidden(f"The secret {secret.name} has expired.", "SecretExpired")
