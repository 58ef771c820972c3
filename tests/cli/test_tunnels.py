"""The proxy's tunnels, with a server and other targets on this machine that stand for any."""

import asyncio
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from yarl import URL

from acceptance.servers import free_port
from hubwire.auth.certificates import Credentials, issue, new_authority
from hubwire.cli import tunnels
from hubwire.cli.sides import Side
from hubwire.cli.target import NAMES, NotServed
from hubwire.cli.tunnels import BOUNDS, SPARE, Bounds, Proxy, Upstream

NAME: Final = "contoso.webpubsub.azure.com"
VAULT: Final = "ours.vault.azure.net"
UNKNOWN: Final = "unknown.vault.azure.net"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def authority() -> Credentials:
    return new_authority(time.time())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Gives back what it gets, as it comes."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


class House:
    """
    A proxy with a server behind it.

    Attributes:
        port, server_port: where they listen.
        trusting: of a client that trusts the authority.
        issued: names that a certificate was made for.
        complaints: what the proxy told of.
    """

    def __init__(self, folder: Path, authority: Credentials) -> None:
        self.port = self.server_port = 0
        self.issued: list[str] = []
        self.complaints: asyncio.Queue[str] = asyncio.Queue()
        self._authority = authority
        self._folder = folder
        self._stack = AsyncExitStack()
        self._ca = folder / "ca.pem"
        self._ca.write_bytes(authority.certificate)
        self.trusting = ssl.create_default_context(cafile=self._ca)
        self.trusting.verify_flags |= ssl.VERIFY_X509_STRICT

    async def listen(self, handler: Handler, context: ssl.SSLContext | None = None, port: int = 0) -> int:
        """Something to connect to. It ends with the house."""
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            except OSError:
                pass
            finally:
                writer.close()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        async def end() -> None:
            listener.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        listener = await asyncio.start_server(accept, "127.0.0.1", port, ssl=context)
        self._stack.push_async_callback(end)
        found: int = listener.sockets[0].getsockname()[1]
        return found

    async def serve(self, handler: Handler = echo, authority: Credentials | None = None) -> None:
        """The server behind, with a certificate of the authority or of another one."""
        pair = self._folder / "server.pem"
        own = issue(authority or self._authority, ("127.0.0.1",), time.time())
        pair.write_bytes(own.key + own.certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        self.server_port = await self.listen(handler, context, self.server_port)

    async def begin(self, only: bool = False, bounds: Bounds = BOUNDS) -> None:
        """The proxy."""
        upstream = Upstream(URL(f"https://127.0.0.1:{self.server_port}"), self._ca)
        proxy = Proxy(NAMES, only, upstream, self._issue, self.complaints.put_nowait, self._has_vault, bounds)
        _, self.port = await self._stack.enter_async_context(proxy.listening("127.0.0.1", 0))

    async def end(self) -> None:
        await self._stack.aclose()

    async def _has_vault(self, name: str) -> bool:
        if name == UNKNOWN:
            raise NotServed(502, "the server is away")
        return name == VAULT

    def _issue(self, name: str) -> tuple[bytes, bytes]:
        self.issued.append(name)
        return issue(self._authority, (name,), time.time())


@pytest.fixture
async def house(tmp_path: Path, authority: Credentials) -> AsyncIterator[House]:
    house = House(tmp_path, authority)
    try:
        yield house
    finally:
        await house.end()


class Client:
    """One connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, target: str) -> str:
        """The status line that CONNECT is answered."""
        self.writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        return await self.answer()

    async def answer(self) -> str:
        head = await self.reader.readuntil(b"\r\n\r\n")
        return head.decode().splitlines()[0]

    async def secure(self, context: ssl.SSLContext, name: str = NAME) -> ssl.SSLObject:
        """Speak TLS from here on."""
        await self.writer.start_tls(context, server_hostname=name)
        found = self.writer.get_extra_info("ssl_object")
        assert isinstance(found, ssl.SSLObject)
        return found

    async def say(self, data: bytes) -> bytes:
        """What as much is answered."""
        self.writer.write(data)
        return await self.reader.readexactly(len(data))


@asynccontextmanager
async def client(house: House) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
        # Left to itself, the connection would outlive its loop.
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


# To the server.


async def test_named_target_leads_to_the_server_with_a_certificate_for_that_very_name(house: House) -> None:
    await house.serve()
    await house.begin()
    house.trusting.set_alpn_protocols(["h2", "http/1.1"])
    async with client(house) as one:
        assert await one.ask(f"{NAME.upper()}.:443") == "HTTP/1.1 200 Connection Established"
        shown = await one.secure(house.trusting)

        assert shown.getpeercert()["subjectAltName"] == (("DNS", NAME),)  # type: ignore[index]
        assert shown.selected_alpn_protocol() == "http/1.1"
        assert await one.say(b"hello") == b"hello"


async def test_certificate_is_made_once_for_each_name_and_leaves_no_file(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    await house.serve()
    await house.begin()
    for name in (NAME, VAULT, NAME):
        async with client(house) as one:
            await one.ask(f"{name}:443")
            await one.secure(house.trusting, name)

    assert house.issued == [NAME, VAULT]
    assert not list((tmp_path / "temporary").iterdir())


async def test_only_vaults_of_the_server_lead_to_it(house: House) -> None:
    """Others of the cloud are targets like any other."""
    await house.serve()
    await house.begin(only=True)
    answers = []
    for name in (VAULT, "other.vault.azure.net", UNKNOWN, f"{VAULT}.example.org"):
        async with client(house) as one:
            answers.append((await one.ask(f"{name}:443")).split()[1])

    assert answers == ["200", "403", "502", "403"]


async def test_certificate_is_replaced_in_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.serve()
    await house.begin()
    for lifetime_s in (1e12, 1e9):  # before the next begins, and after
        monkeypatch.setattr(tunnels, "_RENEWED_S", lifetime_s)
        async with client(house) as one:
            await one.ask(f"{NAME}:443")
            await one.secure(house.trusting)

    assert house.issued == [NAME, NAME]


async def test_certificate_that_cannot_be_made_is_told(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    await house.serve()
    await house.begin()
    async with client(house) as one:
        assert await one.ask(f"{NAME}:443") == "HTTP/1.1 500 Internal Server Error"
        assert await one.reader.read() == f"cannot make a certificate for {NAME}: No such file or directory\n".encode()


class ByHand:
    """TLS of a client whose every byte the test sees. Its first words are sent together with the request."""

    def __init__(self, house: House, one: Client) -> None:
        self._one = one
        self._incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = house.trusting.wrap_bio(self._incoming, outgoing, server_hostname=NAME)
        assert not self._shaken()
        one.writer.write(f"CONNECT {NAME}:443 HTTP/1.1\r\n\r\n".encode() + outgoing.read())
        self._outgoing = outgoing

    def _shaken(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    async def shake_hands(self) -> None:
        assert await self._one.answer() == "HTTP/1.1 200 Connection Established"
        while not self._shaken():
            self._incoming.write(await self._one.reader.readexactly(1))
        self._one.writer.write(self._outgoing.read())

    async def rest(self) -> bytes:
        """All that comes. Fails if the connection ends before TLS does."""
        self._incoming.write(await self._one.reader.read())
        self._incoming.write_eof()
        return b"".join(iter(lambda: self.tls.read(1 << 16), b""))


async def test_what_comes_together_with_the_request_is_not_lost(house: House) -> None:
    await house.serve()
    await house.begin()
    async with client(house) as one:
        hand = ByHand(house, one)
        await hand.shake_hands()

    assert hand.tls.getpeercert() is not None


async def test_end_of_the_server_is_told_within_tls(house: House) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"last")

    await house.serve(once)
    await house.begin()
    async with client(house) as one:
        hand = ByHand(house, one)
        await hand.shake_hands()

        assert await hand.rest() == b"last"


async def test_client_that_does_not_trust_is_told_of_and_harms_nobody(house: House) -> None:
    await house.serve()
    await house.begin()
    async with client(house) as one:
        await one.ask(f"{NAME}:443")
        with pytest.raises(ssl.SSLCertVerificationError):
            await one.secure(ssl.create_default_context())
    assert await house.complaints.get() == f"TLS with a client for {NAME} failed: the connection ended"

    async with client(house) as other:
        await other.ask(f"{NAME}:443")
        await other.secure(house.trusting)
        assert await other.say(b"x") == b"x"


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\x00" * 600, b"\x16\x03"])
async def test_what_is_no_handshake_ends_its_tunnel_alone(house: House, said: bytes) -> None:
    await house.serve()
    await house.begin()
    async with client(house) as one:
        await one.ask(f"{NAME}:443")
        one.writer.write(said)
        one.writer.write_eof()
        await one.reader.read()

    assert (await house.complaints.get()).startswith(f"TLS with a client for {NAME} failed: ")


async def test_end_of_the_server_is_the_end_of_the_tunnel_after_its_last_word(house: House) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(b"last" * 100_000)

    await house.serve(once)
    await house.begin()
    async with client(house) as one:
        await one.ask(f"{NAME}:443")
        await one.secure(house.trusting)
        one.writer.write(b"x")

        assert await one.reader.read() == b"last" * 100_000


async def test_end_of_the_client_is_the_end_of_the_tunnel_after_its_last_word(house: House) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if data := await reader.read(-1):
            heard.set_result(data)

    await house.serve(listen)
    await house.begin()
    async with client(house) as one:
        await one.ask(f"{NAME}:443")
        await one.secure(house.trusting)
        one.writer.write(b"last" * 100_000)
        one.writer.close()

        assert await heard == b"last" * 100_000


async def test_server_that_cannot_be_reached_is_told_until_it_is_back(house: House, authority: Credentials) -> None:
    house.server_port = free_port()
    await house.begin()
    async with client(house) as one:
        assert await one.ask(f"{NAME}:443") == "HTTP/1.1 502 Bad Gateway"
        told = f"cannot reach the server at https://127.0.0.1:{house.server_port}: Connection refused\n"
        assert (await one.reader.read()).decode() == told

    await house.serve()
    async with client(house) as one:
        assert await one.ask(f"{NAME}:443") == "HTTP/1.1 200 Connection Established"


async def test_server_of_another_authority_is_not_spoken_to(house: House) -> None:
    await house.serve(authority=new_authority(time.time()))
    await house.begin()
    async with client(house) as one:
        assert await one.ask(f"{NAME}:443") == "HTTP/1.1 502 Bad Gateway"
        assert b"its certificate is not good (" in await one.reader.read()


# To others.


async def test_any_other_target_is_reached_as_it_is(house: House) -> None:
    port = await house.listen(echo)
    await house.begin()
    async with client(house) as one:
        one.writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nearly".encode())
        assert await one.answer() == "HTTP/1.1 200 Connection Established"
        assert await one.reader.readexactly(5) == b"early"
        assert await one.say(b"\x00" * 1_000_000) == b"\x00" * 1_000_000


async def test_who_is_not_of_this_machine_is_not_led_to_its_loopback_address(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = iter([True, False])  # the target, and then the client
    monkeypatch.setattr(Side, "is_near", property(lambda _: next(near)))
    port = await house.listen(echo)
    await house.begin()
    async with client(house) as one:
        one.writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        assert (await one.answer()).startswith("HTTP/1.1 403 ")


async def test_named_host_on_another_port_is_another_target(house: House) -> None:
    await house.serve()
    await house.begin(only=True)
    async with client(house) as one:
        assert await one.ask(f"{NAME}:8443") == "HTTP/1.1 403 Forbidden"


async def test_server_itself_is_a_target_even_where_it_is_the_only_one(house: House) -> None:
    await house.serve()
    await house.begin(only=True)
    async with client(house) as one:
        assert await one.ask(f"127.0.0.1:{house.server_port}") == "HTTP/1.1 200 Connection Established"
        await one.secure(house.trusting, "127.0.0.1")
        assert await one.say(b"x") == b"x"
    assert house.issued == []


async def test_half_of_a_tunnel_goes_on_when_the_other_has_ended(house: House) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(-1)
        writer.write(b"all of " + data)

    port = await house.listen(answer)
    await house.begin()
    async with client(house) as one:
        await one.ask(f"127.0.0.1:{port}")
        one.writer.write(b"it")
        one.writer.write_eof()

        assert await one.reader.read() == b"all of it"


async def test_who_sends_waits_for_who_reads(house: House) -> None:
    """The proxy holds a few pieces, not all that is sent."""
    total, piece = 64 << 20, b"x" * (1 << 16)
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < total:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)

    port = await house.listen(pour)
    await house.begin()
    async with client(house) as one:
        await one.ask(f"127.0.0.1:{port}")
        before, idle_turns = -1, 0
        while idle_turns < 100:
            before, idle_turns = sent, idle_turns + 1 if sent == before else 0
            await asyncio.sleep(0)
        assert sent < total

        received = 0
        while data := await one.reader.read(1 << 20):
            received += len(data)
        assert received == total


async def test_target_that_cannot_be_reached_is_told(house: House) -> None:
    await house.begin()
    port = free_port()
    async with client(house) as one:
        assert await one.ask(f"127.0.0.1:{port}") == "HTTP/1.1 502 Bad Gateway"
        assert await one.reader.read() == f"cannot reach 127.0.0.1:{port}: Connection refused\n".encode()


async def test_target_that_breaks_ends_its_tunnel(house: House) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    port = await house.listen(break_off)
    await house.begin()
    async with client(house) as one:
        await one.ask(f"127.0.0.1:{port}")
        one.writer.write(b"xy")

        assert await one.reader.read() == b""


# Bounds.


async def test_head_that_is_too_long_is_refused(house: House) -> None:
    await house.begin()
    async with client(house) as one:
        one.writer.write(b"CONNECT a:1 HTTP/1.1\r\n" + b"X: " + b"x" * 100_000 + b"\r\n\r\n")

        assert await one.answer() == "HTTP/1.1 431 Request Header Fields Too Large"


async def test_head_that_is_cut_short_is_a_bad_request(house: House) -> None:
    await house.begin()
    async with client(house) as one:
        one.writer.write(b"CONNECT a:1 HTTP/1.1\r\n")
        one.writer.write_eof()

        assert await one.answer() == "HTTP/1.1 400 Bad Request"


async def test_who_does_not_say_what_it_wants_in_time_is_told(house: House) -> None:
    await house.begin(bounds=Bounds(head_s=0.05))
    async with client(house) as one:
        one.writer.write(b"CONNECT a:1 HTTP/1.1\r\n")

        assert await one.answer() == "HTTP/1.1 408 Request Timeout"


async def test_too_many_clients_are_told_and_far_too_many_cut_off(house: House) -> None:
    port = await house.listen(echo)
    await house.begin(bounds=Bounds(clients=1))
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(client(house))
        await first.ask(f"127.0.0.1:{port}")
        for _ in range(SPARE):
            refused = await stack.enter_async_context(client(house))
            assert await refused.answer() == "HTTP/1.1 503 Service Unavailable"
        last = await stack.enter_async_context(client(house))
        assert await last.reader.read() == b""
        assert await first.say(b"x") == b"x"


async def test_end_cuts_every_tunnel(house: House) -> None:
    port = await house.listen(echo)
    await house.serve()
    await house.begin()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(house)) for _ in range(3)]
        await clients[0].ask(f"127.0.0.1:{port}")
        await clients[1].ask(f"{NAME}:443")
        await clients[1].secure(house.trusting)

        await house.end()

        ends: list[Any] = await asyncio.gather(*(one.reader.read() for one in clients), return_exceptions=True)
    assert all(end == b"" or isinstance(end, ConnectionError) for end in ends)
