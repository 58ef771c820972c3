"""
`protobuf.reliable.webpubsub.azure.v1`: the protobuf form with a number in each data message, acknowledged by the
client.

The fields of a message may come in any order, so the number stands behind all that receivers share.
"""

from collections.abc import Callable, Sequence
from typing import Final

from hubwire.model.messages import DataMessage, GroupStateMessage
from hubwire.protocols import protobuf_wire
from hubwire.protocols.frames import BINARY, frame_head
from hubwire.protocols.protobuf_v1 import (
    DATA_MESSAGE,
    STATE_SNAPSHOT,
    STATE_UPDATE,
    ProtobufLanguage,
    message_body,
    state_tag,
    varint,
)
from hubwire.protocols.reliable import Numbering, QueueLimits, ReliableSession, filled

__all__ = ["NAME", "ReliableProtobufCodec", "ReliableProtobufSession"]

NAME: Final = "protobuf.reliable.webpubsub.azure.v1"

# A varint: field 4 of `DataMessage`, field 3 of both messages of states. By the tag of the message.
_SEQUENCE_IDS: Final = {DATA_MESSAGE: b"\x20", STATE_UPDATE: b"\x18", STATE_SNAPSHOT: b"\x18"}

_SMALL: Final = [bytes((number,)) for number in range(0x80)]
_BEGINS: Final = [bytes((number | 0x80,)) for number in range(0x80)]
"""Varints of one byte, and first bytes of longer ones."""


class _Varints(Numbering):
    """Parts are bodies without a number and the length before them, behind the tag of the message."""

    __slots__ = ()

    def width(self, number: int) -> int:
        return (number.bit_length() + 6) // 7

    def first_wider(self, width: int) -> int:
        return 1 << 7 * width

    def places(self, first: int, count: int) -> object:
        if count == 1:
            return varint(first)
        found: list[bytes] = []
        end = first + count
        while first < end:
            # 128 in a row differ in their first byte alone.
            stop = min(end, (first | 0x7F) + 1)
            low, high = first & 0x7F, first >> 7
            if high:
                rest = varint(high)
                found += [begin + rest for begin in _BEGINS[low : low + stop - first]]
            else:
                found += _SMALL[low : low + stop - first]
            first = stop
        return tuple(found)

    def frame(self, part: bytes, width: int) -> bytes:
        tag = part[:1]
        sequence_id = _SEQUENCE_IDS[tag]
        body_bytes = len(part) - len(tag) - part.count(b"%%") + len(sequence_id) + width
        length = varint(body_bytes)
        outer = len(tag) + len(length) + body_bytes
        # A byte of either length may happen to be 0x25, the percent sign.
        head = (frame_head(BINARY, outer) + tag + length).replace(b"%", b"%%")
        return b"".join((head, part[1:], sequence_id, b"%b"))


_NUMBERING: Final = _Varints()


class ReliableProtobufCodec:
    """
    Parts are bodies without a number behind the tag of their message, with every `%` doubled so that they can stand in
    a template. Messages of states are numbered like others, since the schema has a place for that.
    """

    __slots__ = ()

    numbers: Final = True
    keeps: Final = False
    numbers_states: Final = True

    def prepare(self, message: DataMessage) -> bytes:
        return DATA_MESSAGE + message_body(message).replace(b"%", b"%%")

    def prepare_state(self, message: GroupStateMessage) -> bytes:
        return state_tag(message) + protobuf_wire.state_body(message).replace(b"%", b"%%")

    def fill(self, parts: Sequence[bytes]) -> Callable[[int], bytes] | None:
        return filled(parts, _NUMBERING)


CODEC: Final = ReliableProtobufCodec()
_LANGUAGE: Final = ProtobufLanguage(NAME, CODEC)


class ReliableProtobufSession(ReliableSession):
    """One client of the reliable form."""

    __slots__ = ()

    def __init__(self, limits: QueueLimits) -> None:
        super().__init__(_LANGUAGE, limits)
