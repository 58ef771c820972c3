"""Work that comes in crowds, some of it in each turn."""

import asyncio

from doubles import settle
from hubwire.edge.turnstile import Turnstile


class Crowd:
    """
    People who want through a turnstile.

    Attributes:
        turn: counts the turns of the event loop.
        passed: who passed in which turn.
    """

    def __init__(self, per_turn: int) -> None:
        self.turnstile = Turnstile(per_turn)
        self.turn = 0
        self.passed: dict[int, list[int]] = {}
        self._tick()

    def come(self, *people: int) -> None:
        for person in people:
            if self.turnstile.enter(lambda person=person: self.go(person)):  # type: ignore[misc]
                self.go(person)

    def go(self, person: int) -> None:
        self.passed.setdefault(self.turn, []).append(person)

    def _tick(self) -> None:
        """Before the turnstile in each turn, since it was asked for first."""
        self.turn += 1
        if self.turn < 20:
            asyncio.get_running_loop().call_soon(self._tick)


async def test_few_pass_at_once() -> None:
    crowd = Crowd(3)

    crowd.come(1, 2, 3)

    assert crowd.passed == {1: [1, 2, 3]}


async def test_who_comes_after_them_waits_for_later_turns_in_order() -> None:
    crowd = Crowd(3)

    crowd.come(*range(8))
    await settle()

    assert [len(people) for people in crowd.passed.values()] == [3, 3, 2]
    assert [person for people in crowd.passed.values() for person in people] == list(range(8))


async def test_newcomer_does_not_overtake_who_waits() -> None:
    crowd = Crowd(2)
    crowd.come(*range(6))
    await asyncio.sleep(0)
    assert len(crowd.passed) == 2

    crowd.come(6)
    await settle()

    assert [person for people in crowd.passed.values() for person in people] == list(range(7))
    assert all(len(people) <= 2 for people in crowd.passed.values())


async def test_next_turn_lets_as_many_in_again() -> None:
    crowd = Crowd(2)
    crowd.come(1, 2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    crowd.come(3, 4, 5)
    await settle()

    assert [len(people) for people in crowd.passed.values()] == [2, 2, 1]


async def test_turnstile_that_nobody_uses_asks_for_no_turns() -> None:
    crowd = Crowd(2)
    crowd.come(1)
    await settle()

    assert not crowd.turnstile._open


async def test_fault_of_one_keeps_nobody_else_waiting() -> None:
    crowd = Crowd(1)
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(type(context["exception"])))

    def fail() -> None:
        raise ZeroDivisionError

    crowd.come(1)
    assert not crowd.turnstile.enter(fail)
    crowd.come(2, 3)
    await settle()

    assert told == [ZeroDivisionError]
    assert sorted(person for people in crowd.passed.values() for person in people) == [1, 2, 3]
