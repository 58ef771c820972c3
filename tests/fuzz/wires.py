"""What clients put on the wire: heads of requests, frames, messages and claims; most of them good, to be damaged."""

import json
import struct
from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

from fuzz.inputs import json_objects, json_texts, numbers, strings

__all__ = ["claims", "frames", "heads", "requests", "upgrades"]

# HTTP.

_TARGETS: Final = (
    "/",
    "*",
    "//",
    "/api/hubs/chat/:send?api-version=2024-12-01",
    "/api/hubs/chat/groups/a%2Fb/connections?top=3&maxpagesize=2",
    "/client/hubs/chat?access_token=x.y.z",
    "/client/?hub=chat",
    "http://localhost:8080/client/hubs/chat",
    "http://[::1]:8080/metrics",
    "/" + "a" * 3000,
)
_HEADERS: Final = (
    "Host: localhost:8080",
    "host: [::1]",
    "Content-Length: 5",
    "Content-Length: 0",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "X-Forwarded-For: 192.0.2.1, 10.0.0.7",
    "X-Forwarded-Proto: wss",
    "X-Forwarded-Host: hub.example",
    'Forwarded: for="[2001:db8::1]:4711";proto=https;host=a.example, for=10.0.0.7',
    "Authorization: Bearer x",
    "Content-Type: text/plain; charset=utf-16",
    "Accept: */*",
    "X: \t tabs \t",
    "X:",
    "X: \x80\xff",
)


def heads() -> st.SearchStrategy[bytes]:
    """Heads of requests, most of which are good."""
    return st.builds(
        _head,
        st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW", "get"]),
        st.sampled_from(_TARGETS),
        st.sampled_from(["1.1", "1.1", "1.0", "2.0"]),
        st.lists(st.sampled_from(_HEADERS), max_size=6),
        st.booleans(),
    )


def _head(method: str, target: str, version: str, headers: Sequence[str], host: bool) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", *(["Host: localhost"] if host else []), *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def upgrades(targets: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Requests for a WebSocket."""
    offers = st.sampled_from(
        ["", "json.webpubsub.azure.v1", "json.reliable.webpubsub.azure.v1", "mine, json.webpubsub.azure.v1", "a b", ","]
    )
    return st.builds(
        lambda target, offer: (
            f"GET {target} HTTP/1.1\r\nHost: localhost:8080\r\nConnection: x, Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            + (f"Sec-WebSocket-Protocol: {offer}\r\n" if offer else "")
            + "\r\n"
        ).encode("latin-1"),
        targets,
        offers,
    )


# WebSocket.


