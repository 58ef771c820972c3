"""What the operator is told of handlers that fail: once, with what to mend, and without secrets."""

import logging
from typing import Any

import pytest

from doubles import HUB
from handlers import handler
from hubwire.model.names import HubKey
from hubwire.upstream import records
from hubwire.upstream.handlers import Handler
from hubwire.upstream.sources import EventSource

SOURCE = EventSource(HUB, "c1", "hub.example", "u")
HANDLER = Handler(handler("https://app.example/{hub}/{event}?code=key"))


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Clock:
    """A time in which nothing was said yet."""
    made = Clock()
    monkeypatch.setattr(records, "time", made)
    monkeypatch.setattr(records, "_quiet", records._Quiet())
    caplog.set_level(logging.INFO, "hubwire.upstream")
    return made


def fields(record: logging.LogRecord) -> dict[str, Any]:
    found = record.__dict__["record"]
    assert isinstance(found, dict)
    return found


def test_failure_says_what_who_and_why(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    records.failed(SOURCE, HANDLER, "message", "it answered 500")

    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("WARNING", "it answered 500")
    assert fields(record) == {
        "operationName": "EventFailed",
        "hub": "chat",
        "event": "message",
        "connectionId": "c1",
        "userId": "u",
        "handler": "https://app.example/{hub}/{event}",
    }


def test_key_in_the_url_is_never_told(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    records.failed(SOURCE, HANDLER, "message", "reason")
    records.refused(SOURCE, HANDLER, 403)

    assert all("key" not in f"{record.__dict__}" for record in caplog.records)


def test_client_that_a_handler_does_not_want_is_no_failure(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    records.refused(SOURCE, HANDLER, 403)

    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("INFO", "the handler answered 403")
    assert fields(record)["operationName"] == "ConnectRefused"
    assert fields(record)["event"] == "connect"


def test_same_failure_is_told_again_after_ten_seconds_with_how_often_it_was_not(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(4):
        records.failed(SOURCE, HANDLER, "message", "reason")
    clock.now += 9.9
    records.failed(SOURCE, HANDLER, "message", "reason")
    assert caplog.messages == ["reason"]

    clock.now += 0.1
    records.failed(SOURCE, HANDLER, "message", "reason")
    records.failed(SOURCE, HANDLER, "message", "reason")
    clock.now += 10
    records.failed(SOURCE, HANDLER, "message", "reason")
    clock.now += 10
    records.failed(SOURCE, HANDLER, "message", "reason")

    assert caplog.messages == [
        "reason",
        "reason (4 more of these since)",
        "reason (1 more of these since)",
        "reason",
    ]


def test_other_hubs_handlers_events_and_reasons_are_other_failures(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    other = EventSource(HubKey("default", "other"), "c2", "hub.example")
    for source, of, event, reason in [
        (SOURCE, HANDLER, "message", "reason"),
        (other, HANDLER, "message", "reason"),
        (SOURCE, Handler(handler("https://other.example/")), "message", "reason"),
        (SOURCE, HANDLER, "connect", "reason"),
        (SOURCE, HANDLER, "message", "another reason"),
    ]:
        records.failed(source, of, event, reason)

    assert len(caplog.messages) == 5


def test_failures_of_many_clients_of_one_handler_are_the_same(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(100):
        records.failed(EventSource(HUB, f"c{number}", "hub.example"), HANDLER, "message", "reason")

    assert len(caplog.messages) == 1


def test_memory_for_what_was_said_is_bounded(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1001):
        records.failed(SOURCE, HANDLER, "message", f"reason {number}")
    caplog.clear()

    records.failed(SOURCE, HANDLER, "message", "reason 1000")
    records.failed(SOURCE, HANDLER, "message", "reason 0")

    assert caplog.messages == ["reason 0"]


def test_nothing_is_made_of_what_nobody_reads(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "hubwire.upstream")
    records.failed(SOURCE, HANDLER, "message", "reason")
    records.refused(SOURCE, HANDLER, 403)

    assert caplog.records == []


def test_event_that_nobody_takes_is_told_with_what_to_type(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        records.nobody(HUB, "order")

    assert caplog.messages == [
        "no event handler takes the event order; to let one: hubwire hub set chat --handler URL --user-events PATTERN"
    ]
    assert fields(caplog.records[0]) == {"operationName": "EventHandlerNotFound", "hub": "chat", "event": "order"}
