"""
The data plane of Key Vaults, as far as it is about secrets: get, set, change, list and delete.

What is deleted is gone, so that there is nothing to recover or to purge. All api-versions are taken alike.

Source: Key Vault's REST definition of secrets, api-versions 7.0 to 2025-07-01; what the official clients send.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from hubwire.model.errors import BadRequest
from hubwire.model.listeners import owner_of
from hubwire.model.vaults import SecretVersion, VaultCaller
from hubwire.resources.vault_access import SecretAccess
from hubwire.resources.vault_documents import secret_attributes
from hubwire.resources.vault_properties import given_changes, given_secret
from hubwire.rest.bodies import json_reply
from hubwire.rest.call import Call
from hubwire.rest.operation import Handler, Operation, Reply
from hubwire.rest.ports import VaultDoor
from hubwire.rest.vault_faults import NotOffered

__all__ = ["SecretTable"]

_SECRETS: Final = "/secrets"
_ONE: Final = _SECRETS + "/{name}"
_VERSION: Final = _ONE + "/{version}"
_DELETED: Final = "/deletedsecrets"
_API_VERSION: Final = re.compile(r"7\.[0-9](?:[._-]preview(?:\.[0-9])?)?|20[0-9]{2}-[0-9]{2}-[0-9]{2}(?:-preview)?")
_MOST_ITEMS: Final = 25
_NOT_KEPT: Final = (("cache-control", "no-store"),)
_GONE: Final = {"recoveryLevel": "Purgeable", "recoverableDays": 0}


class SecretTable:
    """
    The handlers.

    Args:
        door: under which address a vault was asked.
    """

    def __init__(self, access: SecretAccess, door: VaultDoor) -> None:
        self._access = access
        self._door = door

    def operations(self) -> tuple[Operation, ...]:
        """The table."""
        return (
            _row("GET", _SECRETS, "GetSecrets", self._list, 200, 403, 404),
            _row("GET", _ONE, "GetSecret", self._get, 200, 403, 404),
            _row("GET", _VERSION, "GetSecretVersion", self._get, 200, 403, 404),
            _row("GET", _ONE + "/versions", "GetSecretVersions", self._list_versions, 200, 403, 404),
            _row("PUT", _ONE, "SetSecret", self._set, 200, 400, 403, 404, 409),
            _row("PATCH", _ONE, "UpdateSecret", self._update, 200, 400, 403, 404),
            _row("PATCH", _VERSION, "UpdateSecretVersion", self._update, 200, 400, 403, 404),
            _row("DELETE", _ONE, "DeleteSecret", self._delete, 200, 403, 404),
            *self._missing(),
        )

    def _missing(self) -> list[Operation]:
        """What is answered that it is not there."""

        async def recovery(call: Call) -> Reply:  # noqa: ARG001  handlers look alike
            raise NotOffered("Deleted secrets are gone in this server: there is nothing to recover or to purge.")

        async def backup(call: Call) -> Reply:  # noqa: ARG001
            raise NotOffered("Backup and restore of single secrets are not available in this server.")

        async def others(call: Call) -> Reply:  # noqa: ARG001
            raise NotOffered("Keys and certificates are not available in this server; it has secrets only.")

        return [
            _row("GET", _DELETED, "GetDeletedSecrets", recovery, 501),
            _row("GET", _DELETED + "/{name}", "GetDeletedSecret", recovery, 501),
            _row("DELETE", _DELETED + "/{name}", "PurgeDeletedSecret", recovery, 501),
            _row("POST", _DELETED + "/{name}/recover", "RecoverDeletedSecret", recovery, 501),
            _row("POST", _ONE + "/backup", "BackupSecret", backup, 501),
            _row("POST", _SECRETS + "/restore", "RestoreSecret", backup, 501),
            _row("GET", "/keys", "GetKeys", others, 501),
            _row("GET", "/certificates", "GetCertificates", others, 501),
        ]

    async def _get(self, call: Call) -> Reply:
        _check_version(call)
        found = await self._access.get(_vault(call), call.names["name"], call.names.get("version"), _who(call))
        return json_reply({"value": found.value, **self._shown(call, found.properties)}, _NOT_KEPT)

    async def _set(self, call: Call) -> Reply:
        _check_version(call)
        body, tags = await _body(call)
        given = given_secret("body", body, tags)
        if given is None:
            raise BadRequest("The value of the secret is required.", "body.value")
        made = await self._access.set(_vault(call), call.names["name"], given, _who(call))
        return json_reply({"value": given.value, **self._shown(call, made)}, _NOT_KEPT)

    async def _update(self, call: Call) -> Reply:
        _check_version(call)
        body, tags = await _body(call)
        changes = given_changes("body", body, tags)
        changed = await self._access.update(
            _vault(call), call.names["name"], call.names.get("version"), changes, _who(call)
        )
        return json_reply(self._shown(call, changed))

    async def _delete(self, call: Call) -> Reply:
        """Without a recovery id, which tells clients that it is done already."""
        _check_version(call)
        gone = await self._access.delete(_vault(call), call.names["name"], _who(call))
        return json_reply(self._shown(call, gone))

    async def _list(self, call: Call) -> Reply:
        _check_version(call)
        return self._page(call, self._access.all(_vault(call), _who(call)), _SECRETS, versioned=False)

    async def _list_versions(self, call: Call) -> Reply:
        _check_version(call)
        name = call.names["name"]
        found = self._access.versions(_vault(call), name, _who(call))
        return self._page(call, found, f"{_SECRETS}/{found[0].name}/versions", versioned=True)

    def _page(self, call: Call, found: Sequence[SecretVersion], path: str, *, versioned: bool) -> Reply:
        """A part of a list, and where it goes on. A list that has changed meanwhile may repeat or leave out one."""
        count = call.query.number("maxresults", 1, _MOST_ITEMS) or _MOST_ITEMS
        first = call.query.number("$skiptoken", 0, 1_000_000) or 0
        items = [self._shown(call, one, versioned=versioned) for one in found[first : first + count]]
        link = None
        if first + count < len(found):
            version = call.query.first("api-version")
            query = urlencode({"api-version": version, "$skiptoken": first + count, "maxresults": count})
            link = f"{self._door.base(call.caller)}{path}?{query}"
        return json_reply({"value": items, "nextLink": link})

    def _shown(self, call: Call, secret: SecretVersion, *, versioned: bool = True) -> dict[str, Any]:
        identifier = f"{self._door.base(call.caller)}{_SECRETS}/{secret.name}"
        shown: dict[str, Any] = {
            "id": f"{identifier}/{secret.version}" if versioned else identifier,
            "attributes": {**secret_attributes(secret), **_GONE},
            "tags": dict(secret.tags),
        }
        return shown if secret.content_type is None else {**shown, "contentType": secret.content_type}


def _row(method: str, path: str, name: str, handler: Handler, *statuses: int) -> Operation:
    return Operation(method, path, name, handler, statuses, surface="vault")


def _vault(call: Call) -> str:
    return owner_of(call.caller.resource)


def _who(call: Call) -> VaultCaller:
    who: VaultCaller = call.bearer
    return who


def _check_version(call: Call) -> None:
    """
    Raises:
        BadRequest: it is missing or unknown.
    """
    version = call.query.one("api-version")
    if version is None:
        raise BadRequest("The parameter api-version must be specified.", "api-version")
    if _API_VERSION.fullmatch(version) is None:
        raise BadRequest("The api-version is none of Key Vault, such as 7.4 or 2025-07-01.", "api-version")


async def _body(call: Call) -> tuple[Mapping[str, Any], object]:
    """The document of a request, and the tags in it."""
    try:
        document = msgspec.json.decode(await call.body(), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # Not even the decoder's words: they might quote a part of a value.
        raise BadRequest("The body must be a JSON object.", "body") from None
    return {name: value for name, value in document.items() if name != "tags"}, document.get("tags")
