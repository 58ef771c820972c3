"""Documents of the server as text for people, or as JSON for programs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
import msgspec

from hubwire.cli.text import printable

__all__ = ["compact", "print_columns", "print_document", "print_rows", "rows_of"]


def print_document(document: Any, as_json: bool) -> None:
    """JSON as it came, indented; else a line for each value, what lies deeper after a dot."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
        return
    print_rows(rows_of(document))


def rows_of(document: Any) -> list[tuple[str, str]]:
    """A title and a text for each value of a document."""
    return list(_flat(document, ""))


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Titles in one column, texts in the other."""
    width = max((len(title) for title, _ in rows), default=0)
    for title, value in rows:
        click.echo(f"{printable(title).ljust(width)}  {printable(value)}")


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Lines of as many cells each, one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo(printable("  ".join(map(str.ljust, row, widths)).rstrip()))


def compact(value: Any) -> str:
    """A value as JSON on one line."""
    return msgspec.json.encode(value).decode()


def _flat(document: Any, title: str) -> Iterable[tuple[str, str]]:
    match document:
        case Mapping() if document:
            for name, value in document.items():
                yield from _flat(value, f"{title}.{name}" if title else str(name))
        case bool():
            yield title, "yes" if document else "no"
        case None | [] | {}:
            yield title, "-"
        case list() | tuple():
            yield title, ", ".join(item if isinstance(item, str) else compact(item) for item in document)
        case _:
            yield title, str(document)
