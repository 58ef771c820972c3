"""Sessions that outlive the process: a second house goes on where the journal of the first one ends."""

import asyncio
from typing import Any

import pytest

from cloud_events import Event, parsed_all
from doubles import ALL_ROLES, HUB, MemoryJournal, RecordingSink, settle
from gateway.devices import Device
from gateway.house import RELIABLE, Client, House
from gateway.written import Written
from handlers import answer, handler, handling
from hubwire.gateway.arrivals import MqttOptions
from hubwire.model.commands import AddToGroups, Close, Exists, PermissionRule
from hubwire.model.hubs import HubSettings
from hubwire.model.targets import to_connection, to_group, to_user
from hubwire.protocols.catalog import QueueLimits
from hubwire.protocols.mqtt.arrival import Policy
from hubwire.protocols.mqtt.packets import Connack, Disconnect, Packet, Pubcomp, Publish, Pubrec, Pubrel, Suback
from vectors import mqtt_wire as wire

VERSIONS = pytest.mark.parametrize("version", [4, 5])
FOR_EVER_S = 0xFFFFFFFF
WEEK_S = 604_800
TOLD = handling(handler(systemEvents=["connected", "disconnected"]))


class Houses:
    """
    One server in several lives, one after the other.

    Args:
        settings: of the hub.

    Attributes:
        journal: what outlives each of them.
        now: the present one.
    """

    def __init__(self, settings: HubSettings | None = None, **policy: Any) -> None:
        self.journal = MemoryJournal()
        self._settings = settings
        self._policy = Policy(**{"session_expiry_s": FOR_EVER_S, **policy})
        self._begun = 0.0
        self.now = self._house()

    def _house(self) -> House:
        options = MqttOptions(self._policy, durable=True, durable_limits=QueueLimits(5))
        house = House(mqtt=options, journal=self.journal, life=self._begun)
        if self._settings is not None:
            house.directory.hubs[HUB] = self._settings
        return house

    async def next(self, down_s: float = 10.0, *, gracefully: bool = False, **policy: Any) -> House:
        """
        Kill the server, or stop it, and start another one.

        Args:
            down_s: how long it is down.
            policy: what is another one from now on.
        """
        old = self.now
        if gracefully:
            old.gateway.stop()
            for connection in old.node.connections():
                old.gateway.farewell(connection)
            await old.gateway.end()
        await settle()
        self.journal = MemoryJournal(dict(self.journal.kept))
        self._begun += old.loop.time() - 1000.0 + down_s
        self._policy = Policy(**{"session_expiry_s": FOR_EVER_S, **policy})
        self.now = self._house()
        self.restored = await self.now.gateway.restore()
        await self.now.upstream.dispatcher.recover()
        await settle()
        return self.now

    def kinds(self) -> set[str]:
        return {kind for kind, _ in self.journal.kept if kind != "connection"}


@pytest.fixture
def houses() -> Houses:
    return Houses()


def events(house: House, type: str) -> list[Event]:
    return [event for event in parsed_all(house.upstream.webhook.events) if event.type == type]


async def count(house: House, group: str) -> int:
    return (await house.node.ask(Exists(to_group(HUB, group)))).count


def moved(device: Device, house: House) -> Device:
    """The same client, which comes to another house."""
    device.server = house
    return device


def publications(packets: list[Packet]) -> list[tuple[bytes, int, bool, int | None]]:
    return [(p.payload, p.qos, p.dup, p.packet_id) for p in packets if isinstance(p, Publish)]


# Going on


