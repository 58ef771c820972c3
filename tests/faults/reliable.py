"""
A client of the reliable subprotocol that trusts nobody: it recovers as the protocol prescribes, and holds every frame
that it gets against what the protocol promises.

Source: the client protocol's rules on sequence ids, sequence acks, ack ids and recovery.
"""

import asyncio
import json
import random
import struct
import time
from collections import Counter, deque
from typing import Any, Final

from acceptance.servers import DEADLINE_S, Server
from acceptance.wire import JOIN, RELIABLE, SEND, client_target, client_token
from faults.publishing import until
from faults.rough_proxy import RoughProxy

__all__ = ["ReliableClient"]

_SILENCE_S: Final = 3.0
"""A ping that is not answered so long means a dead connection, if the road is known to be broken."""
_WINDOW: Final = 50
"""Requests without an answer. Of 1,000 ids a server remembers that they were carried out."""
_ENDINGS: Final = ("reset", "fin", "1001", "4000", "none")
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class _Socket:
    """
    What belongs to one socket of the client.

    Attributes:
        last: sequence id of the last message that came over it; 0 for none.
        pings: for each ping without an answer, when it was sent and the sequence id acknowledged right before it.
        asked: ack ids of the requests that were sent over it and not answered, in order.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.connected = False
        self.last = 0
        self.pings: deque[tuple[float, int]] = deque()
        self.asked: deque[int] = deque()

    def send(self, frame: dict[str, Any]) -> None:
        self.send_frame(_TEXT, json.dumps(frame).encode())

    def send_frame(self, opcode: int, payload: bytes) -> None:
        """A masked frame; the mask is zero, which is as legal as any."""
        if self.writer.is_closing():
            return
        size = len(payload)
        assert size < 1 << 16
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
        self.writer.write(bytes([0x80 | opcode]) + length + bytes(4) + payload)

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame."""
        first, second = await self.reader.readexactly(2)
        assert first & 0x70 == 0, "no extension was negotiated"
        assert first & 0x80, "the server does not fragment"
        assert second < 128, "frames of a server are not masked"
        size = second
        if size == 126:
            size = struct.unpack("!H", await self.reader.readexactly(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", await self.reader.readexactly(8))[0]
        return first & 0x0F, await self.reader.readexactly(size)


class ReliableClient:
    """
    `run` keeps it connected until `stop`; each broken promise of the server is an AssertionError there.

    Attributes:
        connection_id: "" until it was connected for the first time, and the same from then on.
        stream: the data messages without the repeated ones, the one with sequence id 1 first.
        confirmed: the server has read that everything up to this sequence id has arrived.
        recoveries: how often it came back.
        repeated: how many messages came more than once.
        duplicates: how many requests were answered that they had been carried out already.
        silent: the server did not answer, although the road was not broken.
    """

    def __init__(self, server: Server, hub: str, proxy: RoughProxy, name: str, seed: str) -> None:
        self.name = name
        self.connection_id = ""
        self.stream: list[dict[str, Any]] = []
        self.confirmed = 0
        self.recoveries = 0
        self.repeated = 0
        self.duplicates = 0
        self.silent = False
        self._server = server
        self._hub = hub
        self._proxy = proxy
        self._token = client_token(server, hub, user="u", roles=[JOIN, SEND], groups=["g"], port=proxy.port)
        self._reconnection_token = ""
        self._random = random.Random(seed)
        self._texts: list[bytes] = []
        self._acknowledged = 0
        self._ack_id = 0
        self._unanswered: dict[int, dict[str, Any]] = {}
        self._sent: Counter[int] = Counter()
        self._done: set[int] = set()
        self._socket: _Socket | None = None
        self._stopped = False

    async def run(self) -> None:
        while not self._stopped:
            await self._serve_one_socket()
            assert not self.silent, "no answer, although all was passed on"
            await asyncio.sleep(self._random.uniform(0, 0.03))

    def stop(self) -> None:
        """Say goodbye for good."""
        self._stopped = True
        if self._socket is not None:
            self._say_goodbye(self._socket)

    @staticmethod
    def _say_goodbye(sock: _Socket) -> None:
        sock.send_frame(_CLOSE, struct.pack("!H", 1000))

    async def publish(self, data: Any) -> None:
        """Send to the group, now or when there is a connection, and again until it is answered."""
        await until(lambda: len(self._unanswered) < _WINDOW, lambda: f"{self.name} gets no answers")
        self._ack_id += 1
        frame = {"type": "sendToGroup", "group": "g", "ackId": self._ack_id, "data": data, "dataType": "json"}
        self._unanswered[self._ack_id] = frame
        if self._socket is not None and self._socket.connected:
            self._ask(self._socket, frame)

    @property
    def unanswered(self) -> int:
        """How many requests wait for their answers."""
        return len(self._unanswered)

    def _ask(self, sock: _Socket, frame: dict[str, Any]) -> None:
        self._sent[frame["ackId"]] += 1
        sock.asked.append(frame["ackId"])
        sock.send(frame)

    def _ask_again(self, sock: _Socket) -> None:
        for frame in list(self._unanswered.values()):
            self._ask(sock, frame)

    async def _serve_one_socket(self) -> None:
        try:
            sock = await self._open()
        except (OSError, EOFError, TimeoutError):
            return
        if sock is None:
            return
        self._socket = sock
        # Some clients speak before they are told that they are connected, others wait for it.
        early = bool(self.connection_id) and self._random.random() < 0.5
        if early:
            sock.connected = True
            self._ask_again(sock)
        if self._stopped:
            self._say_goodbye(sock)  # it was to stop while it was on its way back, and nobody will say so again
        watch = asyncio.get_running_loop().create_task(self._watch(sock))
        try:
            await self._first(sock)
            if not early:
                sock.connected = True
                self._ask_again(sock)
            while True:
                await self._take(sock, *await sock.receive())
        except (OSError, EOFError):
            pass
        finally:
            self._socket = None
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            sock.writer.transport.abort()

    async def _open(self) -> _Socket | None:
        query = []
        if self.connection_id:
            query = [("awps_connection_id", self.connection_id), ("awps_reconnection_token", self._reconnection_token)]
        target = client_target(self._hub, self._token, query)
        async with asyncio.timeout(_SILENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._proxy.port)
            try:
                writer.write(
                    f"GET {target} HTTP/1.1\r\nHost: {self._server.host}:{self._proxy.port}\r\nConnection: Upgrade\r\n"
                    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    f"Sec-WebSocket-Protocol: {RELIABLE}\r\n\r\n".encode()
                )
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            except BaseException:
                writer.transport.abort()
                raise
        assert head.startswith("HTTP/1.1 101 "), head
        assert f"sec-websocket-protocol: {RELIABLE}\r\n" in head.lower()
        return _Socket(reader, writer)

    async def _first(self, sock: _Socket) -> None:
        """`connected` comes before everything else, and for a recovery it names the same connection."""
        opcode, payload = await sock.receive()
        assert opcode == _TEXT, (opcode, payload)
        frame = json.loads(payload)
        assert (frame["type"], frame["event"], frame["userId"]) == ("system", "connected", "u"), frame
        assert frame["reconnectionToken"]
        if self.connection_id:
            assert frame["connectionId"] == self.connection_id
            self.recoveries += 1
        self.connection_id, self._reconnection_token = frame["connectionId"], frame["reconnectionToken"]

    async def _take(self, sock: _Socket, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            sock.send_frame(_PONG, payload)
            return
        if opcode == _CLOSE:
            assert self._stopped or payload[:2] in _OWN_CODES, f"the server closed the connection: {payload!r}"
            raise EOFError
        assert opcode == _TEXT, (opcode, payload)
        frame = json.loads(payload)
        match frame["type"]:
            case "message":
                self._message(sock, payload, frame)
            case "ack":
                self._answer(sock, frame)
            case "pong":
                _, acknowledged = sock.pings.popleft()
                self.confirmed = max(self.confirmed, acknowledged)
            case kind:
                raise AssertionError(f"nobody asked for {kind}: {frame}")

    def _message(self, sock: _Socket, payload: bytes, frame: dict[str, Any]) -> None:
        """Numbers go up one by one over each socket. The first one is of the first message not acknowledged."""
        number = frame["sequenceId"]
        if sock.last:
            assert number == sock.last + 1, f"{number} after {sock.last}"
        else:
            assert number <= self._acknowledged + 1, f"{number}, but only {self._acknowledged} were acknowledged"
            assert number > self.confirmed, f"{number} again, although {self.confirmed} were acknowledged"
        sock.last = number
        if number <= len(self._texts):
            assert payload == self._texts[number - 1], f"{number} means something else now"
            self.repeated += 1
            return
        assert number == len(self._texts) + 1
        self._texts.append(payload)
        self.stream.append(frame)

    def _answer(self, sock: _Socket, frame: dict[str, Any]) -> None:
        """Over each socket, requests are answered in their order, each one once."""
        ack_id = frame["ackId"]
        assert sock.asked, f"nobody asked: {frame}"
        asked = sock.asked.popleft()
        assert ack_id == asked, f"{ack_id} is answered where {asked} was asked first"
        if frame["success"]:
            assert ack_id not in self._done, f"{ack_id} was carried out twice"
            self._done.add(ack_id)
        else:
            assert frame["error"]["name"] == "Duplicate", frame
            assert self._sent[ack_id] > 1, f"{ack_id} was asked once only"
            self.duplicates += 1
        request = self._unanswered.pop(ack_id, None)
        if request is not None and self._random.random() < 0.02:
            # An answer that a client overlooked.
            self._done.add(ack_id)
            self._ask(sock, request)

    def _is_dead(self, silence_s: float) -> bool:
        """Nothing came for so long because the road is broken. Where it is not, silence is a fault of the server's."""
        if silence_s < _SILENCE_S:
            return False
        if not self._proxy.broken:
            self.silent = silence_s > DEADLINE_S
        return self._proxy.broken or self.silent

    async def _watch(self, sock: _Socket) -> None:
        """Acknowledge, ask for a sign of life, and now and then go away, as clients do."""
        while True:
            await asyncio.sleep(self._random.uniform(0.005, 0.1))
            if not sock.connected:
                continue
            if sock.pings and self._is_dead(time.monotonic() - sock.pings[0][0]):
                sock.writer.transport.abort()
                return
            number = len(self._texts)
            if self._random.random() < 0.1:
                number = self._random.randint(0, number)  # clients repeat themselves after a recovery
            sock.send({"type": "sequenceAck", "sequenceId": number})
            self._acknowledged = max(self._acknowledged, number)
            sock.pings.append((time.monotonic(), number))
            sock.send({"type": "ping"})
            if not self._stopped and self._random.random() < 0.03:
                self._leave(sock, self._random.choice(_ENDINGS))

    def _leave(self, sock: _Socket, how: str) -> None:
        """Any end but a close with 1000 lets the client come back."""
        match how:
            case "reset":
                sock.writer.transport.abort()
            case "fin":
                sock.writer.close()
            case "none":
                sock.send_frame(_CLOSE, b"")
            case code:
                sock.send_frame(_CLOSE, struct.pack("!H", int(code)))
        sock.connected = False


_OWN_CODES: Final = (b"", struct.pack("!H", 1001), struct.pack("!H", 4000))
"""With which the server may answer close frames of ours."""
