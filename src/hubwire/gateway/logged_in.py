"""Connections of clients whose login may be over before they leave: then they are closed."""

import asyncio
from collections.abc import Sequence
from typing import Final

from hubwire.auth.logins import Login
from hubwire.cluster.node import Node
from hubwire.hub.connection import Connection
from hubwire.model.telemetry import CloseCategory

__all__ = ["OVER", "LoggedIn"]

OVER: Final = "The access token was revoked."
# Tells official clients not to try a recovery; MQTT clients are told by a DISCONNECT packet.
_CLOSE_CODE: Final = 1008
_SLICE: Final = 200
"""Connections that are closed in one go, at some 20 µs each: thousands may hang on one access key."""


class LoggedIn:
    """Those of this node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._logins: dict[Connection, Login] = {}
        self._connections: dict[Login, Connection] = {}

    def begun(self, connection: Connection, login: Login | None) -> None:
        """
        A client is in, or has come back with what it proves now.

        Args:
            login: None for whoever needs none.
        """
        self.ended(connection)
        if login is not None:
            self._logins[connection] = login
            self._connections[login] = connection
            self._close((connection,))  # if it was revoked on the way in

    def ended(self, connection: Connection) -> None:
        """A connection is no more. It need not be one of these."""
        login = self._logins.pop(connection, None)
        if login is not None:
            del self._connections[login]

    def over(self, logins: Sequence[Login]) -> None:
        """Some logins are over."""
        self._close([connection for login in logins if (connection := self._connections.get(login)) is not None])

    def _close(self, connections: Sequence[Connection]) -> None:
        for connection in connections[:_SLICE]:
            login = self._logins.get(connection)
            if login is not None and login.is_over:
                self._node.close(connection, _CLOSE_CODE, OVER, CloseCategory.UNAUTHORIZED)
        if rest := connections[_SLICE:]:
            asyncio.get_running_loop().call_soon(self._close, rest)
