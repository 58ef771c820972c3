"""The official Python identity library, synchronous and asynchronous, and the service library with its credentials."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from acceptance.directory import SCOPE, WEB_PUBSUB, App, assign, claims_of, client_pem, create_app
from acceptance.sdk import KINDS, Identity, Kind, identity
from acceptance.servers import PROGRAM, Server, StartServer
from acceptance.wire import JSON, JsonClient, RawClient, trusting

COMMUNICATION = "https://communication.azure.com/"
"""Its scope has two slashes before `.default`."""

SUBPROCESS_S = 90


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


def signed_in(kind: Kind, server: Server, app: App | None = None) -> AbstractContextManager[Identity]:
    """By its secret: an application, or the development principal."""
    name, secret = (app.client_id, app.secret) if app is not None else (server.client_id, server.client_secret)
    return identity(kind, "ClientSecretCredential", server, server.tenant_id, name, secret)


# Tokens


def test_secret_gets_a_token_for_the_service(server: Server, kind: Kind) -> None:
    with signed_in(kind, server) as credential:
        claims = claims_of(credential.token(SCOPE))

    assert claims["iss"] == f"{server.authority}/{server.tenant_id}/v2.0"
    assert (claims["aud"], claims["ver"], claims["idtyp"]) == (WEB_PUBSUB, "1.0", "app")
    assert (claims["appid"], claims["appidacr"], claims["tid"]) == (server.client_id, "1", server.tenant_id)
    assert claims["oid"] == claims["sub"]
    assert claims["exp"] - claims["iat"] == 3599


@pytest.mark.parametrize("chain", [False, True], ids=["certificate alone", "with its chain"])
def test_certificate_gets_tokens_for_several_resources(server: Server, kind: Kind, tmp_path: Path, chain: bool) -> None:
    """With one credential; the library proves itself anew for each, and may use one proof twice."""
    app, pem = create_app(server, "--no-secret"), client_pem(tmp_path)
    assert server.cli("app", "certificate", app.client_id, str(pem)).returncode == 0
    arguments = (server.tenant_id, app.client_id, str(pem))
    with identity(kind, "CertificateCredential", server, *arguments, send_certificate_chain=chain) as credential:
        tokens = [claims_of(credential.token(f"{resource}/.default")) for resource in (WEB_PUBSUB, COMMUNICATION)]

    assert [token["aud"] for token in tokens] == [WEB_PUBSUB, COMMUNICATION]
    assert {(token["appid"], token["appidacr"]) for token in tokens} == {(app.client_id, "2")}


def test_several_threads_can_wait_for_a_token_of_one_certificate(server: Server, tmp_path: Path) -> None:
    """The library then sends one assertion several times, for the same resource."""
    app, pem = create_app(server, "--no-secret"), client_pem(tmp_path)
    assert server.cli("app", "certificate", app.client_id, str(pem)).returncode == 0
    arguments = (server.tenant_id, app.client_id, str(pem))
    with identity("sync", "CertificateCredential", server, *arguments) as credential:
        credential.token(f"{COMMUNICATION}/.default")
        with ThreadPoolExecutor(8) as threads:
            tokens = list(threads.map(lambda _: credential.token(f"{WEB_PUBSUB}/.default"), range(24)))

    assert {claims_of(token)["appid"] for token in tokens} == {app.client_id}


def test_certificate_that_is_not_the_applications_proves_nothing(server: Server, kind: Kind, tmp_path: Path) -> None:
    app, pem = create_app(server, "--no-secret"), client_pem(tmp_path)
    arguments = (server.tenant_id, app.client_id, str(pem))
    with (
        identity(kind, "CertificateCredential", server, *arguments) as credential,
        pytest.raises(ClientAuthenticationError, match="AADSTS700027"),
    ):
        credential.token(SCOPE)


def test_environment_names_issuer_and_secret(server: Server, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AZURE_AUTHORITY_HOST", server.authority),
        ("AZURE_TENANT_ID", server.tenant_id),
        ("AZURE_CLIENT_ID", server.client_id),
        ("AZURE_CLIENT_SECRET", server.client_secret),
    ):
        monkeypatch.setenv(name, value)
    with identity(kind, "EnvironmentCredential", server, authority=None) as credential:
        assert claims_of(credential.token(SCOPE))["appid"] == server.client_id


def test_token_for_an_application_is_for_its_id(server: Server, kind: Kind) -> None:
    """Such as event handlers ask for to know who calls them."""
    uri = f"api://{uuid4()}"
    app = create_app(server, "--id-uri", uri)
    with signed_in(kind, server) as credential:
        by_id, by_uri = (claims_of(credential.token(f"{name}/.default")) for name in (app.client_id, uri))

    assert (by_id["aud"], by_id["ver"], by_id["azp"]) == (app.client_id, "2.0", server.client_id)
    assert (by_uri["aud"], by_uri["ver"], by_uri["appid"]) == (uri, "1.0", server.client_id)


# Refusals


def test_wrong_secret_is_named_by_its_number(server: Server, kind: Kind) -> None:
    app = create_app(server)._replace(secret="wrong")
    with signed_in(kind, server, app) as credential, pytest.raises(ClientAuthenticationError) as caught:
        credential.token(SCOPE)

    assert "AADSTS7000215: Invalid client secret provided" in str(caught.value)


def test_unknown_application_is_named_by_its_number(server: Server, kind: Kind) -> None:
    stranger = App(str(uuid4()), "", "secret", "")
    with (
        signed_in(kind, server, stranger) as credential,
        pytest.raises(ClientAuthenticationError, match=f"AADSTS700016: .*{stranger.client_id}"),
    ):
        credential.token(SCOPE)


def test_unknown_tenant_is_told(server: Server, kind: Kind) -> None:
    """The synchronous library asks for the tenant's metadata first, and tells of these in its own words."""
    tenant = str(uuid4())
    said = {"sync": f"get authority configuration for {server.authority}/{tenant}", "aio": "AADSTS90002"}[kind]
    with (
        identity(kind, "ClientSecretCredential", server, tenant, server.client_id, "secret") as credential,
        pytest.raises(ClientAuthenticationError, match=said),
    ):
        credential.token(SCOPE)


