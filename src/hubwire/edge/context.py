"""
What all fronts share: bounds, the HTTP server's configuration, one timer, and the end of them all.

The timer is one sweep over the open fronts, not a timer for each. A front writes a deadline into itself (one
assignment; `loop.call_later` with its cancellation is ten times that, for each state of each request), and a sweep
compares it: 0.3 ms for 10,000 fronts. Clients that became WebSockets are no fronts any more. The price is that a
deadline is seen up to a quarter of itself, at most one second, late.
"""

import asyncio
import logging
import math
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import formatdate
from typing import Any, Final, Protocol, TypeAlias

from uvicorn import Config
from uvicorn.server import ServerState

from hubwire.edge.answers import are_sayable, response
from hubwire.edge.proxies import TrustedProxies
from hubwire.edge.turnstile import Turnstile
from hubwire.model.http import RequestHead, WholeAnswer, WholeRequest
from hubwire.model.hubs import DEFAULT_RESOURCE
from hubwire.model.standstill import STOOD_STILL_S

__all__ = ["Answering", "Application", "FrontContext", "Gate", "Undecided", "Upgrade"]

Upgrade: TypeAlias = Callable[[RequestHead, asyncio.Transport, bytes], object | None]
"""
Takes over a client that asks to speak WebSocket: sets itself as the transport's protocol and returns it. The bytes
are what the client already sent after its head. None is a refusal: the answer (with `Connection: close`) is written,
and the front ends the connection. The transport is not paused. An `Undecided` is neither of them yet.
"""


class Undecided(ABC):
    """
    A client whose upgrade somebody else has a say in. Meanwhile the front keeps the transport, and what comes.

    Attributes:
        on_decided: called once, in a later turn, unless `leave` was.
    """

    def __init__(self) -> None:
        self.on_decided: Callable[[], None] = lambda: None

    @abstractmethod
    def finish(self, rest: bytes) -> object | None:
        """Now that it is decided, the same as `Upgrade`. `rest` is what the client has sent so far."""

    @abstractmethod
    def leave(self) -> None:
        """The client is gone."""


