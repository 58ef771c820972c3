"""`hubwire secret`: the secrets of a Key Vault of this server."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from hubwire.cli.control import control
from hubwire.cli.faults import BadCommandLine, CommandFailed
from hubwire.cli.options import as_json, data_folder, file_path
from hubwire.cli.output import print_document
from hubwire.cli.text import printable

__all__ = ["secret"]

_MOST_BYTES: Final = 64 * 1024
"""More than a secret may have."""

_vault = click.option("--vault", required=True, metavar="NAME", help="Key Vault of this server.")


@click.group(short_help="Show or change secrets of Key Vaults.")
def secret() -> None:
    """Show or change secrets of the Key Vaults here. Their values are stored encrypted."""


@secret.command("set")
@click.argument("name")
@click.argument("value", required=False)
@_vault
@click.option("--file", "file", type=file_path, metavar="FILE", help="Read the value from a file.")
@click.option("--content-type", metavar="TEXT", help="What the value is, for people.")
@as_json
@data_folder
def set_secret(
    name: str,
    value: str | None,
    vault: str,
    file: str | None,
    content_type: str | None,
    data: Path,
    as_json: bool,
) -> None:
    """
    Set a secret, as a new version if it is there. Event handlers have the new value with the next event.

    Without VALUE it is asked for, or read from standard input (-), so that it stands in no list of processes. A line
    break at the end is no part of it.
    """
    if file is not None and value is not None:
        raise BadCommandLine("name a VALUE or a --file, not both")
    body = {"value": _value(value, file)}
    if content_type is not None:
        body["contentType"] = content_type
    _show(control(data, "PUT", _path(vault, name), body), as_json)


@secret.command("list")
@_vault
@as_json
@data_folder
def list_secrets(vault: str, data: Path, as_json: bool) -> None:
    """Show all secrets of a vault, without their values."""
    found = control(data, "GET", _path(vault))["value"]
    if as_json:
        print_document(found, as_json)
        return
    width = max((len(document["name"]) for document in found), default=0)
    for document in found:
        state = "" if document["attributes"]["enabled"] else "  disabled"
        click.echo(printable(f"{document['name'].ljust(width)}  {document['version']}{state}"))


@secret.command("show")
@click.argument("name")
@_vault
@click.option("--value", "with_value", is_flag=True, help="Print the value, and nothing else.")
@as_json
@data_folder
def show(name: str, vault: str, with_value: bool, data: Path, as_json: bool) -> None:
    """Show a secret with its versions, without its value unless that is asked for."""
    if not with_value:
        _show(control(data, "GET", _path(vault, name)), as_json)
        return
    found = control(data, "POST", f"{_path(vault, name)}/:value")
    if as_json:
        print_document(found, as_json)
    else:
        click.echo(found["value"])


@secret.command("delete")
@click.argument("name")
@_vault
@data_folder
def delete(name: str, vault: str, data: Path) -> None:
    """
    Delete a secret with all its versions, for good.

    Event handlers whose URLs name it go on with the last value for an hour (secret_stale_s).
    """
    control(data, "DELETE", _path(vault, name))


def _value(value: str | None, file: str | None) -> str:
    if file is not None:
        return _text(_read_file(file), f"the file {file}")
    if value is None and sys.stdin.isatty():
        return str(click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True))
    if value is None or value == "-":
        return _text(sys.stdin.buffer.read(_MOST_BYTES), "standard input")
    return value


def _read_file(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read(_MOST_BYTES)
    except OSError as error:
        raise CommandFailed(f"cannot read {file}: {error.strerror or error}") from error


def _text(content: bytes, where: str) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadCommandLine(f"{where} is not UTF-8 text") from error
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise BadCommandLine(f"there is no value in {where}")
    return text


def _path(vault: str, name: str | None = None) -> str:
    if not vault.strip() or (name is not None and not name.strip()):
        raise BadCommandLine("a vault and a secret have a name")
    path = f"/control/vaults/{quote(vault, safe='')}/secrets"
    return path if name is None else f"{path}/{quote(name, safe='')}"


def _show(document: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_document(document, as_json)
        return
    attributes = document["attributes"]
    shown: dict[str, Any] = {"name": document["name"], "version": document["version"]}
    if "contentType" in document:
        shown["content type"] = document["contentType"]
    shown["enabled"] = attributes["enabled"]
    times = {"nbf": "not before", "exp": "expires", "created": "created", "updated": "updated"}
    shown |= {title: _moment(attributes[key]) for key, title in times.items() if key in attributes}
    if "versions" in document:
        shown["versions"] = document["versions"]
    print_document(shown, as_json)


def _moment(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return str(seconds)  # later than any calendar
