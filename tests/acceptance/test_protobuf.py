"""
The protobuf subprotocols next to all others over real sockets: what each gets of the data of each, recovery,
permissions, REST, and what ends a connection.
"""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import pytest

from acceptance.mqtt import MqttClient
from acceptance.protobuf import ANY, PROTOBUF, PROTOBUF_RELIABLE, ProtobufClient
from acceptance.servers import Server, StartServer, wait_until
from acceptance.wire import (
    JOIN,
    JSON,
    RELIABLE,
    SEND,
    Closed,
    JsonClient,
    RawClient,
    client_target,
    client_token,
    metric,
    rest,
)
from hubwire.protocols.mqtt.packets import Publish

BOTH: Final = pytest.mark.parametrize("protocol", [PROTOBUF, PROTOBUF_RELIABLE])
MAX_MESSAGE_BYTES: Final = 1_048_576

BODIES: Final = {
    "text": "tëxt %s".encode(),
    "json": b'{"a": [1.5, null, "\xc3\xbc%"]}',
    "binary": b"\x00\xff%d",
    "protobuf": ANY,
}
TYPES: Final = {
    "text": "text/plain",
    "json": "application/json",
    "binary": "application/octet-stream",
    "protobuf": "application/x-protobuf",
}


def shown(kind: str, body: bytes) -> Any:
    """A payload as it is in the shape of JSON."""
    match kind:
        case "json":
            return json.loads(body)
        case "text":
            return body.decode()
    return base64.b64encode(body).decode()


def simple(server: Server, hub: str, *query: tuple[str, str], **claims: Any) -> RawClient:
    client = RawClient(server, client_target(hub, client_token(server, hub, **claims), query))
    assert client.status == 101
    return client


class Receivers:
    """One client of each protocol, all of them in the group."""

    def __init__(self, server: Server, hub: str, stack: ExitStack) -> None:
        enter = stack.enter_context
        self.named = {
            name: enter(client)
            for name, client in {
                "json": JsonClient(server, hub, groups=["g"]),
                "reliable json": JsonClient(server, hub, protocol=RELIABLE, groups=["g"]),
                "protobuf": ProtobufClient(server, hub, groups=["g"]),
                "reliable protobuf": ProtobufClient(server, hub, protocol=PROTOBUF_RELIABLE, groups=["g"]),
            }.items()
        }
        self.simple = enter(simple(server, hub, groups=["g"]))
        self.mqtt = [enter(MqttClient(server, hub, version=version, groups=["g"])) for version in (4, 5)]

    def check(self, kind: str, body: bytes, user: str | None, metadata: dict[str, str] | None) -> None:
        """All are given this, each in its way."""
        for name, client in self.named.items():
            frame = client.receive()
            assert frame.pop("sequenceId", None) == (1 if "reliable" in name else None), name
            expected = {"type": "message", "from": "group", "group": "g", "dataType": kind, "data": shown(kind, body)}
            if "json" in name and user is not None:
                expected["fromUserId"] = user
            if metadata:
                expected["metadata"] = metadata
            assert frame == expected, name
        assert self.simple.receive_frame() == (1 if kind in ("text", "json") else 2, body)
        for device in self.mqtt:
            message: Publish = device.message()
            assert (message.topic, message.payload) == ("g", body)
        assert message.properties.user_properties == tuple((metadata or {}).items())


@pytest.fixture
def receivers(server: Server, hub: str) -> Iterator[Receivers]:
    with ExitStack() as stack:
        yield Receivers(server, hub, stack)


@BOTH
@pytest.mark.parametrize("kind", BODIES)
def test_data_of_a_protobuf_client_reaches_all_protocols(
    server: Server, hub: str, receivers: Receivers, protocol: str, kind: str
) -> None:
    body = BODIES[kind]
    with ProtobufClient(server, hub, protocol=protocol, user="u") as sender:
        assert sender.publish("g", shown(kind, body), kind, metadata={"k": "v"})["success"]

        # The client in these tests writes JSON anew, without the spelling of `BODIES`.
        receivers.check(kind, json.dumps(json.loads(body)).encode() if kind == "json" else body, "u", {"k": "v"})


