"""How often each thing may be asked."""

import pytest

from hubwire.communication.kinds import OWNED
from hubwire.communication.quotas import AZURE, WINDOW_S, Quotas
from hubwire.model.errors import Throttled


def test_nothing_is_limited_unless_somebody_says_so() -> None:
    quotas = Quotas({})

    for _ in range(5000):
        quotas.count("a", "issue", 0)


def test_as_many_as_may_be_pass_and_the_next_is_told_when_to_come_again() -> None:
    quotas = Quotas({"issue": 3})
    for now in (100.0, 101.0, 101.5):
        quotas.count("a", "issue", now)

    with pytest.raises(Throttled) as error:
        quotas.count("a", "issue", 109.5)
    assert error.value.retry_after_s == 21
    with pytest.raises(Throttled) as error:
        quotas.count("a", "issue", 129.9)
    assert error.value.retry_after_s == 1
    quotas.count("a", "issue", 130.0)


def test_who_comes_again_when_they_were_told_to_is_let_in() -> None:
    quotas = Quotas({"create": 1})
    quotas.count("a", "create", 0.25)
    with pytest.raises(Throttled) as error:
        quotas.count("a", "create", 7.75)

    quotas.count("a", "create", 7.75 + error.value.retry_after_s)


def test_services_and_what_is_asked_of_them_are_counted_by_themselves() -> None:
    quotas = Quotas({"create": 1, "delete": 1})
    quotas.count("a", "create", 0)

    quotas.count("a", "delete", 0)
    quotas.count("b", "create", 0)
    quotas.count("a", "revoke", 0)
    with pytest.raises(Throttled):
        quotas.count("a", "create", 0)
    quotas.forget("a")
    quotas.count("a", "create", 0)
    with pytest.raises(Throttled):
        quotas.count("b", "create", 0)


def test_clock_that_is_set_back_keeps_nobody_out() -> None:
    quotas = Quotas({"create": 1})
    quotas.count("a", "create", 1000)

    quotas.count("a", "create", 10)


def test_limits_of_the_service_are_those_of_its_page() -> None:
    assert (WINDOW_S, AZURE["create"], AZURE["delete"], AZURE["revoke"]) == (30, 1000, 500, 500)
    assert (AZURE["issue"], AZURE["createWithToken"], AZURE["exchange"]) == (1000, 1000, 500)


def test_all_that_belongs_to_a_service_goes_with_it() -> None:
    assert len(set(OWNED)) == 5
