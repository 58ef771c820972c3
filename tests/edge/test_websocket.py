"""One client's socket: the opening, both directions with their back pressure, and all the ways in which it ends."""

import asyncio
from functools import partial
from itertools import pairwise
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
import pytest

from cloud_events import parsed_all
from doubles import HUB, Frame, frames, head, settle
from edge.sockets import ACCEPTED, FakeTransport, Server, Socket, complaints
from edge.wire import both_loops, echo, eventually, serve
from gateway.house import JSON, RELIABLE, URL
from handlers import NOTHING, answer, handler, handling
from hubwire.edge.context import Undecided
from hubwire.edge.upgrades import upgrade_client
from hubwire.edge.websocket import ClientProtocol
from hubwire.gateway.events import Shown
from hubwire.gateway.opening import Opening
from hubwire.model.commands import Close
from hubwire.model.targets import to_hub
from hubwire.model.telemetry import CloseCategory
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest
from vectors.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    client_frame,
    fragments,
)

JOIN = {"type": "joinGroup", "group": "g", "ackId": 1}
PING_MESSAGE = {"type": "ping"}


def ok(ack_id: int) -> dict[str, Any]:
    return {"type": "ack", "ackId": ack_id, "success": True}


def goodbye(code: int | None, reason: bytes = b"") -> bytes:
    """A client's close frame."""
    return client_frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def ends(server: Server) -> list[tuple[CloseCategory, int]]:
    """Category and code of all connections that ended."""
    return [(category, code) for _, category, code, _ in server.house.ended]


# The opening


async def test_101_comes_before_anything_else_and_answers_the_key() -> None:
    socket = Server().upgrade(JSON)
    assert socket.transport.sent.startswith(
        ACCEPTED + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: json.webpubsub.azure.v1\r\n\r\n"
    )
    assert [message["event"] for message in socket.messages] == ["connected"]


async def test_101_and_what_the_client_is_told_first_are_one_write() -> None:
    """Each write to a socket is a system call."""
    server = Server()
    first, second = server.upgrade(RELIABLE), server.upgrade(JSON)
    token = first.messages[0]["reconnectionToken"]
    query = {"awps_connection_id": first.connection.id, "awps_reconnection_token": token}
    back, refused = server.upgrade(RELIABLE, **query), server.upgrade(RELIABLE, **query | {"awps_connection_id": "x"})

    assert [len(socket.transport.writes) for socket in (first, second, back, refused)] == [1, 1, 1, 1]
    assert (back.messages[0]["connectionId"], refused.closed) == (
        first.messages[0]["connectionId"],
        (1008, "The connection cannot be recovered."),
    )


async def test_simple_client_gets_no_subprotocol_header() -> None:
    socket = Server().upgrade("mine")

    assert b"Sec-WebSocket-Protocol" not in socket.transport.sent
    assert socket.transport.sent.endswith(b"\r\n\r\n")


async def test_refusal_is_an_answer_with_its_reason_and_leaves_the_socket_to_the_front() -> None:
    server, transport = Server(), FakeTransport()

    assert upgrade_client(server.clients, head(URL), transport, b"") is None

    top, _, body = transport.sent.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 401 Unauthorized"
    assert "WWW-Authenticate: Bearer" in lines
    assert "Connection: close" in lines
    assert f"Content-Length: {len(body)}" in lines
    assert body == b"A client access token is required."
    assert (transport.protocol, server.clients.sockets) == (None, set())


async def test_refusal_carries_its_own_headers() -> None:
    server, transport = Server(), FakeTransport()
    server.house.gateway.stop()

    upgrade_client(server.clients, head(URL), transport, b"")

    assert transport.sent.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 1\r\n" in transport.sent


async def test_frames_that_come_before_the_client_is_in_are_handled_in_order_once_it_is() -> None:
    """With the head, and while its topics are subscribed to; official clients do not wait for `connected`."""
    server = Server()
    held = server.house.bus.hold()
    socket = server.upgrade(JSON, rest=client_frame(TEXT, b'{"type":"joinGroup","group":"g","ackId":1}')[:20])
    await settle()
    socket.feed(client_frame(TEXT, b'{"type":"joinGroup","group":"g","ackId":1}')[20:])
    socket.say(PING_MESSAGE)
    await settle()
    assert socket.frames == []

    held.set_result(None)
    await settle()

    assert [message["type"] for message in socket.messages] == ["system", "ack", "pong"]


