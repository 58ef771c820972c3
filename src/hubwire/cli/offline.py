"""
What can be read with no server running: keys, hubs and applications, from the store of a data folder under its lock.
"""

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from hubwire.cli.control import NoServer
from hubwire.cli.faults import CommandFailed
from hubwire.model.directory import Application
from hubwire.model.errors import Refused, StartFailed
from hubwire.model.hubs import AccessKeys
from hubwire.settings import Settings

__all__ = ["StoredCatalog", "StoredDirectory", "check_store", "in_words", "read_offline", "read_offline_directory"]

T = TypeVar("T")

_DATABASE: Final = "hubwire.db"


class StoredCatalog(Protocol):
    """The part of the resource tree that commands read. See `hubwire.resources.catalog`."""

    def access_keys(self, resource: str, /) -> AccessKeys:
        """The keys that hold now."""

    async def get_hub(self, name: str, resource: str, /) -> Mapping[str, Any] | None:
        """The settings of a hub, or None if nobody configured it."""

    async def list_hubs(self, resource: str, /) -> Sequence[Mapping[str, Any]]:
        """The configured hubs of a resource, by name."""


class StoredDirectory(Protocol):
    """The part of the directory that commands read. See `hubwire.resources.directory`."""

    def applications(self) -> Sequence[Application]:
        """All, by name."""

    def find(self, text: str, /) -> Application:
        """The one that somebody means; refused if there is none, or more than one."""


def read_offline(folder: Path, action: Callable[[StoredCatalog], Awaitable[T]]) -> T:
    """
    Let `action` read the catalog of a folder on which no server runs. Nobody can start one meanwhile.

    Raises:
        NoServer: nor is there a store to read; nothing is created. A restored backup
            is one, before any server ran on it.
        CommandFailed: the folder cannot be used, or somebody else holds its lock.
    """
    settings = _settings(folder)

    # Here, not above: commands that find a server start without loading it.
    from hubwire.app import offline

    with in_words():
        return offline(settings, action)


def read_offline_directory(folder: Path, action: Callable[[StoredDirectory], Awaitable[T]]) -> T:
    """
    The same with the directory of the token issuer.

    Raises:
        NoServer, CommandFailed: as for `read_offline`.
    """
    settings = _settings(folder)

    from hubwire.app import offline_directory

    with in_words():
        return offline_directory(settings, action)


def _settings(folder: Path) -> Settings:
    """
    Where the store is: what the environment says of it counts as it does for a server.

    Raises:
        NoServer: as `check_store`.
    """
    settings = Settings(data=str(folder), store=os.environ.get("HUBWIRE_STORE"))
    check_store(settings)
    return settings


def check_store(settings: Settings) -> None:
    """
    Raises:
        NoServer: there is no store on which anything could be done without one. One that is elsewhere says so itself.
    """
    if not settings.store and not Path(settings.data, _DATABASE).exists():
        raise NoServer(Path(settings.data))


@contextmanager
def in_words() -> Iterator[None]:
    """What the store and the resource tree refuse, as commands fail: CommandFailed, with the refusal as its cause."""
    try:
        yield
    except StartFailed as error:
        raise CommandFailed(str(error)) from error
    except Refused as error:
        raise CommandFailed(error.message) from error