@pytest.mark.parametrize("kind", BODIES)
def test_data_of_a_json_client_reaches_all_protocols(server: Server, hub: str, receivers: Receivers, kind: str) -> None:
    body = BODIES[kind]
    with JsonClient(server, hub, user="u") as sender:
        data = body.decode() if kind == "json" else json.dumps(shown(kind, body))
        sender.socket.send(f'{{"type":"sendToGroup","group":"g","dataType":"{kind}","data":{data}}}')

        receivers.check(kind, body, "u", None)


@pytest.mark.parametrize("kind", BODIES)
def test_data_of_rest_reaches_all_protocols(server: Server, hub: str, receivers: Receivers, kind: str) -> None:
    headers = {"Content-Type": TYPES[kind], "X-WebPubSub-Metadata-K": "v"}
    answer = rest(server, "POST", f"{hub}/groups/g/:send", body=BODIES[kind], headers=headers)
    assert answer.status == 202

    receivers.check(kind, BODIES[kind], None, {"k": "v"})


@pytest.mark.parametrize("kind", BODIES)
def test_data_of_a_device_reaches_all_protocols(server: Server, hub: str, receivers: Receivers, kind: str) -> None:
    with MqttClient(server, hub, user="u") as device:
        assert device.publish("g", BODIES[kind], content_type=TYPES[kind]) == 0

        receivers.check(kind, BODIES[kind], "u", None)


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_data_of_a_simple_client_reaches_all_protocols(
    server: Server, hub: str, receivers: Receivers, kind: str
) -> None:
    with simple(server, hub, ("webpubsub_mode", "sendToGroup"), ("group", "g"), roles=[SEND]) as sender:
        sender.send_frame(1 if kind == "text" else 2, BODIES[kind])

        receivers.check(kind, BODIES[kind], None, None)


def test_protobuf_that_is_no_any_reaches_protobuf_clients_as_bytes(server: Server, hub: str) -> None:
    """They could not read the message at all if it were called one."""
    with ProtobufClient(server, hub, groups=["g"]) as receiver, JsonClient(server, hub, groups=["g"]) as sender:
        assert sender.publish("g", "CAE=", "protobuf")["success"]

        assert (receiver.receive()["dataType"], sender.receive()["dataType"]) == ("binary", "protobuf")


# Messages of the server


@BOTH
@pytest.mark.parametrize("kind", BODIES)
def test_rest_sends_to_hub_user_and_connection(server: Server, hub: str, protocol: str, kind: str) -> None:
    with ProtobufClient(server, hub, protocol=protocol, user="u") as client:
        for number, target in enumerate(["", "/users/u", f"/connections/{client.connection_id}"], start=1):
            headers = {"Content-Type": TYPES[kind]}
            assert rest(server, "POST", f"{hub}{target}/:send", body=BODIES[kind], headers=headers).status == 202
            frame = client.receive()
            assert frame.pop("sequenceId", None) == (number if protocol == PROTOBUF_RELIABLE else None)
            data = shown(kind, BODIES[kind])
            assert frame == {"type": "message", "from": "server", "dataType": kind, "data": data}


def test_body_that_is_no_any_is_400(server: Server, hub: str) -> None:
    headers = {"Content-Type": TYPES["protobuf"]}
    assert rest(server, "POST", f"{hub}/:send", body=b"\x08\x01", headers=headers).status == 400


# Requests


@BOTH
def test_connected_comes_first_and_names_connection_and_user(server: Server, hub: str, protocol: str) -> None:
    with ProtobufClient(server, hub, protocol=protocol, user="häns / 1") as client:
        assert client.connected["userId"] == "häns / 1"
        assert client.connection_id
        assert bool(client.reconnection_token) == (protocol == PROTOBUF_RELIABLE)


@BOTH
def test_member_hears_what_is_published_until_it_leaves(server: Server, hub: str, protocol: str) -> None:
    with ProtobufClient(server, hub, protocol=protocol) as client, JsonClient(server, hub) as sender:
        client.join("g")
        assert sender.publish("g", 1)["success"]
        assert client.receive()["data"] == 1
        assert client.request({"type": "leaveGroup", "group": "g"})["success"]
        assert sender.publish("g", 2)["success"]
        assert client.heard() == []


