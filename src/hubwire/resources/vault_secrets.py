"""
Secrets of the Key Vaults here, in versions. Their values stay in the store, sealed, and are opened when somebody asks;
everything else about them is kept in memory.

Changes are for `Vaults` to put one after another.
"""

import time
from collections.abc import Callable
from typing import Final, Protocol

from msgspec.structs import replace

from hubwire.model.errors import BadRequest, Conflict, NotFound, StartFailed
from hubwire.model.ports import Change, Store
from hubwire.model.secret_references import is_secret_name
from hubwire.model.vaults import NewSecret, Secret, SecretVersion
from hubwire.resources.documents import stored, value_of
from hubwire.resources.vault_documents import SECRET, StoredSecret, secret_change, secret_key

__all__ = ["Cipher", "VaultSecrets"]

_MOST_VERSIONS: Final = 25
"""Of a secret, of which the oldest ones go."""
_MOST_SECRETS: Final = 1000
"""Of a vault."""


class Cipher(Protocol):
    """Seals values. See `hubwire.auth.vault_cipher`."""

    def seal(self, value: str, place: str, /, *, first: bool) -> str:
        """
        Args:
            place: what the value is of.
            first: nothing was sealed yet.

        Raises:
            Unavailable: the key cannot be had.
        """

    def open(self, sealed: str, place: str, /) -> str:
        """
        Raises:
            Unavailable: the key cannot be had or is another one, or the value is damaged.
        """


class VaultSecrets:
    """
    Names of vaults and secrets compare without case.

    Args:
        random_bytes: as many as asked for, unpredictable.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        cipher: Cipher,
        random_bytes: Callable[[int], bytes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._cipher = cipher
        self._random_bytes = random_bytes
        self._clock = clock
        self._versions: dict[tuple[str, str], list[tuple[int, SecretVersion]]] = {}

    async def read(self) -> None:
        """
        Read what is stored.

        Raises:
            StartFailed: it is damaged.
        """
        for document in await stored(self._store, SECRET):
            found = value_of(StoredSecret, document)
            vault, _, rest = document.key.partition("/")
            if rest != f"{found.properties.name}/{found.properties.version}".lower():
                raise StartFailed(f"the stored {document.kind} {document.key} is damaged")
            known = self._versions.setdefault((vault, found.properties.name.lower()), [])
            known.append((found.order, found.properties))
        for versions in self._versions.values():
            versions.sort(key=lambda version: version[0])

    def current(self, vault: str) -> list[SecretVersion]:
        """The newest version of each secret of a vault, by name."""
        wanted = vault.lower()
        return [versions[-1][1] for key, versions in sorted(self._versions.items()) if key[0] == wanted]

    def versions(self, vault: str, name: str) -> list[SecretVersion]:
        """
        All of a secret, the newest first.

        Raises:
            NotFound: there is no such secret.
        """
        return [version for _, version in reversed(self._known(vault, name))]

    def find(self, vault: str, name: str, version: str | None = None) -> SecretVersion:
        """
        One version, the newest if none is named.

        Raises:
            NotFound: there is no such secret, or no such version of it.
        """
        versions = self.versions(vault, name)
        if version is None:
            return versions[0]
        found = next((one for one in versions if one.version == version.lower()), None)
        if found is None:
            raise NotFound(f"The secret {name} of the vault {vault} has no version {version}.", "version")
        return found

    async def value(self, vault: str, secret: SecretVersion) -> Secret:
        """
        A version with its value.

        Raises:
            NotFound: it was deleted meanwhile.
            Unavailable: it cannot be opened.
        """
        key = secret_key(vault, secret.name, secret.version)
        document = await self._store.get(SECRET, key)
        if document is None:
            raise _missing(vault, secret.name)
        return Secret(secret, self._cipher.open(value_of(StoredSecret, document).sealed, key))

    async def set(self, vault: str, name: str, given: NewSecret) -> SecretVersion:
        """
        A new version, and a new secret if there is none of this name.

        Raises:
            BadRequest: an illegal name.
            Conflict: the vault has as many secrets as it may.
            Unavailable: the value cannot be sealed.
        """
        if not is_secret_name(name):
            raise BadRequest("The name of a secret is 1 to 127 letters, digits and hyphens.", "secret-name")
        known = self._versions.get((vault.lower(), name.lower()), [])
        if not known and len(self.current(vault)) >= _MOST_SECRETS:
            raise Conflict(f"A vault has {_MOST_SECRETS} secrets at most.", "quota")
        now = int(self._clock())
        made = SecretVersion(
            name=known[-1][1].name if known else name,
            version=self._random_bytes(16).hex(),
            created_at=now,
            updated_at=now,
            content_type=given.content_type,
            tags=dict(given.tags),
            enabled=given.enabled,
            not_before=given.not_before,
            expires=given.expires,
        )
        order = known[-1][0] + 1 if known else 1
        place = secret_key(vault, made.name, made.version)
        sealed = self._cipher.seal(given.value, place, first=not self._versions)
        gone = known[: max(0, len(known) + 1 - _MOST_VERSIONS)]
        changes = [secret_change(vault, StoredSecret(made, order, sealed)), *_deletions(vault, gone)]
        await self._store.commit(changes)
        self._versions[vault.lower(), name.lower()] = [*known[len(gone) :], (order, made)]
        return made

    async def update(self, vault: str, changed: SecretVersion) -> SecretVersion:
        """
        Keep other properties of a version, whose value stays.

        Raises:
            NotFound: there is no such version.
        """
        key = secret_key(vault, changed.name, changed.version)
        document = await self._store.get(SECRET, key)
        known = self._known(vault, changed.name)
        place = next((at for at, (_, one) in enumerate(known) if one.version == changed.version), None)
        if document is None or place is None:
            raise _missing(vault, changed.name)
        changed = replace(changed, updated_at=int(self._clock()))
        old = value_of(StoredSecret, document)
        await self._store.commit([secret_change(vault, replace(old, properties=changed))])
        known[place] = (known[place][0], changed)
        return changed

    async def delete(self, vault: str, name: str) -> SecretVersion:
        """
        Delete a secret with all its versions.

        Returns:
            what the newest one was.

        Raises:
            NotFound: there is no such secret.
        """
        known = self._known(vault, name)
        await self._store.commit(_deletions(vault, known))
        del self._versions[vault.lower(), name.lower()]
        return known[-1][1]

    def deletions(self, vault: str) -> list[Change]:
        """What deleting all secrets of a vault takes. `forget` once it is done."""
        found = [versions for key, versions in self._versions.items() if key[0] == vault.lower()]
        return [change for versions in found for change in _deletions(vault, versions)]

    def forget(self, vault: str) -> None:
        """The vault is gone, and all of its secrets with it."""
        for key in [key for key in self._versions if key[0] == vault.lower()]:
            del self._versions[key]

    def _known(self, vault: str, name: str) -> list[tuple[int, SecretVersion]]:
        known = self._versions.get((vault.lower(), name.lower()))
        if known is None:
            raise _missing(vault, name)
        return known


def _deletions(vault: str, versions: list[tuple[int, SecretVersion]]) -> list[Change]:
    return [Change(SECRET, secret_key(vault, one.name, one.version), None) for _, one in versions]


def _missing(vault: str, name: str) -> NotFound:
    return NotFound(f"A secret with the name {name} was not found in the vault {vault}.", "secret-name")
