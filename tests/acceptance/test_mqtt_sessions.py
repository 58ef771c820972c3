"""Sessions of MQTT clients: how long they last, who goes on with them, and what is kept in them."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from acceptance.mqtt import VERSIONS, Ended, MqttClient, await_offline, close_all, refused
from acceptance.servers import Server, running, wait_until
from acceptance.upstreams import Upstream, configure, says
from acceptance.wire import JOIN, SEND, JsonClient, rest

TEXT = {"Content-Type": "text/plain"}
LASTS_S = 30
"""Of a session that is to outlive the breaks of a test; the server grants no more."""

NORMAL = 1000
TAKEN_OVER = 0x8E
ADMINISTRATIVE = 0x98


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module, which counts who is offline. Each test has a hub of its own."""
    with running(tmp_path_factory.mktemp("sessions")) as server:
        yield server


@pytest.fixture
def hub(server: Server, hub: str) -> Iterator[str]:
    """Nobody waits in it for another socket once the test is over."""
    yield hub
    close_all(server, hub)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def lasting(server: Server, hub: str, version: int, **options: Any) -> MqttClient:
    """A client whose session waits for it."""
    return MqttClient(server, hub, version=version, clean=False, expiry_s=LASTS_S, **options)


def exists(server: Server, hub: str, client_id: str) -> bool:
    """Is there such a session, as REST tells it."""
    status = rest(server, "HEAD", f"{hub}/connections/{client_id}").status
    assert status in (200, 404)
    return status == 200


def await_end(server: Server, hub: str, client: MqttClient) -> None:
    wait_until(lambda: not exists(server, hub, client.client_id), "the end of the session")


def send(server: Server, hub: str, text: str) -> None:
    """To the group `g`."""
    assert rest(server, "POST", f"{hub}/groups/g/:send", body=text.encode(), headers=TEXT).status == 202


def payloads(client: MqttClient) -> list[str]:
    """Of all messages up to now."""
    return [message.payload.decode() for message in client.heard()]


# Going on


def test_session_goes_on_after_a_lost_connection(server: Server, hub: str, version: int) -> None:
    """With its subscriptions and their options, its user, its roles, and what was sent meanwhile."""
    with lasting(server, hub, version, user="u", roles=[f"{JOIN}.g", f"{SEND}.g"]) as client:
        assert not client.resumed
        client.subscribe("g", qos=2)
        client.drop()
    await_offline(server)
    send(server, hub, "meanwhile")
    with client.again(user="u", roles=[]) as back, JsonClient(server, hub, groups=["g"]) as other:
        assert back.resumed
        assert payloads(back) == ["meanwhile"]
        assert back.publish("g", b"again", 2) == 0
        (frame,) = other.heard()
        assert frame["fromUserId"] == "u"
        assert [(message.payload, message.qos) for message in back.heard()] == [(b"again", 2)]


def test_what_waits_comes_in_order_but_without_qos_0(server: Server, hub: str, version: int) -> None:
    with lasting(server, hub, version) as client, MqttClient(server, hub) as publisher:
        client.subscribe("g", qos=2)
        assert client.goodbye().close_code == NORMAL
        await_offline(server)
        for number in range(60):
            publisher.publish("g", b"%d" % number, number % 3)
        publisher.ping()
        with client.again() as back:
            wanted = [(b"%d" % number, number % 3, False) for number in range(60) if number % 3]
            assert [(message.payload, message.qos, message.dup) for message in back.heard()] == wanted


def test_session_goes_on_in_the_other_version(server: Server, hub: str, version: int) -> None:
    with lasting(server, hub, version) as client:
        client.subscribe("g", qos=1)
        client.drop()
    await_offline(server)
    send(server, hub, "meanwhile")
    with client.again(version=9 - version) as back:
        assert back.resumed
        assert payloads(back) == ["meanwhile"]


def test_leaving_in_order_keeps_a_lasting_session(server: Server, hub: str, version: int) -> None:
    with lasting(server, hub, version) as client:
        client.subscribe("g")
        client.goodbye()
    await_offline(server)
    assert exists(server, hub, client.client_id)
    with client.again() as back:
        assert back.resumed


def test_group_exists_while_its_only_member_is_offline(server: Server, hub: str, version: int) -> None:
    with lasting(server, hub, version, user="u") as client:
        client.subscribe("g")
        client.drop()
    await_offline(server)
    for path in ("groups/g", "users/u"):
        assert rest(server, "HEAD", f"{hub}/{path}").status == 200


def test_groups_and_rights_may_change_while_a_client_is_offline(server: Server, hub: str, version: int) -> None:
    with lasting(server, hub, version, roles=[], groups=["g"]) as client:
        client.drop()
    await_offline(server)
    path = f"{hub}/groups/h/connections/{client.client_id}"
    assert rest(server, "PUT", path).status == 200
    assert rest(server, "DELETE", path.replace("/h/", "/g/")).status == 204
    permission = f"{hub}/permissions/sendToGroup/connections/{client.client_id}"
    assert rest(server, "PUT", permission, query=[("targetName", "h")]).status == 200
    with client.again(roles=[]) as back:
        send(server, hub, "not a member any more")
        assert back.publish("h", b"own") == 0
        assert payloads(back) == ["own"]


