"""
The contract between protocols and the rest of the house. `hub` and `gateway` know this file and no concrete protocol.

A `Codec` is stateless and shared by all clients of a subprotocol, so it is the key of "encode once". A `Session` is the
state machine of one client and outlives its socket.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from hubwire.model.errors import ProtocolViolation
from hubwire.model.messages import ClientRequest, DataMessage, DirectMessage, GroupStateMessage, Returned
from hubwire.model.telemetry import CloseCategory
from hubwire.protocols.endings import Ending, WillMessage

__all__ = ["Batch", "Breach", "Codec", "Session", "Unnumbered", "Unspoken"]


class Codec(Protocol):
    """
    Bytes to values and back for one subprotocol. One object for all its clients.

    Attributes:
        numbers: frames differ between clients, and their sessions keep what they deliver. Else `Session.deliver` is
            `Batch.joined` for everybody, and a fan-out need not ask.
        keeps: sessions look at the messages themselves, which their batches keep for them.
        numbers_states: messages of states of groups count as numbered ones, too. Else a client that comes back is told
            all states again.
    """

    @property
    def numbers(self) -> bool: ...

    @property
    def keeps(self) -> bool: ...

    @property
    def numbers_states(self) -> bool: ...

    def prepare(self, message: DataMessage) -> bytes:
        """
        The part of a frame that all receivers share: the whole frame where nothing differs between them, else what
        the codec's own `fill` needs to add each receiver's number.
        """

    def prepare_state(self, message: GroupStateMessage) -> bytes:
        """The same of states in a group. Empty where no client can subscribe to them."""

    def fill(self, parts: Sequence[bytes]) -> Callable[[int], bytes] | None:
        """
        For codecs that number: a function from a receiver's first number to the joined frames of `parts`.
        None for codecs whose frames are the same for all.
        """


class Batch:
    """
    What one segment became for one codec: prepared parts, joined once for everybody.

    Attributes:
        parts: one for each message, in order; at least one.
        expires_at: seconds on the monotonic clock, for all of them; None for never.
        size_bytes: of all parts; the measure that queue limits use.
        joined: all frames as one object that every receiver of a plain codec is given.
        numbered: frames with numbers from a first one on; only for codecs that number.
        messages: that the parts were made of, one for each; None unless the codec keeps them.
        cache: the codec's own, for what else all receivers share; None at first.
        matched: the subscriptions that bring it to the client whose session is given it next: filters, and in front of
            them the name of the group if it is a member. None for this alone, as of all whose protocol has no filters.
        awaited: what a session was given last is on its way by its numbers. It must not be dropped on it, since the
            session would wait for its acknowledgement for ever.
    """

    __slots__ = (
        "_codec",
        "_joined",
        "_numbered",
        "awaited",
        "cache",
        "expires_at",
        "matched",
        "messages",
        "parts",
        "size_bytes",
    )

    def __init__(
        self,
        codec: Codec,
        parts: Sequence[bytes],
        expires_at: float | None,
        messages: Sequence[DataMessage] | None = None,
    ) -> None:
        self.messages = messages
        self.cache: Any = None
        self.matched: tuple[str, ...] | None = None
        self.awaited = False
        self._codec = codec
        self._joined: bytes | None = None
        self._numbered: Callable[[int], bytes] | None = None
        self.parts = parts
        self.expires_at = expires_at
        self.size_bytes = sum(map(len, parts))

    @property
    def joined(self) -> bytes:
        joined = self._joined
        if joined is None:
            joined = self._joined = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        return joined

    def numbered(self, first: int) -> bytes:
        numbered = self._numbered
        if numbered is None:
            numbered = self._codec.fill(self.parts)
            assert numbered is not None, "only a codec that numbers asks for numbers"
            self._numbered = numbered
        return numbered(first)

    def without(self, holes: Sequence[int]) -> "Batch | None":
        """The same without the messages at these positions (ascending); None when nothing is left."""
        gaps = frozenset(holes)
        left = [part for position, part in enumerate(self.parts) if position not in gaps]
        if not left:
            return None
        messages = self.messages
        if messages is not None:
            messages = [message for position, message in enumerate(messages) if position not in gaps]
        return Batch(self._codec, left, self.expires_at, messages)

    def only(self, places: Sequence[int]) -> "Batch":
        """The messages at these positions alone."""
        messages = self.messages
        if messages is not None:
            messages = [messages[place] for place in places]
        return Batch(self._codec, [self.parts[place] for place in places], self.expires_at, messages)


class Breach(NamedTuple):
    """
    What becomes of a client that has broken its protocol.

    Attributes:
        close_code: of the WebSocket.
        final: nothing of its session is kept. Else only its socket ends, if the session is recoverable.
    """

    close_code: int
    category: CloseCategory
    final: bool


class Session(Protocol):
    """The state machine of one client. Knows no clock: the time comes as an argument, in monotonic seconds."""

    @property
    def codec(self) -> Codec:
        """The key of "encode once"."""

    @property
    def subprotocol(self) -> str | None:
        """Name that was negotiated; None for simple clients."""

    @property
    def recoverable(self) -> bool:
        """May a new socket take over after the old one dropped."""

    @property
    def retention_s(self) -> float | None:
        """How long it may wait for that; None for as long as the node lets others wait."""

    @property
    def durable(self) -> bool:
        """
        Does it outlive this process: entries of the journal keep it. Then nothing that its client is told leaves before
        what that rests on is written. It may change when a new socket takes over, and when the client leaves.
        """

    @property
    def silence_s(self) -> float | None:
        """
        Seconds without a word of the client after which it is taken for gone; 0 for never. None where the server
        asks for signs of life. It may change.
        """

    @property
    def says_goodbye(self) -> bool:
        """Is there a message by which a client leaves, so that it means nothing how its WebSocket is closed."""

    @property
    def ending(self) -> Ending | None:
        """How the latest socket was ended by such a message, of either side; None if it was not, or not yet."""

    @property
    def will(self) -> WillMessage | None:
        """What is to be published if the client goes without a goodbye, or has said that it should be."""

    def forget_will(self) -> None:
        """It was published, or is not to be."""

    @property
    def fault(self) -> ProtocolViolation | None:
        """
        How the client has broken the protocol by its latest socket, of which nothing more is heard. The requests
        before that count. None if it has not, and where `receive` raises.
        """

    def takes(self, group: str) -> bool:
        """Can the client be told of a group of this name, and so be a member of it."""

    def direct(self, message: DirectMessage) -> bytes:
        """What this client is told with whole frames; empty when that is nothing."""

    def receive(self, payload: str | bytes) -> Sequence[ClientRequest]:
        """
        One message of the client to none, one or several requests. `str` came in a text frame.

        Raises:
            ProtocolViolation: not in the language of this subprotocol.
        """

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Frames that the protocol itself must say now. Ask after each `receive`."""

    @property
    def has_late(self) -> bool:
        """Has the client made room for what waits in here: `released` is to follow. Ask after each `receive`."""

    def released(self, now: float) -> Sequence[bytes]:
        """
        Frames of what there is room for by now. To be asked for when all that was accepted before is delivered, which
        may queue up behind it, and to be written before anything else is delivered.
        """

    def not_allowed(self, group: str, text: str) -> None:
        """
        The client may not send to a group. Only the end of its socket can tell it so, which is to follow.

        Args:
            text: for the client.
        """

    def breached(self, violation: ProtocolViolation) -> Breach:
        """The client has broken the protocol, or that of the WebSocket below; what becomes of it."""

    def deliver(self, batch: Batch, now: float) -> bytes:
        """
        Number and remember what a batch brings, once for each connection and segment.

        Returns:
            the frames to write if there is a socket; the same object for everybody where nothing differs.

        Raises:
            QueueOverflow: too much is unacknowledged. The session is of no more use.
        """

    def lost(self) -> None:
        """There is no socket any more, and may be a new one later. Until then, what is delivered waits."""

    def left(self, group: str) -> None:
        """The client is no member of a group any more, whoever has ended that."""

    def returned(self, share: str | None, now: float) -> Sequence[Returned]:
        """
        Messages that came by shared subscriptions and that somebody else may be sent instead.

        Args:
            share: only what waits for this one, which the client has left; it is not sent it any more. None: all, since
                the session has ended.
        """

    def resume(self, now: float) -> Sequence[tuple[bytes, int, float | None]]:
        """After a recovery: what was not acknowledged, in order, as (frames, how many, expires at)."""

    def held(self) -> tuple[int, int]:
        """Messages and bytes that wait for an acknowledgement."""


