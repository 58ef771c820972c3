"""
The resource manager's table for deployments of templates to resource groups.

A deployment is carried out before its PUT is answered. One that succeeded is answered as such, so that nobody has to
poll; one that failed is answered as accepted, with the address of a status that says why, because that is where all
clients look for the reason.

Sources: Microsoft.Resources deployments 2021-04-01 to 2025-04-01; what `az deployment` and the management SDKs send.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from hubwire.model.errors import BadRequest, NotFound
from hubwire.resources.catalog import Catalog
from hubwire.resources.deployments import (
    Active,
    Deployments,
    Invalid,
    May,
    Operation,
    Order,
    StoredDeployment,
    template_hash,
)
from hubwire.resources.export import export
from hubwire.resources.lenient_json import Parsed, Unreadable, parse
from hubwire.resources.resource_properties import tags_of
from hubwire.resources.template_faults import At, TemplateFault
from hubwire.rest.audience import base_url
from hubwire.rest.call import Call
from hubwire.rest.management_calls import document_reply, group_of, list_reply, subscription_of, version_of
from hubwire.rest.management_faults import ManagementFault, not_available
from hubwire.rest.operation import Handler, Reply
from hubwire.rest.operation import Operation as Row
from hubwire.rest.ports import Managers

__all__ = ["DeploymentTable"]

_SUBSCRIPTION: Final = "/subscriptions/{subscription}"
_GROUP: Final = _SUBSCRIPTION + "/resourceGroups/{group}"
_ALL: Final = _GROUP + "/providers/Microsoft.Resources/deployments"
_ONE: Final = _ALL + "/{deployment}"
_OPERATIONS: Final = _GROUP + "/deployments/{deployment}/operations"
_ACTION: Final = "Microsoft.Resources/deployments/"
_UNAVAILABLE: Final = {
    "templateLink": "A template by its address (templateLink)",
    "parametersLink": "Parameters by their address (parametersLink)",
    "onErrorDeployment": "A deployment for the case of a failure (onErrorDeployment)",
}


class DeploymentTable:
    """
    The handlers.

    Args:
        public_endpoint, own_endpoint: base URLs for addresses in answers; see `base_url`.
        managers: who may do what a template does.
    """

    def __init__(
        self,
        catalog: Catalog,
        deployments: Deployments,
        managers: Managers,
        public_endpoint: str | None,
        own_endpoint: str,
    ) -> None:
        self._catalog = catalog
        self._deployments = deployments
        self._managers = managers
        self._public_endpoint = public_endpoint
        self._own_endpoint = own_endpoint

    def operations(self) -> tuple[Row, ...]:
        """The table."""
        return (
            _row("GET", _ALL, "Deployments_ListByResourceGroup", self._list, (200,), "read"),
            _row("PUT", _ONE, "Deployments_CreateOrUpdate", self._put, (200, 201, 400, 409), "write"),
            _row("GET", _ONE, "Deployments_Get", self._get, (200, 404), "read"),
            _row("HEAD", _ONE, "Deployments_CheckExistence", self._head, (204, 404), "read"),
            _row("DELETE", _ONE, "Deployments_Delete", self._delete, (204,), "delete"),
            _row("POST", _ONE + "/validate", "Deployments_Validate", self._validate, (200, 400), "validate/action"),
            _row("POST", _ONE + "/whatIf", "Deployments_WhatIf", self._what_if, (200, 400), "whatIf/action"),
            _row("POST", _ONE + "/cancel", "Deployments_Cancel", self._cancel, (204, 404, 409), "cancel/action"),
            _row(
                "POST",
                _ONE + "/exportTemplate",
                "Deployments_ExportTemplate",
                self._export,
                (200, 404),
                "exportTemplate/action",
            ),
            _row("GET", _OPERATIONS, "DeploymentOperations_List", self._list_operations, (200, 404), "operations/read"),
            _row(
                "GET",
                _ONE + "/operations",
                "DeploymentOperations_List",
                self._list_operations,
                (200, 404),
                "operations/read",
            ),
            _row(
                "GET",
                _OPERATIONS + "/{operation}",
                "DeploymentOperations_Get",
                self._get_operation,
                (200, 404),
                "operations/read",
            ),
            _row(
                "GET",
                _ONE + "/operationStatuses/{operation}",
                "Deployments_GetStatus",
                self._status,
                (200, 404),
                "operationstatuses/read",
            ),
            Row(
                "POST",
                "/providers/Microsoft.Resources/calculateTemplateHash",
                "Deployments_CalculateTemplateHash",
                self._hash,
                (200, 400),
                surface="management",
            ),
            Row(
                "POST",
                _GROUP + "/exportTemplate",
                "ResourceGroups_ExportTemplate",
                self._export_group,
                (200, 404),
                surface="management",
                action="Microsoft.Resources/subscriptions/resourceGroups/exportTemplate/action",
            ),
            *self._missing(),
        )

    def _missing(self) -> list[Row]:
        """What is answered that it is not there."""

        async def refuse(call: Call) -> Reply:  # noqa: ARG001  handlers look alike
            raise not_available("A deployment to a subscription, a management group or a tenant")

        rows = []
        for above, name in ((_SUBSCRIPTION, "Subscription"), ("", "Tenant")):
            path = above + "/providers/Microsoft.Resources/deployments/{deployment}"
            rows.append(_row("PUT", path, f"Deployments_CreateOrUpdateAt{name}Scope", refuse, (501,), "write"))
            rows.append(_row("POST", path + "/validate", f"Deployments_ValidateAt{name}Scope", refuse, (501,), "write"))
            rows.append(_row("POST", path + "/whatIf", f"Deployments_WhatIfAt{name}Scope", refuse, (501,), "write"))
        return rows

    # Before a deployment.

    async def _order(self, call: Call) -> Order:
        """What a request wants to be deployed."""
        version_of(call)
        subscription, group = subscription_of(call), group_of(call)
        parsed = await _read(call)
        body = _folded(parsed.value)
        properties = body.get("properties")
        if not isinstance(properties, dict):
            raise ManagementFault(400, "InvalidRequestContent", "The properties of the deployment are required.")
        place = next(name for name in parsed.value if name.lower() == "properties")
        spelled = next((name for name in properties if name.lower() == "template"), "template")
        properties = _folded(properties)
        for name, feature in _UNAVAILABLE.items():
            if properties.get(name.lower()) is not None:
                raise not_available(feature)
        mode = str(properties.get("mode", "Incremental")).lower()
        if mode not in ("incremental", "complete"):
            raise BadRequest("mode must be Incremental or Complete.", "mode")
        if properties.get("template") is None:
            raise ManagementFault(400, "InvalidRequestContent", "The template of the deployment is required.")

        def locate(at: At) -> tuple[int, int] | None:
            return parsed.locate((place, spelled, *at))

        return Order(
            subscription=subscription,
            group=group,
            name=call.names["deployment"],
            template=properties["template"],
            parameters=_parameters(properties.get("parameters")),
            complete=mode == "complete",
            endpoint=base_url(call.caller, self._public_endpoint, self._own_endpoint),
            tags=tags_of(body.get("tags")),
            ids_only=_wants_ids(properties.get("whatifsettings")),
            locate=locate,
        )

    def _may(self, call: Call) -> May:
        """What whoever calls may do: the operator everything."""
        bearer = call.bearer

        def may(action: str, scope: str) -> None:
            if bearer is not None:
                self._managers.check(bearer, action, scope)

        return may

    async def _validate(self, call: Call) -> Reply:
        order = await self._order(call)
        try:
            plan, left_out = await self._deployments.plan(order, self._may(call))
        except (TemplateFault, Invalid) as error:
            raise _fault(error) from error
        resources = [
            {"id": planned.id}
            for planned in plan.resources
            if not planned.existing and planned.id.lower() not in left_out
        ]
        document = {
            "id": f"{call.scope.rpartition('/')[0]}",
            "name": order.name,
            "type": "Microsoft.Resources/deployments",
            "properties": {
                "templateHash": template_hash(order.template),
                "parameters": plan.parameters,
                "mode": "Complete" if order.complete else "Incremental",
                "provisioningState": "Succeeded",
                "validatedResources": resources,
            },
        }
        return document_reply(document)

    async def _what_if(self, call: Call) -> Reply:
        order = await self._order(call)
        try:
            changes = await self._deployments.what_if(order, self._may(call))
            if order.ids_only:
                changes = [{name: change[name] for name in ("resourceId", "changeType")} for change in changes]
        except (TemplateFault, Invalid) as error:
            raise _fault(error) from error
        return document_reply({"status": "Succeeded", "properties": {"correlationId": "", "changes": changes}})

    # The deployment.

    async def _put(self, call: Call) -> Reply:
        order = await self._order(call)
        is_new = self._deployments.find(order.subscription, order.group, order.name) is None
        try:
            deployment = await self._deployments.deploy(order, self._may(call))
        except (TemplateFault, Invalid) as error:
            raise _fault(error) from error
        except Active as error:
            raise ManagementFault(409, "DeploymentActive", error.message) from error
        document = _document(deployment)
        status = 201 if is_new else 200
        if deployment.state == "Succeeded":
            return document_reply(document, status)
        document["properties"]["provisioningState"] = "Accepted"
        where = f"{order.endpoint}{deployment.id}/operationStatuses/{deployment.correlation_id}"
        address = f"{where}?api-version={version_of(call)}"
        return document_reply(document, status, (("azure-asyncoperation", address), ("retry-after", "0")))

    def _found(self, call: Call) -> StoredDeployment:
        version_of(call)
        name = call.names["deployment"]
        found = self._deployments.find(subscription_of(call), group_of(call), name)
        if found is None:
            raise ManagementFault(404, "DeploymentNotFound", f"Deployment '{name}' could not be found.")
        return found

    async def _list(self, call: Call) -> Reply:
        version_of(call)
        subscription, group = subscription_of(call), group_of(call)
        self._check_group(subscription, group)
        top = call.query.number("$top", 1, 1000)
        return list_reply([_document(found) for found in self._deployments.all_of(subscription, group)[:top]])

    def _check_group(self, subscription: str, group: str) -> None:
        if self._catalog.group(subscription, group) is None:
            raise NotFound(f"Resource group '{group}' could not be found.", "group")

    async def _get(self, call: Call) -> Reply:
        return document_reply(_document(self._found(call)))

    async def _head(self, call: Call) -> Reply:
        self._found(call)
        return Reply()

    async def _delete(self, call: Call) -> Reply:
        version_of(call)
        await self._deployments.delete(subscription_of(call), group_of(call), call.names["deployment"])
        return Reply()

    async def _cancel(self, call: Call) -> Reply:
        found = self._found(call)
        state = "is carried out as a whole" if found.state == "Running" else "has ended"
        message = f"The deployment {found.name} {state} and cannot be cancelled."
        raise ManagementFault(409, "DeploymentCannotBeCancelled", message)

    async def _export(self, call: Call) -> Reply:
        return document_reply({"template": self._found(call).template})

    async def _status(self, call: Call) -> Reply:
        found = self._found(call)
        if found.correlation_id != call.names["operation"]:
            raise ManagementFault(404, "OperationNotFound", "There is no such operation.")
        status = {
            "id": f"{found.id}/operationStatuses/{found.correlation_id}",
            "name": found.correlation_id,
            "status": found.state,
            "startTime": _time(found.started_at),
            "endTime": _time(found.ended_at),
        }
        return document_reply(status if found.error is None else {**status, "error": found.error})

    async def _list_operations(self, call: Call) -> Reply:
        found = self._found(call)
        return list_reply([_operation(found, at, done) for at, done in enumerate(found.operations)])

    async def _get_operation(self, call: Call) -> Reply:
        found = self._found(call)
        for at, done in enumerate(found.operations):
            document = _operation(found, at, done)
            if document["operationId"].lower() == call.names["operation"].lower():
                return document_reply(document)
        raise ManagementFault(404, "DeploymentOperationNotFound", "There is no such operation.")

    # Templates by themselves.

    async def _hash(self, call: Call) -> Reply:
        version_of(call)
        template = (await _read(call)).value
        if not isinstance(template, dict):
            raise ManagementFault(400, "InvalidRequestContent", "The template must be an object.")
        return document_reply({"minifiedTemplate": _minified(template), "templateHash": template_hash(template)})

    async def _export_group(self, call: Call) -> Reply:
        version_of(call)
        subscription, name = subscription_of(call), group_of(call)
        self._check_group(subscription, name)
        others = self._deployments.documents(subscription, name)
        return document_reply({"template": await export(self._catalog, subscription, name, others)})


async def _read(call: Call) -> Parsed:
    """
    A body that may be what `az` sends: JSON with the text of a template file in it.

    Raises:
        ManagementFault: it cannot be read.
    """
    try:
        return parse((await call.body()).decode("utf-8"))
    except UnicodeDecodeError:
        raise ManagementFault(400, "InvalidRequestContent", "The request content is no UTF-8.") from None
    except Unreadable as error:
        message = f"The request content was invalid and could not be read: {error.message}"
        raise ManagementFault(400, "InvalidRequestContent", message) from error


def _wants_ids(settings: Any) -> bool:
    """Does what-if want to know which resources change, and not how."""
    return str(_folded(settings).get("resultformat")).lower() == "resourceidonly"


def _folded(value: Any) -> dict[str, Any]:
    """An object by the lower case of its names: they compare without case. Empty for what is none."""
    return {name.lower(): item for name, item in value.items()} if isinstance(value, dict) else {}


def _parameters(value: Any) -> dict[str, Any]:
    """Parameters as they are given, or as a file of them has them."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ManagementFault(400, "InvalidRequestContent", "The parameters must be an object.")
    inner = value.get("parameters")
    if "$schema" in value and isinstance(inner, dict):
        return inner
    return value


