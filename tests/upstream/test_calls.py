"""One event on its way to a handler: secrets, validation, token, attempts, and what may not be tried again."""

import asyncio
import logging
from typing import Any

import pytest

from doubles import HUB, settle
from handlers import ALLOWED, IDENTITY, NOTHING, Upstream, answer
from hubwire.adapters.cookies import HandlerCookies
from hubwire.model.errors import Forbidden, Unavailable
from hubwire.model.identities import ManagedIdentity
from hubwire.model.telemetry import HandlerCounters
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.upstream.calls import Decided, EventFailed, Limits, never
from hubwire.upstream.handlers import Handler
from hubwire.upstream.lanes import Lane
from hubwire.upstream.validation import NotValidated

URL = "http://app.example/{hub}/{event}?code=k"
HEADERS = (("Content-Type", "text/plain"), ("ce-id", "7"), ("x-ms-client-request-id", "id"))
ORIGIN = "hub.example"
CODE = "https://v.example/secrets/code"
WITH_SECRET = f"http://app.example/{{event}}?code={{@Microsoft.KeyVault(SecretUri={CODE})}}"
TOKEN = {"type": "ManagedIdentity", "managedIdentity": {"resource": "api://app"}}
GONE = WebhookFailed("app.example refused the connection", "unreachable")


class House(Upstream):
    """One handler, and calls of it."""

    def __init__(self, url: str = URL, limits: Limits | None = None, **settings: Any) -> None:
        super().__init__(limits=limits)
        self.handler = Handler({"urlTemplate": url, **settings})
        self.lane = Lane(4, 4, HandlerCounters())
        self.cookies: HandlerCookies | None = None
        self.wanted = True

    async def call(
        self, identity: ManagedIdentity | None = IDENTITY, event: str = "message", decided: Decided = never
    ) -> IncomingResponse:
        url, response = await self.caller.call(
            HUB,
            event,
            self.handler,
            self.lane,
            identity,
            ORIGIN,
            HEADERS,
            b"hi",
            self.cookies,
            urgent=True,
            wanted=lambda: self.wanted,
            decided=decided,
        )
        assert url == self.webhook.events[-1].url
        return response

    @property
    def made(self) -> list[str]:
        """What was asked for, in order."""
        return [f"{request.method} {request.url}" for request in self.webhook.requests]

    def authorizations(self) -> list[str | None]:
        return [dict(request.headers).get("Authorization") for request in self.webhook.requests]


async def test_url_is_validated_and_then_called() -> None:
    house = House()

    assert await house.call() == NOTHING
    assert await house.call(event="other") == NOTHING

    assert house.made == [
        "OPTIONS http://app.example/chat/validate?code=k",
        "POST http://app.example/chat/message?code=k",
        "POST http://app.example/chat/other?code=k",
    ]
    assert house.webhook.events[0] == OutgoingRequest("POST", "http://app.example/chat/message?code=k", HEADERS, b"hi")


async def test_url_that_is_not_validated_is_not_called() -> None:
    house = House()
    house.webhook.validation = lambda _: answer(403)

    with pytest.raises(NotValidated):
        await house.call()

    assert house.webhook.events == []


# Attempts


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 599])
async def test_answer_that_may_be_another_one_next_time_is_asked_for_again(status: int) -> None:
    house = House()
    house.webhook.say(answer(status), answer(status), answer(status), answer(200, b"x"))

    assert (await house.call()).body == b"x"
    assert house.pauses == [1, 3, 5]
    first, *others = house.webhook.events
    assert others == [first] * 3


@pytest.mark.parametrize("status", [408, 500])
async def test_last_answer_is_the_answer(status: int) -> None:
    house = House()
    house.webhook.say(answer(status, b"1"), answer(status, b"2"), answer(status, b"3"), answer(status, b"4"), NOTHING)

    assert await house.call() == answer(status, b"4")
    assert len(house.webhook.events) == 4


@pytest.mark.parametrize("status", [200, 204, 300, 302, 307, 400, 404, 409, 429, 499, 600])
async def test_any_other_answer_is_the_answer_at_once(status: int) -> None:
    house = House()
    house.webhook.say(answer(status), NOTHING)

    assert (await house.call()).status == status
    assert house.pauses == []


