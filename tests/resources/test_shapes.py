"""Pieces of ARM documents: names without case, values checked, faults that say what they are about."""

from collections.abc import Callable
from typing import Any

import pytest

from hubwire.model.errors import BadRequest
from hubwire.resources.shapes import (
    as_list,
    as_object,
    boolean,
    choice,
    choices,
    free,
    is_shallow,
    number,
    patched,
    spelled,
    text,
)


def fault(check: Callable[[], object]) -> BadRequest:
    with pytest.raises(BadRequest) as failed:
        check()
    return failed.value


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"x": value}
    return value


def test_known_names_are_respelled_and_unknown_ones_kept() -> None:
    given = {"HOSTNAME": 1, "Other": 2, "tls": 3}

    assert spelled(given, {"hostName": None, "tls": None, "more": None}) == {"hostName": 1, "Other": 2, "tls": 3}


def test_name_that_is_given_twice_is_named_with_its_place() -> None:
    error = fault(lambda: spelled({"tls": 1, "TLS": 2}, {"tls": None}, "properties."))

    assert (error.target, error.message) == ("properties.tls", "properties.tls is given twice.")


def test_unknown_names_that_differ_in_case_are_two() -> None:
    assert spelled({"x": 1, "X": 2}, {}) == {"x": 1, "X": 2}


def test_patch_replaces_what_it_names_takes_away_what_is_null_and_leaves_the_rest() -> None:
    old = {"tls": 1, "hostName": 2, "other": 3}

    assert patched(old, {"TLS": 4, "hostname": None}, {"tls": None, "hostName": None}) == {"tls": 4, "other": 3}
    assert old == {"tls": 1, "hostName": 2, "other": 3}


@pytest.mark.parametrize("patch", [None, [], "x"])
def test_patch_that_is_no_object_is_refused(patch: object) -> None:
    assert fault(lambda: patched({}, patch, {})).target == "properties"


def test_object_has_known_parts_checked_and_others_kept() -> None:
    given = {"FLAG": True, "other": {"deep": [None]}, "nothing": None}

    assert as_object("o", given, {"flag": boolean}) == {"flag": True, "other": {"deep": [None]}, "nothing": None}


def test_null_of_a_known_part_is_one_that_is_not_given() -> None:
    assert as_object("o", {"flag": None}, {"flag": boolean}) == {}


def test_fault_within_an_object_or_an_array_says_where() -> None:
    assert fault(lambda: as_object("o", {"flag": 1}, {"flag": boolean})).target == "o.flag"
    inner = fault(lambda: as_list("a", [{}, {"flag": 1}], lambda at, one: as_object(at, one, {"flag": boolean})))
    assert inner.target == "a[1].flag"


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_what_is_no_object_is_refused(value: object) -> None:
    assert fault(lambda: as_object("o", value, {})).message == "o must be an object."


@pytest.mark.parametrize("value", [None, {}, "x", 1, True, ("x",)])
def test_what_is_no_array_is_refused(value: object) -> None:
    assert fault(lambda: as_list("a", value, free)).message == "a must be an array."


def test_array_may_have_so_many_items_and_no_more() -> None:
    assert as_list("a", ["x"] * 3, text, 3) == ["x"] * 3
    assert fault(lambda: as_list("a", ["x"] * 4, text, 3)).message == "a may have 3 items."


@pytest.mark.parametrize("value", ["", " ", "\n\t", None, 1, True, [], {}])
def test_text_says_something(value: object) -> None:
    assert text("t", " x ") == " x "
    assert fault(lambda: text("t", value)).target == "t"


@pytest.mark.parametrize("value", [0, 1, "true", None, [], {}])
def test_boolean_is_nothing_but_one(value: object) -> None:
    assert (boolean("b", True), boolean("b", False)) == (True, False)
    assert fault(lambda: boolean("b", value)).message == "b must be true or false."


@pytest.mark.parametrize("value", [0, 4, 1.0, 2.5, "2", True, None, [], 2**70, float("nan"), float("inf")])
def test_number_is_whole_and_within_bounds(value: object) -> None:
    check = number(1, 3)

    assert [check("n", one) for one in (1, 2, 3)] == [1, 2, 3]
    assert fault(lambda: check("n", value)).message == "n must be an integer from 1 to 3."


@pytest.mark.parametrize(("typed", "kept"), [("Allow", "Allow"), ("ALLOW", "Allow"), ("deny", "Deny")])
def test_word_has_any_case_and_is_kept_in_one(typed: str, kept: str) -> None:
    assert choice("Allow", "Deny")("c", typed) == kept


@pytest.mark.parametrize(("value", "kept"), [(True, "true"), (False, "false"), ("True", "true")])
def test_word_of_a_switch_may_be_sent_as_what_it_stands_for(value: object, kept: str) -> None:
    assert choice("true", "false")("c", value) == kept


@pytest.mark.parametrize("value", ["", "Allow ", "x", 1, True, None, ["Allow"], {"Allow": 1}])
def test_other_words_are_refused(value: object) -> None:
    assert fault(lambda: choice("Allow", "Deny")("c", value)).message == "c must be Allow or Deny."
    assert fault(lambda: choice("A", "B", "C")("c", value)).message == "c must be A, B or C."
    assert fault(lambda: choice("A")("c", value)).message == "c must be A."


def test_several_words_are_each_kept_once_in_their_order() -> None:
    assert choices("a", "b", "c")("c", ["B", "a", "b", "A"]) == ["b", "a"]
    assert fault(lambda: choices("a", "b")("c", ["a", "x"])).target == "c[1]"


def test_free_value_is_a_copy() -> None:
    given = {"x": [1]}
    kept = free("f", given)

    given["x"].append(2)

    assert kept == {"x": [1]}


def test_free_value_is_nested_within_bounds() -> None:
    assert free("f", nested(32)) == nested(32)
    assert fault(lambda: free("f", nested(33))).target == "f"
    assert fault(lambda: free("f", nested(100_000))).target == "f"


@pytest.mark.parametrize(("value", "levels"), [(1, 0), ("x", 0), ([], 1), ({}, 1), ([1, [2]], 2), ({"x": {"y": 1}}, 2)])
def test_depth_is_that_of_the_deepest_part(value: object, levels: int) -> None:
    assert is_shallow(value, levels)
    assert levels == 0 or not is_shallow(value, levels - 1)
