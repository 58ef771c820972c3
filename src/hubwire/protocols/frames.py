"""
Frames of RFC 6455: bytes to messages for what clients send, and messages to frames for what they are sent.

    reader = FrameReader(max_message_bytes)
    for opcode, payload in reader.feed(chunk): ...      first everything that was complete,
    if reader.fault is not None: ...                    then the end of the connection

Extensions are never negotiated, so no reserved bit is ever legal. Nothing here waits, knows a socket or answers by
itself: pongs and close frames are the caller's to send.

Numbers in brackets are sections of RFC 6455.
"""

from codecs import utf_8_decode
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from hubwire.model.errors import ProtocolViolation

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "CloseStatus",
    "Event",
    "FrameReader",
    "Unmask",
    "build_frame",
    "close_payload",
    "frame_head",
    "unmask_pure",
]

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

CloseStatus: TypeAlias = tuple[int | None, str]
"""Code and reason of a close frame; the code is None when the frame had no payload."""

Event: TypeAlias = (
    tuple[Literal[1], str] | tuple[Literal[2], bytes] | tuple[Literal[9, 10], bytes] | tuple[Literal[8], CloseStatus]
)
"""Opcode and payload: a whole text message, a whole binary message, a ping or pong, or the peer's close."""

Unmask: TypeAlias = Callable[[bytes, bytes], bytes]
"""Payload and its four bytes of masking key to the payload in clear."""

_FIN: Final = 0x80
_RESERVED_BITS: Final = 0x70
_MASKED: Final = 0x80
_WHOLE_TEXT: Final = _FIN | TEXT
_WHOLE_BINARY: Final = _FIN | BINARY
_OPCODES: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_CONTROL_LIMIT: Final = 125
_REASON_LIMIT: Final = _CONTROL_LIMIT - 2

_PROTOCOL_ERROR: Final = 1002
_INVALID_DATA: Final = 1007
_TOO_BIG: Final = 1009

_NOT_UTF8: Final = "text is not valid UTF-8"

# What may stand in a close frame [7.4]: codes that are registered (1012 to 1014 came after the RFC), except those
# that only say what a connection without a close frame looked like (1005, 1006, 1015), and the ranges for libraries
# and applications. 1004 is registered without a meaning.
_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})


def frame_head(opcode: int, length: int) -> bytes:
    """
    What stands before `length` bytes of payload in one whole, unmasked frame. At most 125 for control frames.

    Source: RFC 6455, 5.2.
    """
    assert length <= _CONTROL_LIMIT or opcode < CLOSE, "a control frame is never this long"
    if length < 126:
        return (((_FIN | opcode) << 8) | length).to_bytes(2, "big")
    if length < 0x10000:
        return (((_FIN | opcode) << 24) | (126 << 16) | length).to_bytes(4, "big")
    return (((_FIN | opcode) << 72) | (127 << 64) | length).to_bytes(10, "big")


def build_frame(opcode: int, payload: bytes) -> bytes:
    """One whole message, or one control frame, as a server sends it: unfragmented and unmasked."""
    return frame_head(opcode, len(payload)) + payload


def close_payload(code: int | None, reason: str = "") -> bytes:
    """
    The payload of a close frame.

    Args:
        code: status code that may be sent; None for an empty payload, which answers one that was empty.
        reason: cut at a character so that its UTF-8 form has at most 123 bytes.

    Source: RFC 6455, 5.5.1.
    """
    if code is None:
        return b""
    text = reason.encode("utf-8", "replace")
    if len(text) > _REASON_LIMIT:
        text = text[:_REASON_LIMIT].decode("utf-8", "ignore").encode()
    return code.to_bytes(2, "big") + text


def unmask_pure(data: bytes, mask: bytes) -> bytes:
    """
    Exclusive-or of `data` with the repeated `mask` of four bytes, as one operation on two big integers.

    Compiled functions are 5 times (100 B) to 40 times (16 KiB) faster; this one is always there.
    """
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


