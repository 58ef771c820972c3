from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubwire.resources.expressions import (
    MAX_LENGTH,
    Access,
    Budget,
    Call,
    Function,
    Literal,
    Node,
    Scope,
    Step,
    evaluate,
    is_expression,
    parse,
    plain,
)
from hubwire.resources.template_context import Environment, Target
from hubwire.resources.template_faults import TemplateFault
from hubwire.resources.template_values import Unfit

ENVIRONMENT = Environment("t", "s", "n", "g", "l", {}, "d", "2026-01-01T00:00:00Z", str, "e")


def call(name: str, *arguments: Node) -> Call:
    return Call(name, arguments)


def unknown(_: str) -> Any:
    raise TemplateFault("unknown")


def refusing(*_: Any) -> Any:
    raise Unfit("it never does.")


VALUE = {"Name": {"inner": [10, 20, {"x": None}]}, "a b": 1, "name2": "x"}
FUNCTIONS = {
    "value": plain(lambda: VALUE, 0, 0, passes=True),
    "sum": plain(lambda *numbers: sum(numbers), 1, None),
    "pair": plain(lambda left, right: [left, right], 2, 2),
    "first": Function(lambda scope, *nodes: evaluate(nodes[0], scope), 1, 2, lazy=True),
    "space.name": plain(lambda: "spaced", 0, 0),
    "list*": Function(lambda _, name, *given: [name, *given], 0, 1, named=True),
    "refusing": plain(refusing, 0, None),
    "odd": plain(object, 0, 0),
}


def run(text: str, budget: Budget | None = None) -> Any:
    scope = Scope(budget or Budget({}), FUNCTIONS, ENVIRONMENT, unknown, unknown, Target, lambda _: [])
    return evaluate(parse(text), scope)


def fault(work: Callable[[], object]) -> str:
    with pytest.raises(TemplateFault) as caught:
        work()
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a()]", True),
        ("[]", True),
        ("[", False),
        ("", False),
        ("a()", False),
        ("[a()", False),
        ("a()]", False),
        ("[[a()]", False),
        (" [a()]", False),
    ],
)
def test_expression_is_told_from_other_text(text: str, expected: bool) -> None:
    assert is_expression(text) is expected


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("['a']", Literal("a")),
        ("['it''s']", Literal("it's")),
        ("['''']", Literal("'")),
        ("['']", Literal("")),
        ("[ -12 ]", Literal(-12)),
        ("[9223372036854775807]", Literal(2**63 - 1)),
        ("[f()]", call("f")),
        ("[ f ( 1 , 'a' ) ]", call("f", Literal(1), Literal("a"))),
        ("[\r\n\tf(\n)\n]", call("f")),
        ("[f(g(), h(1))]", call("f", call("g"), call("h", Literal(1)))),
        ("[n.f()]", call("n.f")),
        ("[f().a]", Access(call("f"), (Step(Literal("a"), False),))),
        ("[f()['a'][0]]", Access(call("f"), (Step(Literal("a"), False), Step(Literal(0), False)))),
        ("[f().?a[?0]]", Access(call("f"), (Step(Literal("a"), True), Step(Literal(0), True)))),
        ("[f()[g().a]]", Access(call("f"), (Step(Access(call("g"), (Step(Literal("a"), False),)), False),))),
    ],
)
def test_expression_has_its_tree(text: str, tree: Node) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "[f]",
        "[f(]",
        "[f)]",
        "[f(,)]",
        "[f(1,)]",
        "[f(1 2)]",
        "[f()g()]",
        "[f().]",
        "[f().1]",
        "[f()[]]",
        "[f()[0]",
        "['a]",
        "['a'b']",
        "['a'.x]",
        "[1.5]",
        "[-]",
        "[1 + 2]",
        "[f.()]",
        "[.f()]",
        "[f()]]",
        "[true]",
        '["a"]',
        "[9223372036854775808]",
        "[-9223372036854775809]",
        f"[{'9' * 5000}]",
        "[é()]",
        "f()",
        "",
    ],
)
def test_text_that_is_no_expression_is_refused(text: str) -> None:
    assert "expression" in fault(lambda: parse(text))


