"""
A time limit for a part of what a task does.

`asyncio.timeout` does the same and more: a limit can be moved, and asked about. A client's event has two limits, and
with those it took a twentieth more of the processor.
"""

import asyncio
from types import TracebackType

__all__ = ["TimeLimit"]


class TimeLimit:
    """
    For `with`, around what may wait: when the time is over, that is cancelled, and the block ends with TimeoutError.
    Whoever cancels the task from outside is heard as if there were no limit.

    Args:
        seconds: from the beginning of the block.
    """

    __slots__ = ("_cancelled_before", "_is_over", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "only tasks wait"
        self._task = task
        self._cancelled_before = task.cancelling()
        self._timer = task.get_loop().call_later(self._seconds, self._end)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timer.cancel()
        # Others may have cancelled the task as well; then it is theirs to be told of.
        if self._is_over and self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _end(self) -> None:
        self._is_over = True
        self._task.cancel()
