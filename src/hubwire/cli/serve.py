"""`hubwire serve`: run a server in this process until it is told to end."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec

from hubwire import __version__
from hubwire.cli.banner import Announced, banner, coloured, mqtt_mode, try_it
from hubwire.cli.faults import BadCommandLine, CommandFailed
from hubwire.cli.management import HOME_GROUP
from hubwire.cli.options import file_path, folder_path
from hubwire.cli.program import data_option, program
from hubwire.cli.template_files import parameter_options, parameters_of, read_template
from hubwire.model.errors import StartFailed
from hubwire.settings import BadSetting, LogFormat, LogLevel, Settings, load

if TYPE_CHECKING:
    from hubwire.app import StartTemplate

__all__ = ["read_settings", "serve"]


@click.command()
@click.option("--host", multiple=True, metavar="ADDRESS", help="Address to listen on; repeatable. [127.0.0.1 and ::1]")
@click.option("--port", metavar="N", help="Port, 0 to 65535; 0 takes a free one. [8080]")
@click.option("--https-port", metavar="N", help="Port for HTTPS, 0 to 65535. [8443, or a free one with --port 0]")
@click.option("--no-https", "https", flag_value=False, type=bool, default=None, help="Do not listen on HTTPS.")
@click.option(
    "--cert",
    "certificate",
    type=file_path,
    metavar="FILE",
    help="PEM file of the certificate to show, with its chain. [issued by the local CA in the data folder]",
)
@click.option("--key", "private_key", type=file_path, metavar="FILE", help="PEM file of its private key.")
@click.option("--data", type=folder_path, metavar="DIR", help="Folder of keys, hubs and the control socket. [data]")
@click.option(
    "--store",
    metavar="URL",
    help="Database to keep keys, hubs and users in: postgresql://… or sqlite:///PATH. [a file in the data folder]",
)
@click.option(
    "--ready-file",
    type=file_path,
    metavar="FILE",
    help="File to write once the server listens; removed at the end.",
)
@click.option(
    "--public-endpoint",
    "public_endpoints",
    multiple=True,
    metavar="URL",
    help="URL under which clients reach this server; repeatable, the first one is canonical.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Address or network whose X-Forwarded-* headers are believed; repeatable.",
)
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Origin of web pages that may call REST, or *; repeatable.",
)
@click.option(
    "--managed-identity",
    type=click.Choice(("off", "app-service", "imds")),
    help="Where programs of this machine get tokens. [app-service]",
)
@click.option("--user-tokens", flag_value=True, type=bool, default=None, help="Let users get tokens.")
@click.option(
    "--trusted-issuer",
    "trusted_issuers",
    multiple=True,
    metavar="URL",
    help="Token issuer that is trusted beside the local one, such as a real tenant's; repeatable.",
)
@click.option("--log-format", type=click.Choice(get_args(LogFormat)), help="How log records are written. [text]")
@click.option("--log-level", type=click.Choice(get_args(LogLevel)), help="Least severity that is logged. [info]")
@click.option(
    "--log-off",
    type=click.Choice(("connectivity", "messaging", "http")),
    multiple=True,
    help="Category of records to leave out; repeatable.",
)
@click.option(
    "--grace",
    "shutdown_grace_s",
    metavar="SECONDS",
    help="Time to say goodbye to clients at the end, up to 600. [5]",
)
@click.option("--max-connections", metavar="N", help="Client connections at once; the next gets 429. [100000]")
@click.option("--config", type=file_path, metavar="FILE", help="TOML file with settings by their names.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any setting by its name; lists are comma-separated; repeatable.",
)
@click.option("--template", type=file_path, metavar="FILE", help="Template to deploy before the ports open.")
@parameter_options
@click.option("--group", metavar="NAME", help=f"Resource group to deploy it to. [{HOME_GROUP}]")
@click.option(
    "--no-banner",
    is_flag=True,
    help="Leave out the banner, which shows the connection string, a secret.",
)
def serve(
    no_banner: bool,
    config: str | None,
    assignments: tuple[str, ...],
    template: str | None,
    values: tuple[str, ...],
    parameters_file: str | None,
    group: str | None,
    **options: Any,
) -> None:
    """
    Run a server until Ctrl-C or SIGTERM.

    Options win over environment variables (HUBWIRE_PORT and so on), those over the file, that over the defaults.
    """
    settings = read_settings(options, assignments, os.environ, None if config is None else Path(config))
    first = None
    if template is not None:
        first = _start_template(template, values, parameters_file, group or HOME_GROUP)
    elif values or parameters_file is not None or group is not None:
        raise BadCommandLine("-p, --parameters and --group go with --template")

    # Here, not above: every other command starts without loading the server.
    from hubwire.app import run

    def announce(announced: Announced) -> None:
        if no_banner:
            return  # its warnings are in the log as well
        command = try_it(program(), data_option(settings.data))
        colour = coloured(sys.stdout.isatty(), os.environ)
        for line in banner(announced, __version__, command, mqtt_mode(settings), colour=colour):
            click.echo(line, color=colour)
        sys.stdout.flush()

    try:
        code = run(settings, announce, first)
    except BadSetting as error:
        raise BadCommandLine(str(error)) from error
    except StartFailed as error:
        raise CommandFailed(str(error)) from error
    raise click.exceptions.Exit(code)


def _start_template(file: str, values: tuple[str, ...], parameters_file: str | None, group: str) -> "StartTemplate":
    """
    Raises:
        OSError, CommandFailed: a file cannot be read, or used.
        BadCommandLine: a parameter cannot be used.
    """
    read = read_template(file)
    parameters = parameters_of(read.value, values, parameters_file)

    from hubwire.app import StartTemplate

    return StartTemplate(file, read.value, parameters, group, read.locate)


def read_settings(
    options: Mapping[str, Any], assignments: tuple[str, ...], environ: Mapping[str, str], config: Path | None
) -> Settings:
    """
    Settings of a command line.

    Args:
        options: by the name of the setting; None or an empty tuple means not given.
        assignments: `name=value` each; they win over `options`.

    Raises:
        BadCommandLine: naming what cannot be used.
    """
    values: dict[str, Any] = {name: value for name, value in options.items() if value not in (None, ())}
    spelled = {name: _option(name) for name in values}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise BadCommandLine(f"--set wants NAME=VALUE, not {assignment!r}")
        name = name.strip().replace("-", "_")
        values[name] = value.strip()
        spelled[name] = f"--set {name}"
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.default, tuple) and isinstance(text := values.get(field.name), str):
            values[field.name] = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return load(values, environ, config, spelled)
    except BadSetting as error:
        raise BadCommandLine(str(error)) from error


def _option(setting: str) -> str:
    """How the option of a setting is spelled."""
    option = next(parameter for parameter in serve.params if parameter.name == setting)
    return max(option.opts, key=len)
