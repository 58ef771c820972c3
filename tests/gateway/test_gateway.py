"""The opening and the end of client connections."""

import pytest

from doubles import HUB, RecordingSink, head, settle
from gateway.house import JSON, RELIABLE, URL, House
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.model.commands import AddToGroups, Answer, Close, Exists
from hubwire.model.errors import ProtocolViolation
from hubwire.model.hubs import HubSettings
from hubwire.model.targets import to_connection, to_group, to_hub
from hubwire.model.telemetry import CloseCategory

PROTOBUF = "protobuf.webpubsub.azure.v1"
PROTOBUF_RELIABLE = "protobuf.reliable.webpubsub.azure.v1"
ANONYMOUS = HubSettings(anonymous_connect_policy="allow")


@pytest.fixture
def house() -> House:
    return House()


def status(house: House, *offers: str, url: str = URL, **query: str) -> int:
    """The status of an upgrade."""
    refusal = house.refusal(*offers, url=url, **query)
    return 101 if refusal is None else refusal.status


# Who is let in


def test_client_with_a_token_is_who_it_says_and_may_what_it_says(house: House) -> None:
    opening = house.decide(access_token=house.token("u", ["webpubsub.sendToGroup.g"], ["a", "b"]))

    connection = opening.connection
    assert connection is not None
    assert (connection.user_id, connection.hub, connection.client_ip) == ("u", HUB, "192.0.2.1")
    assert connection.permissions.allows("sendToGroup", "g")
    assert not connection.permissions.allows("joinLeaveGroup", "g")
    assert (opening.groups, opening.resumed) == (("a", "b"), False)


def test_ids_of_connections_are_their_own_and_need_no_escaping(house: House) -> None:
    openings = [house.decide(access_token=house.token()) for _ in range(50)]

    ids = {opening.connection.id for opening in openings if opening.connection}
    assert len(ids) == 50
    assert all(id.isalnum() and id.isascii() for id in ids)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, 401),
        ({"access_token": ""}, 401),
        ({"access_token": "nonsense"}, 401),
        ({"access_token": "a.b.c"}, 401),
    ],
)
def test_client_without_a_good_token_is_401(house: House, query: dict[str, str], expected: int) -> None:
    assert status(house, **query) == expected


def test_token_for_another_hub_is_401(house: House) -> None:
    assert status(house, access_token=house.token(audience="http://localhost:8080/client/hubs/other")) == 401


def test_token_is_checked_when_connecting_and_never_again(house: House) -> None:
    token = house.token()
    house.clock += 4 * 60
    assert status(house, access_token=token) == 101

    house.clock += 10 * 60
    assert status(house, access_token=token) == 401


async def test_live_connection_outlives_its_token(house: House) -> None:
    client = await house.json()
    house.clock += 3600

    assert await client.say({"type": "joinGroup", "group": "g", "ackId": 1}) == [
        {"type": "ack", "ackId": 1, "success": True}
    ]


def test_token_that_names_an_illegal_group_is_400(house: House) -> None:
    assert status(house, access_token=house.token(groups=[" "])) == 400


def test_token_in_the_header_counts_and_the_query_wins(house: House) -> None:
    good = [("Authorization", f"Bearer {house.token('h')}")]
    opening = house.opening(head(URL, headers=good))
    assert opening.connection is not None
    assert opening.connection.user_id == "h"

    opening = house.opening(head(f"{URL}?access_token={house.token('q')}", headers=good))
    assert opening.connection is not None
    assert opening.connection.user_id == "q"

    with pytest.raises(HandshakeRefused):
        house.gateway.decide(head(f"{URL}?access_token=bad", headers=good))


def test_legacy_form_of_the_endpoint_takes_the_same_token(house: House) -> None:
    assert status(house, url="/client/", hub="CHAT", access_token=house.token()) == 101
    assert status(house, url="/client/", hub="other", access_token=house.token()) == 401


