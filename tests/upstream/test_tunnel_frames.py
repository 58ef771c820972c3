"""Messages of tunnels, both ways."""

from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.upstream.tunnel_frames import (
    MAX_MESSAGE_BYTES,
    ConnectionClose,
    ConnectionConnected,
    ConnectionReconnect,
    HttpRequest,
    HttpResponse,
    TunnelFrame,
    TunnelMessage,
    TunnelReader,
    encode_message,
)
from vectors.tunnel_frames import ONLY_READ, VECTORS, Vector, compact, message_bytes, packed, prefixed, unpacked

WHOLE = message_bytes(7, Message="whole")
CLOSED = TunnelFrame(ConnectionClose("whole"), b"")


def heard(*pieces: bytes, limit: int = MAX_MESSAGE_BYTES) -> tuple[list[TunnelFrame], int | None]:
    """What a new reader makes of these pieces: messages, and the close code of its fault."""
    reader = TunnelReader(limit)
    frames = [frame for piece in pieces for frame in reader.feed(piece)]
    return frames, None if reader.fault is None else reader.fault.close_code


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


# The table


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_message_is_written_as_the_protocol_has_it(vector: Vector) -> None:
    assert encode_message(vector.message, vector.content) == vector.wire


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_message_is_read_as_it_was_written(vector: Vector) -> None:
    assert heard(vector.wire) == ([TunnelFrame(vector.message, vector.content or b"")], None)


@pytest.mark.parametrize(("name", "wire", "message", "content"), ONLY_READ, ids=[row[0] for row in ONLY_READ])
def test_other_writers_are_understood(name: str, wire: bytes, message: TunnelMessage, content: bytes) -> None:
    assert heard(wire) == ([TunnelFrame(message, content)], None), name


# Cutting


def test_several_messages_in_one_piece_are_read_in_order() -> None:
    stream = b"".join(vector.wire for vector in VECTORS)

    frames, fault = heard(stream)

    assert ([frame.message for frame in frames], fault) == ([vector.message for vector in VECTORS], None)


@given(st.lists(st.sampled_from(VECTORS), max_size=5), st.lists(st.integers(1, 100_000), min_size=1, max_size=5))
def test_messages_are_read_however_they_are_cut(vectors: list[Vector], sizes: list[int]) -> None:
    stream = b"".join(vector.wire for vector in vectors)

    frames, fault = heard(*cut(stream, sizes))

    assert frames == [TunnelFrame(vector.message, vector.content or b"") for vector in vectors]
    assert fault is None


def test_every_beginning_of_a_message_waits_for_the_rest() -> None:
    for end in range(len(WHOLE)):
        reader = TunnelReader()
        assert (reader.feed(WHOLE[:end]), reader.fault) == ([], None)
        assert reader.feed(WHOLE[end:]) == [CLOSED]


_NAMES = st.text(st.characters(codec="utf-8"), max_size=30)


@given(
    st.integers(0, 2**31 - 1),
    _NAMES,
    st.dictionaries(_NAMES, st.lists(_NAMES, max_size=3), max_size=5),
    st.binary(max_size=70_000),
)
def test_whatever_is_asked_and_answered_comes_out_as_it_went_in(
    ack_id: int, text: str, headers: dict[str, list[str]], body: bytes
) -> None:
    lines: dict[str, list[str] | str | None] = {**headers}
    for message in (
        HttpRequest(ack_id, text, text, lines, tracing_id=ack_id),
        HttpResponse(ack_id, 200, lines, not_completed=True, channel_name=text),
        ConnectionReconnect(text, text, text),
        ConnectionConnected(text, None, text),
    ):
        wire = encode_message(message, body)

        assert heard(wire) == ([TunnelFrame(message, body)], None)
        _, fields, content = unpacked(wire)
        assert content == body
        assert fields.get("Headers", headers) == headers


# Faults


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("nothing", b""),
        ("no array", b"\x07"),
        ("array of one", b"\x91\x07"),
        ("type that is a text", b'\x93\xa17\xafu{"Message":"m"}\xc0'),
        ("type that is a fraction", b"\x93\xcb\x40\x1c\x00\x00\x00\x00\x00\x00\xa2{}\xc0"),
        ("JSON as bytes", b"\x93\x07\xc4\x02{}\xc0"),
        ("text that is not UTF-8", b"\x93\x07\xa1\xff\xc0"),
        ("body that is a number", b"\x93\x07\xa2{}\x01"),
        ("more behind the array", packed(7, "{}", None) + b"\xc0"),
        ("less than the array", packed(7, "{}", None)[:-1]),
        ("no JSON", packed(7, "{", None)),
        ("JSON of another kind", packed(7, "[]", None)),
        ("JSON of another type", packed(7, '{"Type":5}', None)),
        ("half a surrogate pair", packed(7, '{"Message":"\\ud800"}', None)),
        ("response without AckId", packed(2, '{"StatusCode":200}', None)),
        ("response without StatusCode", packed(2, '{"AckId":1}', None)),
        ("AckId that is a text", packed(2, '{"AckId":"1","StatusCode":200}', None)),
        ("AckId that is null", packed(2, '{"AckId":null,"StatusCode":200}', None)),
        ("headers that are a list", packed(2, '{"AckId":1,"StatusCode":200,"Headers":[]}', None)),
        ("connected without id", packed(10, "{}", None)),
        ("nested without end", b"\x94\x07\xa2{}\xc0" + b"\x91" * 100_000),
        ("JSON nested without end", packed(2, '{"AckId":1,"StatusCode":200,"Later":' + "[" * 100_000, None)),
    ],
)
def test_what_is_no_message_ends_the_reading_behind_what_came_before(name: str, broken: bytes) -> None:
    assert heard(WHOLE + prefixed(broken) + WHOLE, WHOLE) == ([CLOSED], 1007), name


def test_message_as_long_as_it_may_be_is_read_and_one_byte_more_is_1009_before_it_has_come() -> None:
    limit = 1000
    fields = compact({"AckId": 1, "StatusCode": 200})
    body = b"x" * (limit - len(packed(2, fields, b"x" * 300)) + 300)
    longest = packed(2, fields, body)
    assert len(longest) == limit

    assert heard(prefixed(longest), limit=limit) == ([TunnelFrame(HttpResponse(1, 200), body)], None)
    assert heard((limit + 1).to_bytes(4, "little"), limit=limit) == ([], 1009)
    assert heard(b"\xff\xff\xff\xff", limit=limit) == ([], 1009)


@pytest.mark.parametrize("number", [0, 3, 4, 9, 11, 127])
def test_types_that_nobody_knows_are_left_out(number: int) -> None:
    later = message_bytes(number, b"body", Something={"new": 1}) + prefixed(packed(number, "no JSON", None))

    assert heard(WHOLE + later + WHOLE) == ([CLOSED, CLOSED], None)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_taken_without_an_exception(data: bytes, whole: bool) -> None:
    reader = TunnelReader()

    reader.feed(prefixed(data) if whole else data)

    assert reader.fault is None or reader.fault.close_code in (1007, 1009)


def test_bodies_and_urls_do_not_stand_in_what_is_shown_of_a_message() -> None:
    """Both may hold secrets, and what is shown may be logged."""
    request = HttpRequest(1, "POST", "tunnel:///e?code=hidden", {"Authorization": ["hidden"]})
    response = HttpResponse(1, 200, {"ce-connectionState": ["hidden"]})

    assert "hidden" not in f"{request!r}{request}{response!r}{response}"
