"""
The resource manager's table for Microsoft.ManagedIdentity: user-assigned identities.

Source: Microsoft.ManagedIdentity/userAssignedIdentities, api-versions 2018-11-30 to 2024-11-30; the list of resources
that use one, of 2022-01-31-preview.
"""

from typing import Any, Final

from hubwire.model.directory import Application
from hubwire.resources.documents import StoredResource
from hubwire.resources.identities import IDENTITY_TYPE, UserIdentities
from hubwire.resources.resource_documents import TYPE, resource_id
from hubwire.rest.call import Call
from hubwire.rest.management_calls import (
    document_reply,
    group_of,
    list_reply,
    read_document,
    subscription_of,
    version_of,
)
from hubwire.rest.operation import Handler, Operation, Reply
from hubwire.rest.ports import Managers

__all__ = ["IdentityTable"]

_SUBSCRIPTION: Final = "/subscriptions/{subscription}"
_KIND: Final = f"/providers/{IDENTITY_TYPE}"
_ALL: Final = _SUBSCRIPTION + "/resourceGroups/{group}" + _KIND
_ONE: Final = _ALL + "/{name}"


class IdentityTable:
    """
    The handlers.

    Args:
        managers: who sees which.
    """

    def __init__(self, identities: UserIdentities, managers: Managers) -> None:
        self._identities = identities
        self._managers = managers

    def operations(self) -> tuple[Operation, ...]:
        """The table."""
        name = "UserAssignedIdentities_"
        return (
            Operation(
                "GET", _SUBSCRIPTION + _KIND, f"{name}ListBySubscription", self._list, (200,), surface="management"
            ),
            _row("GET", _ALL, f"{name}ListByResourceGroup", self._list_in_group, (200,), "read"),
            _row("GET", _ONE, f"{name}Get", self._get, (200, 404), "read"),
            _row("HEAD", _ONE, f"{name}Exists", self._head, (204, 404), "read"),
            _row("PUT", _ONE, f"{name}CreateOrUpdate", self._put, (200, 201, 400, 409), "write"),
            _row("PATCH", _ONE, f"{name}Update", self._patch, (200, 400, 404, 409), "write"),
            _row("DELETE", _ONE, f"{name}Delete", self._delete, (200, 204, 409), "delete"),
            _row(
                "POST",
                _ONE + "/listAssociatedResources",
                f"{name}ListAssociatedResources",
                self._list_users,
                (200, 404),
                "listAssociatedResources/action",
            ),
        )

    async def _list(self, call: Call) -> Reply:
        version_of(call)
        shown = self._identities.documents(subscription_of(call))
        may, action = self._managers.may, f"{IDENTITY_TYPE}/read"
        return list_reply([one for one in shown if call.bearer is None or may(call.bearer, action, one["id"])])

    async def _list_in_group(self, call: Call) -> Reply:
        version_of(call)
        return list_reply(self._identities.documents(subscription_of(call), group_of(call)))

    def _found(self, call: Call) -> Application:
        version_of(call)
        return self._identities.find(subscription_of(call), group_of(call), call.names["name"])

    async def _get(self, call: Call) -> Reply:
        return document_reply(self._identities.document(self._found(call)))

    async def _head(self, call: Call) -> Reply:
        self._found(call)
        return Reply()

    async def _put(self, call: Call) -> Reply:
        version_of(call)
        where = (subscription_of(call), group_of(call), call.names["name"])
        app, is_new = await self._identities.put(*where, await read_document(call))
        return document_reply(self._identities.document(app), 201 if is_new else 200)

    async def _patch(self, call: Call) -> Reply:
        self._found(call)
        where = (subscription_of(call), group_of(call), call.names["name"])
        return document_reply(
            self._identities.document(await self._identities.patch(*where, await read_document(call)))
        )

    async def _delete(self, call: Call) -> Reply:
        version_of(call)
        done = await self._identities.delete(subscription_of(call), group_of(call), call.names["name"])
        return Reply(status=200 if done else 204)

    async def _list_users(self, call: Call) -> Reply:
        users = [_associated(user) for user in self._identities.users_of(self._found(call))]
        return document_reply({"totalCount": len(users), "value": users})


def _associated(resource: StoredResource) -> dict[str, Any]:
    return {
        "id": resource_id(resource.subscription, resource.group, resource.name),
        "name": resource.name,
        "type": TYPE,
        "resourceGroup": resource.group,
        "subscriptionId": resource.subscription,
        "subscriptionDisplayName": "Hubwire",
    }


def _row(method: str, path: str, name: str, handler: Handler, statuses: tuple[int, ...], action: str) -> Operation:
    full = f"{IDENTITY_TYPE}/{action}"
    return Operation(method, path, name, handler, statuses, surface="management", action=full)
