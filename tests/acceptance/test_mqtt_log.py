"""What is logged of MQTT clients that are refused something: once, who, with which code, and what to do about it."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest

from acceptance.mqtt import EVENTS, VERSIONS, MqttClient, mqtt_target, mqtt_token, refused
from acceptance.servers import Server, running, wait_until
from acceptance.upstreams import Upstream, await_line, configure, says
from acceptance.wire import JOIN, RawClient, rest
from hubwire.protocols.mqtt.packets import Publish, Will

Record = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for this module, whose log is held to have no token in it at its end. Each test has a hub of its own."""
    folder = tmp_path_factory.mktemp("log")
    options = ("mqtt_compatibility=azure", "mqtt_connect_timeout_s=5")
    with running(folder, "--log-format", "json", *(word for text in options for word in ("--set", text))) as server:
        yield server


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def records(server: Server, hub: str) -> list[Record]:
    """Warnings about clients of a hub."""
    found = [json.loads(line) for line in server.log().splitlines()]
    return [
        record["properties"] | {"operation": record["operationName"]}
        for record in found
        if record.get("level") == "Warning" and record.get("properties", {}).get("hub") == hub
    ]


def the_record(server: Server, hub: str) -> Record:
    """The only one; a moment after what it tells of."""
    wait_until(lambda: bool(records(server, hub)), "a record")
    (record,) = records(server, hub)
    assert len(record["message"]) > 20, "a sentence"
    return record


KEPT_OUT: Final[Mapping[str, tuple[dict[str, Any], int, int, str]]] = {
    "client id": ({"client_id": "a-b"}, 0x85, 2, "client identifier"),
    "topic of a will": ({"will": Will("a/+", b"")}, 0x90, 5, "a will with a topic of"),
    "empty topic of a will": ({"will": Will("", b"")}, 0x90, 5, "a will with a topic of"),
    "payload of a will": ({"will": Will("g", b"x" * 2001)}, 0x95, 5, "a will with a smaller payload"),
}


@pytest.mark.parametrize("kind", KEPT_OUT)
def test_client_that_is_kept_out(server: Server, hub: str, version: int, kind: str) -> None:
    options, newer, older, words = KEPT_OUT[kind]
    options = {"client_id": "device", **options, "version": version}
    refused(server, hub, newer if version == 5 else older, **options, username="secret name", password=b"secret word")
    record = the_record(server, hub)
    assert record["operation"] == "ConnectionRefused"
    assert record["connectionId"] == options["client_id"]
    assert (record["code"], record["mqttVersion"]) == (newer if version == 5 else older, version)
    assert words in record["message"].lower()
    assert "secret" not in server.log()


def test_keep_alive_that_is_not_taken(server: Server, hub: str) -> None:
    """Its code says little, so the sentence must."""
    refused(server, hub, 3, version=4, client_id="device", keep_alive_s=0)
    record = the_record(server, hub)
    assert (record["connectionId"], record["code"]) == ("device", 3)
    assert "keep alive" in f"{record['message']} {record.get('about')}".lower()


def test_client_that_the_event_handler_keeps_out(server: Server, hub: str, version: int) -> None:
    code = 0x8A if version == 5 else 2
    with Upstream() as upstream:
        upstream.answer = lambda _: says(403, {"mqtt": {"code": code, "reason": "not for the log"}})
        configure(server, hub, upstream.handler(systemEvents=["connect"]))
        refused(server, hub, code, version=version, client_id="device")
    record = the_record(server, hub)
    assert (record["operation"], record["connectionId"], record["code"]) == ("ConnectionRefused", "device", code)
    assert "event handler" in record["message"]
    assert "not for the log" not in server.log()


def test_client_without_a_connect_packet(server: Server, hub: str) -> None:
    with RawClient(server, mqtt_target(hub, mqtt_token(server, hub)), protocols=["mqtt"]) as client:
        client.closed()
    record = the_record(server, hub)
    assert record["operation"] == "ConnectionRefused"
    assert "CONNECT" in record["message"]


def test_client_with_a_bad_token(server: Server, hub: str) -> None:
    """There is no CONNECT packet yet, and so no client id: the path is what there is."""
    token = mqtt_token(server, hub, key="k" * 44)
    with RawClient(server, mqtt_target(hub, token), protocols=["mqtt"]) as client:
        assert client.status == 401
    wait_until(lambda: hub in server.log(), "a record")
    (line,) = [line for line in server.log().splitlines() if hub in line]
    assert token not in line
    assert json.loads(line)["properties"]["statusCode"] == 401


