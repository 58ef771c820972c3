"""
A webPubSub resource as it arrives in a PUT or a PATCH: checked, completed, merged. Pure.

Source: Microsoft.SignalRService/webPubSub, stable api-version 2024-03-01 and the previews up to 2025-01-01; the units
and quotas of the service's pricing tiers.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, Final

from hubwire.model.errors import BadRequest
from hubwire.resources.shapes import Check, as_list, as_object, boolean, choice, choices, free, patched, text

__all__ = [
    "ASSIGN_IDENTITY",
    "OLDEST_VERSION",
    "SKUS",
    "completed",
    "given_identities",
    "identity_of",
    "is_api_version",
    "is_group_name",
    "is_identity_id",
    "is_identity_name",
    "is_location",
    "is_resource_name",
    "kind_of",
    "merged",
    "quota_of",
    "region",
    "sku_of",
    "tags_of",
    "unknown_names",
]

ASSIGN_IDENTITY: Final = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
"""What giving an identity to a resource takes, at the identity."""

OLDEST_VERSION: Final = "2021-04-01"
"""Api-version of Microsoft.SignalRService/webPubSub; the properties of all later ones are taken."""

_VERSION: Final = re.compile(r"(20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01]))(-preview|-privatepreview)?")
_REQUESTS: Final = ("ClientConnection", "ServerConnection", "RESTAPI", "Trace")
_MOST_RULES: Final = 30
_TAG: Final = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,80}")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,61}[A-Za-z0-9]")
_GROUP: Final = re.compile(r"[\w().-]{0,89}[\w()-]")
_IDENTITY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}")
_LOCATION: Final = re.compile(r"[A-Za-z][A-Za-z0-9 ]{0,49}")
_IDENTITY: Final = re.compile(
    r"/subscriptions/[^/]+/resourcegroups/[^/]+/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+",
    re.IGNORECASE,
)
_ONE_IDENTITY: Final = "A resource has one identity: the system's, or one that is user-assigned, not both."
_ONES: Final = (*range(1, 11), *range(20, 101, 10))
_HUNDREDS: Final = tuple(range(100, 1001, 100))
_FREE_CONNECTIONS: Final = 20
_UNIT_CONNECTIONS: Final = 1000


class _Tier:
    def __init__(self, tier: str, capacities: tuple[int, ...]) -> None:
        self.tier = tier
        self.capacities = capacities


SKUS: Final[Mapping[str, _Tier]] = {
    "Free_F1": _Tier("Free", (1,)),
    "Standard_S1": _Tier("Standard", _ONES),
    "Premium_P1": _Tier("Premium", _ONES),
    "Premium_P2": _Tier("Premium", _HUNDREDS),
}


def is_api_version(text: str, kind: str) -> bool:
    """A date, perhaps of a preview; for a type of Microsoft.SignalRService one from 2021-04-01 on."""
    found = _VERSION.fullmatch(text.lower())
    return found is not None and (
        not kind.lower().startswith("microsoft.signalrservice/") or found[1] >= OLDEST_VERSION
    )


def is_resource_name(name: str) -> bool:
    """3 to 63 letters, digits and hyphens, a letter first and no hyphen last."""
    return _NAME.fullmatch(name) is not None


def is_group_name(name: str) -> bool:
    """Of a resource group: 1 to 90 letters, digits and characters of _-.(), no full stop last."""
    return _GROUP.fullmatch(name) is not None


def is_identity_name(name: str) -> bool:
    """Of a user-assigned identity: 3 to 128 letters, digits and characters of _-, a letter or digit first."""
    return _IDENTITY_NAME.fullmatch(name) is not None


def is_identity_id(text: str) -> bool:
    """Is this a resource id of a user-assigned identity."""
    return _IDENTITY.fullmatch(text) is not None


def is_location(text: object) -> bool:
    """Any name of a region; there is one place here whatever it says."""
    return isinstance(text, str) and _LOCATION.fullmatch(text) is not None


def region(location: object) -> str:
    """A region as it is shown: `East US` is `eastus`."""
    return str(location).replace(" ", "").lower()


def completed(properties: object) -> dict[str, Any]:
    """
    All properties of a resource: the defaults, and over them what is given, in the spelling of the definition. What
    only the service says is left out, and what is not known is kept as it is.

    Raises:
        BadRequest: a property that cannot be; `target` is its name.
    """
    given = as_object("properties", {} if properties is None else properties, _CHECKS)
    result: dict[str, Any] = {
        "tls": {"clientCertEnabled": False},
        "networkACLs": {
            "defaultAction": "Allow",
            "publicNetwork": {"allow": list(_REQUESTS), "deny": []},
            "privateEndpoints": [],
        },
        "publicNetworkAccess": "Enabled",
        "disableLocalAuth": False,
        "disableAadAuth": False,
        "regionEndpointEnabled": "Enabled",
        "resourceStopped": "false",
    }
    result.update({name: value for name, value in given.items() if name not in _READ_ONLY})
    result["tls"] = {"clientCertEnabled": False, **result["tls"]}
    acls = result["networkACLs"]
    result["networkACLs"] = {"defaultAction": "Allow", "privateEndpoints": [], **acls}
    return result


def unknown_names(properties: Mapping[str, Any]) -> list[str]:
    """Of complete properties, those that the definition does not have: they may be misspelled."""
    found = [f"properties.{name}" for name in properties if name not in _CHECKS]
    found += [f"properties.tls.{name}" for name in properties["tls"] if name != "clientCertEnabled"]
    acls = ("defaultAction", "publicNetwork", "privateEndpoints", "ipRules")
    return found + [f"properties.networkACLs.{name}" for name in properties["networkACLs"] if name not in acls]


def merged(old: Mapping[str, Any], patch: object) -> dict[str, Any]:
    """
    Complete properties `old` with those of `patch` in place of their own; a null takes one back to its default.

    Raises:
        BadRequest: as for `completed`.
    """
    return completed(patched(old, patch, _CHECKS))


def sku_of(value: object) -> dict[str, Any]:
    """
    A complete `sku`.

    Raises:
        BadRequest: an unknown name, or a number of units that it does not come in.
    """
    if value is None:
        value = {"name": "Standard_S1"}
    checks: dict[str, Check] = {"name": text, "tier": choice("Free", "Basic", "Standard", "Premium"), "capacity": free}
    given = as_object("sku", value, checks)
    typed = given.get("name")
    name = next((known for known in SKUS if known.lower() == str(typed).lower()), None)
    if name is None:
        raise BadRequest(f"sku.name must be one of {', '.join(SKUS)}.", target="sku.name")
    tier = SKUS[name]
    capacity = given.get("capacity")
    if capacity is None:
        capacity = tier.capacities[0]
    if type(capacity) is not int or capacity not in tier.capacities:
        units = ", ".join(map(str, tier.capacities))
        raise BadRequest(f"sku.capacity of {name} must be one of {units}.", target="sku.capacity")
    return {"name": name, "tier": tier.tier, "size": name.partition("_")[2], "capacity": capacity}


def quota_of(sku: Mapping[str, Any]) -> int:
    """Connections at once that a complete `sku` allows."""
    return _FREE_CONNECTIONS if sku["name"] == "Free_F1" else _UNIT_CONNECTIONS * int(sku["capacity"])


def kind_of(value: object) -> str:
    """Raises BadRequest: no kind of this resource."""
    return "WebPubSub" if value is None else str(choice("WebPubSub", "SocketIO")("kind", value))


def tags_of(value: object) -> dict[str, str]:
    """Raises BadRequest: no object of strings."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise BadRequest("tags must be an object of strings.", target="tags")
    if len(value) > 50 or any(not name or len(name) > 512 or len(item) > 256 for name, item in value.items()):
        raise BadRequest("There may be 50 tags, with names of up to 512 and values of up to 256 characters.", "tags")
    return dict(value)


