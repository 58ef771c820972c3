"""
What `hubwire serve` says when it listens. Pure; the values come from `hubwire.app` as an `Announcement`.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from hubwire.cli.text import one_line
from hubwire.settings import Settings

__all__ = ["LONGEST", "Announced", "banner", "coloured", "mqtt_mode", "try_it"]

LONGEST: Final = 12
"""Lines of a banner at most: it shall be read at a glance."""

_ROLES: Final = "--role webpubsub.joinLeaveGroup --role webpubsub.sendToGroup"


class Announced(Protocol):
    """What the banner needs to know of a server that listens."""

    @property
    def endpoint(self) -> str:
        """URL under which clients on this machine reach it."""

    @property
    def https_endpoint(self) -> str | None:
        """The same over HTTPS; None where that is not served."""

    @property
    def connection_string(self) -> str:
        """For a server SDK; it holds the primary access key."""

    @property
    def communication(self) -> str:
        """Connection string of the first communication service; it holds its primary access key."""

    @property
    def data(self) -> str:
        """The data folder, and the store if that is elsewhere."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator should know, a line each."""


def banner(announced: Announced, version: str, command: str, mqtt: str, *, colour: bool) -> list[str]:
    """
    The lines to print, `LONGEST` at most.

    Args:
        command: a line that opens a first client; see `try_it`.
        mqtt: see `mqtt_mode`.
        colour: may lines hold control sequences.
    """
    strong, weak, alarm, plain = ("\x1b[1m", "\x1b[2m", "\x1b[33m", "\x1b[0m") if colour else ("", "", "", "")
    lines = [
        f"{strong}Hubwire {version} serves {announced.endpoint}{plain}",
        *([f"  {weak}https{plain}              {announced.https_endpoint}"] if announced.https_endpoint else []),
        f"  {weak}connection string{plain}  {announced.connection_string}",
        f"  {weak}communication{plain}      {announced.communication}",
        f"  {weak}data folder{plain}        {announced.data}",
        f"  {weak}mqtt clients{plain}       {mqtt}",
        f"  {weak}try it{plain}             {command}",
        f"  {weak}stop it{plain}            Ctrl-C",
    ]
    room = LONGEST - len(lines)
    shown = announced.warnings if len(announced.warnings) <= room else announced.warnings[: room - 1]
    lines += [f"  {alarm}warning{plain}            {one_line(warning)}" for warning in shown]
    if hidden := len(announced.warnings) - len(shown):
        lines.append(f"  {alarm}warning{plain}            and {hidden} more")
    return lines


def try_it(program: str, data_option: str) -> str:
    """
    A shell line that opens a first client.

    Args:
        program: how the user calls us.
        data_option: with a blank before it, or empty.
    """
    return f'{program} connect "$({program} url{data_option} --hub chat {_ROLES})"'


def mqtt_mode(settings: Settings) -> str:
    """What is taken of MQTT clients: the preset, and what is set by itself besides."""
    single = (
        ("mqtt_client_ids", settings.mqtt_client_ids),
        ("mqtt_keep_alive", settings.mqtt_keep_alive),
        ("mqtt_retain", settings.mqtt_retain),
    )
    return " ".join([settings.mqtt_compatibility, *(f"{name}={value}" for name, value in single if value is not None)])


def coloured(is_terminal: bool, environ: Mapping[str, str]) -> bool:
    """May control sequences be written: only to a terminal, and not where NO_COLOR or TERM=dumb forbid it."""
    return is_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
