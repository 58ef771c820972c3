"""`hubwire managed-identity`: the user-assigned identities that resources can have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from hubwire.cli.faults import CommandFailed
from hubwire.cli.management import Manager, group_option, new_group_option
from hubwire.cli.options import as_json, data_folder
from hubwire.cli.output import print_document, print_rows, rows_of
from hubwire.cli.program import data_option, program
from hubwire.cli.resource_body import changed_tags
from hubwire.cli.text import printable

__all__ = ["managed_identity"]


@click.group("managed-identity", short_help="Show or change user-assigned identities.")
def managed_identity() -> None:
    """
    Show or change user-assigned identities, in whose name resources call event handlers and Key Vaults.

    A resource gets one by: resource set RESOURCE --identity NAME
    """


@managed_identity.command("create")
@click.argument("name")
@new_group_option
@click.option("--location", default="local", metavar="PLACE", help="Name of a region; any will do.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Tag; repeatable.")
@as_json
@data_folder
def create(name: str, group: str, location: str, tags: tuple[str, ...], data: Path, as_json: bool) -> None:
    """Make an identity. Its ids stay as long as it is there."""
    manager = Manager(data)
    if any(there["name"].lower() == name.lower() for there in manager.identities(group)):
        raise CommandFailed(f"there is an identity {name} already in the resource group {group}")
    body = {"location": location, "tags": changed_tags(tags, {})}
    _show(manager.call("PUT", manager.identity_place(group, name), body).document, as_json)
    if not as_json:
        use = f"{program()} resource set default --identity {name}{data_option(data)}"
        click.echo(f"hubwire: to let a resource use it: {use}", err=True)


@managed_identity.command("list")
@group_option
@as_json
@data_folder
def list_identities(group: str | None, data: Path, as_json: bool) -> None:
    """Show all identities: name, client id, principal id, resource group."""
    found = Manager(data).identities(group)
    if as_json:
        print_document(found, as_json)
        return
    rows = [_row(document) for document in found]
    width = max((len(row[0]) for row in rows), default=0)
    for name, *ids in rows:
        click.echo(printable("  ".join((name.ljust(width), *ids))))


@managed_identity.command("show")
@click.argument("name")
@group_option
@as_json
@data_folder
def show(name: str, group: str | None, data: Path, as_json: bool) -> None:
    """Show one identity, and the resources that have it. NAME may be its resource id."""
    manager = Manager(data)
    found = manager.identity(name, group)
    users = manager.call("POST", f"{manager.path_of(found)}/listAssociatedResources").document["value"]
    _show({**found, "usedBy": [str(user["name"]) for user in users]}, as_json)


@managed_identity.command("delete")
@click.argument("name")
@group_option
@data_folder
def delete(name: str, group: str | None, data: Path) -> None:
    """Delete an identity that no resource has, with its roles. NAME may be its resource id."""
    manager = Manager(data)
    manager.call("DELETE", manager.path_of(manager.identity(name, group)))


def _row(document: Mapping[str, Any]) -> tuple[str, str, str, str]:
    ids = document["properties"]
    return document["name"], ids["clientId"], ids["principalId"], document["id"].split("/")[4]


def _show(document: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_document(document, as_json)
        return
    ids = document["properties"]
    shown = {
        "name": document["name"],
        "client id": ids["clientId"],
        "principal id": ids["principalId"],
        "tenant id": ids["tenantId"],
        "location": document["location"],
        "tags": document["tags"],
        "used by": document.get("usedBy", []),
        "resource id": document["id"],
    }
    print_rows(rows_of(shown))
