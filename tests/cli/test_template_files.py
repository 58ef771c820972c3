"""Templates and values of their parameters, from files and the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from hubwire.cli.faults import BadCommandLine, CommandFailed
from hubwire.cli.template_files import deployment_name, parameters_of, read_template

TEMPLATE = {
    "parameters": {
        "text": {"type": "String"},
        "secret": {"type": "secureString"},
        "number": {"type": "int"},
        "flag": {"type": "bool"},
        "list": {"type": "array"},
        "map": {"type": "object"},
        "named": {"$ref": "#/definitions/count"},
        "odd": {"type": "date"},
    },
    "definitions": {"count": {"type": "int"}},
}
BICEP = """// param fake
@description('x')
  param units int
var twice = units * 2
output host string = 'h'
"""


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("text=1", {"text": {"value": "1"}}),
        ("text=", {"text": {"value": ""}}),
        ("text=a=b", {"text": {"value": "a=b"}}),
        ("text=@name", {"text": {"value": "@name"}}),
        ("secret=[1]", {"secret": {"value": "[1]"}}),
        ("number=12", {"number": {"value": 12}}),
        ("flag=True", {"flag": {"value": True}}),
        ('list=["a", "b"]', {"list": {"value": ["a", "b"]}}),
        ("map={a: 1}", {"map": {"value": {"a": 1}}}),
        ("NUMBER=12", {"NUMBER": {"value": 12}}),
        ("named=3", {"named": {"value": 3}}),
        ("odd=3", {"odd": {"value": "3"}}),
        ("unknown=3", {"unknown": {"value": "3"}}),
    ],
)
def test_value_is_taken_by_the_declared_type(assignment: str, expected: dict[str, Any]) -> None:
    """What the template does not declare is for the template engine to refuse."""
    assert parameters_of(TEMPLATE, [assignment], None) == expected


@pytest.mark.parametrize("template", [[], None, {"parameters": []}, {"parameters": {"text": 1}}])
def test_value_for_a_template_that_is_none_is_text(template: object) -> None:
    """Nor is that ours to complain about."""
    assert parameters_of(template, ["text=1"], None) == {"text": {"value": "1"}}


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("text", "-p wants NAME=VALUE, not 'text'"),
        ("=1", "-p wants NAME=VALUE, not '=1'"),
        ("number=secret", "-p number is an int, and its value is not JSON"),
        ("map={", "-p map is an object, and its value is not JSON"),
        ("flag=maybe", "-p flag is a bool, and its value is not JSON"),
    ],
)
def test_value_that_cannot_be_is_not_quoted(assignment: str, words: str) -> None:
    """It may be a secret."""
    with pytest.raises(BadCommandLine) as refused:
        parameters_of(TEMPLATE, [assignment], None)

    assert refused.value.message == words


def test_value_may_stand_in_a_file(tmp_path: Path) -> None:
    """For all but strings."""
    (tmp_path / "list.json").write_text("[1, /* two */ 2]")

    assert parameters_of(TEMPLATE, ["list=@list.json"], None) == {"list": {"value": [1, 2]}}


@pytest.mark.parametrize(
    "document",
    [
        {"$schema": "s", "contentVersion": "1.0.0.0", "parameters": {"text": {"value": "t"}, "map": {"value": {}}}},
        {"parameters": {"text": {"value": "t"}, "map": {"value": {}}}},
        {"text": {"value": "t"}, "map": {"value": {}}},
        {"text": "t", "map": {}},
    ],
    ids=["of Azure", "its inside", "wrapped", "plain"],
)
def test_file_of_parameters_may_have_each_form(tmp_path: Path, document: dict[str, Any]) -> None:
    (tmp_path / "values.json").write_text(json.dumps(document))

    assert parameters_of(TEMPLATE, [], "values.json") == {"text": {"value": "t"}, "map": {"value": {}}}


def test_command_line_wins_over_the_file_and_its_last_word_over_the_first(tmp_path: Path) -> None:
    """Whatever letter case the names have."""
    (tmp_path / "values.json").write_text('{"Number": 1, "text": "file"}')

    given = parameters_of(TEMPLATE, ["number=2", "NUMBER=3"], "values.json")

    assert given == {"text": {"value": "file"}, "NUMBER": {"value": 3}}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("values.json", "[]", "values.json(1,1): the parameters must be an object"),
        ("values.json", "{,}", "values.json(1,2): A name is expected."),
        ("values.bicepparam", "", "parameters in Bicep"),
    ],
)
def test_file_of_parameters_that_is_none_is_told(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(CommandFailed) as refused:
        parameters_of(TEMPLATE, [], name)

    assert words in refused.value.message


def test_single_parameter_in_the_place_of_a_file_is_told_where_it_goes(tmp_path: Path) -> None:
    """`az` takes both there."""
    with pytest.raises(BadCommandLine, match="is given by -p text=1"):
        parameters_of(TEMPLATE, [], "text=1")
    with pytest.raises(FileNotFoundError):
        parameters_of(TEMPLATE, [], "values.json")


def test_json_is_kept_as_it_is_written(tmp_path: Path) -> None:
    """So that faults are found at their line."""
    text = "{\n  // comment\n  resources: []\n}\n"
    (tmp_path / "main.json").write_text(f"\ufeff{text}", encoding="utf-8")

    template = read_template("main.json")

    assert (template.text, template.value, template.program) == (text, {"resources": []}, None)
    assert template.locate(("resources",)) == (3, 14)


def test_fault_of_json_is_at_its_place() -> None:
    """Without what the server puts around the message."""
    Path("main.json").write_text("{}")
    template = read_template("main.json")
    said = "Deployment template validation failed at line 3, column 4: 'It's\nwrong'."

    assert template.fault(said, "resources", 2, 4).message == "main.json(2,4): It's\nwrong"
    assert template.fault("wrong", "", None, None).message == "main.json: wrong"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("parameters.units", "main.bicep(3,3): wrong"),
        ("outputs.host.value", "main.bicep(5,1): wrong"),
        ("variables.twice", "main.bicep(4,1): wrong"),
        ("parameters.other", "main.bicep: wrong (parameters.other of the template that it makes)"),
        ("resources[0].name", "main.bicep: wrong (resources[0].name of the template that it makes)"),
        ("", "main.bicep: wrong"),
    ],
)
def test_fault_of_bicep_is_at_what_the_program_declares(path: str, message: str) -> None:
    """The line in the JSON that nobody saw says nothing."""
    Path("main.bicep").write_text(BICEP)

    assert read_template("main.bicep").fault("wrong", path, 1, 99).message == message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("main.bicep", b"param x int\nfoo bar\n", r"main\.bicep\(2,1\): "),
        ("main.json", b'{"a": }', r"main\.json\(1,7\): "),
        ("main.json", b"\xff", r"main\.json is not UTF-8"),
        ("main.bicepparam", b"", r"parameters in Bicep"),
    ],
)
def test_file_that_is_no_template_is_told_with_its_place(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(CommandFailed, match=words):
        read_template(name)


@pytest.mark.parametrize(
    ("file", "name"), [("a/main.bicep", "main"), ("my app.json", "my-app"), (f"{'x' * 90}.json", "x" * 64)]
)
def test_deployment_is_called_as_its_file(file: str, name: str) -> None:
    assert deployment_name(file) == name
