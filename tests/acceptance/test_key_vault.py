"""
Key Vaults of a server, asked by the official Key Vault libraries as any vault is, deployed with templates, and the
same after each new start.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError

from acceptance.directory import App, create_app, token_of
from acceptance.sdk import KINDS, Kind, Resource, identity
from acceptance.servers import CloudProxy, Server, StartServer, fixed_ports, running, wait_until
from acceptance.test_javascript import run_tests
from acceptance.upstreams import await_line
from acceptance.wire import Answer, connect_status, http_request, trusting

VALUE: Final = "s3cret-that-stands-nowhere"
SCHEMA: Final = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"


class Vault(NamedTuple):
    """
    Attributes:
        url: of its HTTPS port.
        reader: who may do everything with its secrets.
        stranger: who may do nothing.
    """

    name: str
    url: str
    reader: App
    stranger: App


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module. Each test has a vault of its own."""
    with running(tmp_path_factory.mktemp("vaults")) as server:
        yield server
    assert_hidden(server)


@pytest.fixture(scope="module")
def apps(server: Server) -> tuple[App, App]:
    """Who may read, and who may not until somebody lets them."""
    return create_app(server), create_app(server)


@pytest.fixture
def vault(server: Server, apps: tuple[App, App]) -> Vault:
    return make(server, apps)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


def make(server: Server, apps: tuple[App, App]) -> Vault:
    """As an operator makes one, with a secret in it."""
    name, (reader, stranger) = f"v{uuid4().hex[:12]}", apps
    made = json.loads(said(server, "vault", "create", name, "--json"))
    said(server, "vault", "grant", name, reader.client_id, "--permission", "all")
    said(server, "secret", "set", "code", "--vault", name, value=VALUE)
    return Vault(name, made["properties"]["vaultUri"], reader, stranger)


def said(server: Server, *arguments: str, value: str = "") -> str:
    """What a command prints that has worked."""
    done = server.cli(*arguments, said=value)
    assert done.returncode == 0, done.stderr
    return done.stdout


def url_of(server: Server, name: str) -> str:
    return str(json.loads(said(server, "vault", "show", name, "--json"))["properties"]["vaultUri"])


def assert_hidden(server: Server) -> None:
    """No value stands in the log, nor in any file of the data folder."""
    assert VALUE not in server.log()
    for file in server.data.rglob("*"):
        if file.is_file():
            assert VALUE.encode() not in file.read_bytes(), file


def signed_in(kind: Kind, server: Server, app: App) -> Any:
    return identity(kind, "ClientSecretCredential", server, server.tenant_id, app.client_id, app.secret)


def plain_url(server: Server, vault: Vault) -> str:
    """Where the vault is reached over plain HTTP, which the log says."""
    line = await_line(server, f"Key Vault {vault.name} listens on")
    url = next(part for part in line.split() if part.startswith("http:"))
    # Clients do not take the challenge of a host of one label.
    return url.replace("//localhost:", "//127.0.0.1:")


# Official libraries


def test_python_library_does_with_secrets_what_it_does_elsewhere(server: Server, vault: Vault, kind: Kind) -> None:
    """With no option but whom to trust: the challenge is taken as it is."""
    with signed_in(kind, server, vault.reader) as who, who.secrets(server, vault.url) as client:
        found = client.get_secret("code")
        assert (found.value, found.name, found.properties.vault_url) == (VALUE, "code", vault.url.rstrip("/"))
        assert client.get_secret("CODE", found.properties.version).value == VALUE
        made = client.set_secret("other", VALUE + "-2", content_type="text/plain", tags={"a": "b"}, enabled=True)
        assert client.get_secret("other", made.properties.version).properties.tags == {"a": "b"}
        client.set_secret("other", VALUE + "-3")
        assert client.get_secret("other").value == VALUE + "-3"
        assert [one.name for one in client.list_properties_of_secrets()] == ["code", "other"]
        versions = [one.version for one in client.list_properties_of_secret_versions("other", max_page_size=1)]
        assert len(versions) == 2
        assert versions[1] == made.properties.version
        assert client.update_secret_properties("other", enabled=False).enabled is False
        with pytest.raises(HttpResponseError) as disabled:
            client.get_secret("other")
        assert disabled.value.status_code == 403
        with pytest.raises(ResourceNotFoundError) as missing:
            client.get_secret("nothing")
        assert missing.value.error is not None
        assert missing.value.error.code == "SecretNotFound"
        with pytest.raises(ResourceNotFoundError):
            client.get_secret("code", "0" * 32)


