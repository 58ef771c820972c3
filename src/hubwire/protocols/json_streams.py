"""
Streams in the JSON subprotocols: what publishers are answered, and what subscribers see beside a payload.

Source: the service's reference of its reliable JSON subprotocol (streaming), the client spec, 3.6, and the official
JavaScript client, which ignores a stream whose id is no text or whose number is no number.
"""

from typing import Any, Final

import msgspec

from hubwire.model.messages import StreamAck, StreamAnswer, StreamClosed, StreamError, StreamInfo, StreamNack

__all__ = ["answer", "place"]

_encode: Final = msgspec.json.Encoder().encode


def answer(message: StreamAnswer) -> bytes:
    """What the publisher of a stream is told."""
    match message:
        case StreamAck(stream_id, expected):
            return b'{"type":"streamAck","streamId":%s,"expectedSequenceId":%d}' % (_encode(stream_id), expected)
        case StreamNack(stream_id, text, expected, name):
            body = {"streamId": stream_id, "expectedSequenceId": expected, "name": name, "message": text}
            return _encode({"type": "streamNack", **body})
        case StreamClosed(stream_id, error):
            closed: dict[str, Any] = {"type": "streamClosed", "streamId": stream_id}
            if error is not None:
                closed["error"] = _error(error)
            return _encode(closed)


def place(info: StreamInfo) -> bytes:
    """The value of `stream` in a message of a group."""
    if not info.end:
        return b'{"streamId":%s,"streamSequenceId":%d}' % (_encode(info.stream_id), info.sequence_id)
    body: dict[str, Any] = {"streamId": info.stream_id, "streamSequenceId": info.sequence_id, "endOfStream": True}
    if info.error is not None:
        body["error"] = _error(info.error)
    return _encode(body)


def _error(error: StreamError) -> dict[str, str]:
    found: dict[str, str] = {"name": error.name}
    if error.message is not None:
        found["message"] = error.message
    if error.user_error_code is not None:
        found["userErrorCode"] = error.user_error_code
    return found
