"""The resource manager's table of webPubSub resources, through the application."""

from typing import Any

import pytest

from auth.entra import NOW, TENANT
from hubwire.model.roles import OWNER, RESOURCE_OWNER, RESOURCE_READER, WEB_PUBSUB_CONTRIBUTOR
from hubwire.rest.query import QueryString
from rest.asgi import Reply
from rest.managing import GROUP, ISSUER, SUBSCRIPTION, VERSION, WPS, Managing, bearer, open_managing

ONE = f"{WPS}/wps-one"
HUB = f"{ONE}/hubs/chat"
BODY = {"location": "eastus"}
ID = f"{GROUP}/providers/Microsoft.SignalRService/WebPubSub/wps-one"
OTHER = "33333333-aaaa-4000-8000-000000000003"
PROVIDER = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.SignalRService"


@pytest.fixture
async def managing() -> Managing:
    return await open_managing()


def names(reply: Reply) -> list[str]:
    """Of a list on one page."""
    assert reply.status == 200
    assert reply.json.keys() == {"value"}
    return [one["name"] for one in reply.json["value"]]


# Resources


async def test_resource_is_created_once_and_replaced_from_then_on(managing: Managing) -> None:
    body = {"location": "eastus", "tags": {"a": "b"}, "sku": {"name": "Premium_P1", "capacity": 2}}
    first = await managing.call("PUT", ONE, body)
    second = await managing.call("PUT", ONE, BODY)

    assert (first.status, second.status) == (201, 200)
    assert first.json["id"] == ID
    assert (first.json["tags"], first.json["sku"]["capacity"], first.json["location"]) == ({"a": "b"}, 2, "eastus")
    assert first.json["properties"]["provisioningState"] == "Succeeded"
    assert first.json["properties"]["hostName"] == "wps-one.example"
    assert (second.json["tags"], second.json["sku"]["name"]) == ({}, "Standard_S1")
    for reply in (first, second):
        assert not {"azure-asyncoperation", "location", "retry-after"} & reply.headers.keys(), "nothing to poll"
    assert (await managing.call("GET", ONE)).json == second.json


async def test_read_only_parts_of_a_resource_may_be_sent_back(managing: Managing) -> None:
    made = (await managing.call("PUT", ONE, BODY)).json

    assert (await managing.call("PUT", ONE, made)).json == made


async def test_patch_changes_what_it_names(managing: Managing) -> None:
    await managing.made(tags={"a": "b"})

    reply = await managing.call("PATCH", ONE, {"Properties": {"disableLocalAuth": True}})

    assert reply.status == 200
    assert (reply.json["tags"], reply.json["properties"]["disableLocalAuth"]) == ({"a": "b"}, True)
    assert not managing.catalog.policy("wps-one").local_auth


async def test_resource_is_there_or_it_is_not(managing: Managing) -> None:
    for code in ("ResourceGroupNotFound", "ResourceNotFound"):
        for method in ("GET", "HEAD", "PATCH"):
            assert await managing.fault(method, ONE, {}) == (404, code)
        await managing.made("wps-two")
    await managing.made()

    head = await managing.call("HEAD", ONE)
    assert (head.status, head.body) == (204, b"")
    assert (await managing.call("GET", ONE)).status == 200
    await managing.made("wps-three", "h")
    assert await managing.fault("GET", ONE.replace("/g/", "/h/")) == (404, "ResourceNotFound")


async def test_resource_is_deleted_once(managing: Managing) -> None:
    await managing.made()

    statuses = [(await managing.call("DELETE", ONE)).status for _ in range(2)]

    assert statuses == [200, 204]
    assert await managing.fault("GET", ONE) == (404, "ResourceNotFound")


