"""How event handlers are, for the local operator."""

from collections.abc import Awaitable, Callable, Sequence

from hubwire.model.names import HubKey
from hubwire.rest.bodies import json_reply
from hubwire.rest.call import Call
from hubwire.rest.checks import checked_hub
from hubwire.rest.operation import Operation, Reply

__all__ = ["HandlerTable"]


class HandlerTable:
    """
    The handler of the one row.

    Args:
        states: how each event handler of a hub is, in words.
    """

    def __init__(self, states: Callable[[HubKey], Awaitable[Sequence[str]]]) -> None:
        self._states = states

    def operations(self) -> tuple[Operation, ...]:
        """The table."""
        path = "/control/handlers/{resource}/{hub}"
        return (Operation("GET", path, "GetHandlers", self._get, (200, 400), surface="operator"),)

    async def _get(self, call: Call) -> Reply:
        hub = HubKey(call.names["resource"].lower(), checked_hub(call.names["hub"]).lower())
        return json_reply({"value": [{"state": state} for state in await self._states(hub)]})
