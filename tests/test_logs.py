"""Records to lines, in both formats."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

import pytest

from hubwire.logs import CATEGORIES, JsonLines, QueuedLines, TextLines, configure, flush_records

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
def stream(tmp_path: Path) -> Iterator[TextIO]:
    """Where lines go; everything about logging is put back afterwards."""
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in ("hubwire", *(f"hubwire.{name}" for name in CATEGORIES)))]
    levels, handlers = [logger.level for logger in loggers], list(root.handlers)
    with (tmp_path / "log").open("a+", encoding="utf-8") as stream:
        yield stream
        flush_records()
    logging.captureWarnings(False)
    for handler in root.handlers:
        if isinstance(handler, QueuedLines):
            handler.close()
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


def test_text_line_says_nothing_twice() -> None:
    fields: dict[str, Any] = {"httpMethod": "GET", "routeTemplate": "/{x}", "url": "/x", "statusCode": 404}
    fields["collection"] = "Connection"

    assert text(record("GET /x 404", **fields)).endswith(" GET /x 404")
    assert text(record("No token.", **fields)).endswith(" No token.  httpMethod=GET url=/x statusCode=404")


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


def written(stream: TextIO) -> str:
    """Everything that was logged."""
    flush_records()
    stream.seek(0)
    return stream.read()


def heard(stream: TextIO) -> set[str]:
    return set(re.findall(r"\w+-(?:debug|info|warning|error)\b", written(stream)))


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
    stream: TextIO, level: Literal["debug", "info", "warning", "error"], levels: set[str]
) -> None:
    configure("text", level, (), "/default", stream)
    say_everything()

    assert heard(stream) == {f"{category}-{level}" for category in (*CATEGORIES, "server") for level in levels}


@pytest.mark.parametrize("off", [[name] for name in CATEGORIES] + [list(CATEGORIES)])
def test_category_that_is_off_is_silent_at_every_level_and_the_others_are_not(stream: TextIO, off: list[str]) -> None:
    configure("text", "debug", off, "/default", stream)
    say_everything()

    assert {said.partition("-")[0] for said in heard(stream)} == {*CATEGORIES, "server"} - set(off)


def test_category_that_was_off_is_on_again_when_set_up_anew(stream: TextIO) -> None:
    configure("text", "info", ("http",), "/default", stream)
    configure("text", "info", (), "/default", stream)
    logging.getLogger("hubwire.http").info("x-info")

    assert heard(stream) == {"x-info"}
    assert written(stream).count("\n") == 1, "one handler, or every line comes twice"


@pytest.mark.parametrize("format", ["text", "json"])
def test_format_is_that_which_was_asked_for(stream: TextIO, format: Literal["text", "json"]) -> None:
    configure(format, "info", (), "/res", stream)
    logging.getLogger("hubwire.server").info("hello %s", "there")

    line = written(stream)
    if format == "json":
        assert (json.loads(line)["resourceId"], json.loads(line)["properties"]["message"]) == ("/res", "hello there")
    else:
        assert line.endswith(" info    hello there\n")


def test_libraries_speak_only_when_something_is_wrong(stream: TextIO) -> None:
    configure("text", "debug", (), "/default", stream)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger("library").log(level, "x-%s", logging.getLevelName(level).lower())

    assert heard(stream) == {"x-warning"}


def test_warnings_become_records(stream: TextIO) -> None:
    configure("text", "info", (), "/default", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("be careful", stacklevel=1)

    assert "be careful" in written(stream)
    assert written(stream).count("\n") == 1


# Writing


class Pipe:
    """A pipe with a handler of `limit` records at its end; nobody reads unless the test does."""

    def __init__(self, limit: int = 100) -> None:
        self.reader, self.writer = os.pipe()
        self.stream = os.fdopen(self.writer, "w", encoding="utf-8")
        self.handler = QueuedLines(self.stream, limit)
        self.text = ""

    def log(self, message: str) -> None:
        """A record whose line is its message."""
        self.handler.handle(record(message))

    def read_until(self, end: str) -> list[str]:
        """The lines so far, which come to end with this one; those are no longer among the waiting ones afterwards."""
        until = time.monotonic() + 20
        while not self.text.endswith(f"{end}\n"):
            assert time.monotonic() < until, f"waited in vain for {end!r}"
            self.text += os.read(self.reader, 1 << 16).decode()
        while self.handler._in_flight:
            assert time.monotonic() < until, f"{end!r} was read, and is still being written"
            self.handler.flush()
        return self.text.splitlines()

    def read_of_first(self) -> None:
        """The beginning of a line that fills the pipe: it is being written then, and waits for a reader."""
        self.text += os.read(self.reader, 1).decode()

    def go(self) -> None:
        """Read no more, ever."""
        os.close(self.reader)
        self.reader = -1

    def end(self) -> None:
        """Leave nothing behind. A thread that still writes hears that nobody reads."""
        if self.reader >= 0:
            os.close(self.reader)
        self.handler.close()
        self.handler.flush()
        self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.end()


FILL = "x" * (1 << 20)
"""More than a pipe holds."""


def test_who_logs_does_not_wait_for_a_reader_and_is_told_later_what_was_dropped(pipe: Pipe) -> None:
    """In order: what waited (a hundred, with the one that is being written), how many were dropped, what came later."""
    pipe.log(FILL)
    pipe.read_of_first()
    for number in range(150):
        pipe.log(str(number))

    assert pipe.read_until("51 log records were dropped") == [
        FILL,
        *map(str, range(99)),
        "51 log records were dropped",
    ]
    pipe.log("later")
    assert pipe.read_until("later")[-1] == "later"


def test_threads_cannot_each_hold_a_lock_that_the_other_wants(pipe: Pipe) -> None:
    """The collector may run on either thread at any moment, and what it finalises may log: so there is one lock."""
    entered: list[bool] = []
    pipe.handler.acquire()
    try:
        thread = threading.Thread(target=lambda: entered.append(pipe.handler._changed.acquire(blocking=False)))
        thread.start()
        thread.join()
        pipe.log("by the owner")
    finally:
        pipe.handler.release()

    assert entered == [False]
    assert pipe.read_until("by the owner") == ["by the owner"]


def test_there_is_room_again_once_lines_are_written(pipe: Pipe) -> None:
    for round in range(5):
        for number in range(100):
            pipe.log(f"{round} {number}")
        pipe.read_until(f"{round} 99")

    assert pipe.text.splitlines() == [f"{round} {number}" for round in range(5) for number in range(100)]


def test_lines_that_come_close_together_are_written_together(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write on its own would wake a thread."""
    writes: list[int] = []
    write = os.write

    def counting(descriptor: int, data: bytes) -> int:
        if descriptor == pipe.writer:
            writes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counting)
    for number in range(90):
        pipe.log(str(number))
    pipe.read_until("89")

    assert sum(writes) == len(pipe.text)
    assert len(writes) < 45


