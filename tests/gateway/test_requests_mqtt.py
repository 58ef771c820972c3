"""What MQTT clients publish, subscribe to and ask for: allowed or not, in order, and answered as each QoS has it."""

import asyncio
import logging
from typing import Any

import pytest

from cloud_events import Event, parsed_all
from doubles import HUB, MemoryJournal, settle
from gateway.devices import Device
from gateway.house import House
from gateway.written import Written
from handlers import NOTHING, answer, handler, handling
from hubwire.model.commands import PermissionRule
from hubwire.model.targets import to_connection
from hubwire.model.telemetry import CloseCategory
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.protocols.mqtt.packets import Packet, Pingresp, Puback, Pubcomp, Publish, Pubrec, Suback, Unsuback
from hubwire.upstream import records as upstream_records
from vectors import mqtt_wire as wire

VERSIONS = pytest.mark.parametrize("version", [4, 5])
JOIN = "webpubsub.joinLeaveGroup"
SEND = "webpubsub.sendToGroup"
EVENT = "$webpubsub/server/events/e"


@pytest.fixture(autouse=True)
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was told to the operator yet."""
    monkeypatch.setattr(upstream_records, "_quiet", upstream_records._Quiet())


@pytest.fixture
def house() -> House:
    return House(queue_messages=100)


async def device_of(house: House, version: int = 5, **more: Any) -> Device:
    """A client that is in, and is kept."""
    device = Device(house, "d", version, **more)
    await device.connect(clean=False)
    return device


def code(packet: Packet, version: int, v5: int) -> bool:
    """Does an answer say this in 5.0, and yes in 3.1.1, which has no other word."""
    assert isinstance(packet, Puback | Pubrec | Pubcomp)
    return packet.code == (v5 if version == 5 else 0)


def kinds(packets: list[Packet]) -> list[str]:
    return [type(packet).__name__ for packet in packets]


# Without the role


@VERSIONS
@pytest.mark.parametrize("clean", [False, True])
async def test_publishing_with_qos_0_without_the_role_ends_the_socket_but_not_the_session(
    house: House, version: int, clean: bool, written: Written
) -> None:
    other = Device(house, "other", groups=["g"])
    await other.connect()
    device = Device(house, "d", version, roles=[])
    await device.connect(clean=clean)

    await device.send(wire.publish(version, "g", b"x"))

    assert device.sink.closed is not None
    assert (device.farewell is not None) == (version == 5)
    if device.farewell is not None:
        assert device.farewell.code == 0x87
    assert other.messages == []
    assert device.connection.alive == (not clean)
    assert house.telemetry.ack_errors == {"Forbidden": 1}
    assert house.telemetry.closed[CloseCategory.UNAUTHORIZED] == clean
    [refusal] = written.fields("RequestRefused")
    assert (refusal["code"], refusal["packet"], refusal["about"]) == (0x87, "PUBLISH", "g")
    await device.connect(clean=False)
    assert device.connack.session_present == (not clean)


@VERSIONS
async def test_publishing_with_qos_1_without_the_role_is_answered_so(
    house: House, version: int, written: Written
) -> None:
    other = Device(house, "other", groups=["g"])
    await other.connect()
    device = await device_of(house, version, roles=[])

    [puback] = await device.send(wire.publish(version, "g", b"x", 1, 7))

    assert isinstance(puback, Puback)
    assert puback.packet_id == 7
    assert code(puback, version, 0x87)
    assert (device.code, other.messages) == (None, [])
    [record] = written.fields("RequestRefused")
    assert (record["code"], record["about"], record["mqttVersion"]) == (0x87, "g", version)


@VERSIONS
async def test_publishing_with_qos_2_without_the_role_is_answered_so(house: House, version: int) -> None:
    other = Device(house, "other", groups=["g"])
    await other.connect()
    device = await device_of(house, version, roles=[])

    [pubrec] = await device.send(wire.publish(version, "g", b"x", 2, 7))
    assert isinstance(pubrec, Pubrec)
    assert code(pubrec, version, 0x87)
    [pubcomp] = await device.send(wire.acknowledge(wire.PUBREL, 7))

    assert isinstance(pubcomp, Pubcomp)
    assert code(pubcomp, version, 0x92), "in 5.0 the flow was over"
    assert (device.code, other.messages) == (None, [])


@VERSIONS
async def test_subscribing_without_the_role_is_answered_for_each_filter(house: House, version: int) -> None:
    device = await device_of(house, version, roles=[f"{JOIN}.a"])

    [suback] = await device.send(wire.subscribe(version, 3, ("a", 2), ("b", 0), ("+", 0)))

    assert isinstance(suback, Suback)
    assert suback.codes == ((2, 0x87, 0xA2) if version == 5 else (2, 0x80, 0x80))
    assert list(device.connection.groups) == ["a"]
    assert device.code is None


@VERSIONS
async def test_membership_stays_where_the_role_to_end_it_is_missing(house: House, version: int) -> None:
    device = await device_of(house, version, roles=[f"{JOIN}.a"], groups=["a", "b"])

    [unsuback] = await device.send(wire.unsubscribe(version, 3, "a", "b", "a"))

    assert isinstance(unsuback, Unsuback)
    assert unsuback.codes == ((0, 0x87, 0x11) if version == 5 else ())
    assert list(device.connection.groups) == ["b"]


async def test_rule_of_the_moment_counts(house: House) -> None:
    device = await device_of(house, roles=[])
    rule = PermissionRule("grant", to_connection(HUB, "d"), "sendToGroup", "g")
    await house.node.ask(rule)
    device.lose()
    await device.connect(clean=False)

    [puback] = await device.send(wire.publish(5, "g", b"x", 1, 1))

    assert code(puback, 5, 0)


async def test_group_too_many_is_a_quota_that_is_used_up(house: House) -> None:
    house.node.max_groups = 1
    device = await device_of(house)

    [suback] = await device.send(wire.subscribe(5, 1, ("a", 0), ("b", 0)))

    assert isinstance(suback, Suback)
    assert suback.codes == (0, 0x97)


# With it


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
async def test_message_is_acknowledged_when_it_is_on_the_disk_for_those_who_outlive_the_server(
    version: int, qos: int
) -> None:
    journal = MemoryJournal()
    house = House(journal=journal)
    device = await device_of(house, version)
    await house.durable_member()
    journal.fail("the disk is full")
    assert await device.send(wire.publish(version, "g", b"x", qos, 7)) == []

    journal.mend()
    await settle()
    assert [type(packet) for packet in device.heard[1:]] == [Puback if qos == 1 else Pubrec]


@VERSIONS
async def test_packets_of_one_message_are_answered_in_their_order(house: House, version: int) -> None:
    device = await device_of(house, version)
    stream = b"".join(
        (
            wire.subscribe(version, 1, ("g", 0)),
            wire.publish(version, "g", b"a"),
            wire.publish(version, "g", b"b", 1, 2),
            wire.publish(version, "g", b"c", 2, 3),
            wire.acknowledge(wire.PUBREL, 3),
            wire.PINGREQ,
            wire.unsubscribe(version, 4, "g"),
            wire.publish(version, "g", b"d"),
        )
    )

    heard = await device.send(stream)

    answers = [kind for kind in kinds(heard) if kind != "Publish"]
    assert sorted(answers) == ["Pingresp", "Puback", "Pubcomp", "Pubrec", "Suback", "Unsuback"]
    assert device.messages == [("g", b"a"), ("g", b"b"), ("g", b"c")]
    assert kinds(heard).index("Unsuback") > max(at for at, kind in enumerate(kinds(heard)) if kind == "Publish")


@VERSIONS
async def test_packets_before_one_that_breaks_mqtt_count_and_those_behind_it_do_not(house: House, version: int) -> None:
    other = Device(house, "other", groups=["g"])
    await other.connect()
    device = await device_of(house, version)

    await device.send(wire.publish(version, "g", b"1", 1, 1) + b"\xc1\x00" + wire.publish(version, "g", b"2", 1, 2))

    assert other.messages == [("g", b"1")]
    assert Puback(1) in device.heard
    assert device.sink.closed is not None


@VERSIONS
async def test_packets_behind_a_goodbye_do_not_count(house: House, version: int) -> None:
    other = Device(house, "other", groups=["g"])
    await other.connect()
    device = await device_of(house, version)

    heard = await device.send(
        wire.publish(version, "g", b"1", 1, 1) + wire.disconnect() + wire.publish(version, "g", b"2") + wire.PINGREQ
    )

    assert heard == [Puback(1)]
    assert other.messages == [("g", b"1")]


async def test_packet_in_pieces_is_one_packet(house: House) -> None:
    device = await device_of(house)
    packet = wire.publish(5, "g", b"x" * 300, 1, 1)

    heard = await device.send(*(packet[at : at + 1] for at in range(len(packet))))

    assert heard == [Puback(1)]


async def test_message_that_has_expired_while_it_waited_is_not_sent_when_there_is_room(house: House) -> None:
    """By the time of the acknowledgement, and not by that of the last message."""
    device = Device(house, "d")
    await device.connect(said=(b"\x21\x00\x01",))
    await device.send(wire.subscribe(5, 1, ("g", 1)))
    house.send("g", "first")
    house.send("g", "late", ttl_s=5)
    house.send("g", "last")
    await settle()
    assert device.messages == [("g", b"first")]
    await house.loop.advance(10)

    await device.send(wire.acknowledge(wire.PUBACK, 1))

    assert device.messages == [("g", b"first"), ("g", b"last")]


@VERSIONS
async def test_messages_are_recorded_when_they_are_traced(house: House, version: int, written: Written) -> None:
    device = await device_of(house, version, roles=[f"{SEND}.g"])
    await device.send(
        wire.publish(version, "g", b"payload"),
        wire.publish(version, "h", b"payload", 1, 1),
        wire.publish(version, EVENT, b"payload", 1, 2),
        wire.subscribe(version, 3, ("g", 0)),
    )

    traced = [row.record["operationName"] for row in written.records if row.name == "hubwire.messaging"]  # type: ignore[attr-defined]
    assert traced == ["SendToGroup", "RefusedForbidden", "SendEvent", "RefusedForbidden"]
    assert "payload" not in written.text


@VERSIONS
async def test_refusal_is_recorded_once_however_often_it_is_repeated(
    house: House, version: int, written: Written
) -> None:
    device = await device_of(house, version, roles=[])

    await device.send(*(wire.publish(version, "g", b"x", 1, number) for number in range(1, 20)))

    assert len(written.fields("RequestRefused")) == 1
    assert written.levels("RequestRefused") == [logging.WARNING]


# Events


def says(house: House, *said: IncomingResponse | WebhookFailed) -> None:
    """What the handler says to user events one after the other; nothing to all else."""
    house.directory.hubs[HUB] = handling(handler(systemEvents=["disconnected"]))
    left = list(said)

    def answers(request: OutgoingRequest) -> IncomingResponse | WebhookFailed:
        return left.pop(0) if "user" in dict(request.headers)["ce-type"] and left else NOTHING

    house.upstream.webhook.answers = answers


def told(house: House) -> list[Event]:
    """All user events."""
    return [event for event in parsed_all(house.upstream.webhook.events) if event.type.startswith("user.")]


def status(packet: Packet) -> str | None:
    assert isinstance(packet, Publish)
    return dict(packet.properties.user_properties).get("azure-status-code")


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_answer_to_an_event_comes_before_its_acknowledgement(house: House, version: int, qos: int) -> None:
    says(house, answer(200, b"hi", Content_Type="text/plain", mqtt_n="v"))
    device = await device_of(house, version)
    correlation = (b"\x09\x00\x01c",) if version == 5 else ()

    heard = await device.send(wire.publish(version, EVENT, b"x", qos, 7, said=correlation))

    assert kinds(heard) == [["Publish"], ["Publish", "Puback"], ["Publish", "Pubrec"]][qos]
    message = heard[0]
    assert isinstance(message, Publish)
    assert (message.topic, message.payload) == (f"{EVENT}/succeeded", b"hi")
    assert message.qos == qos
    if qos:
        assert code(heard[1], version, 0)
    if version == 5:
        assert (message.properties.content_type, message.properties.correlation_data) == ("text/plain", b"c")
        assert message.properties.user_properties == (("azure-status-code", "200"), ("n", "v"))


async def test_event_says_what_the_publication_says(house: House) -> None:
    says(house)
    device = await device_of(house, user_id="u")
    said = (b"\x03\x00\x10application/json", wire.user_property("a", "ü"), wire.user_property("a", "2"))

    await device.send(wire.publish(5, EVENT, b"[1]", 1, 7, said=said))

    [event] = told(house)
    assert (event.type, event.data, event.attributes["userid"]) == ("user.e", [1], "u")
    assert event.headers["content-type"] == "application/json"
    [request] = [one for one in house.upstream.webhook.events if one.url.endswith("/e")]
    assert [value for name, value in request.headers if name == "mqtt-a"] == ["%C3%BC", "2"]
    assert event.attributes["sessionid"] == device.session_id


@pytest.mark.parametrize(
    ("version", "said", "expected"),
    [
        (4, (), "application/octet-stream"),
        (5, (), "application/octet-stream"),
        (5, (b"\x01\x00",), "application/octet-stream"),
        (5, (b"\x01\x01",), "text/plain; charset=utf-8"),
        (5, (b"\x03\x00\x09image/png",), "image/png"),
    ],
)
async def test_event_has_a_content_type(house: House, version: int, said: tuple[bytes, ...], expected: str) -> None:
    """Handlers rely on one."""
    says(house)
    device = await device_of(house, version)

    await device.send(wire.publish(version, EVENT, b"x", 1, 7, said=said))

    assert told(house)[0].headers["content-type"] == expected


@VERSIONS
async def test_event_that_nobody_is_told_of_is_answered_404(house: House, version: int) -> None:
    device = await device_of(house, version)

    message, puback = await device.send(wire.publish(version, EVENT, b"x", 1, 7))

    assert isinstance(message, Publish)
    assert message.topic == f"{EVENT}/failed"
    assert status(message) == ("404" if version == 5 else None)
    assert code(puback, version, 0x10)
    assert device.code is None
    assert house.telemetry.ack_errors == {}


@pytest.mark.parametrize("event", ["", ".", "..", "a/b"])
async def test_event_without_a_name_that_can_be_told_is_no_topic(house: House, event: str) -> None:
    says(house)
    device = await device_of(house)

    [puback] = await device.send(wire.publish(5, f"$webpubsub/server/events/{event}", b"x", 1, 7))

    assert code(puback, 5, 0x90)
    assert house.upstream.webhook.events == []


@VERSIONS
@pytest.mark.parametrize(
    ("said", "expected", "body"),
    [
        (answer(400, b"no", Content_Type="text/plain"), "400", b"no"),
        (answer(500, b"oh", Content_Type="text/plain"), "500", b"oh"),
        (WebhookFailed("too slow", "timeout"), "500", b""),
        (IncomingResponse(200, (("ce-connectionState", "x" * 100_000),)), "500", b""),
    ],
)
async def test_event_that_fails_is_answered_and_ends_nothing(
    house: House, version: int, said: IncomingResponse | WebhookFailed, expected: str, body: bytes
) -> None:
    says(house, *[said] * 9)
    device = await device_of(house, version)

    message, puback = await device.send(wire.publish(version, EVENT, b"x", 1, 7))

    assert isinstance(message, Publish)
    assert (message.topic, message.payload) == (f"{EVENT}/failed", body)
    assert status(message) == (expected if version == 5 else None)
    assert code(puback, version, 0)
    assert device.code is None


async def test_state_that_an_answer_gives_is_told_with_the_next_event_and_after_a_new_socket(house: House) -> None:
    says(house, answer(204, ce_connectionState="1"), answer(204), answer(204, ce_connectionState="3"))
    device = await device_of(house)
    event = wire.publish(5, EVENT, b"x", 1, 7)
    await device.send(event, event)
    device.lose()
    await device.connect(clean=False)
    await device.send(event)
    await device.send(wire.disconnect(0, b"\x11" + wire.four(0)))
    await settle()

    states = [event.headers.get("ce-connectionstate") for event in parsed_all(house.upstream.webhook.events)]
    assert states == [None, "1", "1", "3"]


async def test_physical_id_is_that_of_the_latest_socket(house: House) -> None:
    says(house)
    device = await device_of(house)
    await device.send(wire.publish(5, EVENT, b"x", 1, 7))
    await device.connect(clean=False)
    await device.send(wire.publish(5, EVENT, b"x", 1, 8))

    first, second = told(house)
    assert first.attributes["physicalconnectionid"] != second.attributes["physicalconnectionid"]
    assert first.attributes["sessionid"] == second.attributes["sessionid"]


async def test_answer_waits_for_a_client_that_is_away(house: House) -> None:
    free = held(house)
    device = await device_of(house)
    work = device.sending(wire.publish(5, EVENT, b"x", 1, 7))
    await settle()
    device.lose()
    free.set()
    await work

    await device.connect(clean=False)

    assert [topic for topic, _ in device.messages] == [f"{EVENT}/succeeded"]


def held(house: House, said: IncomingResponse = NOTHING) -> asyncio.Event:
    """Let answers to user events wait until this is set."""
    says(house)
    free = asyncio.Event()

    async def wait() -> IncomingResponse:
        await free.wait()
        return said

    house.upstream.webhook.answers = lambda request: wait() if request.url.endswith("/e") else NOTHING
    return free


async def test_packets_behind_an_event_wait_for_its_answer(house: House) -> None:
    free = held(house)
    device = await device_of(house)
    work = device.sending(wire.publish(5, EVENT, b"x", 1, 7) + wire.publish(5, "g", b"y", 1, 8))
    await settle()
    assert kinds(device.heard) == ["Connack"]

    free.set()
    await work
    await settle()

    assert device.heard[2:] == [Puback(7), Puback(8)]


async def test_ping_in_the_message_of_an_event_does_not_wait_for_it(house: House) -> None:
    held(house)
    device = await device_of(house)
    work = device.sending(wire.publish(5, EVENT, b"x", 1, 7) + wire.PINGREQ)
    await settle()

    assert device.heard[1:] == [Pingresp()]
    work.cancel()


@VERSIONS
async def test_event_of_a_client_that_is_gone_for_good_is_not_sent_again(house: House, version: int) -> None:
    free = held(house, IncomingResponse(503))
    device = Device(house, "d", version)
    await device.connect(clean=True)
    work = device.sending(wire.publish(version, EVENT, b"x", 1, 7) + wire.publish(version, EVENT, b"y", 1, 8))
    await settle()
    house.gateway.hung_up(device.connection, device.sink)

    free.set()
    await work

    assert [event.data for event in told(house)] == ["x"], "neither again nor the next one"


async def test_event_of_a_client_that_may_come_back_is_sent_again(house: House) -> None:
    free = held(house, IncomingResponse(503))
    device = await device_of(house)
    work = device.sending(wire.publish(5, EVENT, b"x", 1, 7))
    await settle()
    house.gateway.hung_up(device.connection, device.sink)

    free.set()
    await work

    assert len(told(house)) > 1


async def test_nothing_is_said_to_a_client_that_ended_meanwhile(house: House) -> None:
    free = held(house)
    device = Device(house, "d")
    await device.connect(clean=True)
    work = device.sending(wire.publish(5, EVENT, b"x", 1, 7))
    await settle()
    device.lose()

    free.set()
    await work
    await settle()

    assert kinds(device.heard) == ["Connack"]
    assert len(house.ended) == 1


async def test_thousand_filters_of_one_packet_leave_turns_to_others(house: House) -> None:
    """They are joined some hundred in one turn, and answered together."""
    device = await device_of(house)
    filters = [(f"g{number}", 1) for number in range(1000)]
    joining = device.sending(wire.subscribe(5, 7, *filters))
    await asyncio.sleep(0)
    connection = device.newcomer.connection
    assert connection is not None
    assert 0 < len(connection.groups) < 1000

    await joining
    await settle()
    [answer] = [packet for packet in device.heard if isinstance(packet, Suback)]
    assert (answer.packet_id, answer.codes) == (7, (1,) * 1000)
