"""
Events to HTTP requests, and responses to what they mean. Pure: numbers, times and random text come in.

One event is one POST in the binary mode of CloudEvents. Headers have the spelling of the service's documents.

Sources: the service's CloudEvents reference; CloudEvents 1.0 (HTTP binding); the service's own emulator for what the
documents leave out (`ce-awpsversion`, numbering, response types, metadata headers).
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct

from hubwire.model.hubs import AccessKeys
from hubwire.model.messages import NO_METADATA, Data, DataKind, FromServer
from hubwire.model.names import is_group_name, is_user_id, metadata_fault
from hubwire.model.payloads import is_json, is_text
from hubwire.model.webhooks import IncomingResponse
from hubwire.upstream.sources import EventSource

__all__ = [
    "CONTENT_TYPES",
    "JSON",
    "BadResponse",
    "ClientCertificate",
    "ConnectVerdict",
    "EventKind",
    "NotOfferedResponse",
    "attribute",
    "breaks_header",
    "connect_body",
    "disconnected_body",
    "event_headers",
    "json_object",
    "presence_body",
    "read_answer",
    "read_state",
    "read_verdict",
    "sign",
    "verdict_of",
]

EventKind = Literal["sys", "user", "gp"]

JSON: Final = "application/json; charset=utf-8"
CONTENT_TYPES: Final[Mapping[DataKind, str]] = {
    "text": "text/plain; charset=utf-8",
    "json": "application/json",
    "binary": "application/octet-stream",
    "protobuf": "application/x-protobuf",
}
_KINDS: Final[Mapping[str, DataKind]] = {kind.partition(";")[0]: name for name, kind in CONTENT_TYPES.items()}
_METADATA: Final = "x-webpubsub-metadata-"
_PRINTABLE: Final = "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
"""What CloudEvents leaves as it is in a header besides letters and digits: printable ASCII without blank, `"`, `%`."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9" + re.escape(_PRINTABLE) + "]*")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_BREAKS: Final = re.compile(r"[\r\n\0]")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class BadResponse(Exception):  # noqa: N818
    """A response that means nothing. The text is for the operator."""


class NotOfferedResponse(BadResponse):
    """It names a subprotocol that its client cannot speak."""


class ClientCertificate(Struct, frozen=True):
    """
    Attributes:
        thumbprint: SHA-1 over the DER, hexadecimal, without separators.
        content: PEM, its lines ending with CR LF.
    """

    thumbprint: str
    content: str

    @classmethod
    def of(cls, der: bytes, *, upper: bool) -> "ClientCertificate":
        """
        Args:
            upper: letter case of the thumbprint.
        """
        thumbprint = hashlib.sha1(der, usedforsecurity=False).hexdigest()
        text = base64.b64encode(der).decode()
        lines = [text[start : start + 64] for start in range(0, len(text), 64)]
        pem = "\r\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----"])
        return cls(thumbprint.upper() if upper else thumbprint, pem)


class ConnectVerdict(Struct, frozen=True):
    """
    What a handler says of a connection that it accepts. None leaves what the client's token says.

    Attributes:
        user_id: empty for nobody.
        groups: at least one, or None.
        subprotocol: that was offered.
        user_properties: for an MQTT 5.0 client.
    """

    user_id: str | None = None
    roles: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    subprotocol: str | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


def sign(connection_id: str, keys: AccessKeys) -> str:
    """Value of `ce-signature`: under either key, the primary one first, without a blank between them."""
    message = connection_id.encode()
    digests = [hmac.new(key.encode(), message, "sha256").hexdigest() for key in (keys.primary, keys.secondary)]
    return ",".join([f"sha256={digest}" for digest in digests])


