"""Settings of resources and hubs that act: at the next event, without a restart, until they are taken back."""

import json
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from azure.mgmt.webpubsub import WebPubSubManagementClient
from azure.mgmt.webpubsub import models as m

from acceptance.directory import client_pem, token_of
from acceptance.sdk import MANAGEMENT, Manager, Resource, identity, manager, resource_at
from acceptance.servers import DEADLINE_S, Server, StartServer, running
from acceptance.wire import (
    JSON,
    RELIABLE,
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
from faults.answering import Answering

GROUP: Final = "settings"
PROXY: Final = "127.0.0.2"
"""Address of this machine that the server takes for a proxy's."""
TEXT: Final = {"Content-Type": "text/plain"}
EVERYTHING: Final = ("ClientConnection", "ServerConnection", "RESTAPI", "Trace")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Each test has a resource of its own."""
    with running(tmp_path_factory.mktemp("settings"), "--trusted-proxy", PROXY) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Manager]:
    with manager(WebPubSubManagementClient, server) as client:
        yield client


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    """For the resource manager, without a library."""
    return token_of(server, None, MANAGEMENT)


@pytest.fixture
def resource(client: Manager) -> Iterator[Resource]:
    name = f"r{uuid4().hex}"
    body = m.WebPubSubResource(location="eastus", sku=m.ResourceSku(name="Standard_S1", capacity=1))
    client.web_pub_sub.begin_create_or_update(GROUP, name, body).result()
    yield resource_at(client, GROUP, name)
    client.web_pub_sub.begin_delete(GROUP, name).result()


def change(client: Manager, resource: Resource, **more: Any) -> Any:
    """Change a resource and leave the rest; returns its document."""
    body = m.WebPubSubResource(location="eastus", **more)
    return client.web_pub_sub.begin_update(GROUP, resource.name, body).result()


def change_hub(client: Manager, resource: Resource, hub: str, **properties: Any) -> None:
    body = m.WebPubSubHub(properties=m.WebPubSubHubProperties(**properties))
    client.web_pub_sub_hubs.begin_create_or_update(hub, GROUP, resource.name, body).result()


def told(target: Target, key: str | None = None, *, source: str = "127.0.0.1", forwarded: str = "") -> int:
    """What a request to send to everybody is answered."""
    path = "/api/hubs/h/:send?api-version=2024-12-01"
    headers = {"Authorization": f"Bearer {signed(target, target.endpoint + path, key=key)}", **TEXT}
    if forwarded:
        headers["X-Forwarded-For"] = forwarded
    return http_request(target, "POST", path, body=b"x", headers=headers, source=source).status


def statuses(target: Target, *, source: str = "127.0.0.1", forwarded: str = "") -> tuple[int, int]:
    """What a client and a REST caller with good tokens are answered."""
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    client = connect_status(target, "h", client_token(target, "h"), headers=headers, source=source)
    return client, told(target, source=source, forwarded=forwarded)


GOOD: Final = (101, 202)


# Hubs


def test_anonymous_clients_are_let_in_while_the_policy_says_so(client: Manager, resource: Resource) -> None:
    assert connect_status(resource, "h", None) == 401
    change_hub(client, resource, "h", anonymous_connect_policy="allow")
    with RawClient(resource, client_target("H", None), protocols=[JSON]) as anonymous:
        assert anonymous.status == 101
        assert anonymous.receive_json()["userId"] == ""
        assert connect_status(resource, "other", None) == 401

        change_hub(client, resource, "h", anonymous_connect_policy="deny")
        assert connect_status(resource, "h", None) == 401
        # Whoever is in stays in.
        anonymous.send_json({"type": "ping"})
        assert anonymous.receive_json() == {"type": "pong"}
    change_hub(client, resource, "h", anonymous_connect_policy="allow")
    client.web_pub_sub_hubs.begin_delete("h", GROUP, resource.name).result()
    assert connect_status(resource, "h", None) == 401


def test_wrong_token_is_refused_also_where_anonymous_clients_are_let_in(client: Manager, resource: Resource) -> None:
    change_hub(client, resource, "h", anonymous_connect_policy="allow")

    assert connect_status(resource, "h", client_token(resource, "h", key="A" * 44)) == 401


def test_keep_alive_interval_acts_on_who_is_connected_and_is_taken_back(client: Manager, resource: Resource) -> None:
    """The pings of another hub are the clock."""
    for hub in ("clock", "h"):
        change_hub(client, resource, hub, web_socket_keep_alive_interval_in_seconds=1)

    with ExitStack() as stack:

        def answering(hub: str) -> Answering:
            target = client_target(hub, client_token(resource, hub))
            one = Answering(stack.enter_context(RawClient(resource, target, protocols=[JSON])))
            stack.callback(one.end)
            return one

        clock, changed = answering("clock"), answering("h")
        changed.await_pings(1)
        change_hub(client, resource, "h", web_socket_keep_alive_interval_in_seconds=120)
        late, before = answering("h"), changed.pings
        clock.await_pings(3)
        assert late.pings == 0
        assert changed.pings <= before + 1


# Who proves themselves, and how


def issued_by_entra(server: Server, resource: Resource) -> str:
    """URL for clients that the service makes for who signed in."""
    proof = (server.tenant_id, server.client_id, server.client_secret)
    with identity("sync", "ClientSecretCredential", server, *proof) as credential:
        authorization = {"Authorization": f"Bearer {credential.token('https://webpubsub.azure.com/.default')}"}
    target = "/api/hubs/h/:generateToken?api-version=2024-12-01"
    answer = http_request(resource, "POST", target, headers=authorization)
    assert answer.status == 200, answer.body
    return str(answer.json()["token"])


def entra(server: Server, resource: Target) -> int:
    """What a REST call with a token of the issuer is answered."""
    authorization = {"Authorization": f"Bearer {token_of(server)}", **TEXT}
    target = "/api/hubs/h/:send?api-version=2024-12-01"
    return http_request(resource, "POST", target, body=b"x", headers=authorization).status


@pytest.fixture
def everywhere(server: Server) -> None:
    """The development principal owns the data plane of all resources."""
    scope = f"/subscriptions/{server.subscription_id}"
    done = server.cli("app", "assign", server.client_id, "--role", "owner", "--scope", scope)
    assert done.returncode == 0, done.stderr


def test_keys_prove_nothing_while_local_auth_is_disabled(
    server: Server, client: Manager, resource: Resource, everywhere: None
) -> None:
    """What the service itself issues goes on, since it is how clients of who signs in get their tokens."""
    issued_before = rest(resource, "POST", "h/:generateToken").json()["token"]
    with JsonClient(resource, "h", protocol=RELIABLE) as connected:
        changed = change(client, resource, disable_local_auth=True)
        assert changed.disable_local_auth is True
        for key in (resource.access_key, resource.secondary_key):
            assert told(resource, key) == 401
            assert connect_status(resource, "h", client_token(resource, "h", key=key)) == 401
        assert entra(server, resource) == 202
        assert connected.heard()[-1]["data"] == "x"
        assert connect_status(resource, "h", issued_by_entra(server, resource)) == 101
        assert connect_status(resource, "h", issued_before) == 101

    change(client, resource, disable_local_auth=False)
    assert statuses(resource) == GOOD


def test_library_makes_urls_of_a_credential_while_local_auth_is_disabled(
    server: Server, client: Manager, resource: Resource, everywhere: None
) -> None:
    change(client, resource, disable_local_auth=True)
    proof = (server.tenant_id, server.client_id, server.client_secret)
    with (
        identity("sync", "ClientSecretCredential", server, *proof) as credential,
        credential.service(server, "h", resource.https_endpoint) as service,
    ):
        access = service.get_client_access_token(user_id="u")
    assert access["baseUrl"] == f"wss://{resource.host}:{resource.https_port}/client/hubs/h"
    with RawClient(
        resource, client_target("h", access["token"]), protocols=[JSON], secure=trusting(server.ca)
    ) as connected:
        assert connected.receive_json()["userId"] == "u"


def test_issuers_prove_nothing_while_entra_auth_is_disabled(
    server: Server, client: Manager, resource: Resource, everywhere: None
) -> None:
    """The resource manager is another service, and goes on."""
    assert entra(server, resource) == 202
    issued = issued_by_entra(server, resource)

    change(client, resource, disable_aad_auth=True)
    assert entra(server, resource) == 401
    assert statuses(resource) == GOOD
    assert connect_status(resource, "h", issued) == 101

    change(client, resource, disable_aad_auth=False)
    assert entra(server, resource) == 202


def test_both_disabled_leave_nobody(server: Server, client: Manager, resource: Resource, everywhere: None) -> None:
    change(client, resource, disable_local_auth=True, disable_aad_auth=True)

    assert (told(resource), entra(server, resource)) == (401, 401)
    change(client, resource, disable_local_auth=False, disable_aad_auth=False)
    assert (told(resource), entra(server, resource)) == (202, 202)


# Who may come over the network


def acls(
    default: str = "Allow",
    allow: Sequence[str] | None = None,
    deny: Sequence[str] | None = None,
    rules: tuple[tuple[str, str], ...] | None = None,
) -> m.WebPubSubNetworkACLs:
    return m.WebPubSubNetworkACLs(
        default_action=default,
        public_network=m.NetworkACL(
            allow=None if allow is None else list(allow), deny=None if deny is None else list(deny)
        ),
        ip_rules=None if rules is None else [m.IPRule(value=value, action=action) for value, action in rules],
    )


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        (acls("Allow", deny=("ClientConnection",)), (403, 202)),
        (acls("Allow", deny=("RESTAPI",)), (101, 403)),
        (acls("Allow", deny=("ClientConnection", "RESTAPI")), (403, 403)),
        (acls("Deny", allow=("ClientConnection",)), (101, 403)),
        (acls("Deny", allow=("RESTAPI",)), (403, 202)),
        (acls("Deny", allow=EVERYTHING), (101, 202)),
        (acls("Deny"), (403, 403)),
        (acls("Deny", allow=("ServerConnection", "Trace")), (403, 403)),
        (acls("Allow", rules=(("127.0.0.1", "Deny"),)), (403, 403)),
        (acls("Allow", rules=(("10.0.0.0/8", "Deny"),)), (101, 202)),
        (acls("Deny", allow=EVERYTHING, rules=(("127.0.0.0/8", "Allow"),)), (101, 202)),
        (acls("Deny", allow=EVERYTHING, rules=(("10.0.0.0/8", "Allow"),)), (403, 403)),
        (acls("Deny", allow=("RESTAPI",), rules=(("127.0.0.1", "Allow"),)), (403, 202)),
        (acls("Allow", rules=(("127.0.0.1", "Allow"), ("0.0.0.0/0", "Deny"))), (101, 202)),
        (acls("Allow", rules=(("0.0.0.0/0", "Deny"), ("127.0.0.1", "Allow"))), (403, 403)),
        (acls("Allow", rules=(("AzureCloud", "Deny"),)), (101, 202)),
    ],
)
def test_network_rules_refuse_by_type_and_address_until_taken_back(
    client: Manager, resource: Resource, rules: m.WebPubSubNetworkACLs, wanted: tuple[int, int]
) -> None:
    changed = change(client, resource, network_ac_ls=rules)
    assert changed.network_ac_ls.default_action == rules.default_action
    assert statuses(resource) == wanted

    change(client, resource, network_ac_ls=acls("Allow", allow=EVERYTHING))
    assert statuses(resource) == GOOD


def test_address_rules_look_at_the_caller(client: Manager, resource: Resource) -> None:
    change(client, resource, network_ac_ls=acls("Allow", rules=(("127.0.0.3", "Deny"), ("127.0.0.4/31", "Deny"))))

    assert statuses(resource) == GOOD
    for address in ("127.0.0.3", "127.0.0.4", "127.0.0.5"):
        assert statuses(resource, source=address) == (403, 403)
    assert statuses(resource, source="127.0.0.6") == GOOD


def test_address_rules_of_the_other_family_are_for_that_one(client: Manager, resource: Resource) -> None:
    change(client, resource, network_ac_ls=acls("Allow", rules=(("::1", "Deny"),)))
    six = resource._replace(host="::1")
    assert statuses(resource) == GOOD
    assert told(six, source="::1") == 403
    change(client, resource, network_ac_ls=acls("Allow", rules=(("127.0.0.0/8", "Deny"),)))
    assert statuses(resource) == (403, 403)
    assert told(six, source="::1") == 202


def test_address_is_a_trusted_proxys_word_and_nobody_elses(client: Manager, resource: Resource) -> None:
    change(client, resource, network_ac_ls=acls("Allow", rules=(("203.0.113.0/24", "Deny"),)))
    assert statuses(resource, source=PROXY, forwarded="203.0.113.7") == (403, 403)
    assert statuses(resource, source=PROXY, forwarded="198.51.100.7") == GOOD
    assert statuses(resource, source=PROXY, forwarded="198.51.100.7, 203.0.113.7") == (403, 403)
    assert statuses(resource, source="127.0.0.3", forwarded="203.0.113.7") == GOOD

    allowed = acls("Deny", allow=EVERYTHING, rules=(("203.0.113.0/24", "Allow"),))
    change(client, resource, network_ac_ls=allowed)
    assert statuses(resource, source=PROXY, forwarded="203.0.113.7") == GOOD
    assert statuses(resource, source="127.0.0.3", forwarded="203.0.113.7") == (403, 403)


def test_network_rules_hold_for_recoveries_and_leave_who_is_connected(client: Manager, resource: Resource) -> None:
    with JsonClient(resource, "h", protocol=RELIABLE) as connected:
        change(client, resource, network_ac_ls=acls("Allow", deny=("ClientConnection",)))
        assert connected.heard() == []
        assert connect_status(resource, "h", None, connected.recovery()) == 403


def test_network_rules_hold_by_the_name_on_the_main_ports(server: Server, client: Manager, resource: Resource) -> None:
    host = {"Host": f"{resource.name}.webpubsub.localhost"}
    token = signed(resource, f"http://{host['Host']}/client/hubs/h")
    assert connect_status(server, "h", token, headers=host) == 101
    change(client, resource, network_ac_ls=acls("Allow", deny=("ClientConnection",)))

    assert connect_status(server, "h", token, headers=host) == 403
    assert connect_status(server, "h", client_token(server, "h")) == 101


def test_refusal_by_the_network_rules_comes_before_any_token(client: Manager, resource: Resource) -> None:
    """Whoever is kept out learns nothing of tokens, and of nothing else."""
    change(client, resource, network_ac_ls=acls("Deny"))

    assert connect_status(resource, "h", None) == 403
    assert http_request(resource, "POST", "/api/hubs/h/:send?api-version=2024-12-01", body=b"x").status == 403


def test_network_rules_leave_the_resource_manager_the_health_check_and_the_issuer(
    server: Server, client: Manager, resource: Resource, token: str
) -> None:
    change(client, resource, network_ac_ls=acls("Deny"), public_network_access="Disabled")

    path = f"/subscriptions/{server.subscription_id}/resourceGroups/{GROUP}?api-version=2021-04-01"
    assert http_request(resource, "GET", path, headers={"Authorization": f"Bearer {token}"}).status == 200
    assert client.web_pub_sub.get(GROUP, resource.name).public_network_access == "Disabled"


def test_disabled_public_network_lets_nobody_in(client: Manager, resource: Resource) -> None:
    change(client, resource, public_network_access="Disabled")
    assert statuses(resource) == (403, 403)
    change(client, resource, network_ac_ls=acls("Allow", rules=(("127.0.0.1", "Allow"),)))
    change(client, resource, public_network_access="Disabled")
    assert statuses(resource) == (403, 403)

    change(client, resource, public_network_access="Enabled")
    assert statuses(resource) == GOOD


# Stopped


def test_stopped_resource_ends_its_connections_and_answers_503_until_it_goes_on(
    server: Server, client: Manager, resource: Resource
) -> None:
    # That a stopped resource refuses is no fault, although its answer has a status of faults.
    server.provoked = (" 503 ",)
    with JsonClient(resource, "h") as simple, JsonClient(resource, "h", protocol=RELIABLE) as reliable:
        changed = change(client, resource, resource_stopped="true")
        assert changed.resource_stopped == "true"
        assert (simple.closed().code, reliable.closed().code) == (1001, 1001)
        assert statuses(resource) == (503, 503)
        assert connect_status(resource, "h", None, reliable.recovery()) == 503
        assert statuses(server) == GOOD

        change(client, resource, resource_stopped="false")
        assert statuses(resource) == GOOD
        # It was ended, and does not come back.
        with RawClient(resource, client_target("h", None, reliable.recovery()), protocols=[RELIABLE]) as recovered:
            assert recovered.closed().code == 1008


# Certificates of clients


def asked(host: str, port: int, ca: Path, name: str, version: ssl.TLSVersion) -> bool:
    """Is a client asked for its certificate during the handshake."""
    context: Any = trusting(ca)
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    messages: list[str] = []
    # The only way to see what a handshake consists of.
    context._msg_callback = lambda _connection, _direction, _version, _content, kind, _data: messages.append(kind.name)
    with socket.create_connection((host, port), DEADLINE_S) as plain, context.wrap_socket(plain, server_hostname=name):
        return "CERTIFICATE_REQUEST" in messages


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_clients_are_asked_for_a_certificate_while_the_resource_wants_it(
    server: Server, client: Manager, resource: Resource, version: ssl.TLSVersion
) -> None:
    """At its own port, and at the main one by its name; nobody else is."""

    def everywhere() -> list[bool]:
        name = f"{resource.name}.webpubsub.localhost"
        places = [(resource.https_port, "localhost"), (server.https_port, name), (server.https_port, "localhost")]
        return [asked(server.host, port, server.ca, name, version) for port, name in places]

    assert everywhere() == [False, False, False]
    changed = change(client, resource, tls=m.WebPubSubTlsSettings(client_cert_enabled=True))
    assert changed.tls.client_cert_enabled is True
    assert everywhere() == [True, True, False]
    change(client, resource, tls=m.WebPubSubTlsSettings(client_cert_enabled=False))
    assert everywhere() == [False, False, False]


def test_client_may_show_a_certificate_or_none(
    server: Server, client: Manager, resource: Resource, tmp_path: Path
) -> None:
    """What it means is the event handler's to say."""
    change(client, resource, tls=m.WebPubSubTlsSettings(client_cert_enabled=True))
    showing = trusting(server.ca)
    showing.load_cert_chain(str(client_pem(tmp_path)))
    for context in (trusting(server.ca), showing):
        target = client_target("h", client_token(resource, "h"))
        with RawClient(resource, target, protocols=[JSON], secure=context) as connected:
            assert connected.status == 101
            assert connected.receive_json()["event"] == "connected"
            headers = {"Authorization": f"Bearer {signed(resource, resource.endpoint + '/api/hubs/h/:send')}", **TEXT}
            answer = http_request(resource, "POST", "/api/hubs/h/:send", body=b"x", headers=headers, secure=context)
            assert answer.status == 202
            assert connected.receive_json()["data"] == "x"


def test_free_resource_asks_for_no_certificate_and_says_so(server: Server, token: str, client: Manager) -> None:
    name = f"r{uuid4().hex}"
    body: dict[str, Any] = {
        "location": "eastus",
        "sku": {"name": "Free_F1"},
        "properties": {"tls": {"clientCertEnabled": True}},
    }
    for method in ("PUT", "PUT", "PATCH"):
        answer = ask(server, token, method, name, body)
        assert answer.status in (200, 201)
        assert answer.json()["properties"]["tls"] == {"clientCertEnabled": False}
        assert "tls.clientCertEnabled" in answer.headers["warning"]
        assert "Free_F1" in answer.headers["warning"]
    free = resource_at(client, GROUP, name)
    assert not asked(server.host, free.https_port, server.ca, "localhost", ssl.TLSVersion.TLSv1_3)

    raised = ask(server, token, "PATCH", name, {**body, "sku": {"name": "Standard_S1"}})
    assert raised.json()["properties"]["tls"] == {"clientCertEnabled": True}
    assert "warning" not in raised.headers
    assert asked(server.host, free.https_port, server.ca, "localhost", ssl.TLSVersion.TLSv1_3)
    lowered = ask(server, token, "PATCH", name, {"sku": {"name": "Free_F1"}})
    assert lowered.json()["properties"]["tls"] == {"clientCertEnabled": False}
    assert "tls.clientCertEnabled" in lowered.headers["warning"]
    assert not asked(server.host, free.https_port, server.ca, "localhost", ssl.TLSVersion.TLSv1_3)
    client.web_pub_sub.begin_delete(GROUP, name).result()


def ask(server: Server, token: str, method: str, name: str, body: Any) -> Answer:
    """A request to the resource manager about one resource."""
    path = (
        f"/subscriptions/{server.subscription_id}/resourceGroups/{GROUP}/providers"
        f"/Microsoft.SignalRService/webPubSub/{name}?api-version=2025-01-01-preview"
    )
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return http_request(server, method, path, body=json.dumps(body).encode(), headers=headers)


# Capacity


def test_units_are_a_quota_of_connections(client: Manager, resource: Resource) -> None:
    change(client, resource, sku=m.ResourceSku(name="Free_F1", capacity=1))
    token = client_token(resource, "h")
    holding = [RawClient(resource, client_target("h", token), protocols=[JSON]) for _ in range(20)]
    try:
        assert {one.status for one in holding} == {101}
        with RawClient(resource, client_target("h2", client_token(resource, "h2")), protocols=[JSON]) as refused:
            assert refused.status == 429
            assert refused.headers["retry-after"]
        assert told(resource) == 202

        change(client, resource, sku=m.ResourceSku(name="Standard_S1", capacity=1))
        holding.append(RawClient(resource, client_target("h", token), protocols=[JSON]))
        assert holding[-1].status == 101

        change(client, resource, sku=m.ResourceSku(name="Free_F1", capacity=1))
        assert connect_status(resource, "h", token) == 429
        for one in holding:
            one.send_json({"type": "ping"})
            while one.receive_json() != {"type": "pong"}:
                pass
        # Places are free again as soon as enough have left.
        for _ in range(2):
            leaving = holding.pop()
            leaving.close_frame(1000)
            leaving.closed()
            leaving.socket.close()
        assert connect_status(resource, "h", token) == 101
    finally:
        for one in holding:
            one.socket.close()


def test_connection_that_waits_for_its_recovery_has_its_place(client: Manager, resource: Resource) -> None:
    """And gets it, though nobody else gets one."""
    change(client, resource, sku=m.ResourceSku(name="Free_F1", capacity=1))
    token = client_token(resource, "h")
    with JsonClient(resource, "h", protocol=RELIABLE) as reliable:
        holding = [RawClient(resource, client_target("h", token), protocols=[JSON]) for _ in range(19)]
        try:
            reliable.socket.socket.shutdown(socket.SHUT_RDWR)
            assert connect_status(resource, "h", token) == 429
            with RawClient(resource, client_target("h", None, reliable.recovery()), protocols=[RELIABLE]) as recovered:
                assert recovered.status == 101
                assert recovered.receive_json()["connectionId"] == reliable.connection_id
        finally:
            for one in holding:
                one.socket.close()


# The resource that answers for every host, and what does not act


def test_default_resource_has_the_same_settings(server: Server, client: Manager) -> None:
    def update(**more: Any) -> None:
        body = m.WebPubSubResource(location="eastus", **more)
        client.web_pub_sub.begin_update("hubwire", "default", body).result()

    for changed, wanted in (
        ({"disable_local_auth": True}, (401, 401)),
        ({"public_network_access": "Disabled"}, (403, 403)),
        ({"network_ac_ls": acls("Allow", deny=("RESTAPI",))}, (101, 403)),
        ({"tls": m.WebPubSubTlsSettings(client_cert_enabled=True)}, (101, 202)),
    ):
        update(**changed)
        assert statuses(server) == wanted
        seen = asked(server.host, server.https_port, server.ca, "localhost", ssl.TLSVersion.TLSv1_3)
        assert seen is ("tls" in changed)
        update(
            disable_local_auth=False,
            public_network_access="Enabled",
            network_ac_ls=acls("Allow", allow=EVERYTHING),
            tls=m.WebPubSubTlsSettings(client_cert_enabled=False),
        )
        assert statuses(server) == GOOD


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        (
            {
                "liveTraceConfiguration": {
                    "enabled": "true",
                    "categories": [{"name": "MessagingLogs", "enabled": "true"}],
                }
            },
            "",
        ),
        ({"resourceLogConfiguration": {"categories": [{"name": "ConnectivityLogs", "enabled": "false"}]}}, ""),
        ({"regionEndpointEnabled": "Disabled"}, ""),
        ({"socketIO": {"serviceMode": "Serverless"}}, "SocketIO"),
        (
            {
                "applicationFirewall": {
                    "clientConnectionCountRules": [{"type": "ThrottleByUserIdRule", "maxCount": 5}],
                    "clientTrafficControlRules": [],
                }
            },
            "",
        ),
    ],
)
def test_what_does_not_act_is_kept_told_and_warned_of(
    server: Server, token: str, client: Manager, resource: Resource, properties: dict[str, Any], kind: str
) -> None:
    body = {"properties": properties, **({"kind": kind} if kind else {})}
    answer = ask(server, token, "PATCH", resource.name, body)

    assert answer.status == 200, answer.body
    (name,) = properties
    assert name in answer.headers["warning"]
    shown = ask(server, token, "GET", resource.name, None).json()
    assert shown["properties"][name] == properties[name]
    assert shown["kind"] == (kind or "WebPubSub")
    assert statuses(resource) == GOOD


