"""The entry of the package. It loads the commands itself, so that Ctrl-C is understood while it does."""

from hubwire.cli.process import run

__all__ = ["main"]


def main() -> None:
    """Entry point of the package; ends the process."""
    run(_program)


def _program() -> None:
    from hubwire.cli.commands import commands

    commands(prog_name="hubwire")
