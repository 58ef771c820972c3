"""
Random operations of clients and operators on a gateway in this process, held against a small model after each turn.

`HUBWIRE_FAULT_SEEDS=1-1000` walks other ways than the suite does, and `HUBWIRE_MODEL_EXAMPLES=2000` lets Hypothesis try
so many examples, other ones each time, and cut one that fails down to the operations that it takes.
"""

import asyncio
import json
import os
import random
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from doubles import HUB, RecordingSink, head, settle
from gateway.house import URL, House
from hubwire.gateway.opening import Opening
from hubwire.hub.connection import Connection
from hubwire.model.telemetry import CloseCategory
from hubwire.rest.app import build_app
from hubwire.rest.ports import Server
from journeys.operations import (
    JSON,
    KINDS,
    RELIABLE,
    Acknowledge,
    Call,
    Connect,
    Depart,
    Listing,
    Operation,
    Pass,
    Payload,
    Recover,
    Say,
    draw,
    listing_target,
    target,
)
from journeys.reference import Frame, Reference, held_against
from journeys.seeds import seeds
from rest.asgi import ENDPOINT, FakeCatalog, Reply, request
from rest.callers import access_keys_only

QUEUE: Final = 20
STEPS: Final = 1000
PAGES: Final = 50
OFFERS: Final = {"json": (JSON,), "reliable": (RELIABLE,), "simple": ()}
EXAMPLES: Final = os.environ.get("HUBWIRE_MODEL_EXAMPLES")


class _Client:
    """One connection and its present socket."""

    def __init__(self, connection: Connection, sink: RecordingSink) -> None:
        self.connection = connection
        self.sink = sink
        self.token = ""


class Premises:
    """A house with its REST application, and clients by the names of the reference."""

    def __init__(self) -> None:
        self.house = House(1000, QUEUE)
        self.reference = Reference(QUEUE, (0, 0, 5, 300))
        self.clients: dict[str, _Client] = {}
        self.unsettled = 0
        self._app = build_app(
            self.house.node,
            self.house.principals,
            access_keys_only(self.house.principals),
            FakeCatalog(),
            self.house.telemetry,
            Server(endpoint=ENDPOINT, version="1", pid=1, data_folder="/", started_at=0.0),
            ready=lambda: True,
        )

    async def step(self, operation: Operation, hold: bool) -> None:
        """
        Carry out an operation and compare.

        Args:
            hold: leave the turn of the loop open for the next operation, if that leaves nothing open.
        """
        if not isinstance(operation, Say | Payload | Call):
            await self.compare()
        operation = self.reference.adjusted(operation)
        crowded = self.reference.spare() <= 12
        expected = self.reference.apply(operation)
        found = await self._carry_out(operation)
        assert found == expected, (operation, found, expected)
        self.unsettled += 1
        if not hold or crowded or self.unsettled == 4 or not isinstance(operation, Say | Payload | Call):
            await self.compare()

    async def compare(self) -> None:
        """What every client got since the last time, once all came to rest."""
        await settle()
        self.unsettled = 0
        for name, client in self.clients.items():
            peer = self.reference.peers[name]
            if peer.stream is not None:
                sink = client.sink
                assert not sink.aborted
                end = None if sink.closed is None else sink.closed[0]
                held_against(peer.stream, self._frames(client, peer.kind), end)
                sink.forget()
                if end is not None:
                    peer.stream = None
            assert client.connection.alive == peer.alive
            assert set(client.connection.groups) == peer.groups

    @staticmethod
    def _frames(client: _Client, kind: str) -> list[Frame]:
        found: list[Frame] = []
        for frame in client.sink.frames:
            if kind != "simple":
                assert frame.opcode == 1
                message = json.loads(frame.payload)
                client.token = message.get("reconnectionToken", client.token)
                found.append(message)
            else:
                found.append(("text", frame.payload.decode()) if frame.opcode == 1 else ("binary", frame.payload))
        return found

    async def _carry_out(self, operation: Operation) -> Any:
        match operation:
            case Connect():
                await self._connect(operation)
            case Say(name, frames):
                for frame in frames:
                    await self._receive(name, json.dumps(frame) if isinstance(frame, dict) else frame)
            case Payload(name, data):
                await self._receive(name, data)
            case Acknowledge(name, number):
                await self._receive(name, json.dumps({"type": "sequenceAck", "sequenceId": number}))
            case Depart(name, how):
                client = self.clients[name]
                code = 1006 if how == "cut" else how
                self.house.gateway.lost(client.connection, client.sink, code, CloseCategory.NORMAL)
            case Recover(name, honest):
                return await self._recover(name, honest)
            case Call():
                return (await self._request(operation.method, target(operation, HUB.hub), operation)).status
            case Listing():
                return await self._list(operation)
            case Pass(seconds):
                await self.house.loop.advance(seconds)
        return None

    async def _receive(self, name: str, payload: str | bytes) -> None:
        waiting = self.house.gateway.receive(self.clients[name].connection, payload)
        if waiting is not None:
            await waiting

    async def _connect(self, how: Connect) -> None:
        query = {}
        if how.publish_to is not None:
            query = {"webpubsub_mode": "sendToGroup", "group": how.publish_to, "noEcho": str(how.no_echo).lower()}
        if how.issued:
            parameters = [("role", role) for role in how.roles] + [("group", group) for group in how.groups]
            if how.user is not None:
                parameters.append(("userId", how.user))
            reply = await self._request("POST", f"/api/hubs/{HUB.hub}/:generateToken?{urlencode(parameters)}")
            query["access_token"] = reply.json["token"]
        else:
            query["access_token"] = self.house.token(how.user, how.roles, how.groups)
        client = await self._begin(how.name, self.house.decide(*OFFERS[how.kind], **query))
        assert client is not None
        self.reference.peers[how.name].id = client.connection.id

    async def _begin(self, name: str, opening: Opening) -> _Client | None:
        sink = RecordingSink()
        connection = await self.house.begin(opening, sink)
        if connection is None:
            assert sink.closed is not None
            assert sink.closed[0] == 1008
            assert not sink.writes
            return None
        client = self.clients[name] = _Client(connection, sink)
        return client

    async def _recover(self, name: str, honest: bool) -> bool:
        client, peer = self.clients[name], self.reference.peers[name]
        others = [other.token for other in self.clients.values() if other.token and other is not client]
        token = client.token if honest else others[0] if others else "nonsense"
        was_there = client.connection.sink is client.sink
        query = urlencode({"awps_connection_id": peer.id, "awps_reconnection_token": token})
        opening = self.house.opening(head(f"{URL}?{query}", offers=(RELIABLE,)))
        if await self._begin(name, opening) is None:
            return False
        # A half-open socket ends without a word.
        assert client.sink.aborted == was_there
        assert not client.sink.writes
        return True

    async def _request(self, method: str, where: str, call: Call | None = None) -> Reply:
        headers = []
        body = call.body if call is not None else b""
        if call is not None and call.content_type:
            headers = [("Content-Type", call.content_type), ("Content-Length", str(len(body)))]
        control = {"control": True, "host": "localhost:8080"}
        reply = await request(self._app, method, where, headers, (body,), control)
        assert reply is not None
        return reply

    async def _list(self, listing: Listing) -> list[Any]:
        pages: list[Any] = []
        where: str | None = listing_target(listing, HUB.hub)
        while where is not None:
            assert len(pages) < PAGES, "the list does not end"
            reply = await self._request("GET", where.removeprefix(ENDPOINT))
            assert reply.status == 200, reply.body
            pages.append(reply.json["value"])
            where = reply.json["nextLink"]
        return pages