async def test_resources_are_listed_by_group_and_by_subscription(managing: Managing) -> None:
    await managing.made("wps-one", "g")
    await managing.made("wps-two", "h")

    assert names(await managing.call("GET", WPS)) == ["wps-one"]
    assert names(await managing.call("GET", f"{PROVIDER}/webPubSub")) == ["default", "wps-one", "wps-two"]
    assert names(await managing.call("GET", f"{PROVIDER}/webPubSub".replace(SUBSCRIPTION, OTHER))) == []
    assert await managing.fault("GET", WPS.replace("/g/", "/nowhere/")) == (404, "ResourceGroupNotFound")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "LocationRequired"),
        ({"location": 7}, 400, "LocationRequired"),
        ({**BODY, "sku": {"name": "Huge"}}, 400, "InvalidParameter"),
        ({**BODY, "sku": {"name": "Standard_S1", "capacity": 11}}, 400, "InvalidParameter"),
        ({**BODY, "tags": []}, 400, "InvalidParameter"),
        ({**BODY, "properties": 7}, 400, "InvalidParameter"),
        ({**BODY, "properties": {"tls": {"clientCertEnabled": "yes"}}}, 400, "InvalidParameter"),
        ({**BODY, "identity": {"type": "UserAssigned"}}, 400, "InvalidParameter"),
        ([], 400, "InvalidRequestContent"),
        (None, 400, "InvalidRequestContent"),
    ],
)
async def test_resource_that_cannot_be_is_refused(managing: Managing, body: object, status: int, code: str) -> None:
    assert await managing.fault("PUT", ONE, body) == (status, code)
    assert managing.catalog.named("wps-one") is None


@pytest.mark.parametrize("body", [b"{", b'{"location": "eastus",}', b"\xff", b"[" * 100_000, b'{"a": nan}'])
async def test_body_that_is_no_json_is_refused(managing: Managing, body: bytes) -> None:
    for method in ("PUT", "PATCH"):
        await managing.made()
        assert await managing.fault(method, ONE, body=body) == (400, "InvalidRequestContent")


async def test_name_that_is_taken_and_place_that_is_another_are_conflicts(managing: Managing) -> None:
    await managing.made()

    assert await managing.fault("PUT", ONE.replace("/g/", "/h/"), BODY) == (409, "NameNotAvailable")
    assert await managing.fault("PUT", ONE, {"location": "westus"}) == (409, "InvalidResourceLocation")
    assert await managing.fault("PATCH", ONE, {"location": "westus"}) == (409, "InvalidResourceLocation")


async def test_first_resource_cannot_be_deleted(managing: Managing) -> None:
    home = WPS.replace("/g/", "/hubwire/")

    assert await managing.fault("DELETE", f"{home}/default") == (409, "Conflict")


@pytest.mark.parametrize("name", ["ab", "1abc", "a_b", "abc-"])
async def test_illegal_name_of_a_resource_is_refused(managing: Managing, name: str) -> None:
    assert await managing.fault("PUT", f"{WPS}/{name}", BODY) == (400, "InvalidParameter")


async def test_change_that_cannot_be_stored_is_told_to_be_tried_again(managing: Managing) -> None:
    managing.store.full = True

    assert await managing.fault("PUT", ONE, BODY) == (503, "ServiceUnavailable")


async def test_what_does_nothing_here_is_a_warning(managing: Managing) -> None:
    body = {**BODY, "sku": {"name": "Free_F1"}, "properties": {"tls": {"clientCertEnabled": True}}}
    put = await managing.call("PUT", ONE, body)
    patch = await managing.call("PATCH", ONE, {"properties": {"regionEndpointEnabled": "Disabled"}})

    assert put.headers["warning"] == '199 - "tls.clientCertEnabled is ignored on Free_F1"'
    assert put.json["properties"]["tls"] == {"clientCertEnabled": False}
    assert "regionEndpointEnabled" in patch.headers["warning"]


async def test_each_warning_is_told(managing: Managing) -> None:
    properties = {"socketIO": {"serviceMode": "Default"}, "regionEndpointEnabled": "Disabled"}
    reply = await managing.call("PUT", ONE, {**BODY, "kind": "SocketIO", "properties": properties})

    for word in ("socketIO", "regionEndpointEnabled", "Socket.IO"):
        assert word in reply.headers["warning"]


