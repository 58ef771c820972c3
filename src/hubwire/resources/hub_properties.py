"""
The `properties` of a hub resource as they arrive: checked, completed, merged. Pure.

Source: Microsoft.SignalRService/webPubSub/hubs, stable api-version 2024-03-01; `communicationIdentity` and
`reliableRetentionInSeconds` are our own.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hubwire.model.communication import SCOPES, is_communication_name
from hubwire.model.errors import BadRequest
from hubwire.model.hubs import CommunicationLogin, HubSettings, default_settings
from hubwire.resources import handler_properties
from hubwire.resources.handler_properties import event_handlers, event_listeners
from hubwire.resources.shapes import Check, as_list, as_object, choice, choices, free, number, spelled, text

__all__ = ["completed", "merged", "settings_of", "unknown_names"]


def completed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """
    All properties of a hub: the defaults, and over them what is given, in the spelling of the definition.

    Names of properties compare without case. A null is a property that is not given. What we do not know is kept as
    it is.

    Raises:
        BadRequest: a property that cannot be; `target` is its name.
    """
    result = {name: value for name, value in _as_json(default_settings()).items() if value is not None}
    for name, value in spelled(properties, _CHECKS).items():
        check = _CHECKS.get(name, free)
        if value is not None or check is free:
            result[name] = check(name, value)
    return result


def unknown_names(properties: Mapping[str, Any]) -> list[str]:
    """Of complete properties, those that the definition does not have: they may be misspelled."""
    found = [name for name in properties if name not in _CHECKS]
    login = [f"{_LOGIN}.{name}" for name in properties.get(_LOGIN, ()) if name not in _LOGIN_CHECKS]
    return [f"properties.{name}" for name in (*found, *login, *handler_properties.unknown_names(properties))]


def merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """
    Complete properties `old` with those of `patch` in place of their own.

    A null takes a property back to its default, and one that we do not know away.

    Raises:
        BadRequest: as for `completed`.
    """
    both = {**old, **spelled(patch, _CHECKS)}
    return completed({name: value for name, value in both.items() if value is not None})


def settings_of(properties: Mapping[str, Any]) -> HubSettings:
    """What complete properties mean."""
    return msgspec.convert(properties, HubSettings)


def _as_json(settings: HubSettings | CommunicationLogin) -> dict[str, Any]:
    """As it would arrive."""
    return dict(msgspec.json.decode(msgspec.json.encode(settings)))


def _login(name: str, value: object) -> dict[str, Any]:
    return {**_as_json(CommunicationLogin()), **as_object(name, value, _LOGIN_CHECKS)}


def _service(name: str, value: object) -> str:
    service = text(name, value)
    if not is_communication_name(service):
        raise BadRequest(f"{name} must be the name of a communication service.", target=name)
    return service


def _scopes(name: str, value: object) -> list[str]:
    scopes: list[str] = choices(*SCOPES)(name, value)
    if not scopes:
        raise BadRequest(f"{name} must have at least one scope.", target=name)
    return scopes


_LOGIN: Final = "communicationIdentity"
_LOGIN_CHECKS: Final[Mapping[str, Check]] = {
    "service": _service,
    "scopes": _scopes,
    "roles": lambda name, value: as_list(name, value, text),
}
_CHECKS: Final[Mapping[str, Check]] = {
    "anonymousConnectPolicy": choice("allow", "deny"),
    "webSocketKeepAliveIntervalInSeconds": number(1, 120),
    "eventHandlers": event_handlers,
    "eventListeners": event_listeners,
    _LOGIN: _login,
    "reliableRetentionInSeconds": number(1, 604_800),
}
