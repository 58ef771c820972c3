"""
`json.reliable.webpubsub.azure.v1`: the JSON form with a number in each data message, acknowledged by the client.
"""

from collections.abc import Callable, Sequence
from typing import Final

from hubwire.model.messages import DataMessage, GroupStateMessage
from hubwire.protocols.frames import TEXT, build_frame, frame_head
from hubwire.protocols.json_v1 import JsonLanguage, message_body, state_body
from hubwire.protocols.reliable import Numbering, QueueLimits, ReliableSession, filled

__all__ = ["NAME", "ReliableJsonCodec", "ReliableJsonSession"]

NAME: Final = "json.reliable.webpubsub.azure.v1"

_NUMBER: Final = b'{"sequenceId":%d,'
_NUMBER_LENGTH: Final = len(_NUMBER) - len(b"%d")


class _Digits(Numbering):
    """Parts are bodies without a number and the brace before it."""

    __slots__ = ()

    def width(self, number: int) -> int:
        return len(str(number))

    def first_wider(self, width: int) -> int:
        wider: int = 10**width
        return wider

    def places(self, first: int, count: int) -> object:
        return first if count == 1 else tuple(range(first, first + count))

    def frame(self, part: bytes, width: int) -> bytes:
        length = _NUMBER_LENGTH + width + len(part) - part.count(b"%%")
        # A length byte may happen to be 0x25, the percent sign.
        return b"".join((frame_head(TEXT, length).replace(b"%", b"%%"), _NUMBER, part))


_NUMBERING: Final = _Digits()


class ReliableJsonCodec:
    """Parts are bodies without a number, with every `%` doubled so that they can stand in a template."""

    __slots__ = ()

    numbers: Final = True
    keeps: Final = False
    numbers_states: Final = False

    def prepare(self, message: DataMessage) -> bytes:
        return message_body(message).replace(b"%", b"%%")

    def prepare_state(self, message: GroupStateMessage) -> bytes:
        return build_frame(TEXT, state_body(message))

    def fill(self, parts: Sequence[bytes]) -> Callable[[int], bytes] | None:
        return filled(parts, _NUMBERING)


CODEC: Final = ReliableJsonCodec()
_LANGUAGE: Final = JsonLanguage(NAME, CODEC)


class ReliableJsonSession(ReliableSession):
    """One client of the reliable form."""

    __slots__ = ()

    def __init__(self, limits: QueueLimits) -> None:
        super().__init__(_LANGUAGE, limits)
