"""The resource manager's table of user-assigned identities, and resources that have them."""

from typing import Any

import pytest

from hubwire.model.roles import CONTRIBUTOR, RESOURCE_READER, WEB_PUBSUB_CONTRIBUTOR
from hubwire.resources.identities import IDENTITY_TYPE
from rest.managing import GROUP, GROUPS, SUBSCRIPTION, WPS, Managing, open_managing

IDENTITIES = f"{GROUP}/providers/{IDENTITY_TYPE}"
ONE = f"{IDENTITIES}/one"
BODY = {"location": "eastus", "tags": {"a": "b"}}
RESOURCE = f"{WPS}/wps-one"


@pytest.fixture
async def managing() -> Managing:
    return await open_managing()


def names(reply: Any) -> list[str]:
    return [item["name"] for item in reply.json["value"]]


def assigned(*which: str) -> dict[str, Any]:
    return {"type": "UserAssigned", "userAssignedIdentities": {one: {} for one in which}}


@pytest.mark.parametrize("version", ["2015-08-31-preview", "2018-11-30", "2023-01-31", "2024-11-30", "2031-01-01"])
async def test_identity_is_made_read_put_again_and_deleted(managing: Managing, version: str) -> None:
    made = await managing.call("PUT", ONE, BODY, version=version)
    assert made.status == 201
    assert made.json["properties"].keys() == {"tenantId", "principalId", "clientId"}
    assert {name: made.json[name] for name in ("id", "name", "type", "location", "tags")} == {
        **{"id": ONE, "name": "one", "type": IDENTITY_TYPE},
        **BODY,
    }

    again = await managing.call("PUT", ONE.upper(), {"location": "eastus"}, version=version)
    assert (again.status, again.json) == (200, {**made.json, "tags": {}})
    changed = await managing.call("PATCH", ONE, {"tags": {"c": "d"}}, version=version)
    assert (changed.status, changed.json) == (200, {**made.json, "tags": {"c": "d"}})
    assert (await managing.call("HEAD", ONE, version=version)).status == 204
    read = await managing.call("GET", ONE, version=version)
    assert (read.status, read.json) == (200, changed.json)

    assert [(await managing.call("DELETE", ONE, version=version)).status for _ in range(2)] == [200, 204]
    for method in ("GET", "HEAD"):
        assert await managing.fault(method, ONE, version=version) == (404, "ResourceNotFound")


async def test_identities_are_listed(managing: Managing) -> None:
    for path in (ONE, f"{IDENTITIES}/two", f"{GROUPS}/h/providers/{IDENTITY_TYPE}/three"):
        await managing.call("PUT", path, BODY)

    assert names(await managing.call("GET", IDENTITIES)) == ["one", "two"]
    assert names(await managing.call("GET", f"/subscriptions/{SUBSCRIPTION}/providers/{IDENTITY_TYPE}")) == [
        "one",
        "three",
        "two",
    ]


async def test_identities_stand_in_the_lists_of_resources(managing: Managing) -> None:
    await managing.made()
    await managing.call("PUT", ONE, BODY)
    every = f"/subscriptions/{SUBSCRIPTION}/resources"

    assert names(await managing.call("GET", f"{GROUP}/resources")) == ["wps-one", "one"]
    assert names(await managing.call("GET", every)) == ["default", "wps-one", "one"]
    for terms, expected in (
        (f"resourceType eq '{IDENTITY_TYPE.lower()}'", ["one"]),
        ("resourceGroup eq 'G'", ["wps-one", "one"]),
        ("tagName eq 'a' and tagValue eq 'b'", ["one"]),
        ("name eq 'ONE' and location eq 'East US'", ["one"]),
    ):
        found = await managing.call("GET", f"{every}?$filter={terms.replace(' ', '%20')}")
        assert names(found) == expected
    (shown,) = [one for one in (await managing.call("GET", every)).json["value"] if one["name"] == "one"]
    assert "properties" not in shown


