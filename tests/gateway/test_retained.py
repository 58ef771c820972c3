"""Retained messages between clients: who is sent what is kept, when, and what takes it away."""

from typing import Any

import pytest

from doubles import HUB, MemoryJournal, settle
from gateway.devices import Device
from gateway.house import House
from gateway.written import Written
from hubwire.gateway.arrivals import MqttOptions
from hubwire.hub.retained import RetainedLimits
from hubwire.model.commands import Close, Send
from hubwire.model.messages import Data, GroupMessage, Publication
from hubwire.model.targets import to_connection, to_group
from hubwire.protocols.mqtt.arrival import Policy
from hubwire.protocols.mqtt.packets import Packet, Puback, Publish, Pubrec, Suback
from vectors import mqtt_wire as wire
from vectors.mqtt_packets import text

VERSIONS = pytest.mark.parametrize("version", [4, 5])
KEEPS = MqttOptions(Policy(retain="keep", wildcards=True))
AS_PUBLISHED, IF_NEW, NEVER, NO_LOCAL = 8, 16, 32, 4


def house_of(limits: RetainedLimits | None = None, journal: MemoryJournal | None = None) -> House:
    return House(queue_messages=100, mqtt=KEEPS, retained=limits, journal=journal)


@pytest.fixture
def house() -> House:
    return house_of()


async def device_of(house: House, name: str = "d", version: int = 5, **more: Any) -> Device:
    device = Device(house, name, version, **more)
    await device.connect()
    return device


async def kept(house: House, payload: bytes = b"kept", topic: str = "t", qos: int = 1, **more: Any) -> None:
    """Published by a client that is gone."""
    device = await device_of(house, "publisher")
    await device.send(wire.publish(5, topic, payload, qos, 1, retain=True, **more))
    if qos == 2:
        await device.send(wire.acknowledge(0x62, 1))
    await device.send(wire.disconnect())
    await settle()


async def subscribed(device: Device, options: int = 1, topic: str = "t", **more: Any) -> list[Packet]:
    return await device.send(wire.subscribe(device.version, 3, (topic, options), **more))


def told(packets: list[Packet]) -> list[tuple[str, bytes, int, bool]]:
    return [(one.topic, one.payload, one.qos, one.retain) for one in packets if isinstance(one, Publish)]


@VERSIONS
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
async def test_who_subscribes_later_is_sent_what_is_kept(
    house: House, version: int, published: int, granted: int
) -> None:
    await kept(house, qos=published)
    device = await device_of(house, version=version)

    suback, message = await subscribed(device, granted)

    assert isinstance(suback, Suback), "the answer comes first"
    assert told([message]) == [("t", b"kept", min(published, granted), True)]


async def test_what_is_kept_is_the_last_one(house: House) -> None:
    await kept(house, b"first")
    await kept(house, b"last")
    device = await device_of(house)
    await device.send(wire.publish(5, "t", b"passes by", 1, 9))

    assert told(await subscribed(device)) == [("t", b"last", 1, True)]


async def test_empty_message_clears_what_is_kept_and_is_delivered(house: House) -> None:
    await kept(house)
    listener = await device_of(house, "listener", groups=["t"])

    await kept(house, b"")

    assert told(listener.heard) == [("t", b"", 1, False)]
    assert told(await subscribed(await device_of(house))) == []
    assert house.retained.counts(HUB) == (0, 0)


async def test_empty_message_without_the_flag_clears_nothing(house: House) -> None:
    await kept(house)
    device = await device_of(house)
    await device.send(wire.publish(5, "t", b"", 1, 9))

    assert told(await subscribed(device)) == [("t", b"kept", 1, True)]


async def test_who_is_there_already_hears_it_as_a_new_message(house: House) -> None:
    """With the flag only where the subscription says so."""
    device = await device_of(house)
    await subscribed(device, 1)
    other = await device_of(house, "other")
    await subscribed(other, 1 | AS_PUBLISHED)
    old = await device_of(house, "old", 4)
    await subscribed(old, 1)

    await kept(house)

    assert told(device.heard) == told(old.heard) == [("t", b"kept", 1, False)]
    assert told(other.heard) == [("t", b"kept", 1, True)]


@pytest.mark.parametrize("as_published", [0, AS_PUBLISHED])
async def test_message_without_the_flag_has_none_for_anybody(house: House, as_published: int) -> None:
    device = await device_of(house)
    await subscribed(device, 1 | as_published)

    await device.send(wire.publish(5, "t", b"x", 1, 9))

    assert told(device.heard) == [("t", b"x", 1, False)]