def test_unknown_resource_is_named_by_its_number(server: Server, kind: Kind) -> None:
    with signed_in(kind, server) as credential, pytest.raises(ClientAuthenticationError, match="AADSTS500011"):
        credential.token("https://nobody.example.org/.default")


# The service library


def test_owner_sends_to_a_group(server: Server, hub: str, kind: Kind) -> None:
    with (
        JsonClient(server, hub, groups=["g"]) as client,
        signed_in(kind, server) as credential,
        credential.service(server, hub) as service,
    ):
        service.send_to_group("g", "hello", content_type="text/plain")

        assert client.receive()["data"] == "hello"


def test_owner_asks_what_exists(server: Server, hub: str, kind: Kind) -> None:
    with (
        JsonClient(server, hub, user="u", groups=["g"]) as client,
        signed_in(kind, server) as credential,
        credential.service(server, hub) as service,
    ):
        there = (
            service.user_exists("u"),
            service.group_exists("g"),
            service.connection_exists(client.connection_id),
        )
        assert there == (True, True, True)
        assert (service.user_exists("v"), service.group_exists("h")) == (False, False)


def test_owner_makes_a_url_with_which_a_client_connects(server: Server, hub: str, kind: Kind) -> None:
    with signed_in(kind, server) as credential, credential.service(server, hub) as service:
        access = service.get_client_access_token(user_id="u", groups=["g"], minutes_to_expire=5)

        origin, _, target = access["url"].partition("/client/")
        assert origin == server.https_endpoint.replace("https", "wss")
        with RawClient(server, f"/client/{target}", protocols=[JSON], secure=trusting(server.ca)) as client:
            assert client.receive_json()["userId"] == "u"
            service.send_to_group("g", "hello", content_type="text/plain")
            assert client.receive_json()["data"] == "hello"
    claims = claims_of(access["token"])
    assert claims["exp"] - claims["iat"] == 300


def test_url_for_mqtt_clients_is_another_one(server: Server, hub: str, kind: Kind) -> None:
    with signed_in(kind, server) as credential, credential.service(server, hub) as service:
        access = service.get_client_access_token(client_protocol="MQTT", user_id="u", groups=["a/b"])

    path = f"/clients/mqtt/hubs/{hub}"
    assert access["baseUrl"] == server.https_endpoint.replace("https", "wss") + path
    assert access["url"] == f"{access['baseUrl']}?access_token={access['token']}"
    claims = claims_of(access["token"])
    assert claims["aud"] == server.https_endpoint + path
    assert (claims["sub"], claims["webpubsub.group"]) == ("u", ["a/b"])


def test_reader_may_ask_and_nothing_more(server: Server, hub: str, kind: Kind) -> None:
    """Who is refused is told which role it takes."""
    app = create_app(server)
    assign(server, app, "reader")
    with signed_in(kind, server, app) as credential, credential.service(server, hub) as service:
        assert service.user_exists("u") is False
        refusals: list[Callable[[], object]] = [
            lambda: service.send_to_all("x", content_type="text/plain"),
            service.close_all_connections,
            service.get_client_access_token,
        ]
        for refused in refusals:
            with pytest.raises(HttpResponseError) as caught:
                refused()
            assert caught.value.status_code == 403
            assert "'Web PubSub Service Owner'" in caught.value.message
            assert app.object_id in caught.value.message


def test_application_without_a_role_may_not_even_ask(server: Server, hub: str, kind: Kind) -> None:
    app = create_app(server)
    with signed_in(kind, server, app) as credential, credential.service(server, hub) as service:
        refusals: list[Callable[[], object]] = [
            lambda: service.user_exists("u"),
            lambda: service.send_to_all("x", content_type="text/plain"),
        ]
        for refused in refusals:
            with pytest.raises(HttpResponseError) as caught:
                refused()
            assert caught.value.status_code == 403


