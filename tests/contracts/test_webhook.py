"""
The contract of `model.ports.Webhook`, against handlers that answer with any bytes. A new adapter joins by an entry in
`WEBHOOKS`: a function from the most bytes of a response to a webhook that may call this machine.
"""

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, Protocol

import pytest

from hubwire.adapters.targets import TargetGuard
from hubwire.adapters.webhook_http import HttpWebhook
from hubwire.model.ports import Webhook
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from raw_handlers import Answer, Heard, RawHandler, closes, quiet, reset, response, says, until

LONG_S = 30.0
SHORT_S = 0.2
MOST_BYTES = 64 * 1024
SECRET = "s3cr3t"

Method = Literal["OPTIONS", "GET", "POST"]
METHODS: tuple[Method, ...] = ("OPTIONS", "GET", "POST")


class ClosableWebhook(Webhook, Protocol):
    async def close(self) -> None: ...


def http(most_bytes: int) -> ClosableWebhook:
    return HttpWebhook(TargetGuard(lambda: ()), version="1.2.3", max_response_bytes=most_bytes)


WEBHOOKS: dict[str, Callable[[int], ClosableWebhook]] = {"http": http}


@pytest.fixture(params=WEBHOOKS)
async def webhook(request: pytest.FixtureRequest) -> AsyncIterator[ClosableWebhook]:
    opened = WEBHOOKS[request.param](MOST_BYTES)
    yield opened
    await opened.close()


@pytest.fixture
async def handler() -> AsyncIterator[RawHandler]:
    running = await RawHandler(says(response())).start()
    yield running
    await running.stop()


def post(handler: RawHandler, *headers: tuple[str, str], body: bytes = b"", path: str = "/e") -> OutgoingRequest:
    return OutgoingRequest("POST", f"{handler.url}{path}", headers, body)


async def answered(webhook: Webhook, handler: RawHandler, answer: Answer) -> IncomingResponse:
    handler.answer = answer
    return await webhook.send(post(handler, body=b"x"), LONG_S)


async def failure(webhook: Webhook, request: OutgoingRequest, timeout_s: float = LONG_S) -> WebhookFailed:
    with pytest.raises(WebhookFailed) as raised:
        await webhook.send(request, timeout_s)
    return raised.value


async def failed(webhook: Webhook, handler: RawHandler, answer: Answer, timeout_s: float = LONG_S) -> WebhookFailed:
    """Of a call with secrets in it, which the reason does not give away."""
    handler.answer = answer
    request = post(
        handler, ("Authorization", f"Bearer {SECRET}"), body=SECRET.encode(), path=f"/{SECRET}?code={SECRET}"
    )
    found = await failure(webhook, request, timeout_s)
    assert SECRET not in f"{found.reason}{found}{found!r}"
    assert found.__cause__ is None, "the texts of other errors hold the URL"
    assert f"127.0.0.1:{handler.port}" in found.reason
    assert "\n" not in found.reason
    return found


# The request.


async def test_request_goes_out_as_it_is_given(webhook: Webhook, handler: RawHandler) -> None:
    headers = (
        ("WebHook-Request-Origin", "chat.example.org"),
        ("ce-awpsversion", "1.0"),
        ("Content-Type", "application/json; charset=utf-8"),
        ("ce-type", "azure.webpubsub.sys.connect"),
        ("X-WebPubSub-Metadata-a", "1"),
    )

    await webhook.send(post(handler, *headers, body=b'{"claims":{}}', path="/api/{x}?code=a%2Bb+c&%C3%BC=%7e"), LONG_S)

    assert handler.heard[0].body == b'{"claims":{}}'
    assert handler.heard[0].lines == [
        b"POST /api/{x}?code=a%2Bb+c&%C3%BC=%7e HTTP/1.1",
        b"Host: 127.0.0.1:%d" % handler.port,
        b"WebHook-Request-Origin: chat.example.org",
        b"ce-awpsversion: 1.0",
        b"Content-Type: application/json; charset=utf-8",
        b"ce-type: azure.webpubsub.sys.connect",
        b"X-WebPubSub-Metadata-a: 1",
        b"User-Agent: Hubwire/1.2.3",
        b"Content-Length: 13",
    ]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("", b"/"),
        ("?code=1", b"/?code=1"),
        ("/a%2Fb/%2e%2e/%C3%A4", b"/a%2Fb/%2e%2e/%C3%A4"),
        ("//x/../y/./z//", b"//x/../y/./z//"),
        ("/x?a=1&a=2&&=;'\"<>|\\^`", b"/x?a=1&a=2&&=;'\"<>|\\^`"),
    ],
)
async def test_url_is_not_changed(webhook: Webhook, handler: RawHandler, url: str, target: bytes) -> None:
    await webhook.send(post(handler, path=url), LONG_S)

    assert handler.heard[0].lines[0] == b"POST %b HTTP/1.1" % target


