"""
What a run of the load generator brought, and what is shown of it.

A run either took place (`Result`) or did not (`Failed`, with the reason); both are outcomes, and both are shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import msgspec

__all__ = [
    "DISTURBED",
    "FIGURES",
    "SATURATED",
    "Failed",
    "Figure",
    "Latency",
    "Outcome",
    "Result",
    "Spread",
    "disturbed",
    "read_result",
    "saturated",
    "spread",
    "undelivered",
]

SATURATED: Final = 0.95
"""Share of its core above which the load generator may have been what limited a run."""


DISTURBED: Final = 0.1
"""Share of both cores above which other processes may have changed what a run brought."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """
    Microseconds from the time at which something was due to the time at which it was there.

    Attributes:
        count: how many were measured; without any, the others mean nothing.
    """

    count: int = 0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """
    One run, as the generator tells it. What a mode does not have is `None`, or 0 where it is a count of mishaps.

    Attributes:
        sent: messages of the publishers, or sends of the floor.
        late: delivered after the measured time, while the generator waited for what was in flight.
        lost: never delivered.
        unacknowledged: publications that wait for their acknowledgement, in a protocol that has such.
        closed: connections that the server ended.
        retries: connections that had to be tried again.
        server_cpu_us: processor time of the server's whole process tree in the measured time.
        generator_cpu: share of its core that the generator used in the measured time.
        others_cpu: share of both cores that other processes of this machine, or of its host, used during the run. The
            generator does not tell it; it is found beside it.
    """

    mode: str
    protocol: str = ""
    seconds: float
    connections: int = 0
    sent: int = 0
    expected: int = 0
    deliveries: int = 0
    late: int = 0
    lost: int = 0
    unacknowledged: int = 0
    gaps: int = 0
    duplicates: int = 0
    errors: int = 0
    closed: int = 0
    retries: int = 0
    deliveries_per_s: float | None = None
    calls_per_s: float | None = None
    handshakes_per_s: float | None = None
    operations_per_s: float | None = None
    server_cpu_us: float | None = None
    cpu_us_per_delivery: float | None = None
    cpu_us_per_operation: float | None = None
    rss_before_kib: int | None = None
    rss_after_kib: int | None = None
    rss_peak_kib: int | None = None
    latency_us: Latency | None = None
    generator_cpu: float | None = None
    others_cpu: float | None = None


@dataclass(frozen=True)
class Failed:
    """
    A run that did not take place, or that could not be read.

    Attributes:
        reason: one line.
    """

    reason: str


Outcome = Result | Failed


def read_result(output: str) -> Outcome:
    """The outcome that the generator printed: one JSON object on one line."""
    lines = output.splitlines()
    if len(lines) != 1:
        return Failed(f"the generator printed {len(lines)} lines instead of one")
    try:
        return msgspec.json.decode(lines[0], type=Result)
    except msgspec.DecodeError as fault:
        return Failed(f"the generator's result cannot be read: {fault}")


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds: its median, the least, the greatest, and of how many."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Sequence[float]) -> Spread | None:
    """Over the rounds in which there was a value; `None` without any."""
    return Spread(median(values), min(values), max(values), len(values)) if values else None


def saturated(result: Result) -> bool:
    """Whether the generator was so busy that the throughput is a lower bound."""
    return result.generator_cpu is not None and result.generator_cpu > SATURATED


def disturbed(result: Result) -> bool:
    """Whether others used so much of the cores that the figures may be theirs."""
    return result.others_cpu is not None and result.others_cpu > DISTURBED


def undelivered(result: Result) -> float:
    """Deliveries that were missing, twice there or out of order, requests refused or unanswered: all must be 0."""
    return float(result.lost + result.unacknowledged + result.gaps + result.duplicates + result.errors + result.closed)


@dataclass(frozen=True)
class Figure:
    """
    Something that is shown of a run, or judged.

    Attributes:
        head: what stands above its column.
        of: its value in a run, `None` if the run has none.
        throughput: a lower bound where the generator was saturated, so that it is marked.
    """

    head: str
    of: Callable[[Result], float | None]
    throughput: bool = False


def _cpu(result: Result) -> float | None:
    return result.cpu_us_per_delivery if result.cpu_us_per_delivery is not None else result.cpu_us_per_operation


def _per_s(result: Result) -> float | None:
    if result.mode == "floor":
        return result.sent / result.seconds if result.seconds else None
    rates = (result.calls_per_s, result.handshakes_per_s, result.operations_per_s, result.deliveries_per_s)
    return next((rate for rate in rates if rate is not None), None)


def _latency_ms(percentile: str) -> Callable[[Result], float | None]:
    def of(result: Result) -> float | None:
        if result.latency_us is None or not result.latency_us.count:
            return None
        value: float = getattr(result.latency_us, percentile)
        return value / 1000

    return of


def _kib_each(result: Result) -> float | None:
    if result.rss_after_kib is None or result.rss_before_kib is None or not result.connections:
        return None
    return (result.rss_after_kib - result.rss_before_kib) / result.connections


def _memory_mib(result: Result) -> float | None:
    kib = result.rss_peak_kib if result.rss_peak_kib is not None else result.rss_after_kib
    return None if kib is None else kib / 1024


FIGURES: Final = {
    "cpu_us": Figure("CPU µs", _cpu),
    "per_s": Figure("per s", _per_s, throughput=True),
    "p50_ms": Figure("p50 ms", _latency_ms("p50")),
    "p99_ms": Figure("p99 ms", _latency_ms("p99")),
    "max_ms": Figure("max ms", _latency_ms("max")),
    "kib_each": Figure("KiB each", _kib_each),
    "memory_mib": Figure("memory MiB", _memory_mib),
    "seconds": Figure("seconds", lambda result: result.seconds),
    "undelivered": Figure("undelivered", undelivered),
}
"""By name, as workloads and goals call them."""