@VERSIONS
async def test_session_goes_on_in_the_next_life(houses: Houses, version: int, written: Written) -> None:
    device = Device(houses.now, "d", version, user_id="u", groups=["g"], roles=["webpubsub.sendToGroup.x"])
    await device.connect(clean=False)
    device.lose()
    houses.now.send("g", "before")
    house = await houses.next()
    assert houses.restored == 1
    assert (house.telemetry.connections, house.telemetry.retained, house.telemetry.opened) == (1, 1, 0)
    assert (await count(house, "g"), (await house.node.ask(Exists(to_user(HUB, "u")))).count) == (1, 1)
    house.send("g", "after")
    await settle()

    await moved(device, house).connect(clean=False)

    assert device.connack.session_present
    assert device.messages == [("g", b"before"), ("g", b"after")]
    assert device.connection.user_id == "u"
    assert device.connection.permissions.allows("sendToGroup", "x")
    assert not device.connection.permissions.allows("sendToGroup", "y")
    assert (house.telemetry.connections, house.telemetry.retained) == (1, 0)
    assert written.operations == ["ConnectionStarted", "ConnectionRecovered"]


async def test_client_that_was_connected_at_the_crash_finds_what_was_on_its_way(houses: Houses) -> None:
    device = Device(houses.now)
    await device.connect(clean=False)
    await device.send(wire.subscribe(5, 1, ("g", 2)))
    sender = Device(houses.now, "s")
    await sender.connect()
    await sender.send(*(wire.publish(5, "g", b"%d" % qos, qos, qos) for qos in (1, 2)))
    assert publications(device.heard) == [(b"1", 1, False, 1), (b"2", 2, False, 2)]
    await device.send(wire.acknowledge(0x50, 2))
    assert device.heard[-1] == Pubrel(2)

    house = await houses.next()
    heard = await moved(device, house).connect(clean=False)

    assert heard[1:] == [Publish("g", b"1", 1, dup=True, packet_id=1), Pubrel(2)]
    await device.send(wire.acknowledge(0x40, 1), wire.acknowledge(0x70, 2))
    assert device.session.held() == (0, 0)
    assert houses.kinds() == {"session", "subscription"}


async def test_message_of_qos_2_is_heard_once_although_its_sender_repeats_it_in_the_next_life(houses: Houses) -> None:
    sender, listener = Device(houses.now, "s"), Device(houses.now, "l", groups=["g"])
    await sender.connect(clean=False)
    await listener.connect(clean=False)
    listener.lose()
    assert await sender.send(wire.publish(5, "g", b"x", 2, 7)) == [Pubrec(7)]

    house = await houses.next()
    await moved(sender, house).connect(clean=False)
    assert await sender.send(wire.publish(5, "g", b"x", 2, 7, dup=True)) == [Pubrec(7)]
    assert await sender.send(wire.acknowledge(0x62, 7)) == [Pubcomp(7)]
    await moved(listener, house).connect(clean=False)

    assert listener.messages == [("g", b"x")]


async def test_what_rest_has_changed_is_kept(houses: Houses) -> None:
    device = Device(houses.now, "d", roles=[])
    await device.connect(clean=False)
    target = to_connection(HUB, "d")
    await houses.now.node.ask(AddToGroups(target, ("g",)))
    await houses.now.node.ask(PermissionRule("grant", target, "sendToGroup", "g"))

    house = await houses.next()

    assert await count(house, "g") == 1
    [connection] = house.node.connections()
    assert connection.permissions.allows("sendToGroup", "g")


async def test_filters_are_kept_and_left() -> None:
    houses = Houses(wildcards=True)
    device = Device(houses.now)
    await device.connect(clean=False)
    await device.send(wire.subscribe(5, 1, ("a/+", 1), ("b/#", 1)))
    await device.send(wire.subscribe(5, 2, ("a/#", 2), said=(b"\x0b\x09",)), wire.unsubscribe(5, 3, "b/#"))

    house = await houses.next(wildcards=True)
    house.send("a/x", "1")
    house.send("b/x", "2")
    house.send("a/x/y", "3")
    await settle()
    await moved(device, house).connect(clean=False)

    assert device.messages == [("a/x", b"1"), ("a/x/y", b"3")]
    assert [p.properties.subscription_ids for p in device.heard if isinstance(p, Publish)] == [(9,), (9,)]
    [connection] = house.node.connections()
    assert list(connection.filters or ()) == ["a/#", "a/+"]
    await device.send(wire.unsubscribe(5, 1, "a/#", "a/+"))
    assert houses.kinds() == {"session", "message", "queued"}


