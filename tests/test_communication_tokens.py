"""What applications do with tokens that they are shown, against a stand-in of the server; the same in both forms."""

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import parse_qs

import pytest
from jwt.algorithms import RSAAlgorithm

from auth.entra import NOW, Clock, rsa_key, signed
from cli.standin import DEADLINE_S, Asked, StandIn, serving
from hubwire.communication_tokens import (
    AsyncTokenVerifier,
    TokenNotVerified,
    TokenVerifier,
    VerifiedToken,
    issuer_at,
)

SERVICE: Final = "2dee53b4-1111-4222-8333-8493fb117652"
USER: Final = f"8:acs:{SERVICE}_01a3185c-5001-7c6a-8cdd-6a84f1af1842"
PATH: Final = f"/communication/{SERVICE}"
KEY: Final = "c2VjcmV0OisvPQ=="

Verify = Callable[..., VerifiedToken]


class Issuer:
    """
    A stand-in that publishes keys and says what tokens are worth.

    Attributes:
        keys: names of those that are published; the name is the id, too.
        ended: tokens that are good for nothing any more.
        clock: of the verifiers.
    """

    def __init__(self, standin: StandIn) -> None:
        self.standin = standin
        self.url = issuer_at(f"http://127.0.0.1:{standin.port}/", SERVICE.upper())
        self.keys = ["one"]
        self.ended: set[str] = set()
        self.clock = Clock()
        standin.on_call("GET", f"{PATH}/keys", self._published)
        standin.on_call("POST", f"{PATH}/introspect", self._said)

    async def _published(self, _asked: Asked) -> object:
        return {"keys": [self.jwk(name) for name in self.keys]}

    async def _said(self, asked: Asked) -> object:
        return {"active": parse_qs(asked.body.decode())["token"][0] not in self.ended}

    @staticmethod
    def jwk(name: str) -> dict[str, Any]:
        return {**RSAAlgorithm.to_jwk(rsa_key(name).public_key(), as_dict=True), "kid": name, "use": "sig"}

    def token(self, key: str = "one", header: Mapping[str, object] | None = None, **claims: Any) -> str:
        said = {
            "skypeid": USER.removeprefix("8:"),
            "acsScope": "chat,voip",
            "iss": self.url,
            "aud": SERVICE,
            "iat": int(NOW),
            "exp": int(NOW) + 3600,
            "jti": "a",
            **claims,
        }
        known = {name: value for name, value in said.items() if value is not None}
        return signed(known, rsa_key(key), {"alg": "RS256", "kid": key, **(header or {})})

    def asked(self) -> list[str]:
        return [asked.path.removeprefix(f"{PATH}/") for asked in self.standin.asked]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving() as standin:
        yield Issuer(standin)


@pytest.fixture(params=["sync", "async"])
def made(request: pytest.FixtureRequest) -> Iterator[Callable[..., Verify]]:
    """Makes a verifier of either form, as a function."""
    with asyncio.Runner() as runner:
        opened: list[AsyncTokenVerifier] = []

        def make(issuer: Issuer, access_key: str | None = KEY, **options: Any) -> Verify:
            options = {"clock": issuer.clock, **options}
            if request.param == "sync":
                return TokenVerifier(issuer.url, access_key=access_key, **options).verify
            verifier = AsyncTokenVerifier(issuer.url, access_key=access_key, **options)
            opened.append(verifier)
            return lambda token, scopes=(): runner.run(verifier.verify(token, scopes))

        yield make
        for verifier in opened:
            runner.run(verifier.close())


Made = Callable[..., Verify]


def reason(verify: Verify, token: str, scopes: tuple[str, ...] = ()) -> str:
    """Why it is not verified; the error's text has nothing of it."""
    with pytest.raises(TokenNotVerified) as caught:
        verify(token, scopes)
    assert token == "" or token not in str(caught.value)
    assert KEY not in str(caught.value)
    return caught.value.reason


