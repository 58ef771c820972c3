"""
Random operations of clients and operators on a running server, over real sockets, held against a small model after
each one. No operation begins before all that the one before it led to has arrived everywhere.

`HUBWIRE_FAULT_SEEDS=1-50` walks other ways than the suite does. The same seed draws the same operations.
"""

import http.client
import json
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from acceptance.servers import DEADLINE_S, Server, StartServer, wait_until
from acceptance.wire import Answer, JsonClient, RawClient, client_target, client_token, signed
from journeys.operations import (
    IN_PROTOBUF,
    KINDS,
    OFFERS,
    RELIABLE,
    Acknowledge,
    Call,
    Connect,
    Depart,
    Kind,
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
from journeys.reference import Frame, Peer, Reference, held_against
from journeys.seeds import seeds
from protobuf_messages import message_of, request_of

QUEUE: Final = 20
STEPS: Final = 3000
PAGES: Final = 50
CLIENTS: Final[tuple[Kind, ...]] = ("json", "reliable", "reliable", "protobuf", "reliable-protobuf", "simple")
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


class _Client:
    """
    One socket.

    Attributes:
        frames: what came and was not compared yet.
        end: code of the server's close frame.
        token: for its recovery.
    """

    def __init__(self, kind: Kind, raw: RawClient, token: str = "") -> None:
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.kind = kind
        self.raw = raw
        self.frames: list[Frame] = []
        self.end: int | None = None
        self.token = token

    def ping(self) -> None:
        """Ask for something that is answered behind all that was accepted before."""
        if self.kind == "simple":
            self.raw.send_frame(_PING, b"p")
        else:
            self.say({"type": "ping"})

    def say(self, frame: dict[str, Any] | str) -> None:
        """A request; text that is none stands for itself."""
        if self.kind in IN_PROTOBUF:
            self.raw.send_frame(_BINARY, frame.encode() if isinstance(frame, str) else request_of(frame))
        else:
            self.raw.send_frame(_TEXT, (frame if isinstance(frame, str) else json.dumps(frame)).encode())

    def await_pong(self) -> None:
        """Take what comes before the answer, or before the end."""
        while self.end is None and not self._take():
            pass

    def await_end(self) -> None:
        while self.end is None:
            assert not self._take(), "no pong was asked for"

    def _take(self) -> bool:
        """Take one frame. Was it a pong?"""
        opcode, payload = self.raw.receive_frame()
        if opcode == _CLOSE:
            self.end = int.from_bytes(payload[:2], "big")
        elif self.kind == "simple":
            if opcode == _PONG:
                return True
            self.frames.append(("text", payload.decode()) if opcode == _TEXT else ("binary", payload))
        else:
            assert opcode == (_BINARY if self.kind in IN_PROTOBUF else _TEXT), (opcode, payload)
            frame = message_of(payload) if self.kind in IN_PROTOBUF else json.loads(payload)
            if frame["type"] == "pong":
                return True
            self.token = frame.get("reconnectionToken", self.token)
            self.frames.append(frame)
        return False


class Premises:
    """A running server, and clients by the names of the reference."""

    def __init__(self, server: Server, hub: str) -> None:
        self.reference = Reference(QUEUE, (0, 300), CLIENTS)
        self._server = server
        self._hub = hub
        self._clients: dict[str, _Client] = {}
        self._http = http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE_S)
        self._stack = ExitStack()
        self._stack.callback(self._http.close)
        # An answer of the protocol waits behind all that was accepted before, for whomever it was. A pong of RFC 6455,
        # which is all that simple clients can ask for, does not.
        self._watcher = self._stack.enter_context(JsonClient(server, f"{hub}watcher"))

    def __enter__(self) -> "Premises":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def step(self, operation: Operation) -> None:
        """Carry out an operation, wait for all that comes of it, and compare."""
        expected = self.reference.apply(operation)
        found = self._carry_out(operation)
        assert found == expected, (operation, found, expected)
        self._compare()

    def _compare(self) -> None:
        assert not self._watcher.heard()
        waiting = [(peer, self._clients[peer.name]) for peer in self._reachable()]
        for peer, client in waiting:
            if peer.is_there:
                client.ping()
        differences = []
        for peer, client in waiting:
            if peer.is_there:
                client.await_pong()
            else:
                client.await_end()
            assert peer.stream is not None
            try:
                held_against(peer.stream, client.frames, client.end)
            except AssertionError as error:
                differences.append(f"{peer.name}: {error}")
            client.frames.clear()
            if not peer.is_there:
                client.raw.socket.close()
                peer.stream = None
        assert not differences, "\n".join(differences)

    def _reachable(self) -> Iterator[Peer]:
        return (peer for peer in self.reference.peers.values() if peer.stream is not None)

    def _carry_out(self, operation: Operation) -> Any:
        match operation:
            case Connect():
                self._connect(operation)
            case Say(name, frames):
                client = self._clients[name]
                for frame in frames:
                    client.say(frame)
                self._said(name)
            case Payload(name, data):
                raw = self._clients[name].raw
                raw.send_frame(
                    _TEXT if isinstance(data, str) else _BINARY, data.encode() if isinstance(data, str) else data
                )
                self._said(name)
            case Acknowledge(name, number):
                self._clients[name].say({"type": "sequenceAck", "sequenceId": number})
                self._said(name)
            case Depart():
                self._depart(operation)
            case Recover(name, honest):
                return self._recover(name, honest)
            case Call(method, _, _, _, body, content_type):
                return self._request(method, target(operation, self._hub), body, content_type).status
            case Listing():
                return self._list(operation)
            case Pass():
                raise AssertionError("time passes by itself here")
        return None

    def _said(self, name: str) -> None:
        """
        Wait until the server has carried out what this client said. Who ends by it (its own message was one too many
        for its queue) gets no answer but the end; others asked before that could be answered ahead of the message.
        """
        client = self._clients[name]
        if self.reference.peers[name].is_there:
            client.ping()
            client.await_pong()
        else:
            client.await_end()

    def _connect(self, how: Connect) -> None:
        query = []
        if how.publish_to is not None:
            query = [("webpubsub_mode", "sendToGroup"), ("group", how.publish_to), ("noEcho", str(how.no_echo))]
        if how.issued:
            parameters = [("role", role) for role in how.roles] + [("group", group) for group in how.groups]
            if how.user is not None:
                parameters.append(("userId", how.user))
            token = self._request("POST", f"/api/hubs/{self._hub}/:generateToken?{urlencode(parameters)}").json()[
                "token"
            ]
        else:
            token = client_token(self._server, self._hub, user=how.user or "", roles=how.roles, groups=how.groups)
        raw = RawClient(self._server, client_target(self._hub, token, query), protocols=OFFERS[how.kind])
        self._stack.callback(raw.socket.close)
        assert raw.status == 101, raw.body
        client = self._clients[how.name] = _Client(how.kind, raw)
        client.ping()
        client.await_pong()
        if how.kind == "simple":
            ((row,),) = self._list(Listing(how.name, 200, None))
            self.reference.peers[how.name].id = row["connectionId"]
        else:
            first = client.frames[0]
            assert isinstance(first, dict)
            self.reference.peers[how.name].id = first["connectionId"]

    def _depart(self, operation: Depart) -> None:
        client, peer = self._clients[operation.name], self.reference.peers[operation.name]
        if operation.how == "cut":
            client.raw.abort()
        else:
            client.raw.close_frame(operation.how)
            client.await_end()
            assert client.end == operation.how
            client.raw.socket.close()
        if not peer.alive:
            wait_until(
                lambda: self._request("HEAD", f"/api/hubs/{self._hub}/connections/{peer.id}").status == 404, "its end"
            )

    def _recover(self, name: str, honest: bool) -> bool:
        old, peer = self._clients[name], self.reference.peers[name]
        others = [client.token for client in self._clients.values() if client.token and client is not old]
        token = old.token if honest else others[0] if others else "nonsense"
        query = [("awps_connection_id", peer.id), ("awps_reconnection_token", token)]
        raw = RawClient(self._server, client_target(self._hub, None, query), protocols=[RELIABLE])
        self._stack.callback(raw.socket.close)
        assert raw.status == 101
        client = _Client(old.kind, raw, old.token)
        client.ping()
        client.await_pong()
        if client.end is not None:
            assert client.end == 1008
            assert not client.frames
            return False
        if old.raw.socket.fileno() >= 0:
            assert old.raw.closed().code == 1006, "a half-open socket ends without a word"
            old.raw.socket.close()
        self._clients[name] = client
        return True

    def _request(self, method: str, where: str, body: bytes = b"", content_type: str | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {signed(self._server, self._server.endpoint + where)}"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        self._http.request(method, where, body=body, headers=headers)
        response = self._http.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())

    def _list(self, listing: Listing) -> list[Any]:
        pages: list[Any] = []
        where: str | None = listing_target(listing, self._hub)
        while where is not None:
            assert len(pages) < PAGES, "the list does not end"
            answer = self._request("GET", where.removeprefix(self._server.endpoint))
            assert answer.status == 200, answer.body
            page = answer.json()
            pages.append(page["value"])
            where = page["nextLink"]
        return pages


@pytest.mark.parametrize("seed", seeds("1,2"))
def test_random_walk_is_what_the_reference_says(start_server: StartServer, hub: str, seed: int) -> None:
    """Nobody is forgotten while the walk lasts, however slow the machine is: that takes an hour here."""
    server = start_server("--set", f"reliable_queue_messages={QUEUE}", "--set", "recovery_s=3600")
    drawn = random.Random(seed)
    done: list[Operation] = []
    with Premises(server, hub) as premises:
        try:
            while len(done) < STEPS:
                operation = draw(drawn.choice(KINDS), drawn, premises.reference)
                if operation is not None and not isinstance(operation, Pass):
                    done.append(premises.reference.adjusted(operation))
                    premises.step(done[-1])
        except BaseException:
            print(f"seed {seed}, operation {len(done)}; the last ones:", *done[-30:], sep="\n")
            raise
