"""
MQTT clients between their 101 and their CONNACK: what the first packet asks for is checked, an event handler may have a
say, and whoever is not let in is told why.

What other clients are told by an HTTP status is told by a return or reason code here, once there is a CONNECT packet;
what is wrong with the upgrade request itself is still answered with a status.

Sources: the service's MQTT pages (client ids, sessions, events); OASIS MQTT 5.0, 3.1.4 and 4.1; the same of 3.1.1.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from msgspec import Struct

from hubwire.auth.callers import ClientClaims
from hubwire.auth.logins import Login
from hubwire.cluster.durable import DurableSessions
from hubwire.cluster.node import Node
from hubwire.gateway import records
from hubwire.gateway.admission import Admission
from hubwire.gateway.attempt import Attempt, HandshakeRefused, category_of
from hubwire.gateway.events import ConnectionEvents, MqttRefused
from hubwire.gateway.logged_in import OVER, LoggedIn
from hubwire.gateway.newcomer import Asking, Newcomer
from hubwire.gateway.sessions import Sessions
from hubwire.gateway.wills import Wills
from hubwire.hub.connection import Connection
from hubwire.model.ports import Sink
from hubwire.model.resources import ResourcePolicy
from hubwire.model.telemetry import CloseCategory, Telemetry
from hubwire.protocols.catalog import QueueLimits
from hubwire.protocols.mqtt.arrival import Arrival, ArrivalRefused, Policy, Refusal
from hubwire.protocols.mqtt.reasons import Reason
from hubwire.upstream.cloudevents import ConnectVerdict
from hubwire.upstream.sources import EventSource

__all__ = ["Arrivals", "MqttOptions"]

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


class MqttOptions(Struct, frozen=True):
    """
    Attributes:
        takeover: see `Sessions`.
        durable: do sessions that outlive their sockets outlive the process, too.
        durable_limits: of what clients leave unacknowledged whose sessions outlive the process.
    """

    policy: Policy = Policy()
    takeover: Literal["same-user", "azure"] = "same-user"
    durable: bool = False
    durable_limits: QueueLimits = QueueLimits(10_000)


class Arrivals:
    """
    Args:
        limits: of what each client leaves unacknowledged.
        go_on: handles what a client that has just come in has sent behind its CONNECT.
        durable: keeps sessions that outlive the process; None if none does.

    Attributes:
        note: told of refusals of a session, by its hub and client id.
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
        logged_in: LoggedIn,
        go_on: Callable[[Connection], Awaitable[None] | None],
        durable: DurableSessions | None = None,
    ) -> None:
        self._node = node
        self._events = events
        self._admission = admission
        self._telemetry = telemetry
        self._policy = options.policy
        self._sessions = Sessions(
            node,
            events,
            admission,
            telemetry,
            limits,
            options.takeover,
            wills,
            logged_in,
            go_on,
            durable,
            options.durable_limits,
        )
        self.note = self._sessions.note

    def greet(
        self, attempt: Attempt, claims: ClientClaims, policy: ResourcePolicy, login: Login | None = None
    ) -> Newcomer:
        """
        A client that may send its CONNECT. It has a place, which it loses by being refused or by `Newcomer.leave`.

        Raises:
            HandshakeRefused: there is none.
        """
        place = self._admission.greet(attempt.hub.resource, policy)
        return Newcomer(attempt, claims, Arrival(self._policy), place, login)

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
            newcomer.place.give_back()
            _say_no(sink, refusal.answer, refusal.refusal.code)
            return None
        if connect is None:
            return None
        client_id = connect.client_id or secrets.token_hex(16)
        asking = Asking(newcomer, connect, client_id, not connect.client_id, sink)
        try:
            policy = self._check_now(newcomer)
            self._sessions.check(asking, policy)
            if self._events.decide(asking.hub) or self._sessions.is_beginning(asking):
                return self._decide(asking, policy)
            return self._sessions.enter(asking, policy, newcomer.claims, ConnectVerdict(), self._source(asking))
        except HandshakeRefused as refusal:
            self._refuse(asking, refusal)
        except MqttRefused as refusal:
            self._refuse_by_code(asking, refusal)
        return None

    def never_arrived(self, newcomer: Newcomer, sink: Sink) -> None:
        """No CONNECT came in time."""
        self._telemetry.closed[CloseCategory.BAD_REQUEST] += 1
        records.mqtt_never_arrived(newcomer.attempt)
        newcomer.place.give_back()
        sink.close(_PROTOCOL_ERROR, "")

    def _check_now(self, newcomer: Newcomer) -> ResourcePolicy:
        """What the resource demands of everybody now; what it was when the client was asked for its CONNECT is past."""
        self._admission.check_running()
        if newcomer.login is not None and newcomer.login.is_over:
            raise HandshakeRefused(401, OVER)
        return self._admission.policy(newcomer.attempt)

    def _source(self, asking: Asking) -> EventSource:
        attempt = asking.newcomer.attempt
        return EventSource(
            attempt.hub,
            asking.client_id,
            self._events.origin(attempt.head.host),
            asking.newcomer.claims.user_id,
            physical_id=secrets.token_hex(16),
        )

    async def _decide(self, asking: Asking, policy: ResourcePolicy) -> None:
        """Let an event handler decide, if one is to be asked, and wait for others who come with the same client id."""
        newcomer = asking.newcomer
        source = self._source(asking)
        said, verdict = newcomer.claims, ConnectVerdict()
        try:
            if self._events.decide(asking.hub):
                said, verdict = await self._ask(asking, policy, source)
            await self._sessions.begun(asking)
            if newcomer.client_gone:
                return
            waiting = self._sessions.enter(asking, self._check_now(newcomer), said, verdict, source)
            if waiting is not None:
                await waiting
        except HandshakeRefused as refusal:
            self._refuse(asking, refusal)
        except MqttRefused as refusal:
            self._refuse_by_code(asking, refusal)

    async def _ask(
        self, asking: Asking, policy: ResourcePolicy, source: EventSource
    ) -> tuple[ClientClaims, ConnectVerdict]:
        """
        Ask an event handler. What it says takes the place of what the token says.

        Raises:
            HandshakeRefused, MqttRefused: it does not want the client, or fails.
        """
        newcomer = asking.newcomer
        kept = self._sessions.kept(asking)
        if kept is not None and kept.source is not None:
            source.recall(kept.source)
        verdict = await self._events.connect_mqtt(
            newcomer.attempt, newcomer.claims, asking.connect, source, policy, lambda: not newcomer.client_gone
        )
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
        return said, verdict

    # Refusals.

    def _refuse(self, asking: Asking, refusal: HandshakeRefused) -> None:
        reason = _REASONS.get(refusal.status, Reason.SERVER_UNAVAILABLE)
        category = category_of(refusal.status)
        # What to mend is in the cause, and better than in what is said of a code in general.
        refused = MqttRefused.of(reason, asking.version, category, refusal.cause, refusal.text, advise=False)
        self._refuse_by_code(asking, refused)

    def _refuse_by_code(self, asking: Asking, refusal: MqttRefused) -> None:
        newcomer = asking.newcomer
        self._telemetry.closed[refusal.category] += 1
        said = Refusal(refusal.code, asking.version, "", refusal.reason)
        records.mqtt_refused(newcomer.attempt, asking.client_id, said, refusal.cause, advise=refusal.advise)
        newcomer.place.give_back()
        answer = newcomer.arrival.refuse(refusal.code, refusal.text, refusal.user_properties)
        _say_no(asking.sink, answer, refusal.code)


def _say_no(sink: Sink, answer: bytes, code: int) -> None:
    """Where no packet can say it, the close frame does as far as it can."""
    if answer:
        sink.write(answer, 1, None)
        sink.close(_NORMAL, "")
    else:
        sink.close(_TOO_BIG if code == Reason.PACKET_TOO_LARGE else _PROTOCOL_ERROR, "")
