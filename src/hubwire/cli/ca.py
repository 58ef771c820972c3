"""`hubwire ca`: the certificate that clients of a local server's HTTPS must trust."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import click

from hubwire.cli.faults import CommandFailed
from hubwire.cli.options import data_folder

__all__ = ["Place", "ca", "exports", "trust_in"]

_NAME: Final = "hubwire-local-ca.crt"
_RUN_S: Final = 120.0


class Place(NamedTuple):
    """
    Where a system keeps whom it trusts.

    Attributes:
        folder: that certificates are put into.
        command: that makes a change of it count; the place is that of this system if there is such a program.
    """

    folder: Path
    command: tuple[str, ...]


_PLACES: Final = (
    Place(Path("/usr/local/share/ca-certificates"), ("update-ca-certificates",)),
    Place(Path("/etc/pki/ca-trust/source/anchors"), ("update-ca-trust", "extract")),
    Place(Path("/etc/ca-certificates/trust-source/anchors"), ("trust", "extract-compat")),
)
"""Debian and its kin, Red Hat and its kin, Arch."""


@click.group()
def ca() -> None:
    """
    Show or trust the local certificate authority.

    It issues what this server shows on HTTPS, and is made at the first start. Its private key never leaves the data
    folder.
    """


@ca.command("path")
@data_folder
def path(data: Path) -> None:
    """Print the path of the certificate to trust, a PEM file."""
    click.echo(_certificate(data))


@ca.command("env")
@data_folder
def env(data: Path) -> None:
    """
    Print shell lines that let programs started from this shell trust the server.

    Use them by: eval "$(hubwire ca env)"
    """
    for line in exports(_certificate(data)):
        click.echo(line)


@ca.command("trust")
@click.option("--remove", is_flag=True, help="Trust it no longer.")
@data_folder
def trust(remove: bool, data: Path) -> None:
    """Let everything on this machine that asks the system trust the server. Wants the rights to change that (sudo)."""
    # What is to be forgotten may be gone from the data folder.
    certificate = (data / "ca.pem").absolute() if remove else _certificate(data)
    if sys.platform == "darwin":
        keychain = ["-k", "/Library/Keychains/System.keychain"]
        verb = ["remove-trusted-cert", "-d"] if remove else ["add-trusted-cert", "-d", "-r", "trustRoot", *keychain]
        _run(["security", *verb, str(certificate)])
    else:
        trust_in(_PLACES, certificate, remove, shutil.which, _run)
    click.echo(f"{'no longer trusted' if remove else 'trusted'} by this system: {certificate}")


def exports(certificate: Path) -> list[str]:
    """
    Shell lines that name the certificate to programs.

    Python and OpenSSL trust nobody but whom the file named to them has in it, so they are given the one in which ours
    stands behind the system's; Node adds ours to its own.
    """
    bundle = certificate.with_name("ca-bundle.pem")
    named = {
        "REQUESTS_CA_BUNDLE": bundle,
        "SSL_CERT_FILE": bundle,
        "CURL_CA_BUNDLE": bundle,
        "NODE_EXTRA_CA_CERTS": certificate,
    }
    return [f"export {name}={shlex.quote(str(file))}" for name, file in named.items()]


def trust_in(
    places: Sequence[Place],
    certificate: Path,
    remove: bool,
    which: Callable[[str], str | None],
    run: Callable[[Sequence[str]], None],
) -> None:
    """
    Put a certificate among those that the system trusts, or take it out.

    Args:
        places: the first of them whose program is there counts.
        which: finds a program, as `shutil.which`.
        run: runs a program to its end.

    Raises:
        CommandFailed: no such system, or no right to change it.
    """
    place = next((place for place in places if which(place.command[0])), None)
    if place is None:
        raise CommandFailed(
            f"this system has no known way to trust a certificate; add {certificate} to its trusted ones by hand"
        )
    target = place.folder / _NAME
    try:
        if remove:
            target.unlink(missing_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(certificate.read_bytes())
            target.chmod(0o644)
    except OSError as error:
        raise CommandFailed(f"cannot change {target}: {error.strerror or error}; try again with sudo") from error
    run(place.command)


def _certificate(data: Path) -> Path:
    found = (data / "ca.pem").absolute()
    if not found.is_file():
        raise CommandFailed(f"there is no {found}: a server with HTTPS makes it when it is first started")
    return found


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_RUN_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandFailed(f"{command[0]} failed: {error}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise CommandFailed(f"{command[0]} failed: {said[-1].strip()}")
