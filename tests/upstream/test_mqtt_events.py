"""What events of MQTT clients say besides, and what answers to them mean."""

import base64
import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_events import Event, parsed
from doubles import HUB, KEYS
from handlers import answer
from hubwire.model.names import HubKey
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest
from hubwire.upstream.cloudevents import (
    CONTENT_TYPES,
    JSON,
    BadResponse,
    ClientCertificate,
    ConnectVerdict,
    EventKind,
    event_headers,
    sign,
)
from hubwire.upstream.mqtt_events import (
    MqttConnect,
    MqttRefusal,
    answer_properties,
    disconnected_body,
    is_refusal,
    is_sendable_type,
    mqtt_connect_body,
    property_headers,
    read_mqtt_verdict,
    read_refusal,
)
from hubwire.upstream.sources import EventSource, MqttEnding

LONGEST = 65_535
V5_CODES = [*range(128, 139), 140, 144, 149, 151, 153, 154, 155, 156, 157, 159]


def source(client_id: str = "dev-1", *, session_id: str | None = "s1", hub: HubKey = HUB) -> EventSource:
    return EventSource(hub, client_id, "hub.example", None, None, "p1", session_id)


def headers(of: EventSource, kind: EventKind, name: str, content_type: str, **more: Any) -> list[tuple[str, str]]:
    return event_headers(
        of,
        kind,
        name,
        3,
        content_type,
        now=1_700_000_000.0,
        signature=sign(of.connection_id, KEYS),
        request_id="2b9f2d2e-6f0d-4c3a-9b7e-0d5a3a5d4c11",
        trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        **more,
    )


def event(of: EventSource, kind: EventKind, name: str, body: bytes, content_type: str = JSON, **more: Any) -> Event:
    """As others read it."""
    return parsed(OutgoingRequest("POST", "http://h/", tuple(headers(of, kind, name, content_type, **more)), body))


# Headers


@pytest.mark.parametrize("name", ["connected", "disconnected"])
def test_event_of_an_mqtt_client_says_so_and_names_client_socket_and_session(name: str) -> None:
    found = headers(source(), "sys", name, JSON)

    for pair in (
        ("ce-source", "/hubs/chat/client/dev-1/p1"),
        ("ce-connectionId", "dev-1"),
        ("ce-subprotocol", "mqtt"),
        ("ce-physicalConnectionId", "p1"),
        ("ce-sessionId", "s1"),
        ("ce-awpsversion", "1.0"),
    ):
        assert found.count(pair) == 1


def test_connect_says_all_of_that_but_the_session_even_where_that_is_known() -> None:
    """A client that comes back has one already."""
    found = dict(headers(source(session_id="s1"), "sys", "connect", JSON))

    assert (found["ce-subprotocol"], found["ce-physicalConnectionId"]) == ("mqtt", "p1")
    assert "ce-sessionId" not in found


def test_user_event_that_is_called_connect_has_a_session() -> None:
    assert dict(headers(source(), "user", "connect", JSON))["ce-sessionId"] == "s1"


def test_other_clients_are_told_of_as_before() -> None:
    found = dict(headers(EventSource(HUB, "c1", "hub.example", None, "p"), "sys", "connected", JSON))

    assert (found["ce-source"], found["ce-subprotocol"]) == ("/hubs/chat/client/c1", "p")
    assert not {"ce-physicalConnectionId", "ce-sessionId"} & set(found)


def test_ids_beyond_ascii_are_percent_encoded_and_the_signature_is_over_the_id_itself() -> None:
    of = source("tüs")

    found = dict(headers(of, "sys", "connected", JSON))

    assert found["ce-connectionId"] == "t%C3%BCs"
    assert found["ce-source"] == "/hubs/chat/client/t%C3%BCs/p1"
    assert found["ce-signature"] == sign("tüs", KEYS)
    assert event(of, "sys", "connected", b"{}").attributes["connectionid"] == "tüs"


@pytest.mark.parametrize(
    "name",
    ["temp", "a b", "Größe", "a\r\nce-userId: root", "%41", '"', "\0", "n" * 1000],
)
def test_name_of_an_event_is_any_text_and_no_header_of_its_own(name: str) -> None:
    """It is the last part of a topic, which clients choose."""
    found = event(source(), "user", name, b"x", "text/plain")

    assert (found.type, found.attributes["eventname"]) == (f"user.{name}", name)
    assert not any(character in value for _, value in headers(source(), "user", name, JSON) for character in "\r\n\0")