def test_length_and_depth_of_an_expression_are_limited() -> None:
    assert parse(f"['{'x' * (MAX_LENGTH - 4)}']") == Literal("x" * (MAX_LENGTH - 4))
    assert "longer" in fault(lambda: parse(f"['{'x' * (MAX_LENGTH - 3)}']"))
    assert isinstance(parse(f"[{'f(' * 64}{')' * 64}]"), Call)
    assert "nested" in fault(lambda: parse(f"[{'f(' * 65}{')' * 65}]"))
    assert "nested" in fault(lambda: parse(f"[{'f()[' * 5000}]"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("['a']", "a"),
        ("[SUM(1, 2, sum(3))]", 6),
        ("[Space.Name()]", "spaced"),
        ("[value().Name.inner[1]]", 20),
        ("[value().NAME.INNER[0]]", 10),
        ("[value()['a b']]", 1),
        ("[value()['name'].inner[2].x]", None),
        ("[pair(1, 2)[sum(0, 1)]]", 2),
        ("[value().?absent]", None),
        ("[value().?absent.more[5]]", None),
        ("[value()[?'absent']]", None),
        ("[value().Name.inner[?7]]", None),
        ("[value().name2.?x]", None),
        ("[first(1, unknown())]", 1),
        ("[listThings('a')]", ["listThings", "a"]),
    ],
)
def test_expression_has_its_value(text: str, value: Any) -> None:
    assert run(text) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[frobnicate()]", "'frobnicate'"),
        ("[other.name()]", "'other.name'"),
        ("[list.name()]", "'list.name'"),
        ("[pair(1)]", "takes 2 arguments, but is given 1"),
        ("[sum()]", "takes at least 1 arguments, but is given 0"),
        ("[first()]", "takes 1 to 2 arguments, but is given 0"),
        ("[value().absent]", "available properties are 'Name, a b, name2'"),
        ("[value().Name.inner[3]]", "3 elements"),
        ("[value().Name.inner[-1]]", "3 elements"),
        ("[value().Name.inner.x]", "neither"),
        ("[value().Name[0]]", "neither"),
        ("[value()[pair(1, 2)]]", "neither"),
        ("[value().Name.inner[2].x.y]", "neither"),
        ("[refusing(1)]", "'refusing' cannot be evaluated: it never does."),
        ("[pair(odd(), 1)]", "lambda"),
    ],
)
def test_expression_without_a_value_says_why(text: str, said: str) -> None:
    assert said in fault(lambda: run(text))


def test_long_row_of_steps_does_not_nest() -> None:
    assert "doesn't exist" in fault(lambda: run(f"[value(){'.a' * 10_000}]"))


def test_tree_of_a_text_is_read_once() -> None:
    budget = Budget({})

    assert budget.tree("[f()]") is budget.tree("[f()]")
    assert budget.renewed().tree("[f()]") is budget.tree("[f()]")


def test_budget_is_used_up_by_what_is_made() -> None:
    budget = Budget({})

    for _ in range(30):
        budget.charge("x" * 1_000_000)
    assert "too large" in fault(lambda: budget.charge(["x" * 1_000_000] * 40))

    budget.renewed().charge("x" * 1_000_000)


def test_what_is_shared_in_a_value_counts_as_often_as_it_shows() -> None:
    value: Any = "x"
    for _ in range(60):
        value = [value, value]

    assert "too large" in fault(lambda: Budget({}).charge(value))


def test_value_that_is_too_deep_is_refused() -> None:
    value: Any = "x"
    for _ in range(101):
        value = {"x": value}

    assert "nested" in fault(lambda: Budget({}).charge(value))


_WORDS = st.sampled_from(["sum", "value", "first", "(", ")", "[", "]", ".", "?", "'", ",", "1", " ", "Name", "inner"])


@given(st.lists(_WORDS).map("".join) | st.text())
def test_any_text_has_a_value_or_is_refused(text: str) -> None:
    try:
        run(f"[{text}]")
    except TemplateFault as caught:
        said = caught.message
    else:
        said = "nothing"

    assert said