async def test_property_of_a_handler_that_nobody_knows_is_a_warning(managing: Managing) -> None:
    await managing.made()
    handler = {"urlTemplate": "http://h", "systemEvnts": ["connect"]}
    reply = await managing.call("PUT", HUB, {"properties": {"eventHandlers": [handler]}})

    assert reply.json["properties"]["eventHandlers"] == [handler]
    assert reply.headers["warning"] == (
        '199 - "properties.eventHandlers[0].systemEvnts is not known here: it is kept and does nothing"'
    )


async def test_reference_without_braces_is_refused(managing: Managing) -> None:
    await managing.made()
    url = "http://h/x?code=@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/c)"
    reply = await managing.call("PUT", HUB, {"properties": {"eventHandlers": [{"urlTemplate": url}]}})

    assert reply.status == 400
    assert "{@Microsoft.KeyVault(SecretUri=" in reply.json["error"]["message"]
    assert await managing.fault("GET", HUB) == (404, "ResourceNotFound")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_taking_the_identity_that_handlers_need_is_a_warning(managing: Managing, method: str) -> None:
    auth = {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://x"}}
    hub = {"properties": {"eventHandlers": [{"urlTemplate": "http://h", "auth": auth}]}}
    given = await managing.call("PUT", ONE, {**BODY, "identity": {"type": "SystemAssigned"}})
    saved = await managing.call("PUT", HUB, hub)
    taken = await managing.call(method, ONE, {**BODY, "identity": {"type": "None"}})
    again = await managing.call("PATCH", ONE, {"identity": {"type": "SystemAssigned"}})

    assert [reply.status // 100 for reply in (given, saved, taken, again)] == [2, 2, 2, 2]
    assert "in chat: the resource wps-one has no identity" in taken.headers["warning"]
    assert not any("warning" in reply.headers for reply in (given, saved, again))


# Paths, versions, headers


@pytest.mark.parametrize(
    "path",
    [
        ONE.lower(),
        ONE.upper(),
        ONE.replace("resourceGroups", "resourcegroups"),
        ONE.replace("/webPubSub/", "//WebPubSub//"),
        "/" + ONE + "/",
        ONE.replace("wps-one", "wps%2Done"),
        ONE.replace("providers", "prov%69ders"),
    ],
)
async def test_path_has_any_letter_case_and_any_number_of_slashes(managing: Managing, path: str) -> None:
    await managing.made()

    assert (await managing.call("GET", path)).json["id"] == ID


async def test_names_keep_the_spelling_in_which_they_were_first_given(managing: Managing) -> None:
    path = ONE.replace("/g/", "/MyGroup/").replace("wps-one", "Wps-One")
    await managing.call("PUT", path, BODY)

    for shown in (await managing.call("GET", path.lower()), await managing.call("PUT", path.upper(), BODY)):
        assert shown.json["name"] == "Wps-One"
        assert "/resourceGroups/MyGroup/" in shown.json["id"]


async def test_api_version_may_be_named_in_escapes(managing: Managing) -> None:
    await managing.made()

    for query in ("api%2Dversion=2024-03-01", "API-VERSION=2024-03-01", "x=1&api-version=2023-03-01-PREVIEW"):
        assert (await managing.call("GET", f"{ONE}?{query}", version=None)).status == 200


@pytest.mark.parametrize(
    ("version", "code"),
    [
        (None, "MissingApiVersionParameter"),
        ("", "InvalidApiVersionParameter"),
        ("latest", "InvalidApiVersionParameter"),
        ("2024-13-01", "InvalidApiVersionParameter"),
        ("2024-03-01-beta", "InvalidApiVersionParameter"),
        ("2024-03-01%20", "InvalidApiVersionParameter"),
        ("2021-03-31", "NoRegisteredProviderFound"),
        ("2020-05-01-preview", "NoRegisteredProviderFound"),
    ],
)
async def test_version_that_is_none_is_refused(managing: Managing, version: str | None, code: str) -> None:
    await managing.made()

    for method, path in (("GET", ONE), ("PUT", ONE), ("DELETE", ONE), ("POST", f"{ONE}/listKeys"), ("GET", WPS)):
        assert await managing.fault(method, path, BODY, version=version) == (400, code)
    assert managing.catalog.named("wps-one") is not None


@pytest.mark.parametrize("version", ["2021-04-01-preview", "2021-10-01", VERSION, "2025-12-01-preview", "2099-01-01"])
async def test_every_version_from_the_first_on_is_taken(managing: Managing, version: str) -> None:
    assert (await managing.call("PUT", ONE, BODY, version=version)).status == 201


async def test_answers_are_numbered_and_say_what_the_client_calls_them(managing: Managing) -> None:
    good = await managing.call("GET", WPS.replace("/g/", "/hubwire/"), headers=[("x-ms-client-request-id", "mine")])
    bad = await managing.call("GET", ONE, headers=[("x-ms-client-request-id", "mine")])

    for reply in (good, bad):
        assert reply.headers["x-ms-client-request-id"] == "mine"
        assert reply.headers["x-ms-request-id"] == reply.headers["x-ms-correlation-request-id"]
    assert good.headers["x-ms-request-id"] != bad.headers["x-ms-request-id"]


@pytest.mark.parametrize("path", [ONE, HUB, ONE.replace("wps-one", "..")])
async def test_slash_within_a_name_is_refused(managing: Managing, path: str) -> None:
    """Decoded, it would be another path than the one whose roles are looked at."""
    for at in (f"{path}%2Fx", path.replace("/g/", "/g%2Fh/"), path.replace(SUBSCRIPTION, f"{SUBSCRIPTION}%2f")):
        assert await managing.fault("GET", at) == (400, "InvalidParameter")


async def test_path_that_does_not_decode_is_refused(managing: Managing) -> None:
    assert (await managing.call("GET", f"{WPS}/a%zz")).status == 400


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (ONE.replace(SUBSCRIPTION, "no-guid"), "InvalidSubscriptionId"),
        (ONE.replace("/g/", "/g./"), "InvalidResourceGroup"),
        (ONE.replace("/g/", "/a%20b/"), "InvalidResourceGroup"),
    ],
)
async def test_subscription_and_group_have_the_form_of_one(managing: Managing, path: str, code: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert await managing.fault(method, path, BODY) == (400, code)


@pytest.mark.parametrize(
    "path",
    [
        f"{ONE}/nothing",
        f"{GROUP}/providers/Microsoft.SignalRService/signalR/x",
        f"{GROUP}/providers/Microsoft.Storage/storageAccounts/x",
        "/subscriptions/x/y/z",
        "/providers/Microsoft.Nothing",
    ],
)
async def test_unknown_path_is_404_in_the_form_of_the_resource_manager(managing: Managing, path: str) -> None:
    assert await managing.fault("GET", path) == (404, "NotFound")
    assert await managing.fault("PUT", path, BODY, token=None) == (404, "NotFound")


async def test_other_paths_have_the_form_of_the_data_plane(managing: Managing) -> None:
    reply = await managing.call("GET", "/nothing")

    assert (reply.status, reply.json["code"]) == (404, "Error.NotFound")


async def test_method_that_a_path_does_not_take_says_which_ones_it_does(managing: Managing) -> None:
    reply = await managing.call("POST", ONE)

    assert (reply.status, reply.json["error"]["code"]) == (405, "MethodNotAllowed")
    assert reply.headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT"


# Who may


@pytest.mark.parametrize("token", [None, "Bearer x", "Basic x", bearer(exp=NOW - 1), bearer(aud="https://elsewhere")])
async def test_whoever_proves_nothing_is_told_where_to_get_a_token(managing: Managing, token: str | None) -> None:
    reply = await managing.call("PUT", ONE, BODY, token=token)

    assert (reply.status, reply.json["error"]["code"]) == (401, "AuthenticationFailed")
    challenge = reply.headers["www-authenticate"]
    assert challenge.startswith(f'Bearer authorization_uri="{ISSUER}')
    assert 'error="invalid_token"' in challenge
    assert 'error_description="' in challenge
    assert managing.catalog.named("wps-one") is None


WRITES = [
    ("PUT", ONE, "write"),
    ("PATCH", ONE, "write"),
    ("DELETE", ONE, "delete"),
    ("POST", f"{ONE}/listKeys", "listKeys/action"),
    ("POST", f"{ONE}/regenerateKey", "regeneratekey/action"),
    ("POST", f"{ONE}/restart", "restart/action"),
    ("PUT", HUB, "hubs/write"),
    ("DELETE", HUB, "hubs/delete"),
    ("PUT", f"{ONE}/replicas/east", "replicas/write"),
]
READS = [WPS, ONE, f"{ONE}/skus", f"{ONE}/hubs", f"{ONE}/replicas", f"{ONE}/privateLinkResources"]


@pytest.mark.parametrize(("method", "path", "action"), WRITES)
async def test_reader_who_writes_is_told_what_it_takes(method: str, path: str, action: str) -> None:
    managing = await open_managing(RESOURCE_READER.id)
    await managing.made()
    before = dict(managing.store.documents)

    reply = await managing.call(method, path, BODY)

    assert (reply.status, reply.json["error"]["code"]) == (403, "AuthorizationFailed")
    assert f"Microsoft.SignalRService/webPubSub/{action}" in reply.json["error"]["message"]
    assert "'Owner'" in reply.json["error"]["message"]
    assert managing.store.documents == before


async def test_reader_reads_all_but_the_keys() -> None:
    managing = await open_managing(RESOURCE_READER.id)
    await managing.made()

    assert [(await managing.call("GET", path)).status for path in READS] == [200] * len(READS)


async def test_owner_of_the_data_plane_manages_nothing() -> None:
    managing = await open_managing(OWNER.id)
    await managing.made()

    for path in READS:
        assert await managing.fault("GET", path) == (403, "AuthorizationFailed")


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        (GROUP, True),
        (GROUP.upper(), True),
        (ONE, True),
        (f"{WPS}/wps-two", False),
        (f"{GROUP}2", False),
        (HUB, False),
        (f"/subscriptions/{OTHER}", False),
    ],
)
async def test_role_holds_at_its_scope_and_below(scope: str, may: bool) -> None:
    managing = await open_managing()
    managing.directory.assignments.clear()
    managing.assign(WEB_PUBSUB_CONTRIBUTOR.id, scope)
    await managing.made()

    for method, path in (("GET", ONE), ("PUT", ONE), ("GET", f"{ONE}/hubs")):
        assert ((await managing.call(method, path, BODY)).status == 200) is may


