"""
Managed identities of resources: as resources of the resource manager, with its SDK and from the command line; and the
tokens that event handlers get of them, from each source that there is.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import jwt
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.webpubsub import WebPubSubManagementClient
from azure.mgmt.webpubsub import models as m

from acceptance.directory import App, claims_of, client_pem, create_app
from acceptance.sdk import Manager, manager
from acceptance.servers import PROCESS_S, PROGRAM, Server, StartServer, running, wait_until
from acceptance.upstreams import Heard, Upstream, await_line, configure
from acceptance.wire import JsonClient, client_token, connect_status, http_request, trusting

TYPE: Final = "Microsoft.ManagedIdentity/userAssignedIdentities"
VERSION: Final = {"api_version": "2023-01-31"}
GROUP: Final = "identities"
WPS: Final = "Microsoft.SignalRService/webPubSub"
EXCHANGE: Final = "api://AzureADTokenExchange"
FAST: Final = ("--set", "handler_retries_s=0.05")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Tests keep apart by names, and say what identity its own resource has."""
    with running(tmp_path_factory.mktemp("identities"), *FAST) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Manager]:
    """Of resources of any type, for the development principal."""
    with manager(ResourceManagementClient, server) as client:
        yield client


@pytest.fixture(scope="module")
def resources(server: Server) -> Iterator[Manager]:
    with manager(WebPubSubManagementClient, server) as client:
        yield client


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def name() -> str:
    """Of a resource that no other test uses."""
    return f"r{uuid4().hex}"


def id_of(server: Server, name: str, group: str = GROUP) -> str:
    return f"/subscriptions/{server.subscription_id}/resourceGroups/{group}/providers/{TYPE}/{name}"


def made(client: Manager, server: Server, name: str, group: str = GROUP, **tags: str) -> Any:
    body = {"location": "eastus", "tags": tags}
    return client.resources.begin_create_or_update_by_id(id_of(server, name, group), body, **VERSION).result()


def assigned(identity: str) -> m.ManagedIdentity:
    return m.ManagedIdentity(type="UserAssigned", user_assigned_identities={identity: m.UserAssignedIdentityProperty()})


def wanted(**more: Any) -> m.WebPubSubResource:
    return m.WebPubSubResource(location="eastus", sku=m.ResourceSku(name="Standard_S1", capacity=1), **more)