@pytest.mark.parametrize("url", ["/a b", "/ä", "/x#y", "/x\r\nEvil: 1", "/x\ny", "/x\ty", "/x\x00", "/\x7f"])
async def test_url_that_cannot_be_sent_as_it_is_goes_nowhere(webhook: Webhook, handler: RawHandler, url: str) -> None:
    assert (await failure(webhook, post(handler, path=url))).kind == "invalid"

    assert handler.connections == 0


@pytest.mark.parametrize(
    "url",
    ["", "x", "/x", "http://", "http:///x", "ftp://127.0.0.1/", "tunnel:///x", "http://127.0.0.1:99999/", "http://["],
)
async def test_what_is_no_url_of_http_goes_nowhere(webhook: Webhook, url: str) -> None:
    assert (await failure(webhook, OutgoingRequest("POST", url, ()))).kind == "invalid"


@pytest.mark.parametrize("host", ["127.0.0.256", "a" * 64, "a..b", "-", "[::1"])
async def test_host_that_is_none_is_told(webhook: Webhook, host: str) -> None:
    assert (await failure(webhook, OutgoingRequest("POST", f"http://{host}:1/", ()))).kind in ("invalid", "unreachable")


async def test_characters_beyond_ascii_go_as_utf_8(webhook: Webhook, handler: RawHandler) -> None:
    await webhook.send(post(handler, ("ce-userId", "Zoë 漢字 😀")), LONG_S)

    assert handler.heard[0].lines[2] == "ce-userId: Zoë 漢字 😀".encode()


async def test_headers_keep_their_order_and_spelling_also_if_they_differ_in_letter_case_only(
    webhook: Webhook, handler: RawHandler
) -> None:
    await webhook.send(post(handler, ("mqtt-A", "1"), ("mqtt-a", "2"), ("b", "3"), ("mqtt-A", "4"), ("c", "")), LONG_S)

    assert handler.heard[0].lines[2:7] == [b"mqtt-A: 1", b"mqtt-a: 2", b"b: 3", b"mqtt-A: 4", b"c: "]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce-userId", "a\r\nEvil: 1"),
        ("ce-userId", "a\nEvil: 1"),
        ("ce-userId", "a\rb"),
        ("ce-userId", "a\x00b"),
        ("ce-userId", "a\x7f"),
        ("ce-userId", "ad\ud800min"),
        ("X-Evil: 1\r\nx", "1"),
        ("X Y", "1"),
        ("X:Y", "1"),
        ("", "1"),
        ("ü", "1"),
    ],
)
async def test_header_that_would_be_another_one_goes_nowhere(
    webhook: Webhook, handler: RawHandler, name: str, value: str
) -> None:
    found = await failure(webhook, post(handler, (name, value)))

    assert (found.kind, handler.connections) == ("invalid", 0)
    assert "\n" not in found.reason
    assert value not in found.reason or value == "1"


async def test_empty_body_of_a_post_has_a_length_and_no_type(webhook: Webhook, handler: RawHandler) -> None:
    await webhook.send(post(handler), LONG_S)

    assert handler.heard[0].lines[1:] == [
        b"Host: 127.0.0.1:%d" % handler.port,
        b"User-Agent: Hubwire/1.2.3",
        b"Content-Length: 0",
    ]


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
async def test_other_methods_have_no_body(webhook: Webhook, handler: RawHandler, method: Method) -> None:
    await webhook.send(OutgoingRequest(method, f"{handler.url}/e", (("ce-awpsversion", "1.0"),)), LONG_S)

    assert handler.heard[0].lines == [
        b"%b /e HTTP/1.1" % method.encode(),
        b"Host: 127.0.0.1:%d" % handler.port,
        b"ce-awpsversion: 1.0",
        b"User-Agent: Hubwire/1.2.3",
    ]