async def test_provider_knows_the_type(managing: Managing) -> None:
    reply = await managing.call("GET", f"/subscriptions/{SUBSCRIPTION}/providers/microsoft.managedidentity")

    (kind,) = reply.json["resourceTypes"]
    assert kind["resourceType"] == "userAssignedIdentities"
    assert {"2018-11-30", "2023-01-31", "2024-11-30"} <= set(kind["apiVersions"])


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (f"{IDENTITIES}/on", BODY, (400, "InvalidParameter")),
        (f"{IDENTITIES}/a%20b", BODY, (400, "InvalidParameter")),
        (ONE, {"tags": {}}, (400, "LocationRequired")),
        (ONE, {"location": "eastus", "tags": 1}, (400, "InvalidParameter")),
        (ONE, [], (400, "InvalidRequestContent")),
    ],
)
async def test_what_can_be_no_identity_is_refused(
    managing: Managing, path: str, body: Any, expected: tuple[int, str]
) -> None:
    assert await managing.fault("PUT", path, body) == expected


async def test_identity_that_is_somewhere_else_is_not_found(managing: Managing) -> None:
    await managing.call("PUT", ONE, BODY)
    elsewhere = ONE.replace("/g/", "/h/")

    assert await managing.fault("GET", elsewhere) == (404, "ResourceGroupNotFound")
    assert await managing.fault("PATCH", f"{IDENTITIES}/two", {}) == (404, "ResourceNotFound")
    assert await managing.fault("PUT", ONE, {"location": "westus"}) == (409, "InvalidResourceLocation")
    assert (await managing.call("DELETE", elsewhere)).status == 204
    assert await managing.fault("GET", ONE, version=None) == (400, "MissingApiVersionParameter")


async def test_identity_in_use_is_not_deleted_and_says_who_uses_it(managing: Managing) -> None:
    await managing.call("PUT", ONE, BODY)
    await managing.made(identity=assigned(ONE))
    await managing.made("wps-two", "h", identity=assigned(ONE))

    refused = await managing.call("DELETE", ONE)
    assert (refused.status, refused.json["error"]["code"]) == (409, "IdentityInUse")
    assert "wps-one, wps-two" in refused.json["error"]["message"]
    users = (await managing.call("POST", f"{ONE}/listAssociatedResources")).json
    assert users["totalCount"] == 2
    assert [(user["name"], user["resourceGroup"]) for user in users["value"]] == [("wps-one", "g"), ("wps-two", "h")]
    assert await managing.fault("DELETE", GROUP) == (409, "IdentityInUse")

    await managing.call("PATCH", f"{GROUPS}/h/providers/Microsoft.SignalRService/webPubSub/wps-two", {"identity": None})
    assert (await managing.call("DELETE", GROUP)).status == 200
    assert managing.identities.all_in(SUBSCRIPTION) == []


async def test_identity_of_a_resource_is_changed_by_patch(managing: Managing) -> None:
    """From each kind to each other one, and it holds at once."""
    for name in ("one", "two"):
        await managing.call("PUT", f"{IDENTITIES}/{name}", BODY)
    await managing.call("PUT", RESOURCE, {"location": "eastus"})
    seen = []
    for identity in (
        {"type": "SystemAssigned"},
        assigned(ONE),
        {**assigned(f"{IDENTITIES}/two"), "userAssignedIdentities": {ONE: None, f"{IDENTITIES}/two": {}}},
        {"type": "SystemAssigned"},
        {"type": "None"},
        assigned(ONE),
        None,
    ):
        reply = await managing.call("PATCH", RESOURCE, {"identity": identity})
        assert reply.status == 200
        shown, held = reply.json.get("identity"), managing.catalog.policy("wps-one").identity
        assert (shown is None) == (held is None)
        if shown is not None and held is not None:
            inner = shown.get("userAssignedIdentities", {}).get(held.identity_id, shown)
            assert (inner["principalId"], shown["type"]) == (held.principal_id, held.kind)
        seen.append(None if held is None else (held.kind, held.identity_id.rpartition("/")[2], held.principal_id))

    one, two = (managing.identities.find(SUBSCRIPTION, "g", name).object_id for name in ("one", "two"))
    assert [found and found[:2] for found in seen] == [
        ("SystemAssigned", "wps-one"),
        ("UserAssigned", "one"),
        ("UserAssigned", "two"),
        ("SystemAssigned", "wps-one"),
        None,
        ("UserAssigned", "one"),
        None,
    ]
    principals = [found[2] for found in seen if found is not None]
    assert [principals[1], principals[2], principals[4]] == [one, two, one]
    assert len({*principals}) == 4


