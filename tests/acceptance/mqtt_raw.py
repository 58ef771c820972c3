"""
An MQTT client on a bare WebSocket: it says whatever bytes it is told to and reads what comes back, by the pages of the
standards and not with our own code. It answers nothing by itself.
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from acceptance.servers import Server, running, wait_until
from acceptance.wire import JOIN, SEND, Closed, RawClient, Target, rest, signed
from vectors.mqtt_wire import PINGREQ, connect

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "MODES",
    "PING",
    "PONG",
    "TEXT",
    "VERSIONS",
    "Heard",
    "MqttRaw",
    "Place",
    "in_order",
    "mqtt_server",
    "mqtt_target",
]

MODES: Final = ("lenient", "azure")
VERSIONS: Final = (4, 5)

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

_KINDS: Final = {
    2: "CONNACK",
    3: "PUBLISH",
    4: "PUBACK",
    5: "PUBREC",
    6: "PUBREL",
    7: "PUBCOMP",
    9: "SUBACK",
    11: "UNSUBACK",
    13: "PINGRESP",
    14: "DISCONNECT",
}
"""What a server may send."""

_BYTES: Final = {0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A}
_SHORTS: Final = {0x13, 0x21, 0x22, 0x23}
_LONGS: Final = {0x02, 0x11, 0x18, 0x27}
_TEXTS: Final = {0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F}
_REASON: Final = 0x1F
_MESSAGE: Final = {0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x26}
_FROM_SERVER: Final = {
    "CONNACK": {
        0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A
    },
    "PUBLISH": _MESSAGE | {0x23},
    "DISCONNECT": {0x1C, 0x1F, 0x26},
}  # fmt: skip
"""Properties that a server may send; other packets have reason strings and user properties only."""


class Heard(NamedTuple):
    """
    A packet of the server.

    Attributes:
        flags: of the first byte.
        packet_id: 0 where there is none.
        codes: of an acknowledgement, DISCONNECT or CONNACK; an omitted one is 0 in 5.0.
        session: "session present" of a CONNACK.
        properties: by identifier, those that came several times or may: in order.
    """

    kind: str
    flags: int = 0
    packet_id: int = 0
    codes: tuple[int, ...] = ()
    session: bool = False
    topic: str = ""
    payload: bytes = b""
    properties: dict[int, list[Any]] = {}  # noqa: RUF012  a default nobody writes to

    @property
    def qos(self) -> int:
        return self.flags >> 1 & 3

    @property
    def dup(self) -> bool:
        return self.flags & 8 != 0

    @property
    def code(self) -> int:
        """The only one."""
        (code,) = self.codes
        return code

    def __str__(self) -> str:
        """As the tables write it: kind, session present or id, codes in hex; of a message topic, QoS and payload."""
        if self.kind == "PUBLISH":
            flags = " dup" * self.dup + " retain" * (self.flags & 1)
            return f"PUBLISH {self.topic} {self.qos} {self.payload.decode('latin-1')}{flags}"
        words = [self.kind]
        if self.kind == "CONNACK":
            words.append(str(int(self.session)))
        elif self.packet_id:
            words.append(str(self.packet_id))
        return " ".join([*words, *(f"{code:02x}" for code in self.codes)])


class _Fields:
    """What is left of a packet."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        assert len(self.data) >= count, "the server's packet ends too early"
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def variable(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 127) << shift
            if byte < 128:
                assert byte or not shift, "longer than it has to be"
                return value
            shift += 7
            assert shift < 28

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        text = self.binary().decode()
        assert "\0" not in text
        return text

    def properties(self, kind: str) -> dict[int, list[Any]]:
        inner = _Fields(self.take(self.variable()))
        allowed = _FROM_SERVER.get(kind, {_REASON, 0x26})
        found: dict[int, list[Any]] = {}
        while inner.data:
            identifier = inner.number(1)
            assert identifier in allowed, f"property {identifier:#x} in a {kind}"
            assert identifier not in found or identifier in (0x26, 0x0B), f"property {identifier:#x} twice"
            value: Any
            if identifier in _BYTES:
                value = inner.number(1)
            elif identifier in _SHORTS:
                value = inner.number(2)
            elif identifier in _LONGS:
                value = inner.number(4)
            elif identifier in _TEXTS:
                value = inner.text()
            elif identifier == 0x26:
                value = (inner.text(), inner.text())
            elif identifier == 0x0B:
                value = inner.variable()
            else:
                value = inner.binary()
            found.setdefault(identifier, []).append(value)
        return found


