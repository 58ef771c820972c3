"""
What one client sends with QoS 1 and 2: which packet identifiers are open, and the order of the answers.

Numbers in brackets are sections of OASIS MQTT 5.0.
"""

from typing import Final, Literal, TypeAlias

__all__ = ["Inbound", "Publishing", "Standing"]

Standing: TypeAlias = Literal["new", "repeated", "answered", "in use"]
"""
What a PUBLISH is: a message; one whose answer is on its way; one that was answered, and whose PUBREL is not there yet;
or a message with the identifier of another packet.
"""

_FAILED: Final = 0x80


class Publishing:
    """
    A message that was asked for and whose outcome is not known.

    Attributes:
        after: frames of answers to later messages: PUBACKs are in the order of the messages, and so are PUBRECs
            [4.6.0-2, 4.6.0-3].
        carried: it came by an earlier socket.
        forgotten: the client does not know of it any more.
    """

    __slots__ = ("after", "carried", "forgotten", "packet_id", "qos", "topic")

    def __init__(self, packet_id: int, qos: int, topic: str) -> None:
        self.packet_id = packet_id
        self.qos = qos
        self.topic = topic
        self.after: list[bytes] | None = None
        self.carried = False
        self.forgotten = False


class Inbound:
    """
    Attributes:
        open: packets that this socket has brought and that are not answered in full: what Receive Maximum counts.
    """

    __slots__ = ("_answered", "_carried", "_pending", "open")

    def __init__(self) -> None:
        self.open = 0
        self._pending: dict[int, Publishing] = {}
        self._answered: dict[int, int] = {}  # with QoS 2: the code of the PUBREC, until the PUBREL comes
        self._carried: set[int] | None = None  # of those answered, what this socket knows nothing of yet

    def knows(self, packet_id: int) -> bool:
        return packet_id in self._pending or packet_id in self._answered

    def standing(self, packet_id: int, qos: int, dup: bool) -> Standing:
        """
        What to make of a PUBLISH. A repeated one is from now on known to this socket.

        With QoS 2 the identifier decides [4.3.3]. With QoS 1 the client says it with DUP; where it does not, and the
        other one came by an earlier socket, the client has forgotten that one and means a new message.
        """
        pending = self._pending.get(packet_id)
        if pending is not None:
            if pending.qos != qos or (qos == 1 and not dup):
                if not pending.carried:
                    return "in use"
                pending.forgotten = True
                del self._pending[packet_id]
                return "new"
            if pending.carried:
                pending.carried = False
                self.open += 1
            return "repeated"
        if packet_id not in self._answered:
            return "new"
        if qos == 1:
            return "in use"
        if self._carried and packet_id in self._carried:
            self._carried.remove(packet_id)
            self.open += 1
        return "answered"

    def begin(self, packet_id: int, qos: int, topic: str) -> Publishing:
        """A message was asked for."""
        publishing = self._pending[packet_id] = Publishing(packet_id, qos, topic)
        self.open += 1
        return publishing

    def last(self) -> Publishing | None:
        """The message behind whose answer all others have to come; None if there is none."""
        return next(reversed(self._pending.values())) if self._pending else None

    def finish(self, publishing: Publishing) -> None:
        """The outcome of a message is known."""
        if not publishing.forgotten:
            del self._pending[publishing.packet_id]
            if not publishing.carried:
                self.open -= 1

    def answer(self, packet_id: int, qos: int, code: int) -> None:
        """A message is being answered. After a PUBREC that is no failure, a PUBREL is to come."""
        if qos == 2 and code < _FAILED:
            self._answered[packet_id] = code
            self.open += 1

    def code_of(self, packet_id: int) -> int:
        """Of the PUBREC of a message that was answered."""
        return self._answered[packet_id]

    def release(self, packet_id: int) -> bool:
        """PUBREL. False if there is nothing to release."""
        if self._answered.pop(packet_id, None) is None:
            return False
        if self._carried and packet_id in self._carried:
            self._carried.remove(packet_id)
        else:
            self.open -= 1
        return True

    def carry_over(self) -> None:
        """The client comes by another socket; what it leaves open there is counted from 0."""
        self.open = 0
        for publishing in self._pending.values():
            publishing.carried = True
            publishing.after = None
        self._carried = set(self._answered) if self._answered else None
