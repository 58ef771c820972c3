"""
What a server holds, looked at from outside again and again, and the judgement of what was seen.

Memory is compared by medians: that of the first sixth of the time after the warm-up with that of the last sixth. A
median over so many samples does not see the one moment in which a slow client's megabytes wait, and two ends of a long
time say more about a leak than two moments of a short one.
"""

import http.client
import os
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from acceptance.servers import Server, wait_until
from soak.inspected import COLLECT_FIRST, LOOK

__all__ = ["Inspection", "Probe", "Sample", "growth", "leaks", "left_behind", "swing"]

_PARTS: Final = 6
_PATIENCE_S: Final = 120.0
"""The server is busy, and perhaps the machine as well: an hour's run must not end because of one slow look."""
_KEPT: Final = (
    "hubwire.auth.",
    "hubwire.model.filters.",
    "hubwire.model.filter_terms.",
    "hubwire.model.permissions.RoleSet",
    "hubwire.model.permissions._Grants",
    "hubwire.model.patterns.",
)
"""Rooms whose values are remembered for the next caller, a bounded number of them."""


class Inspection(Struct, frozen=True):
    """
    What the server says lives in it.

    Attributes:
        objects: that the collector knows.
        kinds: how many there are of each class of ours.
    """

    objects: int
    tasks: int
    hubs: int
    groups: int
    users: int
    kinds: dict[str, int]


class Sample(NamedTuple):
    """
    One look at a server.

    Attributes:
        at_s: since the begin of the load.
        cpu_s: processor time of the process so far.
    """

    at_s: float
    rss_bytes: int
    descriptors: int
    threads: int
    cpu_s: float
    connections: int
    retained: int
    queued_bytes: int
    delivered: int
    inspection: Inspection

    def tables(self) -> dict[str, int]:
        """What must be as it was once all clients are gone."""
        found = self.inspection
        tables = {
            "descriptors": self.descriptors,
            "threads": self.threads,
            "tasks": found.tasks,
            "connections": self.connections,
            "connections retained": self.retained,
            "bytes queued": self.queued_bytes,
            "hubs": found.hubs,
            "groups": found.groups,
            "users": found.users,
        }
        return tables | {kind: count for kind, count in found.kinds.items() if not kind.startswith(_KEPT)}


class Probe:
    """
    Looks at a server that `soak.inspected` serves.

    Args:
        file: where its inspections appear.
    """

    def __init__(self, server: Server, file: Path) -> None:
        self._server = server
        self._file = file
        self._folder = Path(f"/proc/{server.pid}")
        self._began = time.monotonic()

    def begin(self) -> None:
        """The load begins now."""
        self._began = time.monotonic()

    def cpu_s(self) -> float:
        """Processor time of the process so far."""
        fields = (self._folder / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def look(self, *, collect_first: bool = False) -> Sample:
        """One sample. Not twice within a moment, or the one would count what the other needs."""
        # In this order: a moment after it was asked for its metrics, the server would still have that connection.
        inspection = self._inspect(collect_first)
        descriptors = len(os.listdir(self._folder / "fd"))
        status = dict(
            line.split(":", 1) for line in (self._folder / "status").read_text(encoding="utf-8").splitlines() if line
        )
        metrics = self._metrics()
        return Sample(
            at_s=time.monotonic() - self._began,
            rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
            descriptors=descriptors,
            threads=int(status["Threads"]),
            cpu_s=self.cpu_s(),
            connections=int(metrics["webpubsub_connection_count"]),
            retained=int(metrics["hubwire_connections_retained"]),
            queued_bytes=int(metrics["hubwire_queued_bytes"]),
            delivered=int(metrics["hubwire_outbound_messages_total"]),
            inspection=inspection,
        )

    def _metrics(self) -> Mapping[str, float]:
        connection = http.client.HTTPConnection(self._server.host, self._server.port, timeout=_PATIENCE_S)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    def _inspect(self, collect_first: bool) -> Inspection:
        self._file.unlink(missing_ok=True)
        self._server.signal(COLLECT_FIRST if collect_first else LOOK)
        wait_until(self._file.exists, "the server to look into itself", _PATIENCE_S)
        return msgspec.json.decode(self._file.read_bytes(), type=Inspection)


def growth(samples: Sequence[Sample]) -> float:
    """
    By how much of itself memory has grown, from the median of the first sixth of the time to that of the last one.

    Args:
        samples: after the warm-up, in order; at least two.
    """
    first, last = _ends(samples)
    return statistics.median(one.rss_bytes for one in last) / statistics.median(one.rss_bytes for one in first) - 1


def swing(samples: Sequence[Sample]) -> float:
    """
    By how much of itself the load has grown between the same two times, in deliveries a second.

    What clients are owed is memory, so growth says nothing of the server if this is not near 0: the machine had
    something else to do.

    Args:
        samples: as above, some in each of the two times.
    """
    first, last = ((part[-1].delivered - part[0].delivered) / (part[-1].at_s - part[0].at_s) for part in _ends(samples))
    return last / first - 1


def _ends(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """The first and the last sixth of the time."""
    begin, end = samples[0].at_s, samples[-1].at_s
    part = (end - begin) / _PARTS
    return (
        [sample for sample in samples if sample.at_s <= begin + part],
        [sample for sample in samples if sample.at_s >= end - part],
    )


def left_behind(before: Sample, after: Sample) -> list[str]:
    """What there is more of, once everybody is gone, than there was before anybody came."""
    old = before.tables()
    return [
        f"{name}: {old.get(name, 0)} -> {count}" for name, count in after.tables().items() if count > old.get(name, 0)
    ]


def leaks(
    before: Sample, samples: Sequence[Sample], after: Sample, faults: Mapping[str, int], limit: float | None
) -> Iterable[str]:
    """
    What is wrong, a line each; nothing if the server passed.

    Args:
        samples: after the warm-up.
        faults: what clients saw that should not have been, and how often.
        limit: by how much of itself memory may grow; None is not judged.
    """
    if limit is not None and (grown := growth(samples)) >= limit:
        yield f"memory grew by {grown:.2%}, which is not below {limit:.0%}"
    yield from (f"left behind: {line}" for line in left_behind(before, after))
    yield from (f"{count} x {line}" for line, count in faults.items())


def as_row(sample: Sample) -> dict[str, Any]:
    """For the file of all samples."""
    return {**sample._asdict(), "inspection": msgspec.to_builtins(sample.inspection)}
