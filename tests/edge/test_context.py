"""What all fronts share: the quota of sockets, one sweep, and the end."""

import asyncio
import itertools
import time
from typing import Any

import pytest

from edge.test_front import GET, WEBSOCKET, Taken, Unread, Waiting, assert_ended, get, post
from edge.wire import both_loops, echo, eventually, refuse_upgrade, serve
from hubwire.edge.context import FrontContext


@both_loops
async def test_socket_over_the_quota_is_refused_until_another_one_goes() -> None:
    async with serve(echo, max_sockets=2) as served:
        first, second = await served.connect(), await served.connect()
        await eventually(lambda: len(served.context.fronts) == 2)
        third = await served.connect()

        assert (await third.response()).status == 503
        await assert_ended(third)
        first.close()
        await eventually(lambda: len(served.context.fronts) == 1)
        fourth = await served.connect()
        await fourth.send(GET)
        assert (await fourth.response()).status == 200
        assert served.refused == [(503, "the server is full or shutting down", "127.0.0.1")]
        second.close()
        fourth.close()


@both_loops
async def test_sockets_that_became_websockets_count() -> None:
    side = Taken()
    async with serve(echo, side.upgrade, max_sockets=1, upgraded=lambda: int(side.transport is not None)) as served:
        client = await served.connect()
        await client.send(WEBSOCKET)
        assert (await client.response()).status == 101

        refused = await served.connect()
        assert (await refused.response()).status == 503
        refused.close()
        client.close()
        await eventually(lambda: side.transport is None)
        welcome = await served.connect()
        await welcome.send(GET)
        assert (await welcome.response()).status == 200
        welcome.close()


@both_loops
async def test_socket_that_takes_the_last_descriptor_is_told_of_and_welcome() -> None:
    """And so is each one after it, that was on its way already; not those after somebody left."""
    told: list[int] = []
    async with serve(echo) as served:
        served.context.crowded_at = 2
        served.context.on_crowded = lambda: told.append(len(served.context.fronts))
        clients = [await served.connect() for _ in range(3)]
        for client in clients:
            await client.send(GET)
            assert (await client.response()).status == 200
        assert told == [2, 3]
        assert served.context.crowded
        for client in clients[:2]:
            client.close()
        await eventually(lambda: not served.context.crowded)
        last = await served.connect()
        await last.send(GET)
        await last.response()

        assert told == [2, 3, 2]
        for client in (clients[2], last):
            client.close()


class Slow:
    """Stands for a front whose time is over."""

    resource: str | None = None

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.expired = 0

    def expire(self) -> None:
        self.expired += 1
        self.deadline = float("inf")

    def retire(self) -> None:
        raise AssertionError("nobody drains")

    def abort(self) -> None:
        raise AssertionError("nobody drains")


@both_loops
async def test_many_deadlines_at_once_leave_others_their_turns() -> None:
    context = FrontContext(echo, refuse_upgrade)
    fronts = [Slow(0.0) for _ in range(1000)]
    patient = Slow(time.monotonic() + 3600)
    for front in (*fronts, patient):
        context.fronts.add(front)
    seen: list[int] = []
    context.add(patient)
    while len(seen) < 10 and (not seen or seen[-1] < 1000):
        seen.append(sum(front.expired for front in fronts))
        await asyncio.sleep(0)
    seen.append(sum(front.expired for front in fronts))

    assert seen[0] == 200
    assert all(later - earlier <= 200 for earlier, later in itertools.pairwise(seen))
    assert seen[-1] == 1000
    assert patient.expired == 0
    context.fronts.clear()


