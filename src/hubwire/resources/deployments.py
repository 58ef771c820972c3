"""
Deployments of templates to resource groups: checked as a whole first, then carried out resource by resource.

Each resource is one commit, so that whatever ends the process leaves each one as it was or as it was to be. What a
deployment did, and where it stopped and why, is stored with it.

Source: Microsoft.Resources deployments, 2021-04-01 to 2025-04-01.
"""

import asyncio
import copy
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from hubwire.model.errors import BadRequest, Conflict, Forbidden, HubwireError, Refused
from hubwire.model.ports import Change, Store
from hubwire.resources.catalog import Catalog
from hubwire.resources.deployable import Deployable, SplitId, split_id
from hubwire.resources.deployables import Deployables
from hubwire.resources.documents import StoredGroup, stored, value_of
from hubwire.resources.resource_documents import group_id
from hubwire.resources.resource_properties import is_api_version
from hubwire.resources.serial import Serial
from hubwire.resources.template_context import Environment
from hubwire.resources.template_faults import TemplateFault, Unresolved
from hubwire.resources.template_secrets import without_secrets
from hubwire.resources.templates import Plan, Planned, prepare

__all__ = ["Active", "Deployments", "Invalid", "May", "Order", "StoredDeployment", "template_hash"]

DEPLOYMENT: Final = "deployment"
"""Kind of document, its key is "subscription/group/name", all in lower case."""

May: TypeAlias = Callable[[str, str], None]
"""Raises Forbidden: whoever deploys may not do this (an action) there (a scope)."""

_KEPT: Final = 50
"""Deployments of a resource group, of which the oldest ones go."""
_MOST: Final = 2000
"""Deployments in all."""
_MOST_OUTPUT_BYTES: Final = 256 * 1024
_PLANNERS: Final = 2
"""Templates that are looked at beside the event loop at the same time."""
_NAME: Final = re.compile(r"[\w.()-]{1,64}")
_CODES: Final = {
    "BadRequest": "InvalidParameter",
    "Conflict": "Conflict",
    "Forbidden": "AuthorizationFailed",
    "NotFound": "ResourceNotFound",
    "NotStored": "ServiceUnavailable",
    "Unavailable": "ServiceUnavailable",
}


class Invalid(BadRequest):
    """
    A deployment that is not begun, since some of its resources cannot be so.

    Args:
        details: `code`, `message` and `target` of each.
    """

    def __init__(self, details: Sequence[Mapping[str, Any]]) -> None:
        kinds = "; ".join(str(detail["message"]) for detail in details[:3])
        super().__init__(f"The template deployment is not valid: {kinds}")
        self.code = "InvalidTemplateDeployment"
        self.details = tuple(details)


class Active(Conflict):
    """A deployment of this name is carried out now."""


class Order(Struct, frozen=True):
    """
    What is to be deployed, and where.

    Attributes:
        template: as it was read.
        parameters: each as `{"value": …}`.
        complete: whatever else is in the resource group is deleted.
        endpoint: base URL of the resource manager, for templates that ask.
        ids_only: of what-if, not how a resource changes.
        locate: line and column of a place in the template.
    """

    subscription: str
    group: str
    name: str
    template: Any
    parameters: dict[str, Any] = {}
    complete: bool = False
    endpoint: str = ""
    tags: dict[str, str] = {}
    ids_only: bool = False
    locate: Callable[[tuple[str | int, ...]], tuple[int, int] | None] = lambda _: None


class Operation(Struct, frozen=True):
    """
    What a deployment did to one resource.

    Attributes:
        kind: Create or Delete; NotSpecified for what is left out.
        state: Succeeded or Failed.
        started_at, ended_at: seconds since 1970.
        is_new: it was not there before.
        error: `code` and `message`, where it failed.
        warnings: what of it does not act.
    """

    id: str
    type: str
    name: str
    kind: str
    state: str
    started_at: float
    ended_at: float
    is_new: bool = False
    error: dict[str, Any] | None = None
    warnings: list[str] = []


