"""
Tools that dial in to answer the events of a hub: an upgrade request in, a tunnel out.

As with clients, a refusal is an HTTP status: `decide` answers who may come, `begin` lets it in after the 101.

Source: the endpoint and the query that the service's open tool (awps-tunnel) dials.
"""

from typing import Final

from msgspec import Struct

from hubwire.auth.tunnel_callers import TunnelCallers
from hubwire.gateway import records
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.gateway.handshake import query_pairs, sent_token, websocket_key
from hubwire.model.errors import Forbidden, NotFound, Throttled, Unauthorized, Unavailable
from hubwire.model.http import RequestHead
from hubwire.model.names import HubKey, is_hub_name
from hubwire.model.ports import HubDirectory
from hubwire.upstream.tunnel import Tunnel, Tunnels, TunnelWire

__all__ = ["TunnelEntrance", "TunnelOpening", "is_tunnel_path"]

_PATH: Final = ["server", "tunnel"]
_FAREWELL: Final = "The server is shutting down."


class TunnelOpening(Struct, frozen=True):
    """
    What a tool that may come in gets.

    Attributes:
        websocket_key: RFC 6455 4.2.1, already checked.
        user_id: what its token calls it.
    """

    hub: HubKey
    websocket_key: str
    user_id: str | None
    client_ip: str


def is_tunnel_path(target: str) -> bool:
    """Does a request target belong to the endpoint of tunnels."""
    path = target.partition("?")[0]
    return [part for part in path.lower().split("/") if part] == _PATH


class TunnelEntrance:
    """The tunnels of one node, for the edge."""

    def __init__(self, tunnels: Tunnels, callers: TunnelCallers, directory: HubDirectory) -> None:
        self._tunnels = tunnels
        self._callers = callers
        self._directory = directory
        self._stopping = False

    async def decide(self, head: RequestHead) -> TunnelOpening:
        """
        Answer an upgrade request.

        Raises:
            HandshakeRefused: 400 for what is no WebSocket request or names no legal hub, 401 without a token that
                proves something, 403 for who may not, 404 for a resource that is not there, 426 for another version of
                the protocol, 429 for an address that failed too often, 503 while this cannot be told or served.
        """
        try:
            return await self._decide(head)
        except HandshakeRefused as refusal:
            records.refused(head, refusal.status, refusal.cause)
            raise

    async def _decide(self, head: RequestHead) -> TunnelOpening:
        query = dict(reversed(query_pairs(head.target.partition("?")[2])))  # the first of repeated ones
        name = query.get("hub", "")
        if not is_hub_name(name):
            raise HandshakeRefused(400, "The hub name is missing or not valid.")
        key = websocket_key(head)
        hub = HubKey(head.resource, name.lower())
        token = sent_token(query.get("access_token"), head.header("authorization"))
        try:
            self._check_policy(head)
            if token is None:
                raise HandshakeRefused(401, "An access token is required.")
            user_id = await self._callers.caller(token, hub, head.host, head.client_ip)
            # Finding out may have taken a while.
            self._check_policy(head)
        except Unauthorized as refusal:
            raise HandshakeRefused(401, "The access token is not valid.", cause=refusal.message) from refusal
        except Forbidden as refusal:
            raise HandshakeRefused(403, refusal.message) from refusal
        except NotFound as refusal:
            raise HandshakeRefused(404, "There is no such resource.", cause=refusal.message) from refusal
        except Throttled as refusal:
            raise HandshakeRefused(429, refusal.message, {"Retry-After": str(refusal.retry_after_s)}) from refusal
        except Unavailable as refusal:
            raise HandshakeRefused(503, refusal.message, {"Retry-After": "1"}) from refusal
        return TunnelOpening(hub, key, user_id, head.client_ip)

    def _check_policy(self, head: RequestHead) -> None:
        """What the resource demands of everybody, whoever it is."""
        policy = self._directory.policy(head.resource)
        refused = policy.network.refusal("ServerConnection", head.client_ip)
        if refused is not None:
            raise Forbidden(refused)
        if self._stopping:
            raise Unavailable(_FAREWELL)
        if policy.stopped:
            raise Unavailable("The resource is stopped.")

    def begin(self, opening: TunnelOpening, wire: TunnelWire) -> Tunnel:
        """After the 101: let the tool in and tell it so."""
        return self._tunnels.connect(opening.hub, wire, opening.user_id, opening.client_ip)

    def keep_alive_s(self, hub: HubKey) -> int:
        """Whole seconds of silence after which a tool is pinged, the same as for clients of its hub."""
        return self._directory.settings(hub).web_socket_keep_alive_interval_in_seconds

    def stop(self) -> None:
        """Refuse new tunnels from now on. Those that are open still answer events."""
        self._stopping = True

    def end(self) -> None:
        """The server goes away: end all tunnels. Tools try to come back."""
        self._tunnels.dismiss(_FAREWELL)

    def end_resource(self, resource: str, text: str, *, for_good: bool) -> None:
        """
        End all tunnels of a resource.

        Args:
            text: for the person at the tool.
            for_good: there is nothing to come back to.
        """
        self._tunnels.dismiss(text, resource, for_good=for_good)
