"""May events be sent to a URL: asked once for all who want to know, and again from time to time."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from doubles import settle
from handlers import ALLOWED, answer
from hubwire.model.errors import EventUndelivered
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest
from hubwire.upstream.calls import EventFailed
from hubwire.upstream.validation import NotValidated, Validator, validation_refusal, validation_request

URL = "https://app.example/chat/validate?code=k"
ORIGIN = "hub.example"
REFUSED = answer(403)


class House:
    """
    A validator, and the owners of all URLs.

    Attributes:
        asked: requests, in order.
        says: what they are answered, the last one for ever.
        held: answers wait for this, if it is not None.
    """

    def __init__(self, *says: IncomingResponse | EventUndelivered) -> None:
        self.now = 1000.0
        self.validator = Validator(lambda: self.now)
        self.asked: list[OutgoingRequest] = []
        self.says = list(says)
        self.held: asyncio.Event | None = None

    async def send(self, request: OutgoingRequest) -> IncomingResponse:
        self.asked.append(request)
        if self.held is not None:
            await self.held.wait()
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, EventUndelivered):
            raise said
        return said

    async def check(self, url: str = URL, origin: str = ORIGIN) -> str | None:
        """Why not, or None."""
        try:
            await self.validator.check(url, origin, self.send)
        except NotValidated as refusal:
            return refusal.message
        return None

    async def allows(self, url: str = URL, origin: str = ORIGIN) -> bool:
        return await self.check(url, origin) is None


# What is asked


def test_request_says_who_asks_and_nothing_else() -> None:
    """Handlers of the official packages know it by these two headers; no token, no signature, no cookie."""
    assert validation_request("OPTIONS", URL, ORIGIN) == OutgoingRequest(
        "OPTIONS", URL, (("WebHook-Request-Origin", ORIGIN), ("ce-awpsversion", "1.0"))
    )


async def test_owner_who_does_not_know_options_is_asked_by_get() -> None:
    house = House(answer(404), ALLOWED)

    assert await house.allows()
    assert [request.method for request in house.asked] == ["OPTIONS", "GET"]
    assert house.asked[0].headers == house.asked[1].headers


@pytest.mark.parametrize("status", [400, 401, 403, 405, 429, 301, 500])
async def test_any_other_refusal_is_not_followed_by_get(status: int) -> None:
    house = House(answer(status), ALLOWED)

    assert not await house.allows()
    assert len(house.asked) == 1


async def test_get_that_is_refused_is_a_refusal() -> None:
    house = House(answer(404), answer(404))

    refusal = await house.check()

    assert refusal is not None
    assert "AbuseProtectionResponseInvalidStatusCode" in refusal
    assert "404" in refusal


# What the answer means


@pytest.mark.parametrize("status", [200, 201, 204, 299])
@pytest.mark.parametrize(
    "allowed",
    [
        ["*"],
        ["hub.example"],
        ["HUB.example"],
        ["hub.example:8443"],
        ["https://hub.example"],
        ["https://hub.example:8443/"],
        ["other.example", "hub.example"],
        ["other.example, hub.example"],
        ["other.example,*"],
    ],
)
def test_leave_to_send(status: int, allowed: list[str]) -> None:
    """By name, or for everybody; lines may have been joined by a proxy."""
    lines = tuple([("webhook-ALLOWED-origin", value) for value in allowed])

    assert validation_refusal(IncomingResponse(status, lines), "Hub.Example") is None


@pytest.mark.parametrize(
    "allowed",
    [
        "",
        "other.example",
        "*.example",
        "hub.example.evil.example",
        "xhub.example",
        "hub.example:",
        "hub.example:x",
        "null",
    ],
)
def test_leave_for_somebody_else(allowed: str) -> None:
    refusal = validation_refusal(answer(200, WebHook_Allowed_Origin=allowed), ORIGIN)

    assert refusal is not None
    assert refusal.startswith("AbuseProtectionResponseMissingAllowedOrigin")
    assert ORIGIN in refusal


def test_host_may_be_an_address() -> None:
    assert validation_refusal(answer(200, WebHook_Allowed_Origin="[::1]:8080"), "[::1]") is None
    assert validation_refusal(answer(200, WebHook_Allowed_Origin="127.0.0.1"), "127.0.0.1") is None
    assert validation_refusal(answer(200, WebHook_Allowed_Origin="[::1]"), "[::2]") is not None


def test_answer_without_the_header_is_no_leave() -> None:
    refusal = validation_refusal(answer(200), ORIGIN)

    assert refusal is not None
    assert refusal.startswith("AbuseProtectionResponseMissingAllowedOrigin")


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "key missing"), (403, "without one"), (404, "path"), (405, "OPTIONS"), (302, "302"), (500, "500")],
)
def test_refusal_says_what_to_mend(status: int, hint: str) -> None:
    refusal = validation_refusal(answer(status, WebHook_Allowed_Origin="*"), ORIGIN)

    assert refusal is not None
    assert refusal.startswith("AbuseProtectionResponseInvalidStatusCode")
    assert hint in refusal


async def test_owner_who_cannot_be_asked_has_not_answered() -> None:
    house = House(EventFailed("app.example does not answer"))

    with pytest.raises(NotValidated, match="AbuseProtectionResponseFailed: app") as refused:
        await house.validator.check(URL, ORIGIN, house.send)
    assert not refused.value.answered

    house = House(REFUSED)
    with pytest.raises(NotValidated) as refused:
        await house.validator.check(URL, ORIGIN, house.send)
    assert refused.value.answered


# Once for all, and again


async def test_answer_is_good_for_a_minute() -> None:
    house = House(ALLOWED)
    for _ in range(3):
        assert await house.allows()
        house.now += 19.9

    assert len(house.asked) == 1


async def test_each_url_and_each_name_of_ours_is_asked_for() -> None:
    house = House(ALLOWED)
    for url, origin in [(URL, ORIGIN), (URL + "2", ORIGIN), (URL, "other"), (URL, ORIGIN)]:
        await house.check(url, origin)

    assert [(request.url, dict(request.headers)["WebHook-Request-Origin"]) for request in house.asked] == [
        (URL, ORIGIN),
        (URL + "2", ORIGIN),
        (URL, "other"),
    ]


async def test_all_who_want_to_know_at_once_wait_for_one_answer() -> None:
    house = House(ALLOWED)
    house.held = asyncio.Event()
    waiting = [asyncio.create_task(house.check()) for _ in range(5)]
    await settle()
    assert not any(task.done() for task in waiting)

    house.held.set()

    assert await asyncio.gather(*waiting) == [None] * 5
    assert len(house.asked) == 1


async def test_who_gives_up_does_not_end_the_asking_for_the_others() -> None:
    house = House(ALLOWED)
    house.held = asyncio.Event()
    first, second = (asyncio.create_task(house.check()) for _ in range(2))
    await settle()
    first.cancel()
    await settle()

    house.held.set()

    assert await second is None
    assert first.cancelled()
    assert len(house.asked) == 1


async def test_answer_is_renewed_in_the_background_while_events_go_on() -> None:
    house = House(ALLOWED)
    await house.check()
    house.now += 60
    house.held = asyncio.Event()

    assert [await house.allows() for _ in range(3)] == [True] * 3
    await settle()
    assert len(house.asked) == 2

    house.held.set()
    await settle()
    house.now += 59.9
    assert await house.allows()
    assert len(house.asked) == 2


async def test_leave_that_is_taken_back_ends_with_the_renewal() -> None:
    house = House(ALLOWED, REFUSED)
    await house.check()
    house.now += 60

    assert await house.allows()
    await settle()
    assert not await house.allows()
    assert len(house.asked) == 2


async def test_after_a_refusal_it_is_asked_again_later_and_later() -> None:
    """And in between events fail at once."""
    house = House(REFUSED)
    await house.check()
    pauses = [1, 2, 4, 8, 16, 32, 60, 60]
    for number, pause in enumerate(pauses, start=1):
        house.now += pause - 0.1
        assert not await house.allows()
        assert len(house.asked) == number
        house.now += 0.1
        assert not await house.allows()
        assert len(house.asked) == number + 1


async def test_success_after_refusals_holds_and_the_next_refusal_begins_with_a_short_pause() -> None:
    house = House(REFUSED, REFUSED, ALLOWED, REFUSED, ALLOWED)
    for pause in (0, 1, 2):
        house.now += pause
        await house.check()
    assert await house.allows()
    house.now += 60
    await house.check()
    await settle()
    assert not await house.allows()

    house.now += 1
    assert await house.allows()
    assert len(house.asked) == 5


async def test_who_wants_to_know_after_a_refusal_waits_for_the_next_answer() -> None:
    house = House(REFUSED, ALLOWED)
    await house.check()
    house.now += 1
    house.held = asyncio.Event()
    waiting = [asyncio.create_task(house.check()) for _ in range(3)]
    await settle()
    assert not any(task.done() for task in waiting)

    house.held.set()

    assert await asyncio.gather(*waiting) == [None] * 3
    assert len(house.asked) == 2


async def test_look_at_a_handler_that_is_not_there_yet_holds_up_no_event() -> None:
    house = House(EventFailed("nobody is there"), ALLOWED)

    with pytest.raises(NotValidated):
        await house.validator.look(URL, ORIGIN, house.send)

    assert house.validator.last(URL)[ORIGIN] is not None
    assert await house.allows(), "at once"


async def test_look_at_a_handler_that_refuses_counts_for_events() -> None:
    house = House(REFUSED, ALLOWED)

    with pytest.raises(NotValidated):
        await house.validator.look(URL, ORIGIN, house.send)

    assert not await house.allows()
    assert len(house.asked) == 1


async def test_look_at_a_handler_that_refused_a_moment_ago_asks_it_again() -> None:
    """Its owner has mended it and saves the settings once more; where a refusal fails that, they could not."""
    house = House(REFUSED, REFUSED, REFUSED, ALLOWED)
    for _ in range(3):
        with pytest.raises(NotValidated):
            await house.validator.look(URL, ORIGIN, house.send)

    await house.validator.look(URL, ORIGIN, house.send)

    assert await house.allows()
    assert len(house.asked) == 4


async def test_what_the_last_askings_brought_can_be_looked_at() -> None:
    house = House(ALLOWED, REFUSED)
    assert house.validator.last(URL) == {}

    house.held = asyncio.Event()
    asking = asyncio.create_task(house.check())
    await settle()
    assert house.validator.last(URL) == {}

    house.held.set()
    await asking
    await house.check(origin="other")
    last = house.validator.last(URL)
    assert last[ORIGIN] is None
    assert last["other"] is not None


async def test_memory_for_urls_is_bounded_and_the_one_longest_not_used_goes() -> None:
    house = House(ALLOWED)
    for number in range(4096):
        await house.check(f"{URL}{number}")
    await house.check(f"{URL}0")
    await house.check(f"{URL}new")
    before = len(house.asked)

    await house.check(f"{URL}0")
    assert len(house.asked) == before
    await house.check(f"{URL}1")
    assert len(house.asked) == before + 1


# Faults and the end


async def test_fault_of_ours_is_no_leave() -> None:
    house = House(ALLOWED)

    async def fail(_: OutgoingRequest) -> IncomingResponse:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError):
        await house.validator.check(URL, ORIGIN, fail)
    assert not await house.allows()

    house.now += 1
    assert await house.allows()


async def test_fault_in_the_background_is_no_leave_either() -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(str(context["exception"])))
    house = House(ALLOWED)
    await house.check()
    house.now += 60

    async def fail(_: OutgoingRequest) -> IncomingResponse:
        raise RuntimeError("a fault of ours")

    await house.validator.check(URL, ORIGIN, fail)
    await settle()
    gc.collect()

    assert told == ["a fault of ours"]
    assert not await house.allows()


@pytest.mark.parametrize("begin", [lambda house: house.check(), lambda house: _renew(house)], ids=["first", "renewal"])
async def test_what_is_under_way_at_the_end_is_given_up(begin: Callable[[House], Awaitable[object]]) -> None:
    house = House(ALLOWED)
    house.held = asyncio.Event()
    waiting = asyncio.ensure_future(begin(house))
    await settle()

    await house.validator.close()
    await asyncio.wait([waiting])

    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    assert not await house.allows()


async def _renew(house: House) -> None:
    held, house.held = house.held, None
    await house.check()
    house.held = held
    house.now += 60
    await house.check()


async def test_end_of_a_validator_that_does_nothing_is_the_end() -> None:
    house = House(ALLOWED)
    await house.check()

    await house.validator.close()

    assert await house.allows()
