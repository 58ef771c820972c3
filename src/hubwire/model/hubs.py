"""
The settings of a hub, in the shape of the hub resource of Azure Resource Manager, and the keys of its resource.
"""

from typing import Any, Final, Literal

from msgspec import Struct

__all__ = [
    "DEFAULT_RESOURCE",
    "AccessKeys",
    "CommunicationLogin",
    "HubSettings",
    "KeyKind",
    "connection_string",
    "default_settings",
]

DEFAULT_RESOURCE: Final = "default"
"""Name of the one resource that is there from the first start and answers for every host."""

KeyKind = Literal["primary", "secondary", "salt"]
"""Which key is to be replaced. The salt is what the service calls the secret under which it issues tokens itself."""


class AccessKeys(Struct, frozen=True):
    """
    The two keys of a resource, either of which proves a caller; the primary one signs what the server issues.

    Each is text of at least 32 bytes without `;`; its UTF-8 bytes are the HMAC key (never base64-decoded).

    Attributes:
        salt: nobody is told. It seals tokens that the server issues, so that they stay good where access keys are not,
            and can be taken back for themselves. Empty where none was made yet.
    """

    primary: str
    secondary: str
    salt: str = ""

    def __repr__(self) -> str:
        return "AccessKeys(…)"


def connection_string(endpoint: str, key: str) -> str:
    """What an SDK is given: where the resource is, and a key of it. A secret."""
    return f"Endpoint={endpoint};AccessKey={key};Version=1.0;"


class CommunicationLogin(Struct, frozen=True):
    """
    Which users of a communication service may open connections with the tokens that they have there.

    Attributes:
        service: its name.
        scopes: that a token needs, all of them.
        roles: that each of these connections has.
    """

    service: str = "default"
    scopes: tuple[str, ...] = ("chat",)
    roles: tuple[str, ...] = ()


class HubSettings(Struct, frozen=True, rename="camel", omit_defaults=False):
    """
    `properties` of a hub resource. A hub without a resource of its own has the defaults.

    Attributes:
        anonymous_connect_policy: may clients connect without a token.
        web_socket_keep_alive_interval_in_seconds: 1 to 120 whole seconds between pings to a silent client.
        event_handlers, event_listeners: checked, and kept in their wire shape.
        communication_identity: None unless communication users may connect; of this server alone.
        reliable_retention_in_seconds: how long reliable clients may be away, also where the server ends meanwhile; None
            for what holds for all hubs, and no longer than the process lives. Of this server alone.

    Source: Microsoft.SignalRService/webPubSub/hubs, stable api-version 2024-03-01.
    """

    anonymous_connect_policy: Literal["allow", "deny"] = "deny"
    web_socket_keep_alive_interval_in_seconds: int = 20
    event_handlers: tuple[dict[str, Any], ...] = ()
    event_listeners: tuple[dict[str, Any], ...] = ()
    communication_identity: CommunicationLogin | None = None
    reliable_retention_in_seconds: int | None = None


_DEFAULTS: Final = HubSettings()


def default_settings() -> HubSettings:
    """What holds for a hub that nobody configured."""
    return _DEFAULTS
