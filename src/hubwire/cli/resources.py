"""`hubwire resource`: the webPubSub resources of this server, for who has no template."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
from msgspec.structs import replace

from hubwire.cli.faults import BadCommandLine, CommandFailed
from hubwire.cli.keys import KEY_KINDS, print_keys
from hubwire.cli.management import Manager, group_option, new_group_option
from hubwire.cli.options import as_json, data_folder
from hubwire.cli.output import print_columns, print_document
from hubwire.cli.program import data_option, program
from hubwire.cli.resource_body import Wanted, body_of, resource_options

__all__ = ["resource"]

_SHOWN: Final = ("name", "location", "tags", "sku", "kind", "identity", "properties", "id")
_ELSEWHERE: Final = frozenset({"provisioningState", "privateEndpointConnections", "sharedPrivateLinkResources"})


@click.group(short_help="Show or change webPubSub resources.")
def resource() -> None:
    """
    Show or change webPubSub resources: each has keys, hubs and connections of its own.

    One named default is there from the start, and answers for every host.
    """


@resource.command("list")
@group_option
@as_json
@data_folder
def list_resources(group: str | None, data: Path, as_json: bool) -> None:
    """Show all resources."""
    found = Manager(data).resources(group)
    if as_json:
        print_document(found, as_json)
        return
    print_columns([_row(document) for document in found])


@resource.command("show")
@click.argument("name")
@group_option
@as_json
@data_folder
def show(name: str, group: str | None, data: Path, as_json: bool) -> None:
    """Show one resource."""
    _show(Manager(data).find(name, group), as_json)


@resource.command("create")
@click.argument("name")
@new_group_option
@resource_options
@as_json
@data_folder
def create(name: str, group: str, data: Path, as_json: bool, **options: Any) -> None:
    """Make a resource. What is not named has its default."""
    manager = Manager(data)
    body = {"location": "local", **body_of(_resolved(Wanted(**options), manager), {})}
    if any(there["name"].lower() == name.lower() for there in manager.resources()):
        change = f"{program()} resource set {name}{data_option(data)}"
        raise CommandFailed(f"there is a resource {name} already; to change it: {change}")
    _show(manager.call("PUT", manager.place(group, name), body).document, as_json)
    if not as_json:
        keys = f"{program()} resource keys {name}{data_option(data)}"
        click.echo(f"hubwire: its connection string: {keys}", err=True)


@resource.command("set")
@click.argument("name")
@group_option
@resource_options
@as_json
@data_folder
def set_resource(name: str, group: str | None, data: Path, as_json: bool, **options: Any) -> None:
    """Change a resource. What is not named stays as it is."""
    wanted = Wanted(**options)
    if wanted == Wanted():
        raise click.UsageError("name what is to change")
    manager = Manager(data)
    old = manager.find(name, group)
    body = body_of(_resolved(wanted, manager), old)
    _show(manager.call("PATCH", manager.path(name, group), body).document, as_json)


@resource.command("delete")
@click.argument("name")
@group_option
@data_folder
def delete(name: str, group: str | None, data: Path) -> None:
    """Delete a resource with its hubs. Its connections end, and its keys are gone for good."""
    manager = Manager(data)
    manager.call("DELETE", manager.path(name, group))


@resource.command("keys")
@click.argument("name")
@group_option
@as_json
@data_folder
def keys(name: str, group: str | None, data: Path, as_json: bool) -> None:
    """Show keys and connection strings of a resource. They are secrets."""
    manager = Manager(data)
    print_keys(manager.call("POST", f"{manager.path(name, group)}/listKeys").document, as_json)


@resource.command("rotate")
@click.argument("name")
@click.argument("kind", type=click.Choice(KEY_KINDS))
@group_option
@as_json
@data_folder
def rotate(name: str, kind: str, group: str | None, data: Path, as_json: bool) -> None:
    """Replace a key of a resource; see keys rotate."""
    manager = Manager(data)
    print_keys(manager.call("POST", f"{manager.path(name, group)}/regenerateKey", {"keyType": kind}).document, as_json)


@resource.command("restart")
@click.argument("name")
@group_option
@data_folder
def restart(name: str, group: str | None, data: Path) -> None:
    """End all connections of a resource. Clients that connect again are served."""
    manager = Manager(data)
    manager.call("POST", f"{manager.path(name, group)}/restart")


def _resolved(wanted: Wanted, manager: Manager) -> Wanted:
    """With the resource id of a user-assigned identity in place of its name."""
    which = wanted.identity
    if which is not None and not which.strip():
        raise BadCommandLine("--identity wants none, system, or the name or resource id of a user-assigned identity")
    if which is None or which.lower() in ("none", "system") or which.startswith("/"):
        return wanted
    return replace(wanted, identity=manager.identity(which)["id"])


def _row(document: Mapping[str, Any]) -> tuple[str, ...]:
    sku, properties = document["sku"], document["properties"]
    port = properties.get("publicPort")
    return (
        document["name"],
        f"{sku['name']} x {sku['capacity']}",
        f"{properties.get('hostName')}:{port}",
        document["id"].split("/")[4],
        "stopped" if properties.get("resourceStopped") == "true" else "",
    )


def _show(document: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_document(document, as_json)
        return
    shown = {name: document[name] for name in _SHOWN if name in document}
    shown["properties"] = {name: value for name, value in shown["properties"].items() if name not in _ELSEWHERE}
    print_document(shown, as_json)
