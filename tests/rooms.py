"""
Tiny servers of groups, one for each protocol that the load generator speaks besides ours: honest ones, and such as
lose, repeat or swap messages, turn somebody out, or are gone all of a sudden.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from http.client import HTTPResponse
from socket import SHUT_RDWR
from typing import Final, Protocol

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from hubwire.protocols.mqtt.packets import (
    Connack,
    Connect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    decode,
    encode,
)
from hubwire.protocols.mqtt.reader import PacketReader

__all__ = ["CALL", "DIALECTS", "EACH", "CentrifugoProxy", "Fault", "Mqtt", "Room", "room"]

Frame = str | bytes

EACH: Final = 5
"""A fault strikes the messages whose number this divides."""

_SEQUENCE: Final = slice(9, 17)
"""Where a payload of the generator holds the message's number, in hexadecimal."""


def compact(value: object) -> str:
    """JSON as servers write it."""
    return json.dumps(value, separators=(",", ":"))


class Fault(Enum):
    """What a server does wrong."""

    NONE = auto()
    LOSE = auto()
    REPEAT = auto()
    SWAP = auto()
    KEEP_ALL = auto()
    TURN_OUT = auto()
    DIE = auto()


@dataclass(frozen=True)
class Reply:
    """A frame for the client that has spoken."""

    frame: Frame


@dataclass(frozen=True)
class Join:
    group: str


@dataclass(frozen=True)
class Publication:
    group: str
    payload: str


Said = Reply | Join | Publication


class Dialect(Protocol):
    """One connection's side of a protocol, at the server."""

    def greeting(self) -> Sequence[Frame]: ...

    def take(self, frame: Frame) -> Iterator[Said]: ...

    def message(self, group: str, payload: str) -> Sequence[Frame]:
        """The frames that carry a message."""
        ...


class Plain:
    """The messages of Azure's JSON subprotocol on a bare WebSocket, without answers to joins."""

    def greeting(self) -> Sequence[Frame]:
        return ()

    def take(self, frame: Frame) -> Iterator[Said]:
        request = json.loads(frame)
        if request["type"] == "joinGroup":
            yield Join(request["group"])
        else:
            yield Publication(request["group"], request["data"])

    def message(self, group: str, payload: str) -> Sequence[Frame]:
        return (compact({"type": "message", "from": "group", "group": group, "dataType": "text", "data": payload}),)


class Nats:
    """A stream: the frames in which it comes and goes mean nothing, so each message is cut in two."""

    def __init__(self) -> None:
        self._stream = b""

    def greeting(self) -> Sequence[Frame]:
        return (b'INFO {"server_id":"room"}\r\n',)

    def take(self, frame: Frame) -> Iterator[Said]:
        assert isinstance(frame, bytes)
        self._stream += frame
        while b"\r\n" in self._stream:
            line, rest = self._stream.split(b"\r\n", 1)
            words = line.decode().split(" ")
            if words[0] == "PUB":
                size = int(words[2])
                if len(rest) < size + 2:
                    return
                yield Publication(words[1], rest[:size].decode())
                rest = rest[size + 2 :]
            elif words[0] == "SUB":
                yield Join(words[1])
            elif words[0] == "PING":
                yield Reply(b"PONG\r\n")
            self._stream = rest

    def message(self, group: str, payload: str) -> Sequence[Frame]:
        whole = f"MSG {group} 1 {len(payload)}\r\n{payload}\r\n".encode()
        return (b"PING\r\n" + whole[:20], whole[20:])


class Centrifugo:
    """Lines of JSON, several to a frame: here each message comes with a ping behind it, which is to be answered."""

    def greeting(self) -> Sequence[Frame]:
        return ()

    def take(self, frame: Frame) -> Iterator[Said]:
        assert isinstance(frame, str)
        for line in frame.splitlines():
            command = json.loads(line)
            if "connect" in command:
                yield Reply(compact({"id": command["id"], "connect": {"client": "c", "ping": 25, "pong": True}}))
            elif "subscribe" in command:
                yield Join(command["subscribe"]["channel"])
                yield Reply(compact({"id": command["id"], "subscribe": {}}))
            elif "publish" in command:
                yield Publication(command["publish"]["channel"], command["publish"]["data"])
                yield Reply(compact({"id": command["id"], "publish": {}}))

    def message(self, group: str, payload: str) -> Sequence[Frame]:
        return (compact({"push": {"channel": group, "pub": {"data": payload}}}) + "\n{}",)


