"""Sessions of MQTT clients: who begins one, who goes on with one, and how each ends."""

import asyncio
import gc
from collections import Counter
from typing import Any

import pytest

from cloud_events import Event, parsed_all
from doubles import ALL_ROLES, HUB, settle
from gateway.devices import Device
from gateway.house import House
from gateway.written import Written
from handlers import NOTHING, handler, handling
from hubwire.gateway.arrivals import MqttOptions
from hubwire.model.commands import AddToGroups, Close, Exists, PermissionRule
from hubwire.model.targets import to_connection, to_group, to_hub, to_user
from hubwire.model.telemetry import CloseCategory
from hubwire.model.webhooks import IncomingResponse
from hubwire.protocols.mqtt.packets import Connack, Disconnect, Pingresp, Puback, Publish, Suback
from vectors import mqtt_wire as wire

VERSIONS = pytest.mark.parametrize("version", [4, 5])
SEND = "webpubsub.sendToGroup"
JOIN = "webpubsub.joinLeaveGroup"
PRESENCE = {"eventNames": ["joined", "left"]}


@pytest.fixture
def house() -> House:
    return House()


ONE_AT_A_TIME = (b"\x21\x00\x01",)
"""Receive Maximum of a client: all but one of its messages wait."""


def telling_house(*handlers: dict[str, Any], **more: Any) -> House:
    """One whose handler is told how sessions begin and end, and is not asked."""
    house = House(**more)
    house.directory.hubs[HUB] = handling(*(handlers or (handler(systemEvents=["connected", "disconnected"]),)))
    return house


def events(house: House, type: str) -> list[Event]:
    return [event for event in parsed_all(house.upstream.webhook.events) if event.type == type]


def endings(house: House) -> list[tuple[str, str | None, bool, int | None]]:
    """What handlers are told of the ends of sessions: id, reason, initiated by the client, code."""
    found = []
    for event in events(house, "sys.disconnected"):
        packet = event.data["mqtt"]["disconnectPacket"]
        code = None if packet is None else packet["code"]
        initiated = event.data["mqtt"]["initiatedByClient"]
        found.append((event.attributes["sessionid"], event.data["reason"], initiated, code))
    return found


async def count(house: House, group: str) -> int:
    return (await house.node.ask(Exists(to_group(HUB, group)))).count


def retained(house: House) -> int:
    return house.telemetry.retained


# Going on


@VERSIONS
async def test_session_goes_on_by_another_socket(house: House, version: int, written: Written) -> None:
    device = Device(house, "d", version, user_id="u", groups=["g"])
    await device.connect(clean=False)
    connection = device.connection
    device.lose()
    assert retained(house) == 1
    house.send("g", "missed")
    await settle()

    heard = await device.connect(wire.PINGREQ, clean=False)

    assert [type(packet) for packet in heard] == [Connack, Publish, Pingresp]
    assert device.connack.session_present
    assert device.messages == [("g", b"missed")]
    assert device.connection is connection
    assert (retained(house), house.telemetry.opened, house.telemetry.recoveries) == (0, 1, 1)
    assert written.operations == ["ConnectionStarted", "ConnectionRecovered"]
    await house.loop.advance(100)
    assert house.ended == []


@VERSIONS
async def test_clean_client_finds_no_session(house: House, version: int) -> None:
    device = Device(house, "d", version, groups=["g"])
    await device.connect(clean=False)
    first = device.connection
    device.lose()

    await device.connect(clean=True)

    assert not device.connack.session_present
    assert device.connection is not first
    assert [ended[0] for ended in house.ended] == [first]
    assert (retained(house), house.telemetry.connections, await count(house, "g")) == (0, 1, 1)


@pytest.mark.parametrize(("first", "second"), [(4, 5), (5, 4)])
async def test_client_may_come_back_with_another_version(house: House, first: int, second: int) -> None:
    device = Device(house, "d", first, groups=["g"])
    await device.connect(clean=False)
    other = Device(house, "g-sender", 5)
    await other.connect()
    device.lose()
    await other.send(wire.publish(5, "g", b"1", 1, 1))
    device.version = second

    await device.connect(clean=False)
    await other.send(wire.publish(5, "g", b"2", 1, 1))

    assert device.connack.session_present
    assert device.messages == [("g", b"1"), ("g", b"2")]
    assert device.session.version == second
    assert device.connection.codec is device.session.codec
    device.version = first
    await device.connect(clean=False)
    assert device.connack.session_present
    assert device.messages[:2] == [("g", b"1"), ("g", b"2")], "nothing was acknowledged"


async def test_client_that_comes_back_from_elsewhere_is_recorded_from_there(house: House) -> None:
    device = Device(house)
    await device.connect(clean=False)
    device.connection.client_ip = "198.51.100.1"

    await device.connect(clean=False)

    assert device.connection.client_ip == "192.0.2.1"


@VERSIONS
async def test_websocket_that_is_closed_as_normal_is_no_goodbye_of_mqtt(house: House, version: int) -> None:
    """MQTT has a packet for that."""
    device = Device(house, "d", version)
    await device.connect(clean=False)

    device.lose(1000)
    await device.connect(clean=False)

    assert device.connack.session_present


# Taking over


