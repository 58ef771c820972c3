"""One connection as a source of events: what its handlers are told of it, and what they gave it to keep."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from hubwire.model.hubs import AccessKeys
from hubwire.model.names import HubKey
from hubwire.model.ports import Cookies

__all__ = ["Ended", "EventSource", "JournalledSource", "MqttEnding"]


class MqttEnding(Struct, frozen=True, omit_defaults=True):
    """
    How an MQTT session ended.

    Attributes:
        initiated_by_client: the last DISCONNECT packet came from the client.
        code: in that packet; 0 for 3.1.1, which has none; None where neither side sent one.
        user_properties: in that packet; None where there are none, or the server sent it.
    """

    initiated_by_client: bool = False
    code: int | None = None
    user_properties: tuple[tuple[str, str], ...] | None = None


class Ended(Struct, frozen=True):
    """
    The end of a connection, as its handler is to be told it.

    Attributes:
        event_id: the same each time that it is told.
        mqtt: None unless it was an MQTT session.
    """

    event_id: int
    reason: str | None
    mqtt: MqttEnding | None = None


class JournalledSource(Struct, frozen=True, omit_defaults=True):
    """
    What the journal keeps of a connection whose end a handler is to be told.

    Attributes:
        event_id: of the `disconnected` event, once there is one; so a handler that gets it twice can tell.
        reason, mqtt_ending: the same.
        physical_id, session_id: of an MQTT client.
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
    physical_id: str | None = None
    session_id: str | None = None
    mqtt_ending: MqttEnding | None = None

    @property
    def ended(self) -> Ended | None:
        """None where it was in when this was written."""
        return None if self.event_id is None else Ended(self.event_id, self.reason, self.mqtt_ending)


class EventSource:
    """
    Attributes:
        hub, connection_id, user_id, subprotocol: of the connection. That of an MQTT client is `mqtt` from its first
            event on.
        origin: our host name, as handlers are told it.
        physical_id: of the socket of an MQTT client, the latest one; None for all others.
        session_id: of an MQTT session; None for all others, and as long as nobody knows to which one a client comes.
        state: opaque text that a handler gave it; None for none, which is something else than an empty one.
        cookies: of its handlers; None while there are none.
        ended: once it has.
        client_gone: nobody waits for what handlers answer any more.
        given_up: and an event has failed since.
        journalled: its end is to be told, even after a crash.
        only_asked: a handler has accepted an MQTT client, and it is not in: handlers are told no end of it.
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
        "only_asked",
        "origin",
        "physical_id",
        "postponed",
        "session_id",
        "state",
        "subprotocol",
        "user_id",
        "waiting",
    )

    def __init__(
        self,
        hub: HubKey,
        connection_id: str,
        origin: str,
        user_id: str | None = None,
        subprotocol: str | None = None,
        physical_id: str | None = None,
        session_id: str | None = None,
    ) -> None:
        self.hub = hub
        self.connection_id = connection_id
        self.origin = origin
        self.user_id = user_id
        self.subprotocol = subprotocol if physical_id is None else "mqtt"
        self.physical_id = physical_id
        self.session_id = session_id
        self.state: str | None = None
        self.cookies: Cookies | None = None
        self.ended: Ended | None = None
        self.journalled = False
        self.only_asked = False
        self.client_gone = False
        self.given_up = False
        self.postponed = 0
        # Not a deque, an empty one of which takes 0.7 KB of each connection.
        self.waiting: list[Callable[[], Awaitable[None]]] = []
        self._next_id = 1
        self._signature = ""
        self._signed_with: AccessKeys | None = None

    @classmethod
    def of(cls, entry: JournalledSource) -> "EventSource":
        """That of an entry of the journal."""
        source = cls(
            HubKey(entry.resource, entry.hub),
            entry.connection_id,
            entry.origin,
            entry.user_id,
            entry.subprotocol,
            entry.physical_id,
            entry.session_id,
        )
        source.state = entry.state
        source.ended = entry.ended
        source.journalled = True
        return source

    def recall(self, session: "EventSource") -> None:
        """
        Be asked about with what handlers gave a session to keep. The session itself learns of what they answer only
        once the client is in.
        """
        self.state = session.state
        self.cookies = None if session.cookies is None else session.cookies.copy()

    def next_id(self) -> int:
        """Number of its next event; 0 is that of `connect`, whether or not anybody is asked."""
        number = self._next_id
        self._next_id += 1
        return number

    def skip(self, numbers: int) -> None:
        """Leave out numbers of events that an earlier process may have used."""
        self._next_id += numbers

    def signature(self, keys: AccessKeys, sign: Callable[[str, AccessKeys], str]) -> str:
        """The same for all its events, as long as the keys are."""
        if self._signed_with is not keys:
            self._signature, self._signed_with = sign(self.connection_id, keys), keys
        return self._signature

    def journal_key(self) -> str:
        """Under which the journal keeps it. MQTT clients choose their ids, and come again under the same one."""
        session = "" if self.session_id is None else f"/{self.session_id}"
        return f"{self.hub.resource}/{self.hub.hub}/{self.connection_id}{session}"

    def journal_entry(self) -> JournalledSource:
        """As the journal keeps it."""
        ended = self.ended
        return JournalledSource(
            self.hub.resource,
            self.hub.hub,
            self.connection_id,
            self.origin,
            self.user_id,
            self.subprotocol,
            self.state,
            None if ended is None else ended.event_id,
            None if ended is None else ended.reason,
            self.physical_id,
            self.session_id,
            None if ended is None else ended.mqtt,
        )
