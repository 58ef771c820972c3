"""A pretend wire: an MQTT client and its session, with nothing but values in between."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from msgspec.structs import replace

from doubles import frames
from hubwire.model.messages import (
    Ack,
    AckError,
    ClientRequest,
    Data,
    DataMessage,
    DirectMessage,
    FromServer,
    GroupMessage,
    JoinGroup,
    LeaveGroup,
    Publication,
    SendEvent,
    SendToGroup,
    SubscribeFilter,
    UnsubscribeFilter,
)
from hubwire.protocols.frames import BINARY
from hubwire.protocols.mqtt.arrival import Arrival, Policy, Refusal
from hubwire.protocols.mqtt.packets import NO_PROPERTIES, Connect, Packet, Properties, Will, decode, encode
from hubwire.protocols.mqtt.session import MqttSession
from hubwire.protocols.reliable import QueueLimits
from hubwire.protocols.session import Batch

__all__ = ["FORBIDDEN", "NOW", "Acknowledged", "Client", "batch", "from_mqtt", "heard", "text_message"]

NOW = 1000.0
POLICY = Policy()
LIMITS = QueueLimits()
FORBIDDEN = AckError("Forbidden", "not for this client")

Acknowledged: TypeAlias = JoinGroup | LeaveGroup | SubscribeFilter | UnsubscribeFilter | SendToGroup | SendEvent
"""Requests that may have an ack id."""


def heard(data: bytes, version: int) -> list[Packet]:
    """The packets in whole frames; each frame must be binary and hold one."""
    packets = []
    for opcode, payload in frames(data):
        assert opcode == BINARY
        size, position, shift = 0, 1, 0
        while True:
            size |= (payload[position] & 0x7F) << shift
            position += 1
            shift += 7
            if payload[position - 1] < 0x80:
                break
        assert len(payload) == position + size, "one whole packet in each frame"
        packets.append(decode(payload[0], payload[position:], version))
    return packets


def text_message(text: str = "hello", group: str = "news", **fields: Any) -> GroupMessage:
    """As a JSON client sends it."""
    return GroupMessage(group, Data("text", text.encode()), **fields)


def from_mqtt(text: str = "hello", qos: int = 1, group: str = "news", **fields: Any) -> GroupMessage:
    return GroupMessage(group, Data("binary", text.encode()), publication=Publication(qos, **fields))


def batch(version: int, *messages: DataMessage | str, expires_at: float | None = None) -> Batch:
    """What the hub makes of messages of one turn to one target."""
    values = [FromServer(Data("text", one.encode())) if isinstance(one, str) else one for one in messages]
    codec = Client(version).session.codec
    return Batch(codec, [codec.prepare(value) for value in values], expires_at, values)


class Client:
    """
    A client whose CONNECT was taken.

    Attributes:
        noted: refusals that the session spoke of.
        asked: all requests that it has made.
    """

    def __init__(
        self,
        version: int,
        *,
        properties: Properties = NO_PROPERTIES,
        policy: Policy = POLICY,
        limits: QueueLimits = LIMITS,
        client_id: str = "me",
        clean_start: bool = True,
        keep_alive_s: int = 60,
        will: Will | None = None,
    ) -> None:
        self.policy = policy
        self.version = version
        self.noted: list[Refusal] = []
        self.asked: list[ClientRequest] = []
        self.connect = Connect(version, client_id, clean_start, keep_alive_s, will, properties=properties)
        self.session: MqttSession = self._arrive().session(limits, self.noted.append, client_id)

    def _arrive(self) -> Arrival:
        arrival = Arrival(self.policy)
        assert arrival.feed(encode(self.connect, self.version)) == self.connect
        return arrival

    def say(self, *packets: Packet | bytes, release: bool = True) -> Sequence[ClientRequest]:
        """
        All of them in one WebSocket message. What the session says to that is in `answers`, and behind it what it now
        has room for, with nothing accepted in between.

        Args:
            release: else that has to wait for its turn.
        """
        written = [one if isinstance(one, bytes) else encode(one, self.version) for one in packets]
        requests = self.session.receive(b"".join(written))
        self.asked += requests
        self.answers = self.hear(b"".join(self.session.outgoing(NOW)))
        if release and self.session.has_late:
            self.answers += self.release()
        return requests

    def release(self, now: float = NOW) -> list[Packet]:
        """What there is room for, once its turn has come."""
        return self.hear(b"".join(self.session.released(now)))

    def tell(self, message: DirectMessage) -> list[Packet]:
        return self.hear(self.session.direct(message))

    def ack(self, request: ClientRequest, error: AckError | None = None, changed: bool = True) -> list[Packet]:
        """The outcome of one of its requests, as the gateway tells it."""
        assert isinstance(request, Acknowledged)
        assert request.ack_id is not None
        return self.tell(Ack(request.ack_id, error, changed))

    def ask(self, *packets: Packet) -> list[Packet]:
        """Say something that is granted, whatever it is, and return all answers."""
        requests = self.say(*packets)
        answers = self.answers
        for request in requests:
            if isinstance(request, Acknowledged) and request.ack_id is not None:
                answers = answers + self.ack(request)
        return answers

    def deliver(
        self,
        *messages: DataMessage | str,
        expires_at: float | None = None,
        now: float = NOW,
        matched: tuple[str, ...] | None = None,
    ) -> list[Packet]:
        """
        Args:
            matched: see `Batch`.
        """
        brought = batch(self.version, *messages, expires_at=expires_at)
        brought.matched = matched
        return self.hear(self.session.deliver(brought, now))

    def hear(self, data: bytes) -> list[Packet]:
        return heard(data, self.version)

    def take_over(self, properties: Properties | None = None, version: int | None = None) -> None:
        """Another socket, whose CONNECT is taken and not answered yet."""
        self.version = version or self.version
        wanted = self.connect.properties if properties is None else properties
        self.connect = replace(self.connect, version=self.version, clean_start=False, properties=wanted)
        self.session.takes_over(self._arrive())

    def resume(self, now: float = NOW) -> list[Packet]:
        """What the session begins with behind its CONNACK."""
        return [one for data, _, _ in self.session.resume(now) for one in self.hear(data)]

    def back(self, now: float = NOW, properties: Properties | None = None, version: int | None = None) -> list[Packet]:
        """Both."""
        self.take_over(properties, version)
        return self.resume(now)
