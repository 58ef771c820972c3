"""MQTT clients among clients of other protocols, on two nodes: what is a topic to the ones is a group to the others."""

import pytest

from doubles import HUB, settle
from gateway.devices import Device
from hubwire.model.commands import AddToGroups, Answer, Close, Exists, ListMembers, Member, PermissionRule
from hubwire.model.targets import to_connection, to_group, to_hub, to_user
from hubwire.protocols.mqtt.packets import Puback, Publish
from journeys.cluster import RELIABLE, Cluster, Machine
from vectors import mqtt_wire as wire

VERSIONS = pytest.mark.parametrize("version", [4, 5])
GROUP = to_group(HUB, "room/1")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


async def device(machine: Machine, client_id: str, version: int = 5, *topics: str, **more: str) -> Device:
    """One that is in and has subscribed to these."""
    made = Device(machine, client_id, version, **more)
    await made.connect(clean=False)
    if topics:
        await made.send(wire.subscribe(version, 1, *((topic, 1) for topic in topics)))
    return made


@VERSIONS
async def test_message_of_the_application_reaches_a_device_whose_answer_reaches_a_page(
    cluster: Cluster, version: int
) -> None:
    """REST to MQTT to JSON, each on the other node than the one before."""
    page = await cluster.a.client("page", ["room/1/answers"])
    sensor = await device(cluster.b, "sensor", version, "room/1", user_id="s")

    await cluster.a.send(GROUP, "measure!")
    assert sensor.messages == [("room/1", b"measure!")]

    said = (b"\x03\x00\x10application/json", wire.user_property("unit", "C")) if version == 5 else ()
    answers = await sensor.send(wire.publish(version, "room/1/answers", b'{"t":21}', 1, 2, said=said))
    await settle()

    assert answers == [Puback(2)]
    [message] = [row for row in page.sink.received if row["type"] == "message"]
    assert (message["group"], message["fromUserId"]) == ("room/1/answers", "s")
    assert message["data"] == ({"t": 21} if version == 5 else "eyJ0IjoyMX0=")
    assert message.get("metadata") == ({"unit": "C"} if version == 5 else None)


async def test_message_of_a_page_reaches_devices_of_both_versions_on_both_nodes(cluster: Cluster) -> None:
    devices = [
        await device(machine, f"d{version}{name}", version, "room/1")
        for name, machine in (("a", cluster.a), ("b", cluster.b))
        for version in (4, 5)
    ]
    page = await cluster.a.client("page")

    await page.publish("room/1", "hello", metadata={"k": "v"})

    for one in devices:
        [packet] = [packet for packet in one.heard if isinstance(packet, Publish)]
        assert (packet.topic, packet.payload, packet.qos) == ("room/1", b"hello", 1)
        if one.version == 5:
            properties = packet.properties
            assert (properties.content_type, properties.user_properties) == ("text/plain", (("k", "v"),))


async def test_one_devices_messages_keep_their_order_on_every_node(cluster: Cluster) -> None:
    sender = await device(cluster.a, "sender", 5)
    receivers = [await device(machine, "r" + id, 5, "room/1") for id, machine in (("a", cluster.a), ("b", cluster.b))]
    page = await cluster.b.client(groups=["room/1"], subprotocol=RELIABLE)
    for turn in range(5):
        packets = (
            wire.publish(5, "room/1", f"{turn}.{number}".encode(), 1, turn * 20 + number + 1) for number in range(20)
        )
        await sender.send(b"".join(packets))

    expected = [f"{turn}.{number}".encode() for turn in range(5) for number in range(20)]
    for one in receivers:
        assert [payload for _, payload in one.messages] == expected
    assert len(page.heard) == 100