@VERSIONS
async def test_live_session_is_taken_over_and_its_former_socket_told_so(house: House, version: int) -> None:
    first, second = Device(house, "d", version, groups=["g"]), Device(house, "d", version)
    await first.connect(clean=False)
    house.send("g", "before")

    await second.connect(clean=False)
    house.send("g", "after")
    await settle()

    assert first.code == 1000
    assert first.farewell == (Disconnect(0x8E) if version == 5 else None)
    assert first.messages == [("g", b"before")], "what was accepted before was for the former socket"
    assert second.connack.session_present
    assert second.messages == [("g", b"before"), ("g", b"after")], "again, since it was not acknowledged"
    assert second.connection is first.connection
    assert (house.ended, retained(house), house.telemetry.connections) == ([], 0, 1)


@VERSIONS
async def test_clean_client_ends_a_live_session_and_begins_another(version: int) -> None:
    house = telling_house()
    first, second = Device(house, "d", version, groups=["g"]), Device(house, "d", version)
    await first.connect(clean=False)
    session_id = first.session_id
    house.send("g", "before")

    await second.connect(clean=True)
    await settle()

    assert (first.code, first.messages) == (1000, [("g", b"before")])
    assert first.farewell == (Disconnect(0x8E) if version == 5 else None)
    assert (second.connack.session_present, second.messages, second.code) == (False, [], None)
    code = 0x8E if version == 5 else None
    assert endings(house) == [(session_id, "The client has begun a new session.", False, code)]
    assert [event.attributes["sessionid"] for event in events(house, "sys.connected")] == [
        session_id,
        second.session_id,
    ]


@VERSIONS
async def test_session_that_would_end_with_its_socket_is_not_taken_over(house: House, version: int) -> None:
    first, second = Device(house, "d", version), Device(house, "d", version)
    await first.connect(clean=True)

    await second.connect(clean=False)

    assert (first.code, second.connack.session_present) == (1000, False)
    assert [ended[0] for ended in house.ended] == [first.connection]


async def test_session_is_taken_over_several_times_in_a_row(house: House) -> None:
    devices = [Device(house, "d") for _ in range(5)]
    for device in devices:
        await device.connect(clean=False)

    assert [device.code for device in devices] == [1000, 1000, 1000, 1000, None]
    assert {device.connection for device in devices} == {devices[0].connection}
    for device in devices[:-1]:
        device.lose()
    assert devices[-1].connection.sink is devices[-1].sink
    assert house.telemetry.connections == 1


@pytest.mark.parametrize("clean", [False, True])
async def test_two_who_come_with_one_id_while_the_handler_is_asked_do_not_both_stay(clean: bool) -> None:
    house = House()
    house.directory.hubs[HUB] = handling(handler())
    free = asyncio.Event()

    async def held() -> IncomingResponse:
        await free.wait()
        return NOTHING

    house.upstream.webhook.answers = lambda request: held() if request.url.endswith("/connect") else NOTHING
    first, second = Device(house, "d"), Device(house, "d")
    works = []
    for device in (first, second):
        device.upgrade()
        works.append(device.sending(device.packet(clean=clean)))
    await settle()

    free.set()
    await asyncio.gather(*works)
    await settle()

    assert (first.connack.session_present, second.connack.session_present) == (False, not clean)
    assert first.farewell == Disconnect(0x8E)
    assert second.code is None
    assert house.node.connections() == [second.connection]
    assert house.gateway._admission.places(HUB.resource) == (0, 1)
    assert len(events(house, "sys.connected")) == (2 if clean else 1)


@pytest.mark.parametrize("clean", [False, True])
async def test_two_who_come_with_one_id_while_the_first_waits_for_its_topics_do_not_both_stay(clean: bool) -> None:
    house = House()
    subscribed = house.bus.hold()
    first, second = Device(house, "d"), Device(house, "d")
    works = []
    for device in (first, second):
        device.upgrade()
        works.append(device.sending(device.packet(clean=clean)))
    await settle()
    assert (first.heard, second.heard) == ([], [])

    house.bus.gate = None
    subscribed.set_result(None)
    await asyncio.gather(*works)
    await settle()

    assert (first.connack.session_present, second.connack.session_present) == (False, not clean)
    assert first.farewell == Disconnect(0x8E)
    assert house.node.connections() == [second.connection]
    assert second.connection.sink is second.sink
    assert (house.telemetry.connections, house.gateway._admission.places(HUB.resource)) == (1, (0, 1))
    second.lose()
    assert retained(house) == (0 if clean else 1)


async def test_who_waits_for_another_with_its_id_and_leaves_does_not_take_over(house: House) -> None:
    subscribed = house.bus.hold()
    first, second = Device(house, "d"), Device(house, "d")
    works = []
    for device in (first, second):
        device.upgrade()
        works.append(device.sending(device.packet()))
    await settle()
    second.lose()

    subscribed.set_result(None)
    await asyncio.gather(*works)
    await settle()

    assert (first.code, second.heard) == (None, [])
    assert house.node.connections() == [first.connection]


