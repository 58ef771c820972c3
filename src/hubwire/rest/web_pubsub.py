"""
The resource manager's table for Microsoft.SignalRService: webPubSub resources with their hubs and keys.

Every change is carried out before it is answered, so that no client has anything to poll. Names, statuses and bodies
are those of api-version 2024-03-01; all versions from 2021-04-01-preview on are taken alike.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from hubwire.model.errors import BadRequest, NotFound
from hubwire.model.hubs import KeyKind
from hubwire.resources.catalog import Catalog
from hubwire.resources.documents import StoredHub, StoredResource
from hubwire.resources.resource_documents import (
    Place,
    hub_document,
    keys_document,
    replica_document,
    resource_document,
)
from hubwire.resources.resource_properties import (
    ASSIGN_IDENTITY,
    SKUS,
    identity_of,
    is_location,
    is_resource_name,
    sku_of,
    tags_of,
)
from hubwire.resources.shapes import as_object
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

__all__ = ["WebPubSubTable"]

_TYPE: Final = "Microsoft.SignalRService/webPubSub"
_PROVIDER: Final = "/providers/Microsoft.SignalRService"
_SUBSCRIPTION: Final = "/subscriptions/{subscription}"
_ALL: Final = _SUBSCRIPTION + "/resourceGroups/{group}" + _PROVIDER + "/webPubSub"
_ONE: Final = _ALL + "/{name}"
_HUB: Final = _ONE + "/hubs/{hub}"
_LOCATION: Final = _SUBSCRIPTION + _PROVIDER + "/locations/{location}"
_REPLICA: Final = _ONE + "/replicas/{replica}"
_KEY_KINDS: Final[dict[str, KeyKind]] = {"primary": "primary", "secondary": "secondary", "salt": "salt"}
_NOWHERE: Final = {
    "customCertificates": "A custom certificate (TLS from a Key Vault)",
    "customDomains": "A custom domain",
    "persistentStorages": "A persistent storage",
}
"""Children of a resource that this server does not have."""
_EMPTY: Final = ("privateEndpointConnections", "privateLinkResources", "sharedPrivateLinkResources")
"""Children of which there are none, since there is no private network here."""


class WebPubSubTable:
    """
    The handlers.

    Args:
        place: where a resource is reached.
        tenant_id: of the managed identities.
        restart: ends all connections of a resource, by its name in lower case.
        managers: who may use which identity.
    """

    def __init__(
        self,
        catalog: Catalog,
        place: Callable[[StoredResource], Place],
        tenant_id: str,
        restart: Callable[[str], Awaitable[None]],
        managers: Managers,
    ) -> None:
        self._managers = managers
        self._catalog = catalog
        self._place = place
        self._tenant_id = tenant_id
        self._restart_resource = restart

    def operations(self) -> tuple[Operation, ...]:
        """The table."""
        return (
            _row("GET", _ALL, "WebPubSub_ListByResourceGroup", self._list_in_group, (200,), "webPubSub/read"),
            Operation(
                "GET",
                _SUBSCRIPTION + _PROVIDER + "/webPubSub",
                "WebPubSub_ListBySubscription",
                self._list,
                (200,),
                surface="management",
            ),
            _row("GET", _ONE, "WebPubSub_Get", self._get, (200, 404), "webPubSub/read"),
            _row("HEAD", _ONE, "WebPubSub_Exists", self._head, (204, 404), "webPubSub/read"),
            _row("PUT", _ONE, "WebPubSub_CreateOrUpdate", self._put, (200, 201, 400, 409), "webPubSub/write"),
            _row("PATCH", _ONE, "WebPubSub_Update", self._patch, (200, 400, 404, 409), "webPubSub/write"),
            _row("DELETE", _ONE, "WebPubSub_Delete", self._delete, (200, 204, 409), "webPubSub/delete"),
            _row(
                "POST",
                _ONE + "/listKeys",
                "WebPubSub_ListKeys",
                self._list_keys,
                (200, 404),
                "webPubSub/listKeys/action",
            ),
            _row(
                "POST",
                _ONE + "/regenerateKey",
                "WebPubSub_RegenerateKey",
                self._regenerate,
                (200, 400, 404),
                "webPubSub/regeneratekey/action",
            ),
            _row("POST", _ONE + "/restart", "WebPubSub_Restart", self._restart, (204, 404), "webPubSub/restart/action"),
            _row("GET", _ONE + "/skus", "WebPubSub_ListSkus", self._skus, (200, 404), "webPubSub/skus/read"),
            _row("GET", _ONE + "/hubs", "WebPubSubHubs_List", self._list_hubs, (200, 404), "webPubSub/hubs/read"),
            _row("GET", _HUB, "WebPubSubHubs_Get", self._get_hub, (200, 404), "webPubSub/hubs/read"),
            _row("PUT", _HUB, "WebPubSubHubs_CreateOrUpdate", self._put_hub, (200, 400, 404), "webPubSub/hubs/write"),
            _row("DELETE", _HUB, "WebPubSubHubs_Delete", self._delete_hub, (200, 204), "webPubSub/hubs/delete"),
            _row(
                "GET",
                _ONE + "/replicas",
                "WebPubSubReplicas_List",
                self._replicas,
                (200, 404),
                "webPubSub/replicas/read",
            ),
            _row("GET", _REPLICA, "WebPubSubReplicas_Get", self._get_replica, (200, 404), "webPubSub/replicas/read"),
            _row(
                "PUT",
                _REPLICA,
                "WebPubSubReplicas_CreateOrUpdate",
                self._put_replica,
                (200, 201, 400, 404),
                "webPubSub/replicas/write",
            ),
            _row(
                "PATCH",
                _REPLICA,
                "WebPubSubReplicas_Update",
                self._patch_replica,
                (200, 404),
                "webPubSub/replicas/write",
            ),
            _row(
                "DELETE",
                _REPLICA,
                "WebPubSubReplicas_Delete",
                self._delete_replica,
                (200, 204),
                "webPubSub/replicas/delete",
            ),
            _row(
                "POST",
                _REPLICA + "/restart",
                "WebPubSubReplicas_Restart",
                self._restart_replica,
                (204, 404),
                "webPubSub/replicas/restart/action",
            ),
            _row(
                "GET",
                _REPLICA + "/skus",
                "WebPubSubReplicas_ListSkus",
                self._skus,
                (200, 404),
                "webPubSub/replicas/skus/read",
            ),
            _row(
                "GET",
                _REPLICA + "/sharedPrivateLinkResources",
                "WebPubSubReplicas_ListSharedPrivateLinkResources",
                self._none,
                (200, 404),
                "webPubSub/replicas/sharedPrivateLinkResources/read",
            ),
            _row(
                "POST",
                _LOCATION + "/checkNameAvailability",
                "WebPubSub_CheckNameAvailability",
                self._check_name,
                (200, 400),
                "locations/checkNameAvailability/action",
            ),
            _row("GET", _LOCATION + "/usages", "Usages_List", self._usages, (200,), "locations/usages/read"),
            *(
                _row(
                    "GET", f"{_ONE}/{kind}", f"WebPubSub_List_{kind}", self._none, (200, 404), f"webPubSub/{kind}/read"
                )
                for kind in _EMPTY
            ),
            *self._missing(),
        )

    def _missing(self) -> list[Operation]:
        """What is answered that it is not there."""
        rows = []
        for kind, feature in _NOWHERE.items():

            async def refuse(call: Call, feature: str = feature) -> Reply:  # noqa: ARG001  handlers look alike
                raise not_available(feature)

            path, action = f"{_ONE}/{kind}", f"webPubSub/{kind}"
            rows.append(_row("GET", path, f"{kind}_List", refuse, (501,), f"{action}/read"))
            for method, verb in (("GET", "read"), ("PUT", "write"), ("PATCH", "write"), ("DELETE", "delete")):
                rows.append(_row(method, path + "/{child}", f"{kind}_{method}", refuse, (501,), f"{action}/{verb}"))
        return rows

    # Resources.

    def _found(self, call: Call) -> StoredResource:
        version_of(call, _TYPE)
        return self._catalog.resource(subscription_of(call), group_of(call), call.names["name"])

    def _shown(self, resource: StoredResource) -> dict[str, Any]:
        return resource_document(resource, self._place(resource), self._tenant_id)

    async def _list(self, call: Call) -> Reply:
        version_of(call, _TYPE)
        shown = [self._shown(one) for one in self._catalog.resources(subscription_of(call))]
        may, action = self._managers.may, "Microsoft.SignalRService/webPubSub/read"
        return list_reply([one for one in shown if call.bearer is None or may(call.bearer, action, one["id"])])

    async def _list_in_group(self, call: Call) -> Reply:
        version_of(call, _TYPE)
        subscription, group = subscription_of(call), group_of(call)
        if self._catalog.group(subscription, group) is None:
            raise NotFound(f"Resource group '{group}' could not be found.", "group")
        return list_reply([self._shown(one) for one in self._catalog.resources(subscription, group)])

    async def _get(self, call: Call) -> Reply:
        return document_reply(self._shown(self._found(call)))

    async def _head(self, call: Call) -> Reply:
        self._found(call)
        return Reply()

    async def _put(self, call: Call) -> Reply:
        version_of(call, _TYPE)
        before = self._catalog.named(call.names["name"])
        body = await read_document(call)
        self._check_identity(call, body)
        resource, is_new = await self._catalog.put_resource(
            subscription_of(call), group_of(call), call.names["name"], body
        )
        return self._answer(before, resource, body, 201 if is_new else 200)

    async def _patch(self, call: Call) -> Reply:
        old = self._found(call)
        body = await read_document(call)
        self._check_identity(call, body)
        resource = await self._catalog.patch_resource(old.subscription, old.group, old.name, body)
        return self._answer(old, resource, body, 200)

    def _check_identity(self, call: Call, body: Mapping[str, Any]) -> None:
        """Whoever gives a resource an identity may use that identity."""
        _, assigned = identity_of(body.get("identity"))
        if assigned is not None and call.bearer is not None:
            self._managers.check(call.bearer, ASSIGN_IDENTITY, assigned)

    def _answer(
        self, before: StoredResource | None, resource: StoredResource, body: Mapping[str, Any], status: int
    ) -> Reply:
        warnings = self._catalog.resource_warnings(resource, body, before)
        return document_reply(self._shown(resource), status, warning_headers(warnings))

    async def _delete(self, call: Call) -> Reply:
        version_of(call, _TYPE)
        done = await self._catalog.delete_resource(subscription_of(call), group_of(call), call.names["name"])
        return Reply(status=200 if done else 204)

    async def _list_keys(self, call: Call) -> Reply:
        resource = self._found(call)
        return document_reply(keys_document(resource.keys, self._place(resource).endpoint))

    async def _regenerate(self, call: Call) -> Reply:
        resource = self._found(call)
        kind = _KEY_KINDS.get(str((await read_document(call)).get("keyType")).lower())
        if kind is None:
            raise BadRequest("keyType must be Primary, Secondary or Salt.", "keyType")
        keys = await self._catalog.rotate_key(resource.name, kind)
        return document_reply(keys_document(keys, self._place(resource).endpoint))

    async def _restart(self, call: Call) -> Reply:
        await self._restart_resource(self._found(call).name.lower())
        return Reply()

    async def _skus(self, call: Call) -> Reply:
        resource = self._found(call)
        skus = [
            {
                "resourceType": _TYPE,
                "sku": {"name": name, "tier": sku.tier, "size": name.partition("_")[2]},
                "capacity": {
                    "minimum": sku.capacities[0],
                    "maximum": sku.capacities[-1],
                    "default": sku.capacities[0],
                    "allowedValues": list(sku.capacities),
                    "scaleType": "Manual" if len(sku.capacities) > 1 else "None",
                },
            }
            for name, sku in SKUS.items()
        ]
        assert resource.sku["name"] in SKUS, "it was checked when it was stored"
        return list_reply(skus)

    async def _none(self, call: Call) -> Reply:
        self._found(call)
        return list_reply([])

    # Hubs.

    async def _list_hubs(self, call: Call) -> Reply:
        resource = self._found(call)
        hubs = await self._catalog.list_hubs(resource.name)
        return list_reply([hub_document(resource, StoredHub(**hub)) for hub in hubs])

    async def _get_hub(self, call: Call) -> Reply:
        resource = self._found(call)
        hub = await self._catalog.get_hub(call.names["hub"], resource.name)
        if hub is None:
            raise NotFound(f"The hub {call.names['hub']} of the resource {resource.name} could not be found.", "hub")
        return document_reply(hub_document(resource, StoredHub(**hub)))

    async def _put_hub(self, call: Call) -> Reply:
        resource = self._found(call)
        properties = (await read_document(call)).get("properties")
        if not isinstance(properties, dict):
            raise BadRequest("The properties of the hub are required.", "properties")
        hub = StoredHub(**await self._catalog.put_hub(call.names["hub"], properties, resource.name))
        # Never 201: a hub has no provisioning state, and clients would ask for it once more.
        warnings = self._catalog.hub_warnings(hub.name, resource.name)
        return document_reply(hub_document(resource, hub), 200, warning_headers(warnings))

    async def _delete_hub(self, call: Call) -> Reply:
        try:
            resource = self._found(call)
        except NotFound:
            return Reply(status=204)
        return Reply(status=200 if await self._catalog.delete_hub(call.names["hub"], resource.name) else 204)

    # Replicas, which are kept and do nothing.

    async def _replicas(self, call: Call) -> Reply:
        resource = self._found(call)
        return list_reply([replica_document(resource, name) for name in sorted(resource.replicas)])

    def _replica(self, call: Call) -> tuple[StoredResource, str]:
        resource, typed = self._found(call), call.names["replica"]
        name = next((known for known in resource.replicas if known.lower() == typed.lower()), None)
        if name is None:
            raise NotFound(f"The replica {typed} of the resource {resource.name} could not be found.", "replica")
        return resource, name

    async def _get_replica(self, call: Call) -> Reply:
        return document_reply(replica_document(*self._replica(call)))

    async def _put_replica(self, call: Call) -> Reply:
        resource, name = self._found(call), call.names["replica"]
        body = await read_document(call)
        return await self._keep_replica(resource, name, body)

    async def _patch_replica(self, call: Call) -> Reply:
        resource, name = self._replica(call)
        old = resource.replicas[name]
        body = await read_document(call)
        properties = as_object("properties", body.get("properties") or {}, {})
        merged = {**old, **body, "properties": {**old.get("properties", {}), **properties}}
        return await self._keep_replica(resource, name, merged)

    async def _keep_replica(self, resource: StoredResource, name: str, body: dict[str, Any]) -> Reply:
        if not is_location(body.get("location")):
            raise BadRequest("The location of the replica is required.", "location")
        kept = {"location": body["location"], "tags": tags_of(body.get("tags"))}
        if body.get("sku") is not None:
            kept["sku"] = sku_of(body["sku"])
        properties = as_object("properties", body.get("properties") or {}, {})
        kept["properties"] = {**properties, "provisioningState": "Succeeded"}
        is_new = await self._catalog.put_replica(resource.subscription, resource.group, resource.name, name, kept)
        changed = self._catalog.resource(resource.subscription, resource.group, resource.name)
        spelled = next(known for known in changed.replicas if known.lower() == name.lower())
        return document_reply(replica_document(changed, spelled), 201 if is_new else 200)

    async def _delete_replica(self, call: Call) -> Reply:
        try:
            resource, name = self._replica(call)
        except NotFound:
            return Reply(status=204)
        await self._catalog.delete_replica(resource.subscription, resource.group, resource.name, name)
        return Reply()

    async def _restart_replica(self, call: Call) -> Reply:
        self._replica(call)
        return Reply()

    # What is said about a place.

    async def _check_name(self, call: Call) -> Reply:
        version_of(call, _TYPE)
        subscription_of(call)
        body = await read_document(call)
        name, kind = body.get("name"), body.get("type")
        if not isinstance(name, str) or not isinstance(kind, str):
            raise BadRequest("name and type are required.", "name")
        if kind.lower() != _TYPE.lower():
            raise ManagementFault(400, "InvalidParameter", f"type must be {_TYPE}.", "type")
        if not is_resource_name(name):
            rule = "A name has 3 to 63 letters, digits and hyphens, begins with a letter and ends with no hyphen."
            return document_reply({"nameAvailable": False, "reason": "Invalid", "message": rule})
        if self._catalog.named(name) is not None:
            taken = f"There is a resource with the name {name} already."
            return document_reply({"nameAvailable": False, "reason": "AlreadyExists", "message": taken})
        return document_reply({"nameAvailable": True})

    async def _usages(self, call: Call) -> Reply:
        version_of(call, _TYPE)
        subscription = subscription_of(call)
        resources = self._catalog.resources(subscription)
        units = sum(int(one.sku["capacity"]) for one in resources if one.sku["name"] != "Free_F1")
        free = sum(one.sku["name"] == "Free_F1" for one in resources)
        return list_reply(
            [_usage(subscription, "FreeTierInstances", free), _usage(subscription, "SignalRTotalUnits", units)]
        )


def _usage(subscription: str, name: str, value: int) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{subscription}{_PROVIDER}/locations/local/usages/{name}",
        "currentValue": value,
        "limit": -1,
        "name": {"value": name, "localizedValue": name},
        "unit": "Count",
    }


def _row(method: str, path: str, name: str, handler: Handler, statuses: tuple[int, ...], action: str) -> Operation:
    full = f"Microsoft.SignalRService/{action}"
    return Operation(method, path, name, handler, statuses, surface="management", action=full)
