"""
Event handlers for the tests, on real sockets in a thread of the test's own process: they write down what they are told
and say what the test wants, down to the bytes. What is an event is judged by others: every event that one of them hears
is read by the `cloudevents` package, and its body is held against a schema.
"""

import json
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import jsonschema  # type: ignore[import-untyped]
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event

from acceptance.servers import DEADLINE_S, Server, wait_until
from faults.control import control

__all__ = ["EVERYTHING", "Answer", "Heard", "Reply", "Upstream", "allow", "await_line", "configure", "says"]

EVERYTHING: Final = ("connect", "connected", "disconnected")

_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_LISTS: Final = {"type": "object", "additionalProperties": _TEXTS}
_CERTIFICATE: Final = {
    "type": "object",
    "required": ["thumbprint", "content"],
    "additionalProperties": False,
    "properties": {
        "thumbprint": {"type": "string", "pattern": "^([0-9a-f]{40}|[0-9A-F]{40})$"},
        "content": {"type": "string", "pattern": "^-----BEGIN CERTIFICATE-----\r\n"},
    },
}


def _object(**properties: Any) -> dict[str, Any]:
    """All of these, and nothing else."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_SCHEMAS: Final[Mapping[str, Mapping[str, Any]]] = {
    "azure.webpubsub.sys.connect": _object(
        claims=_LISTS,
        query=_LISTS,
        headers=_LISTS,
        subprotocols=_TEXTS,
        clientCertificates={"type": ["array", "null"], "items": _CERTIFICATE, "maxItems": 1},
    ),
    "azure.webpubsub.sys.connected": _object(),
    "azure.webpubsub.sys.disconnected": _object(reason={"type": ["string", "null"]}),
    "azure.webpubsub.gp.joined": _object(group={"type": "string"}),
    "azure.webpubsub.gp.left": _object(group={"type": "string"}),
}
"""Bodies of what is no user event, by its type. Source: the service's CloudEvents reference."""

_USER_PROPERTIES: Final = {
    "type": ["array", "null"],
    "items": _object(name={"type": "string"}, value={"type": "string"}),
}

_MQTT_SCHEMAS: Final[Mapping[str, Mapping[str, Any]]] = {
    "azure.webpubsub.sys.connect": _object(
        mqtt=_object(
            protocolVersion={"enum": [4, 5]},
            cleanStart={"type": "boolean"},
            username={"type": ["string", "null"]},
            password={"type": ["string", "null"], "contentEncoding": "base64"},
            userProperties=_USER_PROPERTIES,
        ),
        claims=_LISTS,
        query=_LISTS,
        headers=_LISTS,
        subprotocols={"const": ["mqtt"]},
        clientCertificates={"type": "array", "items": _CERTIFICATE, "maxItems": 1},
    ),
    "azure.webpubsub.sys.disconnected": _object(
        reason={"type": ["string", "null"]},
        mqtt=_object(
            initiatedByClient={"type": "boolean"},
            disconnectPacket={
                "anyOf": [{"type": "null"}, _object(code={"type": "integer"}, userProperties=_USER_PROPERTIES)]
            },
        ),
    ),
}
"""Those that say more of an MQTT client. Source: the service's CloudEvents reference for MQTT."""

_ALWAYS: Final = (
    "WebHook-Request-Origin",
    "Content-Type",
    "Content-Length",
    "ce-specversion",
    "ce-awpsversion",
    "ce-type",
    "ce-source",
    "ce-id",
    "ce-time",
    "ce-signature",
    "ce-connectionId",
    "ce-hub",
    "ce-eventName",
    "x-ms-client-request-id",
    "traceparent",
)
"""Headers that every event has, each once."""


class Heard(NamedTuple):
    """
    One request.

    Attributes:
        headers: as they came, in order.
        connection: number of the TCP connection, from 1.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int

    def all(self, name: str) -> list[str]:
        """Values of a header, one for each line."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The value of a header that comes once at most."""
        values = self.all(name)
        assert len(values) <= 1, (name, values)
        return values[0] if values else None

    def __getattr__(self, name: str) -> str:
        """An attribute of the event by its name there, such as `connectionId` or `id`."""
        value = self.get(f"ce-{name}")
        if value is None:
            raise AttributeError(name)
        return value

    def json(self) -> Any:
        return json.loads(self.body)

    def check(self) -> None:
        """It is an event by what others say of events."""
        assert {name: len(self.all(name)) for name in _ALWAYS} == dict.fromkeys(_ALWAYS, 1)
        assert not self.all("Transfer-Encoding")
        read = from_binary_event(HTTPMessage(dict(self.headers), self.body))
        assert (read.get_specversion(), read.get_id(), read.get_type()) == ("1.0", self.id, self.type)
        physical_id = self.get("ce-physicalConnectionId")
        of_connection = f"/hubs/{read.get_extension('hub')}/client/{self.connectionId}"
        assert read.get_source() == (of_connection if physical_id is None else f"{of_connection}/{physical_id}")
        time = read.get_time()
        assert time is not None
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", self.time)
        assert self.type.endswith(f".{self.eventName}")
        schema = _SCHEMAS.get(self.type)
        if physical_id is not None:
            assert self.subprotocol == "mqtt"
            assert (self.get("ce-sessionId") is None) == (self.eventName == "connect")
            schema = _MQTT_SCHEMAS.get(self.type, schema)
        if schema is None:
            assert self.type.startswith("azure.webpubsub.user.")
            return
        assert self.get("Content-Type") == "application/json; charset=utf-8"
        jsonschema.validate(self.json(), schema)


