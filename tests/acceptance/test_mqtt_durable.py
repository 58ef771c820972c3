"""Sessions of MQTT clients on a server that is killed, or stopped, and started again on the same data."""

import signal
from pathlib import Path
from typing import Any

import pytest

from acceptance.mqtt import VERSIONS, MqttClient, await_offline, refused
from acceptance.servers import Server, StartServer, wait_until
from acceptance.upstreams import Upstream, await_line, configure
from acceptance.wire import JOIN, SEND, metric, rest
from hubwire.protocols.mqtt.packets import Properties, Puback, Pubcomp, Publish, Pubrec, Pubrel, Will

HUB = "hub"
LASTS_S = 3600
SHUTTING_DOWN = 0x8B
QUOTA_EXCEEDED = 0x97


class Lives:
    """One server, in one process after the other."""

    def __init__(self, start: StartServer, folder: Path, *options: str) -> None:
        self._start = start
        self._data = folder / "data"
        self._options = options
        self.now: Server = start(*options, data=self._data)

    def kill(self) -> Server:
        """End it with no chance to do anything, and start it again."""
        self.now.signal(signal.SIGKILL)
        self.now.wait()
        return self.start()

    def stop(self) -> Server:
        """End it as a supervisor would, and start it again."""
        self.now.stop()
        return self.start()

    def start(self, *options: str) -> Server:
        self.now = self._start(*(options or self._options), data=self._data)
        return self.now


@pytest.fixture
def lives(start_server: StartServer, tmp_path: Path) -> Lives:
    return Lives(start_server, tmp_path)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def lasting(server: Server, client_id: str, **options: Any) -> MqttClient:
    """A client whose session is to be there for the next process."""
    return MqttClient(server, HUB, client_id=client_id, clean=False, expiry_s=LASTS_S, **options)


def flights(messages: list[Publish]) -> list[tuple[bytes, int, bool, int | None]]:
    return [(message.payload, message.qos, message.dup, message.packet_id) for message in messages]


def payloads(client: MqttClient) -> list[bytes]:
    return [message.payload for message in client.heard()]


def exists(server: Server, client_id: str) -> bool:
    status = rest(server, "HEAD", f"{HUB}/connections/{client_id}").status
    assert status in (200, 404)
    return status == 200


def settings(**values: object) -> tuple[str, ...]:
    return tuple(word for name, value in values.items() for word in ("--set", f"{name}={value}"))


# Killed


def test_client_that_was_away_at_the_kill_gets_everything_that_was_acknowledged(lives: Lives, version: int) -> None:
    with (
        lasting(lives.now, "device", version=version, user="u", roles=[f"{JOIN}.g", f"{SEND}.h"]) as device,
        MqttClient(lives.now, HUB) as publisher,
    ):
        assert device.subscribe("g", qos=2) == (2,)
        device.drop()
        await_offline(lives.now)
        for number in range(50):
            assert publisher.publish("g", b"%d" % number, 1 + number % 2) == 0

    server = lives.kill()
    assert metric(server, "hubwire_connections_retained") == 1
    with lasting(server, "device", version=version, user="u", roles=[]) as back:
        assert back.resumed
        wanted = [(b"%d" % number, 1 + number % 2, False, number + 1) for number in range(50)]
        assert flights(back.heard()) == wanted
        assert back.publish("h") == 0, "it has its role still"
        assert rest(server, "POST", f"{HUB}/users/u/:send", body=b"x").status == 202
        assert payloads(back) == [b"x"]


def test_what_was_on_its_way_at_the_kill_comes_again_under_its_identifiers(lives: Lives) -> None:
    with lasting(lives.now, "device") as device, MqttClient(lives.now, HUB) as publisher:
        device.subscribe("g", qos=2)
        for text, qos in ((b"a", 1), (b"b", 2), (b"c", 2), (b"d", 1)):
            publisher.publish("g", text, qos)
        came = [device.expect(Publish) for _ in range(4)]
        ids = {message.payload: message.packet_id for message in came}
        device.send(Puback(ids[b"a"] or 0), Pubrec(ids[b"b"] or 0))
        assert device.expect(Pubrel).packet_id == ids[b"b"]
        device.ping()  # which is answered behind what it rests on

        with lasting(lives.kill(), "device") as back:
            assert back.resumed
            assert flights([back.expect(Publish) for _ in range(2)]) == [
                (b"c", 2, True, ids[b"c"]),
                (b"d", 1, True, ids[b"d"]),
            ]
            assert back.expect(Pubrel).packet_id == ids[b"b"]
            back.send(Puback(ids[b"d"] or 0), Pubcomp(ids[b"b"] or 0), Pubrec(ids[b"c"] or 0))
            assert back.expect(Pubrel).packet_id == ids[b"c"]
            back.send(Pubcomp(ids[b"c"] or 0))
            back.ping()
            with lasting(lives.kill(), "device") as again:
                assert again.resumed
                assert again.heard() == []