def event_headers(
    source: EventSource,
    kind: EventKind,
    name: str,
    event_id: int,
    content_type: str,
    *,
    now: float,
    signature: str,
    request_id: str,
    trace: str,
    metadata: Mapping[str, str] = NO_METADATA,
    more: Sequence[tuple[str, str]] = (),
) -> list[tuple[str, str]]:
    """
    All headers of an event but those of the transport, of cookies and of tokens.

    Args:
        now: seconds since 1970.
        request_id: the same at each attempt.
        trace: value of `traceparent`.
        more: that this event has besides, as they are sent.
    """
    hub = source.hub.hub
    physical_id, session_id = source.physical_id, source.session_id
    path = f"/hubs/{hub}/client/{source.connection_id}"
    headers = [
        ("WebHook-Request-Origin", source.origin),
        ("Content-Type", content_type),
        ("ce-specversion", "1.0"),
        ("ce-awpsversion", "1.0"),
        ("ce-type", attribute(f"azure.webpubsub.{kind}.{name}")),
        ("ce-source", attribute(path if physical_id is None else f"{path}/{physical_id}")),
        ("ce-id", str(event_id)),
        ("ce-time", _time(int(now))),
        ("ce-signature", signature),
        ("ce-connectionId", attribute(source.connection_id)),
        ("ce-hub", attribute(hub)),
        ("ce-eventName", attribute(name)),
    ]
    if source.user_id:
        # Raw UTF-8, as the service sends it; handlers compare it with what stands in their tokens.
        headers.append(("ce-userId", source.user_id))
    if source.subprotocol:
        headers.append(("ce-subprotocol", attribute(source.subprotocol)))
    if physical_id is not None:
        headers.append(("ce-physicalConnectionId", attribute(physical_id)))
        if session_id is not None and (kind, name) != ("sys", "connect"):
            headers.append(("ce-sessionId", attribute(session_id)))
    if source.state is not None:
        headers.append(("ce-connectionState", source.state))
    headers += [(f"X-WebPubSub-Metadata-{key.lower()}", value) for key, value in metadata.items()]
    headers += more
    headers += [("x-ms-client-request-id", request_id), ("traceparent", trace)]
    return headers


def attribute(value: str) -> str:
    """As CloudEvents writes an attribute into a header."""
    return value if _PLAIN.fullmatch(value) else quote(value, safe=_PRINTABLE)


def breaks_header(value: str) -> bool:
    """Would a value, put into a header, end it, and so begin one of its own."""
    return _BREAKS.search(value) is not None


def connect_body(
    claims: Mapping[str, Any],
    query: Sequence[tuple[str, str]],
    headers: Sequence[tuple[str, str]],
    subprotocols: Sequence[str],
    certificates: Sequence[ClientCertificate] | None,
    more: Mapping[str, Any] | None = None,
) -> bytes:
    """
    Body of a `connect` event.

    Args:
        headers: of the upgrade request, in their spelling, without those that are nobody's business.
        certificates: None where one was asked for and none was shown.
        more: what it says of a client of this kind besides.
    """
    return msgspec.json.encode(
        {
            **(more or {}),
            "claims": {name: _texts(value) for name, value in claims.items()},
            "query": _grouped(query),
            "headers": _grouped(headers, fold=True),
            "subprotocols": subprotocols,
            "clientCertificates": certificates,
        }
    )


def disconnected_body(reason: str | None) -> bytes:
    """Body of a `disconnected` event."""
    return msgspec.json.encode({"reason": reason})


def presence_body(group: str) -> bytes:
    """Body of an event of a group."""
    return msgspec.json.encode({"group": group})


def read_verdict(body: bytes, offered: Sequence[str]) -> ConnectVerdict:
    """
    What a successful answer to a `connect` event means.

    Args:
        offered: subprotocols of the client.

    Raises:
        BadResponse: it cannot mean anything.
    """
    return verdict_of(json_object(body), offered)


