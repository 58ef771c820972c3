"""`hubwire secret`, against a stand-in on a control socket."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Run
from cli.standin import StandIn

SECRETS = "/control/vaults/vault-one/secrets"
VERSION = "0123456789abcdef0123456789abcdef"
SHOWN: dict[str, Any] = {
    "name": "code",
    "version": VERSION,
    "attributes": {"enabled": True, "created": 0, "updated": 60, "exp": 1 << 40},
    "contentType": "text/plain",
}


@pytest.fixture
def vault(server: StandIn) -> StandIn:
    """A server with a vault and two secrets."""
    other = {"name": "other", "version": "f" * 32, "attributes": {"enabled": False}}
    server.on("GET", SECRETS, 200, {"value": [SHOWN, other]})
    server.on("GET", f"{SECRETS}/code", 200, {**SHOWN, "versions": [VERSION, "f" * 32]})
    server.on("POST", f"{SECRETS}/code/:value", 200, {**SHOWN, "value": "s3cret"})
    server.on("PUT", f"{SECRETS}/code", 200, SHOWN)
    server.on("DELETE", f"{SECRETS}/code", 204)
    return server


def given(server: StandIn) -> object:
    """The body of the one change."""
    (asked,) = [asked for asked in server.asked if asked.method == "PUT"]
    return asked.document()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["s3cret"], None),
        (["-"], "s3cret"),
        (["-"], "s3cret\n"),
        ([], "s3cret\r\n"),
        ([], b"s3cret"),
        (["--file", "value.txt"], None),
    ],
)
def test_value_comes_from_the_command_line_standard_input_or_a_file(
    run: Run, vault: StandIn, arguments: list[str], said: str | bytes | None
) -> None:
    """Without the line break at its end, and never shown."""
    Path("value.txt").write_text("s3cret\n", encoding="utf-8")

    done = run("secret", "set", "code", "--vault", "vault-one", *arguments, input=said)

    assert (done.exit_code, given(vault)) == (0, {"value": "s3cret"})
    assert "s3cret" not in done.output


def test_value_keeps_all_but_one_line_break(run: Run, vault: StandIn) -> None:
    run("secret", "set", "code", "--vault", "vault-one", "--content-type", "text/plain", input=" a\nb \n\n")

    assert given(vault) == {"value": " a\nb \n", "contentType": "text/plain"}


def test_secret_that_was_set_is_shown(run: Run, vault: StandIn) -> None:
    done = run("secret", "set", "code", "x", "--vault", "vault-one")

    assert done.stdout.splitlines() == [
        "name          code",
        f"version       {VERSION}",
        "content type  text/plain",
        "enabled       yes",
        f"expires       {1 << 40}",
        "created       1970-01-01 00:00:00 UTC",
        "updated       1970-01-01 00:01:00 UTC",
    ]
    assert json.loads(run("secret", "set", "code", "x", "--vault", "vault-one", "--json").stdout) == SHOWN


def test_secrets_are_listed_without_values(run: Run, vault: StandIn) -> None:
    assert run("secret", "list", "--vault", "vault-one").stdout.splitlines() == [
        f"code   {VERSION}",
        f"other  {'f' * 32}  disabled",
    ]
    assert len(json.loads(run("secret", "list", "--vault", "vault-one", "--json").stdout)) == 2


def test_secret_is_shown_with_its_value_only_when_asked_for(run: Run, vault: StandIn) -> None:
    shown = run("secret", "show", "code", "--vault", "vault-one")
    assert f"versions      {VERSION}, {'f' * 32}" in shown.stdout
    assert not any(asked.method == "POST" for asked in vault.asked)

    assert run("secret", "show", "code", "--vault", "vault-one", "--value").stdout == "s3cret\n"
    document = json.loads(run("secret", "show", "code", "--vault", "vault-one", "--value", "--json").stdout)
    assert document["value"] == "s3cret"


def test_secret_is_deleted(run: Run, vault: StandIn) -> None:
    assert run("secret", "delete", "code", "--vault", "vault-one").exit_code == 0
    assert run("secret", "delete", "nothing", "--vault", "vault-one").exit_code == 1


def test_names_are_sent_as_they_are(run: Run, server: StandIn) -> None:
    run("secret", "show", "a/b", "--vault", "../x")

    assert server.asked[0].path == "/control/vaults/..%2Fx/secrets/a%2Fb"


@pytest.mark.parametrize(
    ("arguments", "said", "why"),
    [
        (["set", "code"], "x", "--vault"),
        (["set", "code", "--vault", "vault-one"], "", "there is no value in standard input"),
        (["set", "code", "--vault", "vault-one"], "\n", "there is no value in standard input"),
        (["set", "code", "--vault", "vault-one"], b"\xff", "standard input is not UTF-8 text"),
        (["set", "code", "x", "--vault", "vault-one", "--file", "f"], None, "a VALUE or a --file, not both"),
        (["set", " ", "x", "--vault", "vault-one"], None, "have a name"),
        (["list", "--vault", " "], None, "have a name"),
    ],
)
def test_wrong_command_line_is_refused(
    run: Run, vault: StandIn, arguments: list[str], said: str | bytes | None, why: str
) -> None:
    done = run("secret", *arguments, input=said)

    assert done.exit_code == 2
    assert why in done.stderr
    assert not any(asked.method == "PUT" for asked in vault.asked)


def test_file_that_cannot_be_read_is_named(run: Run, vault: StandIn) -> None:
    done = run("secret", "set", "code", "--vault", "vault-one", "--file", "nothing")

    assert done.exit_code == 1
    assert "cannot read nothing: No such file or directory" in done.stderr
