"""`hubwire vault`, against a stand-in on a control socket."""

import json
from typing import Any

import pytest

from cli.conftest import Run
from cli.standin import StandIn

SUBSCRIPTION = "/subscriptions/9a3d108d-153b-486b-ac7c-16d420807f2e"
VAULTS = "/providers/Microsoft.KeyVault/vaults"
RESOURCES = "/providers/Microsoft.SignalRService/webPubSub"
HOME = f"{SUBSCRIPTION}/resourceGroups/hubwire{VAULTS}"
TENANT = "11111111-aaaa-4000-8000-000000000001"
SOMEBODY = "66666666-aaaa-4000-8000-000000000006"


def vault(name: str = "Vault-One", group: str = "hubwire", **properties: Any) -> dict[str, Any]:
    """As the resource manager shows one."""
    given = {"tenantId": TENANT, "accessPolicies": [], "vaultUri": f"https://127.0.0.1:9443/{name}", **properties}
    where = f"{SUBSCRIPTION}/resourceGroups/{group}{VAULTS}/{name}"
    return {"id": where, "name": name, "location": "local", "tags": {}, "properties": given}


def policy(*words: str, tenant: str = TENANT) -> dict[str, Any]:
    return {"tenantId": tenant, "objectId": SOMEBODY, "permissions": {"secrets": list(words)}}


@pytest.fixture
def manager(server: StandIn) -> StandIn:
    """A server with two vaults and three resources."""
    server.on("GET", "/control/status", 200, {"subscriptionId": SUBSCRIPTION.rpartition("/")[2]})
    server.on("GET", SUBSCRIPTION + VAULTS, 200, {"value": [vault(), vault("other", "g h")]})
    server.on("GET", HOME, 200, {"value": [vault()]})
    assigned = {"userAssignedIdentities": {"/robot": {"principalId": "robots-id"}}}
    chat = {"name": "Chat", "identity": {"type": "SystemAssigned", "principalId": "chats-id"}}
    server.on(
        "GET",
        SUBSCRIPTION + RESOURCES,
        200,
        {"value": [chat, {"name": "bare"}, {"name": "with-robot", "identity": assigned}]},
    )
    server.on("PUT", f"{HOME}/Vault-One/accessPolicies/add", 200, {})
    server.on("PUT", f"{HOME}/Vault-One/accessPolicies/remove", 200, {})
    return server


def sent(server: StandIn, method: str) -> list[tuple[str, Any]]:
    """Paths and bodies of the requests of a method."""
    return [
        (asked.path.partition("?")[0], asked.document() if asked.body else None)
        for asked in server.asked
        if asked.method == method
    ]


def test_vault_is_made_with_what_it_was_given(run: Run, manager: StandIn) -> None:
    manager.on("PUT", f"{SUBSCRIPTION}/resourceGroups/g%20h{VAULTS}/new", 201, vault("new"), ["it does little"])

    done = run("vault", "create", "new", "--group", "g h", "--location", "eastus", "--tag", "a=b")

    ((_, body),) = sent(manager, "PUT")
    sku = {"family": "A", "name": "standard"}
    assert body == {
        "location": "eastus",
        "tags": {"a": "b"},
        "properties": {"sku": sku, "enableRbacAuthorization": False},
    }
    assert done.exit_code == 0
    assert "https://127.0.0.1:9443/new" in done.stdout
    assert done.stderr.splitlines() == [
        "hubwire: it does little",
        "hubwire: to let somebody in: hubwire vault grant new PRINCIPAL",
    ]


def test_vault_may_go_by_roles(run: Run, manager: StandIn) -> None:
    manager.on("PUT", f"{HOME}/new", 201, vault("new", enableRbacAuthorization=True))

    done = run("vault", "create", "new", "--roles")

    ((_, body),) = sent(manager, "PUT")
    assert body["properties"]["enableRbacAuthorization"] is True
    assert "grant" not in done.stderr
    assert "decided by   roles" in done.stdout


