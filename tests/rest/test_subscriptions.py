"""The resource manager's table of subscriptions, groups, lists and providers, through the application."""

from typing import Any

import pytest

from auth.entra import TENANT
from hubwire.model.roles import CONTRIBUTOR, RESOURCE_READER, WEB_PUBSUB_CONTRIBUTOR
from hubwire.resources.catalog import Catalog
from rest.asgi import Reply
from rest.managing import GROUP, GROUPS, ISSUER, OWN, SUBSCRIPTION, Managing, open_managing

HOME = f"/subscriptions/{SUBSCRIPTION}"
OTHER = "33333333-aaaa-4000-8000-000000000003"


@pytest.fixture
async def managing() -> Managing:
    return await open_managing()


def names(reply: Reply, key: str = "name") -> list[str]:
    assert reply.status == 200
    assert reply.json.keys() == {"value"}
    return [one[key] for one in reply.json["value"]]


# Before anybody has a token


@pytest.mark.parametrize("path", ["/metadata/endpoints", "//metadata/endpoints", "/Metadata/Endpoints"])
async def test_anybody_is_told_where_everything_is(managing: Managing, path: str) -> None:
    for version in (None, "2022-09-01", "2015-01-01"):
        reply = await managing.call("GET", path, token=None, version=version)

        assert reply.status == 200
        assert reply.json["resourceManager"] == f"{OWN}/"
        assert reply.json["authentication"]["loginEndpoint"] == ISSUER
        assert "https://management.core.windows.net/" in reply.json["authentication"]["audiences"]


@pytest.mark.parametrize("path", ["/tenants", "/subscriptions", HOME, GROUPS, f"{HOME}/providers", f"{HOME}/locations"])
async def test_nobody_else_is_told_anything(managing: Managing, path: str) -> None:
    assert await managing.fault("GET", path, token=None) == (401, "AuthenticationFailed")


# Subscriptions


async def test_subscriptions_are_those_that_have_groups(managing: Managing) -> None:
    await managing.catalog.put_resource(OTHER, "g", "wps-one", {"location": "eastus"})

    reply = await managing.call("GET", "/subscriptions", version="2022-12-01")

    assert names(reply, "subscriptionId") == [SUBSCRIPTION, OTHER]
    assert reply.json["value"][0]["id"] == HOME
    assert (reply.json["value"][0]["state"], reply.json["value"][0]["tenantId"]) == ("Enabled", TENANT.tenant_id)


@pytest.mark.parametrize("role", [RESOURCE_READER, CONTRIBUTOR])
async def test_subscriptions_are_those_that_the_caller_has_a_role_in(role: Any) -> None:
    managing = await open_managing(role.id)
    await managing.catalog.put_resource(OTHER, "g", "wps-one", {"location": "eastus"})
    managing.directory.assignments.clear()
    assert names(await managing.call("GET", "/subscriptions")) == []

    managing.assign(role.id, f"/subscriptions/{OTHER}/resourceGroups/g")

    assert names(await managing.call("GET", "/subscriptions"), "subscriptionId") == [OTHER]


async def test_operator_sees_all_subscriptions(managing: Managing) -> None:
    managing.directory.assignments.clear()

    reply = await managing.call("GET", "/subscriptions", token=None, state={"control": True, "host": "localhost"})

    assert names(reply, "subscriptionId") == [SUBSCRIPTION]


async def test_any_subscription_is_there(managing: Managing) -> None:
    for text in (SUBSCRIPTION, OTHER, OTHER.upper()):
        reply = await managing.call("GET", f"/subscriptions/{text}")
        assert (reply.status, reply.json["subscriptionId"]) == (200, text.lower())
    assert await managing.fault("GET", "/subscriptions/x") == (400, "InvalidSubscriptionId")


async def test_there_is_one_tenant_and_one_location(managing: Managing) -> None:
    assert names(await managing.call("GET", "/tenants"), "tenantId") == [TENANT.tenant_id]
    assert names(await managing.call("GET", f"{HOME}/locations")) == ["local"]


@pytest.mark.parametrize("path", ["/tenants", "/subscriptions", HOME, GROUPS, GROUP, f"{HOME}/resources"])
async def test_api_version_is_required_and_of_any_time(managing: Managing, path: str) -> None:
    await managing.made()

    assert await managing.fault("GET", path, version=None) == (400, "MissingApiVersionParameter")
    assert await managing.fault("GET", path, version="soon") == (400, "InvalidApiVersionParameter")
    for version in ("2014-04-01", "2020-01-01", "2025-04-01-preview"):
        assert (await managing.call("GET", path, version=version)).status == 200


