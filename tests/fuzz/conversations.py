"""
Connections to a real server on which nothing is as it should be, and what of its answers must be right all the same.
"""

import json
import re
import socket
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Final, NamedTuple

from hypothesis import strategies as st

from acceptance.protobuf import PROTOBUF, PROTOBUF_RELIABLE
from acceptance.servers import DEADLINE_S, Server
from acceptance.wire import JOIN, JSON, RELIABLE, SEND, client_token, signed
from fuzz.inputs import cut, cuts, damaged, json_texts
from fuzz.protobuf import protobuf_requests
from fuzz.wires import frames, heads, requests, upgrades

__all__ = ["HUB", "Talk", "check_answers", "converse", "talks"]

HUB: Final = "fuzz"

_TOKEN: Final = b"TOKEN"
_AUTHORIZATION: Final = b"AUTHORIZATION"
# A path is logged, so a token that damage has moved there would be, too.
_IN_QUERY: Final = re.compile(rb"(\?(?:\S*&)?access_token=)" + _TOKEN)
_REQUEST: Final = re.compile(rb"[A-Z]+ (/\S*) HTTP/1\.1\r\n")
_STATUS: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [ -~]+\r\n")
_HEADER: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+: ?[\t -~]*")
_CLOSE_CODES: Final = frozenset(
    {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, *range(1010, 1015), *range(3000, 5000)}
)


class Talk(NamedTuple):
    """
    One connection.

    Attributes:
        wire: what is sent. `TOKEN` stands for a client's token, `AUTHORIZATION` for what proves the first request.
        sizes: of the pieces in which it is sent, over and over.
        control: it goes to the control socket.
    """

    wire: bytes
    sizes: Sequence[int]
    control: bool


def converse(server: Server, talk: Talk) -> bytes:
    """
    Everything that the server says on a connection on which nothing more comes after the talk.

    Raises:
        TimeoutError: it neither answers nor ends the connection.
    """
    token = client_token(server, HUB, roles=(JOIN, SEND)).encode()
    wire = _IN_QUERY.sub(lambda found: found[1] + token, talk.wire)
    if (found := _REQUEST.search(wire)) is not None:
        audience = server.endpoint + found[1].decode("latin-1")
        proof = f": Bearer {signed(server, audience)}".encode()
        wire = wire.replace(b": " + _AUTHORIZATION, proof)
    heard = b""
    with closing(_connected(server, talk.control)) as connection:
        # The server may end the connection before it has read all; never may it just go silent.
        with suppress(ConnectionError):
            for piece in cut(wire, talk.sizes):
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while data := connection.recv(1 << 16):
                heard += data
    return heard


def _connected(server: Server, control: bool) -> socket.socket:
    if not control:
        return socket.create_connection((server.host, server.port), DEADLINE_S)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE_S)
    connection.connect(str(server.data / "control.sock"))
    return connection


def check_answers(heard: bytes) -> None:
    """
    Whole answers of HTTP with a status that is not a fault of ours, and behind a 101 whole frames.

    An answer to HEAD has no body, and which request was one is not known here: each length may count or not.
    """
    left = [heard]
    for _ in range(1000):
        if not left:
            raise AssertionError(f"no answers of HTTP: {heard[:2000]!r}")
        rest = left.pop()
        if not rest:
            return
        head, end, body = rest.partition(b"\r\n\r\n")
        if not end:
            continue
        status, *headers = (head + b"\r\n").split(b"\r\n")[:-1]
        found = _STATUS.fullmatch(status + b"\r\n")
        if found is None or not all(map(_HEADER.fullmatch, headers)):
            continue
        code = int(found[1])
        assert code != 500, "a fault of ours"
        if code == 101:
            _check_frames(body)
            return
        lengths = [int(line.split(b":")[1]) for line in headers if line.lower().startswith(b"content-length:")]
        assert len(lengths) <= 1
        length = lengths[0] if lengths else 0
        left.append(body)
        if length and len(body) >= length:
            left.append(body[length:])
    raise AssertionError("more answers than anybody asked for")


def _check_frames(data: bytes) -> None:
    """Whole frames of a server, the last of which may be a close frame with a code that may be sent."""
    closed = False
    while data:
        assert not closed, "something behind a close frame"
        first, second = data[:2]
        opcode, size, start = first & 0x0F, second, 2
        assert first & 0x70 == 0
        assert first & 0x80, "fragmented"
        assert opcode in (1, 2, 8, 9, 10)
        if second == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
            assert size >= 126
        elif second == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
            assert size >= 1 << 16
        else:
            assert second < 126, "masked"
        payload = data[start : start + size]
        assert len(payload) == size
        if opcode == 1:
            assert isinstance(json.loads(payload.decode()), dict)
        elif opcode == 8:
            closed = True
            assert not payload or int.from_bytes(payload[:2], "big") in _CLOSE_CODES
            payload[2:].decode()
        data = data[start + size :]


def _call(method: str, target: str, content_type: str, body: bytes, chunked: bool) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    if chunked:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {_AUTHORIZATION.decode()}\r\n"
        f"Content-Type: {content_type}\r\n{framing}\r\n\r\n"
    )
    return head.encode() + body