async def test_client_that_says_too_much_before_it_is_in_is_not_read_until_it_is() -> None:
    server = Server()
    held = server.house.bus.hold()
    socket = server.upgrade(JSON)
    await settle()
    blank = client_frame(PONG, b" " * 100)
    socket.feed(*[blank] * (64 * 1024 // len(blank)))
    assert socket.is_read()

    socket.feed(blank)
    assert not socket.is_read()

    held.set_result(None)
    await settle()
    assert socket.is_read()


@pytest.mark.parametrize(("offer", "ended"), [(JSON, [(CloseCategory.NORMAL, 1006)]), (RELIABLE, [])])
async def test_socket_that_is_lost_while_the_client_is_let_in_is_a_lost_socket(
    offer: str, ended: list[tuple[CloseCategory, int]]
) -> None:
    server = Server()
    held = server.house.bus.hold()
    socket = server.upgrade(offer)
    await settle()
    socket.transport.lose()

    held.set_result(None)
    await settle()

    assert ends(server) == ended
    assert server.house.telemetry.retained == (offer == RELIABLE)
    assert (socket.frames, server.clients.sockets) == ([], set())


async def test_client_that_cannot_be_let_in_is_closed_1008_and_that_is_recorded() -> None:
    """1008 lets official clients begin anew."""
    server = Server()
    held = server.house.bus.hold()
    socket = server.upgrade(RELIABLE)
    await settle()
    with complaints() as complained:
        held.set_exception(ConnectionError())
        await settle()

    assert socket.closed == (1008, "The connection cannot be activated.")
    assert complained == ["a client could not be let in"]
    await server.advance(2)
    assert socket.transport.ended == "lost"
    assert (server.house.telemetry.connections, server.house.loop.timers) == (0, 0)


async def test_refused_recovery_is_101_then_1008_and_what_the_client_says_is_ignored() -> None:
    server = Server()
    socket = server.upgrade(RELIABLE, awps_connection_id="gone", awps_reconnection_token="t")
    socket.say(JOIN)
    await settle()
    socket.say(JOIN)
    await settle()

    assert socket.transport.sent.startswith(ACCEPTED)
    assert [frame.opcode for frame in socket.frames] == [CLOSE]
    assert (socket.closed or (0,))[0] == 1008

    socket.feed(goodbye(1008))
    await settle()
    assert socket.transport.ended == "lost"
    assert (server.clients.sockets, server.house.loop.timers) == (set(), 0)


# An event handler is asked


class Asking:
    """
    A client about whom the handler of its hub is asked; the test says when that answers, and is the front.

    Attributes:
        decided: how often the front was told.
    """

    def __init__(self, said: IncomingResponse, *offers: str, shown: Shown | None = None) -> None:
        self.server = Server(shown=shown)
        self.server.house.directory.hubs[HUB] = handling(handler(userEventPattern=""))
        self.free = asyncio.Event()
        self.server.house.upstream.webhook.answers = lambda request: (
            self._held(said) if request.url.endswith("/connect") else NOTHING
        )
        self.transport = FakeTransport()
        self.decided = 0
        token = self.server.house.token()
        taken = upgrade_client(
            self.server.clients, head(f"{URL}?access_token={token}", offers=offers), self.transport, b""
        )
        assert isinstance(taken, Undecided)
        self.undecided = taken
        self.undecided.on_decided = self._count

    def _count(self) -> None:
        self.decided += 1

    async def _held(self, said: IncomingResponse) -> IncomingResponse:
        await self.free.wait()
        return said

    async def answer(self) -> None:
        """The handler answers, and all that follows from it happens."""
        self.free.set()
        await settle()

    def told(self) -> list[str]:
        return [event.type for event in parsed_all(self.server.house.upstream.webhook.events)]

    @property
    def slots(self) -> tuple[int, int]:
        gateway = self.server.house.gateway
        return gateway._admission.places(HUB.resource)


async def test_client_is_let_in_once_the_handler_has_accepted_it() -> None:
    asking = Asking(answer(200, {"userId": "v"}), JSON)
    await settle()
    assert (asking.decided, asking.transport.sent) == (0, b"")

    await asking.answer()
    assert asking.decided == 1
    early = client_frame(TEXT, b'{"type":"ping"}')
    protocol = asking.undecided.finish(early)
    await settle()

    assert isinstance(protocol, ClientProtocol)
    socket = Socket(asking.server, asking.transport, protocol)
    assert asking.transport.sent.startswith(ACCEPTED)
    assert b"Sec-WebSocket-Protocol: json.webpubsub.azure.v1\r\n" in asking.transport.sent
    assert [message["type"] for message in socket.messages] == ["system", "pong"]
    assert socket.messages[0]["userId"] == "v"
    assert asking.told() == ["sys.connect", "sys.connected"]


async def test_subprotocol_of_the_applications_own_is_agreed_on() -> None:
    asking = Asking(answer(200, {"subprotocol": "mine"}), "yours", "mine")
    await asking.answer()

    asking.undecided.finish(b"")

    assert b"Sec-WebSocket-Protocol: mine\r\n" in asking.transport.sent


@pytest.mark.parametrize(
    ("status", "line"),
    [(401, b"401 Unauthorized"), (403, b"403 Forbidden"), (418, b"418 I'm a Teapot"), (499, b"499 Refused")],
)
async def test_client_is_refused_with_the_status_of_the_handler(status: int, line: bytes) -> None:
    asking = Asking(answer(status, b"internals"))
    await asking.answer()

    assert asking.decided == 1
    assert asking.undecided.finish(b"early") is None

    top, _, body = asking.transport.sent.partition(b"\r\n\r\n")
    assert top.split(b"\r\n")[0] == b"HTTP/1.1 " + line
    assert (b"WWW-Authenticate: Bearer" in top) == (status == 401)
    assert b"Connection: close" in top
    assert body == b"The event handler refused the connection."
    assert asking.slots == (0, 0)


async def test_client_is_told_what_the_handler_says_where_the_operator_wants_that() -> None:
    asking = Asking(answer(403, b"\xff\x00", Content_Type="image/png"), shown=Shown(refusal_bodies=True))
    await asking.answer()
    asking.undecided.finish(b"")

    top, _, body = asking.transport.sent.partition(b"\r\n\r\n")
    assert b"Content-Type: image/png\r\n" in top
    assert b"Content-Length: 2\r\n" in top
    assert body == b"\xff\x00"


async def test_fault_of_ours_in_the_decision_is_500_and_recorded() -> None:
    asking = Asking(NOTHING)

    def fail(_: OutgoingRequest) -> IncomingResponse:
        raise RuntimeError("a fault of ours")

    asking.server.house.upstream.webhook.answers = fail
    with complaints() as texts:
        await asking.answer()
    asking.undecided.finish(b"")

    assert asking.decided == 1
    assert asking.transport.sent.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert asking.transport.sent.endswith(b"The server failed.")
    assert texts == ["an upgrade could not be decided"]
    assert asking.slots == (0, 0)


async def test_client_that_goes_while_the_handler_is_asked_is_ended_for_it_once_it_has_accepted() -> None:
    asking = Asking(NOTHING)
    await settle()
    asking.undecided.leave()

    await asking.answer()

    assert (asking.decided, asking.transport.sent) == (0, b"")
    assert asking.told() == ["sys.connect", "sys.disconnected"]
    assert asking.slots == (0, 0)


async def test_client_that_goes_while_the_handler_is_asked_is_nobody_once_it_has_refused() -> None:
    asking = Asking(answer(403))
    await settle()
    asking.undecided.leave()

    await asking.answer()

    assert (asking.decided, asking.transport.sent) == (0, b"")
    assert asking.told() == ["sys.connect"]
    assert asking.slots == (0, 0)


async def test_client_whose_socket_closes_just_when_it_is_accepted_is_ended_for_the_handler() -> None:
    asking = Asking(NOTHING)
    await asking.answer()
    asking.transport.protocol = asyncio.Protocol()
    asking.transport.close()

    assert asking.undecided.finish(b"early") is None
    await settle()

    assert asking.transport.sent == b""
    assert asking.told() == ["sys.connect", "sys.disconnected"]
    assert asking.slots == (0, 0)


async def test_decision_that_is_under_way_is_waited_for_at_the_end_of_the_server() -> None:
    """Although its client was cut off with all others: the handler hears of the end of whom it accepts."""
    asking = Asking(NOTHING)
    await settle()
    asking.undecided.leave()
    assert await asking.server.clients.end(asking.server.house.loop.time()) == 0
    draining = asyncio.ensure_future(asking.server.house.upstream.dispatcher.drain(30))
    await settle()
    assert not draining.done()

    await asking.answer()

    assert await draining == 0
    assert asking.told() == ["sys.connect", "sys.disconnected"]


@both_loops
async def test_client_on_a_real_socket_speaks_early_and_is_heard_once_it_is_accepted() -> None:
    server = Server()
    server.house.directory.hubs[HUB] = handling(handler())
    free = asyncio.Event()

    async def held() -> IncomingResponse:
        await free.wait()
        return NOTHING

    webhook = server.house.upstream.webhook
    webhook.answers = lambda request: held() if request.url.endswith("/connect") else NOTHING
    async with serve(echo, partial(upgrade_client, server.clients)) as served:
        client = await served.connect()
        lines = ["Host: localhost:8080", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"Sec-WebSocket-Protocol: {JSON}"]
        request = f"GET {URL}?access_token={server.house.token()} HTTP/1.1"
        early = client_frame(TEXT, b'{"type":"joinGroup","group":"g","ackId":1}')
        await client.send("\r\n".join([request, *lines, "", ""]).encode() + early[:10], early[10:])
        await eventually(lambda: webhook.events)
        assert server.house.node.connections() == []

        free.set()

        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(ACCEPTED)
        received = b""
        while b'"ackId":1' not in received:
            received += await client.reader.read(4096)
        messages = [msgspec.json.decode(frame.payload) for frame in frames(received)]
        assert [message["type"] for message in messages] == ["system", "ack"]
        client.close()
        await eventually(lambda: not server.house.node.connections())
        await server.house.upstream.dispatcher.drain(5)
        assert [event.type for event in parsed_all(webhook.events)] == [
            "sys.connect",
            "sys.connected",
            "sys.disconnected",
        ]


async def test_next_message_of_a_client_waits_for_the_answer_to_its_event_and_others_do_not() -> None:
    server = Server()
    server.house.directory.hubs[HUB] = handling({"urlTemplate": "http://h/", "userEventPattern": "*"})
    free = asyncio.Event()

    async def held() -> IncomingResponse:
        await free.wait()
        return answer(200, b"hi", Content_Type="text/plain")

    server.house.upstream.webhook.answers = lambda _: held()
    slow, other = await server.connect(JSON), await server.connect(JSON)
    event = {"type": "event", "event": "e", "data": 1}
    slow.say({**event, "ackId": 1}, JOIN | {"ackId": 2}, {**event, "ackId": 3}, PING_MESSAGE)
    other.say(JOIN)
    await settle()
    assert (slow.messages, other.messages) == ([], [ok(1)])
    assert len(server.house.upstream.webhook.events) == 1

    free.set()
    await settle()

    assert [message.get("ackId", message["type"]) for message in slow.messages] == [
        "message",
        1,
        2,
        "message",
        3,
        "pong",
    ]


async def test_goodbye_of_a_client_whose_event_waits_is_answered_after_a_second_and_counts_behind_it() -> None:
    server = Server()
    server.house.directory.hubs[HUB] = handling({"urlTemplate": "http://h/", "userEventPattern": "*"})
    free = asyncio.Event()

    async def held() -> IncomingResponse:
        await free.wait()
        return answer(204)

    server.house.upstream.webhook.answers = lambda _: held()
    client = await server.connect(JSON)
    client.say({"type": "event", "event": "e", "data": 1}, JOIN)
    await settle()
    client.feed(goodbye(1000))
    await server.advance(0.9)
    assert client.frames == []

    await server.advance(0.2)

    assert client.frames == [Frame(CLOSE, (1000).to_bytes(2, "big"))]
    assert server.house.node.connections() != []
    free.set()
    await settle()
    assert ends(server) == [(CloseCategory.NORMAL, 1000)]


async def test_event_of_a_client_whose_socket_is_lost_meanwhile_is_not_sent_again() -> None:
    server = Server()
    server.house.directory.hubs[HUB] = handling({"urlTemplate": "http://h/", "userEventPattern": "*"})
    free = asyncio.Event()

    async def held() -> IncomingResponse:
        await free.wait()
        return answer(503)

    server.house.upstream.webhook.answers = lambda _: held()
    client = await server.connect(JSON)
    client.say({"type": "event", "event": "e", "data": 1})
    await settle()
    client.transport.lose()
    await settle()
    assert server.house.node.connections() != []

    free.set()
    await settle()

    assert len(server.house.upstream.webhook.events) == 1
    assert server.house.node.connections() == []


async def test_client_that_asks_for_too_much_while_its_event_waits_is_not_read_until_it_is_answered() -> None:
    server = Server(inbox_requests=4)
    server.house.directory.hubs[HUB] = handling({"urlTemplate": "http://h/", "userEventPattern": "*"})
    free = asyncio.Event()

    async def held() -> IncomingResponse:
        await free.wait()
        return NOTHING

    server.house.upstream.webhook.answers = lambda _: held()
    simple = await server.connect()
    for _ in range(5):
        simple.feed(client_frame(TEXT, b"x"))
    await settle()
    assert not simple.is_read()

    free.set()
    await settle()

    assert simple.is_read()
    assert len(server.house.upstream.webhook.events) == 5


# In


async def test_messages_reach_the_gateway_whole_and_in_order() -> None:
    server = Server()
    socket = await server.connect(webpubsub_mode="sendToGroup", group="g")
    listener = await server.connect(JSON, groups=["g"])
    socket.feed(client_frame(TEXT, b"1") + client_frame(BINARY, b"\x01")[:3])
    socket.feed(client_frame(BINARY, b"\x01")[3:], fragments(TEXT, b"a", b"", b"b"))
    await settle()

    assert listener.data == ["1", "AQ==", "ab"]


async def test_ping_is_answered_with_its_payload_at_once_and_a_pong_never() -> None:
    socket = await Server().connect()

    socket.feed(client_frame(PING, b"payload") + client_frame(PONG, b"x") + client_frame(PING))

    assert socket.frames == [Frame(PONG, b"payload"), Frame(PONG, b"")]


async def test_ping_in_the_middle_of_a_message_and_of_a_request_that_waits_is_answered_at_once() -> None:
    server = Server()
    socket = await server.connect(JSON)
    server.house.bus.hold()
    socket.say(JOIN)
    socket.feed(client_frame(TEXT, b'{"type":', fin=False), client_frame(PING, b"now"))

    assert socket.frames == [Frame(PONG, b"now")]


async def test_of_very_many_pings_at_once_the_newest_are_answered() -> None:
    """RFC 6455, 5.5.3; each answer costs us more than its question cost the client."""
    socket = await Server().connect()

    socket.feed(b"".join(client_frame(PING, b"%d" % number) for number in range(1000)))

    assert [frame.payload for frame in socket.frames] == [b"%d" % number for number in range(936, 1000)]
    assert len(socket.transport.writes) == 1


async def test_pings_before_a_goodbye_are_answered_before_it() -> None:
    socket = await Server().connect()

    socket.feed(client_frame(PING, b"1") + goodbye(1000))

    assert [frame.opcode for frame in socket.frames] == [PONG, CLOSE]


async def test_client_that_pings_and_takes_nothing_is_owed_one_answer() -> None:
    server = Server()
    socket = await stuck(server)
    for number in range(1000):
        socket.feed(client_frame(PING, b"%d" % number))
    assert server.house.telemetry.queued_bytes == 0

    socket.transport.take()

    assert [frame.payload for frame in socket.frames if frame.opcode == PONG] == [b"999"]


async def test_flood_of_one_client_is_read_in_slices_and_others_have_their_turn_in_between() -> None:
    server = Server()
    flooding = await server.connect(JSON)
    other = await server.connect(JSON)
    flooding.say(*[PING_MESSAGE] * 20_000)
    assert not flooding.is_read()
    turns = 0
    while not flooding.is_read():
        turns += 1
        other.say(PING_MESSAGE)
        await asyncio.sleep(0)
    await settle()

    assert turns >= 5
    assert len(flooding.messages) == 20_000
    assert len(other.messages) == turns


@pytest.mark.parametrize("turns", range(5))
async def test_all_of_a_flood_counts_although_the_socket_is_lost_before_the_last_slice(turns: int) -> None:
    server = Server()
    socket = await server.connect(RELIABLE)
    listener = await server.connect(JSON, groups=["g"])
    message = {"type": "sendToGroup", "group": "g", "dataType": "text", "data": "x" * 150}
    socket.feed(client_frame(TEXT, msgspec.json.encode(message)) * 900 + goodbye(1000))
    for _ in range(turns):
        await asyncio.sleep(0)
    socket.transport.lose()
    await settle()

    assert len(listener.data) == 900
    assert ends(server) == [(CloseCategory.NORMAL, 1000)]


async def test_what_was_said_before_the_client_was_in_counts_although_the_socket_is_lost_by_then() -> None:
    server = Server()
    listener = await server.connect(JSON, groups=["g"])
    opening = server.house.bus.hold()
    socket = server.upgrade(RELIABLE)
    await settle()
    socket.say({"type": "sendToGroup", "group": "g", "dataType": "text", "data": "early"})
    socket.feed(goodbye(1000))
    socket.transport.lose()
    opening.set_result(None)
    await settle()

    assert listener.data == ["early"]
    assert ends(server) == [(CloseCategory.NORMAL, 1000)]


async def test_client_that_is_not_let_in_is_heard_when_it_answers_the_close() -> None:
    socket = Server().upgrade(RELIABLE, awps_connection_id="x", awps_reconnection_token="y")
    socket.feed(client_frame(TEXT, b"x" * 100_000))
    await settle()
    assert socket.is_read()

    socket.feed(goodbye(1008))
    assert socket.transport.ended == "closing"


async def test_flood_is_read_on_only_when_what_waits_has_been_handled() -> None:
    server = Server(inbox_requests=3)
    socket = await server.connect(JSON)
    held = server.house.bus.hold()
    socket.say(JOIN, *[PING_MESSAGE] * 10_000)
    await settle()
    assert not socket.is_read()
    assert socket.frames == []

    held.set_result(None)
    await settle()

    assert socket.is_read()
    assert [message["type"] for message in socket.messages] == ["ack"] + ["pong"] * 10_000


async def test_requests_behind_one_that_waits_are_handled_after_it_and_in_order() -> None:
    server = Server()
    socket = await server.connect(JSON)
    held = server.house.bus.hold()
    socket.say(JOIN, {**JOIN, "group": "h", "ackId": 2})
    socket.say(PING_MESSAGE, {"type": "leaveGroup", "group": "g", "ackId": 3})
    await settle()
    assert socket.frames == []

    held.set_result(None)
    await settle()

    assert [message.get("ackId", message["type"]) for message in socket.messages] == [1, 2, "pong", 3]


async def test_client_with_too_many_waiting_requests_is_not_read_until_they_are_done() -> None:
    server = Server(inbox_requests=3)
    socket = await server.connect(JSON)
    held = server.house.bus.hold()
    socket.say(JOIN, PING_MESSAGE, PING_MESSAGE)
    assert socket.is_read()

    socket.say(PING_MESSAGE)
    assert not socket.is_read()

    held.set_result(None)
    await settle()
    assert socket.is_read()
    assert [message["type"] for message in socket.messages] == ["ack", "pong", "pong", "pong"]


async def test_early_request_that_waits_keeps_the_next_ones_waiting() -> None:
    server = Server(inbox_requests=2)
    opening = server.house.bus.hold()
    socket = server.upgrade(JSON)
    await settle()
    socket.say(JOIN, PING_MESSAGE, PING_MESSAGE)
    joining = server.house.bus.hold()
    opening.set_result(None)
    await settle()
    assert [message["type"] for message in socket.messages] == []

    joining.set_result(None)
    await settle()
    assert [message["type"] for message in socket.messages] == ["system", "ack", "pong", "pong"]
    assert socket.is_read()


async def test_request_that_fails_by_our_fault_ends_the_connection_1011_and_is_recorded() -> None:
    server = Server()
    socket, other = await server.connect(JSON), await server.connect(JSON)
    held = server.house.bus.hold()
    socket.say(JOIN, PING_MESSAGE)
    with complaints() as complained:
        held.set_exception(ConnectionError())
        await settle()

    assert socket.closed == (1011, "Internal server error")
    assert ends(server) == [(CloseCategory.SERVICE_TRANSIENT_ERROR, 1011)]
    assert complained == ["a client's request failed"]
    assert other.transport.ended == ""


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (client_frame(3, b"x"), 1002),
        (client_frame(TEXT, b"x", mask=None), 1002),
        (client_frame(CONTINUATION, b"x"), 1002),
        (client_frame(TEXT, b"\xff"), 1007),
        (client_frame(BINARY, b"", announced=(1 << 20) + 1, length_bytes=8), 1009),
        (client_frame(TEXT, b"nonsense"), 1007),
    ],
)
@pytest.mark.parametrize("offer", [JSON, RELIABLE])
async def test_what_is_no_legal_message_ends_the_connection_behind_what_was_legal(
    broken: bytes, code: int, offer: str
) -> None:
    server = Server()
    socket = await server.connect(offer)
    legal = client_frame(TEXT, b'{"type":"ping"}')
    socket.feed(legal + broken + legal)
    await settle()

    assert [message["type"] for message in socket.messages] == ["pong", "system"]
    assert socket.closed is not None
    assert socket.closed[0] == code
    assert ends(server) == [(CloseCategory.BAD_REQUEST, code)]


