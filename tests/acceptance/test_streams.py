"""Streams over sockets, frame by frame, and what subscribers of each kind get of them."""

from collections.abc import Callable
from typing import Any

import pytest

from acceptance.mqtt import VERSIONS, MqttClient
from acceptance.servers import Server, StartServer, wait_until
from acceptance.wire import (
    JSON,
    RELIABLE,
    SEND,
    Frame,
    JsonClient,
    RawClient,
    client_target,
    client_token,
    metric,
    rest,
)
from protobuf_messages import message_of, request_of

PROTOBUF = "protobuf.webpubsub.azure.v1"
PROTOBUF_RELIABLE = "protobuf.reliable.webpubsub.azure.v1"
PROTOCOLS = pytest.mark.parametrize("protocol", [JSON, RELIABLE])
END = {"type": "streamEnd", "streamId": "s"}


def start(group: str = "g", **stream: Any) -> Frame:
    return {"type": "sendToGroup", "group": group, "stream": {"streamId": "s", **stream}}


def fragment(number: int, data: Any = None, kind: str = "text") -> Frame:
    value = f"f{number}" if data is None else data
    return {"type": "streamData", "streamId": "s", "streamSequenceId": number, "dataType": kind, "data": value}


def ack(expected: int) -> Frame:
    return {"type": "streamAck", "streamId": "s", "expectedSequenceId": expected}


def say(client: JsonClient, *frames: Frame) -> Frame:
    """Say these, and return the next answer."""
    for frame in frames:
        client.send(frame)
    return client.receive()


def open_stream(client: JsonClient, **stream: Any) -> None:
    assert say(client, start(**stream)) == ack(1)


def place(number: int, *, error: str | None = None, end: bool = False) -> Frame:
    shown: Frame = {"streamId": "s", "streamSequenceId": number}
    if end:
        shown["endOfStream"] = True
    if error is not None:
        shown["error"] = error
    return shown


def seen(client: JsonClient) -> tuple[Any, Frame]:
    """Payload and place of the next message; of an error only the name."""
    message = client.receive()
    assert (message["type"], message["from"], message["group"]) == ("message", "group", "g")
    stream = message["stream"]
    if "error" in stream:
        stream["error"] = stream["error"]["name"]
    return message["data"], stream


@PROTOCOLS
def test_stream_from_its_start_to_its_end(server: Server, hub: str, protocol: str) -> None:
    with (
        JsonClient(server, hub, groups=["g"], protocol=protocol) as listener,
        JsonClient(server, hub, roles=[f"{SEND}.g"], protocol=protocol) as publisher,
    ):
        open_stream(publisher, idleTimeoutMs=60_000)
        assert say(publisher, fragment(1)) == ack(2)
        publisher.send({"type": "streamData", "streamId": "s"})
        assert say(publisher, fragment(2, {"a": 1}, "json")) == ack(3)
        assert say(publisher, fragment(1)) == ack(3)
        nack = say(publisher, fragment(9))
        assert (nack["type"], nack["expectedSequenceId"], nack["name"]) == ("streamNack", 3, "InvalidSequenceId")
        assert say(publisher, END) == {"type": "streamClosed", "streamId": "s"}
        assert say(publisher, fragment(3))["error"]["name"] == "StreamNotFound"

        assert [seen(listener) for _ in range(3)] == [
            ("f1", place(1)),
            ({"a": 1}, place(2)),
            ("", place(3, end=True)),
        ]
        assert listener.heard() == []


@pytest.mark.parametrize("protocol", [PROTOBUF, PROTOBUF_RELIABLE])
def test_stream_between_json_and_protobuf_clients(server: Server, hub: str, protocol: str) -> None:
    target = client_target(hub, client_token(server, hub, roles=[SEND], groups=["g"]))
    with RawClient(server, target, protocols=[protocol]) as client, JsonClient(server, hub, groups=["g"]) as other:

        def receive() -> Frame:
            opcode, payload = client.receive_frame()
            assert opcode == 2
            return message_of(payload)

        assert receive()["event"] == "connected"
        client.send_frame(2, request_of({**start(), "noEcho": True}))
        assert receive() == ack(1)
        client.send_frame(2, request_of(fragment(1)))
        assert receive() == ack(2)
        client.send_frame(2, request_of({**END, "error": {"message": "m", "userErrorCode": "E1"}}))
        assert receive() == {"type": "streamClosed", "streamId": "s"}
        assert [seen(other) for _ in range(2)] == [("f1", place(1)), ("", place(2, end=True, error="UserError"))]

        open_stream(other)
        assert seen_by_protobuf(other, receive, fragment(1)) == ("f1", place(1))
        assert seen_by_protobuf(other, receive, END) == ("", place(2, end=True))


def seen_by_protobuf(publisher: JsonClient, receive: Callable[[], Frame], said: Frame) -> tuple[Any, Frame]:
    publisher.send(said)
    message = receive()
    return message["data"], message["stream"]


