"""What is written down about clients, and what never is."""

import logging

import pytest

from doubles import HUB, RecordingSink, head, settle
from gateway.devices import Device
from gateway.house import JSON, RELIABLE, URL, House
from gateway.written import Written
from handlers import answer, handler, handling
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.logs import JsonLines, TextLines
from hubwire.model.commands import AddToGroups, Close
from hubwire.model.errors import ProtocolViolation
from hubwire.model.targets import to_connection, to_hub, to_user
from hubwire.model.telemetry import CloseCategory
from vectors import mqtt_wire as wire


@pytest.fixture
def house() -> House:
    return House()


async def test_connection_is_recorded_from_its_beginning_to_its_end(house: House, written: Written) -> None:
    client = await house.client(RELIABLE, user_id="u")
    client.drop()
    await house.begin(house.decide(**client.recovery), sink := RecordingSink())
    house.gateway.lost(client.connection, sink, 1000, CloseCategory.NORMAL)

    assert written.operations == ["ConnectionStarted", "ConnectionRecovered", "ConnectionEnded"]
    expected = {
        "callerIpAddress": "192.0.2.1",
        "collection": "Connection",
        "hub": HUB.hub,
        "connectionId": client.connection.id,
        "userId": "u",
        "subprotocol": RELIABLE,
    }
    for operation in written.operations:
        (fields,) = written.fields(operation)
        assert expected.items() <= fields.items()
        assert written.levels(operation) == [logging.INFO]
    assert [row.getMessage() for row in written.records] == [
        "Connection started",
        "Connection recovered",
        "Connection ended",
    ]
    (end,) = written.fields("ConnectionEnded")
    assert (end["category"], end["code"]) == ("Normal", 1000)


@pytest.mark.parametrize(
    ("category", "operation", "level"),
    [
        (CloseCategory.NORMAL, "ConnectionEnded", logging.INFO),
        (CloseCategory.CLOSED_BY_APP_SERVER, "ConnectionEnded", logging.INFO),
        (CloseCategory.SERVICE_RELOAD, "ConnectionEnded", logging.INFO),
        (CloseCategory.SLOW_CLIENT, "ConnectionAborted", logging.WARNING),
        (CloseCategory.PING_TIMEOUT, "ConnectionAborted", logging.WARNING),
        (CloseCategory.BAD_REQUEST, "ConnectionAborted", logging.WARNING),
    ],
)
async def test_end_that_somebody_may_want_to_mend_is_a_warning(
    house: House, written: Written, category: CloseCategory, operation: str, level: int
) -> None:
    client = await house.client(JSON)

    house.node.close(client.connection, 1008, "why", category)

    assert written.operations[-1] == operation
    assert written.records[-1].levelno == level
    assert written.records[-1].getMessage() == "why"
    assert written.fields(operation)[0]["category"] == category.value


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006])
async def test_mqtt_client_that_is_gone_without_a_disconnect_packet_is_recorded_so(
    house: House, written: Written, code: int, clean: bool
) -> None:
    """Once its session is over, however its socket was closed."""
    device = Device(house, "d", 4, user_id="u")
    await device.connect(clean=clean)

    device.lose(code)
    assert ("ConnectionAborted" in written.operations) == clean
    await house.loop.advance(60)

    assert written.operations == ["ConnectionStarted", "ConnectionAborted"]
    assert written.levels("ConnectionAborted") == [logging.INFO]
    [end] = written.fields("ConnectionAborted")
    assert (end["connectionId"], end["code"], end["category"]) == ("d", code if clean else 1006, None)
    assert written.records[-1].getMessage() == "The client is gone without a DISCONNECT packet"


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("clean", [True, False])
async def test_mqtt_client_that_has_said_goodbye_ends_normally(
    house: House, written: Written, version: int, clean: bool
) -> None:
    """Also if its session has waited for it, in vain."""
    device = Device(house, "d", version)
    await device.connect(clean=clean)
    await device.send(wire.disconnect())
    device.lose()
    await house.loop.advance(60)

    assert written.operations == ["ConnectionStarted", "ConnectionEnded"]
    [end] = written.fields("ConnectionEnded")
    assert (end["category"], end["code"]) == ("Normal", 1000)


