"""Where one packet ends and the next one begins."""

import gc
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.protocols.mqtt.packets import Packet, decode, encode
from hubwire.protocols.mqtt.reader import PacketReader
from hubwire.protocols.mqtt.reasons import Reason
from vectors.mqtt_generated import PACKETS, packets
from vectors.mqtt_packets import whole

LIMIT = 1000

PING = b"\xc0\x00"


def heard(*pieces: bytes, limit: int = LIMIT) -> tuple[list[tuple[int, bytes]], int | None]:
    """What a new reader makes of these pieces: packets, and the code of its fault."""
    reader = PacketReader(limit)
    found = [packet for piece in pieces for packet in reader.feed(piece)]
    return found, None if reader.fault is None else reader.fault.code


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    """`stream` in pieces of these sizes, over and over."""
    pieces: list[bytes] = []
    position = 0
    for size in cycle(sizes):
        if position >= len(stream):
            break
        pieces.append(stream[position : position + size])
        position += size
    return pieces


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"", []),
        (PING, [(0xC0, b"")]),
        (PING + b"\x30\x03abc" + PING, [(0xC0, b""), (0x30, b"abc"), (0xC0, b"")]),
        (whole(0x30, bytes(127)), [(0x30, bytes(127))]),
        (whole(0x30, bytes(128)), [(0x30, bytes(128))]),
        (whole(0x30, bytes(997)), [(0x30, bytes(997))]),
        (b"\x00\x01x", [(0x00, b"x")]),
    ],
)
def test_stream_is_cut_into_packets(stream: bytes, expected: list[tuple[int, bytes]]) -> None:
    """Whatever they mean, and wherever the network cut it."""
    assert heard(stream) == (expected, None)
    assert heard(*cut(stream, [1])) == (expected, None)


PADDED = (b"\x30\x81\x00x", b"\x30\x82\x80\x80\x00xy", b"\x30\x80\x00")


def test_length_in_a_long_form_is_read() -> None:
    """3.1.1 does not forbid it."""
    expected = [(0x30, b"x"), (0x30, b"xy"), (0x30, b""), (0xC0, b"")]

    assert heard(b"".join(PADDED) + PING) == (expected, None)
    assert heard(*cut(b"".join(PADDED) + PING, [1])) == (expected, None)


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("packet", PADDED)
def test_length_in_a_long_form_is_the_end_where_the_shortest_is_a_must(packet: bytes, size: int) -> None:
    reader = PacketReader(LIMIT)
    reader.strict = True
    long = whole(0x30, bytes(500))
    found = [one for piece in cut(PING + long + packet + PING, [size]) for one in reader.feed(piece)]

    assert found == [(0xC0, b""), (0x30, bytes(500))]
    assert reader.fault is not None
    assert reader.fault.code == Reason.MALFORMED_PACKET


@pytest.mark.parametrize("size", [1, 3, 100])
def test_first_packet_may_be_had_alone(size: int) -> None:
    """Nothing behind it is looked at before somebody wants it."""
    reader = PacketReader(LIMIT)
    pieces = cut(b"\x10\x03abc" + PING + b"\x30\x80\x00\x30", [size])
    first = None
    while first is None:
        first = reader.feed_first(pieces.pop(0))
    assert (first, reader.padded, reader.fault) == ((0x10, b"abc"), False, None)

    found = [one for piece in (b"", *pieces, b"\x01x") for one in reader.feed(piece)]
    assert found == [(0xC0, b""), (0x30, b""), (0x30, b"x")]
    assert reader.padded


