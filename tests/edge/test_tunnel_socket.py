"""One tool's socket: the opening, both directions with their back pressure, and the ways in which it ends."""

import asyncio
from functools import partial
from typing import Any

import pytest

from doubles import HUB, Directory, Frame, VirtualLoop, frames, head, settle
from edge.sockets import ACCEPTED, FakeTransport, complaints
from edge.wire import Client, both_loops, echo, eventually, serve
from hubwire.edge.tunnel_socket import TunnelSocket, TunnelSockets, upgrade
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.gateway.tunnel_handshake import TunnelEntrance
from hubwire.model.hubs import HubSettings
from hubwire.model.names import HubKey
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.upstream.tunnel import Tunnels
from vectors.tunnel_frames import message_bytes, unpacked
from vectors.websocket_frames import BINARY, CLOSE, PING, PONG, TEXT, client_frame, fragments

URL = "/server/tunnel?hub=chat&access_token=t"
EVENT = OutgoingRequest("POST", "tunnel:///e", (), b"{}")
MIB = 1 << 20
CLOCK = 1
"""Timers that are left: the clock of the signs of life, until its next tick."""


class Callers:
    """Everybody is who they are, once the test lets them pass."""

    def __init__(self) -> None:
        self.gate: asyncio.Future[None] | None = None
        self.fault: Exception | None = None

    async def caller(self, _token: str, _hub: HubKey, _host: str, _client_ip: str) -> str | None:
        if self.gate is not None:
            await self.gate
        if self.fault is not None:
            raise self.fault
        return "guid"


class Server:
    """Tunnels with their sockets."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.callers = Callers()
        self.directory = Directory()
        self.tunnels = Tunnels(MIB)
        callers: Any = self.callers
        self.sockets = TunnelSockets(TunnelEntrance(self.tunnels, callers, self.directory), self.loop, MIB)

    async def upgrade(self, url: str = URL, rest: bytes = b"") -> "Tool":
        """An upgrade request, as far as it comes by itself."""
        tool = Tool(self, url)
        tool.arrive(rest)
        await settle()
        return tool

    async def connect(self) -> "Tool":
        """A tool that is in; what it was told so far is taken."""
        tool = await self.upgrade()
        tool.forget()
        return tool

    async def ask(self, request: OutgoingRequest = EVENT) -> "asyncio.Task[IncomingResponse]":
        """An event, on its way."""
        task = asyncio.ensure_future(self.tunnels.send(HUB, request, 1000.0))
        await settle()
        return task


class Tool:
    """
    The other end, and the front between.

    Attributes:
        left: it was decided, and the front is to end the connection.
    """

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.transport = FakeTransport()
        self.taken: object | None = None
        self.undecided = upgrade(server.sockets, head(url), self.transport, b"")
        self.undecided.on_decided = self._decided
        self._rest = b""
        self._taken = 0

        self.left = False

    def _decided(self) -> None:
        self.taken = self.undecided.finish(self._rest)
        self.left = self.taken is None

    def arrive(self, data: bytes) -> None:
        """Bytes come before anything is decided."""
        self._rest += data

    def feed(self, *pieces: bytes) -> None:
        """Bytes come from the tool, if anybody reads them."""
        for piece in pieces:
            assert self.transport.ended not in ("closing", "aborted", "lost"), "nobody reads any more"
            self.socket.data_received(piece)

    def say(self, number: int, content: bytes | None = None, **fields: Any) -> None:
        self.feed(client_frame(BINARY, message_bytes(number, content, **fields)))

    def forget(self) -> None:
        self._taken = len(self.transport.sent)

    @property
    def socket(self) -> TunnelSocket:
        assert isinstance(self.taken, TunnelSocket)
        return self.taken

    @property
    def frames(self) -> list[Frame]:
        """What it was told since."""
        raw = self.transport.sent[self._taken :]
        return frames(raw.partition(b"\r\n\r\n")[2] if raw.startswith(b"HTTP/") else raw)

    @property
    def told(self) -> list[tuple[int, dict[str, Any], bytes]]:
        """The tunnel's messages among it."""
        return [unpacked(frame.payload) for frame in self.frames if frame.opcode == BINARY]

    @property
    def closed(self) -> tuple[int, str] | None:
        """Code and reason of our close frame."""
        for frame in self.frames:
            if frame.opcode == CLOSE:
                return int.from_bytes(frame.payload[:2], "big"), frame.payload[2:].decode()
        return None