@pytest.mark.parametrize("size", [1, MOST_BYTES, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20])
async def test_body_of_any_size_goes_whole_and_with_its_length(
    webhook: Webhook, handler: RawHandler, size: int
) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    await webhook.send(post(handler, ("Content-Type", "application/octet-stream"), body=body[:size]), LONG_S)

    assert handler.heard[0].body == body[:size]
    assert b"chunked" not in handler.heard[0].head
    assert handler.heard[0].head.count(b"Content-Type") == 1


# The response.


@pytest.mark.parametrize("status", [200, 201, 299, 300, 400, 401, 403, 404, 418, 429, 499, 500, 503, 599])
async def test_status_and_body_come_as_they_are(webhook: Webhook, handler: RawHandler, status: int) -> None:
    found = await answered(webhook, handler, says(response(status, "Content-Type: text/plain", body=b"\x00\xffno")))

    assert (found.status, found.body, found.last("content-type")) == (status, b"\x00\xffno", "text/plain")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", METHODS)
async def test_redirect_is_an_answer_like_others(
    webhook: Webhook, handler: RawHandler, method: Method, status: int
) -> None:
    handler.answer = says(response(status, f"Location: {handler.url}/elsewhere"))

    found = await webhook.send(OutgoingRequest(method, f"{handler.url}/e", ()), LONG_S)

    assert (found.status, found.last("location")) == (status, f"{handler.url}/elsewhere")
    assert len(handler.heard) == 1


@pytest.mark.parametrize("status", [204, 304])
async def test_answer_without_a_body_need_not_say_so(webhook: Webhook, handler: RawHandler, status: int) -> None:
    for _ in range(2):
        found = await answered(webhook, handler, says(b"HTTP/1.1 %d X\r\n\r\n" % status))
        assert (found.status, found.body) == (status, b"")

    assert handler.connections == 1


async def test_lines_of_a_header_stay_apart_and_in_order(webhook: Webhook, handler: RawHandler) -> None:
    lines = ("ce-connectionState: a", "Set-Cookie: a=1, b", "X: 1", "CE-ConnectionState: ", "Set-Cookie: c=2")
    found = await answered(webhook, handler, says(response(200, *lines)))

    assert found.headers[:5] == (
        ("ce-connectionState", "a"),
        ("Set-Cookie", "a=1, b"),
        ("X", "1"),
        ("CE-ConnectionState", ""),
        ("Set-Cookie", "c=2"),
    )
    assert found.all("set-cookie") == ["a=1, b", "c=2"]
    assert found.all("ce-connectionstate") == ["a", ""]


async def test_bytes_beyond_ascii_in_a_header_are_read_as_latin_1(webhook: Webhook, handler: RawHandler) -> None:
    found = await answered(
        webhook, handler, says(b"HTTP/1.1 200 \xff\r\nX: \xe4\xc3\xa4\xff\r\nContent-Length: 0\r\n\r\n")
    )

    assert found.last("x") == "\xe4\xc3\xa4\xff"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nLink: x\r\n\r\nHTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
async def test_body_is_read_however_it_is_framed(webhook: Webhook, handler: RawHandler, data: bytes) -> None:
    found = await answered(webhook, handler, closes(data))

    assert (found.status, found.body) == (200, b"hello")


async def test_switch_of_protocols_is_an_answer_without_a_body(webhook: Webhook, handler: RawHandler) -> None:
    data = b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi"

    assert (await answered(webhook, handler, says(data))).status == 101
    assert (await answered(webhook, handler, says(response()))).status == 200
    assert handler.connections == 2


