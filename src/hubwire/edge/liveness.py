"""
Are the clients still there? One clock for all of them, instead of a timer for each.

A client that was silent for its keep-alive interval is pinged; one that is silent for three of them is given up, unless
another number was said. What counts as a sign of life is the client's affair.

Source: the service's close category PingTimeout (no numbers are published); the hub resource's
webSocketKeepAliveIntervalInSeconds, default 20.
"""

import asyncio
import math
from itertools import chain, islice
from typing import Final, Protocol

__all__ = ["TICK_S", "Liveness", "Watched"]

TICK_S: Final = 0.25
"""
How exact the clock is, in seconds. The least interval that MQTT has is the end after one and a half; and a tick is one
look at a dictionary, whoever is there.
"""

_MISSED: Final = 3
_LONGEST_TICK_S: Final = 2 * TICK_S
"""
A longer one means that this process stood still. Not more: who sends something each second, as is enough with that
interval, may have been heard a second before.
"""
_SLICE: Final = 500


class Watched(Protocol):
    """A client as this clock sees it."""

    last_seen: int

    def keep_alive_s(self) -> float:
        """
        Its interval now, in seconds; asked again each time, since settings may change. Of one that says 0, no sign of
        life is expected from then on.
        """

    def ping(self) -> None:
        """Ask for a sign of life."""

    def give_up(self) -> None:
        """It is gone."""


class Liveness:
    """
    Attributes:
        now: whole ticks that this clock ran; clients copy it into `last_seen` with each sign of life. It stands still
            while there are no clients, and while this process does: time in which nothing could be heard is nobody's
            silence.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = 0
        self._loop = loop
        self._ran = 0.0
        self._looked = 0.0
        # Clients by the tick in which they are due, the interval that led to it, and how many of it are the end; and
        # these three by client.
        self._due: dict[tuple[int, int, int], dict[Watched, None]] = {}
        self._when: dict[Watched, tuple[int, int, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, client: Watched, patience: int = _MISSED) -> None:
        """
        Begin to look after a client.

        Args:
            patience: how many intervals of silence are its end. With 1 it is given up where others are pinged.
        """
        client.last_seen = self.now
        self._enter(client, self.now, _ticks(client.keep_alive_s()), patience)
        if self._timer is None:
            self._looked = self._loop.time()
            self._wind()

    def forget(self, client: Watched) -> None:
        """The client is gone by other means. Harmless if it is not watched."""
        when = self._when.pop(client, None)
        if when is not None:
            due = self._due[when]
            del due[client]
            if not due:
                del self._due[when]

    def _enter(self, client: Watched, since: int, interval: int, patience: int) -> None:
        if interval == 0:
            return
        when = (since + interval, interval, patience)
        self._when[client] = when
        self._due.setdefault(when, {})[client] = None

    def _tick(self) -> None:
        self._timer = None
        time = self._loop.time()
        passed = time - self._looked
        stood_still = passed > _LONGEST_TICK_S
        if stood_still:
            # The answers that came meanwhile may not be read yet. Who is due is judged by what was heard before.
            self._look()
            passed = TICK_S
        self._ran += passed
        self._looked = time
        self.now = int(self._ran / TICK_S)
        if not stood_still:
            self._look()
        self._wind()

    def _wind(self) -> None:
        """Let the clock go on while there is anybody. It may go already: who is given up may be watched anew."""
        if self._when and self._timer is None:
            self._timer = self._loop.call_later(TICK_S, self._tick)

    def _look(self) -> None:
        """Look after those who are due, some at a time: a ping costs a system call, and others want their turn."""
        times = sorted(when for when in self._due if when[0] <= self.now)
        over = list(islice(chain.from_iterable(self._due[when] for when in times), _SLICE))
        for client in over:
            if client in self._when:  # it may have left while others were looked after
                self._look_after(client)
        if len(over) == _SLICE:
            self._loop.call_soon(self._look)

    def _look_after(self, client: Watched) -> None:
        _, interval, patience = self._when[client]
        self.forget(client)
        silence = self.now - client.last_seen
        if silence >= patience * interval:
            client.give_up()
            return
        # The setting may have changed. Who is silent by the new one was not asked under it, and is so now.
        new = _ticks(client.keep_alive_s())
        if silence >= min(interval, new) and new:
            self._enter(client, self.now, new, patience)
            client.ping()
        else:
            self._enter(client, client.last_seen, new, patience)


def _ticks(seconds: float) -> int:
    """As many as it takes."""
    return math.ceil(seconds / TICK_S)
