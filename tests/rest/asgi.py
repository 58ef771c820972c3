"""Calling an ASGI application in this process, and what stands in for the rooms below `rest`."""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from hubwire.model.commands import Answer, Command, Query, Send
from hubwire.model.errors import NotFound, Unauthorized
from hubwire.model.hubs import AccessKeys, KeyKind
from hubwire.model.telemetry import Telemetry
from hubwire.rest.app import build_app
from hubwire.rest.operation import Operation, RestApp
from hubwire.rest.ports import Server

__all__ = ["ENDPOINT", "GOOD", "FakeCatalog", "FakeNode", "FakePrincipals", "Reply", "World", "request"]

GOOD = "Bearer good-token"
ENDPOINT = "http://localhost:8080"

Message = MutableMapping[str, Any]
Asgi = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


class Reply(NamedTuple):
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def request(
    app: Asgi,
    method: str,
    target: str | bytes,
    headers: Sequence[tuple[str, str]] = (),
    parts: Sequence[bytes | None] = (b"",),
    state: Mapping[str, Any] | None = None,
    scope: Mapping[str, Any] | None = None,
) -> Reply | None:
    """
    One request as an HTTP server would hand it on.

    Args:
        target: path and query, still percent-encoded.
        parts: of the body; None stands for a client that goes away.

    Returns:
        None if the application answered nothing.
    """
    raw = target.encode("ascii") if isinstance(target, str) else target
    raw_path, _, query = raw.partition(b"?")
    named = {name.lower() for name, _ in headers}
    lines = [*headers] if "host" in named else [("Host", "hub.example:8080"), *headers]
    sent: list[Message] = []
    waiting = list(parts)

    async def receive() -> Message:
        part = waiting.pop(0)
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(
        {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": "the decoded path must not be used",
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in lines],
            "client": ("192.0.2.7", 50123),
            "server": ("127.0.0.1", 8080),
            "state": dict(state or {}),
            **(scope or {}),
        },
        receive,
        send,
    )
    if not sent:
        return None
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    names = [name for name, _ in sent[0]["headers"]]
    assert len(names) == len(set(names)), "no header comes twice"
    answered = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], answered, sent[1]["body"])


class FakeNode:
    """Remembers what it was asked; answers by the type of the query, with a connection found unless told otherwise."""

    def __init__(self) -> None:
        self.executed: list[Send] = []
        self.asked: list[Query] = []
        self.answer = Answer(count=1, allowed=True)
        self.failure: Exception | None = None
        self.unwritten: Awaitable[None] | None = None

    def execute(self, command: Command, /) -> None:
        assert isinstance(command, Send)
        self.executed.append(command)

    def accepted(self) -> Awaitable[None] | None:
        return self.unwritten

    async def ask(self, query: Query, /) -> Answer:
        if self.failure is not None:
            raise self.failure
        self.asked.append(query)
        return self.answer

    @property
    def heard(self) -> list[Command | Query]:
        return [*self.executed, *self.asked]


