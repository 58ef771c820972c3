"""Calls of one handler: so many at once, so many events under way, and clients before notifications."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles import settle
from hubwire.model.telemetry import HandlerCounters
from hubwire.upstream.lanes import Lane, LaneFull


def lane(in_flight: int = 1, waiting: int = 3) -> Lane:
    return Lane(in_flight, waiting, HandlerCounters())


class Calls:
    """Calls that last until the test ends them, and remember their order."""

    def __init__(self, of: Lane) -> None:
        self.lane = of
        self.begun: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def begin(self, *names: str, urgent: bool = False) -> None:
        for name in names:
            self._ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._call(name, urgent))
        await settle()

    async def _call(self, name: str, urgent: bool) -> None:
        async with self.lane.call(urgent):
            self.begun.append(name)
            await self._ends[name].wait()

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
        await settle()

    async def end_all(self) -> None:
        await self.end(*self._ends)
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def test_so_many_calls_at_once_and_no_more() -> None:
    calls = Calls(lane(in_flight=2))
    await calls.begin("a", "b", "c", "d")
    assert calls.begun == ["a", "b"]
    assert (calls.lane.counters.in_flight, calls.lane.counters.waiting) == (2, 2)

    await calls.end("b")
    assert calls.begun == ["a", "b", "c"]
    assert (calls.lane.counters.in_flight, calls.lane.counters.waiting) == (2, 1)

    await calls.end_all()
    assert calls.begun == ["a", "b", "c", "d"]
    assert (calls.lane.counters.in_flight, calls.lane.counters.waiting) == (0, 0)


async def test_call_for_which_a_client_waits_goes_before_those_that_came_first() -> None:
    calls = Calls(lane())
    await calls.begin("now")
    await calls.begin("patient 1", "patient 2")
    await calls.begin("urgent 1", "urgent 2", urgent=True)

    for name in ("now", "urgent 1", "urgent 2", "patient 1"):
        await calls.end(name)

    assert calls.begun == ["now", "urgent 1", "urgent 2", "patient 1", "patient 2"]
    await calls.end_all()


async def test_place_of_a_call_that_fails_is_free_again() -> None:
    one = lane()
    for _ in range(3):
        with pytest.raises(RuntimeError):
            async with one.call(urgent=True):
                raise RuntimeError

    async with asyncio.timeout(5), one.call(urgent=True):
        assert one.counters.in_flight == 1


async def test_who_gives_up_waiting_takes_nobodys_turn() -> None:
    calls = Calls(lane())
    await calls.begin("now")
    await calls.begin("gone", "next")
    calls.tasks["gone"].cancel()
    await settle()
    assert calls.lane.counters.waiting == 1

    await calls.end("now")

    assert calls.begun == ["now", "next"]
    await calls.end_all()
    assert calls.tasks["gone"].cancelled()


async def test_who_gives_up_just_when_it_was_its_turn_hands_it_on() -> None:
    one = lane()
    calls = Calls(one)
    async with one.call(urgent=False):
        await calls.begin("gone", "next")
    # It was given the turn, and has not had one of the loop since.
    calls.tasks["gone"].cancel()
    await settle()

    assert calls.begun == ["next"]
    await calls.end_all()
    assert calls.tasks["gone"].cancelled()
    assert one.counters.in_flight == 0


async def test_who_gave_up_just_before_it_would_have_been_its_turn_is_passed_over() -> None:
    one = lane()
    calls = Calls(one)
    async with one.call(urgent=False):
        await calls.begin("gone", "next")
        calls.tasks["gone"].cancel()
        # And before it hears of that, the turn is given on.
    await settle()

    assert calls.begun == ["next"]
    await calls.end_all()
    assert calls.tasks["gone"].cancelled()
    assert (one.counters.in_flight, one.counters.waiting) == (0, 0)


async def test_free_place_that_nobody_waits_for_is_kept() -> None:
    calls = Calls(lane(in_flight=2))
    await calls.begin("a", "b")
    await calls.end("a", "b")
    await calls.begin("c", "d", "e")

    assert calls.begun == ["a", "b", "c", "d"]
    await calls.end_all()


# How many may be under way


def test_event_too_many_is_refused_and_room_comes_back() -> None:
    one = lane(in_flight=2, waiting=1)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(one.admitted())
        with pytest.raises(LaneFull) as refused, one.admitted():
            raise AssertionError
        assert "handler_waiting" in refused.value.message

    with one.admitted():
        pass


def test_event_that_fails_leaves_its_place() -> None:
    one = lane(in_flight=1, waiting=0)
    for _ in range(2):
        with pytest.raises(RuntimeError), one.admitted():
            raise RuntimeError


async def test_notifications_are_not_counted_against_clients() -> None:
    """Nobody admits them: however many wait, a client's event finds its place among the urgent ones."""
    one = lane(in_flight=1, waiting=0)
    calls = Calls(one)
    await calls.begin(*(str(number) for number in range(50)))

    with one.admitted():
        await calls.begin("client", urgent=True)
        await calls.end("0")
        assert calls.begun == ["0", "client"]
    await calls.end_all()


@settings(deadline=None)
@given(
    in_flight=st.integers(1, 3),
    steps=st.lists(st.tuples(st.sampled_from(["begin", "urge", "end", "cancel"]), st.integers(0, 9)), max_size=40),
)
def test_whatever_happens_nobody_waits_while_there_is_room(in_flight: int, steps: list[tuple[str, int]]) -> None:
    """And never are there more at once than there may be."""

    async def run() -> None:
        async with AsyncExitStack() as stack:
            calls = Calls(lane(in_flight))
            stack.push_async_callback(calls.end_all)
            acts: dict[str, Callable[[str], Awaitable[Any]]] = {
                "begin": calls.begin,
                "urge": lambda name: calls.begin(name, urgent=True),
                "end": calls.end,
                "cancel": lambda name: _cancel(calls.tasks[name]),
            }
            for number, (act, which) in enumerate(steps):
                if act in ("begin", "urge"):
                    await acts[act](str(number))
                elif calls.tasks:
                    await acts[act](list(calls.tasks)[which % len(calls.tasks)])
                counters = calls.lane.counters
                left = sum(not task.done() for task in calls.tasks.values())
                assert counters.in_flight == min(left, in_flight)
                assert counters.waiting == left - counters.in_flight

    asyncio.run(run())


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await settle()
