"""The JSON subprotocols and simple clients, frame by frame."""

import base64
import json
import time
from typing import Any

import pytest

from acceptance.servers import DEADLINE_S, Server, wait_until
from acceptance.wire import (
    JOIN,
    JSON,
    RELIABLE,
    SEND,
    Closed,
    Frame,
    JsonClient,
    RawClient,
    client_target,
    client_token,
    rest,
)

MAX_MESSAGE_BYTES = 1_048_576


def simple(server: Server, hub: str, *, query: list[tuple[str, str]] | None = None, **claims: Any) -> RawClient:
    """A simple client: no subprotocol, and so no frame but messages."""
    client = RawClient(server, client_target(hub, client_token(server, hub, **claims), query or []))
    assert client.status == 101
    return client


def send(server: Server, path: str, body: bytes, media: str, **more: Any) -> None:
    """POST to a `:send` operation."""
    headers = {"Content-Type": media, **more.pop("headers", {})}
    assert rest(server, "POST", f"{path}/:send", body=body, headers=headers, **more).status == 202


@pytest.mark.parametrize("protocol", [JSON, RELIABLE])
def test_connected_comes_first_and_names_connection_and_user(server: Server, hub: str, protocol: str) -> None:
    with JsonClient(server, hub, protocol=protocol, user="häns / 1") as client:
        assert client.connected["userId"] == "häns / 1"
        assert client.connection_id
        assert client.connection_id.replace("-", "").replace("_", "").isalnum()
        assert bool(client.reconnection_token) == (protocol == RELIABLE)


def test_frames_sent_before_connected_was_read_are_carried_out(server: Server, hub: str) -> None:
    """The official clients count themselves as started when the socket opens, and join at once."""
    target = client_target(hub, client_token(server, hub, roles=[JOIN]))
    with RawClient(server, target, protocols=[JSON]) as client:
        client.send_json({"type": "joinGroup", "group": "g", "ackId": 1})

        assert client.receive_json()["event"] == "connected"
        assert client.receive_json() == {"type": "ack", "ackId": 1, "success": True}


def test_member_hears_what_is_published_until_it_leaves(server: Server, hub: str) -> None:
    with JsonClient(server, hub, user="a") as member, JsonClient(server, hub, user="b") as sender:
        member.join("g")
        sender.publish("g", "in", "text")
        assert member.request({"type": "leaveGroup", "group": "g"})["success"]
        sender.publish("g", "out", "text")

        assert member.heard() == [
            {"type": "message", "from": "group", "group": "g", "fromUserId": "b", "dataType": "text", "data": "in"}
        ]


def test_joining_twice_and_leaving_a_group_one_is_not_in_succeed(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        client.join("g")
        client.join("g")
        assert client.request({"type": "leaveGroup", "group": "other"})["success"]
        client.publish("g", 1)

        assert len(client.heard()) == 1


def test_message_of_an_anonymous_client_names_no_user(server: Server, hub: str) -> None:
    with JsonClient(server, hub, groups=["g"]) as client:
        client.publish("g", 1)

        assert "fromUserId" not in client.receive()


def test_no_echo_leaves_out_the_sending_connection_only(server: Server, hub: str) -> None:
    """Another connection of the same user is no echo."""
    with (
        JsonClient(server, hub, user="u", groups=["g"]) as sender,
        JsonClient(server, hub, user="u", groups=["g"]) as other,
    ):
        sender.publish("g", 1, noEcho=True)
        sender.publish("g", 2)

        assert [frame["data"] for frame in sender.heard()] == [2]
        assert [frame["data"] for frame in other.heard()] == [1, 2]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("text", ""),
        ("text", 'Grüße ☃ \u2028 \\ " \u0000'),
        ("json", {"a": [1, None, {"b": 1e300}], "ü": "ö"}),
        ("json", None),
        ("json", False),
        ("json", "text"),
        ("binary", "AQID"),
        ("binary", ""),
        ("protobuf", "CgNhL2I="),
    ],
)
@pytest.mark.parametrize("protocol", [JSON, RELIABLE])
def test_payload_arrives_as_the_kind_and_value_that_was_sent(
    server: Server, hub: str, protocol: str, kind: str, data: Any
) -> None:
    with JsonClient(server, hub, protocol=protocol, groups=["g"]) as client:
        assert client.publish("g", data, kind)["success"]

        message = client.receive()

        assert (message["dataType"], message["data"]) == (kind, data)


def test_data_type_is_json_when_none_is_named(server: Server, hub: str) -> None:
    with JsonClient(server, hub, groups=["g"]) as client:
        client.request({"type": "sendToGroup", "group": "g", "data": [1]})

        assert client.receive()["dataType"] == "json"