async def test_broken_frame_ends_our_direction_at_once_and_the_socket_soon() -> None:
    """Nothing more can be read, an answer to our close frame included."""
    server = Server()
    socket = await server.connect(JSON)
    socket.feed(client_frame(3))
    assert socket.transport.ended == "eof"
    socket.feed(client_frame(PING), goodbye(1002))
    await settle()
    assert socket.transport.ended == "eof"

    await server.advance(2)
    assert socket.transport.ended == "lost"


async def test_broken_frame_ends_a_tls_socket_whole() -> None:
    socket = await Server().connect(JSON)
    socket.transport.tls = True
    socket.feed(client_frame(3))
    await settle()

    assert (socket.closed or (0,))[0] == 1002
    assert socket.transport.ended == "lost"


async def test_broken_frame_of_a_client_that_takes_nothing_is_answered_if_it_takes_it_in_time() -> None:
    server = Server()
    socket = await stuck(server)
    await server.send("1")
    socket.feed(client_frame(3))
    await settle()
    assert socket.transport.ended == ""

    socket.transport.take()
    assert socket.data == ["first", "1"]
    assert (socket.closed or (0,))[0] == 1002
    await server.advance(2)
    assert socket.transport.ended == "lost"


async def test_broken_frame_behind_a_request_that_waits_is_noticed_after_it() -> None:
    server = Server()
    socket = await server.connect(JSON)
    held = server.house.bus.hold()
    socket.say(JOIN)
    socket.feed(client_frame(3))
    socket.feed(b"more of it")
    await settle()
    assert socket.transport.ended == ""

    held.set_result(None)
    await settle()
    assert [message["type"] for message in socket.messages] == ["ack", "system"]
    assert (socket.closed or (0,))[0] == 1002


