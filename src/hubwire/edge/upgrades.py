"""Who has a socket that is to speak WebSocket: clients come to one kind of endpoint, and tunnels to another."""

import asyncio

from hubwire.edge import tunnel_socket, websocket
from hubwire.edge.clients import Clients
from hubwire.edge.tunnel_socket import TunnelSockets
from hubwire.gateway.tunnel_handshake import is_tunnel_path
from hubwire.model.http import RequestHead

__all__ = ["upgrade"]


def upgrade(
    clients: Clients, tunnels: TunnelSockets, head: RequestHead, transport: asyncio.Transport, rest: bytes
) -> object | None:
    """Answer an upgrade request; see `hubwire.edge.context.Upgrade`."""
    if is_tunnel_path(head.target):
        return tunnel_socket.upgrade(tunnels, head, transport, rest)
    return websocket.upgrade(clients, head, transport, rest)
