"""
Are the clients still there? One clock for all of them, instead of a timer for each.

A client that was silent for its keep-alive interval is pinged; one that is silent for three of them is given up. Any
byte counts as a sign of life, so a busy client is never pinged.

Source: the service's close category PingTimeout (no numbers are published); the hub resource's
webSocketKeepAliveIntervalInSeconds, default 20.
"""

import asyncio
from typing import Final, Protocol

__all__ = ["Liveness", "Watched"]

_MISSED: Final = 3
_TICK_S: Final = 1.0
_SLICE: Final = 500


class Watched(Protocol):
    """A client as this clock sees it."""

    last_seen: int

    def keep_alive_s(self) -> int:
        """Its interval now, in whole seconds; asked again each time, since settings may change."""

    def ping(self) -> None:
        """Ask for a sign of life."""

    def give_up(self) -> None:
        """It is gone."""


class Liveness:
    """
    Attributes:
        now: whole seconds since this clock started; clients copy it into `last_seen`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = 0
        self._loop = loop
        # For each interval, clients and when they are due. Entries of one interval are in the order of their time.
        self._due: dict[int, dict[Watched, int]] = {}
        self._interval: dict[Watched, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._started = loop.time()

    def watch(self, client: Watched) -> None:
        """Begin to look after a client."""
        client.last_seen = self.now
        self._enter(client)
        if self._timer is None:
            self._timer = self._loop.call_later(_TICK_S, self._tick)

    def forget(self, client: Watched) -> None:
        """The client is gone by other means. Harmless if it is not watched."""
        interval = self._interval.pop(client, None)
        if interval is not None:
            del self._due[interval][client]

    def _enter(self, client: Watched) -> None:
        interval = client.keep_alive_s()
        self._interval[client] = interval
        self._due.setdefault(interval, {})[client] = self.now + interval

    def _tick(self) -> None:
        self._timer = None
        self.now = int(self._loop.time() - self._started)
        self._look(list(self._due))
        if self._interval:
            self._timer = self._loop.call_later(_TICK_S, self._tick)

    def _look(self, intervals: list[int]) -> None:
        """Look after those who are due, some at a time: a ping costs a system call, and others want their turn."""
        for interval in intervals:
            due = self._due.get(interval, {})
            over: list[Watched] = []
            for client, when in due.items():
                if when > self.now or len(over) == _SLICE:
                    break
                over.append(client)
            for client in over:
                self._look_after(client, interval)
            if len(over) == _SLICE:
                self._loop.call_soon(self._look, [interval])

    def _look_after(self, client: Watched, interval: int) -> None:
        if self._interval.get(client) != interval:
            return  # it left while others were looked after
        del self._due[interval][client]
        silence = self.now - client.last_seen
        if silence >= _MISSED * interval:
            del self._interval[client]
            client.give_up()
            return
        self._enter(client)
        if silence >= interval:
            client.ping()
