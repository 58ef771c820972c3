"""Wills of MQTT clients: when they are published, when not, and how they look."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from acceptance.mqtt import EVENTS, VERSIONS, Ended, MqttClient, await_offline, close_all, refused
from acceptance.servers import Server, running
from acceptance.upstreams import await_line
from acceptance.wire import JOIN, SEND, JsonClient, rest
from hubwire.protocols.mqtt.packets import Disconnect, Properties, Publish, Will

GONE: Final = Will("g", b"gone", 1)
WITH_WILL: Final = 0x04
KEEP_ALIVE: Final = 0x8D


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module, which counts who is offline. Each test has a hub of its own."""
    with running(tmp_path_factory.mktemp("wills")) as server:
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
def listener(server: Server, hub: str) -> Iterator[MqttClient]:
    with MqttClient(server, hub) as client:
        client.subscribe("g", qos=2)
        yield client


def delayed(delay_s: int) -> Will:
    return Will("g", b"gone", 1, properties=Properties(will_delay_s=delay_s))


def closed_by_rest(server: Server, hub: str, client: MqttClient) -> None:
    assert rest(server, "DELETE", f"{hub}/connections/{client.client_id}").status == 204


def protocol_error(server: Server, hub: str, client: MqttClient) -> None:
    client.send_bytes(b"\x00\x00")
    client.ended()


def no_goodbye(server: Server, hub: str, client: MqttClient) -> None:
    """An orderly end of the WebSocket, but not of MQTT."""
    client.raw.close_frame(1000)
    client.ended()


def taken_over(server: Server, hub: str, client: MqttClient) -> None:
    with client.again(clean=True) as other:
        other.goodbye()


ENDS: Final[dict[str, Callable[[Server, str, MqttClient], object]]] = {
    "lost": lambda server, hub, client: client.drop(),
    "no goodbye": no_goodbye,
    "a protocol error": protocol_error,
    "closed by REST": closed_by_rest,
    "taken over": taken_over,
}


@pytest.mark.parametrize("end", ENDS)
def test_will_is_published_when_a_client_ends_without_a_goodbye(
    server: Server, hub: str, version: int, listener: MqttClient, end: str
) -> None:
    with MqttClient(server, hub, version=version, will=GONE) as client:
        ENDS[end](server, hub, client)
        message = listener.message()
        assert (message.topic, message.payload, message.qos, message.retain) == ("g", b"gone", 1, False)
        listener.ping()
    assert listener.heard() == []


def test_will_is_published_when_a_client_says_nothing_for_too_long(
    server: Server, hub: str, version: int, listener: MqttClient
) -> None:
    with MqttClient(server, hub, version=version, will=GONE, keep_alive_s=1) as client:
        assert listener.message().payload == b"gone"
        ended = client.ended()
        assert (ended.code, ended.close_code) == (KEEP_ALIVE if version == 5 else None, 1000)


def test_will_is_gone_with_a_goodbye(server: Server, hub: str, version: int, listener: MqttClient) -> None:
    with MqttClient(server, hub, version=version, will=GONE) as client:
        assert client.goodbye() == Ended(None, None, 1000)
    assert listener.heard() == []


def test_goodbye_of_a_session_that_lasts_removes_the_will(
    server: Server, hub: str, version: int, listener: MqttClient
) -> None:
    with MqttClient(server, hub, version=version, will=GONE, clean=False, expiry_s=30) as client:
        client.goodbye()
    await_offline(server)
    closed_by_rest(server, hub, client)
    assert listener.heard() == []


@pytest.mark.parametrize("code", [WITH_WILL, 0x80, 0x82])
def test_goodbye_that_is_not_a_normal_one_leaves_the_will(
    server: Server, hub: str, listener: MqttClient, code: int
) -> None:
    with MqttClient(server, hub, will=GONE) as client:
        client.goodbye(code)
        assert listener.message().payload == b"gone"


def test_all_that_a_will_says_reaches_its_subscribers(server: Server, hub: str, listener: MqttClient) -> None:
    said: dict[str, Any] = {
        "payload_format": 1,
        "content_type": "text/plain",
        "response_topic": "answers/1",
        "correlation_data": b"\x00",
        "user_properties": (("a", "1"), ("b", "2")),
    }
    will = Will("g", b"gone", 2, properties=Properties(**said, message_expiry_s=60, will_delay_s=0))
    with JsonClient(server, hub, groups=["g"]) as other:
        with MqttClient(server, hub, user="device", will=will) as client:
            client.drop()
        message, frame = listener.message(), other.receive()

    assert message.qos == 2
    assert 50 <= (message.properties.message_expiry_s or 0) <= 60
    assert message.properties == Properties(**said, message_expiry_s=message.properties.message_expiry_s)
    assert (frame["dataType"], frame["data"], frame["fromUserId"]) == ("text", "gone", "device")
    assert frame["metadata"] == {"a": "1", "b": "2"}


