"""
Which session an MQTT client comes to whose CONNECT packet is taken: that of its client id, or a new one in place of it.

Sources: OASIS MQTT 5.0, 3.1.2.4, 3.1.4 and 4.1, and the same of 3.1.1; the service's page on events of MQTT clients,
for what a session keeps.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from hubwire.auth.callers import ClientClaims
from hubwire.cluster.durable import DurableSessions
from hubwire.cluster.node import Node
from hubwire.gateway import records
from hubwire.gateway.admission import Admission
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.gateway.events import ConnectionEvents, MqttRefused
from hubwire.gateway.logged_in import LoggedIn
from hubwire.gateway.newcomer import Asking
from hubwire.gateway.wills import Wills
from hubwire.hub.connection import Connection
from hubwire.model.names import HubKey
from hubwire.model.permissions import Permissions, parse_roles
from hubwire.model.resources import ResourcePolicy
from hubwire.model.telemetry import CloseCategory, Telemetry
from hubwire.protocols.catalog import QueueLimits
from hubwire.protocols.mqtt.arrival import Refusal
from hubwire.protocols.mqtt.reasons import ADVICE, Reason
from hubwire.protocols.mqtt.session import MqttSession
from hubwire.upstream.cloudevents import ConnectVerdict
from hubwire.upstream.sources import EventSource

__all__ = ["Sessions"]

_NORMAL: Final = 1000
_FULL: Final = "There are as many sessions that outlive the server as there may be."
_SUCCEEDED: Final = "The client has begun a new session."


class Sessions:
    """
    Args:
        limits: of what each client leaves unacknowledged.
        takeover: who may go on with a session or end it: its user only, and where it has none, others without one that
            were given no less; or whoever names its client id.
        go_on: handles what a client that has just come in has sent behind its CONNECT.
        durable: keeps sessions that outlive the process; None if none does.
        durable_limits: of what their clients leave unacknowledged.
    """

    def __init__(
        self,
        node: Node,
        events: ConnectionEvents,
        admission: Admission,
        telemetry: Telemetry,
        limits: QueueLimits,
        takeover: Literal["same-user", "azure"],
        wills: Wills,
        logged_in: LoggedIn,
        go_on: Callable[[Connection], Awaitable[None] | None],
        durable: DurableSessions | None = None,
        durable_limits: QueueLimits | None = None,
    ) -> None:
        self._durable = durable
        self._durable_limits = durable_limits or limits
        self._node = node
        self._events = events
        self._admission = admission
        self._telemetry = telemetry
        self._limits = limits
        self._takeover = takeover
        self._wills = wills
        self._logged_in = logged_in
        self._go_on = go_on
        self._beginning: dict[tuple[HubKey, str], asyncio.Event] = {}

    def is_beginning(self, asking: Asking) -> bool:
        """Is a session with this client id on its way in. There is only one with each."""
        return (asking.hub, asking.client_id) in self._beginning

    async def begun(self, asking: Asking) -> None:
        """Wait until none is."""
        while (beginning := self._beginning.get((asking.hub, asking.client_id))) is not None:
            await beginning.wait()

    def check(self, asking: Asking, policy: ResourcePolicy) -> None:
        """
        What can be said before anybody else is asked.

        Raises:
            HandshakeRefused: there is no place for another session.
            MqttRefused: the client id is taken for good.
        """
        there = self._there(asking)
        if there is None:
            asking.newcomer.place.check(policy)
        elif not isinstance(there.session, MqttSession):
            raise _not_for(asking, "the client id is that of a connection that is no MQTT client's")

    def kept(self, asking: Asking) -> Connection | None:
        """The session that the client would go on with now, if its token alone were to decide."""
        there = self._there(asking)
        if there is None or not self._is_kept(there, asking):
            return None
        return there if self._foreign(there, asking.newcomer.claims) is None else None

    def _there(self, asking: Asking) -> Connection | None:
        there = self._node.connection(asking.hub, asking.client_id)
        if there is not None:
            self._node.end_overdue(there)
        return there if there is not None and there.alive else None

    @staticmethod
    def _is_kept(there: Connection, asking: Asking) -> bool:
        session = there.session
        return isinstance(session, MqttSession) and session.recoverable and not asking.connect.clean_start

    def enter(
        self,
        asking: Asking,
        policy: ResourcePolicy,
        said: ClientClaims,
        verdict: ConnectVerdict,
        source: EventSource,
    ) -> Awaitable[None] | None:
        """
        Let a client in about whom all is decided.

        Args:
            said: of a client of a new session, by its token and an event handler.

        Raises:
            HandshakeRefused: there is no place for it.
            MqttRefused: the client id is somebody else's.
        """
        there = self._there(asking)
        if there is not None:
            self._check_owner(asking, there, said)
            self._node.flush()  # to the former socket, if there is one; which may show that it is too slow
            if there.alive and self._is_kept(there, asking):
                return self._resume(asking, there, verdict, source)
            if there.alive:
                durable = there.session.durable
                self._let_go(there)
                self._node.close(there, _NORMAL, _SUCCEEDED, CloseCategory.NORMAL)
                if durable:
                    self._node.guard(asking.sink)  # its CONNACK says that nothing is left of that session
        return self._begin(asking, policy, said, verdict, source)

    def _check_owner(self, asking: Asking, there: Connection, said: ClientClaims) -> None:
        """
        Whoever knows a client id could else go on with somebody's session, with the roles that this has.

        Raises:
            MqttRefused: the client id is not for this client.
        """
        if not isinstance(there.session, MqttSession):
            raise _not_for(asking, "the client id is that of a connection that is no MQTT client's")
        foreign = self._foreign(there, said)
        if foreign is not None:
            raise _not_for(asking, f"the client id has a session {foreign} (mqtt_session_takeover)")

    def _foreign(self, there: Connection, said: ClientClaims) -> str | None:
        return None if self._takeover == "azure" else _foreign(there, said)

    def _let_go(self, there: Connection) -> None:
        """The former socket of a session, if there is one, is told that another one takes its place."""
        sink, there.sink = there.sink, None
        if sink is not None:
            assert isinstance(there.session, MqttSession)
            farewell = there.session.farewell(Reason.SESSION_TAKEN_OVER)
            if farewell:
                sink.write(farewell, 1, None)
            sink.close(_NORMAL, "")

    # A new session.

    def _begin(
        self,
        asking: Asking,
        policy: ResourcePolicy,
        said: ClientClaims,
        verdict: ConnectVerdict,
        source: EventSource,
    ) -> Awaitable[None] | None:
        durable = self._durable if _outlives_its_socket(asking) else None
        if durable is not None and durable.is_full:
            raise HandshakeRefused(429, _FULL, {"Retry-After": "1"}, f"{_FULL} (mqtt_durable_sessions_limit)")
        asking.newcomer.place.claim(policy)
        waiting: Awaitable[None] | None = None
        groups: tuple[str, ...] = ()
        let_in = False
        try:
            limits = self._limits if durable is None else self._durable_limits
            connection = self._connection(asking, said, source, limits)
            session = connection.session
            assert isinstance(session, MqttSession)
            groups = tuple(group for group in said.groups if session.takes(group))
            if len(groups) < len(said.groups):
                records.groups_left_out(connection, [group for group in said.groups if not session.takes(group)])
            assigned = asking.client_id if asking.assigned else None
            first = session.connack(False, assigned, verdict.user_properties)
            connection.given_groups = groups
            if durable is not None:
                durable.begin(connection, said.roles, groups)
            waiting = self._node.attach(connection, groups, asking.sink, first)
            let_in = True
        finally:
            if waiting is None:
                self._settle(connection, groups, let_in)
        if waiting is None:
            return self._begun(asking, connection, groups)
        self._beginning[connection.hub, connection.id] = asyncio.Event()
        return self._begun_after(waiting, asking, connection, groups)

    def _settle(self, connection: Connection, groups: tuple[str, ...], let_in: bool) -> None:
        self._admission.settle(connection.hub.resource, let_in)
        if not let_in and self._durable is not None:
            self._durable.end(connection, groups)

    def _connection(self, asking: Asking, said: ClientClaims, source: EventSource, limits: QueueLimits) -> Connection:
        """That of a new session; nobody knows of it yet."""
        newcomer, client_id = asking.newcomer, asking.client_id
        hub = asking.hub
        # By its id: a session that held its own connection would outlive it, until somebody collects garbage.
        session = newcomer.arrival.session(limits, lambda refusal: self.note(hub, client_id, refusal), client_id)
        connection = Connection(
            id=client_id,
            hub=hub,
            user_id=said.user_id,
            permissions=Permissions(parse_roles(said.roles)),
            session=session,
            client_ip=newcomer.attempt.head.client_ip,
            origin=source.origin,
        )
        connection.source = source
        source.user_id = said.user_id
        source.session_id = secrets.token_hex(16)
        return connection

    def note(self, hub: HubKey, client_id: str, refusal: Refusal) -> None:
        """Something that a client wanted is refused."""
        connection = self._node.connection(hub, client_id)
        if connection is not None:
            records.mqtt_refusal(connection, refusal)

    async def _begun_after(
        self, waiting: Awaitable[None], asking: Asking, connection: Connection, groups: tuple[str, ...]
    ) -> None:
        let_in = False
        try:
            await waiting
            let_in = True
        finally:
            self._settle(connection, groups, let_in)
            self._beginning.pop((connection.hub, connection.id)).set()
        more = self._begun(asking, connection, groups)
        if more is not None:
            await more

    def _begun(self, asking: Asking, connection: Connection, groups: tuple[str, ...]) -> Awaitable[None] | None:
        records.started(connection)
        self._events.opened(connection, groups)
        asking.newcomer.connection = connection
        self._logged_in.begun(connection, asking.newcomer.login)
        return self._go_on(connection)

    # One that goes on.

    def _resume(
        self, asking: Asking, connection: Connection, verdict: ConnectVerdict, source: EventSource
    ) -> Awaitable[None] | None:
        """Go on with a session. It keeps its user, its roles and its groups, whatever the token and the handler say."""
        session = connection.session
        assert isinstance(session, MqttSession)
        asking.newcomer.place.give_back()  # the session has its own
        self._wills.replaced(connection)
        self._let_go(connection)
        session.takes_over(asking.newcomer.arrival)
        connection.codec = session.codec
        connection.client_ip = asking.newcomer.attempt.head.client_ip
        self._events.resumed(connection, source)
        if self._durable is not None:
            if session.recoverable:
                self._durable.changed(connection, is_back=True)
            else:
                self._durable.end(connection, tuple(connection.groups))
        first = session.connack(True, None, verdict.user_properties)
        if not self._node.resume(connection, asking.sink, first):
            # Its own will was one message too many for it.
            raise HandshakeRefused(503, "The session has ended.")
        self._telemetry.recoveries += 1
        records.recovered(connection)
        asking.newcomer.connection = connection
        self._logged_in.begun(connection, asking.newcomer.login)
        return self._go_on(connection)


def _outlives_its_socket(asking: Asking) -> bool:
    agreement = asking.newcomer.arrival.agreement
    assert agreement is not None, "its CONNECT is taken"
    return agreement.session_expiry_s > 0


def _foreign(there: Connection, said: ClientClaims) -> str | None:
    """
    Whose a session is, if it is not for a client of whom this is said; else None.

    What nobody's session was given at its begin is all that tells whose it is. What REST has added since is no part of
    that: the client cannot show it.
    """
    if there.user_id is not None:
        return None if there.user_id == said.user_id else "of another user"
    if said.user_id is not None:
        return "without a user, and this client has one"
    roles = parse_roles(said.roles)
    if not roles.covers(there.permissions.roles):
        return "with roles that this client does not have"
    if not all(roles.allows("joinLeaveGroup", group) for group in set(there.given_groups).difference(said.groups)):
        return "with groups that this client may not join"
    return None


def _not_for(asking: Asking, cause: str) -> MqttRefused:
    reason = Reason.CLIENT_ID_NOT_VALID
    return MqttRefused.of(reason, asking.version, CloseCategory.UNAUTHORIZED, cause, ADVICE[reason])
