"""What the benchmark's load generator could have told, for tests that need no run."""

from bench.figures import Latency, Result

__all__ = ["result"]


def result(
    cpu_us: float | None = 1.0,
    per_s: float | None = 1000.0,
    p99_us: float | None = 1000.0,
    lost: int = 0,
    generator_cpu: float = 0.5,
    others_cpu: float | None = None,
) -> Result:
    """A run of the fan-out kind, in which 1,000 deliveries were due."""
    return Result(
        mode="fanout",
        seconds=2.0,
        expected=1000,
        deliveries=1000 - lost,
        lost=lost,
        deliveries_per_s=per_s,
        cpu_us_per_delivery=cpu_us,
        latency_us=None if p99_us is None else Latency(count=1000, p50=p99_us / 2, p99=p99_us, max=p99_us * 2),
        generator_cpu=generator_cpu,
        others_cpu=others_cpu,
    )
