"""
The table of what RFC 6455 allows and forbids, played to a real server over a bare socket.

A simple client that publishes each of its messages to a group which it is in itself is an echo server: what it said is
what it hears.
"""

import base64
import hashlib
import socket
from contextlib import suppress
from typing import Any, Final

import pytest

from acceptance.servers import Server
from acceptance.wire import SEND, RawClient, client_target, client_token
from vectors.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    EXCHANGES,
    LIMIT,
    PING,
    PONG,
    TEXT,
    Exchange,
    client_frame,
    fragments,
)

GROUP: Final = "echo"
BYTEWISE_UP_TO: Final = 4096
"""Longer streams go out in larger pieces, or the system calls of this side take all the time."""

GOODBYE: Final = client_frame(CLOSE, b"\x03\xe8")

Frame = tuple[int, bytes]


def echo_target(server: Server, hub: str) -> str:
    """Where a client hears what it says."""
    claims: dict[str, Any] = {"webpubsub.group": [GROUP]}
    token = client_token(server, hub, roles=[SEND], **claims)
    return client_target(hub, token, [("webpubsub_mode", "sendToGroup"), ("group", GROUP)])


class EchoClient(RawClient):
    """Says what it is told, byte by byte, and looks closely at what it hears."""

    def __init__(self, server: Server, hub: str) -> None:
        super().__init__(server, echo_target(server, hub))
        assert self.status == 101, self.body
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def say(self, stream: bytes, piece_bytes: int | None = None) -> None:
        """Send as it is, in pieces. A server that has heard enough may end the connection meanwhile."""
        size = piece_bytes or max(1, len(stream))
        try:
            for position in range(0, len(stream), size):
                self.socket.sendall(stream[position : position + size])
        except ConnectionError:
            pass

    def receive_frame(self) -> Frame:
        """The next frame, held to what a server may send: whole, unmasked, the length in its shortest form."""
        first, second = self._take(2)
        opcode = first & 0x0F
        assert first & 0xF0 == 0x80, "fragmented, or a reserved bit"
        assert opcode in (TEXT, BINARY, CLOSE, PING, PONG)
        assert second < 128, "masked"
        extended = {126: 2, 127: 8}.get(second, 0)
        size = int.from_bytes(self._take(extended), "big") if extended else second
        assert size >= {0: 0, 2: 126, 8: 65536}[extended], "length not in its shortest form"
        assert opcode < CLOSE or size < 126, "control frame too long"
        return opcode, self._take(size)

    def hear(self, count: int) -> list[Frame]:
        """So many frames; the server's own pings do not count."""
        heard: list[Frame] = []
        while len(heard) < count:
            frame = self.receive_frame()
            if frame[0] != PING:
                heard.append(frame)
        return heard

    def hear_all(self) -> list[Frame]:
        """Everything up to the end of the connection, which the server brings about by itself."""
        heard: list[Frame] = []
        try:
            while True:
                heard += self.hear(1)
        except (EOFError, ConnectionError):
            return heard

    def hear_close(self) -> list[Frame]:
        """Everything up to the server's close frame, which is answered; the end of the connection must follow."""
        heard = self.hear(1)
        while heard[-1][0] != CLOSE:
            heard += self.hear(1)
        self.say(client_frame(CLOSE, heard[-1][1][:2]))
        # A server that met a fault reads no answer any more. It sees that we have left all the same.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        assert self.hear_all() == [], "a frame after the close frame"
        return heard

    def part(self) -> None:
        """End in order, so that whatever else was said would be heard now."""
        self.say(GOODBYE)
        assert self.hear_all() == [(CLOSE, b"\x03\xe8")]


def echoes(exchange: Exchange) -> list[Frame]:
    """The messages of an exchange, as they come back."""
    return [
        (opcode, payload.encode() if isinstance(payload, str) else payload)
        for opcode, payload in exchange.events
        if isinstance(payload, str | bytes) and opcode in (TEXT, BINARY)
    ]


def pongs(exchange: Exchange) -> list[Frame]:
    """What its pings are answered with."""
    return [(PONG, payload) for opcode, payload in exchange.events if opcode == PING and isinstance(payload, bytes)]


def ending(exchange: Exchange) -> bytes | None:
    """The payload that the server's close frame must begin with; None if the connection goes on."""
    if exchange.fault is not None:
        return exchange.fault.to_bytes(2, "big")
    opcode, payload = exchange.events[-1]
    if opcode != CLOSE:
        return None
    assert isinstance(payload, tuple)
    code = payload[0]
    return b"" if code is None else int(code).to_bytes(2, "big")


