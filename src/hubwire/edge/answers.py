"""
Answers as bytes: to an upgrade request 101, or a status with one plain sentence; to others what the application says.

Sources: RFC 6455, section 4.2.2; RFC 9112, sections 4 to 6 and 9.6.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from hubwire.gateway.attempt import HandshakeRefused
from hubwire.model.http import WholeAnswer

__all__ = ["FAILED", "are_sayable", "refusal", "response", "switching"]

FAILED: Final = WholeAnswer(
    500,
    (("content-type", "text/plain; charset=utf-8"), ("content-length", "21"), ("connection", "close")),
    b"Internal Server Error",
)
"""What is said for an application that fails."""

_HEADERS: Final = re.compile(r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++: [^\x00-\x08\x0a-\x1f\x7f\u0100-\U0010ffff]*+\r\n)*+")
_PHRASES: Final = {int(status): status.phrase for status in HTTPStatus}
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def switching(websocket_key: str, subprotocol: str | None) -> bytes:
    """
    Args:
        websocket_key: of the request, already checked.
        subprotocol: to be echoed; None for no header.
    """
    accept = base64.b64encode(hashlib.sha1(websocket_key.encode() + _GUID, usedforsecurity=False).digest())
    chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol is not None else ""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept, chosen.encode())
    )


def response(answer: WholeAnswer, date: str, *, last: bool, with_body: bool) -> bytes:
    """
    Args:
        answer: its headers are sayable.
        date: header line with its end.
        last: the connection ends after it, and the client is told so.
        with_body: false for HEAD.
    """
    phrase = _PHRASES.get(answer.status, "")
    closing = "connection: close\r\n" if last and ("connection", "close") not in answer.headers else ""
    head = f"HTTP/1.1 {answer.status} {phrase}\r\n{date}{_lines(answer.headers)}{closing}\r\n".encode("latin-1")
    return head + answer.body if with_body else head


def are_sayable(headers: Sequence[tuple[str, str]]) -> bool:
    """Is none of them malformed, or more than one header."""
    lines = _lines(headers)
    return _HEADERS.fullmatch(lines) is not None and lines.count("\n") == len(headers)


def _lines(headers: Sequence[tuple[str, str]]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers])


def refusal(refused: HandshakeRefused) -> bytes:
    body = refused.body
    phrase = _PHRASES.get(refused.status, "Refused")
    more = "".join(f"{name}: {value}\r\n" for name, value in refused.headers.items())
    challenge = "WWW-Authenticate: Bearer\r\n" if refused.status == HTTPStatus.UNAUTHORIZED else ""
    head = (
        f"HTTP/1.1 {refused.status} {phrase}\r\nContent-Type: {refused.content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n{challenge}{more}\r\n"
    )
    return head.encode("latin-1", "replace") + body
