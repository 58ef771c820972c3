"""`hubwire retained`: retained messages of MQTT."""

import asyncio
import base64
import binascii
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
import msgspec
from yarl import URL

from hubwire.cli.access import bearer, parse_connection_string
from hubwire.cli.control import control_session, exchange, plain_session
from hubwire.cli.faults import CommandFailed
from hubwire.cli.options import as_json, data_folder
from hubwire.cli.output import print_columns, print_document
from hubwire.cli.text import printable

__all__ = ["retained"]

_LOCAL: Final = "http://localhost"
_PAGE: Final = 1000
_TITLES: Final = {
    "topic": "topic",
    "qos": "QoS",
    "publishedAt": "published",
    "expiresInSeconds": "expires in",
    "clientId": "client",
    "userId": "user",
    "contentType": "content type",
    "responseTopic": "response topic",
    "correlationData": "correlation data",
    "userProperties": "user properties",
}
"""Of what is shown to people; other values are for programs."""

_hub = click.option("--hub", required=True, metavar="HUB", help="Hub that they are in.")
_connection_string = click.option(
    "--connection-string",
    envvar="HUBWIRE_CONNECTION_STRING",
    metavar="STRING",
    help="Ask this service over HTTP, not the server of the data folder; HUBWIRE_CONNECTION_STRING counts too.",
)


@click.group(short_help="Show or clear retained messages of MQTT.")
def retained() -> None:
    """Show or clear the messages that are kept for MQTT clients who subscribe later."""


@retained.command("list")
@_hub
@click.option("--filter", "filter_", metavar="FILTER", help="Topic filter, with + and # for levels. [#, which is all]")
@_connection_string
@as_json
@data_folder
def list_retained(hub: str, filter_: str | None, connection_string: str | None, data: Path, as_json: bool) -> None:
    """Show which messages are retained, without their payloads."""
    found = list(_pages(_Service(data, connection_string), hub, filter_))
    if as_json:
        print_document(found, as_json)
    elif not found:
        click.echo("hubwire: nothing is retained", err=True)
    else:
        print_columns([_line(document) for document in found])


@retained.command("get")
@click.argument("topic")
@_hub
@click.option("--payload", "payload_only", is_flag=True, help="Print the bytes of the payload, and nothing else.")
@_connection_string
@as_json
@data_folder
def get_retained(
    topic: str, hub: str, payload_only: bool, connection_string: str | None, data: Path, as_json: bool
) -> None:
    """Show the message that is retained for a topic."""
    document = _Service(data, connection_string).call("GET", _path(hub, topic))
    if payload_only:
        sys.stdout.buffer.write(_bytes(document))
    elif as_json:
        print_document(document, as_json)
    else:
        shown = {title: document[name] for name, title in _TITLES.items() if name in document}
        if "expires in" in shown:
            shown["expires in"] = f"{shown['expires in']} s"
        if "user properties" in shown:
            shown["user properties"] = [f"{pair['name']}: {pair['value']}" for pair in shown["user properties"]]
        shown["payload"] = document.get("text", f"{document['payloadBytes']} bytes that are no text (--payload)")
        print_document(shown, as_json)


@retained.command("clear")
@click.argument("topic", required=False)
@_hub
@click.option("--filter", "filter_", metavar="FILTER", help="All that a topic filter means, with + and # for levels.")
@click.option("--all", "everything", is_flag=True, help="All of the hub.")
@_connection_string
@as_json
@data_folder
def clear_retained(
    topic: str | None,
    hub: str,
    filter_: str | None,
    everything: bool,
    connection_string: str | None,
    data: Path,
    as_json: bool,
) -> None:
    """Keep nothing for a TOPIC any more. Nobody is told; who subscribes from now on gets nothing."""
    if sum((topic is not None, filter_ is not None, everything)) != 1:
        raise click.UsageError("name one of a TOPIC, --filter and --all")
    service = _Service(data, connection_string)
    if topic is not None:
        service.call("DELETE", _path(hub, topic))
        cleared = 1
    else:
        document = service.call("DELETE", _path(hub), {"filter": "#" if filter_ is None else filter_})
        cleared = document["cleared"]
    if as_json:
        print_document({"cleared": cleared}, as_json)
    elif topic is None:
        click.echo(f"cleared {cleared} message{'' if cleared == 1 else 's'}")


class _Service:
    """
    Whoever is asked.

    Args:
        connection_string: None for the server of the data folder.
    """

    def __init__(self, folder: Path, connection_string: str | None) -> None:
        self._folder = folder
        self._named = None if connection_string is None else parse_connection_string(connection_string)

    def call(self, method: str, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The document of an answer; None for an empty one. It raises what `exchange` raises."""
        return asyncio.run(self._call(method, path, query or {}))

    async def _call(self, method: str, path: str, query: Mapping[str, str]) -> Any:
        named = self._named
        said = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        # Encoded here and not again: a token proves the URL exactly as it is sent.
        url = URL(f"{_LOCAL if named is None else named.endpoint}{path}{'?' if said else ''}{said}", encoded=True)
        headers = {} if named is None else bearer(url, named.access_key)
        async with control_session(self._folder) if named is None else plain_session() as session:
            answer = await exchange(session, method, url, headers=headers, body=b"")
        try:
            return msgspec.json.decode(answer) if answer else None
        except msgspec.DecodeError as error:
            raise CommandFailed("the server's answer is not JSON; is it a Hubwire server of this version?") from error


def _path(hub: str, topic: str | None = None) -> str:
    if not hub or topic == "":
        raise click.UsageError("a hub and a topic have a name")
    path = f"/hubwire/hubs/{quote(hub, safe='')}/retained"
    return path if topic is None else f"{path}/{quote(topic, safe='')}"


def _pages(service: _Service, hub: str, filter_: str | None) -> Iterator[Mapping[str, Any]]:
    query = {"limit": str(_PAGE)} | ({} if filter_ is None else {"filter": filter_})
    while True:
        page = service.call("GET", _path(hub), query)
        yield from page["value"]
        if page["after"] is None:
            return
        query["after"] = page["after"]


def _line(document: Mapping[str, Any]) -> list[str]:
    left_s = document.get("expiresInSeconds")
    return [
        printable(str(document["topic"])),
        f"QoS {document['qos']}",
        f"{document['payloadBytes']} bytes",
        str(document["publishedAt"]),
        "" if left_s is None else f"expires in {left_s} s",
    ]


def _bytes(document: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode(document["payload"], validate=True)
    except binascii.Error as error:
        raise CommandFailed("the server's answer holds no payload") from error
