"""Which of the two kinds of endpoints a WebSocket is for."""

from typing import Any, cast

import pytest

from doubles import head, settle
from edge.sockets import FakeTransport, Server
from gateway.house import URL
from hubwire.edge.tunnel_socket import TunnelSockets
from hubwire.edge.upgrades import upgrade
from hubwire.gateway.tunnel_handshake import TunnelEntrance
from hubwire.upstream.tunnel import Tunnels


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/server/tunnel?hub=chat", b"An access token is required."),
        (URL, b"A client access token is required."),
        ("/server/other?hub=chat", b"There is no such endpoint."),
    ],
)
async def test_endpoint_says_who_decides_on_an_upgrade(target: str, reason: bytes) -> None:
    server, transport = Server(), FakeTransport()
    entrance = TunnelEntrance(Tunnels(), cast("Any", None), server.house.directory)
    tunnels = TunnelSockets(entrance, server.house.loop)

    taken: Any = upgrade(server.clients, tunnels, head(target), transport, b"")
    await settle()
    if taken is not None:
        taken.finish(b"")

    assert transport.sent.endswith(b"\r\n\r\n" + reason)
    assert (taken is not None) == target.startswith("/server/tunnel")
