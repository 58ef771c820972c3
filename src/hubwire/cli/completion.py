"""`hubwire completion`: what a shell needs to complete our command lines."""

from typing import Final

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

_PROGRAM: Final = "hubwire"
_VARIABLE: Final = "_HUBWIRE_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """
    Print the completion script of a shell.

    For example: eval "$(hubwire completion bash)"
    """
    kind = get_completion_class(shell)
    assert kind is not None, "all choices are known to the command line library"
    click.echo(kind(ctx.find_root().command, {}, _PROGRAM, _VARIABLE).source())