def test_simple_client_receives_the_json_text_of_the_sender_unchanged(server: Server, hub: str) -> None:
    """Odd spacing, key order and number spelling are the application's own."""
    odd = '{ "b" : 1.0,\t"a":1 , "b":2E0 }'
    with simple(server, hub, groups=["g"]) as receiver, JsonClient(server, hub) as sender:
        sender.socket.send(f'{{"type":"sendToGroup","group":"g","ackId":1,"data":{odd}}}')
        assert sender.receive()["success"]

        assert receiver.receive_frame() == (1, odd.encode())


def test_simple_client_receives_each_kind_in_its_frame(server: Server, hub: str) -> None:
    with simple(server, hub, groups=["g"]) as receiver, JsonClient(server, hub) as sender:
        send(server, f"{hub}/groups/g", b'"x"', "application/json")
        send(server, f"{hub}/groups/g", "ü".encode(), "text/plain")
        send(server, hub, b"\x00\xff", "application/octet-stream")
        sender.publish("g", "AQID", "binary")
        sender.publish("g", "CgNhL2I=", "protobuf")

        assert [receiver.receive_frame() for _ in range(5)] == [
            (1, b'"x"'),
            (1, "ü".encode()),
            (2, b"\x00\xff"),
            (2, b"\x01\x02\x03"),
            (2, base64.b64decode("CgNhL2I=")),
        ]


