"""Events as requests, and what responses mean. What is an event is judged by others, see `cloud_events`."""

import base64
import datetime
import hashlib
import json
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_events import parsed
from doubles import HUB, KEYS
from handlers import answer
from hubwire.model.hubs import AccessKeys
from hubwire.model.messages import NO_METADATA, Data, FromServer
from hubwire.model.names import HubKey, is_event_name, is_hub_name, is_user_id, metadata_fault
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest
from hubwire.upstream.cloudevents import (
    CONTENT_TYPES,
    JSON,
    BadResponse,
    ClientCertificate,
    ConnectVerdict,
    EventKind,
    breaks_header,
    connect_body,
    disconnected_body,
    event_headers,
    presence_body,
    read_answer,
    read_state,
    read_verdict,
    sign,
)
from hubwire.upstream.sources import EventSource

REQUEST_ID = "2b9f2d2e-6f0d-4c3a-9b7e-0d5a3a5d4c11"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def source(user_id: str | None = None, subprotocol: str | None = None, state: str | None = None) -> EventSource:
    made = EventSource(HUB, "0123abc", "hub.example", user_id, subprotocol)
    made.state = state
    return made


def headers(
    of: EventSource,
    kind: EventKind = "user",
    name: str = "message",
    content_type: str = CONTENT_TYPES["binary"],
    **more: Any,
) -> list[tuple[str, str]]:
    return event_headers(
        of,
        kind,
        name,
        7,
        content_type,
        now=1_700_000_000.9,
        signature=sign(of.connection_id, KEYS),
        request_id=REQUEST_ID,
        trace=TRACE,
        **more,
    )


def request(of: EventSource, kind: EventKind, name: str, body: bytes, **more: Any) -> OutgoingRequest:
    return OutgoingRequest("POST", "http://h/", tuple(headers(of, kind, name, **more)), body)


# Headers


def test_headers_of_an_event_in_the_spelling_of_the_service() -> None:
    of = source('ünï%20 "u"', "json.webpubsub.azure.v1", "c3RhdGU=")

    assert headers(of, "sys", "connected", JSON) == [
        ("WebHook-Request-Origin", "hub.example"),
        ("Content-Type", "application/json; charset=utf-8"),
        ("ce-specversion", "1.0"),
        ("ce-awpsversion", "1.0"),
        ("ce-type", "azure.webpubsub.sys.connected"),
        ("ce-source", "/hubs/chat/client/0123abc"),
        ("ce-id", "7"),
        ("ce-time", "2023-11-14T22:13:20Z"),
        (
            "ce-signature",
            "sha256=0b4c2fe4f0a5be3e64d72c9f5a7c82074ddd6df7b9ed0fde16f690e6f6c3ea70,"
            "sha256=d6cc409bda4a018ebb2c2019d9888061a557a7f1af4a3bfe18a6677b85bc1466",
        ),
        ("ce-connectionId", "0123abc"),
        ("ce-hub", "chat"),
        ("ce-eventName", "connected"),
        ("ce-userId", 'ünï%20 "u"'),
        ("ce-subprotocol", "json.webpubsub.azure.v1"),
        ("ce-connectionState", "c3RhdGU="),
        ("x-ms-client-request-id", REQUEST_ID),
        ("traceparent", TRACE),
    ]


def test_what_there_is_not_is_not_said() -> None:
    names = {name for name, _ in headers(source())}

    assert not names & {"ce-userId", "ce-subprotocol", "ce-connectionState"}


def test_empty_state_is_said() -> None:
    """It is something else than none."""
    assert dict(headers(source(state="")))["ce-connectionState"] == ""


def test_metadata_of_a_message_has_a_header_each() -> None:
    found = headers(source(), metadata={"Trace-Id": "a, b", "x": ""})

    assert ("X-WebPubSub-Metadata-trace-id", "a, b") in found
    assert ("X-WebPubSub-Metadata-x", "") in found


