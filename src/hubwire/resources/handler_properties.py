"""
Event handlers and event listeners of a hub, checked as they are saved. Pure.

Whether an address answers is no matter of saving: that is looked at before something is delivered.

Source: Microsoft.SignalRService/webPubSub/hubs, 2024-03-01 and the previews after it; the service's page on event
handlers (URL templates, patterns).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from hubwire.model.errors import BadRequest
from hubwire.model.names import is_event_name
from hubwire.model.patterns import parse_pattern
from hubwire.model.secret_references import find_references
from hubwire.resources.shapes import Check, as_list, as_object, choice, choices, free, text

__all__ = ["event_handlers", "event_listeners", "unknown_names"]

_MOST_LISTENERS: Final = 10
_MOST_HANDLERS: Final = 100

_PLACE: Final = re.compile(r"\{([^{}]*)\}")
_SECRET: Final = "@"  # noqa: S105  stands in the braces of a reference once that is looked at
_KNOWN_PLACES: Final = ("hub", "event", _SECRET)
_URL: Final = re.compile(r"(https?|tunnel)://([^/?#]*)([^#]*)", re.IGNORECASE)
_BLANK: Final = re.compile(r"[\s\x00-\x1f\x7f]")
_WILDCARD: Final = re.compile(r"\*+|\?")
_AUTHORITY: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")


def event_handlers(name: str, value: object) -> list[Any]:
    """
    `eventHandlers` of a hub, in their order.

    Raises:
        BadRequest: `target` names the property.
    """
    return as_list(name, value, _handler, _MOST_HANDLERS)


def event_listeners(name: str, value: object) -> list[Any]:
    """`eventListeners` of a hub. Raises BadRequest."""
    return as_list(name, value, _listener, _MOST_LISTENERS)


def unknown_names(properties: Mapping[str, Any]) -> list[str]:
    """Of complete properties of a hub, what its handlers and listeners have that the definition does not."""
    return [
        unknown
        for name, known in (("eventHandlers", _HANDLER), ("eventListeners", _LISTENER))
        for position, item in enumerate(properties[name])
        for unknown in _unknown(f"{name}[{position}]", item, known)
    ]


def _unknown(name: str, value: Mapping[str, Any], known: Mapping[str, Check]) -> Iterator[str]:
    for key, item in value.items():
        if key not in known:
            yield f"{name}.{key}"
        elif key in _INSIDE:
            yield from _unknown(f"{name}.{key}", item, _INSIDE[key])


def _handler(name: str, value: object) -> dict[str, Any]:
    handler = as_object(name, value, _HANDLER)
    if "urlTemplate" not in handler:
        raise BadRequest(f"{name}.urlTemplate is required.", target=f"{name}.urlTemplate")
    return handler


def _listener(name: str, value: object) -> dict[str, Any]:
    listener = as_object(name, value, _LISTENER)
    for needed in ("filter", "endpoint"):
        if needed not in listener:
            raise BadRequest(f"{name}.{needed} is required.", target=f"{name}.{needed}")
    return listener


def _url_template(name: str, value: object) -> str:
    template = shortened = text(name, value)
    for found in reversed(find_references(template, name)):
        shortened = f"{shortened[: found.start]}{{{_SECRET}}}{shortened[found.end :]}"
    rest = _PLACE.sub("", shortened)
    if "{" in rest or "}" in rest:
        raise BadRequest(f"{name} has a brace that belongs to no placeholder; write %7B and %7D.", target=name)
    for place in _PLACE.findall(shortened):
        if place.lower() not in _KNOWN_PLACES:
            raise BadRequest(f"{name} may have the placeholders {{hub}}, {{event}} and Key Vault references.", name)
    if shortened == f"{{{_SECRET}}}":
        return template  # a secret that is a whole URL
    url = _URL.fullmatch(shortened)
    if url is None:
        raise BadRequest(f"{name} must be a URL with http, https or tunnel.", target=name)
    if "{" in url[2]:
        raise BadRequest(f"{name} may have no placeholder in its host.", target=name)
    if url[1].lower() == "tunnel":
        if url[2]:
            raise BadRequest(f"{name} of a tunnel has no host: tunnel:///path.", target=name)
    elif (authority := _AUTHORITY.fullmatch(url[2])) is None:
        raise BadRequest(f"{name} must name a host.", target=name)
    elif authority[1] and not 1 <= int(authority[1]) <= 65535:
        raise BadRequest(f"{name} must have a port of 1 to 65535.", target=name)
    if _BLANK.search(shortened):
        raise BadRequest(f"{name} has a blank; write %20.", target=name)
    return template


def _user_event_names(name: str, value: object) -> str:
    """What listeners take: names alone."""
    return _list_of_events(name, value, lambda part: part == "*" or is_event_name(part))


def _user_event_pattern(name: str, value: object) -> str:
    """What handlers take: names may have the wildcards of roles, as in `room.*`."""
    return _list_of_events(name, value, _is_event_pattern)


def _list_of_events(name: str, value: object, is_one: Callable[[str], bool]) -> str:
    wanted = f"{name} must be *, a name of an event, or several with commas between them."
    if not isinstance(value, str):
        raise BadRequest(wanted, target=name)
    if value.strip() and not all(is_one(part.strip()) for part in value.split(",")):
        raise BadRequest(wanted, target=name)
    return value


def _is_event_pattern(text: str) -> bool:
    if parse_pattern(text) is None:
        return False
    # Any letter in place of the wildcards: what is left must be able to be a name.
    return is_event_name(_WILDCARD.sub("x", text))


def _audience(name: str, value: object) -> str:
    audience = text(name, value)
    if not audience.isprintable() or " " in audience:
        raise BadRequest(f"{name} must be an App ID URI or a client id, without blanks.", target=name)
    return audience


def _managed_identity(name: str, value: object) -> dict[str, Any]:
    return as_object(name, value, _IDENTITY)


def _auth(name: str, value: object) -> dict[str, Any]:
    auth = as_object(name, value, _AUTH)
    if auth.get("type") == "ManagedIdentity" and "resource" not in auth.get("managedIdentity", {}):
        # The service would ask for a token for Microsoft Graph, which no handler can prove.
        at = f"{name}.managedIdentity.resource"
        raise BadRequest(f"{at} is required: the App ID URI or the client id that the token is for.", target=at)
    return auth


def _filter(name: str, value: object) -> dict[str, Any]:
    return _typed(name, as_object(name, value, _FILTER))


def _endpoint(name: str, value: object) -> dict[str, Any]:
    endpoint = _typed(name, as_object(name, value, _ENDPOINT))
    for needed in ("fullyQualifiedNamespace", "eventHubName"):
        if needed not in endpoint:
            raise BadRequest(f"{name}.{needed} is required.", target=f"{name}.{needed}")
    return endpoint


def _typed(name: str, value: dict[str, Any]) -> dict[str, Any]:
    if "type" not in value:
        raise BadRequest(f"{name}.type is required.", target=f"{name}.type")
    return value


def _presence(name: str, value: object) -> dict[str, Any]:
    return as_object(name, value, _PRESENCE)


_HANDLER: Final[Mapping[str, Check]] = {
    "urlTemplate": _url_template,
    "userEventPattern": _user_event_pattern,
    "systemEvents": choices("connect", "connected", "disconnected"),
    "auth": _auth,
    "groupPresenceEvents": _presence,
}
_IDENTITY: Final[Mapping[str, Check]] = {"resource": _audience}
_AUTH: Final[Mapping[str, Check]] = {"type": choice("None", "ManagedIdentity"), "managedIdentity": _managed_identity}
_PRESENCE: Final[Mapping[str, Check]] = {
    "eventNames": choices("joined", "left"),
    "groupFilters": lambda name, items: as_list(name, items, text),
}
_LISTENER: Final[Mapping[str, Check]] = {"filter": _filter, "endpoint": _endpoint, "name": free}
_FILTER: Final[Mapping[str, Check]] = {
    "type": choice("EventName"),
    "systemEvents": choices("connected", "disconnected"),
    "userEventPattern": _user_event_names,
}
_ENDPOINT: Final[Mapping[str, Check]] = {
    "type": choice("EventHub"),
    "fullyQualifiedNamespace": text,
    "eventHubName": text,
}
_INSIDE: Final[Mapping[str, Mapping[str, Check]]] = {
    "auth": _AUTH,
    "managedIdentity": _IDENTITY,
    "groupPresenceEvents": _PRESENCE,
    "filter": _FILTER,
    "endpoint": _ENDPOINT,
}
"""What is known of the properties that are objects."""
