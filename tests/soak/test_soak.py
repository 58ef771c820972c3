"""The soak itself: a short one leaves nothing behind, and what would be a leak is called one."""

from pathlib import Path

import pytest

from acceptance.servers import Server
from soak.inspected import program
from soak.run import Plan, run
from soak.samples import Inspection, Sample, growth, leaks, left_behind, swing

SHORT = Plan(seconds=10, warm_up_s=2, cpu_percent=50, population=40, seed=7, rate=150, slow_every_s=3)


def sample(at_s: float = 0, rss_bytes: int = 100, *, descriptors: int = 10, **kinds: int) -> Sample:
    inspection = Inspection(objects=1000, tasks=1, hubs=0, groups=0, users=0, kinds=kinds)
    return Sample(at_s, rss_bytes, descriptors, 2, 0.0, 0, 0, 0, 0, inspection)


async def test_nothing_is_left_of_many_clients_of_all_kinds(tmp_path: Path) -> None:
    """No task, descriptor, connection, group, user or permission; and nothing happened that should not."""
    look = tmp_path / "inspection.json"
    settings = ("--set", "recovery_s=3", "--set", "client_buffer_bytes=65536", "--set", "reliable_queue_bytes=65536")
    server = Server(tmp_path, *settings, program=program(look))
    try:
        seen: list[Sample] = []
        report = await run(SHORT, server, look, seen.append)
        server.stop()
    finally:
        server.end()

    assert list(leaks(report.before, report.samples, report.after, report.churn.faults, None)) == []
    # It would be no wonder if nothing had been there.
    done = report.churn.done
    assert all(
        done[step] for step in ("arrive_or_leave", "come_back", "join", "publish", "rest_permission", "stranger")
    )
    assert done["slow_client_dropped"] == done["slow_client"] > 0
    assert report.churn.received > 100
    assert max(one.connections for one in seen) > 20
    assert max(one.retained for one in seen) > 0
    assert max(one.inspection.groups for one in seen) > 20
    assert max(one.inspection.users for one in seen) > 10
    assert max(one.inspection.kinds.get("hubwire.model.permissions.Permissions", 0) for one in seen) > 20


@pytest.mark.parametrize(
    ("after", "line"),
    [
        (sample(descriptors=11), "descriptors: 10 -> 11"),
        (sample(Connection=1), "Connection: 0 -> 1"),
    ],
)
def test_what_is_left_behind_is_named(after: Sample, line: str) -> None:
    assert left_behind(sample(), after) == [line]
    assert list(leaks(sample(), [], after, {}, None)) == [f"left behind: {line}"]


def test_what_is_remembered_for_the_next_caller_is_no_leak() -> None:
    """Values of caches, which have bounds of their own; and what there was before, or less of it."""
    assert left_behind(sample(Connection=2), sample(Connection=1, **{"hubwire.model.filters.Filter": 5})) == []


def test_growth_compares_the_medians_of_the_first_and_the_last_sixth() -> None:
    """So a moment in which much was held counts for nothing, and the middle does not count at all."""
    samples = (
        [sample(float(at), 100) for at in range(7)] + [sample(7, 900)] + [sample(float(at), 100) for at in range(8, 61)]
    )
    samples += [sample(61, 5000)]
    assert growth(samples) == 0

    grown = [sample(float(at), 1000 + at) for at in range(61)]
    assert growth(grown) == pytest.approx(1055 / 1005 - 1)


def test_swing_compares_the_load_of_the_same_two_times() -> None:
    """In deliveries a second."""
    steady = [sample(at)._replace(delivered=100 * at) for at in range(61)]
    busier = [sample(at)._replace(delivered=100 * at + max(0, at - 40) * 50) for at in range(61)]

    assert swing(steady) == pytest.approx(0)
    assert swing(busier) == pytest.approx(0.5)


def test_growth_of_two_percent_fails() -> None:
    before = sample()
    assert list(leaks(before, [sample(0, 1000), sample(60, 1019)], before, {}, 0.02)) == []
    assert len(list(leaks(before, [sample(0, 1000), sample(60, 1020)], before, {}, 0.02))) == 1


def test_what_clients_saw_that_should_not_have_been_fails() -> None:
    assert list(leaks(sample(), [], sample(), {"answered 500": 2}, None)) == ["2 x answered 500"]