class StoredDeployment(Struct, frozen=True):
    """
    Attributes:
        state: Running, Succeeded or Failed.
        template: for its export, without what is secret in it.
        parameters, outputs: with type and value, secure ones without value.
        dependencies: of its resources, as answers show them.
        error: `code`, `message` and `details`, where it failed.
    """

    name: str
    subscription: str
    group: str
    state: str
    complete: bool
    template: Any
    template_hash: str
    parameters: dict[str, Any]
    started_at: float
    ended_at: float
    correlation_id: str
    outputs: dict[str, Any] = {}
    dependencies: list[dict[str, Any]] = []
    providers: list[dict[str, Any]] = []
    operations: list[Operation] = []
    error: dict[str, Any] | None = None
    tags: dict[str, str] = {}

    @property
    def id(self) -> str:
        """Its resource id."""
        group = group_id(self.subscription, self.group)
        return f"{group}/providers/Microsoft.Resources/deployments/{self.name}"


class Deployments:
    """
    Answers from memory; made by `load`.

    Args:
        clock: seconds since 1970.
        ignore_foreign: leave out resources of types that are not known, instead of refusing the template.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        deployables: Deployables,
        tenant_id: str,
        clock: Callable[[], float],
        *,
        ignore_foreign: bool = False,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._deployables = deployables
        self._tenant_id = tenant_id
        self._clock = clock
        self._ignore_foreign = ignore_foreign
        self._known: dict[str, StoredDeployment] = {}
        self._serial = Serial()
        self._planning = asyncio.Semaphore(_PLANNERS)
        self._running: set[str] = set()

    async def load(self) -> None:
        """
        Read what is stored. A deployment whose server has ended in the middle of it has failed.

        Raises:
            StartFailed: it is damaged.
        """
        for document in await stored(self._store, DEPLOYMENT):
            found = value_of(StoredDeployment, document)
            if found.state == "Running":
                message = (
                    "The server ended while this was carried out; each resource is as it was, or as the template says."
                )
                found = replace(found, state="Failed", error={"code": "DeploymentInterrupted", "message": message})
            self._known[document.key] = found

    # What is there.

    def all_of(self, subscription: str, group: str) -> list[StoredDeployment]:
        """Those of a resource group, the newest first."""
        prefix = f"{subscription}/{group}/".lower()
        found = [deployment for key, deployment in self._known.items() if key.startswith(prefix)]
        return sorted(found, key=lambda deployment: -deployment.started_at)

    def find(self, subscription: str, group: str, name: str) -> StoredDeployment | None:
        """One, or None."""
        return self._known.get(_key(subscription, group, name))

    async def delete(self, subscription: str, group: str, name: str) -> bool:
        """Forget a deployment; its resources stay. False if there is none."""
        return await self._serial.run(self._delete(_key(subscription, group, name)))

    def documents(self, subscription: str, group: str) -> list[dict[str, Any]]:
        """The resources of a group but those that serve clients, for its export."""
        return self._deployables.documents(subscription, group)

    async def forget(self, scope: str) -> None:
        """Delete all deployments of a resource group, since it is going to be deleted itself."""
        prefix = scope.lower() + "/"
        for deployment in list(self._known.values()):
            if deployment.id.lower().startswith(prefix):
                await self._delete(_key(deployment.subscription, deployment.group, deployment.name))

    # What is to be.

    async def plan(self, order: Order, may: May) -> tuple[Plan, frozenset[str]]:
        """
        Everything that can be known of a deployment before it is begun.

        Returns:
            the plan, and the ids of resources that are left out, in lower case.

        Raises:
            TemplateFault: the template is at fault, or what is given for its parameters.
            Invalid: resources of it are.
            Forbidden: whoever deploys may not do all of it.
        """
        if _NAME.fullmatch(order.name) is None:
            raise BadRequest("A deployment has a name of 1 to 64 letters, digits and characters of _.()-", "name")
        environment = self._environment(order)
        async with self._planning:
            # Large ones take a while.
            plan = await asyncio.to_thread(prepare, order.template, order.parameters, environment, order.locate)
        runtime = _Runtime(self._deployables, may)
        coming = frozenset(planned.id.lower() for planned in plan.resources)
        faults: list[dict[str, Any]] = []
        left_out: set[str] = set()
        for planned in plan.resources:
            known = self._deployables.of(planned.type)
            if known is None:
                if self._ignore_foreign:
                    left_out.add(planned.id.lower())
                else:
                    faults.append(_unknown_type(planned))
            elif not planned.existing and split_id(planned.id) is None:
                faults.append(_misplaced(planned))
            elif not is_api_version(planned.api_version, planned.type):
                faults.append(_unknown_version(planned))
            elif not planned.existing:
                may(known.action, planned.id)
                try:
                    body = await self._body(plan, planned, runtime)
                    for action, scope in known.rights(planned, body):
                        may(action, scope)
                    known.check(planned, body, coming)
                except Unresolved:
                    continue  # what it waits for is not there before the deployment has begun
                except (TemplateFault, Forbidden):
                    raise
                except Refused as error:
                    faults.append(_detail(error, planned))
        if order.complete:
            faults += self._undeletable(order, coming, may)
        if faults:
            raise Invalid(faults)
        return plan, frozenset(left_out)

    async def _body(
        self, plan: Plan, planned: Planned, runtime: "_Runtime", *, keep_unresolved: bool = False
    ) -> dict[str, Any]:
        """The document of a resource, made beside the event loop: an expression may take a while."""
        async with self._planning:
            return await asyncio.to_thread(plan.body, planned, runtime, keep_unresolved=keep_unresolved)

    def _undeletable(self, order: Order, kept: Collection[str], may: May) -> list[dict[str, Any]]:
        """What stands in the way of deleting all that the template does not have."""
        faults = []
        for resource_id in self._others(order.subscription, order.group, kept):
            found, known = self._deletable(resource_id)
            may(_delete_action(known), resource_id)
            reason = known.keeps(found)
            if reason is not None:
                faults.append({"code": "Conflict", "message": reason, "target": resource_id})
        return faults

    def _deletable(self, resource_id: str) -> tuple[SplitId, Deployable]:
        found = split_id(resource_id)
        assert found is not None, "it is the id of a resource that is here"
        known = self._deployables.of(found.type)
        assert known is not None, "it is of a type that is known"
        return found, known

    async def what_if(self, order: Order, may: May) -> list[dict[str, Any]]:
        """
        What a deployment would change, in the form of the what-if operation.

        Raises: as `plan`.
        """
        plan, left_out = await self.plan(order, may)
        runtime = _Runtime(self._deployables, may)
        coming = frozenset(planned.id.lower() for planned in plan.resources)
        changes: list[dict[str, Any]] = []
        for planned in plan.resources:
            known = self._deployables.of(planned.type)
            if planned.existing or known is None:
                if planned.id.lower() in left_out:
                    changes.append({"resourceId": planned.id, "changeType": "Unsupported", "unsupportedReason": "type"})
                continue
            body = await self._body(plan, planned, runtime, keep_unresolved=True)
            found = split_id(planned.id)
            before = None if found is None else known.shown(found)
            try:
                after = known.expected(planned, body, coming)
            except Refused:
                # An expression whose value is not known yet stands where it does not fit.
                after = body
            changes.append(_change(planned, before, after))
        for resource_id in self._others(order.subscription, order.group, coming):
            before = self._deployables.shown(resource_id)
            kind = "Delete" if order.complete else "Ignore"
            changes.append({"resourceId": resource_id, "changeType": kind, "before": before})
        return changes

    async def deploy(self, order: Order, may: May) -> StoredDeployment:
        """
        Carry a deployment out. It goes on to its end whoever gives up waiting.

        Returns:
            how it ended: a resource that cannot be deployed ends it, and says so.

        Raises: as `plan`, and nothing was done.
            Active: a deployment of this name is carried out now.
        """
        key = _key(order.subscription, order.group, order.name)
        if key in self._running:
            raise Active(f"The deployment {order.name} is carried out now.", "name")
        self._running.add(key)
        return await self._serial.run(self._deploy_once(key, order, may))

    def _environment(self, order: Order) -> Environment:
        group = self._catalog.group(order.subscription, order.group)
        now = datetime.fromtimestamp(self._clock(), UTC)
        return Environment(
            tenant_id=self._tenant_id,
            subscription_id=order.subscription,
            subscription_name="Hubwire",
            resource_group=group.name if group else order.group,
            location=group.location if group else "local",
            group_tags=group.tags if group else {},
            deployment_name=order.name,
            now=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            new_guid=lambda: str(uuid.uuid4()),
            endpoint=order.endpoint,
        )

    async def _delete(self, key: str) -> bool:
        if key not in self._known:
            return False
        await self._store.commit([Change(DEPLOYMENT, key, None)])
        del self._known[key]
        return True

    async def _deploy_once(self, key: str, order: Order, may: May) -> StoredDeployment:
        try:
            return await self._deploy(order, may)
        finally:
            self._running.discard(key)

    async def _deploy(self, order: Order, may: May) -> StoredDeployment:
        plan, left_out = await self.plan(order, may)
        if len(self._known) >= _MOST and self.find(order.subscription, order.group, order.name) is None:
            raise Conflict(f"A server keeps {_MOST} deployments at most; delete old ones.", "quota")
        group = self._catalog.group(order.subscription, order.group)
        if group is None:
            group = StoredGroup(order.group, order.subscription)
            await self._catalog.put_group(group)
        now, kept = self._clock(), without_secrets(order.template)
        deployment = StoredDeployment(
            name=order.name,
            subscription=order.subscription,
            group=group.name,
            state="Running",
            complete=order.complete,
            template=kept,
            template_hash=template_hash(kept),
            parameters=plan.parameters,
            started_at=now,
            ended_at=now,
            correlation_id=str(uuid.uuid4()),
            dependencies=_dependencies(plan),
            providers=_providers(plan),
            tags=order.tags,
        )
        await self._keep(deployment)
        try:
            return await self._carry_out(plan, deployment, left_out, may)
        except BaseException as error:
            # Not even the failure could be stored, so it is known as long as this process lives; the next one sees that
            # the deployment was cut off.
            key = _key(deployment.subscription, deployment.group, deployment.name)
            reason = error.message if isinstance(error, Refused) else "The server failed."
            failed = {"code": "DeploymentInterrupted", "message": reason}
            if key in self._known:
                self._known[key] = replace(self._known[key], state="Failed", error=failed, ended_at=self._clock())
            raise

    async def _carry_out(
        self, plan: Plan, deployment: StoredDeployment, left_out: Collection[str], may: May
    ) -> StoredDeployment:
        runtime = _Runtime(self._deployables, may)
        for planned in plan.resources:
            known = self._deployables.of(planned.type)
            if planned.id.lower() in left_out:
                deployment = self._tell(deployment, _left_out(planned, self._clock()))
            if planned.existing or known is None:
                continue
            done = await self._one(plan, planned, known, runtime)
            deployment = self._tell(deployment, done)
            if done.error is not None:
                return await self._end(deployment, done.error)
        if deployment.complete:
            kept = frozenset(planned.id.lower() for planned in plan.resources)
            for resource_id in self._others(deployment.subscription, deployment.group, kept):
                done = await self._remove(resource_id, may)
                deployment = self._tell(deployment, done)
                if done.error is not None:
                    return await self._end(deployment, done.error)
        try:
            async with self._planning:
                outputs = await asyncio.to_thread(plan.outputs, runtime)
            if len(msgspec.json.encode(outputs)) > _MOST_OUTPUT_BYTES:
                raise BadRequest(f"The outputs have more than {_MOST_OUTPUT_BYTES} bytes.")
            deployment = replace(deployment, outputs=outputs)
        except Refused as error:
            detail = {"code": "DeploymentOutputEvaluationFailed", "message": error.message}
            return await self._end(deployment, {**detail, "target": deployment.id})
        return await self._end(deployment, None)

    def _tell(self, deployment: StoredDeployment, done: Operation) -> StoredDeployment:
        """One more step is done: told at once, for those who watch, and stored at the end."""
        told = replace(deployment, operations=[*deployment.operations, done])
        key = _key(deployment.subscription, deployment.group, deployment.name)
        if key in self._known:  # else it was deleted meanwhile, perhaps with its group
            self._known[key] = told
        return told

    async def _one(self, plan: Plan, planned: Planned, known: Deployable, runtime: "_Runtime") -> Operation:
        """Deploy one resource."""
        started = self._clock()
        done = Operation(
            planned.id, planned.type, planned.name.rpartition("/")[2], "Create", "Failed", started, started
        )
        try:
            body = await self._body(plan, planned, runtime)
            for action, scope in known.rights(planned, body):
                runtime.may(action, scope)
            is_new = await known.apply(planned, body)
            warnings = known.warnings(planned, body)
        except HubwireError as error:
            return replace(done, ended_at=self._clock(), error=_detail(error, planned))
        return replace(done, state="Succeeded", ended_at=self._clock(), is_new=is_new, warnings=warnings)

    async def _remove(self, resource_id: str, may: May) -> Operation:
        """Delete what the template does not have."""
        found, known = self._deletable(resource_id)
        started = self._clock()
        done = Operation(resource_id, found.type, found.names[-1], "Delete", "Failed", started, started)
        try:
            may(_delete_action(known), resource_id)
            await known.delete(found)
        except Refused as error:
            code = _CODES.get(type(error).__name__, "BadRequest")
            failed = {"code": code, "message": error.message, "target": resource_id}
            return replace(done, ended_at=self._clock(), error=failed)
        return replace(done, state="Succeeded", ended_at=self._clock())

    def _others(self, subscription: str, group: str, kept: Collection[str]) -> list[str]:
        """Ids of what is in the resource group and not in the template; not those below one of these."""
        inside = self._deployables.inside(subscription, group)
        return [resource_id for resource_id in inside if resource_id.lower() not in kept]

    async def _end(self, deployment: StoredDeployment, failed: Mapping[str, Any] | None) -> StoredDeployment:
        state, error = "Succeeded", None
        if failed is not None:
            state = "Failed"
            message = "At least one resource deployment operation failed. See the details for which one, and why."
            error = {"code": "DeploymentFailed", "message": message, "target": deployment.id, "details": [dict(failed)]}
        ended = replace(deployment, state=state, error=error, ended_at=self._clock())
        if _key(deployment.subscription, deployment.group, deployment.name) in self._known:
            await self._keep(ended)
        return ended

    async def _keep(self, deployment: StoredDeployment) -> None:
        key = _key(deployment.subscription, deployment.group, deployment.name)
        found = self.all_of(deployment.subscription, deployment.group)
        others = [(_key(other.subscription, other.group, other.name), other.state) for other in found]
        old = [other for other in others if other[0] != key][_KEPT - 1 :]
        changes = [Change(DEPLOYMENT, gone, None) for gone, state in old if state != "Running"]
        await self._store.commit([*changes, Change(DEPLOYMENT, key, _stored(deployment))])
        for change in changes:
            del self._known[change.key]
        self._known[key] = deployment


class _Runtime:
    """What templates may ask of resources that are there, as far as whoever deploys may."""

    def __init__(self, deployables: Deployables, may: May) -> None:
        self._deployables = deployables
        self.may = may

    def reference(self, resource_id: str, api_version: str | None, full: bool) -> dict[str, Any]:
        found = split_id(resource_id)
        kind = "Microsoft.Resources/subscriptions/resourceGroups" if found is None else found.type
        self.may(f"{kind}/read", resource_id)
        document = self._deployables.shown(resource_id)
        if document is None:
            raise Unresolved(resource_id)
        if not full:
            return dict(document["properties"])
        where: dict[str, Any] = {"resourceId": resource_id}
        if found is not None:
            where = {
                "resourceId": resource_id,
                "subscriptionId": found.subscription,
                "resourceGroupName": found.group,
            }
        return {**document, "apiVersion": api_version, **where}

    def list_secrets(self, function: str, resource_id: str, api_version: str) -> dict[str, Any]:  # noqa: ARG002  a port
        found = split_id(resource_id)
        known = None if found is None else self._deployables.of(found.type)
        if function.lower() != "listkeys" or found is None or known is None or known.keys_action is None:
            raise TemplateFault(f"The function {function} is not available for {resource_id}.")
        self.may(known.keys_action, resource_id)
        keys = known.keys(found)
        if keys is None:
            raise Unresolved(resource_id)
        return dict(keys)


def template_hash(template: Any) -> str:
    """A number that is the same for templates that say the same."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return str(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))