def given_identities(value: object, kind: Check) -> tuple[str, tuple[str, ...]]:
    """
    The type of an `identity`, and the names of the user-assigned ones, which may be any text.

    Args:
        kind: checks the type.

    Raises:
        BadRequest: the type is unknown, or something else cannot be.
    """
    given = as_object("identity", value, {"type": kind, "userAssignedIdentities": free})
    assigned = given.get("userAssignedIdentities") or {}
    if not isinstance(assigned, dict):
        raise BadRequest("identity.userAssignedIdentities must be an object.", "identity.userAssignedIdentities")
    # One that is set to null is to be taken away.
    return given.get("type", "None"), tuple(name for name, item in assigned.items() if item is not None)


def identity_of(value: object) -> tuple[str, str | None]:
    """
    What kind of managed identity a resource has: the type, and the id of the one user-assigned identity.

    Raises:
        BadRequest: an unknown type, or more than one identity.
    """
    if value is None:
        return "None", None
    kind, ids = given_identities(value, _identity_type)
    if kind != "UserAssigned":
        if ids:
            raise BadRequest(_ONE_IDENTITY, "identity")
        return kind, None
    if len(ids) != 1:
        raise BadRequest("A resource may have exactly one user-assigned identity.", "identity.userAssignedIdentities")
    if not is_identity_id(ids[0]):
        raise BadRequest("A user-assigned identity is named by its resource id.", "identity.userAssignedIdentities")
    return kind, ids[0]


