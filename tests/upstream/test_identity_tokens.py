"""Tokens are kept, renewed before they end, asked for once at a time, and no failure is repeated without a pause."""

import asyncio
import logging

import pytest

from hubwire.model.errors import Unavailable
from hubwire.model.identities import AccessToken, ManagedIdentity
from hubwire.upstream.identity_tokens import IdentityTokens

NOW = 1_800_000_000.0
AUDIENCE = "api://orders"
DAY_S = 24 * 3600.0
HOUR_S = 3600.0


def of(principal: str = "p", resource: str = "/wps") -> ManagedIdentity:
    return ManagedIdentity("SystemAssigned", resource, resource, principal, f"{principal}-client")


ONE = of()


class Source:
    """
    Gives numbered tokens.

    Attributes:
        asked: for what.
        failing: why it gives none now.
        held: None, or what each request waits for.
    """

    def __init__(self) -> None:
        self.now = NOW
        self.life_s = DAY_S
        self.asked: list[tuple[str, ManagedIdentity]] = []
        self.failing: str | None = None
        self.held: asyncio.Event | None = None
        self.same = ""

    def clock(self) -> float:
        return self.now

    async def token(self, audience: str, identity: ManagedIdentity) -> AccessToken:
        self.asked.append((audience, identity))
        number = len(self.asked)
        if self.held is not None:
            await self.held.wait()
        if self.failing is not None:
            raise Unavailable(self.failing)
        return AccessToken(self.same or f"token-{number}", self.now + self.life_s)


class World:
    def __init__(self) -> None:
        self.source = Source()
        self.tokens = IdentityTokens(self.source, self.source.clock)

    def later(self, seconds: float) -> None:
        self.source.now += seconds

    async def token(self, audience: str = AUDIENCE, identity: ManagedIdentity = ONE) -> str:
        return await self.tokens.token(audience, identity)

    async def refusal(self) -> str:
        with pytest.raises(Unavailable) as failed:
            await self.token()
        return failed.value.message

    async def settle(self) -> None:
        """Let what was begun in the background end."""
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def world() -> World:
    return World()


async def test_token_is_asked_for_once_and_used_again(world: World) -> None:
    assert [await world.token() for _ in range(3)] == ["token-1"] * 3

    assert world.source.asked == [(AUDIENCE, ONE)]


async def test_each_audience_and_each_identity_has_tokens_of_its_own(world: World) -> None:
    """So that a resource with another identity calls with that from the next event on."""
    names = [
        await world.token(),
        await world.token("api://other"),
        await world.token(identity=of("q")),
        await world.token(identity=of(resource="/other")),
        await world.token(),
    ]

    assert names == ["token-1", "token-2", "token-3", "token-4", "token-1"]


async def test_those_who_come_while_it_is_asked_for_wait_for_the_same(world: World) -> None:
    world.source.held = asyncio.Event()
    waiting = [asyncio.create_task(world.token()) for _ in range(20)]
    await world.settle()

    world.source.held.set()

    assert set(await asyncio.gather(*waiting)) == {"token-1"}
    assert len(world.source.asked) == 1


async def test_who_gives_up_waiting_takes_nothing_from_the_others(world: World) -> None:
    world.source.held = asyncio.Event()
    first, second = (asyncio.create_task(world.token()) for _ in range(2))
    await world.settle()

    first.cancel()
    await world.settle()
    world.source.held.set()

    assert await second == "token-1"
    assert first.cancelled()
    assert await world.token() == "token-1"
    assert len(world.source.asked) == 1


async def test_request_that_nobody_waits_for_any_more_is_carried_to_its_end(world: World) -> None:
    world.source.held = asyncio.Event()
    only = asyncio.create_task(world.token())
    await world.settle()
    only.cancel()
    world.source.held.set()
    await world.settle()

    assert await world.token() == "token-1"


@pytest.mark.parametrize(
    ("life_s", "early_s"),
    [
        (DAY_S, 0.1 * DAY_S),  # a tenth of its life
        (HOUR_S, 360),
        (20 * 60, 300),  # five minutes
        (4 * 60, 120),  # but not in the first half
    ],
)
async def test_token_is_renewed_in_the_background_before_it_ends(world: World, life_s: float, early_s: float) -> None:
    world.source.life_s = life_s
    await world.token()

    world.later(life_s - early_s - 1)
    await world.token()
    await world.settle()
    assert len(world.source.asked) == 1
    world.later(2)

    assert await world.token() == "token-1"
    await world.settle()
    assert await world.token() == "token-2"
    await world.settle()
    assert len(world.source.asked) == 2


async def test_old_token_is_given_at_once_while_the_new_one_is_not_there(world: World) -> None:
    await world.token()
    world.later(DAY_S - 60)
    world.source.held = asyncio.Event()

    assert [await world.token() for _ in range(3)] == ["token-1"] * 3
    await world.settle()
    assert len(world.source.asked) == 2
    world.source.held.set()
    await world.settle()

    assert await world.token() == "token-2"


async def test_source_that_gives_the_old_token_again_is_not_asked_at_every_event(world: World) -> None:
    """Such as a machine's endpoint, which keeps tokens itself."""
    world.source.same = "kept elsewhere"
    await world.token()
    world.later(DAY_S - 200)
    world.source.life_s = 200
    for _ in range(10):
        await world.token()
        await world.settle()
    assert len(world.source.asked) == 2

    world.later(101)
    await world.token()
    await world.settle()

    assert len(world.source.asked) == 3


