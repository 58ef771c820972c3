"""Events of MQTT clients: requests to the application and their answers, and what it is told of the end of sessions."""

import signal
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest

from acceptance.mqtt import EVENTS, VERSIONS, MqttClient, await_offline, close_all
from acceptance.servers import DEADLINE_S, Server, StartServer, free_port, running
from acceptance.upstreams import Heard, Reply, Upstream, configure, says
from acceptance.wire import rest
from hubwire.protocols.mqtt.packets import (
    Disconnect,
    Filter,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Will,
)

SUCCEEDED: Final = f"{EVENTS}/ev/succeeded"
FAILED: Final = f"{EVENTS}/ev/failed"
NOBODY: Final = 0x10
SHUTTING_DOWN: Final = 0x8B
PAYLOAD_FORMAT: Final = 0x99
PLAIN: Final = "text/plain; charset=utf-8"
OCTETS: Final = "application/octet-stream"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module, which does not wait long before it tries again. Each test has a hub of its own."""
    with running(tmp_path_factory.mktemp("events"), "--set", "handler_retries_s=0.01,0.01") as server:
        yield server


@pytest.fixture
def hub(server: Server, hub: str) -> Iterator[str]:
    """Nobody waits in it for another socket once the test is over."""
    yield hub
    close_all(server, hub)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def upstream(server: Server, hub: str) -> Iterator[Upstream]:
    """Is told all user events of the hub."""
    with Upstream() as upstream:
        configure(server, hub, upstream.handler(systemEvents=[]))
        yield upstream


def ask(client: MqttClient, payload: bytes = b"x", qos: int = 1, **properties: Any) -> Publish:
    """Send the event `ev`, which needs no role; its answer, which comes before the acknowledgement."""
    assert client.publish(f"{EVENTS}/ev", payload, qos, **properties) == 0
    (answer,) = client.heard()
    return answer


# Requests and answers


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_event_is_answered_with_its_qos(server: Server, hub: str, version: int, upstream: Upstream, qos: int) -> None:
    """Without a subscription as with one for all."""
    upstream.answer = lambda heard: says(200, heard.body, Content_Type=OCTETS)
    with MqttClient(server, hub, version=version, client_id="device", user="u", roles=[]) as client:
        for _ in range(2):
            client.publish(f"{EVENTS}/ev", b"\x00\xff", qos)
            answer = client.message()
            assert (answer.topic, answer.payload, answer.retain) == (SUCCEEDED, b"\x00\xff", False)
            assert answer.qos == qos
            client.subscribe(SUCCEEDED, qos=2)
    event, _ = upstream.events()
    assert (event.type, event.eventName) == ("azure.webpubsub.user.ev", "ev")
    assert (event.connectionId, event.userId, event.hub, event.subprotocol) == ("device", "u", hub, "mqtt")
    assert (event.body, event.get("Content-Type")) == (b"\x00\xff", OCTETS)
    assert event.sessionId
    assert event.physicalConnectionId


def test_qos_of_answers_may_be_lowered_by_a_subscription(
    server: Server, hub: str, version: int, upstream: Upstream
) -> None:
    with MqttClient(server, hub, version=version) as client:
        assert client.subscribe(SUCCEEDED, qos=0) == (0,)
        client.publish(f"{EVENTS}/ev", b"", 1)
        assert client.message().qos == 0
        client.unsubscribe(SUCCEEDED)
        client.publish(f"{EVENTS}/ev", b"", 1)
        assert client.message().qos == 1
        assert len(upstream.events()) == 2


def test_all_that_an_event_says_reaches_the_handler(server: Server, hub: str, upstream: Upstream) -> None:
    """As headers; and correlation data comes back with the answer. The answer goes nowhere else."""
    pairs = (("a", "2"), ("b", "x y"), ("a", "1"), ("not a token", "z"), ("ü", "z"))
    upstream.answer = lambda _: Reply(
        200,
        b'{"b": 1}',
        [("Content-Type", "application/json"), ("mqtt-First", "1"), ("X-Other", "o"), ("mqtt-second", "2")],
    )
    with MqttClient(server, hub) as client:
        client.subscribe("elsewhere")
        answer = ask(
            client,
            b'{"a": 1}',
            content_type="application/json",
            correlation_data=b"\x00\xff7",
            response_topic="elsewhere",
            user_properties=pairs,
        )
        assert client.heard() == []
    (event,) = upstream.events()
    assert (event.get("Content-Type"), event.body) == ("application/json", b'{"a": 1}')
    assert event.all("mqtt-a") == ["2", "1"]
    assert event.all("mqtt-b") == ["x%20y"]
    assert len([name for name, _ in event.headers if name.lower().startswith("mqtt-")]) == 3
    assert (answer.topic, answer.payload) == (SUCCEEDED, b'{"b": 1}')
    properties = answer.properties
    assert (properties.content_type, properties.correlation_data) == ("application/json", b"\x00\xff7")
    assert properties.user_properties == (("azure-status-code", "200"), ("First", "1"), ("second", "2"))
    assert properties.response_topic is None


@pytest.mark.parametrize(
    ("properties", "content_type"),
    [
        ({}, OCTETS),
        ({"payload_format": 0}, OCTETS),
        ({"payload_format": 1}, PLAIN),
        ({"content_type": "text/plain"}, "text/plain"),
        ({"content_type": 'application/x; a="b;c"', "payload_format": 1}, 'application/x; a="b;c"'),
    ],
)
def test_event_always_has_a_content_type(
    server: Server, hub: str, upstream: Upstream, properties: dict[str, Any], content_type: str
) -> None:
    with MqttClient(server, hub) as client:
        ask(client, **properties)
    assert upstream.events()[0].get("Content-Type") == content_type


def test_event_of_version_4_is_bytes(server: Server, hub: str, upstream: Upstream) -> None:
    with MqttClient(server, hub, version=4) as client:
        ask(client)
    assert upstream.events()[0].get("Content-Type") == OCTETS


@pytest.mark.parametrize("content_type", ["", "text", "te xt/plain", "text/plain\r\nX: y"])
def test_event_with_a_content_type_that_is_none_is_refused(
    server: Server, hub: str, upstream: Upstream, content_type: str
) -> None:
    """With QoS 0 there is nobody to tell."""
    with MqttClient(server, hub) as client:
        for qos in (1, 2):
            assert client.publish(f"{EVENTS}/ev", b"x", qos, content_type=content_type) == PAYLOAD_FORMAT
        client.publish(f"{EVENTS}/ev", b"x", 0, content_type=content_type)
        assert client.heard() == []
    assert upstream.events() == []


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_success_is_one(server: Server, hub: str, version: int, upstream: Upstream, status: int) -> None:
    upstream.answer = lambda _: Reply(status)
    with MqttClient(server, hub, version=version) as client:
        answer = ask(client)
    assert (answer.topic, answer.payload) == (SUCCEEDED, b"")
    told = (("azure-status-code", str(status)),) if version == 5 else ()
    assert answer.properties.user_properties == told


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503])
def test_failure_is_told_and_the_client_stays(
    server: Server, hub: str, version: int, upstream: Upstream, status: int
) -> None:
    upstream.answer = lambda _: says(status, b"why", Content_Type="text/plain", mqtt_more="m")
    with MqttClient(server, hub, version=version) as client:
        answer = ask(client, correlation_data=b"7")
        assert (answer.topic, answer.payload) == (FAILED, b"why")
        if version == 5:
            assert answer.properties.content_type == "text/plain"
            assert answer.properties.user_properties == (("azure-status-code", str(status)), ("more", "m"))
            assert answer.properties.correlation_data == b"7"
        client.ping()


def test_event_that_nobody_handles_fails_as_not_found(server: Server, hub: str, version: int) -> None:
    with MqttClient(server, hub, version=version) as client:
        for qos in (1, 2):
            code = client.publish(f"{EVENTS}/ev", b"x", qos, correlation_data=b"7")
            assert code == (NOBODY if version == 5 else 0)
        for answer in client.messages(2):
            assert (answer.topic, answer.payload) == (FAILED, b"")
            if version == 5:
                assert answer.properties.user_properties == (("azure-status-code", "404"),)
                assert answer.properties.correlation_data == b"7"


def test_event_whose_handler_is_not_there_fails(server: Server, hub: str, version: int) -> None:
    configure(server, hub, {"urlTemplate": f"http://127.0.0.1:{free_port()}/", "userEventPattern": "*"})
    with MqttClient(server, hub, version=version) as client:
        answer = ask(client)
        assert answer.topic == FAILED
        if version == 5:
            assert answer.properties.user_properties == (("azure-status-code", "500"),)


def test_names_of_events_are_whole_levels(server: Server, hub: str, version: int, upstream: Upstream) -> None:
    upstream.answer = lambda heard: says(200, heard.eventName.encode(), Content_Type="text/plain")
    with MqttClient(server, hub, version=version) as client:
        for name in ("a.b", "A-b_1", "succeeded"):
            client.publish(f"{EVENTS}/{name}", b"x")
            answer = client.message()
            assert (answer.topic, answer.payload.decode()) == (f"{EVENTS}/{name}/succeeded", name)
        for name in ("", "a/b", "a b", "ü", "1a", "x" * 129):
            assert client.publish(f"{EVENTS}/{name}", b"x") == (0x90 if version == 5 else 0)
    assert len(upstream.events()) == 3


def test_state_that_a_handler_sets_comes_with_the_next_event(
    server: Server, hub: str, version: int, upstream: Upstream
) -> None:
    """It is no property of the answer."""
    upstream.answer = lambda heard: says(204, ce_connectionState=f"after {len(upstream.events())}")
    with MqttClient(server, hub, version=version) as client:
        first, second = ask(client), ask(client)
    assert [event.get("ce-connectionState") for event in upstream.events()] == [None, "after 1"]
    for answer in (first, second):
        assert len(answer.properties.user_properties) == (1 if version == 5 else 0)


def test_events_of_a_client_are_handled_one_after_the_other(server: Server, hub: str, upstream: Upstream) -> None:
    """Also those that it sends without waiting, and what it publishes between them."""
    with MqttClient(server, hub, groups=["g"]) as client:
        packets = []
        for number in range(10):
            topic = f"{EVENTS}/ev" if number % 2 else "g"
            packets.append(Publish(topic, b"%d" % number, 1, packet_id=number + 1))
        client.send(*packets)
        assert [client.expect(Puback).packet_id for _ in range(10)] == list(range(1, 11))
        topics = [message.topic for message in client.messages(10)]
    assert topics == ["g", SUCCEEDED] * 5
    assert [event.body for event in upstream.events()] == [b"1", b"3", b"5", b"7", b"9"]


def test_event_with_qos_2_is_told_once(server: Server, hub: str, version: int, upstream: Upstream) -> None:
    """Although its client repeats it over a new connection."""
    with MqttClient(server, hub, version=version, clean=False, expiry_s=30) as client:
        client.send(Publish(f"{EVENTS}/ev", b"x", 2, packet_id=9))
        client.expect(Pubrec)
        client.drop()
    await_offline(server)
    with client.again() as back:
        back.send(Publish(f"{EVENTS}/ev", b"x", 2, dup=True, packet_id=9))
        assert back.expect(Pubrec) == Pubrec(9)
        back.send(Pubrel(9))
        assert back.expect(Pubcomp) == Pubcomp(9)
    assert len(upstream.events()) == 1


def test_will_is_no_event(server: Server, hub: str, upstream: Upstream) -> None:
    with MqttClient(server, hub, will=Will(f"{EVENTS}/ev", b""), code=0x90) as client:
        client.ended()
    assert upstream.events() == []


# Its end


@pytest.fixture
def told(server: Server, hub: str) -> Iterator[Upstream]:
    """Is told of ends."""
    with Upstream() as upstream:
        configure(server, hub, upstream.handler(systemEvents=["connected", "disconnected"]))
        yield upstream


def end_of(told: Upstream, client: MqttClient) -> Any:
    """What is told of the end of a client's session, once."""
    (event,) = told.await_events(1, "disconnected", of=client.client_id)
    return event.json()


