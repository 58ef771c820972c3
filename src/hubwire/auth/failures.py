"""
How many failed proofs one address may send. Pure: the time comes in as an argument.

Each address (of IPv6 each network of 64 bits) has a bucket of failures that fills again all the time. Whoever guesses
is soon slowed down to its rate.
"""

import math
from collections import OrderedDict
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from hubwire.model.errors import Throttled

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
        address = _caller(address)
        # One more failure must fit below the brim: to be just below it again takes no time at all.
        over = self._counted(address, now) + 1 - self._most
        return max(0, math.ceil(over * 60 / self._most - _ROUNDING_S))

    def check(self, address: str, now: float) -> None:
        """
        Raises:
            Throttled: this address failed too often.
        """
        if wait_s := self.wait_s(address, now):
            raise Throttled("Too many requests of this address proved nothing.", wait_s)

    def add(self, address: str, now: float) -> None:
        """One more failure."""
        if self._most:
            address = _caller(address)
            self._seen[address] = (min(self._counted(address, now) + 1, self._most), now)
            self._seen.move_to_end(address)
            if len(self._seen) > _ADDRESSES:
                self._seen.popitem(last=False)

    def take_back(self, address: str, now: float) -> None:
        """What was counted as a failure was none."""
        address = _caller(address)
        if address in self._seen:
            self._seen[address] = (max(0.0, self._counted(address, now) - 1), now)

    def _counted(self, address: str, now: float) -> float:
        """Those that are not forgotten yet."""
        failures, since = self._seen.get(address, (0.0, now))
        # When the clock is set back all is forgotten: nobody should wait until it has caught up.
        return 0.0 if now < since else max(0.0, failures - (now - since) * self._most / 60)


@lru_cache(256)
def _caller(address: str) -> str:
    """Who has an address: of IPv6 whoever has the network of 64 bits, which one machine gets as a whole."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4 or found.ipv4_mapped is not None:
        return address
    return str(ip_network((found, 64), strict=False))
