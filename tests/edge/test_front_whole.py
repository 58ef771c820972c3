"""Requests that came whole and are answered by a value, without the HTTP server behind the front."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from edge.wire import Client, both_loops, echo, eventually, serve
from hubwire.edge.proxies import TrustedProxies
from hubwire.model.http import WholeAnswer, WholeRequest

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def post(*lines: str, body: bytes = b"") -> bytes:
    return "".join(f"{line}\r\n" for line in ("POST /p?q HTTP/1.1", "Host: h", *lines, "")).encode() + body


class Answering:
    """An application that answers when the test says so."""

    def __init__(self, headers: Sequence[tuple[str, str]] = (), body: bytes | None = None) -> None:
        self.go = asyncio.Semaphore(0)
        self.requests: list[WholeRequest] = []
        self.running = self.most_running = 0
        self._headers = headers
        self._body = body

    async def __call__(self, request: WholeRequest) -> WholeAnswer:
        self.requests.append(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.go.acquire()
        finally:
            self.running -= 1
        body = request.target.encode() if self._body is None else self._body
        return WholeAnswer(200, [*self._headers, ("content-length", str(len(body)))], body)


async def failing(_request: WholeRequest) -> WholeAnswer:
    raise RuntimeError("an application that fails")


async def waiting_in_vain(_request: WholeRequest) -> WholeAnswer:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future
    raise AssertionError("nobody comes here")


async def nobody(_request: WholeRequest) -> WholeAnswer:
    raise AssertionError("this is for the HTTP server behind")


async def assert_ended(client: Client) -> None:
    assert await client.rest() == b""
    client.close()


@both_loops
async def test_request_is_known_with_all_that_came_with_it() -> None:
    app = Answering()
    app.go.release()
    async with serve(echo, answering=app, resource_of=lambda host: f"of {host}") as served:
        client = await served.connect()
        await client.send(post("X-One: 1", "x-one: 2", "content-length: 4", body=b"body"))

        response = await client.response()

        assert (response.status, response.body) == (200, b"/p?q")
        assert response.headers["date"].endswith(" GMT")
        fields: Mapping[str, Sequence[str]] = {"host": ["h"], "x-one": ["1", "2"], "content-length": ["4"]}
        peer = "127.0.0.1"
        assert app.requests == [
            WholeRequest("POST", "/p?q", fields, "http", "h", peer, "of h", False, peer, "h", b"body")
        ]
        assert served.answered == 1
        client.close()


@both_loops
async def test_trusted_proxy_names_client_host_and_scheme_and_the_host_that_was_sent_stays_known() -> None:
    app = Answering()
    app.go.release()
    async with serve(echo, answering=app, trusted=TrustedProxies(["127.0.0.1"])) as served:
        client = await served.connect()
        forwarded = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: Public.Example")
        await client.send(post(*forwarded))
        await client.response()

        (request,) = app.requests
        known = (request.client_ip, request.scheme, request.host, request.sent_host)
        assert known == ("203.0.113.9", "https", "public.example", "h")
        client.close()


@pytest.mark.parametrize(
    "pieces",
    [
        (post("content-length: 4", body=b"bo"), b"dy"),
        (post("transfer-encoding: chunked", body=b"4\r\nbody\r\n0\r\n\r\n"),),
        (post("content-length: 4", "expect: 100-continue", body=b"body"),),
        (b"GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n",),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",),
    ],
    ids=["body in pieces", "chunks", "patient", "absolute", "asterisk", "offer"],
)
@both_loops
async def test_what_is_not_whole_or_not_plain_goes_to_the_http_server_behind(pieces: tuple[bytes, ...]) -> None:
    async with serve(echo, answering=nobody) as served:
        client = await served.connect()
        await client.send(pieces[0])
        await eventually(lambda: served.context.server_state.connections)
        await client.send(*pieces[1:])

        response = await client.response()
        while response.status == 100:
            response = await client.response()
        assert response.status == 200
        client.close()


@both_loops
async def test_both_ways_take_turns_on_one_connection() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        whole, chunks = (
            post("content-length: 1", body=b"w"),
            post("transfer-encoding: chunked", body=b"1\r\nc\r\n0\r\n\r\n"),
        )
        await client.send(whole + chunks + whole + chunks + chunks + whole)

        assert [(await client.response()).body[-1:] for _ in range(6)] == [b"w", b"c", b"w", b"c", b"c", b"w"]
        assert served.answered == 6
        client.close()


@both_loops
async def test_request_that_was_sent_ahead_waits_for_the_answer_before_it() -> None:
    app = Answering()
    async with serve(echo, answering=app) as served:
        client = await served.connect()
        await client.send(GET + post("content-length: 4", body=b"body") + GET)

        for target in (b"/", b"/p?q", b"/"):
            app.go.release()
            assert (await client.response()).body == target
        assert [request.body for request in app.requests] == [b"", b"body", b""]
        assert app.most_running == 1
        client.close()


@both_loops
async def test_head_is_answered_without_a_body() -> None:
    app = Answering()
    app.go.release()
    app.go.release()
    async with serve(echo, answering=app) as served:
        client = await served.connect()
        await client.send(GET.replace(b"GET", b"HEAD") + GET)

        assert (await client.response("HEAD")).headers["content-length"] == "1"
        assert (await client.response()).body == b"/"
        client.close()


@pytest.mark.parametrize("request_bytes", [GET.replace(b"1.1", b"1.0"), post("Connection: Close")])
@both_loops
async def test_last_request_ends_the_connection_and_its_answer_says_so(request_bytes: bytes) -> None:
    app = Answering()
    app.go.release()
    async with serve(echo, answering=app) as served:
        client = await served.connect()
        await client.send(request_bytes)

        assert (await client.response()).headers["connection"] == "close"
        await assert_ended(client)


@both_loops
async def test_application_that_asks_to_close_is_obeyed_and_says_it_once() -> None:
    app = Answering([("connection", "close")])
    app.go.release()
    async with serve(echo, answering=app) as served:
        client = await served.connect()
        await client.send(GET + GET)

        received = await client.rest()
        assert received.count(b"connection: close\r\n") == received.count(b"HTTP/1.1 200 OK\r\n") == 1
        client.close()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "app",
    [
        failing,
        waiting_in_vain,
        Answering([("x", "1\r\nset-cookie: forged")]),
        Answering([("x", "1\nx")]),
        Answering([("x y", "1")]),
        Answering([("x", "\N{SNOWMAN}")]),
    ],
)
@both_loops
async def test_application_that_fails_or_says_what_cannot_be_said_is_answered_for(
    app: Callable[[WholeRequest], Awaitable[WholeAnswer]], method: str
) -> None:
    """The one complaint in the log is about the application."""
    if isinstance(app, Answering):
        app.go = asyncio.Semaphore(1)
    async with serve(echo, answering=app) as served:
        client = await served.connect()
        logging.getLogger("hubwire.edge").disabled = True
        try:
            await client.send(GET.replace(b"GET", method.encode()))
            response = await client.response(method)
            assert (response.status, response.headers["content-length"]) == (500, "21")
            assert response.body == (b"" if method == "HEAD" else b"Internal Server Error")
            assert "x" not in response.headers
            await assert_ended(client)
        finally:
            logging.getLogger("hubwire.edge").disabled = False


@both_loops
async def test_request_of_a_client_that_goes_is_carried_out_and_nobody_is_answered() -> None:
    app = Answering()
    async with serve(echo, answering=app) as served:
        client = await served.connect()
        await client.send(GET)
        await eventually(lambda: app.running)
        client.reset()
        await eventually(lambda: not served.context.fronts)

        assert app.running == 1
        app.go.release()
        await eventually(lambda: served.answered == 1)


@both_loops
async def test_client_that_ends_its_side_still_gets_its_answer() -> None:
    app = Answering()
    async with serve(echo, answering=app) as served:
        client = await served.connect()
        await client.send(GET)
        client.end()
        await eventually(lambda: app.running)
        app.go.release()

        assert (await client.response()).body == b"/"
        await assert_ended(client)


@both_loops
async def test_server_that_ends_gives_the_answer_that_is_under_way_and_says_that_it_is_the_last() -> None:
    app = Answering()
    async with serve(echo, answering=app) as served:
        client = await served.connect()
        await client.send(GET)
        await eventually(lambda: app.running)
        drained = asyncio.ensure_future(served.context.drain(10.0))
        await eventually(lambda: served.context.closing)
        app.go.release()

        response = await client.response()
        assert (response.body, response.headers["connection"]) == (b"/", "close")
        await assert_ended(client)
        assert await drained == 0


@both_loops
async def test_server_that_ends_cuts_off_who_is_not_answered_in_time() -> None:
    app = Answering()
    async with serve(echo, answering=app) as served:
        client = await served.connect()
        await client.send(GET)
        await eventually(lambda: app.running)

        assert await served.context.drain(0.05) == 1
        assert app.running == 0
        await assert_ended(client)


@both_loops
async def test_large_answer_waits_for_a_slow_client_and_so_does_the_next_request() -> None:
    size = 16 << 20
    app = Answering(body=b"x" * size)
    app.go.release()
    async with serve(echo, answering=app) as served:
        client = await served.connect()
        await client.send(GET)
        await eventually(lambda: served.answered == 1)
        await client.send(GET)
        await eventually(lambda: not served.fronts[-1].transport.is_reading())

        assert len(app.requests) == 1
        app.go.release()
        assert [len((await client.response()).body) for _ in range(2)] == [size, size]
        client.close()
