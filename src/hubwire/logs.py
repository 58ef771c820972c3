"""
Records to lines: readable text, or one JSON object a line in the shape of the service's resource logs.

Names that strangers chose stand in many records. Nothing in them begins a line of its own or moves a terminal's cursor.

Whoever logs never waits for whoever reads: a thread writes the lines, and what it cannot write in time is dropped and
counted.

Whoever logs an event of a category gives its fields as `extra={"record": {…}}`. Names that the record format has at its
top are put there, all others under `properties`.

Source: the service's monitoring data reference (record format, categories, levels).
"""

import json
import logging
import os
import re
import sys
import threading
import time
from bisect import bisect
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from itertools import accumulate
from typing import Any, Final, TextIO

from hubwire.settings import LogFormat, LogLevel

__all__ = ["CATEGORIES", "JsonLines", "QueuedLines", "TextLines", "configure", "flush_records"]

CATEGORIES: Final[Mapping[str, str]] = {
    "connectivity": "ConnectivityLogs",
    "messaging": "MessagingLogs",
    "http": "HttpRequestLogs",
}
"""Last part of a logger's name to the category of its records. Other loggers' records are of category ServerLogs."""

_LEVELS: Final = {
    logging.DEBUG: "Debug",
    logging.INFO: "Informational",
    logging.WARNING: "Warning",
    logging.ERROR: "Error",
    logging.CRITICAL: "Error",
}
_JSON_ONLY: Final = frozenset({"collection", "routeTemplate"})
_IN_MESSAGE: Final = frozenset({"httpMethod", "url", "statusCode"})
_AT_TOP: Final = frozenset({"operationName", "callerIpAddress"})
_QUOTED: Final = re.compile(r'[ "=]')
_ROOT: Final = "hubwire"
_SECONDS_END: Final = len("2026-01-31T12:34:56")

_WAITING_RECORDS: Final = 10_000
"""Some megabytes at most, and some seconds of the busiest log."""
_FLUSH_S: Final = 1.0
_AGAIN_S: Final = 0.05
_GATHER_S: Final = 0.02


class _Clock:
    """
    Times as text (RFC 3339, milliseconds). All of one second differ in three digits only, so the rest is made once.

    Args:
        zone: None for the local one.
    """

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone
        self._known = (-1, "", "")  # one value, since several threads may ask

    def text(self, seconds: float) -> str:
        """
        Args:
            seconds: since 1970.
        """
        whole = int(seconds)
        known, before, behind = self._known
        if whole != known:
            moment = datetime.fromtimestamp(whole, UTC).astimezone(self._zone).isoformat()
            before, behind = moment[:_SECONDS_END], moment[_SECONDS_END:]
            self._known = (whole, before, behind)
        return f"{before}.{int((seconds - whole) * 1000):03d}{behind}"


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def __init__(self, resource_id: str) -> None:
        super().__init__()
        self._resource_id = resource_id
        self._clock = _Clock(UTC)

    def format(self, record: logging.LogRecord) -> str:
        fields: Mapping[str, Any] = getattr(record, "record", {})
        properties = {"message": record.getMessage(), **{k: v for k, v in fields.items() if k not in _AT_TOP}}
        if record.exc_info:
            properties["exception"] = self.formatException(record.exc_info)
        line = {
            "time": self._clock.text(record.created),
            "level": _LEVELS.get(record.levelno, "Informational"),
            "resourceId": self._resource_id,
            "location": "local",
            "category": _category(record),
            **{name: fields.get(name) for name in sorted(_AT_TOP)},
            "properties": properties,
        }
        return json.dumps(line, default=str, separators=(",", ":"))


class TextLines(logging.Formatter):
    """
    Time, level, message, and the fields that have a value and that the message does not say already. The lines of a
    traceback are indented below.
    """

    def __init__(self) -> None:
        super().__init__()
        self._clock = _Clock(None)

    def format(self, record: logging.LogRecord) -> str:
        time = self._clock.text(record.created)
        message = record.getMessage()
        said = {*message.split(), None, ""}
        fields: Mapping[str, Any] = getattr(record, "record", {})
        shown = " ".join(
            f"{name}={_plain(value)}"
            for name, value in fields.items()
            if name not in _JSON_ONLY and not (name in _IN_MESSAGE and str(value) in said) and value not in (None, "")
        )
        line = f"{time} {record.levelname.lower():7} {_printable(message)}" + (f"  {shown}" if shown else "")
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line = "\n".join([line, *(f"  {_printable(part)}" for part in trace)])
        return line