def test_vault_that_is_there_is_not_replaced(run: Run, manager: StandIn) -> None:
    """That would take away who may read it."""
    done = run("vault", "create", "VAULT-one")

    assert (done.exit_code, sent(manager, "PUT")) == (1, [])
    assert "there is a vault VAULT-one already" in done.stderr


def test_vaults_are_listed_in_columns_or_as_json(run: Run, manager: StandIn) -> None:
    assert run("vault", "list").stdout.splitlines() == [
        "Vault-One  https://127.0.0.1:9443/Vault-One  hubwire",
        "other      https://127.0.0.1:9443/other  g h",
    ]
    assert json.loads(run("vault", "list", "--group", "hubwire", "--json").stdout) == [vault()]
    manager.on("GET", SUBSCRIPTION + VAULTS, 200, {"value": []})
    assert run("vault", "list").stdout == ""


def test_vault_is_shown_with_who_may_do_what(run: Run, manager: StandIn) -> None:
    policies = [policy("get", "list"), policy(tenant="theirs")]
    manager.on("GET", SUBSCRIPTION + VAULTS, 200, {"value": [vault(accessPolicies=policies)]})
    manager.on("GET", "/control/apps", 200, {"value": []})

    lines = run("vault", "show", "vault-ONE").stdout.splitlines()

    assert [line.split("  ", 1)[0] for line in lines] == [
        *("name", "url", "location", "tags", "decided by", "resource id"),
        f"policy of {SOMEBODY}",
        f"policy of {SOMEBODY} of theirs",
    ]
    assert lines[-2].endswith("get, list")
    assert lines[-1].endswith("-")
    assert json.loads(run("vault", "show", "vault-one", "--json").stdout) == vault(accessPolicies=policies)


def test_policy_is_shown_with_the_name_of_whom_it_is_for(run: Run, manager: StandIn) -> None:
    """A resource by its own identity, an application or an identity by its own name; strangers have none."""
    policies = [
        {"tenantId": tenant, "objectId": who, "permissions": {"secrets": ["get"]}}
        for tenant, who in (
            (TENANT, "chats-id"),
            (TENANT, "APPS-ID"),
            (TENANT, "robots-id"),
            (TENANT, SOMEBODY),
            ("theirs", "apps-id"),
        )
    ]
    apps = [
        {"objectId": "apps-id", "name": "my app", "kind": "application"},
        {"objectId": "robots-id", "name": "robot", "kind": "userAssigned"},
    ]
    manager.on("GET", SUBSCRIPTION + VAULTS, 200, {"value": [vault(accessPolicies=policies)]})
    manager.on("GET", "/control/apps", 200, {"value": apps})

    lines = run("vault", "show", "vault-one").stdout.splitlines()

    assert [line.split("  ", 1)[0] for line in lines[-5:]] == [
        "policy of chats-id (resource Chat)",
        "policy of APPS-ID (application my app)",
        "policy of robots-id (managed identity robot)",
        f"policy of {SOMEBODY}",
        "policy of apps-id of theirs",
    ]


def test_vault_is_deleted_where_it_is(run: Run, manager: StandIn) -> None:
    manager.on("DELETE", f"{SUBSCRIPTION}/resourceGroups/g%20h{VAULTS}/other", 200)

    assert run("vault", "delete", "OTHER").exit_code == 0
    assert len(sent(manager, "DELETE")) == 1


@pytest.mark.parametrize("command", [["show"], ["delete"], ["grant", "x"], ["revoke", "x"]])
def test_vault_that_is_not_there_is_told_with_those_that_are(run: Run, manager: StandIn, command: list[str]) -> None:
    done = run("vault", command[0], "nothing", *command[1:])

    assert done.exit_code == 1
    assert "there is no vault nothing; there are: Vault-One, other" in done.stderr


