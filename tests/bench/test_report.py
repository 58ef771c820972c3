"""Tables show every figure, every failure and every goal, and the page keeps what was written by hand."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench.__main__ import judged
from bench.figures import Failed, Outcome
from bench.goals import Goal, Verdict, judge
from bench.installation import Available, Missing
from bench.report import BEGIN, END, Header, disturbance, goal_table, lines, markdown, page, shown, table, write
from bench.rounds import Measured
from bench.workloads import HUBWIRE, NATS, WORKLOADS, WS, quick
from outcomes import result

ROOT = Path(__file__).parent.parent.parent
BURSTS = next(workload for workload in WORKLOADS if workload.name == "bursts")
HEADER = Header(
    command="make bench",
    date="2030-01-02 03:04 UTC",
    commit="abc",
    seed=7,
    machine=[("processor", "A"), ("cores", "2")],
)


def measured(*rounds: Mapping[str, Outcome], absent: dict[str, str] | None = None) -> Measured:
    return Measured(BURSTS, rounds, absent or {})


def row(found: Measured, label: str) -> dict[str, str]:
    """A row of a workload's table by the heads of its columns."""
    head, *rows = table(found)
    [cells] = [cells for cells in rows if cells[0] == label]
    return dict(zip(head, cells, strict=True))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (0.2034, "0.203"),
        (0.9996, "1.00"),
        (1.234, "1.23"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (99.96, "100"),
        (1234, "1,234"),
        (9999.4, "9,999"),
        (9999.6, "10.0 k"),
        (12_345, "12.3 k"),
        (99_949, "99.9 k"),
        (99_951, "100 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (4_530_000, "4.53 M"),
        (-0.5, "-0.500"),
    ],
)
def test_numbers_have_about_three_digits(value: float, text: str) -> None:
    assert shown(value) == text


def test_cell_is_median_with_range_in_brackets() -> None:
    cells = row(measured(*({HUBWIRE: result(cpu_us=value, p99_us=7000)} for value in (0.5, 0.25, 2.0))), HUBWIRE)

    assert cells["CPU µs per delivery"] == "0.500 [0.250–2.00]"
    assert cells["p99 ms"] == "7.00 [7.00–7.00]"
    assert cells["notes"] == ""


def test_cell_of_a_single_round_has_no_range() -> None:
    assert row(measured({HUBWIRE: result(cpu_us=0.5)}), HUBWIRE)["CPU µs per delivery"] == "0.500"


def test_busy_generator_marks_the_throughput_and_nothing_else() -> None:
    """One round is enough: the median may be of that one."""
    cells = row(measured({HUBWIRE: result()}, {HUBWIRE: result(generator_cpu=0.99)}), HUBWIRE)

    assert cells["deliveries/s"] == "1,000 * [1,000–1,000]"
    assert "*" not in cells["CPU µs per delivery"]


def test_figure_that_nobody_has_is_a_dash() -> None:
    cells = row(measured({HUBWIRE: result(p99_us=None)}), HUBWIRE)

    assert (cells["p50 ms"], cells["memory MiB"]) == ("–", "–")


def test_everything_that_went_wrong_is_in_the_notes() -> None:
    """Lost deliveries and failed rounds, beside the figures of the others."""
    unanswered = replace(result(lost=4), unacknowledged=2)
    cells = row(measured({WS: result(lost=3)}, {WS: unanswered}, {WS: Failed("load: timeout")}), WS)

    assert cells["notes"] == "1 of 3 failed: load: timeout; lost: 7 (0.4%); unacknowledged: 2"
    assert cells["CPU µs per delivery"] == "1.00 [1.00–1.00]"


def test_run_that_others_disturbed_is_told_with_its_row_and_above_all() -> None:
    """A tenth of the cores is what one may use."""
    one = measured({HUBWIRE: result(others_cpu=0.1)}, {HUBWIRE: result(others_cpu=0.456)}, {HUBWIRE: result()})
    warning = "Other processes used more than 10% of the cores in 1 of 3 runs."

    assert row(one, HUBWIRE)["notes"] == "disturbed in 1 of 3: others used up to 46%"
    assert disturbance([one]).startswith(warning)
    assert f"**{warning}" in page(HEADER, {}, [one], [])


def test_quiet_machine_is_no_matter_for_words() -> None:
    assert disturbance([measured({HUBWIRE: result(others_cpu=0.1), WS: Failed("refused")})]) == ""


