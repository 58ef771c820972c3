"""Commands for the operator of this machine's server: status, client URLs, keys and hubs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from hubwire.cli.access import client_url
from hubwire.cli.control import NoServer, control
from hubwire.cli.faults import CommandFailed
from hubwire.cli.offline import StoredCatalog, read_offline
from hubwire.cli.options import WholeNumber, as_json, client_options, data_folder
from hubwire.cli.output import print_document
from hubwire.model.hubs import DEFAULT_RESOURCE, AccessKeys

__all__ = ["hub", "keys", "status", "url"]

_HIDDEN: Final = ("connectionString", "httpsConnectionString", "clientSecret", "ownHttpsEndpoint")
_UP: Final = "up"
_STATUS_TITLES: Final = {
    "httpsEndpoint": "https",
    "caCertificate": "CA certificate",
    "dataFolder": "data folder",
    "uptimeSeconds": _UP,
    "subscriptionId": "subscription id",
    "tenantId": "tenant id",
    "clientId": "client id",
}
_KEY_TITLES: Final = {
    "primaryKey": "primary key",
    "secondaryKey": "secondary key",
    "primaryConnectionString": "primary connection string",
    "secondaryConnectionString": "secondary connection string",
}


@click.command()
@as_json
@data_folder
def status(data: Path, as_json: bool) -> None:
    """Show what the running server is doing. The JSON form has secrets: connection string, client secret."""
    document = control(data, "GET", "/control/status")
    if not as_json and isinstance(document, dict):
        # Text is for people, who show it to others.
        document = {_STATUS_TITLES.get(name, name): value for name, value in document.items() if name not in _HIDDEN}
        if isinstance(seconds := document.get(_UP), int):
            document[_UP] = _duration(seconds)
    print_document(document, as_json)


@click.command(short_help="Print a client access URL.")
@click.option("--hub", required=True, metavar="HUB", help="Hub to connect to.")
@client_options
@click.option("--mqtt", is_flag=True, help="For an MQTT client (not served yet).")
@data_folder
def url(
    hub: str,
    user_id: str | None,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    minutes: int,
    mqtt: bool,
    data: Path,
) -> None:
    """Print a client access URL: address and token in one, for anything that opens a WebSocket."""
    text = client_url(data, hub, user_id, roles, groups, minutes, mqtt=mqtt)
    if mqtt:
        click.echo("hubwire: this version does not serve MQTT clients yet; the URL will be refused", err=True)
    click.echo(text)


@click.group()
def keys() -> None:
    """Show or replace the two access keys."""


@keys.command("show")
@as_json
@data_folder
def show_keys(data: Path, as_json: bool) -> None:
    """Show the keys and connection strings. They are secrets."""
    try:
        document = control(data, "GET", "/control/keys")
    except NoServer:
        found = read_offline(data, _stored_keys)
        document = {"primaryKey": found.primary, "secondaryKey": found.secondary}
        click.echo("hubwire: no server is running, so there are no connection strings to show", err=True)
    print_document(_titled(document, as_json), as_json)


@keys.command("rotate")
@click.argument("kind", type=click.Choice(("primary", "secondary")))
@as_json
@data_folder
def rotate_key(kind: str, data: Path, as_json: bool) -> None:
    """Replace one key. Tokens that it signed prove nothing any more; connections that are open stay open."""
    print_document(_titled(control(data, "POST", "/control/keys/:rotate", {"keyType": kind}), as_json), as_json)


@click.group()
def hub() -> None:
    """
    Show or change what is configured for hubs.

    A hub needs no configuration: any name works, with the defaults.
    """


@hub.command("list")
@as_json
@data_folder
def list_hubs(data: Path, as_json: bool) -> None:
    """Show the configured hubs."""
    try:
        hubs: Sequence[Any] = control(data, "GET", "/control/hubs")["value"]
    except NoServer:
        hubs = read_offline(data, _stored_hubs)
    if as_json:
        print_document(hubs, as_json)
        return
    if not hubs:
        click.echo("hubwire: no hub is configured; all have the defaults", err=True)
    rows = [_hub_lines(document) for document in hubs]
    for row in rows:
        click.echo("  ".join([_padded(row[0][1], rows), *(f"{title} {value}" for title, value in row[1:])]))


@hub.command("show")
@click.argument("name")
@as_json
@data_folder
def show_hub(name: str, data: Path, as_json: bool) -> None:
    """Show what is configured for one hub."""
    try:
        document = control(data, "GET", _hub_path(name))
    except NoServer:
        document = read_offline(data, lambda catalog: catalog.get_hub(name))
        if document is None:
            raise CommandFailed(f"nobody configured a hub {name}; it has the defaults") from None
    _print_hub(document, as_json)


@hub.command("set")
@click.argument("name")
@click.option("--anonymous", type=click.Choice(("allow", "deny")), help="May clients connect without a token.")
@click.option(
    "--keep-alive",
    "keep_alive_s",
    type=WholeNumber(1, 120),
    metavar="SECONDS",
    help="Time between pings to a silent client.",
)
@as_json
@data_folder
def set_hub(name: str, anonymous: str | None, keep_alive_s: int | None, data: Path, as_json: bool) -> None:
    """Configure a hub. What is not named stays as it is; a new one has the defaults."""
    properties = {
        key: value
        for key, value in (
            ("anonymousConnectPolicy", anonymous),
            ("webSocketKeepAliveIntervalInSeconds", keep_alive_s),
        )
        if value is not None
    }
    _print_hub(control(data, "PATCH", _hub_path(name), {"properties": properties}), as_json)


@hub.command("delete")
@click.argument("name")
@data_folder
def delete_hub(name: str, data: Path) -> None:
    """Forget what is configured for a hub. Its connections stay; it has the defaults again."""
    control(data, "DELETE", _hub_path(name))


async def _stored_keys(catalog: StoredCatalog) -> AccessKeys:
    return catalog.access_keys(DEFAULT_RESOURCE)


async def _stored_hubs(catalog: StoredCatalog) -> Sequence[Mapping[str, Any]]:
    return await catalog.list_hubs()


def _hub_path(name: str) -> str:
    if not name:
        raise click.UsageError("a hub has a name")
    return f"/control/hubs/{quote(name, safe='')}"


def _hub_lines(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    properties = document["properties"]
    return [
        ("hub", str(document["name"])),
        ("anonymous", str(properties["anonymousConnectPolicy"])),
        ("keep alive", f"{properties['webSocketKeepAliveIntervalInSeconds']} s"),
    ]


def _print_hub(document: Mapping[str, Any], as_json: bool) -> None:
    print_document(document if as_json else dict(_hub_lines(document)), as_json)


def _duration(seconds: int) -> str:
    """In its two largest units."""
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def _padded(name: str, rows: Iterable[list[tuple[str, str]]]) -> str:
    return name.ljust(max(len(row[0][1]) for row in rows))


def _titled(document: Mapping[str, Any], as_json: bool) -> Mapping[str, Any]:
    return document if as_json else {_KEY_TITLES.get(name, name): value for name, value in document.items()}
