"""
Events as JSON schemas: the bodies of what handlers are told, and the headers that say so.

Sources: the service's CloudEvents references, of WebSocket and of MQTT clients; what the official handlers for Express
and ASP.NET need.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["BODIES", "HEADERS", "MQTT_BODIES", "MQTT_HEADERS", "USER_EVENT_TYPES"]

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

_BYTE: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 255}
_USER_PROPERTIES: Final[Schema] = {
    "type": ["array", "null"],
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["name", "value"],
        "additionalProperties": False,
        "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
    },
}
# Handlers for ASP.NET skip what they do not know only where it is no object, so there must be none but these.
_MQTT_CONNECT: Final[Schema] = {
    **_CONNECT,
    "required": [*_CONNECT["required"], "mqtt"],
    "properties": {
        **_CONNECT["properties"],
        "subprotocols": {"const": ["mqtt"]},
        "clientCertificates": {"type": "array", "items": _CERTIFICATE, "maxItems": 1},
        "mqtt": {
            "type": "object",
            "required": ["protocolVersion", "cleanStart", "username", "password", "userProperties"],
            "additionalProperties": False,
            "properties": {
                "protocolVersion": {"enum": [4, 5]},
                "cleanStart": {"type": "boolean"},
                "username": {"type": ["string", "null"]},
                "password": {"type": ["string", "null"], "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2,3}={1,2})?$"},
                "userProperties": _USER_PROPERTIES,
            },
        },
    },
}
_MQTT_DISCONNECTED: Final[Schema] = {
    **_DISCONNECTED,
    "required": ["reason", "mqtt"],
    "properties": {
        **_DISCONNECTED["properties"],
        "mqtt": {
            "type": "object",
            "required": ["initiatedByClient", "disconnectPacket"],
            "additionalProperties": False,
            "properties": {
                "initiatedByClient": {"type": "boolean"},
                "disconnectPacket": {
                    "type": ["object", "null"],
                    "required": ["code", "userProperties"],
                    "additionalProperties": False,
                    "properties": {"code": _BYTE, "userProperties": _USER_PROPERTIES},
                },
            },
        },
    },
}

BODIES: Final[Mapping[str, Schema]] = {
    "azure.webpubsub.sys.connect": _CONNECT,
    "azure.webpubsub.sys.connected": _CONNECTED,
    "azure.webpubsub.sys.disconnected": _DISCONNECTED,
    "azure.webpubsub.gp.joined": _GROUP,
    "azure.webpubsub.gp.left": _GROUP,
}
"""By the type of the event; the body of a user event is the client's."""

MQTT_BODIES: Final[Mapping[str, Schema]] = {
    **BODIES,
    "azure.webpubsub.sys.connect": _MQTT_CONNECT,
    "azure.webpubsub.sys.disconnected": _MQTT_DISCONNECTED,
}
"""The same of MQTT clients."""

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
        "ce-physicalconnectionid": False,
        "ce-sessionid": False,
        "x-ms-client-request-id": {"pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"},
        "traceparent": {"pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"},
    },
    "additionalProperties": {"type": "string"},
}
"""By their names in lower case."""

MQTT_HEADERS: Final[Schema] = {
    **HEADERS,
    "required": [*HEADERS["required"], "ce-physicalconnectionid", "ce-subprotocol"],
    "properties": {
        **HEADERS["properties"],
        "ce-source": {"pattern": "^/hubs/[^/\\s]+/client/[^/\\s]+/[^/\\s]+$"},
        "ce-connectionid": {"pattern": "^[!#-~]+$"},
        "ce-subprotocol": {"const": "mqtt"},
        "ce-physicalconnectionid": {"pattern": "^[!#-~]+$"},
        "ce-sessionid": {"pattern": "^[!#-~]+$"},
    },
    "patternProperties": {"^mqtt-[-!#$%&'*+.^_`|~0-9a-z]+$": {"pattern": "^[!#-~]*$"}},
}
"""The same of MQTT clients. On all events but `connect` there is a session's id as well."""
