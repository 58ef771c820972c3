"""
One MQTT client's socket: its two beginnings, the 101 and the CONNECT packet, and what differs then from the sockets of
other clients. The gateway is a double that knows no MQTT.
"""

import asyncio
import os
from collections.abc import Awaitable
from typing import Any, cast

import pytest

from doubles import Frame, VirtualLoop, connection, head, settle
from edge.sockets import ACCEPTED, FakeTransport, Socket, complaints
from hubwire.edge.clients import Clients
from hubwire.edge.mqtt_socket import MqttProtocol
from hubwire.edge.upgrades import upgrade_client
from hubwire.gateway.opening import Opening
from hubwire.hub.connection import Connection
from hubwire.model.errors import ProtocolViolation
from hubwire.model.http import RequestHead
from hubwire.model.ports import Sink
from hubwire.model.telemetry import CloseCategory, Telemetry
from hubwire.protocols.frames import build_frame
from vectors.websocket_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, fragments

pytestmark = pytest.mark.skipif(
    os.environ.get("HUBWIRE_EXPECT") == "compiled", reason="a compiled gateway has no double"
)

CONNECT = b"CONNECT."
LIMIT = 1000
"""Bytes that a message may have here."""


class Reader:
    """What has become of the bytes that the gateway was given: some of the packets in them are not whole."""

    def __init__(self) -> None:
        self.taken = False

    def has_taken(self) -> bool:
        taken, self.taken = self.taken, False
        return taken


class Arrival:
    def __init__(self) -> None:
        self.reader = Reader()


class Newcomer:
    def __init__(self) -> None:
        self.arrival = Arrival()
        self.connection: Connection | None = None
        self.client_gone = False

    def leave(self) -> None:
        self.client_gone = True


class Gate:
    """
    The gateway as the socket of an MQTT client sees it. Whoever says `CONNECT`, in however many pieces, is let in or
    refused. Everybody is told in one word why they are closed.

    Attributes:
        newcomer, connection: of its only client.
        keep_alive: seconds of silence that are the end.
        decision: what a CONNECT waits for; None: nothing.
        refuses: whoever comes.
        waits: what a message waits for that has this payload.
        heard: of the client once it was in. What begins with `half` is no whole packet.
        said: of this, what is a request, since it does not begin with `ack`; in the order in which it was carried out.
        told: by the edge: what was called, and with what code.
    """

    def __init__(self) -> None:
        self.newcomer = Newcomer()
        self.connection = connection()
        self.keep_alive = 0.0
        self.decision: asyncio.Future[None] | None = None
        self.refuses = False
        self.waits: dict[bytes, asyncio.Future[None]] = {}
        self.heard: list[bytes] = []
        self.said: list[bytes] = []
        self.told: list[tuple[str, int]] = []
        self._early = b""

    def decide(self, request: RequestHead) -> Opening:
        return Opening(None, "mqtt", request.header("sec-websocket-key") or "", newcomer=cast("Any", self.newcomer))

    def begin(self, opening: Opening, sink: Sink) -> None:
        assert opening.newcomer is cast("Any", self.newcomer)

    def arrive(self, newcomer: Newcomer, payload: bytes, sink: Sink) -> Awaitable[None] | None:
        assert newcomer is self.newcomer
        assert newcomer.connection is None
        self._early += payload
        if len(self._early) < len(CONNECT):
            return None
        return self._enter(sink) if self.decision is None else self._enter_after(self.decision, sink)

    async def _enter_after(self, decision: asyncio.Future[None], sink: Sink) -> None:
        await decision
        waiting = self._enter(sink)
        if waiting is not None:
            await waiting

    def _enter(self, sink: Sink) -> Awaitable[None] | None:
        if self.newcomer.client_gone:
            self.told.append(("gone", 0))
            return None
        if self.refuses:
            self._say("refused", sink, 1000)
            return None
        self.connection.sink = sink
        self.newcomer.connection = self.connection
        sink.write(build_frame(BINARY, b"welcome"), 1, None)
        rest = self._early[len(CONNECT) :]
        return self.receive(self.connection, rest) if rest else None

    def never_arrived(self, newcomer: Newcomer, sink: Sink) -> None:
        assert newcomer is self.newcomer
        self.told.append(("never arrived", 0))
        sink.close(1002, "")

    def receive(self, connection: Connection, payload: bytes) -> Awaitable[None] | None:
        return self.carry_out(connection, self.hear(connection, payload), connection.sink)

    def hear(self, connection: Connection, payload: bytes) -> list[bytes]:
        self.heard.append(payload)
        if payload and not payload.startswith(b"half"):
            self.newcomer.arrival.reader.taken = True
        return [] if payload.startswith(b"ack") else [payload]

    def carry_out(self, connection: Connection, requests: list[bytes], sink: Sink | None) -> Awaitable[None] | None:
        assert len(requests) <= 1
        self.said += requests
        return self.waits.get(requests[0]) if requests else None

    def violated(self, connection: Connection, violation: ProtocolViolation) -> None:
        self.told.append(("violated", violation.close_code))
        self.end("violated", violation.close_code)

    def failed(self, connection: Connection) -> None:
        self.end("failed", 1011)

    def slow(self, connection: Connection, sink: Sink) -> None:
        if connection.sink is sink:
            self.end("slow", 1008)

    def farewell(self, connection: Connection) -> None:
        self.end("farewell", 1001)

    def timed_out(self, connection: Connection) -> None:
        self.told.append(("timed out", 0))
        self.end("timed out", 1000)

    def end(self, why: str, code: int) -> None:
        """The connection ends, and its client is told so if it has a socket."""
        sink, self.connection.sink = self.connection.sink, None
        if sink is not None:
            self._say(why, sink, code)

    @staticmethod
    def _say(why: str, sink: Sink, code: int) -> None:
        sink.write(build_frame(BINARY, why.encode()), 1, None)
        sink.close(code, why)

    def settle(self) -> None:
        """What was accepted so far is written out already."""

    def hung_up(self, connection: Connection, sink: Sink) -> None:
        self.told.append(("hung up", 0))

    def lost(self, connection: Connection, sink: Sink, code: int, category: CloseCategory) -> None:
        assert category is CloseCategory.NORMAL
        if connection.sink is sink:
            connection.sink = None
            self.told.append(("lost", code))

    def keep_alive_s(self, connection: Connection) -> float:
        return self.keep_alive


