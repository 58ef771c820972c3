"""
Is a payload what it is said to be, so that it can be passed on as that.
"""

from typing import Final

import msgspec

__all__ = ["is_any", "is_json", "is_text"]

_TAG_BYTES: Final = 5
"""That the number of a field and its type may take."""


def is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_json(payload: bytes) -> bool:
    """It is passed on inside of other JSON, so it must be some."""
    try:
        # As text: of bytes, those inside of strings are not looked at.
        msgspec.json.decode(payload.decode(), type=msgspec.Raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def is_any(payload: bytes) -> bool:
    """Can this be read as a `google.protobuf.Any`: a text in field 1, bytes in field 2, and unknown fields or none."""
    position = 0
    while position < len(payload):
        start = position
        tag, position = _varint(payload, start)
        field, wire = tag >> 3, tag & 7
        if not 0 < position - start <= _TAG_BYTES or not 0 < field < 1 << 29 or (field < 3 and wire != 2):
            return False
        if wire == 0:
            _, position = _varint(payload, position)
        elif wire == 1:
            position += 8
        elif wire == 5:
            position += 4
        elif wire == 2:
            length, start = _varint(payload, position)
            position = -1 if start < 0 else start + length
            if field == 1 and not is_text(payload[start:position]):
                return False
        else:
            return False
        if position < 0:
            return False
    return position == len(payload)


def _varint(payload: bytes, position: int) -> tuple[int, int]:
    """A number of protobuf and where it ends; -1 for where if there is none."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(payload):
            break
        byte = payload[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value, position) if value < 1 << 64 else (0, -1)
    return 0, -1
