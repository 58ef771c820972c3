"""What the HTTP client of event handlers does with its connections, names and certificates."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hubwire.adapters.authorities import trusting
from hubwire.adapters.targets import TargetGuard
from hubwire.adapters.webhook_http import HttpWebhook
from hubwire.auth.certificates import Credentials, issue, new_authority
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from raw_handlers import Answer, Heard, RawHandler, closes, quiet, reset, response, says, until

LONG_S = 30.0
SHORT_S = 0.2

Make = Callable[..., HttpWebhook]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes webhooks that may call any address unless the test says otherwise."""
    made: list[HttpWebhook] = []

    def make(guard: TargetGuard | None = None, **settings: Any) -> HttpWebhook:
        settings = {"version": "0", "max_response_bytes": 65536, **settings}
        made.append(HttpWebhook(guard or TargetGuard(lambda: ()), **settings))
        return made[-1]

    yield make
    for webhook in made:
        await webhook.close()


@pytest.fixture
async def handler() -> AsyncIterator[RawHandler]:
    running = await RawHandler(says(response())).start()
    yield running
    await running.stop()


class Names:
    """
    What the system's resolver says.

    Attributes:
        answers: for each name, what to say one time after another; the last one is repeated.
        asked: names, in order.
        gate: it waits for it.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        if not isinstance(host, str) or not host.endswith(".test"):
            return self._real(host, port, *args, **options)
        self.asked.append(host)
        self.gate.wait(LONG_S)
        answers = self.answers.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [info for each in found for info in self._real(each, port, type=socket.SOCK_STREAM)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    resolver = Names()
    monkeypatch.setattr("socket.getaddrinfo", resolver)
    yield resolver
    resolver.gate.set()


async def call(webhook: HttpWebhook, url: str, body: bytes = b"", timeout_s: float = LONG_S) -> IncomingResponse:
    return await webhook.send(OutgoingRequest("POST", url, (), body), timeout_s)


async def failure(webhook: HttpWebhook, url: str, timeout_s: float = LONG_S) -> WebhookFailed:
    with pytest.raises(WebhookFailed) as raised:
        await call(webhook, url, timeout_s=timeout_s)
    return raised.value


# Connections.


async def test_connection_is_used_again(make: Make, handler: RawHandler) -> None:
    webhook = make()
    for number in range(20):
        handler.answer = says(response(body=b"x" * number))
        assert (await call(webhook, handler.url, b"y" * number)).body == b"x" * number

    assert handler.connections == 1


async def test_connections_of_many_calls_are_used_again(make: Make, handler: RawHandler) -> None:
    webhook = make()
    for _ in range(3):
        await asyncio.gather(*(call(webhook, handler.url) for _ in range(20)))

    assert len(handler.heard) == 60
    assert handler.connections == 20


@pytest.mark.parametrize("size", [0, 10, 3 << 20])
@pytest.mark.parametrize("end", [closes, reset])
async def test_connection_that_closes_as_it_is_used_again_costs_nothing(
    make: Make, handler: RawHandler, size: int, end: Callable[[], Answer]
) -> None:
    """Handlers close what was idle for some seconds, and may do so while the next event is on its way."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await (end() if heard.connection == 1 and len(handler.heard) > 1 else says(response()))(heard, writer)

    webhook = make()
    handler.answer = answer
    await call(webhook, handler.url)

    assert (await call(webhook, handler.url, b"x" * size)).status == 200
    assert [(heard.connection, len(heard.body)) for heard in handler.heard] == [(1, 0), (1, size), (2, size)]
    assert handler.heard[1].head == handler.heard[2].head


