"""
Continuation tokens of lists, and the link to the next page. Pure.

A token says after which connection a list goes on. A digest over that and the list it belongs to tells apart what is
damaged or meant for another list. It is no secret: whoever may list may list everything.
"""

import base64
import binascii
import hashlib
from typing import Final
from urllib.parse import quote, urlencode

from hubwire.model.errors import BadRequest
from hubwire.model.targets import Target

__all__ = ["continuation", "next_link", "position"]

_DIGEST_BYTES: Final = 16
_PARAMETER: Final = "continuationToken"


def continuation(target: Target, after: str) -> str:
    """The token of a list that goes on after a connection id. Letters, digits, `-` and `_` survive any URL."""
    return _encode(_digest(target, after) + after.encode())


def position(target: Target, token: str) -> str:
    """
    After which connection id to go on.

    Raises:
        BadRequest: not a token of this list.
    """
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        after = raw[_DIGEST_BYTES:].decode("utf-8")
    except (UnicodeError, binascii.Error):
        after = ""
    # Compared as text, because the last letter of a token has bits that its bytes do not show.
    if not after or continuation(target, after) != token:
        raise BadRequest("The continuation token is not one of this list.", _PARAMETER)
    return after


def _digest(target: Target, after: str) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in (target.kind, target.hub.resource, target.hub.hub, target.name, after):
        raw = part.encode()
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return digest.digest()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def next_link(
    base_url: str, hub: str, group: str, *, api_version: str, page_size: int, top: int | None, token: str
) -> str:
    """
    Absolute URL of the next page of a group's connections.

    Args:
        base_url: without a slash at the end.
        hub: as the caller spelt it.
        top: how many are still wanted, since clients do not subtract; None for all.
    """
    query: dict[str, str | int] = {"api-version": api_version, "maxpagesize": page_size}
    if top is not None:
        query["top"] = top
    query[_PARAMETER] = token
    path = f"/api/hubs/{quote(hub, safe='')}/groups/{quote(group, safe='')}/connections"
    return f"{base_url}{path}?{urlencode(query)}"