def _stored(deployment: StoredDeployment) -> dict[str, Any]:
    return dict(msgspec.to_builtins(deployment))


def _key(subscription: str, group: str, name: str) -> str:
    return f"{subscription}/{group}/{name}".lower()


def _unknown_type(planned: Planned) -> dict[str, Any]:
    message = (
        f"The resource type {planned.type} is not available in this server. With the setting foreign_resources=ignore "
        "such resources are left out."
    )
    return {"code": "InvalidResourceType", "message": message, "target": planned.id}


def _unknown_version(planned: Planned) -> dict[str, Any]:
    message = f"There is no api-version {planned.api_version} of the resource type {planned.type}."
    return {"code": "NoRegisteredProviderFound", "message": message, "target": planned.id}


def _left_out(planned: Planned, now: float) -> Operation:
    name = planned.name.rpartition("/")[2]
    warnings = [f"left out, since the type {planned.type} is not known here"]
    return Operation(planned.id, planned.type, name, "NotSpecified", "Succeeded", now, now, warnings=warnings)


def _misplaced(planned: Planned) -> dict[str, Any]:
    message = f"A resource of type {planned.type} extends no other one: it has no scope."
    return {"code": "InvalidTemplate", "message": message, "target": planned.id}


def _delete_action(known: Deployable) -> str:
    return known.action.removesuffix("write") + "delete"


