"""What was answered is there, however the server ends."""

import asyncio
import os
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from communication.world import PRIMARY, SERVICE, World, opened
from hubwire.model.errors import IdentityNotOwned

SCRIPT = """
import asyncio, sys
from pathlib import Path
from communication.world import PRIMARY, SERVICE, opened

async def main(folder):
    async with opened(folder) as world:
        def say(*words):
            print(*words, flush=True)

        async def one(number):
            created = await world.users.create(SERVICE, PRIMARY, f"user-{number}", ["chat"])
            say("created", number, created.user.id)
            if number % 3 == 0:
                await world.users.revoke(SERVICE, created.user.id)
                say("revoked", number)
            if number % 4 == 0:
                await world.users.delete(SERVICE, created.user.id)
                say("deleted", number)

        for begin in range(0, 1000000, 10):
            await asyncio.gather(*(one(number) for number in range(begin, begin + 10)))

asyncio.run(main(Path(sys.argv[1])))
"""


async def answered(folder: Path, least: int) -> list[list[str]]:
    """What a server said that was killed while it was at work, after so many answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCRIPT,
        str(folder),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    lines: list[bytes] = []
    try:
        async with asyncio.timeout(60):
            while len(lines) < least:
                lines.append(await process.stdout.readline())
                assert lines[-1], "it ended by itself"
    finally:
        process.kill()
    lines += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    return [line.decode().split() for line in lines if line.endswith(b"\n")]


async def test_everything_that_was_answered_before_a_kill_is_so_after_it(tmp_path: Path) -> None:
    said: dict[str, set[str]] = defaultdict(set)
    users: dict[str, str] = {}
    for what, number, *more in await answered(tmp_path, 100):
        said[number].add(what)
        if more:
            users[number] = more[0]
    assert len(users) > 30
    assert sum("deleted" in words for words in said.values()) > 5

    async with opened(tmp_path) as world:
        for number, identity in users.items():
            if "deleted" in said[number]:
                with pytest.raises(IdentityNotOwned):
                    await world.users.get(SERVICE, identity)
                continue
            # Of what was asked and not answered either may be so.
            asked_to_delete = int(number) % 4 == 0
            try:
                user = await world.users.get(SERVICE, identity)
            except IdentityNotOwned:
                assert asked_to_delete
                continue
            assert user.custom_id == f"user-{number}"
            assert user.last_token_issued_at is not None
            generation = await world.users.generation(SERVICE, identity)
            assert generation == 2 if "revoked" in said[number] else generation in (1, 2)
            again = await world.users.create(SERVICE, PRIMARY, f"user-{number}")
            assert again.user.id == identity


async def test_nothing_is_answered_before_it_is_stored_but_a_token(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        user = (await world.users.create(SERVICE, PRIMARY)).user
        other = (await world.users.create(SERVICE, PRIMARY)).user
        held = Held(world)
        calls = [
            asyncio.create_task(call)
            for call in (
                world.users.create(SERVICE, PRIMARY, "alice", ["chat"]),
                world.users.revoke(SERVICE, user.id),
                world.users.delete(SERVICE, other.id),
            )
        ]
        await held.until(3)
        assert (await world.users.issue(SERVICE, PRIMARY, user.id, ["chat"])).token
        assert not any(call.done() for call in calls)

        held.open.set()
        await asyncio.gather(*calls)


class Held:
    """Commits of a store that wait until they are let go."""

    def __init__(self, world: World) -> None:
        self.open = asyncio.Event()
        self._asked: asyncio.Queue[None] = asyncio.Queue()
        commit = world.store.commit

        async def held(changes: object) -> None:
            self._asked.put_nowait(None)
            await self.open.wait()
            await commit(changes)  # type: ignore[arg-type]  # as they came

        world.store.commit = held  # type: ignore[method-assign]  # for this test

    async def until(self, commits: int) -> None:
        """So many are asked for."""
        for _ in range(commits):
            await self._asked.get()