def goodbye(code: int) -> bytes:
    """A tool's close frame."""
    return client_frame(CLOSE, code.to_bytes(2, "big"))


# The opening


async def test_101_has_no_subprotocol_and_what_comes_first_behind_it_is_that_it_is_connected() -> None:
    server = Server()
    tool = await server.upgrade()

    assert tool.transport.sent.startswith(
        ACCEPTED + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    ((number, fields, content),) = tool.told
    assert (number, fields["UserId"], content) == (10, "guid", b"")
    assert (server.tunnels.count(HUB), len(server.sockets.sockets), tool.left) == (1, 1, False)


async def test_refusal_is_an_answer_with_its_reason_and_leaves_the_socket_to_the_front() -> None:
    server = Server()
    server.callers.fault = HandshakeRefused(401, "The access token is not valid.")
    tool = await server.upgrade()

    assert tool.transport.sent.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert tool.transport.sent.endswith(b"\r\n\r\nThe access token is not valid.")
    assert (tool.left, tool.transport.protocol, server.sockets.sockets) == (True, None, set())


async def test_decision_that_fails_by_our_own_fault_is_500_and_recorded() -> None:
    server = Server()
    server.callers.fault = ValueError("a fault of ours")
    with complaints() as complained:
        tool = await server.upgrade()

    assert tool.transport.sent.startswith(b"HTTP/1.1 500 ")
    assert (tool.left, complained) == (True, ["the upgrade of a tunnel could not be decided"])


async def test_what_comes_while_the_token_is_proved_is_read_once_it_is() -> None:
    server = Server()
    server.callers.gate = asyncio.get_running_loop().create_future()
    tool = await server.upgrade(rest=client_frame(PING, b"early")[:3])
    tool.arrive(client_frame(PING, b"early")[3:])
    await settle()
    assert (tool.transport.sent, server.tunnels.count(HUB)) == (b"", 0)

    server.callers.gate.set_result(None)
    await settle()

    assert tool.frames[-1] == Frame(PONG, b"early")


async def test_tool_that_left_before_its_token_was_proved_is_nobody() -> None:
    server = Server()
    server.callers.gate = asyncio.get_running_loop().create_future()
    tool = await server.upgrade()

    tool.undecided.leave()
    await settle()

    assert (tool.transport.sent, server.tunnels.count(HUB), server.sockets.tasks) == (b"", 0, set())


async def test_tool_whose_socket_closes_while_its_token_is_proved_is_nobody() -> None:
    server = Server()
    server.callers.gate = asyncio.get_running_loop().create_future()
    tool = await server.upgrade()
    tool.transport.ended = "closing"

    server.callers.gate.set_result(None)
    await settle()

    assert (tool.transport.sent, server.tunnels.count(HUB), tool.left) == (b"", 0, True)


# Both directions


async def test_event_is_one_binary_message_and_its_answer_may_be_cut_anyhow() -> None:
    server = Server()
    tool = await server.connect()
    waiting = await server.ask()
    assert [frame.opcode for frame in tool.frames] == [BINARY]
    assert tool.told[0][1]["Url"] == "tunnel:///e"

    first = message_bytes(2, b"a", AckId=1, StatusCode=200, NotCompleted=True)
    second = message_bytes(2, b"b", AckId=1, StatusCode=200)
    stream = first + second
    tool.feed(client_frame(BINARY, stream[:50]), fragments(BINARY, stream[50:60], b"", stream[60:]))

    assert (await waiting).body == b"ab"


async def test_response_as_large_as_it_may_be_comes_in_one_message() -> None:
    server = Server()
    tool = await server.connect()
    waiting = await server.ask()

    tool.say(2, b"x" * MIB, AckId=1, StatusCode=200, Headers={"x": ["y" * 10_000]})

    assert (await waiting).body == b"x" * MIB


async def test_ping_is_answered_and_a_pong_never() -> None:
    tool = await Server().connect()

    tool.feed(client_frame(PING, b"payload") + client_frame(PONG, b"x"))

    assert tool.frames == [Frame(PONG, b"payload")]


async def test_tool_that_reads_too_slowly_gets_no_more_events_until_it_has_caught_up() -> None:
    server = Server()
    tool = await server.connect()
    tool.transport.stuck = True
    large = OutgoingRequest("POST", "tunnel:///e", (), b"x" * (MIB - 1000))
    waiting = [await server.ask(large) for _ in range(11)]
    assert [task.done() for task in waiting] == [False] * 10 + [True]
    with pytest.raises(WebhookFailed, match="busy"):
        await waiting.pop()
    tool.feed(client_frame(PING, b"1"), client_frame(PING, b"2"))
    assert tool.frames == []

    tool.transport.take()

    assert [number for number, _, _ in tool.told] == [1] * 10
    assert [frame.payload for frame in tool.frames if frame.opcode == PONG] == [b"2"]
    waiting.append(await server.ask(large))
    for ack_id in range(1, 12):
        tool.say(2, b"", AckId=ack_id, StatusCode=204)
    assert {response.status for response in await asyncio.gather(*waiting)} == {204}


async def test_tool_that_asks_and_never_reads_is_cut_off() -> None:
    server = Server()
    tool = await server.connect()
    tool.transport.stuck = True
    question = client_frame(BINARY, message_bytes(1, AckId=1, HttpMethod="GET", Url="https://h/" + "x", Headers={}))

    for _ in range(200_000):
        if tool.transport.ended:
            break
        tool.feed(question)

    assert tool.transport.ended == "aborted"
    await settle()
    assert (server.tunnels.count(HUB), server.sockets.sockets) == (0, set())


# The end


@pytest.mark.parametrize(
    ("said", "closed"),
    [
        (client_frame(TEXT, b"{}"), (1003, "a tunnel takes binary messages only")),
        (client_frame(BINARY, b"\x00\x00\x00\x00"), (1007, "the message of the tunnel is malformed")),
        (client_frame(BINARY, b"\xff\xff\xff\xff"), (1009, "the message of the tunnel is too long")),
    ],
)
async def test_what_no_tool_says_is_closed_with_its_reason_and_fails_what_waits(
    said: bytes, closed: tuple[int, str]
) -> None:
    server = Server()
    tool = await server.connect()
    waiting = await server.ask()

    tool.feed(said + client_frame(BINARY, message_bytes(2, AckId=1, StatusCode=200)))

    assert (tool.closed, server.tunnels.count(HUB)) == (closed, 0)
    with pytest.raises(WebhookFailed):
        await waiting
    tool.feed(goodbye(closed[0]))
    await settle()
    assert (tool.transport.ended, server.sockets.sockets, server.loop.timers) == ("lost", set(), CLOCK)


@pytest.mark.parametrize("tls", [False, True])
async def test_broken_framing_is_closed_1002_and_nothing_more_is_awaited(tls: bool) -> None:
    server = Server()
    tool = await server.connect()
    tool.transport.tls = tls

    tool.feed(b"\xff\xff")
    await settle()

    assert (tool.closed or (0,))[0] == 1002
    assert tool.transport.ended == ("lost" if tls else "eof")
    assert server.tunnels.count(HUB) == 0


async def test_message_that_announces_too_much_is_1009_before_it_has_come() -> None:
    tool = await Server().connect()

    tool.feed(b"\x82\xff" + (3 * MIB + 1).to_bytes(8, "big") + b"\0" * 4)

    assert (tool.closed or (0,))[0] == 1009


async def test_close_frame_of_a_tool_is_answered_with_its_code() -> None:
    server = Server()
    tool = await server.connect()
    waiting = await server.ask()

    tool.feed(goodbye(1001))
    await settle()

    assert (tool.closed, tool.transport.ended) == ((1001, ""), "lost")
    with pytest.raises(WebhookFailed):
        await waiting
    assert (server.tunnels.count(HUB), server.sockets.sockets, server.loop.timers) == (0, set(), CLOCK)


async def test_socket_that_is_lost_fails_what_waits() -> None:
    server = Server()
    tool = await server.connect()
    waiting = await server.ask()

    tool.transport.lose()

    with pytest.raises(WebhookFailed) as caught:
        await waiting
    assert caught.value.kind == "unreachable"
    assert (server.tunnels.count(HUB), server.sockets.sockets, server.loop.timers) == (0, set(), CLOCK)


async def test_silent_tool_is_pinged_and_one_that_is_dead_dropped() -> None:
    server = Server()
    server.directory.hubs[HUB] = HubSettings(web_socket_keep_alive_interval_in_seconds=5)
    tool, other = await server.connect(), await server.connect()

    await server.loop.advance(6)
    assert [tool.frames, other.frames] == [[Frame(PING, b"")]] * 2
    for _ in range(3):
        await server.loop.advance(4)
        tool.feed(client_frame(PONG))

    assert (tool.transport.ended, other.transport.ended) == ("", "lost")
    assert server.tunnels.count(HUB) == 1


async def test_tools_are_asked_to_come_back_when_the_server_goes_and_leave_in_their_own_time() -> None:
    server = Server()
    tool, other = await server.connect(), await server.connect()
    ending = asyncio.ensure_future(server.sockets.end(server.loop.time() + 1000))
    await settle()

    assert [number for number, _, _ in tool.told] == [6]
    assert [tool.closed, other.closed] == [(1001, "The server is shutting down.")] * 2
    assert not ending.done()
    for leaving in (tool, other):
        leaving.feed(goodbye(1001))
    assert await ending == 0

    assert (await server.upgrade()).transport.sent.startswith(b"HTTP/1.1 503 ")


async def test_tool_that_does_not_leave_is_cut_off() -> None:
    server = Server()
    tool = await server.connect()

    assert await server.sockets.end(server.loop.time()) == 1
    await settle()
    assert tool.transport.ended == "lost"

    later = Server()
    tool = await later.connect()
    ending = asyncio.ensure_future(later.sockets.end(later.loop.time() + 1000))
    await settle()
    await later.loop.advance(2)
    assert (await ending, tool.transport.ended) == (0, "lost")


async def test_end_without_any_tool_waits_for_nobody() -> None:
    server = Server()

    assert await server.sockets.end(server.loop.time() + 1000) == 0


# With a real socket


ASKED = "\r\n".join(
    [f"GET {URL} HTTP/1.1", *(f"{name}: {value}" for name, value in head(URL).headers), "", ""]
).encode()


async def frame_of(client: Client) -> Frame:
    """The next frame that a client is sent."""
    start = await client.reader.readexactly(2)
    length = start[1]
    if length > 125:
        more = await client.reader.readexactly(2 if length == 126 else 8)
        start, length = start + more, int.from_bytes(more, "big")
    (frame,) = frames(start + await client.reader.readexactly(length))
    return frame


@both_loops
async def test_tunnel_goes_from_its_upgrade_over_an_event_to_its_end() -> None:
    loop = asyncio.get_running_loop()
    tunnels = Tunnels()
    callers: Any = Callers()
    sockets = TunnelSockets(TunnelEntrance(tunnels, callers, Directory()), loop)
    async with serve(echo, partial(upgrade, sockets)) as served:
        client = await served.connect()
        await client.send(ASKED + client_frame(PING, b"early"))
        assert (await client.response()).status == 101
        assert unpacked((await frame_of(client)).payload)[0] == 10
        assert await frame_of(client) == Frame(PONG, b"early")

        body = b"x" * 900_000
        waiting = asyncio.ensure_future(tunnels.send(HUB, OutgoingRequest("POST", "tunnel:///e", (), body), 60.0))
        number, fields, content = unpacked((await frame_of(client)).payload)
        assert (number, fields["Url"], content) == (1, "tunnel:///e", body)
        answer = message_bytes(2, body, AckId=fields["AckId"], StatusCode=200)
        await client.send(client_frame(BINARY, answer))
        assert await waiting == IncomingResponse(200, (), body)

        ending = asyncio.ensure_future(sockets.end(loop.time() + 60))
        assert unpacked((await frame_of(client)).payload)[0] == 6
        assert (await frame_of(client)).payload[:2] == (1001).to_bytes(2, "big")
        await client.send(goodbye(1001))
        assert await ending == 0
        assert await client.rest() == b""
        client.close()


@both_loops
async def test_tool_that_vanishes_is_noticed() -> None:
    tunnels = Tunnels()
    callers: Any = Callers()
    sockets = TunnelSockets(TunnelEntrance(tunnels, callers, Directory()), asyncio.get_running_loop())
    async with serve(echo, partial(upgrade, sockets)) as served:
        client = await served.connect()
        await client.send(ASKED)
        await eventually(lambda: tunnels.count(HUB))

        client.reset()

        await eventually(lambda: not tunnels.count(HUB) and not sockets.sockets)
