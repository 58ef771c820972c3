"""Calls of the resource manager over the control socket, where the operator needs no token."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import click

from hubwire.cli.control import Answer, ask, control
from hubwire.cli.faults import CommandFailed
from hubwire.cli.text import one_line

__all__ = ["DEPLOYMENTS_VERSION", "HOME_GROUP", "Manager", "ResourceType", "group_option", "new_group_option", "warned"]

HOME_GROUP: Final = "hubwire"
"""Resource group of what is there from the first start, and of what is deployed without another."""
DEPLOYMENTS_VERSION: Final = "2025-04-01"

_VERSION: Final = "2025-01-01-preview"
_NAMELESS: Final = "a resource and a resource group have a name"

group_option = click.option("--group", metavar="NAME", help="Resource group. [wherever it is]")
new_group_option = click.option(
    "--group", default=HOME_GROUP, show_default=True, metavar="NAME", help="Resource group; made if it is not there."
)


class ResourceType(NamedTuple):
    """
    Attributes:
        name: as in resource ids.
        noun: what one is called.
        version: of the API that is called.
        nameless: what is said where its name is empty.
    """

    name: str
    noun: str
    version: str = _VERSION
    nameless: str = _NAMELESS


_RESOURCE: Final = ResourceType("Microsoft.SignalRService/webPubSub", "resource")
_IDENTITY: Final = ResourceType("Microsoft.ManagedIdentity/userAssignedIdentities", "identity")


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

    def place(self, group: str, name: str, kind: ResourceType = _RESOURCE) -> str:
        """Path of a resource, be it there or not."""
        return f"{self.group(group)}/providers/{kind.name}/{_segment(name, kind.nameless)}"

    def resources(self, group: str | None = None, kind: ResourceType = _RESOURCE) -> list[dict[str, Any]]:
        """All of the subscription, or of one resource group."""
        above = self.subscription if group is None else self.group(group)
        found = self.call("GET", f"{above}/providers/{kind.name}", version=kind.version).document
        return list(found["value"])

    def find(self, name: str, group: str | None = None, kind: ResourceType = _RESOURCE) -> dict[str, Any]:
        """
        The resource of this name, in any letter case.

        Raises:
            CommandFailed: there is none.
        """
        _segment(name, kind.nameless)
        there = self.resources(group, kind)
        for resource in there:
            if resource["name"].lower() == name.lower():
                return resource
        raise _no_such(name, kind, there)

    def path(self, name: str, group: str | None = None, kind: ResourceType = _RESOURCE) -> str:
        """Path of a resource that is there. Raises as `find`."""
        return self.path_of(self.find(name, group, kind))

    @staticmethod
    def path_of(resource: Mapping[str, Any]) -> str:
        """Path of a resource that was found."""
        return quote(resource["id"], safe="/")

    def identities(self, group: str | None = None) -> list[dict[str, Any]]:
        """All user-assigned identities of the subscription, or of one resource group."""
        return self.resources(group, _IDENTITY)

    def identity_place(self, group: str, name: str) -> str:
        """Path of a user-assigned identity, be it there or not."""
        return self.place(group, name, _IDENTITY)

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
            raise _no_such(name, _IDENTITY, there)
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


def _no_such(name: str, kind: ResourceType, there: Sequence[Mapping[str, Any]]) -> CommandFailed:
    names = ", ".join(str(one["name"]) for one in there)
    return CommandFailed(f"there is no {kind.noun} {name}{f'; there are: {names}' if names else ''}")


def _segment(name: str, nameless: str = _NAMELESS) -> str:
    if not name.strip():
        raise click.UsageError(nameless)
    return quote(name, safe="")
