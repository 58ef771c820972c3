"""The front on real sockets: who gets which request, what is refused, and that nobody is left behind."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.wire import Client, both_loops, echo, eventually, refuse_upgrade, serve
from hubwire.edge.context import FrontContext, Undecided, Upgrade
from hubwire.edge.front import Front
from hubwire.edge.proxies import TrustedProxies
from hubwire.model.http import RequestHead

SOON_S = 1.5
"""A time limit that is to be over, with something before it that is to be in time, also on a busy machine."""
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
WEBSOCKET = b"GET /client/hubs/h?x=1 HTTP/1.1\r\nHOST: H:1\r\nConnection: Upgrade\r\nupgrade: WebSocket\r\n\r\n"


def get(path: str, *lines: str, host: str = "h") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"GET {path} HTTP/1.1", f"Host: {host}", *lines, "")).encode()


def post(*lines: str, body: bytes = b"") -> bytes:
    return "".join(f"{line}\r\n" for line in ("POST / HTTP/1.1", "Host: h", *lines, "")).encode() + body


async def answer(
    send: Any, status: int = 200, body: bytes = b"", headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


class Waiting:
    """An application that answers when the test says so, and remembers what it saw."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.go = asyncio.Semaphore(0)
        self.disconnects = 0
        self.running = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        self.running += 1
        message = await receive()
        while message["type"] == "http.request" and message["more_body"]:
            message = await receive()
        if message["type"] == "http.disconnect":
            self.disconnects += 1
        else:
            await self.go.acquire()
            await answer(send, body=scope["path"].encode())
        self.running -= 1


class Unread:
    """An application that answers without a look at the body."""

    def __init__(self) -> None:
        self.requests = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests += 1
        await answer(send, 401, b"no")


class Taken(asyncio.Protocol):
    """Stands for the WebSocket side."""

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []
        self.data = b""
        self.transport: asyncio.Transport | None = None

    def upgrade(self, head: RequestHead, transport: asyncio.Transport, rest: bytes) -> asyncio.BaseProtocol:
        self.heads.append(head)
        self.transport = transport
        transport.set_protocol(self)
        transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        self.data_received(rest)
        return self

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None


class Asked(Undecided):
    """
    A client whom somebody else decides on.

    Attributes:
        finished: how often it was.
        left: is the client gone.
    """

    def __init__(self, side: "Deciders", head: RequestHead, transport: asyncio.Transport) -> None:
        super().__init__()
        self._side = side
        self._head = head
        self._transport = transport
        self.finished = 0
        self.left = False

    def finish(self, rest: bytes) -> object | None:
        self.finished += 1
        return self._side.then(self._head, self._transport, rest)

    def leave(self) -> None:
        self.left = True


class Deciders(Taken):
    """
    Stands for the WebSocket side where somebody has a say.

    Attributes:
        asked: in order; the test decides on each by its `on_decided`.
        then: what becomes of those who are decided on; they are let in unless the test says something else.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.then: Upgrade = self.upgrade

    def decide(self, head: RequestHead, transport: asyncio.Transport, rest: bytes) -> Undecided:
        self.asked.append(Asked(self, head, transport))
        return self.asked[-1]


async def assert_ended(client: Client, received: bytes = b"") -> None:
    """The server sends `received` and ends the connection."""
    assert await client.rest() == received
    client.close()


# Plain requests


@both_loops
async def test_request_is_answered_and_knows_who_asked_for_what() -> None:
    async with serve(echo, app_state={"service": 1}) as served:
        client = await served.connect()
        await client.send(get("/a%2Fb?x=%20", host="Name.Example:81"))

        response = await client.response()

        assert response.status == 200
        assert response.headers["date"].endswith(" GMT")
        assert response.body == b"GET\n/a%2Fb\n/a%2Fb?x=%20\nname.example:81\nhttp\n127.0.0.1\nFalse\n"
        client.close()


@both_loops
async def test_state_of_the_application_is_there_and_each_request_has_its_own() -> None:
    states: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        states.append(scope["state"])
        await answer(send)

    async with serve(app, app_state={"service": 1}) as served:
        client = await served.connect()
        for host in ("one", "two"):
            await client.send(get("/", host=host))
            await client.response()

        assert [state["service"] for state in states] == [1, 1]
        assert [state["host"] for state in states] == ["one", "two"]
        client.close()


@both_loops
async def test_request_is_for_the_resource_of_its_host() -> None:
    """By a trusted proxy's word, where there is one; the first resource where nobody says which."""
    resources: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        resources.append(scope["state"]["resource"])
        await answer(send)

    taken = Taken()
    bounds: dict[str, Any] = {"trusted": TrustedProxies(("127.0.0.1",)), "resource_of": lambda host: f"of {host}"}
    for more in (bounds, {}):
        async with serve(app, taken.upgrade, **more) as served:
            client = await served.connect()
            for lines in ((), ("X-Forwarded-Host: Other.Example",)):
                await client.send(get("/", *lines, host="Name.Example:81"))
                await client.response()
            await client.send(WEBSOCKET)
            await eventually(lambda: taken.transport is not None)
            client.close()
            await eventually(lambda: taken.transport is None)

    assert resources == ["of name.example:81", "of other.example", "default", "default"]
    assert [head.resource for head in taken.heads] == ["of h:1", "default"]


@both_loops
async def test_absolute_target_is_served_by_its_path_and_names_the_host() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(get("http://Other:82/a%2Fb?", host="ignored"))

        assert (await client.response()).body == b"GET\n/a%2Fb\n/a%2Fb?\nother:82\nhttp\n127.0.0.1\nFalse\n"
        client.close()


@both_loops
async def test_host_is_handed_on_as_it_was_sent_beside_the_one_that_counts() -> None:
    """Whoever signs a request has signed that one."""
    hosts: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        hosts.append(scope["state"]["sent_host"])
        await answer(send)

    async with serve(app, trusted=TrustedProxies(["127.0.0.0/8"])) as served:
        client = await served.connect()
        await client.send(get("http://other:82/", "X-Forwarded-Host: Public", host="Name.Example:81"))
        await client.response()
        await client.send(get("/", "Connection: Upgrade", "Upgrade: h2c", host="Name:1"))
        await client.response()

        assert hosts == ["Name.Example:81", "Name:1"]
        client.close()


