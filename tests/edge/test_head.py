"""Request heads: what is understood, what is refused and with which status, and that nothing else ever happens."""

from typing import Any

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubwire.edge.head import MAX_HEADERS, Head, RequestFault, is_authority, parse_head, serialise


def head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


def status_of(data: bytes) -> int:
    with pytest.raises(RequestFault) as caught:
        parse_head(data)
    return caught.value.status


# What is understood


def test_request_is_read_with_headers_in_their_own_spelling_and_order() -> None:
    parsed = parse_head(head("GET /a%2Fb?x=1 HTTP/1.1", "hOsT: Example.com:8080", "X-One:1", "x-one: \t two words \t"))

    assert parsed == Head(
        method="GET",
        target="/a%2Fb?x=1",
        minor=1,
        headers=(("hOsT", "Example.com:8080"), ("X-One", "1"), ("x-one", "two words")),
        fields={"host": ["Example.com:8080"], "x-one": ["1", "two words"]},
        host="example.com:8080",
        length=0,
        chunked=False,
        last=False,
        websocket=False,
        expects_continue=False,
        verbatim=False,  # for its tabs
    )


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("/", "/", "h"),
        ("/x?", "/x?", "h"),
        ("//two//slashes", "//two//slashes", "h"),
        ('/client/hubs/a`,.[]?q={}|^\\"<>', '/client/hubs/a`,.[]?q={}|^\\"<>', "h"),
        ("http://Other.example:81/x?y", "/x?y", "other.example:81"),
        ("HTTPS://other", "/", "other"),
        ("http://other?q=/", "/?q=/", "other"),
        ("http://[::1]:80//x", "//x", "[::1]:80"),
    ],
)
def test_target_becomes_origin_form_and_its_authority_outranks_host(target: str, path: str, host: str) -> None:
    parsed = parse_head(head(f"GET {target} HTTP/1.1", "Host: H"))

    assert (parsed.target, parsed.host) == (path, host)
    assert parsed.verbatim == (path == target)


def test_asterisk_is_the_target_of_options_only() -> None:
    assert parse_head(head("OPTIONS * HTTP/1.1", "Host: h")).target == "*"
    assert status_of(head("GET * HTTP/1.1", "Host: h")) == 400


@pytest.mark.parametrize(
    ("lines", "length", "chunked"),
    [
        ([], 0, False),
        (["Content-Length: 0"], 0, False),
        (["content-length:\t17 "], 17, False),
        (["Content-Length: 999999999999999"], 999_999_999_999_999, False),
        (["Transfer-Encoding: chunked"], 0, True),
        (["transfer-encoding: CHUNKED"], 0, True),
    ],
)
def test_body_is_announced_by_one_length_or_by_chunks(lines: list[str], length: int, chunked: bool) -> None:
    parsed = parse_head(head("POST / HTTP/1.1", "Host: h", *lines))

    assert (parsed.length, parsed.chunked) == (length, chunked)


@pytest.mark.parametrize(
    ("version", "lines", "last"),
    [
        ("1.1", [], False),
        ("1.1", ["Connection: keep-alive"], False),
        ("1.1", ["Connection: Foo , CLOSE"], True),
        ("1.1", ["Connection: foo", "Connection: close"], True),
        ("1.0", [], True),
        ("1.0", ["Connection: keep-alive"], True),
    ],
)
def test_last_request_of_a_connection_is_known(version: str, lines: list[str], last: bool) -> None:
    assert parse_head(head(f"GET / HTTP/{version}", "Host: h", *lines)).last is last


def test_http_1_0_needs_no_host() -> None:
    assert parse_head(head("GET / HTTP/1.0")).host == ""


def test_leave_to_send_a_body_is_asked_for_by_http_1_1_only() -> None:
    lines = ("Host: h", "Content-Length: 1", "Expect: 100-Continue")

    assert parse_head(head("PUT / HTTP/1.1", *lines)).expects_continue
    assert not parse_head(head("PUT / HTTP/1.0", *lines)).expects_continue


