"""Ack ids, and what of a client outlives its socket."""

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles import connection
from hubwire.hub.connection import AckLog
from hubwire.model.telemetry import CloseCategory
from protocols.mqtt.pretend import Client

REMEMBERED = 1000
LAST = 2**64 - 1


def log(*ack_ids: int) -> AckLog:
    """A log to which these were added, in order."""
    one = AckLog()
    for ack_id in ack_ids:
        one.add(ack_id)
    return one


@pytest.mark.parametrize("ack_id", [0, 1, 2, 999, 1023, 1024, 1025, 2**32, 2**53 + 1, LAST])
def test_id_is_seen_once_it_was_added_and_its_neighbours_are_not(ack_id: int) -> None:
    one = AckLog()
    assert not one.seen(ack_id)

    one.add(ack_id)

    assert one.seen(ack_id)
    assert not one.seen(ack_id + 1)
    assert not one.seen(ack_id - 1)


def test_empty_log_has_seen_nothing() -> None:
    assert not any(AckLog().seen(ack_id) for ack_id in (0, 1, LAST))


@pytest.mark.parametrize(
    ("first", "step"), [(1, 1), (0, 1), (5000, 1), (1, 2), (1, 700), (1, 1025), (1_700_000_000_000, 911), (LAST, -1)]
)
def test_the_last_thousand_are_remembered_whatever_lies_between_them(first: int, step: int) -> None:
    """Counted, or taken from a clock; and upwards or not."""
    ack_ids = range(first, first + 1500 * step, step)
    one = log(*ack_ids)

    assert all(one.seen(ack_id) for ack_id in ack_ids[-REMEMBERED:])


def test_ids_before_a_jump_are_remembered_behind_it() -> None:
    """A client may go on counting somewhere else and then repeat an earlier request."""
    one = log(*range(1, 501), *range(10_000, 10_499))

    assert all(map(one.seen, range(1, 501)))
    assert all(map(one.seen, range(10_000, 10_499)))
    assert not any(map(one.seen, range(501, 10_000)))


def test_gap_of_a_request_that_failed_stays_open_until_it_succeeds() -> None:
    one = log(1, 2, 4, 5)
    assert not one.seen(3)

    one.add(3)

    assert all(map(one.seen, (1, 2, 3, 4, 5)))


def test_both_ends_of_the_range_go_together() -> None:
    one = log(0, LAST, 1, LAST - 1)

    assert all(map(one.seen, (0, 1, LAST - 1, LAST)))
    assert not one.seen(2)


def test_log_of_any_client_stays_small() -> None:
    """A counting client costs next to nothing, one whose requests fail now and then a little, and any is bounded."""
    counting, failing, jumping = AckLog(), AckLog(), AckLog()
    for number in range(20_000):
        counting.add(number)
        if number % 100:
            failing.add(number)
        jumping.add(number * 7919 % (1 << 61))

    assert weight(counting) < 300
    assert weight(failing) < 2500
    assert weight(jumping) < 200 * REMEMBERED


def weight(one: AckLog) -> int:
    """Bytes of an ack log, without the numbers themselves."""
    table = 0 if one._table is None else sys.getsizeof(one._table)
    return table + sys.getsizeof(one._runs) + sum(map(sys.getsizeof, one._runs))


@given(st.lists(st.integers(0, 40) | st.integers(LAST - 5, LAST) | st.sampled_from([1000, 1001, 5000]), max_size=60))
def test_log_is_a_set_as_long_as_it_is_not_full(ack_ids: list[int]) -> None:
    one = AckLog()
    known: set[int] = set()
    for ack_id in ack_ids:
        assert one.seen(ack_id) == (ack_id in known)
        if ack_id not in known:
            one.add(ack_id)
            known.add(ack_id)

    assert all(map(one.seen, known))


@pytest.mark.parametrize("seed", range(5))
def test_exactly_the_last_thousand_are_remembered_in_any_order(seed: int) -> None:
    ack_ids = random.Random(seed).sample(range(3000), 2100)
    one = log(*ack_ids)

    assert [one.seen(ack_id) for ack_id in ack_ids] == [False] * 1100 + [True] * REMEMBERED


def test_connection_remembers_only_what_was_done() -> None:
    client = connection("reliable")
    assert not client.was_done(7)

    client.done(7)

    assert client.was_done(7)
    assert not client.was_done(6)
    assert not connection().was_done(7), "ids are each connection's own"


@pytest.mark.parametrize("version", [4, 5])
def test_ids_that_a_session_makes_itself_are_not_remembered(version: int) -> None:
    """They never come again, and a table of them for each device would be large."""
    client = connection(Client(version).session)

    client.done(7)

    assert not client.was_done(7)


def test_new_connection_is_alive_nowhere_and_in_no_group() -> None:
    client = connection("reliable", "u")

    assert (client.alive, client.sink, client.groups) == (True, None, {})
    assert client.why is CloseCategory.NORMAL
    assert client.codec is client.session.codec
    assert (client.connection_id, client.subprotocol) == (client.id, "json.reliable.webpubsub.azure.v1")
    assert connection("simple").subprotocol is None
