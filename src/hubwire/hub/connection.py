"""Who a client is, and what of it outlives its socket."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from hubwire.model.messages import MemberState
from hubwire.model.names import HubKey
from hubwire.model.permissions import Permissions
from hubwire.model.ports import Sink
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.session import Codec, Session

__all__ = ["AckLog", "Connection", "ConnectionStates"]

_REMEMBERED: Final = 1000
"""Ack ids remembered for each connection, as in the service's emulator."""

_FEW: Final = 16


class AckLog:
    """
    Which ack ids were carried out last, so that a repeated request is answered and not repeated.

    Official clients count 1, 2, 3, …, with a gap where a request failed: a few runs of numbers hold what they did.
    Whoever makes more than a few has a table instead, the oldest first, which is larger and no slower.
    """

    __slots__ = ("_count", "_runs", "_table")

    def __init__(self) -> None:
        self._runs: list[list[int]] = []  # first and last of each, in the order in which they were done
        self._count = 0
        self._table: OrderedDict[int, None] | None = None

    def seen(self, ack_id: int) -> bool:
        """Was `ack_id` carried out, as far as remembered."""
        if self._table is not None:
            return ack_id in self._table
        return any(first <= ack_id <= last for first, last in self._runs)

    def runs(self) -> list[tuple[int, int]]:
        """First and last of each row of ids that are remembered, in the order in which they were done."""
        if self._table is not None:
            return [(ack_id, ack_id) for ack_id in self._table]
        return [(first, last) for first, last in self._runs]

    def add(self, ack_id: int) -> None:
        """Remember `ack_id` (0 to 2^64-1, not seen yet) as carried out; the oldest of one too many is forgotten."""
        if self._table is None:
            self._add_to_runs(ack_id)
        else:
            self._table[ack_id] = None
            if len(self._table) > _REMEMBERED:
                self._table.popitem(last=False)

    def _add_to_runs(self, ack_id: int) -> None:
        runs = self._runs
        if runs and runs[-1][1] == ack_id - 1:
            runs[-1][1] = ack_id
        else:
            runs.append([ack_id, ack_id])
        self._count += 1
        if self._count > _REMEMBERED:
            self._count -= 1
            oldest = runs[0]
            oldest[0] += 1
            if oldest[0] > oldest[1]:
                del runs[0]
        if len(runs) > _FEW:
            self._table = OrderedDict.fromkeys(number for first, last in runs for number in range(first, last + 1))
            self._runs = []


class ConnectionStates:
    """
    What one connection has to do with states in groups.

    Attributes:
        own: what it has set, by group.
        subscribed: groups whose states it is told.
        updated_at: the latest time that a change of its states was given, in Unix milliseconds.
    """

    __slots__ = ("own", "subscribed", "updated_at")

    def __init__(self) -> None:
        self.own: dict[str, MemberState] = {}
        self.subscribed: dict[str, None] = {}
        self.updated_at = 0


class Connection:
    """
    One client connection, from its opening to its end; a reliable one may change its socket in between.

    Attributes:
        id: opaque, unique, free of characters that need escaping.
        hub: where it lives; `hub.hub` is the name in lower case.
        user_id: None for an anonymous client.
        permissions: roles of its token and rules set at runtime.
        session: state machine of its subprotocol.
        codec: of the session; kept here because the fan-out asks for it for each receiver.
        groups: names of the groups it is in (the values mean nothing; a small dict costs less than a set).
        filters: those that it hears of groups by, as it calls them; None until there is one.
        given_groups: of an MQTT client, those that its session was to begin in.
        sink: its way out; None while a dropped connection waits for its recovery.
        alive: false once it has ended for good.
        client_ip: where it came from, for the records.
        opened_at, ended_at: monotonic seconds.
        origin: host name of this server for event handlers.
        source: what event handlers know of it; None until one is told something.
        states: its states in groups and those that it is told; None until there is one.
        why: category under which it will end if it does not come back.
    """

    __slots__ = (
        "_acks",
        "alive",
        "client_ip",
        "codec",
        "ended_at",
        "filters",
        "given_groups",
        "groups",
        "hub",
        "id",
        "opened_at",
        "origin",
        "permissions",
        "session",
        "sink",
        "source",
        "states",
        "user_id",
        "why",
    )

    def __init__(
        self,
        id: str,
        hub: HubKey,
        user_id: str | None,
        permissions: Permissions,
        session: Session,
        client_ip: str = "",
        origin: str = "",
    ) -> None:
        self.id = id
        self.hub = hub
        self.user_id = user_id
        self.permissions = permissions
        self.session = session
        self.codec: Codec = session.codec
        self.groups: dict[str, None] = {}
        self.filters: dict[str, None] | None = None
        self.given_groups: Sequence[str] = ()
        self.sink: Sink | None = None
        self.alive = True
        self.client_ip = client_ip
        self.origin = origin
        self.source: Any = None
        self.states: ConnectionStates | None = None
        self.opened_at = 0.0
        self.ended_at = 0.0
        self.why = CloseCategory.NORMAL
        self._acks: AckLog | None = None

    @property
    def connection_id(self) -> str:
        """The id under the name that filters use."""
        return self.id

    @property
    def subprotocol(self) -> str | None:
        """What was negotiated; filters call it `protocol`."""
        return self.session.subprotocol

    def was_done(self, ack_id: int) -> bool:
        """Was a request with this ack id carried out before, on this connection or before its recovery."""
        return self._acks is not None and self._acks.seen(ack_id)

    def done_runs(self) -> list[tuple[int, int]]:
        """What of this is remembered; see `AckLog`."""
        return [] if self._acks is None else self._acks.runs()

    def restore_done(self, runs: Iterable[tuple[int, int]]) -> None:
        """Remember it again."""
        for first, last in runs:
            if self._acks is None:
                self._acks = AckLog()
            for ack_id in range(first, last + 1):
                self._acks.add(ack_id)

    def done(self, ack_id: int) -> None:
        """Remember that it was, unless the session makes the ack ids itself, which never come again then."""
        if self.codec.keeps:
            return
        if self._acks is None:
            self._acks = AckLog()
        self._acks.add(ack_id)
