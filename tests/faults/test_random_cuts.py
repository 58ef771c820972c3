"""
Reliable clients on a road that breaks all the time, while 5,000 numbered messages are published: nothing is lost,
nothing comes twice, and everybody hears the same in the same order.

`HUBWIRE_FAULT_SEEDS=1-20` runs other seeds than the one that belongs to the suite. A seed decides what happens on the
road, not how fast the machine is: it narrows a failure down and need not repeat it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import aiohttp
import pytest

from acceptance.servers import StartServer
from acceptance.wire import JsonClient
from faults.publishing import Rest, until
from faults.reliable import ReliableClient
from faults.rough_proxy import RoughProxy
from journeys.seeds import seeds

MESSAGES: Final = 5000
CLIENTS: Final = 4
LAG: Final = 600
"""Messages that the slowest client may not have acknowledged; the server holds 1,000 for each."""

Publish = Callable[[Any], Awaitable[None]]


async def in_pace(name: str, publish: Publish, numbers: Iterator[int], clients: list[ReliableClient]) -> int:
    """Publish this publisher's share, numbered from 0, without leaving the slowest client too far behind."""
    mine = 0
    for number in numbers:

        def is_near(number: int = number) -> bool:
            return number - min(client.confirmed for client in clients) < LAG

        await until(is_near, lambda: [client.confirmed for client in clients])
        await publish([name, mine])
        mine += 1
    return mine


@pytest.mark.timeout(400)  # each wait has a deadline of its own, and says what is missing
@pytest.mark.parametrize("seed", seeds("1"))
async def test_nothing_is_lost_doubled_or_reordered_on_a_road_that_breaks(
    start_server: StartServer, hub: str, seed: int
) -> None:
    """
    Four clients behind a proxy each, two of which publish themselves and ask again what was not answered; a plain
    client and REST publish to them too. The server's limits are its defaults.
    """
    server = start_server()
    async with AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(RoughProxy(server.host, server.port, f"{seed} road {number}"))
            for number in range(CLIENTS)
        ]
        clients = [
            ReliableClient(server, hub, proxy, f"client {number}", f"{seed} client {number}")
            for number, proxy in enumerate(proxies)
        ]
        session = await stack.enter_async_context(aiohttp.ClientSession())
        rest = Rest(server, hub, session, ["groups/g", "users/u"])
        plain = stack.enter_context(JsonClient(server, hub, user="plain"))

        async def publish_plainly(data: Any) -> None:
            ack = await asyncio.to_thread(plain.publish, "g", data)
            assert ack["success"], ack

        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run())
            await until(lambda: all(c.connection_id for c in clients), lambda: [c.connection_id for c in clients])

            numbers = iter(range(MESSAGES))
            publishers = {
                "rest": rest.publish,
                "plain": publish_plainly,
                clients[0].name: clients[0].publish,
                clients[1].name: clients[1].publish,
            }
            shares = [
                group.create_task(in_pace(name, publish, numbers, clients)) for name, publish in publishers.items()
            ]
            published = dict(zip(publishers, await asyncio.gather(*shares), strict=True))
            # What was said last may be lost as well.
            for proxy in proxies:
                proxy.calm = True
                proxy.cut()
            await until(
                lambda: all(c.confirmed == MESSAGES and not c.unanswered for c in clients),
                lambda: [(c.confirmed, c.unanswered) for c in clients],
            )
            for client in clients:
                client.stop()

    for client in clients:
        heard = [(frame["data"][0], frame["data"][1]) for frame in client.stream]
        assert [frame["sequenceId"] for frame in client.stream] == list(range(1, MESSAGES + 1))
        for name, share in published.items():
            assert [number for sender, number in heard if sender == name] == list(range(share)), (client.name, name)
        assert heard == [tuple(frame["data"]) for frame in clients[0].stream], "everybody hears the same order"
    strikes = sum((proxy.strikes for proxy in proxies), Counter[str]())
    print(f"seed {seed}: {sum(c.recoveries for c in clients)} recoveries, {dict(strikes)} of {published}")
    print(f"{sum(c.repeated for c in clients)} repeated, {sum(c.duplicates for c in clients)} duplicates")
    assert strikes.total() >= 20, "the road was smoother than it should be"