def test_anonymous_client_is_let_in_only_where_that_is_allowed(house: House) -> None:
    """And then it is nobody, may nothing, and is in no group. A bad token is not as good as none."""
    assert status(house) == 401
    house.directory.hubs[HUB] = ANONYMOUS

    opening = house.decide()
    assert opening.connection is not None
    assert (opening.connection.user_id, opening.groups) == (None, ())
    assert not opening.connection.permissions.allows("sendToGroup", "g")
    assert status(house, access_token="bad") == 401
    assert status(house, url="/client/hubs/other") == 401


@pytest.mark.parametrize(
    ("offers", "chosen", "kind"),
    [
        ((), None, "SimpleSession"),
        (("mine",), None, "SimpleSession"),
        (("mine", JSON), JSON, "JsonSession"),
        ((JSON, RELIABLE), JSON, "JsonSession"),
        ((RELIABLE, JSON), RELIABLE, "ReliableJsonSession"),
        ((PROTOBUF, JSON), PROTOBUF, "ProtobufSession"),
        ((PROTOBUF_RELIABLE,), PROTOBUF_RELIABLE, "ReliableProtobufSession"),
    ],
)
def test_first_predefined_subprotocol_is_chosen_and_echoed(
    house: House, offers: tuple[str, ...], chosen: str | None, kind: str
) -> None:
    opening = house.decide(*offers, access_token=house.token())

    assert opening.connection is not None
    assert (opening.subprotocol, opening.connection.subprotocol) == (chosen, chosen)
    assert type(opening.connection.session).__name__ == kind


@pytest.mark.parametrize("offers", [(), (JSON,)])
def test_mode_is_checked_whatever_is_offered(house: House, offers: tuple[str, ...]) -> None:
    assert status(house, *offers, access_token=house.token(), webpubsub_mode="x") == 400
    assert status(house, *offers, access_token=house.token(), webpubsub_mode="sendToGroup", group="g") == 101


def test_nothing_is_told_to_who_cannot_prove_anything(house: House) -> None:
    """The token comes first: what else is wrong is nobody's business."""
    assert status(house, webpubsub_mode="x") == 401
    assert status(house, PROTOBUF) == 401


async def test_one_client_over_the_quota_is_429_until_another_leaves() -> None:
    house = House(quota=1)
    client = await house.client()
    refusal = house.refusal(access_token=house.token())
    assert refusal is not None
    assert (refusal.status, "Retry-After" in refusal.headers) == (429, True)

    client.drop()
    assert status(house, access_token=house.token()) == 101


@pytest.mark.parametrize(
    ("query", "offers", "category"),
    [
        ({"access_token": "x"}, (), CloseCategory.UNAUTHORIZED),
        ({}, (), CloseCategory.UNAUTHORIZED),
        ({"webpubsub_mode": "x"}, (), CloseCategory.BAD_REQUEST),
    ],
)
async def test_refused_client_is_counted_under_its_category(
    query: dict[str, str], offers: tuple[str, ...], category: CloseCategory
) -> None:
    house = House()
    if category is CloseCategory.BAD_REQUEST:
        query = {"access_token": house.token(), **query}
    assert house.refusal(*offers, **query) is not None

    assert {name: count for name, count in house.telemetry.closed.items() if count} == {category: 1}


async def test_client_over_the_quota_is_counted_as_throttled() -> None:
    house = House(quota=1)
    await house.client(JSON)
    assert status(house, access_token=house.token()) == 429

    assert house.telemetry.closed[CloseCategory.THROTTLED] == 1


async def test_clients_that_are_on_their_way_in_count_against_the_quota() -> None:
    house = House(quota=1)
    opening = house.decide(access_token=house.token())
    assert status(house, access_token=house.token()) == 429

    connection = await house.begin(opening, sink := RecordingSink())
    assert connection is not None
    assert status(house, access_token=house.token()) == 429
    house.gateway.lost(connection, sink, 1000, CloseCategory.NORMAL)
    assert status(house, access_token=house.token()) == 101