def _calls(operations: Sequence[tuple[str, str]], types: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    def call(operation: tuple[str, str], content_type: str, body: bytes, chunked: bool) -> bytes:
        return _call(*operation, content_type, body, chunked)

    return st.builds(call, st.sampled_from(operations), types, _BODIES, st.booleans())


_BODIES: Final = st.one_of(
    st.binary(max_size=100),
    json_texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [
            b'{"groups":["a","b"],"filter":"userId eq null"}',
            b'{"groups":[]}',
            b'{"properties":{"anonymousConnectPolicy":"deny"}}',
            b'{"hub":"fuzz","roles":["webpubsub.joinLeaveGroup"],"minutes":5}',
            b'{"keyType":"nothing"}',
        ]
    ),
)
_API: Final = f"/api/hubs/{HUB}"
_TYPES: Final = st.sampled_from(
    [
        "text/plain",
        "application/json",
        "application/json",
        "application/octet-stream",
        "application/json; charset=utf-16",
    ]
)
_CALLS: Final = _calls(
    [
        ("POST", f"{_API}/:send"),
        ("POST", f"{_API}/:send?filter=startswith(userId,%27a%27)&excluded=x&messageTtlSeconds=5"),
        ("POST", f"{_API}/:addToGroups"),
        ("POST", f"{_API}/:removeFromGroups"),
        ("POST", f"{_API}/:generateToken?role=a&userId=%C3%A9&minutesToExpire=5"),
        ("POST", f"{_API}/groups/ro%2Fom/:send?excluded=a&excluded=b"),
        ("POST", f"{_API}/groups/room/:closeConnections?reason=%00"),
        ("GET", f"{_API}/groups/room/connections?maxpagesize=1&top=2"),
        ("GET", f"{_API}/groups/room/connections?continuationToken=abc"),
        ("HEAD", f"{_API}/groups/room"),
        ("PUT", f"{_API}/groups/g/connections/nobody"),
        ("DELETE", f"{_API}/groups/g/connections/nobody"),
        ("PUT", f"{_API}/users/u/groups/g"),
        ("DELETE", f"{_API}/users/u/groups"),
        ("POST", f"{_API}/users/u/:send?filter=not%20(%27a%27%20in%20groups)"),
        ("PUT", f"{_API}/permissions/sendToGroup/connections/c?targetName=g"),
        ("HEAD", f"{_API}/permissions/sendToGroup/connections/c?targetName=g"),
        ("DELETE", f"{_API}/permissions/joinLeaveGroup/connections/c?targetName=g"),
        ("POST", f"{_API}/connections/c/:send"),
        ("HEAD", "/api/health"),
        ("GET", "/metrics"),
        ("GET", "/control/status"),
        ("BREW", "/coffee"),
    ],
    _TYPES,
)
_OPERATOR: Final = _calls(
    [
        ("GET", "/control/status"),
        ("GET", "/control/hubs"),
        ("GET", "/control/hubs/other"),
        ("PUT", "/control/hubs/other"),
        ("PATCH", "/control/hubs/other"),
        ("DELETE", "/control/hubs/other"),
        ("POST", "/control/url"),
        ("POST", "/control/keys/:rotate"),
        ("POST", f"{_API}/:send"),
    ],
    st.just("application/json"),
)
_OPENING: Final = st.sampled_from([JSON, RELIABLE, PROTOBUF, PROTOBUF_RELIABLE, ""]).map(
    lambda protocol: (
        f"GET /client/hubs/{HUB}?access_token={_TOKEN.decode()} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"{f'Sec-WebSocket-Protocol: {protocol}' if protocol else 'X: y'}\r\n\r\n"
    ).encode()
)
_GOODBYE: Final = b"\x88\x82\0\0\0\0\x03\xe8"
_MESSAGES: Final = damaged(
    st.lists(frames(requests() | protobuf_requests(), whole=(0x81, 0x82)), min_size=1, max_size=8).map(b"".join), 2
)
_TARGETS: Final = st.sampled_from(
    [f"/client/hubs/{HUB}?access_token=TOKEN", f"/client/?hub={HUB}&access_token=TOKEN", "/client/hubs/é"]
)
_PIPELINES: Final = damaged(st.lists(st.one_of(_CALLS, _CALLS, heads()), min_size=1, max_size=4).map(b"".join), 2)

talks: Final = st.one_of(
    st.builds(Talk, st.binary(max_size=300), cuts, st.booleans()),
    st.builds(Talk, damaged(upgrades(_TARGETS)), cuts, st.just(False)),
    st.builds(lambda opening, wire, sizes: Talk(opening + wire + _GOODBYE, sizes, False), _OPENING, _MESSAGES, cuts),
    st.builds(Talk, _PIPELINES, cuts, st.booleans()),
    st.builds(Talk, damaged(_OPERATOR), cuts, st.just(True)),
    st.builds(
        lambda calls, opening, wire, sizes: Talk(calls + opening + wire, sizes, False),
        _CALLS,
        _OPENING,
        _MESSAGES,
        cuts,
    ),
)
"""Bytes of no kind, damaged upgrades, damaged frames behind a good one, pipelines, the operator's calls, and a mix."""
