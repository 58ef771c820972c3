"""Frames of RFC 6455, both ways."""

import gc
import sys
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.speedups import apply_mask

from hubwire.protocols.frames import Event, FrameReader, Unmask, build_frame, close_payload, frame_head, unmask_pure
from vectors.websocket_frames import (
    BAD_TEXTS,
    BINARY,
    CLOSE,
    CONTINUATION,
    EXCHANGES,
    LIMIT,
    MASK,
    PING,
    PONG,
    TEXT,
    Exchange,
    client_frame,
    fragments,
    masked,
)

UNMASKS = pytest.mark.parametrize("unmask", [unmask_pure, apply_mask], ids=["pure", "compiled"])


def code_of(reader: FrameReader) -> int | None:
    """The close code of a reader's fault, None without one."""
    return None if reader.fault is None else reader.fault.close_code


def heard(*pieces: bytes, unmask: Unmask = unmask_pure) -> tuple[list[Event], int | None]:
    """What a new reader makes of these pieces: events, and the close code of its fault."""
    reader = FrameReader(LIMIT, unmask)
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events, code_of(reader)


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


# The table of the rules


@UNMASKS
@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
def test_stream_is_read_as_the_rfc_says(exchange: Exchange, unmask: Unmask) -> None:
    """Everything before a fault is delivered in order, and the fault has the right close code."""
    assert heard(exchange.stream, unmask=unmask) == (list(exchange.events), exchange.fault)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
def test_stream_is_read_the_same_byte_by_byte(exchange: Exchange) -> None:
    """Where the network cuts a stream changes nothing."""
    assert heard(*cut(exchange.stream, [1])) == (list(exchange.events), exchange.fault)


def test_table_tells_its_rows_apart() -> None:
    """A row that repeats another's name would hide it in a report."""
    assert len({exchange.name for exchange in EXCHANGES}) == len(EXCHANGES)


# When things happen


def test_control_frame_between_fragments_is_delivered_at_once() -> None:
    """It does not wait for the message around it."""
    reader = FrameReader(LIMIT)

    assert reader.feed(client_frame(TEXT, b"be", fin=False)) == []
    assert reader.feed(client_frame(PING, b"now")) == [(PING, b"now")]
    assert reader.feed(client_frame(CONTINUATION, b"fore")) == [(TEXT, "before")]