# Upgrades


@pytest.mark.parametrize(
    "lines",
    [
        ["Connection: Upgrade", "Upgrade: websocket"],
        ["connection: keep-alive, UPGRADE", "UPGRADE: WebSocket"],
        ["Connection: keep-alive", "Connection: upgrade", "Upgrade: h2c, websocket/13"],
        ["Connection: upgrade", "Upgrade: websocket", "Content-Length: 0"],
    ],
)
def test_websocket_upgrade_is_recognised(lines: list[str]) -> None:
    assert parse_head(head("GET /client/hubs/h HTTP/1.1", "Host: h", *lines)).websocket


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("GET / HTTP/1.1", ["Upgrade: websocket"]),
        ("GET / HTTP/1.1", ["Connection: upgrade"]),
        ("GET / HTTP/1.1", ["Connection: upgrade", "Upgrade: h2c"]),
        ("GET / HTTP/1.0", ["Connection: upgrade", "Upgrade: websocket"]),
        ("POST / HTTP/1.1", ["Connection: upgrade", "Upgrade: websocket"]),
    ],
)
def test_other_offers_are_plain_requests_and_go_on_without_the_offer(line: str, lines: list[str]) -> None:
    parsed = parse_head(head(line, "Host: h", *lines))

    assert not parsed.websocket
    assert not parsed.verbatim
    assert serialise(parsed) == head(line, "Host: h")


def test_upgrade_with_a_body_is_refused() -> None:
    lines = ("Host: h", "Connection: upgrade", "Upgrade: websocket")

    assert status_of(head("GET / HTTP/1.1", *lines, "Content-Length: 1")) == 400
    assert status_of(head("GET / HTTP/1.1", *lines, "Transfer-Encoding: chunked")) == 400


def test_offer_of_http_2_is_taken_out_and_the_rest_stays() -> None:
    offered = head(
        "POST http://Name/x HTTP/1.1",
        "HOST: ignored",
        "Connection: Upgrade, HTTP2-Settings, close",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        "Content-Length: 3",
        "X-Name: \xe9",
    )

    expected = head("POST /x HTTP/1.1", "HOST: name", "Connection: close", "Content-Length: 3", "X-Name: \xe9")
    assert serialise(parse_head(offered)) == expected


# What is refused

SMUGGLING = {
    "length and coding": ["Content-Length: 3", "Transfer-Encoding: chunked"],
    "coding and length": ["Transfer-Encoding: chunked", "Content-Length: 3"],
    "two lengths": ["Content-Length: 3", "Content-Length: 4"],
    "the same length twice": ["Content-Length: 3", "content-length: 3"],
    "a list of lengths": ["Content-Length: 3, 3"],
    "signed length": ["Content-Length: +3"],
    "negative length": ["Content-Length: -3"],
    "hexadecimal length": ["Content-Length: 0x3"],
    "length in words": ["Content-Length: three"],
    "length in foreign digits": ["Content-Length: \xb2"],
    "length with a gap": ["Content-Length: 3 0"],
    "empty length": ["Content-Length: "],
    "huge length": ["Content-Length: 9999999999999999"],
    "two codings": ["Transfer-Encoding: gzip, chunked"],
    "two lines of codings": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "unknown coding": ["Transfer-Encoding: xchunked"],
    "coding with a parameter": ["Transfer-Encoding: chunked;q=1"],
    "coding in quotes": ['Transfer-Encoding: "chunked"'],
    "coding with a vertical tab": ["Transfer-Encoding: \x0bchunked"],
    "empty coding": ["Transfer-Encoding:"],
    "identity": ["Transfer-Encoding: identity"],
    "blank before the colon": ["Transfer-Encoding : chunked"],
    "tab before the colon": ["Content-Length\t: 3"],
    "folded header": ["X-A: 1", " Transfer-Encoding: chunked"],
    "header without a colon": ["Transfer-Encoding chunked"],
    "header without a name": [": chunked"],
    "name that is no token": ["Content(Length): 3"],
    "name that is not ASCII": ["Content-Length\xa0: 3"],
    "bare LF": ["X-A: 1\nTransfer-Encoding: chunked"],
    "bare CR": ["X-A: 1\rTransfer-Encoding: chunked"],
    "NUL in a value": ["X-A: 1\x00"],
    "control character in a value": ["X-A: \x1b[1m"],
    "DEL in a value": ["X-A: \x7f"],
    "second Host": ["Host: h"],
    "empty line among the headers": ["", "X-A: 1"],
}