async def test_shares_are_kept_with_what_has_come_by_them() -> None:
    """So that another member gets it if its session ends in another life."""
    houses = Houses(shared_subscriptions=True, wildcards=True)
    one = Device(houses.now, "one")
    await one.connect(clean=False)
    await one.send(wire.subscribe(5, 1, ("$share/s/a", 1), ("$share/t/+", 1)))
    one.lose()
    houses.now.send("a", "1")
    await settle()

    house = await houses.next(shared_subscriptions=True, wildcards=True)
    connection = house.node.connection(HUB, "one")
    assert connection is not None
    assert list(connection.filters or ()) == ["$share/s/a", "$share/t/+"]
    other = Device(house, "other")
    await other.connect(clean=False)
    await other.send(wire.subscribe(5, 1, ("$share/s/a", 1)))
    await house.node.ask(Close(to_connection(HUB, "one")))
    await settle()
    assert other.messages == [("a", b"1")]

    house = await houses.next(shared_subscriptions=True, wildcards=True)
    await moved(other, house).connect(clean=False)
    assert other.messages == [("a", b"1")]
    house = await houses.next(wildcards=True)
    connection = house.node.connection(HUB, "other")
    assert connection is not None
    assert connection.filters is None, "it is not offered any more"


async def test_group_that_was_left_is_left_in_the_next_life(houses: Houses) -> None:
    device = Device(houses.now, groups=["g", "h"])
    await device.connect(clean=False)
    await device.send(wire.subscribe(5, 1, ("i", 1)), wire.unsubscribe(5, 2, "g"))

    house = await houses.next()

    assert [await count(house, group) for group in "ghi"] == [0, 1, 1]


async def test_session_lives_through_many_lives(houses: Houses) -> None:
    device = Device(houses.now, groups=["g"])
    await device.connect(clean=False)
    device.lose()
    for life in range(3):
        houses.now.send("g", str(life))
        await settle()
        await houses.next()

    await moved(device, houses.now).connect(clean=False)

    assert device.messages == [("g", b"0"), ("g", b"1"), ("g", b"2")]


async def test_sessions_of_other_clients_end_with_the_process(houses: Houses) -> None:
    device = Device(houses.now)
    await device.connect(clean=True)
    client = await houses.now.json()

    house = await houses.next()

    assert client.connection.alive
    assert house.node.connections() == []
    assert houses.kinds() == set()


# Its end


@pytest.mark.parametrize(
    ("away_s", "down_s", "lives"), [(50, 40, True), (50, 60, False), (0, 90, True), (0, 110, True), (120, 0, False)]
)
async def test_time_of_a_session_goes_on_while_the_server_is_down(
    houses: Houses, away_s: int, down_s: int, lives: bool
) -> None:
    """Of one that had its socket until the crash it begins at the restart, since nobody knows when that was."""
    device = Device(houses.now, groups=["g"])
    await device.connect(clean=False, expiry_s=100)
    if away_s:
        device.lose()
        await houses.now.loop.advance(away_s)

    house = await houses.next(down_s)
    await house.loop.advance(2)

    assert len(house.node.connections()) == lives
    assert (house.telemetry.retained, await count(house, "g")) == (lives, lives)
    assert bool(houses.kinds()) == lives


async def test_session_that_is_over_does_not_end_those_that_are_not(houses: Houses) -> None:
    short, long, ever = (Device(houses.now, name) for name in ("short", "long", "ever"))
    for device, expiry_s in ((short, 100), (long, 1000), (ever, FOR_EVER_S)):
        await device.connect(clean=False, expiry_s=expiry_s)
        device.lose()

    house = await houses.next(500)
    await house.loop.advance(2)
    assert sorted(one.id for one in house.node.connections()) == ["ever", "long"]
    await house.loop.advance(495)
    assert sorted(one.id for one in house.node.connections()) == ["ever", "long"]
    await house.loop.advance(5)
    assert [one.id for one in house.node.connections()] == ["ever"]
    await house.loop.advance(10 * WEEK_S)

    assert [one.id for one in house.node.connections()] == ["ever"]
    await moved(ever, house).connect(clean=False)
    assert ever.connack.session_present
    assert houses.kinds() == {"session"}