def _detail(error: HubwireError, planned: Planned) -> dict[str, Any]:
    code = getattr(error, "code", None) or _CODES.get(type(error).__name__, "BadRequest")
    message = error.message if isinstance(error, Refused) else str(error)
    return {"code": code, "message": message, "target": planned.id}


def _dependencies(plan: Plan) -> list[dict[str, Any]]:
    by_id = {planned.id: planned for planned in plan.resources}

    def named(planned: Planned) -> dict[str, str]:
        return {"id": planned.id, "resourceType": planned.type, "resourceName": planned.name}

    return [
        {"dependsOn": [named(by_id[above]) for above in planned.depends_on], **named(planned)}
        for planned in plan.resources
        if planned.depends_on and not planned.existing
    ]


def _providers(plan: Plan) -> list[dict[str, Any]]:
    kinds: dict[str, list[str]] = {}
    for planned in plan.resources:
        namespace, _, kind = planned.type.partition("/")
        if kind not in kinds.setdefault(namespace, []):
            kinds[namespace].append(kind)
    return [
        {"namespace": namespace, "resourceTypes": [{"resourceType": kind, "locations": ["local"]} for kind in found]}
        for namespace, found in kinds.items()
    ]


def _change(planned: Planned, before: dict[str, Any] | None, after: dict[str, Any]) -> dict[str, Any]:
    change: dict[str, Any] = {"resourceId": planned.id}
    if before is None:
        return {**change, "changeType": "Create", "after": _told(after, after)}
    shown, expected = _told(before, after), _told(after, after)
    delta = _delta(shown, expected)
    kind = "Modify" if delta else "NoChange"
    result = {**change, "changeType": kind, "before": shown, "after": expected}
    return {**result, "delta": delta} if delta else result


