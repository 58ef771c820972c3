"""What the server has written down."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hubwire.logs import JsonLines, TextLines

__all__ = ["Written", "writing"]


class Written(logging.Handler):
    """
    Everything that was recorded.

    Attributes:
        records: as they came.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def fields(self, operation: str) -> list[dict[str, Any]]:
        """Fields of the records of one operation."""
        found = [getattr(record, "record", {}) for record in self.records]
        return [fields for fields in found if fields.get("operationName") == operation]

    def levels(self, operation: str) -> list[int]:
        return [row.levelno for row in self.records if getattr(row, "record", {}).get("operationName") == operation]

    @property
    def operations(self) -> list[str]:
        return [getattr(record, "record", {}).get("operationName", record.getMessage()) for record in self.records]

    @property
    def text(self) -> str:
        """Everything, in both formats."""
        formats = (TextLines(), JsonLines("/default"))
        return "\n".join(format.format(record) for record in self.records for format in formats)


@contextmanager
def writing() -> Iterator[Written]:
    """Everything that is recorded at any level."""
    handler = Written()
    logger = logging.getLogger("hubwire")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)
