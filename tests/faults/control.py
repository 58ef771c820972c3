"""The local operator's requests, as one who makes many of them: without starting a command for each."""

import http.client
import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from acceptance.servers import DEADLINE_S, Server
from acceptance.wire import Answer

__all__ = ["ControlConnection", "control"]


class ControlConnection(http.client.HTTPConnection):
    """To the control socket of a server."""

    def __init__(self, server: Server) -> None:
        super().__init__("localhost", timeout=DEADLINE_S)
        self._folder = server.data

    def connect(self) -> None:
        """The path may be longer than a socket's may be; that of its folder's descriptor is not."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(DEADLINE_S)
            self.sock.connect(f"/proc/self/fd/{folder}/control.sock")
        finally:
            os.close(folder)

    def ask(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> Answer:
        """
        One request, on the connection that there is.

        Raises:
            OSError, http.client.HTTPException: the server has gone; it may or may not have done what was asked.
        """
        body = None if document is None else json.dumps(document).encode()
        self.request(method, f"/control/{path}", body, {"Content-Type": "application/json"})
        response = self.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


def control(server: Server, method: str, path: str, document: Mapping[str, Any] | None = None) -> Answer:
    """One request on a connection of its own."""
    connection = ControlConnection(server)
    try:
        return connection.ask(method, path, document)
    finally:
        connection.close()
