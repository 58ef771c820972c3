"""
What of a resource's settings does not act here, in words for whoever sets it. Pure.

Everything that is not known to act is kept and shown; this says so instead of letting somebody wait for an effect.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hubwire.model.secret_references import find_references
from hubwire.resources import hub_properties
from hubwire.resources.documents import StoredHub, StoredResource
from hubwire.resources.resource_properties import unknown_names

__all__ = ["ignored", "ignored_of_hub"]

_NO_EFFECT: Final = {
    "liveTraceConfiguration": "liveTraceConfiguration is kept and does nothing here",
    "resourceLogConfiguration": "resourceLogConfiguration is kept and does nothing here; see the settings of the log",
    "applicationFirewall": "applicationFirewall is kept and does nothing here",
    "socketIO": "socketIO is kept and does nothing here",
}

_MOST_NAMES: Final = 10
"""That are said to be unknown, so that a long list of handlers does not make an endless one of warnings."""

_ENVELOPE: Final = frozenset(
    {
        "id",
        "name",
        "type",
        "apiversion",
        "location",
        "tags",
        "sku",
        "kind",
        "identity",
        "properties",
        "systemdata",
        "etag",
        "plan",
        "extendedlocation",
        "managedby",
    }
)
"""What a resource may have beside its properties, in lower case; not all of it is ours to heed."""


def ignored(
    resource: StoredResource,
    body: Mapping[str, Any],
    before: StoredResource | None = None,
    hubs: Sequence[StoredHub] = (),
) -> list[str]:
    """
    Warnings about a resource.

    Args:
        body: that was given for it.
        before: as it was, if it was there.
        hubs: that it has.
    """
    found = [text for name, text in _NO_EFFECT.items() if resource.properties.get(name)]
    if resource.properties["regionEndpointEnabled"] == "Disabled":
        found.append("regionEndpointEnabled is kept and does nothing here")
    if resource.kind == "SocketIO":
        found.append("Socket.IO clients are not served here")
    asked = before is not None and bool(before.properties["tls"]["clientCertEnabled"])
    if resource.sku["name"] == "Free_F1" and (asked or _wants_certificates(body)):
        found.append("tls.clientCertEnabled is ignored on Free_F1")
    found += _without_identity(resource, hubs)
    found += [f"{name} is not known here: it is kept and does nothing" for name in unknown_names(resource.properties)]
    return found + [f"{name} is not known here, and is left out" for name in body if name.lower() not in _ENVELOPE]


def ignored_of_hub(hub: StoredHub, resource: StoredResource | None = None) -> list[str]:
    """
    Warnings about a hub.

    Args:
        resource: that it is of; None where that is not known.
    """
    found = [] if resource is None else _without_identity(resource, [hub])
    if hub.properties.get("eventListeners"):
        found.append("eventListeners are kept and get no events from this version")
    unknown = hub_properties.unknown_names(hub.properties)
    found += [f"{name} is not known here: it is kept and does nothing" for name in unknown[:_MOST_NAMES]]
    if len(unknown) > _MOST_NAMES:
        found.append(f"{len(unknown) - _MOST_NAMES} more are not known here: they are kept and do nothing")
    return found


def _without_identity(resource: StoredResource, hubs: Sequence[StoredHub]) -> list[str]:
    """Of hubs whose handlers need the identity that their resource does not have."""
    if resource.identity.kind != "None":
        return []
    handlers = [(hub.name, handler) for hub in hubs for handler in hub.properties.get("eventHandlers") or ()]
    wanting = {"a token": _wants_token, "a Key Vault reference": _has_reference}
    needs = [need for need, wants in wanting.items() if any(wants(handler) for _, handler in handlers)]
    if not needs:
        return []
    names = list(dict.fromkeys(name for name, one in handlers if any(wants(one) for wants in wanting.values())))
    shown = names if len(names) <= _MOST_NAMES else [*names[:_MOST_NAMES], f"{len(names) - _MOST_NAMES} more"]
    return [
        f"eventHandlers with {' or '.join(needs)} get no events, in {', '.join(shown)}: the resource {resource.name} "
        f"has no identity, which `hubwire resource set {resource.name} --identity system` gives it"
    ]


def _wants_token(handler: Mapping[str, Any]) -> bool:
    return bool(handler.get("auth", {}).get("type") == "ManagedIdentity")


def _has_reference(handler: Mapping[str, Any]) -> bool:
    return bool(find_references(handler["urlTemplate"]))


def _wants_certificates(body: Mapping[str, Any]) -> bool:
    properties = {name.lower(): value for name, value in (body.get("properties") or {}).items()}
    tls = properties.get("tls")
    return isinstance(tls, dict) and any(name.lower() == "clientcertenabled" and value for name, value in tls.items())
