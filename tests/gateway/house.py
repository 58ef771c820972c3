"""A gateway with its node, and clients that are sinks."""

import json
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlencode

from doubles import (
    ALL_ROLES,
    HUB,
    Directory,
    DurableSession,
    HeldBus,
    Keys,
    MemoryJournal,
    RecordingSink,
    VirtualLoop,
    connection,
    done,
    head,
    settle,
)
from handlers import Upstream
from hubwire.adapters.bus_memory import MemoryExchange
from hubwire.auth.logins import Logins
from hubwire.auth.principals import Principals
from hubwire.cluster.commits import Commits
from hubwire.cluster.durable import DurableSessions
from hubwire.cluster.node import Node
from hubwire.cluster.retained import Retained
from hubwire.cluster.retained_portions import PortionLimits
from hubwire.gateway.arrivals import MqttOptions
from hubwire.gateway.attempt import HandshakeRefused
from hubwire.gateway.events import ConnectionEvents, Shown
from hubwire.gateway.gateway import Gateway
from hubwire.gateway.opening import Opening
from hubwire.hub.connection import Connection
from hubwire.hub.retained import RetainedLimits
from hubwire.hub.streams import StreamLimits
from hubwire.model.commands import Send
from hubwire.model.http import RequestHead
from hubwire.model.messages import Data, GroupMessage
from hubwire.model.targets import to_group
from hubwire.model.telemetry import CloseCategory, Telemetry
from hubwire.protocols.catalog import QueueLimits
from hubwire.protocols.json_reliable import ReliableJsonSession
from hubwire.protocols.session import Session

__all__ = ["JSON", "RELIABLE", "URL", "Client", "House"]

JSON = "json.webpubsub.azure.v1"
RELIABLE = "json.reliable.webpubsub.azure.v1"
URL = f"/client/hubs/{HUB.hub}"