async def test_answer_may_come_before_the_request_was_read(webhook: Webhook, handler: RawHandler) -> None:
    """Such as a refusal of its size; the connection is not used again."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(413, body=b"too long"))
        await writer.drain()
        ended.append(await reader.read(1))  # some of the body
        await until(lambda: done)
        writer.transport.abort()

    done: list[bool] = []
    ended: list[bytes] = []
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    found = await webhook.send(OutgoingRequest("POST", url, (), b"x" * (32 << 20)), LONG_S)
    done.append(True)

    assert (found.status, found.body) == (413, b"too long")
    server.close()
    await server.wait_closed()


async def test_no_cookie_is_kept(webhook: Webhook, handler: RawHandler) -> None:
    for _ in range(2):
        await answered(webhook, handler, says(response(200, "Set-Cookie: a=1; Path=/")))

    assert b"ookie" not in handler.heard[1].head


async def test_compression_is_not_asked_for_and_undone_all_the_same(webhook: Webhook, handler: RawHandler) -> None:
    body = gzip.compress(b'{"userId":"u"}')
    found = await answered(webhook, handler, says(response(200, "Content-Encoding: gzip", body=body)))

    assert found.body == b'{"userId":"u"}'
    assert b"ncoding" not in handler.heard[0].head


# Bounds.


async def test_body_may_be_as_long_as_allowed_and_no_longer(webhook: Webhook, handler: RawHandler) -> None:
    found = await answered(webhook, handler, says(response(body=b"x" * MOST_BYTES)))
    assert len(found.body) == MOST_BYTES

    assert (await failed(webhook, handler, says(response(body=b"x" * (MOST_BYTES + 1))))).kind == "too large"


@pytest.mark.parametrize("head", [b"Transfer-Encoding: chunked", b"Content-Length: 104857600", b"Connection: close"])
async def test_endless_body_is_cut_off_early(webhook: Webhook, handler: RawHandler, head: bytes) -> None:
    """Of 100 MB only what fits into the buffers of the sockets leaves the handler, and less than that is held."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % head)
        for _ in range(1600):
            piece = b"x" * 65536
            writer.write(b"10000\r\n%b\r\n" % piece if head.endswith(b"chunked") else piece)
            await writer.drain()
            sent.append(len(piece))

    sent: list[int] = []
    tracemalloc.start()
    found = await failed(webhook, handler, answer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    await until(lambda: handler.ended)

    assert found.kind == "too large"
    assert str(MOST_BYTES) in found.reason
    assert sum(sent) < 30 << 20
    assert peak < 8 << 20


async def test_body_that_says_to_be_too_long_is_not_waited_for(webhook: Webhook, handler: RawHandler) -> None:
    found = await failed(webhook, handler, says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MOST_BYTES + 1)))

    assert found.kind == "too large"


async def test_compressed_body_is_bounded_by_what_it_becomes(webhook: Webhook, handler: RawHandler) -> None:
    bomb = gzip.compress(bytes(100 << 20))
    assert len(bomb) > MOST_BYTES
    handler.answer = says(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n"
        % (len(bomb), bomb)
    )
    tracemalloc.start()
    found = await failure(webhook, post(handler))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert found.kind == "too large"
    assert peak < 8 << 20


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"x" * 1_000_000,
        b"X" * 1_000_000 + b": x",
        b"\r\n".join(b"X-%d: x" % number for number in range(10_000)),
        b"Set-Cookie: " + b"; " * 500_000,
    ],
)
async def test_head_is_bounded(webhook: Webhook, handler: RawHandler, head: bytes) -> None:
    assert (await failed(webhook, handler, says(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % head))).kind == "invalid"


# Failures.


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTT",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
@pytest.mark.parametrize("end", [closes, reset])
async def test_connection_that_breaks_before_the_end_is_told(
    webhook: Webhook, handler: RawHandler, data: bytes, end: Callable[[bytes], Answer]
) -> None:
    assert (await failed(webhook, handler, end(data))).kind == "unreachable"

    assert len(handler.heard) == 1