def test_message_of_qos_2_that_is_repeated_after_the_kill_is_heard_once(lives: Lives) -> None:
    with lasting(lives.now, "listener") as listener, lasting(lives.now, "sender") as sender:
        listener.subscribe("g", qos=2)
        sender.send(Publish("g", b"once", 2, packet_id=9))
        assert sender.expect(Pubrec).packet_id == 9

    server = lives.kill()
    with lasting(server, "sender") as sender:
        assert sender.resumed
        sender.send(Publish("g", b"once", 2, dup=True, packet_id=9))
        assert sender.expect(Pubrec) == Pubrec(9)
        sender.send(Pubrel(9))
        assert sender.expect(Pubcomp) == Pubcomp(9)
        sender.ping()
    server = lives.kill()
    with lasting(server, "listener") as listener, lasting(server, "sender") as sender:
        assert payloads(listener) == [b"once"]
        sender.send(Publish("g", b"another", 2, packet_id=9))
        assert sender.expect(Pubrec) == Pubrec(9)
        assert payloads(listener) == [b"another"]


def test_subscriptions_are_there_after_the_kill_as_they_were_acknowledged(lives: Lives) -> None:
    with lasting(lives.now, "device", groups=["given"]) as device:
        device.subscribe("a", qos=1, identifier=7)
        device.subscribe("b", qos=2, no_local=True)
        device.subscribe("c", qos=0)
        device.subscribe("gone", qos=1)
        assert device.unsubscribe("gone") == (0,)
        path = f"{HUB}/groups/by-rest/connections/device"
        assert rest(lives.now, "PUT", path).status == 200

    server = lives.kill()
    for group, there in (("a", 200), ("given", 200), ("by-rest", 200), ("gone", 404)):
        assert rest(server, "HEAD", f"{HUB}/groups/{group}").status == there
    with lasting(server, "device") as back, MqttClient(server, HUB) as publisher:
        assert back.resumed
        back.publish("b", b"mine", 1)
        for topic in ("a", "b", "c", "gone", "given", "by-rest"):
            publisher.publish(topic, topic.encode(), 2)
        heard = back.heard()
        assert [(m.topic, m.qos, m.properties.subscription_ids) for m in heard] == [
            ("a", 1, (7,)),
            ("b", 2, ()),
            ("c", 0, ()),
            ("given", 1, ()),
            ("by-rest", 1, ()),
        ]


def test_filters_are_there_after_the_kill(lives: Lives) -> None:
    with lasting(lives.now, "device") as device:
        assert device.subscribe("a/+", "b/#", qos=1, identifier=3) == (1, 1)
        assert device.unsubscribe("b/#") == (0,)

    server = lives.kill()
    with MqttClient(server, HUB) as publisher:
        for topic in ("a/x", "b/x", "a/x/y"):
            publisher.publish(topic, topic.encode(), 2)
    with lasting(server, "device") as back:
        assert [(m.topic, m.qos, m.properties.subscription_ids) for m in back.heard()] == [("a/x", 1, (3,))]


# Its end


def test_clean_start_ends_a_session_of_an_earlier_process(lives: Lives, version: int) -> None:
    with lasting(lives.now, "device", version=version) as device:
        device.subscribe("g")
    server = lives.kill()
    with MqttClient(server, HUB, client_id="device", version=version, clean=True) as anew:
        assert not anew.resumed
        assert rest(server, "HEAD", f"{HUB}/groups/g").status == 404
        anew.goodbye()
    assert not exists(lives.kill(), "device")


def test_session_is_taken_over_in_the_next_process_by_its_user_only(lives: Lives) -> None:
    with lasting(lives.now, "device", user="u") as device:
        device.subscribe("g")
    server = lives.kill()
    refused(server, HUB, 0x85, client_id="device", clean=False, user="other")
    with lasting(server, "device", user="u") as first, lasting(server, "device", user="u") as second:
        assert first.resumed
        assert second.resumed
        assert first.ended().code == 0x8E


