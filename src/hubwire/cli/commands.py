"""The command `hubwire` with all that can stand behind it."""

from typing import Final

import click

from hubwire import __version__
from hubwire.cli.apps import app
from hubwire.cli.bicep import bicep
from hubwire.cli.ca import ca
from hubwire.cli.communication import communication
from hubwire.cli.completion import completion
from hubwire.cli.connect import connect
from hubwire.cli.deploy import deploy
from hubwire.cli.environment import env
from hubwire.cli.export import export
from hubwire.cli.faults import Commands
from hubwire.cli.hubs import hub
from hubwire.cli.identities import identity
from hubwire.cli.keys import keys
from hubwire.cli.managed_identities import managed_identity
from hubwire.cli.operator import status, url
from hubwire.cli.proxy import proxy
from hubwire.cli.resources import resource
from hubwire.cli.retained import retained
from hubwire.cli.secrets import secret
from hubwire.cli.send import send
from hubwire.cli.serve import serve
from hubwire.cli.tunnel import tunnel
from hubwire.cli.users import user
from hubwire.cli.vaults import vault
from hubwire.model import telemetry

__all__ = ["commands"]

# Any of the modules that the build compiles would do.
_FORM: Final = "pure Python" if str(telemetry.__file__).endswith(".py") else "compiled"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(f"{__version__} ({_FORM})", prog_name="hubwire")
def commands() -> None:
    """
    Hubwire: real-time messaging with the wire protocols of Azure Web PubSub, on your own machine.

    Begin with: hubwire serve
    """


for command in (
    *(serve, status, url, connect, send, retained, tunnel),
    *(resource, hub, keys, deploy, export, bicep),
    *(communication, identity, vault, secret, env, app, managed_identity, user, ca, proxy, completion),
):
    commands.add_command(command)
