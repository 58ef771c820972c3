"""
Records to lines: readable text, or one JSON object a line in the shape of the service's resource logs.

Names that strangers chose stand in many records. Nothing in them begins a line of its own or moves a terminal's cursor.

Whoever logs an event of a category gives its fields as `extra={"record": {…}}`. Names that the record format has at its
top are put there, all others under `properties`.

Source: the service's monitoring data reference (record format, categories, levels).
"""

import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from hubwire.settings import LogFormat, LogLevel

__all__ = ["CATEGORIES", "JsonLines", "TextLines", "configure"]

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
_AT_TOP: Final = frozenset({"operationName", "callerIpAddress"})
_QUOTED: Final = re.compile(r'[ "=]')
_ROOT: Final = "hubwire"


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def __init__(self, resource_id: str) -> None:
        super().__init__()
        self._resource_id = resource_id

    def format(self, record: logging.LogRecord) -> str:
        fields: Mapping[str, Any] = getattr(record, "record", {})
        properties = {"message": record.getMessage(), **{k: v for k, v in fields.items() if k not in _AT_TOP}}
        if record.exc_info:
            properties["exception"] = self.formatException(record.exc_info)
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": _LEVELS.get(record.levelno, "Informational"),
            "resourceId": self._resource_id,
            "location": "local",
            "category": _category(record),
            **{name: fields.get(name) for name in sorted(_AT_TOP)},
            "properties": properties,
        }
        return json.dumps(line, default=str, separators=(",", ":"))


class TextLines(logging.Formatter):
    """Time, level, message, and the fields that have a value; the lines of a traceback below it are indented."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        fields: Mapping[str, Any] = getattr(record, "record", {})
        shown = " ".join(f"{name}={_plain(value)}" for name, value in fields.items() if value not in (None, ""))
        line = f"{time} {record.levelname.lower():7} {_printable(record.getMessage())}" + (
            f"  {shown}" if shown else ""
        )
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line = "\n".join([line, *(f"  {_printable(part)}" for part in trace)])
        return line


def configure(
    format: LogFormat, level: LogLevel, off: Sequence[str], resource_id: str, stream: TextIO | None = None
) -> None:
    """
    Set up logging for this process.

    Args:
        off: categories (connectivity, messaging, http) to leave out altogether.
        stream: standard error if None.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(resource_id) if format == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries speak only when something is wrong.
    root.setLevel(logging.WARNING)
    logging.getLogger(_ROOT).setLevel(level.upper())
    for name in CATEGORIES:
        logger = logging.getLogger(f"{_ROOT}.{name}")
        logger.setLevel(logging.CRITICAL + 1 if name in off else logging.NOTSET)
    logging.captureWarnings(True)


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
