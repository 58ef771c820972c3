"""
Connections as event handlers see them: who is asked about a client, and what is told of one that is in.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Final

from msgspec import Struct

from hubwire.auth.callers import ClientClaims
from hubwire.gateway.attempt import Attempt, HandshakeRefused, category_of
from hubwire.gateway.opening import Deciding
from hubwire.hub.connection import Connection
from hubwire.model.errors import EventUndelivered, HubwireError
from hubwire.model.messages import EventAnswer, FromServer, Invoke, Publication, SendEvent
from hubwire.model.names import HubKey
from hubwire.model.resources import ResourcePolicy
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.mqtt.packets import Connect
from hubwire.protocols.mqtt.reasons import Reason, return_code
from hubwire.upstream.cloudevents import ClientCertificate, ConnectVerdict, NotOfferedResponse
from hubwire.upstream.connecting import ConnectRefused, ConnectRequest
from hubwire.upstream.dispatcher import Dispatcher, NoHandler
from hubwire.upstream.handlers import Presence
from hubwire.upstream.mqtt_events import MqttConnect, answer_properties
from hubwire.upstream.sources import EventSource, MqttEnding

__all__ = ["ConnectionEvents", "MqttRefused", "Shown"]

_V5: Final = 5
_FAILED: Final = CloseCategory.SERVICE_TRANSIENT_ERROR
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


class MqttRefused(HubwireError):  # noqa: N818
    """
    An MQTT client is not let in.

    Attributes:
        code: return code of 3.1.1 or reason code of 5.0, as the client speaks it.
        category: under which it is counted.
        cause: for the records.
        text, user_properties: for clients of 5.0.
        reason: see `Refusal`.
        advise: the cause alone does not tell what to mend.
    """

    def __init__(
        self,
        code: int,
        category: CloseCategory,
        cause: str,
        text: str | None = None,
        user_properties: tuple[tuple[str, str], ...] = (),
        *,
        reason: Reason | None = None,
        advise: bool = True,
    ) -> None:
        super().__init__(cause)
        self.code = code
        self.category = category
        self.cause = cause
        self.text = text
        self.user_properties = user_properties
        self.reason = reason
        self.advise = advise

    @classmethod
    def of(
        cls,
        reason: Reason,
        version: int,
        category: CloseCategory,
        cause: str,
        text: str | None = None,
        *,
        advise: bool = True,
    ) -> "MqttRefused":
        """For a reason of our own, whichever version the client speaks."""
        code = reason if version == _V5 else return_code(reason)
        return cls(code, category, cause, text, reason=reason, advise=advise)


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

    def tell_of_states(self, told: Callable[[HubKey, str], None]) -> None:
        """Let this be told, by hub and connection id, to whom the answer to an event gave another state."""
        self._dispatcher.on_state = lambda source: told(source.hub, source.connection_id)

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
            headers=self._headers(attempt),
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

    async def connect_mqtt(
        self,
        attempt: Attempt,
        claims: ClientClaims,
        connect: Connect,
        source: EventSource,
        policy: ResourcePolicy,
        wanted: Callable[[], bool],
    ) -> ConnectVerdict:
        """
        Ask about an MQTT client, at each of its CONNECT packets.

        Args:
            wanted: is the client still there.

        Raises:
            MqttRefused: as the handler has it; "server unavailable" if that fails.
        """
        request = ConnectRequest(
            claims=claims.claims,
            query=attempt.query,
            headers=self._headers(attempt),
            subprotocols=attempt.offered,
            subprotocol=attempt.protocol,
            certificates=self._certificates(attempt, policy),
            wanted=wanted,
            mqtt=MqttConnect(
                connect.version,
                connect.clean_start,
                connect.username,
                connect.password,
                connect.properties.user_properties,
            ),
        )
        try:
            return await self._dispatcher.connect(source, request)
        except ConnectRefused as refusal:
            said = refusal.mqtt
            assert said is not None, "an MQTT client was asked about"
            cause = f"the event handler answered {refusal.status}"
            category = _FAILED if refusal.status >= 500 else category_of(refusal.status)
            raise MqttRefused(said.code, category, cause, said.reason, said.user_properties) from refusal
        except EventUndelivered as failure:
            # No later try of the client changes that.
            cannot = isinstance(failure.__cause__, NotOfferedResponse)
            reason = Reason.IMPLEMENTATION_ERROR if cannot else Reason.SERVER_UNAVAILABLE
            text = "The event handler failed."
            raise MqttRefused.of(reason, connect.version, _FAILED, failure.message, text) from failure

    def _headers(self, attempt: Attempt) -> list[tuple[str, str]]:
        return [pair for pair in attempt.head.headers if pair[0].lower() not in self._shown.hidden_headers]

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
            ending = _ending(connection)
            if ending is None:
                self._dispatcher.disconnected(self._source(connection), reason)
            else:
                self._dispatcher.disconnected(self._source(connection), ending[0] or reason, ending[1])

    def resumed(self, connection: Connection, arrival: EventSource) -> None:
        """An MQTT client has come back to its session, by another socket."""
        self._dispatcher.resumed(self._source(connection), arrival)

    async def adopt(self, connections: Iterable[Connection]) -> None:
        """These go on from an earlier process: nobody is told so, nor that they have ended with it."""
        await self._dispatcher.adopt(map(self._source, connections))

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

    async def invoke(self, connection: Connection, invocation: Invoke) -> FromServer | None:
        """
        Tell a handler of an invocation. To be cancelled when nobody waits for it any more.

        Returns:
            its answer; None if that is empty.

        Raises:
            EventUndelivered: it did not take it.
        """
        return await self._dispatcher.user_event(
            self._source(connection), invocation.event, invocation.data, invocation.metadata, invoked=True
        )

    async def answer(self, connection: Connection, event: SendEvent) -> EventAnswer:
        """
        Tell a handler of an MQTT client's event.

        Returns:
            what the client is to be told, whatever came of it.
        """
        publication = event.publication
        assert publication is not None, "it came by MQTT"
        source = self._source(connection)
        if source.given_up:
            return EventAnswer(event, 500)
        try:
            response = await self._dispatcher.mqtt_event(
                source,
                event.event,
                _content_type(publication),
                event.data.body,
                publication.user_properties,
                lambda: connection.alive and not source.client_gone,
            )
        except NoHandler:
            return EventAnswer(event, 404)
        except EventUndelivered:
            source.given_up = source.client_gone  # as above
            return EventAnswer(event, 500)
        if not response.succeeded:
            source.given_up = source.client_gone
        return EventAnswer(
            event, response.status, response.last("content-type"), response.body, answer_properties(response)
        )

    @staticmethod
    def _source(connection: Connection) -> EventSource:
        source: EventSource | None = connection.source
        if source is None:
            source = EventSource(
                connection.hub, connection.id, connection.origin, connection.user_id, connection.subprotocol
            )
            connection.source = source
        return source


def _content_type(publication: Publication) -> str:
    """Handlers rely on one, and many publications have none."""
    if publication.content_type is not None:
        return publication.content_type
    return "text/plain; charset=utf-8" if publication.is_text else "application/octet-stream"


def _ending(connection: Connection) -> tuple[str | None, MqttEnding] | None:
    """How an MQTT session has ended, with the reason that its last DISCONNECT gave; None for other clients."""
    if not connection.session.says_goodbye:
        return None
    ending = connection.session.ending
    if ending is None:
        return None, MqttEnding()
    properties = ending.user_properties if ending.initiated_by_client else None
    return ending.reason, MqttEnding(ending.initiated_by_client, ending.code, properties or None)


def _host_name(host: str) -> str:
    """An authority without its port."""
    name, separator, port = host.rpartition(":")
    return name if separator and (port.isdigit() or not port) and not name.endswith(":") else host
