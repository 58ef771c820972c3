"""
What stands in for event handlers and for what is asked on the way to them: one that answers as the test says, tokens
and secrets that are made up, a clock that obeys.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from doubles import Directory, Keys, MemoryJournal
from hubwire.adapters.cookies import HandlerCookies
from hubwire.model.errors import Refused
from hubwire.model.hubs import HubSettings
from hubwire.model.identities import ManagedIdentity
from hubwire.model.names import HubKey
from hubwire.model.telemetry import Telemetry
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.upstream.calls import Caller, Limits
from hubwire.upstream.dispatcher import Dispatcher
from hubwire.upstream.validation import Validator

__all__ = [
    "ALLOWED",
    "IDENTITY",
    "NOTHING",
    "FakeSecrets",
    "FakeTokens",
    "FakeWebhook",
    "Upstream",
    "answer",
    "handler",
    "handling",
]

ALLOWED = IncomingResponse(200, (("WebHook-Allowed-Origin", "*"),))
NOTHING = IncomingResponse(204)
IDENTITY = ManagedIdentity("SystemAssigned", "/r", "/r", "11111111-1111-1111-1111-111111111111", "c" * 8)

Answer = IncomingResponse | WebhookFailed
Answers = Callable[[OutgoingRequest], Answer | Awaitable[Answer]]


def answer(status: int = 200, body: object = None, **headers: str) -> IncomingResponse:
    """A response; underscores in names of headers are hyphens, and anything but bytes is JSON."""
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if body is not None and not isinstance(body, bytes):
        body = msgspec.json.encode(body)
        fields.append(("Content-Type", "application/json"))
    return IncomingResponse(status, tuple(fields), body or b"")


def handler(url: str = "http://app.example/{hub}/{event}", **settings: Any) -> dict[str, Any]:
    """Settings of one that is told everything but memberships, unless they say something else."""
    return {
        "urlTemplate": url,
        "userEventPattern": "*",
        "systemEvents": ["connect", "connected", "disconnected"],
        **settings,
    }


def handling(*handlers: Mapping[str, Any], **more: Any) -> HubSettings:
    """Settings of a hub."""
    return HubSettings(event_handlers=tuple(map(dict, handlers)), **more)


class FakeWebhook:
    """
    Every event handler.

    Attributes:
        requests: in order.
        answers: what it says to events.
        validation: what it says to validations.
        tunnelled: requests that came by a tunnel, with their hubs.
    """

    def __init__(self) -> None:
        self.requests: list[OutgoingRequest] = []
        self.tunnelled: list[tuple[HubKey, OutgoingRequest]] = []
        self.answers: Answers = lambda _: NOTHING
        self.validation: Answers = lambda _: ALLOWED

    async def send(self, request: OutgoingRequest, timeout_s: float) -> IncomingResponse:
        self.requests.append(request)
        return await self._answer(self.answers if request.method == "POST" else self.validation, request)

    async def send_by_tunnel(self, hub: HubKey, request: OutgoingRequest, timeout_s: float) -> IncomingResponse:
        self.tunnelled.append((hub, request))
        return await self._answer(self.answers, request)

    @staticmethod
    async def _answer(answers: Answers, request: OutgoingRequest) -> IncomingResponse:
        found = answers(request)
        if not isinstance(found, IncomingResponse | WebhookFailed):
            found = await found
        if isinstance(found, WebhookFailed):
            raise found
        return found

    def say(self, *answers: Answer) -> None:
        """Answer events so, one after the other, and the last of it for ever."""
        left = list(answers)
        self.answers = lambda _: left.pop(0) if len(left) > 1 else left[0]

    @property
    def events(self) -> list[OutgoingRequest]:
        """Of the requests, those that are no validations."""
        return [request for request in self.requests if request.method == "POST"]

    @property
    def told(self) -> list[str]:
        """The types of these events."""
        return [dict(request.headers)["ce-type"] for request in self.events]


class _Tunnels:
    def __init__(self, webhook: FakeWebhook) -> None:
        self.send = webhook.send_by_tunnel


class FakeTokens:
    """
    Tokens that say what they are for.

    Attributes:
        generation: raised by a refresh.
        failure: raised instead.
    """

    def __init__(self) -> None:
        self.generation = 1
        self.failure: Refused | None = None
        self.refreshed: list[str] = []

    async def token(self, audience: str, identity: ManagedIdentity) -> str:
        if self.failure is not None:
            raise self.failure
        return f"{audience} {identity.client_id} {self.generation}"

    async def refresh(self, audience: str, identity: ManagedIdentity, token: str) -> str:
        self.refreshed.append(token)
        self.generation += 1
        return await self.token(audience, identity)


class FakeSecrets:
    """
    Attributes:
        values: by identifier.
        renewed: the values that a second look finds.
    """

    def __init__(self) -> None:
        self.values: dict[str, str | Refused] = {}
        self.renewed: dict[str, str] = {}
        self.refreshed: list[str] = []

    async def value(self, uri: str, identity: ManagedIdentity) -> str:
        found = self.values[uri]
        if isinstance(found, Refused):
            raise found
        return found

    async def refresh(self, uri: str, identity: ManagedIdentity) -> None:
        self.refreshed.append(uri)
        self.values.update(self.renewed)


class Upstream:
    """
    A dispatcher among doubles.

    Attributes:
        caller: of the dispatcher.
        pauses: seconds that were waited between attempts, which took no time.
        now: seconds since 1970.
        monotonic: seconds of another clock.
    """

    def __init__(
        self,
        directory: Directory | None = None,
        limits: Limits | None = None,
        quota: int = 100,
        journal: MemoryJournal | None = None,
    ) -> None:
        self.directory = directory or Directory()
        self.webhook = FakeWebhook()
        self.tokens = FakeTokens()
        self.secrets = FakeSecrets()
        self.journal = journal or MemoryJournal()
        self.telemetry = Telemetry(quota)
        self.pauses: list[float] = []
        self.now = 1_700_000_000.5
        self.monotonic = 1000.0
        self.limits = limits or Limits()
        self.validator = Validator(lambda: self.monotonic)
        self.caller = Caller(
            self.webhook,
            _Tunnels(self.webhook),
            self.validator,
            self.tokens,
            self.secrets,
            self.limits,
            self._pause,
        )
        self.dispatcher = Dispatcher(
            self.directory,
            Keys(),
            self.caller,
            self.journal,
            self.telemetry,
            self.limits,
            HandlerCookies,
            lambda: self.now,
        )

    def configure(self, hub: HubKey, *handlers: Mapping[str, Any], **more: Any) -> None:
        """Give a hub these handlers."""
        self.directory.hubs[hub] = handling(*handlers, **more)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def headers(self, position: int = -1) -> dict[str, str]:
        """Headers of an event."""
        return dict(self.webhook.events[position].headers)

    def bodies(self) -> Sequence[Any]:
        """Bodies of the events, as JSON."""
        return [msgspec.json.decode(request.body) for request in self.webhook.events]
