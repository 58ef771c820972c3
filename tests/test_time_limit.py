"""What takes too long ends with its block, and nothing else does."""

import asyncio

import pytest

from doubles import settle
from hubwire.time_limit import TimeLimit

LONG_S = 30.0


async def test_what_is_done_in_time_is_left_alone() -> None:
    """Then, and when the time would have been over."""
    with TimeLimit(0.01):
        await asyncio.sleep(0)

    await asyncio.sleep(0.02)


async def test_what_takes_too_long_is_cancelled_and_the_task_goes_on() -> None:
    told: list[str] = []

    async def work() -> None:
        with TimeLimit(0.001):
            try:
                await asyncio.sleep(LONG_S)
            except asyncio.CancelledError:
                told.append("cancelled")
                raise

    with pytest.raises(TimeoutError) as raised:
        await work()

    await asyncio.sleep(0)
    assert told == ["cancelled"]
    assert isinstance(raised.value.__cause__, asyncio.CancelledError)


@pytest.mark.parametrize(("outer_s", "inner_s", "ended"), [(LONG_S, 0.001, "inner"), (0.001, LONG_S, "outer")])
async def test_of_two_limits_the_one_that_is_over_ends_its_block(outer_s: float, inner_s: float, ended: str) -> None:
    ends: list[str] = []

    async def work() -> None:
        with TimeLimit(outer_s):
            try:
                with TimeLimit(inner_s):
                    await asyncio.sleep(LONG_S)
            except TimeoutError:
                ends.append("inner")
                raise
            except asyncio.CancelledError:
                ends.append("outer")
                raise

    with pytest.raises(TimeoutError):
        await work()

    assert ends == [ended]


async def test_whoever_cancels_the_task_is_heard() -> None:
    async def work() -> None:
        with TimeLimit(LONG_S):
            await asyncio.sleep(LONG_S)

    task = asyncio.create_task(work())
    await settle()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_whoever_cancels_the_task_is_heard_also_when_the_time_is_over() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        with TimeLimit(0.001):
            try:
                await asyncio.sleep(LONG_S)
            finally:
                begun.set()
                await asyncio.sleep(LONG_S)

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_error_of_what_was_cancelled_is_its_own() -> None:
    async def work() -> None:
        with TimeLimit(0.001):
            try:
                await asyncio.sleep(LONG_S)
            except asyncio.CancelledError:
                raise ValueError("mine") from None

    with pytest.raises(ValueError, match="mine"):
        await work()


async def test_answer_that_comes_in_spite_of_it_counts() -> None:
    """Whoever does not heed the cancellation is not cancelled later either."""
    with TimeLimit(0.001):
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            answer = "there"

    await asyncio.sleep(0)
    assert answer == "there"
