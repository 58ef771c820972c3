"""Who sends a REST request: whoever holds an access key, or a token of an issuer."""

import time
from collections.abc import Callable
from typing import Final

from hubwire.auth.bearers import Bearers
from hubwire.auth.callers import Principal
from hubwire.auth.failures import Failures
from hubwire.auth.principals import Principals
from hubwire.auth.signatures import algorithm_of
from hubwire.model.errors import Forbidden, Unauthorized, Unavailable
from hubwire.model.ports import KeyDirectory

__all__ = ["RestCallers"]

_HMAC: Final = "HS256"


class RestCallers:
    """
    Args:
        resources: what each of them demands of callers.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        keys: Principals,
        bearers: Bearers,
        failures: Failures,
        resources: KeyDirectory,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._bearers = bearers
        self._failures = failures
        self._resources = resources
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
            Forbidden: somebody who may not do this, or whom the network rules keep out.
            NotFound: there is no such resource any more.
            Unavailable: what is needed to tell does not answer, or the resource is stopped.
        """
        policy = self._resources.policy(resource)
        if client_ip is not None and (refusal := policy.network.refusal("RESTAPI", client_ip)) is not None:
            raise Forbidden(refusal, "Network")
        if policy.stopped:
            raise Unavailable("The resource is stopped.", "Resource")
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        try:
            if scheme.lower() != "bearer" or algorithm_of(token) in (_HMAC, ""):
                return self._keys.rest(authorization, resource, host, raw_path)
            if not policy.entra_auth:
                raise Unauthorized("tokens of issuers are switched off")
            return await self._bearers.caller(token, action, policy.scope)
        except Unauthorized:
            if authorization is not None and client_ip is not None:
                now = self._clock()
                self._failures.check(client_ip, now)
                self._failures.add(client_ip, now)
            raise