@pytest.mark.parametrize("lines", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_what_two_readers_could_understand_differently_is_refused(lines: list[str]) -> None:
    assert status_of(head("POST / HTTP/1.1", "Host: h", *lines)) == 400


def test_chunks_in_http_1_0_are_refused() -> None:
    assert status_of(head("POST / HTTP/1.0", "Host: h", "Transfer-Encoding: chunked")) == 400


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/0.9", 505),
        ("PRI * HTTP/2.0", 505),
        ("GET / http/1.1", 400),
        ("GET / HTTP/11", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("GET /", 400),
        ("", 400),
        ("G(T / HTTP/1.1", 400),
        ("get / HTTP/1.1", 501),
        ("BREW / HTTP/1.1", 501),
        ("CONNECT h:443 HTTP/1.1", 501),
        ("GET h:443 HTTP/1.1", 400),
        ("GET path HTTP/1.1", 400),
        ("GET /a#b HTTP/1.1", 400),
        ("GET /\xe9 HTTP/1.1", 400),
        ("GET /\x00 HTTP/1.1", 400),
        ("GET /\x7f HTTP/1.1", 400),
        ("GET /\n HTTP/1.1", 400),
        ("GET ftp://h/ HTTP/1.1", 400),
        ("GET http:///x HTTP/1.1", 400),
        ("GET http://user@h/x HTTP/1.1", 400),
        ("GET http://h:99999/x HTTP/1.1", 400),
    ],
)
def test_request_line_that_cannot_be_served_is_refused(line: str, status: int) -> None:
    assert status_of(head(line, "Host: h")) == status


@pytest.mark.parametrize("lines", [[], ["Host:"], ["Host: "], ["Host: a b"], ["Host: a/b"], ["Host: a, b"]])
def test_http_1_1_needs_one_good_host(lines: list[str]) -> None:
    assert status_of(head("GET / HTTP/1.1", *lines)) == 400
    assert status_of(head("GET http://h/ HTTP/1.1", *lines)) == 400


def test_number_of_headers_is_bounded() -> None:
    most = ["X: 1"] * (MAX_HEADERS - 1)

    assert len(parse_head(head("GET / HTTP/1.1", "Host: h", *most)).headers) == MAX_HEADERS
    assert status_of(head("GET / HTTP/1.1", "Host: h", *most, "X: 1")) == 431


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n"]
)
def test_head_without_an_end_is_refused(data: bytes) -> None:
    assert status_of(data) == 400


def test_fault_repeats_nothing_of_what_was_sent() -> None:
    with pytest.raises(RequestFault) as caught:
        parse_head(head("GET /?access_token=secret HTTP/1.1", "Host: h", "Authorization : Bearer secret"))

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["h", "localhost:8080", "my_service", "a.b-c.d.", "127.0.0.1:1", "[::1]", "[::1]:65535", "[::ffff:1.2.3.4]", "1"],
)
def test_authority(text: str) -> None:
    assert is_authority(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "h:",
        "h:x",
        "h:65536",
        "h:123456",
        "u@h",
        "::1",
        "[::1",
        "[::1]x",
        "[1.2.3.4]",
        "[::g]",
        "h/",
        "h h",
        "ä",
    ],
)
def test_no_authority(text: str) -> None:
    assert not is_authority(text)


# Whatever arrives

