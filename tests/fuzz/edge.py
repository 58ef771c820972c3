"""What reads HTTP at the edge: heads, bodies, and what proxies say of a client."""

from typing import Final

import httptools
from hypothesis import strategies as st

from fuzz.inputs import TEXTS, cut, cuts, damaged
from fuzz.target import Target, size_of
from fuzz.wires import heads
from hubwire.edge.body import Body, ChunkedBody, FixedBody
from hubwire.edge.head import Head, RequestFault, parse_head, serialise
from hubwire.edge.proxies import TrustedProxies

__all__ = ["TARGETS"]


def _check_head(data: bytes) -> None:
    wire = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    try:
        head = parse_head(wire)
    except RequestFault as fault:
        assert fault.status in (400, 431, 501, 505)
        return
    _check_same(head, parse_head(serialise(head)))
    if not head.websocket:
        _check_seen_alike(head, wire if head.verbatim else serialise(head))


def _check_same(head: Head, again: Head) -> None:
    """What goes on to the HTTP server means the same to us."""
    assert (again.method, again.target, again.minor) == (head.method, head.target, head.minor)
    assert (again.length, again.chunked) == (head.length, head.chunked)
    # HTTP/1.0 needs no Host, so an absolute target may be the only place that named one.
    assert again.host == head.host or "host" not in head.fields
    assert not again.websocket
    assert b"\t" in serialise(head) or again.verbatim


class _Seen:
    """What the parser of the HTTP server behind sees."""

    def __init__(self) -> None:
        self.url = b""
        self.requests = 0
        self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.requests += 1


def _check_seen_alike(head: Head, wire: bytes) -> None:
    """The HTTP server behind finds the same request with the same end: nothing can be smuggled past the front."""
    seen = _Seen()
    parser = httptools.HttpRequestParser(seen)
    parser.feed_data(wire)
    assert parser.get_method().decode() == head.method
    assert seen.url.decode("latin-1") == head.target
    assert not parser.should_upgrade()
    if head.chunked:
        assert seen.requests == 0
        parser.feed_data(b"3\r\nabc\r\n0\r\n\r\n")
        assert seen.body == b"abc"
    elif head.length:
        assert seen.requests == 0
        if head.length > 1 << 16:
            return
        parser.feed_data(b"x" * head.length)
        assert len(seen.body) == head.length
    assert seen.requests == 1


def _check_body(data: bytes, sizes: list[int], length: int) -> None:
    for make in (ChunkedBody, lambda: FixedBody(length)):
        whole = _fed(make(), [data])
        pieces = _fed(make(), cut(data, sizes))
        assert pieces == whole


def _fed(body: Body, pieces: list[bytes]) -> tuple[bytes, bytes | None, bool]:
    """The payload, what is left behind it (None after a fault), and whether it is done."""
    payload = b""
    for number, piece in enumerate(pieces):
        try:
            wire, rest = body.feed(piece)
        except RequestFault as fault:
            assert fault.status == 400
            # Nothing of the piece with the fault goes anywhere, and what came before depends on the cut.
            return b"", None, False
        payload += _payload(wire) if isinstance(body, ChunkedBody) else wire
        assert size_of(body) < 20_000
        if body.done:
            return payload, rest + b"".join(pieces[number + 1 :]), True
        assert rest == b""
    return payload, b"", False


def _payload(wire: bytes) -> bytes:
    """Of our own chunks, which the HTTP server must understand."""
    payload = b""
    while wire:
        size, _, rest = wire.partition(b"\r\n")
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n"
        payload, wire = payload + rest[:length], rest[length + 2 :]
    return payload


def _check_proxies(lines: list[tuple[str, str]], trusted: list[str]) -> None:
    peer = "10.0.0.7"
    client, scheme, host = TrustedProxies(trusted).resolve(peer, lines, "http", "localhost")
    assert scheme in ("http", "https")
    # Whatever is believed has the form of what it stands for: it goes into logs and links.
    TrustedProxies([client])
    assert host.isascii()
    assert not set(host) & set(' /\\"\r\n\0@')


_PAIRS: Final = st.tuples(
    st.sampled_from(["X-Forwarded-For", "x-forwarded-proto", "X-FORWARDED-HOST", "Forwarded", "Accept"]),
    st.sampled_from(
        [
            "192.0.2.1",
            "10.0.0.7",
            "[::1]:80",
            "unknown",
            "_hidden",
            "https",
            "wss",
            "a.example:80",
            "999.1.1.1",
            "::ffff:10.0.0.7",
            "for=192.0.2.1;proto=https",
            'for="[::1]:1";host="a\\"b"',
            'for="',
            "for=10.0.0.7,,",
            "1" * 5000,
        ]
    )
    | TEXTS,
)
_chunks = st.lists(
    st.sampled_from(
        [
            b"5\r\nhello\r\n",
            b"0\r\n\r\n",
            b'3;ext="x"\r\nabc\r\n',
            b"FFFFFFFFFFFFFFF\r\n",
            b"10000000000000000\r\n",
            b"0\r\nTrailer: x\r\n\r\n",
            b"0\r\nT: " + b"x" * 9000 + b"\r\n\r\n",
            b"1" + b";a" * 400 + b"\r\nx\r\n",
            b"2\r\nab\n",
            b"GET / HTTP/1.1\r\n",
        ]
    ),
    max_size=6,
).map(b"".join)

TARGETS: Final = {
    "head": Target((damaged(heads()),), _check_head),
    "body": Target((damaged(_chunks), cuts, st.integers(1, 50)), _check_body),
    "proxies": Target(
        (st.lists(_PAIRS, max_size=5), st.sampled_from([[], ["10.0.0.0/8"], ["0.0.0.0/0", "::/0"]])), _check_proxies
    ),
}