def test_resumed_session_takes_no_groups_of_the_new_token(server: Server, hub: str, version: int) -> None:
    with lasting(server, hub, version, user="u", groups=["old"]) as client:
        client.drop()
    await_offline(server)
    with client.again(groups=["new"], roles=[JOIN]) as back:
        assert back.publish("new") == 0
        assert back.publish("old") == 0
        assert [message.topic for message in back.heard()] == ["old"]


# Ids


def test_client_without_an_id_gets_one_of_its_own(server: Server, hub: str, version: int) -> None:
    """In 5.0 it is told, and may come back with it. In 3.1.1 it can only be anew each time."""
    with (
        MqttClient(server, hub, version=version, client_id="", user="u", expiry_s=LASTS_S) as client,
        MqttClient(server, hub, version=version, client_id="", user="u") as other,
    ):
        client.subscribe("g")
        listed = json.loads(rest(server, "GET", f"{hub}/groups/g/connections").body)["value"]
        assert re.fullmatch("[0-9a-f]{32}", listed[0]["connectionId"])
        other.ping()
        if version == 5:
            assert client.client_id == listed[0]["connectionId"] != other.client_id
            with client.again(user="u") as back:
                assert back.resumed
    if version == 4:
        refused(server, hub, 2, version=4, client_id="", clean=False)


# Ending


def test_session_that_is_not_to_last_ends_with_its_connection(server: Server, hub: str, version: int) -> None:
    with MqttClient(server, hub, version=version) as client:
        client.subscribe("g")
        client.drop()
    await_end(server, hub, client)
    with client.again() as back:
        assert not back.resumed
        send(server, hub, "x")
        assert payloads(back) == []


def test_session_ends_when_its_time_is_over(server: Server, hub: str) -> None:
    with MqttClient(server, hub, clean=False, expiry_s=1) as client:
        client.subscribe("g")
        client.drop()
    await_end(server, hub, client)
    assert rest(server, "HEAD", f"{hub}/groups/g").status == 404
    with client.again() as back:
        assert not back.resumed


def test_longest_session_is_announced_where_more_was_wanted(server: Server, hub: str) -> None:
    for wanted, announced in ((None, None), (0, None), (30, None), (604_801, 604_800), (0xFFFF_FFFF, 604_800)):
        with MqttClient(server, hub, expiry_s=wanted) as client:
            assert client.connack.properties.session_expiry_s == announced


def test_goodbye_may_end_a_lasting_session(server: Server, hub: str) -> None:
    with lasting(server, hub, 5) as client:
        client.goodbye(session_expiry_s=0)
    await_end(server, hub, client)


def test_goodbye_may_not_make_a_session_last_that_was_not_to(server: Server, hub: str) -> None:
    with MqttClient(server, hub, expiry_s=0) as client:
        assert client.goodbye(session_expiry_s=30).code == 0x82
    await_end(server, hub, client)


def test_clean_start_begins_anew(server: Server, hub: str, version: int) -> None:
    with lasting(server, hub, version) as client:
        client.subscribe("g")
        client.drop()
    await_offline(server)
    send(server, hub, "lost")
    with client.again(clean=True) as anew:
        assert not anew.resumed
        send(server, hub, "not a member")
        assert payloads(anew) == []


@pytest.mark.parametrize("clean", [False, True], ids=["resumed", "clean"])
def test_newer_connection_takes_over_from_one_that_is_there(
    server: Server, hub: str, version: int, clean: bool
) -> None:
    with lasting(server, hub, version) as old:
        old.subscribe("g")
        with old.again(clean=clean) as new:
            assert new.resumed is not clean
            code, _, close_code = old.ended()
            assert (code, close_code) == (TAKEN_OVER if version == 5 else None, NORMAL)
            send(server, hub, "x")
            assert payloads(new) == ([] if clean else ["x"])
            assert exists(server, hub, old.client_id)


def test_session_that_does_not_last_is_not_taken_over_but_replaced(server: Server, hub: str, version: int) -> None:
    with MqttClient(server, hub, version=version) as old:
        old.subscribe("g")
        with old.again() as new:
            assert not new.resumed
            assert old.ended().close_code == NORMAL
            send(server, hub, "x")
            assert payloads(new) == []


def test_sessions_of_two_hubs_are_two(server: Server, hub: str, version: int) -> None:
    with (
        MqttClient(server, hub, version=version, client_id="one") as first,
        MqttClient(server, f"{hub}x", version=version, client_id="one") as second,
    ):
        first.ping()
        second.ping()


@pytest.mark.parametrize("online", [True, False], ids=["online", "offline"])
def test_session_of_a_user_is_for_that_user_alone(server: Server, hub: str, version: int, online: bool) -> None:
    """It keeps its roles, so whoever knew a client id would have them."""
    rejected = 0x85 if version == 5 else 2
    with lasting(server, hub, version, user="owner") as owner:
        owner.subscribe("g")
        if not online:
            owner.drop()
            await_offline(server)
        for clean in (False, True):
            for user in ("other", ""):
                options: dict[str, Any] = {"client_id": owner.client_id, "clean": clean, "user": user}
                refused(server, hub, rejected, version=version, **options)
        if online:
            owner.ping()
        with owner.again(user="owner") as back:
            assert back.resumed


