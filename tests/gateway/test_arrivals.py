"""MQTT clients up to their CONNACK: what is taken, who is asked, and who is sent away with which code."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cloud_events import Event, parsed_all
from doubles import HUB, settle
from gateway.devices import Device
from gateway.house import House
from gateway.written import Written
from handlers import NOTHING, answer, handler, handling
from hubwire.gateway.arrivals import MqttOptions
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.model.commands import Exists
from hubwire.model.errors import NotFound
from hubwire.model.resources import ResourcePolicy
from hubwire.model.targets import to_group, to_user
from hubwire.model.telemetry import CloseCategory
from hubwire.model.webhooks import IncomingResponse, WebhookFailed
from hubwire.protocols.mqtt.arrival import Policy
from hubwire.protocols.mqtt.packets import Connack, Pingresp, Puback, Publish, Suback
from hubwire.upstream import records as upstream_records
from vectors import mqtt_wire as wire

VERSIONS = pytest.mark.parametrize("version", [4, 5])
AZURE = MqttOptions(Policy(client_ids="azure", keep_alive="limited", retain="refuse"), "azure")


@pytest.fixture(autouse=True)
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was told to the operator yet."""
    monkeypatch.setattr(upstream_records, "_quiet", upstream_records._Quiet())


@pytest.fixture
def house() -> House:
    return House()


def asked_house(*handlers: dict[str, Any], **more: Any) -> House:
    """One whose handler is asked about everybody."""
    house = House(**more)
    house.directory.hubs[HUB] = handling(*(handlers or (handler(),)))
    return house


def says(house: House, connect: IncomingResponse | WebhookFailed) -> None:
    """What the handler says to connect; nothing to all else."""
    house.upstream.webhook.answers = lambda request: connect if request.url.endswith("/connect") else NOTHING


def hold(house: House, *answers: IncomingResponse) -> list[asyncio.Event]:
    """Let the answers to connect wait, each until its event is set."""
    free = [asyncio.Event() for _ in answers or (NOTHING,)]
    left = list(zip(free, answers or (NOTHING,), strict=True))

    async def held() -> IncomingResponse:
        event, said = left.pop(0)
        await event.wait()
        return said

    house.upstream.webhook.answers = lambda request: held() if request.url.endswith("/connect") else NOTHING
    return free


def events(house: House) -> list[Event]:
    return parsed_all(house.upstream.webhook.events)


def told(house: House) -> list[str]:
    return [event.type for event in events(house)]


def places(house: House) -> tuple[int, int]:
    """Those on their way in, and all of the resource."""
    return house.gateway._admission.places(HUB.resource)


def beside(house: House) -> int:
    """Those who wait although there is no place."""
    return house.gateway._admission.beside(HUB.resource)


def counted(house: House) -> dict[CloseCategory, int]:
    return {category: count for category, count in house.telemetry.closed.items() if count}


def refused(device: Device, v5: int, v4: int) -> None:
    """It was, with this code and an orderly close frame, and nothing of it is left."""
    [connack] = device.heard
    assert isinstance(connack, Connack)
    assert (connack.code, connack.session_present) == (v5 if device.version == 5 else v4, False)
    assert device.code == 1000
    assert not device.is_in


# The CONNECT


@VERSIONS
async def test_client_whose_connect_is_taken_is_in(house: House, version: int) -> None:
    device = Device(house, "d", version, user_id="u", groups=["g"])

    [connack] = await device.connect()

    assert connack == device.connack
    assert (device.connack.code, device.connack.session_present) == (0, False)
    connection = device.connection
    assert house.node.connection(HUB, "d") is connection
    assert (connection.user_id, connection.subprotocol, connection.client_ip) == ("u", "mqtt", "192.0.2.1")
    assert list(connection.groups) == ["g"]
    assert (house.telemetry.connections, house.telemetry.opened, places(house)) == (1, 1, (0, 1))