@pytest.mark.parametrize(
    "identity",
    [
        {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {ONE: {}}},
        {"type": "SystemAssigned,UserAssigned", "userAssignedIdentities": {ONE: {}}},
        assigned(ONE, f"{IDENTITIES}/two"),
        {"type": "UserAssigned"},
        {"type": "SystemAssigned", "userAssignedIdentities": {ONE: {}}},
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_resource_has_one_identity_and_no_more(managing: Managing, method: str, identity: Any) -> None:
    for name in ("one", "two"):
        await managing.call("PUT", f"{IDENTITIES}/{name}", BODY)
    await managing.call("PUT", RESOURCE, {"location": "eastus"})

    refused = await managing.call(method, RESOURCE, {"location": "eastus", "identity": identity})

    assert (refused.status, refused.json["error"]["code"]) == (400, "InvalidParameter")
    assert " one " in refused.json["error"]["message"]
    assert managing.catalog.policy("wps-one").identity is None


# Who may


async def test_reader_reads_and_changes_nothing() -> None:
    managing = await open_managing(RESOURCE_READER.id)
    await managing.identities.put(SUBSCRIPTION, "g", "one", BODY)

    assert (await managing.call("GET", ONE)).status == 200
    assert names(await managing.call("GET", IDENTITIES)) == ["one"]
    for method, path in (("PUT", ONE), ("PATCH", ONE), ("DELETE", ONE), ("POST", f"{ONE}/listAssociatedResources")):
        assert await managing.fault(method, path, BODY if method != "DELETE" else None) == (403, "AuthorizationFailed")


async def test_contributor_of_web_pubsub_neither_makes_nor_sees_identities() -> None:
    managing = await open_managing(WEB_PUBSUB_CONTRIBUTOR.id)
    await managing.identities.put(SUBSCRIPTION, "g", "one", BODY)

    assert await managing.fault("PUT", ONE, BODY) == (403, "AuthorizationFailed")
    for path in ("providers/" + IDENTITY_TYPE, "resources"):
        reply = await managing.call("GET", f"/subscriptions/{SUBSCRIPTION}/{path}")
        assert "one" not in names(reply)


async def test_list_shows_what_one_may_see() -> None:
    managing = await open_managing(CONTRIBUTOR.id)
    for name in ("one", "two"):
        await managing.identities.put(SUBSCRIPTION, "g", name, BODY)
    managing.directory.assignments.clear()
    managing.assign(RESOURCE_READER.id, ONE)

    assert names(await managing.call("GET", f"/subscriptions/{SUBSCRIPTION}/providers/{IDENTITY_TYPE}")) == ["one"]
    assert await managing.fault("GET", IDENTITIES) == (403, "AuthorizationFailed")


async def test_operator_needs_no_token(managing: Managing) -> None:
    managing.directory.assignments.clear()
    state = {"control": True, "host": "localhost"}

    assert (await managing.call("PUT", ONE, BODY, token=None, state=state)).status == 201
    listed = await managing.call(
        "GET", f"/subscriptions/{SUBSCRIPTION}/providers/{IDENTITY_TYPE}", token=None, state=state
    )
    assert names(listed) == ["one"]