def test_good_token_says_whose_it_is(issuer: Issuer, made: Made) -> None:
    found = made(issuer)(issuer.token(), ("voip", "chat"))

    assert found == VerifiedToken(USER, ("chat", "voip"), int(NOW), int(NOW) + 3600, "a")
    assert issuer.asked() == ["keys", "introspect"]
    proof = base64.b64encode(f"{SERVICE}:{KEY}".encode()).decode()
    assert issuer.standin.asked[1].headers["Authorization"] == f"Basic {proof}"
    assert "Authorization" not in issuer.standin.asked[0].headers


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://elsewhere.example"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"iss": 7}, "issuer"),
        ({"aud": "other"}, "audience"),
        ({"aud": None}, "audience"),
        ({"exp": int(NOW)}, "expired"),
        ({"exp": int(NOW) - 1}, "expired"),
        ({"exp": None}, "malformed"),
        ({"exp": "soon"}, "malformed"),
        ({"iat": None}, "malformed"),
        ({"jti": None}, "malformed"),
        ({"skypeid": None}, "malformed"),
        ({"skypeid": "\ud800"}, "malformed"),
        ({"\ud800": 1}, "malformed"),
        ({"acsScope": ["chat"]}, "malformed"),
        ({"acsScope": "voip"}, "scope"),
        ({"acsScope": ""}, "scope"),
        ({"acsScope": "chat.join"}, "scope"),
    ],
    ids=str,
)
def test_token_that_says_something_else_is_refused(
    issuer: Issuer, made: Made, claims: dict[str, Any], why: str
) -> None:
    """Without asking what it is worth."""
    assert reason(made(issuer), issuer.token(**claims), ("chat",)) == why
    assert "introspect" not in issuer.asked()


@pytest.mark.parametrize("token", ["", "x", "x.y.z", "e30.e30.", "é.é.é", "\ud800", "a." * 20_000, "." * 5])
def test_what_is_no_token_asks_nobody(issuer: Issuer, made: Made, token: str) -> None:
    assert reason(made(issuer), token) in ("malformed", "issuer")
    assert issuer.asked() == []


def test_forged_token_is_refused(issuer: Issuer, made: Made) -> None:
    """Changed, signed by somebody else, not signed, or with a key that everybody knows."""
    verify = made(issuer)
    head, body, signature = issuer.token().split(".")
    other = issuer.token(acsScope="chat").split(".")[1]

    assert reason(verify, f"{head}.{other}.{signature}") == "signature"
    assert reason(verify, f"{head}.{body}.{signature[:-8]}AAAAAAAA") == "signature"
    assert reason(verify, f"{head}.{body}.") == "signature"
    assert reason(verify, issuer.token("two", {"kid": "one"})) == "signature"
    assert reason(verify, issuer.token(header={"kid": 7})) in ("signature", "malformed")
    for algorithm in ("none", "HS256", "RS512", "PS256", ""):
        assert reason(verify, issuer.token(header={"alg": algorithm})) == "signature"
    assert "introspect" not in issuer.asked()


def test_token_that_ends_is_over_at_once(issuer: Issuer, made: Made) -> None:
    verify = made(issuer, cache_s=3600)
    token = issuer.token()
    verify(token)

    issuer.clock.now += 3599
    verify(token)
    issuer.clock.now += 1

    assert reason(verify, token) == "expired"


# Revocation


def test_revoked_token_is_refused_at_once(issuer: Issuer, made: Made) -> None:
    verify = made(issuer)
    token = issuer.token()
    verify(token)
    issuer.ended.add(token)

    assert reason(verify, token) == "revoked"


def test_answer_is_believed_as_long_as_one_says(issuer: Issuer, made: Made) -> None:
    verify = made(issuer, cache_s=5)
    token, other = issuer.token(), issuer.token(jti="b")
    verify(token)
    issuer.ended |= {token, other}

    issuer.clock.now += 4.9
    verify(token)
    assert reason(verify, other) == "revoked"
    issuer.clock.now += 0.1
    assert reason(verify, token) == "revoked"
    assert reason(verify, token) == "revoked", "that is not believed for any time"
    assert issuer.asked().count("introspect") == 4


def test_clock_that_is_set_back_makes_no_answer_younger(issuer: Issuer, made: Made) -> None:
    verify = made(issuer, cache_s=5)
    token = issuer.token()
    verify(token)
    issuer.ended.add(token)
    issuer.clock.now -= 100

    assert reason(verify, token) == "revoked"


