"""What is still to be told, in which order, and what the end waits for."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from doubles import HUB, settle
from hubwire.model.names import HubKey
from hubwire.upstream import backlog as module
from hubwire.upstream.backlog import Backlog
from hubwire.upstream.sources import EventSource


class House:
    """A backlog, and what was told of it."""

    def __init__(self) -> None:
        self.backlog = Backlog()
        self.told: list[str] = []
        self.free = asyncio.Event()

    def telling(self, what: str, *, waits: bool = False) -> Callable[[], Awaitable[None]]:
        async def tell() -> None:
            if waits:
                await self.free.wait()
            self.told.append(what)

        return tell

    @staticmethod
    def source(connection_id: str, hub: HubKey = HUB) -> EventSource:
        return EventSource(hub, connection_id, "h")


async def test_notifications_of_one_connection_are_in_order_and_do_not_wait_for_those_of_others() -> None:
    house = House()
    one, two = house.source("1"), house.source("2")
    house.backlog.add(one, house.telling("1a", waits=True))
    house.backlog.add(one, house.telling("1b"))
    house.backlog.add(two, house.telling("2a"))
    await settle()
    assert house.told == ["2a"]

    house.free.set()
    await settle()

    assert house.told == ["2a", "1a", "1b"]
    assert one.waiting == []
    assert await house.backlog.drain(0) == 0


async def test_what_is_too_much_is_dropped_until_there_is_room_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_MOST", 1)
    house = House()
    house.backlog.add(house.source("1"), house.telling("1", waits=True))
    house.backlog.add(house.source("2"), house.telling("2"))
    assert caplog.messages == ["a notification of connection 2 is dropped: too many wait"]

    house.free.set()
    await settle()
    house.backlog.add(house.source("3"), house.telling("3"))
    await settle()

    assert house.told == ["1", "3"]


async def test_end_waits_for_all_that_was_begun() -> None:
    house = House()

    async def answered() -> int:
        await house.free.wait()
        return 7

    working = house.backlog.start(answered())
    house.backlog.add(house.source("1"), house.telling("1", waits=True))
    draining = asyncio.create_task(house.backlog.drain(30))
    await settle()
    assert not draining.done()

    house.free.set()

    assert await draining == 0
    assert (await working, house.told) == (7, ["1"])


async def test_what_does_not_end_in_time_is_given_up_and_counted() -> None:
    house = House()
    house.backlog.add(house.source("1"), house.telling("1", waits=True))
    watched = asyncio.create_task(house.free.wait())
    house.backlog.watch(watched)

    assert await house.backlog.drain(0) == 2
    assert watched.cancelled()
    assert house.told == []


async def test_resource_waits_for_its_own_connections_only() -> None:
    house = House()
    house.backlog.add(house.source("9", HubKey("other", "chat")), house.telling("9", waits=True))
    await house.backlog.settle("default", 3600)
    settling = asyncio.create_task(house.backlog.settle("other", 3600))
    await settle()
    assert not settling.done()

    house.free.set()
    await settling

    assert house.told == ["9"]
