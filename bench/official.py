"""
`python -m bench.official OPERATION ENDPOINT PID WARMUP_S DURATION_S`: one caller that uses the official client library
as it is, and calls again as soon as it has the answer. Prints a result as the load generator does.

The access key comes in the environment variable `BENCH_ACCESS_KEY`.
"""

import os
import sys
import time
from collections.abc import Callable
from statistics import quantiles

import msgspec

from bench.figures import Latency, Result
from bench.machine import cpu_ticks

__all__ = ["caller", "measure"]


def caller(operation: str, endpoint: str, key: str) -> Callable[[], object]:
    """
    What makes one call.

    Args:
        operation: "create" or "issue"; of one user there.

    Raises:
        ImportError: the library is not installed.
    """
    from azure.communication.identity import CommunicationIdentityClient
    from azure.core.credentials import AzureKeyCredential

    client = CommunicationIdentityClient(endpoint, AzureKeyCredential(key))
    if operation == "create":
        return client.create_user
    user = client.create_user()
    return lambda: client.get_token(user, ["chat"])


def measure(call: Callable[[], object], pid: int, warmup_s: float, duration_s: float) -> Result:
    """
    Call for so long.

    Args:
        pid: of the server.
    """
    _calls(call, warmup_s)
    began_s, ticks = time.monotonic(), cpu_ticks(pid)
    took_us = _calls(call, duration_s)
    elapsed_s = time.monotonic() - began_s
    cpu_us = (cpu_ticks(pid) - ticks) / os.sysconf("SC_CLK_TCK") * 1e6
    cuts = quantiles(took_us, n=100, method="inclusive")
    return Result(
        mode="official",
        seconds=elapsed_s,
        calls_per_s=len(took_us) / elapsed_s,
        cpu_us_per_operation=cpu_us / len(took_us),
        latency_us=Latency(count=len(took_us), p50=cuts[49], p90=cuts[89], p99=cuts[98], max=max(took_us)),
    )


def _calls(call: Callable[[], object], duration_s: float) -> list[float]:
    """Microseconds that each took, of two at least."""
    took_us: list[float] = []
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s or len(took_us) < 2:
        began_s = time.perf_counter()
        call()
        took_us.append((time.perf_counter() - began_s) * 1e6)
    return took_us


if __name__ == "__main__":
    _, _operation, _endpoint, _pid, *_times = sys.argv
    _call = caller(_operation, _endpoint, os.environ["BENCH_ACCESS_KEY"])
    print(msgspec.json.encode(measure(_call, int(_pid), *map(float, _times))).decode())
