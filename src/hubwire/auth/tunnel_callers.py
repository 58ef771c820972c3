"""
Who dials in to answer the events of a hub: whoever holds an access key, or a token of an issuer and the role for it.

Source: the tokens that the service's open tool (awps-tunnel) makes or asks for; the roles that its page names for it.
"""

import time
from collections.abc import Callable
from typing import Final

from hubwire.auth.bearers import Bearers
from hubwire.auth.failures import Failures
from hubwire.auth.principals import Principals
from hubwire.auth.signatures import algorithm_of
from hubwire.model.errors import Unauthorized
from hubwire.model.names import HubKey
from hubwire.model.ports import KeyDirectory

__all__ = ["TunnelCallers"]

_HMAC: Final = "HS256"
_ACTION: Final = "serverConnection/write"
"""What it takes of a caller whose rights are roles. Events hold what clients say, so it is no action of readers."""


class TunnelCallers:
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

    async def caller(self, token: str, hub: HubKey, host: str, client_ip: str) -> str | None:
        """
        Args:
            host: authority that the request was sent to.

        Returns:
            what the caller is called: the user id in a token that an access key signed, else the object id.

        Raises:
            Unauthorized: nobody whom we know, or a token for something else.
            Throttled: the same, from an address that failed too often.
            Forbidden: somebody who may not do this.
            NotFound: there is no such resource any more.
            Unavailable: what is needed to tell does not answer.
        """
        policy = self._resources.policy(hub.resource)
        try:
            if algorithm_of(token) in (_HMAC, ""):
                return self._keys.tunnel(token, hub, host)
            if not policy.entra_auth:
                raise Unauthorized("tokens of issuers are switched off")
            return (await self._bearers.caller(token, _ACTION, policy.scope)).name
        except Unauthorized:
            now = self._clock()
            self._failures.check(client_ip, now)
            self._failures.add(client_ip, now)
            raise
