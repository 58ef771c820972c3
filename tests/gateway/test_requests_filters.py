"""What MQTT clients hear by filters with wildcards: from whom, with which roles, and until when."""

from typing import Any

import pytest

from doubles import HUB, settle
from gateway.devices import Device
from gateway.house import House
from gateway.written import Written
from hubwire.gateway.arrivals import MqttOptions
from hubwire.model.commands import Exists, PermissionRule
from hubwire.model.targets import to_connection, to_group
from hubwire.protocols.mqtt.arrival import Policy
from hubwire.protocols.mqtt.packets import Packet, Publish, Suback, Unsuback
from vectors import mqtt_wire as wire

VERSIONS = pytest.mark.parametrize("version", [4, 5])
JOIN = "webpubsub.joinLeaveGroup"
SEND = "webpubsub.sendToGroup"


@pytest.fixture
def house() -> House:
    return House(queue_messages=100, mqtt=MqttOptions(Policy(wildcards=True, shared_subscriptions=True)))


async def device_of(house: House, version: int = 5, client_id: str = "d", **more: Any) -> Device:
    """A client that is in, and is kept."""
    device = Device(house, client_id, version, **more)
    await device.connect(clean=False)
    return device


async def subscribe(device: Device, *filters: str, qos: int = 1, number: int | None = None) -> tuple[int, ...]:
    """The codes of the answer."""
    said = () if number is None else (b"\x0b" + bytes((number,)),)
    wanted = tuple((text, qos) for text in filters)
    [suback] = await device.send(wire.subscribe(device.version, 1, *wanted, said=said))
    assert isinstance(suback, Suback)
    return suback.codes


async def unsubscribe(device: Device, *filters: str) -> tuple[int, ...]:
    [unsuback] = await device.send(wire.unsubscribe(device.version, 2, *filters))
    assert isinstance(unsuback, Unsuback)
    return unsuback.codes


async def rest(house: House, group: str, text: str) -> None:
    """What REST sends."""
    house.send(group, text)
    await settle()


def to(group: str, text: str) -> dict[str, Any]:
    return {"type": "sendToGroup", "group": group, "dataType": "text", "data": text}


def publishes(packets: list[Packet]) -> list[tuple[str, str, int, tuple[int, ...]]]:
    found = [one for one in packets if isinstance(one, Publish)]
    return [(one.topic, one.payload.decode(), one.qos, one.properties.subscription_ids) for one in found]


@VERSIONS
async def test_filter_hears_all_protocols_until_it_ends(house: House, version: int) -> None:
    device, other = await device_of(house, version), await device_of(house, 4, "other")
    json = await house.json()
    assert await subscribe(device, "a/#") == (1,)

    await rest(house, "a/rest", "1")
    await json.say(to("a/json", "2"))
    await other.send(wire.publish(4, "a", b"3", 2, 7))
    await json.say(to("b/json", "not for it"))
    assert await unsubscribe(device, "a/#") == ((0,) if version == 5 else ())
    await rest(house, "a/rest", "not any more")

    assert device.messages == [("a/rest", b"1"), ("a/json", b"2"), ("a", b"3")]
    assert await unsubscribe(device, "a/#") == ((0x11,) if version == 5 else ())
    assert (await house.node.ask(Exists(to_group(HUB, "a/rest")))).count == 0


async def test_one_of_two_filters_that_overlap_may_end(house: House) -> None:
    device = await device_of(house)
    await subscribe(device, "a/+", qos=0, number=1)
    await subscribe(device, "#", qos=2, number=2)
    await subscribe(device, "a/b", qos=1, number=3)
    before = len(device.heard)
    other = await device_of(house, 5, "other")

    for number, ending in enumerate(("#", "a/+", "a/b")):
        await other.send(wire.publish(5, "a/b", b"x", 2, 10 + number))
        assert await unsubscribe(device, ending) == (0,)
    await other.send(wire.publish(5, "a/b", b"y", 2, 20))

    heard = publishes(device.heard[before:])
    assert [(topic, text, qos, sorted(numbers)) for topic, text, qos, numbers in heard] == [
        ("a/b", "x", 2, [1, 2, 3]),
        ("a/b", "x", 1, [1, 3]),
        ("a/b", "x", 1, [3]),
    ]


