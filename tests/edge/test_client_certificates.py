"""Clients that are asked for a certificate: any is taken, and none, and what they showed is known afterwards."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.wire import both_loops, eventually, serve
from hubwire.auth.certificates import Credentials, issue, new_authority
from hubwire.edge.proxies import TrustedProxies, forwarded_certificate
from hubwire.edge.tls import ServerTls
from hubwire.model.http import RequestHead

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
UPGRADE = (
    b"GET /client/hubs/chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_PEM = serialization.Encoding.PEM


def asking(certificate: Path, key: Path, ask: bool = True) -> ServerTls:
    """TLS that asks everybody for a certificate, or nobody."""
    return ServerTls(certificate, key, asks=lambda _: ask, asks_some=lambda: ask)


def made(key: Any, *, days: tuple[int, int] = (-1, 30), usage: Any = ExtendedKeyUsageOID.CLIENT_AUTH) -> Credentials:
    """A certificate that is signed by nobody but itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Credentials(certificate.public_bytes(_PEM), private)


SHOWN: dict[str, Callable[[], Credentials | None]] = {
    "none": lambda: None,
    "self-signed": lambda: made(ec.generate_private_key(ec.SECP256R1())),
    "expired": lambda: made(ec.generate_private_key(ec.SECP384R1()), days=(-30, -1)),
    "not valid yet": lambda: made(ec.generate_private_key(ec.SECP256R1()), days=(1, 30)),
    "of RSA, with 4096 bits": lambda: made(rsa.generate_private_key(65537, 4096)),
    "for servers": lambda: made(ec.generate_private_key(ec.SECP256R1()), usage=ExtendedKeyUsageOID.SERVER_AUTH),
    "of an unknown authority, with its chain": lambda: issue(new_authority(time.time()), ("device",), time.time()),
}


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


@pytest.fixture(scope="module")
def authority() -> Credentials:
    return new_authority(time.time())


@pytest.fixture
def files(tmp_path: Path, authority: Credentials) -> tuple[Path, Path]:
    own = issue(authority, ("localhost",), time.time())
    (tmp_path / "c.pem").write_bytes(own.certificate)
    (tmp_path / "k.pem").write_bytes(own.key)
    return tmp_path / "c.pem", tmp_path / "k.pem"


