"""Which Key Vault a secret is in: one of this server, which is asked without a call, or another one."""

from typing import Protocol

from hubwire.model.identities import ManagedIdentity
from hubwire.model.ports import SecretSource

__all__ = ["LocalVaults", "SecretRouter"]


class LocalVaults(SecretSource, Protocol):
    """The vaults of this server."""

    def has(self, uri: str, /) -> bool:
        """Is it one of them that a secret is in."""


class SecretRouter:
    """
    A `SecretSource`.

    Args:
        here: asked first.
        elsewhere: asked for what is not there.
    """

    def __init__(self, here: LocalVaults, elsewhere: SecretSource) -> None:
        self._here = here
        self._elsewhere = elsewhere

    async def secret(self, uri: str, identity: ManagedIdentity) -> str:
        """Raises: see `SecretSource`."""
        source = self._here if self._here.has(uri) else self._elsewhere
        return await source.secret(uri, identity)