@pytest.mark.parametrize(
    ("kind", "name", "content_type", "body", "data"),
    [
        ("sys", "connected", JSON, b"{}", {}),
        ("sys", "disconnected", JSON, disconnected_body(None), {"reason": None}),
        ("sys", "disconnected", JSON, disconnected_body(""), {"reason": ""}),
        ("sys", "disconnected", JSON, disconnected_body('ü "q"\r\n'), {"reason": 'ü "q"\r\n'}),
        ("gp", "joined", JSON, presence_body("g/ü\n"), {"group": "g/ü\n"}),
        ("gp", "left", JSON, presence_body("g"), {"group": "g"}),
        ("user", "message", CONTENT_TYPES["text"], "hé".encode(), "hé"),
        ("user", "connected", CONTENT_TYPES["json"], b'{"a":[1]}', {"a": [1]}),
        ("user", "a.b-c_d", CONTENT_TYPES["binary"], b"\xff\x00", b"\xff\x00"),
        ("user", "message", CONTENT_TYPES["protobuf"], b"\xff", b"\xff"),
        ("user", "message", CONTENT_TYPES["text"], b"", None),
    ],
)
def test_others_read_an_event_as_what_it_is(
    kind: EventKind, name: str, content_type: str, body: bytes, data: object
) -> None:
    event = parsed(request(source("u"), kind, name, body, content_type=content_type))

    assert (event.type, event.data) == (f"{kind}.{name}", data)
    attributes = dict(event.attributes)
    assert attributes.pop("time") == datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.UTC)
    assert {name: attributes[name] for name in ("id", "hub", "connectionid", "userid", "awpsversion")} == {
        "id": "7",
        "hub": "chat",
        "connectionid": "0123abc",
        "userid": "u",
        "awpsversion": "1.0",
    }


def test_attributes_are_percent_encoded_as_others_decode_them() -> None:
    of = EventSource(HubKey("default", "a[`],.b"), 'c d%"é', "hub.example", None, 'x "%" é')

    event = parsed(request(of, "sys", "connected", b"{}", content_type=JSON))

    assert event.headers["ce-source"] == "/hubs/a[`],.b/client/c%20d%25%22%C3%A9"
    assert event.attributes["connectionid"] == 'c d%"é'
    assert event.attributes["hub"] == "a[`],.b"
    assert event.attributes["subprotocol"] == 'x "%" é'


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_NASTY = st.one_of(_TEXT, st.sampled_from(["a\r\nX: y", "\n", "\r", "\0", "a\r\n\r\nGET / HTTP/1.1", "\x85\u2028"]))
_HUB = st.from_regex(r"[a-z][a-z0-9_`,.\[\]]{0,20}", fullmatch=True).filter(is_hub_name)
_EVENT = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,20}", fullmatch=True).filter(is_event_name)
_METADATA = st.dictionaries(
    st.text(st.sampled_from("aZ0!#$%&'*+-.^_`|~"), min_size=1, max_size=10),
    st.text(st.characters(max_codepoint=127), max_size=20),
    max_size=4,
)


@settings(deadline=None)
@given(
    hub=_HUB,
    connection_id=_NASTY.filter(bool),
    user_id=st.one_of(st.none(), _NASTY.filter(is_user_id)),
    subprotocol=st.one_of(st.none(), _NASTY),
    state=st.one_of(st.none(), _NASTY),
    event=_EVENT,
    metadata=_METADATA,
)
def test_no_value_begins_a_header_of_its_own(
    hub: str,
    connection_id: str,
    user_id: str | None,
    subprotocol: str | None,
    state: str | None,
    event: str,
    metadata: dict[str, str],
) -> None:
    """What may not be in a header is refused where it comes in; the rest is encoded, or harmless."""
    of = EventSource(HubKey("default", hub), connection_id, "hub.example", user_id, subprotocol)
    if state is not None:
        of.state = _kept(state)
    assert metadata_fault(metadata) is None
    metadata = {key: value for key, value in metadata.items() if not breaks_header(value)}

    found = headers(of, "user", event, metadata=metadata)

    assert not any(character in name + value for name, value in found for character in "\r\n\0")
    assert all(value.isascii() for name, value in found if name not in ("ce-userId", "ce-connectionState"))
    assert all(name.isascii() and name.replace("`", "").isprintable() and ":" not in name for name, _ in found)


