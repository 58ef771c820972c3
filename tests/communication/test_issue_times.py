"""When users had tokens last: told at once, and written behind."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from communication.world import PRIMARY, SERVICE, World, opened
from hubwire.adapters.store_sql import open_store
from hubwire.communication import issue_times
from hubwire.communication.issue_times import IssueTimes
from hubwire.communication.user_documents import ISSUE, USER
from hubwire.model.errors import NotStored, Unavailable
from hubwire.model.ports import Change, Document, Store


class Watched:
    """
    A store that says what is committed, and can be full, or hold a commit until it is let go.

    Attributes:
        gone: users who are not there, while all others are; None asks the store.
    """

    def __init__(self, store: Store, gone: set[str] | None = None) -> None:
        self._store = store
        self.gone = gone
        self.unreadable = False
        self.commits: list[Sequence[Change]] = []
        self.full = False
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()

    async def get(self, kind: str, key: str) -> Document | None:
        if self.unreadable:
            raise Unavailable("the store cannot be read")
        if kind == USER and self.gone is not None:
            return None if key in self.gone else Document(USER, key, {}, "e")
        return await self._store.get(kind, key)

    async def list(self, kind: str, prefix: str, after: str | None, limit: int) -> list[Document]:
        return await self._store.list(kind, prefix, after, limit)

    async def commit(self, changes: Sequence[Change]) -> None:
        self.asked.set()
        await self.open.wait()
        if self.full:
            raise NotStored("database or disk is full")
        await self._store.commit(changes)
        self.commits.append(changes)

    async def close(self) -> None:
        await self._store.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Watched]:
    store = Watched(await open_store(f"sqlite:///{tmp_path}/store.db"), set())
    yield store
    await store.close()


async def stored(store: Store) -> dict[str, float]:
    return {document.key: document.body["at"] for document in await store.list(ISSUE, "", None, 1000)}


async def until_written(store: Watched, commits: int) -> None:
    async with asyncio.timeout(20):
        while len(store.commits) < commits:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.001)


async def test_time_is_told_at_once_and_written_later(store: Watched) -> None:
    times = IssueTimes(store, 0.01)
    times.note("s/a", 1.5)

    assert await times.last("s/a") == 1.5
    assert store.commits == []
    await until_written(store, 1)
    assert await stored(store) == {"s/a": 1.5}
    assert await times.last("s/a") == 1.5
    assert await times.last("s/b") is None
    await times.close()


async def test_last_one_of_each_user_is_written_in_one_commit(store: Watched) -> None:
    times = IssueTimes(store, 0.01)
    for number in range(100):
        times.note(f"s/{number % 10}", number)

    await until_written(store, 1)

    assert await stored(store) == {f"s/{number}": 90 + number for number in range(10)}
    assert len(store.commits) == 1
    await times.close()


async def test_what_comes_while_a_write_is_under_way_goes_with_the_next(store: Watched) -> None:
    times = IssueTimes(store, 0)
    store.open.clear()
    times.note("s/a", 1)
    await store.asked.wait()
    times.note("s/a", 2)
    times.note("s/b", 3)
    assert await times.last("s/a") == 2

    store.open.set()
    await until_written(store, 2)

    assert await stored(store) == {"s/a": 2, "s/b": 3}
    assert [len(changes) for changes in store.commits] == [1, 2]
    await times.close()


async def test_what_is_being_written_is_told_too(store: Watched) -> None:
    times = IssueTimes(store, 0)
    store.open.clear()
    times.note("s/a", 1)
    await store.asked.wait()

    assert await times.last("s/a") == 1
    store.open.set()
    await times.close()


async def test_what_waits_is_written_at_the_end(store: Watched) -> None:
    times = IssueTimes(store, 3600)
    for number in range(1201):
        times.note(f"s/{number:04}", number)

    await times.close()

    assert [len(changes) for changes in store.commits] == [500, 500, 201]
    assert len(await store.list(ISSUE, "", None, 2000)) == 1201


async def test_what_cannot_be_written_waits_and_is_not_lost(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issue_times, "_RETRY_S", 0.01)
    times = IssueTimes(store, 0)
    store.full = True
    times.note("s/a", 1)
    times.note("s/b", 1)
    await store.asked.wait()
    times.note("s/a", 2)
    assert await times.last("s/b") == 1

    store.full = False
    await until_written(store, 1)

    assert await stored(store) == {"s/a": 2, "s/b": 1}
    await times.close()


async def test_end_with_a_full_disk_is_said_and_nothing_more(store: Watched, caplog: pytest.LogCaptureFixture) -> None:
    times = IssueTimes(store, 3600)
    store.full = True
    times.note("s/a", 1)

    await times.close()

    assert "1 users" in caplog.text
    assert "disk is full" in caplog.text


async def test_while_nothing_can_be_written_those_that_wait_longest_are_forgotten(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issue_times, "_MOST_PENDING", 3)
    times = IssueTimes(store, 3600)
    for key in ("a", "b", "c", "a", "d"):
        times.note(f"s/{key}", 1)

    await times.close()

    assert set(await stored(store)) == {"s/a", "s/c", "s/d"}


async def test_user_that_is_gone_is_not_written_any_more(store: Watched) -> None:
    times = IssueTimes(store, 3600)
    times.note("s/a", 1)
    times.forget("s/a")
    times.forget("s/b")

    await times.close()

    assert await stored(store) == {}


async def test_of_users_who_go_while_it_is_written_nothing_stays(store: Watched) -> None:
    """Nor of those who are gone before, of whom another node knows."""
    times = IssueTimes(store, 0)
    store.open.clear()
    for key in ("s/a", "s/b", "s/c"):
        times.note(key, 1)
    await store.asked.wait()
    store.gone = {"s/a", "s/c"}
    times.forget("s/a")

    store.open.set()
    await times.close()

    assert await stored(store) == {"s/b": 1}


async def test_while_nobody_can_tell_who_is_gone_it_is_asked_again(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issue_times, "_RETRY_S", 0.01)
    times = IssueTimes(store, 0)
    store.gone, store.unreadable = {"s/a"}, True
    times.note("s/a", 1)
    await until_written(store, 2)
    assert await stored(store) == {"s/a": 1}

    store.unreadable = False
    await times.close()

    assert await stored(store) == {}


@pytest.mark.parametrize("meanwhile", ["seen", "unseen"])
async def test_who_comes_back_keeps_what_was_written_since(
    store: Watched, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As users of Entra do, by another node."""
    times = IssueTimes(store, 3600)
    store.gone = {"s/a"}
    times.note("s/a", 1)

    async def get(kind: str, key: str) -> Document | None:
        found = await Watched.get(store, kind, key)
        if kind == ISSUE:
            await store.commit([issue_times.issue_change("s/a", 2)])
            store.gone = {"s/a"} if meanwhile == "unseen" else set()
        return found

    monkeypatch.setattr(store, "get", get)
    await times.close()

    assert await stored(store) == {"s/a": 2}


