"""
Clients without an official library: JSON frames on top of the `websockets` package, a bare socket for what no library
would do (answer no ping, read nothing, close without a code), and plain HTTP requests.
"""

import base64
import http.client
import json
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self
from urllib.parse import quote, urlencode

import jwt
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from acceptance.servers import DEADLINE_S

__all__ = [
    "JOIN",
    "JSON",
    "RELIABLE",
    "SEND",
    "Answer",
    "Closed",
    "Frame",
    "JsonClient",
    "RawClient",
    "Target",
    "client_target",
    "client_token",
    "connect_status",
    "http_request",
    "metric",
    "rest",
    "signed",
    "trusting",
]

JSON: Final = "json.webpubsub.azure.v1"
RELIABLE: Final = "json.reliable.webpubsub.azure.v1"
JOIN: Final = "webpubsub.joinLeaveGroup"
SEND: Final = "webpubsub.sendToGroup"

Frame = dict[str, Any]
"""One JSON message, as it went over the wire."""


class Target(Protocol):
    """What clients go to: a server, or one of its resources that has ports of its own."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def https_port(self) -> int: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def access_key(self) -> str: ...


class Closed(NamedTuple):
    """How the server ended a connection: 1005 is a close frame without a code, 1006 no close frame at all."""

    code: int
    reason: str


class Answer(NamedTuple):
    """What an HTTP request was answered. Names of headers are in lower case; one that came several times is joined."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def signed(server: Target, audience: str, *, key: str | None = None, ttl_s: int = 600, **claims: Any) -> str:
    """A token signed with an access key, the server's primary one unless another is given."""
    now = int(time.time())
    return jwt.encode({"aud": audience, "iat": now, "exp": now + ttl_s, **claims}, key or server.access_key, "HS256")


def client_token(
    server: Target,
    hub: str,
    *,
    user: str = "",
    roles: Sequence[str] = (),
    groups: Sequence[str] = (),
    port: int | None = None,
    **more: Any,
) -> str:
    """
    A client's token.

    Args:
        port: where the client will connect, if not to the server itself.
        more: further claims and the options of `signed`.
    """
    claims: dict[str, Any] = dict(more)
    if user:
        claims["sub"] = user
    if roles:
        claims["role"] = list(roles)
    if groups:
        claims["webpubsub.group"] = list(groups)
    return signed(server, f"http://{server.host}:{port or server.port}/client/hubs/{hub}", **claims)


def client_target(hub: str, token: str | None, query: Iterable[tuple[str, str]] = ()) -> str:
    """The request target of a client's upgrade."""
    parameters = ([] if token is None else [("access_token", token)]) + list(query)
    return f"/client/hubs/{quote(hub)}?{urlencode(parameters)}"


def trusting(certificate: Path) -> ssl.SSLContext:
    """A client that trusts this authority alone, and looks as closely as Python can."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def http_request(
    server: Target,
    method: str,
    target: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    port: int | None = None,
    secure: ssl.SSLContext | None = None,
    source: str = "",
) -> Answer:
    """
    One request on a connection of its own. `target` goes out as it is.

    Args:
        secure: go to the HTTPS port, with this.
        source: address of this machine to come from, if it matters.
    """
    options: dict[str, Any] = {"timeout": DEADLINE_S, "source_address": (source, 0) if source else None}
    if secure is None:
        connection = http.client.HTTPConnection(server.host, port or server.port, **options)
    else:
        connection = http.client.HTTPSConnection(server.host, port or server.https_port, context=secure, **options)
    try:
        connection.request(method, target, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        told: dict[str, str] = {}
        for name, value in response.getheaders():
            told[name.lower()] = f"{told[name.lower()]}, {value}" if name.lower() in told else value
        return Answer(response.status, told, response.read())
    finally:
        connection.close()


def rest(
    server: Target,
    method: str,
    path: str,
    *,
    query: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An operation of the data plane, `path` below `/api/hubs/`, already percent-encoded."""
    target = f"/api/hubs/{path}?{urlencode([('api-version', '2024-12-01'), *query])}"
    authorization = f"Bearer {signed(server, server.endpoint + target, ttl_s=60)}"
    return http_request(server, method, target, body=body, headers={"Authorization": authorization, **(headers or {})})


