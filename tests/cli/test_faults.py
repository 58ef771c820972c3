"""How any command fails."""

import os
import subprocess
import sys

import pytest

from cli.conftest import Run
from cli.standin import StandIn
from hubwire.cli.text import cells, one_line, printable


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["hub", "nonsense"], ["hub", "show"], ["url"]])
def test_bad_command_line_is_one_line_that_points_to_the_help(run: Run, arguments: list[str]) -> None:
    """Exit code 2, nothing on stdout."""
    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("hubwire: ")
    assert "--help)" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["hub"], ["keys"]])
def test_without_a_command_the_help_is_shown(run: Run, arguments: list[str]) -> None:
    """That is what one is after."""
    assert "Commands:" in run(*arguments).output


@pytest.mark.parametrize("arguments", [[], ["hub"], ["keys"]])
def test_what_a_command_does_is_told_whole(run: Run, arguments: list[str]) -> None:
    """No line of the list ends in dots."""
    assert "..." not in run(*arguments, "--help").stdout.partition("Commands:")[2]


def test_interrupted_command_ends_quietly(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the exit code that shells have for it."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hubwire.cli.operator.control", interrupted)

    result = run("status")

    assert (result.exit_code, result.output) == (130, "")


def test_interrupt_while_the_commands_are_loaded_is_quiet_too() -> None:
    """That takes a moment in which people press Ctrl-C."""
    program = """
import sys
from hubwire.cli.main import main

class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "hubwire.cli.commands":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
main()
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)

    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"")


def test_version_is_told() -> None:
    """Through the module's own entry, too."""
    result = subprocess.run(
        [sys.executable, "-m", "hubwire", "--version"], capture_output=True, text=True, check=True, timeout=60
    )

    assert result.stdout.startswith("hubwire, version ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "--hub", "chat", "--all", "--text", b"\xff"],
        ["send", "--hub", "chat", "--group", b"\xff", "--text", "x"],
        ["url", "--hub", "chat", "--user", b"\xff"],
        ["hub", "show", b"\xff"],
    ],
)
def test_argument_that_is_not_text_is_one_line(arguments: list[str | bytes]) -> None:
    """Never a traceback."""
    result = subprocess.run(
        [sys.executable, "-m", "hubwire", *arguments], capture_output=True, text=True, check=False, timeout=60
    )

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "hubwire: a name, text or path on the command line is not UTF-8\n"


def test_output_that_the_terminal_cannot_show_is_escaped(server: StandIn) -> None:
    """It is no reason to fail."""
    server.on("GET", "/control/status", 200, {"version": "ü漢"})

    result = subprocess.run(
        [sys.executable, "-m", "hubwire", "status"],
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )

    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == b"version  \xfc\\u6f22\n"


@pytest.mark.parametrize("arguments", [["status"], ["--help"], ["--version"], ["status", "--help"]])
def test_output_that_cannot_be_written_is_one_line_and_exit_code_1(server: StandIn, arguments: list[str]) -> None:
    """Such as to a disk that is full; nor does the interpreter add anything at its end."""
    server.on("GET", "/control/status", 200, {"version": "1"})

    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "hubwire", *arguments], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )

    assert (result.returncode, result.stderr) == (
        1,
        b"hubwire: cannot write the output: No space left on device\n",
    )


def test_reader_who_had_enough_is_not_complained_about(server: StandIn) -> None:
    """As in `hubwire status | head -1`."""
    server.on("GET", "/control/status", 200, {"version": "1"})
    reader, writer = os.pipe()
    os.close(reader)

    result = subprocess.run(
        [sys.executable, "-m", "hubwire", "status"], stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(writer)

    assert result.stderr == b""


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain ü 漢 👍", "plain ü 漢 👍"), ("a\x1b[2Jb", "a\\x1b[2Jb"), ("a\nb", "a\\nb"), ("\u202e", "\\u202e")],
)
def test_printable_shows_what_a_terminal_would_obey(text: str, shown: str) -> None:
    """And leaves the rest alone."""
    assert printable(text) == shown


def test_one_line_joins_lines() -> None:
    """White space of any kind counts as one blank."""
    assert one_line(" a\r\n\tb  c\x07 ") == "a b c\\x07"


@pytest.mark.parametrize(("char", "width"), [("a", 1), ("漢", 2), ("👍", 2), ("\u0301", 0), ("ü", 1)])
def test_cells_are_the_columns_of_a_terminal(char: str, width: int) -> None:
    """Combining characters take none of their own."""
    assert cells(char) == width