@VERSIONS
async def test_connect_may_come_in_pieces_with_packets_right_behind_it(house: House, version: int) -> None:
    device = Device(house, "d", version)
    device.upgrade()
    stream = device.packet() + wire.subscribe(version, 7, ("g", 1)) + wire.PINGREQ

    heard = await device.send(*(stream[at : at + 1] for at in range(len(stream))))

    assert [type(packet) for packet in heard] == [Connack, Suback, Pingresp]
    assert list(device.connection.groups) == ["g"]


@VERSIONS
async def test_packets_in_the_message_of_the_connect_are_handled_behind_its_answer(house: House, version: int) -> None:
    device = Device(house, "d", version)

    heard = await device.connect(wire.subscribe(version, 7, ("g", 1)), wire.publish(version, "g", b"x", 1, 8))

    assert [type(packet) for packet in heard] == [Connack, Suback, Publish, Puback]


@VERSIONS
async def test_nothing_is_there_before_the_connect(house: House, version: int) -> None:
    device = Device(house, "d", version)
    device.upgrade()

    assert await device.send(device.packet()[:-1]) == []

    assert (house.telemetry.connections, house.node.connections()) == (0, [])
    assert not device.is_in


@VERSIONS
async def test_client_without_an_id_is_given_one(house: House, version: int) -> None:
    first, second = Device(house, "", version), Device(house, "", version)
    await first.connect()
    await second.connect()

    ids = {first.connection.id, second.connection.id}
    assert len(ids) == 2
    assert all(len(id) == 32 and set(id) <= set("0123456789abcdef") for id in ids)
    told = first.connack.properties.assigned_client_id
    assert told == (first.connection.id if version == 5 else None)


async def test_client_with_an_id_is_not_told_it(house: House) -> None:
    device = Device(house)
    await device.connect()

    assert device.connack.properties.assigned_client_id is None


async def test_client_that_never_sends_a_connect_is_closed_and_recorded(house: House, written: Written) -> None:
    device = Device(house)
    device.upgrade()

    house.gateway.never_arrived(device.newcomer, device.sink)

    assert (device.code, device.heard, counted(house)) == (1002, [], {CloseCategory.BAD_REQUEST: 1})
    [record] = written.fields("ConnectionRefused")
    assert (record["hub"], record["callerIpAddress"]) == (HUB.hub, "192.0.2.1")


@VERSIONS
@pytest.mark.parametrize("client_id", [".", ".."])
@pytest.mark.parametrize("options", [MqttOptions(), AZURE], ids=["lenient", "azure"])
async def test_client_id_that_no_path_can_name_is_refused(version: int, client_id: str, options: MqttOptions) -> None:
    device = Device(House(mqtt=options), client_id, version)
    await device.connect()

    refused(device, 0x85, 2)


async def test_client_id_of_more_dots_is_taken(house: House) -> None:
    for client_id in ("...", ".a", "a.", "..a"):
        device = Device(house, client_id)
        await device.connect()
        assert device.connack.code == 0


# Refusals of what the CONNECT says


@VERSIONS
async def test_refusal_is_answered_counted_and_recorded_once(house: House, version: int, written: Written) -> None:
    device = Device(house, "no/way", version)

    await device.connect(wire.PINGREQ)

    refused(device, 0x85, 2)
    assert counted(house) == {CloseCategory.BAD_REQUEST: 1}
    [record] = written.fields("ConnectionRefused")
    assert (record["connectionId"], record["about"], record["hub"]) == ("no/way", "no/way", HUB.hub)
    assert (record["code"], record["mqttVersion"]) == (0x85 if version == 5 else 2, version)
    assert "Choose another client identifier" in written.records[-1].getMessage()
    assert places(house) == (0, 0)
    if version == 5:
        assert "Choose another client identifier" in (device.connack.properties.reason_string or "")


async def test_keep_alive_that_is_refused_is_recorded_with_what_to_mend(written: Written) -> None:
    """3.1.1 has no code for it, so the code says nothing."""
    device = Device(House(mqtt=AZURE), "d", 4)

    await device.connect(keep_alive_s=0)

    refused(device, 0, 3)
    assert "keep alive interval to 1 to 180 seconds" in written.records[-1].getMessage()
    assert "event handler" not in written.records[-1].getMessage()