def test_goodbye_is_told(server: Server, hub: str, version: int, told: Upstream) -> None:
    with MqttClient(server, hub, version=version) as client:
        client.goodbye()
    packet = {"code": 0, "userProperties": None}
    assert end_of(told, client) == {"reason": None, "mqtt": {"initiatedByClient": True, "disconnectPacket": packet}}
    (connected,) = told.await_events(1, "connected")
    (disconnected,) = told.events("disconnected")
    assert connected.json() == {}
    assert connected.sessionId == disconnected.sessionId
    assert connected.physicalConnectionId == disconnected.physicalConnectionId


@pytest.mark.parametrize("code", [0x00, 0x04, 0x80, 0x83, 0x97])
def test_words_of_a_goodbye_are_told(server: Server, hub: str, told: Upstream, code: int) -> None:
    with MqttClient(server, hub) as client:
        client.goodbye(code, reason_string="tired", user_properties=(("a", "1"), ("a", "ü")))
    pairs = [{"name": "a", "value": "1"}, {"name": "a", "value": "ü"}]
    packet = {"code": code, "userProperties": pairs}
    assert end_of(told, client) == {"reason": "tired", "mqtt": {"initiatedByClient": True, "disconnectPacket": packet}}


def test_end_without_a_word_is_told(server: Server, hub: str, version: int, told: Upstream) -> None:
    with MqttClient(server, hub, version=version) as client:
        client.drop()
    said = end_of(told, client)["mqtt"]
    assert said == {"initiatedByClient": False, "disconnectPacket": None}


