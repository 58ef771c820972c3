"""
The `properties` of a hub resource as they arrive: checked, completed, merged. Pure.

Source: Microsoft.SignalRService/webPubSub/hubs, stable api-version 2024-03-01.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hubwire.model.hubs import HubSettings, default_settings
from hubwire.resources import handler_properties
from hubwire.resources.handler_properties import event_handlers, event_listeners
from hubwire.resources.shapes import Check, choice, free, number, spelled

__all__ = ["completed", "merged", "settings_of", "unknown_names"]


def completed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """
    All properties of a hub: the defaults, and over them what is given, in the spelling of the definition.

    Names of properties compare without case. A null is a property that is not given. What we do not know is kept as
    it is.

    Raises:
        BadRequest: a property that cannot be; `target` is its name.
    """
    result: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(default_settings()))
    for name, value in spelled(properties, _CHECKS).items():
        check = _CHECKS.get(name, free)
        if value is not None or check is free:
            result[name] = check(name, value)
    return result


def unknown_names(properties: Mapping[str, Any]) -> list[str]:
    """Of complete properties, those that the definition does not have: they may be misspelled."""
    found = [name for name in properties if name not in _CHECKS]
    return [f"properties.{name}" for name in (*found, *handler_properties.unknown_names(properties))]


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


_CHECKS: Final[Mapping[str, Check]] = {
    "anonymousConnectPolicy": choice("allow", "deny"),
    "webSocketKeepAliveIntervalInSeconds": number(1, 120),
    "eventHandlers": event_handlers,
    "eventListeners": event_listeners,
}
