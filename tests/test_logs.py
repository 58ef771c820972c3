"""Records to lines, in both formats."""

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from hubwire.logs import CATEGORIES, JsonLines, TextLines, configure

FORGED = [
    "x\n2026-01-01T00:00:00.000+00:00 info    forged",
    "x\r\nforged",
    "\u2028forged",
    "\x85forged\x0b\x0c",
    "\x1b[2J\x9b2J\x7f\x00\x08",
    "\u202eforged",
    "half a pair \ud800",
]


def record(
    message: str = "done",
    name: str = "hubwire.connectivity",
    level: int = logging.INFO,
    exc: BaseException | None = None,
    **fields: Any,
) -> logging.LogRecord:
    """One that was made at a known time."""
    exc_info = None if exc is None else (type(exc), exc, exc.__traceback__)
    one = logging.LogRecord(name, level, "file.py", 1, "%s", (message,), exc_info)
    one.created = 1_700_000_000.25
    if fields:
        one.record = fields
    return one


def as_json(one: logging.LogRecord) -> Any:
    return json.loads(JsonLines("/default").format(one))


def text(one: logging.LogRecord) -> str:
    return TextLines().format(one)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where lines go; everything about logging is put back afterwards."""
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in ("hubwire", *(f"hubwire.{name}" for name in CATEGORIES)))]
    levels, handlers = [logger.level for logger in loggers], list(root.handlers)
    yield io.StringIO()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


# JSON


def test_json_line_has_the_shape_of_a_resource_log() -> None:
    line = as_json(
        record("Connection started", operationName="ConnectionStarted", callerIpAddress="192.0.2.1", userId="ü", code=5)
    )

    assert line == {
        "time": "2023-11-14T22:13:20.250+00:00",
        "level": "Informational",
        "resourceId": "/default",
        "location": "local",
        "category": "ConnectivityLogs",
        "operationName": "ConnectionStarted",
        "callerIpAddress": "192.0.2.1",
        "properties": {"message": "Connection started", "userId": "ü", "code": 5},
    }


def test_json_line_of_a_plain_record_has_the_same_shape() -> None:
    line = as_json(record("listening", "hubwire.server"))

    assert (line["category"], line["operationName"], line["callerIpAddress"]) == ("ServerLogs", None, None)
    assert line["properties"] == {"message": "listening"}


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (logging.DEBUG, "Debug"),
        (logging.INFO, "Informational"),
        (logging.WARNING, "Warning"),
        (logging.ERROR, "Error"),
        (logging.CRITICAL, "Error"),
        (25, "Informational"),
    ],
)
def test_levels_have_the_names_of_the_service(level: int, name: str) -> None:
    assert as_json(record(level=level))["level"] == name


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("hubwire.connectivity", "ConnectivityLogs"),
        ("hubwire.messaging", "MessagingLogs"),
        ("hubwire.http", "HttpRequestLogs"),
        ("hubwire.edge", "ServerLogs"),
        ("hubwire", "ServerLogs"),
        ("hubwire.http.more", "ServerLogs"),
        ("asyncio", "ServerLogs"),
        ("other.http", "ServerLogs"),
    ],
)
def test_category_is_the_loggers(name: str, category: str) -> None:
    assert as_json(record(name=name))["category"] == category


def test_value_that_json_does_not_know_is_written_as_text() -> None:
    assert as_json(record(path=io, number=1.5, nothing=None))["properties"] == {
        "message": "done",
        "path": str(io),
        "number": 1.5,
        "nothing": None,
    }


# Text


def test_text_line_has_time_level_message_and_the_fields_that_have_a_value() -> None:
    line = text(
        record("Connection started", operationName="ConnectionStarted", hub="chat", userId=None, why="", code=0)
    )

    time, _, rest = line.partition(" ")
    assert re.fullmatch(r"2023-11-1[45]T\d\d:\d\d:20\.250[+-]\d\d:\d\d", time)
    assert rest == "info    Connection started  operationName=ConnectionStarted hub=chat code=0"


def test_text_line_without_fields_ends_with_its_message() -> None:
    assert text(record("listening", level=logging.WARNING)).endswith(" warning listening")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("häns", "häns"),
        ("a b", '"a b"'),
        ("a code=0", '"a code=0"'),
        ("code=0", '"code=0"'),
        ('a"b', '"a\\"b"'),
        ('" code=0 x="', '"\\" code=0 x=\\""'),
        ("a\\b", "a\\b"),
        ("a\\ b", '"a\\\\ b"'),
        ("a\tb", '"a\\tb"'),
        (("a", "b"), "\"('a', 'b')\""),
    ],
)
def test_value_that_could_pass_for_more_than_one_field_is_quoted(value: object, shown: str) -> None:
    assert text(record(user=value)).endswith(f" done  user={shown}")


# Both


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("format", [TextLines(), JsonLines("/default")], ids=["text", "json"])
def test_what_strangers_sent_stays_on_its_line_and_does_not_move_the_cursor(
    format: logging.Formatter, forged: str
) -> None:
    """In the message and in a field."""
    for one in (record(forged), record(user=forged)):
        line = format.format(one)

        assert line.isprintable()
        assert line.encode()


@pytest.mark.parametrize("forged", FORGED)
def test_message_survives_in_json(forged: str) -> None:
    assert as_json(record(forged, user=forged))["properties"] == {"message": forged, "user": forged}


def fault(message: str) -> BaseException:
    """One that was raised."""
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


def test_traceback_is_indented_so_that_it_cannot_be_taken_for_a_record() -> None:
    first, *rest = text(record("it failed", exc=fault("x\n2026-01-01 forged\x85y"))).split("\n")

    assert first.endswith("it failed")
    assert len(rest) > 3
    assert all(line.startswith("  ") and line.isprintable() for line in rest)
    assert rest[-1] == "  y"


def test_traceback_is_a_property_in_json() -> None:
    properties = as_json(record("it failed", exc=fault("x")))["properties"]

    assert properties["message"] == "it failed"
    assert properties["exception"].endswith("ValueError: x")


# Setting it up


def say_everything() -> None:
    """One record of each category at each level, named after both."""
    for category in (*CATEGORIES, "server"):
        for level in ("debug", "info", "warning", "error"):
            logging.getLogger(f"hubwire.{category}").log(getattr(logging, level.upper()), "%s-%s", category, level)


def heard(stream: io.StringIO) -> set[str]:
    return set(re.findall(r"\w+-(?:debug|info|warning|error)\b", stream.getvalue()))


@pytest.mark.parametrize(
    ("level", "levels"),
    [
        ("debug", {"debug", "info", "warning", "error"}),
        ("info", {"info", "warning", "error"}),
        ("warning", {"warning", "error"}),
        ("error", {"error"}),
    ],
)
def test_level_says_what_is_written(
    stream: io.StringIO, level: Literal["debug", "info", "warning", "error"], levels: set[str]
) -> None:
    configure("text", level, (), "/default", stream)
    say_everything()

    assert heard(stream) == {f"{category}-{level}" for category in (*CATEGORIES, "server") for level in levels}


@pytest.mark.parametrize("off", [[name] for name in CATEGORIES] + [list(CATEGORIES)])
def test_category_that_is_off_is_silent_at_every_level_and_the_others_are_not(
    stream: io.StringIO, off: list[str]
) -> None:
    configure("text", "debug", off, "/default", stream)
    say_everything()

    assert {said.partition("-")[0] for said in heard(stream)} == {*CATEGORIES, "server"} - set(off)


def test_category_that_was_off_is_on_again_when_set_up_anew(stream: io.StringIO) -> None:
    configure("text", "info", ("http",), "/default", stream)
    configure("text", "info", (), "/default", stream)
    logging.getLogger("hubwire.http").info("x-info")

    assert heard(stream) == {"x-info"}
    assert stream.getvalue().count("\n") == 1, "one handler, or every line comes twice"


@pytest.mark.parametrize("format", ["text", "json"])
def test_format_is_that_which_was_asked_for(stream: io.StringIO, format: Literal["text", "json"]) -> None:
    configure(format, "info", (), "/res", stream)
    logging.getLogger("hubwire.server").info("hello %s", "there")

    line = stream.getvalue()
    if format == "json":
        assert (json.loads(line)["resourceId"], json.loads(line)["properties"]["message"]) == ("/res", "hello there")
    else:
        assert line.endswith(" info    hello there\n")


def test_libraries_speak_only_when_something_is_wrong(stream: io.StringIO) -> None:
    configure("text", "debug", (), "/default", stream)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger("library").log(level, "x-%s", logging.getLevelName(level).lower())

    assert heard(stream) == {"x-warning"}


def test_warnings_become_records(stream: io.StringIO) -> None:
    configure("text", "info", (), "/default", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("be careful", stacklevel=1)

    assert "be careful" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1