def _identity_type(name: str, value: object) -> str:
    words = {word.strip().lower() for word in value.split(",")} if isinstance(value, str) else set()
    if words == {"systemassigned", "userassigned"}:
        raise BadRequest(_ONE_IDENTITY, name)
    return str(choice("None", "SystemAssigned", "UserAssigned")(name, value))


def _tls(name: str, value: object) -> dict[str, Any]:
    return as_object(name, value, {"clientCertEnabled": boolean})


def _types(name: str, value: object) -> dict[str, Any]:
    types = choices(*_REQUESTS)
    return as_object(name, value, {"allow": types, "deny": types, "name": text})


def _ip_rule(name: str, value: object) -> dict[str, Any]:
    rule = as_object(name, value, {"value": text, "action": choice("Allow", "Deny")})
    for needed in ("value", "action"):
        if needed not in rule:
            raise BadRequest(f"{name}.{needed} is required.", target=f"{name}.{needed}")
    try:
        ip_network(rule["value"], strict=False)
    except ValueError as error:
        if _TAG.fullmatch(rule["value"]) is None:
            message = f"{name}.value must be an address, a range such as 10.0.0.0/8, or a service tag."
            raise BadRequest(message, f"{name}.value") from error
    return rule


def _network_acls(name: str, value: object) -> dict[str, Any]:
    return as_object(
        name,
        value,
        {
            "defaultAction": choice("Allow", "Deny"),
            "publicNetwork": _types,
            "privateEndpoints": lambda at, items: as_list(at, items, _types),
            "ipRules": lambda at, items: as_list(at, items, _ip_rule, _MOST_RULES),
        },
    )


def _category(name: str, value: object) -> dict[str, Any]:
    return as_object(name, value, {"name": text, "enabled": choice("true", "false")})


def _log_configuration(name: str, value: object) -> dict[str, Any]:
    categories: Check = lambda at, items: as_list(at, items, _category)  # noqa: E731  one line in a table
    return as_object(name, value, {"enabled": choice("true", "false"), "categories": categories})


def _socket_io(name: str, value: object) -> dict[str, Any]:
    return as_object(name, value, {"serviceMode": choice("Default", "Serverless")})


def _firewall(name: str, value: object) -> dict[str, Any]:
    rules: Check = lambda at, items: as_list(at, items, lambda where, item: as_object(where, item, {"type": text}))  # noqa: E731
    return as_object(name, value, {"clientConnectionCountRules": rules, "clientTrafficControlRules": rules})


_READ_ONLY: Final = frozenset(
    {
        "provisioningState",
        "externalIP",
        "hostName",
        "publicPort",
        "serverPort",
        "version",
        "hostNamePrefix",
        "privateEndpointConnections",
        "sharedPrivateLinkResources",
    }
)
_CHECKS: Final[Mapping[str, Check]] = {
    **dict.fromkeys(_READ_ONLY, free),
    "tls": _tls,
    "liveTraceConfiguration": _log_configuration,
    "resourceLogConfiguration": _log_configuration,
    "networkACLs": _network_acls,
    "publicNetworkAccess": choice("Enabled", "Disabled"),
    "disableLocalAuth": boolean,
    "disableAadAuth": boolean,
    "regionEndpointEnabled": choice("Enabled", "Disabled"),
    "resourceStopped": choice("true", "false"),
    "socketIO": _socket_io,
    "applicationFirewall": _firewall,
}