def frames(
    payloads: st.SearchStrategy[bytes], largest: int = 200, whole: Sequence[int] = (0x81,)
) -> st.SearchStrategy[bytes]:
    """
    Frames of a client, most of which are good.

    Args:
        whole: first bytes of the good ones.
    """
    return st.builds(
        _frame,
        st.sampled_from(
            [*whole] * (12 // len(whole)) + [0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x89, 0x8A, 0x8B, 0x91]
        ),
        st.binary(min_size=4, max_size=4),
        st.one_of(*[payloads] * 6, st.binary(max_size=largest), _closes),
        st.sampled_from(["short"] * 20 + ["two", "eight", "huge", "bare"]),
    )


_closes = st.builds(
    lambda code, reason: struct.pack("!H", code) + reason,
    st.sampled_from([0, 999, 1000, 1001, 1004, 1005, 1006, 1015, 3000, 4999, 5000, 65535]),
    st.sampled_from([b"", b"bye", b"\xff", b"x" * 123]),
)


def _frame(first: int, mask: bytes, payload: bytes, form: str) -> bytes:
    size = len(payload)
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    if form == "huge":
        return bytes((first, 0xFF)) + struct.pack("!Q", size + (1 << 62)) + mask + body
    if form == "eight" or size > 0xFFFF:
        return bytes((first, 0xFF)) + struct.pack("!Q", size) + mask + body
    if form == "two" or size > 125:
        return bytes((first, 0xFE)) + struct.pack("!H", size) + mask + body
    if form == "bare":
        return bytes((first, size)) + payload
    return bytes((first, 0x80 | size)) + mask + body


def requests() -> st.SearchStrategy[bytes]:
    """Messages of a client of the JSON subprotocols, most of which are good."""
    group = st.sampled_from(['"room"', '"room"', '"other"']) | strings
    ack = st.integers(0, 9).map(str) | numbers
    metadata = st.sampled_from(["null", '{"a":"b"}', '{"a b":"c"}', '{"a":"é"}', "{}"])
    text = {"dataType": st.sampled_from(['"text"', '"TEXT"']), "data": strings}
    base64 = {
        "dataType": st.sampled_from(['"binary"', '"protobuf"']),
        "data": st.sampled_from(['"AAEC"', '"AB=="', '"A"']),
    }
    json_data = {"dataType": st.sampled_from(['"json"', "null"]), "data": json_texts}
    shapes: list[dict[str, st.SearchStrategy[str]]] = [
        {"type": _said("joinGroup"), "group": group, "ackId": ack},
        {"type": _said("leaveGroup"), "group": group, "ackId": ack},
        *(
            {"type": _said("sendToGroup"), "group": group, "ackId": ack, "noEcho": _flags, "metadata": metadata, **data}
            for data in (text, base64, json_data)
        ),
        {"type": _said("sendToGroup"), "group": group, "ttlSeconds": ack, **json_data},
        {"type": _said("sendToGroup"), "group": group, "noEcho": _flags, "metadata": metadata, "stream": _starts},
        *(
            {"type": _said("streamData"), "streamId": _stream_ids, "streamSequenceId": _numbers, **data}
            for data in (text, base64, json_data)
        ),
        {"type": _said("streamEnd"), "streamId": _stream_ids, "error": _stream_errors},
        {"type": _said("event"), "event": st.just('"hello"') | strings, "ackId": ack, **text},
        {"type": _said("ping")},
        {"type": _said("sequenceAck"), "sequenceId": ack | st.just('"3"')},
        {"type": _said("invoke"), "invocationId": strings, "event": st.just('"hello"') | strings, **json_data},
        {"type": _said("cancelInvocation"), "invocationId": strings},
        {"type": st.sampled_from(['"streamData"', '"streamEnd"', '"x"']), "streamId": strings},
        {"type": _said("setGroupState"), "group": group, "ackId": ack, "state": metadata},
        {"type": st.sampled_from(['"subscribeGroupState"', '"unsubscribeGroupState"']), "group": group, "ackId": ack},
    ]
    return st.one_of(*map(json_objects, shapes))


_flags = st.sampled_from(["true", "false"])
_starts = st.sampled_from(
    ['{"streamId":"s"}', '{"streamId":"t","idleTimeoutMs":1}', '{"streamId":"s","idleTimeoutMs":-1}', '{"streamId":""}']
)
_stream_ids = st.sampled_from(['"s"', '"t"', '"u"'])
_numbers = st.sampled_from(["1", "2", "3", "18446744073709551615", "null", "-1", '"1"'])
_stream_errors = st.sampled_from(["null", "{}", '{"message":"m","userErrorCode":"c"}', '{"message":1}'])


def _said(word: str) -> st.SearchStrategy[str]:
    return st.just(json.dumps(word))


def claims() -> st.SearchStrategy[bytes]:
    """What a token says."""
    return json_objects(
        {
            "aud": st.sampled_from(
                ['"http://localhost:8080/client/hubs/chat"', '["http://localhost/client/hubs/chat"]']
            ),
            "exp": st.sampled_from(["2000000000", "1e300", "1", '"1"', "9" * 400]),
            "nbf": st.sampled_from(["1", "2000000000"]),
            "sub": strings,
            "role": st.sampled_from(['"webpubsub.sendToGroup"', '["webpubsub.joinLeaveGroups.a*","x"]', "[1]"]),
            "webpubsub.group": st.sampled_from(['"room"', '[""]', '["a","a"]']),
        }
    )
