"""Keys of other issuers, fetched from one that runs on this machine."""

import asyncio
import base64
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from hubwire.adapters.issuer_keys import IssuerKeys
from hubwire.model.errors import Unavailable

DOCUMENT = "/.well-known/openid-configuration"
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@functools.cache
def key() -> rsa.RSAPublicNumbers:
    """One for all tests, since making one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key().public_numbers()


def jwk(kid: str) -> dict[str, str]:
    modulus = base64.urlsafe_b64encode(key().n.to_bytes(256, "big")).decode().rstrip("=")
    return {"kty": "RSA", "use": "sig", "kid": kid, "n": modulus, "e": "AQAB"}


async def until(condition: Callable[[], object]) -> None:
    """Let others run until it holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  nobody is there to set an event
            await asyncio.sleep(0)


class Clock:
    """Monotonic seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Issuer:
    """
    An issuer on this machine.

    Attributes:
        kids: names of its keys.
        discovery, keys: instead of the usual answers.
        asked: paths, in order.
        gate: answers wait until it is open.
    """

    def __init__(self) -> None:
        self.kids = ["a"]
        self.discovery: Answer | None = None
        self.keys: Answer | None = None
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._answer), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/tenant/v2.0"

    async def stop(self) -> None:
        self.gate.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def fetches(self) -> int:
        """How often somebody began to fetch its keys."""
        return sum(path.endswith(DOCUMENT) for path in self.asked)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.BaseRequest)
        self.asked.append(request.path)
        await self.gate.wait()
        discovers = request.path == f"/tenant/v2.0{DOCUMENT}"
        other = self.discovery if discovers else self.keys
        if other is not None:
            return await other(request)  # type: ignore[arg-type]  # nobody looks at its routes
        if discovers:
            return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        return web.json_response({"keys": [jwk(kid) for kid in self.kids]})


def says(document: Any) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(document)

    return answer


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever leads out of the machine where the tests run."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    running = Issuer()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(clock: Clock) -> AsyncIterator[IssuerKeys]:
    opened = IssuerKeys(clock)
    yield opened
    await opened.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "hubwire.auth"]


# Finding.


async def test_key_is_found_where_the_discovery_document_says(issuer: Issuer, keys: IssuerKeys) -> None:
    found = await keys.key(issuer.url, "a")

    assert found is not None
    assert found.public_numbers() == key()
    assert issuer.asked == [f"/tenant/v2.0{DOCUMENT}", "/tenant/v2.0/keys"]


async def test_issuer_whose_name_ends_with_a_slash_has_its_document_below_it(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.discovery = says({"issuer": f"{issuer.url}/", "jwks_uri": f"{issuer.url}/keys"})

    assert await keys.key(f"{issuer.url}/", "a") is not None
    assert issuer.asked[0] == f"/tenant/v2.0{DOCUMENT}"


async def test_known_key_is_not_fetched_again_for_an_hour(issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
    for now in (0.0, 31.0, HOUR_S):
        clock.now = now
        assert await keys.key(issuer.url, "a") is not None

    assert issuer.fetches == 1


async def test_issuers_are_kept_apart(issuer: Issuer, keys: IssuerKeys) -> None:
    other = Issuer()
    await other.start()
    other.kids = ["b"]

    assert await keys.key(issuer.url, "a") is not None
    assert await keys.key(other.url, "b") is not None
    assert await keys.key(issuer.url, "b") is None
    assert await keys.key(other.url, "a") is None
    await other.stop()


# Fetching again.


async def test_unknown_name_fetches_again_but_not_before_half_a_minute(
    issuer: Issuer, keys: IssuerKeys, clock: Clock
) -> None:
    """Anybody can make up names."""
    assert await keys.key(issuer.url, "a") is not None
    issuer.kids = ["b", "c"]
    for now in (0.0, 10.0, 29.9):
        clock.now = now
        assert await keys.key(issuer.url, "b") is None
    assert issuer.fetches == 1

    clock.now = 30.0
    assert await keys.key(issuer.url, "b") is not None
    assert issuer.fetches == 2
    for number in range(100):
        assert await keys.key(issuer.url, f"made-up-{number}") is None
    assert issuer.fetches == 2
    assert await keys.key(issuer.url, "a") is None


async def test_old_keys_are_good_while_new_ones_are_fetched(issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
    """Nobody waits for a fetch whose result they do not need."""
    assert await keys.key(issuer.url, "a") is not None
    clock.now = HOUR_S + 1
    issuer.kids = ["b"]
    issuer.gate.clear()

    assert await keys.key(issuer.url, "a") is not None
    await until(lambda: issuer.fetches == 2)
    assert await keys.key(issuer.url, "a") is not None
    assert issuer.fetches == 2
    issuer.gate.set()
    assert await keys.key(issuer.url, "b") is not None
    assert await keys.key(issuer.url, "a") is None


async def test_slow_fetch_is_shared_and_holds_nobody_else_up(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.gate.clear()
    other = Issuer()
    await other.start()
    waiting = [asyncio.create_task(keys.key(issuer.url, "a")) for _ in range(50)]
    await until(lambda: issuer.fetches == 1)

    assert await keys.key(other.url, "a") is not None
    assert not any(task.done() for task in waiting)
    issuer.gate.set()
    assert None not in await asyncio.gather(*waiting)
    assert (issuer.fetches, len(issuer.asked)) == (1, 2)
    await other.stop()


async def test_fetch_goes_on_when_the_caller_who_began_it_goes_away(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.gate.clear()
    first = asyncio.create_task(keys.key(issuer.url, "a"))
    await until(lambda: issuer.fetches == 1)
    second = asyncio.create_task(keys.key(issuer.url, "a"))
    await asyncio.sleep(0)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first

    issuer.gate.set()
    assert await second is not None
    assert (first.cancelled(), issuer.fetches) == (True, 1)


# Failing.


async def test_failure_goes_on_with_the_known_keys_for_a_day(
    issuer: Issuer, keys: IssuerKeys, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert await keys.key(issuer.url, "a") is not None
    await issuer.stop()
    for now in (HOUR_S + 1, DAY_S):
        clock.now = now
        assert await keys.key(issuer.url, "a") is not None
        assert await keys.key(issuer.url, "made-up") is None
    assert len(warnings(caplog)) == 2

    clock.now = DAY_S + 31
    with pytest.raises(Unavailable, match=f"The keys of the issuer {issuer.url} cannot be fetched."):
        await keys.key(issuer.url, "a")


async def test_failure_without_known_keys_is_one_warning_for_half_a_minute(
    issuer: Issuer, keys: IssuerKeys, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    await issuer.stop()
    for now, expected in ((0.0, 1), (1.0, 1), (29.0, 1), (30.0, 2)):
        clock.now = now
        with pytest.raises(Unavailable):
            await keys.key(issuer.url, "a")
        assert len(warnings(caplog)) == expected
    assert warnings(caplog)[0].startswith(f"cannot fetch the keys of {issuer.url}: ")


async def test_issuer_that_does_not_answer_is_given_up(
    issuer: Issuer, keys: IssuerKeys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hubwire.adapters.issuer_keys._TIMEOUT_S", 0.05)
    issuer.gate.clear()

    with pytest.raises(Unavailable):
        await keys.key(issuer.url, "a")
    assert len(warnings(caplog)) == 1
    assert warnings(caplog)[0] != f"cannot fetch the keys of {issuer.url}: "


async def test_all_who_wait_for_a_fetch_that_fails_are_told(
    issuer: Issuer, keys: IssuerKeys, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.discovery = says({})
    issuer.gate.clear()
    waiting = [asyncio.create_task(keys.key(issuer.url, "a")) for _ in range(5)]
    await until(lambda: issuer.fetches == 1)
    issuer.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(result) for result in results] == [Unavailable] * 5
    assert len(warnings(caplog)) == 1


async def test_issuer_that_comes_back_is_heard(issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
    issuer.discovery = says({})
    with pytest.raises(Unavailable):
        await keys.key(issuer.url, "a")
    issuer.discovery = None
    clock.now = 30.0

    assert await keys.key(issuer.url, "a") is not None


async def long(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b'{"x":"' + b"x" * (1 << 20) + b'"}')


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            await response.write(b" " * 65536)
    return response


async def packed(request: web.Request) -> web.StreamResponse:
    """Small on the way, and large when it is unpacked."""
    response = web.Response(body=b'{"x":"' + b"x" * (1 << 22) + b'"}')
    response.enable_compression(web.ContentCoding.gzip)
    return response


async def redirecting(request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "/elsewhere"})


async def cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.close()
    return response


def answers(status: int = 200, body: bytes = b"") -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    return answer


BAD: dict[str, Answer] = {
    "redirect": redirecting,
    "long": long,
    "endless": endless,
    "packed": packed,
    "cut off": cut_off,
    "not found": answers(404),
    "failing": answers(500, b"{}"),
    "empty": answers(),
    "no JSON": answers(200, b"<html>"),
    "no UTF-8": answers(200, b'{"a":"\xff"}'),
    "no object": answers(200, b"[]"),
    "deep": answers(200, b'{"a":' + b"[" * 100_000),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("of", ["discovery", "keys"])
async def test_answer_that_cannot_be_used_is_a_failure(
    issuer: Issuer, keys: IssuerKeys, of: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    setattr(issuer, of, BAD[name])

    with pytest.raises(Unavailable):
        await keys.key(issuer.url, "a")
    assert len(warnings(caplog)) == 1
    assert "/elsewhere" not in issuer.asked
    assert len(issuer.asked) == (1 if of == "discovery" else 2)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"issuer": "https://another.example", "jwks_uri": "{url}/keys"},
        {"issuer": "{url}/", "jwks_uri": "{url}/keys"},
        {"issuer": ["{url}"], "jwks_uri": "{url}/keys"},
        {"issuer": "{url}"},
        {"issuer": "{url}", "jwks_uri": None},
        {"issuer": "{url}", "jwks_uri": 1},
        {"issuer": "{url}", "jwks_uri": "http://192.0.2.1/keys"},
        {"issuer": "{url}", "jwks_uri": "file:///etc/hostname"},
        {"issuer": "{url}", "jwks_uri": "//127.0.0.1/keys"},
        {"issuer": "{url}", "jwks_uri": "https://["},
        {"issuer": "{url}", "jwks_uri": "http://localhost:x/keys"},
    ],
)
async def test_discovery_of_another_issuer_or_of_no_keys_is_a_failure(
    issuer: Issuer, keys: IssuerKeys, document: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A token of one issuer is never proved by keys that another one publishes."""

    def filled(value: Any) -> Any:
        return (
            [filled(one) for one in value]
            if isinstance(value, list)
            else (value.replace("{url}", issuer.url) if isinstance(value, str) else value)
        )

    issuer.discovery = says({name: filled(value) for name, value in document.items()})

    with pytest.raises(Unavailable):
        await keys.key(issuer.url, "a")
    assert len(warnings(caplog)) == 1
    assert issuer.asked == [f"/tenant/v2.0{DOCUMENT}"]


