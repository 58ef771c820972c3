"""Addresses to listen on, and under which name clients find them."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import pytest

from acceptance.servers import free_port
from hubwire.edge.server import authorities, bind, connectable
from hubwire.model.errors import StartFailed

BOTH = ("127.0.0.1", "::1")


@contextmanager
def bound(hosts: Sequence[str], port: int = 0) -> Iterator[tuple[list[socket.socket], list[str]]]:
    sockets, warnings = bind(hosts, port)
    try:
        yield sockets, warnings
    finally:
        for one in sockets:
            one.close()


def test_free_port_is_the_same_on_all_addresses() -> None:
    with bound(BOTH) as (sockets, warnings):
        assert len({one.getsockname()[1] for one in sockets}) == 1
        assert [one.getsockname()[0] for one in sockets] == list(BOTH)
        assert warnings == []


def test_port_in_use_is_named_and_nothing_stays_bound() -> None:
    port = free_port()
    with closing(socket.create_server(("::1", port), family=socket.AF_INET6)):
        with pytest.raises(StartFailed, match=f"port {port} is already in use on ::1; choose another with --port"):
            bind(BOTH, port)

        with bound(("127.0.0.1",), port) as (sockets, _):
            assert len(sockets) == 1


def test_address_that_this_machine_lacks_is_a_warning_if_there_are_others() -> None:
    with bound(("127.0.0.1", "203.0.113.1")) as (sockets, warnings):
        assert len(sockets) == 1
        assert len(warnings) == 1
        assert "203.0.113.1" in warnings[0]


@pytest.mark.parametrize("hosts", [("203.0.113.1",), ("203.0.113.1", "203.0.113.2"), ("no such name",)])
def test_no_address_at_all_is_a_failed_start(hosts: tuple[str, ...]) -> None:
    with pytest.raises(StartFailed, match="address"):
        bind(hosts, 0)


@pytest.mark.parametrize(
    ("hosts", "name"),
    [
        (("127.0.0.1",), "127.0.0.1"),
        (("::1",), "[::1]"),
        (("[::1]",), "[::1]"),
        (BOTH, "localhost"),
        (("0.0.0.0",), "127.0.0.1"),
        (("::",), "[::1]"),
        (("0.0.0.0", "::"), "localhost"),
        (("127.0.0.2",), "127.0.0.2"),
    ],
)
def test_name_for_clients_is_one_that_they_can_connect_to(hosts: tuple[str, ...], name: str) -> None:
    with bound(hosts) as (sockets, _):
        port = sockets[0].getsockname()[1]
        assert connectable(sockets) == f"{name}:{port}"
        sockets[0].listen()
        for one in sockets:
            one.listen()
        host = connectable(sockets).rpartition(":")[0].strip("[]")
        socket.create_connection((host, port), timeout=10).close()


@pytest.mark.parametrize(
    ("hosts", "names"),
    [
        (("127.0.0.1",), ["127.0.0.1", "localhost"]),
        (BOTH, ["localhost", "127.0.0.1", "[::1]"]),
        (("0.0.0.0", "::"), ["localhost", "127.0.0.1", "[::1]"]),
        (("127.0.0.2",), ["127.0.0.2", "localhost"]),
    ],
)
def test_every_name_of_this_machine_is_one_of_the_server(hosts: tuple[str, ...], names: list[str]) -> None:
    with bound(hosts) as (sockets, _):
        port = sockets[0].getsockname()[1]
        assert authorities(sockets) == [f"{name}:{port}" for name in names]
