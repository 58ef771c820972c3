"""`hubwire deploy`: carry out a template, or show what that would change."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from hubwire.cli import deployments
from hubwire.cli.banner import coloured
from hubwire.cli.changes import Paint, Step, change_lines, step_lines, type_and_name
from hubwire.cli.control import NoServer
from hubwire.cli.deployments import Request
from hubwire.cli.management import new_group_option
from hubwire.cli.options import as_json, data_folder, file_path
from hubwire.cli.output import print_document, print_rows, rows_of
from hubwire.cli.program import data_option, program
from hubwire.cli.template_files import deployment_name, parameter_options, parameters_of, read_template
from hubwire.cli.text import printable

__all__ = ["deploy"]

_NO_PORT: Final = re.compile(r":0(?![0-9])")


@click.command(short_help="Deploy a template.")
@click.argument("file", type=file_path)
@parameter_options
@new_group_option
@click.option("--name", metavar="NAME", help="Of the deployment. [the file's, without its ending]")
@click.option("--complete", is_flag=True, help="Delete what else is in the resource group.")
@click.option("--what-if", "only_look", is_flag=True, help="Show what would change, and change nothing.")
@as_json
@data_folder
def deploy(
    file: str,
    values: tuple[str, ...],
    parameters_file: str | None,
    group: str,
    name: str | None,
    complete: bool,
    only_look: bool,
    data: Path,
    as_json: bool,
) -> None:
    """
    Deploy a template, a .bicep file or JSON of Azure Resource Manager, to this server.

    With no server running it is deployed to the store, and holds from the next start.
    """
    template = read_template(file)
    parameters = parameters_of(template.value, values, parameters_file)
    request = Request(name or deployment_name(file), group, template, parameters, complete)
    colour = coloured(sys.stdout.isatty(), os.environ)
    if only_look:
        document = _what_if(data, request)
        if as_json:
            print_document(document, as_json)
            return
        for line in change_lines(document["properties"]["changes"], Paint(colour)):
            click.echo(line, color=colour)
        return

    def told(step: Step) -> None:
        if not as_json:
            for line in step_lines(step, Paint(colour)):
                click.echo(line, color=colour)

    document = _deploy(data, request, told)
    properties = document["properties"]
    if as_json:
        print_document(document, as_json)
    if properties.get("error"):
        raise deployments.failure(request, properties["error"])
    if not as_json:
        _show(properties, data)


def _what_if(folder: Path, request: Request) -> dict[str, Any]:
    try:
        return deployments.what_if(folder, request)
    except NoServer:
        # Here, not above: commands that find a server start without loading it.
        from hubwire.cli import offline_deployments

        return offline_deployments.what_if(folder, request)


def _deploy(folder: Path, request: Request, told: Callable[[Step], None]) -> dict[str, Any]:
    try:
        return deployments.deploy(folder, request, told)
    except NoServer:
        from hubwire.cli import offline_deployments

        document = offline_deployments.deploy(folder, request, told)
    click.echo("hubwire: no server is running; what was deployed is stored, and holds from the next start", err=True)
    if any(_NO_PORT.search(text) for _, text in rows_of(document["properties"].get("outputs", {}))):
        click.echo("hubwire: ports are opened by a running server; 0 stands for one in the outputs", err=True)
    return document


def _show(properties: Mapping[str, Any], folder: Path) -> None:
    """Outputs, and what to do next."""
    outputs = {name: output.get("value", "(secret)") for name, output in properties.get("outputs", {}).items()}
    if outputs:
        click.echo("outputs:")
        print_rows([(f"  {title}", text) for title, text in rows_of(outputs)])
    for resource in properties.get("outputResources", ()):
        kind, name = type_and_name(resource["id"])
        if kind.lower() == "microsoft.signalrservice/webpubsub":
            command = f"{program()} resource keys {name}{data_option(folder)}"
            click.echo(f"hubwire: connection string of {printable(name)}: {command}", err=True)
