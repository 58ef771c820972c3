"""
Versions of the REST interface of Communication Services Identity. Nothing behaves differently between them. Pure.

Source: the REST definitions of the service; the versions that its answers name.
"""

import re
from typing import Final

from hubwire.rest.communication_faults import CommunicationFault
from hubwire.rest.query import QueryString

__all__ = ["COMMUNICATION_VERSIONS", "communication_version"]

COMMUNICATION_VERSIONS: Final = (
    "2021-03-07",
    "2022-06-01",
    "2022-10-01",
    "2023-08-01",
    "2023-10-01",
    "2025-03-02-preview",
    "2025-04-01-preview",
    "2025-06-30",
)
"""Those that are known; later ones are taken as well."""

_FORM: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:-preview[0-9]*)?")


def communication_version(query: QueryString) -> str:
    """
    The version that is asked for.

    Raises:
        CommunicationFault: none, or one that is malformed, older than the first, or not the only one.
    """
    versions = query.all("api-version")
    if not any(versions):
        raise CommunicationFault("ApiVersionUnspecified", "An API version is required, but was not specified.")
    first = COMMUNICATION_VERSIONS[0]
    if len(versions) > 1 or _FORM.fullmatch(versions[0]) is None or versions[0] < first:
        raise CommunicationFault(
            "UnsupportedApiVersion",
            f"The API version is not supported: it is a date from {first} on, such as 2023-10-01.",
        )
    return versions[0]