# User properties of publications


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ((), []),
        ((("a", "1"),), [("mqtt-a", "1")]),
        ((("Trace-Id", ""),), [("mqtt-Trace-Id", "")]),
        ((("a", "1"), ("b", "2"), ("a", "3")), [("mqtt-a", "1"), ("mqtt-b", "2"), ("mqtt-a", "3")]),
        ((("a", 'x y "z" 100% é 漢'),), [("mqtt-a", "x%20y%20%22z%22%20100%25%20%C3%A9%20%E6%BC%A2")]),
        ((("a", "1\r\nce-userId: root"),), [("mqtt-a", "1%0D%0Ace-userId:%20root")]),
        ((("a", "\t\x7f\x01"),), [("mqtt-a", "%09%7F%01")]),
        ((("!#$%&'*+-.^_`|~09azAZ", "v"),), [("mqtt-!#$%&'*+-.^_`|~09azAZ", "v")]),
    ],
)
def test_user_properties_are_headers(properties: tuple[tuple[str, str], ...], expected: list[tuple[str, str]]) -> None:
    assert property_headers(properties) == expected


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a:", "a: b\r\nX", "a\r\n", "a\n", "a\0", "ü", "a(", "a@b", "a/b", "[a]", '"', "a,b", "\t"]
)
def test_user_property_whose_name_no_header_can_have_is_left_out(name: str) -> None:
    assert property_headers(((name, "v"), ("ok", "v"))) == [("mqtt-ok", "v")]


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_NASTY = st.one_of(
    _TEXT, st.sampled_from(["a\r\nX: y", "\n", "\r", "\0", "%0d%0a", "a\r\n\r\nGET / HTTP/1.1", "%", ""])
)
_NAME = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)


@settings(deadline=None)
@given(
    client_id=_NASTY.filter(bool),
    physical_id=_NASTY.filter(bool),
    session_id=st.one_of(st.none(), _NASTY.filter(bool)),
    name=_NASTY.filter(bool),
    properties=st.lists(st.tuples(st.one_of(_NASTY, _NAME), _NASTY), max_size=6).map(tuple),
)
def test_nothing_that_a_client_says_begins_a_header_of_its_own(
    client_id: str, physical_id: str, session_id: str | None, name: str, properties: tuple[tuple[str, str], ...]
) -> None:
    of = EventSource(HUB, client_id, "hub.example", None, None, physical_id, session_id)

    found = headers(of, "user", name, CONTENT_TYPES["binary"], more=property_headers(properties))

    lines = [f"{name}: {value}" for name, value in found]
    assert all(line.isascii() and line.isprintable() for line in lines)
    ours = {key.lower() for key, _ in headers(source(), "user", "x", CONTENT_TYPES["binary"])}
    assert all(key.lower() in ours or key.startswith("mqtt-") for key, _ in found)
    assert len([key for key, _ in found if not key.startswith("mqtt-")]) == len(ours) - (session_id is None)


# User properties of answers


def test_headers_of_an_answer_are_user_properties_in_the_letter_case_in_which_they_came() -> None:
    response = IncomingResponse(
        200,
        (
            ("MQTT-Trace-ID", "1"),
            ("Content-Type", "text/plain"),
            ("mqtt-a", ""),
            ("Mqtt-a", "x%20y%C3%A9"),
            ("mqtt-", "no name"),
            ("mqtt", "no name"),
            ("x-mqtt-a", "another header"),
            ("ce-connectionState", "s"),
        ),
    )

    assert answer_properties(response) == (("Trace-ID", "1"), ("a", ""), ("a", "x yé"))


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        (b"plain", "plain"),
        (b"100%", "100%"),
        (b"%zz", "%zz"),
        (b"a+b", "a+b"),
        (b"%25", "%"),
        (b"%2525", "%25"),
        (b"%0D%0A", "\r\n"),
        ("é漢".encode(), "é漢"),
        (b"%C3%A9\xc3\xa9", "éé"),
        (b"\xff%ff", "\ufffd\ufffd"),
    ],
)
def test_value_of_an_answer_is_decoded_once(wire: bytes, value: str) -> None:
    """Handlers that send UTF-8 as it is are understood as well."""
    assert answer_properties(IncomingResponse(200, (("mqtt-a", wire.decode("latin-1")),))) == (("a", value),)


