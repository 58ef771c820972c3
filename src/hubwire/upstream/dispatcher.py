"""
Tells event handlers of connections: which of them, in what order, and what their answers mean.

`connect` and user events are waited for by one client and by nobody else. All others are notifications: they go out in
the order of their connection, and their answers are only looked at for the log.

Sources: the service's pages on event handlers and its CloudEvents reference; its emulator for order, state and cookies.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from hubwire.model.errors import EventUndelivered, NotFound, NotStored
from hubwire.model.messages import NO_METADATA, Data, FromServer
from hubwire.model.names import HubKey
from hubwire.model.ports import Cookies, HubDirectory, Journal, KeyDirectory
from hubwire.model.telemetry import HandlerCounters, Telemetry
from hubwire.model.webhooks import IncomingResponse
from hubwire.time_limit import TimeLimit
from hubwire.upstream import cloudevents, records
from hubwire.upstream.calls import Caller, EventFailed, Limits
from hubwire.upstream.cloudevents import JSON, BadResponse, ClientCertificate, ConnectVerdict, EventKind
from hubwire.upstream.handlers import Handler, HandlersOf, Presence, SystemEvent
from hubwire.upstream.lanes import Lane
from hubwire.upstream.sources import EventSource, JournalledSource
from hubwire.upstream.validation import NotValidated

__all__ = ["ConnectRefused", "ConnectRequest", "Dispatcher", "NoHandler"]

_log: Final = logging.getLogger("hubwire.upstream")

_T = TypeVar("_T")

_JOURNAL: Final = "connection"
_MOST_NOTIFICATIONS: Final = 100_000
"""That wait for all handlers together."""
_AFTER_A_CRASH: Final = 2147483647
"""Number of an event that is told after a crash: higher than any that the connection had, and the same each time."""
_RETELL_S: Final = (10.0, 30.0, *(60.0,) * 60)
"""Pauses before a handler that could not be reached is told the end of a connection again: for an hour."""
_CRASHED: Final = "The server ended unexpectedly."


class NoHandler(EventUndelivered):
    """No event handler takes events of this name."""


class ConnectRefused(Exception):  # noqa: N818
    """
    A handler does not want a client.

    Attributes:
        status: 400 to 499.
        body: of its answer; may hold what is not for clients.
        content_type: of the body.
    """

    def __init__(self, status: int, body: bytes, content_type: str) -> None:
        super().__init__(str(status))
        self.status = status
        self.body = body
        self.content_type = content_type


class ConnectRequest(Struct, frozen=True):
    """
    What a `connect` event says of a client.

    Attributes:
        query: without the token.
        headers: in their spelling, without credentials.
        subprotocols: that it offers.
        subprotocol: that it gets unless the handler names another one.
        certificates: None where one was asked for and none was shown.
        wanted: is the client still there.
    """

    claims: Mapping[str, Any]
    query: Sequence[tuple[str, str]]
    headers: Sequence[tuple[str, str]]
    subprotocols: Sequence[str]
    subprotocol: str | None
    certificates: Sequence[ClientCertificate] | None
    wanted: Callable[[], bool]


class Dispatcher:
    """
    Event handlers of one node.

    Args:
        keys: that sign events.
        new_cookies: a connection's, once a handler sets one.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        directory: HubDirectory,
        keys: KeyDirectory,
        caller: Caller,
        journal: Journal,
        telemetry: Telemetry,
        limits: Limits,
        new_cookies: Callable[[], Cookies],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._keys = keys
        self._caller = caller
        self._journal = journal
        self._telemetry = telemetry
        self._limits = limits
        self._new_cookies = new_cookies
        self._clock = clock
        self._lanes: dict[tuple[HubKey, str], Lane] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._notifications = 0
        self._working: dict[asyncio.Task[None], str] = {}
        self._postponed: dict[EventSource, asyncio.TimerHandle] = {}
        self._draining = False
        self.handlers_of = HandlersOf(directory)

    # What clients wait for.

    def handles(self, hub: HubKey, event: SystemEvent) -> bool:
        """Is anybody told of this."""
        return self.handlers_of(hub).system(event) is not None

    async def connect(self, source: EventSource, request: ConnectRequest) -> ConnectVerdict:
        """
        Ask whether a client may connect. If it may, the handler will be told of its end, whatever happens.

        Raises:
            ConnectRefused: it may not.
            EventUndelivered: the handler did not answer as it should.
        """
        handler = self.handlers_of(source.hub).system("connect")
        if handler is None:
            raise NoHandler("No event handler is told of connect.")
        body = cloudevents.connect_body(
            request.claims, request.query, request.headers, request.subprotocols, request.certificates
        )
        working = self._settled(self._connect(handler, source, body, request))
        # Whoever asked may be gone by the time there is an answer; the answer is heard all the same.
        return await asyncio.shield(working)

    async def _connect(
        self, handler: Handler, source: EventSource, body: bytes, request: ConnectRequest
    ) -> ConnectVerdict:
        response = await self._blocking(handler, source, "sys", "connect", 0, JSON, body, request.wanted)
        lane = self.lane(source.hub, handler)
        if not response.succeeded:
            outcome = "refused" if 400 <= response.status <= 499 else "failed"
            lane.counters.count("connect", outcome)
            if outcome == "failed":
                raise self._failed(handler, source, "connect", _unexpected(response))
            records.refused(source, handler, response.status)
            raise ConnectRefused(
                response.status, response.body, response.last("content-type") or "application/octet-stream"
            )
        # From here on the handler takes the client for connected, so it hears of its end.
        try:
            state = cloudevents.read_state(response, self._limits.state_bytes)
            verdict = cloudevents.read_verdict(response.body, request.subprotocols)
        except BadResponse as error:
            lane.counters.count("connect", "failed")
            self.disconnected(source, "The answer to connect cannot be used.")
            raise self._failed(handler, source, "connect", str(error)) from error
        source.state = state
        if verdict.user_id is not None:
            source.user_id = verdict.user_id or None
        source.subprotocol = verdict.subprotocol or request.subprotocol
        lane.counters.count("connect", "succeeded")
        await self._journalled(source)
        return verdict

    def handles_user_event(self, hub: HubKey, event: str) -> bool:
        """Is anybody told of user events of this name."""
        if self.handlers_of(hub).user(event) is not None:
            return True
        records.nobody(hub, event)
        return False

    async def user_event(
        self,
        source: EventSource,
        event: str,
        data: Data,
        metadata: Mapping[str, str] = NO_METADATA,
        wanted: Callable[[], bool] = lambda: True,
    ) -> FromServer | None:
        """
        A client's event.

        Returns:
            the message that the handler answers to the client, if any.

        Raises:
            NoHandler: nobody is told of it.
            EventUndelivered: the handler did not take it.
        """
        handler = self.handlers_of(source.hub).user(event)
        if handler is None:
            raise NoHandler("No event handler is configured for this event.")
        if any(map(cloudevents.breaks_header, metadata.values())):
            self.lane(source.hub, handler).counters.count("user", "failed")
            raise self._failed(handler, source, event, "the event's metadata has a line break")
        content_type = cloudevents.CONTENT_TYPES[data.kind]
        response = await self._blocking(
            handler, source, "user", event, source.next_id(), content_type, data.body, wanted, metadata
        )
        counters = self.lane(source.hub, handler).counters
        if not response.succeeded:
            counters.count("user", "failed")
            raise self._failed(handler, source, event, _unexpected(response))
        try:
            state = cloudevents.read_state(response, self._limits.state_bytes)
            answer = cloudevents.read_answer(response)
        except BadResponse as error:
            counters.count("user", "failed")
            raise self._failed(handler, source, event, str(error)) from error
        if state is not None and state != source.state:
            source.state = state
            if source.journalled:
                self._note(source)
        counters.count("user", "succeeded")
        return answer

    async def _blocking(
        self,
        handler: Handler,
        source: EventSource,
        kind: EventKind,
        event: str,
        event_id: int,
        content_type: str,
        body: bytes,
        wanted: Callable[[], bool],
        metadata: Mapping[str, str] = NO_METADATA,
    ) -> IncomingResponse:
        """
        An event that a client waits for.

        Raises:
            EventUndelivered: no answer came, or not in time.
        """
        try:
            with TimeLimit(self._limits.blocking_s):
                return await self._send(
                    handler,
                    source,
                    kind,
                    event,
                    event_id,
                    content_type,
                    body,
                    metadata,
                    urgent=True,
                    wanted=wanted,
                )
        except TimeoutError:
            reason = f"no answer within {self._limits.blocking_s:g} s, all attempts together (blocking_event_s)"
            failure: EventUndelivered = EventFailed(reason)
        except EventUndelivered as error:
            failure = error
        self.lane(source.hub, handler).counters.count("connect" if kind == "sys" else "user", "failed")
        raise self._failed(handler, source, event, failure.message) from failure

    # What nobody waits for.

    def connected(self, source: EventSource) -> None:
        """A client is in."""
        if self.handles(source.hub, "connected"):
            self._notify(source, "sys", "connected", lambda: b"{}")
        if not source.journalled and self.handles(source.hub, "disconnected"):
            source.journalled = True
            self._note(source)

    def disconnected(self, source: EventSource, reason: str | None) -> None:
        """A connection has ended for good, or never came to be although a handler had accepted it."""
        event_id = source.next_id()
        self._told_end(source, reason, event_id)

    def presence(self, source: EventSource, event: Presence, group: str, *, bounded: bool = True) -> None:
        """
        A connection has entered or left a group.

        Args:
            bounded: so many of these of one connection may wait as events of a handler may.
        """
        handler = self.handlers_of(source.hub).presence(event, group)
        if handler is None:
            return
        lane = self.lane(source.hub, handler)
        if bounded and len(source.waiting) >= self._limits.waiting:
            lane.counters.count(event, "failed")
            self._failed(handler, source, event, "too many events of this connection wait (handler_waiting)")
            return
        self._notify(source, "gp", event, lambda: cloudevents.presence_body(group), group)

    def is_told_presence(self, hub: HubKey) -> bool:
        """Is anybody told who enters and leaves groups of a hub."""
        return self.handlers_of(hub).has_presence

    def _told_end(self, source: EventSource, reason: str | None, event_id: int) -> None:
        if not self.handles(source.hub, "disconnected"):
            self._forget(source)
            return
        source.ended = (event_id, reason)
        self._tell_end(source)

    def _tell_end(self, source: EventSource) -> None:
        assert source.ended is not None, "there is an end to tell"
        event_id, reason = source.ended
        self._postponed.pop(source, None)
        if source.journalled:
            self._note(source)
        self._enqueue(
            source,
            lambda: self._tell(
                source, "sys", "disconnected", event_id, lambda: cloudevents.disconnected_body(reason), None
            ),
        )

    def _notify(
        self, source: EventSource, kind: EventKind, event: str, body: Callable[[], bytes], group: str | None = None
    ) -> None:
        event_id = source.next_id()
        self._enqueue(source, lambda: self._tell(source, kind, event, event_id, body, group))

    def _enqueue(self, source: EventSource, tell: Callable[[], Awaitable[None]]) -> None:
        if self._notifications >= _MOST_NOTIFICATIONS:
            _log.error("a notification of connection %s is dropped: too many wait", source.connection_id)
            return
        self._notifications += 1
        source.waiting.append(tell)
        if len(source.waiting) == 1:
            task = self._settled(self._work(source))
            self._working[task] = source.hub.resource
            task.add_done_callback(self._working.pop)

    async def _work(self, source: EventSource) -> None:
        """All notifications of one connection, in order."""
        waiting = source.waiting
        while waiting:
            try:
                await waiting[0]()
            finally:
                del waiting[0]
                self._notifications -= 1

    async def _tell(
        self,
        source: EventSource,
        kind: EventKind,
        event: str,
        event_id: int,
        body: Callable[[], bytes],
        group: str | None,
    ) -> None:
        """One notification, told to whoever is to be told of it by now."""
        handlers = self.handlers_of(source.hub)
        handler = (
            handlers.presence(event, group)  # type: ignore[arg-type]
            if group is not None
            else handlers.system(event)  # type: ignore[arg-type]
        )
        if handler is not None:
            counters = self.lane(source.hub, handler).counters
            try:
                response = await self._send(
                    handler,
                    source,
                    kind,
                    event,
                    event_id,
                    JSON,
                    body(),
                    NO_METADATA,
                    urgent=False,
                    wanted=lambda: True,
                )
            except EventUndelivered as error:
                counters.count(event, "failed")
                self._failed(handler, source, event, error.message)
                if event == "disconnected" and _is_unreached(error) and self._postpone(source):
                    return
            except Exception:
                counters.count(event, "failed")
                _log.exception("an event could not be told")
            else:
                counters.count(event, "succeeded" if response.succeeded else "failed")
                if not response.succeeded:
                    self._failed(handler, source, event, _unexpected(response))
        if event == "disconnected":
            self._forget(source)

    # One event.

    async def _send(
        self,
        handler: Handler,
        source: EventSource,
        kind: EventKind,
        event: str,
        event_id: int,
        content_type: str,
        body: bytes,
        metadata: Mapping[str, str],
        *,
        urgent: bool,
        wanted: Callable[[], bool],
    ) -> IncomingResponse:
        lane = self.lane(source.hub, handler)
        try:
            signature = source.signature(self._keys.access_keys(source.hub.resource), cloudevents.sign)
            identity = self._directory.policy(source.hub.resource).identity
        except NotFound as error:
            raise EventFailed("The resource is gone.") from error
        random = secrets.token_hex(39)
        headers = cloudevents.event_headers(
            source,
            kind,
            event,
            event_id,
            content_type,
            now=self._clock(),
            signature=signature,
            request_id=f"{random[:8]}-{random[8:12]}-4{random[12:15]}-a{random[15:18]}-{random[18:30]}",
            trace=f"00-{random[30:62]}-{random[62:78]}-01",
            metadata=metadata,
        )
        with lane.admitted() if urgent else nullcontext():
            url, response = await self._caller.call(
                source.hub,
                event,
                handler,
                lane,
                identity,
                source.origin,
                headers,
                body,
                source.cookies,
                urgent=urgent,
                wanted=wanted,
            )
        if response.succeeded and (lines := response.all("set-cookie")):
            if source.cookies is None:
                source.cookies = self._new_cookies()
            source.cookies.keep(url, lines)
        return response

    def lane(self, hub: HubKey, handler: Handler) -> Lane:
        """Through which all calls of a handler go."""
        key = (hub, handler.template.shown)
        lane = self._lanes.get(key)
        if lane is None:
            counters = self._telemetry.handlers.setdefault((*hub, handler.template.shown), HandlerCounters())
            lane = self._lanes[key] = Lane(self._limits.in_flight, self._limits.waiting, counters)
        return lane

    def _failed(self, handler: Handler, source: EventSource, event: str, reason: str) -> EventFailed:
        records.failed(source, handler, event, reason)
        self.lane(source.hub, handler).counters.failure = (time.monotonic(), reason)
        return EventFailed(reason)

    # The journal.

    async def _journalled(self, source: EventSource) -> None:
        """A handler has accepted a client: before that is let in, its end is sure to be told."""
        if not self.handles(source.hub, "disconnected"):
            return
        source.journalled = True
        try:
            await self._note(source)
        except NotStored as error:
            # It is let in all the same, and told of if this process lives on.
            _log.error("an accepted connection is not in the journal: %s", error.message)

    def _note(self, source: EventSource) -> Awaitable[None]:
        return self._journal.put(_JOURNAL, _key(source), msgspec.json.encode(source.journal_entry()))

    def _forget(self, source: EventSource) -> None:
        if source.journalled:
            source.journalled = False
            self._journal.remove(_JOURNAL, _key(source))

    async def recover(self) -> int:
        """
        Tell the end of connections whose handlers were not told it before the process ended.

        Returns:
            how many.
        """
        entries = await self._journal.entries(_JOURNAL)
        for key, body in entries:
            try:
                entry = msgspec.json.decode(body, type=JournalledSource)
            except msgspec.MsgspecError:
                _log.error("an entry of the journal is damaged and left out")
                self._journal.remove(_JOURNAL, key)
                continue
            hub = HubKey(entry.resource, entry.hub)
            source = EventSource(hub, entry.connection_id, entry.origin, entry.user_id, entry.subprotocol)
            source.state = entry.state
            source.journalled = True
            event_id = _AFTER_A_CRASH if entry.event_id is None else entry.event_id
            reason = _CRASHED if entry.event_id is None else entry.reason
            self._told_end(source, reason, event_id)
        return len(entries)

    def _postpone(self, source: EventSource) -> bool:
        """
        Tell the end of a connection later, as its handler could not be reached; it stays in the journal until then.
        False if that was tried for long enough.
        """
        if not source.journalled or source.postponed >= len(_RETELL_S):
            return False
        if not self._draining and len(self._postponed) < _MOST_NOTIFICATIONS:  # else it is told at the next start
            pause_s = _RETELL_S[source.postponed]
            source.postponed += 1
            self._postponed[source] = asyncio.get_running_loop().call_later(pause_s, self._tell_end, source)
        return True

    # The end.

    def watch(self, task: "asyncio.Task[Any]") -> None:
        """Wait for this, too, before all is told."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _settled(self, work: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
        task = asyncio.get_running_loop().create_task(work)
        self.watch(task)
        return task

    async def settle(self, resource: str, seconds: float) -> None:
        """Wait for what is still to be told of connections of a resource, which is about to be deleted."""
        working = [task for task, whose in self._working.items() if whose == resource]
        if working:
            await asyncio.wait(working, timeout=seconds)

    async def drain(self, seconds: float) -> int:
        """
        Wait for what is still to be told.

        Returns:
            how many connections' events were given up; their ends are told at the next start.
        """
        self._draining = True
        for timer in self._postponed.values():
            timer.cancel()
        end = asyncio.get_running_loop().time() + seconds
        while self._tasks:
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await asyncio.wait(set(self._tasks), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        late = set(self._tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late) + len(self._postponed)


def _key(source: EventSource) -> str:
    return f"{source.hub.resource}/{source.hub.hub}/{source.connection_id}"


def _is_unreached(error: EventUndelivered) -> bool:
    """Has the handler not heard of an event, as far as we can tell."""
    return error.unreached if isinstance(error, EventFailed) else isinstance(error, NotValidated) and not error.answered


def _unexpected(response: IncomingResponse) -> str:
    """Never its body, which may hold anything."""
    if 300 <= response.status <= 399:
        return f"HttpHandlerUnexpectedResponse: the handler answered {response.status}; redirects are not followed"
    return f"HttpHandlerUnexpectedResponse: the handler answered {response.status}"
