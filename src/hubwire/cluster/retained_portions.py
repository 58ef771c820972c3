"""
Retained messages on their way to one client, who may have subscribed to more of them than it takes at once: the next
ones are sent when it has acknowledged and read those before.

A message that has changed meanwhile is left out: the client has subscribed, and so was sent the one in its place.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from hubwire.cluster.retained import Retained
from hubwire.hub.connection import Connection
from hubwire.hub.retained import Kept

__all__ = ["PortionLimits", "RetainedPortions"]

_PAUSE_S: Final = 0.02
_PAUSE_WITHOUT_SOCKET_S: Final = 1.0


class PortionLimits(Struct, frozen=True):
    """
    What a client is sent before it has acknowledged anything. One message is sent whatever its size.

    Attributes:
        size_bytes: of messages as they are kept.
    """

    messages: int = 100
    size_bytes: int = 1 << 20


class _Backlog:
    """
    One client's.

    Attributes:
        waiting: by the name of a subscription, in the order of these.
        messages, size_bytes: that there is room for until the next look.
        timer: of that look.
    """

    __slots__ = ("messages", "size_bytes", "timer", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[str, deque[Kept]] = {}
        self.messages = 0
        self.size_bytes = 0
        self.timer: asyncio.TimerHandle | None = None


class RetainedPortions:
    """
    Those of all clients of a node.

    Args:
        send: hands messages over, of one subscription.
    """

    def __init__(
        self,
        retained: Retained,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[Connection, str, Sequence[Kept]], None],
        limits: PortionLimits,
    ) -> None:
        self._retained = retained
        self._loop = loop
        self._send = send
        self._limits = limits
        self._backlogs: dict[Connection, _Backlog] = {}

    def tell(self, connection: Connection, name: str) -> None:
        """
        Send a client what is kept for a subscription.

        Args:
            name: of a group, or a filter.
        """
        if not connection.alive:
            return  # what it was sent before was too much for it
        found = self._retained.matching(connection.hub, name)
        backlog = self._backlogs.get(connection)
        if not found:
            if backlog is not None:
                backlog.waiting.pop(name, None)
            return
        if backlog is None:
            backlog = self._backlogs[connection] = _Backlog()
            self._look(connection, backlog, is_first=True)
        backlog.waiting.pop(name, None)  # whoever repeats it is sent everything again, and nothing twice
        backlog.waiting[name] = deque(found)
        self._hand_over(connection, backlog)

    def left(self, connection: Connection, name: str) -> None:
        """A client has subscribed to something no more."""
        if self._backlogs and (backlog := self._backlogs.get(connection)) is not None:
            backlog.waiting.pop(name, None)

    def ended(self, connection: Connection) -> None:
        """A client is gone for good."""
        if self._backlogs and (backlog := self._backlogs.pop(connection, None)) is not None:
            assert backlog.timer is not None
            backlog.timer.cancel()

    def _go_on(self, connection: Connection, backlog: _Backlog) -> None:
        if backlog.waiting:
            self._look(connection, backlog, is_first=False)
            self._hand_over(connection, backlog)
        else:
            del self._backlogs[connection]

    def _look(self, connection: Connection, backlog: _Backlog, *, is_first: bool) -> None:
        """How much there is room for, and when to look again. Only the first portion may queue up behind others."""
        limits, sink = self._limits, connection.sink
        backlog.messages = backlog.size_bytes = 0
        if sink is not None and (is_first or sink.direct is not None):
            messages, size_bytes = connection.session.held()
            backlog.messages = limits.messages - messages
            backlog.size_bytes = limits.size_bytes - size_bytes
        pause_s = _PAUSE_WITHOUT_SOCKET_S if sink is None else _PAUSE_S
        backlog.timer = self._loop.call_later(pause_s, self._go_on, connection, backlog)

    def _hand_over(self, connection: Connection, backlog: _Backlog) -> None:
        while backlog.waiting and backlog.messages > 0 and backlog.size_bytes > 0:
            name, waiting = next(iter(backlog.waiting.items()))
            portion: list[Kept] = []
            while waiting and backlog.messages > 0 and backlog.size_bytes > 0:
                kept = waiting.popleft()
                if self._retained.get(connection.hub, kept.message.group) is kept:
                    portion.append(kept)
                    backlog.messages -= 1
                    backlog.size_bytes -= kept.size_bytes
            if not waiting:
                del backlog.waiting[name]
            if portion:
                self._send(connection, name, portion)
