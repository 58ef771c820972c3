"""Clients that are asked for a certificate: any is taken, and none, and what they showed is known afterwards."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
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
    """

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []

    def upgrade(self, head: RequestHead, transport: asyncio.Transport, rest: bytes) -> Echo:
        self.heads.append(head)
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
        serve(nothing, service.upgrade, tls=ServerTls(*files, ask=True).context) as served,
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
        serve(nothing, Service().upgrade, tls=ServerTls(*files, ask=True).context) as served,
        opened(served.address, context, said) as reader,
        asyncio.timeout(20),
    ):
        assert await reader.readexactly(size) == said


@both_loops
async def test_small_messages_one_after_the_other_are_each_answered(
    files: tuple[Path, Path], authority: Credentials
) -> None:
    context = client(authority, files[0].parent, None)
    async with serve(nothing, Service().upgrade, tls=ServerTls(*files, ask=True).context) as served:
        reader, writer = await asyncio.open_connection(*served.address[:2], ssl=context, server_hostname="localhost")
        writer.write(UPGRADE + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for number in range(200):
            writer.write(b"%d\n" % number)
            async with asyncio.timeout(10):
                assert await reader.readline() == b"%d\n" % number
        writer.close()
        await writer.wait_closed()


@both_loops
async def test_agreed_protocol_is_http_1_and_sessions_are_not_resumed(
    files: tuple[Path, Path], authority: Credentials
) -> None:
    """A resumed session would come without its certificate."""
    shown = SHOWN["self-signed"]()
    assert shown is not None
    context = client(authority, files[0].parent, shown)
    context.set_alpn_protocols(["h2", "http/1.1"])
    service = Service()
    async with serve(nothing, service.upgrade, tls=ServerTls(*files, ask=True).context) as served:
        for _ in range(3):
            async with opened(served.address, context, b"x") as reader:
                assert await reader.readexactly(1) == b"x"

    assert [head.client_certificate for head in service.heads] == [der(shown.certificate)] * 3


@both_loops
async def test_connection_that_ends_within_the_handshake_leaves_nothing(
    files: tuple[Path, Path], authority: Credentials
) -> None:
    async with serve(nothing, Service().upgrade, tls=ServerTls(*files, ask=True).context) as served:
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
        "Envoy": f'Hash=00;Cert="{encoded}";Subject="CN=x",By=spiffe://x;Hash=11;Cert="{encoded}"',
        "chain": encoded + encoded,
    }


@pytest.mark.parametrize("proxy", list(spellings(b"\n\n\n")))
def test_each_usual_proxy_is_understood(device: Credentials, proxy: str) -> None:
    assert forwarded_certificate([spellings(device.certificate)[proxy]]) == der(device.certificate)


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
