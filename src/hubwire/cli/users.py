"""`hubwire user`: users of the local token issuer, and tokens in their name, for tests of what takes such tokens."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from hubwire.cli.control import control
from hubwire.cli.faults import BadCommandLine
from hubwire.cli.options import as_json, data_folder
from hubwire.cli.output import print_document
from hubwire.cli.text import printable

__all__ = ["user"]

_TITLES = {"tenantId": "tenant id", "objectId": "object id", "displayName": "display name"}


@click.group(short_help="Show or change users of the local token issuer.")
def user() -> None:
    """
    Show or change users of the local issuer, and mint their tokens.

    Off unless the server has the setting user_tokens. USER is a sign-in name or an object id.
    """


@user.command("create")
@click.argument("name")
@click.option("--object-id", metavar="GUID", help="The user's id in the directory. [a new one]")
@click.option("--display-name", metavar="TEXT", default="", help="How the user is called. [the sign-in name]")
@click.option("--password-stdin", is_flag=True, help="Read a password for the password grant from standard input.")
@as_json
@data_folder
def create(
    name: str, object_id: str | None, display_name: str, password_stdin: bool, data: Path, as_json: bool
) -> None:
    """Make a user, with a sign-in name such as alice@example.com."""
    password = _password() if password_stdin else ""
    request = {"name": name, "displayName": display_name, "password": password}
    if object_id is not None:
        request["objectId"] = object_id
    made: Mapping[str, Any] = control(data, "POST", "/control/users", request)
    print_document(made if as_json else {_TITLES.get(key, key): value for key, value in made.items()}, as_json)


@user.command("list")
@as_json
@data_folder
def list_users(data: Path, as_json: bool) -> None:
    """Show all users."""
    users: Sequence[Mapping[str, Any]] = control(data, "GET", "/control/users")["value"]
    if as_json:
        print_document(users, as_json)
        return
    width = max((len(str(document["name"])) for document in users), default=0)
    for document in users:
        click.echo(printable(f"{str(document['name']).ljust(width)}  {document['objectId']}"))


@user.command("delete")
@click.argument("user")
@data_folder
def delete(user: str, data: Path) -> None:
    """Delete a user. Tokens that they have are good until they end."""
    control(data, "DELETE", _path(user))


@user.command("token")
@click.argument("user")
@click.option("--app", required=True, metavar="APP", help="Application that acts for the user.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="SCOPE",
    help="Such as https://auth.msft.communication.azure.com/Teams.ManageCalls; repeatable, all of one resource.",
)
@as_json
@data_folder
def token(user: str, app: str, scopes: tuple[str, ...], data: Path, as_json: bool) -> None:
    """Print a token of a user, as the application would get it by their sign-in."""
    answer = control(data, "POST", f"{_path(user)}/:token", {"app": app, "scope": " ".join(scopes)})
    if as_json:
        print_document(answer, as_json)
    else:
        click.echo(answer["token"])


def _password() -> str:
    try:
        password = sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise BadCommandLine("the password on standard input is not UTF-8") from error
    if not password:
        raise BadCommandLine("there is no password on standard input")
    return password


def _path(user: str) -> str:
    if not user.strip():
        raise BadCommandLine("a user has a name or an object id")
    return f"/control/users/{quote(user, safe='')}"