LEGAL = [exchange for exchange in EXCHANGES if ending(exchange) is None]
ENDING = [exchange for exchange in EXCHANGES if ending(exchange) is not None]
DELIVERY = pytest.mark.parametrize("piecewise", [False, True], ids=["at once", "in pieces"])


def piece_bytes(exchange: Exchange, piecewise: bool) -> int | None:
    """Single bytes where that is bearable."""
    return None if not piecewise else 1 if len(exchange.stream) <= BYTEWISE_UP_TO else 997


@DELIVERY
@pytest.mark.parametrize("exchange", LEGAL, ids=str)
def test_messages_come_back_and_pings_are_answered(
    server: Server, hub: str, exchange: Exchange, piecewise: bool
) -> None:
    """All of them, in order, nothing else, and the connection goes on."""
    messages, answers = echoes(exchange), pongs(exchange)

    with EchoClient(server, hub) as client:
        client.say(exchange.stream, piece_bytes(exchange, piecewise))
        heard = client.hear(len(messages) + len(answers))

        # A pong may overtake messages, which take the way through the hub.
        assert [frame for frame in heard if frame[0] != PONG] == messages
        assert [frame for frame in heard if frame[0] == PONG] == answers
        client.part()


@DELIVERY
@pytest.mark.parametrize("exchange", ENDING, ids=str)
def test_connection_ends_with_the_code_that_fits(server: Server, hub: str, exchange: Exchange, piecewise: bool) -> None:
    """A close frame is answered with its own code, a fault with the one for its kind."""
    with EchoClient(server, hub) as client:
        client.say(exchange.stream, piece_bytes(exchange, piecewise))
        *heard, close = client.hear_close() if exchange.fault else client.hear_all()

        assert close[0] == CLOSE
        assert close[1][:2] == ending(exchange)
        # What was said in the same breath as the end may not come back any more, but nothing else may either.
        messages = [frame for frame in heard if frame[0] != PONG]
        answers = [frame for frame in heard if frame[0] == PONG]
        assert messages == echoes(exchange)[: len(messages)]
        assert answers == pongs(exchange)[: len(answers)]


@pytest.mark.parametrize(
    "stream",
    [client_frame(3), client_frame(TEXT, b"\xff"), client_frame(TEXT, announced=LIMIT + 1)],
    ids=["framing", "text", "size"],
)
def test_server_ends_the_connection_after_a_fault(server: Server, hub: str, stream: bytes) -> None:
    """A client that goes on as if nothing had happened is neither heard nor kept."""
    with EchoClient(server, hub) as listener:
        with EchoClient(server, hub) as client:
            client.say(stream + client_frame(TEXT, b"as if nothing had happened"))

            assert [opcode for opcode, _ in client.hear_all()] == [CLOSE]
        listener.say(client_frame(TEXT, b"next"))
        assert listener.hear(1) == [(TEXT, b"next")]
        listener.part()


# Large messages