async def test_list_shows_what_the_caller_may_read() -> None:
    managing = await open_managing()
    await managing.made("wps-one", "g")
    await managing.made("wps-two", "h")
    managing.directory.assignments.clear()
    assert names(await managing.call("GET", f"{PROVIDER}/webPubSub")) == []

    managing.assign(RESOURCE_READER.id, f"{GROUP}/providers/Microsoft.SignalRService/webPubSub/WPS-ONE")

    assert names(await managing.call("GET", f"{PROVIDER}/webPubSub")) == ["wps-one"]


async def test_identity_is_given_by_whoever_may_use_it() -> None:
    """Else whoever may write a resource could act in the name of any identity."""
    managing = await open_managing(WEB_PUBSUB_CONTRIBUTOR.id)
    at = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"
    known = {at: ("object", "client")}
    managing.catalog.identities = known.get
    identity = {"type": "UserAssigned", "userAssignedIdentities": {at: {}}}
    await managing.made()

    for method in ("PUT", "PATCH"):
        assert await managing.fault(method, ONE, {**BODY, "identity": identity}) == (403, "AuthorizationFailed")
    managing.assign(RESOURCE_OWNER.id, at)

    assert (await managing.call("PUT", ONE, {**BODY, "identity": identity})).status == 200


async def test_operator_needs_no_role_and_no_token(managing: Managing) -> None:
    managing.directory.assignments.clear()

    reply = await managing.call("PUT", ONE, BODY, token=None, state={"control": True, "host": "localhost"})

    assert reply.status == 201


