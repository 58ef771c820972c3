"""`hubwire keys`: the access keys of a resource."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from hubwire.cli.control import NoServer, control
from hubwire.cli.management import Manager
from hubwire.cli.offline import StoredCatalog, read_offline
from hubwire.cli.options import as_json, data_folder, resource_option
from hubwire.cli.output import print_document
from hubwire.model.hubs import DEFAULT_RESOURCE, AccessKeys

__all__ = ["KEY_KINDS", "keys", "print_keys"]

KEY_KINDS: Final = ("primary", "secondary", "salt")

_TITLES: Final = {
    "primaryKey": "primary key",
    "secondaryKey": "secondary key",
    "primaryConnectionString": "primary connection string",
    "secondaryConnectionString": "secondary connection string",
}


@click.group()
def keys() -> None:
    """Show or replace the two access keys."""


@keys.command("show")
@resource_option
@as_json
@data_folder
def show_keys(resource: str | None, data: Path, as_json: bool) -> None:
    """Show the keys and connection strings. They are secrets."""
    try:
        if resource is None:
            document = control(data, "GET", "/control/keys")
        else:
            manager = Manager(data)
            document = manager.call("POST", f"{manager.path(resource)}/listKeys").document
    except NoServer:

        async def stored(catalog: StoredCatalog) -> AccessKeys:
            return catalog.access_keys(resource or DEFAULT_RESOURCE)

        found = read_offline(data, stored)
        document = {"primaryKey": found.primary, "secondaryKey": found.secondary}
        click.echo("hubwire: no server is running, so there are no connection strings to show", err=True)
    print_keys(document, as_json)


@keys.command("rotate")
@click.argument("kind", type=click.Choice(KEY_KINDS))
@resource_option
@as_json
@data_folder
def rotate_key(kind: str, resource: str | None, data: Path, as_json: bool) -> None:
    """
    Replace one key. Tokens that it signed prove nothing any more; connections that are open stay open.

    The salt is a secret, shown to nobody, that is part of client tokens which the server itself issues, as for hubwire
    url; replacing it takes back these alone.
    """
    if resource is None:
        document = control(data, "POST", "/control/keys/:rotate", {"keyType": kind})
    else:
        manager = Manager(data)
        document = manager.call("POST", f"{manager.path(resource)}/regenerateKey", {"keyType": kind}).document
    print_keys(document, as_json)


def print_keys(document: Mapping[str, Any], as_json: bool) -> None:
    """Keys and connection strings, a line each."""
    print_document(
        document if as_json else {_TITLES.get(name, name): value for name, value in document.items()}, as_json
    )