@both_loops
async def test_time_in_which_the_process_stood_still_is_not_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came meanwhile is read before anybody is called late."""
    monkeypatch.setattr("hubwire.edge.context.STOOD_STILL_S", 0.1)
    context = FrontContext(echo, refuse_upgrade, idle_timeout_s=0.2)
    front = Slow(time.monotonic() + 0.2)
    context.add(front)
    time.sleep(0.5)  # noqa: ASYNC251  nothing else runs, as in a process that is stopped
    for _ in range(3):
        await asyncio.sleep(0)

    assert front.expired == 0
    await eventually(lambda: front.expired == 1)
    context.fronts.clear()


@both_loops
async def test_front_that_moved_on_while_it_waited_for_its_slice_is_spared() -> None:
    context = FrontContext(echo, refuse_upgrade)
    fronts = [Slow(0.0) for _ in range(300)]
    context.fronts.update(fronts)
    context.add(fronts[0])
    for front in fronts:
        front.deadline = float("inf")
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert sum(front.expired for front in fronts) == 200
    context.fronts.clear()


@both_loops
async def test_drain_ends_idle_connections_at_once_and_lets_requests_finish() -> None:
    app = Waiting()
    async with serve(app) as served:
        idle, busy, uploading = await served.connect(), await served.connect(), await served.connect()
        await busy.send(get("/busy"))
        await uploading.send(post("Content-Length: 2", body=b"x"))
        await eventually(lambda: app.running == 2 and len(served.context.fronts) == 3)

        draining = asyncio.ensure_future(served.context.drain(10))
        await assert_ended(idle)
        assert not draining.done()
        app.go.release()
        answered = await busy.response()
        assert (answered.body, answered.headers["connection"]) == (b"/busy", "close")
        await assert_ended(busy)
        await uploading.send(b"x")
        app.go.release()
        assert (await uploading.response()).status == 200
        await assert_ended(uploading)

        assert await draining == 0


@both_loops
async def test_drain_does_not_wait_for_a_body_that_nobody_wants() -> None:
    async with serve(Unread()) as served:
        client = await served.connect()
        await client.send(post("Content-Length: 5"))
        assert (await client.response()).status == 401

        draining = asyncio.ensure_future(served.context.drain(10))
        await assert_ended(client)
        assert await draining == 0


@both_loops
async def test_new_requests_are_refused_while_the_server_ends() -> None:
    app = Waiting()
    async with serve(app, head_timeout_s=100, idle_timeout_s=1000) as served:
        half, busy = await served.connect(), await served.connect()
        await half.send(GET)
        app.go.release()
        await half.response()
        await half.send(GET[:-2])
        await busy.send(GET)
        await eventually(lambda: app.running == 1 and served.fronts[0].deadline <= time.monotonic() + 100)

        draining = asyncio.ensure_future(served.context.drain(10))
        await eventually(lambda: served.context.closing)
        await half.send(b"\r\n")
        refused = await half.response()
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        await assert_ended(half)
        late = await served.connect()
        assert (await late.response()).status == 503
        await assert_ended(late)
        app.go.release()
        assert (await busy.response()).status == 200
        await assert_ended(busy)
        assert await draining == 0


@both_loops
async def test_drain_cuts_off_what_does_not_end_in_time() -> None:
    cancelled = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serve(app) as served:
        client = await served.connect()
        await client.send(GET)
        await eventually(lambda: served.context.server_state.tasks)

        assert await served.context.drain(0.05) == 1
        assert cancelled.is_set()
        await assert_ended(client)


@both_loops
async def test_drain_waits_for_requests_whose_client_is_gone() -> None:
    finished = asyncio.Event()
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        finished.set()

    async with serve(app) as served:
        client = await served.connect()
        await client.send(GET)
        await eventually(lambda: served.context.server_state.tasks)
        client.reset()
        await eventually(lambda: not served.context.fronts)

        draining = asyncio.ensure_future(served.context.drain(10))
        await eventually(lambda: served.context.closing)
        go.set()
        assert await draining == 0
        assert finished.is_set()


@both_loops
async def test_drain_without_connections_returns() -> None:
    context = FrontContext(echo, refuse_upgrade)

    assert await context.drain(0) == 0