def read_packet(data: bytes, version: int) -> Heard:
    """One whole packet and nothing else; held to what a server may send in this version."""
    fields = _Fields(data)
    first = fields.number(1)
    kind = _KINDS[first >> 4]
    flags = first & 15
    assert fields.variable() == len(fields.data), "one packet, whole, in one frame"
    if kind == "PUBLISH":
        assert flags >> 1 & 3 < 3
        topic = fields.text()
        assert topic
        assert not set(topic) & set("+#")
        packet_id = fields.number(2) if flags & 6 else 0
        assert packet_id or not flags & 6, "packet id 0"
        assert flags & 6 or not flags & 8, "a duplicate with QoS 0"
        said = fields.properties(kind) if version == 5 else {}
        return Heard(kind, flags, packet_id, topic=topic, payload=fields.data, properties=said)
    assert flags == (2 if kind == "PUBREL" else 0)
    heard = Heard(kind)
    if kind == "CONNACK":
        session = fields.number(1)
        assert session < 2
        heard = heard._replace(session=session == 1, codes=(fields.number(1),))
        if version == 5:
            heard = heard._replace(properties=fields.properties(kind))
        assert not (heard.session and heard.code), "a session in a refusal"
    elif kind in ("SUBACK", "UNSUBACK"):
        heard = heard._replace(packet_id=fields.number(2))
        if version == 5:
            heard = heard._replace(properties=fields.properties(kind))
        if version == 5 or kind == "SUBACK":
            heard = heard._replace(codes=tuple(fields.take(len(fields.data))))
    elif kind != "PINGRESP":
        assert version == 5 or kind != "DISCONNECT", "a server of 3.1.1 sends no DISCONNECT"
        if kind != "DISCONNECT":
            heard = heard._replace(packet_id=fields.number(2))
        if version == 5:
            code = fields.number(1) if fields.data else 0
            heard = heard._replace(codes=(code,), properties=fields.properties(kind) if fields.data else {})
    assert not fields.data, "something behind the last field"
    assert heard.kind in ("PINGRESP", "CONNACK", "DISCONNECT") or heard.packet_id
    return heard


def in_order(texts: Iterable[str]) -> tuple[list[str], ...]:
    """
    Messages, answers to pings, and other answers, each in their order. Between these there is none: a message may come
    before the answer to the SUBSCRIBE that it is due to, and a ping asks whether somebody is there, not what is done.
    """
    kinds: dict[str, list[str]] = {"PUBLISH": [], "PINGRESP": [], "": []}
    for text in texts:
        kinds.get(text.partition(" ")[0], kinds[""]).append(text)
    return tuple(kinds.values())


def mqtt_target(server: Target, hub: str, *, user: str = "", roles: Sequence[str] = (JOIN, SEND), **claims: Any) -> str:
    """The request target of an upgrade, with a token in it."""
    said: dict[str, Any] = {**claims, "role": list(roles)}
    if user:
        said["sub"] = user
    path = f"/clients/mqtt/hubs/{quote(hub)}"
    token = signed(server, f"http://{server.host}:{server.port}{path}", **said)
    return f"{path}?{urlencode({'access_token': token})}"


