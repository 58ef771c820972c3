"""Several resources in one server: each with ports, keys, hubs and connections of its own, nothing of the others'."""

import http.client
import json
import ssl
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from uuid import uuid4

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.webpubsub import WebPubSubManagementClient
from azure.mgmt.webpubsub import models as m
from websockets.sync.client import connect

from acceptance.directory import SCOPE, App, assign, create_app, token_of
from acceptance.mqtt import MqttClient
from acceptance.sdk import Manager, Resource, identity, manager, resource_at, service_client
from acceptance.servers import DEADLINE_S, Server, running
from acceptance.wire import (
    JOIN,
    JSON,
    RELIABLE,
    SEND,
    Answer,
    JsonClient,
    RawClient,
    Target,
    client_target,
    client_token,
    connect_status,
    http_request,
    rest,
    signed,
    trusting,
)

GROUP: Final = "apart"
TEXT: Final = {"Content-Type": "text/plain"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module, with two resources beside the default one. Tests keep apart by names of hubs."""
    with running(tmp_path_factory.mktemp("apart")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Manager]:
    with manager(WebPubSubManagementClient, server) as client:
        yield client


class Three(NamedTuple):
    """
    Attributes:
        main: the server itself, which is its default resource.
        first, second: the others.
    """

    main: Server
    first: Resource
    second: Resource

    def all(self) -> list[Target]:
        return list(self)

    def pairs(self) -> list[tuple[Target, Target]]:
        """Each with each other one."""
        return [(one, other) for one in self for other in self if one is not other]


def made(client: Manager, name: str, sku: str = "Standard_S1", **more: Any) -> Resource:
    body = m.WebPubSubResource(location="eastus", sku=m.ResourceSku(name=sku, capacity=1), **more)
    client.web_pub_sub.begin_create_or_update(GROUP, name, body).result()
    return resource_at(client, GROUP, name)


@pytest.fixture(scope="module")
def three(server: Server, client: Manager) -> Three:
    return Three(server, made(client, "first"), made(client, "second"))


@pytest.fixture
def extra(client: Manager) -> Iterator[Resource]:
    """One more, for tests that end or change it."""
    name = f"r{uuid4().hex}"
    yield made(client, name)
    client.web_pub_sub.begin_delete(GROUP, name).result()


def told(target: Target, hub: str, key: str | None = None) -> int:
    """What a request to send to everybody is answered."""
    path = f"/api/hubs/{hub}/:send?api-version=2024-12-01"
    token = signed(target, f"{target.endpoint}{path}", key=key)
    sent = {"Authorization": f"Bearer {token}", **TEXT}
    return http_request(target, "POST", path, body=b"x", headers=sent).status


# Ports and hosts


def test_each_has_ports_of_its_own(three: Three) -> None:
    ports = [port for target in three for port in (target.port, target.https_port)]

    assert len(set(ports)) == 6
    assert all(ports)


def test_its_ports_serve_clients_and_rest_in_both_schemes(three: Three, hub: str) -> None:
    context = trusting(three.main.ca)
    for resource in three[1:]:
        token = client_token(resource, hub, groups=["g"], roles=[JOIN, SEND])
        with (
            RawClient(resource, client_target(hub, token), protocols=[JSON]) as plain,
            RawClient(resource, client_target(hub, token), protocols=[JSON], secure=context) as secure,
        ):
            assert (plain.status, secure.status) == (101, 101)
            assert {plain.receive_json()["event"], secure.receive_json()["event"]} == {"connected"}
            answer = rest(resource, "POST", f"{hub}/groups/g/:send", body=b"hi", headers=TEXT)
            assert answer.status == 202
            assert [one.receive_json()["data"] for one in (plain, secure)] == ["hi", "hi"]


def test_service_library_works_with_its_connection_string_over_https_too(three: Three, hub: str) -> None:
    for resource in three[1:]:
        text = resource.connection_string.replace(resource.endpoint, resource.https_endpoint)
        with (
            JsonClient(resource, hub, user="u") as client,
            service_client("sync", text, hub, connection_verify=str(three.main.ca)) as service,
        ):
            assert service.user_exists("u") is True
            assert service.connection_exists(client.connection_id) is True
            access = service.get_client_access_token(user_id="v")
            options: dict[str, Any] = {"subprotocols": [JSON], "ssl": trusting(three.main.ca), "proxy": None}
            with connect(access["url"], **options) as other:
                assert json.loads(other.recv())["userId"] == "v"


@pytest.mark.parametrize(
    "host", ["{name}.webpubsub.localhost:{port}", "{NAME}.WEBPUBSUB.localhost", "{name}.webpubsub"]
)
def test_host_header_names_the_resource_on_the_main_ports(three: Three, hub: str, host: str) -> None:
    """For programs that can set the header, or whose machine can resolve the name."""
    for resource in three[1:]:
        name = host.format(name=resource.name, NAME=resource.name.upper(), port=three.main.port)
        path = f"/client/hubs/{hub}"
        token = signed(resource, f"http://{name}{path}")
        with RawClient(three.main, client_target(hub, token), protocols=[JSON], headers={"Host": name}) as client:
            assert client.status == 101
            client.receive_json()
            assert rest(resource, "POST", f"{hub}/:send", body=b"hi", headers=TEXT).status == 202
            assert client.receive_json()["data"] == "hi"
        assert told_at(three.main, name, hub, resource.access_key) == 202
        assert told_at(three.main, name, hub, three.main.access_key) == 401


def told_at(server: Server, host: str, hub: str, key: str) -> int:
    """What a request to send to everybody is answered on the main port for this host."""
    path = f"/api/hubs/{hub}/:send?api-version=2024-12-01"
    authorization = f"Bearer {signed(server, f'http://{host}{path}', key=key)}"
    connection = http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE_S)
    try:
        connection.request("POST", path, b"x", {"Host": host, "Authorization": authorization, **TEXT})
        return connection.getresponse().status
    finally:
        connection.close()


def test_host_names_the_resource_on_the_main_https_port(three: Three, hub: str) -> None:
    context = trusting(three.main.ca)
    context.check_hostname = False
    for resource in three[1:]:
        name = f"{resource.name}.webpubsub.localhost"
        token = signed(resource, f"https://{name}:{three.main.https_port}/client/hubs/{hub}")
        headers = {"Host": f"{name}:{three.main.https_port}"}
        with RawClient(
            three.main, client_target(hub, token), protocols=[JSON], headers=headers, secure=context
        ) as client:
            assert client.status == 101


def test_certificate_is_good_for_the_name_of_the_resource(three: Three, hub: str) -> None:
    """On the main HTTPS port, and on the resource's own one."""
    context = trusting(three.main.ca)
    for resource in three[1:]:
        name = f"{resource.name}.webpubsub.localhost"
        for port in (three.main.https_port, resource.https_port):
            connection = http.client.HTTPSConnection(three.main.host, port, context=context, timeout=DEADLINE_S)
            connection.connect()
            connection.close()
            assert handshake(three.main.host, port, name, context)


def handshake(host: str, port: int, name: str, context: ssl.SSLContext) -> bool:
    """Does the server show a certificate that is good for this name."""
    connection = http.client.HTTPConnection(host, port, timeout=DEADLINE_S)
    connection.connect()
    try:
        with context.wrap_socket(connection.sock, server_hostname=name):
            return True
    except ssl.SSLCertVerificationError:
        return False


def test_other_hosts_on_the_main_ports_are_the_default_resources(three: Three, hub: str) -> None:
    key = three.main.access_key
    port = three.main.port
    for host in (f"localhost:{port}", "nobody.webpubsub.localhost", "first.example.org", "default.webpubsub.localhost"):
        assert told_at(three.main, host, hub, key) == 202, host
        assert told_at(three.main, host, hub, three.first.access_key) == 401, host


def test_host_means_nothing_on_a_port_of_its_own(three: Three, hub: str) -> None:
    """The port says which resource it is, and the header does not lead to another one."""
    path = f"/api/hubs/{hub}/:send?api-version=2024-12-01"
    for host in (f"second.webpubsub.localhost:{three.first.port}", "default.webpubsub.localhost"):
        answers = []
        for key in (three.first.access_key, three.second.access_key, three.main.access_key):
            token = signed(three.first, f"http://{host}{path}", key=key)
            headers = {"Host": host, "Authorization": f"Bearer {token}", **TEXT}
            answers.append(http_request(three.first, "POST", path, body=b"x", headers=headers).status)
        assert answers == [202, 401, 401]


def test_resource_manager_answers_at_every_port(three: Three) -> None:
    """There is one of it."""
    token = token_of(three.main, None, "https://management.azure.com/.default")
    path = f"/subscriptions/{three.main.subscription_id}/providers/Microsoft.SignalRService/webPubSub"
    for target in three:
        headers = {"Authorization": f"Bearer {token}"}
        answer = http_request(target, "GET", f"{path}?api-version=2024-03-01", headers=headers)
        assert answer.status == 200
        assert {"default", "first", "second"} <= {found["name"] for found in answer.json()["value"]}


# Keys


def keys_of(client: Manager, target: Target) -> tuple[str, str]:
    group, name = (target.group, target.name) if isinstance(target, Resource) else ("hubwire", "default")
    keys = client.web_pub_sub.list_keys(group, name)
    return keys.primary_key, keys.secondary_key


def test_keys_of_one_open_no_other(client: Manager, three: Three, hub: str) -> None:
    """Neither with the other's address in the token nor with their own."""
    for one, other in three.pairs():
        for key in keys_of(client, one):
            assert told(one, hub, key) == 202
            assert connect_status(one, hub, client_token(one, hub, key=key)) == 101
            for addressed in (one, other):
                token = client_token(addressed, hub, key=key)
                assert connect_status(other, hub, token) == 401
                path = f"/api/hubs/{hub}/:send?api-version=2024-12-01"
                proof = signed(addressed, f"{addressed.endpoint}{path}", key=key)
                headers = {"Authorization": f"Bearer {proof}", **TEXT}
                assert http_request(other, "POST", path, body=b"x", headers=headers).status == 401


def test_issued_tokens_open_no_other(three: Three, hub: str) -> None:
    for one, other in three.pairs():
        issued = rest(one, "POST", f"{hub}/:generateToken").json()["token"]
        assert connect_status(one, hub, issued) == 101
        assert connect_status(other, hub, issued) == 401
        assert connect_status(other, hub, issued, headers={"Host": f"{one.host}:{one.port}"}) == 401


def test_issued_url_is_for_where_it_was_asked(three: Three, hub: str) -> None:
    for target in three:
        with service_client("sync", text_of(target), hub) as service:
            access = service.get_client_access_token(user_id="u", roles=[JOIN])
            assert access["baseUrl"] == f"ws://{target.host}:{target.port}/client/hubs/{hub}"
        answer = rest(target, "POST", f"{hub}/:generateToken", query=[("userId", "u")])
        with JsonClient(target, hub, token=answer.json()["token"]) as client:
            assert client.connected["userId"] == "u"


def text_of(target: Target) -> str:
    return f"Endpoint={target.endpoint};AccessKey={target.access_key};Version=1.0;"


def test_rest_at_the_name_of_a_resource_issues_tokens_for_that_name(three: Three, hub: str) -> None:
    host = f"first.webpubsub.localhost:{three.main.port}"
    path = f"/api/hubs/{hub}/:generateToken?api-version=2024-12-01"
    token = signed(three.first, f"http://{host}{path}")
    headers = {"Host": host, "Authorization": f"Bearer {token}"}
    answer = http_request(three.main, "POST", path, headers=headers)
    assert answer.status == 200

    issued = answer.json()["token"]
    assert connect_status(three.main, hub, issued, headers={"Host": host}) == 101
    assert connect_status(three.main, hub, issued) == 401


def test_regenerated_key_of_one_leaves_the_others(client: Manager, three: Three, extra: Resource, hub: str) -> None:
    before = [keys_of(client, target) for target in three]
    for kind in ("Primary", "Secondary", "Salt"):
        client.web_pub_sub.begin_regenerate_key(GROUP, extra.name, m.RegenerateKeyParameters(key_type=kind)).result()

    assert [keys_of(client, target) for target in three] == before
    assert [told(target, hub) for target in three] == [202, 202, 202]


# Connections, groups, users


def test_same_names_do_not_meet(three: Three, hub: str) -> None:
    """Hub, group and user have one name in all of them, and each message stays where it was sent."""
    with (
        JsonClient(three.main, hub, user="u", groups=["g"]) as main,
        JsonClient(three.first, hub, user="u", groups=["g"]) as first,
        JsonClient(three.second, hub, user="u", groups=["g"]) as second,
    ):
        clients = (main, first, second)
        for target, sender in zip(three.all(), clients, strict=True):
            for path in (":send", "groups/g/:send", "users/u/:send"):
                body = f"{target.port} {path}".encode()
                assert rest(target, "POST", f"{hub}/{path}", body=body, headers=TEXT).status == 202
            sender.publish("g", "from a client")

        for target, client in zip(three.all(), clients, strict=True):
            wanted = [f"{target.port} {path}" for path in (":send", "groups/g/:send", "users/u/:send")]
            assert [frame["data"] for frame in client.heard()] == [*wanted, "from a client"]


def test_what_exists_in_one_does_not_in_another(three: Three, hub: str) -> None:
    for one, other in three.pairs():
        with JsonClient(one, hub, user="u", groups=["g"]) as client:
            paths = ("users/u", "groups/g", f"connections/{client.connection_id}")
            assert [rest(one, "HEAD", f"{hub}/{path}").status for path in paths] == [200, 200, 200]
            assert [rest(other, "HEAD", f"{hub}/{path}").status for path in paths] == [404, 404, 404]


def test_connection_of_one_is_unknown_in_another(three: Three, hub: str) -> None:
    for one, other in three.pairs():
        with JsonClient(one, hub, user="u", groups=["g"]) as client:
            at = f"{hub}/connections/{client.connection_id}"
            permission = f"{hub}/permissions/sendToGroup/connections/{client.connection_id}"
            answers = [
                rest(other, "PUT", f"{hub}/groups/g2/connections/{client.connection_id}").status,
                rest(other, "PUT", permission, query=[("targetName", "g")]).status,
                rest(other, "HEAD", permission, query=[("targetName", "g")]).status,
                rest(other, "PUT", f"{hub}/users/u/groups/g2").status,
            ]
            assert answers == [404, 404, 404, 404]
            rest(other, "POST", f"{at}/:send", body=b"x", headers=TEXT)
            rest(other, "DELETE", at)
            rest(other, "DELETE", f"{hub}/groups/g/connections/{client.connection_id}")
            rest(other, "DELETE", permission, query=[("targetName", "g")])
            rest(other, "DELETE", f"{hub}/users/u/groups")

            assert client.heard() == []
            assert client.publish("g", "x")["success"]
            assert rest(one, "HEAD", f"{hub}/groups/g").status == 200
            assert rest(one, "HEAD", f"{hub}/groups/g2").status == 404


@pytest.mark.parametrize("path", [":closeConnections", "groups/g/:closeConnections", "users/u/:closeConnections"])
def test_closing_in_one_leaves_the_others(three: Three, hub: str, path: str) -> None:
    with (
        JsonClient(three.main, hub, user="u", groups=["g"]) as main,
        JsonClient(three.first, hub, user="u", groups=["g"]) as first,
        JsonClient(three.second, hub, user="u", groups=["g"]) as second,
    ):
        assert rest(three.first, "POST", f"{hub}/{path}").status == 204
        first.closed()
        assert (main.heard(), second.heard()) == ([], [])
        assert rest(three.main, "POST", f"{hub}/{path}").status == 204
        main.closed()
        assert second.heard() == []


def test_members_are_listed_for_each(three: Three, hub: str) -> None:
    with (
        JsonClient(three.main, hub, groups=["g"]) as main,
        JsonClient(three.first, hub, groups=["g"]) as first,
        JsonClient(three.second, hub, groups=["g"]) as second,
    ):
        for target, client in zip(three.all(), (main, first, second), strict=True):
            with service_client("sync", text_of(target), hub) as service:
                listed = [found.connection_id for found in service.list_connections(group="g")]
            assert listed == [client.connection_id]


def test_permission_in_one_is_none_in_another(three: Three, hub: str) -> None:
    with JsonClient(three.first, hub, roles=[]) as first, JsonClient(three.second, hub, roles=[]) as second:
        granted = f"{hub}/permissions/joinLeaveGroup/connections/{first.connection_id}"
        assert rest(three.first, "PUT", granted, query=[("targetName", "g")]).status == 200
        first.join("g")
        ack = second.request({"type": "joinGroup", "group": "g"})
        assert ack["success"] is False


# Recovery


def recovered(target: Target, client: JsonClient, hub: str, host: str = "") -> int:
    """Close code of an attempt to take a connection over at a resource; 0 if it was given."""
    headers = {"Host": host} if host else {}
    with RawClient(target, client_target(hub, None, client.recovery()), protocols=[RELIABLE], headers=headers) as raw:
        assert raw.status == 101, raw.body
        opcode, payload = raw.receive_frame()
        return 0 if opcode == 1 else int.from_bytes(payload[:2])


def test_connection_is_recovered_only_where_it_was(three: Three, hub: str) -> None:
    for one, other in three.pairs():
        with JsonClient(one, hub, protocol=RELIABLE, groups=["g"]) as client:
            client.socket.socket.shutdown(2)
            assert recovered(other, client, hub) == 1008
            if isinstance(one, Resource):
                wrong = "second" if one.name == "first" else "default"
                assert recovered(three.main, client, hub, f"{wrong}.webpubsub.localhost") == 1008
            assert recovered(one, client, hub) == 0


def test_connection_of_a_resources_port_is_recovered_by_its_name_on_the_main_one(three: Three, hub: str) -> None:
    with JsonClient(three.first, hub, protocol=RELIABLE) as client:
        client.socket.socket.shutdown(2)
        assert recovered(three.main, client, hub, f"first.webpubsub.localhost:{three.main.port}") == 0


# Settings


def test_hub_settings_are_apart(client: Manager, three: Three, hub: str) -> None:
    """The anonymous policy among them."""

    def allow(group: str, name: str, policy: str) -> None:
        properties = m.WebPubSubHubProperties(anonymous_connect_policy=policy)
        body = m.WebPubSubHub(properties=properties)
        client.web_pub_sub_hubs.begin_create_or_update(hub, group, name, body).result()

    def anonymous() -> list[int]:
        return [connect_status(target, hub, None) for target in three]

    assert anonymous() == [401, 401, 401]
    allow(GROUP, "first", "allow")
    assert anonymous() == [401, 101, 401]
    assert [found.name for found in client.web_pub_sub_hubs.list(GROUP, "second") if found.name == hub] == []
    allow("hubwire", "default", "allow")
    assert anonymous() == [101, 101, 401]
    allow(GROUP, "first", "deny")
    assert anonymous() == [101, 401, 401]
    client.web_pub_sub_hubs.begin_delete(hub, "hubwire", "default").result()
    assert anonymous() == [401, 401, 401]


def test_hub_of_one_with_the_name_of_another_resource_is_no_way_in(client: Manager, three: Three) -> None:
    """Names are put together for the store, and taken apart again."""
    body = m.WebPubSubHub(properties=m.WebPubSubHubProperties(anonymous_connect_policy="allow"))
    client.web_pub_sub_hubs.begin_create_or_update("second", GROUP, "first", body).result()

    assert connect_status(three.first, "second", None) == 101
    assert connect_status(three.second, "first", None) == 401
    assert connect_status(three.second, "second", None) == 401
    client.web_pub_sub_hubs.begin_delete("second", GROUP, "first").result()


def test_stopped_resource_leaves_the_others(client: Manager, three: Three, extra: Resource, hub: str) -> None:
    with JsonClient(extra, hub) as stopped, JsonClient(three.first, hub) as first, JsonClient(three.main, hub) as main:
        body = m.WebPubSubResource(location="eastus", resource_stopped="true")
        client.web_pub_sub.begin_update(GROUP, extra.name, body).result()
        assert stopped.closed().code in (1001, 1012)
        assert (first.heard(), main.heard()) == ([], [])
    assert told(three.first, hub) == 202


def test_deleted_resource_leaves_the_others(client: Manager, three: Three, hub: str) -> None:
    gone = made(client, f"r{uuid4().hex}")
    with JsonClient(gone, hub) as ended, JsonClient(three.first, hub) as first, JsonClient(three.main, hub) as main:
        client.web_pub_sub.begin_delete(GROUP, gone.name).result()
        ended.closed()
        assert (first.heard(), main.heard()) == ([], [])
    assert [told(target, hub) for target in three] == [202, 202, 202]
    # Its name falls back to the resource that answers for every host, with whose keys alone.
    host = f"{gone.name}.webpubsub.localhost"
    assert told_at(three.main, host, hub, gone.access_key) == 401
    assert told_at(three.main, host, hub, three.main.access_key) == 202


def test_quota_of_one_is_not_the_others(client: Manager, three: Three, hub: str) -> None:
    free = made(client, f"r{uuid4().hex}", "Free_F1")
    token = client_token(free, hub)
    holding = [RawClient(free, client_target(hub, token), protocols=[JSON]) for _ in range(20)]
    try:
        assert {one.status for one in holding} == {101}
        assert connect_status(free, hub, token) == 429
        for target in three:
            assert connect_status(target, hub, client_token(target, hub)) == 101
    finally:
        for one in holding:
            one.socket.close()
        client.web_pub_sub.begin_delete(GROUP, free.name).result()


# Roles


@pytest.fixture(scope="module")
def owner(server: Server, client: Manager, three: Three) -> App:
    """Web PubSub Service Owner of the first resource, and of nothing else."""
    app = create_app(server)
    assign(server, app, "owner", "--scope", client.web_pub_sub.get(GROUP, "first").id)
    return app


def told_by(target: Target, token: str, hub: str, method: str = ":send") -> Answer:
    headers = {"Authorization": f"Bearer {token}", **TEXT}
    return http_request(target, "POST", f"/api/hubs/{hub}/{method}?api-version=2024-12-01", body=b"x", headers=headers)


def test_role_at_one_resource_is_none_at_another(server: Server, three: Three, owner: App, hub: str) -> None:
    token = token_of(server, owner, SCOPE)

    assert [told_by(target, token, hub).status for target in three] == [403, 202, 403]
    assert [told_by(target, token, hub, ":generateToken").status for target in three] == [403, 200, 403]
    assert [told_by(target, token, hub, ":closeConnections").status for target in three] == [403, 204, 403]


def test_role_at_one_resource_holds_by_its_name_on_the_main_port(
    server: Server, three: Three, owner: App, hub: str
) -> None:
    token = token_of(server, owner, SCOPE)
    path = f"/api/hubs/{hub}/:send?api-version=2024-12-01"
    statuses = []
    for name in ("first", "second", "default"):
        headers = {"Host": f"{name}.webpubsub.localhost", "Authorization": f"Bearer {token}", **TEXT}
        statuses.append(http_request(server, "POST", path, body=b"x", headers=headers).status)

    assert statuses == [202, 403, 403]


def test_service_library_with_a_credential_reaches_its_resource_alone(
    server: Server, three: Three, owner: App, hub: str
) -> None:
    proof = (server.tenant_id, owner.client_id, owner.secret)
    with (
        identity("sync", "ClientSecretCredential", server, *proof) as credential,
        JsonClient(three.first, hub) as client,
    ):
        with credential.service(server, hub, three.first.https_endpoint) as service:
            service.send_to_all("hello", content_type="text/plain")
            assert client.receive()["data"] == "hello"
            access = service.get_client_access_token(user_id="u")
            assert access["baseUrl"] == f"wss://{three.first.host}:{three.first.https_port}/client/hubs/{hub}"
        for endpoint in (three.second.https_endpoint, server.https_endpoint):
            with credential.service(server, hub, endpoint) as service, pytest.raises(HttpResponseError) as caught:
                service.send_to_all("hello", content_type="text/plain")
            assert caught.value.status_code == 403


def test_role_at_the_group_holds_for_all_in_it(server: Server, three: Three, hub: str) -> None:
    app = create_app(server)
    assign(server, app, "owner", "--scope", f"/subscriptions/{server.subscription_id}/resourceGroups/{GROUP}")
    token = token_of(server, app, SCOPE)

    assert [told_by(target, token, hub).status for target in three] == [403, 202, 202]


def test_role_does_not_hold_at_a_longer_name(server: Server, client: Manager, three: Three, owner: App) -> None:
    """Scopes compare by whole segments."""
    longer = made(client, "first2")
    assert told_by(longer, token_of(server, owner, SCOPE), "h").status == 403
    client.web_pub_sub.begin_delete(GROUP, "first2").result()


def test_role_is_gone_with_its_resource(server: Server, client: Manager, hub: str) -> None:
    """One of the same name that is made later is another one."""
    name = f"r{uuid4().hex}"
    resource, app = made(client, name), create_app(server)
    assign(server, app, "owner", "--scope", client.web_pub_sub.get(GROUP, name).id)
    token = token_of(server, app, SCOPE)
    assert told_by(resource, token, hub).status == 202
    client.web_pub_sub.begin_delete(GROUP, name).result()

    assert told_by(made(client, name), token, hub).status == 403
    client.web_pub_sub.begin_delete(GROUP, name).result()


def test_retained_messages_are_apart_and_end_with_their_resource(three: Three, client: Manager, hub: str) -> None:
    """One of the same name begins with none."""

    def kept(target: Target) -> list[bytes]:
        with MqttClient(target, hub) as device:
            device.subscribe("state")
            return [message.payload for message in device.heard()]

    name = f"r{uuid4().hex}"
    one = made(client, name)
    for target, payload in ((three.main, b"main"), (one, b"one")):
        with MqttClient(target, hub) as device:
            assert device.publish("state", payload, 1, retain=True) == 0
    assert (kept(three.main), kept(three.first), kept(one)) == ([b"main"], [], [b"one"])

    client.web_pub_sub.begin_delete(GROUP, name).result()
    again = made(client, name)
    try:
        assert (kept(three.main), kept(again)) == ([b"main"], [])
    finally:
        client.web_pub_sub.begin_delete(GROUP, name).result()
