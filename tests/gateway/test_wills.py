"""Wills of MQTT clients: when they are published, when not, and to whom."""

import logging
from typing import Any

import pytest

from doubles import HUB, settle
from gateway.devices import Device
from gateway.house import House
from gateway.written import Written
from handlers import handler, handling
from hubwire.model.commands import Close, PermissionRule
from hubwire.model.targets import to_connection
from hubwire.protocols.mqtt.packets import Properties, Publish
from vectors import mqtt_wire as wire

VERSIONS = pytest.mark.parametrize("version", [4, 5])
GONE = [("g", b"gone")]


@pytest.fixture
def house() -> House:
    return House()


def will(delay_s: int | None = None, *said: bytes, **more: Any) -> wire.Will:
    """Of a client of 5.0 if it has a delay or says more."""
    delay = () if delay_s is None else (b"\x18" + wire.four(delay_s),)
    return wire.Will("g", said=(*delay, *said), **more)


async def listener(house: House) -> Device:
    device = Device(house, "listener", groups=["g"])
    await device.connect(keep_alive_s=0)
    return device


async def owner(house: House, of: wire.Will, version: int = 5, *, clean: bool = False, **more: Any) -> Device:
    """A client with a will; its session is kept."""
    how = {name: more.pop(name) for name in ("expiry_s",) if name in more}
    device = Device(house, "owner", version, **more)
    await device.connect(clean=clean, will=of, **how)
    return device


# At once


@VERSIONS
@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006])
async def test_will_is_published_when_the_socket_is_gone_without_a_goodbye(
    house: House, version: int, clean: bool, code: int
) -> None:
    other, device = await listener(house), await owner(house, will(), version, clean=clean)
    assert other.messages == []

    device.lose(code)
    await settle()
    assert other.messages == GONE

    await house.loop.advance(100)
    assert other.messages == GONE, "once"


@VERSIONS
@pytest.mark.parametrize("clean", [False, True])
async def test_will_of_a_client_that_says_goodbye_is_never_published(house: House, version: int, clean: bool) -> None:
    other, device = await listener(house), await owner(house, will(), version, clean=clean)

    await device.send(wire.disconnect())
    device.lose(1000)
    await house.loop.advance(100)

    assert len(house.ended) == 1
    assert other.messages == []


@pytest.mark.parametrize("code", [4, 0x80])
async def test_goodbye_with_another_code_publishes_the_will(house: House, code: int) -> None:
    other, device = await listener(house), await owner(house, will())

    await device.send(wire.disconnect(code))

    assert other.messages == GONE


@VERSIONS
async def test_client_that_breaks_mqtt_has_its_will_published(house: House, version: int) -> None:
    other, device = await listener(house), await owner(house, will(), version)

    await device.send(b"\xc1\x00")

    assert other.messages == GONE


@VERSIONS
async def test_client_that_is_silent_for_too_long_has_its_will_published(house: House, version: int) -> None:
    other, device = await listener(house), await owner(house, will(), version)

    house.gateway.timed_out(device.connection)
    await settle()

    assert other.messages == GONE


@VERSIONS
@pytest.mark.parametrize("delay_s", [0, 20])
async def test_session_that_the_application_ends_has_its_will_published(
    house: House, version: int, delay_s: int
) -> None:
    other = await listener(house)
    await owner(house, will(delay_s if version == 5 else None), version)

    await house.node.ask(Close(to_connection(HUB, "owner")))
    await settle()

    assert other.messages == GONE
    assert house.loop.timers == 0