@both_loops
async def test_ipv6_host_and_peer() -> None:
    async with serve(echo, host="::1") as served:
        client = await served.connect()
        await client.send(get("/", host="[::1]:8080"))

        assert (await client.response()).body == b"GET\n/\n/\n[::1]:8080\nhttp\n::1\nFalse\n"
        client.close()


@both_loops
async def test_trusted_proxy_is_believed() -> None:
    lines = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: Public")
    async with serve(echo, trusted=TrustedProxies(["127.0.0.0/8"])) as served:
        client = await served.connect()
        await client.send(get("/", *lines))

        assert (await client.response()).body == b"GET\n/\n/\npublic\nhttps\n203.0.113.9\nFalse\n"
        client.close()


@both_loops
async def test_stranger_that_claims_to_be_a_proxy_is_not_believed() -> None:
    async with serve(echo, trusted=TrustedProxies(["10.0.0.0/8"])) as served:
        client = await served.connect()
        await client.send(get("/", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: Public"))

        assert (await client.response()).body == b"GET\n/\n/\nh\nhttp\n127.0.0.1\nFalse\n"
        client.close()


@both_loops
async def test_control_socket_is_told_apart(tmp_path: Path) -> None:
    async with serve(echo, path=str(tmp_path / "control.sock"), control=True) as served:
        client = await served.connect()
        await client.send(GET)

        assert (await client.response()).body == b"GET\n/\n/\nh\nhttp\n\nTrue\n"
        client.close()


@both_loops
async def test_post_without_a_length_has_no_body() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(post())

        assert (await client.response()).body.startswith(b"POST\n/\n")
        client.close()


@both_loops
async def test_head_is_answered_without_a_body_and_the_next_request_follows() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(GET.replace(b"GET", b"HEAD") + GET)

        assert int((await client.response("HEAD")).headers["content-length"]) > 0
        assert (await client.response()).body.startswith(b"GET\n")
        client.close()


@both_loops
async def test_many_small_requests_on_one_connection() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        for number in range(300):
            body = b"x" * (number % 3)
            await client.send(post(f"Content-Length: {len(body)}", body=body))

            assert (await client.response()).body.endswith(b"False\n" + body)
        assert served.answered == 300
        assert len(served.fronts) == 1
        client.close()


@both_loops
async def test_head_and_body_that_come_byte_by_byte_are_a_request() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        wire = post("Content-Length: 5", body=b"hello")
        await client.send(*[bytes([byte]) for byte in wire])

        assert (await client.response()).body.endswith(b"\nhello")
        client.close()


@both_loops
async def test_http_1_0_ends_the_connection_after_the_answer() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + GET)

        assert (await client.response()).body == b"GET\n/\n/\n\nhttp\n127.0.0.1\nFalse\n"
        await assert_ended(client)
        assert served.answered == 1


@both_loops
async def test_last_request_ends_the_connection_however_close_is_spelled() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(get("/", "Connection: Foo, Close") + GET)

        assert (await client.response()).status == 200
        await assert_ended(client)
        assert served.answered == 1


@both_loops
async def test_application_that_asks_to_close_is_obeyed() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, headers=((b"connection", b"close"),))

    async with serve(app) as served:
        client = await served.connect()
        await client.send(GET + GET)

        assert (await client.response()).headers["connection"] == "close"
        await assert_ended(client)


@both_loops
async def test_one_line_end_too_many_is_tolerated_and_two_are_not() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(post("Content-Length: 1", body=b"x") + b"\r\n" + GET)

        assert (await client.response()).status == 200
        assert (await client.response()).status == 200
        await client.send(b"\r", b"\n", b"\r", b"\n")
        assert (await client.response()).status == 400
        await assert_ended(client)


# What is refused

REFUSED = {
    "length and coding": post("Content-Length: 4", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "two lengths": post("Content-Length: 4", "Content-Length: 5", body=b"12345"),
    "signed length": post("Content-Length: +4", body=b"1234"),
    "two codings": post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "blank before the colon": post("Content-Length : 4", body=b"1234"),
    "folded header": post("X: 1", " folded"),
    "control character": post("X: \x01"),
    "bare LF in the head": post("X: 1\nY: 2"),
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: h\n\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": post("Host: other"),
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "bad chunk size": post("Transfer-Encoding: chunked", body=b"-1\r\n\r\n"),
    "long chunk extension": post("Transfer-Encoding: chunked", body=b"1;" + b"x" * 1000),
    "chunk longer than its size": post("Transfer-Encoding: chunked", body=b"1\r\nxx"),
    "bad trailer": post("Transfer-Encoding: chunked", body=b"0\r\nX : 1\r\n\r\n"),
}


@pytest.mark.parametrize("wire", REFUSED.values(), ids=REFUSED.keys())
@both_loops
async def test_ambiguous_request_is_refused_and_nobody_answers_it(wire: bytes) -> None:
    app = Waiting()
    async with serve(app) as served:
        client = await served.connect()
        await client.send(wire + GET)

        response = await client.response()

        assert response.status == 400
        assert response.headers["connection"] == "close"
        assert response.headers["content-type"].startswith("text/plain")
        await assert_ended(client)
        assert app.paths == []
        assert [(status, client_ip) for status, _, client_ip in served.refused] == [(400, "127.0.0.1")]


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        (
            b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a",
            "MQTT over TCP is not spoken here: set the client to MQTT over WebSocket",
        ),
        (b"\x10", "MQTT over TCP is not spoken here: set the client to MQTT over WebSocket"),
        (b"\x16\x03\x01\x02\x00", "this is not HTTP"),
        (b"\xc0\x00", "this is not HTTP"),
    ],
)
@both_loops
async def test_client_that_speaks_mqtt_without_websocket_is_recorded_as_such(wire: bytes, said: str) -> None:
    """It cannot read the answer: the record is for whoever looks for the fault."""
    async with serve(echo, head_timeout_s=300) as served:
        client = await served.connect()
        await client.send(wire)

        assert (await client.response()).body == said.encode() + b"\n"
        await assert_ended(client)
        assert served.refused == [(400, said, "127.0.0.1")]


