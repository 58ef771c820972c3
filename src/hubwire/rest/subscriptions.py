"""
The resource manager's table for Microsoft.Resources without deployments: subscriptions, tenants, resource groups, lists
of resources, providers, and what a client asks first of all.

Every subscription id is taken, and a resource group is there from when it is first named in a PUT.

Sources: the REST definitions of Microsoft.Resources 2022-12-01 to 2025-04-01; what `az` sends at `cloud register`,
`login`, `group` and `resource`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from hubwire.model.errors import BadRequest, NotFound
from hubwire.resources.catalog import Catalog
from hubwire.resources.documents import StoredGroup, StoredResource
from hubwire.resources.resource_documents import Place, group_document, resource_document
from hubwire.resources.resource_properties import is_location, region, tags_of
from hubwire.rest.call import Call
from hubwire.rest.management_calls import (
    document_reply,
    group_of,
    list_reply,
    operations_reply,
    read_document,
    subscription_of,
    version_of,
)
from hubwire.rest.management_faults import ManagementFault
from hubwire.rest.operation import Handler, Operation, Reply
from hubwire.rest.ports import Managers

__all__ = ["Documents", "SubscriptionTable"]

Documents: TypeAlias = Callable[[str, str | None], Sequence[Mapping[str, Any]]]
"""Resources of a type in a subscription, or in one of its groups, as they are shown."""

_SUBSCRIPTION: Final = "/subscriptions/{subscription}"
_GROUPS: Final = _SUBSCRIPTION + "/resourceGroups"
_GROUP: Final = _GROUPS + "/{group}"
_READ: Final = "Microsoft.Resources/subscriptions/read"
_GROUP_ACTION: Final = "Microsoft.Resources/subscriptions/resourceGroups/"

_WEB_PUBSUB_VERSIONS: Final = (
    "2025-01-01-preview",
    "2024-10-01-preview",
    "2024-08-01-preview",
    "2024-04-01-preview",
    "2024-03-01",
    "2024-01-01-preview",
    "2023-08-01-preview",
    "2023-06-01-preview",
    "2023-03-01-preview",
    "2023-02-01",
    "2022-10-01",
    "2021-10-01",
)
_VAULT_VERSIONS: Final = (
    "2024-11-01",
    "2024-04-01-preview",
    "2023-07-01",
    "2023-02-01",
    "2022-11-01",
    "2022-07-01",
    "2021-10-01",
    "2019-09-01",
    "2018-02-14",
    "2016-10-01",
    "2015-06-01",
)
_COMMUNICATION_VERSIONS: Final = (
    "2025-09-01",
    "2025-05-01-preview",
    "2025-05-01",
    "2024-09-01-preview",
    "2023-06-01-preview",
    "2023-04-01-preview",
    "2023-04-01",
    "2023-03-31",
    "2023-03-01-preview",
    "2022-07-01-preview",
    "2021-10-01-preview",
    "2020-08-20-preview",
    "2020-08-20",
)
_PROVIDERS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "Microsoft.SignalRService": {
        "WebPubSub": _WEB_PUBSUB_VERSIONS,
        "WebPubSub/hubs": _WEB_PUBSUB_VERSIONS,
        "WebPubSub/replicas": _WEB_PUBSUB_VERSIONS,
        "locations": _WEB_PUBSUB_VERSIONS,
        "locations/usages": _WEB_PUBSUB_VERSIONS,
        "operations": _WEB_PUBSUB_VERSIONS,
    },
    "Microsoft.KeyVault": {
        "vaults": _VAULT_VERSIONS,
        "vaults/accessPolicies": _VAULT_VERSIONS,
        "vaults/secrets": _VAULT_VERSIONS,
    },
    "Microsoft.Communication": {
        "communicationServices": _COMMUNICATION_VERSIONS,
        "checkNameAvailability": _COMMUNICATION_VERSIONS,
        "operations": _COMMUNICATION_VERSIONS,
    },
    "Microsoft.ManagedIdentity": {
        "userAssignedIdentities": (
            "2024-11-30",
            "2023-01-31",
            "2022-01-31-preview",
            "2018-11-30",
            "2015-08-31-preview",
        ),
    },
    "Microsoft.Resources": {
        "deployments": ("2025-04-01", "2024-11-01", "2022-09-01", "2021-04-01", "2020-10-01"),
        "resourceGroups": ("2025-04-01", "2024-11-01", "2022-09-01", "2021-04-01", "2020-10-01"),
        "subscriptions": ("2022-12-01", "2022-09-01", "2021-01-01", "2020-01-01"),
        "tenants": ("2022-12-01", "2020-01-01"),
    },
}
_TERM: Final = re.compile(
    r"(resourceType|resourceGroup|name|tagName|tagValue|location)\s+eq\s+'((?:[^']|'')*)'(\s+and\s+(?=\S))?",
    re.IGNORECASE,
)


class SubscriptionTable:
    """
    The handlers.

    Args:
        place: where a resource is reached.
        tenant_id: the one tenant.
        issuer_url, own_url: base URLs of the token issuer and of the resource manager.
        managers: who sees what.
        actions: names of all actions of Microsoft.SignalRService.
        others: the resources of other types.
    """

    def __init__(
        self,
        catalog: Catalog,
        place: Callable[[StoredResource], Place],
        tenant_id: str,
        issuer_url: str,
        own_url: str,
        managers: Managers,
        actions: Sequence[str],
        others: Sequence[Documents] = (),
    ) -> None:
        self._others = others
        self._catalog = catalog
        self._place = place
        self._tenant_id = tenant_id
        self._issuer_url = issuer_url
        self._own_url = own_url
        self._managers = managers
        self._actions = actions

    def operations(self) -> tuple[Operation, ...]:
        """The table."""
        group = _GROUP_ACTION
        return (
            _row("GET", "/metadata/endpoints", "Metadata_Endpoints", self._metadata, (200,), None, anonymous=True),
            _row("GET", "/tenants", "Tenants_List", self._tenants, (200,)),
            _row("GET", "/subscriptions", "Subscriptions_List", self._subscriptions, (200,)),
            _row("GET", _SUBSCRIPTION, "Subscriptions_Get", self._subscription, (200,)),
            _row("GET", _SUBSCRIPTION + "/locations", "Subscriptions_ListLocations", self._locations, (200,), _READ),
            _row("GET", _GROUPS, "ResourceGroups_List", self._groups, (200,)),
            _row("GET", _GROUP, "ResourceGroups_Get", self._get_group, (200, 404), group + "read"),
            _row("HEAD", _GROUP, "ResourceGroups_CheckExistence", self._has_group, (204, 404), group + "read"),
            _row(
                "PUT", _GROUP, "ResourceGroups_CreateOrUpdate", self._put_group, (200, 201, 400, 409), group + "write"
            ),
            _row("PATCH", _GROUP, "ResourceGroups_Update", self._patch_group, (200, 400, 404), group + "write"),
            _row("DELETE", _GROUP, "ResourceGroups_Delete", self._delete_group, (200, 404, 409), group + "delete"),
            _row(
                "GET",
                _GROUP + "/resources",
                "Resources_ListByGroup",
                self._in_group,
                (200, 404),
                f"{group}resources/read",
            ),
            _row("GET", _SUBSCRIPTION + "/resources", "Resources_List", self._resources, (200, 400)),
            _row("GET", _SUBSCRIPTION + "/providers", "Providers_List", self._providers, (200,)),
            _row("GET", _SUBSCRIPTION + "/providers/{namespace}", "Providers_Get", self._provider, (200, 404)),
            _row(
                "POST",
                _SUBSCRIPTION + "/providers/{namespace}/register",
                "Providers_Register",
                self._provider,
                (200, 404),
            ),
            _row(
                "GET",
                "/providers/Microsoft.SignalRService/operations",
                "Operations_List",
                self._list_operations,
                (200,),
            ),
        )

    async def _metadata(self, call: Call) -> Reply:  # noqa: ARG002  handlers look alike
        """What `az cloud register` reads. Nobody has a token at that time."""
        own, login = f"{self._own_url}/", self._issuer_url
        document = {
            "name": "hubwire",
            "portal": own,
            "authentication": {
                "loginEndpoint": login,
                "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
                "tenant": "common",
                "identityProvider": "AAD",
            },
            "graph": own,
            "graphAudience": own,
            "microsoftGraphResourceId": own,
            "activeDirectoryDataLake": "",
            "suffixes": {"keyVaultDns": "vault.localhost"},
            "resourceManager": own,
            "gallery": own,
        }
        # Before 2022 this was a list of clouds' details in another form; newer clients take one document or a list.
        return document_reply(document)

    async def _tenants(self, call: Call) -> Reply:
        version_of(call)
        tenant = {
            "id": f"/tenants/{self._tenant_id}",
            "tenantId": self._tenant_id,
            "displayName": "Hubwire",
            "defaultDomain": "hubwire.localhost",
            "domains": ["hubwire.localhost"],
            "tenantCategory": "Home",
            "tenantType": "AAD",
            "countryCode": "",
        }
        return list_reply([tenant])

    async def _subscriptions(self, call: Call) -> Reply:
        version_of(call)
        seen = [
            subscription
            for subscription in self._catalog.subscriptions()
            if call.bearer is None or self._managers.sees(call.bearer, f"/subscriptions/{subscription}")
        ]
        return list_reply([self._subscription_document(subscription) for subscription in seen])

    async def _subscription(self, call: Call) -> Reply:
        version_of(call)
        return document_reply(self._subscription_document(subscription_of(call).lower()))

    def _subscription_document(self, subscription: str) -> dict[str, Any]:
        return {
            "id": f"/subscriptions/{subscription}",
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            "subscriptionId": subscription,
            "tenantId": self._tenant_id,
            "displayName": "Hubwire",
            "state": "Enabled",
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "Local_2014-09-01",
                "spendingLimit": "Off",
            },
        }

    async def _locations(self, call: Call) -> Reply:
        version_of(call)
        subscription = subscription_of(call)
        place = {
            "id": f"/subscriptions/{subscription}/locations/local",
            "name": "local",
            "type": "Region",
            "displayName": "Local",
            "regionalDisplayName": "Local",
            "metadata": {"regionType": "Physical", "regionCategory": "Recommended"},
        }
        return list_reply([place])

    # Resource groups.

    def _group(self, call: Call) -> StoredGroup:
        version_of(call)
        name = group_of(call)
        group = self._catalog.group(subscription_of(call), name)
        if group is None:
            raise NotFound(f"Resource group '{name}' could not be found.", "group")
        return group

    async def _groups(self, call: Call) -> Reply:
        version_of(call)
        documents = [group_document(group) for group in self._catalog.groups(subscription_of(call))]
        return list_reply([found for found in documents if self._may_read(call, _GROUP_ACTION, found)])

    async def _get_group(self, call: Call) -> Reply:
        return document_reply(group_document(self._group(call)))

    async def _has_group(self, call: Call) -> Reply:
        self._group(call)
        return Reply()

    async def _put_group(self, call: Call) -> Reply:
        version_of(call)
        subscription, name = subscription_of(call), group_of(call)
        body = await read_document(call)
        location = body.get("location")
        if not is_location(location):
            raise BadRequest("The location of the resource group is required.", "location")
        old = self._catalog.group(subscription, name)
        if old is not None and old.location != "local" and region(old.location) != region(location):
            message = f"The resource group is in {old.location} and cannot be moved to {location}."
            raise ManagementFault(409, "InvalidResourceGroupLocation", message, "location")
        group = StoredGroup(
            name,
            old.subscription if old else subscription,
            region(location),
            tags_of(body.get("tags")),
            _managed_by(body.get("managedBy")),
        )
        is_new = await self._catalog.put_group(group)
        return self._shown(group, 201 if is_new else 200)

    async def _patch_group(self, call: Call) -> Reply:
        old = self._group(call)
        body = await read_document(call)
        tags = tags_of(body["tags"]) if "tags" in body else old.tags
        managed_by = _managed_by(body["managedBy"]) if "managedBy" in body else old.managed_by
        group = StoredGroup(old.name, old.subscription, old.location, tags, managed_by)
        await self._catalog.put_group(group)
        return self._shown(group, 200)

    def _shown(self, group: StoredGroup, status: int) -> Reply:
        return document_reply(group_document(self._catalog.group(group.subscription, group.name) or group), status)

    async def _delete_group(self, call: Call) -> Reply:
        group = self._group(call)
        await self._catalog.delete_group(group.subscription, group.name)
        return Reply()

    def _may_read(self, call: Call, kind: str, document: Mapping[str, Any]) -> bool:
        """Lists show what whoever asks may see."""
        return call.bearer is None or self._managers.may(call.bearer, f"{kind}read", document["id"])

    # Lists over all types.

    async def _in_group(self, call: Call) -> Reply:
        group = self._group(call)
        return self._listed(call, group.subscription, group.name)

    async def _resources(self, call: Call) -> Reply:
        version_of(call)
        return self._listed(call, subscription_of(call), None)

    def _listed(self, call: Call, subscription: str, group: str | None) -> Reply:
        wanted = _terms(call.query.one("$filter"))
        there: list[Mapping[str, Any]] = [
            resource_document(resource, self._place(resource), self._tenant_id)
            for resource in self._catalog.resources(subscription, group)
        ]
        for documents in self._others:
            there += documents(subscription, group)
        return list_reply(
            [
                {name: value for name, value in document.items() if name != "properties"}
                for document in there
                if _fits(document, wanted) and self._may_read(call, f"{document['type']}/", document)
            ]
        )

    # Providers.

    async def _providers(self, call: Call) -> Reply:
        version_of(call)
        subscription = subscription_of(call)
        return list_reply([_provider(subscription, namespace) for namespace in _PROVIDERS])

    async def _provider(self, call: Call) -> Reply:
        version_of(call)
        wanted = call.names["namespace"].lower()
        namespace = next((known for known in _PROVIDERS if known.lower() == wanted), None)
        if namespace is None:
            message = f"The resource provider {call.names['namespace']} is not available in this server."
            raise ManagementFault(404, "InvalidResourceNamespace", message)
        return document_reply(_provider(subscription_of(call), namespace))

    async def _list_operations(self, call: Call) -> Reply:
        version_of(call)
        return operations_reply("Microsoft.SignalRService", self._actions)


def _managed_by(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise BadRequest("managedBy must be a resource id.", "managedBy")
    return value


def _provider(subscription: str, namespace: str) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{subscription}/providers/{namespace}",
        "namespace": namespace,
        "registrationState": "Registered",
        "registrationPolicy": "RegistrationRequired",
        "resourceTypes": [
            {"resourceType": kind, "locations": ["local"], "apiVersions": list(versions), "capabilities": "None"}
            for kind, versions in _PROVIDERS[namespace].items()
        ],
    }


def _terms(text: str | None) -> list[tuple[str, str]]:
    """
    What a filter demands.

    Raises:
        ManagementFault: it is more than equalities with `and` between them.
    """
    if not text:
        return []
    terms = []
    rest = text.strip()
    while rest:
        found = _TERM.match(rest)
        if found is None or (found.end() < len(rest)) != bool(found[3]):
            message = "The $filter may have resourceType, resourceGroup, name, location, tagName and tagValue with eq."
            raise ManagementFault(400, "InvalidFilterInQueryString", message)
        terms.append((found[1].lower(), found[2].replace("''", "'")))
        rest = rest[found.end() :]
    return terms


def _fits(document: Mapping[str, Any], wanted: Sequence[tuple[str, str]]) -> bool:
    known = {
        "resourcetype": document["type"],
        "resourcegroup": document["id"].split("/")[4],
        "name": document["name"],
        "location": region(document["location"]),
    }
    tag, tags = dict(wanted), document["tags"]
    if "tagname" in tag and tag["tagname"] not in tags:
        return False
    if "tagvalue" in tag:
        candidates = [tags.get(tag["tagname"])] if "tagname" in tag else [*tags.values()]
        if tag["tagvalue"] not in candidates:
            return False
    return all(
        known[name].lower() == (region(value) if name == "location" else value.lower())
        for name, value in wanted
        if name in known
    )


def _row(
    method: str,
    path: str,
    name: str,
    handler: Handler,
    statuses: tuple[int, ...],
    action: str | None = None,
    *,
    anonymous: bool = False,
) -> Operation:
    return Operation(method, path, name, handler, statuses, surface="management", action=action, anonymous=anonymous)