async def test_all_connections_may_have_closed(make: Make, handler: RawHandler) -> None:
    """As after a restart of the handler."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        if len(handler.heard) <= 3:
            await until(lambda: len(handler.heard) >= 3)
        await (closes() if heard.connection <= 3 < len(handler.heard) else says(response()))(heard, writer)

    webhook = make()
    handler.answer = answer
    await asyncio.gather(*(call(webhook, handler.url) for _ in range(3)))

    assert (await call(webhook, handler.url)).status == 200
    assert [heard.connection for heard in handler.heard[3:]][-1] == 4


async def test_handler_that_hangs_up_again_and_again_is_given_up(make: Make, handler: RawHandler) -> None:
    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        if len(handler.heard) <= 10:
            await until(lambda: len(handler.heard) >= 10)
        await (closes() if len(handler.heard) > 10 else says(response()))(heard, writer)

    webhook = make()
    handler.answer = answer
    await asyncio.gather(*(call(webhook, handler.url) for _ in range(10)))

    assert (await failure(webhook, handler.url)).kind == "unreachable"
    assert len(handler.heard) == 14


async def test_answer_that_had_begun_is_not_asked_for_again(make: Make, handler: RawHandler) -> None:
    webhook = make()
    await call(webhook, handler.url)
    for data in (b"HTTP/1.1 200 OK\r\nX", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"):
        heard = len(handler.heard)
        handler.answer = closes(data)
        assert (await failure(webhook, handler.url)).kind == "unreachable"
        assert len(handler.heard) == heard + 1

        handler.answer = says(response())
        await call(webhook, handler.url)


async def test_second_answer_to_a_request_reaches_nobody(make: Make, handler: RawHandler) -> None:
    """It would be taken for the answer to the next request, which may be another client's."""
    webhook = make()
    writers: list[asyncio.StreamWriter] = []

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(response(body=heard.body))

    handler.answer = answer
    assert (await call(webhook, handler.url, b"first")).body == b"first"
    writers[0].write(response(body=b"for nobody"))
    fence = await RawHandler(says(response())).start()
    await call(webhook, fence.url)

    assert (await call(webhook, handler.url, b"second")).body == b"second"
    assert handler.connections == 2
    await fence.stop()


async def test_both_answers_at_once_are_one_too_many(make: Make, handler: RawHandler) -> None:
    webhook = make()
    handler.answer = says(response(body=b"a") + response(body=b"b"))

    for _ in range(3):
        assert (await call(webhook, handler.url)).body == b"a"
    assert handler.connections == 3


async def test_idle_connection_is_closed_with_the_webhook(make: Make, handler: RawHandler) -> None:
    webhook = make()
    await call(webhook, handler.url)
    assert handler.ended == 0

    await webhook.close()

    await until(lambda: handler.ended == 1)