async def test_session_that_cannot_begin_leaves_the_way_to_the_next_one(house: House) -> None:
    subscribed = house.bus.hold()
    device = Device(house, "d")
    device.upgrade()
    work = device.sending(device.packet())
    await settle()
    house.bus.gate = None
    subscribed.set_exception(RuntimeError("no bus"))
    with pytest.raises(RuntimeError, match="no bus"):
        await work
    assert house.gateway._admission.places(HUB.resource) == (0, 0)

    await device.connect()

    assert device.connack.code == 0


# Whose session it is


def refused(device: Device) -> bool:
    assert device.connack.code == (0x85 if device.version == 5 else 2)
    assert not device.is_in
    return device.code == 1000


@VERSIONS
@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("user_id", ["other", None])
async def test_session_of_a_user_is_for_nobody_else(
    version: int, clean: bool, away: bool, user_id: str | None, written: Written
) -> None:
    """Neither to go on with it nor to end it."""
    house = House()
    owner, other = Device(house, "d", version, user_id="u"), Device(house, "d", version, user_id=user_id)
    await owner.connect(clean=False)
    if away:
        owner.lose()

    await other.connect(clean=clean)

    assert refused(other)
    assert owner.code is None
    assert owner.connection.alive
    assert house.telemetry.closed[CloseCategory.UNAUTHORIZED] == 1
    assert "mqtt_session_takeover" in written.text
    if version == 5:
        assert "mqtt_session_takeover" not in (other.connack.properties.reason_string or "")


@VERSIONS
async def test_session_of_another_user_is_taken_over_where_the_operator_wants_that(version: int) -> None:
    house = House(mqtt=MqttOptions(takeover="azure"))
    owner = Device(house, "d", version, user_id="u", roles=[f"{SEND}.x"])
    other = Device(house, "d", version, user_id="other", roles=[])
    await owner.connect(clean=False)

    await other.connect(clean=False)

    assert other.connack.session_present
    assert other.connection.user_id == "u", "as documented: it keeps its user, and its roles"
    assert other.connection.permissions.allows("sendToGroup", "x")
    assert (await house.node.ask(Exists(to_user(HUB, "other")))).count == 0


@VERSIONS
@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize(
    ("other", "cause"),
    [
        ({"user_id": "u"}, "without a user, and this client has one"),
        ({"roles": []}, "with roles that this client does not have"),
        ({"roles": [f"{SEND}.a", JOIN]}, "with roles that this client does not have"),
        ({"roles": [f"{SEND}.a", f"{SEND}s.b*"]}, "with groups that this client may not join"),
    ],
)
async def test_session_without_a_user_is_for_nobody_who_was_given_less(
    version: int, clean: bool, away: bool, other: dict[str, Any], cause: str, written: Written
) -> None:
    """Neither to go on with it nor to end it."""
    house = House()
    owner = Device(house, "d", version, roles=[f"{SEND}.a", f"{SEND}s.b*"], groups=["g"])
    newcomer = Device(house, "d", version, **{"roles": ALL_ROLES, **other})
    await owner.connect(clean=False)
    if away:
        owner.lose()

    await newcomer.connect(clean=clean)

    assert refused(newcomer)
    assert owner.code is None
    assert owner.connection.alive
    assert house.telemetry.closed[CloseCategory.UNAUTHORIZED] == 1
    assert f"(the client id has a session {cause} (mqtt_session_takeover))" in written.text


@VERSIONS
@pytest.mark.parametrize(
    "other",
    [
        {"roles": [f"{SEND}.a", f"{SEND}s.b*"], "groups": ["g", "h"]},
        {"roles": [SEND, f"{JOIN}.g"]},
        {"roles": [SEND, JOIN]},
    ],
)
@pytest.mark.parametrize("clean", [False, True])
async def test_session_without_a_user_is_for_others_without_one_who_were_given_no_less(
    house: House, version: int, clean: bool, other: dict[str, Any]
) -> None:
    owner = Device(house, "d", version, roles=[f"{SEND}.a", f"{SEND}s.b*"], groups=["g"])
    newcomer = Device(house, "d", version, **other)
    await owner.connect(clean=False)

    await newcomer.connect(clean=clean)

    assert (newcomer.connack.session_present, owner.code) == (not clean, 1000)
    assert newcomer.connection.permissions.allows("sendToGroup", "a")
    assert newcomer.connection.user_id is None


async def test_what_rest_has_given_to_a_session_since_need_not_be_shown_by_who_comes_back(house: House) -> None:
    device = Device(house, "d", roles=[])
    await device.connect(clean=False)
    await house.node.ask(PermissionRule("grant", to_connection(HUB, "d"), "sendToGroup", "a"))
    await house.node.ask(AddToGroups(to_connection(HUB, "d"), ("g",)))
    device.lose()

    await device.connect(clean=False)

    assert device.connack.session_present
    assert device.connection.permissions.allows("sendToGroup", "a")
    assert list(device.connection.groups) == ["g"]


async def test_role_that_rest_has_taken_from_a_session_must_still_be_shown(house: House) -> None:
    """REST may give it back at any time."""
    owner, other = Device(house, "d", roles=[f"{SEND}.a"]), Device(house, "d", roles=[])
    await owner.connect(clean=False)
    await house.node.ask(PermissionRule("revoke", to_connection(HUB, "d"), "sendToGroup", "a"))

    await other.connect(clean=False)

    assert refused(other)


