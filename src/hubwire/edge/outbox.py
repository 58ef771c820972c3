"""What waits for one client that does not take what it is sent, or is not to be told yet."""

from collections import deque
from typing import Final

__all__ = ["Outbox"]

_SMALL: Final = 1024
_JOINED: Final = 16 * 1024


class Outbox:
    """
    Whole frames in order, each with the second on the monotonic clock until which it is worth sending. Barriers among
    them keep what is behind them from leaving.

    Small pieces that follow one another are kept as one: a piece by itself costs a hundred bytes more than it counts,
    and a client that pings and never reads could make millions of them. Larger ones stay what they are, since all
    receivers share them.

    Attributes:
        size_bytes: of all that waits.
        barriers: how many there are.
    """

    __slots__ = ("_pieces", "barriers", "size_bytes")

    def __init__(self) -> None:
        # A barrier is a piece of None.
        self._pieces: deque[tuple[bytes | bytearray | None, float | None]] = deque()
        self.size_bytes = 0
        self.barriers = 0

    def put(self, data: bytes, expires_at: float | None) -> None:
        """Append frames."""
        self.size_bytes += len(data)
        if self._pieces and len(data) < _SMALL:
            last, until = self._pieces[-1]
            if last is not None and until == expires_at and len(last) < _JOINED:
                if isinstance(last, bytes):
                    last = bytearray(last)
                    self._pieces[-1] = (last, until)
                last += data
                return
        self._pieces.append((data, expires_at))

    def bar(self) -> None:
        """Append a barrier."""
        self.barriers += 1
        self._pieces.append((None, None))

    def lift(self, barriers: int) -> None:
        """Take the oldest barriers away; fewer, if there are no more."""
        place = 0
        while barriers and self.barriers:
            if self._pieces[place][0] is None:
                del self._pieces[place]
                self.barriers -= 1
                barriers -= 1
            else:
                place += 1

    def take(self, now: float) -> bytes | None:
        """
        The next piece that is still worth sending, with small ones behind it that a barrier had kept apart; None when
        there is nothing in front of the first barrier.
        """
        taken: list[bytes | bytearray] = []
        size_bytes = 0
        while self._pieces:
            data, expires_at = self._pieces[0]
            if data is None or (taken and (len(data) >= _SMALL or size_bytes >= _JOINED)):
                break
            self._pieces.popleft()
            self.size_bytes -= len(data)
            if expires_at is None or expires_at > now:
                taken.append(data)
                size_bytes += len(data)
        if not taken:
            return None
        return bytes(taken[0]) if len(taken) == 1 else b"".join(taken)

    def drop_expired(self, now: float) -> None:
        """Make room."""
        self._pieces = deque(piece for piece in self._pieces if piece[1] is None or piece[1] > now)
        self.size_bytes = sum(len(data) for data, _ in self._pieces if data is not None)