async def test_proxy_of_the_environment_is_not_used(
    make: Make, handler: RawHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would resolve names by itself, and so lead around the guard."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)

    assert (await call(make(), handler.url)).status == 200


@pytest.mark.parametrize(("length", "passes"), [(1000, True), (1001, False)])
async def test_length_of_a_header_is_as_allowed(make: Make, handler: RawHandler, length: int, passes: bool) -> None:
    """Connection state comes in a header, and an operator may want much of it."""
    handler.answer = says(response(200, f"S: {'x' * (length - 1)}"))
    webhook = make(max_header_bytes=1000)

    if passes:
        assert (await call(webhook, handler.url)).last("s") == "x" * (length - 1)
    else:
        assert (await failure(webhook, handler.url)).reason.endswith("answered with a header that is too long")


# Addresses.


async def test_refused_address_is_not_called(make: Make, handler: RawHandler) -> None:
    webhook = make(TargetGuard(lambda: (), ["10.0.0.0/8"]))
    found = await failure(webhook, f"{handler.url}/secret")

    place = f"127.0.0.1:{handler.port}"
    assert (found.kind, found.reason) == (
        "refused target",
        f"{place} may not be called: 127.0.0.1 is not among handler_networks",
    )
    assert handler.connections == 0


async def test_own_socket_is_not_called_also_where_it_opened_later(make: Make, handler: RawHandler) -> None:
    own: list[tuple[str, int]] = []
    webhook = make(TargetGuard(lambda: own))
    own.append(("127.0.0.1", handler.port))

    found = await failure(webhook, handler.url)

    assert found.kind == "refused target"
    assert f"127.0.0.1 is this server itself at port {handler.port}" in found.reason
    assert handler.connections == 0


@pytest.mark.parametrize(
    "host", ["2130706433", "127.1", "0x7f.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"]
)
async def test_other_spelling_of_a_refused_address_leads_nowhere(make: Make, handler: RawHandler, host: str) -> None:
    webhook = make(TargetGuard(lambda: [("127.0.0.1", handler.port)]))

    assert (await failure(webhook, f"http://{host}:{handler.port}/")).kind in ("refused target", "invalid")
    assert handler.connections == 0


async def test_name_of_a_refused_address_is_refused(make: Make, names: Names) -> None:
    names.answers["metadata.test"] = [["169.254.169.254"]]

    found = await failure(make(), "http://metadata.test/secret")

    assert (found.kind, found.reason) == (
        "refused target",
        "metadata.test:80 may not be called: its address 169.254.169.254 is link-local, "
        "and no entry of handler_networks is for link-local addresses alone",
    )


async def test_of_several_addresses_the_allowed_ones_are_called(make: Make, handler: RawHandler, names: Names) -> None:
    names.answers["app.test"] = [["169.254.169.254", "10.0.0.1", "127.0.0.1"]]

    webhook = make(TargetGuard(lambda: (), ["127.0.0.0/8"]))

    assert (await call(webhook, f"http://app.test:{handler.port}/")).status == 200
    assert handler.heard[0].lines[1] == b"Host: app.test:%d" % handler.port


async def test_name_is_looked_up_once_and_called_where_it_was_allowed(
    make: Make, handler: RawHandler, names: Names
) -> None:
    """A name that has an allowed address when it is checked and another one afterwards gains nothing."""
    names.answers["app.test"] = [["127.0.0.1"], ["169.254.169.254"]]
    webhook = make()

    assert (await call(webhook, f"http://app.test:{handler.port}/")).status == 200

    assert names.asked == ["app.test"]
    assert handler.connections == 1


async def test_address_that_is_refused_only_since_it_was_looked_up_is_not_called(
    make: Make, handler: RawHandler, names: Names
) -> None:
    """Names are remembered for some seconds; what is allowed is decided at each connection."""
    names.answers["app.test"] = [["127.0.0.1"]]
    own: list[tuple[str, int]] = []
    webhook = make(TargetGuard(lambda: own))
    handler.answer = closes(response())
    await call(webhook, f"http://app.test:{handler.port}/")
    own.append(("127.0.0.1", handler.port))

    assert (await failure(webhook, f"http://app.test:{handler.port}/")).kind == "refused target"
    assert (names.asked, handler.connections) == (["app.test"], 1)


async def test_unknown_name_is_told(make: Make, names: Names) -> None:
    found = await failure(make(), "http://app.test/secret")

    assert (found.kind, found.reason) == (
        "unreachable",
        "the name of app.test:80 cannot be resolved: Name or service not known",
    )


async def test_name_without_an_address_is_told(make: Make, names: Names) -> None:
    names.answers["app.test"] = [[]]

    found = await failure(make(), "http://app.test/")

    assert (found.kind, found.reason) == (
        "unreachable",
        "the name of app.test:80 cannot be resolved: the name has no address",
    )


async def test_lookup_that_takes_too_long_is_a_time_out(make: Make, names: Names) -> None:
    names.gate.clear()

    assert (await failure(make(), "http://app.test/", SHORT_S)).kind == "timeout"
    names.gate.set()


# TLS.


@pytest.fixture(scope="module")
def authority() -> Credentials:
    return new_authority(time.time())


@pytest.fixture
def authorities(authority: Credentials, tmp_path: Path) -> ssl.SSLContext:
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.certificate)
    return trusting(file)


