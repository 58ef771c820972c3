"""One connection as a source of events: what its handlers are told of it, and what they gave it to keep."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from hubwire.model.hubs import AccessKeys
from hubwire.model.names import HubKey
from hubwire.model.ports import Cookies

__all__ = ["EventSource", "JournalledSource"]


class JournalledSource(Struct, frozen=True, omit_defaults=True):
    """
    What the journal keeps of a connection whose end a handler is to be told.

    Attributes:
        event_id: of the `disconnected` event, once there is one; so a handler that gets it twice can tell.
        reason: the same.
    """

    resource: str
    hub: str
    connection_id: str
    origin: str
    user_id: str | None = None
    subprotocol: str | None = None
    state: str | None = None
    event_id: int | None = None
    reason: str | None = None


class EventSource:
    """
    Attributes:
        hub, connection_id, user_id, subprotocol: of the connection.
        origin: our host name, as handlers are told it.
        state: opaque text that a handler gave it; None for none, which is something else than an empty one.
        cookies: of its handlers; None while there are none.
        ended: number and reason of its `disconnected` event, once there is one.
        client_gone: nobody waits for what handlers answer any more.
        given_up: and an event has failed since.
        journalled: its end is to be told, even after a crash.
        postponed: how often its end was to be told and could not be.
        waiting: notifications in their order; the first one is under way.
    """

    __slots__ = (
        "_next_id",
        "_signature",
        "_signed_with",
        "client_gone",
        "connection_id",
        "cookies",
        "ended",
        "given_up",
        "hub",
        "journalled",
        "origin",
        "postponed",
        "state",
        "subprotocol",
        "user_id",
        "waiting",
    )

    def __init__(
        self, hub: HubKey, connection_id: str, origin: str, user_id: str | None = None, subprotocol: str | None = None
    ) -> None:
        self.hub = hub
        self.connection_id = connection_id
        self.origin = origin
        self.user_id = user_id
        self.subprotocol = subprotocol
        self.state: str | None = None
        self.cookies: Cookies | None = None
        self.ended: tuple[int, str | None] | None = None
        self.journalled = False
        self.client_gone = False
        self.given_up = False
        self.postponed = 0
        # Not a deque, an empty one of which takes 0.7 KB of each connection.
        self.waiting: list[Callable[[], Awaitable[None]]] = []
        self._next_id = 1
        self._signature = ""
        self._signed_with: AccessKeys | None = None

    def next_id(self) -> int:
        """Number of its next event; 0 is that of `connect`, whether or not anybody is asked."""
        number = self._next_id
        self._next_id += 1
        return number

    def signature(self, keys: AccessKeys, sign: Callable[[str, AccessKeys], str]) -> str:
        """The same for all its events, as long as the keys are."""
        if self._signed_with is not keys:
            self._signature, self._signed_with = sign(self.connection_id, keys), keys
        return self._signature

    def journal_entry(self) -> JournalledSource:
        """As the journal keeps it."""
        event_id, reason = self.ended or (None, None)
        return JournalledSource(
            self.hub.resource,
            self.hub.hub,
            self.connection_id,
            self.origin,
            self.user_id,
            self.subprotocol,
            self.state,
            event_id,
            reason,
        )
