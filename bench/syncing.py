"""
`python -m bench.syncing SECONDS`: how often the disk syncs, and nothing else. Prints a result as the load generator
does.
"""

import os
import sys
import tempfile
import time
from statistics import quantiles
from typing import Final

import msgspec

from bench.figures import Latency, Result

__all__ = ["measure"]

_PAGE: Final = b"\xa5" * 4096
_PAGES: Final = 1024
"""Of the file, which are written again and again, as those of a write-ahead log are."""


def measure(duration_s: float) -> Result:
    """Write and sync for so long, one page after the other, where the servers have their data."""
    took_us = []
    with tempfile.TemporaryFile(prefix="hubwire-bench-") as file:
        descriptor = file.fileno()
        os.pwrite(descriptor, _PAGE * _PAGES, 0)
        os.fsync(descriptor)
        began_s, began_cpu_s, count = time.monotonic(), time.process_time(), 0
        while (now_s := time.monotonic()) - began_s < duration_s:
            os.pwrite(descriptor, _PAGE, count % _PAGES * len(_PAGE))
            os.fdatasync(descriptor)
            took_us.append((time.monotonic() - now_s) * 1e6)
            count += 1
        elapsed_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
    return Result(
        mode="syncing",
        seconds=elapsed_s,
        operations_per_s=count / elapsed_s,
        cpu_us_per_operation=cpu_s / count * 1e6,
        latency_us=_latency(took_us),
    )


def _latency(took_us: list[float]) -> Latency:
    cuts = quantiles(took_us, n=1000, method="inclusive") if len(took_us) > 1 else took_us * 999
    return Latency(count=len(took_us), p50=cuts[499], p90=cuts[899], p99=cuts[989], p999=cuts[998], max=max(took_us))


if __name__ == "__main__":
    print(msgspec.json.encode(measure(float(sys.argv[1]))).decode())