async def test_recovery_does_not_count_against_the_quota() -> None:
    house = House(quota=1)
    client = await house.client(RELIABLE)
    client.drop()

    assert house.decide(RELIABLE, **client.recovery).resumed
    assert status(house, access_token=house.token()) == 429


def test_server_that_stops_lets_nobody_in(house: House) -> None:
    house.gateway.stop()

    refusal = house.refusal(access_token=house.token())

    assert refusal is not None
    assert (refusal.status, refusal.headers) == (503, {"Retry-After": "1"})


def test_refusals_are_counted_by_status(house: House) -> None:
    for query in ({}, {}, {"access_token": house.token(groups=[" "])}):
        assert house.refusal(**query) is not None

    assert house.telemetry.refused == {401: 2, 400: 1}
    assert house.telemetry.connections == 0


# The beginning


@pytest.mark.parametrize("user_id", [None, "ü / 1"])
async def test_connected_comes_first_and_names_connection_and_user(house: House, user_id: str | None) -> None:
    client = await house.client(JSON, user_id=user_id)

    assert client.sink.received == [
        {"type": "system", "event": "connected", "userId": user_id or "", "connectionId": client.connection.id}
    ]


async def test_reliable_client_is_given_a_token_for_its_own_recovery(house: House) -> None:
    first, second = await house.client(RELIABLE), await house.client(RELIABLE)

    token = first.recovery["awps_reconnection_token"]
    assert house.principals.verify_recovery_token(token, first.connection.id)
    assert not house.principals.verify_recovery_token(token, second.connection.id)


async def test_simple_client_is_told_nothing(house: House) -> None:
    assert (await house.client()).sink.writes == []


async def test_client_is_in_its_initial_groups_without_any_permission(house: House) -> None:
    client = await house.client(roles=(), groups=["g"])

    assert (await house.node.ask(Exists(to_group(HUB, "g")))).count == 1
    client.drop()
    assert (await house.node.ask(Exists(to_group(HUB, "g")))).count == 0


async def test_keep_alive_is_that_of_the_hub_now(house: House) -> None:
    client = await house.client()
    assert house.gateway.keep_alive_s(client.connection) == 20

    house.directory.hubs[HUB] = HubSettings(web_socket_keep_alive_interval_in_seconds=7)

    assert house.gateway.keep_alive_s(client.connection) == 7


# Recovery


async def test_recovered_client_keeps_its_id_and_gets_a_fresh_token_and_what_it_missed(house: House) -> None:
    client = await house.client(RELIABLE, user_id="u", groups=["g"])
    query = client.recovery
    client.drop()
    await house.json()
    publisher = await house.json()
    await publisher.say({"type": "sendToGroup", "group": "g", "data": 1})
    house.clock += 60

    opening = house.decide(RELIABLE, **query)
    sink = RecordingSink()
    assert await house.begin(opening, sink) is client.connection

    connected, missed = sink.received
    assert (connected["event"], connected["connectionId"], connected["userId"]) == (
        "connected",
        client.connection.id,
        "u",
    )
    assert connected["reconnectionToken"] != query["awps_reconnection_token"]
    assert (missed["sequenceId"], missed["data"]) == (1, 1)
    assert (house.telemetry.recoveries, house.telemetry.opened) == (1, 3)


@pytest.mark.parametrize("access_token", ["", "expired or worse"])
async def test_access_token_is_ignored_at_a_recovery(house: House, access_token: str) -> None:
    client = await house.client(RELIABLE)
    client.drop()

    assert house.decide(RELIABLE, access_token=access_token, **client.recovery).connection is client.connection


