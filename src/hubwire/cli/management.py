"""Calls of the resource manager over the control socket, where the operator needs no token."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from hubwire.cli.control import Answer, ask, control
from hubwire.cli.faults import CommandFailed
from hubwire.cli.text import one_line

__all__ = ["DEPLOYMENTS_VERSION", "HOME_GROUP", "Manager", "warned"]

HOME_GROUP: Final = "hubwire"
"""Resource group of what is there from the first start, and of what is deployed without another."""
DEPLOYMENTS_VERSION: Final = "2025-04-01"

_VERSION: Final = "2025-01-01-preview"
_TYPE: Final = "/providers/Microsoft.SignalRService/webPubSub"
_IDENTITIES: Final = "/providers/Microsoft.ManagedIdentity/userAssignedIdentities"


class Manager:
    """
    The resource manager of the server on a data folder. It raises what `ask` raises.

    Args:
        folder: data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def subscription(self) -> str:
        """Path of the server's own subscription."""
        status = control(self._folder, "GET", "/control/status")
        if not isinstance(status, dict) or not isinstance(found := status.get("subscriptionId"), str):
            raise CommandFailed("the server's answer holds no subscription; is it a Hubwire server of another version?")
        return f"/subscriptions/{found}"

    def group(self, name: str) -> str:
        """Path of a resource group."""
        return f"{self.subscription}/resourceGroups/{_segment(name)}"

    def place(self, group: str, name: str) -> str:
        """Path of a resource, be it there or not."""
        return f"{self.group(group)}{_TYPE}/{_segment(name)}"

    def resources(self, group: str | None = None) -> list[dict[str, Any]]:
        """All of the subscription, or of one resource group."""
        above = self.subscription if group is None else self.group(group)
        found = self.call("GET", f"{above}{_TYPE}").document
        return list(found["value"])

    def find(self, name: str, group: str | None = None) -> dict[str, Any]:
        """
        The resource of this name, in any letter case.

        Raises:
            CommandFailed: there is none.
        """
        _segment(name)
        there = self.resources(group)
        for resource in there:
            if resource["name"].lower() == name.lower():
                return resource
        names = ", ".join(str(resource["name"]) for resource in there)
        raise CommandFailed(f"there is no resource {name}{f'; there are: {names}' if names else ''}")

    def path(self, name: str, group: str | None = None) -> str:
        """Path of a resource that is there. Raises as `find`."""
        return quote(self.find(name, group)["id"], safe="/")

    def identities(self, group: str | None = None) -> list[dict[str, Any]]:
        """All user-assigned identities of the subscription, or of one resource group."""
        above = self.subscription if group is None else self.group(group)
        return list(self.call("GET", f"{above}{_IDENTITIES}").document["value"])

    def identity_place(self, group: str, name: str) -> str:
        """Path of a user-assigned identity, be it there or not."""
        return f"{self.group(group)}{_IDENTITIES}/{_segment(name)}"

    def identity_path(self, identity: Mapping[str, Any]) -> str:
        """Path of one that is there."""
        return quote(identity["id"], safe="/")

    def identity(self, name: str, group: str | None = None) -> dict[str, Any]:
        """
        The user-assigned identity of this name or resource id, in any letter case.

        Raises:
            CommandFailed: there is none, or several have this name.
        """
        _segment(name)
        there = self.identities(group)
        found = [one for one in there if name.lower() in (one["name"].lower(), one["id"].lower())]
        if len(found) > 1:
            groups = ", ".join(one["id"].split("/")[4] for one in found)
            raise CommandFailed(f"there is an identity {name} in several resource groups: {groups}; name it by its id")
        if not found:
            names = ", ".join(str(one["name"]) for one in there)
            raise CommandFailed(f"there is no identity {name}{f'; there are: {names}' if names else ''}")
        return found[0]

    def call(
        self, method: str, path: str, document: Mapping[str, Any] | None = None, version: str = _VERSION
    ) -> Answer:
        """One call; what the server warns of goes to stderr."""
        return warned(ask(self._folder, method, f"{path}?api-version={version}", document))


def warned(answer: Answer) -> Answer:
    """An answer, after what the server warns of in it was written to stderr."""
    for warning in answer.warnings:
        click.echo(f"hubwire: {one_line(warning)}", err=True)
    return answer


def _segment(name: str) -> str:
    if not name.strip():
        raise click.UsageError("a resource and a resource group have a name")
    return quote(name, safe="")