def test_every_row_names_an_action_and_no_two_rows_have_one_name(managing: Managing) -> None:
    rows = [row for row in managing.operations if "SignalRService" in row.path]

    assert all(row.surface == "management" and not row.anonymous for row in rows)
    own = {row.name for row in rows if row.action is None}
    assert own == {"Operations_List", "WebPubSub_ListBySubscription"}, "a list shows what whoever asks may see"
    assert len({row.name for row in managing.operations}) == len(managing.operations)


# Keys


async def test_keys_are_told_with_connection_strings(managing: Managing) -> None:
    made = await managing.made()

    reply = await managing.call("POST", f"{ONE}/listKeys")

    assert reply.status == 200
    assert reply.json == {
        "primaryKey": made.keys.primary,
        "secondaryKey": made.keys.secondary,
        "primaryConnectionString": (f"Endpoint=http://wps-one.example:8081;AccessKey={made.keys.primary};Version=1.0;"),
        "secondaryConnectionString": (
            f"Endpoint=http://wps-one.example:8081;AccessKey={made.keys.secondary};Version=1.0;"
        ),
    }


@pytest.mark.parametrize("kind", ["Primary", "secondary", "SALT"])
async def test_one_key_is_regenerated(managing: Managing, kind: str) -> None:
    before = (await managing.made()).keys

    reply = await managing.call("POST", f"{ONE}/regenerateKey", {"keyType": kind})

    after = managing.catalog.access_keys("wps-one")
    changed = {name for name in ("primary", "secondary", "salt") if getattr(before, name) != getattr(after, name)}
    assert reply.status == 200
    assert changed == {kind.lower()}
    assert (reply.json["primaryKey"], reply.json["secondaryKey"]) == (after.primary, after.secondary)