async def test_device_finds_what_the_other_node_sent_while_it_was_away(cluster: Cluster) -> None:
    one = await device(cluster.a, "d", 5, "room/1", user_id="u")
    one.lose()
    await cluster.b.send(GROUP, "1")
    await cluster.b.send(to_user(HUB, "u"), "2")
    await cluster.b.send(to_connection(HUB, "d"), "3")

    await one.connect(clean=False)

    assert one.connack.session_present
    topic = "$webpubsub/server/messages"
    assert one.messages == [("room/1", b"1"), (topic, b"2"), (topic, b"3")]


async def test_will_of_a_device_is_heard_on_the_other_node(cluster: Cluster) -> None:
    page = await cluster.b.client(groups=["room/1"])
    one = Device(cluster.a, "d")
    await one.connect(will=wire.Will("room/1", b"gone", said=(b"\x01\x01",)))

    one.lose()
    await settle()

    assert page.heard == ["gone"]


async def test_device_is_found_asked_about_and_closed_from_the_other_node_also_while_it_is_away(
    cluster: Cluster,
) -> None:
    one = await device(cluster.a, "d", 5, user_id="u")
    one.lose()

    assert (await cluster.b.ask(Exists(to_connection(HUB, "d")))).count == 1
    assert await cluster.b.ask(AddToGroups(to_user(HUB, "u"), ("room/1", "no/+"))) == Answer(count=1, untakable=True)
    assert (await cluster.b.ask(ListMembers(GROUP, "", 10))).members == (Member("d", "u"),)
    answer = await cluster.b.ask(PermissionRule("revoke", to_connection(HUB, "d"), "sendToGroup", "room/1"))
    assert (answer.count, answer.allowed) == (1, False)
    assert (await cluster.b.ask(Close(to_hub(HUB), reason="enough"))).count == 1

    assert (await cluster.b.ask(Exists(GROUP))).count == 0
    await one.connect(clean=False)
    assert not one.connack.session_present


async def test_excluded_device_and_one_that_wants_no_messages_of_its_own_hear_nothing(cluster: Cluster) -> None:
    one, other = await device(cluster.a, "one"), await device(cluster.b, "other", 5, "room/1")
    await one.send(wire.subscribe(5, 1, ("room/1", 1 | 4)))

    await one.send(wire.publish(5, "room/1", b"mine"))
    await cluster.b.send(GROUP, "excluded", excluded=("other",))
    await settle()

    assert one.messages == [("room/1", b"excluded")]
    assert other.messages == [("room/1", b"mine")]


# Filters


async def test_filter_hears_of_groups_that_only_other_nodes_know_until_it_ends(cluster: Cluster) -> None:
    """Once, also where somebody on its own node is in the group."""
    watcher = await device(cluster.b, "watcher", 5, "room/#")
    member = await device(cluster.b, "member", 5, "room/1")
    page = await cluster.a.client("page")

    await page.publish("room/1", "1")
    await page.publish("room/2", "2")
    await cluster.b.send(to_group(HUB, "room/3"), "3")
    await page.publish("hall", "not for it")
    assert watcher.messages == [("room/1", b"1"), ("room/2", b"2"), ("room/3", b"3")]
    assert member.messages == [("room/1", b"1")]
    assert (await cluster.a.ask(Exists(to_group(HUB, "room/2")))).count == 0

    await watcher.send(wire.unsubscribe(5, 2, "room/#"))
    await page.publish("room/1", "4")
    await page.publish("room/2", "5")
    assert len(watcher.messages) == 3
    assert member.messages == [("room/1", b"1"), ("room/1", b"4")]


async def test_each_node_hears_for_its_own_filters(cluster: Cluster) -> None:
    watchers = [await device(machine, f"w{n}", 5, "room/+") for n, machine in enumerate((cluster.a, cluster.b))]
    watchers[0].lose()
    await cluster.a.ask(Close(to_connection(HUB, "w0")))
    page = await cluster.a.client("page")

    await page.publish("room/1", "1")

    assert [watcher.messages for watcher in watchers] == [[], [("room/1", b"1")]]
