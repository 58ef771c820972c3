"""
What stands in for the edge and the stored settings in the tests of the rooms below them: a sink that writes down, a
clock that obeys, requests that nobody sent, keys that nobody keeps.
"""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextvars import Context
from typing import Any, NamedTuple, TypeVarTuple

import msgspec

from hubwire.hub.connection import Connection
from hubwire.model.errors import NotStored
from hubwire.model.http import RequestHead, by_name
from hubwire.model.hubs import AccessKeys, HubSettings, default_settings
from hubwire.model.names import HubKey
from hubwire.model.permissions import Permissions, parse_roles
from hubwire.model.ports import Bus
from hubwire.model.resources import ResourcePolicy
from hubwire.model.targets import Target
from hubwire.protocols.json_reliable import ReliableJsonSession
from hubwire.protocols.json_v1 import JsonSession
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Batch, Session
from hubwire.protocols.simple import SimpleSession

__all__ = [
    "ALL_ROLES",
    "HUB",
    "KEYS",
    "CountedCommits",
    "Directory",
    "DurableSession",
    "Frame",
    "HeldBus",
    "Keys",
    "MemoryJournal",
    "RecordingSink",
    "VirtualLoop",
    "Write",
    "connection",
    "done",
    "frames",
    "head",
    "json_of",
    "settle",
]

_Ts = TypeVarTuple("_Ts")

HUB = HubKey("default", "chat")
ALL_ROLES = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")


class Frame(NamedTuple):
    """One frame as a server sends it: whole and unmasked."""

    opcode: int
    payload: bytes


async def done(waiting: Awaitable[None] | None) -> None:
    """Wait for what may be done already."""
    if waiting is not None:
        await waiting


def frames(data: bytes) -> list[Frame]:
    """Read whole frames, without our own code; `data` must end with one."""
    found = []
    while data:
        assert data[0] & 0xF0 == 0x80, "whole and without reserved bits"
        length, start = data[1], 2
        assert length < 128, "unmasked"
        if length > 125:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
            assert length >= (126 if start == 4 else 1 << 16), "in its shortest form"
        assert len(data) >= start + length, "whole"
        found.append(Frame(data[0] & 0x0F, data[start : start + length]))
        data = data[start + length :]
    return found


def json_of(data: bytes) -> list[Any]:
    """The JSON in each of the text frames of `data`."""
    found = frames(data)
    assert all(frame.opcode == 1 for frame in found)
    return [msgspec.json.decode(frame.payload) for frame in found]


class Write(NamedTuple):
    """What a sink was given at once."""

    data: bytes
    frames: int
    expires_at: float | None


class RecordingSink:
    """
    A client's way out that goes nowhere.

    Attributes:
        writes: that left, in order, until it was closed or aborted: later ones are nobody's.
        held: writes and closes that must not leave yet; None for each hold.
        closed: code and reason of the first close.
        told: called before each write is recorded.
        direct: a sink that writes down how many frames it was given cannot take the short way.
    """

    direct: Callable[[bytes], object] | None = None

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.held: list[Write | tuple[int, str] | None] = []
        self.closed: tuple[int, str] | None = None
        self.aborted = False
        self.told: Callable[[], None] = lambda: None

    def write(self, data: bytes, frames: int, expires_at: float | None) -> None:
        self.told()
        if self.closed is None and not self.aborted:
            self._leave(Write(data, frames, expires_at))

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self._leave((code, reason))

    def _leave(self, what: Write | tuple[int, str]) -> None:
        if self.held:
            self.held.append(what)
        elif isinstance(what, Write):
            self.writes.append(what)
        elif self.closed is None:
            self.closed = what

    def hold(self) -> None:
        self.held.append(None)

    def release(self, holds: int) -> None:
        if self.aborted:
            return
        for _ in range(holds):
            self.held.remove(None)
        held, self.held = self.held, []
        for what in held:
            if what is None:
                self.held.append(None)
            else:
                self._leave(what)

    def abort(self) -> None:
        self.aborted = True
        self.held.clear()

    @property
    def frames(self) -> list[Frame]:
        """All frames written."""
        return frames(b"".join(write.data for write in self.writes))

    @property
    def received(self) -> list[Any]:
        """The JSON of all frames written."""
        return [msgspec.json.decode(frame.payload) for frame in self.frames]

    @property
    def data(self) -> list[Any]:
        """The payloads of the data messages among them."""
        return [message["data"] for message in self.received if message["type"] == "message"]

    def forget(self) -> None:
        """Begin again with nothing written."""
        self.writes.clear()


KEYS = AccessKeys("primary key for tests, 32 bytes or more", "secondary key for tests, 32 bytes or more")