async def test_empty_set_leaves_the_known_keys_as_they_are(issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
    assert await keys.key(issuer.url, "a")
    issuer.kids = []

    clock.now += 3 * 3600

    assert await keys.key(issuer.url, "a")


async def test_withdrawn_key_is_no_longer_good_after_a_time_without_requests(
    issuer: Issuer, keys: IssuerKeys, clock: Clock
) -> None:
    assert await keys.key(issuer.url, "a")
    issuer.kids = ["b"]

    clock.now += 3 * 3600

    assert await keys.key(issuer.url, "a") is None


@pytest.mark.parametrize("url", ["http://issuer.example", "http://192.0.2.1", "ftp://127.0.0.1", "issuer.example", ""])
async def test_nothing_is_fetched_in_the_clear_from_another_machine(
    keys: IssuerKeys, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Unavailable):
        await keys.key(url, "a")
    assert warnings(caplog) == [f"cannot fetch the keys of {url}: {url}{DOCUMENT} is not an https URL"]


@pytest.mark.parametrize(
    "change",
    [
        None,
        {"kty": "EC"},
        {"use": "enc"},
        {"n": 1},
        {"n": ""},
        {"n": "\xe4"},
        {"e": None},
        {"e": "AA"},
    ],
)
async def test_key_that_cannot_be_used_is_left_out(
    issuer: Issuer, keys: IssuerKeys, change: dict[str, object] | None
) -> None:
    bad = change if change is None else {**jwk("a"), **change}
    issuer.keys = says({"keys": [bad, jwk("b")]})

    assert await keys.key(issuer.url, "b") is not None
    assert await keys.key(issuer.url, "a") is None


# Ending.


async def test_closing_gives_up_what_is_under_way(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    keys = IssuerKeys()
    issuer.gate.clear()
    waiting = asyncio.create_task(keys.key(issuer.url, "a"))
    await until(lambda: issuer.fetches == 1)
    before = asyncio.all_tasks()

    async with asyncio.timeout(5):
        await keys.close()
        with suppress(asyncio.CancelledError):
            await waiting

    assert waiting.cancelled()
    assert not [task for task in before if "_fetch" in repr(task.get_coro()) and not task.done()]
    assert warnings(caplog) == []


async def test_closing_what_was_never_used_is_nothing(keys: IssuerKeys) -> None:
    await IssuerKeys().close()
    await keys.close()
