import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubwire.resources.lenient_json import MAX_DEPTH, Parsed, Unreadable, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        ("\ufeff[]", []),
        (" \t\r\n1 ", 1),
        ("{a: 1}", {"a": 1}),
        ("{_a$-1: {b: null}}", {"_a$-1": {"b": None}}),
        ("{true: false}", {"true": False}),
        ("{'a': 'b\"c'}", {"a": 'b"c'}),
        ('{"a": "b\'c"}', {"a": "b'c"}),
        (r"'it\'s'", "it's"),
        ("[1, 2,]", [1, 2]),
        ('{"a": 1,}', {"a": 1}),
        ("// begin\n[1 // one\n, /* two */ 2]// end", [1, 2]),
        ("/**/1/***/", 1),
        ('"http://x /* y */"', "http://x /* y */"),
        ('"first\nsecond\r\n\tthird"', "first\nsecond\r\n\tthird"),
        (r'"\" \\ \/ \b \f \n \r \t \u0041"', '" \\ / \b \f \n \r \t A'),
        (r'"\ud83d\ude00"', "😀"),
        ("-0", 0),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1e2", 100.0),
        ("1.5E-3", 0.0015),
        ("[[[[]]]]", [[[[]]]]),
    ],
)
def test_document_is_read(text: str, value: Any) -> None:
    read = parse(text).value

    assert read == value
    assert type(read) is type(value)


def test_text_that_the_command_line_of_azure_sends() -> None:
    """A template, as it stands in its file, behind a key without quotes in an otherwise strict document."""
    template = '{\n  // The one.\n  "$schema": "s",\n  "resources": [{"name": "[concat(\n    \'a\')]",}]\n}'
    text = '{"properties": {"parameters": {}, "mode": "Incremental", template:' + template + "}}"

    assert parse(text).value == {
        "properties": {
            "parameters": {},
            "mode": "Incremental",
            "template": {"$schema": "s", "resources": [{"name": "[concat(\n    'a')]"}]},
        }
    }


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("", 1, 1),
        ("  ", 1, 3),
        ("// only", 1, 8),
        ("{", 1, 2),
        ("[1", 1, 3),
        ("[1 2]", 1, 4),
        ("[,]", 1, 2),
        ("[1,,2]", 1, 4),
        ("{,}", 1, 2),
        ("{a}", 1, 3),
        ("{a 1}", 1, 4),
        ("{a:}", 1, 4),
        ("{1: 2}", 1, 2),
        ("{\n  a: 1,\n  a: 2\n}", 3, 3),
        ("{\"a\": 1, 'a': 2}", 1, 10),
        ("[\n\n  nul]", 3, 3),
        ("True", 1, 1),
        ("NaN", 1, 1),
        ("Infinity", 1, 1),
        ("-Infinity", 1, 1),
        ("undefined", 1, 1),
        ("01", 1, 1),
        ("+1", 1, 1),
        (".5", 1, 1),
        ("1.", 1, 1),
        ("1e", 1, 1),
        ("0x10", 1, 1),
        ("1a", 1, 1),
        ("truest", 1, 1),
        ("1e999", 1, 1),
        ("-1e999", 1, 1),
        ("18446744073709551616", 1, 1),
        ("-9223372036854775809", 1, 1),
        ("9" * 5000, 1, 1),
        ("1 2", 1, 3),
        ("/* open", 1, 1),
        ("/ 1", 1, 1),
        ('"open', 1, 1),
        ('["open\n', 1, 2),
        ("\"mixed'", 1, 1),
        (r'"\x"', 1, 2),
        (r'"\u12g4"', 1, 2),
        ('"\\', 1, 2),
        (r'"a\ud83d"', 1, 3),
        (r'"\ud83d\u0041"', 1, 2),
        (r'"\ude00\ud83d"', 1, 2),
        ('"\ud83d"', 1, 2),
        ('"\x00"', 1, 2),
        ("[1]]", 1, 4),
        ("}", 1, 1),
    ],
)
def test_text_that_is_no_document_is_refused_with_its_place(text: str, line: int, column: int) -> None:
    with pytest.raises(Unreadable) as caught:
        parse(text)

    assert (caught.value.line, caught.value.column) == (line, column)
    assert f"Line {line}, column {column}." in str(caught.value)


def test_depth_is_limited() -> None:
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH).value
    with pytest.raises(Unreadable, match="nested"):
        parse("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    with pytest.raises(Unreadable, match="nested"):
        parse("[{a:" * 100_000)


DOCUMENT = """{
  a: {b: 1},  // first
  "c": {
    'b': [10, [20, {"a":
      30}]]
  }
}"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), (1, 1)),
        (("a",), (2, 6)),
        (("a", "b"), (2, 10)),
        (("c",), (3, 8)),
        (("c", "b"), (4, 10)),
        (("c", "b", 0), (4, 11)),
        (("c", "b", 1, 0), (4, 16)),
        (("c", "b", 1, 1, "a"), (5, 7)),
    ],
)
def test_value_is_found_by_its_path(path: tuple[str | int, ...], place: tuple[int, int]) -> None:
    assert parse(DOCUMENT).locate(path) == place


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("absent",), (1, 1)),
        (("a", "absent"), (2, 6)),
        (("c", "b", 9), (4, 10)),
        (("a", "b", "c"), (2, 10)),
        (("c", "c"), (3, 8)),
        (("b",), (1, 1)),
        ((0,), (1, 1)),
    ],
)
def test_path_that_leads_nowhere_ends_at_the_last_value_on_it(
    path: tuple[str | int, ...], place: tuple[int, int]
) -> None:
    assert parse(DOCUMENT).locate(path) == place


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_strict_json_is_read_as_the_standard_library_reads_it(value: Any, is_ascii: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)

    read = parse(text).value

    assert json.dumps(read) == json.dumps(json.loads(text))


def _paths(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    return [(at, value), *(found for step, item in inner for found in _paths(item, (*at, step)))]


@given(_VALUES)
def test_every_value_is_found_where_it_stands(value: Any) -> None:
    text = json.dumps(value)
    parsed = parse(text)

    for path, item in _paths(value)[:20]:
        line, column = parsed.locate(path)
        assert line == 1
        assert text[column - 1 :].startswith(json.dumps(item))


_PIECES = st.sampled_from(['"', "'", "{", "}", "[", "]", ",", ":", "//", "/*", "*/", "\n", "\\", "a", "1", "-", "\\u"])


@given(st.lists(_PIECES).map("".join) | st.text() | st.text(st.characters()))
@example("\ud800")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parsed = parse(text)
    except Unreadable as refused:
        place = (refused.line, refused.column)
    else:
        place = Parsed(parsed.value, text).locate((0, "a"))

    assert 1 <= place[0] <= text.count("\n") + 1
    assert 1 <= place[1] <= len(text) + 1
