"""
The face of this room for the edge: an upgrade request in, a connection out; then its messages, then its end.

Opening a connection has two steps around the 101, so that a refusal can still be an HTTP status: `decide` answers who
the client is and what it gets, `begin` lets it in. An event handler that is asked makes the first one take its time.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from hubwire.auth.callers import ClientClaims
from hubwire.auth.logins import Login, Logins
from hubwire.auth.principals import Principals
from hubwire.auth.signatures import algorithm_of
from hubwire.cluster.durable import DurableSessions
from hubwire.cluster.node import Node
from hubwire.gateway import group_state, records
from hubwire.gateway.admission import Admission
from hubwire.gateway.arrivals import Arrivals, MqttOptions
from hubwire.gateway.attempt import Attempt, HandshakeRefused, Recovery, category_of
from hubwire.gateway.events import ConnectionEvents
from hubwire.gateway.handshake import read
from hubwire.gateway.invocations import Invocations
from hubwire.gateway.logged_in import LoggedIn
from hubwire.gateway.newcomer import Newcomer
from hubwire.gateway.opening import Deciding, Opening
from hubwire.gateway.requests import Requests
from hubwire.gateway.restored import Restoring
from hubwire.gateway.streams import GroupStreams
from hubwire.gateway.wills import Wills
from hubwire.hub.connection import Connection
from hubwire.hub.streams import StreamLimits
from hubwire.model.errors import BadRequest, ProtocolViolation, Unauthorized, Unavailable
from hubwire.model.http import RequestHead
from hubwire.model.hubs import CommunicationLogin
from hubwire.model.messages import ClientRequest, Connected, Goodbye
from hubwire.model.names import HubKey
from hubwire.model.permissions import Permissions, parse_roles
from hubwire.model.ports import HubDirectory, Sink
from hubwire.model.resources import ResourcePolicy
from hubwire.model.telemetry import CloseCategory, Telemetry
from hubwire.protocols import catalog
from hubwire.protocols.catalog import QueueLimits
from hubwire.protocols.session import Session
from hubwire.upstream.sources import EventSource

__all__ = ["Gateway"]

_NORMAL: Final = 1000
_SLICE: Final = 256
"""Requests of one packet that are carried out in one turn: a SUBSCRIBE may have thousands, and others want theirs."""
_GOING_AWAY: Final = 1001
_FAREWELL: Final = "The server is shutting down."
_MQTT: Final = MqttOptions()
_STREAMS: Final = StreamLimits()
_OF_ISSUER: Final = "RS256"
_NO_USERS: Final = (
    "token is of a communication user, and this hub takes none: its communicationIdentity is off "
    "(hubwire hub set {hub} --identities SERVICE)"
)
"""What tokens of communication users are signed with; access keys are used for another algorithm."""
_ANONYMOUS: Final = ClientClaims(user_id=None, roles=(), groups=(), claims={})


class Gateway:
    """
    Clients of one node.

    Args:
        limits: of each reliable client's unacknowledged queue, and of an MQTT client's.
        logins: of communication users, at hubs that let them in; None if there are no such users.
        durable: keeps sessions that outlive the process; None if none does.
        invocations: that one connection may have pending.
        streams: that each client may publish.

    Attributes:
        watch: see `ConnectionEvents`.
    """

    def __init__(
        self,
        node: Node,
        principals: Principals,
        directory: HubDirectory,
        events: ConnectionEvents,
        telemetry: Telemetry,
        limits: QueueLimits,
        mqtt: MqttOptions = _MQTT,
        logins: Logins | None = None,
        durable: DurableSessions | None = None,
        *,
        invocations: int = 100,
        streams: StreamLimits = _STREAMS,
    ) -> None:
        self._node = node
        self._events = events
        self.watch = events.watch
        self._principals = principals
        self._directory = directory
        self._telemetry = telemetry
        self._limits = limits
        self._streams = GroupStreams(node, telemetry, streams)
        self._invocations = Invocations(node, events, telemetry, invocations)
        self._requests = Requests(node, events, telemetry, self._invocations, self._streams)
        self._admission = Admission(directory, telemetry)
        self._durable = durable
        self._mqtt = mqtt
        self._wills = Wills(node, durable)
        self._logins = logins
        self._logged_in = LoggedIn(node)
        if logins is not None:
            logins.on_over = self._logged_in.over
        self._arrivals = Arrivals(
            node,
            events,
            self._admission,
            telemetry,
            limits,
            mqtt,
            self._wills,
            self._logged_in,
            lambda connection: self.receive(connection, b""),
            durable if mqtt.durable else None,
        )
        node.on_lost = self._has_lost_its_socket
        node.on_membership = events.membership if durable is None else self._membership
        node.on_left_out = records.bulk_left_out
        if durable is not None:
            node.on_permission = durable.changed
            events.tell_of_states(self._has_another_state)
            self._requests.on_done = durable.done
        node.on_end.append(self._ended)
        node.on_end.append(records.ended)

    async def restore(self) -> int:
        """
        Let in again who was kept by an earlier process. Called once, before anybody else is let in.

        Returns:
            how many sessions go on.
        """
        if self._durable is None:
            return 0
        restoring = Restoring(
            self._node,
            self._durable,
            self._directory,
            self._admission,
            self._events,
            self._wills,
            self._mqtt,
            self._limits,
            self._arrivals.note,
        )
        return await restoring.restore()

    # The opening.

    def decide(self, head: RequestHead) -> Opening | Deciding:
        """
        Answer an upgrade request, at once or, where an event handler or the store is asked, later.

        Raises:
            HandshakeRefused: with the documented status.
        """
        try:
            self._admission.check_running()
            attempt = read(head)
            policy = self._admission.policy(attempt)
            if attempt.recovery is not None:
                return self._recover(attempt, attempt.recovery)
            who = self._identify(attempt)
            if isinstance(who, CommunicationLogin):
                return Deciding(partial(self._log_in, attempt, who))
            return self._open(attempt, who, policy, None)
        except HandshakeRefused as refusal:
            self._refused(head, refusal)
            raise

    def _refused(self, head: RequestHead, refusal: HandshakeRefused) -> None:
        self._telemetry.count_refused(refusal.status)
        self._telemetry.closed[category_of(refusal.status)] += 1
        records.refused(head, refusal.status, refusal.cause)

    async def _log_in(self, attempt: Attempt, wanted: CommunicationLogin, deciding: Deciding) -> Opening:
        """
        Let in who has a token of a communication service.

        Raises:
            HandshakeRefused: 401 for a token that is not good; else as for anybody.
        """
        assert self._logins is not None, "else nobody came to this"
        assert attempt.token is not None, "it was looked at"
        try:
            try:
                login = await self._logins.log_in(attempt.token, wanted)
            except Unauthorized as refusal:
                raise _bad_token(refusal) from refusal
            except Unavailable as failure:
                text = "The access token cannot be verified now."
                raise HandshakeRefused(503, text, {"Retry-After": "1"}, failure.message) from failure
            self._admission.check_running()
            opening = self._open(attempt, login.claims, self._admission.policy(attempt), login)  # policy of now
        except HandshakeRefused as refusal:
            self._refused(attempt.head, refusal)
            raise
        if isinstance(opening, Deciding):
            opening = await opening.within(deciding)
        return replace(opening, login=login)

    def _open(
        self, attempt: Attempt, claims: ClientClaims, policy: ResourcePolicy, login: Login | None
    ) -> Opening | Deciding:
        if attempt.protocol == "mqtt":
            newcomer = self._arrivals.greet(attempt, claims, policy, login)
            return Opening(None, attempt.protocol, attempt.websocket_key, newcomer=newcomer)
        session = self._session(attempt, None)
        self._admission.take(attempt.hub.resource, policy)
        if self._events.decide(attempt.hub):
            return Deciding(partial(self._ask, attempt, claims, session.subprotocol, policy))
        return self._opened(attempt, secrets.token_hex(16), claims, session, None)

    def _opened(
        self, attempt: Attempt, connection_id: str, claims: ClientClaims, session: Session, source: EventSource | None
    ) -> Opening:
        connection = Connection(
            id=connection_id,
            hub=attempt.hub,
            user_id=claims.user_id,
            permissions=Permissions(parse_roles(claims.roles)),
            session=session,
            client_ip=attempt.head.client_ip,
            origin=self._events.origin(attempt.head.host),
        )
        connection.source = source
        return Opening(connection, session.subprotocol, attempt.websocket_key, claims.groups, roles=claims.roles)

    async def _ask(
        self,
        attempt: Attempt,
        claims: ClientClaims,
        subprotocol: str | None,
        policy: ResourcePolicy,
        deciding: Deciding,
    ) -> Opening:
        """
        Let an event handler decide. What it says takes the place of what the token says.

        Args:
            subprotocol: that the client gets unless it names another one.

        Raises:
            HandshakeRefused: with its status, or 500.
        """
        connection_id = secrets.token_hex(16)
        opening = None
        source = None
        try:
            source, verdict = await self._events.connect(attempt, connection_id, claims, subprotocol, policy, deciding)
            self._admission.check_running()
            self._admission.policy(attempt)  # of now
            if verdict.groups is not None and len(verdict.groups) > self._node.max_groups:
                cause = f"the event handler named more than {self._node.max_groups} groups (max_groups_per_connection)"
                raise HandshakeRefused(500, "The event handler failed.", cause=cause)
            said = ClientClaims(
                claims.user_id if verdict.user_id is None else verdict.user_id or None,
                claims.roles if verdict.roles is None else verdict.roles,
                claims.groups if verdict.groups is None else verdict.groups,
                claims.claims,
            )
            opening = self._opened(attempt, connection_id, said, self._session(attempt, verdict.subprotocol), source)
        except HandshakeRefused as refusal:
            self._refused(attempt.head, refusal)
            raise
        finally:
            if opening is None:
                self._admission.settle(attempt.hub.resource, False)
                if source is not None:
                    self._events.never_begun(source)
        return opening

    def _identify(self, attempt: Attempt) -> ClientClaims | CommunicationLogin:
        """Who a client is; or what its token has to be good for, of which the communication service knows more."""
        if attempt.token is None:
            if self._directory.settings(attempt.hub).anonymous_connect_policy == "allow":
                return _ANONYMOUS
            raise HandshakeRefused(401, "A client access token is required.")
        try:
            return self._principals.client(attempt.token, attempt.hub, attempt.path, attempt.head.host)
        except Unauthorized as unproved:
            refusal = unproved
            # Only who is refused otherwise is looked at again, so that all others pay nothing for this.
            if self._logins is not None and algorithm_of(attempt.token) == _OF_ISSUER:
                wanted = self._directory.settings(attempt.hub).communication_identity
                if wanted is not None:
                    return wanted
                if self._logins.is_of_user(attempt.token):
                    refusal = Unauthorized(_NO_USERS.format(hub=attempt.hub.hub))
            raise _bad_token(refusal) from unproved
        except BadRequest as refusal:
            raise HandshakeRefused(400, refusal.message) from refusal

    def _session(self, attempt: Attempt, named: str | None) -> Session:
        """
        Args:
            named: subprotocol that an event handler has chosen from those that were offered.
        """
        # The mode is checked for every client, although it only matters to simple ones.
        mode = attempt.publish_mode()
        chosen = catalog.choose(attempt.offered if named is None else (named,))
        if chosen is not None:
            return catalog.create(chosen, self._limits)
        if mode is None:
            return catalog.simple(named)
        return catalog.simple(named, publish_to=mode.group, no_echo=mode.no_echo)

    def _recover(self, attempt: Attempt, recovery: Recovery) -> Opening:
        """The access token is ignored: it may have expired, and the reconnection token proves the same client."""
        connection = self._node.connection(attempt.hub, recovery.connection_id)
        if (
            connection is not None
            and connection.session.recoverable
            and self._principals.verify_recovery_token(recovery.token, recovery.connection_id)
        ):
            return Opening(connection, connection.subprotocol, attempt.websocket_key, resumed=True)
        self._telemetry.recoveries_refused += 1
        records.recovery_refused(attempt.head, attempt.hub, recovery.connection_id)
        echo = catalog.choose(attempt.offered) or next(iter(attempt.offered), None)
        return Opening(None, echo, attempt.websocket_key)

    def begin(self, opening: Opening, sink: Sink) -> Awaitable[None] | None:
        """
        After the 101: let the client in and tell it so. If there is nothing to let in, the sink is closed instead; else
        it becomes the sink of the connection. Called exactly once for each opening.

        Returns:
            None when that is done; else to be awaited.
        """
        if opening.newcomer is not None:
            return None  # its first packet decides
        connection = opening.connection
        if connection is None:
            sink.close(1008, "The connection cannot be recovered.")
            return None
        if opening.resumed:
            return self._resume(connection, sink)
        waiting = None
        let_in = False
        try:
            self._keep(connection, opening)
            waiting = self._node.attach(connection, opening.groups, sink, self._connected(connection))
            let_in = True
        finally:
            if waiting is None:
                self._settle_opening(connection, let_in, opening.groups)
        if waiting is not None:
            return self._started_after(waiting, connection, opening)
        self._started(connection, opening)
        return None

    def _has_another_state(self, hub: HubKey, connection_id: str) -> None:
        connection = self._node.connection(hub, connection_id)
        if connection is not None and self._durable is not None:
            self._durable.changed(connection)

    def _keep(self, connection: Connection, opening: Opening) -> None:
        """Let a reliable client outlive the process where its hub wants that, as long as there is room for it."""
        durable = self._durable
        if durable is not None and connection.session.recoverable and not durable.is_full:
            retention_s = self._directory.settings(connection.hub).reliable_retention_in_seconds
            if retention_s is not None:
                durable.begin_reliable(connection, retention_s, opening.roles, opening.groups)

    async def _started_after(self, waiting: Awaitable[None], connection: Connection, opening: Opening) -> None:
        let_in = False
        try:
            await waiting
            let_in = True
        finally:
            self._settle_opening(connection, let_in, opening.groups)
        self._started(connection, opening)

    def _started(self, connection: Connection, opening: Opening) -> None:
        records.started(connection)
        self._events.opened(connection, opening.groups)
        if opening.login is not None:
            self._logged_in.begun(connection, opening.login)

    def _settle_opening(self, connection: Connection, let_in: bool, groups: tuple[str, ...] = ()) -> None:
        self._admission.settle(connection.hub.resource, let_in)
        if not let_in and self._durable is not None:
            self._durable.end(connection, groups)
        if not let_in and connection.source is not None:
            self._events.never_begun(connection.source)

    def abandon(self, opening: Opening) -> None:
        """The client of an opening is gone before that could begin."""
        if opening.newcomer is not None:
            opening.newcomer.leave()
        if opening.connection is not None and not opening.resumed:
            self._settle_opening(opening.connection, False)

    def _ended(
        self, connection: Connection, _category: CloseCategory, _code: int, _text: str, reason: str | None
    ) -> None:
        self._admission.leave(connection.hub.resource)
        self._invocations.abandon(connection)
        self._logged_in.ended(connection)
        self._wills.ended(connection)
        self._streams.ended(connection)
        self._events.ended(connection, reason)
        if self._durable is not None:
            self._durable.end(connection)

    def _membership(self, connection: Connection, group: str, is_member: bool) -> None:
        assert self._durable is not None
        self._durable.member(connection, group, is_member)
        self._events.membership(connection, group, is_member)

    def _has_lost_its_socket(self, connection: Connection) -> None:
        self._invocations.abandon(connection)
        self._wills.lost(connection)
        if self._durable is not None:
            self._durable.changed(connection)

    def _resume(self, connection: Connection, sink: Sink) -> Awaitable[None] | None:
        self._invocations.abandon(connection)  # which has another socket still, if there are any
        if self._durable is not None:
            self._durable.changed(connection, is_back=True)
        if not self._node.resume(connection, sink, self._connected(connection)):
            sink.close(1008, "The connection cannot be recovered.")
            return None
        self._streams.resumed(connection)
        self._telemetry.recoveries += 1
        records.recovered(connection)
        return group_state.resumed(self._node, connection)

    def _connected(self, connection: Connection) -> bytes:
        reliable = connection.session.recoverable
        token = self._principals.issue_recovery_token(connection.id) if reliable else None
        return connection.session.direct(Connected(connection.id, connection.user_id, token))

    def arrive(self, newcomer: Newcomer, payload: bytes, sink: Sink) -> Awaitable[None] | None:
        """See `Arrivals`."""
        return self._arrivals.arrive(newcomer, payload, sink)

    def never_arrived(self, newcomer: Newcomer, sink: Sink) -> None:
        """See `Arrivals`."""
        self._arrivals.never_arrived(newcomer, sink)

    def keep_alive_s(self, connection: Connection) -> float:
        """
        Seconds of silence after which this client is pinged, or, where only it may ping, is taken for gone; 0 for
        never. Asked again each time, since it may change.
        """
        silence_s = connection.session.silence_s
        if silence_s is not None:
            return silence_s
        return self._directory.settings(connection.hub).web_socket_keep_alive_interval_in_seconds

    # Its messages.

    def receive(self, connection: Connection, payload: str | bytes) -> Awaitable[None] | None:
        """
        Handle one message.

        Returns:
            None when that is done; else to be awaited before the next one is given.
        """
        if not connection.alive:
            return None
        sink = connection.sink
        return self.carry_out(connection, self.hear(connection, payload), sink)

    def hear(self, connection: Connection, payload: str | bytes) -> Sequence[ClientRequest]:
        """
        Take what a client has sent, also while what it asked for before is under way. Its signs of life are answered
        and its acknowledgements count at once.

        Returns:
            what it asks for, which is to be carried out in its turn.
        """
        session = connection.session
        try:
            requests = session.receive(payload)
        except ProtocolViolation as violation:
            self.violated(connection, violation)
            return ()
        for frame in session.outgoing(self._node.time()):
            self._node.reply(connection, frame)
        if session.has_late:
            self._node.reply_late(connection, session.released)
        return requests

    def carry_out(
        self, connection: Connection, requests: Sequence[ClientRequest], sink: Sink | None
    ) -> Awaitable[None] | None:
        """
        Do what a client asks for, and end its socket if it has broken its protocol behind that.

        Args:
            sink: of the socket that it came by.

        Returns:
            None when that is done; else to be awaited before more is carried out.
        """
        waiting = self._in_order(connection, sink, requests) if requests else None
        if waiting is not None:
            return self._end_faulty_after(waiting, connection)
        fault = connection.session.fault
        if fault is not None:
            self.violated(connection, fault)
        return None

    async def _end_faulty_after(self, waiting: Awaitable[None], connection: Connection) -> None:
        await waiting
        # There is none any more if the client came back by another socket meanwhile.
        fault = connection.session.fault
        if fault is not None:
            self.violated(connection, fault)

    def _in_order(
        self, connection: Connection, sink: Sink | None, requests: Sequence[ClientRequest]
    ) -> Awaitable[None] | None:
        """
        Args:
            sink: of the socket that they came by.
        """
        for position, request in enumerate(requests, start=1):
            if not connection.alive:
                break  # the one before ended it
            if connection.sink is not sink and isinstance(request, Goodbye):
                continue  # to a socket that is no more; by another one the client has come back
            waiting = self._requests.handle(connection, request)
            if waiting is None and position % _SLICE == 0:
                waiting = asyncio.sleep(0)
            if waiting is not None:
                rest = requests[position:]
                return self._then(connection, sink, waiting, rest) if rest else waiting
        return None

    async def _then(
        self, connection: Connection, sink: Sink | None, waiting: Awaitable[None], rest: Sequence[ClientRequest]
    ) -> None:
        await waiting
        more = self._in_order(connection, sink, rest)
        if more is not None:
            await more

    def settle(self) -> None:
        """Write out what was accepted so far, for a client that leaves before the turn is over."""
        self._node.flush()

    # Its end.

    def violated(self, connection: Connection, violation: ProtocolViolation) -> None:
        """The client broke its protocol, or that of its WebSocket."""
        breach = connection.session.breached(violation)
        if breach.final:
            self._node.close(connection, breach.close_code, violation.reason, breach.category)
        else:
            self._node.drop(connection, breach.close_code, violation.reason, breach.category)

    def timed_out(self, connection: Connection) -> None:
        """Nothing came for longer than the client itself has said."""
        self._node.drop(connection, _NORMAL, "The keep-alive interval has passed.", CloseCategory.PING_TIMEOUT)

    def slow(self, connection: Connection, sink: Sink) -> None:
        """The client reads too slowly for what it is sent."""
        if connection.sink is sink:
            self._node.close(connection, 1008, "The client is too slow.", CloseCategory.SLOW_CLIENT)

    def failed(self, connection: Connection) -> None:
        """We could not carry out what the client asked for, by our own fault."""
        self._node.close(connection, 1011, "Internal server error", CloseCategory.SERVICE_TRANSIENT_ERROR)

    def lost(self, connection: Connection, sink: Sink, code: int, category: CloseCategory) -> None:
        """
        The socket is gone.

        Args:
            code: of the client's close frame; 1005 for one without a code, 1006 for none at all. Only 1000 is final:
                official clients close with 1001 or without a code and then recover. Who says goodbye in a message has
                lost its socket without that, however it was closed.
        """
        final = code == _NORMAL and not connection.session.says_goodbye
        self._node.lost(connection, sink, final, category, code)

    def hung_up(self, connection: Connection, sink: Sink) -> None:
        """The socket is gone, and what came from it before is still being handled; `lost` comes behind that."""
        if connection.sink is sink:
            self._invocations.abandon(connection)
            if not connection.session.recoverable:
                self._events.hung_up(connection)

    def stop(self) -> None:
        """Refuse new clients from now on."""
        self._admission.stopping = True

    async def end_resource(self, resource: str, text: str, *, for_good: bool = True) -> None:
        """
        End all connections of a resource, those that wait for their recovery included.

        Args:
            text: for the clients.
            for_good: else sessions that outlive the process outlive this as well.
        """
        await self._node.end(_GOING_AWAY, text, CloseCategory.SERVICE_RELOAD, resource, for_good=for_good)

    async def end(self) -> None:
        """The server goes away: end everybody, those without a socket included, but for sessions that outlive it."""
        await self._node.end(_GOING_AWAY, _FAREWELL, CloseCategory.SERVICE_RELOAD, for_good=False)

    def farewell(self, connection: Connection) -> None:
        """
        The server goes away. One node has nobody to hand a session to, so this ends reliable clients honestly. Sessions
        that outlive it are told the same, and wait for the next process.
        """
        if connection.session.durable:
            self._node.drop(connection, _GOING_AWAY, _FAREWELL, CloseCategory.SERVICE_RELOAD)
            return
        self._node.close(connection, _GOING_AWAY, _FAREWELL, CloseCategory.SERVICE_RELOAD)


def _bad_token(refusal: Unauthorized) -> HandshakeRefused:
    return HandshakeRefused(401, "The client access token is not valid.", cause=refusal.message)