def _kept(state: str) -> str | None:
    """A state as it is kept once a handler has given it."""
    response = IncomingResponse(200, (("ce-connectionState", state.encode().decode("latin-1")),))
    try:
        return read_state(response, 8192)
    except BadResponse:
        return None


@pytest.mark.parametrize("value", ["a\r", "\nb", "a\0b"])
def test_value_that_would_end_its_header(value: str) -> None:
    assert breaks_header(value)
    assert not breaks_header("a\tb\x85\u2028 ü")


# The signature


@pytest.mark.parametrize(
    ("connection_id", "primary", "digest"),
    [
        ("0123abc", KEYS.primary, "0b4c2fe4f0a5be3e64d72c9f5a7c82074ddd6df7b9ed0fde16f690e6f6c3ea70"),
        ("tüs", "schlüssel", "cbf9dfd65836bb8ab1488363ee75919b1e75c7fca2071ee7d94f0c9ef9a947f1"),
    ],
)
def test_signature_is_as_openssl_makes_it_with_either_key_the_primary_first(
    connection_id: str, primary: str, digest: str
) -> None:
    """Text is UTF-8, keys are not base64-decoded, and there is no blank behind the comma."""
    assert sign(connection_id, AccessKeys(primary, "other")).split(",")[0] == f"sha256={digest}"
    assert sign(connection_id, AccessKeys("other", primary)).split(",")[1] == f"sha256={digest}"


# The body of connect


def body(
    claims: Any = None, query: Any = (), fields: Any = (), subprotocols: Any = (), certificates: Any = ()
) -> dict[str, Any]:
    """As others read it."""
    written = connect_body(claims or {}, query, fields, subprotocols, certificates)
    event = parsed(request(source(), "sys", "connect", written, content_type=JSON))
    assert isinstance(event.data, dict)
    return event.data


def test_body_of_connect_about_somebody_who_says_nothing() -> None:
    assert body() == {"claims": {}, "query": {}, "headers": {}, "subprotocols": [], "clientCertificates": []}


def test_claims_are_lists_of_texts_whatever_they_were() -> None:
    claims = {
        "sub": "u",
        "role": ["a", "b"],
        "exp": 1700000000,
        "ok": True,
        "nothing": None,
        "rate": 1.5,
        "huge": 2**70,
        "object": {"a": [1, "ü"]},
        "mixed": [1, "x", None, ["y"]],
        "empty": [],
        "http://schemas.example/long": "v",
    }

    assert body(claims)["claims"] == {
        "sub": ["u"],
        "role": ["a", "b"],
        "exp": ["1700000000"],
        "ok": ["true"],
        "nothing": ["null"],
        "rate": ["1.5"],
        "huge": ["1180591620717411303424"],
        "object": ['{"a":[1,"ü"]}'],
        "mixed": ["1", "x", "null", '["y"]'],
        "empty": [],
        "http://schemas.example/long": ["v"],
    }


def test_repeated_parameters_are_one_list_and_their_letter_case_counts() -> None:
    assert body(query=[("id", "7"), ("ID", "8"), ("id", ""), ("", "x")])["query"] == {
        "id": ["7", ""],
        "ID": ["8"],
        "": ["x"],
    }


def test_repeated_headers_are_one_list_under_their_first_spelling() -> None:
    assert body(fields=[("X-One", "1"), ("Host", "h"), ("x-one", "2")])["headers"] == {
        "X-One": ["1", "2"],
        "Host": ["h"],
    }


def test_subprotocols_are_in_the_order_of_the_client() -> None:
    assert body(subprotocols=("b", "a"))["subprotocols"] == ["b", "a"]


def test_certificate_that_was_asked_for_and_not_shown_is_null() -> None:
    """The published sample asks for the first one of anything else than null."""
    assert body(certificates=None)["clientCertificates"] is None


def certificate() -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


