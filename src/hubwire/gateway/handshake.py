"""
An upgrade request to an attempt to connect, or a refusal. No waiting and no side effect.

Source: the service's pages on client protocols and the client spec (endpoints, statuses, subprotocols); the emulator's
README for `webpubsub_mode`; RFC 6455 section 4.2; OASIS MQTT 5.0, 6 for the subprotocol.
"""

import binascii
import re
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote

from hubwire.gateway.attempt import Attempt, HandshakeRefused, Recovery
from hubwire.model.http import RequestHead
from hubwire.model.names import HubKey, is_hub_name

__all__ = ["is_client_path", "query_pairs", "read", "sent_token", "websocket_key"]

_VERSION: Final = "13"
_PREFIX: Final = "Bearer "
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MQTT: Final = "mqtt"
_MQTT_31: Final = "mqttv3.1"
_MQTT_PLACE: Final = "MQTT clients connect to /clients/mqtt/hubs/HUB (hubwire url --mqtt)."

_Protocol: TypeAlias = Literal["webpubsub", "mqtt"]
_PATHS: Final[dict[_Protocol, str]] = {"webpubsub": "/client/hubs/", "mqtt": "/clients/mqtt/hubs/"}


def is_client_path(target: str) -> bool:
    """Does a request target belong to clients' endpoints rather than to REST."""
    path = target.partition("?")[0]
    first = path.lstrip("/").partition("/")[0].lower()
    return first in ("client", "clients")


def read(head: RequestHead) -> Attempt:
    """
    Read an upgrade request.

    Raises:
        HandshakeRefused: 400 for what is no WebSocket request, names no legal hub, does not offer MQTT where MQTT is
            spoken, or offers nothing else where it is not; 404 for an endpoint that is not there, 426 for another
            version of the protocol.
    """
    raw_path, _, raw_query = head.target.partition("?")
    pairs = query_pairs(raw_query)
    query = dict(reversed(pairs))  # the first of repeated ones
    protocol, hub = _endpoint(raw_path, query.get("hub"), head)
    key = websocket_key(head)
    recovery = None
    if protocol != "mqtt" and (query.get("awps_connection_id") or query.get("awps_reconnection_token")):
        recovery = Recovery(query.get("awps_connection_id", ""), query.get("awps_reconnection_token", ""))
    return Attempt(
        hub=HubKey(head.resource, hub.lower()),
        path=f"{_PATHS[protocol]}{hub}",
        token=sent_token(query.get("access_token"), head.header("authorization")),
        offered=_offered(head, protocol),
        query=tuple([pair for pair in pairs if pair[0] != "access_token"]),
        recovery=recovery,
        websocket_key=key,
        head=head,
        protocol=protocol,
    )


def query_pairs(raw_query: str) -> list[tuple[str, str]]:
    """The parameters of a query, decoded, in their order."""
    if "%" in raw_query or "+" in raw_query:
        return parse_qsl(raw_query, keep_blank_values=True)
    # Nothing to decode, as in most of them: the same, without looking for it in each part.
    return [(name, value) for part in raw_query.split("&") if part for name, _, value in (part.partition("="),)]


def _endpoint(raw_path: str, from_query: str | None, head: RequestHead) -> tuple[_Protocol, str]:
    """Who is served at a path, and the hub as the client spelled it."""
    segments = [unquote(part) for part in raw_path.split("/") if part]
    protocol: _Protocol = "webpubsub"
    match [segment.lower() for segment in segments]:
        case ["client"]:
            hub = from_query
        case ["client", "hubs"] | ["clients", "mqtt", "hubs"]:
            hub = None
        case ["client", "hubs", _]:
            hub = segments[2]
        case ["clients", "mqtt", "hubs", _]:
            protocol, hub = "mqtt", segments[3]
        case ["clients", "socketio", *_]:
            raise HandshakeRefused(404, "This server does not offer socketio clients yet.")
        case ["client", "mqtt", *_]:
            # So spelled in a comment of the official JavaScript library, whose code is right.
            raise HandshakeRefused(404, f"There is no such endpoint; {_MQTT_PLACE}")
        case _:
            if _MQTT in (offered := head.all("sec-websocket-protocol")) or _MQTT_31 in offered:
                # Libraries and devices have paths of their own if they are told none: /mqtt, /.
                raise HandshakeRefused(404, f"There is no such endpoint; {_MQTT_PLACE}")
            raise HandshakeRefused(404, "There is no such endpoint.")
    if hub is None or not is_hub_name(hub):
        raise HandshakeRefused(400, "The hub name is missing or not valid.")
    return protocol, hub


def websocket_key(head: RequestHead) -> str:
    """
    The key that the answer to an upgrade request is made of.

    Raises:
        HandshakeRefused: 400 or 426, it is none that can be answered.
    """
    upgrades = [item.lower() for item in head.all("upgrade")]
    connection = [item.lower() for item in head.all("connection")]
    if head.method != "GET" or "websocket" not in upgrades or "upgrade" not in connection:
        raise HandshakeRefused(400, "This endpoint takes WebSocket upgrade requests only.")
    if head.header("sec-websocket-version") != _VERSION:
        raise HandshakeRefused(426, "Only version 13 of WebSocket is spoken here.", {"Sec-WebSocket-Version": _VERSION})
    key = head.header("sec-websocket-key") or ""
    try:
        valid = len(binascii.a2b_base64(key, strict_mode=True)) == 16
    except ValueError:
        valid = False
    if not valid:
        raise HandshakeRefused(400, "Sec-WebSocket-Key must be the base64 of 16 bytes.")
    return key


def _offered(head: RequestHead, protocol: _Protocol) -> tuple[str, ...]:
    offered = tuple(head.all("sec-websocket-protocol"))
    if not all(map(_TOKEN.fullmatch, offered)):
        raise HandshakeRefused(400, "Sec-WebSocket-Protocol must be a list of tokens.")
    if protocol == "mqtt" and _MQTT not in offered:
        if _MQTT_31 in offered:
            raise HandshakeRefused(400, "MQTT 3.1 is not spoken here, but 3.1.1 and 5.0: offer the subprotocol mqtt.")
        raise HandshakeRefused(400, "MQTT clients must offer the subprotocol mqtt.")
    if protocol != "mqtt" and offered and all(name in (_MQTT, _MQTT_31) for name in offered):
        # It forgot its endpoint. As a simple client it would be let in, and wait for an answer to its CONNECT.
        raise HandshakeRefused(400, f"This is the endpoint of other clients; {_MQTT_PLACE}")
    return offered


def sent_token(in_query: str | None, header: str | None) -> str | None:
    """The access token of a request, None if there is none. The query wins over the header (the emulator's order)."""
    if in_query:
        return in_query
    if header is not None and header[: len(_PREFIX)].lower() == _PREFIX.lower():
        return header[len(_PREFIX) :].strip() or None
    return None
