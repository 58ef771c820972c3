"""
How a command fails: a line on stderr that begins with `hubwire:`, and an exit code. Never a traceback.

    2   the command line cannot be used
    1   everything else: nobody answers, the server refuses, a connection is lost

Ctrl-C is no failure and needs no words: 130, as shells have it.
"""

import errno
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

from hubwire.cli.text import one_line

__all__ = ["BadCommandLine", "CommandFailed", "Commands", "Refusal"]

_INTERRUPTED: Final = 130


class CommandFailed(click.ClickException):
    """
    Ends the command. The message is for the user; it may quote a server and is made printable when shown.

    Args:
        more: a line each below the message, where one line cannot say it: what is wrong with each of several resources.
    """

    def __init__(self, message: str, more: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.more = tuple(more)

    def show(self, file: Any = None) -> None:
        """Write the lines to stderr, or to `file`."""
        click.echo(f"hubwire: {one_line(self.message)}", file=file, err=True)
        for line in self.more:
            click.echo(f"  {one_line(line)}", file=file, err=True)


class BadCommandLine(CommandFailed):
    """What was typed, or set, cannot be used."""

    exit_code = 2


class Refusal(CommandFailed):
    """
    A server answered with a status of 400 or more.

    Args:
        status: 0 where nobody needs it.
        error: what the resource manager says of it: `code`, `message`, and perhaps `target`, `details` and
            `additionalInfo`; empty for other operations.
    """

    def __init__(
        self, message: str, more: Sequence[str] = (), status: int = 0, error: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, more)
        self.status = status
        self.error = error or {}


class Commands(click.Group):
    """A group whose errors, those of its commands included, are shown as above."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the options of the group itself."""
        with _in_one_line():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Read the options of the command, and run it."""
        with _in_one_line():
            return super().invoke(ctx)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except (CommandFailed, click.exceptions.NoArgsIsHelpError):
        raise
    except (KeyboardInterrupt, click.Abort):
        if sys.stderr.isatty():
            click.echo(err=True)  # what comes next does not stand behind ^C
        raise click.exceptions.Exit(_INTERRUPTED) from None
    except click.UsageError as error:
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx is not None else ""
        raise BadCommandLine(error.format_message() + hint) from error
    except click.ClickException as error:
        raise CommandFailed(error.format_message()) from error
    except UnicodeEncodeError as error:
        # The bytes of an argument or a variable that are not text reach us as lone surrogates.
        raise BadCommandLine("a name, text or path on the command line is not UTF-8") from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # who read our output had enough; the library ends the process in silence
        # Writing names no file, and what the commands read and connect to has words of its own already.
        what = "cannot write the output" if error.filename is None else str(error.filename)
        raise CommandFailed(f"{what}: {error.strerror or error}") from error
