"""
One soak from its begin to its end: a server, the load on it, samples of both, and the verdict.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from acceptance.servers import Server
from soak.churn import Churn
from soak.clients import Address
from soak.inspected import program
from soak.samples import Probe, Sample, as_row, growth, leaks, left_behind, swing

__all__ = ["Plan", "Report", "run", "soak"]

_LIMIT: Final = 0.02
_STEADY: Final = 0.05
_FEW: Final = 24
"""Samples of so short a time that its ends say nothing of the load."""
_MIB: Final = 1 << 20
_SAMPLES: Final = 360
_ROWS: Final = 60
_SHORTEST_STEP_S: Final = 1.0
_FIRST_RATE: Final = 50.0
_HIGHEST_RATE: Final = 5000.0
_LATE_S: Final = 0.2
_SLOW_EVERY_S: Final = 10.0
_MOMENT_S: Final = 1.0
_END_S: Final = 60.0
"""For everything to be as it was, once all are gone: longer than a recovery may take."""

_COLUMNS: Final = (
    ("time s", 7),
    ("cpu %", 6),
    ("clients", 8),
    ("retained", 9),
    ("groups", 7),
    ("users", 6),
    ("tasks", 6),
    ("fds", 6),
    ("objects", 9),
    ("RSS MiB", 8),
    ("things/s", 9),
    ("deliveries/s", 13),
    ("queued KiB", 11),
)


class Plan(Struct, frozen=True):
    """
    Attributes:
        seconds: that the load lasts.
        warm_up_s: of these, in which memory may grow and the rate of the load is found.
        cpu_percent: of a core that the server is to be busy with.
        population: clients on average.
        rate: things to do in a second; None finds the one that keeps the server so busy.
    """

    seconds: float
    warm_up_s: float
    cpu_percent: float
    population: int
    seed: int
    rate: float | None = None
    slow_every_s: float = _SLOW_EVERY_S


class Report(Struct, frozen=True):
    """
    What was seen.

    Attributes:
        before, after: without any client; garbage was collected first.
        samples: after the warm-up.
    """

    before: Sample
    samples: Sequence[Sample]
    after: Sample
    churn: Churn


async def soak(plan: Plan, folder: Path) -> int:
    """Run, print, judge. Returns: 0 if the server passed, else 1."""
    folder.mkdir(parents=True, exist_ok=True)
    look = folder / "inspection.json"
    server = Server(folder, "--no-banner", "--log-off", "connectivity", "--log-off", "http", program=program(look))
    try:
        print(
            f"server {server.pid}, {plan.seconds:g} s, of these {plan.warm_up_s:g} s to warm up; {folder}", flush=True
        )
        with (folder / "samples.jsonl").open("w", encoding="utf-8") as file:

            def keep(sample: Sample) -> None:
                file.write(json.dumps(as_row(sample)) + "\n")
                file.flush()

            report = await run(plan, server, look, keep, print_rows=True)
        server.stop()
    finally:
        server.end()
    return _tell(report)


async def run(
    plan: Plan, server: Server, look: Path, keep: Callable[[Sample], None], *, print_rows: bool = False
) -> Report:
    """
    Put a server under load and watch it.

    Args:
        server: one that `soak.inspected` serves, freshly started.
        look: the file that was named to it.
        keep: is given each sample.
    """
    probe = Probe(server, look)
    # What is made at the first use stays: it is no leak, so it is used once before anything is counted.
    await asyncio.to_thread(probe.look, collect_first=True)
    await asyncio.sleep(_MOMENT_S)
    before = await asyncio.to_thread(probe.look, collect_first=True)
    churn = Churn(Address(server.host, server.port, server.access_key), plan.population, plan.seed)
    churn.rate = plan.rate or _FIRST_RATE
    probe.begin()
    samples: list[Sample] = []
    async with asyncio.TaskGroup() as together:
        together.create_task(churn.run(plan.seconds))
        together.create_task(churn.slow_clients(plan.seconds, plan.slow_every_s))
        together.create_task(_watch(plan, probe, churn, samples, keep, print_rows))
    await asyncio.wait_for(churn.stop(), _END_S)
    after = await _await_end(probe, before)
    keep(after)
    return Report(before, [sample for sample in samples if sample.at_s >= plan.warm_up_s], after, churn)


async def _watch(
    plan: Plan, probe: Probe, churn: Churn, samples: list[Sample], keep: Callable[[Sample], None], print_rows: bool
) -> None:
    step = max(plan.seconds / _SAMPLES, _SHORTEST_STEP_S)
    rows = max(int(plan.seconds / _ROWS / step), 1)
    if print_rows:
        print("".join(f"{name:>{width}}" for name, width in _COLUMNS), flush=True)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    done = 0
    last: Sample | None = None
    while (next_s := (len(samples) + 1) * step) <= plan.seconds:
        await asyncio.sleep(begin + next_s - loop.time())
        sample = await asyncio.to_thread(probe.look)
        samples.append(sample)
        keep(sample)
        if plan.rate is None and sample.at_s < plan.warm_up_s * 0.8:
            _pace(plan, churn, sample, samples[-4:-1])
        if print_rows and len(samples) % rows == 0:
            _print_row(sample, last, sum(churn.done.values()) - done)
            last, done = sample, sum(churn.done.values())


def _pace(plan: Plan, churn: Churn, sample: Sample, before: Sequence[Sample]) -> None:
    """Towards the rate at which the server is as busy as it is to be."""
    if not before:
        return
    percent = 100 * (sample.cpu_s - before[0].cpu_s) / (sample.at_s - before[0].at_s)
    factor = min(max(plan.cpu_percent / max(percent, 1.0), 0.8), 1.25)
    if churn.lag_s > _LATE_S:
        factor = min(factor, 0.9)  # it is we who have no time, so more of the same would not make the server busier
    churn.lag_s = 0.0
    churn.rate = min(churn.rate * factor, _HIGHEST_RATE)


async def _await_end(probe: Probe, before: Sample) -> Sample:
    """Wait until everything is as it was, or for as long as that may take."""
    end = time.monotonic() + _END_S
    while True:
        after = await asyncio.to_thread(probe.look, collect_first=True)
        if not left_behind(before, after) or time.monotonic() > end:
            return after
        await asyncio.sleep(_MOMENT_S)


def _print_row(sample: Sample, last: Sample | None, done: int) -> None:
    found = sample.inspection
    if last is None:
        seconds, cpu_s, delivered = sample.at_s, 0.0, 0
    else:
        seconds, cpu_s, delivered = sample.at_s - last.at_s, last.cpu_s, last.delivered
    values = (
        f"{sample.at_s:.0f}",
        f"{100 * (sample.cpu_s - cpu_s) / seconds:.0f}",
        sample.connections - sample.retained,
        sample.retained,
        found.groups,
        found.users,
        found.tasks,
        sample.descriptors,
        found.objects,
        f"{sample.rss_bytes / _MIB:.2f}",
        f"{done / seconds:.0f}",
        f"{(sample.delivered - delivered) / seconds:.0f}",
        f"{sample.queued_bytes / 1024:.0f}",
    )
    print("".join(f"{value:>{width}}" for value, (_, width) in zip(values, _COLUMNS, strict=True)), flush=True)


def _tell(report: Report) -> int:
    """Print what was done and the verdict."""
    churn = report.churn
    print("done: " + ", ".join(f"{name} {count}" for name, count in sorted(churn.done.items())))
    print(f"clients received {churn.received} messages; {churn.skipped} things were skipped for want of time")
    names = [name for name in report.before.tables() if not name.startswith("hubwire.")]
    old, new = report.before.tables(), report.after.tables()
    print("before -> after: " + ", ".join(f"{name} {old[name]} -> {new[name]}" for name in names))
    found = list(leaks(report.before, report.samples, report.after, churn.faults, _LIMIT))
    for line in found:
        print(line)
    _tell_of_the_load(report.samples)
    print(
        f"{'FAILED' if found else 'PASSED'}: memory {growth(report.samples):+.2%} after the warm-up, limit {_LIMIT:.0%}"
    )
    return 1 if found else 0


def _tell_of_the_load(samples: Sequence[Sample]) -> None:
    if len(samples) < _FEW:
        return
    change = swing(samples)
    print(f"the load changed by {change:+.1%} between the two times whose memory is compared")
    if abs(change) > _STEADY:
        print("that is much, and memory swings with it: run this on a machine that has nothing else to do")
