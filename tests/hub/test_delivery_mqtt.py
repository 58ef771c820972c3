"""The fan-out where MQTT clients are among the receivers: packets are their frames, and some have numbers."""

from typing import Any

import pytest

from doubles import HUB, RecordingSink, connection
from hub.test_delivery import GROUP, NOW, House, Spreading
from hubwire.hub.connection import Connection
from hubwire.model.messages import Data, GroupMessage, Publication, StreamInfo
from hubwire.model.targets import to_group
from hubwire.protocols.mqtt.arrival import Policy
from hubwire.protocols.mqtt.packets import NO_PROPERTIES, Filter, Properties, Puback, Publish, Subscribe
from hubwire.protocols.reliable import QueueLimits
from protocols.mqtt import pretend

VERSIONS = pytest.mark.parametrize("version", [4, 5])


class Device(pretend.Client):
    """
    A member of the group that is no client of a gateway.

    Args:
        qos: with which it has subscribed; None: it was put into the group, unless it has filters.
        filters: with the QoS of each; they are numbered from 1 on.
    """

    def __init__(self, house: House, version: int = 5, qos: int | None = None, **more: Any) -> None:
        options = {name: more.pop(name) for name in ("no_local",) if name in more}
        filters = more.pop("filters", {})
        super().__init__(version, policy=Policy(wildcards=True, shared_subscriptions=True), **more)
        self.house = house
        if qos is not None:
            self.ask(Subscribe(1, (Filter("g", qos, **options),)))
        for number, (text, highest) in enumerate(filters.items(), start=1):
            said = Properties(subscription_ids=(number,)) if version == 5 else NO_PROPERTIES
            self.ask(Subscribe(1, (Filter(text, highest),), said))
        self.connection: Connection = connection(self.session, id=self.session.client_id)
        self.sink = self.connection.sink = house.sinks[self.connection] = RecordingSink()
        house.hub.add(self.connection)
        if qos is not None or not filters:
            house.hub.join(self.connection, "g")
        for text in filters:
            house.hub.subscribe(self.connection, text)

    @property
    def identifiers(self) -> list[tuple[int, ...]]:
        """Of the subscriptions that have brought each."""
        packets = self.hear(b"".join(write.data for write in self.sink.writes))
        return [packet.properties.subscription_ids for packet in packets if isinstance(packet, Publish)]

    @property
    def got(self) -> list[tuple[str, int]]:
        """Payloads and QoS of what was written."""
        packets = self.hear(b"".join(write.data for write in self.sink.writes))
        return [(packet.payload.decode(), packet.qos) for packet in packets if isinstance(packet, Publish)]


def send(house: House, *texts: str, qos: int = 1, until: float | None = None, **more: Any) -> None:
    """As an MQTT client does."""
    for text in texts:
        publication = Publication(qos, more.get("publisher"))
        message = GroupMessage("g", Data("binary", text.encode()), publication=publication)
        house.delivery.send(house.hub, GROUP, message, more.get("excluded", ()), until)


def devices(house: House, count: int, version: int = 5, qos: int | None = None) -> list[Device]:
    return [Device(house, version, qos, client_id=f"d{version}{qos}{number}") for number in range(count)]


@VERSIONS
def test_all_who_want_qos_0_are_given_the_same_object(version: int) -> None:
    house = House()
    members = devices(house, 3, version, 0)
    send(house, "a", "b")
    house.flush()

    assert [device.got for device in members] == [[("a", 0), ("b", 0)]] * 3
    assert len({id(device.sink.writes[0].data) for device in members}) == 1
    assert [device.sink.writes[0].frames for device in members] == [2] * 3


@VERSIONS
def test_message_of_qos_0_is_the_same_object_whatever_was_subscribed_with(version: int) -> None:
    house = House()
    members = [device for qos in (0, 1, 2) for device in devices(house, 2, version, qos)]
    send(house, "a", qos=0)
    house.flush()

    assert [device.got for device in members] == [[("a", 0)]] * 6
    assert len({id(device.sink.writes[0].data) for device in members}) == 1