async def test_groups_that_are_no_topics_need_not_be_shown(house: House) -> None:
    """The session was never in them."""
    owner, other = Device(house, "d", roles=[], groups=["g/#"]), Device(house, "d", roles=[])
    await owner.connect(clean=False)

    await other.connect(clean=False)

    assert other.connack.session_present


@VERSIONS
async def test_session_without_a_user_is_for_everybody_where_the_operator_wants_that(version: int) -> None:
    house = House(mqtt=MqttOptions(takeover="azure"))
    owner = Device(house, "d", version, groups=["g"])
    other = Device(house, "d", version, user_id="u", roles=[])
    await owner.connect(clean=False)

    await other.connect(clean=False)

    assert other.connack.session_present
    assert (other.connection.user_id, list(other.connection.groups)) == (None, ["g"])
    assert other.connection.permissions.allows("sendToGroup", "a")


async def test_roles_that_the_handler_gives_are_the_ones_that_count() -> None:
    house = House()
    house.directory.hubs[HUB] = handling(handler())
    says: list[bytes] = [b'{"roles":["webpubsub.sendToGroup.a"]}']
    house.upstream.webhook.answers = lambda request: (
        IncomingResponse(200, (), says[0]) if request.url.endswith("/connect") else NOTHING
    )
    device = Device(house, "d", roles=[])
    await device.connect(clean=False)

    await device.connect(clean=False)
    assert device.connack.session_present

    says[0] = b"{}"
    await device.connect(clean=False)
    assert refused(device)


async def test_user_that_the_handler_names_is_the_one_that_counts() -> None:
    house = House()
    house.directory.hubs[HUB] = handling(handler())
    users = {"token-1": b'{"userId":"u"}', "token-2": b'{"userId":"v"}'}

    def answers(request: Any) -> IncomingResponse:
        user = dict(request.headers).get("ce-userId", "")
        return IncomingResponse(200, (), users.get(user, b"{}")) if request.url.endswith("/connect") else NOTHING

    house.upstream.webhook.answers = answers
    owner, thief = Device(house, "d", user_id="token-1"), Device(house, "d", user_id="token-2")
    await owner.connect(clean=False)
    await thief.connect(clean=False)
    assert refused(thief)

    await owner.connect(clean=False)
    assert owner.connack.session_present


@VERSIONS
@pytest.mark.parametrize("options", [MqttOptions(), MqttOptions(takeover="azure")], ids=["same-user", "azure"])
async def test_id_of_a_client_of_another_protocol_is_nobody_elses(version: int, options: MqttOptions) -> None:
    """And no handler is asked for that."""
    house = House(mqtt=options)
    house.directory.hubs[HUB] = handling(handler())
    json = await house.json()
    asked = len(house.upstream.webhook.requests)
    device = Device(house, json.connection.id, version)

    for clean in (False, True):
        await device.connect(clean=clean)
        assert refused(device)

    assert json.connection.alive
    assert json.sink.closed is None
    assert len(house.upstream.webhook.requests) == asked


# How long it waits


@pytest.mark.parametrize(("version", "expiry_s", "seconds"), [(4, None, 30), (5, 0xFFFFFFFF, 30), (5, 7, 7)])
async def test_session_waits_for_as_long_as_it_may(version: int, expiry_s: int | None, seconds: int) -> None:
    house = telling_house()
    device = Device(house, "d", version, groups=["g"])
    await device.connect(clean=False, expiry_s=expiry_s)
    session_id = device.session_id
    device.lose()

    await house.loop.advance(seconds - 1)
    assert await count(house, "g") == 1
    await house.loop.advance(2.5)

    assert await count(house, "g") == 0
    assert endings(house) == [(session_id, None, False, None)]
    assert (retained(house), house.telemetry.connections, house.loop.timers) == (0, 0, 0)


@pytest.mark.parametrize(("version", "how"), [(4, {}), (5, {}), (5, {"expiry_s": 0})])
async def test_session_that_is_not_to_wait_ends_with_its_socket(version: int, how: dict[str, Any]) -> None:
    house = telling_house()
    device = Device(house, "d", version)
    await device.connect(clean=True, **how)
    session_id = device.session_id
    device.lose()
    await settle()

    assert endings(house) == [(session_id, None, False, None)]
    assert house.loop.timers == 0


async def test_session_whose_time_is_over_is_not_taken_up_again_before_it_is_swept(house: House) -> None:
    """They are swept a moment later, many together."""
    device = Device(house, groups=["g"])
    await device.connect(clean=False, expiry_s=10)
    first = device.connection
    device.lose()
    await house.loop.advance(10)
    assert house.ended == []

    await device.connect(clean=False, expiry_s=10)

    assert not device.connack.session_present
    assert [ended[:3] for ended in house.ended] == [(first, CloseCategory.NORMAL, 1006)]
    assert (retained(house), house.telemetry.connections) == (0, 1)
    await house.loop.advance(60)
    assert device.connection.alive


async def test_session_is_taken_up_after_a_time_in_which_nobody_was_let_in(house: House) -> None:
    """What stood still was the server, and the client's packet is read before anything is swept."""
    device = Device(house)
    await device.connect(clean=False)
    device.lose()
    house.loop.jump(600)

    await device.connect(clean=False)

    assert device.connack.session_present
    await house.loop.advance(60)
    assert device.connection.alive


