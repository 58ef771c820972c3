"""When the next fan-out may begin."""

import pytest

from hubwire.cluster.pace import Pace


def test_first_fan_out_begins_at_once() -> None:
    assert Pace().wait_s(0.0) == 0.0


def test_short_fan_out_is_followed_by_no_pause() -> None:
    pace = Pace()

    pace.fanned_out(1, began=10.0, ended=10.0019)

    assert pace.wait_s(10.0019) == 0.0


def test_long_fan_out_of_few_messages_is_followed_by_half_of_its_length() -> None:
    pace = Pace()

    pace.fanned_out(8, began=10.0, ended=10.006)

    assert pace.wait_s(10.006) == pytest.approx(0.003)
    assert pace.wait_s(10.008) == pytest.approx(0.001)
    assert pace.wait_s(10.0091) == 0.0


def test_long_fan_out_that_carried_many_is_followed_by_no_pause() -> None:
    pace = Pace()

    pace.fanned_out(32, began=10.0, ended=10.006)

    assert pace.wait_s(10.006) == 0.0


def test_pause_is_bounded_however_long_the_fan_out_was() -> None:
    pace = Pace()

    pace.fanned_out(1, began=10.0, ended=11.0)

    assert pace.wait_s(11.0) == pytest.approx(0.004)


def test_pause_counts_from_the_last_fan_out_only() -> None:
    pace = Pace()
    pace.fanned_out(1, began=10.0, ended=10.006)

    pace.fanned_out(1, began=10.007, ended=10.0071)

    assert pace.wait_s(10.0071) == 0.0