async def test_broken_frame_counts_although_the_socket_was_gone_before_it_was_noticed() -> None:
    server = Server()
    socket = await server.connect(RELIABLE)
    held = server.house.bus.hold()
    socket.say(JOIN)
    socket.feed(client_frame(3))
    socket.transport.lose()
    await settle()
    with complaints() as complained:
        held.set_result(None)
        await settle()

    assert complained == []
    assert ends(server) == [(CloseCategory.BAD_REQUEST, 1002)]


async def test_what_comes_after_our_close_is_ignored() -> None:
    server = Server()
    socket = await server.connect(JSON)
    await server.house.node.ask(Close(to_hub(HUB)))
    socket.say(PING_MESSAGE, JOIN, "nonsense")
    socket.feed(client_frame(PING), client_frame(3))
    await settle()

    assert [frame.opcode for frame in socket.frames] == [TEXT, CLOSE]
    assert len(server.house.ended) == 1


async def test_bytes_are_counted_both_ways() -> None:
    server = Server()
    socket = await server.connect(JSON)
    telemetry = server.house.telemetry
    inbound, outbound = telemetry.inbound_bytes, telemetry.outbound_bytes
    socket.say(PING_MESSAGE)
    await settle()

    assert telemetry.inbound_bytes - inbound == len(client_frame(TEXT, b'{"type":"ping"}'))
    assert telemetry.outbound_bytes - outbound == len(socket.raw)