async def test_session_that_waits_for_the_shortest_time_is_ended_first(house: House) -> None:
    long, short = Device(house, "long"), Device(house, "short")
    await long.connect(clean=False, expiry_s=30)
    await short.connect(clean=False, expiry_s=2)
    reliable = await house.client("json.reliable.webpubsub.azure.v1")
    long.lose()
    reliable.drop()
    short.lose()

    ended = []
    for _ in range(40):
        await house.loop.advance(1)
        ended.append(len(house.ended))

    assert [one[0].id for one in house.ended] == ["short", "long", reliable.connection.id]
    assert (ended[1], ended[3], ended[28], ended[31]) == (0, 1, 1, 2)


async def test_client_that_comes_back_may_change_how_long_its_session_waits(house: House) -> None:
    device = Device(house)
    await device.connect(clean=False, expiry_s=30)
    await device.connect(clean=False, expiry_s=3)
    device.lose()

    await house.loop.advance(5)

    assert len(house.ended) == 1


async def test_client_that_comes_back_without_a_time_ends_its_session_with_that_socket(house: House) -> None:
    device = Device(house)
    await device.connect(clean=False)
    device.lose()

    await device.connect(clean=False, expiry_s=0)
    assert device.connack.session_present
    device.lose()

    assert (len(house.ended), retained(house)) == (1, 0)


# How it ends


GOODBYES: list[tuple[str, int, bytes, tuple[str | None, bool, int | None]]] = [
    ("3.1.1", 4, wire.disconnect(), (None, True, 0)),
    ("5.0", 5, wire.disconnect(0), (None, True, 0)),
    ("with a reason", 5, wire.disconnect(0x80, b"\x1f\x00\x03why"), ("why", True, 0x80)),
    ("with the will", 5, wire.disconnect(4), (None, True, 4)),
]


@pytest.mark.parametrize(
    ("version", "goodbye", "told"), [row[1:] for row in GOODBYES], ids=[row[0] for row in GOODBYES]
)
async def test_goodbye_of_a_client_is_told_at_the_end_of_its_session(
    version: int, goodbye: bytes, told: tuple[str | None, bool, int | None]
) -> None:
    house = telling_house()
    clean, kept = Device(house, "clean", version), Device(house, "kept", version)
    ids = []
    for device in (clean, kept):
        await device.connect(clean=device is clean)
        ids.append(device.session_id)

        assert await device.send(goodbye, wire.PINGREQ) == []

        assert device.code == 1000
        device.lose(1000)
    await settle()
    assert endings(house) == [(ids[0], *told)]

    await house.loop.advance(40)
    assert endings(house) == [(ids[0], *told), (ids[1], *told)]


async def test_goodbye_may_end_a_session_at_once(house: House) -> None:
    device = Device(house)
    await device.connect(clean=False)

    await device.send(wire.disconnect(0, b"\x11" + wire.four(0)))

    assert (len(house.ended), retained(house), device.code) == (1, 0, 1000)


async def test_user_properties_of_a_goodbye_are_told() -> None:
    house = telling_house()
    device = Device(house)
    await device.connect()
    await device.send(wire.disconnect(0, wire.user_property("a", "b")))
    await settle()

    [event] = events(house, "sys.disconnected")
    assert event.data["mqtt"]["disconnectPacket"]["userProperties"] == [{"name": "a", "value": "b"}]


async def test_goodbye_of_before_is_not_told_of_a_session_that_went_on() -> None:
    house = telling_house()
    device = Device(house)
    await device.connect(clean=False)
    await device.send(wire.disconnect(0x80))
    await device.connect(clean=False)
    device.lose()

    await house.loop.advance(40)

    assert [ending[1:] for ending in endings(house)] == [(None, False, None)]


@VERSIONS
@pytest.mark.parametrize("away", [False, True])
async def test_application_ends_a_session(version: int, away: bool) -> None:
    house = telling_house()
    device = Device(house, "d", version, groups=["g"])
    await device.connect(clean=False)
    session_id = device.session_id
    if away:
        device.lose()

    answer = await house.node.ask(Close(to_connection(HUB, "d"), reason="enough"))
    await settle()

    assert answer.count == 1
    code = 0x98 if version == 5 and not away else None
    assert endings(house) == [(session_id, "enough", False, code)]
    assert (retained(house), await count(house, "g")) == (0, 0)
    if not away:
        assert device.code == 1000
        assert (device.farewell is not None) == (version == 5)
        if device.farewell is not None:
            assert (device.farewell.code, device.farewell.properties.reason_string) == (0x98, "enough")
    await device.connect(clean=False)
    assert not device.connack.session_present


@VERSIONS
async def test_server_that_goes_away_ends_sessions_with_and_without_a_socket(version: int, written: Written) -> None:
    house = telling_house()
    live, away = Device(house, "live", version), Device(house, "away", version)
    ids = {}
    for device in (live, away):
        await device.connect(clean=False)
        ids[device.client_id] = device.session_id
    away.lose()
    house.gateway.stop()

    house.gateway.farewell(live.connection)
    await house.gateway.end()
    await settle()

    text = "The server is shutting down."
    code = 0x8B if version == 5 else None
    assert endings(house) == [(ids["live"], text, False, code), (ids["away"], text, False, None)]
    assert (live.farewell is not None, live.sink.closed is not None) == (version == 5, True)
    if live.farewell is not None:
        assert live.farewell.code == 0x8B
    assert house.loop.timers == 0 or retained(house) == 0
    assert "RequestRefused" not in written.operations, "a warning for each device would say nothing"


