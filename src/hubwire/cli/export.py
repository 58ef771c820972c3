"""`hubwire export`: the resource tree as a template."""

from pathlib import Path
from typing import Any

import click
import msgspec

from hubwire.cli.control import NoServer
from hubwire.cli.management import DEPLOYMENTS_VERSION, HOME_GROUP, Manager
from hubwire.cli.options import data_folder, file_path

__all__ = ["export"]


@click.command(short_help="Print what is configured as a template.")
@click.option("--group", default=HOME_GROUP, show_default=True, metavar="NAME", help="Resource group.")
@click.option("--output", "output", type=file_path, metavar="FILE", help="Write it there instead.")
@data_folder
def export(group: str, output: str | None, data: Path) -> None:
    """
    Print the resources of a group with their hubs as a template, which deploys to the same state.

    It has no keys: those are made wherever it is deployed.
    """
    text = msgspec.json.format(msgspec.json.encode(_template(data, group)), indent=2).decode()
    if output is None:
        click.echo(text)
    else:
        Path(output).write_text(f"{text}\n", encoding="utf-8")


def _template(folder: Path, group: str) -> Any:
    try:
        manager = Manager(folder)
        answer = manager.call("POST", f"{manager.group(group)}/exportTemplate", version=DEPLOYMENTS_VERSION)
        return answer.document["template"]
    except NoServer:
        # Here, not above: commands that find a server start without loading it.
        from hubwire.cli import offline_deployments

        return offline_deployments.exported(folder, group)
