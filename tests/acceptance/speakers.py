"""
Clients of every protocol behind one face, so that one test holds each of them to the same: they join, publish, send
events, and tell what they have heard.
"""

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self
from uuid import uuid4

from acceptance.mqtt import EVENTS, SERVER_MESSAGES, MqttClient
from acceptance.protobuf import PROTOBUF, PROTOBUF_RELIABLE, ProtobufClient
from acceptance.servers import Server
from acceptance.wire import JOIN, JSON, RELIABLE, SEND, JsonClient, RawClient, client_target, client_token, rest

__all__ = ["CONTENT_TYPES", "PAYLOADS", "PROTOCOLS", "Heard", "Kind", "Speaker", "as_heard", "framed", "speaker"]

Kind = Literal["text", "json", "binary", "protobuf"]

PAYLOADS: Final[Mapping[Kind, bytes]] = {
    "text": "tëxt".encode(),
    "json": b'{"a": [1.5, null]}',
    "binary": b"\x00\xff",
    "protobuf": b"\x0a\x09a.b/c.Any\x12\x02\x08\x01",
}
"""One of each kind; the last is a `google.protobuf.Any` with the name of a type and a message of it."""

CONTENT_TYPES: Final[Mapping[Kind, str]] = {
    "text": "text/plain",
    "json": "application/json",
    "binary": "application/octet-stream",
    "protobuf": "application/x-protobuf",
}

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
"""Opcodes of WebSocket frames."""


class Heard(NamedTuple):
    """
    A message, as far as a protocol can tell.

    Attributes:
        group: that it was sent to; "" for none, and where that is not told.
        kind: what the payload is said to be; "" where nothing is said.
        payload: JSON without the blanks that the receiver's own library takes out.
    """

    group: str
    kind: str
    payload: bytes
    user: str = ""
    metadata: tuple[tuple[str, str], ...] = ()


