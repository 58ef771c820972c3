"""
`protobuf.reliable.webpubsub.azure.v1`: the protobuf form with a number in each data message, acknowledged by the
client.

The fields of a message may come in any order, so the number stands behind all that receivers share.
"""

from collections.abc import Callable, Sequence
from typing import Final

from hubwire.model.messages import DataMessage
from hubwire.protocols.frames import BINARY, frame_head
from hubwire.protocols.protobuf_v1 import DATA_MESSAGE, ProtobufLanguage, message_body, varint
from hubwire.protocols.reliable import Numbering, QueueLimits, ReliableSession, filled

__all__ = ["NAME", "ReliableProtobufCodec", "ReliableProtobufSession"]

NAME: Final = "protobuf.reliable.webpubsub.azure.v1"

_SEQUENCE_ID: Final = b"\x20"  # field 4 of `DataMessage`, a varint


class _Varints(Numbering):
    """Parts are bodies without a number and the length before them."""

    __slots__ = ()

    def width(self, number: int) -> int:
        return (number.bit_length() + 6) // 7

    def first_wider(self, width: int) -> int:
        return 1 << 7 * width

    def places(self, first: int, count: int) -> object:
        if count == 1:
            return varint(first)
        return tuple([varint(number) for number in range(first, first + count)])

    def frame(self, part: bytes, width: int) -> bytes:
        inner = varint(len(part) - part.count(b"%%") + len(_SEQUENCE_ID) + width)
        outer = len(DATA_MESSAGE) + len(inner) + len(part) - part.count(b"%%") + len(_SEQUENCE_ID) + width
        # A byte of either length may happen to be 0x25, the percent sign.
        head = (frame_head(BINARY, outer) + DATA_MESSAGE + inner).replace(b"%", b"%%")
        return b"".join((head, part, _SEQUENCE_ID, b"%b"))


_NUMBERING: Final = _Varints()


class ReliableProtobufCodec:
    """Parts are bodies without a number, with every `%` doubled so that they can stand in a template."""

    __slots__ = ()

    numbers: Final = True
    keeps: Final = False

    def prepare(self, message: DataMessage) -> bytes:
        return message_body(message).replace(b"%", b"%%")

    def fill(self, parts: Sequence[bytes]) -> Callable[[int], bytes] | None:
        return filled(parts, _NUMBERING)


CODEC: Final = ReliableProtobufCodec()
_LANGUAGE: Final = ProtobufLanguage(NAME, CODEC)


class ReliableProtobufSession(ReliableSession):
    """One client of the reliable form."""

    __slots__ = ()

    def __init__(self, limits: QueueLimits) -> None:
        super().__init__(_LANGUAGE, limits)