class QueuedLines(logging.Handler):
    """
    Writes records from a thread of its own, in order. Who logs pays for the formatting and never waits.

    A line on its own is written at once. Those that come in the hundredths of a second after a write are written
    together: to wake the thread for each would cost three times as much as all else about a line.

    A record that finds `limit` others waiting is dropped, as are those that the system refuses to write (nobody is at
    the other end, the disk is full). As soon as writing goes on, a line says how many there were.

    Args:
        stream: has a descriptor, which is written to directly: a thread that hangs in a write at the end of the process
            must not hold a lock of the stream.
        limit: at least 1.
    """

    def __init__(self, stream: TextIO, limit: int = _WAITING_RECORDS) -> None:
        super().__init__()
        self._descriptor = stream.fileno()
        self._encoding = stream.encoding
        self._limit = limit
        self._lines: deque[str] = deque()
        self._in_flight = 0
        self._idle = False  # the thread waits to be told of a line
        self._dropped = 0
        self._broken = False  # the last write failed; it is tried again with the next record
        self._stuck = False  # somebody waited in vain, and nothing was written since
        self._closed = False
        # The handler's own lock, which may be taken again by its owner: a collected object may log at any moment, on
        # either thread, and with two locks the threads could each hold the one that the other wants.
        assert self.lock is not None
        self._changed = threading.Condition(self.lock)
        # A daemon: it may hang in a write for ever.
        threading.Thread(target=self._work, name="hubwire-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            # As handlers of the library do: whoever logs something that cannot be shown goes on. But they print.
            text, place = "the record of %s:%d cannot be shown", (record.filename, record.lineno)
            line = self.format(_record(logging.ERROR, text, *place, exc_info=True))
        with self._changed:
            if self._closed:
                return
            if len(self._lines) + self._in_flight >= self._limit:
                self._dropped += 1
                return
            self._lines.append(line)
            if self._idle:
                self._idle = False
                self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything is written, a second at most, and not a second time if that was in vain."""
        with self._changed:
            if not self._stuck:
                self._stuck = not self._changed.wait_for(lambda: not (self._due() or self._in_flight), _FLUSH_S)

    def close(self) -> None:
        """Take no records any more; those that wait are still written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        super().close()

    def _due(self) -> bool:
        """Is there something to write."""
        return bool(self._lines) or (self._dropped > 0 and not self._broken)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._due():
                    if self._closed:
                        return
                    self._idle = True
                    self._changed.wait()
                # All at once: what was dropped came after these, and before whatever will wait next.
                lines, self._lines = self._lines, deque()
                dropped, self._dropped = self._dropped, 0
                self._in_flight = len(lines) + bool(dropped)
            notice = [self.format(_record(logging.WARNING, "%d log records were dropped", dropped))] if dropped else []
            written = self._write([*lines, *notice])
            with self._changed:
                if written < len(lines) + len(notice):
                    self._dropped += dropped + len(lines) - min(written, len(lines))
                self._in_flight = 0
                self._changed.notify_all()
            # No lock and no event, for the reason above: who flushes then waits that much longer.
            time.sleep(_GATHER_S)

    def _write(self, lines: Sequence[str]) -> int:
        """How many of the lines were written; fewer than all if the system refuses."""
        encoded = [f"{line}\n".encode(self._encoding, "backslashreplace") for line in lines]
        rest = memoryview(b"".join(encoded))
        size = len(rest)
        self._broken = False
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
                self._stuck = False
            except BlockingIOError:
                time.sleep(_AGAIN_S)  # somebody else who has the same terminal or pipe made it so
            except OSError:
                self._broken = True
                break
        return bisect(list(accumulate(map(len, encoded))), size - len(rest))


def configure(
    format: LogFormat, level: LogLevel, off: Sequence[str], resource_id: str, stream: TextIO | None = None
) -> None:
    """
    Set up logging for this process.

    Args:
        off: categories (connectivity, messaging, http) to leave out altogether.
        stream: see `QueuedLines`; standard error if None.
    """
    stream = stream or sys.stderr
    # There is no standard error in a process that was started without; its number may be another file's by now.
    handler = QueuedLines(stream) if stream is not None else logging.NullHandler()
    handler.setFormatter(JsonLines(resource_id) if format == "json" else TextLines())
    # Nothing that we write shows them, and each record would look them up.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    for former in root.handlers:
        if isinstance(former, QueuedLines):
            former.close()
    root.handlers[:] = [handler]
    # Libraries speak only when something is wrong.
    root.setLevel(logging.WARNING)
    logging.getLogger(_ROOT).setLevel(level.upper())
    for name in CATEGORIES:
        logger = logging.getLogger(f"{_ROOT}.{name}")
        logger.setLevel(logging.CRITICAL + 1 if name in off else logging.NOTSET)
    logging.captureWarnings(True)


def flush_records() -> None:
    """Wait until all that was logged is written, a second at most."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def _record(level: int, text: str, *args: object, exc_info: bool = False) -> logging.LogRecord:
    """One of our own."""
    fault = sys.exc_info() if exc_info else None
    return logging.LogRecord(f"{_ROOT}.server", level, __file__, 0, text, args, fault)


def _category(record: logging.LogRecord) -> str:
    prefix, _, name = record.name.partition(".")
    return CATEGORIES.get(name, "ServerLogs") if prefix == _ROOT else "ServerLogs"


def _plain(value: object) -> str:
    """As it is, or in quotes if it could be taken for more than one field."""
    text = str(value)
    if text.isprintable() and not _QUOTED.search(text):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_printable(text)}"'


def _printable(text: str) -> str:
    """Line breaks and all else that does not show, escaped as in Python."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
