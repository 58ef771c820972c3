"""Requests of a tunnel, made to an application, and its answers on the way back."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from acceptance.servers import free_port
from hubwire.cli import forwarding
from hubwire.cli.forwarding import Forwarded, Forwarder, answer_parts
from hubwire.upstream.tunnel_frames import HttpRequest
from vectors.tunnel_frames import unpacked

MIB = 1 << 20

Application = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Asked:
    """What an application was asked last."""

    def __init__(self) -> None:
        self.method = ""
        self.path = ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Remember a request, and answer 204."""
        self.method, self.path, self.headers = request.method, request.raw_path, list(request.raw_headers)
        self.body = await request.read()
        return web.Response(status=204)


@asynccontextmanager
async def listening(application: Application) -> AsyncIterator[str]:
    """An application on a free port; gives its URL."""
    served = web.Application(client_max_size=64 * MIB)
    served.router.add_route("*", "/{anything:.*}", application)
    runner = web.AppRunner(served, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def forwarder(upstream: str) -> AsyncIterator[Forwarder]:
    """One with a session such as the command makes it."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as session:
        yield Forwarder(session, URL(upstream))


async def forwarded(
    application: Application, request: HttpRequest, body: bytes = b"", *, below: str = ""
) -> tuple[Forwarded, str]:
    """What comes of a request, and the URL of the application."""
    async with listening(application) as url, forwarder(url + below) as made:
        return await made.forward(request, body), url


def post(url: str = "tunnel:///events/connect", headers: Any = None) -> HttpRequest:
    return HttpRequest(1, "POST", url, headers)


# The way there


@pytest.mark.parametrize(
    ("url", "below", "path"),
    [
        ("tunnel:///events/connect", "", "/events/connect"),
        ("tunnel:///e?code=a%20b&x", "", "/e?code=a%20b&x"),
        ("https://host.example:1/e%2Ff?x#y", "", "/e%2Ff?x"),
        ("https://host.example", "", "/"),
        ("tunnel:///e", "/base", "/base/e"),
        ("tunnel:///e", "/base/", "/base/e"),
        ("/e", "", "/e"),
    ],
)
async def test_path_and_query_are_put_behind_the_upstream(url: str, below: str, path: str) -> None:
    asked = Asked()

    answer, _ = await forwarded(asked.answer, post(url), below=below)

    assert (answer.status, asked.path) == (204, path)


async def test_request_is_made_as_it_was_asked_for_and_with_nothing_else() -> None:
    asked = Asked()
    headers = {
        "ce-type": ["azure.webpubsub.sys.connect"],
        "Content-Type": "x/y",
        "Cookie": ["a=1", "b=2"],
        "ce-userId": ["Ã\x9cnÃ¯"],
        "x-latin": ["\xe9"],
        "x-none": None,
        "Host": ["elsewhere"],
        "Content-Length": ["99"],
        "Connection": ["close"],
        "Transfer-Encoding": ["chunked"],
    }

    _, url = await forwarded(asked.answer, post(headers=headers), b"{}")

    assert (asked.method, asked.body) == ("POST", b"{}")
    assert sorted(asked.headers) == [
        (b"Content-Length", b"2"),
        (b"Content-Type", b"x/y"),
        (b"Cookie", b"a=1"),
        (b"Cookie", b"b=2"),
        (b"Host", url.removeprefix("http://").encode()),
        (b"ce-type", b"azure.webpubsub.sys.connect"),
        (b"ce-userId", "Ünï".encode()),
        (b"x-latin", "é".encode()),
    ]


async def test_request_without_a_body_says_so() -> None:
    """Some applications wait for a body whose length they are not told."""
    asked = Asked()

    await forwarded(asked.answer, post())

    assert (asked.body, dict(asked.headers)[b"Content-Length"]) == (b"", b"0")


# The way back


async def test_answer_comes_as_the_application_gave_it() -> None:
    async def application(_request: web.Request) -> web.Response:
        response = web.Response(status=201, body=b"\x00\xff", content_type="application/octet-stream")
        response.headers.add("Set-Cookie", "a=1")
        response.headers.add("set-cookie", "b=2")
        response.headers["ce-connectionState"] = "é"
        return response

    answer, _ = await forwarded(application, post())

    assert (answer.status, answer.body, answer.fault) == (201, b"\x00\xff", None)
    assert answer.headers["Set-Cookie"] == ["a=1", "b=2"]
    assert answer.headers["ce-connectionState"] == ["Ã©"]
    assert {name.lower() for name in answer.headers}.isdisjoint({"connection", "transfer-encoding", "content-length"})


async def test_redirect_is_an_answer_and_no_errand() -> None:
    async def application(request: web.Request) -> web.Response:
        assert request.path == "/events/connect"
        raise web.HTTPFound("/elsewhere")

    answer, _ = await forwarded(application, post())

    assert (answer.status, answer.headers["Location"], answer.fault) == (302, ["/elsewhere"], None)


async def test_answer_that_is_compressed_stays_so() -> None:
    packed = gzip.compress(b"hello")

    async def application(_request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    answer, _ = await forwarded(application, post())

    assert (answer.body, answer.headers["Content-Encoding"]) == (packed, ["gzip"])


async def test_answer_in_chunks_is_one_body() -> None:
    async def application(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for piece in (b"a", b"b"):
            await response.write(piece)
        await response.write_eof()
        return response

    assert (await forwarded(application, post()))[0].body == b"ab"


# When there is none


async def test_application_that_is_not_there_is_a_500_that_says_so() -> None:
    port = free_port()
    async with forwarder(f"http://127.0.0.1:{port}/base") as made:
        answer = await made.forward(post(), b"")

    reason = f"cannot reach http://127.0.0.1:{port}: Connection refused"
    assert answer == Forwarded(500, {"Content-Type": ["text/plain; charset=utf-8"]}, reason.encode(), reason)


async def test_application_that_hangs_up_is_a_500_that_says_so() -> None:
    async def application(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    answer, url = await forwarded(application, post())

    assert (answer.status, answer.fault) == (500, f"{url} closed the connection without an answer")


async def test_application_that_does_not_answer_is_a_500_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_TIMEOUT_S", 0.05)

    async def application(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    answer, url = await forwarded(application, post())

    assert (answer.status, answer.fault) == (500, f"{url} did not answer within 0.05 seconds")


async def test_answer_that_is_too_large_is_a_500_that_says_so() -> None:
    async def application(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * (16 * MIB + (1 if request.path == "/more" else 0)))

    answer, _ = await forwarded(application, post("tunnel:///as-much"))
    assert (answer.status, len(answer.body)) == (200, 16 * MIB)

    answer, url = await forwarded(application, post("tunnel:///more"))
    assert (answer.status, answer.fault) == (500, f"the answer of {url} is larger than 16 MiB")


@pytest.mark.parametrize(
    "request_",
    [
        post(headers={"x": ["a\r\nInjected: 1"]}),
        post(headers={"no name": ["x\n"]}),
        post("https://[::1"),
        HttpRequest(1, "NO METHOD", "tunnel:///e"),
    ],
)
async def test_request_that_cannot_be_made_is_a_500_and_never_quotes_what_was_asked(request_: HttpRequest) -> None:
    asked = Asked()

    answer, url = await forwarded(asked.answer, request_)

    assert (answer.status, asked.method) == (500, "")
    assert (answer.fault or "").startswith(f"the request to {url} failed (")


# Parts


def parts(answer: Forwarded) -> list[tuple[dict[str, Any], bytes]]:
    """Fields and body of each message that takes an answer back; each is as long as it may be at most."""
    request = HttpRequest(7, "POST", "tunnel:///e", local_routing=True, channel_name="c", tracing_id=9)
    messages = list(answer_parts(request, answer))
    assert all(len(message) - 4 <= MIB for message in messages)
    return [(fields, content) for _, fields, content in map(unpacked, messages)]


def test_answer_that_fits_is_one_part_that_repeats_what_the_request_named() -> None:
    assert parts(Forwarded(201, {"x": ["y"]}, b"body")) == [
        (
            {
                "Type": 2,
                "AckId": 7,
                "StatusCode": 201,
                "Headers": {"x": ["y"]},
                "NotCompleted": False,
                "LocalRouting": True,
                "ChannelName": "c",
                "TracingId": 9,
            },
            b"body",
        )
    ]


@given(st.integers(0, 4), st.integers(-600, 600), st.integers(0, 3000))
def test_larger_answer_is_put_together_from_its_parts(times: int, more: int, header: int) -> None:
    body = (b"0123456789abcdef" * (MIB // 16) * times + b"x" * 600)[: max(0, times * MIB + more)]

    found = parts(Forwarded(200, {"x": ["y" * header]}, body))

    assert b"".join(content for _, content in found) == body
    assert [fields["NotCompleted"] for fields, _ in found] == [True] * (len(found) - 1) + [False]
    assert [fields["Headers"] for fields, _ in found] == [{"x": ["y" * header]}, *[{}] * (len(found) - 1)]
    assert all(content for _, content in found[1:])


def test_headers_that_are_too_large_are_a_500_that_says_so() -> None:
    ((fields, content),) = parts(Forwarded(200, {"x": ["y" * MIB]}, b"body"))

    assert (fields["StatusCode"], content) == (500, b"the headers of the answer are larger than a message may be")
