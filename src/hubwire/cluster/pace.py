"""
How soon the next fan-out may begin. Pure: the time comes in as an argument.

A write to a socket costs the same for one message and for twenty, so what a fan-out carries decides what a message
costs. Publishers who wait for an answer before they send on bring few messages while a fan-out runs. When it was a long
one and carried few, the next one is put off for a part of its length, in which they bring more. An idle server, and one
whose fan-outs are short, sends at once.
"""

from typing import Final

__all__ = ["Pace"]

_LONG_S: Final = 0.002
_ENOUGH: Final = 32
"""Messages at which the write itself no longer decides."""
_SHARE: Final = 1 / 2
"""The pause after a long fan-out, as a part of its length: at most a third of the time is left to reading."""
_MOST_S: Final = 0.004


class Pace:
    """Puts off the next fan-out after a long one that carried little."""

    __slots__ = ("_not_before",)

    def __init__(self) -> None:
        self._not_before = 0.0

    def fanned_out(self, messages: int, began: float, ended: float) -> None:
        """
        A fan-out is over.

        Args:
            messages: that it carried.
            began, ended: monotonic seconds.
        """
        took = ended - began
        pause = min(took * _SHARE, _MOST_S) if took >= _LONG_S and messages < _ENOUGH else 0.0
        self._not_before = ended + pause

    def wait_s(self, now: float) -> float:
        """Seconds until the next one may begin; 0 for at once."""
        return max(0.0, self._not_before - now)
