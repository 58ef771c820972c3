"""
Messages of tunnels as bytes, built from the protocol's description and not with our own code: MessagePack with the
shortest head for each value, as the official tool's library has it.

Source: the tunnel protocol; the MessagePack specification.
"""

import json
from typing import Any, NamedTuple

from hubwire.upstream.tunnel_frames import (
    ConnectionClose,
    ConnectionConnected,
    ConnectionRebalance,
    ConnectionReconnect,
    HttpRequest,
    HttpResponse,
    ServiceStatus,
    TunnelMessage,
)

__all__ = ["ONLY_READ", "VECTORS", "Vector", "compact", "message_bytes", "packed", "prefixed", "unpacked"]


def _head(length: int, *forms: tuple[int, int]) -> bytes:
    """The first form (first byte, bytes of length behind it) that has room for a length."""
    for first, size in forms:
        if length < 1 << (8 * size):
            return bytes([first]) + length.to_bytes(size, "big")
    raise AssertionError("too long for MessagePack")


def _text(data: bytes) -> bytes:
    if len(data) < 32:
        return bytes([0xA0 | len(data)]) + data
    return _head(len(data), (0xD9, 1), (0xDA, 2), (0xDB, 4)) + data


def packed(number: int, text: str, content: bytes | None) -> bytes:
    """The array of three, without the length before it; `number` is 0 to 127."""
    body = b"\xc0" if content is None else _head(len(content), (0xC4, 1), (0xC5, 2), (0xC6, 4)) + content
    return bytes([0x93, number]) + _text(text.encode()) + body


def prefixed(data: bytes) -> bytes:
    """With its length before it."""
    return len(data).to_bytes(4, "little") + data


def compact(fields: dict[str, Any]) -> str:
    """JSON without blanks."""
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def message_bytes(number: int, content: bytes | None = None, **fields: Any) -> bytes:
    """A whole message."""
    return prefixed(packed(number, compact({"Type": number, **fields}), content))


def unpacked(data: bytes) -> tuple[int, dict[str, Any], bytes]:
    """Type, fields and body of one whole message; the length of `data` must be that of the message."""
    assert int.from_bytes(data[:4], "little") == len(data) - 4
    assert data[4] == 0x93
    number, position = data[5], 6
    assert number < 0x80
    text, position = _element(data, position, {0xD9: 1, 0xDA: 2, 0xDB: 4})
    content = b""
    if data[position] == 0xC0:
        position += 1
    else:
        content, position = _element(data, position, {0xC4: 1, 0xC5: 2, 0xC6: 4})
    assert position == len(data)
    fields = json.loads(text)
    assert fields["Type"] == number
    return number, fields, content


def _element(data: bytes, position: int, forms: dict[int, int]) -> tuple[bytes, int]:
    """A text or bytes, and where it ends."""
    first = data[position]
    if 0xA0 <= first < 0xC0:
        start, length = position + 1, first & 0x1F
    else:
        start = position + 1 + forms[first]
        length = int.from_bytes(data[position + 1 : start], "big")
    return data[start : start + length], start + length


class Vector(NamedTuple):
    """A message, and what is on the wire for it; both ways."""

    message: TunnelMessage
    content: bytes | None
    wire: bytes

    def __str__(self) -> str:
        return type(self.message).__name__


_HEADERS: dict[str, list[str] | str | None] = {"ce-type": ["azure.webpubsub.sys.connect"], "x": ["1", "2"]}

VECTORS = (
    # Byte for byte, to have one that needs no helper to be believed.
    Vector(ConnectionClose("bye"), None, b'\x1e\x00\x00\x00\x93\x07\xba{"Type":7,"Message":"bye"}\xc0'),
    Vector(
        HttpRequest(1, "POST", "tunnel:///eventhandler?a=1", _HEADERS),
        b"{}",
        message_bytes(
            1,
            b"{}",
            AckId=1,
            HttpMethod="POST",
            Url="tunnel:///eventhandler?a=1",
            Headers=_HEADERS,
            LocalRouting=False,
            ChannelName="",
        ),
    ),
    Vector(
        HttpResponse(2**31 - 1, 204, {}, tracing_id=2**64 - 1),
        b"",
        message_bytes(
            2,
            b"",
            AckId=2**31 - 1,
            StatusCode=204,
            Headers={},
            NotCompleted=False,
            LocalRouting=False,
            ChannelName="",
            TracingId=2**64 - 1,
        ),
    ),
    Vector(
        HttpResponse(7, 200, {"x": ["é"]}, not_completed=True, local_routing=True, channel_name="c"),
        b"\x00\xff" * 40_000,
        message_bytes(
            2,
            b"\x00\xff" * 40_000,
            AckId=7,
            StatusCode=200,
            Headers={"x": ["é"]},
            NotCompleted=True,
            LocalRouting=True,
            ChannelName="c",
        ),
    ),
    Vector(ServiceStatus("Ünï"), None, message_bytes(5, Message="Ünï")),
    Vector(
        ConnectionReconnect("t", "https://other.example", "moved"),
        None,
        message_bytes(6, TargetId="t", Endpoint="https://other.example", Message="moved"),
    ),
    Vector(ConnectionRebalance("t"), None, message_bytes(8, TargetId="t", Endpoint="", Message="")),
    Vector(
        ConnectionConnected("c" * 300, "u", None),
        None,
        message_bytes(10, ConnectionId="c" * 300, UserId="u", ReconnectionToken=None),
    ),
)

ONLY_READ: tuple[tuple[str, bytes, TunnelMessage, bytes], ...] = (
    (
        "response as the tool writes it: no TracingId, names it does not know",
        message_bytes(2, b"ok", AckId=1, LocalRouting=True, StatusCode=200, ChannelName="", Later=[{"x": None}]),
        HttpResponse(1, 200, local_routing=True),
        b"ok",
    ),
    (
        "response as .NET writes it: null wherever it may be",
        message_bytes(
            2, None, AckId=1, StatusCode=500, TracingId=None, Headers=None, LocalRouting=None, ChannelName=None
        ),
        HttpResponse(1, 500, None, local_routing=None, channel_name=None, tracing_id=None),
        b"",
    ),
    (
        "headers with one text or null for a list",
        message_bytes(2, b"", AckId=1, StatusCode=200, Headers={"a": "x", "b": None, "c": []}),
        HttpResponse(1, 200, {"a": "x", "b": None, "c": []}),
        b"",
    ),
    ("array without its third element", prefixed(b'\x92\x07\xaf{"Message":"m"}'), ConnectionClose("m"), b""),
    ("array with a fourth element", prefixed(b"\x94\x07\xa2{}\xc0\x91\x01"), ConnectionClose(""), b""),
    ("JSON without its type", prefixed(packed(5, '{"Message":null}', None)), ServiceStatus(None), b""),
)
"""What a lenient reader understands too: a name, the bytes, and the message with its body."""
