"""`hubwire identity`, against a stand-in on a control socket."""

import json

import pytest

from cli.conftest import Run
from cli.standin import Asked, StandIn

USERS = "/control/communication/default/identities"
ALICE = {
    "id": "8:acs:2dee53b4-1111-4222-8333-8493fb117652_01a2219a-723b-75b0-b5b3-1790ebe6de9c",
    "customId": "alice@example.com",
    "lastTokenIssuedAt": "2026-11-28T10:01:46.3246920+00:00",
}
ONE = f"{USERS}/{ALICE['id'].replace(':', '%3A')}"
TOKEN = {"token": "ey.j.x", "expiresOn": "2026-11-29T10:01:46.3246920+00:00"}
ABSENT = {"code": "Error.NotFound", "message": "There is\nno such user.", "target": "id"}


def test_create_asks_for_no_token_that_nobody_named_a_scope_of(run: Run, server: StandIn) -> None:
    server.on("POST", USERS, 201, {"identity": {"id": ALICE["id"]}})

    result = run("identity", "create")

    assert result.exit_code == 0
    assert server.asked[0].document() == {}
    assert result.output.splitlines() == [f"id          {ALICE['id']}", "custom id   -", "last token  -"]


def test_create_shows_the_identity_and_its_token(run: Run, server: StandIn) -> None:
    server.on("POST", "/control/communication/acs%20demo/identities", 201, {"identity": ALICE, "accessToken": TOKEN})
    arguments = ("identity", "create", "--custom-id", "a b", "--scope", "chat", "--scope", "voip.join")

    result = run(*arguments, "--minutes", "60", "--service", "acs demo")

    assert server.asked[0].document() == {
        "customId": "a b",
        "createTokenWithScopes": ["chat", "voip.join"],
        "expiresInMinutes": 60,
    }
    assert result.output.splitlines() == [
        f"id          {ALICE['id']}",
        "custom id   alice@example.com",
        "last token  2026-11-28 10:01:46 UTC",
        "token       ey.j.x",
        "good until  2026-11-29 10:01:46 UTC",
    ]
    as_json = run(*arguments, "--service", "acs demo", "--json")
    assert json.loads(as_json.stdout) == {"identity": ALICE, "accessToken": TOKEN}


def test_show_shows_one(run: Run, server: StandIn) -> None:
    server.on("GET", ONE, 200, {**ALICE, "customId": "a\x1b[2Jb"})

    assert run("identity", "show", ALICE["id"]).output.splitlines() == [
        f"id          {ALICE['id']}",
        "custom id   a\\x1b[2Jb",
        "last token  2026-11-28 10:01:46 UTC",
    ]
    assert json.loads(run("identity", "show", ALICE["id"], "--json").stdout) == {**ALICE, "customId": "a\x1b[2Jb"}


def test_token_is_printed_and_nothing_else(run: Run, server: StandIn) -> None:
    """It is made to stand inside $( )."""
    server.on("POST", f"{ONE}/:issueAccessToken", 200, TOKEN)

    result = run("identity", "token", ALICE["id"], "--scope", "chat", "--minutes", "90")

    assert (result.exit_code, result.output) == (0, "ey.j.x\n")
    assert server.asked[0].document() == {"scopes": ["chat"], "expiresInMinutes": 90}
    assert json.loads(run("identity", "token", ALICE["id"], "--scope", "chat", "--json").stdout) == TOKEN


@pytest.mark.parametrize(
    ("command", "method", "path"), [("revoke", "POST", f"{ONE}/:revokeAccessTokens"), ("delete", "DELETE", ONE)]
)
def test_what_is_done_is_done_in_silence(run: Run, server: StandIn, command: str, method: str, path: str) -> None:
    server.on(method, path, 204)

    result = run("identity", command, ALICE["id"])

    assert (result.exit_code, result.output) == (0, "")
    assert [(asked.method, asked.path) for asked in server.asked] == [(method, path)]
    assert json.loads(run("identity", command, ALICE["id"], "--json").stdout) == {"id": ALICE["id"]}


