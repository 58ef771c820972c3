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
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
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
from hubwire.upstream import cloudevents, mqtt_events, records
from hubwire.upstream.backlog import Backlog
from hubwire.upstream.calls import Caller, Decided, EventFailed, Limits, Wanted, never
from hubwire.upstream.cloudevents import JSON, BadResponse, ConnectVerdict, EventKind
from hubwire.upstream.connecting import ConnectRefused, ConnectRequest
from hubwire.upstream.handlers import Handler, HandlersOf, Presence, SystemEvent
from hubwire.upstream.lanes import Lane
from hubwire.upstream.sources import Ended, EventSource, JournalledSource, MqttEnding
from hubwire.upstream.validation import NotValidated

__all__ = ["ConnectRefused", "ConnectRequest", "Dispatcher", "NoHandler"]

_log: Final = logging.getLogger("hubwire.upstream")

_T = TypeVar("_T")

_JOURNAL: Final = "connection"
_MOST_POSTPONED: Final = 100_000
"""Ends that are told later; what is more waits for the next start."""
_AFTER_A_CRASH: Final = 2147483647
"""Number of an event that is told after a crash: higher than any that the connection had, and the same each time."""
_RETELL_S: Final = (10.0, 30.0, *(60.0,) * 60)
"""Pauses before a handler that could not be reached is told the end of a connection again: for an hour."""
_CRASHED: Final = "The server ended unexpectedly."


class NoHandler(EventUndelivered):
    """No event handler takes events of this name."""


class _Event(Struct, frozen=True):
    """
    One event, as it is sent at each attempt.

    Attributes:
        number: of its connection's events.
        more: headers that it has besides.
    """

    kind: EventKind
    name: str
    number: int
    content_type: str
    body: bytes
    metadata: Mapping[str, str] = NO_METADATA
    more: Sequence[tuple[str, str]] = ()


