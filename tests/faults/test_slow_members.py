"""A hundred members of a large group that never read: what they cost is bounded, and nobody else notices them."""

import json
import resource
import select
import socket
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from acceptance.servers import StartServer, wait_until
from acceptance.wire import JSON, SEND, RawClient, client_target, client_token, metric

READERS: Final = 900
SLOW: Final = 100
SECONDS: Final = 60.0
BURST: Final = 5
BURST_S: Final = 0.01
"""Five messages every ten milliseconds: 500 a second, unless the readers have no time for so many."""
AHEAD: Final = 2000
"""Messages that may be on their way: a reader that has less time than the publisher is not a slow one."""
TEXT: Final = "x" * 1000
ENOUGH_BYTES: Final = 12 << 20
"""More than the limit and all buffers of the system on the way can hold."""
LIMIT_BYTES: Final = 4 << 20
"""`client_buffer_bytes`, which is left at its default."""
READ_BYTES: Final = 1 << 18


class Stream:
    """
    What every member must receive, byte for byte: the frames of a plain protocol are the same for all.

    Taken from whoever receives it first, and checked there; all others are compared with it.

    Attributes:
        data: all bytes so far, whole frames or not.
        messages: how many whole ones there are, each with the number that it must have.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.messages = 0
        self._checked = 0

    def take(self, position: int, data: bytes) -> int:
        """Compare what a member received at `position`; its next position."""
        known = len(self.data) - position
        if len(data) <= known:
            assert self.data.startswith(data, position)
        else:
            assert self.data.startswith(data[:known], position)
            self.data += data[known:]
            self._check()
        return position + len(data)

    def _check(self) -> None:
        while len(self.data) - self._checked >= 4:
            first, second, size = self.data[self._checked], self.data[self._checked + 1], self.data[self._checked + 2 :]
            assert (first, second) == (0x81, 126), "a text frame of middle length"
            length = int.from_bytes(size[:2], "big")
            start = self._checked + 4
            if len(self.data) < start + length:
                return
            message = json.loads(self.data[start : start + length])
            assert (message["type"], message["group"]) == ("message", "g")
            assert message["data"] == {"number": self.messages, "text": TEXT}
            self._checked = start + length
            self.messages += 1


@contextmanager
def many_descriptors() -> Iterator[None]:
    """Each member is a socket here, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory_bytes(pid: int, name: str) -> int:
    """Of a process: "VmRSS" is what it has in memory now, "VmHWM" the most that it ever had."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


class Readers:
    """Members that read all that comes, with one epoll for all of them."""

    def __init__(self, members: list[RawClient]) -> None:
        self.stream = Stream()
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._positions: dict[int, int] = {}
        for member in members:
            member.socket.setblocking(False)
            number = member.socket.fileno()
            self._sockets[number] = member.socket
            self._positions[number] = 0
            self._epoll.register(number, select.EPOLLIN)

    def read(self, timeout_s: float) -> None:
        """Read what has come to whom."""
        for number, _ in self._epoll.poll(timeout_s, READERS):
            data = self._sockets[number].recv(READ_BYTES)
            assert data, "a member that reads has lost its connection"
            self._positions[number] = self.stream.take(self._positions[number], data)

    def slowest(self) -> int:
        """The bytes that every one of them has received."""
        return min(self._positions.values())

    def end(self) -> None:
        self._epoll.close()


def publish(publisher: RawClient, number: int) -> None:
    message = {"type": "sendToGroup", "group": "g", "dataType": "json", "data": {"number": number, "text": TEXT}}
    publisher.send_json(message)


def run(readers: Readers, publisher: RawClient) -> int:
    """Publish for a minute, and until it was enough for everybody's buffers; the number of messages."""
    sent = 0
    began = time.monotonic()
    due = began
    while due < began + SECONDS or len(readers.stream.data) < ENOUGH_BYTES:
        slowest = readers.slowest() * readers.stream.messages // max(1, len(readers.stream.data))
        now = time.monotonic()
        if now >= due and sent - slowest < AHEAD:
            for number in range(sent, sent + BURST):
                publish(publisher, number)
            sent += BURST
            due = max(due + BURST_S, now - 1)  # what was missed for longer is not made up for
        readers.read(max(0.0, min(BURST_S, due - now)))
    return sent


def end_of(member: RawClient, stream: Stream) -> None:
    """Read a socket that nobody has read to its end: the beginning of the stream, and perhaps why there is no more."""
    member.receive_json()  # that it is connected
    received = bytearray(member._buffer)
    try:
        while data := member.socket.recv(READ_BYTES):
            received += data
    except ConnectionResetError:
        pass
    assert len(received) < len(stream.data)
    same = bisect_left(range(len(received)), True, key=lambda last: not stream.data.startswith(received[: last + 1]))
    assert same == len(received) or received[same] in (0x81, 0x88), "the farewell"
    assert len(received) - same < 1000


@pytest.mark.timeout(400)
def test_members_that_never_read_cost_a_bounded_amount_and_nobody_else_anything(
    start_server: StartServer, hub: str
) -> None:
    """The others get everything in order; those who do not read end as slow clients."""
    server = start_server()
    # Nobody is pinged meanwhile: a ping would stand at another place in each stream.
    assert server.cli("hub", "set", hub, "--keep-alive", "120").returncode == 0
    target = client_target(hub, client_token(server, hub, groups=["g"]))
    with many_descriptors():
        slow = [RawClient(server, target, protocols=[JSON], receive_buffer_bytes=4096) for _ in range(SLOW)]
        fast = [RawClient(server, target, protocols=[JSON]) for _ in range(READERS)]
        publisher = RawClient(server, client_target(hub, client_token(server, hub, roles=[SEND])), protocols=[JSON])
        try:
            for member in (*fast, publisher):
                assert member.receive_json()["event"] == "connected"
            assert metric(server, "webpubsub_connection_count") == SLOW + READERS + 1
            before = memory_bytes(server.pid, "VmRSS")

            readers = Readers(fast)
            sent = run(readers, publisher)
            deadline = time.monotonic() + 60
            while readers.stream.messages < sent or readers.slowest() < len(readers.stream.data):
                assert time.monotonic() < deadline, "not everything has come"
                readers.read(0.1)
            readers.end()

            grown = memory_bytes(server.pid, "VmHWM") - before
            assert grown <= SLOW * LIMIT_BYTES + (20 << 20), f"{grown / (1 << 20):.1f} MiB"
            category = 'webpubsub_connection_close_total{category="SlowClient"}'
            wait_until(lambda: metric(server, category) == SLOW, "the end of those who do not read")
            assert metric(server, "webpubsub_connection_count") == READERS + 1
            wait_until(lambda: server.log().count("category=SlowClient") == SLOW, "the records of it")
            for member in slow:
                end_of(member, readers.stream)
        finally:
            for member in (*slow, *fast, publisher):
                member.socket.close()
