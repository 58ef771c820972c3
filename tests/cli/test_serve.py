"""`hubwire serve`: options to settings, the banner, and how a start fails. The server itself is a stand-in here."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from msgspec import Struct

from cli.conftest import Run
from hubwire.app import StartTemplate
from hubwire.model.errors import StartFailed
from hubwire.settings import BadSetting, Settings


class Announcement(Struct, frozen=True):
    """As the wiring makes it."""

    endpoint: str = "http://localhost:8080"
    connection_string: str = "Endpoint=http://localhost:8080;AccessKey=secret;Version=1.0;"
    data: str = "/srv/data"
    warnings: tuple[str, ...] = ()
    https_endpoint: str | None = "https://localhost:8443"
    communication: str = "endpoint=https://localhost:8443/;accesskey=secret"


class App(ModuleType):
    """
    In the place of `hubwire.app`.

    Attributes:
        settings, templates: what it was run with.
        outcome: exit code, or why the start fails.
    """

    def __init__(self) -> None:
        super().__init__("hubwire.app")
        self.settings: list[Settings] = []
        self.templates: list[StartTemplate | None] = []
        self.StartTemplate = StartTemplate
        self.announcement = Announcement()
        self.outcome: int | StartFailed | BadSetting = 0

    def run(
        self, settings: Settings, announce: Callable[[Announcement], None], template: StartTemplate | None = None
    ) -> int:
        """Serve for no time at all."""
        self.settings.append(settings)
        self.templates.append(template)
        if isinstance(self.outcome, (StartFailed, BadSetting)):
            raise self.outcome
        announce(self.announcement)
        return self.outcome


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    """What `serve` will run."""
    app = App()
    monkeypatch.setitem(sys.modules, "hubwire.app", app)
    return app


def test_without_options_the_defaults_hold(run: Run, app: App) -> None:
    """An option that is not given must not hide another source."""
    assert run("serve").exit_code == 0
    assert app.settings == [Settings()]


def test_each_option_is_a_setting(run: Run, app: App) -> None:
    """Those that repeat become lists."""
    run(
        *("serve", "--host", "127.0.0.1", "--host", "10.0.0.1", "--port", "0", "--data", "d", "--ready-file", "r"),
        *("--https-port", "1", "--no-https", "--cert", "c", "--key", "k"),
        *("--public-endpoint", "https://a", "--public-endpoint", "https://b", "--trusted-proxy", "10.0.0.0/8"),
        *("--cors-origin", "*", "--log-format", "json", "--log-level", "debug", "--log-off", "http"),
        *("--log-off", "messaging", "--grace", "1.5", "--max-connections", "7"),
        *(
            "--managed-identity",
            "imds",
            "--user-tokens",
            "--trusted-issuer",
            "https://c",
            "--trusted-issuer",
            "https://d",
        ),
    )

    assert app.settings == [
        Settings(
            host=("127.0.0.1", "10.0.0.1"),
            port=0,
            https=False,
            https_port=1,
            certificate="c",
            private_key="k",
            data="d",
            ready_file="r",
            public_endpoints=("https://a", "https://b"),
            trusted_proxies=("10.0.0.0/8",),
            cors_origins=("*",),
            managed_identity="imds",
            user_tokens=True,
            trusted_issuers=("https://c", "https://d"),
            log_format="json",
            log_level="debug",
            log_off=("http", "messaging"),
            shutdown_grace_s=1.5,
            max_connections=7,
        )
    ]


def test_any_setting_can_be_named(run: Run, app: App) -> None:
    """Lists are comma-separated, and a name may be spelled like an option."""
    run("serve", "--set", "recovery_s=60", "--set", "trusted-proxies=10.0.0.1, 10.0.0.2", "--set", "loop=asyncio")

    assert app.settings == [Settings(recovery_s=60.0, trusted_proxies=("10.0.0.1", "10.0.0.2"), loop="asyncio")]


def test_options_win_over_environment_over_file(run: Run, app: App, tmp_path: Path) -> None:
    """The nearest word counts."""
    (tmp_path / "hubwire.toml").write_text('port = 1\ndata = "file"\nlog_level = "error"\n')

    run("serve", "--config", "hubwire.toml", "--port", "3", env={"HUBWIRE_PORT": "2", "HUBWIRE_DATA": "environment"})

    assert app.settings == [Settings(port=3, data="environment", log_level="error")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "65536"], "--port: '65536' is not a whole number from 0 to 65535"),
        (["--port", "abc"], "--port: 'abc' is not a whole number from 0 to 65535"),
        (["--grace", "601"], "--grace: '601' is not a number from 0 to 600"),
        (["--max-connections", "0"], "--max-connections"),
        (["--log-level", "loud"], "loud"),
        (["--log-off", "all"], "all"),
        (["--nonsense"], "--nonsense"),
        (["extra"], "extra"),
        (["--set", "nonsense=1"], "nonsense"),
        (["--set", "port"], "NAME=VALUE"),
        (["--set", "port=-1"], "--set port: '-1' is not a whole number from 0 to 65535"),
        (["--set", "prot=1"], "there is no setting 'prot'; did you mean 'port'?"),
        (["--set", "token_leeway_s=301"], "token_leeway_s"),
        (["--config", "absent.toml"], "settings file absent.toml: No such file or directory"),
        (["--config", "bad.toml"], "bad.toml"),
        (["--config", "."], "settings file"),
    ],
)
def test_bad_option_is_one_line_and_exit_code_2(
    run: Run, app: App, tmp_path: Path, arguments: list[str], words: str
) -> None:
    """It names what is wrong; nothing is started."""
    (tmp_path / "bad.toml").write_text("port = = 1\n")

    result = run("serve", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("hubwire: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert app.settings == []


def test_bad_environment_is_one_line_and_exit_code_2(run: Run, app: App) -> None:
    """As a bad option is."""
    result = run("serve", env={"HUBWIRE_PORT": "many"})

    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr == "hubwire: HUBWIRE_PORT: 'many' is not a whole number from 0 to 65535\n"


def test_failed_start_is_one_line_and_exit_code_1(run: Run, app: App) -> None:
    """The reason is for the operator to mend."""
    app.outcome = StartFailed("port 8080 is in use")

    result = run("serve")

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "hubwire: port 8080 is in use\n")


def test_setting_that_only_the_server_finds_bad_is_one_line_and_exit_code_2(run: Run, app: App) -> None:
    """As one that the command line finds bad."""
    app.outcome = BadSetting("bad setting: trusted proxy 'x'")

    result = run("serve")

    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "hubwire: bad setting: trusted proxy 'x'\n")


def test_exit_code_of_the_server_is_the_command_s(run: Run, app: App) -> None:
    """Whoever supervises the process wants to know."""
    app.outcome = 3

    assert run("serve").exit_code == 3


def test_banner_tells_how_to_begin(run: Run, app: App) -> None:
    """Endpoint, connection strings, a line to try, the data folder; plain where nobody sees colours."""
    result = run("serve")

    lines = result.stdout.splitlines()
    assert "http://localhost:8080" in lines[0]
    assert any(line.endswith("Endpoint=http://localhost:8080;AccessKey=secret;Version=1.0;") for line in lines)
    assert any(line.endswith("endpoint=https://localhost:8443/;accesskey=secret") for line in lines)
    assert any(line.endswith("/srv/data") for line in lines)
    assert any(
        line.endswith(
            'hubwire connect "$(hubwire url --hub chat --role webpubsub.joinLeaveGroup --role webpubsub.sendToGroup)"'
        )
        for line in lines
    )
    assert "\x1b" not in result.stdout
    assert result.stderr == ""


def test_banner_names_the_mode_of_mqtt(run: Run, app: App) -> None:
    assert "  mqtt clients       lenient\n" in run("serve").stdout
    assert "  mqtt clients       azure\n" in run("serve", "--set", "mqtt_compatibility=azure").stdout


def test_banner_names_another_data_folder(run: Run, app: App) -> None:
    """Else the line to try would look in the wrong place."""
    assert "$(hubwire url --data 'my data' --hub chat" in run("serve", "--data", "my data").stdout


def test_banner_shows_warnings(run: Run, app: App) -> None:
    """Each in one line, and never more lines than can be read at a glance."""
    app.announcement = Announcement(warnings=tuple(f"warning\n{number}" for number in range(20)))

    lines = run("serve").stdout.splitlines()

    assert len(lines) == 12
    assert lines[8].endswith("warning 0")
    assert "17 more" in lines[-1]


def test_banner_can_be_left_out(run: Run, app: App) -> None:
    """Where output is kept, a secret has no place in it. Warnings are in the log, which the server writes."""
    app.announcement = Announcement(warnings=("only 1024 file\ndescriptors",))

    result = run("serve", "--no-banner")

    assert (result.stdout, result.stderr) == ("", "")


TEMPLATE = """{
  // in the wide sense
  parameters: {units: {type: 'int'}, name: {type: 'string'}},
  resources: []
}"""


def test_template_is_read_with_its_parameters_before_the_server_starts(run: Run, app: App, tmp_path: Path) -> None:
    """JSON in the wide sense; values by the declared type, those of the command line before those of the file."""
    (tmp_path / "main.json").write_text(TEMPLATE)
    (tmp_path / "values.json").write_text('{"units": 1, "name": "wps"}')

    run("serve", "--template", "main.json", "-p", "UNITS=2", "--parameters", "values.json", "--group", "g")
    (template,) = app.templates

    assert template is not None
    assert (template.file, template.group) == ("main.json", "g")
    assert template.parameters == {"UNITS": {"value": 2}, "name": {"value": "wps"}}
    assert template.template["resources"] == []
    assert template.locate(("resources",)) == (4, 14)


def test_without_a_template_nothing_is_deployed_first(run: Run, app: App) -> None:
    run("serve")

    assert app.templates == [None]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"resources": [}', "main.json(1,16): "),
        ('{"a": 1,\n"a": 2}', "main.json(2,1): "),
    ],
)
def test_template_that_cannot_be_read_ends_the_start(run: Run, app: App, tmp_path: Path, text: str, fault: str) -> None:
    """With line and column, before anything is done."""
    (tmp_path / "main.json").write_text(text)

    result = run("serve", "--template", "main.json")

    assert result.exit_code == 1
    assert result.stderr.startswith(f"hubwire: {fault}")
    assert app.settings == []


@pytest.mark.parametrize("option", [["-p", "a=b"], ["--parameters", "p.json"], ["--group", "g"]])
def test_options_of_a_template_need_one(run: Run, app: App, option: list[str]) -> None:
    """Else they would be lost without a word."""
    result = run("serve", *option)

    assert (result.exit_code, app.settings) == (2, [])
    assert "go with --template" in result.stderr
