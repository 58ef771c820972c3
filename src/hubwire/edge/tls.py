"""
TLS of the listeners: one context for all of them, whose certificate can be replaced while connections are open, and
which may ask clients for a certificate without demanding one.

Python's own TLS refuses a client whose certificate it cannot verify, and nearly all of them are signed by nobody:
devices are known by the thumbprint. So where certificates are asked for, pyOpenSSL does the handshakes, behind the
interface that event loops use. That the client holds the private key is proved in any case.

Sources: RFC 8446 and RFC 5246; RFC 7301 for the protocol that is agreed on; the resource's `tls.clientCertEnabled`.
"""

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, overload

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import InvalidVersion
from OpenSSL import SSL

from hubwire.model.errors import StartFailed

__all__ = ["ServerTls", "peer_certificate"]

_T = TypeVar("_T")

_PROTOCOLS: Final = ("http/1.1",)
_PIECE: Final = 17 * 1024
"""That are taken out of OpenSSL's buffer at a time: a full record, and cheap to make room for."""
_CIPHERS: Final = b"@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
"""Of TLS 1.2, as Python's own contexts have them."""
_RELEASE_BUFFERS: Final = 0x10
"""SSL_MODE_RELEASE_BUFFERS: 25 KiB less for an idle connection. Python's own contexts have it too."""


