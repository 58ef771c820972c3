"""
MQTT clients between their 101 and their CONNACK: what the first packet asks for is checked, an event handler may have a
say, and a session begins or goes on.

What other clients are told by an HTTP status is told by a return or reason code here, once there is a CONNECT packet;
what is wrong with the upgrade request itself is still answered with a status.

Sources: the service's MQTT pages (client ids, sessions, events); OASIS MQTT 5.0, 3.1.4 and 4.1; the same of 3.1.1.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from msgspec import Struct

from hubwire.auth.callers import ClientClaims
from hubwire.cluster.node import Node
from hubwire.gateway import records
from hubwire.gateway.admission import Admission
from hubwire.gateway.attempt import Attempt, HandshakeRefused
from hubwire.gateway.events import ConnectionEvents, MqttRefused
from hubwire.gateway.newcomer import Newcomer
from hubwire.gateway.wills import Wills
from hubwire.hub.connection import Connection
from hubwire.model.permissions import Permissions, parse_roles
from hubwire.model.ports import Sink
from hubwire.model.resources import ResourcePolicy
from hubwire.model.telemetry import CloseCategory, Telemetry
from hubwire.protocols.catalog import QueueLimits
from hubwire.protocols.mqtt.arrival import Arrival, ArrivalRefused, Policy, Refusal
from hubwire.protocols.mqtt.packets import Connect
from hubwire.protocols.mqtt.reasons import Reason, return_code
from hubwire.protocols.mqtt.session import MqttSession
from hubwire.upstream.cloudevents import ConnectVerdict
from hubwire.upstream.sources import EventSource

__all__ = ["Arrivals", "MqttOptions"]

_V5: Final = 5
_NORMAL: Final = 1000
_PROTOCOL_ERROR: Final = 1002
_TOO_BIG: Final = 1009
_REASONS: Final = {
    401: Reason.NOT_AUTHORIZED,
    403: Reason.NOT_AUTHORIZED,
    429: Reason.QUOTA_EXCEEDED,
    503: Reason.SERVER_UNAVAILABLE,
}
"""Of what would be an HTTP status for other clients."""
_SUCCEEDED: Final = "The client has begun a new session."


class MqttOptions(Struct, frozen=True):
    """
    Attributes:
        takeover: who may go on with the session of a user: that user only, or whoever names its client id.
    """

    policy: Policy = Policy()
    takeover: Literal["same-user", "azure"] = "same-user"


class _Asking(Struct, frozen=True):
    """
    A CONNECT packet under decision.

    Attributes:
        assigned: the client has no id of its own.
    """

    newcomer: Newcomer
    connect: Connect
    client_id: str
    assigned: bool
    sink: Sink


class Arrivals:
    """
    Args:
        limits: of what each client leaves unacknowledged.
        go_on: handles what a client that has just come in has sent behind its CONNECT.
    """

    def __init__(
        self,
        node: Node,
        events: ConnectionEvents,
        admission: Admission,
        telemetry: Telemetry,
        limits: QueueLimits,
        options: MqttOptions,
        wills: Wills,
        go_on: Callable[[Connection], Awaitable[None] | None],
    ) -> None:
        self._node = node
        self._events = events
        self._admission = admission
        self._telemetry = telemetry
        self._limits = limits
        self._options = options
        self._wills = wills
        self._go_on = go_on

    def greet(self, attempt: Attempt, claims: ClientClaims) -> Newcomer:
        """A client that may send its CONNECT."""
        return Newcomer(attempt, claims, Arrival(self._options.policy))

    def arrive(self, newcomer: Newcomer, payload: bytes, sink: Sink) -> Awaitable[None] | None:
        """
        Take what a client has sent. Afterwards it is in, or was refused and its sink closed, or has to send more.

        Returns:
            None when that is done; else to be awaited before the next is given.
        """
        try:
            connect = newcomer.arrival.feed(payload)
        except ArrivalRefused as refusal:
            self._telemetry.closed[CloseCategory.BAD_REQUEST] += 1
            connect = newcomer.arrival.connect
            records.mqtt_refused(newcomer.attempt, "" if connect is None else connect.client_id, refusal.refusal)
            self._say_no(sink, refusal.answer, refusal.refusal.code)
            return None
        if connect is None:
            return None
        client_id = connect.client_id or secrets.token_hex(16)
        asking = _Asking(newcomer, connect, client_id, not connect.client_id, sink)
        try:
            self._admission.check_running()
            policy = self._admission.policy(newcomer.attempt)
            if self._events.decide(newcomer.attempt.hub):
                return self._ask(asking, policy)
            return self._enter(asking, policy, newcomer.claims, ConnectVerdict(), self._source(asking))
        except HandshakeRefused as refusal:
            self._refuse(asking, refusal)
        except MqttRefused as refusal:
            self._refuse_by_code(asking, refusal)
        return None

    def never_arrived(self, newcomer: Newcomer, sink: Sink) -> None:
        """No CONNECT came in time."""
        self._telemetry.closed[CloseCategory.BAD_REQUEST] += 1
        records.mqtt_never_arrived(newcomer.attempt)
        sink.close(_PROTOCOL_ERROR, "")

    def _source(self, asking: _Asking) -> EventSource:
        attempt = asking.newcomer.attempt
        return EventSource(
            attempt.hub,
            asking.client_id,
            self._events.origin(attempt.head.host),
            asking.newcomer.claims.user_id,
            physical_id=secrets.token_hex(16),
        )

    async def _ask(self, asking: _Asking, policy: ResourcePolicy) -> None:
        """Let an event handler decide. What it says takes the place of what the token says."""
        newcomer = asking.newcomer
        source = self._source(asking)
        kept = self._kept(asking)
        if kept is not None and kept.source is not None:
            source.state = kept.source.state
        try:
            verdict = await self._events.connect_mqtt(
                newcomer.attempt, newcomer.claims, asking.connect, source, policy, lambda: not newcomer.client_gone
            )
            if newcomer.client_gone:
                return
            self._admission.check_running()
            policy = self._admission.policy(newcomer.attempt)  # of now
            if verdict.groups is not None and len(verdict.groups) > self._node.max_groups:
                cause = f"the event handler named more than {self._node.max_groups} groups (max_groups_per_connection)"
                raise HandshakeRefused(500, "The event handler failed.", cause=cause)
            claims = newcomer.claims
            said = ClientClaims(
                claims.user_id if verdict.user_id is None else verdict.user_id or None,
                claims.roles if verdict.roles is None else verdict.roles,
                claims.groups if verdict.groups is None else verdict.groups,
                claims.claims,
            )
            waiting = self._enter(asking, policy, said, verdict, source)
            if waiting is not None:
                await waiting
        except HandshakeRefused as refusal:
            self._refuse(asking, refusal)
        except MqttRefused as refusal:
            self._refuse_by_code(asking, refusal)

    def _kept(self, asking: _Asking) -> Connection | None:
        """The session that the client may go on with; none if it wants none."""
        connection = self._node.connection(asking.newcomer.attempt.hub, asking.client_id)
        if connection is None or asking.connect.clean_start:
            return None
        return connection if isinstance(connection.session, MqttSession) else None

    def _enter(
        self,
        asking: _Asking,
        policy: ResourcePolicy,
        said: ClientClaims,
        verdict: ConnectVerdict,
        source: EventSource,
    ) -> Awaitable[None] | None:
        """
        Let a client in about whom all is decided.

        Raises:
            HandshakeRefused: there is no place for it.
            MqttRefused: the client id is somebody else's.
        """
        hub = asking.newcomer.attempt.hub
        there = self._node.connection(hub, asking.client_id)
        if there is not None:
            self._node.end_overdue(there)
        if there is not None and there.alive:
            self._check_owner(asking, there, said.user_id)
            if there.session.recoverable and not asking.connect.clean_start:
                return self._resume(asking, there, verdict, source)
            self._let_go(there)
            self._node.close(there, _NORMAL, _SUCCEEDED, CloseCategory.NORMAL)
        return self._begin(asking, policy, said, verdict, source)

    def _check_owner(self, asking: _Asking, there: Connection, user_id: str | None) -> None:
        """
        Whoever knows a client id could else go on with somebody's session, with the roles that this has.

        Raises:
            MqttRefused: the client id is not for this user.
        """
        if not isinstance(there.session, MqttSession):
            cause = "the client id is that of a connection that is no MQTT client's"
        elif self._options.takeover == "same-user" and there.user_id is not None and there.user_id != user_id:
            cause = "the client id has a session of another user (mqtt_session_takeover)"
        else:
            return
        code = Reason.CLIENT_ID_NOT_VALID
        raise MqttRefused(code if asking.connect.version == _V5 else return_code(code), cause)

    def _let_go(self, there: Connection) -> None:
        """The former socket of a session, if there is one, is told that another one takes its place."""
        sink, there.sink = there.sink, None
        if sink is not None:
            assert isinstance(there.session, MqttSession)
            farewell = there.session.farewell(Reason.SESSION_TAKEN_OVER)
            if farewell:
                sink.write(farewell, 1, None)
            sink.close(_NORMAL, "")

    def _begin(
        self,
        asking: _Asking,
        policy: ResourcePolicy,
        said: ClientClaims,
        verdict: ConnectVerdict,
        source: EventSource,
    ) -> Awaitable[None] | None:
        attempt = asking.newcomer.attempt
        self._admission.take(attempt.hub.resource, policy)
        connection: Connection | None = None
        waiting: Awaitable[None] | None = None
        let_in = False
        try:
            session = asking.newcomer.arrival.session(
                self._limits,
                lambda refusal: self._note(connection, refusal),
                asking.client_id,
                said.user_id,
            )
            connection = Connection(
                id=asking.client_id,
                hub=attempt.hub,
                user_id=said.user_id,
                permissions=Permissions(parse_roles(said.roles)),
                session=session,
                client_ip=attempt.head.client_ip,
                origin=source.origin,
            )
            connection.source = source
            source.user_id = said.user_id
            source.session_id = secrets.token_hex(16)
            groups = tuple(group for group in said.groups if session.takes(group))
            if len(groups) < len(said.groups):
                records.groups_left_out(connection, len(said.groups) - len(groups))
            assigned = asking.client_id if asking.assigned else None
            first = session.connack(False, assigned, verdict.user_properties)
            waiting = self._node.attach(connection, groups, asking.sink, first)
            let_in = True
        finally:
            if waiting is None:
                self._admission.settle(attempt.hub.resource, let_in)
        if waiting is not None:
            return self._begun_after(waiting, asking, connection, groups)
        return self._begun(asking, connection, groups)

    async def _begun_after(
        self, waiting: Awaitable[None], asking: _Asking, connection: Connection, groups: tuple[str, ...]
    ) -> None:
        let_in = False
        try:
            await waiting
            let_in = True
        finally:
            self._admission.settle(connection.hub.resource, let_in)
        more = self._begun(asking, connection, groups)
        if more is not None:
            await more

    def _begun(self, asking: _Asking, connection: Connection, groups: tuple[str, ...]) -> Awaitable[None] | None:
        records.started(connection)
        self._events.opened(connection, groups)
        asking.newcomer.connection = connection
        return self._go_on(connection)

    def _resume(
        self, asking: _Asking, connection: Connection, verdict: ConnectVerdict, source: EventSource
    ) -> Awaitable[None] | None:
        """Go on with a session. It keeps its user, its roles and its groups, whatever the token and the handler say."""
        session = connection.session
        assert isinstance(session, MqttSession)
        self._node.flush()  # to the former socket, if there is one
        self._wills.replaced(connection)
        self._let_go(connection)
        session.takes_over(asking.newcomer.arrival)
        connection.codec = session.codec
        connection.client_ip = asking.newcomer.attempt.head.client_ip
        self._events.resumed(connection, source)
        first = session.connack(True, None, verdict.user_properties)
        if not self._node.resume(connection, asking.sink, first):
            # It has ended while what was accepted before was written out.
            raise HandshakeRefused(503, "The session has ended.")
        self._telemetry.recoveries += 1
        records.recovered(connection)
        asking.newcomer.connection = connection
        return self._go_on(connection)

    # Refusals.

    @staticmethod
    def _note(connection: Connection | None, refusal: Refusal) -> None:
        assert connection is not None, "a session says nothing before its client has sent something"
        records.mqtt_refusal(connection, refusal)

    def _refuse(self, asking: _Asking, refusal: HandshakeRefused) -> None:
        reason = _REASONS.get(refusal.status, Reason.SERVER_UNAVAILABLE)
        code = reason if asking.connect.version == _V5 else return_code(reason)
        self._refuse_by_code(asking, MqttRefused(code, refusal.cause, refusal.text))

    def _refuse_by_code(self, asking: _Asking, refusal: MqttRefused) -> None:
        category = CloseCategory.THROTTLED if refusal.code == Reason.QUOTA_EXCEEDED else CloseCategory.UNAUTHORIZED
        self._telemetry.closed[category] += 1
        said = Refusal(refusal.code, asking.connect.version)
        records.mqtt_refused(asking.newcomer.attempt, asking.client_id, said, refusal.cause)
        answer = asking.newcomer.arrival.refuse(refusal.code, refusal.reason, refusal.user_properties)
        self._say_no(asking.sink, answer, refusal.code)

    @staticmethod
    def _say_no(sink: Sink, answer: bytes, code: int) -> None:
        """Where no packet can say it, the close frame does as far as it can."""
        if answer:
            sink.write(answer, 1, None)
            sink.close(_NORMAL, "")
        else:
            sink.close(_TOO_BIG if code == Reason.PACKET_TOO_LARGE else _PROTOCOL_ERROR, "")
