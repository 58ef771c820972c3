"""`hubwire app`, against a stand-in on a control socket, and against the store of a folder without a server."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Run
from cli.standin import StandIn
from hubwire.app import offline_directory
from hubwire.model.directory import Application
from hubwire.resources.directory import Directory
from hubwire.settings import Settings

ID, OBJECT = "0b0e2f2c-9ad5-4a6b-8f5c-7d1c3fbb0a11", "5f7e6a0c-1c1b-4c8e-9f55-3f0b1f2d4c22"
APP = {
    "tenantId": "t",
    "name": "orders",
    "clientId": ID,
    "objectId": OBJECT,
    "kind": "application",
    "idUris": ["api://orders", "https://orders.example.com"],
    "secrets": [{"id": "s1", "hint": "hws~abc…", "expires": "2027-01-01T00:00:00Z"}],
    "certificates": [],
}
ROLE = {"role": "Web PubSub Service Owner", "principalId": OBJECT, "tenant": "t", "scope": "/subscriptions/s"}
PATH = f"/control/apps/{ID}"
NO = {"code": "Error.NotFound", "message": "There is no\nsuch application.", "target": "app"}


# Making one


def test_create_sends_what_is_named_and_prints_the_secret(run: Run, server: StandIn) -> None:
    server.on("POST", "/control/apps", 201, {**APP, "clientSecret": "hws~secret"})

    result = run("app", "create", "orders", "--id-uri", "api://orders", "--id-uri", "https://o", "--token-version", "1")

    assert result.exit_code == 0
    assert server.asked[0].document() == {
        "name": "orders",
        "idUris": ["api://orders", "https://o"],
        "managedIdentity": False,
        "secret": True,
        "tokenVersion": 1,
    }
    assert result.stdout.splitlines() == [
        "tenant id      t",
        "name           orders",
        f"client id      {ID}",
        f"object id      {OBJECT}",
        "kind           application",
        "App ID URIs    api://orders, https://orders.example.com",
        "secrets        s1  hws~abc…  until 2027-01-01T00:00:00Z",
        "certificates   -",
        "client secret  hws~secret",
    ]
    assert "the client secret is not shown again" in result.stderr
    assert f" app assign {ID} --role owner" in result.stderr


def test_create_as_json_is_the_servers_document(run: Run, server: StandIn) -> None:
    """For programs, which read the secret from it."""
    made = {**APP, "clientSecret": "hws~secret"}
    server.on("POST", "/control/apps", 201, made)

    assert json.loads(run("app", "create", "--json").stdout) == made


@pytest.mark.parametrize("arguments", [["orders"], ["--name", "orders"]])
def test_create_takes_the_name_in_either_place(run: Run, server: StandIn, arguments: list[str]) -> None:
    server.on("POST", "/control/apps", 201, APP)

    assert run("app", "create", *arguments).exit_code == 0
    assert server.asked[0].document() == {"name": "orders", "idUris": [], "managedIdentity": False, "secret": True}


def test_create_asks_for_a_managed_identity_and_for_no_secret(run: Run, server: StandIn) -> None:
    server.on("POST", "/control/apps", 201, APP)

    assert run("app", "create", "--managed-identity", "--no-secret").exit_code == 0
    assert server.asked[0].document() == {"name": "", "idUris": [], "managedIdentity": True, "secret": False}


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "orders", "--name", "bills"],
        ["create", "--token-version", "3"],
        ["show", " "],
        ["delete", ""],
        ["secret", "orders", "--days", "0"],
        ["secret", "orders", "--days", "x"],
        ["certificate", "orders"],
        ["certificate", "orders", "client.pem", "--remove", "AB"],
        ["federated", "orders"],
        ["federated", "orders", "--issuer", "https://issuer"],
        ["federated", "orders", "--subject", "subject"],
        ["assign", "--role", "owner"],
        ["assign", "orders", "--principal", OBJECT, "--role", "owner"],
        ["assign", "orders"],
        ["nothing"],
    ],
    ids=" ".join,
)
def test_command_line_that_cannot_be_meant_asks_nothing(run: Run, server: StandIn, arguments: list[str]) -> None:
    """One line, and the exit code of such mistakes."""
    result = run("app", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("hubwire: ")
    assert result.stderr.count("\n") == 1
    assert server.asked == []


# Showing them


def test_list_shows_a_line_for_each(run: Run, server: StandIn) -> None:
    machine = {**APP, "name": "m", "clientId": "2", "kind": "systemAssigned", "idUris": []}
    server.on("GET", "/control/apps", 200, {"value": [machine, APP]})

    assert run("app", "list").stdout.splitlines() == [
        "m       2  systemAssigned",
        f"orders  {ID}  application  api://orders, https://orders.example.com",
    ]
    assert json.loads(run("app", "list", "--json").stdout) == [machine, APP]


def test_list_without_any_prints_nothing(run: Run, server: StandIn) -> None:
    server.on("GET", "/control/apps", 200, {"value": []})

    assert (run("app", "list").output, run("app", "list", "--json").stdout) == ("", "[]\n")


def test_show_has_a_line_for_each_value_and_the_roles(run: Run, server: StandIn) -> None:
    server.on("GET", PATH, 200, {**APP, "roles": [ROLE, {**ROLE, "role": "Web PubSub Service Reader"}]})

    lines = run("app", "show", ID).stdout.splitlines()

    assert lines[-2:] == [
        "roles         Web PubSub Service Owner at /subscriptions/s",
        "              Web PubSub Service Reader at /subscriptions/s",
    ]
    assert "secrets       s1  hws~abc…  until 2027-01-01T00:00:00Z" in lines


def test_name_of_an_application_is_one_encoded_segment(run: Run, server: StandIn) -> None:
    """An App ID URI is a name as well."""
    server.on("GET", "/control/apps/api%3A%2F%2Forders%2Fv%201", 200, APP)

    assert run("app", "show", "api://orders/v 1", "--json").exit_code == 0


def test_what_others_named_moves_no_cursor(run: Run, server: StandIn) -> None:
    server.on("GET", "/control/apps", 200, {"value": [{**APP, "name": "a\x1b[2Jb", "idUris": ["api://\x07"]}]})

    assert run("app", "list").stdout == f"a\\x1b[2Jb  {ID}  application  api://\\x07\n"


# Credentials


def test_secret_is_added_and_printed(run: Run, server: StandIn) -> None:
    added = {"tenantId": "t", "clientId": ID, "secretId": "s2", "clientSecret": "hws~new", "expires": "2026-12-31"}
    server.on("POST", f"{PATH}/:addSecret", 201, added)

    result = run("app", "secret", ID, "--days", "30")

    assert server.asked[0].document() == {"days": 30}
    assert result.stdout.splitlines() == [
        "tenant id      t",
        f"client id      {ID}",
        "secret id      s2",
        "client secret  hws~new",
        "expires        2026-12-31",
    ]
    assert json.loads(run("app", "secret", ID, "--json").stdout) == added
    assert server.asked[1].document() == {"days": 365}


@pytest.mark.parametrize("command", ["secret", "certificate", "federated"])
def test_credential_is_removed_by_its_name(run: Run, server: StandIn, command: str) -> None:
    """And what is left is shown."""
    server.on("POST", f"{PATH}/:removeCredential", 200, {**APP, "secrets": []})

    result = run("app", command, ID, "--remove", "name")

    assert server.asked[0].document() == {"credential": "name"}
    assert "secrets       -" in result.stdout.splitlines()


PRIVATE = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
FIRST = "-----BEGIN CERTIFICATE-----\nZmlyc3Q=\n-----END CERTIFICATE-----\n"
NONE = "there is no certificate in client.pem; it must be a PEM file"
SECOND = "-----BEGIN CERTIFICATE-----\nc2Vjb25k\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    "content",
    [
        PRIVATE + FIRST + SECOND,
        FIRST + SECOND + PRIVATE,
        f"Bag Attributes\n{FIRST}more words\n{PRIVATE}{SECOND}",
        (FIRST + PRIVATE + SECOND).replace("\n", "\r\n"),
        FIRST + PRIVATE.replace("PRIVATE", "RSA PRIVATE") + SECOND,
        f"friendlyName: Zoë\n{FIRST}{PRIVATE}{SECOND}",
    ],
    ids=["key first", "key last", "with words", "line ends of Windows", "older key", "other letters"],
)
def test_certificates_of_a_file_are_sent_and_its_private_key_is_not(run: Run, server: StandIn, content: str) -> None:
    """Wherever it stands in the file."""
    Path("client.pem").write_bytes(content.encode())
    server.on("POST", f"{PATH}/:addCertificate", 200, APP)

    assert run("app", "certificate", ID, "client.pem").exit_code == 0

    (asked,) = server.asked
    sent: Any = asked.document()
    assert set(sent) == {"pem"}
    assert sent["pem"].split() == (FIRST + SECOND).split()
    assert b"PRIVATE" not in asked.body
    assert b"c2VjcmV0" not in asked.body


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x30\x82\x03\xff\x00", NONE),
        (PRIVATE.encode(), NONE),
        (b"", NONE),
        (FIRST.partition("-----END")[0].encode() + PRIVATE.encode(), NONE),
        (FIRST.partition("-----END")[0].encode() + PRIVATE.encode() + b"-----END CERTIFICATE-----", NONE),
        (None, "client.pem: No such file or directory"),
    ],
    ids=["DER", "a key alone", "empty", "cut short", "cut out", "missing"],
)
def test_file_without_a_certificate_is_told_and_nothing_is_sent(
    run: Run, server: StandIn, content: bytes | None, said: str
) -> None:
    if content is not None:
        Path("client.pem").write_bytes(content)

    result = run("app", "certificate", ID, "client.pem")

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"hubwire: {said}\n")
    assert server.asked == []


def test_federated_credential_is_added(run: Run, server: StandIn) -> None:
    known = {"issuer": "https://issuer", "subject": "system:sa:x", "audience": "api://AzureADTokenExchange"}
    server.on("POST", f"{PATH}/:addFederated", 200, {**APP, "federated": [known]})

    result = run("app", "federated", ID, "--issuer", "https://issuer", "--subject", "system:sa:x")

    assert server.asked[0].document() == known
    assert result.stdout.splitlines()[-1] == "federated     https://issuer  system:sa:x  api://AzureADTokenExchange"


# Roles and keys


def test_all_roles_are_listed_whoever_has_them(run: Run, server: StandIn) -> None:
    server.on("GET", "/control/assignments", 200, {"value": [ROLE]})

    assert run("app", "roles").stdout == f"{OBJECT}  t  Web PubSub Service Owner  /subscriptions/s\n"
    assert json.loads(run("app", "roles", "--json").stdout) == [ROLE]


def test_role_is_assigned_to_an_application(run: Run, server: StandIn) -> None:
    server.on("POST", "/control/assignments", 200, ROLE)

    result = run("app", "assign", "orders", "--role", "owner")

    assert server.asked[0].document() == {"app": "orders", "role": "owner"}
    assert result.stdout.splitlines() == [
        "role       Web PubSub Service Owner",
        f"principal  {OBJECT}",
        "tenant     t",
        "scope      /subscriptions/s",
    ]


def test_role_is_assigned_to_a_principal_of_another_tenant(run: Run, server: StandIn) -> None:
    server.on("POST", "/control/assignments", 200, ROLE)
    whose = ["--principal", OBJECT, "--tenant", "t"]

    result = run("app", "assign", *whose, "--role", "reader", "--scope", "/subscriptions/s", "--json")

    assert json.loads(result.stdout) == ROLE
    assert server.asked[0].document() == {
        "principalId": OBJECT,
        "tenant": "t",
        "role": "reader",
        "scope": "/subscriptions/s",
    }


def test_role_is_taken_away_in_silence(run: Run, server: StandIn) -> None:
    server.on("POST", "/control/assignments/:remove", 204)

    result = run("app", "assign", "orders", "--role", "owner", "--remove")

    assert (result.exit_code, result.output) == (0, "")
    assert server.asked[0].document() == {"app": "orders", "role": "owner"}


def test_delete_says_nothing_when_done(run: Run, server: StandIn) -> None:
    server.on("DELETE", PATH, 204)

    assert (run("app", "delete", ID).exit_code, run("app", "delete", ID).output) == (0, "")


def test_rotation_shows_the_names_of_the_keys(run: Run, server: StandIn) -> None:
    document = {"keys": [{"kid": "k1", "state": "signs"}, {"kid": "k2", "state": "next"}]}
    server.on("POST", "/control/tokenKeys/:rotate", 200, document)

    assert run("app", "rotate-keys").stdout == "keys  k1  signs\n      k2  next\n"
    assert json.loads(run("app", "rotate-keys", "--json").stdout) == document
    run("app", "rotate-keys", "--revoke")
    assert [json.loads(asked.body) for asked in server.asked] == [{"revoke": False}] * 2 + [{"revoke": True}]


# Failures

CALLS = [
    (["create", "x"], "POST", "/control/apps"),
    (["list"], "GET", "/control/apps"),
    (["show", ID], "GET", PATH),
    (["delete", ID], "DELETE", PATH),
    (["secret", ID], "POST", f"{PATH}/:addSecret"),
    (["secret", ID, "--remove", "s"], "POST", f"{PATH}/:removeCredential"),
    (["certificate", ID, "client.pem"], "POST", f"{PATH}/:addCertificate"),
    (["federated", ID, "--issuer", "i", "--subject", "s"], "POST", f"{PATH}/:addFederated"),
    (["assign", ID, "--role", "owner"], "POST", "/control/assignments"),
    (["assign", ID, "--role", "owner", "--remove"], "POST", "/control/assignments/:remove"),
    (["rotate-keys"], "POST", "/control/tokenKeys/:rotate"),
]


@pytest.fixture
def _certificate() -> None:
    Path("client.pem").write_text(FIRST)


@pytest.mark.usefixtures("_certificate")
@pytest.mark.parametrize(("arguments", "method", "path"), CALLS, ids=[" ".join(call[0]) for call in CALLS])
def test_refusal_of_the_server_is_one_line_and_exit_code_1(
    run: Run, server: StandIn, arguments: list[str], method: str, path: str
) -> None:
    server.on(method, path, 404, NO)

    result = run("app", *arguments)

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "hubwire: There is no such application.\n")
    assert [(asked.method, asked.path) for asked in server.asked] == [(method, path)]


@pytest.mark.usefixtures("_certificate")
@pytest.mark.parametrize("arguments", [call[0] for call in CALLS], ids=" ".join)
def test_without_a_server_and_a_store_each_command_says_how_to_start_one(run: Run, arguments: list[str]) -> None:
    result = run("app", *arguments, "--data", "no such folder")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "hubwire serve --data 'no such folder'" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("no such folder").exists()


# Without a server


@pytest.fixture
def stored() -> list[Application]:
    """What is in the folder `data`, in which a server has been before."""

    async def make(directory: Directory) -> list[Application]:
        await directory.create("orders", 0, id_uris=["api://orders"])
        for _ in range(2):
            await directory.create("twice", 0)
        return list(directory.applications())

    return offline_directory(Settings(), make)


def test_stored_applications_are_listed_without_a_server(run: Run, stored: list[Application]) -> None:
    listed = json.loads(run("app", "list", "--json").stdout)

    assert [app["name"] for app in listed] == [
        "hubwire-development",
        "hubwire-machine",
        "orders",
        "twice",
        "twice",
    ]
    assert [app["clientId"] for app in listed] == [app.app_id for app in stored]
    lines = run("app", "list").stdout.splitlines()
    assert lines[2] == f"orders               {stored[2].app_id}  application  api://orders"


@pytest.mark.parametrize("by", ["orders", "api://orders", "client id", "object id", "CLIENT ID"])
def test_stored_application_is_shown_without_a_server(run: Run, stored: list[Application], by: str) -> None:
    """By whatever a server would know it by."""
    orders = stored[2]
    names = {"client id": orders.app_id, "object id": orders.object_id, "CLIENT ID": orders.app_id.upper()}
    shown = json.loads(run("app", "show", names.get(by, by), "--json").stdout)

    assert (shown["name"], shown["clientId"], shown["objectId"]) == ("orders", orders.app_id, orders.object_id)
    assert shown["idUris"] == ["api://orders"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "There is no such application."),
        ("twice", "Several applications have this name; use a client id: "),
    ],
)
def test_stored_application_that_is_not_there_or_not_the_only_one_is_told(
    run: Run, stored: list[Application], name: str, said: str
) -> None:
    """In the words of a server."""
    result = run("app", "show", name)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"hubwire: {said}")
    assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("stored", "_certificate")
@pytest.mark.parametrize("arguments", [call[0] for call in CALLS if call[0][0] not in ("list", "show")], ids=" ".join)
def test_nothing_is_changed_without_a_server(run: Run, arguments: list[str]) -> None:
    before = run("app", "list").stdout
    result = run("app", *arguments)

    assert result.exit_code == 1
    assert "hubwire serve" in result.stderr
    assert run("app", "list").stdout == before != ""