@pytest.mark.parametrize(
    ("category", "said", "code"),
    [
        (CloseCategory.SERVICE_RELOAD, 1001, 1000),
        (CloseCategory.SLOW_CLIENT, 1008, 1000),
        (CloseCategory.SERVICE_TRANSIENT_ERROR, 1011, 1011),
        (CloseCategory.CLOSED_BY_APP_SERVER, 1000, 1000),
    ],
)
async def test_end_of_an_mqtt_client_has_the_close_code_that_it_is_told(
    house: House, written: Written, category: CloseCategory, said: int, code: int
) -> None:
    """A packet has said the rest."""
    device = Device(house, "d")
    await device.connect()
    house.node.close(device.connection, said, "why", category)

    fields = getattr(written.records[-1], "record", {})
    assert (fields["category"], fields["code"]) == (category.value, code)


@pytest.mark.parametrize("offer", [JSON, RELIABLE])
async def test_client_whose_socket_was_lost_is_recorded_so(house: House, written: Written, offer: str) -> None:
    client = await house.client(offer)
    client.drop(1006)
    await house.loop.advance(60)

    assert written.operations == ["ConnectionStarted", "ConnectionAborted"]
    assert written.levels("ConnectionAborted") == [logging.INFO]
    [end] = written.fields("ConnectionAborted")
    assert (end["code"], end["category"]) == (1006, None)
    assert house.telemetry.closed[CloseCategory.NORMAL] == 1


@pytest.mark.parametrize("code", [1000, 1001, 1005])
async def test_page_that_is_left_ends_normally(house: House, written: Written, code: int) -> None:
    client = await house.client(JSON)
    client.drop(code)

    [end] = written.fields("ConnectionEnded")
    assert (end["category"], end["code"]) == ("Normal", code)


async def test_reason_that_the_application_gave_is_recorded(house: House, written: Written) -> None:
    await house.client(JSON)

    await house.node.ask(Close(to_hub(HUB), reason="enough"))

    assert "Reason: enough" in written.records[-1].getMessage()


@pytest.mark.parametrize(("token", "status", "collection"), [("", 401, "Authorization"), ("good", 429, "Throttling")])
def test_refusal_is_recorded_with_its_status_and_cause(
    written: Written, token: str, status: int, collection: str
) -> None:
    house = House(quota=0)
    house.refusal(access_token=house.token() if token else "")

    (fields,) = written.fields("ConnectionRefused")
    assert (fields["statusCode"], fields["collection"], fields["url"]) == (status, collection, URL)
    assert fields["callerIpAddress"] == "192.0.2.1"
    assert written.levels("ConnectionRefused") == [logging.WARNING]


def test_refusal_names_no_user_and_no_token_of_a_path_that_leads_nowhere(house: House, written: Written) -> None:
    user = "8:acs:2dee53b4-368b-45d4-ab52-8493fb117652_00000005-14a2-493b-8a72-5a3a0d000081"

    house.refusal(url=f"/client/{user}/{house.token()}")

    (fields,) = written.fields("ConnectionRefused")
    assert fields["url"] == "/client/…5a3a0d000081/…"


def test_cause_of_a_bad_token_is_recorded_and_not_told(house: House, written: Written) -> None:
    refusal = house.refusal(access_token=house.token(audience="http://elsewhere/client/hubs/chat"))

    assert refusal is not None
    assert "audience" in written.records[-1].getMessage()
    assert "audience" not in refusal.text