class Endpoint:
    """A server's edge with one MQTT client."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.loop = VirtualLoop()
        self.telemetry = Telemetry(100)
        self.clients = Clients(
            cast("Any", self.gate),
            self.telemetry,
            self.loop,
            max_message_bytes=LIMIT,
            buffer_bytes=100,
            reliable_buffer_bytes=200,
            inbox_requests=3,
            connect_timeout_s=10,
        )

    def upgrade(self, rest: bytes = b"") -> Socket:
        """Answer an upgrade request."""
        transport = FakeTransport()
        request = head("/clients/mqtt/hubs/chat", offers=("mqtt",))
        protocol = upgrade_client(self.clients, request, transport, rest)
        assert isinstance(protocol, MqttProtocol)
        return Socket(cast("Any", self), transport, protocol)

    def connect(self) -> Socket:
        """A client that is in and has taken what it was told."""
        socket = self.upgrade()
        say(socket, CONNECT)
        socket.forget()
        return socket

    def deciding(self) -> tuple[Socket, asyncio.Future[None]]:
        """A client that has said CONNECT, and what that waits for."""
        self.gate.decision = asyncio.get_running_loop().create_future()
        socket = self.upgrade()
        say(socket, CONNECT)
        return socket, self.gate.decision

    async def advance(self, seconds: float) -> None:
        await self.loop.advance(seconds)


def say(socket: Socket, *messages: bytes) -> None:
    """Binary messages come, all in one piece."""
    socket.feed(b"".join(client_frame(BINARY, message) for message in messages))


def words(socket: Socket) -> list[bytes | None]:
    """What the client was told; None for a close frame."""
    assert {frame.opcode for frame in socket.frames} <= {BINARY, CLOSE}
    return [frame.payload if frame.opcode == BINARY else None for frame in socket.frames]


def goodbye(code: int, *, masked: bool = True) -> bytes:
    frame = client_frame(CLOSE, code.to_bytes(2, "big"))
    return frame if masked else client_frame(CLOSE, code.to_bytes(2, "big"), mask=None)


def future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


# The two beginnings


async def test_101_says_what_it_must_and_nothing_else() -> None:
    """A common client gives up if a line has the word `connection` and not `upgrade`, and wants the blank."""
    socket = Endpoint().upgrade()

    assert socket.transport.sent == (
        ACCEPTED + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
    )


@pytest.mark.parametrize("size", [1, 3, len(CONNECT)])
async def test_first_packet_lets_the_client_in_however_it_is_cut(size: int) -> None:
    endpoint = Endpoint()
    socket = endpoint.upgrade()
    assert socket.frames == []

    say(socket, *[CONNECT[start : start + size] for start in range(0, len(CONNECT), size)], b"1", b"2")
    socket.feed(fragments(BINARY, b"3", b"", b"4"))

    assert words(socket) == [b"welcome"]
    assert endpoint.gate.said == [b"1", b"2", b"34"]
    assert socket.connection is endpoint.gate.connection


async def test_what_comes_with_the_request_and_in_the_message_of_the_first_packet_counts() -> None:
    endpoint = Endpoint()
    rest = client_frame(BINARY, CONNECT + b"1")
    socket = endpoint.upgrade(rest[:5])
    socket.feed(rest[5:] + client_frame(BINARY, b"2"))

    assert words(socket) == [b"welcome"]
    assert endpoint.gate.said == [b"1", b"2"]
    assert endpoint.loop.timers == 0


async def test_client_that_is_refused_is_told_so_and_heard_no_more() -> None:
    endpoint = Endpoint()
    endpoint.gate.refuses = True
    socket = endpoint.upgrade()
    say(socket, CONNECT, CONNECT, b"1")
    socket.feed(client_frame(TEXT, b"x"))

    assert words(socket) == [b"refused", None]
    assert socket.closed == (1000, "")
    assert (endpoint.gate.said, endpoint.gate.told) == ([], [])
    socket.feed(goodbye(1000))
    await settle()
    assert socket.transport.ended == "lost"
    assert (endpoint.clients.sockets, endpoint.loop.timers) == (set(), 0)


async def test_what_comes_while_the_first_packet_is_decided_on_waits_in_order() -> None:
    endpoint = Endpoint()
    socket, decision = endpoint.deciding()
    say(socket, b"1")
    say(socket, b"2")
    await settle()
    assert (socket.frames, endpoint.gate.said) == ([], [])

    decision.set_result(None)
    await settle()
    say(socket, b"3")

    assert words(socket) == [b"welcome"]
    assert endpoint.gate.said == [b"1", b"2", b"3"]


async def test_client_that_says_too_much_while_it_is_decided_on_is_not_read_until_it_is_in() -> None:
    endpoint = Endpoint()
    socket, decision = endpoint.deciding()
    say(socket, b"1", b"2")
    assert socket.is_read()
    say(socket, b"3")
    assert not socket.is_read()

    decision.set_result(None)
    await settle()

    assert socket.is_read()
    assert endpoint.gate.said == [b"1", b"2", b"3"]


async def test_what_waits_of_a_client_that_is_refused_is_not_handled() -> None:
    endpoint = Endpoint()
    endpoint.gate.refuses = True
    socket, decision = endpoint.deciding()
    say(socket, b"1", CONNECT)
    decision.set_result(None)
    await settle()

    assert words(socket) == [b"refused", None]
    assert endpoint.gate.said == []


async def test_ping_while_the_first_packet_is_decided_on_is_answered_at_once() -> None:
    socket, _ = Endpoint().deciding()
    socket.feed(client_frame(PING, b"now"))

    assert socket.frames == [Frame(PONG, b"now")]


@pytest.mark.parametrize("said", [b"", CONNECT[:-1]])
async def test_client_that_does_not_send_its_first_packet_in_time_is_closed(said: bytes) -> None:
    endpoint = Endpoint()
    socket = endpoint.upgrade()
    say(socket, said)
    await endpoint.advance(9.9)
    assert (socket.frames, endpoint.gate.told) == ([], [])

    await endpoint.advance(0.1)
    say(socket, CONNECT)

    assert endpoint.gate.told == [("never arrived", 0)]
    assert socket.closed == (1002, "")
    await endpoint.advance(2)
    assert socket.transport.ended == "lost"
    assert endpoint.gate.told == [("never arrived", 0)]
    assert endpoint.loop.timers == 0


async def test_decision_may_take_longer_than_the_first_packet() -> None:
    endpoint = Endpoint()
    socket, decision = endpoint.deciding()
    await endpoint.advance(60)
    assert socket.frames == []

    decision.set_result(None)
    await settle()

    assert words(socket) == [b"welcome"]


async def test_client_that_is_in_or_gone_is_not_waited_for() -> None:
    endpoint, other = Endpoint(), Endpoint()
    socket, leaving = endpoint.connect(), other.upgrade()
    leaving.transport.lose()

    assert (endpoint.loop.timers, other.loop.timers) == (0, 0)
    await endpoint.advance(60)
    assert socket.frames == []


async def test_socket_that_is_lost_before_the_first_packet_is_nobodys() -> None:
    endpoint = Endpoint()
    socket = endpoint.upgrade()
    say(socket, CONNECT[:3])
    socket.transport.lose()
    await settle()

    assert endpoint.gate.newcomer.client_gone
    assert (endpoint.gate.told, endpoint.clients.sockets) == ([], set())


async def test_gateway_learns_of_a_socket_that_is_lost_while_it_decides() -> None:
    endpoint = Endpoint()
    socket, decision = endpoint.deciding()
    say(socket, b"1")
    socket.transport.lose()
    assert endpoint.gate.newcomer.client_gone

    decision.set_result(None)
    await settle()

    assert endpoint.gate.told == [("gone", 0)]
    assert (endpoint.gate.said, endpoint.clients.sockets, endpoint.clients.tasks) == ([], set(), set())


async def test_client_that_is_let_in_although_its_socket_is_lost_has_lost_its_socket() -> None:
    """The gateway may have decided and be about to join its groups."""
    endpoint = Endpoint()
    endpoint.gate.keep_alive = 10
    socket, decision = endpoint.deciding()
    say(socket, b"1")
    socket.transport.lose()
    endpoint.gate.newcomer.client_gone = False
    decision.set_result(None)
    await settle()

    assert endpoint.gate.said == [b"1"]
    assert endpoint.gate.told == [("lost", 1006)]
    assert endpoint.loop.timers == 0, "nobody waits for its signs of life"


async def test_socket_that_is_lost_while_what_followed_the_first_packet_is_handled_is_lost_behind_that() -> None:
    endpoint = Endpoint()
    waiting = endpoint.gate.waits[b"1"] = future()
    socket = endpoint.upgrade()
    say(socket, CONNECT + b"1", b"2")
    socket.transport.lose()
    await settle()
    assert not endpoint.gate.newcomer.client_gone
    assert endpoint.gate.told == [("hung up", 0)]

    waiting.set_result(None)
    await settle()

    assert endpoint.gate.said == [b"1", b"2"]
    assert endpoint.gate.told == [("hung up", 0), ("lost", 1006)]


async def test_goodbye_while_the_first_packet_is_decided_on_is_answered_after_a_second() -> None:
    endpoint = Endpoint()
    socket, decision = endpoint.deciding()
    say(socket, b"1")
    socket.feed(goodbye(1000))
    await endpoint.advance(1)
    assert socket.closed == (1000, "")

    decision.set_result(None)
    await settle()

    assert endpoint.gate.said == [b"1"]
    assert endpoint.gate.told == [("lost", 1000)]
    assert socket.transport.ended == "lost"


async def test_goodbye_instead_of_a_first_packet_is_answered() -> None:
    endpoint = Endpoint()
    socket = endpoint.upgrade()
    socket.feed(goodbye(1001))
    await settle()

    assert socket.closed == (1001, "")
    assert socket.transport.ended == "lost"
    assert endpoint.gate.newcomer.client_gone


async def test_fault_of_ours_in_the_decision_is_1011_and_recorded() -> None:
    endpoint = Endpoint()
    socket, decision = endpoint.deciding()
    with complaints() as complained:
        decision.set_exception(ConnectionError())
        await settle()

    assert socket.closed == (1011, "")
    assert complained == ["a client's request failed"]


async def test_fault_of_ours_with_what_followed_the_first_packet_ends_the_connection() -> None:
    endpoint = Endpoint()
    waiting = endpoint.gate.waits[b"1"] = future()
    socket = endpoint.upgrade()
    say(socket, CONNECT + b"1")
    with complaints() as complained:
        waiting.set_exception(ConnectionError())
        await settle()

    assert words(socket) == [b"welcome", b"failed", None]
    assert socket.closed == (1011, "")
    assert complained == ["a client's request failed"]


# In


def in_or_not(endpoint: Endpoint, is_in: bool) -> Socket:
    return endpoint.connect() if is_in else endpoint.upgrade()


inside_and_outside = pytest.mark.parametrize("is_in", [False, True])


@inside_and_outside
async def test_text_message_ends_the_connection_behind_what_came_before(is_in: bool) -> None:
    endpoint = Endpoint()
    socket = in_or_not(endpoint, is_in)
    socket.feed(client_frame(BINARY, b"1") + client_frame(TEXT, CONNECT) + client_frame(BINARY, CONNECT))
    await settle()

    assert words(socket) == ([b"violated", None] if is_in else [None])
    assert socket.closed == (1003, "")
    assert endpoint.gate.told == ([("violated", 1003)] if is_in else [])
    assert endpoint.gate.said == ([b"1"] if is_in else [])
    socket.feed(goodbye(1003))
    await settle()
    assert socket.transport.ended == "lost"


async def test_text_message_behind_a_first_packet_that_is_decided_on_is_noticed_after_it() -> None:
    endpoint = Endpoint()
    socket, decision = endpoint.deciding()
    socket.feed(client_frame(TEXT, b"x"))
    await settle()
    assert socket.frames == []

    decision.set_result(None)
    await settle()

    assert words(socket) == [b"welcome", b"violated", None]


async def test_one_message_may_hold_several_of_the_largest_packets() -> None:
    endpoint = Endpoint()
    socket = in_or_not(endpoint, True)
    whole = b"x" * (8 * LIMIT)
    socket.feed(client_frame(BINARY, whole))
    await settle()

    assert b"".join(endpoint.gate.said) == whole


@inside_and_outside
@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (client_frame(3), 1002),
        (client_frame(CONTINUATION, b"x"), 1002),
        (client_frame(BINARY, b"x", mask=None), 1002),
        (client_frame(TEXT, b"x", mask=None), 1002),
        (client_frame(TEXT, b"\xff"), 1007),
        (client_frame(BINARY, b"x" * (8 * LIMIT + 1)), 1009),
    ],
)
async def test_broken_frame_ends_the_connection_and_our_direction(is_in: bool, broken: bytes, code: int) -> None:
    endpoint = Endpoint()
    socket = in_or_not(endpoint, is_in)
    socket.feed(broken + client_frame(BINARY, CONNECT))
    await settle()

    assert words(socket) == ([b"violated", None] if is_in else [None])
    assert socket.closed == (code, "")
    assert socket.transport.ended == "eof"
    assert endpoint.gate.told == ([("violated", code)] if is_in else [])
    await endpoint.advance(2)
    assert socket.transport.ended == "lost"


async def test_broken_frame_behind_a_refusal_is_of_no_interest() -> None:
    endpoint = Endpoint()
    endpoint.gate.refuses = True
    socket, decision = endpoint.deciding()
    socket.feed(client_frame(3))
    decision.set_result(None)
    await settle()

    assert words(socket) == [b"refused", None]
    assert socket.transport.ended == ""


@inside_and_outside
async def test_control_frames_without_a_mask_are_taken(is_in: bool) -> None:
    endpoint = Endpoint()
    socket = in_or_not(endpoint, is_in)
    socket.feed(client_frame(PONG, b"x", mask=None), client_frame(PING, b"1", mask=None), client_frame(PING, b"2"))
    assert socket.frames == [Frame(PONG, b"1"), Frame(PONG, b"2")]

    socket.feed(goodbye(1000, masked=False))
    await settle()

    assert socket.closed == (1000, "")
    assert socket.transport.ended == "lost"
    assert endpoint.gate.told == ([("lost", 1000)] if is_in else [])


# Out


@pytest.mark.parametrize(
    ("code", "sent"), [(1000, 1000), (1001, 1000), (1008, 1000), (1002, 1002), (1009, 1009), (1011, 1011)]
)
async def test_close_frame_says_nothing_that_the_packet_before_it_has_said(code: int, sent: int) -> None:
    endpoint = Endpoint()
    socket = endpoint.connect()
    endpoint.gate.end("because", code)

    assert words(socket) == [b"because", None]
    assert socket.closed == (sent, "")


@pytest.mark.parametrize("masked", [False, True])
async def test_client_that_answers_the_close_frame_is_let_go(masked: bool) -> None:
    endpoint = Endpoint()
    socket = endpoint.connect()
    endpoint.gate.end("because", 1000)
    socket.feed(client_frame(BINARY, b"1") + goodbye(1000, masked=masked))
    await settle()

    assert socket.transport.ended == "lost"
    assert (endpoint.gate.said, endpoint.gate.told, endpoint.loop.timers) == ([], [], 0)


async def test_client_that_drops_its_socket_instead_of_an_answer_is_let_go() -> None:
    endpoint = Endpoint()
    socket = endpoint.connect()
    endpoint.gate.end("because", 1000)
    socket.transport.lose()
    await settle()

    assert (endpoint.gate.told, endpoint.clients.sockets, endpoint.loop.timers) == ([], set(), 0)


async def test_client_that_does_not_answer_the_close_frame_is_cut_off() -> None:
    endpoint = Endpoint()
    socket = endpoint.connect()
    endpoint.gate.end("because", 1000)
    await endpoint.advance(1.9)
    assert socket.transport.ended == ""

    await endpoint.advance(0.1)

    assert socket.transport.ended == "lost"
    assert endpoint.loop.timers == 0


HUNDRED = build_frame(BINARY, b"x" * 98)


def fill(endpoint: Endpoint, socket: Socket, hundreds: int) -> None:
    """Let the client take nothing, and so many hundred bytes wait for it."""
    socket.transport.limits = (0, 0)
    socket.transport.stuck = True
    socket.protocol.write(build_frame(BINARY, b"first"), 1, None)
    for _ in range(hundreds):
        socket.protocol.write(HUNDRED, 1, None)
    assert endpoint.telemetry.queued_bytes == 100 * hundreds


async def test_as_much_may_wait_for_it_as_for_a_reliable_client_and_no_byte_more() -> None:
    """And it is told why it is closed, behind the gap."""
    endpoint = Endpoint()
    socket = endpoint.connect()
    fill(endpoint, socket, 2)
    await settle()
    assert socket.frames == []

    socket.protocol.write(b"\x82\x00", 1, None)
    await settle()
    socket.transport.take()

    assert words(socket) == [b"first", b"slow", None]
    assert socket.closed == (1000, "")
    assert endpoint.telemetry.queued_bytes == 0


async def test_client_that_takes_too_little_while_its_first_messages_are_handled_is_closed() -> None:
    """It is in already, and gets messages, although the socket is not its connection's yet."""
    endpoint = Endpoint()
    endpoint.gate.waits[b"1"] = future()
    socket = endpoint.upgrade()
    say(socket, CONNECT + b"1")
    fill(endpoint, socket, 2)
    socket.protocol.write(b"\x82\x00", 1, None)
    await settle()
    socket.transport.take()

    assert words(socket) == [b"welcome", b"first", b"slow", None]


