"""Who sends a REST request: whoever holds an access key, or a token of an issuer."""

import time
from collections.abc import Callable
from typing import Final

from hubwire.auth.bearers import Bearers
from hubwire.auth.callers import Principal
from hubwire.auth.failures import Failures
from hubwire.auth.principals import Principals
from hubwire.auth.signatures import algorithm_of
from hubwire.model.errors import Unauthorized
from hubwire.model.roles import resource_id

__all__ = ["RestCallers"]

_HMAC: Final = "HS256"


class RestCallers:
    """
    Args:
        subscription_id: below which the resources lie.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        keys: Principals,
        bearers: Bearers,
        failures: Failures,
        subscription_id: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._bearers = bearers
        self._failures = failures
        self._subscription_id = subscription_id
        self._clock = clock

    async def caller(
        self,
        authorization: str | None,
        resource: str,
        host: str,
        raw_path: str,
        action: str | None,
        client_ip: str | None,
    ) -> Principal:
        """
        Args:
            authorization: value of the header, None if there is none.
            resource: name of the resource that the request is for.
            host: authority that it was sent to.
            raw_path: its path, still percent-encoded; a character for each byte (Latin-1).
            action: data action that it takes; access keys allow all.
            client_ip: None if nobody knows it.

        Raises:
            Unauthorized: nobody whom we know, or a token for another path.
            Throttled: the same, from an address that failed too often. Whoever proves themselves is never slowed down.
            Forbidden: somebody who may not do this.
            Unavailable: what is needed to tell does not answer.
        """
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        try:
            if scheme.lower() != "bearer" or algorithm_of(token) in (_HMAC, ""):
                return self._keys.rest(authorization, resource, host, raw_path)
            return await self._bearers.caller(token, action, resource_id(self._subscription_id, resource))
        except Unauthorized:
            if authorization is not None and client_ip is not None:
                now = self._clock()
                self._failures.check(client_ip, now)
                self._failures.add(client_ip, now)
            raise