def test_only_so_many_answers_are_kept(issuer: Issuer, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubwire.communication_tokens._MOST_CACHED", 2)
    verify = made(issuer, cache_s=5)
    tokens = [issuer.token(jti=str(number)) for number in range(3)]
    for token in (*tokens, *reversed(tokens)):
        verify(token)

    assert issuer.asked().count("introspect") == 4


def test_without_an_access_key_nobody_is_asked(issuer: Issuer, made: Made) -> None:
    verify = made(issuer, access_key=None)
    issuer.ended.add(issuer.token())

    assert verify(issuer.token()).user_id == USER
    assert issuer.asked() == ["keys"]


# Keys


def test_keys_are_fetched_once(issuer: Issuer, made: Made) -> None:
    verify = made(issuer, access_key=None)
    for number in range(5):
        verify(issuer.token(jti=str(number)))

    assert issuer.asked() == ["keys"]


def test_key_that_is_new_is_fetched(issuer: Issuer, made: Made) -> None:
    """But not for every name that somebody invents."""
    verify = made(issuer, access_key=None)
    verify(issuer.token())
    issuer.keys.append("two")

    assert [reason(verify, issuer.token("two", {"kid": str(number)})) for number in range(5)] == ["signature"] * 5
    assert issuer.asked() == ["keys"]
    issuer.clock.now += 10
    assert verify(issuer.token("two")).user_id == USER
    assert reason(verify, issuer.token("three")) == "signature"
    assert issuer.asked() == ["keys", "keys"]


def test_key_that_is_withdrawn_is_good_for_an_hour_at_most(issuer: Issuer, made: Made) -> None:
    verify = made(issuer, access_key=None)
    token = issuer.token(exp=int(NOW) + 86_400)
    verify(token)
    issuer.keys = ["two"]

    issuer.clock.now += 3599
    verify(token)
    issuer.clock.now += 1
    assert reason(verify, token) == "signature"


def test_keys_of_other_kinds_are_passed_over(issuer: Issuer, made: Made) -> None:
    odd: list[object] = [7, None, {}, {"kid": "x"}, {"kid": "one", "kty": "EC"}, {"kid": [], "kty": "RSA"}]
    published = {"keys": [*odd, issuer.jwk("one")]}

    async def answer(_asked: Asked) -> object:
        return published

    issuer.standin.on_call("GET", f"{PATH}/keys", answer)

    assert made(issuer)(issuer.token()).user_id == USER


def test_token_of_a_key_that_is_too_short_is_refused(issuer: Issuer, made: Made) -> None:
    """Whoever publishes it: others can find its other half."""
    short = rsa_key("short", 1024)
    published = {**RSAAlgorithm.to_jwk(short.public_key(), as_dict=True), "kid": "short"}
    issuer.standin.on_raw("GET", f"{PATH}/keys", 200, json.dumps({"keys": [published]}).encode(), "application/json")
    claims = {"skypeid": USER[2:], "acsScope": "chat", "iss": issuer.url, "aud": SERVICE, "exp": int(NOW) + 60}

    token = signed({**claims, "iat": int(NOW), "jti": "a"}, short, {"alg": "RS256", "kid": "short"})

    assert reason(made(issuer), token) == "signature"


# A server that does not do as it should


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (500, b"{}", "unavailable"),
        (429, b"{}", "unavailable"),
        (302, b"{}", "unavailable"),
        (200, b"no JSON", "unavailable"),
        (200, b"[]", "unavailable"),
        (200, b"\xff", "unavailable"),
        (200, b"[" * 100_000, "unavailable"),
        (200, b'{"keys": 7}', "unavailable"),
        (200, json.dumps({"keys": [], "x": "x" * 1_100_000}).encode(), "unavailable"),
        (404, b"{}", "refused"),
        (200, b'{"keys": []}', "signature"),
    ],
)
def test_keys_that_cannot_be_had_are_told(issuer: Issuer, made: Made, status: int, body: bytes, why: str) -> None:
    issuer.standin.on_raw("GET", f"{PATH}/keys", status, body, "application/json")

    assert reason(made(issuer), issuer.token()) == why


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (500, b"", "unavailable"),
        (401, b"{}", "refused"),
        (403, b"{}", "refused"),
        (200, b"", "unavailable"),
        (200, b"{}", "revoked"),
        (200, b'{"active": "true"}', "revoked"),
    ],
)
def test_token_that_nobody_vouches_for_is_refused(
    issuer: Issuer, made: Made, status: int, body: bytes, why: str
) -> None:
    issuer.standin.on_raw("POST", f"{PATH}/introspect", status, body, "application/json")

    assert reason(made(issuer, cache_s=60), issuer.token()) == why


def test_server_that_is_gone_is_told(made: Made) -> None:
    with serving() as standin:
        issuer = Issuer(standin)
        cached, asking = made(issuer, cache_s=60), made(issuer)
        token = issuer.token()
        cached(token)
        asking(token)

    assert cached(token).user_id == USER
    assert reason(asking, token) == "unavailable"
    assert reason(made(issuer), token) == "unavailable"


# Its use


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("", {}),
        ("localhost/communication/x", {}),
        ("ftp://localhost/communication/x", {}),
        ("https://localhost", {}),
        ("https://localhost/", {}),
        ("https:///communication/x", {}),
        ("http://localhost/communication/x", {"cache_s": -1}),
        ("http://localhost/communication/x", {"cache_s": 3601}),
        ("http://localhost/communication/x", {"cache_s": float("nan")}),
    ],
)
def test_verifier_that_cannot_work_is_not_made(url: str, options: dict[str, Any]) -> None:
    for kind in (TokenVerifier, AsyncTokenVerifier):
        with pytest.raises(ValueError, match=r"issuer|cache_s"):
            kind(url, access_key=KEY, **options)


