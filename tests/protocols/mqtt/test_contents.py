"""Payloads and properties of MQTT as the other protocols see them, and theirs as MQTT does."""

import pytest

from hubwire.model.messages import (
    Data,
    DataKind,
    EventAnswer,
    FromServer,
    GroupMessage,
    Publication,
    SendEvent,
)
from hubwire.protocols.endings import WillMessage
from hubwire.protocols.mqtt.contents import (
    answer_message,
    data_of,
    is_media_type,
    metadata_of,
    properties_of,
    publication_of,
    qos_of,
    remaining_s,
    topic_of,
    ttl_s_of,
    will_of,
)
from hubwire.protocols.mqtt.packets import NO_PROPERTIES, Connect, Properties, Will

ANY = b"\x0a\x05a.b/C\x12\x02\x08\x01"


@pytest.mark.parametrize(
    ("content_type", "payload_format", "payload", "kind"),
    [
        ("text/plain", None, b"hi", "text"),
        ("Text/Plain ; charset=utf-8", 0, b"hi", "text"),
        ("text/plain", 1, b"\xff", "binary"),
        ("application/json", None, b' {"a": 1}', "json"),
        ("application/json", None, b"\xff", "binary"),
        ("application/json", None, b'"\xff"', "binary"),
        ("application/json", None, b"{", "text"),
        ("application/json", None, b"", "text"),
        ("application/json", None, b"[" * 100_000, "text"),
        ("application/json;charset=utf-8", None, b"1", "json"),
        ("application/octet-stream", 1, b"hi", "binary"),
        ("application/x-protobuf", None, ANY, "protobuf"),
        ("application/x-protobuf", None, b"", "protobuf"),
        ("application/x-protobuf", None, ANY + b"\x18\x01\x25abcd\x29abcdefgh", "protobuf"),
        ("application/x-protobuf", None, ANY[:-1], "binary"),
        ("application/x-protobuf", None, b"\x0a\x01\xff", "binary"),
        ("application/x-protobuf", None, b"\x08\x01", "binary"),
        ("application/x-protobuf", None, b"\x1b", "binary"),
        ("application/x-protobuf", None, b"\x80" * 11, "binary"),
        ("application/x-protobuf", 1, b"hello", "binary"),
        ("image/png", None, b"hi", "binary"),
        ("image/png", 1, b"hi", "text"),
        ("image/png", 1, b"\xff", "binary"),
        (None, 1, b"hi", "text"),
        (None, 1, b"\xff", "binary"),
        (None, 0, b"hi", "binary"),
        (None, None, b"hi", "binary"),
        ("", 1, b"hi", "text"),
    ],
)
def test_content_type_and_format_say_what_a_payload_is(
    content_type: str | None, payload_format: int | None, payload: bytes, kind: DataKind
) -> None:
    properties = Properties(content_type=content_type, payload_format=payload_format)

    assert data_of(payload, properties, 5, False) == Data(kind, payload)


@pytest.mark.parametrize(
    ("v4_text", "payload", "kind"),
    [(False, b"hi", "binary"), (True, b"hi", "text"), (True, b"\xff", "binary")],
)
def test_payload_of_the_older_version_is_binary_unless_it_may_be_text(
    v4_text: bool, payload: bytes, kind: DataKind
) -> None:
    assert data_of(payload, NO_PROPERTIES, 4, v4_text) == Data(kind, payload)


@pytest.mark.parametrize(
    ("content_type", "valid"),
    [
        ("text/plain", True),
        ("text/plain; charset=utf-8", True),
        ('a/b;c="d;\\"e"', True),
        ("a/b;", True),
        ("application/vnd.x+json", True),
        ("", False),
        ("text", False),
        ("text/", False),
        ("/plain", False),
        ("text/plain; charset", False),
        ("te xt/plain", False),
        ("text/plain\r\nX: y", False),
        ("text/plain\n", False),
        ('a/b;c="d e\tf [g] ~!#"', True),
        ('a/b;c="\\\\\\""', True),
        ('a/b;c="d\r\nX: y"', False),
        ('a/b;c="d\\\r\\\n"', False),
        ('a/b;c="\x00"', False),
        ('a/b;c="\x7f"', False),
        ('a/b;c="\\\x1f"', False),
        ('a/b;c="ü"', False),
        ('a/b;c="\\ü"', False),
        ('a/b;c="d', False),
        ('a/b;c="d\\"', False),
        ("a/ü", False),
        ("a/b ; ; c=d ;\t;  e=f ", True),
        ("a/b" + "; " * 30_000, True),
        ("a/b" + "; " * 30_000 + "@", False),  # which must not be tried in all ways
        ('a/b;c="' + "\\a" * 30_000, False),
    ],
)
def test_media_types_are_told_from_other_texts(content_type: str, valid: bool) -> None:
    assert is_media_type(content_type) is valid


