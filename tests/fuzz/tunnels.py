"""What tools say through tunnels."""

import json
from typing import Final

from hypothesis import strategies as st

from fuzz.inputs import cut, cuts, damaged, json_objects, json_texts, numbers, strings
from fuzz.target import Target, size_of
from hubwire.model.webhooks import IncomingResponse, OutgoingRequest, WebhookFailed
from hubwire.upstream.tunnel import _response
from hubwire.upstream.tunnel_frames import HttpResponse, TunnelFrame, TunnelReader, encode_message
from vectors.tunnel_frames import VECTORS, packed, prefixed

__all__ = ["TARGETS"]

_LIMIT: Final = 2000
"""Bytes of a message here: low, so that limits are met."""


def _check_messages(data: bytes, sizes: list[int]) -> None:
    whole = TunnelReader(_LIMIT)
    frames = whole.feed(data)
    reader = TunnelReader(_LIMIT)
    pieces: list[TunnelFrame] = []
    for piece in cut(data, sizes):
        pieces += reader.feed(piece)
        if len(pieces) % 8 == 0:
            assert size_of(reader) <= 2 * _LIMIT + 2 * len(piece) + 2000
    assert pieces == frames
    assert (reader.fault is None) == (whole.fault is None)
    if whole.fault is not None:
        assert whole.fault.close_code in (1007, 1009)
        assert whole.feed(prefixed(packed(7, "{}", None))) == []
    for frame in frames:
        _check_written_again(frame)
        if isinstance(frame.message, HttpResponse):
            _check_response(frame.message, frame.content)


def _check_written_again(frame: TunnelFrame) -> None:
    """What was read can be written, and read again."""
    reader = TunnelReader(1 << 20)
    assert reader.feed(encode_message(frame.message, frame.content)) == [frame]


def _check_response(message: HttpResponse, body: bytes) -> None:
    """Nothing that a tool says is more than a value of a header, wherever that goes on to."""
    response = _response(message, body)
    if isinstance(response, WebhookFailed):
        assert response.kind == "invalid"
        return
    assert isinstance(response, IncomingResponse)
    assert 200 <= response.status <= 599
    for name, value in response.headers:
        assert name
        assert not set(name) & set(" \t\r\n\0:")
        assert not set(value) & set("\r\n\0")
        value.encode("latin-1")
    OutgoingRequest("POST", "tunnel:///e", response.headers, response.body)


def _message(number: int, fields: bytes, content: bytes | None) -> bytes:
    return prefixed(packed(number, fields.decode("utf-8", "replace"), content))


_good: Final = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20).map(json.dumps)
_known: Final = st.sampled_from(['"x"', '"Set-Cookie"', '"ce-connectionState"'])
_names: Final = st.one_of(_known, _known, _known, strings)
_line: Final = st.one_of(_good, _good, _good, strings)
_lines: Final = st.one_of(_line, st.lists(_line, max_size=2).map(lambda lines: f"[{','.join(lines)}]"), st.just("null"))
_responses: Final = json_objects(
    {
        "AckId": st.one_of(st.just("1"), st.just("1"), numbers),
        "StatusCode": st.one_of(st.just("200"), st.integers(0, 700).map(str), numbers),
        "Headers": st.lists(st.tuples(_names, _lines), min_size=1, max_size=2).map(
            lambda pairs: "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"
        ),
        "NotCompleted": st.sampled_from(["true", "false", "null"]),
        "ChannelName": _good,
    }
)
_response_messages: Final = st.builds(_message, st.just(2), _responses, st.none() | st.binary(max_size=50))
_messages: Final[st.SearchStrategy[bytes]] = st.one_of(
    _response_messages,
    st.sampled_from([vector.wire for vector in VECTORS if len(vector.wire) <= _LIMIT]),
    st.builds(_message, st.integers(0, 12), json_texts.map(lambda text: text[:1000].encode()), st.none()),
)
_streams: Final = st.lists(_messages, max_size=5).map(b"".join)

TARGETS: Final[dict[str, Target]] = {
    "tunnels": Target((_response_messages | _streams | damaged(_streams), cuts), _check_messages),
}