@pytest.mark.parametrize("upper", [False, True])
def test_certificate_is_shown_with_its_thumbprint_as_others_write_both(upper: bool) -> None:
    shown = certificate()
    der = shown.public_bytes(serialization.Encoding.DER)

    (said,) = body(certificates=(ClientCertificate.of(der, upper=upper),))["clientCertificates"]

    expected = shown.fingerprint(hashes.SHA1()).hex()
    assert said["thumbprint"] == (expected.upper() if upper else expected)
    pem = shown.public_bytes(serialization.Encoding.PEM).decode().strip()
    assert said["content"] == pem.replace("\n", "\r\n")
    assert x509.load_pem_x509_certificate(said["content"].encode()) == shown
    assert hashlib.sha1(der).hexdigest() == expected


# The answer to connect


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (b"", ConnectVerdict()),
        (b" \r\n ", ConnectVerdict()),
        (b"null", ConnectVerdict()),
        (b"{}", ConnectVerdict()),
        (b'{"unknown":{"a":[1]}}', ConnectVerdict()),
        (b'\xef\xbb\xbf{"userId":"u"}', ConnectVerdict(user_id="u")),
        ({"userId": None, "roles": None, "groups": None, "subprotocol": None}, ConnectVerdict()),
        ({"userId": "u"}, ConnectVerdict(user_id="u")),
        ({"USERID": "u", "Roles": ["r"]}, ConnectVerdict(user_id="u", roles=("r",))),
        ({"userId": ""}, ConnectVerdict(user_id="")),
        ({"userId": "ü@ \x85"}, ConnectVerdict(user_id="ü@ \x85")),
        ({"roles": []}, ConnectVerdict(roles=())),
        ({"roles": ["a", "b", "a", "nonsense"]}, ConnectVerdict(roles=("a", "b", "nonsense"))),
        ({"groups": []}, ConnectVerdict()),
        ({"groups": ["g", "ü", "g"]}, ConnectVerdict(groups=("g", "ü"))),
        ({"subprotocol": ""}, ConnectVerdict()),
        ({"subprotocol": "b"}, ConnectVerdict(subprotocol="b")),
        (
            {"userId": "u", "roles": ["r"], "groups": ["g"], "subprotocol": "a"},
            ConnectVerdict("u", ("r",), ("g",), "a"),
        ),
    ],
)
def test_what_a_handler_says_of_a_client(said: object, verdict: ConnectVerdict) -> None:
    """Null and nothing leave what the token says; no roles are no roles, and no groups are no word about groups."""
    assert read_verdict(said if isinstance(said, bytes) else json.dumps(said).encode(), ("a", "b")) == verdict


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (b"{", "not JSON"),
        (b"ok", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"userId":"\xff"}', "not JSON"),
        (rb'{"userId":"\ud800"}', "not JSON"),
        (b'{"userId":"u"} {}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"u"', "not a JSON object"),
        (b"7", "not a JSON object"),
        ({"userId": 7}, "userId"),
        ({"userId": ["u"]}, "userId"),
        ({"userId": "a\r\nce-hub: b"}, "userId"),
        ({"userId": "a\0"}, "userId"),
        ({"userId": "a\x01"}, "userId"),
        ({"roles": "r"}, "roles"),
        ({"roles": [1]}, "roles"),
        ({"roles": {}}, "roles"),
        ({"groups": "g"}, "groups"),
        ({"groups": [None]}, "groups"),
        ({"groups": [""]}, "groups"),
        ({"groups": ["ok", " "]}, "groups"),
        ({"groups": ["g" * 1025]}, "groups"),
        ({"subprotocol": 1}, "subprotocol"),
        ({"subprotocol": "c"}, "subprotocol"),
        ({"subprotocol": "A"}, "subprotocol"),
    ],
)
def test_what_cannot_be_said_of_a_client(said: object, what: str) -> None:
    wire = said if isinstance(said, bytes) else json.dumps(said).encode()

    with pytest.raises(BadResponse, match=what):
        read_verdict(wire, ("a", "b"))


