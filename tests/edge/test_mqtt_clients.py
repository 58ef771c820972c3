"""Sockets of MQTT clients and the gateway that there is, together: what a client sees at each of its ends."""

import asyncio

import pytest

from doubles import HUB, head, settle
from edge.sockets import ACCEPTED, FakeTransport, Server, Socket
from handlers import NOTHING, handler, handling
from hubwire.edge.mqtt_socket import MqttProtocol
from hubwire.edge.upgrades import upgrade_client
from hubwire.model.commands import Close
from hubwire.model.targets import to_hub
from hubwire.model.telemetry import CloseCategory
from hubwire.model.webhooks import IncomingResponse
from hubwire.protocols.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Filter,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Publish,
    Suback,
    Subscribe,
    decode,
    encode,
)
from hubwire.protocols.mqtt.reader import PacketReader
from hubwire.protocols.mqtt.reasons import Reason
from vectors.websocket_frames import BINARY, CLOSE, TEXT, client_frame

PATH = f"/clients/mqtt/hubs/{HUB.hub}"
ROLES = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")


class Device:
    """An MQTT client that speaks 5.0 unless it says otherwise."""

    def __init__(self, server: Server, version: int = 5) -> None:
        self.server = server
        self.version = version
        token = server.house.token(None, ROLES, audience=f"http://localhost:8080{PATH}")
        transport = FakeTransport()
        request = head(f"{PATH}?access_token={token}", offers=("mqtt",))
        protocol = upgrade_client(server.clients, request, transport, b"")
        assert isinstance(protocol, MqttProtocol)
        self.socket = Socket(server, transport, protocol)
        assert transport.sent.startswith(ACCEPTED)
        self.socket.forget()

    def say(self, *packets: Packet) -> None:
        """All in one message."""
        self.socket.feed(client_frame(BINARY, b"".join(encode(packet, self.version) for packet in packets)))

    @property
    def told(self) -> list[Packet]:
        """All packets that came, each in a message of its own."""
        payloads = [frame.payload for frame in self.socket.frames if frame.opcode == BINARY]
        packets = [PacketReader(1 << 20).feed(payload) for payload in payloads]
        assert all(len(whole) == 1 for whole in packets)
        return [decode(*whole[0], self.version) for whole in packets]

    @property
    def codes(self) -> list[int]:
        """Of the CONNACK and of a DISCONNECT, as far as they came."""
        return [packet.code for packet in self.told if isinstance(packet, Connack | Disconnect)]


def connect(
    client_id: str = "d", version: int = 5, keep_alive_s: int = 60, clean: bool = True, expiry_s: int | None = None
) -> Connect:
    properties = Properties(session_expiry_s=expiry_s)
    return Connect(version, client_id, clean, keep_alive_s, None, None, None, properties)


async def device(server: Server, *more: Packet, first: Connect | None = None) -> Device:
    """One that is in."""
    first = connect() if first is None else first
    made = Device(server, first.version)
    made.say(first, *more)
    await settle()
    assert made.codes == [0]
    return made


def ends(server: Server) -> list[tuple[CloseCategory, int]]:
    return [(category, code) for _, category, code, _ in server.house.ended]


async def test_client_comes_in_subscribes_and_hears_what_is_sent_to_its_group() -> None:
    server = Server()
    subscriber = await device(server, Subscribe(1, (Filter("g", 0),)), Pingreq())
    await server.send("hello")

    assert {type(packet) for packet in subscriber.told} == {Connack, Pingresp, Suback, Publish}
    assert [packet.payload for packet in subscriber.told if isinstance(packet, Publish)] == [b"hello"]


async def test_packets_that_are_cut_over_messages_and_messages_over_reads_are_whole_again() -> None:
    server = Server()
    made = Device(server)
    stream = encode(connect(), 5) + encode(Pingreq(), 5)
    messages = b"".join(client_frame(BINARY, stream[start : start + 3]) for start in range(0, len(stream), 3))
    for start in range(0, len(messages), 4):
        made.socket.feed(messages[start : start + 4])
    await settle()

    assert [type(packet) for packet in made.told] == [Connack, Pingresp]


async def test_client_that_is_refused_is_told_so_and_closed() -> None:
    server = Server()
    made = Device(server)
    made.say(connect("x" * 129), Pingreq())
    await settle()

    assert made.codes == [Reason.CLIENT_ID_NOT_VALID]
    assert made.socket.closed == (1000, "")
    assert server.house.node.connections() == []


async def test_what_is_no_connect_ends_the_socket() -> None:
    server = Server()
    made = Device(server)
    made.say(Pingreq())

    assert made.socket.closed is not None
    assert server.house.node.connections() == []


async def test_client_without_a_connect_is_closed_in_time() -> None:
    server = Server()
    made = Device(server)
    await server.advance(10)

    assert made.socket.closed == (1002, "")
    await server.advance(2)
    assert (made.socket.transport.ended, server.house.loop.timers) == ("lost", 0)


async def test_text_message_ends_the_connection() -> None:
    server = Server()
    made = await device(server)
    made.socket.feed(client_frame(TEXT, b"x"))

    assert (made.socket.closed or (0,))[0] == 1003
    assert server.house.node.connections() == []


