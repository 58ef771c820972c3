"""Who has a socket that is to speak WebSocket: clients come to some kinds of endpoints, and tunnels to another."""

import asyncio
from functools import partial
from typing import cast

from hubwire.edge import tunnel_socket
from hubwire.edge.answers import refusal
from hubwire.edge.asked import Asked
from hubwire.edge.clients import Clients
from hubwire.edge.mqtt_socket import MqttProtocol
from hubwire.edge.tunnel_socket import TunnelSockets
from hubwire.edge.websocket import ClientProtocol
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.gateway.opening import Opening
from hubwire.gateway.tunnel_handshake import is_tunnel_path
from hubwire.model.http import RequestHead

__all__ = ["upgrade", "upgrade_client"]


def upgrade(
    clients: Clients, tunnels: TunnelSockets, head: RequestHead, transport: asyncio.Transport, rest: bytes
) -> object | None:
    """Answer an upgrade request; see `hubwire.edge.context.Upgrade`."""
    if is_tunnel_path(head.target):
        return tunnel_socket.upgrade(tunnels, head, transport, rest)
    return upgrade_client(clients, head, transport, rest)


def upgrade_client(
    clients: Clients, head: RequestHead, transport: asyncio.Transport, rest: bytes
) -> ClientProtocol | Asked | None:
    """
    Answer an upgrade request of a client on a socket that the front hands over.

    Args:
        rest: what was read behind the head already.

    Returns:
        the protocol that has the socket from now on; None if the request was refused and the front is to end it; an
        `Asked` while an event handler is asked.
    """
    try:
        opening = clients.gateway.decide(head)
    except HandshakeRefused as refused:
        transport.write(refusal(refused))
        return None
    if isinstance(opening, Opening):
        return _let_in(clients, transport, opening, rest)
    return Asked(clients, transport, opening, partial(_let_in, clients, transport))


def _let_in(clients: Clients, transport: asyncio.Transport, opening: Opening, rest: bytes) -> ClientProtocol:
    protocol = ClientProtocol if opening.newcomer is None else MqttProtocol
    client = protocol(clients, transport, opening)
    transport.set_protocol(cast("asyncio.Protocol", client))
    client.open(opening, rest)
    return client
