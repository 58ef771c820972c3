"""
The gate in front of the clients: nothing that one of them is told leaves before what that rests on is on the disk.

An acknowledgement rests on the entries that its message has made, and everything that the client of a durable session
is told, on all entries so far: a packet that left must be known after a restart, by its number and state. What leaves
is kept back by the sinks, in its order; here is when they may let it go.
"""

from collections import deque

from hubwire.model.ports import Commits, Sink

__all__ = ["Gate"]


class Gate:
    """Holds sinks until what was asked of the journal is written."""

    __slots__ = ("_commits", "_groups", "_held")

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        # Of this flush; then of those that wait, each with how many changes must be written.
        self._held: dict[Sink, None] = {}
        self._groups: deque[tuple[int, dict[Sink, None]]] = deque()

    @property
    def asked(self) -> int:
        """How many changes of the journal were asked for; for telling whether something made any."""
        return self._commits.asked

    @property
    def shut(self) -> bool:
        """Is something not written yet."""
        return self._commits.asked != self._commits.safe

    def hold(self, sink: Sink) -> None:
        """What is written to a sink from now on waits for what is asked for until `settle`."""
        if sink not in self._held:
            self._held[sink] = None
            sink.hold()

    def settle(self) -> None:
        """Let everything that is held go when all that was asked for so far is written."""
        held = self._held
        if held:
            self._held = {}
            self._groups.append((self._commits.asked, held))
            if not self._commits.when_safe(self._open):
                self._open()

    def _open(self) -> None:
        """Release all whose time has come, each once: what waits for one client is then written in one go."""
        holds: dict[Sink, int] = {}
        safe = self._commits.safe
        while self._groups and self._groups[0][0] <= safe:
            for sink in self._groups.popleft()[1]:
                holds[sink] = holds.get(sink, 0) + 1
        for sink, count in holds.items():
            sink.release(count)
