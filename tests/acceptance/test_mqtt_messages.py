"""What MQTT clients of both versions, JSON clients, simple clients and REST see of the messages of each other."""

import base64
import json
from typing import Any, Final

import pytest

from acceptance.mqtt import SERVER_MESSAGES, VERSIONS, MqttClient
from acceptance.servers import Server
from acceptance.wire import SEND, JsonClient, RawClient, client_target, client_token, rest
from hubwire.protocols.mqtt.packets import NO_PROPERTIES, Properties

ANY: Final = b"\x0a\x09a.b/c.Any\x12\x02\x08\x01"
"""A `google.protobuf.Any` as its bytes: the name of a type, and a message of it."""

TEXT, UTF_8 = 1, "tëxt".encode()
"""Opcode of what a simple client gets as text, and a text."""

BINARY = 2

PUBLISHED: Final = [
    ("plain text", {"content_type": "text/plain"}, UTF_8, "text"),
    ("text with parameters", {"content_type": "Text/Plain; charset=utf-8"}, UTF_8, "text"),
    ("text that is none", {"content_type": "text/plain"}, b"\xff", "binary"),
    ("JSON", {"content_type": "application/json"}, b' {"a": [1.50, null]} ', "json"),
    ("JSON that is text", {"content_type": "application/json"}, b"{", "text"),
    ("JSON that is not even text", {"content_type": "application/json"}, b'"\xff"', "binary"),
    ("bytes", {"content_type": "application/octet-stream", "payload_format": 1}, b"ab", "binary"),
    ("protobuf", {"content_type": "application/x-protobuf"}, ANY, "protobuf"),
    ("protobuf that is none", {"content_type": "application/x-protobuf"}, b"\xff", "binary"),
    ("another type of text", {"content_type": "text/csv", "payload_format": 1}, b"a,b", "text"),
    ("another type", {"content_type": "image/png"}, b"a", "binary"),
    ("text by its indicator", {"payload_format": 1}, UTF_8, "text"),
    ("text by its indicator that is none", {"payload_format": 1}, b"\xff", "binary"),
    ("bytes by their indicator", {"payload_format": 0}, b"a", "binary"),
    ("nothing said", {}, b"a", "binary"),
    ("an empty payload", {}, b"", "binary"),
]

TYPES: Final = {
    "text": ("text/plain", 1),
    "json": ("application/json", 1),
    "binary": ("application/octet-stream", None),
    "protobuf": ("application/x-protobuf", None),
}
"""Content type and payload format indicator of each kind of data."""


def shown(kind: str, payload: bytes) -> Any:
    """A payload as it is in the JSON that clients get."""
    match kind:
        case "json":
            return json.loads(payload)
        case "text":
            return payload.decode()
    return base64.b64encode(payload).decode()


# From MQTT


@pytest.mark.parametrize(
    ("properties", "payload", "kind"), [row[1:] for row in PUBLISHED], ids=[r[0] for r in PUBLISHED]
)
def test_payload_of_version_5_reaches_other_clients_as_what_it_is_said_to_be(
    server: Server, hub: str, properties: dict[str, Any], payload: bytes, kind: str
) -> None:
    simple_target = client_target(hub, client_token(server, hub, groups=["g"]))
    with (
        JsonClient(server, hub, groups=["g"]) as other,
        RawClient(server, simple_target) as simple,
        MqttClient(server, hub, groups=["g"]) as subscriber,
        MqttClient(server, hub, version=4, groups=["g"]) as older,
        MqttClient(server, hub, user="device") as publisher,
    ):
        assert publisher.publish("g", payload, **properties) == 0
        frame = other.receive()
        assert frame == {
            "type": "message",
            "from": "group",
            "group": "g",
            "fromUserId": "device",
            "dataType": kind,
            "data": shown(kind, payload),
        }
        assert simple.receive_frame() == (TEXT if kind in ("text", "json") else BINARY, payload)
        message = subscriber.message()
        assert (message.topic, message.payload, message.properties) == ("g", payload, Properties(**properties))
        assert older.message().payload == payload


@pytest.mark.parametrize("payload", [UTF_8, b"{}", b"\xff", b""])
def test_payload_of_version_4_is_bytes_to_other_clients(server: Server, hub: str, payload: bytes) -> None:
    with (
        JsonClient(server, hub, groups=["g"]) as other,
        MqttClient(server, hub, groups=["g"]) as subscriber,
        MqttClient(server, hub, version=4) as publisher,
    ):
        publisher.publish("g", payload)
        frame, message = other.receive(), subscriber.message()
        assert (frame["dataType"], frame["data"]) == ("binary", shown("binary", payload))
        assert "fromUserId" not in frame
        assert (message.payload, message.properties) == (payload, NO_PROPERTIES)


