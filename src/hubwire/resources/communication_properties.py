"""
A communication service as it arrives in a PUT or a PATCH: checked, completed, merged. Pure.

Source: Microsoft.Communication/communicationServices, api-versions 2020-08-20 to 2025-09-01.
"""

from collections.abc import Mapping
from typing import Any, Final

from hubwire.model.errors import BadRequest
from hubwire.resources.resource_properties import given_identities, is_identity_id, is_location, region
from hubwire.resources.shapes import Check, as_list, as_object, boolean, choice, free, patched, text

__all__ = ["GLOBAL", "FeatureMissing", "completed", "ignored", "kind_and_identities", "merged"]

GLOBAL: Final = "global"
"""The only region that the service has for this resource type."""

_DATA_LOCATIONS: Final[Mapping[str, str]] = {
    region(place): place
    for place in (
        "Africa",
        "Asia Pacific",
        "Australia",
        "Brazil",
        "Canada",
        "Europe",
        "France",
        "Germany",
        "India",
        "Japan",
        "Korea",
        "Norway",
        "Switzerland",
        "UAE",
        "UK",
        "United States",
        "usgov",
    )
}
_READ_ONLY: Final = frozenset({"provisioningState", "hostName", "immutableResourceId", "notificationHubId", "version"})
_SYSTEM: Final = "SystemAssigned"
_USER: Final = "UserAssigned"


class FeatureMissing(BadRequest):
    """
    A property stands for what the service has and this server has not.

    Args:
        feature: its name, as the beginning of a sentence.
    """

    code = "FeatureNotAvailable"

    def __init__(self, feature: str, target: str) -> None:
        super().__init__(f"{feature} is not available in this server.", target)
        self.feature = feature


def completed(properties: object) -> dict[str, Any]:
    """
    All properties of a service: the defaults, and over them what is given, in the spelling of the definition. What only
    the service says is left out, and what is not known is kept as it is.

    Raises:
        BadRequest: one that cannot be, or `dataLocation` is missing; `target` is its name.
    """
    given = as_object("properties", {} if properties is None else properties, _CHECKS)
    if "dataLocation" not in given:
        raise BadRequest("properties.dataLocation is required.", "properties.dataLocation")
    known = {name: value for name, value in given.items() if name not in _READ_ONLY}
    return {"publicNetworkAccess": "Enabled", "disableLocalAuth": False, **known}


def merged(old: Mapping[str, Any], patch: object) -> dict[str, Any]:
    """
    Complete properties `old` with those of `patch` in place of their own; a null takes one back to its default.

    Raises:
        BadRequest: as for `completed`.
    """
    return completed(patched(old, patch, _CHECKS))


def kind_and_identities(value: object) -> tuple[str, tuple[str, ...]]:
    """
    What kind of managed identity a service has, and the ids of the user-assigned ones.

    Raises:
        BadRequest: an unknown type, or one that does not fit the ids.
    """
    if value is None:
        return "None", ()
    kind, ids = given_identities(value, _identity_type)
    if (_USER in kind) != bool(ids):
        message = f"The identity has the type {kind}, which does not fit its userAssignedIdentities."
        raise BadRequest(message, "identity.userAssignedIdentities")
    if not all(map(is_identity_id, ids)):
        raise BadRequest("A user-assigned identity is named by its resource id.", "identity.userAssignedIdentities")
    return kind, ids


def ignored(location: str, identity_kind: str, properties: Mapping[str, Any]) -> list[str]:
    """
    What of a service does not act here, or would be refused elsewhere, in words for whoever sets it.

    Args:
        properties: complete.
    """
    found = []
    if location != GLOBAL:
        found.append(f"a communication service is in the location global in Azure, which would refuse {location}")
    if region(properties["dataLocation"]) not in _DATA_LOCATIONS:
        found.append(f"dataLocation {properties['dataLocation']} is none that is known in Azure")
    if identity_kind != "None":
        found.append("identity is kept and does nothing here")
    if properties["publicNetworkAccess"] == "SecuredByPerimeter":
        found.append("publicNetworkAccess SecuredByPerimeter is Enabled here, where there is no perimeter")
    unknown = [name for name in properties if name not in _CHECKS]
    return found + [f"properties.{name} is not known here: it is kept and does nothing" for name in unknown]


def _data_location(name: str, value: object) -> str:
    if not is_location(value):
        raise BadRequest(f'{name} must be the name of a place, such as "United States".', name)
    return _DATA_LOCATIONS.get(region(value), str(value))


def _identity_type(name: str, value: object) -> str:
    words = {word.strip().lower() for word in value.split(",")} if isinstance(value, str) else set()
    if words == {_SYSTEM.lower(), _USER.lower()}:
        return f"{_SYSTEM},{_USER}"
    return str(choice("None", _SYSTEM, _USER)(name, value))


def _no_domains(name: str, value: object) -> list[Any]:
    if as_list(name, value, text):
        raise FeatureMissing("Sending e-mail from a linked domain", name)
    return []


_CHECKS: Final[Mapping[str, Check]] = {
    "dataLocation": _data_location,
    "publicNetworkAccess": choice("Enabled", "Disabled", "SecuredByPerimeter"),
    "disableLocalAuth": boolean,
    "linkedDomains": _no_domains,
    **dict.fromkeys(_READ_ONLY, free),
}
