"""Who reads and writes secrets of a Key Vault: whoever brings a token of an issuer for it."""

import time
from collections.abc import Callable, Collection

from hubwire.auth.bearers import Bearers
from hubwire.auth.failures import Failures
from hubwire.model.errors import Unauthorized
from hubwire.model.vaults import VaultCaller

__all__ = ["VaultCallers"]


class VaultCallers:
    """
    Args:
        clock: seconds since 1970.
    """

    def __init__(self, bearers: Bearers, failures: Failures, clock: Callable[[], float] = time.time) -> None:
        self._bearers = bearers
        self._failures = failures
        self._clock = clock

    async def caller(self, authorization: str | None, also: Collection[str], client_ip: str | None) -> VaultCaller:
        """
        Args:
            authorization: value of the header, None if there is none: clients ask so first, to learn how to sign in.
            also: audiences that the token may be for, besides those of every vault.
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
            bearer = await self._bearers.bearer(token.strip(), also)
        except Unauthorized:
            if authorization is not None and client_ip is not None:
                now = self._clock()
                self._failures.check(client_ip, now)
                self._failures.add(client_ip, now)
            raise
        return VaultCaller(bearer.tenant, bearer.principal_id)
