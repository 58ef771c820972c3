"""
The certificates of a server as files: the local authority and what it issued, made when they are needed and replaced
before clients would refuse them.

    ca.pem, ca-key.pem              the authority; the first is for clients to trust
    ca-bundle.pem                   the same behind the authorities that this machine trusts, for programs that take one
                                    file instead of the system's
    server.pem, server-key.pem      what the server shows
"""

import logging
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hubwire.adapters.data_folder import replace_file
from hubwire.auth.certificates import Credentials, days_left, is_current, issue, new_authority
from hubwire.model.errors import StartFailed

__all__ = ["CertificateFiles"]

_log: Final = logging.getLogger("hubwire.server")

_AUTHORITY_LEFT_DAYS: Final = 365
"""Before its end a new authority is made, so that there is time to trust it."""
_SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Debian, Red Hat, SUSE, Alpine and macOS; only where OpenSSL's own default is not there."""


class CertificateFiles:
    """
    Args:
        folder: that only its owner can read.

    Attributes:
        authority: path of the certificate that clients are to trust.
        certificate, key: paths of what the server shows.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "ca.pem"
        self.certificate = folder / "server.pem"
        self.key = folder / "server-key.pem"
        self._authority_key = folder / "ca-key.pem"
        self._bundle = folder / "ca-bundle.pem"

    def provide(self, names: Sequence[str], now: float) -> bool:
        """
        See to it that all files are there and good.

        Args:
            names: under which clients reach the server.
            now: seconds since 1970.

        Returns:
            whether the server has another certificate than before.

        Raises:
            StartFailed: a file cannot be read or written.
        """
        try:
            authority = self._provide_authority(now)
            before = _read(self.certificate, self.key)
            if before is not None and is_current(before, names, now, authority):
                return False
            _write(issue(authority, names, now), self.certificate, self.key)
        except OSError as error:
            raise StartFailed(f"cannot read or write {error.filename}: {error.strerror or error}") from error
        return True

    def _provide_authority(self, now: float) -> Credentials:
        authority = self._present_authority()
        if authority is None or days_left(authority, now) < _AUTHORITY_LEFT_DAYS:
            if authority is not None:
                _log.warning("the local CA is near its end: there is a new one, which clients must trust instead")
            authority = new_authority(now)
            _write(authority, self.authority, self._authority_key)
        bundle = _trusted_by_the_system() + authority.certificate
        if not self._bundle.exists() or self._bundle.read_bytes() != bundle:
            replace_file(self._bundle, bundle)
        return authority

    def _present_authority(self) -> Credentials | None:
        """The one that clients may trust already, never replaced by accident: None only where there is none."""
        if not self.authority.exists():
            return None  # a key alone was left by a first start that was cut short
        found = _read(self.authority, self._authority_key)
        try:
            if found is None:
                raise ValueError("its key is missing")
            days_left(found, 0)
        except ValueError as error:
            files = f"{self.authority} and {self._authority_key}"
            raise StartFailed(
                f"the local CA cannot be used ({error}): restore {files}, or remove both for a new one to be trusted"
            ) from error
        return found


def _read(certificate: Path, key: Path) -> Credentials | None:
    try:
        return Credentials(certificate.read_bytes(), key.read_bytes())
    except FileNotFoundError:
        return None


def _write(credentials: Credentials, certificate: Path, key: Path) -> None:
    # Should this end in between, there is a key without its certificate, which nobody has seen yet.
    replace_file(key, credentials.key)
    replace_file(certificate, credentials.certificate)


def _trusted_by_the_system() -> bytes:
    """Whom this machine trusts anyway; empty if nobody knows. Not whom the environment names, which may be us."""
    for path in (ssl.get_default_verify_paths().openssl_cafile, *_SYSTEM_BUNDLES):
        if Path(path).is_file():
            return Path(path).read_bytes().rstrip() + b"\n"
    return b""