def test_user_property_that_no_packet_can_hold_is_left_out() -> None:
    response = IncomingResponse(
        200,
        (
            ("mqtt-nul", "a%00b"),
            ("mqtt-fits", "v" * LONGEST),
            ("mqtt-long", "v" * (LONGEST + 1)),
            (f"mqtt-{'n' * (LONGEST + 1)}", "v"),
            ("mqtt-last", "v"),
        ),
    )

    assert [name for name, _ in answer_properties(response)] == ["fits", "last"]


def test_user_properties_of_an_answer_are_bounded_together() -> None:
    many = tuple((f"mqtt-{number}", "v" * 1000) for number in range(1000))

    kept = answer_properties(IncomingResponse(200, many))

    assert kept == tuple((str(number), "v" * 1000) for number in range(len(kept)))
    assert 200_000 < sum(len(name) + len(value) for name, value in kept) <= 262_144


@settings(deadline=None)
@given(st.lists(st.tuples(_NAME, _NASTY.filter(lambda text: "\0" not in text)), max_size=6).map(tuple))
def test_what_is_sent_as_a_header_comes_back_as_it_was(properties: tuple[tuple[str, str], ...]) -> None:
    assert answer_properties(IncomingResponse(200, tuple(property_headers(properties)))) == properties


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(
                _NAME.map("mqtt-".__add__), st.text(st.characters(max_codepoint=255), max_size=8).map("MQTT-".__add__)
            ),
            st.text(st.characters(max_codepoint=255), max_size=20),
        ),
        max_size=5,
    ).map(tuple)
)
def test_whatever_an_answer_has_for_headers_packets_can_hold(fields: tuple[tuple[str, str], ...]) -> None:
    for name, value in answer_properties(IncomingResponse(200, fields)):
        assert name
        assert "\0" not in name + value
        (name + value).encode()


# The type of a publication


@pytest.mark.parametrize("content_type", ["text/plain", "text/plain; charset=utf-8", 'a/b;\tc="d e"', "nonsense"])
def test_type_that_can_be_sent(content_type: str) -> None:
    assert is_sendable_type(content_type)


@pytest.mark.parametrize("content_type", ["", "a/b\r\nX: y", "a/b\n", "\0", "a/é", "\x7f"])
def test_type_that_cannot_be_sent(content_type: str) -> None:
    assert not is_sendable_type(content_type)


# The body of connect


def body(mqtt: MqttConnect, certificates: Any = None) -> dict[str, Any]:
    """As others read it."""
    written = mqtt_connect_body({"sub": "u"}, (("id", "7"),), (("Host", "h"),), certificates, mqtt)
    found = event(source(session_id=None), "sys", "connect", written)
    assert isinstance(found.data, dict)
    return found.data


def test_body_of_connect_about_a_client_that_says_nothing() -> None:
    assert body(MqttConnect(4, clean_start=True)) == {
        "mqtt": {
            "protocolVersion": 4,
            "cleanStart": True,
            "username": None,
            "password": None,
            "userProperties": None,
        },
        "claims": {"sub": ["u"]},
        "query": {"id": ["7"]},
        "headers": {"Host": ["h"]},
        "subprotocols": ["mqtt"],
        "clientCertificates": [],
    }


def test_body_of_connect_about_a_client_that_says_all_it_can() -> None:
    said = body(MqttConnect(5, False, "Benutzer ü", b"\xff\x00p", (("n", "v"), ("n", "\r\n"))))["mqtt"]

    assert base64.b64decode(said.pop("password")) == b"\xff\x00p"
    assert said == {
        "protocolVersion": 5,
        "cleanStart": False,
        "username": "Benutzer ü",
        "userProperties": [{"name": "n", "value": "v"}, {"name": "n", "value": "\r\n"}],
    }


def test_empty_user_name_and_password_are_something_else_than_none() -> None:
    said = body(MqttConnect(5, True, "", b""))["mqtt"]

    assert (said["username"], said["password"]) == ("", "")


@pytest.mark.parametrize("certificates", [None, ()])
def test_certificates_are_an_array_also_where_none_was_shown(certificates: Any) -> None:
    """The published sample for MQTT relies on it."""
    assert body(MqttConnect(4, True), certificates)["clientCertificates"] == []


def test_certificate_of_a_client_is_shown() -> None:
    shown = ClientCertificate.of(b"der", upper=False)

    (said,) = body(MqttConnect(4, True), (shown,))["clientCertificates"]

    assert said == {"thumbprint": shown.thumbprint, "content": shown.content}


