"""
`hubwire bicep`, and the program `bicep` that `az` looks for: a compiler for the part of Bicep that this server deploys.

`az` runs `bicep --version` and `bicep build --stdout FILE` if its configuration has `bicep.use_binary_from_path=true`.
It takes what stands on stderr for the fault, whatever it looks like.
"""

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from hubwire import __version__
from hubwire.cli.faults import BadCommandLine, CommandFailed, Commands
from hubwire.cli.json_files import read_text
from hubwire.cli.options import file_path, folder_path
from hubwire.cli.process import run
from hubwire.cli.text import one_line

__all__ = ["bicep", "main"]

_VERSION: Final = f"Bicep CLI version 0.36.1 (hubwire {__version__})"
"""As the compiler says it whose language this is a part of; `az` reads the number and wants no old one."""
_SUFFIX: Final = ".bicep"


class _CompilerFault(CommandFailed):
    """Shown in the form that the official compiler gives its faults."""

    def show(self, file: Any = None) -> None:
        click.echo(one_line(self.message), file=file, err=True)


@click.group()
def bicep() -> None:
    """
    Compile Bicep to the JSON of a template.

    For az, put the program bicep of this package on the PATH: az config set bicep.use_binary_from_path=true
    """


@bicep.command("build")
@click.argument("file", type=file_path)
@click.option("--stdout", "to_stdout", is_flag=True, help="Print the template.")
@click.option("--outfile", type=file_path, metavar="FILE", help="Write it there. [beside the program, as .json]")
@click.option("--outdir", type=folder_path, metavar="DIR", help="Write it into this folder.")
@click.option("--no-restore", is_flag=True, help="Taken and without effect: there are no modules to fetch.")
def build(file: str, to_stdout: bool, outfile: str | None, outdir: str | None, no_restore: bool) -> None:  # noqa: ARG001  taken from az
    """Compile one file."""
    if sum((to_stdout, outfile is not None, outdir is not None)) > 1:
        raise click.UsageError("only one of --stdout, --outfile and --outdir may be named")
    path = Path(file)
    if path.suffix.lower() != _SUFFIX:
        raise BadCommandLine(f"{file} does not end in {_SUFFIX}")
    text = _compiled(file)
    if to_stdout:
        click.echo(text)
        return
    beside = path.with_suffix(".json")
    target = Path(outfile) if outfile is not None else beside if outdir is None else Path(outdir) / beside.name
    target.write_text(f"{text}\n", encoding="utf-8")


@bicep.command("version")
def version() -> None:
    """Tell the version, as the official compiler does."""
    click.echo(_VERSION)


def _compiled(file: str) -> str:
    # Here, not above: other commands start without loading it.
    from hubwire.resources.bicep import BicepFault, compile_bicep

    try:
        template = compile_bicep(read_text(file))
    except BicepFault as error:
        message = f"{file}({error.line},{error.column}) : Error Hubwire: {error.message}"
        raise _CompilerFault(message) from error
    return msgspec.json.format(msgspec.json.encode(template), indent=2).decode()


class _Program(Commands):
    """The commands of the official compiler that we have, and a word about the others."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands:
            raise BadCommandLine(f"this Bicep compiler is Hubwire's; it knows build and --version, and not {name}")
        return super().resolve_command(ctx, args)


@click.group("bicep", cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message=_VERSION)
def _program() -> None:
    """The part of the Bicep compiler that Hubwire has."""


_program.add_command(build)


def main() -> None:
    """Entry point of the program `bicep`; ends the process."""
    run(lambda: _program(prog_name="bicep"))
