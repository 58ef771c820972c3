"""
A look at the event handlers of a hub before they are saved, and at how they are now.

What cannot be reached is saved all the same: it may be started later, and each event is preceded by a validation
anyway. Only a handler that answers, and says no, may stand in the way, where the operator wants that.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from hubwire.model.errors import BadRequest, EventUndelivered, NotFound
from hubwire.model.hubs import HubSettings
from hubwire.model.identities import ManagedIdentity
from hubwire.model.names import HubKey
from hubwire.model.ports import HubDirectory
from hubwire.upstream.calls import Caller, EventFailed
from hubwire.upstream.dispatcher import Dispatcher
from hubwire.upstream.handlers import Handler, read_handlers
from hubwire.upstream.tunnel import how_to_dial_in
from hubwire.upstream.validation import NotValidated, Validator

__all__ = ["HandlerReview"]

_log: Final = logging.getLogger("hubwire.upstream")
_PATIENCE_S: Final = 3.0
_NO_IDENTITY: Final = "it is to get a token of the resource's managed identity, and the resource has none"


class HandlerReview:
    """
    Args:
        origin: our host name for events of a resource.
        tunnels: how many have dialled in for a hub.
        failure: why a secret could not be read again; None if it could.
        strict: refuse what answers with a refusal.
    """

    def __init__(
        self,
        directory: HubDirectory,
        caller: Caller,
        validator: Validator,
        dispatcher: Dispatcher,
        origin: Callable[[str], str],
        tunnels: Callable[[HubKey], int],
        failure: Callable[[str, ManagedIdentity], str | None],
        *,
        strict: bool,
    ) -> None:
        self._directory = directory
        self._caller = caller
        self._validator = validator
        self._dispatcher = dispatcher
        self._origin = origin
        self._tunnels = tunnels
        self._failure = failure
        self._strict = strict

    async def __call__(self, hub: HubKey, settings: HubSettings) -> list[str]:
        """
        What of these handlers will not work as it is now, a line each.

        Raises:
            BadRequest: one of them refuses, and that counts.
        """
        handlers = read_handlers(settings).all
        found = await asyncio.gather(*(self._finding(hub, handler) for handler in handlers))
        for position, finding in enumerate(found):
            if isinstance(finding, NotValidated) and finding.answered and self._strict:
                raise BadRequest(finding.message, f"eventHandlers[{position}].urlTemplate")
        findings = [
            f"eventHandlers[{position}]: {finding.message if isinstance(finding, EventUndelivered) else finding}"
            for position, finding in enumerate(found)
            if finding is not None
        ]
        for finding in findings:
            _log.warning("hub %s: %s", hub.hub, finding)
        return findings

    async def states(self, hub: HubKey) -> list[str]:
        """How each handler of a hub is, in words, as far as it is known."""
        return [await self._state(hub, handler) for handler in self._dispatcher.handlers_of(hub).all]

    async def _finding(self, hub: HubKey, handler: Handler) -> EventUndelivered | str | None:
        try:
            identity = self._directory.policy(hub.resource).identity
        except NotFound:
            return None
        needs_identity = handler.audience is not None or handler.template.secrets
        if (needs_identity and identity is None) or handler.template.is_tunnel:
            return None  # the resource tree warns of the first by itself
        try:
            async with asyncio.timeout(_PATIENCE_S):
                secrets = await self._caller.values(handler, identity)
                await self._caller.validate(
                    hub,
                    handler,
                    self._dispatcher.lane(hub, handler),
                    secrets,
                    self._origin(hub.resource),
                    urgent=False,
                    looking=True,
                )
        except TimeoutError:
            return EventFailed(f"the handler has not answered a validation within {_PATIENCE_S:g} s")
        except EventUndelivered as error:
            return error
        except BadRequest as error:
            return error.message
        return None

    async def _state(self, hub: HubKey, handler: Handler) -> str:
        try:
            identity = self._directory.policy(hub.resource).identity
            if handler.audience is not None and identity is None:
                return _NO_IDENTITY
            if handler.template.is_tunnel:
                count = self._tunnels(hub)
                if not count:
                    return f"nobody has dialled in; to do so: {how_to_dial_in(hub)}"
                return f"{count} tunnel{'' if count == 1 else 's'} dialled in"
            async with asyncio.timeout(_PATIENCE_S):
                secrets = await self._caller.values(handler, identity)
                url = handler.template.resolve(hub.hub, "validate", secrets)
        except TimeoutError:
            return "its secret is being read"
        except (EventUndelivered, BadRequest, NotFound) as error:
            return error.message
        last = self._validator.last(url)
        if not last:
            return "not asked yet"
        refusals = [refusal for refusal in last.values() if refusal is not None]
        if refusals:
            return refusals[0]
        failures = [failure for uri in secrets if identity is not None and (failure := self._failure(uri, identity))]
        state = f"it takes events, by a secret of before: {failures[0]}" if failures else "it takes events"
        last_failure = self._dispatcher.lane(hub, handler).counters.failure
        if last_failure is None:
            return state
        at, reason = last_failure
        return f"{state}; the last one failed {time.monotonic() - at:.0f} s ago: {reason}"
