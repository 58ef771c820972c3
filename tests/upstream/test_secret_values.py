"""Values of secrets that URL templates refer to: fetched once, kept, looked at again, and good for a time."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator

import pytest

from hubwire.model.errors import Forbidden, NotFound, Refused, Unavailable
from hubwire.model.identities import ManagedIdentity
from hubwire.upstream.secret_values import SecretValues

URI = "https://v.vault.azure.net/secrets/code"
VERSIONED = f"{URI}/0123456789abcdef0123456789abcdef"
DAY_S = 24 * 3600


def identity(principal_id: str = "11111111-1111-1111-1111-111111111111") -> ManagedIdentity:
    return ManagedIdentity("SystemAssigned", "/wps", "/wps", principal_id, "22222222-2222-2222-2222-222222222222")


ME = identity()


class Vault:
    """Gives what it is told to give, and only when it is told to where `holds`."""

    def __init__(self) -> None:
        self.answer: str | Exception = "s3cret"
        self.asked: list[tuple[str, str]] = []
        self.begun = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    async def secret(self, uri: str, identity: ManagedIdentity) -> str:
        self.asked.append((uri, identity.principal_id))
        self.begun.set()
        await self.free.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class House:
    def __init__(self) -> None:
        self.vault = Vault()
        self.clock = Clock()
        self.values = SecretValues(self.vault, self.clock, 300, 3600)

    async def value(self, uri: str = URI, who: ManagedIdentity = ME) -> str:
        return await self.values.value(uri, who)

    async def settled(self) -> None:
        """All fetches that were begun are over."""
        while tasks := [task for task in self.values._fetches if not task.done()]:
            await asyncio.wait(tasks)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    await made.values.close()


async def test_value_is_fetched_once_and_kept(house: House) -> None:
    assert [await house.value() for _ in range(3)] == ["s3cret"] * 3
    assert house.vault.asked == [(URI, ME.principal_id)]


async def test_each_principal_asks_for_itself(house: House) -> None:
    """What one may read is not shown to another."""
    await house.value()
    house.vault.answer = Forbidden("not you")

    with pytest.raises(Forbidden):
        await house.value(who=identity("other"))
    assert await house.value() == "s3cret"


async def test_many_who_wait_share_one_fetch(house: House) -> None:
    house.vault.free.clear()
    waiting = [asyncio.ensure_future(house.value()) for _ in range(20)]
    await asyncio.sleep(0)
    house.vault.free.set()

    assert await asyncio.gather(*waiting) == ["s3cret"] * 20
    assert len(house.vault.asked) == 1


async def test_whoever_gives_up_waiting_takes_the_fetch_from_nobody(house: House) -> None:
    house.vault.free.clear()
    first, second = asyncio.ensure_future(house.value()), asyncio.ensure_future(house.value())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    house.vault.free.set()

    assert await second == "s3cret"
    assert first.cancelled()
    assert len(house.vault.asked) == 1


async def test_old_value_is_served_at_once_while_it_is_looked_at_again(house: House) -> None:
    await house.value()
    house.vault.answer = "newer"
    house.vault.free.clear()
    house.clock.now += 300

    assert [await house.value(), await house.value()] == ["s3cret", "s3cret"]
    house.vault.free.set()
    await house.settled()
    assert await house.value() == "newer"
    assert len(house.vault.asked) == 2


async def test_value_is_not_looked_at_before_its_time(house: House) -> None:
    await house.value()
    house.clock.now += 299

    await house.value()
    await house.settled()
    assert len(house.vault.asked) == 1


async def test_version_is_looked_at_daily(house: House) -> None:
    await house.value(VERSIONED)
    house.clock.now += DAY_S - 1
    await house.value(VERSIONED)
    await house.settled()
    assert len(house.vault.asked) == 1

    house.clock.now += 1
    await house.value(VERSIONED)
    await house.settled()
    assert len(house.vault.asked) == 2


@pytest.mark.parametrize(("uri", "good_s"), [(URI, 3600), (VERSIONED, DAY_S + 3600)])
@pytest.mark.parametrize("error", [Unavailable("down"), Forbidden("no"), NotFound("gone")])
async def test_last_value_is_good_for_a_time_while_the_vault_fails(
    house: House, uri: str, good_s: int, error: Refused
) -> None:
    await house.value(uri)
    house.vault.answer = error
    house.clock.now += good_s - 1
    assert await house.value(uri) == "s3cret"
    await house.settled()
    assert house.values.failure(uri, ME) == error.message

    house.clock.now += 1
    with pytest.raises(type(error), match=error.message):
        await house.value(uri)


async def test_value_that_nobody_used_for_long_is_fetched_before_it_is_used(house: House) -> None:
    await house.value()
    house.vault.answer = "newer"
    house.clock.now += 3600

    assert await house.value() == "newer"


async def test_failing_vault_is_asked_less_and_less_often(house: House) -> None:
    """The pause doubles up to a minute; meanwhile whoever asks gets the same error at once."""
    house.vault.answer = Unavailable("down")
    asked_at: list[float] = []
    for _ in range(1200):
        before = len(house.vault.asked)
        with pytest.raises(Unavailable, match="down"):
            await house.value()
        if len(house.vault.asked) > before:
            asked_at.append(house.clock.now - 1000)
        house.clock.now += 0.25

    assert asked_at == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]


async def test_vault_that_came_back_is_asked_as_before(house: House) -> None:
    house.vault.answer = Unavailable("down")
    with pytest.raises(Unavailable):
        await house.value()
    house.vault.answer = "s3cret"
    house.clock.now += 1

    assert await house.value() == "s3cret"
    assert house.values.failure(URI, ME) is None


async def test_refusal_of_an_upstream_has_the_secret_looked_at_once_a_minute(house: House) -> None:
    await house.value()
    house.vault.answer = "newer"
    await house.values.refresh(URI, ME)
    assert await house.value() == "newer"

    house.vault.answer = "newest"
    house.clock.now += 59
    await house.values.refresh(URI, ME)
    assert await house.value() == "newer"

    house.clock.now += 1
    await house.values.refresh(URI, ME)
    assert await house.value() == "newest"


async def test_refresh_that_fails_leaves_the_value(house: House) -> None:
    await house.value()
    house.vault.answer = Unavailable("down")

    await house.values.refresh(URI, ME)
    assert await house.value() == "s3cret"


async def test_refresh_joins_the_fetch_that_is_under_way(house: House) -> None:
    await house.value()
    house.vault.answer = "newer"
    house.vault.free.clear()
    refreshes = [asyncio.ensure_future(house.values.refresh(URI, ME)) for _ in range(3)]
    await asyncio.sleep(0)
    house.vault.free.set()
    await asyncio.gather(*refreshes)

    assert len(house.vault.asked) == 2
    assert await house.value() == "newer"


@pytest.mark.parametrize("uri", [URI, VERSIONED])
async def test_change_in_a_vault_is_seen_with_the_next_use(house: House, uri: str) -> None:
    """Neither the interval nor the pause after a failure is waited for, and nobody gets the old value any more."""
    house.vault.answer = Forbidden("no")
    with pytest.raises(Forbidden):
        await house.value(uri)
    house.vault.answer = "granted"
    house.values.look_again()
    assert await house.value(uri) == "granted"

    house.vault.answer = "newer"
    house.values.look_again()
    assert [await house.value(uri), await house.value(uri)] == ["newer", "newer"]
    assert len(house.vault.asked) == 3


async def test_change_in_a_vault_that_takes_a_value_away_leaves_the_last_one_for_a_while(house: House) -> None:
    await house.value()
    house.vault.answer = Forbidden("no")
    house.values.look_again()

    assert await house.value() == "s3cret"
    assert house.values.failure(URI, ME) == "no"


async def test_change_in_one_vault_does_not_concern_others(house: House) -> None:
    await house.value()
    house.values.look_again(lambda uri: uri != URI)

    await house.value()
    assert len(house.vault.asked) == 1


async def test_change_while_a_secret_is_fetched_has_it_fetched_once_more(house: House) -> None:
    """What was asked for before the change may be the old value."""
    house.vault.free.clear()
    first = asyncio.ensure_future(house.value())
    await house.vault.begun.wait()
    house.values.look_again()
    house.vault.free.set()
    await first

    house.vault.answer = "newer"
    house.vault.free.clear()
    house.vault.begun.clear()
    waiting = [asyncio.ensure_future(house.value()) for _ in range(3)]
    await house.vault.begun.wait()
    waiting.append(asyncio.ensure_future(house.value()))
    await asyncio.sleep(0)
    house.vault.free.set()
    assert await asyncio.gather(*waiting) == ["newer"] * 4
    assert len(house.vault.asked) == 2


@pytest.mark.parametrize("value", ["a b", "a\n", "\x00", "a#b", "\x7f", "\u0085", "\u00a0", "\u2028", "\tx"])
async def test_value_that_fits_in_no_url_is_refused_without_being_shown(house: House, value: str) -> None:
    house.vault.answer = value

    with pytest.raises(Unavailable) as refused:
        await house.value()
    assert refused.value.message == (
        f"The value of the secret {URI} has a blank, a control character or a #: it fits in no URL."
    )


async def test_value_goes_through_verbatim(house: House) -> None:
    house.vault.answer = "a%20{event}&b=ü?/+=="

    assert await house.value() == "a%20{event}&b=ü?/+=="


async def test_no_more_than_a_thousand_secrets_are_kept(house: House) -> None:
    """Those that were used last."""
    await house.value(f"{URI}-0")
    await house.value(f"{URI}-1")
    for number in range(2, 1001):
        await house.value(f"{URI}-0")
        await house.value(f"{URI}-{number}")
    house.vault.asked.clear()

    await house.value(f"{URI}-0")
    assert house.vault.asked == []
    await house.value(f"{URI}-1")
    assert len(house.vault.asked) == 1


async def test_log_names_the_secret_and_never_its_value(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """One line for as long as the same thing is wrong, and one when it is over."""
    caplog.set_level(logging.INFO, "hubwire")
    await house.value()
    house.vault.answer = "n3wer"
    await house.values.refresh(URI, ME)
    house.vault.answer = Unavailable("The vault is down.")
    for _ in range(3):
        house.clock.now += 61
        await house.values.refresh(URI, ME)
    house.vault.answer = "n3wer"
    house.clock.now += 61
    await house.values.refresh(URI, ME)

    assert [record.getMessage() for record in caplog.records] == [
        f"the secret {URI} has a new value",
        f"cannot read the secret {URI}; its last value is used for a while: The vault is down.",
        f"the secret {URI} can be read again",
    ]


async def test_unexpected_failure_is_logged_and_counts_as_one(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.vault.answer = ZeroDivisionError("x")

    with pytest.raises(Unavailable, match="see the log"):
        await house.value()
    assert any(record.exc_info for record in caplog.records)


async def test_close_ends_what_is_under_way() -> None:
    house = House()
    house.vault.free.clear()
    waiting = asyncio.ensure_future(house.value())
    await asyncio.sleep(0)

    await house.values.close()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    del waiting
    gc.collect()