@pytest.mark.parametrize("body", [{}, {"keyType": "third"}, {"keyType": None}, {"keyType": ["Primary"]}])
async def test_key_that_there_is_not_is_not_regenerated(managing: Managing, body: dict[str, Any]) -> None:
    before = (await managing.made()).keys

    assert await managing.fault("POST", f"{ONE}/regenerateKey", body) == (400, "InvalidParameter")
    assert managing.catalog.access_keys("wps-one") == before


async def test_restart_is_done_when_it_is_answered(managing: Managing) -> None:
    await managing.made("Wps-One")

    reply = await managing.call("POST", f"{ONE}/restart")

    assert (reply.status, reply.body, managing.restarted) == (204, b"", ["wps-one"])


@pytest.mark.parametrize("verb", ["listKeys", "regenerateKey", "restart"])
async def test_verbs_of_what_is_not_there_are_404(managing: Managing, verb: str) -> None:
    await managing.made("wps-two")

    assert await managing.fault("POST", f"{ONE}/{verb}", {"keyType": "Primary"}) == (404, "ResourceNotFound")
    assert managing.restarted == []


# Hubs


async def test_hub_is_created_replaced_listed_and_deleted(managing: Managing) -> None:
    await managing.made()
    handler = {"urlTemplate": "https://example.com/{event}", "systemEvents": ["connect"]}
    body = {"properties": {"anonymousConnectPolicy": "allow", "eventHandlers": [handler]}}

    first = await managing.call("PUT", HUB.replace("chat", "Chat"), body)
    assert first.status == 200
    assert (first.json["id"], first.json["name"]) == (f"{ID}/hubs/Chat", "Chat")
    assert first.json["type"] == "Microsoft.SignalRService/WebPubSub/hubs"
    assert first.json["properties"]["eventHandlers"] == [handler]
    second = await managing.call("PUT", HUB, {"properties": {}})
    assert (second.status, second.json["name"]) == (200, "Chat")
    assert second.json["properties"]["anonymousConnectPolicy"] == "deny"
    assert (await managing.call("GET", HUB)).json == second.json
    assert names(await managing.call("GET", f"{ONE}/hubs")) == ["Chat"]

    assert [(await managing.call("DELETE", HUB)).status for _ in range(2)] == [200, 204]
    assert await managing.fault("GET", HUB) == (404, "ResourceNotFound")
    assert names(await managing.call("GET", f"{ONE}/hubs")) == []


