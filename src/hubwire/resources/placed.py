"""
Resources that are kept beside webPubSub resources: in memory, by names that are unique in this server, each in a
resource group and with ports of its own. Their changes take turns with those of the resource tree, which they are part
of.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from msgspec.structs import replace

from hubwire.model.errors import BadRequest, Conflict, NotFound, StartFailed
from hubwire.model.listeners import ListenerKind, listener_name
from hubwire.model.ports import Store
from hubwire.resources.catalog import Catalog, NoPorts, Ports
from hubwire.resources.documents import PlacedResource, StoredGroup, stored, value_of
from hubwire.resources.resource_properties import is_location, region, tags_of

__all__ = ["PlacedResources"]

_MOST: Final = 100

_R = TypeVar("_R", bound=PlacedResource)


class PlacedResources(ABC, Generic[_R]):
    """
    Answers from memory at once; a change returns when it is stored, and holds from then on. Names compare without case.

    Args:
        kind: of the listeners.
        noun: what one is called, for errors.
        clock: seconds since 1970.
        first: name of the one that answers for every host: it has no ports of its own, and stays. Empty for none.

    Attributes:
        ports: of those that have some of their own; none, while no server runs.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        kind: ListenerKind,
        noun: str,
        clock: Callable[[], float],
        first: str = "",
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._kind: ListenerKind = kind
        self._noun = noun
        self._clock = clock
        self._first = first
        self.ports: Ports = NoPorts()
        self._placed: dict[str, _R] = {}

    # What is there.

    def all(self, subscription: str | None = None, group: str | None = None) -> list[_R]:
        """Those of a subscription or of one of its groups, by name."""
        return [
            one
            for _, one in sorted(self._placed.items())
            if (subscription is None or one.subscription.lower() == subscription.lower())
            and (group is None or one.group.lower() == group.lower())
        ]

    def named(self, name: str) -> _R | None:
        """The one of a name; None if there is none."""
        return self._placed.get(name.lower())

    def found(self, name: str) -> _R:
        """
        Raises:
            NotFound: there is none of this name.
        """
        found = self.named(name)
        if found is None:
            raise self._missing(name)
        return found

    def find(self, subscription: str, group: str, name: str) -> _R:
        """
        Raises:
            NotFound: there is none of this name in this group.
        """
        if self._catalog.group(subscription, group) is None:
            raise NotFound(f"Resource group '{group}' could not be found.", "group")
        found = self.found(name)
        if not _is_in(found, subscription, group):
            raise self._missing(name)
        return found

    # Changes.

    async def put(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> tuple[_R, bool]:
        """
        Create one or replace what it says; what is not given takes its default, and what belongs to it stays. Its
        resource group is made, too, if it is not there.

        Args:
            body: `location`, `tags`, `properties`, and what else the resource type has.

        Returns:
            what is there now, and whether it is new.

        Raises:
            BadRequest: an illegal name or property; `target` says which.
            Conflict: one in another group has this name, there are too many, or it has what cannot be changed.
            Unavailable: there is no port for it.
        """

        async def make(found: StoredGroup) -> tuple[_R, bool]:
            return await self._put(found, name, body)

        self.check(subscription, group, name, body)
        return await self._catalog.make_in(subscription, group, body.get("location"), make)

    async def patch(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> _R:
        """
        Change what is given and leave the rest. A property that is given is replaced as a whole.

        Raises:
            BadRequest, Conflict: as for `put`.
            NotFound: there is none of this name in this group.
        """
        return await self._catalog.run(self._patch(subscription, group, name, body))

    async def delete(self, subscription: str, group: str, name: str) -> bool:
        """
        Delete one with what belongs to it, for good. False if there is none.

        Raises:
            Conflict: it is the one that answers for every host.
        """
        return await self._catalog.run(self._delete(subscription, group, name))

    async def open_ports(self) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
        """
        Listen for each that has ports of its own, at the start of a server.

        Returns:
            name, old and new ports of those whose old ones could not be had.
        """
        return await self._catalog.run(self._open_ports())

    @abstractmethod
    def check(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> _R:
        """
        What `put` would make, without making it. Its resource group may be still to come.

        Raises:
            BadRequest, Conflict: as there.
        """

    # What each resource type has its own way of.

    @abstractmethod
    def _missing(self, name: str) -> NotFound:
        """There is none of this name."""

    @abstractmethod
    def _id(self, one: _R) -> str:
        """Its resource id."""

    @abstractmethod
    def _patched(self, old: _R, body: Mapping[str, Any]) -> _R:
        """With what a PATCH says, besides `tags`."""

    @abstractmethod
    async def _keep(self, new: _R) -> None:
        """Store and remember it, and tell of it."""

    @abstractmethod
    async def _drop(self, one: _R) -> None:
        """Delete it with what belongs to it, close its ports, and tell of it."""

    def _begun(self, made: _R) -> _R:
        """A new one, with what nobody gives it."""
        return made

    def _remember(self, one: _R) -> None:
        self._placed[one.name.lower()] = one

    async def _read(self, kind: str, shape: type[_R], completed: Callable[[object], dict[str, Any]]) -> None:
        """
        Remember what is stored.

        Raises:
            StartFailed: it is damaged.
        """
        for document in await stored(self._store, kind):
            one = value_of(shape, document)
            try:
                self._remember(replace(one, properties=completed(one.properties)))
            except BadRequest as error:
                message = f"the stored {document.kind} {document.key} cannot be used: {error.message}"
                raise StartFailed(message) from error

    def _claimed(self, subscription: str, group: str, name: str) -> _R | None:
        """
        The one that a PUT is about; None if it is new.

        Raises:
            Conflict: it may not be here.
        """
        old = self.named(name)
        if old is not None and not _is_in(old, subscription, group):
            raise Conflict(f"The name {name} is taken by a {self._noun} in another resource group.", "name")
        if old is None and len(self._placed) >= _MOST:
            raise Conflict(f"A server has {_MOST} {self._noun}s at most.", "quota")
        return old

    def _region(self, location: object) -> str:
        if not is_location(location):
            message = f"The location of the {self._noun} is required, and must be the name of a region."
            raise BadRequest(message, "location")
        return region(location)

    def _group_name(self, subscription: str, group: str) -> str:
        """In the spelling that it has, if it is there."""
        known = self._catalog.group(subscription, group)
        return known.name if known else group

    # Changes, each when it is its turn.

    async def _put(self, group: StoredGroup, name: str, body: Mapping[str, Any]) -> tuple[_R, bool]:
        is_new = self.named(name) is None
        made = self.check(group.subscription, group.name, name, body)
        if not is_new:
            await self._keep(made)
            return made, False
        made = replace(self._begun(made), ports=await self.ports.open(self._listener(name), (0, 0)))
        try:
            await self._keep(made)
        except BaseException:
            await self.ports.close(self._listener(name))
            raise
        return made, True

    async def _patch(self, subscription: str, group: str, name: str, body: Mapping[str, Any]) -> _R:
        new = replace(self.find(subscription, group, name), changed_at=int(self._clock()))
        if "tags" in body:
            new = replace(new, tags=tags_of(body["tags"]))
        new = self._patched(new, body)
        await self._keep(new)
        return new

    async def _delete(self, subscription: str, group: str, name: str) -> bool:
        try:
            found = self.find(subscription, group, name)
        except NotFound:
            return False
        if found.name == self._first:
            raise Conflict(f"The {self._noun} that answers for every host cannot be deleted.", target="resource")
        for forget in self._catalog.on_end:
            await forget(self._id(found))
        await self._drop(found)
        return True

    async def _delete_below(self, scope: str) -> None:
        """A resource group is going to be deleted; the roles of what is in it are forgotten by others."""
        for one in self.all():
            if self._id(one).lower().startswith(f"{scope.lower()}/"):
                await self._drop(one)

    async def _open_ports(self) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
        moved = []
        for one in self.all():
            if one.name == self._first:
                continue
            ports = await self.ports.open(self._listener(one.name), one.ports)
            if ports != one.ports:
                if any(one.ports):
                    moved.append((one.name, one.ports, ports))
                await self._keep(replace(one, ports=ports))
        return moved

    def _listener(self, name: str) -> str:
        return listener_name(self._kind, name)


def _is_in(one: PlacedResource, subscription: str, group: str) -> bool:
    return (one.subscription.lower(), one.group.lower()) == (subscription.lower(), group.lower())
