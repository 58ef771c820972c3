"""Settings: which source wins, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from hubwire.settings import BadSetting, Settings, load


def test_defaults_hold_where_nobody_says_otherwise() -> None:
    assert load({}, {}) == Settings()


def test_option_wins_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "hubwire.toml"
    file.write_text('port = 1\ndata = "from-file"\nrecovery_s = 40\n')
    environ = {"HUBWIRE_PORT": "2", "HUBWIRE_DATA": "from-environment", "OTHER": "x"}
    settings = load({"port": 3, "host": None}, environ, file)

    assert (settings.port, settings.data, settings.recovery_s) == (3, "from-environment", 40.0)


def test_lists_are_separated_by_commas_in_the_environment() -> None:
    assert load({}, {"HUBWIRE_HOST": "127.0.0.1, ::1,"}).host == ("127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"port": 65536}, "port"),
        ({"port": "x"}, "port"),
        ({"token_leeway_s": 301}, "token_leeway_s"),
        ({"log_format": "xml"}, "log_format"),
        ({"log_off": ["metrics"]}, "log_off"),
        ({"client_buffer_bytes": 0}, "client_buffer_bytes"),
        ({"no_such": 1}, "no_such"),
    ],
)
def test_bad_setting_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(BadSetting, match=named):
        load(options, {})


@pytest.mark.parametrize("content", [b"port = ", b"\xff"])
def test_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "hubwire.toml"
    with pytest.raises(BadSetting, match=r"hubwire\.toml"):
        load({}, {}, file)
    file.write_bytes(content)
    with pytest.raises(BadSetting, match=r"hubwire\.toml"):
        load({}, {}, file)