@settings(deadline=None)
@given(
    mqtt=st.builds(
        MqttConnect,
        st.sampled_from([4, 5]),
        st.booleans(),
        st.one_of(st.none(), _NASTY),
        st.one_of(st.none(), st.binary(max_size=40)),
        st.lists(st.tuples(_NASTY, _NASTY), max_size=4).map(tuple),
    )
)
def test_whatever_a_client_says_in_its_first_packet_others_can_read(mqtt: MqttConnect) -> None:
    said = body(mqtt)["mqtt"]

    assert said["username"] == mqtt.username
    assert (None if said["password"] is None else base64.b64decode(said["password"])) == mqtt.password
    assert [(item["name"], item["value"]) for item in said["userProperties"] or ()] == list(mqtt.user_properties)


# The body of disconnected


@pytest.mark.parametrize(
    ("reason", "ending", "expected"),
    [
        (None, None, {"initiatedByClient": False, "disconnectPacket": None}),
        ("the server ended", MqttEnding(), {"initiatedByClient": False, "disconnectPacket": None}),
        (
            None,
            MqttEnding(initiated_by_client=True, code=0),
            {"initiatedByClient": True, "disconnectPacket": {"code": 0, "userProperties": None}},
        ),
        (
            "bye",
            MqttEnding(True, 4, (("n", "v"), ("n", "w"))),
            {
                "initiatedByClient": True,
                "disconnectPacket": {
                    "code": 4,
                    "userProperties": [{"name": "n", "value": "v"}, {"name": "n", "value": "w"}],
                },
            },
        ),
        (
            "taken over",
            MqttEnding(False, 0x8E, None),
            {"initiatedByClient": False, "disconnectPacket": {"code": 142, "userProperties": None}},
        ),
        (
            None,
            MqttEnding(True, 0, ()),
            {"initiatedByClient": True, "disconnectPacket": {"code": 0, "userProperties": None}},
        ),
    ],
)
def test_end_says_who_ended_a_session_and_with_what(
    reason: str | None, ending: MqttEnding | None, expected: dict[str, Any]
) -> None:
    found = event(source(), "sys", "disconnected", disconnected_body(reason, ending))

    assert found.data == {"reason": reason, "mqtt": expected}


# The answer to connect


def wire(said: object) -> bytes:
    return said if isinstance(said, bytes) else json.dumps(said).encode()


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (b"", ConnectVerdict()),
        (b"null", ConnectVerdict()),
        ({"mqtt": None}, ConnectVerdict()),
        ({"mqtt": {}}, ConnectVerdict()),
        ({"mqtt": {"userProperties": None}}, ConnectVerdict()),
        ({"mqtt": {"userProperties": []}}, ConnectVerdict()),
        ({"mqtt": {"unknown": {}}}, ConnectVerdict()),
        ({"subprotocol": None}, ConnectVerdict()),
        ({"subProtocol": "mqtt"}, ConnectVerdict(subprotocol="mqtt")),
        ({"SUBPROTOCOL": "mqtt"}, ConnectVerdict(subprotocol="mqtt")),
        (
            {
                "userId": "u",
                "groups": ["a/b"],
                "roles": ["r"],
                "subprotocol": "mqtt",
                "mqtt": {"userProperties": [{"name": "n", "value": "v"}, {"name": "n", "value": ""}]},
            },
            ConnectVerdict("u", ("r",), ("a/b",), "mqtt", (("n", "v"), ("n", ""))),
        ),
        (
            {"UserId": "u", "MQTT": {"userproperties": [{"Name": "n", "VALUE": "v", "more": 1}]}},
            ConnectVerdict(user_id="u", user_properties=(("n", "v"),)),
        ),
        (
            {"mqtt": {"userProperties": [{"name": "n", "value": "v" * (LONGEST + 1)}, {"name": "\0", "value": ""}]}},
            ConnectVerdict(),
        ),
    ],
)
def test_what_a_handler_says_of_a_client_that_it_accepts(said: object, verdict: ConnectVerdict) -> None:
    assert read_mqtt_verdict(wire(said), 5) == verdict


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (b"{", "not JSON"),
        ([], "not a JSON object"),
        ({"subprotocol": "json.webpubsub.azure.v1"}, "subprotocol"),
        ({"subprotocol": "MQTT"}, "subprotocol"),
        ({"userId": "a\0"}, "userId"),
        ({"groups": [""]}, "groups"),
        ({"mqtt": []}, "mqtt"),
        ({"mqtt": "x"}, "mqtt"),
        ({"mqtt": {"userProperties": {}}}, "userProperties"),
        ({"mqtt": {"userProperties": "n"}}, "userProperties"),
        ({"mqtt": {"userProperties": [1]}}, "userProperties"),
        ({"mqtt": {"userProperties": [{"name": "n"}]}}, "userProperties"),
        ({"mqtt": {"userProperties": [{"name": "n", "value": 1}]}}, "userProperties"),
        ({"mqtt": {"userProperties": [["n", "v"]]}}, "userProperties"),
    ],
)
def test_what_cannot_be_said_of_a_client_that_is_accepted(said: object, what: str) -> None:
    with pytest.raises(BadResponse, match=what):
        read_mqtt_verdict(wire(said), 5)