@pytest.mark.parametrize("path", ["/client/hubs/chat", "/clients/mqtt/hubs/chat"])
def test_audience_that_a_token_lacks_is_recorded(house: House, written: Written, path: str) -> None:
    protocol = JSON if path == "/client/hubs/chat" else "mqtt"
    house.refusal(protocol, url=path, access_token=house.token(audience="http://elsewhere/client/hubs/chat"))

    wanted = f"token is for another audience than http://{head(path).host}{path}"
    assert [row.getMessage() for row in written.records] == [wanted]
    assert "elsewhere" not in written.text


def test_refused_recovery_is_recorded(house: House, written: Written) -> None:
    house.decide(awps_connection_id="c" * 1000, awps_reconnection_token="t")

    (fields,) = written.fields("ConnectionRecoveryRefused")
    assert (fields["connectionId"], fields["hub"]) == ("c" * 256, HUB.hub)


async def test_messages_are_recorded_when_they_are_traced(house: House, written: Written) -> None:
    client = await house.json(roles=["webpubsub.sendToGroup.g"], user_id="u")
    await client.say({"type": "sendToGroup", "group": "g", "data": "payload"})
    await client.say({"type": "sendToGroup", "group": "h", "data": "payload"})
    await client.say({"type": "joinGroup", "group": "h"})
    await client.say({"type": "event", "event": "e", "data": "payload"})

    traced = [row for row in written.records if row.name == "hubwire.messaging"]
    assert [(fields.get("group"), fields.get("event")) for fields in (row.record for row in traced)] == [  # type: ignore[attr-defined]
        ("g", None),
        ("h", None),
        ("h", None),
        (None, "e"),
    ]
    assert [row.record["operationName"] for row in traced] == [  # type: ignore[attr-defined]
        "SendToGroup",
        "RefusedForbidden",
        "RefusedForbidden",
        "RefusedInternalServerError",
    ]
    assert "payload" not in written.text


async def test_messages_are_not_recorded_unless_they_are_traced(house: House, written: Written) -> None:
    logging.getLogger("hubwire").setLevel(logging.INFO)
    client = await house.json()

    await client.say({"type": "sendToGroup", "group": "g", "data": 1})

    assert written.operations == ["ConnectionStarted"]


async def test_no_token_query_header_or_payload_is_ever_recorded(house: House, written: Written) -> None:
    """Whatever becomes of a client: let in, refused, recovered, badly recovered, broken, closed."""
    secrets = ["s3cret-header", "s3cret-query", "s3cret-payload", "s3cret-recovery"]
    more = {"custom": "s3cret-query"}
    headers = [("Authorization", "Bearer s3cret-header"), ("Cookie", "s3cret-header")]
    for target in (URL, "/client", "/elsewhere", "/client/hubs/1"):
        with pytest.raises(HandshakeRefused):
            house.gateway.decide(head(f"{target}?custom=s3cret-query&access_token=s3cret-query", headers=headers))
    good = house.token("u", groups=["g"])
    client = await house.client(RELIABLE, access_token=good, **more)
    client.connection.permissions.grant("sendToGroup", "g")
    recovery = client.recovery
    for message in (
        '{"type":"sendToGroup","group":"g","data":"s3cret-payload"}',
        '{"type":"event","event":"e","data":"s3cret-payload"}',
    ):
        await client.say(message)
    client.drop()
    house.decide(awps_connection_id=client.connection.id, awps_reconnection_token="s3cret-recovery", **more)
    sink = RecordingSink()
    await house.begin(house.decide(RELIABLE, access_token="s3cret-query", **recovery, **more), sink)
    secrets += [good, recovery["awps_reconnection_token"]]
    secrets += [row["reconnectionToken"] for row in sink.received if "reconnectionToken" in row]
    house.gateway.receive(client.connection, '{"type":"s3cret-payload"}')
    simple = await house.client(**more)
    house.gateway.receive(simple.connection, "s3cret-payload")
    broken = await house.client(JSON, **more)
    house.gateway.violated(broken.connection, ProtocolViolation("message too big", 1009))
    await settle()

    operations = set(written.operations)
    assert {"ConnectionStarted", "ConnectionRecovered", "ConnectionRecoveryRefused", "ConnectionRefused"} <= operations
    assert {"ConnectionAborted", "SendToGroup", "RefusedInternalServerError"} <= operations
    assert len(secrets) == 7
    for secret in secrets:
        assert secret not in written.text
        assert not any(secret in repr(vars(record)) for record in written.records)


