"""`hubwire env`: everything that a client on this machine needs to know, as lines for a shell."""

import shlex
from pathlib import Path

import click

from hubwire.cli.ca import exports
from hubwire.cli.control import control
from hubwire.cli.options import data_folder

__all__ = ["env"]


@click.command(short_help="Print shell lines for programs that use this server.")
@data_folder
def env(data: Path) -> None:
    """
    Print shell lines for programs that use this server: whom to trust on HTTPS, and where to get tokens.

    Use them by: eval "$(hubwire env)". After that, DefaultAzureCredential() without arguments works. They hold a
    secret.
    """
    status = control(data, "GET", "/control/status")
    variables = control(data, "GET", "/control/environment")["variables"]
    authority = status.get("caCertificate")
    if authority is not None:
        for line in exports(Path(authority)):
            click.echo(line)
    elif "httpsEndpoint" not in status:
        click.echo("hubwire: this server does not listen on HTTPS, which token credentials demand", err=True)
    if not variables:
        click.echo("hubwire: the setting managed_identity is off, so there is no endpoint to get tokens from", err=True)
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
