"""One node whose MQTT clients hear of groups by filters: from when, until when, and what becomes of what is pending."""

import asyncio

import pytest

from cluster.test_node import House
from doubles import HUB, RecordingSink, connection, done, settle
from hubwire.model.commands import AddToGroups, ListMembers, RemoveFromGroups, Send
from hubwire.model.errors import Conflict
from hubwire.model.messages import Ack, Data, FromServer, GroupMessage, Publication
from hubwire.model.names import HubKey
from hubwire.model.targets import to_connection, to_group
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.mqtt.arrival import Policy
from hubwire.protocols.mqtt.packets import Filter, Properties, Puback, Publish, Subscribe
from hubwire.protocols.reliable import QueueLimits
from protocols.mqtt import pretend


class Device:
    """An MQTT client of a node, whatever its roles. With a time its session outlives its socket."""

    def __init__(
        self, house: House, client_id: str, expiry_s: int = 0, limit: int = 1000, window: int | None = None
    ) -> None:
        said = Properties(session_expiry_s=expiry_s, receive_maximum=window)
        policy = Policy(wildcards=True, shared_subscriptions=True, session_expiry_s=3600)
        self.client = pretend.Client(
            5, client_id=client_id, properties=said, policy=policy, limits=QueueLimits(limit, 1 << 24)
        )
        self.house = house
        self.one = connection(self.client.session, id=client_id)

    async def come(self, *filters: str) -> "Device":
        self.house.sinks[self.one] = sink = RecordingSink()
        await done(self.house.node.attach(self.one, (), sink, b""))
        for text in filters:
            await self.subscribe(text)
        return self

    async def subscribe(self, text: str, qos: int = 1) -> None:
        [request] = self.client.say(Subscribe(1, (Filter(text, qos),)))
        await done(self.house.node.subscribe(self.one, text))
        self.client.ack(request)

    def unsubscribe(self, text: str) -> bool:
        return self.house.node.unsubscribe(self.one, text)

    @property
    def packets(self) -> list[Publish]:
        packets = self.client.hear(b"".join(write.data for write in self.house.sinks[self.one].writes))
        return [packet for packet in packets if isinstance(packet, Publish)]

    @property
    def heard(self) -> list[str]:
        return [packet.payload.decode() for packet in self.packets]


def send(house: House, group: str, *texts: str, filter: str | None = None, excluded: tuple[str, ...] = ()) -> None:
    for text in texts:
        message = GroupMessage(group, Data("text", text.encode()))
        house.node.execute(Send(to_group(HUB, group), message, excluded, filter))


async def say(house: House, group: str, *texts: str) -> None:
    """And wait for the end of the turn."""
    send(house, group, *texts)
    await settle()


@pytest.fixture
def house() -> House:
    return House()


async def test_filter_hears_of_groups_that_nobody_is_in_until_it_ends(house: House) -> None:
    device = await Device(house, "d").come("a/+")
    await say(house, "a/b", "1")
    await say(house, "b", "not for it")
    await say(house, "a/c", "2")

    assert device.unsubscribe("a/+")
    await say(house, "a/b", "not any more")

    assert device.heard == ["1", "2"]
    assert not device.unsubscribe("a/+")
    assert not device.unsubscribe("never")


async def test_node_listens_to_all_groups_from_the_first_filter_to_the_last(house: House) -> None:
    """Whichever way these end; and of other hubs to none."""
    calls: list[tuple[str, HubKey]] = []
    house.bus.told = lambda sign, topic: calls.append((sign, topic.hub)) if topic.kind == "groups" else None
    device, other, third = [await Device(house, name).come() for name in "dot"]
    await device.subscribe("a/+")
    await other.subscribe("#")
    await third.subscribe("#")
    assert calls == [("+", HUB)]

    device.unsubscribe("a/+")
    house.node.close(other.one, 1000, "", CloseCategory.NORMAL)
    await settle()
    assert calls == [("+", HUB)]
    house.drop(third.one, final=True)
    await settle()
    assert calls == [("+", HUB), ("-", HUB)]