@VERSIONS
@pytest.mark.parametrize("topic", ["", "a/+", "$webpubsub/server/messages"])
async def test_will_that_could_not_be_published_is_refused_and_recorded(
    house: House, version: int, topic: str, written: Written
) -> None:
    device = Device(house, "d", version)

    await device.connect(will=wire.Will(topic))

    refused(device, 0x90, 5)
    assert "a will with a topic of 1 to 1024 characters" in written.records[-1].getMessage()


@pytest.mark.parametrize(
    ("first", "code"), [(wire.PINGREQ, 1002), (wire.publish(4, "g"), 1002), (b"\x10\xff\xff\xff\x7f", 1009)]
)
async def test_what_cannot_be_answered_is_closed_counted_and_recorded(
    house: House, first: bytes, code: int, written: Written
) -> None:
    device = Device(house)
    device.upgrade()

    assert await device.send(first, device.packet()) == []

    assert (device.code, counted(house)) == (code, {CloseCategory.BAD_REQUEST: 1})
    [record] = written.fields("ConnectionRefused")
    assert record["connectionId"] == ""


# Refusals by the server


@VERSIONS
async def test_server_that_stops_lets_nobody_in(house: House, version: int, written: Written) -> None:
    device = Device(house, "d", version)
    device.upgrade()
    house.gateway.stop()

    await device.send(device.packet())

    refused(device, 0x88, 3)
    assert counted(house) == {CloseCategory.SERVICE_RELOAD: 1}
    assert written.records[-1].getMessage() == "Server unavailable: The server is shutting down."


@VERSIONS
async def test_resource_that_was_stopped_behind_the_101_lets_nobody_in(
    house: House, version: int, written: Written
) -> None:
    device = Device(house, "d", version)
    device.upgrade()
    house.directory.policies[HUB.resource] = ResourcePolicy(stopped=True)

    await device.send(device.packet())

    refused(device, 0x88, 3)
    assert counted(house) == {CloseCategory.SERVICE_RELOAD: 1}
    assert written.records[-1].getMessage() == "Server unavailable: The resource is stopped."


