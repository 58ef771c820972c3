"""
What WebSocket clients may and may not send, as data: for the reader of frames and for the server as a whole.

The frames are built here, byte by byte, and not with our own code: most of them must be wrong in one place.
"""

from collections.abc import Iterator
from itertools import cycle
from operator import xor
from typing import NamedTuple

__all__ = [
    "BAD_TEXTS",
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "EXCHANGES",
    "LIMIT",
    "MASK",
    "PING",
    "PONG",
    "TEXT",
    "UNFINISHED_TEXTS",
    "Exchange",
    "client_frame",
    "cuts",
    "fragments",
    "masked",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
CONTROL = (CLOSE, PING, PONG)
NAMES = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}

LIMIT = 1 << 20
"""Bytes of payload that a message may have."""

MASK = bytes.fromhex("a9005c3e")


class Exchange(NamedTuple):
    """
    Attributes:
        stream: what a client sends.
        events: what it said by that: opcode and payload; of a close, code (or None) and reason.
        fault: the close code with which it is refused after these events; None for a legal stream.
    """

    name: str
    stream: bytes
    events: tuple[tuple[int, object], ...] = ()
    fault: int | None = None

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def masked(data: bytes, mask: bytes) -> bytes:
    """The definition of RFC 6455, 5.3, without any art; it is its own reverse."""
    return bytes(map(xor, data, cycle(mask)))


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    length_bytes: int | None = None,
    announced: int | None = None,
) -> bytes:
    """
    One frame, legal by default.

    Args:
        rsv: the three reserved bits, 0 to 7.
        mask: None for an unmasked frame.
        length_bytes: 0, 2 or 8 bytes for the length besides the first seven bits; None for the shortest form.
        announced: the length that the head states; None for the truth.
    """
    length = len(payload) if announced is None else announced
    if length_bytes is None:
        length_bytes = 0 if length < 126 else 2 if length < 65536 else 8
    seven_bits = {0: length, 2: 126, 8: 127}[length_bytes]
    head = bytes([fin << 7 | rsv << 4 | opcode, (mask is not None) << 7 | seven_bits])
    extended = length.to_bytes(length_bytes, "big") if length_bytes else b""
    return head + extended + (payload if mask is None else mask + masked(payload, mask))


def fragments(opcode: int, *parts: bytes) -> bytes:
    """One message in as many frames as there are parts."""
    last = len(parts) - 1
    return b"".join(
        client_frame(CONTINUATION if index else opcode, part, fin=index == last) for index, part in enumerate(parts)
    )