async def test_filter_is_there_once_the_node_listens(house: House) -> None:
    """Not before: who holds the answer misses nothing that is sent later."""
    device = await Device(house, "d").come()
    gate = house.bus.hold()
    subscribing = asyncio.ensure_future(device.subscribe("a/+"))
    await settle()
    assert not subscribing.done()

    gate.set_result(None)
    await subscribing
    await say(house, "a/b", "1")

    assert device.heard == ["1"]


async def test_client_that_goes_while_the_node_begins_to_listen_leaves_nothing_behind(house: House) -> None:
    calls: list[str] = []
    device = await Device(house, "d").come()
    other = await Device(house, "o").come()
    gate = house.bus.hold()
    subscribing = asyncio.ensure_future(device.subscribe("a/+"))
    await settle()
    house.drop(device.one, final=True)
    house.bus.told = lambda sign, topic: calls.append(sign) if topic.kind == "groups" else None
    gate.set_result(None)
    await subscribing
    await settle()

    assert calls == ["-"]
    assert device.one.filters is None
    assert other.heard == []


async def test_what_is_pending_is_not_for_a_filter_that_comes_later_in_the_turn(house: House) -> None:
    device, other = await Device(house, "d").come(), await Device(house, "o").come("#")
    send(house, "a/b", "before")
    await device.subscribe("a/+")
    send(house, "a/b", "after")
    await settle()

    assert (device.heard, other.heard) == (["after"], ["before", "after"])


async def test_what_is_pending_is_for_a_filter_that_ends_later_in_the_turn(house: House) -> None:
    device = await Device(house, "d").come("a/+", "#")
    send(house, "a/b", "1")
    device.unsubscribe("a/+")
    send(house, "a/b", "2")
    device.unsubscribe("#")
    send(house, "a/b", "3")
    await settle()

    assert device.heard == ["1", "2"]


async def test_who_joins_a_group_misses_nothing_that_a_filter_brings(house: House) -> None:
    """Nor does who leaves it; each message comes once."""
    device = await Device(house, "d").come("a/+")
    send(house, "a/b", "1")
    await done(house.node.join(device.one, "a/b"))
    send(house, "a/b", "2")
    house.node.leave(device.one, "a/b")
    send(house, "a/b", "3")
    await settle()

    assert device.heard == ["1", "2", "3"]


async def test_filters_count_as_groups(house: House) -> None:
    house.node.max_groups = 3
    device = await Device(house, "d").come("a/+", "b/+")
    await done(house.node.join(device.one, "g"))

    for text in ("a/+", "b/+"):
        assert house.node.subscribe(device.one, text) is None, "it is there already"
    with pytest.raises(Conflict):
        house.node.subscribe(device.one, "c/+")
    with pytest.raises(Conflict):
        house.node.join(device.one, "h")
    assert (await house.node.ask(AddToGroups(to_connection(HUB, "d"), ("h",)))).limit_reached

    device.unsubscribe("a/+")
    assert house.node.subscribe(device.one, "c/+") is None
    with pytest.raises(Conflict):
        house.node.join(device.one, "h")


async def test_who_hears_by_a_filter_is_in_no_group(house: House) -> None:
    device = await Device(house, "d").come("#")
    await say(house, "g", "1")

    assert await house.count(to_group(HUB, "g")) == 0
    assert (await house.node.ask(ListMembers(to_group(HUB, "g"), "", 10))).members == ()
    await house.node.ask(RemoveFromGroups(to_connection(HUB, "d"), None))
    await say(house, "g", "2")
    assert device.heard == ["1", "2"]


async def test_odata_filter_and_exclusions_hold_for_filters(house: House) -> None:
    device, other = await Device(house, "d").come("#", "+"), await Device(house, "o").come("+")
    member = await house.client("g", user_id="u")
    send(house, "g", "1", filter="userId eq null")
    send(house, "g", "2", filter="userId eq 'u'")
    send(house, "g", "3", excluded=("d",))
    send(house, "g", "4", excluded=("o",), filter="'g' in groups or userId eq null")
    device.unsubscribe("#")
    await settle()

    assert device.heard == ["1", "4"]
    assert other.heard == ["1", "3"]
    assert house.data(member) == ["2", "3", "4"]


