"""Completion scripts, and what they ask us at each Tab."""

import pytest

from cli.conftest import Run


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_of_each_shell_calls_us_back(run: Run, shell: str) -> None:
    """By the variable that our command line answers to."""
    result = run("completion", shell)

    assert result.exit_code == 0
    assert f"_HUBWIRE_COMPLETE={shell}_complete" in result.stdout


def test_unknown_shell_is_refused(run: Run) -> None:
    """Three are known."""
    assert run("completion", "cmd").exit_code == 2


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        *((f"{command} --data da", "dir,da") for command in ("serve", "status", "connect", "send", "keys show")),
        ("serve --ready-file re", "file,re"),
        ("serve --config co", "file,co"),
        ("send --binary-file b", "file,b"),
    ],
)
def test_folders_and_files_are_completed_by_the_shell(run: Run, typed: str, answer: str) -> None:
    """We say which of the two is wanted."""
    words = f"hubwire {typed}"
    environ = {
        "_HUBWIRE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }

    assert run(env=environ).stdout.splitlines() == [answer]


def test_commands_are_completed(run: Run) -> None:
    """What the script asks for at a Tab."""
    environ = {"_HUBWIRE_COMPLETE": "bash_complete", "COMP_WORDS": "hubwire st", "COMP_CWORD": "1"}

    assert run(env=environ).stdout.splitlines() == ["plain,status"]
