"""Commands for the operator of this machine's server: its status, and client URLs."""

from pathlib import Path
from typing import Final

import click

from hubwire.cli.access import check_topics, client_url, client_url_of
from hubwire.cli.control import control
from hubwire.cli.options import as_json, client_options, data_folder, resource_option
from hubwire.cli.output import print_document

__all__ = ["status", "url"]

_HIDDEN: Final = (
    "connectionString",
    "httpsConnectionString",
    "communicationConnectionString",
    "communicationEndpoint",
    "clientSecret",
    "ownHttpsEndpoint",
)
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
@resource_option
@click.option("--mqtt", is_flag=True, help="For an MQTT client: of its endpoint, where no other URL is good.")
@data_folder
def url(
    hub: str,
    user_id: str | None,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    minutes: int,
    resource: str | None,
    mqtt: bool,
    data: Path,
) -> None:
    """Print a client access URL: address and token in one, for anything that opens a WebSocket."""
    if mqtt:
        check_topics(groups)
    if resource is None:
        text = client_url(data, hub, user_id, roles, groups, minutes, mqtt=mqtt)
    else:
        text = client_url_of(data, resource, hub, user_id, roles, groups, minutes, mqtt=mqtt)
    click.echo(text)


def _duration(seconds: int) -> str:
    """In its two largest units."""
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