def test_python_library_deletes_a_secret_at_once(server: Server, vault: Vault) -> None:
    with signed_in("sync", server, vault.reader) as who, who.secrets(server, vault.url) as client:
        poller = client.begin_delete_secret("code")
        assert (poller.result().name, poller.done()) == ("code", True)
        with pytest.raises(ResourceNotFoundError):
            client.get_secret("code")
    with signed_in("aio", server, vault.reader) as who, who.secrets(server, vault.url) as client:
        client.set_secret("code", VALUE)
        assert client.delete_secret("code").name == "code"


def test_javascript_library_does_with_secrets_what_it_does_elsewhere(server: Server, vault: Vault) -> None:
    def shown(app: App) -> dict[str, str]:
        return {"clientId": app.client_id, "clientSecret": app.secret}

    known = {"vaultUrl": vault.url, "plainUrl": plain_url(server, vault)}
    known |= {"reader": shown(vault.reader), "stranger": shown(vault.stranger)}  # type: ignore[dict-item]
    environment = {"HUBWIRE_READY_FILE": str(server.ready_file), "HUBWIRE_VAULT": json.dumps(known)}
    run_tests("secrets.mjs", server, environment)


PROGRAM: Final = {
    "sync": """
import sys
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient
url, *principal = sys.argv[1:]
with SecretClient(url, ClientSecretCredential(*principal)) as client:
    found = client.get_secret("code")
    print(client.get_secret("code", found.properties.version).value, found.id)
""",
    "aio": """
import asyncio, sys
from azure.identity.aio import ClientSecretCredential
from azure.keyvault.secrets.aio import SecretClient
async def main():
    url, *principal = sys.argv[1:]
    async with ClientSecretCredential(*principal) as credential, SecretClient(url, credential) as client:
        found = await client.get_secret("code")
        print((await client.get_secret("code", found.properties.version)).value, found.id)
asyncio.run(main())
""",
}


def test_program_for_the_cloud_reads_its_vault_here_unmodified(
    server: Server, vault: Vault, kind: Kind, tmp_path: Path
) -> None:
    """By `hubwire proxy`, under the cloud's names for the vault and for who signs in."""
    url = f"https://{vault.name}.vault.azure.net"
    proxy = CloudProxy(tmp_path, server, "--only")
    try:
        said = proxy.run(PROGRAM[kind], url, server.tenant_id, vault.reader.client_id, vault.reader.secret)
        assert said.startswith(f"{VALUE} {url}/secrets/code/")
        assert proxy.log() == ""
        later = make(server, (vault.reader, vault.stranger))
        proxy.run(
            PROGRAM[kind],
            f"https://{later.name}.vault.azure.net",
            *(server.tenant_id, later.reader.client_id, later.reader.secret),
        )
        with pytest.raises(AssertionError, match="403"):
            proxy.run(PROGRAM[kind], "https://theirs.vault.azure.net", server.tenant_id, "x", "y")
    finally:
        proxy.end()


# Who may


def test_whoever_may_not_is_refused_and_the_log_says_what_to_grant(server: Server, vault: Vault, kind: Kind) -> None:
    with signed_in(kind, server, vault.stranger) as who, who.secrets(server, vault.url) as client:
        with pytest.raises(HttpResponseError) as refused:
            client.get_secret("code")
        assert refused.value.status_code == 403
        grant = f"vault grant {vault.name} {vault.stranger.object_id} --permission get"
        assert f"hubwire {grant}" in refused.value.message
        wait_until(lambda: f"hubwire {grant}" in server.log(), "what to grant")

        said(server, *grant.split())
        assert client.get_secret("code").value == VALUE
        with pytest.raises(HttpResponseError):
            client.set_secret("code", "x")
        said(server, "vault", "revoke", vault.name, vault.stranger.object_id)
        with pytest.raises(HttpResponseError):
            client.get_secret("code")


def test_roles_decide_where_the_vault_has_chosen_them(server: Server, apps: tuple[App, App]) -> None:
    name, app = f"r{uuid4().hex[:12]}", apps[1]
    made = json.loads(said(server, "vault", "create", name, "--roles", "--json"))
    said(server, "secret", "set", "code", "--vault", name, value=VALUE)
    scope = ["--scope", made["id"]]
    with signed_in("sync", server, app) as who, who.secrets(server, made["properties"]["vaultUri"]) as client:
        with pytest.raises(HttpResponseError, match="Key Vault Secrets User"):
            client.get_secret("code")
        said(server, "app", "assign", app.client_id, "--role", "vault-secrets-user", *scope)
        assert client.get_secret("code").value == VALUE
        with pytest.raises(HttpResponseError, match="Key Vault Secrets Officer"):
            client.set_secret("code", "x")


