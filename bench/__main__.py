"""`python -m bench`: measure, print the tables, write the page."""

import math
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

import click
import msgspec

from bench import report
from bench.faults import Unusable
from bench.generator import Generator
from bench.goals import GOALS, Verdict, judge
from bench.installation import Available, Installed, compile_generator, install, speaks_tls
from bench.machine import describe, open_files, two_cores
from bench.rounds import Measured, Servers, absent, measure
from bench.servers import SERVERS
from bench.workloads import MANY_USERS, WORKLOADS, Workload, quick, seconds, with_rounds, with_users

__all__ = ["judged", "main"]

_ROOT: Final = Path(__file__).parent.parent
_BUILD: Final = _ROOT / ".build" / "bench"
_PAGE: Final = _ROOT / "docs" / "performance.md"
_SOURCES: Final = Path(__file__).parent / "load"


@click.command()
@click.option("--quick", "short", is_flag=True, help="A short look, under three minutes; writes no page.")
@click.option("--only", metavar="NAMES", help="These workloads, separated by commas; writes no page.")
@click.option("--rounds", type=click.IntRange(min=1), metavar="N", help="So many rounds of each workload.")
@click.option(
    "--users",
    type=click.IntRange(min=1000, max=10_000_000),
    default=MANY_USERS,
    show_default=True,
    metavar="N",
    help="Communication users where there are many. A million takes more than a minute to bring in.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Page to write.")
@click.option("--seed", type=int, metavar="N", help="Of the order of candidates within rounds. [by chance]")
@click.option("--strict", is_flag=True, help="Exit with 1 unless every goal is reached.")
def main(
    short: bool,
    only: str | None,
    rounds: int | None,
    users: int,
    output: Path | None,
    seed: int | None,
    strict: bool,
) -> None:
    """Measure Hubwire, its peers and bare sockets with the same workloads."""
    workloads = with_users(_chosen(short, only, rounds), users)
    signal.signal(signal.SIGTERM, _end)
    seed = seed if seed is not None else random.SystemRandom().randrange(10_000)
    if output is None and not short and only is None:
        output = _PAGE
    try:
        verdicts = _bench(workloads, seed, output)
    except Unusable as fault:
        raise click.ClickException(str(fault)) from fault
    except KeyboardInterrupt:
        sys.exit(130)
    if strict and any(verdict.state != "reached" for verdict in verdicts):
        sys.exit(1)


def _end(number: int, _frame: FrameType | None) -> None:
    """Leave as from any other place in the program, so that the servers are ended too."""
    sys.exit(128 + number)


def _chosen(short: bool, only: str | None, rounds: int | None) -> tuple[Workload, ...]:
    workloads = quick(WORKLOADS) if short else WORKLOADS
    if only is not None:
        names = [name.strip() for name in only.split(",")]
        known = [workload.name for workload in WORKLOADS]
        for name in names:
            if name not in known:
                raise click.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="--only")
        workloads = tuple(workload for workload in workloads if workload.name in names)
    return workloads if rounds is None else with_rounds(workloads, rounds)


def _bench(workloads: Sequence[Workload], seed: int, output: Path | None) -> list[Verdict]:
    began_s = time.monotonic()
    cores = two_cores()
    files = open_files()
    _progress("compiling the load generator")
    binary = compile_generator(_SOURCES, _BUILD)
    generator, tls = Generator(binary, cores), speaks_tls(binary)
    installed = _installed(workloads)
    _say(
        f"{len(workloads)} workloads, about {math.ceil(seconds(workloads) / 60)} min if all servers are there. "
        f"Order from seed {seed}, servers on core {cores.server}, load generator on core {cores.generator}."
    )
    measured = []
    chance = random.Random(seed)
    with _servers(installed, cores.server) as servers:
        for workload in workloads:
            missing = absent(workload, installed, files, tls=tls)
            measured.append(measure(workload, missing, servers, generator, chance, _progress))
            _say("", f"{workload.title} ({workload.name})", *report.lines(report.table(measured[-1])))
    _keep(measured)
    verdicts = judged(measured)
    _say("", "Goals", *report.lines(report.goal_table(verdicts)))
    if warning := report.disturbance(measured):
        _say("", warning)
    _say("", f"It took {(time.monotonic() - began_s) / 60:.1f} minutes.")
    if output is not None:
        report.write(output, report.page(_header(seed), installed, measured, verdicts))
        _say(f"Written to {os.path.relpath(output)}.")
    return verdicts


def judged(measured: Sequence[Measured]) -> list[Verdict]:
    """A verdict for each goal of the workloads that were run."""
    by_name = {one.workload.name: one for one in measured}
    return [
        judge(goal, by_name[goal.workload].rounds, by_name[goal.workload].absent)
        for goal in GOALS
        if goal.workload in by_name
    ]


def _installed(workloads: Sequence[Workload]) -> dict[str, Installed]:
    """All servers that take part, or why they are missing."""
    wanted = {candidate.server for workload in workloads for candidate in workload.candidates}
    found: dict[str, Installed] = {}
    for name in SERVERS:
        if name in wanted:
            _progress(f"looking for {SERVERS[name].title}, or installing it")
            found.update(install([name], _BUILD))
            there = found[name]
            _say(
                f"{SERVERS[name].title}: "
                + (there.version if isinstance(there, Available) else f"none, {there.reason}")
            )
    return found


@contextmanager
def _servers(installed: dict[str, Installed], core: int) -> Iterator[Servers]:
    """Servers with folders that are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hubwire-bench-") as folder:
        servers = Servers(installed, Path(folder), core)
        try:
            yield servers
        finally:
            servers.close()


def _header(seed: int) -> report.Header:
    words = sys.argv[1:]
    command = {(): "make bench", ("--quick",): "make bench-quick"}.get(
        tuple(words), shlex.join(["python", "-m", "bench", *words])
    )
    return report.Header(
        command=command,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_commit(),
        seed=seed,
        machine=describe(),
    )


def _commit() -> str:
    """That of the source tree, and whether it is what was measured."""
    git = shutil.which("git")
    if git is None:
        return "unknown"

    def said(*words: str) -> str:
        return subprocess.run([git, *words], cwd=_ROOT, capture_output=True, text=True, check=False).stdout.strip()

    commit = said("rev-parse", "--short=12", "HEAD") or "unknown"
    return f"{commit} with changes that are not committed" if said("status", "--porcelain", "--", "src") else commit


def _keep(measured: Sequence[Measured]) -> None:
    """All runs as the generator told them, for whoever wants to look closer."""
    runs = [
        {"workload": one.workload.name, "round": number, "candidate": label, "outcome": outcome}
        for one in measured
        for number, outcomes in enumerate(one.rounds, 1)
        for label, outcome in outcomes.items()
    ]
    (_BUILD / "runs.json").write_bytes(msgspec.json.format(msgspec.json.encode(runs)))


def _progress(text: str) -> None:
    """What goes on now, on a line that the next one replaces; nothing where nobody looks."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)


def _say(*texts: str) -> None:
    """Lines that stay."""
    _progress("")
    for text in texts:
        click.echo(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main(prog_name="python -m bench")
