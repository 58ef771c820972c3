"""
What the subprotocols of the service have in common: in each message a client asks for one thing, or acknowledges, or
wants to be answered that the server is there. They differ in how that is written.
"""

from collections.abc import Sequence

from hubwire.model.messages import ClientRequest, DirectMessage
from hubwire.protocols.housekeeping import Ping, SequenceAck
from hubwire.protocols.session import Codec, Unnumbered

__all__ = ["Dialogue", "Language"]


class Language:
    """
    How one subprotocol writes what is said. One object for all its clients.

    Attributes:
        name: of the subprotocol.
        codec: of its messages.
        pong: the whole frame that answers a ping.
    """

    __slots__ = ("codec", "name", "pong")

    def __init__(self, name: str, codec: Codec, pong: bytes) -> None:
        self.name = name
        self.codec = codec
        self.pong = pong

    def decode(self, payload: str | bytes) -> ClientRequest | Ping | SequenceAck:
        """
        One message of a client.

        Args:
            payload: `str` came in a text frame, `bytes` in a binary one.

        Raises:
            ProtocolViolation: not in this language.
        """
        raise NotImplementedError

    def direct(self, message: DirectMessage) -> bytes:
        """What one client is told, as a whole frame; empty when that is nothing."""
        raise NotImplementedError


class Dialogue(Unnumbered):
    """
    One client. Requests are handed on, pings and sequence acks are the protocol's own. All that is remembered is a pong
    that is owed.
    """

    __slots__ = ("_language", "_pongs")

    def __init__(self, language: Language) -> None:
        self._language = language
        self._pongs = 0

    @property
    def codec(self) -> Codec:
        return self._language.codec

    @property
    def subprotocol(self) -> str | None:
        return self._language.name

    def direct(self, message: DirectMessage) -> bytes:
        return self._language.direct(message)

    def receive(self, payload: str | bytes) -> Sequence[ClientRequest]:
        request = self._language.decode(payload)
        if isinstance(request, Ping):
            self._pongs += 1
            return ()
        if isinstance(request, SequenceAck):
            self.acknowledge(request.sequence_id)
            return ()
        return (request,)

    def acknowledge(self, sequence_id: int) -> None:
        """The client has everything up to this number. Where nothing is numbered, that means nothing."""

    def outgoing(self, now: float) -> Sequence[bytes]:  # noqa: ARG002  what is owed is owed now
        if not self._pongs:
            return ()
        owed, self._pongs = self._pongs, 0
        return (self._language.pong,) * owed
