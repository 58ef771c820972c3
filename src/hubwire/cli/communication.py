"""`hubwire communication`: the communication services of this server, and their access keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from hubwire.cli.faults import CommandFailed
from hubwire.cli.keys import print_keys
from hubwire.cli.management import Manager, ResourceType, group_option, new_group_option
from hubwire.cli.options import as_json, data_folder
from hubwire.cli.output import print_columns, print_document, print_rows, rows_of
from hubwire.cli.program import data_option, program
from hubwire.cli.resource_body import changed_tags

__all__ = ["communication"]

_SERVICE: Final = ResourceType(
    "Microsoft.Communication/communicationServices",
    "communication service",
    "2023-04-01",
    "a communication service has a name",
)
_KINDS: Final = ("primary", "secondary")
_DEFAULT: Final = "default"


@click.group(short_help="Show or change communication services.")
def communication() -> None:
    """
    Show or change communication services: each has access keys and users of its own.

    One named default is there from the start, and answers for every host.
    """


@communication.command("list")
@group_option
@as_json
@data_folder
def list_services(group: str | None, data: Path, as_json: bool) -> None:
    """Show all services: name, host, resource group."""
    found = Manager(data).resources(group, _SERVICE)
    if as_json:
        print_document(found, as_json)
        return
    print_columns([(one["name"], one["properties"]["hostName"], one["id"].split("/")[4]) for one in found])


@communication.command("show")
@click.argument("name", default=_DEFAULT)
@group_option
@as_json
@data_folder
def show(name: str, group: str | None, data: Path, as_json: bool) -> None:
    """Show one service, the one named default if no other is named."""
    _show(Manager(data).find(name, group, _SERVICE), as_json)


@communication.command("create")
@click.argument("name")
@new_group_option
@click.option(
    "--data-location", default="United States", show_default=True, metavar="PLACE", help="As it is called in Azure."
)
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Tag; repeatable.")
@as_json
@data_folder
def create(name: str, group: str, data_location: str, tags: tuple[str, ...], data: Path, as_json: bool) -> None:
    """Make a service. It has ports of its own."""
    manager = Manager(data)
    if any(there["name"].lower() == name.lower() for there in manager.resources(kind=_SERVICE)):
        raise CommandFailed(f"there is a communication service {name} already")
    body = {"location": "global", "tags": changed_tags(tags, {}), "properties": {"dataLocation": data_location}}
    _show(manager.call("PUT", manager.place(group, name, _SERVICE), body, _SERVICE.version).document, as_json)
    if not as_json:
        keys = f"{program()} communication keys {name}{data_option(data)}"
        click.echo(f"hubwire: its connection string: {keys}", err=True)


@communication.command("delete")
@click.argument("name")
@group_option
@data_folder
def delete(name: str, group: str | None, data: Path) -> None:
    """Delete a service with its users. Their tokens are good for nothing any more."""
    manager = Manager(data)
    manager.call("DELETE", manager.path(name, group, _SERVICE), None, _SERVICE.version)


@communication.command("keys")
@click.argument("name", default=_DEFAULT)
@group_option
@as_json
@data_folder
def keys(name: str, group: str | None, data: Path, as_json: bool) -> None:
    """Show keys and connection strings of a service, of default if no other is named. They are secrets."""
    manager = Manager(data)
    place = manager.path(name, group, _SERVICE)
    print_keys(manager.call("POST", f"{place}/listKeys", None, _SERVICE.version).document, as_json)


@communication.command("rotate")
@click.argument("name")
@click.argument("kind", type=click.Choice(_KINDS))
@group_option
@as_json
@data_folder
def rotate(name: str, kind: str, group: str | None, data: Path, as_json: bool) -> None:
    """Replace a key of a service. What it signed proves nothing any more, nor do tokens that were issued with it."""
    manager = Manager(data)
    place = manager.path(name, group, _SERVICE)
    print_keys(manager.call("POST", f"{place}/regenerateKey", {"keyType": kind}, _SERVICE.version).document, as_json)


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
