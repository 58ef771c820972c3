"""
Random operations of clients and operators on a gateway in this process, held against a small model after each turn.

`HUBWIRE_FAULT_SEEDS=1-1000` walks other ways than the suite does, and `HUBWIRE_MODEL_EXAMPLES=2000` lets Hypothesis try
so many examples, other ones each time, and cut one that fails down to the operations that it takes.
"""

import asyncio
import json
import os
import random
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from doubles import HUB, RecordingSink, head, settle
from gateway.devices import Device
from gateway.house import URL, House
from hubwire.cluster.retained_portions import PortionLimits
from hubwire.gateway.arrivals import MqttOptions
from hubwire.gateway.opening import Opening
from hubwire.hub.connection import Connection
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.mqtt.arrival import Policy
from hubwire.protocols.mqtt.packets import Connack, Disconnect, Puback, Publish, Suback, Unsuback
from hubwire.protocols.mqtt.packets import Packet as MqttPacket
from hubwire.rest.app import build_app
from hubwire.rest.ports import Server
from journeys.operations import (
    IN_PROTOBUF,
    KINDS,
    OFFERS,
    RELIABLE,
    Acknowledge,
    Call,
    Confirm,
    Connect,
    Depart,
    Kind,
    Listing,
    Operation,
    Packet,
    Pass,
    Payload,
    Recover,
    Say,
    draw,
    listing_target,
    target,
)
from journeys.reference import MQTT, Frame, Reference, held_against
from journeys.seeds import seeds
from protobuf_messages import message_of, request_of
from protocols.mqtt.pretend import heard
from rest.asgi import ENDPOINT, FakeCatalog, Reply, request
from rest.callers import access_keys_only
from vectors import mqtt_wire as wire
from vectors.mqtt_packets import text

QUEUE: Final = 20
STEPS: Final = 1000
PAGES: Final = 50
CLIENTS: Final[tuple[Kind, ...]] = (
    "json",
    "reliable",
    "reliable",
    "protobuf",
    "reliable-protobuf",
    "reliable-protobuf",
    "simple",
    "mqtt4",
    "mqtt5",
)
EXAMPLES: Final = os.environ.get("HUBWIRE_MODEL_EXAMPLES")


class _Client:
    """
    One connection and its present socket.

    Attributes:
        token: for its recovery.
        device: of MQTT.
        received: packet identifiers that an MQTT client has not acknowledged on this socket.
    """

    def __init__(self, connection: Connection, sink: RecordingSink, device: Device | None = None) -> None:
        self.connection = connection
        self.sink = sink
        self.token = ""
        self.device = device
        self.received: list[int] = []


