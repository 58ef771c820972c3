"""
Where the body of a request ends. Pure: bytes in, what to hand on and what belongs to the next request out.

Bodies are not gathered here and may be of any length; who reads them bounds them.

Source: RFC 9112, sections 6.2 and 7.1.
"""

import re
from enum import Enum, auto
from typing import Final, Protocol

from hubwire.edge.head import RequestFault

__all__ = ["Body", "ChunkedBody", "FixedBody"]

_MAX_LINE: Final = 512  # bytes of a chunk's size and extensions; nobody is known to send extensions at all
_MAX_TRAILERS: Final = 8 * 1024  # bytes of all trailers of one body

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\x00-\x08\x0a-\x1f\x7f]*+)?")
_SIZE_BEGUN = re.compile(rb"[0-9A-Fa-f]{1,15}(?:;[^\x00-\x08\x0a-\x1f\x7f]*+)?\r?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[^\x00-\x08\x0a-\x1f\x7f]*+")


class Body(Protocol):
    """The framing of one body, fed as bytes arrive."""

    @property
    def done(self) -> bool:
        """Has the whole body been fed."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """
        Args:
            data: what arrived next; never after `done`.

        Returns:
            what goes to the HTTP server, in the framing that its copy of the head announces (may be empty); and
            what is no part of this body any more (empty unless `done`).

        Raises:
            RequestFault: 400, the framing is broken. Nothing of `data` goes anywhere.
        """


class FixedBody:
    """`length` bytes, 1 or more."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def done(self) -> bool:
        return self._left == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        if len(data) <= self._left:
            self._left -= len(data)
            return data, b""
        left, self._left = self._left, 0
        return data[:left], data[left:]


class _Expect(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()
    NOTHING = auto()


class ChunkedBody:
    """
    A body in chunks, framed anew on the way.

    Extensions mean nothing to us, and trailers must not reach the HTTP server: it would append them to the headers
    of a request that is already allowed. So chunks go on without either, and those that came together as one.
    """

    __slots__ = ("_expect", "_held", "_left", "_trailers")

    def __init__(self) -> None:
        self._expect = _Expect.SIZE
        self._held = b""  # the begin of a line; shorter than _MAX_LINE or _MAX_TRAILERS
        self._left = 0  # bytes of the chunk that have not come
        self._trailers = 0  # bytes of trailers that have come

    @property
    def done(self) -> bool:
        return self._expect is _Expect.NOTHING

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            expect = self._expect
            if expect is _Expect.DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._expect = _Expect.DATA_END
            elif expect is _Expect.NOTHING:
                break
            else:
                line = self._line(data, at)
                if line is None:
                    self._held = data[at:]
                    at = len(data)
                else:
                    at += len(line) + 2
                    self._take(line)
        payload = b"".join(pieces)
        wire = b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""
        if self.done:
            wire += b"0\r\n\r\n"
        return wire, data[at:]

    def _line(self, data: bytes, at: int) -> bytes | None:
        """The line that begins at `at`, without its end; None if it is not whole but may become right."""
        end = data.find(b"\r\n", at, at + self._limit() + 2)
        if end >= 0:
            return data[at:end]
        begun = data[at:]
        if len(begun) >= self._limit() + 2:
            raise RequestFault(400, "chunk extensions or trailers are too long")
        # Refused at once, not when a line end comes at last: the client may be waiting for an answer.
        if self._expect is _Expect.SIZE and _SIZE_BEGUN.fullmatch(begun) is None:
            raise RequestFault(400, "malformed chunk size")
        if self._expect is _Expect.DATA_END and begun != b"\r":
            raise RequestFault(400, "a chunk is longer than its size")
        if b"\n" in begun:
            raise RequestFault(400, "a line does not end with CR LF")
        return None

    def _limit(self) -> int:
        return _MAX_TRAILERS - self._trailers if self._expect is _Expect.TRAILER else _MAX_LINE

    def _take(self, line: bytes) -> None:
        """Go on by one whole line."""
        if self._expect is _Expect.DATA_END:
            if line:
                raise RequestFault(400, "a chunk is longer than its size")
            self._expect = _Expect.SIZE
        elif self._expect is _Expect.SIZE:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise RequestFault(400, "malformed chunk size")
            self._left = int(match[1], 16)
            self._expect = _Expect.DATA if self._left else _Expect.TRAILER
        elif not line:
            self._expect = _Expect.NOTHING
        else:
            if _TRAILER.fullmatch(line) is None:
                raise RequestFault(400, "malformed trailer")
            self._trailers += len(line) + 2