# Groups


async def test_group_is_created_replaced_patched_and_deleted(managing: Managing) -> None:
    assert await managing.fault("GET", GROUP) == (404, "ResourceGroupNotFound")
    assert await managing.fault("HEAD", GROUP) == (404, "ResourceGroupNotFound")

    first = await managing.call("PUT", GROUP, {"Location": "East US", "tags": {"a": "b"}, "managedBy": "somebody"})
    assert first.status == 201
    assert first.json == {
        "id": GROUP,
        "name": "g",
        "type": "Microsoft.Resources/resourceGroups",
        "location": "eastus",
        "tags": {"a": "b"},
        "properties": {"provisioningState": "Succeeded"},
        "managedBy": "somebody",
    }
    patched = await managing.call("PATCH", GROUP.upper(), {"tags": {"c": "d"}})
    assert (patched.status, patched.json) == (200, {**first.json, "tags": {"c": "d"}})
    assert (await managing.call("PATCH", GROUP, {})).json == patched.json
    second = await managing.call("PUT", GROUP, {"location": "eastus"})
    assert (second.status, second.json["tags"]) == (200, {})
    assert "managedBy" not in second.json
    assert (await managing.call("HEAD", GROUP)).status == 204
    assert names(await managing.call("GET", GROUPS)) == ["g", "hubwire"]

    assert (await managing.call("DELETE", GROUP)).status == 200
    assert await managing.fault("DELETE", GROUP) == (404, "ResourceGroupNotFound")
    assert names(await managing.call("GET", GROUPS)) == ["hubwire"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "LocationRequired"),
        ({"location": 1}, "LocationRequired"),
        ({"location": "eastus", "tags": 1}, "InvalidParameter"),
        ([], "InvalidRequestContent"),
    ],
)
async def test_group_that_cannot_be_is_refused(managing: Managing, body: object, code: str) -> None:
    assert await managing.fault("PUT", GROUP, body) == (400, code)
    assert managing.catalog.group(SUBSCRIPTION, "g") is None


@pytest.mark.parametrize("value", [5, [], {}, True])
async def test_manager_of_a_group_that_is_no_text_is_refused(managing: Managing, value: object) -> None:
    """Kept, it would stop the next start."""
    assert await managing.fault("PUT", GROUP, {"location": "x", "managedBy": value}) == (400, "InvalidParameter")
    await managing.call("PUT", GROUP, {"location": "eastus", "managedBy": "somebody"})
    assert await managing.fault("PATCH", GROUP, {"managedBy": value}) == (400, "InvalidParameter")
    assert "managedBy" not in (await managing.call("PATCH", GROUP, {"managedBy": None})).json

    await Catalog.load(managing.store)


async def test_lists_show_what_the_caller_may_read() -> None:
    managing = await open_managing()
    await managing.made("wps-one", "g")
    await managing.made("wps-two", "h")
    managing.directory.assignments.clear()
    for path in (GROUPS, f"{HOME}/resources"):
        assert names(await managing.call("GET", path)) == []

    managing.assign(RESOURCE_READER.id, GROUP)

    assert names(await managing.call("GET", GROUPS)) == ["g"]
    assert names(await managing.call("GET", f"{HOME}/resources")) == ["wps-one"]


async def test_group_stays_where_it_is(managing: Managing) -> None:
    await managing.call("PUT", GROUP, {"location": "eastus"})

    assert await managing.fault("PUT", GROUP, {"location": "westus"}) == (409, "InvalidResourceGroupLocation")
    assert (await managing.call("PUT", GROUP, {"location": "East US"})).status == 200


async def test_group_of_the_first_resource_cannot_be_deleted(managing: Managing) -> None:
    assert await managing.fault("DELETE", f"{GROUPS}/hubwire") == (409, "Conflict")


async def test_deleted_group_takes_its_resources_along(managing: Managing) -> None:
    await managing.made()

    assert (await managing.call("DELETE", GROUP)).status == 200
    assert managing.catalog.named("wps-one") is None


async def test_contributor_of_web_pubsub_reads_groups_and_changes_none() -> None:
    managing = await open_managing(WEB_PUBSUB_CONTRIBUTOR.id)
    await managing.made()

    assert (await managing.call("GET", GROUP)).status == 200
    for method in ("PUT", "PATCH", "DELETE"):
        assert await managing.fault(method, GROUP, {"location": "eastus"}) == (403, "AuthorizationFailed")
    assert managing.catalog.named("wps-one") is not None


# Lists over all types


