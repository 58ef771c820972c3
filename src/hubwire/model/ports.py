"""
Every seam of the house on one page. Each has one contract suite in `tests/contracts` that every adapter passes.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from msgspec import Struct

from hubwire.model.commands import Answer, Command, Query
from hubwire.model.hubs import AccessKeys, HubSettings
from hubwire.model.identities import AccessToken, ManagedIdentity
from hubwire.model.names import HubKey
from hubwire.model.resources import ResourcePolicy
from hubwire.model.targets import Target
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest

__all__ = [
    "Bus",
    "BusReceiver",
    "Change",
    "Commits",
    "Cookies",
    "Document",
    "HubDirectory",
    "Journal",
    "KeyDirectory",
    "SecretSource",
    "Sink",
    "Spread",
    "Store",
    "TokenSource",
    "Webhook",
]


class Commits(Protocol):
    """
    How far what must be on the disk is written.

    Attributes:
        asked: how many changes of the journal were asked for.
        safe: how many of them, from the first on, are written.
    """

    asked: int
    safe: int

    def when_safe(self, act: Callable[[], None]) -> bool:
        """
        Call `act`, once and from the event loop, when everything that was asked for so far is written. Those who wait
        are called in the order in which they asked.

        Returns:
            False if it is written already: then nothing is called.
        """


class Sink(Protocol):
    """
    One client's way out, given by the edge.

    Attributes:
        direct: the short way of `write`, for a fan-out to thousands: hands whole frames to the socket now. Who takes it
            counts the bytes. None while something waits or is held, and when nothing is written any more.
    """

    direct: Callable[[bytes], object] | None

    def hold(self) -> None:
        """
        Keep back whatever is written from now on, a close frame included, until `release` lets it go. It waits here as
        what a slow client does not take. What was written before goes its way.
        """

    def release(self, holds: int) -> None:
        """
        Lift the oldest `holds` of those that `hold` has made: what was written up to the next one may leave. Harmless
        when the socket has ended.
        """

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


Spread: TypeAlias = Callable[[list[Sink], list[bytes]], None]
"""
Hands whole frames to many sinks whose `direct` is not None, to each sink those at its own position, as calling `direct`
of each would, at less cost. No sink is there twice. The caller counts the bytes.
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

        Who subscribes to all groups of a hub hears each command to one of them, under its own topic; once, also who has
        subscribed to that too. Questions to a group are not for it.

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
    """
    Small documents: keys, hubs, users and resources. Never live traffic.

    Reading raises Unavailable where a database on another machine does not answer. Keys are any text, U+0000 left out;
    a kind and a key have up to 2,000 bytes as UTF-8.
    """

    async def get(self, kind: str, key: str) -> Document | None:
        """One document, or None. What it costs does not depend on how many there are."""

    async def list(self, kind: str, prefix: str, after: str | None, limit: int) -> list[Document]:
        """Documents of a kind whose key starts with `prefix`, by ascending key (code point order), after `after`."""

    async def commit(self, changes: Sequence[Change]) -> None:
        """
        All or none, and as if one commit came after the other. Changes of one see those before them.

        Raises:
            PreconditionFailed: a change found another state than it demanded; nothing was changed.
            BadRequest: a key that cannot be stored; nothing was changed.
            NotStored: it could not be written; nothing was changed, unless the reason says that nobody knows.
        """

    async def close(self) -> None:
        """Release what is held. Committed changes are already safe."""


class Journal(Protocol):
    """
    What must survive a crash and is written often, such as the list of accepted connects. Written in groups: whatever
    is asked for while a write is under way goes with the next one. What is asked for without anybody else having a turn
    meanwhile is written all of it, or nothing.
    """

    def put(self, kind: str, key: str, body: bytes) -> Awaitable[None]:
        """
        Keep an entry, in place of one of the same kind and key. Later calls for the same key win.

        Returns:
            to be awaited by who needs to know that it survives the end of this process; it is written whether or not
            anybody awaits. Raises NotStored then: it is not written so far, and will be tried again.
        """

    def remove(self, kind: str, key: str) -> Awaitable[None]:
        """Forget an entry; harmless if there is none. Otherwise as `put`."""

    def written(self) -> Awaitable[None]:
        """
        To be awaited until everything that was asked for so far is written, however often that fails meanwhile.

        Raises NotStored then: the journal was closed, and does not write all of it any more.
        """

    async def entries(self, kind: str) -> list[tuple[str, bytes]]:
        """All entries of a kind with their keys, by ascending key, with what was asked for before."""

    async def close(self) -> None:
        """Write what was asked for, and release what is held. Whatever is asked for later is not stored."""


class Webhook(Protocol):
    """How event handlers are called over HTTP."""

    async def send(self, request: OutgoingRequest, timeout_s: float) -> IncomingResponse:
        """
        One attempt: no retry, no redirect followed, no cookies of its own.

        Args:
            timeout_s: for all of it, the response's body included.

        Raises:
            WebhookFailed: there is no response that can be used.
        """


class Cookies(Protocol):
    """The cookies of one connection's handlers."""

    def header(self, url: str) -> str | None:
        """Value of the `Cookie` header for a request to `url`; None if there is none to send."""

    def keep(self, url: str, lines: Sequence[str]) -> None:
        """Take in `Set-Cookie` lines of a response from `url`, by the usual rules; ignore what is no cookie."""

    def copy(self) -> "Cookies":
        """The same, to go on apart."""


class TokenSource(Protocol):
    """Credentials for calls that we make."""

    async def token(self, audience: str, identity: ManagedIdentity) -> AccessToken:
        """
        A new token of an identity for a resource.

        Args:
            audience: App ID URI or client id, as it was configured.

        Raises:
            Unavailable: none can be had; the message is for the operator and says what to mend.
        """


class SecretSource(Protocol):
    """Key Vaults."""

    async def secret(self, uri: str, identity: ManagedIdentity) -> str:
        """
        The value of a secret, as it is now.

        Args:
            uri: secret identifier, `https://HOST/secrets/NAME` with or without `/VERSION`.

        Raises:
            Forbidden: the vault knows the identity and does not let it read; the message says what to grant.
            NotFound: the vault has no such secret.
            Unavailable: anything else, such as a vault that does not answer or may not be asked.
        """


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
