"""What the tables of the resource manager share: api-versions, names in paths, bodies and lists."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hubwire.resources.resource_properties import OLDEST_VERSION, is_api_version, is_group_name
from hubwire.resources.shapes import spelled
from hubwire.rest.bodies import json_reply
from hubwire.rest.call import Call
from hubwire.rest.faults import JSON
from hubwire.rest.management_faults import ManagementFault
from hubwire.rest.operation import Reply

__all__ = [
    "document_reply",
    "group_of",
    "list_reply",
    "operations_reply",
    "read_document",
    "subscription_of",
    "version_of",
    "warning_headers",
]

_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MOST_WARNINGS: Final = 15
_MOST_CHARACTERS: Final = 480
"""Of a warning. Together they stay below the 8,190 that clients take in a header."""


def version_of(call: Call, kind: str | None = None) -> str:
    """
    The api-version of a request.

    Args:
        kind: resource type whose versions begin at a known date; None for what any date is good for.

    Raises:
        ManagementFault: it is missing, malformed, or of a time before the resource type.
    """
    version = call.query.one("api-version")
    if version is None:
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise ManagementFault(400, "MissingApiVersionParameter", message)
    if not is_api_version(version, ""):
        message = "The api-version is no date such as 2024-03-01 or 2025-01-01-preview."
        raise ManagementFault(400, "InvalidApiVersionParameter", message)
    if kind is not None and not is_api_version(version, kind):
        first = f"{OLDEST_VERSION}-preview"
        message = f"There is no api-version {version} of the resource type {kind}; the first one is {first}."
        raise ManagementFault(400, "NoRegisteredProviderFound", message)
    return version


def subscription_of(call: Call) -> str:
    """
    Raises:
        ManagementFault: the path names no subscription.
    """
    subscription = call.names["subscription"]
    if _GUID.fullmatch(subscription) is None:
        message = "The subscription in the path is no GUID."
        raise ManagementFault(400, "InvalidSubscriptionId", message)
    return subscription


def group_of(call: Call) -> str:
    """
    Raises:
        ManagementFault: the path names no resource group.
    """
    group = call.names["group"]
    if not is_group_name(group):
        message = "A resource group has 1 to 90 letters, digits and characters of _-.(), and ends with no full stop."
        raise ManagementFault(400, "InvalidResourceGroup", message)
    return group


async def read_document(call: Call) -> dict[str, Any]:
    """
    The JSON object that is the body of a request.

    Raises:
        ManagementFault: it is none.
    """
    try:
        document = msgspec.json.decode(await call.body())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Its text names a place, and never a value.
        message = f"The request content was invalid and could not be read: {error}."
        raise ManagementFault(400, "InvalidRequestContent", message) from None
    if not isinstance(document, dict):
        raise ManagementFault(400, "InvalidRequestContent", "The request content must be a JSON object.")
    return spelled(document, _ENVELOPE)


def document_reply(
    document: Mapping[str, Any], status: int | None = None, headers: tuple[tuple[str, str], ...] = ()
) -> Reply:
    """An answer that holds one document."""
    return Reply(msgspec.json.encode(document), JSON, headers, status)


def warning_headers(warnings: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """What of a change does not act, in a header (RFC 9111 has left `warning` to those who use it)."""
    shown = list(warnings)
    if len(shown) > _MOST_WARNINGS:
        shown[_MOST_WARNINGS - 1 :] = [f"and {len(shown) - _MOST_WARNINGS + 1} more"]
    told = ", ".join(f'199 - "{_quotable(text)}"' for text in shown)
    return (("warning", told),) if told else ()


def _quotable(text: str) -> str:
    """They repeat names that somebody gave, which must neither end the quotes nor the header, nor make it too long."""
    escaped = text.replace("…", "...").replace('"', "'").encode("unicode_escape").decode()
    return escaped if len(escaped) <= _MOST_CHARACTERS else f"{escaped[: _MOST_CHARACTERS - 3]}..."


def list_reply(documents: Sequence[Mapping[str, Any]]) -> Reply:
    """An answer that holds all there are, on one page."""
    return json_reply({"value": documents})


def operations_reply(provider: str, actions: Sequence[str]) -> Reply:
    """An answer that lists what there is to be allowed or forbidden with the resources of a provider."""
    return list_reply(
        [
            {
                "name": action,
                "isDataAction": False,
                "display": {
                    "provider": provider,
                    "resource": action.split("/")[1],
                    "operation": action.rpartition("/")[2],
                    "description": action,
                },
                "origin": "user,system",
            }
            for action in actions
        ]
    )


_ENVELOPE: Final = dict.fromkeys(
    ("location", "tags", "sku", "kind", "identity", "properties", "managedBy", "keyType", "name", "type")
)
"""Names that compare without case, whatever they are in."""