class Unspoken:
    """
    The part of a session in whose protocol nothing is said of its end, nor of how much the client takes, and in which
    every message is one request. It ends with the process.
    """

    __slots__ = ()

    @property
    def durable(self) -> bool:
        return False

    @property
    def silence_s(self) -> float | None:
        return None

    @property
    def says_goodbye(self) -> bool:
        return False

    @property
    def ending(self) -> Ending | None:
        return None

    @property
    def will(self) -> WillMessage | None:
        return None

    def forget_will(self) -> None:
        pass

    @property
    def fault(self) -> ProtocolViolation | None:
        return None

    @property
    def has_late(self) -> bool:
        return False

    def released(self, now: float) -> Sequence[bytes]:  # noqa: ARG002  nothing waits for room
        return ()

    def returned(self, share: str | None, now: float) -> Sequence[Returned]:  # noqa: ARG002  there is no way to share
        return ()

    def not_allowed(self, group: str, text: str) -> None:
        pass

    def breached(self, violation: ProtocolViolation) -> Breach:
        return Breach(violation.close_code, CloseCategory.BAD_REQUEST, True)


class Unnumbered(Unspoken):
    """
    The half of a session that keeps nothing of what it delivers, so that nothing can be recovered; and that knows
    nothing of groups.
    """

    __slots__ = ()

    @property
    def recoverable(self) -> bool:
        return False

    @property
    def retention_s(self) -> float | None:
        return None

    def takes(self, group: str) -> bool:  # noqa: ARG002  whatever its name
        return True

    def lost(self) -> None:
        pass

    def left(self, group: str) -> None:
        pass

    def deliver(self, batch: Batch, now: float) -> bytes:  # noqa: ARG002  nothing is kept, so nothing expires
        return batch.joined

    def resume(self, now: float) -> Sequence[tuple[bytes, int, float | None]]:  # noqa: ARG002
        return ()

    def held(self) -> tuple[int, int]:
        return (0, 0)
