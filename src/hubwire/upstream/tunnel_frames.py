"""
The messages of a tunnel: HTTP requests and responses, and words about the connection itself, as bytes. Pure.

    reader = TunnelReader()
    for frame in reader.feed(payload): ...          first everything that was complete,
    if reader.fault is not None: ...                then the end of the connection

A message is four bytes of length (little-endian), and so many of MessagePack: an array of its type, its fields as JSON
text, and the bytes of a body or nil. We send one in each WebSocket message, since the official tool reads no more than
the first one of each; we read several, and ones that are cut.

Source: the tunnel protocol as the service's open tool (awps-tunnel) writes and reads it.
"""

from typing import Final, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

from hubwire.model.errors import ProtocolViolation

__all__ = [
    "MAX_MESSAGE_BYTES",
    "ConnectionClose",
    "ConnectionConnected",
    "ConnectionRebalance",
    "ConnectionReconnect",
    "HeaderLines",
    "HttpRequest",
    "HttpResponse",
    "ServiceStatus",
    "TunnelFrame",
    "TunnelMessage",
    "TunnelReader",
    "encode_message",
]

MAX_MESSAGE_BYTES: Final = 1 << 20
"""Of one message, its four bytes of length not counted."""

HeaderLines: TypeAlias = dict[str, list[str] | str | None]
"""
Headers by name, each with its lines. Bytes beyond ASCII stand for themselves, as Latin-1: so Node's HTTP client, which
the official tool uses, sends on exactly these.
"""

_PREFIX_BYTES: Final = 4
_BROKEN: Final = "the message of the tunnel is malformed"
# What the decoders raise for bytes that are no MessagePack or JSON, text that is no UTF-8, and deep nesting.
_MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class HttpRequest(Struct, frozen=True, rename="pascal", tag_field="Type", tag=1):
    """
    Attributes:
        ack_id: from 1 and below 2**31; the response repeats it, as it does the next two.
        url: absolute; the official tool takes its path and nothing else.
    """

    ack_id: int
    http_method: str
    url: str
    headers: HeaderLines | None = None
    local_routing: bool | None = False
    channel_name: str | None = ""
    tracing_id: int | UnsetType | None = UNSET

    def __repr__(self) -> str:
        return f"HttpRequest({self.ack_id}, {self.http_method!r}, …)"


class HttpResponse(Struct, frozen=True, rename="pascal", tag_field="Type", tag=2):
    """
    Attributes:
        ack_id: of the request.
        not_completed: more parts of the body follow, each in a response of its own.
    """

    ack_id: int
    status_code: int
    headers: HeaderLines | None = None
    not_completed: bool | None = False
    local_routing: bool | None = False
    channel_name: str | None = ""
    tracing_id: int | UnsetType | None = UNSET

    def __repr__(self) -> str:
        return f"HttpResponse({self.ack_id}, {self.status_code}, …)"


class ServiceStatus(Struct, frozen=True, rename="pascal", tag_field="Type", tag=5):
    """Something that the person at the tool should read."""

    message: str | None = ""


class ConnectionReconnect(Struct, frozen=True, rename="pascal", tag_field="Type", tag=6):
    """
    The tool should end this connection and open another one in its place, trying until that succeeds.

    Attributes:
        target_id: for the query of the new one, if not empty.
        endpoint: where to; empty for where it came from.
    """

    target_id: str | None = ""
    endpoint: str | None = ""
    message: str | None = ""


class ConnectionClose(Struct, frozen=True, rename="pascal", tag_field="Type", tag=7):
    """The tool should end this connection, and not come back."""

    message: str | None = ""


class ConnectionRebalance(Struct, frozen=True, rename="pascal", tag_field="Type", tag=8):
    """The tool should open one more connection. Fields as of `ConnectionReconnect`."""

    target_id: str | None = ""
    endpoint: str | None = ""
    message: str | None = ""


class ConnectionConnected(Struct, frozen=True, rename="pascal", tag_field="Type", tag=10):
    """The first message of a connection. The tool counts as connected once it has read it."""

    connection_id: str
    user_id: str | None = None
    reconnection_token: str | None = None