def test_role_holds_at_once_and_until_it_is_taken_away(server: Server, hub: str, kind: Kind) -> None:
    """With one and the same token."""
    app = create_app(server)

    def status() -> int:
        try:
            service.send_to_all("x", content_type="text/plain")
        except HttpResponseError as error:
            return error.status_code or 0
        return 202

    with signed_in(kind, server, app) as credential, credential.service(server, hub) as service:
        assert status() == 403
        assign(server, app, "owner")
        assert status() == 202
        assign(server, app, "owner", "--remove")
        assert status() == 403


# Programs that get their tokens of this machine


def shell(server: Server, script: str, *arguments: str) -> Any:
    """What a Python script prints, in a shell that did as the guide says."""
    command = 'eval "$("$0" ${1} env --data "$2")" && shift 2 && exec "$0" -W ignore -c "$@"'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, " ".join(PROGRAM), str(server.data), script, *arguments],
        capture_output=True,
        text=True,
        timeout=SUBPROCESS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


DEFAULT = """
import asyncio, json, sys
from azure.identity import DefaultAzureCredential
from azure.identity.aio import DefaultAzureCredential as AsyncCredential
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient as AsyncService

endpoint, hub = sys.argv[1:]
text = {"content_type": "text/plain"}
with DefaultAzureCredential() as credential, WebPubSubServiceClient(endpoint, hub, credential) as service:
    service.send_to_all("sync", **text)

async def main():
    async with AsyncCredential() as credential, AsyncService(endpoint, hub, credential) as service:
        await service.send_to_all("async", **text)
        return (await service.get_client_access_token())["baseUrl"]

print(json.dumps(asyncio.run(main())))
"""


def test_default_credential_needs_the_shell_lines_and_nothing_else(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        url = shell(server, DEFAULT, server.https_endpoint, hub)

        assert [client.receive()["data"] for _ in range(2)] == ["sync", "async"]
    assert url == f"wss://{server.https_endpoint.removeprefix('https://')}/client/hubs/{hub}"


MANAGED = """
import asyncio, json, sys
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ManagedIdentityCredential
from azure.identity.aio import ManagedIdentityCredential as AsyncCredential

scope, options, async_options = sys.argv[1], *map(json.loads, sys.argv[2:])

def token(options):
    try:
        with ManagedIdentityCredential(**options) as credential:
            return credential.get_token(scope).token
    except ClientAuthenticationError as error:
        return str(error)

async def async_token(options):
    try:
        async with AsyncCredential(**options) as credential:
            return (await credential.get_token(scope)).token
    except ClientAuthenticationError as error:
        return str(error)

async def async_tokens():
    return [await async_token(one) for one in async_options]

print(json.dumps([*map(token, options), *asyncio.run(async_tokens())]))
"""


def managed_identity_options(app: App, resource_id: str) -> list[str]:
    """
    Arguments of `MANAGED`: the identity of the machine, one selected in each of the ways, and one that is not there.

    Args:
        resource_id: as the endpoint calls it; the asynchronous library leaves that to its user.
    """
    selectors: list[dict[str, Any]] = [
        {},
        {"client_id": app.client_id},
        {"identity_config": {"object_id": app.object_id}},
        {"identity_config": {"resource_id": app.resource_id}},
        {"client_id": str(uuid4())},
    ]
    by_resource = {"identity_config": {resource_id: app.resource_id}}
    return [json.dumps(selectors), json.dumps([*selectors[:3], by_resource, *selectors[4:]])]


def check_managed_identities(answers: list[str], app: App) -> None:
    """The answers of `MANAGED`."""
    for machine, *selected, unknown in (answers[:5], answers[5:]):
        claims = [claims_of(token) for token in selected]
        assert {one["appid"] for one in claims} == {app.client_id}
        assert {one["oid"] for one in claims} == {app.object_id}
        assert {one["xms_mirid"] for one in claims} == {app.resource_id}
        own = claims_of(machine)
        assert own["appid"] != app.client_id
        assert own["xms_mirid"].endswith("/virtualMachines/hubwire-machine")
        assert (own["aud"], own["appidacr"]) == (WEB_PUBSUB, "2")
        assert own["exp"] - own["iat"] == 24 * 3600 - 1
        assert "Identity not found" in unknown


def test_managed_identities_of_app_service_are_selected_in_each_way(server: Server) -> None:
    app = create_app(server, "--managed-identity")
    answers = shell(server, MANAGED, SCOPE, *managed_identity_options(app, "mi_res_id"))

    check_managed_identities(answers, app)


def test_managed_identities_of_a_virtual_machine_are_selected_in_each_way(start_server: StartServer) -> None:
    server = start_server("--set", "managed_identity=imds")
    app = create_app(server, "--managed-identity")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MANAGED, SCOPE, *managed_identity_options(app, "msi_res_id")],
        env={**os.environ, "AZURE_POD_IDENTITY_AUTHORITY_HOST": server.endpoint},
        capture_output=True,
        text=True,
        timeout=SUBPROCESS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    check_managed_identities(json.loads(done.stdout), app)