async def test_client_that_takes_too_little_before_it_is_in_is_closed() -> None:
    endpoint = Endpoint()
    socket = endpoint.upgrade()
    fill(endpoint, socket, 2)
    socket.protocol.write(b"\x82\x00", 1, None)
    await settle()
    socket.transport.take()

    assert words(socket) == [b"first", None]


async def test_packet_that_says_why_arrives_before_the_close_frame_however_little_the_client_takes() -> None:
    endpoint = Endpoint()
    socket = endpoint.connect()
    fill(endpoint, socket, 1)
    endpoint.gate.end("because", 1000)
    socket.transport.take(1)
    socket.transport.take()

    assert words(socket) == [b"first", b"x" * 98, b"because", None]


# Another socket has taken its place


async def test_socket_whose_connection_has_another_one_is_ignored() -> None:
    endpoint = Endpoint()
    endpoint.gate.keep_alive = 10
    old = endpoint.connect()
    endpoint.gate.connection.sink = cast("Any", object())
    say(old, b"1")
    old.feed(client_frame(TEXT, b"x"))
    await endpoint.advance(60)
    assert old.frames == []

    old.feed(client_frame(3))
    old.transport.lose()
    await settle()

    assert (endpoint.gate.said, endpoint.gate.told) == ([], [])