@pytest.mark.parametrize("status", [401, 403, 408, 500, 503])
async def test_answer_that_is_the_last_word_is_asked_for_once(status: int) -> None:
    """Neither another key nor another token would change it."""
    house = House(WITH_SECRET, auth=TOKEN)
    house.secrets.values[CODE] = "old"
    house.secrets.renewed[CODE] = "new"
    house.webhook.say(answer(status, b"no"), NOTHING)

    assert await house.call(decided=lambda response: response.body == b"no") == answer(status, b"no")
    assert len(house.webhook.events) == 1
    assert (house.pauses, house.tokens.refreshed, house.secrets.refreshed) == ([], [], [])


async def test_answer_that_is_not_yet_the_last_word_is_asked_for_again_until_it_is() -> None:
    house = House()
    house.webhook.say(answer(503), answer(503, b"no"), NOTHING)

    assert await house.call(decided=lambda response: response.body == b"no") == answer(503, b"no")
    assert house.pauses == [1]


async def test_connection_that_cannot_be_had_is_tried_again() -> None:
    house = House()
    house.webhook.say(GONE, GONE, answer(200, b"x"))

    assert (await house.call()).body == b"x"
    assert house.pauses == [1, 3]


async def test_handler_that_stays_away_fails_the_event_with_what_the_last_attempt_says() -> None:
    house = House()
    house.webhook.say(GONE, GONE, GONE, WebhookFailed("no route to app.example", "unreachable"))

    with pytest.raises(EventFailed, match="no route") as failed:
        await house.call()

    assert isinstance(failed.value.__cause__, WebhookFailed)
    assert house.pauses == [1, 3, 5]


@pytest.mark.parametrize("kind", ["timeout", "too large", "refused target", "invalid"])
async def test_any_other_failure_is_not_tried_again(kind: Any) -> None:
    house = House()
    house.webhook.say(WebhookFailed("reason", kind), NOTHING)

    with pytest.raises(EventFailed, match="reason"):
        await house.call()

    assert house.pauses == []


async def test_failure_behind_bad_answers_is_a_failure() -> None:
    house = House()
    house.webhook.say(answer(503), WebhookFailed("too slow", "timeout"), NOTHING)

    with pytest.raises(EventFailed, match="too slow"):
        await house.call()


@pytest.mark.parametrize("first", [answer(503), GONE])
async def test_nothing_is_tried_again_for_a_client_that_is_gone(first: IncomingResponse | WebhookFailed) -> None:
    house = House()
    house.webhook.say(first, NOTHING)
    house.wanted = False

    if isinstance(first, IncomingResponse):
        assert await house.call() == first
    else:
        with pytest.raises(EventFailed):
            await house.call()

    assert len(house.webhook.events) == 1


async def test_pauses_are_those_of_the_settings() -> None:
    house = House(limits=Limits(retries_s=(0.25,)))
    house.webhook.say(answer(500))

    await house.call()

    assert house.pauses == [0.25]
    assert len(house.webhook.events) == 2


async def test_pause_occupies_no_place_among_the_calls() -> None:
    house = House()
    house.webhook.say(answer(500), NOTHING)
    house.lane = Lane(1, 0, HandlerCounters())
    in_flight: list[int] = []

    async def pause(seconds: float) -> None:
        in_flight.append(house.lane.counters.in_flight)

    house.caller._pause = pause
    await house.call()

    assert in_flight == [0]


async def test_time_for_each_attempt_is_that_of_the_settings_and_ten_seconds_for_a_validation() -> None:
    house = House(limits=Limits(attempt_s=7.0))
    times: list[tuple[str, float]] = []

    async def send(request: OutgoingRequest, timeout_s: float) -> IncomingResponse:
        times.append((request.method, timeout_s))
        return ALLOWED

    house.webhook.send = send  # type: ignore[method-assign]
    await house.caller.call(
        HUB, "e", house.handler, house.lane, None, ORIGIN, (), b"", None, urgent=True, wanted=lambda: True
    )

    assert times == [("OPTIONS", 10.0), ("POST", 7.0)]


async def test_validation_is_tried_again_like_an_event_even_if_the_first_client_is_gone() -> None:
    """Others wait for the same answer."""
    house = House()
    says: list[IncomingResponse | WebhookFailed] = [answer(500), GONE, ALLOWED]
    house.webhook.validation = lambda _: says.pop(0)
    house.wanted = False

    await house.call()

    assert house.pauses == [1, 3]


async def test_validation_that_takes_too_long_is_not_tried_again() -> None:
    house = House()
    house.webhook.validation = lambda _: WebhookFailed("too slow", "timeout")

    with pytest.raises(NotValidated, match="AbuseProtectionResponseFailed: too slow"):
        await house.call()

    assert house.pauses == []