async def test_filter_outlives_the_socket_of_its_session_and_ends_with_that(house: House) -> None:
    device = await Device(house, "d", expiry_s=60).come("a/+")
    house.drop(device.one)
    await say(house, "a/b", "1")
    assert device.one.filters == {"a/+": None}

    device.client.take_over()
    assert house.resume(device.one)
    await say(house, "a/b", "2")
    assert device.heard[-2:] == ["1", "2"]

    house.drop(device.one)
    await house.loop.advance(3700)
    assert not device.one.alive
    assert device.one.filters is None


async def test_client_that_overflows_while_it_subscribes_ends_and_has_no_filter(house: House) -> None:
    """What is pending is written first, and may be one message too many."""
    device = await Device(house, "d", expiry_s=60, limit=1).come("+")
    house.drop(device.one)
    send(house, "g", "1", "2")
    assert house.node.subscribe(device.one, "#") is None

    assert not device.one.alive
    assert device.one.filters is None
    await say(house, "g", "3")


async def test_answers_stay_behind_what_a_filter_brings(house: House) -> None:
    device = await Device(house, "d").come("#")
    send(house, "g", "1")
    house.node.reply(device.one, device.client.session.direct(Ack(99)))
    [first] = device.client.say(Publish("x", b"", 1, packet_id=5))
    send(house, "g", "2")
    house.node.reply(device.one, device.client.session.direct(Ack(first.ack_id)))  # type: ignore[union-attr, arg-type]
    await settle()

    packets = device.client.hear(b"".join(write.data for write in house.sinks[device.one].writes))
    assert [type(one) for one in packets] == [Publish, Publish, Puback]


# Shared subscriptions


SHARED = "$share/s/a/+"


def acknowledged(device: Device, *packets: Publish) -> None:
    for packet in packets:
        assert packet.packet_id is not None
        device.client.say(Puback(packet.packet_id))


async def test_what_a_session_has_not_acknowledged_at_its_end_goes_to_another(house: House) -> None:
    """What was on its way with QoS 1 and what waited, in their order; and only once what is shared."""
    one = await Device(house, "d", expiry_s=60).come(SHARED)
    for text in "1234":
        send(house, "a/b", text)
    await settle()
    acknowledged(one, *one.packets[:1])
    house.drop(one.one)
    await say(house, "a/b", "5", "6")
    other = await Device(house, "o").come(SHARED)
    await say(house, "a/b", "7")
    assert other.heard == ["7"]

    house.node.close(one.one, 1000, "", CloseCategory.NORMAL)
    await settle()

    assert other.heard == ["7", "2", "3", "4", "5", "6"]
    assert not any(packet.dup for packet in other.packets)


async def test_what_waits_for_a_member_that_leaves_goes_to_another_and_what_was_sent_does_not(house: House) -> None:
    one = await Device(house, "d", window=2).come(SHARED)
    await say(house, "a/b", *"1234")
    other = await Device(house, "o").come(SHARED)
    assert one.heard == ["1", "2"]

    assert one.unsubscribe(SHARED)
    await settle()

    assert other.heard == ["3", "4"]
    acknowledged(one, *one.packets)
    assert one.client.session.held() == (0, 0)
    await say(house, "a/b", "5")
    assert (one.heard, other.heard) == (["1", "2"], ["3", "4", "5"])
    house.node.close(one.one, 1000, "", CloseCategory.NORMAL)
    await settle()
    assert other.heard == ["3", "4", "5"]


async def test_last_member_that_leaves_still_gets_what_waits(house: House) -> None:
    one = await Device(house, "d", window=1).come(SHARED)
    await say(house, "a/b", "1", "2")
    assert one.unsubscribe(SHARED)

    acknowledged(one, *one.packets)
    assert [packet.payload for packet in one.client.answers if isinstance(packet, Publish)] == [b"2"]


