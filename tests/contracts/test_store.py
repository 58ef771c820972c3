"""
The contract of `model.ports.Store`. A new adapter joins by an entry in `STORES`: a function from the fixtures of a test
to a function that opens the same new store again and again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from hubwire.adapters.store_sql import open_store
from hubwire.model.errors import BadRequest, PreconditionFailed
from hubwire.model.ports import Change, Store
from postgresql import PostgresqlServer

Open = Callable[[], Awaitable[Store]]

# Everything that a pattern, a quoting or an ordering by language could stumble over, in code point order.
HARD_KEYS = ["", " ", "%", "'", '"; drop table documents; --', "A", "B", "\\", "_", "a", "a%", "a/b", "aB", "a_", "ab"]
HARD_KEYS += [
    "z",
    "\x7f",
    "Ä",
    "ä",
    "ß",
    "漢",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "😀",
    "\U0010ffff",
    "\U0010ffff\U0010ffff",
]
HARD_KEYS.sort()


def sqlite(request: pytest.FixtureRequest) -> Open:
    folder: Path = request.getfixturevalue("tmp_path")
    return lambda: open_store(f"sqlite:///{folder}/store.db")


def postgresql(request: pytest.FixtureRequest) -> Open:
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    url = server.new_database()
    return lambda: open_store(url)


STORES: dict[str, Callable[[pytest.FixtureRequest], Open]] = {"sqlite": sqlite, "postgresql": postgresql}


@pytest.fixture(params=STORES)
def opener(request: pytest.FixtureRequest) -> Open:
    return STORES[request.param](request)


@pytest.fixture
async def store(opener: Open) -> AsyncIterator[Store]:
    opened = await opener()
    yield opened
    await opened.close()


async def keys(store: Store, prefix: str = "", after: str | None = None, limit: int = 1000) -> list[str]:
    return [document.key for document in await store.list("k", prefix, after, limit)]


async def etag_of(store: Store, key: str) -> str:
    document = await store.get("k", key)
    assert document is not None
    return document.etag


# One document


async def test_document_comes_back_as_it_was_put(store: Store) -> None:
    body = {
        "text": "ä\n\0'😀",
        "number": 2**53,
        "float": 0.1,
        "yes": True,
        "nothing": None,
        "list": [1, [], {}],
        "": {},
    }

    await store.commit([Change("k", "a", body)])

    document = await store.get("k", "a")
    assert document is not None
    assert (document.kind, document.key, document.body) == ("k", "a", body)


async def test_unknown_document_is_none(store: Store) -> None:
    await store.commit([Change("k", "a", {})])

    assert await store.get("k", "b") is None
    assert await store.get("K", "a") is None
    assert await store.get("k", "A") is None
    assert await store.get("", "a") is None


async def test_document_is_replaced_and_not_merged(store: Store) -> None:
    await store.commit([Change("k", "a", {"x": 1, "y": 1})])

    await store.commit([Change("k", "a", {"x": 2})])

    document = await store.get("k", "a")
    assert document is not None
    assert document.body == {"x": 2}


async def test_etag_changes_with_every_change_and_only_then(store: Store) -> None:
    await store.commit([Change("k", "a", {"x": 1})])
    first = await etag_of(store, "a")
    await store.commit([Change("k", "b", {"x": 1})])
    assert await etag_of(store, "a") == first
    assert await etag_of(store, "b") != first

    await store.commit([Change("k", "a", {"x": 2})])

    assert await etag_of(store, "a") != first


async def test_document_that_was_made_anew_has_no_old_etag(store: Store) -> None:
    """Else a change that expects the old one would find it."""
    await store.commit([Change("k", "a", {"x": 1})])
    first = await etag_of(store, "a")

    await store.commit([Change("k", "a", None)])
    await store.commit([Change("k", "a", {"x": 1})])

    assert await etag_of(store, "a") != first


async def test_list_shows_the_same_documents_as_get(store: Store) -> None:
    await store.commit([Change("k", "a", {"x": 1})])

    assert await store.list("k", "", None, 10) == [await store.get("k", "a")]


async def test_deleted_document_is_gone(store: Store) -> None:
    await store.commit([Change("k", "a", {}), Change("k", "b", {})])

    await store.commit([Change("k", "a", None)])

    assert await store.get("k", "a") is None
    assert await keys(store) == ["b"]


async def test_deleting_what_is_not_there_is_harmless(store: Store) -> None:
    await store.commit([Change("k", "a", None)])

    assert await keys(store) == []


async def test_large_document_comes_back_as_it_was_put(store: Store) -> None:
    body = {"text": "ä" * 5_000_000, "list": list(range(100_000))}

    await store.commit([Change("k", "a", body)])

    document = await store.get("k", "a")
    assert document is not None
    assert document.body == body


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "a\udfffb"])
async def test_text_that_nobody_can_store_is_not_there_and_refused(store: Store, text: str) -> None:
    """U+0000, which PostgreSQL has not, and half characters, which nobody has."""
    await store.commit([Change("k", key, {}) for key in ("a", "a\x01", "ab", "b", "\ue000")])

    for change in (Change("k", text, {}), Change(text, "k", {}), Change("k", text, None)):
        with pytest.raises(BadRequest):
            await store.commit([Change("k", "other", {}), change])

    assert await store.get("k", text) is None
    assert await store.get(text, "a") is None
    assert await keys(store, text) == []
    assert await keys(store, after=text) == [key for key in ("a", "a\x01", "ab", "b", "\ue000") if key > text]


async def test_longest_key_is_stored_and_a_longer_one_refused(store: Store) -> None:
    """Random characters, as an index may compress others."""
    random = Random(1)
    key = "".join(chr(random.randrange(0x10000, 0x20000)) for _ in range(499)) + "abc"

    await store.commit([Change("k", key, {})])
    with pytest.raises(BadRequest):
        await store.commit([Change("k", key + "d", {})])

    assert await keys(store) == [key]


# Lists


async def test_keys_are_listed_by_code_point(store: Store) -> None:
    await store.commit([Change("k", key, {}) for key in reversed(HARD_KEYS)])

    assert await keys(store) == HARD_KEYS


async def test_kinds_are_listed_apart(store: Store) -> None:
    await store.commit([Change("k", "a", {}), Change("K", "b", {}), Change("k2", "c", {}), Change("", "d", {})])

    assert await keys(store) == ["a"]


@pytest.mark.parametrize("prefix", [*HARD_KEYS, "a/", "nothing", "%%", "__", "A%"])
async def test_prefix_means_its_own_letters_only(store: Store, prefix: str) -> None:
    await store.commit([Change("k", key, {}) for key in HARD_KEYS])

    assert await keys(store, prefix) == [key for key in HARD_KEYS if key.startswith(prefix)]


@pytest.mark.parametrize("key", HARD_KEYS)
async def test_hard_key_is_found_again(store: Store, key: str) -> None:
    await store.commit([Change("k", other, {"key": other}) for other in HARD_KEYS])

    document = await store.get("k", key)

    assert document is not None
    assert document.body == {"key": key}


async def test_limit_ends_a_list_and_after_continues_it(store: Store) -> None:
    await store.commit([Change("k", key, {}) for key in HARD_KEYS])
    pages: list[list[str]] = [await keys(store, limit=4)]

    while pages[-1]:
        pages.append(await keys(store, after=pages[-1][-1], limit=4))

    assert [len(page) for page in pages[:2]] == [4, 4]
    assert [key for page in pages for key in page] == HARD_KEYS


async def test_after_need_not_be_there_and_keeps_to_the_prefix(store: Store) -> None:
    await store.commit([Change("k", key, {}) for key in ("a1", "b1", "b3", "b5", "c1")])

    assert await keys(store, "b", after="b2") == ["b3", "b5"]
    assert await keys(store, "b", after="a") == ["b1", "b3", "b5"]
    assert await keys(store, "b", after="b5") == []
    assert await keys(store, "b", after="b1", limit=1) == ["b3"]


# Commits


async def test_commit_of_nothing_is_harmless(store: Store) -> None:
    await store.commit([])

    assert await keys(store) == []


async def test_absent_puts_once(store: Store) -> None:
    await store.commit([Change("k", "a", {"x": 1}, "absent")])

    with pytest.raises(PreconditionFailed):
        await store.commit([Change("k", "a", {"x": 2}, "absent")])

    document = await store.get("k", "a")
    assert document is not None
    assert document.body == {"x": 1}


async def test_absent_may_be_demanded_without_putting_anything(store: Store) -> None:
    await store.commit([Change("k", "a", None, "absent"), Change("k", "b", {})])

    with pytest.raises(PreconditionFailed):
        await store.commit([Change("k", "b", None, "absent")])

    assert await keys(store) == ["b"]


async def test_expected_etag_lets_a_change_through_once(store: Store) -> None:
    await store.commit([Change("k", "a", {"x": 1})])
    etag = await etag_of(store, "a")

    await store.commit([Change("k", "a", {"x": 2}, etag)])
    with pytest.raises(PreconditionFailed):
        await store.commit([Change("k", "a", {"x": 3}, etag)])

    document = await store.get("k", "a")
    assert document is not None
    assert document.body == {"x": 2}


async def test_expected_etag_guards_a_deletion(store: Store) -> None:
    await store.commit([Change("k", "a", {})])
    etag = await etag_of(store, "a")

    with pytest.raises(PreconditionFailed):
        await store.commit([Change("k", "a", None, "0" * 32)])
    assert await keys(store) == ["a"]
    await store.commit([Change("k", "a", None, etag)])

    assert await keys(store) == []


async def test_expected_etag_of_what_is_not_there_fails(store: Store) -> None:
    for change in (Change("k", "a", {}, "0" * 32), Change("k", "a", None, "0" * 32)):
        with pytest.raises(PreconditionFailed):
            await store.commit([change])

    assert await keys(store) == []


async def test_failed_change_undoes_the_whole_commit(store: Store) -> None:
    await store.commit([Change("k", "there", {"x": 1}), Change("k", "victim", {})])
    etag = await etag_of(store, "there")

    with pytest.raises(PreconditionFailed):
        await store.commit(
            [
                Change("k", "new", {}),
                Change("k", "there", {"x": 2}),
                Change("k", "victim", None),
                Change("k", "there", {}, "absent"),
                Change("k", "never", {}),
            ]
        )

    assert await keys(store) == ["there", "victim"]
    assert await etag_of(store, "there") == etag


async def test_changes_of_one_commit_see_one_another(store: Store) -> None:
    await store.commit(
        [Change("k", "a", {"x": 1}, "absent"), Change("k", "a", None), Change("k", "a", {"x": 2}, "absent")]
    )

    document = await store.get("k", "a")
    assert document is not None
    assert document.body == {"x": 2}


async def test_of_two_commits_that_expect_the_same_etag_one_wins(store: Store) -> None:
    await store.commit([Change("k", "a", {"by": None})])
    etag = await etag_of(store, "a")

    results = await asyncio.gather(
        *(store.commit([Change("k", "a", {"by": number}, etag)]) for number in range(20)), return_exceptions=True
    )

    winners = [number for number, result in enumerate(results) if result is None]
    document = await store.get("k", "a")
    assert document is not None
    assert winners == [document.body["by"]]
    assert sum(isinstance(result, PreconditionFailed) for result in results) == 19


async def test_of_two_stores_that_put_the_same_absent_document_one_wins(store: Store, opener: Open) -> None:
    other = await opener()
    try:
        results = await asyncio.gather(
            *(each.commit([Change("k", "a", {}, "absent")]) for each in (store, other)), return_exceptions=True
        )
        assert sorted(map(type, results), key=str) == sorted([type(None), PreconditionFailed], key=str)
        assert await keys(store) == await keys(other) == ["a"]
    finally:
        await other.close()


async def test_commits_that_touch_the_same_documents_the_other_way_round_all_succeed(
    store: Store, opener: Open
) -> None:
    """Nobody waits for somebody who waits for him."""
    names = [f"{number:02}" for number in range(20)]
    other = await opener()
    try:
        for turn in range(10):
            forth = [Change("k", name, {"turn": turn}) for name in names]
            back = [Change("k", name, {"turn": turn} if turn % 2 else None) for name in reversed(names)]
            await asyncio.gather(*(each.commit(order) for each in (store, other) for order in (forth, back)))

            assert len({document.body["turn"] for document in await store.list("k", "", None, 100)}) <= 1
    finally:
        await other.close()


async def test_of_two_commits_that_each_demand_the_absence_of_the_other_one_wins(store: Store, opener: Open) -> None:
    other = await opener()
    try:
        for turn in range(20):
            a, b = f"a{turn}", f"b{turn}"
            results = await asyncio.gather(
                store.commit([Change("k", a, None, "absent"), Change("k", b, {})]),
                other.commit([Change("k", b, None, "absent"), Change("k", a, {})]),
                return_exceptions=True,
            )
            assert sorted(map(type, results), key=str) == sorted([type(None), PreconditionFailed], key=str)
    finally:
        await other.close()


async def test_commit_of_thousands_is_whole(store: Store) -> None:
    names = [f"{number:05}" for number in range(3000)]
    await store.commit([Change("k", name, {}, "absent") for name in names])
    with pytest.raises(PreconditionFailed):
        await store.commit([Change("k", name, None, "any" if name < "02999" else "absent") for name in names])
    assert await keys(store, limit=5000) == names

    await store.commit([Change("k", name, None) for name in names])

    assert await keys(store) == []


async def test_many_at_once_lose_nothing(store: Store) -> None:
    """Each counts one up, and tries again when another was faster."""
    await store.commit([Change("k", "n", {"n": 0})])

    async def count() -> None:
        while True:
            document = await store.get("k", "n")
            assert document is not None
            try:
                await store.commit([Change("k", "n", {"n": document.body["n"] + 1}, document.etag)])
            except PreconditionFailed:
                continue
            return

    await asyncio.gather(*(count() for _ in range(10)))

    document = await store.get("k", "n")
    assert document is not None
    assert document.body == {"n": 10}


async def test_cancelled_commit_is_whole_or_nothing_and_the_store_goes_on(store: Store) -> None:
    await store.commit([Change("k", str(number), {"round": 0}) for number in range(4)])
    for turn in range(1, 60):
        committing = asyncio.create_task(
            store.commit([Change("k", str(number), {"round": turn}) for number in range(4)])
        )
        for _ in range(turn):
            await asyncio.sleep(0)
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)

        assert len({document.body["round"] for document in await store.list("k", "", None, 10)}) == 1

    await store.commit([Change("k", "after", {})])
    assert "after" in await keys(store)


# Opening again


async def test_what_was_committed_is_there_after_opening_again(opener: Open) -> None:
    store = await opener()
    await store.commit([Change("k", key, {"key": key}) for key in HARD_KEYS])
    before = await store.list("k", "", None, 100)
    await store.close()

    store = await opener()
    after = await store.list("k", "", None, 100)
    await store.close()

    assert len(before) == len(HARD_KEYS)
    assert after == before


async def test_what_was_committed_is_there_for_others_while_the_store_is_open(store: Store, opener: Open) -> None:
    """A process that is killed never closes."""
    await store.commit([Change("k", "a", {"x": 1})])

    other = await opener()
    found = await other.get("k", "a")
    await other.close()

    assert found is not None
    assert found == await store.get("k", "a")


async def test_closing_twice_is_harmless(opener: Open) -> None:
    store = await opener()

    await store.close()
    await store.close()


async def test_commit_under_way_is_finished_before_the_store_closes(opener: Open) -> None:
    store = await opener()
    committing = asyncio.create_task(store.commit([Change("k", "a", {"x": 1})]))
    await asyncio.sleep(0)

    await store.close()
    await committing

    store = await opener()
    assert await keys(store) == ["a"]
    await store.close()
