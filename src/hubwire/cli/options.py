"""Options that several commands have, spelled once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hubwire.cli.program import DEFAULT_DATA

__all__ = [
    "Command",
    "WholeNumber",
    "as_json",
    "client_options",
    "data_folder",
    "file_path",
    "folder_path",
    "resource_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])

# A shell completes these. What is wrong with a path is for the one who opens it to say.
folder_path = click.Path(file_okay=False, readable=False)
file_path = click.Path(readable=False)

data_folder = click.option(
    "--data",
    "data",
    type=click.Path(file_okay=False, readable=False, path_type=Path),
    envvar="HUBWIRE_DATA",
    default=Path(DEFAULT_DATA),
    show_default=True,
    metavar="DIR",
    help="Data folder of the server; the environment's HUBWIRE_DATA counts too.",
)

resource_option = click.option(
    "--resource", metavar="NAME", help="Resource, where there are several. [default, which is there from the start]"
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class WholeNumber(click.IntRange):
    """From `lowest` to `highest`, and said so in these words."""

    def __init__(self, lowest: int, highest: int) -> None:
        super().__init__(lowest, highest)
        self._words = f"a whole number from {lowest} to {highest}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"{value!r} is not {self._words}", param, ctx)


def client_options(command: Command) -> Command:
    """What a client's token says: user, roles, groups, lifetime."""
    for option in (
        click.option(
            "--minutes",
            type=WholeNumber(1, 2_147_483_647),
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
