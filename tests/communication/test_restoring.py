"""Users who are brought back from an export, here or at another service."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from communication.world import OTHER, PRIMARY, SERVICE, World, opened
from hubwire.communication.restoring import ExportedUser
from hubwire.model.communication import CommunicationService
from hubwire.model.errors import Conflict
from hubwire.model.ports import Change

NOW = 1_700_000_000.0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


def exported(number: int, custom_id: str | None = None, service: CommunicationService = SERVICE) -> ExportedUser:
    identity = f"8:acs:{service.immutable_id}_00000000-0000-7000-8000-{number:012d}"
    return ExportedUser(identity, 1, NOW, custom_id)


async def everybody(world: World, service: CommunicationService = SERVICE) -> Sequence[ExportedUser]:
    return await world.users.export(service, None, 1000)


async def test_users_are_brought_back_once_with_what_they_were(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    async with opened(tmp_path / "from") as world:
        first = await world.users.create(SERVICE, PRIMARY, "alice", ["chat"])
        second = await world.users.create(SERVICE, PRIMARY)
        old = await world.users.issue(SERVICE, PRIMARY, second.user.id, ["chat"])
        await world.users.revoke(SERVICE, second.user.id)
        before = await everybody(world)
        listed = await world.users.list(SERVICE, None, 10)

    async with opened(tmp_path / "to") as world:
        assert await world.users.restore(SERVICE, before) == ["made", "made"]
        assert await world.users.restore(SERVICE, before) == ["known", "known"]
        assert await everybody(world) == before
        assert await world.users.list(SERVICE, None, 10) == listed
        assert (await world.users.create(SERVICE, PRIMARY, "alice")).user.id == first.user.id
        assert first.token is not None
        assert await world.is_good(first.token.token)
        assert not await world.is_good(old.token), "what was revoked stays so"


async def test_one_that_is_in_the_way_takes_no_other_with_it(world: World) -> None:
    """Each is told what became of it."""
    known = await world.users.create(SERVICE, PRIMARY, "known")
    gone = await world.users.create(SERVICE, PRIMARY, "gone")
    [deleted] = [user for user in await everybody(world) if user.id == gone.user.id]
    await world.users.delete(SERVICE, gone.user.id)
    [stays] = await everybody(world)
    users = [
        exported(1, "new"),
        stays,
        replace(stays, custom_id="renamed"),
        deleted,
        exported(2, "known"),
        None,
        exported(3, "new"),
        exported(1, "new"),
        exported(1, "known"),
        exported(4),
    ]

    results = await world.users.restore(SERVICE, users)

    assert results == ["made", "known", "other", "deleted", "taken", "invalid", "taken", "known", "other", "made"]
    there = await everybody(world)
    assert sorted((user.id, user.custom_id) for user in there) == sorted(
        [(exported(1).id, "new"), (exported(4).id, None), (known.user.id, "known")]
    )
    assert (await world.users.create(SERVICE, PRIMARY, "new")).user.id == exported(1).id


async def test_users_that_are_there_are_known_in_whatever_order(world: World) -> None:
    """Those whom one page of the store does not have, too."""
    some = [exported(number) for number in range(0, 60, 3)]
    await world.users.restore(SERVICE, [exported(number) for number in range(60)])

    assert await world.users.restore(SERVICE, [*reversed(some), exported(99)]) == ["known"] * len(some) + ["made"]


async def test_users_get_the_id_of_the_service_that_they_come_to(world: World) -> None:
    assert await world.users.restore(OTHER, [exported(1, "alice")]) == ["made"]
    assert await world.users.restore(SERVICE, [exported(1, "alice")]) == ["made"]

    assert await everybody(world, OTHER) == [exported(1, "alice", OTHER)]


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "8:acs:x"},
        {"id": "8:orgid:0_00000000-0000-7000-8000-000000000000"},
        {"id": "8:acs:x_y"},
        {"custom_id": ""},
        {"custom_id": "x" * 257},
    ],
)
async def test_what_is_no_user_is_not_brought_back(world: World, changes: dict[str, object]) -> None:
    assert await world.users.restore(SERVICE, [replace(exported(1, "alice"), **changes)]) == ["invalid"]
    assert await everybody(world) == []


async def test_nothing_is_nothing(world: World) -> None:
    assert await world.users.restore(SERVICE, []) == []


async def test_user_that_another_one_makes_meanwhile_is_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the store and the change."""
    commit = world.store.commit
    await world.users.restore(SERVICE, [exported(1)])
    calls = 0

    async def late(changes: Sequence[Change]) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            await commit(changes)
        await commit(changes)

    monkeypatch.setattr(world.store, "commit", late)

    assert await world.users.restore(SERVICE, [exported(1), exported(2)]) == ["known", "known"]
    assert calls == 3


async def test_one_gives_up_where_others_never_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = world.store.commit

    async def never(changes: Sequence[Change]) -> None:
        await commit([*changes, *changes])

    monkeypatch.setattr(world.store, "commit", never)

    with pytest.raises(Conflict):
        await world.users.restore(SERVICE, [exported(1)])