def test_each_receives_with_the_lower_qos_of_message_and_subscription() -> None:
    house = House()
    members = [Device(house, 5, qos, client_id=f"d{qos}") for qos in (0, 1, 2)]
    put_in = Device(house, client_id="d")
    for qos in (0, 1, 2):
        send(house, str(qos), qos=qos)
    house.flush()

    assert [[qos for _, qos in device.got] for device in members] == [[0, 0, 0], [0, 1, 1], [0, 1, 2]]
    assert [qos for _, qos in put_in.got] == [0, 1, 1]


def test_mqtt_and_json_receivers_of_all_kinds_each_get_their_frames() -> None:
    house = House()
    json, reliable, simple = (house.client("g", kind=kind) for kind in ("json", "reliable", "simple"))
    members = [Device(house, version, 0, client_id=f"d{version}") for version in (4, 5)]
    house.send("a")
    house.flush()

    assert (house.got(json), house.got(reliable)) == (["a"], ["a"])
    assert [frame.payload for frame in house.sinks[simple].frames] == [b"a"]
    assert [device.got for device in members] == [[("a", 1)]] * 2, "a message of the server, which is no subscription's"
    send(house, "b")
    house.flush()
    assert [device.got[-1] for device in members] == [("b", 0), ("b", 0)]
    assert (len(house.got(json)), house.telemetry.outbound_messages) == (2, 10)


@VERSIONS
def test_many_receivers_are_written_to_at_once_those_of_numbered_packets_too(version: int) -> None:
    house = Spreading()
    members = devices(house, 9, version, 0)
    json = house.clients(9)
    numbered = devices(house, 2, version, 1)
    for device in (*members, *numbered):
        device.sink.direct = lambda data, sink=device.sink: sink.write(data, 1, None)
    send(house, "a")
    house.flush()

    assert [len(frames) for frames in house.spreads] == [20]
    assert [device.got for device in members] == [[("a", 0)]] * 9
    assert [device.got for device in numbered] == [[("a", 1)]] * 2
    assert [house.writes(one) for one in json] == [1] * 9


def test_receiver_that_is_left_out_of_some_messages_gets_the_others() -> None:
    house = Spreading()
    members = devices(house, 9, 5, 0)
    for device in members:
        device.sink.direct = lambda data, sink=device.sink: sink.write(data, 1, None)
    first = members[0]
    send(house, "a")
    send(house, "b", excluded=(first.connection.id,))
    send(house, "c")
    house.flush()

    assert first.got == [("a", 0), ("c", 0)]
    assert [device.got for device in members[1:]] == [[("a", 0), ("b", 0), ("c", 0)]] * 8
    assert [len(frames) for frames in house.spreads] == [9]


def test_newcomer_gets_nothing_of_before() -> None:
    house = House()
    early, late = Device(house, 5, 1, client_id="e"), Device(house, 5, 1, client_id="l")
    house.leave(late.connection)
    send(house, "a")
    house.join(late.connection)
    send(house, "b")
    house.flush()

    assert (early.got, late.got) == ([("a", 1), ("b", 1)], [("b", 1)])


def test_own_message_is_not_written_where_that_is_not_wanted() -> None:
    """Not even as nothing."""
    house = House()
    device = Device(house, 5, 1, client_id="d", no_local=True)
    send(house, "a", publisher="d")
    house.flush()

    assert device.sink.writes == []
    send(house, "b", publisher="other")
    house.flush()
    assert device.got == [("b", 1)]


def test_message_that_has_to_wait_is_not_written() -> None:
    house = House()
    device = Device(house, 5, 1, properties=Properties(receive_maximum=1))
    send(house, "a", "b")
    house.flush()
    assert device.got == [("a", 1)]

    send(house, "c")
    house.flush()
    assert len(device.sink.writes) == 1


def test_message_with_a_number_is_not_dropped_on_its_way() -> None:
    """Its session would wait for the acknowledgement of what was never sent."""
    house = House()
    plain, numbered = Device(house, 4, 0, client_id="p"), Device(house, 4, 1, client_id="n")
    json = house.client("g")
    for more in ((), ("b",)):  # alone in its turn, and with others
        send(house, "a", until=NOW + 5)
        for text in more:
            send(house, text)
        house.flush()

    assert [write.expires_at for write in house.sinks[json].writes] == [NOW + 5, NOW + 5, None]
    assert [write.expires_at for write in plain.sink.writes] == [NOW + 5, NOW + 5, None]
    assert {write.expires_at for write in numbered.sink.writes} == {None}


