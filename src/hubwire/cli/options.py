"""Options that several commands have, spelled once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hubwire.cli.program import DEFAULT_DATA

__all__ = ["as_json", "client_options", "data_folder"]

Command = TypeVar("Command", bound=Callable[..., Any])

data_folder = click.option(
    "--data",
    "data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="HUBWIRE_DATA",
    default=Path(DEFAULT_DATA),
    show_default=True,
    metavar="DIR",
    help="Data folder of the server; the environment's HUBWIRE_DATA counts too.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def client_options(command: Command) -> Command:
    """What a client's token says: user, roles, groups, lifetime."""
    for option in (
        click.option(
            "--minutes",
            type=click.IntRange(1, 2_147_483_647),
            metavar="N",
            default=60,
            show_default=True,
            help="How long the token can be used to connect.",
        ),
        click.option(
            "--group", "groups", multiple=True, metavar="GROUP", help="Group to be in from the start; repeatable."
        ),
        click.option(
            "--role",
            "roles",
            multiple=True,
            metavar="ROLE",
            help="Permission of the client, such as webpubsub.sendToGroup; repeatable.",
        ),
        click.option("--user", "user_id", metavar="USER", help="User id; without it the client has none."),
    ):
        command = option(command)
    return command