class Speaker(ABC):
    """
    One client, connected when made.

    Attributes:
        protocol: one of `PROTOCOLS`.
        id: of its connection.
    """

    protocol: str
    id: str

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Be gone without a word."""

    @abstractmethod
    def join(self, group: str) -> bool:
        """Ask to be a member. Was that granted?"""

    @abstractmethod
    def leave(self, group: str) -> bool: ...

    @abstractmethod
    def publish(
        self, group: str, kind: Kind, payload: bytes, *, own: bool = True, metadata: Mapping[str, str] | None = None
    ) -> bool:
        """
        Send to a group, and wait until that is done.

        Args:
            own: hear it oneself, as a member of the group.

        Returns:
            was it granted.
        """

    @abstractmethod
    def event(self, name: str, kind: Kind, payload: bytes) -> bool:
        """Send an event to the handler of the hub, and wait until it has answered. Did it take it?"""

    @abstractmethod
    def heard(self) -> list[Heard]:
        """All that was for it up to now."""

    def lose(self) -> None:
        """Lose the socket without a word."""
        raise NotImplementedError(f"nothing is kept for {self.protocol}")

    def come_back(self) -> None:
        """On another socket, to what was kept meanwhile."""
        raise NotImplementedError(f"nothing is kept for {self.protocol}")

    @abstractmethod
    def ended(self) -> tuple[str, int]:
        """Wait until the server has ended the connection: what it said of why, if anything, and the close code."""


class _Framed(Speaker):
    """A client of one of the JSON or protobuf subprotocols."""

    def __init__(self, protocol: str, connect: Callable[..., JsonClient]) -> None:
        self.protocol = protocol
        self._connect = connect
        self.client = connect()
        self.id = self.client.connection_id

    def close(self) -> None:
        self.client.__exit__(None, None, None)

    def join(self, group: str) -> bool:
        return bool(self.client.request({"type": "joinGroup", "group": group})["success"])

    def leave(self, group: str) -> bool:
        return bool(self.client.request({"type": "leaveGroup", "group": group})["success"])

    def publish(
        self, group: str, kind: Kind, payload: bytes, *, own: bool = True, metadata: Mapping[str, str] | None = None
    ) -> bool:
        frame = {"type": "sendToGroup", "group": group, "noEcho": not own, **_written(kind, payload)}
        return bool(self.client.request(frame | ({"metadata": dict(metadata)} if metadata else {}))["success"])

    def event(self, name: str, kind: Kind, payload: bytes) -> bool:
        return bool(self.client.request({"type": "event", "event": name, **_written(kind, payload)})["success"])

    def heard(self) -> list[Heard]:
        return [_read(frame) for frame in self.client.heard() if frame["type"] == "message"]

    def lose(self) -> None:
        self.client.lose()

    def come_back(self) -> None:
        before = self.client
        self.client = self._connect(query=before.recovery())
        before.__exit__(None, None, None)
        assert self.client.connection_id == before.connection_id

    def ended(self) -> tuple[str, int]:
        closed = self.client.closed()
        return str(self.client.receive()["message"]), closed.code


def _written(kind: Kind, payload: bytes) -> dict[str, Any]:
    match kind:
        case "text":
            return {"dataType": "text", "data": payload.decode()}
        case "json":
            return {"dataType": "json", "data": json.loads(payload)}
    return {"dataType": kind, "data": base64.b64encode(payload).decode()}


def _read(frame: Mapping[str, Any]) -> Heard:
    kind, data = frame["dataType"], frame["data"]
    match kind:
        case "text":
            payload = data.encode()
        case "json":
            payload = json.dumps(data).encode()
        case _:
            payload = base64.b64decode(data)
    metadata = tuple(sorted(frame.get("metadata", {}).items()))
    return Heard(frame.get("group", ""), kind, payload, frame.get("fromUserId", ""), metadata)


class _Simple(Speaker):
    """
    A simple client. What it says is published to the group that its URL names, or is an event.

    Args:
        group: that it publishes to.
    """

    protocol = "simple"

    def __init__(self, server: Server, hub: str, group: str, own: bool, **claims: Any) -> None:
        self._group, self._own = group, own
        self._frames: list[tuple[int, bytes]] = []
        # A pong of WebSocket, which is all that it can ask for, may overtake what others have sent; not so an answer of
        # the JSON subprotocol, whomever it is for.
        self._watcher = JsonClient(server, f"{hub}watcher")
        self._code = 0
        query = [("webpubsub_mode", "sendToGroup"), ("group", group), ("noEcho", str(not own))] if group else []
        # Nobody tells it its id, but whoever lists a group that only this client is in.
        mark = f"only{uuid4().hex}"
        groups = [*claims.pop("groups", ()), mark]
        target = client_target(hub, client_token(server, hub, groups=groups, **claims), query)
        self.raw = RawClient(server, target)
        assert self.raw.status == 101, self.raw.body
        assert self._is_there()
        listed = rest(server, "GET", f"{hub}/groups/{mark}/connections").json()
        self.id = listed["value"][0]["connectionId"]

    def close(self) -> None:
        self.raw.socket.close()
        self._watcher.__exit__(None, None, None)

    def join(self, group: str) -> bool:
        raise NotImplementedError("a simple client has no word for it")

    leave = join

    def publish(
        self, group: str, kind: Kind, payload: bytes, *, own: bool = True, metadata: Mapping[str, str] | None = None
    ) -> bool:
        assert (group, own, metadata) == (self._group, self._own, None), "its URL says that"
        return self._say(kind, payload)

    def event(self, name: str, kind: Kind, payload: bytes) -> bool:
        assert name == "message", "all its events are called so"
        return self._say(kind, payload)

    def _say(self, kind: Kind, payload: bytes) -> bool:
        self.raw.send_frame(_TEXT if kind == "text" else _BINARY, payload)
        return self._is_there()

    def _is_there(self) -> bool:
        """Wait until what was said is done. Is the client still let say more?"""
        self.raw.send_frame(_PING, b"all")
        while (frame := self.raw.receive_frame()) != (_PONG, b"all"):
            if frame[0] == _CLOSE:
                self._code = int.from_bytes(frame[1][:2], "big")
                return False
            self._frames.append(frame)
        return True

    def heard(self) -> list[Heard]:
        assert self._watcher.heard() == []
        assert self._is_there()
        frames, self._frames = self._frames, []
        return [Heard("", "text" if opcode == _TEXT else "binary", payload) for opcode, payload in frames]

    def ended(self) -> tuple[str, int]:
        return "", self._code or self.raw.closed().code


class _Mqtt(Speaker):
    """A client of MQTT, with QoS 1."""

    def __init__(self, protocol: str, server: Server, hub: str, **claims: Any) -> None:
        self.protocol = protocol
        self.version = 5 if protocol == "mqtt 5.0" else 4
        self.client = MqttClient(server, hub, version=self.version, **claims)
        self.id = self.client.client_id

    def close(self) -> None:
        self.client.raw.socket.close()

    def join(self, group: str) -> bool:
        return self.client.subscribe(group) == (1,)

    def leave(self, group: str) -> bool:
        return self.client.unsubscribe(group) in ((), (0,))

    def publish(
        self, group: str, kind: Kind, payload: bytes, *, own: bool = True, metadata: Mapping[str, str] | None = None
    ) -> bool:
        if not own:
            assert self.client.subscribe(group, no_local=True) == (1,)
        return self.client.publish(group, payload, **self._said(kind, metadata)) == 0

    def event(self, name: str, kind: Kind, payload: bytes) -> bool:
        return self.client.publish(f"{EVENTS}/{name}", payload, **self._said(kind, None)) == 0

    def _said(self, kind: Kind, metadata: Mapping[str, str] | None) -> dict[str, Any]:
        if self.version < 5:
            assert not metadata, "there is no word for it"
            return {}
        pairs = {"user_properties": tuple(metadata.items())} if metadata else {}
        return {"content_type": CONTENT_TYPES[kind], **pairs}

    def heard(self) -> list[Heard]:
        found = []
        for message in self.client.heard():
            properties = message.properties
            kind = next((kind for kind, said in CONTENT_TYPES.items() if said == properties.content_type), "")
            group = "" if message.topic == SERVER_MESSAGES else message.topic
            found.append(Heard(group, kind, message.payload, "", tuple(sorted(properties.user_properties))))
        return found

    def lose(self) -> None:
        self.client.drop()

    def come_back(self) -> None:
        self.client = self.client.again()
        assert self.client.resumed

    def ended(self) -> tuple[str, int]:
        ended = self.client.ended()
        return ended.reason or "", ended.close_code


def _simple(server: Server, hub: str, publish_to: str, own: bool, **claims: Any) -> Speaker:
    return _Simple(server, hub, publish_to, own, **claims)


def framed(protocol: str, server: Server, hub: str, **claims: Any) -> JsonClient:
    """A client of one of the JSON or protobuf subprotocols, connected."""
    kind = ProtobufClient if "protobuf" in protocol else JsonClient
    return kind(server, hub, protocol=_SUBPROTOCOLS[protocol], **claims)


def _framed(name: str) -> Callable[..., Speaker]:
    return lambda server, hub, _publish_to, _own, **claims: _Framed(name, partial(framed, name, server, hub, **claims))


def _mqtt(name: str) -> Callable[..., Speaker]:
    return lambda server, hub, _publish_to, _own, **claims: _Mqtt(name, server, hub, **claims)


_SUBPROTOCOLS: Final = {
    "json": JSON,
    "reliable json": RELIABLE,
    "protobuf": PROTOBUF,
    "reliable protobuf": PROTOBUF_RELIABLE,
}
_MAKERS: Final[Mapping[str, Callable[..., Speaker]]] = {
    "simple": _simple,
    **{name: _framed(name) for name in _SUBPROTOCOLS},
    "mqtt 3.1.1": _mqtt("mqtt 3.1.1"),
    "mqtt 5.0": _mqtt("mqtt 5.0"),
}
PROTOCOLS: Final = tuple(_MAKERS)
"""As the columns of the table in docs/protocols.md."""


def speaker(
    protocol: str,
    server: Server,
    hub: str,
    *,
    publish_to: str = "",
    own: bool = True,
    lasting: bool = False,
    **claims: Any,
) -> Speaker:
    """
    A client of a protocol, connected.

    Args:
        publish_to, own: of a simple client, which can say them in its URL only.
        lasting: its session is to outlive its socket; where the protocol itself does not say so.
        claims: `user`, `roles` and `groups`; all roles unless given.
    """
    claims.setdefault("roles", (JOIN, SEND))
    if lasting and protocol.startswith("mqtt"):
        claims |= {"clean": False, "expiry_s": 30}
    return _MAKERS[protocol](server, hub, publish_to, own, **claims)


def as_heard(protocol: str, said: Heard) -> Heard:
    """What a receiver of a protocol is told of a message."""
    if protocol == "simple":
        return Heard("", "text" if said.kind in ("text", "json") else "binary", said.payload)
    if protocol == "mqtt 3.1.1":
        return Heard(said.group, "", said.payload)
    if protocol == "mqtt 5.0":
        return said._replace(user="")
    if "protobuf" in protocol:
        return said._replace(user="")
    return said
