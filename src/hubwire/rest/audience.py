"""The URLs under which clients reach a hub, as the audience of their tokens and as links. Pure."""

import re
from typing import Final
from urllib.parse import quote

from hubwire.model.errors import BadRequest
from hubwire.rest.call import Caller

__all__ = ["TOKEN_MINUTES", "base_url", "client_url", "known_client_type"]

TOKEN_MINUTES: Final = 60
"""Lifetime of a client's token when the caller names none, or 0, which one of the official clients sends for none."""

_CLIENT_PATHS: Final = {
    "default": "/client/hubs/",
    "mqtt": "/clients/mqtt/hubs/",
    "socketio": "/clients/socketio/hubs/",
}
_AUTHORITY: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def base_url(caller: Caller, public_endpoint: str | None, own_endpoint: str) -> str:
    """
    Where a caller finds this server, without a slash at the end.

    Args:
        public_endpoint: the canonical one, if any is configured; it goes before what the caller used.
        own_endpoint: for the local operator, whose socket has no address that others could use.

    Raises:
        BadRequest: it depends on the Host header, and that is none.
    """
    if public_endpoint is not None:
        return public_endpoint.rstrip("/")
    if caller.control:
        return own_endpoint.rstrip("/")
    if _AUTHORITY.fullmatch(caller.host) is None:
        raise BadRequest("The Host header does not name a host.", "Host")
    return f"{caller.scheme}://{caller.host}"


def known_client_type(text: str | None) -> str:
    """
    "default", "mqtt" or "socketio", whatever the letter case; nothing said is "default".

    Raises:
        BadRequest: none of them.
    """
    client_type = "default" if text is None else text.lower()
    if client_type not in _CLIENT_PATHS:
        raise BadRequest("The client type must be Default, MQTT or SocketIO.", "clientType")
    return client_type


def client_url(base: str, client_type: str, hub: str) -> str:
    """What a client of this type opens, with the scheme of `base`; the audience of its token."""
    return f"{base}{_CLIENT_PATHS[client_type]}{quote(hub, safe='')}"
