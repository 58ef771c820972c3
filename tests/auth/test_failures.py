import pytest

from hubwire.auth.failures import Failures

NOW = 1_800_000_000.0


def failed(failures: Failures, times: int, address: str = "10.0.0.1", now: float = NOW) -> Failures:
    for _ in range(times):
        failures.add(address, now)
    return failures


def guesses(per_minute: int, every_s: float, for_s: float) -> int:
    """How often somebody may fail who tries all the time."""
    failures, counted, now = Failures(per_minute), 0, NOW
    while now < NOW + for_s:
        if failures.wait_s("10.0.0.1", now) == 0:
            failures.add("10.0.0.1", now)
            counted += 1
        now += every_s
    return counted


def test_address_that_never_failed_does_not_wait() -> None:
    assert Failures(10).wait_s("10.0.0.1", NOW) == 0


def test_so_many_failures_at_once_are_nothing_and_one_more_has_to_wait() -> None:
    failures = failed(Failures(10), 9)
    assert failures.wait_s("10.0.0.1", NOW) == 0

    failed(failures, 1)

    assert failures.wait_s("10.0.0.1", NOW) == 6


@pytest.mark.parametrize(("per_minute", "wait_s"), [(1, 60), (2, 30), (7, 9), (60, 1), (600, 1)])
def test_whoever_waits_as_long_as_they_are_told_may_try_again(per_minute: int, wait_s: int) -> None:
    failures = failed(Failures(per_minute), per_minute)

    assert failures.wait_s("10.0.0.1", NOW) == wait_s
    assert failures.wait_s("10.0.0.1", NOW + wait_s) == 0


@pytest.mark.parametrize("every_s", [0.001, 0.1, 1.0])
def test_whoever_guesses_all_the_time_is_slowed_down_to_the_rate(every_s: float) -> None:
    """Being just below the limit again, which takes no time, is not enough."""
    assert guesses(10, every_s, 30) in (14, 15)


def test_failures_are_forgotten_after_a_minute() -> None:
    failures = failed(Failures(10), 10)

    assert failures.wait_s("10.0.0.1", NOW + 60) == 0
    failed(failures, 9, now=NOW + 60)
    assert failures.wait_s("10.0.0.1", NOW + 60) == 0


def test_more_failures_do_not_make_the_wait_longer() -> None:
    """Requests that were under way together end one after another, each as a failure."""
    assert failed(Failures(10), 1000).wait_s("10.0.0.1", NOW) == 6


def test_address_waits_for_its_own_failures_only() -> None:
    failures = failed(Failures(2), 5)

    assert failures.wait_s("10.0.0.2", NOW) == 0
    assert failures.wait_s("10.0.0.1", NOW) > 0


def test_zero_is_no_limit() -> None:
    assert failed(Failures(0), 1000).wait_s("10.0.0.1", NOW) == 0


def test_nobody_waits_until_a_clock_that_was_set_back_has_caught_up() -> None:
    failures = failed(Failures(2), 2)

    assert failures.wait_s("10.0.0.1", NOW - 3600) == 0
    failed(failures, 2, now=NOW - 3600)
    assert failures.wait_s("10.0.0.1", NOW - 3600) == 30


def test_addresses_that_failed_last_are_remembered() -> None:
    failures = Failures(1)
    for number in range(10_000):
        failures.add(f"address {number}", NOW)
    failures.add("address 0", NOW)

    failures.add("one more", NOW)

    assert failures.wait_s("address 1", NOW) == 0
    assert failures.wait_s("address 0", NOW) == failures.wait_s("one more", NOW) == 60


def test_failure_that_was_none_is_taken_back() -> None:
    failures = Failures(2)
    for _ in range(2):
        failures.add("10.0.0.1", 0.0)
    assert failures.wait_s("10.0.0.1", 0.0)

    failures.take_back("10.0.0.1", 0.0)
    failures.take_back("10.0.0.2", 0.0)

    assert failures.wait_s("10.0.0.1", 0.0) == 0


def test_addresses_of_one_ipv6_network_are_one() -> None:
    """One machine has all of them."""
    failures = Failures(1)
    failures.add("2001:db8::1", 0.0)

    assert failures.wait_s("2001:db8::ffff:2", 0.0)
    assert failures.wait_s("2001:db8:0:1::1", 0.0) == 0
    assert failures.wait_s("::1%lo", 0.0) == 0


def test_addresses_of_ipv4_are_each_one() -> None:
    failures = Failures(1)
    failures.add("10.0.0.1", 0.0)
    failures.add("::ffff:10.0.0.1", 0.0)
    failures.add("control", 0.0)

    assert failures.wait_s("10.0.0.1", 0.0)
    assert failures.wait_s("10.0.0.2", 0.0) == 0
    assert failures.wait_s("::ffff:10.0.0.2", 0.0) == 0