class FakePrincipals:
    """
    Lets one token in, and issues tokens that say which number they have.

    Attributes:
        actions, addresses: that callers came with.
        failure: raised for callers, whatever they bring.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str | None, str, str, str]] = []
        self.issued: list[tuple[object, ...]] = []
        self.actions: list[str | None] = []
        self.addresses: list[str | None] = []
        self.failure: Exception | None = None

    def rest(self, authorization: str | None, resource: str, host: str, raw_path: str, /) -> object:
        self.seen.append((authorization, resource, host, raw_path))
        if authorization != GOOD:
            raise Unauthorized("the signature does not fit")
        return object()

    async def caller(
        self,
        authorization: str | None,
        resource: str,
        host: str,
        raw_path: str,
        action: str | None,
        client_ip: str | None,
        /,
    ) -> object:
        self.actions.append(action)
        self.addresses.append(client_ip)
        if self.failure is not None:
            raise self.failure
        return self.rest(authorization, resource, host, raw_path)

    def issue_client_token(
        self,
        resource: str,
        audience: str,
        user_id: str | None,
        roles: Sequence[str],
        groups: Sequence[str],
        minutes: int,
        /,
    ) -> str:
        self.issued.append((resource, audience, user_id, tuple(roles), tuple(groups), minutes))
        return f"issued-token-{len(self.issued)}"


class FakeCatalog:
    """
    Keys that count their rotations, and hubs in a dictionary.

    Attributes:
        warnings: what of each hub does not act.
    """

    def __init__(self) -> None:
        self.keys = AccessKeys("primary-secret-0", "secondary-secret-0", "salt-secret-0")
        self.hubs: dict[str, dict[str, Any]] = {}
        self.warnings: list[str] = []

    def access_keys(self, resource: str, /) -> AccessKeys:
        return self.keys

    async def rotate_key(self, resource: str, kind: KeyKind, /) -> AccessKeys:
        self.keys = replace(self.keys, **{kind: f"{kind}-secret-1"})
        return self.keys

    async def put_hub(self, name: str, properties: dict[str, Any], /) -> dict[str, Any]:
        self.hubs[name] = {"name": name, "properties": properties}
        return self.hubs[name]

    async def patch_hub(self, name: str, properties: dict[str, Any], /) -> dict[str, Any]:
        if name not in self.hubs:
            raise NotFound("no such hub", "hub")
        self.hubs[name]["properties"].update(properties)
        return self.hubs[name]

    async def get_hub(self, name: str, /) -> dict[str, Any] | None:
        return self.hubs.get(name)

    async def list_hubs(self) -> list[dict[str, Any]]:
        return [self.hubs[name] for name in sorted(self.hubs)]

    async def delete_hub(self, name: str, /) -> bool:
        return self.hubs.pop(name, None) is not None

    def hub_warnings(self, name: str, /) -> Sequence[str]:
        return self.warnings


class World:
    """The application on fakes, and a caller who has a token."""

    def __init__(
        self,
        *,
        public_endpoints: Sequence[str] = (),
        cors_origins: Sequence[str] = (),
        idle_timeout_s: float = 30.0,
        more: Sequence[Operation] = (),
        issuer_url: str = "",
        max_message_bytes: int = 1024,
    ) -> None:
        self.node = FakeNode()
        self.principals = FakePrincipals()
        self.catalog = FakeCatalog()
        self.telemetry = Telemetry(connection_quota=200)
        self.ready = True
        self.app: RestApp = build_app(
            self.node,
            self.principals,
            self.principals,
            self.catalog,
            self.telemetry,
            Server(endpoint=ENDPOINT, version="1.2.3", pid=4711, data_folder="/srv/hubwire", started_at=0.0),
            ready=lambda: self.ready,
            more=more,
            issuer_url=issuer_url,
            public_endpoints=public_endpoints,
            cors_origins=cors_origins,
            max_message_bytes=max_message_bytes,
            idle_timeout_s=idle_timeout_s,
        )

    async def call(
        self,
        method: str,
        target: str | bytes,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
        token: str | None = GOOD,
        state: Mapping[str, Any] | None = None,
        scope: Mapping[str, Any] | None = None,
    ) -> Reply:
        """A request with a token (None for none) and its answer."""
        lines = list(headers)
        if token is not None:
            lines.append(("Authorization", token))
        if content_type is not None:
            lines.append(("Content-Type", content_type))
        if body:
            lines.append(("Content-Length", str(len(body))))
        reply = await request(self.app, method, target, lines, (body,), state, scope)
        assert reply is not None
        return reply

    async def operate(self, method: str, target: str, document: object = None) -> Reply:
        """A request of the local operator, over the control socket."""
        body = b"" if document is None else json.dumps(document).encode()
        return await self.call(method, target, body=body, token=None, state={"control": True, "host": "localhost"})