@pytest.mark.parametrize("offers", [(), (JSON,), (JSON, RELIABLE), ("mine",)])
async def test_recovered_client_keeps_its_subprotocol_whatever_it_offers(house: House, offers: tuple[str, ...]) -> None:
    client = await house.client(RELIABLE)
    client.drop()

    opening = house.decide(*offers, **client.recovery)

    assert (opening.resumed, opening.subprotocol) == (True, RELIABLE)


async def test_recovery_needs_the_token_of_that_connection(house: House) -> None:
    client, other = await house.client(RELIABLE), await house.client(RELIABLE)
    client.drop()
    right, foreign = client.recovery, other.recovery["awps_reconnection_token"]
    week = 7 * 24 * 3600

    assert not house.decide(**{**right, "awps_reconnection_token": foreign}).resumed
    assert not house.decide(**{**right, "awps_reconnection_token": ""}).resumed
    assert not house.decide(**{**right, "awps_reconnection_token": house.token()}).resumed
    assert not house.decide(**{**right, "awps_connection_id": "unknown"}).resumed
    assert not house.decide(**{**right, "awps_connection_id": ""}).resumed
    assert not house.decide(url="/client/hubs/other", **right).resumed
    house.clock += week + 120
    assert not house.decide(**right).resumed
    assert house.telemetry.recoveries_refused == 7


async def test_plain_client_cannot_be_recovered(house: House) -> None:
    client = await house.client(JSON)
    token = house.principals.issue_recovery_token(client.connection.id)

    opening = house.decide(JSON, awps_connection_id=client.connection.id, awps_reconnection_token=token)

    assert opening.connection is None
    assert client.connection.sink is client.sink


@pytest.mark.parametrize(
    ("offers", "echo"), [((), None), ((RELIABLE,), RELIABLE), (("mine", RELIABLE), RELIABLE), (("mine",), "mine")]
)
async def test_refused_recovery_is_101_with_what_was_offered_and_then_1008(
    house: House, offers: tuple[str, ...], echo: str | None
) -> None:
    """Never a 4xx: official clients would try again for half a minute."""
    opening = house.decide(*offers, awps_connection_id="gone", awps_reconnection_token="t")
    sink = RecordingSink()

    assert await house.begin(opening, sink) is None

    assert opening.subprotocol == echo
    assert sink.closed is not None
    assert (sink.closed[0], sink.writes) == (1008, [])
    assert (house.telemetry.recoveries_refused, house.telemetry.refused) == (1, {})


async def test_connection_that_ended_between_the_answer_and_the_beginning_is_1008(house: House) -> None:
    client = await house.client(RELIABLE)
    client.drop()
    opening = house.decide(RELIABLE, **client.recovery)
    await house.node.ask(Close(to_hub(HUB)))
    sink = RecordingSink()

    assert await house.begin(opening, sink) is None

    assert sink.closed is not None
    assert sink.closed[0] == 1008
    assert house.telemetry.recoveries == 0


@pytest.mark.parametrize("code", [1001, 1005, 1006, 1008, 3000])
async def test_any_goodbye_but_1000_may_be_recovered_from(house: House, code: int) -> None:
    """Official clients close with 1001, or without a code, and then come back."""
    client = await house.client(RELIABLE)

    client.drop(code)

    assert (client.connection.alive, house.ended) == (True, [])
    assert house.decide(**client.recovery).resumed


async def test_goodbye_1000_is_final(house: House) -> None:
    client = await house.client(RELIABLE)

    client.drop(1000)

    assert house.ended == [(client.connection, CloseCategory.NORMAL, 1000, "")]
    assert not house.decide(**client.recovery).resumed


async def test_connection_that_the_application_closed_is_not_recovered(house: House) -> None:
    """Official clients try, and open a fresh one when that is answered 1008."""
    client = await house.client(RELIABLE)
    query = client.recovery

    assert await house.node.ask(Close(to_connection(HUB, client.connection.id))) == Answer(count=1)

    assert not house.decide(**query).resumed


