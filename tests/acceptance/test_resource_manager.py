"""The resource manager with the official management libraries, and with requests as other clients send them."""

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import uuid4

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.identity.aio import ClientSecretCredential as AsyncClientSecretCredential
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.webpubsub import WebPubSubManagementClient
from azure.mgmt.webpubsub import models as m
from azure.mgmt.webpubsub.aio import WebPubSubManagementClient as AsyncWebPubSubManagementClient

from acceptance.directory import App, assign, create_app, minted, stored_keys, token_of
from acceptance.sdk import MANAGEMENT, Manager, Requests, Resource, manager, resource_at, service_client
from acceptance.servers import Server, StartServer, fixed_ports, running
from acceptance.test_javascript import run_tests
from acceptance.upstreams import await_line
from acceptance.wire import Answer, JsonClient, client_token, connect_status, http_request, rest, signed, trusting

VERSIONS: Final = (
    "2021-04-01-preview",
    "2021-10-01",
    "2022-10-01",
    "2023-02-01",
    "2023-03-01-preview",
    "2023-06-01-preview",
    "2023-08-01-preview",
    "2024-01-01-preview",
    "2024-03-01",
    "2024-04-01-preview",
    "2024-08-01-preview",
    "2024-10-01-preview",
    "2025-01-01-preview",
    "2025-12-01-preview",
)
GROUP: Final = "managed"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Tests keep apart by names of resources."""
    with running(tmp_path_factory.mktemp("managed")) as server:
        yield server


@pytest.fixture(scope="module")
def requests() -> Requests:
    return Requests()


@pytest.fixture(scope="module")
def client(server: Server, requests: Requests) -> Iterator[Manager]:
    """Of the development principal, which may do everything."""
    with manager(WebPubSubManagementClient, server, requests=requests) as client:
        yield client


@pytest.fixture(scope="module")
def groups(server: Server) -> Iterator[Manager]:
    with manager(ResourceManagementClient, server) as client:
        yield client


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    """For requests without a library."""
    return token_of(server, None, MANAGEMENT)


@pytest.fixture
def name() -> str:
    """Of a resource or resource group that no other test uses."""
    return f"r{uuid4().hex}"


def wanted(sku: str = "Standard_S1", capacity: int | None = None, **more: Any) -> m.WebPubSubResource:
    return m.WebPubSubResource(location="eastus", sku=m.ResourceSku(name=sku, capacity=capacity), **more)


def made(client: Manager, name: str, sku: str = "Standard_S1", **more: Any) -> Resource:
    """A new resource, and where it is."""
    client.web_pub_sub.begin_create_or_update(GROUP, name, wanted(sku, **more)).result()
    return resource_at(client, GROUP, name)


def ask(
    server: Server,
    token: str | None,
    method: str,
    path: str,
    body: Any = None,
    *,
    version: str = "2024-03-01",
    target: str = "",
) -> Answer:
    """
    One request to the resource manager.

    Args:
        path: below `/subscriptions/{id}`, unless it begins with two slashes.
        body: a document, or bytes as they are.
        target: instead of path and api-version.
    """
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    whole = path[1:] if path.startswith("//") else f"/subscriptions/{server.subscription_id}{path}"
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    return http_request(
        server,
        method,
        target or f"{whole}?api-version={version}",
        body=raw,
        headers=headers,
        secure=trusting(server.ca),
    )


def one(name: str, group: str = GROUP) -> str:
    """Path of a resource."""
    return f"/resourceGroups/{group}/providers/Microsoft.SignalRService/webPubSub/{name}"


def error_of(answer: Answer) -> tuple[int, str]:
    """Status and code; the body has the form that all errors have."""
    error = answer.json()["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    return answer.status, error["code"]


def code_of(error: HttpResponseError) -> tuple[int | None, str | None]:
    assert error.error is not None
    return error.status_code, error.error.code


# A resource from its creation to its end


@pytest.mark.parametrize(
    ("sku", "capacity", "tier", "size", "kept"),
    [
        ("Free_F1", None, "Free", "F1", 1),
        ("Free_F1", 1, "Free", "F1", 1),
        ("Standard_S1", None, "Standard", "S1", 1),
        ("Standard_S1", 100, "Standard", "S1", 100),
        ("Premium_P1", 20, "Premium", "P1", 20),
        ("Premium_P2", None, "Premium", "P2", 100),
        ("Premium_P2", 1000, "Premium", "P2", 1000),
    ],
)
def test_resource_is_created_with_each_sku(
    client: Manager, name: str, sku: str, capacity: int | None, tier: str, size: str, kept: int
) -> None:
    created = client.web_pub_sub.begin_create_or_update(GROUP, name, wanted(sku, capacity)).result()

    assert (created.sku.name, created.sku.tier, created.sku.size, created.sku.capacity) == (sku, tier, size, kept)
    assert created.provisioning_state == "Succeeded"
    assert client.web_pub_sub.get(GROUP, name).as_dict() == created.as_dict()


def test_created_resource_tells_where_it_is_and_all_of_its_settings(server: Server, client: Manager, name: str) -> None:
    spelled = f"Aa{name}"
    created = client.web_pub_sub.begin_create_or_update(
        GROUP, spelled, wanted(tags={"stage": "test"}, kind="WebPubSub")
    ).result()

    subscription = server.subscription_id
    assert created.name == spelled
    assert created.id == (
        f"/subscriptions/{subscription}/resourceGroups/{GROUP}/providers/Microsoft.SignalRService/WebPubSub/{spelled}"
    )
    assert (created.type, created.location, created.kind) == (
        "Microsoft.SignalRService/WebPubSub",
        "eastus",
        "WebPubSub",
    )
    assert created.tags == {"stage": "test"}
    assert (created.host_name, created.host_name_prefix, created.version) == (server.host, spelled.lower(), "1.0")
    assert created.public_port
    assert created.public_port not in (server.port, server.https_port)
    assert created.tls.client_cert_enabled is False
    assert (created.disable_local_auth, created.disable_aad_auth) == (False, False)
    assert (created.public_network_access, created.region_endpoint_enabled) == ("Enabled", "Enabled")
    assert created.resource_stopped == "false"
    assert created.system_data.created_at is not None


def test_every_operation_on_a_resource_takes_one_request(client: Manager, requests: Requests, name: str) -> None:
    """There is nothing to poll."""
    calls: list[Callable[[], Any]] = [
        lambda: client.web_pub_sub.begin_create_or_update(GROUP, name, wanted()).result(),
        lambda: client.web_pub_sub.begin_create_or_update(GROUP, name, wanted(capacity=2)).result(),
        lambda: client.web_pub_sub.begin_update(GROUP, name, wanted(tags={"a": "b"})).result(),
        lambda: client.web_pub_sub_hubs.begin_create_or_update("h", GROUP, name, hub_with()).result(),
        lambda: client.web_pub_sub_hubs.begin_delete("h", GROUP, name).result(),
        lambda: client.web_pub_sub.begin_regenerate_key(
            GROUP, name, m.RegenerateKeyParameters(key_type="Primary")
        ).result(),
        lambda: client.web_pub_sub.begin_restart(GROUP, name).result(),
        lambda: client.web_pub_sub_replicas.begin_create_or_update(
            GROUP, name, "west", m.Replica(location="w")
        ).result(),
        lambda: client.web_pub_sub_replicas.begin_update(
            GROUP, name, "west", m.Replica(location="w", tags={"c": "d"})
        ).result(),
        lambda: client.web_pub_sub_replicas.begin_restart(GROUP, name, "west").result(),
        lambda: client.web_pub_sub_replicas.delete(GROUP, name, "west"),
        lambda: client.web_pub_sub.begin_delete(GROUP, name).result(),
        lambda: client.web_pub_sub.begin_delete(GROUP, name).result(),
    ]
    repeated = []
    for call in calls:
        before = len(requests.sent)
        call()
        if len(requests.sent) != before + 1:
            repeated.append(requests.sent[before:])

    assert repeated == []


def test_put_replaces_and_patch_changes(client: Manager, name: str) -> None:
    at_first = wanted(capacity=2, tags={"a": "1", "b": "2"}, disable_local_auth=True, public_network_access="Disabled")
    client.web_pub_sub.begin_create_or_update(GROUP, name, at_first).result()

    patch = m.WebPubSubResource(location="eastus", tags={"c": "3"}, disable_local_auth=False)
    patched = client.web_pub_sub.begin_update(GROUP, name, patch).result()
    assert patched.tags == {"c": "3"}
    assert patched.sku.capacity == 2
    assert patched.disable_local_auth is False

    replaced = client.web_pub_sub.begin_create_or_update(GROUP, name, wanted()).result()
    assert replaced.tags == {}
    assert replaced.sku.capacity == 1
    assert replaced.public_network_access == "Enabled"


def test_patch_without_a_property_leaves_it(server: Server, token: str, client: Any, name: str) -> None:
    """The libraries fill in defaults; other clients send what they mean and nothing else."""
    made(client, name, public_network_access="Disabled", tags={"kept": "yes"})

    answer = ask(server, token, "PATCH", one(name), {"properties": {"disableAadAuth": True}})
    assert answer.status == 200
    document = answer.json()
    assert document["properties"]["publicNetworkAccess"] == "Disabled"
    assert document["properties"]["disableAadAuth"] is True
    assert document["tags"] == {"kept": "yes"}

    answer = ask(server, token, "PATCH", one(name), {"properties": {"publicNetworkAccess": None}, "tags": None})
    assert answer.json()["properties"]["publicNetworkAccess"] == "Enabled"
    assert answer.json()["properties"]["disableAadAuth"] is True


def test_put_again_keeps_keys_ports_and_hubs(client: Manager, name: str) -> None:
    before = made(client, name)
    client.web_pub_sub_hubs.begin_create_or_update("h", GROUP, name, hub_with()).result()

    assert made(client, name, "Premium_P1") == before
    assert [hub.name for hub in client.web_pub_sub_hubs.list(GROUP, name)] == ["h"]


def test_deleted_resource_is_gone_and_listens_no_more(client: Manager, name: str) -> None:
    resource = made(client, name)
    with JsonClient(resource, "h") as connected:
        client.web_pub_sub.begin_delete(GROUP, name).result()
        assert connected.closed().code in (1001, 1006)

    with pytest.raises(ResourceNotFoundError) as caught:
        client.web_pub_sub.get(GROUP, name)
    assert code_of(caught.value) == (404, "ResourceNotFound")
    with pytest.raises(ConnectionError):
        http_request(resource, "GET", "/api/health")
    assert name not in [found.name for found in client.web_pub_sub.list_by_resource_group(GROUP)]


def test_name_can_be_used_again_with_other_keys_and_no_hubs(client: Manager, name: str) -> None:
    first = made(client, name)
    client.web_pub_sub_hubs.begin_create_or_update("h", GROUP, name, hub_with()).result()
    client.web_pub_sub.begin_delete(GROUP, name).result()
    second = made(client, name)

    assert {first.access_key, first.secondary_key}.isdisjoint({second.access_key, second.secondary_key})
    assert list(client.web_pub_sub_hubs.list(GROUP, name)) == []
    assert connect_status(second, "h", client_token(second, "h", key=first.access_key)) == 401
    assert connect_status(second, "h", client_token(second, "h")) == 101


def test_names_compare_without_case_and_keep_their_spelling(
    server: Server, client: Manager, token: str, name: str
) -> None:
    made(client, f"Ab{name}")

    found = client.web_pub_sub.get(GROUP.upper(), f"AB{name.upper()}")
    assert found.name == f"Ab{name}"
    assert f"/resourceGroups/{GROUP}/" in found.id
    client.web_pub_sub.begin_create_or_update(GROUP, f"aB{name}", wanted()).result()
    assert client.web_pub_sub.get(GROUP, f"ab{name}").name == f"Ab{name}"


def test_lists_in_group_and_subscription(client: Manager, name: str) -> None:
    for group, resource in ((f"{name}-1", f"{name}a"), (f"{name}-1", f"{name}b"), (f"{name}-2", f"{name}c")):
        client.web_pub_sub.begin_create_or_update(group, resource, wanted("Free_F1")).result()

    assert [found.name for found in client.web_pub_sub.list_by_resource_group(f"{name}-1")] == [f"{name}a", f"{name}b"]
    assert [found.name for found in client.web_pub_sub.list_by_resource_group(f"{name}-2")] == [f"{name}c"]
    everything = [found.name for found in client.web_pub_sub.list_by_subscription()]
    assert {"default", f"{name}a", f"{name}b", f"{name}c"} <= set(everything)
    with pytest.raises(ResourceNotFoundError) as caught:
        list(client.web_pub_sub.list_by_resource_group(f"{name}-3"))
    assert code_of(caught.value) == (404, "ResourceGroupNotFound")


def test_any_subscription_is_taken_and_holds_its_own(server: Server, name: str) -> None:
    other = str(uuid4())
    with manager(WebPubSubManagementClient, server, subscription=other) as client:
        assert list(client.web_pub_sub.list_by_subscription()) == []
        client.web_pub_sub.begin_create_or_update(GROUP, name, wanted("Free_F1")).result()
        assert [found.name for found in client.web_pub_sub.list_by_subscription()] == [name]
        client.web_pub_sub.begin_delete(GROUP, name).result()


async def test_asynchronous_library(server: Server, name: str) -> None:
    options: dict[str, Any] = {"connection_verify": str(server.ca)}
    credential = AsyncClientSecretCredential(
        server.tenant_id,
        server.client_id,
        server.client_secret,
        authority=server.authority,
        disable_instance_discovery=True,
        **options,
    )
    async with (
        credential,
        AsyncWebPubSubManagementClient(
            credential,
            server.subscription_id,
            base_url=server.https_endpoint,
            credential_scopes=[MANAGEMENT],
            **options,
        ) as library,
    ):
        client: Manager = library
        poller = await client.web_pub_sub.begin_create_or_update(GROUP, name, wanted("Free_F1"))
        assert (await poller.result()).provisioning_state == "Succeeded"
        assert name in [found.name async for found in client.web_pub_sub.list_by_resource_group(GROUP)]
        update = await client.web_pub_sub.begin_update(GROUP, name, wanted("Free_F1", tags={"a": "b"}))
        assert (await update.result()).tags == {"a": "b"}
        await (await client.web_pub_sub.begin_delete(GROUP, name)).result()
        with pytest.raises(ResourceNotFoundError):
            await client.web_pub_sub.get(GROUP, name)


def test_official_javascript_library(server: Server, name: str) -> None:
    """With its default scope, which is the endpoint itself."""
    environment = {"HUBWIRE_READY_FILE": str(server.ready_file), "HUBWIRE_NAME": name}
    run_tests("arm.mjs", server, environment)


# Hubs


def hub_with(policy: str = "allow", **more: Any) -> m.WebPubSubHub:
    return m.WebPubSubHub(properties=m.WebPubSubHubProperties(anonymous_connect_policy=policy, **more))


def test_hub_is_put_got_listed_and_deleted(client: Manager, name: str) -> None:
    made(client, name)
    handler = m.EventHandler(
        url_template="https://example.org/{hub}/{event}",
        user_event_pattern="*",
        system_events=["connect", "connected"],
        auth=m.UpstreamAuthSettings(
            type="ManagedIdentity", managed_identity=m.ManagedIdentitySettings(resource="api://handler")
        ),
    )
    put = client.web_pub_sub_hubs.begin_create_or_update(
        "Chat", GROUP, name, hub_with(event_handlers=[handler], web_socket_keep_alive_interval_in_seconds=30)
    ).result()

    assert (put.name, put.type) == ("Chat", "Microsoft.SignalRService/WebPubSub/hubs")
    assert put.id == f"{client.web_pub_sub.get(GROUP, name).id}/hubs/Chat"
    assert put.properties.anonymous_connect_policy == "allow"
    assert put.properties.web_socket_keep_alive_interval_in_seconds == 30
    assert put.properties.event_handlers is not None
    assert [kept.as_dict() for kept in put.properties.event_handlers] == [handler.as_dict()]
    assert client.web_pub_sub_hubs.get("cHAT", GROUP, name).as_dict() == put.as_dict()

    client.web_pub_sub_hubs.begin_create_or_update("another", GROUP, name, hub_with()).result()
    assert [hub.name for hub in client.web_pub_sub_hubs.list(GROUP, name)] == ["another", "Chat"]

    replaced = client.web_pub_sub_hubs.begin_create_or_update(
        "chat", GROUP, name, m.WebPubSubHub(properties=m.WebPubSubHubProperties())
    ).result()
    assert replaced.name == "Chat"
    assert replaced.properties.anonymous_connect_policy == "deny"
    assert replaced.properties.web_socket_keep_alive_interval_in_seconds == 20
    assert not replaced.properties.event_handlers

    client.web_pub_sub_hubs.begin_delete("CHAT", GROUP, name).result()
    client.web_pub_sub_hubs.begin_delete("CHAT", GROUP, name).result()
    with pytest.raises(ResourceNotFoundError):
        client.web_pub_sub_hubs.get("Chat", GROUP, name)
    assert [hub.name for hub in client.web_pub_sub_hubs.list(GROUP, name)] == ["another"]


def test_delete_of_a_hub_tells_whether_it_was_there(server: Server, client: Any, token: str, name: str) -> None:
    made(client, name)
    answers = [ask(server, token, "PUT", f"{one(name)}/hubs/h", {"properties": {}}).status for _ in range(2)]
    deletions = [ask(server, token, "DELETE", f"{one(name)}/hubs/h").status for _ in range(2)]

    # Without a provisioning state 201 would send the Python SDK to ask for one.
    assert (answers, deletions) == ([200, 200], [200, 204])


@pytest.mark.parametrize(
    ("properties", "target"),
    [
        ({"anonymousConnectPolicy": "maybe"}, "anonymousConnectPolicy"),
        ({"webSocketKeepAliveIntervalInSeconds": 0}, "webSocketKeepAliveIntervalInSeconds"),
        ({"webSocketKeepAliveIntervalInSeconds": 121}, "webSocketKeepAliveIntervalInSeconds"),
        ({"eventHandlers": [{}]}, "urlTemplate"),
        ({"eventHandlers": [{"urlTemplate": "ftp://example.org"}]}, "urlTemplate"),
        ({"eventHandlers": [{"urlTemplate": "https://{event}.example.org/"}]}, "urlTemplate"),
        ({"eventHandlers": [{"urlTemplate": "https://example.org/{"}]}, "urlTemplate"),
        ({"eventHandlers": [{"urlTemplate": "https://example.org/", "systemEvents": ["sleep"]}]}, "systemEvents"),
        ({"eventHandlers": [{"urlTemplate": "https://example.org/", "auth": {"type": "Magic"}}]}, "auth"),
        ({"eventListeners": [{"filter": {"type": "EventName", "systemEvents": ["connect"]}}]}, "systemEvents"),
    ],
)
def test_hub_that_cannot_be_is_refused_with_the_property_at_fault(
    server: Server, token: str, properties: Mapping[str, Any], target: str
) -> None:
    """At the resource that is there from the start."""
    answer = ask(server, token, "PUT", f"{one('default', 'hubwire')}/hubs/h", {"properties": properties})

    assert answer.status == 400
    error = answer.json()["error"]
    assert target in error["target"]
    assert ask(server, token, "GET", f"{one('default', 'hubwire')}/hubs/h").status == 404


def test_hub_needs_properties_a_good_name_and_a_resource(server: Server, client: Any, token: str, name: str) -> None:
    made(client, name)

    assert error_of(ask(server, token, "PUT", f"{one(name)}/hubs/h", {}))[0] == 400
    assert error_of(ask(server, token, "PUT", f"{one(name)}/hubs/1st", {"properties": {}}))[0] == 400
    assert error_of(ask(server, token, "PUT", f"{one('nothing')}/hubs/h", {"properties": {}})) == (
        404,
        "ResourceNotFound",
    )
    assert ask(server, token, "DELETE", f"{one('nothing')}/hubs/h").status == 204


def test_what_is_not_known_of_a_hub_is_kept(server: Server, client: Any, token: str, name: str) -> None:
    made(client, name)
    given = {"chat": {"mode": "x", "persistentStorage": {"id": "y"}}, "laterSetting": [1, {"a": None}]}
    ask(server, token, "PUT", f"{one(name)}/hubs/h", {"properties": given}, version="2025-12-01-preview")

    shown = ask(server, token, "GET", f"{one(name)}/hubs/h").json()["properties"]
    assert {key: shown[key] for key in given} == given


# Keys


@pytest.mark.parametrize("kind", ["Primary", "Secondary"])
def test_regenerated_key_is_refused_at_once_and_the_new_one_works(client: Manager, name: str, kind: str) -> None:
    old = made(client, name)
    other = {"Primary": old.secondary_key, "Secondary": old.access_key}[kind]
    dropped = {"Primary": old.access_key, "Secondary": old.secondary_key}[kind]
    issued = issued_token(old)
    assert statuses(old, dropped) == (101, 202)

    answer = client.web_pub_sub.begin_regenerate_key(GROUP, name, m.RegenerateKeyParameters(key_type=kind)).result()
    new = resource_at(client, GROUP, name)
    assert (answer.primary_key, answer.secondary_key) == (new.access_key, new.secondary_key)
    assert answer.primary_connection_string == new.connection_string
    fresh = {"Primary": new.access_key, "Secondary": new.secondary_key}[kind]
    assert fresh not in (dropped, other)

    assert statuses(old, dropped) == (401, 401)
    assert statuses(old, fresh) == (101, 202)
    assert statuses(old, other) == (101, 202)
    # What the service issues is signed by the primary key.
    assert connect_status(old, "h", issued) == (401 if kind == "Primary" else 101)


def statuses(resource: Resource, key: str) -> tuple[int, int]:
    """What a client and a REST caller with tokens of this key are answered."""
    changed = resource._replace(access_key=key)
    told = rest(changed, "POST", "h/:send", body=b"x", headers={"Content-Type": "text/plain"}).status
    return connect_status(changed, "h", client_token(changed, "h")), told


def issued_token(resource: Resource, hub: str = "h") -> str:
    """One that the service signs itself."""
    answer = rest(resource, "POST", f"{hub}/:generateToken")
    assert answer.status == 200, answer.body
    return str(answer.json()["token"])


def test_salt_takes_back_issued_tokens_and_nothing_else(client: Manager, name: str) -> None:
    before = made(client, name)
    issued = issued_token(before)
    own = client_token(before, "h")
    assert connect_status(before, "h", issued) == 101

    client.web_pub_sub.begin_regenerate_key(GROUP, name, m.RegenerateKeyParameters(key_type="Salt")).result()

    assert resource_at(client, GROUP, name) == before
    assert connect_status(before, "h", issued) == 401
    assert connect_status(before, "h", own) == 101
    assert statuses(before, before.secondary_key) == (101, 202)
    assert connect_status(before, "h", issued_token(before)) == 101


def test_regeneration_does_not_end_who_is_connected(client: Manager, name: str) -> None:
    """Only a restart does."""
    resource = made(client, name)
    with JsonClient(resource, "h", groups=["g"]) as connected:
        for kind in ("Primary", "Secondary", "Salt"):
            client.web_pub_sub.begin_regenerate_key(GROUP, name, m.RegenerateKeyParameters(key_type=kind)).result()
        assert connected.publish("g", 1)["success"]

        client.web_pub_sub.begin_restart(GROUP, name).result()
        assert connected.closed().code == 1001


def test_unknown_kind_of_key_is_refused(server: Server, client: Any, token: str, name: str) -> None:
    before = made(client, name)

    bodies: list[Any] = [{"keyType": "Tertiary"}, {}, {"keyType": None}, {"keyType": 1}, [], b"", b"{"]
    for body in bodies:
        assert error_of(ask(server, token, "POST", f"{one(name)}/regenerateKey", body))[0] == 400
    assert resource_at(client, GROUP, name) == before


def test_keys_open_the_service_library(client: Manager, name: str) -> None:
    resource = made(client, name)
    with (
        JsonClient(resource, "h", groups=["g"]) as connected,
        service_client("sync", resource.connection_string, "h") as service,
    ):
        service.send_to_group("g", "hello", content_type="text/plain")

        assert connected.receive()["data"] == "hello"


def test_restart_ends_the_connections_of_one_resource(client: Manager, server: Server, name: str) -> None:
    """And lets them in again."""
    first, second = made(client, f"{name}a"), made(client, f"{name}b")
    with (
        JsonClient(first, "h") as here,
        JsonClient(second, "h") as there,
        JsonClient(server, "h") as main,
    ):
        client.web_pub_sub.begin_restart(GROUP, first.name).result()

        assert here.closed().code == 1001
        assert (there.heard(), main.heard()) == ([], [])
    assert connect_status(first, "h", client_token(first, "h")) == 101


# What is told about a place


def test_name_is_checked(client: Manager, name: str) -> None:
    made(client, name)

    def check(name: str, kind: str = "Microsoft.SignalRService/WebPubSub") -> Any:
        return client.web_pub_sub.check_name_availability("eastus", m.NameAvailabilityParameters(type=kind, name=name))

    assert check(f"{name}x").name_available is True
    taken = check(name.upper(), "microsoft.signalrservice/webpubsub")
    assert (taken.name_available, taken.reason) == (False, "AlreadyExists")
    assert taken.message
    for wrong in ("ab", "1st", "-abc", "abc-", "a_b", "a" * 64, "ä" * 5):
        invalid = check(wrong)
        assert (invalid.name_available, invalid.reason) == (False, "Invalid"), wrong
    with pytest.raises(HttpResponseError) as caught:
        check(name, "Microsoft.Storage/storageAccounts")
    assert caught.value.status_code == 400


def test_usages_skus_and_operations_are_told(client: Manager, name: str) -> None:
    before = {usage.name.value: usage.current_value for usage in client.usages.list("eastus")}
    client.web_pub_sub.begin_create_or_update(GROUP, name, wanted(capacity=5)).result()
    after = {usage.name.value: usage.current_value for usage in client.usages.list("eastus")}
    changed = {key: after[key] - before[key] for key in after if after[key] != before[key]}
    assert changed == {"SignalRTotalUnits": 5}

    skus = {sku.sku.name: sku for sku in client.web_pub_sub.list_skus(GROUP, name).value}
    assert set(skus) == {"Free_F1", "Standard_S1", "Premium_P1", "Premium_P2"}
    capacity = skus["Standard_S1"].capacity
    assert capacity is not None
    assert (capacity.minimum, capacity.maximum, capacity.default) == (1, 100, 1)
    assert capacity.allowed_values == [*range(1, 11), *range(20, 101, 10)]

    operations = [operation.name for operation in client.operations.list()]
    assert "Microsoft.SignalRService/webPubSub/write" in operations
    assert len(set(map(str.lower, operations))) == len(operations)


def test_what_there_is_none_of_is_an_empty_list(client: Manager, name: str) -> None:
    made(client, name)

    assert list(client.web_pub_sub_private_endpoint_connections.list(GROUP, name)) == []
    assert list(client.web_pub_sub_private_link_resources.list(GROUP, name)) == []
    assert list(client.web_pub_sub_shared_private_link_resources.list(GROUP, name)) == []


def test_what_is_not_available_says_so(client: Manager, server: Server, token: str, name: str) -> None:
    made(client, name)
    certificate = m.CustomCertificate(key_vault_base_uri="https://v", key_vault_secret_name="s")
    domain = m.CustomDomain(domain_name="example.org", custom_certificate=m.ResourceReference(id="x"))
    refusals: list[Callable[[], object]] = [
        lambda: list(client.web_pub_sub_custom_certificates.list(GROUP, name)),
        lambda: client.web_pub_sub_custom_certificates.get(GROUP, name, "c"),
        lambda: client.web_pub_sub_custom_certificates.begin_create_or_update(GROUP, name, "c", certificate),
        lambda: client.web_pub_sub_custom_certificates.delete(GROUP, name, "c"),
        lambda: list(client.web_pub_sub_custom_domains.list(GROUP, name)),
        lambda: client.web_pub_sub_custom_domains.begin_create_or_update(GROUP, name, "d", domain),
        lambda: client.web_pub_sub_custom_domains.begin_delete(GROUP, name, "d"),
    ]
    for refused in refusals:
        with pytest.raises(HttpResponseError) as caught:
            refused()
        assert code_of(caught.value) == (501, "FeatureNotAvailable")
        assert "custom" in caught.value.message.lower()
    answer = ask(server, token, "GET", f"{one(name)}/persistentStorages", version="2025-12-01-preview")
    assert error_of(answer) == (501, "FeatureNotAvailable")
    for scope in ("/providers/Microsoft.Resources/deployments/d", "///providers/Microsoft.Resources/deployments/d"):
        answer = ask(server, token, "PUT", scope, {"properties": {}}, version="2025-04-01")
        assert error_of(answer) == (501, "FeatureNotAvailable")


def test_replicas_are_kept(client: Manager, name: str) -> None:
    made(client, name, "Premium_P1")
    wanted_replica = m.Replica(location="westus", tags={"a": "b"}, sku=m.ResourceSku(name="Premium_P1", capacity=2))
    replicas = client.web_pub_sub_replicas
    created = replicas.begin_create_or_update(GROUP, name, "west", wanted_replica).result()

    assert (created.name, created.location, created.tags) == ("west", "westus", {"a": "b"})
    assert created.type == "Microsoft.SignalRService/WebPubSub/replicas"
    assert created.provisioning_state == "Succeeded"
    assert replicas.get(GROUP, name, "west").as_dict() == created.as_dict()
    assert [found.name for found in replicas.list(GROUP, name)] == ["west"]
    changed = replicas.begin_update(GROUP, name, "west", m.Replica(location="westus", tags={"c": "d"})).result()
    assert changed.tags == {"c": "d"}
    assert list(client.web_pub_sub_replica_shared_private_link_resources.list(GROUP, name, "west")) == []
    assert client.web_pub_sub.list_replica_skus(GROUP, name, "west").value
    replicas.begin_restart(GROUP, name, "west").result()
    replicas.delete(GROUP, name, "west")
    replicas.delete(GROUP, name, "west")
    assert list(replicas.list(GROUP, name)) == []
    with pytest.raises(ResourceNotFoundError):
        replicas.get(GROUP, name, "west")


def test_names_of_replicas_compare_without_case(server: Server, client: Any, token: str, name: str) -> None:
    """As all names of resources do."""
    made(client, name)
    body = {"location": "westus"}
    first = ask(server, token, "PUT", f"{one(name)}/replicas/West", body)
    second = ask(server, token, "PUT", f"{one(name)}/replicas/WEST", body)

    assert (first.status, second.status) == (201, 200)
    assert ask(server, token, "GET", f"{one(name)}/replicas/west").json()["name"] == "West"


# What cannot be


@pytest.mark.parametrize(
    ("change", "target"),
    [
        ({"location": None}, "location"),
        ({"sku": {"name": "Standard_S9"}}, "sku.name"),
        ({"sku": {}}, "sku.name"),
        ({"sku": {"name": "Standard_S1", "capacity": 11}}, "sku.capacity"),
        ({"sku": {"name": "Free_F1", "capacity": 2}}, "sku.capacity"),
        ({"sku": {"name": "Premium_P2", "capacity": 1}}, "sku.capacity"),
        ({"sku": {"name": "Standard_S1", "capacity": 0}}, "sku.capacity"),
        ({"sku": {"name": "Standard_S1", "capacity": "1"}}, "sku.capacity"),
        ({"sku": {"name": "Standard_S1", "capacity": True}}, "sku.capacity"),
        ({"sku": {"name": "Standard_S1", "capacity": 1.5}}, "sku.capacity"),
        ({"sku": "Standard_S1"}, "sku"),
        ({"kind": "SignalR"}, "kind"),
        ({"tags": {"a": 1}}, "tags"),
        ({"tags": []}, "tags"),
        ({"identity": {"type": "Everything"}}, "identity"),
        ({"identity": {"type": "UserAssigned"}}, "identity"),
        ({"identity": {"type": "SystemAssigned,UserAssigned"}}, "identity"),
        ({"identity": {"type": "UserAssigned", "userAssignedIdentities": {"/a": {}, "/b": {}}}}, "identity"),
        ({"properties": {"tls": {"clientCertEnabled": "perhaps"}}}, "tls"),
        ({"properties": {"publicNetworkAccess": "Sometimes"}}, "publicNetworkAccess"),
        ({"properties": {"disableLocalAuth": "yes"}}, "disableLocalAuth"),
        ({"properties": {"resourceStopped": "maybe"}}, "resourceStopped"),
        ({"properties": {"networkACLs": {"defaultAction": "Perhaps"}}}, "networkACLs"),
        ({"properties": {"networkACLs": {"publicNetwork": {"allow": ["Everything"]}}}}, "networkACLs"),
        ({"properties": {"networkACLs": {"ipRules": [{"value": "10.0.0.0/99", "action": "Allow"}]}}}, "networkACLs"),
        ({"properties": {"networkACLs": {"ipRules": [{"action": "Allow"}]}}}, "networkACLs"),
        (
            {
                "properties": {
                    "networkACLs": {"ipRules": [{"value": f"10.0.0.{i}", "action": "Allow"} for i in range(31)]}
                }
            },
            "networkACLs",
        ),
        ({"properties": []}, "properties"),
    ],
)
def test_resource_that_cannot_be_is_refused_with_the_property_at_fault(
    server: Server, token: str, name: str, change: Mapping[str, Any], target: str
) -> None:
    body = {"location": "eastus", "sku": {"name": "Standard_S1"}, **change}
    answer = ask(server, token, "PUT", one(name), body)

    assert answer.status == 400, answer.body
    error = answer.json()["error"]
    assert target in error.get("target", "")
    assert error["code"]
    assert ask(server, token, "GET", one(name)).status == 404


@pytest.mark.parametrize("wrong", ["ab", "1st", "-abc", "abc-", "a_b", "a" * 64, "a.b", "%C3%A4bc"])
def test_illegal_name_is_refused(server: Server, token: str, wrong: str) -> None:
    answer = ask(server, token, "PUT", one(wrong), {"location": "eastus"})

    assert answer.status == 400
    assert answer.json()["error"]["target"] == "name"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"location": 1}', b'{"a":' * 5000])
def test_body_that_is_no_document_is_refused(server: Server, token: str, name: str, body: bytes) -> None:
    assert error_of(ask(server, token, "PUT", one(name), body))[0] == 400


def test_location_is_kept_and_compared_as_regions_are(server: Server, token: str, name: str) -> None:
    def put(location: str) -> Answer:
        return ask(server, token, "PUT", one(name), {"location": location})

    assert put("East US").status == 201
    assert put("eastus").status == 200
    assert error_of(put("westus")) == (409, "InvalidResourceLocation")


def test_errors_are_the_libraries_exceptions(client: Manager, name: str) -> None:
    with pytest.raises(ResourceNotFoundError) as missing:
        client.web_pub_sub.get(GROUP, name)
    assert code_of(missing.value) == (404, "ResourceNotFound")
    with pytest.raises(ResourceNotFoundError):
        client.web_pub_sub.list_keys(GROUP, name)
    with pytest.raises(ResourceNotFoundError):
        client.web_pub_sub.begin_update(GROUP, name, wanted())
    with pytest.raises(ResourceNotFoundError):
        client.web_pub_sub.begin_restart(GROUP, name)
    with pytest.raises(ResourceNotFoundError):
        list(client.web_pub_sub_hubs.list(GROUP, name))
    with pytest.raises(HttpResponseError) as unknown:
        client.web_pub_sub.begin_create_or_update(GROUP, name, wanted("Standard_S9"))
    assert unknown.value.status_code == 400
    assert unknown.value.error is not None
    assert "Standard_S1" in (unknown.value.error.message or "")
    made(client, name)
    with pytest.raises(ResourceExistsError) as taken:
        client.web_pub_sub.begin_create_or_update(f"{GROUP}-2", name, wanted())
    assert code_of(taken.value) == (409, "NameNotAvailable")
    with pytest.raises(ResourceExistsError) as stays:
        client.web_pub_sub.begin_delete("hubwire", "default")
    assert stays.value.status_code == 409


def test_resource_in_another_group_is_not_found(client: Manager, name: str) -> None:
    """Nor is it deleted from there."""
    made(client, name)

    with pytest.raises(ResourceNotFoundError):
        client.web_pub_sub.get("hubwire", name)
    with pytest.raises(ResourceNotFoundError):
        client.web_pub_sub.list_keys("hubwire", name)
    client.web_pub_sub.begin_delete("hubwire", name).result()
    assert client.web_pub_sub.get(GROUP, name).name == name


def test_unknown_paths_and_methods_have_errors_of_the_same_form(server: Server, token: str) -> None:
    assert error_of(ask(server, token, "GET", "/nothing"))[0] == 404
    assert error_of(ask(server, token, "POST", one("default", "hubwire")))[0] == 405
    assert error_of(ask(server, token, "GET", "/resourceGroups/a%2Fb"))[0] == 400
    assert error_of(ask(server, token, "GET", "/resourceGroups/a.")) == (400, "InvalidResourceGroup")
    answer = ask(server, token, "GET", "", target="/subscriptions/not-a-guid/resourceGroups?api-version=2021-04-01")
    assert error_of(answer) == (400, "InvalidSubscriptionId")


def test_document_that_was_got_can_be_put_back(server: Server, token: str, name: str) -> None:
    """With all that only the service says; nothing changes by it."""
    body = {
        "location": "East US",
        "sku": {"name": "Premium_P1", "capacity": 2, "size": "P1", "tier": "Premium", "family": None},
        "tags": {"a": "b"},
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "networkACLs": {"ipRules": [{"value": "10.0.0.0/8", "action": "Deny"}]},
            "unknown": [1, {"a": 2}],
        },
    }
    ask(server, token, "PUT", one(name), body)
    before = ask(server, token, "GET", one(name)).json()
    for method in ("PUT", "PATCH"):
        answer = ask(server, token, method, one(name), before)
        assert answer.status == 200
        after = answer.json()
        for document in (before, after):
            document.pop("systemData", None)
        assert after == before


def test_null_is_what_is_not_given(server: Server, token: str, name: str) -> None:
    nothing = dict.fromkeys(("sku", "tags", "kind", "identity", "properties"))
    assert ask(server, token, "PUT", one(name), {"location": "eastus", **nothing}).status == 201
    plain = ask(server, token, "GET", one(name)).json()["properties"]
    for properties in (
        dict.fromkeys(plain),
        {"networkACLs": dict.fromkeys(("defaultAction", "publicNetwork", "privateEndpoints", "ipRules"))},
        {"tls": {"clientCertEnabled": None}},
    ):
        answer = ask(server, token, "PUT", one(name), {"location": "eastus", "properties": properties})
        assert answer.status == 200, answer.body
        shown = answer.json()["properties"]
        assert shown["tls"] == {"clientCertEnabled": False}
        assert shown["networkACLs"]["defaultAction"] == "Allow"
        assert shown["publicNetworkAccess"] == "Enabled"
    resource = resource_from(server, token, name)
    assert statuses(resource, resource.access_key) == (101, 202)


def resource_from(server: Server, token: str, name: str) -> Resource:
    """A resource of the group of this module."""
    with manager(WebPubSubManagementClient, server) as client:
        return resource_at(client, GROUP, name)


@pytest.mark.parametrize(
    "body",
    [
        {"tags": [1]},
        {"tags": {"a": 5}},
        {"tags": "x"},
        {"properties": "x"},
        {"properties": [1]},
        {"location": 5},
        {"sku": {"name": "Nothing"}},
        {"sku": "x"},
        [],
    ],
)
def test_replica_that_cannot_be_is_refused(server: Server, token: str, name: str, body: Any) -> None:
    ask(server, token, "PUT", one(name), {"location": "eastus"})
    west = f"{one(name)}/replicas/west"
    whole = {"location": "westus", **body} if isinstance(body, dict) else body
    assert error_of(ask(server, token, "PUT", west, whole))[0] == 400
    assert ask(server, token, "PUT", west, {"location": "westus"}).status == 201
    assert ask(server, token, "PATCH", west, body).status in (400, 409)
    shown = ask(server, token, "GET", west).json()
    assert (shown["location"], shown["properties"]["provisioningState"]) == ("westus", "Succeeded")


def test_group_that_cannot_be_is_refused_and_spoils_nothing(start_server: StartServer, name: str) -> None:
    """Neither now nor at the next start."""
    first = start_server()
    token = token_of(first, None, MANAGEMENT)
    path = f"/resourceGroups/{name}"
    assert ask(first, token, "PUT", path, {"location": "eastus", "managedBy": "/a/b"}).status == 201
    bodies: list[Any] = [{"managedBy": 5}, {"managedBy": {}}, {"tags": {"a": 1}}, {"tags": []}, [], b"", b"{"]
    for body in bodies:
        assert error_of(ask(first, token, "PATCH", path, body))[0] == 400
        whole = {"location": "eastus", **body} if isinstance(body, dict) else body
        assert error_of(ask(first, token, "PUT", path, whole))[0] == 400
    for wrong in (5, None, "", "!", ["eastus"]):
        assert error_of(ask(first, token, "PUT", path, {"location": wrong}))[0] == 400
    before = ask(first, token, "GET", path).json()
    first.stop()

    second = start_server(data=first.data)
    assert ask(second, token_of(second, None, MANAGEMENT), "GET", path).json() == before


def test_one_name_at_once(server: Server, token: str, name: str) -> None:
    """In one group all get the same resource, and in two only one of them has it."""
    body = {"location": "eastus"}
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: ask(server, token, "PUT", one(name), body).status, range(8)))
        keys = set(threads.map(lambda _: ask(server, token, "POST", f"{one(name)}/listKeys").body, range(4)))
        apart = list(
            threads.map(lambda at: ask(server, token, "PUT", one(f"{name}x", f"{name}-{at}"), body).status, range(4))
        )

    assert sorted(answers) == [200] * 7 + [201]
    assert len(keys) == 1
    assert sorted(apart) == [201, 409, 409, 409]


# Paths, versions and headers as clients send them


@pytest.mark.parametrize("version", VERSIONS)
def test_every_api_version_is_taken(server: Server, token: str, version: str) -> None:
    answer = ask(server, token, "GET", one("default", "hubwire"), version=version)

    assert answer.status == 200
    assert answer.json()["name"] == "default"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "MissingApiVersionParameter"),
        ("?api-version=", "InvalidApiVersionParameter"),
        ("?api-version=latest", "InvalidApiVersionParameter"),
        ("?api-version=2024-13-01", "InvalidApiVersionParameter"),
        ("?api-version=2024-03-01-beta", "InvalidApiVersionParameter"),
        ("?api-version=2020-05-01", "NoRegisteredProviderFound"),
        ("?api-version=2024-03-01&api-version=2024-03-01", "InvalidParameter"),
    ],
)
def test_wrong_api_version_is_refused_by_its_own_code(server: Server, token: str, query: str, code: str) -> None:
    path = f"/subscriptions/{server.subscription_id}{one('default', 'hubwire')}"

    assert error_of(ask(server, token, "GET", "", target=path + query)) == (400, code)


@pytest.mark.parametrize(
    "target",
    [
        "/subscriptions/{s}/resourcegroups/{g}/providers/Microsoft.SignalRService/webPubSub/{n}?api-version=2024-03-01",
        "/subscriptions/{s}/resourceGroups/{g}/providers/Microsoft.SignalRService//webPubSub/{n}?api-version=2024-03-01",
        "//subscriptions//{s}/resourceGroups/{g}/providers/Microsoft.SignalRService/webPubSub/{n}/?api-version=2024-03-01",
        "/SUBSCRIPTIONS/{S}/RESOURCEGROUPS/{G}/PROVIDERS/MICROSOFT.SIGNALRSERVICE/WEBPUBSUB/{N}?API-VERSION=2024-03-01",
        "/subscriptions/{s}/resourceGroups/{g}/providers/Microsoft.SignalRService/WebPubSub/{n}?api%2Dversion=2024-03-01",
        "/subscriptions/{s}/resourceGroups/{g}/providers/Microsoft%2ESignalRService/webPubSub/{n}?api-version=2024-03-01",
    ],
    ids=["lower case", "two slashes", "slashes everywhere", "upper case", "encoded query", "encoded path"],
)
def test_path_is_found_however_it_is_spelled(
    server: Server, client: Manager, token: str, name: str, target: str
) -> None:
    made(client, name)
    subscription = server.subscription_id
    full = target.format(s=subscription, S=subscription.upper(), g=GROUP, G=GROUP.upper(), n=name, N=name.upper())
    answer = ask(server, token, "GET", "", target=full)

    assert answer.status == 200, answer.body
    assert answer.json()["name"] == name


def test_answers_name_the_request(server: Server, token: str) -> None:
    path = f"/subscriptions/{server.subscription_id}/resourceGroups?api-version=2021-04-01"
    for authorization in (f"Bearer {token}", "Bearer nonsense"):
        headers = {"Authorization": authorization, "x-ms-client-request-id": "mine"}
        answer = http_request(server, "GET", path, headers=headers, secure=trusting(server.ca))
        assert answer.headers["x-ms-client-request-id"] == "mine"
        assert answer.headers["x-ms-request-id"]
        assert answer.headers["x-ms-correlation-request-id"]


def test_put_and_delete_are_answered_by_the_statuses_of_the_definition(server: Server, token: str, name: str) -> None:
    body = {"location": "eastus"}
    statuses = [
        ask(server, token, "PUT", one(name), body).status,
        ask(server, token, "PUT", one(name), body).status,
        ask(server, token, "PATCH", one(name), {}).status,
        ask(server, token, "HEAD", one(name)).status,
        ask(server, token, "POST", f"{one(name)}/listKeys").status,
        ask(server, token, "POST", f"{one(name)}/restart").status,
        ask(server, token, "DELETE", one(name)).status,
        ask(server, token, "DELETE", one(name)).status,
        ask(server, token, "HEAD", one(name)).status,
    ]

    assert statuses == [201, 200, 200, 204, 200, 204, 200, 204, 404]


# Who may


@pytest.mark.parametrize(
    "scope",
    ["https://management.azure.com/.default", "https://management.core.windows.net/.default", "{own}/.default"],
)
def test_tokens_for_each_of_the_three_audiences_are_taken(server: Server, scope: str) -> None:
    full = scope.format(own=server.https_endpoint)
    with manager(WebPubSubManagementClient, server, scope=full) as client:
        assert client.web_pub_sub.get("hubwire", "default").name == "default"


def test_audience_may_end_in_two_slashes(server: Server) -> None:
    """So `az` asks for it."""
    token = token_of(server, None, "https://management.core.windows.net//.default")

    assert ask(server, token, "GET", one("default", "hubwire")).status == 200


def caller(server: Server, role: str | None, *scope: str) -> App:
    app = create_app(server)
    if role is not None:
        assign(server, app, role, *scope)
    return app


def seen(client: Manager) -> list[str]:
    """Names of all resources that are listed for somebody; to nobody, the list itself may be refused."""
    try:
        return [found.name for found in client.web_pub_sub.list_by_subscription()]
    except HttpResponseError as error:
        if error.status_code != 403:
            raise
        return []


def everywhere(server: Server) -> tuple[str, str]:
    """Options for a role at the whole subscription."""
    return ("--scope", f"/subscriptions/{server.subscription_id}")


def test_reader_may_look_and_change_nothing(server: Server, client: Manager, name: str) -> None:
    made(client, name)
    with manager(WebPubSubManagementClient, server, caller(server, "resource-reader", *everywhere(server))) as reader:
        assert reader.web_pub_sub.get(GROUP, name).name == name
        assert name in [found.name for found in reader.web_pub_sub.list_by_resource_group(GROUP)]
        assert list(reader.web_pub_sub_hubs.list(GROUP, name)) == []
        refusals: list[Callable[[], object]] = [
            lambda: reader.web_pub_sub.begin_create_or_update(GROUP, name, wanted()),
            lambda: reader.web_pub_sub.begin_create_or_update(GROUP, f"{name}x", wanted()),
            lambda: reader.web_pub_sub.begin_update(GROUP, name, wanted()),
            lambda: reader.web_pub_sub.begin_delete(GROUP, name),
            lambda: reader.web_pub_sub.list_keys(GROUP, name),
            lambda: reader.web_pub_sub.begin_regenerate_key(GROUP, name, m.RegenerateKeyParameters(key_type="Salt")),
            lambda: reader.web_pub_sub.begin_restart(GROUP, name),
            lambda: reader.web_pub_sub_hubs.begin_create_or_update("h", GROUP, name, hub_with()),
            lambda: reader.web_pub_sub_hubs.begin_delete("h", GROUP, name),
        ]
        for refused in refusals:
            with pytest.raises(HttpResponseError) as caught:
                refused()
            assert code_of(caught.value) == (403, "AuthorizationFailed")


@pytest.mark.parametrize("role", [None, "owner", "reader"])
def test_who_has_no_role_at_the_resource_manager_may_not_look(server: Server, role: str | None) -> None:
    """Roles of the data plane are none."""
    with manager(WebPubSubManagementClient, server, caller(server, role, *everywhere(server))) as stranger:
        with pytest.raises(HttpResponseError) as caught:
            stranger.web_pub_sub.get("hubwire", "default")
        assert code_of(caught.value) == (403, "AuthorizationFailed")
        assert seen(stranger) == []
        with pytest.raises(HttpResponseError) as caught:
            stranger.web_pub_sub.list_keys("hubwire", "default")
        assert caught.value.status_code == 403


def test_role_at_one_group_ends_there(server: Server, client: Manager, name: str) -> None:
    made(client, name)
    scope = f"/subscriptions/{server.subscription_id}/resourceGroups/{name}-own"
    app = caller(server, "contributor", "--scope", scope)
    with manager(WebPubSubManagementClient, server, app) as contributor:
        contributor.web_pub_sub.begin_create_or_update(f"{name}-own", f"{name}x", wanted("Free_F1")).result()
        assert contributor.web_pub_sub.list_keys(f"{name}-own", f"{name}x").primary_key
        for group in (GROUP, f"{name}-own2", "hubwire"):
            with pytest.raises(HttpResponseError) as caught:
                contributor.web_pub_sub.begin_create_or_update(group, f"{name}y", wanted("Free_F1"))
            assert caught.value.status_code == 403
        assert seen(contributor) == [f"{name}x"]


def challenge(server: Server, answer: Answer) -> None:
    """Whoever is nobody is told where tokens are to be had."""
    assert error_of(answer) == (401, "AuthenticationFailed")
    text = answer.headers["www-authenticate"]
    assert text.startswith("Bearer ")
    assert f'authorization_uri="{server.authority}' in text
    assert 'error="invalid_token"' in text


def test_tokens_that_prove_nothing_are_refused(server: Server, token: str) -> None:
    path = one("default", "hubwire")
    (key, *_) = stored_keys(server)
    own = signed(server, f"{server.https_endpoint}/subscriptions")
    for wrong in (
        None,
        "",
        "nonsense",
        token_of(server),
        own,
        minted(token, key.private, {"exp": 1_700_000_000, "nbf": 1_600_000_000, "iat": 1_600_000_000}),
        minted(token, key.private, {"aud": "https://graph.microsoft.com"}),
        minted(token, key.private, {"iss": "https://evil.example.org/"}),
        token[:-8] + "AAAAAAAA",
    ):
        challenge(server, ask(server, wrong, "GET", path))
    assert ask(server, minted(token, key.private), "GET", path).status == 200


def test_token_for_the_resource_manager_is_not_one_for_the_data_plane(server: Server, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
    answer = http_request(server, "POST", "/api/hubs/h/:send?api-version=2024-12-01", body=b"x", headers=headers)

    assert answer.status == 401


def test_library_tells_who_is_refused(server: Server) -> None:
    with (
        manager(WebPubSubManagementClient, server, scope="https://webpubsub.azure.com/.default") as client,
        pytest.raises(ClientAuthenticationError) as caught,
    ):
        client.web_pub_sub.get("hubwire", "default")
    assert code_of(caught.value) == (401, "AuthenticationFailed")


# Resource groups


def test_group_is_created_found_listed_changed_and_deleted(groups: Manager, name: str) -> None:
    spelled = f"Gr.(1)_{name}"
    assert groups.resource_groups.check_existence(spelled) is False
    created = groups.resource_groups.create_or_update(spelled, {"location": "West Europe", "tags": {"a": "b"}})

    assert (created.name, created.location, created.tags) == (spelled, "westeurope", {"a": "b"})
    assert created.properties.provisioning_state == "Succeeded"
    assert groups.resource_groups.check_existence(spelled.upper()) is True
    assert groups.resource_groups.get(spelled.lower()).name == spelled
    assert spelled in [group.name for group in groups.resource_groups.list()]
    changed = groups.resource_groups.update(spelled, {"tags": {"c": "d"}})
    assert (changed.tags, changed.location) == ({"c": "d"}, "westeurope")
    groups.resource_groups.begin_delete(spelled).result()
    assert groups.resource_groups.check_existence(spelled) is False
    with pytest.raises(ResourceNotFoundError) as caught:
        groups.resource_groups.get(spelled)
    assert code_of(caught.value) == (404, "ResourceGroupNotFound")
    with pytest.raises(ResourceNotFoundError):
        groups.resource_groups.begin_delete(spelled)


def test_group_is_deleted_with_its_resources(groups: Manager, client: Manager, name: str) -> None:
    client.web_pub_sub.begin_create_or_update(name, f"{name}a", wanted()).result()
    client.web_pub_sub.begin_create_or_update(name, f"{name}b", wanted()).result()
    resource = resource_at(client, name, f"{name}a")
    with JsonClient(resource, "h") as connected:
        groups.resource_groups.begin_delete(name).result()
        assert connected.closed().code in (1001, 1006)

    left = [found.name for found in client.web_pub_sub.list_by_subscription()]
    assert f"{name}a" not in left
    assert f"{name}b" not in left
    with pytest.raises(ConnectionError):
        http_request(resource, "GET", "/api/health")


def test_group_of_the_default_resource_stays_with_all_in_it(groups: Manager, client: Manager, name: str) -> None:
    client.web_pub_sub.begin_create_or_update("hubwire", name, wanted()).result()

    with pytest.raises(ResourceExistsError) as caught:
        groups.resource_groups.begin_delete("hubwire")
    assert caught.value.status_code == 409
    assert client.web_pub_sub.get("hubwire", name).name == name
    assert client.web_pub_sub.get("hubwire", "default").name == "default"
    client.web_pub_sub.begin_delete("hubwire", name).result()


def test_group_cannot_move(server: Server, token: str, name: str) -> None:
    path = f"/resourcegroups/{name}"
    assert ask(server, token, "PUT", path, {"location": "eastus"}).status == 201
    assert ask(server, token, "PUT", path, {"location": "East US", "tags": {"a": "b"}}).status == 200
    assert error_of(ask(server, token, "PUT", path, {"location": "westus"})) == (409, "InvalidResourceGroupLocation")
    assert error_of(ask(server, token, "PUT", path, {})) == (400, "LocationRequired")
    assert ask(server, token, "HEAD", path).status == 204
    assert ask(server, token, "HEAD", f"{path}x").status == 404
    assert ask(server, token, "DELETE", path).status in (200, 202)


def test_resources_are_listed_by_filter(groups: Manager, client: Manager, name: str) -> None:
    client.web_pub_sub.begin_create_or_update(name, f"{name}a", wanted(tags={"stage": "it's"})).result()
    client.web_pub_sub.begin_create_or_update(name, f"{name}b", wanted("Free_F1")).result()

    def found(text: str | None) -> list[str]:
        return [item.name for item in groups.resources.list_by_resource_group(name, filter=text)]

    both = [f"{name}a", f"{name}b"]
    assert found(None) == both
    assert found("resourceType eq 'Microsoft.SignalRService/webPubSub'") == both
    assert found("resourceType eq 'Microsoft.Storage/storageAccounts'") == []
    assert found(f"name eq '{name}b'") == [f"{name}b"]
    assert found("tagName eq 'stage' and tagValue eq 'it''s'") == [f"{name}a"]
    assert found(f"resourceType eq 'microsoft.signalrservice/webpubsub' and name eq '{name}a'") == [f"{name}a"]
    with pytest.raises(HttpResponseError) as caught:
        found("name ne 'x'")
    assert code_of(caught.value) == (400, "InvalidFilterInQueryString")
    whole = [item.name for item in groups.resources.list(filter=f"resourceGroup eq '{name.upper()}'")]
    assert whole == both
    (first, _) = groups.resources.list_by_resource_group(name)
    assert (first.type, first.location) == ("Microsoft.SignalRService/WebPubSub", "eastus")
    assert first.sku is not None
    assert first.sku.name == "Standard_S1"


def test_resource_by_its_id_in_the_generic_library(groups: Manager, client: Manager, name: str) -> None:
    body = {"location": "eastus", "sku": {"name": "Standard_S1"}, "properties": {"disableAadAuth": True}}
    version = {"api_version": "2024-03-01"}
    path = f"/subscriptions/{groups._config.subscription_id}{one(name)}"
    created = groups.resources.begin_create_or_update_by_id(path, body, **version).result()

    assert created.properties["disableAadAuth"] is True
    assert groups.resources.check_existence_by_id(path, **version) is True
    assert groups.resources.get_by_id(path, **version).name == name
    patched = groups.resources.begin_update_by_id(path, {"tags": {"a": "b"}}, **version).result()
    assert patched.tags == {"a": "b"}
    groups.resources.begin_delete_by_id(path, **version).result()
    assert groups.resources.check_existence_by_id(path, **version) is False
    with pytest.raises(ResourceNotFoundError):
        client.web_pub_sub.get(GROUP, name)


def test_providers_are_told_and_registered(groups: Manager) -> None:
    providers = {provider.namespace: provider for provider in groups.providers.list()}
    assert {"Microsoft.SignalRService", "Microsoft.Resources"} <= set(providers)
    registered = groups.providers.register("microsoft.signalrservice")
    assert (registered.namespace, registered.registration_state) == ("Microsoft.SignalRService", "Registered")
    kinds = {
        kind.resource_type: kind.api_versions
        for kind in groups.providers.get("Microsoft.SignalRService").resource_types
    }
    assert "2024-03-01" in kinds["WebPubSub"]
    with pytest.raises(ResourceNotFoundError):
        groups.providers.get("Microsoft.Nothing")


def test_subscriptions_and_tenants_are_told(server: Server, token: str) -> None:
    listed = ask(server, token, "GET", "//subscriptions", version="2022-12-01").json()["value"]
    assert server.subscription_id in [found["subscriptionId"] for found in listed]
    found = ask(server, token, "GET", "", version="2022-12-01").json()
    assert (found["id"], found["state"]) == (f"/subscriptions/{server.subscription_id}", "Enabled")
    assert found["tenantId"] == server.tenant_id
    (tenant,) = ask(server, token, "GET", "//tenants", version="2022-12-01").json()["value"]
    assert tenant["tenantId"] == server.tenant_id


def test_metadata_is_for_everybody(server: Server) -> None:
    for target in ("/metadata/endpoints?api-version=2022-09-01", "//metadata/endpoints?api-version=2022-09-01"):
        answer = ask(server, None, "GET", "", target=target)
        assert answer.status == 200
        assert answer.json()["resourceManager"].rstrip("/") == server.https_endpoint
        assert answer.json()["authentication"]["loginEndpoint"] == server.authority


# Nothing is lost


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["restart", "kill -9"])
def test_all_is_there_after_the_end_of_the_server(start_server: StartServer, number: signal.Signals, name: str) -> None:
    ports = fixed_ports()
    first = start_server(*ports)
    with manager(WebPubSubManagementClient, first) as client:
        for at in range(2):
            made(client, f"{name}{at}", tags={"at": str(at)}, disable_aad_auth=True)
            client.web_pub_sub_hubs.begin_create_or_update("h", GROUP, f"{name}{at}", hub_with()).result()
            client.web_pub_sub.begin_regenerate_key(
                GROUP, f"{name}{at}", m.RegenerateKeyParameters(key_type="Primary")
            ).result()
        client.web_pub_sub_replicas.begin_create_or_update(GROUP, f"{name}0", "west", m.Replica(location="w")).result()
        before = tree(client, name)
        issued = issued_token(resource_at(client, GROUP, f"{name}1"))
    first.signal(number)
    assert first.wait() == (0 if number is signal.SIGTERM else -signal.SIGKILL)

    second = start_server(*ports, data=first.data)
    with manager(WebPubSubManagementClient, second) as client:
        assert tree(client, name) == before
        resource = resource_at(client, GROUP, f"{name}1")
    assert connect_status(resource, "h", None) == 101
    assert connect_status(resource, "h", issued) == 101
    assert statuses(resource, resource.access_key) == (101, 202)


def tree(client: Manager, name: str) -> list[Any]:
    """All that is to be kept."""
    resources = [found for found in client.web_pub_sub.list_by_resource_group(GROUP) if found.name.startswith(name)]
    return [
        (
            found.as_dict(),
            resource_at(client, GROUP, found.name),
            [hub.as_dict() for hub in client.web_pub_sub_hubs.list(GROUP, found.name)],
            [replica.as_dict() for replica in client.web_pub_sub_replicas.list(GROUP, found.name)],
        )
        for found in resources
    ]


def test_port_that_is_taken_after_a_restart_is_replaced_and_told(start_server: StartServer, name: str) -> None:
    """By another one, rather than not to start at all."""
    first = start_server(*fixed_ports())
    with manager(WebPubSubManagementClient, first) as client:
        before = made(client, name)
    first.stop()
    blocker = start_server("--port", str(before.port))

    second = start_server(data=first.data)
    with manager(WebPubSubManagementClient, second) as client:
        after = resource_at(client, GROUP, name)
    assert after.port not in (before.port, blocker.port)
    assert after.access_key == before.access_key
    assert connect_status(after, "h", client_token(after, "h")) == 101
    await_line(second, f"port {before.port} ")