async def test_client_whose_connection_has_another_socket_when_it_is_in_gets_nothing_of_it() -> None:
    """While what followed its CONNECT was handled, somebody else came with the same client id."""
    endpoint = Endpoint()
    waiting = endpoint.gate.waits[b"1"] = future()
    socket = endpoint.upgrade()
    say(socket, CONNECT + b"1", b"2")
    endpoint.gate.end("taken over", 1000)
    endpoint.gate.connection.sink = cast("Any", object())
    waiting.set_result(None)
    await settle()

    assert words(socket) == [b"welcome", b"taken over", None]
    assert (endpoint.gate.said, endpoint.gate.told) == ([b"1"], [])


# Signs of life


async def test_client_without_a_keep_alive_may_be_silent_and_is_never_pinged() -> None:
    endpoint = Endpoint()
    socket = endpoint.connect()
    await endpoint.advance(10_000)

    assert (socket.frames, endpoint.gate.told) == ([], [])
    assert endpoint.loop.timers == 0


async def test_silent_client_is_given_up_by_name_and_never_pinged() -> None:
    endpoint = Endpoint()
    endpoint.gate.keep_alive = 15
    socket = endpoint.connect()
    await endpoint.advance(15)
    assert (socket.frames, endpoint.gate.told) == ([], [])

    await endpoint.advance(0.5)

    assert endpoint.gate.told == [("timed out", 0)]
    assert words(socket) == [b"timed out", None]
    await endpoint.advance(2)
    assert socket.transport.ended == "lost"
    assert endpoint.loop.timers == 0