def connect_status(
    server: Target,
    hub: str,
    token: str | None,
    query: Iterable[tuple[str, str]] = (),
    *,
    headers: Mapping[str, str] | None = None,
    source: str = "",
) -> int:
    """What the upgrade of a client is answered; one that is let in leaves at once."""
    with RawClient(
        server, client_target(hub, token, query), protocols=[RELIABLE], headers=headers, source=source
    ) as client:
        if client.status == 101:
            client.close_frame(1000)
            client.closed()
        return client.status


def metric(server: Target, name: str) -> float:
    """The value of one sample of the server's metrics, named with its labels."""
    answer = http_request(server, "GET", "/metrics")
    assert answer.status == 200
    samples = (line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if not line.startswith("#"))
    return {key: float(value) for key, value in samples}[name]


class JsonClient:
    """
    A client of one of the JSON subprotocols, connected when made.

    Attributes:
        connected: the first frame, which every opening must bring.
        connection_id, reconnection_token: from that frame; the token is "" where there is none.
    """

    def __init__(
        self,
        server: Target,
        hub: str,
        *,
        protocol: str = JSON,
        user: str = "",
        roles: Sequence[str] = (JOIN, SEND),
        groups: Sequence[str] = (),
        query: Iterable[tuple[str, str]] = (),
        port: int | None = None,
        token: str | None = None,
    ) -> None:
        token = token or client_token(server, hub, user=user, roles=roles, groups=groups, port=port)
        self.server = server
        self.hub = hub
        self._ack_id = 0
        self._waiting: list[Frame] = []
        self._stack = ExitStack()
        self.socket = self._stack.enter_context(
            connect(
                f"ws://{server.host}:{port or server.port}{client_target(hub, token, query)}",
                subprotocols=[Subprotocol(protocol)],
                compression=None,
                ping_interval=None,
                open_timeout=DEADLINE_S,
                close_timeout=DEADLINE_S,
                max_size=None,
                proxy=None,
            )
        )
        assert self.socket.subprotocol == protocol
        self.connected = self.receive()
        assert self.connected["type"] == "system"
        assert self.connected["event"] == "connected"
        self.connection_id: str = self.connected["connectionId"]
        self.reconnection_token: str = self.connected.get("reconnectionToken", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def recovery(self) -> list[tuple[str, str]]:
        """The query parameters that ask for this connection back."""
        return [("awps_connection_id", self.connection_id), ("awps_reconnection_token", self.reconnection_token)]

    def send(self, frame: Frame) -> None:
        self.socket.send(json.dumps(frame))

    def receive(self) -> Frame:
        """The next frame, in the order in which they came."""
        if self._waiting:
            return self._waiting.pop(0)
        return self._read()

    def _read(self) -> Frame:
        payload = self.socket.recv(DEADLINE_S)
        assert isinstance(payload, str), "a JSON subprotocol speaks in text frames"
        frame = json.loads(payload)
        assert isinstance(frame, dict)
        return frame

    def request(self, frame: Frame) -> Frame:
        """Send with the next ack id and return the ack; what came before it is kept for `receive`."""
        self._ack_id += 1
        self.send({**frame, "ackId": frame.get("ackId", self._ack_id)})
        return self.await_frame("ack")

    def await_frame(self, kind: str) -> Frame:
        """The next frame of a type; what came before it is kept for `receive`."""
        while (frame := self._read())["type"] != kind:
            self._waiting.append(frame)
        return frame

    def join(self, group: str) -> None:
        ack = self.request({"type": "joinGroup", "group": group})
        assert ack["success"], ack

    def publish(self, group: str, data: Any, kind: str = "json", **more: Any) -> Frame:
        """Publish with an ack id; returns the ack."""
        return self.request({"type": "sendToGroup", "group": group, "dataType": kind, "data": data, **more})

    def heard(self) -> list[Frame]:
        """Everything that was for us up to now: a ping is answered behind all that was accepted before it."""
        self.send({"type": "ping"})
        self.await_frame("pong")
        frames, self._waiting = self._waiting, []
        return frames

    def lose(self) -> None:
        """Be gone without a close frame."""
        self.socket.socket.shutdown(socket.SHUT_RDWR)

    def closed(self) -> Closed:
        """Wait for the server to end the connection; frames before that are kept for `receive`."""
        try:
            while True:
                self._waiting.append(self._read())
        except ConnectionClosed as error:
            return Closed(1006, "") if error.rcvd is None else Closed(error.rcvd.code, error.rcvd.reason)


class RawClient:
    """
    A WebSocket client on a bare socket. It does what it is told and nothing by itself: no pong, no close, no reading.

    Attributes:
        status, headers: of the answer to the upgrade; names of headers in lower case.
        body: of an answer other than 101.
    """

    def __init__(
        self,
        server: Target,
        target: str,
        *,
        protocols: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        port: int | None = None,
        receive_buffer_bytes: int | None = None,
        secure: ssl.SSLContext | None = None,
        source: str = "",
    ) -> None:
        """
        Args:
            secure: go to the HTTPS port, with this.
            source: address of this machine to come from, if it matters.
        """
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE_S)
        if source:
            self.socket.bind((source, 0))
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        port = port or (server.port if secure is None else server.https_port)
        self.socket.connect((server.host, port))
        if secure is not None:
            self.socket = secure.wrap_socket(self.socket, server_hostname=server.host)
        self._buffer = b""
        head = {
            "Host": f"{server.host}:{port}",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        }
        if protocols:
            head["Sec-WebSocket-Protocol"] = ", ".join(protocols)
        head |= headers or {}
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        answer, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *rest_of_head = answer.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest_of_head)
        }
        self.body = b"" if self.status == 101 else self._take(int(self.headers.get("content-length", "0")))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def _fill(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError
        self._buffer += data

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def send_frame(self, opcode: int, payload: bytes = b"", *, first_byte: int = 0x80) -> None:
        """A masked frame; the mask is zero, which is as legal as any."""
        size = len(payload)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 1 << 16:
            length = b"\xfe" + struct.pack("!H", size)
        else:
            length = b"\xff" + struct.pack("!Q", size)
        self.socket.sendall(bytes([first_byte | opcode]) + length + bytes(4) + payload)

    def send_json(self, frame: Frame) -> None:
        self.send_frame(1, json.dumps(frame).encode())

    def close_frame(self, code: int | None) -> None:
        """A close frame, with a code or without."""
        self.send_frame(8, b"" if code is None else struct.pack("!H", code))

    def receive_frame(self) -> tuple[int, bytes]:
        """
        Opcode and payload of the next frame.

        Raises:
            EOFError, ConnectionError: the connection ended without another frame.
        """
        first, second = self._take(2)
        assert first & 0x70 == 0, "no extension was negotiated"
        assert second & 0x80 == 0, "frames of a server are not masked"
        size = second
        if size == 126:
            size = struct.unpack("!H", self._take(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self._take(8))[0]
        return first & 0x0F, self._take(size)

    def receive_json(self) -> Frame:
        """The next text frame; pings on the way are ignored, not answered."""
        while (frame := self.receive_frame())[0] == 9:
            pass
        assert frame[0] == 1, frame
        value = json.loads(frame[1])
        assert isinstance(value, dict)
        return value

    def closed(self) -> Closed:
        """Read to the end and say how the server ended the connection."""
        try:
            while (frame := self.receive_frame())[0] != 8:
                pass
        except (EOFError, ConnectionError):
            return Closed(1006, "")
        payload = frame[1]
        return Closed(struct.unpack("!H", payload[:2])[0], payload[2:].decode()) if payload else Closed(1005, "")

    def abort(self) -> None:
        """Reset the connection, as when the machine loses power and comes back."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
