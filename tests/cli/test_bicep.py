"""`hubwire bicep`, and the program `bicep` for `az`."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cli.conftest import Run
from hubwire.cli.bicep import main

PROGRAM = "param units int\noutput twice int = units * 2\n"


@pytest.fixture(autouse=True)
def _programs() -> None:
    """One that is good, and one that is not."""
    Path("main.bicep").write_text(PROGRAM)
    Path("bad.bicep").write_text("output a string = '${b}'\n")


def bicep(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The program, as the package installs it."""
    command = [sys.executable, "-c", "from hubwire.cli.bicep import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_program_is_compiled_beside_it(run: Run) -> None:
    """And says nothing, as the official compiler."""
    result = run("bicep", "build", "main.bicep")

    assert (result.exit_code, result.output) == (0, "")
    assert json.loads(Path("main.json").read_text())["parameters"] == {"units": {"type": "int"}}


def test_template_goes_where_the_options_say(run: Run) -> None:
    Path("out").mkdir()

    printed = run("bicep", "build", "main.bicep", "--stdout").stdout
    assert run("bicep", "build", "main.bicep", "--outfile", "named.json").output == ""
    assert run("bicep", "build", "main.bicep", "--outdir", "out").output == ""

    assert printed == Path("named.json").read_text() == Path("out/main.json").read_text()
    assert not Path("main.json").exists()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["main.bicep", "--stdout", "--outfile", "x"], 2, "only one of --stdout, --outfile and --outdir"),
        (["main.json"], 2, "main.json does not end in .bicep"),
        (["missing.bicep"], 1, "missing.bicep: No such file or directory"),
        (["main.bicep", "--outdir", "missing"], 1, "missing/main.json: No such file or directory"),
    ],
)
def test_mistake_is_one_line(run: Run, arguments: list[str], exit_code: int, words: str) -> None:
    result = run("bicep", "build", *arguments)

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (exit_code, "", 1)
    assert words in result.stderr


def test_fault_has_the_form_of_the_official_compiler(run: Run) -> None:
    """For editors, and for `az`."""
    result = run("bicep", "build", "bad.bicep")

    assert (result.exit_code, result.stdout) == (1, "")
    assert re.match(r"bad\.bicep\(1,\d+\) : Error Hubwire: \S", result.stderr)


def test_version_is_told_as_az_reads_it(run: Run) -> None:
    """No older than what it compares with."""
    shown = run("bicep", "version").stdout

    assert re.fullmatch(r"Bicep CLI version 0\.(3[6-9]|[4-9]\d)\.\d+ \(hubwire \S+\)\n", shown)
    assert bicep("--version").stdout == shown


def test_installed_program_is_this_one() -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"

    assert tomllib.loads(pyproject.read_text())["project"]["scripts"]["bicep"] == f"{main.__module__}:main"


def test_installed_program_builds_as_az_asks_for() -> None:
    """Nothing on stderr: `az` would show it as a warning."""
    done = bicep("build", "--stdout", "main.bicep")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["outputs"]["twice"]["type"] == "int"
    assert bicep("build", "main.bicep", "--outfile", "x.json", "--no-restore").returncode == 0


def test_installed_program_tells_faults_with_exit_code_1() -> None:
    done = bicep("build", "--stdout", "bad.bicep")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bad.bicep(1,")


@pytest.mark.parametrize("command", ["build-params", "decompile", "format", "nonsense"])
def test_installed_program_refuses_what_only_the_official_one_can(command: str) -> None:
    done = bicep(command, "main.bicep")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"hubwire: this Bicep compiler is Hubwire's; it knows build and --version, and not {command}\n"
    )


def test_installed_program_tells_what_it_knows() -> None:
    assert "build" in bicep("--help").stdout