@VERSIONS
async def test_resource_that_is_gone_lets_nobody_in(
    house: House, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(house, "d", version)
    device.upgrade()

    def policy(resource: str) -> ResourcePolicy:
        raise NotFound("gone")

    monkeypatch.setattr(house.directory, "policy", policy)
    await device.send(device.packet())

    refused(device, 0x88, 3)
    assert counted(house) == {CloseCategory.BAD_REQUEST: 1}


@VERSIONS
async def test_client_over_the_quota_is_refused_until_another_has_left(version: int, written: Written) -> None:
    house = House(quota=1)
    first, second = Device(house, "1", version), Device(house, "2", version)
    await first.connect()

    await second.connect()

    refused(second, 0x97, 3)
    assert counted(house) == {CloseCategory.THROTTLED: 1}
    assert "Quota exceeded: ConnectionCountLimitReached" in written.records[-1].getMessage()
    await first.send(wire.disconnect())
    await second.connect()
    assert second.connack.code == 0
    assert places(house) == (0, 1)


@VERSIONS
async def test_client_has_a_place_from_its_upgrade_until_its_session_ends(version: int) -> None:
    house = House(quota=1)
    device = Device(house, "d", version)
    device.upgrade()
    assert places(house) == (1, 1)
    refusal = house.refusal(access_token=house.token())
    assert refusal is not None
    assert refusal.status == 429

    await device.send(device.packet(clean=False))
    assert places(house) == (0, 1)

    device.lose()
    assert places(house) == (0, 1)
    await house.loop.advance(32)
    assert places(house) == (0, 0)


@pytest.mark.parametrize(
    "leaves",
    [
        lambda house, device: device.lose(),
        lambda house, device: house.gateway.never_arrived(device.newcomer, device.sink),
        lambda house, device: house.gateway.arrive(device.newcomer, wire.PINGREQ, device.sink),
        lambda house, device: house.gateway.arrive(device.newcomer, wire.connect(5, "a/b"), device.sink),
        lambda house, device: house.gateway.arrive(device.newcomer, wire.connect(5, "owned"), device.sink),
    ],
    ids=["lost", "silent", "no CONNECT", "refused by itself", "refused for another"],
)
async def test_client_that_does_not_come_in_gives_its_place_back(leaves: Callable[[House, Device], object]) -> None:
    house = House(quota=2)
    await Device(house, "owned", user_id="u").connect()
    for _ in range(2 + 16 + 1):
        device = Device(house, "d")
        device.upgrade()
        assert places(house) == (1, 2)

        leaves(house, device)
        device.lose()  # in the end, however it began

        assert places(house) == (0, 1)


async def test_client_that_is_gone_while_the_handler_is_asked_gives_its_place_back_at_once() -> None:
    house = asked_house(quota=1)
    [free] = hold(house)
    device = Device(house)
    device.upgrade()
    work = device.sending(device.packet())
    await settle()
    device.lose()
    assert places(house) == (0, 0)

    free.set()
    await work
    assert places(house) == (0, 0)


async def test_client_that_is_gone_while_it_waits_for_its_topics_has_its_place_until_its_session_ends() -> None:
    house = House(quota=1)
    subscribed = house.bus.hold()
    device = Device(house, "d")
    device.upgrade()
    work = device.sending(device.packet())
    await settle()
    device.lose()
    assert places(house) == (1, 1)

    house.bus.gate = None
    subscribed.set_result(None)
    await work
    assert places(house) == (0, 1)
    device.lose()
    assert places(house) == (0, 0)


@VERSIONS
@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("away", [False, True])
async def test_session_that_fills_the_last_place_does_not_keep_its_own_client_out(
    version: int, clean: bool, away: bool
) -> None:
    house = House(quota=1)
    device = Device(house, "d", version)
    await device.connect(clean=False)
    if away:
        device.lose()
    device = Device(house, "d", version)
    device.upgrade()
    assert (places(house), beside(house)) == ((0, 1), 1)

    await device.send(device.packet(clean=clean))

    assert (device.connack.code, device.connack.session_present) == (0, not clean)
    assert (places(house), beside(house)) == ((0, 1), 0)


async def test_client_that_goes_on_with_its_session_needs_no_second_place() -> None:
    house = House(quota=2)
    device = Device(house, "d")
    await device.connect(clean=False)
    device.upgrade()
    assert places(house) == (1, 2)

    await device.send(device.packet(clean=False))

    assert places(house) == (0, 1)


async def test_no_more_than_a_few_wait_beside_a_quota_that_is_used_up(written: Written) -> None:
    house = House(quota=1)
    await Device(house, "d").connect()
    waiting = [Device(house, f"{number}") for number in range(16)]
    for device in waiting:
        device.upgrade()

    with pytest.raises(HandshakeRefused) as refusal:
        Device(house, "d").upgrade()

    assert (refusal.value.status, refusal.value.headers) == (429, {"Retry-After": "1"})
    assert counted(house) == {CloseCategory.THROTTLED: 1}
    assert written.records[-1].getMessage() == "ConnectionCountLimitReached"
    waiting[0].lose()
    back = Device(house, "d")
    await back.connect()
    assert back.is_in


async def test_client_beside_the_quota_is_in_once_there_is_a_place() -> None:
    house = House(quota=1)
    first, second = Device(house, "1"), Device(house, "2")
    await first.connect()
    second.upgrade()
    first.lose()

    await second.send(second.packet())

    assert (second.connack.code, places(house), beside(house)) == (0, (0, 1), 0)


async def test_quota_of_the_resource_counts_as_well(house: House) -> None:
    house.directory.policies[HUB.resource] = ResourcePolicy(quota=1)
    await Device(house, "1").connect()
    device = Device(house, "2")
    await device.connect()

    refused(device, 0x97, 3)


async def test_nobody_is_asked_about_a_client_for_whom_there_is_no_place() -> None:
    house = asked_house(quota=1)
    await Device(house, "1").connect()
    device = Device(house, "2")
    await device.connect()

    refused(device, 0x97, 3)
    assert told(house) == ["sys.connect", "sys.connected"]


# Groups that are no topics


async def test_groups_of_the_token_that_are_no_topics_are_left_out_and_recorded(house: House, written: Written) -> None:
    device = Device(house, groups=["a", "b/+", "c", "$d", "#"])
    await device.connect()

    assert list(device.connection.groups) == ["a", "c"]
    [record] = written.fields("GroupsLeftOut")
    assert record["connectionId"] == "device"
    assert "3 of the groups that this client was given" in written.text
    assert "left out: 'b/+', '$d', '#'" in written.text


async def test_groups_of_the_handler_that_are_no_topics_are_left_out_and_recorded(written: Written) -> None:
    house = asked_house()
    says(house, answer(200, {"groups": ["a", "b/#"]}))
    device = Device(house, groups=["t"])
    await device.connect()

    assert list(device.connection.groups) == ["a"]
    assert len(written.fields("GroupsLeftOut")) == 1


async def test_groups_that_are_topics_leave_no_record(house: House, written: Written) -> None:
    await Device(house, groups=["a", "b/c"]).connect()

    assert written.operations == ["ConnectionStarted"]


# The event handler


async def test_handler_is_told_what_the_connect_says() -> None:
    house = asked_house()
    device = Device(house, "d", user_id="u", custom="1")

    await device.connect(user="n", password=b"\x00p", said=(wire.user_property("a", "b"),))

    connect, connected = events(house)
    assert connect.data["mqtt"] == {
        "protocolVersion": 5,
        "cleanStart": True,
        "username": "n",
        "password": "AHA=",
        "userProperties": [{"name": "a", "value": "b"}],
    }
    assert (connect.data["subprotocols"], connect.data["query"]) == (["mqtt"], {"custom": ["1"]})
    assert connect.attributes["connectionid"] == connected.attributes["connectionid"] == "d"
    physical = connect.attributes["physicalconnectionid"]
    assert connected.attributes["physicalconnectionid"] == physical
    assert connected.attributes["userid"] == "u"
    assert "sessionid" not in connect.attributes
    assert connected.attributes["sessionid"] not in (physical, "d")


async def test_handler_is_told_the_id_that_a_client_without_one_gets() -> None:
    house = asked_house()
    device = Device(house, "")
    await device.connect()

    assert {event.attributes["connectionid"] for event in events(house)} == {device.connection.id}
    assert device.connack.properties.assigned_client_id == device.connection.id


async def test_handler_is_asked_at_each_connect_with_the_state_and_a_new_physical_id() -> None:
    house = asked_house()
    says(house, answer(204, ce_connectionState="s"))
    device = Device(house, "d")
    await device.connect(clean=False)
    device.lose()

    await device.connect(clean=False)

    first, connected, second = events(house)
    assert [event.type for event in (first, connected, second)] == ["sys.connect", "sys.connected", "sys.connect"]
    assert (first.headers.get("ce-connectionstate"), second.headers.get("ce-connectionstate")) == (None, "s")
    assert first.attributes["physicalconnectionid"] != second.attributes["physicalconnectionid"]
    assert device.connack.session_present


def kept_by_handler(house: House) -> list[tuple[str | None, str | None]]:
    """State and cookies that came with each question about a client."""
    asked = [event for event in events(house) if event.type == "sys.connect"]
    return [(event.headers.get("ce-connectionstate"), event.headers.get("cookie")) for event in asked]


@pytest.mark.parametrize(
    ("owner", "other"),
    [
        ({"user_id": "u"}, {"user_id": "v"}),
        ({"user_id": "u"}, {}),
        ({}, {"user_id": "v"}),
        ({}, {"roles": []}),
        ({"groups": ["g"]}, {"roles": ["webpubsub.sendToGroup", "webpubsub.joinLeaveGroup.h"]}),
    ],
)
async def test_handler_is_asked_about_a_stranger_without_what_it_gave_the_session_to_keep(
    owner: dict[str, Any], other: dict[str, Any]
) -> None:
    house = asked_house()
    says(house, answer(204, ce_connectionState="s", Set_Cookie="k=1; Path=/"))
    await Device(house, "d", **owner).connect(clean=False)
    stranger = Device(house, "d", **other)

    await stranger.connect(clean=False)

    assert kept_by_handler(house) == [(None, None), (None, None)]
    refused(stranger, 0x85, 2)


async def test_handler_is_asked_about_everybody_with_what_it_gave_the_session_where_everybody_goes_on() -> None:
    house = asked_house(mqtt=AZURE)
    says(house, answer(204, ce_connectionState="s", Set_Cookie="k=1; Path=/"))
    await Device(house, "d", user_id="u").connect(clean=False)

    await Device(house, "d", user_id="v").connect(clean=False)

    assert kept_by_handler(house) == [(None, None), ("s", "k=1")]


async def test_session_keeps_what_the_handler_gives_it_when_its_client_comes_back() -> None:
    house = asked_house()
    device = Device(house, "d", user_id="u")
    for state in "123":
        says(house, answer(204, ce_connectionState=state, Set_Cookie=f"k{state}={state}; Path=/"))
        await device.connect(clean=False)

    assert kept_by_handler(house) == [(None, None), ("1", "k1=1"), ("2", "k1=1; k2=2")]
    await device.send(wire.publish(5, "$webpubsub/server/events/e", b"x", 1, 7))
    event = events(house)[-1]
    assert (event.headers["ce-connectionstate"], event.headers["cookie"]) == ("3", "k1=1; k2=2; k3=3")


async def test_session_keeps_nothing_of_what_the_handler_gives_a_client_that_it_makes_a_stranger() -> None:
    house = asked_house()
    says(house, answer(204, ce_connectionState="s", Set_Cookie="k=1; Path=/"))
    device = Device(house, "d", user_id="u")
    await device.connect(clean=False)
    says(house, answer(200, {"userId": "v"}, ce_connectionState="v", Set_Cookie="k=v; Path=/"))
    stranger = Device(house, "d", user_id="u")
    await stranger.connect(clean=False)
    refused(stranger, 0x85, 2)
    says(house, NOTHING)

    await device.connect(clean=False)

    assert kept_by_handler(house)[1:] == [("s", "k=1"), ("s", "k=1")]
    assert device.connack.session_present


async def test_handler_is_not_told_the_state_of_a_session_that_will_end() -> None:
    house = asked_house()
    says(house, answer(204, ce_connectionState="s"))
    device = Device(house, "d")
    await device.connect(clean=False)

    await device.connect(clean=True)
    await settle()

    second = [event for event in events(house) if event.type == "sys.connect"][1]
    assert second.headers.get("ce-connectionstate") is None


@VERSIONS
async def test_what_the_handler_says_takes_the_place_of_what_the_token_says(version: int) -> None:
    house = asked_house()
    said = {"userId": "v", "roles": ["webpubsub.sendToGroup.x"], "groups": ["a"], "subprotocol": "mqtt"}
    says(house, answer(200, {**said, "mqtt": {"userProperties": [{"name": "n", "value": "w"}]}}))
    device = Device(house, "d", version, user_id="u", groups=["t"])

    await device.connect()

    connection = device.connection
    assert (connection.user_id, list(connection.groups)) == ("v", ["a"])
    assert connection.permissions.allows("sendToGroup", "x")
    assert not connection.permissions.allows("joinLeaveGroup", "x")
    assert (await house.node.ask(Exists(to_user(HUB, "v")))).count == 1
    assert device.connack.properties.user_properties == ((("n", "w"),) if version == 5 else ())


@VERSIONS
async def test_session_that_goes_on_keeps_its_user_roles_and_groups_whatever_the_handler_says(version: int) -> None:
    house = asked_house()
    says(house, answer(200, {"userId": "u", "roles": ["webpubsub.sendToGroup.x"], "groups": ["a"]}))
    device = Device(house, "d", version)
    await device.connect(clean=False)
    device.lose()
    said = {"userId": "u", "roles": ["webpubsub.joinLeaveGroup"], "groups": ["b"]}
    says(house, answer(200, {**said, "mqtt": {"userProperties": [{"name": "n", "value": "w"}]}}))

    await device.connect(clean=False)

    connection = device.connection
    assert device.connack.session_present
    assert (connection.user_id, list(connection.groups)) == ("u", ["a"])
    assert connection.permissions.allows("sendToGroup", "x")
    assert not connection.permissions.allows("joinLeaveGroup", "g")
    assert device.connack.properties.user_properties == ((("n", "w"),) if version == 5 else ())


@pytest.mark.parametrize(
    ("status", "v5", "v4", "category"),
    [
        (400, 0x86, 4, CloseCategory.BAD_REQUEST),
        (401, 0x87, 5, CloseCategory.UNAUTHORIZED),
        (403, 0x87, 5, CloseCategory.UNAUTHORIZED),
        (404, 0x88, 3, CloseCategory.BAD_REQUEST),
        (429, 0x97, 3, CloseCategory.THROTTLED),
        (501, 0x88, 3, CloseCategory.SERVICE_TRANSIENT_ERROR),
    ],
)
@VERSIONS
async def test_handler_refuses_with_a_status(
    version: int, status: int, v5: int, v4: int, category: CloseCategory, written: Written
) -> None:
    house = asked_house()
    says(house, answer(status))
    device = Device(house, "d", version)

    await device.connect()

    refused(device, v5, v4)
    assert counted(house) == {category: 1}
    assert [record["connectionId"] for record in written.fields("ConnectionRefused")] == ["d"]
    assert f"(the event handler answered {status})" in written.text
    assert set(told(house)) == {"sys.connect"}
    assert places(house) == (0, 0)


async def test_handler_refuses_with_code_reason_and_user_properties() -> None:
    house = asked_house()
    said = {"code": 0x8A, "reason": "banned", "userProperties": [{"name": "n", "value": "v"}]}
    says(house, answer(403, {"mqtt": said}))
    device = Device(house)

    await device.connect()

    refused(device, 0x8A, 0)
    properties = device.connack.properties
    assert (properties.reason_string, properties.user_properties) == ("banned", (("n", "v"),))


async def test_handler_refuses_a_client_of_3_1_1_with_a_code_of_its_own(written: Written) -> None:
    house = asked_house()
    says(house, answer(401, {"mqtt": {"code": 4, "reason": "r"}}))
    device = Device(house, "d", 4)

    await device.connect()

    refused(device, 0, 4)
    assert "Bad user name or password" in written.records[-1].getMessage()


@VERSIONS
async def test_handler_that_fails_makes_the_server_unavailable(version: int, written: Written) -> None:
    house = asked_house()
    says(house, WebhookFailed("no connection", "unreachable"))
    device = Device(house, "d", version)

    await device.connect()

    refused(device, 0x88, 3)
    assert counted(house) == {CloseCategory.SERVICE_TRANSIENT_ERROR: 1}
    assert "Check that the event handler runs" in written.text


@VERSIONS
async def test_handler_that_names_too_many_groups_fails(version: int) -> None:
    house = asked_house()
    house.node.max_groups = 2
    says(house, answer(200, {"groups": ["a", "b", "c"]}))
    device = Device(house, "d", version)

    await device.connect()

    refused(device, 0x88, 3)
    assert told(house) == ["sys.connect"]


@VERSIONS
async def test_refused_client_leaves_a_kept_session_as_it_was(version: int) -> None:
    house = asked_house()
    device = Device(house, "d", version)
    await device.connect(clean=False)
    connection = device.connection
    device.lose()
    says(house, answer(401))

    for clean in (False, True):
        await device.connect(clean=clean)
        refused(device, 0x87, 5)

    says(house, NOTHING)
    await device.connect(clean=False)
    assert device.connack.session_present
    assert device.connection is connection


async def test_client_that_left_while_the_handler_was_asked_never_begins() -> None:
    house = asked_house()
    [free] = hold(house)
    device = Device(house, groups=["g"])
    device.upgrade()
    work = device.sending(device.packet())
    await settle()
    device.lose()

    free.set()
    await work
    await settle()

    assert told(house) == ["sys.connect"]
    assert (house.node.connections(), places(house), device.heard) == ([], (0, 0), [])
    assert house.upstream.journal.kept == {}
    assert (await house.node.ask(Exists(to_group(HUB, "g")))).count == 0


async def test_handler_is_not_asked_again_about_a_client_that_has_left() -> None:
    house = asked_house()
    [free] = hold(house, IncomingResponse(503))
    device = Device(house)
    device.upgrade()
    work = device.sending(device.packet())
    await settle()
    device.lose()

    free.set()
    await work

    assert told(house) == ["sys.connect"]


async def test_client_that_left_does_not_take_over_its_session() -> None:
    house = asked_house()
    first, second = Device(house, "d"), Device(house, "d")
    await first.connect(clean=False)
    [free] = hold(house)
    second.upgrade()
    work = second.sending(second.packet())
    await settle()
    second.lose()

    free.set()
    await work

    assert first.code is None
    assert first.connection.sink is first.sink


async def test_server_that_stops_while_the_handler_is_asked_lets_nobody_in() -> None:
    house = asked_house()
    [free] = hold(house)
    device = Device(house)
    device.upgrade()
    work = device.sending(device.packet())
    await settle()
    house.gateway.stop()

    free.set()
    await work
    await settle()

    refused(device, 0x88, 3)
    assert told(house) == ["sys.connect"]


async def test_policy_of_the_time_of_the_answer_counts() -> None:
    house = asked_house()
    [free] = hold(house)
    device = Device(house)
    device.upgrade()
    work = device.sending(device.packet())
    await settle()
    house.directory.policies[HUB.resource] = ResourcePolicy(stopped=True)

    free.set()
    await work

    refused(device, 0x88, 3)
    assert places(house) == (0, 0)


async def test_place_of_a_client_is_its_own_from_the_upgrade_on_whatever_the_quota_becomes() -> None:
    house = asked_house(quota=1)
    [free] = hold(house)
    device = Device(house)
    device.upgrade()
    work = device.sending(device.packet())
    await settle()
    assert places(house) == (1, 1)
    house.directory.policies[HUB.resource] = ResourcePolicy(quota=0)

    free.set()
    await work

    assert (device.connack.code, places(house)) == (0, (0, 1))


async def test_what_comes_behind_the_connect_waits_for_the_handler() -> None:
    house = asked_house()
    [free] = hold(house)
    device = Device(house)
    device.upgrade()
    work = device.sending(device.packet() + wire.PINGREQ, wire.subscribe(5, 1, ("g", 0)))
    await settle()
    assert device.heard == []

    free.set()
    await work
    await settle()

    assert [type(packet) for packet in device.heard] == [Connack, Pingresp, Suback]


async def test_event_behind_the_connect_is_told_once_the_client_is_in() -> None:
    house = asked_house()
    device = Device(house)

    heard = await device.connect(wire.publish(5, "$webpubsub/server/events/e", b"x", 1, 7))

    assert sorted(told(house)) == ["sys.connect", "sys.connected", "user.e"]
    assert {event.attributes.get("sessionid") for event in events(house)[1:]} == {device.session_id}
    assert [type(packet) for packet in heard] == [Connack, Publish, Puback]


async def test_nobody_is_asked_where_no_handler_is_told_of_connect() -> None:
    house = asked_house(handler(systemEvents=["connected", "disconnected"]))
    device = Device(house)
    await device.connect()

    connected = events(house)[0]
    assert (connected.type, "physicalconnectionid" in connected.attributes) == ("sys.connected", True)