def test_who_was_not_there_has_a_row_with_the_reason() -> None:
    cells = row(measured({HUBWIRE: result()}, absent={NATS: "no Go"}), NATS)

    assert cells["notes"] == "no Go"
    assert set(cells.values()) == {NATS, "–", "no Go"}


def test_goals_show_what_was_found_and_the_verdict_loudly_unless_reached() -> None:
    ratio = Goal(workload="bursts", figure="cpu_us", how="at most", limit=1 / 12, against=WS, fraction=12)
    everything = Goal(workload="bursts", figure="undelivered", how="at most", limit=0, worst=True)
    rounds: list[dict[str, Outcome]] = [{HUBWIRE: result(1.0, lost=2), WS: result(value)} for value in (20.0, 10.0)]
    verdicts = [judge(ratio, rounds, {}), judge(everything, rounds, {}), Verdict(ratio, "not measured", reason="no Go")]

    assert goal_table(verdicts)[1:] == [
        ["bursts", "CPU µs ≤ 1/12 × ws", "1/13.3 [1/20.0–1/10.0]", "reached", ""],
        ["bursts", "everything delivered", "at most 2 missing", "MISSED", ""],
        ["bursts", "CPU µs ≤ 1/12 × ws", "–", "NOT MEASURED", "no Go"],
    ]


def test_only_goals_of_rows_that_were_run_are_judged() -> None:
    """Where one asked for some rows; a goal of such a row is judged even if a peer is missing."""
    verdicts = judged([measured({HUBWIRE: result(), WS: result()}, absent={NATS: "no Go", "centrifugo": "no Go"})])

    assert [(verdict.goal.against, verdict.state) for verdict in verdicts] == [
        (NATS, "not measured"),
        (WS, "missed"),
        ("centrifugo", "not measured"),
    ]


def test_column_is_named_after_what_is_counted() -> None:
    heads = {one.name: table(Measured(one, (), {}))[0][1:3] for one in WORKLOADS}

    assert heads["events"] == ["CPU µs per event", "events/s"]
    assert heads["mqtt-publishers"] == ["CPU µs per publication", "publications/s"]


def test_terminal_table_is_aligned() -> None:
    assert lines([["server", "a", "notes"], ["x", "1.5", "why"], ["longer", "10", ""]]) == [
        "server    a  notes",
        "x       1.5  why",
        "longer   10",
    ]


def test_page_table_escapes_what_would_break_it() -> None:
    assert markdown([["a", "b"], ["x|y", ""]]) == ["| a | b |", "|---|---|", "| x\\|y |  |"]


def test_page_tells_how_where_and_what() -> None:
    one = measured({HUBWIRE: result(cpu_us=0.5)}, absent={NATS: "no Go"})
    text = page(HEADER, {HUBWIRE: Available((), "9.9"), NATS: Missing("no Go")}, [one], judged([one]))

    for expected in (
        "Measured on 2030-01-02 03:04 UTC with `make bench` at commit abc; order of the rounds from seed 7.",
        "| processor | A |",
        "| Hubwire (`hubwire`) | 9.9 |",
        "| NATS server (`nats`) | not measured: no Go |",
        "0 of 3 reached.",
        "| bursts | CPU µs ≤ 0.65 × nats | – | NOT MEASURED | nats: no Go |",
        f"### {BURSTS.title}",
        "`bursts`. ",
        "4 rounds, 1.5 s each.",
        "| hubwire | 0.500 |",
    ):
        assert expected in text


def test_short_run_says_that_it_was_one() -> None:
    [short] = [workload for workload in quick(WORKLOADS) if workload.name == "bursts"]

    assert "1 round, 1 s each." in page(HEADER, {}, [Measured(short, ({},), {})], [])


def test_page_keeps_what_stands_around_the_markers(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"before\n\n{BEGIN}\n\nold\n\n{END}\n\nafter\n", encoding="utf-8")
    write(path, "new\n")
    write(path, "newer\n")

    assert path.read_text(encoding="utf-8") == f"before\n\n{BEGIN}\n\nnewer\n\n{END}\n\nafter\n"


@pytest.mark.parametrize("before", [None, "", f"{BEGIN} without an end", f"{END} before {BEGIN}"])
def test_file_without_both_markers_becomes_the_report(before: str | None, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    if before is not None:
        path.write_text(before, encoding="utf-8")
    write(path, "new\n")

    assert path.read_text(encoding="utf-8") == "new\n"


def test_our_page_has_the_markers() -> None:
    head, _, rest = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8").partition(BEGIN)
    _, end, _ = rest.partition(END)

    assert "## Results" in head
    assert end
