"""
The example of MQTT clients among others, as it stands: the device and the thermostat as its README starts them, and
the page's own markup and script with the library as it is built for browsers, in Node.js.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import pytest

from acceptance.examples import EXAMPLES, JS
from acceptance.servers import DEADLINE_S, Server, wait_until
from acceptance.wire import JOIN, SEND

NAME: Final = "mqtt-dashboard"
BROWSER: Final = ("node", "--conditions=browser", "--experimental-websocket", "--preserve-symlinks")


class Talking:
    """A program that prints what happens to it, and reads what is said to it."""

    def __init__(
        self, output: Path, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._output = output
        with output.open("wb") as file:
            variables = {**os.environ, **(environment or {})}
            self._process = subprocess.Popen(
                command, cwd=folder, env=variables, stdin=subprocess.PIPE, stdout=file, stderr=file
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def await_line(self, pattern: str) -> None:
        """It has printed a line that fits from its beginning on, or does in a moment."""

        def printed() -> bool:
            text = self._output.read_text(encoding="utf-8")
            assert self._process.poll() is None, text
            return re.search(f"^{pattern}", text, re.MULTILINE) is not None

        wait_until(printed, f"{pattern!r} of {self._output.name}")

    def say(self, line: str) -> None:
        said: IO[bytes] | None = self._process.stdin
        assert said is not None
        said.write(f"{line}\n".encode())
        said.flush()

    def kill(self) -> None:
        """Let it die without a word, as a device that loses its power."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=DEADLINE_S)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example with its packages."""
    copy = tmp_path / NAME
    shutil.copytree(EXAMPLES / NAME, copy, ignore=shutil.ignore_patterns("node_modules", ".venv"))
    (copy / "node_modules").symlink_to(JS / "node_modules")
    return copy


@pytest.fixture
def programs(server: Server, hub: str, folder: Path) -> Iterator[tuple[Talking, Talking, Talking]]:
    """Page, thermostat and device, each of which is in before the next one comes."""

    def url(*options: str) -> str:
        printed = server.cli("url", "--hub", hub, "--role", JOIN, "--role", SEND, *options)
        assert printed.returncode == 0, printed.stderr
        return printed.stdout.strip()

    environment = {"MQTT_URL": url("--mqtt"), "JSON_URL": url()}
    with ExitStack() as stack:

        def start(name: str, *command: str) -> Talking:
            output = folder.parent / f"{name}.txt"
            return stack.enter_context(Talking(output, command, folder, environment))

        page = start("page", *BROWSER, str(JS / "page.mjs"), str(folder), environment["MQTT_URL"])
        page.await_line("connection: connected")
        thermostat = start("thermostat", sys.executable, "thermostat.py")
        thermostat.await_line("listening")
        device = start("device", sys.executable, "device.py")
        device.await_line("connect: Success")
        yield page, thermostat, device


def test_page_device_and_json_client_talk_to_one_another(programs: tuple[Talking, Talking, Talking]) -> None:
    page, thermostat, device = programs
    page.await_line(r"temperature: \d+(\.\d)? °C")
    # From MQTT to JSON, and from there to MQTT; the device's reading then says so on the page.
    thermostat.await_line(r"1[89](\.\d)? °C: heater on")
    device.await_line("heater on")
    page.await_line("device: heats")
    page.say("target 25")
    thermostat.await_line("wanted: 25 °C")
    # As warm as that it never was while 20 °C were wanted.
    page.await_line(r"temperature: 2[2-5]")
    device.kill()
    page.await_line("device: offline")


def test_page_finds_its_library_where_npm_puts_it(folder: Path) -> None:
    markup = (folder / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="importmap">(.*?)</script>', markup, re.DOTALL)
    assert found is not None
    imports = json.loads(found[1])["imports"]

    assert list(imports) == list(json.loads((folder / "package.json").read_text())["dependencies"])
    # What Node.js is led to by the condition that the other test sets.
    exports = json.loads((folder / "node_modules" / "mqtt" / "package.json").read_text())["exports"]
    assert imports["mqtt"] == "./node_modules/mqtt/" + exports["."]["browser"]["import"].removeprefix("./")
    assert (folder / imports["mqtt"]).is_file()


def test_python_packages_are_the_tested_ones(folder: Path) -> None:
    project = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text(encoding="utf-8"))
    tested = {re.split(r"[^\w-]", line)[0] for line in project["dependency-groups"]["dev"]}

    assert {re.split(r"[^\w-]", line)[0] for line in (folder / "requirements.txt").read_text().splitlines()} <= tested
