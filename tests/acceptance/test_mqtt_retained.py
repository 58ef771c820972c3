"""Retained messages on a real server: over restarts and kills, with libraries of others, by REST and by commands."""

import json
import signal
import time
from collections.abc import Iterator
from itertools import count
from threading import Thread
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from acceptance.mqtt import VERSIONS, MqttClient, paho_client
from acceptance.servers import Server, StartServer, running, wait_until
from acceptance.upstreams import await_line
from acceptance.wire import Answer, JsonClient, http_request, metric, rest, signed
from hubwire.protocols.mqtt.packets import Publish, Will


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def kept(server: Server, hub: str, topic: str = "t", version: int = 5) -> list[tuple[bytes, int, bool]]:
    """What a new subscriber is sent at once."""
    with MqttClient(server, hub, version=version) as client:
        client.subscribe(topic, qos=2)
        return [(one.payload, one.qos, one.retain) for one in client.heard()]


def keep(server: Server, hub: str, topic: str = "t", payload: bytes = b"x", qos: int = 1, **more: Any) -> int:
    with MqttClient(server, hub) as client:
        return client.publish(topic, payload, qos, retain=True, **more)


def operation(server: Server, method: str, hub: str, topic: str | None = None, **query: str) -> Answer:
    """Ours, over HTTP."""
    below = "" if topic is None else f"/{quote(topic, safe='')}"
    target = f"/hubwire/hubs/{hub}/retained{below}{'?' if query else ''}{urlencode(query)}"
    authorization = f"Bearer {signed(server, server.endpoint + target, ttl_s=60)}"
    return http_request(server, method, target, headers={"Authorization": authorization})


# Over restarts


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_acknowledged_is_there_after_the_end_of_the_server(
    start_server: StartServer, hub: str, end: signal.Signals
) -> None:
    """However it ended: kept, replaced, cleared, and a will."""
    first = start_server()
    for qos in (1, 2):
        keep(first, hub, f"kept/{qos}", b"x", qos, content_type="a/b", user_properties=(("n", "v"),))
        keep(first, hub, f"replaced/{qos}", b"old", qos)
        keep(first, hub, f"replaced/{qos}", b"new", qos)
        keep(first, hub, f"cleared/{qos}", b"x", qos)
        keep(first, hub, f"cleared/{qos}", b"", qos)
    first.signal(end)
    first.wait()

    second = start_server(data=first.data)

    for qos in (1, 2):
        assert kept(second, hub, f"kept/{qos}") == [(b"x", qos, True)]
        assert kept(second, hub, f"replaced/{qos}") == [(b"new", qos, True)]
        assert kept(second, hub, f"cleared/{qos}") == []
    with MqttClient(second, hub) as client:
        client.subscribe("kept/1")
        properties = client.message().properties
        assert (properties.content_type, properties.user_properties) == ("a/b", (("n", "v"),))