@VERSIONS
def test_messages_wait_for_a_client_that_is_away_but_not_those_of_qos_0(version: int) -> None:
    house = House()
    device = Device(house, version, 2)
    device.session.lost()
    device.connection.sink = None
    for qos in (0, 1, 2):
        send(house, str(qos), qos=qos)
    house.flush()

    packets = [packet for packet in device.back() if isinstance(packet, Publish)]

    assert [(packet.payload, packet.qos) for packet in packets] == [(b"1", 1), (b"2", 2)]


def test_client_that_holds_too_much_is_reported_and_the_others_get_theirs() -> None:
    house = House()
    properties = Properties(receive_maximum=1)
    slow = Device(house, 5, 1, client_id="slow", properties=properties, limits=QueueLimits(1))
    quick, json = Device(house, 5, 0, client_id="quick"), house.client("g")
    send(house, "a", "b", "c")

    assert house.flush() == [slow.connection]

    assert [text for text, _ in quick.got] == ["a", "b", "c"]
    assert len(house.sinks[json].frames) == 3


@VERSIONS
@pytest.mark.parametrize("qos", [None, 0, 1, 2])
@pytest.mark.parametrize("excluded", [(), ("somebody",)])
def test_stream_is_its_payloads_without_its_end(version: int, qos: int | None, excluded: tuple[str, ...]) -> None:
    """MQTT has no word for it, and an empty payload would be taken for a message."""
    house = House()
    device = Device(house, version, qos)
    for number, text in enumerate(("a", "b", "", "last"), start=1):
        info = StreamInfo("s", number, number == 3) if number < 4 else None
        message = GroupMessage("g", Data("text", text.encode()), stream=info)
        house.delivery.send(house.hub, GROUP, message, excluded)
    house.flush()
    expected = 0 if qos == 0 else 1

    assert device.got == [("a", expected), ("b", expected), ("last", expected)]

    house.delivery.send(house.hub, GROUP, GroupMessage("g", Data("text", b""), stream=StreamInfo("s", 1, True)))
    house.flush()
    assert len(device.got) == 3
    assert device.session.held()[0] == 3 * expected


# Filters


@VERSIONS
def test_members_and_those_whose_filters_match_each_get_one_copy(version: int) -> None:
    house = House()
    json = house.client("g")
    member = Device(house, version, 1, client_id="m")
    both = Device(house, version, 0, client_id="b", filters={"#": 1, "+": 2})
    one = Device(house, version, client_id="o", filters={"+": 2})
    nobody = Device(house, version, client_id="n", filters={"g/+": 2})
    send(house, "a", "b", qos=2)
    house.flush()

    assert len(house.got(json)) == 2
    assert member.got == [("a", 1), ("b", 1)]
    assert both.got == one.got == [("a", 2), ("b", 2)]
    assert nobody.got == []
    if version == 5:
        assert [set(numbers) for numbers in both.identifiers] == [{1, 2}] * 2
        assert one.identifiers == [(1,), (1,)]
        assert member.identifiers == [(), ()]
    assert house.telemetry.outbound_messages == 8


def test_member_that_hears_by_a_filter_too_does_not_change_what_others_get() -> None:
    """What is put together for one of them is for this one."""
    house = House()
    first, both, last = (
        Device(house, 5, 0, client_id=name, filters=filters)
        for name, filters in (("f", {}), ("b", {"+": 1}), ("l", {}))
    )
    send(house, "a")
    house.flush()

    assert [device.got for device in (first, both, last)] == [[("a", 0)], [("a", 1)], [("a", 0)]]
    assert [device.identifiers for device in (first, both, last)] == [[()], [(1,)], [()]]


def test_what_is_left_out_is_left_out_for_filters_too() -> None:
    house = House()
    one, other = (Device(house, 5, client_id=name, filters={"+": 1, "#": 0}) for name in ("o", "t"))
    send(house, "a")
    send(house, "b", excluded=("o",))
    house.flush()

    assert (one.got, other.got) == ([("a", 1)], [("a", 1), ("b", 1)])
    assert [set(numbers) for numbers in one.identifiers] == [{1, 2}]


