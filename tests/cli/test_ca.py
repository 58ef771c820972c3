"""`hubwire ca`: where the certificate is, how programs learn of it, and how a system comes to trust it."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import Result

from cli.conftest import Run
from hubwire.cli.ca import Place, exports, trust_in
from hubwire.cli.faults import CommandFailed


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "da ta" / "ca.pem"
    path.parent.mkdir()
    path.write_text("certificate")
    return path


def test_path_is_absolute(run: Run, certificate: Path) -> None:
    result: Result = run("ca", "path", "--data", str(certificate.parent))

    assert (result.exit_code, result.stdout) == (0, f"{certificate}\n")


@pytest.mark.parametrize("command", ["path", "env", "trust"])
def test_folder_without_an_authority_is_told(run: Run, tmp_path: Path, command: str) -> None:
    result = run("ca", command, "--data", str(tmp_path / "none"))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"hubwire: there is no {tmp_path}/none/ca.pem: a server with HTTPS makes it")


def test_shell_lines_name_the_certificate_to_python_openssl_and_node(run: Run, certificate: Path) -> None:
    result = run("ca", "env", "--data", str(certificate.parent))
    words = [shlex.split(line) for line in result.stdout.splitlines()]

    bundle = certificate.with_name("ca-bundle.pem")
    assert words == [
        ["export", f"REQUESTS_CA_BUNDLE={bundle}"],
        ["export", f"SSL_CERT_FILE={bundle}"],
        ["export", f"CURL_CA_BUNDLE={bundle}"],
        ["export", f"NODE_EXTRA_CA_CERTS={certificate}"],
    ]
    assert result.stdout.splitlines() == exports(certificate)


class System:
    """A machine that keeps whom it trusts in folders of the test."""

    def __init__(self, folder: Path, *programs: str) -> None:
        self.places = [Place(folder / name, (f"update-{name}", "now")) for name in ("one", "two")]
        self._programs = programs
        self.ran: list[Sequence[str]] = []

    def which(self, program: str) -> str | None:
        return f"/bin/{program}" if program in self._programs else None

    def trust(self, certificate: Path, *, remove: bool = False) -> None:
        trust_in(self.places, certificate, remove, self.which, self.ran.append)


def test_certificate_is_put_where_this_system_looks_and_taken_out_again(tmp_path: Path, certificate: Path) -> None:
    system = System(tmp_path, "update-two")
    put = tmp_path / "two" / "hubwire-local-ca.crt"

    system.trust(certificate)
    assert put.read_text() == "certificate"
    system.trust(certificate, remove=True)
    system.trust(certificate, remove=True)
    assert not put.exists()
    assert not (tmp_path / "one").exists()
    assert system.ran == [("update-two", "now")] * 3


def test_unknown_system_is_told(tmp_path: Path, certificate: Path) -> None:
    with pytest.raises(CommandFailed, match=r"no known way to trust a certificate; add .*ca.pem"):
        System(tmp_path).trust(certificate)


def test_missing_rights_are_told(tmp_path: Path, certificate: Path) -> None:
    (tmp_path / "one").write_text("no folder")
    with pytest.raises(CommandFailed, match=r"cannot change .*; try again with sudo"):
        System(tmp_path, "update-one").trust(certificate)