def test_authorities_that_are_not_there_are_told_when_it_is_made() -> None:
    with pytest.raises(OSError, match="No such file"):
        TokenVerifier(issuer_at("https://localhost", SERVICE), access_key=None, ca_file="no such file")


def test_scopes_are_no_text(issuer: Issuer, made: Made) -> None:
    """Of which each letter would be one."""
    with pytest.raises(TypeError):
        made(issuer)(issuer.token(), "chat")


def test_several_threads_share_a_verifier(issuer: Issuer) -> None:
    verifier = TokenVerifier(issuer.url, access_key=KEY, cache_s=60, clock=issuer.clock)
    tokens = [issuer.token(jti=str(number % 7)) for number in range(60)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(verifier.verify, tokens))

    assert [user.token_id for user in found] == [str(number % 7) for number in range(60)]


async def test_many_tokens_are_verified_at_once(issuer: Issuer) -> None:
    async with AsyncTokenVerifier(issuer.url, access_key=KEY, clock=issuer.clock) as verifier:
        found = await asyncio.gather(*(verifier.verify(issuer.token(jti=str(number))) for number in range(20)))

    assert [user.token_id for user in found] == [str(number) for number in range(20)]
    assert sorted(issuer.asked()) == ["introspect"] * 20 + ["keys"], "fetched once for all of them"


class Held:
    """
    Keys that do not come before they are let go.

    Attributes:
        found: are there any then.
    """

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._let_go = threading.Event()
        issuer.standin.on_call("GET", f"{PATH}/keys", self._published)
        self.found = True

    async def _published(self, _asked: Asked) -> object:
        await asyncio.to_thread(self._let_go.wait, DEADLINE_S)
        return {"keys": [self._issuer.jwk("one")]} if self.found else None

    async def begun(self, verifier: AsyncTokenVerifier) -> list[asyncio.Task[VerifiedToken]]:
        """Three verifications, which wait for them."""
        tasks = [asyncio.create_task(verifier.verify(self._issuer.token(jti=str(number)))) for number in range(3)]
        async with asyncio.timeout(DEADLINE_S):
            while not self._issuer.asked():  # noqa: ASYNC110  the stand-in runs in another thread
                await asyncio.sleep(0.001)
        return tasks

    def let_go(self) -> None:
        self._let_go.set()


@pytest.fixture
def held(issuer: Issuer) -> Iterator[Held]:
    held = Held(issuer)
    yield held
    held.let_go()


@pytest.mark.parametrize("gone", [(0,), (2,), (0, 1), (0, 1, 2)])
async def test_whoever_is_cancelled_ends_the_wait_for_keys_for_nobody_else(
    issuer: Issuer, held: Held, gone: tuple[int, ...]
) -> None:
    async with AsyncTokenVerifier(issuer.url, access_key=None, clock=issuer.clock) as verifier:
        tasks = await held.begun(verifier)
        for number in gone:
            tasks[number].cancel()
        await asyncio.sleep(0)
        held.let_go()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        later = await verifier.verify(issuer.token())

    for number, one in enumerate(found):
        assert isinstance(one, asyncio.CancelledError if number in gone else VerifiedToken)
    assert later.token_id == "a"
    assert issuer.asked().count("keys") <= 2, "once more if nobody was left whom the answer was for"
    assert issuer.asked().count("keys") == 1 or len(gone) == 3


async def test_keys_that_do_not_come_are_told_to_everybody_who_waits_and_asked_for_again(
    issuer: Issuer, held: Held
) -> None:
    async with AsyncTokenVerifier(issuer.url, access_key=None, clock=issuer.clock) as verifier:
        tasks = await held.begun(verifier)
        held.found = False
        held.let_go()
        refused = await asyncio.gather(*tasks, return_exceptions=True)
        held.found = True
        found = await verifier.verify(issuer.token())

    assert [one.reason for one in refused if isinstance(one, TokenNotVerified)] == ["refused"] * 3
    assert len(set(map(id, refused))) == 3, "each their own"
    assert found.token_id == "a"
    assert issuer.asked() == ["keys", "keys"]


async def test_verifier_that_is_closed_leaves_nobody_waiting(issuer: Issuer, held: Held) -> None:
    verifier = AsyncTokenVerifier(issuer.url, access_key=None, clock=issuer.clock)
    tasks = await held.begun(verifier)

    await verifier.close()
    refused = await asyncio.gather(*tasks, return_exceptions=True)

    assert [one.reason for one in refused if isinstance(one, TokenNotVerified)] == ["unavailable"] * 3
