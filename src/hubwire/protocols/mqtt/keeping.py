"""
What of a session is to outlive the process, and who is told of each change of it. Not compiled, since structs may not
be.

A session tells its keeper in the order in which things happen. Messages that wait for their turn are a queue there as
they are here: new ones come behind all others, and only the first one is sent.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from hubwire.model.messages import DataMessage
from hubwire.protocols.endings import Ending, WillMessage

__all__ = ["Keeper", "Kept", "KeptItem", "KeptOptions", "KeptTerms", "Remembered"]


class KeptItem(Protocol):
    """
    A message with QoS 1 or 2 on its way to one client.

    Attributes:
        qos: with which the client gets it.
        identifiers: of the subscriptions by which it is sent.
        retain: with RETAIN.
        share: name of the shared subscription by which it is; None for none.
        expires_at: monotonic seconds; None for never.
    """

    @property
    def message(self) -> DataMessage: ...

    @property
    def qos(self) -> int: ...

    @property
    def identifiers(self) -> tuple[int, ...]: ...

    @property
    def retain(self) -> bool: ...

    @property
    def share(self) -> str | None: ...

    @property
    def expires_at(self) -> float | None: ...


class KeptOptions(Protocol):
    """How a client hears of a topic; see `Options`."""

    @property
    def qos(self) -> int: ...

    @property
    def no_local(self) -> bool: ...

    @property
    def identifiers(self) -> tuple[int, ...]: ...

    @property
    def as_published(self) -> bool: ...


class Keeper(Protocol):
    """Whoever keeps one session. Nothing is asked of it, and it raises nothing."""

    def sent(self, item: KeptItem, packet_id: int) -> None:
        """A message is on its way."""

    def waits(self, item: KeptItem) -> None:
        """A message waits behind all others that do."""

    def sent_first(self, packet_id: int) -> None:
        """The first that waited is on its way."""

    def dropped(self, position: int) -> None:
        """Of those that wait, the one at this position (0 is the first) is no more."""

    def taken(self, packet_id: int) -> None:
        """The client has a message of QoS 2; the rest of its flow is open."""

    def landed(self, packet_id: int) -> None:
        """Nothing is open any more of what was sent so."""

    def answered(self, packet_id: int, code: int) -> None:
        """The client was told that its message of QoS 2 is here, by a PUBREC with this code."""

    def released(self, packet_id: int) -> None:
        """And has released it."""

    def wanted(self, topic: str, options: KeptOptions | None) -> None:
        """How the client wants to hear of a topic; None for not at all, or as who has not said how."""


class KeptTerms(Struct, frozen=True, omit_defaults=True):
    """
    What a session without a socket still knows of the latest one.

    Attributes:
        version: 4 or 5.
        asked_expiry_s, expiry_s: see `Agreement`.
        max_packet_bytes: that the client takes; 0 for no limit.
        will: that is not published yet.
        ending: how the socket was ended by a packet.
    """

    version: int
    asked_expiry_s: int
    expiry_s: int
    max_packet_bytes: int = 0
    will: WillMessage | None = None
    ending: Ending | None = None


class Remembered(NamedTuple):
    """
    A message that was on its way or waited.

    Attributes:
        message: None where the client has it, and only the end of its flow is open.
        packet_id: None for one that waits.
    """

    message: DataMessage | None
    qos: int
    identifiers: tuple[int, ...] = ()
    expires_at: float | None = None
    packet_id: int | None = None
    retain: bool = False
    share: str | None = None


class Kept(NamedTuple):
    """
    All of a session but its terms.

    Attributes:
        options: QoS, No Local, identifiers and Retain As Published, by topic.
        queue: in the order in which they are to be sent (again).
        received: codes of PUBRECs whose PUBREL has not come, by packet identifier.
    """

    options: Mapping[str, tuple[int, bool, tuple[int, ...], bool]]
    queue: Sequence[Remembered]
    received: Mapping[int, int]
