"""What clients of the proxy ask for, and what leads to the server."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubwire.cli.faults import BadCommandLine
from hubwire.cli.target import NAMES, NotServed, Target, leads, parse_head, parse_name

# Heads of requests.


def head(line: str, *fields: str) -> bytes:
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("contoso.webpubsub.azure.com:443", Target("contoso.webpubsub.azure.com", 443)),
        ("Contoso.WebPubSub.Azure.COM:443", Target("contoso.webpubsub.azure.com", 443)),
        ("example.org.:443", Target("example.org", 443)),
        ("localhost:1", Target("localhost", 1)),
        ("a_b-c.example:65535", Target("a_b-c.example", 65535)),
        ("127.0.0.1:00080", Target("127.0.0.1", 80)),
        ("[::1]:443", Target("::1", 443)),
        ("[2001:DB8:0::0:1]:443", Target("2001:db8::1", 443)),
        (f"{'a' * 63}.example:443", Target(f"{'a' * 63}.example", 443)),
        (f"{'a.' * 127}:443", Target("a." * 126 + "a", 443)),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_host_and_port_are_read(target: str, version: str, expected: Target) -> None:
    fields = ("Host: somebody.else", "Proxy-Connection: keep-alive", "X: \xe4\t ", "Empty:")

    assert parse_head(head(f"CONNECT {target} HTTP/{version}")) == expected
    assert parse_head(head(f"CONNECT {target} HTTP/{version}", *fields)) == expected


@pytest.mark.parametrize(
    "target",
    [
        "example.org",
        "example.org:",
        "example.org:0",
        "example.org:65536",
        "example.org:000443",
        "example.org:+443",
        ":443",
        ".:443",
        "example..org:443",
        ".example.org:443",
        "example.org..:443",
        f"{'a' * 64}.example:443",
        f"{'a.' * 126}aa:443",
        "user@example.org:443",
        "https://example.org:443",
        "/",
        "*",
        "b\xfccher.example:443",
        "::1:443",
        "[::1]",
        "[::1]x:443",
        "[:::]:443",
        "[1.2.3.4]:443",
        "[fe80::1%25eth0]:443",
        "[example.org]:443",
    ],
)
def test_what_is_no_host_and_port_is_a_bad_request(target: str) -> None:
    with pytest.raises(NotServed) as refused:
        parse_head(head(f"CONNECT {target} HTTP/1.1"))

    assert refused.value.status == 400


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"\r\nCONNECT a:1 HTTP/1.1\r\n\r\n",
        head("CONNECT a:1"),
        head("CONNECT  a:1 HTTP/1.1"),
        head("CONNECT a:1 HTTP/1.1 "),
        head("CONNECT a:1 HTTP/2.0"),
        head("CONNECT a:1 http/1.1"),
        head("CONNECT a:1 b:2 HTTP/1.1"),
        head("CONNECT\ta:1 HTTP/1.1"),
        head("C(NNECT a:1 HTTP/1.1"),
        head("CONNECT a:1 HTTP/1.1", "no field"),
        head("CONNECT a:1 HTTP/1.1", "A : b"),
        head("CONNECT a:1 HTTP/1.1", " folded: x"),
        head("CONNECT a:1 HTTP/1.1", "A: b\nC: d"),
        head("CONNECT a:1 HTTP/1.1", "A: \0"),
        b"CONNECT a:1 HTTP/1.1\nA: b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_bad_request(data: bytes) -> None:
    with pytest.raises(NotServed) as refused:
        parse_head(data)

    assert refused.value.status == 400


@pytest.mark.parametrize("line", ["GET http://example.org/ HTTP/1.1", "HEAD / HTTP/1.1", "connect a:1 HTTP/1.1"])
def test_any_other_method_is_told_what_this_is(line: str) -> None:
    with pytest.raises(NotServed, match="only takes CONNECT") as refused:
        parse_head(head(line))
    status_line, *fields = refused.value.answer().partition(b"\r\n\r\n")[0].split(b"\r\n")

    assert status_line == b"HTTP/1.1 405 Method Not Allowed"
    assert b"Allow: CONNECT" in fields


@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(st.characters(max_codepoint=255), max_size=80).map(lambda text: head(f"CONNECT {text} HTTP/1.1")),
        st.text("[]0123456789abcdefABCDEF:.%-_", max_size=60).map(lambda text: head(f"CONNECT {text}:443 HTTP/1.1")),
    )
)
@example(head(f"CONNECT [{':' * 45}]:443 HTTP/1.1"))
def test_whatever_comes_is_a_target_or_answered_in_one_line(data: bytes) -> None:
    found = read(data)
    if isinstance(found, Target):
        assert found.host
        assert found.host == found.host.lower()
        assert 1 <= found.port <= 65535
        assert parse_head(head(f"CONNECT {found} HTTP/1.1")) == found
    else:
        answer, _, body = found.answer().partition(b"\r\n\r\n")
        assert answer.startswith(f"HTTP/1.1 {found.status} ".encode())
        assert f"\r\nContent-Length: {len(body)}\r\n".encode() in answer
        assert body.splitlines() == [body[:-1]]


def read(data: bytes) -> Target | NotServed:
    try:
        return parse_head(data)
    except NotServed as fault:
        return fault


# Names that lead to the server.


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("login.microsoftonline.com", 443, True),
        ("management.azure.com", 443, True),
        ("contoso.webpubsub.azure.com", 443, True),
        ("contoso.privatelink.webpubsub.azure.com", 443, True),
        ("a.communication.azure.com", 443, True),
        ("a.vault.azure.net", 443, False),
        ("contoso.webpubsub.azure.com", 80, False),
        ("contoso.webpubsub.azure.com", 8443, False),
        ("webpubsub.azure.com", 443, False),
        ("contosowebpubsub.azure.com", 443, False),
        ("a.login.microsoftonline.com", 443, False),
        ("login.microsoftonline.com.example.org", 443, False),
        ("contoso.webpubsub.azure.com.example.org", 443, False),
        ("example.org", 443, False),
    ],
)
def test_names_lead_to_the_server_on_the_port_of_https(host: str, port: int, expected: bool) -> None:
    assert leads(Target(host, port), NAMES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chat.example.org", "chat.example.org"),
        ("Chat.Example.ORG.", "chat.example.org"),
        ("*.Example.org", "*.example.org"),
        ("localhost", "localhost"),
        ("10.0.0.1", "10.0.0.1"),
        *((name, name) for name in NAMES),
    ],
)
def test_further_names_are_read(text: str, expected: str) -> None:
    assert parse_name(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.", ".", "a.*", "*a.example", "*.*.example", "https://a.example", "a.example:443", "a b", "a..b", "::1"]
    + ["a." * 127 + "a"],
)
def test_what_is_no_name_cannot_lead_anywhere(text: str) -> None:
    with pytest.raises(BadCommandLine, match="--name wants a host name"):
        parse_name(text)
