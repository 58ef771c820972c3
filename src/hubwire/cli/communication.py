"""`hubwire communication`: the communication services of this server, and their access keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from hubwire.cli.faults import CommandFailed
from hubwire.cli.keys import print_keys
from hubwire.cli.management import HOME_GROUP, Manager
from hubwire.cli.options import as_json, data_folder
from hubwire.cli.output import print_document, print_rows, rows_of
from hubwire.cli.program import data_option, program
from hubwire.cli.resource_body import changed_tags
from hubwire.cli.text import printable

__all__ = ["communication"]

_VERSION: Final = "2023-04-01"
_TYPE: Final = "/providers/Microsoft.Communication/communicationServices"
_KINDS: Final = ("primary", "secondary")
_DEFAULT: Final = "default"

_group = click.option("--group", metavar="NAME", help="Resource group. [wherever it is]")


@click.group(short_help="Show or change communication services.")
def communication() -> None:
    """
    Show or change communication services: each has access keys and users of its own.

    One named default is there from the start, and answers for every host.
    """


@communication.command("list")
@_group
@as_json
@data_folder
def list_services(group: str | None, data: Path, as_json: bool) -> None:
    """Show all services: name, host, resource group."""
    found = _services(Manager(data), group)
    if as_json:
        print_document(found, as_json)
        return
    rows = [(one["name"], one["properties"]["hostName"], one["id"].split("/")[4]) for one in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo(printable("  ".join(map(str.ljust, row, widths)).rstrip()))


@communication.command("show")
@click.argument("name", default=_DEFAULT)
@_group
@as_json
@data_folder
def show(name: str, group: str | None, data: Path, as_json: bool) -> None:
    """Show one service, the one named default if no other is named."""
    _show(_find(Manager(data), name, group), as_json)


@communication.command("create")
@click.argument("name")
@click.option(
    "--group", default=HOME_GROUP, show_default=True, metavar="NAME", help="Resource group; made if it is not there."
)
@click.option(
    "--data-location", default="United States", show_default=True, metavar="PLACE", help="As it is called in Azure."
)
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Tag; repeatable.")
@as_json
@data_folder
def create(name: str, group: str, data_location: str, tags: tuple[str, ...], data: Path, as_json: bool) -> None:
    """Make a service. It has ports of its own."""
    manager = Manager(data)
    if any(there["name"].lower() == name.lower() for there in _services(manager, None)):
        raise CommandFailed(f"there is a communication service {name} already")
    body = {"location": "global", "tags": changed_tags(tags, {}), "properties": {"dataLocation": data_location}}
    place = f"{manager.group(group)}{_TYPE}/{_segment(name)}"
    _show(manager.call("PUT", place, body, _VERSION).document, as_json)
    if not as_json:
        keys = f"{program()} communication keys {name}{data_option(data)}"
        click.echo(f"hubwire: its connection string: {keys}", err=True)


@communication.command("delete")
@click.argument("name")
@_group
@data_folder
def delete(name: str, group: str | None, data: Path) -> None:
    """Delete a service with its users. Their tokens are good for nothing any more."""
    manager = Manager(data)
    manager.call("DELETE", _path(_find(manager, name, group)), None, _VERSION)


@communication.command("keys")
@click.argument("name", default=_DEFAULT)
@_group
@as_json
@data_folder
def keys(name: str, group: str | None, data: Path, as_json: bool) -> None:
    """Show keys and connection strings of a service, of default if no other is named. They are secrets."""
    manager = Manager(data)
    place = _path(_find(manager, name, group))
    print_keys(manager.call("POST", f"{place}/listKeys", None, _VERSION).document, as_json)


@communication.command("rotate")
@click.argument("name")
@click.argument("kind", type=click.Choice(_KINDS))
@_group
@as_json
@data_folder
def rotate(name: str, kind: str, group: str | None, data: Path, as_json: bool) -> None:
    """Replace a key of a service. What it signed proves nothing any more, nor do tokens that were issued with it."""
    manager = Manager(data)
    place = _path(_find(manager, name, group))
    print_keys(manager.call("POST", f"{place}/regenerateKey", {"keyType": kind}, _VERSION).document, as_json)


def _services(manager: Manager, group: str | None) -> list[dict[str, Any]]:
    above = manager.subscription if group is None else manager.group(group)
    return list(manager.call("GET", f"{above}{_TYPE}", None, _VERSION).document["value"])


def _find(manager: Manager, name: str, group: str | None) -> dict[str, Any]:
    _segment(name)
    there = _services(manager, group)
    for found in there:
        if found["name"].lower() == name.lower():
            return found
    names = ", ".join(str(found["name"]) for found in there)
    raise CommandFailed(f"there is no communication service {name}{f'; there are: {names}' if names else ''}")


def _path(document: Mapping[str, Any]) -> str:
    return quote(document["id"], safe="/")


def _segment(name: str) -> str:
    if not name.strip():
        raise click.UsageError("a communication service has a name")
    return quote(name, safe="")


def _show(document: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_document(document, as_json)
        return
    properties = document["properties"]
    print_rows(
        rows_of(
            {
                "name": document["name"],
                "host": properties["hostName"],
                "immutable id": properties["immutableResourceId"],
                "data location": properties["dataLocation"],
                "access keys": "refused" if properties["disableLocalAuth"] else "taken",
                "public network": properties["publicNetworkAccess"],
                "tags": document["tags"],
                "resource id": document["id"],
            }
        )
    )