def test_kill_under_load_loses_nothing_that_was_acknowledged(start_server: StartServer, hub: str) -> None:
    """Of each topic at least what was acknowledged last is there, or what was published since."""
    first = start_server()
    clients = [MqttClient(first, hub, client_id=f"p{number}") for number in range(4)]
    acknowledged: dict[str, int] = {}
    published: dict[str, int] = {}

    def publish(client: MqttClient) -> None:
        topic = client.client_id
        try:
            for number in count(1):
                published[topic] = number
                client.publish(topic, b"%d" % number, 1 + number % 2, retain=True)
                acknowledged[topic] = number
        except (EOFError, OSError):
            pass  # the server is gone

    threads = [Thread(target=publish, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(acknowledged) == 4 and min(acknowledged.values()) > 100, "a load")
    finally:
        first.signal(signal.SIGKILL)
        first.wait()
        for thread in threads:
            thread.join()
        for client in clients:
            client.raw.socket.close()

    second = start_server(data=first.data)

    for topic, number in acknowledged.items():
        [(payload, _, _)] = kept(second, hub, topic)
        assert number <= int(payload) <= published[topic]


def test_time_goes_on_while_no_server_runs(start_server: StartServer, hub: str) -> None:
    first = start_server()
    keep(first, hub, "long", message_expiry_s=1000)
    keep(first, hub, "short", message_expiry_s=6)  # time enough to look, on a slow machine too
    kept_by = time.time()
    assert len(kept(first, hub, "short")) == 1
    first.signal(signal.SIGKILL)
    first.wait()

    second = start_server(data=first.data)
    wait_until(lambda: time.time() > kept_by + 6, "the end of a message")

    assert kept(second, hub, "short") == []
    with MqttClient(second, hub) as client:
        client.subscribe("long")
        left_s = client.message().properties.message_expiry_s
        assert left_s is not None
        assert 900 < left_s <= 1000 - 1


# With others


def test_paho_retains_is_told_and_clears(server: Server, hub: str, version: int) -> None:
    with paho_client(server, hub, version) as client:
        for qos in (0, 1, 2):
            client.publish(f"site/{qos}", b"kept", qos, retain=True)
            assert client.subscribe(f"site/{qos}", 2) == [2]
            (message,) = client.received(1)
            assert (message.topic, message.payload, message.qos, bool(message.retain)) == (
                f"site/{qos}",
                b"kept",
                qos,
                True,
            )
            client.messages.clear()
            client.publish(f"site/{qos}", b"", qos, retain=True)
            assert not client.received(1)[0].retain
            client.messages.clear()
    for qos in (0, 1, 2):
        assert kept(server, hub, f"site/{qos}", version) == []


def test_will_of_paho_is_retained(server: Server, hub: str, version: int) -> None:
    with MqttClient(server, hub, groups=["state"]) as listener:

        def with_will(library: Any) -> None:
            library.will_set("state", b"offline", 1, retain=True)

        with paho_client(server, hub, version, client_id="device", prepare=with_will) as client:
            client.publish("state", b"online", 1, retain=True)
            assert listener.message().payload == b"online"
            assert kept(server, hub, "state", version) == [(b"online", 1, True)]
            assert rest(server, "DELETE", f"{hub}/connections/device").status == 204
            assert listener.message().payload == b"offline"
    assert kept(server, hub, "state", version) == [(b"offline", 1, True)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_paho_hears_everything_that_a_filter_stands_for_once(server: Server, hub: str, version: int, qos: int) -> None:
    """More than the server sends at once."""
    count = 350
    with MqttClient(server, hub) as publisher:
        for number in range(count):
            publisher.publish(f"many/{number:03}/x", b"%d" % number, 0, retain=True)
        publisher.publish("other", b"x", 2, retain=True)
        for number in range(count, count + 50):
            publisher.publish(f"many/{number:03}/x", b"%d" % number, 2, retain=True)
    with paho_client(server, hub, version) as client:
        assert client.subscribe("many/+/x", qos) == [qos]
        messages = client.received(count + 50)
    told = [(message.topic, int(message.payload), message.qos, bool(message.retain)) for message in messages]
    assert sorted(told) == [
        (f"many/{number:03}/x", number, 0 if number < count else qos, True) for number in range(count + 50)
    ]


def test_slow_reader_is_not_cut_off_for_what_is_retained(start_server: StartServer, hub: str) -> None:
    """There is more of it than is kept for who reads too slowly."""
    server = start_server("--set", "reliable_queue_bytes=1048576", "--set", "max_message_bytes=131072")
    payload = bytes(100_000)
    with MqttClient(server, hub) as publisher, MqttClient(server, hub) as reader:
        for number in range(60):
            publisher.publish(f"large/{number:02}", payload, 1, retain=True)
        for qos in (0, 1):
            assert reader.subscribe("large/#", qos=qos) == (qos,)
            assert sorted(message.topic for message in reader.messages(60)) == [
                f"large/{number:02}" for number in range(60)
            ]
        reader.ping()


def test_clients_of_other_protocols_hear_it_once_and_not_later(server: Server, hub: str) -> None:
    with JsonClient(server, hub, groups=["t"]) as there:
        keep(server, hub, content_type="text/plain")
        [frame] = there.heard()
        assert (frame["group"], frame["data"]) == ("t", "x")
    with JsonClient(server, hub, groups=["t"]) as late:
        assert late.heard() == []


def test_will_of_a_lost_client_is_retained(server: Server, hub: str, version: int) -> None:
    will = Will("t", b"gone", 1, True)
    with MqttClient(server, hub, groups=["t"]) as listener:
        with MqttClient(server, hub, version=version, will=will) as client:
            client.drop()
        assert not listener.message().retain
    assert kept(server, hub, version=version) == [(b"gone", 1, True)]


# Limits


def test_hub_that_is_full_refuses_until_there_is_room(start_server: StartServer, hub: str, version: int) -> None:
    server = start_server("--set", "mqtt_retained_messages=2", "--set", "mqtt_retained_bytes=2000")
    with MqttClient(server, hub, version=version) as client:
        assert [client.publish(topic, b"x", 1, retain=True) for topic in "ab"] == [0, 0]
        for qos in (1, 2):
            assert client.publish("c", b"x", qos, retain=True) == (0x97 if version == 5 else 0)
        client.publish("d", b"x", 0, retain=True)
        client.publish("a", b"x" * 2000, 1, retain=True)
        client.ping()
        assert [kept(server, hub, topic) for topic in "abcd"] == [[(b"x", 1, True)], [(b"x", 1, True)], [], []]
        client.publish("a", b"", 1, retain=True)
        assert client.publish("c", b"x", 1, retain=True) == 0
    assert kept(server, hub, "c") == [(b"x", 1, True)]
    await_line(server, "NotRetained", hub, "full of retained messages")


# By REST and by commands


def test_rest_lists_reads_and_clears(server: Server, hub: str) -> None:
    for topic in ("site/a", "site/b", "other"):
        keep(server, hub, topic, topic.encode(), content_type="text/plain")

    listed = operation(server, "GET", hub, filter="site/+").json()
    assert [row["topic"] for row in listed["value"]] == ["site/a", "site/b"]
    assert (listed["messages"], listed["after"]) == (3, None)
    one = operation(server, "GET", hub, "site/a").json()
    assert (one["text"], one["contentType"], one["qos"]) == ("site/a", "text/plain", 1)
    assert operation(server, "DELETE", hub, "site/a").status == 204
    assert operation(server, "GET", hub, "site/a").status == 404
    assert kept(server, hub, "site/a") == []
    assert operation(server, "DELETE", hub, filter="#").json() == {"cleared": 2}
    assert operation(server, "GET", hub).json()["value"] == []
    assert http_request(server, "DELETE", f"/hubwire/hubs/{hub}/retained?filter=%23").status == 401


def test_commands_list_show_and_clear(server: Server, hub: str) -> None:
    for topic in ("site/a", "site/b", "other"):
        keep(server, hub, topic, topic.encode())

    listed = json.loads(server.cli("retained", "list", "--hub", hub, "--filter", "site/#", "--json").stdout)
    assert [row["topic"] for row in listed] == ["site/a", "site/b"]
    assert server.cli("retained", "get", "site/a", "--hub", hub, "--payload").stdout == "site/a"
    assert server.cli("retained", "clear", "site/a", "--hub", hub).returncode == 0
    assert server.cli("retained", "clear", "site/a", "--hub", hub).returncode == 1
    assert server.cli("retained", "clear", "--all", "--hub", hub).stdout == "cleared 2 messages\n"
    assert kept(server, hub, "other") == []
    string = server.connection_string
    keep(server, hub, "again")
    assert "again" in server.cli("retained", "list", "--hub", hub, "--connection-string", string).stdout


def test_what_was_cleared_by_rest_is_gone_after_a_kill(start_server: StartServer, hub: str) -> None:
    first = start_server()
    keep(first, hub, "a")
    keep(first, hub, "b")
    assert operation(first, "DELETE", hub, "a").status == 204
    wait_until(lambda: metric(first, "hubwire_mqtt_retained_messages") == 1, "the metrics")
    first.signal(signal.SIGKILL)
    first.wait()

    second = start_server(data=first.data)

    assert (kept(second, hub, "a"), kept(second, hub, "b")) == ([], [(b"x", 1, True)])


# In mode azure


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("azure"), "--set", "mqtt_compatibility=azure") as server:
        yield server


def test_nothing_is_kept_in_mode_azure(azure: Server, hub: str) -> None:
    with MqttClient(azure, hub, version=4) as client:
        client.send(Publish("t", b"x", 0, True))
        client.ping()
    assert kept(azure, hub) == []
    assert operation(azure, "GET", hub).json()["messages"] == 0