@VERSIONS
async def test_clean_client_ends_a_session_of_an_earlier_life(houses: Houses, version: int) -> None:
    device = Device(houses.now, "d", version, groups=["g"])
    await device.connect(clean=False)
    device.lose()
    houses.now.send("g", "before")
    house = await houses.next()

    await moved(device, house).connect(clean=True)

    assert not device.connack.session_present
    assert device.messages == []
    assert len(house.node.connections()) == 1
    assert houses.kinds() == set()


async def test_disconnect_that_ends_the_session_leaves_nothing_for_the_next_life(houses: Houses) -> None:
    device = Device(houses.now, groups=["g"])
    await device.connect(clean=False)
    await device.send(wire.disconnect(0, b"\x11" + wire.four(0)))

    assert houses.kinds() == set()


async def test_session_that_goes_on_for_no_longer_than_its_socket_is_kept_no_more(houses: Houses) -> None:
    device = Device(houses.now, groups=["g"])
    await device.connect(clean=False)
    device.lose()
    houses.now.send("g", "before")
    house = await houses.next()

    await moved(device, house).connect(clean=False, expiry_s=0)
    await settle()

    assert device.messages == [("g", b"before")]
    assert houses.kinds() == set()
    assert not device.session.durable


@pytest.mark.parametrize("user_id", ["other", None])
async def test_session_of_an_earlier_life_is_for_its_user_only(houses: Houses, user_id: str | None) -> None:
    owner = Device(houses.now, "d", user_id="u")
    await owner.connect(clean=False)
    house = await houses.next()
    other = Device(house, "d", user_id=user_id)

    await other.connect(clean=False)

    assert other.connack.code == 0x85
    await moved(owner, house).connect(clean=False)
    assert owner.connack.session_present


async def test_session_without_a_user_is_for_nobody_who_was_given_less_than_it_in_an_earlier_life(
    houses: Houses,
) -> None:
    owner = Device(houses.now, "d", roles=ALL_ROLES, groups=["g"])
    await owner.connect(clean=False)
    house = await houses.next()
    less = Device(house, "d", roles=[])

    await less.connect(clean=False)

    assert less.connack.code == 0x85


async def test_rest_ends_a_session_of_an_earlier_life(houses: Houses) -> None:
    device = Device(houses.now)
    await device.connect(clean=False)
    house = await houses.next()

    await house.node.ask(Close(to_connection(HUB, "device")))
    await settle()

    assert houses.kinds() == set()


async def test_session_that_leaves_too_much_unacknowledged_ends_by_name(houses: Houses, written: Written) -> None:
    device = Device(houses.now, groups=["g"])
    await device.connect(clean=False)
    device.lose()
    house = await houses.next()
    for number in range(6):
        house.send("g", str(number))
    await settle()

    assert house.node.connections() == []
    assert houses.kinds() == set()
    assert "Too many unacknowledged messages." in written.text


async def test_no_more_sessions_are_kept_than_may_be(houses: Houses, written: Written) -> None:
    devices = [Device(houses.now, f"d{number}") for number in range(11)]
    for device in devices:
        await device.connect(clean=False)
    assert [device.connack.code for device in devices] == [0] * 10 + [0x97]
    assert "mqtt_durable_sessions_limit" in written.text
    clean = Device(houses.now, "clean")
    await clean.connect(clean=True)
    assert clean.connack.code == 0

    await devices[0].send(wire.disconnect(0, b"\x11" + wire.four(0)))
    await devices[10].connect(clean=False)

    assert devices[10].connack.code == 0
    assert houses.now.gateway._admission.places(HUB.resource) == (0, 11)