@VERSIONS
@pytest.mark.parametrize("clean", [False, True])
async def test_client_that_is_silent_for_too_long_loses_its_socket(version: int, clean: bool, written: Written) -> None:
    house = telling_house()
    device = Device(house, "d", version)
    await device.connect(clean=clean, keep_alive_s=60)
    assert house.gateway.keep_alive_s(device.connection) == 90

    house.gateway.timed_out(device.connection)
    await house.loop.advance(40)

    assert device.code == 1000
    assert (device.farewell == Disconnect(0x8D, device.farewell.properties)) if device.farewell else version == 4
    [ending] = endings(house)
    assert ending[2:] == (False, 0x8D if version == 5 else None)
    assert [one[1] for one in house.ended] == [CloseCategory.PING_TIMEOUT]
    assert written.operations[-1] == "ConnectionAborted"


@pytest.mark.parametrize(("version", "told"), [(4, 0), (5, 180)])
async def test_keep_alive_is_the_effective_one(house: House, version: int, told: int) -> None:
    device = Device(house, "d", version)
    await device.connect(keep_alive_s=0)

    assert house.gateway.keep_alive_s(device.connection) == told * 3 // 2
    assert device.connack.properties.server_keep_alive_s == (180 if version == 5 else None)


@VERSIONS
async def test_client_that_breaks_mqtt_loses_its_socket_and_keeps_its_session(house: House, version: int) -> None:
    device = Device(house, "d", version)
    await device.connect(clean=False)

    await device.send(b"\xc1\x00")

    assert device.code == (1000 if version == 5 else 1002)
    assert device.connection.alive
    assert house.telemetry.closed[CloseCategory.BAD_REQUEST] == 0
    await device.connect(clean=False)
    assert device.connack.session_present
    assert await device.send(wire.PINGREQ) == [Pingresp()]


async def test_client_that_acknowledges_too_little_ends_with_its_session() -> None:
    house = telling_house(queue_messages=3)
    device = Device(house, "d", groups=["g"])
    await device.connect(clean=False, said=ONE_AT_A_TIME)
    for number in range(5):
        house.send("g", str(number))
    await settle()

    assert device.sink.closed is not None
    assert [one[1] for one in house.ended] == [CloseCategory.SLOW_CLIENT]
    assert [ending[2:] for ending in endings(house)] == [(False, 0x97)]
    await device.connect(clean=False)
    assert not device.connack.session_present


async def test_what_an_acknowledgement_makes_room_for_is_sent_in_its_order_and_in_the_same_turn(house: House) -> None:
    device = Device(house, groups=["g"])
    await device.connect(clean=False, said=(b"\x21\x00\x02",))
    for text in "abc":
        house.send("g", text)
    await settle()

    house.send("g", "d")
    house.gateway.receive(device.connection, wire.acknowledge(wire.PUBACK, 1) + wire.acknowledge(wire.PUBACK, 2))
    house.send("g", "e")
    await settle()
    assert device.messages == [("g", text) for text in (b"a", b"b", b"c", b"d")]
    assert await device.send(wire.acknowledge(wire.PUBACK, 3)) != []
    assert device.messages[4:] == [("g", b"e")]
    house.send("g", "f")
    await settle()
    assert len(device.messages) == 5

    assert await device.send(wire.acknowledge(wire.PUBACK, 5)) != []
    assert device.messages[5:] == [("g", b"f")]


@VERSIONS
async def test_client_that_is_there_may_have_more_on_its_way_than_may_wait(version: int) -> None:
    house = telling_house(queue_messages=3)
    device = Device(house, "d", version, groups=["g"])
    await device.connect(clean=False)
    for number in range(30):
        house.send("g", str(number))
    await settle()

    messages = [packet for packet in device.heard if isinstance(packet, Publish)]
    assert [packet.payload for packet in messages] == [str(number).encode() for number in range(30)]
    assert house.ended == []


async def test_session_that_is_away_for_too_many_messages_ends(house: House) -> None:
    device = Device(house, groups=["g"])
    await device.connect(clean=False)
    device.lose()
    for number in range(6):
        house.send("g", str(number))
    await settle()

    assert [one[1] for one in house.ended] == [CloseCategory.SLOW_CLIENT]
    assert retained(house) == 0


async def test_session_that_turns_out_to_be_over_when_its_client_comes_back_gives_way_to_a_new_one(
    house: House,
) -> None:
    """What was sent in the same turn was too much for it."""
    device = Device(house, groups=["g"])
    await device.connect(clean=False)
    first = device.connection
    device.lose()
    for number in range(6):
        house.send("g", str(number))

    await device.connect(clean=False)

    assert (device.connack.code, device.connack.session_present) == (0, False)
    assert device.connection is not first
    assert not first.alive