async def test_handling_decides_who_is_sent_it(house: House) -> None:
    await kept(house)
    device = await device_of(house)

    assert told(await subscribed(device, 1 | NEVER)) == []
    assert told(await subscribed(device, 1 | IF_NEW)) == []
    assert len(told(await subscribed(device, 1))) == 1
    await device.send(wire.unsubscribe(5, 4, "t"))
    assert len(told(await subscribed(device, 1 | IF_NEW))) == 1


async def test_who_was_put_into_the_group_has_not_heard_it(house: House) -> None:
    """By a token here; its own SUBSCRIBE is new to the client."""
    await kept(house)
    device = await device_of(house, groups=["t"])
    assert told(device.heard) == []

    assert len(told(await subscribed(device, 1 | IF_NEW))) == 1


async def test_refused_subscription_is_sent_nothing(house: House) -> None:
    await kept(house)
    device = await device_of(house, roles=["webpubsub.sendToGroup"])

    [suback] = await subscribed(device)

    assert isinstance(suback, Suback)
    assert suback.codes == (0x87,)


async def test_who_may_not_publish_keeps_nothing(house: House) -> None:
    device = await device_of(house, roles=["webpubsub.joinLeaveGroup"])
    await device.send(wire.publish(5, "t", b"x", 1, 9, retain=True))

    assert told(await subscribed(device)) == []


async def test_identifier_is_told_with_what_was_kept(house: House) -> None:
    await kept(house)
    device = await device_of(house)

    _, message = await subscribed(device, said=(b"\x0b\x07",))

    assert isinstance(message, Publish)
    assert message.properties.subscription_ids == (7,)


async def test_repetition_has_its_own_options_for_what_was_kept(house: House) -> None:
    """Those of the subscription before are over with the answer."""
    await kept(house, qos=2)
    device = await device_of(house)
    await subscribed(device, 2 | NEVER, said=(b"\x0b\x07",))

    _, message = await subscribed(device, 0, said=(b"\x0b\x08",))

    assert told([message]) == [("t", b"kept", 0, True)]
    assert isinstance(message, Publish)
    assert message.properties.subscription_ids == (8,)


async def test_own_message_is_left_out_for_who_does_not_want_it(house: House) -> None:
    device = await device_of(house)
    await device.send(wire.publish(5, "t", b"x", 1, 9, retain=True))

    assert told(await subscribed(device, 1 | NO_LOCAL)) == []
    assert told(await subscribed(await device_of(house, "other"), 1 | NO_LOCAL)) == [("t", b"x", 1, True)]


async def test_properties_are_kept(house: House) -> None:
    said = (b"\x01\x01", b"\x03" + text("a/b"), b"\x26" + text("n") + text("v"))
    await kept(house, said=said)

    _, message = await subscribed(await device_of(house))

    assert isinstance(message, Publish)
    assert (message.properties.payload_format, message.properties.content_type) == (1, "a/b")
    assert message.properties.user_properties == (("n", "v"),)


# In one turn


@pytest.mark.parametrize("before", [0, 1])
async def test_nothing_is_lost_or_doubled_between_what_is_kept_and_what_is_new(house: House, before: int) -> None:
    """Messages are on their way while the client subscribes, all in one turn of the loop."""
    device, publisher = await device_of(house), await device_of(house, "p")
    texts = (b"1", b"2", b"3", b"4")
    messages = [wire.publish(5, "t", one, 0, retain=True) for one in texts]
    gateway = house.gateway
    listener = await device_of(house, "listener", groups=["t"])

    for message in messages[: 2 * before]:
        assert gateway.receive(publisher.connection, message) is None
    assert gateway.receive(device.connection, wire.subscribe(5, 3, ("t", 1))) is None
    for message in messages[2 * before :]:
        assert gateway.receive(publisher.connection, message) is None
    await settle()

    news = [("t", one, 0, False) for one in texts[2 * before :]]
    assert told(device.heard) == ([("t", b"2", 0, True)] if before else []) + news
    assert [payload for _, payload, _, _ in told(listener.heard)] == list(texts)


async def test_end_of_the_subscription_in_the_same_turn_comes_behind_it(house: House) -> None:
    """It has the options of the subscription that it was sent for."""
    await kept(house)
    device = await device_of(house)

    await device.send(wire.subscribe(5, 3, ("t", 0)) + wire.unsubscribe(5, 4, "t"))

    assert told(device.heard) == [("t", b"kept", 0, True)]