@VERSIONS
async def test_filter_wants_the_role_for_all_that_it_stands_for(house: House, version: int, written: Written) -> None:
    roles = [f"{JOIN}s.site/**", f"{JOIN}.a", f"{JOIN}.a/b", f"{JOIN}s.b/*", SEND]
    device = await device_of(house, version, roles=roles)
    no = 0x87 if version == 5 else 0x80

    assert await subscribe(device, "site/+", "site/a/#", "site/#", "a/#", "a/b", "b/+") == (1, 1, no, no, 1, no)
    records = written.fields("RequestRefused")
    assert [(one["code"], one["packet"], one["about"]) for one in records] == [
        (0x87, "SUBSCRIBE", "site/#"),
        (0x87, "SUBSCRIBE", "a/#"),
        (0x87, "SUBSCRIBE", "b/+"),
    ]
    await rest(house, "site/1", "1")
    await rest(house, "a/c", "not for it")
    assert device.messages == [("site/1", b"1")]


async def test_permissions_of_single_groups_that_were_taken_away_count_from_the_next_request_on(house: House) -> None:
    device = await device_of(house)
    rule = PermissionRule("revoke", to_connection(HUB, "d"), "joinLeaveGroup", "a/secret")
    assert await subscribe(device, "a/+") == (1,)

    await house.node.ask(rule)
    assert await subscribe(device, "a/#", "+/secret", "b/+", "a/+/c") == (0x87, 0x87, 1, 1)
    assert await unsubscribe(device, "a/+", "b/+") == (0x87, 0)
    await rest(house, "a/secret", "1")
    assert device.messages == [("a/secret", b"1")], "what it had, it has"

    await house.node.ask(PermissionRule("grant", rule.target, rule.permission, rule.group))
    assert await unsubscribe(device, "a/+") == (0,)
    assert await subscribe(device, "a/#") == (1,)


async def test_permissions_for_single_groups_allow_no_filter(house: House) -> None:
    device = await device_of(house, roles=[])
    await house.node.ask(PermissionRule("grant", to_connection(HUB, "d"), "joinLeaveGroup", "a/b"))

    assert await subscribe(device, "a/+", "a/b") == (0x87, 1)


async def test_filters_count_as_groups(house: House) -> None:
    house.node.max_groups = 2
    device = await device_of(house)

    assert await subscribe(device, "a/+", "b/+", "a/+", "c/+", "d") == (1, 1, 1, 0x97, 0x97)
    await unsubscribe(device, "a/+")
    assert await subscribe(device, "d") == (1,)


@VERSIONS
async def test_filters_go_on_with_the_session(house: House, version: int) -> None:
    device = await device_of(house, version)
    await subscribe(device, "a/+", qos=1)
    await subscribe(device, "#", qos=0)
    device.lose()
    await rest(house, "a/b", "1")
    await rest(house, "c", "of QoS 0, while it is away")
    await device.connect(clean=False)
    await rest(house, "a/b", "2")

    assert device.connack.session_present
    assert device.messages == [("a/b", b"1"), ("a/b", b"2")]


@VERSIONS
@pytest.mark.parametrize("how", ["clean start", "its time", "a session of its socket only"])
async def test_filters_end_with_the_session(house: House, version: int, how: str) -> None:
    device = Device(house, "d", version)
    await device.connect(clean=how == "a session of its socket only")
    await subscribe(device, "a/+")
    device.lose()
    if how == "its time":
        await house.loop.advance(40)
    await device.connect(clean=how != "its time")
    await rest(house, "a/b", "1")

    assert not device.connack.session_present
    assert device.messages == []
    assert await subscribe(device, "a/+") == (1,)
    await rest(house, "a/b", "2")
    assert device.messages == [("a/b", b"2")]


async def test_will_is_heard_by_filters(house: House) -> None:
    watcher = await device_of(house, client_id="watcher")
    await subscribe(watcher, "status/+")
    device = Device(house, "d")
    await device.connect(will=wire.Will("status/d", b"gone"))
    device.lose()
    await settle()

    assert watcher.messages == [("status/d", b"gone")]


