"""
What a message says besides its payload, and how long it may wait: from a client of every protocol, REST and event
handlers to a client of every protocol.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from doubles import HUB, settle
from gateway.devices import Device
from gateway.house import RELIABLE, House
from gateway.speaker import KINDS, RELIABLE_KINDS, Speaker, somebody
from handlers import answer, handler, handling
from hubwire.model.commands import Send
from hubwire.model.messages import Data, GroupMessage
from hubwire.model.targets import to_group
from hubwire.protocols.mqtt.packets import Publish
from vectors import mqtt_wire as wire

MQTT = "mqtt"
REST = "rest"
METADATA = {"trace": "a b", "x-1": ""}
TTL_S = 5
PUBLISHERS = [*KINDS, MQTT, REST]
RECEIVERS = [*KINDS, MQTT]

_ids = itertools.count(1)


@pytest.fixture
def house() -> House:
    return House(queue_messages=50)


def properties(metadata: Mapping[str, str], ttl_s: int) -> tuple[bytes, ...]:
    """Of a PUBLISH: user properties, and its message expiry interval."""
    expiry = (b"\x02" + wire.four(ttl_s),) if ttl_s else ()
    return (*expiry, *(wire.user_property(*pair) for pair in metadata.items()))


async def publish(house: House, kind: str, metadata: Mapping[str, str], ttl_s: int = 0, text: str = "x") -> None:
    """To the group `g`, by somebody who is no member."""
    if kind == REST:
        message = GroupMessage("g", Data("text", text.encode()), metadata=metadata)
        house.node.execute(Send(to_group(HUB, "g"), message, ttl_s=ttl_s))
        await settle()
    elif kind == MQTT:
        device = Device(house, f"publisher{next(_ids)}")
        await device.connect()
        said = properties(metadata, ttl_s)
        await device.send(wire.publish(5, "g", text.encode(), 1, 1, said=said))
    else:
        frame = {"type": "sendToGroup", "group": "g", "dataType": "text", "data": text}
        client = await somebody(house, kind)
        await client.say({**frame, "metadata": dict(metadata), "ttlSeconds": ttl_s})


async def device_in_group(house: House, qos: int = 1, version: int = 5, *said: bytes, **more: Any) -> Device:
    """
    Args:
        said: properties of its subscription.
    """
    device = Device(house, f"receiver{next(_ids)}", version)
    await device.connect(**more)
    await device.send(wire.subscribe(version, 1, ("g", qos), said=said))
    return device


def publications(device: Device) -> list[Publish]:
    return [packet for packet in device.heard if isinstance(packet, Publish)]


def texts(client: Speaker) -> list[str]:
    """Payloads of all messages that its socket has brought."""
    messages = [row for row in client.heard() if row["type"] == "message"]
    return [row["data"] if row["dataType"] == "text" else row["dataType"] for row in messages]


# Metadata


@pytest.mark.parametrize("receiver", RECEIVERS)
@pytest.mark.parametrize("publisher", PUBLISHERS)
async def test_metadata_reaches_clients_of_every_protocol(house: House, publisher: str, receiver: str) -> None:
    if receiver == MQTT:
        device = await device_in_group(house)
        await publish(house, publisher, METADATA)
        (packet,) = publications(device)
        assert dict(packet.properties.user_properties) == METADATA
    else:
        client = await somebody(house, receiver, groups=["g"])
        await publish(house, publisher, METADATA)
        (message,) = client.heard()
        assert message["metadata"] == METADATA


@pytest.mark.parametrize("receiver", KINDS)
@pytest.mark.parametrize("publisher", PUBLISHERS)
async def test_message_without_metadata_says_nothing_of_it(house: House, publisher: str, receiver: str) -> None:
    client = await somebody(house, receiver, groups=["g"])
    await publish(house, publisher, {})
    (message,) = client.heard()

    assert "metadata" not in message


@pytest.mark.parametrize("kind", KINDS)
async def test_metadata_goes_to_a_handler_and_comes_back_with_its_answer(house: House, kind: str) -> None:
    """Names in lower case, as headers have them."""
    house.directory.hubs[HUB] = handling(handler(systemEvents=[]))
    house.upstream.webhook.answers = lambda _request: answer(
        200, b"hi", Content_Type="text/plain", X_WebPubSub_Metadata_Trace="t"
    )
    client = await somebody(house, kind)

    message, _ack = await client.say(
        {"type": "event", "event": "e", "dataType": "text", "data": "x", "metadata": {"Trace": "a b"}, "ackId": 1}
    )

    headers = {name.lower(): value for name, value in house.upstream.webhook.requests[-1].headers}
    assert headers["x-webpubsub-metadata-trace"] == "a b"
    assert (message["data"], message["metadata"]) == ("hi", {"trace": "t"})


# Time to live


@pytest.mark.parametrize("receiver", RECEIVERS)
@pytest.mark.parametrize("publisher", PUBLISHERS)
async def test_message_waits_in_front_of_a_slow_client_until_its_time_is_over(
    house: House, publisher: str, receiver: str
) -> None:
    """Its sink is told until when."""
    until = house.loop.time() + TTL_S
    if receiver == MQTT:
        device = await device_in_group(house, qos=0)
        await publish(house, publisher, {}, TTL_S)
        await publish(house, publisher, {})
        writes = device.sink.writes[-2:]
    else:
        client = await somebody(house, receiver, groups=["g"])
        await publish(house, publisher, {}, TTL_S)
        await publish(house, publisher, {})
        writes = client.sink.writes

    assert [write.expires_at for write in writes] == [until, None]


@pytest.mark.parametrize("said", [(), (b"\x0b\x07",)], ids=["alike", "with an identifier of its own"])
@pytest.mark.parametrize(("qos", "expires"), [(0, True), (1, False)])
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("publisher", [REST, MQTT])
async def test_message_on_its_way_to_a_device_expires_unless_it_is_to_be_acknowledged(
    house: House, publisher: str, version: int, qos: int, expires: bool, said: tuple[bytes, ...]
) -> None:
    """What has a number must arrive, since its session waits for the answer."""
    device = await device_in_group(house, qos, version, *(said if version == 5 else ()))
    other = await device_in_group(house, 1 - qos)
    await publish(house, publisher, {}, TTL_S)

    until = house.loop.time() + TTL_S
    assert device.sink.writes[-1].expires_at == (until if expires else None)
    assert other.sink.writes[-1].expires_at == (None if expires else until)


@pytest.mark.parametrize(("waited_s", "is_there"), [(TTL_S - 1, True), (TTL_S + 1, False)])
@pytest.mark.parametrize("receiver", RELIABLE_KINDS)
@pytest.mark.parametrize("publisher", PUBLISHERS)
async def test_message_waits_for_a_reliable_client_until_its_time_is_over(
    house: House, publisher: str, receiver: str, waited_s: int, is_there: bool
) -> None:
    """Unacknowledged, or sent while there was no socket; what has no time is there in any case."""
    client = await somebody(house, receiver, groups=["g"])
    await publish(house, publisher, {}, TTL_S, "unacknowledged")
    assert len(client.heard()) == 1
    client.drop()
    await publish(house, publisher, {}, TTL_S, "missed")
    await publish(house, publisher, {}, 0, "kept")
    await house.loop.advance(waited_s)

    again = await resumed(house, client)

    assert len(again.heard()) == (4 if is_there else 2)
    numbers = [row["sequenceId"] for row in again.heard()[1:]]
    assert numbers == ([1, 2, 3] if is_there else [3])


async def resumed(house: House, client: Speaker) -> Speaker:
    """A client that comes back by another socket."""
    sink = type(client.sink)()
    assert await house.begin(house.decide(str(client.connection.subprotocol), **client.recovery), sink)
    await settle()
    return Speaker(house, client.connection, sink)


@pytest.mark.parametrize("receiver", RELIABLE_KINDS)
async def test_what_has_expired_makes_room_in_the_queue_of_a_reliable_client(receiver: str) -> None:
    house = House(queue_messages=2)
    client = await somebody(house, receiver, groups=["g"])
    for text in ("1", "2"):
        await publish(house, REST, {}, TTL_S, text)
    await house.loop.advance(TTL_S + 1)

    for text in ("3", "4"):
        await publish(house, REST, {}, 0, text)
    assert client.connection.alive
    await publish(house, REST, {}, 0, "5")
    assert not client.connection.alive


@pytest.mark.parametrize(("waited_s", "is_there"), [(TTL_S - 1, True), (TTL_S + 1, False)])
@pytest.mark.parametrize("publisher", PUBLISHERS)
async def test_message_waits_in_a_session_of_mqtt_until_its_time_is_over(
    house: House, publisher: str, waited_s: int, is_there: bool
) -> None:
    """The client is told how much of its time is left."""
    device = await device_in_group(house, clean=False)
    device.lose()
    await publish(house, publisher, {}, TTL_S, "x")
    await publish(house, publisher, {}, 0, "kept")
    await house.loop.advance(waited_s)

    await device.connect(clean=False)

    waited = [(packet.payload, packet.properties.message_expiry_s) for packet in publications(device)]
    assert waited == ([(b"x", TTL_S - waited_s)] if is_there else []) + [(b"kept", None)]


@pytest.mark.parametrize("publisher", KINDS)
async def test_longest_and_shortest_time_are_taken_and_no_others(house: House, publisher: str) -> None:
    client = await somebody(house, RELIABLE, groups=["g"])
    for ttl_s in (0, 1, 300):
        await publish(house, publisher, {}, ttl_s)
    now = house.loop.time()
    assert [write.expires_at for write in client.sink.writes] == [None, now + 1, now + 300]

    other = await somebody(house, publisher)
    await other.say({"type": "sendToGroup", "group": "g", "dataType": "text", "data": "x", "ttlSeconds": 301})
    assert other.sink.closed is not None
    assert other.sink.closed[0] == 1007
    assert len(client.heard()) == 3