@pytest.mark.parametrize("method", METHODS)
async def test_handler_that_hangs_up_is_asked_once(webhook: Webhook, handler: RawHandler, method: Method) -> None:
    """On a connection of its own; who tries again is the caller."""
    handler.answer = closes()

    assert (await failure(webhook, OutgoingRequest(method, handler.url, ()))).kind == "unreachable"
    assert len(handler.heard) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x03\x00\x02\x02\x0a",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabc",
    ],
)
async def test_what_is_no_http_is_told(webhook: Webhook, handler: RawHandler, data: bytes) -> None:
    """And not tried again: something answers, and would say the same."""
    assert (await failed(webhook, handler, says(data))).kind == "invalid"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_encoding_that_cannot_be_undone_is_told(webhook: Webhook, handler: RawHandler, encoding: str) -> None:
    found = await failed(webhook, handler, says(response(200, f"Content-Encoding: {encoding}", body=b"no such thing")))

    assert found.kind == "invalid"


async def test_nobody_at_the_port_is_told(webhook: Webhook, handler: RawHandler) -> None:
    await handler.stop()

    found = await failed(webhook, handler, quiet)

    assert (found.kind, found.reason) == (
        "unreachable",
        f"cannot connect to 127.0.0.1:{handler.port}: Connection refused",
    )


def drips(data: bytes, endless: bytes) -> Answer:
    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        while True:
            await asyncio.sleep(0.005)
            writer.write(endless)
            await writer.drain()

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        quiet,
        says(b"HTTP/1.1 200 OK\r\nX: "),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
        drips(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        drips(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x"),
        drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silent", "half a head", "half a body", "head in drops", "body in drops", "always going on"],
)
async def test_time_is_for_all_of_it(webhook: Webhook, handler: RawHandler, answer: Answer) -> None:
    found = await failed(webhook, handler, answer, SHORT_S)

    assert (found.kind, found.reason) == ("timeout", f"127.0.0.1:{handler.port} did not answer within 0.2 s")
    await until(lambda: handler.ended)


async def test_request_that_is_not_read_runs_out_of_time(webhook: Webhook) -> None:
    async def never_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: done)
        writer.transport.abort()

    done: list[bool] = []
    server = await asyncio.start_server(never_reads, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    found = await failure(webhook, OutgoingRequest("POST", url, (), b"x" * (32 << 20)), SHORT_S)
    done.append(True)

    assert found.kind == "timeout"
    server.close()
    await server.wait_closed()


# Many, and cancelled.


async def test_calls_do_not_wait_for_one_another(webhook: Webhook, handler: RawHandler) -> None:
    """Each gets its own answer, though nobody is answered before all have asked."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await until(lambda: len(handler.heard) == 50)
        writer.write(response(body=heard.body))

    handler.answer = answer
    found = await asyncio.gather(
        *(webhook.send(post(handler, body=str(number).encode()), LONG_S) for number in range(50))
    )

    assert [each.body for each in found] == [str(number).encode() for number in range(50)]


async def test_silent_handler_holds_up_no_other(webhook: Webhook, handler: RawHandler) -> None:
    silent = await RawHandler(quiet).start()
    waiting = [asyncio.create_task(webhook.send(post(silent), LONG_S)) for _ in range(200)]
    await until(lambda: len(silent.heard) == 200)

    assert (await webhook.send(post(handler), LONG_S)).status == 200

    await silent.stop()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {result.kind for result in results if isinstance(result, WebhookFailed)} == {"unreachable"}
    assert len(results) == 200


async def abandon(call: Awaitable[IncomingResponse], when: Callable[[], object]) -> None:
    task = asyncio.ensure_future(call)
    await until(when)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
async def test_call_that_is_given_up_lets_its_connection_go(webhook: Webhook, handler: RawHandler, data: bytes) -> None:
    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    handler.answer = answer
    await abandon(webhook.send(post(handler), LONG_S), lambda: handler.heard)
    await until(lambda: handler.ended == 1)

    assert (await answered(webhook, handler, says(response()))).status == 200


async def test_calls_fail_when_the_webhook_closes_and_later(webhook: ClosableWebhook, handler: RawHandler) -> None:
    handler.answer = quiet
    waiting = asyncio.create_task(webhook.send(post(handler), LONG_S))
    await until(lambda: handler.heard)

    await webhook.close()
    await webhook.close()

    with pytest.raises(WebhookFailed) as raised:
        await waiting
    assert raised.value.kind == "unreachable"
    assert (await failure(webhook, post(handler))).kind == "unreachable"
    assert len(handler.heard) == 1
