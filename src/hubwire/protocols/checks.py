"""
What the service demands of requests, in whichever subprotocol they come.

Source: as `model.names`; the client spec.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from hubwire.model.errors import ProtocolViolation
from hubwire.model.messages import NO_METADATA
from hubwire.model.names import is_event_name, is_group_name, is_invocation_id, metadata_fault

__all__ = [
    "event_name",
    "group_name",
    "identifier",
    "invocation_id_of",
    "json_value",
    "metadata_of",
    "ttl_s_of",
    "without_half_characters",
]

_TTL_MAX_S: Final = 300

# Whole pairs and other escapes are taken as they are, so that the second half of neither is seen alone.
_ESCAPES: Final = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.")


def group_name(name: str) -> str:
    """
    Raises:
        ProtocolViolation: it is no name of a group; so with all of these.
    """
    if not is_group_name(name):
        raise ProtocolViolation("The group name is not valid.")
    return name


def event_name(name: str) -> str:
    if not is_event_name(name):
        raise ProtocolViolation("The event name is not valid.")
    return name


def invocation_id_of(text: str) -> str:
    if not is_invocation_id(text):
        raise ProtocolViolation("The invocation id is not valid.")
    return text


def identifier(name: str) -> str:
    """Of a stream."""
    if not name:
        raise ProtocolViolation("An identifier must not be empty.")
    return name


def ttl_s_of(ttl_seconds: int | None) -> int:
    """None is for ever, as 0."""
    ttl_s = ttl_seconds or 0
    if not 0 <= ttl_s <= _TTL_MAX_S:
        raise ProtocolViolation("ttlSeconds must be a whole number from 0 to 300.")
    return ttl_s


def metadata_of(metadata: Mapping[str, str] | None) -> Mapping[str, str]:
    if not metadata:
        return NO_METADATA
    fault = metadata_fault(metadata)
    if fault is not None:
        raise ProtocolViolation(f"The {fault}.")
    return metadata


def without_half_characters(text: str) -> str | None:
    """
    JSON with U+FFFD in place of escapes of half a surrogate pair; None if it has none.

    Its grammar allows them (RFC 8259, 8.2) and browsers write them for half an emoji, but they are no characters,
    and the decoder refuses them. What a browser sends as plain text has the same replacement in their place.
    """
    whole = _ESCAPES.sub(lambda found: "\\ufffd" if found[1] else found[0], text)
    return None if whole == text else whole


def json_value(text: str) -> bytes:
    """
    The text of one JSON value, which is passed on inside of other JSON, so it must be one.

    Raises:
        ProtocolViolation: it is not.
    """
    try:
        try:
            msgspec.json.decode(text, type=msgspec.Raw)
        except msgspec.DecodeError:
            whole = without_half_characters(text)
            if whole is None:
                raise
            msgspec.json.decode(whole, type=msgspec.Raw)
            text = whole
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolViolation("data must be the text of one JSON value for this type.") from error
    return text.encode()
