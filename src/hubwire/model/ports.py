"""
Every seam of the house on one page. Each has one contract suite in `tests/contracts` that every adapter passes.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from msgspec import Struct

from hubwire.model.commands import Answer, Command, Query
from hubwire.model.hubs import AccessKeys, HubSettings
from hubwire.model.names import HubKey
from hubwire.model.resources import ResourcePolicy
from hubwire.model.targets import Target

__all__ = [
    "Bus",
    "BusReceiver",
    "Change",
    "Document",
    "HubDirectory",
    "KeyDirectory",
    "Sink",
    "Spread",
    "Store",
]


class Sink(Protocol):
    """
    One client's way out, given by the edge.

    Attributes:
        direct: the short way of `write`, for a fan-out to thousands: hands whole frames to the socket now. Who takes it
            counts the bytes. None while something waits, and when nothing is written any more.
    """

    direct: Callable[[bytes], object] | None

    def write(self, data: bytes, frames: int, expires_at: float | None) -> None:
        """
        Send whole frames; never waits. While the client reads too slowly they wait here, bounded, and may expire;
        overflow closes the client, by name.

        Args:
            data: one or more whole frames; the same object may be given to many sinks.
            frames: how many messages that are, for counting.
            expires_at: seconds on the monotonic clock after which they need not be sent any more; None for never.
        """

    def close(self, code: int, reason: str) -> None:
        """Send a close frame after what was written, and end. Repeating it does nothing."""

    def abort(self) -> None:
        """End at once and silently."""


Spread: TypeAlias = Callable[[Sequence[Sink], bytes], None]
"""
Hands the same whole frames to many sinks whose `direct` is not None, as calling that of each would, at less cost. The
caller counts the bytes.
"""


class BusReceiver(Protocol):
    """What a bus needs of its node."""

    def receive(self, topic: Target, command: Command) -> None:
        """A command for a topic that this node subscribed to."""

    async def answer(self, topic: Target, query: Query) -> Answer:
        """This node's part of the answer; `count` 0 if it has nothing to say."""


class Bus(Protocol):
    """How nodes hear one another: at most once, in order for one topic and sender."""

    def attach(self, receiver: BusReceiver) -> None:
        """Name the node that this bus serves. Called once, before anything else."""

    def subscribe(self, topic: Target) -> Awaitable[None] | None:
        """
        Hear `topic`. Repeating it is harmless.

        Returns:
            None if a later publish by anybody will be heard; else to be awaited until that is so.
        """

    def unsubscribe(self, topic: Target) -> Awaitable[None] | None:
        """Hear no more of `topic`: from now on, or from when the result was awaited. Unknown topics are harmless."""

    def publish(self, topic: Target, command: Command) -> None:
        """Never waits. The publishing node hears it too, if it subscribed."""

    async def ask(self, topic: Target, query: Query, want: Literal["first", "all"], timeout_s: float) -> list[Answer]:
        """
        Ask the nodes that subscribed to `topic`, this one included.

        Args:
            want: "first" returns as soon as one answer has `count` above 0, and at once when nobody listens;
                "all" returns when every live node that listens has answered.
        """


class Document(Struct, frozen=True):
    """A small stored value. `etag` changes with every change of `body`."""

    kind: str
    key: str
    body: dict[str, Any]
    etag: str


class Change(Struct, frozen=True):
    """
    One step of a commit.

    Attributes:
        body: the new value; None deletes.
        expect: "any" whatever is there; "absent" nothing may be there; else the etag that must be there.
    """

    kind: str
    key: str
    body: dict[str, Any] | None
    expect: str = "any"


class Store(Protocol):
    """Small documents: keys, hubs, later users and resources. Never live traffic."""

    async def get(self, kind: str, key: str) -> Document | None:
        """One document, or None."""

    async def list(self, kind: str, prefix: str, after: str | None, limit: int) -> list[Document]:
        """Documents of a kind whose key starts with `prefix`, by ascending key (code point order), after `after`."""

    async def commit(self, changes: Sequence[Change]) -> None:
        """
        All or none.

        Raises:
            PreconditionFailed: a change found another state than it demanded; nothing was changed.
            NotStored: it could not be written; nothing was changed.
        """

    async def close(self) -> None:
        """Release what is held. Committed changes are already safe."""


class HubDirectory(Protocol):
    """Settings as the hot path reads them: from memory, without waiting."""

    def settings(self, hub: HubKey) -> HubSettings:
        """What holds for this hub now; the defaults if nobody configured it."""

    def policy(self, resource: str) -> ResourcePolicy:
        """
        What holds for a resource now.

        Raises:
            NotFound: no such resource.
        """


class KeyDirectory(Protocol):
    """Access keys as the hot path reads them: from memory, without waiting."""

    def access_keys(self, resource: str) -> AccessKeys:
        """
        The keys of a resource.

        Raises:
            NotFound: no such resource.
        """

    def policy(self, resource: str) -> ResourcePolicy:
        """The same for what else it demands of callers."""

    def recovery_key(self) -> bytes:
        """Secret under which this server signs reconnection tokens. Independent of the access keys."""
