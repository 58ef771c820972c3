"""Users of communication services: who they are, what they are given, and that none of it survives its end."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from auth.entra import NOW, decoded
from communication.world import ENTRA, OTHER, PRIMARY, SERVICE, World, opened
from hubwire.communication.user_documents import CUSTOM_ID, ISSUE, USER
from hubwire.communication.users import User
from hubwire.model.errors import BadRequest, IdentityNotOwned, NotStored, Unauthorized, Unavailable
from hubwire.model.ports import Change

ID = re.compile(
    rf"8:acs:{SERVICE.immutable_id}_[0-9a-f]{{8}}-[0-9a-f]{{4}}-7[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}}"
)
ABSENT = f"8:acs:{SERVICE.immutable_id}_00000000-0000-0000-0000-000000000000"
FOREIGN = [
    ABSENT,
    "8:acs:00000000-0000-0000-0000-000000000000_00000000-0000-0000-0000-000000000000",
    f"8:acs:{SERVICE.immutable_id}_",
    f"8:acs:{SERVICE.immutable_id}_00000000-0000-0000-0000-00000000000/",
    f"8:acs:{SERVICE.immutable_id}_%",
    f"8:orgid:{SERVICE.immutable_id}",
    "4:+15550100",
    "",
    "\x00",
]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


async def kinds(world: World) -> dict[str, int]:
    """How many documents there are."""
    return {kind: len(await world.store.list(kind, "", None, 1000)) for kind in (USER, CUSTOM_ID, ISSUE)}


# Creating


async def test_users_have_ids_of_their_own_that_are_in_the_order_of_time(world: World) -> None:
    ids = []
    for _ in range(20):
        ids.append((await world.users.create(SERVICE, PRIMARY)).user.id)
        world.clock.now += 0.01

    assert all(map(ID.fullmatch, ids))
    assert ids == sorted(set(ids))


async def test_user_without_anything_has_nothing(world: World) -> None:
    created = await world.users.create(SERVICE, PRIMARY, None, None, None)

    assert created.token is None
    assert (created.user.custom_id, created.user.last_token_issued_at) == (None, None)
    assert await world.users.get(SERVICE, created.user.id) == created.user


async def test_no_scopes_are_as_good_as_none(world: World) -> None:
    assert (await world.users.create(SERVICE, PRIMARY, None, [])).token is None


async def test_user_and_token_come_at_once(world: World) -> None:
    created = await world.users.create(SERVICE, PRIMARY, None, ["chat", "voip", "chat"], 60)

    assert created.token is not None
    assert created.token.expires_on == NOW + 3600
    assert created.user.last_token_issued_at == NOW
    claims = decoded(created.token.token)
    assert (claims["acsScope"], f"8:{claims['skypeid']}") == ("chat,voip", created.user.id)
    assert await world.users.get(SERVICE, created.user.id) == created.user


async def test_token_is_good_for_a_day_unless_somebody_says_so(world: World) -> None:
    created = await world.users.create(SERVICE, PRIMARY, None, ["chat"])
    issued = await world.users.issue(SERVICE, PRIMARY, created.user.id, ["chat"])

    assert created.token is not None
    assert created.token.expires_on == issued.expires_on == NOW + 24 * 3600


@pytest.mark.parametrize("minutes", [60, 61, 1439, 1440])
async def test_minutes_of_the_range_are_taken(world: World, minutes: int) -> None:
    user = (await world.users.create(SERVICE, PRIMARY)).user

    assert (await world.users.issue(SERVICE, PRIMARY, user.id, ["chat"], minutes)).expires_on == NOW + minutes * 60


@pytest.mark.parametrize("minutes", [-1, 0, 59, 1441, 10**30])
async def test_minutes_out_of_the_range_are_refused(world: World, minutes: int) -> None:
    user = (await world.users.create(SERVICE, PRIMARY)).user

    for refused in (
        world.users.create(SERVICE, PRIMARY, None, ["chat"], minutes),
        world.users.issue(SERVICE, PRIMARY, user.id, ["chat"], minutes),
    ):
        with pytest.raises(BadRequest) as error:
            await refused
        assert error.value.target == "ExpiresInMinutes"
    assert len(await world.users.list(SERVICE, None, 10)) == 1


@pytest.mark.parametrize("scopes", [["Chat"], ["chat", "video"], [""], ["chat,voip"], ["chat "]])
async def test_unknown_scopes_are_refused(world: World, scopes: list[str]) -> None:
    user = (await world.users.create(SERVICE, PRIMARY)).user

    for refused in (
        world.users.create(SERVICE, PRIMARY, "me", scopes),
        world.users.issue(SERVICE, PRIMARY, user.id, scopes),
    ):
        with pytest.raises(BadRequest) as error:
            await refused
        assert error.value.target == "Scopes"
    assert len(await world.users.list(SERVICE, None, 10)) == 1


@pytest.mark.parametrize("scopes", [None, []])
async def test_token_without_scopes_is_refused(world: World, scopes: list[str] | None) -> None:
    user = (await world.users.create(SERVICE, PRIMARY)).user

    with pytest.raises(BadRequest) as error:
        await world.users.issue(SERVICE, PRIMARY, user.id, scopes)
    assert error.value.target == "Scopes"


# Custom ids


@pytest.mark.parametrize("custom_id", ["a", "alice@example.com", " ", "ä/\x00'%_😀", "x" * 256, "😀" * 256])
async def test_custom_id_leads_to_the_same_user_again(world: World, custom_id: str) -> None:
    first = await world.users.create(SERVICE, PRIMARY, custom_id)
    again = await world.users.create(SERVICE, ENTRA, custom_id)

    assert first.user == again.user
    assert first.user.custom_id == custom_id
    assert await world.users.get(SERVICE, first.user.id) == first.user
    assert await kinds(world) == {USER: 1, CUSTOM_ID: 1, ISSUE: 0}


@pytest.mark.parametrize("custom_id", ["", "x" * 257])
async def test_custom_id_that_is_too_short_or_too_long_is_refused(world: World, custom_id: str) -> None:
    with pytest.raises(BadRequest) as error:
        await world.users.create(SERVICE, PRIMARY, custom_id)
    assert error.value.target == "CustomId"


async def test_custom_ids_compare_exactly_and_in_their_service(world: World) -> None:
    ids = {
        (await world.users.create(service, PRIMARY, custom_id)).user.id
        for service in (SERVICE, OTHER)
        for custom_id in ("alice", "Alice", "alice ", "é", "e\u0301")
    }

    assert len(ids) == 10


async def test_custom_id_stands_in_no_key(world: World) -> None:
    """Keys get into logs."""
    await world.users.create(SERVICE, PRIMARY, "alice@example.com")

    documents = [*await world.store.list(USER, "", None, 9), *await world.store.list(CUSTOM_ID, "", None, 9)]
    assert len(documents) == 2
    assert not any("alice" in document.key for document in documents)


async def test_many_creates_of_one_custom_id_make_one_user(world: World) -> None:
    """By two servers that share a store."""
    second = World(world.store)
    created = await asyncio.gather(
        *(server.users.create(SERVICE, PRIMARY, "alice", ["chat"]) for server in (world, second) for _ in range(40))
    )

    assert len({one.user.id for one in created}) == 1
    assert len({one.token.token for one in created if one.token is not None}) == 80
    assert all([await world.is_good(one.token.token) for one in created if one.token is not None])
    assert len(await world.users.list(SERVICE, None, 10)) == 1
    await second.users.close()


async def test_known_user_is_told_when_it_had_a_token_before_this_one(world: World) -> None:
    """So that whoever calls can tell one who returns."""
    first = await world.users.create(SERVICE, PRIMARY, "alice")
    assert first.user.last_token_issued_at is None

    seen = []
    for _ in range(3):
        world.clock.now += 10
        seen.append((await world.users.create(SERVICE, PRIMARY, "alice", ["chat"])).user.last_token_issued_at)
    without = await world.users.create(SERVICE, PRIMARY, "alice")

    assert seen == [NOW + 10, NOW + 10, NOW + 20]
    assert without.user.last_token_issued_at == NOW + 30


async def test_custom_id_of_a_deleted_user_makes_a_new_one(world: World) -> None:
    first = await world.users.create(SERVICE, PRIMARY, "alice", ["chat"])
    await world.users.delete(SERVICE, first.user.id)

    second = await world.users.create(SERVICE, PRIMARY, "alice")

    assert second.user.id != first.user.id
    assert second.user.last_token_issued_at is None
    assert first.token is not None
    assert not await world.is_good(first.token.token)


async def test_creates_and_deletes_of_one_custom_id_at_once_leave_at_most_one_user(world: World) -> None:
    async def once() -> None:
        created = await world.users.create(SERVICE, PRIMARY, "alice")
        await world.users.delete(SERVICE, created.user.id)

    await asyncio.gather(*(once() for _ in range(20)))

    assert await world.users.list(SERVICE, None, 10) == []
    assert (await kinds(world))[CUSTOM_ID] == 0


# Foreign ids


@pytest.mark.parametrize("identity", FOREIGN)
async def test_user_of_another_service_is_nobody(world: World, identity: str) -> None:
    for call in (
        world.users.get(SERVICE, identity),
        world.users.delete(SERVICE, identity),
        world.users.revoke(SERVICE, identity),
        world.users.issue(SERVICE, PRIMARY, identity, ["chat"]),
        world.users.generation(SERVICE, identity),
    ):
        with pytest.raises(IdentityNotOwned):
            await call


async def test_user_of_another_service_here_is_nobody_too(world: World) -> None:
    theirs = (await world.users.create(OTHER, PRIMARY)).user.id
    renamed = theirs.replace(OTHER.immutable_id, SERVICE.immutable_id)

    for identity in (theirs, renamed, theirs.upper()):
        with pytest.raises(IdentityNotOwned):
            await world.users.issue(SERVICE, PRIMARY, identity, ["chat"])
        with pytest.raises(IdentityNotOwned):
            await world.users.delete(SERVICE, identity)
    assert (await world.users.get(OTHER, theirs)).id == theirs


def test_nobody_is_an_error_of_those_who_prove_nothing() -> None:
    """A caller that knows nothing of it answers with 401."""
    assert issubclass(IdentityNotOwned, Unauthorized)


# Revoking and deleting


async def test_revoking_ends_all_tokens_of_a_user_and_no_others(world: World) -> None:
    created = await world.users.create(SERVICE, PRIMARY, None, ["chat"])
    other = await world.users.create(SERVICE, PRIMARY, None, ["chat"])
    assert created.token is not None
    assert other.token is not None
    old = [created.token, await world.users.issue(SERVICE, ENTRA, created.user.id, ["voip"])]
    assert all([await world.is_good(token.token) for token in old])

    await world.users.revoke(SERVICE, created.user.id)
    new = await world.users.issue(SERVICE, PRIMARY, created.user.id, ["chat"])

    assert not any([await world.is_good(token.token) for token in old])
    assert await world.is_good(new.token), "though it is of the same second"
    assert await world.is_good(other.token.token)


async def test_revoking_twice_and_a_user_without_tokens_is_no_fault(world: World) -> None:
    user = (await world.users.create(SERVICE, PRIMARY)).user

    await world.users.revoke(SERVICE, user.id)
    await world.users.revoke(SERVICE, user.id)

    assert await world.is_good((await world.users.issue(SERVICE, PRIMARY, user.id, ["chat"])).token)


async def test_many_revocations_at_once_all_end(world: World) -> None:
    second = World(world.store)
    created = await world.users.create(SERVICE, PRIMARY, None, ["chat"])

    await asyncio.gather(
        *(server.users.revoke(SERVICE, created.user.id) for server in (world, second) for _ in range(150))
    )

    assert created.token is not None
    assert not await world.is_good(created.token.token)
    await second.users.close()


class Issuing:
    """Two servers that give a user tokens for as long as there is such a user."""

    def __init__(self, identity: str, *servers: World) -> None:
        self._identity = identity
        self._answered: asyncio.Queue[str] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._issue(server)) for server in servers]

    async def _issue(self, server: World) -> None:
        try:
            while True:
                issued = await server.users.issue(SERVICE, PRIMARY, self._identity, ["chat"])
                self._answered.put_nowait(issued.token)
                await asyncio.sleep(0)  # nothing of this has to wait by itself
        except IdentityNotOwned:
            return

    async def answered(self, least: int) -> list[str]:
        """Those that came since this was asked last, and so many in any case."""
        return [await self._answered.get() for _ in range(max(least, self._answered.qsize()))]

    async def end(self) -> list[str]:
        """When the user is gone; the tokens that came since."""
        await asyncio.gather(*self._tasks)
        return await self.answered(0)


async def test_no_token_from_before_a_revocation_survives_it(world: World) -> None:
    """Whatever is issued while it is under way: once it was answered, whatever was answered before is over."""
    second = World(world.store)
    user = (await world.users.create(SERVICE, PRIMARY)).user
    issuing = Issuing(user.id, world, second)

    for _ in range(5):
        before = await issuing.answered(3)
        await second.users.revoke(SERVICE, user.id)
        assert not any([await world.is_good(token) for token in before])

    await world.users.delete(SERVICE, user.id)
    await issuing.end()
    await second.users.close()


async def test_no_token_survives_a_deletion(world: World) -> None:
    """Neither one from before, nor one that is issued while it is under way."""
    second = World(world.store)
    user = (await world.users.create(SERVICE, PRIMARY, "alice")).user
    issuing = Issuing(user.id, world, second)

    before = await issuing.answered(10)
    await world.users.delete(SERVICE, user.id)
    assert not any([await second.is_good(token) for token in before])
    assert not any([await second.is_good(token) for token in await issuing.end()])
    await second.users.close()


async def test_deleted_user_is_nobody_and_deleting_it_again_is_no_fault(world: World) -> None:
    user = (await world.users.create(SERVICE, PRIMARY, "alice", ["chat"])).user
    await world.users.issue(SERVICE, PRIMARY, user.id, ["chat"])

    await world.users.delete(SERVICE, user.id)
    await world.users.delete(SERVICE, user.id)

    for call in (
        world.users.get(SERVICE, user.id),
        world.users.revoke(SERVICE, user.id),
        world.users.issue(SERVICE, PRIMARY, user.id, ["chat"]),
    ):
        with pytest.raises(IdentityNotOwned):
            await call
    assert await world.users.list(SERVICE, None, 10) == []
    await world.times.close()
    assert await kinds(world) == {USER: 1, CUSTOM_ID: 0, ISSUE: 0}, "only that it was there"


async def test_nothing_that_says_who_it_was_is_left_of_a_deleted_user(world: World) -> None:
    user = (await world.users.create(SERVICE, PRIMARY, "alice")).user

    await world.users.delete(SERVICE, user.id)

    assert "alice" not in str(await world.store.list(USER, "", None, 10))


async def test_deletions_and_revocations_at_once_all_end(world: World) -> None:
    user = (await world.users.create(SERVICE, PRIMARY, "alice")).user

    results = await asyncio.gather(
        *(world.users.delete(SERVICE, user.id) for _ in range(20)),
        *(world.users.revoke(SERVICE, user.id) for _ in range(20)),
        return_exceptions=True,
    )

    assert results[:20] == [None] * 20
    assert all(result is None or isinstance(result, IdentityNotOwned) for result in results[20:])
    with pytest.raises(IdentityNotOwned):
        await world.users.get(SERVICE, user.id)


# What is stored


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        created = await world.users.create(SERVICE, PRIMARY, "alice", ["chat"])
        world.clock.now += 5
        issued = await world.users.issue(SERVICE, PRIMARY, created.user.id, ["chat"])
        gone = await world.users.create(SERVICE, PRIMARY, None, ["chat"])
        await world.users.delete(SERVICE, gone.user.id)
        keys = world.directory.keys

    async with opened(tmp_path) as world:
        world.directory.keys = keys
        user = await world.users.get(SERVICE, created.user.id)
        assert (user.custom_id, user.last_token_issued_at) == ("alice", NOW + 5)
        assert (await world.users.create(SERVICE, PRIMARY, "alice")).user == user
        assert await world.is_good(issued.token)
        await world.users.revoke(SERVICE, user.id)

    async with opened(tmp_path) as world:
        assert gone.token is not None
        assert not await world.is_good(issued.token)
        assert not await world.is_good(gone.token.token)
        await world.users.delete(SERVICE, gone.user.id)
        with pytest.raises(IdentityNotOwned):
            await world.users.get(SERVICE, gone.user.id)


async def test_answer_comes_after_the_commit(world: World) -> None:
    """A server that shares nothing but the store sees at once what this one has answered."""
    second = World(world.store)
    created = await world.users.create(SERVICE, PRIMARY, "alice", ["chat"])
    assert await second.users.get(SERVICE, created.user.id) == created.user

    await world.users.revoke(SERVICE, created.user.id)
    assert await second.users.generation(SERVICE, created.user.id) == 2

    await world.users.delete(SERVICE, created.user.id)
    with pytest.raises(IdentityNotOwned):
        await second.users.get(SERVICE, created.user.id)


async def test_change_that_cannot_be_stored_is_not_answered_as_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = await world.users.create(SERVICE, PRIMARY, "alice", ["chat"])
    commit = world.store.commit

    async def full(changes: object) -> None:
        raise NotStored("database or disk is full")

    monkeypatch.setattr(world.store, "commit", full)
    for call in (
        world.users.create(SERVICE, PRIMARY),
        world.users.revoke(SERVICE, created.user.id),
        world.users.delete(SERVICE, created.user.id),
    ):
        with pytest.raises(NotStored):
            await call
    issued = await world.users.issue(SERVICE, PRIMARY, created.user.id, ["chat"])
    monkeypatch.setattr(world.store, "commit", commit)

    assert created.token is not None
    assert await world.is_good(created.token.token)
    assert await world.is_good(issued.token)
    assert len(await world.users.list(SERVICE, None, 10)) == 1


# All of them


async def test_damaged_user_is_told_without_its_id(world: World) -> None:
    """The log has the message."""
    user = (await world.users.create(SERVICE, PRIMARY)).user.id
    (document,) = await world.store.list(USER, "", None, 1)
    await world.store.commit([Change(USER, document.key, {"generation": "x"})])

    with pytest.raises(Unavailable) as damaged:
        await world.users.get(SERVICE, user)

    assert damaged.value.message.endswith(f"…{user[-12:]} is damaged")
    assert user[-36:-12] not in damaged.value.message


async def test_users_are_listed_page_by_page_without_those_that_are_gone(world: World) -> None:
    ids = []
    for number in range(12):
        world.clock.now += 1
        scopes = ["chat"] if number % 3 == 0 else None
        ids.append((await world.users.create(SERVICE, PRIMARY, f"user-{number}", scopes)).user.id)
    await world.users.create(OTHER, PRIMARY)
    await world.users.delete(SERVICE, ids.pop(4))
    await world.users.issue(SERVICE, PRIMARY, ids[1], ["chat"])

    found: list[User] = []
    while page := await world.users.list(SERVICE, found[-1].id if found else None, 5):
        found += page

    assert [user.id for user in found] == ids
    assert found == [await world.users.get(SERVICE, identity) for identity in ids]
    assert sum(user.last_token_issued_at is not None for user in found) == 5


# Users whom somebody else vouches for


async def test_user_of_somebody_else_is_made_once_and_can_be_revoked_and_deleted(world: World) -> None:
    part = f"wf_{secrets.token_hex(4)}-0000-4000-8000-000000000000_00000000-0000-4000-8000-000000000001"
    first = await world.users.exchange(SERVICE, ENTRA, part, ["chat"], NOW + 100)
    again = await world.users.exchange(SERVICE, ENTRA, part, ["chat"], NOW + 100)
    assert first.user.id == again.user.id == f"8:acs:{SERVICE.immutable_id}_{part}"
    assert first.token is not None
    assert first.token.expires_on == NOW + 100

    await world.users.delete(SERVICE, first.user.id)
    assert not await world.is_good(first.token.token)
    back = await world.users.exchange(SERVICE, ENTRA, part, ["chat"], NOW + 100)

    assert back.user.id == first.user.id
    assert back.token is not None
    assert await world.is_good(back.token.token)
    assert not await world.is_good(first.token.token), "what ended with the deletion does not come back"


async def test_user_of_somebody_else_is_made_once_by_many_at_once(world: World) -> None:
    part = "wf_00000000-0000-4000-8000-000000000000_00000000-0000-4000-8000-000000000001"

    created = await asyncio.gather(
        *(world.users.exchange(SERVICE, ENTRA, part, ["chat"], NOW + 100) for _ in range(30))
    )

    assert all([await world.is_good(one.token.token) for one in created if one.token is not None])
    assert len(await world.users.list(SERVICE, None, 10)) == 1
