"""
Sessions of an earlier process: let in again before anybody else, as those who wait for their clients.

Nobody is told that they are connected, since they were; their ends are told when they come. What time has done to them
meanwhile, such as a will that is due, comes after all of them are in, so that each hears of the others.
"""

import math
from collections.abc import Callable
from typing import Final

from hubwire.cluster.durable import DurableSessions, Found, Stored
from hubwire.cluster.node import Node
from hubwire.gateway.admission import Admission
from hubwire.gateway.arrivals import MqttOptions
from hubwire.gateway.events import ConnectionEvents
from hubwire.gateway.wills import Wills
from hubwire.hub.connection import Connection
from hubwire.model.errors import NotFound
from hubwire.model.names import HubKey
from hubwire.model.permissions import Permissions, parse_roles
from hubwire.model.ports import HubDirectory
from hubwire.model.telemetry import CloseCategory
from hubwire.model.topic_filters import has_wildcards, share_of
from hubwire.protocols.catalog import QueueLimits, create
from hubwire.protocols.mqtt.arrival import Refusal
from hubwire.protocols.mqtt.session import MqttSession
from hubwire.protocols.reliable import ReliableSession
from hubwire.protocols.session import Session
from hubwire.upstream.sources import EventSource

__all__ = ["Restoring"]

_EVENTS_PER_S: Final = 1000
"""Of one session: so many numbers of events are left out for each second of its life before this process."""


class Restoring:
    """
    Args:
        options: what MQTT clients are offered.
        limits: of what each reliable client leaves unacknowledged.
        note: told of refusals of a session; see `MqttSession`.
    """

    def __init__(
        self,
        node: Node,
        durable: DurableSessions,
        directory: HubDirectory,
        admission: Admission,
        events: ConnectionEvents,
        wills: Wills,
        options: MqttOptions,
        limits: QueueLimits,
        note: Callable[[HubKey, str, Refusal], None],
    ) -> None:
        self._node = node
        self._durable = durable
        self._directory = directory
        self._admission = admission
        self._events = events
        self._wills = wills
        self._options = options
        self._policy = options.policy
        self._keeps_mqtt = options.durable
        self._limits = limits
        self._note = note

    async def restore(self) -> int:
        """
        Let everybody in who was kept. Called once, before anybody else is let in.

        Returns:
            how many sessions go on.
        """
        found = await self._durable.read()
        restored: list[tuple[Connection, float]] = []
        for stored in found.sessions:
            if not self._is_wanted(stored):
                self._durable.forget(stored)
                continue
            connection = self._connection(stored, found)
            groups = [one.topic for one in stored.subscriptions if one.member and connection.session.takes(one.topic)]
            waiting = self._node.restore(connection, groups, self._filters(stored))
            if waiting is not None:
                await waiting
            self._admission.restored(connection.hub.resource)
            restored.append((connection, self._since(stored)))
        self._durable.adopted(found)
        await self._events.adopt([connection for connection, _ in restored])
        for connection, since in restored:
            self._node.await_client(connection, since)
            self._wills.restored(connection, since)
            self._durable.changed(connection)
        return len(restored)

    def _is_wanted(self, stored: Stored) -> bool:
        """Not where its resource is gone, or sessions are to last no longer than their sockets."""
        try:
            self._directory.policy(stored.entry.resource)
        except NotFound:
            return False
        if stored.entry.subprotocol is None:
            return self._keeps_mqtt and self._policy.session_expiry_s > 0
        return self._retention_s(stored) is not None

    def _retention_s(self, stored: Stored) -> int | None:
        """How long reliable clients of its hub may be away now."""
        entry = stored.entry
        return self._directory.settings(HubKey(entry.resource, entry.hub)).reliable_retention_in_seconds

    def _filters(self, stored: Stored) -> list[str]:
        """Those that are still offered."""
        policy = self._policy
        found = []
        for name in [one.topic for one in stored.subscriptions if not one.member]:
            share, topic_filter = share_of(name)
            wild, shared = has_wildcards(topic_filter), share is not None
            if (wild and not policy.wildcards) or (shared and not policy.shared_subscriptions):
                continue
            if wild or shared:
                found.append(name)
        return found

    def _since(self, stored: Stored) -> float:
        """When it lost its socket, in monotonic seconds; just now, if it had one when the process ended."""
        lost_at = stored.entry.lost_at
        return self._node.time() - (0.0 if lost_at is None else max(self._durable.unix() - lost_at, 0.0))

    def _connection(self, stored: Stored, found: Found) -> Connection:
        entry = stored.entry
        hub, client_id = HubKey(entry.resource, entry.hub), entry.client_id
        session = self._session(stored)
        permissions = Permissions(parse_roles(entry.roles))
        permissions.restore(entry.rules)
        connection = Connection(
            id=client_id,
            hub=hub,
            user_id=entry.user_id,
            permissions=permissions,
            session=session,
            client_ip=entry.client_ip,
            origin=entry.origin,
        )
        connection.given_groups = entry.given_groups
        connection.why = CloseCategory(entry.why)
        age_s = max(self._durable.unix() - entry.opened_at, 0.0)
        connection.opened_at = self._node.time() - age_s
        source = EventSource(
            hub, client_id, entry.origin, entry.user_id, entry.subprotocol, entry.physical_id, entry.session_id
        )
        source.state = entry.state
        source.skip(math.ceil(age_s * _EVENTS_PER_S))
        connection.source = source
        self._durable.adopt(connection, stored, found)
        return connection

    def _session(self, stored: Stored) -> Session:
        entry = stored.entry
        hub, client_id = HubKey(entry.resource, entry.hub), entry.client_id
        if entry.terms is not None:
            limits = self._options.durable_limits
            return MqttSession.restored(
                self._policy, entry.terms, limits, lambda refusal: self._note(hub, client_id, refusal), client_id
            )
        assert entry.subprotocol is not None, "it is one or the other"
        session = create(entry.subprotocol, self._limits)
        assert isinstance(session, ReliableSession), "others cannot come back"
        session.lasts_s = self._retention_s(stored)
        return session