async def test_sessions_of_earlier_lives_have_their_places(houses: Houses) -> None:
    for number in range(3):
        await Device(houses.now, f"d{number}").connect(clean=False)

    house = await houses.next()

    assert house.gateway._admission.places(HUB.resource) == (0, 3)
    for connection in house.node.connections():
        await house.node.ask(Close(to_connection(HUB, connection.id)))
    assert house.gateway._admission.places(HUB.resource) == (0, 0)


# Before it is on the disk


async def test_message_and_that_it_was_taken_are_written_together(houses: Houses) -> None:
    """Else a crash in between would lose it, since its sender is not asked again; or double it."""
    sender, listener = Device(houses.now, "s"), Device(houses.now, "l", groups=["g"])
    await sender.connect(clean=False)
    await listener.connect(clean=False)
    listener.lose()
    seen: list[set[str]] = []

    def look() -> None:
        seen.append({"received", "queued"} & houses.kinds())
        if len(seen) < 20:
            asyncio.get_running_loop().call_soon(look)

    look()
    await sender.send(wire.publish(5, "g", b"x", 2, 7))

    assert [kinds for kinds in seen if len(kinds) == 1] == []
    assert len(seen[-1]) == 2


async def test_client_is_told_nothing_before_its_session_is_written(houses: Houses) -> None:
    houses.journal.fail("the disk is full")
    device = Device(houses.now, groups=["g"])
    assert await device.connect(clean=False) == []
    houses.now.send("g", "x")
    assert await device.send(wire.subscribe(5, 1, ("h", 1))) == []

    houses.journal.mend()
    await settle()

    assert [type(packet) for packet in device.heard] == [Connack, Publish, Suback]


@VERSIONS
async def test_clean_client_is_told_nothing_before_the_end_of_the_session_is_written(
    houses: Houses, version: int
) -> None:
    device = Device(houses.now, "d", version)
    await device.connect(clean=False)
    device.lose()
    await settle()
    houses.journal.fail("the disk is full")
    assert await device.connect(clean=True) == []

    houses.journal.mend()
    await settle()

    assert [type(packet) for packet in device.heard] == [Connack]
    assert houses.kinds() == set()


async def test_goodbye_is_answered_once_its_consequences_are_written(houses: Houses) -> None:
    device = Device(houses.now)
    await device.connect(clean=False, will=will(0))
    await settle()
    houses.journal.fail("the disk is full")
    await device.send(wire.disconnect())
    assert device.code is None

    houses.journal.mend()
    await settle()

    assert device.code == 1000


# A graceful end


@VERSIONS
async def test_graceful_end_keeps_sessions_and_says_why_their_sockets_end(houses: Houses, version: int) -> None:
    device, away = Device(houses.now, "d", version, groups=["g"]), Device(houses.now, "away", version)
    await device.connect(clean=False)
    await away.connect(clean=False)
    away.lose()
    other = Device(houses.now, "other")
    await other.connect(clean=True)

    house = await houses.next(gracefully=True)

    assert houses.restored == 2
    if version == 5:
        assert isinstance(device.farewell, Disconnect)
        assert device.farewell.code == 0x8B
    assert device.code is not None
    for one in (device, away):
        await moved(one, house).connect(clean=False)
        assert one.connack.session_present


async def test_time_of_a_session_begins_at_the_graceful_end(houses: Houses) -> None:
    await Device(houses.now).connect(clean=False, expiry_s=100)

    house = await houses.next(101, gracefully=True)
    await house.loop.advance(2)

    assert house.node.connections() == []


# Wills


def will(delay_s: int) -> wire.Will:
    return wire.Will("g", b"gone", 1, said=(b"\x18" + wire.four(delay_s),))


async def listener(houses: Houses) -> Device:
    device = Device(houses.now, "listener", groups=["g"])
    await device.connect(clean=False)
    device.lose()
    return device


async def heard(device: Device, house: House) -> list[tuple[str, bytes]]:
    await moved(device, house).connect(clean=False)
    return device.messages


