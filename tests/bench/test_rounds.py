"""Each round runs everybody once, in an order of chance, and goes on whatever happens to one of them."""

import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.figures import Failed, Result
from bench.generator import Generator
from bench.goals import GOALS
from bench.installation import Available, Installed, Missing
from bench.machine import Cores, open_files, pinned
from bench.rounds import Servers, absent, measure
from bench.servers import NotStarted
from bench.workloads import FLOOR, HUBWIRE, NATS, WORKLOADS, WS, Candidate, Workload

CORE = min(os.sched_getaffinity(0))

LISTENER = """
import signal, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening")
signal.pause()
"""
"""A server that is started as the Node.js peers are, and does nothing."""

GENERATOR = """
import os, sys
words = sys.argv[1:]
given = dict(zip(words[1::2], words[2::2]))
with open({log!r}, "a") as log:
    print(words[0], given.get("--protocol", "none"), given.get("--pid", "0"), file=log)
{behaviour}
print('{{"mode":"fanout","seconds":1.0,"expected":9,"deliveries":9,"cpu_us_per_delivery":2.0}}')
"""


def workload(*servers: str, rounds: int = 3, fresh: bool = False, connections: int = 10) -> Workload:
    return Workload(
        name="row",
        title="Row",
        measures="Something.",
        mode="fanout",
        options=(),
        per="delivery",
        columns=("cpu_us",),
        candidates=tuple(Candidate(server=name) for name in servers),
        connections=connections,
        rounds=rounds,
        fresh=fresh,
    )


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, Installed]:
    """Two peers that are started alike, one that cannot be started, and one that is missing."""
    listener = tmp_path / "listener.py"
    listener.write_text(LISTENER, encoding="utf-8")
    works = Available((sys.executable, str(listener)), "1")
    return {WS: works, "socketio": works, NATS: Available((sys.executable, "-c", "raise SystemExit('no')"), "1")}


@pytest.fixture
def servers(installed: dict[str, Installed], tmp_path: Path) -> Iterator[Servers]:
    found = Servers(installed, tmp_path / "servers", CORE)
    yield found
    found.close()


Make = Callable[[str], Generator]


@pytest.fixture
def generator(tmp_path: Path) -> Make:
    """A load generator that logs how it was called; its behaviour is a few lines of Python."""

    def make(behaviour: str) -> Generator:
        binary = tmp_path / "load"
        text = GENERATOR.format(log=str(tmp_path / "log"), behaviour=behaviour)
        binary.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
        binary.chmod(0o755)
        return Generator(binary, Cores(0, 0))

    return make


def calls(tmp_path: Path) -> list[list[str]]:
    """Mode, protocol and process of every run, in order."""
    return [line.split() for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines()]


def test_every_round_runs_everybody_once_in_an_order_of_its_own(
    servers: Servers, generator: Make, tmp_path: Path
) -> None:
    row = workload(WS, "socketio", FLOOR, rounds=12)
    measured = measure(row, {}, servers, generator("pass"), random.Random(5), lambda _: None)
    order = [protocol for _, protocol, _ in calls(tmp_path)]
    rounds = [tuple(order[start : start + 3]) for start in range(0, len(order), 3)]

    assert [set(outcomes) for outcomes in measured.rounds] == [{WS, "socketio", FLOOR}] * 12
    assert all(Counter(one) == Counter(["plain", "socketio", "none"]) for one in rounds)
    assert len(set(rounds)) > 1


def test_same_seed_brings_the_same_order(servers: Servers, generator: Make, tmp_path: Path) -> None:
    orders = []
    for _ in range(2):
        measure(workload(WS, "socketio", FLOOR), {}, servers, generator("pass"), random.Random(9), lambda _: None)
        orders.append([protocol for _, protocol, _ in calls(tmp_path)])
        (tmp_path / "log").unlink()

    assert orders[0] == orders[1]


@pytest.mark.parametrize(("fresh", "processes"), [(False, 1), (True, 3)])
def test_server_serves_several_runs_unless_each_needs_a_fresh_one(
    fresh: bool, processes: int, servers: Servers, generator: Make, tmp_path: Path
) -> None:
    measure(workload(WS, fresh=fresh), {}, servers, generator("pass"), random.Random(1), lambda _: None)

    assert len({pid for _, _, pid in calls(tmp_path)}) == processes


