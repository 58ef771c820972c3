"""A process that is killed while it writes its journal: what was awaited is there, and what was not is old or new."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Final

from hubwire.adapters.journal_sql import open_journal

TIMES: Final = 6
WRITERS: Final = 20
WRITER: Final = """
import asyncio, random, sys
from hubwire.adapters.journal_sql import open_journal

async def main(url, seed, writers):
    chance = random.Random(seed)
    journal = await open_journal(url)

    def say(mark, key, value):
        sys.stdout.write(f"{mark} {key} {value}\\n")
        sys.stdout.flush()

    async def write(writer):
        for number in range(1_000_000):
            key = f"{writer}-{chance.randrange(50)}"
            value = "" if chance.random() < 0.3 else f"{seed}-{number}"
            say("asked", key, value)
            await (journal.put("k", key, value.encode()) if value else journal.remove("k", key))
            say("done", key, value)

    await asyncio.gather(*map(write, range(writers)))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def killed_writer(url: str, seed: str, lines: int) -> list[list[str]]:
    """
    Let a process write, and kill it when it has said so many lines. What each writer does to its keys comes one by one.

    Returns:
        all that it said: whether it was asked for or done, the key, and the value; "" removes.
    """
    program = [sys.executable, "-c", WRITER, url, seed, str(WRITERS)]
    with subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += process.stdout.readlines()
    assert process.returncode == -9
    return [line.rstrip("\n").split(" ") for line in said if line.endswith("\n")]


async def test_what_was_awaited_is_there_however_the_process_ended(tmp_path: Path) -> None:
    """It is killed again and again; each process goes on with what the one before left behind."""
    chance = random.Random(20261128)
    url = f"sqlite:///{tmp_path}/journal.db"
    kept: dict[str, str] = {}
    in_doubt = 0
    for number in range(TIMES):
        asked: dict[str, str] = {}
        for mark, key, value in killed_writer(url, f"s{number}", chance.randrange(WRITERS, 2000)):
            if mark == "asked":
                asked[key] = value
            else:
                assert asked.pop(key) == value
                kept[key] = value
        journal = await open_journal(url)
        found = {key: body.decode() for key, body in await journal.entries("k")}
        await journal.close()

        assert {key: found.get(key, "") for key in kept if key not in asked} == {
            key: value for key, value in kept.items() if key not in asked
        }
        for key, value in asked.items():
            assert found.get(key, "") in (kept.get(key, ""), value)
        assert found.keys() <= kept.keys() | asked.keys()
        kept = found
        in_doubt += len(asked)
    assert len(kept) > WRITERS
    assert in_doubt > TIMES
    assert not os.path.exists(f"{tmp_path}/journal.db-wal")
