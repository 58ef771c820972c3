"""
Paths of requests as they stand in the log. Pure.

A path that leads nowhere is logged, too, since somebody looks for the fault: a mistaken base URL, for instance. So
users of communication services and tokens may stand anywhere in it, in whatever spelling.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["logged_path", "logged_root"]

_LIMIT_BYTES: Final = 2048
_SHOWN_END: Final = 12
_TIMES_ENCODED: Final = 3
"""Clients and proxies that encode a path once more than is right are among those that call a wrong one."""
_CUT: Final = "…".encode()
_USER: Final = re.compile(rb"8:(?:acs|orgid):", re.IGNORECASE)
_TOKEN: Final = re.compile(rb"eyJ[\w-]+\.")


def logged_path(raw_path: bytes) -> str:
    """A path without the users and tokens in it: printable, and not without end."""
    path = raw_path[:_LIMIT_BYTES]
    # Nearly every path is as plain as this.
    if path.isascii() and b"%" not in path and _secret_in(path) is None:
        return _printable(path)
    return "…".join(map(_printable, b"/".join(map(_cut, path.split(b"/"))).split(_CUT)))


def logged_root(raw_path: bytes) -> str:
    """The first segment of a path that names persons further on, in places that nobody knows."""
    root = next((part for part in raw_path.split(b"/") if part), b"")
    return f"{logged_path(b'/' + root)}/…"


def _cut(segment: bytes) -> bytes:
    """Of users the end alone, which tells them apart; of tokens nothing."""
    text = segment
    for _ in range(_TIMES_ENCODED):
        text = unquote_to_bytes(text)
    secret = _secret_in(text)
    if secret is None:
        return segment
    end = text[secret.end() :] if secret.re is _USER else b""
    return _CUT + end[-_SHOWN_END:] if len(end) > _SHOWN_END else _CUT


def _secret_in(text: bytes) -> re.Match[bytes] | None:
    return _TOKEN.search(text) or _USER.search(text)


def _printable(path: bytes) -> str:
    text = path.decode("ascii", "backslashreplace")
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