async def test_message_of_qos_2_goes_to_another_only_if_it_was_never_sent(house: House) -> None:
    one = await Device(house, "d", window=1).come()
    await one.subscribe(SHARED, 2)
    for text in "123":
        publication = Publication(2)
        message = GroupMessage("a/b", Data("binary", text.encode()), publication=publication)
        house.node.execute(Send(to_group(HUB, "a/b"), message))
    await settle()
    other = await Device(house, "o").come()
    await other.subscribe(SHARED, 2)
    assert one.heard == ["1"]

    house.node.close(one.one, 1000, "", CloseCategory.NORMAL)
    await settle()

    assert other.heard == ["2", "3"]


@pytest.mark.parametrize("code", [0, 0x80])
async def test_message_that_a_member_has_refused_goes_to_nobody(house: House, code: int) -> None:
    one = await Device(house, "d").come(SHARED)
    await say(house, "a/b", "1")
    other = await Device(house, "o").come(SHARED)
    [packet] = one.packets
    assert packet.packet_id is not None
    one.client.say(Puback(packet.packet_id, code))

    house.node.close(one.one, 1000, "", CloseCategory.NORMAL)
    await settle()

    assert other.heard == []


async def test_what_has_waited_says_how_much_of_its_time_is_left(house: House) -> None:
    one = await Device(house, "d", expiry_s=3600).come(SHARED)
    house.drop(one.one)
    message = GroupMessage("a/b", Data("binary", b"1"), publication=Publication(1, expiry_s=100))
    house.node.execute(Send(to_group(HUB, "a/b"), message, ttl_s=100))
    house.node.execute(Send(to_group(HUB, "a/b"), message, ttl_s=20))
    await house.loop.advance(60)
    other = await Device(house, "o").come(SHARED)
    house.node.close(one.one, 1000, "", CloseCategory.NORMAL)
    await settle()

    assert [packet.properties.message_expiry_s for packet in other.packets] == [40]


async def test_member_that_is_too_slow_passes_nothing_on(house: House) -> None:
    """The others are no faster: they would end one after the other."""
    one = await Device(house, "d", expiry_s=60, limit=2).come(SHARED)
    other = await Device(house, "o").come()
    house.drop(one.one)
    await say(house, "a/b", "1", "2")
    await other.subscribe(SHARED)
    house.node.execute(Send(to_connection(HUB, "d"), FromServer(Data("text", b"3"))))
    await settle()

    assert not one.one.alive
    assert other.heard == []


async def test_nothing_is_passed_on_while_the_server_ends(house: House) -> None:
    devices = [await Device(house, f"d{number}").come(SHARED) for number in range(3)]
    await say(house, "a/b", *"123")
    await house.node.end(1001, "", CloseCategory.SERVICE_RELOAD)

    assert [device.heard for device in devices] == [["1"], ["2"], ["3"]]


async def test_shared_message_for_whom_an_odata_filter_picks(house: House) -> None:
    one, other = await Device(house, "d").come(SHARED), await Device(house, "o").come(SHARED)
    await done(house.node.join(other.one, "g"))
    send(house, "a/b", *"123", filter="'g' in groups")
    send(house, "a/b", "4", filter="userId eq 'nobody'")
    send(house, "a/b", "5", filter="userId eq null", excluded=("o",))
    await settle()

    assert (one.heard, other.heard) == (["5"], ["1", "2", "3"])


async def test_share_ends_with_its_last_member(house: House) -> None:
    calls: list[str] = []
    house.bus.told = lambda sign, topic: calls.append(sign) if topic.kind == "groups" else None
    one, other = await Device(house, "d").come(SHARED), await Device(house, "o").come("$share/s/a/b", "$share/t/a/b")
    await say(house, "a/b", "1")
    assert (one.heard, other.heard) == (["1"], ["1", "1"]), "three shares of one member each"

    one.unsubscribe(SHARED)
    other.unsubscribe("$share/s/a/b")
    await say(house, "a/b", "2")
    assert (one.heard, other.heard) == (["1"], ["1", "1", "2"])
    assert calls == ["+"]
    house.drop(other.one, final=True)
    await settle()
    assert calls == ["+", "-"]
