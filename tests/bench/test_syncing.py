"""How often the disk syncs."""

from bench.syncing import measure


def test_syncs_are_counted_and_timed() -> None:
    result = measure(0.05)

    assert result.operations_per_s is not None
    assert result.operations_per_s > 0
    assert result.cpu_us_per_operation is not None
    assert result.latency_us is not None
    assert result.latency_us.count >= 1
    assert 0 < result.latency_us.p50 <= result.latency_us.p99 <= result.latency_us.max
