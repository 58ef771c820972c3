"""Connections that wait for their client to come back."""

from doubles import connection
from hubwire.hub.recovery import Waiting

PERIOD_S = 32.0


def test_connection_waits_until_its_deadline_and_is_told_once() -> None:
    waiting, one = Waiting(PERIOD_S), connection("reliable")
    waiting.hold(one, 100.0)
    assert (len(waiting), waiting.next_deadline()) == (1, 132.0)

    assert waiting.expired(131.9, 100) == []
    assert waiting.expired(132.0, 100) == [one]

    assert waiting.expired(1000.0, 100) == []
    assert (len(waiting), waiting.next_deadline()) == (0, None)


def test_connection_that_came_back_does_not_expire() -> None:
    waiting, one = Waiting(PERIOD_S), connection("reliable")
    waiting.hold(one, 100.0)

    assert waiting.release(one)

    assert (len(waiting), waiting.next_deadline()) == (0, None)
    assert waiting.expired(1000.0, 100) == []


def test_only_who_waits_can_be_released() -> None:
    waiting, one = Waiting(PERIOD_S), connection("reliable")
    assert not waiting.release(one)
    waiting.hold(one, 100.0)
    waiting.release(one)

    assert not waiting.release(one)


def test_each_drop_begins_the_wait_anew() -> None:
    waiting, first, second = Waiting(PERIOD_S), connection("reliable"), connection("reliable")
    waiting.hold(first, 100.0)
    waiting.hold(second, 110.0)
    waiting.release(first)
    waiting.hold(first, 120.0)
    waiting.hold(second, 125.0)

    assert waiting.next_deadline() == 152.0
    assert waiting.expired(152.0, 100) == [first]
    assert waiting.expired(157.0, 100) == [second]


def test_those_whose_time_is_over_come_in_its_order_and_the_others_stay() -> None:
    waiting = Waiting(PERIOD_S)
    connections = [connection("reliable") for _ in range(5)]
    for number, one in enumerate(connections):
        waiting.hold(one, 100.0 + number)

    assert waiting.expired(134.0, 100) == connections[:3]
    assert waiting.next_deadline() == 135.0
    assert len(waiting) == 2


def test_many_whose_time_is_over_come_some_at_a_time() -> None:
    """Ending thousands in one go would be felt by everybody else."""
    waiting = Waiting(PERIOD_S)
    connections = [connection("reliable") for _ in range(5)]
    for one in connections:
        waiting.hold(one, 100.0)

    assert waiting.expired(200.0, 2) == connections[:2]
    assert waiting.next_deadline() == 132.0
    assert waiting.expired(200.0, 10) == connections[2:]


def test_those_who_could_not_come_back_get_more_time() -> None:
    waiting, first, second = Waiting(PERIOD_S), connection("reliable"), connection("reliable")
    waiting.hold(first, 100.0)
    waiting.hold(second, 110.0)
    waiting.extend(50.0)

    assert waiting.expired(181.9, 100) == []
    assert waiting.expired(182.0, 100) == [first]
    assert waiting.next_deadline() == 192.0
