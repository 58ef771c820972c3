"""
A handler that has accepted a connection hears of its end, once: also when the server is killed or stops, or when the
client has left before it was in.
"""

import json
import signal
import socket
import sqlite3
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any, Final

import pytest

from acceptance.servers import DEADLINE_S, Server, StartServer, wait_until
from acceptance.upstreams import Heard, Reply, Upstream, await_line, configure, says
from acceptance.wire import JSON, RELIABLE, JsonClient, RawClient, client_target, client_token, rest

CRASHED: Final = {"reason": "The server ended unexpectedly."}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """It gives each connection its user's name as state."""
    with Upstream() as upstream:
        upstream.answer = lambda event: (
            says(200, ce_connectionState=f"of {event.userId}") if event.eventName == "connect" else Reply()
        )
        yield upstream


def journalled(server: Server) -> dict[str, Any]:
    """What is on the disk of connections whose end is to be told, by their ids."""
    with closing(sqlite3.connect(f"file:{server.data / 'journal.db'}?mode=ro", uri=True)) as database:
        entries = [json.loads(body) for (body,) in database.execute("SELECT body FROM entries")]
    return {entry["connection_id"]: entry for entry in entries}


def kill(server: Server) -> None:
    server.signal(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL


def told_end(upstream: Upstream) -> list[str]:
    """The connections of whose end a handler was told."""
    return sorted(event.connectionId for event in upstream.events("disconnected"))


def settle(server: Server, hub: str, upstream: Upstream) -> None:
    """A whole life of one more connection, behind everything that was still to be told."""
    with JsonClient(server, hub, user="last") as client:
        pass
    upstream.await_events(1, "disconnected", of=client.connection_id)
    wait_until(lambda: journalled(server) == {}, "an empty journal")


def test_ends_of_connections_are_told_after_a_kill(start_server: StartServer, hub: str, upstream: Upstream) -> None:
    """Each once, with all that a handler knows the connection by; and of those that had ended before, no more."""
    server = start_server()
    configure(server, hub, upstream.handler())
    with ExitStack() as stack:
        gone = [stack.enter_context(JsonClient(server, hub, user=f"gone{number}")) for number in range(5)]
        for client in gone:
            client.socket.close()
        upstream.await_events(5, "disconnected")
        there = [stack.enter_context(JsonClient(server, hub, user=f"ü{number}")) for number in range(20)]
        reliable = [
            stack.enter_context(JsonClient(server, hub, protocol=RELIABLE, user=f"r{number}")) for number in range(2)
        ]
        reliable[0].socket.socket.shutdown(socket.SHUT_RDWR)
        simple = stack.enter_context(RawClient(server, client_target(hub, client_token(server, hub, user="simple"))))
        assert simple.status == 101
        upstream.answer = lambda event: says(204, ce_connectionState="changed")
        there[0].request({"type": "event", "event": "say", "dataType": "text", "data": "x"})
        wait_until(lambda: journalled(server)[there[0].connection_id]["state"] == "changed", "its state on the disk")
        wait_until(lambda: len(journalled(server)) == 23, "those that have ended out of the journal")
        # Who is in the very moment before is in the journal too.
        last = stack.enter_context(RawClient(server, client_target(hub, client_token(server, hub, user="last"))))
        assert last.status == 101
        kill(server)
    assert len(upstream.events("disconnected")) == 5
    accepted = {event.connectionId: event for event in upstream.events("connect")}

    upstream.answer = lambda _: Reply()
    second = start_server(data=server.data)
    upstream.await_events(29, "disconnected")
    settle(second, hub, upstream)
    ends = [end for end in upstream.events("disconnected")[5:] if end.connectionId in accepted]
    told = {end.connectionId: end for end in ends}
    assert len(ends) == len(told) == 24
    assert not told.keys() & {client.connection_id for client in gone}
    assert {client.connection_id for client in (*there, *reliable)} < told.keys()
    assert all(end.json() == CRASHED for end in ends)
    states = {end.connectionId: end.connectionState for end in ends}
    assert states.pop(there[0].connection_id) == "changed"
    assert states.pop(next(id for id, event in accepted.items() if event.userId == "last")) == "changed"
    assert states == {id: f"of {accepted[id].userId}" for id in states}
    for id, end in told.items():
        connect = accepted[id]
        assert (end.userId, end.hub, end.source, end.signature) == (
            connect.userId,
            connect.hub,
            connect.source,
            connect.signature,
        )
        assert end.get("WebHook-Request-Origin") == connect.get("WebHook-Request-Origin")
        assert int(end.id) > int(connect.id)
    assert {told[client.connection_id].subprotocol for client in there} == {JSON}
    assert {told[client.connection_id].subprotocol for client in reliable} == {RELIABLE}


def test_end_that_was_being_told_at_a_kill_is_told_again_as_the_same_event(
    start_server: StartServer, hub: str, upstream: Upstream
) -> None:
    """Nobody knows whether it had arrived; by its number a handler does."""
    server = start_server()
    configure(server, hub, upstream.handler())
    with JsonClient(server, hub, user="u") as client:
        upstream.await_events(1, "connected")
        upstream.answer = upstream.never
        query = [("reason", "you must go")]
        assert rest(server, "DELETE", f"{hub}/connections/{client.connection_id}", query=query).status == 204
        client.closed()
    (first,) = upstream.await_events(1, "disconnected")
    wait_until(lambda: "event_id" in journalled(server)[client.connection_id], "what is told on the disk")
    kill(server)

    upstream.answer = lambda _: Reply()
    start_server(data=server.data)
    _, again = upstream.await_events(2, "disconnected")
    assert (again.id, again.source) == (first.id, first.source)
    assert again.json() == first.json() == {"reason": "you must go"}


def test_every_end_is_told_before_an_orderly_exit(start_server: StartServer, hub: str, upstream: Upstream) -> None:
    server = start_server()
    configure(server, hub, upstream.handler())
    with ExitStack() as stack:
        protocols = [JSON, RELIABLE] * 10
        there = [stack.enter_context(JsonClient(server, hub, protocol=protocol, user="u")) for protocol in protocols]
        simple = stack.enter_context(RawClient(server, client_target(hub, client_token(server, hub, user="u"))))
        dropped = stack.enter_context(JsonClient(server, hub, protocol=RELIABLE, user="u"))
        dropped.socket.socket.shutdown(socket.SHUT_RDWR)
        assert simple.status == 101
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    accepted = sorted(event.connectionId for event in upstream.events("connect"))

    assert {client.connection_id for client in (*there, dropped)} < set(accepted)
    assert told_end(upstream) == accepted
    assert {event.connectionState for event in upstream.events("disconnected")} == {"of u"}
    assert journalled(server) == {}


def test_handler_that_hangs_does_not_hold_up_the_exit_and_is_told_later(
    start_server: StartServer, hub: str, upstream: Upstream
) -> None:
    """A call may take half a minute, which is longer than the test waits for the exit."""
    server = start_server("--set", "shutdown_events_s=3")
    with Upstream() as quick:
        configure(server, hub, upstream.handler())
        configure(server, f"{hub}2", quick.handler())
        with (
            JsonClient(server, hub, user="one") as one,
            JsonClient(server, hub, user="two") as two,
            JsonClient(server, f"{hub}2", user="other") as other,
        ):
            upstream.await_events(2, "connected")
            quick.await_events(1, "connected")
            upstream.answer = upstream.never
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        await_line(server, "could not be told in time")
        first = upstream.await_events(2, "disconnected")
        assert told_end(quick) == [other.connection_id]
        assert journalled(server).keys() == {one.connection_id, two.connection_id}

        upstream.answer = lambda _: Reply()
        second = start_server(data=server.data)
        again = upstream.await_events(4, "disconnected")[2:]
        wait_until(lambda: journalled(second) == {}, "an empty journal")
        assert {(event.connectionId, event.id, event.connectionState) for event in again} == {
            (event.connectionId, event.id, event.connectionState) for event in first
        }
        assert len(upstream.events("disconnected")) == 4
        assert told_end(quick) == [other.connection_id]


class Asking:
    """A client that has asked to be let in, and does not read what it is answered."""

    def __init__(self, server: Server, hub: str) -> None:
        self.socket = socket.create_connection((server.host, server.port), DEADLINE_S)
        lines = [
            f"GET {client_target(hub, client_token(server, hub, user='u'))} HTTP/1.1",
            f"Host: {server.host}:{server.port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def reset(self) -> None:
        """Leave as if the machine had lost power."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def test_client_that_leaves_before_it_is_accepted_has_an_end_too(
    start_server: StartServer, hub: str, upstream: Upstream
) -> None:
    """However it leaves, and also where the server stops meanwhile."""
    server = start_server()
    configure(server, hub, upstream.handler())
    gate = threading.Event()

    def answer(event: Heard) -> Reply:
        assert event.eventName != "connect" or gate.wait(DEADLINE_S)
        return says(200, ce_connectionState="kept") if event.eventName == "connect" else Reply()

    upstream.answer = answer
    for count, leave in ((1, lambda client: client.socket.close()), (2, Asking.reset)):
        gate.clear()
        client = Asking(server, hub)
        *_, connect = upstream.await_events(count, "connect")
        leave(client)
        gate.set()
        (left,) = upstream.await_events(1, "disconnected", of=connect.connectionId)
        assert (left.userId, left.connectionState) == ("u", "kept")
    gate.clear()
    with closing(Asking(server, hub).socket):
        *_, connect = upstream.await_events(3, "connect")
        server.signal(signal.SIGTERM)
        await_line(server, "stopping")
        gate.set()
        assert server.wait() == 0

    assert [event.connectionId for event in upstream.events("connect")] == [
        event.connectionId for event in upstream.await_events(3, "disconnected")
    ]
    assert upstream.events("connected") == []
    assert journalled(server) == {}
