"""
Messages to PUBLISH packets, each in a frame of its own.

What most receivers of a fan-out get is the same for all of them: the packet with QoS 0. With QoS 1 and 2 the packets
of two receivers differ in two bytes, their packet identifier; so those are two shared pieces with the identifier in
between.
"""

from collections.abc import Callable, Sequence
from typing import Final

from hubwire.model.messages import DataMessage, GroupMessage, GroupStateMessage, ends_stream
from hubwire.protocols.frames import BINARY, build_frame, frame_head
from hubwire.protocols.mqtt.contents import properties_of, topic_of
from hubwire.protocols.mqtt.fields import variable_integer_bytes
from hubwire.protocols.mqtt.packets import NO_PROPERTIES, Publish, encode
from hubwire.protocols.session import Codec

__all__ = ["CODECS", "MqttCodec", "pieces", "publish"]

_IDENTIFIER_BYTES: Final = 2


class MqttCodec:
    """
    Both versions of MQTT; one object for all clients of a version.

    Args:
        version: 4 or 5.
    """

    __slots__ = ("_version",)

    numbers: Final = True
    keeps: Final = True
    numbers_states: Final = False

    def __init__(self, version: int) -> None:
        self._version = version

    def prepare(self, message: DataMessage) -> bytes:
        """The frame of QoS 0, which is whole and the same for all; nothing for what has no payload to publish."""
        if ends_stream(message):
            return b""
        return build_frame(BINARY, encode(publish(message, self._version), self._version))

    def prepare_state(self, message: GroupStateMessage) -> bytes:  # noqa: ARG002  nobody can subscribe
        return b""

    def fill(self, parts: Sequence[bytes]) -> Callable[[int], bytes] | None:  # noqa: ARG002  sessions look themselves
        return None


CODECS: Final[dict[int, Codec]] = {4: MqttCodec(4), 5: MqttCodec(5)}


def publish(
    message: DataMessage,
    version: int,
    qos: int = 0,
    identifiers: tuple[int, ...] = (),
    expiry_s: int | None = None,
    packet_id: int | None = None,
    dup: bool = False,
    empty: bool = False,
    retain: bool = False,
) -> Publish:
    """
    The packet that a message becomes.

    Args:
        identifiers, expiry_s: see `properties_of`.
        packet_id: with QoS 1 and 2.
        empty: without its payload.
        retain: with RETAIN, which a message that was kept has in any case.
    """
    properties = NO_PROPERTIES if version < 5 else properties_of(message, identifiers, expiry_s)
    retain = retain or (isinstance(message, GroupMessage) and message.retained)
    return Publish(topic_of(message), b"" if empty else message.data.body, qos, retain, dup, packet_id, properties)


def pieces(frame: bytes, qos: int, more: int = 0) -> tuple[bytes, bytes]:
    """
    The frame of a PUBLISH, without its packet identifier: what comes before that and what comes after.

    Args:
        frame: of the same packet with QoS 0.
        qos: with QoS 0 there is no identifier in between.
        more: bytes of payload that follow behind those in `frame`.
    """
    length = frame[1]
    position = 3 if length < 126 else 5 if length == 126 else 11
    first = frame[position - 1] | qos << 1
    while frame[position] >= 0x80:
        position += 1
    position += 1
    after = position + 2 + (frame[position] << 8 | frame[position + 1])
    remaining = len(frame) - position + more + (_IDENTIFIER_BYTES if qos else 0)
    start = _fixed_head(first, remaining)
    size = len(start) + remaining
    return frame_head(BINARY, size) + start + frame[position:after], frame[after:]


def _fixed_head(first: int, remaining: int) -> bytes:
    """Source: OASIS MQTT 5.0, 2.1."""
    if remaining < 0x80:
        return bytes((first, remaining))
    return bytes((first,)) + variable_integer_bytes(remaining)
