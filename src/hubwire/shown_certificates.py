"""
What the HTTPS listeners show, and whom they ask for a certificate.
"""

import asyncio
import logging
import os
import signal
import ssl
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hubwire.adapters.certificate_files import CertificateFiles
from hubwire.adapters.data_folder import DataFolder
from hubwire.edge.tls import ServerTls
from hubwire.model.errors import StartFailed
from hubwire.periodic import Every
from hubwire.settings import Settings

__all__ = ["ShownCertificates"]

_log = logging.getLogger("hubwire.server")

_LOCAL_NAMES: Final = (
    "localhost",
    "127.0.0.1",
    "::1",
    "*.webpubsub.localhost",
    "*.vault.localhost",
    "*.communication.localhost",
)
"""The last are those of resources, vaults and communication services that are asked for by name."""
_CERTIFICATES_S: Final = 60.0
"""Between two looks at the certificate."""


class ShownCertificates:
    """
    Certificates of the local authority, or the operator's own. Looked at each minute, and at SIGHUP where no terminal
    is attached, and replaced without touching a connection.

    Attributes:
        authority: path of the certificate that clients must trust; None with the operator's own.

    Raises:
        StartFailed: a file cannot be used.
    """

    def __init__(self, settings: Settings, folder: DataFolder) -> None:
        self._names = _certificate_names(settings)
        self._loop = asyncio.get_running_loop()
        if settings.certificate is not None and settings.private_key is not None:
            self._files = None
            self.authority = None
            self._shown = (Path(settings.certificate), Path(settings.private_key))
        else:
            self._files = CertificateFiles(folder.path)
            self._files.provide(self._names, time.time())
            self.authority = str(self._files.authority)
            self._shown = (self._files.certificate, self._files.key)
        self._seen = self._state()
        self._listeners: dict[str, ServerTls] = {}
        self._looking = Every(_CERTIFICATES_S, self._look)
        # A terminal that is closed says so by the same signal, and then the server is to end as it does without us.
        self._asked = not os.isatty(0)
        if self._asked:
            self._loop.add_signal_handler(signal.SIGHUP, self._looking.now)

    def add(self, name: str, asks: Callable[[str], bool], asks_some: Callable[[], bool]) -> ssl.SSLContext:
        """
        For more listeners.

        Args:
            name: of them, for `remove`.
            asks, asks_some: see `ServerTls`.
        """
        self._listeners[name] = ServerTls(*self._shown, asks=asks, asks_some=asks_some)
        return self._listeners[name].context

    def remove(self, name: str) -> None:
        """Forget these listeners."""
        del self._listeners[name]

    def close(self) -> None:
        self._looking.cancel()
        if self._asked:
            self._loop.remove_signal_handler(signal.SIGHUP)

    def _look(self) -> None:
        try:
            if self._files is not None:
                self._files.provide(self._names, time.time())
            state = self._state()
            if state != self._seen:
                for listener in self._listeners.values():
                    listener.load()
                self._seen = state
                _log.info("HTTPS has a new certificate, %s", self._shown[0])
        except (StartFailed, OSError) as error:
            _log.error("HTTPS goes on with its old certificate: %s", error)

    def _state(self) -> list[tuple[int, int]]:
        """Changes when one of the files does."""
        try:
            return [(found.st_mtime_ns, found.st_ino) for found in map(os.stat, self._shown)]
        except OSError as error:
            raise StartFailed(f"cannot read {error.filename}: {error.strerror or error}") from error


def _certificate_names(settings: Settings) -> tuple[str, ...]:
    """Under which clients reach the server, each once."""
    listening = [host.strip("[]") for host in settings.host]
    public = [urlsplit(endpoint).hostname or "" for endpoint in settings.public_endpoints]
    return tuple(dict.fromkeys(filter(None, map(_certifiable, (*_LOCAL_NAMES, *listening, *public)))))


def _certifiable(host: str) -> str:
    """A name or address as a certificate has it; empty for what none can have."""
    try:
        return "" if ip_address(host).is_unspecified else host
    except ValueError:
        pass
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return ""