def cli(server: Server, *arguments: str) -> str:
    done = server.cli(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def code_of(refused: pytest.ExceptionInfo[HttpResponseError]) -> tuple[int | None, str | None]:
    error = refused.value.error
    return refused.value.status_code, None if error is None else error.code


# As resources


def test_identity_is_made_with_ids_that_stay(client: Manager, server: Server, name: str) -> None:
    first = made(client, server, name, team="a")
    again = made(client, server, name, team="b")

    assert (first.id, first.name, first.type, first.location) == (id_of(server, name), name, TYPE, "eastus")
    assert first.properties["tenantId"] == server.tenant_id
    assert first.properties.keys() == {"tenantId", "principalId", "clientId"}
    assert (again.properties, again.tags) == (first.properties, {"team": "b"})
    assert (
        client.resources.get_by_id(id_of(server, name.upper()), api_version="2018-11-30").properties == first.properties
    )
    changed = client.resources.begin_update_by_id(
        id_of(server, name), {"tags": {"c": "d"}}, api_version="2024-11-30"
    ).result()
    assert (changed.tags, changed.properties) == ({"c": "d"}, first.properties)


def test_identity_is_in_the_lists_until_it_is_deleted(client: Manager, server: Server, name: str) -> None:
    made(client, server, name, team=name)

    assert name in [one.name for one in client.resources.list_by_resource_group(GROUP)]
    assert [one.name for one in client.resources.list(filter=f"tagName eq 'team' and tagValue eq '{name}'")] == [name]
    assert name in [one.name for one in client.resources.list(filter=f"resourceType eq '{TYPE}'")]

    assert client.resources.check_existence_by_id(id_of(server, name), **VERSION) is True
    client.resources.begin_delete_by_id(id_of(server, name), **VERSION).result()
    client.resources.begin_delete_by_id(id_of(server, name), **VERSION).result()
    assert name not in [one.name for one in client.resources.list_by_resource_group(GROUP)]
    with pytest.raises(ResourceNotFoundError):
        client.resources.get_by_id(id_of(server, name), **VERSION)


def test_identity_that_a_resource_has_is_not_deleted_by_any_way(
    client: Manager, resources: Manager, server: Server, name: str
) -> None:
    identity = made(client, server, name, f"g{name}")
    resources.web_pub_sub.begin_create_or_update(GROUP, name, wanted(identity=assigned(identity.id))).result()

    with pytest.raises(HttpResponseError, match=f"used by {name}") as refused:
        client.resources.begin_delete_by_id(identity.id, **VERSION).result()
    assert code_of(refused) == (409, "IdentityInUse")
    with pytest.raises(HttpResponseError, match=f"used by {name}") as refused:
        client.resource_groups.begin_delete(f"g{name}").result()
    assert code_of(refused) == (409, "IdentityInUse")
    for arguments in (("managed-identity", "delete", name), ("app", "delete", identity.properties["clientId"])):
        done = server.cli(*arguments)
        assert (done.returncode, f"used by {name}" in done.stderr) == (1, True)

    resources.web_pub_sub.begin_update(GROUP, name, wanted(identity=m.ManagedIdentity(type="None"))).result()
    cli(server, "managed-identity", "delete", name)
    client.resource_groups.begin_delete(f"g{name}").result()


@pytest.mark.parametrize("kind", ["SystemAssigned, UserAssigned", "UserAssigned"])
def test_resource_has_one_identity_and_no_more(
    client: Manager, resources: Manager, server: Server, name: str, kind: str
) -> None:
    both = [made(client, server, f"{name}-{number}").id for number in range(1 if "," in kind else 2)]
    identity = {"type": kind, "userAssignedIdentities": {one: {} for one in both}}
    at = f"/subscriptions/{server.subscription_id}/resourceGroups/{GROUP}/providers/{WPS}/{name}"

    with pytest.raises(HttpResponseError, match="one") as refused:
        client.resources.begin_create_or_update_by_id(
            at,
            {"location": "eastus", "sku": {"name": "Standard_S1"}, "identity": identity},
            api_version="2024-03-01",
        ).result()

    assert code_of(refused) == (400, "InvalidParameter")
    with pytest.raises(ResourceNotFoundError):
        resources.web_pub_sub.get(GROUP, name)


def test_identity_stays_over_a_restart(start_server: StartServer) -> None:
    first = start_server()
    told = json.loads(cli(first, "managed-identity", "create", "robot", "--tag", "a=b", "--json"))
    cli(first, "resource", "set", "default", "--identity", "robot")
    first.stop()

    second = start_server(data=first.data)

    shown = json.loads(cli(second, "managed-identity", "show", "robot", "--json"))
    assert shown == {**told, "usedBy": ["default"]}
    document = json.loads(cli(second, "resource", "show", "default", "--json"))
    ids = {"principalId": told["properties"]["principalId"], "clientId": told["properties"]["clientId"]}
    assert document["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {told["id"]: ids}}


def test_identities_are_exported_and_deployed_elsewhere(server: Server, start_server: StartServer, name: str) -> None:
    cli(server, "managed-identity", "create", name, "--group", f"g{name}", "--location", "westus", "--tag", "a=[b]")
    cli(server, "resource", "create", name, "--group", f"g{name}", "--identity", name)
    template = server.data.parent / f"{name}.json"
    template.write_text(cli(server, "export", "--group", f"g{name}"))
    other = start_server()

    cli(other, "deploy", str(template), "--group", f"g{name}")

    there = json.loads(cli(other, "managed-identity", "show", name, "--json"))
    assert (there["location"], there["tags"], there["usedBy"]) == ("westus", {"a": "[b]"}, [name])
    assert json.loads(cli(other, "export", "--group", f"g{name}")) == json.loads(template.read_text())


# Tokens of the local issuer


def wants_token(upstream: Upstream, audience: str, **settings: Any) -> dict[str, Any]:
    auth = {"type": "ManagedIdentity", "managedIdentity": {"resource": audience}}
    return upstream.handler(auth=auth, **{"systemEvents": ["connect"], "userEventPattern": "", **settings})


def connect(server: Server, hub: str) -> None:
    with JsonClient(server, hub):
        pass


def bearer(event: Heard) -> str:
    scheme, _, token = (event.get("Authorization") or "").partition(" ")
    assert scheme == "Bearer"
    return token


def proved(server: Server, token: str, audience: str) -> dict[str, Any]:
    """The claims, for who knows the discovery document and the audience, and nothing else."""

    def document(url: str) -> dict[str, Any]:
        answer = http_request(server, "GET", urlsplit(url).path, secure=trusting(server.ca))
        assert answer.status == 200
        found: dict[str, Any] = json.loads(answer.body)
        return found

    discovery = document(f"{server.authority}/{server.tenant_id}/v2.0/.well-known/openid-configuration")
    keys = jwt.PyJWKSet.from_dict(document(discovery["jwks_uri"]))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        ["RS256"],
        audience=audience,
        issuer=discovery["issuer"],
        options={"require": ["aud", "iss", "iat", "nbf", "exp", "oid", "sub", "tid"]},
    )
    return claims


@pytest.mark.parametrize(
    ("audience", "version"), [("api://orders", "1.0"), ("8b6fdc4e-60b5-4f0a-9d3f-0a6f3b1c52de", "2.0")]
)
def test_event_brings_a_token_that_its_handler_can_prove(
    server: Server, hub: str, upstream: Upstream, audience: str, version: str
) -> None:
    cli(server, "resource", "set", "default", "--identity", "system")
    configure(server, hub, wants_token(upstream, audience))
    identity = json.loads(cli(server, "resource", "show", "default", "--json"))

    connect(server, hub)

    (event,) = upstream.await_events(1)
    claims = proved(server, bearer(event), audience)
    assert (claims["ver"], claims["idtyp"], claims["tid"]) == (version, "app", server.tenant_id)
    assert (claims["oid"], claims["sub"]) == (identity["identity"]["principalId"],) * 2
    assert claims["xms_mirid"] == identity["id"]
    assert claims["exp"] - claims["iat"] == 24 * 3600 - 1
    assert [heard.get("Authorization") for heard in upstream.validations()] == [None] * len(upstream.validations())
    with pytest.raises(jwt.InvalidAudienceError):
        proved(server, bearer(event), "api://somebody-else")
    assert bearer(event) not in server.log()


def test_next_event_after_a_change_is_of_the_identity_that_the_resource_has_then(
    server: Server, client: Manager, resources: Manager, hub: str, upstream: Upstream, name: str
) -> None:
    """From the system's to one, to another one, and to none."""
    one, two = (made(client, server, f"{name}-{number}") for number in range(2))
    configure(server, hub, wants_token(upstream, "api://orders"))
    seen = []
    for identity in (m.ManagedIdentity(type="SystemAssigned"), assigned(one.id), assigned(two.id)):
        shown = resources.web_pub_sub.begin_update("hubwire", "default", wanted(identity=identity)).result().identity
        connect(server, hub)
        claims = claims_of(bearer(upstream.events()[-1]))
        inner = next(iter((shown.user_assigned_identities or {}).values()), shown)
        assert claims["oid"] == inner.principal_id
        seen.append((claims["appid"], claims["xms_mirid"].rpartition("/")[2], "xms_az_rid" in claims))

    resources.web_pub_sub.begin_update("hubwire", "default", wanted(identity=m.ManagedIdentity(type="None"))).result()
    assert connect_status(server, hub, client_token(server, hub)) == 500

    assert [found[1:] for found in seen] == [("default", False), (f"{name}-0", True), (f"{name}-1", True)]
    assert [found[0] for found in seen[1:]] == [one.properties["clientId"], two.properties["clientId"]]
    assert len(upstream.events()) == 3
    await_line(server, "identity")


def test_token_is_asked_for_once_for_many_events(server: Server, hub: str, upstream: Upstream) -> None:
    cli(server, "resource", "set", "default", "--identity", "system")
    configure(server, hub, wants_token(upstream, "api://orders"))

    for _ in range(5):
        connect(server, hub)

    assert len({bearer(event) for event in upstream.await_events(5)}) == 1


def test_handler_without_an_audience_is_not_saved(server: Server, hub: str, upstream: Upstream) -> None:
    handlers = server.data.parent / "handlers.json"
    handlers.write_text(json.dumps([{**upstream.handler(), "auth": {"type": "ManagedIdentity"}}]))

    done = server.cli("hub", "set", hub, "--handlers", str(handlers))

    assert done.returncode != 0
    assert "managedIdentity.resource is required" in done.stderr


def test_handler_that_can_have_no_token_is_saved_with_a_warning(server: Server, hub: str, upstream: Upstream) -> None:
    cli(server, "resource", "set", "default", "--identity", "none")

    done = server.cli(
        *("hub", "set", hub, "--handler", upstream.url(), "--events", "connect", "--handler-auth", "api://orders")
    )

    assert done.returncode == 0
    assert "hubwire resource set default --identity system" in done.stderr


# Tokens from elsewhere


def environment_of(server: Server) -> dict[str, str]:
    """What a shell has after `hubwire env`."""
    exports = dict(re.findall(r"^export (\w+)='?([^'\n]*)'?$", cli(server, "env"), re.MULTILINE))
    return {name: exports[name] for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")}


def application(server: Server, app: App, **files: Path) -> list[str]:
    """Settings of a server whose resources call as an application of another one."""
    named = {
        "identity_source": "client-credentials",
        "identity_authority": server.authority,
        "identity_tenant": server.tenant_id,
        "identity_client_id": app.client_id,
        "handler_ca": str(server.ca),
        **{name: str(path) for name, path in files.items()},
    }
    return [part for name, value in named.items() for part in ("--set", f"{name}={value}")]


def by_secret(server: Server, app: App, folder: Path) -> dict[str, Path]:
    (folder / "secret").write_text(f"{app.secret}\n")
    return {"identity_client_secret_file": folder / "secret"}


def by_certificate(server: Server, app: App, folder: Path) -> dict[str, Path]:
    pem = client_pem(folder)
    cli(server, "app", "certificate", app.client_id, str(pem))
    return {"identity_certificate": pem}


def by_token(server: Server, app: App, folder: Path) -> dict[str, Path]:
    """A token that the machine's identity gets, and that stands for the application."""
    environment = environment_of(server)
    target = f"{urlsplit(environment['IDENTITY_ENDPOINT']).path}?api-version=2019-08-01&resource={EXCHANGE}"
    answer = http_request(server, "GET", target, headers={"X-IDENTITY-HEADER": environment["IDENTITY_HEADER"]})
    token = json.loads(answer.body)["access_token"]
    claims = claims_of(token)
    federated = ("--issuer", claims["iss"], "--subject", claims["sub"], "--audience", EXCHANGE)
    cli(server, "app", "federated", app.client_id, *federated)
    (folder / "token").write_text(token)
    return {"identity_token_file": folder / "token"}


@pytest.mark.parametrize("proof", [by_secret, by_certificate, by_token], ids=["secret", "certificate", "token"])
def test_tokens_are_those_of_an_application_elsewhere(
    server: Server, start_server: StartServer, hub: str, upstream: Upstream, tmp_path: Path, proof: Any
) -> None:
    """Another server of ours stands for Entra."""
    audience = f"api://{uuid4()}"
    create_app(server, "--id-uri", audience)
    app = create_app(server)
    other = start_server(*FAST, *application(server, app, **proof(server, app, tmp_path)))
    cli(other, "resource", "set", "default", "--identity", "system")
    configure(other, hub, wants_token(upstream, f"{audience}/"))

    connect(other, hub)
    connect(other, hub)

    tokens = {bearer(event) for event in upstream.await_events(2)}
    claims = proved(server, tokens.pop(), audience)
    assert (claims["appid"], claims["oid"], tokens) == (app.client_id, app.object_id, set())
    assert app.secret not in other.log()


@pytest.mark.parametrize("identity", ["system", "robot"])
@pytest.mark.parametrize("source", ["app-service", "imds"])
def test_tokens_are_those_of_the_machine(
    start_server: StartServer, hub: str, upstream: Upstream, source: str, identity: str
) -> None:
    """Another server of ours stands for the cloud that the machine is in; `robot` is an identity of the machine."""
    machine = start_server("--set", "managed_identity=imds")
    audience = f"api://{uuid4()}"
    create_app(machine, "--id-uri", audience)
    robot = json.loads(cli(machine, "managed-identity", "create", "robot", "--json"))["properties"]
    environment: Mapping[str, str] = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": machine.endpoint}
    if source == "app-service":
        environment = environment_of(machine)
    chosen = () if identity == "system" else ("--set", f"identity_client_id={robot['clientId']}")
    other = start_server(*FAST, "--set", f"identity_source={source}", *chosen, environment=environment)
    cli(other, "resource", "set", "default", "--identity", "system")
    configure(other, hub, wants_token(upstream, audience))

    connect(other, hub)

    (event,) = upstream.await_events(1)
    claims = proved(machine, bearer(event), audience)
    if identity == "system":
        assert claims["xms_mirid"].endswith("/virtualMachines/hubwire-machine")
    else:
        assert (claims["oid"], claims["appid"]) == (robot["principalId"], robot["clientId"])


def test_without_a_token_there_is_no_event_and_the_log_says_what_to_mend(
    server: Server, start_server: StartServer, hub: str, upstream: Upstream, tmp_path: Path
) -> None:
    app = create_app(server)
    (tmp_path / "secret").write_text("hws~not-the-secret")
    settings = application(server, app, identity_client_secret_file=tmp_path / "secret")
    other = start_server(*FAST, *settings)
    other.provoked = ("AADSTS7000215",)
    cli(other, "resource", "set", "default", "--identity", "system")
    configure(other, hub, wants_token(upstream, "https://management.azure.com"))

    assert connect_status(other, hub, client_token(other, hub)) == 500
    await_line(other, server.authority, "AADSTS7000215")
    assert "not-the-secret" not in other.log()
    assert upstream.events() == []

    (tmp_path / "secret").write_text(app.secret)
    wait_until(lambda: connect_status(other, hub, client_token(other, hub)) == 101, "an event with a token")
    assert claims_of(bearer(upstream.events()[0]))["appid"] == app.client_id


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["identity_source=client-credentials"], "identity_tenant"),
        (["identity_source=app-service"], "IDENTITY_ENDPOINT"),
        (
            ["identity_source=client-credentials", "identity_tenant=t", "identity_client_id=c"],
            "identity_client_secret_file",
        ),
    ],
)
def test_settings_that_give_no_token_end_the_start(tmp_path: Path, settings: list[str], expected: str) -> None:
    options = [part for setting in settings for part in ("--set", setting)]

    done = subprocess.run(
        [sys.executable, *PROGRAM, "serve", "--port", "0", "--data", str(tmp_path / "data"), *options],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )

    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()