_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=10,
)
_FIELDS = st.dictionaries(
    st.one_of(st.sampled_from(["userId", "roles", "groups", "subprotocol", "USERID", "Groups"]), st.text(max_size=8)),
    st.one_of(_VALUES, st.lists(st.text(max_size=8), max_size=4)),
    max_size=5,
)


@settings(deadline=None)
@given(
    said=st.one_of(st.binary(max_size=200), st.one_of(_FIELDS, _VALUES).map(lambda value: json.dumps(value).encode()))
)
def test_whatever_a_handler_says_of_a_client_is_heeded_or_refused(said: bytes) -> None:
    try:
        verdict = read_verdict(said, ("a",))
    except BadResponse:
        return
    assert verdict.subprotocol in (None, "a")
    assert verdict.user_id is None or not breaks_header(verdict.user_id)
    assert verdict.groups is None or all(verdict.groups)


# The answer to a user event


@pytest.mark.parametrize(
    ("content_type", "said", "message"),
    [
        ("text/plain", b"hi", Data("text", b"hi")),
        ("Text/Plain; charset=UTF-8", "hé".encode(), Data("text", "hé".encode())),
        ("text/plain;charset=iso-8859-1", b"hi", Data("text", b"hi")),
        ("application/json", b'{ "a":1 }\n', Data("json", b'{ "a":1 }\n')),
        ("application/json; charset=utf-8", b"null", Data("json", b"null")),
        ("application/json", b'\xef\xbb\xbf"x"', Data("json", b'"x"')),
        ("application/octet-stream", b"\xff", Data("binary", b"\xff")),
        (None, b"\xff", Data("binary", b"\xff")),
        ("", b"\xff", Data("binary", b"\xff")),
        ("application/x-protobuf", b"\x08\x01", Data("protobuf", b"\x08\x01")),
    ],
)
def test_body_of_an_answer_is_a_message_of_its_type(content_type: str | None, said: bytes, message: Data) -> None:
    fields = () if content_type is None else (("content-TYPE", content_type),)

    assert read_answer(IncomingResponse(200, fields, said)) == FromServer(message, NO_METADATA)


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json", "text/html", "nonsense"])
def test_answer_without_a_body_is_no_message(content_type: str | None) -> None:
    fields = () if content_type is None else (("Content-Type", content_type),)

    assert read_answer(IncomingResponse(204, fields)) is None


def test_empty_answer_with_metadata_is_an_empty_text_that_carries_it() -> None:
    found = read_answer(IncomingResponse(200, (("X-WebPubSub-Metadata-Trace", "t"),)))

    assert found == FromServer(Data("text", b""), {"trace": "t"})


def test_metadata_of_an_answer_is_the_last_that_was_said() -> None:
    """The last line of a name, and of it what is behind the last comma, since a proxy may have joined lines."""
    found = read_answer(
        IncomingResponse(
            200,
            (
                ("x-webpubsub-metadata-a", "1"),
                ("X-WebPubSub-Metadata-A", "2, 3 "),
                ("X-WebPubSub-Metadata-b", ""),
                ("X-WebPubSub-Metadata-", "ignored"),
                ("X-WebPubSub-Metadatax", "ignored"),
                ("Other", "ignored"),
            ),
            b"x",
        )
    )

    assert found is not None
    assert found.metadata == {"a": "3", "b": ""}


@pytest.mark.parametrize(
    ("fields", "said", "what"),
    [
        ({"Content_Type": "text/html"}, b"<p>", "Content-Type"),
        ({"Content_Type": "text/json"}, b"{}", "Content-Type"),
        ({"Content_Type": "; charset=utf-8"}, b"x", "Content-Type"),
        ({"Content_Type": "text/plain"}, b"\xff", "UTF-8"),
        ({"Content_Type": "application/json"}, b"{", "JSON"),
        ({"Content_Type": "application/json"}, b"{} {}", "JSON"),
        ({"Content_Type": "application/json"}, b"[" * 100_000, "JSON"),
        ({"Content_Type": "application/json"}, b'{"a":"\xff"}', "JSON"),
        ({"Content_Type": "application/json"}, b'"\xed\xa0\x80"', "JSON"),
        ({"X_WebPubSub_Metadata_a": "é"}, b"", "metadata"),
        ({"X_WebPubSub_Metadata_a": "v" * 1025}, b"", "metadata"),
        ({"X_WebPubSub_Metadata_(": "v"}, b"", "metadata"),
    ],
)
def test_answer_that_cannot_be_passed_on(fields: dict[str, str], said: bytes, what: str) -> None:
    """A client that got such a frame would have to close its connection."""
    with pytest.raises(BadResponse, match=what):
        read_answer(answer(200, said, **fields))


