"""What the generator prints becomes a result or a reason; rounds become median and range."""

import msgspec
import pytest

from bench.figures import FIGURES, Failed, Latency, Result, Spread, read_result, saturated, spread, undelivered
from outcomes import result


def test_result_of_the_generator_is_read_with_fields_that_we_do_not_know() -> None:
    """A generator that tells more is still understood."""
    line = (
        '{"mode":"fanout","protocol":"nats","seconds":2.0,"deliveries":5,"deliveries_per_s":2.5,"news":[1],'
        '"cpu_us_per_delivery":0.5,"latency_us":{"p50":1000,"p90":1,"p99":2000,"p999":3,"max":4000,"count":5}}\n'
    )
    found = read_result(line)

    assert isinstance(found, Result)
    assert {name: FIGURES[name].of(found) for name in ("cpu_us", "per_s", "p50_ms", "p99_ms", "max_ms")} == {
        "cpu_us": 0.5,
        "per_s": 2.5,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "max_ms": 4.0,
    }


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "printed 0 lines"),
        ("{}\n{}\n", "printed 2 lines"),
        ("{", "cannot be read"),
        ("null", "cannot be read"),
        ('{"mode":"fanout"}', "cannot be read"),
        ('{"mode":"fanout","seconds":"2"}', "cannot be read"),
    ],
)
def test_output_that_is_no_result_is_a_failure_with_its_reason(output: str, reason: str) -> None:
    found = read_result(output)

    assert isinstance(found, Failed)
    assert reason in found.reason


def test_result_survives_being_written_and_read() -> None:
    assert read_result(msgspec.json.encode(result()).decode()) == result()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([3.0], Spread(3.0, 3.0, 3.0, 1)),
        ([5.0, 1.0, 3.0], Spread(3.0, 1.0, 5.0, 3)),
        ([4.0, 1.0, 2.0, 8.0], Spread(3.0, 1.0, 8.0, 4)),
    ],
)
def test_spread_is_median_and_range(values: list[float], expected: Spread | None) -> None:
    assert spread(values) == expected


@pytest.mark.parametrize(("share", "marked"), [(0.95, False), (0.951, True), (None, False)])
def test_generator_above_its_limit_marks_a_run(share: float | None, marked: bool) -> None:
    """At the limit it does not yet."""
    assert saturated(Result(mode="fanout", seconds=1.0, generator_cpu=share)) is marked


def test_everything_that_went_wrong_with_deliveries_counts_but_not_what_came_late() -> None:
    wrong = Result(
        mode="fanout", seconds=1.0, lost=1, gaps=2, duplicates=4, errors=8, closed=16, unacknowledged=32, late=64
    )

    assert undelivered(wrong) == 63
    assert undelivered(Result(mode="fanout", seconds=1.0, late=32)) == 0


def test_memory_of_a_connection_is_growth_by_number() -> None:
    idle = Result(mode="idle", seconds=2.0, connections=100, rss_before_kib=1000, rss_after_kib=1250)

    assert FIGURES["kib_each"].of(idle) == 2.5
    assert FIGURES["memory_mib"].of(idle) == pytest.approx(1250 / 1024)


def test_run_without_a_figure_has_none_rather_than_zero() -> None:
    """Neither what a mode does not tell, nor percentiles of nothing."""
    bare = Result(mode="idle", seconds=2.0, latency_us=Latency())

    assert {name for name, figure in FIGURES.items() if figure.of(bare) is None} == FIGURES.keys() - {
        "seconds",
        "undelivered",
    }
