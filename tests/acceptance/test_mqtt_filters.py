"""Filters with wildcards on a real server: heard by raw clients and by paho-mqtt, spoken to from all sides."""

from collections.abc import Iterator

import pytest

from acceptance.mqtt import VERSIONS, MqttClient, await_offline, close_all, paho_client
from acceptance.servers import Server, StartServer, running, wait_until
from acceptance.wire import JOIN, SEND, JsonClient, rest
from hubwire.protocols.mqtt.packets import Publish

NOT_AUTHORIZED = 0x87
UNSUPPORTED = 0xA2


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module, which counts who is offline. Each test has a hub of its own."""
    with running(tmp_path_factory.mktemp("filters")) as server:
        yield server


def topics(client: MqttClient) -> list[str]:
    return [message.topic for message in client.heard()]


def test_filter_hears_whatever_matches_from_every_side(server: Server, hub: str, version: int) -> None:
    with (
        MqttClient(server, hub, version=version) as client,
        MqttClient(server, hub, version=4) as other,
        JsonClient(server, hub) as json,
    ):
        assert client.subscribe("site/+/door") == (1,)
        other.publish("site/a/door", b"1")
        other.publish("site/a/b/door", b"not for it")
        json.request({"type": "sendToGroup", "group": "site//door", "dataType": "text", "data": "2"})
        send = rest(server, "POST", f"{hub}/groups/site%2Fb%2Fdoor/:send", body=b'"3"')
        assert send.status == 202
        heard = [(message.topic, message.payload) for message in client.heard()]
        assert heard == [("site/a/door", b"1"), ("site//door", b"2"), ("site/b/door", b'"3"')]

        assert client.unsubscribe("site/+/door") == ((0,) if version == 5 else ())
        other.publish("site/a/door", b"not any more")
        assert client.heard() == []


def test_for_rest_a_filter_is_no_membership(server: Server, hub: str) -> None:
    with MqttClient(server, hub) as client:
        client.subscribe("#")
        assert rest(server, "HEAD", f"{hub}/groups/g").status == 404
        listed = rest(server, "GET", f"{hub}/groups/g/connections").json()
        assert listed["value"] == []
        assert rest(server, "DELETE", f"{hub}/connections/{client.client_id}/groups").status == 204
        rest(server, "POST", f"{hub}/groups/g/:send", body=b"1")
        for name, value in (("excluded", client.client_id), ("filter", "userId ne null")):
            assert rest(server, "POST", f"{hub}/groups/g/:send", query=[(name, value)], body=b"2").status == 202
        assert [message.payload for message in client.heard()] == [b"1"]


def test_one_copy_has_the_highest_qos_and_all_identifiers(server: Server, hub: str) -> None:
    with MqttClient(server, hub) as client, MqttClient(server, hub) as other:
        client.subscribe("a/+", qos=0, identifier=1)
        client.subscribe("#", qos=2, identifier=2, no_local=True)
        client.subscribe("a/b", qos=1, identifier=3)
        other.publish("a/b", b"x", 2)
        message = client.message()
        assert (message.qos, sorted(message.properties.subscription_ids)) == (2, [1, 2, 3])
        client.publish("a/b", b"its own", 2)
        message = client.message()
        assert (message.qos, sorted(message.properties.subscription_ids)) == (1, [1, 3])
        client.unsubscribe("a/b")
        client.unsubscribe("a/+")
        client.publish("a/b", b"its own", 2)
        assert client.heard() == []


def test_filter_wants_the_roles_for_all_that_it_stands_for(server: Server, hub: str, version: int) -> None:
    no = NOT_AUTHORIZED if version == 5 else 0x80
    roles = [f"{JOIN}s.site/**", f"{JOIN}.a", SEND]
    with MqttClient(server, hub, version=version, roles=roles) as client:
        assert client.subscribe("site/+", "site/#", "#", "+", "a/+", "site/a/#") == (1, no, no, no, no, 1)
    with MqttClient(server, hub, version=version, roles=[]) as client:
        assert client.subscribe("#") == (no,)


def test_filters_are_a_part_of_the_session(server: Server, hub: str, version: int) -> None:
    with MqttClient(server, hub, version=version, clean=False, expiry_s=30) as client:
        client.subscribe("a/#")
        client.drop()
    await_offline(server)
    with MqttClient(server, hub) as other:
        other.publish("a/b", b"1")
        with client.again() as back:
            assert back.resumed
            assert topics(back) == ["a/b"]
            other.publish("a", b"2")
            assert topics(back) == ["a"]
        with client.again(clean=True) as anew:
            assert not anew.resumed
            other.publish("a/b", b"3")
            assert topics(anew) == []
    close_all(server, hub)


def test_setting_goes_before_the_preset(start_server: StartServer, hub: str, version: int) -> None:
    refused = UNSUPPORTED if version == 5 else 0x80
    for options, code in (
        (("mqtt_compatibility=azure",), refused),
        (("mqtt_compatibility=azure", "mqtt_wildcards=true"), 1),
        (("mqtt_wildcards=false",), refused),
    ):
        server = start_server(*(word for option in options for word in ("--set", option)))
        with MqttClient(server, hub, version=version) as client:
            assert client.subscribe("#") == (code,)
            if version == 5:
                assert client.connack.properties.wildcard_available == (None if code == 1 else 0)


def test_paho_hears_by_filters(server: Server, hub: str, version: int) -> None:
    with paho_client(server, hub, version) as client:
        assert client.subscribe("site/+/#", 1) == [1]
        assert client.subscribe("site/a/+", 2) == [2]
        for topic in ("site/a/b", "site/a", "other/a", "site", "site/a/b/c"):
            client.publish(topic, topic.encode(), 2)
        heard = [(message.topic, message.payload.decode(), message.qos) for message in client.received(3)]
        assert heard == [(t, t, qos) for t, qos in (("site/a/b", 2), ("site/a", 1), ("site/a/b/c", 1))]
        client.unsubscribe("site/+/#")
        client.messages.clear()
        client.publish("site/a", b"not any more", 1)
        client.publish("site/a/b", b"still", 1)
        assert [message.payload for message in client.received(1)] == [b"still"]


# Shared subscriptions


def test_workers_share_what_is_to_be_done(server: Server, hub: str, version: int) -> None:
    """Who leaves, and whose session ends, leaves its part to the others."""
    with (
        MqttClient(server, hub, version=version) as one,
        MqttClient(server, hub, version=version, clean=False, expiry_s=30) as two,
        MqttClient(server, hub) as boss,
    ):
        for worker in (one, two):
            assert worker.subscribe("$share/workers/jobs/+") == (1,)
        for number in range(6):
            boss.publish(f"jobs/{number}")
        done = topics(one) + topics(two)
        assert sorted(done) == [f"jobs/{number}" for number in range(6)]
        assert len(done) == 6

        one.unsubscribe("$share/workers/jobs/+")
        boss.publish("jobs/a")
        message = two.expect(Publish)
        assert message.topic == "jobs/a"
        two.drop()
        await_offline(server)
        one.subscribe("$share/workers/jobs/+")
        boss.publish("jobs/b")
        assert topics(one) == ["jobs/b"]
        close = rest(server, "DELETE", f"{hub}/connections/{two.client_id}")
        assert close.status == 204
        assert [one.message().topic] == ["jobs/a"]


def test_shared_subscriptions_have_a_setting(start_server: StartServer, hub: str) -> None:
    for options, code in (
        (("mqtt_compatibility=azure",), 0x9E),
        (("mqtt_compatibility=azure", "mqtt_shared_subscriptions=true"), 1),
        (("mqtt_shared_subscriptions=false",), 0x9E),
    ):
        server = start_server(*(word for option in options for word in ("--set", option)))
        with MqttClient(server, hub) as client:
            assert client.subscribe("$share/s/g") == (code,)
            assert client.connack.properties.shared_available == (None if code == 1 else 0)


def test_paho_shares(server: Server, hub: str, version: int) -> None:
    with paho_client(server, hub, version) as one, paho_client(server, hub, version) as two:
        for client in (one, two):
            assert client.subscribe("$share/s/a/#", 1) == [1]
        for number in range(10):
            one.publish(f"a/{number}", b"", 1)
        wait_until(lambda: len(one.messages) + len(two.messages) == 10, "all messages")
        assert sorted(message.topic for message in (*one.messages, *two.messages)) == [f"a/{n}" for n in range(10)]
        assert one.messages
        assert two.messages