class _Fragments:
    """
    A message whose last fragment has not come yet.

    One growing buffer and no list of pieces: a million fragments of one byte must cost what one of a million costs.
    """

    __slots__ = ("body", "checked", "opcode")

    def __init__(self, opcode: int) -> None:
        self.opcode = opcode
        self.body = bytearray()
        self.checked = 0

    def append(self, payload: bytes) -> None:
        """
        Raises:
            UnicodeDecodeError, ProtocolViolation: text, and no continuation could make it valid any more.
        """
        body = self.body
        body += payload
        if self.opcode == TEXT:
            # Decoded twice in the end, but only here: so a fault is found in the fragment that brings it [8.1].
            self.checked += utf_8_decode(body[self.checked :], "strict", False)[1]
            # The decoder itself would wait for the third byte of a surrogate, which is never legal.
            if len(body) - self.checked == 2 and body[-2] == 0xED and body[-1] >= 0xA0:
                raise ProtocolViolation(_NOT_UTF8, _INVALID_DATA)


class FrameReader:
    """
    Reads what one client sends, however the network cut it.

    Holds no buffer while no frame is incomplete and no message is fragmented.

    Attributes:
        fault: why nothing more is read; None while all is well. Its `close_code` is 1002 for broken framing, 1007
            for text that is not UTF-8, and 1009 for a message that announces more than it may.

    Args:
        max_message_bytes: payload of one message, over all its fragments. Control frames do not count.
        unmask: compiled code, where there is any.
        allow_unmasked_control: take pings, pongs and closes without a mask as well, against 5.1: a common MQTT client
            answers so. Data frames must be masked all the same.
    """

    __slots__ = ("_allow_unmasked_control", "_buffer", "_ended", "_fragments", "_max", "_need", "_unmask", "fault")

    def __init__(
        self, max_message_bytes: int, unmask: Unmask = unmask_pure, *, allow_unmasked_control: bool = False
    ) -> None:
        self.fault: ProtocolViolation | None = None
        self._max = max_message_bytes
        self._unmask = unmask
        self._allow_unmasked_control = allow_unmasked_control
        self._buffer: bytearray | None = None
        self._need = 0  # bytes that the buffer must hold before it is worth another look
        self._fragments: _Fragments | None = None
        self._ended = False

    def allow(self, max_message_bytes: int) -> None:
        """Take messages of another size from now on."""
        self._max = max_message_bytes

    def feed(self, data: bytes) -> list[Event]:
        """
        The next bytes of the connection, in pieces of any size. Never raises.

        Returns:
            what became complete, in order. When `fault` is set afterwards, these still came before it. After a close
            frame or a fault everything is ignored.
        """
        events: list[Event] = []
        if self._ended:
            return events
        buffer = self._buffer
        if buffer is not None:
            buffer += data
            if len(buffer) < self._need:
                return events
            data = bytes(buffer)
            self._buffer = None
        try:
            position = self._read(data, events)
        except UnicodeDecodeError:
            self._end(ProtocolViolation(_NOT_UTF8, _INVALID_DATA))
        except ProtocolViolation as fault:
            # Without its traceback, which would hold the whole chunk for as long as the connection.
            self._end(fault.with_traceback(None))
        else:
            if position < len(data):
                self._buffer = bytearray(memoryview(data)[position:])
        return events

    def _end(self, fault: ProtocolViolation | None) -> None:
        self.fault = fault
        self._ended = True
        self._fragments = None

    def _read(self, data: bytes, events: list[Event]) -> int:
        """
        Take all whole frames.

        Returns:
            where the first incomplete one begins; `_need` says how many bytes from there are worth another look.
            After a close frame, the end of `data`.
        """
        unmask = self._unmask
        limit = self._max
        end = len(data)
        position = 0
        while position + 2 <= end:
            first = data[position]
            second = data[position + 1]
            # Most of what clients send are whole messages in one frame. A call costs as much as all the rest here
            # does for a short one, so these pass without any.
            usual = _WHOLE_TEXT <= first <= _WHOLE_BINARY and second >= _MASKED and self._fragments is None
            if not usual:
                self._check_head(first, second)
            length = second & 0x7F
            start = position + 6 if second >= _MASKED else position + 2
            if length > _CONTROL_LIMIT:
                extended = 2 if length == 126 else 8
                if position + 2 + extended > end:
                    self._need = 2 + extended
                    return position
                length = int.from_bytes(data[position + 2 : position + 2 + extended], "big")
                _check_extended(length, extended)
                start += extended
            if not usual or length > limit:
                self._check_size(first, length)
            stop = start + length
            if stop > end:
                self._need = stop - position
                return position
            payload = data[start:stop]
            if second >= _MASKED:
                payload = unmask(payload, data[start - 4 : start])
            position = stop
            if not usual:
                self._take(first, payload, events)
                if self._ended:
                    return end
            elif first == _WHOLE_TEXT:
                events.append((TEXT, payload.decode()))
            else:
                events.append((BINARY, payload))
        self._need = 2
        return position

    def _check_head(self, first: int, second: int) -> None:
        """Everything that the first two bytes of a frame can tell."""
        opcode = first & 0x0F
        if first & _RESERVED_BITS:
            raise ProtocolViolation("reserved bit set without an extension", _PROTOCOL_ERROR)
        if opcode not in _OPCODES:
            raise ProtocolViolation("reserved opcode", _PROTOCOL_ERROR)
        if opcode >= CLOSE:
            if not first & _FIN:
                raise ProtocolViolation("fragmented control frame", _PROTOCOL_ERROR)
            if second & 0x7F > _CONTROL_LIMIT:
                raise ProtocolViolation("control frame longer than 125 bytes", _PROTOCOL_ERROR)
        elif opcode == CONTINUATION:
            if self._fragments is None:
                raise ProtocolViolation("continuation of nothing", _PROTOCOL_ERROR)
        elif self._fragments is not None:
            raise ProtocolViolation("new message inside a fragmented one", _PROTOCOL_ERROR)
        if second < _MASKED and not (self._allow_unmasked_control and opcode >= CLOSE):
            raise ProtocolViolation("frame of a client is not masked", _PROTOCOL_ERROR)

    def _check_size(self, first: int, length: int) -> None:
        """A frame of a message announces `length` bytes; they need not have come yet."""
        before = 0 if self._fragments is None else len(self._fragments.body)
        if first & 0x0F < CLOSE and before + length > self._max:
            raise ProtocolViolation("message too big", _TOO_BIG)

    def _take(self, first: int, payload: bytes, events: list[Event]) -> None:
        """What a whole frame means."""
        opcode = first & 0x0F
        if opcode == PING:
            events.append((PING, payload))
        elif opcode == PONG:
            events.append((PONG, payload))
        elif opcode == CLOSE:
            events.append((CLOSE, _close_status(payload)))
            self._end(None)
        else:
            self._take_fragment(first, payload, events)

    def _take_fragment(self, first: int, payload: bytes, events: list[Event]) -> None:
        fragments = self._fragments
        if fragments is None:
            fragments = self._fragments = _Fragments(first & 0x0F)
        fragments.append(payload)
        if first & _FIN:
            self._fragments = None
            if fragments.opcode == TEXT:
                events.append((TEXT, fragments.body.decode()))
            else:
                events.append((BINARY, bytes(fragments.body)))


def _check_extended(length: int, extended: int) -> None:
    """A length that took `extended` bytes, 2 or 8, must not have fitted into fewer [5.2]."""
    if length < 126 or (extended == 8 and length < 0x10000):
        raise ProtocolViolation("length not in its shortest form", _PROTOCOL_ERROR)
    if length >> 63:
        raise ProtocolViolation("length with its highest bit set", _PROTOCOL_ERROR)


def _close_status(payload: bytes) -> CloseStatus:
    """
    Raises:
        ProtocolViolation: a code that must not be sent.
        UnicodeDecodeError: the reason is not UTF-8.
    """
    if not payload:
        return None, ""
    # A payload of one byte is half a code, and reads as one below 256: wrong in any case.
    code = int.from_bytes(payload[:2], "big")
    if code not in _CLOSE_CODES:
        raise ProtocolViolation("close code that must not be sent", _PROTOCOL_ERROR)
    return code, payload[2:].decode()