async def test_resources_are_listed_without_their_properties(managing: Managing) -> None:
    await managing.made()

    reply = await managing.call("GET", f"{GROUP}/resources")

    assert names(reply) == ["wps-one"]
    assert "properties" not in reply.json["value"][0]
    assert reply.json["value"][0]["type"] == "Microsoft.SignalRService/WebPubSub"
    assert names(await managing.call("GET", f"{HOME}/resources")) == ["default", "wps-one"]
    assert await managing.fault("GET", f"{GROUPS}/nowhere/resources") == (404, "ResourceGroupNotFound")


@pytest.mark.parametrize(
    ("terms", "found"),
    [
        ("", ["default", "wps-one", "wps-two"]),
        ("resourceType eq 'Microsoft.SignalRService/WebPubSub'", ["default", "wps-one", "wps-two"]),
        ("resourcetype EQ 'microsoft.signalrservice/webpubsub'", ["default", "wps-one", "wps-two"]),
        ("resourceType eq 'Microsoft.Web/sites'", []),
        ("name eq 'WPS-ONE'", ["wps-one"]),
        ("resourceGroup eq 'H'", ["wps-two"]),
        ("location eq 'eastus'", ["wps-one", "wps-two"]),
        ("tagName eq 'stage'", ["wps-one", "wps-two"]),
        ("tagName eq 'stage' and tagValue eq 'test'", ["wps-one"]),
        ("name eq 'wps-one' AND resourceGroup eq 'h'", []),
        ("tagName eq 'it''s'", ["wps-two"]),
        (" name eq 'wps-two'  and  resourceGroup eq 'h' ", ["wps-two"]),
    ],
)
async def test_filter_leaves_what_fits(managing: Managing, terms: str, found: list[str]) -> None:
    await managing.made("wps-one", "g", tags={"stage": "test"})
    await managing.made("wps-two", "h", tags={"stage": "live", "it's": "x"})

    assert names(await managing.call("GET", f"{HOME}/resources?$filter={terms.replace(' ', '%20')}")) == found
    assert names(await managing.call("GET", f"{HOME}/resources?%24filter={terms.replace(' ', '+')}")) == found


async def test_value_in_a_filter_may_have_the_word_and(managing: Managing) -> None:
    await managing.made(tags={"dish": "fish and chips"})

    reply = await managing.call("GET", f"{HOME}/resources?$filter=tagValue%20eq%20'fish%20and%20chips'")

    assert names(reply) == ["wps-one"]


@pytest.mark.parametrize(
    "terms",
    [
        "x",
        "name",
        "name eq x",
        "name ne 'x'",
        "name eq 'x' or name eq 'y'",
        "size eq '1'",
        "name eq 'x",
        "(name eq 'x')",
    ],
)
async def test_filter_that_is_more_than_equalities_is_refused(managing: Managing, terms: str) -> None:
    path = f"{HOME}/resources?$filter={terms.replace(' ', '%20')}"

    assert await managing.fault("GET", path) == (400, "InvalidFilterInQueryString")


# Providers


async def test_providers_are_registered_already(managing: Managing) -> None:
    assert names(await managing.call("GET", f"{HOME}/providers"), "namespace") == [
        "Microsoft.SignalRService",
        "Microsoft.KeyVault",
        "Microsoft.Communication",
        "Microsoft.ManagedIdentity",
        "Microsoft.Resources",
    ]
    for method, path in (("GET", "microsoft.signalrservice"), ("POST", "Microsoft.SignalRService/register")):
        reply = await managing.call(method, f"{HOME}/providers/{path}")
        assert (reply.status, reply.json["registrationState"]) == (200, "Registered")
        kinds = {row["resourceType"]: row["apiVersions"] for row in reply.json["resourceTypes"]}
        assert "2024-03-01" in kinds["WebPubSub"]
        assert "2024-03-01" in kinds["WebPubSub/hubs"]


@pytest.mark.parametrize(("method", "verb"), [("GET", ""), ("POST", "/register")])
async def test_unknown_provider_is_404(managing: Managing, method: str, verb: str) -> None:
    path = f"{HOME}/providers/Microsoft.Storage{verb}"

    assert await managing.fault(method, path) == (404, "InvalidResourceNamespace")


async def test_operations_are_the_actions_of_the_table(managing: Managing) -> None:
    reply = await managing.call("GET", "/providers/Microsoft.SignalRService/operations")

    actions = {row.action for row in managing.operations if row.action and row.action.startswith("Microsoft.Signal")}
    assert set(names(reply)) == actions
    assert "Microsoft.SignalRService/webPubSub/listKeys/action" in actions
    assert not any(row["isDataAction"] for row in reply.json["value"])