class Premises:
    """A house with its REST application, and clients by the names of the reference."""

    def __init__(self) -> None:
        mqtt = MqttOptions(Policy(wildcards=True, retain="keep"))
        self.house = House(1000, QUEUE, mqtt=mqtt, portions=PortionLimits(1 << 20, 1 << 40))
        self.reference = Reference(QUEUE, (0, 0, 5, 300), CLIENTS)
        self.clients: dict[str, _Client] = {}
        self.unsettled = 0
        self._app = build_app(
            self.house.node,
            self.house.principals,
            access_keys_only(self.house.principals),
            FakeCatalog(),
            self.house.telemetry,
            Server(endpoint=ENDPOINT, version="1", pid=1, data_folder="/", started_at=0.0),
            ready=lambda: True,
        )

    async def step(self, operation: Operation, hold: bool) -> None:
        """
        Carry out an operation and compare.

        Args:
            hold: leave the turn of the loop open for the next operation, if that leaves nothing open.
        """
        if not isinstance(operation, Say | Payload | Call):
            await self.compare()
        operation = self.reference.adjusted(operation)
        crowded = self.reference.spare() <= 12
        expected = self.reference.apply(operation)
        found = await self._carry_out(operation)
        assert found == expected, (operation, found, expected)
        self.unsettled += 1
        if not hold or crowded or self.unsettled == 4 or not isinstance(operation, Say | Payload | Call):
            await self.compare()

    async def compare(self) -> None:
        """What every client got since the last time, once all came to rest."""
        await settle()
        self.unsettled = 0
        for name, client in self.clients.items():
            peer = self.reference.peers[name]
            if peer.stream is not None:
                sink = client.sink
                assert not sink.aborted
                end = None if sink.closed is None else sink.closed[0]
                held_against(peer.stream, self._frames(client, peer.kind), end)
                sink.forget()
                if end is not None:
                    peer.stream = None
            assert client.connection.alive == peer.alive
            assert set(client.connection.groups) == peer.groups

    @staticmethod
    def _frames(client: _Client, kind: str) -> list[Frame]:
        if client.device is not None:
            return _heard(client, client.device)
        found: list[Frame] = []
        for frame in client.sink.frames:
            if kind != "simple":
                assert frame.opcode == (2 if kind in IN_PROTOBUF else 1)
                message = message_of(frame.payload) if kind in IN_PROTOBUF else json.loads(frame.payload)
                client.token = message.get("reconnectionToken", client.token)
                found.append(message)
            else:
                found.append(("text", frame.payload.decode()) if frame.opcode == 1 else ("binary", frame.payload))
        return found

    async def _carry_out(self, operation: Operation) -> Any:
        match operation:
            case Connect():
                await self._connect(operation)
            case Say(name, frames):
                for frame in frames:
                    await self._receive(name, self._said(name, frame))
            case Payload(name, data):
                await self._receive(name, data)
            case Packet(name):
                await self._device(name).send(_packet(operation, self._device(name).version))
            case Confirm(name, count):
                client = self.clients[name]
                taken, client.received = client.received[:count], client.received[count:]
                acknowledgements = (wire.acknowledge(wire.PUBACK, packet_id) for packet_id in taken)
                await self._device(name).send(b"".join(acknowledgements))
            case Acknowledge(name, number):
                await self._receive(name, self._said(name, {"type": "sequenceAck", "sequenceId": number}))
            case Depart(name, how) if self.clients[name].device is not None:
                device = self._device(name)
                if how == 1000:
                    await device.send(wire.disconnect())
                device.lose(1006 if how == "cut" else how)
            case Depart(name, how):
                client = self.clients[name]
                code = 1006 if how == "cut" else how
                self.house.gateway.lost(client.connection, client.sink, code, CloseCategory.NORMAL)
            case Recover(name, honest):
                return await self._recover(name, honest)
            case Call():
                return (await self._request(operation.method, target(operation, HUB.hub), operation)).status
            case Listing():
                return await self._list(operation)
            case Pass(seconds):
                await self.house.loop.advance(seconds)
        return None

    def _said(self, name: str, frame: dict[str, Any] | str) -> str | bytes:
        """As the client writes it."""
        if self.reference.peers[name].kind in IN_PROTOBUF:
            return frame.encode() if isinstance(frame, str) else request_of(frame)
        return frame if isinstance(frame, str) else json.dumps(frame)

    async def _receive(self, name: str, payload: str | bytes) -> None:
        waiting = self.house.gateway.receive(self.clients[name].connection, payload)
        if waiting is not None:
            await waiting

    async def _connect(self, how: Connect) -> None:
        query = {}
        if how.publish_to is not None:
            query = {"webpubsub_mode": "sendToGroup", "group": how.publish_to, "noEcho": str(how.no_echo).lower()}
        if how.issued:
            parameters = [("role", role) for role in how.roles] + [("group", group) for group in how.groups]
            if how.user is not None:
                parameters.append(("userId", how.user))
            if how.kind in MQTT:
                parameters.append(("clientType", "mqtt"))
            reply = await self._request("POST", f"/api/hubs/{HUB.hub}/:generateToken?{urlencode(parameters)}")
            query["access_token"] = reply.json["token"]
        if how.kind in MQTT:
            await self._connect_device(how, query)
            return
        if not how.issued:
            query["access_token"] = self.house.token(how.user, how.roles, how.groups)
        client = await self._begin(how.name, self.house.decide(*OFFERS[how.kind], **query))
        assert client is not None
        self.reference.peers[how.name].id = client.connection.id

    async def _begin(self, name: str, opening: Opening) -> _Client | None:
        sink = RecordingSink()
        connection = await self.house.begin(opening, sink)
        if connection is None:
            assert sink.closed is not None
            assert sink.closed[0] == 1008
            assert not sink.writes
            return None
        client = self.clients[name] = _Client(connection, sink)
        return client

    async def _connect_device(self, how: Connect, query: dict[str, str]) -> None:
        """It asks for the longest session there is, which is as long as a reliable client's."""
        version = 4 if how.kind == "mqtt4" else 5
        device = Device(self.house, how.name, version, user_id=how.user, roles=how.roles, groups=how.groups, **query)
        await device.connect(clean=False)
        self.clients[how.name] = _Client(device.connection, device.sink, device)
        self.reference.peers[how.name].id = how.name

    def _device(self, name: str) -> Device:
        device = self.clients[name].device
        assert device is not None
        return device

    async def _take_over(self, client: _Client, device: Device, honest: bool) -> bool:
        """By another socket, of the same client or of somebody who knows but its id."""
        before = client.sink
        was_there = client.connection.sink is before and client.connection.alive
        if not honest:
            stranger = Device(self.house, device.client_id, device.version, user_id="mallory")
            await stranger.connect(clean=False)
            assert stranger.connack.code == (0x85 if device.version == 5 else 2)
            assert not before.writes
            return False
        await device.connect(clean=False)
        assert device.connection is client.connection
        client.sink, client.received = device.sink, []
        if was_there:
            told = [("disconnect", 0x8E)] if device.version == 5 else []
            assert _said(heard(b"".join(write.data for write in before.writes), device.version)) == told
            assert before.closed is not None
            assert before.closed[0] == 1000
        return True

    async def _recover(self, name: str, honest: bool) -> bool:
        client, peer = self.clients[name], self.reference.peers[name]
        if client.device is not None:
            return await self._take_over(client, client.device, honest)
        others = [other.token for other in self.clients.values() if other.token and other is not client]
        token = client.token if honest else others[0] if others else "nonsense"
        was_there = client.connection.sink is client.sink
        query = urlencode({"awps_connection_id": peer.id, "awps_reconnection_token": token})
        opening = self.house.opening(head(f"{URL}?{query}", offers=(RELIABLE,)))
        if await self._begin(name, opening) is None:
            return False
        # A half-open socket ends without a word.
        assert client.sink.aborted == was_there
        assert not client.sink.writes
        return True

    async def _request(self, method: str, where: str, call: Call | None = None) -> Reply:
        headers = []
        body = call.body if call is not None else b""
        if call is not None and call.content_type:
            headers = [("Content-Type", call.content_type), ("Content-Length", str(len(body)))]
        control = {"control": True, "host": "localhost:8080"}
        reply = await request(self._app, method, where, headers, (body,), control)
        assert reply is not None
        return reply

    async def _list(self, listing: Listing) -> list[Any]:
        pages: list[Any] = []
        where: str | None = listing_target(listing, HUB.hub)
        while where is not None:
            assert len(pages) < PAGES, "the list does not end"
            reply = await self._request("GET", where.removeprefix(ENDPOINT))
            assert reply.status == 200, reply.body
            pages.append(reply.json["value"])
            where = reply.json["nextLink"]
        return pages