@pytest.mark.parametrize("online", [True, False], ids=["online", "offline"])
def test_session_of_nobody_is_for_others_without_a_user_that_may_do_no_less(
    server: Server, hub: str, version: int, online: bool
) -> None:
    """And stays nobody's."""
    rejected = 0x85 if version == 5 else 2
    with lasting(server, hub, version, user="", roles=[f"{SEND}.g"], groups=["g"]) as owner:
        owner.ping()
        if not online:
            owner.drop()
            await_offline(server)
        same: dict[str, Any] = {"client_id": owner.client_id, "version": version, "user": ""}
        for clean in (False, True):
            refused(server, hub, rejected, **same, clean=clean, roles=[])
            refused(server, hub, rejected, **same, clean=clean, roles=[f"{SEND}.h"], groups=["g"])
            refused(server, hub, rejected, **same, clean=clean, roles=[SEND])
            refused(server, hub, rejected, **{**same, "user": "u"}, clean=clean, roles=[SEND, JOIN])
        with owner.again(roles=[SEND, f"{JOIN}.g"], groups=[]) as back, JsonClient(server, hub, groups=["g"]) as other:
            assert back.resumed
            back.publish("g")
            assert "fromUserId" not in other.receive()


def test_client_id_of_another_protocols_connection_is_not_for_mqtt_clients(
    server: Server, hub: str, version: int
) -> None:
    with JsonClient(server, hub) as other:
        refused(server, hub, 0x85 if version == 5 else 2, version=version, client_id=other.connection_id)
        assert other.heard() == []


def test_closing_by_rest_ends_the_session(server: Server, hub: str, version: int) -> None:
    with lasting(server, hub, version) as client:
        path = f"{hub}/connections/{client.client_id}"
        assert rest(server, "DELETE", path, query=[("reason", "go away")]).status == 204
        wanted = Ended(ADMINISTRATIVE, "go away", NORMAL) if version == 5 else Ended(None, None, NORMAL)
        assert client.ended() == wanted
    assert not exists(server, hub, client.client_id)


def test_closing_by_rest_ends_a_session_that_is_offline(server: Server, hub: str, version: int) -> None:
    with lasting(server, hub, version) as client:
        client.drop()
    await_offline(server)
    assert rest(server, "DELETE", f"{hub}/connections/{client.client_id}").status == 204
    assert not exists(server, hub, client.client_id)
    with client.again() as back:
        assert not back.resumed


# What handlers are told


def test_events_tell_of_sessions_and_of_their_connections(server: Server, hub: str, version: int) -> None:
    """A new session, one that goes on, one that begins anew, and its end."""
    with Upstream() as upstream:
        configure(server, hub, upstream.handler())
        with lasting(server, hub, version, user="u") as first:
            upstream.await_events(1, "connected")  # of different sessions there is no order
            first.drop()
        await_offline(server)
        with first.again(user="u") as second:
            assert second.resumed
            with second.again(user="u", clean=True) as third:
                assert not third.resumed
                third.goodbye(**({"session_expiry_s": 0} if version == 5 else {}))
        close_all(server, hub)
        upstream.await_events(2, "disconnected")
        events = upstream.events()

        names = [event.eventName for event in events]
        assert sorted(names) == sorted(["connect"] * 3 + ["connected"] * 2 + ["disconnected"] * 2)
        connects = [event for event in events if event.eventName == "connect"]
        assert [event.get("ce-sessionId") for event in connects] == [None] * 3
        physical = [event.physicalConnectionId for event in connects]
        assert len(set(physical)) == 3
        connected = upstream.events("connected")
        disconnected = upstream.events("disconnected")
        sessions = [event.sessionId for event in connected]
        assert len(set(sessions)) == 2
        assert [event.physicalConnectionId for event in connected] == [physical[0], physical[2]]
        ends = {event.sessionId: event.physicalConnectionId for event in disconnected}
        assert ends == dict(zip(sessions, physical[1:], strict=True))
        for event in events:
            assert (event.connectionId, event.userId, event.subprotocol) == (first.client_id, "u", "mqtt")


def test_state_of_a_connection_lasts_as_long_as_its_session(server: Server, hub: str, version: int) -> None:
    with Upstream() as upstream:
        upstream.answer = lambda heard: says(ce_connectionState=f"{heard.eventName} {len(upstream.events())}")
        configure(server, hub, upstream.handler(systemEvents=["connect"]))
        with lasting(server, hub, version) as first, first.again() as second, second.again(clean=True) as third:
            assert (second.resumed, third.resumed) == (True, False)

        states = [event.get("ce-connectionState") for event in upstream.events("connect")]
        assert states[0] is None
        assert states[1] is not None
        assert states[2] is None
