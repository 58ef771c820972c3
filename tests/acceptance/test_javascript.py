"""The official JavaScript libraries, and mqtt.js: each file is run by Node's own test runner against the server."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from acceptance.communication import V, call, first_service
from acceptance.directory import (
    SCOPE,
    TEAMS_SCOPES,
    App,
    assign,
    claims_of,
    client_pem,
    create_app,
    create_user,
    minted,
    stored_keys,
    token_of_user,
)
from acceptance.examples import Program
from acceptance.servers import PROGRAM, Server, StartServer
from acceptance.upstreams import configure
from acceptance.wire import JsonClient

FOLDER = Path(__file__).parent / "js"
FILES = sorted(path.name for path in FOLDER.glob("*.test.mjs"))
TIMEOUT_S = 240
EXTENSION = "https://auth.msft.communication.azure.com"


def run(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A command to its end, in the folder of the JavaScript files."""
    assert shutil.which("node") is not None, "Node.js is needed for the acceptance tests"
    assert (FOLDER / "node_modules").is_dir(), "make setup installs the JavaScript libraries"
    return subprocess.run(
        command,
        cwd=FOLDER,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def run_tests(file: str, server: Server, environment: Mapping[str, str]) -> None:
    """Everything passes, and nothing was left out."""
    # The libraries' timers outlive a stopped client; nobody waits for them.
    command = ["node", "--test", "--test-force-exit", "--test-reporter=tap", file]
    result = run(command, {"NODE_EXTRA_CA_CERTS": str(server.ca), **environment})

    assert result.returncode == 0, result.stdout + result.stderr
    counts = {
        name: int(count) for name, count in re.findall(r"^# (pass|fail|skipped|todo) (\d+)$", result.stdout, re.M)
    }
    assert counts.pop("pass") > 0
    assert set(counts.values()) == {0}, result.stdout


def test_there_are_files_to_run() -> None:
    names = [file.removesuffix(".test.mjs") for file in FILES]
    assert names == ["client", "credentials", "group-state", "identity", "invoke", "mqtt", "service", "streams"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "file", ["client.test.mjs", "group-state.test.mjs", "mqtt.test.mjs", "service.test.mjs", "streams.test.mjs"]
)
def test_official_javascript_library(server: Server, file: str, scheme: str) -> None:
    texts = {"http": server.connection_string, "https": server.https_connection_string}
    run_tests(file, server, {"HUBWIRE_CONNECTION_STRING": texts[scheme]})


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_invocations_of_the_official_javascript_library(server: Server, tmp_path: Path, hub: str, scheme: str) -> None:
    texts = {"http": server.connection_string, "https": server.https_connection_string}
    with Program(tmp_path / "handler.txt", ["node", "invoked.mjs", hub], FOLDER, {}) as handler:
        configure(server, hub, {"urlTemplate": handler.url, "userEventPattern": "*"})
        run_tests("invoke.test.mjs", server, {"HUBWIRE_CONNECTION_STRING": texts[scheme], "HUBWIRE_HUB": hub})


def test_official_javascript_identity_library(server: Server, tmp_path: Path) -> None:
    reader, certified, pem = create_app(server), create_app(server, "--no-secret"), client_pem(tmp_path)
    assign(server, reader, "reader")
    assert server.cli("app", "certificate", certified.client_id, str(pem)).returncode == 0
    environment = {
        "HUBWIRE_CONNECTION_STRING": server.https_connection_string,
        "HUBWIRE_READY_FILE": str(server.ready_file),
        "HUBWIRE_READER": json.dumps({"clientId": reader.client_id, "clientSecret": reader.secret}),
        "HUBWIRE_CERTIFIED": json.dumps({"clientId": certified.client_id, "path": str(pem)}),
    }
    run_tests("credentials.test.mjs", server, environment)


def test_official_javascript_library_for_identities_of_users(start_server: StartServer) -> None:
    server = start_server("--user-tokens")
    app, other, alice = create_app(server), create_app(server), create_user(server)
    token, key = token_of_user(server, app, *TEAMS_SCOPES), stored_keys(server)[0].private
    past = {name: claims_of(token)[name] - 86_400 for name in ("iat", "nbf", "exp")}
    teams = {
        "token": token,
        "objectId": alice,
        "clientId": app.client_id,
        "otherClientId": other.client_id,
        "expired": minted(token, key, past),
        "unsigned": minted(token, rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        "weak": token_of_user(server, app, TEAMS_SCOPES[0]),
    }
    environment = {
        "HUBWIRE_READY_FILE": str(server.ready_file),
        "HUBWIRE_TEAMS": json.dumps(teams),
        "HUBWIRE_ENTRA": json.dumps(entra_users(server, app, alice)),
    }
    run_tests("identity.test.mjs", server, environment)


def entra_users(server: Server, app: App, user: str) -> dict[str, dict[str, Any]]:
    """Tokens that a user exchanges by themselves, and for what; the service lets them."""
    service, tenant = first_service(server), server.tenant_id
    assigned = {"principalType": "user", "clientIds": [app.client_id]}
    for path, document in (
        (f"/access/entra/assignments/{user}", {"tenantId": tenant, **assigned}),
        (f"/access/teamsExtension/tenants/{tenant}/assignments/{user}", assigned),
    ):
        assert call(service, "PUT", path + V, document).status == 201
    found: dict[str, dict[str, Any]] = {}
    for what, scope, user_part, scopes in (
        ("a user of Entra", "https://communication.azure.com/clients/Chat", f"wf_{tenant}_{user}", ["chat"]),
        ("a user of a Teams extension", f"{EXTENSION}/TeamsExtension.ManageCalls", f"{tenant}_{user}", ["voip"]),
    ):
        token = token_of_user(server, app, scope)
        found[what] = {"token": token, "scope": scope, "id": user_part, "scopes": scopes}
    return found


# Programs that get their tokens of this machine


def shell(server: Server, *arguments: str) -> Any:
    """What a JavaScript file prints, in a shell that did as the guide says."""
    line = 'eval "$("$0" ${1} env --data "$2")" && shift 2 && exec node "$@"'
    # What is set for us trusts others.
    unset = dict.fromkeys(("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"), "")
    done = run(["bash", "-c", line, sys.executable, " ".join(PROGRAM), str(server.data), *arguments], unset)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_default_credential_needs_the_shell_lines_and_nothing_else(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        url = shell(server, "default-credential.mjs", server.https_endpoint, hub, "from JavaScript")

        assert client.receive()["data"] == "from JavaScript"
    assert url == f"wss://{server.https_endpoint.removeprefix('https://')}/client/hubs/{hub}"


def test_default_credential_makes_users_of_a_communication_service(server: Server) -> None:
    service = first_service(server)

    user = shell(server, "default-identity.mjs", service.endpoint)

    assert user.startswith(f"8:acs:{service.immutable_id}_")


def selectors(app: App) -> str:
    """The identity of the machine, one selected in each of the ways, and one that is not there."""
    return json.dumps(
        [
            {},
            {"clientId": app.client_id},
            {"objectId": app.object_id},
            {"resourceId": app.resource_id},
            {"clientId": str(uuid4())},
        ]
    )


def check_selected(answers: list[str], app: App) -> None:
    machine, *selected, unknown = answers
    assert {claims_of(token)["appid"] for token in selected} == {app.client_id}
    assert claims_of(machine)["xms_mirid"].endswith("/virtualMachines/hubwire-machine")
    assert "Identity not found" in unknown


def test_managed_identities_of_app_service_are_selected_in_each_way(server: Server) -> None:
    app = create_app(server, "--managed-identity")

    check_selected(shell(server, "managed-identity.mjs", SCOPE, selectors(app)), app)


def test_managed_identities_of_a_virtual_machine_are_selected_in_each_way(start_server: StartServer) -> None:
    server = start_server("--set", "managed_identity=imds")
    app = create_app(server, "--managed-identity")
    environment = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": server.endpoint}
    done = run(["node", "managed-identity.mjs", SCOPE, selectors(app)], environment)
    assert done.returncode == 0, done.stderr

    check_selected(json.loads(done.stdout), app)
