"""How the resource manager's answers reach whoever calls a command: errors in its form, and warnings."""

from pathlib import Path

import pytest

from cli.standin import StandIn
from hubwire.cli.control import ask, control
from hubwire.cli.faults import Refusal

DATA = Path("data")


def test_error_of_the_resource_manager_is_told_with_its_details(server: StandIn) -> None:
    """The message in the first line, each of several faults in one of its own."""
    error = {
        "code": "InvalidTemplateDeployment",
        "message": "not valid",
        "details": [{"code": "X", "message": "no such sku", "target": "/a/b"}, {"code": "Y", "message": "no"}],
    }
    server.on("GET", "/x", 400, {"error": error})

    with pytest.raises(Refusal) as refused:
        control(DATA, "GET", "/x")

    assert (refused.value.message, refused.value.status) == ("not valid", 400)
    assert refused.value.more == ("/a/b: no such sku", "no")
    assert refused.value.error == error


def test_failure_of_several_lines_is_shown_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    """And none of them can move the cursor."""
    Refusal("not\nvalid", ["a\x1b[2J", "b"]).show()

    assert capsys.readouterr().err == "hubwire: not valid\n  a\\x1b[2J\n  b\n"


@pytest.mark.parametrize("document", [{"error": "text"}, {"error": {"code": "X"}}, {"message": 1}, [], "text"])
def test_error_of_no_known_form_shows_the_status(server: StandIn, document: object) -> None:
    server.on("GET", "/x", 409, document)

    with pytest.raises(Refusal, match="the server refused the request: 409 Conflict"):
        control(DATA, "GET", "/x")


def test_answer_has_status_document_and_warnings(server: StandIn) -> None:
    server.on("PUT", "/x", 201, {"a": 1}, warnings=["one", 'two "quoted"', 'three", 199 - "four'])

    answer = ask(DATA, "PUT", "/x", {})

    assert (answer.status, answer.document) == (201, {"a": 1})
    assert answer.warnings == ("one", 'two "quoted"', "three", "four")
