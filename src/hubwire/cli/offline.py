"""
What can be read with no server running: keys and hubs, from the store of a data folder under its lock.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from hubwire.cli.control import NoServer
from hubwire.cli.faults import CommandFailed
from hubwire.model.errors import StartFailed
from hubwire.model.hubs import AccessKeys
from hubwire.settings import Settings

__all__ = ["StoredCatalog", "read_offline"]

T = TypeVar("T")

_DATABASE: Final = "hubwire.db"


class StoredCatalog(Protocol):
    """The part of the resource tree that commands read. See `hubwire.resources.catalog`."""

    def access_keys(self, resource: str, /) -> AccessKeys:
        """The keys that hold now."""

    async def get_hub(self, name: str, /) -> Mapping[str, Any] | None:
        """The settings of a hub, or None if nobody configured it."""

    async def list_hubs(self) -> Sequence[Mapping[str, Any]]:
        """The configured hubs, by name."""


def read_offline(folder: Path, action: Callable[[StoredCatalog], Awaitable[T]]) -> T:
    """
    Let `action` read the catalog of a folder on which no server runs. Nobody can start one meanwhile.

    Raises:
        NoServer: nor is there a store to read; nothing is created. A restored backup
            is one, before any server ran on it.
        CommandFailed: the folder cannot be used, or somebody else holds its lock.
    """
    if not (folder / _DATABASE).exists():
        raise NoServer(folder)

    # Here, not above: commands that find a server start without loading it.
    from hubwire.app import offline

    try:
        return offline(Settings(data=str(folder)), action)
    except StartFailed as error:
        raise CommandFailed(str(error)) from error
