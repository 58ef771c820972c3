"""What a client that was let in gets, as a value."""

from msgspec import Struct

from hubwire.hub.connection import Connection

__all__ = ["Opening"]


class Opening(Struct, frozen=True):
    """
    What a client that was let in gets.

    Attributes:
        connection: None for a recovery that is refused, which the client learns by close code 1008 after the 101.
        subprotocol: to be echoed; None for no header.
        groups: that it is in from the beginning.
        resumed: the connection was there before.
    """

    connection: Connection | None
    subprotocol: str | None
    websocket_key: str
    groups: tuple[str, ...] = ()
    resumed: bool = False
