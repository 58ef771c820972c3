"""
A TCP proxy for one WebSocket client that breaks its connections at random, in every place that matters: within the
upgrade, between the answer to it and the first message, within a frame, on the border of two, in either direction.

It runs on the event loop of its caller. What happens is drawn from a seed; when it happens depends on the machine too.
"""

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Coroutine, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

__all__ = ["KINDS", "Kind", "Link", "RoughProxy", "Wire"]

Kind = Literal["reset", "end", "late", "early", "deaf", "mute", "hole"]
KINDS: Final[tuple[Kind, ...]] = ("reset", "end", "late", "early", "deaf", "mute", "hole")
"""
How a connection breaks.

    reset   both sides are reset.
    end     both sides see an orderly end (FIN) without a close frame.
    late    the client sees the end; what it said last, and the end, reach the server only after the client came back.
    early   the server sees a reset; what it said last, and the end, reach the client later.
    deaf    nothing reaches the client any more, while the server goes on hearing it; a reset follows.
    mute    nothing reaches the server any more, while the client goes on hearing it; a reset follows.
    hole    nothing passes for a while; then it all does, or the connection is reset.
"""

_CHUNK_BYTES: Final = 1 << 14
_DELAY_S: Final = 0.008
_BREATH_S: Final = 0.15
"""
In which a client comes to say something. What was sent before comes in a burst when it is back, and whoever is always
cut off within that can acknowledge nothing, and gets the same burst again.
"""
_LATE_S: Final = 1.0
"""How long the end of a connection is kept from the server if the client does not come back."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Wire:
    """
    The bytes of one direction, and where the head and each frame in them end.

    Attributes:
        data: all that came, whether or not it was passed on.
        passed: so many bytes of it were passed on.
        open: more may be passed on.
        turn: of whoever passes something on.
        ends: position behind the head, behind the first frame and so on; the last one may lie ahead of `data`.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.data = bytearray()
        self.passed = 0
        self.open = True
        self.turn = asyncio.Lock()
        self.ends: list[int] = []

    def feed(self, data: bytes) -> None:
        self.data += data
        if not self.ends:
            head = self.data.find(b"\r\n\r\n")
            if head < 0:
                return
            self.ends.append(head + 4)
        while self.ends[-1] <= len(self.data):
            end = _frame_end(self.data, self.ends[-1])
            if end is None:
                return
            self.ends.append(end)

    def may_pass(self) -> bool:
        """Nothing keeps us from passing more on, now."""
        return self.open and not self.writer.is_closing()

    def place(self, unit: int, share: float) -> int | None:
        """Position within the head (unit 0) or the frame of this number; None while that is not in sight."""
        if unit >= len(self.ends):
            return None
        start = self.ends[unit - 1] if unit else 0
        return start + round(share * (self.ends[unit] - start))

    def frames(self) -> list[bytes]:
        """Whole frames that came, with their heads."""
        borders = [end for end in self.ends if end <= len(self.data)]
        return [bytes(self.data[start:end]) for start, end in pairwise(borders)]

    def frames_passed(self) -> int:
        """So many of them were passed on as a whole."""
        return max(sum(end <= self.passed for end in self.ends) - 1, 0)


def _frame_end(data: bytearray, start: int) -> int | None:
    """Where the frame that begins at `start` ends; None while its length is not in sight."""
    if len(data) < start + 2:
        return None
    size, behind = data[start + 1] & 0x7F, start + 2
    extended = {126: 2, 127: 8}.get(size, 0)
    if len(data) < behind + extended:
        return None
    if extended:
        size = int.from_bytes(data[behind : behind + extended], "big")
    return behind + extended + (4 if data[start + 1] & 0x80 else 0) + size


class _Fate(NamedTuple):
    """
    How and where one connection breaks.

    Attributes:
        down: the place is in what the server says, else in what the client says.
        unit, share: of the place, as in `Wire.place`.
        hold_s: for the kinds that take a while.
        orderly: an end is a FIN, else a reset.
        not_before: on the loop's clock; if the place comes earlier, it is put off to the next frame.
    """

    kind: Kind
    down: bool
    unit: int
    share: float
    hold_s: float
    orderly: bool
    not_before: float = 0.0