@settings(deadline=None)
@given(
    content_type=st.one_of(
        st.none(), st.sampled_from(list(CONTENT_TYPES.values())), st.text(st.characters(max_codepoint=255), max_size=20)
    ),
    said=st.one_of(st.binary(max_size=100), _VALUES.map(lambda value: json.dumps(value).encode())),
    metadata=st.lists(
        st.tuples(
            st.text(st.characters(max_codepoint=255), max_size=5), st.text(st.characters(max_codepoint=255), max_size=5)
        ),
        max_size=3,
    ),
)
def test_whatever_a_handler_answers_is_a_message_or_refused(
    content_type: str | None, said: bytes, metadata: list[tuple[str, str]]
) -> None:
    fields = [(f"X-WebPubSub-Metadata-{key}", value) for key, value in metadata]
    if content_type is not None:
        fields.append(("Content-Type", content_type))
    try:
        found = read_answer(IncomingResponse(200, tuple(fields), said))
    except BadResponse:
        return
    assert found is not None or not said
    if found is not None and found.data.kind in ("text", "json"):
        found.data.body.decode()
    if found is not None and found.data.kind == "json":
        json.loads(found.data.body)
    assert found is None or metadata_fault(found.metadata) is None


# The state


def test_state_is_the_last_that_was_said() -> None:
    assert read_state(IncomingResponse(200, (("CE-ConnectionState", "a"), ("ce-connectionstate", "b"))), 100) == "b"
    assert read_state(IncomingResponse(200, (("ce-connectionState", ""),)), 100) == ""
    assert read_state(IncomingResponse(200, (("ce-connection", "x"),)), 100) is None


def test_state_goes_out_with_the_bytes_with_which_it_came_in() -> None:
    """Bytes of a response are read as Latin-1, and text of a request is sent as UTF-8."""
    wire = 'zustand "ä"; 漢'.encode()

    state = read_state(IncomingResponse(200, (("ce-connectionState", wire.decode("latin-1")),)), len(wire))

    assert state is not None
    assert state.encode() == wire


@pytest.mark.parametrize(
    ("value", "most", "what"),
    [
        ("a" * 101, 100, "100 bytes"),
        ("é" * 51, 50, "50 bytes"),
        ("\xff", 100, "UTF-8"),
        ("a\r\nb", 100, "sent back"),
        ("\0", 100, "sent back"),
        ("\x01", 100, "sent back"),
        ("\x7f", 100, "sent back"),
    ],
)
def test_state_that_cannot_be_kept(value: str, most: int, what: str) -> None:
    with pytest.raises(BadResponse, match=what):
        read_state(answer(200, ce_connectionState=value), most)


def test_state_may_be_as_long_as_the_limit() -> None:
    assert read_state(answer(200, ce_connectionState="a" * 100), 100) == "a" * 100


def test_certificate_bodies_are_the_same_bytes_as_base64_of_the_der() -> None:
    lines = ClientCertificate.of(bytes(range(100)), upper=False).content.split("\r\n")

    assert base64.b64decode("".join(lines[1:-1])) == bytes(range(100))
    assert [len(line) for line in lines[1:-1]] == [64, 64, 8]


def test_bodies_are_compact_json() -> None:
    assert (disconnected_body(None), presence_body("g")) == (b'{"reason":null}', b'{"group":"g"}')
    assert msgspec.json.decode(connect_body({}, (), (), (), None))["clientCertificates"] is None