@BOTH
def test_sender_that_wants_no_echo_hears_nothing_and_others_of_its_user_do(
    server: Server, hub: str, protocol: str
) -> None:
    with (
        ProtobufClient(server, hub, protocol=protocol, user="u", groups=["g"]) as sender,
        ProtobufClient(server, hub, protocol=protocol, user="u", groups=["g"]) as other,
    ):
        assert sender.publish("g", "x", "text", noEcho=True)["success"]

        assert other.receive()["data"] == "x"
        assert sender.heard() == []


@BOTH
@pytest.mark.parametrize("ack_id", [0, 1, 18446744073709551615])
def test_ack_id_is_answered_once_and_then_called_a_duplicate(
    server: Server, hub: str, protocol: str, ack_id: int
) -> None:
    with ProtobufClient(server, hub, protocol=protocol) as client:
        request = {"type": "joinGroup", "group": "g", "ackId": ack_id}
        assert client.request(request) == {"type": "ack", "ackId": ack_id, "success": True}
        second = client.request(request)
        assert (second["ackId"], second["error"]["name"]) == (ack_id, "Duplicate")


@BOTH
def test_client_without_a_role_is_forbidden_until_rest_grants_it(server: Server, hub: str, protocol: str) -> None:
    with ProtobufClient(server, hub, protocol=protocol, roles=[f"{JOIN}.mine"]) as client:
        client.join("mine")
        for request in (
            {"type": "joinGroup", "group": "g"},
            {"type": "leaveGroup", "group": "g"},
            {"type": "sendToGroup", "group": "mine", "dataType": "text", "data": "x"},
        ):
            assert client.request(request)["error"]["name"] == "Forbidden"
        # Without an ack id it is silent, and the connection stays.
        client.send({"type": "sendToGroup", "group": "mine", "dataType": "text", "data": "x"})
        assert client.heard() == []

        rule = f"{hub}/permissions/sendToGroup/connections/{client.connection_id}"
        assert rest(server, "PUT", rule, query=[("targetName", "mine")]).status == 200
        assert client.publish("mine", "y", "text")["success"]
        assert client.receive()["data"] == "y"


@BOTH
def test_rest_finds_lists_groups_and_closes_a_connection(server: Server, hub: str, protocol: str) -> None:
    with ProtobufClient(server, hub, protocol=protocol, user="u") as client:
        here = f"{hub}/connections/{client.connection_id}"
        assert rest(server, "HEAD", here).status == rest(server, "HEAD", f"{hub}/users/u").status == 200
        assert rest(server, "PUT", f"{hub}/groups/g/connections/{client.connection_id}").status == 200
        members = rest(server, "GET", f"{hub}/groups/g/connections").json()["value"]
        assert members == [{"connectionId": client.connection_id, "userId": "u"}]
        assert rest(server, "DELETE", here, query=[("reason", "enough %")]).status == 204

        assert client.closed() == Closed(1000, "")
        message = "Application server closed the connection. Reason: enough %"
        assert client.receive() == {"type": "system", "event": "disconnected", "message": message}
        assert rest(server, "HEAD", here).status == 404


def test_filter_selects_by_protocol(server: Server, hub: str) -> None:
    with ExitStack() as stack:
        clients: dict[str, JsonClient] = {
            name: stack.enter_context(
                (ProtobufClient if "protobuf" in name else JsonClient)(server, hub, protocol=name)
            )
            for name in (JSON, RELIABLE, PROTOBUF, PROTOBUF_RELIABLE)
        }
        for name in clients:
            query = [("filter", f"protocol eq '{name}'")]
            headers = {"Content-Type": "text/plain"}
            assert rest(server, "POST", f"{hub}/:send", query=query, body=name.encode(), headers=headers).status == 202

        assert {name: [frame["data"] for frame in client.heard()] for name, client in clients.items()} == {
            name: [name] for name in clients
        }


# What ends a connection


class Ending(NamedTuple):
    """A frame that ends its connection, and with what."""

    opcode: int
    payload: bytes
    code: int