@pytest.mark.parametrize(
    "behaviour",
    [
        "sys.exit('refused')",
        """sys.exit(print('{"mode":"fanout","seconds":1.0,"lost":1}'))""",
    ],
)
def test_server_that_failed_or_kept_something_back_starts_anew(
    behaviour: str, servers: Servers, generator: Make, tmp_path: Path
) -> None:
    """What it still has to do would count against whoever comes next."""
    measured = measure(workload(WS), {}, servers, generator(behaviour), random.Random(1), lambda _: None)

    assert len({pid for _, _, pid in calls(tmp_path)}) == 3
    for outcomes in measured.rounds:
        outcome = outcomes[WS]
        assert outcome == Failed("refused") or (isinstance(outcome, Result) and outcome.lost == 1)


def test_failure_of_one_leaves_the_others_their_rounds(servers: Servers, generator: Make) -> None:
    behaviour = "if given.get('--protocol') == 'plain': sys.exit('load: refused')"
    measured = measure(workload(WS, "socketio"), {}, servers, generator(behaviour), random.Random(1), lambda _: None)

    assert [outcomes[WS] for outcomes in measured.rounds] == [Failed("load: refused")] * 3
    assert all(isinstance(outcomes["socketio"], Result) for outcomes in measured.rounds)


def test_server_that_does_not_start_is_a_failure_with_its_last_words(servers: Servers, generator: Make) -> None:
    measured = measure(workload(NATS, rounds=1), {}, servers, generator("pass"), random.Random(1), lambda _: None)

    assert measured.rounds == ({NATS: Failed("not started: it ended at start with exit code 1: no")},)


def test_server_that_dies_under_load_is_a_failure_and_is_started_again(
    servers: Servers, generator: Make, tmp_path: Path
) -> None:
    """Even where the generator found a result: it is not one of a server that works."""
    behaviour = (
        "os.kill(int(given['--pid']), 9)\nwhile ') Z ' not in open('/proc/' + given['--pid'] + '/stat').read(): pass"
    )
    measured = measure(workload(WS, rounds=2), {}, servers, generator(behaviour), random.Random(1), lambda _: None)

    assert [outcomes[WS] for outcomes in measured.rounds] == [Failed("the server ended during the run, with -9")] * 2
    assert len({pid for _, _, pid in calls(tmp_path)}) == 2


def test_who_is_missing_does_not_run_and_says_why(servers: Servers, generator: Make, tmp_path: Path) -> None:
    row = workload(WS, HUBWIRE)
    missing = absent(row, {WS: Available((), "1"), HUBWIRE: Missing("gone")}, files=2**20)
    measured = measure(row, missing, servers, generator("pass"), random.Random(1), lambda _: None)

    assert measured.absent == {HUBWIRE: "gone"}
    assert [set(outcomes) for outcomes in measured.rounds] == [{WS}] * 3


def test_row_that_needs_more_open_files_than_allowed_is_left_out_and_says_so(servers: Servers, generator: Make) -> None:
    row = workload(WS, FLOOR, connections=10_000)
    missing = absent(row, {WS: Available((), "1")}, files=1024)
    measured = measure(row, missing, servers, generator("pass"), random.Random(1), lambda _: None)

    reason = "10,200 open files are needed, and `ulimit -n` allows 1,024"
    assert measured.absent == {WS: reason, FLOOR: reason}
    assert measured.rounds == ()
    assert absent(row, {WS: Available((), "1")}, files=10_200) == {}


def test_progress_is_told_before_each_run(servers: Servers, generator: Make) -> None:
    told: list[str] = []
    measure(workload(WS, rounds=2), {}, servers, generator("pass"), random.Random(1), told.append)

    assert told == ["row: round 1 of 2, ws", "row: round 2 of 2, ws"]


def test_no_server_is_left_behind(installed: dict[str, Installed], tmp_path: Path) -> None:
    found = Servers(installed, tmp_path / "servers", CORE)
    with found.lend(WS, fresh=False) as running:
        pass
    assert running.process.poll() is None
    found.close()

    assert running.process.poll() is not None
    assert not running.folder.exists()


def test_missing_server_cannot_be_lent(tmp_path: Path) -> None:
    servers = Servers({NATS: Missing("no Go")}, tmp_path, 0)

    with pytest.raises(NotStarted, match="no Go"), servers.lend(NATS, fresh=False):
        pass


def test_server_runs_on_its_core_and_we_do_not_stay_there(servers: Servers) -> None:
    before = os.sched_getaffinity(0)
    with servers.lend(WS, fresh=False) as running:
        assert os.sched_getaffinity(running.process.pid) == {CORE}
    with pinned(CORE):
        assert os.sched_getaffinity(0) == {CORE}

    assert os.sched_getaffinity(0) == before


def test_limit_of_open_files_is_told() -> None:
    assert open_files() > 100


def test_every_workload_of_a_goal_is_in_the_table() -> None:
    assert {goal.workload for goal in GOALS} <= {workload.name for workload in WORKLOADS}
