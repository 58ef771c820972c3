"""
Identities in files, one a line as JSON, and the way there and back: page by page, so that it makes no difference how
many there are.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple
from urllib.parse import quote

import click
import msgspec
from msgspec import Raw

from hubwire.cli.control import control
from hubwire.cli.faults import CommandFailed
from hubwire.cli.output import print_document
from hubwire.cli.text import one_line

__all__ = ["export_identities", "import_identities"]

_STANDARD: Final = "-"
_MOST_AT_ONCE: Final = 1000
_IMPORTED_AT_ONCE: Final = 500
"""Half of what a server takes at once, so that the bar moves."""
_LONGEST_LINE: Final = 16 * 1024
"""An identity with a custom id of 256 characters, each escaped, has some 3,500."""
_REASONS: Final = {
    "other": "this identity is there with another custom id",
    "deleted": "this identity was deleted here",
    "taken": "another identity has its custom id",
    "invalid": "this is no identity",
}
"""Why one was not brought back, by the word of the server."""
_DONE: Final = {"made": "brought back", "known": "there already"}
_CLEAR_LINE: Final = "\r\x1b[K"

_Advance = Callable[[int], None]


class _Line(NamedTuple):
    """
    Attributes:
        identity: None if this is no JSON, or longer than any identity.
        id: as far as there is one; empty otherwise.
    """

    number: int
    length_bytes: int
    identity: Raw | None
    id: str


def export_identities(folder: Path, path: str, file: str) -> None:
    """
    Write all identities of a service.

    Args:
        folder: data folder of the server.
        path: of the identities, on the control socket.
        file: "-" for standard output.

    Raises:
        NoServer, Refusal, CommandFailed: see `control`. Then a file that was there is as it was.
    """
    after = ""
    with _written(file) as write, _progress("Exporting", None) as advance:
        while True:
            page = control(folder, "GET", f"{path}/:export?limit={_MOST_AT_ONCE}{after}")
            write(b"".join(msgspec.json.encode(identity) + b"\n" for identity in page["value"]))
            advance(len(page["value"]))
            if "after" not in page:
                return
            after = f"&after={quote(page['after'], safe='')}"


def import_identities(folder: Path, path: str, file: str, as_json: bool) -> None:
    """
    Bring the identities of a file back, and say what became of them.

    Args:
        folder, path: as for the export.
        file: "-" for standard input.

    Raises:
        NoServer, Refusal, CommandFailed: see `control`; and if any was not brought back, after all others were.
    """
    counts = dict.fromkeys((*_DONE, *_REASONS), 0)
    with ExitStack() as stack:
        opened = sys.stdin.buffer if file == _STANDARD else stack.enter_context(open(file, "rb"))
        size = None if file == _STANDARD else os.fstat(opened.fileno()).st_size
        advance = stack.enter_context(_progress("Importing", size))
        for lines in _batches(_lines(opened)):
            sent = [line for line in lines if line.identity is not None]
            results = iter(_sent(folder, path, sent))
            for line in lines:
                result = "invalid" if line.identity is None else next(results)
                counts[result] += 1
                if result in _REASONS:
                    _report(line, _REASONS[result])
            advance(len(lines) if size is None else sum(line.length_bytes for line in lines))
    if as_json:
        print_document(counts, as_json)
    else:
        click.echo(", ".join(f"{counts[result]} {words}" for result, words in _DONE.items()))
    refused = sum(counts[result] for result in _REASONS)
    if refused:
        raise CommandFailed(f"{refused} of {sum(counts.values())} identities were not brought back")


def _sent(folder: Path, path: str, lines: list[_Line]) -> list[str]:
    """A result for each."""
    if not lines:
        return []
    answer: Any = control(folder, "POST", f"{path}/:import", {"value": [line.identity for line in lines]})
    results = [str(one["result"]) for one in answer["value"]]
    if len(results) != len(lines) or not {*_DONE, *_REASONS}.issuperset(results):
        raise CommandFailed("the server's answer is of another kind; is it a Hubwire server of another version?")
    return results


def _lines(file: BinaryIO) -> Iterator[_Line]:
    """Those that are not blank."""
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        length, last = len(line), line
        while not last.endswith(b"\n") and (last := file.readline(_LONGEST_LINE)):
            length += len(last)
        if length > len(line):
            yield _Line(number, length, None, "")
        elif line.strip():
            yield _line(number, line)


def _line(number: int, line: bytes) -> _Line:
    try:
        document = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Line(number, len(line), None, "")
    id = document.get("id") if isinstance(document, dict) else None
    return _Line(number, len(line), Raw(line), id if isinstance(id, str) else "")


def _batches(lines: Iterator[_Line]) -> Iterator[list[_Line]]:
    batch: list[_Line] = []
    for line in lines:
        batch.append(line)
        if len(batch) == _IMPORTED_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _report(line: _Line, reason: str) -> None:
    if sys.stderr.isatty():
        click.echo(_CLEAR_LINE, nl=False, err=True)
    which = f"{one_line(line.id)}: " if line.id else ""
    click.echo(f"hubwire: line {line.number}: {which}{reason}", err=True)


@contextmanager
def _written(file: str) -> Iterator[Callable[[bytes], object]]:
    """What writes to a file, which is there only once all of it is."""
    if file == _STANDARD:
        yield lambda content: click.echo(content, nl=False)
        return
    place = Path(file)
    if place.is_symlink() or (place.exists() and not place.is_file()):
        # Such as /dev/stdout, or a pipe: what is there must not be replaced.
        with place.open("wb") as opened:
            yield opened.write
        return
    part = place.with_name(f"{place.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        try:
            os.fchmod(opened.fileno(), 0o600)  # of one that was left there before
            yield opened.write
            opened.flush()
            os.fsync(opened.fileno())
            part.replace(place)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def _progress(title: str, length: int | None) -> Iterator[_Advance]:
    """A bar on stderr, for people: in a file it would be noise. Without a length it counts."""
    bar = click.progressbar(
        iterable=(None for _ in ()),  # whose length cannot be guessed
        length=length,
        label=title,
        show_pos=length is None,
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    )
    with bar:
        yield bar.update