def showing(authority: Credentials, folder: Path, *names: str, now: float | None = None) -> ssl.SSLContext:
    credentials = issue(authority, names, time.time() if now is None else now)
    certificate, key = folder / "server.pem", folder / "server-key.pem"
    certificate.write_bytes(credentials.certificate)
    key.write_bytes(credentials.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def test_handler_with_a_private_authority_is_called(
    make: Make, authority: Credentials, authorities: ssl.SSLContext, tmp_path: Path
) -> None:
    handler = await RawHandler(says(response(body=b"ok")), showing(authority, tmp_path, "127.0.0.1")).start()
    webhook = make(authorities=authorities)

    for _ in range(3):
        assert (await call(webhook, f"{handler.url}/e", b"x")).body == b"ok"
    assert handler.connections == 1
    assert handler.heard[0].lines[0] == b"POST /e HTTP/1.1"
    await handler.stop()


async def test_unknown_authority_is_told_with_what_names_it(make: Make, authority: Credentials, tmp_path: Path) -> None:
    handler = await RawHandler(says(response()), showing(authority, tmp_path, "127.0.0.1")).start()

    found = await failure(make(), f"{handler.url}/secret?code=secret")

    assert found.kind == "unreachable"
    assert found.reason.startswith(f"the certificate of 127.0.0.1:{handler.port} is not accepted: ")
    assert found.reason.endswith("; handler_ca can name further authorities")
    assert "secret" not in found.reason
    assert handler.heard == []
    await handler.stop()


@pytest.mark.parametrize(
    ("name", "days_ago", "word"), [("other.example", 0, "not valid for"), ("127.0.0.1", 100, "expired")]
)
async def test_certificate_that_no_authority_could_mend_is_told_without_it(
    make: Make, authorities: ssl.SSLContext, tmp_path: Path, name: str, days_ago: int, word: str
) -> None:
    then = time.time() - days_ago * 86400
    authority = new_authority(then)
    (tmp_path / "other.pem").write_bytes(authority.certificate)
    handler = await RawHandler(says(response()), showing(authority, tmp_path, name, now=then)).start()

    found = await failure(make(authorities=trusting(tmp_path / "other.pem")), handler.url)

    assert found.kind == "unreachable"
    assert word in found.reason
    assert "handler_ca" not in found.reason
    await handler.stop()


async def test_tls_where_none_is_spoken_is_told(make: Make, handler: RawHandler) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(response(400))
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    found = await failure(make(), f"https://127.0.0.1:{port}/")

    assert (found.kind, found.reason) == (
        "unreachable",
        f"127.0.0.1:{port} does not speak TLS at this port: is the URL to begin with http?",
    )
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", ""), (b"\x15\x03\x03\x00\x02\x02\x28", ": SSLV3_ALERT_HANDSHAKE_FAILURE")],
    ids=["silently", "with an alert"],
)
async def test_handshake_that_the_handler_ends_is_told(make: Make, data: bytes, reason: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(5)
        writer.write(data)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    found = await failure(make(), f"https://127.0.0.1:{port}/")

    assert found.kind == "unreachable"
    assert found.reason in (
        f"127.0.0.1:{port} ended the TLS handshake{reason}",
        f"cannot connect to 127.0.0.1:{port}: Connection reset by peer",
    )
    server.close()
    await server.wait_closed()


async def test_handler_that_asks_for_a_certificate_is_told(
    make: Make, authority: Credentials, authorities: ssl.SSLContext, tmp_path: Path
) -> None:
    """TLS 1.3 says so after the handshake."""
    context = showing(authority, tmp_path, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.certificate.decode())
    listening = socket.create_server(("127.0.0.1", 0))
    server = threading.Thread(target=shake_hands, args=(listening, context))
    server.start()

    found = await failure(make(authorities=authorities), f"https://127.0.0.1:{listening.getsockname()[1]}/")

    assert found.kind == "unreachable"
    assert found.reason.endswith(" broke: TLSV13_ALERT_CERTIFICATE_REQUIRED")
    await asyncio.to_thread(server.join, LONG_S)
    listening.close()


def shake_hands(listening: socket.socket, context: ssl.SSLContext) -> None:
    """As a server that is no asyncio one: what is wrong is said before the connection ends."""
    accepted, _ = listening.accept()
    with context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False) as secure:
        with suppress(ssl.SSLError):
            secure.do_handshake()
        while socket.socket.recv(secure, 65536):
            pass  # closed with something unread, a reset could overtake the alert


async def test_plain_http_to_a_port_of_tls_is_told(make: Make, authority: Credentials, tmp_path: Path) -> None:
    handler = await RawHandler(says(response()), showing(authority, tmp_path, "127.0.0.1")).start()

    found = await failure(make(), f"http://127.0.0.1:{handler.port}/")

    assert found.kind in ("invalid", "unreachable"), "an alert comes, or the connection just ends"
    await handler.stop()


async def test_handshake_that_takes_too_long_is_a_time_out(make: Make) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        ended.append(True)
        writer.close()

    ended: list[bool] = []
    server = await asyncio.start_server(silent, "127.0.0.1", 0)

    found = await failure(make(), f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", SHORT_S)

    assert found.kind == "timeout"
    await until(lambda: ended)
    server.close()
    await server.wait_closed()


async def test_call_over_tls_that_is_given_up_lets_its_connection_go(
    make: Make, authority: Credentials, authorities: ssl.SSLContext, tmp_path: Path
) -> None:
    handler = await RawHandler(quiet, showing(authority, tmp_path, "127.0.0.1")).start()
    webhook = make(authorities=authorities)
    task = asyncio.create_task(call(webhook, handler.url))
    await until(lambda: handler.heard)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await until(lambda: handler.ended)
    await handler.stop()
