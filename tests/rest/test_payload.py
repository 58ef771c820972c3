"""Content types to kinds of data, and metadata from headers."""

import pytest

from hubwire.model.errors import BadRequest, UnsupportedMedia
from hubwire.model.messages import NO_METADATA, Data
from hubwire.rest.payload import MediaType, data_of, media_type, metadata_of, sendable


def taken(content_type: str | None, body: bytes) -> Data:
    headers = [] if content_type is None else [("content-type", content_type)]
    return data_of(sendable(media_type(headers)), body)


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (None, b"\xff\x00", Data("binary", b"\xff\x00")),
        ("", b"x", Data("binary", b"x")),
        ("  ", b"x", Data("binary", b"x")),
        ("application/octet-stream", b"", Data("binary", b"")),
        ("Application/Octet-Stream; v=1", b"\xff", Data("binary", b"\xff")),
        ("text/plain", b"", Data("text", b"")),
        ("text/plain", "hä".encode(), Data("text", "hä".encode())),
        ("TEXT/PLAIN ; CHARSET=UTF-8", "hä".encode(), Data("text", "hä".encode())),
        ('text/plain;charset="utf-8"', b"x", Data("text", b"x")),
        ('text/plain;charset="u\\tf-8"', b"x", Data("text", b"x")),
        ("text/plain;", b"x", Data("text", b"x")),
        ("text/plain; ; charset=utf-8;", b"x", Data("text", b"x")),
        ("text/plain; charset=iso-8859-1", b"h\xe4", Data("text", "hä".encode())),
        ("text/plain; charset=windows-1252", b"\x80", Data("text", "€".encode())),
        ("text/plain; charset=utf-16", "hä".encode("utf-16"), Data("text", "hä".encode())),
        ("text/plain; charset=utf-16le", "hä".encode("utf-16-le"), Data("text", "hä".encode())),
        ("text/plain; charset=Shift_JIS", "日本".encode("shift_jis"), Data("text", "日本".encode())),
        ("text/plain", b"hello=world%21", Data("text", b"hello=world%21")),
        ("application/json", b' {"b": 1,\n "a":1.0, "a": 1e5}\t', Data("json", b' {"b": 1,\n "a":1.0, "a": 1e5}\t')),
        ("application/json; charset=utf-8", b'"\\u00e4"', Data("json", b'"\\u00e4"')),
        ("application/json", b"123456789012345678901234567890", Data("json", b"123456789012345678901234567890")),
        ("application/json", b"1e999999", Data("json", b"1e999999")),
        ("application/json", b'["\\ud800", 1e999999]', Data("json", b'["\\ud800", 1e999999]')),
        ("application/json", b"null", Data("json", b"null")),
        ("application/x-protobuf", b"\n\x03a/b\x1a\x00", Data("protobuf", b"\n\x03a/b\x1a\x00")),
        ("Application/X-Protobuf; x=y", b"", Data("protobuf", b"")),
    ],
)
def test_body_keeps_its_own_spelling(content_type: str | None, body: bytes, expected: Data) -> None:
    assert taken(content_type, body) == expected


@pytest.mark.parametrize(
    "content_type",
    [
        "application/protobuf",
        "application/xml",
        "text/html",
        "application/json5",
        "application/problem+json",
        "text",
        "text/",
        "/plain",
        "text plain",
        "text/plain, text/plain",
        "text/plain; charset",
        "text/plain; charset=",
        "text/plain; charset=klingon-8",
        "text/plain; charset=rot13",
        "text/plain; charset=base64",
        "text/plain; charset=unicode_escape",
        "text/plain; charset=idna",
        'text/plain; charset="utf-8',
        "application/json; charset=none",
        "text/plain\x00",
        "tëxt/plain",
    ],
)
def test_other_content_types_are_unsupported(content_type: str) -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        taken(content_type, b"1")

    assert caught.value.target == "Content-Type"


def test_content_type_that_is_said_twice_is_unsupported() -> None:
    with pytest.raises(UnsupportedMedia):
        media_type([("content-type", "text/plain"), ("content-type", "application/json")])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{'a':1}",
        b'{"a":1,}',
        b"[1 2]",
        b"NaN",
        b"-Infinity",
        b'["\\ud800", NaN]',
        b"1 2",
        b'{"a":1}}',
        b'"\x01"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf1",
        b'\xef\xbb\xbf"\\ud800"',
        b"01",
        b"hello",
        b"[" * 100_000,
        b'["\\ud800",' * 50_000,
    ],
)
def test_body_that_is_no_json_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        taken("application/json", body)

    assert caught.value.target == "Body"


def test_body_that_is_no_json_is_called_so() -> None:
    with pytest.raises(BadRequest, match="not a valid JSON"):
        taken("application/json", b"{")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/plain", b"\xff"), ("text/plain; charset=us-ascii", b"\xe4"), ("text/plain; charset=utf-16", b"x")],
)
def test_text_that_is_not_in_its_charset_is_a_bad_request(content_type: str, body: bytes) -> None:
    with pytest.raises(BadRequest):
        taken(content_type, body)


@pytest.mark.parametrize("body", [b"x", b"\x08\x01", b"\n\x01\xff", b"\n\x05a/b"])
def test_protobuf_that_is_no_any_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest, match="Any") as caught:
        taken("application/x-protobuf", body)

    assert caught.value.target == "Body"


def test_media_type_is_known_by_name_and_codec() -> None:
    assert media_type([("accept", "x"), ("content-type", "Text/Plain;charset=ASCII")]) == MediaType(
        "text/plain", "ascii"
    )
    assert media_type([]) is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], {}),
        ([("x-webpubsub-metadata-a", "1")], {"a": "1"}),
        ([("x-webpubsub-metadata-a", " 1 "), ("x-webpubsub-metadata-b", "2")], {"a": "1", "b": "2"}),
        ([("x-webpubsub-metadata-a", "1"), ("x-webpubsub-metadata-a", "2")], {"a": "2"}),
        ([("x-webpubsub-metadata-a", "1, 2 ,\t3 ")], {"a": "3"}),
        ([("x-webpubsub-metadata-a", "1,")], {"a": ""}),
        ([("x-webpubsub-metadata-a", "1, 2"), ("x-webpubsub-metadata-a", "3, 4")], {"a": "4"}),
        ([("x-webpubsub-metadat", "1"), ("authorization", "x")], {}),
    ],
)
def test_last_value_of_a_metadata_header_counts(lines: list[tuple[str, str]], expected: dict[str, str]) -> None:
    assert metadata_of(lines) == expected


def test_no_metadata_is_the_shared_nothing() -> None:
    assert metadata_of([("host", "x")]) is NO_METADATA


@pytest.mark.parametrize(
    "lines",
    [
        [("x-webpubsub-metadata-", "1")],
        [("x-webpubsub-metadata-a(b", "1")],
        [("x-webpubsub-metadata-" + "k" * 257, "1")],
        [("x-webpubsub-metadata-a", "ä")],
        [("x-webpubsub-metadata-a", "v" * 1025)],
        [(f"x-webpubsub-metadata-{number}", "v" * 1024) for number in range(8)],
    ],
)
def test_illegal_metadata_is_a_bad_request(lines: list[tuple[str, str]]) -> None:
    with pytest.raises(BadRequest):
        metadata_of(lines)
