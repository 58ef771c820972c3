"""
Key Vaults of the resource tree, as those see them who read and write their secrets. Values only.

Times are whole seconds since 1970.

Source: Key Vault's pages on secrets and on vault and object names; Microsoft.KeyVault/vaults, api-version 2023-07-01.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

__all__ = [
    "NewSecret",
    "Secret",
    "SecretPermission",
    "SecretVersion",
    "VaultCaller",
    "is_vault_name",
]

_VAULT: Final = re.compile(r"(?!.*--)[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]")

SecretPermission: TypeAlias = Literal["get", "list", "set", "delete"]
"""What can be done with secrets here."""


class VaultCaller(NamedTuple):
    """
    Attributes:
        tenant: whose principal it is.
        principal_id: object id.
    """

    tenant: str
    principal_id: str


class NewSecret(Struct, frozen=True):
    """
    Attributes:
        content_type: what the value is, in words for people.
        not_before, expires: the value is given out from then, and until then.
    """

    value: str
    content_type: str | None = None
    tags: Mapping[str, str] = {}
    enabled: bool = True
    not_before: int | None = None
    expires: int | None = None

    def __repr__(self) -> str:
        return "NewSecret(…)"


class SecretVersion(Struct, frozen=True):
    """
    A version of a secret, without its value.

    Attributes:
        name: in the spelling that it was first given.
        version: 32 hexadecimal digits.
    """

    name: str
    version: str
    created_at: int
    updated_at: int
    content_type: str | None = None
    tags: Mapping[str, str] = {}
    enabled: bool = True
    not_before: int | None = None
    expires: int | None = None


class Secret(Struct, frozen=True):
    """A version with its value."""

    properties: SecretVersion
    value: str

    def __repr__(self) -> str:
        return f"Secret({self.properties.name!r}, …)"


def is_vault_name(name: str) -> bool:
    """3 to 24 letters, digits and single hyphens, a letter first and no hyphen last. Names compare without case."""
    return _VAULT.fullmatch(name) is not None