@pytest.mark.parametrize("late_s", [0.0, 0.125, 0.24])
async def test_client_has_all_of_its_time_wherever_the_clock_stands_and_hardly_more(late_s: float) -> None:
    """The clock counts quarters of a second, and with the least keep alive there are six."""
    endpoint = Endpoint()
    endpoint.gate.keep_alive = 1.5
    socket = endpoint.connect()
    await endpoint.advance(late_s)
    for _ in range(20):
        say(socket, b"x")
        await endpoint.advance(1.5)
    assert endpoint.gate.told == []

    await endpoint.advance(0.5)
    assert endpoint.gate.told == [("timed out", 0)]


@pytest.mark.parametrize(
    "nothing", [client_frame(BINARY, b"half"), client_frame(BINARY, b""), client_frame(PONG), client_frame(PING)]
)
async def test_only_whole_packets_are_signs_of_life(nothing: bytes) -> None:
    """[OASIS MQTT 5.0, 3.1.2.10]"""
    endpoint = Endpoint()
    endpoint.gate.keep_alive = 3
    socket = endpoint.connect()
    for _ in range(10):
        await endpoint.advance(2)
        say(socket, b"1")
    for _ in range(6):
        await endpoint.advance(0.5)
        socket.feed(nothing)
    assert endpoint.gate.told == []

    await endpoint.advance(0.5)
    assert endpoint.gate.told == [("timed out", 0)]