CALL: Final = b"POST /rpc HTTP/1.1\r\nHost: localhost\r\ncontent-length: %d\r\n\r\n"
"""Head of a request, with a place for the length of its body."""


class CentrifugoProxy(Centrifugo):
    """Passes calls on to an application's server, in pieces, and answers them with a ping in front."""

    def __init__(self, request_head: bytes, port: int) -> None:
        self._request_head = request_head
        self._port = port

    def take(self, frame: Frame) -> Iterator[Said]:
        assert isinstance(frame, str)
        for line in frame.splitlines():
            command = json.loads(line)
            if "rpc" in command:
                result = self._asked({"client": "c", **command["rpc"]})
                yield Reply("{}\n" + compact({"id": command["id"], "rpc": result}))
            else:
                yield from super().take(line)

    def _asked(self, call: Mapping[str, str]) -> Mapping[str, str]:
        """Twice on one connection: the second request comes along with the first, but for its end."""
        body = compact(call).encode()
        request = self._request_head % len(body) + body
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.sendall(request + request[:-5])
            result = _result(connection)
            connection.sendall(request[-5:])
            assert _result(connection) == result
        return result


def _result(connection: socket.socket) -> Mapping[str, str]:
    response = HTTPResponse(connection)
    response.begin()
    assert (response.status, response.getheader("Content-Type")) == (200, "application/json")
    result: Mapping[str, str] = json.loads(response.read())["result"]
    return result


class SocketIo:
    """Packets of Socket.IO in such of Engine.IO; the ping before each message is to be answered."""

    def greeting(self) -> Sequence[Frame]:
        return ('0{"sid":"room","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}',)

    def take(self, frame: Frame) -> Iterator[Said]:
        assert isinstance(frame, str)
        if frame == "40":
            yield Reply('40{"sid":"room"}')
        elif frame.startswith("42"):
            name, group, *more = json.loads(frame[2:])
            yield Join(group) if name == "join" else Publication(group, more[0])

    def message(self, group: str, payload: str) -> Sequence[Frame]:
        return ("2", f"42{compact(['message', payload])}")


class Mqtt:
    """
    MQTT at quality of service 0 or 1; a stream, so that each message is cut in two.

    Attributes:
        version: 4 or 5, as the client has said.
        qos: of its last publication, and so of what others get of it.

    Args:
        heard: gets all packets of the client.
    """

    def __init__(self, heard: list[Packet] | None = None) -> None:
        self._heard = heard if heard is not None else []
        self._reader = PacketReader(2**20)
        self.version = 4
        self.qos = 0
        self._packet_ids = 0

    def greeting(self) -> Sequence[Frame]:
        return ()

    def take(self, frame: Frame) -> Iterator[Said]:
        assert isinstance(frame, bytes)
        for first, body in self._reader.feed(frame):
            packet = decode(first, body, self.version)
            self._heard.append(packet)
            match packet:
                case Connect(version=version):
                    self.version = version
                case Subscribe(filters=filters):
                    for one in filters:
                        yield Join(one.topic_filter.removesuffix("/#"))
                case Publish(topic=topic, payload=payload, qos=qos):
                    self.qos = qos
                    yield Publication(topic, payload.decode())
            for answer in self.answers(packet):
                yield Reply(encode(answer, self.version))
        assert self._reader.fault is None

    def answers(self, packet: Packet) -> Iterator[Packet]:
        """What the client is told."""
        match packet:
            case Connect():
                yield Connack(False)
            case Subscribe(packet_id=packet_id, filters=filters):
                yield Suback(packet_id, tuple(one.qos for one in filters))
            case Publish(packet_id=int(packet_id)):
                yield Puback(packet_id)
            case Pingreq():
                yield Pingresp()

    def message(self, group: str, payload: str) -> Sequence[Frame]:
        self._packet_ids = self._packet_ids % 0xFFFF + 1
        packet_id = self._packet_ids if self.qos else None
        whole = encode(Publish(group, payload.encode(), self.qos, packet_id=packet_id), self.version)
        return (whole[:2], whole[2:])


