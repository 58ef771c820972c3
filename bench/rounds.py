"""
Rounds: each candidate of a workload runs once in each of them, in an order that chance decides, so that the noise of a
minute falls on all alike.
"""

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.figures import Failed, Outcome, Result, undelivered
from bench.generator import Generator
from bench.goals import Round
from bench.installation import Available, Installed, Missing
from bench.machine import SPARE_FILES
from bench.servers import NotStarted, Running, start
from bench.workloads import MANY_USERS, WITHOUT_SERVER, Candidate, Workload

__all__ = ["Measured", "Servers", "absent", "measure"]


@dataclass(frozen=True)
class Measured:
    """
    A workload with all that it brought.

    Attributes:
        rounds: outcomes by label.
        absent: why a candidate did not take part, by label.
    """

    workload: Workload
    rounds: tuple[Round, ...]
    absent: Mapping[str, str]


class Servers:
    """The servers that run now. Each is started when it is needed, and again when it is no longer what it was."""

    def __init__(self, installed: Mapping[str, Installed], folder: Path, core: int) -> None:
        self._installed = installed
        self._folder = folder
        self._core = core
        self._running: dict[str, Running] = {}
        self._started = 0

    @contextmanager
    def lend(self, name: str, *, fresh: bool, many_users: int = MANY_USERS) -> Iterator[Running]:
        """
        A server for one run.

        Args:
            fresh: it has served nobody before, and serves nobody afterwards. The others go on, and wait.
            many_users: users of the server that has many, if it has to be started.

        Raises:
            NotStarted: as `start`.
        """
        if fresh:
            self.drop(name)
        running = self._running.get(name)
        if running is None or not running.alive:
            running = self._running[name] = self._start(name, many_users)
        try:
            yield running
        finally:
            if fresh or not running.wait_until_quiet():
                self.drop(name)

    def _start(self, name: str, many_users: int) -> Running:
        installed = self._installed[name]
        if isinstance(installed, Missing):
            raise NotStarted(installed.reason)
        self._started += 1
        return start(name, installed, self._folder / f"{self._started}-{name}", self._core, many_users)

    def drop(self, name: str) -> None:
        """End a server, if it runs."""
        running = self._running.pop(name, None)
        if running is not None:
            running.stop()
            shutil.rmtree(running.folder, ignore_errors=True)

    def close(self) -> None:
        """End all of them."""
        for name in list(self._running):
            self.drop(name)


def absent(workload: Workload, installed: Mapping[str, Installed], files: int, *, tls: bool = True) -> dict[str, str]:
    """
    Why candidates of a workload cannot take part, by label.

    Args:
        files: how many open files a process may have.
        tls: does the load generator speak TLS.
    """
    needed = workload.connections + SPARE_FILES
    if needed > files:
        reason = f"{needed:,} open files are needed, and `ulimit -n` allows {files:,}"
        return {candidate.label: reason for candidate in workload.candidates}
    found = {}
    for candidate in workload.candidates:
        there = installed.get(candidate.server, Missing("it was not looked for"))
        if candidate.server not in WITHOUT_SERVER and not isinstance(there, Available):
            found[candidate.label] = there.reason
        elif candidate.tls and not tls:
            found[candidate.label] = "the load generator was compiled without OpenSSL, whose headers are not here"
        elif candidate.official and find_spec("azure.communication") is None:
            found[candidate.label] = "azure-communication-identity is not installed; `make setup` brings it"
    return found


def measure(
    workload: Workload,
    missing: Mapping[str, str],
    servers: Servers,
    generator: Generator,
    chance: random.Random,
    progress: Callable[[str], None],
) -> Measured:
    """
    Run all rounds of a workload.

    Args:
        missing: candidates that cannot take part, with the reason; as `absent` tells.
        progress: told before each run what comes.
    """
    candidates = [candidate for candidate in workload.candidates if candidate.label not in missing]
    rounds: list[dict[str, Outcome]] = []
    for number in range(workload.rounds if candidates else 0):
        chance.shuffle(candidates)
        outcomes: dict[str, Outcome] = {}
        for candidate in candidates:
            progress(f"{workload.name}: round {number + 1} of {workload.rounds}, {candidate.label}")
            outcomes[candidate.label] = _run(workload, candidate, servers, generator)
        rounds.append(outcomes)
    return Measured(workload, tuple(rounds), missing)


def _run(workload: Workload, candidate: Candidate, servers: Servers, generator: Generator) -> Outcome:
    """One run. Whoever failed, or kept something back, is not there in the next one, but starts anew."""
    if candidate.server in WITHOUT_SERVER:
        return generator.run(workload, candidate, None)
    try:
        with servers.lend(candidate.server, fresh=workload.fresh, many_users=workload.users) as server:
            outcome = generator.run(workload, candidate, server)
            died = not server.alive
    except NotStarted as fault:
        return Failed(f"not started: {fault}")
    if died or not isinstance(outcome, Result) or undelivered(outcome):
        servers.drop(candidate.server)
    if died:
        return Failed(f"the server ended during the run, with {server.process.returncode}")
    return outcome
