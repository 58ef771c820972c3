"""What the README shows, as it is printed there: its shell lines, and its programs in a shell that they made."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from acceptance.examples import JS
from acceptance.servers import PROCESS_S, PROGRAM, Server

README: Final = Path(__file__).parent.parent.parent / "README.md"
KINDS: Final = {"py": "python", "mjs": "js"}


class Section(NamedTuple):
    """
    A section of the README.

    Attributes:
        shell: its first lines for the shell.
        programs: by the names under which they are to be saved.
    """

    shell: str
    programs: dict[str, str]


def section(heading: str) -> Section:
    """The section of this heading."""
    found = re.search(rf"^### {heading}\n(.*?)^#{{2,}} ", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None, f"the README has no section {heading!r}"
    shell = re.search(r"^```sh\n(.*?)^```", found[1], re.MULTILINE | re.DOTALL)
    assert shell is not None
    programs: dict[str, str] = {}
    for name, suffix, text in re.findall(r"save as `([\w-]+)\.(\w+)`(.*?)(?=save as|\Z)", found[1], re.DOTALL):
        code = re.search(rf"^```{KINDS[suffix]}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        assert code is not None
        programs[f"{name}.{suffix}"] = code[1]
    return Section(shell[1], programs)


def printed(folder: Path, server: Server, shell: str, command: Sequence[str]) -> list[str]:
    """The lines that a program prints which was started from a shell that has done what it was told."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    hubwire = folder / ".venv" / "bin" / "hubwire"
    hubwire.write_text(f'#!/bin/sh\nexec "{sys.executable}" {" ".join(PROGRAM)} "$@"\n')
    hubwire.chmod(0o755)
    (folder / "data").symlink_to(server.data)
    (folder / "node_modules").symlink_to(JS / "node_modules")
    done = subprocess.run(
        ["bash", "-c", f'set -eu\n{shell}\nexec "$@"', "bash", *command],
        cwd=folder,
        # Whom others of ours trust, they trust by what the shell's lines say.
        env={
            name: value for name, value in os.environ.items() if not name.endswith(("_BUNDLE", "_CERTS", "_CERT_FILE"))
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("program", "command", "user", "last"),
    [
        ("users.py", sys.executable, r"8:acs:[0-9a-f-]{36}_[0-9a-f-]{36}", "revoked"),
        ("users.mjs", "node", r"8:acs:[0-9a-f-]{36}_[0-9a-f-]{36} may chat", "{ active: false }"),
    ],
)
def test_users_and_tokens(server: Server, tmp_path: Path, program: str, command: str, user: str, last: str) -> None:
    shown = section("Users and tokens")
    assert list(shown.programs) == ["users.py", "users.mjs"]
    (tmp_path / program).write_text(shown.programs[program], encoding="utf-8")

    lines = printed(tmp_path, server, shown.shell, [command, program])

    assert len(lines) == 2
    assert re.fullmatch(user, lines[0])
    assert lines[1] == last
