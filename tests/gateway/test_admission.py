"""How many may be here: places, and who waits beside them."""

import pytest

from doubles import Directory
from hubwire.gateway.admission import Admission, Place
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.model.resources import UNLIMITED, ResourcePolicy
from hubwire.model.telemetry import Telemetry

ONE, TWO = "one", "two"


def admission(quota: int = UNLIMITED) -> Admission:
    return Admission(Directory(), Telemetry(quota))


def greeted(admission: Admission, policy: ResourcePolicy, resource: str = ONE) -> list[Place]:
    """As many as are let in before one is refused."""
    places: list[Place] = []

    def greet_all() -> None:
        while True:
            places.append(admission.greet(resource, policy))

    with pytest.raises(HandshakeRefused) as refused:
        greet_all()
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
    assert refused.value.cause == "ConnectionCountLimitReached"
    return places


@pytest.mark.parametrize(("quota", "beside"), [(0, 16), (1, 16), (160, 16), (170, 17), (1000, 100)])
def test_a_tenth_of_the_quota_or_sixteen_wait_beside_it(quota: int, beside: int) -> None:
    """That of the resource, and that of the server."""
    for admitting, policy in (
        (admission(), ResourcePolicy(quota=quota)),
        (admission(quota), ResourcePolicy()),
    ):
        assert len(greeted(admitting, policy)) == quota + beside
        assert admitting.places(ONE) == (quota, quota)
        assert admitting.beside(ONE) == beside


def test_those_beside_the_quota_of_the_server_are_counted_over_all_resources() -> None:
    admitting = admission(0)
    first = greeted(admitting, ResourcePolicy())[0]
    assert greeted(admitting, ResourcePolicy(), TWO) == []

    first.give_back()

    assert len(greeted(admitting, ResourcePolicy(), TWO)) == 1


def test_full_resource_leaves_the_other_its_places() -> None:
    admitting = admission(20)
    assert len(greeted(admitting, ResourcePolicy(quota=2))) == 18

    assert len(greeted(admitting, ResourcePolicy(quota=2), TWO)) == 2


@pytest.mark.parametrize("quota", [1, 0], ids=["within", "beside"])
def test_place_that_is_given_back_is_free_once(quota: int) -> None:
    admitting, policy = admission(), ResourcePolicy(quota=quota)
    before = greeted(admitting, policy)

    for _ in range(3):
        before[0].give_back()

    assert len(greeted(admitting, policy)) == 1
    for place in before[1:]:
        place.give_back()
    assert admitting.beside(ONE) == 1 - quota
    assert admitting.places(ONE) == (quota, quota)


def test_place_within_the_quota_becomes_that_of_the_session() -> None:
    admitting, policy = admission(), ResourcePolicy(quota=1)
    place = admitting.greet(ONE, policy)
    place.check(ResourcePolicy(quota=0))

    place.claim(ResourcePolicy(quota=0))
    place.give_back()
    assert admitting.places(ONE) == (1, 1)

    admitting.settle(ONE, let_in=True)
    assert admitting.places(ONE) == (0, 1)


def test_place_beside_the_quota_is_none_for_a_session_until_there_is_one() -> None:
    admitting, policy = admission(), ResourcePolicy(quota=1)
    within, beside = admitting.greet(ONE, policy), admitting.greet(ONE, policy)
    for attempt in (beside.check, beside.claim):
        with pytest.raises(HandshakeRefused) as refused:
            attempt(policy)
        assert refused.value.status == 429
    assert admitting.beside(ONE) == 1

    within.give_back()
    beside.check(policy)
    beside.claim(policy)

    assert (admitting.places(ONE), admitting.beside(ONE)) == ((1, 1), 0)
    beside.give_back()
    assert (admitting.places(ONE), admitting.beside(ONE)) == ((1, 1), 0)