async def test_name_that_a_stranger_chose_cannot_forge_a_line(house: House, written: Written) -> None:
    """Neither in the text of a record nor in its fields."""
    forged = "x\n2026-01-01T00:00:00.000+00:00 info    Connection started\r\x85\u2028\x1b[2J"
    user_id = "".join(c for c in forged if c >= " ")  # with others nobody gets in
    client = await house.client(user_id=user_id, roles=[], webpubsub_mode="sendToGroup", group=forged)
    house.gateway.receive(client.connection, "hello")
    house.decide(awps_connection_id=forged, awps_reconnection_token="t")

    assert len(written.records) == 4
    for row in written.records:
        for format in (TextLines(), JsonLines("/default")):
            line = format.format(row)
            assert line.isprintable()


@pytest.mark.parametrize("version", [4, 5])
async def test_nothing_that_an_mqtt_client_says_is_ever_recorded(house: House, written: Written, version: int) -> None:
    """But names of topics and its id: whatever becomes of it."""
    house.directory.hubs[HUB] = handling(handler())
    said = (wire.user_property("s3cret-name", "s3cret-value"),)
    secret = {"user": "s3cret-user", "password": b"s3cret-password", "said": said}
    will = wire.Will("elsewhere", b"s3cret-will")
    device = Device(house, "d", version, roles=["webpubsub.sendToGroup.g"], custom="s3cret-query")
    await device.connect(clean=False, will=will, **secret)
    event = "$webpubsub/server/events/e"
    for number, topic in enumerate(("g", "other", event, "$nowhere"), start=1):
        await device.send(wire.publish(version, topic, b"s3cret-payload", 1, number))
    await device.send(wire.publish(version, "other", b"s3cret-payload"))
    await device.connect(clean=False, will=will, **secret)
    await device.send(b"\xc1\x07s3cret-")
    await device.connect(clean=True, will=will, **secret)
    device.lose()
    for client_id, refused in (("no/way", will), ("e", wire.Will("+", b"s3cret-will"))):
        await Device(house, client_id, version).connect(will=refused, **secret)
    house.upstream.webhook.answers = lambda _: answer(401, {"mqtt": {"reason": "s3cret-reason"}})
    await Device(house, "f", version).connect(will=will, **secret)
    await house.gateway.end()
    await settle()

    operations = set(written.operations)
    assert {"ConnectionStarted", "ConnectionRecovered", "ConnectionRefused", "RequestRefused"} <= operations
    assert {"WillDropped", "SendToGroup", "SendEvent", "RefusedForbidden"} <= operations
    assert "s3cret" not in written.text
    assert not any("s3cret" in repr(vars(record)) for record in written.records)


@pytest.mark.parametrize("version", [4, 5])
async def test_topic_that_a_stranger_chose_cannot_forge_a_line(house: House, written: Written, version: int) -> None:
    forged = "x\u2028 2026-01-01T00:00:00.000 info Connection started\u202e"
    device = Device(house, "d\u2028", version, roles=[])
    await device.connect(will=wire.Will(forged + "+"))
    await device.connect(will=wire.Will(forged))
    await device.send(wire.publish(version, forged, b"", 1, 1), wire.subscribe(version, 2, (forged, 0)))
    device.lose()
    await settle()

    assert set(written.operations) == {
        *("ConnectionRefused", "ConnectionStarted", "RequestRefused", "WillDropped", "ConnectionAborted"),
        "RefusedForbidden",
    }
    for row in written.records:
        for format in (TextLines(), JsonLines("/default")):
            assert format.format(row).isprintable()


