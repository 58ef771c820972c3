"""
Writing to many sockets: the compiled way does what writing to each by itself does. Both are held to the same; where the
package is pure Python there is only the latter.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from doubles import head
from edge.sockets import ACCEPTED, Server
from edge.wire import both_loops, eventually
from gateway.house import URL
from hubwire.edge.fanout import SPREAD
from hubwire.edge.upgrades import upgrade_client
from hubwire.edge.websocket import ClientProtocol
from hubwire.model.ports import Sink


def each(sinks: list[Sink], frames: list[bytes]) -> None:
    for sink, data in zip(sinks, frames, strict=True):
        assert sink.direct is not None
        sink.direct(data)


WAYS = [each] if SPREAD is None else [each, SPREAD]
ways = pytest.mark.parametrize("way", WAYS)
Way = Callable[[list[Sink], list[bytes]], None]


def test_compiled_way_is_there_where_the_package_is_compiled() -> None:
    assert (SPREAD is not None) == (os.environ.get("HUBWIRE_EXPECT") == "compiled")


class Peer:
    """A client that was let in, and the other end of its socket."""

    def __init__(self, protocol: ClientProtocol, transport: asyncio.Transport, end: socket.socket) -> None:
        self.protocol = protocol
        self.transport = transport
        self.end = end
        self._got = b""

    def take(self) -> bytes:
        """What has come so far behind the 101."""
        while True:
            try:
                more = self.end.recv(1 << 20)
            except BlockingIOError:
                break
            except ConnectionError:
                more = b""
            if not more:
                break
            self._got += more
        assert self._got.startswith(ACCEPTED)
        return self._got.partition(b"\r\n\r\n")[2]

    def has(self, size: int) -> bool:
        return len(self.take()) == size


@asynccontextmanager
async def peers(count: int) -> AsyncIterator[list[Peer]]:
    """Simple clients on real sockets, which nobody reads unless the test does."""
    server, loop, made = Server(), asyncio.get_running_loop(), []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        transport, _protocol = await loop.create_connection(asyncio.Protocol, sock=ours)
        request = head(f"{URL}?access_token={server.house.token()}")
        protocol = upgrade_client(server.clients, request, transport, b"")
        assert isinstance(protocol, ClientProtocol)
        made.append(Peer(protocol, transport, theirs))
    try:
        yield made
    finally:
        for peer in made:
            peer.transport.abort()
            peer.end.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@ways
@both_loops
async def test_everybody_gets_all_in_order_whatever_else_is_written(way: Way) -> None:
    async with peers(20) as clients:
        sinks: list[Sink] = [peer.protocol for peer in clients]
        for number in range(50):
            way(sinks, [b"%d-%d " % (number, place) for place in range(20)])
            sinks[number % 20].write(b"own ", 1, None)
            if number % 7 == 0:
                await asyncio.sleep(0)

        wanted = [
            b"".join(b"%d-%d " % (number, place) + (b"own " if number % 20 == place else b"") for number in range(50))
            for place in range(20)
        ]
        await eventually(lambda: [peer.take() for peer in clients] == wanted)


@ways
@both_loops
async def test_rest_of_what_a_socket_did_not_take_comes_later_and_in_order(way: Way) -> None:
    """A socket is full after some of these; the second client is not read until the end."""
    pieces = [bytes([number]) * 50_000 for number in range(20)]
    async with peers(2) as clients:
        fast, slow = clients
        given = 0
        while slow.protocol.direct is not None and given < len(pieces):
            way([fast.protocol, slow.protocol], [pieces[given]] * 2)
            given += 1
            await eventually(partial(fast.has, given * 50_000))
        assert slow.protocol.direct is None, "the transport has paused the client"

        await eventually(lambda: slow.take() == b"".join(pieces[:given]))
        assert fast.take() == slow.take()
        await eventually(lambda: slow.protocol.direct is not None)


@ways
@both_loops
async def test_client_that_is_gone_gets_nothing_and_the_others_all(way: Way) -> None:
    async with peers(3) as clients:
        clients[1].end.close()
        for _ in range(3):
            there: list[Sink] = [peer.protocol for peer in clients if peer.protocol.direct is not None]
            way(there, [b"x"] * len(there))
            await asyncio.sleep(0)

        await eventually(lambda: clients[1].protocol.direct is None)
        await eventually(lambda: [peer.take() for peer in (clients[0], clients[2])] == [b"xxx", b"xxx"])


@both_loops
async def test_transport_that_is_closing_is_not_written_to_past_it() -> None:
    """Its descriptor may belong to somebody else in a moment."""
    async with peers(2) as clients:
        clients[0].transport.close()
        assert clients[0].protocol.descriptor() < 0
        assert clients[1].protocol.descriptor() >= 0


if SPREAD is not None:
    from hubwire.edge import _fanout

    @pytest.mark.parametrize(
        "arguments",
        [(), ([1],), ((1,), [b""]), ([1], (b"",)), ([1], b""), ([1], [b""], 1), ([1], []), ([], [b""]), ([1], [""])],
    )
    def test_compiled_loop_refuses_what_it_was_not_made_for(arguments: tuple[object, ...]) -> None:
        with pytest.raises(TypeError):
            _fanout.send_all(*arguments)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            _fanout.send_all(["x"], [b"y"])  # type: ignore[list-item]
        with pytest.raises(OverflowError):
            _fanout.send_all([1 << 70], [b"y"])

    def test_compiled_loop_tells_who_did_not_take_all() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            data = b"x" * (1 << 24)
            ((position, taken),) = _fanout.send_all([ours.fileno()], [data])
            assert position == 0
            assert 0 < taken < len(data)
            assert _fanout.send_all([ours.fileno()], [b"y"]) == [(0, 0)]
            assert _fanout.send_all([-1, ours.fileno()], [b"y", b"y"]) == [(0, 0), (1, 0)]
            assert _fanout.send_all([], []) == []
            theirs.close()
            assert _fanout.send_all([ours.fileno()], [b"y"]) == [(0, 0)], "a broken socket is the transport's to find"