class Link:
    """
    One connection of the client.

    Attributes:
        up, down: what the client says, and what the server says.
        followed: a later connection of the client has been told that it is connected.
        answered: this one has.
    """

    def __init__(self, up: Wire, down: Wire, fate: _Fate | None) -> None:
        self.up = up
        self.down = down
        self.fate = fate
        self.struck = False
        self.answered = False
        self.followed = asyncio.Event()


class RoughProxy:
    """
        async with RoughProxy(server.host, server.port, seed) as proxy:
            connect(proxy.port)

    Attributes:
        port: where the client connects.
        links: all its connections, in order.
        strikes: how many connections were broken in which way.
        calm: connections made from now on are not broken.
    """

    def __init__(
        self,
        host: str,
        port: int,
        seed: str,
        *,
        kinds: Sequence[Kind] = KINDS,
        frames: tuple[int, int] = (8, 250),
        hears: int = 8,
    ) -> None:
        """
        Args:
            seed: of all that happens here.
            frames: least and most frames before a connection breaks that was not broken at its beginning.
            hears: so many frames more than it says does the client hear.
        """
        self._upstream = (host, port)
        self._random = random.Random(seed)
        self._kinds = kinds
        self._frames = frames
        self._hears = hears
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._young = 0
        self._breathes = False
        self.port = 0
        self.calm = False
        self.links: list[Link] = []
        self.strikes: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._accept, sock=listener)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self.links:
            _close(link.up.writer, reset=True)
            _close(link.down.writer, reset=True)
        await asyncio.sleep(0)  # transports close in a turn of their own

    @property
    def broken(self) -> bool:
        """The newest connection was broken, or never came about."""
        return not self.links or self.links[-1].struck

    def cut(self) -> None:
        """Reset what is open now."""
        for link in self.links:
            link.struck = True
            self._shut(link, reset=True)

    def _draw(self) -> _Fate | None:
        """
        What will happen to a new connection. Most last for a while; a client whose connections all broke at their
        beginning would never get on, so after two such ones comes one that lasts, and every other of those for a while.
        """
        draw = self._random
        young = draw.choice([None, None, (False, 0), (True, 0), (True, 1), (True, 1), (True, 2), (True, 3)])
        if self.calm:
            return None
        if young is None or self._young == 2:
            self._young = 0
            self._breathes = not self._breathes
            breath_s = _BREATH_S if self._breathes else 0.0
            return self._later(0, 0)._replace(not_before=asyncio.get_running_loop().time() + breath_s)
        self._young += 1
        return self._later(0, 0)._replace(down=young[0], unit=young[1])

    def _later(self, up: int, down: int) -> _Fate:
        """What will happen to a connection some time after so many frames in each direction."""
        draw = self._random
        is_down, frames = draw.random() < 0.7, draw.randint(*self._frames)
        return _Fate(
            kind=draw.choice(self._kinds),
            down=is_down,
            unit=down + frames if is_down else up + frames // self._hears + 1,
            share=draw.choice([1.0, draw.random()]),
            hold_s=draw.uniform(0.01, 0.25),
            orderly=draw.random() < 0.5,
        )

    def _spawn(self, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await asyncio.open_connection(*self._upstream)
        except OSError:
            _close(writer, reset=True)
            return
        link = Link(Wire(reader, requests), Wire(answers, writer), self._draw())
        self.links.append(link)
        self._spawn(self._carry(link, link.up))
        self._spawn(self._carry(link, link.down))

    async def _carry(self, link: Link, wire: Wire) -> None:
        try:
            while data := await wire.reader.read(_CHUNK_BYTES):
                wire.feed(data)
                if self._random.random() < 0.2:
                    await asyncio.sleep(self._random.uniform(0, _DELAY_S))
                await self._pass(link, wire)
            if not link.struck:
                _finish(wire.writer)
        except OSError:
            if not link.struck:
                self._shut(link, reset=True)

    async def _pass(self, link: Link, wire: Wire) -> None:
        """Pass on what came, up to the place where the connection breaks."""
        async with wire.turn:
            await self._pass_alone(link, wire)

    async def _pass_alone(self, link: Link, wire: Wire) -> None:
        end, fate = len(wire.data), link.fate
        place = None
        if fate is not None and not link.struck and wire is (link.down if fate.down else link.up):
            place = wire.place(fate.unit, fate.share)
            if place is not None and asyncio.get_running_loop().time() < fate.not_before:
                link.fate = fate._replace(unit=len(wire.ends))
                place = None
            if place is not None:
                end = max(min(end, place), wire.passed)
        while wire.passed < end and wire.may_pass():
            upto = end
            if self._random.random() < 0.1:
                # Some arrive in pieces.
                upto = self._random.randrange(wire.passed, end) + 1
                await asyncio.sleep(self._random.uniform(0, _DELAY_S))
            if wire.may_pass():
                wire.writer.write(bytes(wire.data[wire.passed : upto]))
                wire.passed = upto
                await wire.writer.drain()
        if not link.answered and len(link.down.ends) > 1 and link.down.passed >= link.down.ends[1]:
            link.answered = True
            for other in self.links[: self.links.index(link)]:
                other.followed.set()
        if fate is not None and place is not None and wire.passed >= place and not link.struck:
            link.struck = True
            self.strikes[fate.kind] += 1
            self._spawn(self._strike(link, fate))

    async def _strike(self, link: Link, fate: _Fate) -> None:
        match fate.kind:
            case "reset":
                self._shut(link, reset=True)
            case "end":
                link.up.open = link.down.open = False
                _finish(link.up.writer)
                _finish(link.down.writer)
                await asyncio.sleep(0.1)
                self._shut(link, reset=False)
            case "late":
                link.up.open = False
                await asyncio.sleep(fate.hold_s / 4)
                link.down.open = False
                _close(link.down.writer, reset=not fate.orderly)
                try:
                    await asyncio.wait_for(link.followed.wait(), _LATE_S)
                except TimeoutError:
                    pass
                await self._release(link, link.up)
                await asyncio.sleep(fate.hold_s / 8)
                _close(link.up.writer, reset=not fate.orderly)
            case "early":
                link.down.open = link.up.open = False
                _close(link.up.writer, reset=True)
                await asyncio.sleep(fate.hold_s)
                await self._release(link, link.down)
                _close(link.down.writer, reset=not fate.orderly)
            case "deaf" | "mute":
                (link.down if fate.kind == "deaf" else link.up).open = False
                await asyncio.sleep(fate.hold_s)
                self._shut(link, reset=True)
            case "hole":
                link.up.open = link.down.open = False
                await asyncio.sleep(fate.hold_s)
                if fate.orderly:
                    if not self.calm:
                        link.fate = self._later(len(link.up.ends), len(link.down.ends))
                    link.struck = self.calm
                    await self._release(link, link.up)
                    await self._release(link, link.down)
                else:
                    self._shut(link, reset=True)

    async def _release(self, link: Link, wire: Wire) -> None:
        """Let pass again, beginning with what was held back."""
        wire.open = True
        try:
            await self._pass(link, wire)
        except OSError:
            pass  # the other side has ended meanwhile, which is one of the things that happen

    def _shut(self, link: Link, *, reset: bool) -> None:
        link.up.open = link.down.open = False
        _close(link.up.writer, reset=reset)
        _close(link.down.writer, reset=reset)


def _finish(writer: asyncio.StreamWriter) -> None:
    """Send a FIN behind what was written."""
    if not writer.is_closing():
        try:
            writer.write_eof()
        except OSError:
            writer.close()


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        end = writer.get_extra_info("socket")
        if end is not None and end.fileno() >= 0:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        writer.transport.abort()
    else:
        writer.close()