@pytest.mark.parametrize("end", ["goodbye", "loss", "close", "clean", "expiry", "shutdown", "overdue"])
async def test_end_of_a_session_is_told_once_behind_its_memberships(end: str) -> None:
    everything = handler(systemEvents=["connected", "disconnected"], groupPresenceEvents=PRESENCE)
    house = telling_house(everything)
    device = Device(house, groups=["a", "b"])
    await device.connect(clean=end in ("loss", "goodbye"))
    session_id = device.session_id
    match end:
        case "goodbye":
            await device.send(wire.disconnect())
            device.lose(1000)
        case "loss":
            device.lose()
            device.lose()
        case "close":
            await house.node.ask(Close(to_hub(HUB)))
            device.lose(1000)
        case "clean":
            await Device(house).connect(clean=True)
            device.lose(1000)
        case "expiry":
            device.lose()
            await house.loop.advance(100)
        case "shutdown":
            await house.gateway.end()
            device.lose(1000)
        case "overdue":
            device.lose()
            await house.loop.advance(30)
            await Device(house).connect(clean=False)
    await settle()
    await house.loop.advance(100)

    mine = [
        event.type
        for event in parsed_all(house.upstream.webhook.events)
        if event.attributes.get("sessionid") == session_id
    ]
    assert [type for type in mine if type != "sys.connected"] == [
        "gp.joined",
        "gp.joined",
        "gp.left",
        "gp.left",
        "sys.disconnected",
    ]
    assert len([one for one in house.ended if one[0] is device.connection]) == 1
    kept = [key for _, key in house.upstream.journal.kept]
    assert not any(session_id in key for key in kept)


# Requests that wait for a handler


def held_events(house: House) -> asyncio.Event:
    """Let answers to user events wait until this is set."""
    house.directory.hubs[HUB] = handling(handler(systemEvents=["disconnected"]))
    free = asyncio.Event()

    async def held() -> IncomingResponse:
        await free.wait()
        return IncomingResponse(204)

    house.upstream.webhook.answers = lambda request: held() if request.url.endswith("/e") else NOTHING
    return free


def event(packet_id: int = 1, qos: int = 1, version: int = 5, **more: Any) -> bytes:
    return wire.publish(version, "$webpubsub/server/events/e", b"x", qos, packet_id, **more)


@VERSIONS
async def test_fault_behind_a_request_that_waits_comes_behind_its_answer(house: House, version: int) -> None:
    free = held_events(house)
    device = Device(house, "d", version)
    await device.connect(clean=False)
    work = device.sending(event(version=version) + b"\xc1\x00")
    await settle()
    assert (device.code, len(device.heard)) == (None, 1)

    free.set()
    await work
    await settle()

    assert [type(packet) for packet in device.heard[1:3]] == [Publish, Puback]
    assert device.code == (1000 if version == 5 else 1002)


@VERSIONS
async def test_goodbye_behind_a_request_that_waits_comes_behind_its_answer(house: House, version: int) -> None:
    free = held_events(house)
    device = Device(house, "d", version)
    await device.connect(clean=False)
    work = device.sending(event(version=version) + wire.disconnect())
    await settle()
    assert device.code is None

    free.set()
    await work
    await settle()

    assert [type(packet) for packet in device.heard[1:]] == [Publish, Puback]
    assert device.code == 1000


@pytest.mark.parametrize("behind", [wire.disconnect(), wire.disconnect(0, b"\x11" + wire.four(5)), b"\xc1\x00"])
async def test_end_of_a_socket_that_was_replaced_meanwhile_does_not_end_the_new_one(
    house: House, behind: bytes
) -> None:
    free = held_events(house)
    first, second = Device(house, "d"), Device(house, "d")
    await first.connect(clean=False)
    work = first.sending(event() + behind)
    await settle()
    await second.connect(clean=False)
    assert second.connack.session_present

    free.set()
    await work
    await settle()

    assert second.code is None
    assert second.connection.sink is second.sink
    assert await second.send(wire.PINGREQ) == [Pingresp()]


async def test_goodbye_of_a_new_socket_does_not_wait_for_what_the_former_one_asked(house: House) -> None:
    held_events(house)
    first, second = Device(house, "d"), Device(house, "d")
    await first.connect(clean=False)
    work = first.sending(event())
    await settle()
    await second.connect(clean=False)

    goodbye = second.sending(wire.disconnect())
    await settle()

    assert (goodbye.done(), second.code) == (True, 1000)
    work.cancel()


async def test_event_that_is_repeated_by_a_new_socket_is_told_once_and_answered(house: House) -> None:
    free = held_events(house)
    first, second = Device(house, "d"), Device(house, "d")
    await first.connect(clean=False)
    work = first.sending(event(7))
    await settle()
    first.lose()
    await second.connect(event(7, dup=True), clean=False)

    free.set()
    await work
    await settle()

    assert house.upstream.webhook.told.count("azure.webpubsub.user.e") == 1
    assert [type(packet) for packet in second.heard] == [Connack, Publish, Puback]