DIALECTS: Final[Mapping[str, type[Dialect]]] = {
    "plain": Plain,
    "nats": Nats,
    "centrifugo": Centrifugo,
    "socketio": SocketIo,
    "mqtt": Mqtt,
    "mqtt-qos1": Mqtt,
    "mqtt5": Mqtt,
    "mqtt5-qos1": Mqtt,
}
"""By the generator's names of the protocols."""


class Room:
    """A server with groups. All that happens in it happens one after the other."""

    def __init__(self, dialect: Callable[[], Dialect], fault: Fault) -> None:
        self.fault = fault
        self.address = ""
        self._dialect = dialect
        self._lock = threading.Lock()
        self._sockets: set[ServerConnection] = set()
        self._groups: dict[str, list[ServerConnection]] = {}
        self._held: list[Publication] = []

    def serve(self, socket: ServerConnection) -> None:
        """Be there for one client until it is gone."""
        side = self._dialect()
        with self._lock:
            self._sockets.add(socket)
        try:
            for frame in side.greeting():
                socket.send(frame)
            for frame in socket:
                for said in side.take(frame):
                    with self._lock:
                        self._handle(socket, side, said)
        except (ConnectionClosed, OSError):
            pass
        finally:
            with self._lock:
                self._sockets.discard(socket)
                for members in self._groups.values():
                    if socket in members:
                        members.remove(socket)

    def _handle(self, socket: ServerConnection, side: Dialect, said: Said) -> None:
        match said:
            case Reply(frame):
                socket.send(frame)
            case Join() if self.fault is Fault.TURN_OUT and self._groups:  # all but the first
                socket.close()
            case Join(group):
                self._groups.setdefault(group, []).append(socket)
            case Publication():
                for publication in self._disturb(said):
                    self._deliver(side, publication)

    def _disturb(self, said: Publication) -> list[Publication]:
        """What is delivered, and in which order, now that this was published."""
        held, self._held = self._held, []
        sequence = int(said.payload[_SEQUENCE], 16)
        if sequence == 0 or sequence % EACH:
            return [] if sequence and self.fault is Fault.KEEP_ALL else [said, *held]
        match self.fault:
            case Fault.LOSE | Fault.KEEP_ALL:
                return []
            case Fault.REPEAT:
                return [said, said]
            case Fault.SWAP:
                self._held = [said]
                return []
            case Fault.DIE:
                for socket in self._sockets:
                    socket.socket.shutdown(SHUT_RDWR)
                return []
            case _:
                return [said]

    def _deliver(self, side: Dialect, publication: Publication) -> None:
        for member in self._groups.get(publication.group, ()):
            # One that has left stays until its own thread comes to it, which is no fault of whoever publishes.
            with suppress(ConnectionClosed, OSError):
                for frame in side.message(publication.group, publication.payload):
                    member.send(frame)


@contextmanager
def room(protocol: str, fault: Fault = Fault.NONE, dialect: Callable[[], Dialect] | None = None) -> Iterator[Room]:
    """
    A server on a free port, ended with the block.

    Args:
        dialect: another one than that of the protocol.
    """
    there = Room(dialect or DIALECTS[protocol], fault)
    subprotocols = [Subprotocol("mqtt")] if protocol.startswith("mqtt") else None
    with serve(there.serve, "127.0.0.1", 0, subprotocols=subprotocols, compression=None) as server:
        there.address = "{}:{}".format(*server.socket.getsockname()[:2])
        thread = threading.Thread(target=server.serve_forever, name=f"room that speaks {protocol}")
        thread.start()
        try:
            yield there
        finally:
            server.shutdown()
            thread.join()
