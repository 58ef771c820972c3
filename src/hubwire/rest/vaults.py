"""
The resource manager's table for Microsoft.KeyVault: vaults, their access policies, and secrets without their values.

Every change is carried out before it is answered. Names, statuses and bodies are those of api-version 2023-07-01.
"""

from collections.abc import Callable, Collection
from typing import Any, Final

from hubwire.model.errors import BadRequest
from hubwire.model.vaults import SecretVersion, is_vault_name
from hubwire.resources.shapes import text
from hubwire.resources.vault_access import SecretAccess
from hubwire.resources.vault_deployables import POLICY_CHANGES
from hubwire.resources.vault_documents import (
    SECRET_TYPE,
    VAULT_TYPE,
    StoredVault,
    policies_document,
    secret_document,
    vault_document,
)
from hubwire.resources.vault_properties import given_changes, given_secret, ignored, policies_of
from hubwire.resources.vaults import Vaults
from hubwire.rest.call import Call
from hubwire.rest.management_calls import (
    document_reply,
    group_of,
    list_reply,
    read_document,
    subscription_of,
    version_of,
    warning_headers,
)
from hubwire.rest.management_faults import ManagementFault, not_available
from hubwire.rest.operation import Handler, Operation, Reply
from hubwire.rest.ports import Managers

__all__ = ["VaultTable"]

_SUBSCRIPTION: Final = "/subscriptions/{subscription}"
_PROVIDER: Final = "/providers/Microsoft.KeyVault"
_ALL: Final = _SUBSCRIPTION + "/resourceGroups/{group}" + _PROVIDER + "/vaults"
_ONE: Final = _ALL + "/{name}"
_SECRET: Final = _ONE + "/secrets/{secret}"
_READ: Final = f"{VAULT_TYPE}/read"