@pytest.mark.parametrize("seed", seeds("1-20"))
async def test_random_walk_is_what_the_reference_says(seed: int) -> None:
    """Many operations, each of them drawn with a view to what there is. The same seed draws the same ones."""
    premises, drawn = Premises(), random.Random(seed)
    done: list[Operation] = []
    try:
        for _ in range(STEPS):
            operation = draw(drawn.choice(KINDS), drawn, premises.reference)
            if operation is not None:
                done.append(operation)
                await premises.step(operation, drawn.random() < 0.5)
        await premises.compare()
    except BaseException:
        print(f"seed {seed}, operation {len(done)}; the last ones:", *done[-30:], sep="\n")
        raise


class ModelMachine(RuleBasedStateMachine):
    """Draws operations until something differs from the reference."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._premises = self._runner.run(self._begin())

    @staticmethod
    async def _begin() -> Premises:
        return Premises()

    @rule(kind=st.sampled_from(KINDS), drawn=st.randoms(use_true_random=False), hold=st.booleans())
    def step(self, kind: str, drawn: random.Random, hold: bool) -> None:
        operation = draw(kind, drawn, self._premises.reference)
        if operation is not None:
            note(repr(operation))
            self._runner.run(self._premises.step(operation, hold))

    def teardown(self) -> None:
        try:
            self._runner.run(self._premises.compare())
        finally:
            self._runner.close()


TestModel = pytest.mark.timeout(900)(ModelMachine.TestCase)
"""It may take so long to cut a failing example down; nothing else does."""

TestModel.settings = settings(
    max_examples=int(EXAMPLES or 80),
    stateful_step_count=60,
    deadline=None,
    derandomize=EXAMPLES is None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