def test_json_string_of_rest_stays_a_json_string(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        send(server, hub, b'"x"', "application/json")

        assert client.receive() == {"type": "message", "from": "server", "dataType": "json", "data": "x"}


@pytest.mark.parametrize("query", [[], [("webpubsub_mode", "")], [("webpubsub_mode", "sendEvent"), ("group", "g")]])
def test_simple_client_without_an_event_handler_is_dropped_at_its_first_message(
    server: Server, hub: str, query: list[tuple[str, str]]
) -> None:
    with simple(server, hub, query=query) as client:
        client.send_frame(1, b"hello")

        assert client.closed().code == 1011


def test_simple_client_in_send_to_group_mode_publishes_what_it_says(server: Server, hub: str) -> None:
    """Text stays text, bytes stay bytes, and publishing makes nobody a member."""
    query = [("webpubsub_mode", "sendToGroup"), ("group", "x"), ("webpubsub_mode", "SENDtoGroup"), ("Group", "g")]
    with (
        simple(server, hub, query=query, roles=[SEND], user="raw") as sender,
        JsonClient(server, hub, groups=["g"]) as member,
    ):
        sender.send_frame(1, b'{"a":1}')
        sender.send_frame(2, b"\x01\x02\x03")

        first, second = member.receive(), member.receive()
        assert (first["dataType"], first["data"], first["fromUserId"]) == ("text", '{"a":1}', "raw")
        assert (second["dataType"], second["data"]) == ("binary", "AQID")
        member.publish("g", "not for the sender", "text")
        send(server, hub, b"marker", "text/plain")
        assert sender.receive_frame() == (1, b"marker")


@pytest.mark.parametrize(("no_echo", "echoes"), [("true", 0), ("FALSE", 1), ("false", 1)])
def test_simple_client_may_leave_itself_out(server: Server, hub: str, no_echo: str, echoes: int) -> None:
    query = [("webpubsub_mode", "sendToGroup"), ("group", "g"), ("noEcho", no_echo)]
    with simple(server, hub, query=query, roles=[SEND], groups=["g"]) as client:
        client.send_frame(1, b"echo")
        # A ping is answered behind what came before it.
        client.send_frame(9, b"fence")

        frames = [client.receive_frame() for _ in range(echoes + 1)]
        assert sorted(frames) == sorted([(1, b"echo")] * echoes + [(10, b"fence")])


def test_simple_client_that_may_not_publish_is_closed_1008(server: Server, hub: str) -> None:
    query = [("webpubsub_mode", "sendToGroup"), ("group", "g")]
    with simple(server, hub, query=query) as client:
        client.send_frame(1, b"hello")

        assert client.closed().code == 1008


def test_json_client_ignores_the_mode_of_simple_ones(server: Server, hub: str) -> None:
    query = [("webpubsub_mode", "sendToGroup"), ("group", "g")]
    with JsonClient(server, hub, query=query) as client:
        client.join("other")


@pytest.mark.parametrize("ack_id", [0, 1, 2**53 + 1, 2**64 - 1])
def test_any_64_bit_ack_id_comes_back_exactly(server: Server, hub: str, ack_id: int) -> None:
    with JsonClient(server, hub) as client:
        assert client.request({"type": "joinGroup", "group": "g", "ackId": ack_id})["ackId"] == ack_id


def test_names_of_groups_may_be_1024_characters_of_any_script(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        for group in ("g" * 1024, "a/b?c#d%2F ü ☃", "*"):
            client.join(group)
            client.publish(group, 1)

            assert client.receive()["group"] == group


def test_message_of_a_mebibyte_arrives_and_a_byte_more_is_closed_1009(server: Server, hub: str) -> None:
    def publish(size: int) -> str:
        head, tail = '{"type":"sendToGroup","group":"g","ackId":7,"dataType":"text","data":"', '"}'
        return head + "x" * (size - len(head) - len(tail)) + tail

    with JsonClient(server, hub, groups=["g"]) as client:
        client.socket.send(publish(MAX_MESSAGE_BYTES))
        assert client.await_frame("ack")["success"]
        assert len(client.receive()["data"]) > MAX_MESSAGE_BYTES - 100

        client.socket.send(publish(MAX_MESSAGE_BYTES + 1))
        assert client.closed().code == 1009


def test_binary_frame_with_utf_8_json_is_taken_and_answered_in_text(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        client.socket.send(json.dumps({"type": "joinGroup", "group": "g", "ackId": 1}).encode())

        assert client.receive()["success"]


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "nonsense",
        "[]",
        "null",
        "{}",
        '{"type":"unknown"}',
        '{"type":"JoinGroup","group":"g"}',
        '{"type":"joinGroup"}',
        '{"type":"joinGroup","group":""}',
        '{"type":"joinGroup","group":" "}',
        '{"type":"joinGroup","group":5}',
        json.dumps({"type": "joinGroup", "group": "g" * 1025}),
        '{"type":"joinGroup","group":"g","ackId":-1}',
        '{"type":"joinGroup","group":"g","ackId":1.5}',
        '{"type":"joinGroup","group":"g","ackId":18446744073709551616}',
        '{"type":"sendToGroup","group":"g","ackId":1}',
        '{"type":"sendToGroup","group":"g","dataType":"text","data":5}',
        '{"type":"sendToGroup","group":"g","dataType":"binary","data":"no base64!"}',
        '{"type":"sendToGroup","group":"g","dataType":"xml","data":"x"}',
        '{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":-1}',
        '{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":301}',
        '{"type":"sendToGroup","group":"g","data":1,"metadata":{"no key":"x"}}',
        '{"type":"sendToGroup","group":"g","data":1,"metadata":{"k":1}}',
        '{"type":"sendToGroup","group":"g","data":1,"metadata":{"k":"ü"}}',
        '{"type":"event","event":"1abc","data":1}',
        '{"type":"event","data":1}',
        '{"type":"joinGroup","group":"g"',
    ],
)
def test_malformed_request_ends_the_connection_with_words_and_1007(server: Server, hub: str, payload: str) -> None:
    """With an ack id or without; and what was sent is not repeated in the reason."""
    with JsonClient(server, hub) as client:
        client.socket.send(payload)

        closed = client.closed()
        assert closed.code == 1007
        farewell = client.receive()
        assert (farewell["type"], farewell["event"]) == ("system", "disconnected")
        assert isinstance(farewell["message"], str)


def test_null_and_unknown_properties_are_as_good_as_absent(server: Server, hub: str) -> None:
    with JsonClient(server, hub, groups=["g"]) as client:
        client.send(
            {
                "type": "sendToGroup",
                "group": "g",
                "data": 1,
                "dataType": None,
                "noEcho": None,
                "ttlSeconds": None,
                "metadata": None,
                "ackId": None,
                "extra": {"x": 1},
            }
        )

        assert [frame["data"] for frame in client.heard()] == [1]


FORBIDDEN: list[Frame] = [
    {"type": "joinGroup", "group": "g"},
    {"type": "leaveGroup", "group": "g"},
    {"type": "sendToGroup", "group": "g", "data": 1},
]


@pytest.mark.parametrize("frame", FORBIDDEN, ids=lambda frame: frame["type"])
def test_request_without_the_role_is_answered_forbidden(server: Server, hub: str, frame: Frame) -> None:
    with JsonClient(server, hub, roles=[f"{JOIN}.other", f"{SEND}.other", "unknown.role"]) as client:
        ack = client.request(frame)

        assert (ack["success"], ack["error"]["name"]) == (False, "Forbidden")
        assert ack["error"]["message"]


@pytest.mark.parametrize("frame", FORBIDDEN, ids=lambda frame: frame["type"])
def test_refused_request_without_an_ack_id_is_answered_by_silence(server: Server, hub: str, frame: Frame) -> None:
    with JsonClient(server, hub, roles=()) as client:
        client.send(frame)

        assert client.heard() == []


def test_accepted_request_without_an_ack_id_is_answered_by_silence(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        client.send({"type": "joinGroup", "group": "g"})
        client.send({"type": "sendToGroup", "group": "g", "data": 1})

        assert [frame["type"] for frame in client.heard()] == ["message"]


@pytest.mark.parametrize(
    ("role", "group", "allowed"),
    [
        (JOIN, "any", True),
        (f"{JOIN}.a*", "a*", True),
        (f"{JOIN}.a*", "ab", False),
        (f"{JOIN}s.room.*", "room.1", True),
        (f"{JOIN}s.room.*", "room.1.2", False),
        (f"{JOIN}s.room.**", "room.1.2", True),
        (f"{JOIN}s.room?", "room1", True),
        (f"{JOIN}s.room?", "room", False),
        (f"{JOIN}s.a\\*", "a*", True),
        (f"{JOIN}s.a\\*", "ab", False),
        (SEND, "any", False),
    ],
)
def test_roles_grant_every_group_one_group_or_a_pattern_of_groups(
    server: Server, hub: str, role: str, group: str, allowed: bool
) -> None:
    with JsonClient(server, hub, roles=[role]) as client:
        assert client.request({"type": "joinGroup", "group": group})["success"] == allowed


def test_same_ack_id_again_is_a_duplicate_and_is_not_carried_out(server: Server, hub: str) -> None:
    """One space of ids for all kinds of requests."""
    with JsonClient(server, hub, groups=["g"]) as client:
        frame = {"type": "sendToGroup", "group": "g", "data": 1, "ackId": 5}
        assert client.request(frame)["success"]

        for again in (frame, {"type": "joinGroup", "group": "x", "ackId": 5}):
            ack = client.request(again)
            assert not ack["success"]
            assert ack["error"] == {"name": "Duplicate", "message": "Message with ack-id: 5 has been processed"}
        assert [frame["data"] for frame in client.heard()] == [1]


def test_failed_request_may_be_repeated_with_its_ack_id(server: Server, hub: str) -> None:
    with JsonClient(server, hub, roles=()) as client:
        frame = {"type": "joinGroup", "group": "g", "ackId": 5}
        assert not client.request(frame)["success"]
        permission = f"{hub}/permissions/joinLeaveGroup/connections/{client.connection_id}"
        assert rest(server, "PUT", permission, query=[("targetName", "g")]).status == 200

        assert client.request(frame)["success"]
        assert client.request(frame)["error"]["name"] == "Duplicate"


@pytest.mark.parametrize("protocol", [JSON, RELIABLE])
def test_event_without_a_handler_fails_and_the_connection_stays(server: Server, hub: str, protocol: str) -> None:
    with JsonClient(server, hub, protocol=protocol) as client:
        ack = client.request({"type": "event", "event": "ev", "dataType": "text", "data": "x"})

        assert (ack["success"], ack["error"]["name"]) == (False, "InternalServerError")
        client.join("g")


def test_ping_is_answered_and_nobody_is_told_pong_unasked(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        client.send({"type": "ping"})
        assert client.receive() == {"type": "pong"}

        client.join("g")
        assert client.heard() == []


def test_websocket_ping_is_answered_with_its_payload(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        assert client.socket.ping(b"\x00payload").wait(DEADLINE_S)


def test_metadata_travels_with_the_message(server: Server, hub: str) -> None:
    """From a client's frame and from REST headers, whose names are lower-cased and whose last value counts."""
    with JsonClient(server, hub, groups=["g"]) as client:
        client.publish("g", 1, metadata={"Trace-Id": "a b", "x": ""})
        headers = {"X-WebPubSub-Metadata-Trace-ID": "old, new"}
        send(server, hub, b"x", "text/plain", headers=headers)
        client.publish("g", 2, metadata={})

        first, second, third = client.heard()
        assert first["metadata"] == {"Trace-Id": "a b", "x": ""}
        assert second["metadata"] == {"trace-id": "new"}
        assert "metadata" not in third


def test_metadata_alone_is_an_empty_text(server: Server, hub: str) -> None:
    with JsonClient(server, hub, groups=["g"]) as client:
        assert client.request({"type": "sendToGroup", "group": "g", "metadata": {"k": "v"}})["success"]

        message = client.receive()
        assert (message["dataType"], message["data"], message["metadata"]) == ("text", "", {"k": "v"})


def test_only_messages_of_reliable_clients_are_numbered(server: Server, hub: str) -> None:
    with (
        JsonClient(server, hub, protocol=RELIABLE, groups=["g"]) as reliable,
        JsonClient(server, hub, groups=["g"]) as plain,
    ):
        for number in (1, 2):
            plain.publish("g", number)
            send(server, hub, b"x", "text/plain")

        assert [frame["sequenceId"] for frame in reliable.heard()] == [1, 2, 3, 4]
        assert ["sequenceId" in frame for frame in plain.heard()] == [False] * 4


def test_sequence_ack_of_a_plain_client_is_ignored(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        client.send({"type": "sequenceAck", "sequenceId": 17})

        assert client.heard() == []


def test_messages_of_one_sender_arrive_in_order_at_everybody(server: Server, hub: str) -> None:
    """JSON, reliable and simple receivers hear the same order, whatever turns of the loop it took."""
    count = 500
    with (
        JsonClient(server, hub, groups=["g"]) as plain,
        JsonClient(server, hub, protocol=RELIABLE, groups=["g"]) as reliable,
        simple(server, hub, groups=["g"]) as raw,
        JsonClient(server, hub) as sender,
    ):
        for number in range(count):
            sender.send({"type": "sendToGroup", "group": "g", "dataType": "json", "data": number})
        sender.heard()

        expected = list(range(count))
        assert [plain.receive()["data"] for _ in expected] == expected
        assert [reliable.receive()["data"] for _ in expected] == expected
        assert [json.loads(raw.receive_frame()[1]) for _ in expected] == expected


def test_rest_close_says_goodbye_with_the_whole_reason(server: Server, hub: str) -> None:
    """The close frame itself stays without a reason, which may be longer than it could hold."""
    reason = "a+b & c/d — é " + "x" * 200
    with JsonClient(server, hub) as client:
        path = f"{hub}/connections/{client.connection_id}"
        assert rest(server, "DELETE", path, query=[("reason", reason)]).status == 204

        assert client.closed() == Closed(1000, "")
        assert client.receive() == {
            "type": "system",
            "event": "disconnected",
            "message": f"Application server closed the connection. Reason: {reason}",
        }


def test_rest_close_without_a_reason_gives_none(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        assert rest(server, "POST", f"{hub}/:closeConnections").status == 204

        assert client.closed() == Closed(1000, "")
        assert client.receive()["message"] == "Application server closed the connection."


def test_rest_close_of_a_simple_client_is_1000_and_no_frame_before(server: Server, hub: str) -> None:
    with simple(server, hub) as client:
        assert rest(server, "POST", f"{hub}/:closeConnections", query=[("reason", "r")]).status == 204

        opcode, payload = client.receive_frame()
        assert (opcode, payload[:2]) == (8, b"\x03\xe8")


def test_close_of_the_client_is_answered_in_kind(server: Server, hub: str) -> None:
    with simple(server, hub) as client:
        client.close_frame(1000)

        assert client.closed().code == 1000


def test_client_that_left_is_gone_at_once(server: Server, hub: str) -> None:
    with JsonClient(server, hub, protocol=RELIABLE, user="u"):
        assert rest(server, "HEAD", f"{hub}/users/u").status == 200

    wait_until(lambda: rest(server, "HEAD", f"{hub}/users/u").status == 404, "the user's last connection is gone")


def test_message_that_waits_longer_than_its_time_to_live_is_dropped(server: Server, hub: str) -> None:
    """It waits for a reliable client that lost its connection; another message without a limit is kept."""
    with JsonClient(server, hub) as sender:
        lost = RawClient(server, client_target(hub, client_token(server, hub, groups=["g"])), protocols=[RELIABLE])
        connected = lost.receive_json()
        lost.abort()
        sender.publish("g", "short", "text", ttlSeconds=1)
        sender.publish("g", "long", "text", ttlSeconds=300)
        sender.publish("g", "for ever", "text")
        sent = time.monotonic()
        # Times to live are kept to the quarter of a second.
        wait_until(lambda: time.monotonic() > sent + 1.5, "the time to live is over")

        recovery = [
            ("awps_connection_id", connected["connectionId"]),
            ("awps_reconnection_token", connected["reconnectionToken"]),
        ]
        with RawClient(server, client_target(hub, None, recovery), protocols=[RELIABLE]) as again:
            assert again.receive_json()["event"] == "connected"
            assert [again.receive_json()["data"] for _ in range(2)] == ["long", "for ever"]
