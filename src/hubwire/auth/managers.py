"""Who calls the resource manager: whoever brings a token of an issuer for it, and what they may do there."""

import time
from collections.abc import Callable

from hubwire.auth.bearers import Bearer, Bearers
from hubwire.auth.failures import Failures
from hubwire.model.errors import Unauthorized

__all__ = ["Managers"]


class Managers:
    """
    Args:
        clock: seconds since 1970.
    """

    def __init__(self, bearers: Bearers, failures: Failures, clock: Callable[[], float] = time.time) -> None:
        self._bearers = bearers
        self._failures = failures
        self._clock = clock

    async def caller(self, authorization: str | None, client_ip: str | None) -> Bearer:
        """
        Args:
            authorization: value of the header, None if there is none.
            client_ip: None if nobody knows it.

        Raises:
            Unauthorized: nobody whom we know.
            Throttled: the same, from an address that failed too often.
            Unavailable: the keys of the token's issuer cannot be had now.
        """
        scheme, _, token = (authorization or "").strip().partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise Unauthorized("no bearer token")
            return await self._bearers.bearer(token.strip())
        except Unauthorized:
            if authorization is not None and client_ip is not None:
                now = self._clock()
                self._failures.check(client_ip, now)
                self._failures.add(client_ip, now)
            raise

    def check(self, bearer: Bearer, action: str, scope: str) -> None:
        """Raises Forbidden: they may not do this there. The text names the roles that would let them."""
        self._bearers.check(bearer, action, scope)

    def may(self, bearer: Bearer, action: str, scope: str) -> bool:
        """The same, as an answer."""
        return self._bearers.may(bearer, action, scope)

    def sees(self, bearer: Bearer, scope: str) -> bool:
        """Have they any role at a scope, above or below it."""
        return self._bearers.sees(bearer, scope)
