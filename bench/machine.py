"""What the benchmark runs on, and how it shares that out: one core for the server, another for the load generator."""

import os
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.faults import Unusable

__all__ = ["SPARE_FILES", "Cores", "Others", "cpu_ticks", "describe", "open_files", "pinned", "two_cores"]

SPARE_FILES: Final = 200
"""Open files that a server or the generator needs besides its connections."""


@dataclass(frozen=True)
class Cores:
    """The core of the server under test and that of the load generator."""

    server: int
    generator: int


def two_cores() -> Cores:
    """The first two that we may use."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise Unusable("two processor cores are needed: one for the server, one for the load generator")
    return Cores(*usable[:2])


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """What is started meanwhile runs on this core only. This process itself is back where it was afterwards."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def open_files() -> int:
    """Raise the limit of open files as far as we may, for us and what we start, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 2**31


def cpu_ticks(pid: int) -> int:
    """Processor time that a process has used so far, in clock ticks; 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0
    # The name of the command, in parentheses, may hold blanks. utime and stime are fields 14 and 15.
    fields = text.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Others:
    """What processes that are not ours use of both cores, from when this is made until `share` is called."""

    def __init__(self, cores: Cores, server: int | None) -> None:
        """
        Args:
            server: process that is ours too, besides those that we start and that end meanwhile.
        """
        self._cores = cores
        self._server = server
        self._began_s = time.monotonic()
        self._began = self._ticks()

    def share(self) -> float:
        """Of both cores, 0 to 1; what a host takes away from its guest counts as well."""
        elapsed = (time.monotonic() - self._began_s) * os.sysconf("SC_CLK_TCK") * 2
        return min(1.0, max(0.0, (self._ticks() - self._began) / elapsed)) if elapsed else 0.0

    def _ticks(self) -> float:
        """Busy time of both cores without ours, in clock ticks."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = (ended.ru_utime + ended.ru_stime + time.process_time()) * os.sysconf("SC_CLK_TCK")
        server = cpu_ticks(self._server) if self._server is not None else 0
        return _busy_ticks({self._cores.server, self._cores.generator}) - own - server


def _busy_ticks(cores: set[int]) -> int:
    """What some cores did for processes, or did not since their host gave them no time. Interrupts are left out."""
    busy = 0
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        name, *ticks = line.split()
        if name in {f"cpu{core}" for core in cores}:
            user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(int, ticks[:8])
            busy += user + nice + system + steal
    return busy


def _field(path: str, name: str) -> str:
    """The value of the first line `name: value` of a file."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name)
    return next(found, "")


def describe() -> list[tuple[str, str]]:
    """The machine, without its name: pairs of what and which."""
    memory = _field("/proc/meminfo", "MemTotal").split()
    return [
        ("processor", _field("/proc/cpuinfo", "model name") or platform.machine()),
        ("cores", str(os.cpu_count())),
        ("memory", f"{int(memory[0]) / 2**20:.0f} GiB" if memory else "unknown"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
    ]