# The client says goodbye


@pytest.mark.parametrize("code", [1000, 1001, 1008, 3000, 4999])
async def test_goodbye_is_answered_with_its_own_code_and_the_socket_ends(code: int) -> None:
    server = Server()
    socket = await server.connect(JSON)
    socket.feed(goodbye(code, b"because"))
    assert socket.closed == (code, "")
    await settle()

    assert socket.transport.ended == "lost"
    assert ends(server) == [(CloseCategory.NORMAL, code)]
    assert server.clients.sockets == set()
    await server.advance(1)
    assert server.house.loop.timers == 0


async def test_goodbye_without_a_code_is_answered_without_one_and_means_1005() -> None:
    server = Server()
    socket = await server.connect(JSON)
    socket.feed(goodbye(None))
    await settle()

    assert socket.closed == (None, "")
    assert ends(server) == [(CloseCategory.NORMAL, 1005)]


@pytest.mark.parametrize(("code", "final"), [(1000, True), (1001, False), (None, False)])
async def test_goodbye_of_a_reliable_client_is_final_with_1000_only(code: int | None, final: bool) -> None:
    server = Server()
    socket = await server.connect(RELIABLE)
    socket.feed(goodbye(code))
    await settle()

    assert len(server.house.ended) == final
    assert server.house.telemetry.retained == (not final)


async def test_what_was_asked_before_the_goodbye_is_answered() -> None:
    server = Server()
    socket, listener = await server.connect(JSON), await server.connect(JSON, groups=["g"])
    publish = b'{"type":"sendToGroup","group":"g","data":1,"ackId":1}'
    socket.feed(client_frame(TEXT, publish) + goodbye(1000) + client_frame(PING))
    await settle()

    assert socket.messages == [ok(1)]
    assert socket.closed == (1000, "")
    assert listener.data == [1]


async def test_goodbye_behind_a_request_that_waits_is_answered_after_it() -> None:
    server = Server()
    socket = await server.connect(JSON)
    held = server.house.bus.hold()
    socket.say(JOIN)
    socket.feed(goodbye(1000))
    await settle()
    assert socket.frames == []

    held.set_result(None)
    await settle()
    assert socket.messages == [ok(1)]
    assert socket.closed == (1000, "")
    assert ends(server) == [(CloseCategory.NORMAL, 1000)]


async def test_goodbye_counts_although_the_socket_was_gone_before_it_could_be_answered() -> None:
    """1000 is final; a lost socket would be waited for."""
    server = Server()
    socket = await server.connect(RELIABLE)
    held = server.house.bus.hold()
    socket.say(JOIN)
    socket.feed(goodbye(1000))
    socket.transport.lose()
    await settle()
    assert server.house.ended == []

    held.set_result(None)
    await settle()
    assert ends(server) == [(CloseCategory.NORMAL, 1000)]
    assert (server.house.telemetry.connections, server.house.telemetry.retained) == (0, 0)


async def test_client_that_does_not_take_the_answer_to_its_goodbye_is_cut_off() -> None:
    server = Server()
    socket = await server.connect(JSON)
    socket.transport.stuck = True
    socket.feed(goodbye(1000))
    await settle()
    assert socket.transport.ended == "closing"

    await server.advance(2)
    assert socket.transport.ended == "lost"


async def test_client_that_overflows_by_what_it_asked_before_its_goodbye_gets_one_close_frame() -> None:
    server = Server()
    socket = await server.connect(RELIABLE, groups=["g"])
    for number in range(6):
        server.house.send("g", str(number))

    socket.feed(goodbye(1000))
    await settle()

    assert (socket.closed or (0,))[0] == 1008
    assert ends(server) == [(CloseCategory.SLOW_CLIENT, 1008)]
    assert socket.transport.ended == "lost"


# We say goodbye


async def test_our_close_waits_for_the_clients_answer_and_ends_the_socket_then() -> None:
    server = Server()
    socket = await server.connect()
    socket.protocol.close(1008, "why")
    socket.protocol.close(1011, "again")
    await settle()
    assert socket.closed == (1008, "why")
    assert socket.transport.ended == ""

    socket.feed(goodbye(1008))
    await settle()
    assert socket.transport.ended == "lost"
    assert socket.closed == (1008, "why")
    await server.advance(1)
    assert server.house.loop.timers == 0


async def test_client_that_does_not_answer_our_close_is_cut_off_after_two_seconds() -> None:
    server = Server()
    socket = await server.connect()
    socket.protocol.close(1000, "")

    await server.advance(1.9)
    assert socket.transport.ended == ""

    await server.advance(0.1)
    assert socket.transport.ended == "lost"
    assert server.house.loop.timers == 0


