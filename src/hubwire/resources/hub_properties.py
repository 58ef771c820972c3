"""
The `properties` of a hub resource as they arrive: checked, completed, merged. Pure.

Source: Microsoft.SignalRService/webPubSub/hubs, stable api-version 2024-03-01.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from hubwire.model.errors import BadRequest
from hubwire.model.hubs import HubSettings, default_settings

__all__ = ["completed", "merged", "settings_of"]

_KEEP_ALIVE_S: Final = range(1, 121)
_MAX_DEPTH: Final = 32
"""Of arrays and objects in one another. What we do not know is kept, but not at any price."""


def completed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """
    All properties of a hub: the defaults, and over them what is given, in the spelling of the definition.

    Names of properties compare without case, as in all of Azure Resource Manager: one in another case would otherwise
    be kept like an unknown one, and not do what it says. A null is a property that is not given. What we do not know
    is kept as it is.

    Raises:
        BadRequest: a property that cannot be; `target` is its name.
    """
    result: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(default_settings()))
    for name, value in _spelled(properties).items():
        check = _CHECKS.get(name, _unknown)
        if value is not None or check is _unknown:
            result[name] = check(name, value)
    return result


def merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """
    Complete properties `old` with those of `patch` in place of their own.

    A null takes a property back to its default, and one that we do not know away.

    Raises:
        BadRequest: as for `completed`.
    """
    both = {**old, **_spelled(patch)}
    return completed({name: value for name, value in both.items() if value is not None})


def settings_of(properties: Mapping[str, Any]) -> HubSettings:
    """What complete properties mean."""
    return msgspec.convert(properties, HubSettings)


def _spelled(properties: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for typed, value in properties.items():
        name = _SPELLING.get(typed.lower(), typed)
        if name in result:
            raise BadRequest(f"{name} is given twice.", target=name)
        result[name] = value
    return result


def _policy(name: str, value: object) -> str:
    if not isinstance(value, str) or value.lower() not in ("allow", "deny"):
        raise BadRequest(f"{name} must be allow or deny.", target=name)
    return value.lower()


def _keep_alive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in _KEEP_ALIVE_S:
        raise BadRequest(f"{name} must be an integer from 1 to 120.", target=name)
    return value


def _no_handlers(name: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise BadRequest(f"{name} must be an array.", target=name)
    if value:
        raise BadRequest(f"{name} must be empty: event handlers are not available in this version.", target=name)
    return []


def _unknown(name: str, value: object) -> object:
    """A copy of the value, so that nobody changes what we keep."""
    if not _is_shallow(value, _MAX_DEPTH):
        raise BadRequest(f"{name} is nested more than {_MAX_DEPTH} levels deep.", target=name)
    return copy.deepcopy(value)


def _is_shallow(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)


_CHECKS: Final[Mapping[str, Callable[[str, object], object]]] = {
    "anonymousConnectPolicy": _policy,
    "webSocketKeepAliveIntervalInSeconds": _keep_alive,
    "eventHandlers": _no_handlers,
    "eventListeners": _no_handlers,
}
_SPELLING: Final = {name.lower(): name for name in _CHECKS}
