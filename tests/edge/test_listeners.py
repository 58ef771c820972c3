"""Listeners that come and go while the server runs, and the resource that each of them belongs to."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from edge.wire import Client, both_loops, eventually
from hubwire.auth.certificates import Credentials, issue, new_authority
from hubwire.edge.clients import Clients
from hubwire.edge.context import FrontContext
from hubwire.edge.server import Listeners, bind
from hubwire.edge.tls import ServerTls
from hubwire.model.http import RequestHead

LOOPBACK = ("127.0.0.1",)
UPGRADE = b"GET /client/hubs/h HTTP/1.1\r\nHost: two.x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Nobody:
    """Stands for the clients' sockets, of which there are none."""

    async def end(self, until: float) -> int:
        return 0


class World:
    """
    A server whose hosts belong to the resource of their first label.

    Attributes:
        heads: of the upgrade requests so far.
    """

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []
        self.context = FrontContext(self._app, self._upgrade, resource_of=lambda host: host.partition(".")[0])
        self.listeners = Listeners(self.context, cast("Clients", Nobody()))

    @staticmethod
    async def _app(scope: Any, receive: Any, send: Any) -> None:
        body = scope["state"]["resource"].encode()
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    def _upgrade(self, head: RequestHead, transport: asyncio.Transport, rest: bytes) -> None:
        self.heads.append(head)
        transport.write(b"HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    async def listen(self) -> int:
        """On the main port, which is returned."""
        sockets, _ = bind(LOOPBACK, 0)
        await self.listeners.listen(sockets)
        return int(sockets[0].getsockname()[1])

    async def add(self, resource: str) -> int:
        """On a port of a resource."""
        sockets, _ = bind(LOOPBACK, 0)
        port = int(sockets[0].getsockname()[1])
        await self.listeners.add(resource, sockets, (), None)
        return port


@asynccontextmanager
async def running() -> AsyncIterator[World]:
    world = World()
    yield world
    assert await world.listeners.stop(10) == 0
    assert not world.context.fronts


async def connect(port: int) -> Client:
    async with asyncio.timeout(10):
        return Client(*await asyncio.open_connection("127.0.0.1", port))


async def ask(client: Client, host: str = "one.x") -> str:
    """The resource that a request with this host is for."""
    await client.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return (await client.response()).body.decode()


async def asked(port: int, host: str = "one.x") -> str:
    client = await connect(port)
    try:
        return await ask(client, host)
    finally:
        client.close()


async def is_closed(port: int) -> bool:
    try:
        client = await connect(port)
    except ConnectionRefusedError:
        return True
    client.close()
    return False


@both_loops
async def test_main_port_goes_by_the_host_and_an_own_port_by_itself() -> None:
    async with running() as world:
        main, own = await world.listen(), await world.add("wps-one")

        assert [await asked(main, host) for host in ("one.x", "TWO.x:1")] == ["one", "two"]
        assert [await asked(own, host) for host in ("one.x", "TWO.x:1")] == ["wps-one", "wps-one"]


@both_loops
async def test_upgrade_is_told_the_resource_of_its_listener_or_host() -> None:
    async with running() as world:
        for port in (await world.listen(), await world.add("wps-one")):
            client = await connect(port)
            await client.send(UPGRADE)
            assert (await client.rest()).startswith(b"HTTP/1.1 401 ")
            client.close()

        assert [(head.resource, head.host) for head in world.heads] == [("two", "two.x"), ("wps-one", "two.x")]


@both_loops
async def test_port_that_is_removed_takes_nobody_and_lets_go_of_whom_it_has() -> None:
    async with running() as world:
        main, one, two = await world.listen(), await world.add("wps-one"), await world.add("wps-two")
        waits, other = await connect(one), await connect(two)
        assert (await ask(waits), await ask(other)) == ("wps-one", "wps-two")

        world.listeners.remove("wps-one")

        assert await is_closed(one)
        assert await waits.reader.read() == b""
        assert await ask(other) == "wps-two"
        assert (await asked(main), await asked(two)) == ("one", "wps-two")
        waits.close()
        other.close()


@both_loops
async def test_port_that_was_removed_can_be_had_again_at_once() -> None:
    async with running() as world:
        await world.listen()
        port = await world.add("wps-one")
        assert await asked(port) == "wps-one"
        world.listeners.remove("wps-one")
        assert await is_closed(port)

        sockets, _ = bind(LOOPBACK, port)
        await world.listeners.add("wps-two", sockets, (), None)

        assert await asked(port) == "wps-two"


@both_loops
async def test_removing_what_is_not_there_changes_nothing() -> None:
    async with running() as world:
        main = await world.listen()

        world.listeners.remove("wps-one")

        assert await asked(main) == "one"


@both_loops
async def test_own_ports_end_with_the_server() -> None:
    async with running() as world:
        main, own = await world.listen(), await world.add("wps-one")
        assert await asked(own) == "wps-one"

    assert await is_closed(main)
    assert await is_closed(own)


async def test_port_that_is_added_while_accepting_pauses_begins_with_the_others() -> None:
    async with running() as world:
        main, gone = await world.listen(), await world.add("wps-gone")
        room, world.context.crowded_at = world.context.crowded_at, 0.0
        world.context.on_crowded()
        own = await world.add("wps-one")
        world.listeners.remove("wps-gone")

        world.context.crowded_at = room
        await eventually(lambda: world.listeners._pause is None)

        assert (await asked(main), await asked(own)) == ("one", "wps-one")
        assert await is_closed(gone)


# TLS


@pytest.fixture(scope="module")
def authority() -> Credentials:
    return new_authority(time.time())


@pytest.fixture
def tls(tmp_path: Path, authority: Credentials) -> ServerTls:
    own = issue(authority, ("localhost", "127.0.0.1"), time.time())
    (tmp_path / "c.pem").write_bytes(own.certificate)
    (tmp_path / "k.pem").write_bytes(own.key)
    return ServerTls(tmp_path / "c.pem", tmp_path / "k.pem")


@both_loops
async def test_secure_port_of_a_resource_is_one_of_it_too(tls: ServerTls, authority: Credentials) -> None:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    async with running() as world:
        await world.listen()
        plain, secure = bind(LOOPBACK, 0)[0], bind(LOOPBACK, 0)[0]
        port: int = secure[0].getsockname()[1]
        await world.listeners.add("wps-one", plain, secure, tls.context)

        client = Client(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost"))
        assert await ask(client) == "wps-one"
        client.close()
        await client.writer.wait_closed()
        world.listeners.remove("wps-one")

        for bound in (plain, secure):
            assert isinstance(bound[0], socket.socket)
            assert bound[0].fileno() == -1
        assert await is_closed(port)