def _fault(error: TemplateFault | Invalid) -> ManagementFault:
    if isinstance(error, Invalid):
        return ManagementFault(400, error.code, error.message, None, error.details)
    place = {"lineNumber": error.line or 0, "linePosition": error.column or 0, "path": error.path}
    message = f"Deployment template validation failed: '{error.message}'."
    if error.line is not None:
        message = (
            f"Deployment template validation failed at line {error.line}, column {error.column}: '{error.message}'."
        )
    return ManagementFault(400, error.code, message, None, (), [{"type": "TemplateViolation", "info": place}])


def _document(deployment: StoredDeployment) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "templateHash": deployment.template_hash,
        "parameters": deployment.parameters,
        "mode": "Complete" if deployment.complete else "Incremental",
        "provisioningState": deployment.state,
        "timestamp": _time(deployment.ended_at),
        "duration": _duration(deployment.ended_at - deployment.started_at),
        "correlationId": deployment.correlation_id,
        "providers": deployment.providers,
        "dependencies": deployment.dependencies,
        "outputs": deployment.outputs,
        "outputResources": [
            {"id": done.id} for done in deployment.operations if done.state == "Succeeded" and done.kind == "Create"
        ],
    }
    if deployment.error is not None:
        properties["error"] = deployment.error
    warnings = [
        {"level": "Warning", "code": "NotInEffect", "target": done.id, "message": text}
        for done in deployment.operations
        for text in done.warnings
    ]
    if warnings:
        properties["diagnostics"] = warnings
    document: dict[str, Any] = {
        "id": deployment.id,
        "name": deployment.name,
        "type": "Microsoft.Resources/deployments",
        "properties": properties,
    }
    return {**document, "tags": deployment.tags} if deployment.tags else document


