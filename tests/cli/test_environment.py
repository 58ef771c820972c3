"""`hubwire env`: lines for a shell, and a word on what is missing."""

import shlex
from pathlib import Path

import pytest

from cli.conftest import Run
from cli.standin import StandIn
from hubwire.cli.ca import exports

IDENTITY = {"IDENTITY_ENDPOINT": "http://localhost:8080/msi/token", "IDENTITY_HEADER": "a$b 'c'"}
SECURE = {"httpsEndpoint": "https://localhost:8443", "caCertificate": "/srv/da ta/ca.pem", "clientSecret": "secret"}


def told(server: StandIn, status: dict[str, str], variables: dict[str, str]) -> None:
    server.on("GET", "/control/status", 200, status)
    server.on("GET", "/control/environment", 200, {"variables": variables})


def test_lines_name_whom_to_trust_and_where_tokens_are(run: Run, server: StandIn) -> None:
    """Whatever is in them, a shell takes it as it is; nothing else stands there."""
    told(server, SECURE, IDENTITY)

    result = run("env")

    assert (result.exit_code, result.stderr) == (0, "")
    assert [shlex.split(line) for line in result.stdout.splitlines()] == [
        *(shlex.split(line) for line in exports(Path("/srv/da ta/ca.pem"))),
        ["export", f"IDENTITY_ENDPOINT={IDENTITY['IDENTITY_ENDPOINT']}"],
        ["export", f"IDENTITY_HEADER={IDENTITY['IDENTITY_HEADER']}"],
    ]
    assert "secret" not in result.stdout


def test_server_without_https_is_told_on_standard_error(run: Run, server: StandIn) -> None:
    """So that a shell which evaluates the output gets lines alone."""
    told(server, {}, IDENTITY)

    result = run("env")

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == ("hubwire: this server does not listen on HTTPS, which token credentials demand\n")


def test_server_with_a_certificate_of_somebody_else_needs_no_trust_of_ours(run: Run, server: StandIn) -> None:
    told(server, {"httpsEndpoint": "https://chat.example.org"}, IDENTITY)

    result = run("env")

    assert (len(result.stdout.splitlines()), result.stderr) == (2, "")


def test_server_without_the_endpoint_is_told_on_standard_error(run: Run, server: StandIn) -> None:
    told(server, SECURE, {})

    result = run("env")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == exports(Path("/srv/da ta/ca.pem"))
    assert result.stderr.startswith("hubwire: the setting managed_identity is off")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("path", ["/control/status", "/control/environment"])
def test_refusal_of_the_server_prints_no_line_for_the_shell(run: Run, server: StandIn, path: str) -> None:
    """Half of them would be worse than none."""
    told(server, SECURE, IDENTITY)
    server.on("GET", path, 500, {"code": "Error.InternalServerError", "message": "it\nfailed"})

    result = run("env")

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "hubwire: it failed\n")


def test_without_a_server_it_says_how_to_start_one(run: Run) -> None:
    result = run("env", "--data", "no such folder")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "hubwire serve --data 'no such folder'" in result.stderr
    assert result.stderr.count("\n") == 1
