"""
TLS of the listeners: one context for all of them, whose certificate can be replaced while connections are open.

Source: RFC 8446 and RFC 5246; RFC 7301 for the protocol that is agreed on.
"""

import ssl
from pathlib import Path

from hubwire.model.errors import StartFailed

__all__ = ["ServerTls"]


class ServerTls:
    """
    What every TLS handshake of this server is done with: TLS 1.2 and up, HTTP/1.1.

    Args:
        certificate: PEM file, the server's certificate first, then those up to its authority.
        key: PEM file of its private key, not encrypted.

    Attributes:
        context: for the listeners.

    Raises:
        StartFailed: naming the file that cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self.load()

    def load(self) -> None:
        """
        Use what is in the files now, from the next handshake on. Open connections are not touched.

        Raises:
            StartFailed: as above; the certificate before is still used.
        """
        for path in (self._certificate, self._key):
            try:
                path.read_bytes()
            except OSError as error:
                raise StartFailed(f"cannot read {path}: {error.strerror or error}") from error
        try:
            # On a context of its own first: the first half of a pair that does not fit would stay in the other one.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, self._key, _no_password)
            self.context.load_cert_chain(self._certificate, self._key, _no_password)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise StartFailed(f"cannot use certificate {self._certificate} with key {self._key}: {reason}") from error


def _no_password() -> str:
    """Instead of a question on the terminal."""
    raise ValueError("the private key is encrypted")
