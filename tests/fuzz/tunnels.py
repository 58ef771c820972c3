"""What tools say through tunnels."""

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


_names: Final = st.sampled_from(['"x"', '"Set-Cookie"', '"ce-connectionState"']) | strings
_lines: Final = strings | st.lists(strings, max_size=2).map(lambda lines: f"[{','.join(lines)}]")
_headers: Final = st.lists(st.tuples(_names, _lines), max_size=3)
_responses: Final = json_objects(
    {
        "AckId": numbers,
        "StatusCode": st.integers(0, 700).map(str) | numbers,
        "Headers": _headers.map(lambda pairs: "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"),
        "NotCompleted": st.sampled_from(["true", "false", "null"]),
        "ChannelName": strings,
    }
)
_messages: Final[st.SearchStrategy[bytes]] = st.one_of(
    st.sampled_from([vector.wire for vector in VECTORS if len(vector.wire) <= _LIMIT]),
    st.builds(_message, st.just(2), _responses, st.none() | st.binary(max_size=50)),
    st.builds(_message, st.integers(0, 12), json_texts.map(lambda text: text[:1000].encode()), st.none()),
)

TARGETS: Final[dict[str, Target]] = {
    "tunnels": Target((damaged(st.lists(_messages, max_size=5).map(b"".join)), cuts), _check_messages),
}