def test_will_of_version_4_is_bytes_to_other_clients(server: Server, hub: str) -> None:
    with JsonClient(server, hub, groups=["g"]) as other:
        with MqttClient(server, hub, version=4, will=GONE) as client:
            client.drop()
        assert other.receive()["dataType"] == "binary"


# Delayed


def test_delayed_will_comes_while_the_session_still_waits(server: Server, hub: str, listener: MqttClient) -> None:
    with MqttClient(server, hub, will=delayed(1), expiry_s=30) as client:
        client.drop()
        assert listener.message().payload == b"gone"
        with client.again() as back:
            assert back.resumed
    assert listener.heard() == []


def test_will_is_not_delayed_for_longer_than_the_session_lasts(server: Server, hub: str, listener: MqttClient) -> None:
    for expiry_s in (0, 1):
        with MqttClient(server, hub, will=delayed(1000), expiry_s=expiry_s) as client:
            client.drop()
        assert listener.message().payload == b"gone"


def test_client_that_comes_back_in_time_leaves_no_will(server: Server, hub: str, listener: MqttClient) -> None:
    with MqttClient(server, hub, will=delayed(1000), expiry_s=30) as client:
        client.drop()
    await_offline(server)
    with client.again() as back:
        assert back.resumed
        back.drop()
    await_offline(server)
    closed_by_rest(server, hub, back)
    assert listener.heard() == []


def test_delayed_will_does_not_wait_for_a_session_that_ends(server: Server, hub: str, listener: MqttClient) -> None:
    with MqttClient(server, hub, will=delayed(1000), expiry_s=30) as client:
        client.drop()
    await_offline(server)
    closed_by_rest(server, hub, client)
    assert listener.message().payload == b"gone"


def test_clean_start_publishes_a_will_that_is_still_delayed(server: Server, hub: str, listener: MqttClient) -> None:
    """The session that it was of has ended."""
    with MqttClient(server, hub, will=delayed(1000), expiry_s=30) as client:
        client.drop()
    await_offline(server)
    with client.again(clean=True):
        assert listener.message().payload == b"gone"


def test_will_of_a_session_that_lasts_is_published_at_once_unless_delayed(
    server: Server, hub: str, version: int, listener: MqttClient
) -> None:
    with MqttClient(server, hub, version=version, will=GONE, clean=False, expiry_s=30) as client:
        client.drop()
        assert listener.message().payload == b"gone"
        with client.again() as back:
            assert back.resumed
            back.goodbye()
    assert listener.heard() == []


def test_new_connection_has_the_will_that_it_brings(server: Server, hub: str, listener: MqttClient) -> None:
    with MqttClient(server, hub, will=delayed(1000), expiry_s=30) as client:
        with client.again(will=Will("g", b"another", 1)) as back:
            assert back.resumed
            back.drop()
        assert listener.message().payload == b"another"


# Allowed and not


def test_will_needs_the_role_to_send_when_it_is_published(
    server: Server, hub: str, version: int, listener: MqttClient
) -> None:
    """Nobody is kept out for it; a right that was granted meanwhile counts."""
    with MqttClient(server, hub, version=version, will=GONE, roles=[JOIN, f"{SEND}.h"]) as client:
        client.drop()
    await_line(server, hub, client.client_id, "WillDropped")
    assert listener.heard() == []

    with MqttClient(server, hub, version=version, will=GONE, roles=[]) as client:
        path = f"{hub}/permissions/sendToGroup/connections/{client.client_id}"
        assert rest(server, "PUT", path, query=[("targetName", "g")]).status == 200
        client.drop()
        assert listener.message().payload == b"gone"


@pytest.mark.parametrize(
    ("will", "code"),
    [
        (Will(" ", b""), 0x90),
        (Will("a/+", b""), 0x90),
        (Will("a/#", b""), 0x90),
        (Will("x" * 1025, b""), 0x90),
        (Will("$own", b""), 0x90),
        (Will(f"{EVENTS}/ev", b""), 0x90),
        (Will("g", b"x" * 2001), 0x95),
    ],
    ids=["blank", "plus", "hash", "too long", "dollar", "an event", "payload"],
)
def test_will_that_could_never_be_published_keeps_its_client_out(
    server: Server, hub: str, version: int, will: Will, code: int
) -> None:
    refused(server, hub, code if version == 5 else 5, version=version, will=will)


def test_largest_will_is_taken(server: Server, hub: str, version: int, listener: MqttClient) -> None:
    topic = "x" * 1024
    listener.subscribe(topic)
    with MqttClient(server, hub, version=version, will=Will(topic, b"y" * 2000)) as client:
        client.drop()
    message = listener.message()
    assert (message.topic, len(message.payload), message.qos) == (topic, 2000, 0)


def test_goodbye_behind_a_publication_keeps_both(server: Server, hub: str, listener: MqttClient) -> None:
    """All in one WebSocket message."""
    with MqttClient(server, hub, will=GONE) as client:
        client.send(Publish("g", b"last words", 0), Disconnect(WITH_WILL))
        assert [message.payload for message in listener.messages(2)] == [b"last words", b"gone"]