async def test_subscription_waits_for_the_bus_and_then_for_nothing(house: House) -> None:
    await kept(house)
    device = await device_of(house)
    gate = house.bus.hold()
    waiting = device.sending(wire.subscribe(5, 3, ("t", 1)))
    await settle()
    assert told(device.heard) == []

    gate.set_result(None)
    await waiting
    await settle()

    assert told(device.heard) == [("t", b"kept", 1, True)]


# Other publishers and subscribers


async def test_what_comes_by_other_ways_is_not_kept(house: House) -> None:
    message = GroupMessage("t", Data("text", b"x"))
    house.node.execute(Send(to_group(HUB, "t"), message))

    assert told(await subscribed(await device_of(house))) == []


async def test_clients_of_other_protocols_hear_it_as_any_message(house: House) -> None:
    client = await house.json(groups=["t"])

    await kept(house)

    [message] = client.sink.received
    assert message == {"type": "message", "from": "group", "group": "t", "dataType": "binary", "data": "a2VwdA=="}


async def test_other_hub_has_messages_of_its_own(house: House) -> None:
    await kept(house)

    assert house.retained.matching(HUB._replace(hub="other"), "t") == []
    assert house.retained.matching(HUB._replace(resource="other"), "t") == []


# Wills


@VERSIONS
async def test_will_is_kept(house: House, version: int) -> None:
    device = Device(house, "d", version)
    await device.connect(will=wire.Will("t", b"gone", 1, retain=True))

    device.lose()
    await settle()

    assert told(await subscribed(await device_of(house, "later"))) == [("t", b"gone", 1, True)]


async def test_empty_will_clears(house: House) -> None:
    await kept(house)
    device = Device(house, "d")
    await device.connect(will=wire.Will("t", b"", retain=True))

    device.lose()
    await settle()

    assert told(await subscribed(await device_of(house, "later"))) == []


async def test_will_that_may_not_be_published_is_not_kept(house: House) -> None:
    device = Device(house, "d", roles=[])
    await device.connect(will=wire.Will("t", b"gone", 1, retain=True))

    device.lose()
    await settle()

    assert house.retained.counts(HUB) == (0, 0)


async def test_will_without_the_flag_is_not_kept(house: House) -> None:
    device = Device(house, "d")
    await device.connect(will=wire.Will("t", b"gone", 1))

    device.lose()
    await settle()

    assert house.retained.counts(HUB) == (0, 0)


# Their time


async def test_time_goes_on_while_it_is_kept(house: House) -> None:
    await kept(house, said=(b"\x02" + wire.four(60),))
    house.clock += 19.5

    _, message = await subscribed(await device_of(house))
    assert isinstance(message, Publish)
    assert message.properties.message_expiry_s == 41

    house.clock += 41
    assert told(await subscribed(await device_of(house, "later"))) == []


async def test_time_is_that_of_the_last_one(house: House) -> None:
    await kept(house, b"short", said=(b"\x02" + wire.four(5),))
    await kept(house, b"for ever")
    house.clock += 10

    assert told(await subscribed(await device_of(house))) == [("t", b"for ever", 1, True)]


async def test_message_that_is_over_at_once_leaves_nothing(house: House) -> None:
    """It has taken the place of the one before."""
    await kept(house)
    await kept(house, b"now only", said=(b"\x02" + wire.four(0),))

    assert house.retained.counts(HUB) == (0, 0)


async def test_what_waits_for_an_acknowledgement_goes_on_losing_its_time(house: House) -> None:
    await kept(house, said=(b"\x02" + wire.four(60),))
    device = Device(house, "d")
    await device.connect(clean=False)
    await subscribed(device)
    device.lose()
    await house.loop.advance(10)

    _, message = await device.connect(clean=False)

    assert isinstance(message, Publish)
    assert (message.dup, message.retain, message.properties.message_expiry_s) == (True, True, 50)


# Limits


ONE = RetainedLimits(messages=1)


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
async def test_message_too_many_is_refused(version: int, qos: int, written: Written) -> None:
    house = house_of(ONE)
    await kept(house)
    listener = await device_of(house, "listener", groups=["u"])
    device = await device_of(house, version=version)

    [answer] = await device.send(wire.publish(version, "u", b"x", qos, 9, retain=True))

    assert isinstance(answer, Puback | Pubrec)
    assert answer.code == (0x97 if version == 5 else 0)
    assert told(listener.heard) == []
    assert house.retained.matching(HUB, "u") == []
    [refusal] = written.fields("RequestRefused")
    assert (refusal["code"], refusal["about"]) == (0x97, "u")
    [first] = written.fields("NotRetained")
    assert (first["topic"], first["connectionId"]) == ("u", "d")


