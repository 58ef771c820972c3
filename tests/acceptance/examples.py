"""
Event handlers as processes of their own: the programs in examples/, each in a copy of its folder and started as its
README starts it, and others of ours in JavaScript.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from acceptance.servers import DEADLINE_S, PROCESS_S, Server, wait_until

__all__ = ["EXAMPLES", "JS", "Program", "example", "trust"]

EXAMPLES: Final = Path(__file__).parent.parent.parent / "examples"
JS: Final = Path(__file__).parent / "js"
"""Where the packages of npm are."""

_AT: Final = re.compile(r"(?:listening at|running on) (http://\S+)\s")


class Program:
    """
    A program that listens, and says where.

    Attributes:
        url: as it has said it.
    """

    def __init__(self, output: Path, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        """
        Start it on a free port and wait until it listens.

        Args:
            output: file for what it prints.
            folder: in which it runs.
            environment: added to ours.
        """
        self._output = output
        with output.open("wb") as file:
            variables = {**os.environ, "PORT": "0", **environment}
            self._process = subprocess.Popen(
                command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        try:
            wait_until(
                lambda: self._process.poll() is not None or _AT.search(self.output()) is not None, command[0], PROCESS_S
            )
            found = _AT.search(self.output())
            assert found is not None, self.output()
        except BaseException:
            self.end()
            raise
        self.url = found[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(encoding="utf-8")

    def await_output(self, text: str, count: int = 1) -> None:
        """It has printed a text as often as that, or does in a moment."""
        wait_until(lambda: self.output().count(text) >= count, f"{count} times {text!r} of a program")

    def end(self) -> None:
        """Leave no process behind, whatever happened before."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(DEADLINE_S)


def example(folder: Path, name: str, environment: Mapping[str, str]) -> Program:
    """
    An example, at the URL at which it takes events.

    Args:
        folder: for its copy and its output.
        environment: added to ours.
    """
    copy = folder / name
    shutil.copytree(EXAMPLES / name, copy, ignore=shutil.ignore_patterns("node_modules", ".venv"))
    manifest = copy / "package.json"
    if not (copy / "requirements.txt").exists():
        (copy / "node_modules").symlink_to(JS / "node_modules")
        command = shlex.split(json.loads(manifest.read_text())["scripts"]["start"]) if manifest.exists() else []
        return Program(folder / f"{name}.txt", command or ["node", "handler.mjs"], copy, environment)
    command = [sys.executable, "-m", "uvicorn", "handler:app", "--port", "0"]
    started = Program(folder / f"{name}.txt", command, copy, environment)
    started.url += "/events"
    return started


def trust(server: Server) -> dict[str, str]:
    """The environment of a program that trusts a server's certificate."""
    return {"SSL_CERT_FILE": str(server.ca), "NODE_EXTRA_CA_CERTS": str(server.ca)}