ENDINGS: Final = {
    "text": Ending(1, b"", 1003),
    "JSON": Ending(1, b'{"type":"ping"}', 1003),
    "nothing": Ending(2, b"", 1007),
    "bytes": Ending(2, b"\xff\xff", 1007),
    "unknown request": Ending(2, b"\x62\x00", 1007),
    "group without a name": Ending(2, b"\x32\x00", 1007),
    "text that is not UTF-8": Ending(2, b"\x32\x03\x0a\x01\xff", 1007),
    "payload that holds nothing": Ending(2, b"\x0a\x05\x0a\x01g\x1a\x00", 1007),
    "JSON that is none": Ending(2, b"\x0a\x08\x0a\x01g\x1a\x03\x22\x01{", 1007),
    "length beyond the end": Ending(2, b"\x32\xff\xff\xff\xff\x07", 1007),
    "as large as a message may be": Ending(2, b"\x0b" * MAX_MESSAGE_BYTES, 1007),
    "larger": Ending(2, b"\x0b" * (MAX_MESSAGE_BYTES + 1), 1009),
}


@BOTH
@pytest.mark.parametrize("ending", ENDINGS)
def test_frame_that_is_none_of_the_language_ends_the_connection_for_good(
    server: Server, hub: str, protocol: str, ending: str
) -> None:
    opcode, payload, code = ENDINGS[ending]
    target = client_target(hub, client_token(server, hub))
    with RawClient(server, target, protocols=[protocol]) as client:
        client.send_frame(opcode, payload)

        assert client.closed().code == code
    with ProtobufClient(server, hub, protocol=protocol) as client_:
        client_.join("g")  # nobody else is concerned