async def test_acks_roles_and_groups_outlive_the_socket(house: House) -> None:
    client = await house.client(RELIABLE, roles=["webpubsub.joinLeaveGroup"])
    await client.say({"type": "joinGroup", "group": "g", "ackId": 1})
    client.drop()
    await house.node.ask(AddToGroups(to_connection(HUB, client.connection.id), ("h",)))
    client.sink.forget()

    query = {
        "awps_connection_id": client.connection.id,
        "awps_reconnection_token": house.principals.issue_recovery_token(client.connection.id),
    }
    await house.begin(house.decide(**query), client.sink)

    (again,) = await client.say({"type": "joinGroup", "group": "g", "ackId": 1})
    assert again["error"]["name"] == "Duplicate"
    assert list(client.connection.groups) == ["g", "h"]


# Messages


async def test_ping_is_answered_at_once_and_in_order(house: House) -> None:
    client = await house.json()

    assert await client.say(
        {"type": "joinGroup", "group": "g", "ackId": 1},
        {"type": "ping"},
        {"type": "joinGroup", "group": "h", "ackId": 2},
    ) == [
        {"type": "ack", "ackId": 1, "success": True},
        {"type": "pong"},
        {"type": "ack", "ackId": 2, "success": True},
    ]


@pytest.mark.parametrize("offer", [JSON, RELIABLE])
async def test_message_that_is_not_in_the_language_ends_the_connection_for_good(house: House, offer: str) -> None:
    client = await house.client(offer)
    await client.say('{"type":"secret"}')

    assert client.sink.received[-1]["event"] == "disconnected"
    assert client.sink.closed is not None
    assert client.sink.closed[0] == 1007
    ((connection, category, code, text),) = house.ended
    assert (connection, category, code) == (client.connection, CloseCategory.BAD_REQUEST, 1007)
    assert "secret" not in text


async def test_message_behind_the_end_is_ignored(house: House) -> None:
    client = await house.json()

    assert await client.say("nonsense", {"type": "ping"}, "nonsense") == client.sink.received
    assert [row["type"] for row in client.sink.received] == ["system"]


@pytest.mark.parametrize("code", [1002, 1007, 1009])
async def test_broken_framing_ends_the_connection_with_its_code(house: House, code: int) -> None:
    client = await house.client(RELIABLE)

    house.gateway.violated(client.connection, ProtocolViolation("broken", code))

    assert house.ended == [(client.connection, CloseCategory.BAD_REQUEST, code, "broken")]
    assert client.sink.closed == (code, "broken")


async def test_slow_client_is_closed_1008_and_not_its_successor(house: House) -> None:
    client = await house.client(RELIABLE)
    old = client.sink
    client.drop()
    await house.begin(house.decide(**client.recovery), RecordingSink())

    house.gateway.slow(client.connection, old)
    assert client.connection.alive

    sink = client.connection.sink
    assert isinstance(sink, RecordingSink)
    house.gateway.slow(client.connection, sink)
    assert [(category, code) for _, category, code, _ in house.ended] == [(CloseCategory.SLOW_CLIENT, 1008)]
    assert (sink.closed or (0,))[0] == 1008


async def test_our_own_fault_is_1011(house: House) -> None:
    client = await house.json()

    house.gateway.failed(client.connection)

    assert [(category, code) for _, category, code, _ in house.ended] == [(CloseCategory.SERVICE_TRANSIENT_ERROR, 1011)]
    assert (client.sink.closed or (0,))[0] == 1011


async def test_goodbye_of_the_server_is_1001_and_final(house: House) -> None:
    """There is no other node to hand a session to."""
    client = await house.client(RELIABLE)

    house.gateway.farewell(client.connection)
    await settle()

    assert client.sink.received[-1]["event"] == "disconnected"
    assert (client.sink.closed or (0,))[0] == 1001
    assert [(category, code) for _, category, code, _ in house.ended] == [(CloseCategory.SERVICE_RELOAD, 1001)]
    assert not client.connection.alive
