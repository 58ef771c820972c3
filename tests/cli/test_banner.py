"""When a banner may be coloured."""

import pytest
from msgspec import Struct

from hubwire.cli.banner import LONGEST, banner, coloured, mqtt_mode
from hubwire.settings import Settings


class Announced(Struct, frozen=True):
    """What the wiring announces."""

    endpoint: str = "http://localhost:8080"
    connection_string: str = "Endpoint=…"
    communication: str = "endpoint=…"
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
    lines = banner(Announced(warnings=warnings), "1", "try", "lenient", colour=False)

    shown = sum(any(line.endswith(warning) for line in lines) for warning in warnings)
    assert len(lines) <= LONGEST
    assert shown == count or f"and {count - shown} more" in lines[-1]
    assert shown == count or len(lines) == LONGEST


def test_colours_are_switched_off_again_on_each_line() -> None:
    """What comes after a banner looks as before."""
    for line in banner(Announced(warnings=("w",)), "1", "try", "lenient", colour=True):
        assert line.count("\x1b[") >= 2
        assert line.count("\x1b[0m") >= 1
        assert line.rfind("\x1b[0m") == line.rfind("\x1b[")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (Settings(), "lenient"),
        (Settings(mqtt_compatibility="azure"), "azure"),
        (Settings(mqtt_compatibility="azure", mqtt_keep_alive="any"), "azure mqtt_keep_alive=any"),
        (Settings(mqtt_client_ids="azure", mqtt_retain="refuse"), "lenient mqtt_client_ids=azure mqtt_retain=refuse"),
    ],
)
def test_banner_says_what_is_taken_of_mqtt_clients(settings: Settings, text: str) -> None:
    """The preset, and what goes before it."""
    assert mqtt_mode(settings) == text
    lines = banner(Announced(), "1", "try", mqtt_mode(settings), colour=False)
    assert f"  mqtt clients       {text}" in lines
