"""
How often each thing may be asked of a communication service. Pure: the time comes in as an argument.

Source: the service's page on limits.
"""

import math
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from hubwire.model.errors import Throttled

__all__ = ["AZURE", "WINDOW_S", "Quotas", "Quoted"]

WINDOW_S: Final = 30

Quoted: TypeAlias = Literal["create", "createWithToken", "delete", "issue", "revoke", "exchange"]
"""What is counted by itself."""

AZURE: Final[Mapping[Quoted, int]] = {
    "create": 1000,
    "createWithToken": 1000,
    "delete": 500,
    "issue": 1000,
    "revoke": 500,
    "exchange": 500,
}
"""What the service itself lets each of its resources ask in a window."""


class Quotas:
    """
    Args:
        limits: how often in a window; what is not there has no limit.
    """

    def __init__(self, limits: Mapping[Quoted, int]) -> None:
        self._limits = dict(limits)
        self._used: dict[tuple[str, Quoted], tuple[float, int]] = {}

    def count(self, service: str, asked: Quoted, now: float) -> None:
        """
        One more. The first one opens a window, and when that is over the next one opens another.

        Args:
            service: immutable id.
            now: seconds, of whatever clock.

        Raises:
            Throttled: there were as many as may be; this one does not count.
        """
        most = self._limits.get(asked)
        if most is None:
            return
        begin, used = self._used.get((service, asked), (now, 0))
        if not begin <= now < begin + WINDOW_S:
            begin, used = now, 0
        if used >= most:
            wait_s = math.ceil(begin + WINDOW_S - now)
            raise Throttled(f"There are at most {most} such requests in {WINDOW_S} seconds.", wait_s)
        self._used[(service, asked)] = begin, used + 1

    def forget(self, service: str) -> None:
        """A service is gone."""
        for key in [key for key in self._used if key[0] == service]:
            del self._used[key]