async def test_will_says_what_its_client_said_of_it(house: House) -> None:
    said = (
        b"\x01\x01",
        b"\x02" + wire.four(60),
        b"\x03\x00\x0atext/plain",
        b"\x08\x00\x01r",
        b"\x09\x00\x02\x00\xff",
        wire.user_property("a", "b"),
    )
    device = await owner(house, will(0, *said, qos=2, payload=b"bye"), user_id="u")
    other = Device(house, "listener")
    await other.connect(wire.subscribe(5, 1, ("g", 2)))
    json = await house.json(groups=["g"])

    device.lose()
    await settle()

    [packet] = [packet for packet in other.heard if isinstance(packet, Publish)]
    assert (packet.payload, packet.qos, packet.retain) == (b"bye", 2, False)
    assert packet.properties == Properties(
        payload_format=1,
        message_expiry_s=60,
        content_type="text/plain",
        response_topic="r",
        correlation_data=b"\x00\xff",
        user_properties=(("a", "b"),),
    )
    [message] = [row for row in json.sink.received if row["type"] == "message"]
    assert (message["data"], message["fromUserId"], message["metadata"]) == ("bye", "u", {"a": "b"})


async def test_client_that_is_kept_hears_its_own_will_when_it_comes_back(house: House) -> None:
    device = await owner(house, will(qos=1), groups=["g"])
    device.lose()

    await device.connect(clean=False)

    assert device.messages == GONE


# With a delay


async def test_will_with_a_delay_is_published_after_it(house: House) -> None:
    other, device = await listener(house), await owner(house, will(10))
    device.lose()

    await house.loop.advance(9.5)
    assert other.messages == []
    await house.loop.advance(1)
    assert other.messages == GONE

    await house.loop.advance(100)
    assert other.messages == GONE
    assert house.loop.timers == 0


async def test_client_that_comes_back_within_the_delay_has_no_will_published(house: House) -> None:
    other, device = await listener(house), await owner(house, will(10))
    device.lose()
    await house.loop.advance(5)

    await device.connect(clean=False)
    await house.loop.advance(60)

    assert other.messages == []
    assert house.loop.timers == 0


@pytest.mark.parametrize(("delay_s", "expiry_s"), [(10, 5), (5, 5), (0xFFFFFFFF, 5)])
async def test_will_is_published_at_the_end_of_the_session_at_the_latest(
    house: House, delay_s: int, expiry_s: int
) -> None:
    other, device = await listener(house), await owner(house, will(delay_s), expiry_s=expiry_s)
    device.lose()

    await house.loop.advance(4.5)
    assert other.messages == []
    await house.loop.advance(2)

    assert other.messages == GONE
    assert (len(house.ended), house.loop.timers) == (1, 0)


async def test_will_with_a_delay_of_a_session_that_ends_with_its_socket_is_published_at_once(house: House) -> None:
    other, device = await listener(house), await owner(house, will(10), clean=True)

    device.lose()
    await settle()

    assert other.messages == GONE


async def test_goodbye_may_shorten_the_wait_of_the_will(house: House) -> None:
    other, device = await listener(house), await owner(house, will(20))

    await device.send(wire.disconnect(4, b"\x11" + wire.four(3)))
    await house.loop.advance(5)

    assert other.messages == GONE


async def test_end_of_the_session_during_the_delay_publishes_the_will_once(house: House) -> None:
    other, device = await listener(house), await owner(house, will(10))
    device.lose()
    await house.loop.advance(3)

    await house.node.ask(Close(to_connection(HUB, "owner")))
    await house.loop.advance(60)

    assert other.messages == GONE
    assert house.loop.timers == 0


async def test_will_of_the_new_connect_takes_the_place_of_the_old_one(house: House) -> None:
    other, device = await listener(house), await owner(house, will(10))
    device.lose()
    await device.connect(clean=False, will=will(0, payload=b"second"))
    device.lose()
    await settle()
    assert other.messages == [("g", b"second")]

    await device.connect(clean=False)
    device.lose()
    await house.loop.advance(60)
    assert other.messages == [("g", b"second")], "the third CONNECT had no will"


# When another socket takes over


