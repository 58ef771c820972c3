"""
The resource manager's table for Microsoft.Communication: communication services with their keys.

Every change is carried out before it is answered. Names, statuses and bodies are those of api-version 2023-04-01; all
versions from 2020-08-20 on are taken alike.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from hubwire.model.communication import CommunicationKeyKind, is_communication_name
from hubwire.model.errors import BadRequest
from hubwire.resources.communication_documents import SERVICE_TYPE, StoredService
from hubwire.resources.communication_properties import FeatureMissing, kind_and_identities
from hubwire.resources.communication_services import CommunicationServices
from hubwire.resources.resource_properties import ASSIGN_IDENTITY
from hubwire.resources.shapes import text
from hubwire.rest.call import Call
from hubwire.rest.management_calls import (
    document_reply,
    group_of,
    list_reply,
    operations_reply,
    read_document,
    subscription_of,
    version_of,
    warning_headers,
)
from hubwire.rest.management_faults import ManagementFault, not_available
from hubwire.rest.operation import Handler, Operation, Reply
from hubwire.rest.ports import Managers

__all__ = ["CommunicationServiceTable"]

_NAMESPACE: Final = "Microsoft.Communication"
_PROVIDER: Final = f"/providers/{_NAMESPACE}"
_SUBSCRIPTION: Final = "/subscriptions/{subscription}"
_GROUP: Final = _SUBSCRIPTION + "/resourceGroups/{group}" + _PROVIDER
_ALL: Final = _GROUP + "/communicationServices"
_ONE: Final = _ALL + "/{name}"
_READ: Final = f"{SERVICE_TYPE}/read"
_KEY_KINDS: Final[dict[str, CommunicationKeyKind]] = {"primary": "primary", "secondary": "secondary"}
_VERBS: Final = {"GET": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}


class CommunicationServiceTable:
    """
    The handlers.

    Args:
        managers: who sees which, and may use which identity.
    """

    def __init__(self, services: CommunicationServices, managers: Managers) -> None:
        self._services = services
        self._managers = managers

    def operations(self) -> tuple[Operation, ...]:
        """The table."""
        return (
            Operation(
                "GET",
                _SUBSCRIPTION + _PROVIDER + "/communicationServices",
                "CommunicationServices_ListBySubscription",
                self._list,
                (200,),
                surface="management",
            ),
            _row("GET", _ALL, "CommunicationServices_ListByResourceGroup", self._list_in_group, (200,), "read"),
            _row("GET", _ONE, "CommunicationServices_Get", self._get, (200, 404), "read"),
            _row("PUT", _ONE, "CommunicationServices_CreateOrUpdate", self._put, (200, 201, 400, 409, 501), "write"),
            _row("PATCH", _ONE, "CommunicationServices_Update", self._patch, (200, 400, 404, 409, 501), "write"),
            _row("DELETE", _ONE, "CommunicationServices_Delete", self._delete, (200, 204, 409), "delete"),
            _row(
                "POST",
                _ONE + "/listKeys",
                "CommunicationServices_ListKeys",
                self._list_keys,
                (200, 404),
                "listKeys/action",
            ),
            _row(
                "POST",
                _ONE + "/regenerateKey",
                "CommunicationServices_RegenerateKey",
                self._regenerate,
                (200, 400, 404),
                "regenerateKey/action",
            ),
            Operation(
                "POST",
                _SUBSCRIPTION + _PROVIDER + "/checkNameAvailability",
                "CommunicationServices_CheckNameAvailability",
                self._check_name,
                (200, 400),
                surface="management",
                action=f"{_NAMESPACE}/checkNameAvailability/read",
            ),
            Operation(
                "GET",
                f"{_PROVIDER}/operations",
                "CommunicationOperations_List",
                self._operations,
                (200,),
                surface="management",
            ),
            *self._missing(),
        )

    def _missing(self) -> list[Operation]:
        """What is answered that it is not there."""
        link = _refusal("Push notifications by a linked notification hub")
        username = _refusal("An SMTP user name")
        email = _refusal("An e-mail service")
        return [
            _row(
                "POST",
                _ONE + "/linkNotificationHub",
                "CommunicationServices_LinkNotificationHub",
                link,
                (501,),
                "linkNotificationHub/action",
            ),
            _row("GET", _ONE + "/smtpUsernames", "SmtpUsernames_List", username, (501,), "smtpUsernames/read"),
            *(
                _row(
                    method,
                    _ONE + "/smtpUsernames/{child}",
                    f"SmtpUsernames_{method}",
                    username,
                    (501,),
                    f"smtpUsernames/{_VERBS[method]}",
                )
                for method in ("GET", "PUT", "DELETE")
            ),
            *(
                Operation(
                    method,
                    _GROUP + "/emailServices/{name}",
                    f"EmailServices_{method}",
                    email,
                    (501,),
                    surface="management",
                    action=f"{_NAMESPACE}/emailServices/{verb}",
                )
                for method, verb in _VERBS.items()
            ),
        ]

    def _found(self, call: Call) -> StoredService:
        version_of(call)
        return self._services.find(subscription_of(call), group_of(call), call.names["name"])

    def _answer(self, service: StoredService, status: int) -> Reply:
        warnings = warning_headers(self._services.warnings(service))
        return document_reply(self._services.document(service), status, warnings)

    async def _list(self, call: Call) -> Reply:
        version_of(call)
        shown, may = self._services.documents(subscription_of(call)), self._managers.may
        return list_reply([one for one in shown if call.bearer is None or may(call.bearer, _READ, one["id"])])

    async def _list_in_group(self, call: Call) -> Reply:
        version_of(call)
        return list_reply(self._services.documents(subscription_of(call), group_of(call)))

    async def _get(self, call: Call) -> Reply:
        return document_reply(self._services.document(self._found(call)))

    async def _put(self, call: Call) -> Reply:
        version_of(call)
        where = (subscription_of(call), group_of(call), call.names["name"])
        body = await self._body(call)
        try:
            service, is_new = await self._services.put(*where, body)
        except FeatureMissing as error:
            raise not_available(error.feature) from None
        return self._answer(service, 201 if is_new else 200)

    async def _patch(self, call: Call) -> Reply:
        old = self._found(call)
        body = await self._body(call)
        try:
            service = await self._services.patch(old.subscription, old.group, old.name, body)
        except FeatureMissing as error:
            raise not_available(error.feature) from None
        return self._answer(service, 200)

    async def _body(self, call: Call) -> Mapping[str, Any]:
        """Whoever gives a service an identity may use that identity."""
        body = await read_document(call)
        _, assigned = kind_and_identities(body.get("identity"))
        for one in assigned:
            if call.bearer is not None:
                self._managers.check(call.bearer, ASSIGN_IDENTITY, one)
        return body

    async def _delete(self, call: Call) -> Reply:
        version_of(call)
        done = await self._services.delete(subscription_of(call), group_of(call), call.names["name"])
        return Reply(status=200 if done else 204)

    async def _list_keys(self, call: Call) -> Reply:
        return document_reply(self._services.keys_document(self._found(call)))

    async def _regenerate(self, call: Call) -> Reply:
        service = self._found(call)
        kind = _KEY_KINDS.get(str((await read_document(call)).get("keyType")).lower())
        if kind is None:
            raise BadRequest("keyType must be Primary or Secondary.", "keyType")
        return document_reply(self._services.keys_document(await self._services.regenerate(service.name, kind)))

    async def _check_name(self, call: Call) -> Reply:
        version_of(call)
        subscription_of(call)
        body = await read_document(call)
        name, kind = text("name", body.get("name")), body.get("type")
        if not isinstance(kind, str) or kind.lower() != SERVICE_TYPE.lower():
            raise ManagementFault(400, "InvalidParameter", f"type must be {SERVICE_TYPE}.", "type")
        if not is_communication_name(name):
            rule = "A name has 1 to 63 letters, digits and hyphens, and neither begins nor ends with a hyphen."
            return document_reply({"nameAvailable": False, "reason": "Invalid", "message": rule})
        if self._services.named(name) is not None:
            taken = f"There is a communication service with the name {name} already."
            return document_reply({"nameAvailable": False, "reason": "AlreadyExists", "message": taken})
        return document_reply({"nameAvailable": True})

    async def _operations(self, call: Call) -> Reply:
        version_of(call)
        rows = (row for row in self.operations() if row.statuses != (501,))
        return operations_reply(_NAMESPACE, sorted({row.action for row in rows if row.action is not None}))


def _refusal(feature: str) -> Callable[[Call], Awaitable[Reply]]:
    async def refuse(call: Call) -> Reply:  # noqa: ARG001  handlers look alike
        raise not_available(feature)

    return refuse


def _row(method: str, path: str, name: str, handler: Handler, statuses: tuple[int, ...], action: str) -> Operation:
    full = f"{SERVICE_TYPE}/{action}"
    return Operation(method, path, name, handler, statuses, surface="management", action=full)