def test_list_shows_a_line_for_each(run: Run, server: StandIn) -> None:
    plain = {"id": ALICE["id"].replace("9c", "9d")}
    server.on("GET", USERS, 200, {"value": [ALICE, plain]})

    assert run("identity", "list").output.splitlines() == [
        f"{ALICE['id']}  2026-11-28 10:01:46 UTC  alice@example.com",
        f"{plain['id']}  -",
    ]
    assert json.loads(run("identity", "list", "--json").stdout) == [ALICE, plain]


@pytest.mark.parametrize(
    ("arguments", "sizes", "shown"),
    [([], [100], 100), (["--limit", "1500"], [1000, 500], 1500), (["--all"], [1000] * 3, 2100)],
    ids=str,
)
def test_list_goes_on_as_far_as_it_is_asked_to(
    run: Run, server: StandIn, arguments: list[str], sizes: list[int], shown: int
) -> None:
    """Page by page, and says so where it stops before the end."""

    async def page(asked: Asked) -> object:
        query = dict(part.split("=") for part in asked.path.partition("?")[2].split("&"))
        first, limit = int(query.get("after", "0")), int(query["limit"])
        users = [{"id": str(number + 1)} for number in range(first, min(first + limit, 2100))]
        return {"value": users, **({"after": users[-1]["id"]} if len(users) == limit else {})}

    server.on_call("GET", USERS, page)

    result = run("identity", "list", *arguments)

    assert [asked.path.partition("limit=")[2].partition("&")[0] for asked in server.asked] == [*map(str, sizes)]
    assert [line.split()[0] for line in result.stdout.splitlines()] == [str(number + 1) for number in range(shown)]
    assert ("--all" in result.stderr) == (shown < 2100)


def test_list_without_any_prints_nothing(run: Run, server: StandIn) -> None:
    server.on("GET", USERS, 200, {"value": []})

    assert (run("identity", "list").output, run("identity", "list", "--json").stdout) == ("", "[]\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "--scope", "Chat"],
        ["create", "--scope", "chat", "--minutes", "59"],
        ["create", "--minutes", "60"],
        ["create", "--service", ""],
        ["show"],
        ["show", " "],
        ["token", ALICE["id"]],
        ["token", ALICE["id"], "--scope", "chat", "--minutes", "1441"],
        ["list", "--limit", "0"],
        ["import"],
    ],
    ids=str,
)
def test_command_line_that_cannot_be_meant_asks_nothing(run: Run, server: StandIn, arguments: list[str]) -> None:
    """One line, and the exit code of such mistakes."""
    result = run("identity", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("hubwire: ")
    assert result.stderr.count("\n") == 1
    assert server.asked == []


CALLS = [
    (["create"], "POST", USERS),
    (["list"], "GET", USERS),
    (["show", ALICE["id"]], "GET", ONE),
    (["token", ALICE["id"], "--scope", "chat"], "POST", f"{ONE}/:issueAccessToken"),
    (["revoke", ALICE["id"]], "POST", f"{ONE}/:revokeAccessTokens"),
    (["delete", ALICE["id"]], "DELETE", ONE),
    (["export"], "GET", f"{USERS}/:export"),
]
NAMES = [call[0][0] for call in CALLS]


@pytest.mark.parametrize(("arguments", "method", "path"), CALLS, ids=NAMES)
def test_refusal_of_the_server_is_one_line_and_exit_code_1(
    run: Run, server: StandIn, arguments: list[str], method: str, path: str
) -> None:
    server.on(method, path, 404, ABSENT)

    result = run("identity", *arguments)

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "hubwire: There is no such user.\n")


@pytest.mark.parametrize("arguments", [call[0] for call in CALLS], ids=NAMES)
def test_without_a_server_each_command_says_how_to_start_one(run: Run, arguments: list[str]) -> None:
    result = run("identity", *arguments, "--data", "no such folder")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "hubwire serve --data 'no such folder'" in result.stderr
    assert result.stderr.count("\n") == 1