Application: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI 3 application. Of its scopes only "http" occurs; there is no lifespan."""

Answering: TypeAlias = Callable[[WholeRequest], Awaitable[WholeAnswer]]
"""The same application, for requests whose body is there: a value in, a value out."""

_log: Final = logging.getLogger("hubwire.edge")

_SLICE: Final = 200  # fronts ended in one turn: 10,000 at once would silence everybody else for 0.1 s and more
_HEADS_PER_TURN: Final = 32  # each costs up to 0.15 ms
_LAST_WORDS_S: Final = 1.0  # for cancelled requests to clean up in


class Gate(Protocol):
    """A front, as its context sees it."""

    deadline: float
    """Seconds on the monotonic clock; infinite while nobody is waited for."""

    resource: str | None
    """That its listener belongs to; None where the host says it."""

    def expire(self) -> None:
        """The deadline is over."""

    def retire(self) -> None:
        """End when nothing is in flight any more, at once if that is now."""

    def abort(self) -> None:
        """End at once, whatever is in flight."""


class FrontContext:
    """
    Shared by the fronts of all listeners of one server.

    Args:
        app: answers what is no upgrade. Its `scope["state"]` has `app_state` and, for each request: `host` (authority
            that the client asked for, lower-case), `scheme`, `client_ip` (these three by a trusted proxy's word, if
            there is one), `target` (path and query as sent; an empty query is seen only there), `sent_host` (the header
            as it came), `control` and `resource` (name).
        upgrade: see `Upgrade`.
        answering: answers requests whose body came with their head, or that have none, instead of `app`: what an HTTP
            server and ASGI do in between costs as much as a short operation. None: `app` answers all.
        max_head_bytes: of a request head, its empty line included; more is answered 431.
        head_timeout_s: from the first byte of a head to its end, and for the first byte of a new connection.
        idle_timeout_s: for the first byte of a later request; for each next byte of a body; for a client to take
            what it was sent.
        max_sockets: at once, those that became WebSockets included; one more is answered 503.
        upgraded: how many sockets the WebSocket side holds at the moment.
        trusted: proxies that are believed.
        certificate_header: in which they name the certificate that a client showed them.
        resource_of: name of the resource that a host belongs to.
        on_refused: hears of each answer that a front gives itself: status, reason (generic text) and address of the
            client (empty for peers of a Unix socket).

    Attributes:
        fronts: the open ones.
        date: header line of answers, with its end.
        heads: lets requests in, so many a turn.
        closing: no new request is taken any more.
        crowded_at: sockets that leave no descriptors for more. `on_crowded` is told when there are so many.
    """

    def __init__(
        self,
        app: Application,
        upgrade: Upgrade,
        *,
        answering: Answering | None = None,
        app_state: Mapping[str, Any] | None = None,
        max_head_bytes: int = 64 * 1024,
        head_timeout_s: float = 10.0,
        idle_timeout_s: float = 75.0,
        max_sockets: int = 120_000,
        upgraded: Callable[[], int] = lambda: 0,
        trusted: TrustedProxies | None = None,
        certificate_header: str | None = None,
        resource_of: Callable[[str], str] = lambda _host: DEFAULT_RESOURCE,
        on_refused: Callable[[int, str, str], None] = lambda _status, _reason, _client_ip: None,
    ) -> None:
        self._app = app
        self.upgrade = upgrade
        self.answering = answering
        self.app_state = dict(app_state or {})
        self.max_head_bytes = max_head_bytes
        self.head_timeout_s = head_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self.max_sockets = max_sockets
        self.upgraded = upgraded
        self.trusted = trusted if trusted is not None else TrustedProxies(())
        self.certificate_header = certificate_header.lower() if certificate_header else None
        self.resource_of = resource_of
        self._on_refused = on_refused
        self.config = Config(
            app=self._run,
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,  # set here, see _dated
            proxy_headers=False,
        )
        self.config.load()
        self.server_state = ServerState()
        self.fronts: set[Gate] = set()
        self._greeting: OrderedDict[Gate, float] = OrderedDict()
        self.heads = Turnstile(_HEADS_PER_TURN)
        self.closing = False
        self.crowded_at = math.inf
        self.on_crowded: Callable[[], None] = lambda: None
        self._period_s = min(1.0, max(0.02, min(head_timeout_s, idle_timeout_s) / 4))
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0
        self._emptied = asyncio.Event()
        self._second = 0
        self.date = ""

    @property
    def full(self) -> bool:
        """Are there as many sockets as there may be."""
        return len(self.fronts) + self.upgraded() >= self.max_sockets

    @property
    def crowded(self) -> bool:
        """Are there as many sockets as there are descriptors for."""
        return self.sockets >= self.crowded_at

    @property
    def sockets(self) -> int:
        """All that were accepted and are still there, those that have not shaken hands yet included."""
        now = time.monotonic()
        while self._greeting and next(iter(self._greeting.values())) < now:
            self._greeting.popitem(last=False)
        return len(self.fronts) + self.upgraded() + len(self._greeting)

    def expect(self, front: Gate, seconds: float) -> None:
        """
        A socket was accepted whose front is open once hands are shaken, which takes `seconds` at most. Nobody tells us
        if that fails, so it counts for that long.
        """
        self._greeting[front] = time.monotonic() + seconds
        if self.crowded:
            # Not at once: the listener that has accepted it must not be closed while it does.
            asyncio.get_running_loop().call_soon(self.on_crowded)

    def add(self, front: Gate) -> None:
        """A front is open from now on. Repeating it is harmless."""
        self._greeting.pop(front, None)
        self.fronts.add(front)
        if self.crowded:
            self.on_crowded()
        if self._sweeper is None:
            self._sweep_at = time.monotonic()
            self._sweep()

    def discard(self, front: Gate) -> None:
        """A front is closed, or another protocol has its place. Repeating it is harmless."""
        self.fronts.discard(front)
        if self.closing and not self.fronts:
            self._emptied.set()

    def refusal(self, status: int, reason: str, client_ip: str, *, with_body: bool = True) -> bytes:
        """
        A whole answer of the front itself, after which the connection ends; `on_refused` hears of it.

        Args:
            with_body: false answers HEAD, with the length that the body would have.
        """
        self._on_refused(status, reason, client_ip)
        self._dated()
        body = reason.encode() + b"\n"
        headers = (("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body))))
        return response(WholeAnswer(status, headers, body), self.date, last=True, with_body=with_body)

    def ask(self, request: WholeRequest, answered: Callable[[WholeAnswer | None], None]) -> None:
        """
        Let the application answer a request.

        Args:
            answered: hears what, in a later turn; None if it fails. Not called when the server ends before.
        """
        task = asyncio.get_running_loop().create_task(self._ask(request, answered))
        tasks = self.server_state.tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _ask(self, request: WholeRequest, answered: Callable[[WholeAnswer | None], None]) -> None:
        assert self.answering is not None, "nobody asks without it"
        answer: WholeAnswer | None = None
        try:
            said = await self.answering(request)
            if are_sayable(said.headers):
                answer = said
            else:
                _log.error("an answer has headers that cannot be sent")
        except (Exception, asyncio.CancelledError) as error:
            if self.closing and isinstance(error, asyncio.CancelledError):
                return
            # Who waits for a future that somebody cancels looks as if they were cancelled.
            _log.exception("a request could not be answered")
        self.server_state.total_requests += 1
        answered(answer)

    async def drain(self, timeout_s: float) -> int:
        """
        End all fronts: idle ones at once, the others after the request that is in flight. Listeners are closed before.

        Args:
            timeout_s: after so long, what is left is cut off. Requests whose client is gone are waited for as well.

        Returns:
            how many connections were cut off.
        """
        self.closing = True
        until = time.monotonic() + timeout_s
        waiting = list(self.fronts)
        for start in range(0, len(waiting), _SLICE):
            for front in waiting[start : start + _SLICE]:
                front.retire()
            await asyncio.sleep(0)
        if self.fronts:
            self._emptied.clear()
            try:
                await asyncio.wait_for(self._emptied.wait(), max(0.0, until - time.monotonic()))
            except TimeoutError:
                pass
        await self._wait_for_requests(max(0.0, until - time.monotonic()))
        cut = list(self.fronts)
        for front in cut:
            front.abort()
        await asyncio.sleep(0)  # the applications hear of it before they are cancelled, and so say nothing more
        for task in self.server_state.tasks:
            task.cancel()
        await self._wait_for_requests(_LAST_WORDS_S)
        return len(cut)

    async def _wait_for_requests(self, timeout_s: float) -> None:
        tasks = set(self.server_state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        """The application, whose cancellation at the end of the server is no error to report."""
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self.closing:
                raise

    def _sweep(self) -> None:
        """Expire what is over time, and come again as long as there is anybody."""
        self._dated()
        now = time.monotonic()
        late = now - self._sweep_at
        if late > STOOD_STILL_S:
            # What came meanwhile is to be read first, and nobody was waited for.
            for front in self.fronts:
                front.deadline += late
        else:
            self._expire([front for front in self.fronts if front.deadline <= now])
        self._sweeper = None
        if self.fronts:
            self._sweep_at = now + self._period_s
            self._sweeper = asyncio.get_running_loop().call_later(self._period_s, self._sweep)

    def _expire(self, fronts: Sequence[Gate]) -> None:
        now = time.monotonic()
        for front in fronts[:_SLICE]:
            if front.deadline <= now:  # it may have moved on while it waited for its slice
                front.expire()
        if len(fronts) > _SLICE:
            asyncio.get_running_loop().call_soon(self._expire, fronts[_SLICE:])

    def _dated(self) -> None:
        """Keep the Date of answers right to the sweep's period (RFC 9110, 6.6.1)."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            date = formatdate(now, usegmt=True)
            self.date = f"date: {date}\r\n"
            self.server_state.default_headers = [(b"date", date.encode())]