async def test_validation_may_be_made_without_trying_again() -> None:
    house = House()
    house.webhook.validation = lambda _: answer(500)

    with pytest.raises(NotValidated):
        await house.caller.validate(HUB, house.handler, house.lane, {}, ORIGIN, urgent=False, looking=True)

    assert house.pauses == []


# Tokens


async def test_event_brings_a_token_and_a_validation_does_not() -> None:
    house = House(auth=TOKEN)

    await house.call()

    assert house.authorizations() == [None, f"Bearer api://app {IDENTITY.client_id} 1"]


async def test_handler_without_authentication_gets_no_token() -> None:
    house = House()

    await house.call()

    assert house.authorizations() == [None, None]


async def test_token_that_is_refused_is_renewed_once() -> None:
    house = House(auth=TOKEN)
    house.webhook.say(answer(401), NOTHING)

    assert (await house.call()).status == 204
    assert [text and text[-1] for text in house.authorizations()] == [None, "1", "2"]
    assert house.tokens.refreshed == [f"api://app {IDENTITY.client_id} 1"]


async def test_token_that_is_refused_again_is_a_refusal() -> None:
    house = House(auth=TOKEN)
    house.webhook.say(answer(401))

    assert (await house.call()).status == 401
    assert len(house.webhook.events) == 2


async def test_token_that_stays_the_same_is_not_sent_again() -> None:
    house = House(auth=TOKEN)
    house.webhook.say(answer(401), NOTHING)

    async def refresh(audience: str, identity: ManagedIdentity, token: str) -> str:
        return token

    house.tokens.refresh = refresh  # type: ignore[method-assign]

    assert (await house.call()).status == 401
    assert len(house.webhook.events) == 1


async def test_refusal_stands_where_no_other_token_can_be_had(caplog: pytest.LogCaptureFixture) -> None:
    house = House(auth=TOKEN)
    house.webhook.say(answer(401), NOTHING)

    async def refresh(audience: str, identity: ManagedIdentity, token: str) -> str:
        raise Unavailable("the token endpoint does not answer")

    house.tokens.refresh = refresh  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "hubwire.upstream"):
        assert (await house.call()).status == 401

    assert caplog.messages == ["the token endpoint does not answer"]


async def test_refusal_of_a_call_without_a_token_is_a_refusal() -> None:
    house = House()
    house.webhook.say(answer(401), NOTHING)

    assert (await house.call()).status == 401
    assert house.tokens.refreshed == []


async def test_event_without_its_token_is_not_sent() -> None:
    house = House(auth=TOKEN)
    house.tokens.failure = Unavailable("no token for api://app")

    with pytest.raises(EventFailed, match="no token for api://app"):
        await house.call()

    assert house.webhook.events == []


async def test_resource_without_an_identity_has_no_tokens() -> None:
    house = House(auth=TOKEN)

    with pytest.raises(EventFailed, match="managed identity"):
        await house.call(identity=None)

    assert house.webhook.events == []


# Secrets


async def test_secrets_stand_in_the_url_of_the_validation_and_of_the_event() -> None:
    house = House(WITH_SECRET)
    house.secrets.values[CODE] = "k1"

    await house.call()

    assert house.made == ["OPTIONS http://app.example/validate?code=k1", "POST http://app.example/message?code=k1"]


async def test_event_whose_secret_cannot_be_had_is_not_sent_and_nothing_stands_in_its_place() -> None:
    house = House(WITH_SECRET)
    house.secrets.values[CODE] = Forbidden("grant the identity the permission get")

    with pytest.raises(EventFailed, match="grant the identity"):
        await house.call()

    assert house.webhook.requests == []


async def test_resource_without_an_identity_reads_no_secrets() -> None:
    house = House(WITH_SECRET)

    with pytest.raises(EventFailed, match="managed identity"):
        await house.call(identity=None)

    assert house.webhook.requests == []


async def test_secret_that_is_no_url_fails_the_event() -> None:
    house = House(f"{{@Microsoft.KeyVault(SecretUri={CODE})}}")
    house.secrets.values[CODE] = "hunter2"

    with pytest.raises(EventFailed) as failed:
        await house.call()

    assert "hunter2" not in failed.value.message
    assert house.webhook.requests == []


