"""`hubwire user`, against a stand-in on a control socket."""

import json

import pytest

from cli.conftest import Run
from cli.standin import StandIn

ALICE = {"name": "alice@example.com", "objectId": "5f7e6a0c-1c1b-4c8e-9f55-3f0b1f2d4c22", "displayName": "Alice"}
PATH = "/control/users/alice%40example.com"
OFF = {"code": "Error.Conflict", "message": "Users have\nno tokens here.", "target": "user_tokens"}


def test_create_sends_what_is_named_and_shows_the_user(run: Run, server: StandIn) -> None:
    server.on("POST", "/control/users", 201, {"tenantId": "t", **ALICE})

    result = run("user", "create", ALICE["name"], "--object-id", ALICE["objectId"], "--display-name", "Alice")

    assert result.exit_code == 0
    assert server.asked[0].document() == {
        "name": ALICE["name"],
        "displayName": "Alice",
        "password": "",
        "objectId": ALICE["objectId"],
    }
    assert result.stdout.splitlines() == [
        "tenant id     t",
        f"name          {ALICE['name']}",
        f"object id     {ALICE['objectId']}",
        "display name  Alice",
    ]
    assert json.loads(run("user", "create", ALICE["name"], "--json").stdout) == {"tenantId": "t", **ALICE}
    assert server.asked[1].document() == {"name": ALICE["name"], "displayName": "", "password": ""}


@pytest.mark.parametrize("said", ["pass wörd\n", "pass wörd\r\n", "pass wörd", "pass wörd\nmore"])
def test_password_is_the_first_line_of_standard_input(run: Run, server: StandIn, said: str) -> None:
    """It never stands on the command line, where others see it, and is not printed."""
    server.on("POST", "/control/users", 201, ALICE)

    result = run("user", "create", "alice", "--password-stdin", input=said)

    assert server.asked[0].document() == {"name": "alice", "displayName": "", "password": "pass wörd"}
    assert "pass" not in result.output


def test_standard_input_is_read_only_when_asked_for(run: Run, server: StandIn) -> None:
    server.on("POST", "/control/users", 201, ALICE)

    assert run("user", "create", "alice", input="pass").exit_code == 0
    assert server.asked[0].document() == {"name": "alice", "displayName": "", "password": ""}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "alice", "--password-stdin"], ""),
        (["create", "alice", "--password-stdin"], "\n"),
        (["create", "alice", "--password-stdin"], b"\xff\n"),
        (["create"], ""),
        (["delete", " "], ""),
        (["token", "", "--app", "a", "--scope", "s"], ""),
        (["token", "alice", "--app", "a"], ""),
        (["token", "alice", "--scope", "s"], ""),
    ],
    ids=str,
)
def test_command_line_that_cannot_be_meant_asks_nothing(
    run: Run, server: StandIn, arguments: list[str], said: str | bytes
) -> None:
    """One line, and the exit code of such mistakes."""
    result = run("user", *arguments, input=said)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("hubwire: ")
    assert result.stderr.count("\n") == 1
    assert server.asked == []


def test_list_shows_a_line_for_each(run: Run, server: StandIn) -> None:
    bob = {"name": "bob", "objectId": "2", "displayName": "B\x1bob"}
    server.on("GET", "/control/users", 200, {"value": [ALICE, bob]})

    assert run("user", "list").stdout.splitlines() == [
        f"{ALICE['name']}  {ALICE['objectId']}",
        "bob                2",
    ]
    assert json.loads(run("user", "list", "--json").stdout) == [ALICE, bob]


def test_list_without_any_prints_nothing(run: Run, server: StandIn) -> None:
    server.on("GET", "/control/users", 200, {"value": []})

    assert (run("user", "list").output, run("user", "list", "--json").stdout) == ("", "[]\n")


def test_delete_says_nothing_when_done(run: Run, server: StandIn) -> None:
    server.on("DELETE", PATH, 204)

    assert (run("user", "delete", ALICE["name"]).exit_code, run("user", "delete", ALICE["name"]).output) == (0, "")


def test_token_is_printed_and_nothing_else(run: Run, server: StandIn) -> None:
    """It is made to stand inside $( )."""
    server.on("POST", f"{PATH}/:token", 200, {"token": "ey.j.x", "expires": "2026-12-31T00:00:00Z"})

    result = run("user", "token", ALICE["name"], "--app", "orders", "--scope", "api://x/A", "--scope", "api://x/B")

    assert (result.exit_code, result.output) == (0, "ey.j.x\n")
    assert server.asked[0].document() == {"app": "orders", "scope": "api://x/A api://x/B"}
    as_json = run("user", "token", ALICE["name"], "--app", "orders", "--scope", "api://x/A", "--json")
    assert json.loads(as_json.stdout) == {"token": "ey.j.x", "expires": "2026-12-31T00:00:00Z"}


CALLS = [
    (["create", "alice"], "POST", "/control/users"),
    (["list"], "GET", "/control/users"),
    (["delete", ALICE["name"]], "DELETE", PATH),
    (["token", ALICE["name"], "--app", "a", "--scope", "s"], "POST", f"{PATH}/:token"),
]


@pytest.mark.parametrize(("arguments", "method", "path"), CALLS, ids=[call[0][0] for call in CALLS])
def test_refusal_of_the_server_is_one_line_and_exit_code_1(
    run: Run, server: StandIn, arguments: list[str], method: str, path: str
) -> None:
    server.on(method, path, 409, OFF)

    result = run("user", *arguments)

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "hubwire: Users have no tokens here.\n")
    assert [(asked.method, asked.path) for asked in server.asked] == [(method, path)]


@pytest.mark.parametrize("arguments", [call[0] for call in CALLS], ids=[call[0][0] for call in CALLS])
def test_without_a_server_each_command_says_how_to_start_one(run: Run, arguments: list[str]) -> None:
    result = run("user", *arguments, "--data", "no such folder")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "hubwire serve --data 'no such folder'" in result.stderr
    assert result.stderr.count("\n") == 1