def client(authority: Credentials, folder: Path, shown: Credentials | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    if shown is not None:
        (folder / "client.pem").write_bytes(shown.certificate)
        (folder / "client.key").write_bytes(shown.key)
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
    return context


class Echo(asyncio.Protocol):
    """What has the socket after an upgrade: it says everything back."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Service:
    """
    Attributes:
        heads: of the upgrade requests so far.
        transports: that were taken over.
    """

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []
        self.transports: list[asyncio.Transport] = []

    def upgrade(self, head: RequestHead, transport: asyncio.Transport, rest: bytes) -> Echo:
        self.heads.append(head)
        self.transports.append(transport)
        echo = Echo(transport)
        transport.set_protocol(echo)
        transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + rest)
        return echo


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nobody calls REST here")


@asynccontextmanager
async def opened(address: Any, context: ssl.SSLContext, first: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """A client whose head and first bytes go out together, as soon as it may send."""
    reader, writer = await asyncio.open_connection(
        *address[:2], ssl=context, server_hostname="localhost", limit=1 << 23
    )
    try:
        writer.write(UPGRADE + b"\r\n" + first)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("kind", SHOWN)
@both_loops
async def test_any_certificate_is_taken_and_known(
    files: tuple[Path, Path], authority: Credentials, kind: str, version: ssl.TLSVersion
) -> None:
    shown = SHOWN[kind]()
    context = client(authority, files[0].parent, shown)
    context.minimum_version = context.maximum_version = version
    service = Service()
    async with (
        serve(nothing, service.upgrade, tls=asking(*files).context) as served,
        opened(served.address, context, b"hello") as reader,
    ):
        assert await reader.readexactly(5) == b"hello"

    (head,) = service.heads
    assert (head.scheme, head.client_certificate) == ("https", None if shown is None else der(shown.certificate))


@both_loops
async def test_who_is_not_asked_shows_none(files: tuple[Path, Path], authority: Credentials) -> None:
    context = client(authority, files[0].parent, SHOWN["self-signed"]())
    service = Service()
    async with (
        serve(nothing, service.upgrade, tls=ServerTls(*files).context) as served,
        opened(served.address, context, b""),
    ):
        pass

    assert [head.client_certificate for head in service.heads] == [None]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
@both_loops
async def test_client_that_speaks_first_is_heard_and_answered_whole(
    files: tuple[Path, Path], authority: Credentials, size: int, version: ssl.TLSVersion
) -> None:
    """Nothing stays behind in a buffer that the event loop does not know of, in either direction."""
    context = client(authority, files[0].parent, SHOWN["self-signed"]())
    context.minimum_version = context.maximum_version = version
    said = bytes(range(256)) * (size // 256) + bytes(size % 256)
    async with (
        serve(nothing, Service().upgrade, tls=asking(*files).context) as served,
        opened(served.address, context, said) as reader,
        asyncio.timeout(20),
    ):
        assert await reader.readexactly(size) == said


@both_loops
async def test_small_messages_one_after_the_other_are_each_answered(
    files: tuple[Path, Path], authority: Credentials
) -> None:
    context = client(authority, files[0].parent, None)
    async with serve(nothing, Service().upgrade, tls=asking(*files).context) as served:
        reader, writer = await asyncio.open_connection(*served.address[:2], ssl=context, server_hostname="localhost")
        writer.write(UPGRADE + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for number in range(200):
            writer.write(b"%d\n" % number)
            async with asyncio.timeout(10):
                assert await reader.readline() == b"%d\n" % number
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("ask", [True, False])
async def test_agreed_protocol_is_http_1_and_a_session_with_a_certificate_is_not_resumed(
    files: tuple[Path, Path], authority: Credentials, ask: bool, version: ssl.TLSVersion
) -> None:
    """A resumed session would come without its certificate."""
    context = client(authority, files[0].parent, SHOWN["self-signed"]())
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    session, resumed = None, []
    async with serve(nothing, Service().upgrade, tls=asking(*files, ask).context) as served:
        for _ in range(2):
            protocol, session, reused = await asyncio.to_thread(talk, served.address, context, session)
            assert protocol == "http/1.1"
            resumed.append(reused)

    assert resumed == [False, not ask]


def talk(
    address: Any, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[str | None, ssl.SSLSession | None, bool | None]:
    """
    One exchange, after which the client has all that it needs to resume the session.

    Returns:
        the protocol that was agreed on, the session, and whether it was an old one.
    """
    with (
        socket.create_connection(address[:2], 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
    ):
        secure.sendall(UPGRADE + b"\r\nx")
        while not secure.recv(100).endswith(b"x"):
            pass
        return secure.selected_alpn_protocol(), secure.session, secure.session_reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=lambda version: version.name)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_older_tls_is_refused_by_who_asks(
    files: tuple[Path, Path], authority: Credentials, version: ssl.TLSVersion
) -> None:
    context = client(authority, files[0].parent, None)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    async with serve(nothing, Service().upgrade, tls=asking(*files).context) as served:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(talk, served.address, context, None)


class Deaf(Service):
    """What has the socket after an upgrade reads nothing, and writes all the time."""

    def upgrade(self, head: RequestHead, transport: asyncio.Transport, rest: bytes) -> Echo:
        echo = super().upgrade(head, transport, rest)
        transport.pause_reading()
        loop = asyncio.get_running_loop()

        def write() -> None:
            if not transport.is_closing():
                transport.write(b"x")
                loop.call_later(0.001, write)

        write()
        return echo


@pytest.mark.parametrize("ask", [True, False])
@both_loops
async def test_client_that_is_not_read_is_held_up_though_it_is_written_to(
    files: tuple[Path, Path], authority: Credentials, ask: bool
) -> None:
    """What came stays in the kernel, else a client could fill our memory."""
    context = client(authority, files[0].parent, None)
    deaf = Deaf()
    async with serve(nothing, deaf.upgrade, tls=asking(*files, ask).context) as served:
        reader, writer = await asyncio.open_connection(*served.address[:2], ssl=context, server_hostname="localhost")
        writer.write(UPGRADE + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flood(writer), 2)
        writer.transport.abort()
        await eventually(lambda: deaf.transports[0].is_closing())


async def flood(writer: asyncio.StreamWriter) -> None:
    """More than the kernel holds."""
    for _ in range(60):
        writer.write(bytes(1 << 20))
        await writer.drain()


@both_loops
async def test_goodbye_within_the_handshake_is_no_fault_of_ours(files: tuple[Path, Path]) -> None:
    """The log of each loop is looked at by `both_loops`."""
    async with serve(nothing, Service().upgrade, tls=asking(*files).context) as served:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            hello.do_handshake()
        reader, writer = await asyncio.open_connection(*served.address[:2])
        writer.write(outgoing.read() + b"\x15\x03\x03\x00\x02\x01\x00")
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()
        await writer.wait_closed()


@both_loops
async def test_connection_that_ends_within_the_handshake_leaves_nothing(
    files: tuple[Path, Path], authority: Credentials
) -> None:
    async with serve(nothing, Service().upgrade, tls=asking(*files).context) as served:
        for said in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            _, writer = await asyncio.open_connection(*served.address[:2])
            writer.write(said)
            writer.close()
            await writer.wait_closed()
        await eventually(lambda: not served.context.fronts)
        async with opened(served.address, client(authority, files[0].parent, None), b"x") as reader:
            assert await reader.readexactly(1) == b"x"


# Behind a proxy


@pytest.fixture(scope="module")
def device() -> Credentials:
    return made(ec.generate_private_key(ec.SECP256R1()))


def spellings(pem: bytes) -> dict[str, str]:
    text = pem.decode()
    body = "".join(text.split("\n")[1:-2])
    encoded = quote(text, safe="")
    return {
        "nginx": encoded,
        "Apache": " ".join(text.split("\n")),
        "HAProxy": body,
        "RFC 9440": f":{body}:",
        "Envoy": f'By=spiffe://x/y;Hash={sha256(der(pem)).hexdigest()};Cert="{encoded}";Subject="CN=x"',
        "chain": encoded + encoded,
    }


@pytest.mark.parametrize("proxy", ["nginx", "Apache", "HAProxy", "RFC 9440", "Envoy", "chain"])
def test_each_usual_proxy_is_understood(device: Credentials, proxy: str) -> None:
    assert forwarded_certificate([spellings(device.certificate)[proxy]]) == der(device.certificate)


def test_client_cannot_pose_as_another_by_what_stands_in_its_own_certificate(device: Credentials) -> None:
    """Envoy writes subject and names behind the certificate, and not always with quotes."""
    victim = spellings(device.certificate)["nginx"]
    own = made(ec.generate_private_key(ec.SECP256R1())).certificate
    hashes_ = [sha256(der(pem)).hexdigest() for pem in (own, device.certificate)]
    for said in (
        f'Hash={hashes_[0]};Cert="{quote(own.decode(), safe="")}";Subject="x";URI=y;Hash={hashes_[1]};Cert="{victim}"',
        f'Hash={hashes_[0]};Subject="x";URI=y;Cert="{victim}"',
        f'Hash={hashes_[0]};Cert="{victim}"',
        f"Hash={hashes_[0]};Subject=x;URI={victim}",
        f"x {device.certificate.decode()}".replace(chr(10), " "),
    ):
        assert forwarded_certificate([said]) is None


@pytest.mark.parametrize("text", ["", "(null)", "-", "AAAA", "%", "-----BEGIN CERTIFICATE-----", 'Cert=""', "é", "::"])
def test_what_is_no_certificate_is_none(text: str) -> None:
    assert forwarded_certificate([text]) is None


def test_header_that_comes_twice_or_not_at_all_is_none(device: Credentials) -> None:
    value = spellings(device.certificate)["nginx"]

    assert forwarded_certificate([value, value]) is None
    assert forwarded_certificate([]) is None


@pytest.mark.parametrize("trusted", [True, False])
@both_loops
async def test_header_counts_from_trusted_proxies_only(device: Credentials, trusted: bool) -> None:
    service = Service()
    bounds: dict[str, Any] = {"certificate_header": "X-Client-Cert"}
    if trusted:
        bounds["trusted"] = TrustedProxies(["127.0.0.1"])
    async with serve(nothing, service.upgrade, **bounds) as served:
        connection = await served.connect()
        header = spellings(device.certificate)["nginx"].encode()
        await connection.send(UPGRADE + b"x-client-cert: " + header + b"\r\n\r\n")
        await eventually(lambda: service.heads)
        connection.writer.close()

    assert service.heads[0].client_certificate == (der(device.certificate) if trusted else None)


# Who is asked


WANTED = "wps-one.webpubsub.localhost"


@asynccontextmanager
async def connected(address: Any, context: ssl.SSLContext, name: str) -> AsyncIterator[None]:
    """A client that wants a host by this name, or does not say which."""
    reader, writer = await asyncio.open_connection(*address[:2], ssl=context, server_hostname=name)
    try:
        writer.write(UPGRADE + b"\r\nhello")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(5) == b"hello"
        yield
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("by_default", [True, False])
@both_loops
async def test_host_that_is_wanted_decides_who_is_asked(
    files: tuple[Path, Path], authority: Credentials, version: ssl.TLSVersion, by_default: bool
) -> None:
    """Who names no host is one of the first resource."""
    shown = made(ec.generate_private_key(ec.SECP256R1()))
    context = client(authority, files[0].parent, shown)
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    heard: list[str] = []

    def asks(name: str) -> bool:
        heard.append(name)
        return by_default if name != WANTED else not by_default

    tls, service = ServerTls(*files, asks=asks, asks_some=lambda: True), Service()
    async with serve(nothing, service.upgrade, tls=tls.context) as served:
        for name in (WANTED, "localhost", "", WANTED):
            async with connected(served.address, context, name):
                pass

    known, unknown = der(shown.certificate), None
    default, wanted = (known, unknown) if by_default else (unknown, known)
    assert [head.client_certificate for head in service.heads] == [wanted, default, default, wanted]
    assert {WANTED, "localhost", ""} == set(heard)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@both_loops
async def test_who_is_asked_may_change_from_one_connection_to_the_next(
    files: tuple[Path, Path], authority: Credentials, version: ssl.TLSVersion
) -> None:
    shown = made(ec.generate_private_key(ec.SECP256R1()))
    context = client(authority, files[0].parent, shown)
    context.minimum_version = context.maximum_version = version
    asked = [False]
    tls = ServerTls(*files, asks=lambda _: asked[0], asks_some=lambda: asked[0])
    service = Service()
    async with serve(nothing, service.upgrade, tls=tls.context) as served:
        for asked[0] in (False, True, False, True):
            async with connected(served.address, context, "localhost"):
                pass

    known = der(shown.certificate)
    assert [head.client_certificate for head in service.heads] == [None, known, None, known]


@both_loops
async def test_new_certificate_of_the_server_asks_the_same_clients(
    files: tuple[Path, Path], authority: Credentials
) -> None:
    shown = made(ec.generate_private_key(ec.SECP256R1()))
    context = client(authority, files[0].parent, shown)
    context.check_hostname = False
    tls = ServerTls(*files, asks=lambda name: name == WANTED, asks_some=lambda: True)
    service = Service()
    async with serve(nothing, service.upgrade, tls=tls.context) as served:
        tls.load()
        for name in (WANTED, "localhost"):
            async with connected(served.address, context, name):
                pass

    assert [head.client_certificate for head in service.heads] == [der(shown.certificate), None]