async def test_client_says_goodbye_by_a_packet_and_its_session_ends() -> None:
    server = Server()
    made = await device(server)
    made.say(Disconnect())
    await settle()

    assert made.codes == [0]
    assert server.house.node.connections() == []


async def test_client_that_is_closed_is_told_why_before_the_close_frame() -> None:
    server = Server()
    made, old = await device(server), await device(server, first=connect("e", 4))
    await server.house.node.ask(Close(to_hub(HUB)))

    assert made.codes == [0, Reason.ADMINISTRATIVE_ACTION]
    assert old.codes == [0]
    for one in (made, old):
        assert one.socket.closed == (1000, "")
        one.socket.feed(client_frame(CLOSE, (1000).to_bytes(2, "big"), mask=None))
    await settle()
    assert server.clients.sockets == set()


async def test_silent_client_is_told_that_its_time_is_over() -> None:
    server = Server()
    made = await device(server, first=connect(keep_alive_s=10))
    await server.advance(15)
    assert made.codes == [0]
    made.say(Pingreq())
    await server.advance(15)
    assert made.codes == [0]

    await server.advance(1)

    assert made.codes == [0, Reason.KEEP_ALIVE_TIMEOUT]
    assert made.socket.closed == (1000, "")
    assert ends(server) == [(CloseCategory.PING_TIMEOUT, 1000)]


async def test_client_of_3_1_1_without_a_keep_alive_may_be_silent() -> None:
    server = Server()
    made = await device(server, first=connect(version=4, keep_alive_s=0))
    await server.advance(10_000)

    assert (made.codes, made.socket.closed) == ([0], None)


async def test_slow_client_is_told_so_before_it_is_closed() -> None:
    server = Server()
    made = await device(server, Subscribe(1, (Filter("g", 0),)))
    made.socket.transport.limits = (0, 0)
    made.socket.transport.stuck = True
    await server.send(*["x" * 100] * 30)
    made.socket.transport.take()

    assert made.codes == [0, Reason.QUOTA_EXCEEDED]
    assert made.socket.closed == (1000, "")
    assert [category for category, _ in ends(server)] == [CloseCategory.SLOW_CLIENT]


async def test_client_that_comes_again_takes_the_place_of_its_former_socket() -> None:
    server = Server()
    old = await device(server, Subscribe(1, (Filter("g", 0),)), first=connect(expiry_s=30))
    new = await device(server, first=connect(clean=False, expiry_s=30))

    assert old.codes == [0, Reason.SESSION_TAKEN_OVER]
    assert old.socket.closed == (1000, "")
    old.say(Publish("g", b"of old", properties=Properties()))
    old.socket.transport.lose()
    await server.send("new")
    assert [packet.payload for packet in new.told if isinstance(packet, Publish)] == [b"new"]
    assert server.house.ended == []


async def test_socket_that_is_lost_leaves_a_session_for_as_long_as_was_agreed() -> None:
    server = Server()
    made = await device(server, first=connect(expiry_s=20))
    made.socket.transport.lose()
    await settle()
    assert server.house.telemetry.retained == 1

    back = await device(server, first=connect(clean=False))

    (answer,) = back.told
    assert isinstance(answer, Connack)
    assert answer.session_present


def hold(server: Server) -> asyncio.Event:
    """Let the hub have a handler that accepts whoever comes, once this is set."""
    free = asyncio.Event()

    async def held() -> IncomingResponse:
        await free.wait()
        return NOTHING

    server.house.directory.hubs[HUB] = handling(handler())
    server.house.upstream.webhook.answers = lambda request: held() if request.url.endswith("/connect") else NOTHING
    return free


async def test_client_is_let_in_once_the_handler_has_accepted_it_and_what_it_said_meanwhile_counts() -> None:
    server = Server()
    free = hold(server)
    made = Device(server)
    made.say(connect())
    made.say(Pingreq())
    await settle()
    assert made.told == []

    free.set()
    await settle()

    assert [type(packet) for packet in made.told] == [Connack, Pingresp]


async def test_client_that_is_gone_when_the_handler_accepts_it_is_nobody() -> None:
    server = Server()
    free = hold(server)
    made = Device(server)
    made.say(connect())
    made.socket.transport.lose()
    free.set()
    await settle()

    assert server.house.node.connections() == []
    assert server.house.gateway._admission.places(HUB.resource) == (0, 0)


@pytest.mark.parametrize(("version", "codes"), [(5, [0, Reason.SERVER_SHUTTING_DOWN]), (4, [0])])
async def test_client_is_told_that_the_server_goes_away(version: int, codes: list[int]) -> None:
    server = Server()
    made = await device(server, first=connect(version=version))
    early = Device(server)
    ending = server.house.loop.create_task(server.clients.end(server.house.loop.time() + 60))
    await settle()

    assert made.codes == codes
    assert (made.socket.closed, early.socket.closed) == ((1000, ""), (1000, ""))
    await server.advance(2)
    assert ending.result() == 0
    assert server.house.node.connections() == []