class House:
    """
    One server without its edge.

    Args:
        queue_messages: that a reliable client may leave unacknowledged.
        shown: what `connect` events say.
        mqtt: what MQTT clients are offered.
        logins: of communication users, if there are any.
        streams: that each client may publish.
        journal: what is kept beyond the process, if anything.
        life: when it begins, in seconds after the first one.
        retained: messages that each hub may have.
        portions: of these, in which a client gets them.

    Attributes:
        clock: seconds since 1970, for tokens and retained messages.
        upstream: its event handlers, if hubs have any.
    """

    def __init__(
        self,
        quota: int = 100,
        queue_messages: int = 5,
        shown: Shown | None = None,
        mqtt: MqttOptions | None = None,
        logins: Logins | None = None,
        streams: StreamLimits | None = None,
        journal: MemoryJournal | None = None,
        life: float = 0.0,
        retained: RetainedLimits | None = None,
        portions: PortionLimits | None = None,
    ) -> None:
        self.clock = 1_700_000_000.0
        self.loop = VirtualLoop()
        begun = self.clock + life - self.loop.time()
        self.commits = None if journal is None else Commits(journal)
        self.durable = None
        if self.commits is not None:
            self.durable = DurableSessions(self.commits, self.loop.time, lambda: begun + self.loop.time(), most=10)
        self.telemetry = Telemetry(quota)
        self.exchange = MemoryExchange()
        self.bus = HeldBus(self.exchange.bus())
        self.retained = Retained(self.commits, retained or RetainedLimits(), lambda: self.clock)
        self.node = Node(
            self.bus, self.telemetry, self.loop, commits=self.commits, retained=self.retained, portions=portions
        )
        self.directory = Directory()
        self.principals = Principals(Keys(), (), 60, lambda: self.clock)
        self.upstream = Upstream(self.directory, journal=journal)
        self.gateway = Gateway(
            self.node,
            self.principals,
            self.directory,
            ConnectionEvents(self.upstream.dispatcher, shown or Shown()),
            self.telemetry,
            QueueLimits(queue_messages),
            mqtt or MqttOptions(),
            logins,
            self.durable,
            streams=streams or StreamLimits(),
        )
        self.ended: list[tuple[Connection, CloseCategory, int, str]] = []
        self.node.on_end.append(lambda *what: self.ended.append(what[:4]))

    def token(
        self,
        user_id: str | None = None,
        roles: Sequence[str] = (),
        groups: Sequence[str] = (),
        audience: str = f"http://localhost:8080{URL}",
    ) -> str:
        return self.principals.issue_client_token(HUB.resource, audience, user_id, roles, groups, 5)

    def opening(self, request: RequestHead) -> Opening:
        """An upgrade request about which nobody is asked."""
        opening = self.gateway.decide(request)
        assert isinstance(opening, Opening)
        return opening

    async def ask(self, request: RequestHead) -> Opening:
        """One about which a handler may be asked."""
        opening = self.gateway.decide(request)
        return opening if isinstance(opening, Opening) else await opening.outcome()

    def decide(self, *offers: str, url: str = URL, **query: str) -> Opening:
        """One with this query, about which nobody is asked."""
        return self.opening(head(f"{url}?{urlencode(query)}", offers=offers))

    def refusal(self, *offers: str, url: str = URL, **query: str) -> HandshakeRefused | None:
        """What is answered instead of 101, if anything."""
        try:
            self.decide(*offers, url=url, **query)
        except HandshakeRefused as refusal:
            return refusal
        return None

    def send(self, group: str, text: str, ttl_s: int = 0) -> None:
        """What REST does to send."""
        target = to_group(HUB, group)
        self.node.execute(Send(target, GroupMessage(group, Data("text", text.encode())), ttl_s=ttl_s))

    async def durable_member(self, group: str = "g") -> Connection:
        """A member that outlives the process, for whose messages entries of the journal are made."""
        session = DurableSession(ReliableJsonSession(QueueLimits()), self.commits)
        member = connection(cast("Session", session))
        await done(self.node.attach(member, [group], RecordingSink(), b""))
        return member

    async def begin(self, opening: Opening, sink: RecordingSink) -> Connection | None:
        """The second step of letting somebody in; None if nobody was."""
        await done(self.gateway.begin(opening, sink))
        connection = opening.connection
        return connection if connection is not None and connection.sink is sink else None

    async def client(
        self,
        *offers: str,
        user_id: str | None = None,
        roles: Sequence[str] = ALL_ROLES,
        groups: Sequence[str] = (),
        **query: str,
    ) -> "Client":
        """Somebody whom nothing refuses."""
        query.setdefault("access_token", self.token(user_id, roles, groups))
        sink = RecordingSink()
        opening = await self.ask(head(f"{URL}?{urlencode(query)}", offers=offers))
        connection = await self.begin(opening, sink)
        assert connection is not None
        await settle()
        return Client(self, connection, sink)

    async def json(self, **more: Any) -> "Client":
        """A plain JSON client whose `connected` message was taken."""
        client = await self.client(JSON, **more)
        client.sink.forget()
        return client


class Client:
    """Somebody who was let in."""

    def __init__(self, house: House, connection: Connection, sink: RecordingSink) -> None:
        self.house = house
        self.connection = connection
        self.sink = sink

    async def say(self, *messages: dict[str, Any] | str | bytes) -> list[Any]:
        """Some messages one after the other; returns what they are answered."""
        before = len(self.sink.frames)
        for message in messages:
            payload = json.dumps(message) if isinstance(message, dict) else message
            waiting = self.house.gateway.receive(self.connection, payload)
            if waiting is not None:
                await waiting
        await settle()
        return [json.loads(frame.payload) for frame in self.sink.frames[before:]]

    def drop(self, code: int = 1006, category: CloseCategory = CloseCategory.NORMAL) -> None:
        """Its socket is gone."""
        self.house.gateway.lost(self.connection, self.sink, code, category)

    @property
    def recovery(self) -> dict[str, str]:
        """The query with which it may come back."""
        token = next(row["reconnectionToken"] for row in self.sink.received if "reconnectionToken" in row)
        return {"awps_connection_id": self.connection.id, "awps_reconnection_token": token}
