"""REST on MQTT clients: it speaks of sessions, whether or not their clients are there."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from acceptance.mqtt import SERVER_MESSAGES, VERSIONS, Ended, MqttClient, await_offline, close_all
from acceptance.servers import Server, running
from acceptance.wire import JsonClient, rest
from hubwire.protocols.mqtt.packets import Properties

TEXT: Final = {"Content-Type": "text/plain"}
JSON: Final = {"Content-Type": "application/json"}
BYTES: Final = {"Content-Type": "application/octet-stream"}
ADMINISTRATIVE: Final = 0x98


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module, which counts who is offline. Each test has a hub of its own."""
    with running(tmp_path_factory.mktemp("rest")) as server:
        yield server


@pytest.fixture
def hub(server: Server, hub: str) -> Iterator[str]:
    """Nobody waits in it for another socket once the test is over."""
    yield hub
    close_all(server, hub)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def send(server: Server, path: str, body: bytes = b"x", headers: dict[str, str] = TEXT, **query: str) -> None:
    assert rest(server, "POST", f"{path}/:send", body=body, headers=headers, query=query.items()).status == 202


def topics(client: MqttClient) -> list[str]:
    """Of all messages up to now."""
    return [message.topic for message in client.heard()]


def test_what_the_server_sends_comes_on_one_topic(server: Server, hub: str, version: int) -> None:
    """To a connection, a user, and everybody; with QoS 1, and without a subscription or a role."""
    with MqttClient(server, hub, version=version, client_id="ü 1", user="u", roles=[]) as client:
        send(server, f"{hub}/connections/%C3%BC%201", "tëxt".encode())
        send(server, f"{hub}/users/u", b'{"a": 1.50}', JSON)
        send(server, hub, b"\x00\xff", BYTES)
        text, document, data = client.messages(3)

    assert {(message.topic, message.qos) for message in (text, document, data)} == {(SERVER_MESSAGES, 1)}
    assert [message.payload for message in (text, document, data)] == ["tëxt".encode(), b'{"a": 1.50}', b"\x00\xff"]
    if version == 5:
        assert text.properties == Properties(content_type="text/plain", payload_format=1)
        assert document.properties == Properties(content_type="application/json", payload_format=1)
        assert data.properties == Properties(content_type="application/octet-stream")


def test_metadata_and_time_of_what_the_server_sends(server: Server, hub: str) -> None:
    headers = {**TEXT, "X-WebPubSub-Metadata-Trace": "t"}
    with MqttClient(server, hub) as client:
        send(server, hub, b"x", headers, messageTtlSeconds="100")
        properties = client.message().properties
    assert properties.user_properties == (("trace", "t"),)
    assert 90 <= (properties.message_expiry_s or 0) <= 100


def test_client_chooses_how_it_hears_the_server(server: Server, hub: str, version: int) -> None:
    """Until it takes that back."""
    with MqttClient(server, hub, version=version) as client:
        for granted, heard in ((0, 0), (2, 1), (1, 1)):
            assert client.subscribe(SERVER_MESSAGES, qos=granted) == (granted,)
            send(server, hub)
            assert client.message().qos == heard
        client.subscribe(SERVER_MESSAGES, qos=0)
        assert client.unsubscribe(SERVER_MESSAGES) == ((0,) if version == 5 else ())
        send(server, hub)
        assert client.message().qos == 1


def test_what_the_server_sends_waits_for_a_client_that_is_offline(server: Server, hub: str, version: int) -> None:
    with MqttClient(server, hub, version=version, user="u", clean=False, expiry_s=30) as client:
        client.drop()
    await_offline(server)
    for path in (f"connections/{client.client_id}", "users/u"):
        send(server, f"{hub}/{path}", path.encode())
    send(server, hub, b"all")
    with client.again(user="u") as back:
        wanted = [f"connections/{client.client_id}".encode(), b"users/u", b"all"]
        assert [message.payload for message in back.messages(3)] == wanted


def test_sessions_exist_while_their_clients_are_offline(server: Server, hub: str, version: int) -> None:
    paths = [f"{hub}/{path}" for path in ("connections/device", "users/u", "groups/g")]
    with MqttClient(
        server, hub, version=version, client_id="device", user="u", groups=["g"], clean=False, expiry_s=30
    ) as client:
        assert [rest(server, "HEAD", path).status for path in paths] == [200] * 3
        client.drop()
    await_offline(server)
    assert [rest(server, "HEAD", path).status for path in paths] == [200] * 3
    close_all(server, hub)
    assert [rest(server, "HEAD", path).status for path in paths] == [404] * 3


def test_members_of_a_group_are_listed_by_their_client_ids(server: Server, hub: str, version: int) -> None:
    with (
        MqttClient(server, hub, version=version, client_id="ü", user="u") as first,
        JsonClient(server, hub, groups=["g"]) as other,
    ):
        first.subscribe("g")
        listed = json.loads(rest(server, "GET", f"{hub}/groups/g/connections").body)["value"]
    members = {member["connectionId"]: member.get("userId") for member in listed}
    assert members == {"ü": "u", other.connection_id: None}


# Groups