@pytest.mark.parametrize("how", ["cut", "closed", "closed by REST"])
def test_end_of_a_publisher_ends_its_streams(server: Server, hub: str, how: str) -> None:
    with JsonClient(server, hub, groups=["g"]) as listener, JsonClient(server, hub) as publisher:
        open_stream(publisher)
        publisher.send(fragment(1))
        assert seen(listener) == ("f1", place(1))
        if how == "closed by REST":
            assert rest(server, "DELETE", f"{hub}/connections/{publisher.connection_id}").status == 204
        elif how == "closed":
            publisher.socket.close()
        else:
            publisher.socket.socket.shutdown(2)

        assert seen(listener) == ("", place(2, end=True, error="Cancelled"))


def test_silent_stream_ends_for_everybody(server: Server, hub: str) -> None:
    with JsonClient(server, hub, groups=["g"]) as listener, JsonClient(server, hub) as publisher:
        open_stream(publisher, idleTimeoutMs=50)
        told = publisher.receive()

        assert (told["type"], told["error"]["name"]) == ("streamClosed", "IdleTimeout")
        assert seen(listener) == ("", place(1, end=True, error="IdleTimeout"))


def test_publisher_and_subscriber_come_back_in_the_midst_of_a_stream(server: Server, hub: str) -> None:
    listener = JsonClient(server, hub, groups=["g"], protocol=RELIABLE)
    publisher = JsonClient(server, hub, protocol=RELIABLE)
    open_stream(publisher)
    assert say(publisher, fragment(1)) == ack(2)
    listener.socket.socket.shutdown(2)
    publisher.socket.socket.shutdown(2)
    with (
        JsonClient(server, hub, protocol=RELIABLE, query=publisher.recovery()) as publisher_again,
        JsonClient(server, hub, protocol=RELIABLE, query=listener.recovery()) as listener_again,
    ):
        assert publisher_again.connection_id == publisher.connection_id
        assert say(publisher_again, fragment(1)) == ack(2)
        assert say(publisher_again, fragment(2)) == ack(3)
        assert say(publisher_again, END) == {"type": "streamClosed", "streamId": "s"}

        assert [seen(listener_again) for _ in range(3)] == [
            ("f1", place(1)),
            ("f2", place(2)),
            ("", place(3, end=True)),
        ]
    listener.socket.close()
    publisher.socket.close()


def test_reliable_publisher_that_stays_away_has_its_streams_cancelled(start_server: StartServer) -> None:
    server = start_server("--set", "recovery_s=0.5")
    with JsonClient(server, "chat", groups=["g"]) as listener:
        with JsonClient(server, "chat", protocol=RELIABLE) as publisher:
            open_stream(publisher)
            publisher.socket.socket.shutdown(2)

        assert seen(listener) == ("", place(1, end=True, error="Cancelled"))


@pytest.mark.parametrize("version", VERSIONS)
def test_simple_and_mqtt_clients_get_the_payloads_and_no_end(server: Server, hub: str, version: int) -> None:
    simple_target = client_target(hub, client_token(server, hub, groups=["g"]))
    with (
        RawClient(server, simple_target) as simple,
        MqttClient(server, hub, version=version, groups=["g"]) as device,
        JsonClient(server, hub) as publisher,
    ):
        open_stream(publisher)
        assert say(publisher, fragment(1), fragment(2, "AQ==", "binary"), END)["type"] in ("streamAck", "streamClosed")
        publisher.publish("g", "behind it", "text")

        assert [simple.receive_frame() for _ in range(3)] == [(1, b"f1"), (2, b"\1"), (1, b"behind it")]
        packets = [device.receive() for _ in range(3)]
        assert [getattr(packet, "payload", None) for packet in packets] == [b"f1", b"\1", b"behind it"]


def test_streams_are_bounded_and_counted(start_server: StartServer) -> None:
    server = start_server("--set", "max_streams_per_connection=1", "--set", "stream_in_flight_bytes=1024")
    with JsonClient(server, "chat", groups=["g"]) as publisher:
        open_stream(publisher)
        assert metric(server, "hubwire_streams") == 1
        refused = say(publisher, {**start(), "stream": {"streamId": "t"}})
        assert (refused["type"], refused["error"]["name"]) == ("streamClosed", "BadRequest")
        for number in range(1, 51):
            publisher.send(fragment(number, "x" * 5000))
        parts: list[int] = []
        while len(parts) < 50:
            frame = publisher.receive()
            if frame["type"] == "message":
                parts.append(frame["stream"]["streamSequenceId"])
        assert parts == list(range(1, 51))

    wait_until(lambda: metric(server, "hubwire_streams") == 0, "the end of the stream")
    assert metric(server, 'hubwire_streams_refused_total{name="BadRequest"}') == 1
    assert metric(server, 'hubwire_streams_closed_total{error="Cancelled"}') == 1


def test_start_to_an_event_is_answered_in_the_terms_of_a_stream(server: Server, hub: str) -> None:
    with JsonClient(server, hub) as client:
        closed = say(client, {"type": "event", "event": "e", "data": 1, "stream": {"streamId": "s"}})

        assert (closed["type"], closed["error"]["name"]) == ("streamClosed", "BadRequest")
