"""What a client that was let in gets, as a value; and a decision about one that takes its time."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from hubwire.auth.logins import Login
from hubwire.gateway.newcomer import Newcomer
from hubwire.hub.connection import Connection

__all__ = ["Deciding", "Opening"]


class Opening(Struct, frozen=True):
    """
    What a client that was let in gets.

    Attributes:
        connection: None for a recovery that is refused, which the client learns by close code 1008 after the 101; and
            for an MQTT client, which is a newcomer at first.
        subprotocol: to be echoed; None for no header.
        groups: that it is in from the beginning.
        roles: that it was given.
        resumed: the connection was there before.
        login: that of a client which needs one.
    """

    connection: Connection | None
    subprotocol: str | None
    websocket_key: str
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    resumed: bool = False
    newcomer: Newcomer | None = None
    login: Login | None = None


class Deciding:
    """
    An event handler has a say, or the store.

    Args:
        ask: asks it, once; is given this, and raises HandshakeRefused.

    Attributes:
        client_gone: to be set when nobody waits for the decision any more. What is under way goes on: a handler that
            accepts a connection is told its end.
    """

    def __init__(self, ask: Callable[["Deciding"], Awaitable[Opening]]) -> None:
        self._ask = ask
        self.client_gone = False

    async def outcome(self) -> Opening:
        """
        Raises:
            HandshakeRefused: with the documented status.
        """
        return await self.within(self)

    async def within(self, whole: "Deciding") -> Opening:
        """The same as a part of another decision, about the same client. Raises as `outcome`."""
        return await self._ask(whole)
