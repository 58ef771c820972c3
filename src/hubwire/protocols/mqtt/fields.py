"""
The fields that MQTT packets are made of: how each kind is read, and how it is written.

Numbers in brackets are sections of OASIS MQTT 5.0.
"""

from collections.abc import Callable
from typing import Any, Final

from hubwire.protocols.mqtt.reasons import MqttViolation, Reason

__all__ = [
    "BINARY",
    "BYTE",
    "FOUR_BYTES",
    "MAX_VARIABLE_INTEGER",
    "PAIR",
    "TEXT",
    "TWO_BYTES",
    "VARIABLE_INTEGER",
    "FieldReader",
    "WireType",
    "binary_bytes",
    "byte_bytes",
    "four_bytes",
    "malformed",
    "pair_bytes",
    "text_bytes",
    "two_bytes",
    "variable_integer_bytes",
]

MAX_VARIABLE_INTEGER: Final = 268_435_455
"""What fits into four bytes of seven bits each [1.5.5]."""


def malformed(reason: str) -> MqttViolation:
    """Bytes that are no packet at all, whatever they were to mean."""
    return MqttViolation(Reason.MALFORMED_PACKET, reason)


class FieldReader:
    """
    Reads the body of one packet field by field. Each method takes one field and raises MqttViolation (0x81) if there
    is none of its kind.

    Attributes:
        position: where the next field begins.
        end: where the last one ends: of the packet, or of its properties while these are read.
    """

    __slots__ = ("_data", "end", "position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0
        self.end = len(data)

    def byte(self) -> int:
        """0 to 255."""
        position = self.position
        if position >= self.end:
            raise malformed("packet ends too early")
        self.position = position + 1
        return self._data[position]

    def two_bytes(self) -> int:
        """0 to 65535 [1.5.2]."""
        position = self.position
        if position + 2 > self.end:
            raise malformed("packet ends too early")
        self.position = position + 2
        return self._data[position] << 8 | self._data[position + 1]

    def four_bytes(self) -> int:
        """0 to 2**32 - 1 [1.5.3]."""
        position = self.position
        if position + 4 > self.end:
            raise malformed("packet ends too early")
        self.position = position + 4
        return int.from_bytes(self._data[position : position + 4], "big")

    def variable_integer(self) -> int:
        """0 to 268435455, in no more bytes than it takes [1.5.5]."""
        value = self.byte()
        if value < 0x80:
            return value
        value &= 0x7F
        for shift in (7, 14, 21):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if not byte:
                    raise malformed("variable byte integer not in its shortest form")
                return value
        raise malformed("variable byte integer of more than four bytes")

    def text(self) -> str:
        """Well-formed UTF-8 without U+0000; a byte order mark is a character like others [1.5.4]."""
        text: str | None = None
        try:
            text = self.binary().decode()
        except UnicodeDecodeError:
            pass
        # Raised out here: the other error, with what the peer sent in it, is not to live on in this one.
        if text is None:
            raise malformed("text is not valid UTF-8")
        if "\0" in text:
            raise malformed("text with a null character")
        return text

    def binary(self) -> bytes:
        """0 to 65535 bytes [1.5.6]."""
        data = self._data
        start = self.position + 2
        if start > self.end:
            raise malformed("packet ends too early")
        stop = start + (data[start - 2] << 8 | data[start - 1])
        if stop > self.end:
            raise malformed("packet ends too early")
        self.position = stop
        return data[start:stop]

    def pair(self) -> tuple[str, str]:
        """A name and a value [1.5.7]."""
        name = self.text()
        return name, self.text()

    def rest(self) -> bytes:
        """All that is left."""
        position = self.position
        self.position = self.end
        return self._data[position : self.end]

    def finish(self) -> None:
        """Raise if anything is left."""
        if self.position != self.end:
            raise malformed("packet goes on after its last field")


# The same fields as bytes. Their callers answer for the values: text of lone surrogates, text and bytes that are too
# long, and numbers that do not fit raise UnicodeEncodeError, OverflowError or ValueError.


def byte_bytes(value: int) -> bytes:
    return bytes((value,))


def two_bytes(value: int) -> bytes:
    return value.to_bytes(2, "big")


def four_bytes(value: int) -> bytes:
    return value.to_bytes(4, "big")


def variable_integer_bytes(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    if value > MAX_VARIABLE_INTEGER:
        raise OverflowError("number does not fit into a variable byte integer")
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def text_bytes(text: str) -> bytes:
    return binary_bytes(text.encode())


def binary_bytes(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def pair_bytes(pair: tuple[str, str]) -> bytes:
    return text_bytes(pair[0]) + text_bytes(pair[1])


class WireType:
    """A kind of field: how it is read, and how it is written."""

    __slots__ = ("read", "write")

    def __init__(self, read: Callable[[FieldReader], Any], write: Callable[[Any], bytes]) -> None:
        self.read = read
        self.write = write


BYTE: Final = WireType(FieldReader.byte, byte_bytes)
TWO_BYTES: Final = WireType(FieldReader.two_bytes, two_bytes)
FOUR_BYTES: Final = WireType(FieldReader.four_bytes, four_bytes)
VARIABLE_INTEGER: Final = WireType(FieldReader.variable_integer, variable_integer_bytes)
TEXT: Final = WireType(FieldReader.text, text_bytes)
BINARY: Final = WireType(FieldReader.binary, binary_bytes)
PAIR: Final = WireType(FieldReader.pair, pair_bytes)
