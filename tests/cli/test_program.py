"""How the user is told to call us again."""

import shlex
import sys
from pathlib import Path

import pytest

from hubwire.cli.program import data_option, program


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A program in a folder that no shell looks into."""
    path = tmp_path / ".venv" / "bin" / "hubwire"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_program_outside_the_path_is_named_from_here(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one would type it in this folder."""
    monkeypatch.setattr(sys, "argv", [str(installed)])
    monkeypatch.setenv("PATH", "/nowhere")

    assert program() == ".venv/bin/hubwire"


def test_program_that_a_shell_finds_is_named_plainly(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file, not just one of that name."""
    monkeypatch.setattr(sys, "argv", [str(installed)])
    monkeypatch.setenv("PATH", str(installed.parent))

    assert program() == "hubwire"


def test_another_program_of_the_same_name_is_not_us(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be of another version."""
    other = tmp_path / "hubwire"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(installed)])
    monkeypatch.setenv("PATH", str(tmp_path))

    assert program() == ".venv/bin/hubwire"


def test_module_is_named_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m hubwire`."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/hubwire/__main__.py"])

    assert program() == f"{shlex.quote(sys.executable)} -m hubwire"


@pytest.mark.parametrize(
    ("folder", "option"), [("data", ""), ("my data", " --data 'my data'"), ("/srv", " --data /srv")]
)
def test_data_folder_is_named_unless_it_is_the_default(folder: str, option: str) -> None:
    """Quoted for a shell."""
    assert data_option(folder) == option