@pytest.mark.parametrize(
    ("version", "delay_s", "clean", "published"),
    [(4, None, False, 1), (4, None, True, 1), (5, 0, False, 1), (5, 0, True, 1), (5, 10, False, 0), (5, 10, True, 1)],
)
@pytest.mark.parametrize("away", [False, True])
async def test_will_of_a_socket_that_is_taken_over(
    house: House, version: int, delay_s: int | None, clean: bool, published: int, away: bool
) -> None:
    """As for one that was lost: at once, unless it has a delay and the session goes on."""
    other, first = await listener(house), await owner(house, will(delay_s), version)
    second = Device(house, "owner", version)
    if away:
        first.lose()

    await second.connect(clean=clean)
    await house.loop.advance(60)

    assert second.code is None
    assert other.messages == GONE * published
    assert house.loop.timers == 0


async def test_will_of_a_session_that_a_clean_one_replaces_is_not_for_the_new_one(house: House) -> None:
    await owner(house, will(), groups=["g"])
    second = Device(house, "owner", groups=["g"])

    await second.connect(clean=True)
    await settle()

    assert second.messages == []


async def test_refused_connect_leaves_the_will_as_it_was(house: House) -> None:
    other, device = await listener(house), await owner(house, will(10), user_id="u")
    device.lose()
    await Device(house, "owner", user_id="other").connect(clean=False)

    await house.loop.advance(11)

    assert other.messages == GONE


# The log


@VERSIONS
@pytest.mark.parametrize("clean", [False, True])
async def test_will_that_is_published_is_recorded_with_its_topic_only(
    house: House, version: int, clean: bool, written: Written
) -> None:
    device = await owner(house, wire.Will("t" * 300, b"s3cret"), version, clean=clean)

    device.lose()
    await house.loop.advance(60)

    [record] = written.fields("WillPublished")
    assert (record["topic"], record["connectionId"]) == ("t" * 256, "owner")
    assert written.levels("WillPublished") == [logging.INFO]
    assert "s3cret" not in written.text


async def test_will_that_is_not_published_is_not_recorded(house: House, written: Written) -> None:
    device = await owner(house, will())
    await device.send(wire.disconnect())
    device.lose()
    await house.loop.advance(60)

    assert "WillPublished" not in written.operations


# Roles


@VERSIONS
async def test_will_without_the_role_is_dropped_and_recorded(house: House, version: int, written: Written) -> None:
    other, device = await listener(house), await owner(house, will(), version, roles=[])

    device.lose()
    await settle()

    assert other.messages == []
    assert "WillPublished" not in written.operations
    [record] = written.fields("WillDropped")
    assert (record["topic"], record["connectionId"]) == ("g", "owner")
    assert "gone" not in written.text.replace("WillDropped", "")


async def test_role_of_the_time_of_the_end_counts(house: House) -> None:
    other, device = await listener(house), await owner(house, will(), roles=[])
    await house.node.ask(PermissionRule("grant", to_connection(HUB, "owner"), "sendToGroup", "g"))

    device.lose()
    await settle()

    assert other.messages == GONE


# What is left


@VERSIONS
async def test_client_without_a_will_has_none(house: House, version: int) -> None:
    other = await listener(house)
    device = Device(house, "owner", version)
    await device.connect(clean=False)
    device.lose()
    await house.loop.advance(60)

    assert other.messages == []
    assert house.gateway._wills._timers == {}


async def test_will_is_published_behind_what_the_client_published_before(house: House) -> None:
    other, device = await listener(house), await owner(house, will())

    await device.send(*(wire.publish(5, "g", str(number).encode()) for number in range(3)))
    device.lose()
    await settle()

    assert [payload for _, payload in other.messages] == [b"0", b"1", b"2", b"gone"]


async def test_server_that_goes_away_publishes_wills_to_those_who_are_there(house: House) -> None:
    house.directory.hubs[HUB] = handling(handler())
    await owner(house, will(20))
    other = await listener(house)

    await house.gateway.end()
    await settle()

    assert other.messages == GONE
    assert house.loop.timers == 0