@pytest.mark.parametrize(
    ("away_s", "down_s", "left_s"),
    [(0, 5, 30), (0, 500, 30), (10, 5, 15), (10, 20, 0), (10, 500, 0)],
)
async def test_delay_of_a_will_goes_on_while_the_server_is_down(
    houses: Houses, away_s: int, down_s: int, left_s: int
) -> None:
    """For a client that was connected at the crash it begins at the restart."""
    other = await listener(houses)
    owner = Device(houses.now, "a-owner")
    await owner.connect(clean=False, will=will(30))
    if away_s:
        owner.lose()
        await houses.now.loop.advance(away_s)

    house = await houses.next(down_s)
    await house.loop.advance(max(left_s - 1, 0))
    before = house.node.connection(HUB, "listener")
    assert before is not None
    assert before.session.held()[0] == (left_s == 0)
    await house.loop.advance(2)

    assert await heard(other, house) == [("g", b"gone")]
    assert [one.id for one in house.node.connections()] == ["listener", "a-owner"]


async def test_will_that_was_published_is_not_published_in_the_next_life(houses: Houses) -> None:
    other = await listener(houses)
    owner = Device(houses.now, "owner")
    await owner.connect(clean=False, will=will(0))
    owner.lose()

    house = await houses.next()
    await house.loop.advance(100)

    assert await heard(other, house) == [("g", b"gone")]


async def test_will_is_not_published_once_its_client_is_back_in_the_next_life(houses: Houses) -> None:
    other = await listener(houses)
    owner = Device(houses.now, "owner")
    await owner.connect(clean=False, will=will(30))

    house = await houses.next()
    await moved(owner, house).connect(clean=False)
    await house.loop.advance(100)

    assert await heard(other, house) == []


async def test_will_of_a_session_whose_time_is_over_meanwhile_is_published(houses: Houses) -> None:
    other = await listener(houses)
    owner = Device(houses.now, "owner")
    await owner.connect(clean=False, expiry_s=60, will=will(1000))
    owner.lose()

    house = await houses.next(100)
    await house.loop.advance(2)

    assert await heard(other, house) == [("g", b"gone")]


async def test_goodbye_takes_the_will_along_into_the_next_life(houses: Houses) -> None:
    other = await listener(houses)
    owner = Device(houses.now, "owner")
    await owner.connect(clean=False, will=will(5))
    await owner.send(wire.disconnect())

    house = await houses.next()
    await house.loop.advance(100)

    assert await heard(other, house) == []


# Event handlers


async def test_handlers_are_told_once_that_a_session_begins_and_once_that_it_ends() -> None:
    houses = Houses(TOLD)
    device = Device(houses.now, "d", user_id="u")
    await device.connect(clean=False, expiry_s=100)
    session_id = device.session_id
    await settle()
    assert len(events(houses.now, "sys.connected")) == 1

    house = await houses.next()
    assert events(house, "sys.connected") == events(house, "sys.disconnected") == []
    await moved(device, house).connect(clean=False, expiry_s=100)
    assert device.session_id == session_id
    await settle()
    assert events(house, "sys.connected") == []
    await device.send(wire.disconnect(0, b"\x11" + wire.four(0)))
    await settle()

    [ended] = events(house, "sys.disconnected")
    assert ended.attributes["sessionid"] == session_id
    assert ended.attributes["userid"] == "u"
    last = await houses.next()
    assert events(last, "sys.disconnected") == []


async def test_handlers_are_told_of_a_session_whose_time_is_over_meanwhile() -> None:
    houses = Houses(TOLD)
    device = Device(houses.now)
    await device.connect(clean=False, expiry_s=100)
    device.lose()
    session_id = device.session_id

    house = await houses.next(200)
    await house.loop.advance(2)
    await settle()

    [ended] = events(house, "sys.disconnected")
    assert ended.attributes["sessionid"] == session_id


async def test_handlers_are_told_the_end_of_others_that_the_crash_has_ended() -> None:
    houses = Houses(TOLD)
    lasting, brief = Device(houses.now, "lasting"), Device(houses.now, "brief")
    await lasting.connect(clean=False)
    await brief.connect(clean=True)
    session_id = brief.session_id
    await settle()

    house = await houses.next()

    assert [event.attributes["sessionid"] for event in events(house, "sys.disconnected")] == [session_id]