class Dispatcher:
    """
    Event handlers of one node.

    Args:
        keys: that sign events.
        new_cookies: a connection's, once a handler sets one.
        clock: seconds since 1970.

    Attributes:
        on_state: told of each connection to which the answer to an event gave another state.
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
        self._backlog = Backlog()
        self._postponed: dict[EventSource, asyncio.TimerHandle] = {}
        self._draining = False
        self._adopted: set[str] = set()
        self.handlers_of = HandlersOf(directory)
        self.on_state: Callable[[EventSource], None] = lambda _source: None

    # What clients wait for.

    def handles(self, hub: HubKey, event: SystemEvent) -> bool:
        """Is anybody told of this."""
        return self.handlers_of(hub).system(event) is not None

    async def connect(self, source: EventSource, request: ConnectRequest) -> ConnectVerdict:
        """
        Ask whether a client may connect. If it may, the handler will be told of its end, whatever happens; but that of
        an MQTT client only once it is in, see `connected`.

        Raises:
            ConnectRefused: it may not.
            EventUndelivered: the handler did not answer, or not as it should.
        """
        handler = self.handlers_of(source.hub).system("connect")
        if handler is None:
            raise NoHandler("No event handler is told of connect.")
        working = self._backlog.start(self._connect(handler, source, request))
        # Whoever asked may be gone by the time there is an answer; the answer is heard all the same.
        return await asyncio.shield(working)

    async def _connect(self, handler: Handler, source: EventSource, request: ConnectRequest) -> ConnectVerdict:
        event = _Event("sys", "connect", 0, JSON, request.body())
        response = await self._blocking(handler, source, event, request.wanted, request.is_refused_by_code)
        if not response.succeeded:
            raise self._not_accepted(handler, source, request, response)
        # From here on the handler takes the client for connected, so it hears of its end; of an MQTT client once its
        # session has begun.
        source.only_asked = request.mqtt is not None
        counters = self.lane(source.hub, handler).counters
        try:
            state = cloudevents.read_state(response, self._limits.state_bytes)
            verdict = request.verdict(response)
        except BadResponse as error:
            counters.count("connect", "failed")
            self.disconnected(source, "The answer to connect cannot be used.")
            raise self._failed(handler, source, "connect", str(error)) from error
        # Also where an MQTT client was asked about with the state of a session: that has its own by now, see `resumed`,
        # and one that begins instead has none.
        source.state = state
        if verdict.user_id is not None:
            source.user_id = verdict.user_id or None
        source.subprotocol = verdict.subprotocol or request.subprotocol
        counters.count("connect", "succeeded")
        if not source.only_asked:
            await self._journalled(source)
        return verdict

    def _not_accepted(
        self, handler: Handler, source: EventSource, request: ConnectRequest, response: IncomingResponse
    ) -> ConnectRefused | EventFailed:
        """What is to be raised after an answer that is no success."""
        counters = self.lane(source.hub, handler).counters
        if request.is_refused(response):
            counters.count("connect", "refused")
            records.refused(source, handler, response.status)
            return request.refusal(response)
        counters.count("connect", "failed")
        failure = self._failed(handler, source, "connect", _unexpected(response))
        return failure if request.mqtt is None else request.refusal(response)

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
        *,
        invoked: bool = False,
    ) -> FromServer | None:
        """
        A client's event. Whoever cancels this abandons the call of the handler that is under way.

        Args:
            invoked: by an invocation, which has a time of its own.

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
            raise self._user_failed(handler, source, event, "the event's metadata has a line break")
        content_type = cloudevents.CONTENT_TYPES[data.kind]
        sent = _Event("user", event, source.next_id(), content_type, data.body, metadata)
        response = await self._blocking(handler, source, sent, wanted, invoked=invoked)
        if not response.succeeded:
            raise self._user_failed(handler, source, event, _unexpected(response))
        return self._taken(handler, source, event, response, cloudevents.read_answer)

    async def mqtt_event(
        self,
        source: EventSource,
        event: str,
        content_type: str,
        body: bytes,
        user_properties: Sequence[tuple[str, str]] = (),
        wanted: Wanted = lambda: True,
    ) -> IncomingResponse:
        """
        An MQTT client's event.

        Args:
            event: any text but an empty one.

        Returns:
            the handler's answer, whatever its status.

        Raises:
            NoHandler: nobody is told of it.
            EventUndelivered: there was no answer, or one that cannot be used.
        """
        # As the last part of a URL these two would lead elsewhere.
        handler = None if event in (".", "..") else self.handlers_of(source.hub).user(event)
        if handler is None:
            raise NoHandler("No event handler is configured for this event.")
        if not mqtt_events.is_sendable_type(content_type):
            raise self._user_failed(handler, source, event, "the event's content type cannot be sent")
        more = mqtt_events.property_headers(user_properties)
        sent = _Event("user", event, source.next_id(), content_type, body, more=more)
        response = await self._blocking(handler, source, sent, wanted)
        if not response.succeeded:
            self._user_failed(handler, source, event, _unexpected(response))
            return response
        return self._taken(handler, source, event, response, lambda answer: answer)

    def _taken(
        self,
        handler: Handler,
        source: EventSource,
        event: str,
        response: IncomingResponse,
        read: Callable[[IncomingResponse], _T],
    ) -> _T:
        """
        What a success of a user event means; the state of its connection becomes what it says.

        Raises:
            EventUndelivered: it cannot mean anything.
        """
        try:
            state = cloudevents.read_state(response, self._limits.state_bytes)
            answer = read(response)
        except BadResponse as error:
            raise self._user_failed(handler, source, event, str(error)) from error
        if state is not None and state != source.state:
            source.state = state
            if source.journalled:
                self._note(source)
            self.on_state(source)
        self.lane(source.hub, handler).counters.count("user", "succeeded")
        return answer

    def _user_failed(self, handler: Handler, source: EventSource, event: str, reason: str) -> EventFailed:
        self.lane(source.hub, handler).counters.count("user", "failed")
        return self._failed(handler, source, event, reason)

    async def _blocking(
        self,
        handler: Handler,
        source: EventSource,
        event: _Event,
        wanted: Wanted,
        decided: Decided = never,
        *,
        invoked: bool = False,
    ) -> IncomingResponse:
        """
        An event that a client waits for.

        Raises:
            EventUndelivered: no answer came, or not in time.
        """
        limits = self._limits
        seconds, setting = (
            (limits.invocation_s, "invocation_timeout_s") if invoked else (limits.blocking_s, "blocking_event_s")
        )
        counters = self.lane(source.hub, handler).counters
        counted = "connect" if event.kind == "sys" else "user"
        try:
            with TimeLimit(seconds):
                return await self._send(handler, source, event, urgent=True, wanted=wanted, decided=decided)
        except TimeoutError:
            reason = f"no answer within {seconds:g} s, all attempts together ({setting})"
            failure: EventUndelivered = EventFailed(reason)
        except EventUndelivered as error:
            failure = error
        except asyncio.CancelledError:
            counters.count(counted, "abandoned")
            raise
        counters.count(counted, "failed")
        raise self._failed(handler, source, event.name, failure.message) from failure

    # What nobody waits for.

    def connected(self, source: EventSource) -> None:
        """A client is in. An MQTT client: a session of it has begun."""
        source.only_asked = False
        if self.handles(source.hub, "connected"):
            self._notify(source, "sys", "connected", lambda: b"{}")
        if not source.journalled and self.handles(source.hub, "disconnected"):
            source.journalled = True
            self._note(source)

    def resumed(self, source: EventSource, arrival: EventSource) -> None:
        """
        An MQTT client has come back to its session; nobody is told so besides by `connect`.

        Args:
            source: of the session; keeps what is not said anew.
            arrival: of its new socket, under which a handler was asked, or nobody was.
        """
        source.only_asked = False
        source.physical_id = arrival.physical_id
        source.cookies = arrival.cookies or source.cookies
        source.state = source.state if arrival.state is None else arrival.state
        if source.journalled:
            self._note(source)

    def disconnected(self, source: EventSource, reason: str | None, mqtt: MqttEnding | None = None) -> None:
        """
        A connection has ended for good, or never came to be although a handler had accepted it.

        Args:
            mqtt: how an MQTT session ended; handlers are not told of one that never came to be.
        """
        if not source.only_asked:
            source.ended = Ended(source.next_id(), reason, mqtt)
            self._told_end(source)

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

    def _told_end(self, source: EventSource) -> None:
        if self.handles(source.hub, "disconnected"):
            self._tell_end(source)
        else:
            self._forget(source)

    def _tell_end(self, source: EventSource) -> None:
        ended = source.ended
        assert ended is not None, "there is an end to tell"
        self._postponed.pop(source, None)
        if source.journalled:
            self._note(source)
        self._backlog.add(
            source,
            lambda: self._tell(
                source, "sys", "disconnected", ended.event_id, lambda: _disconnected_body(source, ended), None
            ),
        )

    def _notify(
        self, source: EventSource, kind: EventKind, event: str, body: Callable[[], bytes], group: str | None = None
    ) -> None:
        event_id = source.next_id()
        self._backlog.add(source, lambda: self._tell(source, kind, event, event_id, body, group))

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
                sent = _Event(kind, event, event_id, JSON, body())
                response = await self._send(handler, source, sent, urgent=False, wanted=lambda: True)
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
        event: _Event,
        *,
        urgent: bool,
        wanted: Wanted,
        decided: Decided = never,
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
            event.kind,
            event.name,
            event.number,
            event.content_type,
            now=self._clock(),
            signature=signature,
            request_id=f"{random[:8]}-{random[8:12]}-4{random[12:15]}-a{random[15:18]}-{random[18:30]}",
            trace=f"00-{random[30:62]}-{random[62:78]}-01",
            metadata=event.metadata,
            more=event.more,
        )
        with lane.admitted() if urgent else nullcontext():
            url, response = await self._caller.call(
                source.hub,
                event.name,
                handler,
                lane,
                identity,
                source.origin,
                headers,
                event.body,
                source.cookies,
                urgent=urgent,
                wanted=wanted,
                decided=decided,
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
        return self._journal.put(_JOURNAL, source.journal_key(), msgspec.json.encode(source.journal_entry()))

    def _forget(self, source: EventSource) -> None:
        if source.journalled:
            source.journalled = False
            self._journal.remove(_JOURNAL, source.journal_key())

    async def adopt(self, sources: Iterable[EventSource]) -> None:
        """These connections go on from an earlier process. Whose end is to be told, is told so when it comes."""
        known = {key for key, _ in await self._journal.entries(_JOURNAL)}
        for source in sources:
            key = source.journal_key()
            if key in known:
                source.journalled = True
                self._adopted.add(key)

    async def recover(self) -> int:
        """
        Tell the end of connections whose handlers were not told it before the process ended, but of those that go on.

        Returns:
            how many.
        """
        entries = [entry for entry in await self._journal.entries(_JOURNAL) if entry[0] not in self._adopted]
        self._adopted.clear()
        for key, body in entries:
            try:
                entry = msgspec.json.decode(body, type=JournalledSource)
            except msgspec.MsgspecError:
                _log.error("an entry of the journal is damaged and left out")
                self._journal.remove(_JOURNAL, key)
                continue
            source = EventSource.of(entry)
            source.ended = source.ended or Ended(_AFTER_A_CRASH, _CRASHED)
            self._told_end(source)
        return len(entries)

    def _postpone(self, source: EventSource) -> bool:
        """
        Tell the end of a connection later, as its handler could not be reached; it stays in the journal until then.
        False if that was tried for long enough.
        """
        if not source.journalled or source.postponed >= len(_RETELL_S):
            return False
        if not self._draining and len(self._postponed) < _MOST_POSTPONED:  # else it is told at the next start
            pause_s = _RETELL_S[source.postponed]
            source.postponed += 1
            self._postponed[source] = asyncio.get_running_loop().call_later(pause_s, self._tell_end, source)
        return True

    # The end.

    def watch(self, task: "asyncio.Task[Any]") -> None:
        """Wait for this, too, before all is told."""
        self._backlog.watch(task)

    async def settle(self, resource: str, seconds: float) -> None:
        """Wait for what is still to be told of connections of a resource, which is about to be deleted."""
        await self._backlog.settle(resource, seconds)

    async def drain(self, seconds: float) -> int:
        """
        Wait for what is still to be told.

        Returns:
            how many connections' events were given up; their ends are told at the next start.
        """
        self._draining = True
        for timer in self._postponed.values():
            timer.cancel()
        return await self._backlog.drain(seconds) + len(self._postponed)


def _disconnected_body(source: EventSource, ended: Ended) -> bytes:
    if source.physical_id is None:
        return cloudevents.disconnected_body(ended.reason)
    return mqtt_events.disconnected_body(ended.reason, ended.mqtt)


def _is_unreached(error: EventUndelivered) -> bool:
    """Has the handler not heard of an event, as far as we can tell."""
    return error.unreached if isinstance(error, EventFailed) else isinstance(error, NotValidated) and not error.answered


def _unexpected(response: IncomingResponse) -> str:
    """Never its body, which may hold anything."""
    if 300 <= response.status <= 399:
        return f"HttpHandlerUnexpectedResponse: the handler answered {response.status}; redirects are not followed"
    return f"HttpHandlerUnexpectedResponse: the handler answered {response.status}"