async def test_event_that_is_answered_after_its_client_was_given_up_is_not_open_for_ever(house: House) -> None:
    """Its answer waits for the client, and the packet is answered when it is repeated."""
    free = held_events(house)
    device = Device(house, "d")
    await device.connect(clean=False)
    work = device.sending(event(7))
    await settle()
    house.gateway.timed_out(device.connection)
    free.set()
    await work
    await settle()

    heard = await device.connect(event(7, dup=True), clean=False)

    assert [type(packet) for packet in heard][:2] == [Connack, Publish]
    assert Puback(7) in heard


async def test_client_that_does_not_acknowledge_answers_is_ended_and_not_left_deaf(house: House) -> None:
    free = held_events(house)
    free.set()
    device = Device(house, "d")
    await device.connect(clean=False, said=ONE_AT_A_TIME)

    await device.send(*(event(number) for number in range(1, 8)))

    assert device.sink.closed is not None
    assert [one[1] for one in house.ended] == [CloseCategory.SLOW_CLIENT]
    assert device.farewell is not None
    assert device.farewell.code == 0x97


async def test_new_socket_is_not_left_deaf_by_an_answer_to_the_former_one_that_was_one_too_many(house: House) -> None:
    free = held_events(house)
    first, second = Device(house, "d", groups=["g"]), Device(house, "d")
    await first.connect(clean=False)
    work = first.sending(event())
    await settle()
    await second.connect(clean=False, said=ONE_AT_A_TIME)
    for number in range(6):
        house.send("g", str(number))
    await settle()

    free.set()
    await work
    await settle()

    assert second.sink.closed is not None
    assert [one[1] for one in house.ended] == [CloseCategory.SLOW_CLIENT]


# Membership by others


@VERSIONS
async def test_others_put_an_mqtt_client_into_groups_that_are_topics_only(house: House, version: int) -> None:
    device = Device(house, "d", version)
    await device.connect()

    answer = await house.node.ask(AddToGroups(to_connection(HUB, "d"), ("a", "b/+", "#", "$c")))
    house.send("a", "1")
    await settle()

    assert (answer.count, answer.untakable) == (1, True)
    assert list(device.connection.groups) == ["a"]
    assert device.messages == [("a", b"1")]


async def test_clients_of_other_protocols_are_in_groups_that_are_no_topics(house: House) -> None:
    json, device = await house.json(user_id="u"), Device(house, user_id="u")
    await device.connect()

    answer = await house.node.ask(AddToGroups(to_user(HUB, "u"), ("b/+",)))
    house.send("b/+", "1")
    await settle()

    assert (answer.count, answer.untakable) == (2, True)
    assert (json.sink.data, device.messages) == (["1"], [])


@VERSIONS
async def test_subscription_is_a_membership_and_ends_with_it(house: House, version: int) -> None:
    device = Device(house, "d", version)
    await device.connect()
    assert [type(packet) for packet in await device.send(wire.subscribe(version, 1, ("g", 0)))] == [Suback]
    assert await count(house, "g") == 1

    await device.send(wire.unsubscribe(version, 2, "g"))

    assert await count(house, "g") == 0


# What is left


async def _live(house: House, number: int) -> None:
    """All that may happen to a client, and its end."""
    will = wire.Will("g", said=(b"\x18" + wire.four(number % 3),))
    version = 4 + number % 2
    will = will if version == 5 else wire.Will("g")
    device = Device(house, f"d{number % 4}", version, groups=["g", "x/+"])
    await device.connect(clean=False, will=will)
    await device.send(
        wire.subscribe(version, 1, ("h", 1), ("+", 0)),
        wire.publish(version, "h", b"x", 1, 2),
        wire.publish(version, "h", b"x", 2, 3),
        wire.publish(version, "nobody", b"x", 1, 4),
        event(5, version=version),
    )
    device.lose()
    await device.connect(clean=False, will=will)
    other = Device(house, device.client_id, version)
    await other.connect(clean=False, will=will)
    refused_one = Device(house, "no/way", version)
    await refused_one.connect()
    match number % 5:
        case 0:
            await other.send(wire.disconnect())
        case 1:
            await other.send(b"\xc1\x00")
        case 2:
            await house.node.ask(Close(to_hub(HUB)))
        case 3:
            await Device(house, device.client_id, version).connect(clean=True)
        case 4:
            house.gateway.timed_out(other.connection)
    for one in (device, other):
        one.lose()


async def test_nothing_of_a_client_is_left_behind(house: House) -> None:
    """Nor garbage in circles, which would stay until somebody collects it."""
    house.directory.hubs[HUB] = handling(handler(groupPresenceEvents=PRESENCE))
    counts = []
    for _ in range(3):
        for number in range(20):
            await _live(house, number)
        await house.node.ask(Close(to_hub(HUB)))
        await house.loop.advance(100)
        await settle()
        house.upstream.webhook.requests.clear()
        house.ended.clear()
        counts.append(_ours())
        if len(counts) == 1:
            gc.collect()
            gc.disable()
    gc.enable()

    assert (house.node.connections(), retained(house), house.loop.timers) == ([], 0, 0)
    assert house.upstream.journal.kept == {}
    assert house.gateway._admission.places(HUB.resource) == (0, 0)
    assert counts[2] - counts[1] == Counter()


def _ours() -> Counter[str]:
    """How many objects of ours there are, by their kind."""
    # Not every kind says its module as a string.
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in map(type, gc.get_objects()))
    return Counter(name for name in names if name.startswith("hubwire."))
