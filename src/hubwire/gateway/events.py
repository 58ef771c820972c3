"""
Connections as event handlers see them: who is asked about a client, and what is told of one that is in.
"""

from collections.abc import Collection
from typing import Final

from msgspec import Struct

from hubwire.auth.callers import ClientClaims
from hubwire.gateway.attempt import Attempt, HandshakeRefused
from hubwire.gateway.opening import Deciding
from hubwire.hub.connection import Connection
from hubwire.model.errors import EventUndelivered
from hubwire.model.messages import FromServer, SendEvent
from hubwire.model.names import HubKey
from hubwire.model.resources import ResourcePolicy
from hubwire.upstream.cloudevents import ClientCertificate, ConnectVerdict
from hubwire.upstream.dispatcher import ConnectRefused, ConnectRequest, Dispatcher
from hubwire.upstream.handlers import Presence
from hubwire.upstream.sources import EventSource

__all__ = ["ConnectionEvents", "Shown"]

_MOST_NAMES: Final = 64
"""By which clients reach this server, where the operator has given it no name."""


class Shown(Struct, frozen=True):
    """
    What `connect` events say of clients.

    Attributes:
        origin: host name of this server, as handlers know it; None is the one that each client used.
        otherwise: host name for those who come by names without end.
        hidden_headers: of upgrade requests, in lower case.
        no_certificate: what is said of a client that was asked for a certificate and showed none.
        upper_thumbprints: letter case of certificates' thumbprints.
        refusal_bodies: are clients sent what a handler says to its refusal.
    """

    origin: str | None = None
    otherwise: str = "localhost"
    hidden_headers: Collection[str] = ("authorization",)
    no_certificate: tuple[ClientCertificate, ...] | None = None
    upper_thumbprints: bool = False
    refusal_bodies: bool = False


class ConnectionEvents:
    """
    Event handlers, as far as connections of this node have to do with them.

    Attributes:
        watch: waits for a task before all is told at the end of the server.
    """

    def __init__(self, dispatcher: Dispatcher, shown: Shown) -> None:
        self._dispatcher = dispatcher
        self._shown = shown
        self._names: dict[str, str] = {}
        self.watch = dispatcher.watch

    # Before a client is in.

    def decide(self, hub: HubKey) -> bool:
        """Is a handler asked about clients of a hub."""
        return self._dispatcher.handles(hub, "connect")

    def origin(self, host: str) -> str:
        """Our host name for a client that asked for `host`. The same object for all of them."""
        if self._shown.origin is not None:
            return self._shown.origin
        known = self._names.get(host)
        if known is None:
            if len(self._names) >= _MOST_NAMES:
                # Strangers may make up names, and each would have to be validated.
                return self._shown.otherwise
            known = self._names[host] = _host_name(host)
        return known

    async def connect(
        self,
        attempt: Attempt,
        connection_id: str,
        claims: ClientClaims,
        subprotocol: str | None,
        policy: ResourcePolicy,
        deciding: Deciding,
    ) -> tuple[EventSource, ConnectVerdict]:
        """
        Ask about a client.

        Args:
            subprotocol: that it gets unless the handler names another one.

        Raises:
            HandshakeRefused: with the handler's status if that refuses, 500 if it fails.
        """
        source = EventSource(attempt.hub, connection_id, self.origin(attempt.head.host), claims.user_id)
        request = ConnectRequest(
            claims=claims.claims,
            query=attempt.query,
            headers=[pair for pair in attempt.head.headers if pair[0].lower() not in self._shown.hidden_headers],
            subprotocols=attempt.offered,
            subprotocol=subprotocol,
            certificates=self._certificates(attempt, policy),
            wanted=lambda: not deciding.client_gone,
        )
        try:
            return source, await self._dispatcher.connect(source, request)
        except ConnectRefused as refusal:
            text = "The event handler refused the connection."
            cause = f"the event handler answered {refusal.status}"
            if self._shown.refusal_bodies and refusal.body:
                raise HandshakeRefused(
                    refusal.status, text, cause=cause, body=refusal.body, content_type=refusal.content_type
                ) from refusal
            raise HandshakeRefused(refusal.status, text, cause=cause) from refusal
        except EventUndelivered as failure:
            raise HandshakeRefused(500, "The event handler failed.", cause=failure.message) from failure

    def _certificates(self, attempt: Attempt, policy: ResourcePolicy) -> tuple[ClientCertificate, ...] | None:
        if not policy.client_certificates:
            return ()
        der = attempt.head.client_certificate
        if der is None:
            return self._shown.no_certificate
        return (ClientCertificate.of(der, upper=self._shown.upper_thumbprints),)

    def never_begun(self, source: EventSource) -> None:
        """A client that a handler had accepted never came in."""
        self._dispatcher.disconnected(source, "The connection was not established.")

    # While it is in.

    def opened(self, connection: Connection, groups: Collection[str]) -> None:
        """A new connection is in, and in some groups from the beginning."""
        if self._dispatcher.handlers_of(connection.hub).all:
            source = self._source(connection)
            self._dispatcher.connected(source)
            for group in groups:
                self._dispatcher.presence(source, "joined", group, bounded=False)

    def membership(self, connection: Connection, group: str, is_member: bool) -> None:
        """A connection has entered or left a group."""
        if self._dispatcher.is_told_presence(connection.hub):
            # What the end of a connection brings is as much as it had groups; what its life brings may be without end.
            event: Presence = "joined" if is_member else "left"
            self._dispatcher.presence(self._source(connection), event, group, bounded=connection.alive)

    def ended(self, connection: Connection, reason: str | None) -> None:
        """A connection has ended for good."""
        if connection.source is not None or self._dispatcher.handles(connection.hub, "disconnected"):
            self._dispatcher.disconnected(self._source(connection), reason)

    def hung_up(self, connection: Connection) -> None:
        """A client that cannot come back waits for nothing any more: no event of it is sent again if it fails."""
        if connection.source is not None:
            connection.source.client_gone = True

    def takes(self, connection: Connection, event: str) -> bool:
        """Is a handler told of a user event."""
        return self._dispatcher.handles_user_event(connection.hub, event)

    async def user_event(self, connection: Connection, event: SendEvent) -> FromServer | None:
        """
        Tell a handler of a user event.

        Returns:
            its message for the client.

        Raises:
            EventUndelivered: it did not take it.
        """
        source = self._source(connection)
        if source.given_up:
            raise EventUndelivered("The client is gone, and the handler fails.")
        try:
            return await self._dispatcher.user_event(
                source,
                event.event,
                event.data,
                event.metadata,
                lambda: connection.alive and not source.client_gone,
            )
        except EventUndelivered:
            # More that it has sent may wait behind this; each would have to fail by itself.
            source.given_up = source.client_gone
            raise

    @staticmethod
    def _source(connection: Connection) -> EventSource:
        source: EventSource | None = connection.source
        if source is None:
            source = EventSource(
                connection.hub, connection.id, connection.origin, connection.user_id, connection.subprotocol
            )
            connection.source = source
        return source


def _host_name(host: str) -> str:
    """An authority without its port."""
    name, separator, port = host.rpartition(":")
    return name if separator and (port.isdigit() or not port) and not name.endswith(":") else host