async def test_close_comes_behind_what_waits_for_the_client() -> None:
    server = Server()
    socket = await server.connect(JSON, groups=["g"])
    socket.transport.limits = (0, 0)
    socket.transport.stuck = True
    await server.send("1", "2")
    await server.house.node.ask(Close(to_hub(HUB)))
    socket.transport.take()

    assert [message.get("data", message["type"]) for message in socket.messages] == ["1", "2", "system"]
    assert socket.closed == (1000, "")
    assert server.house.telemetry.queued_bytes == 0


async def test_client_that_takes_nothing_is_cut_off_although_the_close_frame_still_waits() -> None:
    server = Server()
    socket = await server.connect(JSON, groups=["g"])
    socket.transport.limits = (0, 0)
    socket.transport.stuck = True
    await server.send("1", "2")
    await server.house.node.ask(Close(to_hub(HUB)))

    await server.advance(2)

    assert socket.transport.ended == "lost"
    assert (server.clients.sockets, server.house.telemetry.queued_bytes) == (set(), 0)


# The socket is gone


@pytest.mark.parametrize(("offer", "ended"), [(JSON, [(CloseCategory.NORMAL, 1006)]), (RELIABLE, [])])
async def test_socket_that_is_lost_without_a_word_means_1006(
    offer: str, ended: list[tuple[CloseCategory, int]]
) -> None:
    server = Server()
    socket = await server.connect(offer)
    socket.transport.lose()
    await settle()

    assert ends(server) == ended
    assert server.clients.sockets == set()


async def test_end_of_the_clients_direction_ends_the_socket() -> None:
    socket = await Server().connect(JSON)

    assert not socket.protocol.eof_received()


async def test_requests_that_wait_when_the_socket_is_lost_are_still_carried_out() -> None:
    server = Server()
    socket, listener = await server.connect(RELIABLE), await server.connect(JSON, groups=["h"])
    held = server.house.bus.hold()
    socket.say(JOIN, {"type": "sendToGroup", "group": "h", "data": 1})
    socket.transport.lose()
    await settle()
    held.set_result(None)
    await settle()

    assert listener.data == [1]
    (retained, _) = server.house.node.connections()
    assert list(retained.groups) == ["g"]
    assert server.house.telemetry.retained == 1


async def test_half_open_socket_is_cut_off_when_its_client_comes_back_and_ends_nothing() -> None:
    server = Server()
    old = server.upgrade(RELIABLE, groups=["g"])
    await settle()
    connection, token = old.connection, old.messages[0]["reconnectionToken"]
    await server.send("1")
    new = server.upgrade(RELIABLE, awps_connection_id=connection.id, awps_reconnection_token=token)
    await settle()

    assert (old.transport.ended, old.closed) == ("lost", None)
    assert server.house.ended == []
    assert connection.alive
    await server.send("2")
    assert new.data == ["1", "2"]
    assert server.clients.sockets == {new.protocol}
    assert server.house.telemetry.retained == 0


async def test_what_still_waits_of_a_replaced_socket_is_not_carried_out() -> None:
    """The client repeats it on its new one."""
    server = Server()
    old = server.upgrade(RELIABLE)
    await settle()
    connection, token = old.connection, old.messages[0]["reconnectionToken"]
    held = server.house.bus.hold()
    old.say(JOIN, {**JOIN, "group": "h", "ackId": 2})
    old.feed(goodbye(1000))
    new = server.upgrade(RELIABLE, awps_connection_id=connection.id, awps_reconnection_token=token)
    await settle()
    held.set_result(None)
    await settle()

    assert list(connection.groups) == ["g"]
    assert connection.alive
    assert connection.sink is new.protocol


async def test_thousands_of_lost_sockets_are_taken_out_some_at_a_time() -> None:
    server = Server()
    sockets = [await server.connect(JSON) for _ in range(1000)]
    for socket in sockets:
        socket.transport.lose()
    left = [1000]

    def count() -> None:
        left.append(len(server.house.node.connections()))
        if left[-1]:
            server.house.loop.call_soon(count)

    count()
    await settle()

    assert left[-1] == 0
    assert max(before - after for before, after in pairwise(left)) <= 200


async def test_fault_with_one_lost_socket_keeps_none_of_the_others() -> None:
    server = Server()
    sockets = [await server.connect(JSON) for _ in range(300)]
    faulty, told = sockets[0].connection, []

    def fault(connection: object, *_: object) -> None:
        if connection is faulty:
            raise ZeroDivisionError

    server.house.node.on_end.append(fault)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(type(context["exception"])))
    for socket in sockets:
        loop.call_soon(socket.transport.lose)
    await settle()

    assert told == [ZeroDivisionError]
    assert server.house.node.connections() == []
    (await server.connect(JSON)).transport.lose()
    await settle()
    assert server.house.node.connections() == []


# Out


async def test_what_is_sent_goes_straight_to_the_transport_as_the_same_object() -> None:
    server = Server()
    sockets = [await server.connect(JSON, groups=["g"]) for _ in range(3)]
    await server.send("1")

    assert [len(socket.transport.writes) for socket in sockets] == [1, 1, 1]
    assert len({id(socket.transport.writes[0]) for socket in sockets}) == 1


async def test_what_is_sent_to_a_client_that_takes_nothing_waits_in_order_and_is_counted() -> None:
    server = Server()
    socket = await server.connect(JSON, groups=["g"])
    socket.transport.limits = (100, 10)
    socket.transport.stuck = True
    await server.send("1", "2", "3", "4")
    telemetry = server.house.telemetry
    waiting = telemetry.queued_bytes
    outbound = telemetry.outbound_bytes
    assert waiting > 0
    assert socket.data == []

    socket.transport.take()
    assert socket.data == ["1", "2", "3", "4"]
    assert telemetry.queued_bytes == 0
    assert telemetry.outbound_bytes - outbound == waiting

    await server.send("5")
    assert socket.data[-1] == "5"


async def test_short_way_to_the_socket_is_open_only_while_nothing_waits_and_nothing_ends() -> None:
    server = Server()
    socket = await server.connect(JSON, groups=["g"])
    sink = socket.protocol

    def is_open() -> bool:
        return sink.direct == socket.transport.write

    assert is_open()

    socket.transport.limits = (100, 10)
    socket.transport.stuck = True
    await server.send("1", "2")
    assert not is_open()

    socket.transport.take()
    assert is_open()
    assert socket.data == ["1", "2"]

    sink.close(1000, "")
    assert not is_open()


async def test_what_goes_the_short_way_is_counted() -> None:
    server = Server()
    sockets = [await server.connect(JSON, groups=["g"]) for _ in range(3)]
    before = server.house.telemetry.outbound_bytes

    await server.send("1")

    assert server.house.telemetry.outbound_bytes - before == sum(len(socket.transport.writes[0]) for socket in sockets)