REQUESTS: Final[Mapping[str, tuple[Callable[[MqttClient], object], int, str]]] = {
    "a subscription": (lambda client: client.subscribe("g"), 0x87, "roles"),
    "the end of a subscription": (lambda client: client.unsubscribe("g"), 0x87, "roles"),
    "a publication": (lambda client: client.publish("g", b"secret"), 0x87, "roles"),
    "a publication with QoS 2": (lambda client: client.publish("g", b"secret", 2), 0x87, "roles"),
    "a wildcard": (lambda client: client.subscribe("g/+"), 0xA2, "full name"),
    "a shared subscription": (lambda client: client.subscribe("$share/a/g"), 0x9E, "$share"),
    "an event": (lambda client: client.publish(f"{EVENTS}/a/b"), 0x90, "topic"),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_request_that_is_refused_again_and_again_is_logged_once(
    server: Server, hub: str, version: int, kind: str
) -> None:
    request, code, words = REQUESTS[kind]
    with MqttClient(server, hub, version=version, client_id="device", user="u", roles=[], groups=["g"]) as client:
        for _ in range(3):
            request(client)
        client.goodbye()
    record = the_record(server, hub)
    assert (record["operation"], record["connectionId"], record["userId"]) == ("RequestRefused", "device", "u")
    assert (record["code"], record["mqttVersion"]) == (code, version)
    assert words in record["message"]
    assert record["about"]
    assert "secret" not in server.log()


def test_client_with_a_token_for_another_endpoint_is_told_which_is_the_right_one(server: Server, hub: str) -> None:
    """In the log only, and nothing of the token."""
    token = rest(server, "POST", f"{hub}/:generateToken").json()["token"]
    with RawClient(server, mqtt_target(hub, token), protocols=["mqtt"]) as client:
        assert client.status == 401
    line = await_line(server, "ConnectionRefused", f"hubs/{hub}")
    wanted = f"http://{server.host}:{server.port}/clients/mqtt/hubs/{hub}"
    assert json.loads(line)["properties"]["message"] == f"token is for another audience than {wanted}"


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_subscribing_and_publishing_to_one_topic_are_two_refusals(
    server: Server, hub: str, version: int, qos: int
) -> None:
    with MqttClient(server, hub, version=version, client_id="device", roles=[]) as client:
        client.subscribe("g")
        client.publish("g", b"secret", qos)
        if qos:
            client.goodbye()
        else:
            client.ended()
    wait_until(lambda: len(records(server, hub)) >= 2, "two records")
    refusals = [record for record in records(server, hub) if record["operation"] == "RequestRefused"]
    assert [(record["packet"], record["about"]) for record in refusals] == [("SUBSCRIBE", "g"), ("PUBLISH", "g")]


ENDS: Final[Mapping[str, tuple[Callable[[MqttClient], object], int, str, str | None]]] = {
    "a publication": (lambda client: client.publish("g", b"secret", 0), 0x87, "roles", "g"),
    "a topic": (lambda client: client.publish("$own", b"secret", 0), 0x90, "topic", "$own"),
    "no packet": (lambda client: client.send_bytes(b"\x30\x01\x00"), 0x81, "library", None),
    "a second CONNECT": (lambda client: client.send_bytes(b"\x10\x00"), 0x82, "library", None),
}


@pytest.mark.parametrize("kind", ENDS)
def test_client_whose_connection_is_ended_is_logged_once_with_the_cause(
    server: Server, hub: str, version: int, kind: str
) -> None:
    """And its end, as that of every other client, with the code that it was told."""
    end, code, words, about = ENDS[kind]
    with MqttClient(server, hub, version=version, client_id="device", roles=[JOIN]) as client:
        end(client)
        closed = client.ended().close_code
    wait_until(lambda: len(records(server, hub)) >= 2, "two records")
    cause, ended = records(server, hub)
    assert (cause["operation"], ended["operation"]) == ("RequestRefused", "ConnectionAborted")
    assert (cause["connectionId"], cause["code"], cause.get("about")) == ("device", code, about)
    assert ended["code"] == closed
    assert words in cause["message"]
    assert "secret" not in server.log()


def test_retained_publication_that_is_refused(server: Server, hub: str) -> None:
    with MqttClient(server, hub, client_id="device") as client:
        client.send(Publish("g", b"", 0, retain=True))
        assert client.ended().code == 0x9A
    wait_until(lambda: bool(records(server, hub)), "a record")
    assert "retain" in records(server, hub)[0]["message"]


def test_client_that_is_gone_without_a_word_is_logged_as_that(server: Server, hub: str, version: int) -> None:
    """The power of the device failed, or it was killed."""
    with MqttClient(server, hub, version=version, client_id="device") as client:
        client.drop()
    await_line(server, "ConnectionAborted", hub)
    (line,) = [line for line in server.log().splitlines() if hub in line and "ConnectionStarted" not in line]
    ended = json.loads(line)
    assert (ended["operationName"], ended["level"]) == ("ConnectionAborted", "Informational")
    assert ended["properties"]["message"] == "The client is gone without a DISCONNECT packet"
    assert (ended["properties"]["connectionId"], ended["properties"]["code"]) == ("device", 1006)


def test_client_that_is_let_in_is_logged_without_what_it_has_shown(server: Server, hub: str) -> None:
    with MqttClient(server, hub, client_id="device", username="secret name", password=b"secret word") as client:
        client.goodbye()
    wait_until(lambda: server.log().count(hub) >= 2, "its beginning and its end")
    found = [json.loads(line) for line in server.log().splitlines() if hub in line]
    assert [record["operationName"] for record in found] == ["ConnectionStarted", "ConnectionEnded"]
    assert {record["properties"]["subprotocol"] for record in found} == {"mqtt"}
    assert client.token not in server.log()
    assert "secret" not in server.log()
