"""Documents of the server as text for people, or as JSON for programs."""

from collections.abc import Iterable, Mapping
from typing import Any

import click
import msgspec

from hubwire.cli.text import printable

__all__ = ["print_document"]


def print_document(document: Any, as_json: bool) -> None:
    """JSON as it came, indented; else a line for each value, what lies deeper after a dot."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
        return
    lines = list(_flat(document, ""))
    width = max((len(title) for title, _ in lines), default=0)
    for title, value in lines:
        click.echo(f"{printable(title).ljust(width)}  {printable(value)}")


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
            yield title, ", ".join(map(str, document))
        case _:
            yield title, str(document)
