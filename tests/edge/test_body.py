"""Framing of request bodies: where they end, whatever pieces they come in, and what is refused."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.edge.body import ChunkedBody, FixedBody
from hubwire.edge.head import RequestFault


def unframed(wire: bytes) -> bytes:
    """What the HTTP server behind makes of chunks; it must find their end exactly at the end."""

    class Reader:
        body = b""
        ends = 0

        def on_body(self, data: bytes) -> None:
            self.body += data

        def on_message_complete(self) -> None:
            self.ends += 1

    reader = Reader()
    httptools.HttpRequestParser(reader).feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    assert reader.ends == 1
    return reader.body


def feed(body: ChunkedBody | FixedBody, pieces: list[bytes]) -> tuple[bytes, bytes]:
    wire, rest = b"", b""
    for piece in pieces:
        if body.done:
            rest += piece
        else:
            more, rest = body.feed(piece)
            wire += more
    return wire, rest


def split(data: bytes, cuts: set[int]) -> list[bytes]:
    ends = [*sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def test_fixed_body_ends_after_its_length() -> None:
    body = FixedBody(5)

    assert body.feed(b"abc") == (b"abc", b"")
    assert not body.done
    assert body.feed(b"deGET") == (b"de", b"GET")
    assert body.done


CHUNKED = b"5\r\nhello\r\n0A;name=value\r\n, world!!!\r\n000\r\nX-Trailer: 1\r\nAuthorization:\r\n\r\n"


def test_chunks_go_on_without_extensions_and_trailers() -> None:
    body = ChunkedBody()

    wire, rest = body.feed(CHUNKED + b"GET /")

    assert wire == b"f\r\nhello, world!!!\r\n0\r\n\r\n"
    assert rest == b"GET /"
    assert body.done


@given(st.sets(st.integers(1, len(CHUNKED) + 5)))
def test_chunks_split_anywhere_are_the_same_body(cuts: set[int]) -> None:
    body = ChunkedBody()

    wire, rest = feed(body, split(CHUNKED + b"GET /", cuts))

    assert unframed(wire) == b"hello, world!!!"
    assert rest == b"GET /"
    assert body.done


def test_chunks_that_come_byte_by_byte_are_the_same_body() -> None:
    body = ChunkedBody()

    wire, rest = feed(body, [bytes([byte]) for byte in CHUNKED])

    assert (unframed(wire), rest, body.done) == (b"hello, world!!!", b"", True)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.sets(st.integers(1, 400)))
def test_any_payload_survives_any_chunks_and_pieces(payload: list[bytes], cuts: set[int]) -> None:
    data = b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in payload) + b"0\r\n\r\n"
    body = ChunkedBody()

    wire, rest = feed(body, split(data, cuts))

    assert (unframed(wire), rest, body.done) == (b"".join(payload), b"", True)


BROKEN = {
    "no size": b"\r\nhello",
    "size in words": b"five\r\n",
    "signed size": b"+5\r\nhello\r\n",
    "prefixed size": b"0x5\r\nhello\r\n",
    "size with an underscore": b"1_0\r\nhello\r\n",
    "blank before the size": b" 5\r\nhello\r\n",
    "blank after the size": b"5 \r\nhello\r\n",
    "size of 16 digits": b"0000000000000005\r\nhello\r\n",
    "size line with a bare LF": b"5\nhello\r\n",
    "size line with a bare CR": b"5\rhello\r\n",
    "NUL in an extension": b"5;\x00\r\nhello\r\n",
    "extension without an end": b"5;" + b"x" * 600,
    "long extension": b"5;" + b"x" * 600 + b"\r\nhello\r\n",
    "chunk longer than its size": b"5\r\nhello!\r\n",
    "chunk that ends with LF": b"5\r\nhello\n",
    "chunk that ends with CR alone": b"5\r\nhello\r0\r\n",
    "trailer without a colon": b"0\r\nX\r\n\r\n",
    "trailer that is folded": b"0\r\nX: 1\r\n 2\r\n\r\n",
    "trailer with a bare LF": b"0\r\nX: 1\nY: 2\r\n\r\n",
    "trailer with a blank before its colon": b"0\r\nX : 1\r\n\r\n",
    "too many trailers": b"0\r\n" + b"X: 1234567\r\n" * 1000 + b"\r\n",
    "trailers without an end": b"0\r\nX: " + b"x" * 9000,
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_broken_chunks_are_refused(data: bytes) -> None:
    with pytest.raises(RequestFault) as caught:
        ChunkedBody().feed(data)

    assert caught.value.status == 400


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_broken_chunks_are_refused_byte_by_byte_before_anything_follows_them(data: bytes) -> None:
    body = ChunkedBody()

    with pytest.raises(RequestFault) as caught:
        feed(body, [bytes([byte]) for byte in data])

    assert caught.value.status == 400


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_chunks_or_a_fault(data: bytes, byte_by_byte: bool) -> None:
    fault = None
    try:
        feed(ChunkedBody(), [bytes([byte]) for byte in data] if byte_by_byte else [data])
    except RequestFault as refused:
        fault = refused

    assert fault is None or fault.status == 400