def _operation(deployment: StoredDeployment, at: int, done: Operation) -> dict[str, Any]:
    operation_id = f"{deployment.correlation_id.replace('-', '').upper()[:16]}{at:04d}"
    status = ("Created" if done.is_new else "OK") if done.error is None else "BadRequest"
    properties: dict[str, Any] = {
        "provisioningOperation": done.kind,
        "provisioningState": done.state,
        "timestamp": _time(done.ended_at),
        "duration": _duration(done.ended_at - done.started_at),
        "statusCode": status,
        "targetResource": {"id": done.id, "resourceType": done.type, "resourceName": done.name},
    }
    if done.error is not None:
        properties["statusMessage"] = {"status": "Failed", "error": done.error}
    elif done.warnings:
        properties["statusMessage"] = {"status": "Succeeded", "warnings": done.warnings}
    return {"id": f"{deployment.id}/operations/{operation_id}", "operationId": operation_id, "properties": properties}


def _minified(template: Mapping[str, Any]) -> str:
    return msgspec.json.encode(template).decode()


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _duration(seconds: float) -> str:
    return f"PT{max(0.0, seconds):.7g}S"


def _row(method: str, path: str, name: str, handler: Handler, statuses: tuple[int, ...], action: str) -> Row:
    return Row(method, path, name, handler, statuses, surface="management", action=_ACTION + action)