@pytest.mark.parametrize("status", [401, 403])
async def test_refusal_is_followed_by_a_look_at_the_secret_and_another_call_if_it_is_a_new_one(status: int) -> None:
    house = House(WITH_SECRET)
    house.secrets.values[CODE] = "old"
    house.secrets.renewed = {CODE: "new"}
    house.webhook.answers = lambda request: answer(status) if request.url.endswith("old") else NOTHING

    assert (await house.call()).status == 204
    assert house.made == [
        "OPTIONS http://app.example/validate?code=old",
        "POST http://app.example/message?code=old",
        "OPTIONS http://app.example/validate?code=new",
        "POST http://app.example/message?code=new",
    ]


async def test_validation_that_fails_is_followed_by_a_look_at_the_secret_as_well() -> None:
    house = House(WITH_SECRET)
    house.secrets.values[CODE] = "old"
    house.secrets.renewed = {CODE: "new"}
    house.webhook.validation = lambda request: answer(401) if request.url.endswith("old") else ALLOWED

    assert (await house.call()).status == 204
    assert [request.url for request in house.webhook.events] == ["http://app.example/message?code=new"]


@pytest.mark.parametrize("status", [401, 403])
async def test_refusal_stands_if_the_secret_is_the_same(status: int) -> None:
    house = House(WITH_SECRET)
    house.secrets.values[CODE] = "k"
    house.webhook.say(answer(status))

    assert (await house.call()).status == status
    assert house.secrets.refreshed == [CODE]
    assert len(house.webhook.events) == 1


async def test_refusal_stands_if_the_secret_cannot_be_had_any_more() -> None:
    house = House(WITH_SECRET)
    house.secrets.values[CODE] = "k"
    house.secrets.renewed = {CODE: Forbidden("no")}  # type: ignore[dict-item]
    house.webhook.say(answer(403))

    assert (await house.call()).status == 403


async def test_url_that_is_not_validated_and_whose_secret_is_the_same_is_not_called() -> None:
    house = House(WITH_SECRET)
    house.secrets.values[CODE] = "k"
    house.webhook.validation = lambda _: answer(401)

    with pytest.raises(NotValidated):
        await house.call()

    assert (house.secrets.refreshed, house.webhook.events) == ([CODE], [])


async def test_refusal_of_a_url_without_secrets_is_followed_by_nothing() -> None:
    house = House()
    house.webhook.say(answer(403))

    assert (await house.call()).status == 403
    assert house.secrets.refreshed == []


# Cookies


async def test_cookies_go_back_to_where_they_came_from_and_not_with_a_validation() -> None:
    house = House()
    house.cookies = HandlerCookies()
    house.cookies.keep("http://app.example/chat/connect", ["sticky=1; Path=/"])
    house.cookies.keep("http://other.example/", ["foreign=1"])

    await house.call()

    assert [dict(request.headers).get("Cookie") for request in house.webhook.requests] == [None, "sticky=1"]


# Tunnels


async def test_handler_that_has_dialled_in_is_not_validated() -> None:
    house = House("tunnel:///{hub}/{event}", auth=TOKEN)
    house.webhook.answers = lambda _: answer(200, b"x")

    response = await house.caller.call(
        HUB, "e", house.handler, house.lane, IDENTITY, ORIGIN, HEADERS, b"hi", None, urgent=True, wanted=lambda: True
    )

    assert response == ("tunnel:///chat/e", answer(200, b"x"))
    assert house.webhook.requests == []
    ((hub, request),) = house.webhook.tunnelled
    assert hub == HUB
    assert (request.method, request.url, request.body) == ("POST", "tunnel:///chat/e", b"hi")
    assert request.headers == (*HEADERS, ("Authorization", f"Bearer api://app {IDENTITY.client_id} 1"))


async def test_tunnel_that_nobody_has_dialled_into_fails_the_event() -> None:
    house = House("tunnel:///x", limits=Limits(retries_s=()))
    house.webhook.say(WebhookFailed("nobody has dialled in", "unreachable"))

    with pytest.raises(EventFailed, match="dialled in"):
        await house.call()


# The lane


async def test_calls_and_validations_wait_for_their_turn() -> None:
    house = House()
    house.lane = Lane(1, 9, HandlerCounters())
    free = asyncio.Event()

    async def held(_: OutgoingRequest) -> IncomingResponse:
        await free.wait()
        return ALLOWED

    house.webhook.validation = held
    calls = [asyncio.create_task(house.call()) for _ in range(3)]
    await settle()
    assert (len(house.webhook.requests), house.lane.counters.in_flight) == (1, 1)

    house.webhook.answers = held
    free.set()
    await asyncio.gather(*calls)

    assert len(house.webhook.events) == 3
    assert (house.lane.counters.in_flight, house.lane.counters.waiting) == (0, 0)