def test_hostile_messages_leave_no_memory_behind(start_server: StartServer, hub: str) -> None:
    """Each as large as a message may be: what they are read into is let go of with the connection."""
    server = start_server()
    wires: list[bytes] = [
        b"\x0b" * (MAX_MESSAGE_BYTES // 2) + b"\x0c" * (MAX_MESSAGE_BYTES // 2),
        b"\x9a\x06\x00" * (MAX_MESSAGE_BYTES // 3),
        b"\x0a\xfb\xff\x3f\x0a\x01g" + b"\x32\x00" * ((MAX_MESSAGE_BYTES - 7) // 2),
    ]
    distinct = b"".join(b"\x32\x07\x0a\x05%05x" % number for number in range(MAX_MESSAGE_BYTES // 9 - 2))
    size = len(distinct) + 3
    wires.append(b"\x0a" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + b"\x0a\x01g" + distinct)

    def attack(rounds: int) -> None:
        for _ in range(rounds):
            for wire in wires:
                target = client_target(hub, client_token(server, hub))
                with RawClient(server, target, protocols=[PROTOBUF]) as client:
                    client.send_frame(2, wire)
                    assert client.closed().code == 1007

    attack(4)
    before = metric(server, "process_resident_memory_bytes")
    attack(12)
    after = metric(server, "process_resident_memory_bytes")

    assert after - before < 24 * MAX_MESSAGE_BYTES, "of 48"


# Recovery


def recovered(client: ProtobufClient) -> ProtobufClient:
    return ProtobufClient(
        client.server, client.hub, protocol=PROTOBUF_RELIABLE, query=client.recovery(), token="expired long ago"
    )


def publish(server: Server, hub: str, text: str, *query: tuple[str, str]) -> None:
    headers = {"Content-Type": "text/plain"}
    answer = rest(server, "POST", f"{hub}/groups/g/:send", query=query, body=text.encode(), headers=headers)
    assert answer.status == 202


def numbered(frames: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(frame["sequenceId"], frame["data"]) for frame in frames]


def test_recovery_brings_what_was_not_acknowledged_and_what_came_meanwhile(server: Server, hub: str) -> None:
    with ProtobufClient(server, hub, protocol=PROTOBUF_RELIABLE, user="u", groups=["g"]) as client:
        for text in ("1", "2", "3"):
            publish(server, hub, text)
        assert numbered([client.receive() for _ in range(3)]) == [(1, "1"), (2, "2"), (3, "3")]
        client.send({"type": "sequenceAck", "sequenceId": 2})
        assert client.heard() == []
        assert client.request({"type": "joinGroup", "group": "other", "ackId": 7})["success"]
        client.lose()
        publish(server, hub, "4")

        with recovered(client) as again:
            assert again.connection_id == client.connection_id
            assert again.connected["userId"] == "u"
            assert numbered([again.receive(), again.receive()]) == [(3, "3"), (4, "4")]
            duplicate = again.request({"type": "joinGroup", "group": "other", "ackId": 7})
            assert duplicate["error"]["name"] == "Duplicate"
            publish(server, hub, "5")
            assert numbered([again.receive()]) == [(5, "5")]


def test_recovery_over_the_number_that_takes_another_byte(server: Server, hub: str) -> None:
    with (
        ProtobufClient(server, hub, protocol=PROTOBUF_RELIABLE, groups=["g"]) as client,
        JsonClient(server, hub) as sender,
    ):
        for number in range(1, 140):
            sender.send({"type": "sendToGroup", "group": "g", "dataType": "text", "data": str(number)})
        sender.heard()
        expected = [(number, str(number)) for number in range(1, 140)]
        assert numbered([client.receive() for _ in expected]) == expected
        client.send({"type": "sequenceAck", "sequenceId": 120})
        assert client.heard() == []
        client.lose()

        with recovered(client) as again:
            assert numbered([again.receive() for _ in range(19)]) == expected[120:]


def test_message_that_expires_while_a_client_is_away_is_left_out(server: Server, hub: str) -> None:
    with (
        ProtobufClient(server, hub, protocol=PROTOBUF_RELIABLE, groups=["g"]) as client,
        ProtobufClient(server, hub, groups=["g"]) as sender,
    ):
        client.lose()
        assert sender.publish("g", "1", "text", ttlSeconds=1)["success"]
        publish(server, hub, "2", ("messageTtlSeconds", "300"))
        publish(server, hub, "3", ("messageTtlSeconds", "1"))
        wait_until(lambda: _expired(client), "the messages of one second are gone")


def _expired(client: ProtobufClient) -> bool:
    with recovered(client) as again:
        found = numbered(again.heard())
        again.lose()
        client.reconnection_token = again.reconnection_token
    assert (2, "2") in found
    return found == [(2, "2")]


def test_client_that_acknowledges_nothing_is_closed_for_good(start_server: StartServer, hub: str) -> None:
    server = start_server("--set", "reliable_queue_messages=10")
    with (
        ProtobufClient(server, hub, protocol=PROTOBUF_RELIABLE, groups=["g"]) as client,
        JsonClient(server, hub) as sender,
    ):
        for _ in range(11):
            sender.publish("g", 1)
        assert client.closed().code == 1008
        target = client_target(hub, None, client.recovery())
        with RawClient(server, target, protocols=[PROTOBUF_RELIABLE]) as again:
            assert again.closed().code == 1008


@pytest.mark.parametrize(
    "query",
    [
        lambda client: [("awps_connection_id", "nobody"), ("awps_reconnection_token", client.reconnection_token)],
        lambda client: [("awps_connection_id", client.connection_id), ("awps_reconnection_token", "x")],
    ],
)
def test_recovery_that_proves_nothing_is_close_code_1008(
    server: Server, hub: str, query: Callable[[ProtobufClient], list[tuple[str, str]]]
) -> None:
    with ProtobufClient(server, hub, protocol=PROTOBUF_RELIABLE) as client:
        target = client_target(hub, None, query(client))
        with RawClient(server, target, protocols=[PROTOBUF_RELIABLE]) as other:
            assert other.headers["sec-websocket-protocol"] == PROTOBUF_RELIABLE
            assert other.closed().code == 1008
        client.join("still here")


def test_plain_client_cannot_come_back(server: Server, hub: str) -> None:
    with ProtobufClient(server, hub) as client:
        query = [("awps_connection_id", client.connection_id), ("awps_reconnection_token", "x")]
        with RawClient(server, client_target(hub, None, query), protocols=[PROTOBUF]) as other:
            assert other.closed().code == 1008


def test_server_that_goes_away_says_so(start_server: StartServer, hub: str) -> None:
    server = start_server()
    with ExitStack() as stack:
        clients = [
            stack.enter_context(ProtobufClient(server, hub, protocol=protocol))
            for protocol in (PROTOBUF, PROTOBUF_RELIABLE)
        ]
        server.stop()
        for client in clients:
            assert client.closed().code == 1001
            frame = client.receive()
            assert (frame["type"], frame["event"]) == ("system", "disconnected")
