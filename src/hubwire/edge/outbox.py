"""What waits for one client that does not take what it is sent."""

from collections import deque
from typing import Final

__all__ = ["Outbox"]

_SMALL: Final = 1024
_JOINED: Final = 16 * 1024


class Outbox:
    """
    Whole frames in order, each with the second on the monotonic clock until which it is worth sending.

    Small pieces that follow one another are kept as one: a piece by itself costs a hundred bytes more than it counts,
    and a client that pings and never reads could make millions of them. Larger ones stay what they are, since all
    receivers share them.

    Attributes:
        size_bytes: of all that waits.
    """

    __slots__ = ("_pieces", "size_bytes")

    def __init__(self) -> None:
        self._pieces: deque[tuple[bytes | bytearray, float | None]] = deque()
        self.size_bytes = 0

    def put(self, data: bytes, expires_at: float | None) -> None:
        """Append frames."""
        self.size_bytes += len(data)
        if self._pieces and len(data) < _SMALL:
            last, until = self._pieces[-1]
            if until == expires_at and len(last) < _JOINED:
                if isinstance(last, bytes):
                    last = bytearray(last)
                    self._pieces[-1] = (last, until)
                last += data
                return
        self._pieces.append((data, expires_at))

    def take(self, now: float) -> bytes | None:
        """The next piece that is still worth sending; None when there is none."""
        while self._pieces:
            data, expires_at = self._pieces.popleft()
            self.size_bytes -= len(data)
            if expires_at is None or expires_at > now:
                return bytes(data)
        return None

    def drop_expired(self, now: float) -> None:
        """Make room."""
        self._pieces = deque(piece for piece in self._pieces if piece[1] is None or piece[1] > now)
        self.size_bytes = sum(len(data) for data, _ in self._pieces)