class Reply(NamedTuple):
    """What a handler says; `headers` may name one several times."""

    status: int = 204
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()

    def as_bytes(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Said", *(f"{name}: {value}" for name, value in self.headers)]
        length = [] if self.status == 204 else [f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, *length, "", ""]).encode() + self.body


Answer = Callable[[Heard], Reply | bytes]
"""What is said to a request. Bytes go out as they are, and the connection is closed behind them."""


def allow(_: Heard) -> Reply:
    """To a validation: any server may send events here."""
    return Reply(200, headers=[("WebHook-Allowed-Origin", "*")])


def says(status: int = 204, body: bytes | Any = b"", **headers: str) -> Reply:
    """A reply; underscores in names of headers are hyphens, and what is not bytes is JSON."""
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if isinstance(body, bytes):
        return Reply(status, body, fields)
    return Reply(status, json.dumps(body).encode(), [("Content-Type", "application/json"), *fields])


class Upstream:
    """
    An event handler on a port of its own.

    Attributes:
        heard: every request, in the order in which they had come whole.
        answer: to events; called in a thread of the connection, so it may wait.
        validation: to everything else.
        ended: set once it is to end; for answers that never come.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.heard: list[Heard] = []
        self.answer: Answer = lambda _: Reply()
        self.validation: Answer = allow
        self.ended = threading.Event()
        self._listener = socket.create_server((host, 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="accepts for an event handler")
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if kind is None:
            for event in self.events():
                event.check()

    def url(self, path: str = "{hub}/{event}") -> str:
        """A template below this handler."""
        return f"http://{self.host}:{self.port}/{path}"

    def handler(self, path: str = "{hub}/{event}", **settings: Any) -> dict[str, Any]:
        """Settings of a handler that is told everything but memberships, unless they say something else."""
        return {"urlTemplate": self.url(path), "userEventPattern": "*", "systemEvents": EVERYTHING, **settings}

    def events(self, *names: str, of: str = "") -> list[Heard]:
        """
        The events so far, in the order in which they came.

        Args:
            names: only those called so.
            of: only those of this connection.
        """
        return [
            heard
            for heard in list(self.heard)
            if heard.method == "POST" and (not names or heard.eventName in names) and of in ("", heard.connectionId)
        ]

    def await_events(self, count: int, *names: str, of: str = "") -> list[Heard]:
        """The same, once there are as many; more are a fault."""
        what = f"{count} events {' '.join(names)} at {self.port}"
        wait_until(lambda: len(self.events(*names, of=of)) >= count, what)
        found = self.events(*names, of=of)
        assert len(found) == count, [(event.eventName, event.id) for event in found]
        return found

    def validations(self) -> list[Heard]:
        """Everything that is no event."""
        return [heard for heard in list(self.heard) if heard.method != "POST"]

    def never(self, _: Heard) -> bytes:
        """An answer that does not come."""
        self.ended.wait()
        return b""

    def stop(self) -> None:
        """End all connections, and listen no more."""
        self.ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(DEADLINE_S)
        self._listener.close()
        for client in list(self._sockets):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.ended.is_set():
                    client.close()
                    return
                self._sockets.add(client)
                number = len(self._threads) + 1
                thread = threading.Thread(target=self._serve, args=(client, number), name="an event handler")
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket, number: int) -> None:
        with client, client.makefile("rb") as reader, suppress(OSError):
            while (heard := _read(reader, number)) is not None:
                self.heard.append(heard)
                said = (self.answer if heard.method == "POST" else self.validation)(heard)
                client.sendall(said if isinstance(said, bytes) else said.as_bytes())
                if isinstance(said, bytes):
                    break
        self._sockets.discard(client)


def _read(reader: Any, number: int) -> Heard | None:
    """The next request of a connection; None if none comes whole any more."""
    first = reader.readline()
    if not first.endswith(b"\r\n"):
        return None
    method, target, _ = first.decode().split()
    headers: list[tuple[str, str]] = []
    while (line := reader.readline()) != b"\r\n":
        if not line.endswith(b"\r\n"):
            return None
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        headers.append((name, value.strip(" ")))
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    body = reader.read(length)
    return Heard(method, target, tuple(headers), body, number) if len(body) == length else None


def configure(server: Server, hub: str, *handlers: Mapping[str, Any], **properties: Any) -> None:
    """Give a hub of the server's own resource these handlers, and no others."""
    answer = control(server, "PUT", f"hubs/{hub}", {"properties": {"eventHandlers": handlers, **properties}})
    assert answer.status in (200, 201), answer.body


def await_line(server: Server, *texts: str) -> str:
    """A line of the server's log that has all of these in it; it may come a moment after what it tells of."""

    def found() -> list[str]:
        return [line for line in server.log().splitlines() if all(text in line for text in texts)]

    wait_until(lambda: bool(found()), f"a line of the log with {texts}")
    return found()[0]