# Who may


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["get"]),
        (["--permission", "set", "--permission", "list"], ["set", "list"]),
        (["--permission", "all"], ["all"]),
    ],
)
def test_grant_adds_permissions_of_a_resource(run: Run, manager: StandIn, options: list[str], words: list[str]) -> None:
    """By its name, which stands for the identity that it has."""
    done = run("vault", "grant", "vault-one", "chat", *options)

    assert done.exit_code == 0, done.stderr
    ((path, body),) = sent(manager, "PUT")
    assert path.endswith("/accessPolicies/add")
    expected = {"tenantId": TENANT, "objectId": "chats-id", "permissions": {"secrets": words}}
    assert body == {"properties": {"accessPolicies": [expected]}}


def test_revoke_takes_all_permissions_away_unless_some_are_named(run: Run, manager: StandIn) -> None:
    run("vault", "revoke", "vault-one", "with-robot")
    run("vault", "revoke", "vault-one", "with-robot", "--permission", "list")

    policies = [body["properties"]["accessPolicies"][0] for _, body in sent(manager, "PUT")]
    assert [path.rpartition("/")[2] for path, _ in sent(manager, "PUT")] == ["remove", "remove"]
    assert [found["permissions"]["secrets"] for found in policies] == [["all"], ["list"]]
    assert {found["objectId"] for found in policies} == {"robots-id"}


def test_principal_is_an_application_by_whatever_it_is_called(run: Run, manager: StandIn) -> None:
    manager.on("GET", "/control/apps/my%20app", 200, {"objectId": "apps-id"})

    run("vault", "grant", "vault-one", "my app")

    assert sent(manager, "PUT")[0][1]["properties"]["accessPolicies"][0]["objectId"] == "apps-id"


def test_principal_that_nobody_knows_is_one_by_object_id_only(run: Run, manager: StandIn) -> None:
    missing = {"code": "Error.NotFound", "message": "There is no such application.", "target": "app"}
    for text in (SOMEBODY, "nobody"):
        manager.on("GET", f"/control/apps/{text}", 404, missing)

    assert run("vault", "grant", "vault-one", SOMEBODY).exit_code == 0
    refused = run("vault", "grant", "vault-one", "nobody")
    assert refused.exit_code == 1
    assert "no resource, managed identity or application is called nobody; to list them: " in refused.stderr
    for kind in ("resource", "managed-identity", "app"):
        assert f"hubwire {kind} list" in refused.stderr
    (added,) = sent(manager, "PUT")
    assert added[1]["properties"]["accessPolicies"][0]["objectId"] == SOMEBODY


def test_principal_of_another_tenant_is_taken_by_its_id(run: Run, manager: StandIn) -> None:
    assert run("vault", "grant", "vault-one", SOMEBODY, "--tenant", "theirs").exit_code == 0

    found = sent(manager, "PUT")[0][1]["properties"]["accessPolicies"][0]
    assert (found["tenantId"], found["objectId"]) == ("theirs", SOMEBODY)
    assert not any("/control/apps" in asked.path for asked in manager.asked)


def test_resource_without_an_identity_is_told_how_to_get_one(run: Run, manager: StandIn) -> None:
    done = run("vault", "grant", "vault-one", "bare")

    assert done.exit_code == 1
    assert (
        "the resource bare has no identity; to give it one: hubwire resource set bare --identity system" in done.stderr
    )


def test_vault_that_goes_by_roles_says_so(run: Run, manager: StandIn) -> None:
    manager.on("GET", SUBSCRIPTION + VAULTS, 200, {"value": [vault(enableRbacAuthorization=True)]})

    done = run("vault", "grant", "vault-one", "chat")

    assert done.exit_code == 1
    assert f"hubwire app assign chat --role vault-secrets-user --scope {vault()['id']}" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["grant", "vault-one"],
        ["grant", "vault-one", " "],
        ["grant", "vault-one", "chat", "--permission", "read"],
        ["show", " "],
        ["create", ""],
    ],
)
def test_wrong_command_line_is_refused(run: Run, manager: StandIn, arguments: list[str]) -> None:
    assert run("vault", *arguments).exit_code == 2
    assert sent(manager, "PUT") == []
