"""Goals are judged by the median of each round's ratio, and nothing that was not measured passes."""

import pytest

from bench.figures import Failed, Outcome, Spread
from bench.goals import GOALS, Goal, judge
from bench.workloads import WORKLOADS
from outcomes import result

RATIO = Goal(workload="bursts", figure="cpu_us", how="at most", limit=0.65, against="nats")
RATE = Goal(workload="saturated", figure="per_s", how="at least", limit=1000)
ALL = Goal(workload="offered", figure="undelivered", how="at most", limit=0, worst=True)


def pair(ours: Outcome, theirs: Outcome) -> dict[str, Outcome]:
    return {"hubwire": ours, "nats": theirs}


def test_ratio_is_taken_within_each_round_and_its_median_judged() -> None:
    """In a slow round both are slow. The ratio of the medians would be 1.0 here, and say nothing."""
    rounds = [pair(result(5.0), result(10.0)), pair(result(1.0), result(2.0)), pair(result(2.0), result(1.0))]
    verdict = judge(RATIO, rounds, {})

    assert verdict.state == "reached"
    assert verdict.found == Spread(0.5, 0.5, 2.0, 3)
    assert verdict.reason == ""


@pytest.mark.parametrize(
    ("how", "value", "state"),
    [
        ("at most", 1.0, "reached"),
        ("at most", 1.01, "missed"),
        ("at least", 1.0, "reached"),
        ("at least", 0.99, "missed"),
        ("below", 0.99, "reached"),
        ("below", 1.0, "missed"),
    ],
)
def test_limit_belongs_to_a_goal_unless_it_is_to_stay_below(how: str, value: float, state: str) -> None:
    goal = {
        "at most": Goal(workload="w", figure="cpu_us", how="at most", limit=1, against="nats"),
        "at least": Goal(workload="w", figure="cpu_us", how="at least", limit=1, against="nats"),
        "below": Goal(workload="w", figure="cpu_us", how="below", limit=1, against="nats"),
    }[how]

    assert judge(goal, [pair(result(value), result(1.0))], {}).state == state


def test_goal_without_a_peer_is_judged_by_the_median() -> None:
    rounds: list[dict[str, Outcome]] = [{"hubwire": result(per_s=rate)} for rate in (900.0, 1000.0, 5000.0)]

    assert judge(RATE, rounds, {}).state == "reached"
    assert judge(RATE, rounds[:2], {}).state == "missed"


def test_one_round_with_something_lost_is_a_miss() -> None:
    """What must never happen is not a matter of medians."""
    good: list[dict[str, Outcome]] = [{"hubwire": result()}] * 4
    verdict = judge(ALL, [*good, {"hubwire": result(lost=1)}], {})

    assert judge(ALL, good, {}).state == "reached"
    assert verdict.state == "missed"
    assert verdict.found == Spread(0.0, 0.0, 1.0, 5)


def test_our_failed_round_is_a_miss_where_everything_has_to_be_delivered() -> None:
    verdict = judge(ALL, [{"hubwire": result()}, {"hubwire": Failed("timeout")}], {})

    assert (verdict.state, verdict.reason) == ("missed", "hubwire: timeout")


def test_round_in_which_one_side_failed_does_not_count_and_is_told() -> None:
    rounds = [pair(result(1.0), result(2.0)), pair(result(9.0), Failed("refused"))]
    verdict = judge(RATIO, rounds, {})

    assert (verdict.state, verdict.found) == ("reached", Spread(0.5, 0.5, 0.5, 1))
    assert verdict.reason == "1 of 2 rounds without: nats: refused"


@pytest.mark.parametrize(
    ("rounds", "absent", "reason"),
    [
        ([], {}, "this workload was not run"),
        ([], {"nats": "no Go"}, "nats: no Go"),
        ([{"hubwire": result()}], {"nats": "no Go"}, "nats: no Go"),
        ([{"hubwire": result()}], {}, "nats: it was not run"),
        ([pair(result(), Failed("refused"))], {}, "nats: refused"),
        ([pair(Failed("refused"), result())], {}, "hubwire: refused"),
        ([pair(result(cpu_us=None), result())], {}, "hubwire: this run has no such figure"),
        ([pair(result(cpu_us=0.0), result())], {}, "hubwire: the figure is 0, so nothing was measured"),
        ([pair(result(), result(cpu_us=0.0))], {}, "nats: the figure is 0, so nothing was measured"),
    ],
)
def test_what_was_not_measured_is_never_reached(
    rounds: list[dict[str, Outcome]], absent: dict[str, str], reason: str
) -> None:
    verdict = judge(RATIO, rounds, absent)

    assert (verdict.state, verdict.reason) == ("not measured", reason)


