"""`hubwire identity`: the users of this server's communication services, and their tokens."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from hubwire.cli.control import control
from hubwire.cli.faults import BadCommandLine
from hubwire.cli.identity_files import export_identities, import_identities
from hubwire.cli.options import Command, WholeNumber, as_json, data_folder, file_path
from hubwire.cli.output import print_document, print_rows
from hubwire.cli.text import printable
from hubwire.model.communication import SCOPES

__all__ = ["identity"]

_MOST_AT_ONCE: Final = 1000
_NEVER: Final = "-"

_service = click.option(
    "--service", default="default", show_default=True, metavar="NAME", help="Communication service whose they are."
)
_minutes = click.option(
    "--minutes",
    type=WholeNumber(60, 1440),
    metavar="N",
    help="How long the token is good for, 60 to 1440, which is the default.",
)


def _scopes(required: bool, text: str) -> Callable[[Command], Command]:
    return click.option("--scope", "scopes", multiple=True, required=required, type=click.Choice(SCOPES), help=text)


@click.group(short_help="Show or change users of communication services.")
def identity() -> None:
    """
    Show or change identities, which are the users of communication services, and issue their tokens.

    ID is an identity's own, such as 8:acs:GUID_GUID.
    """


@identity.command("create")
@click.option("--custom-id", metavar="TEXT", help="What you call it. The identity that has it already is shown.")
@_scopes(False, "Issue a token, too, that is good for this; repeatable.")
@_minutes
@_service
@as_json
@data_folder
def create(
    custom_id: str | None, scopes: tuple[str, ...], minutes: int | None, service: str, data: Path, as_json: bool
) -> None:
    """Make an identity."""
    if minutes is not None and not scopes:
        raise BadCommandLine("--minutes is of a token, and there is none without a --scope")
    body: dict[str, Any] = {} if custom_id is None else {"customId": custom_id}
    if scopes:
        body |= {"createTokenWithScopes": scopes, **_lifetime(minutes)}
    made = control(data, "POST", _path(service), body)
    if as_json:
        print_document(made, as_json)
        return
    rows = _rows(made["identity"])
    if "accessToken" in made:
        token = made["accessToken"]
        rows += [("token", token["token"]), ("good until", _moment(token["expiresOn"]))]
    print_rows(rows)


@identity.command("list")
@click.option(
    "--limit",
    type=WholeNumber(1, 2_147_483_647),
    metavar="N",
    default=100,
    show_default=True,
    help="Show no more than these.",
)
@click.option("--all", "everybody", is_flag=True, help="Show all of them, however many there are.")
@_service
@as_json
@data_folder
def list_identities(limit: int, everybody: bool, service: str, data: Path, as_json: bool) -> None:
    """Show identities, the oldest first: id, when it had a token last, custom id."""
    shown = []
    for found in _found(data, service, None if everybody else limit):
        if as_json:
            shown.append(found)
            continue
        cells = (found["id"], _moment(found.get("lastTokenIssuedAt")).ljust(23), found.get("customId", ""))
        click.echo(printable("  ".join(cells).rstrip()))
    if as_json:
        print_document(shown, as_json)


@identity.command("show")
@click.argument("id")
@_service
@as_json
@data_folder
def show(id: str, service: str, data: Path, as_json: bool) -> None:
    """Show one identity."""
    found = control(data, "GET", _path(service, id))
    if as_json:
        print_document(found, as_json)
    else:
        print_rows(_rows(found))


@identity.command("token")
@click.argument("id")
@_scopes(True, "What it is good for; repeatable.")
@_minutes
@_service
@as_json
@data_folder
def token(id: str, scopes: tuple[str, ...], minutes: int | None, service: str, data: Path, as_json: bool) -> None:
    """Print a token of an identity, and nothing else. Those that it has stay good."""
    body = {"scopes": scopes, **_lifetime(minutes)}
    issued = control(data, "POST", f"{_path(service, id)}/:issueAccessToken", body)
    if as_json:
        print_document(issued, as_json)
    else:
        click.echo(issued["token"])


@identity.command("revoke")
@click.argument("id")
@_service
@as_json
@data_folder
def revoke(id: str, service: str, data: Path, as_json: bool) -> None:
    """End all tokens of an identity. It can have new ones."""
    control(data, "POST", f"{_path(service, id)}/:revokeAccessTokens")
    _print_done(id, as_json)


@identity.command("delete")
@click.argument("id")
@_service
@as_json
@data_folder
def delete(id: str, service: str, data: Path, as_json: bool) -> None:
    """Delete an identity with its custom id, and end all its tokens, for good."""
    control(data, "DELETE", _path(service, id))
    _print_done(id, as_json)


@identity.command("export")
@click.argument("file", type=file_path, default="-")
@_service
@data_folder
def export(file: str, service: str, data: Path) -> None:
    """
    Write all identities into a file, one a line as JSON (JSON Lines); to standard output without FILE.

    It has no tokens and no keys, but custom ids, so that it is for its owner alone.
    """
    export_identities(data, _path(service), file)


@identity.command("import")
@click.argument("file", type=file_path)
@_service
@as_json
@data_folder
def import_file(file: str, service: str, data: Path, as_json: bool) -> None:
    """
    Bring the identities of an export back, here or at another service; from standard input if FILE is "-".

    Those that are there stay as they are, so it can be repeated, after a crash too. Each one that cannot be brought
    back is told with its line, and the others are brought back nevertheless.
    """
    import_identities(data, _path(service), file, as_json)


def _found(data: Path, service: str, limit: int | None) -> Iterator[Mapping[str, Any]]:
    """Page by page. What is left behind the limit is told on stderr."""
    after = ""
    left = limit
    while True:
        size = _MOST_AT_ONCE if left is None else min(left, _MOST_AT_ONCE)
        page = control(data, "GET", f"{_path(service)}?limit={size}{after}")
        yield from page["value"]
        if "after" not in page:
            return
        if left is not None:
            left -= size
            if left == 0:
                click.echo(f"hubwire: there may be more than these {limit}: --limit N, or --all", err=True)
                return
        after = f"&after={quote(page['after'], safe='')}"


def _lifetime(minutes: int | None) -> Mapping[str, int]:
    """Without a word of ours the server's own counts."""
    return {} if minutes is None else {"expiresInMinutes": minutes}


def _print_done(id: str, as_json: bool) -> None:
    """People need not be told that what they wanted is done; a program gets a document from every command."""
    if as_json:
        print_document({"id": id}, as_json)


def _path(service: str, id: str | None = None) -> str:
    if not service.strip():
        raise BadCommandLine("a communication service has a name")
    if id is not None and not id.strip():
        raise BadCommandLine("an identity has an id")
    path = f"/control/communication/{quote(service, safe='')}/identities"
    return path if id is None else f"{path}/{quote(id, safe='')}"


def _rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("id", found["id"]),
        ("custom id", found.get("customId", _NEVER)),
        ("last token", _moment(found.get("lastTokenIssuedAt"))),
    ]


def _moment(instant: str | None) -> str:
    """To the second, which is all that people want to know."""
    return _NEVER if instant is None else f"{instant[:10]} {instant[11:19]} UTC"