@VERSIONS
async def test_message_that_cannot_be_refused_is_delivered_and_not_kept(version: int, written: Written) -> None:
    house = house_of(ONE)
    await kept(house)
    listener = await device_of(house, "listener", groups=["u"])
    device = await device_of(house, version=version)

    for _ in range(3):
        await device.send(wire.publish(version, "u", b"x", retain=True))

    assert device.code is None
    assert told(listener.heard) == [("u", b"x", 0, False)] * 3
    assert house.retained.matching(HUB, "u") == []
    assert len(written.fields("NotRetained")) == 1, "that is no news the second time"


async def test_will_too_many_is_published_and_not_kept(written: Written) -> None:
    house = house_of(ONE)
    await kept(house)
    listener = await device_of(house, "listener", groups=["u"])
    device = Device(house, "d")
    await device.connect(will=wire.Will("u", b"gone", 1, retain=True))

    device.lose()
    await settle()

    assert told(listener.heard) == [("u", b"gone", 1, False)]
    assert house.retained.matching(HUB, "u") == []
    assert len(written.fields("NotRetained")) == 1


async def test_there_is_room_again_when_one_is_cleared_or_over() -> None:
    house = house_of(ONE)
    await kept(house, said=(b"\x02" + wire.four(5),))
    house.clock += 5
    await kept(house, topic="u")
    await kept(house, b"", topic="u")
    await kept(house, topic="v")

    assert [one.message.group for one in house.retained.matching(HUB, "#")] == ["v"]


# With wildcards


def topics(packets: list[Packet]) -> list[str]:
    return [one.topic for one in packets if isinstance(one, Publish)]


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_filter_is_sent_all_that_is_kept_for_what_it_means(house: House, version: int, qos: int) -> None:
    for topic in ("a", "a/b", "a/c", "a/b/c", "b"):
        await kept(house, topic.encode(), topic, 2)
    device = await device_of(house, version=version)

    suback, *messages = await subscribed(device, qos, "a/+")

    assert isinstance(suback, Suback)
    assert told(messages) == [("a/b", b"a/b", qos, True), ("a/c", b"a/c", qos, True)]
    assert sorted(topics(await subscribed(device, qos, "#"))) == ["a", "a/b", "a/b/c", "a/c", "b"]


async def test_each_subscription_is_sent_its_own(house: House) -> None:
    """With its own QoS and identifier, whatever other ones bring the topic as well."""
    await kept(house, topic="a/b", qos=2)
    device = await device_of(house)
    for topic, qos, number in (("a/b", 2, 1), ("a/+", 1, 2), ("#", 0, 3), ("a/b", 1, 4)):
        _, message = await subscribed(device, qos, topic, said=(b"\x0b" + bytes((number,)),))
        assert told([message]) == [("a/b", b"kept", qos, True)]
        assert isinstance(message, Publish)
        assert message.properties.subscription_ids == (number,)


async def test_handling_counts_for_filters(house: House) -> None:
    await kept(house, topic="a/b")
    device = await device_of(house)

    assert topics(await subscribed(device, 1 | NEVER, "a/+")) == []
    assert topics(await subscribed(device, 1 | IF_NEW, "a/+")) == []
    assert topics(await subscribed(device, 1, "a/+")) == ["a/b"]
    await device.send(wire.unsubscribe(5, 4, "a/+"))
    assert topics(await subscribed(device, 1 | IF_NEW, "a/+")) == ["a/b"]


async def test_flag_of_a_new_message_is_that_of_one_of_the_subscriptions(house: House) -> None:
    device, publisher = await device_of(house), await device_of(house, "p")
    await subscribed(device, 1, "a/b")
    await publisher.send(wire.publish(5, "a/b", b"1", 1, 1, retain=True))
    await subscribed(device, NEVER | AS_PUBLISHED, "a/+")
    await publisher.send(wire.publish(5, "a/b", b"2", 1, 2, retain=True))

    assert told(device.heard) == [("a/b", b"1", 1, False), ("a/b", b"2", 1, True)]


async def test_own_messages_have_the_flag_of_the_subscriptions_that_bring_them(house: House) -> None:
    device = await device_of(house)
    await subscribed(device, 1 | AS_PUBLISHED | NO_LOCAL, "a/b")
    await subscribed(device, 1, "a/+")
    await device.send(wire.publish(5, "a/b", b"1", 0, retain=True))

    assert told(device.heard) == [("a/b", b"1", 0, False)]


