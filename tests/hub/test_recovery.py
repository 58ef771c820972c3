"""Connections that wait for their client to come back."""

from hypothesis import given
from hypothesis import strategies as st

from doubles import connection
from hubwire.hub.connection import Connection
from hubwire.hub.recovery import Waiting
from hubwire.protocols.mqtt.packets import Properties
from hubwire.protocols.mqtt.terms import Policy
from protocols.mqtt import pretend

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


def device(expiry_s: int) -> Connection:
    """One whose session says how long it may wait."""
    return connection(pretend.Client(5, properties=Properties(session_expiry_s=expiry_s)).session)


def test_session_that_says_how_long_it_may_wait_waits_for_that_long() -> None:
    waiting = Waiting(PERIOD_S)
    short, long, usual = device(5), device(20), connection("reliable")
    for one in (usual, long, short):
        waiting.hold(one, 100.0)

    assert (len(waiting), waiting.next_deadline()) == (3, 105.0)
    assert waiting.expired(105.0, 100) == [short]
    assert waiting.next_deadline() == 120.0
    assert waiting.expired(132.0, 100) == [long, usual]
    assert (len(waiting), waiting.next_deadline()) == (0, None)


def test_some_at_a_time_are_some_of_all_periods_together() -> None:
    waiting = Waiting(PERIOD_S)
    connections = [device(5), device(5), device(20), connection("reliable")]
    for one in connections:
        waiting.hold(one, 100.0)

    assert waiting.expired(200.0, 3) == connections[:3]
    assert waiting.expired(200.0, 3) == connections[3:]


def test_time_is_over_from_the_deadline_on_and_for_nobody_who_does_not_wait() -> None:
    waiting, one = Waiting(PERIOD_S), device(5)
    assert not waiting.is_over(one, 1000.0)
    waiting.hold(one, 100.0)

    assert (waiting.is_over(one, 104.9), waiting.is_over(one, 105.0)) == (False, True)
    waiting.release(one)
    assert not waiting.is_over(one, 1000.0)


def test_more_time_is_for_all_periods() -> None:
    waiting, short, usual = Waiting(PERIOD_S), device(5), connection("reliable")
    waiting.hold(short, 100.0)
    waiting.hold(usual, 100.0)
    waiting.extend(50.0)

    assert waiting.expired(154.9, 100) == []
    assert waiting.expired(155.0, 100) == [short]
    assert waiting.next_deadline() == 182.0


def test_who_may_wait_for_ever_has_no_deadline() -> None:
    for_ever = Properties(session_expiry_s=0xFFFFFFFF)
    ever = connection(pretend.Client(5, properties=for_ever, policy=Policy(session_expiry_s=0xFFFFFFFF)).session)
    waiting, other = Waiting(PERIOD_S), device(20)
    waiting.hold(ever, 100.0)
    assert (len(waiting), waiting.next_deadline()) == (1, None)
    waiting.hold(other, 100.0)

    waiting.extend(5.0)

    assert waiting.next_deadline() == 125.0
    assert waiting.expired(1e12, 100) == [other]
    assert not waiting.is_over(ever, 1e12)
    assert (len(waiting), waiting.next_deadline()) == (1, None)
    assert waiting.release(ever)


def test_those_who_come_and_go_leave_nothing_behind() -> None:
    waiting = Waiting(PERIOD_S)
    connections = [connection("reliable") for _ in range(10)]
    for turn in range(1000):
        for one in connections:
            waiting.hold(one, float(turn))
            waiting.release(one)

    assert (len(waiting), waiting.next_deadline()) == (0, None)
    assert len(waiting._first) < 100


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["hold", "release", "extend", "expire"])), max_size=60))
def test_whatever_happens_whose_time_is_over_is_told_once_and_in_order(steps: list[tuple[int, str]]) -> None:
    """Against a list that is sorted each time."""
    waiting = Waiting(PERIOD_S)
    connections = [device(3), device(7), device(7), connection("reliable"), device(30)]
    periods = [3.0, 7.0, 7.0, PERIOD_S, 30.0]
    known: dict[Connection, float] = {}
    for now, (number, what) in enumerate(steps):
        one = connections[number]
        if what == "hold":
            known[one] = now + periods[number]
            waiting.hold(one, float(now))
        elif what == "release":
            assert waiting.release(one) == (known.pop(one, None) is not None)
        elif what == "extend":
            known = {each: deadline + number for each, deadline in known.items()}
            waiting.extend(float(number))
        else:
            due = sorted(deadline for deadline in known.values() if deadline <= now)[:number]
            over = waiting.expired(float(now), number)
            assert [known.pop(each) for each in over] == due
        assert waiting.next_deadline() == min(known.values(), default=None)
        assert len(waiting) == len(known)
        assert all(waiting.is_over(each, float(now)) == (known.get(each, 1e9) <= now) for each in connections)
