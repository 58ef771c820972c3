"""What the tests of the commands share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.standin import StandIn, serving
from hubwire.cli.commands import commands

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment of whoever runs the tests says nothing here, nor does the folder they stand in."""
    names = ("DATA", "STORE", "CONNECTION_STRING", "CLIENT_URL", "PORT")
    for name in (*(f"HUBWIRE_{name}" for name in names), "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run() -> Run:
    """Run a command line in this process; `input` becomes stdin, `env` is added to the environment."""

    def run(*arguments: str, input: bytes | str | None = None, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(commands, arguments, input=input, env=env, prog_name="hubwire")

    return run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandIn]:
    """A stand-in on the control socket of the default data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    # Relative: the folder of a test may have a longer path than a socket can.
    with serving(Path("data/control.sock")) as standin:
        yield standin
