"""
The contract of `model.ports.Journal`. A new adapter joins by an entry in `JOURNALS`: a function from an empty folder to
a function that opens the same journal again and again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from doubles import MemoryJournal
from hubwire.adapters.journal_sql import open_journal
from hubwire.model.errors import NotStored
from hubwire.model.ports import Journal

Open = Callable[[], Awaitable[Journal]]

# Everything that quoting or an ordering by language could stumble over, in code point order.
HARD_KEYS = sorted(
    ["", " ", "%", "'", '"; drop table entries; --', "A", "a", "aB", "ab", "z", "\x7f", "Ä", "ä", "漢", "\uffff", "😀"]
)


def sqlite(folder: Path) -> Open:
    return lambda: open_journal(f"sqlite:///{folder}/journal.db")


def memory(_folder: Path) -> Open:
    kept: dict[tuple[str, str], bytes] = {}

    async def opened() -> Journal:
        return MemoryJournal(kept)

    return opened


JOURNALS: dict[str, Callable[[Path], Open]] = {"sqlite": sqlite, "memory": memory}


@pytest.fixture(params=JOURNALS)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    return JOURNALS[request.param](tmp_path)


@pytest.fixture
async def journal(opener: Open) -> AsyncIterator[Journal]:
    opened = await opener()
    yield opened
    await opened.close()


async def found_again(opener: Open, kind: str = "k") -> list[tuple[str, bytes]]:
    """What is there for whoever opens it next."""
    other = await opener()
    found = await other.entries(kind)
    await other.close()
    return found


# One entry


@pytest.mark.parametrize("body", [b"", b"\0", b"{}", bytes(range(256)), b"x" * 100_000])
async def test_entry_comes_back_as_it_was_put(journal: Journal, body: bytes) -> None:
    await journal.put("k", "a", body)

    assert await journal.entries("k") == [("a", body)]


async def test_entry_is_replaced(journal: Journal) -> None:
    await journal.put("k", "a", b"1")
    await journal.put("k", "a", b"2")

    assert await journal.entries("k") == [("a", b"2")]


async def test_removed_entry_is_gone(journal: Journal) -> None:
    await journal.put("k", "a", b"1")
    await journal.put("k", "b", b"2")

    await journal.remove("k", "a")

    assert await journal.entries("k") == [("b", b"2")]


async def test_removing_what_is_not_there_is_harmless(journal: Journal) -> None:
    await journal.put("k", "a", b"1")

    await journal.remove("k", "b")
    await journal.remove("other", "a")

    assert await journal.entries("k") == [("a", b"1")]


async def test_removed_entry_can_be_put_anew(journal: Journal) -> None:
    await journal.put("k", "a", b"1")
    await journal.remove("k", "a")

    await journal.put("k", "a", b"2")

    assert await journal.entries("k") == [("a", b"2")]


async def test_key_that_is_no_text_is_refused_at_once_and_harms_nobody(journal: Journal) -> None:
    """Half a character cannot be sent to a database."""
    with pytest.raises(UnicodeEncodeError):
        journal.put("k", "\ud800", b"1")

    await journal.put("k", "a", b"2")
    assert await journal.entries("k") == [("a", b"2")]


# All entries of a kind


async def test_entries_are_listed_by_code_point(journal: Journal) -> None:
    for key in reversed(HARD_KEYS):
        journal.put("k", key, key.encode())

    assert await journal.entries("k") == [(key, key.encode()) for key in HARD_KEYS]


async def test_kinds_are_apart(journal: Journal) -> None:
    for kind in ("k", "K", "k2", ""):
        journal.put(kind, "a", kind.encode())
    journal.remove("K", "a")

    assert [await journal.entries(kind) for kind in ("k", "K", "k2", "", "none")] == [
        [("a", b"k")],
        [],
        [("a", b"k2")],
        [("a", b"")],
        [],
    ]


async def test_entries_show_what_was_asked_for_and_not_awaited(journal: Journal) -> None:
    await journal.put("k", "old", b"1")
    await journal.put("k", "gone", b"1")

    journal.put("k", "old", b"2")
    journal.put("k", "new", b"1")
    journal.remove("k", "gone")

    assert await journal.entries("k") == [("new", b"1"), ("old", b"2")]


async def test_entries_show_what_was_asked_for_during_each_moment_of_a_write(journal: Journal) -> None:
    for number in range(100):
        journal.put("k", f"{number:03}", b"")
        for _ in range(number % 7):
            await asyncio.sleep(0)

        assert len(await journal.entries("k")) == number + 1


# The latest call wins


async def test_the_latest_of_several_calls_wins(journal: Journal, opener: Open) -> None:
    """Also where all of them are written together."""
    await asyncio.gather(
        journal.put("k", "put twice", b"1"),
        journal.put("k", "put twice", b"2"),
        journal.put("k", "removed", b"1"),
        journal.remove("k", "removed"),
        journal.remove("k", "put"),
        journal.put("k", "put", b"1"),
        journal.put("k", "again", b"1"),
        journal.remove("k", "again"),
        journal.put("k", "again", b"2"),
    )

    expected = [("again", b"2"), ("put", b"1"), ("put twice", b"2")]
    assert await journal.entries("k") == expected
    assert await found_again(opener) == expected


async def test_put_and_removed_before_the_write_removes_what_was_stored(journal: Journal, opener: Open) -> None:
    await journal.put("k", "a", b"1")

    journal.put("k", "a", b"2")
    await journal.remove("k", "a")

    assert await journal.entries("k") == []
    assert await found_again(opener) == []


async def test_put_that_was_removed_before_the_write_can_still_be_awaited(journal: Journal) -> None:
    put = journal.put("k", "a", b"1")
    removed = journal.remove("k", "a")

    await put
    await removed

    assert await journal.entries("k") == []


@pytest.mark.parametrize("turns", range(12))
async def test_removed_in_any_moment_of_its_write_it_is_gone(journal: Journal, opener: Open, turns: int) -> None:
    put = journal.put("k", "a", b"1")
    for _ in range(turns):
        await asyncio.sleep(0.0001)
    await journal.remove("k", "a")
    await put

    assert await journal.entries("k") == []
    assert await found_again(opener) == []


# Who waits


async def test_what_was_awaited_is_there_for_others_while_the_journal_is_open(journal: Journal, opener: Open) -> None:
    """A process that is killed never closes."""
    await journal.put("k", "a", b"1")
    await journal.put("k", "b", b"1")
    await journal.remove("k", "a")

    assert await found_again(opener) == [("b", b"1")]


async def test_everybody_who_waits_is_told(journal: Journal, opener: Open) -> None:
    async def put(number: int) -> None:
        await journal.put("k", f"{number:04}", b"")

    await asyncio.gather(*map(put, range(2500)))

    assert len(await found_again(opener)) == 2500


async def test_one_who_gives_up_waiting_takes_nobody_along(journal: Journal, opener: Open) -> None:
    async def put(key: str) -> None:
        await journal.put("k", key, b"")

    first, second = (asyncio.create_task(put(key)) for key in "ab")
    await asyncio.sleep(0)
    first.cancel()
    await second

    assert [key for key, _ in await found_again(opener)] == ["a", "b"]


async def test_it_may_be_awaited_late_and_twice(journal: Journal) -> None:
    written = journal.put("k", "a", b"1")
    await journal.put("k", "b", b"1")

    await written
    await written

    assert len(await journal.entries("k")) == 2


async def test_all_that_was_asked_for_can_be_awaited_at_once(journal: Journal, opener: Open) -> None:
    await journal.put("k", "gone", b"")
    for number in range(2500):
        journal.put("k", f"{number:04}", b"")
    journal.remove("k", "gone")

    await journal.written()

    assert [key for key, _ in await found_again(opener)] == [f"{number:04}" for number in range(2500)]


@pytest.mark.parametrize("turns", range(12))
async def test_all_can_be_awaited_in_any_moment_of_a_write(journal: Journal, opener: Open, turns: int) -> None:
    journal.put("k", "a", b"")
    for _ in range(turns):
        await asyncio.sleep(0.0001)
    journal.put("k", "b", b"")

    await journal.written()

    assert [key for key, _ in await found_again(opener)] == ["a", "b"]


async def test_nothing_that_was_asked_for_is_written_at_once(journal: Journal) -> None:
    await asyncio.wait_for(journal.written(), 10)
    await journal.put("k", "a", b"")
    await asyncio.wait_for(journal.written(), 10)
    journal.put("k", "b", b"")
    journal.remove("k", "b")
    await asyncio.wait_for(journal.written(), 10)

    assert await journal.entries("k") == [("a", b"")]


# The end


async def test_what_nobody_awaited_is_there_after_closing(opener: Open) -> None:
    journal = await opener()
    await journal.put("k", "old", b"1")
    for number in range(2500):
        journal.put("k", f"{number:04}", b"")
    journal.remove("k", "old")
    await journal.close()

    assert await found_again(opener) == [(f"{number:04}", b"") for number in range(2500)]


async def test_what_was_stored_can_be_replaced_and_removed_after_opening_again(opener: Open) -> None:
    journal = await opener()
    for key in HARD_KEYS:
        journal.put("k", key, b"1")
    await journal.close()

    journal = await opener()
    for key in HARD_KEYS[1:]:
        journal.put("k", key, b"2")
    journal.remove("k", HARD_KEYS[-1])
    await journal.close()

    assert await found_again(opener) == [(HARD_KEYS[0], b"1"), *((key, b"2") for key in HARD_KEYS[1:-1])]


async def test_closing_twice_is_harmless(opener: Open) -> None:
    journal = await opener()
    journal.put("k", "a", b"1")

    await asyncio.gather(journal.close(), journal.close())
    await journal.close()


async def test_what_is_asked_for_after_the_end_is_not_stored(opener: Open) -> None:
    journal = await opener()
    await journal.put("k", "a", b"1")
    await journal.close()

    journal.put("k", "b", b"1")
    with pytest.raises(NotStored, match="closed"):
        await journal.put("k", "c", b"1")
    with pytest.raises(NotStored, match="closed"):
        await journal.remove("k", "a")
    with pytest.raises(NotStored, match="closed"):
        await journal.remove("k", "b")

    assert await found_again(opener) == [("a", b"1")]


async def test_who_awaits_all_is_told_of_what_came_after_the_end(opener: Open) -> None:
    journal = await opener()
    journal.put("k", "a", b"1")
    await journal.close()
    await journal.written()

    journal.put("k", "b", b"1")
    with pytest.raises(NotStored, match="closed"):
        await journal.written()