def test_client_is_put_into_a_group_and_out_of_it(server: Server, hub: str, version: int) -> None:
    """By itself and as its user, with no role; with QoS 1, as it has asked for nothing else."""
    with MqttClient(server, hub, version=version, user="u", roles=[]) as client:
        for path in (f"{hub}/groups/g/connections/{client.client_id}", f"{hub}/users/u/groups/g"):
            assert rest(server, "PUT", path).status == 200
            send(server, f"{hub}/groups/g")
            message = client.message()
            assert (message.topic, message.qos) == ("g", 1)
            assert rest(server, "DELETE", path).status == 204
            send(server, f"{hub}/groups/g")
            assert topics(client) == []


def test_subscription_to_a_group_that_a_client_was_put_into_is_the_same_membership(server: Server, hub: str) -> None:
    """With the options of the client; it hears each message once, and leaves once."""
    with MqttClient(server, hub) as client:
        assert rest(server, "PUT", f"{hub}/groups/g/connections/{client.client_id}").status == 200
        client.subscribe("g", qos=0, identifier=3)
        send(server, f"{hub}/groups/g")
        (message,) = client.heard()
        assert (message.qos, message.properties.subscription_ids) == (0, (3,))
        assert client.unsubscribe("g") == (0,)
        assert client.unsubscribe("g") == (0x11,)


def test_options_end_with_the_membership_whoever_ends_it(server: Server, hub: str) -> None:
    path = f"{hub}/groups/g/connections/"
    with MqttClient(server, hub) as client:
        client.subscribe("g", qos=0, no_local=True, identifier=3)
        assert rest(server, "DELETE", path + client.client_id).status == 204
        assert client.unsubscribe("g") == (0x11,)
        assert rest(server, "PUT", path + client.client_id).status == 200
        client.publish("g", b"own")
        (message,) = client.heard()
        assert (message.qos, message.properties.subscription_ids) == (1, ())


def test_client_leaves_all_groups_at_once(server: Server, hub: str, version: int) -> None:
    for path in ("connections/device/groups", "users/u/groups"):
        with MqttClient(server, hub, version=version, client_id="device", user="u", groups=["g", "h"]) as client:
            assert rest(server, "DELETE", f"{hub}/{path}").status == 204
            for group in ("g", "h"):
                send(server, f"{hub}/groups/{group}")
            assert topics(client) == []


@pytest.mark.parametrize("name", ["a+b", "a/#", "+", "$own", "$webpubsub/server/messages"])
def test_group_that_is_no_topic_is_not_for_a_client(server: Server, hub: str, version: int, name: str) -> None:
    """Of one connection that is said; of many, those whose protocol has such names are put into it."""
    path = name.replace("/", "%2F").replace("#", "%23")
    with (
        MqttClient(server, hub, version=version, user="u") as client,
        JsonClient(server, hub, user="u") as other,
    ):
        answer = rest(server, "PUT", f"{hub}/groups/{path}/connections/{client.client_id}")
        assert answer.status == 400
        assert b"topic" in answer.body
        assert rest(server, "PUT", f"{hub}/users/u/groups/{path}").status == 200
        body = json.dumps({"groups": [name, "g"], "filter": "userId eq 'u'"}).encode()
        assert rest(server, "POST", f"{hub}/:addToGroups", body=body, headers=JSON).status == 200
        for group in (path, "g"):
            send(server, f"{hub}/groups/{group}")
        assert topics(client) == ["g"]
        assert [frame["group"] for frame in other.heard()] == [name, "g"]


# Ends


@pytest.mark.parametrize("path", ["", "/groups/g", "/users/u"])
def test_many_sessions_are_closed_with_a_reason(server: Server, hub: str, path: str) -> None:
    options: dict[str, Any] = {"user": "u", "groups": ["g"], "clean": False, "expiry_s": 30}
    with (
        MqttClient(server, hub, **options) as newer,
        MqttClient(server, hub, version=4, **options) as older,
        MqttClient(server, hub, **options) as kept,
    ):
        query = [("reason", "gö"), ("excluded", kept.client_id)]
        assert rest(server, "POST", f"{hub}{path}/:closeConnections", query=query).status == 204
        assert newer.ended() == Ended(ADMINISTRATIVE, "gö", 1000)
        assert older.ended() == Ended(None, None, 1000)
        kept.ping()
        for client in (newer, older):
            assert rest(server, "HEAD", f"{hub}/connections/{client.client_id}").status == 404


def test_close_without_a_reason_has_none(server: Server, hub: str) -> None:
    with MqttClient(server, hub) as client:
        assert rest(server, "DELETE", f"{hub}/connections/{client.client_id}").status == 204
        assert client.ended() == Ended(ADMINISTRATIVE, None, 1000)


def test_filters_find_mqtt_clients(server: Server, hub: str, version: int) -> None:
    with (
        MqttClient(server, hub, version=version, user="u", groups=["g"]) as found,
        MqttClient(server, hub, version=version, user="v") as other,
    ):
        send(server, hub, filter="userId eq 'u'")
        send(server, hub, filter="'g' in groups")
        send(server, hub, filter=f"connectionId eq '{other.client_id}'")
        assert len(found.heard()) == 2
        assert len(other.heard()) == 1