def test_credential_of_another_tenant_is_refused_by_the_library_itself(server: Server, vault: Vault) -> None:
    """The challenge names the tenant that the vault is of."""
    other = str(uuid4())
    arguments = (other, vault.reader.client_id, vault.reader.secret)
    with (
        identity("sync", "ClientSecretCredential", server, *arguments) as who,
        who.secrets(server, vault.url) as client,
        pytest.raises(ClientAuthenticationError) as refused,
    ):
        client.get_secret("code")
    assert server.tenant_id in str(refused.value)


@pytest.mark.parametrize("scope", ["https://management.azure.com", "https://webpubsub.azure.com"])
def test_token_for_something_else_opens_no_vault(server: Server, vault: Vault, scope: str) -> None:
    assert status(server, vault, token_of(server, vault.reader, "https://vault.azure.net/.default")) == 200
    assert status(server, vault, token_of(server, vault.reader, f"{scope}/.default")) == 401
    assert status(server, vault, "x") == 401


def test_token_for_one_vault_does_not_open_another(server: Server, vault: Vault) -> None:
    other = make(server, (vault.reader, vault.stranger))
    token = token_of(server, vault.reader, f"api://0.0.1:{urlsplit(vault.url).port}/.default")

    assert (status(server, vault, token), status(server, other, token)) == (200, 401)


def status(server: Server, vault: Vault, token: str) -> int:
    """Of a request for a secret with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return ask(server, vault, "/secrets/code?api-version=7.4", headers).status


def ask(server: Server, vault: Vault, target: str, headers: dict[str, str] | None = None) -> Answer:
    return http_request(at(vault.url), "GET", target, headers=headers or {}, secure=trusting(server.ca))


def at(url: str) -> Resource:
    """Where a vault is, for requests without a library."""
    found = urlsplit(url)
    host, port = found.hostname or "", found.port or 0
    return Resource("", "", host, port, port, url, url, "", "", "")


# Addresses


def test_address_of_a_vault_serves_nothing_else_and_its_paths_are_nowhere_else(server: Server, vault: Vault) -> None:
    for target in ("/api/health", "/api/hubs/chat/users/x?api-version=2024-12-01", f"/{server.tenant_id}/oauth2/token"):
        assert ask(server, vault, target).status == 404
    assert http_request(server, "GET", "/secrets/code?api-version=7.4").status == 404
    assert connect_status(at(plain_url(server, vault)), "chat", None) == 404


def test_vault_answers_to_its_names_on_the_main_port(server: Server, vault: Vault) -> None:
    token = token_of(server, vault.reader, "https://vault.azure.net/.default")
    known = {"Authorization": f"Bearer {token}"}
    for host in (f"{vault.name}.vault.azure.net", f"{vault.name.upper()}.vault.localhost:{server.https_port}"):
        for headers, expected in ((known, 200), ({}, 401)):
            answer = http_request(
                server,
                "GET",
                "/secrets/code?api%2Dversion=7.4",
                headers={**headers, "Host": host},
                secure=trusting(server.ca),
            )
            assert answer.status == expected
    assert http_request(server, "GET", "/secrets/x", headers={"Host": "nobodys.vault.azure.net"}).status == 404


# Templates


def template(name: str, reader: App) -> dict[str, Any]:
    above = f"[resourceId('Microsoft.KeyVault/vaults', '{name}')]"
    permissions = {"secrets": ["get"]}
    policy = {"tenantId": "[subscription().tenantId]", "objectId": reader.object_id, "permissions": permissions}
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {"code": {"type": "securestring"}},
        "resources": [
            {
                "type": "Microsoft.KeyVault/vaults",
                "apiVersion": "2023-07-01",
                "name": name,
                "location": "eastus",
                "properties": {
                    "tenantId": "[subscription().tenantId]",
                    "sku": {"family": "A", "name": "standard"},
                    "accessPolicies": [policy],
                },
            },
            {
                "type": "Microsoft.KeyVault/vaults/secrets",
                "apiVersion": "2023-07-01",
                "name": f"{name}/code",
                "dependsOn": [above],
                "properties": {"value": "[parameters('code')]"},
            },
            {
                "type": "Microsoft.KeyVault/vaults/secrets",
                "apiVersion": "2023-07-01",
                "name": f"{name}/inline",
                "dependsOn": [above],
                "properties": {"value": VALUE + "-inline"},
            },
        ],
    }


BICEP: Final = """
param name string
param reader string
@secure()
param code string

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: name
  location: 'eastus'
  properties: {
    tenantId: subscription().tenantId
    sku: { family: 'A', name: 'standard' }
    accessPolicies: []
  }
}

