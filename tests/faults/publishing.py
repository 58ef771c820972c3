"""What the tests of broken roads share: a publisher by REST, and waiting for what must come about."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp

from acceptance.servers import Server
from acceptance.wire import signed

__all__ = ["Rest", "until"]

DEADLINE_S: Final = 60.0


async def until(condition: Callable[[], bool], what: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
    """Return as soon as `condition` holds; fail, saying what holds instead, when the time is over."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110  many things have to come about at once
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited in vain: {what()}") from None


class Rest:
    """
    Publishes by REST on a connection that it keeps.

    Args:
        places: below the hub, to which the messages go in turn, such as "groups/g".
    """

    def __init__(self, server: Server, hub: str, session: aiohttp.ClientSession, places: Sequence[str]) -> None:
        self._session = session
        self._urls = []
        for place in places:
            url = f"{server.endpoint}/api/hubs/{hub}/{place}/:send?{urlencode({'api-version': '2024-12-01'})}"
            self._urls.append((url, {"Authorization": f"Bearer {signed(server, url)}"}))

    async def publish(self, data: Any) -> None:
        """Send a publisher's name and a number, as JSON; return when it was accepted."""
        url, headers = self._urls[data[1] % len(self._urls)]
        async with self._session.post(url, json=data, headers=headers) as answer:
            assert answer.status == 202, await answer.text()