def test_end_by_the_application_is_told(server: Server, hub: str, version: int, told: Upstream) -> None:
    with MqttClient(server, hub, version=version) as client:
        path = f"{hub}/connections/{client.client_id}"
        assert rest(server, "DELETE", path, query=[("reason", "enough")]).status == 204
        client.ended()
    said = end_of(told, client)
    assert said["reason"] == "enough"
    packet = {"code": 0x98, "userProperties": None} if version == 5 else None
    assert said["mqtt"] == {"initiatedByClient": False, "disconnectPacket": packet}


def test_end_for_a_fault_is_told(server: Server, hub: str, told: Upstream) -> None:
    with MqttClient(server, hub) as client:
        client.send_bytes(b"\x10\x00")
        client.ended()
    said = end_of(told, client)["mqtt"]
    assert not said["initiatedByClient"]
    assert said["disconnectPacket"]["code"] == 0x82


def test_last_goodbye_of_a_session_is_that_of_its_last_connection(
    server: Server, hub: str, version: int, told: Upstream
) -> None:
    with MqttClient(server, hub, version=version, clean=False, expiry_s=30) as client:
        client.send(Disconnect())
        client.ended()
    await_offline(server)
    with client.again() as back:
        assert back.resumed
        back.drop()
    await_offline(server)
    close_all(server, hub)
    said = end_of(told, client)["mqtt"]
    assert said == {"initiatedByClient": False, "disconnectPacket": None}


