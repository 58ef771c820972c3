"""What waits for one client."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from hubwire.edge.outbox import Outbox


def drain(outbox: Outbox, now: float = 0.0) -> bytes:
    pieces: list[bytes] = []
    while (piece := outbox.take(now)) is not None:
        pieces.append(piece)
    return b"".join(pieces)


def test_large_pieces_stay_the_object_that_all_receivers_share() -> None:
    outbox = Outbox()
    shared = bytes(5000)
    outbox.put(shared, None)

    assert outbox.take(0.0) is shared


def test_millions_of_tiny_pieces_cost_about_what_they_count() -> None:
    outbox = Outbox()
    for _ in range(100_000):
        outbox.put(b"\x8a\x00", None)

    assert outbox.size_bytes == 200_000
    assert sum(sys.getsizeof(piece) for piece in outbox._pieces) + sys.getsizeof(outbox._pieces) < 10_000
    assert drain(outbox) == b"\x8a\x00" * 100_000
    assert outbox.size_bytes == 0


def test_what_is_no_longer_worth_sending_is_left_out() -> None:
    outbox = Outbox()
    outbox.put(b"a", None)
    outbox.put(b"b", 5.0)
    outbox.put(b"c", 9.0)
    outbox.put(b"d", None)

    assert drain(outbox, now=5.0) == b"acd"


def test_nothing_leaves_that_is_behind_a_barrier() -> None:
    outbox = Outbox()
    outbox.put(b"a", None)
    outbox.bar()
    outbox.put(b"b", None)
    outbox.bar()
    outbox.put(b"c", None)
    assert (outbox.size_bytes, outbox.barriers) == (3, 2)

    assert [outbox.take(0.0), outbox.take(0.0)] == [b"a", None]
    outbox.lift(1)
    assert [outbox.take(0.0), outbox.take(0.0)] == [b"b", None]
    assert (outbox.size_bytes, outbox.barriers) == (1, 1)
    outbox.lift(2)
    assert [outbox.take(0.0), outbox.take(0.0)] == [b"c", None]
    assert (outbox.size_bytes, outbox.barriers) == (0, 0)


def test_barriers_are_lifted_from_the_oldest_on_whatever_is_in_front_of_them() -> None:
    outbox = Outbox()
    outbox.put(b"a", None)
    outbox.bar()
    outbox.put(b"b", None)
    outbox.bar()
    outbox.bar()
    outbox.put(b"c", None)
    outbox.lift(2)
    assert drain(outbox) == b"ab"
    outbox.lift(1)
    assert drain(outbox) == b"c"


def test_small_pieces_that_barriers_kept_apart_are_one_when_they_leave() -> None:
    """Each would be a system call."""
    outbox = Outbox()
    for number in range(20):
        outbox.bar()
        outbox.put(b"%02d" % number, None)
    large = bytes(5000)
    outbox.put(large, None)
    outbox.lift(20)

    assert outbox.take(0.0) == b"".join(b"%02d" % number for number in range(20))
    assert outbox.take(0.0) is large


def test_expired_pieces_make_room_and_barriers_stay() -> None:
    outbox = Outbox()
    outbox.put(b"aa", 5.0)
    outbox.bar()
    outbox.put(b"bb", 5.0)
    outbox.put(b"c", None)
    outbox.drop_expired(5.0)

    assert outbox.size_bytes == 1
    assert drain(outbox) == b""
    outbox.lift(1)
    assert drain(outbox) == b"c"


def test_expired_pieces_make_room() -> None:
    outbox = Outbox()
    outbox.put(b"aa", 5.0)
    outbox.put(b"b", None)
    outbox.drop_expired(5.0)

    assert outbox.size_bytes == 1
    assert drain(outbox) == b"b"


@given(
    st.lists(
        st.tuples(
            st.binary(min_size=1, max_size=20) | st.integers(900, 20_000).map(bytes), st.sampled_from([None, 5.0, 9.0])
        )
    )
)
def test_order_and_bytes_are_kept_whatever_is_joined(pieces: list[tuple[bytes, float | None]]) -> None:
    outbox = Outbox()
    for data, expires_at in pieces:
        outbox.put(data, expires_at)

    assert outbox.size_bytes == sum(len(data) for data, _ in pieces)
    assert drain(outbox, now=7.0) == b"".join(data for data, until in pieces if until is None or until > 7.0)
    assert outbox.size_bytes == 0
