"""`hubwire tunnel`: let event handlers with `tunnel:///` be an application on this machine."""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import aiohttp
import click
from yarl import URL

from hubwire.cli.access import ConnectionString, parse_connection_string, service_of
from hubwire.cli.connect import read_refusal
from hubwire.cli.dialling import Dialler
from hubwire.cli.faults import BadCommandLine
from hubwire.cli.forwarding import Forwarded, Forwarder
from hubwire.cli.options import data_folder, resource_option
from hubwire.cli.text import one_line
from hubwire.model.hubs import DEFAULT_RESOURCE
from hubwire.model.names import is_hub_name
from hubwire.upstream.tunnel_frames import HttpRequest

__all__ = ["Lines", "parse_upstream", "tunnel"]

_REQUESTS_AT_ONCE: Final = 64
_SHOWN: Final = 128
"""Characters of a name that the service chose."""


@click.command(short_help="Let an application here answer events.")
@click.option("--hub", required=True, metavar="HUB", help="Hub whose events are forwarded.")
@click.option(
    "--upstream", required=True, metavar="URL", help="Where the application listens, such as http://localhost:3000."
)
@resource_option
@click.option(
    "--connection-string",
    envvar="HUBWIRE_CONNECTION_STRING",
    metavar="STRING",
    help="Of this service, instead of the server of the data folder; HUBWIRE_CONNECTION_STRING counts too.",
)
@data_folder
def tunnel(hub: str, upstream: str, resource: str | None, connection_string: str | None, data: Path) -> None:
    """
    Forward a hub's events for handlers whose URL template begins with tunnel:/// to an application, until Ctrl-C or
    SIGTERM. The service needs no way to reach this machine.
    """
    if not is_hub_name(hub):
        raise BadCommandLine(f"{hub!r} is no name of a hub")
    if resource is not None and connection_string is not None:
        raise click.UsageError("--resource goes with the server of the data folder, not with a connection string")
    application = parse_upstream(upstream)
    asyncio.run(_run(hub, _finder(data, resource, connection_string), application, Lines(hub, application)))


def parse_upstream(text: str) -> URL:
    """
    Where the application listens; http if the scheme is left out.

    Raises:
        BadCommandLine: it is no URL to send requests to.
    """
    try:
        url = URL(text if "://" in text else f"http://{text}")
        usable = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
    except ValueError:
        usable = False
    if not usable or url.query_string or url.fragment or url.user is not None:
        raise BadCommandLine("--upstream wants a URL such as http://localhost:3000, without a query")
    return url


def _finder(data: Path, resource: str | None, connection_string: str | None) -> Callable[[], ConnectionString]:
    """What finds the service, now and again."""
    if connection_string is None:
        return lambda: service_of(data, resource or DEFAULT_RESOURCE)
    service = parse_connection_string(connection_string)
    return lambda: service


async def _run(hub: str, service: Callable[[], ConnectionString], application: URL, lines: "Lines") -> None:
    """
    Forward until SIGTERM, or until cancelled.

    Raises:
        CommandFailed: see `Dialler.run`.
    """
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        aiohttp.ClientSession(middlewares=(read_refusal,)) as dialling,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_REQUESTS_AT_ONCE),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        ) as forwarding,
    ):
        dialler = Dialler(dialling, hub, service, Forwarder(forwarding, application), lines)
        running = asyncio.ensure_future(dialler.run())
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            stopped.cancel()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


class Lines:
    """What is printed: what the tunnel does on standard output, what is wrong with it on standard error."""

    def __init__(self, hub: str, application: URL) -> None:
        self._hub = hub
        self._application = application

    def connected(self, endpoint: str) -> None:
        """See `TunnelScreen`."""
        _print(f"Hubwire tunnel for hub {self._hub} is connected")
        for title, text in (
            ("events of", endpoint),
            ("go to", str(self._application)),
            ("stop it", "Ctrl-C"),
        ):
            _print(f"  {title:<16}{text}")

    def lost(self, reason: str) -> None:
        """See `TunnelScreen`."""
        click.echo(f"hubwire: {one_line(reason).rstrip('.')}; connecting again", err=True)

    def back(self) -> None:
        """See `TunnelScreen`."""
        click.echo("hubwire: connected again", err=True)

    def say(self, text: str) -> None:
        """See `TunnelScreen`."""
        click.echo(f"hubwire: {one_line(text)}", err=True)

    def forwarded(self, request: HttpRequest, answer: Forwarded, spent_ms: float) -> None:
        """See `TunnelScreen`."""
        fault = "" if answer.fault is None else f" ({answer.fault})"
        _print(one_line(f"{request.http_method} {_event(request)} {answer.status} {spent_ms:.0f} ms{fault}"))


def _event(request: HttpRequest) -> str:
    """What the request is about: its event, or the path for one that is none."""
    for name, value in (request.headers or {}).items():
        if name.lower() == "ce-eventname" and value:
            return (value if isinstance(value, str) else value[0])[:_SHOWN]
    return request.url.partition("?")[0].partition("://")[2][:_SHOWN]


def _print(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()