class VaultTable:
    """
    The handlers.

    Args:
        uri: where a vault is reached.
        tenants: whose tokens are taken, in lower case.
        managers: who sees which.
    """

    def __init__(
        self,
        vaults: Vaults,
        access: SecretAccess,
        uri: Callable[[StoredVault], str],
        tenants: Collection[str],
        managers: Managers,
    ) -> None:
        self._vaults = vaults
        self._access = access
        self._uri = uri
        self._tenants = tenants
        self._managers = managers

    def operations(self) -> tuple[Operation, ...]:
        """The table."""
        everywhere = _SUBSCRIPTION + _PROVIDER
        return (
            Operation("GET", f"{everywhere}/vaults", "Vaults_List", self._list, (200,), surface="management"),
            _row("GET", _ALL, "Vaults_ListByResourceGroup", self._list_in_group, (200,), _READ),
            _row("GET", _ONE, "Vaults_Get", self._get, (200, 404), _READ),
            _row("PUT", _ONE, "Vaults_CreateOrUpdate", self._put, (200, 201, 400, 409), f"{VAULT_TYPE}/write"),
            _row("PATCH", _ONE, "Vaults_Update", self._patch, (200, 400, 404), f"{VAULT_TYPE}/write"),
            _row("DELETE", _ONE, "Vaults_Delete", self._delete, (200, 204), f"{VAULT_TYPE}/delete"),
            _row(
                "PUT",
                _ONE + "/accessPolicies/{operation}",
                "Vaults_UpdateAccessPolicy",
                self._change_policies,
                (200, 400, 404),
                f"{VAULT_TYPE}/accessPolicies/write",
            ),
            _row("GET", _ONE + "/secrets", "Secrets_List", self._list_secrets, (200, 404), f"{SECRET_TYPE}/read"),
            _row("GET", _SECRET, "Secrets_Get", self._get_secret, (200, 404), f"{SECRET_TYPE}/read"),
            _row(
                "PUT", _SECRET, "Secrets_CreateOrUpdate", self._put_secret, (200, 201, 400, 404), f"{SECRET_TYPE}/write"
            ),
            _row("PATCH", _SECRET, "Secrets_Update", self._patch_secret, (200, 400, 404), f"{SECRET_TYPE}/write"),
            _row(
                "POST",
                f"{everywhere}/checkNameAvailability",
                "Vaults_CheckNameAvailability",
                self._check_name,
                (200, 400),
                "Microsoft.KeyVault/checkNameAvailability/read",
            ),
            _row(
                "GET",
                f"{everywhere}/deletedVaults",
                "Vaults_ListDeleted",
                self._none,
                (200,),
                "Microsoft.KeyVault/deletedVaults/read",
            ),
            _row("GET", _ONE + "/keys", "VaultKeys_List", self._no_keys, (501,), f"{VAULT_TYPE}/keys/read"),
            _row("GET", _ONE + "/keys/{key}", "VaultKeys_Get", self._no_keys, (501,), f"{VAULT_TYPE}/keys/read"),
            _row("PUT", _ONE + "/keys/{key}", "VaultKeys_Create", self._no_keys, (501,), f"{VAULT_TYPE}/keys/write"),
        )

    # Vaults.

    def _found(self, call: Call) -> StoredVault:
        version_of(call)
        return self._vaults.find(subscription_of(call), group_of(call), call.names["name"])

    def _shown(self, vault: StoredVault) -> dict[str, Any]:
        return vault_document(vault, self._uri(vault))

    def _answer(self, vault: StoredVault, status: int) -> Reply:
        told = [*ignored(vault.properties), *self._vaults.warnings(vault, self._tenants)]
        return document_reply(self._shown(vault), status, warning_headers(told))

    async def _list(self, call: Call) -> Reply:
        version_of(call)
        shown = [self._shown(vault) for vault in self._vaults.all(subscription_of(call))]
        may = self._managers.may
        return list_reply([one for one in shown if call.bearer is None or may(call.bearer, _READ, one["id"])])

    async def _list_in_group(self, call: Call) -> Reply:
        version_of(call)
        return list_reply([self._shown(vault) for vault in self._vaults.all(subscription_of(call), group_of(call))])

    async def _get(self, call: Call) -> Reply:
        return document_reply(self._shown(self._found(call)))

    async def _put(self, call: Call) -> Reply:
        version_of(call)
        where = (subscription_of(call), group_of(call), call.names["name"])
        vault, is_new = await self._vaults.put(*where, await read_document(call))
        return self._answer(vault, 201 if is_new else 200)

    async def _patch(self, call: Call) -> Reply:
        old = self._found(call)
        body = await read_document(call)
        return self._answer(await self._vaults.patch(old.subscription, old.group, old.name, body), 200)

    async def _delete(self, call: Call) -> Reply:
        version_of(call)
        done = await self._vaults.delete(subscription_of(call), group_of(call), call.names["name"])
        return Reply(status=200 if done else 204)

    async def _change_policies(self, call: Call) -> Reply:
        vault, kind = self._found(call), POLICY_CHANGES.get(call.names["operation"].lower())
        if kind is None:
            raise BadRequest("Access policies are changed by add, replace or remove.", "operationKind")
        given = policies_of((await read_document(call)).get("properties"))
        changed = await self._vaults.change_policies(vault.name, kind, given)
        return document_reply(policies_document(changed, kind))

    # Secrets, without their values.

    def _secret(self, call: Call) -> tuple[StoredVault, SecretVersion]:
        vault = self._found(call)
        return vault, self._vaults.kept.find(vault.name, call.names["secret"])

    def _shown_secret(self, vault: StoredVault, secret: SecretVersion) -> dict[str, Any]:
        return secret_document(vault, self._uri(vault), secret)

    async def _list_secrets(self, call: Call) -> Reply:
        vault = self._found(call)
        return list_reply([self._shown_secret(vault, secret) for secret in self._access.all(vault.name, None)])

    async def _get_secret(self, call: Call) -> Reply:
        return document_reply(self._shown_secret(*self._secret(call)))

    async def _put_secret(self, call: Call) -> Reply:
        vault, name = self._found(call), call.names["secret"]
        body = await read_document(call)
        given = given_secret("properties", body.get("properties"), body.get("tags"))
        if given is None:
            raise BadRequest("properties.value is required.", "properties.value")
        is_new = all(known.name.lower() != name.lower() for known in self._access.all(vault.name, None))
        made = await self._access.set(vault.name, name, given, None)
        return document_reply(self._shown_secret(vault, made), 201 if is_new else 200)

    async def _patch_secret(self, call: Call) -> Reply:
        vault, old = self._secret(call)
        body = await read_document(call)
        properties = body.get("properties") or {}
        given = given_secret("properties", properties, body.get("tags"))
        if given is not None:
            changed = await self._access.set(vault.name, old.name, given, None)
        else:
            changes = given_changes("properties", properties, body.get("tags"))
            changed = await self._access.update(vault.name, old.name, None, changes, None)
        return document_reply(self._shown_secret(vault, changed))

    # What is said about a place.

    async def _check_name(self, call: Call) -> Reply:
        version_of(call)
        subscription_of(call)
        body = await read_document(call)
        name, kind = text("name", body.get("name")), body.get("type")
        if not isinstance(kind, str) or kind.lower() != VAULT_TYPE.lower():
            raise ManagementFault(400, "InvalidParameter", f"type must be {VAULT_TYPE}.", "type")
        if not is_vault_name(name):
            rule = "A name has 3 to 24 letters, digits and hyphens, begins with a letter and ends with no hyphen."
            return document_reply({"nameAvailable": False, "reason": "AccountNameInvalid", "message": rule})
        if self._vaults.named(name) is not None:
            taken = f"There is a vault with the name {name} already."
            return document_reply({"nameAvailable": False, "reason": "AlreadyExists", "message": taken})
        return document_reply({"nameAvailable": True})

    async def _none(self, call: Call) -> Reply:
        """What is deleted is gone."""
        version_of(call)
        return list_reply([])

    async def _no_keys(self, call: Call) -> Reply:
        self._found(call)
        raise not_available("A key in a Key Vault")


def _row(method: str, path: str, name: str, handler: Handler, statuses: tuple[int, ...], action: str) -> Operation:
    return Operation(method, path, name, handler, statuses, surface="management", action=action)
