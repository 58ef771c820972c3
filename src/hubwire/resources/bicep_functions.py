"""
The functions that a Bicep program may call, by namespace, and what is special about some of them. Pure.

Their names are those of the template language, where they are evaluated.

Source: the Bicep documentation of functions.
"""

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["DEFAULT_ONLY", "LAMBDAS", "arguments_of", "is_listing", "is_runtime", "namespace_of"]

_MANY: Final = 1 << 30

LAMBDAS: Final = frozenset({"filter", "groupBy", "map", "mapValues", "reduce", "sort", "toObject"})
"""Those that take a lambda."""

DEFAULT_ONLY: Final = frozenset({"newGuid", "utcNow"})
"""Those whose value differs each time, so that only the default of a parameter may hold it."""

_SYSTEM: Final[Mapping[str, tuple[int, int]]] = {
    "any": (1, 1),
    "array": (1, 1),
    "base64": (1, 1),
    "base64ToJson": (1, 1),
    "base64ToString": (1, 1),
    "bool": (1, 1),
    "cidrHost": (2, 2),
    "cidrSubnet": (3, 3),
    "concat": (1, _MANY),
    "contains": (2, 2),
    "dataUri": (1, 1),
    "dataUriToString": (1, 1),
    "dateTimeAdd": (2, 3),
    "dateTimeFromEpoch": (1, 1),
    "dateTimeToEpoch": (1, 1),
    "empty": (1, 1),
    "endsWith": (2, 2),
    "fail": (1, 1),
    "filter": (2, 2),
    "first": (1, 1),
    "flatten": (1, 1),
    "format": (1, _MANY),
    "groupBy": (2, 2),
    "guid": (1, _MANY),
    "indexOf": (2, 2),
    "int": (1, 1),
    "intersection": (2, _MANY),
    "items": (1, 1),
    "join": (2, 2),
    "json": (1, 1),
    "last": (1, 1),
    "lastIndexOf": (2, 2),
    "length": (1, 1),
    "map": (2, 2),
    "mapValues": (2, 2),
    "max": (1, _MANY),
    "min": (1, _MANY),
    "newGuid": (0, 0),
    "objectKeys": (1, 1),
    "padLeft": (2, 3),
    "parseCidr": (1, 1),
    "range": (2, 2),
    "reduce": (3, 3),
    "replace": (3, 3),
    "shallowMerge": (1, 1),
    "skip": (2, 2),
    "sort": (2, 2),
    "split": (2, 2),
    "startsWith": (2, 2),
    "string": (1, 1),
    "substring": (2, 3),
    "take": (2, 2),
    "toLower": (1, 1),
    "toObject": (2, 3),
    "toUpper": (1, 1),
    "trim": (1, 1),
    "union": (2, _MANY),
    "uniqueString": (1, _MANY),
    "uri": (2, 2),
    "uriComponent": (1, 1),
    "uriComponentToString": (1, 1),
    "utcNow": (0, 1),
}
_AZURE: Final[Mapping[str, tuple[int, int]]] = {
    "deployment": (0, 0),
    "environment": (0, 0),
    "extensionResourceId": (3, _MANY),
    "managementGroupResourceId": (2, _MANY),
    "pickZones": (3, 5),
    "providers": (1, 2),
    "reference": (1, 3),
    "resourceGroup": (0, 0),
    "resourceId": (2, _MANY),
    "subscription": (0, 0),
    "subscriptionResourceId": (2, _MANY),
    "tenant": (0, 0),
    "tenantResourceId": (2, _MANY),
}
_LISTING: Final = re.compile(r"list[A-Z][A-Za-z0-9]*", re.ASCII)
_LISTING_ARGUMENTS: Final = (2, 3)


def namespace_of(name: str) -> str | None:
    """The namespace of a function, or None if there is no such function."""
    if name in _SYSTEM:
        return "sys"
    return "az" if name in _AZURE or is_listing(name) else None


def arguments_of(name: str) -> tuple[int, int]:
    """How many arguments a function takes that exists, at least and at most."""
    return _SYSTEM.get(name) or _AZURE.get(name) or _LISTING_ARGUMENTS


def is_listing(name: str) -> bool:
    """Whether a function asks a resource for something, such as `listKeys`."""
    return _LISTING.fullmatch(name) is not None


def is_runtime(name: str) -> bool:
    """Whether the value of a function is known only once the resource is there that it speaks of."""
    return name == "reference" or is_listing(name)