async def test_last_refusal_that_is_recorded_says_so(house: House, written: Written) -> None:
    """A device that tries all topics there are shall not fill the log."""
    device = Device(house, "d", roles=[])
    await device.connect()
    for number in range(1, 30):
        await device.send(wire.publish(5, f"t/{number}", b"", 1, number))

    said = [row.getMessage() for row in written.records if row.getMessage().startswith("Not authorized")]
    assert len(said) == 16
    last = [text.endswith("(what else is refused in this session is not logged)") for text in said]
    assert last == [False] * 15 + [True]


@pytest.mark.parametrize("version", [4, 5])
async def test_long_name_of_a_stranger_is_recorded_in_part(house: House, written: Written, version: int) -> None:
    device = Device(house, "x" * 1000, version)
    await device.connect()
    device = Device(house, "d", version, roles=[])
    await device.connect()
    await device.send(wire.publish(version, "y" * 1000, b"", 1, 1))

    [refused] = written.fields("ConnectionRefused")
    [request] = written.fields("RequestRefused")
    assert (refused["connectionId"], refused["about"], request["about"]) == ("x" * 256, "x" * 256, "y" * 256)


async def test_end_of_a_session_that_was_kept_says_why_it_lost_its_socket(house: House, written: Written) -> None:
    device = Device(house, "d", user_id="u")
    await device.connect(clean=False)
    house.gateway.timed_out(device.connection)
    await house.loop.advance(60)

    assert written.operations == ["ConnectionStarted", "RequestRefused", "ConnectionAborted"]
    [refusal] = written.fields("RequestRefused")
    assert (refusal["code"], refusal["userId"], refusal["subprotocol"]) == (0x8D, "u", "mqtt")
    [end] = written.fields("ConnectionAborted")
    assert end["category"] == "PingTimeout"


async def test_groups_that_rest_cannot_put_many_clients_into_are_named_once(house: House, written: Written) -> None:
    for client_id in ("d", "e"):
        await Device(house, client_id).connect()
    await house.json()

    groups = ("g", "a/+", "$b", "c\n\0")
    await house.node.ask(AddToGroups(to_hub(HUB), groups))

    [fields] = written.fields("GroupsLeftOut")
    assert (fields["hub"], "connectionId" in fields) == (HUB.hub, False)
    assert written.levels("GroupsLeftOut") == [logging.WARNING]
    (row,) = [row for row in written.records if row.getMessage().startswith("2 MQTT clients were not added by REST")]
    assert row.getMessage().endswith("names are no topics: 'a/+', '$b', 'c\n\0'")
    assert all(format.format(row).isprintable() for format in (TextLines(), JsonLines("/default")))


async def test_groups_that_rest_cannot_put_the_only_client_of_a_user_into_are_named_with_it(
    house: House, written: Written
) -> None:
    await Device(house, "d", user_id="u").connect()

    await house.node.ask(AddToGroups(to_user(HUB, "u"), ("a/#",)))

    [fields] = written.fields("GroupsLeftOut")
    assert (fields["connectionId"], fields["userId"]) == ("d", "u")
    assert "1 MQTT client was not added by REST to groups whose names are no topics: 'a/#'" in written.text


async def test_no_more_groups_are_named_than_somebody_reads(house: House, written: Written) -> None:
    await Device(house, "d").connect()
    await house.node.ask(AddToGroups(to_hub(HUB), tuple(f"{number}+{'x' * 1000}" for number in range(1000))))

    row = written.records[-1]
    named = [f"'{number}+{'x' * 62}'" for number in range(5)]
    assert row.getMessage().endswith(f"no topics: {', '.join(named)} and 995 more")


async def test_group_that_rest_is_told_of_leaves_no_record(house: House, written: Written) -> None:
    """It has asked for one client, and is answered that this one cannot be in it."""
    await Device(house, "d").connect()

    answer = await house.node.ask(AddToGroups(to_connection(HUB, "d"), ("a/+",)))

    assert answer.untakable
    assert written.operations == ["ConnectionStarted"]