def _told(document: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What can be compared: not what only the service says, nor the spelling of what the template names otherwise."""
    shown = {name: copy.deepcopy(value) for name, value in document.items() if name not in ("systemData", "apiVersion")}
    for name in ("id", "type", "name"):
        shown[name] = wanted.get(name, shown.get(name))
    properties = shown.get("properties")
    if isinstance(properties, dict):
        for name in _ONLY_THE_SERVICE_SAYS:
            properties.pop(name, None)
    identity = shown.get("identity")
    if isinstance(identity, dict):
        for name in ("principalId", "tenantId"):
            identity.pop(name, None)
        assigned = identity.get("userAssignedIdentities")
        if isinstance(assigned, dict):
            identity["userAssignedIdentities"] = dict.fromkeys(assigned)
    return shown


_ONLY_THE_SERVICE_SAYS: Final = (
    "provisioningState",
    "externalIP",
    "hostName",
    "hostNamePrefix",
    "publicPort",
    "serverPort",
    "version",
    "privateEndpointConnections",
    "sharedPrivateLinkResources",
    "immutableResourceId",
    "vaultUri",
    "secretUri",
    "secretUriWithVersion",
)


def _delta(before: Any, after: Any, path: str = "") -> list[dict[str, Any]]:
    """What is different, property by property; an array is compared as one value."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for name in dict.fromkeys((*before, *after)):
            inner = f"{path}.{name}" if path else name
            if name not in after:
                found.append({"path": inner, "propertyChangeType": "Delete", "before": before[name], "after": None})
            elif name not in before:
                found.append({"path": inner, "propertyChangeType": "Create", "before": None, "after": after[name]})
            else:
                found += _delta(before[name], after[name], inner)
        return found
    if before == after:
        return []
    return [{"path": path, "propertyChangeType": "Modify", "before": before, "after": after}]