@VERSIONS
async def test_filters_where_they_are_not_offered_are_refused(version: int) -> None:
    house = House(mqtt=MqttOptions(Policy(wildcards=False)))
    device = await device_of(house, version)

    assert await subscribe(device, "a/+", "g") == ((0xA2, 1) if version == 5 else (0x80, 1))
    assert await unsubscribe(device, "a/+") == ((0x11,) if version == 5 else ())
    if version == 5:
        assert device.connack.properties.wildcard_available == 0


async def test_filters_where_they_are_offered_are_not_announced(house: House) -> None:
    """They are what a client takes for granted."""
    device = await device_of(house)

    assert device.connack.properties.wildcard_available is None


# Shared subscriptions


@VERSIONS
async def test_one_of_those_who_share_gets_each_message(house: House, version: int) -> None:
    devices = [await device_of(house, version, f"d{number}") for number in range(3)]
    for device in devices:
        assert await subscribe(device, "$share/s/jobs/+", qos=1) == (1,)
    for number in range(6):
        await rest(house, f"jobs/{number}", str(number))
    assert [[payload for _, payload in device.messages] for device in devices] == [
        [b"0", b"3"],
        [b"1", b"4"],
        [b"2", b"5"],
    ]

    assert await unsubscribe(devices[0], "$share/s/jobs/+") == ((0,) if version == 5 else ())
    devices[1].lose()
    await rest(house, "jobs/6", "6")
    assert devices[2].messages[-1] == ("jobs/6", b"6"), "the only one that is there"
    assert await unsubscribe(devices[0], "$share/s/jobs/+") == ((0x11,) if version == 5 else ())


@pytest.mark.parametrize("how", ["clean start", "its time", "a goodbye"])
async def test_what_was_not_acknowledged_goes_to_another_when_the_session_ends(house: House, how: str) -> None:
    worker, other = await device_of(house, 5, "worker"), await device_of(house, 5, "other")
    await subscribe(worker, "$share/s/jobs")
    await rest(house, "jobs", "1")
    await rest(house, "jobs", "2")
    await subscribe(other, "$share/s/jobs")
    assert worker.messages == [("jobs", b"1"), ("jobs", b"2")]

    if how == "a goodbye":
        await worker.send(wire.acknowledge(wire.PUBACK, 1))
        await worker.send(wire.disconnect(0, b"\x11\0\0\0\0"))
    else:
        await worker.send(wire.acknowledge(wire.PUBACK, 1))
        worker.lose()
        await settle()
        assert other.messages == [], "it may come back"
        if how == "its time":
            await house.loop.advance(40)
        else:
            await worker.connect(clean=True)

    await settle()
    assert other.messages == [("jobs", b"2")]


async def test_who_comes_back_goes_on_with_what_it_has(house: House) -> None:
    worker, other = await device_of(house, 5, "worker"), await device_of(house, 5, "other")
    await subscribe(worker, "$share/s/jobs")
    await rest(house, "jobs", "1")
    await subscribe(other, "$share/s/jobs")
    worker.lose()
    await rest(house, "jobs", "2")
    await worker.connect(clean=False)
    await rest(house, "jobs", "3")

    assert worker.messages[0] == ("jobs", b"1")
    assert other.messages[0] == ("jobs", b"2")
    assert (worker.messages + other.messages).count(("jobs", b"3")) == 1


async def test_share_wants_the_role_of_its_filter(house: House) -> None:
    device = await device_of(house, roles=[f"{JOIN}.jobs", f"{JOIN}s.site/**"])

    assert await subscribe(device, "$share/s/jobs", "$share/s/other", "$share/s/site/+", "$share/s/#") == (
        1,
        0x87,
        1,
        0x87,
    )


@VERSIONS
async def test_shares_where_they_are_not_offered_are_refused(version: int) -> None:
    house = House(mqtt=MqttOptions(Policy(wildcards=True)))
    device = await device_of(house, version)

    assert await subscribe(device, "$share/s/a", "a") == ((0x9E, 1) if version == 5 else (0x80, 1))
    if version == 5:
        assert device.connack.properties.shared_available == 0
        offering = House(mqtt=MqttOptions(Policy(shared_subscriptions=True)))
        other = await device_of(offering)
        assert other.connack.properties.shared_available is None
        assert await subscribe(other, "$share/s/a", "$share/s/+") == (1, 0xA2)