def test_many_with_a_filter_are_written_to_at_once_with_the_same_object() -> None:
    house = Spreading()
    members = [Device(house, 5, client_id=f"f{number}", filters={"+": 0}) for number in range(9)]
    plain = devices(house, 9, 5, 0)
    for device in (*members, *plain):
        device.sink.direct = lambda data, sink=device.sink: sink.write(data, 1, None)
    send(house, "a")
    house.flush()

    assert [len(frames) for frames in house.spreads] == [18]
    assert [device.got for device in (*members, *plain)] == [[("a", 0)]] * 18
    assert [device.identifiers for device in members] == [[(1,)]] * 9
    for group in (members, plain):
        assert len({id(device.sink.writes[0].data) for device in group}) == 1


def test_receivers_that_were_picked_are_told_by_which_filters() -> None:
    house = House()
    both = Device(house, 5, 1, client_id="b", filters={"+": 0})
    one = Device(house, 5, client_id="o", filters={"#": 2})
    audience = house.hub.audience(GROUP)
    assert audience is not None
    message = GroupMessage("g", Data("binary", b"a"), publication=Publication(2))
    house.delivery.send_to(list(audience.receivers), message, None, audience.matched)
    house.flush()

    assert (both.got, both.identifiers) == ([("a", 1)], [(1,)])
    assert (one.got, one.identifiers) == ([("a", 2)], [(1,)])


# Shared subscriptions


def sharing(house: House, count: int, qos: int = 1, name: str = "$share/s/+", **more: Any) -> list[Device]:
    return [Device(house, 5, client_id=f"s{number}", filters={name: qos}, **more) for number in range(count)]


def texts(device: Device) -> list[str]:
    return [text for text, _ in device.got]


@pytest.mark.parametrize("qos", [0, 1])
def test_each_message_is_for_one_who_shares_and_for_all_others(qos: int) -> None:
    house = House()
    one, two, three = sharing(house, 3, qos)
    json, member = house.client("g"), Device(house, 5, 1, client_id="m")
    send(house, *"abcdef")
    house.flush()

    assert [texts(device) for device in (one, two, three)] == [["a", "d"], ["b", "e"], ["c", "f"]]
    assert {quality for _, quality in one.got} == {qos}
    assert one.identifiers == [(1,), (1,)]
    assert texts(member) == list("abcdef")
    assert len(house.got(json)) == 6
    assert house.telemetry.outbound_messages == 18


def test_who_shares_and_subscribes_itself_gets_both() -> None:
    house = House()
    [other] = sharing(house, 1)
    both = Device(house, 5, 0, client_id="b", filters={"$share/s/+": 1, "#": 0, "$share/t/g": 2})
    send(house, "a", "b")
    house.flush()

    assert texts(other) == ["a"]
    assert sorted(zip(texts(both), both.identifiers, strict=True)) == [
        ("a", (2,)),
        ("a", (3,)),
        ("b", (1,)),
        ("b", (2,)),
        ("b", (3,)),
    ]


def test_who_has_not_acknowledged_gets_less() -> None:
    house = House()
    slow, fast = sharing(house, 2)
    for text in "abcd":
        send(house, text)
        house.flush()
        for packet in fast.hear(b"".join(write.data for write in fast.sink.writes[-1:])):
            if isinstance(packet, Publish) and packet.packet_id is not None:
                fast.say(Puback(packet.packet_id))

    assert texts(slow) == ["a"]
    assert texts(fast) == ["b", "c", "d"]


def test_what_is_not_for_one_who_shares_is_for_another() -> None:
    house = House()
    one, two = sharing(house, 2)
    send(house, "a")
    send(house, "b", excluded=("s1",))
    send(house, "c", excluded=("s0", "s1"))
    send(house, "d")
    house.flush()

    assert (texts(one), texts(two)) == (["a", "b"], ["d"])


def test_messages_of_several_turns_and_topics_go_round() -> None:
    house = House()
    one, two = sharing(house, 2, 0, "$share/s/#")
    for text in "abcd":
        message = GroupMessage(f"g/{text}", Data("binary", text.encode()), publication=Publication(0))
        house.delivery.send(house.hub, to_group(HUB, f"g/{text}"), message)
        if text in "bd":
            house.flush()

    assert (texts(one), texts(two)) == (["a", "c"], ["b", "d"])