def test_first_packet_may_be_had_alone_however_it_says_its_length() -> None:
    reader = PacketReader(LIMIT)

    assert reader.feed_first(b"\x10\x83\x00abc") == (0x10, b"abc")
    assert reader.padded
    assert reader.feed_first(b"\x10\xff\xff\x7f") is None
    assert reader.fault is not None


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"\x30\x80\x80\x80\x80", Reason.MALFORMED_PACKET),
        (b"\x30\xff\xff\xff\xff\x7f", Reason.MALFORMED_PACKET),
        (b"\x30\x80\x80\x80\x80" + PING, Reason.MALFORMED_PACKET),
        (b"\x30\xff\xff\xff\x7f", Reason.PACKET_TOO_LARGE),
        (whole(0x30, bytes(998)), Reason.PACKET_TOO_LARGE),
        (whole(0x30, bytes(998))[:3], Reason.PACKET_TOO_LARGE),
    ],
)
def test_reader_stops_at_a_fault(stream: bytes, code: Reason) -> None:
    """What came before it counts, what comes after it does not; and it is found in the byte that makes it one."""
    assert heard(PING + stream) == ([(0xC0, b"")], code)
    assert heard(PING, stream, PING) == ([(0xC0, b"")], code)
    assert heard(*cut(PING + stream, [1]), PING) == ([(0xC0, b"")], code)


@pytest.mark.parametrize("size", [2, 3, 127, 128, 129, 130, 131, 132, 500])
def test_limit_is_of_the_whole_packet(size: int) -> None:
    """One byte more is too much, in the shortest way through the reader and in the others."""
    body = size - 2 if size < 130 else size - 3
    packet = whole(0x30, bytes(body))

    for limit in (len(packet), len(packet) - 1):
        expected = ([(0x30, bytes(body))], None) if limit == len(packet) else ([], Reason.PACKET_TOO_LARGE)
        assert heard(packet, limit=limit) == expected
        assert heard(*cut(packet, [1]), limit=limit) == expected


def test_packet_that_announces_too_much_is_refused_before_it_came() -> None:
    """Its socket says 1009, where nothing else can be said."""
    reader = PacketReader(LIMIT)
    reader.feed(b"\x30\xe6\x07")

    assert reader.fault is not None
    assert (reader.fault.code, reader.fault.close_code) == (Reason.PACKET_TOO_LARGE, 1009)
    assert reader.feed(PING) == []


def test_reader_tells_once_of_what_became_complete() -> None:
    """Not of what is only half there, whichever way the packet takes through the reader."""
    reader = PacketReader(LIMIT)
    for half, rest in ((b"\xc0", b"\x00"), (b"\x30\x05abc", b"de\xc0"), (b"", b"\x00"), (b"", whole(0x30, bytes(500)))):
        reader.feed(half)
        assert not reader.has_taken()
        reader.feed(rest)
        assert reader.has_taken()
        assert not reader.has_taken()


def test_reader_holds_nothing_between_packets() -> None:
    reader = PacketReader(LIMIT)
    reader.feed(b"\x30\x05abc")
    assert any(isinstance(held, bytearray) for held in gc.get_referents(reader))

    reader.feed(b"de" + PING)
    assert not any(isinstance(held, bytearray) for held in gc.get_referents(reader))


@given(PACKETS)
def test_packet_that_was_cut_off_waits(case: tuple[int, Packet]) -> None:
    """After each of its bytes, and is whole with the last one."""
    version, packet = case
    wire = encode(packet, version)
    for size in range(min(len(wire), 200)):
        reader = PacketReader(1 << 20)
        assert reader.feed(wire[:size]) == []
        assert reader.fault is None
        [(first, body)] = reader.feed(wire[size:])
        assert decode(first, body, version) == packet


@given(
    st.sampled_from([4, 5]).flatmap(
        lambda version: st.tuples(st.just(version), st.lists(packets(version), max_size=6))
    ),
    st.lists(st.integers(1, 50), min_size=1, max_size=6),
)
def test_packets_come_out_as_they_went_in_however_they_are_cut(
    case: tuple[int, list[Packet]], sizes: list[int]
) -> None:
    version, sent = case
    stream = b"".join(encode(packet, version) for packet in sent)
    found, fault = heard(*cut(stream, sizes), limit=1 << 20)

    assert fault is None
    assert [decode(first, body, version) for first, body in found] == sent
    assert heard(stream, limit=1 << 20) == (found, None)


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_any_bytes_mean_the_same_however_they_are_cut(stream: bytes, sizes: list[int]) -> None:
    """The reader raises nothing, whatever they are."""
    assert heard(*cut(stream, sizes), limit=100) == heard(stream, limit=100)