class MqttRaw(RawClient):
    """
    A client between its 101 and whatever it says.

    Attributes:
        version: in which the server's packets are read.
    """

    def __init__(self, server: Target, target: str, version: int = 5) -> None:
        super().__init__(server, target, protocols=["mqtt"])
        assert self.status == 101, self.body
        assert self.headers["sec-websocket-protocol"] == "mqtt"
        self.version = version

    def say(self, *packets: bytes) -> None:
        """Each in a frame of its own, all at once. A server that has heard enough may be gone meanwhile."""
        try:
            for packet in packets:
                self.send_frame(BINARY, packet)
        except ConnectionError:
            pass

    def say_raw(self, data: bytes) -> None:
        """Bytes below the WebSocket."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass

    def hear(self) -> Heard:
        """The next packet."""
        opcode, payload = self.receive_frame()
        assert opcode == BINARY, (opcode, payload)
        return read_packet(payload, self.version)

    def enter(self, client_id: str = "", **more: Any) -> Heard:
        """Send a CONNECT of this version, see `connect`; returns the CONNACK."""
        self.say(connect(self.version, client_id, **more))
        heard = self.hear()
        assert heard.kind == "CONNACK"
        return heard

    def quiet(self) -> list[Heard]:
        """Everything that came up to the answer to a PINGREQ, so that nothing is left of what went before."""
        self.say(PINGREQ)
        heard: list[Heard] = []
        while not heard or heard[-1].kind != "PINGRESP":
            heard.append(self.hear())
        return heard[:-1]

    def expect(self, *texts: str) -> list[Heard]:
        """The next packets are these: see `in_order`."""
        heard = [self.hear() for _ in texts]
        assert in_order(map(str, heard)) == in_order(texts)
        return heard

    def to_end(self) -> tuple[list[Heard], Closed]:
        """All packets up to the close frame, or up to the end of the connection without one (1006)."""
        heard: list[Heard] = []
        try:
            while (frame := self.receive_frame())[0] != CLOSE:
                assert frame[0] == BINARY, frame
                heard.append(read_packet(frame[1], self.version))
        except (EOFError, ConnectionError):
            return heard, Closed(1006, "")
        payload = frame[1]
        closed = Closed(struct.unpack("!H", payload[:2])[0], payload[2:].decode()) if payload else Closed(1005, "")
        # Answered, the close frame must be the last of it.
        self.say_raw(b"\x88\x80\0\0\0\0" if not payload else b"\x88\x82\0\0\0\0" + payload[:2])
        try:
            assert self.socket.recv(1) == b"", "something behind the close frame"
        except ConnectionError:
            pass
        return heard, closed

    def ends_with(self, code: int, *texts: str) -> None:
        """The server says these, see `in_order`, and then closes with this code."""
        heard, closed = self.to_end()
        assert (in_order(map(str, heard)), closed.code) == (in_order(texts), code)

    def leave(self) -> None:
        """A DISCONNECT of no more than its two bytes; the server closes."""
        self.say(b"\xe0\x00")
        self.ends_with(1000)


class Place:
    """
    A hub of a server, and the way in for clients.

    Attributes:
        mode: what is taken of MQTT clients there.
        allowed, denied: request targets of a client that may do everything, and of one that may do nothing.
    """

    def __init__(self, server: Server, mode: str, hub: str) -> None:
        self.server = server
        self.mode = mode
        self.hub = hub
        self.allowed = mqtt_target(server, hub)
        self.denied = mqtt_target(server, hub, roles=())

    def client(self, version: int, target: str = "") -> MqttRaw:
        """Through the upgrade; with a CONNECT to come."""
        client = MqttRaw(self.server, target or self.allowed, version)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def entered(
        self, version: int, client_id: str = "", *, session: bool = False, target: str = "", **more: Any
    ) -> MqttRaw:
        """
        Let in.

        Args:
            session: it is one that was there before.
            more: of its CONNECT.
        """
        client = self.client(version, target)
        assert str(client.enter(client_id, **more)) == f"CONNACK {session:d} 00"
        return client

    def knows(self, client_id: str) -> bool:
        """Is there a session of this client, with a socket or without."""
        status = rest(self.server, "HEAD", f"{self.hub}/connections/{client_id}").status
        assert status in (200, 404)
        return status == 200

    def forgets(self, client_id: str) -> None:
        """Wait for the end of a session."""
        wait_until(lambda: not self.knows(client_id), "the end of the session")


@contextmanager
def mqtt_server(folder: Path, mode: str, **settings: object) -> Iterator[Server]:
    """One that takes of MQTT clients what this mode does; its log is judged at the end."""
    words = (f"{name}={value}" for name, value in {"mqtt_compatibility": mode, **settings}.items())
    with running(folder, *(word for setting in words for word in ("--set", setting))) as server:
        yield server
