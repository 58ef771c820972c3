"""
What is to be reached, as a table, and the judgement over the rounds.

A goal against a peer is a ratio that is taken within each round, since both were measured in the same minutes; the
median of the ratios is judged. A goal without one is judged by the median of its figure. Only what must never happen
(something undelivered) is judged by the worst round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bench.figures import FIGURES, Failed, Outcome, Result, Spread, spread

__all__ = ["GOALS", "Goal", "Round", "Verdict", "judge"]

Round = Mapping[str, Outcome]
"""What the candidates of a workload brought in one round, by label. Whoever was not there is not in it."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """
    Attributes:
        workload: name of the row that it belongs to.
        figure: key of `FIGURES`.
        how: `at most` and `at least` include the limit, `below` does not.
        against: label of the candidate whose figure is the unit; empty if the limit is absolute.
        label: of the candidate that is judged.
        worst: the worst round counts, and a round of ours that failed is a miss; else the median counts.
        fraction: 25 to show the limit as 1/25; 0 to show it as it is.
    """

    workload: str
    figure: str
    how: Literal["at most", "at least", "below"]
    limit: float
    against: str = ""
    label: str = "hubwire"
    worst: bool = False
    fraction: int = 0

    def __str__(self) -> str:
        """Short, as it stands in tables."""
        if self.figure == "undelivered":
            return "everything delivered"
        limit = f"1/{self.fraction}" if self.fraction else f"{self.limit:,.10g}"
        sign = {"at most": "≤", "at least": "≥", "below": "<"}[self.how]
        return f"{FIGURES[self.figure].head} {sign} {limit}" + (f" × {self.against}" if self.against else "")


@dataclass(frozen=True)
class Verdict:
    """
    Attributes:
        state: `not measured` says nothing about the goal; `reason` says why it could not be judged.
        found: what was judged, over the rounds.
        reason: also tells of rounds that are missing from `found`.
    """

    goal: Goal
    state: Literal["reached", "missed", "not measured"]
    found: Spread | None = None
    reason: str = ""


def _share(workload: str, against: str, divisor: int) -> Goal:
    return Goal(workload=workload, figure="cpu_us", how="at most", limit=1 / divisor, against=against, fraction=divisor)


def _ratio(workload: str, against: str, limit: float, label: str = "hubwire") -> Goal:
    return Goal(workload=workload, figure="cpu_us", how="at most", limit=limit, against=against, label=label)


def _delivered(workload: str) -> Goal:
    return Goal(workload=workload, figure="undelivered", how="at most", limit=0, worst=True)


def _within(workload: str, figure: str, limit: float) -> Goal:
    return Goal(workload=workload, figure=figure, how="at most", limit=limit)


def _as_fast_with_many_users(workload: str) -> Goal:
    return Goal(
        workload=workload,
        figure="p50_ms",
        how="at most",
        limit=1.2,
        against="hubwire",
        label="hubwire, many users",
    )


def _as_fast_as(workload: str, label: str, against: str) -> Goal:
    return Goal(workload=workload, figure="per_s", how="at least", limit=0.9, against=against, label=label)


GOALS: Final = (
    _ratio("paced", "floor", 1.25),
    _ratio("bursts", "nats", 0.65),
    _share("bursts", "ws", 12),
    Goal(workload="bursts", figure="cpu_us", how="below", limit=1, against="centrifugo"),
    Goal(workload="saturated", figure="per_s", how="at least", limit=2_500_000),
    _ratio("saturated", "nats", 0.75),
    _share("saturated", "ws", 25),
    _share("saturated", "socketio", 25),
    _delivered("offered"),
    _within("offered", "p99_ms", 40),
    _delivered("2kib"),
    _within("2kib", "p99_ms", 100),
    _ratio("reliable", "hubwire plain", 4, "hubwire reliable"),
    _as_fast_as("protobuf", "hubwire protobuf", "hubwire JSON"),
    _as_fast_as("protobuf", "hubwire reliable protobuf", "hubwire reliable JSON"),
    _ratio("16kib", "ws", 0.4),
    _ratio("tls", "hubwire plain", 3, "hubwire TLS"),
    _ratio("echo-100", "ws", 0.8),
    _ratio("echo-500", "ws", 0.8),
    Goal(workload="events", figure="per_s", how="at least", limit=500),
    _delivered("events"),
    _ratio("events", "centrifugo", 3),
    _ratio("handshake", "ws", 0.5),
    _within("idle", "kib_each", 5),
    Goal(workload="tls-idle", figure="kib_each", how="at most", limit=35, label="hubwire TLS"),
    Goal(workload="rest", figure="per_s", how="at least", limit=1500),
    _delivered("rest"),
    _within("disconnect", "max_ms", 100),
    _within("connect", "max_ms", 100),
    _ratio("mqtt-paced", "floor", 1.3),
    _ratio("mqtt-saturated", "nats-mqtt", 0.75),
    _ratio("mqtt-qos1-paced", "floor", 1.3),
    _ratio("mqtt-qos1-paced", "mochi", 1),
    _ratio("mqtt-qos1-saturated", "nats-mqtt", 1),
    _ratio("mqtt-qos1-saturated", "mochi", 1),
    _delivered("mqtt-qos1-saturated"),
    _ratio("mqtt-publishers", "nats-mqtt", 1),
    _ratio("mqtt-publishers", "mochi", 1),
    _delivered("mqtt-publishers"),
    Goal(workload="mqtt-durable", figure="per_s", how="at least", limit=5000),
    _delivered("mqtt-durable"),
    Goal(workload="mqtt-durable", figure="per_s", how="at least", limit=5000, label="hubwire, away"),
    _as_fast_with_many_users("identity-get"),
    _ratio("identity-issue", "signature", 2),
    _as_fast_with_many_users("identity-issue"),
    _as_fast_with_many_users("identity-introspect"),
    _as_fast_with_many_users("identity-create"),
)
"""In the order of the table of workloads."""


def judge(goal: Goal, rounds: Sequence[Round], absent: Mapping[str, str]) -> Verdict:
    """
    Hold what was measured against a goal.

    Args:
        rounds: of the goal's workload; none if it was left out.
        absent: reason by label, for candidates that were not there at all.
    """
    for label in (goal.label, goal.against):
        if label in absent:
            return Verdict(goal, "not measured", reason=f"{label}: {absent[label]}")
    if not rounds:
        return Verdict(goal, "not measured", reason="this workload was not run")
    values, reasons = _values(goal, rounds)
    found = spread(values)
    failed = [reason for label, reason in reasons if label == goal.label]
    if goal.worst and failed:
        return Verdict(goal, "missed", found, failed[0])
    if found is None:
        return Verdict(goal, "not measured", reason=reasons[0][1])
    value = found.high if goal.worst else found.median
    reached = {"at most": value <= goal.limit, "at least": value >= goal.limit, "below": value < goal.limit}[goal.how]
    note = f"{len(reasons)} of {len(rounds)} rounds without: {reasons[0][1]}" if reasons else ""
    return Verdict(goal, "reached" if reached else "missed", found, note)


def _values(goal: Goal, rounds: Sequence[Round]) -> tuple[list[float], list[tuple[str, str]]]:
    """What each round says, and for each round that says nothing whose fault it is and why."""
    values, reasons = [], []
    for outcomes in rounds:
        found = [_value(goal.figure, label, outcomes) for label in (goal.label, goal.against) if label]
        faults = [(label, reason) for label, reason in found if isinstance(reason, str)]
        numbers = [number for _, number in found if isinstance(number, float)]
        if faults:
            reasons.append(faults[0])
        else:
            values.append(numbers[0] / numbers[1] if goal.against else numbers[0])
    return values, reasons


def _value(figure: str, label: str, outcomes: Round) -> tuple[str, float | str]:
    """A figure of a candidate, or why there is none."""
    outcome = outcomes.get(label, Failed("it was not run"))
    if not isinstance(outcome, Result):
        return label, f"{label}: {outcome.reason}"
    value = FIGURES[figure].of(outcome)
    if value is None:
        return label, f"{label}: this run has no such figure"
    if not value and figure != "undelivered":
        return label, f"{label}: the figure is 0, so nothing was measured"
    return label, float(value)