async def test_client_that_overflowed_is_written_nothing_but_its_close() -> None:
    """Not even if it takes what waits before it is closed: something in between is lost."""
    server = Server(buffer_bytes=500)
    socket = await server.connect(JSON, groups=["g"])
    socket.transport.limits = (100, 10)
    socket.transport.stuck = True
    await server.send("1", "2")
    sink = socket.connection.sink
    assert sink is not None

    sink.write(b"\x81\x7e\x01\xf6" + b"x" * 502, 1, None)
    socket.transport.take()
    sink.write(b"\x81\x01y", 1, None)
    assert sink.direct is None
    await settle()

    assert socket.data == ["1", "2"]
    assert socket.closed == (1008, "The client is too slow.")


async def test_what_is_held_leaves_when_it_is_released_and_in_order() -> None:
    server = Server()
    socket = await server.connect(JSON, groups=["g"])
    socket.protocol.hold()
    await server.send("1", "2")
    socket.protocol.hold()
    await server.send("3")
    assert (socket.data, server.clients.telemetry.queued_bytes > 0) == ([], True)

    socket.protocol.release(1)
    assert socket.data == ["1", "2"]
    await server.send("4")
    socket.protocol.release(1)
    assert socket.data == ["1", "2", "3", "4"]
    assert server.clients.telemetry.queued_bytes == 0
    assert socket.protocol.direct is not None
    await server.send("5")
    assert socket.data[-1] == "5"


async def test_what_is_held_and_not_taken_waits_for_both() -> None:
    server = Server(buffer_bytes=100_000)
    socket = await server.connect(JSON, groups=["g"])
    socket.transport.limits = (10, 5)
    socket.transport.stuck = True
    await server.send("taken later")
    socket.protocol.hold()
    await server.send("held")
    socket.protocol.hold()
    await server.send("held longer")

    socket.protocol.release(1)
    assert socket.data == []
    socket.transport.take()
    assert socket.data == ["taken later", "held"]
    assert socket.protocol.direct is None
    socket.protocol.release(1)
    assert socket.data[-1] == "held longer"


async def test_signs_of_life_pass_what_is_held() -> None:
    server = Server()
    socket = await server.connect(JSON, groups=["g"])
    socket.protocol.hold()
    await server.send("held")
    socket.feed(client_frame(PING, b"there?"))

    assert socket.frames == [Frame(PONG, b"there?")]


async def test_close_waits_behind_what_is_held() -> None:
    server = Server()
    socket = await server.connect(JSON, groups=["g"])
    socket.protocol.hold()
    await server.send("held")
    await server.house.node.ask(Close(to_hub(HUB), (), "enough"))
    await settle()
    assert socket.frames == []

    socket.protocol.release(1)
    assert socket.data == ["held"]
    assert socket.closed == (1000, "")


async def test_client_that_says_goodbye_is_first_told_what_is_held() -> None:
    """Its last message may be acknowledged among that."""
    server = Server()
    socket = await server.connect(JSON, groups=["g"])
    socket.protocol.hold()
    await server.send("held")
    socket.feed(goodbye(1000))
    await settle()
    assert (socket.frames, ends(server)) == ([], [(CloseCategory.NORMAL, 1000)])

    socket.protocol.release(1)
    await settle()
    assert socket.data == ["held"]
    assert socket.closed == (1000, "")
    assert socket.transport.ended == "lost"


async def test_goodbye_waits_no_longer_than_any_other_for_what_is_held() -> None:
    server = Server()
    socket = await server.connect(JSON, groups=["g"])
    socket.protocol.hold()
    await server.send("held")
    socket.feed(goodbye(1000))
    await server.advance(2.0)
    assert (socket.transport.ended, socket.frames) == ("lost", [])

    socket.protocol.release(1)
    assert server.clients.telemetry.queued_bytes == 0


async def test_too_much_that_is_held_closes_the_client_by_name() -> None:
    server = Server(buffer_bytes=1000)
    socket = await server.connect(JSON, groups=["g"])
    socket.protocol.hold()
    await server.send("x" * 800, "y" * 800)

    assert ends(server)[0][0] == CloseCategory.SLOW_CLIENT
    socket.protocol.release(1)
    assert socket.data == []


async def test_what_is_held_may_expire() -> None:
    server = Server(buffer_bytes=1000)
    socket = await server.connect(JSON, groups=["g"])
    socket.protocol.hold()
    await server.send("x" * 800, ttl_s=1)
    await server.advance(5)
    await server.send("y" * 800)
    socket.protocol.release(1)

    assert socket.data == ["y" * 800]


async def test_client_that_is_held_before_it_is_answered_gets_its_101_at_once() -> None:
    server = Server()
    query = urlencode({"access_token": server.house.token(None, (), ())})
    opening = server.house.gateway.decide(head(f"{URL}?{query}", offers=(JSON,)))
    assert isinstance(opening, Opening)
    transport = FakeTransport()
    protocol = ClientProtocol(server.clients, transport, opening)
    transport.set_protocol(cast("asyncio.Protocol", protocol))
    socket = Socket(server, transport, protocol)
    protocol.hold()
    protocol.open(opening, b"")
    assert socket.transport.sent.startswith(ACCEPTED)
    assert socket.frames == []
    assert socket.protocol.direct is None

    socket.protocol.release(1)
    assert [message["event"] for message in socket.messages] == ["connected"]
    assert socket.protocol.direct is not None


async def test_release_of_a_socket_that_is_gone_is_harmless() -> None:
    server = Server()
    socket = await server.connect(JSON, groups=["g"])
    socket.protocol.hold()
    await server.send("held")
    socket.transport.lose()
    await settle()
    socket.protocol.release(1)
    socket.protocol.hold()
    socket.protocol.release(1)

    assert socket.data == []


async def test_client_that_takes_a_little_is_given_a_little() -> None:
    """The transport may be full again at any time; what waits stays in front of what comes."""
    server = Server(buffer_bytes=100_000)
    socket = await server.connect(JSON, groups=["g"])
    socket.transport.limits = (1000, 600)
    socket.transport.stuck = True
    texts = [f"{number:2000}" for number in range(20)]
    for position, text in enumerate(texts):
        await server.send(text)
        if position == 12:
            socket.transport.take(1600)
            assert 0 < len(socket.transport.waiting) < 5000
            assert server.house.telemetry.queued_bytes > 0
    while socket.transport.waiting:
        socket.transport.take(900)

    assert socket.data == texts
    assert server.house.telemetry.queued_bytes == 0


async def stuck(server: Server, offer: str = JSON) -> Socket:
    """A client whose transport is full, so that every further byte waits in its queue."""
    socket = await server.connect(offer, groups=["g"])
    socket.transport.limits = (0, 0)
    socket.transport.stuck = True
    await server.send("first")
    return socket


def size_of(text: str) -> int:
    """Bytes of the frame that brings this to a plain client."""
    return len(f'{{"type":"message","from":"group","group":"g","dataType":"text","data":"{text}"}}') + 2