async def test_page_has_what_is_stored_and_what_waits(store: Watched) -> None:
    times = IssueTimes(store, 3600)
    await store.commit([issue_times.issue_change(key, 1) for key in ("s/a", "s/b", "s/c", "s/d", "t/b")])
    times.note("s/b", 2)
    times.note("s/bb", 2)
    times.note("s/z", 2)

    assert await times.page("s/", "s/a", "s/c", 2) == {"s/b": 2, "s/bb": 2, "s/c": 1}
    await times.close()


async def test_token_that_is_issued_while_its_user_is_deleted_leaves_nothing_behind(tmp_path: Path) -> None:
    """The user is found, then deleted, and only then is the token noted."""
    async with opened(tmp_path) as world:
        store = Watched(world.store)
        watched = World(store)
        user = (await watched.users.create(SERVICE, PRIMARY)).user
        found = asyncio.Event()

        async def get(kind: str, key: str) -> Document | None:
            document = await world.store.get(kind, key)
            found.set()
            await store.open.wait()
            return document

        slow = World(store)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "get", get)
            store.open.clear()
            issuing = asyncio.create_task(slow.users.issue(SERVICE, PRIMARY, user.id, ["chat"]))
            await found.wait()
            await world.users.delete(SERVICE, user.id)
            store.open.set()
            token = await issuing
        await slow.users.close()

        assert not await watched.is_good(token.token)
        assert await stored(world.store) == {}


async def test_issue_does_not_wait_for_the_write_and_everything_else_does(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        store = Watched(world.store)
        watched = World(store, 3600)
        user = (await watched.users.create(SERVICE, PRIMARY)).user
        assert len(store.commits) == 1

        await watched.users.issue(SERVICE, PRIMARY, user.id, ["chat"])
        assert len(store.commits) == 1
        await watched.users.revoke(SERVICE, user.id)
        assert len(store.commits) == 2
        await watched.users.delete(SERVICE, user.id)
        assert len(store.commits) == 3
        await watched.users.close()