def test_absent_server_of_ours_leaves_even_the_strictest_goal_unmeasured() -> None:
    assert judge(ALL, [], {"hubwire": "too few open files"}).state == "not measured"


def test_every_goal_speaks_of_a_workload_and_of_who_takes_part_in_it() -> None:
    labels = {workload.name: {candidate.label for candidate in workload.candidates} for workload in WORKLOADS}

    for goal in GOALS:
        assert goal.label in labels[goal.workload]
        assert not goal.against or goal.against in labels[goal.workload]


def test_goals_are_those_that_were_set() -> None:
    """Ratios and limits, word for word."""
    assert [f"{goal.workload}: {goal}" for goal in GOALS] == [
        "paced: CPU µs ≤ 1.25 × floor",
        "bursts: CPU µs ≤ 0.65 × nats",
        "bursts: CPU µs ≤ 1/12 × ws",
        "bursts: CPU µs < 1 × centrifugo",
        "saturated: per s ≥ 2,500,000",
        "saturated: CPU µs ≤ 0.75 × nats",
        "saturated: CPU µs ≤ 1/25 × ws",
        "saturated: CPU µs ≤ 1/25 × socketio",
        "offered: everything delivered",
        "offered: p99 ms ≤ 40",
        "2kib: everything delivered",
        "2kib: p99 ms ≤ 100",
        "reliable: CPU µs ≤ 4 × hubwire plain",
        "protobuf: per s ≥ 0.9 × hubwire JSON",
        "protobuf: per s ≥ 0.9 × hubwire reliable JSON",
        "16kib: CPU µs ≤ 0.4 × ws",
        "tls: CPU µs ≤ 3 × hubwire plain",
        "echo-100: CPU µs ≤ 0.8 × ws",
        "echo-500: CPU µs ≤ 0.8 × ws",
        "events: per s ≥ 500",
        "events: everything delivered",
        "events: CPU µs ≤ 3 × centrifugo",
        "handshake: CPU µs ≤ 0.5 × ws",
        "idle: KiB each ≤ 5",
        "tls-idle: KiB each ≤ 35",
        "rest: per s ≥ 1,500",
        "rest: everything delivered",
        "disconnect: max ms ≤ 100",
        "connect: max ms ≤ 100",
        "mqtt-paced: CPU µs ≤ 1.3 × floor",
        "mqtt-saturated: CPU µs ≤ 0.75 × nats-mqtt",
        "mqtt-qos1-paced: CPU µs ≤ 1.3 × floor",
        "mqtt-qos1-paced: CPU µs ≤ 1 × mochi",
        "mqtt-qos1-saturated: CPU µs ≤ 1 × nats-mqtt",
        "mqtt-qos1-saturated: CPU µs ≤ 1 × mochi",
        "mqtt-qos1-saturated: everything delivered",
        "mqtt-publishers: CPU µs ≤ 1 × nats-mqtt",
        "mqtt-publishers: CPU µs ≤ 1 × mochi",
        "mqtt-publishers: everything delivered",
        "mqtt-durable: per s ≥ 5,000",
        "mqtt-durable: everything delivered",
        "mqtt-durable: per s ≥ 5,000",
        "identity-get: p50 ms ≤ 1.2 × hubwire",
        "identity-issue: CPU µs ≤ 2 × signature",
        "identity-issue: p50 ms ≤ 1.2 × hubwire",
        "identity-introspect: p50 ms ≤ 1.2 × hubwire",
        "identity-create: p50 ms ≤ 1.2 × hubwire",
    ]
    assert [goal.limit for goal in GOALS if goal.fraction] == [1 / 12, 1 / 25, 1 / 25]
