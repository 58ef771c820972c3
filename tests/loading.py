"""The benchmark's load generator, compiled for tests, and its runs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from acceptance.servers import DEADLINE_S
from bench.installation import WITH_TLS

__all__ = ["LONGER", "SHORT", "assert_complete", "load", "refusal", "run"]

SOURCES: Final = Path(__file__).parents[1] / "bench" / "load"
FLAGS: Final = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
SHORT: Final = ("--warmup-s", "0", "--duration-s", "0.3", "--limit-s", "30")
LONGER: Final = ("--duration-s", "1")
"""For what must be done at least once in the time, on however busy a machine."""


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generator, compiled as `make bench` compiles it."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("there is no C compiler, or this is not Linux")
    binary = tmp_path_factory.mktemp("load") / "load"
    sources = sorted(map(str, SOURCES.glob("*.c")))
    command = [compiler, *FLAGS, *sources, "-o", str(binary)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    subprocess.run([*command, *WITH_TLS], capture_output=True, check=False)  # where OpenSSL's headers are
    return binary


def call(load: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(load), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S * 2,
        check=False,
    )


def run(load: Path, *arguments: str) -> Any:
    """The result of a run that takes place: one line, one object."""
    done = call(load, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    result = json.loads(done.stdout)
    assert result["mode"] == arguments[0]
    return result


def refusal(load: Path, *arguments: str) -> str:
    """The one line of a run that cannot take place."""
    done = call(load, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    line, end = done.stderr.split("\n")
    assert line.startswith("load: ")
    assert end == ""
    return line


def assert_complete(result: Any, expected: int) -> None:
    """Everything that was sent arrived, once and in order; `expected` deliveries in all."""
    assert result["expected"] == expected > 0
    assert result["carried"] == 0
    assert result["deliveries"] + result["late"] == expected
    assert [result[name] for name in ("lost", "gaps", "duplicates", "reordered", "errors", "closed")] == [0] * 6
