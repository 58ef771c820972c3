"""The command `hubwire`."""

import io
import os
import sys

import click

from hubwire import __version__
from hubwire.cli.completion import completion
from hubwire.cli.connect import connect
from hubwire.cli.faults import Commands
from hubwire.cli.operator import hub, keys, status, url
from hubwire.cli.send import send
from hubwire.cli.serve import serve

__all__ = ["commands", "main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hubwire")
def commands() -> None:
    """
    Hubwire: real-time messaging with the wire protocols of Azure Web PubSub, on your own machine.

    Begin with: hubwire serve
    """


for command in (serve, status, url, connect, send, keys, hub, completion):
    commands.add_command(command)


def main() -> None:
    """Entry point of the package; ends the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a terminal of another character set cannot show is escaped, not a reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        commands(prog_name="hubwire")
    finally:
        _give_up_output()


def _give_up_output() -> None:
    """What cannot be written was told already. At the end of the process the interpreter would try and tell again."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
