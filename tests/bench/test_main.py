"""The command as one calls it: rows in, tables out, the page only when all was measured."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import bench.__main__ as command
from bench.faults import Unusable
from bench.installation import Available, Installed, Missing
from bench.machine import Cores
from bench.workloads import HUBWIRE, WORKLOADS

CORES = os.sched_getaffinity(0)

GENERATOR = """
import json, sys
words = sys.argv[1:]
result = {"mode": words[0], "seconds": 2.0, "sent": 120, "expected": 9, "deliveries": 9, "cpu_us_per_delivery": 2.0}
if words[0] == "floor":
    result = {"mode": "floor", "seconds": 2.0, "sent": 120, "cpu_us_per_operation": 1.9}
print(json.dumps(result))
"""

LISTENER = """
import json, os, signal, socket, sys
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
listener = socket.create_server(("127.0.0.1", int(options["--port"])))
with open(options["--ready-file"] + ".new", "w") as ready:
    json.dump({"connectionString": "Endpoint=http://localhost;AccessKey=" + 44 * "k"}, ready)
os.replace(ready.name, options["--ready-file"])
signal.pause()
"""
"""It takes what `hubwire serve` takes, and does nothing. Like the real one it shows no ready file half written."""


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The command changes what ends a process; a test must not."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page that is written unless one says otherwise; servers and generator are such that all is quick."""
    binary = tmp_path / "load"
    binary.write_text(f"#!{sys.executable}\n{GENERATOR}", encoding="utf-8")
    binary.chmod(0o755)
    listener = tmp_path / "listener.py"
    listener.write_text(LISTENER, encoding="utf-8")

    def install(names: list[str], _build: Path) -> dict[str, Installed]:
        ours = Available((sys.executable, str(listener)), "9.9")
        return {name: ours if name == HUBWIRE else Missing("not today") for name in names}

    build = tmp_path / "build"
    build.mkdir()
    monkeypatch.setattr(command, "_BUILD", build)
    monkeypatch.setattr(command, "_PAGE", tmp_path / "page.md")
    monkeypatch.setattr(command, "compile_generator", lambda _sources, _build: binary)
    monkeypatch.setattr(command, "install", install)
    monkeypatch.setattr(command, "two_cores", lambda: Cores(min(CORES), max(CORES)))
    return tmp_path / "page.md"


def run(*words: str) -> Result:
    return CliRunner().invoke(command.main, words)


def test_some_rows_are_printed_with_their_goals_and_no_page_is_written(page: Path) -> None:
    done = run("--only", "paced", "--rounds", "2", "--seed", "3")

    assert done.exit_code == 0, done.output
    assert "NATS server: none, not today" in done.output
    assert "1 workloads" in done.output
    assert "Order from seed 3" in done.output
    assert any(line.split()[:3] == ["hubwire", "2.00", "[2.00–2.00]"] for line in done.output.splitlines())
    assert "1.05 [1.05–1.05]  reached" in done.output
    assert "saturated" not in done.output
    assert not page.exists()


def test_page_is_written_where_one_wants_it(page: Path, tmp_path: Path) -> None:
    done = run("--only", "paced", "--rounds", "1", "--output", str(tmp_path / "own.md"))

    assert done.exit_code == 0, done.output
    assert "### Paced" in (tmp_path / "own.md").read_text(encoding="utf-8")
    assert not page.exists()


def test_whole_run_writes_the_page_and_a_short_one_does_not(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "WORKLOADS", tuple(row for row in WORKLOADS if row.name == "paced"))

    assert run("--quick").exit_code == 0
    assert not page.exists()
    assert run().exit_code == 0
    assert "4 rounds, 1.5 s each" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(("row", "status"), [("paced", 0), ("bursts", 1)])
def test_strict_run_fails_unless_every_goal_is_reached(row: str, status: int, page: Path) -> None:
    """Also if one could not be judged, since its peer is missing."""
    assert run("--only", row, "--rounds", "1").exit_code == 0
    assert run("--only", row, "--rounds", "1", "--strict").exit_code == status


def test_every_run_is_kept_for_a_closer_look(page: Path, tmp_path: Path) -> None:
    run("--only", "paced", "--rounds", "2")
    kept = json.loads((tmp_path / "build" / "runs.json").read_text(encoding="utf-8"))

    assert [(one["workload"], one["round"]) for one in kept] == [("paced", 1), ("paced", 1), ("paced", 2), ("paced", 2)]
    assert {one["candidate"] for one in kept} == {"hubwire", "floor"}


def test_unknown_row_is_refused_with_those_that_there_are(page: Path) -> None:
    done = run("--only", "paced,nonsense")

    assert done.exit_code == 2
    assert "'nonsense' is none of paced, bursts, saturated" in done.output


def test_what_makes_measuring_impossible_is_told_in_one_line(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Cores:
        raise Unusable("two processor cores are needed")

    monkeypatch.setattr(command, "two_cores", none)
    done = run("--only", "paced")

    assert (done.exit_code, done.output) == (1, "Error: two processor cores are needed\n")


def test_end_from_outside_ends_the_servers_too(page: Path, tmp_path: Path) -> None:
    """They are children that would otherwise go on for ever."""
    (tmp_path / "load").write_text(
        f"#!{sys.executable}\n"
        "import os, sys, time\n"
        "given = dict(zip(sys.argv[2::2], sys.argv[3::2]))\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(given['--pid'])\n"
        "os.kill(os.getppid(), 15)\n"
        "time.sleep(60)\n",
        encoding="utf-8",
    )
    done = run("--only", "echo-100", "--rounds", "1")
    server = int((tmp_path / "pid").read_text(encoding="utf-8"))

    assert done.exit_code == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