async def test_hub_that_cannot_be_is_refused(managing: Managing) -> None:
    await managing.made()

    bodies: list[Any] = [{}, {"properties": None}, {"properties": []}, {"properties": {"eventHandlers": [{}]}}]
    for body in bodies:
        assert await managing.fault("PUT", HUB, body) == (400, "InvalidParameter")
    assert await managing.fault("PUT", f"{ONE}/hubs/1chat", {"properties": {}}) == (400, "InvalidParameter")
    assert await managing.catalog.list_hubs("wps-one") == []


async def test_hub_of_a_resource_that_is_not_there(managing: Managing) -> None:
    await managing.made("wps-two")

    for method, path in (("GET", HUB), ("PUT", HUB), ("GET", f"{ONE}/hubs")):
        assert await managing.fault(method, path, {"properties": {}}) == (404, "ResourceNotFound")
    assert (await managing.call("DELETE", HUB)).status == 204


# Replicas and what there is not


async def test_replica_is_kept_and_does_nothing(managing: Managing) -> None:
    await managing.made()
    east = f"{ONE}/replicas/east"
    body = {"location": "eastus", "tags": {"a": "b"}, "properties": {"resourceStopped": "true"}, "other": 1}

    first = await managing.call("PUT", east, body)
    assert first.status == 201
    assert first.json == {
        "id": f"{ID}/replicas/east",
        "name": "east",
        "type": "Microsoft.SignalRService/WebPubSub/replicas",
        "location": "eastus",
        "tags": {"a": "b"},
        "properties": {"resourceStopped": "true", "provisioningState": "Succeeded"},
    }
    assert (await managing.call("PUT", east, body)).status == 200
    patched = await managing.call("PATCH", east, {"properties": {"x": 1}})
    assert patched.json["properties"] == {"resourceStopped": "true", "x": 1, "provisioningState": "Succeeded"}
    assert names(await managing.call("GET", f"{ONE}/replicas")) == ["east"]
    assert (await managing.call("GET", east)).json == patched.json
    assert (await managing.call("POST", f"{east}/restart")).status == 204
    assert managing.restarted == []
    assert names(await managing.call("GET", f"{east}/sharedPrivateLinkResources")) == []
    assert (await managing.call("GET", f"{east}/skus")).status == 200
    assert not managing.catalog.policy("wps-one").stopped

    assert [(await managing.call("DELETE", east)).status for _ in range(2)] == [200, 204]
    for method, path in (("GET", east), ("PATCH", east), ("POST", f"{east}/restart")):
        assert await managing.fault(method, path, {}) == (404, "ResourceNotFound")


@pytest.mark.parametrize("properties", [[1], "x", 1])
async def test_patch_of_a_replica_that_cannot_be_is_refused(managing: Managing, properties: object) -> None:
    await managing.made()
    await managing.call("PUT", f"{ONE}/replicas/east", BODY)

    body = {"properties": properties}
    assert await managing.fault("PATCH", f"{ONE}/replicas/east", body) == (400, "InvalidParameter")


async def test_replica_that_is_nested_too_deep_is_refused_and_not_kept(managing: Managing) -> None:
    await managing.made()
    body = b'{"location": "x", "properties": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}"

    assert await managing.fault("PUT", f"{ONE}/replicas/east", body=body) == (400, "InvalidParameter")
    assert (await managing.call("GET", f"{ONE}/replicas")).status == 200


async def test_replica_that_cannot_be_is_refused(managing: Managing) -> None:
    await managing.made()

    assert await managing.fault("PUT", f"{ONE}/replicas/east", {}) == (400, "LocationRequired")
    assert await managing.fault("PUT", f"{ONE}/replicas/x", BODY) == (400, "InvalidParameter")
    body = {**BODY, "properties": [1]}
    assert await managing.fault("PUT", f"{ONE}/replicas/east", body) == (400, "InvalidParameter")