TunnelMessage: TypeAlias = (
    HttpRequest
    | HttpResponse
    | ServiceStatus
    | ConnectionReconnect
    | ConnectionClose
    | ConnectionRebalance
    | ConnectionConnected
)

_KINDS: Final = (
    HttpRequest,
    HttpResponse,
    ServiceStatus,
    ConnectionReconnect,
    ConnectionClose,
    ConnectionRebalance,
    ConnectionConnected,
)


class TunnelFrame(NamedTuple):
    """
    Attributes:
        content: the body, or a part of it; empty for messages that have none.
    """

    message: TunnelMessage
    content: bytes


class _Packed(Struct, frozen=True, array_like=True):
    """The array around a message. What stands behind its third element is skipped."""

    type: int
    json: str
    content: bytes | None = None


def _number(kind: type[Struct] | Struct) -> int:
    """By which the type of a message is known."""
    tag = kind.__struct_config__.tag
    assert isinstance(tag, int), "each has its number"
    return tag


_UNPACK: Final = msgspec.msgpack.Decoder(_Packed)
_DECODERS: Final = {_number(kind): msgspec.json.Decoder[TunnelMessage](kind) for kind in _KINDS}


def encode_message(message: TunnelMessage, content: bytes | None = None) -> bytes:
    """
    A message with its length before it.

    Args:
        content: body, or a part of it. With much of it the whole is longer than `MAX_MESSAGE_BYTES`, which is for the
            caller to see.
    """
    packed = msgspec.msgpack.encode(_Packed(_number(message), msgspec.json.encode(message).decode(), content))
    return len(packed).to_bytes(_PREFIX_BYTES, "little") + packed


class TunnelReader:
    """
    Reads what the other end of a tunnel sends, however it is cut. Holds nothing while no message is incomplete.

    Args:
        max_message_bytes: that a message may announce. The official tool keeps to no bound in what it answers.

    Attributes:
        fault: why nothing more is read; None while all is well. Its `close_code` is 1007 for what is no message, and
            1009 for one that is too long.
    """

    __slots__ = ("_buffer", "_max", "_need", "fault")

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.fault: ProtocolViolation | None = None
        self._max = max_message_bytes
        self._buffer = bytearray()
        self._need = _PREFIX_BYTES

    def feed(self, data: bytes) -> list[TunnelFrame]:
        """
        The payload of the next WebSocket message. Never raises.

        Returns:
            what became complete, in order; messages of types that nobody knows are left out. When `fault` is set
            afterwards, these still came before it. After a fault everything is ignored.
        """
        frames: list[TunnelFrame] = []
        if self.fault is not None:
            return frames
        self._buffer += data
        if len(self._buffer) < self._need:
            return frames
        whole, self._buffer = bytes(self._buffer), bytearray()
        try:
            position = self._read(whole, frames)
        except _MALFORMED:
            self.fault = ProtocolViolation(_BROKEN)
        except ProtocolViolation as fault:
            # Without its traceback, which would hold the bytes for as long as the reader is there.
            self.fault = fault.with_traceback(None)
        else:
            self._buffer += memoryview(whole)[position:]
        return frames

    def _read(self, data: bytes, frames: list[TunnelFrame]) -> int:
        """Take all whole messages; returns where the first incomplete one begins."""
        position = 0
        while position + _PREFIX_BYTES <= len(data):
            start = position + _PREFIX_BYTES
            length = int.from_bytes(data[position:start], "little")
            if length > self._max:
                raise ProtocolViolation("the message of the tunnel is too long", 1009)
            if start + length > len(data):
                self._need = _PREFIX_BYTES + length
                return position
            packed = _UNPACK.decode(memoryview(data)[start : start + length])
            decoder = _DECODERS.get(packed.type)
            if decoder is not None:
                frames.append(TunnelFrame(decoder.decode(packed.json), packed.content or b""))
            position = start + length
        self._need = _PREFIX_BYTES
        return position