def test_time_is_right_to_the_millisecond_in_every_second() -> None:
    format = JsonLines("/default").format
    for seconds in (0.0, 0.001, 0.999, 1.0, 1_700_000_000.5, 1_700_000_000.25, 1_700_000_001.0):
        one = record("x")
        one.created = seconds
        written = datetime.fromisoformat(json.loads(format(one))["time"])

        assert written == datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC)


def test_lines_of_several_threads_are_whole_and_each_thread_s_in_order() -> None:
    pipe = Pipe(limit=10_000)

    def log(name: str) -> None:
        for number in range(500):
            pipe.log(f"{name} {number}")

    threads = [threading.Thread(target=log, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    while pipe.text.count("\n") < 1500:
        pipe.text += os.read(pipe.reader, 1 << 16).decode()
    for thread in threads:
        thread.join()
    pipe.end()

    lines = pipe.text.splitlines()
    for name in "abc":
        assert [line for line in lines if line[0] == name] == [f"{name} {number}" for number in range(500)]


def test_nobody_at_the_other_end_does_no_harm(pipe: Pipe) -> None:
    pipe.go()
    for number in range(50):
        pipe.log(str(number))
        pipe.handler.flush()


def test_pipe_that_breaks_while_a_line_waits_for_it_does_no_harm(pipe: Pipe) -> None:
    pipe.log(FILL)
    pipe.go()

    pipe.handler.flush()
    pipe.log("more")
    pipe.handler.flush()


def test_what_the_system_refused_to_write_is_counted(tmp_path: Path) -> None:
    """The file is full first, then it is not; the descriptor is the same."""
    with (tmp_path / "log").open("a+", encoding="utf-8") as file, open("/dev/full", "w") as full:
        good = os.dup(file.fileno())
        os.dup2(full.fileno(), file.fileno())
        handler = QueuedLines(file)
        for message in ("1", "2"):
            handler.handle(record(message))
            handler.flush()
        os.dup2(good, file.fileno())
        os.close(good)
        handler.handle(record("3"))
        handler.flush()
        handler.close()

    assert (tmp_path / "log").read_text().splitlines() == ["3", "2 log records were dropped"]


def test_descriptor_that_somebody_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    pipe.log(FILL)
    pipe.log("end")

    assert pipe.read_until("end") == [FILL, "end"]


def test_flush_gives_up_on_who_does_not_read_and_writing_goes_on_when_he_does(pipe: Pipe) -> None:
    pipe.log(FILL)
    pipe.handler.flush()
    pipe.log("end")
    pipe.handler.flush()

    assert pipe.read_until("end") == [FILL, "end"]
    pipe.log("more")
    pipe.handler.flush()
    assert os.read(pipe.reader, 100) == b"more\n"


def test_record_that_cannot_be_shown_is_told_of_and_harms_nobody(pipe: Pipe) -> None:
    pipe.handler.handle(logging.LogRecord("hubwire", logging.INFO, "file.py", 7, "%d", ("text",), None))
    pipe.log("end")

    lines = pipe.read_until("end")
    assert lines[0] == "the record of file.py:7 cannot be shown"
    assert lines[1].startswith("Traceback")


def test_handler_that_is_closed_takes_nothing_and_ends_its_thread() -> None:
    others = set(threading.enumerate())
    pipe = Pipe()
    (worker,) = set(threading.enumerate()) - others
    pipe.log("in time")
    pipe.handler.close()
    pipe.log("too late")
    worker.join(20)

    assert not worker.is_alive()
    assert pipe.read_until("in time") == ["in time"]
    pipe.end()


def test_characters_that_the_stream_cannot_write_are_escaped(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="ascii") as file:
        handler = QueuedLines(file)
        handler.handle(record("h\u00e4ns"))
        handler.flush()
        handler.close()

    assert (tmp_path / "log").read_bytes() == b"h\\xe4ns\n"


SCRIPT = """
import logging, sys
from hubwire.logs import configure
configure("text", "info", (), "/default")
for number in range(int(sys.argv[1])):
    logging.getLogger("hubwire.server").info("line %d", number)
"""


def test_what_was_logged_last_is_written_when_the_process_ends() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT, "500"], capture_output=True, text=True, timeout=60)

    assert result.returncode == 0
    assert [line.split()[-1] for line in result.stderr.splitlines()] == [str(number) for number in range(500)]


def test_process_ends_although_nobody_reads_what_it_logged() -> None:
    """Far more than a pipe holds, and without a word about it."""
    with subprocess.Popen([sys.executable, "-c", SCRIPT, "5000"], stderr=subprocess.PIPE, text=True) as process:
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert "Fatal" not in process.stderr.read()


def test_process_without_standard_error_is_not_disturbed() -> None:
    command = ["sh", "-c", '"$0" "$@" 2>&-', sys.executable, "-c", SCRIPT, "5"]

    assert subprocess.run(command, timeout=60).returncode == 0
