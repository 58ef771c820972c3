"""The search for inputs that break something: it says when one does, and when none does."""

import sys

import pytest
from hypothesis import strategies as st

from fuzz.__main__ import main
from fuzz.target import Target
from fuzz.targets import TARGETS


def _below_forty(number: int) -> None:
    assert number < 40


def test_what_breaks_is_named_with_its_smallest_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and the others have their turns all the same."""
    assert isinstance(TARGETS, dict)
    monkeypatch.setitem(TARGETS, "head", Target((st.integers(),), _below_forty))
    monkeypatch.setattr(sys, "argv", ["fuzz", "--seconds", "60", "--seed", "1", "--only", "head"])

    assert main() == 1
    told = capsys.readouterr().out
    assert "BROKEN: head" in told
    assert "drawn=(40,)" in told


def test_nothing_broke_is_said_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz", "--seconds", "0.1", "--seed", "1", "--only", "paths"])

    assert main() == 0
    told = capsys.readouterr().out
    assert "seed 1" in told
    assert "tried: paths " in told
    assert told.endswith("nothing broke\n")