class Keys:
    """The keys of every resource."""

    def access_keys(self, resource: str) -> AccessKeys:
        return KEYS

    def policy(self, resource: str) -> ResourcePolicy:
        return ResourcePolicy()

    def recovery_key(self) -> bytes:
        return b"recovery key for tests, 32 bytes or more"


class Directory:
    """
    Settings of hubs.

    Attributes:
        hubs, policies: those that differ from the defaults.
    """

    def __init__(self) -> None:
        self.hubs: dict[HubKey, HubSettings] = {}
        self.policies: dict[str, ResourcePolicy] = {}

    def settings(self, hub: HubKey) -> HubSettings:
        return self.hubs.get(hub, default_settings())

    def policy(self, resource: str) -> ResourcePolicy:
        return self.policies.get(resource, ResourcePolicy())


class HeldBus:
    """
    A bus whose subscriptions wait if the test says so.

    Attributes:
        gate: awaited before each subscription; None lets them pass.
        told: called with "+" and each topic that is subscribed to, and with "-" and each that no more is.
    """

    def __init__(self, bus: Bus) -> None:
        self.gate: asyncio.Future[None] | None = None
        self._bus = bus
        self.attach = bus.attach
        self.publish = bus.publish
        self.ask = bus.ask
        self.told: Callable[[str, Target], object] = lambda _sign, _topic: None

    def unsubscribe(self, topic: Target) -> Awaitable[None] | None:
        self.told("-", topic)
        return self._bus.unsubscribe(topic)

    def subscribe(self, topic: Target) -> Awaitable[None] | None:
        self.told("+", topic)
        return self._bus.subscribe(topic) if self.gate is None else self._subscribe(topic, self.gate)

    async def _subscribe(self, topic: Target, gate: "asyncio.Future[None]") -> None:
        await gate
        await done(self._bus.subscribe(topic))

    def hold(self) -> "asyncio.Future[None]":
        """Let subscriptions wait until this is done."""
        self.gate = asyncio.get_running_loop().create_future()
        return self.gate


class MemoryJournal:
    """
    A journal that outlives no process. What is asked for is kept at once, unless the test says that it cannot be.

    Args:
        kept: of a journal that was open before.

    Attributes:
        kept: bodies by kind and key: what would be there if the process ended now.
    """

    def __init__(self, kept: dict[tuple[str, str], bytes] | None = None) -> None:
        self.kept = {} if kept is None else kept
        self._waiting: dict[tuple[str, str], bytes | None] = {}
        self._failing: str | None = None
        self._mended = asyncio.Event()
        self._is_closed = False
        self._missed = False

    def put(self, kind: str, key: str, body: bytes) -> Awaitable[None]:
        key.encode()
        return self._ask(kind, key, body)

    def remove(self, kind: str, key: str) -> Awaitable[None]:
        return self._ask(kind, key, None)

    async def written(self) -> None:
        await asyncio.sleep(0)
        while self._waiting and not self._is_closed:
            self._mended.clear()
            await self._mended.wait()
        if self._missed or self._waiting:
            raise NotStored("the journal is closed")

    async def entries(self, kind: str) -> list[tuple[str, bytes]]:
        found = {**self.kept, **self._waiting}
        return sorted((key, body) for (of, key), body in found.items() if of == kind and body is not None)

    async def close(self) -> None:
        self._is_closed = True
        self._mended.set()

    def fail(self, reason: str) -> None:
        """From now on nothing can be written."""
        self._failing = reason

    def mend(self) -> None:
        """It can again, and what waits is written."""
        self._failing = None
        self._write()
        self._mended.set()

    def _ask(self, kind: str, key: str, body: bytes | None) -> "_Written":
        if self._is_closed:
            self._missed = True
            return _Written("the journal is closed")
        self._waiting[kind, key] = body
        self._write()
        return _Written(self._failing)

    def _write(self) -> None:
        if self._failing is None:
            for id, body in self._waiting.items():
                if body is None:
                    self.kept.pop(id, None)
                else:
                    self.kept[id] = body
            self._waiting.clear()