@pytest.mark.parametrize("size", [1, LIMIT])
async def test_packet_that_comes_for_ever_is_no_sign_of_life(size: int) -> None:
    endpoint = Endpoint()
    endpoint.gate.keep_alive = 3
    socket = endpoint.connect()
    for _ in range(4):
        assert endpoint.gate.told == []
        say(socket, b"half" * (size // 4 + 1))
        await settle()
        await endpoint.advance(1)

    assert endpoint.gate.told == [("timed out", 0)]


@pytest.mark.parametrize("messages", [1, 7, 40])
async def test_long_packet_that_comes_slowly_but_steadily_is_a_sign_of_life(messages: int) -> None:
    """However WebSocket cuts it: nothing else may be said before its end. Stuck in it, the client is gone."""
    endpoint = Endpoint()
    endpoint.gate.keep_alive = 3
    socket = endpoint.connect()
    wire = b"".join(client_frame(BINARY, b"half" * (7 * LIMIT // 4 // messages)) for _ in range(messages))
    for _ in range(3):
        for start in range(0, len(wire), 400):
            socket.feed(wire[start : start + 400])
            await settle()
            await endpoint.advance(0.25)
    assert endpoint.gate.told == []

    await endpoint.advance(3.5)
    assert endpoint.gate.told == [("timed out", 0)]


async def test_sign_of_life_counts_while_what_was_said_before_it_is_with_a_handler() -> None:
    endpoint = Endpoint()
    endpoint.gate.keep_alive = 3
    socket = endpoint.connect()
    waiting = endpoint.gate.waits[b"1"] = future()
    say(socket, b"1")
    for _ in range(10):
        await endpoint.advance(2)
        say(socket, b"ack")
    assert endpoint.gate.told == []

    await endpoint.advance(3.5)
    assert endpoint.gate.told == [("timed out", 0)]
    waiting.set_result(None)


async def test_client_whose_long_message_is_not_heard_yet_is_not_silent() -> None:
    """What it has said since waits behind that."""
    endpoint = Endpoint()
    endpoint.gate.keep_alive = 3
    socket = endpoint.connect()
    waiting = endpoint.gate.waits[b"1"] = future()
    say(socket, b"1", b"2" * 5000)
    await endpoint.advance(100)
    assert endpoint.gate.told == []

    waiting.set_result(None)
    await settle()
    await endpoint.advance(3)
    assert endpoint.gate.told == []
    await endpoint.advance(0.5)
    assert endpoint.gate.told == [("timed out", 0)]


async def test_silence_counts_from_when_the_client_is_in() -> None:
    endpoint = Endpoint()
    endpoint.gate.keep_alive = 15
    _, decision = endpoint.deciding()
    await endpoint.advance(100)
    decision.set_result(None)
    await settle()
    await endpoint.advance(15)
    assert endpoint.gate.told == []

    await endpoint.advance(0.5)
    assert endpoint.gate.told == [("timed out", 0)]


async def test_client_to_whom_nobody_listens_is_not_silent() -> None:
    """Its event is with a handler, and behind it waits as much as may."""
    endpoint = Endpoint()
    endpoint.gate.keep_alive = 10
    socket = endpoint.connect()
    waiting = endpoint.gate.waits[b"1"] = future()
    say(socket, b"1", b"2", b"3", b"4")
    assert not socket.is_read()
    await endpoint.advance(100)
    assert endpoint.gate.told == []

    waiting.set_result(None)
    await settle()
    await endpoint.advance(10)
    assert endpoint.gate.told == []
    assert endpoint.loop.timers == 1

    await endpoint.advance(0.5)
    assert endpoint.gate.told == [("timed out", 0)]


# The server goes away


async def test_client_is_told_that_the_server_goes_away() -> None:
    endpoint = Endpoint()
    socket = endpoint.connect()
    ending = endpoint.loop.create_task(endpoint.clients.end(endpoint.loop.time() + 60))
    await settle()
    assert words(socket) == [b"farewell", None]
    assert socket.closed == (1000, "")

    socket.feed(goodbye(1000, masked=False))
    await settle()
    assert ending.result() == 0


async def test_client_whose_first_messages_are_handled_is_told_that_the_server_goes_away() -> None:
    endpoint = Endpoint()
    endpoint.gate.waits[b"1"] = future()
    socket = endpoint.upgrade()
    say(socket, CONNECT + b"1")
    socket.protocol.say_goodbye()

    assert words(socket) == [b"welcome", b"farewell", None]


@pytest.mark.parametrize("deciding", [False, True])
async def test_client_that_is_not_in_yet_is_closed_when_the_server_goes_away(deciding: bool) -> None:
    endpoint = Endpoint()
    socket = endpoint.deciding()[0] if deciding else endpoint.upgrade()
    ending = endpoint.loop.create_task(endpoint.clients.end(endpoint.loop.time() + 60))
    await settle()

    assert socket.closed == (1000, "")
    assert not ending.done()
    await endpoint.advance(2)
    assert ending.result() == 0
    assert endpoint.gate.newcomer.client_gone
    assert (endpoint.clients.sockets, endpoint.clients.tasks, endpoint.loop.timers) == (set(), set(), 0)


async def test_client_that_is_decided_on_and_does_not_leave_in_time_is_cut_off() -> None:
    endpoint = Endpoint()
    socket, decision = endpoint.deciding()

    assert await endpoint.clients.end(endpoint.loop.time()) == 1
    await settle()

    assert socket.transport.ended == "lost"
    assert decision.cancelled()
    assert (endpoint.gate.told, endpoint.clients.tasks) == ([], set())


async def test_acknowledgements_are_heard_while_a_request_waits_and_requests_wait_for_their_turn() -> None:
    endpoint = Endpoint()
    socket = in_or_not(endpoint, True)
    waiting = endpoint.gate.waits[b"1"] = future()
    for payload in (b"1", b"ack 1", b"2", b"ack 2"):
        socket.feed(client_frame(BINARY, payload))
    await settle()

    assert endpoint.gate.heard == [b"1", b"ack 1", b"2", b"ack 2"]
    assert endpoint.gate.said == [b"1"]

    waiting.set_result(None)
    await settle()
    assert endpoint.gate.said == [b"1", b"2"]


async def test_what_was_heard_is_carried_out_although_the_socket_is_gone_by_then() -> None:
    endpoint = Endpoint()
    socket = in_or_not(endpoint, True)
    waiting = endpoint.gate.waits[b"1"] = future()
    socket.feed(client_frame(BINARY, b"1") + client_frame(BINARY, b"2"))
    socket.transport.lose()
    waiting.set_result(None)
    await settle()

    assert endpoint.gate.said == [b"1", b"2"]
    assert endpoint.gate.told[-1] == ("lost", 1006)


async def test_long_message_is_heard_in_pieces_and_what_comes_behind_it_after_them() -> None:
    """It may hold hundreds of thousands of packets, and other clients want their turns."""
    endpoint = Endpoint()
    endpoint.clients.max_message_bytes = 1 << 20
    socket = in_or_not(endpoint, True)
    long = bytes(range(256)) * 256
    socket.feed(client_frame(BINARY, long) + client_frame(BINARY, b"behind"))
    first_turn = len(endpoint.gate.heard)
    await settle()
    await settle()

    assert first_turn < len(endpoint.gate.heard)
    assert b"".join(endpoint.gate.heard[:-1]) == long
    assert max(map(len, endpoint.gate.heard)) == 4096
    assert endpoint.gate.heard[-1] == b"behind"


async def test_message_behind_one_that_is_not_heard_yet_is_not_heard_before_it() -> None:
    endpoint = Endpoint()
    endpoint.clients.max_message_bytes = 1 << 20
    socket = in_or_not(endpoint, True)
    waiting = endpoint.gate.waits[b"1"] = future()
    long = b"x" * 20000
    socket.feed(client_frame(BINARY, b"1"))
    for payload in (long, b"2"):
        socket.feed(client_frame(BINARY, payload))
    await settle()
    assert endpoint.gate.heard == [b"1"]

    waiting.set_result(None)
    await settle()
    await settle()
    assert b"".join(endpoint.gate.heard) == b"1" + long + b"2"


async def test_client_that_is_not_in_yet_may_send_no_more_than_one_packet_may_have() -> None:
    endpoint = Endpoint()
    socket = in_or_not(endpoint, False)
    socket.feed(client_frame(BINARY, b"x" * (LIMIT + 1)))
    await settle()

    assert socket.closed == (1009, "")
