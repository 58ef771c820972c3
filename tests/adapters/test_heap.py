"""Free memory of the C library goes back to the system when it is worth it, and only then."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hubwire.adapters.heap import Heap, HeapUse, heap

MIB = 1 << 20


@pytest.mark.parametrize(
    ("held", "free", "given_back"),
    [
        (200 * MIB, 100 * MIB, 100 * MIB),
        (100 * MIB, 64 * MIB, 0),
        (1000 * MIB, 250 * MIB, 0),
        (1000 * MIB, 251 * MIB, 251 * MIB),
        (0, 0, 0),
    ],
)
def test_free_memory_is_given_back_when_it_is_much_by_size_and_by_share(held: int, free: int, given_back: int) -> None:
    trimmed: list[bool] = []
    assert Heap(lambda: HeapUse(held, free), lambda: trimmed.append(True)).give_back() == given_back
    assert trimmed == [True] * bool(given_back)


# A process of its own, so that no other memory is in the heap: blocks below the size from which the C library asks the
# system for each by itself, every hundredth of them kept.
PEAK = """
import sys
from pathlib import Path
from hubwire.adapters.heap import heap

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

own = heap()
blocks = [bytearray(60_000) for _ in range(5_000)]
blocks[:] = blocks[::100]
before = resident()
own.give_back()
print(before - resident())
"""


@pytest.mark.skipif(heap() is None or not Path("/proc/self/statm").exists(), reason="another C library than GNU's")
def test_what_a_peak_leaves_behind_is_given_back_though_blocks_of_it_are_kept() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, env=os.environ, timeout=60
    )
    assert int(ran.stdout) > 200 * MIB
