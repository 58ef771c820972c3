"""Two nodes on one memory bus, each with a gateway above it, and recorded sinks instead of sockets."""

import itertools
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from doubles import ALL_ROLES, HUB, Keys, RecordingSink, VirtualLoop, done, head, settle
from handlers import Upstream
from hubwire.adapters.bus_memory import MemoryExchange
from hubwire.auth.principals import Principals
from hubwire.cluster.node import Node
from hubwire.gateway.arrivals import MqttOptions
from hubwire.gateway.events import ConnectionEvents, Shown
from hubwire.gateway.gateway import Gateway
from hubwire.gateway.opening import Opening
from hubwire.hub.connection import Connection
from hubwire.model.commands import Answer, Query, Send
from hubwire.model.messages import Data, FromServer, GroupMessage
from hubwire.model.targets import Target
from hubwire.model.telemetry import CloseCategory, Telemetry
from hubwire.protocols.catalog import QueueLimits
from hubwire.protocols.mqtt.arrival import Policy

__all__ = ["JSON", "RELIABLE", "Client", "Cluster", "Machine"]

JSON = "json.webpubsub.azure.v1"
RELIABLE = "json.reliable.webpubsub.azure.v1"


class Machine:
    """One node with its gateway."""

    def __init__(self, loop: VirtualLoop, exchange: MemoryExchange) -> None:
        self.telemetry = Telemetry(10_000)
        self.principals = Principals(Keys(), (), 60)
        self.node = Node(exchange.bus(), self.telemetry, loop)
        self.upstream = Upstream()
        self.gateway = Gateway(
            self.node,
            self.principals,
            self.upstream.directory,
            ConnectionEvents(self.upstream.dispatcher, Shown()),
            self.telemetry,
            QueueLimits(),
            MqttOptions(Policy(wildcards=True, shared_subscriptions=True)),
        )

    async def client(
        self,
        user_id: str | None = None,
        groups: Sequence[str] = (),
        *,
        roles: Sequence[str] = ALL_ROLES,
        subprotocol: str | None = JSON,
        **query: str,
    ) -> "Client":
        """A client that connects with a token of its own."""
        audience = f"http://localhost:8080/client/hubs/{HUB.hub}"
        query["access_token"] = self.principals.issue_client_token(HUB.resource, audience, user_id, roles, groups, 5)
        client = Client(self, f"/client/hubs/{HUB.hub}?{urlencode(query)}", subprotocol)
        await client.connect()
        return client

    async def send(self, target: Target, text: str, **more: Any) -> None:
        """What REST does to send."""
        data = Data("text", text.encode())
        message = GroupMessage(target.name, data) if target.kind == "group" else FromServer(data)
        self.node.execute(Send(target, message, **more))
        await settle()

    async def ask(self, query: Query) -> Answer:
        """What REST does to ask."""
        answer = await self.node.ask(query)
        await settle()
        return answer


class Client:
    """A client of one machine."""

    def __init__(self, machine: Machine, target: str, subprotocol: str | None) -> None:
        self.machine = machine
        self.sink = RecordingSink()
        self._target = target
        self._offers = (subprotocol,) if subprotocol else ()
        self._connection: Connection | None = None
        self._ack_ids = itertools.count(1)

    async def connect(self, **query: str) -> None:
        """On a new socket, with more in its query."""
        self.sink = RecordingSink()
        more = f"&{urlencode(query)}" if query else ""
        gateway = self.machine.gateway
        opening = gateway.decide(head(self._target + more, offers=self._offers))
        assert isinstance(opening, Opening), "nobody is asked"
        await done(gateway.begin(opening, self.sink))
        self._connection = opening.connection
        await settle()

    @property
    def connection(self) -> Connection:
        assert self._connection is not None, "it was not let in"
        return self._connection

    async def say(self, message: dict[str, Any]) -> None:
        """One frame; then whatever it leads to."""
        waiting = self.machine.gateway.receive(self.connection, json.dumps(message))
        if waiting is not None:
            await waiting
        await settle()

    async def request(self, **message: Any) -> Any:
        """A request with an ack id; returns the ack."""
        ack_id = next(self._ack_ids)
        await self.say({**message, "ackId": ack_id})
        (ack,) = [row for row in self.sink.received if row["type"] == "ack" and row["ackId"] == ack_id]
        return ack

    async def join(self, group: str) -> None:
        assert (await self.request(type="joinGroup", group=group))["success"]

    async def leave(self, group: str) -> None:
        assert (await self.request(type="leaveGroup", group=group))["success"]

    async def publish(self, group: str, *texts: str, **more: Any) -> None:
        """Without waiting between them, so that they may share a turn."""
        for text in texts:
            frame = {"type": "sendToGroup", "group": group, "dataType": "text", "data": text, **more}
            assert self.machine.gateway.receive(self.connection, json.dumps(frame)) is None
        await settle()

    async def drop(self) -> None:
        """Its socket breaks."""
        self.machine.gateway.lost(self.connection, self.sink, 1006, CloseCategory.NORMAL)
        await settle()

    @property
    def heard(self) -> list[Any]:
        """Payloads of all messages on the present socket."""
        return self.sink.data


class Cluster:
    """Machines `a` and `b`."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.exchange = MemoryExchange()
        self.a = Machine(self.loop, self.exchange)
        self.b = Machine(self.loop, self.exchange)