def cuts(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All ways to cut `data` in two, empty halves included."""
    return ((data[:at], data[at:]) for at in range(len(data) + 1))


def close(code: int, reason: bytes = b"") -> bytes:
    """A close frame."""
    return client_frame(CLOSE, code.to_bytes(2, "big") + reason)


# What UTF-8 is not (RFC 3629). The first three bytes of each row are in order.
BAD_TEXTS: dict[str, bytes] = {
    "a continuation byte that continues nothing": b"abc\x80def",
    "a lead byte before a letter": b"abc\xc3def",
    "three bytes cut to two": b"abc\xe2\x82def",
    "four bytes cut to three": b"abc\xf0\x9f\x8ddef",
    "two bytes for one that fits in one": b"abc\xc1\xbf",
    "three bytes for one that fits in two": b"abc\xe0\x9f\xbf",
    "four bytes for one that fits in three": b"abc\xf0\x8f\xbf\xbf",
    "the first surrogate": b"abc\xed\xa0\x80",
    "the last surrogate": b"abc\xed\xbf\xbf",
    "a pair of surrogates": b"abc\xed\xa0\xbd\xed\xb8\x80",
    "one past the last code point": b"abc\xf4\x90\x80\x80",
    "a lead byte that leads nowhere": b"abc\xf5\x80\x80\x80",
    "a form of five bytes": b"abc\xf8\x88\x80\x80\x80",
    "a form of six bytes": b"abc\xfc\x84\x80\x80\x80\x80",
    "byte 254": b"abc\xfe",
    "byte 255": b"abc\xff",
}

# Wrong only because nothing follows.
UNFINISHED_TEXTS: dict[str, bytes] = {
    "one byte of two": b"abc\xc3",
    "one byte of three": b"abc\xe2",
    "two bytes of three": b"abc\xe2\x82",
    "one byte of four": b"abc\xf0",
    "two bytes of four": b"abc\xf0\x9f",
    "three bytes of four": b"abc\xf0\x9f\x8d",
}

GOOD_TEXTS: dict[str, str] = {
    "letters": "plain words",
    "a zero character": "a\0b",
    "two, three and four bytes": "Grüße, 世界, 🍕 und 𝄞",
    "the ends of each length": "\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff",
    "the neighbours of the surrogates": "\ud7ff\ue000",
    "no characters by name": "\ufffe\uffff\ufdd0\U0001fffe",
    "a byte order mark": "\ufeffx",
}

GOOD_CLOSE_CODES = (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999)
BAD_CLOSE_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)


def _whole_messages() -> Iterator[Exchange]:
    for size in (0, 1, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537):
        text = ("0123456789" * (size // 10 + 1))[:size]
        blob = bytes(range(256)) * (size // 256) + bytes(range(255, 255 - size % 256, -1))
        yield Exchange(f"text of {size} bytes", client_frame(TEXT, text.encode()), ((TEXT, text),))
        yield Exchange(f"binary of {size} bytes", client_frame(BINARY, blob), ((BINARY, blob),))
    for mask in (bytes(4), b"\xff" * 4, b"\0\0\0\1", b"\x80\0\0\0"):
        for size in (1, 2, 3, 4, 5, 7):
            text = "masking"[:size]
            stream = client_frame(TEXT, text.encode(), mask=mask)
            yield Exchange(f"text of {size} under mask {mask.hex()}", stream, ((TEXT, text),))
    for name, text in GOOD_TEXTS.items():
        yield Exchange(f"text of {name}", client_frame(TEXT, text.encode()), ((TEXT, text),))
    many = tuple(f"message {number}" for number in range(50))
    stream = b"".join(client_frame(TEXT, text.encode()) for text in many)
    yield Exchange("fifty texts", stream, tuple((TEXT, text) for text in many))
    mixed = client_frame(TEXT, b"a") + client_frame(BINARY, b"b") + client_frame(TEXT) + client_frame(BINARY)
    yield Exchange("texts and binaries in turn", mixed, ((TEXT, "a"), (BINARY, b"b"), (TEXT, ""), (BINARY, b"")))


def _fragmented_messages() -> Iterator[Exchange]:
    for name, parts in {
        "two": (b"one ", b"two"),
        "three": (b"one ", b"two ", b"three"),
        "an empty one first": (b"", b"x"),
        "an empty one between": (b"x", b"", b"y"),
        "an empty one last": (b"x", b""),
        "only empty ones": (b"", b"", b""),
        "all lengths": (b"x" * 125, b"x" * 126, b"x" * 65536, b"x"),
    }.items():
        whole = b"".join(parts)
        yield Exchange(f"text in fragments, {name}", fragments(TEXT, *parts), ((TEXT, whole.decode()),))
        yield Exchange(f"binary in fragments, {name}", fragments(BINARY, *parts), ((BINARY, whole),))
    twice = fragments(TEXT, b"a", b"b") + fragments(BINARY, b"c", b"d") + client_frame(TEXT, b"e")
    yield Exchange("one fragmented message after another", twice, ((TEXT, "ab"), (BINARY, b"cd"), (TEXT, "e")))
    text = GOOD_TEXTS["two, three and four bytes"]
    for position, (left, right) in enumerate(cuts(text.encode())):
        yield Exchange(f"text cut at byte {position}", fragments(TEXT, left, right), ((TEXT, text),))
    bytewise = fragments(TEXT, *(bytes([byte]) for byte in text.encode()))
    yield Exchange("text with a fragment for each byte", bytewise, ((TEXT, text),))
    # Not text, so it need not be UTF-8.
    yield Exchange("binary in fragments, not text", fragments(BINARY, b"\xff", b"\xc3"), ((BINARY, b"\xff\xc3"),))


def _control_frames() -> Iterator[Exchange]:
    for size in (0, 1, 124, 125):
        payload = bytes(range(130, 130 + size))
        yield Exchange(f"ping of {size} bytes", client_frame(PING, payload), ((PING, payload),))
        yield Exchange(f"unsolicited pong of {size} bytes", client_frame(PONG, payload), ((PONG, payload),))
    pings = tuple((PING, b"%d" % number) for number in range(10))
    yield Exchange("ten pings", b"".join(client_frame(PING, payload) for _, payload in pings), pings)
    for opcode in (PING, PONG):
        between = client_frame(opcode, b"now")
        first, last = client_frame(TEXT, b"be", fin=False), client_frame(CONTINUATION, b"fore")
        events = (opcode, b"now"), (TEXT, "before")
        yield Exchange(f"a {NAMES[opcode]} between fragments", first + between + last, events)
        yield Exchange(f"three {NAMES[opcode]}s between fragments", first + 3 * between + last, events[:1] * 2 + events)
        inside = client_frame(TEXT, b"\xe2", fin=False) + between + client_frame(CONTINUATION, b"\x82\xac")
        yield Exchange(f"a {NAMES[opcode]} inside a character", inside, ((opcode, b"now"), (TEXT, "€")))


def _closes() -> Iterator[Exchange]:
    yield Exchange("close without a code", client_frame(CLOSE), ((CLOSE, (None, "")),))
    for code in GOOD_CLOSE_CODES:
        yield Exchange(f"close with code {code}", close(code), ((CLOSE, (code, "")),))
    for reason in ("done", "Grüße, 世界, 🍕", "x" * 123, "€" * 41):
        name = f"close with a reason of {len(reason)} characters"
        yield Exchange(name, close(1000, reason.encode()), ((CLOSE, (1000, reason)),))
    begun = client_frame(TEXT, b"never ended", fin=False)
    yield Exchange("close inside a fragmented message", begun + close(1000), ((CLOSE, (1000, "")),))
    yield Exchange("close after a ping", client_frame(PING, b"p") + close(1001), ((PING, b"p"), (CLOSE, (1001, ""))))
    ended = ((CLOSE, (1000, "")),)
    yield Exchange("text after close", close(1000) + client_frame(TEXT, b"too late"), ended)
    yield Exchange("ping after close", close(1000) + client_frame(PING, b"too late"), ended)
    yield Exchange("a second close", close(1000) + close(1001), ended)
    yield Exchange("garbage after close", close(1000) + b"\xff" * 40, ended)
    yield Exchange("half a frame after close", close(1000) + client_frame(TEXT, b"too late")[:5], ended)


def _broken_framing() -> Iterator[Exchange]:
    for opcode in (TEXT, BINARY, *CONTROL):
        for rsv in range(1, 8):
            yield Exchange(f"{NAMES[opcode]} with reserved bits {rsv}", client_frame(opcode, rsv=rsv), fault=1002)
    begun = client_frame(TEXT, b"begun", fin=False)
    for rsv in range(1, 8):
        stream = begun + client_frame(CONTINUATION, b"x", rsv=rsv)
        yield Exchange(f"continuation with reserved bits {rsv}", stream, fault=1002)
    for opcode in (*range(3, 8), *range(11, 16)):
        for payload in (b"", b"some"):
            stream = client_frame(opcode, payload)
            yield Exchange(f"reserved opcode {opcode} with {len(payload)} bytes", stream, fault=1002)
        yield Exchange(f"reserved opcode {opcode} without end", client_frame(opcode, fin=False), fault=1002)
        yield Exchange(f"reserved opcode {opcode} between fragments", begun + client_frame(opcode), fault=1002)
    for opcode in (TEXT, BINARY, *CONTROL):
        for payload in (b"", b"\x03\xe8", b"x" * 100):
            stream = client_frame(opcode, payload, mask=None)
            yield Exchange(f"unmasked {NAMES[opcode]} of {len(payload)} bytes", stream, fault=1002)
    yield Exchange("unmasked text of 300 bytes", client_frame(TEXT, b"x" * 300, mask=None), fault=1002)
    yield Exchange("unmasked continuation", begun + client_frame(CONTINUATION, b"x", mask=None), fault=1002)


def _broken_control_frames() -> Iterator[Exchange]:
    for opcode in CONTROL:
        name = NAMES[opcode]
        for size in (126, 65536):
            stream = client_frame(opcode, b"\x03\xe8" + b"x" * (size - 2))
            yield Exchange(f"{name} of {size} bytes", stream, fault=1002)
        yield Exchange(f"{name} that announces 126 bytes", client_frame(opcode, announced=126), fault=1002)
        for length_bytes in (2, 8):
            stream = client_frame(opcode, b"\x03\xe8", length_bytes=length_bytes)
            yield Exchange(f"{name} of 2 bytes in {length_bytes} bytes of length", stream, fault=1002)
        yield Exchange(f"fragmented {name}", client_frame(opcode, b"\x03\xe8", fin=False), fault=1002)
    halves = client_frame(PING, b"p", fin=False) + client_frame(CONTINUATION, b"q")
    yield Exchange("ping in two fragments", halves, fault=1002)
    yield Exchange("close with half a code", client_frame(CLOSE, b"\x03"), fault=1002)
    for code in BAD_CLOSE_CODES:
        yield Exchange(f"close with code {code}", close(code), fault=1002)
        yield Exchange(f"close with code {code} and a reason", close(code, b"why"), fault=1002)


def _broken_order() -> Iterator[Exchange]:
    begun = client_frame(TEXT, b"begun", fin=False)
    ping = client_frame(PING, b"p")
    for fin in (True, False):
        end = "end" if fin else "more to come"
        lone = client_frame(CONTINUATION, b"x", fin=fin)
        yield Exchange(f"continuation of nothing, {end}", lone, fault=1002)
        yield Exchange(
            f"continuation after a whole message, {end}", client_frame(TEXT, b"a") + lone, ((TEXT, "a"),), 1002
        )
        yield Exchange(f"continuation after the last, {end}", fragments(TEXT, b"a", b"b") + lone, ((TEXT, "ab"),), 1002)
        yield Exchange(f"continuation after a ping, {end}", ping + lone, ((PING, b"p"),), 1002)
        for opcode in (TEXT, BINARY):
            new = client_frame(opcode, b"x", fin=fin)
            name = f"{NAMES[opcode]} inside a fragmented text"
            yield Exchange(f"{name}, {end}", begun + new, fault=1002)
            yield Exchange(f"{name}, after a ping, {end}", begun + ping + new, ((PING, b"p"),), 1002)


def _broken_lengths() -> Iterator[Exchange]:
    for opcode in (TEXT, BINARY):
        for size, length_bytes in ((0, 2), (1, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65535, 8)):
            stream = client_frame(opcode, b"x" * size, length_bytes=length_bytes)
            yield Exchange(f"{NAMES[opcode]} of {size} in {length_bytes} bytes of length", stream, fault=1002)
        for power, announced in (("63", 1 << 63), ("64, less one", (1 << 64) - 1)):
            stream = client_frame(opcode, announced=announced)
            yield Exchange(f"{NAMES[opcode]} of 2 to the power of {power}", stream, fault=1002)
    continuation = client_frame(CONTINUATION, b"x", length_bytes=2)
    yield Exchange("continuation of 1 in 2 bytes of length", client_frame(TEXT, fin=False) + continuation, fault=1002)


def _bad_texts() -> Iterator[Exchange]:
    for name, text in (BAD_TEXTS | UNFINISHED_TEXTS).items():
        yield Exchange(f"text with {name}", client_frame(TEXT, text), fault=1007)
        yield Exchange(
            f"text with {name}, second of two", client_frame(TEXT) + client_frame(TEXT, text), ((TEXT, ""),), 1007
        )
        for position, (left, right) in enumerate(cuts(text)):
            yield Exchange(f"text with {name}, cut at {position}", fragments(TEXT, left, right), fault=1007)
        yield Exchange(f"close with {name}", close(1000, text), fault=1007)
    for name, text in BAD_TEXTS.items():
        # The message does not end, and must be refused all the same: no continuation could mend it.
        begun = client_frame(TEXT, text, fin=False)
        yield Exchange(f"first fragment with {name}", begun, fault=1007)
        yield Exchange(f"first fragment with {name}, then a ping", begun + client_frame(PING), fault=1007)
        bytewise = b"".join(
            client_frame(CONTINUATION if index else TEXT, text[index : index + 1], fin=False)
            for index in range(len(text))
        )
        yield Exchange(f"bytewise fragments with {name}", bytewise, fault=1007)


def _too_big() -> Iterator[Exchange]:
    # Only the head is sent: the announcement must be enough.
    for opcode in (TEXT, BINARY):
        for announced in (LIMIT + 1, 1 << 32, (1 << 63) - 1):
            stream = client_frame(opcode, announced=announced)
            yield Exchange(f"{NAMES[opcode]} that announces {announced} bytes", stream, fault=1009)
            yield Exchange(f"{NAMES[opcode]} that announces {announced} bytes, without mask", stream[:-4], fault=1009)
        begun = client_frame(opcode, b"x", fin=False)
        for fin in (True, False):
            more = client_frame(CONTINUATION, fin=fin, announced=LIMIT)
            name = f"{NAMES[opcode]} that grows too big, {'end' if fin else 'more to come'}"
            yield Exchange(name, begun + more, fault=1009)
            yield Exchange(f"{name}, after a ping", begun + client_frame(PING) + more, ((PING, b""),), 1009)


EXCHANGES: tuple[Exchange, ...] = (
    *_whole_messages(),
    *_fragmented_messages(),
    *_control_frames(),
    *_closes(),
    *_broken_framing(),
    *_broken_control_frames(),
    *_broken_order(),
    *_broken_lengths(),
    *_bad_texts(),
    *_too_big(),
)
