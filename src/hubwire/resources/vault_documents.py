"""
Key Vaults and their secrets: as they are stored, and as the resource manager shows them. A value of a secret is in none
of these but sealed. Pure.

Source: Microsoft.KeyVault/vaults and /vaults/secrets, api-version 2023-07-01.
"""

import copy
from typing import Any, Final

import msgspec
from msgspec import Struct

from hubwire.model.ports import Change
from hubwire.model.vaults import SecretVersion
from hubwire.resources.documents import PlacedResource
from hubwire.resources.resource_documents import group_id, system_data

__all__ = [
    "SECRET",
    "SECRET_TYPE",
    "VAULT",
    "VAULT_TYPE",
    "StoredSecret",
    "StoredVault",
    "policies_document",
    "secret_attributes",
    "secret_change",
    "secret_document",
    "secret_key",
    "vault_change",
    "vault_document",
    "vault_id",
]

VAULT: Final = "vault"
"""Kind of document, its key is the vault's name in lower case."""

SECRET: Final = "vaultSecret"  # noqa: S105  a kind of document
"""Kind of document, its key is "vault/secret/version", all in lower case."""

VAULT_TYPE: Final = "Microsoft.KeyVault/vaults"
SECRET_TYPE: Final = "Microsoft.KeyVault/vaults/secrets"  # noqa: S105  a resource type


class StoredVault(PlacedResource, frozen=True):
    """A Key Vault."""


class StoredSecret(Struct, frozen=True):
    """
    A version of a secret.

    Attributes:
        order: number of the version among those of its secret, the first is 1.
        sealed: its value.
    """

    properties: SecretVersion
    order: int
    sealed: str

    def __repr__(self) -> str:
        return f"StoredSecret({self.properties.name!r}, …)"


def vault_id(vault: StoredVault) -> str:
    """Its resource id."""
    return f"{group_id(vault.subscription, vault.group)}/providers/{VAULT_TYPE}/{vault.name}"


def vault_change(vault: StoredVault) -> Change:
    """Store a vault."""
    return Change(VAULT, vault.name.lower(), msgspec.to_builtins(vault))


def secret_key(vault: str, name: str, version: str) -> str:
    """Key of the document of a version, which also goes into the seal of its value."""
    return f"{vault}/{name}/{version}".lower()


def secret_change(vault: str, secret: StoredSecret) -> Change:
    """Store a version of a secret."""
    found = secret.properties
    return Change(SECRET, secret_key(vault, found.name, found.version), msgspec.to_builtins(secret))


def vault_document(vault: StoredVault, uri: str) -> dict[str, Any]:
    """
    A vault.

    Args:
        uri: where it is reached, with a slash at its end.
    """
    return {
        "id": vault_id(vault),
        "name": vault.name,
        "type": VAULT_TYPE,
        "location": vault.location,
        "tags": dict(vault.tags),
        "systemData": system_data(vault.created_at, vault.changed_at),
        "properties": {**copy.deepcopy(vault.properties), "vaultUri": uri, "provisioningState": "Succeeded"},
    }


def policies_document(vault: StoredVault, kind: str) -> dict[str, Any]:
    """
    The access policies of a vault, as the answer to a change of them.

    Args:
        kind: of the change, such as "add", which is the name of this resource.
    """
    return {
        "id": f"{vault_id(vault)}/accessPolicies/{kind}",
        "name": kind,
        "type": f"{VAULT_TYPE}/accessPolicies",
        "properties": {"accessPolicies": copy.deepcopy(vault.properties["accessPolicies"])},
    }


def secret_document(vault: StoredVault, uri: str, secret: SecretVersion) -> dict[str, Any]:
    """A secret, its present version, without its value. For `uri` see `vault_document`."""
    identifier = f"{uri}secrets/{secret.name}"
    properties: dict[str, Any] = {
        "attributes": secret_attributes(secret),
        "secretUri": identifier,
        "secretUriWithVersion": f"{identifier}/{secret.version}",
    }
    if secret.content_type is not None:
        properties["contentType"] = secret.content_type
    return {
        "id": f"{vault_id(vault)}/secrets/{secret.name}",
        "name": secret.name,
        "type": SECRET_TYPE,
        "location": vault.location,
        "tags": dict(secret.tags),
        "properties": properties,
    }


def secret_attributes(secret: SecretVersion) -> dict[str, Any]:
    """What both surfaces say of a version: whether and when its value is given out."""
    found: dict[str, Any] = {"enabled": secret.enabled}
    if secret.not_before is not None:
        found["nbf"] = secret.not_before
    if secret.expires is not None:
        found["exp"] = secret.expires
    return {**found, "created": secret.created_at, "updated": secret.updated_at}