def test_several_warnings_are_all_told(server: Server, token: str, resource: Resource) -> None:
    properties = {"regionEndpointEnabled": "Disabled", "socketIO": {"serviceMode": "Default"}}
    answer = ask(server, token, "PATCH", resource.name, {"kind": "SocketIO", "properties": properties})

    for word in ("regionEndpointEnabled", "socketIO", "Socket.IO"):
        assert word in answer.headers["warning"]


def test_unknown_property_is_kept(server: Server, token: str, resource: Resource) -> None:
    given = {"laterSetting": {"a": [1, None, {"b": "ä"}]}}
    ask(server, token, "PATCH", resource.name, {"properties": given})

    assert ask(server, token, "GET", resource.name, None).json()["properties"]["laterSetting"] == given["laterSetting"]


def test_settings_outlive_a_kill(start_server: StartServer) -> None:
    first = start_server()
    with manager(WebPubSubManagementClient, first) as client:
        settings: dict[str, dict[str, Any]] = {
            "one": {"disable_local_auth": True, "tls": m.WebPubSubTlsSettings(client_cert_enabled=True)},
            "two": {"public_network_access": "Disabled"},
        }
        for name, more in settings.items():
            body = m.WebPubSubResource(location="eastus", sku=m.ResourceSku(name="Standard_S1", capacity=1), **more)
            client.web_pub_sub.begin_create_or_update(GROUP, name, body).result()
            change_hub(client, resource_at(client, GROUP, name), "h", anonymous_connect_policy="allow")
    first.process.kill()
    first.wait()

    second = start_server(data=first.data)
    with manager(WebPubSubManagementClient, second) as client:
        one, two = (resource_at(client, GROUP, name) for name in ("one", "two"))
    assert statuses(one) == (401, 401)
    assert statuses(two) == (403, 403)
    assert connect_status(one, "h", None) == 101
    assert asked(second.host, one.https_port, second.ca, "localhost", ssl.TLSVersion.TLSv1_3)