def test_all_that_version_5_says_of_a_message_reaches_version_5(server: Server, hub: str) -> None:
    said: dict[str, Any] = {
        "payload_format": 1,
        "content_type": "text/plain",
        "response_topic": "answers/1",
        "correlation_data": b"\x00\xff",
        "user_properties": (("b", "2"), ("a", "ü"), ("b", "1"), ("", "")),
    }
    with MqttClient(server, hub, groups=["g"]) as subscriber, MqttClient(server, hub) as publisher:
        publisher.publish("g", b"x", message_expiry_s=300, **said)
        properties = subscriber.message().properties

        assert 290 <= (properties.message_expiry_s or 0) <= 300
        assert properties == Properties(**said, message_expiry_s=properties.message_expiry_s)


def test_user_properties_are_metadata_to_json_clients(server: Server, hub: str) -> None:
    """Those that can be: a name is a token of HTTP, a value is ASCII, and the first of a name counts."""
    pairs = (("a", "1"), ("a", "2"), ("not a token", "x"), ("b", "ü"), ("c", "x" * 1025), ("d", ""))
    with JsonClient(server, hub, groups=["g"]) as other, MqttClient(server, hub) as publisher:
        publisher.publish("g", b"x", user_properties=pairs)

        assert other.receive()["metadata"] == {"a": "1", "d": ""}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_message_has_the_lower_of_the_two_qos(server: Server, hub: str, version: int, granted: int) -> None:
    with MqttClient(server, hub, version=version) as subscriber, MqttClient(server, hub) as publisher:
        assert subscriber.subscribe("g", qos=granted) == (granted,)
        for published in (0, 1, 2):
            publisher.publish("g", b"x", published)
        assert [message.qos for message in subscriber.heard()] == [min(published, granted) for published in (0, 1, 2)]


def test_publisher_hears_itself_unless_it_wants_no_local(server: Server, hub: str) -> None:
    with MqttClient(server, hub) as client, MqttClient(server, hub) as other:
        client.subscribe("g", no_local=True)
        client.subscribe("h")
        for topic in ("g", "h"):
            client.publish(topic, b"own")
            other.publish(topic, b"other's")

        assert [(m.topic, m.payload) for m in client.heard()] == [("g", b"other's"), ("h", b"own"), ("h", b"other's")]


def test_subscription_identifiers_come_with_what_they_brought(server: Server, hub: str) -> None:
    with MqttClient(server, hub) as client, MqttClient(server, hub) as publisher:
        client.subscribe("g", identifier=1)
        client.subscribe("h", identifier=268_435_455)
        client.subscribe("i")
        client.subscribe(SERVER_MESSAGES, identifier=7)
        for topic in ("g", "h", "i"):
            publisher.publish(topic)
        send = rest(server, "POST", f"{hub}/connections/{client.client_id}/:send", body=b"x", headers=REST["text"])
        assert send.status == 202
        client.subscribe("g", identifier=2)  # takes the place of the first one
        publisher.publish("g")

        heard = [(message.topic, message.properties.subscription_ids) for message in client.heard()]
        assert heard == [("g", (1,)), ("h", (268_435_455,)), ("i", ()), (SERVER_MESSAGES, (7,)), ("g", (2,))]


# To MQTT

REST: Final = {
    "text": {"Content-Type": "text/plain"},
    "json": {"Content-Type": "application/json"},
    "binary": {"Content-Type": "application/octet-stream"},
}

PAYLOADS: Final = [("text", UTF_8), ("json", b'{"a": [1.50, null, "\xc3\xbc"]}'), ("binary", b"\x00\xff")]


@pytest.mark.parametrize("kind", TYPES)
def test_data_of_json_clients_reaches_both_versions(server: Server, hub: str, kind: str) -> None:
    payload = {"protobuf": ANY, **dict(PAYLOADS)}[kind]
    with (
        MqttClient(server, hub, groups=["g"]) as subscriber,
        MqttClient(server, hub, version=4, groups=["g"]) as older,
        JsonClient(server, hub, user="browser") as publisher,
    ):
        data = shown(kind, payload)
        assert publisher.publish("g", data, kind, metadata={"a": "1", "b": "2"})["success"]
        message, other = subscriber.message(), older.message()

        wanted = json.dumps(data).encode() if kind == "json" else payload
        assert (message.payload, message.qos, message.retain) == (wanted, 1, False)
        content_type, payload_format = TYPES[kind]
        assert message.properties == Properties(
            content_type=content_type, payload_format=payload_format, user_properties=(("a", "1"), ("b", "2"))
        )
        assert (other.topic, other.payload, other.qos) == ("g", wanted, 1)


@pytest.mark.parametrize(("kind", "payload"), PAYLOADS)
def test_data_of_rest_reaches_both_versions_as_it_was_spelt(
    server: Server, hub: str, kind: str, payload: bytes
) -> None:
    headers = {**REST[kind], "X-WebPubSub-Metadata-Device": "7"}
    with (
        MqttClient(server, hub, groups=["g"]) as subscriber,
        MqttClient(server, hub, version=4, groups=["g"]) as older,
    ):
        assert rest(server, "POST", f"{hub}/groups/g/:send", body=payload, headers=headers).status == 202
        message, other = subscriber.message(), older.message()

        assert (message.topic, message.payload, message.qos) == ("g", payload, 1)
        content_type, payload_format = TYPES[kind]
        assert message.properties == Properties(
            content_type=content_type, payload_format=payload_format, user_properties=(("device", "7"),)
        )
        assert (other.topic, other.payload, other.qos) == ("g", payload, 1)