TOKENS = st.text("abcXYZ019-_!#$%&'*+.^`|~", min_size=1, max_size=12)
VALUES = st.text([chr(code) for code in range(256) if code == 9 or (code >= 32 and code != 127)], max_size=30).map(
    lambda text: text.strip(" \t")
)
TARGETS = st.text([chr(code) for code in range(0x21, 0x7F) if chr(code) != "#"], max_size=40).map(
    lambda text: "/" + text
)
# No name that decides something can be spelled with these letters; those have their own vectors above.
HEADERS = st.lists(st.tuples(TOKENS, VALUES), max_size=20)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])


def parsed_or_refused(data: bytes) -> Head | None:
    try:
        return parse_head(data)
    except RequestFault as refused:
        fault = refused
    assert fault.status in {400, 431, 501, 505}
    return None


@given(st.binary(max_size=300))
@example(b"GET / HTTP/1.1\r\n\r\n\r\n")
def test_any_bytes_are_a_head_or_a_fault(data: bytes) -> None:
    parsed_or_refused(data)
    parsed_or_refused(b"GET / HTTP/1.1\r\nHost: h\r\n" + data + b"\r\n\r\n")
    parsed_or_refused(b"GET " + data + b" HTTP/1.1\r\nHost: h\r\n\r\n")


@given(METHODS, TARGETS, HEADERS, st.sampled_from(["", " ", "\t", " \t "]), st.sampled_from(["", " ", "\t "]))
def test_head_built_from_parts_is_read_as_these_parts(
    method: str, target: str, headers: list[tuple[str, str]], before: str, after: str
) -> None:
    lines = [f"{name}:{before}{value}{after}" for name, value in headers]

    parsed = parse_head(head(f"{method} {target} HTTP/1.1", "Host: h", *lines))

    assert (parsed.method, parsed.target) == (method, target)
    assert parsed.headers == (("Host", "h"), *headers)
    again = parse_head(serialise(parsed))
    assert (again.method, again.target, again.headers) == (parsed.method, parsed.target, parsed.headers)


class Reader:
    """The parser of the HTTP server behind: the second reader of each head."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[str, str]] = []
        self.complete = False
        self.parser: Any = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_message_complete(self) -> None:
        self.complete = True


PIECES = st.sampled_from(
    [
        "Content-Length: 0",
        "Content-Length: 07",
        "content-length:\t7\t",
        "Content-Length: 7, 7",
        "Content-Length: 7\x0b",
        "Transfer-Encoding: Chunked",
        "Transfer-Encoding: chunked\t ",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: chunked,",
        "Connection: close",
        "Connection: Keep-Alive, close",
        "Connection: upgrade",
        "Connection: Upgrade, HTTP2-Settings",
        "Connection:",
        "Upgrade: h2c",
        "Upgrade:",
        "Upgrade: websocket",
        "HTTP2-Settings: x",
        "Expect: 100-continue",
        "Keep-Alive: 1",
        "Proxy-Connection: keep-alive",
        "X-Empty:",
        "X-Folded: 1\r\n 2",
        "X-\xe9: 1",
    ]
)


@given(METHODS, TARGETS, st.sampled_from(["1.0", "1.1"]), st.lists(PIECES | VALUES.map("X: {}".format), max_size=5))
def test_what_goes_on_is_understood_by_the_http_server_as_here(
    method: str, target: str, version: str, lines: list[str]
) -> None:
    data = head(f"{method} {target} HTTP/{version}", "Host: h", *lines)
    parsed = parsed_or_refused(data)
    if parsed is None or parsed.websocket:
        return
    reader = Reader()

    reader.parser.feed_data(data if parsed.verbatim else serialise(parsed))

    assert (reader.parser.get_method().decode(), reader.url.decode()) == (method, target)
    assert reader.complete == (not parsed.length and not parsed.chunked)
    assert not reader.parser.should_upgrade()
    assert reader.parser.should_keep_alive() or parsed.last
    if parsed.verbatim:
        assert [(name, value.strip(" \t")) for name, value in reader.headers] == list(parsed.headers)