@pytest.mark.parametrize("piece_bytes", [None, 1000, 65536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_largest_message_in_one_frame_comes_back(
    server: Server, hub: str, opcode: int, piece_bytes: int | None
) -> None:
    """However the network cut it."""
    payload = b"0123456789abcdef" * (LIMIT // 16)

    with EchoClient(server, hub) as client:
        client.say(client_frame(opcode, payload), piece_bytes)

        assert client.hear(1) == [(opcode, payload)]
        client.part()


@pytest.mark.parametrize("fragment_bytes", [64, 1000, 65535, 65536, LIMIT - 1])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_largest_message_in_fragments_comes_back(server: Server, hub: str, opcode: int, fragment_bytes: int) -> None:
    """As one message."""
    payload = "0123456789abc🍕".encode() * ((LIMIT - 16) // 17)
    payload += b"x" * (LIMIT - len(payload))
    parts = [payload[start : start + fragment_bytes] for start in range(0, LIMIT, fragment_bytes)]

    with EchoClient(server, hub) as client:
        client.say(fragments(opcode, *parts))

        assert client.hear(1) == [(opcode, payload)]
        client.part()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fragment_bytes", [LIMIT + 1, LIMIT, 65536, 1000])
def test_message_of_one_byte_more_is_too_big(server: Server, hub: str, opcode: int, fragment_bytes: int) -> None:
    """In one frame or in many, and although the client sends on while it is told so."""
    payload = b"x" * (LIMIT + 1)
    parts = [payload[start : start + fragment_bytes] for start in range(0, LIMIT + 1, fragment_bytes)]

    with EchoClient(server, hub) as client:
        client.say(fragments(opcode, *parts) + client_frame(TEXT, b"and one more"))

        heard = client.hear_close()
        assert [(opcode, payload[:2]) for opcode, payload in heard] == [(CLOSE, b"\x03\xf1")]


# Around the frames


def test_messages_before_a_fault_or_a_close_reach_others(server: Server, hub: str) -> None:
    """A client that publishes and leaves in one breath has published."""
    with EchoClient(server, hub) as listener:
        for stream in (
            client_frame(TEXT, b"then close") + GOODBYE,
            client_frame(TEXT, b"then fault") + client_frame(3),
            client_frame(TEXT, b"then bad text") + client_frame(TEXT, b"\xff"),
            client_frame(TEXT, b"then too big") + client_frame(TEXT, announced=LIMIT + 1),
        ):
            with EchoClient(server, hub) as client:
                client.say(stream)
                client.hear_close()

        assert listener.hear(4) == [
            (TEXT, b"then close"),
            (TEXT, b"then fault"),
            (TEXT, b"then bad text"),
            (TEXT, b"then too big"),
        ]
        listener.part()


def test_fault_of_one_client_is_no_other_clients_matter(server: Server, hub: str) -> None:
    """Clients that break off in the middle of anything, and one that talks through all that."""
    stream = client_frame(TEXT, b"whole") + fragments(TEXT, b"some", b"more") + client_frame(BINARY, b"x" * 70_000)

    with EchoClient(server, hub) as steady:
        for length in (0, 1, 2, 5, 6, 7, 11, 12, 17, 25, 40, 45, 60, 1000):
            with EchoClient(server, f"{hub}x") as client:
                client.say(stream[:length])
            with EchoClient(server, f"{hub}x") as client:
                client.say(stream[:length])
                client.abort()
            steady.say(client_frame(TEXT, b"still here"))
            assert steady.hear(1) == [(TEXT, b"still here")]
        steady.part()


def test_end_of_stream_without_a_close_frame_ends_the_connection(server: Server, hub: str) -> None:
    """The client only shut its own direction; the server does not keep the other one."""
    with EchoClient(server, hub) as client:
        client.say(client_frame(TEXT, b"last words")[:6])
        client.socket.shutdown(socket.SHUT_WR)

        assert [opcode for opcode, _ in client.hear_all() if opcode != CLOSE] == []


def test_frames_in_the_segment_of_the_upgrade_request_are_heard(server: Server, hub: str) -> None:
    """Not waiting for the 101 is bold, but the bytes are there."""
    key = base64.b64encode(b"sixteen bytes...").decode()
    accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
    lines = [
        f"GET {echo_target(server, hub)} HTTP/1.1",
        f"Host: {server.host}:{server.port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    ]
    request = "\r\n".join([*lines, "", ""]).encode()
    stream = client_frame(PING, b"hasty") + client_frame(TEXT, b"first")
    answer = b""

    with socket.create_connection((server.host, server.port), timeout=20) as client:
        client.sendall(request + stream + client_frame(TEXT, b"second")[:3])
        client.sendall(client_frame(TEXT, b"second")[3:])
        while b"second" not in answer:
            data = client.recv(65536)
            assert data, answer
            answer += data

    head, _, frames = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert f"sec-websocket-accept: {accept}".lower().encode() in head.lower()
    assert accept.encode() in head
    assert b"\x8a\x05hasty" in frames
    assert frames.replace(b"\x8a\x05hasty", b"") == b"\x81\x05first\x81\x06second"


def test_continuation_with_the_payload_still_missing_is_not_delivered(server: Server, hub: str) -> None:
    """What is not whole when the client leaves was never said."""
    with EchoClient(server, hub) as listener:
        with EchoClient(server, hub) as client:
            client.say(client_frame(TEXT, b"unfinished ", fin=False) + client_frame(CONTINUATION, b"business")[:-1])
        with EchoClient(server, hub) as client:
            client.say(client_frame(TEXT, b"next"))
            assert client.hear(1) == [(TEXT, b"next")]

        assert listener.hear(1) == [(TEXT, b"next")]
        listener.part()