@both_loops
async def test_head_with_bare_line_feeds_is_refused_without_waiting_for_its_end() -> None:
    async with serve(echo, head_timeout_s=300) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.1", b"\n")

        assert (await client.response()).status == 400
        await assert_ended(client)


@both_loops
async def test_second_request_is_held_to_the_same_rules_and_answered_in_its_turn() -> None:
    app = Waiting()
    async with serve(app) as served:
        client = await served.connect()
        await client.send(get("/1") + b"GET / HTTP/3.0\r\nHost: h\r\n\r\n")
        await eventually(lambda: app.running)
        app.go.release()

        assert (await client.response()).body == b"/1"
        assert (await client.response()).status == 505
        await assert_ended(client)
        assert app.paths == ["/1"]


@both_loops
async def test_unknown_method_is_refused_by_name() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(GET + GET.replace(b"GET", b"BREW"))

        assert (await client.response()).status == 200
        assert (await client.response()).status == 501
        await assert_ended(client)


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400),
        (b"HEAD / HTTP/1.1\r\nX: 1\nY: 2\r\n\r\n", 400),
        (b"HEAD /client/hubs/h HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"HEAD / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n", 400),
        (b"HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf", 408),
        (b"HEAD / HTTP/1.1\r\nHo", 408),
        (b"HEAD / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 2048, 431),
        (b"HEAD / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    ],
)
@both_loops
async def test_head_is_refused_without_a_body(wire: bytes, status: int) -> None:
    """What follows the empty line would be taken for the next answer. The length is that of an answer to GET."""
    async with serve(echo, max_head_bytes=1024, head_timeout_s=SOON_S, idle_timeout_s=SOON_S) as served:
        client, other = await served.connect(), await served.connect()
        await client.send(wire)
        await other.send(b"GET" + wire[4:])
        answer, whole = await asyncio.gather(client.rest(), other.rest())
        client.close()
        other.close()

        head, body = whole.split(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert body == served.refused[0][1].encode() + b"\n"
        assert without_date(answer) == without_date(head + b"\r\n\r\n")
        assert [refused[0] for refused in served.refused] == [status, status]


def without_date(head: bytes) -> list[bytes]:
    return [line for line in head.split(b"\r\n") if not line.startswith(b"date: ")]


@both_loops
async def test_refusal_of_a_get_behind_a_head_has_its_body() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + GET.replace(b"Host: h", b"Host: :"))

        assert (await client.response("HEAD")).status == 200
        refused = await client.response()
        assert (refused.status, refused.body) == (400, b"malformed Host\n")
        await assert_ended(client)


@both_loops
async def test_refusal_names_the_client_that_a_trusted_proxy_speaks_for_and_else_the_proxy() -> None:
    """A head that is not whole or not good names nobody, whoever asked before it on the same connection."""
    async with serve(echo, trusted=TrustedProxies(["127.0.0.1"]), head_timeout_s=SOON_S) as served:
        client, line = await served.connect(), "X-Forwarded-For: 203.0.113.9"
        await client.send(get("/", line))
        assert (await client.response()).status == 200
        await client.send(get("/", line)[:-2])
        assert (await client.response()).status == 408
        await assert_ended(client)
        client = await served.connect()
        await client.send(get("/client/hubs/h", line))
        assert (await client.response()).status == 400
        await assert_ended(client)
        client = await served.connect()
        await client.send(post(line, "Transfer-Encoding: chunked", body=b"-1\r\n\r\n"))
        assert (await client.response()).status == 400
        await assert_ended(client)

        assert [(status, client_ip) for status, _, client_ip in served.refused] == [
            (408, "127.0.0.1"),
            (400, "203.0.113.9"),
            (400, "203.0.113.9"),
        ]


@both_loops
async def test_head_may_be_as_large_as_the_bound() -> None:
    async with serve(echo, max_head_bytes=2048) as served:
        client = await served.connect()
        filler = "x" * (2048 - len(get("/", "X: ")))
        await client.send(get("/", f"X: {filler}"))

        assert (await client.response()).status == 200
        await client.send(get("/", f"X: {filler}x"))
        assert (await client.response()).status == 431
        await assert_ended(client)


@both_loops
async def test_head_without_an_end_is_refused_at_the_bound() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(GET)
        assert (await client.response()).status == 200

        await client.send(b"GET / HTTP/1.1\r\nX: " + b"x" * (64 * 1024))

        assert (await client.response()).status == 431
        await assert_ended(client)


@both_loops
async def test_answer_arrives_although_the_client_is_still_sending() -> None:
    """A socket closed over unread bytes would reset the connection and the answer with it."""
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.1\r\nX: " + b"x" * (2 << 20))

        assert (await client.response()).status == 431
        assert await client.reader.read() == b""  # an end, and no reset
        client.close()


@both_loops
async def test_who_never_stops_sending_is_cut_off() -> None:
    async with serve(echo) as served:
        client = await served.connect()

        assert await client.send_until_cut_off(b"\x00" * (1 << 20), 100)
        client.close()


# Time


@both_loops
async def test_head_that_comes_too_slowly_is_refused() -> None:
    async with serve(echo, head_timeout_s=SOON_S) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.1\r\nHo")

        assert (await client.response()).status == 408
        await assert_ended(client)
        assert served.refused == [(408, "the request head did not come in time", "127.0.0.1")]


@both_loops
async def test_dripping_bytes_buy_no_time() -> None:
    async with serve(echo, head_timeout_s=SOON_S) as served:
        client = await served.connect()
        await client.send(GET)
        assert (await client.response()).status == 200

        async def drip() -> None:
            while True:
                await client.send(b"x")
                await asyncio.sleep(0.01)

        dripping = asyncio.ensure_future(drip())
        response = await client.response()
        dripping.cancel()

        assert response.status == 408
        client.close()


@both_loops
async def test_connection_without_a_word_is_closed_without_a_word() -> None:
    async with serve(echo, head_timeout_s=0.1) as served:
        client = await served.connect()

        await assert_ended(client)
        await eventually(lambda: not served.context.fronts)


@both_loops
async def test_kept_alive_connection_has_a_time_limit_of_its_own() -> None:
    async with serve(echo, head_timeout_s=60, idle_timeout_s=0.1) as served:
        client = await served.connect()
        await client.send(GET)
        await client.response()

        await assert_ended(client)
        assert served.refused == []


@both_loops
async def test_each_state_has_its_time_limit_and_the_application_has_none() -> None:
    app = Waiting()
    async with serve(app, head_timeout_s=100, idle_timeout_s=1000) as served:

        def limit() -> float:
            return served.fronts[0].deadline - time.monotonic()

        client = await served.connect()
        await eventually(lambda: served.fronts)
        assert 50 < limit() <= 100
        await client.send(post("Content-Length: 2"))
        await eventually(lambda: app.running)
        assert 500 < limit() <= 1000
        await client.send(b"xx")
        await eventually(lambda: limit() == math.inf)
        app.go.release()
        await client.response()
        await eventually(lambda: limit() < math.inf)
        assert 500 < limit() <= 1000
        await client.send(b"GET")
        await eventually(lambda: limit() <= 100)
        began = served.fronts[0].deadline
        await client.send(b" / HTTP/1.1\r\nHost: h\r\n", b"X: 1\r\n")
        assert served.fronts[0].deadline == began
        client.close()


@both_loops
async def test_body_that_stops_coming_is_refused() -> None:
    app = Waiting()
    async with serve(app, idle_timeout_s=0.2) as served:
        client = await served.connect()
        await client.send(post("Content-Length: 10", body=b"half"))

        assert (await client.response()).status == 408
        await assert_ended(client)
        assert app.disconnects == 1


# Bodies


@both_loops
async def test_chunked_body_split_at_each_byte() -> None:
    body = b"5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nX-Trailer: 1\r\n\r\n"
    async with serve(echo) as served:
        client = await served.connect()
        for cut in range(1, len(body)):
            await client.send(post("Transfer-Encoding: chunked", body=body[:cut]), body[cut:])

            assert (await client.response()).body.endswith(b"False\nhello, world")
        client.close()


@both_loops
async def test_trailers_do_not_become_headers() -> None:
    """They would come after the decision who is allowed what."""
    seen: list[list[tuple[bytes, bytes]]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        seen.append(list(scope["headers"]))
        await answer(send)

    async with serve(app) as served:
        client = await served.connect()
        await client.send(post("Transfer-Encoding: chunked", body=b"0\r\nAuthorization: Bearer x\r\n\r\n"))
        await client.response()

        assert seen == [[(b"host", b"h"), (b"transfer-encoding", b"chunked")]]
        client.close()


@both_loops
async def test_broken_chunk_after_good_ones_ends_the_request() -> None:
    app = Waiting()
    async with serve(app) as served:
        client = await served.connect()
        await client.send(post("Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
        await eventually(lambda: app.running)
        await client.send(b"x\r\n")

        assert (await client.response()).status == 400
        await assert_ended(client)
        assert app.disconnects == 1


@both_loops
async def test_broken_chunk_during_the_answer_cuts_it_off() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    async with serve(app) as served:
        client = await served.connect()
        await client.send(post("Transfer-Encoding: chunked", body=b"1\r\nx\r\n"))
        assert (await client.reader.readuntil(b"\r\n\r\n1")).startswith(b"HTTP/1.1 200")
        await client.send(b"x\r\n")

        await assert_ended(client)


@both_loops
async def test_offer_of_http_2_gets_an_http_1_answer_and_its_body_is_read() -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(post(*offer, "Content-Length: 5", body=b"hello"))
        assert (await client.response()).body.endswith(b"\nhello")

        await client.send(post(*offer, "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"))
        assert (await client.response()).body.endswith(b"\nhello")
        client.close()


@both_loops
async def test_leave_to_send_a_body_is_given_when_it_is_wanted() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(post("Content-Length: 5", "Expect: 100-continue"))

        assert (await client.response()).status == 100
        await client.send(b"hello")
        assert (await client.response()).body.endswith(b"\nhello")
        client.close()


@both_loops
async def test_body_that_was_not_given_leave_is_not_waited_for() -> None:
    """What comes next may be the body or another request; so nothing more is read."""
    app = Unread()
    async with serve(app) as served:
        client = await served.connect()
        await client.send(post("Content-Length: 5", "Expect: 100-continue"))

        assert (await client.response()).status == 401
        await client.send(GET)
        await assert_ended(client)
        assert app.requests == 1


@both_loops
async def test_request_after_a_body_that_nobody_read_is_served() -> None:
    app = Unread()
    async with serve(app) as served:
        client = await served.connect()
        await client.send(post("Content-Length: 300000", body=b"x"))
        assert (await client.response()).status == 401

        await client.send(b"x" * 299_999 + post("Transfer-Encoding: chunked", body=b"1\r\nx\r\n"))
        assert (await client.response()).status == 401
        await client.send(b"0\r\n\r\n" + GET)
        assert (await client.response()).status == 401
        assert app.requests == 3
        await client.send(post("Transfer-Encoding: chunked"))
        assert (await client.response()).status == 401
        await client.send(b"0\r\n\r\n" + GET.replace(b"Host", b"Ghost"))
        assert (await client.response()).status == 400
        await assert_ended(client)


@both_loops
async def test_request_after_a_body_that_was_too_much_for_the_application_is_served() -> None:
    """The HTTP server stops reading while the application does not; its answer ends that."""
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await answer(send, 401)

    async with serve(app) as served:
        client = await served.connect()
        size = 3 << 20
        sending = asyncio.ensure_future(client.send(post(f"Content-Length: {size}"), b"x" * size + GET))
        await eventually(lambda: served.fronts and not served.fronts[0].transport.is_reading())
        go.set()

        assert (await client.response()).status == 401
        assert (await client.response()).status == 401
        await sending
        client.close()


@both_loops
async def test_body_that_nobody_reads_is_not_taken_for_ever() -> None:
    async with serve(Unread()) as served:
        client = await served.connect()
        await client.send(post("Transfer-Encoding: chunked"))
        assert (await client.response()).status == 401

        assert await client.send_until_cut_off(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n", 100)
        client.close()


@both_loops
async def test_broken_body_after_its_answer_is_not_answered_again() -> None:
    async with serve(Unread()) as served:
        client = await served.connect()
        await client.send(post("Transfer-Encoding: chunked"))
        assert (await client.response()).status == 401
        await client.send(b"broken\r\n")

        await assert_ended(client)


@both_loops
async def test_large_body_waits_for_a_slow_application() -> None:
    size, chunk = 5 << 20, 50_000
    go = asyncio.Event()
    received, largest = 0, 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal received, largest
        await go.wait()
        more = True
        while more:
            message = await receive()
            received += len(message["body"])
            largest = max(largest, len(message["body"]))
            more = message["more_body"]
            await asyncio.sleep(0)
        await answer(send, body=b"%d" % received)

    async with serve(app) as served:
        client = await served.connect()
        body = b"".join(
            b"%x\r\n%b\r\n" % (min(chunk, size - at), b"x" * min(chunk, size - at)) for at in range(0, size, chunk)
        )
        sending = asyncio.ensure_future(client.send(post("Transfer-Encoding: chunked"), body + b"0\r\n\r\n" + GET))
        await eventually(lambda: served.fronts and not served.fronts[0].transport.is_reading())
        assert not sending.done()
        go.set()
        await sending

        assert (await client.response()).body == b"%d" % size
        # What uvicorn lets pile up, and what one read brings on top of it.
        assert largest <= (64 + 256) * 1024
        assert (await client.response()).body == b"%d" % size
        client.close()


@both_loops
async def test_large_answer_waits_for_a_slow_client() -> None:
    piece, pieces = b"x" * 65536, 400
    waiting: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        length = b"%d" % (len(piece) * pieces)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        for left in reversed(range(pieces)):
            await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
            waiting.append(served.fronts[0].transport.get_write_buffer_size())

    async with serve(app) as served:
        client = await served.connect()
        await client.send(GET)
        await eventually(lambda: waiting and waiting[-1] > 0)

        assert len(waiting) < pieces
        assert (await client.response()).body == piece * pieces
        assert max(waiting) <= 4 * len(piece)
        client.close()


@both_loops
async def test_client_that_does_not_take_its_answer_is_cut_off() -> None:
    ended = False

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal ended
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while served.context.fronts:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await asyncio.sleep(0)  # a send to nobody does not wait, and would keep the loop from noticing
        assert (await receive())["type"] == "http.disconnect"
        ended = True

    async with serve(app, idle_timeout_s=0.2) as served:
        client = await served.connect()
        await client.send(GET)

        await eventually(lambda: ended)
        client.reset()


class Pipe(asyncio.Transport):
    """
    Stands for a connection whose client takes what the test says.

    Attributes:
        unsent: bytes that the client has not taken.
        ended: how, if it is over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.ended = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@both_loops
async def test_client_that_takes_its_last_answer_slowly_is_not_cut_off() -> None:
    """The time limit is for taking nothing at all, also when the server has said all it has to say."""
    pipe, front = Pipe(), Front(FrontContext(echo, refuse_upgrade))
    front.connection_made(pipe)
    pipe.unsent = 1000
    front.data_received(b"GET / HTTP/1.0\r\n\r\n")
    await eventually(lambda: pipe.ended == "closed")

    pipe.unsent = 999
    front.expire()
    assert pipe.ended == "closed"
    front.expire()
    assert pipe.ended == "aborted"
    front.connection_lost(None)


@both_loops
async def test_client_that_takes_an_answer_slowly_is_not_cut_off() -> None:
    pipe, app = Pipe(), Waiting()
    context = FrontContext(app, refuse_upgrade)
    front = Front(context)
    front.connection_made(pipe)
    front.data_received(GET)
    await eventually(lambda: app.running)
    assert front.deadline == math.inf
    pipe.unsent = 1000
    front.pause_writing()
    assert front.deadline < math.inf

    pipe.unsent = 999
    front.expire()
    front.resume_writing()
    assert (pipe.ended, front.deadline) == ("", math.inf)
    front.pause_writing()
    front.expire()
    assert pipe.ended == "aborted"
    await eventually(lambda: not context.server_state.connections)
    front.connection_lost(None)
    app.go.release()
    await eventually(lambda: not context.server_state.tasks)


@both_loops
async def test_next_request_waits_until_the_answer_before_it_is_taken() -> None:
    pipe, side = Pipe(), Taken()
    context = FrontContext(echo, side.upgrade)
    front = Front(context)
    front.connection_made(pipe)
    front.data_received(GET)
    await eventually(lambda: context.server_state.total_requests == 1)
    front.pause_writing()
    front.data_received(WEBSOCKET)
    assert side.heads == []

    front.resume_writing()
    assert len(side.heads) == 1
    assert not context.fronts


# Sending ahead


@both_loops
async def test_requests_sent_ahead_are_answered_one_after_the_other() -> None:
    app = Waiting()
    async with serve(app) as served:
        client = await served.connect()
        await client.send(b"".join(get(f"/{number}") for number in range(5)))
        await eventually(lambda: app.running)

        for path in ("/0", "/1", "/2", "/3", "/4"):
            await eventually(lambda: app.running)
            assert app.paths[-1] == path
            app.go.release()
            assert (await client.response()).body == path.encode()
        client.close()


@both_loops
async def test_requests_with_bodies_sent_ahead_in_odd_pieces_keep_their_bodies() -> None:
    wire = b""
    for number in range(40):
        body = b"%d" % number * number
        if number % 2:
            wire += post("Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        else:
            wire += post(f"Content-Length: {len(body)}", body=body)
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(*[wire[at : at + 37] for at in range(0, len(wire), 37)])

        for number in range(40):
            assert (await client.response()).body.endswith(b"False\n" + b"%d" % number * number)
        client.close()


@both_loops
async def test_reading_pauses_while_a_request_waits_behind_another() -> None:
    app = Waiting()
    async with serve(app) as served:
        client = await served.connect()
        await client.send(get("/1") + get("/2"))
        await eventually(lambda: app.running)
        assert not served.fronts[0].transport.is_reading()

        app.go.release()
        assert (await client.response()).body == b"/1"
        await eventually(lambda: len(app.paths) == 2)
        assert served.fronts[0].transport.is_reading()
        app.go.release()
        assert (await client.response()).body == b"/2"
        client.close()


@both_loops
async def test_thousands_of_requests_sent_ahead_are_all_answered() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        sending = asyncio.ensure_future(client.send(get("/", "X: " + "x" * 500) * 2000))

        for _ in range(2000):
            assert (await client.response()).status == 200
        await sending
        client.close()


# WebSocket


@both_loops
async def test_upgrade_is_handed_over_with_what_came_behind_it() -> None:
    side = Taken()
    async with serve(echo, side.upgrade) as served:
        client = await served.connect()
        await client.send(WEBSOCKET + b"early")

        assert (await client.response()).status == 101
        await client.send(b" and late")
        await eventually(lambda: side.data == b"early and late")
        assert side.heads == [
            RequestHead(
                method="GET",
                target="/client/hubs/h?x=1",
                headers=(("HOST", "H:1"), ("Connection", "Upgrade"), ("upgrade", "WebSocket")),
                fields={"host": ["H:1"], "connection": ["Upgrade"], "upgrade": ["WebSocket"]},
                scheme="http",
                host="h:1",
                client_ip="127.0.0.1",
            )
        ]
        assert not served.context.fronts
        assert served.answered == 0
        client.close()
        await eventually(lambda: side.transport is None)


@both_loops
async def test_upgrade_may_be_a_later_request_and_waits_for_the_answers_before_it() -> None:
    app, side = Waiting(), Taken()
    async with serve(app, side.upgrade) as served:
        client = await served.connect()
        await client.send(get("/1") + WEBSOCKET + b"early")
        await eventually(lambda: app.running)
        assert side.heads == []
        app.go.release()

        assert (await client.response()).body == b"/1"
        assert (await client.response()).status == 101
        await client.send(b" and late")
        await eventually(lambda: side.data == b"early and late")
        assert not served.context.server_state.connections
        client.close()


@both_loops
async def test_upgrade_through_a_trusted_proxy_knows_the_client() -> None:
    side = Taken()
    async with serve(echo, side.upgrade, trusted=TrustedProxies(["127.0.0.1"])) as served:
        client = await served.connect()
        lines = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: wss", "X-Forwarded-Host: Public:443")
        await client.send(get("/", "Connection: upgrade", "Upgrade: websocket", *lines))
        assert (await client.response()).status == 101

        (head,) = side.heads
        assert (head.client_ip, head.scheme, head.host) == ("203.0.113.9", "https", "public:443")
        client.close()


@both_loops
async def test_refused_upgrade_ends_the_connection_after_its_answer() -> None:
    async with serve(echo, refuse_upgrade) as served:
        client = await served.connect()
        await client.send(WEBSOCKET + b"early")

        assert (await client.response()).status == 401
        await assert_ended(client)


# Decisions


@both_loops
async def test_client_that_is_decided_on_is_handed_over_with_all_that_it_sent_meanwhile() -> None:
    side = Deciders()
    async with serve(echo, side.decide) as served:
        client = await served.connect()
        await client.send(WEBSOCKET + b"with the head", b", early", b", earlier than that")
        await eventually(lambda: b"that" in served.fronts[0].front._buffer)
        assert (side.heads, len(served.context.fronts)) == ([], 1)

        side.asked[0].on_decided()

        assert (await client.response()).status == 101
        await client.send(b" and late")
        await eventually(lambda: side.data == b"with the head, early, earlier than that and late")
        assert (side.asked[0].finished, side.asked[0].left) == (1, False)
        assert not served.context.fronts
        client.close()
        await eventually(lambda: side.transport is None)
        assert not side.asked[0].left


@both_loops
async def test_client_that_sends_too_much_while_it_is_decided_on_is_not_read_until_then() -> None:
    side = Deciders()
    async with serve(echo, side.decide) as served:
        client = await served.connect()
        await client.send(WEBSOCKET)
        await eventually(lambda: side.asked)
        (front,) = served.fronts
        await client.send(b"x" * 64 * 1024)
        await eventually(lambda: len(front.front._buffer) == 64 * 1024)
        assert front.transport.is_reading()

        sending = asyncio.ensure_future(client.send(*[b"y" * 64 * 1024] * 16))
        await eventually(lambda: not front.transport.is_reading())
        held = len(front.front._buffer)
        assert held <= 64 * 1024 + 256 * 1024, "the bound and what one read brings"

        side.asked[0].on_decided()
        await sending
        await eventually(lambda: len(side.data) == 17 * 64 * 1024)
        assert (await client.response()).status == 101
        client.close()
        await eventually(lambda: side.transport is None)


@pytest.mark.parametrize("go", [Client.close, Client.reset, Client.end], ids=["close", "reset", "end"])
@both_loops
async def test_client_that_goes_while_it_is_decided_on_is_noticed_and_forgotten(go: Callable[[Client], None]) -> None:
    side = Deciders()
    async with serve(echo, side.decide) as served:
        client = await served.connect()
        await client.send(WEBSOCKET + b"early")
        await eventually(lambda: side.asked)

        go(client)
        await eventually(lambda: side.asked[0].left)
        await eventually(lambda: not served.context.fronts)

        side.asked[0].on_decided()
        assert side.asked[0].finished == 0
        client.close()


@both_loops
async def test_client_that_is_refused_after_a_while_gets_its_answer_although_it_is_still_sending() -> None:
    side = Deciders()
    side.then = refuse_upgrade
    async with serve(echo, side.decide) as served:
        client = await served.connect()
        await client.send(WEBSOCKET + b"early")
        await eventually(lambda: side.asked)
        sending = asyncio.ensure_future(client.send(*[b"x" * 64 * 1024] * 8))
        await eventually(lambda: not served.fronts[0].transport.is_reading())

        side.asked[0].on_decided()

        assert (await client.response()).status == 401
        await sending
        await assert_ended(client)
        assert not side.asked[0].left


@both_loops
async def test_client_is_not_timed_out_while_it_is_decided_on() -> None:
    side = Deciders()
    async with serve(echo, side.decide) as served:
        client = await served.connect()
        await client.send(WEBSOCKET)
        await eventually(lambda: side.asked)

        assert served.fronts[0].deadline == math.inf
        client.close()
        await eventually(lambda: side.asked[0].left)


@both_loops
async def test_upgrade_that_is_decided_on_may_be_a_later_request() -> None:
    side = Deciders()
    async with serve(echo, side.decide) as served:
        client = await served.connect()
        await client.send(get("/1"))
        assert (await client.response()).status == 200
        await client.send(WEBSOCKET)
        await eventually(lambda: side.asked)
        assert not served.context.server_state.connections

        side.asked[0].on_decided()

        assert (await client.response()).status == 101
        client.close()
        await eventually(lambda: side.transport is None)


@both_loops
async def test_who_is_decided_on_when_the_server_ends_is_refused_at_once() -> None:
    """Whatever is decided, nobody would be let in any more."""
    side = Deciders()
    async with serve(echo, side.decide) as served:
        client = await served.connect()
        await client.send(WEBSOCKET)
        await eventually(lambda: side.asked)

        draining = asyncio.ensure_future(served.context.drain(10))

        assert (await client.response()).status == 503
        client.close()
        assert await draining == 0
        assert side.asked[0].left
        side.asked[0].on_decided()
        assert side.asked[0].finished == 0


@pytest.mark.parametrize(
    "request_bytes",
    [
        get("/client/hubs/h"),
        get("/client?hub=h"),
        get("//Client/"),
        get("/clients/mqtt/hubs/h"),
        get("/server/tunnel?hub=h"),
        b"GET /client/hubs/h HTTP/1.0\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /client/hubs/h HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi",
        b"POST /client/hubs/h HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Content-Length: 2\r\n\r\nhi",
    ],
)
@both_loops
async def test_request_to_a_clients_endpoint_that_is_no_upgrade_by_the_rules_of_http_is_refused(
    request_bytes: bytes,
) -> None:
    """HTTP/1.0 knows no upgrades, and one with a body could smuggle that in as frames."""
    side = Taken()
    async with serve(echo, side.upgrade) as served:
        client = await served.connect()
        await client.send(request_bytes)

        assert (await client.response()).status == 400
        await assert_ended(client)
        assert (side.heads, served.answered) == ([], 0)


@both_loops
async def test_post_that_offers_websocket_is_a_plain_request() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(post("Connection: upgrade", "Upgrade: websocket", "Content-Length: 2", body=b"hi"))

        assert (await client.response()).body.endswith(b"\nhi")
        client.close()


# Ends


@both_loops
async def test_client_that_goes_in_the_middle_of_a_body_is_noticed() -> None:
    app = Waiting()
    async with serve(app) as served:
        for leave in (Client.close, Client.reset):
            client = await served.connect()
            await client.send(post("Content-Length: 10", body=b"half"))
            await eventually(lambda: app.running)
            leave(client)

            await eventually(lambda: not app.running and not served.context.fronts)
        assert app.disconnects == 2


@both_loops
async def test_client_that_goes_in_the_middle_of_a_head_leaves_nothing() -> None:
    async with serve(echo) as served:
        client = await served.connect()
        await client.send(GET)
        await client.response()
        await client.send(b"GET / HT")
        client.close()

        await eventually(lambda: not served.context.fronts)
        assert served.refused == []


@both_loops
async def test_client_that_ends_its_side_still_gets_its_answers() -> None:
    app = Waiting()
    async with serve(app) as served:
        client = await served.connect()
        await client.send(get("/1") + get("/2") + b"GET /3")
        client.end()
        await eventually(lambda: app.running)
        app.go.release()
        app.go.release()

        assert (await client.response()).body == b"/1"
        assert (await client.response()).body == b"/2"
        await assert_ended(client)


@both_loops
async def test_client_that_ended_its_side_cannot_become_a_websocket() -> None:
    pipe, side = Pipe(), Taken()
    front = Front(FrontContext(echo, side.upgrade))
    front.connection_made(pipe)
    front.data_received(GET)
    front.data_received(WEBSOCKET)
    assert front.eof_received()

    await eventually(lambda: pipe.ended == "closed")
    assert pipe.written.startswith(b"HTTP/1.1 200")
    assert side.heads == []
    front.connection_lost(None)


@pytest.mark.parametrize("begun", [b"GET / HT", post("Content-Length: 5", body=b"x")], ids=["head", "body"])
@both_loops
async def test_client_that_ended_its_side_is_not_waited_for(begun: bytes) -> None:
    pipe, context = Pipe(), FrontContext(echo, refuse_upgrade)
    front = Front(context)
    front.connection_made(pipe)
    front.data_received(GET)
    front.data_received(begun)
    assert front.eof_received()

    await eventually(lambda: pipe.ended == "closed")
    await eventually(lambda: not context.server_state.tasks)
    assert pipe.written.count(b"HTTP/1.1") == 1
    front.connection_lost(None)


@both_loops
async def test_client_that_ends_its_side_before_its_body_is_whole_is_gone() -> None:
    app = Waiting()
    async with serve(app) as served:
        client = await served.connect()
        await client.send(get("/1") + post("Content-Length: 5", body=b"x"))
        client.end()
        await eventually(lambda: app.running)
        app.go.release()

        assert (await client.response()).body == b"/1"
        await assert_ended(client)
        await eventually(lambda: not app.running)


@both_loops
async def test_application_that_fails_is_answered_for() -> None:
    """The one complaint in the log is about the application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        return None

    async with serve(app) as served:
        client = await served.connect()
        logging.getLogger("uvicorn.error").disabled = True
        try:
            await client.send(GET)
            assert (await client.response()).status == 500
            await assert_ended(client)
        finally:
            logging.getLogger("uvicorn.error").disabled = False


# Crowds


class Crowd:
    """
    Clients whose requests all come in one turn: more than a turn takes.

    Attributes:
        side: where those who were let in are.
        queued: the front and the connection of the last one, who has to wait.
    """

    def __init__(self, request: bytes = WEBSOCKET, side: Deciders | None = None) -> None:
        self.side = side or Taken()
        self.context = FrontContext(echo, self.side.upgrade if side is None else side.decide)
        self.pipes = [Pipe() for _ in range(100)]
        self.fronts = [Front(self.context) for _ in self.pipes]
        for front, pipe in zip(self.fronts, self.pipes, strict=True):
            front.connection_made(pipe)
            front.data_received(request)
        self.queued = self.fronts[-1], self.pipes[-1]

    async def pass_by(self) -> None:
        """Wait until everybody had a turn."""
        await eventually(lambda: not self.context.fronts)


@both_loops
async def test_crowd_is_let_in_some_at_a_time() -> None:
    crowd = Crowd()
    assert 0 < len(crowd.side.heads) < 50

    await crowd.pass_by()

    assert len(crowd.side.heads) == 100


@both_loops
async def test_who_waits_for_a_turn_is_not_timed_out_and_may_send_on() -> None:
    crowd = Crowd()
    front, pipe = crowd.queued
    assert front.deadline == math.inf

    front.data_received(b"early ")
    front.data_received(b"bird")
    await crowd.pass_by()

    assert crowd.side.data == b"early bird"
    assert pipe.written.startswith(b"HTTP/1.1 101")


@both_loops
async def test_who_waited_for_a_turn_is_decided_on_with_what_was_sent_meanwhile() -> None:
    deciders = Deciders()
    crowd = Crowd(side=deciders)
    front, pipe = crowd.queued
    front.data_received(b"early ")
    await eventually(lambda: len(deciders.asked) == 100)
    front.data_received(b"bird")
    assert front.deadline == math.inf

    deciders.asked[-1].on_decided()

    assert deciders.data == b"early bird"
    assert pipe.written.startswith(b"HTTP/1.1 101")
    for other in crowd.fronts[:-1]:
        other.connection_lost(None)
    assert [asked.left for asked in deciders.asked] == [True] * 99 + [False]
    assert not crowd.context.fronts


@both_loops
async def test_who_leaves_while_waiting_for_a_turn_is_forgotten() -> None:
    crowd = Crowd()
    front, pipe = crowd.queued

    front.connection_lost(None)
    await crowd.pass_by()

    assert pipe.written == b""
    assert len(crowd.side.heads) == 99


@both_loops
async def test_who_ended_its_side_while_waiting_for_a_turn_is_answered() -> None:
    crowd = Crowd(GET)
    front, pipe = crowd.queued

    assert front.eof_received()
    await eventually(lambda: pipe.ended == "closed")

    assert pipe.written.startswith(b"HTTP/1.1 200")
    for other in crowd.fronts:
        other.connection_lost(None)
    await eventually(lambda: not crowd.context.server_state.tasks)


@both_loops
async def test_who_waits_for_a_turn_when_the_server_ends_is_told_so() -> None:
    crowd = Crowd()
    _, pipe = crowd.queued
    ending = asyncio.ensure_future(crowd.context.drain(5.0))

    await eventually(lambda: bool(pipe.written))
    assert pipe.written.startswith(b"HTTP/1.1 503")
    for front in crowd.fronts:
        front.connection_lost(None)
    await ending


@both_loops
async def test_requests_that_were_sent_ahead_behind_one_that_waited_are_answered() -> None:
    crowd = Crowd(GET + GET)
    _, pipe = crowd.queued

    await eventually(lambda: pipe.written.count(b"HTTP/1.1 200") == 2)

    for front in crowd.fronts:
        front.connection_lost(None)
    await eventually(lambda: not crowd.context.server_state.tasks)


# Faults of ours


def fail(head: RequestHead, transport: asyncio.Transport, rest: bytes) -> asyncio.BaseProtocol:
    """A fault behind the 101."""
    Taken().upgrade(head, transport, rest)
    raise RuntimeError("a fault of ours")


def tell_faults() -> list[Any]:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(str(context["exception"])))
    return told


@both_loops
async def test_client_that_we_fail_to_let_in_is_ended_and_forgotten() -> None:
    told = tell_faults()
    async with serve(echo, fail) as served:
        client = await served.connect()
        await client.send(WEBSOCKET)
        await client.rest()
        client.close()
        left = len(served.context.fronts)
        served.context.fronts.clear()
    assert left == 0
    assert told == ["a fault of ours"]


@both_loops
async def test_client_that_was_decided_on_and_that_we_fail_to_let_in_is_ended_and_forgotten() -> None:
    side = Deciders()
    side.then = fail
    async with serve(echo, side.decide) as served:
        client = await served.connect()
        await client.send(WEBSOCKET)
        await eventually(lambda: side.asked)

        with pytest.raises(RuntimeError, match="a fault of ours"):
            side.asked[0].on_decided()

        await client.rest()
        client.close()
        assert not served.context.fronts


@both_loops
async def test_client_that_waited_and_that_we_fail_to_let_in_is_ended_and_forgotten() -> None:
    """No loop closes it for us: nothing came from the socket in that turn."""
    told = tell_faults()
    crowd = Crowd()
    _, pipe = crowd.queued
    waiting = len(crowd.context.fronts)
    crowd.context.upgrade = fail

    await crowd.pass_by()

    assert pipe.ended == "aborted"
    assert told == ["a fault of ours"] * waiting
