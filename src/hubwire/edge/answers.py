"""
What an upgrade request is answered: 101, or a status with one plain sentence.

Source: RFC 6455 section 4.2.2.
"""

import base64
import hashlib
from http import HTTPStatus
from typing import Final

from hubwire.gateway.attempt import HandshakeRefused

__all__ = ["refusal", "switching"]

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