async def test_nothing_is_lost_or_doubled_for_a_filter(house: House) -> None:
    device, publisher = await device_of(house), await device_of(house, "p")
    said = [wire.publish(5, "a/b", payload, 0, retain=True) for payload in (b"1", b"2", b"3")]
    gateway = house.gateway

    assert gateway.receive(publisher.connection, said[0]) is None
    assert gateway.receive(device.connection, wire.subscribe(5, 3, ("a/+", 1))) is None
    assert gateway.receive(publisher.connection, said[1]) is None
    assert gateway.receive(publisher.connection, said[2]) is None
    await settle()

    assert told(device.heard) == [("a/b", b"1", 0, True), ("a/b", b"2", 0, False), ("a/b", b"3", 0, False)]


async def test_end_of_a_filter_in_the_same_turn_comes_behind_what_it_was_sent(house: House) -> None:
    await kept(house, topic="a/b")
    device = await device_of(house)

    await device.send(wire.subscribe(5, 3, ("a/+", 0)) + wire.unsubscribe(5, 4, "a/+"))

    assert told(device.heard) == [("a/b", b"kept", 0, True)]


async def test_filter_that_is_refused_is_sent_nothing(house: House) -> None:
    await kept(house, topic="a/b")
    device = await device_of(house, roles=["webpubsub.joinLeaveGroup.a/b"])

    assert topics(await subscribed(device, 1, "a/+")) == []


async def test_expiring_messages_are_told_to_filters(house: House) -> None:
    await kept(house, topic="a/b", said=(b"\x02" + wire.four(60),))
    await kept(house, topic="a/c", said=(b"\x02" + wire.four(10),))
    await kept(house, topic="a/d")
    house.clock += 10
    device = await device_of(house)

    messages = [one for one in await subscribed(device, 1, "a/+") if isinstance(one, Publish)]

    assert [(one.topic, one.properties.message_expiry_s) for one in messages] == [("a/b", 50), ("a/d", None)]


# More than a client takes at once


MANY = 250


@pytest.fixture
def full(house: House) -> House:
    """With many topics."""
    for number in range(MANY):
        publication = Publication(2, "p", retain=True)
        house.node.keep(HUB, GroupMessage(f"m/{number:03}", Data("text", b"x"), publication=publication))
    return house


def reads_all(device: Device) -> None:
    """What it is sent never waits for its socket."""
    sink = device.sink
    sink.direct = lambda data: sink.write(data, 1, None)


async def acknowledged(device: Device, packets: list[Packet]) -> None:
    for packet in packets:
        if isinstance(packet, Publish) and packet.packet_id is not None:
            await device.send(wire.acknowledge(wire.PUBACK, packet.packet_id))


async def test_many_come_in_portions_as_they_are_acknowledged(full: House) -> None:
    device = await device_of(full)
    reads_all(device)
    portions = [await subscribed(device, 1, "m/#")]
    for _ in range(4):
        before = len(device.heard)
        await full.loop.advance(1)
        assert device.heard[before:] == [], "nothing comes while nothing is acknowledged"
        await acknowledged(device, portions[-1])
        await full.loop.advance(0.1)
        portions.append(device.heard[before:])

    assert [len(topics(portion)) for portion in portions] == [100, 100, 50, 0, 0]
    assert topics(device.heard) == [f"m/{number:03}" for number in range(MANY)]
    assert full.loop.timers == 0
    assert device.session.held() == (0, 0)


async def test_many_with_qos_0_come_as_the_socket_takes_them(full: House) -> None:
    device = await device_of(full)

    assert len(topics(await subscribed(device, 0, "m/#"))) == 100
    await full.loop.advance(1)
    assert len(topics(device.heard)) == 100, "the socket has not taken them"
    reads_all(device)
    await full.loop.advance(1)

    assert topics(device.heard) == [f"m/{number:03}" for number in range(MANY)]
    assert full.loop.timers == 0


async def test_many_topics_in_one_packet_come_in_portions_too(full: House) -> None:
    device = await device_of(full)
    reads_all(device)
    filters = [(f"m/{number:03}", 1) for number in range(MANY)]

    first = await device.send(wire.subscribe(5, 3, *filters))
    await full.loop.advance(0.1)
    assert len(topics(device.heard)) == 100
    await acknowledged(device, first)
    await full.loop.advance(0.1)
    await acknowledged(device, device.heard[len(first) :])
    await full.loop.advance(0.1)

    assert topics(device.heard) == [f"m/{number:03}" for number in range(MANY)]