async def test_queue_that_is_full_is_no_overflow_and_one_byte_more_is() -> None:
    server = Server(buffer_bytes=3 * size_of("1"))
    slow, other = await stuck(server), await server.connect(JSON, groups=["g"])
    await server.send("1", "2", "3")
    assert server.house.telemetry.queued_bytes == 3 * size_of("1")
    assert server.house.ended == []

    await server.send("4")

    assert ends(server) == [(CloseCategory.SLOW_CLIENT, 1008)]
    assert server.house.telemetry.queued_bytes == 0, "nobody will get what waited"
    assert other.data == ["1", "2", "3", "4"]
    await server.advance(2)
    assert slow.transport.ended == "lost"
    assert len(server.house.ended) == 1


async def test_slow_client_that_recovers_in_time_learns_why_it_was_closed() -> None:
    server = Server(buffer_bytes=100)
    slow = await stuck(server)
    await server.send("1", "2")
    slow.transport.take()

    assert slow.data == ["first"]
    assert (slow.closed or (0,))[0] == 1008


async def test_one_overflow_in_a_turn_is_one_close() -> None:
    server = Server(buffer_bytes=10)
    await stuck(server)
    for number in range(10):
        server.house.send("g", str(number), ttl_s=number + 1)
    await settle()

    assert ends(server) == [(CloseCategory.SLOW_CLIENT, 1008)]


async def test_slow_reliable_client_cannot_be_recovered() -> None:
    server = Server(reliable_buffer_bytes=1000)
    await stuck(server, RELIABLE)
    await server.send("x" * 1000)

    assert ends(server) == [(CloseCategory.SLOW_CLIENT, 1008)]
    assert server.house.telemetry.retained == 0


async def test_reliable_clients_have_the_larger_of_both_limits() -> None:
    server = Server(buffer_bytes=10, reliable_buffer_bytes=1000)
    await stuck(server, RELIABLE)
    await server.send("1", "2")
    assert server.house.ended == []

    server = Server(buffer_bytes=1000, reliable_buffer_bytes=10)
    await stuck(server, RELIABLE)
    await server.send("1", "2")
    assert server.house.ended == []


async def test_message_whose_time_is_over_is_not_sent_any_more() -> None:
    server = Server()
    socket = await stuck(server)
    await server.send("1", ttl_s=5)
    await server.send("2")
    await server.send("3", ttl_s=60)
    await server.advance(5)
    outbound = server.house.telemetry.outbound_bytes

    socket.transport.take()

    assert socket.data == ["first", "2", "3"]
    assert server.house.telemetry.queued_bytes == 0
    assert server.house.telemetry.outbound_bytes - outbound == 2 * size_of("1")


async def test_messages_whose_time_is_over_give_way_before_anything_overflows() -> None:
    server = Server(buffer_bytes=3 * size_of("1"))
    socket = await stuck(server)
    await server.send("1", ttl_s=5)
    await server.send("2")
    await server.send("3", ttl_s=5)
    await server.advance(5)

    await server.send("4", "5")
    assert server.house.telemetry.queued_bytes == 3 * size_of("1")
    await server.send("6", ttl_s=1)

    assert ends(server) == [(CloseCategory.SLOW_CLIENT, 1008)]
    assert socket.data == []


async def test_queue_of_a_lost_socket_is_not_counted_any_more() -> None:
    server = Server()
    socket = await stuck(server)
    await server.send("1", "2")
    assert server.house.telemetry.queued_bytes > 0

    socket.transport.lose()
    await settle()

    assert server.house.telemetry.queued_bytes == 0


# Signs of life


async def test_silent_client_is_pinged_and_then_cut_off() -> None:
    server = Server()
    socket = await server.connect(JSON)
    await server.advance(20)
    assert socket.frames == [Frame(PING, b"")]

    await server.advance(40)

    assert socket.transport.ended == "lost"
    assert ends(server) == [(CloseCategory.PING_TIMEOUT, 1006)]
    assert server.house.loop.timers == 0


async def test_client_that_answers_its_pings_stays() -> None:
    server = Server()
    socket = await server.connect(JSON)
    for _ in range(20):
        await server.advance(20)
        socket.feed(client_frame(PONG))

    assert socket.frames == [Frame(PING, b"")] * 20
    assert server.house.ended == []


async def test_client_that_does_not_read_is_not_pinged_and_cut_off_all_the_same() -> None:
    server = Server()
    socket = await stuck(server)
    await server.advance(59)
    assert len(socket.transport.writes) == 1

    await server.advance(1)
    assert ends(server) == [(CloseCategory.PING_TIMEOUT, 1006)]


async def test_reliable_client_that_was_cut_off_may_come_back() -> None:
    server = Server()
    await server.connect(RELIABLE)
    await server.advance(60)

    assert server.house.ended == []
    assert server.house.telemetry.retained == 1
    await server.advance(40)
    assert ends(server) == [(CloseCategory.PING_TIMEOUT, 1006)]


async def test_client_that_is_being_closed_is_not_pinged() -> None:
    server = Server()
    socket = await server.connect()
    socket.protocol.close(1000, "")
    socket.protocol.ping()

    assert [frame.opcode for frame in socket.frames] == [CLOSE]


# The server goes away


async def test_everybody_is_told_that_the_server_goes_away_and_may_leave_in_peace() -> None:
    server = Server()
    sockets = [await server.connect(offer) for offer in (JSON, RELIABLE)]
    raw = await server.connect()
    ending = server.house.loop.create_task(server.clients.end(server.house.loop.time() + 60))
    await settle()
    for socket in (*sockets, raw):
        assert (socket.closed or (0,))[0] == 1001
        assert len(socket.messages) == (socket is not raw)
        assert not ending.done()
        socket.feed(goodbye(1001))
        await settle()

    assert ending.done()
    assert ending.result() == 0
    assert ends(server) == [(CloseCategory.SERVICE_RELOAD, 1001)] * 3


async def test_thousands_are_told_some_at_a_time() -> None:
    server = Server()
    sockets = [await server.connect(JSON) for _ in range(450)]
    ending = server.house.loop.create_task(server.clients.end(server.house.loop.time() + 60))
    told = [0]
    while told[-1] < len(sockets):
        await asyncio.sleep(0)
        told.append(sum(socket.closed is not None for socket in sockets))
    for socket in sockets:
        socket.feed(goodbye(1001))

    assert await ending == 0
    assert max(later - earlier for earlier, later in pairwise(told)) <= 200


async def test_who_does_not_leave_in_time_is_cut_off() -> None:
    server = Server()
    polite, rude = await server.connect(JSON), await server.connect(JSON)
    held = server.house.bus.hold()
    arriving = server.upgrade(JSON)
    await settle()
    polite.protocol.close(1000, "")
    polite.feed(goodbye(1000))
    await settle()

    assert await server.clients.end(server.house.loop.time()) == 2
    await settle()

    assert (rude.transport.ended, arriving.transport.ended) == ("lost", "lost")
    assert server.clients.sockets == set()
    assert server.clients.tasks == set()
    assert held.cancelled()
    assert server.house.node.connections() == []
