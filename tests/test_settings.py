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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": "abc"}, "port: 'abc' is not a whole number from 0 to 65535"),
        ({"port": 65536}, "port: 65536 is not a whole number from 0 to 65535"),
        ({"port": "\udcff"}, r"port: '\udcff' is not a whole number from 0 to 65535"),
        ({"max_connections": 0}, "max_connections: 0 is not a whole number of at least 1"),
        ({"max_message_bytes": 1}, "max_message_bytes: 1 is not a whole number from 1024 to 134217728"),
        ({"recovery_s": "soon"}, "recovery_s: 'soon' is not a number above 0 and up to 3600"),
        ({"shutdown_grace_s": 601}, "shutdown_grace_s: 601 is not a number from 0 to 600"),
        ({"log_format": "xml"}, "log_format: 'xml' is not one of json, text"),
        ({"log_off": ["http", "metrics"]}, "log_off: 'metrics' is not one of connectivity, http, messaging"),
        ({"host": "0.0.0.0"}, "host: '0.0.0.0' is not a list"),
        ({"data": 7}, "data: 7 is not text"),
        ({"ready_file": 7}, "ready_file: 7 is not text"),
        ({"mqtt_keep_alive": "180"}, "mqtt_keep_alive: '180' is not one of any, limited"),
        ({"mqtt_receive_maximum": 65536}, "mqtt_receive_maximum: 65536 is not a whole number from 1 to 65535"),
        ({"mqtt_receive_maximum": 0}, "mqtt_receive_maximum: 0 is not a whole number from 1 to 65535"),
        ({"mqtt_connect_timeout_s": 0}, "mqtt_connect_timeout_s: 0 is not a number above 0 and up to 300"),
        ({"data": ["x" * 1000]}, f"data: ['{'x' * 98}… is not text"),
        ({"prot": 1}, "there is no setting 'prot'; did you mean 'port'?"),
        ({"max_conections": 1}, "there is no setting 'max_conections'; did you mean 'max_connections'?"),
        ({"zzz": 1}, "there is no setting 'zzz'"),
    ],
)
def test_bad_setting_is_told_in_plain_words(options: dict[str, Any], words: str) -> None:
    """The value, and what would be one."""
    with pytest.raises(BadSetting) as caught:
        load(options, {})

    assert str(caught.value) == words


def test_bad_setting_is_told_with_the_place_where_it_stands(tmp_path: Path) -> None:
    """The place that counts; what a stronger one hides is not looked at."""
    file = tmp_path / "hubwire.toml"
    file.write_text('port = "abc"\n')

    def told(options: dict[str, Any], environ: dict[str, str], spelled: dict[str, str] | None = None) -> str:
        with pytest.raises(BadSetting) as caught:
            load(options, environ, file, spelled)
        return str(caught.value)

    wanted = "'abc' is not a whole number from 0 to 65535"
    assert told({}, {}) == f"settings file {file}: port: {wanted}"
    assert told({}, {"HUBWIRE_PORT": "abc"}) == f"HUBWIRE_PORT: {wanted}"
    assert told({"port": "abc"}, {}, {"port": "--port"}) == f"--port: {wanted}"
    assert load({"port": "1"}, {"HUBWIRE_PORT": "abc"}, file).port == 1
    file.write_text("prot = 1\n")
    assert told({"port": 1}, {}) == f"settings file {file}: there is no setting 'prot'; did you mean 'port'?"
    file.unlink()
    assert told({}, {}) == f"settings file {file}: No such file or directory"


@pytest.mark.parametrize("content", [b"port = ", b"\xff"])
def test_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "hubwire.toml"
    with pytest.raises(BadSetting, match=r"hubwire\.toml"):
        load({}, {}, file)
    file.write_bytes(content)
    with pytest.raises(BadSetting, match=r"hubwire\.toml"):
        load({}, {}, file)


def test_url_of_the_store_is_never_shown(tmp_path: Path) -> None:
    """It may hold a password: neither as a value nor when it cannot be used."""
    url = "postgresql://owner:hunter2@host/db"
    file = tmp_path / "hubwire.toml"
    file.write_text(f'store = ["{url}"]\n')

    settings = load({"store": url}, {})
    with pytest.raises(BadSetting) as caught:
        load({}, {}, file)

    assert settings.store == url
    assert "store=…" in repr(settings)
    assert "hunter2" not in repr(settings) + str(settings)
    assert str(caught.value) == f"settings file {file}: store: what it has is not text"