def test_version_that_has_no_user_properties_gets_none() -> None:
    said = {"userId": "u", "mqtt": {"userProperties": [{"name": "n", "value": "v"}]}}

    assert read_mqtt_verdict(wire(said), 4) == ConnectVerdict(user_id="u")


# Refusals


@pytest.mark.parametrize("status", [200, 299, 302, 400, 401, 500, 503])
@pytest.mark.parametrize("code", V5_CODES)
def test_code_of_an_application_reaches_a_client_of_5_0(status: int, code: int) -> None:
    assert read_refusal(answer(status, {"mqtt": {"code": code}}), 5) == MqttRefusal(code)


@pytest.mark.parametrize("status", [400, 401, 503])
@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_code_of_an_application_reaches_a_client_of_3_1_1(status: int, code: int) -> None:
    assert read_refusal(answer(status, {"mqtt": {"code": code}}), 4) == MqttRefusal(code)


@pytest.mark.parametrize(
    ("version", "status", "code", "expected"),
    [
        *[(5, 400, code, 0x80) for code in range(-1, 300) if code not in V5_CODES],
        *[(4, 400, code, 5) for code in (-1, 0, 6, 7, 128, 138, 256, 2**70)],
        *[(4, status, 138, 3) for status in (500, 503, 302, 600)],
        *[(4, status, 138, 5) for status in (401, 404, 429, 499)],
    ],
)
def test_code_that_is_none_of_the_clients_version_says_no_more_than_no(
    version: int, status: int, code: int, expected: int
) -> None:
    assert read_refusal(answer(status, {"mqtt": {"code": code}}), version) == MqttRefusal(expected)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Unauthorized",
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"code":138}',
        b'{"mqtt":null}',
        b'{"mqtt":[]}',
        b'{"mqtt":{}}',
        b'{"mqtt":{"code":null}}',
        b'{"mqtt":{"code":"138"}}',
        b'{"mqtt":{"code":true}}',
        b'{"mqtt":{"code":1.5}}',
    ],
)
@pytest.mark.parametrize(
    ("status", "v5", "v4"),
    [
        (400, 0x86, 4),
        (401, 0x87, 5),
        (403, 0x87, 5),
        (429, 0x97, 3),
        (302, 0x88, 3),
        (404, 0x88, 3),
        (500, 0x88, 3),
        (503, 0x88, 3),
        (600, 0x88, 3),
    ],
)
def test_refusal_without_a_code_is_that_of_its_status(body: bytes, status: int, v5: int, v4: int) -> None:
    response = IncomingResponse(status, (), body)

    assert read_refusal(response, 5) == MqttRefusal(v5)
    assert read_refusal(response, 4) == MqttRefusal(v4)


def test_words_of_a_refusal_are_for_clients_of_5_0_only() -> None:
    said = {"mqtt": {"code": 135, "reason": "nö", "userProperties": [{"name": "n", "value": "v"}]}}

    assert read_refusal(answer(401, said), 5) == MqttRefusal(135, "nö", (("n", "v"),))
    said["mqtt"]["code"] = 5
    assert read_refusal(answer(401, said), 4) == MqttRefusal(5)


def test_names_in_a_refusal_compare_without_case() -> None:
    said = {"Mqtt": {"CODE": 135, "Reason": "r", "userproperties": [{"NAME": "n", "Value": "v"}]}}

    assert read_refusal(answer(401, said), 5) == MqttRefusal(135, "r", (("n", "v"),))


def test_words_without_a_code_are_heard() -> None:
    assert read_refusal(answer(403, {"mqtt": {"reason": "r"}}), 5) == MqttRefusal(0x87, "r")


