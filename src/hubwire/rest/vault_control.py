"""
What the local operator may do with secrets of Key Vaults, over the control socket only. For vaults and their access
policies there is the resource manager, which tells only of one subscription at a time which vaults there are.

The answer to one row holds a value.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from hubwire.model.errors import BadRequest
from hubwire.model.vaults import SecretVersion
from hubwire.resources.vault_access import SecretAccess
from hubwire.resources.vault_documents import StoredVault, secret_attributes
from hubwire.resources.vault_properties import given_secret
from hubwire.resources.vaults import Vaults
from hubwire.rest.bodies import json_reply
from hubwire.rest.call import Call
from hubwire.rest.operation import Handler, Operation, Reply

__all__ = ["VaultControl"]

_VAULTS: Final = "/control/vaults"
_SECRETS: Final = _VAULTS + "/{vault}/secrets"
_ONE: Final = _SECRETS + "/{name}"


class VaultControl:
    """
    The handlers.

    Args:
        uri: where a vault is reached.
    """

    def __init__(self, vaults: Vaults, access: SecretAccess, uri: Callable[[StoredVault], str]) -> None:
        self._vaults = vaults
        self._access = access
        self._uri = uri

    def operations(self) -> tuple[Operation, ...]:
        """The table."""

        def row(method: str, path: str, name: str, handler: Handler, *statuses: int) -> Operation:
            return Operation(method, path, name, handler, statuses, surface="operator")

        return (
            row("GET", _VAULTS, "ListVaults", self._list_vaults, 200),
            row("GET", _SECRETS, "ListVaultSecrets", self._list, 200, 404),
            row("GET", _ONE, "GetVaultSecret", self._get, 200, 404),
            row("POST", _ONE + "/:value", "ShowVaultSecret", self._value, 200, 403, 404),
            row("PUT", _ONE, "SetVaultSecret", self._set, 200, 400, 404, 409),
            row("DELETE", _ONE, "DeleteVaultSecret", self._delete, 204, 404),
        )

    async def _list_vaults(self, call: Call) -> Reply:  # noqa: ARG002  handlers look alike
        found = [{"name": vault.name, "vaultUri": self._uri(vault)} for vault in self._vaults.all()]
        return json_reply({"value": found})

    async def _list(self, call: Call) -> Reply:
        found = self._access.all(call.names["vault"], None)
        return json_reply({"value": [_shown(secret) for secret in found]})

    async def _get(self, call: Call) -> Reply:
        versions = self._access.versions(call.names["vault"], call.names["name"], None)
        return json_reply({**_shown(versions[0]), "versions": [version.version for version in versions]})

    async def _value(self, call: Call) -> Reply:
        found = await self._access.get(call.names["vault"], call.names["name"], None, None)
        return json_reply({**_shown(found.properties), "value": found.value})

    async def _set(self, call: Call) -> Reply:
        try:
            body = msgspec.json.decode(await call.body(), type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise BadRequest("The body must be a JSON object.", "body") from None
        given = given_secret("secret", body, None)
        if given is None:
            raise BadRequest("The value of the secret is required.", "secret.value")
        made = await self._access.set(call.names["vault"], call.names["name"], given, None)
        return json_reply(_shown(made))

    async def _delete(self, call: Call) -> Reply:
        await self._access.delete(call.names["vault"], call.names["name"], None)
        return Reply()


def _shown(secret: SecretVersion) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": secret.name, "version": secret.version, "attributes": secret_attributes(secret)}
    return shown if secret.content_type is None else {**shown, "contentType": secret.content_type}