def verdict_of(fields: Mapping[str, Any], offered: Sequence[str]) -> ConnectVerdict:
    """
    The same of an answer that is read already.

    Args:
        fields: see `json_object`.
        offered: subprotocols of the client.

    Raises:
        BadResponse: it cannot mean anything.
    """
    user_id = _text(fields, "userId")
    if user_id and not is_user_id(user_id):
        raise BadResponse("userId in the answer to connect has a control character")
    roles, groups = _list(fields, "roles"), _list(fields, "groups")
    if groups is not None and not all(map(is_group_name, groups)):
        raise BadResponse("groups in the answer to connect has an invalid name")
    subprotocol = _text(fields, "subprotocol") or None
    if subprotocol is not None and subprotocol not in offered:
        raise NotOfferedResponse("subprotocol in the answer to connect is none that the client offered")
    return ConnectVerdict(user_id, roles, groups or None, subprotocol)


def read_answer(response: IncomingResponse) -> FromServer | None:
    """
    The message in a successful answer to a user event; None if there is none.

    Raises:
        BadResponse: a content type that cannot be passed on, or metadata that cannot be.
    """
    metadata: dict[str, str] = {}
    for name, value in response.headers:
        lower = name.lower()
        if lower.startswith(_METADATA) and lower != _METADATA:
            key = lower.removeprefix(_METADATA)
            metadata[key] = value.rpartition(",")[2].strip()  # the last one wins, also where a proxy has joined them
    fault = metadata_fault(metadata)
    if fault is not None:
        raise BadResponse(f"the answer's {fault}")
    if not response.body:
        return FromServer(Data("text", b""), metadata) if metadata else None
    media = (response.last("content-type") or "application/octet-stream").partition(";")[0].strip().lower()
    kind = _KINDS.get(media)
    if kind is None:
        known = ", ".join(_KINDS)
        raise BadResponse(f"the answer's Content-Type is none of {known}")
    body = response.body
    if kind == "text" and not is_text(body):
        raise BadResponse("the answer's text is not UTF-8")
    if kind == "json":
        body = body.removeprefix(_BYTE_ORDER_MARK)
        if not is_json(body):
            raise BadResponse("the answer's body is not JSON")
    return FromServer(Data(kind, body), metadata or NO_METADATA)


def read_state(response: IncomingResponse, most_bytes: int) -> str | None:
    """
    The connection's new state in a successful answer; None if it stays.

    Raises:
        BadResponse: too long, or bytes that cannot be sent back.
    """
    value = response.last("ce-connectionstate")
    if value is None:
        return None
    raw = value.encode("latin-1", "replace")
    if len(raw) > most_bytes:
        raise BadResponse(f"ce-connectionState has more than {most_bytes} bytes (connection_state_bytes)")
    if _CONTROLS.search(value):
        raise BadResponse("ce-connectionState has control characters, which cannot be sent back")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadResponse("ce-connectionState is not UTF-8") from None


@lru_cache(1)
def _time(now_s: int) -> str:
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _texts(value: object) -> list[str]:
    return [_plain(item) for item in value] if isinstance(value, list) else [_plain(value)]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _grouped(pairs: Sequence[tuple[str, str]], *, fold: bool = False) -> dict[str, list[str]]:
    """
    Args:
        fold: names compare without case, and the first spelling stays.
    """
    spelled: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        key = spelled.setdefault(name.lower(), name) if fold else name
        found.setdefault(key, []).append(value)
    return found


def json_object(body: bytes) -> dict[str, Any]:
    """
    An answer to `connect`, by the names of its properties in lower case: .NET and JavaScript spell them differently.
    Empty where the body is.

    Raises:
        BadResponse: it is no object.
    """
    text = body.removeprefix(_BYTE_ORDER_MARK).strip()
    if not text:
        return {}
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadResponse("the answer to connect is not JSON") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadResponse("the answer to connect is not a JSON object")
    return {name.lower(): item for name, item in value.items()}


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name.lower())
    if value is not None and not isinstance(value, str):
        raise BadResponse(f"{name} in the answer to connect is not a string")
    return value


def _list(fields: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = fields.get(name.lower())
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadResponse(f"{name} in the answer to connect is not an array of strings")
    return tuple(dict.fromkeys(value))
