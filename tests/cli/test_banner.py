"""When a banner may be coloured."""

import pytest
from msgspec import Struct

from hubwire.cli.banner import LONGEST, banner, coloured


class Announced(Struct, frozen=True):
    """What the wiring announces."""

    endpoint: str = "http://localhost:8080"
    connection_string: str = "Endpoint=…"
    data: str = "data"
    warnings: tuple[str, ...] = ()
    https_endpoint: str | None = "https://localhost:8443"


@pytest.mark.parametrize(
    ("is_terminal", "environ", "colour"),
    [
        (True, {}, True),
        (True, {"TERM": "xterm"}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(is_terminal: bool, environ: dict[str, str], colour: bool) -> None:
    """NO_COLOR counts when it is not empty."""
    assert coloured(is_terminal, environ) is colour


@pytest.mark.parametrize("count", range(12))
def test_banner_never_passes_its_length_and_loses_no_warning_that_fits(count: int) -> None:
    """What does not fit is at least counted."""
    warnings = tuple(f"w{number}." for number in range(count))
    lines = banner(Announced(warnings=warnings), "1", "try", colour=False)

    shown = sum(any(line.endswith(warning) for line in lines) for warning in warnings)
    assert len(lines) <= LONGEST
    assert shown == count or f"and {count - shown} more" in lines[-1]
    assert shown == count or len(lines) == LONGEST


def test_colours_are_switched_off_again_on_each_line() -> None:
    """What comes after a banner looks as before."""
    for line in banner(Announced(warnings=("w",)), "1", "try", colour=True):
        assert line.count("\x1b[") >= 2
        assert line.count("\x1b[0m") >= 1
        assert line.rfind("\x1b[0m") == line.rfind("\x1b[")