@pytest.mark.parametrize("kind", ["privateEndpointConnections", "privateLinkResources", "sharedPrivateLinkResources"])
async def test_there_is_no_private_network(managing: Managing, kind: str) -> None:
    await managing.made("wps-two")
    assert await managing.fault("GET", f"{ONE}/{kind}") == (404, "ResourceNotFound")
    await managing.made()

    assert names(await managing.call("GET", f"{ONE}/{kind}")) == []


@pytest.mark.parametrize("kind", ["customCertificates", "customDomains", "persistentStorages"])
async def test_what_this_server_lacks_is_said_by_name(managing: Managing, kind: str) -> None:
    await managing.made()

    for method in ("GET", "PUT", "PATCH", "DELETE"):
        assert await managing.fault(method, f"{ONE}/{kind}/x", {}) == (501, "FeatureNotAvailable")
    assert await managing.fault("GET", f"{ONE}/{kind.lower()}") == (501, "FeatureNotAvailable")
    assert await managing.fault("GET", f"{ONE}/{kind}", token=None) == (401, "AuthenticationFailed")


# What is said about a place


async def test_skus_are_those_that_a_resource_may_have(managing: Managing) -> None:
    await managing.made("wps-two")
    assert await managing.fault("GET", f"{ONE}/skus") == (404, "ResourceNotFound")
    await managing.made()

    rows = (await managing.call("GET", f"{ONE}/skus")).json["value"]

    assert [row["sku"]["name"] for row in rows] == ["Free_F1", "Standard_S1", "Premium_P1", "Premium_P2"]
    assert rows[0]["capacity"] == {
        "minimum": 1,
        "maximum": 1,
        "default": 1,
        "allowedValues": [1],
        "scaleType": "None",
    }
    assert (rows[3]["capacity"]["minimum"], rows[3]["capacity"]["maximum"]) == (100, 1000)


@pytest.mark.parametrize(
    ("name", "available", "reason"),
    [
        ("wps-two", True, None),
        ("WPS-ONE", False, "AlreadyExists"),
        ("default", False, "AlreadyExists"),
        ("1", False, "Invalid"),
    ],
)
async def test_name_is_available_or_it_is_said_why_not(
    managing: Managing, name: str, available: bool, reason: str | None
) -> None:
    await managing.made()
    path = f"{PROVIDER}/locations/eastus/checkNameAvailability"

    reply = await managing.call("POST", path, {"name": name, "type": "microsoft.signalrservice/WEBPUBSUB"})

    assert reply.status == 200
    assert (reply.json["nameAvailable"], reply.json.get("reason")) == (available, reason)
    assert bool(reply.json.get("message")) is not available


@pytest.mark.parametrize(
    "body", [{}, {"name": "x"}, {"name": 1, "type": "x"}, {"name": "abc", "type": "Microsoft.Web/sites"}]
)
async def test_name_of_something_else_is_not_looked_at(managing: Managing, body: dict[str, Any]) -> None:
    path = f"{PROVIDER}/locations/eastus/checkNameAvailability"

    assert await managing.fault("POST", path, body) == (400, "InvalidParameter")


async def test_usages_count_units_of_a_subscription(managing: Managing) -> None:
    await managing.made("wps-one", sku={"name": "Free_F1"})
    await managing.made("wps-two", sku={"name": "Standard_S1", "capacity": 5})

    rows = (await managing.call("GET", f"{PROVIDER}/locations/eastus/usages")).json["value"]

    assert {row["name"]["value"]: row["currentValue"] for row in rows} == {
        "FreeTierInstances": 1,
        "SignalRTotalUnits": 1005,
    }


async def test_identity_of_a_resource_is_of_our_tenant(managing: Managing) -> None:
    reply = await managing.call("PUT", ONE, {**BODY, "identity": {"type": "SystemAssigned"}})

    assert reply.json["identity"]["tenantId"] == TENANT.tenant_id
    assert reply.json["identity"]["principalId"]


def test_name_of_the_api_version_is_decoded_like_a_value() -> None:
    assert QueryString(b"api%2Dversion=2024-03-01").one("api-version") == VERSION