resource secret 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = {
  parent: vault
  name: 'code'
  properties: { value: code }
}

resource inline 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = {
  parent: vault
  name: 'inline'
  properties: { value: 's3cret-that-stands-nowhere-inline' }
}

resource policies 'Microsoft.KeyVault/vaults/accessPolicies@2023-07-01' = {
  parent: vault
  name: 'add'
  properties: {
    accessPolicies: [ { tenantId: subscription().tenantId, objectId: reader, permissions: { secrets: [ 'get' ] } } ]
  }
}
"""


def deploy_json(folder: Path, name: str, reader: App) -> list[str]:
    file = folder / "main.json"
    file.write_text(json.dumps(template(name, reader)), encoding="utf-8")
    return [str(file)]


def deploy_bicep(folder: Path, name: str, reader: App) -> list[str]:
    file = folder / "main.bicep"
    file.write_text(BICEP, encoding="utf-8")
    return [str(file), "--param", f"name={name}", "--param", f"reader={reader.object_id}"]


@pytest.mark.parametrize("write", [deploy_json, deploy_bicep], ids=["json", "bicep"])
def test_template_makes_a_vault_with_policies_and_secrets(
    server: Server, apps: tuple[App, App], tmp_path: Path, write: Callable[[Path, str, App], list[str]]
) -> None:
    name, reader = f"t{uuid4().hex[:12]}", apps[0]
    parameters = tmp_path / "parameters.json"
    parameters.write_text(json.dumps({"parameters": {"code": {"value": VALUE}}}), encoding="utf-8")
    arguments = [*write(tmp_path, name, reader), "--parameters", str(parameters), "--group", name]

    for _ in range(2):
        said(server, "deploy", *arguments)

    with signed_in("sync", server, reader) as who, who.secrets(server, url_of(server, name)) as client:
        assert (client.get_secret("code").value, client.get_secret("inline").value) == (VALUE, VALUE + "-inline")
        with pytest.raises(HttpResponseError):
            client.set_secret("code", "x")
    versions = json.loads(said(server, "secret", "show", "code", "--vault", name, "--json"))["versions"]
    assert len(versions) == 1
    exported = said(server, "export", "--group", name)
    assert name in exported
    assert VALUE not in exported


# Starts


def test_vaults_and_secrets_are_there_after_a_new_start(start_server: StartServer) -> None:
    """At the same address, with the key in a file that its owner alone may read."""
    ports = fixed_ports()
    server = start_server(*ports)
    vault = make(server, (create_app(server),) * 2)
    server.stop()
    assert_hidden(server)
    key = server.data / "vault.key"
    assert key.stat().st_mode & 0o777 == 0o600

    again = start_server(*ports, data=server.data)
    assert url_of(again, vault.name) == vault.url
    with signed_in("sync", again, vault.reader) as who, who.secrets(again, vault.url) as client:
        assert client.get_secret("code").value == VALUE
    again.stop()
    key.unlink()

    lost = start_server(*ports, data=server.data)
    lost.provoked = ("/secrets/",)
    refused = lost.cli("secret", "show", "code", "--vault", vault.name, "--value")
    assert (refused.returncode, "vault.key is missing" in refused.stderr) == (1, True)
    refused = lost.cli("secret", "set", "new", "x", "--vault", vault.name)
    assert (refused.returncode, "vault.key is missing" in refused.stderr) == (1, True)
    assert not key.exists()
    said(lost, "secret", "delete", "code", "--vault", vault.name)
    said(lost, "secret", "set", "new", "x", "--vault", vault.name)
    assert key.exists()


def test_deleted_vault_listens_no_more_and_nothing_of_it_is_left(server: Server, vault: Vault) -> None:
    said(server, "vault", "delete", vault.name)

    with pytest.raises(ConnectionRefusedError):
        ask(server, vault, "/secrets/code")
    said(server, "vault", "create", vault.name)
    assert said(server, "secret", "list", "--vault", vault.name) == ""