@pytest.mark.parametrize("reason", [None, 1, [], {}, ""])
def test_reason_that_is_none_is_left_out(reason: object) -> None:
    assert read_refusal(answer(401, {"mqtt": {"code": 135, "reason": reason}}), 5) == MqttRefusal(135)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("r" * LONGEST, "r" * LONGEST),
        ("r" * (LONGEST + 1), "r" * LONGEST),
        ("é" * LONGEST, "é" * (LONGEST // 2)),
        ("a\0b", "ab"),
    ],
)
def test_reason_is_as_much_of_it_as_a_packet_can_hold(reason: str, expected: str) -> None:
    assert read_refusal(answer(401, {"mqtt": {"code": 135, "reason": reason}}), 5).reason == expected


def test_user_properties_of_a_refusal_that_are_none_or_do_not_fit_are_left_out() -> None:
    """A refusal stays one, however badly it is put."""
    pairs = [
        {"name": "a", "value": "1"},
        {"name": "b"},
        None,
        {"name": "c", "value": 1},
        {"name": "d", "value": "v" * (LONGEST + 1)},
        {"name": "e", "value": "\0"},
        {"name": "f", "value": "v" * LONGEST},
    ]

    refusal = read_refusal(answer(401, {"mqtt": {"code": 135, "userProperties": pairs}}), 5)

    assert [name for name, _ in refusal.user_properties] == ["a", "f"]
    assert read_refusal(answer(401, {"mqtt": {"code": 135, "userProperties": "x"}}), 5) == MqttRefusal(135)


@pytest.mark.parametrize(
    ("status", "said", "v5", "v4"),
    [
        (500, {"mqtt": {"code": 136}}, True, False),
        (503, {"mqtt": {"code": 3}}, False, True),
        (408, {"Mqtt": {"Code": 128}}, True, False),
        (401, {"mqtt": {"code": 135}}, True, False),
        (500, {"mqtt": {"code": 0}}, False, False),
        (500, {"mqtt": {"code": 139}}, False, False),
        (500, {"mqtt": {}}, False, False),
        (500, b"Internal Server Error", False, False),
        (500, b"", False, False),
        (200, {"mqtt": {"code": 135}}, False, False),
    ],
)
def test_answer_with_a_code_of_the_clients_version_is_a_refusal_on_purpose(
    status: int, said: object, v5: bool, v4: bool
) -> None:
    assert (is_refusal(answer(status, said), 5), is_refusal(answer(status, said), 4)) == (v5, v4)


_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-300, 300), st.floats(allow_nan=False), _NASTY),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(["name", "value", "code"]), st.text(max_size=4)), inner, max_size=3),
    ),
    max_leaves=8,
)
_MQTT = st.dictionaries(
    st.sampled_from(["code", "Code", "reason", "userProperties", "USERPROPERTIES", "x"]),
    st.one_of(
        _VALUES, st.sampled_from([1, 5, 128, 135]), st.lists(st.fixed_dictionaries({"name": _NASTY, "value": _NASTY}))
    ),
    max_size=4,
)
_SAID = st.one_of(
    st.binary(max_size=60),
    st.one_of(_VALUES, st.fixed_dictionaries({"mqtt": st.one_of(_MQTT, _VALUES)})).map(msgspec.json.encode),
)


@settings(deadline=None)
@given(said=_SAID, status=st.integers(300, 999), version=st.sampled_from([4, 5]))
def test_whatever_a_handler_says_of_a_client_that_it_refuses_becomes_a_legal_refusal(
    said: bytes, status: int, version: int
) -> None:
    refusal = read_refusal(IncomingResponse(status, (), said), version)

    assert refusal.code in (V5_CODES if version == 5 else range(1, 6))
    texts = [refusal.reason or "", *(text for pair in refusal.user_properties for text in pair)]
    assert all("\0" not in text and len(text.encode()) <= LONGEST for text in texts)
    assert version == 5 or texts == [""]


@settings(deadline=None)
@given(said=_SAID, version=st.sampled_from([4, 5]))
def test_whatever_a_handler_says_of_a_client_that_it_accepts_is_heeded_or_refused(said: bytes, version: int) -> None:
    try:
        verdict = read_mqtt_verdict(said, version)
    except BadResponse:
        return
    assert verdict.subprotocol in (None, "mqtt")
    assert version == 5 or verdict.user_properties == ()
    assert all("\0" not in text for pair in verdict.user_properties for text in pair)


def test_hub_whose_name_has_odd_characters_is_encoded_in_the_source_as_well() -> None:
    of = source('ü"', hub=HubKey("default", "a[`],.b"))

    assert dict(headers(of, "sys", "connected", JSON))["ce-source"] == f"/hubs/a[`],.b/client/{quote('ü')}%22/p1"
