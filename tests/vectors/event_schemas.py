"""
Events as JSON schemas: the bodies of what handlers are told, and the headers that say so.

Sources: the service's CloudEvents reference; what the official handlers for Express and ASP.NET need.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["BODIES", "HEADERS", "USER_EVENT_TYPES"]

Schema = Mapping[str, Any]

_TEXTS: Final[Schema] = {"type": "array", "items": {"type": "string"}}
_TEXTS_BY_NAME: Final[Schema] = {"type": "object", "additionalProperties": _TEXTS}
_CERTIFICATE: Final[Schema] = {
    "type": "object",
    "required": ["thumbprint", "content"],
    "additionalProperties": False,
    "properties": {
        "thumbprint": {"type": "string", "pattern": "^([0-9a-f]{40}|[0-9A-F]{40})$"},
        "content": {
            "type": "string",
            "pattern": "^-----BEGIN CERTIFICATE-----\r\n([A-Za-z0-9+/=]{1,64}\r\n)+-----END CERTIFICATE-----$",
        },
    },
}
_CONNECT: Final[Schema] = {
    "type": "object",
    "required": ["claims", "query", "headers", "subprotocols", "clientCertificates"],
    "additionalProperties": False,
    "properties": {
        "claims": _TEXTS_BY_NAME,
        "query": {**_TEXTS_BY_NAME, "propertyNames": {"not": {"const": "access_token"}}},
        "headers": {**_TEXTS_BY_NAME, "propertyNames": {"not": {"pattern": "^[Aa][Uu][Tt][Hh][Oo][Rr][Ii][Zz]"}}},
        "subprotocols": _TEXTS,
        "clientCertificates": {"type": ["array", "null"], "items": _CERTIFICATE, "maxItems": 1},
    },
}
_CONNECTED: Final[Schema] = {"type": "object", "maxProperties": 0}
_DISCONNECTED: Final[Schema] = {
    "type": "object",
    "required": ["reason"],
    "additionalProperties": False,
    "properties": {"reason": {"type": ["string", "null"]}},
}
_GROUP: Final[Schema] = {
    "type": "object",
    "required": ["group"],
    "additionalProperties": False,
    "properties": {"group": {"type": "string", "minLength": 1, "maxLength": 1024}},
}

BODIES: Final[Mapping[str, Schema]] = {
    "azure.webpubsub.sys.connect": _CONNECT,
    "azure.webpubsub.sys.connected": _CONNECTED,
    "azure.webpubsub.sys.disconnected": _DISCONNECTED,
    "azure.webpubsub.gp.joined": _GROUP,
    "azure.webpubsub.gp.left": _GROUP,
}
"""By the type of the event; the body of a user event is the client's."""

USER_EVENT_TYPES: Final = frozenset(
    {"text/plain", "application/json", "application/octet-stream", "application/x-protobuf"}
)
"""Media types of user events; all others are JSON."""

_DIGEST: Final = "sha256=[0-9a-f]{64}"

HEADERS: Final[Schema] = {
    "type": "object",
    "required": [
        "webhook-request-origin",
        "content-type",
        "ce-specversion",
        "ce-awpsversion",
        "ce-type",
        "ce-source",
        "ce-id",
        "ce-time",
        "ce-signature",
        "ce-connectionid",
        "ce-hub",
        "ce-eventname",
        "x-ms-client-request-id",
        "traceparent",
    ],
    "properties": {
        "webhook-request-origin": {"pattern": "^[^\\s,:]+$|^\\[[0-9a-f:.]+\\]$"},
        "ce-specversion": {"const": "1.0"},
        "ce-awpsversion": {"const": "1.0"},
        "ce-type": {
            "pattern": "^azure\\.webpubsub\\.(sys\\.(connect|connected|disconnected)|user\\..+|gp\\.(joined|left))$"
        },
        "ce-source": {"pattern": "^/hubs/[^/\\s]+/client/[^/\\s]+$"},
        "ce-id": {"pattern": "^(0|[1-9][0-9]*)$"},
        "ce-time": {"pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"},
        "ce-signature": {"pattern": f"^{_DIGEST}(,{_DIGEST})*$"},
        "ce-connectionid": {"minLength": 1},
        "ce-hub": {"pattern": "^[^A-Z]+$"},
        "ce-eventname": {"minLength": 1},
        "ce-userid": {"minLength": 1},
        "ce-subprotocol": {"minLength": 1},
        "x-ms-client-request-id": {"pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"},
        "traceparent": {"pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"},
    },
    "additionalProperties": {"type": "string"},
}
"""By their names in lower case."""