def test_take_over_is_told_of_the_session_that_it_ends(server: Server, hub: str, told: Upstream) -> None:
    with MqttClient(server, hub) as old, old.again(clean=True) as new:
        old.ended()
        (event,) = told.await_events(1, "disconnected")
        sessions = {one.physicalConnectionId: one.sessionId for one in told.await_events(2, "connected")}
        assert event.sessionId == sessions.pop(event.physicalConnectionId)
        assert event.sessionId not in sessions.values()
        assert len(sessions) == 1
        said = event.json()["mqtt"]
        assert not said["initiatedByClient"]
        assert said["disconnectPacket"]["code"] == 0x8E
        new.ping()


def test_clients_of_a_server_that_stops_are_told_and_so_is_the_application(start_server: StartServer, hub: str) -> None:
    server = start_server()
    with Upstream() as upstream:
        configure(server, hub, upstream.handler(systemEvents=["disconnected"]))
        with MqttClient(server, hub) as newer, MqttClient(server, hub, version=4) as older:
            server.signal(signal.SIGTERM)
            ended = newer.ended()
            assert (ended.code, ended.close_code) == (SHUTTING_DOWN, 1000)
            assert older.ended().code is None
        server.wait()
        assert end_of(upstream, newer)["mqtt"]["disconnectPacket"]["code"] == SHUTTING_DOWN
        assert end_of(upstream, older)["mqtt"]["disconnectPacket"] is None


# While a handler is asked


def test_client_is_answered_and_heard_while_its_event_waits_for_the_handler(
    server: Server, hub: str, version: int, upstream: Upstream
) -> None:
    """
    Its signs of life, and what it acknowledges: else it took us for dead, and others could not send it more than it
    may leave open. What it asks for waits.
    """
    gate = threading.Event()

    def answer(_: Heard) -> Reply:
        assert gate.wait(DEADLINE_S)
        return says(200, b"done", Content_Type=OCTETS)

    upstream.answer = answer
    with MqttClient(server, hub, version=version) as client, MqttClient(server, hub, version=version) as other:
        try:
            client.subscribe("g", qos=1)
            client.send(Publish(f"{EVENTS}/ev", b"x", 1, packet_id=1))
            upstream.await_events(1)
            client.ping()
            for number in range(1100):  # more than may wait for a client
                other.publish("g", str(number).encode(), 1)
                assert client.message().payload == str(number).encode()
            client.send(Subscribe(2, (Filter("later", 0),)))
            assert client.heard() == []
        finally:
            gate.set()
        assert client.message().payload == b"done"
        assert client.expect(Puback).packet_id == 1
        assert client.expect(Suback).packet_id == 2
