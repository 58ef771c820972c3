"""What was measured, as text: aligned for a terminal, and as the generated part of the page on performance."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.figures import DISTURBED, FIGURES, Failed, Outcome, Result, Spread, disturbed, saturated, spread
from bench.goals import Verdict
from bench.installation import Available, Installed
from bench.rounds import Measured
from bench.servers import SERVERS
from bench.workloads import Workload

__all__ = ["Header", "disturbance", "goal_table", "lines", "markdown", "page", "shown", "table", "write"]

BEGIN: Final = "<!-- measured: from here on written by `make bench` -->"
END: Final = "<!-- measured: up to here -->"

Table = list[list[str]]
"""Rows of cells, the head first."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """
    How, when and where it was measured.

    Attributes:
        command: that repeats it.
        date: ISO 8601, to the minute, in UTC.
        commit: of the source tree.
        seed: of the order in rounds.
        machine: pairs of what and which.
    """

    command: str
    date: str
    commit: str
    seed: int
    machine: Sequence[tuple[str, str]]


# Numbers.


def shown(value: float) -> str:
    """A number with about three digits."""
    size = abs(value)
    if size >= 999_500:
        return f"{value / 1e6:.2f} M"
    if size >= 99_950:
        return f"{value / 1e3:.0f} k"
    if size >= 9_999.5:
        return f"{value / 1e3:.1f} k"
    if size >= 99.95:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.9995 or not size else f"{value:.3f}"


def _cell(found: Spread | None, mark: str = "") -> str:
    """Median, and the range if there is one."""
    if found is None:
        return "–"
    if found.count == 1:
        return f"{shown(found.median)}{mark}"
    return f"{shown(found.median)}{mark} [{shown(found.low)}–{shown(found.high)}]"


# One workload.


def table(measured: Measured) -> Table:
    """A row for each candidate, in the order of the table of workloads; also for those that were not there."""
    workload = measured.workload
    rows = [["server", *(_head(name, workload) for name in workload.columns), "notes"]]
    for candidate in workload.candidates:
        label = candidate.label
        outcomes = [outcomes[label] for outcomes in measured.rounds if label in outcomes]
        notes = [measured.absent[label]] if label in measured.absent else _notes(outcomes)
        rows.append([label, *(_figure(name, outcomes) for name in workload.columns), "; ".join(notes)])
    return rows


def _head(name: str, workload: Workload) -> str:
    plural = {
        "delivery": "deliveries",
        "call": "calls",
        "publication": "publications",
        "handshake": "handshakes",
        "event": "events",
    }
    if name == "cpu_us":
        return f"CPU µs per {workload.per}"
    if name == "per_s":
        return f"{plural.get(workload.per, workload.per)}/s"
    return FIGURES[name].head


def _figure(name: str, outcomes: Sequence[Outcome]) -> str:
    figure = FIGURES[name]
    results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    values = [value for value in map(figure.of, results) if value is not None]
    return _cell(spread(values), " *" if figure.throughput and any(map(saturated, results)) else "")


def _notes(outcomes: Sequence[Outcome]) -> list[str]:
    """Whatever did not go well, over all rounds."""
    results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    failures = [outcome.reason for outcome in outcomes if isinstance(outcome, Failed)]
    notes = [f"{len(failures)} of {len(outcomes)} failed: {failures[0]}"] if failures else []
    expected = sum(result.expected for result in results)
    for what in ("lost", "unacknowledged", "late", "gaps", "duplicates", "errors", "closed", "retries"):
        count = sum(getattr(result, what) for result in results)
        if count:
            share = f" ({count / expected:.1%})" if expected and what in {"lost", "late"} else ""
            notes.append(f"{what}: {count:,}{share}")
    shares = [result.others_cpu for result in results if disturbed(result) and result.others_cpu is not None]
    if shares:
        notes.append(f"disturbed in {len(shares)} of {len(outcomes)}: others used up to {max(shares):.0%}")
    return notes


def disturbance(measured: Sequence[Measured]) -> str:
    """A warning if much of it may be others' doing, else nothing."""
    results = [
        outcome
        for one in measured
        for outcomes in one.rounds
        for outcome in outcomes.values()
        if isinstance(outcome, Result)
    ]
    count = sum(map(disturbed, results))
    if not count:
        return ""
    return (
        f"Other processes used more than {DISTURBED:.0%} of the cores in {count} of {len(results)} runs. What such "
        "runs say is not worth much, verdicts included: measure again when the machine is quiet."
    )


# Goals.


def goal_table(verdicts: Sequence[Verdict]) -> Table:
    """A row for each goal."""
    rows = [["workload", "goal", "found", "verdict", "notes"]]
    for verdict in verdicts:
        goal = verdict.goal
        found = verdict.found
        if goal.figure == "undelivered" and found is not None:
            text = f"at most {found.high:,.0f} missing"
        elif goal.fraction and found is not None:
            text = f"1/{1 / found.median:.1f}" + (
                "" if found.count == 1 else f" [1/{1 / found.low:.1f}–1/{1 / found.high:.1f}]"
            )
        else:
            text = _cell(found)
        state = verdict.state if verdict.state == "reached" else verdict.state.upper()
        rows.append([goal.workload, str(goal), text, state, verdict.reason])
    return rows


# Tables as text.


def lines(rows: Table) -> list[str]:
    """Aligned columns for a terminal; numbers end below one another, the first column and the notes begin so."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    last = len(widths) - 1
    return [
        "  ".join(
            cell.ljust(width) if column in {0, last} else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def markdown(rows: Table) -> list[str]:
    """The same as a table of a page."""
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in body)]


# The page.


def page(
    header: Header,
    installed: dict[str, Installed],
    measured: Sequence[Measured],
    verdicts: Sequence[Verdict],
) -> str:
    """The generated part of the page on performance."""
    reached = sum(verdict.state == "reached" for verdict in verdicts)
    text = [
        f"Measured on {header.date} with `{header.command}` at commit {header.commit}; order of the rounds from seed "
        f"{header.seed}.",
        *(["", f"**{warning}**"] if (warning := disturbance(measured)) else []),
        "",
        *markdown([["machine", ""], *([what, which] for what, which in header.machine)]),
        "",
        *markdown([["server", "version", "settings that differ from its defaults"], *_server_rows(installed)]),
        "",
        "### Goals",
        "",
        f"{reached} of {len(verdicts)} reached.",
        "",
        *markdown(goal_table(verdicts)),
    ]
    for one in measured:
        rounds = f"{one.workload.rounds} round{'s' if one.workload.rounds > 1 else ''}"
        time = f", {one.workload.duration_s:g} s each" if one.workload.duration_s else ""
        text += ["", f"### {one.workload.title}", "", f"`{one.workload.name}`. {one.workload.measures} {rounds}{time}."]
        text += ["", *markdown(table(one))]
    return "\n".join(text) + "\n"


def _server_rows(installed: dict[str, Installed]) -> Table:
    return [
        [
            f"{SERVERS[name].title} (`{name}`)",
            there.version if isinstance(there, Available) else f"not measured: {there.reason}",
            SERVERS[name].settings,
        ]
        for name, there in installed.items()
    ]


def write(path: Path, generated: str) -> None:
    """Put the generated part into a page, between its markers; a file without them becomes the generated part alone."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if begin and end:
        path.write_text(f"{head}{BEGIN}\n\n{generated}\n{END}{tail}", encoding="utf-8")
    else:
        path.write_text(generated, encoding="utf-8")