async def test_what_changes_while_it_waits_comes_once(full: House) -> None:
    """As the new message that it is; and not at all if it was cleared."""
    device, publisher = await device_of(full), await device_of(full, "p")
    reads_all(device)
    first = await subscribed(device, 1, "m/#")
    await publisher.send(wire.publish(5, "m/200", b"new", 0, retain=True))
    full.node.retained.forget(HUB, "m/201")
    await acknowledged(device, first)
    for _ in range(3):
        await full.loop.advance(0.1)
        await acknowledged(device, device.heard)

    wanted = [f"m/{number:03}" for number in range(MANY) if number not in (200, 201)]
    assert topics(device.heard) == [*wanted[:100], "m/200", *wanted[100:]]
    assert [one.retain for one in device.heard if isinstance(one, Publish) and one.topic == "m/200"] == [False]


@pytest.mark.parametrize("how", ["unsubscribe", "close", "lose"])
async def test_rest_is_forgotten_with_its_subscription(full: House, how: str) -> None:
    device = await device_of(full)
    reads_all(device)
    first = await subscribed(device, 1, "m/#")
    if how == "unsubscribe":
        await device.send(wire.unsubscribe(5, 4, "m/#"))
        await acknowledged(device, first)
    elif how == "close":
        await full.node.ask(Close(to_connection(HUB, "d")))
    else:
        device.lose()
    await full.loop.advance(1)

    assert len(topics(device.heard)) == 100
    assert full.loop.timers == 0


async def test_rest_comes_when_the_client_is_back(full: House) -> None:
    device = Device(full, "d")
    await device.connect(clean=False)
    reads_all(device)
    await acknowledged(device, await subscribed(device, 1, "m/#"))
    device.lose()
    await full.loop.advance(5)

    await device.connect(clean=False)
    reads_all(device)
    for _ in range(3):
        await full.loop.advance(2)
        await acknowledged(device, device.heard)

    assert topics(device.heard) == [f"m/{number:03}" for number in range(100, MANY)]


async def test_repetition_begins_again(full: House) -> None:
    device = await device_of(full)
    reads_all(device)
    first = await subscribed(device, 1, "m/#")
    await subscribed(device, 1, "m/#")
    await acknowledged(device, first)
    for _ in range(4):
        await full.loop.advance(0.1)
        await acknowledged(device, device.heard[len(first) :])

    assert topics(device.heard)[100:] == [f"m/{number:03}" for number in range(MANY)]


# In the journal


async def test_messages_outlive_the_server() -> None:
    journal = MemoryJournal()
    house = house_of(journal=journal)
    await kept(house, topic="a/b", said=(b"\x02" + wire.four(60),))
    await kept(house, b"cleared", topic="c")
    await kept(house, b"", topic="c")

    later = house_of(journal=journal)
    later.clock = house.clock + 20
    await later.retained.load()

    _, message = await subscribed(await device_of(later), topic="a/b")
    assert told([message]) == [("a/b", b"kept", 1, True)]
    assert isinstance(message, Publish)
    assert message.properties.message_expiry_s == 40
    assert told(await subscribed(await device_of(later, "other"), topic="c")) == []


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
async def test_publisher_is_told_when_its_message_is_on_the_disk(version: int, qos: int) -> None:
    """And when its end is; what is not kept need not wait."""
    journal = MemoryJournal()
    house = house_of(journal=journal)
    device = await device_of(house, version=version)
    listener = await device_of(house, "listener", groups=["t"])

    for number, payload in enumerate((b"kept", b""), start=1):
        journal.fail("the disk is full")
        assert await device.send(wire.publish(version, "t", payload, qos, number, retain=True)) == []
        assert listener.messages[-1] == ("t", payload), "nobody else waits"
        journal.mend()
        await settle()
        [answer] = device.heard[number:]
        assert isinstance(answer, Puback | Pubrec)

    assert len(await device.send(wire.publish(version, "t", b"x", qos, 9))) == 1


async def test_server_keeps_nothing_unless_it_says_so() -> None:
    for retain in ("ignore", "refuse"):
        house = House(mqtt=MqttOptions(Policy(retain=retain)))
        device = await device_of(house, version=4)
        await device.send(wire.publish(4, "t", b"x", 1, 9, retain=True))

        assert told(await subscribed(device)) == []
        assert house.retained.counts(HUB) == (0, 0)
