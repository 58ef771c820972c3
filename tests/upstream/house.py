"""A dispatcher with handlers, and one that comes after it."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from cloud_events import parsed_all
from doubles import HUB, MemoryJournal
from handlers import Upstream, handler
from hubwire.model.messages import Data, FromServer
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest
from hubwire.upstream.calls import Limits
from hubwire.upstream.cloudevents import ConnectVerdict
from hubwire.upstream.connecting import ConnectRequest
from hubwire.upstream.sources import EventSource

__all__ = ["House", "Restarted"]

TEXT = Data("text", b"hi")


class House(Upstream):
    """A dispatcher with one handler that is told everything, unless the test says something else."""

    def __init__(self, *handlers: dict[str, Any], limits: Limits | None = None) -> None:
        super().__init__(limits=limits)
        self.configure(HUB, *(handlers or (handler(),)))

    @staticmethod
    def source(connection_id: str = "c1", user_id: str | None = "u") -> EventSource:
        return EventSource(HUB, connection_id, "hub.example", user_id)

    async def connect(self, source: EventSource, wanted: Callable[[], bool] = lambda: True) -> ConnectVerdict:
        request = ConnectRequest({"sub": "u"}, (("q", "1"),), (("Host", "h"),), ("a", "b"), "a", (), wanted)
        return await self.dispatcher.connect(source, request)

    async def event(
        self, source: EventSource, event: str = "message", data: Data = TEXT, **more: Any
    ) -> FromServer | None:
        return await self.dispatcher.user_event(source, event, data, **more)

    def events(self) -> list[tuple[str, int]]:
        """Types and numbers of what was told."""
        return [(event.type, int(event.attributes["id"])) for event in parsed_all(self.webhook.events)]

    def counts(self, handler: str = "http://app.example/{hub}/{event}") -> dict[tuple[str, str], int]:
        return self.telemetry.handlers[(*HUB, handler)].events

    @property
    def journalled(self) -> list[dict[str, Any]]:
        """What would be there after a crash."""
        return [msgspec.json.decode(body) for body in self.journal.kept.values()]

    def hold(self) -> "asyncio.Event":
        """Let answers to events wait until this is set."""
        free = asyncio.Event()
        answers = self.webhook.answers

        async def held(request: OutgoingRequest) -> IncomingResponse:
            await free.wait()
            found = answers(request)
            assert isinstance(found, IncomingResponse)
            return found

        self.webhook.answers = held
        return free


class Restarted(House):
    """What comes after a process that ended without a word."""

    def __init__(self, before: House) -> None:
        super().__init__()
        self.journal = MemoryJournal(before.journal.kept)
        self.dispatcher._journal = self.journal
