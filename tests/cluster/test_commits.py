"""Who waits for entries of the journal is told when they are written, in groups and in order."""

import asyncio
from functools import partial
from pathlib import Path
from random import Random

import pytest

from doubles import MemoryJournal, settle
from hubwire.adapters.journal_sql import open_journal
from hubwire.cluster.commits import Commits


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


async def test_what_is_put_and_removed_gets_into_the_journal(journal: MemoryJournal) -> None:
    commits = Commits(journal)
    commits.put("k", "a", b"1")
    commits.put("k", "b", b"2")
    commits.put("other", "a", b"3")
    commits.remove("k", "b")

    await commits.written()

    assert journal.kept == {("k", "a"): b"1", ("other", "a"): b"3"}


async def test_what_a_turn_asks_for_gets_there_as_one_when_no_more_of_it_is_to_come(journal: MemoryJournal) -> None:
    commits = Commits(journal)
    more = True
    commits.held = lambda: more
    commits.put("k", "a", b"1")
    await settle()
    commits.put("k", "b", b"2")
    commits.remove("k", "a")
    await settle()
    assert (journal.kept, commits.safe) == ({}, 0)

    more = False
    commits.pass_on()
    assert journal.kept == {("k", "b"): b"2"}
    await settle()
    assert commits.safe == commits.asked == 3
    commits.put("k", "c", b"3")
    await settle()
    assert commits.safe == 4


async def test_what_is_asked_for_is_found_at_once(journal: MemoryJournal) -> None:
    commits = Commits(journal)
    commits.held = lambda: True
    commits.put("k", "a", b"1")

    assert await commits.entries("k") == [("a", b"1")]


async def test_key_that_cannot_be_written_is_refused_to_who_asks(journal: MemoryJournal) -> None:
    commits = Commits(journal)
    commits.put("k", "a", b"1")
    with pytest.raises(UnicodeEncodeError):
        commits.put("k", "\udcff", b"")

    await commits.written()
    assert journal.kept == {("k", "a"): b"1"}


async def test_everything_has_a_number_and_is_safe_once_it_is_written(journal: MemoryJournal) -> None:
    commits = Commits(journal)
    assert (commits.asked, commits.safe) == (0, 0)
    commits.put("k", "a", b"")
    commits.put("k", "b", b"")
    assert (commits.asked, commits.safe) == (2, 0)

    await commits.written()
    assert (commits.asked, commits.safe) == (2, 2)

    commits.remove("k", "a")
    assert (commits.asked, commits.safe) == (3, 2)
    await commits.written()
    assert (commits.asked, commits.safe) == (3, 3)


async def test_who_asks_when_all_is_written_is_not_called(journal: MemoryJournal) -> None:
    commits = Commits(journal)
    called: list[str] = []

    assert not commits.when_safe(lambda: called.append("before"))
    commits.put("k", "a", b"")
    await commits.written()
    assert not commits.when_safe(lambda: called.append("after"))
    await settle()

    assert called == []


async def test_who_waits_is_called_once_and_in_order(journal: MemoryJournal) -> None:
    commits = Commits(journal)
    called: list[int] = []
    for number in range(3):
        commits.put("k", f"{number}", b"")
        assert commits.when_safe(partial(called.append, number))
        assert commits.when_safe(partial(called.append, 10 + number))
    assert called == []

    await settle()
    assert called == [0, 10, 1, 11, 2, 12]

    commits.put("k", "a", b"")
    await commits.written()
    assert len(called) == 6


async def test_nobody_is_told_while_writing_fails_and_everybody_afterwards(journal: MemoryJournal) -> None:
    commits = Commits(journal)
    called: list[str] = []
    journal.fail("the disk is full")
    commits.put("k", "a", b"")
    commits.when_safe(lambda: called.append("a"))
    waiting = asyncio.ensure_future(commits.written())
    await settle()
    commits.put("k", "b", b"")
    commits.when_safe(lambda: called.append("b"))
    await settle()
    assert (called, commits.safe, waiting.done()) == ([], 0, False)

    journal.mend()
    await waiting
    await settle()
    assert called == ["a", "b"]
    assert commits.safe == 2


async def test_one_who_is_wrong_keeps_nobody_waiting(journal: MemoryJournal) -> None:
    loop = asyncio.get_running_loop()
    surprises: list[object] = []
    loop.set_exception_handler(lambda _, context: surprises.append(context["exception"]))
    commits = Commits(journal)
    fault = RuntimeError("wrong")

    def wrong() -> None:
        raise fault

    commits.put("k", "a", b"")
    commits.when_safe(wrong)
    await commits.written()

    assert surprises == [fault]


async def test_who_gives_up_waiting_takes_nobody_along(journal: MemoryJournal) -> None:
    commits = Commits(journal)
    journal.fail("the disk is full")
    commits.put("k", "a", b"")
    first, second = (asyncio.ensure_future(commits.written()) for _ in range(2))
    await settle()
    first.cancel()
    journal.mend()
    await second

    assert first.cancelled()


async def test_after_the_end_of_the_journal_nobody_is_told(journal: MemoryJournal) -> None:
    """What is asked for then is never written, so it must not be taken for safe."""
    commits = Commits(journal)
    called: list[str] = []
    commits.put("k", "a", b"")
    await commits.written()
    await journal.close()

    commits.put("k", "b", b"")
    commits.when_safe(lambda: called.append("b"))
    await settle()
    commits.put("k", "c", b"")
    await settle()

    assert called == []
    assert (commits.asked, commits.safe) == (3, 1)


async def test_it_is_in_use_once_something_is_or_was_there(journal: MemoryJournal) -> None:
    commits = Commits(journal)
    assert await commits.entries("k") == []
    seen = [commits.in_use]
    commits.put("k", "a", b"1")
    seen.append(commits.in_use)
    await commits.written()

    later = Commits(journal)
    seen.append(later.in_use)
    assert await later.entries("k") == [("a", b"1")]
    seen.append(later.in_use)
    assert seen == [False, True, False, True]


@pytest.mark.parametrize("seed", range(5))
async def test_whoever_is_told_finds_it_on_the_disk(tmp_path: Path, seed: int) -> None:
    """Whatever the moments in which they ask; the file is read by another one."""
    random = Random(seed)
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = await open_journal(url)
    commits = Commits(journal)
    missing: list[str] = []
    told = 0

    async def one(number: int) -> None:
        nonlocal told
        for step in range(4):
            key = f"{number}-{step}"
            commits.put("k", key, b"")
            await commits.written()
            assert commits.safe >= 1
            if key not in journal._stored["k"]:
                missing.append(key)
            told += 1
            await asyncio.sleep(random.random() * 0.01)

    await asyncio.gather(*(one(number) for number in range(20)))
    other = await open_journal(url)
    found = await other.entries("k")
    await other.close()
    await journal.close()

    assert (told, missing, len(found)) == (80, [], 80)
