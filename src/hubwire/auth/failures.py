"""
How many failed proofs one address may send. Pure: the time comes in as an argument.

Each address has a bucket of failures that fills again all the time. Whoever guesses is soon slowed down to its rate.
"""

import math
from collections import OrderedDict
from typing import Final

__all__ = ["Failures"]

_ADDRESSES: Final = 10_000
"""That are remembered; those that failed last."""
_ROUNDING_S: Final = 1e-3


class Failures:
    """
    Args:
        per_minute: failures that an address may have, at once or over a minute; 0 is no limit.
    """

    def __init__(self, per_minute: int) -> None:
        self._most = per_minute
        self._seen: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str, now: float) -> int:
        """How long this address has to wait before it may try again, rounded up; 0 in nearly all cases."""
        if not self._most:
            return 0
        # One more failure must fit below the brim: to be just below it again takes no time at all.
        over = self._failures(address, now) + 1 - self._most
        return max(0, math.ceil(over * 60 / self._most - _ROUNDING_S))

    def add(self, address: str, now: float) -> None:
        """One more failure."""
        if self._most:
            self._seen[address] = (min(self._failures(address, now) + 1, self._most), now)
            self._seen.move_to_end(address)
            if len(self._seen) > _ADDRESSES:
                self._seen.popitem(last=False)

    def _failures(self, address: str, now: float) -> float:
        """Those that are not forgotten yet."""
        failures, since = self._seen.get(address, (0.0, now))
        # When the clock is set back all is forgotten: nobody should wait until it has caught up.
        return 0.0 if now < since else max(0.0, failures - (now - since) * self._most / 60)