class ServerTls:
    """
    What every TLS handshake of this server is done with: TLS 1.2 and up, HTTP/1.1.

    Args:
        certificate: PEM file, the server's certificate first, then those up to its authority.
        key: PEM file of its private key, not encrypted.
        asks: says whether clients of a host, by the name that they send, are asked for a certificate; empty for those
            who send none. None, and one that nobody vouches for or whose time is over, is as good as any; what it is
            worth is for the application to say.
        asks_some: may it say yes to anybody, now.

    Attributes:
        context: for the listeners.

    Raises:
        StartFailed: naming the file that cannot be used.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        *,
        asks: Callable[[str], bool] = lambda _name: False,
        asks_some: Callable[[], bool] = lambda: False,
    ) -> None:
        self._certificate = certificate
        self._key = key
        self.context = _Context(ssl.PROTOCOL_TLS_SERVER)
        self.context.asks, self.context.asks_some = asks, asks_some
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(list(_PROTOCOLS))
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
        except (ssl.SSLError, SSL.Error, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise StartFailed(f"cannot use certificate {self._certificate} with key {self._key}: {reason}") from error


def peer_certificate(transport: Any) -> bytes | None:
    """
    The certificate that a client showed when it was asked for one.

    Returns:
        DER; None if it showed none, was not asked, or speaks no TLS.
    """
    secure = transport.get_extra_info("ssl_object")
    return secure.getpeercert(True) if isinstance(secure, _Asking) else None


def _no_password() -> str:
    """Instead of a question on the terminal."""
    raise ValueError("the private key is encrypted")


class _Context(ssl.SSLContext):
    """
    A context that has Python's own TLS do the handshakes, or pyOpenSSL where clients may be asked for a certificate.
    Loops take it for what its class says.
    """

    asks: Callable[[str], bool]
    asks_some: Callable[[], bool]
    _asking: SSL.Context

    def load_cert_chain(self, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
        super().load_cert_chain(certfile, keyfile, password)
        asking = SSL.Context(SSL.TLS_METHOD)
        asking.set_min_proto_version(SSL.TLS1_2_VERSION)
        asking.use_certificate_chain_file(str(certfile))
        asking.use_privatekey_file(str(keyfile))
        asking.set_verify_depth(0)  # nobody's signature is of interest, and a long chain would keep everybody waiting
        asking.set_cipher_list(_CIPHERS)
        asking.set_mode(_RELEASE_BUFFERS)
        asking.set_alpn_select_callback(_select)
        asking.set_tlsext_servername_callback(self._named)
        # A resumed session would come without its certificate.
        asking.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        asking.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        self._asking = asking

    def wrap_bio(  # type: ignore[override]  # as good as an SSLObject, and none
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> "_Asking | ssl.SSLObject":
        assert server_side, "this asks clients"
        if not self.asks_some():
            return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        connection = SSL.Connection(self._asking, None)
        self._ask(connection, "")
        return _Asking(connection, incoming, outgoing)

    def _named(self, connection: SSL.Connection) -> None:
        """The client has said which host it wants."""
        name = connection.get_servername()
        if name is not None:
            self._ask(connection, name.decode("latin-1"))

    def _ask(self, connection: SSL.Connection, name: str) -> None:
        connection.set_verify(SSL.VERIFY_PEER if self.asks(name) else SSL.VERIFY_NONE, _take_any)


def _take_any(*_: object) -> bool:
    return True


def _select(_connection: SSL.Connection, offered: list[bytes]) -> Any:
    return next((name for name in offered if name.decode("latin-1") in _PROTOCOLS), SSL.NO_OVERLAPPING_PROTOCOLS)


class _Asking:
    """
    One connection of pyOpenSSL, with the methods of `ssl.SSLObject` that event loops call.

    uvloop reads on only while its buffer or `pending` holds something. What was moved out of its buffer into OpenSSL's
    and is not looked at yet is in neither, so `pending` counts one for it until OpenSSL has asked for more.
    """

    __slots__ = ("_connection", "_incoming", "_moved", "_outgoing")

    def __init__(self, connection: SSL.Connection, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._connection = connection
        self._incoming = incoming
        self._outgoing = outgoing
        self._moved = False
        connection.set_accept_state()

    def do_handshake(self) -> None:
        self._call(self._connection.do_handshake)

    @overload
    def read(self, size: int = 1024, buffer: None = None) -> bytes: ...
    @overload
    def read(self, size: int, buffer: Any) -> int: ...
    def read(self, size: int = 1024, buffer: Any = None) -> bytes | int:
        try:
            if buffer is None:
                return self._call(lambda: self._connection.recv(size))
            return self._call(lambda: self._connection.recv_into(buffer, size))
        except ssl.SSLZeroReturnError:
            return b"" if buffer is None else 0

    def write(self, data: Any) -> int:
        """All of it: there is always room for what it becomes. What has come stays where the loop sees it."""
        view = memoryview(data).cast("B")
        sent = 0
        while sent < len(view):
            sent += self._call(partial(self._connection.send, view[sent:]), take=False)
        return sent

    def unwrap(self) -> None:
        """Say goodbye, and wait for the other side's."""
        try:
            if not self._call(self._connection.shutdown):
                raise ssl.SSLWantReadError
        except ssl.SSLZeroReturnError:
            return

    def pending(self) -> int:
        return self._connection.pending() + self._moved

    def getpeercert(self, binary_form: bool = False) -> Any:
        """In the binary form DER. Otherwise empty, as of a certificate that was not verified. None if there is none."""
        if not binary_form:
            return {}  # what the loop asks for, and nobody reads
        try:
            found = self._connection.get_peer_certificate(as_cryptography=True)
        except (ValueError, InvalidVersion):
            return None  # OpenSSL took what is no certificate by the rules
        return None if found is None else found.public_bytes(Encoding.DER)

    def cipher(self) -> tuple[str, str, int] | None:
        name, version, bits = (
            self._connection.get_cipher_name(),
            self._connection.get_cipher_version(),
            self._connection.get_cipher_bits(),
        )
        return None if name is None or version is None or bits is None else (name, version, bits)

    def compression(self) -> None:
        """None, ever."""

    def version(self) -> str:
        return self._connection.get_protocol_version_name()

    def selected_alpn_protocol(self) -> str | None:
        return self._connection.get_alpn_proto_negotiated().decode("latin-1") or None

    def _call(self, operation: Callable[[], _T], *, take: bool = True) -> _T:
        """
        Something that OpenSSL does, with what it wants to send afterwards.

        Args:
            take: give it what has come. What it has been given, the loop no longer knows to be waiting.
        """
        came = self._incoming.read() if take else b""
        if came:
            self._connection.bio_write(came)
            self._moved = True
        try:
            return operation()
        except SSL.WantReadError:
            self._moved = False
            raise ssl.SSLWantReadError from None
        except SSL.ZeroReturnError as error:
            self._moved = False
            raise ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "the client ended TLS") from error
        except SSL.SysCallError as error:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the connection ended within TLS") from error
        except SSL.Error as error:
            reasons = [str(part[-1]) for part in error.args[0]] if error.args else []
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, ", ".join(reasons) or "TLS failed") from error
        finally:
            self._hand_on()

    def _hand_on(self) -> None:
        piece = _PIECE
        while piece == _PIECE:
            try:
                piece = self._outgoing.write(self._connection.bio_read(_PIECE))
            except SSL.Error:
                return  # nothing at all
