"""`hubwire send`: publish one message, as an application's server would over REST."""

import asyncio
import shlex
import sys
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

import click
import msgspec
from msgspec import Struct
from yarl import URL

from hubwire.cli.access import ConnectionString, bearer, parse_connection_string
from hubwire.cli.control import control_session, exchange, plain_session
from hubwire.cli.faults import BadCommandLine
from hubwire.cli.options import WholeNumber, data_folder
from hubwire.cli.program import program

__all__ = ["Publication", "send"]

_API_VERSION: Final = "2024-12-01"
_LOCAL: Final = "http://localhost"


class Publication(Struct, frozen=True):
    """One message and where it goes, in the words of the REST API."""

    path: str
    query: tuple[tuple[str, str], ...]
    content_type: str
    body: bytes


@click.command(short_help="Publish one message.")
@click.option("--hub", required=True, metavar="HUB", help="Hub to send in.")
@click.option("--group", metavar="GROUP", help="To the members of a group.")
@click.option("--user", "user_id", metavar="USER", help="To the connections of a user.")
@click.option("--connection", "connection_id", metavar="ID", help="To one connection.")
@click.option("--all", "everybody", is_flag=True, help="To every connection of the hub.")
@click.option("--text", metavar="TEXT", help="Send text.")
@click.option("--json", "json_text", metavar="JSON", help="Send a JSON value, as it is spelled here.")
@click.option("--binary-file", type=click.File("rb"), metavar="FILE", help="Send the bytes of a file; - for stdin.")
@click.option("--exclude", "excluded", multiple=True, metavar="ID", help="Connection to leave out; repeatable.")
@click.option("--filter", "filter_", metavar="FILTER", help="OData filter that receivers must satisfy.")
@click.option("--ttl", "ttl_s", type=WholeNumber(0, 300), metavar="SECONDS", help="How long it may wait; 0 for ever.")
@click.option(
    "--connection-string",
    envvar="HUBWIRE_CONNECTION_STRING",
    metavar="STRING",
    help="Send to this service over HTTP, not to the server of the data folder; HUBWIRE_CONNECTION_STRING counts too.",
)
@click.argument("words", nargs=-1, metavar="[-]")
@data_folder
def send(
    hub: str,
    group: str | None,
    user_id: str | None,
    connection_id: str | None,
    everybody: bool,
    text: str | None,
    json_text: str | None,
    binary_file: BinaryIO | None,
    excluded: tuple[str, ...],
    filter_: str | None,
    ttl_s: int | None,
    connection_string: str | None,
    words: tuple[str, ...],
    data: Path,
) -> None:
    """
    Publish one message to a group, a user, a connection or a whole hub.

    Name one receiver and one content; "-" sends the text of stdin, without its last line end. Prints nothing when the
    server took the message.
    """
    if words not in ((), ("-",)):
        raise click.UsageError(_misplaced(words, text))
    path, kind = _target(hub, group, user_id, connection_id, everybody)
    if excluded and kind not in ("group", "hub"):
        raise click.UsageError("--exclude goes with --group or --all")
    if filter_ is not None and kind == "connection":
        raise click.UsageError("--filter does not go with --connection")
    content_type, body = _content(text, json_text, binary_file, from_stdin=bool(words))
    query = [("api-version", _API_VERSION), *(("excluded", one) for one in excluded)]
    if filter_ is not None:
        query.append(("filter", filter_))
    if ttl_s is not None:
        query.append(("messageTtlSeconds", str(ttl_s)))
    publication = Publication(path, tuple(query), content_type, body)
    service = None if connection_string is None else parse_connection_string(connection_string)
    asyncio.run(_publish(publication, service, data))


async def _publish(publication: Publication, service: ConnectionString | None, folder: Path) -> None:
    headers = {"Content-Type": publication.content_type}
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in publication.query)
    origin = _LOCAL if service is None else service.endpoint
    # Encoded here and not again: a token proves the URL exactly as it is sent.
    url = URL(f"{origin}{publication.path}?{query}", encoded=True)
    if service is not None:
        headers.update(bearer(url, service.access_key))
    async with control_session(folder) if service is None else plain_session() as session:
        await exchange(session, "POST", url, headers=headers, body=publication.body)


def _target(
    hub: str, group: str | None, user_id: str | None, connection_id: str | None, everybody: bool
) -> tuple[str, str]:
    """Path of the operation that sends, and the kind of its target."""
    named = [
        (kind, place, name)
        for kind, place, name in (
            ("group", "/groups", group),
            ("user", "/users", user_id),
            ("connection", "/connections", connection_id),
            ("hub", "", "" if everybody else None),
        )
        if name is not None
    ]
    if not named:
        raise click.UsageError("name one receiver: --group, --user, --connection or --all")
    if len(named) > 1:
        both = " and ".join("--all" if kind == "hub" else f"--{kind}" for kind, _, _ in named)
        raise click.UsageError(f"only one receiver may be named, not {both}")
    kind, place, name = named[0]
    if place and not name:
        raise click.UsageError(f"--{kind} wants a name")
    below = f"{place}/{quote(name, safe='')}" if place else ""
    return f"/api/hubs/{quote(hub, safe='')}{below}/:send", kind


def _misplaced(words: tuple[str, ...], text: str | None) -> str:
    """Where words belong that stand where only "-" may."""
    whole = " ".join(words if text is None else (text, *words))
    why = "the text goes behind --text" if text is None else "text with blanks stands in quotes"
    return f"{why}: {program()} send … --text {shlex.quote(whole)}"


def _content(
    text: str | None, json_text: str | None, binary_file: BinaryIO | None, *, from_stdin: bool
) -> tuple[str, bytes]:
    """Content type and body."""
    named = {
        "--text": text is not None,
        "--json": json_text is not None,
        "--binary-file": binary_file is not None,
        "-": from_stdin,
    }
    given = [name for name, there in named.items() if there]
    if not given:
        raise click.UsageError("name one content: --text, --json, --binary-file or - for the text of stdin")
    if len(given) > 1:
        raise click.UsageError(f"only one content may be named, not {' and '.join(given)}")
    if binary_file is not None:
        return "application/octet-stream", binary_file.read()
    if json_text is not None:
        try:
            msgspec.json.decode(json_text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadCommandLine(f"--json is not JSON: {error}") from error
        return "application/json", json_text.encode()
    if text is None:
        body = sys.stdin.buffer.read()
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise BadCommandLine("stdin is not UTF-8 text; --binary-file - sends any bytes") from error
        return "text/plain; charset=utf-8", body.removesuffix(b"\n").removesuffix(b"\r")
    return "text/plain; charset=utf-8", text.encode()