def _packet(packet: Packet, version: int) -> bytes:
    match packet.what:
        case "subscribe":
            return wire.subscribe(version, 1, (packet.group, packet.qos))
        case "unsubscribe":
            return wire.unsubscribe(version, 1, packet.group)
    data = packet.data
    said = (b"\x03" + text("text/plain"),) if isinstance(data, str) and version == 5 else ()
    body = data.encode() if isinstance(data, str) else data
    return wire.publish(version, packet.group, body, packet.qos, 1, retain=packet.retain, said=said)


def _heard(client: _Client, device: Device) -> list[Frame]:
    """What an MQTT client was told since the last time."""
    packets = heard(b"".join(write.data for write in client.sink.writes), device.version)
    for packet in packets:
        if isinstance(packet, Publish) and packet.packet_id is not None:
            assert packet.packet_id not in client.received, "an identifier that is taken"
            client.received.append(packet.packet_id)
    return _said(packets)


def _said(packets: Sequence[MqttPacket]) -> list[Frame]:
    """As the reference has it."""
    found: list[Frame] = []
    for packet in packets:
        match packet:
            case Publish(topic, payload, qos):
                of_5 = packet.properties
                found.append(("publish", topic, payload, qos, of_5.content_type, of_5.user_properties, packet.retain))
            case Connack():
                found.append(("connack", packet.code, packet.session_present))
            case Suback():
                found.append(("suback", *packet.codes))
            case Unsuback():
                found.append(("unsuback", *(packet.codes or (None,))))
            case Puback():
                found.append(("puback", packet.code))
            case Disconnect():
                found.append(("disconnect", packet.code))
            case _:
                raise AssertionError(packet)
    return found


@pytest.mark.parametrize("seed", seeds("1-20"))
async def test_random_walk_is_what_the_reference_says(seed: int) -> None:
    """Many operations, each of them drawn with a view to what there is. The same seed draws the same ones."""
    premises, drawn = Premises(), random.Random(seed)
    done: list[Operation] = []
    try:
        for _ in range(STEPS):
            operation = draw(drawn.choice(KINDS), drawn, premises.reference)
            if operation is not None:
                done.append(operation)
                await premises.step(operation, drawn.random() < 0.5)
        await premises.compare()
    except BaseException:
        print(f"seed {seed}, operation {len(done)}; the last ones:", *done[-30:], sep="\n")
        raise


class ModelMachine(RuleBasedStateMachine):
    """Draws operations until something differs from the reference."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._premises = self._runner.run(self._begin())

    @staticmethod
    async def _begin() -> Premises:
        return Premises()

    @rule(kind=st.sampled_from(KINDS), drawn=st.randoms(use_true_random=False), hold=st.booleans())
    def step(self, kind: str, drawn: random.Random, hold: bool) -> None:
        operation = draw(kind, drawn, self._premises.reference)
        if operation is not None:
            note(repr(operation))
            self._runner.run(self._premises.step(operation, hold))

    def teardown(self) -> None:
        try:
            self._runner.run(self._premises.compare())
        finally:
            self._runner.close()


TestModel = pytest.mark.timeout(900)(ModelMachine.TestCase)
"""It may take so long to cut a failing example down; nothing else does."""

TestModel.settings = settings(
    max_examples=int(EXAMPLES or 80),
    stateful_step_count=60,
    deadline=None,
    derandomize=EXAMPLES is None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