class CountedCommits:
    """
    Entries of a journal that are written when the test says so.

    Attributes:
        asked, safe: see `Commits`.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.safe = 0
        self._waiting: list[tuple[int, Callable[[], None]]] = []

    def put(self, kind: str, key: str, body: bytes) -> None:
        self.asked += 1

    def when_safe(self, act: Callable[[], None]) -> bool:
        if self.asked == self.safe:
            return False
        self._waiting.append((self.asked, act))
        return True

    def write(self, upto: int | None = None) -> None:
        """What was asked for is written, or a first part of it."""
        self.safe = self.asked if upto is None else upto
        while self._waiting and self._waiting[0][0] <= self.safe:
            self._waiting.pop(0)[1]()


class DurableSession:
    """
    A session that would outlive its process: an entry is made for each batch that it is given.

    Args:
        session: what it is besides.
    """

    durable = True

    def __init__(self, session: Session, commits: Any) -> None:
        self._session = session
        self._commits = commits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def deliver(self, batch: Batch, now: float) -> bytes:
        self._commits.put("queued", f"{now}", b"")
        return self._session.deliver(batch, now)

    def resume(self, now: float) -> Sequence[tuple[bytes, int, float | None]]:
        return self._session.resume(now)


class _Written:
    """Awaited or not, and a turn of the loop later at the earliest. `reason` says why it is not."""

    def __init__(self, reason: str | None) -> None:
        self._reason = reason

    def __await__(self) -> Generator[Any, None, None]:
        yield
        if self._reason is not None:
            raise NotStored(self._reason)


def head(
    target: str,
    *,
    offers: Sequence[str] = (),
    headers: Sequence[tuple[str, str]] = (),
    without: Sequence[str] = (),
    method: str = "GET",
) -> RequestHead:
    """
    An upgrade request.

    Args:
        offers: subprotocols.
        headers: more of them, or others in place of the usual ones.
        without: names of usual ones to leave out, in lower case.
    """
    usual = [
        ("Host", "localhost:8080"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    if offers:
        usual.append(("Sec-WebSocket-Protocol", ", ".join(offers)))
    out = {*without, *(name.lower() for name, _ in headers)}
    kept = [(name, value) for name, value in usual if name.lower() not in out]
    every = (*kept, *headers)
    return RequestHead(method, target, every, by_name(every), "http", "localhost:8080", "192.0.2.1")


_numbers = itertools.count(1)


def connection(
    kind: str | Session = "json",
    user_id: str | None = None,
    *,
    id: str | None = None,
    hub: HubKey = HUB,
    roles: Sequence[str] = ALL_ROLES,
    limits: QueueLimits | None = None,
) -> Connection:
    """
    A connection that nobody let in yet.

    Args:
        kind: "json", "reliable", "simple", or a session.
        id: one that sorts after those made before, if None.
    """
    match kind:
        case "json":
            session: Session = JsonSession()
        case "reliable":
            session = ReliableJsonSession(limits or QueueLimits())
        case "simple":
            session = SimpleSession()
        case _:
            assert not isinstance(kind, str), kind
            session = kind
    return Connection(id or f"c{next(_numbers):06}", hub, user_id, Permissions(parse_roles(roles)), session)


_Loop: Any = asyncio.AbstractEventLoop
"""Which only type checkers take for abstract."""


class _Timer(asyncio.TimerHandle):
    """That cannot be asked when it is due, as those of uvloop cannot that are due at once."""

    def when(self) -> float:
        raise AttributeError("'uvloop.loop.Handle' object has no attribute 'when'")


class VirtualLoop(_Loop):  # type: ignore[misc]
    """
    The running event loop, except that its time stands still until `advance`. Offers what our code asks of a loop.

    Attributes:
        turns: how many timers went off so far.
    """

    def __init__(self) -> None:
        self.turns = 0
        self._now = 1000.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Callable[[], object]]] = []

    def time(self) -> float:
        return self._now

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = _Timer(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(_numbers), handle, lambda: callback(*args)))
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return asyncio.get_running_loop().call_soon(callback, *args, context=context)

    def create_task(self, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(coro)

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Called by a handle that is cancelled; `advance` leaves it out."""

    async def advance(self, seconds: float) -> None:
        """Let time pass: each timer goes off at its time, and what it starts has come to rest before the next one."""
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, handle, callback = heapq.heappop(self._timers)
            self._now = max(self._now, when)
            if not handle.cancelled():
                self.turns += 1
                callback()
                await settle()
        self._now = end
        await settle()

    def jump(self, seconds: float) -> None:
        """Let time pass without anything happening, as in a process that was stopped."""
        self._now += seconds

    @property
    def timers(self) -> int:
        """How many are set."""
        return sum(not handle.cancelled() for _, _, handle, _ in self._timers)


async def settle() -> None:
    """Let the loop turn until nothing is left to do but wait. One at a time: two would wait for each other."""
    loop = asyncio.get_running_loop()
    for _ in range(100_000):
        await asyncio.sleep(0)
        if not loop._ready:  # type: ignore[attr-defined]  # what is to run next; no event tells of it
            return
    raise AssertionError("this never comes to rest")
