"""Files of JSON that people write: with comments, without quotes, and a place for each fault."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubwire.cli.faults import CommandFailed

if TYPE_CHECKING:
    from hubwire.resources.lenient_json import Parsed

__all__ = ["placed", "read_json", "read_text"]


def read_text(file: str) -> str:
    """
    Raises:
        OSError: it cannot be read.
        CommandFailed: it is not UTF-8.
    """
    try:
        return Path(os.path.expanduser(file)).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{file} is not UTF-8") from error


def read_json(file: str) -> "Parsed":
    """
    Raises:
        OSError: it cannot be read.
        CommandFailed: it is not JSON, not even in the wide sense.
    """
    # Here, not above: other commands start without loading it.
    from hubwire.resources.lenient_json import Unreadable, parse

    try:
        return parse(read_text(file))
    except Unreadable as error:
        raise CommandFailed(placed(file, error.line, error.column, error.reason)) from error


def placed(file: str, line: Any, column: Any, message: str) -> str:
    """A fault at a place of a file, in the form that editors know; without the place where it is not known."""
    return f"{file}({line},{column}): {message}" if line else f"{file}: {message}"