def test_data_of_simple_clients_reaches_both_versions(server: Server, hub: str) -> None:
    target = client_target(
        hub, client_token(server, hub, roles=[SEND]), [("webpubsub_mode", "sendToGroup"), ("group", "g")]
    )
    with (
        MqttClient(server, hub, groups=["g"]) as subscriber,
        MqttClient(server, hub, version=4, groups=["g"]) as older,
        RawClient(server, target) as simple,
    ):
        simple.send_frame(TEXT, UTF_8)
        simple.send_frame(BINARY, b"\xff")
        text, binary = subscriber.messages(2)

        assert (text.payload, text.properties) == (UTF_8, Properties(content_type="text/plain", payload_format=1))
        assert (binary.payload, binary.properties) == (b"\xff", Properties(content_type="application/octet-stream"))
        assert [message.payload for message in older.messages(2)] == [UTF_8, b"\xff"]


def test_messages_of_others_are_sent_with_the_qos_of_the_subscription(server: Server, hub: str) -> None:
    """They were published with QoS 1, as it were."""
    with MqttClient(server, hub) as client, JsonClient(server, hub) as publisher:
        for granted in (0, 1, 2):
            client.subscribe("g", qos=granted)
            publisher.publish("g", granted)
        assert [message.qos for message in client.heard()] == [0, 1, 1]


def test_json_client_that_wants_no_echo_reaches_mqtt_clients(server: Server, hub: str) -> None:
    with MqttClient(server, hub, groups=["g"]) as client, JsonClient(server, hub, groups=["g"]) as publisher:
        publisher.publish("g", 1, noEcho=True)
        client.publish("g", b"2", content_type="application/json")

        assert [message.payload for message in client.heard()] == [b"1", b"2"]
        assert [frame["data"] for frame in publisher.heard()] == [2]


@pytest.mark.parametrize("version", VERSIONS)
def test_rest_leaves_clients_out_by_their_client_ids(server: Server, hub: str, version: int) -> None:
    with (
        MqttClient(server, hub, version=version, groups=["g"]) as out,
        MqttClient(server, hub, version=version, groups=["g"]) as others,
    ):
        for path in ("groups/g/:send", ":send"):
            query = [("excluded", out.client_id)]
            assert rest(server, "POST", f"{hub}/{path}", query=query, body=b"x", headers=REST["text"]).status == 202
        assert out.heard() == []
        assert [message.topic for message in others.heard()] == ["g", SERVER_MESSAGES]


def test_time_to_live_is_message_expiry(server: Server, hub: str) -> None:
    """Of a JSON client, and of REST."""
    with MqttClient(server, hub, groups=["g"]) as client, JsonClient(server, hub) as publisher:
        publisher.publish("g", 1, ttlSeconds=100)
        query = [("messageTtlSeconds", "200")]
        rest(server, "POST", f"{hub}/groups/g/:send", query=query, body=b"2", headers=REST["json"])
        publisher.publish("g", 3)

        first, second, third = (message.properties.message_expiry_s for message in client.messages(3))
        assert first is not None
        assert 90 <= first <= 100
        assert second is not None
        assert 190 <= second <= 200
        assert third is None


def test_topics_are_groups_byte_by_byte(server: Server, hub: str) -> None:
    names = ["a/b", "A/b", "/a/b", "a/b/", "a//b", "ü", " a", "x" * 1024]
    with MqttClient(server, hub) as client, JsonClient(server, hub) as other:
        assert client.subscribe(*names) == (1,) * len(names)
        for name in names:
            other.join(name)
        for name in names:
            other.publish(name, name)
        heard = client.heard()
        assert [message.topic for message in heard] == names
        assert [json.loads(message.payload) for message in heard] == names
        for name in names:
            assert client.publish(name, b"1", content_type="application/json") == 0
        groups = [frame["group"] for frame in other.heard()]
        assert groups == names + names


def test_groups_whose_names_are_no_topics_are_not_for_mqtt_clients(server: Server, hub: str) -> None:
    """Others may use them; a token that names one lets its client in all the same."""
    names = ["a+b", "a/#", "$own"]
    with MqttClient(server, hub, groups=[*names, "g"]) as client, JsonClient(server, hub, groups=names) as other:
        for name in [*names, "g"]:
            other.publish(name, name)
        assert [message.topic for message in client.heard()] == ["g"]
        assert [frame["group"] for frame in other.heard()] == names


def test_largest_message_passes_both_ways(server: Server, hub: str) -> None:
    payload = bytes(range(256)) * 4000
    with (
        MqttClient(server, hub, groups=["g"]) as subscriber,
        MqttClient(server, hub) as publisher,
        JsonClient(server, hub, groups=["g"]) as other,
    ):
        publisher.publish("g", payload, content_type="application/octet-stream")
        assert subscriber.message().payload == payload
        assert base64.b64decode(other.receive()["data"]) == payload
        rest(server, "POST", f"{hub}/groups/g/:send", body=payload, headers=REST["binary"])
        assert subscriber.message().payload == payload