@pytest.mark.parametrize("text", BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_bad_text_is_refused_in_the_fragment_that_breaks_it(text: bytes) -> None:
    """Neither earlier nor at the end of the message."""
    reader = FrameReader(LIMIT)

    reader.feed(client_frame(TEXT, text[:3], fin=False))
    assert reader.fault is None

    reader.feed(client_frame(CONTINUATION, text[3:], fin=False))
    assert code_of(reader) == 1007


def test_bad_text_is_refused_at_the_byte_that_breaks_it() -> None:
    """Every beginning of one or two bytes: refused if, and only if, no character begins like that."""
    characters = [chr(number).encode() for number in range(0x110000) if not 0xD800 <= number < 0xE000]
    beginnings = {text[:size] for text in characters for size in (1, 2)}
    lone = [bytes([first]) for first in range(256)]
    pairs = [bytes([first, second]) for first in range(0xC0, 256) for second in range(256)]

    for text in lone + pairs:
        reader = FrameReader(LIMIT)
        reader.feed(client_frame(TEXT, text, fin=False))
        assert (reader.fault is None) == (text in beginnings), text


@pytest.mark.parametrize(
    ("stream", "needed"),
    [
        (client_frame(3, b"payload"), 2),
        (client_frame(TEXT, b"payload", rsv=4), 2),
        (client_frame(TEXT, b"payload", mask=None), 2),
        (client_frame(CONTINUATION, b"payload"), 2),
        (client_frame(PING, b"payload", fin=False), 2),
        (client_frame(PING, b"x" * 126), 2),
        (client_frame(TEXT, b"payload", length_bytes=2), 4),
        (client_frame(TEXT, b"payload", length_bytes=8), 10),
        (client_frame(TEXT, announced=LIMIT + 1), 10),
        (client_frame(CLOSE, b"\x03\xe7"), 8),
    ],
)
def test_fault_needs_no_byte_more_than_shows_it(stream: bytes, needed: int) -> None:
    """Nobody waits for a payload that is refused anyway."""
    reader = FrameReader(LIMIT)

    reader.feed(stream[: needed - 1])
    assert reader.fault is None

    reader.feed(stream[needed - 1 : needed])
    assert reader.fault is not None


def test_message_before_a_fault_in_the_same_chunk_is_not_lost() -> None:
    """The caller gets what was complete, and then sees the fault."""
    reader = FrameReader(LIMIT)

    events = reader.feed(client_frame(TEXT, b"first") + client_frame(PING, b"second") + client_frame(7))

    assert events == [(TEXT, "first"), (PING, b"second")]
    assert code_of(reader) == 1002


def test_nothing_is_read_after_a_fault() -> None:
    """The first fault stays, whatever comes."""
    reader = FrameReader(LIMIT)
    reader.feed(client_frame(TEXT, b"\xff"))
    fault = reader.fault

    assert reader.feed(client_frame(TEXT, b"fine")) == []
    assert reader.feed(client_frame(3)) == []
    assert reader.fault is fault
    assert code_of(reader) == 1007


def test_nothing_is_read_after_a_close() -> None:
    """Neither a message nor a fault."""
    reader = FrameReader(LIMIT)

    assert reader.feed(client_frame(CLOSE, b"\x03\xe8")) == [(CLOSE, (1000, ""))]
    assert reader.feed(client_frame(TEXT, b"too late")) == []
    assert reader.feed(b"\xff" * 40) == []
    assert reader.fault is None


def test_empty_chunk_is_nothing() -> None:
    """Neither at a frame's border nor inside one."""
    frame = client_frame(TEXT, b"x")

    assert heard(b"", frame[:3], b"", frame[3:], b"") == ([(TEXT, "x")], None)


def test_fault_shows_the_peer_nothing_of_what_it_sent() -> None:
    """Its text goes into close frames and logs."""
    reader = FrameReader(LIMIT)
    reader.feed(client_frame(TEXT, b"password=\xff"))

    assert reader.fault is not None
    assert "password" not in reader.fault.reason


# Limits


@pytest.mark.parametrize("limit", [10, 125, 126, 1000, 65535, 65536, 100_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_message_of_the_limit_is_read_and_one_byte_more_is_not(limit: int, opcode: int) -> None:
    """The limit holds for all forms of the length."""
    fits = FrameReader(limit)
    exceeds = FrameReader(limit)

    assert len(fits.feed(client_frame(opcode, b"x" * limit))) == 1
    assert exceeds.feed(client_frame(opcode, b"x" * (limit + 1))) == []

    assert fits.fault is None
    assert code_of(exceeds) == 1009


def test_limit_holds_for_the_sum_of_fragments() -> None:
    """Each fragment would fit."""
    fits = FrameReader(100)
    exceeds = FrameReader(100)

    assert fits.feed(fragments(BINARY, b"x" * 60, b"", b"x" * 40)) == [(BINARY, b"x" * 100)]
    assert exceeds.feed(fragments(BINARY, b"x" * 60, b"x" * 41)) == []

    assert fits.fault is None
    assert code_of(exceeds) == 1009


def test_limit_starts_anew_with_each_message_and_ignores_control_frames() -> None:
    """It is a message's, not a connection's."""
    reader = FrameReader(100)
    first, last = client_frame(TEXT, b"x" * 50, fin=False), client_frame(CONTINUATION, b"x" * 50)
    ping = client_frame(PING, b"p" * 125)

    for _ in range(3):
        assert reader.feed(first + ping + ping + last) == [(PING, b"p" * 125)] * 2 + [(TEXT, "x" * 100)]
    assert reader.fault is None


def test_large_message_in_single_bytes() -> None:
    """Four times the usual size: a reader that copied what it has for each new byte would run into the time limit."""
    size = 4 * LIMIT
    reader = FrameReader(size)
    frame = client_frame(BINARY, b"x" * size)

    events = [event for piece in cut(frame, [1]) for event in reader.feed(piece)]

    assert events == [(BINARY, b"x" * size)]


@pytest.mark.parametrize(("opcode", "message"), [(TEXT, "x" * LIMIT), (BINARY, b"x" * LIMIT)])
def test_largest_message_in_fragments_of_one_byte(opcode: int, message: object) -> None:
    """What each of them costs does not depend on how many came before."""
    first = client_frame(opcode, b"x", fin=False)
    middle = client_frame(CONTINUATION, b"x", fin=False)
    last = client_frame(CONTINUATION, b"x")

    assert heard(first + middle * (LIMIT - 2) + last) == ([(opcode, message)], None)


# What is kept


def kept_bytes(reader: FrameReader) -> int:
    """Size of what a reader holds besides itself."""
    seen = set()
    todo = gc.get_referents(reader)
    total = 0
    while todo:
        thing = todo.pop()
        if id(thing) not in seen and not isinstance(thing, type) and not callable(thing):
            seen.add(id(thing))
            total += sys.getsizeof(thing)
            todo += gc.get_referents(thing)
    return total


def test_reader_between_messages_holds_nothing_of_them() -> None:
    """Idle connections are many; what they hold counts."""
    reader = FrameReader(LIMIT, apply_mask)
    fresh = kept_bytes(reader)
    frame = client_frame(BINARY, b"x" * 100_000)

    reader.feed(frame[:90_000])
    assert kept_bytes(reader) > 90_000
    reader.feed(frame[90_000:])
    reader.feed(fragments(TEXT, b"x" * 50_000, b"y" * 50_000))

    assert kept_bytes(reader) <= fresh + 32


def test_announced_message_takes_no_memory_before_it_comes() -> None:
    """Else a few bytes from each of many clients would exhaust the server."""
    reader = FrameReader(LIMIT)

    reader.feed(client_frame(BINARY, announced=LIMIT))

    assert kept_bytes(reader) < 500


def test_endless_empty_fragments_take_no_memory() -> None:
    """They never reach the limit of a message."""
    reader = FrameReader(LIMIT)
    reader.feed(client_frame(TEXT, fin=False))
    before = kept_bytes(reader)

    reader.feed(client_frame(CONTINUATION, fin=False) * 10_000)

    assert kept_bytes(reader) <= before
    assert reader.fault is None


def test_reader_that_ended_holds_nothing_of_the_stream() -> None:
    """A fault lives as long as its connection; the chunk that brought it need not."""
    for ending in (client_frame(CONTINUATION, b"\xff" * 50_000), client_frame(3), client_frame(CLOSE)):
        reader = FrameReader(LIMIT)
        reader.feed(client_frame(TEXT, b"x" * 50_000, fin=False) + ending + b"x" * 50_000)

        assert kept_bytes(reader) < 2_000
        if reader.fault is not None:
            assert reader.fault.__traceback__ is None
            assert reader.fault.__context__ is None


# Clients that answer without a mask


def test_unmasked_control_frames_are_taken_where_that_is_allowed() -> None:
    """Pong and close, as a common MQTT client sends them, and ping."""
    reader = FrameReader(LIMIT, allow_unmasked_control=True)
    stream = (
        client_frame(PONG, b"a", mask=None)
        + client_frame(PING, b"b", mask=None)
        + client_frame(PING, b"c")
        + client_frame(TEXT, b"d", fin=False)
        + client_frame(PONG, mask=None)
        + client_frame(CONTINUATION, b"e")
        + client_frame(CLOSE, b"\x03\xe8bye", mask=None)
    )
    expected = [(PONG, b"a"), (PING, b"b"), (PING, b"c"), (PONG, b""), (TEXT, "de"), (CLOSE, (1000, "bye"))]

    assert reader.feed(stream) == expected
    assert reader.fault is None


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_unmasked_messages_are_refused_even_there(opcode: int) -> None:
    """In one frame or in several."""
    whole = FrameReader(LIMIT, allow_unmasked_control=True)
    begun = FrameReader(LIMIT, allow_unmasked_control=True)

    assert whole.feed(client_frame(opcode, b"x", mask=None)) == []
    assert begun.feed(client_frame(opcode, b"x", fin=False) + client_frame(CONTINUATION, b"x", mask=None)) == []

    assert code_of(whole) == 1002
    assert code_of(begun) == 1002


# Masks


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_both_ways_to_unmask_agree_with_the_definition(data: bytes, mask: bytes) -> None:
    """So the compiled one changes nothing but speed."""
    expected = masked(data, mask)

    assert unmask_pure(data, mask) == expected
    assert apply_mask(data, mask) == expected


# What the server sends


@pytest.mark.parametrize(
    ("length", "head"),
    [
        (0, "8100"),
        (1, "8101"),
        (125, "817d"),
        (126, "817e007e"),
        (65535, "817effff"),
        (65536, "817f0000000000010000"),
        (1 << 20, "817f0000000000100000"),
    ],
)
def test_head_is_the_shortest_for_its_length(length: int, head: str) -> None:
    """FIN set, mask bit clear."""
    assert frame_head(TEXT, length) == bytes.fromhex(head)


@pytest.mark.parametrize("opcode", [BINARY, PING, PONG])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_built_frame_can_be_read_once_it_is_masked(opcode: int, size: int) -> None:
    """Both directions know the same format."""
    if opcode != BINARY and size > 125:
        with pytest.raises(AssertionError):
            frame_head(opcode, size)
        return
    payload = b"x" * size
    frame = build_frame(opcode, payload)
    head = len(frame) - size
    as_client = bytes([frame[0], frame[1] | 0x80]) + frame[2:head] + MASK + masked(frame[head:], MASK)

    assert as_client == client_frame(opcode, payload)
    assert heard(as_client) == ([(opcode, payload)], None)


@pytest.mark.parametrize(
    ("code", "reason", "payload"),
    [
        (None, "", b""),
        (1000, "", b"\x03\xe8"),
        (4999, "bye", b"\x13\x87bye"),
        (1001, "x" * 123, b"\x03\xe9" + b"x" * 123),
        (1001, "x" * 124, b"\x03\xe9" + b"x" * 123),
        (1001, "x" * 122 + "é", b"\x03\xe9" + b"x" * 122),
        (1001, "x" * 121 + "é", b"\x03\xe9" + b"x" * 121 + "é".encode()),
        (1001, "🍕" * 31, b"\x03\xe9" + "🍕".encode() * 30),
        (1001, "a\ud800b", b"\x03\xe9a?b"),
    ],
)
def test_close_payload_is_code_and_a_reason_that_fits(code: int | None, reason: str, payload: bytes) -> None:
    """Cut between characters; what no UTF-8 can say is replaced."""
    assert close_payload(code, reason) == payload


@given(st.integers(3000, 4999), st.text(max_size=200))
def test_any_close_that_is_sent_could_be_read(code: int, reason: str) -> None:
    """The reason is a beginning of what was given."""
    payload = close_payload(code, reason)
    events, fault = heard(client_frame(CLOSE, payload))

    assert len(payload) <= 125
    assert fault is None
    assert events == [(CLOSE, (code, payload[2:].decode()))]
    assert reason.startswith(payload[2:].decode())


# Streams that nobody thought of

SIZES = st.lists(st.integers(1, 200), min_size=1, max_size=20)
FRAME = st.builds(
    client_frame,
    st.sampled_from([CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG]) | st.integers(0, 15),
    st.binary(max_size=140) | st.text(max_size=140).map(str.encode),
    fin=st.booleans(),
    rsv=st.just(0) | st.integers(0, 7),
    mask=st.binary(min_size=4, max_size=4) | st.none(),
)
LEGAL = st.lists(
    st.one_of(
        st.builds(lambda text: (client_frame(TEXT, text.encode()), (TEXT, text)), st.text()),
        st.builds(lambda data: (client_frame(BINARY, data), (BINARY, data)), st.binary(max_size=300)),
        st.builds(
            lambda parts: (fragments(BINARY, *parts), (BINARY, b"".join(parts))),
            st.lists(st.binary(max_size=150), min_size=1, max_size=5),
        ),
        st.builds(
            lambda text, sizes: (fragments(TEXT, *(cut(text.encode(), sizes) or [b""])), (TEXT, text)), st.text(), SIZES
        ),
        st.builds(
            lambda opcode, data: (client_frame(opcode, data), (opcode, data)),
            st.sampled_from([PING, PONG]),
            st.binary(max_size=125),
        ),
    ),
    max_size=10,
)


@given(LEGAL, SIZES)
def test_legal_stream_is_read_whole_however_it_is_cut(messages: list[tuple[bytes, Event]], sizes: list[int]) -> None:
    """Nothing lost, nothing twice, nothing out of order."""
    stream = b"".join(frame for frame, _ in messages)

    assert heard(*cut(stream, sizes)) == ([event for _, event in messages], None)


@given(st.lists(FRAME, max_size=8), SIZES)
def test_any_frames_mean_the_same_however_they_are_cut(frames: list[bytes], sizes: list[int]) -> None:
    """Events and fault alike."""
    stream = b"".join(frames)

    assert heard(*cut(stream, sizes)) == heard(stream)


@given(st.binary(max_size=400), SIZES)
def test_any_bytes_end_in_events_or_a_fault(stream: bytes, sizes: list[int]) -> None:
    """Never in an exception, and never in another way when they are cut."""
    events, fault = heard(stream)

    assert fault in (None, 1002, 1007, 1009)
    assert heard(*cut(stream, sizes)) == (events, fault)


@given(LEGAL, st.integers(0, 10_000), st.integers(1, 255), SIZES)
def test_damaged_stream_ends_in_events_or_a_fault(
    messages: list[tuple[bytes, Event]], place: int, damage: int, sizes: list[int]
) -> None:
    """One byte is changed on its way."""
    stream = bytearray(b"".join(frame for frame, _ in messages))
    if stream:
        stream[place % len(stream)] ^= damage
    events, fault = heard(bytes(stream))

    assert fault in (None, 1002, 1007, 1009)
    assert heard(*cut(bytes(stream), sizes)) == (events, fault)