async def test_token_is_used_to_its_end_while_no_new_one_can_be_had(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.token()
    world.source.failing = "The authority does not answer."
    world.later(DAY_S - 100)

    with caplog.at_level(logging.WARNING, "hubwire.upstream"):
        assert await world.token() == "token-1"
        await world.settle()
    world.later(99)
    assert await world.token() == "token-1"
    await world.settle()
    world.later(2)

    assert await world.refusal() == "The authority does not answer."
    assert "the old one is used to its end: The authority does not answer." in caplog.text
    assert "token-1" not in caplog.text


async def test_failure_is_told_at_once_until_it_is_time_for_another_try(world: World) -> None:
    """1, 2, 4 seconds and so on, up to a minute."""
    world.source.failing = "No identity."
    for pause in (1, 2, 4, 8, 16, 32, 60, 60):
        asked = len(world.source.asked)
        assert await world.refusal() == "No identity."
        assert len(world.source.asked) == asked + 1
        world.later(pause - 0.1)
        assert await world.refusal() == "No identity."
        assert len(world.source.asked) == asked + 1
        world.later(0.2)

    world.source.failing = None

    assert await world.token() == f"token-{len(world.source.asked)}"


async def test_pauses_begin_anew_after_a_success(world: World) -> None:
    world.source.failing = "No identity."
    for _ in range(3):
        await world.refusal()
        world.later(100)
    world.source.failing, world.source.life_s = None, 1
    await world.token()
    world.source.failing = "No identity."
    world.later(1)
    await world.refusal()
    world.later(1.1)
    asked = len(world.source.asked)

    await world.refusal()

    assert len(world.source.asked) == asked + 1


async def test_clock_that_is_set_back_makes_no_pause_longer(world: World) -> None:
    world.source.failing = "No identity."
    await world.refusal()
    world.later(-1000)
    world.source.failing = None

    assert await world.token() == "token-2"


async def test_failure_is_told_to_all_who_wait(world: World) -> None:
    world.source.held, world.source.failing = asyncio.Event(), "No identity."
    waiting = [asyncio.create_task(world.token()) for _ in range(3)]
    await world.settle()
    world.source.held.set()

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert [str(outcome) for outcome in outcomes] == ["No identity."] * 3
    assert len(world.source.asked) == 1


async def test_token_that_has_ended_when_it_comes_is_none(world: World) -> None:
    world.source.life_s = -1

    assert "clock" in await world.refusal()


# Refused tokens


async def test_refused_token_is_replaced_once(world: World) -> None:
    token = await world.token()

    assert await world.tokens.refresh(AUDIENCE, ONE, token) == "token-2"

    assert await world.token() == "token-2"
    assert len(world.source.asked) == 2


async def test_several_who_were_refused_with_one_token_get_the_same_new_one(world: World) -> None:
    token = await world.token()
    world.source.held = asyncio.Event()
    waiting = [asyncio.create_task(world.tokens.refresh(AUDIENCE, ONE, token)) for _ in range(5)]
    await world.settle()
    world.source.held.set()

    assert set(await asyncio.gather(*waiting)) == {"token-2"}
    assert await world.tokens.refresh(AUDIENCE, ONE, token) == "token-2"
    assert len(world.source.asked) == 2


async def test_handler_that_refuses_every_token_does_not_wear_out_the_source(world: World) -> None:
    token = await world.token()
    for _ in range(100):
        token = await world.tokens.refresh(AUDIENCE, ONE, token)
    assert (token, len(world.source.asked)) == ("token-2", 2)

    world.later(10)

    assert await world.tokens.refresh(AUDIENCE, ONE, token) == "token-3"


async def test_refused_token_stays_where_no_other_one_can_be_had(world: World) -> None:
    """It may be good elsewhere, and whoever asked sees that repeating is useless."""
    token = await world.token()
    world.source.failing = "The authority does not answer."

    assert await world.tokens.refresh(AUDIENCE, ONE, token) == token
    assert await world.token() == token


async def test_refused_token_that_has_ended_is_asked_for_as_any_other(world: World) -> None:
    token = await world.token()
    world.later(DAY_S)
    world.source.failing = "The authority does not answer."

    with pytest.raises(Unavailable):
        await world.tokens.refresh(AUDIENCE, ONE, token)


# Bounds


async def test_of_very_many_those_that_were_used_last_are_kept(world: World) -> None:
    await world.token("first")
    await world.token("second")
    for number in range(998):
        await world.token(f"api://{number}")
    await world.token("first")
    await world.token("one too many")
    asked = len(world.source.asked)

    await world.token("first")
    assert len(world.source.asked) == asked
    await world.token("second")

    assert len(world.source.asked) == asked + 1


async def test_what_is_under_way_at_the_end_is_given_up(world: World) -> None:
    world.source.held = asyncio.Event()
    waiting = asyncio.create_task(world.token())
    await world.settle()

    await world.tokens.close()

    assert (await asyncio.gather(waiting, return_exceptions=True))[0].__class__ is asyncio.CancelledError