async def test_state_that_a_handler_gave_is_kept() -> None:
    houses = Houses(handling(handler(systemEvents=["disconnected"])))
    houses.now.upstream.webhook.answers = lambda _: answer(ce_connectionState="c3RhdGU=")
    device = Device(houses.now)
    await device.connect(clean=False)
    await device.send(wire.publish(5, "$webpubsub/server/events/e", b"x", 1, 1))
    numbers = [event.attributes["id"] for event in parsed_all(houses.now.upstream.webhook.events)]

    house = await houses.next()
    await moved(device, house).connect(clean=False)
    await device.send(wire.publish(5, "$webpubsub/server/events/e", b"x", 1, 1))

    [event] = events(house, "user.e")
    assert event.attributes["connectionstate"] == "c3RhdGU="
    assert event.attributes["id"] not in numbers


# What cannot go on


async def test_sessions_of_a_resource_that_is_gone_are_forgotten(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(houses.now, groups=["g"])
    await device.connect(clean=False)
    houses.now.send("g", "x")
    await settle()
    monkeypatch.setattr("doubles.Directory.policy", _gone)

    house = await houses.next()

    assert house.node.connections() == []
    assert houses.kinds() == set()


def _gone(_self: object, resource: str) -> Any:
    from hubwire.model.errors import NotFound

    raise NotFound(f"no resource {resource}")


async def test_sessions_are_forgotten_where_none_may_outlive_its_socket_any_more(houses: Houses) -> None:
    await Device(houses.now, groups=["g"]).connect(clean=False)

    house = await houses.next(session_expiry_s=0)

    assert house.node.connections() == []
    assert houses.kinds() == set()


async def test_session_that_never_came_to_be_leaves_nothing(houses: Houses) -> None:
    subscribed = houses.now.bus.hold()
    device = Device(houses.now, "d", groups=["g"])
    device.upgrade()
    work = device.sending(device.packet(clean=False))
    await settle()
    houses.now.bus.gate = None
    subscribed.set_exception(RuntimeError("no bus"))
    with pytest.raises(RuntimeError, match="no bus"):
        await work
    await settle()

    assert houses.kinds() == set()


# Reliable clients


LASTING = HubSettings(reliable_retention_in_seconds=1000)


async def reliable(house: House, **more: Any) -> Client:
    return await house.client(RELIABLE, **more)


async def recovered(house: House, client: Client) -> Client:
    """The same client, which recovers its connection in another house."""
    opening = house.decide(RELIABLE, **client.recovery)
    sink = RecordingSink()
    connection = await house.begin(opening, sink)
    assert connection is not None
    await settle()
    return Client(house, connection, sink)


def numbers(client: Client) -> list[tuple[int, Any]]:
    return [(row["sequenceId"], row["data"]) for row in client.sink.received if row["type"] == "message"]


async def test_reliable_client_recovers_its_connection_in_the_next_life() -> None:
    houses = Houses(LASTING)
    client = await reliable(houses.now, user_id="u", groups=["g"], roles=["webpubsub.sendToGroup.g"])
    houses.now.send("g", "1")
    await settle()
    client.drop()
    houses.now.send("g", "2")
    await settle()

    house = await houses.next(500)
    assert houses.restored == 1
    house.send("g", "3")
    await settle()
    back = await recovered(house, client)
    house.send("g", "4")
    await settle()

    assert numbers(back) == [(1, "1"), (2, "2"), (3, "3"), (4, "4")]
    assert back.connection.id == client.connection.id
    assert back.connection.user_id == "u"
    assert back.connection.permissions.allows("sendToGroup", "g")
    assert (house.telemetry.connections, house.telemetry.retained, house.telemetry.recoveries) == (1, 0, 1)


async def test_request_that_a_reliable_client_repeats_in_the_next_life_is_done_once() -> None:
    houses = Houses(LASTING)
    client = await reliable(houses.now)
    message = {"type": "sendToGroup", "group": "g", "ackId": 1, "dataType": "text", "data": "x"}
    assert [row["success"] for row in await client.say(message)] == [True]

    house = await houses.next()
    back = await recovered(house, client)
    [answer] = [row for row in await back.say(message) if row["type"] == "ack"]

    assert answer["error"]["name"] == "Duplicate"


async def test_reliable_client_has_as_much_time_as_its_hub_gives_it() -> None:
    houses = Houses(LASTING)
    client = await reliable(houses.now, groups=["g"])
    client.drop()
    await houses.now.loop.advance(600)
    assert client.connection.alive

    house = await houses.next(300)
    assert len(house.node.connections()) == 1
    await house.loop.advance(102)

    assert house.node.connections() == []
    assert houses.kinds() == set()
    assert house.refusal(RELIABLE, **client.recovery) is None
    assert house.decide(RELIABLE, **client.recovery).connection is None


async def test_reliable_client_that_says_goodbye_is_not_kept() -> None:
    houses = Houses(LASTING)
    client = await reliable(houses.now, groups=["g"])
    client.drop(1000)
    await settle()

    assert houses.kinds() == set()


async def test_reliable_clients_end_with_the_process_where_their_hub_says_nothing() -> None:
    houses = Houses()
    client = await reliable(houses.now, groups=["g"])
    assert not client.connection.session.durable

    house = await houses.next(gracefully=True)

    assert house.node.connections() == []
    assert houses.kinds() == set()


async def test_reliable_clients_of_an_earlier_life_end_once_their_hub_wants_that() -> None:
    houses = Houses(LASTING)
    await reliable(houses.now, groups=["g"])
    houses._settings = None

    house = await houses.next()

    assert house.node.connections() == []
    assert houses.kinds() == set()


async def test_graceful_end_lets_a_reliable_client_come_back() -> None:
    houses = Houses(LASTING)
    client = await reliable(houses.now, groups=["g"])

    house = await houses.next(gracefully=True)

    assert client.sink.closed is not None
    assert client.sink.closed[0] == 1001
    assert (await recovered(house, client)).connection.groups == {"g": None}


async def test_handlers_are_told_once_of_a_reliable_client_that_lives_twice() -> None:
    told = handler(systemEvents=["connected", "disconnected"])
    houses = Houses(HubSettings(event_handlers=(told,), reliable_retention_in_seconds=1000))
    client = await reliable(houses.now, user_id="u")
    await settle()
    assert len(events(houses.now, "sys.connected")) == 1

    house = await houses.next()
    back = await recovered(house, client)
    back.drop(1000)
    await settle()

    assert events(house, "sys.connected") == []
    [ended] = events(house, "sys.disconnected")
    assert ended.attributes["connectionid"] == client.connection.id


@pytest.mark.parametrize("asked", [{"type": "event"}, {"type": "invoke", "invocationId": "i", "target": "event"}])
async def test_state_that_a_handler_gave_a_reliable_client_is_kept(asked: dict[str, Any]) -> None:
    houses = Houses(HubSettings(event_handlers=(handler(systemEvents=[]),), reliable_retention_in_seconds=1000))
    houses.now.upstream.webhook.answers = lambda _: answer(ce_connectionState="c3RhdGU=")
    client = await reliable(houses.now)
    request = {**asked, "event": "e", "dataType": "text", "data": "x"}
    await client.say(request)
    await settle()
    [first] = events(houses.now, "user.e")
    assert "connectionstate" not in first.attributes

    house = await houses.next()
    await (await recovered(house, client)).say(request)
    await settle()

    [event] = events(house, "user.e")
    assert event.attributes["connectionstate"] == "c3RhdGU="


async def test_reliable_client_beyond_the_room_for_durable_ones_lives_as_long_as_others() -> None:
    houses = Houses(LASTING)
    clients = [await reliable(houses.now) for _ in range(11)]

    assert [client.connection.session.durable for client in clients] == [True] * 10 + [False]
    clients[10].drop()
    await houses.now.loop.advance(40)
    assert not clients[10].connection.alive
