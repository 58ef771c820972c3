"""How a connection of a tunnel ends, and tells what went wrong. What it carries is in the tests of the tunnels."""

import asyncio
import errno
import socket
import ssl
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hubwire.cli.sides import Side, why


async def test_last_words_are_read_by_who_has_said_its_own_before() -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    reader, writer = await asyncio.open_connection(sock=ours)
    their_reader, their_writer = await asyncio.open_connection(sock=theirs)
    words = b"x" * 60_000
    their_writer.write_eof()
    async with Side(reader, writer) as side:
        await side.write(words)
        assert writer.transport.get_write_buffer_size() > 0
        reading = asyncio.ensure_future(their_reader.read())

    assert await reading == words
    their_writer.close()
    await their_writer.wait_closed()


def refused_certificate() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "unable to get local issuer certificate"
    return error


def alert() -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:1006)")
    error.reason = "TLSV1_ALERT_UNKNOWN_CA"
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused_certificate(), "its certificate is not good (unable to get local issuer certificate)"),
        (alert(), "tlsv1 alert unknown ca"),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "the connection ended"),
        (ConnectionResetError("Connection lost"), "the connection ended"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "Connection refused"),
        (OSError(errno.EADDRINUSE, "error while attempting to bind on address"), "Address already in use"),
        (TimeoutError(), "no answer within 10 seconds"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed"), "none of its addresses answers"),
    ],
)
def test_fault_is_told_in_words_of_the_system(error: OSError, expected: str) -> None:
    assert why(error) == expected


@pytest.mark.parametrize(
    ("peer", "near"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.9.10", 1), True),
        (("::1", 1, 0, 0), True),
        (("::ffff:127.0.0.1", 1, 0, 0), True),
        (("192.0.2.7", 1), False),
        (("fe80::1%eth0", 1, 0, 2), False),
        (("::ffff:192.0.2.7", 1, 0, 0), False),
        (None, False),
    ],
)
def test_side_is_near_if_its_other_end_is_a_loopback_address(peer: tuple[object, ...] | None, near: bool) -> None:
    writer = SimpleNamespace(get_extra_info=lambda _: peer)

    assert Side(cast("Any", None), cast("Any", writer)).is_near == near
