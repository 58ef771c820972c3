"""What one installs is what was tested: every dependency is locked, in files that name no place on a network."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = ("build", "runtime", "dev")

_PIN = re.compile(r"([a-z0-9-]+)==([A-Za-z0-9.+!-]+)( ; .+)?")


def pins(lock: str) -> dict[str, str]:
    """Package to version, out of a lock file; a line that is no pin fails."""
    found: dict[str, str] = {}
    for line in (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8").splitlines():
        match = _PIN.fullmatch(line)
        assert match is not None, f"{lock}.txt: {line}"
        found[match[1]] = match[2]
    return found


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in requirements}


@pytest.fixture(scope="module")
def project() -> dict[str, dict[str, list[str]]]:
    document: dict[str, dict[str, list[str]]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return document


def test_every_declared_dependency_is_locked(project: dict[str, dict[str, list[str]]]) -> None:
    """`make lock` was run after the last change of pyproject.toml."""
    assert names(project["project"]["dependencies"]) <= pins("runtime").keys()
    assert names(project["dependency-groups"]["dev"]) <= pins("dev").keys()
    assert names(project["build-system"]["requires"]) <= pins("build").keys()


def test_no_package_is_locked_at_two_versions() -> None:
    """All three are installed into one environment."""
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in pins(lock).items():
            versions.setdefault(name, set()).add(version)

    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
    assert pins("runtime").keys() <= pins("dev").keys()


def test_javascript_packages_are_locked_exactly_and_name_no_registry() -> None:
    folder = ROOT / "tests" / "acceptance" / "js"
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    locked = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]

    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert [name for name, package in locked.items() if "resolved" in package] == []


def test_continuous_integration_runs_what_a_developer_runs() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    assert "set -euo pipefail" in lines
    assert lines[-1] == "make test"
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")
def test_first_start_says_what_takes_its_time_before_it_does(tmp_path: Path) -> None:
    """pip is told to be silent, and compiles for minutes on a small machine."""
    command = ["make", "--dry-run", "serve", f"VENV={tmp_path / 'none'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    lines = done.stdout.splitlines()
    installs = [position for position, line in enumerate(lines) if "pip install" in line]
    assert len(installs) == 2
    said = [lines[position - 1] for position in installs]
    assert [line.partition(" Hubwire")[0] for line in said] == ["echo 'Installing the packages that", "echo 'Building"]
