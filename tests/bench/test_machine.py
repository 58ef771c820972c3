"""What the machine is doing besides, and what it is."""

import os
import socket
import subprocess
import sys
import time

import pytest

from bench import machine
from bench.machine import Cores, Others, cpu_ticks, describe, pinned

CORE = min(os.sched_getaffinity(0))


class Clock:
    """Stands for `time`: ten seconds between two questions, in which we ourselves used a tenth of one."""

    def __init__(self) -> None:
        self._monotonic = iter((100.0, 110.0))
        self._process = iter((5.0, 5.1))

    def monotonic(self) -> float:
        return next(self._monotonic)

    def process_time(self) -> float:
        return next(self._process)


@pytest.mark.parametrize(
    ("server", "used_s", "share"),
    [(None, 0.1, 0.0), (None, 4.1, 0.2), (7, 4.1, 0.05), (7, 3.1, 0.0), (7, 2.9, 0.0), (None, 25.1, 1.0)],
)
def test_others_are_what_the_cores_did_without_us_and_the_server(
    server: int | None, used_s: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 20 seconds that two cores have in ten. The server used three. Accounts differ: it is never below nothing."""
    hertz = os.sysconf("SC_CLK_TCK")
    busy = iter((50, 50 + round(used_s * hertz)))
    of_server = iter((20, 20 + 3 * hertz))
    monkeypatch.setattr(machine, "time", Clock())
    monkeypatch.setattr(machine, "_busy_ticks", lambda _cores: next(busy))
    monkeypatch.setattr(machine, "cpu_ticks", lambda _pid: next(of_server))

    assert Others(Cores(0, 1), server).share() == pytest.approx(share, abs=0.001)


def test_busy_process_that_is_not_ours_is_noticed() -> None:
    """Half a second of work at least; whatever else runs here can only add to it."""
    work = "import time\nwhile time.process_time() < 0.5: pass\nprint('done', flush=True)\ninput()"
    others = Others(Cores(CORE, CORE), None)
    began_s = time.monotonic()
    with (
        pinned(CORE),
        subprocess.Popen(
            [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        used_s = others.share() * (time.monotonic() - began_s) * 2
        process.kill()

    assert used_s > 0.4


def test_processor_time_of_a_process_is_read_and_that_of_none_is_zero() -> None:
    assert cpu_ticks(os.getpid()) > 0
    assert cpu_ticks(2**30) == 0


def test_description_has_no_name_of_the_machine() -> None:
    told = dict(describe())

    assert told.keys() == {"processor", "cores", "memory", "system", "Python"}
    assert all(told.values())
    assert socket.gethostname() not in " ".join(told.values())