def test_user_properties_that_can_be_metadata_are() -> None:
    pairs = (("a", "1"), ("not a token", "2"), ("b", "é"), ("a", "3"), ("c", "x" * 1025), ("d", ""))

    assert metadata_of(pairs) == {"a": "1", "d": ""}
    assert metadata_of(()) == {}


def test_metadata_ends_where_it_becomes_too_much() -> None:
    pairs = tuple((f"k{position:03}", "x" * 1020) for position in range(20))

    assert list(metadata_of(pairs)) == [f"k{position:03}" for position in range(8)]


def test_publication_keeps_what_is_to_be_forwarded() -> None:
    properties = Properties(
        payload_format=0,
        message_expiry_s=7,
        content_type="image/png",
        response_topic="r",
        correlation_data=b"c",
        user_properties=(("a", "1"), ("a", "2")),
    )

    publication = publication_of(properties, 2, "me", True)

    assert publication == Publication(2, "me", "image/png", False, "r", b"c", (("a", "1"), ("a", "2")), 7, True)
    message = GroupMessage("g", Data("binary", b""), publication=publication)
    assert properties_of(message, (), None) == properties
    assert properties_of(message, (3,), 5) == Properties(
        **{
            **{field: getattr(properties, field) for field in properties.__struct_fields__},
            "subscription_ids": (3,),
            "message_expiry_s": 5,
        }
    )
    assert qos_of(message) == 2


@pytest.mark.parametrize(
    ("kind", "content_type", "payload_format"),
    [
        ("text", "text/plain", 1),
        ("json", "application/json", 1),
        ("binary", "application/octet-stream", None),
        ("protobuf", "application/x-protobuf", None),
    ],
)
def test_what_did_not_come_by_mqtt_says_what_it_is(
    kind: DataKind, content_type: str, payload_format: int | None
) -> None:
    for message in (GroupMessage("g", Data(kind, b"x")), FromServer(Data(kind, b"x"))):
        assert properties_of(message, (), None) == Properties(content_type=content_type, payload_format=payload_format)
        assert qos_of(message) == 1


def test_metadata_becomes_user_properties_as_far_as_a_packet_can_hold_it() -> None:
    message = FromServer(Data("text", b"x"), {"a": "1", "b": "x\0y"})

    assert properties_of(message, (), 9).user_properties == (("a", "1"),)
    assert properties_of(message, (), 9).message_expiry_s == 9
    assert topic_of(message) == "$webpubsub/server/messages"


@pytest.mark.parametrize(("expiry_s", "ttl_s"), [(None, 0), (0, 1), (1, 1), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_expiry_is_how_long_a_message_waits(expiry_s: int | None, ttl_s: int) -> None:
    assert ttl_s_of(Properties(message_expiry_s=expiry_s)) == ttl_s


@pytest.mark.parametrize(
    ("waited_s", "left_s"), [(0, 10), (0.25, 10), (0.7, 10), (1, 9), (1.5, 9), (9.5, 1), (9.9, 1), (10, 0), (11, 0)]
)
def test_time_that_is_left_is_reduced_by_whole_seconds(waited_s: float, left_s: int) -> None:
    assert remaining_s(100 + 10, 100 + waited_s) == left_s


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "succeeded"), (204, "succeeded"), (404, "failed"), (500, "failed")]
)
def test_answer_to_an_event_names_its_status_first(status: int, outcome: str) -> None:
    asked = Publication(2, "me", correlation_data=b"c", response_topic="ignored")
    request = SendEvent("hello", Data("binary", b""), 1, publication=asked)

    message = answer_message(EventAnswer(request, status, "text/plain", b"body", (("a", "1"),)))

    assert topic_of(message) == f"$webpubsub/server/events/hello/{outcome}"
    assert message.data.body == b"body"
    assert qos_of(message) == 2
    assert properties_of(message, (), None) == Properties(
        content_type="text/plain",
        correlation_data=b"c",
        user_properties=(("azure-status-code", str(status)), ("a", "1")),
    )


def test_will_is_a_message_that_waits() -> None:
    properties = Properties(
        will_delay_s=60, message_expiry_s=5, content_type="text/plain", user_properties=(("a", "1"),)
    )
    connect = Connect(5, "me", True, 60, Will("late", b"gone", 1, True, properties))

    assert will_of(connect, "me", 30, False, False) == WillMessage(
        "late",
        Data("text", b"gone"),
        {"a": "1"},
        Publication(1, "me", "text/plain", user_properties=(("a", "1"),), expiry_s=5),
        delay_s=30,
        ttl_s=5,
    )
    assert will_of(Connect(4, "me", True, 60), "me", 30, False, True) is None


@pytest.mark.parametrize(("asked", "keeps", "retain"), [(True, True, True), (True, False, False), (False, True, False)])
def test_will_is_kept_if_the_client_asks_for_it_and_the_server_keeps(asked: bool, keeps: bool, retain: bool) -> None:
    will = will_of(Connect(5, "me", True, 60, Will("late", b"gone", 1, asked)), "me", 30, False, keeps)

    assert will is not None
    assert will.publication.retain == retain