def test_session_whose_time_is_over_meanwhile_is_gone_and_its_will_published(lives: Lives) -> None:
    will = Will("g", b"gone", 1)
    with (
        lasting(lives.now, "listener") as listener,
        MqttClient(lives.now, HUB, client_id="short", clean=False, expiry_s=1, will=will) as short,
    ):
        listener.subscribe("g")
        short.ping()
    server = lives.kill()
    wait_until(lambda: not exists(server, "short"), "the end of the session")
    with lasting(server, "listener") as listener:
        assert payloads(listener) == [b"gone"]


def test_delay_of_a_will_goes_on_after_the_kill(lives: Lives) -> None:
    will = Will("g", b"gone", 1)
    delayed = Will("g", b"late", 1, properties=Properties(will_delay_s=2))
    with lasting(lives.now, "listener") as listener, lasting(lives.now, "back", will=will) as back:
        listener.subscribe("g")
        with lasting(lives.now, "owner", will=delayed) as owner:
            owner.ping()
        back.goodbye()
    server = lives.kill()
    with lasting(server, "listener") as listener:
        assert listener.message().payload == b"late"
        assert listener.heard() == []


def test_handlers_are_told_once_of_a_session_that_lives_in_two_processes(lives: Lives) -> None:
    with Upstream() as upstream:
        configure(lives.now, HUB, upstream.handler(systemEvents=["connected", "disconnected"]))
        with lasting(lives.now, "device") as device:
            device.ping()
            [connected] = upstream.await_events(1, "connected")
        server = lives.kill()
        with lasting(server, "device") as back:
            assert back.resumed
            back.goodbye(session_expiry_s=0)
        [disconnected] = upstream.await_events(1, "disconnected")
        assert disconnected.sessionId == connected.sessionId
        assert len(upstream.await_events(1, "connected")) == 1


# Stopped


def test_graceful_restart_keeps_sessions(lives: Lives, version: int) -> None:
    with lasting(lives.now, "device", version=version) as device, MqttClient(lives.now, HUB) as brief:
        device.subscribe("g")
        lives.now.signal(signal.SIGTERM)
        ended = device.ended()
        if version == 5:
            assert ended.code == SHUTTING_DOWN
        assert brief.ended().code == SHUTTING_DOWN
        assert lives.now.wait() == 0
    server = lives.start()
    assert rest(server, "POST", f"{HUB}/groups/g/:send", body=b"x").status == 202
    with lasting(server, "device", version=version) as back:
        assert back.resumed
        assert payloads(back) == [b"x"]


# Settings


def test_sessions_end_with_the_server_where_none_is_durable(start_server: StartServer, tmp_path: Path) -> None:
    lives = Lives(start_server, tmp_path, *settings(mqtt_durable_sessions="false"))
    with lasting(lives.now, "device") as device:
        assert device.connack.properties.session_expiry_s == 30
        device.subscribe("g")
    with lasting(lives.kill(), "device") as back:
        assert not back.resumed


def test_sessions_that_were_kept_end_when_that_is_switched_off(lives: Lives) -> None:
    with lasting(lives.now, "device") as device:
        device.subscribe("g")
    lives.now.stop()
    assert not exists(lives.start(*settings(mqtt_durable_sessions="false")), "device")
    lives.now.stop()
    assert not exists(lives.start(*settings(mqtt_durable_sessions="true")), "device")


def test_no_more_durable_sessions_than_may_be(start_server: StartServer, tmp_path: Path) -> None:
    lives = Lives(start_server, tmp_path, *settings(mqtt_durable_sessions_limit=1, mqtt_durable_queue_messages=2))
    with lasting(lives.now, "device") as device:
        device.subscribe("g")
    server = lives.kill()
    refused(server, HUB, QUOTA_EXCEEDED, client_id="other", clean=False, expiry_s=LASTS_S)
    for _ in range(3):
        assert rest(server, "POST", f"{HUB}/groups/g/:send", body=b"x").status == 202
    wait_until(lambda: not exists(server, "device"), "the end of the session")
    await_line(server, "Too many unacknowledged messages.")
    with lasting(server, "other") as other:
        assert not other.resumed


def test_session_may_last_for_ever(start_server: StartServer, tmp_path: Path) -> None:
    lives = Lives(start_server, tmp_path, *settings(mqtt_session_expiry_s=4294967295))
    with MqttClient(lives.now, HUB, client_id="d", clean=False, expiry_s=4294967295) as device:
        assert device.connack.properties.session_expiry_s is None, "all that was asked for"
        device.subscribe("g")
    with MqttClient(lives.kill(), HUB, client_id="d", clean=False, expiry_s=4294967295) as back:
        assert back.resumed
